//! Many trainings: each a process of its own in a run folder of its own, as many at a time as asked for, resumed where they
//! were stopped and left alone where they are done.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use motley_core::ConfigError;
use motley_core::config::parse_value;
use motley_core::secret::{masked, speaks_of_secrets};
use motley_run::{CheckpointStore, Difference, RealDisk, RunStatus, RunView};
use motley_train::Registry;
use motley_train::settings::differences;
use serde_json::json;

use crate::commands::config::request;
use crate::error::Failure;
use crate::output::Output;
use crate::signals::Stop;

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(100);

/// One training.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    /// The run folder.
    pub(crate) dir: PathBuf,
    /// ALGO TASK key=value ...; the seed and the budget among them.
    pub(crate) words: Vec<String>,
}

/// What there is to do for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is there.
    New,
    /// It can go on from a checkpoint.
    Stopped,
    /// Nothing is left to do.
    Done,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Done,
    Stopped,
    Failed(String),
}

impl Job {
    /// What there is to do, wherever it is done, after a check of the settings: names and values, and that a run in the folder was
    /// made with the same.
    ///
    /// # Errors
    /// Settings that do not resolve; a run with others in the folder; a damaged run.
    pub(crate) fn state(&self, registry: &Registry) -> Result<State, Failure> {
        Ok(self.look(registry)?.0)
    }

    /// The same, and what this machine has no room for.
    ///
    /// # Errors
    /// Those of [`Job::state`].
    pub(crate) fn look(&self, registry: &Registry) -> Result<(State, Option<ConfigError>), Failure> {
        let planned = request(&self.words, None).and_then(|request| Ok(request.plan_anywhere(registry)?));
        let named = |f: Failure| Failure { message: format!("the run {}: {}", self.dir.display(), f.message), ..f };
        let (plan, no_room) = planned.map_err(named)?;
        let Ok(view) = RunView::open(&self.dir) else { return Ok((State::New, no_room)) };
        let total: u64 = plan.settings.get("total_steps")?;
        let (found, info) = (view.config()?, view.info()?);
        let budget = found.get("total_steps").map(ToString::to_string).unwrap_or_default();
        let same_horizon = |d: &Difference| d.name == "schedule_steps" && one_horizon(&d.expected, &d.found, &budget);
        let trains = |name: &str, expected: &str, found: &str| Difference {
            name: name.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        let what = [trains("algo", plan.algorithm.name(), &info.algo), trains("task", &plan.team.task, &info.task)];
        let differs = |d: &Difference| d.expected != d.found && !same_horizon(d);
        if let Some(d) = what.into_iter().chain(differences(&plan.settings, &found)).find(differs) {
            return Err(Failure::usage(format!(
                "{} holds a run with {} = {}, the plan says {}: remove the folder or choose another",
                self.dir.display(),
                d.name,
                d.found,
                d.expected
            )));
        }
        let state = match info.status {
            // One that was stopped beyond what is asked for has it too.
            RunStatus::Done | RunStatus::Stopped if info.env_steps >= total && !info.evaluation_due => State::Done,
            _ if saved(&view) => State::Stopped,
            _ => State::New,
        };
        Ok((state, no_room))
    }

    /// The words as they may be shown.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.words.iter().map(|word| hidden(word).unwrap_or_else(|| word.clone())).collect()
    }

    /// The words that a resumed run is given again: its budget, and its secrets, which are in no run folder.
    pub(crate) fn again(&self) -> Vec<String> {
        self.words.iter().filter(|w| w.starts_with("total_steps=") || speaks_of_secrets(w)).cloned().collect()
    }

    /// The words after `motley train`.
    pub(crate) fn arguments(&self, state: State, threads: Option<usize>) -> Vec<String> {
        let folder = self.dir.display().to_string();
        let mut words = match state {
            State::Stopped => [vec!["--resume".to_owned(), folder], self.again()].concat(),
            _ => [self.words.clone(), vec!["--out".to_owned(), folder]].concat(),
        };
        // A resumed run keeps the threads that its words name.
        if let Some(n) = threads.filter(|_| !self.words.iter().any(|w| w.starts_with("threads="))) {
            words.push(format!("threads={n}"));
        }
        words
    }

    /// What the run writes to its standard streams goes here.
    fn log_path(&self) -> PathBuf {
        let name = self.dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        self.dir.with_file_name(format!("{name}.log"))
    }

    /// Starts its process by the words `program`.
    fn start(&self, program: &[OsString], state: State, threads: usize) -> std::io::Result<Child> {
        if let Some(parent) = self.dir.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // Another sweep's process may be writing there.
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let (first, more) = program.split_first().ok_or_else(|| std::io::Error::other("no program is named"))?;
        Command::new(first)
            .args(more)
            .arg("train")
            .args(self.arguments(state, Some(threads)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }
}

/// Whether two values of `schedule_steps` are one horizon for a run whose budget was `budget`: it may not have known the setting, and 0 is
/// the budget.
fn one_horizon(asked: &str, found: &str, budget: &str) -> bool {
    let unset = ["0", "nothing"].contains(&found);
    unset && (asked == "0" || asked == budget)
}

/// Trains every job that is not done, `parallel` at a time (`None`: one a core). Returns how many failed; jobs that a stop kept
/// from their end are no failures, and go on when the same command is given again. `start` is what starts this program anew.
///
/// # Errors
/// Settings of any job that do not resolve or that this machine has no room for, before anything is trained.
pub(crate) fn run(
    jobs: &[Job],
    parallel: Option<usize>,
    registry: &Registry,
    start: &[OsString],
    stop: &Stop,
    out: &Output,
) -> Result<usize, Failure> {
    let (mut open, mut unreadable, told) = (Vec::new(), 0, Mutex::new(0));
    for job in jobs {
        let seen = match job.look(registry) {
            // A folder that cannot be read is that run's failure, not the others'.
            Err(failure) if failure.code == 1 => {
                tell(job, &End::Failed(failure.message), jobs.len(), &told, out);
                unreadable += 1;
                continue;
            }
            seen => seen?,
        };
        match seen {
            (State::Done, _) => out.event("run", json!({ "run": job.dir.display().to_string(), "outcome": "was done" })),
            (_, Some(no_room)) => return Err(no_room.into()),
            (state, None) => open.push((job, state)),
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let parallel = parallel.unwrap_or(cores).clamp(1, open.len().max(1));
    let threads = (cores / parallel).max(1);
    let each = threads_told(open.iter().map(|(job, _)| *job), threads);
    out.note(format!("{} runs, {} done before; {parallel} at a time, {each}", jobs.len(), jobs.len() - open.len() - unreadable));
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(unreadable));
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                while let Some((job, state)) =
                    open.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !stop.asked.load(Ordering::Relaxed))
                {
                    let end = one(job, start, *state, threads, stop);
                    failed.fetch_add(usize::from(matches!(end, End::Failed(_))), Ordering::Relaxed);
                    tell(job, &end, open.len(), &told, out);
                }
            });
        }
    });
    Ok(failed.into_inner())
}

/// What the runs get: those that name their threads keep them.
fn threads_told<'a>(jobs: impl Iterator<Item = &'a Job>, given: usize) -> String {
    let named = |job: &Job| job.words.iter().rev().find_map(|w| w.strip_prefix("threads=").map(ToOwned::to_owned));
    let mut all: Vec<String> = jobs.map(|job| named(job).unwrap_or_else(|| given.to_string())).collect();
    all.sort();
    all.dedup();
    match all.as_slice() {
        [] => "none to train".into(),
        [one] if one == "1" => "1 thread each".into(),
        many => format!("{} threads each", many.join(" or ")),
    }
}

fn saved(view: &RunView) -> bool {
    let store = CheckpointStore::new(&view.checkpoints_dir(), 1, std::sync::Arc::new(RealDisk));
    store.steps().is_ok_and(|steps| !steps.is_empty())
}

fn tell(job: &Job, end: &End, of: usize, told: &Mutex<usize>, out: &Output) {
    let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *told += 1;
    let (dir, count) = (job.dir.display().to_string(), *told);
    let (outcome, reason) = match end {
        End::Done => ("done", None),
        End::Stopped => ("stopped", None),
        End::Failed(reason) => ("failed", Some(reason)),
    };
    match reason {
        Some(reason) => {
            let log = job.log_path();
            let words = if log.is_file() { format!(" ({} has its words)", log.display()) } else { String::new() };
            out.warning(format!("[{count}/{of}] {dir} failed: {reason}{words}"))
        }
        None => out.note(format!("[{count}/{of}] {outcome}: {dir}")),
    }
    out.event("run", json!({ "run": dir, "outcome": outcome, "reason": reason }));
}

fn one(job: &Job, start: &[OsString], state: State, threads: usize, stop: &Stop) -> End {
    let mut child = match job.start(start, state, threads) {
        Ok(child) => child,
        Err(error) => return End::Failed(format!("it could not be started: {error}")),
    };
    let mut asked = false;
    loop {
        match child.try_wait() {
            Err(error) => return End::Failed(error.to_string()),
            Ok(Some(status)) => {
                return match status.code() {
                    Some(0) => End::Done,
                    Some(75 | 130) => End::Stopped,
                    Some(code) => End::Failed(format!("exit code {code}: {}", last_words(&job.log_path()))),
                    None if asked => End::Stopped,
                    None => End::Failed("it was killed".into()),
                };
            }
            Ok(None) => {}
        }
        if stop.asked.load(Ordering::Relaxed) && !std::mem::replace(&mut asked, true) {
            ask_to_stop(&mut child, stop);
        }
        std::thread::sleep(LOOK);
    }
}

/// Asks a training to finish its update and checkpoint.
#[cfg(unix)]
fn ask_to_stop(child: &mut Child, stop: &Stop) {
    use rustix::process::{Pid, Signal, kill_process};

    // After Ctrl-C a signal without a limit of time. A process that is gone already needs no asking.
    let signal = if stop.interrupted() { Signal::USR1 } else { Signal::TERM };
    let _ = kill_process(Pid::from_child(child), signal);
}

/// There is no gentle signal: the last checkpoint stands.
#[cfg(not(unix))]
fn ask_to_stop(child: &mut Child, _: &Stop) {
    let _ = child.kill();
}

/// A word of a setting as it may be shown, where that is another than itself.
fn hidden(word: &str) -> Option<String> {
    let (key, value) = word.split_once('=')?;
    let found = parse_value(value);
    let told = masked(key, &found);
    (told != found).then(|| format!("{key}={told}"))
}

/// The last line that a run wrote.
fn last_words(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_threads_told_are_those_of_the_words() {
        let job = |text: &str| Job { dir: "r".into(), words: words(text) };
        let told = |jobs: &[Job]| threads_told(jobs.iter(), 2);
        assert_eq!(told(&[job("a b threads=1"), job("a c threads=1")]), "1 thread each");
        assert_eq!(told(&[job("a b threads=1"), job("a c")]), "1 or 2 threads each");
        assert_eq!(told(&[job("a c")]), "2 threads each");
    }

    #[test]
    fn a_run_of_the_whole_budget_has_its_horizon() {
        let cases = [
            ("0", "nothing", true),
            ("900", "nothing", true),
            ("900", "0", true),
            ("800", "nothing", false),
            ("0", "900", false),
        ];
        for (asked, found, one) in cases {
            assert_eq!(one_horizon(asked, found, "900"), one, "{asked} {found}");
        }
    }

    #[test]
    fn a_stopped_run_is_resumed_with_its_budget_only() {
        let job = Job { dir: "r/s1".into(), words: words("happo matrix/climbing algo.lr=0.1 total_steps=100 seed=1") };
        let new = words("happo matrix/climbing algo.lr=0.1 total_steps=100 seed=1 --out r/s1 threads=2");
        assert_eq!(job.arguments(State::New, Some(2)), new);
        assert_eq!(job.arguments(State::Stopped, Some(2)), words("--resume r/s1 total_steps=100 threads=2"));
        let guarded = Job { words: words("happo py:a:b task.kwargs={token=\"x\"} total_steps=100"), ..job.clone() };
        let again = words("--resume r/s1 task.kwargs={token=\"x\"} total_steps=100");
        assert_eq!(guarded.arguments(State::Stopped, None), again);
        assert_eq!(guarded.shown()[2], "task.kwargs={ token = \"***\" }");
        let bare = Job { words: words("happo own/task task.token=abc task.tokens=5 task.use_token=true"), ..job.clone() };
        assert_eq!(bare.shown()[2..], ["task.token=\"***\"", "task.tokens=5", "task.use_token=true"]);
        let own = Job { words: words("happo matrix/climbing threads=4"), ..job };
        assert_eq!(own.arguments(State::New, Some(2)), words("happo matrix/climbing threads=4 --out r/s1"));
        assert_eq!(own.log_path(), PathBuf::from("r/s1.log"));
    }
}

//! Runs as records to compare: from run folders, from marl-eval's documents, from records written before.

use std::path::{Path, PathBuf};

use motley_core::Task;
use motley_nn::{Mode, Pool};
use motley_run::{EvalEpisode, Log, Point, RunInfo, RunStatus, RunView, is_bundle, read_eval, read_metrics};
use motley_stats::record::ABSOLUTE_FACTOR;
use motley_stats::{Evaluation, Metric, RunRecord, marl_eval};
use motley_train::evaluate::Episode;
use motley_train::{EvalPlan, Registry, evaluate};

use crate::commands::config::threads;
use crate::commands::plot::find_runs;
use crate::commands::source::{Source, load};
use crate::error::Failure;
use crate::output::Output;
use motley_run::shell;

/// Bytes of a document that are read at most.
const LIMIT: u64 = 1 << 30;
/// The evaluation round of the absolute metric: training counts env steps, `motley eval` has the last number.
const ROUND: u64 = u64::MAX - 1;

/// A record, and the run folder that it was read from.
pub(crate) struct Found {
    /// The record.
    pub(crate) record: RunRecord,
    /// None of a record that was read from a document.
    pub(crate) folder: Option<PathBuf>,
}

/// Every run below the given paths.
///
/// # Errors
/// A path without runs, a damaged file.
pub(crate) fn gather(paths: &[PathBuf], registry: &Registry, out: &Output) -> Result<Vec<Found>, Failure> {
    let read = |record| Found { record, folder: None };
    let mut records = Vec::new();
    let mut folders = Vec::new();
    for path in paths {
        if !path.exists() {
            return Err(Failure::usage(format!(
                "{} does not exist: give run folders, a folder above runs, or records",
                path.display()
            )));
        }
        if path.is_file() {
            records.extend(read_document(path, registry)?.into_iter().map(read));
            continue;
        }
        let written = if RunView::open(path).is_ok() { Vec::new() } else { documents(path)? };
        if written.is_empty() || find_runs(std::slice::from_ref(path)).is_ok() {
            if let Some(first) = written.first() {
                // They may be of the same runs, which would count twice.
                out.warning(format!(
                    "{} holds runs and records: the runs are taken; the records are compared by name, motley compare {}",
                    path.display(),
                    shell::path(first)
                ));
            }
            folders.push(path.clone());
            continue;
        }
        for document in written {
            records.extend(read_document(&document, registry)?.into_iter().map(read));
        }
    }
    if !folders.is_empty() {
        let found = find_runs(&folders)?;
        let alone = found.len() == 1;
        for dir in found {
            match from_folder(&dir, out) {
                Ok(record) => records.extend(record.map(|record| Found { record, folder: Some(dir) })),
                Err(failure) if alone => return Err(failure),
                // One damaged run is no reason to say nothing of the others.
                Err(failure) => out.warning(format!("{} is left out: {}", dir.display(), failure.message)),
            }
        }
    }
    Ok(records)
}

/// The records (`.jsonl`) that lie directly in a folder, sorted; the logs of a run are none.
fn documents(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |e| Failure::run(format!("cannot read the folder {}: {e}", dir.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let log = path.file_name().is_some_and(|name| name == "eval.jsonl" || name == "metrics.jsonl");
        if path.extension().is_some_and(|e| e == "jsonl") && !log && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read_document(path: &Path, registry: &Registry) -> Result<Vec<RunRecord>, Failure> {
    let failed = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if length > LIMIT {
        return Err(failed(format!("{length} bytes are more than a document of runs has ({LIMIT} at most)")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    if path.extension().is_some_and(|e| e == "jsonl") {
        let line = |(k, line): (usize, &str)| serde_json::from_str(line).map_err(|e| failed(format!("line {}: {e}", k + 1)));
        return text.lines().enumerate().filter(|l| !l.1.trim().is_empty()).map(line).collect();
    }
    let document = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    let mut records = marl_eval::from_json(&document).map_err(|e| failed(e.to_string()))?;
    records.iter_mut().for_each(|record| record.task = as_listed(&record.task, registry));
    Ok(records)
}

/// A task by its name here, with its variant: marl-eval's documents have all names in lower case.
fn as_listed(task: &str, registry: &Registry) -> String {
    let (name, variant) = task.split_at(task.find(" [").unwrap_or(task.len()));
    let listed = registry.tasks.iter().map(Task::name).find(|listed| listed.eq_ignore_ascii_case(name));
    listed.map_or_else(|| task.to_owned(), |listed| listed + variant)
}

/// The record of a run folder; none, with a warning, of a run without an evaluation.
pub(crate) fn from_folder(dir: &Path, out: &Output) -> Result<Option<RunRecord>, Failure> {
    let view = RunView::open(dir)?;
    let info = view.info()?;
    let path = view.eval_path();
    let episodes = told(if path.is_file() { read_eval(&path)? } else { Log::default() }, out);
    if episodes.is_empty() {
        out.warning(format!("{} has no evaluation yet and is left out", dir.display()));
        return Ok(None);
    }
    if info.status != RunStatus::Done {
        out.warning(format!("{} is not done ({:?} at {} env steps)", dir.display(), info.status, info.env_steps));
    }
    let path = view.metrics_path();
    let log = told(if path.is_file() { read_metrics(&path)? } else { Log::default() }, out);
    let evaluations: Vec<Evaluation> = episodes
        .chunk_by(|a, b| a.env_steps == b.env_steps)
        .map(|of_one| evaluation(of_one, seconds_at(&log, of_one[0].env_steps)))
        .collect();
    let env_steps = evaluations.last().map_or(0, |e| e.env_steps);
    Ok(Some(RunRecord {
        env_steps,
        seconds: seconds_at(&log, env_steps),
        update_seconds: update_seconds(&log),
        evaluations,
        ..unmeasured(info, view.config()?)
    }))
}

/// What a run says of itself, as a record of nothing measured yet.
pub(crate) fn unmeasured(info: RunInfo, config: toml::Table) -> RunRecord {
    let commit = info.git_commit.map(|c| format!(" {c}")).unwrap_or_default();
    RunRecord {
        algo: info.algo,
        task: info.task,
        seed: info.seed,
        env_steps: 0,
        seconds: None,
        update_seconds: None,
        machine: format!("{}, {} threads", info.cpu, info.threads),
        version: format!("{}{commit}", info.motley),
        preset: info.preset,
        config,
        evaluations: Vec::new(),
        absolute: None,
    }
}

/// The lines of a log, after its warning.
fn told<T>(log: Log<T>, out: &Output) -> Vec<T> {
    log.warning.iter().for_each(|warning| out.warning(warning));
    log.lines
}

fn evaluation(episodes: &[EvalEpisode], seconds: Option<f64>) -> Evaluation {
    Evaluation {
        env_steps: episodes[0].env_steps,
        seconds,
        returns: episodes.iter().map(|e| e.team_return).collect(),
        won: episodes.iter().filter_map(|e| e.won).map(|w| f64::from(u8::from(w))).collect(),
    }
}

/// Wall-clock seconds of training until `env_steps`, from the mean speed that the log has there. Of a run that was stopped and
/// resumed the speed is that of the last process.
fn seconds_at(log: &[Point], env_steps: u64) -> Option<f64> {
    let before = log.iter().rev().filter(|p| p.env_steps <= env_steps);
    let rate = before.filter_map(|p| p.get("time/env_steps_per_second")).next()?;
    (rate > 0.0).then(|| env_steps as f64 / rate)
}

/// Mean wall-clock seconds of an update over the whole log, without those in which memory was filled and nothing learned.
fn update_seconds(log: &[Point]) -> Option<f64> {
    let learned = |p: &&Point| p.values.iter().any(|(name, _)| name.starts_with("loss/"));
    let of: Vec<f64> = log.iter().filter(learned).filter_map(|p| p.get("time/update_seconds")).collect();
    (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64)
}

/// Measures the absolute metric of a run folder: its best policy on ten times the episodes of a usual evaluation, on streams
/// that no evaluation of training had.
pub(crate) fn measure_absolute(source: Source<'_>, record: &mut RunRecord, registry: &Registry) -> Result<(), Failure> {
    if !is_bundle(&RunView::open(source.path)?.policy_dir()) {
        return Err(Failure::run(format!(
            "{}: its best policy is missing, and no other is measured in its place",
            source.path.display()
        )));
    }
    let loaded = load(source, registry)?;
    let number = |name: &str| record.setting(name).and_then(toml::Value::as_integer).and_then(|n| usize::try_from(n).ok());
    let stochastic = record.setting("eval.stochastic").and_then(toml::Value::as_bool).unwrap_or(false);
    let plan = EvalPlan {
        seed: record.seed,
        round: ROUND,
        episodes: ABSOLUTE_FACTOR * number("eval.episodes").unwrap_or(100),
        mode: if stochastic { Mode::Sample } else { Mode::Greedy },
    };
    let pool = Pool::new(threads()?).map_err(Failure::run)?;
    let played = evaluate(&loaded.policy, &loaded.make, &pool, plan).map_err(Failure::run)?;
    played.warnings().iter().for_each(|warning| source.out.warning(warning));
    let best = record.best(Metric::Return).map_or(0, |e| e.env_steps);
    record.absolute = Some(absolute(&played.episodes, best));
    Ok(())
}

fn absolute(episodes: &[Episode], env_steps: u64) -> Evaluation {
    Evaluation {
        env_steps,
        seconds: None,
        returns: episodes.iter().map(|e| e.team_return).collect(),
        won: episodes.iter().filter_map(|e| e.won).map(|w| f64::from(u8::from(w))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_a_document_have_the_names_that_they_have_here() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marl-eval.json");
        let text = r#"{"mamujoco": {"reacher-2x1": {"HAPPO": {"seed_0": {"step_0": {"step_count": 1, "mean_episode_return": [2.0]}}}},
            "humanoid-9|8 [task.base=v2]": {"HAPPO": {"seed_0": {"step_0": {"step_count": 1, "mean_episode_return": [2.0]}}}}},
            "elsewhere": {"its_own": {"HAPPO": {"seed_0": {"step_0": {"step_count": 1, "mean_episode_return": [2.0]}}}}}}"#;
        std::fs::write(&path, text).unwrap();
        let read = read_document(&path, &Registry::builtin()).unwrap();
        let mut tasks: Vec<&str> = read.iter().map(|r| r.task.as_str()).collect();
        tasks.sort_unstable();
        assert_eq!(tasks, ["elsewhere/its_own", "mamujoco/Humanoid-9|8 [task.base=v2]", "mamujoco/Reacher-2x1"]);
    }

    #[test]
    fn seconds_come_from_the_speed_at_the_time() {
        let point = |env_steps, rate: Option<f64>| Point {
            env_steps,
            values: rate.map(|r| ("time/env_steps_per_second".to_owned(), r)).into_iter().collect(),
        };
        let log = [point(100, Some(50.0)), point(200, Some(40.0)), point(200, None), point(300, Some(10.0))];
        let took = |seconds, learned: bool| {
            let loss = learned.then(|| ("loss/td".to_owned(), 1.0));
            Point { env_steps: 1, values: [("time/update_seconds".to_owned(), seconds)].into_iter().chain(loss).collect() }
        };
        let updates = [took(0.01, false), took(1.0, true), log[2].clone(), took(4.0, true)];
        assert_eq!((update_seconds(&updates), update_seconds(&log)), (Some(2.5), None));
        assert_eq!([100, 200, 250, 50].map(|s| seconds_at(&log, s)), [Some(2.0), Some(5.0), Some(6.25), None]);
    }
}

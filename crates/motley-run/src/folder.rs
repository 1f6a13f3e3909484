//! The run folder: all there is to know about one training with one seed.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motley_core::secret::masked;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::bundle::is_bundle;
use crate::checkpoint::CheckpointStore;
use crate::clock::UtcTime;
use crate::disk::{RealDisk, read_bounded, refuse_link, write_atomic};
use crate::error::RunError;
use crate::lock::Lock;
use crate::shell;

/// Bytes of a configuration or of `run.json` that are read at most.
const LIMIT: u64 = 10 << 20;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// At work, or killed while at work.
    Running,
    /// All steps done.
    Done,
    /// Stopped after a checkpoint; can be resumed.
    Stopped,
    /// Ended by an error.
    Failed,
}

/// A setting that a resumed run took over with another value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Environment steps from which on it holds.
    pub env_steps: u64,
    /// The dotted key.
    pub key: String,
    /// Its value before.
    pub from: Value,
    /// Its value since.
    pub to: Value,
}

/// The content of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The library version.
    pub motley: String,
    /// The git commit of the build, where known.
    pub git_commit: Option<String>,
    /// Operating system and architecture.
    pub platform: String,
    /// The processor.
    pub cpu: String,
    /// Threads used.
    pub threads: usize,
    /// The algorithm.
    pub algo: String,
    /// `suite/name`.
    pub task: String,
    /// Version of the task's rules.
    pub task_version: u32,
    /// The master seed.
    pub seed: u64,
    /// The preset that it was begun with, `none` for none; absent in runs of versions that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Where the run stands.
    pub status: RunStatus,
    /// Why it stopped or failed.
    pub reason: Option<String>,
    /// When it was started, RFC 3339 in UTC.
    pub started: String,
    /// Environment steps taken.
    pub env_steps: u64,
    /// Whether resuming gives the same bits as never having stopped.
    pub exact_resume: bool,
    /// What was changed at resumptions.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Whether it was stopped in an evaluation, which it makes up when it goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub evaluation_due: bool,
    /// Failures of environments in evaluations, after which an episode was played anew.
    #[serde(default)]
    pub eval_env_failures: u64,
    /// Of a task that runs code of its name's choosing: the mark of the user who asked for it ([`crate::UserKey`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
}

/// A run folder to read from. Takes no lock: a run at work can be looked at.
#[derive(Debug, Clone)]
pub struct RunView {
    root: PathBuf,
}

impl RunView {
    /// The run in `dir`.
    ///
    /// # Errors
    /// [`RunError::NotARun`].
    pub fn open(dir: &Path) -> Result<Self, RunError> {
        let view = Self { root: dir.to_owned() };
        if view.info_path().is_file() { Ok(view) } else { Err(RunError::NotARun(dir.to_owned())) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.toml`.
    pub fn config_path(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// `run.json`.
    pub fn info_path(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// `metrics.jsonl`.
    pub fn metrics_path(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// `eval.jsonl`.
    pub fn eval_path(&self) -> PathBuf {
        self.root.join("eval.jsonl")
    }

    /// `checkpoints/`, for [`crate::CheckpointStore`].
    pub fn checkpoints_dir(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `policy/`, for [`crate::bundle`].
    pub fn policy_dir(&self) -> PathBuf {
        self.root.join("policy")
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    /// [`RunError::Io`] or [`RunError::Damaged`].
    pub fn info(&self) -> Result<RunInfo, RunError> {
        self.parse(&self.info_path(), |text| {
            let root = shell::path(&self.root);
            serde_json::from_str(text).map_err(|e| {
                format!(
                    "{e}; put a copy of it back, that of another run with this run's algo, task and seed will do to go on; what was learned is whole: motley eval {root}"
                )
            })
        })
    }

    /// Reads `config.toml`.
    ///
    /// # Errors
    /// [`RunError::Io`] or [`RunError::Damaged`] with line and column.
    pub fn config(&self) -> Result<toml::Table, RunError> {
        self.parse(&self.config_path(), |text| toml::from_str(text)).map_err(|error| match error {
            RunError::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => RunError::Damaged {
                why: format!(
                    "{source}; put a copy of it back, or write it anew: the settings that the run must keep stand under \"config\" in manifest.json of every checkpoint in {}, total_steps, threads, eval.* and log.* are free",
                    self.checkpoints_dir().display()
                ),
                path,
            },
            other => other,
        })
    }

    fn parse<T: DeserializeOwned, E: std::fmt::Display>(
        &self,
        path: &Path,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, RunError> {
        let bytes = read_bounded(&RealDisk, path, LIMIT).map_err(RunError::io("read", path))?;
        let text = String::from_utf8(bytes).map_err(|e| RunError::damaged(path, e))?;
        read(&text).map_err(|e| RunError::damaged(path, e))
    }
}

/// A run folder held by this process, to write to. Everything that [`RunView`] reads can be read here.
#[derive(Debug)]
pub struct RunFolder {
    view: RunView,
    lock: Lock,
}

impl Deref for RunFolder {
    type Target = RunView;
    fn deref(&self) -> &RunView {
        &self.view
    }
}

impl RunFolder {
    /// Makes the folder of a new run, and those above it. It becomes a run with [`RunFolder::write_info`].
    ///
    /// # Errors
    /// [`RunError::Exists`] where a run lies there already, [`RunError::Remains`] where parts of one do, [`RunError::Locked`],
    /// [`RunError::Io`].
    pub fn create(dir: &Path) -> Result<Self, RunError> {
        refuse_existing(dir)?;
        std::fs::create_dir_all(dir).map_err(RunError::io("create", dir))?;
        let lock = Lock::take(dir)?;
        // Another process may have begun and ended a run here before the lock was ours.
        refuse_existing(dir)?;
        Ok(Self { view: RunView { root: dir.to_owned() }, lock })
    }

    /// As [`RunFolder::create`]; where `dir` is taken by a run, begun or at work, its name gets `-2`, `-3`, ...
    ///
    /// # Errors
    /// As [`RunFolder::create`] where that many are taken.
    pub fn create_beside(dir: &Path) -> Result<Self, RunError> {
        const MOST: usize = 1000;
        let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let taken = |made: &Result<Self, RunError>| {
            matches!(made, Err(RunError::Exists(_) | RunError::Remains(_) | RunError::Locked { .. }))
        };
        let others = (2..MOST).map(|k| Self::create(&dir.with_file_name(format!("{name}-{k}"))));
        let first = Self::create(dir);
        if taken(&first) { others.into_iter().find(|made| !taken(made)).unwrap_or(first) } else { first }
    }

    /// Opens an existing run to go on with it.
    ///
    /// # Errors
    /// [`RunError::NotARun`], [`RunError::Locked`], [`RunError::Io`], also where checkpoints lie behind a link.
    pub fn open(dir: &Path) -> Result<Self, RunError> {
        let view = RunView::open(dir)?;
        let checkpoints = view.checkpoints_dir();
        refuse_link(&checkpoints).map_err(RunError::io("write to", &checkpoints))?;
        Ok(Self { view, lock: Lock::take(dir)? })
    }

    /// What the user should know: the lock of a process that died was taken over.
    pub fn warning(&self) -> Option<&str> {
        self.lock.warning.as_deref()
    }

    /// Writes `run.json`, at once or not at all.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn write_info(&self, info: &RunInfo) -> Result<(), RunError> {
        let path = self.info_path();
        let mut text = serde_json::to_string_pretty(info).map_err(|e| RunError::damaged(&path, e))?;
        text.push('\n');
        write_atomic(&RealDisk, &path, text.as_bytes()).map_err(RunError::io("write", &path))
    }

    /// Writes `crash.json`, at once or not at all: what is known where an error ended the run.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn write_crash(&self, crash: &Value) -> Result<(), RunError> {
        let path = self.root.join("crash.json");
        write_atomic(&RealDisk, &path, format!("{crash:#}\n").as_bytes()).map_err(RunError::io("write", &path))
    }

    /// Takes `crash.json` away, where there is one: the run goes on.
    pub fn clear_crash(&self) {
        // What cannot be removed says when it was written.
        let _ = std::fs::remove_file(self.root.join("crash.json"));
    }

    /// Writes `config.toml`, at once or not at all. Values whose keys speak of a token, a secret or a password are masked.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn write_config(&self, config: &toml::Table) -> Result<(), RunError> {
        let path = self.config_path();
        let shown = masked("", &toml::Value::Table(config.clone()));
        let text = toml::to_string(&shown).map_err(|e| RunError::damaged(&path, e))?;
        write_atomic(&RealDisk, &path, text.as_bytes()).map_err(RunError::io("write", &path))
    }
}

fn refuse_existing(dir: &Path) -> Result<(), RunError> {
    // A link counts, wherever it leads.
    let look = |name: &&str| std::fs::symlink_metadata(dir.join(name)).ok();
    let logs: Vec<_> = ["metrics.jsonl", "eval.jsonl"].iter().filter_map(look).collect();
    // Killed before its first checkpoint, or there was no room for it: nothing was learned, and it could be neither resumed nor begun again.
    let never_began = !logs.is_empty() && logs.iter().all(|log| log.is_file() && log.len() == 0);
    let saved =
        CheckpointStore::new(&dir.join("checkpoints"), 1, Arc::new(RealDisk)).steps().is_ok_and(|steps| !steps.is_empty());
    let begun = ["run.json", "config.toml", "checkpoints", "policy"].iter().any(|name| look(name).is_some());
    let taken = saved || look(&"policy").is_some() || !never_began && (begun || !logs.is_empty());
    let goes_on = look(&"run.json").is_some() && saved;
    match (taken, goes_on) {
        (false, _) => Ok(()),
        (true, true) => Err(RunError::Exists(dir.to_owned())),
        (true, false) => Err(RunError::Remains(dir.to_owned())),
    }
}

/// The folder of runs that were not told where to go: `MOTLEY_HOME`, or `runs` in the folder at hand.
pub fn home() -> PathBuf {
    std::env::var_os("MOTLEY_HOME").filter(|dir| !dir.is_empty()).map_or_else(|| PathBuf::from("runs"), PathBuf::from)
}

/// Where a run goes that was not told where: `<base>/<suite>/<task>/<algo>/<UTC time>-s<seed>` (`base` is [`home`]).
/// Characters that are no part of a plain file name become `_`.
pub fn default_dir(base: &Path, task: &str, algo: &str, time: UtcTime, seed: u64) -> PathBuf {
    let (suite, name) = task.split_once('/').or_else(|| task.split_once(':')).unwrap_or(("task", task));
    let stem = format!("{}-s{seed}", time.compact());
    base.join(plain(suite)).join(plain(name)).join(plain(algo)).join(stem)
}

fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if name.chars().all(|c| c == '.') { "_".repeat(name.len().max(1)) } else { name }
}

/// What is said of a folder in which a run or a policy bundle was looked for and none is: it does not exist, runs or bundles lie below it
/// (three of them by name), or it is something else.
pub fn neither(dir: &Path) -> String {
    let shown = dir.display();
    if !dir.exists() {
        return format!("{shown} does not exist");
    }
    let found = below(dir);
    let Some(first) = found.first() else { return format!("{shown} is neither a run folder nor a policy bundle") };
    let what = if RunView::open(first).is_ok() { "runs" } else { "policy bundles" };
    let names: Vec<String> = found.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    let more = if found.len() > NAMED { ", ..." } else { "" };
    format!("{shown} holds {what}, name one: {}{more}", names.join(", "))
}

/// Runs or bundles that are named at most.
const NAMED: usize = 3;

/// The first runs and bundles below `dir`, one more than are named; down to where [`default_dir`] puts runs.
fn below(dir: &Path) -> Vec<PathBuf> {
    const DEPTH: usize = 4;
    const LOOKED_AT: usize = 1000;
    let (mut level, mut found, mut looked) = (vec![dir.to_owned()], Vec::new(), 0);
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for folder in level {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            let mut inside: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|path| path.is_dir()).collect();
            inside.sort();
            for path in inside {
                looked += 1;
                if found.len() > NAMED || looked > LOOKED_AT {
                    return found;
                }
                let is_one = RunView::open(&path).is_ok() || is_bundle(&path);
                if is_one { found.push(path) } else { next.push(path) }
            }
        }
        level = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> RunInfo {
        RunInfo {
            motley: "0.1.0".into(),
            git_commit: None,
            platform: crate::platform::platform(),
            cpu: crate::platform::cpu(),
            threads: 2,
            algo: "happo".into(),
            task: "mpe/simple_spread_v3".into(),
            task_version: 1,
            seed: u64::MAX,
            preset: Some("tuned".into()),
            status: RunStatus::Running,
            reason: None,
            started: "2026-11-03T09:05:07Z".into(),
            env_steps: 0,
            exact_resume: true,
            changes: vec![],
            evaluation_due: false,
            eval_env_failures: 0,
            signed: None,
        }
    }

    #[test]
    fn a_run_is_created_once_and_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        assert!(matches!(RunFolder::open(&root), Err(RunError::NotARun(_))));
        let run = RunFolder::create(&root).unwrap();
        let config: toml::Table = toml::from_str("seed = 1\n[algo]\nlr = 5e-4\n[log]\nApi_Token = 'x1'\n").unwrap();
        run.write_config(&config).unwrap();
        run.write_info(&info()).unwrap();
        assert!(matches!(RunFolder::open(&root), Err(RunError::Locked { .. })));
        assert_eq!(RunView::open(&root).unwrap().info().unwrap(), info());
        drop(run);
        assert!(matches!(RunFolder::create(&root), Err(RunError::Remains(_))), "without a checkpoint it cannot go on");
        // Killed before its first checkpoint it learned nothing, and is begun anew.
        std::fs::write(root.join("metrics.jsonl"), "").unwrap();
        std::fs::create_dir(root.join("checkpoints")).unwrap();
        RunFolder::create(&root).unwrap();
        std::fs::write(root.join("metrics.jsonl"), "{\"env_steps\":0}\n").unwrap();
        assert!(matches!(RunFolder::create(&root), Err(RunError::Remains(_))), "what was logged is not written over");
        // Killed before `latest` was written.
        std::fs::create_dir(root.join("checkpoints/step-0")).unwrap();
        let error = RunFolder::create(&root).unwrap_err();
        assert!(matches!(error, RunError::Exists(_)) && error.exit_code() == 2, "{error}");
        let run = RunFolder::open(&root).unwrap();
        assert_eq!(run.warning(), None);
        let change = Change { env_steps: 7, key: "total_steps".into(), from: 1.into(), to: 2.into() };
        let later = RunInfo { status: RunStatus::Stopped, reason: Some("SIGTERM".into()), changes: vec![change], ..info() };
        run.write_info(&later).unwrap();
        assert_eq!(run.info().unwrap(), later);
        let read = run.config().unwrap();
        assert_eq!((&read["algo"]["lr"], &read["log"]["Api_Token"]), (&toml::Value::Float(5e-4), &"***".into()));
        assert!(std::fs::read_to_string(run.info_path()).unwrap().contains("\"status\": \"stopped\""));
    }

    #[test]
    fn a_folder_above_runs_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs");
        assert_eq!(neither(&runs), format!("{} does not exist", runs.display()));
        std::fs::create_dir(&runs).unwrap();
        assert_eq!(neither(&runs), format!("{} is neither a run folder nor a policy bundle", runs.display()));
        let put = |name: &str, file: &str| {
            std::fs::create_dir_all(runs.join(name)).unwrap();
            std::fs::write(runs.join(name).join(file), "{}").unwrap();
        };
        put("five", "run.json");
        put("mpe/simple_v3/happo/one", "run.json");
        let shown = |name: &str| runs.join(name).display().to_string();
        let both = format!("{} holds runs, name one: {}, {}", runs.display(), shown("five"), shown("mpe/simple_v3/happo/one"));
        assert_eq!(neither(&runs), both);
        put("first", "run.json");
        put("second", "run.json");
        let many = format!("name one: {}, {}, {}, ...", shown("first"), shown("five"), shown("second"));
        assert!(neither(&runs).ends_with(&many), "{}", neither(&runs));
        put("../bundles/spread", "policy.json");
        assert!(neither(&dir.path().join("bundles")).contains("holds policy bundles, name one"));
    }

    #[test]
    fn anything_of_a_run_is_in_the_way() {
        for name in ["run.json", "metrics.jsonl", "config.toml", "checkpoints"] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(name), "{}").unwrap();
            let error = RunFolder::create(dir.path()).unwrap_err();
            assert!(matches!(error, RunError::Remains(_)) && error.exit_code() == 2, "{name}: {error}");
            assert!(!dir.path().join(crate::lock::NAME).exists(), "nothing is touched");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("slurm-17.out"), "").unwrap();
        assert!(RunFolder::create(dir.path()).is_ok());
    }

    #[test]
    fn runs_of_one_second_get_folders_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("20090213T233130Z-s3");
        let runs: Vec<RunFolder> = (0..3).map(|_| RunFolder::create_beside(&wanted).unwrap()).collect();
        let names: Vec<_> = runs.iter().map(|r| r.root().file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["20090213T233130Z-s3", "20090213T233130Z-s3-2", "20090213T233130Z-s3-3"]);
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(RunFolder::create_beside(&dir.path().join("file/run")).is_err());
    }

    #[test]
    fn a_run_killed_before_it_began_is_not_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["metrics.jsonl", "eval.jsonl", "config.toml"] {
            std::fs::write(dir.path().join(name), if name == "config.toml" { "seed = 1" } else { "" }).unwrap();
        }
        assert!(RunFolder::create(dir.path()).is_ok());
    }

    #[test]
    fn broken_files_are_errors_with_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(dir.path()).unwrap();
        std::fs::write(run.config_path(), "a = 1\nb = = 2\n").unwrap();
        std::fs::write(run.info_path(), "{\"motley\": 3}").unwrap();
        assert!(run.config().unwrap_err().to_string().contains("line 2"));
        assert!(matches!(run.info(), Err(RunError::Damaged { .. })));
    }

    #[test]
    fn default_names_stay_below_the_base() {
        let at = UtcTime::from_unix(1_234_567_890);
        let name = |task| default_dir(Path::new("runs"), task, "happo", at, 3).display().to_string();
        assert_eq!(name("mpe/simple_spread_v3"), "runs/mpe/simple_spread_v3/happo/20090213T233130Z-s3");
        assert_eq!(name("py:my.module:make"), "runs/py/my.module_make/happo/20090213T233130Z-s3");
        assert_eq!(name("gym/ALE/Pong-v5"), "runs/gym/ALE_Pong-v5/happo/20090213T233130Z-s3");
        assert_eq!(name("../.."), "runs/__/__/happo/20090213T233130Z-s3");
        assert_eq!(name("/etc"), "runs/_/etc/happo/20090213T233130Z-s3");
    }
}

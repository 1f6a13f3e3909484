//! What the tests of faults share: tiny runs in process and through the command, and what two runs are compared by.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use motley_core::Env;
use motley_run::{CheckpointStore, Loaded, RealDisk, RunFolder, StateReader};
use motley_testkit::probe::{TestTask, tasks};
use motley_train::{Event, Outcome, Plan, Registry, Request, TrainError, Trainer};

/// A run of 25 updates on 4 environments.
pub const TINY: [&str; 8] = [
    "preset=none",
    "num_envs=4",
    "algo.rollout_steps=20",
    "net.hidden_sizes=[16]",
    "eval.episodes=4",
    "total_steps=2000",
    "log.checkpoint_every=400",
    "eval.every=600",
];

/// What makes off-policy learners begin early and stay quick, and fills and wraps a replay, of steps or of episodes, that fits into any
/// machine's free memory; others do not have these keys.
const OFF_POLICY: [&str; 7] = [
    "algo.warmup_steps=200",
    "algo.batch_size=32",
    "algo.updates_per_step=0.2",
    "algo.buffer_size=1200",
    "algo.batch_episodes=4",
    "algo.buffer_episodes=30",
    "algo.episode_limit=15",
];

/// Everything that ships, and the probes.
pub fn registry() -> Registry {
    let mut registry = Registry::builtin();
    for task in tasks() {
        registry.tasks = registry.tasks.with(task);
    }
    registry
}

/// A registry whose task `test/faulty` is made by `make`, which is given the number of copies made before: the plan makes copy
/// 0, environment `e` is copy `e + 1`.
pub fn registry_with(name: &str, make: impl Fn(usize) -> Box<dyn Env> + Send + Sync + 'static) -> Registry {
    registry().with_task(TestTask::new(name, make))
}

pub fn words(settings: &[&str]) -> Vec<String> {
    TINY.iter().chain(settings).map(ToString::to_string).collect()
}

/// [`TINY`] and more settings; a key that the algorithm does not have is left out.
pub fn plan(registry: &Registry, algo: &str, task: &str, settings: &[&str]) -> Result<Plan, motley_core::ConfigError> {
    let keys = motley_train::settings::keys(&*registry.algorithms.get(algo)?, &*registry.tasks.get(task)?);
    let known = |word: &String| {
        word.starts_with("preset=") || word.split_once('=').is_some_and(|(name, _)| keys.iter().any(|k| k.name == name))
    };
    let overrides = OFF_POLICY.iter().map(ToString::to_string).chain(words(settings)).filter(known).collect();
    Request { algo: algo.into(), task: task.into(), overrides, ..Request::default() }.plan(registry)
}

pub fn start(registry: &Registry, algo: &str, task: &str, settings: &[&str], dir: &Path) -> Result<Trainer, TrainError> {
    Trainer::start(plan(registry, algo, task, settings)?, RunFolder::create(dir)?)
}

/// The request of a run that is taken up.
pub fn resumed(algo: &str, task: &str, settings: &[&str]) -> Request {
    let overrides = settings.iter().map(ToString::to_string).collect();
    Request { algo: algo.into(), task: task.into(), overrides, ..Request::default() }
}

pub fn resume(registry: &Registry, dir: &Path, settings: &[&str]) -> Result<Trainer, TrainError> {
    let folder = RunFolder::open(dir)?;
    let info = folder.info()?;
    let plan = resumed(&info.algo, &info.task, settings).resume(registry, &folder.config()?, false)?;
    let loaded = store(dir).load_latest()?;
    Trainer::resume(plan, folder, &loaded)
}

pub fn store(dir: &Path) -> CheckpointStore {
    CheckpointStore::new(&dir.join("checkpoints"), 1, Arc::new(RealDisk))
}

pub fn latest(dir: &Path) -> Loaded {
    store(dir).load_latest().unwrap()
}

/// Trains to the end, or to the first update after `stop_at` env steps; returns the warnings too.
pub fn train(trainer: &mut Trainer, stop_at: u64) -> (Result<Outcome, TrainError>, Vec<String>) {
    let stop = AtomicBool::new(false);
    let mut warnings = Vec::new();
    let outcome = trainer.train(&stop, &mut |event| match event {
        Event::Progress { env_steps, .. } if *env_steps >= stop_at => stop.store(true, Ordering::Relaxed),
        Event::Warning(text) => warnings.push(text.clone()),
        _ => {}
    });
    (outcome, warnings)
}

/// A whole run in a new folder.
pub fn whole(registry: &Registry, algo: &str, task: &str, settings: &[&str], dir: &Path) -> Print {
    let mut trainer = start(registry, algo, task, settings, dir).unwrap_or_else(|e| panic!("{algo} {task} {settings:?}: {e}"));
    let outcome = train(&mut trainer, u64::MAX).0.unwrap_or_else(|e| panic!("{algo} {task} {settings:?}: {e}"));
    assert!(outcome.finished && !outcome.checkpoint_failed);
    drop(trainer);
    print(dir)
}

/// What must be equal between two runs that should not differ.
#[derive(PartialEq, Clone)]
pub struct Print {
    pub step: u64,
    pub state: Vec<u8>,
    pub metrics: Vec<String>,
    pub eval: String,
}

/// The state of the latest checkpoint, the metrics without `time/`, the evaluations.
pub fn print(dir: &Path) -> Print {
    let step = latest(dir).step;
    let state = std::fs::read(dir.join(format!("checkpoints/step-{step}/state.safetensors"))).unwrap();
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let without_time = |line: &str| {
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        fields.retain(|name, _| !name.starts_with("time/"));
        serde_json::Value::Object(fields).to_string()
    };
    let metrics = text.lines().map(without_time).collect();
    Print { step, state, metrics, eval: std::fs::read_to_string(dir.join("eval.jsonl")).unwrap() }
}

impl Print {
    /// Says in what two runs differ rather than printing megabytes.
    pub fn must_equal(&self, other: &Self, what: &str) {
        assert_eq!(self.step, other.step, "{what}: steps");
        for (a, b) in self.metrics.iter().zip(&other.metrics) {
            assert_eq!(a, b, "{what}: metrics");
        }
        assert_eq!(self.metrics.len(), other.metrics.len(), "{what}: log points");
        assert_eq!(self.eval, other.eval, "{what}: evaluations");
        let (a, b) = (reader(&self.state), reader(&other.state));
        for name in a.names() {
            assert_eq!(a.u8s(name).ok(), b.u8s(name).ok(), "{what}: {name}");
            assert_eq!(a.f32s(name).ok(), b.f32s(name).ok(), "{what}: {name}");
        }
        assert!(self.state == other.state, "{what}: the states differ in their bytes");
    }
}

pub fn reader(state: &[u8]) -> StateReader {
    StateReader::from_bytes(state.to_vec()).unwrap()
}

/// Entries of the learner (networks, optimisers, statistics) as bits, without counters.
pub fn learned(state: &StateReader) -> Vec<(String, Vec<u64>)> {
    let names: Vec<String> = state.names().filter(|n| n.starts_with("algorithm.")).map(ToString::to_string).collect();
    let bits = |name: &str| match state.f32s(name) {
        Ok(xs) => Some(xs.iter().map(|x| u64::from(x.to_bits())).collect()),
        Err(_) => state.f64s(name).ok().map(|xs| xs.iter().map(|x| x.to_bits()).collect()),
    };
    names.into_iter().filter_map(|n| bits(&n).map(|b| (n, b))).collect()
}

/// Every number in a state is finite.
pub fn assert_finite(state: &StateReader) {
    for name in state.names() {
        assert!(
            state.f32s(name).is_ok_and(|xs| xs.iter().all(|x| x.is_finite())) || state.f32s(name).is_err(),
            "{name} is not finite"
        );
        assert!(
            state.f64s(name).is_ok_and(|xs| xs.iter().all(|x| x.is_finite())) || state.f64s(name).is_err(),
            "{name} is not finite"
        );
    }
}

/// The command.
pub fn motley(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
    command.args(words).env("NO_COLOR", "1");
    command
}

/// `train ALGO mpe/simple_spread_v3` with [`TINY`] and more settings into `out`.
pub fn train_command(algo: &str, settings: &[&str], out: &Path) -> Command {
    let mut command = motley(&["train", algo, "mpe/simple_spread_v3"]);
    command.args(words(settings)).arg("--out").arg(out);
    command
}

pub fn resume_command(run: &Path, settings: &[&str]) -> Command {
    let mut command = motley(&["train", "--resume"]);
    command.arg(run).args(settings);
    command
}

/// Exit code, standard output, standard error.
pub fn ends(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
    to.to_owned()
}

/// Planned panics say nothing; others are told as ever.
pub fn hush() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().downcast_ref::<&str>().is_some_and(|text| text.starts_with("a planned")) {
            before(info);
        }
    }));
}

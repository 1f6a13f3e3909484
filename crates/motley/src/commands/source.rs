//! A trained policy by path: a run folder (the bundle of its best evaluation) or a bundle.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use motley_core::{Actions, ConfigError, Env, EnvError, Frame, Origin, Settings, Status, Stream, TeamSpec};
use motley_nn::{Policy, TeamPolicy};
use motley_run::{RealDisk, RunView, is_bundle, read_bundle};
use motley_train::bundle::{PolicyInfo, from_bundle};
use motley_train::recovery::difference;
use motley_train::settings::RunConfig;
use motley_train::{MakeEnv, Registry, recall_secrets};

use crate::commands::config::environment;
use crate::error::Failure;

/// A policy with the environment that it was trained in.
pub(crate) struct Loaded {
    /// The policy.
    pub(crate) policy: TeamPolicy,
    /// Makes the environment, with the settings of training.
    pub(crate) make: MakeEnv,
    /// The task.
    pub(crate) task: String,
    /// The algorithm.
    pub(crate) algo: String,
}

/// The policy of a run folder or a bundle.
pub(crate) fn bundle(path: &Path) -> Result<(PolicyInfo, TeamPolicy), Failure> {
    let dir = bundle_dir(path)?;
    from_bundle(&read_bundle(&RealDisk, &dir)?).map_err(|e| Failure::run(format!("{}: {e}", dir.display())))
}

fn bundle_dir(path: &Path) -> Result<PathBuf, Failure> {
    if is_bundle(path) {
        return Ok(path.to_owned());
    }
    let view = RunView::open(path)
        .map_err(|_| Failure::usage(format!("{} is neither a run folder nor a policy bundle", path.display())))?;
    let dir = view.policy_dir();
    if !is_bundle(&dir) {
        return Err(Failure::run(format!("{} has no policy yet: the first evaluation writes it", path.display())));
    }
    Ok(dir)
}

/// Loads a policy and its task.
pub(crate) fn load(path: &Path, registry: &Registry) -> Result<Loaded, Failure> {
    load_on(path, registry, None, &[])
}

/// Loads a policy with its task, or with another one that shows the same team. Settings of training that the task has are kept, but
/// for those that `changed` sets.
pub(crate) fn load_on(path: &Path, registry: &Registry, other: Option<&str>, changed: &[String]) -> Result<Loaded, Failure> {
    let (info, policy) = bundle(path)?;
    let name = other.unwrap_or(&info.task).to_owned();
    let elsewhere = name != info.task;
    let task = registry.tasks.get(&name)?;
    let mut settings = Settings::new(task.keys());
    let written: toml::Table = info.config.get("task").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    for (key, value) in written.iter().filter(|(key, _)| *key != "reward") {
        let key = format!("task.{key}");
        if !elsewhere || settings.key(&key).is_some() {
            settings.set(&key, value, Origin::Run)?;
        }
    }
    for setting in changed {
        let bare = setting.strip_prefix("task.").unwrap_or(setting);
        refuse_training(bare, &settings)?;
        settings.set_text(&format!("task.{bare}"), Origin::CommandLine)?;
    }
    recall_secrets(&mut settings, &environment()?)?;
    let options = settings.section("task");
    let env = task.make(&options)?;
    let (expected, found) = (policy.team(), env.spec());
    // Versions count the rules of one task: those of another say nothing.
    let version = elsewhere || expected.version == found.version;
    if !version || expected.agents != found.agents || expected.state != found.state {
        let what = difference(expected, found).filter(|_| version);
        let what = what.unwrap_or_else(|| format!("expected version {} of its rules, found {}", expected.version, found.version));
        return Err(Failure::usage(format!(
            "{} was trained on {} for another team than {name} shows: {what}",
            path.display(),
            info.task
        )));
    }
    let team = (elsewhere || !changed.is_empty()).then(|| Arc::clone(policy.team()));
    let make: MakeEnv = Arc::new(move || -> Result<Box<dyn Env>, ConfigError> {
        let env = task.make(&options)?;
        Ok(match &team {
            Some(team) => Box::new(Renamed { env, team: Arc::clone(team) }),
            None => env,
        })
    });
    Ok(Loaded { policy, make, task: name, algo: info.algo })
}

/// Refuses a setting of training: a policy that is trained has none.
fn refuse_training(setting: &str, task: &Settings) -> Result<(), Failure> {
    let key = setting.split_once('=').map_or(setting, |(key, _)| key).trim();
    let section = key.split_once('.').map_or("", |(section, _)| section);
    let of_run = RunConfig::keys().iter().any(|k| k.name == key);
    if task.key(&format!("task.{key}")).is_none() && (of_run || ["algo", "net", "eval", "log"].contains(&section)) {
        return Err(Failure::usage(format!(
            "{key} is a setting of training: here only settings of the task can be given (motley config ALGO TASK shows them under task.*)"
        )));
    }
    Ok(())
}

/// Another task, or other settings, in the team that a policy was trained for: agents and state are the same, a step limit may not be.
struct Renamed {
    env: Box<dyn Env>,
    team: Arc<TeamSpec>,
}

impl Env for Renamed {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.env.reset(stream, out)
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.env.step(actions, out)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        self.env.snapshot()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        self.env.restore(snapshot)
    }

    fn won(&self) -> Option<bool> {
        self.env.won()
    }
}

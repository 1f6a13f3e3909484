//! A trained policy by path: a run folder (the bundle of its best evaluation) or a bundle.

use std::path::{Path, PathBuf};

use motley_core::Settings;
use motley_nn::{Policy, TeamPolicy};
use motley_run::{RealDisk, RunView, is_bundle, read_bundle};
use motley_train::bundle::{PolicyInfo, from_bundle};
use motley_train::{MakeEnv, Registry};

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
    let (info, policy) = bundle(path)?;
    let task = registry.tasks.get(&info.task)?;
    let mut settings = Settings::new(task.keys());
    let written: toml::Table = info.config.get("task").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    for (name, value) in written.iter().filter(|(name, _)| *name != "reward") {
        settings.set(&format!("task.{name}"), value, motley_core::Origin::Run)?;
    }
    let options = settings.section("task");
    let env = task.make(&options)?;
    let (expected, found) = (policy.team(), env.spec());
    if expected.version != found.version || expected.agents != found.agents || expected.state != found.state {
        return Err(Failure::usage(format!(
            "{} was trained for another team: {} version {} then, version {} now; agents, spaces or rules differ",
            path.display(),
            info.task,
            expected.version,
            found.version
        )));
    }
    let make: MakeEnv = std::sync::Arc::new(move || task.make(&options));
    Ok(Loaded { policy, make, task: info.task, algo: info.algo })
}

//! A trained policy by path: a run folder (the bundle of its best evaluation, or one of its checkpoints) or a bundle.

use std::path::Path;
use std::sync::Arc;

use motley_core::secret::missing;
use motley_core::{Origin, Purpose, Settings, Stream};
use motley_nn::{Policy, TeamPolicy};
use motley_run::{Bundle, CheckpointStore, Identity, Loaded as Checkpoint, RealDisk, RunView, is_bundle, neither, read_bundle};
use motley_train::bundle::{PolicyInfo, from_bundle, to_bundle};
use motley_train::consent::{chosen, signed};
use motley_train::recovery::difference;
use motley_train::settings::{RunConfig, keys, setting};
use motley_train::{Consent, MakeEnv, Registry, Request, recall_secrets};

use crate::args::{Chosen, PolicyArgs};
use crate::commands::config::environment;
use crate::error::Failure;
use crate::output::Output;

/// A policy with the environment that it was trained in, or another one that it can be played in.
pub(crate) struct Loaded {
    /// The policy, in the team as the environment shows it: agents and state are those of training, a step limit may not be.
    pub(crate) policy: TeamPolicy,
    /// Makes the environment, with the settings of training but for those that were changed.
    pub(crate) make: MakeEnv,
    /// The task.
    pub(crate) task: String,
    /// The algorithm.
    pub(crate) algo: String,
}

/// Where a policy lies, and which one of a run is meant.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// A run folder or a policy bundle.
    pub(crate) path: &'a Path,
    /// Of a run.
    pub(crate) chosen: Chosen,
    /// Whether it may run code though it is not known as the user's own.
    pub(crate) trust: bool,
    /// Told what else is taken than was asked for.
    pub(crate) out: &'a Output,
}

impl<'a> Source<'a> {
    /// What a command line names.
    pub(crate) fn new(args: &'a PolicyArgs, out: &'a Output) -> Self {
        Self { path: &args.from, chosen: args.checkpoint, trust: args.trust.trust, out }
    }

    /// The policy with what is known of it.
    ///
    /// # Errors
    /// No run and no bundle, no such checkpoint, damage.
    pub(crate) fn read(self, registry: &Registry) -> Result<(PolicyInfo, TeamPolicy), Failure> {
        let from =
            |dir: &Path| from_bundle(&read_bundle(&RealDisk, dir)?).map_err(|e| Failure::run(format!("{}: {e}", dir.display())));
        let shown = self.path.display();
        if is_bundle(self.path) {
            return match self.chosen {
                Chosen::Best => from(self.path),
                _ => Err(Failure::usage(format!(
                    "{shown} is a policy bundle, which holds one policy: --checkpoint is for run folders"
                ))),
            };
        }
        let view = RunView::open(self.path).map_err(|_| Failure::usage(neither(self.path)))?;
        if self.chosen == Chosen::Best && is_bundle(&view.policy_dir()) {
            let (mut info, policy) = from(&view.policy_dir()).map_err(|failure| Failure {
                message: format!("{}; the policy of the last checkpoint is had with --checkpoint latest", failure.message),
                ..failure
            })?;
            // A run that was taken up on its user's word may have its best policy from before.
            info.signed = info.signed.or_else(|| view.info().ok()?.signed);
            return Ok((info, policy));
        }
        let store = CheckpointStore::new(&view.checkpoints_dir(), 1, Arc::new(RealDisk));
        let loaded = self.checkpoint(&store)?;
        loaded.warnings.iter().for_each(|warning| self.out.warning(warning));
        if self.chosen == Chosen::Best {
            let evaluated = std::fs::metadata(view.eval_path()).is_ok_and(|log| log.len() > 0);
            let why = if evaluated { "was evaluated, but its best policy is missing or broken" } else { "has no evaluation yet" };
            self.out.note(format!("{shown} {why}: the policy after {} env steps is taken", loaded.step));
        }
        let policy = from_checkpoint(self, &view, &loaded, registry)?;
        from_bundle(&policy).map_err(|e| Failure::run(format!("{shown}: {e}")))
    }

    /// What a task that it names is opened on.
    fn consent(self, mark: Option<String>) -> Consent {
        Consent { from: self.path.display().to_string(), mark, trust: self.trust }
    }

    fn checkpoint(self, store: &CheckpointStore) -> Result<Checkpoint, Failure> {
        let shown = self.path.display();
        match self.chosen {
            Chosen::Step(step) => {
                let known = store.steps()?;
                if known.contains(&step) {
                    return Ok(store.load(step)?);
                }
                let there: Vec<String> = known.iter().map(ToString::to_string).collect();
                let there =
                    if there.is_empty() { "it has none yet".to_owned() } else { format!("there are {}", there.join(", ")) };
                Err(Failure::usage(format!(
                    "{shown} has no checkpoint after {step} env steps: {there} (log.keep says how many stay)"
                )))
            }
            Chosen::Best if store.steps()?.is_empty() => {
                Err(Failure::run(format!("{shown} has no policy yet: the first evaluation or checkpoint writes it")))
            }
            Chosen::Best | Chosen::Latest => Ok(store.load_latest()?),
        }
    }
}

/// The policy that a checkpoint would go on with, as a bundle.
fn from_checkpoint(source: Source<'_>, view: &RunView, loaded: &Checkpoint, registry: &Registry) -> Result<Bundle, Failure> {
    let info = view.info()?;
    let config = view.config()?;
    let (algorithm, task) = (registry.algorithms.get(&info.algo)?, registry.tasks.get(&info.task)?);
    let mut settings = Settings::new(keys(&*algorithm, &*task));
    settings.merge(&config, &Origin::Run)?;
    // Of the environment only secrets are looked at: a policy that is trained has no other settings to be told.
    let masked: Vec<&str> = settings.iter().filter(|(k, v, _)| missing(&k.name, v).is_some()).map(|(k, ..)| &*k.name).collect();
    let mut environment = environment()?;
    environment.retain(|(name, value)| setting(name, value).split_once('=').is_some_and(|(key, _)| masked.contains(&key)));
    let consent = source.consent(info.signed.clone());
    let request = Request { algo: info.algo.clone(), task: info.task, environment, consent, ..Request::default() };
    let plan = request.resume(registry, &config, false)?;
    loaded.manifest.check(&Identity::new(plan.algorithm.name(), &plan.team))?;
    let init = Stream::new(info.seed, Purpose::Init, 0, 0);
    let mut algorithm = plan.algorithm.build(&plan.team, &plan.settings, &init)?;
    algorithm.load(&loaded.state.scope("algorithm"))?;
    // What it returns was not measured.
    let (config, unmeasured) = (plan.settings.to_table(), 0.0);
    let bundle = to_bundle(&algorithm.policy(), &info.algo, &config, loaded.step, unmeasured).map_err(Failure::run)?;
    Ok(signed(bundle, info.signed.as_deref()))
}

/// Loads a policy and its task.
pub(crate) fn load(source: Source<'_>, registry: &Registry) -> Result<Loaded, Failure> {
    load_on(source, registry, None, &[])
}

/// Loads a policy with its task, or with another one that shows the same team. Settings of training that the task has are kept, but
/// for those that `changed` sets.
pub(crate) fn load_on(
    source: Source<'_>,
    registry: &Registry,
    other: Option<&str>,
    changed: &[String],
) -> Result<Loaded, Failure> {
    let (info, policy) = source.read(registry)?;
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
    // A task that is named here is the user's own wish, with nothing but what is given here.
    if other.is_none() || chosen(&*task, &settings) {
        source.consent(info.signed.clone()).ask(&*task, &settings, &info.task)?;
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
    // Critics alone read the state.
    if !version || expected.agents != found.agents {
        let what = difference(expected, found).filter(|_| version);
        let what = what.unwrap_or_else(|| format!("expected version {} of its rules, found {}", expected.version, found.version));
        return Err(Failure::usage(format!(
            "{} was trained on {} for another team than {name} shows: {what}",
            source.path.display(),
            info.task
        )));
    }
    let policy = policy.in_team(Arc::clone(found));
    let make: MakeEnv = Arc::new(move || task.make(&options));
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

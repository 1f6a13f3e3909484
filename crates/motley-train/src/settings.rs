//! From names and layers of settings to something that can be trained.

use std::sync::Arc;

use motley_algos::{AlgorithmSpec, RewardMode};
use motley_core::config::parse_value;
use motley_core::secret::{alike, is_secret, masked, missing};
use motley_core::{ConfigError, Key, Kind, Origin, Settings, Task, TaskFamily, TeamSpec, settings};
use motley_run::{Change, Difference, platform};
use serde_json::{Map, json};

use crate::budget::check_networks;
use crate::collect::MakeEnv;
use crate::consent::Consent;
use crate::names::explained;
use crate::presets::{self, Preset};

settings! {
    /// What every run has.
    pub struct RunConfig in "" {
        /// Names every random stream of the run.
        seed: u64 = 0, Kind::Int(0, i64::MAX);
        /// Env steps to train for (one step of one environment copy is one).
        total_steps: u64 = 1_000_000, Kind::Int(1, 1_000_000_000_000_000);
        /// Env steps over which schedules (learning rates that decay, and the like) go from their start to their end; 0 is
        /// `total_steps`. With the full budget here, `total_steps` may be a part of it: that run is the beginning of the full one.
        schedule_steps: u64 = 0, Kind::Int(0, 1_000_000_000_000_000);
        /// Environment copies.
        num_envs: usize = 20, Kind::Int(1, 100_000);
        /// Threads; 0 takes every core that this process may use, but no more than `OMP_NUM_THREADS`.
        threads: usize = 0, Kind::Int(0, 1024);
        /// Where gradients are computed: `cpu` (fused kernels), `flex` (Burn on the CPU, the reference), `cuda` and `wgpu` in builds
        /// with those features.
        device: String = "cpu", Kind::Choice(&["cpu", "flex", "cuda", "wgpu"]);
        /// Environment failures borne in 10,000 env steps before the run stops.
        env_failure_limit: usize = 100, Kind::Int(0, 10_000);
        /// Play the next rollout while this one is learned from: workers do not wait for the learner, and every rollout is played
        /// by the policy of one update before.
        overlap: bool = false, Kind::Bool;
    }
}

impl RunConfig {
    /// The env steps at which schedules are at their end.
    pub fn horizon(&self) -> u64 {
        if self.schedule_steps == 0 { self.total_steps } else { self.schedule_steps }
    }

    /// The part of the schedules that is behind after `env_steps`, 0 to 1; beyond the horizon they stay at their end.
    pub fn progress(&self, env_steps: u64) -> f64 {
        (env_steps as f64 / self.horizon() as f64).min(1.0)
    }
}

settings! {
    /// Periodic evaluation.
    pub struct EvalConfig in "eval" {
        /// Env steps between evaluations.
        every: u64 = 100_000, Kind::Int(1, 1_000_000_000_000_000);
        /// Episodes of an evaluation.
        episodes: usize = 100, Kind::Int(1, 100_000);
        /// Sample actions instead of taking the most likely ones.
        stochastic: bool = false, Kind::Bool;
    }
}

settings! {
    /// What is written, and when.
    pub struct LogConfig in "log" {
        /// Env steps between checkpoints.
        checkpoint_every: u64 = 100_000, Kind::Int(1, 1_000_000_000_000_000);
        /// Checkpoints kept beside the best one.
        keep: usize = 2, Kind::Int(1, 10_000);
        /// Write a TensorBoard event file.
        tensorboard: bool = true, Kind::Bool;
    }
}

/// Algorithms and tasks by name.
#[derive(Clone)]
pub struct Registry {
    /// The algorithms.
    pub algorithms: motley_algos::Registry,
    /// The tasks.
    pub tasks: motley_envs::Registry,
}

impl Registry {
    /// Everything that Motley ships.
    pub fn builtin() -> Self {
        let tasks = motley_mujoco::tasks().into_iter().fold(motley_envs::Registry::builtin(), motley_envs::Registry::with);
        let tasks = motley_mujoco::families().into_iter().fold(tasks, motley_envs::Registry::with_family);
        let tasks = motley_sc2::families().into_iter().fold(tasks, motley_envs::Registry::with_family);
        let tasks = motley_bridge::families().into_iter().fold(tasks, motley_envs::Registry::with_family);
        Self { algorithms: motley_algos::Registry::builtin(), tasks }
    }

    /// With one more algorithm.
    #[must_use]
    pub fn with_algorithm(mut self, spec: impl AlgorithmSpec + 'static) -> Self {
        self.algorithms = self.algorithms.with(Arc::new(spec));
        self
    }

    /// With one more task.
    #[must_use]
    pub fn with_task(mut self, task: impl Task + 'static) -> Self {
        let task: Arc<dyn Task> = Arc::new(task);
        self.tasks = self.tasks.with(task);
        self
    }

    /// With one more family of tasks, whose names follow a pattern.
    #[must_use]
    pub fn with_family(mut self, family: impl TaskFamily + 'static) -> Self {
        let family: Arc<dyn TaskFamily> = Arc::new(family);
        self.tasks = self.tasks.with_family(family);
        self
    }
}

/// What is to be configured.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Algorithm.
    pub algo: String,
    /// Task.
    pub task: String,
    /// Layers above the task's defaults: a file's table with its name.
    pub file: Option<(String, toml::Table)>,
    /// `MOTLEY__A__B` variables as (name, value).
    pub environment: Vec<(String, String)>,
    /// `key=value` of the command line. `preset=NAME`, here, in the environment or in the file, chooses the preset.
    pub overrides: Vec<String>,
    /// Of a run that is resumed: what its `config.toml` comes with. A task that is named anew is its user's own wish.
    pub consent: Consent,
}

/// What a preset is named by, in every layer.
const PRESET: &str = "preset";

/// A configuration that fits its algorithm and task. Nothing of it is built yet but one environment, to ask for the team.
#[derive(Clone)]
pub struct Plan {
    /// The algorithm.
    pub algorithm: Arc<dyn AlgorithmSpec>,
    /// The task.
    pub task: Arc<dyn Task>,
    /// Every setting with its origin.
    pub settings: Settings,
    /// The preset in force.
    pub preset: Option<&'static Preset>,
    /// The team.
    pub team: Arc<TeamSpec>,
    /// Makes environments.
    pub make: MakeEnv,
}

impl Plan {
    /// The preset's name, `none` where there is none.
    pub fn preset_name(&self) -> &'static str {
        self.preset.map_or(presets::NONE, |p| p.name.as_str())
    }
}

/// Every key that a run of this algorithm on this task has.
pub fn keys(algorithm: &dyn AlgorithmSpec, task: &dyn Task) -> Vec<Key> {
    let reward = Key::new(
        "task.reward",
        "auto",
        Kind::Choice(&["auto", "sum", "mean", "own", "common"]),
        "What agents learn from; auto is the common reward where there is one, else the algorithm's choice.",
    );
    [RunConfig::keys(), EvalConfig::keys(), LogConfig::keys(), task.keys(), vec![reward], algorithm.keys()].concat()
}

impl Request {
    /// Layers the settings (defaults, task defaults, preset, file, environment, command line; later wins), asks one
    /// environment for its team and checks that the algorithm is defined for it.
    ///
    /// # Errors
    /// An unknown name or key (with the nearest), a value out of range, an algorithm that cannot train the task, more memory than
    /// this machine has.
    pub fn plan(&self, registry: &Registry) -> Result<Plan, ConfigError> {
        here(self.plan_anywhere(registry)?)
    }

    /// As [`Request::plan`], for what is only looked at or run on another machine: what this one has no room for
    /// ([`ConfigError::Room`]) comes beside the plan.
    ///
    /// # Errors
    /// Those of [`Request::plan`], but for room.
    pub fn plan_anywhere(&self, registry: &Registry) -> Result<(Plan, Option<ConfigError>), ConfigError> {
        let (algorithm, task) = (registry.algorithms.get(&self.algo)?, registry.tasks.get(&self.task)?);
        let (settings, preset) = self.layers(&*algorithm, &*task, registry)?;
        finish(algorithm, task, settings, preset)
    }

    /// Every setting as the layers give it. No environment is asked, so that no game or engine need be there: `auto` stays `auto`.
    ///
    /// # Errors
    /// An unknown name or key, a value out of range.
    pub fn settings(&self, registry: &Registry) -> Result<Settings, ConfigError> {
        let (algorithm, task) = (registry.algorithms.get(&self.algo)?, registry.tasks.get(&self.task)?);
        Ok(self.layers(&*algorithm, &*task, registry)?.0)
    }

    fn layers(
        &self,
        algorithm: &dyn AlgorithmSpec,
        task: &dyn Task,
        registry: &Registry,
    ) -> Result<(Settings, Option<&'static Preset>), ConfigError> {
        let mut settings = Settings::new(keys(algorithm, task));
        for (key, value) in task.defaults() {
            settings.set(&key, &value, Origin::Task(task.name()))?;
        }
        let preset = self.preset(algorithm.name(), &task.name())?;
        if let Some(preset) = preset {
            settings.merge(&preset.settings, &Origin::Preset(preset.title()))?;
        }
        let placed = |e: ConfigError| explained(e, algorithm, task, registry);
        if let Some((name, table)) = &self.file {
            let named = |e: ConfigError| ConfigError::File { path: name.clone(), why: placed(e).to_string() };
            let mut table = table.clone();
            table.remove(PRESET);
            settings.merge(&table, &Origin::File(name.clone())).map_err(named)?;
        }
        for (name, value) in self.environment.iter().filter(|(name, _)| key_of(name) != PRESET) {
            let named = |e: ConfigError| in_variable(name, placed(e));
            settings.set_text(&setting(name, value), Origin::Environment(name.clone())).map_err(named)?;
        }
        for text in self.overrides.iter().filter(|o| preset_of(o).is_none()) {
            settings.set_text(text, Origin::CommandLine).map_err(placed)?;
        }
        Ok((settings, preset))
    }

    /// The preset that the highest layer names which names one; the tuned one where none does.
    fn preset(&self, algo: &str, task: &str) -> Result<Option<&'static Preset>, ConfigError> {
        if let Some(name) = self.overrides.iter().rev().find_map(|o| preset_of(o)) {
            return presets::find(algo, task, Some(&name));
        }
        if let Some((variable, value)) = self.environment.iter().find(|(name, _)| key_of(name) == PRESET) {
            return presets::find(algo, task, Some(&word(value))).map_err(|e| in_variable(variable, e));
        }
        let Some((path, found)) = self.file.iter().find_map(|(path, table)| Some((path, table.get(PRESET)?))) else {
            return presets::find(algo, task, None);
        };
        let in_file = |e: ConfigError| ConfigError::File { path: path.clone(), why: e.to_string() };
        let not_a_name =
            || ConfigError::Value { key: PRESET.into(), expected: "a name in quotes".into(), found: found.to_string() };
        let name = found.as_str().ok_or_else(not_a_name).map_err(in_file)?;
        presets::find(algo, task, Some(name)).map_err(in_file)
    }

    /// The plan of an existing run: its written configuration (`config.toml`), with the changes that a resume allows and with the
    /// secrets that no file keeps, both from `environment` and `overrides`. `file` is not looked at. With `retune`, settings of the
    /// algorithm (`algo.*`) may change too.
    ///
    /// # Errors
    /// A change of anything else, a secret that is not given again, a configuration that this version cannot read, a task that would run
    /// code without consent.
    pub fn resume(&self, registry: &Registry, config: &toml::Table, retune: bool) -> Result<Plan, ConfigError> {
        here(self.resume_anywhere(registry, config, retune)?)
    }

    /// As [`Request::resume`], for what does not keep the run's memory: what this machine has no room for comes beside the plan.
    ///
    /// # Errors
    /// Those of [`Request::resume`], but for room.
    pub fn resume_anywhere(
        &self,
        registry: &Registry,
        config: &toml::Table,
        retune: bool,
    ) -> Result<(Plan, Option<ConfigError>), ConfigError> {
        let algorithm = registry.algorithms.get(&self.algo)?;
        let task = registry.tasks.get(&self.task)?;
        let mut settings = Settings::new(keys(&*algorithm, &*task));
        settings.merge(config, &Origin::Run)?;
        self.consent.ask(&*task, &settings, &task.name())?;
        let placed = |e: ConfigError| explained(e, &*algorithm, &*task, registry);
        if let Some(name) = self.overrides.iter().find_map(|o| preset_of(o)) {
            return Err(no_other_preset(&name));
        }
        for (name, value) in &self.environment {
            if key_of(name) == PRESET {
                return Err(in_variable(name, no_other_preset(&word(value))));
            }
            let text = setting(name, value);
            let named = |e: ConfigError| in_variable(name, placed(e));
            take_over(&mut settings, &text, &Origin::Environment(name.clone()), retune).map_err(named)?;
        }
        for text in &self.overrides {
            take_over(&mut settings, text, &Origin::CommandLine, retune).map_err(placed)?;
        }
        all_secrets(&settings)?;
        finish(algorithm, task, settings, None)
    }
}

/// The preset that `preset=NAME` names.
pub fn preset_of(setting: &str) -> Option<String> {
    setting.split_once('=').filter(|(key, _)| key.trim() == PRESET).map(|(_, name)| word(name))
}

/// A word, as text of TOML or bare.
fn word(text: &str) -> String {
    match parse_value(text.trim()) {
        toml::Value::String(word) => word,
        other => other.to_string(),
    }
}

fn no_other_preset(name: &str) -> ConfigError {
    ConfigError::Invalid(format!(
        "a resumed run keeps the settings that it was begun with, whatever preset they came from (config.toml has them all): leave out preset={name}, or start a new run with it"
    ))
}

/// The setting that an environment variable makes: `algo.lr=0.1` of `MOTLEY__ALGO__LR` with the value 0.1.
pub fn setting(variable: &str, value: &str) -> String {
    format!("{}={value}", key_of(variable))
}

/// The key that an environment variable names: `MOTLEY__ALGO__LR` is `algo.lr`.
fn key_of(variable: &str) -> String {
    variable.trim_start_matches("MOTLEY__").replace("__", ".").to_ascii_lowercase()
}

/// The other way.
fn variable_of(key: &str) -> String {
    format!("MOTLEY__{}", key.replace('.', "__").to_ascii_uppercase())
}

fn in_variable(name: &str, error: ConfigError) -> ConfigError {
    ConfigError::Invalid(format!("environment variable {name}: {error}"))
}

/// Sets a setting of a resumed run, which must be one that may change, or differ from what is written in its secrets alone.
fn take_over(settings: &mut Settings, text: &str, origin: &Origin, retune: bool) -> Result<(), ConfigError> {
    let key = text.split_once('=').map_or(text, |(k, _)| k.trim());
    let before = settings.value(key).map(|v| masked(key, v));
    settings.set_text(text, origin.clone())?;
    let after = masked(key, settings.value(key)?);
    match before {
        Ok(before) if !may_change(key, retune) && !alike(&before, &after) => Err(ConfigError::Invalid(format!(
            "a resumed run keeps {key} = {before}, {after} was asked for: only total_steps, threads, eval.* and log.* can be changed; start a new run instead"
        ))),
        _ => Ok(()),
    }
}

/// Refuses settings of which a written configuration holds only the mask.
fn all_secrets(settings: &Settings) -> Result<(), ConfigError> {
    let absent = settings.iter().find_map(|(key, value, _)| missing(&key.name, value).map(|place| (&key.name, place)));
    let Some((key, place)) = absent else { return Ok(()) };
    Err(ConfigError::Invalid(format!(
        "{place} is a secret, which the run folder does not keep: give {key} again, in the environment variable {} or as {key}=... where the command takes settings (train, eval)",
        variable_of(key)
    )))
}

/// Fills in the secrets of settings that were read from a file, from `environment` (`MOTLEY__A__B` variables as name and value).
///
/// # Errors
/// A secret that is not there, a variable that says something else than the file where that is no secret.
pub fn recall_secrets(settings: &mut Settings, environment: &[(String, String)]) -> Result<(), ConfigError> {
    let absent = |(key, value, _): (&Key, &toml::Value, &Origin)| missing(&key.name, value).map(|_| key.name.clone());
    for key in settings.iter().filter_map(absent).collect::<Vec<_>>() {
        if let Some((name, value)) = environment.iter().find(|(name, _)| *name == variable_of(&key)) {
            let origin = Origin::Environment(name.clone());
            take_over(settings, &format!("{key}={value}"), &origin, false).map_err(|e| in_variable(name, e))?;
        }
    }
    all_secrets(settings)
}

/// Whether a resumed run may take a setting over with another value.
fn is_free(key: &str) -> bool {
    ["total_steps", "threads"].contains(&key) || key.starts_with("eval.") || key.starts_with("log.")
}

/// The same where a run is taken up to be tuned: settings of the algorithm are free too. Those that networks and memories are built
/// by fail when the checkpoint is read.
fn may_change(key: &str, retune: bool) -> bool {
    is_free(key) || (retune && key.starts_with("algo."))
}

/// Every setting that a resumed run must keep, as checkpoints record them: without secrets, which cannot be compared.
pub fn kept(settings: &Settings) -> Map<String, serde_json::Value> {
    let kept = settings.iter().filter(|(key, value, _)| !is_free(&key.name) && !is_secret(&key.name, value));
    kept.map(|(key, value, _)| (key.name.clone(), json!(masked(&key.name, value)))).collect()
}

/// What a `config.toml` says of a key.
fn written<'a>(config: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    match key.split_once('.') {
        Some((section, name)) => config.get(section)?.get(name),
        None => config.get(key),
    }
}

/// What a resumed run takes over with another value than its `config.toml` has.
pub fn changes(settings: &Settings, config: &toml::Table, env_steps: u64, retune: bool) -> Vec<Change> {
    let change = |key: &Key, to: &toml::Value| {
        let from = written(config, &key.name).or_else(|| written(config, key.former?))?;
        let (from, to) = (masked(&key.name, from), masked(&key.name, to));
        let changed = from != to && may_change(&key.name, retune);
        changed.then(|| Change { env_steps, key: key.name.clone(), from: json!(from), to: json!(to) })
    };
    settings.iter().filter_map(|(key, to, _)| change(key, to)).collect()
}

/// Settings that a run must keep and that are recorded with another value, as (key, value, recorded value). A key is looked for under its
/// former name too; one that is not recorded is left alone.
fn unlike(
    settings: &Settings,
    retune: bool,
    recorded: impl Fn(&str) -> Option<serde_json::Value>,
) -> Vec<(String, serde_json::Value, serde_json::Value)> {
    let now = kept(settings).into_iter().filter(|(key, _)| !may_change(key, retune));
    let differs = now.filter_map(|(key, value)| {
        let former = settings.key(&key).and_then(|k| k.former);
        let found = recorded(&key).or_else(|| recorded(former?))?;
        // What an older version masked and this one does not is not compared.
        let [there, here] = [&found, &value].map(|v| toml::Value::try_from(v).ok());
        let same = there.zip(here).map_or(found == value, |(there, here)| alike(&there, &here));
        (!same).then_some((key, value, found))
    });
    differs.collect()
}

/// In what a run with this `config.toml` is another than `settings` ask for. Settings that one of the two does not know (another version
/// of Motley wrote it) are left alone, but for those that are given another value than their default in so many words.
pub fn differences(settings: &Settings, config: &toml::Table) -> Vec<Difference> {
    let recorded = |key: &str| written(config, key).map(|value| json!(masked(key, value)));
    let differs = unlike(settings, false, recorded).into_iter();
    let mut all: Vec<Difference> =
        differs.map(|(name, value, found)| Difference { name, expected: value.to_string(), found: found.to_string() }).collect();
    let unknown = |key: &Key| written(config, &key.name).or_else(|| written(config, key.former?)).is_none();
    let asked = |origin: &Origin| !matches!(origin, Origin::Default | Origin::Task(_) | Origin::Preset(_));
    let absent = settings.iter().filter(|(key, value, origin)| {
        asked(origin) && **value != key.default && !is_free(&key.name) && !is_secret(&key.name, value) && unknown(key)
    });
    all.extend(absent.map(|(key, value, _)| Difference {
        name: key.name.clone(),
        expected: json!(masked(&key.name, value)).to_string(),
        found: "nothing".into(),
    }));
    all
}

/// Refuses a `config.toml` that was changed after the checkpoint. Settings that one of the two does not know (another version of
/// Motley wrote it) are left alone, and so are those of the algorithm for a run that is to be tuned (`retune`).
///
/// # Errors
/// [`ConfigError::Invalid`] with every difference.
pub fn check_kept(settings: &Settings, recorded: &Map<String, serde_json::Value>, retune: bool) -> Result<(), ConfigError> {
    // Checkpoints of older versions hold secrets that lie in tables.
    let shown = |key: &str, r: &serde_json::Value| toml::Value::try_from(r).map_or(r.clone(), |r| json!(masked(key, &r)));
    let differs = unlike(settings, retune, |key| Some(shown(key, recorded.get(key)?)));
    let found: Vec<String> = differs.iter().map(|(key, value, r)| format!("{key} = {value} (the checkpoint has {r})")).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Invalid(format!(
        "config.toml was changed since the checkpoint: {}: only total_steps, threads, eval.* and log.* can be changed; put the old values back, or start a new run",
        found.join(", ")
    )))
}

/// A plan for this machine, which must have room for it.
fn here((plan, no_room): (Plan, Option<ConfigError>)) -> Result<Plan, ConfigError> {
    no_room.map_or(Ok(plan), Err)
}

fn finish(
    algorithm: Arc<dyn AlgorithmSpec>,
    task: Arc<dyn Task>,
    mut settings: Settings,
    preset: Option<&'static Preset>,
) -> Result<(Plan, Option<ConfigError>), ConfigError> {
    let options = settings.section("task");
    let team = Arc::clone(task.make(&options)?.spec());
    team.check().map_err(|wrong| ConfigError::Invalid(format!("{}: {wrong}", team.task)))?;
    let word: String = settings.get("task.reward")?;
    let reward = RewardMode::resolve(&word, &team, algorithm.own_reward_under(&settings)?)?;
    if word == "auto" {
        settings.set("task.reward", &reward.to_string().into(), Origin::Task(task.name()))?;
    }
    let no_room = match algorithm.check(&team, &settings) {
        Err(error @ ConfigError::Room { .. }) => Some(error),
        checked => checked.map(|()| None)?,
    };
    let no_room = no_room.or_else(|| check_networks(&team, &settings, platform::available_memory()).err());
    if settings.get("overlap")? && !algorithm.learns_from_older(&settings)? {
        return Err(ConfigError::Incompatible {
            algo: algorithm.name().into(),
            task: team.task.clone(),
            why: "overlap=true has rollouts played by the policy of one update before, and what it learns needs the present one's with these settings: use overlap=false"
                .into(),
        });
    }
    let maker = Arc::clone(&task);
    let make: MakeEnv = Arc::new(move || maker.make(&options));
    Ok((Plan { algorithm, task, settings, preset, team, make }, no_room))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A preset is named in every layer as a setting is, in quotes or bare, and the higher layer wins.
    #[test]
    fn a_preset_is_named_in_every_layer() {
        let registry = Registry::builtin();
        let request = |file: Option<&str>, variable: Option<&str>, words: &[&str]| Request {
            algo: "happo".into(),
            task: "mpe/simple_spread_v3".into(),
            file: file.map(|text| ("x.toml".into(), text.parse().unwrap())),
            environment: variable.map(|v| ("MOTLEY__PRESET".to_owned(), v.to_owned())).into_iter().collect(),
            overrides: words.iter().map(ToString::to_string).collect(),
            consent: Consent::default(),
        };
        let taken = |file, variable, words: &[&str]| {
            request(file, variable, words).plan_anywhere(&registry).map(|(plan, _)| plan.preset_name()).map_err(|e| e.to_string())
        };
        let file = Some("preset = \"harl\"\n[algo]\nlr = 0.1");
        assert_eq!([taken(None, None, &[]).unwrap(), taken(None, None, &["preset=\"harl\""]).unwrap()], ["tuned", "harl"]);
        assert_eq!(taken(None, None, &["preset=harl", "preset = none"]).unwrap(), "none");
        assert_eq!([taken(file, None, &[]).unwrap(), taken(file, Some("none"), &[]).unwrap()], ["harl", "none"]);
        assert_eq!(taken(file, Some("none"), &["preset=tuned"]).unwrap(), "tuned");
        let refused = |found: Result<&str, String>, texts: &[&str]| {
            let error = found.unwrap_err();
            assert!(texts.iter().all(|text| error.contains(text)), "{error}");
        };
        refused(taken(None, None, &["preset=\"hrl\""]), &["unknown preset \"hrl\"", "\"harl\""]);
        refused(taken(Some("preset = 3"), None, &[]), &["x.toml", "preset = 3", "in quotes"]);
        refused(taken(Some("preset = 'hrl'"), None, &[]), &["x.toml", "\"hrl\""]);
        refused(taken(None, Some("hrl"), &[]), &["MOTLEY__PRESET", "\"hrl\""]);
        let again = |variable, words: &[&str]| request(None, variable, words).resume(&registry, &toml::Table::new(), false);
        for refusal in [again(None, &["preset=harl"]), again(Some("harl"), &[])] {
            let error = refusal.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("a resumed run keeps") && error.contains("preset=harl"), "{error}");
        }
    }

    /// Runs that were begun under the name that a key had before go on, and are held to what they say under it.
    #[test]
    fn runs_of_before_a_key_was_renamed_go_on() {
        let registry = Registry::builtin();
        let (algo, task) = ("hasac", "mpe/simple_v3");
        let written: toml::Table = "[algo]\ntau = 0.02".parse().unwrap();
        let again = |overrides: &[&str], retune| {
            let overrides = overrides.iter().map(ToString::to_string).collect();
            let request = Request { algo: algo.into(), task: task.into(), overrides, ..Request::default() };
            request.resume(&registry, &written, retune).unwrap()
        };
        let plan = again(&[], false);
        assert_eq!(plan.settings.get("algo.target_update"), Ok(0.02));
        let recorded = |tau: f64| Map::from_iter([("algo.tau".to_owned(), json!(tau))]);
        check_kept(&plan.settings, &recorded(0.02), false).unwrap();
        let refused = check_kept(&plan.settings, &recorded(0.05), false).unwrap_err().to_string();
        assert!(refused.contains("algo.target_update = 0.02 (the checkpoint has 0.05)"), "{refused}");
        let plan = again(&["algo.target_update=100"], true);
        let change = changes(&plan.settings, &written, 7, true).swap_remove(0);
        assert_eq!((change.key.as_str(), change.from, change.to), ("algo.target_update", json!(0.02), json!(100.0)));
    }
}

//! Settings of value-based learning, and what can be said about a team before anything is built.

use motley_core::{ActionSpace, ConfigError, Key, Kind, Settings, Share, TeamSpec, settings};
use motley_data::episodes::EpisodeShape;
use motley_nn::{Activation, AdamConfig, NetSpec};
use motley_run::platform::available_memory;

use crate::actors::{GraphConfig, blank_spec, check_groups, engine};
use crate::algorithm::RewardMode;

settings! {
    /// Networks of the agents' values.
    pub struct UtilityConfig in "net" {
        /// Widths of the hidden layers.
        hidden_sizes: Vec<usize> = vec![64], Kind::Ints(1, 65_536);
        /// After every hidden layer.
        activation: String = "relu", Kind::Choice(&Activation::NAMES);
        /// LayerNorm on the input.
        feature_norm: bool = false, Kind::Bool;
        /// LayerNorm after each activation, and on the GRU's output.
        layer_norm: bool = false, Kind::Bool;
        /// A GRU after the hidden layers, as wide as the last of them.
        recurrent: bool = true, Kind::Bool;
        /// Initial weights: `uniform` in +-1/sqrt(fan_in), or `orthogonal`.
        init: String = "uniform", Kind::Choice(&["orthogonal", "uniform"]);
        /// Which agents share parameters.
        share: Share = "type", Kind::Share;
        /// Append a one-hot of the agent to the input where parameters are shared.
        agent_id: bool = true, Kind::Bool;
        /// Append the agent's last action to its input.
        last_action: bool = true, Kind::Bool;
    }
}

settings! {
    /// What is collected, replayed and learned.
    pub struct ValueConfig in "algo" {
        /// Steps of every environment between two rounds of updates.
        rollout_steps: usize = 25, Kind::Int(1, 1_000_000);
        /// Gradient steps of a round; 0 makes one for every episode that the round finished.
        updates: usize = 0, Kind::Int(0, 100_000);
        /// Episodes of a gradient step.
        batch_episodes: usize = 32, Kind::Int(1, 1_000_000);
        /// Episodes that replay holds; few of them keep its data near the present policies.
        buffer_episodes: usize = 5000, Kind::Int(1, 100_000_000);
        /// Steps of an episode in replay at most (the task's own limit where that is lower); longer ones are stored in pieces.
        episode_limit: usize = 1000, Kind::Int(1, 1_000_000);
        /// Env steps before the first gradient step.
        learning_starts: u64 = 0, Kind::Int(0, 1_000_000_000_000);
        /// Learning rate.
        lr: f64 = 5e-4, Kind::Float(0.0, 1.0);
        /// Lower the learning rate linearly to 0 over the run.
        lr_decay: bool = false, Kind::Bool;
        /// Discount per step.
        gamma: f64 = 0.99, Kind::Float(0.0, 1.0);
        /// Chance of a random action at the start.
        epsilon_start: f64 = 1.0, Kind::Float(0.0, 1.0);
        /// Chance of a random action in the end.
        epsilon_end: f64 = 0.05, Kind::Float(0.0, 1.0);
        /// Env steps over which the chance falls linearly.
        epsilon_steps: u64 = 50_000, Kind::Int(1, 1_000_000_000_000);
        /// Choose next actions by the online networks and value them by the targets (double Q-learning).
        double_q: bool = true, Kind::Bool;
        /// Targets by `td_lambda` (Peng's Q(lambda)), or `n_step`.
        returns: String = "td_lambda", Kind::Choice(&["td_lambda", "n_step"]);
        /// Lambda of the targets, with `algo.returns=td_lambda`; 0 looks one step ahead.
        td_lambda: f64 = 0.0, Kind::Float(0.0, 1.0);
        /// Steps of the n-step target, with `algo.returns=n_step`.
        n_step: usize = 1, Kind::Int(1, 100_000);
        /// Target networks: below 1 the soft step per update, from 1 on a copy every that many updates.
        target_update: f64 = 200.0, Kind::Float(1e-6, 1e9);
        /// Rewards by their running statistics: `none`, `standard` (mean 0, deviation 1), `scale` (root mean square 1).
        reward_norm: String = "none", Kind::Choice(&["none", "standard", "scale"]);
        /// Weight of the squared error.
        loss_coef: f64 = 1.0, Kind::Float(0.0, 1e6);
    }
}

impl ValueConfig {
    /// The chance of a random action after `env_steps`.
    pub fn epsilon(&self, env_steps: u64) -> f32 {
        let done = (env_steps as f64 / self.epsilon_steps as f64).min(1.0);
        (self.epsilon_start + (self.epsilon_end - self.epsilon_start) * done) as f32
    }

    /// What replay keeps.
    pub fn replay_shape(&self, team: &TeamSpec, notes: usize) -> EpisodeShape {
        let steps = team.step_limit.map_or(self.episode_limit, |limit| limit.clamp(1, self.episode_limit));
        EpisodeShape { episodes: self.buffer_episodes, steps, notes }
    }
}

impl UtilityConfig {
    /// A network without input and output yet.
    pub fn spec(&self) -> NetSpec {
        NetSpec {
            feature_norm: self.feature_norm,
            layer_norm: self.layer_norm,
            recurrent: self.recurrent,
            ..blank_spec(&self.hidden_sizes, &self.activation, &self.init)
        }
    }
}

/// The settings shared by value-based algorithms.
pub fn keys() -> Vec<Key> {
    let mut keys = [ValueConfig::keys(), AdamConfig::keys(), UtilityConfig::keys(), GraphConfig::keys()].concat();
    for key in keys.iter_mut().filter(|k| k.name == "algo.adam_eps") {
        key.default = 1e-8.into();
    }
    keys
}

/// What can be said about a team and settings before anything is built.
///
/// # Errors
/// Actions that are not discrete, agents that cannot share, settings that exclude each other, a replay that memory cannot hold.
pub fn check(algo: &str, team: &TeamSpec, settings: &Settings, notes: usize) -> Result<(), ConfigError> {
    let incompatible = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
    engine(settings)?;
    let (net, config) = (UtilityConfig::read(settings)?, ValueConfig::read(settings)?);
    if let Some(odd) = team.agents.iter().find(|a| !matches!(a.action, ActionSpace::Discrete(_))) {
        return Err(incompatible(format!(
            "agent \"{}\" has {}, and values are learned of one choice among a few: use a task with discrete actions, or an actor-critic",
            odd.name,
            odd.action.describe()
        )));
    }
    if net.recurrent && net.hidden_sizes.is_empty() {
        return Err(ConfigError::Value {
            key: "net.hidden_sizes".into(),
            expected: "at least one layer before a GRU".into(),
            found: "[]".into(),
        });
    }
    if config.batch_episodes > config.buffer_episodes {
        return Err(ConfigError::Value {
            key: "algo.batch_episodes".into(),
            expected: format!("at most algo.buffer_episodes = {}", config.buffer_episodes),
            found: config.batch_episodes.to_string(),
        });
    }
    GraphConfig::read(settings)?.build(team).map_err(incompatible)?;
    check_groups(algo, team, &net.share)?;
    let shape = config.replay_shape(team, notes);
    let available = available_memory().unwrap_or(u64::MAX);
    shape.check(team, settings.get("num_envs")?, available).map_err(|e| ConfigError::Room {
        key: "algo.buffer_episodes".into(),
        found: config.buffer_episodes.to_string(),
        why: e.to_string(),
    })
}

/// A mixed value is the team's: it cannot be learned from rewards of each agent's own.
///
/// # Errors
/// `task.reward=own`.
pub fn check_team_reward(algo: &str, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
    match RewardMode::resolve(&settings.get::<String>("task.reward")?, team, RewardMode::Sum)? {
        RewardMode::Own => Err(ConfigError::Incompatible {
            algo: algo.to_owned(),
            task: team.task.clone(),
            why: "it learns one value of the whole team: use task.reward=sum or mean, or iql for rewards of each agent's own"
                .into(),
        }),
        _ => Ok(()),
    }
}

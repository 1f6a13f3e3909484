//! Settings of off-policy learners, and what can be said about them before anything is built.

use motley_core::config::default_value;
use motley_core::{ConfigError, Key, Kind, Settings, Share, TeamSpec, settings};
use motley_nn::action_critic::Climb;
use motley_nn::objective::Regression;
use motley_nn::{Activation, AdamConfig, NetSpec, ValueNorm};
use motley_run::platform;

use super::Ascent;
use super::memory::{self, ReplayConfig};
use crate::actors::{GraphConfig, blank_spec, check_groups, engine, init_of};
use crate::algorithm::RewardMode;

settings! {
    /// Networks of off-policy learners.
    pub struct OffNetConfig in "net" {
        /// Widths of the hidden layers.
        hidden_sizes: Vec<usize> = vec![128, 128], Kind::Ints(1, 65_536);
        /// After every hidden layer.
        activation: String = "relu", Kind::Choice(&Activation::NAMES);
        /// LayerNorm on the input.
        feature_norm: bool = false, Kind::Bool;
        /// LayerNorm after each activation.
        layer_norm: bool = false, Kind::Bool;
        /// Initial weights: `orthogonal`, or `uniform` in +-1/sqrt(fan_in).
        init: String = "uniform", Kind::Choice(&["orthogonal", "uniform"]);
        /// Gain of the actors' last layer at the start, where weights are orthogonal.
        output_gain: f64 = 0.01, Kind::Float(0.0, 100.0);
        /// Which agents share parameters.
        share: Share = "none", Kind::Share;
        /// Append a one-hot of the agent to the input where parameters are shared.
        agent_id: bool = false, Kind::Bool;
    }
}

settings! {
    /// Where networks of actors and critics differ.
    pub struct ApartConfig in "net" {
        /// After the last hidden layer of actors; `same` as after the others. HARL's squashed Gaussians have a tanh there.
        last_activation: String = "same",
            Kind::Choice(&["same", "relu", "tanh", "leaky_relu", "selu", "sigmoid", "elu", "identity"]);
        /// Whether critics have the LayerNorms that actors have; HARL's have none.
        critic_norm: bool = true, Kind::Bool;
        /// Initial weights of critics: `same` as those of actors, `orthogonal`, or `uniform`.
        critic_init: String = "same", Kind::Choice(&["same", "orthogonal", "uniform"]);
    }
}

settings! {
    /// How fast networks learn and targets follow.
    pub struct OffPolicyConfig in "algo" {
        /// Learning rate of the actors.
        lr: f64 = 5e-4, Kind::Float(0.0, 1.0);
        /// Learning rate of the critics.
        critic_lr: f64 = 1e-3, Kind::Float(0.0, 1.0);
        /// Lower learning rates linearly to 0 over the run.
        lr_decay: bool = false, Kind::Bool;
        /// Target networks: below 1 their soft step at a time, from 1 on a copy every that many times. Their time is every update, or
        /// with delayed policies every `algo.policy_freq`-th.
        target_update: f64 = 0.005, Kind::Float(0.0, 1e9);
        /// Error of values: `squared` or `huber`.
        value_loss: String = "squared", Kind::Choice(&["squared", "huber"]);
        /// Threshold of the Huber loss.
        huber_delta: f64 = 10.0, Kind::Float(1e-6, 1e9);
        /// Rewards of a batch, those of several steps as their discounted sum, by their running statistics: `none`, `standard` (mean 0,
        /// deviation 1), `scale` (root mean square 1).
        reward_norm: String = "none", Kind::Choice(&["none", "standard", "scale"]);
        /// Whether an agent's values end at its death where agents are paid apart and critics have a row per agent. A team that is
        /// paid together is paid for what the dead did, so there values follow them in any case.
        mask_dead: bool = true, Kind::Bool;
    }
}

settings! {
    /// Policies that are points, or choices by the Gumbel-softmax.
    pub struct PathConfig in "algo" {
        /// Deviation of the normal noise on actions while collecting, in half-boxes. Choices are drawn from the softmax instead.
        exploration_noise: f64 = 0.1, Kind::Float(0.0, 10.0);
        /// Choices: temperature of the Gumbel-softmax in the actors' gradient.
        gumbel_temperature: f64 = 1.0, Kind::Float(1e-3, 1e3);
        /// Choices: weight of the mean squared logit in the actors' loss.
        logit_penalty: f64 = 1e-3, Kind::Float(0.0, 1e3);
    }
}

impl OffPolicyConfig {
    /// The error's form.
    pub fn regression(&self) -> Regression {
        if self.value_loss == "huber" { Regression::Huber { delta: self.huber_delta as f32 } } else { Regression::Squared }
    }
}

impl PathConfig {
    /// How groups climb: the first critic, without entropy.
    pub fn ascent(&self, lr: f64) -> Ascent {
        let (gumbel, logit_penalty) = (self.gumbel_temperature as f32, self.logit_penalty as f32);
        Ascent { climb: Climb::First, alpha: 0.0, gumbel, logit_penalty, lr }
    }
}

/// What distinguishes the cores of algorithms.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Networks of each critic: 1, or 2 (twins).
    pub twins: usize,
    /// Continuous policies are tanh-normals, not points.
    pub stochastic: bool,
    /// One critic per agent instead of the team's one.
    pub per_agent: bool,
    /// Whether critics learn normalised targets.
    pub norm: Option<ValueNorm>,
}

/// The settings shared by off-policy actor-critics.
pub fn keys() -> Vec<Key> {
    let mut keys = [ReplayConfig::keys(), OffPolicyConfig::keys(), AdamConfig::keys(), OffNetConfig::keys()].concat();
    for key in &mut keys {
        match key.name.as_str() {
            "algo.adam_eps" => key.default = default_value(1e-8),
            "algo.max_grad_norm" => key.default = default_value(0.0),
            "algo.target_update" => key.former = Some("algo.tau"),
            _ => {}
        }
    }
    keys
}

/// The settings of those with actors: what these hear of each other besides.
pub fn actor_keys() -> Vec<Key> {
    [keys(), ApartConfig::keys(), GraphConfig::keys()].concat()
}

/// As [`check`], of learners with actors.
///
/// # Errors
/// Those of [`check`], and messages in a team that says nothing of positions.
pub fn check_actors(
    algo: &str,
    team: &TeamSpec,
    settings: &Settings,
    own: RewardMode,
    per_agent: bool,
) -> Result<RewardMode, ConfigError> {
    let incompatible = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
    GraphConfig::read(settings)?.build(team).map_err(incompatible)?;
    check(algo, team, settings, own, per_agent)
}

/// What can be said about a team and settings before anything is built.
///
/// # Errors
/// See [`crate::algorithm::AlgorithmSpec::check`].
pub fn check(
    algo: &str,
    team: &TeamSpec,
    settings: &Settings,
    own: RewardMode,
    per_agent: bool,
) -> Result<RewardMode, ConfigError> {
    let reward = check_but_for_room(algo, team, settings, own, per_agent)?;
    memory::check_room(team, settings, reward, platform::available_memory())?;
    Ok(reward)
}

/// As [`check`], before a build: its memory is taken when it is first given something.
///
/// # Errors
/// Those of [`check`], but for room.
pub(crate) fn check_but_for_room(
    algo: &str,
    team: &TeamSpec,
    settings: &Settings,
    own: RewardMode,
    per_agent: bool,
) -> Result<RewardMode, ConfigError> {
    engine(settings)?;
    check_groups(algo, team, &OffNetConfig::read(settings)?.share)?;
    let own = if per_agent { RewardMode::Own } else { own };
    let reward = RewardMode::resolve(&settings.get::<String>("task.reward")?, team, own)?;
    if !per_agent {
        reward.fits_state(algo, team, "task.reward=sum or mean, or an algorithm with algo.critics=per_agent")?;
    }
    memory::check(settings)?;
    Ok(reward)
}

/// The network that settings describe, its input and output still open.
pub(crate) fn net_spec(config: &OffNetConfig) -> NetSpec {
    NetSpec {
        feature_norm: config.feature_norm,
        layer_norm: config.layer_norm,
        output_gain: config.output_gain,
        ..blank_spec(&config.hidden_sizes, &config.activation, &config.init)
    }
}

impl ApartConfig {
    /// The network of actors, given what they share with critics.
    pub(crate) fn actor(&self, common: NetSpec) -> NetSpec {
        NetSpec { last_activation: Activation::from_name(&self.last_activation), ..common }
    }

    /// The network of critics.
    pub(crate) fn critic(&self, common: NetSpec) -> NetSpec {
        NetSpec {
            feature_norm: common.feature_norm && self.critic_norm,
            layer_norm: common.layer_norm && self.critic_norm,
            init: if self.critic_init == "same" { common.init } else { init_of(&self.critic_init) },
            ..common
        }
    }
}

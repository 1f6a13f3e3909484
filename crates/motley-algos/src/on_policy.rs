//! What every on-policy actor-critic stands on: actors by group, critics, advantages. No algorithm is decided here.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Share, StateSpace, Stream, TeamSpec, settings};
use motley_data::returns::{Series, Truncation, gae, n_step};
use motley_data::rollout::Rollout;
use motley_data::stats::normalize_masked;
use motley_nn::init::Init;
use motley_nn::optim::decayed;
use motley_nn::{
    Activation, Actor, ActorRows, AdamConfig, Ascent, Critic, CriticConfig, Cut, Engine, Head, NetSpec, Objective, Pool, Source,
    TeamPolicy, UpdateError, Values,
};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{RewardMode, UpdateContext};

/// Added to the deviation of advantages (HARL).
const ADVANTAGE_EPS: f64 = 1e-5;

settings! {
    /// Networks of actors and critics.
    pub struct NetConfig in "net" {
        /// Widths of the hidden layers.
        hidden_sizes: Vec<usize> = vec![128, 128], Kind::Ints(1, 65_536);
        /// After every hidden layer.
        activation: String = "relu", Kind::Choice(&["relu", "tanh", "leaky_relu", "selu", "sigmoid", "elu", "identity"]);
        /// LayerNorm on the input.
        feature_norm: bool = true, Kind::Bool;
        /// LayerNorm after each activation.
        layer_norm: bool = true, Kind::Bool;
        /// A GRU after the hidden layers, as wide as the last of them.
        recurrent: bool = false, Kind::Bool;
        /// Steps of a recurrent training chunk; must divide `algo.rollout_steps`.
        chunk_length: usize = 10, Kind::Int(1, 100_000);
        /// Initial weights: `orthogonal`, or `uniform` in +-1/sqrt(fan_in).
        init: String = "orthogonal", Kind::Choice(&["orthogonal", "uniform"]);
        /// Gain of the actors' last layer at the start.
        output_gain: f64 = 0.01, Kind::Float(0.0, 100.0);
        /// Which agents share parameters.
        share: Share = "none", Kind::Share;
        /// Append a one-hot of the agent to the input where parameters are shared.
        agent_id: bool = false, Kind::Bool;
        /// Distribution over continuous actions.
        distribution: String = "gaussian", Kind::Choice(&["gaussian", "tanh_gaussian"]);
        /// Gaussian: scale and start of the deviation's parameter w in sigma = sigmoid(w / std_x_coef) * std_y_coef.
        std_x_coef: f64 = 1.0, Kind::Float(1e-3, 1e3);
        /// Gaussian: upper bound of the deviation, in units of the action.
        std_y_coef: f64 = 0.5, Kind::Float(1e-3, 1e3);
    }
}

settings! {
    /// What is collected and how advantages are estimated.
    pub struct OnPolicyConfig in "algo" {
        /// Steps of every environment between two updates.
        rollout_steps: usize = 200, Kind::Int(1, 1_000_000);
        /// Learning rate of the actors.
        lr: f64 = 5e-4, Kind::Float(0.0, 1.0);
        /// Lower learning rates linearly to 0 over the run.
        lr_decay: bool = false, Kind::Bool;
        /// Discount per step.
        gamma: f64 = 0.99, Kind::Float(0.0, 1.0);
        /// Lambda of the generalised advantage estimate.
        gae_lambda: f64 = 0.95, Kind::Float(0.0, 1.0);
        /// Advantages by `gae`, or `n_step` returns minus the value.
        returns: String = "gae", Kind::Choice(&["gae", "n_step"]);
        /// Steps of the n-step return.
        n_step: usize = 5, Kind::Int(1, 100_000);
        /// Normalise advantages to mean 0 and deviation 1 over the rows that count.
        normalize_advantages: bool = true, Kind::Bool;
        /// What a time limit means: `bootstrap` from the true final state, `harl` (the reference drops that step), `terminal`.
        truncation: String = "bootstrap", Kind::Choice(&["bootstrap", "harl", "terminal"]);
    }
}

settings! {
    /// Proximal policy optimisation.
    pub struct PpoConfig in "algo" {
        /// Clip range of the probability ratio.
        clip: f64 = 0.2, Kind::Float(0.0, 1.0);
        /// Passes of an actor over each rollout.
        ppo_epochs: usize = 5, Kind::Int(1, 1000);
        /// Minibatches per pass.
        minibatches: usize = 1, Kind::Int(1, 100_000);
        /// Weight of the entropy bonus.
        entropy_coef: f64 = 0.01, Kind::Float(0.0, 100.0);
    }
}

/// The settings shared by on-policy algorithms, with the algorithm's own default of `net.share`.
pub fn keys(share: &str) -> Vec<Key> {
    let mut keys = [OnPolicyConfig::keys(), CriticConfig::keys(), AdamConfig::keys(), NetConfig::keys()].concat();
    for key in keys.iter_mut().filter(|k| k.name == "net.share") {
        key.default = share.into();
    }
    keys
}

/// Actors, critics and settings of one learner.
#[derive(Debug)]
pub struct OnPolicy {
    team: Arc<TeamSpec>,
    config: OnPolicyConfig,
    critic_config: CriticConfig,
    chunk: usize,
    reward: RewardMode,
    source: Source,
    /// One per group.
    pub actors: Vec<Actor>,
    critics: Vec<Critic>,
}

/// Advantages for the actors, targets for the critics.
#[derive(Debug)]
pub struct Estimates {
    values: Vec<Values>,
    /// Per critic, `[members * rows]`.
    targets: Vec<Vec<f32>>,
    /// Per critic row (agent, or the one EP row), `[rows]`, not normalised.
    advantages: Vec<Vec<f32>>,
}

fn net_spec(config: &NetConfig) -> NetSpec {
    NetSpec {
        obs: motley_core::ObsSpace::vector(0),
        extra: 0,
        hidden_sizes: config.hidden_sizes.clone(),
        activation: Activation::from_name(&config.activation).unwrap_or(Activation::Relu),
        feature_norm: config.feature_norm,
        layer_norm: config.layer_norm,
        recurrent: config.recurrent,
        output: 0,
        output_gain: config.output_gain,
        init: if config.init == "uniform" { Init::Uniform } else { Init::Orthogonal },
        free: Vec::new(),
    }
}

/// What computes gradients on the `device` of the settings.
pub(crate) fn engine(settings: &Settings) -> Result<Engine, ConfigError> {
    let device: String = settings.get("device")?;
    Engine::for_device(&device).ok_or_else(|| ConfigError::Missing {
        what: format!("support for device={device}"),
        mend: format!("build with --features {device}, or use device=cpu"),
    })
}

/// What can be said about a team and settings before anything is built.
///
/// # Errors
/// See [`crate::algorithm::AlgorithmSpec::check`].
pub fn check(algo: &str, team: &TeamSpec, settings: &Settings, source: Source, own: RewardMode) -> Result<(), ConfigError> {
    let incompatible = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
    engine(settings)?;
    let net = NetConfig::read(settings)?;
    let config = OnPolicyConfig::read(settings)?;
    if net.recurrent && !config.rollout_steps.is_multiple_of(net.chunk_length) {
        return Err(ConfigError::Value {
            key: "net.chunk_length".into(),
            expected: format!("a divisor of algo.rollout_steps = {}", config.rollout_steps),
            found: net.chunk_length.to_string(),
        });
    }
    if net.recurrent && net.hidden_sizes.is_empty() {
        return Err(ConfigError::Value {
            key: "net.hidden_sizes".into(),
            expected: "at least one layer before a GRU".into(),
            found: "[]".into(),
        });
    }
    if net.recurrent && CriticConfig::read(settings)?.target_update > 0.0 {
        return Err(ConfigError::Value {
            key: "algo.target_update".into(),
            expected: "0 with net.recurrent=true: a target network would need a memory of its own".into(),
            found: settings.value("algo.target_update")?.to_string(),
        });
    }
    for group in team.groups(&net.share).map_err(incompatible)? {
        let first = &team.agents[group[0]];
        if let Some(odd) =
            group.iter().map(|&i| &team.agents[i]).find(|a| a.obs.shape != first.obs.shape || a.action != first.action)
        {
            return Err(incompatible(format!(
                "agents \"{}\" (observation {:?}, {}) and \"{}\" (observation {:?}, {}) cannot share parameters; use net.share=none or net.share=type",
                first.name,
                first.obs.shape,
                first.action.describe(),
                odd.name,
                odd.obs.shape,
                odd.action.describe()
            )));
        }
        if first.obs.is_image() && first.obs.shape[..2].iter().any(|d| *d < 3) {
            return Err(incompatible(format!("images of {:?} are smaller than the 3 x 3 convolution", first.obs.shape)));
        }
    }
    let reward = RewardMode::resolve(&settings.get::<String>("task.reward")?, team, own)?;
    if source == Source::State && matches!(team.state, StateSpace::Ep(_)) && reward == RewardMode::Own {
        return Err(incompatible(
            "task.reward=own needs a value per agent, but the state is one vector for the team: use task.reward=sum or mean"
                .into(),
        ));
    }
    Ok(())
}

impl OnPolicy {
    /// Actors by `net.share`; critics on the state (one network), or on observations (one per group).
    ///
    /// # Errors
    /// As [`check`].
    pub fn new(
        algo: &str,
        team: &Arc<TeamSpec>,
        settings: &Settings,
        source: Source,
        own: RewardMode,
        rng: &Stream,
    ) -> Result<Self, ConfigError> {
        check(algo, team, settings, source, own)?;
        let invalid = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
        let net = NetConfig::read(settings)?;
        let adam = AdamConfig::read(settings)?;
        let critic_config = CriticConfig::read(settings)?;
        let groups = team.groups(&net.share).map_err(invalid)?;
        let engine = engine(settings)?;
        let mut actors: Vec<Actor> = Vec::with_capacity(groups.len());
        for (g, members) in groups.iter().enumerate() {
            let space = &team.agents[members[0]].action;
            let head = Head::for_space(space, net.distribution == "tanh_gaussian", net.std_x_coef as f32, net.std_y_coef as f32);
            let memory_at = actors.last().map_or(0, Actor::memory_end);
            let rng = rng.fork(g as u64);
            actors.push(
                Actor::new(
                    team,
                    members.clone(),
                    head,
                    net_spec(&net),
                    net.agent_id,
                    adam.clone(),
                    engine.clone(),
                    memory_at,
                    &rng,
                )
                .map_err(invalid)?,
            );
        }
        let critic_rows = match source {
            Source::State => vec![(0..team.state.rows(team.n())).collect()],
            Source::Obs => groups,
        };
        let critic = |(c, members): (usize, Vec<usize>)| {
            let rng = rng.fork(1_000_000 + c as u64);
            Critic::new(
                team,
                source,
                members,
                net_spec(&net),
                net.agent_id,
                critic_config.clone(),
                adam.clone(),
                engine.clone(),
                &rng,
            )
        };
        let critics = critic_rows.into_iter().enumerate().map(critic).collect::<Result<_, _>>().map_err(invalid)?;
        Ok(Self {
            team: Arc::clone(team),
            config: OnPolicyConfig::read(settings)?,
            critic_config,
            chunk: if net.recurrent { net.chunk_length } else { 0 },
            reward: RewardMode::resolve(&settings.get::<String>("task.reward")?, team, own)?,
            source,
            actors,
            critics,
        })
    }

    /// Steps collected between updates.
    pub fn rollout_steps(&self) -> usize {
        self.config.rollout_steps
    }

    /// The actors' learning rate now.
    pub fn lr(&self, progress: f64) -> f64 {
        decayed(self.config.lr, self.config.lr_decay, progress)
    }

    /// How actors cut rollouts.
    pub fn cut(&self, minibatches: usize) -> Cut {
        Cut { minibatches, chunk: self.chunk }
    }

    /// A copy of the actors that acts.
    pub fn policy(&self) -> TeamPolicy {
        TeamPolicy::new(Arc::clone(&self.team), self.actors.iter().map(Actor::acting).collect())
    }

    /// Values, advantages by GAE, targets: everything that is fixed before the first actor moves.
    ///
    /// # Errors
    /// Series of unequal length: a fault of the program.
    pub fn estimate(&mut self, pool: &Pool, roll: &Rollout) -> Result<Estimates, UpdateError> {
        let truncation = match self.config.truncation.as_str() {
            "harl" => Truncation::HarlDrop,
            "terminal" => Truncation::AsTerminal,
            _ => Truncation::Bootstrap,
        };
        let n = self.team.n();
        let mut estimates = Estimates { values: Vec::new(), targets: Vec::new(), advantages: vec![Vec::new(); n] };
        for critic in &mut self.critics {
            let values = critic.values(pool, roll);
            let (here, next) = (values.denormalized(), values.next_denormalized());
            let mut targets = Vec::with_capacity(here.len());
            for (m, &k) in critic.members().iter().enumerate() {
                for (e, lane) in roll.lanes.iter().enumerate() {
                    let at = (m * roll.envs() + e) * roll.steps();
                    let range = at..at + roll.steps();
                    let rewards: Vec<f64> = lane.rewards.chunks_exact(n).map(|r| self.reward.of(r, k)).collect();
                    let series = Series::new(&rewards, &here[range.clone()], &next[range], &lane.status, &lane.valid)
                        .map_err(|e| UpdateError::Data(e.to_string()))?;
                    if self.config.returns == "n_step" {
                        let returns = n_step(&series, self.config.gamma, self.config.n_step);
                        estimates.advantages[k].extend(returns.iter().zip(&here[at..]).map(|(g, v)| (g - f64::from(*v)) as f32));
                        targets.extend(returns.iter().map(|x| *x as f32));
                    } else {
                        let found = gae(&series, self.config.gamma, self.config.gae_lambda, truncation);
                        targets.extend(found.returns.iter().map(|x| *x as f32));
                        estimates.advantages[k].extend(found.advantages.iter().map(|x| *x as f32));
                    }
                }
            }
            estimates.targets.push(targets);
            estimates.values.push(values);
        }
        self.normalize_jointly(roll, &mut estimates);
        Ok(estimates)
    }

    fn per_agent_state(&self) -> bool {
        self.source == Source::State && matches!(self.team.state, StateSpace::Fp(_))
    }

    /// FP: once over all agents' active entries (HARL); the actors take their slices as they are.
    fn normalize_jointly(&self, roll: &Rollout, estimates: &mut Estimates) {
        if self.config.normalize_advantages && self.per_agent_state() {
            let mut all = estimates.advantages.concat();
            let active: Vec<bool> = (0..self.team.n()).flat_map(|i| roll.active_rows(i)).collect();
            normalize_masked(&mut all, Some(&active), ADVANTAGE_EPS);
            for (into, from) in estimates.advantages.iter_mut().zip(all.chunks(roll.rows())) {
                into.copy_from_slice(from);
            }
        }
    }

    /// The advantages of an actor's members, `[members * rows]`: its own statistics over its active rows, except for FP.
    pub fn advantages(&self, estimates: &Estimates, actor: &Actor, rows: &ActorRows) -> Vec<f32> {
        let single = self.source == Source::State && !self.per_agent_state();
        let mut all: Vec<f32> =
            actor.members.iter().flat_map(|&i| &estimates.advantages[if single { 0 } else { i }]).copied().collect();
        if self.config.normalize_advantages && !self.per_agent_state() {
            normalize_masked(&mut all, Some(&rows.active), ADVANTAGE_EPS);
        }
        all
    }

    /// Fits every critic to its targets.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn fit_critics(
        &mut self,
        roll: &Rollout,
        estimates: &Estimates,
        context: &UpdateContext<'_>,
    ) -> Result<Metrics, UpdateError> {
        let lr = decayed(self.critic_config.critic_lr, self.config.lr_decay, context.progress);
        let single = self.critics.len() == 1;
        let mut metrics = Metrics::new();
        for (c, critic) in self.critics.iter_mut().enumerate() {
            let rng = context.rng.fork(1_000_000 + c as u64);
            let m = critic.fit(context.pool, roll, &estimates.values[c], &estimates.targets[c], self.chunk, lr, &rng)?;
            let prefix = if single { "loss/critic/".to_owned() } else { format!("loss/critic_{c}/") };
            metrics.merge(&prefix, &m);
        }
        Ok(metrics)
    }

    /// Writes actors and critics.
    pub fn save(&self, w: &mut StateWriter) {
        for (g, actor) in self.actors.iter().enumerate() {
            actor.save(&mut w.scope(&format!("actor.{g}")));
        }
        for (c, critic) in self.critics.iter().enumerate() {
            critic.save(&mut w.scope(&format!("critic.{c}")));
        }
    }

    /// Reads actors and critics.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        for (g, actor) in self.actors.iter_mut().enumerate() {
            actor.load(&r.scope(&format!("actor.{g}")))?;
        }
        for (c, critic) in self.critics.iter_mut().enumerate() {
            critic.load(&r.scope(&format!("critic.{c}")))?;
        }
        Ok(())
    }
}

/// How an actor passes over a rollout.
#[derive(Debug, Clone)]
pub struct Passes {
    /// Passes over the rollout.
    pub epochs: usize,
    /// How each is cut.
    pub cut: Cut,
    /// The surrogate.
    pub objective: Objective,
    /// Weight of the entropy bonus.
    pub entropy_coef: f32,
    /// Learning rate.
    pub lr: f64,
}

impl Passes {
    /// Trains one actor on its rows, `weight` on each.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn run(
        &self,
        actor: &mut Actor,
        pool: &Pool,
        roll: &Rollout,
        rows: &ActorRows,
        weight: &[f32],
        rng: &Stream,
    ) -> Result<Metrics, UpdateError> {
        let mut metrics = Metrics::new();
        let ascent = Ascent { objective: &self.objective, weight, entropy_coef: self.entropy_coef, lr: self.lr };
        for epoch in 0..self.epochs {
            for pick in self.cut.pass(roll.envs(), roll.steps(), rng.fork(epoch as u64))? {
                metrics.merge("", &actor.step(pool, roll, rows, &pick, ascent)?);
            }
        }
        Ok(metrics)
    }
}

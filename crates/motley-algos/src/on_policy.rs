//! What every on-policy actor-critic stands on: actors by group, critics, advantages. No algorithm is decided here.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, StateSpace, Stream, TeamSpec, settings};
use motley_data::returns::{Series, Truncation, gae, n_step};
use motley_data::rollout::Rollout;
use motley_data::stats::normalize_masked;
use motley_nn::{
    Actor, ActorRows, AdamConfig, Ascent, Besides, Critic, CriticConfig, Cut, Net, Objective, Pool, Source, TeamPolicy,
    UpdateError, ValueGoal, Values,
};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::actors::{self, Actors, GraphConfig, NetConfig};
use crate::algorithm::{RewardMode, UpdateContext};
use crate::reward_norm::RewardNorm;

/// Added to the deviation of advantages (HARL).
pub(crate) const ADVANTAGE_EPS: f64 = 1e-5;

settings! {
    /// How advantages are estimated.
    pub struct OnPolicyConfig in "algo" {
        /// Lambda of the generalised advantage estimate, with `algo.returns=gae`.
        gae_lambda: f64 = 0.95, Kind::Float(0.0, 1.0);
        /// Advantages by `gae`, or `n_step` returns minus the value.
        returns: String = "gae", Kind::Choice(&["gae", "n_step"]);
        /// Steps of the n-step return, with `algo.returns=n_step`.
        n_step: usize = 5, Kind::Int(1, 100_000);
        /// Normalise advantages to mean 0 and deviation 1 over the rows that count.
        normalize_advantages: bool = true, Kind::Bool;
        /// Whose rows are normalised together where actors are shared: those of the `group`, or of each `agent`. With a state per agent
        /// (FP) all agents' are, in any case.
        normalize_by: String = "group", Kind::Choice(&["group", "agent"]);
        /// Rewards of a rollout by their running statistics: `none`, `standard` (mean 0, deviation 1; EPyMARL), `scale` (root mean
        /// square 1).
        reward_norm: String = "none", Kind::Choice(&["none", "standard", "scale"]);
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
        entropy_coef: f64 = 0.01, Kind::Float(0.0, 10_000.0);
    }
}

/// The settings of actors with state-value critics, with the algorithm's own default of `net.share`.
pub fn keys(share: &str) -> Vec<Key> {
    [actors::keys(share), OnPolicyConfig::keys(), CriticConfig::keys()].concat()
}

/// Actors, critics and settings of one learner.
#[derive(Debug)]
pub struct OnPolicy {
    team: Arc<TeamSpec>,
    config: OnPolicyConfig,
    /// With `mask_dead` only where agents are paid apart, as [`RewardMode::ends_at_death`] has it.
    critic_config: CriticConfig,
    reward: RewardMode,
    rewards: RewardNorm,
    source: Source,
    /// One per group.
    pub actors: Actors,
    /// Empty where the actors' networks put out values.
    critics: Vec<Critic>,
}

/// Advantages for the actors, targets for the critics.
#[derive(Debug)]
pub struct Estimates {
    values: Vec<Values>,
    /// Per critic, `[members * rows]`.
    targets: Vec<Vec<f32>>,
    /// Rows that values are learned on where actors value their own, `[members * rows]`; critics know theirs.
    counts: Vec<Vec<bool>>,
    /// Per critic row (agent, or the one EP row), `[rows]`, not normalised.
    advantages: Vec<Vec<f32>>,
}

/// What can be said about a team and settings before anything is built.
///
/// # Errors
/// See [`crate::algorithm::AlgorithmSpec::check`].
pub fn check(algo: &str, team: &TeamSpec, settings: &Settings, source: Source, own: RewardMode) -> Result<(), ConfigError> {
    actors::check(algo, team, settings)?;
    let net = NetConfig::read(settings)?;
    if net.recurrent && net.critic_recurrent && CriticConfig::read(settings)?.target_update > 0.0 {
        return Err(ConfigError::Value {
            key: "algo.target_update".into(),
            expected: "0 with recurrent critics, whose target would need a memory of its own; or net.critic_recurrent=false"
                .into(),
            found: settings.value("algo.target_update")?.to_string(),
        });
    }
    let reward = RewardMode::resolve(&settings.get::<String>("task.reward")?, team, own)?;
    if source == Source::State {
        reward.fits_state(algo, team, "task.reward=sum or mean")?;
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
        let reward = RewardMode::resolve(&settings.get::<String>("task.reward")?, team, own)?;
        let mut critic_config = CriticConfig::read(settings)?;
        critic_config.mask_dead = reward.ends_at_death(team, critic_config.mask_dead);
        let groups = team.groups(&net.share).map_err(invalid)?;
        let engine = actors::engine(settings)?;
        let actors = Actors::new(algo, team, settings, rng)?;
        let graph = GraphConfig::read(settings)?.build(team).map_err(invalid)?;
        let critic_rows = match source {
            Source::State => vec![(0..team.state.rows(team.n())).collect()],
            Source::EachState => vec![(0..team.n()).collect()],
            Source::Obs => groups,
        };
        let critic = |(c, members): (usize, Vec<usize>)| {
            let rng = rng.fork(1_000_000 + c as u64);
            let (spec, config) = (actors::critic_spec(&net), critic_config.clone());
            let critic = Critic::new(team, source, members, spec, net.agent_id, config, adam.clone(), engine.clone(), &rng)?;
            Ok::<_, String>(match &graph {
                Some(graph) if source == Source::Obs => critic.on_graph(Arc::clone(graph), adam.clone(), &rng),
                _ => critic,
            })
        };
        let critics = critic_rows.into_iter().enumerate().map(critic).collect::<Result<_, _>>().map_err(invalid)?;
        let config = OnPolicyConfig::read(settings)?;
        Ok(Self {
            team: Arc::clone(team),
            rewards: RewardNorm::new(&config.reward_norm, team.n()),
            config,
            critic_config,
            reward,
            source,
            actors,
            critics,
        })
    }

    /// One actor decides for all from all observations, by the joint advantage.
    ///
    /// # Errors
    /// As [`Actors::central`].
    pub fn decide_centrally(self, algo: &str, settings: &Settings, rng: &Stream) -> Result<Self, ConfigError> {
        Ok(Self { actors: Actors::central(algo, &self.team, settings, rng)?, ..self })
    }

    /// Each actor's network puts out the value of its rows too; there are no critics apart. For critics on observations that have no
    /// memory and normalise nothing.
    ///
    /// # Errors
    /// A setting that is missing.
    pub fn share_networks(self, settings: &Settings, rng: &Stream) -> Result<Self, ConfigError> {
        Ok(Self { actors: self.actors.with_values(settings, rng)?, critics: Vec::new(), ..self })
    }

    /// Networks of one shape start with the weights of the first of them.
    pub fn start_equal(&mut self) {
        fn copy<T>(mut items: &mut [T], net: impl Fn(&mut T) -> &mut Net) {
            while let Some((first, rest)) = items.split_first_mut() {
                let first = net(first);
                for item in rest.iter_mut().map(&net).filter(|item| item.spec() == first.spec()) {
                    item.set_params(|params| params.copy_from_slice(first.params()));
                }
                items = rest;
            }
        }
        copy(&mut self.actors, |actor| &mut actor.net);
        copy(&mut self.critics, Critic::net_mut);
    }

    /// Steps collected between updates.
    pub fn rollout_steps(&self) -> usize {
        self.actors.rollout_steps()
    }

    /// The actors' learning rate now.
    pub fn lr(&self, progress: f64) -> f64 {
        self.actors.lr(progress)
    }

    /// How actors cut rollouts.
    pub fn cut(&self, minibatches: usize) -> Cut {
        self.actors.cut(minibatches)
    }

    /// A copy of the actors that acts.
    pub fn policy(&self) -> TeamPolicy {
        self.actors.policy()
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
        let (n, gamma) = (self.team.n(), self.actors.gamma());
        let mut estimates =
            Estimates { values: Vec::new(), targets: Vec::new(), counts: Vec::new(), advantages: vec![Vec::new(); n] };
        for (members, values) in self.values(pool, roll) {
            let (here, next) = (values.denormalized(), values.next_denormalized());
            let mut targets = Vec::with_capacity(here.len());
            for (m, &k) in members.iter().enumerate() {
                let rewards = self.paid(roll, k);
                for (e, (lane, rewards)) in roll.lanes.iter().zip(rewards.chunks_exact(roll.steps())).enumerate() {
                    let at = (m * roll.envs() + e) * roll.steps();
                    let range = at..at + roll.steps();
                    let own = self.critic_config.mask_dead.then(|| lane.status_of(k));
                    let status = own.as_ref().unwrap_or(&lane.status);
                    let series = Series::new(rewards, &here[range.clone()], &next[range], status, &lane.valid)
                        .map_err(|e| UpdateError::Data(e.to_string()))?;
                    if self.config.returns == "n_step" {
                        let returns = n_step(&series, gamma, self.config.n_step, truncation);
                        estimates.advantages[k].extend(returns.iter().zip(&here[at..]).map(|(g, v)| (g - f64::from(*v)) as f32));
                        targets.extend(returns.iter().map(|x| *x as f32));
                    } else {
                        let found = gae(&series, gamma, self.config.gae_lambda, truncation);
                        targets.extend(found.returns.iter().map(|x| *x as f32));
                        estimates.advantages[k].extend(found.advantages.iter().map(|x| *x as f32));
                    }
                }
            }
            if self.critic_config.mask_dead {
                self.silence_the_dead(roll, &members, &mut estimates.advantages);
            }
            let counts = |i: &usize| if self.critic_config.mask_dead { roll.active_rows(*i) } else { roll.valid_rows() };
            estimates.counts.push(if self.critics.is_empty() { members.iter().flat_map(counts).collect() } else { Vec::new() });
            estimates.targets.push(targets);
            estimates.values.push(values);
        }
        self.normalize_jointly(roll, &mut estimates);
        Ok(estimates)
    }

    /// What critic row `k` is paid, `[rows]`, scaled where the settings say so.
    fn paid(&mut self, roll: &Rollout, k: usize) -> Vec<f64> {
        let steps = roll.lanes.iter().flat_map(|lane| lane.rewards.chunks_exact(self.team.n()));
        let mut rewards: Vec<f64> = steps.map(|own| self.reward.of(own, k)).collect();
        if self.rewards.is_on() {
            let counted = if self.critic_config.mask_dead { roll.active_rows(k) } else { roll.valid_rows() };
            self.rewards.scale(k, &mut rewards, &counted);
        }
        rewards
    }

    /// Values of the rollout with the critic rows that they belong to, by critic, or by actor where those value their own rows.
    fn values(&mut self, pool: &Pool, roll: &Rollout) -> Vec<(Vec<usize>, Values)> {
        if self.critics.is_empty() {
            let own = |actor: &Actor| (actor.members.clone(), actor.values(pool, roll, &actor.rows(roll)));
            return self.actors.iter().map(own).collect();
        }
        self.critics.iter_mut().map(|critic| (critic.members().to_vec(), critic.values(pool, roll))).collect()
    }

    /// Advantages after an agent's death are of values that are never fitted there: 0, so that they add nothing to a joint one.
    fn silence_the_dead(&self, roll: &Rollout, members: &[usize], advantages: &mut [Vec<f32>]) {
        for &k in members {
            let rows = advantages[k].iter_mut().zip(roll.active_rows(k));
            rows.filter(|(_, active)| !active).for_each(|(advantage, _)| *advantage = 0.0);
        }
    }

    fn per_agent_state(&self) -> bool {
        self.source == Source::State && matches!(self.team.state, StateSpace::Fp(_))
    }

    /// FP: once over all agents' active entries (HARL); the actors take their slices as they are. One actor for all normalises their sum.
    fn normalize_jointly(&self, roll: &Rollout, estimates: &mut Estimates) {
        let central = self.actors.iter().any(|actor| actor.whole().is_some());
        if self.config.normalize_advantages && self.per_agent_state() && !central {
            let mut all = estimates.advantages.concat();
            let active: Vec<bool> = (0..self.team.n()).flat_map(|i| roll.active_rows(i)).collect();
            normalize_masked(&mut all, Some(&active), ADVANTAGE_EPS);
            for (into, from) in estimates.advantages.iter_mut().zip(all.chunks(roll.rows())) {
                into.copy_from_slice(from);
            }
        }
    }

    /// The advantages of an actor's members, `[members * rows]`: its own statistics over its active rows, except for FP. One actor for
    /// all has the sum of the agents': the estimate is linear in rewards and values, so it is that of the summed reward.
    pub fn advantages(&self, estimates: &Estimates, actor: &Actor, rows: &ActorRows) -> Vec<f32> {
        let single = self.source == Source::State && !self.per_agent_state();
        let central = actor.whole().is_some();
        let mut all: Vec<f32> = if central && !single {
            let of = |row: usize| estimates.advantages.iter().map(|a| a[row]).sum();
            (0..rows.rows).map(of).collect()
        } else {
            actor.members.iter().flat_map(|&i| &estimates.advantages[if single { 0 } else { i }]).copied().collect()
        };
        if self.config.normalize_advantages && (central || !self.per_agent_state()) {
            let together = if self.config.normalize_by == "agent" { rows.rows } else { all.len() };
            for (part, active) in all.chunks_mut(together.max(1)).zip(rows.active.chunks(together.max(1))) {
                normalize_masked(part, Some(active), ADVANTAGE_EPS);
            }
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
        let lr = self.actors.decayed(self.critic_config.critic_lr, context.progress);
        let (single, chunk) = (self.critics.len() == 1, self.actors.cut(1).chunk);
        let mut metrics = Metrics::new();
        for (c, critic) in self.critics.iter_mut().enumerate() {
            let rng = context.rng.fork(1_000_000 + c as u64);
            let m = critic.fit(context.pool, roll, &estimates.values[c], &estimates.targets[c], chunk, lr, &rng)?;
            let prefix = if single { "loss/critic/".to_owned() } else { format!("loss/critic_{c}/") };
            metrics.merge(&prefix, &m);
        }
        Ok(metrics)
    }

    /// Writes actors, statistics of rewards, critics.
    pub fn save(&self, w: &mut StateWriter) {
        self.actors.save(w);
        self.rewards.save(w);
        for (c, critic) in self.critics.iter().enumerate() {
            critic.save(&mut w.scope(&format!("critic.{c}")));
        }
    }

    /// Reads actors, statistics of rewards, critics.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.actors.load(r)?;
        self.rewards.load(r)?;
        for (c, critic) in self.critics.iter_mut().enumerate() {
            critic.load(&r.scope(&format!("critic.{c}")))?;
        }
        Ok(())
    }
}

impl Estimates {
    /// What the value output of actor `g` should put out, where actors value their own rows.
    pub fn goal<'a>(&'a self, g: usize, config: &'a CriticConfig) -> ValueGoal<'a> {
        ValueGoal { targets: &self.targets[g], old: &self.values[g].here, counts: &self.counts[g], config }
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
        self.run_with(actor, pool, roll, rows, weight, Besides::Nothing, rng)
    }

    /// [`Passes::run`] with what the actor's loss has besides.
    ///
    /// # Errors
    /// [`UpdateError`].
    #[allow(clippy::too_many_arguments, reason = "those of a run, and the rest of the loss")]
    pub fn run_with(
        &self,
        actor: &mut Actor,
        pool: &Pool,
        roll: &Rollout,
        rows: &ActorRows,
        weight: &[f32],
        besides: Besides<'_>,
        rng: &Stream,
    ) -> Result<Metrics, UpdateError> {
        let mut metrics = Metrics::new();
        let ascent = Ascent { objective: &self.objective, weight, entropy_coef: self.entropy_coef, lr: self.lr };
        for epoch in 0..self.epochs {
            for pick in self.cut.pass(roll.envs(), roll.steps(), rng.fork(epoch as u64))? {
                metrics.merge("", &actor.step_with(pool, roll, rows, &pick, ascent, besides)?);
            }
        }
        Ok(metrics)
    }
}

//! HAML: the heterogeneous-agent mirror learning template, to be filled in by a user.
//!
//! Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25 (2024), section 4 (Algorithm 3).
//!
//! ```text
//! collect a rollout with pi; compute advantages A(s, a) with the central critic V
//! factor(s, a) <- 1;  draw a permutation i_1 .. i_n
//! for m = 1 .. n:
//!     climb  E[ r M - D(r, M) ]  for a few passes,   r = pi^{i_m} / pi_old^{i_m},  M = factor * A,
//!     while pi^{i_m} stays in the neighbourhood U(pi_old^{i_m})
//!     factor <- factor * pi_new^{i_m} / pi_old^{i_m}
//! fit V
//! ```
//!
//! A *drift* `D` is never negative, 0 and flat at `r = 1`; a *neighbourhood* contains a ball around the current policy. HAPPO
//! is the clip drift everywhere, HAA2C no drift everywhere, HATRPO no drift in a KL ball (with a natural-gradient step
//! instead of passes). An instance is registered as
//! `HamlSpec { name, summary, paper, drift: |settings| .., neighbourhood: |settings| .., keys: || .. }`: see
//! `crates/motley/examples/own_algorithm.rs`.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Metrics, Settings, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_nn::dist::KlKind;
use motley_nn::objective::Drift;
use motley_nn::{Actor, ActorRows, Divergence, Objective, Pool, Source, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::heterogeneous::happo::OrderConfig;
use crate::on_policy::{self, OnPolicy, Passes};
use crate::schedule::{self, FactorConfig};

/// Which policies an agent may move to.
pub trait Neighbourhood: Send + Sync {
    /// Whether a policy that diverges so from the old one lies inside.
    fn contains(&self, kl: Divergence) -> bool;
}

/// The whole policy space.
#[derive(Debug, Clone, Copy)]
pub struct Everywhere;

impl Neighbourhood for Everywhere {
    fn contains(&self, _kl: Divergence) -> bool {
        true
    }
}

/// `E_s[KL(pi_old || pi)] <= radius`.
#[derive(Debug, Clone, Copy)]
pub struct KlBall {
    /// Largest mean divergence.
    pub radius: f64,
}

impl Neighbourhood for KlBall {
    fn contains(&self, kl: Divergence) -> bool {
        kl.mean <= self.radius
    }
}

/// `KL(pi_old(. | s) || pi(. | s)) <= radius` in every state (of the rollout, here): the ball that keeps Lemma 15's improvement in each
/// state by itself.
#[derive(Debug, Clone, Copy)]
pub struct StateWiseKlBall {
    /// Largest divergence in any state.
    pub radius: f64,
}

impl Neighbourhood for StateWiseKlBall {
    fn contains(&self, kl: Divergence) -> bool {
        kl.max <= self.radius
    }
}

/// Makes a drift from the settings.
pub type MakeDrift = fn(&Settings) -> Result<Arc<dyn Drift>, ConfigError>;
/// Makes a neighbourhood from the settings.
pub type MakeNeighbourhood = fn(&Settings) -> Result<Box<dyn Neighbourhood>, ConfigError>;

/// An instance of the template, ready to be registered.
#[derive(Debug, Clone, Copy)]
pub struct HamlSpec {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Its drift.
    pub drift: MakeDrift,
    /// Its neighbourhood.
    pub neighbourhood: MakeNeighbourhood,
    /// Its own keys, beside those of every instance.
    pub keys: fn() -> Vec<Key>,
}

motley_core::settings! {
    /// Settings of every instance.
    pub struct HamlConfig in "algo" {
        /// Passes of an actor over each rollout.
        epochs: usize = 5, motley_core::Kind::Int(1, 1000);
        /// Minibatches per pass.
        minibatches: usize = 1, motley_core::Kind::Int(1, 100_000);
        /// Weight of the entropy bonus (0 for the template proper).
        entropy_coef: f64 = 0.0, motley_core::Kind::Float(0.0, 100.0);
    }
}

impl AlgorithmSpec for HamlSpec {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn paper(&self) -> &'static str {
        self.paper
    }

    fn keys(&self) -> Vec<Key> {
        [on_policy::keys("none"), HamlConfig::keys(), OrderConfig::keys(), FactorConfig::keys(), (self.keys)()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        on_policy::check(self.name, team, settings, Source::State, self.own_reward())
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        Ok(Box::new(Learner {
            core: OnPolicy::new(self.name, team, settings, Source::State, self.own_reward(), rng)?,
            config: HamlConfig::read(settings)?,
            order: OrderConfig::read(settings)?,
            factor: FactorConfig::read(settings)?,
            drift: (self.drift)(settings)?,
            neighbourhood: (self.neighbourhood)(settings)?,
        }))
    }
}

struct Learner {
    core: OnPolicy,
    config: HamlConfig,
    order: OrderConfig,
    factor: FactorConfig,
    drift: Arc<dyn Drift>,
    neighbourhood: Box<dyn Neighbourhood>,
}

impl Algorithm for Learner {
    fn rollout_steps(&self) -> usize {
        self.core.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.core.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let Self { core, config, order, factor, drift, neighbourhood } = self;
        let pool = context.pool;
        let estimates = core.estimate(pool, roll)?;
        let order = order.draw(core.actors.len(), &context.rng.fork(0));
        let pass = Passes {
            epochs: 1,
            cut: core.cut(config.minibatches),
            objective: Objective::Drifting(Arc::clone(drift)),
            entropy_coef: config.entropy_coef as f32,
            lr: core.lr(context.progress),
        };
        let mut metrics = schedule::sequential(core, pool, roll, &estimates, (&order, factor), |g, actor, rows, weight| {
            let rng = context.rng.fork(1 + g as u64);
            climb_within(actor, pool, roll, rows, weight, &pass, config.epochs, &**neighbourhood, &rng)
        })?;
        metrics.merge("", &core.fit_critics(roll, &estimates, context)?);
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.core.save(w);
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.core.load(r)
    }
}

/// How often a pass that left the neighbourhood is halved before it is taken back.
const HALVINGS: i32 = 10;

/// Passes while they stay in the neighbourhood. One that leaves it is shortened until it does not, and is the last.
#[allow(clippy::too_many_arguments, reason = "one agent's whole turn")]
fn climb_within(
    actor: &mut Actor,
    pool: &Pool,
    roll: &Rollout,
    rows: &ActorRows,
    weight: &[f32],
    pass: &Passes,
    epochs: usize,
    neighbourhood: &dyn Neighbourhood,
    rng: &Stream,
) -> Result<Metrics, UpdateError> {
    let old = actor.old_policy(pool, roll, rows);
    let inside = |actor: &Actor| {
        let (_, kl) = actor.surrogate_and_kl(pool, roll, rows, weight, &old, KlKind::True);
        neighbourhood.contains(kl)
    };
    let mut metrics = Metrics::new();
    for epoch in 0..epochs {
        let from = actor.net.params().to_vec();
        metrics.merge("", &pass.run(actor, pool, roll, rows, weight, &rng.fork(epoch as u64))?);
        if inside(actor) {
            metrics.add("left_neighbourhood", 0.0);
            continue;
        }
        metrics.add("left_neighbourhood", 1.0);
        let to = actor.net.params().to_vec();
        let shortened = (1..=HALVINGS).any(|k| {
            let share = 0.5f32.powi(k);
            actor.net.set_params(|p| p.iter_mut().zip(from.iter().zip(&to)).for_each(|(p, (f, t))| *p = f + share * (t - f)));
            inside(actor)
        });
        if !shortened {
            actor.net.set_params(|p| p.copy_from_slice(&from));
        }
        break;
    }
    Ok(metrics)
}

//! MAA2C: advantage actor-critic with a centralised critic.
//!
//! Papoudakis et al., "Benchmarking Multi-Agent Deep Reinforcement Learning Algorithms in Cooperative Tasks", NeurIPS 2021
//! (datasets and benchmarks), after Mnih et al. 2016 and Lowe et al. 2017.
//!
//! ```text
//! collect a rollout with pi; G = n-step returns with the target critic; A = G - V(s)
//! for every group, all from the same pi:  climb  E[ A log pi + c_ent H ]   (one pass)
//! fit V to G
//! ```
//!
//! The update is importance-weighted, so that `algo.a2c_epochs > 1` stays a policy gradient. Deviations from the EPyMARL code:
//! n-step returns bootstrap at truncation and never past a termination, and padding does not exist.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::{Objective, Source, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::on_policy::{self, OnPolicy, Passes};
use crate::schedule;

settings! {
    /// How actors climb by advantages without a clip.
    pub struct A2cConfig in "algo" {
        /// Passes of an actor over each rollout, importance-weighted after the first.
        a2c_epochs: usize = 1, Kind::Int(1, 1000);
        /// Minibatches per pass.
        minibatches: usize = 1, Kind::Int(1, 100_000);
        /// Weight of the entropy bonus.
        entropy_coef: f64 = 0.01, Kind::Float(0.0, 10_000.0);
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Maa2c;

impl AlgorithmSpec for Maa2c {
    fn name(&self) -> &'static str {
        "maa2c"
    }

    fn summary(&self) -> &'static str {
        "advantage actor-critic with one centralised critic"
    }

    fn paper(&self) -> &'static str {
        "Papoudakis et al., NeurIPS 2021"
    }

    fn keys(&self) -> Vec<Key> {
        [on_policy::keys("type"), A2cConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        on_policy::check(self.name(), team, settings, Source::State, self.own_reward())
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        let core = OnPolicy::new(self.name(), team, settings, Source::State, self.own_reward(), rng)?;
        Ok(Box::new(A2c { core, a2c: A2cConfig::read(settings)? }))
    }
}

/// The policy gradient for every group from the same point. What the critic reads is the whole difference between MAA2C and
/// IA2C.
pub(crate) struct A2c {
    pub(crate) core: OnPolicy,
    pub(crate) a2c: A2cConfig,
}

impl Algorithm for A2c {
    fn rollout_steps(&self) -> usize {
        self.core.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.core.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let Self { core, a2c } = self;
        let pool = context.pool;
        let estimates = core.estimate(pool, roll)?;
        let passes = Passes {
            epochs: a2c.a2c_epochs,
            cut: core.cut(a2c.minibatches),
            objective: Objective::Ratio,
            entropy_coef: a2c.entropy_coef as f32,
            lr: core.lr(context.progress),
        };
        let mut metrics = schedule::simultaneous(core, roll, &estimates, |g, actor, rows, advantage| {
            passes.run(actor, pool, roll, rows, advantage, &context.rng.fork(1 + g as u64))
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

//! HAA2C: heterogeneous-agent advantage actor-critic.
//!
//! Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25 (2024): the HAML instance without drift.
//!
//! ```text
//! as HAPPO, but each agent climbs  E[ r M + c_ent H ]  for `a2c_epochs` passes, without a clip
//! ```
//!
//! Reusing a rollout several times without a clip is why it can fall back late in training: `algo.a2c_epochs=1` or a small
//! learning rate is the safe form. Deviations from the HARL code: as in [`crate::heterogeneous::happo`].

use std::sync::Arc;

use motley_core::config::default_value;
use motley_core::{ConfigError, Key, Metrics, Settings, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_nn::{Objective, Source, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::heterogeneous::happo::OrderConfig;
use crate::on_policy::{self, OnPolicy, Passes};
use crate::policy_gradient::maa2c::A2cConfig;
use crate::schedule::{self, FactorConfig};

/// The registered algorithm.
#[derive(Debug)]
pub struct Haa2c;

impl AlgorithmSpec for Haa2c {
    fn name(&self) -> &'static str {
        "haa2c"
    }

    fn summary(&self) -> &'static str {
        "sequential advantage actor-critic: HAPPO without the clip"
    }

    fn paper(&self) -> &'static str {
        "Zhong et al., JMLR 2024"
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = [on_policy::keys("none"), A2cConfig::keys(), OrderConfig::keys(), FactorConfig::keys()].concat();
        keys.iter_mut().filter(|k| k.name == "algo.a2c_epochs").for_each(|k| k.default = default_value(5));
        keys
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
        Ok(Box::new(Learner {
            core: OnPolicy::new(self.name(), team, settings, Source::State, self.own_reward(), rng)?,
            a2c: A2cConfig::read(settings)?,
            order: OrderConfig::read(settings)?,
            factor: FactorConfig::read(settings)?,
        }))
    }
}

struct Learner {
    core: OnPolicy,
    a2c: A2cConfig,
    order: OrderConfig,
    factor: FactorConfig,
}

impl Algorithm for Learner {
    fn rollout_steps(&self) -> usize {
        self.core.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.core.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let Self { core, a2c, order, factor } = self;
        let pool = context.pool;
        let estimates = core.estimate(pool, roll)?;
        let order = order.draw(core.actors.len(), &context.rng.fork(0));
        let passes = Passes {
            epochs: a2c.a2c_epochs,
            cut: core.cut(a2c.minibatches),
            objective: Objective::Ratio,
            entropy_coef: a2c.entropy_coef as f32,
            lr: core.lr(context.progress),
        };
        let mut metrics = schedule::sequential(core, pool, roll, &estimates, (&order, factor), |g, actor, rows, weight| {
            passes.run(actor, pool, roll, rows, weight, &context.rng.fork(1 + g as u64))
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

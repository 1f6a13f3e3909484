//! HADDPG: heterogeneous-agent deterministic policy gradients.
//!
//! Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25 (2024), section 5.3; Lillicrap et al., "Continuous Control
//! with Deep Reinforcement Learning", ICLR 2016.
//!
//! ```text
//! collect with a = clip(mu(o) + noise); keep transitions; then, once per step of all environments:
//!     draw a batch;  y = R_n + gamma^m Q'(s', mu'_1(o'_1) .. mu'_n(o'_n))
//!     fit  Q(s, a)  to  y
//!     a_j <- mu_j(o_j) for all j;  draw a permutation i_1 .. i_n
//!     for m = 1 .. n:
//!         one step of mu_{i_m} up  E[ Q(s, a_1 .. mu_{i_m}(o) .. a_n) ]
//!         a_{i_m} <- mu_{i_m}(o) with the new weights
//!     Q', mu'  follow  Q, mu  by target_update
//! ```
//!
//! Choices climb through the straight-through Gumbel-softmax, with the target's greedy choice in y (the HARL code takes boxes
//! only). An FP state gives one shared critic a row per agent. What follows a time limit is the true final observation.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Metrics, Settings, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_nn::{Explore, Noise, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::heterogeneous::happo::OrderConfig;
use crate::off_policy::{self, OffPolicy, PathConfig, Shape, Who};

/// The registered algorithm.
#[derive(Debug)]
pub struct Haddpg;

impl AlgorithmSpec for Haddpg {
    fn name(&self) -> &'static str {
        "haddpg"
    }

    fn summary(&self) -> &'static str {
        "sequential deterministic policy gradients through one critic of joint actions"
    }

    fn paper(&self) -> &'static str {
        "Zhong et al., JMLR 2024; Lillicrap et al., ICLR 2016"
    }

    fn keys(&self) -> Vec<Key> {
        [off_policy::actor_keys(), PathConfig::keys(), OrderConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        off_policy::check_actors(self.name(), team, settings, self.own_reward(), false).map(|_| ())
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        let shape = Shape { twins: 1, stochastic: false, per_agent: false, norm: None };
        Ok(Box::new(Learner {
            core: OffPolicy::new(self.name(), team, settings, self.own_reward(), &shape, rng)?,
            path: PathConfig::read(settings)?,
            order: OrderConfig::read(settings)?,
        }))
    }
}

struct Learner {
    core: OffPolicy,
    path: PathConfig,
    order: OrderConfig,
}

impl Algorithm for Learner {
    fn rollout_steps(&self) -> usize {
        self.core.ground.memory.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.core.policy(Explore::Noise(self.path.exploration_noise as f32))
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let Self { core, path, order } = self;
        let (pool, ascent) = (context.pool, path.ascent(core.ground.lr(context)));
        let mut metrics = Metrics::new();
        for k in core.ground.due(roll) {
            let rng = context.rng.fork(k);
            let batch = core.ground.batch(pool, &rng.fork(0))?;
            let mut next = batch.joint.clone();
            core.act(pool, &batch, Who::Target, true, Noise::Zero, &rng.fork(1), &mut next);
            let y = core.targets(pool, &batch, &next, None);
            core.fit(context, &batch, &y, &mut metrics)?;
            let order = order.draw(core.actors.len(), &rng.fork(2));
            core.climb_in_order(pool, &batch, &order, |_| ascent, &rng.fork(3), &mut metrics)?;
            core.move_targets(pool);
        }
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.core.save(w);
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.core.load(r)
    }
}

//! MATD3: MADDPG with twin critics, smoothed targets and delayed policies.
//!
//! Ackermann et al., "Reducing Overestimation Bias in Multi-Agent Domains Using Double Centralized Critics", 2019.
//!
//! ```text
//! collect with a = clip(mu(o) + noise); keep transitions; then, once per step of all environments:
//!     draw a batch;  a'_i = clip(mu'_i(o'_i) + clip(noise))
//!     y_i = R_n^i + gamma^m min(Q'_i1, Q'_i2)(s', a'_1 .. a'_n)
//!     fit  Q_i1(s, a)  and  Q_i2(s, a)  to  y_i
//!     every policy_freq-th time:
//!         for every agent i, all from the same batch:
//!             one step of mu_i up  E[ Q_i1(s, a_1 .. mu_i(o_i) .. a_n) ],   a from the batch
//!         Q', mu'  follow  Q, mu  by target_update
//! ```
//!
//! Switches as in [`crate::policy_gradient::maddpg`].

use std::sync::Arc;

use motley_core::{ConfigError, Key, Metrics, Settings, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_nn::{Explore, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::heterogeneous::hatd3::Td3Config;
use crate::off_policy::{self, OffPolicy, PathConfig, Shape, Who};
use crate::policy_gradient::maddpg::TeammatesConfig;

/// The registered algorithm.
#[derive(Debug)]
pub struct Matd3;

impl AlgorithmSpec for Matd3 {
    fn name(&self) -> &'static str {
        "matd3"
    }

    fn summary(&self) -> &'static str {
        "MADDPG with twin critics, smoothed targets and delayed policies"
    }

    fn paper(&self) -> &'static str {
        "Ackermann et al., 2019"
    }

    fn keys(&self) -> Vec<Key> {
        [off_policy::actor_keys(), PathConfig::keys(), Td3Config::keys(), TeammatesConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn own_reward_under(&self, settings: &Settings) -> Result<RewardMode, ConfigError> {
        Ok(if TeammatesConfig::read(settings)?.per_agent() { RewardMode::Own } else { RewardMode::Sum })
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        let per_agent = TeammatesConfig::read(settings)?.per_agent();
        off_policy::check_actors(self.name(), team, settings, self.own_reward(), per_agent).map(|_| ())
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        let teammates = TeammatesConfig::read(settings)?;
        let shape = Shape { twins: 2, stochastic: false, per_agent: teammates.per_agent(), norm: None };
        Ok(Box::new(Learner {
            core: OffPolicy::new(self.name(), team, settings, self.own_reward(), &shape, rng)?,
            path: PathConfig::read(settings)?,
            td3: Td3Config::read(settings)?,
            teammates,
        }))
    }
}

struct Learner {
    core: OffPolicy,
    path: PathConfig,
    td3: Td3Config,
    teammates: TeammatesConfig,
}

impl Algorithm for Learner {
    fn rollout_steps(&self) -> usize {
        self.core.ground.memory.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.core.policy(Explore::Noise(self.path.exploration_noise as f32))
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let Self { core, path, td3, teammates } = self;
        let (pool, ascent) = (context.pool, path.ascent(core.ground.lr(context)));
        let mut metrics = Metrics::new();
        for k in core.ground.due(roll) {
            let rng = context.rng.fork(k);
            let batch = core.ground.batch(pool, &rng.fork(0))?;
            let mut next = batch.joint.clone();
            core.act(pool, &batch, Who::Target, true, td3.smoothing(), &rng.fork(1), &mut next);
            let y = core.targets(pool, &batch, &next, None);
            core.fit(context, &batch, &y, &mut metrics)?;
            if td3.moves(k) {
                core.climb_apart(pool, &batch, teammates.current(), ascent, &rng.fork(3), &mut metrics)?;
                core.move_targets(pool);
            }
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

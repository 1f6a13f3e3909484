//! HATD3: heterogeneous-agent twin delayed deterministic policy gradients.
//!
//! Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25 (2024), section 5.3; Fujimoto et al., "Addressing Function
//! Approximation Error in Actor-Critic Methods", ICML 2018.
//!
//! ```text
//! collect with a = clip(mu(o) + noise); keep transitions; then, once per step of all environments:
//!     draw a batch;  a'_i = clip(mu'_i(o'_i) + clip(noise))
//!     y = R_n + gamma^m min(Q'_1, Q'_2)(s', a'_1 .. a'_n)
//!     fit  Q_1(s, a)  and  Q_2(s, a)  to  y
//!     every policy_freq-th time:
//!         a_j <- mu_j(o_j) for all j;  draw a permutation i_1 .. i_n
//!         for m = 1 .. n:
//!             one step of mu_{i_m} up  E[ Q_1(s, a_1 .. mu_{i_m}(o) .. a_n) ]
//!             a_{i_m} <- mu_{i_m}(o) with the new weights
//!         Q', mu'  follow  Q, mu  by target_update
//! ```
//!
//! For choices as in [`crate::heterogeneous::haddpg`]; they are not smoothed.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::{Explore, Noise, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::heterogeneous::happo::OrderConfig;
use crate::off_policy::{self, OffPolicy, PathConfig, Shape, Who};

settings! {
    /// Smoothed targets and delayed policies.
    pub struct Td3Config in "algo" {
        /// Deviation of the noise on target actions, in half-boxes.
        policy_noise: f64 = 0.2, Kind::Float(0.0, 10.0);
        /// Bound of that noise, in half-boxes.
        noise_clip: f64 = 0.5, Kind::Float(0.0, 10.0);
        /// Critic steps per step of actors and targets.
        policy_freq: u64 = 2, Kind::Int(1, 10_000);
    }
}

impl Td3Config {
    /// The noise on target actions.
    pub fn smoothing(&self) -> Noise {
        Noise::Smoothing { std: self.policy_noise as f32, clip: self.noise_clip as f32 }
    }

    /// Whether actors and targets move in update `k`.
    pub fn moves(&self, k: u64) -> bool {
        (k + 1).is_multiple_of(self.policy_freq)
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Hatd3;

impl AlgorithmSpec for Hatd3 {
    fn name(&self) -> &'static str {
        "hatd3"
    }

    fn summary(&self) -> &'static str {
        "HADDPG with twin critics, smoothed targets and delayed policies"
    }

    fn paper(&self) -> &'static str {
        "Zhong et al., JMLR 2024; Fujimoto et al., ICML 2018"
    }

    fn keys(&self) -> Vec<Key> {
        [off_policy::actor_keys(), PathConfig::keys(), Td3Config::keys(), OrderConfig::keys()].concat()
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
        let shape = Shape { twins: 2, stochastic: false, per_agent: false, norm: None };
        Ok(Box::new(Learner {
            core: OffPolicy::new(self.name(), team, settings, self.own_reward(), &shape, rng)?,
            path: PathConfig::read(settings)?,
            td3: Td3Config::read(settings)?,
            order: OrderConfig::read(settings)?,
        }))
    }
}

struct Learner {
    core: OffPolicy,
    path: PathConfig,
    td3: Td3Config,
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
        let Self { core, path, td3, order } = self;
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
                let order = order.draw(core.actors.len(), &rng.fork(2));
                core.climb_in_order(pool, &batch, &order, |_| ascent, &rng.fork(3), &mut metrics)?;
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

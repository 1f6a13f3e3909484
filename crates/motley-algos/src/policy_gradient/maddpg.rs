//! MADDPG: multi-agent deterministic policy gradients with centralised critics.
//!
//! Lowe et al., "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments", NeurIPS 2017.
//!
//! ```text
//! collect with a = clip(mu(o) + noise); keep transitions; then, once per step of all environments:
//!     draw a batch;  y_i = R_n^i + gamma^m Q'_i(s', mu'_1(o'_1) .. mu'_n(o'_n))
//!     fit  Q_i(s, a)  to  y_i
//!     for every agent i, all from the same batch:
//!         one step of mu_i up  E[ Q_i(s, a_1 .. mu_i(o_i) .. a_n) ],   a from the batch
//!     Q', mu'  follow  Q, mu  by target_update
//! ```
//!
//! `algo.critics=per_agent` is the paper's form, for agents whose rewards differ; by default one critic learns the team's reward
//! (as the HARL code does). `algo.teammates=current` puts the teammates' present policies in the place of the batch's actions.
//! Choices climb through the straight-through Gumbel-softmax with the paper's small penalty on logits.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::{Explore, Noise, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::off_policy::{self, OffPolicy, PathConfig, Shape, Who};

settings! {
    /// Whose critics, and what teammates do in them.
    pub struct TeammatesConfig in "algo" {
        /// `team`: one critic of the team's reward; `per_agent`: each agent its own, of its own reward.
        critics: String = "team", Kind::Choice(&["team", "per_agent"]);
        /// In an actor's step teammates do what they did (`replay`), or what they would do now (`current`).
        teammates: String = "replay", Kind::Choice(&["replay", "current"]);
    }
}

impl TeammatesConfig {
    /// Whether each agent has a critic of its own.
    pub fn per_agent(&self) -> bool {
        self.critics == "per_agent"
    }

    /// Whether teammates act by their present policies.
    pub fn current(&self) -> bool {
        self.teammates == "current"
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Maddpg;

impl AlgorithmSpec for Maddpg {
    fn name(&self) -> &'static str {
        "maddpg"
    }

    fn summary(&self) -> &'static str {
        "deterministic policy gradients through critics of joint actions, the team's or each agent's own"
    }

    fn paper(&self) -> &'static str {
        "Lowe et al., NeurIPS 2017"
    }

    fn keys(&self) -> Vec<Key> {
        [off_policy::actor_keys(), PathConfig::keys(), TeammatesConfig::keys()].concat()
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
        let shape = Shape { twins: 1, stochastic: false, per_agent: teammates.per_agent(), norm: None };
        Ok(Box::new(Learner {
            core: OffPolicy::new(self.name(), team, settings, self.own_reward(), &shape, rng)?,
            path: PathConfig::read(settings)?,
            teammates,
        }))
    }
}

struct Learner {
    core: OffPolicy,
    path: PathConfig,
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
        let Self { core, path, teammates } = self;
        let (pool, ascent) = (context.pool, path.ascent(core.ground.lr(context)));
        let mut metrics = Metrics::new();
        for k in core.ground.due(roll) {
            let rng = context.rng.fork(k);
            let batch = core.ground.batch(pool, &rng.fork(0))?;
            let mut next = batch.joint.clone();
            core.act(pool, &batch, Who::Target, true, Noise::Zero, &rng.fork(1), &mut next);
            let y = core.targets(pool, &batch, &next, None);
            core.fit(context, &batch, &y, &mut metrics)?;
            core.climb_apart(pool, &batch, teammates.current(), ascent, &rng.fork(3), &mut metrics)?;
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

//! MAPPO: multi-agent PPO with a centralised critic.
//!
//! Yu et al., "The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games", NeurIPS 2022.
//!
//! ```text
//! collect a rollout with pi; compute advantages A with the central critic V
//! for every group, all from the same pi:
//!     climb  E[ min( r A, clip(r, 1 - eps, 1 + eps) A ) + c_ent H ],   r = pi^i / pi_old^i
//! fit V
//! ```
//!
//! By default agents of one kind share parameters (`net.share = "type"`); a group's minibatch holds the same moments for all
//! its members. Deviations from the HARL code: as in [`crate::heterogeneous::happo`].

use std::sync::Arc;

use motley_core::{ConfigError, Key, Metrics, Settings, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_nn::{Besides, CrossGroup, Objective, Source, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::on_policy::{self, OnPolicy, Passes, PpoConfig};
use crate::schedule;

/// The registered algorithm.
#[derive(Debug)]
pub struct Mappo;

impl AlgorithmSpec for Mappo {
    fn name(&self) -> &'static str {
        "mappo"
    }

    fn summary(&self) -> &'static str {
        "PPO for every agent with one centralised critic; parameters shared by kind"
    }

    fn paper(&self) -> &'static str {
        "Yu et al., NeurIPS 2022"
    }

    fn keys(&self) -> Vec<Key> {
        [on_policy::keys("type"), PpoConfig::keys()].concat()
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
        Ok(Box::new(Ppo { core, ppo: PpoConfig::read(settings)?, cross: None }))
    }
}

/// PPO for every group from the same point. What the critic reads (the state, or each agent's observation) is the whole
/// difference between MAPPO and IPPO.
pub(crate) struct Ppo {
    pub(crate) core: OnPolicy,
    pub(crate) ppo: PpoConfig,
    /// U-MAPPO's part of the actors' loss.
    pub(crate) cross: Option<CrossGroup>,
}

impl Algorithm for Ppo {
    fn rollout_steps(&self) -> usize {
        self.core.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.core.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let Self { core, ppo, cross } = self;
        let pool = context.pool;
        let estimates = core.estimate(pool, roll)?;
        let passes = Passes {
            epochs: ppo.ppo_epochs,
            cut: core.cut(ppo.minibatches),
            objective: Objective::PpoClip { clip: ppo.clip as f32 },
            entropy_coef: ppo.entropy_coef as f32,
            lr: core.lr(context.progress),
        };
        let mut metrics = schedule::simultaneous(core, roll, &estimates, |g, actor, rows, advantage| {
            let besides = cross.as_ref().map_or(Besides::Nothing, Besides::CrossGroup);
            passes.run_with(actor, pool, roll, rows, advantage, besides, &context.rng.fork(1 + g as u64))
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

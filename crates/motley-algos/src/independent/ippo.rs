//! IPPO: independent PPO.
//!
//! de Witt et al., "Is Independent Learning All You Need in the StarCraft Multi-Agent Challenge?", 2020.
//!
//! ```text
//! collect a rollout with pi
//! for every agent i: advantages A^i from its own reward and its own V(o_i);
//!     climb  E[ min( r A^i, clip(r, 1 - eps, 1 + eps) A^i ) + c_ent H ],   r = pi^i / pi_old^i
//!     fit V^i
//! ```
//!
//! The update is that of [`crate::policy_gradient::mappo`]; critics read observations instead of the state, one per
//! group. Agents learn from their own rewards where the task pays them apart (`task.reward`).

use std::sync::Arc;

use motley_core::{ConfigError, Key, Settings, Stream, TeamSpec};
use motley_nn::Source;

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode};
use crate::on_policy::{self, OnPolicy, PpoConfig};
use crate::policy_gradient::mappo::Ppo;

/// The registered algorithm.
#[derive(Debug)]
pub struct Ippo;

impl AlgorithmSpec for Ippo {
    fn name(&self) -> &'static str {
        "ippo"
    }

    fn summary(&self) -> &'static str {
        "PPO for every agent by itself, critics on observations"
    }

    fn paper(&self) -> &'static str {
        "de Witt et al., 2020"
    }

    fn keys(&self) -> Vec<Key> {
        [on_policy::keys("none"), PpoConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Own
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        on_policy::check(self.name(), team, settings, Source::Obs, self.own_reward())
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        let core = OnPolicy::new(self.name(), team, settings, Source::Obs, self.own_reward(), rng)?;
        Ok(Box::new(Ppo { core, ppo: PpoConfig::read(settings)?, cross: None }))
    }
}

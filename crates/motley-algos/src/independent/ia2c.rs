//! IA2C: independent advantage actor-critic.
//!
//! Papoudakis et al., NeurIPS 2021 (datasets and benchmarks), after Mnih et al. 2016 (the synchronous form of A3C).
//!
//! ```text
//! collect a rollout with pi
//! for every agent i: G^i = n-step returns of its own reward with its target critic; A^i = G^i - V^i(o_i);
//!     climb  E[ A^i log pi^i + c_ent H ]   (one pass);  fit V^i to G^i
//! ```
//!
//! The update is that of [`crate::policy_gradient::maa2c`]; critics read observations instead of the state.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Settings, Stream, TeamSpec};
use motley_nn::Source;

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode};
use crate::on_policy::{self, OnPolicy};
use crate::policy_gradient::maa2c::{A2c, A2cConfig};

/// The registered algorithm.
#[derive(Debug)]
pub struct Ia2c;

impl AlgorithmSpec for Ia2c {
    fn name(&self) -> &'static str {
        "ia2c"
    }

    fn summary(&self) -> &'static str {
        "advantage actor-critic for every agent by itself"
    }

    fn paper(&self) -> &'static str {
        "Papoudakis et al., NeurIPS 2021"
    }

    fn keys(&self) -> Vec<Key> {
        [on_policy::keys("none"), A2cConfig::keys()].concat()
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
        Ok(Box::new(A2c { core, a2c: A2cConfig::read(settings)? }))
    }
}

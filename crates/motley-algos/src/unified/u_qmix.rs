//! U-QMIX: QMIX with one network for unlike agents, on a unified action space.
//!
//! Yu et al., arXiv 2408.07395 (see [`super`]).
//!
//! ```text
//! one network: (padded observation, kind, last unified action) -> trunk -> GRU -> values of the unified actions | a second head
//! act epsilon-greedily within  m_i = AM_group(i) and lift(available_i);  keep episodes in replay
//! for a batch of episodes:
//!     y as QMIX's, the maxima over m_i
//!     descend  mean (Q_tot - y)^2 + c_cgi L_CGI;  now and then Q' <- Q
//! ```
//!
//! Deviations from the paper's notation: its bracket squares Q_tot alone. Those from the references are
//! [`crate::value_decomposition::qmix`]'s. Agents' numbers are not needed, and no input unless asked for.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Settings, Stream, TeamSpec};
use motley_nn::cross_group::Predicted;

use super::{CrossConfig, Unified, prepare};
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, but_for_room};
use crate::value_decomposition::qmix::{Mixed, QmixConfig};
use crate::value_decomposition::{check, check_team_reward, keys};

/// The registered algorithm.
#[derive(Debug)]
pub struct UQmix;

impl AlgorithmSpec for UQmix {
    fn name(&self) -> &'static str {
        "u-qmix"
    }

    fn summary(&self) -> &'static str {
        "QMIX with one network for unlike agents, on a unified action space"
    }

    fn paper(&self) -> &'static str {
        "Yu et al., 2024 (arXiv 2408.07395)"
    }

    fn keys(&self) -> Vec<Key> {
        let mut all = super::keys([keys(), QmixConfig::keys()].concat());
        for key in all.iter_mut().filter(|k| k.name == "net.agent_id") {
            key.default = false.into();
        }
        all
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        let (lift, settings) = prepare(self.name(), &Arc::new(team.clone()), settings)?;
        check_team_reward(self.name(), lift.unified(), &settings)?;
        check(self.name(), lift.unified(), &settings, 0)
    }

    fn caveat(&self, team: &TeamSpec, settings: &Settings) -> Option<String> {
        super::caveat(self.name(), "qmix", team, settings)
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        but_for_room(self.check(team, settings))?;
        let (lift, settings) = prepare(self.name(), team, settings)?;
        let cross = CrossConfig::read(&settings)?.build(&lift, Predicted::Values);
        let mixed = Mixed::new(lift.unified(), &settings, self.own_reward(), cross, rng)?;
        Ok(Unified::boxed(lift, mixed))
    }
}

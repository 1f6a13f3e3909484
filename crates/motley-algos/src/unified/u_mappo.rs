//! U-MAPPO: MAPPO with one network for unlike agents, on a unified action space.
//!
//! Yu et al., arXiv 2408.07395 (see [`super`]).
//!
//! ```text
//! one network: (padded observation, kind) -> trunk (-> GRU) -> logits over the unified actions | a second head
//! collect with  pi_i = softmax of the logits over  m_i = AM_group(i) and lift(available_i);  compute A with the central critic V
//! descend  -E[ min(r A, clip(r, 1 - eps, 1 + eps) A) + c_ent H ] + c_cgi L_CGI,   r = pi_i / pi_i_old
//! fit V
//! ```
//!
//! Deviations from the notation: the actor objective is added to losses with the sign of a loss here; masked probabilities are
//! renormalised. Those from the HARL code are [`crate::policy_gradient::mappo`]'s.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Settings, Stream, TeamSpec};
use motley_nn::cross_group::Predicted;
use motley_nn::{AdamConfig, Source};

use super::{CrossConfig, Unified, keys, prepare};
use crate::actors;
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode};
use crate::on_policy::{self, OnPolicy, PpoConfig};
use crate::policy_gradient::mappo::Ppo;

/// The registered algorithm.
#[derive(Debug)]
pub struct UMappo;

impl AlgorithmSpec for UMappo {
    fn name(&self) -> &'static str {
        "u-mappo"
    }

    fn summary(&self) -> &'static str {
        "MAPPO with one network for unlike agents, on a unified action space"
    }

    fn paper(&self) -> &'static str {
        "Yu et al., 2024 (arXiv 2408.07395)"
    }

    fn keys(&self) -> Vec<Key> {
        let parent = actors::unused(on_policy::keys("all"), &actors::OF_BOXES, "actions are choices");
        let mut all = keys([parent, PpoConfig::keys()].concat());
        // The paper's value loss is the clipped squared error.
        for key in all.iter_mut().filter(|k| k.name == "algo.value_loss") {
            key.default = "squared".into();
        }
        all
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        let (lift, settings) = prepare(self.name(), &Arc::new(team.clone()), settings)?;
        on_policy::check(self.name(), lift.unified(), &settings, Source::State, self.own_reward())
    }

    fn caveat(&self, team: &TeamSpec, settings: &Settings) -> Option<String> {
        super::caveat(self.name(), "mappo", team, settings)
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        let (lift, settings) = prepare(self.name(), team, settings)?;
        let mut core = OnPolicy::new(self.name(), lift.unified(), &settings, Source::State, self.own_reward(), rng)?;
        let cross = CrossConfig::read(&settings)?.build(&lift, Predicted::Policy);
        if cross.is_some() {
            let adam = AdamConfig::read(&settings)?;
            core.actors.iter_mut().for_each(|actor| actor.add_second_head(adam.clone(), &rng.fork(2_000_000)));
        }
        Ok(Unified::boxed(lift, Ppo { core, ppo: PpoConfig::read(&settings)?, cross }))
    }
}

//! HAPPO: heterogeneous-agent proximal policy optimisation.
//!
//! Kuba et al., "Trust Region Policy Optimisation in Multi-Agent Reinforcement Learning", ICLR 2022 (Algorithm 2);
//! Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25 (2024).
//!
//! ```text
//! collect a rollout with pi = (pi^1 .. pi^n); compute advantages A(s, a) with the central critic V
//! factor(s, a) <- 1;  draw a permutation i_1 .. i_n
//! for m = 1 .. n:
//!     climb  E[ min( r M, clip(r, 1 - eps, 1 + eps) M ) + c_ent H ],   r = pi^{i_m} / pi_old^{i_m},  M = factor * A
//!     factor <- factor * pi_new^{i_m} / pi_old^{i_m}
//! fit V
//! ```
//!
//! Deviations from the HARL code (each a switch back to it): time limits are bootstrapped from the true final state
//! (`algo.truncation=harl`), the value norm starts as the identity (`algo.value_norm_start=harl`), the log-probability of a
//! multi-discrete action is one joint number, and no row of a rollout is dropped by minibatches. With shared groups the
//! sequence runs over groups; the guarantee of monotone improvement holds for groups of one.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::{Objective, Source, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::on_policy::{self, OnPolicy, Passes, PpoConfig};
use crate::schedule::{self, FactorConfig};

settings! {
    /// The order of updates.
    pub struct OrderConfig in "algo" {
        /// `random` draws a new order every iteration (what convergence to a Nash equilibrium needs); `fixed` is the team's.
        order: String = "random", Kind::Choice(&["random", "fixed"]);
    }
}

impl OrderConfig {
    /// The order of `groups` groups in one update, by `rng` where it is random.
    pub fn draw(&self, groups: usize, rng: &Stream) -> Vec<usize> {
        if self.order == "random" { rng.clone().permutation(groups) } else { (0..groups).collect() }
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Happo;

impl AlgorithmSpec for Happo {
    fn name(&self) -> &'static str {
        "happo"
    }

    fn summary(&self) -> &'static str {
        "sequential PPO with the factor of earlier agents; monotone improvement for unlike agents"
    }

    fn paper(&self) -> &'static str {
        "Kuba et al., ICLR 2022; Zhong et al., JMLR 2024"
    }

    fn keys(&self) -> Vec<Key> {
        [on_policy::keys("none"), PpoConfig::keys(), OrderConfig::keys(), FactorConfig::keys()].concat()
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
            ppo: PpoConfig::read(settings)?,
            order: OrderConfig::read(settings)?,
            factor: FactorConfig::read(settings)?,
        }))
    }
}

struct Learner {
    core: OnPolicy,
    ppo: PpoConfig,
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
        let Self { core, ppo, order, factor } = self;
        let pool = context.pool;
        let estimates = core.estimate(pool, roll)?;
        let order = order.draw(core.actors.len(), &context.rng.fork(0));
        let passes = Passes {
            epochs: ppo.ppo_epochs,
            cut: core.cut(ppo.minibatches),
            objective: Objective::PpoClip { clip: ppo.clip as f32 },
            entropy_coef: ppo.entropy_coef as f32,
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

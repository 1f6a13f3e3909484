//! VDN: value decomposition networks.
//!
//! Sunehag et al., "Value-Decomposition Networks For Cooperative Multi-Agent Learning", AAMAS 2018.
//!
//! ```text
//! act epsilon-greedily on every agent's own Q_i(h_i, .); keep episodes in replay
//! for a batch of episodes:
//!     Q_tot(h, a) = sum_i Q_i(h_i, a_i)
//!     y = Peng's Q(lambda) or n-step target of  sum_i Q'_i(h'_i, argmax_a Q_i(h'_i, a))       (targets ', double Q)
//!     descend  mean (Q_tot - y)^2;  now and then Q' <- Q
//! ```
//!
//! Deviations from the references (EPyMARL, PyMARL2): a time limit is bootstrapped, not terminal; dead agents add 0 to the sum; the
//! reward is the team's.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Metrics, Settings, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_nn::{TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use super::learner::Needs;
use super::{Learner, check, check_team_reward, keys, squared_error};
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext, but_for_room};

/// The registered algorithm.
#[derive(Debug)]
pub struct Vdn;

impl AlgorithmSpec for Vdn {
    fn name(&self) -> &'static str {
        "vdn"
    }

    fn summary(&self) -> &'static str {
        "Q-learning of the team's value as the sum of the agents' own"
    }

    fn paper(&self) -> &'static str {
        "Sunehag et al., AAMAS 2018"
    }

    fn keys(&self) -> Vec<Key> {
        keys()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        check_team_reward(self.name(), team, settings)?;
        check(self.name(), team, settings, 0)
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        but_for_room(self.check(team, settings))?;
        Ok(Box::new(Sum { learner: Learner::new(team, settings, self.own_reward(), Needs::default(), rng)? }))
    }
}

/// The team's value of joint choices, `sum_i Q_i(h_i, a_i)` (Sunehag et al. 2018), of the agents' own (`[agents]`).
pub fn total(own: &[f32]) -> f32 {
    own.iter().sum()
}

struct Sum {
    learner: Learner,
}

impl Algorithm for Sum {
    fn rollout_steps(&self) -> usize {
        self.learner.config.rollout_steps
    }

    fn policy(&self) -> TeamPolicy {
        self.learner.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let learner = &mut self.learner;
        let mut metrics = learner.store(roll, context.progress, &mut |_, _, _| {});
        for k in 0..learner.due() {
            let Some(batch) = learner.sample(context.pool, &context.rng.fork(k as u64)) else { break };
            let (n, episodes) = (batch.agents, batch.episodes());
            let seen = learner.look(context.pool, &batch);
            let sum = |values: &[f32], row: usize| total(&values[row * n..(row + 1) * n]);
            let total: Vec<f32> = (0..batch.steps()).map(|s| sum(&seen.chosen, s)).collect();
            // Step s leads to frame s + B.
            let y = batch.targets(&learner.config, 0, None, &|s| sum(&seen.next, s + episodes))?;
            let slope = squared_error(&total, &y, learner.config.loss_coef, &mut metrics);
            let d_chosen: Vec<f32> = slope.iter().flat_map(|d| std::iter::repeat_n(*d, n)).collect();
            learner.backward(context.pool, &batch, &seen, &d_chosen, None, None);
            learner.step(None, context, &mut metrics)?;
            learner.follow();
        }
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.learner.save(w);
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.learner.load(r)
    }
}

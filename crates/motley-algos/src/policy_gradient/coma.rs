//! COMA: counterfactual multi-agent policy gradients.
//!
//! Foerster et al., "Counterfactual Multi-Agent Policy Gradients", AAAI 2018.
//!
//! ```text
//! collect a rollout with pi
//! for every group, all from the same pi:
//!     G   = TD(lambda) targets from the target critic's values of the actions taken
//!     A^i = Q_i(s, a_-i, a_i) - sum_a pi^i(a | h_i) Q_i(s, a_-i, a)        the counterfactual baseline; or none: A^i = Q_i
//!     climb  E[ A^i log pi^i + c_ent H ]                                   (one pass)
//!     fit Q_i(s, a_-i, a_i) to G
//! ```
//!
//! `Q_i(s, a_-i, .)` has an output for each own choice, so agents may have unlike action sets. The critic is feed-forward, also
//! beside recurrent actors. Deviations: the critic takes `algo.critic_epochs` steps on the whole rollout (EPyMARL's way), where
//! the paper's code takes one a time step; actors draw from the plain softmax with an entropy bonus, not from a mixture with the
//! uniform policy; a truncated episode is bootstrapped with a joint action drawn at its true end.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::returns::{Series, Truncation, n_step, td_lambda};
use motley_data::rollout::Rollout;
use motley_data::stats::normalize_masked;
use motley_nn::choice_critic::{ChoiceCriticConfig, Taken};
use motley_nn::{Objective, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::actors::Actors;
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::joint::{self, JointCritic, Moments, taken};
use crate::on_policy::{ADVANTAGE_EPS, Passes};

settings! {
    /// What is climbed, and what the critic learns.
    pub struct ComaConfig in "algo" {
        /// `counterfactual`, or `none`: the plain action-value critic.
        baseline: String = "counterfactual", Kind::Choice(&["counterfactual", "none"]);
        /// Targets of the critic: `td_lambda`, or `n_step` returns.
        returns: String = "td_lambda", Kind::Choice(&["td_lambda", "n_step"]);
        /// Lambda of TD(lambda), with `algo.returns=td_lambda`.
        td_lambda: f64 = 0.8, Kind::Float(0.0, 1.0);
        /// Steps of the n-step return, with `algo.returns=n_step`.
        n_step: usize = 10, Kind::Int(1, 100_000);
        /// Normalise advantages to mean 0 and deviation 1 over the rows that count.
        normalize_advantages: bool = true, Kind::Bool;
        /// Weight of the entropy bonus.
        entropy_coef: f64 = 0.01, Kind::Float(0.0, 100.0);
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Coma;

/// Joint choices of one agent that a critic may have outputs for.
const MAX_CHOICES: usize = 4096;

impl AlgorithmSpec for Coma {
    fn name(&self) -> &'static str {
        "coma"
    }

    fn summary(&self) -> &'static str {
        "actor-critic with a counterfactual baseline: what the agent's own choice was worth"
    }

    fn paper(&self) -> &'static str {
        "Foerster et al., AAAI 2018"
    }

    fn keys(&self) -> Vec<Key> {
        [joint::keys("type"), ComaConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        joint::check(self.name(), team, settings, MAX_CHOICES)?;
        RewardMode::resolve(&settings.get::<String>("task.reward")?, team, self.own_reward()).map(|_| ())
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        self.check(team, settings)?;
        let actors = Actors::new(self.name(), team, settings, rng)?;
        let groups: Vec<Vec<usize>> = actors.iter().map(|a| a.members.clone()).collect();
        let reward = RewardMode::resolve(&settings.get::<String>("task.reward")?, team, self.own_reward())?;
        Ok(Box::new(Learner {
            critics: JointCritic::build(team, &groups, None, settings, reward, &rng.fork(1_000_000))?,
            actors,
            config: ComaConfig::read(settings)?,
            critic_lr: ChoiceCriticConfig::read(settings)?.critic_lr,
            reward,
        }))
    }
}

struct Learner {
    actors: Actors,
    /// One per actor.
    critics: Vec<JointCritic>,
    config: ComaConfig,
    critic_lr: f64,
    reward: RewardMode,
}

impl Algorithm for Learner {
    fn rollout_steps(&self) -> usize {
        self.actors.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.actors.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let Self { actors, critics, config, critic_lr, reward } = self;
        let (pool, gamma) = (context.pool, actors.gamma());
        let moments = Moments::new(roll, &actors.policy(), &context.rng.fork(0))?;
        let passes = Passes {
            epochs: 1,
            cut: actors.cut(1),
            objective: Objective::LogProb,
            entropy_coef: config.entropy_coef as f32,
            lr: actors.lr(context.progress),
        };
        let mut metrics = Metrics::new();
        for (g, joint) in critics.iter_mut().enumerate() {
            let members = joint.members().len();
            let (x, own) = (joint.inputs(&moments, true), joint.own(&moments));
            let later = taken(&joint.critic.target_values(pool, &x), &own);
            let mut targets = Vec::new();
            for (&i, later) in joint.members().iter().zip(later.chunks_exact(moments.len())) {
                targets.extend(moments.returns(
                    later,
                    joint.ends_with(i),
                    |r| reward.of(r, i),
                    |series| config.targets(series, gamma),
                )?);
            }
            // From here on the rollout's rows alone, member after member, as the actor has them.
            let (x, own) = (moments.rows(members, &x), moments.rows(members, &own));
            let rows = actors[g].rows(roll);
            let q = joint.critic.values(pool, &x);
            let mut advantages = config.advantages(&q, &actors[g].probabilities(pool, roll, &rows), &own);
            if config.normalize_advantages {
                normalize_masked(&mut advantages, Some(&rows.active), ADVANTAGE_EPS);
            }
            let actor = &mut actors[g];
            let m = passes.run(actor, pool, roll, &rows, &advantages, &context.rng.fork(1 + g as u64))?;
            metrics.merge(&format!("loss/{}/", actor.name), &m);
            let learned = Taken { x: &x, actions: &own, targets: &targets, counts: &joint.counts(roll, &rows.active) };
            let m = joint.critic.fit(pool, learned, actors.decayed(*critic_lr, context.progress))?;
            metrics.merge(&format!("loss/critic_{g}/"), &m);
        }
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.actors.save(w);
        for (c, joint) in self.critics.iter().enumerate() {
            joint.critic.save(&mut w.scope(&format!("critic.{c}")));
        }
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.actors.load(r)?;
        for (c, joint) in self.critics.iter_mut().enumerate() {
            joint.critic.load(&r.scope(&format!("critic.{c}")))?;
        }
        Ok(())
    }
}

impl ComaConfig {
    fn targets(&self, series: &Series<'_, f64, f32>, gamma: f64) -> Vec<f64> {
        match self.returns.as_str() {
            "n_step" => n_step(series, gamma, self.n_step, Truncation::Bootstrap),
            _ => td_lambda(series, gamma, self.td_lambda),
        }
    }

    /// `Q(a) - sum_a pi(a) Q(a)` of each row, or `Q(a)`, from `q` and `policy` of `[rows, choices]`. Unavailable choices, whose values
    /// nobody taught, have probability 0.
    fn advantages(&self, q: &[f32], policy: &[f32], own: &[usize]) -> Vec<f32> {
        let mut all = taken(q, own);
        if self.baseline == "counterfactual" {
            let width = q.len() / own.len().max(1);
            for (a, (q, pi)) in all.iter_mut().zip(q.chunks_exact(width.max(1)).zip(policy.chunks_exact(width.max(1)))) {
                *a -= q.iter().zip(pi).map(|(q, p)| q * p).sum::<f32>();
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// T17: under its own policy the counterfactual advantage has mean 0, whatever the values; without a baseline it is Q.
        #[test]
        fn the_counterfactual_advantage_has_mean_zero(
            q in prop::collection::vec(-9.0f32..9.0, 4),
            weights in prop::collection::vec(0.01f32..1.0, 4),
        ) {
            let config = |baseline: &str| {
                let mut settings = Settings::new(ComaConfig::keys());
                settings.set_text(&format!("algo.baseline={baseline}"), motley_core::Origin::CommandLine).unwrap();
                ComaConfig::read(&settings).unwrap()
            };
            let total: f32 = weights.iter().sum();
            let pi: Vec<f32> = weights.iter().map(|w| w / total).collect();
            let with = |baseline: &str, a: usize| config(baseline).advantages(&q, &pi, &[a])[0];
            let mean: f32 = (0..4).map(|a| pi[a] * with("counterfactual", a)).sum();
            prop_assert!(mean.abs() < 1e-4, "{mean}");
            prop_assert!((0..4).all(|a| with("none", a) == q[a]));
            // Both weigh a against b alike, so in expectation the gradient is that of raw Q.
            prop_assert!((with("counterfactual", 1) - with("counterfactual", 3) - (q[1] - q[3])).abs() < 1e-4);
        }
    }
}

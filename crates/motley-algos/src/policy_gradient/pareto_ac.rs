//! Pareto-AC: Pareto actor-critic.
//!
//! Christianos, Papoudakis and Albrecht, "Pareto Actor-Critic for Equilibrium Selection in Multi-Agent Reinforcement Learning",
//! TMLR 2023.
//!
//! In a game without conflict what is best for me is best for all, so each agent supposes that the others choose what is best
//! for it:
//!
//! ```text
//! collect a rollout with pi
//! for every group, all from the same pi:
//!     Q+_i(s, a_i) = max over available a_-i of Q_i(s, a_-i, a_i)
//!     G   = n-step returns that end in the target critic's Q+_i(s', a'_i)            own choice taken, the others' the best
//!     climb  E_s[ sum_a pi^i(a | h_i) Q+_i(s, a) + c_t H ]                           (`gradient=all_actions`)
//!        or  E[ (Q+_i(s, a_i) - V_i(s)) log pi^i(a_i | h_i) + c_t H ]                (`gradient=sampled`, the reference's)
//!     fit Q_i(s, a_-i, a_i), and V_i(s), to G
//! ```
//!
//! `c_t` falls linearly from `algo.entropy_start` to `algo.entropy_end` over `algo.entropy_until` of the run; it is in units of the reward.
//! Equally good joint actions would be told apart by each agent alone, and miss each other: the actors' maximum is that of
//! `Q - tie_break rank(a) / (joint - 1)`, with one order of the joint actions for everybody. Deviations: the reference
//! maximises over unavailable actions too (`algo.max_over=all`) and does not bootstrap a truncated episode.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::returns::{Truncation, n_step};
use motley_data::rollout::Rollout;
use motley_nn::choice_critic::{ChoiceCriticConfig, Taken};
use motley_nn::{Objective, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::actors::Actors;
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::joint::{self, JointCritic, Moments, taken};
use crate::on_policy::Passes;

settings! {
    /// What is climbed, and what the critic learns.
    pub struct ParetoConfig in "algo" {
        /// Steps of the n-step return.
        n_step: usize = 10, Kind::Int(1, 100_000);
        /// `all_actions` weighs every own action, `sampled` the one taken, with a baseline V.
        gradient: String = "all_actions", Kind::Choice(&["all_actions", "sampled"]);
        /// How far the order of joint actions tells equally good ones apart, in units of the reward; 0 leaves ties.
        tie_break: f64 = 0.5, Kind::Float(0.0, 1e9);
        /// What the others are supposed to choose from: their `available` actions, or `all` (the reference).
        max_over: String = "available", Kind::Choice(&["available", "all"]);
        /// Joint actions above which the exact maximum is refused.
        max_joint_actions: usize = 4096, Kind::Int(1, 1_000_000);
        /// Weight of the entropy bonus at the start, in units of the reward.
        entropy_start: f64 = 20.0, Kind::Float(0.0, 1e6);
        /// Its weight at the end.
        entropy_end: f64 = 0.01, Kind::Float(0.0, 1e6);
        /// Share of the run over which it falls.
        entropy_until: f64 = 0.8, Kind::Float(1e-6, 1.0);
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct ParetoAc;

impl AlgorithmSpec for ParetoAc {
    fn name(&self) -> &'static str {
        "pareto-ac"
    }

    fn summary(&self) -> &'static str {
        "actor-critic that supposes the others choose what is best for it; finds the best equilibrium of small games"
    }

    fn paper(&self) -> &'static str {
        "Christianos et al., TMLR 2023"
    }

    fn keys(&self) -> Vec<Key> {
        [joint::keys("none"), ParetoConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        let most = ParetoConfig::read(settings)?.max_joint_actions;
        joint::check(self.name(), team, settings, most)?;
        let choices = team.agents.iter().flat_map(|a| a.action.choices());
        match choices.clone().try_fold(1usize, |all, k| all.checked_mul(*k)) {
            Some(joint) if joint <= most => {}
            found => {
                let found = found.map_or("more than can be counted".to_owned(), |n| n.to_string());
                return Err(ConfigError::Incompatible {
                    algo: self.name().to_owned(),
                    task: team.task.clone(),
                    why: format!(
                        "the exact maximum goes over all joint actions, of which there are {found} (algo.max_joint_actions={most}); take fewer agents, raise the limit, or use another algorithm"
                    ),
                });
            }
        }
        RewardMode::resolve(&settings.get::<String>("task.reward")?, team, self.own_reward()).map(|_| ())
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        self.check(team, settings)?;
        let config = ParetoConfig::read(settings)?;
        let actors = Actors::new(self.name(), team, settings, rng)?;
        let groups: Vec<Vec<usize>> = actors.iter().map(|a| a.members.clone()).collect();
        let reward = RewardMode::resolve(&settings.get::<String>("task.reward")?, team, self.own_reward())?;
        let baselines = if config.gradient == "sampled" { &groups[..] } else { &[] };
        Ok(Box::new(Learner {
            critics: JointCritic::build(team, &groups, None, settings, reward, &rng.fork(1_000_000))?,
            baselines: JointCritic::build(team, baselines, Some(1), settings, reward, &rng.fork(2_000_000))?,
            actors,
            config,
            critic_lr: ChoiceCriticConfig::read(settings)?.critic_lr,
            reward,
        }))
    }
}

struct Learner {
    actors: Actors,
    /// Q, one per actor.
    critics: Vec<JointCritic>,
    /// V, one per actor, where the gradient is that of the actions taken.
    baselines: Vec<JointCritic>,
    config: ParetoConfig,
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
        let Self { actors, critics, baselines, config, critic_lr, reward } = self;
        let (pool, gamma, all) = (context.pool, actors.gamma(), config.max_over == "all");
        let moments = Moments::new(roll, &actors.policy(), &context.rng.fork(0))?;
        let critic_lr = actors.decayed(*critic_lr, context.progress);
        let passes = Passes {
            epochs: 1,
            cut: actors.cut(1),
            objective: Objective::LogProb,
            entropy_coef: config.entropy(context.progress) as f32,
            lr: actors.lr(context.progress),
        };
        let mut metrics = Metrics::new();
        for (g, joint) in critics.iter_mut().enumerate() {
            let members = joint.members().len();
            let own = joint.own(&moments);
            let later = taken(&joint.best_responses(pool, &moments, true, all, 0.0), &own);
            let mut targets = Vec::new();
            for (&i, later) in joint.members().iter().zip(later.chunks_exact(moments.len())) {
                targets.extend(moments.returns(
                    later,
                    joint.ends_with(i),
                    |r| reward.of(r, i),
                    |series| n_step(series, gamma, config.n_step, Truncation::Bootstrap),
                )?);
            }
            // From here on the rollout's rows alone, member after member, as the actor has them.
            let best = moments.rows(members, &joint.best_responses(pool, &moments, false, all, config.tie_break));
            let (x, own) = (moments.rows(members, &joint.inputs(&moments, true)), moments.rows(members, &own));
            let actor = &mut actors[g];
            let rows = actor.rows(roll);
            let counts = joint.counts(roll, &rows.active);
            let rng = context.rng.fork(1 + g as u64);
            let mut m = Metrics::new();
            if let Some(baseline) = baselines.get_mut(g) {
                let x = moments.rows(members, &baseline.inputs(&moments, false));
                let v = baseline.critic.values(pool, &x);
                let advantage: Vec<f32> = taken(&best, &own).iter().zip(&v).map(|(q, v)| q - v).collect();
                m.merge("", &passes.run(actor, pool, roll, &rows, &advantage, &rng)?);
                let learned = Taken { x: &x, actions: &vec![0; own.len()], targets: &targets, counts: &counts };
                metrics.merge(&format!("loss/baseline_{g}/"), &baseline.critic.fit(pool, learned, critic_lr)?);
            } else {
                for pick in passes.cut.pass(roll.envs(), roll.steps(), rng)? {
                    m.merge("", &actor.step_all_actions(pool, roll, &rows, &pick, &best, passes.entropy_coef, passes.lr)?);
                }
            }
            metrics.merge(&format!("loss/{}/", actor.name), &m);
            let learned = Taken { x: &x, actions: &own, targets: &targets, counts: &counts };
            metrics.merge(&format!("loss/critic_{g}/"), &joint.critic.fit(pool, learned, critic_lr)?);
        }
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.actors.save(w);
        for (c, joint) in self.critics.iter().chain(&self.baselines).enumerate() {
            joint.critic.save(&mut w.scope(&format!("critic.{c}")));
        }
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.actors.load(r)?;
        for (c, joint) in self.critics.iter_mut().chain(&mut self.baselines).enumerate() {
            joint.critic.load(&r.scope(&format!("critic.{c}")))?;
        }
        Ok(())
    }
}

impl ParetoConfig {
    /// The entropy bonus's weight now.
    fn entropy(&self, progress: f64) -> f64 {
        let left = (1.0 - progress / self.entropy_until).max(0.0);
        self.entropy_end + (self.entropy_start - self.entropy_end) * left
    }
}

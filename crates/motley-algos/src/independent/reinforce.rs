//! REINFORCE: independent Monte-Carlo policy gradients.
//!
//! Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine Learning 8 (1992);
//! one learner for each agent.
//!
//! ```text
//! collect a rollout with pi
//! for every agent i and every step t of an episode that ended:
//!     G_t = sum_{k >= t} gamma^(k - t) r^i_k                      to the end of the episode
//!     climb  E[ (G_t - b) log pi^i(a_t | h_t) + c_ent H ]         (one pass);  b the running mean of returns, or 0
//! ```
//!
//! The horizon is part of the task: a truncated episode has ended, since there is no critic to say what would have followed.
//! Steps of an episode that the rollout's end cuts have no return and are left out, so `algo.rollout_steps` should be a multiple of
//! the episodes' length, or much longer than they are. The policy gradient theorem weights step t by `gamma^t`, which
//! practice leaves out: `algo.discount_gradient=true` has it.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::returns::{Series, Truncation, discounted};
use motley_data::rollout::{Lane, Rollout};
use motley_data::stats::normalize_masked;
use motley_nn::{Objective, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::actors::{self, Actors, LearnConfig};
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::on_policy::{ADVANTAGE_EPS, Passes};

/// How fast the running mean of returns forgets.
const BASELINE_RATE: f64 = 0.1;

settings! {
    /// What is climbed.
    pub struct ReinforceConfig in "algo" {
        /// Subtracted from returns: `mean`, the running mean of each agent's returns before this update, or `none`.
        baseline: String = "mean", Kind::Choice(&["mean", "none"]);
        /// Normalise returns to mean 0 and deviation 1 over the rows that count.
        normalize_returns: bool = false, Kind::Bool;
        /// Weight step t of an episode by gamma^t, as the policy gradient theorem does.
        discount_gradient: bool = false, Kind::Bool;
        /// Weight of the entropy bonus.
        entropy_coef: f64 = 0.0, Kind::Float(0.0, 100.0);
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Reinforce;

impl AlgorithmSpec for Reinforce {
    fn name(&self) -> &'static str {
        "reinforce"
    }

    fn summary(&self) -> &'static str {
        "Monte-Carlo policy gradient for every agent by itself, no critic"
    }

    fn paper(&self) -> &'static str {
        "Williams, Machine Learning 1992"
    }

    fn keys(&self) -> Vec<Key> {
        let keys =
            actors::unused(actors::keys("none"), &["net.critic_hidden_sizes", "net.critic_recurrent"], "there is no critic");
        [keys, ReinforceConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Own
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        actors::check(self.name(), team, settings)?;
        RewardMode::resolve(&settings.get::<String>("task.reward")?, team, self.own_reward())?;
        let steps = LearnConfig::read(settings)?.rollout_steps;
        match team.step_limit {
            Some(limit) if limit > steps => Err(ConfigError::Value {
                key: "algo.rollout_steps".into(),
                expected: format!(
                    "at least {limit}, the longest episode of {}: without a critic an unfinished one teaches nothing",
                    team.task
                ),
                found: steps.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        self.check(team, settings)?;
        Ok(Box::new(Learner {
            actors: Actors::new(self.name(), team, settings, rng)?,
            config: ReinforceConfig::read(settings)?,
            reward: RewardMode::resolve(&settings.get::<String>("task.reward")?, team, self.own_reward())?,
            baselines: vec![[0.0; 2]; team.n()],
            ages: Vec::new(),
        }))
    }
}

struct Learner {
    actors: Actors,
    config: ReinforceConfig,
    reward: RewardMode,
    /// Of each agent: moving sum of returns, and of ones.
    baselines: Vec<[f64; 2]>,
    /// Steps that each environment's running episode is old, for gamma^t.
    ages: Vec<u64>,
}

impl Algorithm for Learner {
    fn rollout_steps(&self) -> usize {
        self.actors.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.actors.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let finished: Vec<bool> = roll.lanes.iter().flat_map(finished).collect();
        let discounts = self.discounts(roll);
        let passes = Passes {
            epochs: 1,
            cut: self.actors.cut(1),
            objective: Objective::LogProb,
            entropy_coef: self.config.entropy_coef as f32,
            lr: self.actors.lr(context.progress),
        };
        let mut metrics = Metrics::new();
        for g in 0..self.actors.len() {
            let mut rows = self.actors[g].rows(roll);
            rows.active.iter_mut().zip(finished.iter().cycle()).for_each(|(active, finished)| *active &= *finished);
            let mut weight = Vec::with_capacity(rows.active.len());
            let members = self.actors[g].members.clone();
            for (i, active) in members.into_iter().zip(rows.active.chunks_exact(roll.rows())) {
                weight.extend(self.returns(roll, i, active)?);
            }
            if self.config.normalize_returns {
                normalize_masked(&mut weight, Some(&rows.active), ADVANTAGE_EPS);
            }
            weight.iter_mut().zip(discounts.iter().cycle()).for_each(|(w, d)| *w *= d);
            let actor = &mut self.actors[g];
            let m = passes.run(actor, context.pool, roll, &rows, &weight, &context.rng.fork(1 + g as u64))?;
            metrics.merge(&format!("loss/{}/", actor.name), &m);
        }
        metrics.add("loss/finished_rows", finished.iter().filter(|f| **f).count() as f64 / finished.len().max(1) as f64);
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.actors.save(w);
        w.put_f64("baselines", &self.baselines.concat());
        w.put_u64("ages", &self.ages);
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.actors.load(r)?;
        let mut flat = self.baselines.concat();
        r.f64s_into("baselines", &mut flat)?;
        self.baselines.iter_mut().zip(flat.chunks_exact(2)).for_each(|(b, f)| b.copy_from_slice(f));
        self.ages = r.u64s("ages")?;
        Ok(())
    }
}

impl Learner {
    /// Agent `i`'s returns minus its baseline, `[rows]`; the baseline then takes those of active rows in.
    fn returns(&mut self, roll: &Rollout, i: usize, active: &[bool]) -> Result<Vec<f32>, UpdateError> {
        let (n, zeros) = (roll.team().n(), vec![0.0f32; roll.steps()]);
        let mut all: Vec<f64> = Vec::with_capacity(roll.rows());
        for lane in &roll.lanes {
            let rewards: Vec<f64> = lane.rewards.chunks_exact(n).map(|r| self.reward.of(r, i)).collect();
            let series =
                Series::new(&rewards, &zeros, &zeros, &lane.status, &lane.valid).map_err(|e| UpdateError::Data(e.to_string()))?;
            all.extend(discounted(&series, self.actors.gamma(), Truncation::AsTerminal));
        }
        let [sum, ones] = self.baselines[i];
        let baseline = if self.config.baseline == "mean" && ones > 0.0 { sum / ones } else { 0.0 };
        let kept: Vec<f64> = all.iter().zip(active).filter(|(_, a)| **a).map(|(g, _)| *g).collect();
        let mean = kept.iter().sum::<f64>() / kept.len() as f64;
        // Without active rows there is none; returns that are no numbers end at the optimiser's gate and may not stay on here.
        if mean.is_finite() {
            let mix = |old: f64, new: f64| (1.0 - BASELINE_RATE) * old + BASELINE_RATE * new;
            self.baselines[i] = [mix(sum, mean), mix(ones, 1.0)];
        }
        Ok(all.into_iter().map(|g| (g - baseline) as f32).collect())
    }

    /// `gamma^t` with t counted from the episode's start, `[rows]`, or ones.
    fn discounts(&mut self, roll: &Rollout) -> Vec<f32> {
        self.ages.resize(roll.envs(), 0);
        let mut all = Vec::with_capacity(roll.rows());
        for (lane, age) in roll.lanes.iter().zip(&mut self.ages) {
            for first in &lane.first[..roll.steps()] {
                *age = if *first { 0 } else { *age };
                let power = i32::try_from(*age).unwrap_or(i32::MAX);
                all.push(if self.config.discount_gradient { self.actors.gamma().powi(power) as f32 } else { 1.0 });
                *age += 1;
            }
        }
        all
    }
}

/// Which steps of a lane belong to an episode whose end it holds, `[steps]`.
fn finished(lane: &Lane) -> Vec<bool> {
    let mut all = vec![false; lane.status.len()];
    let mut known = false;
    for t in (0..all.len()).rev() {
        // A step that was running before a hole has lost its end.
        known = lane.valid[t] && (lane.status[t].done() || (known && lane.valid.get(t + 1) == Some(&true)));
        all[t] = known;
    }
    all
}

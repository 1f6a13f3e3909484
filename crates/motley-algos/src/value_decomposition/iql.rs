//! IQL: independent Q-learning, with what is known against its moving targets.
//!
//! Tan, ICML 1993; Tampuu et al., PLoS ONE 2017 (deep, DQN). Options: hysteretic updates (Matignon et al., IROS 2007; Omidshafiei
//! et al., ICML 2017), leniency (Panait et al., JMLR 2008; Palmer et al., AAMAS 2018), importance-weighted replay and fingerprints
//! (Foerster et al., ICML 2017), and a small replay (`algo.buffer_episodes`).
//!
//! ```text
//! act epsilon-greedily on every agent's own Q_i(h_i, .); keep episodes in replay
//! for a batch of episodes, every agent for itself:
//!     y_i = Peng's Q(lambda) or n-step target of  Q'_i(h'_i, argmax_a Q_i(h'_i, a))       (targets ', double Q)
//!     delta = y_i - Q_i(h_i, a_i);  descend  mean w delta^2,  w the product of
//!         hysteretic:  1 if delta >= 0 else kappa
//!         lenient:     0 with chance 1 - exp(-K T(o_i, a_i)) if delta <= 0, T the temperature when the step was taken
//!         importance:  min(prod_{j != i} pi_j now(a_j | h_j) / pi_j then(a_j | h_j), clip)
//! ```
//!
//! Temperatures start at 1, are kept per agent and hash of (observation, action), and fall by a factor with every visit. A dead
//! agent does nothing and, where the team is paid together, goes on learning what that is worth; one paid by itself learns no
//! more. Deviations from the reference (EPyMARL): a time limit is bootstrapped, not terminal; each agent learns from its own
//! reward where the task pays them apart (`task.reward=sum` for the reference's).

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::explore::epsilon_greedy;
use motley_nn::{TeamPolicy, UpdateError};
use motley_run::platform::available_memory;
use motley_run::{CheckpointError, StateReader, StateWriter};

use super::config::ValueConfig;
use super::learner::Needs;
use super::utility::Seen;
use super::{EpisodeBatch, Learner, add, check, keys, report};
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext, but_for_room};

settings! {
    /// What steadies independent learners.
    pub struct IqlConfig in "algo" {
        /// Weight of errors that lower a value (kappa); 1 is plain Q-learning, 0 keeps the best ever seen.
        hysteretic: f64 = 1.0, Kind::Float(0.0, 1.0);
        /// How strongly temperature makes an agent overlook errors that lower a value (K); 0 switches leniency off.
        leniency: f64 = 0.0, Kind::Float(0.0, 1e6);
        /// Factor by which a temperature falls with each visit.
        temperature_decay: f64 = 0.995, Kind::Float(0.0, 1.0);
        /// Temperatures of each agent, found by hash; 1 is one temperature for everything.
        temperature_buckets: usize = 4096, Kind::Int(1, 100_000_000);
        /// Observations within a cell of this size share their temperatures.
        temperature_cell: f64 = 0.25, Kind::Float(1e-6, 1e9);
        /// Weigh replayed steps by how likely the others' actions are now against then.
        importance: bool = false, Kind::Bool;
        /// Largest importance weight.
        importance_clip: f64 = 10.0, Kind::Float(0.0, 1e9);
        /// Divide importance weights by their mean over the batch.
        importance_normalize: bool = false, Kind::Bool;
        /// Append to every observation the chance of random actions and the progress of the run when it was made.
        fingerprint: bool = false, Kind::Bool;
    }
}

impl IqlConfig {
    fn needs(&self, team: &TeamSpec) -> Needs {
        let notes = if self.leniency > 0.0 { team.n() } else { 0 };
        Needs { notes, fingerprint: self.fingerprint, ..Needs::default() }
    }

    /// Temperatures of all agents.
    fn temperatures(&self, team: &TeamSpec) -> usize {
        if self.leniency > 0.0 { team.n().saturating_mul(self.temperature_buckets) } else { 0 }
    }

    /// Refuses temperatures for which there is no room beside the replay.
    fn check_room(&self, team: &TeamSpec, settings: &Settings, available: u64) -> Result<(), ConfigError> {
        let shape = ValueConfig::read(settings)?.replay_shape(team, self.needs(team).kept());
        let replay = shape.bytes(team, settings.get("num_envs")?);
        let needed = self.temperatures(team).saturating_mul(size_of::<f32>());
        if replay.is_some_and(|bytes| bytes.saturating_add(needed) as u64 <= available) {
            return Ok(());
        }
        Err(ConfigError::Room {
            key: "algo.temperature_buckets".into(),
            found: self.temperature_buckets.to_string(),
            why: format!(
                "the temperatures of {} agents take {needed} bytes beside the replay, {available} bytes are available for both: lower their number",
                team.n()
            ),
        })
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Iql;

impl AlgorithmSpec for Iql {
    fn name(&self) -> &'static str {
        "iql"
    }

    fn summary(&self) -> &'static str {
        "Q-learning for every agent by itself: plain, hysteretic, lenient, importance-weighted"
    }

    fn paper(&self) -> &'static str {
        "Tan, ICML 1993; Foerster et al., ICML 2017"
    }

    fn keys(&self) -> Vec<Key> {
        [keys(), IqlConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Own
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        let (iql, config) = (IqlConfig::read(settings)?, ValueConfig::read(settings)?);
        let one_step = if config.returns == "n_step" { config.n_step == 1 } else { config.td_lambda == 0.0 };
        if iql.importance && !one_step {
            return Err(ConfigError::Invalid(
                "algo.importance=true weighs single steps: use algo.td_lambda=0, or algo.returns=n_step with algo.n_step=1"
                    .into(),
            ));
        }
        check(self.name(), team, settings, iql.needs(team).kept())?;
        iql.check_room(team, settings, available_memory().unwrap_or(u64::MAX))
    }

    fn learns_from_older(&self, settings: &Settings) -> Result<bool, ConfigError> {
        // A fingerprint is that of the policy which acted; what is written down is the present one's.
        Ok(!IqlConfig::read(settings)?.fingerprint)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        but_for_room(self.check(team, settings))?;
        let config = IqlConfig::read(settings)?;
        let learner = Learner::new(team, settings, self.own_reward(), config.needs(team), rng)?;
        Ok(Box::new(Independent { learner, temperatures: vec![1.0; config.temperatures(team)], config }))
    }
}

struct Independent {
    learner: Learner,
    config: IqlConfig,
    /// `[n, buckets]`
    temperatures: Vec<f32>,
}

/// The bucket of an observation and a choice (FNV-1a over the cells that the entries lie in).
fn bucket(obs: &[f32], choice: f32, cell: f64, buckets: usize) -> usize {
    let cells = obs.iter().map(|x| (f64::from(*x) / cell).floor() as i64).chain([choice as i64]);
    let hash = cells
        .flat_map(i64::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    ((hash ^ (hash >> 32)) % buckets as u64) as usize
}

impl Independent {
    /// Takes a rollout into replay, with the leniency of every agent's step, and cools what was visited.
    fn store(&mut self, roll: &Rollout, progress: f64) -> Metrics {
        let Self { learner, config, temperatures } = self;
        let IqlConfig { leniency, temperature_decay, temperature_buckets: buckets, temperature_cell, .. } = *config;
        learner.store(roll, progress, &mut |e, t, into| {
            for (i, lenient) in into.iter_mut().enumerate() {
                let at = bucket(roll.obs(e, t, i), roll.action(e, t, i)[0], temperature_cell, buckets);
                let temperature = &mut temperatures[i * buckets + at];
                *lenient = (1.0 - (-leniency * f64::from(*temperature)).exp()) as f32;
                *temperature *= temperature_decay as f32;
            }
        })
    }

    /// The weight of every agent's squared error, `[S, n]`; 0 where an agent does not learn.
    fn weights(&self, batch: &EpisodeBatch, seen: &Seen, errors: &[f32], rng: &Stream) -> Vec<f32> {
        let (n, config) = (batch.agents, &self.config);
        let mut draw = rng.fork(1);
        let mut all: Vec<f32> = if config.importance { self.importance(batch, seen) } else { vec![1.0; errors.len()] };
        for (at, weight) in all.iter_mut().enumerate() {
            let (row, agent) = (at / n, at % n);
            if !batch.alive_before(row, agent) {
                *weight = 0.0;
                continue;
            }
            let (slot, t) = batch.step(row);
            if errors[at] < 0.0 {
                *weight *= config.hysteretic as f32;
            }
            if config.leniency > 0.0 {
                let lenient = self.learner.replay.notes(slot, t)[self.config.fingerprint_len() + agent];
                if draw.uniform_f32() < lenient && errors[at] <= 0.0 {
                    *weight = 0.0;
                }
            }
        }
        all
    }

    /// `prod_{j != i} pi_j now(a_j) / pi_j then(a_j)`, clipped.
    fn importance(&self, batch: &EpisodeBatch, seen: &Seen) -> Vec<f32> {
        let (n, epsilon) = (batch.agents, self.learner.epsilon());
        let mut all = vec![0.0; batch.steps() * n];
        for (row, weights) in all.chunks_exact_mut(n).enumerate() {
            let (slot, t) = batch.step(row);
            let frame = batch.before(row);
            let ratios: Vec<f32> = (0..n)
                .map(|j| {
                    let at = frame * n + j;
                    if !batch.alive[at] {
                        return 1.0;
                    }
                    let best = seen.taken[row * n + j] == seen.greedy[at];
                    let now = epsilon_greedy(epsilon, seen.available[at] as usize, best);
                    now / self.learner.replay.log_prob(slot, t, j).exp()
                })
                .collect();
            for (i, weight) in weights.iter_mut().enumerate() {
                let product: f32 = ratios.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, r)| r).product();
                *weight = product.min(self.config.importance_clip as f32);
            }
        }
        if self.config.importance_normalize {
            let learns = |at: usize| batch.alive_before(at / n, at % n);
            let learning: Vec<f64> = (0..all.len()).filter(|at| learns(*at)).map(|at| f64::from(all[at])).collect();
            let mean = (learning.iter().sum::<f64>() / learning.len().max(1) as f64) as f32;
            all.iter_mut().for_each(|w| *w /= mean.max(f32::MIN_POSITIVE));
        }
        all
    }
}

impl IqlConfig {
    fn fingerprint_len(&self) -> usize {
        if self.fingerprint { super::learner::FINGERPRINT } else { 0 }
    }
}

impl Algorithm for Independent {
    fn rollout_steps(&self) -> usize {
        self.learner.config.rollout_steps
    }

    fn policy(&self) -> TeamPolicy {
        self.learner.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let mut metrics = self.store(roll, context.progress);
        for k in 0..self.learner.due() {
            let rng = context.rng.fork(k as u64);
            let Some(mut batch) = self.learner.sample(context.pool, &rng) else { break };
            // Where the team is paid together an agent's death ends nothing: what it earns without it is the worth of what it did.
            let mortal = self.learner.ends_at_death();
            if !mortal {
                batch.follow_the_dead();
            }
            let (n, episodes) = (batch.agents, batch.episodes());
            let seen = self.learner.look(context.pool, &batch);
            let mut errors = vec![0.0; batch.steps() * n];
            for i in 0..n {
                let column = i.min(self.learner.columns() - 1);
                // Step s leads to frame s + B.
                let dies = mortal.then_some(i);
                let y = batch.targets(&self.learner.config, column, dies, &|s| seen.next[(s + episodes) * n + i])?;
                y.iter().enumerate().for_each(|(r, y)| errors[r * n + i] = y - seen.chosen[r * n + i]);
            }
            let weights = self.weights(&batch, &seen, &errors, &rng);
            let learns = |at: &usize| batch.alive_before(at / n, at % n);
            let count = (0..errors.len()).filter(learns).count().max(1);
            let scale = (2.0 * self.learner.config.loss_coef / count as f64) as f32;
            // d (y - q)^2 / dq = -2 (y - q)
            let d_chosen: Vec<f32> = errors.iter().zip(&weights).map(|(e, w)| -scale * w * e).collect();
            let mut sums = [0.0; 3];
            for at in (0..errors.len()).filter(learns) {
                add(&mut sums, [f64::from(errors[at]).powi(2), seen.chosen[at].into(), weights[at].into()]);
            }
            report(&mut metrics, ["loss/td", "loss/q", "loss/weight"], sums, count as f64);
            self.learner.backward(context.pool, &batch, &seen, &d_chosen, None, None);
            self.learner.step(None, context, &mut metrics)?;
            self.learner.follow();
        }
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.learner.save(w);
        w.put_f32("temperatures", &self.temperatures);
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        r.f32s_into("temperatures", &mut self.temperatures)?;
        self.learner.load(r)
    }
}

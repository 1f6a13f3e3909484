//! QMIX: a monotone mixture of the agents' values.
//!
//! Rashid et al., "QMIX: Monotonic Value Function Factorisation for Deep Multi-Agent Reinforcement Learning", ICML 2018.
//!
//! ```text
//! act epsilon-greedily on every agent's own Q_i(h_i, .); keep episodes in replay
//! for a batch of episodes:
//!     Q_tot(h, a, s) = |W2(s)| . ELU(|W1(s)| q + b1(s)) + v(s),   q_i = Q_i(h_i, a_i)
//!     y = Peng's Q(lambda) or n-step target of  Q'_tot(h', (argmax_a Q_i(h'_i, a))_i, s')     (targets ', double Q)
//!     descend  mean (Q_tot - y)^2  by utilities and hypernetworks;  now and then Q' <- Q
//! ```
//!
//! Weights come out of the absolute value, so `dQ_tot / dQ_i >= 0` and the agents' own best choices are the team's. Deviations
//! from the references (EPyMARL, PyMARL2): those of [`super::vdn`]; a dead agent's value enters as 0.

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::target::follow;
use motley_nn::weights::load_params;
use motley_nn::{CrossGroup, QmixMixer, QmixShape, QmixWork, RowLoss, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use super::learner::Needs;
use super::{Learner, check, check_team_reward, keys, report};
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext, but_for_room};

settings! {
    /// The mixer.
    pub struct QmixConfig in "algo" {
        /// Width of the mixing layer.
        mixer_embed: usize = 32, Kind::Int(1, 65_536);
        /// Hidden widths of the hypernetworks that make its weights; empty: they are linear.
        hyper_sizes: Vec<usize> = vec![64], Kind::Ints(1, 65_536);
        /// Initial weights of the hypernetworks: this times semi-orthogonal ones, biases 0 (JaxMARL: 0.001, a mixture that begins nearly
        /// flat); 0: weights and biases uniform in +-1/sqrt(fan_in) (PyMARL).
        mixer_gain: f64 = 0.0, Kind::Float(0.0, 100.0);
    }
}

impl QmixConfig {
    fn shape(&self, team: &TeamSpec) -> QmixShape {
        QmixShape { state: team.state_len(), agents: team.n(), embed: self.mixer_embed, hyper: self.hyper_sizes.clone() }
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Qmix;

impl AlgorithmSpec for Qmix {
    fn name(&self) -> &'static str {
        "qmix"
    }

    fn summary(&self) -> &'static str {
        "Q-learning of the team's value as a monotone mixture of the agents' own"
    }

    fn paper(&self) -> &'static str {
        "Rashid et al., ICML 2018"
    }

    fn keys(&self) -> Vec<Key> {
        [keys(), QmixConfig::keys()].concat()
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
        Ok(Box::new(Mixed::new(team, settings, self.own_reward(), None, rng)?))
    }
}

/// Utilities under a monotone mixture. Whether the utilities' network has a second head, and what that learns, is the whole
/// difference between QMIX and what else stands on it.
pub(crate) struct Mixed {
    learner: Learner,
    mixer: QmixMixer,
    target: QmixMixer,
    work: QmixWork,
}

impl Mixed {
    /// Ask [`super::check`] first.
    pub(crate) fn new(
        team: &Arc<TeamSpec>,
        settings: &Settings,
        own: RewardMode,
        cross: Option<CrossGroup>,
        rng: &Stream,
    ) -> Result<Self, ConfigError> {
        let config = QmixConfig::read(settings)?;
        let mixer = QmixMixer::new(config.shape(team), config.mixer_gain, &rng.fork(1_000_000));
        let needs = Needs { mixer: mixer.params().len(), second_head: cross.is_some(), ..Needs::default() };
        let mut learner = Learner::new(team, settings, own, needs, rng)?;
        learner.cross = cross;
        Ok(Self { learner, target: mixer.clone(), mixer, work: QmixWork::default() })
    }
}

/// `scale (Q_tot - y)^2 / 2` over the steps; statistics: squared errors, values, targets.
struct Squared<'a> {
    y: &'a [f32],
    scale: f32,
}

impl RowLoss for Squared<'_> {
    fn rows(&self, start: usize, out: &[f32], dout: &mut [f32], stats: &mut [f64]) {
        for ((q, d), y) in out.iter().zip(dout).zip(&self.y[start..]) {
            let error = q - y;
            *d = self.scale * error;
            for (stat, x) in stats.iter_mut().zip([f64::from(error).powi(2), (*q).into(), (*y).into()]) {
                *stat += x;
            }
        }
    }

    fn stats_len(&self) -> usize {
        3
    }
}

impl Algorithm for Mixed {
    fn rollout_steps(&self) -> usize {
        self.learner.config.rollout_steps
    }

    fn policy(&self) -> TeamPolicy {
        self.learner.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let Self { learner, mixer, target, work } = self;
        let pool = context.pool;
        let mut metrics = learner.store(roll, context.progress, &mut |_, _, _| {});
        for k in 0..learner.due() {
            let Some(batch) = learner.sample(context.pool, &context.rng.fork(k as u64)) else { break };
            let (n, states) = (batch.agents, learner.team().state_len());
            let seen = learner.look(pool, &batch);
            // Step s leads to frame s + B.
            let (next, next_state) = (&seen.next[batch.episodes() * n..], &batch.state[batch.episodes() * states..]);
            let follows = target.forward(pool, next, next_state, work);
            let y = batch.targets(&learner.config, 0, None, &|s| follows[s])?;
            let count = batch.steps().max(1) as f64;
            let loss = Squared { y: &y, scale: (2.0 * learner.config.loss_coef / count) as f32 };
            let (mut d_chosen, mut grad) = (vec![0.0; seen.chosen.len()], vec![0.0; mixer.params().len()]);
            let (here, mut stats) = (batch.before_steps(&batch.state, states), [0.0; 3]);
            mixer.loss_grad(pool, (&seen.chosen, &here), &loss, &mut d_chosen, &mut grad, &mut stats, work);
            report(&mut metrics, ["loss/td", "loss/q", "loss/target"], stats, count);
            if let Some(cross) = learner.backward(pool, &batch, &seen, &d_chosen, None, None) {
                metrics.add("loss/cgi", cross);
            }
            learner.step(Some((&mut *mixer, &grad)), context, &mut metrics)?;
            follow(target, mixer, learner.follow());
        }
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.learner.save(w);
        w.put_f32("mixer.params", self.mixer.params());
        w.put_f32("mixer.target_params", self.target.params());
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        load_params(&mut self.mixer, r, "mixer.params")?;
        load_params(&mut self.target, r, "mixer.target_params")?;
        self.learner.load(r)
    }
}

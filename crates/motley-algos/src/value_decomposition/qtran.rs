//! QTRAN-base: the joint value learned by itself, the agents' own values tied to it where they must agree.
//!
//! Son et al., "QTRAN: Learning to Factorize with Transformation for Cooperative Multi-Agent Reinforcement Learning", ICML 2019.
//!
//! ```text
//! act epsilon-greedily on every agent's own Q_i(h_i, .); keep episodes in replay
//! for a batch of episodes, a' the agents' own best choices:
//!     L_td   = mean (Q(s, a) - y)^2,   y = target of  Q'(s', a')             (targets ', double Q)
//!     L_opt  = mean (sum_i Q_i(a'_i) - sg[Q(s, a')] + V(s))^2
//!     L_nopt = mean min(0, sum_i Q_i(a_i) - sg[Q(s, a)] + V(s))^2
//!     descend  L_td + c_opt L_opt + c_nopt L_nopt;  now and then Q' <- Q
//! ```
//!
//! The joint value learns from `L_td` alone (sg: no gradient). With `algo.joint=hidden` (the paper's form, for recurrent
//! utilities) it reads what the agents remember, and `L_td` teaches that memory too; with `actions` it reads the state and the actions.
//! Deviations from the reference (PyMARL2): those of [`super::vdn`]; unlike agents have an encoder per group.

use std::borrow::Cow;
use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::target::follow;
use motley_nn::weights::load_params;
use motley_nn::{JointGroup, JointRows, JointTape, Pool, Qtran as Joint, QtranShape, TeamPolicy, UpdateError, Workspace};
use motley_run::{CheckpointError, StateReader, StateWriter};

use super::config::UtilityConfig;
use super::learner::Needs;
use super::utility::{Seen, Utility};
use super::{EpisodeBatch, Learner, add, check, check_team_reward, keys, report, squared_error};
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext, but_for_room};

settings! {
    /// The joint networks and what ties the agents' values to them.
    pub struct QtranConfig in "algo" {
        /// Width of the hidden layers of Q and V.
        mixer_embed: usize = 64, Kind::Int(1, 65_536);
        /// What Q reads beside the state: `hidden` (memories and actions, encoded), `actions`; `auto` is `hidden` for recurrent networks.
        joint: String = "auto", Kind::Choice(&["auto", "hidden", "actions"]);
        /// Weight of the loss at the best choices.
        opt_coef: f64 = 1.0, Kind::Float(0.0, 1e6);
        /// Weight of the loss at other choices.
        nopt_coef: f64 = 0.1, Kind::Float(0.0, 1e6);
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Qtran;

impl AlgorithmSpec for Qtran {
    fn name(&self) -> &'static str {
        "qtran"
    }

    fn summary(&self) -> &'static str {
        "a joint action value, and agents' values that agree with it at its best"
    }

    fn paper(&self) -> &'static str {
        "Son et al., ICML 2019"
    }

    fn keys(&self) -> Vec<Key> {
        [keys(), QtranConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        let recurrent = UtilityConfig::read(settings)?.recurrent;
        if QtranConfig::read(settings)?.joint == "hidden" && !recurrent {
            return Err(ConfigError::Value {
                key: "algo.joint".into(),
                expected: "actions or auto with net.recurrent=false: there is no memory to read".into(),
                found: "\"hidden\"".into(),
            });
        }
        check_team_reward(self.name(), team, settings)?;
        check(self.name(), team, settings, 0)
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        but_for_room(self.check(team, settings))?;
        let (config, net) = (QtranConfig::read(settings)?, UtilityConfig::read(settings)?);
        let remembers = net.recurrent && config.joint != "actions";
        let hidden = if remembers { net.hidden_sizes.last().copied().unwrap_or(0) } else { 0 };
        let group = |members: Vec<usize>| JointGroup { actions: team.agents[members[0]].action.mask_len(), members, hidden };
        let groups = team.groups(&net.share).map_err(ConfigError::Invalid)?.into_iter().map(group).collect();
        let shape = QtranShape { state: team.state_len(), groups, embed: config.mixer_embed };
        let joint = Joint::new(shape, &rng.fork(1_000_000));
        let needs = Needs { mixer: joint.params().len(), ..Needs::default() };
        let learner = Learner::new(team, settings, self.own_reward(), needs, rng)?;
        Ok(Box::new(Tied { learner, target: joint.clone(), joint, config, work: Workspace::default() }))
    }
}

struct Tied {
    learner: Learner,
    joint: Joint,
    target: Joint,
    config: QtranConfig,
    work: Workspace,
}

/// Gradients by what the utilities put out.
struct Slopes {
    joint: Vec<f32>,
    value: Vec<f32>,
    chosen: Vec<f32>,
    best: Vec<f32>,
}

/// Values of a batch: of the actions taken, of the best ones, of the states.
struct Values {
    taken: Vec<f32>,
    best: Vec<f32>,
    state: Vec<f32>,
}

/// What the members of a group remember at a moment.
fn width(utility: &Utility) -> usize {
    utility.members.len() * utility.net.memory_len()
}

impl Tied {
    /// Joint values of what followed every step, by the target networks.
    fn follows(&self, pool: &Pool, batch: &EpisodeBatch, seen: &Seen) -> Vec<f32> {
        let (episodes, states) = (batch.episodes(), self.learner.team().state_len());
        // Step s leads to frame s + B.
        let hidden: Vec<&[f32]> = self.learner.utilities.iter().map(|u| &u.target_states()[episodes * width(u)..]).collect();
        let at = JointRows { state: &batch.state[episodes * states..], hidden: &hidden };
        self.target.joint(pool, at, &seen.next_choice[episodes * batch.agents..], &mut JointTape::default())
    }

    /// The three losses' derivatives.
    fn slopes(&self, batch: &EpisodeBatch, seen: &Seen, values: &Values, y: &[f32], metrics: &mut Metrics) -> Slopes {
        let n = batch.agents;
        let joint = squared_error(&values.taken, y, self.learner.config.loss_coef, metrics);
        let mut slopes =
            Slopes { value: vec![0.0; joint.len()], chosen: vec![0.0; joint.len() * n], best: vec![0.0; joint.len() * n], joint };
        let count = batch.steps().max(1) as f64;
        let (opt, nopt) = ((2.0 * self.config.opt_coef / count) as f32, (2.0 * self.config.nopt_coef / count) as f32);
        let mut sums = [0.0; 3];
        for r in 0..batch.steps() {
            let (mine, at) = (r * n..(r + 1) * n, batch.before(r) * n);
            let best = seen.best[at..at + n].iter().sum::<f32>() - values.best[r] + values.state[r];
            let other = (seen.chosen[mine.clone()].iter().sum::<f32>() - values.taken[r] + values.state[r]).min(0.0);
            add(&mut sums, [f64::from(best).powi(2), f64::from(other).powi(2), values.state[r].into()]);
            slopes.value[r] = opt * best + nopt * other;
            slopes.best[mine.clone()].fill(opt * best);
            slopes.chosen[mine].fill(nopt * other);
        }
        report(metrics, ["loss/opt", "loss/nopt", "loss/value"], sums, count);
        slopes
    }

    fn learn(&mut self, batch: &EpisodeBatch, context: &UpdateContext<'_>, metrics: &mut Metrics) -> Result<(), UpdateError> {
        let (pool, n) = (context.pool, batch.agents);
        let seen = self.learner.look(pool, batch);
        let follows = self.follows(pool, batch, &seen);
        let y = batch.targets(&self.learner.config, 0, None, &|r| follows[r])?;
        let states = self.learner.team().state_len();
        let remembered: Vec<Cow<'_, [f32]>> =
            self.learner.utilities.iter().map(|u| batch.before_steps(u.states(), width(u))).collect();
        let (hidden, state): (Vec<&[f32]>, _) =
            (remembered.iter().map(|h| &h[..]).collect(), batch.before_steps(&batch.state, states));
        let here = JointRows { state: &state, hidden: &hidden };
        let mut tape = JointTape::default();
        let best = self.joint.joint(pool, here, &batch.before_steps(&seen.greedy, n), &mut tape);
        let taken = self.joint.joint(pool, here, &seen.taken, &mut tape);
        let values = Values { taken, best, state: self.joint.value(pool, here) };
        let slopes = self.slopes(batch, &seen, &values, &y, metrics);
        let mut grad = vec![0.0; self.joint.params().len()];
        let mut d_states = vec![Vec::new(); self.learner.utilities.len()];
        self.joint.value_grad(pool, here, &slopes.value, &mut grad, &mut self.work);
        self.joint.joint_grad(pool, &slopes.joint, &tape, &mut grad, &mut d_states, &mut self.work);
        let remembers = self.joint.shape().remembers();
        if remembers {
            for (d, utility) in d_states.iter_mut().zip(&self.learner.utilities) {
                *d = batch.to_frames(d, width(utility));
            }
        }
        self.learner.backward(pool, batch, &seen, &slopes.chosen, Some(&slopes.best), remembers.then_some(&d_states));
        self.learner.step(Some((&mut self.joint, &grad)), context, metrics)?;
        follow(&mut self.target, &self.joint, self.learner.follow());
        Ok(())
    }
}

impl Algorithm for Tied {
    fn rollout_steps(&self) -> usize {
        self.learner.config.rollout_steps
    }

    fn policy(&self) -> TeamPolicy {
        self.learner.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let mut metrics = self.learner.store(roll, context.progress, &mut |_, _, _| {});
        for k in 0..self.learner.due() {
            let Some(batch) = self.learner.sample(context.pool, &context.rng.fork(k as u64)) else { break };
            self.learn(&batch, context, &mut metrics)?;
        }
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.learner.save(w);
        w.put_f32("joint.params", self.joint.params());
        w.put_f32("joint.target_params", self.target.params());
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        load_params(&mut self.joint, r, "joint.params")?;
        load_params(&mut self.target, r, "joint.target_params")?;
        self.learner.load(r)
    }
}

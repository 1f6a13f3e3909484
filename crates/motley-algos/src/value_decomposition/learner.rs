//! What every value-based algorithm stands on: the agents' value networks (utilities) by group, their targets, replay, exploration,
//! one optimiser over everything that learns. No algorithm is decided here.

use std::sync::Arc;

use motley_core::{ConfigError, Metrics, Settings, Stream, TeamSpec};
use motley_data::LoadError;
use motley_data::episodes::{EpisodeReplay, Note};
use motley_data::rollout::Rollout;
use motley_data::stats::{RunningMeanStd, Scaling};
use motley_nn::cross_group::TeamRows;
use motley_nn::dist::argmax;
use motley_nn::optim::decayed;
use motley_nn::policy::ActingGroup;
use motley_nn::qtran::ABSENT;
use motley_nn::{
    Adam, AdamConfig, Batch, CrossGroup, Engine, Explore, Graph, Head, Net, NetWork, Pool, QmixMixer, Qtran, Sequence,
    TeamPolicy, UpdateError,
};
use motley_run::{CheckpointError, PieceHashes, StateReader, StateWriter};

use super::batch::EpisodeBatch;
use super::config::{UtilityConfig, ValueConfig};
use crate::actors::{GraphConfig, engine};
use crate::algorithm::{RewardMode, UpdateContext};

/// Parameters that learn together with the utilities, or follow as targets.
pub trait Weights {
    /// All of them, flat.
    fn weights(&self) -> &[f32];
    /// Changes them.
    fn set_weights(&mut self, change: &mut dyn FnMut(&mut [f32]));
}

macro_rules! weights {
    ($($ty:ty),*) => {
        $(impl Weights for $ty {
            fn weights(&self) -> &[f32] {
                self.params()
            }
            fn set_weights(&mut self, change: &mut dyn FnMut(&mut [f32])) {
                self.set_params(|p| change(p));
            }
        })*
    };
}

weights!(Net, QmixMixer, Qtran);

/// `target <- target + rate (online - target)`.
pub fn blend(target: &mut dyn Weights, online: &dyn Weights, rate: f32) {
    if rate == 0.0 {
        return;
    }
    let online = online.weights();
    target.set_weights(&mut |p| p.iter_mut().zip(online).for_each(|(t, o)| *t += rate * (o - *t)));
}

/// The value network of agents that share one, with its target.
#[derive(Debug)]
pub struct Utility {
    /// Agents, in the team's order.
    pub members: Vec<usize>,
    /// The online network.
    pub net: Net,
    /// What acts in its place where it has a second head.
    narrow: Option<Net>,
    target: Net,
    head: Head,
    agent_id: bool,
    memory_at: Vec<std::ops::Range<usize>>,
    grad: Vec<f32>,
    /// Inputs, outputs and their gradient of the present batch: rows `(t * members + m) * episodes + b`.
    x: Vec<f32>,
    out: Vec<f32>,
    target_out: Vec<f32>,
    d_out: Vec<f32>,
    zeros: Vec<f32>,
    first: Vec<bool>,
    work: NetWork,
    target_work: NetWork,
}

/// What the utilities say about a batch. Of the dead, and of rows behind an episode's end, values are 0 and choices [`ABSENT`].
#[derive(Debug)]
pub struct Seen {
    /// Choices that were made, `[T * B, n]`.
    pub taken: Vec<u32>,
    /// Their values, `[T * B, n]`.
    pub chosen: Vec<f32>,
    /// The best available choices, `[(T + 1) * B, n]`.
    pub greedy: Vec<u32>,
    /// Their values, `[(T + 1) * B, n]`.
    pub best: Vec<f32>,
    /// The best available choices by the online networks with double Q, else by the target networks, `[(T + 1) * B, n]`.
    pub next_choice: Vec<u32>,
    /// The target networks' values of those, `[(T + 1) * B, n]`.
    pub next: Vec<f32>,
    /// How many choices were available, `[(T + 1) * B, n]`.
    pub available: Vec<u32>,
}

/// Utilities, replay and optimiser.
#[derive(Debug)]
pub struct Learner {
    team: Arc<TeamSpec>,
    /// The settings.
    pub config: ValueConfig,
    last_action: bool,
    engine: Engine,
    reward: RewardMode,
    /// One per group.
    pub utilities: Vec<Utility>,
    /// Finished episodes.
    pub replay: EpisodeReplay,
    /// Of its pieces.
    hashes: PieceHashes,
    adam: Adam,
    norms: Vec<RunningMeanStd>,
    env_steps: u64,
    updates: u64,
    /// What the acting policy tells about itself: nothing, or its chance of random actions and the progress of the run.
    fingerprint: Vec<f32>,
    /// What a second head learns, where there is one.
    pub cross: Option<CrossGroup>,
}

/// What an algorithm needs beside the utilities.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// Parameters of a mixer.
    pub mixer: usize,
    /// Numbers kept with every step, before which a fingerprint goes.
    pub notes: usize,
    /// Whether inputs end with a fingerprint.
    pub fingerprint: bool,
    /// Whether utilities have a second head, for [`Learner::cross`].
    pub second_head: bool,
}

impl Needs {
    /// All numbers kept with a step.
    pub fn kept(&self) -> usize {
        self.notes + if self.fingerprint { FINGERPRINT } else { 0 }
    }
}

/// Numbers of a fingerprint.
pub const FINGERPRINT: usize = 2;

impl Learner {
    /// Utilities by `net.share` with initial parameters, an empty replay. Ask [`super::check`] first.
    ///
    /// # Errors
    /// Settings that cannot be read.
    pub fn new(
        team: &Arc<TeamSpec>,
        settings: &Settings,
        own: RewardMode,
        needs: Needs,
        rng: &Stream,
    ) -> Result<Self, ConfigError> {
        let (net, config) = (UtilityConfig::read(settings)?, ValueConfig::read(settings)?);
        let reward = RewardMode::resolve(&settings.get::<String>("task.reward")?, team, own)?;
        let fingerprint = if needs.fingerprint { vec![config.epsilon(0), 0.0] } else { Vec::new() };
        let graph = GraphConfig::read(settings)?.build(team).map_err(ConfigError::Invalid)?;
        let mut utilities: Vec<Utility> = Vec::new();
        for (g, members) in team.groups(&net.share).map_err(ConfigError::Invalid)?.into_iter().enumerate() {
            let from = utilities.last().and_then(|u| u.memory_at.last()).map_or(0, |r| r.end);
            let reads = Reads { graph: graph.clone(), notes: fingerprint.len() };
            let mut utility = Utility::new(team, members, &net, reads, from, &rng.fork(g as u64));
            if needs.second_head {
                utility.add_second_head(&rng.fork(2_000_000 + g as u64));
            }
            utilities.push(utility);
        }
        let learned = needs.mixer + utilities.iter().map(|u| u.net.params().len()).sum::<usize>();
        let columns = if reward == RewardMode::Own { team.n() } else { 1 };
        Ok(Self {
            team: Arc::clone(team),
            last_action: net.last_action,
            engine: engine(settings)?,
            reward,
            utilities,
            hashes: PieceHashes::default(),
            replay: EpisodeReplay::new(Arc::clone(team), config.replay_shape(team, needs.kept())),
            adam: Adam::new(learned, AdamConfig::read(settings)?),
            norms: vec![RunningMeanStd::default(); columns],
            env_steps: 0,
            updates: 0,
            fingerprint,
            config,
            cross: None,
        })
    }

    /// The team.
    pub fn team(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    /// Reward columns: one of the team's, or one of each agent's own.
    pub fn columns(&self) -> usize {
        self.norms.len()
    }

    /// The chance of a random action now.
    pub fn epsilon(&self) -> f32 {
        self.config.epsilon(self.env_steps)
    }

    /// A copy of the utilities that acts, epsilon-greedy when sampled.
    pub fn policy(&self) -> TeamPolicy {
        let acting = |u: &Utility| ActingGroup {
            members: u.members.clone(),
            net: u.narrow.as_ref().map_or_else(|| u.net.clone(), |narrow| narrow.with_first_head_of(&u.net)),
            head: u.head.clone(),
            constants: self.fingerprint.clone(),
            last_action: self.last_action,
            agent_id: u.agent_id,
            memory_at: u.memory_at.clone(),
            explore: Explore::Epsilon(self.epsilon()),
        };
        TeamPolicy::new(Arc::clone(&self.team), self.utilities.iter().map(acting).collect())
    }

    /// Takes a rollout into replay, `note(env, time, into)` with every step, and counts its steps.
    pub fn store(&mut self, roll: &Rollout, progress: f64, note: Note<'_>) -> Metrics {
        let own = &self.fingerprint;
        let added = self.replay.extend(roll, &mut |e, t, into| {
            let (shown, rest) = into.split_at_mut(own.len());
            shown.copy_from_slice(own);
            note(e, t, rest);
        });
        let mut metrics = Metrics::new();
        metrics.add("train/epsilon", self.epsilon().into());
        metrics.add("train/replay_episodes", self.replay.len() as f64);
        metrics.add("train/dropped_episodes", added.dropped as f64);
        self.env_steps += (roll.envs() * roll.steps()) as u64;
        if !self.fingerprint.is_empty() {
            self.fingerprint = vec![self.epsilon(), progress as f32];
        }
        metrics
    }

    /// A batch of episodes, every set of them equally likely; `None` before learning starts or while there are too few.
    pub fn sample(&mut self, rng: &Stream) -> Option<EpisodeBatch> {
        if self.env_steps < self.config.learning_starts {
            return None;
        }
        let slots = self.replay.sample(self.config.batch_episodes, &mut rng.clone())?;
        let (mode, sizes) = (self.reward, (self.team.n(), self.team.state_len(), self.norms.len()));
        let mut batch = EpisodeBatch::gather(&self.replay, slots, sizes, &|rewards, column| mode.of(rewards, column));
        let scaling = match self.config.reward_norm.as_str() {
            "standard" => Scaling::Standardise,
            "scale" => Scaling::ScaleOnly,
            _ => return Some(batch),
        };
        for (norm, column) in self.norms.iter_mut().zip(&mut batch.rewards) {
            // A batch that is not finite leaves the statistics as they were; the gradient's gate sees to the rest.
            let _ = norm.update(column, Some(&batch.counts));
            for (reward, _) in column.iter_mut().zip(&batch.counts).filter(|(_, counts)| **counts) {
                *reward = norm.scale(*reward, scaling);
            }
        }
        Some(batch)
    }

    /// Runs online and target utilities over the whole episodes of a batch.
    pub fn look(&mut self, pool: &Pool, batch: &EpisodeBatch) -> Seen {
        let (n, episodes) = (self.team.n(), batch.episodes());
        let (rows, frames) = (batch.rows() * n, (batch.steps + 1) * episodes * n);
        let mut seen = Seen {
            taken: vec![ABSENT; rows],
            chosen: vec![0.0; rows],
            greedy: vec![ABSENT; frames],
            best: vec![0.0; frames],
            next_choice: vec![ABSENT; frames],
            next: vec![0.0; frames],
            available: vec![1; frames],
        };
        let Self { utilities, replay, team, config, last_action, fingerprint, .. } = self;
        for utility in utilities {
            let input = Input { team, replay, batch, last_action: *last_action, notes: fingerprint.len() };
            utility.forward(pool, &input);
            let width = utility.net.output_len();
            for (r, (out, target)) in utility.out.chunks(width).zip(utility.target_out.chunks(width)).enumerate() {
                let (t, m, b) = utility.place(r, episodes);
                let agent = utility.members[m];
                let at = (t * episodes + b) * n + agent;
                let Some((slot, t)) = batch.frame(t, b).filter(|_| batch.alive[at]) else { continue };
                let mask = replay.avail(slot, t, agent);
                let best = argmax(out, mask);
                let next = if config.double_q { best } else { argmax(target, mask) };
                (seen.greedy[at], seen.next_choice[at]) = (best as u32, next as u32);
                (seen.best[at], seen.next[at]) = (out[best], target[next]);
                seen.available[at] = mask.iter().filter(|m| **m).count().max(1) as u32;
                if batch.step(t, b).is_some() {
                    let taken = replay.action(slot, t, agent)[0] as usize;
                    (seen.taken[at], seen.chosen[at]) = (taken as u32, out[taken]);
                }
            }
        }
        seen
    }

    /// Leaves the utilities' gradients, from those by the values of the choices made (`d_chosen`, `[T * B, n]`), and, where they are
    /// part of the loss, by those of the best ones (`d_best`, `[T * B, n]`) and by what the networks remember (`d_states`, per group).
    /// The second head's own loss comes to them; it is returned where there is one.
    pub fn backward(
        &mut self,
        pool: &Pool,
        batch: &EpisodeBatch,
        seen: &Seen,
        d_chosen: &[f32],
        d_best: Option<&[f32]>,
        d_states: Option<&[Vec<f32>]>,
    ) -> Option<f64> {
        let (n, episodes) = (batch.agents, batch.episodes());
        let mut crossed = None;
        for (g, utility) in self.utilities.iter_mut().enumerate() {
            let width = utility.net.output_len();
            let mut d_out = std::mem::take(&mut utility.d_out);
            d_out.clear();
            d_out.resize(utility.out.len(), 0.0);
            for (r, d) in d_out.chunks_mut(width).enumerate() {
                let (t, m, b) = utility.place(r, episodes);
                let at = (t * episodes + b) * n + utility.members[m];
                if at < d_chosen.len() && seen.taken[at] != ABSENT {
                    d[seen.taken[at] as usize] += d_chosen[at];
                    if let Some(d_best) = d_best {
                        d[seen.greedy[at] as usize] += d_best[at];
                    }
                }
            }
            if let Some(cross) = &self.cross {
                crossed = Some(utility.cross(cross, &self.replay, batch, &mut d_out));
            }
            utility.backward(&self.engine, pool, batch, &d_out, d_states.map(|d| &d[g][..]));
            utility.d_out = d_out;
        }
        crossed
    }

    /// One guarded step of everything that learns: the utilities, and a mixer with its gradient.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`].
    pub fn step(
        &mut self,
        mixer: Option<(&mut dyn Weights, &[f32])>,
        context: &UpdateContext<'_>,
        metrics: &mut Metrics,
    ) -> Result<(), UpdateError> {
        let lr = decayed(self.config.lr, self.config.lr_decay, context.progress);
        let (mut params, mut grad) = (Vec::new(), Vec::new());
        for utility in &self.utilities {
            params.extend_from_slice(utility.net.params());
            grad.extend_from_slice(&utility.grad);
        }
        if let Some((mixer, slope)) = &mixer {
            params.extend_from_slice(mixer.weights());
            grad.extend_from_slice(slope);
        }
        let report = self.adam.step("values", &mut params, &grad, lr)?;
        let mut at = 0;
        let mut give = |p: &mut [f32]| {
            p.copy_from_slice(&params[at..at + p.len()]);
            at += p.len();
        };
        self.utilities.iter_mut().for_each(|u| u.net.set_params(&mut give));
        if let Some((mixer, _)) = mixer {
            mixer.set_weights(&mut give);
        }
        metrics.add("loss/grad_norm", report.grad_norm);
        metrics.add("loss/skipped_steps", f64::from(u8::from(!report.applied)));
        Ok(())
    }

    /// Counts an update and moves the target networks where that is due; the rate at which a mixer's target has to follow.
    pub fn follow(&mut self) -> f32 {
        self.updates += 1;
        let rate = self.config.target_update;
        let due = rate < 1.0 || self.updates.is_multiple_of(rate as u64);
        let step = match due {
            true if rate < 1.0 => rate as f32,
            true => 1.0,
            false => 0.0,
        };
        self.utilities.iter_mut().for_each(|u| blend(&mut u.target, &u.net, step));
        step
    }

    /// Writes utilities, targets, moments, counters, statistics and replay.
    pub fn save(&self, w: &mut StateWriter) {
        for (g, utility) in self.utilities.iter().enumerate() {
            w.put_f32(&format!("utility.{g}.params"), utility.net.params());
            w.put_f32(&format!("utility.{g}.target_params"), utility.target.params());
        }
        self.adam.save(&mut w.scope("adam"));
        w.put_u64("counters", &[self.env_steps, self.updates]);
        w.put_f64("norms", &self.norms.iter().flat_map(RunningMeanStd::save).collect::<Vec<_>>());
        w.put_f32("fingerprint", &self.fingerprint);
        let mut w = w.scope("replay");
        w.put_u64("counters", &self.replay.counters());
        let make = &mut |k, bytes: &mut Vec<u8>| self.replay.write_piece(k, bytes);
        w.put_pieces("episodes", self.replay.stamps(), &self.hashes, make);
        w.put_u8("running", &self.replay.unfinished());
    }

    /// Reads what [`Learner::save`] wrote.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        for (g, utility) in self.utilities.iter_mut().enumerate() {
            load_weights(&mut utility.net, r, &format!("utility.{g}.params"))?;
            load_weights(&mut utility.target, r, &format!("utility.{g}.target_params"))?;
        }
        self.adam.load(&r.scope("adam"))?;
        let mut counters = [0; 2];
        r.u64s_into("counters", &mut counters)?;
        [self.env_steps, self.updates] = counters;
        let mut norms = vec![0.0; 3 * self.norms.len()];
        r.f64s_into("norms", &mut norms)?;
        for (norm, saved) in self.norms.iter_mut().zip(norms.as_chunks::<3>().0) {
            *norm = RunningMeanStd::load(*saved).map_err(|e| r.wrong("norms", "running statistics", e))?;
        }
        r.f32s_into("fingerprint", &mut self.fingerprint)?;
        let r = r.scope("replay");
        let pieces = r.pieces("episodes")?;
        self.replay.load(&r.u64s("counters")?, pieces.read(), &r.u8s("running")?).map_err(|error| match error {
            LoadError::Piece(error) => error,
            unfit @ LoadError::Unfit(_) => r.wrong("counters", "the numbers of this replay", unfit),
        })?;
        self.hashes = pieces.known(self.replay.stamps());
        Ok(())
    }
}

/// Reads one network's parameters.
pub fn load_weights(weights: &mut dyn Weights, r: &StateReader, name: &str) -> Result<(), CheckpointError> {
    let mut values = weights.weights().to_vec();
    r.f32s_into(name, &mut values)?;
    weights.set_weights(&mut |p| p.copy_from_slice(&values));
    Ok(())
}

/// Where the inputs of a batch come from.
struct Input<'a> {
    team: &'a TeamSpec,
    replay: &'a EpisodeReplay,
    batch: &'a EpisodeBatch,
    last_action: bool,
    /// Notes that are inputs.
    notes: usize,
}

/// What a utility reads beside its own observation and what the settings of networks say.
struct Reads {
    /// Whom it hears.
    graph: Option<Arc<Graph>>,
    /// Numbers of a fingerprint.
    notes: usize,
}

impl Utility {
    fn new(team: &TeamSpec, members: Vec<usize>, config: &UtilityConfig, reads: Reads, from: usize, rng: &Stream) -> Self {
        let first = &team.agents[members[0]];
        let head = Head::Categorical(first.action.choices().to_vec());
        let agent_id = config.agent_id && members.len() > 1;
        let last = if config.last_action { head.block() } else { 0 };
        let mut spec = config.spec();
        spec.obs = first.obs.clone();
        spec.extra = reads.notes + last + if agent_id { members.len() } else { 0 };
        spec.output = head.outputs();
        let net = match reads.graph {
            None => Net::new(spec, rng),
            Some(graph) => Net::on_graph(spec, graph, rng),
        };
        let width = net.memory_len() + last;
        Self {
            memory_at: (0..members.len()).map(|m| from + m * width..from + (m + 1) * width).collect(),
            target: net.clone(),
            grad: vec![0.0; net.params().len()],
            members,
            net,
            narrow: None,
            head,
            agent_id,
            x: Vec::new(),
            out: Vec::new(),
            target_out: Vec::new(),
            d_out: Vec::new(),
            zeros: Vec::new(),
            first: Vec::new(),
            work: NetWork::default(),
            target_work: NetWork::default(),
        }
    }

    /// A second head beside the first: for [`Learner::cross`], without a part in acting.
    fn add_second_head(&mut self, rng: &Stream) {
        let narrow = self.net.clone();
        self.net = narrow.with_second_head(rng);
        self.target = self.net.clone();
        self.grad = vec![0.0; self.net.params().len()];
        self.narrow = Some(narrow);
    }

    /// The cross-group loss of the last [`Learner::look`] over the steps of the episodes; its derivative is added to `d_out`.
    fn cross(&self, cross: &CrossGroup, replay: &EpisodeReplay, batch: &EpisodeBatch, d_out: &mut [f32]) -> f64 {
        let (members, episodes) = (&self.members, batch.episodes());
        let open = |row: usize| {
            let (t, m, b) = self.place(row, episodes);
            let (slot, time) = batch.step(t, b)?;
            batch.alive[(t * episodes + b) * batch.agents + members[m]].then(|| replay.avail(slot, time, members[m]))
        };
        let rows = TeamRows { out: &self.out, actions: self.head.outputs(), agents: members.len(), run: episodes, open: &open };
        cross.loss(&rows, d_out)
    }

    /// What the network's head read in the last [`Learner::look`], `[T + 1, members, B, memory]`; empty without memory.
    pub fn states(&self) -> &[f32] {
        self.work.states()
    }

    /// The same of the target network.
    pub fn target_states(&self) -> &[f32] {
        self.target_work.states()
    }

    /// Frame, member and episode of a row.
    fn place(&self, row: usize, episodes: usize) -> (usize, usize, usize) {
        (row / (self.members.len() * episodes), row / episodes % self.members.len(), row % episodes)
    }

    /// Gathers the inputs as [`ActingGroup::input`] has them, and runs both networks from empty memory.
    fn forward(&mut self, pool: &Pool, input: &Input<'_>) {
        let Input { team, replay, batch, last_action, notes } = *input;
        let (width, episodes) = (self.net.input_len(), batch.episodes());
        let rows = (batch.steps + 1) * self.members.len() * episodes;
        let observed = self.net.graph().map_or(team.obs_range(self.members[0]).len(), |graph| graph.row_len());
        let last = if last_action { self.head.block() } else { 0 };
        self.x.clear();
        self.x.resize(rows * width, 0.0);
        for r in 0..rows {
            let (t, m, b) = self.place(r, episodes);
            let Some((slot, t)) = batch.frame(t, b) else { continue };
            let (agent, x) = (self.members[m], &mut self.x[r * width..(r + 1) * width]);
            match self.net.graph() {
                None => x[..observed].copy_from_slice(replay.obs(slot, t, agent)),
                Some(graph) => graph.row(replay.team_obs(slot, t), agent, &mut x[..observed]),
            }
            x[observed..observed + notes].copy_from_slice(&replay.notes(slot, t)[..notes]);
            let from = observed + notes;
            if last_action && t > 0 {
                self.head.encode(replay.action(slot, t - 1, agent), &mut x[from..from + last]);
            }
            if self.agent_id {
                x[from + last + m] = 1.0;
            }
        }
        let outputs = rows * self.net.output_len();
        self.out.resize(outputs, 0.0);
        self.target_out.resize(outputs, 0.0);
        self.zeros.clear();
        self.zeros.resize(self.members.len() * episodes * self.net.memory_len(), 0.0);
        self.first.clear();
        self.first.resize(rows, false);
        let Self { net, target, x, out, target_out, zeros, first, work, target_work, .. } = self;
        let whole = whole_batch(net, x, zeros, first, batch);
        target.forward_batch(pool, whole, target_out, target_work);
        net.forward_batch(pool, whole, out, work);
    }

    fn backward(&mut self, engine: &Engine, pool: &Pool, batch: &EpisodeBatch, d_out: &[f32], d_states: Option<&[f32]>) {
        let Self { net, x, zeros, first, work, grad, .. } = self;
        net.backward_batch(engine, pool, whole_batch(net, x, zeros, first, batch), d_out, d_states, grad, work);
    }
}

/// Whole episodes as rows to learn from.
fn whole_batch<'a>(net: &Net, x: &'a [f32], zeros: &'a [f32], first: &'a [bool], batch: &EpisodeBatch) -> Batch<'a> {
    let sequence = (net.memory_len() > 0).then_some(Sequence { length: batch.steps + 1, memory: zeros, first });
    Batch { x, rows: first.len(), sequence }
}

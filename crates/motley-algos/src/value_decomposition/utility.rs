//! The agents' value networks: what one reads of a batch of episodes, and what it says about it.

use std::sync::Arc;

use motley_core::{Stream, TeamSpec};
use motley_data::episodes::EpisodeReplay;
use motley_nn::cross_group::TeamRows;
use motley_nn::dist::argmax;
use motley_nn::qtran::ABSENT;
use motley_nn::{Batch, CrossGroup, Engine, Graph, Head, Net, NetWork, Pool, Sequence};

use super::batch::EpisodeBatch;
use super::config::UtilityConfig;

/// The value network of agents that share one, with its target.
#[derive(Debug)]
pub struct Utility {
    /// Agents, in the team's order.
    pub members: Vec<usize>,
    /// The online network.
    pub net: Net,
    /// What acts in its place where it has a second head.
    pub(super) narrow: Option<Net>,
    pub(super) target: Net,
    pub(super) head: Head,
    pub(super) agent_id: bool,
    pub(super) memory_at: Vec<std::ops::Range<usize>>,
    pub(super) grad: Vec<f32>,
    /// Inputs, outputs and their gradient of the present batch: rows `(t * members + m) * episodes + b`.
    x: Vec<f32>,
    pub(super) out: Vec<f32>,
    target_out: Vec<f32>,
    pub(super) d_out: Vec<f32>,
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

impl Seen {
    /// Nothing seen yet of a batch.
    pub(super) fn nothing(batch: &EpisodeBatch) -> Self {
        let (rows, frames) = (batch.rows() * batch.agents, (batch.steps + 1) * batch.episodes() * batch.agents);
        Self {
            taken: vec![ABSENT; rows],
            chosen: vec![0.0; rows],
            greedy: vec![ABSENT; frames],
            best: vec![0.0; frames],
            next_choice: vec![ABSENT; frames],
            next: vec![0.0; frames],
            available: vec![1; frames],
        }
    }

    /// One part a frame, each of `width` entries.
    fn frames(&mut self, width: usize) -> impl Iterator<Item = SeenFrame<'_>> {
        // No choice follows the last frame.
        let steps = self.taken.chunks_mut(width).zip(self.chosen.chunks_mut(width)).chain([Default::default()]);
        let best = self.greedy.chunks_mut(width).zip(self.best.chunks_mut(width));
        let next = self.next_choice.chunks_mut(width).zip(self.next.chunks_mut(width));
        let rest = best.zip(next).zip(self.available.chunks_mut(width));
        steps.zip(rest).map(|((taken, chosen), (((greedy, best), (next_choice, next)), available))| SeenFrame {
            taken,
            chosen,
            greedy,
            best,
            next_choice,
            next,
            available,
        })
    }
}

/// One frame of [`Seen`], `[B, n]` each; of the last one no choices.
struct SeenFrame<'a> {
    taken: &'a mut [u32],
    chosen: &'a mut [f32],
    greedy: &'a mut [u32],
    best: &'a mut [f32],
    next_choice: &'a mut [u32],
    next: &'a mut [f32],
    available: &'a mut [u32],
}

/// Where the inputs of a batch come from.
pub(super) struct Input<'a> {
    pub team: &'a TeamSpec,
    pub replay: &'a EpisodeReplay,
    pub batch: &'a EpisodeBatch,
    pub last_action: bool,
    /// Notes that are inputs.
    pub notes: usize,
}

/// What a utility reads beside its own observation and what the settings of networks say.
pub(super) struct Reads {
    /// Whom it hears.
    pub graph: Option<Arc<Graph>>,
    /// Numbers of a fingerprint.
    pub notes: usize,
}

impl Utility {
    pub(super) fn new(
        team: &TeamSpec,
        members: Vec<usize>,
        config: &UtilityConfig,
        reads: Reads,
        from: usize,
        rng: &Stream,
    ) -> Self {
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
    pub(super) fn add_second_head(&mut self, rng: &Stream) {
        let narrow = self.net.clone();
        self.net = narrow.with_second_head(rng);
        self.target = self.net.clone();
        self.grad = vec![0.0; self.net.params().len()];
        self.narrow = Some(narrow);
    }

    /// The cross-group loss of the last [`Learner::look`] over the steps of the episodes; its derivative is added to `d_out`.
    pub(super) fn cross(&self, cross: &CrossGroup, replay: &EpisodeReplay, batch: &EpisodeBatch, d_out: &mut [f32]) -> f64 {
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
    pub(super) fn place(&self, row: usize, episodes: usize) -> (usize, usize, usize) {
        (row / (self.members.len() * episodes), row / episodes % self.members.len(), row % episodes)
    }

    /// Runs online and target network over a batch from empty memory; what they say of its rows goes to `seen`.
    pub(super) fn look(&mut self, pool: &Pool, input: &Input<'_>, double_q: bool, seen: &mut Seen) {
        self.gather(pool, input);
        self.forward(pool, input.batch);
        let Input { replay, batch, .. } = *input;
        let (n, episodes, width) = (batch.agents, batch.episodes(), self.net.output_len());
        let step = (self.members.len() * episodes * width).max(1);
        let outputs = self.out.chunks(step).zip(self.target_out.chunks(step));
        let mut frames: Vec<_> = seen.frames((episodes * n).max(1)).zip(outputs).collect();
        let members = &self.members;
        pool.run(&mut frames, |t, (seen, (out, target))| {
            for (k, (out, target)) in out.chunks(width).zip(target.chunks(width)).enumerate() {
                let (agent, b) = (members[k / episodes], k % episodes);
                let at = b * n + agent;
                let Some((slot, t)) = batch.frame(t, b).filter(|_| batch.alive[t * episodes * n + at]) else { continue };
                let mask = replay.avail(slot, t, agent);
                let best = argmax(out, mask);
                let next = if double_q { best } else { argmax(target, mask) };
                (seen.greedy[at], seen.next_choice[at]) = (best as u32, next as u32);
                (seen.best[at], seen.next[at]) = (out[best], target[next]);
                seen.available[at] = mask.iter().filter(|m| **m).count().max(1) as u32;
                if batch.step(t, b).is_some() {
                    let taken = replay.action(slot, t, agent)[0] as usize;
                    (seen.taken[at], seen.chosen[at]) = (taken as u32, out[taken]);
                }
            }
        });
    }

    /// Gathers the inputs as [`motley_nn::policy::ActingGroup::input`] has them; rows behind an episode's end are 0.
    fn gather(&mut self, pool: &Pool, input: &Input<'_>) {
        let Input { team, replay, batch, last_action, notes } = *input;
        let (width, episodes) = (self.net.input_len(), batch.episodes());
        let step = self.members.len() * episodes;
        let observed = self.net.graph().map_or(team.obs_range(self.members[0]).len(), |graph| graph.row_len());
        let last = if last_action { self.head.block() } else { 0 };
        self.x.resize((batch.steps + 1) * step * width, 0.0);
        let Self { x, net, members, head, agent_id, .. } = self;
        let mut frames: Vec<&mut [f32]> = x.chunks_mut((step * width).max(1)).collect();
        pool.run(&mut frames, |t, rows| {
            rows.fill(0.0);
            for (k, x) in rows.chunks_mut(width.max(1)).enumerate() {
                let (m, b) = (k / episodes, k % episodes);
                let Some((slot, t)) = batch.frame(t, b) else { continue };
                match net.graph() {
                    None => x[..observed].copy_from_slice(replay.obs(slot, t, members[m])),
                    Some(graph) => graph.row(replay.team_obs(slot, t), members[m], &mut x[..observed]),
                }
                x[observed..observed + notes].copy_from_slice(&replay.notes(slot, t)[..notes]);
                let from = observed + notes;
                if last_action && t > 0 {
                    head.encode(replay.action(slot, t - 1, members[m]), &mut x[from..from + last]);
                }
                if *agent_id {
                    x[from + last + m] = 1.0;
                }
            }
        });
    }

    /// Both networks, side by side.
    fn forward(&mut self, pool: &Pool, batch: &EpisodeBatch) {
        let sequences = self.members.len() * batch.episodes();
        let rows = (batch.steps + 1) * sequences;
        let outputs = rows * self.net.output_len();
        self.out.resize(outputs, 0.0);
        self.target_out.resize(outputs, 0.0);
        self.zeros.resize(sequences * self.net.memory_len(), 0.0);
        self.first.resize(rows, false);
        let Self { net, target, x, out, target_out, zeros, first, work, target_work, .. } = self;
        let whole = whole_batch(net, x, zeros, first, batch);
        pool.both(|| target.values_batch(pool, whole, target_out, target_work), || net.forward_batch(pool, whole, out, work));
    }

    pub(super) fn backward(
        &mut self,
        engine: &Engine,
        pool: &Pool,
        batch: &EpisodeBatch,
        d_out: &[f32],
        d_states: Option<&[f32]>,
    ) {
        let Self { net, x, zeros, first, work, grad, .. } = self;
        net.backward_batch(engine, pool, whole_batch(net, x, zeros, first, batch), d_out, d_states, grad, work);
    }
}

/// Whole episodes as rows to learn from.
fn whole_batch<'a>(net: &Net, x: &'a [f32], zeros: &'a [f32], first: &'a [bool], batch: &EpisodeBatch) -> Batch<'a> {
    let sequence = (net.memory_len() > 0).then_some(Sequence { length: batch.steps + 1, memory: zeros, first });
    Batch { x, rows: first.len(), sequence }
}

//! The agents' value networks: what one reads of a batch of episodes, and what it says about it.

use std::sync::Arc;

use motley_core::{Stream, TeamSpec};
use motley_data::episodes::EpisodeReplay;
use motley_nn::cross_group::TeamRows;
use motley_nn::dist::argmax;
use motley_nn::qtran::ABSENT;
use motley_nn::{Batch, CrossGroup, Engine, Graph, Head, Net, NetWork, Pool, Sequence};

use super::batch::{EpisodeBatch, FRAMES};
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
    /// Inputs, outputs and their gradient of the present batch: rows `frame * members + m`.
    x: Vec<f32>,
    pub(super) out: Vec<f32>,
    target_out: Vec<f32>,
    pub(super) d_out: Vec<f32>,
    zeros: Vec<f32>,
    first: Vec<bool>,
    /// Sequences at each step.
    active: Vec<usize>,
    work: NetWork,
    target_work: NetWork,
}

/// What the utilities say about a batch of F frames and S steps. Of the dead, values are 0 and choices [`ABSENT`].
#[derive(Debug)]
pub struct Seen {
    /// Choices that were made, `[S, n]`.
    pub taken: Vec<u32>,
    /// Their values, `[S, n]`.
    pub chosen: Vec<f32>,
    /// The best available choices, `[F, n]`.
    pub greedy: Vec<u32>,
    /// Their values, `[F, n]`.
    pub best: Vec<f32>,
    /// The best available choices by the online networks with double Q, else by the target networks, `[F, n]`.
    pub next_choice: Vec<u32>,
    /// The target networks' values of those, `[F, n]`.
    pub next: Vec<f32>,
    /// How many choices were available, `[F, n]`.
    pub available: Vec<u32>,
}

impl Seen {
    /// Nothing seen yet of a batch.
    pub(super) fn nothing(batch: &EpisodeBatch) -> Self {
        let (steps, frames) = (batch.steps() * batch.agents, batch.frames() * batch.agents);
        Self {
            taken: vec![ABSENT; steps],
            chosen: vec![0.0; steps],
            greedy: vec![ABSENT; frames],
            best: vec![0.0; frames],
            next_choice: vec![ABSENT; frames],
            next: vec![0.0; frames],
            available: vec![1; frames],
        }
    }

    /// What is said of frames, in parts of [`FRAMES`] each.
    fn parts(&mut self, agents: usize) -> impl Iterator<Item = SeenFrames<'_>> {
        let width = (FRAMES * agents).max(1);
        let best = self.greedy.chunks_mut(width).zip(self.best.chunks_mut(width));
        let next = self.next_choice.chunks_mut(width).zip(self.next.chunks_mut(width));
        let rest = best.zip(next).zip(self.available.chunks_mut(width));
        rest.map(|(((greedy, best), (next_choice, next)), available)| SeenFrames { greedy, best, next_choice, next, available })
    }
}

/// Some frames of [`Seen`], `[frames, n]` each.
struct SeenFrames<'a> {
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
            active: Vec::new(),
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
        let members = &self.members;
        let open = |row: usize| {
            let (f, agent) = (row / members.len(), members[row % members.len()]);
            let (slot, t) = batch.frame(f);
            (batch.goes_on(f) && batch.alive[f * batch.agents + agent]).then(|| replay.avail(slot, t, agent))
        };
        let rows = TeamRows { out: &self.out, actions: self.head.outputs(), agents: members.len(), run: 1, open: &open };
        cross.loss(&rows, d_out)
    }

    /// What the network's head read in the last [`Learner::look`], `[F, members, memory]`; empty without memory.
    pub fn states(&self) -> &[f32] {
        self.work.states()
    }

    /// The same of the target network.
    pub fn target_states(&self) -> &[f32] {
        self.target_work.states()
    }

    /// Runs online and target network over a batch from empty memory; what they say of its frames goes to `seen`.
    pub(super) fn look(&mut self, pool: &Pool, input: &Input<'_>, double_q: bool, seen: &mut Seen) {
        self.gather(pool, input);
        self.forward(pool, input.batch);
        let Input { replay, batch, .. } = *input;
        let (n, members, out, width) = (batch.agents, &self.members, &self.out, self.net.output_len());
        let part = (FRAMES * members.len() * width).max(1);
        let outputs = out.chunks(part).zip(self.target_out.chunks(part));
        let mut parts: Vec<_> = seen.parts(n).zip(outputs).collect();
        pool.run(&mut parts, |k, (seen, (out, target))| {
            for (r, (out, target)) in out.chunks(width).zip(target.chunks(width)).enumerate() {
                let (f, agent) = (r / members.len(), members[r % members.len()]);
                if !batch.alive[(k * FRAMES + f) * n + agent] {
                    continue;
                }
                let (at, (slot, t)) = (f * n + agent, batch.frame(k * FRAMES + f));
                let mask = replay.avail(slot, t, agent);
                let best = argmax(out, mask);
                let next = if double_q { best } else { argmax(target, mask) };
                (seen.greedy[at], seen.next_choice[at]) = (best as u32, next as u32);
                (seen.best[at], seen.next[at]) = (out[best], target[next]);
                seen.available[at] = mask.iter().filter(|m| **m).count().max(1) as u32;
            }
        });
        let part = (FRAMES * n).max(1);
        let mut parts: Vec<_> = seen.taken.chunks_mut(part).zip(seen.chosen.chunks_mut(part)).collect();
        pool.run(&mut parts, |k, (taken, chosen)| {
            for (s, (taken, chosen)) in taken.chunks_mut(n).zip(chosen.chunks_mut(n)).enumerate() {
                let s = k * FRAMES + s;
                let (f, (slot, t)) = (batch.before(s), batch.step(s));
                for (m, &i) in members.iter().enumerate().filter(|(_, i)| batch.alive[f * n + **i]) {
                    let choice = replay.action(slot, t, i)[0] as usize;
                    (taken[i], chosen[i]) = (choice as u32, out[(f * members.len() + m) * width + choice]);
                }
            }
        });
    }

    /// Gathers the inputs as [`motley_nn::policy::ActingGroup::input`] has them.
    fn gather(&mut self, pool: &Pool, input: &Input<'_>) {
        let Input { team, replay, batch, last_action, notes } = *input;
        let width = self.net.input_len();
        let observed = self.net.graph().map_or(team.obs_range(self.members[0]).len(), |graph| graph.row_len());
        let last = if last_action { self.head.block() } else { 0 };
        self.x.resize(batch.frames() * self.members.len() * width, 0.0);
        let Self { x, net, members, head, agent_id, .. } = self;
        let mut parts: Vec<&mut [f32]> = x.chunks_mut((FRAMES * members.len() * width).max(1)).collect();
        pool.run(&mut parts, |k, rows| {
            rows.fill(0.0);
            for (r, x) in rows.chunks_mut(width.max(1)).enumerate() {
                let (m, (slot, t)) = (r % members.len(), batch.frame(k * FRAMES + r / members.len()));
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
        let (sequences, rows) = (batch.episodes() * self.members.len(), batch.frames() * self.members.len());
        let outputs = rows * self.net.output_len();
        self.out.resize(outputs, 0.0);
        self.target_out.resize(outputs, 0.0);
        self.zeros.resize(sequences * self.net.memory_len(), 0.0);
        self.first.resize(rows, false);
        self.active.clear();
        self.active.extend(batch.going.iter().map(|episodes| episodes * self.members.len()));
        let Self { net, target, x, out, target_out, zeros, first, active, work, target_work, .. } = self;
        let whole = whole_batch(net, x, zeros, first, active);
        pool.both(|| target.values_batch(pool, whole, target_out, target_work), || net.forward_batch(pool, whole, out, work));
    }

    pub(super) fn backward(&mut self, engine: &Engine, pool: &Pool, d_out: &[f32], d_states: Option<&[f32]>) {
        let Self { net, x, zeros, first, active, work, grad, .. } = self;
        net.backward_batch(engine, pool, whole_batch(net, x, zeros, first, active), d_out, d_states, grad, work);
    }
}

/// Whole episodes as rows to learn from.
fn whole_batch<'a>(net: &Net, x: &'a [f32], zeros: &'a [f32], first: &'a [bool], active: &'a [usize]) -> Batch<'a> {
    let sequence = (net.memory_len() > 0).then_some(Sequence { active, memory: zeros, first });
    Batch { x, rows: first.len(), sequence }
}

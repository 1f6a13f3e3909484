//! One batch of transitions, gathered into the rows that networks read.

use std::ops::Range;
use std::sync::Arc;

use motley_core::TeamSpec;
use motley_data::replay::{Place, Replay, Sample};
use motley_nn::policy::fill_input;
use motley_nn::{Graph, Head, Pool};

use crate::reward_norm::RewardNorm;

/// Agents that share a network, and what it reads.
#[derive(Debug, Clone)]
pub struct Group {
    members: Vec<usize>,
    input: usize,
    agent_id: bool,
    /// Whom they hear.
    graph: Option<Arc<Graph>>,
}

impl Group {
    /// `input` entries a row, a one-hot of the member among them where `agent_id` says so.
    pub fn new(members: Vec<usize>, input: usize, agent_id: bool) -> Self {
        Self { members, input, agent_id, graph: None }
    }

    /// The same, reading their rows of a communication graph in place of their own observations.
    pub fn hearing(self, graph: Option<Arc<Graph>>) -> Self {
        Self { graph, ..self }
    }
}

/// Where everything lies in a batch's rows.
#[derive(Debug, Clone)]
pub struct Layout {
    team: Arc<TeamSpec>,
    groups: Vec<Group>,
    heads: Vec<Head>,
    /// Each agent's block within the joint action.
    pub blocks: Vec<Range<usize>>,
    /// Entries of the joint action.
    pub joint: usize,
    /// The joint action of the dead: their no-ops, or zeros.
    dead: Vec<f32>,
    /// After a time limit's cut, what is available is told by the frame after the reset, not by the final one.
    pub reset_masks: bool,
}

/// One end of a batch's transitions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Side {
    /// What each group reads.
    pub groups: Vec<Rows>,
    /// `[state rows, rows, row]`
    state: Vec<f32>,
    /// `[agents, rows]`
    alive: Vec<bool>,
    rows: usize,
}

/// What one group reads, member after member.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// `[members * rows, input]`
    pub x: Vec<f32>,
    /// `[members * rows, mask]`
    pub mask: Vec<bool>,
    /// `[members * rows]`
    pub alive: Vec<bool>,
}

/// A batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Transitions.
    pub rows: usize,
    /// Before the step.
    pub now: Side,
    /// What is bootstrapped from.
    pub next: Side,
    /// What was done, `[rows, joint]`.
    pub joint: Vec<f32>,
    sample: Sample,
    payments: usize,
}

impl Layout {
    /// `heads` names every agent once.
    pub fn new(team: &Arc<TeamSpec>, groups: Vec<Group>, mut heads: Vec<(usize, Head)>) -> Self {
        heads.sort_by_key(|h| h.0);
        let heads: Vec<Head> = heads.into_iter().map(|h| h.1).collect();
        let (mut blocks, mut joint) = (Vec::with_capacity(heads.len()), 0);
        for head in &heads {
            blocks.push(joint..joint + head.block());
            joint += head.block();
        }
        let mut dead = vec![0.0; joint];
        for ((agent, head), block) in team.agents.iter().zip(&heads).zip(&blocks) {
            if let (Some(noop), Head::Categorical(_)) = (agent.noop, head) {
                head.encode(&vec![noop as f32; head.width()], &mut dead[block.clone()]);
            }
        }
        Self { team: Arc::clone(team), groups, heads, blocks, joint, dead, reset_masks: false }
    }

    /// What a dead agent's action counts as.
    pub fn dead_block(&self, agent: usize) -> &[f32] {
        &self.dead[self.blocks[agent].clone()]
    }

    /// Rows of a critic, `[state rows * rows, state + joint]`; `joint` is `[rows, joint]`.
    pub fn critic_input(&self, pool: &Pool, side: &Side, state_rows: &[usize], joint: &[f32]) -> Vec<f32> {
        /// Rows that one thread copies at a time.
        const PART: usize = 256;
        let row = self.team.state.row();
        let width = row + self.joint;
        let mut x = vec![0.0; state_rows.len() * side.rows * width];
        let mut parts: Vec<&mut [f32]> = x.chunks_mut((PART * width).max(1)).collect();
        pool.run(&mut parts, |p, part| {
            for (r, to) in part.chunks_exact_mut(width).enumerate() {
                let (k, b) = ((p * PART + r) / side.rows, (p * PART + r) % side.rows);
                to[..row].copy_from_slice(self.state_row(side, state_rows[k], b));
                to[row..].copy_from_slice(&joint[b * self.joint..(b + 1) * self.joint]);
            }
        });
        x
    }

    /// [`Layout::critic_input`] of the team's one state, which every critic reads alike; none where agents have states of their own.
    pub fn shared_input(&self, pool: &Pool, side: &Side, joint: &[f32]) -> Option<Vec<f32>> {
        (self.team.state.rows(self.team.n()) == 1).then(|| self.critic_input(pool, side, &[0], joint))
    }

    /// Rows of a critic that reads no actions, `[state rows * rows, state]`.
    pub fn states(&self, side: &Side, state_rows: &[usize]) -> Vec<f32> {
        let rows = state_rows.iter().flat_map(|&k| (0..side.rows).map(move |b| self.state_row(side, k, b)));
        rows.flatten().copied().collect()
    }

    /// State row `k` (an EP state has one) of row `b` of the batch.
    fn state_row<'a>(&self, side: &'a Side, k: usize, b: usize) -> &'a [f32] {
        let row = self.team.state.row();
        &side.state[(self.team.state.row_of(k) * side.rows + b) * row..][..row]
    }
}

impl Side {
    /// Whether agent `i` is alive in row `b`.
    pub fn alive(&self, i: usize, b: usize) -> bool {
        self.alive[i * self.rows + b]
    }

    fn new(layout: &Layout, rows: usize) -> Self {
        let group = |g: &Group| Rows {
            x: vec![0.0; g.members.len() * rows * g.input],
            mask: vec![true; g.members.len() * rows * layout.team.mask_range(g.members[0]).len()],
            alive: vec![true; g.members.len() * rows],
        };
        Self {
            groups: layout.groups.iter().map(group).collect(),
            state: vec![0.0; layout.team.state_len() * rows],
            alive: vec![true; layout.team.n() * rows],
            rows,
        }
    }

    /// The work of filling it, a piece per member and state row.
    fn jobs<'a>(&'a mut self, layout: &'a Layout, replay: &'a Replay, at: &'a [Place]) -> Vec<Job<'a>> {
        let (rows, row) = (self.rows, layout.team.state.row());
        let mut jobs: Vec<Job<'a>> = Vec::new();
        for (group, into) in layout.groups.iter().zip(&mut self.groups) {
            let mask_len = layout.team.mask_range(group.members[0]).len();
            let alive = into.alive.chunks_mut(rows);
            let mut masks = into.mask.chunks_mut((rows * mask_len).max(1));
            for (m, (x, alive)) in into.x.chunks_mut(rows * group.input).zip(alive).enumerate() {
                let mask = masks.next().unwrap_or_default();
                let (agent, id) = (group.members[m], group.agent_id.then_some(m));
                jobs.push(Box::new(move || {
                    for (b, at) in at.iter().enumerate() {
                        let x = &mut x[b * group.input..(b + 1) * group.input];
                        match &group.graph {
                            None => fill_input(replay.obs(*at, agent), id, x),
                            Some(graph) => {
                                let (row, rest) = x.split_at_mut(graph.row_len());
                                graph.row(replay.team_obs(*at), agent, row);
                                fill_input(&[], id, rest);
                            }
                        }
                        let into = &mut mask[b * mask_len..(b + 1) * mask_len];
                        let masked = if layout.reset_masks { replay.after_reset(*at) } else { *at };
                        into.iter_mut().zip(replay.avail(masked, agent)).for_each(|(to, from)| *to = *from == 1);
                        alive[b] = replay.alive(*at, agent);
                    }
                }));
            }
        }
        for (k, into) in self.state.chunks_mut((rows * row).max(1)).enumerate() {
            jobs.push(Box::new(move || {
                into.chunks_exact_mut(row).zip(at).for_each(|(to, at)| to.copy_from_slice(replay.state(*at, k)));
            }));
        }
        for (i, into) in self.alive.chunks_mut(rows.max(1)).enumerate() {
            jobs.push(Box::new(move || into.iter_mut().zip(at).for_each(|(to, at)| *to = replay.alive(*at, i))));
        }
        jobs
    }
}

/// A piece of gathering: copies into memory of its own.
type Job<'a> = Box<dyn FnMut() + Send + 'a>;

impl Batch {
    /// Gathers the rows of a sample.
    pub fn gather(pool: &Pool, layout: &Layout, replay: &Replay, sample: Sample) -> Self {
        let rows = sample.at.len();
        let (mut now, mut next) = (Side::new(layout, rows), Side::new(layout, rows));
        let mut joint = vec![0.0; rows * layout.joint];
        let mut jobs = now.jobs(layout, replay, &sample.at);
        jobs.extend(next.jobs(layout, replay, &sample.next));
        jobs.push(Box::new(|| {
            for (at, row) in sample.at.iter().zip(joint.chunks_exact_mut(layout.joint)) {
                for (i, head) in layout.heads.iter().enumerate() {
                    let block = &mut row[layout.blocks[i].clone()];
                    if replay.alive(*at, i) {
                        head.encode(replay.action(*at, i), block);
                    } else {
                        block.copy_from_slice(layout.dead_block(i));
                    }
                }
            }
        }));
        pool.run(&mut jobs, |_, job| job());
        drop(jobs);
        Self { rows, now, next, joint, payments: sample.returns.len() / rows.max(1), sample }
    }

    /// Takes the n-step rewards of state row `k`, or the team's, into running statistics and scales them by these, where `counted`
    /// (`[rows]`) says so.
    pub fn scale(&mut self, k: usize, counted: &[bool], norm: &mut RewardNorm) {
        let mut column: Vec<f64> = self.sample.returns.iter().skip(k).step_by(self.payments).copied().map(f64::from).collect();
        norm.scale(k, &mut column, counted);
        let paid = self.sample.returns.iter_mut().skip(k).step_by(self.payments);
        paid.zip(column).for_each(|(to, from)| *to = from as f32);
    }

    /// The discount of what follows row `b`; 0 after a termination.
    pub fn discount(&self, b: usize) -> f32 {
        self.sample.discount[b]
    }

    /// The n-step reward of row `b` for state row `k`: its own, or the team's.
    pub fn payment(&self, b: usize, k: usize) -> f32 {
        self.sample.returns[b * self.payments + k.min(self.payments - 1)]
    }
}

//! A group's actor as a learner: its network, distribution and optimiser, and one guarded gradient step on picked rows.

use std::sync::Arc;

use motley_core::{Metrics, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_kernels::{Pool, RowLoss};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::dist::{Head, KlKind};
use crate::explore::Explore;
use crate::graph::Graph;
use crate::net::{Batch, Engine, Net, NetSpec};
use crate::objective::Objective;
use crate::optim::{Adam, AdamConfig, StepReport, UpdateError};
use crate::passes::NetWork;
use crate::pick::Pick;
use crate::policy::{ActingGroup, fill_shown};
use crate::weights::load_params;

mod loss;
mod tied;
mod value;

use loss::{ActorLoss, AllActionsLoss, Curvature, GivenGradient, STATS};
use tied::Picked;
pub use tied::{Besides, Outputs};
pub use value::ValueGoal;

/// One group of agents that share parameters (often one agent).
#[derive(Debug)]
pub struct Actor {
    /// For logs and tensor names: the agent, or the agents joined by `+`.
    pub name: String,
    /// Agents, in the team's order.
    pub members: Vec<usize>,
    /// Their network.
    pub net: Net,
    /// Their distribution.
    pub head: Head,
    /// What acts in the place of `net` where that has a second head.
    narrow: Option<Net>,
    agent_id: bool,
    memory_at: Vec<std::ops::Range<usize>>,
    /// The team as one agent, where this actor decides for all.
    whole: Option<Arc<TeamSpec>>,
    /// Whether the network's last output is the value of its row.
    valued: bool,
    adam: Adam,
    grad: Vec<f32>,
    work: NetWork,
    engine: Engine,
}

/// The group's rows of a rollout, member after member: row `m * rows + env * steps + time`.
#[derive(Debug)]
pub struct ActorRows {
    /// Rows per member, `envs * steps`.
    pub rows: usize,
    steps: usize,
    x: Vec<f32>,
    raw: Vec<f32>,
    mask: Vec<bool>,
    /// Log-probabilities when the actions were drawn, `[members * rows]`.
    pub old: Vec<f32>,
    /// Which rows count, `[members * rows]`.
    pub active: Vec<bool>,
}

/// What a gradient step climbs.
#[derive(Debug, Clone, Copy)]
pub struct Ascent<'a> {
    /// The surrogate.
    pub objective: &'a Objective,
    /// Its weight on every row, `[members * rows]`.
    pub weight: &'a [f32],
    /// Weight of the entropy bonus.
    pub entropy_coef: f32,
    /// Learning rate.
    pub lr: f64,
}

impl ActorRows {
    /// What was available to a row's agent.
    pub fn mask(&self, row: usize) -> &[bool] {
        let len = self.mask.len() / self.old.len();
        &self.mask[row * len..(row + 1) * len]
    }
}

impl Actor {
    /// A group's actor with initial parameters. `memory_at` is where the group's memory begins in an environment's.
    ///
    /// # Errors
    /// Members whose spaces differ; the text names them.
    #[allow(clippy::too_many_arguments, reason = "called in one place, which has all of them by name")]
    pub fn new(
        team: &TeamSpec,
        members: Vec<usize>,
        head: Head,
        mut spec: NetSpec,
        agent_id: bool,
        adam: AdamConfig,
        engine: Engine,
        memory_at: usize,
        rng: &Stream,
    ) -> Result<Self, String> {
        let first = &team.agents[members[0]];
        team.check_alike(&members)?;
        let agent_id = agent_id && members.len() > 1;
        spec.obs = first.obs.clone();
        spec.extra = if agent_id { members.len() } else { 0 };
        spec.output = head.outputs();
        spec.free = head.free_parameters();
        let net = Net::new(spec, rng);
        let width = net.memory_len();
        Ok(Self {
            name: team.names(&members),
            memory_at: (0..members.len()).map(|m| memory_at + m * width..memory_at + (m + 1) * width).collect(),
            adam: Adam::new(net.params().len(), adam),
            grad: vec![0.0; net.params().len()],
            work: NetWork::default(),
            engine,
            members,
            net,
            head,
            narrow: None,
            agent_id,
            whole: None,
            valued: false,
        })
    }

    /// The same actor, made for the only agent of [`TeamSpec::as_one`], deciding for the whole team that `one` stands for.
    pub fn for_all(self, one: Arc<TeamSpec>) -> Self {
        Self { whole: Some(one), ..self }
    }

    /// The team as one agent, where this actor decides for all: then its rows are joint ones, and it is its only member.
    pub fn whole(&self) -> Option<&Arc<TeamSpec>> {
        self.whole.as_ref()
    }

    /// The same actor with a network that hears its neighbours.
    pub fn on_graph(mut self, graph: Arc<Graph>, adam: AdamConfig, rng: &Stream) -> Self {
        self.net = Net::on_graph(self.net.spec().clone(), graph, rng);
        self.adam = Adam::new(self.net.params().len(), adam);
        self.grad = vec![0.0; self.net.params().len()];
        self
    }

    /// Where the group's memory ends in an environment's.
    pub fn memory_end(&self) -> usize {
        self.memory_at.last().map_or(0, |r| r.end)
    }

    /// A copy that acts with the present weights.
    pub fn acting(&self) -> ActingGroup {
        ActingGroup {
            members: self.members.clone(),
            net: self.deciding(),
            head: self.head.clone(),
            constants: Vec::new(),
            last_action: false,
            agent_id: self.agent_id,
            memory_at: self.memory_at.clone(),
            explore: Explore::Draw,
        }
    }

    /// The group's rows, gathered once per update.
    pub fn rows(&self, roll: &Rollout) -> ActorRows {
        let (rows, steps) = (roll.rows(), roll.steps());
        let team = self.whole.as_ref().unwrap_or(roll.team());
        let total = self.members.len() * rows;
        let (input, width, mask_len) = (self.net.input_len(), self.head.width(), team.mask_range(self.members[0]).len());
        let mut all = ActorRows {
            rows,
            steps,
            x: vec![0.0; total * input],
            raw: Vec::with_capacity(total * width),
            mask: Vec::with_capacity(total * mask_len),
            old: Vec::with_capacity(total),
            active: Vec::with_capacity(total),
        };
        for (m, &agent) in self.members.iter().enumerate() {
            // The agents for whom a row decides.
            let agents = if self.whole.is_some() { 0..roll.team().n() } else { agent..agent + 1 };
            for row in 0..rows {
                let (e, t) = roll.at(row);
                let (lane, at) = (&roll.lanes[e], (m * rows + row) * input);
                let obs = roll.all_obs(e, t);
                fill_shown(&self.net, team, obs, agent, self.agent_id.then_some(m), &mut all.x[at..at + input]);
                all.raw.extend_from_slice(&lane.actions[t * team.action_len()..][team.action_range(agent)]);
                all.mask.extend_from_slice(&lane.avail[t * team.mask_len()..][team.mask_range(agent)]);
                all.old.push(agents.clone().map(|i| roll.log_prob(e, t, i)).sum());
                all.active.push(agents.clone().any(|i| roll.active(e, t, i)));
            }
        }
        all
    }

    /// What the distribution reads of row `r` of the network's outputs.
    fn numbers<'a>(&self, out: &'a [f32], r: usize) -> &'a [f32] {
        &out[r * self.net.output_len()..][..self.head.outputs()]
    }

    /// Log-probabilities of the rollout's actions under the present weights, `[members * rows]`. A recurrent network runs over
    /// the whole rollout from its first memory.
    pub fn log_probs(&self, pool: &Pool, roll: &Rollout, all: &ActorRows) -> Vec<f32> {
        let out = self.outputs(pool, roll, all);
        let width = self.head.width();
        let mask_len = all.mask.len() / all.old.len();
        (0..all.old.len())
            .map(|r| {
                let mask = &all.mask[r * mask_len..(r + 1) * mask_len];
                let raw = &all.raw[r * width..(r + 1) * width];
                self.head.log_prob(self.numbers(&out, r), self.net.free(), mask, raw)
            })
            .collect()
    }

    /// Probability of every joint choice of discrete actions under the present weights, `[members * rows, joint choices]`; 0 where
    /// unavailable. Empty rows for boxes.
    pub fn probabilities(&self, pool: &Pool, roll: &Rollout, all: &ActorRows) -> Vec<f32> {
        let out = self.outputs(pool, roll, all);
        let choices = self.head.joint_choices();
        let mask_len = all.mask.len() / all.old.len();
        let mut into = vec![0.0; all.old.len() * choices];
        for (r, into) in into.chunks_exact_mut(choices.max(1)).enumerate() {
            let mask = &all.mask[r * mask_len..(r + 1) * mask_len];
            self.head.probabilities(self.numbers(&out, r), mask, into);
        }
        into
    }

    fn outputs(&self, pool: &Pool, roll: &Rollout, all: &ActorRows) -> Vec<f32> {
        let total = all.old.len();
        let mut out = vec![0.0; total * self.net.output_len()];
        if self.net.memory_len() == 0 {
            self.net.forward_all(pool, &all.x, total, &mut out);
            return out;
        }
        let lanes = || self.memory_at.iter().flat_map(|range| roll.lanes.iter().map(move |lane| (lane, range.clone())));
        let mut memory: Vec<f32> = lanes().flat_map(|(lane, range)| &lane.memory[range]).copied().collect();
        let starts = |sequence: usize, t: usize| roll.lanes[sequence % roll.envs()].first[t];
        self.net.run_sequences(pool, &all.x, all.steps, &starts, &mut memory, &mut out, None);
        out
    }

    /// One guarded step on the picked rows: minimises
    /// `-sum active (surrogate + entropy_coef H) / sum active`. A pick without active rows changes nothing.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`].
    pub fn step(
        &mut self,
        pool: &Pool,
        roll: &Rollout,
        all: &ActorRows,
        pick: &Pick,
        ascent: Ascent<'_>,
    ) -> Result<Metrics, UpdateError> {
        self.step_with(pool, roll, all, pick, ascent, Besides::Nothing)
    }

    /// One guarded step on the picked rows along the policy gradient summed over all discrete actions: minimises
    /// `-sum active (sum_a pi(a) values_a + entropy_coef H) / sum active`, `values` being `[members * rows, joint choices]` (see
    /// [`Head::joint_choices`]; those of unavailable actions are not read). A pick without active rows changes nothing.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`].
    #[allow(clippy::too_many_arguments, reason = "one row's inputs and the step's two numbers")]
    pub fn step_all_actions(
        &mut self,
        pool: &Pool,
        roll: &Rollout,
        all: &ActorRows,
        pick: &Pick,
        values: &[f32],
        entropy_coef: f32,
        lr: f64,
    ) -> Result<Metrics, UpdateError> {
        let picked = self.picked(roll, all, pick, &|r| all.active[r]);
        let indices = &picked.rows.indices;
        let count = indices.iter().filter(|r| all.active[**r]).count();
        if count == 0 {
            return Ok(Metrics::new());
        }
        let head = self.head.clone();
        let loss = AllActionsLoss { head: &head, all, indices, values, entropy_coef, scale: 1.0 / count as f32 };
        let stats = self.pull_back(pool, &picked, &loss);
        let report = self.take_step(lr)?;
        let mut m = Metrics::new();
        m.add("policy", -stats[0] / count as f64);
        m.add("entropy", stats[1] / count as f64);
        m.add("grad_norm", report.grad_norm);
        m.add("skipped_steps", f64::from(u8::from(!report.applied)));
        Ok(m)
    }

    /// One step along `self.grad`.
    fn take_step(&mut self, lr: f64) -> Result<StepReport, UpdateError> {
        self.net.step(&mut self.adam, &self.name, &self.grad, lr)
    }

    /// Whether a one-hot of the member follows the observation.
    pub fn agent_id(&self) -> bool {
        self.agent_id
    }

    /// One guarded step downhill along a row loss of a network without memory, on input rows `[rows, input]`; what the loss reported
    /// and what the step did.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`].
    pub fn descend(
        &mut self,
        pool: &Pool,
        x: &[f32],
        rows: usize,
        loss: &dyn RowLoss,
        lr: f64,
    ) -> Result<(Vec<f64>, StepReport), UpdateError> {
        let Self { net, grad, work, engine, .. } = self;
        let mut stats = vec![0.0; loss.stats_len()];
        net.loss_grad(engine, pool, Batch { x, rows, sequence: None }, loss, grad, &mut stats, work);
        Ok((stats, self.take_step(lr)?))
    }

    /// The mean surrogate over active rows and the divergence from `old`, under the present weights.
    pub fn surrogate_and_kl(
        &self,
        pool: &Pool,
        roll: &Rollout,
        all: &ActorRows,
        weight: &[f32],
        old: &OldPolicy,
        kl: KlKind,
    ) -> (f64, Divergence) {
        let out = self.outputs(pool, roll, all);
        let (output, width) = (self.net.output_len(), self.head.width());
        let mask_len = all.mask.len() / all.old.len();
        let (mut surrogate, mut divergence, mut count) = (0.0, Divergence::default(), 0usize);
        for r in (0..all.old.len()).filter(|r| all.active[*r]) {
            let (row, mask) = (r * output..(r + 1) * output, &all.mask[r * mask_len..(r + 1) * mask_len]);
            let log_prob = self.head.log_prob(&out[row.clone()], self.net.free(), mask, &all.raw[r * width..(r + 1) * width]);
            surrogate += f64::from(Objective::Ratio.term(log_prob, all.old[r], weight[r]).value);
            let kl = self.head.kl(&old.out[row.clone()], &old.free, &out[row], self.net.free(), mask, kl);
            divergence.mean += kl;
            divergence.max = larger(divergence.max, kl);
            count += 1;
        }
        divergence.mean /= count.max(1) as f64;
        (surrogate / count.max(1) as f64, divergence)
    }

    /// Outputs and free parameters under the present weights, to measure divergences from.
    pub fn old_policy(&self, pool: &Pool, roll: &Rollout, all: &ActorRows) -> OldPolicy {
        OldPolicy { out: self.outputs(pool, roll, all), free: self.net.free().to_vec() }
    }

    /// Gradient of the mean surrogate `r w` over active rows with respect to all parameters (no entropy), at the present weights.
    pub fn surrogate_gradient(&mut self, pool: &Pool, roll: &Rollout, all: &ActorRows, pick: &Pick, weight: &[f32]) -> Vec<f32> {
        let ascent = Ascent { objective: &Objective::Ratio, weight, entropy_coef: 0.0, lr: 0.0 };
        self.gradient(pool, roll, all, pick, ascent, Besides::Nothing);
        self.grad.iter().map(|g| -g).collect()
    }

    /// `F v`: the Fisher information of the policy at the present weights times a vector, undamped, as
    /// `J^T M J v` with the distribution's own curvature `M` and no second derivatives. `J v` is the forward-mode product (in one pass with
    /// the rest for plain networks), recurrent networks cut off where the pick cuts them; a central difference of two passes for
    /// convolutions and messages.
    pub fn fisher_product(
        &mut self,
        pool: &Pool,
        roll: &Rollout,
        all: &ActorRows,
        pick: &Pick,
        old: &OldPolicy,
        v: &[f32],
        kl: KlKind,
    ) -> Vec<f32> {
        let network = self.net.params().len() - old.free.len();
        let picked = self.picked(roll, all, pick, &|r| all.active[r]);
        let count = all.active.iter().filter(|a| **a).count().max(1);
        let head = self.head.clone();
        let curvature = Curvature { head: &head, all, indices: &picked.rows.indices, old, kind: kl, scale: 1.0 / count as f32 };
        let Self { net, grad, work, engine, .. } = self;
        if !net.gauss_newton(engine, pool, &v[..network], picked.batch(), &curvature, grad, work) {
            let width = self.net.output_len();
            let tangent = self.output_tangent(pool, roll, all, &picked, &v[..network]);
            let mut d_out = vec![0.0; tangent.len()];
            curvature.rows(0, &tangent, &mut d_out, &mut []);
            self.pull_back(pool, &picked, &GivenGradient { d_out, width });
        }
        let mut product = self.grad.clone();
        for (k, x) in product[network..].iter_mut().enumerate() {
            *x = self.head.free_curvature(&old.free, k) * v[network + k];
        }
        product
    }

    /// `J v` of the picked rows, `[picked rows, output]`.
    fn output_tangent(&mut self, pool: &Pool, roll: &Rollout, all: &ActorRows, picked: &Picked<'_>, v: &[f32]) -> Vec<f32> {
        if let Some(moved) = self.net.jvp(pool, v, picked.batch(), &mut self.work) {
            return moved;
        }
        let width = self.net.output_len();
        let norm = v.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return vec![0.0; picked.rows.indices.len() * width];
        }
        let step = (1e-2 / norm) as f32;
        let held = self.net.params().to_vec();
        let mut at = |sign: f32| {
            self.net.set_params(|p| p.iter_mut().zip(held.iter().zip(v)).for_each(|(p, (h, v))| *p = h + sign * step * v));
            self.outputs(pool, roll, all)
        };
        let (up, down) = (at(1.0), at(-1.0));
        self.net.set_params(|p| p.copy_from_slice(&held));
        let moved: Vec<f32> = up.iter().zip(&down).map(|(u, d)| (u - d) / (2.0 * step)).collect();
        gather(&moved, width, &picked.rows.indices)
    }

    /// Writes weights and optimiser.
    pub fn save(&self, w: &mut StateWriter) {
        w.put_f32("params", self.net.params());
        self.adam.save(&mut w.scope("adam"));
    }

    /// Reads weights and optimiser.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        load_params(&mut self.net, r, "params")?;
        self.adam.load(&r.scope("adam"))
    }
}

/// Rows of `width` numbers in the order of `indices`.
pub(crate) fn gather(from: &[f32], width: usize, indices: &[usize]) -> Vec<f32> {
    let mut into = Vec::with_capacity(indices.len() * width);
    for &r in indices {
        into.extend_from_slice(&from[r * width..(r + 1) * width]);
    }
    into
}

/// A policy frozen as what its network put out on every row, `[members * rows, output]`, and its free parameters.
#[derive(Debug, Clone)]
pub struct OldPolicy {
    out: Vec<f32>,
    free: Vec<f32>,
}

/// `KL(pi_old || pi)` over the active rows of a rollout.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Divergence {
    /// The mean: what an expected ball bounds.
    pub mean: f64,
    /// The largest: what a state-wise ball bounds.
    pub max: f64,
}

/// The larger of two, NaN if either is (`f64::max` would forget it).
fn larger(a: f64, b: f64) -> f64 {
    if b.is_nan() || b > a { b } else { a }
}

fn describe(stats: &[f64], count: f64, grad_norm: f64, applied: bool) -> Metrics {
    let mut m = Metrics::new();
    m.add("policy", -stats[0] / count);
    m.add("entropy", stats[1] / count);
    m.add("kl", stats[2] / count);
    m.add("clip_fraction", stats[3] / count);
    m.add("clamped_ratios", stats[4]);
    m.add("ratio", stats[5] / count);
    m.add("grad_norm", grad_norm);
    m.add("skipped_steps", f64::from(u8::from(!applied)));
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_never_forgets_what_is_no_number() {
        let of = |kls: &[f64]| kls.iter().copied().fold(0.0, larger);
        assert_eq!(of(&[0.1, 0.3, 0.2]), 0.3);
        for at in 0..3 {
            let mut kls = [0.1, 0.3, 0.2];
            kls[at] = f64::NAN;
            assert!(of(&kls).is_nan(), "at {at}");
        }
    }
}

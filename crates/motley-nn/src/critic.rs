//! State-value critics: who reads what, values of a whole rollout, and the clipped, normalised regression.

use std::sync::Arc;

use motley_core::{Kind, Metrics, ObsSpace, StateSpace, Stream, TeamSpec, settings};
use motley_data::minibatch::Chunk;
use motley_data::rollout::Rollout;
use motley_kernels::{Pool, RowLoss};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::actor::gather;
use crate::graph::Graph;
use crate::net::{Batch, Engine, Net, NetScratch, NetSpec, Sequence};
use crate::objective::{Regression, value_term};
use crate::optim::{Adam, AdamConfig, UpdateError};
use crate::passes::NetWork;
use crate::pick::{Cut, Pick};
use crate::policy::{fill_input, fill_shown};
use crate::target::Target;
use crate::value_norm::{ValueNorm, pop_art};
use crate::weights::load_params;

settings! {
    /// Settings of a [`Critic`].
    pub struct CriticConfig in "algo" {
        /// Learning rate of the critic.
        critic_lr: f64 = 5e-4, Kind::Float(0.0, 1.0);
        /// Passes of the critic over each rollout.
        critic_epochs: usize = 5, Kind::Int(1, 1000);
        /// Minibatches per critic pass.
        critic_minibatches: usize = 1, Kind::Int(1, 100_000);
        /// `huber` or `squared` error of the value.
        value_loss: String = "huber", Kind::Choice(&["huber", "squared"]);
        /// Threshold of the Huber loss, in units of normalised returns.
        huber_delta: f64 = 10.0, Kind::Float(1e-6, 1e9);
        /// Clip range of the value's move within one update, in normalised units; 0 switches it off.
        value_clip: f64 = 0.2, Kind::Float(0.0, 1e9);
        /// Weight of the value loss.
        value_coef: f64 = 1.0, Kind::Float(0.0, 1e6);
        /// `running` normalises targets, `popart` also preserves outputs, `none` leaves returns as they are.
        value_norm: String = "running", Kind::Choice(&["running", "popart", "none"]);
        /// Target network for bootstrapped values: 0 none, below 1 the soft step per update, from 1 on a copy every that many updates.
        target_update: f64 = 0.0, Kind::Float(0.0, 1e9);
        /// Whether an agent's values end at its death where agents are paid apart and critics have a row per agent (FP state,
        /// observations). A team that is paid together is paid for what the dead did, so there values follow them in any case.
        mask_dead: bool = true, Kind::Bool;
        /// Before the first statistics: `identity`, or the reference's factor of 0.1 (`harl`).
        value_norm_start: String = "identity", Kind::Choice(&["identity", "harl"]);
    }
}

/// What a critic reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The state: one row a step (EP), or one per agent (FP).
    State,
    /// The team's one state (EP) beside a one-hot of the agent: a value per agent.
    EachState,
    /// Each agent's own observation: independent learning.
    Obs,
}

impl CriticConfig {
    /// The loss of one value, and the clip range of its move (infinite without one).
    pub(crate) fn regression(&self) -> (Regression, f32) {
        let regression = match self.value_loss.as_str() {
            "squared" => Regression::Squared,
            _ => Regression::Huber { delta: self.huber_delta as f32 },
        };
        (regression, if self.value_clip > 0.0 { self.value_clip as f32 } else { f32::INFINITY })
    }
}

/// One value network and the critic rows (agents, or the one EP row) that it serves.
#[derive(Debug)]
pub struct Critic {
    name: String,
    source: Source,
    members: Vec<usize>,
    /// Whether a row belongs to an agent, and counts only while it lives.
    mask_dead: bool,
    agent_id: bool,
    config: CriticConfig,
    net: Net,
    /// What bootstrapped values come from, where not the network itself.
    target: Option<Target>,
    adam: Adam,
    norm: ValueNorm,
    /// Memory at the start of the next rollout, `[members, envs, memory]`.
    carry: Vec<f32>,
    grad: Vec<f32>,
    work: NetWork,
    engine: Engine,
}

/// Values of a rollout, member after member: row `m * rows + env * steps + time`. In the network's (normalised) units.
#[derive(Debug)]
pub struct Values {
    x: Vec<f32>,
    /// V(s_t).
    pub here: Vec<f32>,
    /// Value of the state that followed step t: the next slot's, or the true final state's where the episode ended.
    pub next: Vec<f32>,
    /// Recurrent memory before each step, `[members * rows, memory]`.
    memory: Vec<f32>,
    /// Value norm when they were computed.
    norm: ValueNorm,
}

impl Values {
    /// Values in the units of the rewards, of a network that remembers and normalises nothing.
    pub(crate) fn plain(here: Vec<f32>, next: Vec<f32>) -> Self {
        Self { x: Vec::new(), here, next, memory: Vec::new(), norm: ValueNorm::new(false) }
    }

    /// `here` in the units of the rewards.
    pub fn denormalized(&self) -> Vec<f32> {
        self.here.iter().map(|v| self.norm.denormalize(*v)).collect()
    }

    /// `next` in the units of the rewards.
    pub fn next_denormalized(&self) -> Vec<f32> {
        self.next.iter().map(|v| self.norm.denormalize(*v)).collect()
    }
}

impl Critic {
    /// A critic for the critic rows `members` (agents; `[0]` for EP).
    ///
    /// # Errors
    /// Members whose observations differ in shape.
    #[allow(clippy::too_many_arguments, reason = "called in one place, which has all of them by name")]
    pub fn new(
        team: &TeamSpec,
        source: Source,
        members: Vec<usize>,
        mut spec: NetSpec,
        agent_id: bool,
        config: CriticConfig,
        adam: AdamConfig,
        engine: Engine,
        rng: &Stream,
    ) -> Result<Self, String> {
        let agent_id = (agent_id || source == Source::EachState) && members.len() > 1;
        spec.obs = match source {
            Source::State | Source::EachState => ObsSpace::vector(team.state.row()),
            Source::Obs => {
                let first = &team.agents[members[0]];
                if let Some(odd) = members.iter().map(|&i| &team.agents[i]).find(|a| a.obs.shape != first.obs.shape) {
                    return Err(format!(
                        "agents \"{}\" and \"{}\" cannot share a critic: their observations are {:?} and {:?}",
                        first.name, odd.name, first.obs.shape, odd.obs.shape
                    ));
                }
                first.obs.clone()
            }
        };
        spec.extra = if agent_id { members.len() } else { 0 };
        (spec.output, spec.output_gain, spec.free) = (1, 1.0, Vec::new());
        let net = Net::new(spec, rng);
        let name = match (source, team.state) {
            (Source::State, StateSpace::Ep(_)) => "critic".to_owned(),
            _ => format!("critic of {}", team.names(&members)),
        };
        Ok(Self {
            name,
            mask_dead: config.mask_dead && !(source == Source::State && matches!(team.state, StateSpace::Ep(_))),
            source,
            members,
            agent_id,
            norm: ValueNorm::new(config.value_norm_start == "harl"),
            target: (config.target_update > 0.0).then(|| Target::new(net.clone(), config.target_update)),
            adam: Adam::new(net.params().len(), adam),
            grad: vec![0.0; net.params().len()],
            carry: Vec::new(),
            work: NetWork::default(),
            engine,
            net,
            config,
        })
    }

    /// The critic rows that it serves.
    pub fn members(&self) -> &[usize] {
        &self.members
    }

    /// Its network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Its network, to change it before training.
    pub fn net_mut(&mut self) -> &mut Net {
        &mut self.net
    }

    /// The same critic with a network that hears its agent's neighbours.
    pub fn on_graph(mut self, graph: Arc<Graph>, adam: AdamConfig, rng: &Stream) -> Self {
        self.net = Net::on_graph(self.net.spec().clone(), graph, rng);
        self.target = self.target.map(|_| Target::new(self.net.clone(), self.config.target_update));
        self.adam = Adam::new(self.net.params().len(), adam);
        self.grad = vec![0.0; self.net.params().len()];
        self
    }

    /// Member `m`'s input row from a moment's observations and state.
    fn read(&self, team: &TeamSpec, obs: &[f32], state: &[f32], m: usize, into: &mut [f32]) {
        let (k, one_hot) = (self.members[m], self.agent_id.then_some(m));
        match self.source {
            Source::State => fill_input(&state[k * team.state.row()..(k + 1) * team.state.row()], one_hot, into),
            Source::EachState => fill_input(&state[..team.state.row()], one_hot, into),
            Source::Obs => fill_shown(&self.net, team, obs, k, one_hot, into),
        }
    }

    /// Member `m`'s input row of a slot.
    fn read_slot(&self, roll: &Rollout, e: usize, t: usize, m: usize, into: &mut [f32]) {
        let len = roll.team().state_len();
        self.read(roll.team(), roll.all_obs(e, t), &roll.lanes[e].state[t * len..(t + 1) * len], m, into);
    }

    /// Values of every step and of what followed it, with the present weights.
    pub fn values(&mut self, pool: &Pool, roll: &Rollout) -> Values {
        let (rows, steps, envs, input) = (roll.rows(), roll.steps(), roll.envs(), self.net.input_len());
        let (total, width) = (self.members.len() * rows, self.net.memory_len());
        let passes = self.members.len() * envs;
        let mut all = Values {
            x: vec![0.0; total * input],
            here: vec![0.0; total],
            next: vec![0.0; total],
            memory: vec![0.0; total * width],
            norm: self.norm.clone(),
        };
        for (r, x) in all.x.chunks_exact_mut(input).enumerate() {
            let (e, t) = roll.at(r % rows);
            self.read_slot(roll, e, t, r / rows, x);
        }
        if self.carry.len() != passes * width {
            self.carry = vec![0.0; passes * width];
        }
        if width == 0 {
            self.net.forward_all(pool, &all.x, total, &mut all.here);
        } else {
            let starts = |pass: usize, t: usize| roll.lanes[pass % envs].first[t];
            self.net.run_sequences(pool, &all.x, steps, &starts, &mut self.carry, &mut all.here, Some(&mut all.memory));
        }
        let critic = &*self;
        let mut parts: Vec<&mut [f32]> = all.next.chunks_mut(steps).collect();
        let (x, here, memory) = (&all.x, &all.here, &all.memory);
        pool.run(&mut parts, |pass, next| {
            let rows = pass * steps..(pass + 1) * steps;
            let seen = Seen {
                x: &x[rows.start * input..rows.end * input],
                here: &here[rows.clone()],
                memory: &memory[rows.start * width..rows.end * width],
                carry: &critic.carry[pass * width..(pass + 1) * width],
            };
            critic.followers(roll, pass / envs, pass % envs, seen, next);
        });
        // An episode that starts in the next rollout's first slot starts with empty memory.
        for (pass, carry) in self.carry.chunks_exact_mut(width.max(1)).enumerate().take(if width == 0 { 0 } else { passes }) {
            if roll.lanes[pass % envs].first[steps] {
                carry.fill(0.0);
            }
        }
        all
    }

    /// Values of what followed each step of one environment, for member `m`.
    fn followers(&self, roll: &Rollout, m: usize, e: usize, seen: Seen<'_>, next: &mut [f32]) {
        let (steps, input, width) = (roll.steps(), self.net.input_len(), self.net.memory_len());
        let lane = &roll.lanes[e];
        let bootstrap = self.target.as_ref().map_or(&self.net, Target::net);
        let mut scratch = NetScratch::default();
        let mut there = seen.here.to_vec();
        if self.target.is_some() {
            bootstrap.forward(seen.x, steps, &mut [], &mut there, &mut scratch);
        }
        let mut x = vec![0.0; input];
        let mut value = [0.0];
        let mut memory = if lane.first[steps] { vec![0.0; width] } else { seen.carry.to_vec() };
        self.read_slot(roll, e, steps, m, &mut x);
        bootstrap.forward(&x, 1, &mut memory, &mut value, &mut scratch);
        next[..steps - 1].copy_from_slice(&there[1..]);
        next[steps - 1] = value[0];
        for end in &lane.finals {
            // The true final state is valued with the memory carried through the last step, before the reset clears it.
            let t = end.time;
            memory.copy_from_slice(&seen.memory[t * width..(t + 1) * width]);
            if width > 0 {
                self.net.forward(&seen.x[t * input..(t + 1) * input], 1, &mut memory, &mut value, &mut scratch);
            }
            self.read(roll.team(), &end.obs, &end.state, m, &mut x);
            bootstrap.forward(&x, 1, &mut memory, &mut value, &mut scratch);
            next[t] = value[0];
        }
    }

    /// Fits the values to `targets` (`[members * rows]`, in the units of the rewards) in several passes.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn fit(
        &mut self,
        pool: &Pool,
        roll: &Rollout,
        values: &Values,
        targets: &[f32],
        chunk: usize,
        lr: f64,
        rng: &Stream,
    ) -> Result<Metrics, UpdateError> {
        let cut = Cut { minibatches: self.config.critic_minibatches, chunk: if self.net.memory_len() > 0 { chunk } else { 0 } };
        let mut metrics = Metrics::new();
        for epoch in 0..self.config.critic_epochs {
            for pick in cut.pass(roll.envs(), roll.steps(), rng.fork(epoch as u64))? {
                metrics.merge("", &self.step(pool, roll, values, targets, &pick, lr)?);
            }
        }
        if let Some(target) = &mut self.target {
            target.follow(&self.net);
        }
        Ok(metrics)
    }

    fn step(
        &mut self,
        pool: &Pool,
        roll: &Rollout,
        values: &Values,
        targets: &[f32],
        pick: &Pick,
        lr: f64,
    ) -> Result<Metrics, UpdateError> {
        let counts = |r: usize| {
            let (e, t) = roll.at(r % roll.rows());
            if self.mask_dead { roll.active(e, t, self.members[r / roll.rows()]) } else { roll.lanes[e].valid[t] }
        };
        let rows = pick.rows(self.members.len(), roll.rows(), roll.steps(), &counts);
        let indices = &rows.indices;
        let weight: Vec<f32> = indices.iter().map(|r| f32::from(u8::from(counts(*r)))).collect();
        let kept: Vec<f32> = indices.iter().zip(&weight).filter(|(_, w)| **w > 0.0).map(|(r, _)| targets[*r]).collect();
        if kept.is_empty() {
            return Ok(Metrics::new());
        }
        self.learn_norm(&kept);
        let pop_art = self.config.value_norm == "popart";
        let normalise = self.config.value_norm != "none";
        let goal: Vec<f32> =
            indices.iter().map(|r| if normalise { self.norm.normalize(targets[*r]) } else { targets[*r] }).collect();
        let old: Vec<f32> = indices
            .iter()
            .map(|r| if pop_art { self.norm.normalize(values.norm.denormalize(values.here[*r])) } else { values.here[*r] })
            .collect();
        let scale = self.config.value_coef as f32 / kept.len() as f32;
        let loss = ValueLoss { goal: &goal, old: &old, weight: &weight, scale, config: &self.config };
        let (held, x);
        if *pick == Pick::All && indices.len() == values.here.len() {
            x = &values.x;
        } else {
            held = gather(&values.x, self.net.input_len(), indices);
            x = &held;
        }
        let (mut memory, mut first) = (Vec::new(), Vec::new());
        if let Some(&count) = rows.active.first() {
            memory = gather(&values.memory, self.net.memory_len(), &indices[..count]);
            for (l, count) in rows.active.iter().enumerate() {
                let begins = |(_, c): &(usize, Chunk)| roll.lanes[c.env as usize].first[c.start as usize + l];
                first.extend(rows.sequences[..*count].iter().map(begins));
            }
        }
        let sequence = (!rows.active.is_empty()).then_some(Sequence { active: &rows.active, memory: &memory, first: &first });
        let mut stats = [0.0; 1];
        let batch = Batch { x, rows: indices.len(), sequence };
        self.net.loss_grad(&self.engine, pool, batch, &loss, &mut self.grad, &mut stats, &mut self.work);
        let report = self.net.step(&mut self.adam, &self.name, &self.grad, lr)?;
        let mut m = Metrics::new();
        m.add("value", stats[0] / kept.len() as f64);
        m.add("grad_norm", report.grad_norm);
        m.add("skipped_steps", f64::from(u8::from(!report.applied)));
        Ok(m)
    }

    /// Moves the statistics with a batch of targets; PopArt then keeps the outputs where they were.
    fn learn_norm(&mut self, targets: &[f32]) {
        if self.config.value_norm == "none" {
            return;
        }
        let before = self.norm.moments();
        if self.norm.update(targets) && self.config.value_norm == "popart" {
            let after = self.norm.moments();
            let find = |name: &str| self.net.entry(name).map(crate::net::Entry::range);
            if let (Some(weight), Some(bias)) = (find("output.weight"), find("output.bias")) {
                // A target's outputs are read in the same units.
                for net in [Some(&mut self.net), self.target.as_mut().map(Target::net_mut)].into_iter().flatten() {
                    net.set_params(|params| {
                        let (head, tail) = params.split_at_mut(bias.start);
                        pop_art(&mut head[weight.clone()], &mut tail[..bias.end - bias.start], before, after);
                    });
                }
            }
        }
    }

    /// Writes weights, optimiser, statistics and memory.
    pub fn save(&self, w: &mut StateWriter) {
        w.put_f32("params", self.net.params());
        w.put_f32("carry", &self.carry);
        if let Some(target) = &self.target {
            target.save(w);
        }
        self.norm.save(w);
        self.adam.save(&mut w.scope("adam"));
    }

    /// Reads weights, optimiser, statistics and memory.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        load_params(&mut self.net, r, "params")?;
        self.carry = r.f32s("carry")?;
        if let Some(target) = &mut self.target {
            target.load(r)?;
        }
        self.norm.load(r)?;
        self.adam.load(&r.scope("adam"))
    }
}

/// What is known of one environment's steps when their followers are valued.
#[derive(Clone, Copy)]
struct Seen<'a> {
    x: &'a [f32],
    here: &'a [f32],
    memory: &'a [f32],
    carry: &'a [f32],
}

struct ValueLoss<'a> {
    goal: &'a [f32],
    old: &'a [f32],
    weight: &'a [f32],
    scale: f32,
    config: &'a CriticConfig,
}

impl RowLoss for ValueLoss<'_> {
    fn stats_len(&self) -> usize {
        1
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        let (regression, clip) = self.config.regression();
        for (k, (v, d)) in out.iter().zip(d_out).enumerate() {
            let r = start + k;
            let (value, slope) = value_term(regression, *v, self.old[r], self.goal[r], clip);
            *d = self.scale * self.weight[r] * slope;
            stats[0] += f64::from(value * self.weight[r]);
        }
    }
}

#[cfg(test)]
mod tests {
    use motley_core::{ActionSpace, AgentSpec, Purpose, Settings};
    use motley_kernels::Activation;

    use super::*;
    use crate::init::Init;

    /// Moving statistics leave what the network and its target say in the units of the rewards.
    #[test]
    fn pop_art_preserves_the_outputs_of_the_target_too() {
        let agent = AgentSpec::new("a", "kind", ObsSpace::vector(3), ActionSpace::Discrete(2));
        let team = TeamSpec::new("test/one", vec![agent]);
        let config = CriticConfig::read(&Settings::new(CriticConfig::keys())).unwrap();
        let config = CriticConfig { value_norm: "popart".into(), target_update: 100.0, ..config };
        let rng = Stream::new(3, Purpose::Check, 0, 0);
        let spec = NetSpec {
            obs: ObsSpace::vector(3),
            extra: 0,
            hidden_sizes: vec![8],
            activation: Activation::Relu,
            last_activation: None,
            feature_norm: true,
            layer_norm: true,
            recurrent: false,
            output: 1,
            output_gain: 1.0,
            init: Init::Orthogonal,
            free: Vec::new(),
        };
        let (adam, engine) = (AdamConfig::read(&Settings::new(AdamConfig::keys())).unwrap(), Engine::default());
        let mut critic = Critic::new(&team, Source::Obs, vec![0], spec, false, config, adam, engine, &rng).unwrap();
        let said = |critic: &Critic| -> Vec<f32> {
            let target = critic.target.as_ref().map(Target::net).unwrap();
            let one = |net: &Net| {
                let mut out = [0.0];
                net.forward(&[0.3, -1.0, 2.0], 1, &mut [], &mut out, &mut NetScratch::default());
                critic.norm.denormalize(out[0])
            };
            vec![one(&critic.net), one(target)]
        };
        critic.learn_norm(&[1.0, 2.0, 4.0]);
        let before = said(&critic);
        critic.learn_norm(&[50.0, -30.0, 80.0]);
        for (b, a) in before.iter().zip(said(&critic)) {
            assert!((b - a).abs() < 1e-3 * (1.0 + b.abs()), "{b} became {a}");
        }
    }
}

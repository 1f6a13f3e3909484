//! Acting: plain slices in, plain slices out; on the CPU no tensors, and no allocation once scratch memory has grown.

use std::ops::Range;
use std::sync::Arc;

use motley_core::{Lift, Stream, TeamSpec};
use thiserror::Error;

use burn::tensor::Device;

use crate::burn_net::Resident;
use crate::dist::Head;
use crate::explore::Explore;
use crate::net::{Engine, Net, NetScratch};

/// How an output becomes an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As the group explores: collection.
    Explore,
    /// Draw from the distribution; the best action of policies that have none ([`Explore::draws`]): stochastic evaluation.
    Sample,
    /// The mode of the distribution: evaluation.
    Greedy,
}

/// What several copies of an environment show now.
#[derive(Debug, Clone, Copy)]
pub struct ObsBatch<'a> {
    /// Number of copies.
    pub envs: usize,
    /// `[envs, obs_len]`
    pub obs: &'a [f32],
    /// `[envs, mask_len]`
    pub avail: &'a [bool],
}

/// What the team decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// Raw actions, `[envs, action_len]`: what a rollout stores.
    pub raw: Vec<f32>,
    /// Actions in the environment's units, `[envs, action_len]`.
    pub env: Vec<f32>,
    /// Joint log-probability of each agent's action, `[envs, agents]`.
    pub log_probs: Vec<f32>,
    /// Whose network put out what is not finite, the first one. Looked for in evaluation alone: what is collected meets the learner's
    /// own gates.
    pub not_finite: Option<String>,
}

/// Input of the wrong size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}: expected {expected} numbers for {envs} environments, found {found}")]
pub struct ActError {
    /// Which input.
    pub what: &'static str,
    /// Environments in the batch.
    pub envs: usize,
    /// Numbers that the team needs.
    pub expected: usize,
    /// Numbers given.
    pub found: usize,
}

/// A team that acts. Weights are packed when it is built; it is rebuilt after each update.
pub trait Policy: Send + Sync {
    /// The team that it was made for.
    fn team(&self) -> &Arc<TeamSpec>;

    /// Recurrent numbers per environment; all zero at the start of an episode.
    fn memory_len(&self) -> usize;

    /// Whether it wants to be asked for all environments together, as networks on a device do.
    fn wants_all(&self) -> bool {
        false
    }

    /// Decides for every agent of every environment. `memory` is `[envs, memory_len]` and advances one step; `rng` is one
    /// stream per environment, already forked for this step.
    ///
    /// # Errors
    /// Slices of the wrong size.
    fn act(
        &self,
        batch: ObsBatch<'_>,
        memory: &mut [f32],
        mode: Mode,
        rng: &[Stream],
        out: &mut Decision,
        scratch: &mut ActScratch,
    ) -> Result<(), ActError>;
}

/// Reusable memory of one acting thread.
#[derive(Debug, Default)]
pub struct ActScratch {
    net: NetScratch,
    x: Vec<f32>,
    out: Vec<f32>,
    memory: Vec<f32>,
    shown: Vec<f32>,
    lifted_obs: Vec<f32>,
    lifted_avail: Vec<bool>,
}

/// One group's network, ready to act.
#[derive(Debug, Clone)]
pub struct ActingGroup {
    /// Agents that it acts for.
    pub members: Vec<usize>,
    /// Their network.
    pub net: Net,
    /// Their distribution.
    pub head: Head,
    /// Numbers that follow every observation, the same for all members (what the policy tells about itself).
    pub constants: Vec<f32>,
    /// Whether the member's last action follows, encoded as [`Head::encode`] says; zeros at the start of an episode.
    pub last_action: bool,
    /// Whether a one-hot of the agent comes last.
    pub agent_id: bool,
    /// Where each member's memory lies in an environment's: the network's, then the last action where it is an input.
    pub memory_at: Vec<Range<usize>>,
    /// How [`Mode::Explore`] explores.
    pub explore: Explore,
}

impl ActingGroup {
    /// One input row: observation (or row of the graph), constants, last action, the member's one-hot. `memory` is the member's.
    pub fn input(&self, obs: &[f32], memory: &[f32], member: usize, into: &mut [f32]) {
        let (shown, rest) = into.split_at_mut(obs.len() + self.constants.len());
        fill_input(obs, None, &mut shown[..obs.len()]);
        shown[obs.len()..].copy_from_slice(&self.constants);
        fill_input(&memory[self.net.memory_len()..], self.agent_id.then_some(member), rest);
    }

    /// Entries of an input row behind the observation.
    pub fn extra(&self) -> usize {
        let last = if self.last_action { self.head.block() } else { 0 };
        self.constants.len() + last + if self.agent_id { self.members.len() } else { 0 }
    }

    /// Recurrent numbers per member.
    pub fn memory_width(&self) -> usize {
        self.net.memory_len() + if self.last_action { self.head.block() } else { 0 }
    }
}

/// Copies an observation and appends a one-hot where an index is given.
pub fn fill_input(obs: &[f32], one_hot: Option<usize>, into: &mut [f32]) {
    let (head, tail) = into.split_at_mut(obs.len());
    head.copy_from_slice(obs);
    tail.fill(0.0);
    if let Some(k) = one_hot {
        tail[k] = 1.0;
    }
}

/// What a network shows itself of an environment's observations: the agent's own, or its row of a communication graph.
pub(crate) fn fill_shown(net: &Net, team: &TeamSpec, obs: &[f32], agent: usize, one_hot: Option<usize>, into: &mut [f32]) {
    match net.graph() {
        None => fill_input(&obs[team.obs_range(agent)], one_hot, into),
        Some(graph) => {
            let (row, rest) = into.split_at_mut(graph.row_len());
            graph.row(obs, agent, row);
            fill_input(&[], one_hot, rest);
        }
    }
}

/// The policy of a team of groups.
#[derive(Debug, Clone)]
pub struct TeamPolicy {
    team: Arc<TeamSpec>,
    /// Those who decide: the team's agents, one for all of them, or the team in a unified space.
    deciders: Arc<TeamSpec>,
    groups: Vec<ActingGroup>,
    memory_len: usize,
    /// Where the groups act in a unified space: the way there and back.
    lift: Option<Arc<Lift>>,
    /// The groups' networks on a device, one each; none on the CPU.
    there: Vec<Resident>,
}

impl TeamPolicy {
    /// From groups whose memory lies one after the other.
    pub fn new(team: Arc<TeamSpec>, groups: Vec<ActingGroup>) -> Self {
        let memory_len = groups.iter().flat_map(|g| &g.memory_at).map(|r| r.end).max().unwrap_or(0);
        Self { deciders: Arc::clone(&team), team, groups, memory_len, lift: None, there: Vec::new() }
    }

    /// One network decides for all agents from all observations: `groups` are those of `one`, which is the team's
    /// [`TeamSpec::as_one`]. The joint action's log-probability stands with agent 0, the others have 0.
    pub fn central(team: Arc<TeamSpec>, one: Arc<TeamSpec>, groups: Vec<ActingGroup>) -> Self {
        Self { deciders: one, ..Self::new(team, groups) }
    }

    /// Whether one network decides for all agents: then its only group stands for the team as one agent.
    pub fn is_central(&self) -> bool {
        self.lift.is_none() && !Arc::ptr_eq(&self.team, &self.deciders)
    }

    /// Those whom the groups' members number: the team's agents, the one that decides for all, or the team in a unified space.
    pub fn deciders(&self) -> &Arc<TeamSpec> {
        &self.deciders
    }

    /// This policy of a lift's unified team as one of the task's.
    pub fn lifted(self, lift: Arc<Lift>) -> Self {
        Self { team: Arc::clone(lift.team()), lift: Some(lift), ..self }
    }

    /// This policy in a team of the same agents whose episodes may be of another length, or paid otherwise.
    pub fn in_team(self, team: Arc<TeamSpec>) -> Self {
        let deciders = if Arc::ptr_eq(&self.team, &self.deciders) { Arc::clone(&team) } else { self.deciders };
        Self { team, deciders, ..self }
    }

    /// This policy with its networks where the engine's gradients are computed, if that is not the CPU.
    pub fn on(self, engine: &Engine) -> Self {
        match engine.acts_on() {
            Some(device) => self.on_device(device),
            None => self,
        }
    }

    /// This policy with its networks on `device`.
    pub fn on_device(mut self, device: &Device) -> Self {
        self.there = self.groups.iter().map(|g| Resident::new(&g.net, device)).collect();
        self
    }

    /// The way to the unified space in which the groups act, where they do.
    pub fn lift(&self) -> Option<&Arc<Lift>> {
        self.lift.as_ref()
    }

    /// This policy as it was or will be at another time: other numbers in the same groups, on the CPU.
    pub fn with_groups(&self, groups: Vec<ActingGroup>) -> Self {
        Self {
            team: Arc::clone(&self.team),
            deciders: Arc::clone(&self.deciders),
            groups,
            memory_len: self.memory_len,
            lift: self.lift.clone(),
            there: Vec::new(),
        }
    }

    /// The groups.
    pub fn groups(&self) -> &[ActingGroup] {
        &self.groups
    }

    fn check(&self, batch: &ObsBatch<'_>, memory: &[f32], rng: &[Stream]) -> Result<(), ActError> {
        let team = &self.team;
        let sizes = [
            ("observations", team.obs_len(), batch.obs.len()),
            ("availability masks", team.mask_len(), batch.avail.len()),
            ("memory", self.memory_len, memory.len()),
            ("random streams", 1, rng.len()),
        ];
        match sizes.into_iter().find(|(_, each, found)| each * batch.envs != *found) {
            Some((what, each, found)) => Err(ActError { what, envs: batch.envs, expected: each * batch.envs, found }),
            None => Ok(()),
        }
    }

    /// Decides on what the deciders see; slices of the right size.
    fn decide(
        &self,
        batch: ObsBatch<'_>,
        memory: &mut [f32],
        mode: Mode,
        rng: &[Stream],
        decision: &mut Decision,
        scratch: &mut ActScratch,
    ) {
        let (team, envs, agents) = (&self.deciders, batch.envs, self.team.n());
        decision.raw.resize(envs * team.action_len(), 0.0);
        decision.env.resize(envs * team.action_len(), 0.0);
        decision.log_probs.clear();
        decision.log_probs.resize(envs * agents, 0.0);
        decision.not_finite = None;
        let ActScratch { net: net_scratch, x, out, memory: held, shown, .. } = scratch;
        for (g, group) in self.groups.iter().enumerate() {
            let (input, output, width) = (group.net.input_len(), group.net.output_len(), group.net.memory_len());
            let rows = group.members.len() * envs;
            x.resize(rows * input, 0.0);
            out.resize(rows * output, 0.0);
            held.resize(rows * width, 0.0);
            for (m, &agent) in group.members.iter().enumerate() {
                for e in 0..envs {
                    let row = m * envs + e;
                    let all = &batch.obs[e * team.obs_len()..(e + 1) * team.obs_len()];
                    let obs = match group.net.graph() {
                        None => &all[team.obs_range(agent)],
                        Some(graph) => {
                            shown.resize(graph.row_len(), 0.0);
                            graph.row(all, agent, shown);
                            &shown[..]
                        }
                    };
                    let mine = &memory[e * self.memory_len..][group.memory_at[m].clone()];
                    group.input(obs, mine, m, &mut x[row * input..(row + 1) * input]);
                    held[row * width..(row + 1) * width].copy_from_slice(&mine[..width]);
                }
            }
            match self.there.get(g) {
                None => group.net.forward(x, rows, held, out, net_scratch),
                Some(there) => there.forward(&group.net, x, rows, held, out),
            }
            if mode != Mode::Explore && decision.not_finite.is_none() {
                let odd = out[..rows * output].iter().position(|x| !x.is_finite());
                decision.not_finite = odd.map(|at| team.agents[group.members[at / output / envs]].name.clone());
            }
            for (m, &agent) in group.members.iter().enumerate() {
                for (e, rng) in rng.iter().enumerate() {
                    let row = m * envs + e;
                    let (recurrent, last) = memory[e * self.memory_len..][group.memory_at[m].clone()].split_at_mut(width);
                    recurrent.copy_from_slice(&held[row * width..(row + 1) * width]);
                    let (free, out) = (group.net.free(), &out[row * output..(row + 1) * output]);
                    let mask = &batch.avail[e * team.mask_len()..][team.mask_range(agent)];
                    let raw = &mut decision.raw[e * team.action_len()..][team.action_range(agent)];
                    decision.log_probs[e * agents + agent] = match mode {
                        Mode::Explore => group.explore.choose(&group.head, out, free, mask, &mut rng.fork(agent as u64), raw),
                        Mode::Sample if group.explore.draws(&group.head) => {
                            group.head.sample(out, free, mask, &mut rng.fork(agent as u64), raw)
                        }
                        Mode::Sample | Mode::Greedy => group.head.mode(out, free, mask, raw),
                    };
                    if group.last_action {
                        group.head.encode(raw, last);
                    }
                    group.head.to_env(raw, &mut decision.env[e * team.action_len()..][team.action_range(agent)]);
                }
            }
        }
    }
}

impl Policy for TeamPolicy {
    fn team(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn memory_len(&self) -> usize {
        self.memory_len
    }

    fn wants_all(&self) -> bool {
        !self.there.is_empty()
    }

    fn act(
        &self,
        batch: ObsBatch<'_>,
        memory: &mut [f32],
        mode: Mode,
        rng: &[Stream],
        decision: &mut Decision,
        scratch: &mut ActScratch,
    ) -> Result<(), ActError> {
        self.check(&batch, memory, rng)?;
        let Some(lift) = &self.lift else {
            self.decide(batch, memory, mode, rng, decision, scratch);
            return Ok(());
        };
        let (team, unified) = (&self.team, lift.unified());
        let (mut obs, mut avail) = (std::mem::take(&mut scratch.lifted_obs), std::mem::take(&mut scratch.lifted_avail));
        obs.resize(batch.envs * unified.obs_len(), 0.0);
        avail.resize(batch.envs * unified.mask_len(), false);
        for (from, into) in batch.obs.chunks_exact(team.obs_len()).zip(obs.chunks_exact_mut(unified.obs_len())) {
            lift.observe(from, into);
        }
        for (from, into) in batch.avail.chunks_exact(team.mask_len()).zip(avail.chunks_exact_mut(unified.mask_len())) {
            lift.masks(from, into);
        }
        self.decide(ObsBatch { envs: batch.envs, obs: &obs, avail: &avail }, memory, mode, rng, decision, scratch);
        for actions in [&mut decision.raw, &mut decision.env] {
            actions.chunks_exact_mut(team.n()).for_each(|actions| lift.lower(actions));
        }
        (scratch.lifted_obs, scratch.lifted_avail) = (obs, avail);
        Ok(())
    }
}

//! Transition replay: a ring of flat memory per environment copy, from which single transitions are drawn.
//!
//! Each ring is a row of *slots*. A slot holds a frame (observations, state, masks, who is alive) and, where a step was taken
//! from it, that step (actions, rewards, how it ended). What followed a step is always the next slot's frame: the ordinary
//! next one, or, where a time limit cut the episode, the true final frame, which gets a slot of its own without a step. So
//! nothing is stored twice, and a transition is two neighbouring records. What the dead see and do is not stored: zeros,
//! and their no-op.

#![allow(clippy::disallowed_types, reason = "only asked whether it holds a place: no order is seen")]

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use motley_core::{Status, Stream, TeamSpec};

use crate::rollout::{Lane, Rollout};

mod save;

/// A slot without a step: the newest frame, a final one, or the last before a hole.
const FRAME: u8 = 0;
const RUNNING: u8 = 1;
const TERMINATED: u8 = 2;
const TRUNCATED: u8 = 3;

/// A slot of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which environment's ring.
    pub lane: u32,
    /// Which slot of it.
    pub slot: u32,
}

/// Transitions drawn from the memory, with what n steps from each gathered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Where each transition begins, `[count]`.
    pub at: Vec<Place>,
    /// The frame that is bootstrapped from, `[count]`: n steps later, or where the episode was cut. Meaningless where `discount` is 0.
    pub next: Vec<Place>,
    /// `gamma^m` after m steps, or 0 where the episode terminated, `[count]`.
    pub discount: Vec<f32>,
    /// `sum_k gamma^k r_{t+k}`, `[count, rewards]`.
    pub returns: Vec<f32>,
}

/// One environment's ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ring {
    /// The slot of the newest frame, from which no step was taken yet.
    head: usize,
    /// Slots behind the head that are in use.
    filled: usize,
    /// Steps among them.
    steps: usize,
    /// Whether anything was ever written.
    started: bool,
}

/// How the rewards that are kept follow from the agents' rewards of a step and who was alive in it.
pub type Pay<'a> = &'a dyn Fn(&[f64], &[bool], &mut [f32]);

/// The memory. Its size never changes; the oldest slots are overwritten.
#[derive(Debug, Clone)]
pub struct Replay {
    team: Arc<TeamSpec>,
    rewards: usize,
    slots: usize,
    rings: Vec<Ring>,
    /// `[lanes, slots, obs | state | actions | rewards]`
    floats: Vec<f32>,
    /// `[lanes, slots, masks | alive | kind of slot]`
    flags: Vec<u8>,
    /// Where the parts of a record begin.
    state_at: usize,
    action_at: usize,
    reward_at: usize,
    record: usize,
    alive_at: usize,
    marks: usize,
    /// Slots of a piece that is saved, and how often each piece was written to.
    each: usize,
    stamps: Vec<u64>,
}

impl Replay {
    /// Memory for `capacity` slots dealt evenly to `envs` environments: one a transition, one more for the end of each episode that
    /// a time limit cut. `rewards` numbers are kept a step: 1 for the team, or one per agent.
    pub fn new(team: Arc<TeamSpec>, envs: usize, capacity: usize, rewards: usize) -> Self {
        let slots = Self::slots_each(envs, capacity) + 1;
        let state_at = team.obs_len();
        let action_at = state_at + team.state_len();
        let reward_at = action_at + team.action_len();
        let record = reward_at + rewards;
        let alive_at = team.mask_len();
        let marks = alive_at + team.n() + 1;
        let each = Self::slots_of_a_piece(envs, 4 * record + marks);
        Self {
            rewards,
            slots,
            rings: vec![Ring::default(); envs],
            floats: vec![0.0; envs * slots * record],
            flags: vec![0; envs * slots * marks],
            state_at,
            action_at,
            reward_at,
            record,
            alive_at,
            marks,
            each,
            stamps: vec![0; slots.div_ceil(each)],
            team,
        }
    }

    /// Slots of each environment, beside that of its newest frame.
    fn slots_each(envs: usize, capacity: usize) -> usize {
        capacity.div_ceil(envs.max(1)).max(2)
    }

    /// Bytes that `capacity` slots take when they are dealt to `envs` environments, or `None` where they cannot even be counted.
    pub fn bytes(team: &TeamSpec, envs: usize, capacity: usize, rewards: usize) -> Option<usize> {
        let floats = team.obs_len() + team.state_len() + team.action_len() + rewards;
        let slots = Self::slots_each(envs, capacity).checked_add(1)?.checked_mul(envs)?;
        (4 * floats + team.mask_len() + team.n() + 1).checked_mul(slots)
    }

    /// Whether every slot is taken, so that what comes next replaces the oldest.
    pub fn is_full(&self) -> bool {
        self.rings.iter().all(|ring| ring.filled + 1 == self.slots)
    }

    /// Transitions that can be drawn.
    pub fn len(&self) -> usize {
        self.rings.iter().map(|r| r.steps).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Environments.
    pub fn envs(&self) -> usize {
        self.rings.len()
    }

    /// Slots of each environment's ring.
    pub fn slots(&self) -> usize {
        self.slots
    }

    fn floats_of(&self, at: Place) -> &[f32] {
        let k = (at.lane as usize * self.slots + at.slot as usize) * self.record;
        &self.floats[k..k + self.record]
    }

    fn flags_of(&self, at: Place) -> &[u8] {
        let k = (at.lane as usize * self.slots + at.slot as usize) * self.marks;
        &self.flags[k..k + self.marks]
    }

    fn kind(&self, lane: usize, slot: usize) -> u8 {
        self.flags[(lane * self.slots + slot) * self.marks + self.marks - 1]
    }

    /// Agent `i`'s observation; zeros where it is dead.
    pub fn obs(&self, at: Place, i: usize) -> &[f32] {
        &self.floats_of(at)[self.team.obs_range(i)]
    }

    /// Everybody's observation, `[obs_len]`.
    pub fn team_obs(&self, at: Place) -> &[f32] {
        &self.floats_of(at)[..self.team.obs_len()]
    }

    /// Row `k` of the state (agent `k` for FP, 0 for EP).
    pub fn state(&self, at: Place, k: usize) -> &[f32] {
        let row = self.team.state.row();
        &self.floats_of(at)[self.state_at + k * row..self.state_at + (k + 1) * row]
    }

    /// Agent `i`'s raw action of the step taken here.
    pub fn action(&self, at: Place, i: usize) -> &[f32] {
        let Range { start, end } = self.team.action_range(i);
        &self.floats_of(at)[self.action_at + start..self.action_at + end]
    }

    /// Agent `i`'s availability mask, one byte (0 or 1) an entry; that of its no-op where it is dead.
    pub fn avail(&self, at: Place, i: usize) -> &[u8] {
        &self.flags_of(at)[self.team.mask_range(i)]
    }

    /// Whether agent `i` is alive in this frame.
    pub fn alive(&self, at: Place, i: usize) -> bool {
        self.flags_of(at)[self.alive_at + i] == 1
    }

    /// What the environment showed next where `at` is the last frame of an episode that a time limit cut: the first frame of the episode
    /// after it. Any other place is returned as it is.
    pub fn after_reset(&self, at: Place) -> Place {
        let (lane, slot) = (at.lane as usize, at.slot as usize);
        let before = (slot + self.slots - 1) % self.slots;
        if self.kind(lane, slot) != FRAME || slot == self.rings[lane].head || self.kind(lane, before) != TRUNCATED {
            return at;
        }
        Place { slot: ((slot + 1) % self.slots) as u32, ..at }
    }

    /// Takes in a rollout that goes on where the one before it ended. Holes are left out: the step before one is followed by
    /// the last frame seen.
    ///
    /// # Panics
    /// When the rollout has another number of environments or is of another team.
    pub fn push(&mut self, roll: &Rollout, pay: Pay<'_>) {
        assert_eq!((roll.envs(), roll.team().obs_len()), (self.envs(), self.team.obs_len()), "a rollout of other environments");
        let n = self.team.n();
        for (e, lane) in roll.lanes.iter().enumerate() {
            self.start(e, lane);
            for t in 0..roll.steps() {
                if !lane.valid[t] {
                    self.next_episode(e, lane, t + 1);
                    continue;
                }
                let kind = match lane.status[t] {
                    Status::Running => RUNNING,
                    Status::Terminated => TERMINATED,
                    Status::Truncated => TRUNCATED,
                };
                self.put_step(e, lane, t, kind);
                let head = self.rings[e].head;
                let from = (e * self.slots + head) * self.record + self.reward_at;
                pay(
                    &lane.rewards[t * n..(t + 1) * n],
                    &lane.alive[t * n..(t + 1) * n],
                    &mut self.floats[from..from + self.rewards],
                );
                self.advance(e);
                if kind == TRUNCATED
                    && let Some(end) = lane.finals.iter().find(|f| f.time == t)
                {
                    self.put_frame(e, (&end.obs, &end.state, &end.avail, &end.alive));
                    self.advance(e);
                }
                self.put_slot(e, lane, t + 1);
            }
        }
    }

    /// The first frame of all. Later rollouts begin with the frame at hand, unless their environment could not be brought back to it
    /// and began anew.
    fn start(&mut self, e: usize, lane: &Lane) {
        if !self.rings[e].started {
            self.rings[e].started = true;
            self.put_slot(e, lane, 0);
        } else if lane.first[0] {
            self.next_episode(e, lane, 0);
        }
    }

    /// Puts slot `t`, which starts an episode, where it belongs: behind the frame at hand if a step led to that, else in its place.
    fn next_episode(&mut self, e: usize, lane: &Lane, t: usize) {
        let ring = self.rings[e];
        let before = (ring.head + self.slots - 1) % self.slots;
        if ring.filled > 0 && self.kind(e, before) == RUNNING {
            self.advance(e);
        }
        self.put_slot(e, lane, t);
    }

    fn put_slot(&mut self, e: usize, lane: &Lane, t: usize) {
        fn slot<T>(xs: &[T], t: usize, width: usize) -> &[T] {
            &xs[t * width..(t + 1) * width]
        }
        let team = Arc::clone(&self.team);
        let frame = (
            slot(&lane.obs, t, team.obs_len()),
            slot(&lane.state, t, team.state_len()),
            slot(&lane.avail, t, team.mask_len()),
            slot(&lane.alive, t, team.n()),
        );
        self.put_frame(e, frame);
    }

    /// The record at the head of ring `e`, which is going to be written.
    fn touch(&mut self, e: usize) -> usize {
        let head = self.rings[e].head;
        self.stamps[head / self.each] += 1;
        e * self.slots + head
    }

    /// Writes a frame to the head of ring `e`, which then holds no step.
    fn put_frame(&mut self, e: usize, (obs, state, avail, alive): (&[f32], &[f32], &[bool], &[bool])) {
        let at = self.touch(e);
        let floats = &mut self.floats[at * self.record..(at + 1) * self.record];
        let flags = &mut self.flags[at * self.marks..(at + 1) * self.marks];
        floats[..obs.len()].copy_from_slice(obs);
        floats[self.state_at..self.action_at].copy_from_slice(state);
        floats[self.action_at..].fill(0.0);
        flags.iter_mut().zip(avail).for_each(|(to, from)| *to = u8::from(*from));
        for (i, alive) in alive.iter().enumerate() {
            flags[self.alive_at + i] = u8::from(*alive);
            if !alive {
                floats[self.team.obs_range(i)].fill(0.0);
                let noop = self.team.agents[i].noop;
                let mask = &mut flags[self.team.mask_range(i)];
                mask.iter_mut().enumerate().for_each(|(k, m)| *m = u8::from(noop.is_none_or(|noop| noop == k)));
            }
        }
        flags[self.marks - 1] = FRAME;
    }

    /// Writes the step that was taken from the head's frame.
    fn put_step(&mut self, e: usize, lane: &Lane, t: usize, kind: u8) {
        let at = self.touch(e);
        let actions = &lane.actions[t * self.team.action_len()..(t + 1) * self.team.action_len()];
        for i in 0..self.team.n() {
            let Range { start, end } = self.team.action_range(i);
            let to = at * self.record + self.action_at;
            let dead = self.flags[at * self.marks + self.alive_at + i] == 0;
            let to = &mut self.floats[to + start..to + end];
            if dead {
                to.fill(self.team.agents[i].noop.unwrap_or(0) as f32);
            } else {
                to.copy_from_slice(&actions[start..end]);
            }
        }
        self.flags[at * self.marks + self.marks - 1] = kind;
        self.rings[e].steps += 1;
    }

    /// Moves the head on by one slot; the oldest gives way where the ring is full.
    fn advance(&mut self, e: usize) {
        let head = (self.rings[e].head + 1) % self.slots;
        let lost = self.rings[e].filled + 1 == self.slots;
        if lost && self.kind(e, head) != FRAME {
            self.rings[e].steps -= 1;
        }
        let ring = &mut self.rings[e];
        ring.head = head;
        ring.filled += usize::from(!lost);
    }

    /// Draws `count` different transitions, each equally likely, and walks up to `n_step` steps from each: the walk ends at the
    /// episode's end, at a hole, and at the newest frame, never at an agent's death. Fewer where there are fewer.
    pub fn sample(&self, count: usize, n_step: usize, gamma: f64, rng: &mut Stream) -> Sample {
        let mut sample = Sample::default();
        for at in self.draw(count.min(self.len()), rng) {
            self.walk(at, n_step, gamma, &mut sample);
        }
        sample
    }

    /// Different places with a step, every set equally likely: drawing again what holds no step or was drawn already, or, where most are wanted,
    /// by Floyd's method (Bentley and Floyd, "Programming pearls: a sample of brilliance", 1987).
    fn draw(&self, count: usize, rng: &mut Stream) -> Vec<Place> {
        let mut ends = Vec::with_capacity(self.rings.len());
        let mut total = 0;
        for ring in &self.rings {
            total += ring.filled;
            ends.push(total);
        }
        let place = |k: usize| {
            let lane = ends.partition_point(|end| *end <= k);
            let ring = &self.rings[lane];
            // Counted back from the newest.
            let back = ends[lane] - k;
            Place { lane: lane as u32, slot: ((ring.head + self.slots - back) % self.slots) as u32 }
        };
        let step = |at: &Place| self.kind(at.lane as usize, at.slot as usize) != FRAME;
        // Where most are wanted, chance would take long to find the last ones.
        if 2 * count > self.len() {
            let all: Vec<Place> = (0..total).map(place).filter(step).collect();
            let mut taken = HashSet::with_capacity(count);
            let pick = |last: usize| {
                let drawn = rng.below(last as u32 + 1) as usize;
                let k = if taken.insert(drawn) { drawn } else { last };
                taken.insert(k);
                all[k]
            };
            return (all.len() - count..all.len()).map(pick).collect();
        }
        let mut taken = HashSet::with_capacity(count);
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            let at = place(rng.below(total as u32) as usize);
            if step(&at) && taken.insert(at) {
                drawn.push(at);
            }
        }
        drawn
    }

    fn walk(&self, at: Place, n_step: usize, gamma: f64, sample: &mut Sample) {
        let lane = at.lane as usize;
        let from = sample.returns.len();
        sample.returns.resize(from + self.rewards, 0.0);
        let (mut slot, mut discount) = (at.slot as usize, 1.0);
        for _ in 0..n_step.max(1) {
            let kind = self.kind(lane, slot);
            if kind == FRAME {
                break;
            }
            let here = Place { lane: at.lane, slot: slot as u32 };
            for (sum, r) in sample.returns[from..].iter_mut().zip(&self.floats_of(here)[self.reward_at..]) {
                *sum = (f64::from(*sum) + discount * f64::from(*r)) as f32;
            }
            discount *= if kind == TERMINATED { 0.0 } else { gamma };
            slot = (slot + 1) % self.slots;
            if kind != RUNNING {
                break;
            }
        }
        sample.at.push(at);
        sample.next.push(Place { lane: at.lane, slot: slot as u32 });
        sample.discount.push(discount as f32);
    }
}

#[cfg(test)]
mod tests;

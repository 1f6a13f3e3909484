//! Replay of whole episodes on flat memory: a ring of slots, one episode each, filled from rollouts as episodes end.
//!
//! An episode of T steps has T + 1 frames; the last one is the true final one. Episodes that a rollout's end leaves unfinished
//! wait in slots of their own, one an environment, and are finished by the next rollout. A hole, left by a failed
//! environment, drops the episode around it. An episode longer than a slot is stored in pieces, each but the last
//! truncated at its true next frame.
//!
//! Sampling gives slot numbers; whoever learns reads frames through accessors, so nothing is copied but the batch.

use std::sync::Arc;

use motley_core::{Status, Stream, TeamSpec};
use thiserror::Error;

use crate::rollout::{Final, Lane, Rollout};

mod save;

/// What cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// More memory than there is.
    #[error(
        "a replay of {episodes} episodes of up to {steps} steps, and of those that {envs} environments have begun, needs {} of memory, {available} bytes are available: lower the number of episodes or of environments",
        .needed.map_or_else(|| "more bytes than can be counted".to_owned(), |n| format!("{n} bytes"))
    )]
    TooLarge {
        /// Episodes asked for.
        episodes: usize,
        /// Steps of the longest.
        steps: usize,
        /// Environments, each with an episode that waits for its end.
        envs: usize,
        /// Bytes that they take.
        needed: Option<usize>,
        /// Bytes that there are.
        available: u64,
    },
}

/// What is kept of every episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpisodeShape {
    /// Slots of the ring.
    pub episodes: usize,
    /// Steps of the longest episode (T).
    pub steps: usize,
    /// Numbers that the algorithm keeps with every step.
    pub notes: usize,
}

impl EpisodeShape {
    /// Bytes of the ring and of the episodes that `envs` environments have begun, or `None` where they cannot be counted.
    pub fn bytes(&self, team: &TeamSpec, envs: usize) -> Option<usize> {
        let frame = 4 * (team.obs_len() + team.state_len() + self.notes) + team.mask_len() + team.n();
        let step = 4 * (team.action_len() + team.n()) + 8 * team.n();
        let frames = self.steps.checked_add(1)?;
        let episode = frame.checked_mul(frames)?.checked_add(step.checked_mul(self.steps)?)?;
        episode.checked_add(9)?.checked_mul(self.episodes.checked_add(envs)?)
    }

    /// Refuses what `available` bytes cannot hold, before any of it is taken.
    ///
    /// # Errors
    /// [`ReplayError::TooLarge`] with the computed bytes.
    pub fn check(&self, team: &TeamSpec, envs: usize, available: u64) -> Result<(), ReplayError> {
        match self.bytes(team, envs) {
            Some(needed) if needed as u64 <= available => Ok(()),
            needed => Err(ReplayError::TooLarge { episodes: self.episodes, steps: self.steps, envs, needed, available }),
        }
    }
}

/// Slots of one episode each.
#[derive(Debug, Clone, Default)]
struct Store {
    obs: Vec<f32>,
    state: Vec<f32>,
    avail: Vec<bool>,
    alive: Vec<bool>,
    notes: Vec<f32>,
    actions: Vec<f32>,
    log_probs: Vec<f32>,
    rewards: Vec<f64>,
}

/// Widths of the columns of a [`Store`].
#[derive(Debug, Clone, Copy)]
struct Widths {
    frames: usize,
    obs: usize,
    state: usize,
    mask: usize,
    agents: usize,
    notes: usize,
    action: usize,
}

impl Widths {
    fn new(team: &TeamSpec, shape: EpisodeShape) -> Self {
        Self {
            frames: shape.steps + 1,
            obs: team.obs_len(),
            state: team.state_len(),
            mask: team.mask_len(),
            agents: team.n(),
            notes: shape.notes,
            action: team.action_len(),
        }
    }
}

/// Entry `index` of a column of rows of `width`.
fn part<T>(column: &[T], index: usize, width: usize) -> &[T] {
    &column[index * width..(index + 1) * width]
}

fn put<T: Copy>(column: &mut [T], index: usize, from: &[T]) {
    column[index * from.len()..(index + 1) * from.len()].copy_from_slice(from);
}

impl Store {
    fn new(slots: usize, w: Widths) -> Self {
        // Memory comes zeroed from the system and is not touched until an episode is written to it.
        let (frames, steps) = (slots * w.frames, slots * (w.frames - 1));
        Self {
            obs: vec![0.0; frames * w.obs],
            state: vec![0.0; frames * w.state],
            avail: vec![false; frames * w.mask],
            alive: vec![false; frames * w.agents],
            notes: vec![0.0; frames * w.notes],
            actions: vec![0.0; steps * w.action],
            log_probs: vec![0.0; steps * w.agents],
            rewards: vec![0.0; steps * w.agents],
        }
    }

    fn copy_slot(&mut self, to: usize, other: &Self, from: usize, length: usize, w: Widths) {
        fn copy<T: Copy>(into: &mut [T], to: usize, other: &[T], from: usize, slot: usize, used: usize) {
            into[to * slot..to * slot + used].copy_from_slice(&other[from * slot..from * slot + used]);
        }
        let (frames, kept, steps) = (w.frames, length + 1, w.frames - 1);
        copy(&mut self.obs, to, &other.obs, from, frames * w.obs, kept * w.obs);
        copy(&mut self.state, to, &other.state, from, frames * w.state, kept * w.state);
        copy(&mut self.avail, to, &other.avail, from, frames * w.mask, kept * w.mask);
        copy(&mut self.alive, to, &other.alive, from, frames * w.agents, kept * w.agents);
        copy(&mut self.notes, to, &other.notes, from, frames * w.notes, kept * w.notes);
        copy(&mut self.actions, to, &other.actions, from, steps * w.action, length * w.action);
        copy(&mut self.log_probs, to, &other.log_probs, from, steps * w.agents, length * w.agents);
        copy(&mut self.rewards, to, &other.rewards, from, steps * w.agents, length * w.agents);
    }
}

/// How an environment's unfinished episode stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Running {
    length: usize,
    /// Its start was seen and no hole since.
    whole: bool,
}

/// How a stored episode ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ended {
    length: usize,
    terminated: bool,
}

/// What [`EpisodeReplay::extend`] took in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Added {
    /// Episodes (or pieces of long ones) that are now stored.
    pub episodes: usize,
    /// Episodes that a hole spoiled.
    pub dropped: usize,
}

/// The numbers that an algorithm keeps with a step: `note(env, time, into)`, `into` of [`EpisodeShape::notes`] entries.
pub type Note<'a> = &'a mut dyn FnMut(usize, usize, &mut [f32]);

/// A ring of episodes.
#[derive(Debug, Clone)]
pub struct EpisodeReplay {
    team: Arc<TeamSpec>,
    shape: EpisodeShape,
    widths: Widths,
    ring: Store,
    ended: Vec<Ended>,
    /// The slot that is written next.
    next: usize,
    waiting: Store,
    running: Vec<Running>,
    /// Slots of a piece that is saved, and how often each piece was written to.
    each: usize,
    stamps: Vec<u64>,
}

impl EpisodeReplay {
    /// An empty replay; its memory is taken with the first rollout. Ask [`EpisodeShape::check`] before that.
    pub fn new(team: Arc<TeamSpec>, shape: EpisodeShape) -> Self {
        let widths = Widths::new(&team, shape);
        let each = widths.slots_of_a_piece();
        Self {
            each,
            stamps: Vec::new(),
            ring: Store::default(),
            ended: Vec::new(),
            next: 0,
            waiting: Store::default(),
            running: Vec::new(),
            team,
            shape,
            widths,
        }
    }

    /// Episodes stored.
    pub fn len(&self) -> usize {
        self.ended.len()
    }

    /// Whether none is stored.
    pub fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// Takes the memory of the ring, where that was not done before.
    fn take_room(&mut self) {
        if self.stamps.is_empty() {
            self.stamps = vec![0; self.shape.episodes.div_ceil(self.each)];
            self.ring = Store::new(self.shape.episodes, self.widths);
        }
    }

    /// Takes in what a rollout finished, environment after environment, each in order of time.
    pub fn extend(&mut self, roll: &Rollout, note: Note<'_>) -> Added {
        self.take_room();
        if self.running.len() != roll.envs() {
            self.waiting = Store::new(roll.envs(), self.widths);
            self.running = vec![Running::default(); roll.envs()];
        }
        let mut added = Added::default();
        for (e, lane) in roll.lanes.iter().enumerate() {
            let mut finals = lane.finals.iter();
            for t in 0..roll.steps() {
                if lane.first[t] {
                    self.running[e] = Running { length: 0, whole: true };
                }
                if !self.running[e].whole {
                    continue;
                }
                if !lane.valid[t] {
                    self.running[e].whole = false;
                    added.dropped += 1;
                    continue;
                }
                self.put_step(e, lane, t, note);
                if lane.status[t].done() {
                    if let Some(end) = finals.find(|f| f.time == t) {
                        self.put_end(e, Frame::of(end));
                        self.commit(e, lane.status[t] == Status::Terminated);
                        added.episodes += 1;
                    }
                    self.running[e].whole = false;
                } else if self.running[e].length == self.shape.steps {
                    self.put_end(e, Frame::at(lane, t + 1, self.widths));
                    self.commit(e, false);
                    self.running[e].length = 0;
                    added.episodes += 1;
                }
            }
        }
        added
    }

    fn put_step(&mut self, e: usize, lane: &Lane, t: usize, note: Note<'_>) {
        let (w, length) = (self.widths, self.running[e].length);
        let at = e * w.frames + length;
        self.put_frame(at, Frame::at(lane, t, w));
        note(e, t, &mut self.waiting.notes[at * w.notes..(at + 1) * w.notes]);
        let at = e * (w.frames - 1) + length;
        put(&mut self.waiting.actions, at, part(&lane.actions, t, w.action));
        put(&mut self.waiting.log_probs, at, part(&lane.log_probs, t, w.agents));
        put(&mut self.waiting.rewards, at, part(&lane.rewards, t, w.agents));
        self.running[e].length += 1;
    }

    /// The frame after the last step; its notes are those of that step.
    fn put_end(&mut self, e: usize, frame: Frame<'_>) {
        let (w, length) = (self.widths, self.running[e].length);
        let at = e * w.frames + length;
        self.put_frame(at, frame);
        self.waiting.notes.copy_within((at - 1) * w.notes..at * w.notes, at * w.notes);
    }

    fn put_frame(&mut self, at: usize, frame: Frame<'_>) {
        put(&mut self.waiting.obs, at, frame.obs);
        put(&mut self.waiting.state, at, frame.state);
        put(&mut self.waiting.avail, at, frame.avail);
        put(&mut self.waiting.alive, at, frame.alive);
    }

    fn commit(&mut self, e: usize, terminated: bool) {
        let (slot, length) = (self.next, self.running[e].length);
        self.stamps[slot / self.each] += 1;
        self.ring.copy_slot(slot, &self.waiting, e, length, self.widths);
        let ended = Ended { length, terminated };
        if slot == self.ended.len() {
            self.ended.push(ended);
        } else {
            self.ended[slot] = ended;
        }
        self.next = (slot + 1) % self.shape.episodes;
    }

    /// `count` different slots, every set equally likely (Floyd's method), or `None` while fewer are filled.
    pub fn sample(&self, count: usize, rng: &mut Stream) -> Option<Vec<usize>> {
        let filled = self.len();
        if count > filled {
            return None;
        }
        let (mut picked, mut taken) = (Vec::with_capacity(count), std::collections::BTreeSet::new());
        for last in filled - count..filled {
            let drawn = rng.below(last as u32 + 1) as usize;
            let slot = if taken.insert(drawn) { drawn } else { last };
            taken.insert(slot);
            picked.push(slot);
        }
        Some(picked)
    }

    /// Steps of the episode in a slot.
    pub fn length(&self, slot: usize) -> usize {
        self.ended[slot].length
    }

    /// Whether it ended by the task's own rules (else its final frame is bootstrapped).
    pub fn terminated(&self, slot: usize) -> bool {
        self.ended[slot].terminated
    }

    fn frame(&self, slot: usize, t: usize) -> usize {
        slot * self.widths.frames + t
    }

    fn step(&self, slot: usize, t: usize) -> usize {
        slot * (self.widths.frames - 1) + t
    }

    /// Agent `i`'s observation in frame `t` (up to the episode's length).
    pub fn obs(&self, slot: usize, t: usize, i: usize) -> &[f32] {
        &self.team_obs(slot, t)[self.team.obs_range(i)]
    }

    /// Everybody's observation in frame `t`, `[obs_len]`.
    pub fn team_obs(&self, slot: usize, t: usize) -> &[f32] {
        part(&self.ring.obs, self.frame(slot, t), self.widths.obs)
    }

    /// The whole state in frame `t`: `[row]` (EP) or `[agents, row]` (FP).
    pub fn state(&self, slot: usize, t: usize) -> &[f32] {
        part(&self.ring.state, self.frame(slot, t), self.widths.state)
    }

    /// What is available to agent `i` in frame `t`.
    pub fn avail(&self, slot: usize, t: usize, i: usize) -> &[bool] {
        &part(&self.ring.avail, self.frame(slot, t), self.widths.mask)[self.team.mask_range(i)]
    }

    /// Whether agent `i` is alive in frame `t`.
    pub fn alive(&self, slot: usize, t: usize, i: usize) -> bool {
        self.ring.alive[self.frame(slot, t) * self.widths.agents + i]
    }

    /// The notes of frame `t`; the final frame has those of the last step.
    pub fn notes(&self, slot: usize, t: usize) -> &[f32] {
        part(&self.ring.notes, self.frame(slot, t), self.widths.notes)
    }

    /// Agent `i`'s raw action at step `t`.
    pub fn action(&self, slot: usize, t: usize, i: usize) -> &[f32] {
        &part(&self.ring.actions, self.step(slot, t), self.widths.action)[self.team.action_range(i)]
    }

    /// Log-probability of agent `i`'s action at step `t` when it was taken.
    pub fn log_prob(&self, slot: usize, t: usize, i: usize) -> f32 {
        self.ring.log_probs[self.step(slot, t) * self.widths.agents + i]
    }

    /// All agents' rewards of step `t`.
    pub fn rewards(&self, slot: usize, t: usize) -> &[f64] {
        part(&self.ring.rewards, self.step(slot, t), self.widths.agents)
    }
}

/// One frame on its way into a slot.
#[derive(Clone, Copy)]
struct Frame<'a> {
    obs: &'a [f32],
    state: &'a [f32],
    avail: &'a [bool],
    alive: &'a [bool],
}

impl<'a> Frame<'a> {
    fn at(lane: &'a Lane, t: usize, w: Widths) -> Self {
        Self {
            obs: part(&lane.obs, t, w.obs),
            state: part(&lane.state, t, w.state),
            avail: part(&lane.avail, t, w.mask),
            alive: part(&lane.alive, t, w.agents),
        }
    }

    fn of(end: &'a Final) -> Self {
        Self { obs: &end.obs, state: &end.state, avail: &end.avail, alive: &end.alive }
    }
}

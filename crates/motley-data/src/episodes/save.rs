//! Episodes on their way to a checkpoint and back, cut into pieces: the same slots of the ring, so that only pieces in which an episode was
//! stored since differ from those saved before. Of every episode the frames and steps that it has are written, nothing behind
//! them. Pieces are made and taken in one at a time.

use std::ops::Range;

use super::{Ended, EpisodeReplay, Running, Store, Widths};
use crate::LoadError;
use crate::load::each_piece;

/// About how many bytes a piece has at most, where a single episode has not more.
const PIECE: usize = 4 << 20;

impl Widths {
    /// Where the entries of a slot's first frames and steps lie in each column, in the order of [`Store`]'s fields.
    fn spans(self, slot: usize, frames: usize, steps: usize) -> [Range<usize>; 8] {
        let span = |slots: usize, used: usize, width: usize| slot * slots * width..(slot * slots + used) * width;
        let frame = |width| span(self.frames, frames, width);
        let step = |width| span(self.frames - 1, steps, width);
        let [obs, state, avail, alive, notes] = [self.obs, self.state, self.mask, self.agents, self.notes].map(frame);
        let [actions, log_probs, rewards] = [self.action, self.agents, self.agents].map(step);
        [obs, state, avail, alive, notes, actions, log_probs, rewards]
    }

    /// Slots of a piece.
    pub(super) fn slots_of_a_piece(self) -> usize {
        (PIECE / self.bytes(self.frames, self.frames - 1).max(1)).max(1)
    }

    /// Bytes that [`Store::write`] appends.
    fn bytes(self, frames: usize, steps: usize) -> usize {
        let frame = 4 * (self.obs + self.state + self.notes) + self.mask + self.agents;
        frames * frame + steps * (4 * (self.action + self.agents) + 8 * self.agents)
    }
}

impl Store {
    /// Appends a slot's first frames and steps.
    fn write(&self, slot: usize, (frames, steps): (usize, usize), w: Widths, bytes: &mut Vec<u8>) {
        let [obs, state, avail, alive, notes, actions, log_probs, rewards] = w.spans(slot, frames, steps);
        bytes.extend(self.rewards[rewards].iter().flat_map(|x| x.to_le_bytes()));
        let floats = [&self.obs[obs], &self.state[state], &self.notes[notes], &self.actions[actions], &self.log_probs[log_probs]];
        floats.into_iter().for_each(|column| bytes.extend(column.iter().flat_map(|x| x.to_le_bytes())));
        let flags = [&self.avail[avail], &self.alive[alive]];
        flags.into_iter().for_each(|column| bytes.extend(column.iter().map(|x| u8::from(*x))));
    }

    /// Takes from the front of `bytes`, which has them all, what [`Store::write`] appended.
    fn read(&mut self, slot: usize, (frames, steps): (usize, usize), w: Widths, bytes: &mut &[u8]) {
        let [obs, state, avail, alive, notes, actions, log_probs, rewards] = w.spans(slot, frames, steps);
        let mut take = |count: usize| {
            let (mine, rest) = bytes.split_at(count);
            *bytes = rest;
            mine
        };
        let (words, _) = take(8 * rewards.len()).as_chunks::<8>();
        self.rewards[rewards].iter_mut().zip(words).for_each(|(to, word)| *to = f64::from_le_bytes(*word));
        let floats = [
            &mut self.obs[obs],
            &mut self.state[state],
            &mut self.notes[notes],
            &mut self.actions[actions],
            &mut self.log_probs[log_probs],
        ];
        for column in floats {
            let (words, _) = take(4 * column.len()).as_chunks::<4>();
            column.iter_mut().zip(words).for_each(|(to, word)| *to = f32::from_le_bytes(*word));
        }
        for column in [&mut self.avail[avail], &mut self.alive[alive]] {
            let mine = take(column.len());
            column.iter_mut().zip(mine).for_each(|(to, byte)| *to = *byte != 0);
        }
    }
}

impl Ended {
    /// Its frames and steps.
    fn size(self) -> (usize, usize) {
        (self.length + 1, self.length)
    }
}

impl Running {
    /// Its frames and steps so far; none of one that is not to be stored.
    fn size(self) -> (usize, usize) {
        if self.whole { (self.length, self.length) } else { (0, 0) }
    }
}

impl EpisodeReplay {
    /// The slots of piece `k`.
    fn cut(&self, k: usize) -> Range<usize> {
        k * self.each..((k + 1) * self.each).min(self.ended.len())
    }

    /// The slot written next, episodes stored, environments; then twice the length, plus one where it terminated, of each stored
    /// episode; then the same of each environment's unfinished one, plus one where its start was seen and no hole since.
    pub fn counters(&self) -> Vec<u64> {
        let mut counters = vec![self.next as u64, self.ended.len() as u64, self.running.len() as u64];
        counters.extend(self.ended.iter().map(|e| 2 * e.length as u64 + u64::from(e.terminated)));
        counters.extend(self.running.iter().map(|r| 2 * r.length as u64 + u64::from(r.whole)));
        counters
    }

    /// A number for each piece of stored episodes that changes whenever the piece does.
    pub fn stamps(&self) -> &[u64] {
        &self.stamps[..self.ended.len().div_ceil(self.each)]
    }

    /// Appends piece `k`: stored episodes, slot after slot.
    pub fn write_piece(&self, k: usize, bytes: &mut Vec<u8>) {
        let size = |slot: usize| self.ended[slot].size();
        bytes.reserve(self.cut(k).map(|slot| self.widths.bytes(size(slot).0, size(slot).1)).sum());
        self.cut(k).for_each(|slot| self.ring.write(slot, size(slot), self.widths, bytes));
    }

    /// Unfinished episodes, environment after environment.
    pub fn unfinished(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (e, r) in self.running.iter().enumerate() {
            self.waiting.write(e, r.size(), self.widths, &mut bytes);
        }
        bytes
    }

    /// Takes in what a replay of the same team and shape saved: counters, pieces of stored episodes, each let go of before the next is
    /// asked for, unfinished ones.
    ///
    /// # Errors
    /// [`LoadError::Unfit`] for numbers that contradict each other or this replay's shape, [`LoadError::Piece`] for what `pieces` fails
    /// with; it is then not to be used.
    pub fn load<B: AsRef<[u8]>, E>(
        &mut self,
        counters: &[u64],
        pieces: impl IntoIterator<Item = Result<B, E>>,
        unfinished: &[u8],
    ) -> Result<(), LoadError<E>> {
        self.load_counters(counters)?;
        self.take_room();
        each_piece(self.stamps().len(), pieces, |k, piece| self.load_piece(k, piece))?;
        let w = self.widths;
        let bytes = self.running.iter().map(|r| w.bytes(r.size().0, r.size().1)).sum();
        sized("the part of unfinished episodes", unfinished, bytes)?;
        let mut rest = unfinished;
        for (e, r) in self.running.iter().enumerate() {
            self.waiting.read(e, r.size(), w, &mut rest);
        }
        let mut actions = [&self.ring, &self.waiting].into_iter().flat_map(|store| store.actions.chunks_exact(w.action.max(1)));
        if !actions.all(|actions| self.team.choices_exist(actions)) {
            return Err(LoadError::Unfit("it has actions that its team does not have".to_owned()));
        }
        Ok(())
    }

    fn load_piece(&mut self, k: usize, mut piece: &[u8]) -> Result<(), String> {
        let (slots, w) = (self.cut(k), self.widths);
        sized(&format!("piece {k}"), piece, self.ended[slots.clone()].iter().map(|e| w.bytes(e.length + 1, e.length)).sum())?;
        slots.for_each(|slot| self.ring.read(slot, self.ended[slot].size(), w, &mut piece));
        Ok(())
    }

    fn load_counters(&mut self, counters: &[u64]) -> Result<(), String> {
        let unfit = |why: &str| why.to_owned();
        let (&[next, stored, envs], rest) = counters.split_first_chunk::<3>().ok_or_else(|| unfit("counters are missing"))?;
        let whole = |n: u64| usize::try_from(n).ok();
        let (Some(next), Some(stored), Some(envs)) = (whole(next), whole(stored), whole(envs)) else {
            return Err(unfit("counters are out of range"));
        };
        let fits =
            stored <= self.shape.episodes && next < self.shape.episodes && (stored == self.shape.episodes || next == stored);
        if !fits || stored.checked_add(envs) != Some(rest.len()) {
            return Err(unfit("it has another number of episodes or environments"));
        }
        let (ended, running) = rest.split_at(stored);
        let most = self.shape.steps as u64;
        if ended.iter().any(|e| e / 2 == 0 || e / 2 > most) || running.iter().any(|r| r / 2 >= most && r % 2 == 1) {
            return Err(unfit("an episode has an impossible length"));
        }
        self.ended = ended.iter().map(|e| Ended { length: (e / 2) as usize, terminated: e % 2 == 1 }).collect();
        self.running = running.iter().map(|r| Running { length: (r / 2) as usize, whole: r % 2 == 1 }).collect();
        self.waiting = Store::new(envs, self.widths);
        self.next = next;
        Ok(())
    }
}

/// Refuses bytes of another number than their episodes have.
fn sized(what: &str, bytes: &[u8], needed: usize) -> Result<(), String> {
    if bytes.len() == needed { Ok(()) } else { Err(format!("{what} has {} bytes, its episodes have {needed}", bytes.len())) }
}

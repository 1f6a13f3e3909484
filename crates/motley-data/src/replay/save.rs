//! The memory on its way to a checkpoint and back, cut into pieces of a few mebibytes: the same slots of every ring, so that only pieces in
//! which something was written since differ from those saved before. Pieces are made and taken in one at a time.

use std::ops::Range;

use super::{FRAME, Replay, Ring, TRUNCATED};
use crate::LoadError;
use crate::load::each_piece;

/// About how many bytes a piece has.
const PIECE: usize = 4 << 20;

impl Ring {
    /// Slots from the first that were ever written.
    fn used(&self, slots: usize) -> usize {
        match (self.started, self.filled + 1 == slots) {
            (false, _) => 0,
            (true, true) => slots,
            (true, false) => self.head + 1,
        }
    }
}

impl Replay {
    /// Slots of a piece of `lanes` rings, where a slot takes `bytes`.
    pub(super) fn slots_of_a_piece(lanes: usize, bytes: usize) -> usize {
        (PIECE / (lanes * bytes).max(1)).max(1)
    }

    /// The slots of piece `k`.
    fn cut(&self, k: usize) -> Range<usize> {
        k * self.each..((k + 1) * self.each).min(self.slots)
    }

    /// Four numbers a ring: head, slots in use behind it, steps among them, whether it was started.
    pub fn numbers(&self) -> Vec<u64> {
        let numbers = |r: &Ring| [r.head as u64, r.filled as u64, r.steps as u64, u64::from(r.started)];
        self.rings.iter().flat_map(numbers).collect()
    }

    /// A number for each piece, up to the last slot ever used, that changes whenever the piece does.
    pub fn stamps(&self) -> &[u64] {
        let used = self.rings.iter().map(|r| r.used(self.slots)).max().unwrap_or(0);
        &self.stamps[..used.div_ceil(self.each)]
    }

    /// Appends piece `k`: records, then marks, of the same slots of every ring, ring after ring.
    pub fn write_piece(&self, k: usize, bytes: &mut Vec<u8>) {
        let range = self.cut(k);
        bytes.reserve(range.len() * self.rings.len() * (4 * self.record + self.marks));
        for from in (0..self.rings.len()).map(|e| e * self.slots) {
            let (first, last) = (from + range.start, from + range.end);
            let records = &self.floats[first * self.record..last * self.record];
            bytes.extend(records.iter().flat_map(|x| x.to_le_bytes()));
            bytes.extend_from_slice(&self.flags[first * self.marks..last * self.marks]);
        }
    }

    /// Takes in what a memory of the same team and size saved: its rings' numbers and its pieces, each let go of before the next is asked
    /// for.
    ///
    /// # Errors
    /// [`LoadError::Unfit`] for what does not fit, [`LoadError::Piece`] for what `pieces` fails with; the memory is then not to be used.
    pub fn load<B: AsRef<[u8]>, E>(
        &mut self,
        rings: &[u64],
        pieces: impl IntoIterator<Item = Result<B, E>>,
    ) -> Result<(), LoadError<E>> {
        self.load_rings(rings)?;
        each_piece(self.stamps().len(), pieces, |k, piece| self.load_piece(k, piece))?;
        for (e, ring) in self.rings.iter().enumerate() {
            let kinds = (1..=ring.filled).map(|back| self.kind(e, (ring.head + self.slots - back) % self.slots));
            if kinds.clone().any(|kind| kind > TRUNCATED) || kinds.filter(|kind| *kind != FRAME).count() != ring.steps {
                return Err(LoadError::Unfit(format!("ring {e} does not hold the {} steps that it counts", ring.steps)));
            }
        }
        Ok(())
    }

    fn load_rings(&mut self, rings: &[u64]) -> Result<(), String> {
        let (words, rest) = rings.as_chunks::<4>();
        if words.len() != self.rings.len() || !rest.is_empty() {
            return Err(format!("{} numbers of rings for {} environments", rings.len(), self.rings.len()));
        }
        for (e, [head, filled, steps, started]) in words.iter().enumerate() {
            let ring = Ring { head: *head as usize, filled: *filled as usize, steps: *steps as usize, started: *started == 1 };
            let before_full = ring.filled.saturating_add(1) < self.slots;
            if ring.head >= self.slots || ring.filled >= self.slots || (before_full && ring.filled != ring.head) {
                return Err(format!("ring {e} has its head at {head} and {filled} of {} slots in use", self.slots));
            }
            self.rings[e] = ring;
        }
        Ok(())
    }

    fn load_piece(&mut self, k: usize, piece: &[u8]) -> Result<(), String> {
        let range = self.cut(k);
        let (records, marks) = (4 * range.len() * self.record, range.len() * self.marks);
        if piece.len() != self.rings.len() * (records + marks) {
            return Err(format!("piece {k} has {} bytes", piece.len()));
        }
        for (e, mine) in piece.chunks_exact((records + marks).max(1)).enumerate() {
            let (first, last) = (e * self.slots + range.start, e * self.slots + range.end);
            let (floats, flags) = mine.split_at(records);
            let (words, _) = floats.as_chunks::<4>();
            let into = &mut self.floats[first * self.record..last * self.record];
            into.iter_mut().zip(words).for_each(|(to, word)| *to = f32::from_le_bytes(*word));
            let actions = self.action_at..self.reward_at;
            if !into.chunks_exact(self.record).all(|record| self.team.choices_exist(&record[actions.clone()])) {
                return Err(format!("piece {k} has actions that its team does not have"));
            }
            self.flags[first * self.marks..last * self.marks].copy_from_slice(flags);
        }
        Ok(())
    }
}

//! The memory on its way to a checkpoint and back, cut into pieces of a few mebibytes: the same slots of every ring, so that only pieces in
//! which something was written since differ from those saved before.

use super::{FRAME, Replay, Ring, TRUNCATED};

/// About how many bytes a piece has.
const PIECE: usize = 4 << 20;

/// Everything that a memory holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Saved {
    /// Four numbers a ring: head, slots in use behind it, steps among them, whether it was started.
    pub rings: Vec<u64>,
    /// Records, then marks, of the same slots of every ring, ring after ring; up to the last slot ever used.
    pub pieces: Vec<Vec<u8>>,
}

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
    /// The slots of each piece, of rings in use up to `used`.
    fn cuts(&self, used: usize) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let each = (PIECE / (self.rings.len() * (4 * self.record + self.marks)).max(1)).max(1);
        let slots = self.slots;
        (0..used.div_ceil(each)).map(move |k| k * each..((k + 1) * each).min(slots))
    }

    /// A copy of what is in use.
    pub fn save(&self) -> Saved {
        let numbers = |r: &Ring| [r.head as u64, r.filled as u64, r.steps as u64, u64::from(r.started)];
        let used = self.rings.iter().map(|r| r.used(self.slots)).max().unwrap_or(0);
        let piece = |range: std::ops::Range<usize>| {
            let mut bytes = Vec::with_capacity(range.len() * self.rings.len() * (4 * self.record + self.marks));
            for from in (0..self.rings.len()).map(|e| e * self.slots) {
                let (first, last) = (from + range.start, from + range.end);
                let records = &self.floats[first * self.record..last * self.record];
                bytes.extend(records.iter().flat_map(|x| x.to_le_bytes()));
                bytes.extend_from_slice(&self.flags[first * self.marks..last * self.marks]);
            }
            bytes
        };
        Saved { rings: self.rings.iter().flat_map(numbers).collect(), pieces: self.cuts(used).map(piece).collect() }
    }

    /// Takes in what a memory of the same team and size saved: its rings' numbers and its pieces.
    ///
    /// # Errors
    /// What does not fit; the memory is then not to be used.
    pub fn load(&mut self, rings: &[u64], pieces: &[&[u8]]) -> Result<(), String> {
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
        self.load_pieces(pieces)?;
        for (e, ring) in self.rings.iter().enumerate() {
            let kinds = (1..=ring.filled).map(|back| self.kind(e, (ring.head + self.slots - back) % self.slots));
            if kinds.clone().any(|kind| kind > TRUNCATED) || kinds.filter(|kind| *kind != FRAME).count() != ring.steps {
                return Err(format!("ring {e} does not hold the {} steps that it counts", ring.steps));
            }
        }
        Ok(())
    }

    fn load_pieces(&mut self, pieces: &[&[u8]]) -> Result<(), String> {
        let used = self.rings.iter().map(|r| r.used(self.slots)).max().unwrap_or(0);
        let cuts: Vec<_> = self.cuts(used).collect();
        if cuts.len() != pieces.len() {
            return Err(format!("{} pieces where {} are needed", pieces.len(), cuts.len()));
        }
        for (k, (range, piece)) in cuts.into_iter().zip(pieces).enumerate() {
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
                self.flags[first * self.marks..last * self.marks].copy_from_slice(flags);
            }
        }
        Ok(())
    }
}

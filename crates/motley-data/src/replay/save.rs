//! The memory on its way to a checkpoint and back: only slots that were ever used.

use super::{FRAME, Replay, Ring, TRUNCATED};

/// Everything that a memory holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Saved {
    /// Four numbers a ring: head, slots in use behind it, steps among them, whether it was started.
    pub rings: Vec<u64>,
    /// Records of the used slots, ring after ring.
    pub floats: Vec<f32>,
    /// Masks, lives and kinds of the used slots, ring after ring.
    pub flags: Vec<u8>,
}

impl Saved {
    /// Environments.
    pub fn envs(&self) -> usize {
        self.rings.len() / 4
    }
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
    /// A copy of what is in use.
    pub fn save(&self) -> Saved {
        let mut saved = Saved::default();
        for (e, ring) in self.rings.iter().enumerate() {
            let (from, used) = (e * self.slots, ring.used(self.slots));
            saved.rings.extend([ring.head as u64, ring.filled as u64, ring.steps as u64, u64::from(ring.started)]);
            saved.floats.extend_from_slice(&self.floats[from * self.record..(from + used) * self.record]);
            saved.flags.extend_from_slice(&self.flags[from * self.marks..(from + used) * self.marks]);
        }
        saved
    }

    /// Takes in what a memory of the same team and size saved.
    ///
    /// # Errors
    /// What does not fit; the memory is then not to be used.
    pub fn load(&mut self, saved: &Saved) -> Result<(), String> {
        let (words, rest) = saved.rings.as_chunks::<4>();
        if words.len() != self.rings.len() || !rest.is_empty() {
            return Err(format!("{} numbers of rings for {} environments", saved.rings.len(), self.rings.len()));
        }
        let (mut floats, mut flags) = (saved.floats.as_slice(), saved.flags.as_slice());
        for (e, [head, filled, steps, started]) in words.iter().enumerate() {
            let ring = Ring { head: *head as usize, filled: *filled as usize, steps: *steps as usize, started: *started == 1 };
            if ring.head >= self.slots || ring.filled >= self.slots || (ring.filled + 1 < self.slots && ring.filled != ring.head)
            {
                return Err(format!("ring {e} has its head at {head} and {filled} of {} slots in use", self.slots));
            }
            let (from, used) = (e * self.slots, ring.used(self.slots));
            let (Some((now, later)), Some((marks, after))) =
                (floats.split_at_checked(used * self.record), flags.split_at_checked(used * self.marks))
            else {
                return Err(format!("fewer records than ring {e} has slots in use"));
            };
            self.floats[from * self.record..(from + used) * self.record].copy_from_slice(now);
            self.flags[from * self.marks..(from + used) * self.marks].copy_from_slice(marks);
            (floats, flags) = (later, after);
            self.rings[e] = ring;
            let counted = (1..=ring.filled).map(|back| self.kind(e, (ring.head + self.slots - back) % self.slots));
            if counted.clone().any(|kind| kind > TRUNCATED) || counted.filter(|kind| *kind != FRAME).count() != ring.steps {
                return Err(format!("ring {e} does not hold the {steps} steps that it counts"));
            }
        }
        if floats.is_empty() && flags.is_empty() { Ok(()) } else { Err("more records than rings have slots in use".into()) }
    }
}

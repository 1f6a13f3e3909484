//! Target networks: slower copies of networks, which bootstrapped values come from.

use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::net::Net;

/// How far targets go towards their networks at the `moves`-th time (from 1 on): below 1 `rate` of the way, a soft step (Lillicrap et
/// al. 2016); from 1 on all the way every that many times, a copy (Mnih et al. 2015), and else nowhere.
pub fn stride(rate: f64, moves: u64) -> f32 {
    if rate < 1.0 { rate as f32 } else { f32::from(u8::from(moves.is_multiple_of(rate as u64))) }
}

/// `theta' <- theta' + step (theta - theta')`, parameter by parameter.
pub fn follow(target: &mut Net, online: &Net, step: f32) {
    if step > 0.0 {
        let online = online.params();
        target.set_params(|p| p.iter_mut().zip(online).for_each(|(t, o)| *t += step * (o - *t)));
    }
}

/// How targets that move together do so.
#[derive(Debug, Clone)]
pub struct Pace {
    rate: f64,
    moves: u64,
}

impl Pace {
    /// By `rate` as in [`stride`].
    pub fn new(rate: f64) -> Self {
        Self { rate, moves: 0 }
    }

    /// Counts a move and says how far it goes.
    pub fn next_stride(&mut self) -> f32 {
        self.moves += 1;
        stride(self.rate, self.moves)
    }

    /// Writes the count.
    pub fn save(&self, w: &mut StateWriter) {
        w.put_u64("target_moves", &[self.moves]);
    }

    /// Reads the count.
    ///
    /// # Errors
    /// An entry of another length.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        // Checkpoints from before copies were possible have no count, and steps that need none.
        self.moves = if r.has("target_moves") { r.u64("target_moves")? } else { 0 };
        Ok(())
    }
}

/// The copy, and how many updates it has seen.
#[derive(Debug, Clone)]
pub struct Target {
    net: Net,
    updates: u64,
}

impl Target {
    /// Starts equal to `net`.
    pub fn new(net: Net) -> Self {
        Self { net, updates: 0 }
    }

    /// The copy.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The copy, to be changed as its original is.
    pub fn net_mut(&mut self) -> &mut Net {
        &mut self.net
    }

    /// After an update of `online`: a [`stride`] by `rate`.
    pub fn follow(&mut self, online: &Net, rate: f64) {
        self.updates += 1;
        follow(&mut self.net, online, stride(rate, self.updates));
    }

    /// Writes weights and count.
    pub fn save(&self, w: &mut StateWriter) {
        w.put_f32("target", self.net.params());
        w.put_u64("target_updates", &[self.updates]);
    }

    /// Reads weights and count.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        let mut held = self.net.params().to_vec();
        r.f32s_into("target", &mut held)?;
        self.net.set_params(|p| p.copy_from_slice(&held));
        self.updates = r.u64("target_updates")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_soft_steps_or_copies() {
        let strides = |rate: f64| {
            let mut pace = Pace::new(rate);
            (0..6).map(|_| pace.next_stride()).collect::<Vec<_>>()
        };
        assert_eq!(strides(0.25), [0.25; 6]);
        assert_eq!(strides(0.0), [0.0; 6]);
        assert_eq!(strides(1.0), [1.0; 6]);
        assert_eq!(strides(3.0), [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    }
}

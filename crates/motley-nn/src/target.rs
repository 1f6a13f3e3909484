//! Target networks: a slower copy of a network, which bootstrapped values come from.

use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::net::Net;

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

    /// After an update of `online`: below 1 `rate` is a soft step `theta' += rate (theta - theta')`, from 1 on a copy every that many
    /// updates.
    pub fn follow(&mut self, online: &Net, rate: f64) {
        self.updates += 1;
        let step = if rate < 1.0 { rate as f32 } else { f32::from(u8::from(self.updates.is_multiple_of(rate as u64))) };
        if step > 0.0 {
            let online = online.params();
            self.net.set_params(|p| p.iter_mut().zip(online).for_each(|(t, o)| *t += step * (o - *t)));
        }
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

//! Parameters as one flat vector, whatever they belong to: what learns together, follows as a target, or is read back.

use motley_run::{CheckpointError, StateReader};

use crate::net::Net;
use crate::qmix::QmixMixer;
use crate::qtran::Qtran;

/// Something with parameters in one flat vector.
pub trait Weights: Send {
    /// All of them.
    fn weights(&self) -> &[f32];
    /// Changes them.
    fn set_weights(&mut self, change: &mut dyn FnMut(&mut [f32]));
}

macro_rules! weights {
    ($($ty:ty),*) => {
        $(impl Weights for $ty {
            fn weights(&self) -> &[f32] {
                self.params()
            }
            fn set_weights(&mut self, change: &mut dyn FnMut(&mut [f32])) {
                self.set_params(|p| change(p));
            }
        })*
    };
}

weights!(Net, QmixMixer, Qtran);

/// Reads parameters.
///
/// # Errors
/// An entry that is missing or of another length.
pub fn load_params(into: &mut dyn Weights, r: &StateReader, name: &str) -> Result<(), CheckpointError> {
    let mut params = into.weights().to_vec();
    r.f32s_into(name, &mut params)?;
    into.set_weights(&mut |p| p.copy_from_slice(&params));
    Ok(())
}

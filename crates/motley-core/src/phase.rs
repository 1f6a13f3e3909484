//! Where an episode stands: what environments keep to refuse steps outside one.

use crate::error::EnvError;

/// Before a reset, under way, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not reset yet.
    Fresh,
    /// Under way.
    Running,
    /// Ended.
    Over,
}

impl Phase {
    /// From what `as u8` gave.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Fresh, Self::Running, Self::Over].into_iter().find(|phase| *phase as u8 == byte)
    }

    /// Whether a step may be taken.
    ///
    /// # Errors
    /// [`EnvError::NotRunning`] where not.
    pub fn running(self) -> Result<(), EnvError> {
        match self {
            Self::Fresh => Err(EnvError::NotRunning("before a reset")),
            Self::Over => Err(EnvError::NotRunning("after the end of the episode")),
            Self::Running => Ok(()),
        }
    }
}

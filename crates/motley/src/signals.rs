//! Stopping well: the first signal asks training to finish its update and checkpoint, a second Ctrl-C ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Failure;

/// The file-size limit was reached (the number on Linux and macOS).
#[cfg(any(target_os = "linux", target_os = "macos"))]
const SIGXFSZ: i32 = 25;

/// Exit code after a checkpoint asked for by a scheduler.
const REQUEUE: u8 = 75;
/// Exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Which signal asked for a stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Set by any of them.
    pub(crate) asked: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
}

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let stop = Self::default();
        let register = || -> std::io::Result<()> {
            // Order matters: the second Ctrl-C finds the flag set by the first.
            flag::register_conditional_shutdown(SIGINT, i32::from(INTERRUPTED), Arc::clone(&stop.interrupted))?;
            flag::register(SIGINT, Arc::clone(&stop.interrupted))?;
            flag::register(SIGINT, Arc::clone(&stop.asked))?;
            flag::register(SIGTERM, Arc::clone(&stop.asked))?;
            #[cfg(unix)]
            flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&stop.asked))?;
            // A terminal that is gone took nobody's wish to train with it.
            #[cfg(unix)]
            flag::register(signal_hook::consts::SIGHUP, Arc::default())?;
            // A file-size limit (`ulimit -f`) is then an error of the write, survived like a full disk, not the end of the process.
            #[cfg(any(target_os = "linux", target_os = "macos"))]
            flag::register(SIGXFSZ, Arc::default())?;
            Ok(())
        };
        register().map_err(|e| Failure::run(format!("signals cannot be handled: {e}")))?;
        Ok(stop)
    }

    /// The exit code of a run that stopped as asked.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.interrupted.load(Ordering::Relaxed) { INTERRUPTED } else { REQUEUE }
    }
}

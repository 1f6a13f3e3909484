//! Stopping well: the first signal asks training to finish its update and checkpoint, a second Ctrl-C ends at once, and after SIGTERM
//! there is only so much time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

    /// Ends the process so long after a SIGTERM, whatever it does by then: who sent it sends SIGKILL next, and then nobody learns that
    /// the run may go back into the queue. `farewell` is its last word, `event` that for a program, told when the time is up. Nothing durable
    /// is lost: a checkpoint is whole or not there.
    #[cfg(unix)]
    pub(crate) fn end_within(
        &self,
        grace: Duration,
        farewell: String,
        event: impl Fn() -> Option<String> + Send + 'static,
    ) -> Result<(), Failure> {
        use std::io::Write;

        let failed = |e| Failure::run(format!("signals cannot be handled: {e}"));
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM]).map_err(failed)?;
        let sent = self.asked.load(Ordering::Relaxed) && !self.interrupted();
        let wait = move || {
            if sent || signals.forever().next().is_some() {
                std::thread::sleep(grace);
                let _ = writeln!(std::io::stderr().lock(), "warning: {farewell}");
                if let Some(line) = event() {
                    let _ = writeln!(std::io::stdout().lock(), "{line}");
                }
                signal_hook::low_level::exit(i32::from(REQUEUE));
            }
        };
        std::thread::Builder::new().name("grace".into()).spawn(wait).map(drop).map_err(failed)
    }

    /// There is no SIGTERM.
    #[cfg(not(unix))]
    pub(crate) fn end_within(
        &self,
        _: Duration,
        _: String,
        _: impl Fn() -> Option<String> + Send + 'static,
    ) -> Result<(), Failure> {
        Ok(())
    }

    /// Whether Ctrl-C was among the signals.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The exit code of a run that stopped as asked.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.interrupted() { INTERRUPTED } else { REQUEUE }
    }
}

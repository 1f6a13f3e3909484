//! What is done when an environment fails: the policy of recovery in one place.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use motley_core::guard::check_frame;
use motley_core::{Env, EnvError, Frame, Stream, TeamSpec};

use crate::collect::MakeEnv;

/// Resets tried before an environment is given up.
pub const MAX_RESETS: u64 = 3;

/// Pause before the second reset; doubled before the third.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Resets an environment, each attempt with a stream of its own; one that panics is built anew. Returns the attempts used.
///
/// # Errors
/// The last attempt's error.
pub fn reset_with_retries(
    env: &mut Box<dyn Env>,
    make: &MakeEnv,
    team: &TeamSpec,
    frame: &mut Frame<'_>,
    stream: impl Fn(u64) -> Stream,
) -> Result<u64, EnvError> {
    let mut last = EnvError::Failed("never reset".into());
    for attempt in 0..MAX_RESETS {
        if attempt > 0 {
            std::thread::sleep(BACK_OFF * (1 << (attempt - 1)));
        }
        frame.prepare();
        let tried = catch_unwind(AssertUnwindSafe(|| env.reset(stream(attempt), frame)));
        match tried {
            Ok(Ok(())) => match check_frame(team, frame, &vec![true; team.n()]) {
                Ok(()) => return Ok(attempt + 1),
                Err(error) => last = error,
            },
            Ok(Err(error)) => last = error,
            Err(panic) => {
                last = EnvError::Panicked(panic_text(panic.as_ref()));
                *env = make().map_err(|e| EnvError::Failed(e.to_string()))?;
            }
        }
    }
    Err(last)
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

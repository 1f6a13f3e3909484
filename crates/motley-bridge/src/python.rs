//! How a worker is started.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::spec::ADAPTERS;
use crate::{folders_of, interpreter};

/// Ends the worker when Motley has gone.
const GUARD: &str = include_str!("../python/guard.py");
/// Serves an adapter's environments over the socket.
const WORKER: &str = include_str!("../python/worker.py");

/// Starts a worker with `link` as its standard input.
///
/// # Errors
/// What the system says.
pub(crate) fn start(link: OwnedFd) -> std::io::Result<Child> {
    let interpreter = interpreter();
    let mut command = Command::new(&interpreter);
    if let Some(folders) = folders_of(&interpreter) {
        command.env("PYTHONPATH", folders);
    }
    command.arg("-c").arg(format!("{GUARD}\n{ADAPTERS}\n{WORKER}"));
    // Nothing is written to its standard output: the guard sees there that this end has gone.
    command.stdin(Stdio::from(link)).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.env("PYGAME_HIDE_SUPPORT_PROMPT", "1");
    for threads in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
        command.env(threads, "1");
    }
    // A group of its own: Ctrl-C on the terminal is Motley's to handle, and simulators that it starts are ended with it.
    command.process_group(0).spawn()
}

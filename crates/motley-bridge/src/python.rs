//! Which Python runs the workers, and how one is started.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::spec::ADAPTERS;

/// Ends the worker when Motley has gone.
const GUARD: &str = include_str!("../python/guard.py");
/// Serves an adapter's environments over the socket.
const WORKER: &str = include_str!("../python/worker.py");

/// The interpreter: `MOTLEY_PYTHON`, else that of the active virtual environment, else `python3` on the path.
pub(crate) fn interpreter() -> PathBuf {
    if let Some(named) = std::env::var_os("MOTLEY_PYTHON").filter(|v| !v.is_empty()) {
        return named.into();
    }
    let active = std::env::var_os("VIRTUAL_ENV").map(|root| PathBuf::from(root).join("bin").join("python"));
    active.filter(|python| python.exists()).unwrap_or_else(|| "python3".into())
}

/// Starts a worker with `link` as its standard input.
///
/// # Errors
/// What the system says.
pub(crate) fn start(link: OwnedFd) -> std::io::Result<Child> {
    let mut command = Command::new(interpreter());
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

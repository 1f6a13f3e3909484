//! Which Python runs the workers, and how one is started.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::spec::ADAPTERS;

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
#[cfg(unix)]
pub(crate) fn start(link: std::os::fd::OwnedFd) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(interpreter());
    command.arg("-c").arg(format!("{ADAPTERS}\n{WORKER}"));
    command.stdin(Stdio::from(link)).stdout(Stdio::null()).stderr(Stdio::inherit());
    command.env("MOTLEY_PARENT", std::process::id().to_string());
    command.env("PYGAME_HIDE_SUPPORT_PROMPT", "1");
    for threads in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
        command.env(threads, "1");
    }
    // A group of its own: Ctrl-C on the terminal is Motley's to handle, and simulators that it starts can be ended with it.
    command.process_group(0);
    on_lasting_thread(command)
}

type Request = (Command, Sender<std::io::Result<Child>>);

/// Starts a process from a thread that lives as long as this process: Linux ends a worker with the thread that started it.
fn on_lasting_thread(command: Command) -> std::io::Result<Child> {
    static STARTER: OnceLock<Mutex<Option<Sender<Request>>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (send, receive) = channel::<Request>();
        let run = move || {
            for (mut command, answer) in receive {
                // Whoever asked may be gone.
                let _ = answer.send(command.spawn());
            }
        };
        Mutex::new(std::thread::Builder::new().name("motley-workers".into()).spawn(run).ok().map(|_| send))
    });
    let gone = || std::io::Error::other("the thread that starts workers could not be made");
    let (send, receive) = channel();
    let held = starter.lock().unwrap_or_else(PoisonError::into_inner);
    held.as_ref().ok_or_else(gone)?.send((command, send)).map_err(|_| gone())?;
    drop(held);
    receive.recv().map_err(|_| gone())?
}

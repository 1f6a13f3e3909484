//! One process of the game: started in a group and a folder of its own, ended with everything that it started.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::install::Install;

/// Runs the game, and ends its group when standard input does: only Motley holds the other end of that pipe, so that no game outlives
/// it, not even after `kill -9`.
#[cfg(unix)]
const GUARD: &str = r#"exec 3<&0 </dev/null
"$@" 3<&- & game=$!
{ cat <&3 >/dev/null; kill -KILL 0; } &
wait $game"#;

/// How much of what the game printed is quoted when it has ended.
const QUOTE: u64 = 400;

/// A running game. Dropping it ends the process and removes its folder.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    folder: PathBuf,
    /// Where the game listens.
    pub(crate) port: u16,
}

impl Process {
    /// Starts the game on a free port of this machine.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(install: &Install) -> std::io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("motley-sc2-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)?;
        // Free at this moment. Should another program take it before the game does, the game ends and the next reset tries another.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).map(|a| a.port());
        let child = port.and_then(|port| Ok((command(install, port, &folder)?.spawn()?, port)));
        match child {
            Ok((child, port)) => Ok(Self { child, folder, port }),
            Err(error) => {
                // The folder is only litter now; the error matters more.
                let _ = std::fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// How the process ended and what it said last, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(self.account(status))
    }

    fn account(&self, status: ExitStatus) -> String {
        let said = last_words(&log_file(&self.folder)).unwrap_or_default();
        let said = said.trim();
        if said.is_empty() { format!("its process ended ({status})") } else { format!("its process ended ({status}): {said}") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        #[cfg(unix)]
        let _ = rustix::process::kill_process_group(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("output.log")
}

/// The end of a file.
fn last_words(file: &Path) -> std::io::Result<String> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(QUOTE)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A folder as the game wants it: with a separator at its end.
fn with_separator(path: &Path) -> std::ffi::OsString {
    path.join("").into_os_string()
}

fn command(install: &Install, port: u16, folder: &Path) -> std::io::Result<Command> {
    let output = File::create(log_file(folder))?;
    #[cfg(unix)]
    let mut command = {
        use std::os::unix::process::CommandExt;
        let mut shell = Command::new("/bin/sh");
        // A group of its own: Ctrl-C on the terminal is Motley's to handle.
        shell.args(["-c", GUARD, "sh"]).arg(install.program()).stdin(Stdio::piped()).process_group(0);
        shell
    };
    #[cfg(not(unix))]
    let mut command = {
        let mut game = Command::new(install.program());
        game.stdin(Stdio::null());
        game
    };
    if cfg!(windows) {
        // The Windows program finds its libraries from there alone.
        command.current_dir(install.root.join("Support64"));
    }
    command.args(["-listen", "127.0.0.1", "-port"]).arg(port.to_string());
    command.arg("-dataDir").arg(with_separator(&install.root));
    command.arg("-tempDir").arg(with_separator(folder));
    if let Some(hash) = &install.data_version {
        command.args(["-dataVersion", hash]);
    }
    command.stdout(output.try_clone()?).stderr(output);
    Ok(command)
}

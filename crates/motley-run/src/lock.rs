//! One process a run folder: a lock held by the operating system, with process and host in it for people to read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk::refuse_irregular;
use crate::error::RunError;
use crate::platform;

/// The name of the lock file within a run folder.
pub(crate) const NAME: &str = ".lock";

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<SlurmJob>,
}

/// The job of a Slurm cluster that a process belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SlurmJob {
    /// `SLURM_JOB_ID`: of an array, each task has its own.
    id: String,
    /// `SLURM_RESTART_COUNT`: how often it went back into the queue; not set before the first time.
    restarts: u64,
}

impl SlurmJob {
    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let restarts = variable("SLURM_RESTART_COUNT").and_then(|n| n.parse().ok()).unwrap_or(0);
        Some(Self { id: variable("SLURM_JOB_ID")?, restarts })
    }

    /// Whether this is `other` out of the queue again: Slurm requeues a job only when none of its processes is left, also that of a
    /// node that failed.
    fn follows(&self, other: &Self) -> bool {
        self.id == other.id && self.restarts > other.restarts
    }
}

/// A held lock; dropping it, or the end of the process however it comes, lets it go.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// What is to be told: the lock of a process that died was taken over.
    pub(crate) warning: Option<String>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Emptied, not deleted: another process may have opened it already, and two files would mean two locks.
        let _ = self.file.set_len(0);
        // Closing is not enough: a child that is being started holds a copy of the descriptor until it runs its program.
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Takes the lock of the folder `dir`.
    pub(crate) fn take(dir: &Path) -> Result<Self, RunError> {
        let job = SlurmJob::of(|name| std::env::var(name).ok());
        Self::take_as(dir, Holder { pid: std::process::id(), host: platform::host(), job })
    }

    fn take_as(dir: &Path, me: Holder) -> Result<Self, RunError> {
        let path = dir.join(NAME);
        let fail = |what, e| RunError::io(what, &path)(e);
        refuse_irregular(&path).map_err(|e| fail("open", e))?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(|e| fail("open", e))?;
        let system = file.try_lock();
        let mut text = String::new();
        // Unreadable content is as good as none: the system's lock decides.
        let _ = (&file).take(4096).read_to_string(&mut text);
        let holder: Option<Holder> = serde_json::from_str(&text).ok();
        let requeued = |h: &Holder| me.job.as_ref().zip(h.job.as_ref()).is_some_and(|(mine, its)| mine.follows(its));
        match (&system, &holder) {
            (Err(TryLockError::WouldBlock), _) => return Err(locked(dir, holder.as_ref(), "")),
            (_, Some(h)) if requeued(h) => {}
            // Where the file system's locks do not reach other hosts (or do not work at all), only the content can tell.
            (Ok(()), Some(h)) if h.host != me.host => {
                let mend = format!("; if that host is gone, delete {}", path.display());
                return Err(locked(dir, Some(h), &mend));
            }
            (Err(TryLockError::Error(_)), Some(h)) if h.host != me.host || platform::is_alive(h.pid) => {
                let mend = format!("; if that process is gone, delete {}", path.display());
                return Err(locked(dir, Some(h), &mend));
            }
            _ => {}
        }
        let warning = holder.map(|h| format!("process {} ended without letting go of {}; taken over", h.pid, dir.display()));
        write(&mut file, &me).map_err(|e| fail("write", e))?;
        Ok(Self { file, warning })
    }
}

fn write(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)?;
    file.sync_all()
}

fn locked(dir: &Path, holder: Option<&Holder>, mend: &str) -> RunError {
    let holder = holder.map_or_else(|| "another process".to_owned(), |h| format!("process {} on host {}", h.pid, h.host));
    RunError::Locked { dir: dir.to_owned(), holder, mend: mend.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        assert_eq!(first.warning, None);
        let error = Lock::take(dir.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains(&format!("process {} on host {}", std::process::id(), platform::host())), "{text}");
        drop(first);
        assert_eq!(Lock::take(dir.path()).unwrap().warning, None, "a clean end leaves nothing to tell");
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = std::process::Command::new("true").spawn().unwrap();
        let pid = process.id();
        process.wait().unwrap();
        let holder = Holder { pid, host: platform::host(), job: None };
        std::fs::write(dir.path().join(NAME), serde_json::to_string(&holder).unwrap()).unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        assert!(lock.warning.as_ref().unwrap().contains(&pid.to_string()));
        assert!(Lock::take(dir.path()).is_err());
    }

    #[test]
    fn a_lock_of_another_host_needs_a_person() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(NAME), r#"{"pid": 1, "host": "elsewhere"}"#).unwrap();
        let text = Lock::take(dir.path()).unwrap_err().to_string();
        assert!(text.contains("elsewhere") && text.contains("delete"), "{text}");
        std::fs::write(dir.path().join(NAME), "torn {").unwrap();
        assert!(Lock::take(dir.path()).is_ok());
    }

    /// Slurm runs a job anew, on another node, after its node failed: that node's process let nothing go.
    #[test]
    fn a_requeued_job_takes_over_from_the_node_that_failed() {
        let dir = tempfile::tempdir().unwrap();
        let holder = |host: &str, id: &str, restarts: Option<&str>| Holder {
            pid: 1,
            host: host.into(),
            job: SlurmJob::of(|name| if name == "SLURM_JOB_ID" { Some(id.into()) } else { restarts.map(Into::into) }),
        };
        let failed = serde_json::to_string(&holder("node1", "77", Some("1"))).unwrap();
        // Another job, the same one twice on two nodes, and one that does not know its job.
        for other in [holder("node2", "78", Some("2")), holder("node2", "77", Some("1")), holder("node2", "77", None)] {
            std::fs::write(dir.path().join(NAME), &failed).unwrap();
            assert!(Lock::take_as(dir.path(), other).unwrap_err().to_string().contains("node1"));
        }
        let lock = Lock::take_as(dir.path(), holder("node2", "77", Some("2"))).unwrap();
        assert!(lock.warning.as_ref().unwrap().contains("taken over"));
        assert!(
            Lock::take_as(dir.path(), holder("node3", "77", Some("3"))).is_err(),
            "where the system's lock reaches, it decides"
        );
    }
}

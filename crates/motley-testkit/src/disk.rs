//! A disk that fails when told to: it counts the calls that change something, and breaks from a chosen one on.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use motley_run::disk::{Disk, RealDisk};

/// What goes wrong. Calls are numbered from 0; reading is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing; the calls are only recorded.
    None,
    /// The process dies at this call: a write stops half-way, and nothing after it happens.
    KillAt(usize),
    /// This one call fails (a write half-way), those after it work.
    FailAt(usize, io::ErrorKind),
    /// Every write from this call on fails half-way; renaming and removing still work, as on a full disk.
    FullFrom(usize),
}

/// The real file system, with a [`DiskFault`].
#[derive(Debug)]
pub struct FaultyDisk {
    fault: DiskFault,
    calls: AtomicUsize,
    trace: Mutex<Vec<String>>,
}

impl FaultyDisk {
    /// A disk with that fault.
    pub fn new(fault: DiskFault) -> Self {
        Self { fault, calls: AtomicUsize::new(0), trace: Mutex::new(Vec::new()) }
    }

    /// How many changing calls were made, failed ones included.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The changing calls: `write NAME`, `link FROM TO`, `rename FROM TO`, `sync NAME`, `create NAME`, `remove NAME` (last path part only).
    pub fn trace(&self) -> Vec<String> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn before(&self, what: &str, paths: &[&Path]) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let name = |p: &&Path| p.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let names: Vec<String> = paths.iter().map(name).collect();
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{what} {}", names.join(" ")));
        match self.fault {
            DiskFault::KillAt(at) if call >= at => Err(io::Error::other("killed")),
            DiskFault::FailAt(at, kind) if call == at => Err(kind.into()),
            DiskFault::FullFrom(at) if call >= at && ["write", "create"].contains(&what) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// Whether the failing call is the one at which the fault begins; a process already dead writes nothing.
    fn leaves_half(&self) -> bool {
        match self.fault {
            DiskFault::KillAt(at) => self.calls() == at + 1,
            DiskFault::None => false,
            DiskFault::FailAt(..) | DiskFault::FullFrom(_) => true,
        }
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.before("create", &[path])?;
        RealDisk.create_dir(path)
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let Err(error) = self.before("write", &[path]) else { return RealDisk.write(path, parts) };
        if self.leaves_half() {
            let whole = parts.concat();
            RealDisk.write(path, &[&whole[..whole.len() / 2]])?;
        }
        Err(error)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before("link", &[from, to])?;
        RealDisk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before("rename", &[from, to])?;
        RealDisk.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.before("sync", &[path])?;
        RealDisk.sync_dir(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.before("remove", &[path])?;
        RealDisk.remove(path)
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        RealDisk.open(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }
}

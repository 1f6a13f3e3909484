//! Typed errors of the run folder. Their texts say what, where, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::shell;

/// One entry that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which entry, dotted.
    pub name: String,
    /// What was wanted.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.name, self.expected, self.found)
    }
}

fn lines<T: fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 12;
    let mut text: String = items.iter().take(SHOWN).map(|i| format!("\n  {i}")).collect();
    if items.len() > SHOWN {
        text.push_str(&format!("\n  and {} more", items.len() - SHOWN));
    }
    text
}

/// What can go wrong between a checkpoint and the disk.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The disk refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// `write`, `read`, `rename`, ...
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// A format that this version does not read.
    #[error("{} has format {found}, written by motley {writer}; this version reads format {supported}: use motley {writer}", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The library version that wrote it.
        writer: String,
        /// The format read here.
        supported: u64,
    },
    /// An entry of the state is missing, of another type or of another length.
    #[error("checkpoint entry \"{}\": expected {}, found {}", .0.name, .0.expected, .0.found)]
    Entry(Difference),
    /// An entry was written twice: a mistake in the program.
    #[error("checkpoint entry \"{0}\" was written twice")]
    Duplicate(String),
    /// The checkpoint belongs to another algorithm, task or team.
    #[error("the checkpoint belongs to another run:{}", lines(.0))]
    Mismatch(Vec<Difference>),
    /// There is no checkpoint.
    #[error("{} holds no checkpoint", .0.display())]
    None(PathBuf),
    /// There are checkpoints, but none of them is whole.
    #[error("{} holds no checkpoint that is whole:{}", dir.display(), lines(reasons))]
    NoneValid {
        /// The folder of checkpoints.
        dir: PathBuf,
        /// Why each was refused.
        reasons: Vec<String>,
    },
}

impl CheckpointError {
    /// The exit code of a command that ends with this error: 2 for a checkpoint of another team, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Mismatch(_) | Self::Entry(_) => 2,
            _ => 1,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, why: impl fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), why: why.to_string() }
    }
}

/// What can go wrong with a run folder.
#[derive(Debug, Error)]
pub enum RunError {
    /// The folder already holds a run.
    #[error("{} already holds a run: give another --out, or go on with --resume {}", .0.display(), shell::path(.0))]
    Exists(PathBuf),
    /// The folder holds parts of a run, without the `run.json` and the checkpoint by which it could go on.
    #[error(
        "{} holds what is left of a run, without run.json or without a checkpoint, which cannot go on: give another --out, or remove the folder",
        .0.display()
    )]
    Remains(PathBuf),
    /// The folder holds no run.
    #[error("{} holds no run (no run.json)", .0.display())]
    NotARun(PathBuf),
    /// Another process is at work in the folder.
    #[error("{} is in use by {holder}: wait for it to end{mend}", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// Process and host.
        holder: String,
        /// What else may be done.
        mend: String,
    },
    /// The disk refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// `write`, `read`, ...
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be understood.
    #[error("{} cannot be read: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it and why.
        why: String,
    },
}

impl RunError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exists(_) | Self::Remains(_) | Self::NotARun(_) | Self::Locked { .. } => 2,
            Self::Io { .. } | Self::Damaged { .. } => 1,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, why: impl fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), why: why.to_string() }
    }
}

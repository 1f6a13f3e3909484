//! Environments written in Python by other people, by name: `py:module:callable`, `gym/ID`, `football/SCENARIO`.
//!
//! They run in worker processes, a few copies in each, with their arrays in shared memory. An environment that raises, dies or
//! hangs costs its episode: [`motley_core::EnvError`], after which a reset starts it, and its process, anew.
//! The Python side is part of this crate; a worker needs numpy and the environment's own package, nothing of Motley's.

#[cfg(unix)]
mod env;
mod family;
#[cfg(unix)]
mod link;
#[cfg(unix)]
mod pool;
#[cfg(unix)]
mod python;
mod spec;
mod told;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

#[cfg(unix)]
pub use env::ForeignEnv;
pub use family::{ForeignTask, families};
pub use spec::{ADAPTERS, DescriptionError, team};
pub use told::{refused, told};

/// The interpreter: `MOTLEY_PYTHON`, else that of the active virtual environment, else `python3` on the path.
pub fn interpreter() -> PathBuf {
    if let Some(named) = std::env::var_os("MOTLEY_PYTHON").filter(|v| !v.is_empty()) {
        return named.into();
    }
    let active = std::env::var_os("VIRTUAL_ENV").map(|root| PathBuf::from(root).join("bin").join("python"));
    active.filter(|python| python.exists()).unwrap_or_else(|| "python3".into())
}

/// An interpreter, and what its workers are given as PYTHONPATH.
static FOLDERS: Mutex<Option<(PathBuf, OsString)>> = Mutex::new(None);

/// Has workers of `interpreter` look for modules in `folders` (as PYTHONPATH has them) first: a program in that interpreter finds
/// modules beside its script, say, where a worker would not. Workers of any other interpreter are not told.
pub fn look_in(interpreter: PathBuf, folders: OsString) {
    *FOLDERS.lock().unwrap_or_else(PoisonError::into_inner) = Some((interpreter, folders));
}

/// Where workers of this interpreter look first.
#[cfg(unix)]
fn folders_of(interpreter: &std::path::Path) -> Option<OsString> {
    let told = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    told.as_ref().filter(|(named, _)| named == interpreter).map(|(_, folders)| folders.clone())
}

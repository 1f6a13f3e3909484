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

#[cfg(unix)]
pub use env::ForeignEnv;
pub use family::{ForeignTask, families};
pub use spec::{ADAPTERS, SpecError, team};

//! Motley's native environments: one folder a suite, a file a task, no download.
//!
//! [`Registry`] finds a task by name, [`check`] tries the environment contract on any environment.

mod bytes;
pub mod check;
pub mod matrix;
pub mod mpe;
pub mod npz;
pub mod registry;
pub mod skirmish;
pub mod trace;
pub mod vmas;
pub mod zip;

pub use registry::Registry;

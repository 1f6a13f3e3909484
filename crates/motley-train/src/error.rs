//! Why training ends before its budget.

use std::panic::{AssertUnwindSafe, catch_unwind};

use motley_core::ConfigError;
use motley_core::guard::panic_text;
use motley_kernels::PoolError;
use motley_nn::UpdateError;
use motley_run::{CheckpointError, RunError};
use thiserror::Error;

use crate::bundle::BundleError;
use crate::collect::{CollectError, ResumeError};
use crate::evaluate::EvalError;

/// Why training ended before its budget.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The run folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The first checkpoint: a disk that takes none keeps nothing of what would be learned.
    #[error(
        "{0}; without a first checkpoint nothing that is learned would be kept: make room on the disk, or name a folder elsewhere"
    )]
    First(CheckpointError),
    /// Environments that could not be brought back.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// Environments that cannot go on.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// An evaluation.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Learning.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// Threads.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A fault of the program while actions are chosen (environments that panic are replaced) or in an update.
    #[error("{what} panicked: {text}; this is a fault of the algorithm, the last checkpoint stands")]
    Panicked {
        /// Where.
        what: &'static str,
        /// What it said.
        text: String,
    },
}

/// What `work` gives, or that it panicked.
pub(crate) fn guarded<T>(what: &'static str, work: impl FnOnce() -> T) -> Result<T, TrainError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| TrainError::Panicked { what, text: panic_text(panic.as_ref()) })
}

//! What a command ends with when it cannot do its work.

use std::fmt;

use motley_core::ConfigError;
use motley_run::{CheckpointError, RunError};
use motley_train::TrainError;

/// A message for a person and the exit code for a script.
#[derive(Debug)]
pub(crate) struct Failure {
    /// 1 the run failed, 2 usage or configuration, 3 an outside part is missing, 4 a band was missed.
    pub(crate) code: u8,
    /// What, where, what to do.
    pub(crate) message: String,
}

impl Failure {
    /// A failure that is no fault of the configuration.
    pub(crate) fn run(message: impl fmt::Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = if matches!(error, ConfigError::Missing { .. }) { 3 } else { 2 };
        Self { code, message: error.to_string() }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self { code: error.exit_code(), message: error.to_string() }
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        Self { code: error.exit_code(), message: error.to_string() }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Config(e) => e.into(),
            TrainError::Run(e) => e.into(),
            TrainError::Checkpoint(e) => e.into(),
            other => Self::run(other),
        }
    }
}

//! What the Python side says of an error.

use motley_core::{ConfigError, EnvError};
use serde::Deserialize;

/// What a worker says when it cannot do as asked.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Told {
    Missing {
        what: String,
        mend: String,
    },
    Contract {
        #[serde(rename = "where")]
        place: String,
        expected: String,
        found: String,
    },
    Misshaped {
        #[serde(rename = "where")]
        place: String,
        expected: String,
        found: String,
    },
    Invalid {
        text: String,
    },
    Failed {
        text: String,
    },
}

impl From<Told> for EnvError {
    fn from(told: Told) -> Self {
        match told {
            Told::Missing { what, mend } => Self::Failed(format!("{what} is missing: {mend}")),
            Told::Contract { place, expected, found } => Self::Contract { where_: place, expected, found },
            Told::Misshaped { place, expected, found } => Self::Misshaped { where_: place, expected, found },
            Told::Invalid { text } | Told::Failed { text } => Self::Failed(text),
        }
    }
}

impl Told {
    /// Why an environment of `task` cannot be made.
    pub(crate) fn refusal(self, task: &str) -> ConfigError {
        match self {
            Self::Missing { what, mend } => ConfigError::Missing { what, mend },
            told => ConfigError::Invalid(format!("{task}: {}", EnvError::from(told))),
        }
    }
}

/// Why an environment of `task` cannot be made, by the adapters' account (JSON).
pub fn refused(task: &str, account: &str) -> ConfigError {
    match serde_json::from_str::<Told>(account) {
        Ok(told) => told.refusal(task),
        Err(e) => ConfigError::Invalid(format!("{task}: {}", unreadable(&e))),
    }
}

fn unreadable(error: &serde_json::Error) -> String {
    format!("an account of an error cannot be read: {error}")
}

/// The error that the adapters' account (JSON) tells of.
pub fn told(account: &str) -> EnvError {
    serde_json::from_str::<Told>(account).map_or_else(|e| EnvError::Failed(unreadable(&e)), Into::into)
}

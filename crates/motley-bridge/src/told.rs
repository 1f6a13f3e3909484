//! What the Python side says of an error.

use motley_core::EnvError;
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

/// The error that the adapters' account (JSON) tells of.
pub fn told(account: &str) -> EnvError {
    serde_json::from_str::<Told>(account)
        .map_or_else(|e| EnvError::Failed(format!("an account of an error cannot be read: {e}")), Into::into)
}

//! What can be wrong with a game, a policy or a request.

use thiserror::Error;

/// A game or request that cannot be computed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TheoryError {
    /// A table whose length does not fit the game.
    #[error("{what}: expected {expected} entries, found {found}")]
    Shape {
        /// Which table.
        what: String,
        /// Length by the game's shape.
        expected: usize,
        /// Length as given.
        found: usize,
    },
    /// Numbers that are not a probability distribution.
    #[error("{what}: expected non-negative numbers that sum to 1, found {found}")]
    Distribution {
        /// Which row.
        what: String,
        /// Its sum or its first bad entry.
        found: f64,
    },
    /// A number outside its range.
    #[error("{what}: expected {expected}, found {found}")]
    Value {
        /// Which number.
        what: String,
        /// The range.
        expected: &'static str,
        /// As given.
        found: String,
    },
    /// A game of no known name.
    #[error("unknown game \"{name}\", known are {known}{}", .nearest.as_ref().map_or(String::new(), |n| format!(" (did you mean \"{n}\"?)")))]
    UnknownGame {
        /// As written.
        name: String,
        /// All names.
        known: String,
        /// The nearest of them.
        nearest: Option<String>,
    },
    /// More to enumerate than is sensible.
    #[error("{what} has {size} cases to enumerate, at most {limit} are: take fewer states, agents or actions")]
    TooLarge {
        /// What is enumerated.
        what: String,
        /// How many cases (saturated).
        size: usize,
        /// The most allowed.
        limit: usize,
    },
}

/// Checks that `row` is a distribution to 1e-9.
pub(crate) fn check_distribution(what: impl Fn() -> String, row: &[f64]) -> Result<(), TheoryError> {
    if let Some(&bad) = row.iter().find(|x| !x.is_finite() || **x < 0.0) {
        return Err(TheoryError::Distribution { what: what(), found: bad });
    }
    let sum: f64 = row.iter().sum();
    if (sum - 1.0).abs() > 1e-9 {
        return Err(TheoryError::Distribution { what: what(), found: sum });
    }
    Ok(())
}

/// Checks a table's length.
pub(crate) fn check_len(what: &str, expected: usize, found: usize) -> Result<(), TheoryError> {
    if expected == found { Ok(()) } else { Err(TheoryError::Shape { what: what.to_owned(), expected, found }) }
}

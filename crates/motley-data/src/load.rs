//! Taking in what a memory saved.

use thiserror::Error;

/// Why a memory could not be taken in, which is then not to be used. `E` is what befalls the reading of a piece.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError<E> {
    /// Numbers or pieces that contradict each other, or are of another memory.
    #[error("the saved memory does not fit: {0}")]
    Unfit(String),
    /// A piece could not be read.
    #[error("{0}")]
    Piece(E),
}

impl<E> From<String> for LoadError<E> {
    fn from(why: String) -> Self {
        Self::Unfit(why)
    }
}

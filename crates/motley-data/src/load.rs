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

/// Has `place` take in piece by piece, each let go of before the next is asked for; there have to be `needed`.
pub(crate) fn each_piece<B: AsRef<[u8]>, E>(
    needed: usize,
    pieces: impl IntoIterator<Item = Result<B, E>>,
    mut place: impl FnMut(usize, &[u8]) -> Result<(), String>,
) -> Result<(), LoadError<E>> {
    let mut found = 0;
    for piece in pieces {
        let piece = piece.map_err(LoadError::Piece)?;
        if found < needed {
            place(found, piece.as_ref())?;
        }
        found += 1;
    }
    if found != needed {
        return Err(LoadError::Unfit(format!("it has {found} pieces where {needed} are needed")));
    }
    Ok(())
}

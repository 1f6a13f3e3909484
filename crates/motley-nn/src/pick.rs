//! Which rows of a rollout one gradient step sees.

use motley_core::Stream;
use motley_data::minibatch::{self, Chunk};

use crate::optim::UpdateError;

/// A minibatch as a set of (environment, time) pairs; every network picks its own rows of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Pick {
    /// All rows in order.
    All,
    /// Independent rows, `env * steps + time`.
    Rows(Vec<u32>),
    /// Runs of `length` steps, for recurrent networks.
    Chunks {
        /// Where they start.
        chunks: Vec<Chunk>,
        /// Steps each.
        length: usize,
    },
}

/// How rollouts are cut into minibatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Minibatches per pass; their sizes differ by at most one and no row is dropped.
    pub minibatches: usize,
    /// Steps of a recurrent chunk; 0 for networks without memory.
    pub chunk: usize,
}

impl Cut {
    /// The minibatches of one pass over `envs x steps` rows.
    ///
    /// # Errors
    /// A rollout whose length is no multiple of the chunk.
    pub fn pass(self, envs: usize, steps: usize, rng: Stream) -> Result<Vec<Pick>, UpdateError> {
        if self.chunk > 0 {
            let dealt = minibatch::chunks(envs, steps, self.chunk, self.minibatches, rng)
                .map_err(|e| UpdateError::Data(e.to_string()))?;
            return Ok(dealt.into_iter().map(|chunks| Pick::Chunks { chunks, length: self.chunk }).collect());
        }
        if self.minibatches == 1 {
            return Ok(vec![Pick::All]);
        }
        Ok(minibatch::feed_forward(envs * steps, self.minibatches, rng).into_iter().map(Pick::Rows).collect())
    }
}

impl Pick {
    /// The picked rows of `members` blocks of `rows` rows each (member after member), in the order that a network takes
    /// them: for chunks time-major, `[length, members * chunks]`.
    pub fn indices(&self, members: usize, rows: usize, steps: usize) -> Vec<usize> {
        match self {
            Self::All => (0..members * rows).collect(),
            Self::Rows(list) => (0..members).flat_map(|m| list.iter().map(move |r| m * rows + *r as usize)).collect(),
            Self::Chunks { chunks, length } => (0..*length)
                .flat_map(|l| {
                    (0..members)
                        .flat_map(move |m| chunks.iter().map(move |c| m * rows + c.env as usize * steps + c.start as usize + l))
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use motley_core::Purpose;

    use super::*;

    fn rng() -> Stream {
        Stream::new(4, Purpose::Shuffle, 0, 0)
    }

    #[test]
    fn every_row_is_picked_once_a_pass() {
        for cut in [Cut { minibatches: 1, chunk: 0 }, Cut { minibatches: 7, chunk: 0 }, Cut { minibatches: 3, chunk: 4 }] {
            let mut all: Vec<usize> = cut.pass(5, 8, rng()).unwrap().iter().flat_map(|p| p.indices(2, 40, 8)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..80).collect::<Vec<_>>(), "{cut:?}");
        }
    }

    #[test]
    fn chunks_are_time_major() {
        let pick = Pick::Chunks { chunks: vec![Chunk { env: 1, start: 4 }, Chunk { env: 0, start: 2 }], length: 2 };
        assert_eq!(pick.indices(2, 40, 8), [12, 2, 52, 42, 13, 3, 53, 43]);
    }

    #[test]
    fn a_chunk_must_divide_the_rollout() {
        let text = Cut { minibatches: 1, chunk: 3 }.pass(5, 8, rng()).unwrap_err().to_string();
        assert!(text.contains('8') && text.contains('3'), "{text}");
    }
}

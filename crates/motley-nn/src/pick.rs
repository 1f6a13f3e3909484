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

/// The rows of one gradient step as a network takes them, of `members` blocks of rows each, member after member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Which rows. Of recurrent networks those of the first step of every sequence, then those of the second, and so on.
    pub indices: Vec<usize>,
    /// Member and chunk of every sequence, the longest first; none without memory.
    pub sequences: Vec<(usize, Chunk)>,
    /// How many sequences go on at each step.
    pub active: Vec<usize>,
}

impl Pick {
    /// The picked rows that something `learns` from, of `members` blocks of `rows` rows each. A chunk goes on to the last of its rows that
    /// something does: what is before that is remembered there, what comes after it (a dead agent's rows) is left out.
    pub fn rows(&self, members: usize, rows: usize, steps: usize, learns: &dyn Fn(usize) -> bool) -> Rows {
        let of_members = |list: &[u32]| {
            (0..members).flat_map(|m| list.iter().map(move |r| m * rows + *r as usize)).filter(|r| learns(*r)).collect()
        };
        match self {
            Self::All => Rows { indices: (0..members * rows).filter(|r| learns(*r)).collect(), ..Rows::default() },
            Self::Rows(list) => Rows { indices: of_members(list), ..Rows::default() },
            Self::Chunks { chunks, length } => {
                let row = |m: usize, c: &Chunk, l: usize| m * rows + c.env as usize * steps + c.start as usize + l;
                let last = |m: usize, c: &Chunk| (0..*length).rev().find(|l| learns(row(m, c, *l))).map_or(0, |l| l + 1);
                let mut all: Vec<(usize, (usize, Chunk))> =
                    (0..members).flat_map(|m| chunks.iter().map(move |c| (m, *c))).map(|(m, c)| (last(m, &c), (m, c))).collect();
                all.retain(|(length, _)| *length > 0);
                all.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
                let going = (0..*length).map(|l| all.partition_point(|(length, _)| *length > l));
                let active: Vec<usize> = going.take_while(|count| *count > 0).collect();
                let sequences: Vec<(usize, Chunk)> = all.into_iter().map(|(_, sequence)| sequence).collect();
                let step = |(l, count): (usize, &usize)| sequences[..*count].iter().map(move |(m, c)| row(*m, c, l));
                Rows { indices: active.iter().enumerate().flat_map(step).collect(), active, sequences }
            }
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
            let mut all: Vec<usize> =
                cut.pass(5, 8, rng()).unwrap().iter().flat_map(|p| p.rows(2, 40, 8, &|_| true).indices).collect();
            all.sort_unstable();
            assert_eq!(all, (0..80).collect::<Vec<_>>(), "{cut:?}");
        }
    }

    #[test]
    fn chunks_are_time_major() {
        let pick = Pick::Chunks { chunks: vec![Chunk { env: 1, start: 4 }, Chunk { env: 0, start: 2 }], length: 2 };
        assert_eq!(pick.rows(2, 40, 8, &|_| true).indices, [12, 2, 52, 42, 13, 3, 53, 43]);
    }

    /// What nothing learns from is left out, but for what a later row of its chunk remembers.
    #[test]
    fn chunks_end_with_the_last_row_that_counts() {
        let chunks = vec![Chunk { env: 0, start: 0 }, Chunk { env: 1, start: 4 }, Chunk { env: 2, start: 0 }];
        let pick = Pick::Chunks { chunks: chunks.clone(), length: 4 };
        // Rows 0 to 3, 12 to 15 and 16 to 19 of the one member: the first chunk dies after a step, the second comes back at its end.
        let rows = pick.rows(1, 24, 8, &|r| r == 0 || r == 12 || r == 15);
        assert_eq!(rows.sequences, [(0, chunks[1]), (0, chunks[0])]);
        assert_eq!((rows.active, rows.indices), (vec![2, 1, 1, 1], vec![12, 0, 13, 14, 15]));
        assert_eq!(pick.rows(1, 24, 8, &|_| false), Rows::default());
        assert_eq!(Pick::All.rows(2, 3, 3, &|r| r % 2 == 1).indices, [1, 3, 5]);
        assert_eq!(Pick::Rows(vec![2, 0]).rows(2, 3, 3, &|r| r != 5).indices, [2, 0, 3]);
    }

    #[test]
    fn a_chunk_must_divide_the_rollout() {
        let text = Cut { minibatches: 1, chunk: 3 }.pass(5, 8, rng()).unwrap_err().to_string();
        assert!(text.contains('8') && text.contains('3'), "{text}");
    }
}

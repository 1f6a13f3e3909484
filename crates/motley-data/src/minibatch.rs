//! Minibatches: every sample exactly once, sizes that differ by at most one.

use motley_core::Stream;
use thiserror::Error;

/// A run of consecutive steps of one environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Which environment.
    pub env: u32,
    /// Its first step.
    pub start: u32,
}

/// A chunk length that does not divide the rollout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a rollout of T = {steps} steps cannot be cut into chunks of {chunk}: choose a chunk length that divides {steps}")]
pub struct ChunkError {
    steps: usize,
    chunk: usize,
}

/// A random partition of the rows `0..total` into `parts` minibatches.
///
/// Sizes differ by at most one and the larger ones come first; no row is dropped. No minibatch is ever empty: where there
/// are fewer rows than parts, there are as many minibatches as rows. `total` must be below 2^32.
pub fn feed_forward(total: usize, parts: usize, stream: Stream) -> Vec<Vec<u32>> {
    deal((0..total).map(|row| row as u32).collect(), parts, stream)
}

/// A random partition of all chunks of `chunk` steps of `envs` environments, dealt as [`feed_forward`] deals rows.
///
/// # Errors
/// `chunk` is 0 or does not divide `steps`.
pub fn chunks(envs: usize, steps: usize, chunk: usize, parts: usize, stream: Stream) -> Result<Vec<Vec<Chunk>>, ChunkError> {
    if chunk == 0 || !steps.is_multiple_of(chunk) {
        return Err(ChunkError { steps, chunk });
    }
    let all = (0..envs)
        .flat_map(|env| (0..steps).step_by(chunk).map(move |start| Chunk { env: env as u32, start: start as u32 }))
        .collect();
    Ok(deal(all, parts, stream))
}

fn deal<T>(mut items: Vec<T>, parts: usize, mut stream: Stream) -> Vec<Vec<T>> {
    stream.shuffle(&mut items);
    let parts = parts.clamp(1, items.len().max(1));
    let (size, larger) = (items.len() / parts, items.len() % parts);
    let mut items = items.into_iter();
    let dealt = (0..parts).map(|i| items.by_ref().take(size + usize::from(i < larger)).collect::<Vec<_>>());
    dealt.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::Purpose;
    use proptest::prelude::*;

    fn stream(seed: u64) -> Stream {
        Stream::new(seed, Purpose::Shuffle, 0, 0)
    }

    proptest! {
        #[test]
        fn rows_are_partitioned_evenly(total in 0usize..300, parts in 0usize..40, seed in 0u64..1000) {
            let dealt = feed_forward(total, parts, stream(seed));
            prop_assert_eq!(dealt.len(), parts.max(1).min(total));
            let sizes: Vec<usize> = dealt.iter().map(Vec::len).collect();
            if let (Some(min), Some(max)) = (sizes.iter().min(), sizes.iter().max()) {
                prop_assert!(*min > 0 && max - min <= 1);
            }
            let mut rows: Vec<u32> = dealt.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..total as u32).collect::<Vec<_>>());
        }

        #[test]
        fn chunks_cover_every_step_once(envs in 1usize..6, count in 1usize..8, chunk in 1usize..7, parts in 1usize..10) {
            let steps = count * chunk;
            let dealt = chunks(envs, steps, chunk, parts, stream(1)).unwrap();
            let mut seen = vec![0; envs * steps];
            for c in dealt.concat() {
                (0..chunk).for_each(|k| seen[c.env as usize * steps + c.start as usize + k] += 1);
            }
            prop_assert!(seen.iter().all(|&n| n == 1));
        }
    }

    #[test]
    fn a_stream_names_its_order_and_orders_vary() {
        assert_eq!(feed_forward(50, 3, stream(1)), feed_forward(50, 3, stream(1)));
        assert_ne!(feed_forward(50, 3, stream(1)), feed_forward(50, 3, stream(2)));
        // Every row is equally likely to land in the first of 4 parts.
        let mut first = [0u32; 8];
        for seed in 0..4000 {
            feed_forward(8, 4, stream(seed))[0].iter().for_each(|&row| first[row as usize] += 1);
        }
        assert!(first.iter().all(|n| n.abs_diff(1000) < 150), "{first:?}");
    }

    #[test]
    fn a_length_that_does_not_divide_is_named() {
        let text = chunks(2, 25, 10, 1, stream(0)).unwrap_err().to_string();
        assert!(text.contains("T = 25") && text.contains("chunks of 10"), "{text}");
        assert!(chunks(2, 25, 0, 1, stream(0)).is_err());
    }
}

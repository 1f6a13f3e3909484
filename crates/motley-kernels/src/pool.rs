//! A private pool of threads for the kernels.

use rayon::prelude::*;

/// The pool could not be built.
#[derive(Debug)]
pub struct PoolError(rayon::ThreadPoolBuildError);

impl std::fmt::Display for PoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the kernel threads could not be started ({}); ask for fewer threads", self.0)
    }
}

impl std::error::Error for PoolError {}

/// Threads that belong to the kernels alone. How many there are never changes a result: work is cut by shape.
#[derive(Debug)]
pub struct Pool {
    threads: usize,
    inner: Option<rayon::ThreadPool>,
}

impl Pool {
    /// A pool of `threads` (0 counts as 1); with one, everything runs on the caller and none is started.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn new(threads: usize) -> Result<Self, PoolError> {
        let threads = threads.max(1);
        let inner = if threads > 1 {
            let built = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("motley-{i}")).build();
            Some(built.map_err(PoolError)?)
        } else {
            None
        };
        Ok(Self { threads, inner })
    }

    /// A pool of one: the caller.
    pub fn serial() -> Self {
        Self { threads: 1, inner: None }
    }

    /// How many threads work.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `f(index, item)` for every item, in parallel; returns when all are done.
    pub fn run<T: Send>(&self, items: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
        match &self.inner {
            Some(pool) if items.len() > 1 => {
                pool.install(|| items.par_iter_mut().with_max_len(1).enumerate().for_each(|(i, item)| f(i, item)));
            }
            _ => items.iter_mut().enumerate().for_each(|(i, item)| f(i, item)),
        }
    }

    /// Runs `f` on one of the threads. Parallel parts inside it start and end there, with no hand-over between the caller and
    /// the pool each time.
    pub fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.inner {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }

    /// Runs both, side by side where there are threads; either may have parallel parts of its own.
    pub fn both<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        match &self.inner {
            Some(pool) => pool.join(a, b),
            None => (a(), b()),
        }
    }

    /// For every sum: adds to it the sums of the other lanes, one after the other, so that each element has one order of addition.
    pub(crate) fn fold(&self, sums: Vec<(&mut [f32], Vec<&[f32]>)>) {
        const PIECE: usize = 4096;
        let mut pieces: Vec<(&mut [f32], Vec<&[f32]>)> = Vec::new();
        for (sum, lanes) in sums {
            for (k, piece) in sum.chunks_mut(PIECE).enumerate() {
                pieces.push((piece, lanes.iter().map(|lane| &lane[k * PIECE..]).collect()));
            }
        }
        self.run(&mut pieces, |_, (sum, lanes)| {
            for lane in lanes {
                sum.iter_mut().zip(*lane).for_each(|(a, b)| *a += b);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_inside_the_pool_gives_what_it_gives_on_the_caller() {
        for threads in [1, 2, 3] {
            let pool = Pool::new(threads).unwrap();
            let (sum, (a, b)) = pool.enter(|| {
                let mut items: Vec<usize> = (0..100).collect();
                pool.run(&mut items, |i, item| *item += i);
                (items.iter().sum::<usize>(), pool.both(|| threads + 1, || "b"))
            });
            assert_eq!((sum, a, b), (9900, threads + 1, "b"));
        }
    }

    /// Values whose sum depends on the order of addition, over more than one piece.
    #[test]
    fn lanes_fold_in_their_order() {
        let lane = |k: usize| (0..9000).map(|i| ((i * 37 + k * 101) % 97) as f32 * 10f32.powi(k as i32 - 3)).collect::<Vec<_>>();
        let lanes: Vec<Vec<f32>> = (0..6).map(lane).collect();
        let expected: Vec<f32> = (0..9000).map(|i| lanes.iter().skip(1).fold(lanes[0][i], |sum, lane| sum + lane[i])).collect();
        for threads in [1, 2] {
            let (mut first, mut short) = (lanes[0].clone(), lanes[0][..10].to_vec());
            let rest = || lanes[1..].iter().map(|lane| &lane[..]).collect::<Vec<_>>();
            Pool::new(threads).unwrap().fold(vec![(&mut first[..], rest()), (&mut short[..], rest())]);
            assert_eq!(first, expected);
            assert_eq!(short, expected[..10]);
        }
    }
}

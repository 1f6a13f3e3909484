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
}

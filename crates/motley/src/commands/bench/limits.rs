//! What the machine can do: matrix products by the `gemm` crate, and memory bandwidth by the triad of the STREAM benchmark.
#![allow(unsafe_code, reason = "the gemm crate takes pointers")]

use std::sync::Barrier;
use std::time::Instant;

use motley_nn::Pool;
use serde_json::json;

use super::{SECONDS, Span, short, thread_counts, time};
use crate::commands::list::table;
use crate::error::Failure;
use crate::output::Output;

/// `[M, K] x [K, N]`: rows of a block times the hidden layer of the reference network.
const M: usize = 256;
const K: usize = 128;
const N: usize = 128;
/// Products between two looks at the clock.
const PRODUCTS: usize = 50;
/// Numbers in each of the triad's three arrays: 48 MiB in all, more than a second-level cache holds.
const TRIAD: usize = 4 << 20;

pub(super) fn run(out: &Output) -> Result<(), Failure> {
    let mut rows = vec![["LIMIT", "THREADS", "BEST", "WORST"].map(str::to_owned)];
    let mut show = |name: &str, unit: &str, threads: usize, work: f64, span: Span| {
        let (best, worst) = (work / span.least, work / span.most);
        rows.push([format!("{name}, {unit}/s"), threads.to_string(), short(best), short(worst)]);
        out.event(
            "limit",
            json!({ "what": name, "threads": threads, "unit": format!("{unit}/s"), "best": best, "worst": worst }),
        );
    };
    for threads in thread_counts() {
        show("gemm 256x128x128", "FLOP", threads, gemm_flop(threads), gemm(threads, SECONDS));
        show("triad", "B", threads, (12 * TRIAD) as f64, triad(threads)?);
    }
    table(out, &rows);
    Ok(())
}

/// Operations of one repetition of [`gemm`].
pub(super) fn gemm_flop(threads: usize) -> f64 {
    (threads * PRODUCTS * 2 * M * K * N) as f64
}

/// Times products that every thread makes on matrices of its own.
pub(super) fn gemm(threads: usize, seconds: f64) -> Span {
    let barrier = Barrier::new(threads);
    let work = || {
        let (a, b, mut c) = (vec![0.5f32; M * K], vec![0.25f32; K * N], vec![0.0f32; M * N]);
        (0..PRODUCTS).for_each(|_| product(&a, &b, &mut c));
        barrier.wait();
        time(seconds, || (0..PRODUCTS).for_each(|_| product(&a, &b, &mut c)))
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        // The slowest thread's best: all of them together were at least that fast.
        others
            .into_iter()
            .filter_map(|t| t.join().ok())
            .fold(mine, |a, b| Span { least: a.least.max(b.least), most: a.most.max(b.most) })
    })
}

/// `c = a b`, row-major.
fn product(a: &[f32], b: &[f32], c: &mut [f32]) {
    assert!(a.len() == M * K && b.len() == K * N && c.len() == M * N);
    let (k, n) = (K as isize, N as isize);
    // SAFETY: the strides describe row-major matrices of exactly these lengths (asserted above); `c` overlaps neither
    // operand, being borrowed mutably.
    unsafe {
        gemm::gemm(
            M,
            N,
            K,
            c.as_mut_ptr(),
            1,
            n,
            false,
            a.as_ptr(),
            1,
            k,
            b.as_ptr(),
            1,
            n,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    std::hint::black_box(c);
}

/// `a = b + s c`, 12 bytes an entry.
fn triad(threads: usize) -> Result<Span, Failure> {
    let pool = Pool::new(threads).map_err(Failure::run)?;
    let (mut a, b, c) = (vec![0.0f32; TRIAD], vec![1.0f32; TRIAD], vec![2.0f32; TRIAD]);
    let part = TRIAD.div_ceil(threads);
    let mut parts: Vec<_> = a.chunks_mut(part).zip(b.chunks(part).zip(c.chunks(part))).collect();
    let s = std::hint::black_box(0.5);
    Ok(time(SECONDS, || {
        pool.run(&mut parts, |_, (a, (b, c))| a.iter_mut().zip(b.iter().zip(*c)).for_each(|(a, (b, c))| *a = b + s * c));
    }))
}

/// Operations a second of [`gemm`], timed just now.
pub(super) fn gemm_rate(threads: usize) -> f64 {
    let start = Instant::now();
    let mut span = Span::NOTHING;
    while start.elapsed().as_secs_f64() < 0.1 {
        span = span.join(gemm(threads, 0.03));
    }
    gemm_flop(threads) / span.least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_timed_is_the_product() {
        let a: Vec<f32> = (0..M * K).map(|i| (i % 7) as f32).collect();
        let b: Vec<f32> = (0..K * N).map(|i| (i % 5) as f32).collect();
        let mut c = vec![0.0; M * N];
        product(&a, &b, &mut c);
        for (i, j) in [(0, 0), (3, 17), (M - 1, N - 1)] {
            let exact: f32 = (0..K).map(|k| a[i * K + k] * b[k * N + j]).sum();
            assert_eq!(c[i * N + j], exact);
        }
    }
}

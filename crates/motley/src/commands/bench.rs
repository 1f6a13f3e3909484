//! `motley bench`: how fast this machine is, how fast Motley is on it, and the share of the one in the other.
//!
//! Limits and gradient steps are the best of many repetitions (what the machine can do); the worst stands beside it and tells how
//! noisy the machine was. Environments and whole training are means over the seconds asked for.

mod env;
mod limits;
mod train;
mod update;

use std::time::{Duration, Instant};

use motley_train::Registry;

use crate::args::{BenchArgs, BenchCommand};
use crate::error::Failure;
use crate::output::Output;

/// Seconds given to one measurement where the user does not say.
const SECONDS: f64 = 0.5;
/// Alternations of `update` where the user does not say.
const ROUNDS: usize = 5;

pub(crate) fn run(args: &BenchArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    if cfg!(debug_assertions) {
        out.warning("this is a debug build: its speed says nothing");
    }
    match &args.what {
        None => {
            limits::run(out)?;
            env::run(&[], SECONDS, registry, out)?;
            update::run(ROUNDS, registry, out)?;
        }
        Some(BenchCommand::Limits) => limits::run(out)?,
        Some(BenchCommand::Env { tasks, seconds }) => env::run(tasks, *seconds, registry, out)?,
        Some(BenchCommand::Update { rounds }) => update::run(*rounds, registry, out)?,
        Some(BenchCommand::Train { words, seconds }) => train::run(words, *seconds, registry, out)?,
    }
    Ok(0)
}

/// Seconds of the fastest and the slowest repetition.
#[derive(Debug, Clone, Copy)]
struct Span {
    least: f64,
    most: f64,
}

impl Span {
    const NOTHING: Self = Self { least: f64::INFINITY, most: 0.0 };

    fn join(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    fn add(self, seconds: f64) -> Self {
        self.join(Self { least: seconds, most: seconds })
    }
}

/// Repeats `f` for `seconds`, after one call that warms caches; at least three times.
fn time(seconds: f64, mut f: impl FnMut()) -> Span {
    f();
    let start = Instant::now();
    let (mut span, mut repeated) = (Span::NOTHING, 0);
    while repeated < 3 || start.elapsed() < Duration::from_secs_f64(seconds) {
        let before = Instant::now();
        f();
        span = span.add(before.elapsed().as_secs_f64());
        repeated += 1;
    }
    span
}

/// Cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One thread, and all of them where there are more.
fn thread_counts() -> Vec<usize> {
    let mut counts = vec![1, cores()];
    counts.dedup();
    counts
}

/// `1234567` as `1.23 M`.
fn short(x: f64) -> String {
    match x {
        x if x >= 1e9 => format!("{:.2} G", x / 1e9),
        x if x >= 1e6 => format!("{:.2} M", x / 1e6),
        x if x >= 1e3 => format!("{:.1} k", x / 1e3),
        x => format!("{x:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_hold_the_extremes() {
        let span = [3.0, 1.0, 2.0].into_iter().fold(Span::NOTHING, Span::add);
        assert_eq!((span.least, span.most), (1.0, 3.0));
        let mut calls = 0;
        time(0.0, || calls += 1);
        assert_eq!(calls, 4);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([2.5e9, 1_234_567.0, 45_600.0, 12.34].map(short), ["2.50 G", "1.23 M", "45.6 k", "12.3"]);
    }
}

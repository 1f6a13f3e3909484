//! Statistics of runs: what may be said from a few seeds on a few tasks.
//!
//! Aggregates, stratified bootstrap intervals, performance profiles and the probability of improvement follow R. Agarwal,
//! M. Schwarzer, P. S. Castro, A. C. Courville, M. G. Bellemare, *Deep Reinforcement Learning at the Edge of the Statistical
//! Precipice*, NeurIPS 2021. The absolute metric and the shape of a report follow R. Gorsane, O. Mahjoub, R. J. de Kock,
//! R. Dubb, S. Singh, A. Pretorius, *Towards a Standardised Performance Evaluation Protocol for Cooperative MARL*, NeurIPS 2022.
//!
//! ```
//! use motley_core::{Purpose, Stream};
//! use motley_stats::{Bootstrap, Scores, aggregate};
//! // Two tasks, four runs each, scores between 0 and 1.
//! let scores = Scores::new(vec![vec![0.2, 0.4, 0.5, 0.9], vec![0.6, 0.7, 0.7, 0.8]])?;
//! let bootstrap = Bootstrap::new(2000, 0.95, Stream::new(0, Purpose::Bootstrap, 0, 0))?;
//! let iqm = bootstrap.estimate(&scores, aggregate::iqm);
//! assert_eq!(iqm.value, 0.625);
//! assert!(iqm.low < 0.625 && 0.625 < iqm.high);
//! # Ok::<(), motley_stats::StatsError>(())
//! ```

pub mod aggregate;
pub mod bootstrap;
pub mod bounds;
pub mod cost;
pub mod curves;
pub mod marl_eval;
pub mod profile;
pub mod published;
pub mod record;
pub mod report;

use thiserror::Error;

pub use aggregate::Scores;
pub use bootstrap::{Bootstrap, Estimate};
pub use bounds::Bounds;
pub use record::{Evaluation, Metric, RunRecord};
pub use report::Report;

/// Fewer seeds than this support no comparison (Agarwal et al. 2021; Gorsane et al. 2022 ask for ten).
pub const FEWEST_SEEDS: usize = 5;

/// Why something cannot be computed or read.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StatsError {
    /// A task without runs, or no task at all.
    #[error("no scores: {0} has no run")]
    Empty(String),
    /// No run has what is compared.
    #[error("no run has {what}: {why}")]
    Unmeasured {
        /// What is compared.
        what: &'static str,
        /// Each run, and why it has none.
        why: String,
    },
    /// A score that is not a number.
    #[error("a score of {0} is not finite: runs that diverged must be left out or given a worst score first")]
    NotFinite(String),
    /// Two algorithms that were not run on the same tasks.
    #[error("{left} tasks beside {right} tasks: algorithms can only be compared on the same tasks")]
    Tasks {
        /// Tasks of the one.
        left: usize,
        /// Tasks of the other.
        right: usize,
    },
    /// A parameter out of range.
    #[error("{what} = {found}: expected {expected}")]
    Parameter {
        /// Which.
        what: &'static str,
        /// As given.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// Runs that a file format cannot hold together.
    #[error("{0}")]
    Format(String),
}

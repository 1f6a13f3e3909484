//! What a run tells while it trains, and how it ended.

use crate::evaluate::EvalSummary;

/// Why a run whose steps are all done is not done.
pub const NOT_DURABLE: &str = "the last checkpoint could not be made durable";

/// The same where a log lacks lines; its name follows.
pub const NOT_LOGGED: &str = "there are lines that could not be written to";

/// The same where the policy that the run is for is not in its folder.
pub const NOT_WRITTEN: &str = "the best policy could not be written";

/// What happens while training, for whoever shows it.
#[derive(Debug, Clone)]
pub enum Event {
    /// Environments and networks stand.
    Started {
        /// Env steps already done (of a resumed run).
        env_steps: u64,
    },
    /// One update is done.
    Progress {
        /// Env steps so far.
        env_steps: u64,
        /// Env steps a second since the start of this process.
        rate: f64,
        /// Mean return of the episodes that ended in the last rollout.
        episode_return: Option<f64>,
    },
    /// An evaluation is done.
    Evaluated {
        /// Env steps so far.
        env_steps: u64,
        /// Its result.
        summary: EvalSummary,
        /// Whether it is the best so far.
        best: bool,
    },
    /// A checkpoint is durable: the run folder can be copied, and taken up there.
    Saved {
        /// Env steps so far.
        env_steps: u64,
    },
    /// Something the user should know.
    Warning(String),
}

/// How training ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Whether the budget was used (else a stop was asked for).
    pub finished: bool,
    /// Env steps done.
    pub env_steps: u64,
    /// Wall-clock seconds of this process.
    pub wall_seconds: f64,
    /// Env steps a second of this process.
    pub env_steps_per_second: f64,
    /// The last evaluation, if there was one.
    pub eval: Option<EvalSummary>,
    /// Whether a checkpoint could not be made durable at the end.
    pub checkpoint_failed: bool,
    /// Whether the best policy could not be written, and no better one was since.
    pub policy_failed: bool,
    /// The logs that lack lines which could not be written.
    pub incomplete: Vec<String>,
}

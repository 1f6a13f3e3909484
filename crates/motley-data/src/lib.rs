//! Rollouts, returns, minibatches and running statistics of Motley, on plain memory.
pub mod minibatch;
pub mod replay;
pub mod returns;
pub mod rollout;
pub mod stats;

//! Rollouts, replay of episodes, returns, minibatches and running statistics of Motley, on plain memory.
pub mod episodes;
pub mod minibatch;
pub mod replay;
pub mod returns;
pub mod rollout;
pub mod stats;

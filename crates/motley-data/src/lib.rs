//! Rollouts, replay of episodes, returns, minibatches and running statistics of Motley, on plain memory.
pub mod episodes;
mod load;
pub mod minibatch;
pub mod replay;
pub mod returns;
pub mod rollout;
pub mod stats;

pub use load::LoadError;

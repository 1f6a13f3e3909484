//! Rollouts, returns, minibatches and running statistics of Motley, on plain memory.

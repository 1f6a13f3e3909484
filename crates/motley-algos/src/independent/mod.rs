//! Independent learning: each agent for itself.

pub mod ia2c;
pub mod ippo;
pub mod reinforce;

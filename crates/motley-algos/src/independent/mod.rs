//! Independent learning: each agent for itself.

pub mod ippo;

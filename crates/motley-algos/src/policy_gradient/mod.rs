//! Policy gradients with a centralised critic.

pub mod maa2c;
pub mod mappo;

//! Policy gradients with a centralised critic.

pub mod mappo;

//! Policy gradients with a centralised critic.

pub mod coma;
pub mod maa2c;
pub mod maddpg;
pub mod mappo;
pub mod matd3;
pub mod pareto_ac;

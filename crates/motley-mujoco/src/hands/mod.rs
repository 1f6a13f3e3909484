//! Two dexterous hands, an agent each, after Bi-DexterousHands: the original's observations, actions, rewards and resets on
//! another engine, so that returns do not compare with the paper's.

#[cfg(feature = "engine")]
mod env;
#[cfg(feature = "engine")]
mod model;
pub mod rules;

use std::sync::Arc;

use motley_core::{ConfigError, Env, Key, Kind, Task, TaskOptions};

#[cfg(feature = "engine")]
pub use env::HandsEnv;

/// Throwing the egg from one fixed hand over to the other.
struct Over;

impl Task for Over {
    fn name(&self) -> String {
        "hands/over".into()
    }

    fn summary(&self) -> String {
        "two fixed hands: throw an egg over and catch it".into()
    }

    fn keys(&self) -> Vec<Key> {
        vec![Key::new("task.max_cycles", 75, Kind::Int(1, i64::from(u32::MAX)), "steps after which an episode is truncated")]
    }

    #[cfg(feature = "engine")]
    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Ok(Box::new(HandsEnv::new(&self.name(), options.get("max_cycles")?)?))
    }

    #[cfg(not(feature = "engine"))]
    fn make(&self, _options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Err(crate::missing())
    }
}

/// The suite's tasks.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    vec![Arc::new(Over)]
}

//! Two dexterous hands, an agent each, after Bi-DexterousHands: the original's observations, actions, rewards and resets on
//! another engine, so that returns do not compare with the paper's.
//!
//! A task is a [`Play`]: data and a rule, in the file of its family.

pub mod catch;
pub mod door;
#[cfg(feature = "engine")]
mod env;
pub mod lift;
#[cfg(feature = "engine")]
mod model;
#[cfg(feature = "engine")]
mod observe;
pub mod pen;
pub mod rules;
pub mod task;

use std::sync::Arc;

use motley_core::{ConfigError, Env, Key, Kind, Task, TaskOptions};

#[cfg(feature = "engine")]
pub use env::HandsEnv;
#[cfg(feature = "engine")]
pub use model::SUBSTEPS;
use task::Play;

/// The tasks, as the book lists them.
pub const PLAYS: [Play; 10] = [
    catch::OVER,
    catch::CATCH_UNDERARM,
    catch::CATCH_ABREAST,
    catch::CATCH_OVER2UNDERARM,
    catch::TWO_CATCH_UNDERARM,
    lift::LIFT_UNDERARM,
    door::DOOR_OPEN_INWARD,
    door::DOOR_OPEN_OUTWARD,
    door::DOOR_CLOSE_INWARD,
    pen::PEN,
];

/// A task by its name.
struct HandsTask(Play);

impl Task for HandsTask {
    fn name(&self) -> String {
        format!("hands/{}", self.0.name)
    }

    fn summary(&self) -> String {
        self.0.summary.into()
    }

    fn keys(&self) -> Vec<Key> {
        let steps = i64::from(self.0.max_cycles);
        vec![Key::new("task.max_cycles", steps, Kind::Int(1, i64::from(u32::MAX)), "steps after which an episode is truncated")]
    }

    #[cfg(feature = "engine")]
    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Ok(Box::new(HandsEnv::new(&self.name(), self.0, options.get("max_cycles")?)?))
    }

    #[cfg(not(feature = "engine"))]
    fn make(&self, _options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Err(crate::missing())
    }

    fn available(&self, _options: &TaskOptions) -> Result<(), ConfigError> {
        crate::available()
    }
}

/// The suite's tasks.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    PLAYS.into_iter().map(|play| Arc::new(HandsTask(play)) as Arc<dyn Task>).collect()
}

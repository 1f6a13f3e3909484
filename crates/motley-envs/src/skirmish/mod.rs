//! Combat: the maps of SMAC and SMACv2, and maps of unlike units for unified action spaces, on a simulator of our own.
//!
//! Nothing of StarCraft II is needed or included, and results are not those of the game: see the book. [`world`] holds a
//! battle in flat arrays, [`units`] and [`maps`] the tables, `liberty` and `smaclite` the rules of a tick. [`contract`] is SMAC's
//! contract over a [`view`] of the units, with `layout` for what agents see and `hidden` for what they do not; it knows nothing of
//! who plays the battle, so that a client of the game shares it. [`Skirmish`] runs an episode, which begins where [`start`] puts
//! the units, [`own`] reads a user's maps, [`trace`] compares with recorded runs, which `recorded` reads.

pub mod contract;
pub mod draw;
mod env;
pub mod ground;
mod hidden;
mod layout;
mod liberty;
pub mod maps;
pub mod options;
pub mod orca;
pub mod own;
mod recorded;
mod save;
pub mod scene;
mod smaclite;
pub mod start;
pub mod trace;
pub mod units;
pub mod view;
pub mod world;

use std::sync::Arc;

use motley_core::{ConfigError, Env, Key, Task, TaskFamily, TaskOptions};

pub use env::Skirmish;
use maps::Map;

/// One map as a task.
struct Battle(Map);

impl Task for Battle {
    fn name(&self) -> String {
        format!("skirmish/{}", self.0.name)
    }

    fn summary(&self) -> String {
        self.0.summary()
    }

    fn keys(&self) -> Vec<Key> {
        options::keys_of(&self.0)
    }

    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Ok(Box::new(Skirmish::new(&self.0, options)?))
    }

    /// Twenty copies, as in the published runs of HARL.
    fn defaults(&self) -> Vec<(String, toml::Value)> {
        vec![("num_envs".to_owned(), toml::Value::Integer(20))]
    }
}

/// The suite's listed tasks.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    maps::all().into_iter().map(|map| Arc::new(Battle(map)) as Arc<dyn Task>).collect()
}

/// Maps that are not listed, by a rule for their names, in any numbers of units from 1 to 60.
struct Family {
    pattern: &'static str,
    summary: &'static str,
    read: fn(&str) -> Option<Map>,
}

/// The suite's families: maps for unified actions, with two and with three groups of unlike ones, and maps of a file each.
pub fn families() -> Vec<Arc<dyn TaskFamily>> {
    let two = Family {
        pattern: "skirmish/{a}m{b}m_{c}m",
        summary: "a marines and b medivacs against c marines",
        read: maps::two_groups,
    };
    let three = Family {
        pattern: "skirmish/{a}m{b}V{c}b_vs_{d}m",
        summary: "a marines, b medivacs and c banelings against d marines",
        read: maps::three_groups,
    };
    vec![Arc::new(two), Arc::new(three), Arc::new(own::Files)]
}

impl TaskFamily for Family {
    fn pattern(&self) -> String {
        self.pattern.to_owned()
    }

    fn summary(&self) -> String {
        self.summary.to_owned()
    }

    fn task(&self, name: &str) -> Result<Option<Arc<dyn Task>>, ConfigError> {
        let map = name.strip_prefix("skirmish/").and_then(self.read);
        Ok(map.map(|map| Arc::new(Battle(map)) as Arc<dyn Task>))
    }
}

#[cfg(test)]
mod tests;

//! Combat: the maps of SMAC and SMACv2, and maps of marines and medivacs for unified action spaces, on a simulator of our own.
//!
//! Nothing of StarCraft II is needed or included, and results are not those of the game: see the book. [`world`] holds a
//! battle in flat arrays, [`units`] and [`maps`] the tables, `liberty` and `smaclite` the rules of a tick, `layout` what agents
//! see, [`Skirmish`] runs an episode, [`trace`] compares with recorded runs.

pub mod draw;
mod env;
pub mod ground;
mod layout;
mod liberty;
pub mod maps;
mod options;
pub mod orca;
mod save;
mod scene;
mod smaclite;
pub mod trace;
pub mod units;
pub mod world;

use std::sync::Arc;

use motley_core::{ConfigError, Env, Key, Task, TaskFamily, TaskOptions};

pub use env::Skirmish;
use maps::{Lineup, Map};
use options::Options;

/// One map as a task.
struct Battle(Map);

impl Task for Battle {
    fn name(&self) -> String {
        format!("skirmish/{}", self.0.name)
    }

    fn summary(&self) -> String {
        match &self.0.lineup {
            Lineup::Fixed { allies, foes } => {
                let side = |groups: &[maps::Group]| {
                    let mut parts: Vec<(&str, usize)> = Vec::new();
                    for group in groups {
                        match parts.iter_mut().find(|(name, _)| *name == group.kind.name()) {
                            Some((_, count)) => *count += group.count,
                            None => parts.push((group.kind.name(), group.count)),
                        }
                    }
                    parts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
                };
                format!("{} against {}", side(allies), side(foes))
            }
            Lineup::Drawn(roster) => {
                let names: Vec<&str> = roster.kinds.iter().map(|k| k.name()).collect();
                format!("{} against {}, drawn each episode from {}", roster.allies, roster.foes, names.join(", "))
            }
        }
    }

    fn keys(&self) -> Vec<Key> {
        Options::keys_of(&self.0)
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

/// The maps that are not listed: marines and medivacs against marines, in any numbers from 1 to 60.
pub struct Family;

impl TaskFamily for Family {
    fn pattern(&self) -> String {
        "skirmish/{a}m{b}m_{c}m".to_owned()
    }

    fn summary(&self) -> String {
        "a marines and b medivacs against c marines".to_owned()
    }

    fn task(&self, name: &str) -> Result<Option<Arc<dyn Task>>, ConfigError> {
        let map = name.strip_prefix("skirmish/").and_then(maps::pattern);
        Ok(map.map(|map| Arc::new(Battle(map)) as Arc<dyn Task>))
    }
}

#[cfg(test)]
mod tests;

//! The names of the game's tasks, and their settings.

use std::sync::Arc;

use motley_core::error::nearest;
use motley_core::{ConfigError, Env, Key, Kind, Task, TaskFamily, TaskOptions, settings};
use motley_envs::skirmish::maps::Map;
use motley_envs::skirmish::options::Options;
use motley_envs::skirmish::{draw, maps};

use crate::battle::RealBattle;
use crate::install::Install;

/// The map that SMACv2 creates its units on.
pub(crate) const FLAT: &str = "32x32_flat";

settings! {
    /// Settings of the game.
    pub struct GameOptions in "" {
        /// folder of StarCraft II; empty: SC2PATH, else where installers put it
        path: String = "", Kind::Text;
        /// version of the game: 4.10, 4.6.2, a build such as 75689; empty: the newest installed
        version: String = "", Kind::Text;
        /// hash of the game data to load, 32 hexadecimal digits; empty: that of a version named 4.10 or 4.6.2, else the game's own
        data_version: String = "", Kind::Text;
        /// the built-in opponent's level, 1 (very easy) to 10 (cheats); SMAC's is 7
        difficulty: usize = 7, Kind::Int(1, 10);
        /// create the game anew for every episode, with a seed from the episode's stream, instead of killing all units as SMAC does
        fresh_game: bool = false, Kind::Bool;
        /// seconds that starting the game, loading a map and drawing up a battle may take
        launch_timeout: f64 = 180.0, Kind::Float(0.01, 86_400.0);
        /// seconds after which any other answer counts as hung
        step_timeout: f64 = 60.0, Kind::Float(0.01, 86_400.0);
    }
}

/// The families of this crate, for a registry.
pub fn families() -> Vec<Arc<dyn TaskFamily>> {
    vec![
        Arc::new(Family {
            suite: "smac",
            pattern: "smac/MAP",
            summary: "a map of SMAC (names: those of skirmish/*, 3m to 2c_vs_64zg) on the real StarCraft II (needs the game: motley doctor)",
            maps: maps::smac,
        }),
        Arc::new(Family {
            suite: "smacv2",
            pattern: "smacv2/RACE_{n}_vs_{m}",
            summary: "SMACv2, terran_5_vs_5 to zerg_20_vs_23, on the real StarCraft II (needs the game: motley doctor)",
            maps: draw::all,
        }),
    ]
}

struct Family {
    suite: &'static str,
    pattern: &'static str,
    summary: &'static str,
    maps: fn() -> Vec<Map>,
}

impl TaskFamily for Family {
    fn pattern(&self) -> String {
        self.pattern.into()
    }

    fn summary(&self) -> String {
        self.summary.into()
    }

    fn task(&self, name: &str) -> Result<Option<Arc<dyn Task>>, ConfigError> {
        let Some(wanted) = name.strip_prefix(self.suite).and_then(|rest| rest.strip_prefix('/')) else { return Ok(None) };
        let maps = (self.maps)();
        if let Some(map) = maps.iter().find(|map| map.name == wanted) {
            return Ok(Some(Arc::new(RealTask { suite: self.suite, map: map.clone() })));
        }
        // With the suite before them short names are alike enough: 4m is half of 3m, smac/4m is most of smac/3m.
        let names: Vec<String> = maps.iter().map(|map| format!("{}/{}", self.suite, map.name)).collect();
        let nearest = nearest(name, names.iter().map(String::as_str));
        Err(ConfigError::UnknownName { what: "task", name: name.into(), nearest })
    }
}

/// One map, played by the game.
#[derive(Debug, Clone)]
pub struct RealTask {
    suite: &'static str,
    map: Map,
}

impl Task for RealTask {
    fn name(&self) -> String {
        format!("{}/{}", self.suite, self.map.name)
    }

    fn summary(&self) -> String {
        format!("{}, on the real StarCraft II", self.map.summary())
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = GameOptions::keys();
        keys.iter_mut().for_each(|key| key.name = format!("task.{}", key.name));
        keys.extend(Options::keys_of(&self.map));
        keys
    }

    /// The game is started from there.
    fn code_keys(&self) -> &'static [&'static str] {
        &["task.path"]
    }

    /// Looks for the game and the map; the game itself is started at the first reset.
    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        let (game, seen) = (GameOptions::read(options)?, Options::of(options)?);
        let install = Install::find(&game.path, &game.version, &game.data_version)?;
        Ok(Box::new(RealBattle::new(self.suite, &self.map, install, game, seen)?))
    }

    /// A game takes a gigabyte and a core: fewer copies than of the simulator.
    fn defaults(&self) -> Vec<(String, toml::Value)> {
        vec![("num_envs".to_owned(), toml::Value::Integer(8))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_envs::Registry;

    #[test]
    fn every_map_has_its_name_and_nothing_else_has() {
        let registry = families().into_iter().fold(Registry::default(), Registry::with_family);
        let names: Vec<String> = maps::smac()
            .iter()
            .map(|map| format!("smac/{}", map.name))
            .chain(draw::all().iter().map(|map| format!("smacv2/{}", map.name)))
            .collect();
        assert_eq!(names.len(), 23 + 15);
        for name in &names {
            let task = registry.get(name).unwrap();
            assert_eq!(task.name(), *name);
            assert!(task.keys().iter().all(|key| key.name.starts_with("task.") && !key.help.is_empty()));
        }
        let text = |name: &str| registry.get(name).err().unwrap().to_string();
        assert!(text("smac/3ms").contains("\"smac/3m\""));
        assert!(text("smac/4m").contains("\"smac/3m\""), "{}", text("smac/4m"));
        assert!(text("smacv2/terran").contains("smacv2/terran_5_vs_5"), "{}", text("smacv2/terran"));
        assert!(text("smacv2/terran_5_vs_6").contains("smacv2/terran_5_vs_5"));
        for other in ["smac/6m2m_15m", "smac/terran_5_vs_5", "smacv2/3m", "smac", "skirmish/3m"] {
            assert!(registry.get(other).is_err(), "{other}");
        }
    }
}

//! Tuned configurations, shipped inside the binary.

use std::sync::LazyLock;

use motley_core::ConfigError;
use motley_core::error::nearest;
use serde::Deserialize;

/// A tuned configuration of one algorithm for some tasks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// `tuned` is taken by itself; others by `preset=NAME`.
    pub name: String,
    /// Taken by itself too, and found under the name `tuned`, though it has a name of its own.
    #[serde(default)]
    pub tuned: bool,
    /// The algorithm.
    pub algo: String,
    /// The tasks it was tuned for.
    pub tasks: Vec<String>,
    /// Where the values come from.
    pub source: String,
    /// What it should reach at its own budget.
    pub band: String,
    /// The settings.
    pub settings: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    preset: Vec<Preset>,
}

/// The name of the preset that is taken by itself.
const TUNED: &str = "tuned";
/// What is written for no preset.
pub const NONE: &str = "none";

/// The shipped files.
const FILES: &[&str] = &[
    include_str!("../../../presets/a2c.toml"),
    include_str!("../../../presets/haa2c.toml"),
    include_str!("../../../presets/hatrpo.toml"),
    include_str!("../../../presets/gppo.toml"),
    include_str!("../../../presets/happo.toml"),
    include_str!("../../../presets/mappo.toml"),
    include_str!("../../../presets/ippo.toml"),
    include_str!("../../../presets/mamujoco.toml"),
    include_str!("../../../presets/mamujoco_off_policy.toml"),
    include_str!("../../../presets/hands.toml"),
    include_str!("../../../presets/reinforce.toml"),
    include_str!("../../../presets/coma.toml"),
    include_str!("../../../presets/pareto-ac.toml"),
    include_str!("../../../presets/off_policy.toml"),
    include_str!("../../../presets/value_decomposition.toml"),
    include_str!("../../../presets/unified.toml"),
    include_str!("../../../presets/smac_ppo.toml"),
    include_str!("../../../presets/smac_hatrpo.toml"),
    include_str!("../../../presets/smac_off_policy.toml"),
    include_str!("../../../presets/football.toml"),
    include_str!("../../../presets/matrix.toml"),
];

static PRESETS: LazyLock<Vec<Preset>> =
    LazyLock::new(|| FILES.iter().filter_map(|text| toml::from_str::<File>(text).ok()).flat_map(|f| f.preset).collect());

impl Preset {
    /// `algorithm/name`.
    pub fn title(&self) -> String {
        format!("{}/{}", self.algo, self.name)
    }

    /// Whether it is for this algorithm and task.
    fn fits(&self, algo: &str, task: &str) -> bool {
        self.algo == algo && self.tasks.iter().any(|t| t == task)
    }

    /// Whether it is taken where no preset is named.
    pub fn is_default(&self) -> bool {
        self.tuned || self.name == TUNED
    }

    /// What it should reach on one of its tasks; none where its band names others of them only.
    pub fn band_on(&self, task: &str) -> Option<&str> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let words: Vec<&str> = self.band.split(|c| !is_part(c)).collect();
        let named = |task: &str| {
            let bare = task.rsplit('/').next().unwrap_or(task);
            words.iter().any(|word| *word == bare || (word.contains('_') && bare.contains(word)))
        };
        (named(task) || !self.tasks.iter().any(|other| named(other))).then_some(self.band.as_str())
    }
}

/// All of them.
pub fn all() -> &'static [Preset] {
    &PRESETS
}

/// Those for an algorithm and a task.
pub fn of(algo: &str, task: &str) -> Vec<&'static Preset> {
    PRESETS.iter().filter(|p| p.fits(algo, task)).collect()
}

/// What `preset=` may say for an algorithm and a task: `tuned` also where the tuned preset has a name of its own.
pub fn names(algo: &str, task: &str) -> Vec<&'static str> {
    let fitting = of(algo, task);
    let named = fitting.iter().map(|p| p.name.as_str()).filter(|name| *name != TUNED);
    fitting.iter().any(|p| p.is_default()).then_some(TUNED).into_iter().chain(named).chain([NONE]).collect()
}

/// The preset for an algorithm and a task: the one named, none for `none`, `tuned` where there is one if none is named.
///
/// # Errors
/// A name that does not exist for this pair, with those that do.
pub fn find(algo: &str, task: &str, name: Option<&str>) -> Result<Option<&'static Preset>, ConfigError> {
    let fitting = of(algo, task);
    match name {
        Some(NONE) => Ok(None),
        None | Some(TUNED) if fitting.iter().any(|p| p.is_default()) => Ok(fitting.into_iter().find(|p| p.is_default())),
        None => Ok(None),
        Some(name) => match fitting.iter().find(|p| p.name == name) {
            Some(p) => Ok(Some(p)),
            None => {
                let mut known: Vec<&str> = fitting.iter().map(|p| p.name.as_str()).collect();
                known.push(NONE);
                let near = nearest(name, known.iter().copied());
                let nearest = if near.is_empty() { known.iter().map(ToString::to_string).collect() } else { near };
                Err(ConfigError::UnknownName { what: "preset", name: name.to_owned(), nearest })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Registry, Request};

    #[test]
    fn every_file_parses() {
        for text in FILES {
            toml::from_str::<File>(text).unwrap();
        }
    }

    /// Every preset resolves for every task that it names, and gives each pair at most one `tuned`.
    #[test]
    fn every_preset_fits_its_tasks() {
        let registry = Registry::builtin();
        for preset in all() {
            for task in &preset.tasks {
                let overrides = vec![format!("preset={}", preset.name)];
                let request = Request { algo: preset.algo.clone(), task: task.clone(), overrides, ..Request::default() };
                match request.plan_anywhere(&registry) {
                    Ok((plan, _)) => assert_eq!(plan.preset.map(Preset::title), Some(preset.title())),
                    // Settings are read before an environment is made, so they are held to their keys all the same.
                    Err(ConfigError::Missing { .. }) => {}
                    Err(e) => panic!("{} on {task}: {e}", preset.title()),
                }
                let same = all().iter().filter(|p| p.title() == preset.title() && p.tasks.contains(task)).count();
                assert_eq!(same, 1, "{} twice for {task}", preset.title());
                let defaults = of(&preset.algo, task).into_iter().filter(|p| p.is_default()).count();
                assert!(defaults < 2, "{defaults} presets of {} would be taken by themselves on {task}", preset.algo);
            }
        }
    }

    /// Unified actions are compared with their parents on equal terms: but for the space of actions and what is shared, one preset.
    #[test]
    fn baselines_of_unified_actions_have_their_settings() {
        let plain = |algo: &str, task: &str| {
            let mut settings = find(algo, task, None).unwrap().unwrap().settings.clone();
            for (section, keys) in [("algo", ["cgi_coef", "value_loss"]), ("net", ["share", "agent_id"])] {
                let table = settings.get_mut(section).and_then(toml::Value::as_table_mut).unwrap();
                for key in keys {
                    table.remove(key);
                }
            }
            settings
        };
        let maps = ["6m2m_15m", "12m4m_30m", "20m6m_40m", "6m2V4b_vs_15m", "6m2V2b_vs_21m", "12m4V8b_vs_30m"];
        for task in maps.map(|map| format!("skirmish/{map}")) {
            for (unified, parent) in [("u-mappo", "mappo"), ("u-mappo", "happo"), ("u-qmix", "qmix")] {
                assert_eq!(plain(unified, &task), plain(parent, &task), "{parent} on {task}");
            }
        }
    }

    /// Where messages must come to mean something HARL's settings fail: what is taken by itself has others, and HARL's keep a name.
    #[test]
    fn messages_have_settings_of_their_own() {
        for algo in ["happo", "hatrpo"] {
            let (reference, spread) = ("mpe/simple_reference_v3", "mpe/simple_spread_v3");
            for name in [None, Some("tuned"), Some("communication")] {
                assert_eq!(find(algo, reference, name).unwrap().unwrap().name, "communication");
            }
            let registry = Registry::builtin();
            let settings = |task: &str, preset: &str| {
                let overrides = vec![format!("preset={preset}")];
                let request = Request { algo: algo.into(), task: task.into(), overrides, ..Request::default() };
                request.plan_anywhere(&registry).unwrap().0.settings.to_table()
            };
            let (kept, tuned) = (settings(reference, "harl-values"), settings(spread, "tuned"));
            for section in ["algo", "net", "num_envs", "total_steps"] {
                assert_eq!(kept[section], tuned[section], "{algo}: HARL has one set for its tasks");
            }
        }
    }

    /// `harl` is HARL's own values and networks with the switches to its code's ways: nothing else differs from the preset of its values.
    #[test]
    fn harls_ways_are_switches_and_nothing_else() {
        const SWITCHES: [&str; 7] =
            ["truncation", "value_norm_start", "kl", "mask_dead", "climb_normalized", "next_masks", "local_fit"];
        let registry = Registry::builtin();
        let mut pairs = 0;
        for preset in all().iter().filter(|p| p.name == "harl") {
            for task in &preset.tasks {
                let settings = |name: &str| {
                    let overrides = vec![format!("preset={name}")];
                    let request = Request { algo: preset.algo.clone(), task: task.clone(), overrides, ..Request::default() };
                    let mut table = request.plan_anywhere(&registry).unwrap().0.settings.to_table();
                    let algo = table.get_mut("algo").and_then(toml::Value::as_table_mut).unwrap();
                    for key in SWITCHES {
                        algo.remove(key);
                    }
                    table
                };
                let own_name = of(&preset.algo, task).iter().any(|p| p.name == "harl-values");
                let (ways, values) = (settings("harl"), settings(if own_name { "harl-values" } else { TUNED }));
                for section in ["algo", "net", "task", "num_envs", "total_steps"] {
                    assert_eq!(ways[section], values[section], "{} on {task}: {section}", preset.title());
                }
                pairs += 1;
            }
        }
        assert!(pairs >= 28, "{pairs} pairs of an algorithm and a task");
    }

    #[test]
    fn a_band_stands_beside_its_task() {
        let band = |algo: &str, name: &str, task: &str| find(algo, task, Some(name)).unwrap().unwrap().band_on(task);
        assert!(band("happo", "harl", "mpe/simple_spread_v3").unwrap().contains("-64"));
        assert_eq!(band("happo", "harl", "mpe/simple_reference_v3"), None);
        assert!(band("happo", "communication", "mpe/simple_reference_v3").unwrap().contains("-24"));
        assert!(band("happo", "tuned", "football/academy_counterattack_easy").is_some());
        assert!(band("happo", "tuned", "football/academy_3_vs_1_with_keeper").is_some());
        assert_eq!(band("pareto-ac", "tuned", "matrix/non_monotonic"), None);
        // A band that names a task stands beside no other.
        for preset in all() {
            let beside: Vec<&String> = preset.tasks.iter().filter(|t| preset.band_on(t).is_some()).collect();
            let named = |t: &String| preset.band.contains(t.rsplit('/').next().unwrap());
            assert!(!beside.iter().any(|t| named(t)) || beside.iter().all(|t| named(t)), "{}: {beside:?}", preset.title());
        }
    }

    #[test]
    fn unknown_presets_are_refused() {
        let text = find("happo", "mpe/simple_spread_v3", Some("tunde")).unwrap_err().to_string();
        assert!(text.contains("tuned"), "{text}");
    }
}

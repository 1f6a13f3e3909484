//! What score counts as 0 and as 1 on a task, so that tasks can be put together.

use crate::StatsError;
use crate::record::{Metric, RunRecord};

/// The ends of a task's scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Scores 0.
    pub low: f64,
    /// Scores 1.
    pub high: f64,
}

/// Rules as settings that are numbers, with the values that a task's ends were found for.
type Rules = &'static [(&'static str, f64)];

const ONCE: Rules = &[("task.steps", 1.0)];
const HEARD: Rules = &[("task.max_cycles", 25.0)];
const SHARED: Rules = &[("task.max_cycles", 25.0), ("task.local_ratio", 0.5)];

/// Ends that do not depend on the runs at hand: uniformly random play, and what no play can beat in the mean, by convex programs on the
/// true dynamics (`tests/mpe_bounds.rs`) or by the payoffs. Task, whether actions are continuous (`None`: no such choice, and no flavour of
/// the rules either), rules, low, high.
const KNOWN: [(&str, Option<bool>, Rules, f64, f64); 8] = [
    ("mpe/simple_reference_v3", Some(false), SHARED, -58.0, -14.2),
    ("mpe/simple_reference_v3", Some(true), SHARED, -56.0, -11.1),
    ("mpe/simple_speaker_listener_v4", Some(false), HEARD, -83.0, -14.8),
    ("mpe/simple_speaker_listener_v4", Some(true), HEARD, -80.0, -11.6),
    // Nine joint actions worth 11 - 30 + 0 - 30 + 7 + 6 + 0 + 0 + 5 together.
    ("matrix/climbing", None, ONCE, -31.0 / 9.0, 11.0),
    ("matrix/bilinear", None, ONCE, 0.0, 1.0),
    ("matrix/non_monotonic", None, ONCE, NON_MONOTONIC_RANDOM, 8.0),
    ("matrix/heterogeneity_trap", None, ONCE, 0.75, 2.0),
];

/// Nine joint actions: 8, four of -12, four of 0.
const NON_MONOTONIC_RANDOM: f64 = (8.0 - 4.0 * 12.0) / 9.0;

impl Bounds {
    /// The values that are scored 0 and 1.
    ///
    /// # Errors
    /// [`StatsError::Parameter`] unless both are finite and `low < high`.
    pub fn new(low: f64, high: f64) -> Result<Self, StatsError> {
        if low.is_finite() && high.is_finite() && low < high {
            return Ok(Self { low, high });
        }
        Err(StatsError::Parameter { what: "bounds", found: format!("{low}, {high}"), expected: "finite low < high" })
    }

    /// Bounds that need no runs: 0 and 1 of a win rate; of returns those that are known for the task of `run` with its
    /// default rules. A run that does not say what rules it was played by (another program's) has none.
    pub fn known(run: &RunRecord, metric: Metric) -> Option<Self> {
        if metric == Metric::WinRate {
            return Some(Self { low: 0.0, high: 1.0 });
        }
        let number = |name: &str| run.setting(name).and_then(|v| v.as_float().or_else(|| v.as_integer().map(|i| i as f64)));
        let continuous = run.setting("task.continuous").and_then(toml::Value::as_bool);
        let flavour = run.setting("task.flavour").and_then(toml::Value::as_str);
        let task = run.task.split(" [").next().unwrap_or_default();
        let row = KNOWN.iter().find(|(name, c, ..)| *name == task && (c.is_none() || *c == continuous))?;
        let default_rules = row.2.iter().all(|(name, value)| number(name) == Some(*value));
        let newest = row.1.is_none() || flavour == Some("v3");
        (default_rules && newest).then_some(Self { low: row.3, high: row.4 })
    }

    /// The lowest and the highest of the values, as marl-eval takes them (Gorsane et al. 2022); `None` where they are all one.
    pub fn of_values(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let ends = values.into_iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        Self::new(ends.0, ends.1).ok()
    }

    /// 0 at `low`, 1 at `high`, linear also beyond.
    pub fn scale(&self, score: f64) -> f64 {
        (score - self.low) / (self.high - self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::run;

    #[test]
    fn scaling_is_linear_beyond_its_ends() {
        let b = Bounds::new(-80.0, -20.0).unwrap();
        assert_eq!([-80.0, -50.0, -20.0, -14.0].map(|x| b.scale(x)), [0.0, 0.5, 1.0, 1.1]);
        assert!(Bounds::new(1.0, 1.0).is_err() && Bounds::new(0.0, f64::NAN).is_err());
        assert_eq!(Bounds::of_values([3.0, -1.0, 2.0]), Some(Bounds { low: -1.0, high: 3.0 }));
        assert_eq!(Bounds::of_values([3.0, 3.0]), None);
    }

    #[test]
    fn known_bounds_are_for_the_rules_they_were_found_on() {
        let with =
            |text: &str| RunRecord { config: toml::from_str(text).unwrap(), ..run("a", "mpe/simple_reference_v3", 0, &[1.0]) };
        let of = |text: &str| Bounds::known(&with(text), Metric::Return).map(|b| b.high);
        let game = |text: &str| of(&format!("task = {{ {text} }}"));
        assert_eq!(game("continuous = true, flavour = 'v3', max_cycles = 25, local_ratio = 0.5"), Some(-11.1));
        assert_eq!(game("continuous = false, flavour = 'v3', max_cycles = 25, local_ratio = 0.5"), Some(-14.2));
        assert_eq!(game("continuous = false, flavour = 'v2', max_cycles = 25, local_ratio = 0.5"), None);
        assert_eq!(game("continuous = false, flavour = 'v3', max_cycles = 50, local_ratio = 0.5"), None, "longer episodes");
        assert_eq!(game("continuous = false, flavour = 'v3', max_cycles = 25, local_ratio = 0.9"), None, "another reward");
        assert_eq!(game("continuous = false, max_cycles = 25, local_ratio = 0.5"), None, "which flavour is not known");
        assert_eq!(of(""), None, "whether actions are continuous is not known");
        let climbing = run("a", "matrix/climbing", 0, &[1.0]);
        let played =
            |text: &str| Bounds::known(&RunRecord { config: toml::from_str(text).unwrap(), ..climbing.clone() }, Metric::Return);
        assert_eq!(played("task.steps = 1").map(|b| b.high), Some(11.0));
        assert_eq!(played("task.steps = 25"), None);
        assert_eq!(played(""), None, "another program's run: how often it was played is not known");
        assert_eq!(Bounds::known(&run("a", "s/t", 0, &[1.0]), Metric::WinRate), Some(Bounds { low: 0.0, high: 1.0 }));
    }
}

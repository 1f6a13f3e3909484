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

/// Ends that do not depend on the runs at hand: uniformly random play, and what no play can beat in the mean, by convex programs on the
/// true dynamics (`tests/mpe_bounds.rs`) or by the payoffs. Task, whether actions are continuous (`None`: no such choice), low, high;
/// for the default rules of the task.
const KNOWN: [(&str, Option<bool>, f64, f64); 8] = [
    ("mpe/simple_reference_v3", Some(false), -58.0, -14.2),
    ("mpe/simple_reference_v3", Some(true), -56.0, -11.1),
    ("mpe/simple_speaker_listener_v4", Some(false), -83.0, -14.8),
    ("mpe/simple_speaker_listener_v4", Some(true), -80.0, -11.6),
    // Nine joint actions worth 11 - 30 + 0 - 30 + 7 + 6 + 0 + 0 + 5 together.
    ("matrix/climbing", None, -31.0 / 9.0, 11.0),
    ("matrix/bilinear", None, 0.0, 1.0),
    ("matrix/non_monotonic", None, NON_MONOTONIC_RANDOM, 8.0),
    ("matrix/heterogeneity_trap", None, 0.75, 2.0),
];

/// Nine joint actions: 8, four of -12, four of 0.
const NON_MONOTONIC_RANDOM: f64 = (8.0 - 4.0 * 12.0) / 9.0;

impl Bounds {
    /// # Errors
    /// [`StatsError::Parameter`] unless both are finite and `low < high`.
    pub fn new(low: f64, high: f64) -> Result<Self, StatsError> {
        if low.is_finite() && high.is_finite() && low < high {
            return Ok(Self { low, high });
        }
        Err(StatsError::Parameter { what: "bounds", found: format!("{low}, {high}"), expected: "finite low < high" })
    }

    /// Bounds that need no runs: 0 and 1 of a win rate; of returns those that are known for the task of `run` with its
    /// default rules.
    pub fn known(run: &RunRecord, metric: Metric) -> Option<Self> {
        if metric == Metric::WinRate {
            return Some(Self { low: 0.0, high: 1.0 });
        }
        let is = |name: &str, wanted: &str| run.setting(name).is_none_or(|v| v.as_str().is_none_or(|v| v == wanted));
        let once = run.setting("task.steps").is_none_or(|v| v.as_integer() == Some(1));
        let continuous = run.setting("task.continuous").and_then(toml::Value::as_bool);
        let task = run.task.split(" [").next().unwrap_or_default();
        let row = KNOWN.iter().find(|(name, c, ..)| *name == task && (c.is_none() || *c == continuous))?;
        (is("task.flavour", "v3") && once).then_some(Self { low: row.2, high: row.3 })
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
        assert_eq!(of("task = { continuous = true, flavour = 'v3' }"), Some(-11.1));
        assert_eq!(of("task = { continuous = false, flavour = 'v3' }"), Some(-14.2));
        assert_eq!(of("task = { continuous = false, flavour = 'v2' }"), None);
        assert_eq!(of(""), None, "whether actions are continuous is not known");
        let climbing = run("a", "matrix/climbing", 0, &[1.0]);
        assert_eq!(Bounds::known(&climbing, Metric::Return).map(|b| b.high), Some(11.0));
        let repeated = RunRecord { config: toml::from_str("task.steps = 25").unwrap(), ..climbing.clone() };
        assert_eq!(Bounds::known(&repeated, Metric::Return), None);
        assert_eq!(Bounds::known(&run("a", "s/t", 0, &[1.0]), Metric::WinRate), Some(Bounds { low: 0.0, high: 1.0 }));
    }
}

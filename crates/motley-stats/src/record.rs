//! What a run leaves for comparison: its evaluations, and the absolute metric where it was measured.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use crate::aggregate::average;
use crate::curves::Curve;

/// The absolute metric plays so many times the episodes of a usual evaluation (Gorsane et al. 2022, section 4).
pub const ABSOLUTE_FACTOR: usize = 10;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The team's undiscounted return.
    Return,
    /// The share of episodes won, 0 to 1.
    WinRate,
}

/// One evaluation: what its episodes returned, or one mean over them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Env steps of training before it.
    pub env_steps: u64,
    /// Wall-clock seconds of training before it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Team returns, one an episode or one mean.
    #[serde(deserialize_with = "nan_if_null")]
    pub returns: Vec<f64>,
    /// 1 for an episode won, 0 for one lost, or one share; empty where the task defines no winning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub won: Vec<f64>,
}

/// JSON has no NaN: a return that was not finite is written as `null`.
fn nan_if_null<'de, D: Deserializer<'de>>(values: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<Option<f64>>::deserialize(values)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

impl Evaluation {
    /// The mean over episodes; `None` where nothing was measured.
    pub fn mean(&self, metric: Metric) -> Option<f64> {
        let values = match metric {
            Metric::Return => &self.returns,
            Metric::WinRate => &self.won,
        };
        (!values.is_empty()).then(|| average(values))
    }

    /// With one mean in place of the episodes.
    #[must_use]
    pub fn compact(&self) -> Self {
        let one = |metric| self.mean(metric).into_iter().collect();
        Self { returns: one(Metric::Return), won: one(Metric::WinRate), ..self.clone() }
    }
}

/// One run: one algorithm on one task with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The algorithm, with its variant where several are compared.
    pub algo: String,
    /// `suite/name`, with its variant where several are compared.
    pub task: String,
    /// The seed.
    pub seed: u64,
    /// Env steps trained.
    pub env_steps: u64,
    /// Wall-clock seconds of training, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Mean wall-clock seconds of an update, collection not counted, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_seconds: Option<f64>,
    /// Processor and threads that trained it, as `NAME, 2 threads`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// Version and commit that trained it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The preset that it was begun with, `none` for none, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// The resolved settings; empty for runs of other programs.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub config: toml::Table,
    /// By rising env steps.
    pub evaluations: Vec<Evaluation>,
    /// The best parameters, evaluated again at the end on [`ABSOLUTE_FACTOR`] times the episodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute: Option<Evaluation>,
}

impl RunRecord {
    /// The metric at each evaluation.
    pub fn curve(&self, metric: Metric) -> Curve {
        self.evaluations.iter().filter_map(|e| Some((e.env_steps as f64, e.mean(metric)?))).collect()
    }

    /// The metric at the last evaluation.
    pub fn last(&self, metric: Metric) -> Option<f64> {
        self.evaluations.last()?.mean(metric)
    }

    /// The mean of the metric over the evaluations of the last `part` (0 to 1) of the env steps evaluated, one at least: what
    /// is read off the plateau of a published curve.
    pub fn plateau(&self, metric: Metric, part: f64) -> Option<f64> {
        let late = self.late(metric, part);
        (!late.is_empty()).then(|| average(&late))
    }

    /// The evaluations that [`RunRecord::plateau`] is the mean of.
    pub(crate) fn late(&self, metric: Metric, part: f64) -> Vec<f64> {
        let curve = self.curve(metric);
        let from = curve.last().map_or(0.0, |last| last.0 * (1.0 - part));
        curve.iter().enumerate().filter(|(k, p)| p.0 > from || k + 1 == curve.len()).map(|(_, p)| p.1).collect()
    }

    /// The first of the evaluations with the highest metric: whose parameters the absolute metric is about.
    pub fn best(&self, metric: Metric) -> Option<&Evaluation> {
        let value = |e: &Evaluation| e.mean(metric).unwrap_or(f64::NEG_INFINITY);
        self.evaluations.iter().reduce(|best, e| if value(e) > value(best) { e } else { best })
    }

    /// The threads that trained it, where known.
    pub fn threads(&self) -> Option<usize> {
        self.machine.rsplit_once(", ")?.1.strip_suffix(" threads")?.parse().ok()
    }

    /// A setting by its dotted name.
    pub fn setting(&self, name: &str) -> Option<&toml::Value> {
        let mut parts = name.split('.');
        let first = self.config.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.as_table()?.get(part))
    }
}

/// Settings of a task that say how it is shown to and played by the learner, and how its rewards are shared: choices of whoever
/// trains, who plays the same game whatever they are.
fn is_view(name: &str) -> bool {
    let exact = ["task.reward", "task.state", "task.obs", "task.actions"].contains(&name);
    exact || name.starts_with("task.obs_") || name.starts_with("task.state_")
}

/// Settings in which two runs of one comparison may differ and still be seeds of one thing. How often a policy is evaluated is one;
/// whether it then draws its actions or takes the likeliest is none: the two return unlike things.
fn is_incidental(name: &str) -> bool {
    let of_eval = name.starts_with("eval.") && name != "eval.stochastic";
    ["seed", "threads", "total_steps"].contains(&name) || of_eval || name.starts_with("log.")
}

/// Tells apart runs of one algorithm on one task that differ in other settings than seeds, budgets and logs: `task.*` settings
/// become part of the task's name, others of the algorithm's, as in `happo [algo.order=fixed]`. What an algorithm sees of a task (layouts
/// of observation, state and actions) and how rewards are shared are the algorithm's, so that one that learns from its own layout can
/// stand beside others on one task.
pub fn name_variants(runs: &mut [RunRecord]) {
    let flat: Vec<BTreeMap<String, String>> = runs.iter().map(|r| telling(&r.config)).collect();
    let differing = |same: &dyn Fn(&RunRecord) -> bool, of_task: bool| -> BTreeSet<String> {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let group: Vec<usize> = (0..runs.len()).filter(|k| same(&runs[*k])).collect();
        let names: BTreeSet<&str> = group.iter().flat_map(|k| flat[*k].keys()).map(String::as_str).collect();
        for name in names.into_iter().filter(|n| n.starts_with("task.") == of_task && !is_incidental(n)) {
            // A setting that only some have is one that older versions did not know, and is no difference.
            values.insert(name, group.iter().filter_map(|k| flat[*k].get(name).map(String::as_str)).collect());
        }
        values.into_iter().filter(|(_, v)| v.len() > 1).map(|(n, _)| n.to_owned()).collect()
    };
    let label = |k: usize, names: &BTreeSet<String>| {
        let parts: Vec<String> =
            names.iter().filter_map(|n| flat[k].get(n).map(|v| format!("{n}={}", v.trim_matches('"')))).collect();
        if parts.is_empty() { String::new() } else { format!(" [{}]", parts.join(" ")) }
    };
    let named: Vec<(String, String)> = (0..runs.len())
        .map(|k| {
            let run = &runs[k];
            let alike = |r: &RunRecord| r.algo == run.algo && r.task == run.task;
            let mut of_task = differing(&|r| r.task == run.task, true);
            of_task.retain(|name| !is_view(name));
            let mut of_algo = differing(&alike, false);
            of_algo.extend(differing(&alike, true).into_iter().filter(|name| is_view(name)));
            (label(k, &of_algo), label(k, &of_task))
        })
        .collect();
    for (run, (algo, task)) in runs.iter_mut().zip(named) {
        run.algo.push_str(&algo);
        run.task.push_str(&task);
    }
}

/// Where algorithms are shown one task in different ways, a line that says so: `task: task.state is ep (happo), smac (qmix)`.
pub fn unlike_views(runs: &[RunRecord]) -> Vec<String> {
    // task -> setting -> value -> algorithms
    let mut views: BTreeMap<&str, BTreeMap<String, BTreeMap<String, BTreeSet<&str>>>> = BTreeMap::new();
    for run in runs {
        for (name, value) in flatten(&run.config).into_iter().filter(|(name, _)| is_view(name)) {
            let values = views.entry(&run.task).or_default().entry(name).or_default();
            values.entry(value.trim_matches('"').to_owned()).or_default().insert(&run.algo);
        }
    }
    let mut lines = Vec::new();
    for (task, settings) in views {
        for (name, values) in settings.into_iter().filter(|(_, values)| values.len() > 1) {
            let told = values.into_iter().map(|(v, algos)| format!("{v} ({})", algos.into_iter().collect::<Vec<_>>().join(", ")));
            lines.push(format!("{task} is not shown alike to all: {name} is {}", told.collect::<Vec<_>>().join(", ")));
        }
    }
    lines
}

/// The settings by name, with schedules that end with the budget as one kind of them, whatever the budget.
fn telling(config: &toml::Table) -> BTreeMap<String, String> {
    let mut flat = flatten(config);
    if let Some(steps) = flat.get("schedule_steps")
        && (steps == "0" || Some(steps) == flat.get("total_steps"))
    {
        flat.insert("schedule_steps".into(), "total_steps".into());
    }
    flat
}

/// Dotted names with their values as text.
fn flatten(table: &toml::Table) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => {
                flat.extend(flatten(inner).into_iter().map(|(n, v)| (format!("{name}.{n}"), v)));
            }
            other => {
                flat.insert(name.clone(), other.to_string());
            }
        }
    }
    flat
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run that returned these at 100, 200, ... env steps.
    pub(crate) fn run(algo: &str, task: &str, seed: u64, returns: &[f64]) -> RunRecord {
        let evaluation =
            |(k, r): (usize, &f64)| Evaluation { env_steps: 100 * (k as u64 + 1), returns: vec![*r], ..Default::default() };
        let evaluations: Vec<Evaluation> = returns.iter().enumerate().map(evaluation).collect();
        RunRecord {
            algo: algo.into(),
            task: task.into(),
            seed,
            env_steps: 100 * returns.len() as u64,
            seconds: None,
            update_seconds: None,
            machine: String::new(),
            version: String::new(),
            preset: None,
            config: toml::Table::new(),
            evaluations,
            absolute: None,
        }
    }

    #[test]
    fn a_return_that_is_no_number_can_be_read_back() {
        let written = serde_json::to_string(&run("a", "t", 0, &[1.0, f64::INFINITY])).unwrap();
        let read: RunRecord = serde_json::from_str(&written).unwrap();
        assert!(read.evaluations[0].returns == [1.0] && read.evaluations[1].returns[0].is_nan());
    }

    #[test]
    fn readings_of_a_curve() {
        let r = run("x", "s/t", 0, &[1.0, 5.0, 5.0, 3.0, 2.0, 4.0, 0.0, 2.0, 3.0, 1.0]);
        assert_eq!(r.last(Metric::Return), Some(1.0));
        assert_eq!(r.best(Metric::Return).unwrap().env_steps, 200, "the first of two equals");
        assert_eq!(r.plateau(Metric::Return, 0.2), Some(2.0), "evaluations after 800 of 1000 steps");
        assert_eq!(r.plateau(Metric::Return, 0.0), Some(1.0));
        assert_eq!((r.last(Metric::WinRate), run("x", "s/t", 0, &[]).last(Metric::Return)), (None, None));
    }

    #[test]
    fn episodes_become_means() {
        let e = Evaluation { env_steps: 1, seconds: None, returns: vec![1.0, 3.0], won: vec![1.0, 0.0, 0.0, 0.0] };
        assert_eq!((e.mean(Metric::Return), e.mean(Metric::WinRate)), (Some(2.0), Some(0.25)));
        assert_eq!(e.compact(), Evaluation { returns: vec![2.0], won: vec![0.25], ..e });
    }

    #[test]
    fn variants_are_named_by_what_differs() {
        let with = |algo: &str, text: &str| RunRecord { config: toml::from_str(text).unwrap(), ..run(algo, "s/t", 0, &[1.0]) };
        let mut runs = vec![
            with("a", "seed = 1\nalgo.order = 'random'\ntask = { n = 3, reward = 'own' }"),
            with("a", "seed = 2\nalgo.order = 'fixed'\ntask = { n = 3, reward = 'own' }"),
            with("b", "seed = 1\nalgo.lr = 0.1\ntask = { n = 6, reward = 'sum' }"),
            run("c", "s/t", 0, &[1.0]),
        ];
        name_variants(&mut runs);
        let names: Vec<(&str, &str)> = runs.iter().map(|r| (r.algo.as_str(), r.task.as_str())).collect();
        assert_eq!(
            names,
            [
                ("a [algo.order=random]", "s/t [task.n=3]"),
                ("a [algo.order=fixed]", "s/t [task.n=3]"),
                ("b", "s/t [task.n=6]"),
                ("c", "s/t")
            ]
        );
        let mut versions = vec![with("a", "algo.lr = 0.1"), with("a", "algo = { lr = 0.1, new = 1 }")];
        name_variants(&mut versions);
        assert_eq!(versions.iter().map(|r| r.algo.as_str()).collect::<Vec<_>>(), ["a", "a"]);
        let mut played = vec![
            with("a", "eval = { every = 100, episodes = 4, stochastic = true }"),
            with("a", "eval = { every = 200, episodes = 8, stochastic = false }"),
        ];
        name_variants(&mut played);
        let names: Vec<&str> = played.iter().map(|r| r.algo.as_str()).collect();
        assert_eq!(
            names,
            ["a [eval.stochastic=true]", "a [eval.stochastic=false]"],
            "drawn and likeliest actions are two things"
        );
        assert_eq!(runs[2].setting("task.n").and_then(toml::Value::as_integer), Some(6));
        assert_eq!(runs[2].setting("task.none.x"), None);
    }

    #[test]
    fn layouts_belong_to_the_algorithm_and_rules_to_the_task() {
        let with = |algo: &str, text: &str| RunRecord { config: toml::from_str(text).unwrap(), ..run(algo, "s/3m", 0, &[1.0]) };
        let mut runs = vec![
            with("mappo", "task = { state = 'ep', obs_last_action = false, profile = 'liberty' }"),
            with("qmix", "task = { state = 'smac', obs_last_action = false, profile = 'liberty' }"),
            with("qmix", "task = { state = 'smac', obs_last_action = true, profile = 'liberty' }"),
            with("vdn", "task = { state = 'smac', obs_last_action = false, profile = 'smaclite' }"),
        ];
        let views = unlike_views(&runs);
        assert_eq!(views[1], "s/3m is not shown alike to all: task.state is ep (mappo), smac (qmix, vdn)");
        assert!(views.len() == 2 && views[0].contains("task.obs_last_action"), "{views:?}");
        name_variants(&mut runs);
        let names: Vec<(&str, &str)> = runs.iter().map(|r| (r.algo.as_str(), r.task.as_str())).collect();
        let liberty = "s/3m [task.profile=liberty]";
        assert_eq!(
            names,
            [
                ("mappo", liberty),
                ("qmix [task.obs_last_action=false]", liberty),
                ("qmix [task.obs_last_action=true]", liberty),
                ("vdn", "s/3m [task.profile=smaclite]")
            ]
        );
    }

    #[test]
    fn a_schedule_beyond_the_budget_is_a_variant() {
        let with = |text: &str| RunRecord { config: toml::from_str(text).unwrap(), ..run("a", "s/t", 0, &[1.0]) };
        let named = |texts: [&str; 2]| {
            let mut runs = texts.map(with);
            name_variants(&mut runs);
            runs.map(|r| r.algo)
        };
        assert_eq!(named(["total_steps = 9\nschedule_steps = 0", "total_steps = 7\nschedule_steps = 7"]), ["a", "a"]);
        let part = named(["total_steps = 9\nschedule_steps = 0", "total_steps = 1\nschedule_steps = 9"]);
        assert_eq!(part, ["a [schedule_steps=total_steps]", "a [schedule_steps=9]"]);
    }

    #[test]
    fn threads_are_read_from_the_machine() {
        let of = |machine: &str| RunRecord { machine: machine.into(), ..run("a", "s/t", 0, &[]) }.threads();
        assert_eq!([of("AMD EPYC, 2 threads"), of("AMD EPYC"), of("")], [Some(2), None, None]);
    }
}

//! Everything that a comparison of runs says, computed once and then shown as a table, JSON, LaTeX or pictures.

use std::collections::{BTreeMap, BTreeSet};

use crate::aggregate::{Scores, average, iqm, mean, median, middle, optimality_gap};
use crate::bootstrap::{Bootstrap, Estimate};
use crate::bounds::Bounds;
use crate::curves::{Curve, Point, sample_efficiency};
use crate::profile;
use crate::record::{Metric, RunRecord};
use crate::{FEWEST_SEEDS, StatsError};

/// Thresholds of a performance profile.
const THRESHOLDS: usize = 101;

/// How runs are compared.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is compared.
    pub metric: Metric,
    /// The absolute metric in place of the last evaluation.
    pub absolute: bool,
    /// Ends of tasks' scales that are given; others are known or taken from the runs.
    pub bounds: BTreeMap<String, Bounds>,
    /// What counts as solved in the optimality gap, on the scale 0 to 1.
    pub threshold: f64,
    /// How intervals are made.
    pub bootstrap: Bootstrap,
}

/// One algorithm on one task, in the task's own units.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// The task.
    pub task: String,
    /// The algorithm.
    pub algo: String,
    /// How many runs.
    pub seeds: usize,
    /// The fewest env steps of a run.
    pub env_steps: u64,
    /// Mean wall-clock seconds of a run, where known of all.
    pub seconds: Option<f64>,
    /// Interquartile mean over the runs.
    pub iqm: Estimate,
    /// Median over the runs.
    pub median: f64,
    /// Mean over the runs.
    pub mean: f64,
    /// The worst run.
    pub lowest: f64,
    /// The best run.
    pub highest: f64,
}

/// One algorithm over all tasks that every algorithm was run on, each task scaled by its bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The algorithm.
    pub algo: String,
    /// Runs of all tasks together.
    pub runs: usize,
    /// Interquartile mean.
    pub iqm: Estimate,
    /// Median over tasks of means over runs.
    pub median: Estimate,
    /// Mean over tasks of means over runs.
    pub mean: Estimate,
    /// Optimality gap: lower is better.
    pub gap: Estimate,
    /// Share of runs above each of [`Report::thresholds`].
    pub profile: Vec<Estimate>,
    /// Over env steps; empty where the runs share none.
    pub curve: Vec<Point>,
}

/// How likely a run of one algorithm is better than one of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Improvement {
    /// The one.
    pub x: String,
    /// The other.
    pub y: String,
    /// P(x > y), averaged over tasks.
    pub probability: Estimate,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What was compared.
    pub metric: Metric,
    /// Whether the absolute metric was.
    pub absolute: bool,
    /// By task, then algorithm.
    pub rows: Vec<TaskRow>,
    /// Tasks that every algorithm was run on, with their bounds and where those come from.
    pub tasks: Vec<(String, Bounds, &'static str)>,
    /// One an algorithm; empty where the algorithms share no task.
    pub summaries: Vec<Summary>,
    /// Each pair once.
    pub improvements: Vec<Improvement>,
    /// Of the profiles.
    pub thresholds: Vec<f64>,
    /// What a reader must know before believing any of it.
    pub warnings: Vec<String>,
}

/// algorithm -> task -> runs.
type Groups<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<(&'a RunRecord, f64)>>>;

impl Report {
    /// Compares the runs.
    ///
    /// # Errors
    /// [`StatsError::Empty`] where no run has the metric; [`StatsError::NotFinite`].
    pub fn new(runs: &[RunRecord], options: &Options) -> Result<Self, StatsError> {
        let mut warnings = Vec::new();
        let groups = group(runs, options, &mut warnings);
        if groups.is_empty() {
            let what = if options.absolute { "the absolute metric (measure it with --absolute)" } else { "the metric" };
            return Err(StatsError::Empty(format!("{what} of {} runs", runs.len())));
        }
        let mut rows = Vec::new();
        for (algo, tasks) in &groups {
            for (task, runs) in tasks {
                rows.push(task_row(task, algo, runs, &options.bootstrap)?);
                warn_of_budgets(task, algo, runs, &mut warnings);
            }
        }
        rows.sort_by(|a, b| (&a.task, &a.algo).cmp(&(&b.task, &b.algo)));
        warn_of_few(&rows, &mut warnings);
        let tasks = shared_tasks(&groups, options, &mut warnings);
        let mut report = Self {
            metric: options.metric,
            absolute: options.absolute,
            rows,
            tasks,
            summaries: Vec::new(),
            improvements: Vec::new(),
            thresholds: Vec::new(),
            warnings,
        };
        if !report.tasks.is_empty() {
            report.summarize(&groups, options)?;
        }
        Ok(report)
    }

    fn summarize(&mut self, groups: &Groups<'_>, options: &Options) -> Result<(), StatsError> {
        let scaled = |runs: &BTreeMap<&str, Vec<(&RunRecord, f64)>>| {
            Scores::new(self.tasks.iter().map(|(t, b, _)| runs[t.as_str()].iter().map(|r| b.scale(r.1)).collect()).collect())
        };
        let tables: Vec<(&str, Scores)> =
            groups.iter().map(|(algo, runs)| Ok((*algo, scaled(runs)?))).collect::<Result<_, _>>()?;
        let ends = tables.iter().flat_map(|t| t.1.pooled()).fold((0.0f64, 1.0f64), |(l, h), x| (l.min(x), h.max(x)));
        self.thresholds = profile::thresholds(ends.0, ends.1, THRESHOLDS);
        let b = &options.bootstrap;
        for (algo, scores) in &tables {
            let curves: Vec<Vec<Curve>> =
                self.tasks.iter().map(|t| task_curves(&groups[algo][t.0.as_str()], t, options)).collect();
            self.summaries.push(Summary {
                algo: (*algo).to_owned(),
                runs: scores.pooled().count(),
                iqm: b.estimate(scores, iqm),
                median: b.estimate(scores, median),
                mean: b.estimate(scores, mean),
                gap: b.estimate(scores, |s| optimality_gap(s, options.threshold)),
                profile: profile::with_intervals(scores, &self.thresholds, b),
                curve: sample_efficiency(&curves, b).unwrap_or_default(),
            });
        }
        for (k, (x, left)) in tables.iter().enumerate() {
            for (y, right) in &tables[k + 1..] {
                let probability = b.improvement(left, right)?;
                self.improvements.push(Improvement { x: (*x).to_owned(), y: (*y).to_owned(), probability });
            }
        }
        Ok(())
    }
}

fn group<'a>(runs: &'a [RunRecord], options: &Options, warnings: &mut Vec<String>) -> Groups<'a> {
    let mut groups: Groups<'a> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for run in runs {
        let value = match &run.absolute {
            Some(e) if options.absolute => e.mean(options.metric),
            None if options.absolute => None,
            _ => run.last(options.metric),
        };
        let name = format!("{} on {}, seed {}", run.algo, run.task, run.seed);
        match value {
            Some(v) if v.is_finite() => {
                if !seen.insert((&run.algo, &run.task, run.seed)) {
                    warnings.push(format!("{name} is there twice: two runs with one seed are no two samples"));
                }
                groups.entry(&run.algo).or_default().entry(&run.task).or_default().push((run, v));
            }
            Some(_) => warnings
                .push(format!("{name} ended in a value that is not finite and is left out: the rest looks better than it is")),
            None => warnings.push(format!("{name} was not measured and is left out")),
        }
    }
    groups
}

fn task_row(task: &str, algo: &str, runs: &[(&RunRecord, f64)], bootstrap: &Bootstrap) -> Result<TaskRow, StatsError> {
    let values: Vec<f64> = runs.iter().map(|r| r.1).collect();
    let scores = Scores::new(vec![values.clone()])?;
    let seconds: Option<Vec<f64>> = runs.iter().map(|r| r.0.seconds).collect();
    let ends = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
    Ok(TaskRow {
        task: task.to_owned(),
        algo: algo.to_owned(),
        seeds: runs.len(),
        env_steps: runs.iter().map(|r| r.0.env_steps).min().unwrap_or(0),
        seconds: seconds.map(|s| average(&s)),
        iqm: bootstrap.estimate(&scores, iqm),
        median: middle(&values),
        mean: average(&values),
        lowest: ends.0,
        highest: ends.1,
    })
}

fn warn_of_few(rows: &[TaskRow], warnings: &mut Vec<String>) {
    let few: Vec<String> =
        rows.iter().filter(|r| r.seeds < FEWEST_SEEDS).map(|r| format!("{} on {} ({})", r.algo, r.task, r.seeds)).collect();
    if !few.is_empty() {
        warnings.push(format!(
            "fewer than {FEWEST_SEEDS} seeds: {}; intervals of so few runs are too narrow, ten seeds are the custom",
            few.join(", ")
        ));
    }
    for pair in rows.chunk_by(|a, b| a.task == b.task) {
        let (least, most) = pair.iter().fold((u64::MAX, 0), |(l, h), r| (l.min(r.env_steps), h.max(r.env_steps)));
        if least < most {
            warnings.push(format!("{}: budgets differ, {least} to {most} env steps", pair[0].task));
        }
    }
}

/// Names the runs of a row that were trained for other budgets than the rest: its least budget is that of no more than some.
fn warn_of_budgets(task: &str, algo: &str, runs: &[(&RunRecord, f64)], warnings: &mut Vec<String>) {
    let mut seeds: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (run, _) in runs {
        seeds.entry(run.env_steps).or_default().push(run.seed.to_string());
    }
    if seeds.len() > 1 {
        let told = seeds.iter().map(|(steps, seeds)| format!("{steps} (seed {})", seeds.join(", ")));
        let told = told.collect::<Vec<_>>().join(", ");
        warnings.push(format!("{algo} on {task} mixes runs of different budgets in one row: {told} env steps"));
    }
}

/// The tasks of every algorithm, with bounds; a task on which all runs ended the same has no scale and is left out.
fn shared_tasks(groups: &Groups<'_>, options: &Options, warnings: &mut Vec<String>) -> Vec<(String, Bounds, &'static str)> {
    let all: BTreeSet<&str> = groups.values().flat_map(BTreeMap::keys).copied().collect();
    let (shared, lone): (Vec<&str>, Vec<&str>) =
        all.into_iter().partition(|t| groups.values().all(|tasks| tasks.contains_key(t)));
    if !lone.is_empty() {
        warnings.push(format!("not run by every algorithm and left out of the aggregates: {}", lone.join(", ")));
    }
    let mut tasks = Vec::new();
    for task in shared {
        let runs = || groups.values().flat_map(|t| &t[task]);
        let known = runs().next().and_then(|r| Bounds::known(r.0, options.metric));
        let found = match (options.bounds.get(task), known) {
            (Some(given), _) => Some((*given, "given")),
            (None, Some(known)) => Some((known, "known")),
            (None, None) => {
                let curves = runs().flat_map(|r| r.0.curve(options.metric)).map(|p| p.1).filter(|v| v.is_finite());
                Bounds::of_values(curves.chain(runs().map(|r| r.1))).map(|b| (b, "from these runs"))
            }
        };
        match found {
            Some((bounds, origin)) => tasks.push((task.to_owned(), bounds, origin)),
            None => warnings.push(format!("{task}: every value is the same, it is left out of the aggregates")),
        }
    }
    tasks
}

/// Curves on the scale of the task.
fn task_curves(runs: &[(&RunRecord, f64)], task: &(String, Bounds, &'static str), options: &Options) -> Vec<Curve> {
    let scale = |curve: Curve| curve.into_iter().map(|(s, v)| (s, task.1.scale(v))).collect();
    runs.iter().map(|r| scale(r.0.curve(options.metric))).collect()
}

#[cfg(test)]
mod tests {
    use motley_core::{Purpose, Stream};

    use super::*;
    use crate::record::tests::run;

    pub(crate) fn options() -> Options {
        let bootstrap = Bootstrap::new(200, 0.95, Stream::new(0, Purpose::Bootstrap, 0, 0)).unwrap();
        Options { metric: Metric::Return, absolute: false, bounds: BTreeMap::new(), threshold: 1.0, bootstrap }
    }

    /// Two algorithms on two tasks, of which "b" has a third; scores 0 to 10 and 0 to 100.
    fn runs() -> Vec<RunRecord> {
        let mut all = Vec::new();
        for seed in 0..6 {
            let s = seed as f64;
            all.push(run("a", "s/one", seed, &[0.0, 5.0 + s]));
            all.push(run("a", "s/two", seed, &[0.0, 100.0]));
            all.push(run("b", "s/one", seed, &[0.0, 1.0]));
            all.push(run("b", "s/two", seed, &[0.0, 50.0 + s]));
            all.push(run("b", "s/three", seed, &[0.0, 1.0]));
        }
        all
    }

    #[test]
    fn tasks_are_scaled_and_put_together() {
        let r = Report::new(&runs(), &options()).unwrap();
        assert_eq!(r.rows.iter().map(|x| (x.task.as_str(), x.algo.as_str())).collect::<Vec<_>>().len(), 5);
        let one = &r.rows[0];
        assert_eq!((one.task.as_str(), one.algo.as_str(), one.seeds, one.env_steps), ("s/one", "a", 6, 200));
        assert_eq!((one.iqm.value, one.mean, one.median, one.lowest, one.highest), (7.5, 7.5, 7.5, 5.0, 10.0));
        let (a, b) = (&r.summaries[0], &r.summaries[1]);
        assert!((a.mean.value - (0.75 + 1.0) / 2.0).abs() < 1e-12 && (b.mean.value - (0.1 + 0.525) / 2.0).abs() < 1e-12);
        assert!((a.gap.value - 0.125).abs() < 1e-12);
        assert_eq!(r.improvements.len(), 1);
        assert_eq!((r.improvements[0].x.as_str(), r.improvements[0].probability.value), ("a", 1.0));
        assert_eq!((a.profile[0].value, a.profile[THRESHOLDS - 1].value), (1.0, 0.0));
        assert_eq!(a.curve.iter().map(|p| p.steps).collect::<Vec<_>>(), [100.0, 200.0]);
        assert_eq!(
            r.tasks.iter().map(|t| (t.0.as_str(), t.1.high, t.2)).collect::<Vec<_>>(),
            [("s/one", 10.0, "from these runs"), ("s/two", 100.0, "from these runs")]
        );
        assert!(r.warnings.iter().any(|w| w.contains("s/three")) && r.warnings.len() == 1, "{:?}", r.warnings);
    }

    #[test]
    fn given_bounds_come_first() {
        let given = Options { bounds: BTreeMap::from([("s/one".to_owned(), Bounds { low: 0.0, high: 20.0 })]), ..options() };
        let r = Report::new(&runs(), &given).unwrap();
        assert_eq!((r.tasks[0].1.high, r.tasks[0].2), (20.0, "given"));
    }

    #[test]
    fn a_row_of_unequal_budgets_names_its_runs() {
        let all = [run("a", "s/t", 0, &[1.0, 2.0]), run("a", "s/t", 1, &[1.0, 3.0]), run("a", "s/t", 2, &[1.0, 2.0, 4.0])];
        let told = |runs: &[RunRecord]| Report::new(runs, &options()).unwrap().warnings;
        let expected = "a on s/t mixes runs of different budgets in one row: 200 (seed 0, 1), 300 (seed 2) env steps";
        assert!(told(&all).iter().any(|w| w == expected), "{:?}", told(&all));
        assert!(!told(&all[..2]).iter().any(|w| w.contains("mixes")));
    }

    #[test]
    fn what_weakens_a_comparison_is_said() {
        let mut all = vec![run("a", "s/t", 0, &[1.0]), run("a", "s/t", 0, &[2.0]), run("b", "s/t", 1, &[3.0, 4.0])];
        all.push(run("b", "s/t", 2, &[1.0, f64::NAN]));
        let r = Report::new(&all, &options()).unwrap();
        for text in ["fewer than 5 seeds", "budgets differ", "is there twice", "not finite"] {
            assert!(r.warnings.iter().any(|w| w.contains(text)), "{text}: {:?}", r.warnings);
        }
        let absolute = Options { absolute: true, ..options() };
        assert!(Report::new(&all, &absolute).unwrap_err().to_string().contains("--absolute"));
    }
}

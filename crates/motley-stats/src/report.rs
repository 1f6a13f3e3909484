//! Everything that a comparison of runs says, computed once and then shown as a table, JSON, LaTeX or pictures.

use std::collections::{BTreeMap, BTreeSet};

use crate::aggregate::{Scores, average, exact_p, iqm, mean, median, middle, optimality_gap};
use crate::bootstrap::{Bootstrap, Estimate};
use crate::bounds::Bounds;
use crate::cost::{Growth, growth};
use crate::curves::{Curve, Point, sample_efficiency, spread};
use crate::profile;
use crate::record::{Metric, RunRecord, unlike_views};
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
    /// The seeds by the env steps they were trained for; more than one entry where budgets differ.
    pub budgets: BTreeMap<u64, Vec<u64>>,
    /// Mean wall-clock seconds of a run, where known of all.
    pub seconds: Option<f64>,
    /// Mean seconds of an update, where known of all.
    pub update_seconds: Option<f64>,
    /// Mean env steps a second of whole runs, where known of all.
    pub steps_per_second: Option<f64>,
    /// The threads of each run, every number once, rising; empty where not known.
    pub threads: Vec<usize>,
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
    /// How far the runs lie apart along their curves, see [`spread`]; none of one run.
    pub spread: Option<f64>,
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
    /// P(x > y), averaged over the tasks of this pair.
    pub probability: Estimate,
    /// Of one task: the exact two-sided p-value of the Mann-Whitney test, where there are not too many runs for it.
    pub p_value: Option<f64>,
    /// How many tasks both were run on.
    pub tasks: usize,
    /// Tasks that only one of them was run on.
    pub left_out: Vec<String>,
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
    /// Each pair that shares a task, once.
    pub improvements: Vec<Improvement>,
    /// Where tasks differ in their number of agents alone.
    pub growth: Vec<Growth>,
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
    /// [`StatsError::Unmeasured`] where no run has the metric; [`StatsError::NotFinite`].
    pub fn new(runs: &[RunRecord], options: &Options) -> Result<Self, StatsError> {
        let mut warnings = Vec::new();
        let groups = group(runs, options, &mut warnings);
        if groups.is_empty() {
            let what = match options.metric {
                _ if options.absolute => "the absolute metric, which --absolute measures of run folders, not of records",
                Metric::Return => "a return to compare",
                Metric::WinRate => "a win rate to compare",
            };
            const NAMED: usize = 5;
            warnings.truncate(NAMED);
            return Err(StatsError::Unmeasured { what, why: warnings.join("; ") });
        }
        let mut rows = Vec::new();
        for (algo, tasks) in &groups {
            for (task, runs) in tasks {
                let row = task_row(task, algo, runs, options.metric, &options.bootstrap)?;
                warn_of_budgets(&row, &mut warnings);
                rows.push(row);
            }
        }
        rows.sort_by(|a, b| (&a.task, &a.algo).cmp(&(&b.task, &b.algo)));
        warn_of_few(&rows, &mut warnings);
        warnings.extend(unlike_views(runs));
        let tasks = shared_tasks(&groups, options, &mut warnings);
        let improvements = improvements(&groups, &options.bootstrap)?;
        let mut report = Self {
            metric: options.metric,
            absolute: options.absolute,
            growth: growth(&rows),
            rows,
            tasks,
            summaries: Vec::new(),
            improvements,
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
            let curve = sample_efficiency(&curves, b).unwrap_or_else(|error| {
                self.warnings.push(format!("{algo} has no curve over env steps: {error}"));
                Vec::new()
            });
            self.summaries.push(Summary {
                algo: (*algo).to_owned(),
                runs: scores.pooled().count(),
                iqm: b.estimate(scores, iqm),
                median: b.estimate(scores, median),
                mean: b.estimate(scores, mean),
                gap: b.estimate(scores, |s| optimality_gap(s, options.threshold)),
                profile: profile::with_intervals(scores, &self.thresholds, b),
                curve,
            });
        }
        Ok(())
    }
}

/// Each pair on the tasks that both were run on. Runs are only ranked, so no scale is needed.
fn improvements(groups: &Groups<'_>, bootstrap: &Bootstrap) -> Result<Vec<Improvement>, StatsError> {
    let mut found = Vec::new();
    let all: Vec<_> = groups.iter().collect();
    for (k, (x, left)) in all.iter().enumerate() {
        for (y, right) in &all[k + 1..] {
            let (both, one): (BTreeSet<&str>, BTreeSet<&str>) =
                left.keys().chain(right.keys()).copied().partition(|t| left.contains_key(t) && right.contains_key(t));
            if both.is_empty() {
                continue;
            }
            let scores = |runs: &BTreeMap<&str, Vec<(&RunRecord, f64)>>| {
                Scores::new(both.iter().map(|t| runs[t].iter().map(|r| r.1).collect()).collect())
            };
            let (left, right) = (scores(left)?, scores(right)?);
            found.push(Improvement {
                x: (**x).to_owned(),
                y: (**y).to_owned(),
                probability: bootstrap.improvement(&left, &right)?,
                p_value: match (left.tasks(), right.tasks()) {
                    ([x], [y]) => exact_p(x, y),
                    _ => None,
                },
                tasks: both.len(),
                left_out: one.into_iter().map(ToOwned::to_owned).collect(),
            });
        }
    }
    Ok(found)
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

fn task_row(
    task: &str,
    algo: &str,
    runs: &[(&RunRecord, f64)],
    metric: Metric,
    bootstrap: &Bootstrap,
) -> Result<TaskRow, StatsError> {
    let values: Vec<f64> = runs.iter().map(|r| r.1).collect();
    let scores = Scores::new(vec![values.clone()])?;
    let mean_of = |of: &dyn Fn(&RunRecord) -> Option<f64>| {
        let known: Option<Vec<f64>> = runs.iter().map(|r| of(r.0)).collect();
        known.map(|k| average(&k))
    };
    let threads: BTreeSet<usize> = runs.iter().filter_map(|r| r.0.threads()).collect();
    let curves: Vec<Curve> = runs.iter().map(|r| r.0.curve(metric)).collect();
    let ends = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
    Ok(TaskRow {
        task: task.to_owned(),
        algo: algo.to_owned(),
        seeds: runs.len(),
        env_steps: runs.iter().map(|r| r.0.env_steps).min().unwrap_or(0),
        budgets: budgets(runs),
        seconds: mean_of(&|r| r.seconds),
        update_seconds: mean_of(&|r| r.update_seconds),
        steps_per_second: rate(runs),
        threads: threads.into_iter().collect(),
        iqm: bootstrap.estimate(&scores, iqm),
        median: middle(&values),
        mean: average(&values),
        lowest: ends.0,
        highest: ends.1,
        spread: spread(&curves),
    })
}

/// Env steps of all seeds over their seconds, so that it goes with the mean time of a run.
fn rate(runs: &[(&RunRecord, f64)]) -> Option<f64> {
    let seconds = runs.iter().map(|r| r.0.seconds).sum::<Option<f64>>().filter(|s| *s > 0.0)?;
    Some(runs.iter().map(|r| r.0.env_steps as f64).sum::<f64>() / seconds)
}

/// The seeds by their budgets.
fn budgets(runs: &[(&RunRecord, f64)]) -> BTreeMap<u64, Vec<u64>> {
    let mut seeds: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (run, _) in runs {
        seeds.entry(run.env_steps).or_default().push(run.seed);
    }
    seeds.values_mut().for_each(|s| s.sort_unstable());
    seeds
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
fn warn_of_budgets(row: &TaskRow, warnings: &mut Vec<String>) {
    if row.budgets.len() > 1 {
        let told = row.budgets.iter().map(|(steps, seeds)| {
            let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
            format!("{steps} (seed {})", seeds.join(", "))
        });
        let told = told.collect::<Vec<_>>().join(", ");
        warnings.push(format!("{} on {} mixes runs of different budgets in one row: {told} env steps", row.algo, row.task));
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
        // Of all or of none: what is known of one run's rules says nothing of another's.
        let known = runs().map(|r| Bounds::known(r.0, options.metric)).reduce(|a, b| a.filter(|_| a == b)).flatten();
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
        let better = &r.improvements[0];
        assert_eq!((better.x.as_str(), better.probability.value, better.tasks), ("a", 1.0, 2));
        assert_eq!(better.left_out, ["s/three"]);
        // Along the curve of "a" on "one": nothing at 100 steps, 0 to 5 added at 200.
        assert!((one.spread.unwrap() - 3.5f64.sqrt() / 2.0).abs() < 1e-12, "{:?}", one.spread);
        assert_eq!((a.profile[0].value, a.profile[THRESHOLDS - 1].value), (1.0, 0.0));
        assert_eq!(a.curve.iter().map(|p| p.steps).collect::<Vec<_>>(), [100.0, 200.0]);
        assert_eq!(
            r.tasks.iter().map(|t| (t.0.as_str(), t.1.high, t.2)).collect::<Vec<_>>(),
            [("s/one", 10.0, "from these runs"), ("s/two", 100.0, "from these runs")]
        );
        assert!(r.warnings.iter().any(|w| w.contains("s/three")) && r.warnings.len() == 1, "{:?}", r.warnings);
    }

    /// A curve that cannot be drawn is missed by whoever reads the report, who is told why.
    #[test]
    fn a_curve_that_is_left_out_is_named() {
        let mut all = runs();
        all.iter_mut().filter(|r| r.algo == "a" && r.task == "s/two").for_each(|r| r.evaluations[0].returns = vec![f64::NAN]);
        let r = Report::new(&all, &options()).unwrap();
        let drawn: Vec<(&str, bool)> = r.summaries.iter().map(|s| (s.algo.as_str(), !s.curve.is_empty())).collect();
        assert_eq!(drawn, [("a", false), ("b", true)]);
        assert!(r.warnings.iter().any(|w| w.starts_with("a has no curve over env steps: ")), "{:?}", r.warnings);
    }

    /// Runs of another program, which say nothing of their rules, take the known ends from all.
    #[test]
    fn ends_are_known_where_every_run_tells_its_rules() {
        let on = |algo: &str, text: &str| RunRecord {
            config: toml::from_str(text).unwrap(),
            ..run(algo, "matrix/climbing", 0, &[0.0, if algo == "a" { 5.0 } else { 7.0 }])
        };
        let origin = |runs: &[RunRecord]| Report::new(runs, &options()).unwrap().tasks[0].2;
        assert_eq!(origin(&[on("a", "task.steps = 1"), on("b", "task.steps = 1")]), "known");
        assert_eq!(origin(&[on("a", "task.steps = 1"), on("b", "")]), "from these runs");
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

    /// An algorithm that was run on one task only takes no task from the pairs of others.
    #[test]
    fn a_pair_is_compared_on_its_own_tasks() {
        let mut all = runs();
        all.extend((0..6).map(|seed| run("c", "s/three", seed, &[0.0, 2.0])));
        let r = Report::new(&all, &options()).unwrap();
        assert!(r.tasks.is_empty() && r.summaries.is_empty(), "no task is everybody's");
        let of = |x: &str, y: &str| r.improvements.iter().find(|i| i.x == x && i.y == y);
        assert_eq!(of("a", "b").map(|i| (i.probability.value, i.tasks)), Some((1.0, 2)));
        let (bc, ac) = (of("b", "c").unwrap(), of("a", "c"));
        assert_eq!((bc.probability.value, bc.tasks, bc.left_out.len()), (0.0, 1, 2));
        assert!(ac.is_none(), "they share none");
    }

    #[test]
    fn cost_and_its_growth_are_told() {
        let sized = |n: u64, update: f64, seconds: f64| RunRecord {
            update_seconds: Some(update),
            seconds: Some(seconds),
            machine: "A CPU, 2 threads".into(),
            ..run("a", &format!("s/t [task.num_agents={n}]"), 0, &[1.0])
        };
        let r = Report::new(&[sized(3, 0.9, 10.0), sized(6, 3.6, 20.0), sized(12, 14.4, 40.0)], &options()).unwrap();
        let found: Vec<_> = r.rows.iter().map(|x| (x.update_seconds, x.steps_per_second, x.threads.as_slice())).collect();
        assert!(found.contains(&(Some(0.9), Some(10.0), &[2][..])), "{found:?}");
        let slow = RunRecord { seed: 1, ..sized(3, 0.9, 90.0) };
        let both = Report::new(&[sized(3, 0.9, 10.0), slow], &options()).unwrap();
        assert_eq!(both.rows[0].steps_per_second, Some(2.0), "200 steps in 100 seconds");
        let g = &r.growth[0];
        assert_eq!((g.task.as_str(), g.agents.as_slice()), ("s/t", &[3, 6, 12][..]));
        assert!((g.update.unwrap() - 2.0).abs() < 1e-12 && (g.step.unwrap() - 1.0).abs() < 1e-12);
    }
}

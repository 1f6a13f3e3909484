//! Published results: what a paper reports, on which task with which rules, how it was read, and whether runs reach it.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::StatsError;
use crate::aggregate::{Scores, iqm, mean, middle};
use crate::bootstrap::{Bootstrap, Estimate};
use crate::record::{Metric, RunRecord};

/// How sure a published number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Printed in a table of the paper or of its repository.
    Table,
    /// Read off a figure.
    Figure,
    /// Transcribed by a third party and confirmed.
    Transcript,
    /// Follows from the payoffs, whoever reports it.
    Logic,
    /// From memory of the paper: a hint, no verdict is built on it.
    Unverified,
}

/// How one run becomes one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// The mean of the evaluations in the last tenth of the budget.
    Plateau,
    /// The evaluation, of all, with the best mean over seeds.
    Maximum,
}

/// How the seeds become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The interquartile mean.
    Iqm,
    /// The mean.
    Mean,
    /// The median.
    Median,
}

/// A published number: one algorithm on one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// `table/algorithm`, as in `harl-spread-discrete/happo`.
    pub id: String,
    /// The paper.
    pub paper: String,
    /// Table or figure.
    pub place: String,
    /// How it was read.
    pub source: Source,
    /// The algorithm.
    pub algo: String,
    /// `suite/name`.
    pub task: String,
    /// Settings that make task and evaluation those of the paper.
    pub settings: Vec<String>,
    /// The preset to train with; the tuned one where none is named.
    pub preset: Option<String>,
    /// Env steps.
    pub steps: u64,
    /// What is compared.
    pub metric: Metric,
    /// How a run becomes a number.
    pub reading: Reading,
    /// How seeds become a number.
    pub over: Over,
    /// The number.
    pub value: f64,
    /// What counts as the same number: from here ...
    pub low: f64,
    /// ... to here.
    pub high: f64,
    /// Nothing can be better than this; what is shows an error.
    pub limit: Option<f64>,
    /// Values on the way: (env steps, value), of the same band.
    pub milestones: Vec<(u64, f64)>,
    /// What a reader must know.
    pub note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    paper: String,
    table: Vec<Table>,
}

/// One row of a paper's table: a task with a value for each algorithm.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    id: String,
    place: String,
    source: Source,
    task: String,
    #[serde(default)]
    settings: Vec<String>,
    /// Of every row that names none.
    #[serde(default)]
    preset: Option<String>,
    steps: u64,
    #[serde(default = "returns")]
    metric: Metric,
    reading: Reading,
    over: Over,
    /// Half the width of the band where a row gives none.
    tolerance: f64,
    #[serde(default)]
    limit: Option<f64>,
    #[serde(default)]
    note: String,
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    algo: String,
    value: f64,
    #[serde(default)]
    tolerance: Option<f64>,
    /// Where it differs from the table's.
    #[serde(default)]
    steps: Option<u64>,
    #[serde(default)]
    preset: Option<String>,
    #[serde(default)]
    milestones: Vec<(u64, f64)>,
    #[serde(default)]
    note: String,
}

fn returns() -> Metric {
    Metric::Return
}

/// The shipped files.
const FILES: [&str; 3] = [
    include_str!("../../../results/harl.toml"),
    include_str!("../../../results/epymarl.toml"),
    include_str!("../../../results/pymarl2.toml"),
];

static ALL: LazyLock<Vec<Published>> =
    LazyLock::new(|| FILES.iter().filter_map(|text| toml::from_str::<File>(text).ok()).flat_map(entries).collect());

fn entries(file: File) -> Vec<Published> {
    let mut all = Vec::new();
    for table in file.table {
        for row in &table.row {
            let half = row.tolerance.unwrap_or(table.tolerance);
            let note = [table.note.as_str(), row.note.as_str()].iter().filter(|n| !n.is_empty()).copied().collect::<Vec<_>>();
            all.push(Published {
                id: format!("{}/{}", table.id, row.algo),
                paper: file.paper.clone(),
                place: table.place.clone(),
                source: table.source,
                algo: row.algo.clone(),
                task: table.task.clone(),
                settings: table.settings.clone(),
                preset: row.preset.clone().or_else(|| table.preset.clone()),
                steps: row.steps.unwrap_or(table.steps),
                metric: table.metric,
                reading: table.reading,
                over: table.over,
                value: row.value,
                low: row.value - half,
                high: row.value + half,
                limit: table.limit,
                milestones: row.milestones.clone(),
                note: note.join("; "),
            });
        }
    }
    all
}

/// Every published result that Motley knows, in the order of the papers' tables.
pub fn all() -> &'static [Published] {
    &ALL
}

/// What runs say about a published number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within the band or better.
    Reached,
    /// Worse than the band.
    Missed,
    /// Better than is possible: something is wrong.
    Impossible,
    /// Nothing is published at these steps, or only from memory.
    Unknown,
}

/// A published number beside what was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Over the seeds, with its interval.
    pub ours: Estimate,
    /// The published value at these steps, where there is one.
    pub published: Option<f64>,
    /// The verdict on the point estimate.
    pub verdict: Verdict,
    /// Whether the whole interval lies on the side of the verdict.
    pub clear: bool,
}

impl Published {
    /// Compares runs that were trained for `steps` (the published number or a part of it). Higher is better.
    ///
    /// # Errors
    /// [`StatsError::Empty`] without runs or without an evaluation of the metric.
    pub fn compare(&self, runs: &[RunRecord], steps: u64, bootstrap: &Bootstrap) -> Result<Comparison, StatsError> {
        let numbers = Scores::new(vec![self.read(runs)?])?;
        let ours = bootstrap.estimate(&numbers, |s| match self.over {
            Over::Iqm => iqm(s),
            Over::Mean => mean(s),
            Over::Median => middle(&s.tasks()[0]),
        });
        let at = if steps >= self.steps { Some(self.value) } else { self.milestone(steps) };
        let published = at.filter(|_| self.source != Source::Unverified);
        let floor = published.map(|value| value - (self.value - self.low));
        let (verdict, clear) = match (self.limit, floor) {
            // By more than what the episodes of an evaluation may be luckier than others.
            (Some(limit), _) if ours.low > limit + 0.02 * limit.abs() => (Verdict::Impossible, true),
            (_, None) => (Verdict::Unknown, true),
            (_, Some(floor)) if ours.value >= floor => (Verdict::Reached, ours.low >= floor),
            (_, Some(floor)) => (Verdict::Missed, ours.high < floor),
        };
        Ok(Comparison { ours, published: at, verdict, clear })
    }

    /// The milestone that lies within a tenth of `steps`.
    fn milestone(&self, steps: u64) -> Option<f64> {
        self.milestones.iter().find(|(at, _)| steps.abs_diff(*at) * 10 <= *at).map(|m| m.1)
    }

    /// One number a run.
    fn read(&self, runs: &[RunRecord]) -> Result<Vec<f64>, StatsError> {
        let nothing = || StatsError::Empty(format!("{} (no run with an evaluation)", self.id));
        match self.reading {
            Reading::Plateau => runs.iter().map(|r| r.plateau(self.metric, 0.1).ok_or_else(nothing)).collect(),
            Reading::Maximum => {
                let curves: Vec<_> = runs.iter().map(|r| r.curve(self.metric)).collect();
                let points = curves.iter().map(Vec::len).min().unwrap_or(0);
                let mean_at = |k: usize| curves.iter().map(|c| c[k].1).sum::<f64>() / curves.len() as f64;
                let best = (0..points).reduce(|a, b| if mean_at(b) > mean_at(a) { b } else { a }).ok_or_else(nothing)?;
                Ok(curves.iter().map(|c| c[best].1).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use motley_core::{Purpose, Stream};

    use super::*;
    use crate::record::tests::run;

    fn bootstrap() -> Bootstrap {
        Bootstrap::new(500, 0.95, Stream::new(0, Purpose::Bootstrap, 0, 0)).unwrap()
    }

    fn spread() -> Published {
        all().iter().find(|p| p.id == "harl-spread-discrete/happo").unwrap().clone()
    }

    fn seeds(values: &[f64]) -> Vec<RunRecord> {
        values.iter().enumerate().map(|(k, v)| run("happo", "mpe/simple_spread_v3", k as u64, &[-100.0, *v])).collect()
    }

    #[test]
    fn every_file_parses_and_ids_are_unique() {
        for text in FILES {
            toml::from_str::<File>(text).unwrap();
        }
        let mut ids: Vec<&str> = all().iter().map(|p| p.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all().len());
        for p in all() {
            assert!(p.low <= p.value && p.value <= p.high && p.steps > 0 && p.task.contains('/'), "{}", p.id);
            assert!(p.milestones.iter().all(|m| m.0 < p.steps), "{}", p.id);
            assert!(p.limit.is_none_or(|l| l >= p.low), "{}: the limit is below the band", p.id);
        }
    }

    #[test]
    fn the_band_decides_and_the_interval_says_how_clearly() {
        let p = spread();
        assert_eq!((p.value, p.steps), (-64.0, 10_000_000));
        let compare = |values: &[f64]| p.compare(&seeds(values), p.steps, &bootstrap()).unwrap();
        let verdict = |values: &[f64]| (compare(values).verdict, compare(values).clear);
        assert_eq!(verdict(&[-63.0, -62.0, -64.0]), (Verdict::Reached, true));
        assert_eq!(verdict(&[-64.0, -50.0, -80.0]), (Verdict::Reached, false));
        assert_eq!(verdict(&[-90.0, -91.0, -92.0]), (Verdict::Missed, true));
        assert_eq!(compare(&[-60.0, -62.0, -64.0]).ours.value, -62.0);
    }

    #[test]
    fn a_part_of_the_budget_is_judged_where_a_milestone_is_known() {
        let p = spread();
        let at = |steps, value: f64| p.compare(&seeds(&[value; 3]), steps, &bootstrap()).unwrap();
        assert_eq!((at(2_000_000, -71.0).published, at(2_000_000, -71.0).verdict), (Some(-71.0), Verdict::Reached));
        assert_eq!(at(2_000_000, -80.0).verdict, Verdict::Missed);
        assert_eq!(at(1_000_000, -80.0).verdict, Verdict::Unknown);
    }

    #[test]
    fn better_than_possible_is_an_error() {
        let p = Published { limit: Some(-60.0), ..spread() };
        let of = |v: f64| p.compare(&seeds(&[v; 3]), p.steps, &bootstrap()).unwrap().verdict;
        assert_eq!((of(-50.0), of(-59.5)), (Verdict::Impossible, Verdict::Reached));
    }

    #[test]
    fn the_maximum_is_taken_at_one_step_for_all_seeds() {
        let p = Published { reading: Reading::Maximum, over: Over::Mean, ..spread() };
        // Means over seeds: -80, -65, -70; the best single values are at other steps.
        let runs = [run("a", "s/t", 0, &[-60.0, -70.0, -80.0]), run("a", "s/t", 1, &[-100.0, -60.0, -60.0])];
        assert_eq!(p.compare(&runs, p.steps, &bootstrap()).unwrap().ours.value, -65.0);
        assert!(p.compare(&[], p.steps, &bootstrap()).is_err());
    }
}

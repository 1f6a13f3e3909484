//! Published results: what a paper reports, on which task with which rules, how it was read, and whether runs reach it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::StatsError;
use crate::aggregate::{Scores, average, interquartile_mean, middle};
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
    /// That one algorithm is better than another, stated without a number.
    Claim,
    /// From memory of the paper: a hint, no verdict is built on it.
    Unverified,
    /// Printed or read, but of another simulator, other rules or settings that are not here: shown, never judged.
    Other,
}

impl Source {
    /// Whether runs may be judged by it.
    pub fn judges(self) -> bool {
        !matches!(self, Self::Unverified | Self::Other)
    }
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

/// The part of the budget that [`Reading::Plateau`] is about.
const LAST: f64 = 0.1;

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
    /// The preset to train with (the other algorithm of a claim too); the tuned one where none is named.
    pub preset: Option<String>,
    /// Where the paper's claim is that its algorithm is better than this one on the same budget: all numbers are then differences.
    pub against: Option<String>,
    /// Runs of each algorithm that a claim takes.
    pub seeds: usize,
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
    /// ... to here; what is better surpasses it.
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
    #[serde(default)]
    seeds: usize,
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
    /// Where it differs from the table's.
    #[serde(default)]
    source: Option<Source>,
    /// Besides the table's.
    #[serde(default)]
    settings: Vec<String>,
    #[serde(default)]
    preset: Option<String>,
    #[serde(default)]
    against: Option<String>,
    #[serde(default)]
    milestones: Vec<(u64, f64)>,
    #[serde(default)]
    note: String,
}

fn returns() -> Metric {
    Metric::Return
}

/// The shipped files.
const FILES: [&str; 6] = [
    include_str!("../../../results/harl.toml"),
    include_str!("../../../results/epymarl.toml"),
    include_str!("../../../results/mappo.toml"),
    include_str!("../../../results/pymarl2.toml"),
    include_str!("../../../results/pareto.toml"),
    include_str!("../../../results/acceptance.toml"),
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
                source: row.source.unwrap_or(table.source),
                algo: row.algo.clone(),
                task: table.task.clone(),
                settings: [table.settings.as_slice(), &row.settings].concat(),
                preset: row.preset.clone().or_else(|| table.preset.clone()),
                against: row.against.clone(),
                seeds: table.seeds,
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
    /// Within the band; of a claim [against](Published::against) another algorithm: better than it.
    Reached,
    /// Better than the band: what the paper's runs failed at, for one, was learned.
    Above,
    /// Worse than the band.
    Missed,
    /// Better than is possible: something is wrong.
    Impossible,
    /// Nothing is published at these steps, nothing that runs may be judged by, or nothing to tell two algorithms apart by.
    Unknown,
}

/// What keeps a claim from being judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// Both win rates are 0: where nobody wins there is no better one.
    NobodyWins,
    /// Both win rates are 1.
    EverybodyWins,
    /// Fewer runs of either than the claim is about.
    FewSeeds,
}

/// A published number beside what was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Over the seeds, with its interval.
    pub ours: Estimate,
    /// The published value at these steps, where there is one.
    pub published: Option<f64>,
    /// The band around it, from low to high.
    pub band: Option<(f64, f64)>,
    /// Why a claim is not judged, where it could be.
    pub undecided: Option<Undecided>,
    /// The verdict on the point estimate.
    pub verdict: Verdict,
    /// Whether the whole interval lies on the side of the verdict.
    pub clear: bool,
}

impl Published {
    /// Compares runs that were trained for `steps` (the published number or a part of it). Higher is better. Of a claim
    /// [`against`](Published::against) another algorithm the runs of both are given, and the difference is compared: it must be above 0.
    ///
    /// # Errors
    /// [`StatsError::Empty`] without runs (of either) or without an evaluation of the metric.
    pub fn compare(&self, runs: &[RunRecord], steps: u64, bootstrap: &Bootstrap) -> Result<Comparison, StatsError> {
        let is_other = |r: &&RunRecord| self.against.as_deref() == Some(r.algo.as_str());
        let (others, own): (Vec<&RunRecord>, Vec<&RunRecord>) = runs.iter().partition(is_other);
        let mut numbers = vec![self.read(&own)?];
        if self.against.is_some() {
            numbers.push(self.read(&others)?);
        }
        let over = |values: &[f64]| match self.over {
            Over::Iqm => interquartile_mean(values.iter().copied()),
            Over::Mean => average(values),
            Over::Median => middle(values),
        };
        let scores = Scores::new(numbers)?;
        let ours = bootstrap.estimate(&scores, |s| match s.tasks() {
            [own, other] => over(own) - over(other),
            tasks => tasks.first().map_or(f64::NAN, |own| over(own)),
        });
        let all = |is: fn(f64) -> bool| scores.tasks().iter().all(|side| is(over(side)));
        let wins = self.metric == Metric::WinRate;
        let reasons = [
            (Undecided::FewSeeds, scores.tasks().iter().any(|side| side.len() < self.seeds)),
            (Undecided::NobodyWins, wins && all(|rate| rate <= 0.0)),
            (Undecided::EverybodyWins, wins && all(|rate| rate >= 1.0)),
        ];
        let undecided = reasons.into_iter().find(|(_, holds)| *holds && self.against.is_some()).map(|(why, _)| why);
        let (published, band) = self.at(steps).unzip();
        let luck = self.luck(&own);
        let (verdict, clear) = self.judged(&ours, luck, band.filter(|_| self.source.judges() && undecided.is_none()));
        Ok(Comparison { ours, published, band, undecided, verdict, clear })
    }

    /// The standard error of what was read that is due to the episodes of evaluations, from how neighbouring evaluations of a run differ
    /// (half the mean square of their differences, so that learning counts little). `None` where no run has two.
    fn luck(&self, runs: &[&RunRecord]) -> Option<f64> {
        const NEIGHBOURS: usize = 10;
        let (mut squares, mut read) = (Vec::new(), 0);
        for run in runs {
            let curve = run.curve(self.metric);
            let late = &curve[curve.len().saturating_sub(NEIGHBOURS + 1)..];
            squares.extend(late.windows(2).map(|pair| (pair[1].1 - pair[0].1).powi(2) / 2.0));
            read += match self.reading {
                Reading::Plateau => run.late(self.metric, LAST).len(),
                Reading::Maximum => 1,
            };
        }
        (!squares.is_empty()).then(|| (average(&squares) / read.max(1) as f64).sqrt())
    }

    /// The verdict on an estimate, and whether its whole interval agrees.
    fn judged(&self, ours: &Estimate, luck: Option<f64>, band: Option<(f64, f64)>) -> (Verdict, bool) {
        // Evaluations are of some episodes, and those may be lucky ones.
        let beyond = |limit: f64| luck.is_some_and(|error| ours.low > limit + 0.02 * limit.abs() + 3.0 * error);
        if self.limit.is_some_and(beyond) {
            return (Verdict::Impossible, true);
        }
        let Some((floor, ceiling)) = band else { return (Verdict::Unknown, true) };
        let is_claim = self.against.is_some();
        // As good as the other is not better than the other.
        let reaches = |x: f64| x >= floor && (x > 0.0 || !is_claim);
        let surpasses = |x: f64| x > ceiling && !is_claim;
        match ours.value {
            x if surpasses(x) => (Verdict::Above, surpasses(ours.low)),
            x if reaches(x) => (Verdict::Reached, reaches(ours.low) && !surpasses(ours.high)),
            _ => (Verdict::Missed, !reaches(ours.high)),
        }
    }

    /// The published value at `steps`, with the band around it.
    fn at(&self, steps: u64) -> Option<(f64, (f64, f64))> {
        if steps >= self.steps {
            return Some((self.value, (self.low, self.high)));
        }
        let band = |value: f64| (value - (self.value - self.low), value + (self.high - self.value));
        self.milestone(steps).map(|value| (value, band(value)))
    }

    /// The milestone that lies within a tenth of `steps`.
    fn milestone(&self, steps: u64) -> Option<f64> {
        self.milestones.iter().find(|(at, _)| steps.abs_diff(*at) * 10 <= *at).map(|m| m.1)
    }

    /// One number a run.
    fn read(&self, runs: &[&RunRecord]) -> Result<Vec<f64>, StatsError> {
        let nothing = || StatsError::Empty(format!("{} (no run with an evaluation)", self.id));
        match self.reading {
            Reading::Plateau => runs.iter().map(|r| r.plateau(self.metric, LAST).ok_or_else(nothing)).collect(),
            Reading::Maximum => {
                let curve =
                    |r: &&RunRecord| r.evaluations.iter().filter_map(|e| Some((e.env_steps, e.mean(self.metric)?))).collect();
                let curves: Vec<BTreeMap<u64, f64>> = runs.iter().map(curve).collect();
                let first = curves.first().ok_or_else(nothing)?;
                // Env steps at which every run was evaluated.
                let points = first.keys().filter(|at| curves.iter().all(|c| c.contains_key(at)));
                let mean_at = |at: &u64| curves.iter().map(|c| c[at]).sum::<f64>() / curves.len() as f64;
                let best = points.reduce(|a, b| if mean_at(b) > mean_at(a) { b } else { a }).ok_or_else(nothing)?;
                Ok(curves.iter().map(|c| c[best]).collect())
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

    /// A run that won this share at the end of the budget.
    fn won(algo: &str, p: &Published, seed: u64, rate: f64) -> RunRecord {
        let end = crate::Evaluation { env_steps: p.steps, won: vec![rate], ..Default::default() };
        RunRecord { evaluations: vec![end], ..run(algo, &p.task, seed, &[]) }
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
        assert_eq!(verdict(&[-66.0, -58.0, -63.0]), (Verdict::Reached, false), "some of the interval lies above the band");
        assert_eq!(verdict(&[-90.0, -91.0, -92.0]), (Verdict::Missed, true));
        assert_eq!(verdict(&[-50.0, -51.0, -52.0]), (Verdict::Above, true));
        assert_eq!(verdict(&[-50.0, -51.0, -70.0]), (Verdict::Above, false));
        assert_eq!(compare(&[-60.0, -62.0, -64.0]).ours.value, -62.0);
    }

    /// MAPPO with a network for each agent fails on MMM2: whoever wins everything has done something else than the same.
    #[test]
    fn a_published_failure_is_surpassed_not_reached() {
        let p = all().iter().find(|p| p.id == "mappo-smac-mmm2-unshared/mappo").unwrap();
        let of = |rate: f64| p.compare(&[won("mappo", p, 0, rate)], p.steps, &bootstrap()).unwrap().verdict;
        assert_eq!([0.0, 0.1, 0.15, 1.0].map(of), [Verdict::Missed, Verdict::Reached, Verdict::Reached, Verdict::Above]);
    }

    #[test]
    fn a_part_of_the_budget_is_judged_where_a_milestone_is_known() {
        let p = spread();
        let at = |steps, value: f64| p.compare(&seeds(&[value; 3]), steps, &bootstrap()).unwrap();
        assert_eq!((at(2_000_000, -71.0).published, at(2_000_000, -71.0).verdict), (Some(-71.0), Verdict::Reached));
        assert_eq!(at(2_000_000, -80.0).verdict, Verdict::Missed);
        assert_eq!(at(2_000_000, -60.0).verdict, Verdict::Above, "in the band of the whole budget only");
        assert_eq!(at(4_000_000, -80.0).verdict, Verdict::Unknown);
        let bands = [2_000_000, 4_000_000, p.steps].map(|steps| at(steps, -80.0).band);
        assert_eq!(bands, [Some((-75.0, -67.0)), None, Some((-68.0, -60.0))], "each with the value that is judged by");
        let early: Vec<Option<f64>> = [100_000, 500_000, 1_000_000].map(|s| at(s, -90.0).published).to_vec();
        assert_eq!(early, [Some(-99.0), Some(-82.0), Some(-77.0)], "a tenth of the budget is judged");
    }

    /// What is remembered, or was measured elsewhere, is told beside ours and judges nothing.
    #[test]
    fn not_every_number_judges() {
        let of = |id: &str| all().iter().find(|p| p.id == id).unwrap();
        assert!([Source::Unverified, Source::Other].iter().all(|s| !s.judges()));
        for (id, source) in [
            ("epymarl-climbing/mappo", Source::Logic),
            ("epymarl-climbing/iql", Source::Unverified),
            ("epymarl-spread/qmix", Source::Other),
            ("harl-hands-over/happo", Source::Other),
            ("mappo-smac-6h_vs_8z/qmix", Source::Other),
            ("harl-smac-6h_vs_8z/qmix", Source::Other),
            ("mappo-smac-25m/qmix", Source::Transcript),
        ] {
            let p = of(id);
            let verdict = p.compare(&seeds(&[p.value; 3]), p.steps, &bootstrap());
            assert_eq!(p.source, source, "{id}");
            if p.metric == Metric::Return {
                let expected = if source.judges() { Verdict::Reached } else { Verdict::Unknown };
                assert_eq!(verdict.unwrap().verdict, expected, "{id}");
            }
        }
        let drawn = |id: &str| of(id).settings.iter().any(|s| s == "eval.stochastic=true");
        assert!(drawn("epymarl-climbing/ia2c") && !drawn("epymarl-climbing/vdn"), "only policy gradients draw their actions");
        assert!(all().iter().filter(|p| p.id.starts_with("epymarl-")).all(|p| p.settings.iter().any(|s| s == "net.share=all")));
    }

    /// U-QMIX 0.9 and 0.7, QMIX 0.5 and 0.6: better by 0.25 in the mean.
    #[test]
    fn a_claim_against_another_is_a_difference() {
        let p = &Published { seeds: 1, ..all().iter().find(|p| p.id == "uas-6m2m_15m/u-qmix").unwrap().clone() };
        assert_eq!(p.against.as_deref(), Some("qmix"));
        assert!(
            all().iter().all(|p| (p.source == Source::Claim) == p.against.is_some()),
            "claims are called so, and nothing else is"
        );
        let won = |algo: &str, seed: u64, rate: f64| won(algo, p, seed, rate);
        let runs = [won("u-qmix", 0, 0.9), won("qmix", 0, 0.5), won("u-qmix", 1, 0.7), won("qmix", 1, 0.6)];
        let c = p.compare(&runs, p.steps, &bootstrap()).unwrap();
        assert!((c.ours.value - 0.25).abs() < 1e-12 && c.verdict == Verdict::Reached, "{c:?}");
        assert!((c.ours.low - 0.1).abs() < 1e-12 && (c.ours.high - 0.4).abs() < 1e-12, "both are drawn again: {c:?}");
        let worse = [won("u-qmix", 0, 0.2), won("qmix", 0, 0.5)];
        assert_eq!(p.compare(&worse, p.steps, &bootstrap()).unwrap().verdict, Verdict::Missed);
        assert!(p.compare(&runs[..1], p.steps, &bootstrap()).is_err(), "nothing to compare with");
    }

    /// A claim says better: what is as good has not reached it, and where nobody wins nothing can be told.
    #[test]
    fn a_claim_is_not_reached_by_a_draw() {
        let shipped = all().iter().find(|p| p.id == "uas-6m2m_15m/u-qmix").unwrap();
        assert_eq!(shipped.seeds, 5);
        let judged = |p: &Published, ours: [f64; 2], theirs: [f64; 2]| {
            let side = |algo: &'static str, rates: [f64; 2]| (0..2).map(move |k| won(algo, shipped, k as u64, rates[k]));
            let runs: Vec<RunRecord> = side("u-qmix", ours).chain(side("qmix", theirs)).collect();
            let c = p.compare(&runs, p.steps, &bootstrap()).unwrap();
            (c.verdict, c.clear, c.undecided)
        };
        let p = &Published { seeds: 2, ..shipped.clone() };
        let of = |ours, theirs| judged(p, ours, theirs);
        assert_eq!(of([0.0; 2], [0.0; 2]), (Verdict::Unknown, true, Some(Undecided::NobodyWins)));
        assert_eq!(of([1.0; 2], [1.0; 2]), (Verdict::Unknown, true, Some(Undecided::EverybodyWins)));
        assert_eq!(of([0.5; 2], [0.5; 2]), (Verdict::Missed, true, None));
        assert_eq!(of([0.5, 0.7], [0.5; 2]), (Verdict::Reached, false, None), "a resample of the first seed alone is a draw");
        assert_eq!(of([0.5, 0.7], [0.4; 2]), (Verdict::Reached, true, None));
        assert_eq!(of([0.0; 2], [0.0, 0.2]), (Verdict::Missed, true, None));
        assert_eq!(judged(shipped, [0.9; 2], [0.1; 2]), (Verdict::Unknown, true, Some(Undecided::FewSeeds)));
    }

    #[test]
    fn better_than_possible_is_an_error() {
        let p = Published { limit: Some(-60.0), ..spread() };
        let runs = |values: &[f64]| (0..3).map(|k| run("happo", "mpe/simple_spread_v3", k, values)).collect::<Vec<_>>();
        let of = |values: &[f64]| p.compare(&runs(values), p.steps, &bootstrap()).unwrap().verdict;
        assert_eq!((of(&[-50.0; 3]), of(&[-59.5; 3])), (Verdict::Impossible, Verdict::Above));
        // One evaluation after the other differs by four: three lucky ones at the end are no error.
        assert_eq!(of(&[-62.0, -58.0, -62.0, -57.0]), Verdict::Above);
        assert_eq!(of(&[-50.0]), Verdict::Above, "of one evaluation nobody knows how lucky it was");
    }

    #[test]
    fn the_maximum_is_taken_at_one_step_for_all_seeds() {
        let p = Published { reading: Reading::Maximum, over: Over::Mean, ..spread() };
        // Means over seeds: -80, -65, -70; the best single values are at other steps.
        let mut runs = [run("a", "s/t", 0, &[-60.0, -70.0, -80.0]), run("a", "s/t", 1, &[-100.0, -60.0, -60.0])];
        assert_eq!(p.compare(&runs, p.steps, &bootstrap()).unwrap().ours.value, -65.0);
        // Also where one was not evaluated as often: the others' first evaluation is not its second.
        runs[1].evaluations.remove(0);
        assert_eq!(p.compare(&runs, p.steps, &bootstrap()).unwrap().ours.value, -65.0);
        assert!(p.compare(&[], p.steps, &bootstrap()).is_err());
    }
}

//! Held to rliable 1.2.0 on fixed scores. `tests/python/make_rliable_fixture.py` made the file.
//!
//! Points must agree to rounding. Intervals come from other random draws on both sides, so they must agree within what that
//! allows: their ends have a standard error of about 1 % of the width at the numbers of resamples used.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use motley_core::{Purpose, Stream};
use motley_stats::curves::sample_efficiency;
use motley_stats::{Bootstrap, Estimate, Scores, aggregate, profile};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/rliable.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn scores(value: &Value) -> Scores {
    Scores::new(value.as_array().unwrap().iter().map(numbers).collect()).unwrap()
}

fn bootstrap(resamples: usize) -> Bootstrap {
    Bootstrap::new(resamples, 0.95, Stream::new(0, Purpose::Bootstrap, 0, 0)).unwrap()
}

/// The k-th statistic of rliable beside ours; `slack` is a part of the width, `step` what a discrete statistic jumps by.
fn agrees(what: &str, theirs: &Value, k: usize, ours: Estimate, slack: f64, step: f64) {
    let (value, ends) = (theirs["value"][k].as_f64().unwrap(), numbers(&theirs["ends"][k]));
    assert!((ours.value - value).abs() < 1e-12, "{what}: {} is not {value}", ours.value);
    let room = slack * (ends[1] - ends[0]) + step + 1e-12;
    assert!((ours.low - ends[0]).abs() <= room && (ours.high - ends[1]).abs() <= room, "{what}: {ours:?} is not {ends:?}");
}

#[test]
fn aggregates_and_their_intervals() {
    for case in fixture()["cases"].as_array().unwrap() {
        let (name, table, theirs) = (case["name"].as_str().unwrap(), scores(&case["scores"]), &case["aggregates"]);
        let b = bootstrap(10_000);
        // Scores of thirds make the statistics jump.
        let runs = table.pooled().count() as f64;
        let step = if name == "ties" { 2.0 / 3.0 / runs } else { 0.0 };
        agrees(name, theirs, 0, b.estimate(&table, aggregate::iqm), 0.06, step);
        agrees(name, theirs, 1, b.estimate(&table, aggregate::median), 0.06, step);
        agrees(name, theirs, 2, b.estimate(&table, aggregate::mean), 0.06, step);
        agrees(name, theirs, 3, b.estimate(&table, |s| aggregate::optimality_gap(s, 1.0)), 0.06, step);
    }
}

#[test]
fn probability_of_improvement() {
    for case in fixture()["cases"].as_array().unwrap() {
        let (x, y) = (scores(&case["scores"]), scores(&case["other"]));
        let ours = bootstrap(10_000).improvement(&x, &y).unwrap();
        agrees(case["name"].as_str().unwrap(), &case["improvement"], 0, ours, 0.1, 0.0);
    }
}

#[test]
fn performance_profiles() {
    for case in fixture()["cases"].as_array().unwrap() {
        let (table, taus) = (scores(&case["scores"]), numbers(&case["taus"]));
        let ours = profile::with_intervals(&table, &taus, &bootstrap(2000));
        let step = 1.0 / table.pooled().count() as f64;
        for (k, e) in ours.into_iter().enumerate() {
            agrees(&format!("{} at {}", case["name"], taus[k]), &case["profile"], k, e, 0.0, 1.01 * step);
        }
    }
}

#[test]
fn sample_efficiency_curves() {
    let curve = &fixture()["curve"];
    let steps = numbers(&curve["steps"]);
    let task = |runs: &Value| runs.as_array().unwrap().iter().map(|r| steps.iter().copied().zip(numbers(r)).collect()).collect();
    let tasks: Vec<_> = curve["curves"].as_array().unwrap().iter().map(task).collect();
    let points = sample_efficiency(&tasks, &bootstrap(5_000)).unwrap();
    assert_eq!(points.iter().map(|p| p.steps).collect::<Vec<_>>(), steps);
    for (k, p) in points.into_iter().enumerate() {
        agrees(&format!("step {k}"), curve, k, p.score, 0.08, 0.0);
    }
}

//! The learning-regression gate: every registered algorithm learns small tasks to the bands in `regress.toml`.
//!
//! Run by `scripts/test regress`, not by `cargo test`: it trains for minutes. An algorithm without a band on a team fails it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Instant;

use assert_cmd::Command;
use motley_train::{Registry, Request};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bands {
    band: Vec<Band>,
}

/// What an algorithm must reach: the mean over seeds of the last evaluation's mean return.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Band {
    algo: String,
    task: String,
    settings: Vec<String>,
    seeds: u64,
    low: f64,
    /// More is impossible on this task.
    high: f64,
}

fn bands() -> Vec<Band> {
    let bands: Bands = toml::from_str(include_str!("regress.toml")).unwrap();
    bands.band
}

/// The mean return of the last evaluation of one training.
fn train(band: &Band, seed: u64) -> Result<f64, String> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run").display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
    command.args(["train", &band.algo, &band.task]).args(&band.settings).arg(format!("seed={seed}"));
    let output = command.args(["--json", "--quiet", "--out", &out]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let done = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()).find(|v| v["event"] == "done");
    let value = done.and_then(|v| v["eval_return_mean"].as_f64());
    value.ok_or_else(|| format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// What one agent never tries: mixing, critics of joint actions, updates in turn, counterfactuals.
#[test]
fn every_algorithm_has_a_band_on_a_team() {
    let (bands, registry) = (bands(), Registry::builtin());
    let agents = |band: &Band| {
        let (algo, task, overrides) = (band.algo.clone(), band.task.clone(), band.settings.clone());
        let request = Request { algo, task, overrides, ..Request::default() };
        request.plan(&registry).unwrap().team.n()
    };
    for algorithm in registry.algorithms.iter() {
        let team = bands.iter().any(|band| band.algo == algorithm.name() && agents(band) > 1);
        assert!(
            team,
            "{} has no band on a task of several agents: add one to crates/motley/tests/regress.toml",
            algorithm.name()
        );
    }
}

#[test]
fn every_algorithm_still_learns() {
    let bands = bands();
    let mut wrong = Vec::new();
    for algorithm in Registry::builtin().algorithms.iter() {
        if !bands.iter().any(|b| b.algo == algorithm.name()) {
            wrong.push(format!("{} has no band: add one to crates/motley/tests/regress.toml", algorithm.name()));
        }
    }
    for band in &bands {
        let start = Instant::now();
        let results: Result<Vec<f64>, String> = (0..band.seeds).map(|seed| train(band, seed)).collect();
        let name = format!("{} on {}", band.algo, band.task);
        match results {
            Err(why) => wrong.push(format!("{name} failed: {why}")),
            Ok(values) => {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let seconds = start.elapsed().as_secs_f64();
                eprintln!("{name}: {mean:.2} of {values:.2?} (band {} to {}), {seconds:.0} s", band.low, band.high);
                if !(band.low..=band.high).contains(&mean) {
                    wrong.push(format!("{name}: {mean:.2} is outside {} to {}: {values:.2?}", band.low, band.high));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

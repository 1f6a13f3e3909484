//! Profile `smaclite` held to recorded runs of SMAClite, tick by tick. The traces are no part of the project: `MOTLEY_TRACES` names
//! the folder that has `smaclite/`; without one the tests are skipped and say so.

use std::path::PathBuf;

use motley_envs::npz::Npz;
use motley_envs::skirmish::trace::{Report, compare, compare_seen};

/// Share of re-injected ticks that come out equal. What is missing from 1: walls that the traces alone do not give away (corridor,
/// and the plateau of 2c_vs_64zg), and ties between equally good ways out of a crowd (zerglings).
const TICKS: [(&str, f64); 8] = [
    ("10m_vs_11m", 0.995),
    ("2s3z", 0.995),
    ("3s5z", 0.995),
    ("MMM", 1.0),
    ("2s_vs_1sc", 1.0),
    ("bane_vs_bane", 0.96),
    ("2c_vs_64zg", 0.95),
    ("corridor", 0.86),
];

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn trace(map: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("MOTLEY_TRACES").map_or(beside, PathBuf::from);
    let file = folder.join("smaclite").join(format!("{map}.npz"));
    if !file.exists() {
        eprintln!("SKIPPED: no trace {} (MOTLEY_TRACES=DIR names the folder)", file.display());
        return None;
    }
    Some(file)
}

fn held(map: &str, report: &Report, least: f64) {
    let first: Vec<_> = report.differences.iter().take(5).collect();
    assert!(
        report.ticks > 0 && report.share() >= least,
        "{map}: {} of {} equal, expected {least}: {first:#?}",
        report.equal,
        report.ticks
    );
}

#[test]
fn ticks_come_out_as_recorded() {
    let (mut ticks, mut equal) = (0, 0);
    for (map, least) in TICKS {
        let Some(file) = trace(map) else { return };
        let report = compare(map, &Npz::read(&file).unwrap()).unwrap();
        held(map, &report, least);
        ticks += report.ticks;
        equal += report.equal;
    }
    assert!(f64::from(equal as u32) >= 0.975 * f64::from(ticks as u32), "{equal} of {ticks}");
}

#[test]
fn a_trace_of_another_map_is_refused() {
    let Some(file) = trace("2s3z") else { return };
    let file = Npz::read(&file).unwrap();
    assert!(compare("3s5z", &file).unwrap_err().to_string().contains("expected [16, 13]"));
    assert!(compare("nowhere", &file).is_err());
    assert!(compare("terran_5_vs_5", &file).unwrap_err().to_string().contains("drawn"));
}

/// Observations, masks, states and rewards of every step.
#[test]
fn agents_see_what_was_recorded() {
    // 2s_vs_1sc: one number of one moment in 152 differs, entry 13 of the state at the start of an episode (0, recorded 1).
    // A step is eight ticks without correction, so a tick that differs shows in the reward of its step.
    for (map, least) in [("10m_vs_11m", 0.95), ("MMM", 0.95), ("2s3z", 0.95), ("3s5z", 0.95), ("2s_vs_1sc", 0.99)] {
        let Some(file) = trace(map) else { return };
        held(map, &compare_seen(map, &Npz::read(&file).unwrap()).unwrap(), least);
    }
}

//! Profile `smaclite` held to recorded runs of SMAClite, tick by tick. The traces are no part of the project: `MOTLEY_TRACES` names
//! the folder that has `smaclite/`; without one the tests are skipped and say so.

use std::path::PathBuf;

use motley_envs::npz::Npz;
use motley_envs::skirmish::trace::{Report, compare, compare_seen};

/// The maps of which runs were recorded.
const MAPS: [&str; 8] = ["10m_vs_11m", "2s3z", "3s5z", "MMM", "2s_vs_1sc", "bane_vs_bane", "2c_vs_64zg", "corridor"];

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

/// Every tick, or every moment, is as recorded.
fn held(map: &str, report: &Report) {
    let first: Vec<_> = report.differences.iter().take(5).collect();
    assert!(report.ticks > 0 && report.equal == report.ticks, "{map}: {} of {} equal: {first:#?}", report.equal, report.ticks);
}

#[test]
fn ticks_come_out_as_recorded() {
    for map in MAPS {
        let Some(file) = trace(map) else { return };
        held(map, &compare(map, &Npz::read(&file).unwrap()).unwrap());
    }
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
    for map in MAPS {
        let Some(file) = trace(map) else { return };
        held(map, &compare_seen(map, &Npz::read(&file).unwrap()).unwrap());
    }
}

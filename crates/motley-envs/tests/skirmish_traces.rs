//! Profile `smaclite` held to recorded runs of SMAClite, tick by tick. The traces are no part of the project: `MOTLEY_TRACES` names
//! the folder that has `smaclite/`; without one the tests are skipped and say so.

use std::io::Write as _;
use std::path::PathBuf;

use motley_envs::Registry;
use motley_envs::npz::{Array, Npz};
use motley_envs::registry::options;
use motley_envs::skirmish::trace::{Report, check_trace, compare, compare_seen};

/// The maps of which runs were recorded.
const MAPS: [&str; 8] = ["10m_vs_11m", "2s3z", "3s5z", "MMM", "2s_vs_1sc", "bane_vs_bane", "2c_vs_64zg", "corridor"];

fn trace(map: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("MOTLEY_TRACES").map_or(beside, PathBuf::from);
    let file = folder.join("smaclite").join(format!("{map}.npz"));
    if !file.exists() {
        // Not by a macro, whose words a test that passes keeps to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no trace {} (MOTLEY_TRACES=DIR names the folder)", file.display());
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

/// What `motley check skirmish/MMM --trace FILE` says, and that it says no where it should.
#[test]
fn a_check_counts_steps_and_fails_where_ticks_differ() {
    let Some(file) = trace("MMM") else { return };
    let file = Npz::read(&file).unwrap();
    let settings = |words: &[&str]| options(&*Registry::builtin().get("skirmish/MMM").unwrap(), words).unwrap();
    for words in [&[][..], &["profile=smaclite"]] {
        let report = check_trace("skirmish/MMM", &settings(words), &file).unwrap();
        assert_eq!((report.steps, report.lines.len(), report.failed()), (86, 2, false), "{report:?}");
    }
    for words in ["profile=liberty", "obs=harl", "step_limit=3"] {
        let refused = check_trace("skirmish/MMM", &settings(&[words]), &file).unwrap_err().to_string();
        assert!(refused.contains(words.split_once('=').unwrap().0) && refused.contains("smaclite"), "{refused}");
    }
    // In one tick of fifty somebody who lives has a point of health less than there was.
    let mut ticks = file.get("ep0_ticks").unwrap().clone();
    let width: usize = ticks.shape[1..].iter().product();
    for row in ticks.values.chunks_exact_mut(width).step_by(50) {
        let unit = row.chunks_exact_mut(13).find(|unit| unit[7] > 1.5).unwrap();
        unit[7] -= 1.0;
    }
    let report = check_trace("skirmish/MMM", &settings(&[]), &file.clone().with("ep0_ticks", ticks)).unwrap();
    assert!(report.lines[0].failed() && report.failed(), "{report:?}");
    // An end that was not, a victory that was not, a last moment that nobody saw.
    let report = |file: &Npz| compare_seen("MMM", file).unwrap();
    let changed = |key: &str, change: &dyn Fn(&mut Array)| {
        let mut array = file.get(key).unwrap().clone();
        change(&mut array);
        let report = report(&file.clone().with(key, array));
        assert_eq!((report.ticks, report.equal), (88, 87), "{key}: {:?}", report.differences);
        report.differences[0].to_string()
    };
    assert_eq!(report(&file).equal, 88);
    assert!(changed("ep0_done", &|done| done.values[7] = 1.0).contains("over is false"));
    assert!(changed("ep1_done", &|done| *done.values.last_mut().unwrap() = 0.0).contains("over is true"));
    assert!(changed("ep1_battle_won", &|won| won.values[0] = 1.0).contains("won is false"));
    assert!(changed("ep0_obs", &|obs| *obs.values.last_mut().unwrap() += 0.5).contains("observation"));
    assert!(changed("ep0_avail", &|avail| *avail.values.last_mut().unwrap() = 1.0).contains("mask"));
    assert!(changed("ep1_state", &|state| *state.values.last_mut().unwrap() += 0.5).contains("state"));
}

//! Steps recorded from vmas 1.5.2 are repeated from the recorded states. Needs the folder that `MOTLEY_TRACES` names, or
//! `../shared/data` beside the project; without either the test is skipped and says so.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::Write as _;
use std::path::PathBuf;

use motley_envs::Registry;
use motley_envs::registry::options;
use motley_envs::trace::check_trace;

fn traces() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("MOTLEY_TRACES").map_or(beside, PathBuf::from).join("vmas");
    if !folder.is_dir() {
        // Not by a macro, whose words a test that passes keeps to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no recorded traces of vmas (set MOTLEY_TRACES to their folder)");
        return None;
    }
    Some(folder)
}

#[test]
fn recorded_steps_are_repeated() {
    let Some(folder) = traces() else { return };
    let registry = Registry::builtin();
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("vmas/{}", path.file_stem().unwrap().to_string_lossy());
        let options = options(&*registry.get(&name).unwrap(), &[]).unwrap();
        let report = check_trace(&name, &options, &path).unwrap();
        assert!(!report.failed(), "{name}: {report:#?}");
        assert_eq!(report.steps, 240, "{name}");
        let worst = report.lines[..4].iter().map(|line| line.worst).fold(0.0, f64::max);
        assert!(worst <= 2e-7, "{name}: {report:#?}");
        compared += 1;
    }
    assert!(compared >= 9, "{compared} traces");
}

#[test]
fn a_trace_of_another_task_is_refused() {
    let Some(folder) = traces() else { return };
    let registry = Registry::builtin();
    let path = folder.join("wheel.npz");
    let refused = |name: &str, settings: &[&str]| {
        let options = options(&*registry.get(name).unwrap(), settings).unwrap();
        check_trace(name, &options, &path).unwrap_err().to_string()
    };
    assert!(refused("vmas/give_way", &[]).contains("not one of vmas/give_way"));
    assert!(refused("vmas/wheel", &["n_agents=3"]).contains("not one of vmas/wheel"));
    assert!(refused("mpe/simple_v3", &[]).contains("vmas/*"));
}

//! Runs that released versions wrote are played and taken up by this one (K6 of the list of faults): see `archive/README.md`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod faults_common;

use std::path::{Path, PathBuf};

use faults_common::{copy, ends, motley, resume_command};
use serde_json::Value;

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(of).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    all.sort();
    all
}

/// The last line of what a command says with `--json`.
fn last(out: &str) -> Value {
    serde_json::from_str(out.lines().last().unwrap()).unwrap()
}

#[test]
fn runs_of_every_release_are_played_and_go_on() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive");
    let dir = tempfile::tempdir().unwrap();
    let versions = folders(&archive);
    assert!(versions.iter().any(|v| v.ends_with("0.1.0")), "{versions:?}");
    for version in versions {
        let runs = folders(&version);
        assert_eq!(runs.len(), 2, "{runs:?}");
        for run in runs {
            let what = run.strip_prefix(&archive).unwrap();
            // What is archived stays as it was written.
            let here = copy(&run, &dir.path().join(what));
            let info = || serde_json::from_slice::<Value>(&std::fs::read(here.join("run.json")).unwrap()).unwrap();
            assert_eq!(info()["motley"], version.file_name().unwrap().to_str().unwrap(), "{}", what.display());
            let before = info()["env_steps"].as_u64().unwrap();

            for chosen in ["best", "latest"] {
                let (code, out, err) =
                    ends(motley(&["eval", "--json", "--episodes", "3", "--checkpoint", chosen, here.to_str().unwrap()]));
                assert_eq!(code, 0, "{} {chosen}: {err}", what.display());
                let played = last(&out);
                assert_eq!(played["eval_episodes"], 3);
                assert!(played["eval_return_mean"].as_f64().unwrap().is_finite(), "{played}");
            }

            let more = before + 200;
            let (code, out, err) = ends(resume_command(&here, &[&format!("total_steps={more}"), "--json"]));
            assert_eq!(code, 0, "{}: {err}", what.display());
            let done = last(&out);
            assert_eq!((&done["event"], done["env_steps"].as_u64()), (&"done".into(), Some(more)), "{}: {done}", what.display());
            assert_eq!(info()["env_steps"], more);
            assert!(!err.contains("could not be brought back"), "{}: its environments are as they were: {err}", what.display());
        }
    }
}

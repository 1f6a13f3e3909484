//! The trained policies that come with the project play as their cards say.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// Folder, and the least mean return of 100 episodes: the card's, less four standard errors.
const BUNDLES: [(&str, f64); 5] = [
    ("combat-3m-mappo", 18.2),
    ("give-way-hetgppo", 16.9),
    ("reference-hatrpo", -18.9),
    ("spread-happo", -39.4),
    ("spread-vdn", -38.3),
];

#[test]
fn bundles_play_as_their_cards_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundles");
    let folders = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir());
    let mut found: Vec<String> = folders.map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
    found.sort();
    assert_eq!(found, BUNDLES.map(|b| b.0), "a folder without a line here, or a line without a folder");
    let (mut bytes, mut returns) = (0, Vec::new());
    for (name, _) in BUNDLES {
        let folder = root.join(name);
        let size = |file: &str| std::fs::metadata(folder.join(file)).unwrap().len();
        bytes += size("weights.safetensors") + size("policy.json") + size("card.md");
        let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
        let output = command.args(["eval", "--json", "--episodes", "100"]).arg(&folder).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let event: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        returns.push(event["eval_return_mean"].as_f64().unwrap());
    }
    assert!(bytes < 2 << 20, "{bytes} bytes of policies");
    for ((name, least), mean) in BUNDLES.iter().zip(returns) {
        assert!(mean >= *least, "{name}: {mean}, its card promises {least} or better");
    }
}

/// How long episodes are is a setting of what is played: what the policy was trained with cuts nothing, with noise or without.
#[test]
fn a_policy_is_played_for_as_many_steps_as_asked_for() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundles/spread-happo");
    let played = |words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
        let output = command.args(["eval", "--episodes", "2"]).arg(&folder).args(words.split_whitespace()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert!(output.status.success(), "{words}: {}", text(output.stderr));
        text(output.stdout)
    };
    let elsewhere = "--task mpe/simple_spread_v3 max_cycles=40";
    for (words, steps) in [("", 25), ("max_cycles=40", 40), ("task.max_cycles=10", 10), (elsewhere, 40)] {
        let text = played(words);
        assert!(text.contains(&format!("over 2 episodes of {steps}.0 steps; behavioural distance")), "{words}: {text}");
    }
    let mean = |words: &str| {
        let event: Value = serde_json::from_str(played(words).lines().next().unwrap()).unwrap();
        event["eval_return_mean"].as_f64().unwrap()
    };
    // The first level of noise is none.
    let (short, long) = (mean("--json"), mean("--json max_cycles=40"));
    assert!(long < short, "{long} in 40 steps, {short} in 25: every step costs something here");
    assert_eq!(mean("--json max_cycles=40 --noise obs=0..0.1/2"), long);
}

/// What critics read is nothing to a policy.
#[test]
fn a_policy_is_played_whatever_state_a_task_shows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundles/combat-3m-mappo");
    let played = |state: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
        let output = command.args(["eval", "--json", "--episodes", "5"]).arg(&folder).arg(state).output().unwrap();
        assert!(output.status.success(), "{state}: {}", String::from_utf8(output.stderr).unwrap());
        let text = String::from_utf8(output.stdout).unwrap();
        let event: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        event["eval_return_mean"].as_f64().unwrap()
    };
    assert_eq!(played("task.state=smac"), played("task.state=fp"));
}

//! The program with the feature `mujoco`: every algorithm trains robots, runs resume, policies are played and drawn.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::path::Path;

use assert_cmd::Command;

/// The exit code, standard output and standard error of the command, run in `dir`.
fn motley(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_motley")).args(args).current_dir(dir).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const SMALL: [&str; 6] =
    ["task.max_cycles=20", "eval.episodes=2", "eval.every=40", "log.checkpoint_every=40", "num_envs=2", "net.hidden_sizes=[8]"];

/// One update of every algorithm that takes continuous actions, on unlike agents, robots and hands; the others refuse with exit 2.
#[test]
fn every_algorithm_trains_robots_and_hands_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut trained, registry) = (0, motley::Registry::builtin());
    for algo in registry.algorithms.iter().map(|a| a.name()) {
        for (k, task) in
            ["mamujoco/Humanoid-9|8", "mamujoco/Hopper-3x1", "hands/two_catch_underarm", "hands/pen"].into_iter().enumerate()
        {
            let out = format!("{algo}-{k}");
            let mut words = vec!["train", algo, task, "preset=none", "total_steps=40", "--out", &out];
            words.extend(SMALL);
            let known = |key: &str| motley(dir.path(), &["config", algo, task, key]).0 == 0;
            let few = ["algo.rollout_steps=20", "algo.warmup_steps=20", "algo.batch_size=16", "algo.buffer_size=1000"];
            words.extend(few.into_iter().filter(|key| known(key)));
            let (code, _, err) = motley(dir.path(), &words);
            match code {
                0 => {
                    let metrics = std::fs::read_to_string(dir.path().join(&out).join("metrics.jsonl")).unwrap();
                    assert!(metrics.contains("\"loss/"), "{algo} {task}: nothing was learned from: {metrics}");
                    trained += 1;
                }
                2 => assert!(err.contains("cannot train"), "{algo} {task}: {err}"),
                _ => panic!("{algo} {task}: {code} {err}"),
            }
        }
    }
    // Thirteen algorithms take continuous actions and ask for no positions, each of them trains on all four tasks.
    assert_eq!(trained, 52, "13 x 4");
}

/// HARL's settings fit the robots and hands that they name: every preset's keys are known there and their values are allowed.
#[test]
fn presets_fit_their_tasks() {
    let (mut fitted, registry) = (0, motley::Registry::builtin());
    for preset in motley_train::presets::all() {
        let keys = registry.algorithms.get(&preset.algo).unwrap().keys();
        // A memory of a million transitions is more than a small machine has.
        let small = keys.iter().any(|key| key.name == "algo.buffer_size").then_some("algo.buffer_size=10000");
        let named = format!("preset={}", preset.name);
        for task in preset.tasks.iter().filter(|task| task.starts_with("mamujoco/") || task.starts_with("hands/")) {
            let mut words = vec!["config", preset.algo.as_str(), task.as_str(), named.as_str(), "num_envs=2"];
            words.extend(small);
            let (code, out, err) = motley(Path::new("."), &words);
            assert!(code == 0 && out.contains(&preset.title()), "{words:?}: {code} {out}{err}");
            let squashed = |line: &str| line.starts_with("net.last_activation") && line.contains("\"tanh\"");
            assert!(preset.algo != "hasac" || out.lines().any(squashed), "{words:?}: a tanh before HARL's squashed Gaussians");
            fitted += 1;
        }
    }
    assert!(fitted >= 70, "{fitted}");
}

/// A run stopped and resumed has the weights of one that was not; its policy is played and drawn.
#[test]
fn runs_resume_exactly_and_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let train = |out: &str, steps: &str, more: &[&str]| {
        let steps = format!("total_steps={steps}");
        let mut words = vec!["train"];
        if more.is_empty() {
            words.extend(["happo", "mamujoco/Ant-4x2", "preset=none", "algo.rollout_steps=20", "--out", out]);
            words.extend(SMALL);
        }
        words.extend(more);
        words.push(&steps);
        let (code, _, err) = motley(dir.path(), &words);
        assert_eq!(code, 0, "{err}");
    };
    train("whole", "160", &[]);
    train("halves", "80", &[]);
    train("halves", "160", &["--resume", "halves"]);
    let last = |run: &str| {
        let text = std::fs::read_to_string(dir.path().join(run).join("metrics.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let kept = |(k, v): (&String, &serde_json::Value)| (!k.contains("time")).then(|| (k.clone(), v.to_string()));
        line.as_object().unwrap().iter().filter_map(kept).collect::<Vec<_>>()
    };
    assert_eq!(last("whole"), last("halves"));
    let (code, out, err) = motley(dir.path(), &["eval", "whole", "--episodes", "2"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) = motley(dir.path(), &["render", "whole", "-o", "ant.gif"]);
    assert!(code == 0 && std::fs::metadata(dir.path().join("ant.gif")).unwrap().len() > 1000, "{err}");
    pictures_of(dir.path(), "whole");
}

/// Sheets of a run: by MuJoCo's renderer where there is something to draw with, else plainly, and why; plainly when asked to.
fn pictures_of(dir: &Path, run: &str) {
    let sheet = |name: &str, more: &[&str], gl: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
        command.args(["render", run, "-o", name, "--width", "120", "--json"]).args(more).current_dir(dir);
        command.envs(gl.map(|gl| ("MUJOCO_GL", gl)));
        let output = command.output().unwrap();
        let (told, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let last: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert!(output.status.success(), "{more:?}: {err}");
        (std::fs::read(dir.join(name)).unwrap(), last["plain"].as_bool().unwrap(), err)
    };
    let (plain, drawn_plainly, said) = sheet("plain.png", &["--plain"], None);
    assert!(drawn_plainly && !said.contains("plain view"), "asked for, so nothing to explain: {said}");
    let (off, drawn_plainly, said) = sheet("off.png", &[], Some("off"));
    assert!(drawn_plainly && off == plain && said.contains("the plain view is drawn: MUJOCO_GL"), "{said}");
    let (first, drawn_plainly, said) = sheet("first.png", &[], None);
    match motley_mujoco::renderer().unwrap() {
        Ok(name) => {
            println!("MuJoCo's renderer: {name}");
            assert!(!drawn_plainly && first != plain && first == sheet("again.png", &[], None).0, "{said}");
        }
        Err(why) => {
            println!("no renderer, the plain view instead: {why}");
            assert!(drawn_plainly && first == plain && said.contains(&why.to_string()), "{said}");
        }
    }
}

#[test]
fn doctor_names_the_engine() {
    // As a user starts it: the program itself knows where the library lies.
    let output = Command::new(env!("CARGO_BIN_EXE_motley")).arg("doctor").env_remove("LD_LIBRARY_PATH").output().unwrap();
    let (code, out) = (output.status.code(), String::from_utf8(output.stdout).unwrap());
    assert!(code == Some(0) && out.contains(motley_mujoco::MUJOCO) && out.contains("MuJoCo's renderer"), "{out}");
}

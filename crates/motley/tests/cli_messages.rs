//! What somebody meets who gives the command line the wrong thing: nothing of theirs is lost, and the message says what to do.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

/// The exit code, standard output and standard error of the command, run in `dir`.
fn motley(dir: &Path, words: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_motley")).args(words).current_dir(dir).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A command that ends with this code and says every one of the texts.
fn says(dir: &Path, words: &str, code: i32, texts: &[&str]) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let (found, _, err) = motley(dir, &words);
    assert!(found == code && texts.iter().all(|text| err.contains(text)), "{words:?}: {found} {err}");
    err
}

/// One short run in the folder, `run`, of two evaluations.
fn trained(dir: &Path) {
    let words = "train happo matrix/climbing preset=none total_steps=40 num_envs=2 algo.rollout_steps=10 net.hidden_sizes=[8] \
                 eval.every=20 eval.episodes=2 log.tensorboard=false --out run --quiet";
    says(dir, words, 0, &[]);
}

fn append(path: PathBuf, text: &str) {
    let mut all = std::fs::read_to_string(&path).unwrap();
    all.push_str(text);
    std::fs::write(path, all).unwrap();
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|e| e.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { std::fs::copy(entry.path(), &to).map(drop).unwrap() }
    }
}

#[test]
fn an_import_replaces_nothing_but_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let (at, from) = (|name: &str| dir.path().join(name), fixture("harl_discrete"));
    let import = |out: &str| format!("import {} --episodes 1 -o {out}", from.display());
    std::fs::create_dir(at("thesis")).unwrap();
    std::fs::write(at("thesis/chapter.txt"), "years of work").unwrap();
    says(dir.path(), &import("thesis"), 2, &["thesis", "no policy bundle", "chapter.txt", "-o"]);
    says(dir.path(), &import("."), 2, &["no name for a new folder"]);
    says(dir.path(), &import("thesis/chapter.txt"), 2, &["is no folder"]);
    // What waits beside a bundle while it is replaced would be removed at the end.
    std::fs::create_dir(at("new.old")).unwrap();
    std::fs::write(at("new.old/notes.txt"), "mine").unwrap();
    says(dir.path(), &import("new"), 2, &["new.old", "notes.txt"]);
    assert!(!at("new").exists());
    assert_eq!(std::fs::read_to_string(at("thesis/chapter.txt")).unwrap(), "years of work");
    assert_eq!(std::fs::read_to_string(at("new.old/notes.txt")).unwrap(), "mine");
    // A new folder, an empty one and a bundle are free to be written to, with a slash at the end too.
    std::fs::create_dir(at("empty")).unwrap();
    for out in ["fresh/", "fresh/", "empty"] {
        says(dir.path(), &import(out), 0, &[]);
        assert!(at(out).join("policy.json").is_file() && at(out).join("weights.safetensors").is_file(), "{out}");
    }
    std::fs::write(at("fresh/notes.txt"), "mine").unwrap();
    says(dir.path(), &import("fresh"), 2, &["notes.txt"]);

    let settings = |out: &str| format!("import {}/config.json -o {out}", from.display());
    std::fs::write(at("mine.toml"), "seed = 1\n").unwrap();
    says(dir.path(), &settings("mine.toml"), 2, &["mine.toml", "no weights"]);
    says(dir.path(), &settings("thesis"), 2, &["thesis is a folder"]);
    assert_eq!(std::fs::read_to_string(at("mine.toml")).unwrap(), "seed = 1\n");
    says(dir.path(), &settings("harl.toml"), 0, &[]);
    says(dir.path(), &settings("harl.toml"), 0, &[]);
}

#[test]
fn an_agent_without_weights_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let lacks = |name: &str, gone: &[usize], texts: &[&str]| {
        let from = dir.path().join(name);
        copy(&fixture("harl_discrete"), &from);
        gone.iter().for_each(|k| std::fs::remove_file(from.join(format!("models/actor_agent{k}.pt"))).unwrap());
        says(dir.path(), &format!("import {name} -o made"), 2, texts);
        assert!(!dir.path().join("made").exists());
    };
    lacks("middle", &[1], &["actor_agent1.pt is missing", "actor_agent2.pt is there"]);
    lacks("first", &[0], &["actor_agent0.pt is missing"]);
    lacks("last", &[2], &["weights of 2 agents", "has 3", "actor_agent2.pt is missing"]);
    lacks("two", &[1, 2], &["weights of 1 agent,", "has 3", "actor_agent1.pt is missing"]);
}

#[test]
fn a_torn_log_costs_its_last_line_alone() {
    let dir = tempfile::tempdir().unwrap();
    trained(dir.path());
    let at = |name: &str| dir.path().join("run").join(name);
    append(at("metrics.jsonl"), "{\"bad\n");
    append(at("eval.jsonl"), "{\"bad\n");
    says(dir.path(), "plot run -o c.svg", 0, &["metrics.jsonl: the last line", "torn"]);
    says(dir.path(), "compare run --resamples 100", 0, &["eval.jsonl: the last line", "torn"]);
    append(at("metrics.jsonl"), "{\"env_steps\":99}\n");
    says(dir.path(), "plot run -o c.svg", 1, &["metrics.jsonl", "line", "without that line the rest can be read"]);
    // What stands behind the checkpoint is cut off when the run goes on.
    says(dir.path(), "train --resume run total_steps=60 --quiet", 0, &[]);
    says(dir.path(), "plot run -o c.svg", 0, &[]);
    std::fs::write(at("run.json"), "").unwrap();
    for words in ["plot run -o c.svg", "compare run", "train --resume run total_steps=80"] {
        says(dir.path(), words, 1, &["run.json", "put a copy of it back", "motley eval run"]);
    }
    says(dir.path(), "eval run --episodes 2", 0, &[]);
}

#[test]
fn a_run_whose_best_policy_is_gone_gets_another() {
    let dir = tempfile::tempdir().unwrap();
    trained(dir.path());
    let policy = dir.path().join("run/policy");
    std::fs::remove_dir_all(&policy).unwrap();
    says(dir.path(), "train --resume run --quiet", 0, &["the best policy is not in the folder"]);
    assert!(policy.join("policy.json").is_file());
    assert_eq!(says(dir.path(), "train --resume run --quiet", 0, &[]), "");
}

#[test]
fn a_run_without_an_evaluation_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    trained(dir.path());
    let at = |name: &str| dir.path().join("run").join(name);
    std::fs::remove_file(at("eval.jsonl")).unwrap();
    let log = std::fs::read_to_string(at("metrics.jsonl")).unwrap();
    let kept: Vec<&str> = log.lines().filter(|line| !line.contains("\"eval/")).collect();
    std::fs::write(at("metrics.jsonl"), format!("{}\n", kept.join("\n"))).unwrap();
    let err = says(dir.path(), "plot run -o c.svg", 1, &["run has no evaluation yet", "--metric train/episode_return"]);
    assert!(!err.contains("time/"), "{err}");
    says(dir.path(), "compare run", 1, &["none of these runs has an evaluation yet"]);
    says(dir.path(), "plot records.jsonl -o c.svg", 2, &["records.jsonl is no folder"]);
    std::fs::write(dir.path().join("records.jsonl"), "").unwrap();
    says(dir.path(), "plot records.jsonl -o c.svg", 2, &["motley compare RECORDS -o FOLDER"]);
}

/// Parts of a run folder that are lost cost what they hold, and the message says what can still be had.
#[test]
fn what_is_lost_of_a_run_is_said_with_a_way_on() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    trained(here);
    let at = |name: &str| here.join("run").join(name);
    let (log, config) = (std::fs::read_to_string(at("eval.jsonl")).unwrap(), std::fs::read(at("config.toml")).unwrap());
    let null = |line: &str| {
        let mut episode: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        episode.insert("return".into(), Value::Null);
        format!("{}\n", Value::Object(episode))
    };
    std::fs::write(at("eval.jsonl"), log.lines().map(null).collect::<String>()).unwrap();
    says(here, "compare run", 2, &["no run has a return to compare", "happo on matrix/climbing, seed 0", "not finite"]);
    std::fs::write(at("eval.jsonl"), log).unwrap();

    std::fs::remove_file(at("config.toml")).unwrap();
    says(here, "train --resume run total_steps=60", 1, &["config.toml", "put a copy of it back", "manifest.json"]);
    std::fs::write(at("config.toml"), config).unwrap();

    std::fs::remove_file(at("policy/weights.safetensors")).unwrap();
    says(here, "eval run --episodes 2", 1, &["weights.safetensors", "--checkpoint latest"]);
    says(here, "eval run --episodes 2 --checkpoint latest", 0, &[]);
    std::fs::remove_dir_all(at("policy")).unwrap();
    let err = says(here, "eval run --episodes 2", 0, &["its best policy is missing or broken: the policy after 40 env steps"]);
    assert!(!err.contains("no evaluation yet"), "{err}");
    std::fs::remove_file(at("eval.jsonl")).unwrap();
    says(here, "eval run --episodes 2", 0, &["run has no evaluation yet: the policy after 40 env steps"]);
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_users() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    trained(here);
    let err = says(here, "eval run --task mpe/simple_spread_v3", 2, &["observation: expected", "numbers", "Discrete("]);
    assert!(!err.contains("ObsSpace") && !err.contains("Some(") && !err.contains("None"), "{err}");
    std::fs::write(here.join("plan.toml"), "out = 'r'\nalgos = ['happo']\ntasks = ['matrix/climbing']\nseeds = '2'\n").unwrap();
    let err = says(here, "sweep plan.toml --dry-run", 2, &["a number of seeds (seeds = 5) or a list"]);
    assert!(!err.contains("enum"), "{err}");
    says(here, "config mpe/simple_spread_v3 happo", 2, &["swapped", "happo mpe/simple_spread_v3"]);
    says(here, "config happo foo/bar", 2, &["unknown task \"foo/bar\"", "motley list tasks"]);
    says(here, "config zzzzzz mpe/simple_v3", 2, &["unknown algorithm", "motley list algorithms"]);
    says(here, "config happo mpe/simple_spread_v3 task.zzzzzzzz=1", 2, &["task.zzzzzzzz", "motley config ALGO TASK"]);
    says(here, "train hetgppo skirmish/3m", 2, &["needs positions", "net.trunk=mlp", "mappo"]);
    says(here, "config hetgppo skirmish/3m net.trunk=mlp", 0, &[]);
    let cases = [
        ("--seed 1", "seed=1"),
        ("--num-envs 8", "num_envs=8"),
        ("--algo.lr=0.1", "algo.lr=0.1"),
        ("--preset none", "preset=none"),
    ];
    for (given, meant) in cases {
        let words = format!("train happo mpe/simple_spread_v3 {given}");
        let err = says(here, &words, 2, &[&format!("settings have no dashes: write {meant}")]);
        assert!(!err.contains("as a value") && !err.contains("similar"), "{err}");
    }
    let err = says(here, "eval run --episode 3", 2, &["'--episodes'"]);
    assert!(!err.contains("no dashes"), "{err}");
    let err = says(here, "train --algo happo --env mpe", 2, &["write ALGO TASK [key=value ...]"]);
    assert!(!err.contains("algo=happo"), "{err}");
}

/// Names come from anywhere: what would colour or move the cursor is shown, and no line of theirs looks like one of ours.
#[cfg(unix)]
#[test]
fn control_characters_are_not_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = motley(dir.path(), &["eval", "run\x1b[31m\rgone\nerror: forged"]);
    assert!(code == 2 && err.contains("run\\u{1b}[31m\\rgone\n  error: forged does not exist"), "{code} {err:?}");
    let (code, out, _) = motley(dir.path(), &["eval", "run\x1b[31m", "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert!(code == 2 && told["message"] == "run\x1b[31m does not exist" && !out.contains('\x1b'), "{out}");
}

#[test]
fn a_comparison_says_which_pictures_it_leaves_out() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let plan = "out = 'runs'\nseeds = 2\n[settings]\ntotal_steps = 40\nnum_envs = 2\nthreads = 1\nalgo.rollout_steps = 10\n\
                net.hidden_sizes = [8]\neval = { every = 20, episodes = 2 }\n[[cases]]\nname = 'a'\nalgo = 'happo'\n\
                task = 'matrix/climbing'\n[[cases]]\nname = 'b'\nalgo = 'mappo'\ntask = 'matrix/penalty'\n";
    std::fs::write(here.join("plan.toml"), plan).unwrap();
    let err = says(here, "sweep plan.toml --parallel 1", 0, &["1 thread each"]);
    assert!(!err.contains("threads each"), "{err}");
    let left_out = ["improvement.svg is not written", "aggregates.svg, profiles.svg and curves.svg are not written"];
    says(here, "compare runs --resamples 100 -o made", 0, &left_out);
    assert!(here.join("made/table.tex").is_file() && !here.join("made/aggregates.svg").exists());
    let (code, out, err) = motley(here, &["compare", "runs", "--resamples", "100", "--json"]);
    assert_eq!(code, 0, "{err}");
    for line in out.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event.as_object().unwrap().values().all(|v| !v.is_object() && !v.is_array()), "{line}");
    }
    assert!(out.contains("\"threads\":\"1\""), "{out}");
}

#[test]
fn doctor_names_the_python_that_environments_would_use() {
    let dir = tempfile::tempdir().unwrap();
    let doctor = |python: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
        command.args(["doctor", "--json"]).current_dir(dir.path()).env("MOTLEY_PYTHON", python).env("SC2PATH", dir.path());
        let output = command.output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        move |what: &str| events.iter().find(|e| e["what"] == what).unwrap().clone()
    };
    let of = doctor("/nowhere/python");
    let python = of("Python");
    assert!(python["found"].as_str().unwrap().contains("/nowhere/python (named by MOTLEY_PYTHON) cannot be started"), "{python}");
    assert!(python["mend"].as_str().unwrap().contains("MOTLEY_PYTHON"), "{python}");
    let game = of("StarCraft II");
    assert!(game["mend"].as_str().unwrap().contains("SC2PATH"), "{game}");
    let has_python = std::process::Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success());
    if has_python {
        let python = doctor("python3")("Python");
        let found = python["found"].as_str().unwrap();
        assert!(["numpy", "gymnasium", "pettingzoo", "ray"].iter().all(|name| found.contains(name)), "{found}");
        let lacks = found.contains("no numpy") || found.contains("no ray");
        assert!(!lacks || python["mend"].as_str().unwrap().contains("pip install"), "{python}");
    }
}

/// SMACv2's slots mean other things to a medivac than to a marine, and which of them an agent is nobody knows before an episode.
#[test]
fn unified_actions_that_change_nothing_are_told_of_once() {
    let dir = tempfile::tempdir().unwrap();
    let train = "train u-mappo skirmish/terran_5_vs_5 preset=none total_steps=40 num_envs=2 algo.rollout_steps=10 \
                 net.hidden_sizes=[8] eval.every=40 eval.episodes=1 log.tensorboard=false --quiet --out";
    let told = "unified actions change nothing here";
    let err = says(dir.path(), &format!("{train} run"), 0, &[told, "task.actions=unified"]);
    assert_eq!(err.matches(told).count(), 1, "{err}");
    for silent in ["train --resume run total_steps=60 --quiet", &format!("{train} other task.actions=unified")] {
        let err = says(dir.path(), silent, 0, &[]);
        assert!(!err.contains(told), "{silent}: {err}");
    }
}

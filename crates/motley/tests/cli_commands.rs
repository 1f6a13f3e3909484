//! The commands around training, through the binary: what they print, what they refuse, with which exit code.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::sync::Arc;

use assert_cmd::Command;
use motley_core::{Purpose, Stream};
use motley_run::{RealDisk, RunFolder, RunInfo, RunStatus, write_bundle};
use motley_train::bundle::to_bundle;
use motley_train::{Registry, Request};
use serde_json::Value;

/// The exit code, standard output and standard error of the command, run in `dir`.
fn motley_in(dir: &Path, args: &[&str]) -> (i32, String, String) {
    motley_with(dir, args, &[])
}

fn motley_with(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_motley")).args(args).current_dir(dir).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn motley(args: &[&str]) -> (i32, String, String) {
    motley_in(Path::new("."), args)
}

/// Every line of `text` as a flat object that begins with its event.
fn events(text: &str) -> Vec<Value> {
    let event = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let object = value.as_object().unwrap();
        assert_eq!(object.keys().next().map(String::as_str), Some("event"), "{line}");
        assert!(object.values().all(|v| !v.is_object()), "{line}");
        value
    };
    assert!(!text.is_empty());
    text.lines().map(event).collect()
}

/// A command that is refused: exit 2, nothing on standard output, and every text in the message.
fn refused(args: &[&str], texts: &[&str]) {
    let (code, out, err) = motley(args);
    assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {err}");
    assert!(texts.iter().all(|text| err.contains(text)), "{args:?}: {err}");
}

#[test]
fn lists_name_what_the_registry_has() {
    let registry = Registry::builtin();
    let names: [(&str, &str, Vec<String>); 3] = [
        ("algorithms", "algorithm", registry.algorithms.iter().map(|a| a.name().to_owned()).collect()),
        ("tasks", "task", registry.tasks.iter().map(|t| t.name()).collect()),
        ("presets", "preset", motley_train::presets::all().iter().flat_map(|p| p.tasks.iter().map(|_| p.name.clone())).collect()),
    ];
    for (what, event, names) in names {
        let (code, out, _) = motley(&["list", what, "--json"]);
        let patterns: Vec<String> = registry.tasks.families().filter(|_| what == "tasks").map(|f| f.pattern()).collect();
        let (found, families): (Vec<Value>, Vec<Value>) = events(&out).into_iter().partition(|e| e["event"] == event);
        assert_eq!(code, 0);
        assert_eq!(families.iter().map(|e| e["pattern"].as_str().unwrap()).collect::<Vec<_>>(), patterns);
        assert_eq!(found.iter().map(|e| e["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
        let (code, out, _) = motley(&["list", what]);
        let rows = if what == "presets" { motley_train::presets::all().len() } else { names.len() + patterns.len() };
        assert_eq!((code, out.lines().count()), (0, rows + 1), "a head and a line each");
    }
    let (_, out, _) = motley(&["list", "tasks"]);
    assert!(out.contains("3 x (18 -> Discrete(5))") && out.contains("1 x (3 -> Discrete(3)), 1 x (11 -> Discrete(5))"), "{out}");
    let (_, out, _) = motley(&["list", "presets"]);
    assert!(out.lines().next().unwrap().contains("BAND") && out.contains("none published for these settings"), "{out}");
    refused(&["list", "taks"], &["taks", "tasks"]);
}

#[test]
fn lists_are_filtered_by_words() {
    let found = |words: &[&str]| {
        let (code, out, err) = motley(&[&["list"], words].concat());
        assert_eq!(code, 0, "{err}");
        out
    };
    let presets = found(&["presets", "HAPPO", "mpe"]);
    assert!(presets.lines().skip(1).all(|line| line.starts_with("happo/") && line.contains("mpe/")), "{presets}");
    assert!(presets.contains("mpe/simple_spread_v3, simple_speaker_listener_v4"), "tasks are folded: {presets}");
    assert!(!found(&["tasks", "mpe/"]).contains("vmas/") && found(&["results", "harl", "hatrpo"]).contains("harl-spread"));
    let (_, out, _) = motley(&["list", "presets", "happo/harl", "simple_", "--json"]);
    let band = |task: &str| events(&out).into_iter().find(|e| e["task"] == task).unwrap()["band"].as_str().unwrap().to_owned();
    assert!(!band("mpe/simple_spread_v3").contains("harl-spread"), "a band stands beside its own task");
    let other = band("mpe/simple_speaker_listener_v4");
    assert!(other.contains("harl-speaker-discrete/happo: -12.0 (-14.0 to -10.0) at 10_000_000 env steps"), "published: {other}");
    refused(&["list", "presets", "hapo"], &["no presets with hapo", "motley list presets"]);
}

/// A preset is named where it is taken, where others could be, and in what the run says of itself.
#[test]
fn the_preset_of_a_run_is_told() {
    let told = |words: &[&str]| motley(&[&["config"], words].concat()).1.lines().take(2).collect::<Vec<_>>().join("|");
    assert!(told(&["hetgppo", "vmas/give_way"]).contains("no tuned preset; there are: small, paper (preset=NAME)"));
    assert!(told(&["happo", "mpe/simple_v3"]).contains("happo on mpe/simple_v3: no preset|"));
    let reference = told(&["happo", "mpe/simple_reference_v3"]);
    assert!(reference.contains("preset happo/communication|# also: preset=continuous, preset=harl"), "{reference}");
    let dir = tempfile::tempdir().unwrap();
    let words = "train happo mpe/simple_v3 preset=none total_steps=40 num_envs=2 algo.rollout_steps=10 eval.every=20 eval.episodes=1 \
                 log.checkpoint_every=20 log.keep=9 --out run --json";
    let (code, out, err) = motley_in(dir.path(), &words.split_whitespace().collect::<Vec<_>>());
    assert_eq!(code, 0, "{err}");
    let first = &events(&out)[0];
    assert_eq!((first["event"].as_str(), first["preset"].as_str()), (Some("started"), Some("none")));
    let info: Value = serde_json::from_str(&std::fs::read_to_string(dir.path().join("run/run.json")).unwrap()).unwrap();
    assert_eq!(info["preset"], "none");
    // Said again on the way on, the same preset changes nothing and another is refused.
    let resumed = |word: &str| motley_in(dir.path(), &["train", "--resume", "run", "total_steps=60", word]);
    let (code, _, err) = resumed("preset=tuned");
    assert!(code == 2 && err.contains("a resumed run keeps") && err.contains("preset=tuned"), "{err}");
    assert_eq!(resumed("preset=none").0, 0);
    policies_of_a_run(dir.path());
}

/// The policy of any checkpoint of the run in `run`, evaluated after 20, 40 and 60 steps, can be played and exported.
fn policies_of_a_run(dir: &Path) {
    let played = |checkpoint: &str| {
        let (code, out, err) = motley_in(dir, &["eval", "run", "--checkpoint", checkpoint, "--episodes", "3", "--json"]);
        assert_eq!(code, 0, "{checkpoint}: {err}");
        events(&out).last().unwrap()["eval_return_mean"].as_f64().unwrap()
    };
    assert_eq!(played("latest"), played("60"));
    assert_ne!(played("20"), played("60"));
    let best = std::fs::read_to_string(dir.join("run/checkpoints/best")).unwrap();
    assert_eq!(played("best"), played(best.trim().trim_start_matches("step-")));
    let (code, _, err) = motley_in(dir, &["export", "run", "--checkpoint", "20", "-o", "a.onnx"]);
    assert!(code == 0 && dir.join("a.onnx").is_file(), "{err}");
    let (code, _, err) = motley_in(dir, &["eval", "run", "--checkpoint", "30"]);
    assert!(code == 2 && err.contains("no checkpoint after 30") && err.contains("20, 40, 60"), "{err}");
    let (code, _, err) = motley_in(dir, &["eval", "run/policy", "--checkpoint", "latest"]);
    assert!(code == 2 && err.contains("holds one policy"), "{err}");
    // Without an evaluation there is no best policy; the latest is taken, and told.
    std::fs::remove_dir_all(dir.join("run/policy")).unwrap();
    let (code, _, err) = motley_in(dir, &["eval", "run", "--episodes", "1"]);
    assert!(code == 0 && err.contains("the policy after 60 env steps is taken"), "{err}");
}

/// Without the game its tasks are known by name, and what was looked for is said at once: exit 3.
#[test]
fn what_needs_starcraft_says_where_it_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    for words in [["train", "qmix", "smac/3m"], ["config", "mappo", "smacv2/zerg_5_vs_5"]] {
        let (code, _, err) = motley_with(dir.path(), &words, &[("SC2PATH", place)]);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("StarCraft II") && err.contains(place) && err.contains("SC2PATH"), "{err}");
    }
    refused(&["train", "qmix", "smac/3ms"], &["\"smac/3m\""]);
    let (code, out, _) = motley_with(dir.path(), &["doctor"], &[("SC2PATH", place)]);
    assert!(code == 0 && out.contains("StarCraft II") && out.contains(place), "{out}");
}

/// Without the feature, what needs MuJoCo is known by name and says how to get it: exit 3.
#[cfg(not(feature = "mujoco"))]
#[test]
fn what_needs_mujoco_says_how_to_get_it() {
    for words in [["train", "happo", "mamujoco/Humanoid-9|8"], ["config", "mappo", "hands/over"]] {
        let (code, out, err) = motley(&words);
        assert_eq!((code, out.as_str()), (3, ""), "{err}");
        assert!(err.contains("scripts/get-mujoco") && err.contains("--features mujoco"), "{err}");
    }
    refused(&["train", "happo", "mamujoco/Humanoid-17x2"], &["\"mamujoco/Humanoid-17x1\""]);
    let (code, out, _) = motley(&["doctor"]);
    assert!(code == 0 && out.contains("scripts/get-mujoco"), "{out}");
}

#[test]
fn config_tells_every_value_and_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), "num_envs = 7\nthreads = 1\n[algo]\ngamma = 0.9\nlr = 0.01\n").unwrap();
    let words = ["config", "happo", "mpe/simple_spread_v3", "seed=5", "algo.lr=0.002", "--config", "mine.toml", "--json"];
    let (code, out, err) = motley_with(dir.path(), &words, &[("MOTLEY__THREADS", "3"), ("MOTLEY__ALGO__LR", "0.5")]);
    assert_eq!(code, 0, "{err}");
    let settings = events(&out);
    let of = |key: &str| {
        let found: Vec<&Value> = settings.iter().filter(|s| s["key"] == key).collect();
        assert_eq!(found.len(), 1, "{key}");
        (found[0]["value"].clone(), found[0]["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(of("env_failure_limit").1, "default");
    assert_eq!(of("algo.clip"), (0.2.into(), "preset happo/tuned".into()));
    assert_eq!(of("num_envs"), (7.into(), "file mine.toml".into()));
    assert_eq!(of("algo.gamma"), (0.9.into(), "file mine.toml".into()));
    assert_eq!(of("threads"), (3.into(), "environment MOTLEY__THREADS".into()));
    assert_eq!(of("algo.lr"), (0.002.into(), "command line".into()));
    assert_eq!(of("seed"), (5.into(), "command line".into()));
    assert!(settings.iter().all(|s| s["help"] != "" && s["accepts"] != ""));
}

/// A replay that this machine cannot hold may be right on another: it is printed, with a warning; to train is refused.
#[test]
fn config_prints_what_this_machine_has_no_room_for() {
    for (algo, size) in [("hatd3", "algo.buffer_size=1000000000"), ("qmix", "algo.buffer_episodes=100000000")] {
        let words = [algo, "mpe/simple_spread_v3", size];
        let (code, out, err) = motley(&[&["config"], &words[..]].concat());
        assert!(code == 0 && out.contains("algo.gamma"), "{err}");
        assert!(err.contains("warning") && err.contains("available") && err.contains(size.split('=').next().unwrap()), "{err}");
        refused(&[&["train"], &words[..]].concat(), &["bytes", "available"]);
    }
}

/// What `config` prints is a file that gives the same settings back.
#[test]
fn config_prints_a_configuration_file() {
    let dir = tempfile::tempdir().unwrap();
    let (code, first, _) = motley(&["config", "mappo", "mpe/simple_speaker_listener_v4", "algo.lr=0.00012", "seed=9"]);
    assert_eq!(code, 0);
    let table: toml::Table = first.parse().unwrap_or_else(|e| panic!("{e}: {first}"));
    assert_eq!(table["algo"]["lr"].as_float(), Some(0.00012));
    std::fs::write(dir.path().join("printed.toml"), &first).unwrap();
    let words = ["config", "mappo", "mpe/simple_speaker_listener_v4", "preset=none", "--config", "printed.toml"];
    let (code, second, err) = motley_in(dir.path(), &words);
    assert_eq!(code, 0, "{err}");
    assert_eq!(second.parse::<toml::Table>().unwrap(), table);
}

#[test]
fn misspelt_words_are_refused_with_the_nearest() {
    let task = "mpe/simple_spread_v3";
    refused(&["config"], &["ALGO and TASK are missing", "motley list"]);
    refused(&["config", "happo"], &["TASK is missing after \"happo\""]);
    refused(&["config", task, "seed=1"], &["ALGO is missing"]);
    refused(&["config", "hapo", task], &["unknown algorithm \"hapo\"", "\"happo\""]);
    refused(&["config", "happo", "mpe/simple_spred_v3"], &["unknown task", "\"mpe/simple_spread_v3\""]);
    refused(&["config", "happo", task, "algo.clp=0.1"], &["unknown key \"algo.clp\"", "\"algo.clip\""]);
    refused(&["config", "happo", task, "algo.gamma=7"], &["algo.gamma = 7", "0 to 1"]);
    refused(&["config", "happo", task, "nonsense"], &["\"nonsense\" is not a setting"]);
    refused(&["config", "happo", task, "preset=tund"], &["unknown preset \"tund\"", "\"tuned\""]);
    refused(&["config", "happo", task, "--config", "no-such-file.toml"], &["no-such-file.toml"]);
    let variables = [("MOTLEY__ALGO__CLP", "0.1")];
    let (code, _, err) = motley_with(Path::new("."), &["config", "happo", task], &variables);
    assert!(code == 2 && err.contains("algo.clip"), "{err}");
}

#[test]
fn check_holds_tasks_to_the_contract() {
    let (code, out, err) = motley(&["check", "mpe/simple_speaker_listener_v4", "task.continuous=true", "max_cycles=9"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("keeps the contract") && !out.contains("FAILED"), "{out}");
    let (code, out, _) = motley(&["check", "matrix/climbing", "--json"]);
    let lines = events(&out);
    let (done, checks) = lines.split_last().unwrap();
    assert_eq!((code, done["event"].as_str(), done["failed"].as_u64()), (0, Some("done"), Some(0)));
    let total: u64 = ["passed", "failed", "warned", "skipped"].iter().map(|k| done[k].as_u64().unwrap()).sum();
    assert!(total == checks.len() as u64 && checks.iter().all(|c| c["event"] == "check" && c["outcome"] != "failed"));
    refused(&["check", "matrix/climbin"], &["\"matrix/climbing\""]);
    refused(&["check", "mpe/simple_v3", "continous=true"], &["\"task.continuous\""]);
    refused(&["check", "mpe/simple_line_v1", "flavour=v2"], &["task.flavour"]);
    refused(&["check", "matrix/climbing", "--trace", "none.npz"], &["matrix/climbing", "vmas/*"]);
    refused(&["check", "vmas/wheel", "--trace", "none.npz"], &["none.npz"]);
}

#[test]
fn doctor_looks_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = motley_with(dir.path(), &["doctor", "--json"], &[("MOTLEY_SIMD", "portable")]);
    assert_eq!(code, 0);
    let found = events(&out);
    let of =
        |what: &str| found.iter().find(|f| f["what"] == what).unwrap_or_else(|| panic!("no {what}"))["found"].as_str().unwrap();
    assert!(of("SIMD").starts_with("portable") && of("cores").contains("usable of") && of("devices").starts_with("cpu"));
    assert!(of("run folder").ends_with("can be written"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let (code, _, _) = motley_in(dir.path(), &["doctor"]);
    assert_eq!(code, 0);
}

/// A run folder with a curve, as training writes it.
fn write_run(dir: &Path, algo: &str, task: &str, seed: u64, values: &[(u64, f64)]) {
    write_run_with(dir, "", algo, task, seed, values);
}

/// The same, trained with these settings.
fn write_run_with(dir: &Path, config: &str, algo: &str, task: &str, seed: u64, values: &[(u64, f64)]) {
    let folder = RunFolder::create(dir).unwrap();
    let info = RunInfo {
        motley: "0.1.0".into(),
        git_commit: None,
        platform: "test".into(),
        cpu: "test".into(),
        threads: 1,
        algo: algo.into(),
        task: task.into(),
        task_version: 1,
        seed,
        preset: None,
        status: RunStatus::Done,
        reason: None,
        started: "2026-01-01T00:00:00Z".into(),
        env_steps: 0,
        exact_resume: true,
        changes: Vec::new(),
        evaluation_due: false,
        eval_env_failures: 0,
        signed: None,
    };
    folder.write_config(&config.parse().unwrap()).unwrap();
    folder.write_info(&info).unwrap();
    let line = |(step, value): &(u64, f64)| format!("{{\"env_steps\":{step},\"eval/return_mean\":{value},\"time/wall\":1.0}}\n");
    std::fs::write(folder.metrics_path(), values.iter().map(line).collect::<String>()).unwrap();
}

#[test]
fn plot_gathers_seeds_below_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    write_run(&at("runs/mpe/a/happo/1"), "happo", "mpe/a", 1, &[(0, 0.0), (100, 2.0)]);
    write_run(&at("runs/mpe/a/happo/2"), "happo", "mpe/a", 2, &[(0, 1.0), (100, 6.0)]);
    write_run(&at("runs/mpe/a/mappo/1"), "mappo", "mpe/a", 1, &[(0, 1.0), (50, 3.0)]);
    write_run(&at("empty"), "mappo", "mpe/a", 3, &[]);
    // The same runs by two ways count once; a run without points is left out with a warning.
    let (code, out, err) = motley_in(dir.path(), &["plot", "runs", "runs/mpe/a/happo/1", "empty", "-o", "c.svg", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("empty has no point"), "{err}");
    let lines = events(&out);
    let curves: Vec<(&str, u64, f64, f64, f64)> = lines
        .iter()
        .filter(|e| e["event"] == "curve")
        .map(|e| {
            let number = |k: &str| e[k].as_f64().unwrap();
            (e["algo"].as_str().unwrap(), e["seeds"].as_u64().unwrap(), number("mean"), number("low"), number("high"))
        })
        .collect();
    assert_eq!(curves, [("happo", 2, 4.0, 2.0, 6.0), ("mappo", 1, 3.0, 3.0, 3.0)]);
    assert_eq!(lines.last().unwrap()["event"], "done");
    let svg = std::fs::read_to_string(at("c.svg")).unwrap();
    assert!(svg.contains("mpe/a") && svg.contains("happo (2 seeds)"));
    let (code, _, _) = motley_in(dir.path(), &["plot", "runs", "-o", "c.png"]);
    assert!(code == 0 && std::fs::read(at("c.png")).unwrap().starts_with(b"\x89PNG"));
}

/// Runs of other settings or of another flavour of the task are other curves, named as `compare` names them.
#[test]
fn plot_keeps_unlike_runs_apart() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    let values = [(0, 0.0), (100, 2.0)];
    let settings = |lr: &str, continuous: bool| format!("seed = 1\n[algo]\nlr = {lr}\n[task]\ncontinuous = {continuous}");
    write_run_with(&at("runs/1"), &settings("0.1", false), "happo", "mpe/a", 1, &values);
    write_run_with(&at("runs/2"), &settings("0.1", false), "happo", "mpe/a", 2, &values);
    write_run_with(&at("runs/3"), &settings("0.2", false), "happo", "mpe/a", 1, &values);
    let curves = || {
        let (code, out, err) = motley_in(dir.path(), &["plot", "runs", "-o", "a.svg", "--json"]);
        assert_eq!(code, 0, "{err}");
        let all = events(&out).into_iter().filter(|e| e["event"] == "curve");
        all.map(|e| (e["algo"].clone(), e["task"].clone(), e["runs"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    let of = |lr: &str, task: &str, runs: u64| (format!("happo [algo.lr={lr}]").into(), task.into(), runs);
    assert_eq!(curves(), [of("0.1", "mpe/a", 2), of("0.2", "mpe/a", 1)]);
    write_run_with(&at("runs/4"), &settings("0.2", true), "happo", "mpe/a", 1, &values);
    let (choices, boxes) = ("mpe/a [task.continuous=false]", "mpe/a [task.continuous=true]");
    assert_eq!(curves(), [of("0.1", choices, 2), of("0.2", choices, 1), of("0.2", boxes, 1)]);
    let svg = std::fs::read_to_string(at("a.svg")).unwrap();
    assert!(svg.contains("happo [algo.lr=0.2] on mpe/a [task.continuous=true]"), "the legend names it");
}

#[test]
fn plot_says_what_it_cannot_do() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("run"), "happo", "mpe/a", 1, &[(0, 0.0)]);
    write_run(&dir.path().join("young"), "happo", "mpe/a", 1, &[]);
    std::fs::create_dir(dir.path().join("nothing")).unwrap();
    for (args, expected, texts) in [
        (&["run", "-o", "c.svg", "--metric", "eval/return_men"][..], 2, &["eval/return_men", "eval/return_mean"][..]),
        (&["run", "-o", "c.svg", "--metric", "zzz"], 2, &["it logs eval/return_mean, time/wall"]),
        (&["run", "-o", "c.gif"], 2, &["c.gif", ".svg or .png"]),
        (&["nothing", "-o", "c.svg"], 2, &["no run in nothing"]),
        (&["nowhere", "-o", "c.svg"], 2, &["nowhere is no folder"]),
        (&["young", "-o", "c.svg"], 1, &["young has no log point yet"]),
        (&["run", "-o", "no/folder/c.svg"], 2, &["no/folder/c.svg", "make it first"]),
        (&["-o", "c.svg"], 2, &["RUNS"]),
    ] {
        let (code, out, err) = motley_in(dir.path(), &[&["plot"], args].concat());
        assert_eq!((code, out.as_str()), (expected, ""), "{args:?}: {err}");
        assert!(texts.iter().all(|text| err.contains(text)), "{args:?}: {err}");
    }
    std::fs::write(dir.path().join("run/metrics.jsonl"), "{\"env_steps\":1}\nnonsense\n{\"env_steps\":2}\n").unwrap();
    let (code, _, err) = motley_in(dir.path(), &["plot", "run", "-o", "c.svg"]);
    assert!(code == 1 && err.contains("line 2"), "{err}");
}

/// An untrained policy's bundle.
fn write_policy(dir: &Path, task: &str) {
    let request = Request { algo: "happo".into(), task: task.into(), ..Request::default() };
    let plan = request.plan(&Registry::builtin()).unwrap();
    let learner = plan.algorithm.build(&Arc::clone(&plan.team), &plan.settings, &Stream::new(3, Purpose::Init, 0, 0)).unwrap();
    let bundle = to_bundle(&learner.policy(), "happo", &plan.settings.to_table(), 0, 0.0).unwrap();
    write_bundle(&RealDisk, dir, &bundle).unwrap();
}

#[test]
fn render_plays_the_episodes_that_eval_plays() {
    let dir = tempfile::tempdir().unwrap();
    write_policy(&dir.path().join("policy"), "mpe/simple_speaker_listener_v4");
    let (code, out, err) =
        motley_in(dir.path(), &["render", "policy", "-o", "a.gif", "--episodes", "2", "--width", "120", "--json"]);
    assert_eq!(code, 0, "{err}");
    let lines = events(&out);
    assert!(std::fs::read(dir.path().join("a.gif")).unwrap().starts_with(b"GIF89a"));
    assert_eq!(lines[2]["frames"], 52, "two episodes of 25 steps, each with its start");
    // Refused before the episodes, which is before the first result.
    let (code, out, _) = motley_in(dir.path(), &["render", "policy", "-o", "nodir/a.gif"]);
    assert_eq!((code, out.as_str()), (2, ""));
    let (code, out, _) = motley_in(dir.path(), &["eval", "policy", "--episodes", "2", "--json"]);
    assert_eq!(code, 0);
    let mean = 0.5 * (lines[0]["return"].as_f64().unwrap() + lines[1]["return"].as_f64().unwrap());
    let evaluated = events(&out).last().unwrap()["eval_return_mean"].as_f64().unwrap();
    assert!((mean - evaluated).abs() < 1e-9, "{mean} {evaluated}");
    let again = |name: &str, more: &[&str]| {
        let (code, _, err) = motley_in(dir.path(), &[&["render", "policy", "--width", "120", "-o", name], more].concat());
        assert_eq!(code, 0, "{err}");
        std::fs::read(dir.path().join(name)).unwrap()
    };
    let sheet = again("a.png", &[]);
    assert!(sheet.starts_with(b"\x89PNG"));
    assert!(sheet == again("b.png", &[]), "the same seed draws the same picture");
    let page = String::from_utf8(again("a.html", &["--episodes", "2"])).unwrap();
    assert_eq!((page.matches("<svg").count(), page.contains("happo on mpe/simple_speaker_listener_v4")), (52, true));
    assert!(sheet != again("c.png", &["--seed", "1"]) && sheet != again("d.png", &["--stochastic"]));
}

#[test]
fn a_policy_is_played_on_another_task_with_the_same_team() {
    let dir = tempfile::tempdir().unwrap();
    write_policy(&dir.path().join("policy"), "matrix/non_monotonic");
    let greedy = |words: &[&str]| {
        let (code, out, err) = motley_in(dir.path(), &[&["eval", "policy", "--episodes", "1", "--json"], words].concat());
        assert_eq!(code, 0, "{err}");
        let last = events(&out).pop().unwrap();
        (last["task"].as_str().unwrap().to_owned(), last["eval_return_mean"].as_f64().unwrap())
    };
    // The untrained policy plays some pair; what that pays on either task says which it can be.
    let (own, here) = greedy(&[]);
    let (other, there) = greedy(&["--task", "matrix/climbing"]);
    assert_eq!((own.as_str(), other.as_str()), ("matrix/non_monotonic", "matrix/climbing"));
    let pairs = [[8.0, 11.0], [-12.0, -30.0], [-12.0, 0.0], [0.0, 7.0], [0.0, 6.0], [0.0, 0.0], [0.0, 5.0]];
    assert!(pairs.contains(&[here, there]), "{here} here, {there} there");
    for (words, text) in [
        (&["--task", "mpe/simple_v3"][..], "another team"),
        (&["--task", "matrix/climbin"], "\"matrix/climbing\""),
        (&["--task", "matrix/climbing", "stepps=3"], "\"task.steps\""),
        (&["algo.lr=1"], "algo.lr is a setting of training"),
        (&["num_envs=1"], "num_envs is a setting of training"),
    ] {
        let (code, _, err) = motley_in(dir.path(), &[&["eval", "policy"], words].concat());
        assert!(code == 2 && err.contains(text), "{words:?}: {code} {err}");
    }
}

/// K5: what differs between the team of training and the one that is met is said by name.
#[test]
fn another_team_is_told_by_its_difference() {
    let dir = tempfile::tempdir().unwrap();
    write_policy(&dir.path().join("policy"), "mpe/simple_spread_v3");
    let (code, _, err) = motley_in(dir.path(), &["eval", "policy", "num_agents=5"]);
    for text in ["agent \"agent_0\"", "observation: expected 18 numbers, found 30 numbers", "expected 3 agents in all, found 5"] {
        assert!(code == 2 && err.contains(text), "{text}: {code} {err}");
    }
}

#[test]
fn one_seed_twice_is_no_two_seeds_and_a_broken_run_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    for name in ["a", "copy", "broken"] {
        write_run(&at("runs").join(name), "happo", "mpe/a", 1, &[(0, 0.0), (100, 2.0)]);
    }
    std::fs::write(at("runs/broken/run.json"), "{").unwrap();
    let (code, out, err) = motley_in(dir.path(), &["plot", "runs", "-o", "c.svg", "--json"]);
    assert!(code == 0 && events(&out)[0]["seeds"] == 1 && events(&out)[0]["runs"] == 2, "{out} {err}");
    assert!(std::fs::read_to_string(at("c.svg")).unwrap().contains("happo (2 runs, 1 seed)"));
    assert!(err.contains("happo: 2 runs have 1 seed between them") && err.contains("runs/broken is left out"), "{err}");
    let (code, _, err) = motley_in(dir.path(), &["plot", "runs/broken", "-o", "c.svg"]);
    assert!(code == 1 && err.contains("run.json"), "nothing is left: {code} {err}");
    std::fs::remove_file(at("runs/broken/run.json")).unwrap();
    let words = ["train", "happo", "matrix/climbing", "-o", "runs/broken"];
    let (code, _, err) = motley_in(dir.path(), &words);
    assert!(code == 2 && err.contains("what is left of a run") && !err.contains("--resume"), "{code} {err}");
}

/// Results that cannot be written are told, and the exit code says so; a training is in its folder all the same.
#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let into_full = |words: &[&str]| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_motley"));
        let output = command.args(words).current_dir(dir.path()).stdout(full).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for words in [&["list", "algorithms"][..], &["list", "algorithms", "--json"]] {
        let (code, err) = into_full(words);
        assert!(code == 1 && err.matches("cannot be written to standard output").count() == 1, "{words:?}: {code} {err}");
    }
    let small = ["preset=none", "total_steps=20", "num_envs=2", "algo.rollout_steps=10", "eval.episodes=1", "--quiet"];
    let (code, err) = into_full(&[&["train", "ippo", "matrix/climbing", "--out", "run"], &small[..]].concat());
    assert!(code == 0 && err.contains("cannot be written to standard output"), "{code} {err}");
    // Its commit is that of these sources, where they lie in a repository.
    let info: Value = serde_json::from_slice(&std::fs::read(dir.path().join("run/run.json")).unwrap()).unwrap();
    let here = std::process::Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let here = here.ok().filter(|o| o.status.success()).map(|o| String::from_utf8(o.stdout).unwrap().trim().to_owned());
    assert_eq!(info["git_commit"].as_str().is_some(), here.is_some(), "{}", info["git_commit"]);
    assert!(info["git_commit"].as_str().is_none_or(|c| c.len() >= 40 && c.chars().all(|x| x.is_ascii_hexdigit())));
}

#[test]
fn a_new_environment_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    for lang in ["python", "rust"] {
        let words = ["new-env", "tug", "--lang", lang];
        let (code, out, err) = motley_in(dir.path(), &words);
        assert!(code == 0 && out.contains("next:"), "{err}");
        let (code, _, err) = motley_in(dir.path(), &words);
        assert!(code == 2 && err.contains("is there already") && !err.contains("os error"), "{code} {err}");
    }
    let make = |name: &str, lang: &str| motley_in(dir.path(), &["new-env", name, "--lang", lang]);
    for taken in ["numpy", "json", "random", "signal", "types", "zipimport"] {
        let (code, _, err) = make(taken, "python");
        assert!(code == 2 && err.contains("would hide a module"), "{code} {err}");
    }
    for taken in ["build", "self", "motley_core"] {
        let (code, _, err) = make(taken, "rust");
        assert!(code == 2 && err.contains("cannot name an environment"), "{code} {err}");
    }
    for (name, lang) in [("json", "rust"), ("env", "rust"), ("box", "python"), ("parallel", "python")] {
        assert_eq!(make(name, lang).0, 0, "{name} {lang}");
    }
    // Their classes are called otherwise than what the templates import.
    let class =
        |file: &str, text: &str| assert!(std::fs::read_to_string(dir.path().join(file)).unwrap().contains(text), "{file}");
    class("env/src/main.rs", "struct EnvEnv(");
    class("box.py", "class BoxEnv(");
    class("parallel.py", "class ParallelEnv(pettingzoo.ParallelEnv)");
}

#[test]
fn render_refuses_what_it_cannot_draw() {
    let dir = tempfile::tempdir().unwrap();
    write_policy(&dir.path().join("policy"), "matrix/climbing");
    for (args, text) in [
        (&["policy", "-o", "a.webp"][..], ".gif or .png or .html"),
        (&["nowhere", "-o", "a.gif"], "nowhere"),
        (&["policy", "-o", "a.gif", "--episodes", "0"], "expected a whole number, 1 to 1000"),
        (&["policy", "-o", "a.gif", "--width", "0"], "--width 0: expected 1 to"),
        (&["policy", "-o", "nodir/a.gif"], "make it first"),
        (&["policy", "-o", "a.png", "--width", "8000"], "smaller --width"),
        // The tests' standard output is a pipe.
        (&["policy"], "is no terminal"),
        (&["policy", "-o", "-"], "give -o FILE"),
        (&["policy", "--json"], "--json has no place"),
    ] {
        let (code, _, err) = motley_in(dir.path(), &[&["render"], args].concat());
        assert!(code == 2 && err.contains(text), "{args:?}: {code} {err}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is written");
}

#[test]
fn theory_tells_every_iteration() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = motley_in(dir.path(), &["theory", "climbing", "--iterations", "3", "--json", "-o", "t.svg"]);
    assert_eq!(code, 0, "{err}");
    let lines = events(&out);
    let count = |event: &str| lines.iter().filter(|l| l["event"] == event).count();
    assert_eq!(count("iteration"), 4 * count("method"), "the start and three iterations of each method");
    assert!(count("method") > 3 && lines.last().unwrap()["theorems_hold"] == true);
    let uncovered = lines.iter().filter(|l| l["event"] == "method" && l["sequential"] == true && l["covered"] == false);
    assert_eq!(uncovered.count(), 1, "the penalty that is no drift");
    for method in lines.iter().filter(|l| l["event"] == "method" && l["covered"] == true) {
        let returns: Vec<f64> = lines
            .iter()
            .filter(|l| l["event"] == "iteration" && l["method"] == method["method"])
            .map(|l| l["return"].as_f64().unwrap())
            .collect();
        assert!(returns.windows(2).all(|w| w[1] >= w[0] - 1e-9), "{method}: {returns:?}");
    }
    assert!(std::fs::read_to_string(dir.path().join("t.svg")).unwrap().contains("HATRL"));
    let (code, out, _) = motley(&["theory", "--iterations", "2", "--seed", "4"]);
    assert!(code == 0 && out.starts_with("random"), "{out}");
    refused(&["theory", "penlty"], &["unknown game \"penlty\"", "\"penalty\""]);
    refused(&["theory", "penalty", "--iterations", "0"], &["1 to 10000"]);
    refused(&["theory", "climbing", "--k", "-5"], &["--k"]);
    refused(&["theory", "climbing", "-o", "t.gif"], &[".svg or .png"]);
}

#[test]
fn a_failure_is_an_event_too() {
    let (code, out, err) = motley(&["check", "mpe/simpl", "--json"]);
    let lines = events(&out);
    assert_eq!((code, lines.len(), lines[0]["event"].as_str(), lines[0]["exit_code"].as_u64()), (2, 1, Some("error"), Some(2)));
    assert!(err.contains(lines[0]["message"].as_str().unwrap()));
    for (words, text) in
        [(&["list", "foo", "--json"][..], "foo"), (&["train", "--json", "--bad"], "--bad"), (&["--json"], "Usage")]
    {
        let (code, out, err) = motley(words);
        let lines = events(&out);
        assert_eq!(
            (code, lines.len(), lines[0]["event"].as_str(), lines[0]["exit_code"].as_u64()),
            (2, 1, Some("error"), Some(2))
        );
        assert!(lines[0]["message"].as_str().unwrap().contains(text) && err.contains(text), "{words:?}: {out} {err}");
    }
}

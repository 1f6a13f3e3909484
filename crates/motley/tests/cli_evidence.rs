//! Comparing, sweeping, reproducing: whole commands through the binary, on games that train in a moment.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

/// The exit code, standard output and standard error of the command, run in `dir`.
fn motley(dir: &Path, words: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
    // No Python, whatever this machine has.
    command.args(words.split_whitespace()).current_dir(dir).env("MOTLEY_PYTHON", "/nowhere/python");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn events(text: &str, event: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|v| v["event"] == event).collect()
}

const PLAN: &str = "
    out = 'runs'
    algos = ['happo', 'mappo']
    tasks = ['matrix/climbing', 'matrix/penalty']
    seeds = 2
    settings.total_steps = 400
    settings.num_envs = 10
    settings.net.hidden_sizes = [8]
    settings.algo.rollout_steps = 10
    settings.eval = { every = 200, episodes = 4 }
";

fn planned() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plan.toml"), PLAN).unwrap();
    dir
}

#[test]
fn a_sweep_trains_what_is_left_and_is_compared() {
    let dir = planned();
    let (code, out, err) = motley(dir.path(), "sweep plan.toml --parallel 2 --json");
    assert_eq!(code, 0, "{err}");
    assert_eq!(events(&out, "run").iter().filter(|r| r["outcome"] == "done").count(), 8);
    // Again: nothing is left. With one run lost and more steps for all: one is new, seven go on.
    let (code, out, _) = motley(dir.path(), "sweep plan.toml --json");
    assert_eq!((code, events(&out, "run").iter().filter(|r| r["outcome"] == "was done").count()), (0, 8));
    std::fs::remove_dir_all(dir.path().join("runs/matrix_climbing/happo/s0")).unwrap();
    std::fs::write(dir.path().join("plan.toml"), PLAN.replace("total_steps = 400", "total_steps = 600")).unwrap();
    let (code, _, err) = motley(dir.path(), "sweep plan.toml");
    assert_eq!(code, 0, "{err}");
    let resumed = std::fs::read_to_string(dir.path().join("runs/matrix_climbing/happo/s1.log")).unwrap();
    assert!(resumed.contains("resuming happo on matrix/climbing at 400 steps"), "{resumed}");

    let (code, out, err) = motley(dir.path(), "compare runs --absolute --resamples 200 -o made --book book --json");
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("fewer than 5 seeds"), "{err}");
    let rows = events(&out, "task");
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|r| r["seeds"] == 2 && r["env_steps"] == 600 && r["absolute"] == true));
    let between = |e: &Value, name: &str| {
        let at = |end: &str| e[format!("{name}{end}")].as_f64().unwrap();
        at("_low") <= at("") && at("") <= at("_high")
    };
    assert!(events(&out, "aggregate").iter().all(|e| ["iqm", "median", "mean", "optimality_gap"].iter().all(|n| between(e, n))));
    let scales = events(&out, "scale");
    let climbing = scales.iter().find(|s| s["task"] == "matrix/climbing").unwrap();
    assert!(climbing["origin"] == "known" && climbing["high"] == 11.0, "{climbing}");
    let improvement = events(&out, "improvement");
    assert!(improvement.len() == 1 && between(&improvement[0], "probability"));
    for name in ["table.tex", "runs.jsonl", "marl-eval.json", "aggregates.svg", "improvement.svg", "profiles.svg", "curves.svg"] {
        assert!(dir.path().join("made").join(name).is_file(), "{name}");
    }
    let page = std::fs::read_to_string(dir.path().join("book/matrix.md")).unwrap();
    assert!(page.contains("| matrix/climbing | happo | ") && page.contains(" | 2 | 600 | no preset, own settings | "), "{page}");
    assert!(page.contains("motley train mappo matrix/penalty") && page.contains("fewer than 5 seeds"), "{page}");
    assert!(page.contains(" eval.episodes=4 ") && page.contains(" eval.every=200 "), "a pasted command is the run: {page}");
    assert!(page.contains("| pareto-climbing/pareto-ac | matrix/climbing task.steps=1 | pareto-ac | 11.0 (band"), "{page}");
    assert!(page.contains("## What it costs") && rows.iter().all(|r| r["update_seconds"].as_f64().is_some_and(|s| s > 0.0)));
    for suite in ["mamujoco", "hands", "smac", "smacv2", "football"] {
        let blank = std::fs::read_to_string(dir.path().join(format!("book/{suite}.md"))).unwrap();
        assert!(blank.contains("  |  |  |  |  |") && blank.contains("No run of this suite"), "{blank}");
    }
    let claims = std::fs::read_to_string(dir.path().join("book/vmas.md")).unwrap();
    assert!(claims.contains(" | hetgppo | gppo | 2,000,000 |  |  |  |\n"), "{claims}");
    let table = std::fs::read_to_string(dir.path().join("made/table.tex")).unwrap();
    assert!(table.contains("Algorithm & IQM & Median & Mean & Optimality gap"), "{table}");
    documents_hold_the_same(dir.path(), &rows);
    the_absolute_metric_is_of_the_best_policy(dir.path());
    what_marl_eval_would_misread_is_not_written(dir.path());
    runs_are_taken_before_records(dir.path());
    one_damaged_policy_leaves_the_others(dir.path());
}

/// Records beside runs may be of the same runs: none is counted twice, and none is passed over without a word.
fn runs_are_taken_before_records(dir: &Path) {
    std::fs::copy(dir.join("made/runs.jsonl"), dir.join("runs/matrix_penalty/old.jsonl")).unwrap();
    let (code, out, err) = motley(dir, "compare runs/matrix_penalty --resamples 200 --json");
    assert!(code == 0 && err.contains("the runs are taken") && err.contains("old.jsonl"), "{err}");
    let rows = events(&out, "task");
    assert!(rows.len() == 2 && rows.iter().all(|r| r["task"] == "matrix/penalty" && r["seeds"] == 2), "{rows:?}");
    let task = |bounds: &str| motley(dir, &format!("compare runs/matrix_penalty --resamples 200 {bounds}"));
    let (code, _, err) = task("--bounds matrix/penalti=0,1");
    assert!(code == 2 && err.contains("no run is of this task") && err.contains("matrix/penalty"), "{err}");
    let (code, _, err) = task("--bounds matrix/penalty=0,1 --bounds matrix/penalty=0,2");
    assert!(code == 2 && err.contains("has bounds already"), "{err}");
    let (code, _, err) = motley(dir, "compare nowhere");
    assert!(code == 2 && err.contains("nowhere does not exist"), "{err}");
}

/// The absolute metric is of the best policy alone: a run that lost it has none, and the rest is compared. Pictures that this comparison does
/// not make are not left from one before.
fn one_damaged_policy_leaves_the_others(dir: &Path) {
    std::fs::remove_dir_all(dir.join("runs/matrix_climbing/happo/s0/policy")).unwrap();
    let weights = dir.join("runs/matrix_climbing/mappo/s0/policy/weights.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    let (code, out, err) = motley(dir, "compare runs/matrix_climbing --absolute --resamples 200 -o made --json");
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("its best policy is missing") && err.matches("has no absolute metric").count() == 2, "{err}");
    assert!(events(&out, "task").iter().all(|r| r["seeds"] == 1), "{out}");
    assert!(err.contains("marl-eval.json is not written") && !dir.join("made/marl-eval.json").exists(), "{err}");
    let (code, _, err) = motley(dir, "compare runs/matrix_climbing/happo/s0 --absolute");
    assert!(code == 1 && err.contains("its best policy is missing"), "{code} {err}");
}

/// What was written compares as the runs did: from the records and from marl-eval's document.
fn documents_hold_the_same(dir: &Path, rows: &[Value]) {
    for document in ["made/runs.jsonl", "made/marl-eval.json"] {
        let (code, out, err) = motley(dir, &format!("compare {document} --absolute --resamples 200 --json"));
        assert_eq!(code, 0, "{document}: {err}");
        let again = events(&out, "task");
        for (a, b) in rows.iter().zip(&again) {
            let close = |name: &str| (a[name].as_f64().unwrap() - b[name].as_f64().unwrap()).abs() < 1e-9;
            assert!(a["task"] == b["task"] && a["algo"] == b["algo"] && close("iqm") && close("mean"), "{document}: {a} {b}");
        }
    }
}

/// Ten times the episodes of an evaluation (4), of the policy that a run keeps beside its checkpoints.
fn the_absolute_metric_is_of_the_best_policy(dir: &Path) {
    let document = |folder: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(dir.join(folder).join("marl-eval.json")).unwrap()).unwrap()
    };
    let of = |document: &Value, task: &str, algo: &str, seed: &str| -> Vec<Value> {
        document["matrix"][task][algo][seed]["absolute_metrics"]["mean_episode_return"].as_array().unwrap().clone()
    };
    let made = document("made");
    for task in ["climbing", "penalty"] {
        for (algo, seed) in [("HAPPO", "seed_0"), ("HAPPO", "seed_1"), ("MAPPO", "seed_0"), ("MAPPO", "seed_1")] {
            assert_eq!(of(&made, task, algo, seed).len(), 40, "{task} {algo} {seed}");
        }
    }
    std::fs::remove_dir_all(dir.join("runs/matrix_climbing/happo/s0/checkpoints")).unwrap();
    let (code, _, err) = motley(dir, "compare runs/matrix_climbing/happo/s0 --absolute --resamples 200 -o alone");
    assert_eq!(code, 0, "{err}");
    let again = of(&document("alone"), "climbing", "HAPPO", "seed_0");
    assert_eq!(again, of(&made, "climbing", "HAPPO", "seed_0"), "no checkpoint has a part in it");
}

/// Algorithms with unlike seeds make no document of marl-eval's; why is said, and all else is written.
fn what_marl_eval_would_misread_is_not_written(dir: &Path) {
    let runs = "runs/matrix_climbing/happo runs/matrix_climbing/mappo/s0";
    let (code, _, err) = motley(dir, &format!("compare {runs} --absolute --resamples 200 -o part"));
    let why = "marl-eval.json is not written: happo on matrix/climbing has seeds 0, 1 and mappo on matrix/climbing has 0";
    assert!(code == 0 && err.contains(why), "{err}");
    let part = dir.join("part");
    assert!(part.join("table.tex").is_file() && part.join("runs.jsonl").is_file() && !part.join("marl-eval.json").exists());
}

/// What a dry run prints can be pasted behind `motley train`; a program gets the words one by one.
#[test]
fn a_dry_run_tells_words_that_a_shell_takes() {
    let dir = planned();
    let (code, out, err) = motley(dir.path(), "sweep plan.toml --dry-run");
    assert!(code == 0 && out.lines().count() == 8 && out.contains(" 'net.hidden_sizes=[8]' "), "{out} {err}");
    let (_, out, _) = motley(dir.path(), "sweep plan.toml --dry-run --json");
    let last = &events(&out, "run")[7]["words"];
    assert!(last[0] == "mappo" && last.as_array().unwrap().contains(&Value::from("net.hidden_sizes=[8]")), "{last}");
}

#[test]
fn weights_and_settings_of_others_are_imported() {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import/harl_recurrent");
    let (code, out, err) = motley(dir.path(), &format!("import {} -o bundle --episodes 2 --json", from.display()));
    assert_eq!(code, 0, "{err}");
    let told = &events(&out, "imported")[0];
    assert!(told["algo"] == "happo" && told["task"] == "mpe/simple_spread_v3" && told["eval_episodes"] == 2, "{told}");
    // A bundle like any other: played again on the same streams it reaches the same.
    let (code, out, err) = motley(dir.path(), "eval bundle --episodes 2 --json");
    assert!(code == 0 && out.contains("eval_return_mean"), "{out} {err}");
    let (code, _, err) = motley(dir.path(), &format!("import {}/config.json -o harl.toml", from.display()));
    assert_eq!(code, 0, "{err}");
    let train =
        "train happo mpe/simple_spread_v3 preset=none --config harl.toml total_steps=400 eval.episodes=2 --out run --quiet";
    let (code, _, err) = motley(dir.path(), train);
    assert_eq!(code, 0, "{err}");
    let written = std::fs::read_to_string(dir.path().join("run/config.toml")).unwrap();
    assert!(written.contains("recurrent = true") && written.contains("rollout_steps = 50"), "{written}");
}

/// A run that was stopped in its last evaluation is not done; one whose folder is damaged fails alone.
#[test]
fn a_sweep_makes_up_an_evaluation_and_goes_past_a_damaged_run() {
    let dir = planned();
    assert_eq!(motley(dir.path(), "sweep plan.toml --parallel 2").0, 0);
    let [cut, damaged] = ["happo/s0", "mappo/s1"].map(|run| dir.path().join("runs/matrix_climbing").join(run).join("run.json"));
    let mut info: Value = serde_json::from_str(&std::fs::read_to_string(&cut).unwrap()).unwrap();
    info["status"] = "stopped".into();
    info["evaluation_due"] = true.into();
    std::fs::write(&cut, info.to_string()).unwrap();
    std::fs::write(&damaged, "{").unwrap();
    let (code, out, err) = motley(dir.path(), "sweep plan.toml --json");
    let ended = |outcome: &str| events(&out, "run").iter().filter(|r| r["outcome"] == outcome).count();
    assert_eq!((code, ended("was done"), ended("done"), ended("failed")), (1, 6, 1, 1), "{err}");
    let info: Value = serde_json::from_str(&std::fs::read_to_string(&cut).unwrap()).unwrap();
    assert!(info["status"] == "done" && info["evaluation_due"].is_null());
}

#[test]
fn a_sweep_refuses_what_would_go_wrong_later() {
    let dir = planned();
    let refused = |words: &str, code: i32, text: &str| {
        let (found, _, err) = motley(dir.path(), words);
        assert!(found == code && err.contains(text), "{words}: {found} {err}");
    };
    refused("sweep plan.toml --launcher ray", 3, "pip install '.[ray]'");
    refused("sweep plan.toml --index 8", 2, "runs 0 to 7");
    refused("sweep nowhere.toml", 2, "nowhere.toml");
    assert_eq!(motley(dir.path(), "sweep plan.toml --index 0 --quiet").0, 0);
    std::fs::write(dir.path().join("other.toml"), PLAN.replace("[8]", "[9]")).unwrap();
    refused("sweep other.toml", 2, "net.hidden_sizes");
    std::fs::write(dir.path().join("slip.toml"), PLAN.replace("rollout_steps", "rolout_steps")).unwrap();
    refused("sweep slip.toml --dry-run", 2, "algo.rollout_steps");
    std::fs::write(dir.path().join("bad.toml"), "out = 'r'\nseeds = 1\nalgo = ['happo']\n").unwrap();
    refused("sweep bad.toml", 2, "algo");
    // Names that would end a line, or the quotation, of the script.
    for (out, text) in [("runs\\ntouch x #", "control characters"), ("runs\\\" x", "quotation marks")] {
        std::fs::write(dir.path().join("odd.toml"), PLAN.replace("'runs'", &format!("\"{out}\""))).unwrap();
        refused("sweep odd.toml --launcher slurm", 2, text);
        assert!(!dir.path().join("x").exists());
    }
}

/// Runs that are only listed, or run elsewhere, need no room on this machine; to train them here is refused.
#[test]
fn a_plan_for_larger_machines_is_listed_and_handed_on() {
    let dir = tempfile::tempdir().unwrap();
    let plan = "out = 'runs'\nalgos = ['hatd3']\ntasks = ['mpe/simple_spread_v3']\nseeds = 1\nsettings.total_steps = 400\n";
    let plan = format!("{plan}settings.algo.buffer_size = 1_000_000_000\n");
    std::fs::write(dir.path().join("plan.toml"), plan).unwrap();
    let (code, out, err) = motley(dir.path(), "sweep plan.toml --dry-run --json");
    assert!(code == 0 && events(&out, "run").len() == 1, "{err}");
    assert!(err.contains("refuses to train run 0") && err.contains("algo.buffer_size"), "{err}");
    let (code, _, err) = motley(dir.path(), "sweep plan.toml --launcher slurm");
    assert!(code == 0 && dir.path().join("runs/sweep.sbatch").is_file(), "{err}");
    for words in ["sweep plan.toml", "sweep plan.toml --index 0"] {
        let (code, _, err) = motley(dir.path(), words);
        assert!(code == 2 && err.contains("algo.buffer_size") && err.contains("available"), "{words}: {code} {err}");
    }
}

/// What `motley train --resume` takes up is the run of the plan, by whichever build it was begun.
#[test]
fn a_run_of_an_older_build_goes_on_in_its_sweep() {
    let dir = planned();
    assert_eq!(motley(dir.path(), "sweep plan.toml --index 0 --quiet").0, 0);
    let path = dir.path().join("runs/matrix_climbing/happo/s0/config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let older = config.replace("overlap = false\n", "").replace("lr_decay =", "former_setting = 3\nlr_decay =");
    assert!(older.contains("former_setting") && !older.contains("overlap"), "{config}");
    std::fs::write(&path, &older).unwrap();
    let (code, _, err) = motley(dir.path(), "sweep plan.toml --dry-run");
    assert_eq!(code, 0, "{err}");
    let folder = |algo: &str| dir.path().join("runs/matrix_climbing").join(algo);
    std::fs::rename(folder("happo"), folder("mappo")).unwrap();
    let (code, _, err) = motley(dir.path(), "sweep plan.toml --dry-run");
    assert!(code == 2 && err.contains("holds a run with algo = happo"), "another algorithm's run is none of it: {err}");
}

/// A run that could not keep its last checkpoint is not done: the sweep goes on with it when it can. One that could keep none was never
/// begun, and is begun then.
#[cfg(target_os = "linux")]
#[test]
fn a_run_without_its_last_checkpoint_is_not_done() {
    let dir = planned();
    let one =
        PLAN.replace("['happo', 'mappo']", "['happo']").replace("['matrix/climbing', 'matrix/penalty']", "['matrix/climbing']");
    let one = one.replace("seeds = 2", "seeds = 1\n    settings.log.tensorboard = false").replace("[8]", "[64, 64]");
    let plan = |text: &str| std::fs::write(dir.path().join("plan.toml"), text).unwrap();
    let limited = || {
        let line = format!("ulimit -f 40; exec {} sweep plan.toml", env!("CARGO_BIN_EXE_motley"));
        let output = Command::new("bash").args(["-c", &line]).current_dir(dir.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    plan(&one);
    let (code, err) = limited();
    assert!(code == Some(1) && err.contains("without a first checkpoint"), "{err}");
    let (code, out, err) = motley(dir.path(), "sweep plan.toml --json");
    assert!(code == 0 && events(&out, "run").iter().all(|r| r["outcome"] == "done"), "{out} {err}");

    std::fs::remove_dir_all(dir.path().join("runs")).unwrap();
    plan(&one.replace("total_steps = 400", "total_steps = 200"));
    assert_eq!(motley(dir.path(), "sweep plan.toml").0, 0);
    plan(&one);
    let (code, err) = limited();
    assert!(code == Some(1) && err.contains("could not be made durable") && err.contains("at 200 env steps"), "{err}");
    let (code, out, err) = motley(dir.path(), "sweep plan.toml --json");
    assert!(code == 0 && events(&out, "run").iter().all(|r| r["outcome"] == "done"), "{out} {err}");
}

/// Trainings that begin in one second do not fight for one folder.
#[test]
fn runs_of_one_second_lie_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let words = "train ippo matrix/climbing preset=none total_steps=20 num_envs=2 algo.rollout_steps=10 eval.episodes=1";
    let mut children: Vec<std::process::Child> = (0..3)
        .map(|_| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_motley"));
            command.args(words.split_whitespace()).current_dir(dir.path()).stderr(std::process::Stdio::null());
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(std::fs::read_dir(dir.path().join("runs/matrix/climbing/ippo")).unwrap().count(), 3);
}

/// Every plan that is shipped resolves (names, settings, folders), and the book asks its question.
#[test]
fn the_shipped_plans_resolve() {
    const PLANS: [&str; 9] =
        ["agents", "order", "sequential", "sharing", "sharing_ant", "sharing_combat", "uas", "uas_more", "uas_mpe"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = tempfile::tempdir().unwrap();
    let page = std::fs::read_to_string(root.join("docs/src/results/ablations.md")).unwrap();
    let mut found: Vec<String> = std::fs::read_dir(root.join("plans"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, PLANS);
    for name in PLANS {
        let path = root.join(format!("plans/{name}.toml"));
        assert!(page.contains(&format!("motley sweep plans/{name}.toml")), "{name}");
        let (code, out, err) = motley(dir.path(), &format!("sweep {} --dry-run --json", path.display()));
        // without the engine no robot's settings can be looked at
        if name == "sharing_ant" && !cfg!(feature = "mujoco") {
            assert!(code == 3 && err.contains("MuJoCo"), "{name}: {code} {err}");
        } else {
            assert!(code == 0 && events(&out, "run").len() >= 20, "{name}: {err}");
        }
    }
}

/// The script is run by bash with stand-ins for Slurm's own programs: a run that ends is reported as it ended, one that was
/// told to stop goes back into the queue.
#[cfg(unix)]
#[test]
fn the_script_for_slurm_runs_and_requeues() {
    let dir = planned();
    assert_eq!(motley(dir.path(), "sweep plan.toml --launcher slurm").0, 0);
    let script = dir.path().join("runs/sweep.sbatch");
    let text = std::fs::read_to_string(&script).unwrap();
    assert!(text.contains("#SBATCH --array=0-7\n") && text.contains("#SBATCH --signal=USR1@120\n"), "{text}");
    // Wherever it is submitted from.
    let here = dir.path().canonicalize().unwrap();
    assert!(text.contains(&format!("#SBATCH --output=\"{}/runs/slurm-%A_%a.log\"\n", here.display())), "{text}");
    let programs = dir.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    let write = |name: &str, body: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = programs.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("scontrol", "echo \"$@\" > requeued");
    let bash = || {
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command
            .arg(&script)
            .env("PATH", path)
            .env("SLURM_ARRAY_TASK_ID", "3")
            .env("SLURM_ARRAY_JOB_ID", "17")
            .current_dir(dir.path());
        command.output().unwrap().status.code().unwrap()
    };
    write("srun", "exec \"$@\"");
    assert_eq!(bash(), 0);
    assert!(dir.path().join("runs/matrix_climbing/mappo/s1/run.json").is_file(), "the fourth run of the plan");
    assert!(!dir.path().join("requeued").exists());
    write("srun", "exit 75");
    assert_eq!((bash(), std::fs::read_to_string(dir.path().join("requeued")).unwrap().trim()), (0, "requeue 17_3"));
    write("srun", "exit 2");
    assert_eq!(bash(), 2);
}

#[test]
fn a_result_is_reached_or_missed_by_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let short = "num_envs=10 net.hidden_sizes=[16] algo.rollout_steps=25 algo.lr=0.005 algo.critic_lr=0.005 eval.every=2000 eval.episodes=4";
    // The least part of the budget: nothing is published there, so there is no verdict.
    let words = format!("reproduce epymarl-penalty-0/ippo --seeds 2 --steps-fraction 0.0002 {short} --json");
    let (code, out, err) = motley(dir.path(), &words);
    assert_eq!(code, 0, "{err}");
    let done = &events(&out, "done")[0];
    assert_eq!(
        (done["verdict"].as_str(), done["seeds"].as_u64(), done["env_steps"].as_u64()),
        (Some("no verdict"), Some(2), Some(4000))
    );
    assert!(dir.path().join("runs/reproduce/epymarl-penalty-0/ippo/s1/run.json").is_file());
    // The same folders answer at once when asked again.
    let (_, out, _) = motley(dir.path(), &words);
    assert_eq!(events(&out, "run").iter().filter(|r| r["outcome"] == "was done").count(), 2);
    for (words, code, text) in [
        ("reproduce harl-spread-discrete/hapo", 2, "harl-spread-discrete/happo"),
        ("reproduce harl-spread-discrete/happo --seeds 0", 2, "0 is not in 1..=10000"),
        ("reproduce harl-spread-discrete/happo --steps-fraction 1.5", 2, "at most 1"),
        ("reproduce harl-spread-discrete/happo seed=5", 2, "--seeds says how many"),
        ("reproduce harl-spread-discrete/happo algo.lr=1e-3 total_steps=40", 2, "total_steps=40: a published result"),
        ("compare runs --resamples 4000000000000", 2, "1 to 100000"),
        ("compare runs --threshold -5 --resamples -1", 2, "--resamples"),
        ("theory penalty --k 1e300", 2, "-1e6 to 1e6"),
        ("theory penalty --k nan", 2, "k, the penalty"),
        ("bench env smac/3m --seconds 0.01", 3, "StarCraft II"),
    ] {
        let (found, _, err) = motley(dir.path(), words);
        assert!(found == code && err.contains(text), "{words}: {found} {err}");
    }
    let (code, out, _) = motley(dir.path(), "list results --json");
    let results = events(&out, "result");
    assert!(code == 0 && results.len() > 150);
    let of = |name: &str| results.iter().find(|r| r["name"] == name).unwrap();
    if !cfg!(feature = "mujoco") {
        let robots: Vec<&Value> = results.iter().filter(|r| r["task"].as_str().unwrap().starts_with("mamujoco/")).collect();
        let missing =
            |r: &&Value| r["missing"].as_str().is_some_and(|why| why.contains("MuJoCo") && why.contains("motley doctor"));
        assert!(!robots.is_empty() && robots.iter().all(missing), "without the engine no robot can be run");
    }
    assert_eq!(of("harl-spread-discrete/mappo")["value"].as_f64(), Some(-59.5));
}

/// What makes a tiny learner of the matrix games; its learning rate decays.
const SHORT: &str = "num_envs=10 net.hidden_sizes=[16] algo.rollout_steps=25 algo.lr=0.005 algo.critic_lr=0.005 \
                     algo.lr_decay=true eval.every=2000 eval.episodes=4";

/// A part of the budget is the beginning of the whole: half of it and then the rest is, bit for bit, all of it at once.
#[test]
fn a_fraction_goes_on_as_the_run_that_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let reproduce = |part: &str, out: &str| {
        let words = format!("reproduce epymarl-penalty-0/ippo --seeds 1 --steps-fraction {part} --out {out} {SHORT}");
        let (code, told, err) = motley(dir.path(), &words);
        assert!(code == 0 && told.contains("preset ippo/epymarl, num_envs=10"), "{told} {err}");
    };
    reproduce("0.0001", "parts");
    reproduce("0.0002", "parts");
    reproduce("0.0002", "straight");
    let state = |out: &str| std::fs::read(dir.path().join(out).join("s0/checkpoints/step-4000/state.safetensors")).unwrap();
    assert!(state("parts") == state("straight"), "the states differ");
    let evaluated = |out: &str| std::fs::read_to_string(dir.path().join(out).join("s0/eval.jsonl")).unwrap();
    assert_eq!(evaluated("parts"), evaluated("straight"));
    // A run whose schedules end elsewhere is another one.
    let config = dir.path().join("parts/s0/config.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("schedule_steps = 20000000", "schedule_steps = 0");
    std::fs::write(&config, text).unwrap();
    let words = format!("reproduce epymarl-penalty-0/ippo --seeds 1 --steps-fraction 0.0003 --out parts {SHORT}");
    let (code, _, err) = motley(dir.path(), &words);
    assert!(code == 2 && err.contains("schedule_steps = 0"), "{err}");
}

/// Finished runs are judged as they lie there: within the band, below and above it, better than the payoffs allow. Runs that cannot be read
/// are runs that failed, whatever their words.
#[test]
fn verdicts_have_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let words = |part: &str| format!("reproduce epymarl-penalty-25/ippo --seeds 1 --steps-fraction {part} {SHORT}");
    assert_eq!(motley(dir.path(), &words("0.0001")).0, 0);
    let run = dir.path().join("runs/reproduce/epymarl-penalty-25/ippo/s0");
    let read = |name: &str| std::fs::read_to_string(run.join(name)).unwrap();
    let mut info: Value = serde_json::from_str(&read("run.json")).unwrap();
    info["env_steps"] = 20_000_000.into();
    std::fs::write(run.join("run.json"), info.to_string()).unwrap();
    let mut line: Value = serde_json::from_str(read("eval.jsonl").lines().next().unwrap()).unwrap();
    // Two evaluations: how lucky a single one was nobody knows, so it is never impossible.
    let mut judged = |value: Value| {
        line["return"] = value;
        let lines = [19_000_000, 20_000_000].map(|steps: u64| {
            line["env_steps"] = steps.into();
            format!("{line}\n")
        });
        std::fs::write(run.join("eval.jsonl"), lines.concat()).unwrap();
        motley(dir.path(), &format!("{} --json", words("1")))
    };
    for (value, code, verdict) in [(48.0, 0, "reached"), (20.0, 4, "missed"), (100.0, 0, "above"), (300.0, 4, "impossible")] {
        let (found, out, err) = judged(value.into());
        let done = &events(&out, "done")[0];
        assert_eq!((found, done["verdict"].as_str(), done["value"].as_f64()), (code, Some(verdict), Some(value)), "{err}");
        assert_eq!((done["band_low"].as_f64(), done["band_high"].as_f64()), (Some(45.0), Some(55.0)));
    }
    let (code, _, err) = judged(Value::Null);
    assert!(code == 1 && err.contains("epymarl-penalty-25/ippo: no verdict") && err.contains("not finite"), "{code} {err}");
    judged(48.0.into());
    let (_, out, _) = motley(dir.path(), &words("1"));
    assert!(out.contains("ippo: reached\nours 48.0 (one seed) at") && !out.contains("interval"), "{out}");
    std::fs::write(run.join("eval.jsonl"), "").unwrap();
    let (code, _, err) = motley(dir.path(), &words("1"));
    assert!(code == 1 && err.contains("1 of 1 runs have no evaluation: no verdict"), "{code} {err}");
}

#[test]
fn noise_costs_return_and_none_costs_none() {
    let dir = tempfile::tempdir().unwrap();
    let run: PathBuf = dir.path().join("run");
    let train = "train ippo mpe/simple_v3 num_envs=20 total_steps=30000 net.hidden_sizes=[32] algo.rollout_steps=50 algo.lr=0.005 \
                 algo.critic_lr=0.005 eval.every=30000 --out run --quiet";
    assert_eq!(motley(dir.path(), train).0, 0);
    assert!(run.join("policy").is_dir());
    let (code, out, err) = motley(dir.path(), "eval run --noise obs=0..4/3 --json");
    assert_eq!(code, 0, "{err}");
    let levels: Vec<f64> = events(&out, "eval").iter().map(|e| e["eval_return_mean"].as_f64().unwrap()).collect();
    let (_, out, _) = motley(dir.path(), "eval run --json");
    assert_eq!(levels[0], events(&out, "eval")[0]["eval_return_mean"].as_f64().unwrap());
    assert!(levels.len() == 3 && levels[2] < levels[0] - 1.0, "{levels:?}");
    let (code, _, err) = motley(dir.path(), "eval run --noise obs=0..1,agents=nobody");
    assert!(code == 2 && err.contains("nobody") && err.contains("agent_0"), "{err}");
}

/// Every member of the graph family trains, keeps a bundle that plays, and tells how unlike unshared policies behave.
#[test]
fn the_graph_family_trains_plays_and_tells_its_diversity() {
    let dir = tempfile::tempdir().unwrap();
    let small = "vmas/het_mass num_envs=2 total_steps=160 algo.rollout_steps=20 algo.ppo_epochs=2 algo.critic_epochs=1 \
                 net.hidden_sizes=[8] net.message_width=8 eval.every=80 eval.episodes=2 task.max_steps=20 --quiet";
    for (name, algo, flags, apart) in [
        ("het", "hetgppo", "algo.start_equal=false", true),
        ("shared", "hetgppo", "algo.shared_critic=true", true),
        ("all", "gppo", "", false),
        ("gappo", "gppo", "algo.critic=state", false),
        ("cppo", "gppo", "algo.actor=central algo.critic=state net.trunk=mlp", false),
    ] {
        let (code, _, err) = motley(dir.path(), &format!("train {algo} {small} {flags} --out {name}"));
        assert_eq!(code, 0, "{name}: {err}");
        let metrics = std::fs::read_to_string(dir.path().join(name).join("metrics.jsonl")).unwrap();
        let logged: Vec<f64> = metrics
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap())
            .filter_map(|line| line["eval/behavioural_distance"].as_f64())
            .collect();
        assert_eq!(logged.is_empty(), !apart, "{name}: {logged:?}");
        assert!(logged.iter().all(|d| *d > 0.0), "{name}: {logged:?}");
        let (code, out, err) = motley(dir.path(), &format!("eval {name} --episodes 2 --json"));
        let distance = events(&out, "eval")[0]["behavioural_distance"].as_f64();
        assert!(code == 0 && distance.is_some() == apart, "{name}: {err}");
        let (code, _, err) = motley(dir.path(), &format!("render {name} -o {name}.gif --width 100"));
        assert!(code == 0 && dir.path().join(format!("{name}.gif")).is_file(), "{name}: {err}");
    }
    let (code, out, err) = motley(dir.path(), "eval het --noise act=0..0.5/2,agents=agent_0 --episodes 2 --json");
    assert!(code == 0 && events(&out, "eval")[1]["noise_on"] == "act", "{err}");
    for run in ["cppo", "het", "gappo", "shared"] {
        let (code, out, err) = motley(dir.path(), &format!("export {run} --out {run}.onnx --json"));
        let written = &events(&out, "exported")[0];
        assert!(code == 0 && dir.path().join(format!("{run}.onnx")).is_file(), "{run}: {err}");
        assert!(written["joint"] == true && written["verified"] == cfg!(feature = "verify-onnx"), "{run}: {written}");
        assert_eq!(err.contains("not verified"), !cfg!(feature = "verify-onnx"), "{run}: {err}");
    }
}

//! Disks that fail, checkpoints that are broken or somebody else's, two runs in one folder (K2, K3, K5, K9, K10 of the list of
//! faults). What the checkpoints themselves survive is tried in `motley-run`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults_common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use faults_common::*;
use motley_core::{ConfigError, Env, Key, Kind, Purpose, Stream, Task, TaskOptions};
use motley_run::{RealDisk, RunFolder, RunStatus, read_bundle, write_bundle};
use motley_testkit::probe::{Probe, ProbeEnv};
use motley_train::{Event, Request, Trainer};

const SPREAD: &str = "mpe/simple_spread_v3";

fn state_file(run: &Path, step: u64) -> std::path::PathBuf {
    run.join(format!("checkpoints/step-{step}/state.safetensors"))
}

fn damage(path: &Path, how: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    match how {
        0 => bytes.truncate(bytes.len() / 2),
        1 => bytes.clear(),
        2 => {
            let at = Stream::new(1, Purpose::Check, 0, 0).below(bytes.len() as u32) as usize;
            bytes[at] ^= 1;
        }
        _ => return std::fs::remove_file(path).unwrap(),
    }
    std::fs::write(path, bytes).unwrap();
}

/// K3: a checkpoint that is truncated, emptied, changed in one bit or missing is passed over with a warning, and the run ends as
/// it would have; where none is whole it is an error, never a start from scratch.
#[test]
fn broken_checkpoints_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    let (code, _, err) = ends(train_command("happo", &[], &a));
    assert_eq!(code, 0, "{err}");
    let done = print(&a);
    let steps = store(&a).steps().unwrap();
    let (newest, older) = (steps[steps.len() - 1], steps[steps.len() - 2]);
    assert_eq!(newest, done.step);
    for how in 0..4 {
        let run = copy(&a, &dir.path().join(format!("broken-{how}")));
        damage(&state_file(&run, newest), how);
        let (code, _, err) = ends(resume_command(&run, &[]));
        assert!(
            code == 0 && err.contains(&format!("going on from step-{older}")) && err.contains("state.safetensors"),
            "{how}: {code} {err}"
        );
        print(&run).must_equal(&done, &format!("damage {how}"));
    }
    let run = copy(&a, &dir.path().join("hopeless"));
    steps.iter().for_each(|step| damage(&state_file(&run, *step), 2));
    let (code, _, err) = ends(resume_command(&run, &[]));
    assert!(code == 1 && err.contains("no checkpoint that is whole"), "{code} {err}");
    std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let (code, _, err) = ends(resume_command(&run, &[]));
    assert!(code == 1 && err.contains("holds no checkpoint"), "{code} {err}");
    std::fs::write(run.join("run.json"), "{").unwrap();
    assert_eq!(ends(resume_command(&run, &[])).0, 1);
    std::fs::remove_file(run.join("run.json")).unwrap();
    assert_eq!(ends(resume_command(&run, &[])).0, 2, "no run at all");
}

/// K5: checkpoints of another algorithm, task, or layer sizes are refused by name, and nothing in the folder changes.
#[test]
fn foreign_checkpoints_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    assert_eq!(ends(train_command("happo", &["total_steps=400"], &a)).0, 0);
    assert_eq!(ends(train_command("mappo", &["total_steps=400", "task.continuous=true"], &b)).0, 0);
    let run = copy(&a, &dir.path().join("foreign"));
    std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
    copy(&b.join("checkpoints"), &run.join("checkpoints"));
    let before = std::fs::read(run.join("metrics.jsonl")).unwrap();
    let (code, _, err) = ends(resume_command(&run, &["total_steps=800"]));
    assert!(
        code == 2
            && err.contains("belongs to another run")
            && err.contains("expected \"happo\", found \"mappo\"")
            && err.contains("team.agents[0].action"),
        "{code} {err}"
    );
    assert_eq!(std::fs::read(run.join("metrics.jsonl")).unwrap(), before);

    let run = copy(&a, &dir.path().join("wider"));
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("hidden_sizes = [16]"));
    std::fs::write(run.join("config.toml"), config.replace("hidden_sizes = [16]", "hidden_sizes = [24]")).unwrap();
    let (code, _, err) = ends(resume_command(&run, &["total_steps=800"]));
    assert!(code == 2 && err.contains("net.hidden_sizes = [24]") && err.contains("[16]"), "{code} {err}");
    assert_eq!(std::fs::read(run.join("metrics.jsonl")).unwrap(), before);
    for (word, expected) in
        [("num_envs=8", "num_envs"), ("algo.lr=0.1", "algo.lr"), ("algo.ls=0.1", "did you mean"), ("seed=4", "seed")]
    {
        let (code, _, err) = ends(resume_command(&a, &[word]));
        assert!(code == 2 && err.contains(expected), "{word}: {code} {err}");
    }
}

/// K9: a folder in use is refused with the process that holds it; a finished run is not written over.
#[test]
fn two_runs_in_one_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut command = train_command("happo", &["total_steps=1000000"], &run);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !run.join("checkpoints/latest").exists() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let (code, _, err) = ends(resume_command(&run, &[]));
    assert!(code == 2 && err.contains(&format!("process {}", child.id())), "{code} {err}");
    let (code, _, err) = ends(train_command("happo", &[], &run));
    assert!(code == 2 && err.contains("already holds a run") && err.contains("--resume"), "{code} {err}");
    child.kill().unwrap();
    child.wait().unwrap();
    let little_more = format!("total_steps={}", latest(&run).step + 80);
    let (code, _, err) = ends(resume_command(&run, &[&little_more]));
    assert!(code == 0 && err.contains("taken over"), "the lock of a dead process: {code} {err}");
}

/// A task whose environment is given a secret, deep in a setting.
struct Guarded;

impl Task for Guarded {
    fn name(&self) -> String {
        "test/guarded".into()
    }

    fn summary(&self) -> String {
        "for tests".into()
    }

    fn keys(&self) -> Vec<Key> {
        vec![Key::new("task.kwargs", toml::Table::new(), Kind::Any, "keyword arguments")]
    }

    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        let token = options.value("kwargs")?.get("login").and_then(|l| l.get("api_token")).and_then(toml::Value::as_str);
        assert_eq!(token, Some("s3cr3t"), "the environment gets what was given");
        Ok(Box::new(ProbeEnv::new(Probe::RaggedFp, 10)))
    }
}

/// Every file below a folder.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// K11: a secret, however deep in a setting, is in no file of the run; a resumed run takes it from the environment or the command
/// line, and refuses to go on without it. The answer shows it nowhere.
#[test]
fn secrets_are_in_no_file() {
    let (registry, dir) = (registry().with_task(Guarded), tempfile::tempdir().unwrap());
    let run = dir.path().join("run");
    let given = "task.kwargs={login={api_token=\"s3cr3t\", user=\"me\"}}";
    whole(&registry, "ippo", "test/guarded", &[given], &run);
    let all = files(&run);
    assert!(all.iter().any(|f| f.ends_with("manifest.json")) && all.iter().any(|f| f.ends_with("policy.json")));
    for file in all {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"s3cr3t"), "{}", file.display());
    }
    let go_on = |environment: &[(&str, &str)], words: &[&str]| {
        let folder = RunFolder::open(&run).unwrap();
        let text = |x: &&str| (*x).to_owned();
        let request = Request {
            algo: "ippo".into(),
            task: "test/guarded".into(),
            file: None,
            environment: environment.iter().map(|(a, b)| (text(a), text(b))).collect(),
            overrides: words.iter().map(text).collect(),
            consent: motley_train::Consent::default(),
        };
        let plan = request.resume(&registry, &folder.config().unwrap(), false).map_err(|e| e.to_string())?;
        let loaded = latest(&run);
        let mut trainer = Trainer::resume(plan, folder, &loaded).map_err(|e| e.to_string())?;
        Ok::<u64, String>(train(&mut trainer, u64::MAX).0.unwrap().env_steps)
    };
    let refused = go_on(&[], &["total_steps=2080"]).unwrap_err();
    for text in ["task.kwargs.login.api_token", "MOTLEY__TASK__KWARGS", "task.kwargs=..."] {
        assert!(refused.contains(text), "{refused}");
    }
    let refused = go_on(&[], &["task.kwargs={login={api_token=\"s3cr3t\", user=\"you\"}}"]).unwrap_err();
    assert!(refused.contains("a resumed run keeps task.kwargs") && !refused.contains("s3cr3t"), "{refused}");
    assert_eq!(go_on(&[], &[given, "total_steps=2080"]), Ok(2080));
    let value = given.split_once('=').unwrap().1;
    assert_eq!(go_on(&[("MOTLEY__TASK__KWARGS", value)], &["total_steps=2160"]), Ok(2160));
    assert!(files(&run).iter().all(|f| !String::from_utf8_lossy(&std::fs::read(f).unwrap()).contains("s3cr3t")));
}

/// K10: where checkpoints can no longer be written, training goes on and says so at each, and the exit code records it.
#[test]
fn a_vanished_folder_does_not_stop_training() {
    let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
    let run = dir.path().join("run");
    let mut trainer = start(&registry, "ippo", SPREAD, &[], &run).unwrap();
    let (mut gone, mut warnings) = (false, Vec::new());
    let outcome = trainer.train(&AtomicBool::new(false), &mut |event| match event {
        Event::Progress { env_steps: 960.., .. } if !gone => {
            gone = true;
            std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
            std::fs::write(run.join("checkpoints"), "in the way").unwrap();
        }
        Event::Warning(text) => warnings.push(text.clone()),
        _ => {}
    });
    let outcome = outcome.unwrap();
    assert!(outcome.finished && outcome.env_steps == 2000 && outcome.checkpoint_failed);
    let info = trainer.folder().info().unwrap();
    assert!(info.status == RunStatus::Failed && info.reason.unwrap().contains("could not be made durable"), "it is not done");
    assert!(warnings.iter().any(|w| w.contains("checkpoint at 1200 steps failed")), "{warnings:?}");
}

/// K10: a run folder that is renamed under a run takes the logs along; that nothing is saved any more is told, and no half of a run
/// folder is left in the old place.
#[test]
fn a_renamed_run_folder_is_told() {
    let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
    let (run, moved) = (dir.path().join("run"), dir.path().join("moved"));
    let mut trainer = start(&registry, "ippo", SPREAD, &[], &run).unwrap();
    let mut warnings = Vec::new();
    let outcome = trainer.train(&AtomicBool::new(false), &mut |event| match event {
        Event::Progress { env_steps: 960.., .. } if run.exists() => std::fs::rename(&run, &moved).unwrap(),
        Event::Warning(text) => warnings.push(text.clone()),
        _ => {}
    });
    assert!(outcome.is_err() || outcome.is_ok_and(|o| o.env_steps == 2000 && o.checkpoint_failed));
    assert!(warnings.iter().any(|w| w.contains("checkpoint at 1200 steps failed")), "{warnings:?}");
    drop(trainer);
    assert!(!run.exists(), "{:?}", files(&run));
    assert_eq!(latest(&moved).step, 800);
}

/// A best policy that cannot be written is none: the next one is tried again, and a run that ends without it is not done.
#[test]
fn a_best_policy_that_cannot_be_written_is_not_forgotten() {
    for mended in [false, true] {
        let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
        let run = dir.path().join("run");
        let mut trainer = start(&registry, "ippo", SPREAD, &["eval.every=80"], &run).unwrap();
        let mut warnings = Vec::new();
        let outcome = trainer.train(&AtomicBool::new(false), &mut |event| match event {
            Event::Started { .. } => std::fs::write(run.join("policy"), "in the way").unwrap(),
            Event::Progress { env_steps: 960, .. } if mended => std::fs::remove_file(run.join("policy")).unwrap(),
            Event::Warning(text) => warnings.push(text.clone()),
            _ => {}
        });
        let outcome = outcome.unwrap();
        assert!(outcome.finished && outcome.policy_failed != mended && !outcome.checkpoint_failed, "{outcome:?}");
        let told = warnings.iter().filter(|w| w.contains("the best policy could not be written")).count();
        // Each evaluation is better than what is written, which is nothing.
        assert_eq!(told, if mended { 11 } else { 25 }, "{warnings:?}");
        assert_eq!(run.join("policy/policy.json").is_file(), mended);
        let info = trainer.folder().info().unwrap();
        assert_eq!(info.status, if mended { RunStatus::Done } else { RunStatus::Failed });
        assert!(mended || info.reason.unwrap().contains("the best policy could not be written"));
    }
}

/// A stop whose checkpoint fails has saved nothing: it is no stop that a sweep may take for one.
#[test]
fn a_stop_that_could_not_save_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut trainer = start(&registry(), "ippo", SPREAD, &["eval.every=100000", "log.checkpoint_every=100000"], &run).unwrap();
    let (stop, checkpoints) = (AtomicBool::new(false), run.join("checkpoints"));
    let outcome = trainer.train(&stop, &mut |event| {
        if let Event::Progress { env_steps: 160, .. } = event {
            std::fs::rename(&checkpoints, run.join("elsewhere")).unwrap();
            std::fs::write(&checkpoints, "in the way").unwrap();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let outcome = outcome.unwrap();
    assert!(!outcome.finished && outcome.checkpoint_failed, "{outcome:?}");
    let info = trainer.folder().info().unwrap();
    assert!(info.status == RunStatus::Failed && info.reason.unwrap().contains("could not be made durable"));
}

/// The command with a limit on the size of files, as on a full disk; `$1` is the run folder.
#[cfg(target_os = "linux")]
fn limited(words: &str, run: &Path) -> (i32, String, String) {
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("ulimit -f 60; exec \"$0\" {words}")).arg(env!("CARGO_BIN_EXE_motley")).arg(run);
    ends(command)
}

/// Networks whose checkpoints are larger than the limit.
#[cfg(target_os = "linux")]
const LARGE: [&str; 2] = ["net.hidden_sizes=[64,64]", "log.tensorboard=false"];

/// K2: a disk that has no room for the first checkpoint is an error before anything is trained, with exit code 1.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_refused_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let (code, out, err) = limited(&format!("train happo {SPREAD} {} --json --out \"$1\"", words(&LARGE).join(" ")), &run);
    let last = out.lines().last().unwrap();
    assert!(last.starts_with("{\"event\":\"error\",\"exit_code\":1"), "{last}");
    assert!(code == 1 && err.contains("without a first checkpoint") && err.contains("make room on the disk"), "{code} {err}");
    assert_eq!(store(&run).steps().unwrap(), [] as [u64; 0]);
    assert_eq!(std::fs::read_to_string(run.join("metrics.jsonl")).unwrap(), "");
    assert_eq!(RunFolder::open(&run).unwrap().info().unwrap().status, RunStatus::Failed);
}

/// K2: a disk that is full later does not end training; there is no torn checkpoint, the exit code is 1, and the message names the step
/// from which the run goes on.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_does_not_stop_training() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let (code, _, err) = ends(train_command("happo", &[&LARGE[..], &["total_steps=400"]].concat(), &run));
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = limited("train --resume \"$1\" total_steps=2000 --json", &run);
    let last = out.lines().last().unwrap();
    assert!(last.starts_with("{\"event\":\"error\",\"exit_code\":1") && !out.contains("\"event\":\"done\""), "{last}");
    assert!(
        code == 1
            && err.contains("checkpoint at 800 steps failed, training goes on")
            && err.contains("could not be made durable")
            && err.contains(&format!("motley train --resume {} goes on from the checkpoint at 400 env steps", run.display())),
        "{code} {err}"
    );
    assert_eq!(store(&run).steps().unwrap().last(), Some(&400));
    assert!(
        !std::fs::read_dir(run.join("checkpoints")).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().contains("tmp"))
    );
    assert_eq!(std::fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().filter(|l| l.contains("loss/")).count(), 25);
    let (code, _, err) = ends(resume_command(&run, &["total_steps=2000"]));
    assert!(code == 0 && err.contains("at 400 steps"), "as the message said: {code} {err}");
}

/// K10: a folder that cannot be written to is an error before anything is trained.
#[test]
fn an_unwritable_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let (code, _, err) = ends(train_command("happo", &[], &dir.path().join("file/run")));
    assert!(code == 1 && err.contains("cannot create"), "{code} {err}");
}

/// S1: a task that runs code is not opened because a file names it. Hashes have no key: whoever writes a bundle can compute them.
#[test]
fn code_that_a_file_names_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let (run, planted) = (dir.path().join("run"), dir.path().join("planted"));
    let mut command = train_command("happo", &["total_steps=400"], &run);
    command.env("XDG_CONFIG_HOME", dir.path().join("settings"));
    assert_eq!(ends(command).0, 0);
    assert!(!dir.path().join("settings").exists(), "native tasks need no key");
    let call = "py:subprocess:getoutput";
    let kwargs: toml::Table = format!("cmd = 'touch {}'", planted.display()).parse().unwrap();
    let refused = |words: &[&str]| {
        let mut command = motley(words);
        command.env("XDG_CONFIG_HOME", dir.path().join("settings")).env_remove("MOTLEY_TRUST");
        let (code, _, err) = ends(command);
        let told = err.contains("would call subprocess.getoutput(cmd=\"touch ") && err.contains("add --trust");
        assert!(code == 2 && told && !planted.exists(), "{words:?}: {code} {err}");
    };
    let (bundle, folder, out) = (dir.path().join("bundle"), dir.path().join("folder"), dir.path().join("out.gif"));
    let [bundle, folder, out] = [&bundle, &folder, &out].map(|path| path.to_str().unwrap());
    let mut forged = read_bundle(&RealDisk, &run.join("policy")).unwrap();
    forged.policy["task"] = call.into();
    forged.policy["config"]["task"] = serde_json::json!({ "kwargs": kwargs });
    forged.policy.insert("signed".into(), "0".repeat(64).into());
    write_bundle(&RealDisk, Path::new(bundle), &forged).unwrap();
    refused(&["eval", bundle]);
    refused(&["render", bundle, "-o", out]);
    // The settings of one call are not those of another that is named here.
    refused(&["eval", bundle, "--task", call]);
    copy(&run, Path::new(folder));
    let info = std::fs::read_to_string(run.join("run.json")).unwrap().replace(SPREAD, call);
    std::fs::write(Path::new(folder).join("run.json"), info).unwrap();
    let config: toml::Table = std::fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    // A key may be written in two ways.
    for (name, value) in
        [("task", toml::Table::from_iter([("kwargs".to_owned(), kwargs.clone().into())])), ("task.kwargs", kwargs.clone())]
    {
        let mut config = config.clone();
        config.remove("task");
        config.insert(name.to_owned(), value.into());
        std::fs::write(Path::new(folder).join("config.toml"), config.to_string()).unwrap();
        refused(&["train", "--resume", folder]);
        refused(&["eval", folder, "--checkpoint", "latest"]);
        refused(&["render", folder, "--checkpoint", "latest", "-o", out]);
        refused(&["export", folder, "--checkpoint", "latest", "-o", out]);
    }
    let (code, _, err) = ends(motley(&["train", "happo", SPREAD, "--trust"]));
    assert!(code == 2 && err.contains("--resume"), "{code} {err}");
}

/// A folder of two runs is refused: which seed goes on could not be told.
#[test]
fn two_seeds_in_one_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    assert_eq!(ends(train_command("happo", &["total_steps=400"], &run)).0, 0);
    let info = std::fs::read_to_string(run.join("run.json")).unwrap();
    assert!(info.contains("\"seed\": 0,"), "{info}");
    std::fs::write(run.join("run.json"), info.replace("\"seed\": 0,", "\"seed\": 7,")).unwrap();
    let before = std::fs::read(run.join("metrics.jsonl")).unwrap();
    let (code, _, err) = ends(resume_command(&run, &["total_steps=800"]));
    assert!(code == 2 && err.contains("config.toml has seed = 0 and run.json has \"seed\": 7"), "{code} {err}");
    assert_eq!(std::fs::read(run.join("metrics.jsonl")).unwrap(), before);
}

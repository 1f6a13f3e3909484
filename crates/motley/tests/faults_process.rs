//! A run that is stopped, killed, taken up again, or given other threads and other habits of logging ends as one never touched
//! (K7, P1 to P3, R1 to R3 of the list of faults).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults_common;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faults_common::*;
use motley_core::ConfigError;
use motley_testkit::env::{Fault, FaultyEnv, When};
use motley_testkit::probe::{Probe, ProbeEnv};

const RECURRENT: &str = "net.recurrent=true";

/// K7: every algorithm, feed-forward and recurrent, discrete, continuous and unlike agents, stopped at three points.
#[test]
fn a_stopped_run_goes_on_as_if_never_stopped() {
    let registry = registry();
    let teams: [(&str, &[&str]); 5] = [
        ("mpe/simple_spread_v3", &[]),
        ("mpe/simple_spread_v3", &["task.continuous=true", RECURRENT]),
        ("probe/ragged_fp", &[]),
        ("probe/ragged_ep", &[RECURRENT]),
        // For those that take neither boxes nor unlike agents.
        ("mpe/simple_spread_v3", &[RECURRENT]),
    ];
    for spec in registry.algorithms.iter() {
        let has_memory = spec.keys().iter().any(|key| key.name == "net.recurrent");
        let (mut plain, mut recurrent) = (0, 0);
        for (task, settings) in teams {
            let dir = tempfile::tempdir().unwrap();
            if settings == [RECURRENT] && task == SPREAD && (recurrent > 0 || !has_memory) {
                continue;
            }
            match plan(&registry, spec.name(), task, settings) {
                Ok(_) => {}
                Err(ConfigError::Room { why, .. }) => panic!("{} on {task}: {why}", spec.name()),
                Err(_) => continue,
            }
            let what = format!("{} {task} {settings:?}", spec.name());
            let a = whole(&registry, spec.name(), task, settings, &dir.path().join("a"));
            let b = dir.path().join("b");
            let mut trainer = start(&registry, spec.name(), task, settings, &b).unwrap();
            for cut in [80, 640, 1250] {
                let outcome = train(&mut trainer, cut).0.unwrap();
                assert!(!outcome.finished && outcome.env_steps >= cut, "{what}: {outcome:?}");
                drop(trainer);
                trainer = resume(&registry, &b, &[]).unwrap();
            }
            assert!(train(&mut trainer, u64::MAX).0.unwrap().finished);
            drop(trainer);
            print(&b).must_equal(&a, &what);
            *(if has_memory && settings.contains(&RECURRENT) { &mut recurrent } else { &mut plain }) += 1;
        }
        assert!(plain > 0 && (recurrent > 0) == has_memory, "{}: {plain} without, {recurrent} with a memory", spec.name());
    }
}

/// The beginning of a run with the horizon of the whole, and then the rest of it, is the whole: learning rates decay alike.
#[test]
fn a_part_of_the_budget_is_the_beginning_of_the_whole() {
    let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
    for (algo, task) in [("mappo", "probe/ragged_ep"), ("haddpg", "mpe/simple_spread_v3"), ("vdn", "mpe/simple_spread_v3")] {
        let (a, b, c) =
            (dir.path().join(format!("{algo}-a")), dir.path().join(format!("{algo}-b")), dir.path().join(format!("{algo}-c")));
        let own = ["algo.lr_decay=true", "eval.every=400", if algo == "haddpg" { "task.continuous=true" } else { "seed=3" }];
        let with = |more: &[&'static str]| [&own[..], more].concat();
        let straight = whole(&registry, algo, task, &with(&["total_steps=1200"]), &a);
        whole(&registry, algo, task, &with(&["total_steps=400", "schedule_steps=1200"]), &b);
        let mut rest = resume(&registry, &b, &["total_steps=1200"]).unwrap();
        let (outcome, warnings) = train(&mut rest, u64::MAX);
        assert!(outcome.unwrap().finished && warnings.is_empty(), "{warnings:?}");
        drop(rest);
        print(&b).must_equal(&straight, algo);
        // Without a horizon of its own the part decays to nothing, and going on says that it is another run.
        whole(&registry, algo, task, &with(&["total_steps=400"]), &c);
        let mut other = resume(&registry, &c, &["total_steps=1200"]).unwrap();
        let (_, warnings) = train(&mut other, u64::MAX);
        assert!(warnings.iter().any(|w| w.contains("decayed towards 400")), "{warnings:?}");
        drop(other);
        assert!(print(&c).state != straight.state, "{algo}: the schedules differ");
    }
}

/// A finished run taken up again adds nothing; with a larger budget it goes on.
#[test]
fn a_finished_run_stays_as_it_is() {
    let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
    let a = whole(&registry, "ippo", "probe/ragged_ep", &[], dir.path());
    for _ in 0..2 {
        let outcome = train(&mut resume(&registry, dir.path(), &[]).unwrap(), u64::MAX).0.unwrap();
        assert!(outcome.finished && outcome.eval.is_some());
        print(dir.path()).must_equal(&a, "nothing was left to do");
    }
    let mut trainer = resume(&registry, dir.path(), &["total_steps=2400"]).unwrap();
    assert_eq!(train(&mut trainer, u64::MAX).0.unwrap().env_steps, 2400);
    let changes = trainer.folder().info().unwrap().changes;
    let change = changes.iter().find(|c| c.key == "total_steps").unwrap();
    assert!(change.to == 2400 && change.from != 2400 && change.env_steps > 0, "{changes:?}");
    drop(trainer);
    assert!(print(dir.path()).metrics.len() > a.metrics.len());
    let refused = resume(&registry, dir.path(), &["algo.gamma=0.5"]).err().unwrap().to_string();
    assert!(refused.contains("algo.gamma") && refused.contains("0.5"), "{refused}");
}

const SPREAD: &str = "mpe/simple_spread_v3";

/// `SPREAD`; `see` is told the number of each copy before it is made. One copy is asked for the team, four train, and then four make
/// each evaluation: after 640, 1200, 1840 and 2000 env steps.
fn seen(see: impl Fn(usize) + Send + Sync + 'static) -> motley_train::Registry {
    let task = registry().tasks.get(SPREAD).unwrap();
    let options = motley_envs::registry::options(&*task, &[]).unwrap();
    registry_with(SPREAD, move |copy| {
        see(copy);
        task.make(&options).unwrap()
    })
}

/// P1: a stop in an evaluation is answered there, and the evaluation is made up when the run goes on: it ends as one never stopped. So
/// does one that is killed there, and where a checkpoint was due at that step too it loses nothing but the evaluation.
#[test]
fn an_evaluation_that_is_cut_is_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let calm = seen(|_| {});
    let a = whole(&calm, "happo", SPREAD, &[], &dir.path().join("a"));
    assert!(a.metrics.iter().any(|line| line.contains("behavioural_distance")), "what no checkpoint holds is told too");
    for (cut, step) in [(6, 640), (10, 1200), (14, 1840), (18, 2000)] {
        let (b, c) = (dir.path().join(format!("b{cut}")), dir.path().join(format!("c{cut}")));
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, from, to) = (Arc::clone(&stop), b.clone(), c.clone());
        let registry = seen(move |copied| {
            if copied == cut {
                copy(&from, &to);
                asked.store(true, Ordering::Relaxed);
            }
        });
        let mut trainer = start(&registry, "happo", SPREAD, &[], &b).unwrap();
        let outcome = trainer.train(&stop, &mut |_| {}).unwrap();
        assert!(!outcome.finished && outcome.env_steps == step && !outcome.checkpoint_failed, "{outcome:?}");
        assert!(trainer.folder().info().unwrap().evaluation_due);
        drop(trainer);
        assert_eq!(latest(&b).step, step);
        let logged = std::fs::read_to_string(b.join("eval.jsonl")).unwrap();
        assert!(!logged.contains(&format!("\"env_steps\":{step},")), "{logged}");
        // A killed run's lock names a process that is gone; this one is not.
        std::fs::remove_file(c.join(".lock")).unwrap();
        assert!(step % 400 != 0 || latest(&c).step == step, "its checkpoint was there before the evaluation");
        for (run, how) in [(&b, "stopped"), (&c, "killed")] {
            let mut trainer = resume(&calm, run, &[]).unwrap();
            let outcome = train(&mut trainer, u64::MAX).0.unwrap();
            assert!(outcome.finished && outcome.eval.is_some() && !trainer.folder().info().unwrap().evaluation_due);
            drop(trainer);
            print(run).must_equal(&a, &format!("{how} in the evaluation at {step}"));
            let best = store(run).best().unwrap();
            assert_eq!(best, store(&dir.path().join("a")).best().unwrap(), "{how} at {step}");
        }
    }
}

/// Killed between the checkpoint of the best evaluation and its mark, a run marks it when it goes on.
#[test]
fn a_best_checkpoint_without_its_mark_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = start(&registry(), "ippo", SPREAD, &["eval.every=80"], dir.path()).unwrap();
    let stop = AtomicBool::new(false);
    let outcome = trainer.train(&stop, &mut |event| {
        if let motley_train::Event::Evaluated { .. } = event {
            stop.store(true, Ordering::Relaxed);
        }
    });
    assert!(!outcome.unwrap().finished);
    drop(trainer);
    assert_eq!(
        (latest(dir.path()).step, store(dir.path()).best().unwrap()),
        (80, Some(80)),
        "the first evaluation is the best so far"
    );
    std::fs::remove_file(dir.path().join("checkpoints/best")).unwrap();
    resume(&registry(), dir.path(), &[]).unwrap();
    assert_eq!(store(dir.path()).best().unwrap(), Some(80));
}

/// An environment without snapshots is brought back by its actions; one that does not obey its seed is told, and training goes on.
#[test]
fn environments_without_snapshots_are_replayed() {
    let name = "probe/ragged_ep";
    let faulty =
        || FaultyEnv::new(Box::new(ProbeEnv::new(Probe::RaggedEp, 30)), Fault::StepError, When::Chance(0.01)).without_snapshots();
    let obedient = registry_with(name, move |_| Box::new(faulty()));
    let dir = tempfile::tempdir().unwrap();
    let a = whole(&obedient, "mappo", name, &[], &dir.path().join("a"));
    let b = dir.path().join("b");
    let mut trainer = start(&obedient, "mappo", name, &[], &b).unwrap();
    for cut in [160, 900] {
        train(&mut trainer, cut).0.unwrap();
        drop(trainer);
        trainer = resume(&obedient, &b, &[]).unwrap();
    }
    let (outcome, warnings) = train(&mut trainer, u64::MAX);
    // The failures of its steps are told; that it is brought back is as it should be.
    let planned = |w: &String| w.contains("a planned failure of step");
    assert!(outcome.unwrap().finished && warnings.iter().all(planned), "{warnings:?}");
    assert!(trainer.folder().info().unwrap().exact_resume);
    drop(trainer);
    print(&b).must_equal(&a, "replayed");

    // It never fails besides (its episodes end sooner), so that the replay is what finds it out.
    let never = || FaultyEnv::new(Box::new(ProbeEnv::new(Probe::RaggedEp, 30)), Fault::StepError, When::EpisodeStep(1000));
    let wild = registry_with(name, move |_| Box::new(never().without_snapshots().ignoring_seeds()));
    let c = dir.path().join("c");
    train(&mut start(&wild, "mappo", name, &[], &c).unwrap(), 500).0.unwrap();
    let mut trainer = resume(&wild, &c, &[]).unwrap();
    let (outcome, warnings) = train(&mut trainer, u64::MAX);
    assert!(outcome.unwrap().finished);
    // Wherever the other episode parts from the old one: in what is seen, in what may be done, or in when it ends.
    for k in 0..4 {
        let told =
            |w: &String| w.contains(&format!("environment {k} could not be brought back")) && w.contains("function of its seed");
        assert!(warnings.iter().any(told), "{k}: {warnings:?}");
    }
    assert!(!trainer.folder().info().unwrap().exact_resume);
}

/// R1, R2: the same seed on 1, 2, 4 threads, and twice. Another seed is another run.
#[test]
fn threads_do_not_change_a_run() {
    let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
    for (algo, settings) in [
        ("happo", vec![]),
        ("mappo", vec![RECURRENT]),
        ("ippo", vec!["task.continuous=true"]),
        ("hatd3", vec!["task.continuous=true"]),
        ("hasac", vec![]),
    ] {
        let run = |name: &str, more: &str| {
            let settings = [settings.as_slice(), &["num_envs=5", more]].concat();
            whole(&registry, algo, "mpe/simple_spread_v3", &settings, &dir.path().join(format!("{algo}-{name}")))
        };
        let one = run("1", "threads=1");
        run("again", "threads=1").must_equal(&one, &format!("{algo} twice"));
        run("2", "threads=2").must_equal(&one, &format!("{algo} on 2 threads"));
        run("4", "threads=4").must_equal(&one, &format!("{algo} on 4 threads"));
        assert!(run("seed", "seed=1").state != one.state);
    }
}

/// R3: how often is evaluated, logged and checkpointed leaves what is learned as it is.
#[test]
fn habits_do_not_change_a_run() {
    let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
    let habits: [&[&str]; 4] = [
        &[],
        &["eval.every=90", "eval.episodes=7", "log.checkpoint_every=1"],
        &["eval.every=1000000", "log.checkpoint_every=1000000", "log.tensorboard=false"],
        &["eval.stochastic=true", "log.keep=5"],
    ];
    let run = |k: usize, h: &&[&str]| whole(&registry, "happo", "mpe/simple_spread_v3", h, &dir.path().join(k.to_string())).state;
    let states: Vec<Vec<u8>> = habits.iter().enumerate().map(|(k, h)| run(k, h)).collect();
    assert!(states.iter().all(|s| *s == states[0]));
}

/// About two seconds of training through the command.
const LONG: [&str; 3] = ["total_steps=12000", "log.checkpoint_every=800", "eval.every=4000"];

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap().success());
}

/// Waits until the run has logged something; false where it ended before.
fn at_work(child: &mut Child, run: &std::path::Path, bytes: u64) -> bool {
    let begin = Instant::now();
    while std::fs::metadata(run.join("metrics.jsonl")).map_or(0, |m| m.len()) < bytes {
        assert!(begin.elapsed() < Duration::from_secs(30), "nothing is logged");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// P1 and P2: SIGTERM gives 75, SIGINT 130, within the grace period; what goes on is the run never stopped.
#[cfg(unix)]
#[test]
fn signals_stop_after_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    assert_eq!(ends(train_command("happo", &LONG, &a)).0, 0);
    let mut child = spawn(train_command("happo", &LONG, &b));
    for (name, code) in [("TERM", 75), ("INT", 130), ("USR1", 75)] {
        let logged = std::fs::metadata(b.join("metrics.jsonl")).map_or(0, |m| m.len());
        assert!(at_work(&mut child, &b, logged + 1), "the run ended before it was stopped");
        let sent = Instant::now();
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "SIG{name}");
        assert!(sent.elapsed() < Duration::from_secs(10));
        let info = std::fs::read_to_string(b.join("run.json")).unwrap();
        assert!(info.contains("\"stopped\""), "{info}");
        child = spawn(resume_command(&b, &[]));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    print(&b).must_equal(&print(&a), "after three signals");
}

/// P1: an update that outlasts the grace period is left, and what goes on from the last checkpoint is the run never stopped.
#[cfg(unix)]
#[test]
fn the_end_of_the_grace_period_does_not_wait_for_the_update() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    // Updates of a good part of a second.
    let slow = ["num_envs=8", "algo.rollout_steps=100", "algo.ppo_epochs=200", "total_steps=4000", "log.checkpoint_every=800"];
    assert_eq!(ends(train_command("happo", &slow, &a)).0, 0);
    let mut command = train_command("happo", &slow, &b);
    let mut child = command.args(["--grace", "0", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(at_work(&mut child, &b, 1), "the run ended before it was stopped");
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(&format!("go on with: motley train --resume {}", b.display())), "{told}");
    let last = String::from_utf8(output.stdout).unwrap();
    assert!(last.lines().last().unwrap().starts_with("{\"event\":\"stopped\",\"run\":"), "{last}");
    assert_eq!(ends(resume_command(&b, &[])).0, 0);
    print(&b).must_equal(&print(&a), "after the end of the grace period");
}

/// P4: the terminal goes, training stays. A stopped run says how it goes on.
#[cfg(unix)]
#[test]
fn a_terminal_that_is_gone_does_not_stop_training() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let longer = ["total_steps=400000", "log.checkpoint_every=800", "eval.every=400000"];
    let mut child = train_command("happo", &longer, &run).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    assert!(at_work(&mut child, &run, 1));
    signal(&child, "HUP");
    let logged = std::fs::metadata(run.join("metrics.jsonl")).unwrap().len();
    assert!(at_work(&mut child, &run, logged + 1), "it went on");
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert!(told.contains(&format!("go on with: motley train --resume {}", run.display())), "{told}");
}

/// P2: a second Ctrl-C does not wait for the update.
#[cfg(unix)]
#[test]
fn a_second_interrupt_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let slow =
        ["num_envs=64", "algo.rollout_steps=500", "algo.ppo_epochs=1000", "net.hidden_sizes=[128,128]", "total_steps=100000"];
    let mut child = spawn(train_command("happo", &slow, &run));
    let begin = Instant::now();
    while !run.join("checkpoints/latest").exists() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "the first one waits for the update");
    let sent = Instant::now();
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(sent.elapsed() < Duration::from_secs(10));
    assert_eq!(latest(&run).step, 0, "the last checkpoint loads");
}

/// P3: killed again and again, the run loses at most what came after its last checkpoint, and ends as one never killed.
#[cfg(unix)]
#[test]
fn a_killed_run_ends_as_one_never_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    assert_eq!(ends(train_command("mappo", &LONG, &a)).0, 0);
    let mut child = spawn(train_command("mappo", &LONG, &b));
    let (mut kills, mut last) = (0, 0);
    for round in 0..30 {
        // Each round lives a little longer, so that some checkpoint is always reached at last.
        std::thread::sleep(Duration::from_millis(60 + 37 * round));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if !b.join("run.json").exists() {
            let _ = std::fs::remove_dir_all(&b);
            child = spawn(train_command("mappo", &LONG, &b));
            continue;
        }
        if b.join("checkpoints/latest").exists() {
            let step = latest(&b).step;
            assert!(step >= last, "progress was lost: {step} after {last}");
            last = step;
        } else {
            let _ = std::fs::remove_dir_all(&b);
            child = spawn(train_command("mappo", &LONG, &b));
            continue;
        }
        child = spawn(resume_command(&b, &[]));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(kills >= 3, "only {kills} kills");
    print(&b).must_equal(&print(&a), &format!("after {kills} kills"));
}

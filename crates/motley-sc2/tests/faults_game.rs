//! Games that are missing, end, hang or break their word: what is said, what it costs, and that nothing is left running.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]
#![cfg(unix)]

mod mock;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mock::{Stage, Trouble};
use motley_core::{Actions, ConfigError, Env, EnvError, FrameBuf, Purpose, Stream};
use motley_envs::Registry;
use rustix::process::{Pid, test_kill_process};

fn stream(k: u64) -> Stream {
    Stream::new(11, Purpose::Check, 0, k)
}

fn make(path: &Path, name: &str, settings: &[&str]) -> Result<Box<dyn Env>, ConfigError> {
    let path = format!("path={}", path.display());
    let settings: Vec<&str> = [path.as_str()].into_iter().chain(settings.iter().copied()).collect();
    motley_sc2::families().into_iter().fold(Registry::default(), Registry::with_family).make(name, &settings)
}

fn stage(troubles: &[Trouble]) -> Stage {
    Stage::new(troubles, Box::new(|battle, _| stream(battle)))
}

/// Resets, and steps with everybody told to stop until something fails or so many steps are over.
fn play(env: &mut dyn Env, steps: usize) -> Result<(), EnvError> {
    let team = env.spec().clone();
    let mut buf = FrameBuf::new(&team);
    env.reset(stream(0), &mut buf.frame())?;
    for _ in 0..steps {
        let actions = vec![1.0; team.n()];
        env.step(Actions::new(&team, &actions), &mut buf.frame())?;
    }
    Ok(())
}

/// Whether a process runs still (one that only nobody has buried yet does not).
fn running(pid: u32) -> bool {
    let dead = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')));
    !dead && test_kill_process(Pid::from_raw(pid as i32).unwrap()).is_ok()
}

/// Waits a while for a process to go: its guard ends it, and the system takes its time.
fn gone(pid: u32) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while running(pid) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    !running(pid)
}

#[test]
fn a_missing_game_map_or_version_is_said_before_anything_starts() {
    let nowhere = tempfile::tempdir().unwrap();
    let missing = |path: &Path, name: &str, settings: &[&str]| match make(path, name, settings) {
        Err(error @ ConfigError::Missing { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{name} was made"),
    };
    let text = missing(nowhere.path(), "smac/3m", &[]);
    assert!(text.contains("StarCraft II (looked for") && text.contains(nowhere.path().to_str().unwrap()), "{text}");
    let stage = stage(&[Trouble::None]);
    let text = missing(stage.path(), "smac/3m", &["version=4.6.2"]);
    assert!(text.contains("4.6.2 (Base69232)") && text.contains("has 4.10 (Base75689)"), "{text}");
    std::fs::remove_file(stage.path().join("Maps/SMAC_Maps/3m.SC2Map")).unwrap();
    std::fs::remove_file(stage.path().join("Maps/SMAC_Maps/32x32_flat.SC2Map")).unwrap();
    assert!(missing(stage.path(), "smac/3m", &[]).contains("3m.SC2Map"));
    assert!(missing(stage.path(), "smacv2/zerg_5_vs_5", &[]).contains("32x32_flat.SC2Map"));
    assert!(make(stage.path(), "smac/8m", &[]).is_ok());
    assert!(stage.launches().is_empty());
}

#[test]
fn what_goes_wrong_costs_the_episode_and_the_next_reset_starts_another_game() {
    for (trouble, words) in [
        (Trouble::Error, "refused a step: no such loop; sorry"),
        (Trouble::Closed, "was lost during a step"),
        (Trouble::Silence, "did not answer a step within 2 s"),
        (Trouble::Text, "found text"),
        (Trouble::Garbage, "expected a message of its protocol"),
        (Trouble::OtherKind, "one of another kind"),
        (Trouble::OtherId, "one to another, expected an answer to this request"),
        (Trouble::Over, "the game itself has ended"),
        (Trouble::Refused, "refused the creation of the game: error 3 (bad map data)"),
        (Trouble::Build(69232), "the program in Base75689 is of build 69232"),
        (Trouble::Missing, "expected 3 units of the team and 3 foes: is it SMAC's own map"),
        (Trouble::Strangers, "unit types [1, 1, 1], expected 3 marine"),
        (Trouble::Large, "expected a map of 32 x 32 cells"),
    ] {
        let stage = stage(&[trouble, Trouble::None]);
        let patience = if trouble == Trouble::Silence { "step_timeout=2" } else { "step_timeout=60" };
        let mut env = make(stage.path(), "smac/3m", &[patience]).unwrap();
        let error = play(&mut *env, 5).unwrap_err();
        assert!(matches!(error, EnvError::Failed(_)), "{trouble:?}: {error}");
        let text = error.to_string();
        assert!(text.starts_with("smac/3m: ") && text.contains(words), "{trouble:?}: {text}");
        let (first, _) = stage.launches()[0];
        assert!(gone(first), "{trouble:?}: the game was left running");
        assert_eq!(env.won(), None);
        let team = env.spec().clone();
        let mut buf = FrameBuf::new(&team);
        let stale = env.step(Actions::new(&team, &[1.0; 3]), &mut buf.frame());
        assert!(matches!(stale, Err(EnvError::NotRunning(_))), "{trouble:?}: {stale:?}");
        play(&mut *env, 5).unwrap_or_else(|e| panic!("{trouble:?}: {e}"));
        assert_eq!(stage.launches().len(), 2, "{trouble:?}");
    }
}

#[test]
fn a_game_that_is_still_loading_is_waited_for() {
    let stage = stage(&[Trouble::Loading]);
    let mut env = make(stage.path(), "smac/3m", &[]).unwrap();
    play(&mut *env, 3).unwrap();
    assert_eq!(stage.launches().len(), 1);
}

#[test]
fn a_game_that_ends_or_stays_silent_at_its_start_is_told_apart() {
    let ends = "#!/bin/sh\necho 'libGL is not there' >&2\nexit 7\n";
    let silent = "#!/bin/sh\nexec sleep 300\n";
    for (program, settings, words) in [
        (ends, &[][..], &["its process ended (exit status: 7)", "libGL is not there"][..]),
        (silent, &["launch_timeout=0.5"], &["did not answer on port", "within 0.5 s of its start (task.launch_timeout)"]),
    ] {
        let stage = Stage::with_program(program, &[Trouble::None], Box::new(|_, _| stream(0)));
        let mut env = make(stage.path(), "smac/3m", settings).unwrap();
        let text = play(&mut *env, 1).unwrap_err().to_string();
        words.iter().for_each(|word| assert!(text.contains(word), "{text}"));
    }
}

#[test]
fn nothing_is_left_behind() {
    let stage = stage(&[Trouble::None]);
    let mut env = make(stage.path(), "smac/3m", &[]).unwrap();
    play(&mut *env, 2).unwrap();
    let (pid, arguments) = stage.launches().pop().unwrap();
    let folder = PathBuf::from(arguments.split(' ').skip_while(|word| *word != "-tempDir").nth(1).unwrap());
    assert!(running(pid) && folder.is_dir());
    drop(env);
    assert!(gone(pid) && !folder.exists());
}

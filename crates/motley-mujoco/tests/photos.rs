//! Pictures by MuJoCo's own renderer, or, where there is nothing to draw with, that it is said and the plain picture is there.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_types, reason = "helpers of tests")]

use std::collections::HashSet;
use std::process::Command;

use motley_core::{Actions, ConfigError, Env, FrameBuf, Photo, Purpose, Settings, Stream};
use motley_mujoco::hands::{HandsEnv, catch};
use motley_mujoco::mamujoco;

const WIDTH: u32 = 200;

fn robot(name: &str) -> mamujoco::RobotEnv {
    let task = motley_mujoco::tasks().into_iter().find(|t| t.name() == name).unwrap();
    mamujoco::open(name, &Settings::new(task.keys()).section("task")).unwrap()
}

fn both() -> [Box<dyn Env>; 2] {
    let hands = HandsEnv::new("hands/over", catch::OVER, 75).unwrap();
    [Box::new(robot("mamujoco/HalfCheetah-6x1")), Box::new(hands)]
}

fn reset(env: &mut dyn Env) {
    let mut buf = FrameBuf::new(&env.spec().clone());
    env.reset(Stream::new(3, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
}

fn push(env: &mut dyn Env, steps: usize) {
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    for _ in 0..steps {
        env.step(Actions::new(&spec, &vec![0.8; spec.action_len()]), &mut buf.frame()).unwrap();
    }
}

/// The photo; where nothing can draw one, the error is looked at and told, and the plain picture must be there.
fn photo(env: &mut dyn Env) -> Option<Photo> {
    match env.photo(WIDTH).unwrap() {
        Ok(photo) => Some(photo),
        Err(error) => {
            assert!(!matches!(error, ConfigError::Missing { ref mend, .. } if mend.is_empty()));
            assert!(env.scene().unwrap().shapes.len() > 5, "neither a photo nor a plain picture");
            println!("no photo, the plain picture instead: {error}");
            None
        }
    }
}

fn changed(a: &Photo, b: &Photo) -> usize {
    a.rgb.as_chunks::<3>().0.iter().zip(b.rgb.as_chunks::<3>().0).filter(|(a, b)| a != b).count()
}

/// A robot and two hands: something is seen, it is the same again, and it is another thing once they have moved.
#[test]
fn robots_and_hands_are_photographed() {
    for mut env in both() {
        let task = env.spec().task.clone();
        reset(&mut *env);
        let Some(first) = photo(&mut *env) else { continue };
        assert_eq!((first.width, first.height, first.rgb.len()), (200, 120, 200 * 120 * 3), "{task}");
        let colors: HashSet<&[u8; 3]> = first.rgb.as_chunks::<3>().0.iter().collect();
        assert!(colors.len() > 100, "{task}: {} colours", colors.len());
        assert_eq!(changed(&first, &photo(&mut *env).unwrap()), 0, "{task}: the same moment again");
        let (before, state) = (env.snapshot(), env.snapshot().unwrap());
        push(&mut *env, 10);
        let moved = photo(&mut *env).unwrap();
        assert!(changed(&first, &moved) > 500, "{task}: {} pixels changed", changed(&first, &moved));
        // Any moment can be looked at later, also in another copy and in another size.
        for mut other in both().into_iter().filter(|other| other.spec().task == task) {
            other.restore(&state).unwrap();
            assert_eq!(other.photo(64).unwrap().unwrap().height, 38);
            assert_eq!(changed(&first, &photo(&mut *other).unwrap()), 0, "{task}: a snapshot");
            assert_eq!(other.snapshot(), before, "{task}: a photo changes nothing");
        }
        println!("photographed {task}");
    }
}

/// The sky is above: rows come from the top down. The floor is grey or green, the sky is blue or white.
#[test]
fn the_sky_is_above() {
    let mut env = robot("mamujoco/Hopper-3x1");
    reset(&mut env);
    let Some(photo) = photo(&mut env) else { return };
    let row = |y: usize| &photo.rgb[y * 600..(y + 1) * 600];
    let blue = |row: &[u8]| row.as_chunks::<3>().0.iter().filter(|p| p[2] > p[1] && p[1] > p[0]).count();
    assert!(blue(row(0)) > 150 && blue(row(119)) < 20, "{} {}", blue(row(0)), blue(row(119)));
}

/// The camera goes where the robot goes: it stays in the middle, far from where it was.
#[test]
fn the_camera_follows_the_robot() {
    for name in ["mamujoco/Ant-4x2", "mamujoco/Swimmer-2x1"] {
        let mut env = robot(name);
        let mut buf = FrameBuf::new(&env.spec().clone());
        let (mut qpos, qvel) = (env.sim().model().qpos0().to_vec(), vec![0.0; env.sim().data().qvel().len()]);
        let mut tan = Vec::new();
        for away in [[0.0, 0.0], [9.0, 6.0]] {
            qpos[..2].copy_from_slice(&away);
            env.start_from(&qpos, &qvel, &mut buf.frame()).unwrap();
            let Some(photo) = photo(&mut env) else { return };
            // The robots' brown: red, then green, then blue, and nothing else is.
            let brown = |p: &&[u8; 3]| i32::from(p[0]) > i32::from(p[1]) + 20 && i32::from(p[1]) > i32::from(p[2]) + 10;
            tan.push(photo.rgb.as_chunks::<3>().0.iter().filter(brown).count());
        }
        assert!(tan[0] > 200 && tan[0].abs_diff(tan[1]) * 5 < tan[0], "{name}: {tan:?}");
    }
}

/// Contexts belong to copies, not to threads: copies draw side by side, go from thread to thread, and end anywhere.
#[test]
fn copies_draw_on_any_thread() {
    let mut here = robot("mamujoco/HalfCheetah-6x1");
    reset(&mut here);
    let Some(first) = photo(&mut here) else { return };
    let draw = |mut env: mamujoco::RobotEnv| {
        let seen = photo(&mut env).unwrap();
        (seen, env)
    };
    let others = std::thread::scope(|scope| {
        let fresh = || {
            let mut env = robot("mamujoco/HalfCheetah-6x1");
            reset(&mut env);
            draw(env).0
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(fresh)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(others.iter().all(|other| changed(&first, other) == 0));
    let (seen, mut back) = std::thread::spawn(move || draw(here)).join().unwrap();
    assert_eq!((changed(&first, &seen), changed(&first, &photo(&mut back).unwrap())), (0, 0));
    // Many that come and go leave nothing that stops the next.
    for _ in 0..20 {
        let mut env = robot("mamujoco/HalfCheetah-6x1");
        reset(&mut env);
        assert_eq!(changed(&first, &photo(&mut env).unwrap()), 0);
    }
}

#[test]
fn sizes_that_cannot_be_drawn_are_refused() {
    let mut env = robot("mamujoco/HalfCheetah-6x1");
    reset(&mut env);
    if photo(&mut env).is_some() {
        for width in [0, 1, u32::MAX] {
            let error = env.photo(width).unwrap().unwrap_err().to_string();
            assert!(error.starts_with(&format!("width = {width}: expected 2 to")), "{error}");
        }
        assert!(photo(&mut env).is_some(), "a refused size spoils nothing");
    }
}

/// Each way in a process of its own, since a process keeps its first: it draws or says what is missing.
#[test]
fn the_variable_chooses() {
    for (choice, expected) in [
        ("egl", &["photographed hands/over", "OpenGL without a window (EGL: "][..]),
        ("osmesa", &["photographed hands/over", "OpenGL without a window (OSMesa: "]),
        ("off", &["MUJOCO_GL switches MuJoCo's renderer off"]),
        ("glfw", &["MUJOCO_GL = glfw: expected egl, osmesa or off"]),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "robots_and_hands_are_photographed", "--nocapture"]).env("MUJOCO_GL", choice);
        let output = child.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{choice}: {told}{}", String::from_utf8_lossy(&output.stderr));
        assert!(expected.iter().any(|text| told.contains(text)), "{choice}: {told}");
        println!("{choice}: {}", told.lines().find(|line| line.contains("photo")).unwrap_or_default());
    }
}

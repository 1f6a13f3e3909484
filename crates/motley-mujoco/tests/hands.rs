//! What holds of the dexterous hands on the engine: layouts, starts, ends, what actions do, and that the physics are sane.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::f32::consts::{FRAC_PI_2, PI};

use motley_core::{Actions, Env, FrameBuf, Purpose, Status, Stream};
use motley_mujoco::hands::task::{Play, distance};
use motley_mujoco::hands::{HandsEnv, PLAYS, catch, door, lift, pen};

fn open(play: Play) -> HandsEnv {
    HandsEnv::new(&format!("hands/{}", play.name), play, play.max_cycles as usize).unwrap()
}

fn stream(k: u64) -> Stream {
    Stream::new(7, Purpose::Check, 0, k)
}

fn near(found: &[f32], expected: &[f32], slack: f32) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(x, y)| (x - y).abs() <= slack)
}

/// Sizes of Bi-DexterousHands: (observation, action, state, steps).
#[test]
fn tasks_have_the_originals_sizes() {
    let sizes = [
        (211, 20, 398, 75),
        (223, 26, 422, 75),
        (223, 26, 422, 150),
        (223, 26, 422, 75),
        (247, 26, 446, 75),
        (218, 26, 417, 500),
        (218, 26, 417, 250),
        (218, 26, 417, 250),
        (218, 26, 417, 250),
        (218, 26, 417, 125),
    ];
    for (play, (obs, action, state, steps)) in PLAYS.into_iter().zip(sizes) {
        let env = open(play);
        let spec = env.spec();
        assert_eq!((spec.n(), spec.state.row(), spec.step_limit), (2, state, Some(steps)), "{}", play.name);
        assert!(spec.agents.iter().all(|a| a.obs.size() == obs && a.action.width() == action), "{}", play.name);
    }
}

/// The state is the right hand's part, the left one's, and the common part, which both hands see behind their own.
#[test]
fn hands_see_their_own_and_what_is_common() {
    for play in PLAYS {
        let mut env = open(play);
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(stream(0), &mut buf.frame()).unwrap();
        let width = spec.agents[0].action.width();
        let joint: Vec<f32> = (0..2 * width).map(|k| k as f32 / (2 * width) as f32 - 0.5).collect();
        env.step(Actions::new(&spec, &joint), &mut buf.frame()).unwrap();
        let own = if width == 20 { 187 } else { 199 };
        let (right, left) = (&buf.obs[spec.obs_range(0)], &buf.obs[spec.obs_range(1)]);
        assert_eq!(right[own..], left[own..], "{}", play.name);
        assert_eq!([&buf.state[..own], &buf.state[own..2 * own]], [&right[..own], &left[..own]], "{}", play.name);
        assert_eq!(buf.state[2 * own..], right[own..], "{}", play.name);
        assert_eq!([&right[own - width..own], &left[own - width..own]], [&joint[..width], &joint[width..]], "{}", play.name);
    }
}

/// The base's place and angles are those of the task; what is played with stands where it should and looks as it should.
#[test]
fn starts_are_the_tasks_ones() {
    let start = |play: Play| {
        let mut env = open(play);
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(stream(3), &mut buf.frame()).unwrap();
        [0, 1].map(|h| buf.obs[spec.obs_range(h)].to_vec())
    };
    // Bases of the catches, and the grips of the others, 0.37 m from the base along the fingers and 0.02 m out of the palm.
    for (play, right, left) in [
        (catch::CATCH_UNDERARM, [0.0, 0.0, 0.5, 0.0, 0.0, 0.0], [0.0, -1.15, 0.5, 0.0, 0.0, PI]),
        (catch::TWO_CATCH_UNDERARM, [0.0, 0.0, 0.5, 0.0, 0.0, 0.0], [0.0, -1.15, 0.5, 0.0, 0.0, PI]),
        (lift::LIFT_UNDERARM, [0.0, -0.32, 0.46, 0.0, 0.0, 0.0], [0.0, -0.88, 0.46, 0.0, 0.0, PI]),
        (pen::PEN, [0.18, 0.2, 0.79, PI, 0.0, FRAC_PI_2], [0.18, -0.2, 0.79, PI, 0.0, FRAC_PI_2]),
    ] {
        for (obs, expected) in start(play).iter().zip([right, left]) {
            // An angle of 0 may read as one just below 2 pi, which is clipped to 5.
            let wrapped: Vec<f32> = obs[167..173].iter().map(|x| if *x == 5.0 { 0.0 } else { *x }).collect();
            assert!(near(&wrapped, &expected, 2e-5), "{}: {wrapped:?}", play.name);
        }
    }
    // The side-by-side hands lean towards each other by pi / 8, fingers along -x (three quarters of a turn, clipped).
    let [right, left] = start(catch::CATCH_ABREAST);
    assert!(near(&right[167..170], &[0.0, -0.55, 0.5], 1e-6) && near(&left[167..170], &[0.0, -1.15, 0.5], 1e-6));
    assert!(
        (right[171] - 0.3925).abs() < 1e-5 && right[172] > 4.7 && left[171] == 5.0,
        "{:?} {:?}",
        &right[170..173],
        &left[170..173]
    );
    // Goals and second eggs.
    let goal = |play: Play| {
        let obs = start(play)[0][199..].to_vec();
        (obs[..3].to_vec(), obs[13..16].to_vec(), obs)
    };
    let (egg, to, _) = goal(catch::CATCH_OVER2UNDERARM);
    assert!(near(&egg, &[0.0, 0.05, 1.0], 1e-6) && near(&to, &[0.0, -0.4, 0.55], 1e-6));
    let (egg, to, _) = goal(catch::CATCH_ABREAST);
    assert!(near(&egg, &[-0.39, -0.55, 0.54], 1e-6) && near(&to, &[-0.39, -1.15, 0.54], 1e-6));
    let (egg, to, all) = goal(catch::TWO_CATCH_UNDERARM);
    assert!(near(&egg, &[0.0, -0.39, 0.54], 0.0101) && near(&to, &[0.0, -0.79, 0.54], 1e-6));
    let moved: Vec<f32> = all[24..27].iter().zip(&egg).map(|(x, y)| x - y).collect();
    assert!(
        near(&moved, &[0.0, -0.39, 0.0], 1e-6) && near(&all[37..40], &[0.0, -0.38, 0.54], 1e-6),
        "the second egg and its goal"
    );
    assert_eq!([&all[3..7], &all[16..20]], [&all[27..31], &all[40..44]], "turned alike");
    // Handles: right before left, but for doors.
    let handles = |play: Play| start(play)[0][199 + 13..].to_vec();
    assert!(near(&handles(lift::LIFT_UNDERARM), &[0.0, -0.45, 0.51, 0.0, -0.75, 0.51], 1e-6));
    assert!(near(&handles(pen::PEN), &[0.0, 0.1, 0.612, 0.0, -0.07, 0.612], 1e-6));
    assert!(near(&handles(door::DOOR_OPEN_INWARD), &[0.045, -0.03, 0.717, 0.045, 0.03, 0.717], 1e-6));
    assert!(near(&handles(door::DOOR_OPEN_OUTWARD), &[0.045, -0.03, 0.683, 0.045, 0.03, 0.683], 1e-6));
    let open = handles(door::DOOR_CLOSE_INWARD);
    assert!(near(&open, &[0.39, -0.465, 0.717, 0.39, 0.465, 0.717], 1e-3), "{open:?}");
}

/// Targets in the middle of the joints' ranges and no wrench: what lies in a palm, on a table or in a frame stays there for 50
/// steps. An egg on fingertips or on a leaning palm falls, that is the task.
#[test]
fn things_rest_where_they_start() {
    for play in PLAYS {
        let mut env = open(play);
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(stream(1), &mut buf.frame()).unwrap();
        let (still, before) = (vec![0.0; spec.action_len()], env.seen());
        let mut lasted = 0;
        while lasted < 50 {
            lasted += 1;
            let status = env.step(Actions::new(&spec, &still), &mut buf.frame()).unwrap();
            assert!(buf.obs.iter().chain(&buf.state).all(|x| x.is_finite()) && buf.rewards[0].is_finite());
            if status.done() {
                break;
            }
        }
        let after = env.seen();
        let moved: Vec<f64> = before.objects.iter().zip(&after.objects).map(|(a, b)| distance(a.at, b.at)).collect();
        let bases = (0..2).map(|h| distance(before.hands[h].mount, after.hands[h].mount)).fold(0.0, f64::max);
        assert!(bases < 0.02, "{}: a base moved by {bases} m", play.name);
        match play.name {
            "catch_over2underarm" | "catch_abreast" => {}
            _ if play.places.len() == 2 || matches!(play.name, "over" | "catch_underarm") => {
                assert!(lasted == 50 && moved.iter().all(|m| *m < 0.1), "{}: {lasted} {moved:?}", play.name);
            }
            _ => assert!(lasted == 50 && moved[0] < 0.005, "{}: {lasted} {moved:?}", play.name),
        }
        if play.thing != motley_mujoco::hands::task::Thing::Eggs {
            for (a, b) in before.handles.iter().zip(after.handles) {
                assert!(distance(*a, b) < 0.005, "{}: a handle went from {a:?} to {b:?}", play.name);
            }
        }
    }
}

/// Whole episodes of random actions: everything stays finite, bounded and common, and only the last step ends the episode.
#[test]
fn random_play_stays_sane() {
    for play in PLAYS {
        let mut env = open(play);
        let spec = env.spec().clone();
        let (mut buf, mut draws) = (FrameBuf::new(&spec), stream(9));
        for k in 0..4 {
            env.reset(stream(k), &mut buf.frame()).unwrap();
            // Small wrenches half of the time, so that some episodes last.
            let scale = if k % 2 == 0 { 1.0 } else { 0.05 };
            for step in 1..=play.max_cycles {
                let joint: Vec<f32> = (0..spec.action_len()).map(|_| scale * (2.0 * draws.uniform_f32() - 1.0)).collect();
                let status = env.step(Actions::new(&spec, &joint), &mut buf.frame()).unwrap();
                assert!(buf.obs.iter().chain(&buf.state).all(|x| x.abs() <= 5.0), "{} {step}", play.name);
                assert!(buf.rewards[0].is_finite() && buf.rewards[0] == buf.rewards[1], "{} {step}", play.name);
                if status.done() {
                    assert!(status == Status::Terminated || step == play.max_cycles);
                    break;
                }
                assert!(step < play.max_cycles, "{}: the limit cuts", play.name);
            }
        }
    }
}

/// A full push up moves the bases of the lift up, at most at the force over the damping, 417 N over 500 N s/m; the other way down;
/// a twist about z turns them.
#[test]
fn wrenches_move_the_bases() {
    let mut env = open(lift::LIFT_UNDERARM);
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    for (entry, sign) in [(2, 1.0f32), (2, -1.0), (5, 1.0)] {
        env.reset(stream(2), &mut buf.frame()).unwrap();
        let before = env.seen();
        let mut joint = vec![0.0f32; 52];
        (joint[entry], joint[26 + entry]) = (sign, sign);
        let steps = 5;
        for _ in 0..steps {
            env.step(Actions::new(&spec, &joint), &mut buf.frame()).unwrap();
        }
        for h in 0..2 {
            let obs = &buf.obs[spec.obs_range(h)];
            let risen = env.seen().hands[h].mount[2] - before.hands[h].mount[2];
            if entry == 2 {
                let most = f64::from(steps) / 60.0 * 417.0 / 500.0;
                assert!(risen * f64::from(sign) > 0.5 * most && risen * f64::from(sign) < 1.05 * most, "{h}: {risen} of {most}");
            } else {
                let turned = obs[172] - if h == 0 { 0.0 } else { PI };
                assert!(turned > 0.3 && risen.abs() < 0.01, "{h}: {turned}");
            }
        }
    }
}

/// Plays flat hands with their wrists straight; `base(step, towards)` is what moves each, with `towards` the sign of y from the
/// right hand to the left one for the right hand and back for the left one.
fn scripted(env: &mut HandsEnv, steps: usize, base: impl Fn(usize, f32) -> [f32; 3]) -> Status {
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.reset(stream(2), &mut buf.frame()).unwrap();
    for step in 0..steps {
        let mut joint = vec![-1.0f32; 52];
        for (own, towards) in joint.chunks_exact_mut(26).zip([-1.0, 1.0]) {
            own[..3].copy_from_slice(&base(step, towards));
            own[3..6].fill(0.0);
            // The wrist, and the knuckles' spread, in the middle of their ranges.
            own[6..8].copy_from_slice(&[0.55, 0.18]);
            [8, 11, 14, 18].iter().for_each(|k| own[*k] = 0.0);
        }
        let status = env.step(Actions::new(&spec, &joint), &mut buf.frame()).unwrap();
        if status.done() {
            return status;
        }
    }
    Status::Running
}

/// The pot can be lifted: fingers that go under its bars and rise carry it.
#[test]
fn the_pot_rises_with_the_hands() {
    let mut env = open(lift::LIFT_UNDERARM);
    let status = scripted(&mut env, 60, |step, towards| if step < 6 { [0.0, 0.6 * towards, 0.0] } else { [0.0, 0.0, 0.25] });
    let pot = env.seen().objects[0].at;
    assert!(status == Status::Running && pot[2] > 0.47, "{status:?} {pot:?}");
}

/// The door that opens outward is pushed open, and the one that stands open is pushed shut: both are won by hands that only push.
#[test]
fn hands_push_doors_open_and_shut() {
    let apart = |env: &HandsEnv| env.seen().handles[0][1] - env.seen().handles[1][1];
    let mut env = HandsEnv::new("hands/door_open_outward", door::DOOR_OPEN_OUTWARD, 50).unwrap();
    let status = scripted(&mut env, 50, |_, _| [-0.4, 0.0, 0.0]);
    assert!(apart(&env) > 0.5 && status == Status::Truncated && env.won() == Some(true), "{}", apart(&env));
    let mut env = HandsEnv::new("hands/door_close_inward", door::DOOR_CLOSE_INWARD, 50).unwrap();
    let status = scripted(&mut env, 50, |step, towards| if step < 5 { [-0.6, 0.0, 0.0] } else { [-0.1, 0.3 * towards, 0.0] });
    assert!(apart(&env) < 0.5 && status == Status::Truncated && env.won() == Some(true), "{}", apart(&env));
    let status = scripted(&mut env, 50, |_, _| [0.0; 3]);
    assert!(apart(&env) > 0.9 && status == Status::Truncated && env.won() == Some(false), "it does not shut by itself");
}

/// The objects and the fingers are in the picture.
#[test]
fn rendered_scenes_hold_what_is_played_with() {
    for play in PLAYS {
        let mut env = open(play);
        let mut buf = FrameBuf::new(&env.spec().clone());
        env.reset(stream(0), &mut buf.frame()).unwrap();
        let scene = env.scene().unwrap();
        let [left, low, right, high] = scene.view;
        let inside = |p: [f32; 2]| (left..=right).contains(&p[0]) && (low..=high).contains(&p[1]);
        let above = matches!(play.name, "pen") || play.name.starts_with("door");
        let flat = |p: [f64; 3]| if above { [p[0] as f32, p[1] as f32] } else { [p[1] as f32, p[2] as f32] };
        let seen = env.seen();
        for point in seen.objects.iter().map(|o| o.at).chain(seen.hands.iter().flat_map(|h| h.fingers)) {
            assert!(inside(flat(point)), "{}: {point:?} is not in the picture", play.name);
        }
        assert!(scene.shapes.len() > 40, "{}", play.name);
    }
}

/// `hands/over`: who sees what, where the goal is, and what a fallen egg means.
#[test]
fn hands_see_the_original_layout_and_drop_the_egg() {
    let mut env = open(catch::OVER);
    let spec = env.spec().clone();
    assert_eq!((spec.n(), spec.step_limit, spec.state.row()), (2, Some(75), 398));
    assert!(spec.agents.iter().all(|a| a.obs.size() == 211 && a.action.width() == 20));
    let mut buf = FrameBuf::new(&spec);
    let (mut fell, mut held) = (0, 0);
    for k in 0..10 {
        env.reset(stream(k), &mut buf.frame()).unwrap();
        let (right, left) = (buf.obs[spec.obs_range(0)].to_vec(), buf.obs[spec.obs_range(1)].to_vec());
        assert_eq!(right[187..], left[187..], "both see the egg");
        assert_eq!([&buf.state[..187], &buf.state[187..374], &buf.state[374..]], [&right[..187], &left[..187], &right[187..]]);
        let egg = &right[187..];
        assert!(egg[0].abs() <= 0.01 && (egg[1] + 0.39).abs() <= 0.0101 && (egg[2] - 0.54).abs() <= 0.0101, "{egg:?}");
        assert_eq!(egg[13..16], [0.0, -0.64, 0.54], "the goal is over the other hand");
        assert!(right[..24].iter().chain(&left[..24]).all(|q| q.abs() <= 1.0), "joints lie in their range");
        assert!(right[167..187].iter().all(|a| *a == 0.0), "nothing was done yet");
        // The hands' tips lie between the mounts, half a metre up.
        for tip in 0..5 {
            assert!(right[72 + 13 * tip + 1] < -0.2 && left[72 + 13 * tip + 1] > -0.8 && right[72 + 13 * tip + 2] > 0.4);
        }
        // Fingers half closed hold the egg; the same with the right hand turned down at the wrist lets it fall.
        let mut joint = vec![-0.2f32; 40];
        if k % 2 == 1 {
            joint[..20].fill(-1.0);
            joint[0..2].fill(1.0);
        }
        loop {
            let status = env.step(Actions::new(&spec, &joint), &mut buf.frame()).unwrap();
            assert!((0.0..=1.0).contains(&buf.rewards[0]) && buf.rewards[0] == buf.rewards[1]);
            assert_eq!(buf.obs[spec.obs_range(0)][167..187], joint[..20]);
            if status.done() {
                let height = buf.obs[spec.obs_range(0)][189];
                assert_eq!(status == Status::Terminated, height <= 0.2, "{height}");
                fell += usize::from(status == Status::Terminated);
                held += usize::from(status == Status::Truncated);
                break;
            }
        }
    }
    assert!(fell >= 2 && held >= 2, "{fell} fell, {held} held");
}

/// The motors drive the joints where the actions say: after a second of still targets the joints are near them.
#[test]
fn hands_go_where_they_are_told() {
    let mut env = open(catch::OVER);
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    for target in [-0.5f32, 0.5] {
        env.reset(stream(1), &mut buf.frame()).unwrap();
        for _ in 0..60 {
            if env.step(Actions::new(&spec, &[target; 40]), &mut buf.frame()).unwrap().done() {
                break;
            }
        }
        let left = &buf.obs[spec.obs_range(1)];
        // Wrist and the knuckles' spread of the free hand, which nothing touches.
        for joint in [0, 1, 2, 6, 10] {
            assert!((left[joint] - target).abs() < 0.15, "joint {joint}: {} instead of {target}", left[joint]);
        }
    }
}

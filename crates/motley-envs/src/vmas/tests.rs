use motley_core::{ActionSpace, Actions, FrameBuf, Purpose, Status, Stream, TeamSpec};

use super::*;
use crate::Registry;

mod options;

/// Agents and observations as the paper's and vmas's tables have them.
#[test]
fn teams_have_the_published_sizes() {
    let expected = [
        ("het_mass", 2, 4),
        ("give_way", 2, 4),
        ("multi_give_way", 4, 7),
        ("joint_passage", 2, 10),
        ("joint_passage_size", 2, 12),
        ("wind_flocking", 2, 4),
        ("passage", 5, 8),
        ("navigation", 4, 18),
        ("balance", 3, 16),
        ("wheel", 4, 13),
        ("transport", 4, 11),
        ("reverse_transport", 4, 10),
        ("dropout", 4, 7),
        ("dispersion", 4, 16),
        ("sampling", 3, 24),
        ("discovery", 5, 19),
        ("flocking", 4, 18),
        ("ball_passage", 2, 10),
        ("ball_trajectory", 2, 8),
        ("buzz_wire", 2, 6),
        ("simple_spread", 3, 14),
        ("football", 3, 56),
    ];
    let registry = Registry::builtin();
    for (name, agents, obs) in expected {
        let env = registry.make(&format!("vmas/{name}"), &[]).unwrap();
        assert_eq!(env.spec().n(), agents, "{name}");
        assert!(env.spec().agents.iter().all(|a| a.obs.size() == obs && a.action.width() == 2), "{name}");
    }
}

/// Every task's position and velocity stand where the team says: a step moves the one by the other.
#[test]
fn positions_and_velocities_are_where_the_team_says() {
    let registry = Registry::builtin();
    for task in tasks() {
        let mut env = registry.make(&task.name(), &[]).unwrap();
        let spec = env.spec().clone();
        let (mut before, mut after) = (FrameBuf::new(&spec), FrameBuf::new(&spec));
        env.reset(Stream::new(1, Purpose::Check, 0, 0), &mut before.frame()).unwrap();
        let half: Vec<f32> = (0..spec.action_len()).map(|k| if k % 2 == 0 { 0.25 } else { -0.2 }).collect();
        for _ in 0..3 {
            std::mem::swap(&mut before, &mut after);
            env.step(Actions::new(&spec, &half), &mut after.frame()).unwrap();
        }
        let part = |buf: &FrameBuf, i: usize, range: &Option<std::ops::Range<usize>>| {
            let range = range.clone().unwrap();
            [range.start, range.start + 1].map(|k| buf.obs[spec.obs_range(i).start + k])
        };
        for (i, agent) in spec.agents.iter().enumerate() {
            let (p, q) = (part(&before, i, &agent.position), part(&after, i, &agent.position));
            let v = part(&after, i, &agent.velocity);
            let moved = [q[0] - p[0], q[1] - p[1]];
            // Sub-steps and contacts bend the way a little.
            let off = [0, 1].map(|k| (moved[k] - 0.1 * v[k]).abs());
            assert!(off.iter().all(|o| *o < 0.06), "{}: {moved:?} {v:?}", task.name());
        }
    }
}

/// A team that steers straight to its goals, as seen from itself, ends the episode with a win.
#[test]
fn navigation_is_won_by_going_there() {
    let mut env = Registry::builtin().make("vmas/navigation", &["collisions=false", "max_steps=400"]).unwrap();
    let spec: Arc<TeamSpec> = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.reset(Stream::new(0, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
    let mut gained = 0.0;
    loop {
        let mut flat = vec![0.0; spec.action_len()];
        for i in 0..spec.n() {
            let row = &buf.obs[spec.obs_range(i)];
            for axis in 0..2 {
                flat[2 * i + axis] = (-row[4 + axis]).clamp(-1.0, 1.0);
            }
        }
        let status = env.step(Actions::new(&spec, &flat), &mut buf.frame()).unwrap();
        gained += buf.rewards[0];
        if status.done() {
            assert_eq!((status, env.won()), (Status::Terminated, Some(true)));
            break;
        }
    }
    assert!(gained > 1.0, "{gained}");
}

/// Numbers that vmas 1.5.2 gave for these bumps at this place: densities around the robot and under it.
#[test]
fn samples_are_vmass() {
    let task = Registry::builtin();
    let options = crate::registry::options(&*task.get("vmas/sampling").unwrap(), &[]).unwrap();
    let mut env = open("vmas/sampling", &options).unwrap();
    let spec = env.spec().clone();
    let bumps = [0.3652, -0.3897, -0.0729, -0.0900, 0.1449, -0.0040];
    let world = env.world();
    world.memory[1..7].copy_from_slice(&bumps);
    for (i, at) in [[0.3, 0.2], [0.97, -0.97], [0.97, -0.97]].into_iter().enumerate() {
        world.bodies[i].pos = at;
    }
    env.remember();
    assert!((env.world().memory[0] - 5.9128).abs() < 1e-3, "{}", env.world().memory[0]);
    env.world().bodies[0].pos = [0.31, 0.21];
    let mut buf = FrameBuf::new(&spec);
    env.rate(&mut buf.frame(), &mut |world| world.bodies[0].pos = [0.3, 0.2]);
    assert!((buf.rewards[0] - 0.324_643).abs() < 1e-4, "{}", buf.rewards[0]);
    // The cell (0.3, 0.2) itself is taken now; those around it are not.
    let around = [0.2886, 0.41437, 0.272_846, 0.437_278, 0.512_582, 0.358_679, 0.320_491, 0.222_766];
    for (found, expected) in buf.obs[16..24].iter().zip(around) {
        assert!((found - expected).abs() < 2e-4, "{found} {expected}");
    }
    // Still in the cell that (0.31, 0.21) is in, as vmas rounds.
    env.rate(&mut buf.frame(), &mut |world| world.bodies[0].pos = [0.29, 0.2]);
    assert_eq!(buf.rewards, [0.0; 3]);
    env.rate(&mut buf.frame(), &mut |_| {});
    assert!(buf.rewards[1] > 0.3 && buf.rewards[1] < 0.4, "the next cell, once");
    env.rate(&mut buf.frame(), &mut |_| {});
    assert_eq!(buf.rewards, [0.0; 3]);
}

/// Discrete control: nothing, less, more on each axis.
#[test]
fn choices_are_the_ends_of_the_range() {
    let env = |continuous: &str, flat: &[f32]| {
        let mut env = Registry::builtin().make("vmas/give_way", &[continuous]).unwrap();
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(Stream::new(0, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
        env.step(Actions::new(&spec, flat), &mut buf.frame()).unwrap();
        buf.obs
    };
    assert_eq!(env("continuous=false", &[0.0, 1.0, 2.0, 0.0]), env("continuous=true", &[0.0, -0.5, 0.5, 0.0]));
}

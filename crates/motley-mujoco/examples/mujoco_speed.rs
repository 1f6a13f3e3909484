//! Env steps a second of each task on one core, against the engine alone through the same states: what observing, rewarding
//! and resetting cost.
//!
//! `cargo run --release -p motley-mujoco --features engine --example mujoco_speed [SECONDS] [TASK ..]`; the two are timed in turns.

#![allow(clippy::print_stdout, reason = "an example")]

mod common;

use std::time::Instant;

use common::clock;
use motley_core::{ActionSpace, Actions, Env, FrameBuf, Purpose, Settings, Stream};
use motley_mujoco::engine::Sim;
use motley_mujoco::mamujoco::{self, RobotEnv};

type Fault = Box<dyn std::error::Error>;

/// Steps of one turn.
const TURN: usize = 100;

fn draw(env: &RobotEnv, stream: &mut Stream) -> Vec<f32> {
    let bounds = |action: &ActionSpace| match action {
        ActionSpace::Box { low, high } => low.iter().copied().zip(high.iter().copied()).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let all = env.spec().agents.iter().flat_map(|a| bounds(&a.action));
    all.map(|(low, high)| low + (high - low) * stream.uniform_f32()).collect()
}

/// Env steps a second, and those that the engine alone takes a second through the same states.
fn measure(name: &str, seconds: f64) -> Result<(f64, f64), Fault> {
    let task = motley_mujoco::tasks().into_iter().find(|t| t.name() == name).ok_or("no such task")?;
    let mut env = mamujoco::open(name, &Settings::new(task.keys()).section("task"))?;
    let (spec, mut stream) = (env.spec().clone(), Stream::new(0, Purpose::Check, 0, 0));
    let mut buf = FrameBuf::new(&spec);
    let joints: Vec<Vec<f32>> = (0..1024).map(|_| draw(&env, &mut stream)).collect();
    let controls: Vec<Vec<f64>> = joints.iter().map(|joint| env.controls(joint)).collect();
    let mut bare = Sim::new(env.model())?;
    let begun = Instant::now();
    let (mut ours, mut theirs, mut steps, mut episodes, mut done) = (0.0, 0.0, 0, 0, true);
    while ours + theirs < seconds {
        let first = steps;
        let mut starts = Vec::new();
        while steps < first + TURN {
            let before = clock(begun);
            let started = done;
            if done {
                env.reset(stream.fork(episodes), &mut buf.frame())?;
                episodes += 1;
            }
            ours += clock(begun) - before;
            let data = env.sim().data();
            starts.push((steps, started.then(|| (data.qpos().to_vec(), data.qvel().to_vec()))));
            let before = clock(begun);
            done = false;
            while steps < first + TURN && !done {
                done = env.step(Actions::new(&spec, &joints[steps % 1024]), &mut buf.frame())?.done();
                steps += 1;
            }
            ours += clock(begun) - before;
        }
        // The same episodes once more, by the engine alone; putting it where they start does not count.
        let ends = starts.iter().skip(1).map(|s| s.0).chain([steps]);
        for ((from, start), to) in starts.iter().zip(ends) {
            if let Some((qpos, qvel)) = start {
                bare.reset();
                bare.place(qpos, qvel);
            }
            let before = clock(begun);
            for step in *from..to {
                bare.data_mut().ctrl_mut().copy_from_slice(&controls[step % 1024]);
                bare.step(env.skip())?;
            }
            theirs += clock(begun) - before;
        }
        if bare.data().qpos() != env.sim().data().qpos() {
            return Err("the engine alone went elsewhere".into());
        }
    }
    Ok((steps as f64 / ours, steps as f64 / theirs))
}

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |s| s.parse())?;
    let asked: Vec<String> = arguments.collect();
    println!("{:36} {:>12} {:>12} {:>7}", "TASK", "ENV STEPS/S", "ENGINE ALONE", "SHARE");
    for name in motley_mujoco::tasks().iter().map(|t| t.name()).filter(|n| n.contains('-')) {
        if asked.is_empty() || asked.contains(&name) {
            let (ours, theirs) = measure(&name, seconds)?;
            println!("{name:36} {ours:>12.0} {theirs:>12.0} {:>6.1}%", 100.0 * ours / theirs);
        }
    }
    Ok(())
}

//! Env steps a second of each task on one core, against the engine's own steps on the same states: what observing,
//! rewarding and resetting cost.
//!
//! `cargo run --release -p motley-mujoco --features engine --example mujoco_speed [SECONDS] [TASK ..]`; the two are timed in turns.

#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Instant;

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

/// Env steps a second, and engine steps a second divided by the engine steps of an env step.
fn measure(name: &str, seconds: f64) -> Result<(f64, f64), Fault> {
    let task = motley_mujoco::tasks().into_iter().find(|t| t.name() == name).ok_or("no such task")?;
    let mut env = mamujoco::open(name, &Settings::new(task.keys()).section("task"))?;
    let (spec, mut stream) = (env.spec().clone(), Stream::new(0, Purpose::Check, 0, 0));
    let mut buf = FrameBuf::new(&spec);
    let joints: Vec<Vec<f32>> = (0..1024).map(|_| draw(&env, &mut stream)).collect();
    env.reset(stream.fork(0), &mut buf.frame())?;
    let mut bare = Sim::new(env.model())?;
    let (mut ours, mut theirs, mut turns, mut episodes) = (0.0, 0.0, 0, 0);
    while ours + theirs < seconds {
        // The engine alone first plays on from where the environment stands, with the same controls in the engine's units.
        let (qpos, qvel) = (env.sim().data().qpos().to_vec(), env.sim().data().qvel().to_vec());
        bare.reset();
        bare.place(&qpos, &qvel);
        let controls: Vec<Vec<f64>> = (0..TURN).map(|t| env.controls(&joints[(turns * TURN + t) % 1024])).collect();
        let begun = Instant::now();
        for ctrl in &controls {
            bare.data_mut().ctrl_mut().copy_from_slice(ctrl);
            bare.step(env.skip())?;
        }
        theirs += begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        for t in 0..TURN {
            let joint = &joints[(turns * TURN + t) % 1024];
            if env.step(Actions::new(&spec, joint), &mut buf.frame())?.done() {
                episodes += 1;
                env.reset(stream.fork(episodes), &mut buf.frame())?;
            }
        }
        ours += begun.elapsed().as_secs_f64();
        turns += 1;
    }
    let steps = (turns * TURN) as f64;
    Ok((steps / ours, steps / theirs))
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

//! Env steps a second of the dexterous hands on one core, random actions, resets included, against the engine alone through the
//! same states: what observing, rewarding and resetting cost.
//!
//! `cargo run --release -p motley-mujoco --features engine --example hands_speed [SECONDS] [TASK ..]`; the two are timed in turns.

#![allow(clippy::print_stdout, reason = "an example")]

mod common;

use std::time::Instant;

use common::clock;
use motley_core::{Actions, Env, FrameBuf, Purpose, Stream};
use motley_mujoco::engine::Sim;
use motley_mujoco::hands::task::Play;
use motley_mujoco::hands::{HandsEnv, PLAYS, SUBSTEPS};

type Fault = Box<dyn std::error::Error>;

/// What was counted, and seconds of it.
#[derive(Default)]
struct Count {
    steps: u32,
    episodes: u64,
    ours: f64,
    engine: f64,
}

/// Plays one episode, then hands the engine alone what drove it: motors' targets and wrenches on the forearms, step for step.
fn episode(env: &mut HandsEnv, bare: &mut Sim, buf: &mut FrameBuf, stream: &mut Stream, count: &mut Count) -> Result<(), Fault> {
    let (begun, spec) = (Instant::now(), env.spec().clone());
    let before = clock(begun);
    env.reset(stream.fork(count.episodes), &mut buf.frame())?;
    count.ours += clock(begun) - before;
    count.episodes += 1;
    let mut start = Vec::new();
    env.sim().save(&mut start);
    let (mut driven, mut done) = (Vec::new(), false);
    while !done {
        let joint: Vec<f32> = (0..spec.action_len()).map(|_| 2.0 * stream.uniform_f32() - 1.0).collect();
        let before = clock(begun);
        done = env.step(Actions::new(&spec, &joint), &mut buf.frame())?.done();
        count.ours += clock(begun) - before;
        driven.push((env.sim().data().ctrl().to_vec(), env.sim().data().xfrc_applied().to_vec()));
        count.steps += 1;
    }
    bare.load(&start).ok_or("the engine does not take its own state")?;
    for (ctrl, wrenches) in driven {
        let before = clock(begun);
        bare.data_mut().ctrl_mut().copy_from_slice(&ctrl);
        bare.data_mut().xfrc_applied_mut().copy_from_slice(&wrenches);
        bare.step(SUBSTEPS)?;
        count.engine += clock(begun) - before;
    }
    if bare.data().qpos() != env.sim().data().qpos() {
        return Err("the engine alone went elsewhere".into());
    }
    Ok(())
}

fn measure(play: Play, seconds: f64) -> Result<Count, Fault> {
    let mut env = HandsEnv::new(play.name, play, play.max_cycles as usize)?;
    let (mut buf, mut stream) = (FrameBuf::new(env.spec()), Stream::new(0, Purpose::Check, 0, 0));
    let (mut bare, mut count) = (Sim::new(env.sim().data().model_clone())?, Count::default());
    while count.ours + count.engine < seconds {
        episode(&mut env, &mut bare, &mut buf, &mut stream, &mut count)?;
    }
    Ok(count)
}

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |s| s.parse())?;
    let asked: Vec<String> = arguments.collect();
    println!("{:20} {:>12} {:>12} {:>7} {:>10}", "TASK", "ENV STEPS/S", "ENGINE ALONE", "SHARE", "EPISODE");
    for play in PLAYS {
        if asked.is_empty() || asked.iter().any(|name| name == play.name) {
            let Count { steps, episodes, ours, engine } = measure(play, seconds)?;
            let (steps, share) = (f64::from(steps), 100.0 * engine / ours);
            println!(
                "{:20} {:>12.0} {:>12.0} {share:>6.1}% {:>10.1}",
                play.name,
                steps / ours,
                steps / engine,
                steps / episodes as f64
            );
        }
    }
    Ok(())
}

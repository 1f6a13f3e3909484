//! Steps per second of every native task on one core: random available actions, resets and observations included.
//!
//! `cargo run --release -p motley-envs --example speed [TASK [key=value ...]]`. Tasks with masks draw their actions on the way
//! (a few nanoseconds an agent) and for two seconds; the others have them drawn ahead.

use std::time::Instant;

use motley_core::{ActionSpace, Actions, Env, FrameBuf, Purpose, Stream, Task};
use motley_envs::Registry;

const STEPS: u64 = 1_000_000;
/// Joint actions drawn ahead of time, so that the environment is measured and not the generator of actions.
const DRAWN: usize = 1024;

/// Seconds that a task with masks is played for.
const SECONDS: f64 = 2.0;

/// Environment steps per second of a task with masks.
fn masked(env: &mut dyn Env) -> Result<f64, Box<dyn std::error::Error>> {
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    let mut draws = Stream::new(0, Purpose::Act, 0, 0);
    let mut joint = vec![0.0; spec.action_len()];
    let episodes = Stream::new(0, Purpose::Episode, 0, 0);
    let (start, mut episode, mut steps, mut done) = (Instant::now(), 0, 0_u64, true);
    while start.elapsed().as_secs_f64() < SECONDS {
        for _ in 0..32 {
            if done {
                env.reset(episodes.fork(episode), &mut buf.frame())?;
                episode += 1;
            }
            for (i, action) in joint.iter_mut().enumerate() {
                let mask = &buf.avail[spec.mask_range(i)];
                let free = mask.iter().filter(|a| **a).count();
                let skip = draws.below(free as u32) as usize;
                *action = (0..mask.len()).filter(|a| mask[*a]).nth(skip).unwrap_or(0) as f32;
            }
            done = env.step(Actions::new(&spec, &joint), &mut buf.frame())?.done();
            steps += 1;
        }
    }
    Ok(steps as f64 / start.elapsed().as_secs_f64())
}

/// Environment steps per second.
fn speed(registry: &Registry, name: &str, settings: &[&str]) -> Result<f64, Box<dyn std::error::Error>> {
    let mut env = registry.make(name, settings)?;
    let spec = env.spec().clone();
    if spec.masks {
        return masked(&mut *env);
    }
    let mut draws = Stream::new(0, Purpose::Act, 0, 0);
    let mut actions = vec![0.0; DRAWN * spec.action_len()];
    for joint in actions.chunks_exact_mut(spec.action_len()) {
        for (i, agent) in spec.agents.iter().enumerate() {
            for (k, x) in joint[spec.action_range(i)].iter_mut().enumerate() {
                *x = match &agent.action {
                    ActionSpace::Box { low, high } => draws.range(f64::from(low[k]), f64::from(high[k])) as f32,
                    discrete => draws.below(discrete.choices()[k] as u32) as f32,
                };
            }
        }
    }
    let mut buf = FrameBuf::new(&spec);
    let episodes = Stream::new(0, Purpose::Episode, 0, 0);
    let (start, mut episode, mut done) = (Instant::now(), 0, true);
    for joint in actions.chunks_exact(spec.action_len()).cycle().take(STEPS as usize) {
        if done {
            env.reset(episodes.fork(episode), &mut buf.frame())?;
            episode += 1;
        }
        done = env.step(Actions::new(&spec, joint), &mut buf.frame())?.done();
    }
    Ok(STEPS as f64 / start.elapsed().as_secs_f64())
}

#[allow(clippy::print_stdout, reason = "a program's output")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::builtin();
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let Some((name, settings)) = given.split_first() {
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        println!("{name:32} {:>10.1} k steps/s", speed(&registry, name, &settings)? / 1e3);
        return Ok(());
    }
    for name in registry.iter().map(Task::name) {
        println!("{name:32} {:>10.1} k steps/s", speed(&registry, &name, &[])? / 1e3);
    }
    Ok(())
}

//! Steps per second of every native task on one core: random actions, resets and observations included.
//!
//! `cargo run --release -p motley-envs --example speed [TASK [key=value ...]]`

use std::time::Instant;

use motley_core::{ActionSpace, Actions, FrameBuf, Purpose, Stream, Task};
use motley_envs::Registry;

const STEPS: u64 = 1_000_000;
/// Joint actions drawn ahead of time, so that the environment is measured and not the generator of actions.
const DRAWN: usize = 1024;

/// Environment steps per second.
fn speed(registry: &Registry, name: &str, settings: &[&str]) -> Result<f64, Box<dyn std::error::Error>> {
    let mut env = registry.make(name, settings)?;
    let spec = env.spec().clone();
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
        println!("{name:32} {:>8.2} M steps/s", speed(&registry, name, &settings)? / 1e6);
        return Ok(());
    }
    for name in registry.iter().map(Task::name) {
        println!("{name:32} {:>8.2} M steps/s", speed(&registry, &name, &[])? / 1e6);
    }
    Ok(())
}

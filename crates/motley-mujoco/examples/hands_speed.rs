//! Env steps a second of the dexterous hands on one core, random actions, resets included.
//!
//! `cargo run --release -p motley-mujoco --features engine --example hands_speed [SECONDS] [TASK ..]`

#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Instant;

use motley_core::{Actions, FrameBuf, Purpose, Settings, Stream};

type Fault = Box<dyn std::error::Error>;

/// Seconds that this thread has run, where the system tells; else seconds that went by. Other programs do not count then.
fn clock(begun: Instant) -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| begun.elapsed().as_secs_f64(), |ns| 1e-9 * ns)
}

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |s| s.parse())?;
    let asked: Vec<String> = arguments.collect();
    println!("{:28} {:>12} {:>10}", "TASK", "ENV STEPS/S", "EPISODE");
    for task in motley_mujoco::hands::tasks() {
        let name = task.name();
        if !asked.is_empty() && !asked.contains(&name) {
            continue;
        }
        let mut env = task.make(&Settings::new(task.keys()).section("task"))?;
        let (spec, mut stream) = (env.spec().clone(), Stream::new(0, Purpose::Check, 0, 0));
        let mut buf = FrameBuf::new(&spec);
        let (begun, mut steps, mut episodes, mut done) = (Instant::now(), 0u32, 0, true);
        let started = clock(begun);
        while clock(begun) - started < seconds {
            if done {
                env.reset(stream.fork(episodes), &mut buf.frame())?;
                episodes += 1;
            }
            let joint: Vec<f32> = (0..spec.action_len()).map(|_| 2.0 * stream.uniform_f32() - 1.0).collect();
            done = env.step(Actions::new(&spec, &joint), &mut buf.frame())?.done();
            steps += 1;
        }
        let rate = f64::from(steps) / (clock(begun) - started);
        println!("{name:28} {rate:>12.0} {:>10.1}", f64::from(steps) / episodes as f64);
    }
    Ok(())
}

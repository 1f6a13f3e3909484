//! Replays episodes of the particle suite for a comparison with another simulator.
//!
//! Each line of stdin is an episode, `{"task": .., "settings": ["key=value", ..], "seed": .., "actions": [[..], ..]}`; each
//! line of stdout answers with `{"frames": [{"pos", "vel", "obs", "rewards", "status"}, ..]}`, the start and every step,
//! numbers as the hexadecimal digits of their bits, or with `{"error": ..}`.

use std::io::{BufRead, Write};

use motley_core::{Actions, FrameBuf, Status};
use motley_envs::mpe::{self, Replay};
use motley_envs::{Registry, registry};
use serde_json::{Value, json};

type Fault = Box<dyn std::error::Error>;

fn frame(env: &dyn Replay, buf: &FrameBuf, status: Status) -> Value {
    let raw = env.raw();
    let wide = |xs: &mut dyn Iterator<Item = f64>| xs.map(|x| format!("{:016x}", x.to_bits())).collect::<Vec<_>>();
    json!({
        "pos": wide(&mut raw.pos.iter().flatten().copied()),
        "vel": wide(&mut raw.vel.iter().flatten().copied()),
        "obs": buf.obs.iter().map(|x| format!("{:08x}", x.to_bits())).collect::<Vec<_>>(),
        "rewards": wide(&mut buf.rewards.iter().copied()),
        "status": match status {
            Status::Running => "running",
            Status::Terminated => "terminated",
            Status::Truncated => "truncated",
        },
    })
}

fn episode(line: &str) -> Result<Value, Fault> {
    let ask: Value = serde_json::from_str(line)?;
    let name = ask["task"].as_str().ok_or("no task")?;
    let settings: Vec<&str> = ask["settings"].as_array().ok_or("no settings")?.iter().filter_map(Value::as_str).collect();
    let task = Registry::builtin().get(name)?;
    let mut env = mpe::open(name, &registry::options(&*task, &settings)?)?;
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.reset_from(ask["seed"].as_u64().ok_or("no seed")?, &mut buf.frame());
    let mut frames = vec![frame(&*env, &buf, Status::Running)];
    for joint in ask["actions"].as_array().ok_or("no actions")? {
        let joint: Option<Vec<f32>> = joint.as_array().ok_or("no action")?.iter().map(|x| x.as_f64().map(|x| x as f32)).collect();
        let status = env.step(Actions::new(&spec, &joint.ok_or("an action is no number")?), &mut buf.frame())?;
        frames.push(frame(&*env, &buf, status));
    }
    Ok(json!({ "frames": frames }))
}

fn main() -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = episode(&line?).unwrap_or_else(|fault| json!({ "error": fault.to_string() }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

//! Plays robots from given starts with given actions, for a comparison with another simulator.
//!
//! Each line of stdin is an episode, `{"task", "settings": ["key=value", ..], "qpos": [..], "qvel": [..], "actions": [[..], ..]}`;
//! each line of stdout answers with `{"frames": [{"qpos", "qvel", "obs": [[..], ..], "state", "reward", "status"}, ..]}`, the
//! start and every step, numbers as the hexadecimal digits of their bits before they are rounded to single precision, or
//! with `{"error": ..}`.

use std::io::{BufRead, Write};

use motley_core::{Actions, Env, FrameBuf, Origin, Settings, Status};
use motley_mujoco::mamujoco::{self, RobotEnv};
use serde_json::{Value, json};

type Fault = Box<dyn std::error::Error>;

fn bits(xs: &[f64]) -> Vec<String> {
    xs.iter().map(|x| format!("{:016x}", x.to_bits())).collect()
}

fn frame(env: &RobotEnv, reward: f64, status: Status) -> Value {
    let data = env.sim().data();
    json!({
        "qpos": bits(data.qpos()),
        "qvel": bits(data.qvel()),
        "obs": (0..env.spec().n()).map(|i| bits(&env.exact(Some(i)))).collect::<Vec<_>>(),
        "state": bits(&env.exact(None)),
        "reward": format!("{:016x}", reward.to_bits()),
        "status": match status {
            Status::Running => "running",
            Status::Terminated => "terminated",
            Status::Truncated => "truncated",
        },
    })
}

fn numbers(value: &Value) -> Result<Vec<f64>, Fault> {
    let all: Option<Vec<f64>> = value.as_array().ok_or("no list of numbers")?.iter().map(Value::as_f64).collect();
    Ok(all.ok_or("no number")?)
}

fn episode(line: &str) -> Result<Value, Fault> {
    let ask: Value = serde_json::from_str(line)?;
    let name = ask["task"].as_str().ok_or("no task")?;
    let task = motley_mujoco::tasks().into_iter().find(|t| t.name() == name).ok_or("no such task")?;
    let mut settings = Settings::new(task.keys());
    for setting in ask["settings"].as_array().ok_or("no settings")?.iter().filter_map(Value::as_str) {
        settings.set_text(&format!("task.{setting}"), Origin::CommandLine)?;
    }
    let mut env = mamujoco::open(name, &settings.section("task"))?;
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.start_from(&numbers(&ask["qpos"])?, &numbers(&ask["qvel"])?, &mut buf.frame())?;
    let mut frames = vec![frame(&env, 0.0, Status::Running)];
    for joint in ask["actions"].as_array().ok_or("no actions")? {
        let joint: Vec<f32> = numbers(joint)?.into_iter().map(|x| x as f32).collect();
        let status = env.step(Actions::new(&spec, &joint), &mut buf.frame())?;
        let written = (0..spec.n()).flat_map(|i| env.exact(Some(i))).map(|x| x as f32);
        if !written.eq(buf.obs.iter().copied()) {
            return Err("what was written is not what was seen".into());
        }
        frames.push(frame(&env, buf.rewards[0], status));
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

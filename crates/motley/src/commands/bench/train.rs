//! Whole training as a user gets it (logs included, and checkpoints that fall due; evaluations put off), for some seconds.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use motley_core::guard::check_frame;
use motley_core::{FrameBuf, TeamSpec};
use motley_run::RunFolder;
use motley_train::{Event, Registry, Trainer};
use serde_json::{Value, json};

use super::{short, time};
use crate::commands::config::request;
use crate::commands::list::table;
use crate::error::Failure;
use crate::output::Output;

/// Later than any benchmark: evaluations are no part of the rate.
const NEVER: &str = "eval.every=1000000000000000";

pub(super) fn run(words: &[String], seconds: f64, registry: &Registry, out: &Output) -> Result<(), Failure> {
    let mut asked = request(words, None)?;
    asked.overrides.push(NEVER.into());
    let plan = asked.plan(registry)?;
    let (algo, team) = (plan.algorithm.name(), std::sync::Arc::clone(&plan.team));
    let (task, agents) = (team.task.clone(), team.n());
    let dir = Scratch::new();
    let mut trainer = Trainer::start(plan, RunFolder::create(&dir.0)?)?;
    let threads = trainer.folder().info()?.threads;
    let stop = AtomicBool::new(false);
    let mut marks: Vec<(Instant, u64)> = Vec::new();
    trainer.train(&stop, &mut |event| match event {
        Event::Progress { env_steps, .. } => {
            marks.push((Instant::now(), *env_steps));
            if marks[0].0.elapsed().as_secs_f64() >= seconds {
                stop.store(true, Ordering::Relaxed);
            }
        }
        Event::Warning(text) => out.warning(text),
        _ => {}
    })?;
    let mut updates = updates(&trainer.folder().metrics_path());
    let warm = warm_up(&updates).min(marks.len().saturating_sub(2));
    updates.drain(..updates.len().min(warm + 1));
    let [(first, from), .., (last, to)] = marks[warm..] else {
        return Err(Failure::usage("the run ended before its second update: raise total_steps"));
    };
    let wall = (last - first).as_secs_f64();
    let rate = (to - from) as f64 / wall;
    let share = updates.iter().map(|u| u.seconds).sum::<f64>() / wall;
    let update_ms = mean_ms(&updates);
    let guards = rate * guard_seconds(&team);
    let memory = peak_memory();
    let titles =
        ["TRAINING", "THREADS", "ENV STEPS/S", "AGENT STEPS/S", "UPDATES", "UPDATE ms", "UPDATING", "GUARDS", "PEAK MEMORY"];
    let row = [
        format!("{algo} {task}"),
        threads.to_string(),
        short(rate),
        short(rate * agents as f64),
        updates.len().to_string(),
        update_ms.map_or("none learned".into(), |ms| format!("{ms:.1}")),
        format!("{:.0} %", 100.0 * share),
        format!("{:.2} %", 100.0 * guards),
        memory.map_or("unknown".into(), |bytes| format!("{:.0} MiB", bytes as f64 / 1_048_576.0)),
    ];
    table(out, &[titles.map(str::to_owned), row]);
    let fields = json!({
        "algo": algo,
        "task": task,
        "threads": threads,
        "seconds": wall,
        "env_steps": to - from,
        "env_steps_per_second": rate,
        "agent_steps_per_second": rate * agents as f64,
        "iterations": updates.len(),
        "update_ms": update_ms,
        "update_share": share,
        "guard_share": guards,
        "peak_memory_bytes": memory,
    });
    out.event("train_speed", fields);
    Ok(())
}

/// Seconds it takes to check what an environment wrote in one step, before anything learns from it. (The other guard, whether a
/// gradient is finite, reads the norm that clipping needs in any case.)
fn guard_seconds(team: &TeamSpec) -> f64 {
    const FRAMES: usize = 1000;
    let (mut buf, alive) = (FrameBuf::new(team), vec![true; team.n()]);
    let frame = buf.frame();
    let check = || {
        for _ in 0..FRAMES {
            std::hint::black_box(check_frame(team, std::hint::black_box(&frame), &alive).is_ok());
        }
    };
    time(0.1, check).least / FRAMES as f64
}

/// A run folder that goes with the benchmark.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("motley-bench-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Temporary files that stay are the system's to clear.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One iteration's update.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Update {
    seconds: f64,
    /// Whether a gradient step was taken: learners from replay first fill their memory.
    learned: bool,
}

/// The update of every iteration, from the log.
fn updates(log: &std::path::Path) -> Vec<Update> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let update = |line: &str| {
        let Value::Object(fields) = serde_json::from_str(line).ok()? else { return None };
        let seconds = fields.get("time/update_seconds")?.as_f64()?;
        Some(Update { seconds, learned: fields.keys().any(|name| name.starts_with("loss/")) })
    };
    text.lines().filter_map(update).collect()
}

/// The iteration from whose end the rate runs: the first that learned, which warms up. Before it learners from replay only fill their
/// memory, at many times the rate.
fn warm_up(updates: &[Update]) -> usize {
    updates.iter().position(|u| u.learned).unwrap_or(0)
}

/// The mean time of an update in which something was learned, in milliseconds.
fn mean_ms(updates: &[Update]) -> Option<f64> {
    let learned: Vec<f64> = updates.iter().filter(|u| u.learned).map(|u| u.seconds).collect();
    (!learned.is_empty()).then(|| 1e3 * learned.iter().sum::<f64>() / learned.len() as f64)
}

/// The most memory that this process ever held, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    peak_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"))?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_memory_is_read_from_the_status() {
        assert_eq!(peak_of("Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak_of("Name:\tx\n"), None);
    }

    #[test]
    fn the_log_holds_the_update_times() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("metrics.jsonl");
        let lines = [
            r#"{"time/update_seconds":0.5}"#,
            r#"{"other":1}"#,
            r#"{"loss/grad_norm":1.0,"time/update_seconds":0.25}"#,
            r#"{"loss/a/policy":1.0,"time/update_seconds":0.75}"#,
        ];
        std::fs::write(&log, lines.join("\n")).unwrap();
        let found = updates(&log);
        let update = |seconds, learned| Update { seconds, learned };
        assert_eq!(found, [update(0.5, false), update(0.25, true), update(0.75, true)]);
        assert_eq!((warm_up(&found), warm_up(&found[..1])), (1, 0));
        assert_eq!((mean_ms(&found), mean_ms(&found[..1])), (Some(500.0), None), "memory that fills is no update");
    }
}

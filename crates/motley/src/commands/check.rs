//! `motley check`: the environment contract, tried on a task; or a recorded trace, repeated.

use std::panic::{AssertUnwindSafe, catch_unwind};

use motley_envs::check::{Outcome, check};
use motley_envs::registry::options;
use motley_envs::trace::{TraceReport, check_trace};
use motley_train::Registry;
use serde_json::json;

use crate::args::CheckArgs;
use crate::error::Failure;
use crate::output::Output;

pub(crate) fn run(args: &CheckArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let task = registry.tasks.get(&args.task)?;
    let settings: Vec<&str> = args.settings.iter().map(|s| s.strip_prefix("task.").unwrap_or(s)).collect();
    let options = options(&*task, &settings)?;
    if let Some(file) = &args.trace {
        let report = check_trace(&args.task, &options, file)?;
        return Ok(tell_trace(&args.task, &report, out));
    }
    let lines = check(&|| task.make(&options), args.seed);
    if lines.first().is_some_and(|line| line.failed())
        && let Ok(Err(error)) = catch_unwind(AssertUnwindSafe(|| task.make(&options).map(drop)))
    {
        // Nothing was tried: the settings or a missing outside part are to blame, not the environment.
        return Err(error.into());
    }
    let mut counts = [0; 4];
    for line in &lines {
        let (kind, word, event, detail) = match &line.outcome {
            Outcome::Passed => (0, "ok", "passed", None),
            Outcome::Failed(why) => (1, "FAILED", "failed", Some(why)),
            Outcome::Warned(why) => (2, "warning", "warned", Some(why)),
            Outcome::Skipped(why) => (3, "skipped", "skipped", Some(why)),
        };
        counts[kind] += 1;
        out.line(format!("{word:<8} {}", line.name));
        if let Some(why) = detail {
            out.line(format!("         {why}"));
        }
        out.event("check", json!({ "check": line.name, "outcome": event, "detail": detail }));
    }
    let [passed, failed, warned, skipped] = counts;
    let verdict = if failed == 0 { "keeps the contract" } else { "BREAKS the contract" };
    out.line(format!("{} {verdict}: {passed} passed, {failed} failed, {warned} warned, {skipped} skipped", args.task));
    out.event("done", json!({ "task": args.task, "passed": passed, "failed": failed, "warned": warned, "skipped": skipped }));
    Ok(u8::from(failed > 0))
}

/// Prints a comparison; the exit code.
fn tell_trace(task: &str, report: &TraceReport, out: &Output) -> u8 {
    for line in &report.lines {
        let word = match line.allowed {
            None => "told",
            Some(_) if line.failed() => "FAILED",
            Some(_) => "ok",
        };
        let allowed = line.allowed.map_or(String::new(), |x| format!(" (allowed {x:.0e})"));
        let place = if line.place.is_empty() { String::new() } else { format!(", {}", line.place) };
        out.line(format!("{word:<8} {}: off by {:.1e}{allowed}{place}", line.what, line.worst));
        let detail = json!({ "what": line.what, "worst": line.worst, "allowed": line.allowed, "place": line.place });
        out.event("trace", detail);
    }
    let (steps, failed) = (report.steps, report.failed());
    let verdict = if failed { "DIFFERS from the trace" } else { "repeats the trace" };
    out.line(format!("{task} {verdict}: {steps} steps, each from the recorded state"));
    out.event("done", json!({ "task": task, "steps": steps, "failed": failed }));
    u8::from(failed)
}

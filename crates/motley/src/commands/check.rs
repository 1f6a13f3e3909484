//! `motley check`: the environment contract, tried on a task.

use std::panic::{AssertUnwindSafe, catch_unwind};

use motley_envs::check::{Outcome, check};
use motley_envs::registry::options;
use motley_train::Registry;
use serde_json::json;

use crate::args::CheckArgs;
use crate::error::Failure;
use crate::output::Output;

pub(crate) fn run(args: &CheckArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let task = registry.tasks.get(&args.task)?;
    let settings: Vec<&str> = args.settings.iter().map(|s| s.strip_prefix("task.").unwrap_or(s)).collect();
    let options = options(&*task, &settings)?;
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

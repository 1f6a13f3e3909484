//! `motley reproduce`: trains what a paper reports and says whether its result is reached.

use std::path::PathBuf;

use motley_core::ConfigError;
use motley_core::error::nearest;
use motley_envs::registry::options;
use motley_stats::published::{self, Comparison, Published, Source, Verdict};
use motley_stats::{FEWEST_SEEDS, RunRecord};
use motley_train::Registry;
use serde_json::{Value, json};

use crate::args::ReproduceArgs;
use crate::commands::compare::{bootstrap, digits, interval, refused};
use crate::commands::jobs::{self, Job, State};
use crate::commands::list::table;
use crate::commands::records::from_folder;
use crate::error::Failure;
use crate::output::Output;
use crate::signals::Stop;

/// The exit code of a band that was missed.
const MISSED: u8 = 4;
/// Bootstrap resamples of the interval.
const RESAMPLES: usize = 2000;

pub(crate) fn run(args: &ReproduceArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let result = find(&args.id)?;
    if !(args.steps_fraction > 0.0 && args.steps_fraction <= 1.0) {
        return Err(Failure::usage(format!(
            "--steps-fraction {}: expected a part of the budget, above 0 and at most 1",
            args.steps_fraction
        )));
    }
    if args.seeds == 0 {
        return Err(Failure::usage("--seeds 0: at least one run is needed"));
    }
    if let Some(why) = missing(result, registry) {
        return Err(Failure { code: 3, message: format!("{} cannot be run: {why}", result.id) });
    }
    let steps = ((result.steps as f64 * args.steps_fraction) as u64).max(1);
    let jobs = jobs(result, args, steps);
    out.note(describe(result));
    if args.seeds < FEWEST_SEEDS as u64 {
        out.warning(format!("{} seeds: an interval of fewer than {FEWEST_SEEDS} is too narrow", args.seeds));
    }
    let stop = Stop::listen()?;
    let failed = jobs::run(&jobs, args.parallel, registry, &stop.asked, out)?;
    if failed > 0 {
        return Err(Failure::run(format!("{failed} of {} runs failed: no verdict; give the command again to go on", jobs.len())));
    }
    let mut records: Vec<RunRecord> = Vec::new();
    for job in &jobs {
        if job.state(registry)? != State::Done {
            out.line("stopped: give the command again to go on");
            return Ok(stop.exit_code());
        }
        records.extend(from_folder(&job.dir, out)?.map(|r| until(r, steps)));
    }
    let comparison = result.compare(&records, steps, &bootstrap(RESAMPLES, 0)?).map_err(refused)?;
    report(result, steps, &records, &comparison, out);
    Ok(if matches!(comparison.verdict, Verdict::Missed | Verdict::Impossible) { MISSED } else { 0 })
}

/// The beginning of a run: a folder may hold one that was trained further than is asked about now.
fn until(mut record: RunRecord, steps: u64) -> RunRecord {
    let count = record.evaluations.iter().position(|e| e.env_steps >= steps).map_or(record.evaluations.len(), |last| last + 1);
    record.evaluations.truncate(count);
    record.env_steps = record.evaluations.last().map_or(0, |e| e.env_steps);
    record
}

fn find(id: &str) -> Result<&'static Published, Failure> {
    published::all().iter().find(|p| p.id == id).ok_or_else(|| {
        let near = nearest(id, published::all().iter().map(|p| p.id.as_str()));
        let hint =
            if near.is_empty() { "see motley list results".to_owned() } else { format!("did you mean {}?", near.join(" or ")) };
        Failure::usage(format!("unknown result \"{id}\" ({hint})"))
    })
}

/// Why this program cannot run it, if it cannot.
fn missing(result: &Published, registry: &Registry) -> Option<String> {
    if registry.algorithms.get(&result.algo).is_err() {
        return Some(format!("this build has no algorithm \"{}\"", result.algo));
    }
    let Ok(task) = registry.tasks.get(&result.task) else {
        return Some(format!("this build has no task \"{}\"", result.task));
    };
    // Other errors are those of settings, which the run tells.
    match options(&*task, &[]).and_then(|options| task.make(&options)) {
        Err(ConfigError::Missing { what, .. }) => Some(format!("needs {what}, see motley doctor")),
        _ => None,
    }
}

fn jobs(result: &Published, args: &ReproduceArgs, steps: u64) -> Vec<Job> {
    let above = args.out.clone().unwrap_or_else(|| PathBuf::from("runs/reproduce").join(&result.id));
    let preset = result.preset.iter().map(|p| format!("preset={p}"));
    let own: Vec<String> = preset.chain(result.settings.iter().cloned()).chain(args.settings.iter().cloned()).collect();
    let job = |seed: u64| {
        let fixed = [format!("total_steps={steps}"), format!("seed={seed}")];
        let words = [vec![result.algo.clone(), result.task.clone()], own.clone(), fixed.to_vec()].concat();
        Job { dir: above.join(format!("s{seed}")), words }
    };
    (0..args.seeds).map(job).collect()
}

fn describe(p: &Published) -> String {
    let d = digits(p.value);
    format!("{}: {}, {}: {:.d$} (band {:.d$} to {:.d$}) at {} env steps", p.id, p.paper, p.place, p.value, p.low, p.high, p.steps)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reached => "reached",
        Verdict::Missed => "missed",
        Verdict::Impossible => "impossible",
        Verdict::Unknown => "no verdict",
    }
}

fn report(result: &Published, steps: u64, records: &[RunRecord], c: &Comparison, out: &Output) {
    let d = digits(result.value);
    let theirs = c.published.map_or_else(|| "nothing published at these steps".to_owned(), |v| format!("published {v:.d$}"));
    let clearly = match (c.verdict, c.clear) {
        (Verdict::Reached | Verdict::Missed, true) => ", and the whole interval agrees",
        (Verdict::Reached | Verdict::Missed, false) => ", but the interval reaches across the edge of the band",
        (Verdict::Impossible, _) => ": better than any policy can be on this task, so something is wrong",
        (Verdict::Unknown, _) => "",
    };
    out.line(format!(
        "{}: {}{clearly}\nours {} over {} seeds at {steps} env steps; {theirs}",
        result.id,
        word(c.verdict),
        interval(&c.ours, d),
        records.len()
    ));
    if !result.note.is_empty() {
        out.line(format!("note: {}", result.note));
    }
    let fields = json!({
        "id": result.id, "algo": result.algo, "task": result.task, "verdict": word(c.verdict), "clear": c.clear,
        "value": c.ours.value, "low": c.ours.low, "high": c.ours.high, "seeds": records.len(), "env_steps": steps,
        "published": c.published, "band_low": result.low, "band_high": result.high,
    });
    out.event("done", fields);
}

/// `motley list results`.
pub(crate) fn list(registry: &Registry, out: &Output) {
    let mut rows = vec![["RESULT", "VALUE", "BAND", "ENV STEPS", "SOURCE", "TASK", "HERE"].map(str::to_owned)];
    for p in published::all() {
        let d = digits(p.value);
        let why = missing(p, registry);
        let task = [vec![p.task.clone()], p.settings.clone()].concat().join(" ");
        rows.push([
            p.id.clone(),
            format!("{:.d$}", p.value),
            format!("{:.d$} to {:.d$}", p.low, p.high),
            p.steps.to_string(),
            format!("{} ({})", p.place, source(p.source)),
            task,
            why.clone().unwrap_or_else(|| "can be run".into()),
        ]);
        let fields: Value = json!({
            "name": p.id, "paper": p.paper, "place": p.place, "source": source(p.source), "algo": p.algo, "task": p.task,
            "settings": p.settings, "total_steps": p.steps, "metric": p.metric, "value": p.value, "low": p.low, "high": p.high,
            "limit": p.limit, "note": p.note, "missing": why,
        });
        out.event("result", fields);
    }
    table(out, &rows);
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Table => "table",
        Source::Figure => "read off a figure",
        Source::Transcript => "transcript",
        Source::Logic => "follows from the payoffs",
        Source::Unverified => "unverified",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::config::request;

    /// Everything that can be run here resolves: names, settings, the algorithm fits the team.
    #[test]
    fn every_result_that_can_be_run_resolves() {
        let registry = Registry::builtin();
        let mut resolved = 0;
        for result in published::all().iter().filter(|r| missing(r, &registry).is_none()) {
            let args = ReproduceArgs {
                id: result.id.clone(),
                seeds: 1,
                steps_fraction: 1.0,
                parallel: None,
                out: None,
                settings: Vec::new(),
            };
            for job in jobs(result, &args, result.steps) {
                match request(&job.words, None).unwrap().plan_anywhere(&registry) {
                    // Robots resolve in builds with their engine.
                    Err(motley_core::ConfigError::Missing { .. }) => {}
                    Err(e) => panic!("{}: {e}", result.id),
                    Ok(_) => resolved += 1,
                }
            }
        }
        assert!(resolved >= 24, "HARL's particle figure is there: {resolved}");
        assert!(find("harl-spread-discrete/hapo").unwrap_err().message.contains("harl-spread-discrete/happo"));
    }
}

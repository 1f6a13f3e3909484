//! `motley train`: a new run, or a stopped one taken up again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use motley_core::Settings;
use motley_run::{CheckpointStore, RealDisk, RunFolder, RunInfo, default_dir, home, is_bundle, utc_now};
use motley_train::presets;
use motley_train::settings::{preset_of, setting};
use motley_train::{Consent, Event, How, NOT_DURABLE, NOT_LOGGED, NOT_WRITTEN, Outcome, Plan, Registry, Request, Trainer};
use serde_json::{Map, Value, json};

use crate::args::TrainArgs;
use crate::commands::config::{also, environment, preset, request};
use crate::commands::eval::{describe, eval_fields};
use crate::error::Failure;
use crate::output::{Output, event_line};
use crate::signals::Stop;
use motley_run::shell;

/// Between plain progress lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &TrainArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let stop = Stop::listen()?;
    let mut trainer = match &args.resume {
        Some(dir) => resume(dir, args, registry, out)?,
        None => start(args, registry, out)?,
    };
    let run = trainer.folder().root().to_owned();
    let info = trainer.folder().info()?;
    let farewell = format!(
        "an update was still at work {} s after SIGTERM: the last checkpoint stands (go on with: motley train --resume {})",
        args.grace,
        shell::path(&run)
    );
    let (last, for_program) = (last_word(&run, &info), out.is_json());
    stop.end_within(Duration::from_secs(args.grace), farewell, move || for_program.then(&last))?;
    let total: u64 = trainer.total_steps();
    let asked = args.resume.is_none() || args.words.iter().any(|word| word.starts_with("total_steps"));
    if asked && trainer.last_step() > total {
        out.note(format!("total_steps = {total} is rounded up to {}: training goes by whole rollouts", trainer.last_step()));
    }
    let begun = json!({
        "run": run.display().to_string(), "algo": info.algo, "task": info.task, "preset": info.preset, "seed": info.seed,
        "env_steps": info.env_steps, "total_steps": total,
    });
    out.event("started", begun);
    let mut shown = Progress::new(out, total);
    let outcome = trainer.train(&stop.asked, &mut |event| shown.see(event));
    shown.close();
    let outcome = outcome.map_err(|error| {
        let failure = Failure::from(error);
        Failure { message: format!("{} (run folder: {})", failure.message, run.display()), ..failure }
    })?;
    if let Some(what) = unsaved(&outcome, trainer.folder()) {
        return Err(Failure::run(what));
    }
    report(out, &run, &info.algo, &info.task, info.seed, &outcome);
    Ok(if outcome.finished { 0 } else { stop.exit_code() })
}

/// What of a training that ended is not in its folder, with the way on: it is no success then.
pub fn unsaved(outcome: &Outcome, folder: &RunFolder) -> Option<String> {
    let run = folder.root();
    if outcome.checkpoint_failed {
        let what = format!("{NOT_DURABLE}, {} env steps were done (run folder: {})", outcome.env_steps, run.display());
        return Some(format!("{what}: {}", way_on(folder)));
    }
    if outcome.finished && outcome.policy_failed {
        return Some(format!(
            "{NOT_WRITTEN}, {} env steps were done (run folder: {}): make way for {}; what was learned is in the checkpoints (motley eval {} --checkpoint latest)",
            outcome.env_steps,
            run.display(),
            folder.policy_dir().display(),
            shell::path(run)
        ));
    }
    if outcome.finished && !outcome.incomplete.is_empty() {
        let names = outcome.incomplete.join(", ");
        return Some(format!("{NOT_LOGGED}: {names} (run folder: {})", run.display()));
    }
    None
}

/// What can be done after checkpoints failed.
fn way_on(folder: &RunFolder) -> String {
    let run = shell::path(folder.root());
    let store = CheckpointStore::new(&folder.checkpoints_dir(), 1, Arc::new(RealDisk));
    match store.load_latest() {
        Ok(loaded) => {
            format!(
                "make room on the disk, then motley train --resume {run} goes on from the checkpoint at {} env steps",
                loaded.step
            )
        }
        Err(_) if is_bundle(&folder.policy_dir()) => format!(
            "no checkpoint is left to go on from; the best policy is in {} (motley eval {run}), to learn further train anew",
            folder.policy_dir().display()
        ),
        Err(_) => "no checkpoint and no policy is left: make room on the disk and train anew".into(),
    }
}

fn start(args: &TrainArgs, registry: &Registry, out: &Output) -> Result<Trainer, Failure> {
    let plan = request(&args.words, args.config.as_deref())?.plan(registry)?;
    let seed = seed_of(&plan.settings)?;
    let folder = match &args.out {
        Some(dir) => RunFolder::create(dir)?,
        None => {
            let dir = default_dir(&home(), &plan.team.task, plan.algorithm.name(), utc_now(), seed);
            RunFolder::create_beside(&dir)?
        }
    };
    out.note(format!(
        "training {} on {} ({}, seed {seed}) in {}",
        plan.algorithm.name(),
        plan.team.task,
        preset(&plan),
        folder.root().display()
    ));
    also(&plan).iter().for_each(|others| out.note(others));
    other_batch(&plan)?.iter().for_each(|note| out.note(note));
    Ok(Trainer::start_with(plan, folder, how())?)
}

/// Said where a preset's batch is not what it was tuned with: learning rates and passes go with it.
fn other_batch(plan: &Plan) -> Result<Option<String>, Failure> {
    let Some(preset) = plan.preset else { return Ok(None) };
    let tuned = |key: &str| -> Option<u64> {
        let value = match key.split_once('.') {
            Some((section, name)) => preset.settings.get(section)?.get(name)?,
            None => preset.settings.get(key)?,
        };
        value.as_integer()?.try_into().ok()
    };
    let (mut batch, mut own) = (1, 1);
    for key in ["num_envs", "algo.rollout_steps"] {
        let Some(value) = tuned(key) else { return Ok(None) };
        (batch, own) = (batch * plan.settings.get::<u64>(key)?, own * value);
    }
    Ok((batch != own).then(|| {
        format!("a rollout has {batch} env steps, the preset was tuned with {own}: learning rate and passes may not fit it")
    }))
}

/// What `run.json` says of this program.
fn how() -> How {
    How { commit: crate::COMMIT.map(ToOwned::to_owned), ..How::default() }
}

fn resume(dir: &Path, args: &TrainArgs, registry: &Registry, out: &Output) -> Result<Trainer, Failure> {
    if args.out.is_some() || args.config.is_some() {
        return Err(Failure::usage(
            "--resume goes on in the run's own folder with its own configuration: leave out --out and --config",
        ));
    }
    let folder = RunFolder::open(dir)?;
    let info = folder.info()?;
    // The run's own preset, named again, changes nothing.
    let taken = |name: &str| presets::find(&info.algo, &info.task, Some(name)).ok()?.map(|p| p.name.as_str());
    let own = |name: &str| info.preset.as_deref().is_some_and(|own| own == name || taken(name) == Some(own));
    let other = |named: Option<String>| named.is_none_or(|name| !own(&name));
    let (mut environment, mut overrides) = (environment()?, args.words.clone());
    environment.retain(|(name, value)| other(preset_of(&setting(name, value))));
    overrides.retain(|word| other(preset_of(word)));
    let consent = Consent { from: dir.display().to_string(), mark: info.signed.clone(), trust: args.trust.trust };
    let request = Request { algo: info.algo.clone(), task: info.task.clone(), file: None, environment, overrides, consent };
    let plan = request.resume(registry, &folder.config()?, false)?;
    let loaded = CheckpointStore::new(&folder.checkpoints_dir(), 1, Arc::new(RealDisk)).load_latest()?;
    out.note(format!("resuming {} on {} at {} steps in {}", info.algo, info.task, loaded.step, dir.display()));
    Ok(Trainer::resume(plan, folder, &loaded)?)
}

/// What a program is told where the time after SIGTERM is up: the event of a stop, at the last checkpoint.
fn last_word(run: &Path, info: &RunInfo) -> impl Fn() -> String + Send + 'static + use<> {
    let (run, info) = (run.to_owned(), info.clone());
    move || {
        let store = CheckpointStore::new(&run.join("checkpoints"), 1, Arc::new(RealDisk));
        let step = store.steps().ok().and_then(|steps| steps.last().copied());
        let fields = json!({
            "run": run.display().to_string(), "algo": info.algo, "task": info.task, "seed": info.seed, "env_steps": step,
        });
        event_line("stopped", fields)
    }
}

fn seed_of(settings: &Settings) -> Result<u64, Failure> {
    Ok(settings.get("seed")?)
}

fn report(out: &Output, run: &Path, algo: &str, task: &str, seed: u64, outcome: &Outcome) {
    let reached = outcome.eval.as_ref().map(describe).unwrap_or_else(|| "not evaluated".into());
    let how = if outcome.finished { "done" } else { "stopped" };
    out.line(format!(
        "{how}: {algo} on {task}, {} env steps in {:.1} s ({:.0} a second); {reached}",
        outcome.env_steps, outcome.wall_seconds, outcome.env_steps_per_second
    ));
    out.line(format!("run folder: {}", run.display()));
    if !outcome.finished {
        out.line(format!("go on with: motley train --resume {}", shell::path(run)));
    }
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("run", json!(run.display().to_string()));
    put("algo", json!(algo));
    put("task", json!(task));
    put("seed", json!(seed));
    put("env_steps", json!(outcome.env_steps));
    put("wall_seconds", json!(outcome.wall_seconds));
    put("env_steps_per_second", json!(outcome.env_steps_per_second));
    if let Some(summary) = &outcome.eval {
        fields.extend(eval_fields(summary));
    }
    out.event(how, Value::Object(fields));
}

/// A moving line on a terminal, a plain line now and then elsewhere.
struct Progress<'a> {
    out: &'a Output,
    total: u64,
    bar: Option<ProgressBar>,
    last_line: Instant,
    latest: Option<f64>,
}

impl<'a> Progress<'a> {
    fn new(out: &'a Output, total: u64) -> Self {
        let style = "{bar:30} {human_pos}/{human_len} steps  {msg}  eta {eta}";
        let bar = out.is_lively().then(|| {
            let bar = ProgressBar::new(total);
            bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { out, total, bar, last_line: Instant::now(), latest: None }
    }

    fn see(&mut self, event: &Event) {
        match event {
            Event::Started { env_steps } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(*env_steps);
                    bar.reset_eta();
                }
            }
            Event::Progress { env_steps, rate, episode_return } => {
                self.latest = episode_return.or(self.latest);
                let text = format!("{rate:.0} steps/s  return {:.2}", self.latest.unwrap_or(f64::NAN));
                if let Some(bar) = &self.bar {
                    bar.set_position((*env_steps).min(self.total));
                    bar.set_message(text);
                } else if self.last_line.elapsed() >= LINE_EVERY {
                    self.last_line = Instant::now();
                    let left = self.total.saturating_sub(*env_steps) as f64 / rate.max(1e-9);
                    self.out.note(format!("{env_steps}/{} steps  {text}  {left:.0} s left", self.total));
                }
                self.out.event(
                    "progress",
                    json!({ "env_steps": env_steps, "env_steps_per_second": rate, "episode_return": episode_return }),
                );
            }
            Event::Evaluated { env_steps, summary, best } => {
                let star = if *best { "  (best so far)" } else { "" };
                self.say(&format!("evaluation at {env_steps}: {}{star}", describe(summary)));
                let mut fields = Map::new();
                fields.insert("env_steps".into(), json!(env_steps));
                fields.extend(eval_fields(summary));
                self.out.event("evaluation", Value::Object(fields));
            }
            Event::Saved { env_steps } => self.out.event("checkpoint", json!({ "env_steps": env_steps })),
            Event::Warning(text) => match &self.bar {
                Some(bar) => bar.suspend(|| self.out.warning(text)),
                None => self.out.warning(text),
            },
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.note(text)),
            None => self.out.note(text),
        }
    }

    fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

//! The loop: collect, update, log, evaluate, checkpoint, until the budget is used or a stop is asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use motley_algos::{Algorithm, UpdateContext};
use motley_core::{Metrics, Purpose, Stream};
use motley_data::rollout::Rollout;
use motley_nn::{Mode, Policy, Pool};
use motley_run::{
    CheckpointError, CheckpointInfo, CheckpointStore, EvalEpisode, Identity, Loaded, RealDisk, RunFolder, RunInfo, RunStatus,
    Sinks, StateWriter, fingerprint, is_bundle, platform, utc_now, write_bundle,
};
use serde_json::{Map, Value, json};

use crate::budget::{check_budget, check_memory, check_seed, stretched, threads};
use crate::bundle::to_bundle;
use crate::consent::{mark, needs_mark, signed};
use crate::crash;
use crate::crew::{Crew, How, Rollouts};
use crate::error::{TrainError, guarded};
use crate::evaluate::{EvalError, EvalPlan, EvalSummary, Played, behavioural_distance, evaluate_until};
use crate::event::{Event, NOT_DURABLE, NOT_LOGGED, NOT_WRITTEN, Outcome};
use crate::faults::Faults;
use crate::recovery::watch;
use crate::settings::{EvalConfig, LogConfig, Plan, RunConfig, changes, check_kept, kept};
use crate::values::Values;

/// An environment that has not answered for so long is named to the user.
const PATIENCE: Duration = Duration::from_secs(30);

/// Said on going on in a folder whose policy is gone.
const BEST_LOST: &str =
    "the best policy is not in the folder any more: the next evaluation writes one anew, and is the best until a better comes";

/// Said where a folder of a task that runs code could not be given its user's mark.
const UNSIGNED: &str = "no key can be kept for this user (in $XDG_CONFIG_HOME/motley or ~/.config/motley), so the folder has no mark: to go on with this run, or to evaluate or draw it, say --trust or MOTLEY_TRUST=1";

/// A run at work.
pub struct Trainer {
    plan: Plan,
    run: RunConfig,
    eval: EvalConfig,
    log: LogConfig,
    folder: RunFolder,
    info: RunInfo,
    sinks: Sinks,
    store: CheckpointStore,
    pool: Pool,
    algorithm: Box<dyn Algorithm>,
    collector: Rollouts,
    roll: Rollout,
    counters: Counters,
    last_eval: Option<EvalSummary>,
    values: Values,
    faults: Faults,
    eval_faults: Faults,
    checkpoint_failed: bool,
    policy_failed: bool,
    /// Env steps of the last checkpoint that can be resumed exactly.
    exact_at: Option<u64>,
    /// Told when training begins.
    warnings: Vec<String>,
    patience: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Counters {
    env_steps: u64,
    updates: u64,
    best: Option<f64>,
    /// Env steps at which it was.
    best_at: Option<u64>,
    evaluated_at: Option<u64>,
    /// An evaluation that belongs to this step and is not done: a resumed run makes it up.
    due: Option<Due>,
}

/// What an evaluation needs that no checkpoint holds: it is measured on the rollout just learned from.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Due {
    distance: Option<f64>,
}

impl Trainer {
    /// A new run in a folder that was just created.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn start(plan: Plan, folder: RunFolder) -> Result<Self, TrainError> {
        Self::start_with(plan, folder, How::default())
    }

    /// As [`Trainer::start`], with environments elsewhere.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn start_with(plan: Plan, folder: RunFolder, how: How) -> Result<Self, TrainError> {
        let run = RunConfig::read(&plan.settings)?;
        let pool = Pool::new(threads(run.threads))?;
        let info = RunInfo {
            motley: env!("CARGO_PKG_VERSION").into(),
            git_commit: how.commit,
            platform: platform::platform(),
            cpu: platform::cpu(),
            threads: pool.threads(),
            algo: plan.algorithm.name().into(),
            task: plan.team.task.clone(),
            task_version: plan.team.version,
            seed: run.seed,
            preset: Some(plan.preset_name().to_owned()),
            status: RunStatus::Running,
            reason: None,
            started: utc_now().rfc3339(),
            env_steps: 0,
            exact_resume: true,
            changes: Vec::new(),
            evaluation_due: false,
            eval_env_failures: 0,
            signed: mark(&*plan.task, &plan.settings),
        };
        let unsigned = info.signed.is_none() && needs_mark(&*plan.task, &plan.settings);
        let mut trainer = Self::build(plan, run, pool, folder, info, how.crew)?;
        let disobedient = trainer.collector.start(&mut trainer.roll)?;
        trainer.info.exact_resume = disobedient.is_empty();
        trainer.warnings.extend(disobedient);
        trainer.warnings.extend(unsigned.then(|| UNSIGNED.to_owned()));
        trainer.warnings.extend(trainer.plan.algorithm.caveat(&trainer.plan.team, &trainer.plan.settings));
        trainer.folder.write_config(&trainer.plan.settings.to_table())?;
        trainer.folder.write_info(&trainer.info)?;
        Ok(trainer)
    }

    /// Goes on with a run from a loaded checkpoint.
    ///
    /// # Errors
    /// [`TrainError`]; a checkpoint of another algorithm, task or team is refused before anything changes.
    pub fn resume(plan: Plan, folder: RunFolder, loaded: &Loaded) -> Result<Self, TrainError> {
        Self::resume_with(plan, folder, loaded, How::default())
    }

    /// As [`Trainer::resume`], with environments elsewhere or other settings of the algorithm.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn resume_with(plan: Plan, folder: RunFolder, loaded: &Loaded, how: How) -> Result<Self, TrainError> {
        loaded.manifest.check(&Identity::new(plan.algorithm.name(), &plan.team))?;
        check_kept(&plan.settings, &loaded.manifest.info.config, how.retune)?;
        let run = RunConfig::read(&plan.settings)?;
        check_budget(run.total_steps, &folder.config()?, loaded.manifest.info.env_steps)?;
        let pool = Pool::new(threads(run.threads))?;
        let mut info = folder.info()?;
        check_seed(run.seed, info.seed)?;
        info.signed = mark(&*plan.task, &plan.settings).or(info.signed);
        (info.status, info.reason, info.threads) = (RunStatus::Running, None, pool.threads());
        info.changes.extend(changes(&plan.settings, &folder.config()?, loaded.manifest.info.env_steps, how.retune));
        let mut trainer = Self::build(plan, run, pool, folder, info, how.crew)?;
        trainer.algorithm.load(&loaded.state.scope("algorithm"))?;
        let policy = trainer.algorithm.policy();
        let not_restored = trainer.collector.load(&policy, &mut trainer.roll, &loaded.state.scope("collector"))?;
        // What is saved in the place of an exact checkpoint before anything is learned may not take its environments away.
        trainer.exact_at = loaded.manifest.info.exact_resume.then_some(loaded.manifest.info.env_steps);
        trainer.info.exact_resume &= loaded.manifest.info.exact_resume && not_restored.is_empty();
        trainer.warnings.extend(loaded.warnings.iter().cloned());
        if !loaded.manifest.info.exact_resume {
            trainer.warnings.push("this checkpoint was taken without its environments: episodes start anew".into());
        }
        trainer.warnings.extend(not_restored);
        trainer.warnings.extend(stretched(&trainer.plan.settings, &trainer.run, &trainer.folder.config()?));
        let counters = &loaded.manifest.info.counters;
        trainer.counters = Counters {
            env_steps: loaded.manifest.info.env_steps,
            updates: counters.get("updates").and_then(Value::as_u64).unwrap_or(0),
            best: counters.get("best").and_then(Value::as_f64),
            best_at: counters.get("best_at").and_then(Value::as_u64),
            evaluated_at: counters.get("evaluated_at").and_then(Value::as_u64),
            due: counters
                .get("evaluation_due")
                .map(|due| Due { distance: due.get("behavioural_distance").and_then(Value::as_f64) }),
        };
        if trainer.counters.best.is_some() && !is_bundle(&trainer.folder.policy_dir()) {
            trainer.counters.best = None;
            trainer.warnings.push(BEST_LOST.into());
        }
        // Killed between the checkpoint of the best evaluation and its mark.
        if trainer.counters.best_at == Some(loaded.step) && trainer.store.best().ok().flatten() != Some(loaded.step) {
            let marked = trainer.store.mark_best(loaded.step);
            trainer.warnings.extend(marked.err().map(|error| format!("the best checkpoint could not be marked: {error}")));
        }
        trainer.sinks.truncate_to(&loaded.manifest.info.logs);
        trainer.folder.clear_crash();
        trainer.folder.write_config(&trainer.plan.settings.to_table())?;
        trainer.folder.write_info(&trainer.info)?;
        Ok(trainer)
    }

    fn build(
        plan: Plan,
        run: RunConfig,
        pool: Pool,
        folder: RunFolder,
        info: RunInfo,
        crew: Option<Box<dyn Crew>>,
    ) -> Result<Self, TrainError> {
        let (eval, log) = (EvalConfig::read(&plan.settings)?, LogConfig::read(&plan.settings)?);
        let init = Stream::new(run.seed, Purpose::Init, 0, 0);
        let algorithm = plan.algorithm.build(&plan.team, &plan.settings, &init)?;
        let steps = algorithm.rollout_steps();
        let memory_len = algorithm.policy().memory_len();
        check_memory(&plan, &run, steps, memory_len)?;
        let collector = Rollouts::new(&plan, &run, crew)?;
        let sinks = Sinks::open(folder.root(), log.tensorboard)?;
        Ok(Self {
            roll: Rollout::new(Arc::clone(&plan.team), run.num_envs, steps, memory_len),
            store: CheckpointStore::new(&folder.checkpoints_dir(), log.keep, Arc::new(RealDisk)),
            counters: Counters { env_steps: 0, updates: 0, best: None, best_at: None, evaluated_at: None, due: None },
            last_eval: None,
            values: Values::default(),
            faults: Faults::default(),
            eval_faults: Faults::default(),
            checkpoint_failed: false,
            policy_failed: false,
            exact_at: None,
            warnings: folder.warning().map(str::to_owned).into_iter().collect(),
            patience: PATIENCE,
            plan,
            run,
            eval,
            log,
            folder,
            info,
            sinks,
            pool,
            algorithm,
            collector,
        })
    }

    /// The budget in env steps.
    pub fn total_steps(&self) -> u64 {
        self.run.total_steps
    }

    /// The env steps at which training will end: the budget in whole rollouts.
    pub fn last_step(&self) -> u64 {
        let rollout = (self.roll.envs() * self.roll.steps()) as u64;
        let done = self.counters.env_steps;
        done + self.run.total_steps.saturating_sub(done).div_ceil(rollout) * rollout
    }

    /// The folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// How long an environment may take over one step or reset before the user is told which one it is (30 s).
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Trains until the budget is used or `stop` is set; then evaluates (a finished run), checkpoints, and records how it ended.
    ///
    /// # Errors
    /// [`TrainError`]; what was learned before it is in the last checkpoint.
    pub fn train(&mut self, stop: &AtomicBool, see: &mut (dyn FnMut(&Event) + Send)) -> Result<Outcome, TrainError> {
        let start = Instant::now();
        let from = self.counters.env_steps;
        see(&Event::Started { env_steps: from });
        std::mem::take(&mut self.warnings).into_iter().for_each(|w| see(&Event::Warning(w)));
        let result = self.watched_loop(stop, start, see);
        self.tell_warnings(see);
        let (status, reason) = match &result {
            Ok(_) if self.checkpoint_failed => (RunStatus::Failed, Some(NOT_DURABLE.to_owned())),
            Ok(true) if self.policy_failed => (RunStatus::Failed, Some(NOT_WRITTEN.to_owned())),
            Ok(true) if !self.sinks.incomplete().is_empty() => {
                (RunStatus::Failed, Some(format!("{NOT_LOGGED}: {}", self.sinks.incomplete().join(", "))))
            }
            Ok(true) => (RunStatus::Done, None),
            Ok(false) => (RunStatus::Stopped, Some("a stop was asked for".to_owned())),
            Err(error) => (RunStatus::Failed, Some(error.to_string())),
        };
        (self.info.status, self.info.reason, self.info.env_steps) = (status, reason, self.counters.env_steps);
        self.info.evaluation_due = self.counters.due.is_some();
        if let Err(error) = &result {
            crash::report(&self.folder, &self.info, &self.plan.settings, error, see);
        }
        let written = self.folder.write_info(&self.info);
        let finished = result?;
        match written {
            // What was not saved matters more to whoever reads one line.
            Err(error) if self.checkpoint_failed => see(&Event::Warning(error.to_string())),
            written => written?,
        }
        let wall_seconds = start.elapsed().as_secs_f64();
        Ok(Outcome {
            finished,
            env_steps: self.counters.env_steps,
            wall_seconds,
            env_steps_per_second: (self.counters.env_steps - from) as f64 / wall_seconds.max(1e-9),
            eval: self.last_eval,
            checkpoint_failed: self.checkpoint_failed,
            policy_failed: self.policy_failed,
            incomplete: self.sinks.incomplete().into_iter().map(str::to_owned).collect(),
        })
    }

    /// The loop, beside a thread that names environments which fall silent.
    fn watched_loop(
        &mut self,
        stop: &AtomicBool,
        start: Instant,
        see: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<bool, TrainError> {
        let (beats, patience) = (self.collector.beats(), self.patience);
        let see = Mutex::new(see);
        let tell = |event: &Event| (see.lock().unwrap_or_else(PoisonError::into_inner))(event);
        let (ended, end) = mpsc::channel();
        std::thread::scope(|scope| {
            let tell = &tell;
            let silent = move |env: usize| {
                let seconds = patience.as_secs_f64();
                tell(&Event::Warning(format!("environment {env} has not answered for {seconds:.0} s; training waits for it")));
            };
            let watcher = std::thread::Builder::new().name("motley-watch".into());
            // Training goes on without the watcher where the system has no thread left.
            let _ = watcher.spawn_scoped(scope, move || watch(&beats, patience, end, silent));
            let result = self.run_loop(stop, start, &mut |event| tell(event));
            drop(ended);
            result
        })
    }

    fn run_loop(&mut self, stop: &AtomicBool, start: Instant, see: &mut dyn FnMut(&Event)) -> Result<bool, TrainError> {
        let from = self.counters.env_steps;
        if self.counters.updates == 0 {
            // From here on a run that is killed can be resumed, and a disk that cannot hold a checkpoint is known early.
            self.try_save(true, see).map_err(TrainError::First)?;
            self.tell_saved(see);
        }
        if self.counters.due.is_some() && !self.judge(true, stop, see)? {
            return Ok(false);
        }
        while self.counters.env_steps < self.run.total_steps {
            if stop.load(Ordering::Relaxed) {
                self.checkpoint(true, see);
                return Ok(false);
            }
            let before = self.counters.env_steps;
            self.iterate(start, from, see)?;
            let now = self.counters.env_steps;
            let crossed = |every: u64| before / every != now / every;
            let done = now >= self.run.total_steps;
            let save = crossed(self.log.checkpoint_every) || done;
            if !crossed(self.eval.every) && !done {
                if save {
                    self.checkpoint(false, see);
                }
                continue;
            }
            self.counters.due = Some(Due { distance: behavioural_distance(&self.algorithm.policy(), &self.roll) });
            if save {
                // An evaluation may be long: who is killed in it is not to lose more than it. Where this fails, the save behind it tells.
                let _ = self.try_save(true, see);
            }
            if !self.judge(save, stop, see)? {
                return Ok(false);
            }
        }
        if self.last_eval.is_none() {
            return self.judge(false, stop, see);
        }
        Ok(true)
    }

    /// Evaluates; then saves where that is asked for or this was the best so far. False where a stop came first: the checkpoint says
    /// that an evaluation is due, and the run goes on with it.
    fn judge(&mut self, save: bool, stop: &AtomicBool, see: &mut dyn FnMut(&Event)) -> Result<bool, TrainError> {
        let improved = match self.evaluate(stop, see) {
            Ok(improved) => improved,
            Err(TrainError::Eval(EvalError::Interrupted)) => {
                self.checkpoint(true, see);
                return Ok(false);
            }
            Err(error) => {
                // What was learned outlives it. Made up it would fail again: a resumed run goes on without it.
                self.counters.due = None;
                self.checkpoint(true, see);
                return Err(error);
            }
        };
        let saved = (save || improved) && self.checkpoint(self.counters.env_steps >= self.run.total_steps, see);
        if improved && saved {
            self.mark_best(see);
        }
        Ok(true)
    }

    /// One collection and one update.
    fn iterate(&mut self, start: Instant, from: u64, see: &mut dyn FnMut(&Event)) -> Result<(), TrainError> {
        let after = self.counters.env_steps + (self.roll.envs() * self.roll.steps()) as u64;
        let more = after < self.run.total_steps;
        let (collector, policy) = (&mut self.collector, self.algorithm.policy());
        let played = guarded("the policy", || collector.collect(policy, more, &mut self.roll, &self.pool))?;
        self.tell_failures(see);
        if let Err(error) = played {
            // Episodes are lost, nothing learned is: the environments start anew on resume.
            self.save_checkpoint(false, see);
            return Err(error.into());
        }
        let collected = Instant::now();
        let context = UpdateContext {
            pool: &self.pool,
            progress: self.run.progress(self.counters.env_steps),
            rng: Stream::new(self.run.seed, Purpose::Shuffle, 0, 0).fork(self.counters.updates),
        };
        let (algorithm, roll) = (&mut self.algorithm, &self.roll);
        let losses = guarded("the update", || context.pool.enter(|| algorithm.update(roll, &context)))??;
        self.counters.updates += 1;
        self.counters.env_steps = after;
        let rate = (self.counters.env_steps - from) as f64 / start.elapsed().as_secs_f64().max(1e-9);
        let mut metrics = self.episode_metrics();
        let episode_return = metrics.mean("train/episode_return");
        let odd = self.values.look(&self.roll, &mut metrics);
        metrics.merge("", &losses);
        metrics.add("time/env_steps_per_second", rate);
        metrics.add("time/update_seconds", collected.elapsed().as_secs_f64());
        self.sinks.log(self.counters.env_steps, &metrics);
        odd.into_iter().for_each(|warning| see(&Event::Warning(warning)));
        self.tell_warnings(see);
        self.roll.carry();
        see(&Event::Progress { env_steps: self.counters.env_steps, rate, episode_return });
        Ok(())
    }

    fn episode_metrics(&self) -> Metrics {
        let mut m = Metrics::new();
        for lane in &self.roll.lanes {
            for end in &lane.episodes {
                m.add("train/episode_return", end.team_return);
                m.add("train/mean_agent_return", end.agent_return);
                m.add("train/episode_length", end.length as f64);
                if let Some(won) = end.won {
                    m.add("train/win_rate", f64::from(u8::from(won)));
                }
            }
        }
        let holes = self.roll.lanes.iter().flat_map(|l| &l.valid).filter(|v| !**v).count();
        m.add("train/env_failures", holes as f64);
        m
    }

    fn tell_failures(&mut self, see: &mut dyn FnMut(&Event)) {
        let causes = self.collector.take_causes();
        let told = causes.iter().filter_map(|(env, cause)| self.faults.warning(*env, cause));
        told.for_each(|warning| see(&Event::Warning(warning)));
    }

    fn tell_warnings(&mut self, see: &mut dyn FnMut(&Event)) {
        self.sinks.take_warnings().into_iter().for_each(|w| see(&Event::Warning(w)));
    }

    /// Evaluates on streams of its own; returns whether it was the best so far.
    fn evaluate(&mut self, stop: &AtomicBool, see: &mut dyn FnMut(&Event)) -> Result<bool, TrainError> {
        let env_steps = self.counters.env_steps;
        let plan = EvalPlan {
            seed: self.run.seed,
            round: env_steps,
            episodes: self.eval.episodes,
            mode: if self.eval.stochastic { Mode::Sample } else { Mode::Greedy },
        };
        let policy = self.algorithm.policy();
        let played = evaluate_until(&policy, &self.plan.make, &self.pool, plan, stop)?;
        let summary = EvalSummary::of(&played);
        let told = played.failures.iter().filter_map(|(episode, cause)| self.eval_faults.eval_warning(*episode, cause));
        told.for_each(|warning| see(&Event::Warning(warning)));
        let due = self.counters.due.take();
        // A finished run taken up again evaluates only to tell its result: the logs have it already.
        if self.counters.evaluated_at.replace(env_steps) != Some(env_steps) {
            self.info.eval_env_failures += played.failures.len() as u64;
            let distance = due.map_or_else(|| behavioural_distance(&policy, &self.roll), |due| due.distance);
            self.log_evaluation(&played, &summary, distance);
        }
        self.last_eval = Some(summary);
        let best = self.counters.best.is_none_or(|b| summary.return_mean > b);
        if best {
            self.counters.best_at = Some(env_steps);
            let config = self.plan.settings.to_table();
            let bundle = to_bundle(&policy, self.plan.algorithm.name(), &config, env_steps, summary.return_mean)?;
            let bundle = signed(bundle, self.info.signed.as_deref());
            match write_bundle(&RealDisk, &self.folder.policy_dir(), &bundle) {
                // Only what is written is a best one: the next that beats those before is tried again.
                Ok(()) => (self.counters.best, self.policy_failed) = (Some(summary.return_mean), false),
                Err(error) => {
                    self.policy_failed = true;
                    see(&Event::Warning(format!("{NOT_WRITTEN}, training goes on: {error}")));
                }
            }
        }
        see(&Event::Evaluated { env_steps, summary, best });
        Ok(best)
    }

    fn log_evaluation(&mut self, played: &Played, summary: &EvalSummary, distance: Option<f64>) {
        let env_steps = self.counters.env_steps;
        let lines: Vec<EvalEpisode> = played
            .episodes
            .iter()
            .enumerate()
            .map(|(k, e)| EvalEpisode {
                env_steps,
                episode: k as u64,
                team_return: e.team_return,
                mean_agent_return: e.agent_return,
                length: e.length as u64,
                won: e.won,
            })
            .collect();
        self.sinks.eval(&lines);
        let mut m = summary.metrics();
        if let Some(distance) = distance {
            m.add("eval/behavioural_distance", distance);
        }
        self.sinks.log(env_steps, &m);
    }

    /// Saves; a failure is a warning, except that the last one of a run is remembered for the exit code.
    fn checkpoint(&mut self, last: bool, see: &mut dyn FnMut(&Event)) -> bool {
        let saved = self.save_checkpoint(true, see);
        if last {
            self.checkpoint_failed = !saved;
        }
        if saved {
            self.tell_saved(see);
        }
        saved
    }

    fn tell_saved(&mut self, see: &mut dyn FnMut(&Event)) {
        self.info.env_steps = self.counters.env_steps;
        if let Err(error) = self.folder.write_info(&self.info) {
            see(&Event::Warning(error.to_string()));
        }
        see(&Event::Saved { env_steps: self.counters.env_steps });
    }

    fn save_checkpoint(&mut self, with_envs: bool, see: &mut dyn FnMut(&Event)) -> bool {
        let at = self.counters.env_steps;
        if !with_envs && self.exact_at == Some(at) {
            return true;
        }
        let saved = self.try_save(with_envs, see);
        if let Err(error) = &saved {
            see(&Event::Warning(format!("checkpoint at {at} steps failed, training goes on: {error}")));
        }
        saved.is_ok()
    }

    fn try_save(&mut self, with_envs: bool, see: &mut dyn FnMut(&Event)) -> Result<(), CheckpointError> {
        let fill = |state: &mut StateWriter| {
            self.algorithm.save(&mut state.scope("algorithm"));
            self.collector.save(&self.roll, with_envs, &mut state.scope("collector"));
        };
        let mut counters = Map::new();
        counters.insert("updates".into(), json!(self.counters.updates));
        counters.insert("best".into(), json!(self.counters.best));
        counters.insert("best_at".into(), json!(self.counters.best_at));
        counters.insert("evaluated_at".into(), json!(self.counters.evaluated_at));
        if let Some(due) = self.counters.due {
            counters.insert("evaluation_due".into(), json!({ "behavioural_distance": due.distance }));
        }
        let config = kept(&self.plan.settings);
        let info = CheckpointInfo {
            identity: Identity::new(self.plan.algorithm.name(), &self.plan.team),
            config_hash: fingerprint(&config),
            config,
            env_steps: self.counters.env_steps,
            counters,
            logs: self.sinks.lengths(),
            exact_resume: with_envs,
        };
        let saved = self.store.save(&info, fill)?;
        self.exact_at = with_envs.then_some(self.counters.env_steps);
        saved.warnings.into_iter().for_each(|w| see(&Event::Warning(w)));
        Ok(())
    }

    fn mark_best(&self, see: &mut dyn FnMut(&Event)) {
        if let Err(error) = self.store.mark_best(self.counters.env_steps) {
            see(&Event::Warning(format!("the best checkpoint could not be marked: {error}")));
        }
    }
}

//! Training from Python: by name, or in an environment that lives in this process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use motley_core::{
    Actions, ConfigError as Config, Env, EnvError, Frame, Key, Phase, Status, Stream, Task, TaskOptions, TeamSpec,
};
use motley_run::{CheckpointStore, RealDisk, RunFolder, default_dir, home, utc_now};
use motley_train::settings::{preset_of, setting};
use motley_train::{Consent, Event, How, Outcome, Registry, Request, Trainer};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::array::Array;
use crate::crew::PyCrew;
use crate::{config_error, failed, run_error, share_path};

/// An environment whose adapter Python makes, in this process.
struct LocalTask {
    name: String,
    /// Makes an adapter: `json` (its team), `bind(arrays)`, `reset(seed)`, `step()`, `close()`. It sees to it that one is called at a time.
    make: Py<PyAny>,
}

/// How long Ctrl-C may wait to be noticed.
const NOTICE: Duration = Duration::from_millis(50);

/// The adapters' account of an exception, where they gave one.
fn account(py: Python<'_>, error: &PyErr) -> Option<String> {
    error.value(py).getattr("account").and_then(|account| account.extract()).ok()
}

/// An exception as an error of the environment.
fn environment_error(py: Python<'_>, error: &PyErr) -> EnvError {
    account(py, error).map_or_else(|| EnvError::Failed(told(py, error)), |json| motley_bridge::told(&json))
}

/// What an exception says.
pub(crate) fn told(py: Python<'_>, error: &PyErr) -> String {
    let named = error.value(py).str().map(|s| s.to_string()).unwrap_or_default();
    let kind = error.get_type(py).name().map(|n| n.to_string()).unwrap_or_default();
    format!("{kind}: {named}")
}

impl Task for LocalTask {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn summary(&self) -> String {
        "an environment of this Python process".into()
    }

    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }

    fn make(&self, _options: &TaskOptions) -> Result<Box<dyn Env>, Config> {
        Python::attach(|py| {
            let build = || -> PyResult<LocalEnv> {
                let adapter = Adapter(self.make.call0(py)?);
                let json: String = adapter.0.getattr(py, "json")?.extract(py)?;
                let team = motley_bridge::team(&self.name, json.as_bytes()).map_err(failed)?;
                let frame = [
                    Array::f32(py, vec![team.obs_len()], true)?,
                    Array::f32(py, vec![team.state_len()], true)?,
                    Array::f64(py, vec![team.n()], true)?,
                    Array::bytes(py, vec![team.mask_len()], true)?,
                    Array::bytes(py, vec![team.n()], true)?,
                    Array::f32(py, vec![team.action_len()], true)?,
                ];
                adapter.0.call_method1(py, "bind", (frame.each_ref().map(|a| a.clone_ref(py)),))?;
                Ok(LocalEnv { adapter, team: Arc::new(team), frame, phase: Phase::Fresh, won: false })
            };
            match build() {
                Ok(env) => Ok(Box::new(env) as Box<dyn Env>),
                Err(error) => Err(account(py, &error).map_or_else(
                    || Config::Invalid(format!("{}: {}", self.name, told(py, &error))),
                    |json| motley_bridge::refused(&self.name, &json),
                )),
            }
        })
    }
}

/// One that `make` made; it is closed with this.
struct Adapter(Py<PyAny>);

impl Drop for Adapter {
    fn drop(&mut self) {
        // An interpreter that ends has no more calls to give.
        Python::try_attach(|py| {
            if let Err(error) = self.0.call_method0(py, "close") {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// One copy; its arrays are obs, state, rewards, avail, alive, actions.
struct LocalEnv {
    adapter: Adapter,
    team: Arc<TeamSpec>,
    frame: [Py<Array>; 6],
    phase: Phase,
    /// Whether the last step said that the episode was won.
    won: bool,
}

impl LocalEnv {
    fn read(&self, out: &mut Frame<'_>) {
        let [obs, state, rewards, avail, alive, _] = &self.frame;
        out.obs.copy_from_slice(obs.get().lock().f32());
        out.state.copy_from_slice(state.get().lock().f32());
        out.rewards.copy_from_slice(rewards.get().lock().f64());
        out.avail.iter_mut().zip(avail.get().lock().bytes()).for_each(|(to, from)| *to = *from != 0);
        out.alive.iter_mut().zip(alive.get().lock().bytes()).for_each(|(to, from)| *to = *from != 0);
    }
}

impl Env for LocalEnv {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        (self.phase, self.won) = (Phase::Fresh, false);
        let seed = stream.next_u32() >> 1;
        Python::attach(|py| self.adapter.0.call_method1(py, "reset", (seed,)).map_err(|e| environment_error(py, &e)))?;
        self.read(out);
        self.phase = Phase::Running;
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.phase.running()?;
        self.phase = Phase::Fresh;
        self.frame[5].get().lock().f32().copy_from_slice(actions.flat());
        let (status, won): (u8, bool) = Python::attach(|py| {
            let told = self.adapter.0.call_method0(py, "step").and_then(|told| told.extract(py));
            told.map_err(|e: PyErr| environment_error(py, &e))
        })?;
        self.won = won;
        self.read(out);
        let status = match status {
            1 => Status::Terminated,
            2 => Status::Truncated,
            _ => Status::Running,
        };
        self.phase = if status.done() { Phase::Over } else { Phase::Running };
        Ok(status)
    }

    fn won(&self) -> Option<bool> {
        (self.team.winning && self.phase == Phase::Over).then_some(self.won)
    }
}

/// What a run is started from.
fn plan(
    request: &Request,
    registry: &Registry,
    resume: Option<&Path>,
    out: Option<&Path>,
    how: How,
) -> PyResult<(Trainer, PathBuf)> {
    let train_error = |e: motley_train::TrainError| match e {
        motley_train::TrainError::Config(e) => config_error(e),
        motley_train::TrainError::Run(e) => run_error(e),
        other => failed(other),
    };
    if let Some(dir) = resume {
        let folder = RunFolder::open(dir).map_err(run_error)?;
        let (info, config) = (folder.info().map_err(run_error)?, folder.config().map_err(run_error)?);
        for (what, asked, own) in [("algo", &request.algo, &info.algo), ("task", &request.task, &info.task)] {
            // An environment of this process that has another name is asked for in other words below.
            if !asked.is_empty() && asked != own && !own.starts_with("local/") {
                let text = format!("{} is a run of {what} {own}, {asked} was asked for: leave out {what}", dir.display());
                return Err(crate::ConfigError::new_err(text));
            }
        }
        let consent = Consent { from: dir.display().to_string(), mark: info.signed, ..request.consent.clone() };
        let (overrides, mut environment) = (request.overrides.clone(), request.environment.clone());
        // A preset is of the beginning of a run.
        environment.retain(|(name, value)| preset_of(&setting(name, value)).is_none());
        let again = Request { algo: info.algo, task: info.task, consent, environment, overrides, ..Request::default() };
        let plan = again.resume(registry, &config, how.retune).map_err(config_error)?;
        let store = CheckpointStore::new(&folder.checkpoints_dir(), 1, Arc::new(RealDisk));
        let loaded = store.load_latest().map_err(failed)?;
        return Ok((Trainer::resume_with(plan, folder, &loaded, how).map_err(train_error)?, dir.to_owned()));
    }
    let plan = request.plan(registry).map_err(config_error)?;
    let seed = plan.settings.get("seed").map_err(config_error)?;
    let named = || default_dir(&home(), &plan.team.task, plan.algorithm.name(), utc_now(), seed);
    let folder = out.map_or_else(|| RunFolder::create_beside(&named()), RunFolder::create).map_err(run_error)?;
    let dir = folder.root().to_owned();
    Ok((Trainer::start_with(plan, folder, how).map_err(train_error)?, dir))
}

/// Trains, or goes on with `resume` (with `retune`, under other settings of the algorithm). `see` is told of every event; Ctrl-C stops
/// after a checkpoint, and each further one calls `hurry`. With `crew` the environments lie in other processes. `trust` lets a run
/// folder of somebody else's run code.
/// Returns (run folder, finished, env steps, seconds, mean return of the last evaluation).
#[pyfunction]
#[pyo3(signature = (algo, task, config, overrides, out, resume, make, see, hurry, crew=None, retune=false, trust=false))]
#[allow(clippy::too_many_arguments, clippy::type_complexity, reason = "called in one place of the package, by name")]
pub(crate) fn train(
    py: Python<'_>,
    algo: String,
    task: String,
    config: Option<String>,
    overrides: Vec<String>,
    out: Option<PathBuf>,
    resume: Option<PathBuf>,
    make: Option<Py<PyAny>>,
    see: Py<PyAny>,
    hurry: Py<PyAny>,
    crew: Option<Py<PyAny>>,
    retune: bool,
    trust: bool,
) -> PyResult<(PathBuf, bool, u64, f64, Option<f64>)> {
    share_path(py)?;
    let mut registry = Registry::builtin();
    if let Some(make) = make {
        registry = registry.with_task(LocalTask { name: task.clone(), make });
    }
    let file = config.map(|text| text.parse().map(|table| ("config".to_owned(), table))).transpose();
    let file = file.map_err(|e: toml::de::Error| crate::ConfigError::new_err(format!("config: {e}")))?;
    let consent = Consent { trust, ..Consent::default() };
    let environment = motley::environment().map_err(crate::ConfigError::new_err)?;
    let request = Request { algo, task, file, environment, overrides, consent };
    let crew = crew.map(|object| PyCrew::new(py, object)).transpose()?;
    let how = How { crew: crew.map(|crew| Box::new(crew) as _), retune, commit: motley::COMMIT.map(ToOwned::to_owned) };
    let stop = AtomicBool::new(false);
    let raised: Mutex<Option<PyErr>> = Mutex::new(None);
    let raise = |error: PyErr| {
        stop.store(true, Ordering::Relaxed);
        raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    };
    let work = || {
        let (mut trainer, dir) = plan(&request, &registry, resume.as_deref(), out.as_deref(), how)?;
        let total = trainer.last_step().max(trainer.total_steps());
        let rounded =
            rounded_up(&trainer, resume.is_none() || request.overrides.iter().any(|word| word.starts_with("total_steps")));
        let see = &mut |event: &Event| {
            let told = Python::attach(|py| {
                tell(py, &see, event, total)?;
                match &rounded {
                    Some(note) if matches!(event, Event::Started { .. }) => tell(py, &see, note, total),
                    _ => Ok(()),
                }
            });
            if let Err(error) = told {
                raise(error);
            }
        };
        let outcome = trainer.train(&stop, see).map_err(|e| format!("{e} (run folder: {})", dir.display()));
        let outcome = outcome.and_then(|outcome: Outcome| match motley::unsaved(&outcome, trainer.folder()) {
            Some(what) => Err(what),
            None => Ok(outcome),
        });
        Ok::<_, PyErr>((dir, outcome))
    };
    let result = py.detach(|| watched(work, raise, &hurry));
    let raised = raised.into_inner().unwrap_or_else(PoisonError::into_inner);
    if raised.as_ref().is_some_and(|error| error.is_instance_of::<PyKeyboardInterrupt>(py)) {
        return Err(PyKeyboardInterrupt::new_err(match result {
            Ok((dir, Ok(_))) => format!("stopped after a checkpoint; go on with motley.train(resume={dir:?})"),
            Ok((_, Err(what))) => format!("stopped: {what}"),
            Err(error) => format!("stopped: {}", error.value(py)),
        }));
    }
    let (dir, outcome) = result?;
    let outcome = outcome.map_err(failed)?;
    match raised {
        Some(error) => Err(error),
        None => Ok((dir, outcome.finished, outcome.env_steps, outcome.wall_seconds, outcome.eval.map(|e| e.return_mean))),
    }
}

/// Runs `work` on a thread of its own while this one looks out for signals: Python raises Ctrl-C in its first thread alone, wherever that
/// is, and there an environment of this process would take it for a failure of its own. After the first Ctrl-C each one calls `hurry`.
fn watched<T: Send>(work: impl FnOnce() -> PyResult<T> + Send, raise: impl Fn(PyErr), hurry: &Py<PyAny>) -> PyResult<T> {
    std::thread::scope(|scope| {
        let (done, over) = channel::<()>();
        let worker = scope.spawn(move || {
            let result = work();
            drop(done);
            result
        });
        let mut interrupted = false;
        while over.recv_timeout(NOTICE) == Err(RecvTimeoutError::Timeout) {
            Python::attach(|py| {
                let Err(error) = py.check_signals() else { return };
                if error.is_instance_of::<PyKeyboardInterrupt>(py) {
                    if interrupted && let Err(error) = hurry.call0(py) {
                        error.write_unraisable(py, None);
                    }
                    interrupted = true;
                }
                raise(error);
            });
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What is said where the budget that was asked for is no whole number of rollouts.
fn rounded_up(trainer: &Trainer, asked: bool) -> Option<Event> {
    let (total, last) = (trainer.total_steps(), trainer.last_step());
    let text = || format!("total_steps = {total} is rounded up to {last}: training goes by whole rollouts");
    (asked && last > total).then(|| Event::Warning(text()))
}

/// One event as keyword arguments.
fn tell(py: Python<'_>, see: &Py<PyAny>, event: &Event, total: u64) -> PyResult<()> {
    let fields = PyDict::new(py);
    match event {
        Event::Started { env_steps } => {
            fields.set_item("event", "started")?;
            fields.set_item("env_steps", env_steps)?;
            fields.set_item("total_steps", total)?;
        }
        Event::Progress { env_steps, rate, episode_return } => {
            fields.set_item("event", "progress")?;
            fields.set_item("env_steps", env_steps)?;
            fields.set_item("env_steps_per_second", rate)?;
            fields.set_item("episode_return", episode_return)?;
        }
        Event::Evaluated { env_steps, summary, best } => {
            fields.set_item("event", "evaluation")?;
            fields.set_item("env_steps", env_steps)?;
            fields.set_item("eval_return_mean", summary.return_mean)?;
            fields.set_item("eval_return_std", summary.return_std)?;
            fields.set_item("eval_win_rate", summary.win_rate)?;
            fields.set_item("best", best)?;
        }
        Event::Saved { env_steps } => {
            fields.set_item("event", "checkpoint")?;
            fields.set_item("env_steps", env_steps)?;
        }
        Event::Warning(text) => {
            fields.set_item("event", "warning")?;
            fields.set_item("text", text)?;
        }
    }
    see.call1(py, (fields,)).map(drop)
}

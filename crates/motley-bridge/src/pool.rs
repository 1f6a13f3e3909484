//! The workers of one task and the seats in them: a seat is one environment in one worker.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use motley_core::{ConfigError, EnvError, TeamSpec};
use serde_json::json;

use crate::interpreter;
use crate::link::{Ask, CallError, Link};
use crate::spec;

const PROTOCOL: u32 = 1;
/// Workers of one task that may hang before no more are started: then a reset fails, and the run stops with a checkpoint.
const MAX_HANGS: u32 = 3;

/// What is opened, and how patiently.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The task's whole name.
    pub(crate) task: String,
    /// Which maker of the Python side.
    pub(crate) kind: &'static str,
    /// What it makes: `module:callable`, an id, a scenario.
    pub(crate) target: String,
    /// Keyword arguments.
    pub(crate) kwargs: serde_json::Value,
    /// Processes at most.
    pub(crate) workers: usize,
    /// For one step.
    pub(crate) step_patience: Duration,
    /// For building and for resetting.
    pub(crate) reset_patience: Duration,
    /// Steps after which an episode is cut; 0 leaves it to the environment.
    pub(crate) max_steps: usize,
}

/// Files here lie in memory.
const MEMORY: &str = "/dev/shm";

/// A process slot: the process may be replaced, which makes it another generation.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    held: Mutex<Held>,
    seats: AtomicU32,
}

#[derive(Debug, Default)]
pub(crate) struct Held {
    link: Option<Link>,
    generation: u64,
}

/// One environment of a worker and its segment of shared memory.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) worker: Arc<Worker>,
    pub(crate) slot: u32,
    /// The generation of the process that has it, 0 for none yet.
    generation: u64,
    pub(crate) segment: Option<File>,
}

/// The workers of one task with its settings.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) source: Source,
    team: OnceLock<Arc<TeamSpec>>,
    workers: Mutex<Vec<Arc<Worker>>>,
    free: Mutex<Vec<Seat>>,
    slots: AtomicU32,
    hangs: AtomicU32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    /// What the process answered to the last call.
    pub(crate) fn answer(&self) -> &[u8] {
        self.link.as_ref().map_or(&[], Link::answer)
    }
}

impl Worker {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}

impl Pool {
    pub(crate) fn new(source: Source) -> Self {
        let (workers, free) = (Mutex::default(), Mutex::default());
        Self { source, team: OnceLock::new(), workers, free, slots: AtomicU32::new(0), hangs: AtomicU32::new(0) }
    }

    /// The team, asked of a first worker once.
    ///
    /// # Errors
    /// An interpreter, package or environment that is missing or cannot be used.
    pub(crate) fn team(&self) -> Result<Arc<TeamSpec>, ConfigError> {
        if let Some(team) = self.team.get() {
            return Ok(Arc::clone(team));
        }
        let seat = self.sit();
        let started = self.ensure(&mut seat.worker.lock());
        self.leave(seat);
        started?;
        let unknown = || ConfigError::Invalid(format!("{}: the worker did not describe its team", self.source.task));
        self.team.get().cloned().ok_or_else(unknown)
    }

    /// A free seat, or a new one in the worker that has the fewest.
    pub(crate) fn sit(&self) -> Seat {
        if let Some(seat) = lock(&self.free).pop() {
            return seat;
        }
        let mut workers = lock(&self.workers);
        if workers.len() < self.source.workers {
            workers.push(Arc::default());
        }
        let emptiest = workers.iter().min_by_key(|w| w.seats.load(Ordering::Relaxed)).map(Arc::clone).unwrap_or_default();
        emptiest.seats.fetch_add(1, Ordering::Relaxed);
        Seat { worker: emptiest, slot: self.slots.fetch_add(1, Ordering::Relaxed), generation: 0, segment: None }
    }

    /// Gives a seat back; its environment stays, to be reset by the next who sits there.
    pub(crate) fn leave(&self, seat: Seat) {
        lock(&self.free).push(seat);
    }

    /// A running process with this seat's environment in it.
    pub(crate) fn open(&self, held: &mut Held, seat: &mut Seat, bytes: usize) -> Result<(), EnvError> {
        self.ensure(held).map_err(|e| EnvError::Failed(e.to_string()))?;
        if seat.generation == held.generation {
            return Ok(());
        }
        let failed = |e: std::io::Error| {
            EnvError::Failed(format!(
                "{bytes} bytes of shared memory for {} could not be had: {e}; make {MEMORY} larger (docker --shm-size) or use fewer num_envs",
                self.source.task
            ))
        };
        let (path, file) = segment(bytes as u64).map_err(failed)?;
        let opened = self.call(held, Ask::Open, seat.slot, path.as_os_str().as_encoded_bytes(), self.source.reset_patience);
        // Both sides have it open now, or never will: nothing is left behind however either ends.
        let removed = std::fs::remove_file(&path).map_err(failed);
        opened?;
        removed?;
        (seat.segment, seat.generation) = (Some(file), held.generation);
        Ok(())
    }

    /// Asks the process that holds this seat; one that died or hangs is ended, and the next reset starts another.
    pub(crate) fn call(&self, held: &mut Held, ask: Ask, slot: u32, payload: &[u8], patience: Duration) -> Result<(), EnvError> {
        let Some(link) = &mut held.link else {
            return Err(EnvError::Failed(format!("the worker of {} is gone", self.source.task)));
        };
        let error = match link.call(ask, slot, payload, patience) {
            Ok(_) => return Ok(()),
            Err(CallError::Told(told)) => return Err(told.into()),
            Err(CallError::Died(how)) => EnvError::Failed(format!("the worker of {} died: {how}", self.source.task)),
            Err(CallError::Hung(patience)) => {
                self.hangs.fetch_add(1, Ordering::Relaxed);
                EnvError::Failed(format!(
                    "{} did not answer within {} s and was killed (task.step_timeout, task.reset_timeout)",
                    self.source.task,
                    patience.as_secs_f64()
                ))
            }
        };
        if let Some(link) = held.link.take() {
            link.end_at_once();
        }
        Err(error)
    }

    /// Whether this seat's environment lives in the process that runs now.
    pub(crate) fn holds(&self, held: &Held, seat: &Seat) -> bool {
        held.link.is_some() && seat.generation == held.generation
    }

    /// Starts the process where none runs.
    fn ensure(&self, held: &mut Held) -> Result<(), ConfigError> {
        if held.link.is_some() {
            return Ok(());
        }
        let task = &self.source.task;
        if self.hangs.load(Ordering::Relaxed) >= MAX_HANGS {
            return Err(ConfigError::Invalid(format!("{task} hung {MAX_HANGS} times: no more workers are started")));
        }
        let python = interpreter();
        let mut link = Link::start().map_err(|e| ConfigError::Missing {
            what: format!("Python (\"{}\" could not be started: {e})", python.display()),
            mend: "install Python 3.10 or newer with numpy, or name an interpreter with MOTLEY_PYTHON".into(),
        })?;
        let hello = json!({
            "protocol": PROTOCOL, "kind": self.source.kind, "target": self.source.target, "kwargs": self.source.kwargs,
        });
        let said = link.call(Ask::Hello, 0, hello.to_string().as_bytes(), self.source.reset_patience);
        let invalid = |text: String| ConfigError::Invalid(format!("{task}: {text}"));
        let mut team = match said {
            Ok(json) => spec::team(task, json).map_err(|e| invalid(e.to_string()))?,
            Err(CallError::Told(told)) => return Err(told.refusal(task)),
            Err(CallError::Died(how)) => {
                return Err(invalid(format!(
                    "{} ended before it described the environment: {how}; what it printed stands above",
                    python.display()
                )));
            }
            Err(CallError::Hung(patience)) => {
                self.hangs.fetch_add(1, Ordering::Relaxed);
                link.end_at_once();
                return Err(invalid(format!("building it took more than {} s (task.reset_timeout)", patience.as_secs_f64())));
            }
        };
        if self.source.max_steps > 0 {
            team.step_limit = Some(team.step_limit.map_or(self.source.max_steps, |limit| limit.min(self.source.max_steps)));
        }
        let known = self.team.get_or_init(|| Arc::new(team.clone()));
        if **known != team {
            return Err(invalid("a new worker describes another team than the first one".into()));
        }
        held.link = Some(link);
        held.generation += 1;
        Ok(())
    }
}

/// A file of so many zero bytes in memory where the system has such a folder, else among temporary files.
fn segment(bytes: u64) -> std::io::Result<(PathBuf, File)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("motley-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let made = zeroed(&Path::new(MEMORY).join(&name), bytes);
    made.or_else(|small| zeroed(&std::env::temp_dir().join(&name), bytes).map_err(|_| small))
}

/// A new file of zeros, written out: a file that only has its size would be found too large for its disk when it is used, by a
/// signal that ends the worker.
fn zeroed(path: &Path, bytes: u64) -> std::io::Result<(PathBuf, File)> {
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    match std::io::copy(&mut std::io::repeat(0).take(bytes), &mut file) {
        Ok(_) => Ok((path.to_owned(), file)),
        Err(error) => {
            let _ = std::fs::remove_file(path);
            Err(error)
        }
    }
}

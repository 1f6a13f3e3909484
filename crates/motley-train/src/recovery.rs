//! What is done when an environment fails or falls silent: the policy of recovery in one place.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use motley_core::guard::{check_frame, panic_text};
use motley_core::{ActionSpace, AgentSpec, ConfigError, Env, EnvError, Frame, RewardKind, StateSpace, Stream, TeamSpec};
use motley_envs::check::differs;

use crate::collect::{CollectError, MakeEnv};

/// Resets tried before an environment is given up.
pub const MAX_RESETS: u64 = 3;

/// Pause before the second reset; doubled before the third.
const BACK_OFF: Duration = Duration::from_millis(100);

/// One more copy of the environment, held against the team that the run was planned for.
///
/// # Errors
/// What the task says, a panic, or a copy that shows another team; the text names the agent, what was expected and what was found.
pub fn build(make: &MakeEnv, team: &TeamSpec) -> Result<Box<dyn Env>, ConfigError> {
    let built = catch_unwind(AssertUnwindSafe(|| make()));
    let env = built
        .map_err(|panic| ConfigError::Invalid(format!("building {} panicked: {}", team.task, panic_text(panic.as_ref()))))??;
    match difference(team, env.spec()) {
        None => Ok(env),
        Some(what) => Err(ConfigError::Invalid(format!("a copy of {} shows another team than the first one: {what}", team.task))),
    }
}

/// The first thing in which two teams differ, by the name of the agent where it is one's.
pub fn difference(expected: &TeamSpec, found: &TeamSpec) -> Option<String> {
    if let Some((a, b)) = expected.agents.iter().zip(&found.agents).find(|(a, b)| a != b) {
        let count = if expected.n() == found.n() {
            String::new()
        } else {
            format!("; expected {} agents in all, found {}", expected.n(), found.n())
        };
        return Some(format!("agent \"{}\": {}{count}", a.name, unlike(traits(a), traits(b))));
    }
    if expected.n() != found.n() {
        let more = if expected.n() > found.n() { expected } else { found };
        let name = &more.agents[expected.n().min(found.n())].name;
        return Some(format!("expected {} agents, found {} (agent \"{name}\" is the odd one)", expected.n(), found.n()));
    }
    (expected != found).then(|| unlike(rules(expected), rules(found)))
}

/// Named properties in words.
type Named = Vec<(&'static str, String)>;

/// `observation: expected 18 numbers, found 10 numbers; ...` of what differs.
fn unlike(expected: Named, found: Named) -> String {
    let told =
        |((name, a), (_, b)): ((&str, String), (&str, String))| (a != b).then(|| format!("{name}: expected {a}, found {b}"));
    let all: Vec<String> = expected.into_iter().zip(found).filter_map(told).collect();
    if all.is_empty() { "what its actions mean is not the same".into() } else { all.join("; ") }
}

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "none".into(), |v| v.to_string())
}

fn traits(agent: &AgentSpec) -> Named {
    let bounds = match &agent.action {
        ActionSpace::Box { low, high } => format!(" from {low:?} to {high:?}"),
        _ => String::new(),
    };
    let columns = |at: &Option<Range<usize>>| {
        or_none(at.as_ref().map(|at| format!("entries {} to {}", at.start, at.end.saturating_sub(1))))
    };
    vec![
        ("name", agent.name.clone()),
        ("kind", agent.kind.clone()),
        ("observation", agent.obs.describe()),
        ("action", format!("{}{bounds}", agent.action.describe())),
        ("action of the dead", or_none(agent.noop)),
        ("position in its observation", columns(&agent.position)),
        ("velocity in its observation", columns(&agent.velocity)),
    ]
}

fn rules(team: &TeamSpec) -> Named {
    let state = match team.state {
        StateSpace::Ep(n) => format!("{n} numbers for the team"),
        StateSpace::Fp(n) => format!("{n} numbers for each agent"),
    };
    let reward = match team.reward {
        RewardKind::Common => "one for the team",
        RewardKind::Own => "one for each agent",
    };
    vec![
        ("state", state),
        ("reward", reward.to_owned()),
        ("masks", team.masks.to_string()),
        ("deaths", team.deaths.to_string()),
        ("winning", team.winning.to_string()),
        ("step limit", or_none(team.step_limit)),
        ("version of its rules", team.version.to_string()),
        ("task", team.task.clone()),
    ]
}

/// Resets an environment, each attempt with a stream of its own; one that panics is dropped and built anew. Returns the attempts
/// used.
///
/// # Errors
/// The last attempt's error.
pub fn reset_with_retries(
    env: &mut Box<dyn Env>,
    make: &MakeEnv,
    team: &TeamSpec,
    frame: &mut Frame<'_>,
    stream: impl Fn(u64) -> Stream,
) -> Result<u64, EnvError> {
    restart(env, false, make, team, frame, stream).map(|done| done.attempts)
}

/// How an environment was brought to a new episode.
#[derive(Debug, Clone, PartialEq)]
pub struct Restarted {
    /// Attempts used, the one that succeeded among them.
    pub attempts: u64,
    /// Why the last one before it failed, if one did.
    pub failed: Option<EnvError>,
}

/// As [`reset_with_retries`]; an environment that is `broken` (it panicked) is not even tried.
///
/// # Errors
/// The last attempt's error; at once what trying again does not mend.
pub fn restart(
    env: &mut Box<dyn Env>,
    mut broken: bool,
    make: &MakeEnv,
    team: &TeamSpec,
    frame: &mut Frame<'_>,
    stream: impl Fn(u64) -> Stream,
) -> Result<Restarted, EnvError> {
    let mut failed = None;
    for attempt in 0..MAX_RESETS {
        if attempt > 0 {
            std::thread::sleep(BACK_OFF * (1 << (attempt - 1)));
        }
        if broken {
            match build(make, team) {
                Ok(new) => *env = new,
                Err(error) => {
                    failed = Some(EnvError::Failed(error.to_string()));
                    continue;
                }
            }
        }
        frame.prepare();
        let tried = catch_unwind(AssertUnwindSafe(|| env.reset(stream(attempt), frame)));
        broken = tried.is_err();
        let checked = match tried {
            // First of all: what another team writes is not to be judged by the spaces of this one.
            Ok(reset) => same_team(team, env.spec()).and(reset).and_then(|()| check_frame(team, frame, frame.alive)),
            Err(panic) => Err(EnvError::Panicked(panic_text(panic.as_ref()))),
        };
        match checked {
            Ok(()) => return Ok(Restarted { attempts: attempt + 1, failed }),
            Err(error @ EnvError::Misshaped { .. }) => return Err(error),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or(EnvError::NotRunning("before a reset")))
}

/// Holds what an environment shows after a reset against the team that its rows were laid out for.
fn same_team(team: &TeamSpec, found: &TeamSpec) -> Result<(), EnvError> {
    if std::ptr::eq(team, found) || team == found {
        return Ok(());
    }
    Err(EnvError::Misshaped {
        where_: "the team after a reset".into(),
        expected: "the one that the environment was made with".into(),
        found: format!("another ({})", difference(team, found).unwrap_or_default()),
    })
}

/// The warning about an environment without snapshots that is no function of its seed: such a run cannot be resumed exactly. Tried
/// on one copy, which must be reset afterwards. An environment that fails meanwhile is left to those who then play it.
pub(crate) fn disobedience(env: &mut dyn Env, broken: &mut bool, team: &TeamSpec, episode: &Stream) -> Option<String> {
    let tried = catch_unwind(AssertUnwindSafe(|| differs(env, episode)));
    *broken = tried.is_err();
    let frame = tried.ok()?.ok()??;
    Some(format!(
        "{} is no function of its seed: one episode played twice differs at frame {frame}. Training goes on, but a resumed run will not be bit for bit as if never stopped (exact_resume is false); see motley check {}",
        team.task, team.task
    ))
}

/// Env steps over which failures are counted.
const WINDOW: u64 = 10_000;

/// Failures of a run's environments, counted over windows, so that rollouts of a few steps are judged as long ones are.
#[derive(Debug)]
pub struct Failures {
    /// Failures borne in [`WINDOW`] env steps.
    limit: usize,
    /// Env steps and failures of the present window of at least [`WINDOW`] env steps.
    pub(crate) window: [u64; 2],
}

impl Failures {
    /// None yet; `limit` in 10,000 env steps are borne.
    pub fn new(limit: usize) -> Self {
        Self { limit, window: [0; 2] }
    }

    /// Adds what happened in `steps` env steps: `failures`, and where and how the last one was.
    ///
    /// # Errors
    /// [`CollectError::TooManyFailures`].
    pub fn judge(&mut self, steps: usize, failures: u64, last: Option<(usize, EnvError)>) -> Result<(), CollectError> {
        if self.window[0] >= WINDOW {
            self.window = [0; 2];
        }
        self.window[0] += steps as u64;
        self.window[1] += failures;
        let ([steps, failures], limit) = (self.window, self.limit);
        match last {
            Some((env, cause)) if failures * WINDOW > limit as u64 * steps.max(WINDOW) => {
                Err(CollectError::TooManyFailures { failures: failures as usize, steps: steps as usize, limit, env, cause })
            }
            _ => Ok(()),
        }
    }
}

/// Which environment each collecting thread is in. A beat is one relaxed store; only [`watch`] looks at a clock.
#[derive(Debug)]
pub struct Beats {
    slots: Vec<Beat>,
}

/// A cache line of its own, so that threads do not wait for each other's beats.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Beat(AtomicU64);

/// Bits of a beat that hold 1 + the environment's index (`num_envs` is at most 100,000); 0 is none.
const ENV_BITS: u32 = 20;
const ENV: u64 = (1 << ENV_BITS) - 1;

impl Beat {
    /// The thread goes into environment `env`.
    pub(crate) fn enter(&self, env: usize) {
        self.next(env as u64 + 1);
    }

    /// The thread is in no environment.
    pub(crate) fn leave(&self) {
        self.next(0);
    }

    /// Only the owning thread writes, so that load and store need not be one operation.
    fn next(&self, low: u64) {
        let tick = (self.0.load(Ordering::Relaxed) >> ENV_BITS).wrapping_add(1);
        self.0.store((tick << ENV_BITS) | low, Ordering::Relaxed);
    }
}

impl Beats {
    /// For at most `threads` threads.
    pub fn new(threads: usize) -> Self {
        Self { slots: (0..threads).map(|_| Beat::default()).collect() }
    }

    pub(crate) fn slot(&self, thread: usize) -> &Beat {
        &self.slots[thread]
    }
}

/// Calls `silent(environment)` once for every call into an environment that takes longer than `patience`; returns when the
/// other end of `end` is dropped. A native environment shares memory with its thread, so it can be named, not stopped.
pub fn watch(beats: &Beats, patience: Duration, end: Receiver<()>, mut silent: impl FnMut(usize)) {
    let mut seen: Vec<(u64, Instant, bool)> = beats.slots.iter().map(|_| (0, Instant::now(), false)).collect();
    while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(patience / 4) {
        for (slot, (value, since, told)) in beats.slots.iter().zip(&mut seen) {
            let now = slot.0.load(Ordering::Relaxed);
            if now != *value {
                (*value, *since, *told) = (now, Instant::now(), false);
            } else if now & ENV != 0 && !*told && since.elapsed() >= patience {
                *told = true;
                silent((now & ENV) as usize - 1);
            }
        }
    }
}

//! Collection: every thread owns some environments and plays them for a whole rollout without waiting for the others.
//!
//! Acting is per row and every stream belongs to one environment, so what is collected does not depend on how
//! environments are dealt to threads.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use motley_core::guard::{self, panic_text};
use motley_core::{Actions, ConfigError, Env, EnvError, Frame, FrameBuf, Purpose, Status, Stream, TeamSpec};
use motley_data::rollout::{EpisodeEnd, Lane, Rollout};
use motley_nn::{ActError, ActScratch, Decision, Mode, ObsBatch, Policy, Pool};
use motley_run::{CheckpointError, StateReader, StateWriter};
use thiserror::Error;

use crate::crew::CrewError;
use crate::faults::kind;
use crate::recovery::{Beat, Beats, Failures, MAX_RESETS, build, disobedience, restart};

/// Makes one copy of the task's environment.
pub type MakeEnv = Arc<dyn Fn() -> Result<Box<dyn Env>, ConfigError> + Send + Sync>;

/// Why collection cannot go on. What was learned is safe: the caller checkpoints.
#[derive(Debug, Error)]
pub enum CollectError {
    /// An environment could not be reset.
    #[error("environment {env} could not be reset {MAX_RESETS} times in a row: {cause}")]
    Reset {
        /// Which copy.
        env: usize,
        /// The last error.
        cause: EnvError,
    },
    /// What an environment wrote does not fit the team.
    #[error("environment {env}: {cause}")]
    Misshaped {
        /// Which copy.
        env: usize,
        /// Agent, what was expected, what was found.
        cause: EnvError,
    },
    /// Too many failures.
    #[error(
        "environments failed {failures} times within {steps} env steps (env_failure_limit = {limit} in 10,000); the last, in environment {env}: {cause}"
    )]
    TooManyFailures {
        /// Failures in the window.
        failures: usize,
        /// Env steps of the window.
        steps: usize,
        /// Failures allowed in 10,000 steps.
        limit: usize,
        /// Which copy failed last.
        env: usize,
        /// How.
        cause: EnvError,
    },
    /// An environment could not be built.
    #[error(transparent)]
    Make(#[from] ConfigError),
    /// The policy does not fit the team.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The environments lie in other processes, and those cannot go on.
    #[error(transparent)]
    Crew(#[from] CrewError),
}

/// One environment and its running episode.
struct Copy {
    index: usize,
    env: Box<dyn Env>,
    /// Episodes started; names the next episode's stream.
    episodes: u64,
    returns: Vec<f64>,
    team_return: f64,
    length: usize,
    /// Actions since the reset, kept only where the environment has no snapshots.
    replay: Option<Vec<f32>>,
    /// Whether the environment has them, asked after the first reset: a snapshot costs an allocation.
    snapshots: Option<bool>,
    /// It panicked: it is dropped and built anew at the next reset.
    broken: bool,
    failures: u64,
    last_failure: Option<EnvError>,
    /// A failure of each kind since they were last asked for.
    causes: Vec<EnvError>,
}

/// Kinds of failures of one environment that are kept in one rollout.
const CAUSES: usize = 8;

/// The frames and memories that a thread acts on.
#[derive(Default)]
struct Front {
    obs: Vec<f32>,
    state: Vec<f32>,
    avail: Vec<bool>,
    rewards: Vec<f64>,
    alive: Vec<bool>,
    was_alive: Vec<bool>,
    memory: Vec<f32>,
    rng: Vec<Stream>,
    decision: Decision,
    scratch: ActScratch,
}

impl Front {
    fn resize(&mut self, team: &TeamSpec, envs: usize, memory_len: usize) {
        self.obs.resize(envs * team.obs_len(), 0.0);
        self.state.resize(envs * team.state_len(), 0.0);
        self.avail.resize(envs * team.mask_len(), true);
        self.rewards.resize(envs * team.n(), 0.0);
        self.alive.resize(envs * team.n(), true);
        self.was_alive.resize(team.n(), true);
        self.memory.resize(envs * memory_len, 0.0);
        self.rng.reserve(envs);
    }

    fn frame(&mut self, team: &TeamSpec, k: usize) -> Frame<'_> {
        fn part<T>(xs: &mut [T], k: usize, len: usize) -> &mut [T] {
            &mut xs[k * len..(k + 1) * len]
        }
        Frame {
            obs: part(&mut self.obs, k, team.obs_len()),
            state: part(&mut self.state, k, team.state_len()),
            avail: part(&mut self.avail, k, team.mask_len()),
            rewards: part(&mut self.rewards, k, team.n()),
            alive: part(&mut self.alive, k, team.n()),
        }
    }
}

/// The training environments of a run.
pub struct Collector {
    team: Arc<TeamSpec>,
    make: MakeEnv,
    seed: u64,
    copies: Vec<Copy>,
    fronts: Vec<Front>,
    /// Steps taken by each environment since the run began.
    steps: u64,
    failures: Failures,
    beats: Arc<Beats>,
}

/// What [`Collector::save`] writes of each environment, in its order.
pub(crate) const SAVED: [&str; 10] =
    ["counters", "returns", "team_return", "memory", "obs", "state", "avail", "alive", "replay", "snapshot"];

/// More threads than this never collect.
const MAX_PARTS: usize = 1024;

impl Collector {
    /// `envs` copies, not yet reset. `failure_limit` is how many failures in 10,000 env steps are borne.
    ///
    /// # Errors
    /// An environment that cannot be built.
    pub fn new(team: Arc<TeamSpec>, make: MakeEnv, seed: u64, envs: usize, failure_limit: usize) -> Result<Self, ConfigError> {
        Self::part(team, make, seed, 0..envs, failure_limit)
    }

    /// As [`Collector::new`], some of a run's copies by their numbers; each is the same whichever others lie beside it.
    ///
    /// # Errors
    /// An environment that cannot be built.
    pub fn part(
        team: Arc<TeamSpec>,
        make: MakeEnv,
        seed: u64,
        envs: Range<usize>,
        failure_limit: usize,
    ) -> Result<Self, ConfigError> {
        let beats = Arc::new(Beats::new(envs.len().min(MAX_PARTS)));
        let copies = envs
            .map(|index| {
                let env = build(&make, &team)?;
                Ok(Copy {
                    index,
                    env,
                    episodes: 0,
                    returns: vec![0.0; team.n()],
                    team_return: 0.0,
                    length: 0,
                    replay: None,
                    snapshots: None,
                    broken: false,
                    failures: 0,
                    last_failure: None,
                    causes: Vec::new(),
                })
            })
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self { team, make, seed, copies, fronts: Vec::new(), steps: 0, failures: Failures::new(failure_limit), beats })
    }

    /// Steps taken by each environment since the run began.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Which environments are being stepped, for [`crate::recovery::watch`].
    pub fn beats(&self) -> Arc<Beats> {
        Arc::clone(&self.beats)
    }

    /// Starts the first episode of every environment, into slot 0. A warning says where they are no function of their seed; that is
    /// tried on the run's first environment where it has no snapshots.
    ///
    /// # Errors
    /// [`CollectError::Reset`], [`CollectError::Misshaped`].
    pub fn start(&mut self, roll: &mut Rollout) -> Result<Vec<String>, CollectError> {
        let mut front = Front::default();
        front.resize(&self.team, 1, 0);
        let mut warnings = Vec::new();
        for (copy, lane) in self.copies.iter_mut().zip(&mut roll.lanes) {
            let mut frame = front.frame(&self.team, 0);
            copy.reset(&self.team, &self.make, self.seed, &mut frame)?;
            if copy.index == 0 && copy.replay.is_some() {
                let stream = copy.stream(self.seed, 0);
                warnings.extend(disobedience(&mut *copy.env, &mut copy.broken, &self.team, &stream));
                copy.episodes = 0;
                copy.reset(&self.team, &self.make, self.seed, &mut frame)?;
            }
            lane.put(0, &frame);
            lane.first[0] = true;
        }
        Ok(warnings)
    }

    /// Plays every environment for the rollout's length, from slot 0, and judges the failures.
    ///
    /// # Errors
    /// [`CollectError`]; the rollout is then not to be learned from.
    pub fn collect(&mut self, policy: &dyn Policy, roll: &mut Rollout, pool: &Pool) -> Result<(), CollectError> {
        self.play(policy, roll, pool)?;
        let (failures, last) = self.take_failures();
        self.failures.judge(roll.rows(), failures, last)
    }

    /// As [`Collector::collect`]; failures are left to whoever sees all environments of the run.
    ///
    /// # Errors
    /// [`CollectError`], never [`CollectError::TooManyFailures`].
    pub fn play(&mut self, policy: &dyn Policy, roll: &mut Rollout, pool: &Pool) -> Result<(), CollectError> {
        let (envs, steps) = (roll.envs(), roll.steps());
        let threads = if policy.wants_all() { 1 } else { pool.threads() };
        let per_thread = envs.div_ceil(threads.clamp(1, envs.clamp(1, MAX_PARTS)));
        let parts = envs.div_ceil(per_thread);
        self.fronts.resize_with(parts, Front::default);
        let shared = Shared {
            team: &self.team,
            make: &self.make,
            seed: self.seed,
            from: self.steps,
            steps,
            memory_len: roll.memory_len(),
            policy,
        };
        let mut parts: Vec<Part<'_>> = self
            .copies
            .chunks_mut(per_thread)
            .zip(roll.lanes.chunks_mut(per_thread))
            .zip(&mut self.fronts)
            .enumerate()
            .map(|(k, ((copies, lanes), front))| Part { copies, lanes, front, beat: self.beats.slot(k), result: Ok(()) })
            .collect();
        pool.run(&mut parts, |_, part| {
            part.result = shared.play(part);
            part.beat.leave();
        });
        parts.into_iter().try_for_each(|part| part.result)?;
        self.steps += steps as u64;
        Ok(())
    }

    /// How often environments failed since this was last asked, and the last failure of the last of those that did.
    pub fn take_failures(&mut self) -> (u64, Option<(usize, EnvError)>) {
        let last = self.copies.iter_mut().filter_map(|c| c.last_failure.take().map(|e| (c.index, e))).last();
        (self.copies.iter_mut().map(|c| std::mem::take(&mut c.failures)).sum(), last)
    }

    /// What failed since this was last asked: of each environment one failure of each kind, the last ones last.
    pub fn take_causes(&mut self) -> Vec<(usize, EnvError)> {
        let of = |c: &mut Copy| std::mem::take(&mut c.causes).into_iter().map(|e| (c.index, e)).collect::<Vec<_>>();
        self.copies.iter_mut().flat_map(of).collect()
    }

    /// Writes counters and, with `episodes`, the running episodes; their frames are slot 0 of the rollout. Without them
    /// [`Collector::load`] starts new ones.
    pub fn save(&self, roll: &Rollout, episodes: bool, w: &mut StateWriter) {
        w.put_u64("steps", &[self.steps]);
        w.put_u64("window", &self.failures.window);
        let width = roll.memory_len();
        for (copy, lane) in self.copies.iter().zip(&roll.lanes) {
            let mut w = w.scope(&copy.index.to_string());
            w.put_u64("counters", &[copy.episodes, copy.length as u64, u64::from(lane.first[0])]);
            if !episodes {
                continue;
            }
            w.put_f64("returns", &copy.returns);
            w.put_f64("team_return", &[copy.team_return]);
            w.put_f32("memory", &lane.memory[..width]);
            w.put_f32("obs", &lane.obs[..self.team.obs_len()]);
            w.put_f32("state", &lane.state[..self.team.state_len()]);
            w.put_u8("avail", &lane.avail[..self.team.mask_len()].iter().map(|b| u8::from(*b)).collect::<Vec<_>>());
            w.put_u8("alive", &lane.alive[..self.team.n()].iter().map(|b| u8::from(*b)).collect::<Vec<_>>());
            match (&copy.replay, copy.env.snapshot()) {
                (Some(actions), _) => w.put_f32("replay", actions),
                (None, Some(bytes)) => w.put_u8("snapshot", &bytes),
                (None, None) => {}
            }
        }
    }

    /// Goes back to where [`Collector::save`] stood: frames into slot 0, environments restored or replayed. An environment that
    /// cannot be brought back starts a new episode; the returned warnings say so.
    ///
    /// # Errors
    /// Entries that do not fit, or an environment that cannot even be reset.
    pub fn load(&mut self, roll: &mut Rollout, r: &StateReader) -> Result<Vec<String>, ResumeError> {
        self.steps = r.u64("steps")?;
        r.u64s_into("window", &mut self.failures.window)?;
        let width = roll.memory_len();
        let mut warnings = Vec::new();
        let mut buf = FrameBuf::new(&self.team);
        for (copy, lane) in self.copies.iter_mut().zip(&mut roll.lanes) {
            let r = r.scope(&copy.index.to_string());
            let mut counters = [0; 3];
            r.u64s_into("counters", &mut counters)?;
            copy.episodes = counters[0];
            if r.has("returns") {
                copy.length = counters[1] as usize;
                lane.first[0] = counters[2] == 1;
                r.f64s_into("returns", &mut copy.returns)?;
                copy.team_return = r.f64("team_return")?;
                r.f32s_into("memory", &mut lane.memory[..width])?;
                r.f32s_into("obs", &mut lane.obs[..self.team.obs_len()])?;
                r.f32s_into("state", &mut lane.state[..self.team.state_len()])?;
                read_flags(&r, "avail", &mut lane.avail[..self.team.mask_len()])?;
                read_flags(&r, "alive", &mut lane.alive[..self.team.n()])?;
                let saved = if r.has("replay") { Saved::Replay(r.f32s("replay")?) } else { Saved::Snapshot(r.u8s("snapshot")?) };
                match copy.go_back(&self.team, self.seed, lane, saved) {
                    Ok(()) => continue,
                    Err(cause) => warnings.push(format!(
                        "environment {} could not be brought back ({cause}): it starts a new episode, and the run goes on, but not bit for bit as if never stopped; see motley check {}",
                        copy.index, self.team.task
                    )),
                }
            }
            let mut frame = buf.frame();
            copy.reset(&self.team, &self.make, self.seed, &mut frame)?;
            lane.put(0, &frame);
            lane.first[0] = true;
            lane.memory[..width].fill(0.0);
        }
        Ok(warnings)
    }
}

/// A replay that does not come to where it was.
fn elsewhere() -> EnvError {
    EnvError::Failed("its actions, replayed, lead elsewhere: it is not a function of its seed".into())
}

/// How an environment was saved.
enum Saved {
    Snapshot(Vec<u8>),
    /// The actions since the reset.
    Replay(Vec<f32>),
}

fn read_flags(r: &StateReader, name: &str, into: &mut [bool]) -> Result<(), CheckpointError> {
    let mut bytes = vec![0; into.len()];
    r.u8s_into(name, &mut bytes)?;
    into.iter_mut().zip(bytes).for_each(|(flag, byte)| *flag = byte != 0);
    Ok(())
}

/// Why a run's environments could not be brought back.
#[derive(Debug, Error)]
pub enum ResumeError {
    /// The checkpoint does not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An environment could not be started again.
    #[error(transparent)]
    Collect(#[from] CollectError),
}

struct Part<'a> {
    copies: &'a mut [Copy],
    lanes: &'a mut [Lane],
    front: &'a mut Front,
    beat: &'a Beat,
    result: Result<(), CollectError>,
}

struct Shared<'a> {
    team: &'a TeamSpec,
    make: &'a MakeEnv,
    seed: u64,
    from: u64,
    steps: usize,
    memory_len: usize,
    policy: &'a dyn Policy,
}

impl Shared<'_> {
    fn play(&self, part: &mut Part<'_>) -> Result<(), CollectError> {
        let envs = part.copies.len();
        part.front.resize(self.team, envs, self.memory_len);
        for (k, lane) in part.lanes.iter_mut().enumerate() {
            self.load_slot(lane, part.front, k);
        }
        for t in 0..self.steps {
            self.act(part, t)?;
            for k in 0..envs {
                let (copy, lane) = (&mut part.copies[k], &mut part.lanes[k]);
                part.beat.enter(copy.index);
                self.step(copy, lane, part.front, k, t)?;
            }
        }
        Ok(())
    }

    fn load_slot(&self, lane: &Lane, front: &mut Front, k: usize) {
        let team = self.team;
        let frame = front.frame(team, k);
        frame.obs.copy_from_slice(&lane.obs[..team.obs_len()]);
        frame.state.copy_from_slice(&lane.state[..team.state_len()]);
        frame.avail.copy_from_slice(&lane.avail[..team.mask_len()]);
        frame.alive.copy_from_slice(&lane.alive[..team.n()]);
        front.memory[k * self.memory_len..(k + 1) * self.memory_len].copy_from_slice(&lane.memory[..self.memory_len]);
    }

    fn act(&self, part: &mut Part<'_>, t: usize) -> Result<(), CollectError> {
        let Part { copies, lanes, front, .. } = part;
        let (team, width) = (self.team, self.memory_len);
        front.rng.clear();
        for (k, copy) in copies.iter().enumerate() {
            lanes[k].memory[t * width..(t + 1) * width].copy_from_slice(&front.memory[k * width..(k + 1) * width]);
            front.rng.push(Stream::new(self.seed, Purpose::Act, copy.index as u64, 0).fork(self.from + t as u64));
        }
        let batch = ObsBatch { envs: copies.len(), obs: &front.obs, avail: &front.avail };
        self.policy.act(batch, &mut front.memory, Mode::Explore, &front.rng, &mut front.decision, &mut front.scratch)?;
        let (a, n) = (team.action_len(), team.n());
        for (k, lane) in lanes.iter_mut().enumerate() {
            lane.actions[t * a..(t + 1) * a].copy_from_slice(&front.decision.raw[k * a..(k + 1) * a]);
            lane.log_probs[t * n..(t + 1) * n].copy_from_slice(&front.decision.log_probs[k * n..(k + 1) * n]);
        }
        Ok(())
    }

    fn step(&self, copy: &mut Copy, lane: &mut Lane, front: &mut Front, k: usize, t: usize) -> Result<(), CollectError> {
        let (team, n, a) = (self.team, self.team.n(), self.team.action_len());
        front.was_alive.copy_from_slice(&front.alive[k * n..(k + 1) * n]);
        let was_alive = std::mem::take(&mut front.was_alive);
        let actions = std::mem::take(&mut front.decision.env);
        let outcome = copy.step(team, &actions[k * a..(k + 1) * a], &mut front.frame(team, k), &was_alive);
        front.decision.env = actions;
        front.was_alive = was_alive;
        let mut fresh = true;
        match outcome {
            Ok(status) => {
                lane.valid[t] = true;
                lane.status[t] = status;
                let frame = front.frame(team, k);
                lane.rewards[t * n..(t + 1) * n].copy_from_slice(frame.rewards);
                copy.count(team, frame.rewards);
                if status.done() {
                    lane.put_final(t, &frame);
                    lane.episodes.push(copy.end(t));
                } else {
                    fresh = false;
                }
            }
            Err(cause @ EnvError::Misshaped { .. }) => return Err(CollectError::Misshaped { env: copy.index, cause }),
            Err(error) => {
                lane.valid[t] = false;
                lane.status[t] = Status::Running;
                lane.rewards[t * n..(t + 1) * n].fill(0.0);
                copy.fail(error);
            }
        }
        if fresh {
            copy.reset(team, self.make, self.seed, &mut front.frame(team, k))?;
            front.memory[k * self.memory_len..(k + 1) * self.memory_len].fill(0.0);
        }
        lane.put(t + 1, &front.frame(team, k));
        lane.first[t + 1] = fresh;
        let (at, width) = ((t + 1) * self.memory_len, self.memory_len);
        lane.memory[at..at + width].copy_from_slice(&front.memory[k * width..(k + 1) * width]);
        Ok(())
    }
}

impl Copy {
    fn stream(&self, seed: u64, episode: u64) -> Stream {
        Stream::new(seed, Purpose::Episode, self.index as u64, 0).fork(episode)
    }

    fn reset(&mut self, team: &TeamSpec, make: &MakeEnv, seed: u64, frame: &mut Frame<'_>) -> Result<(), CollectError> {
        let (index, first) = (self.index, self.episodes);
        let tried = restart(&mut self.env, self.broken, make, team, frame, |attempt| {
            Stream::new(seed, Purpose::Episode, index as u64, 0).fork(first + attempt)
        });
        let done = tried.map_err(|cause| match cause {
            EnvError::Misshaped { .. } => CollectError::Misshaped { env: index, cause },
            _ => CollectError::Reset { env: index, cause },
        })?;
        done.failed.into_iter().for_each(|cause| self.note(cause));
        self.broken = false;
        self.episodes += done.attempts;
        self.returns.fill(0.0);
        self.team_return = 0.0;
        self.length = 0;
        if *self.snapshots.get_or_insert_with(|| self.env.snapshot().is_some()) {
            self.replay = None;
        } else {
            self.replay.get_or_insert_default().clear();
        }
        Ok(())
    }

    fn step(&mut self, team: &TeamSpec, actions: &[f32], frame: &mut Frame<'_>, was_alive: &[bool]) -> Result<Status, EnvError> {
        let status = guard::step(&mut *self.env, team, actions, frame, was_alive, &mut self.length)?;
        if let Some(log) = &mut self.replay {
            log.extend_from_slice(actions);
        }
        Ok(status)
    }

    fn count(&mut self, team: &TeamSpec, rewards: &[f64]) {
        self.team_return += team.team_reward(rewards);
        self.returns.iter_mut().zip(rewards).for_each(|(sum, r)| *sum += r);
    }

    fn end(&self, time: usize) -> EpisodeEnd {
        let agent_return = self.returns.iter().sum::<f64>() / self.returns.len() as f64;
        EpisodeEnd { time, team_return: self.team_return, agent_return, length: self.length, won: self.env.won_at_end() }
    }

    /// Counts a failure.
    fn fail(&mut self, error: EnvError) {
        self.broken = matches!(error, EnvError::Panicked(_));
        self.failures += 1;
        self.last_failure = Some(error.clone());
        self.note(error);
    }

    /// Keeps a failure, to be told.
    fn note(&mut self, error: EnvError) {
        let new = kind(&error);
        self.causes.retain(|known| kind(known) != new);
        if self.causes.len() < CAUSES {
            self.causes.push(error);
        }
    }

    /// Brings the environment to where it was when `lane`'s slot 0 was written. A replay is held against that slot.
    fn go_back(&mut self, team: &TeamSpec, seed: u64, lane: &Lane, saved: Saved) -> Result<(), EnvError> {
        let stream = self.stream(seed, self.episodes.saturating_sub(1));
        let env = &mut self.env;
        let gone_back = catch_unwind(AssertUnwindSafe(|| match saved {
            Saved::Snapshot(bytes) => env.restore(&bytes).map(|()| None),
            Saved::Replay(actions) => {
                let mut buf = FrameBuf::new(team);
                env.reset(stream, &mut buf.frame())?;
                for joint in actions.chunks_exact(team.action_len().max(1)) {
                    env.step(Actions::new(team, joint), &mut buf.frame()).map_err(|error| match error {
                        // What it took then, it refuses now.
                        EnvError::NotRunning(_) | EnvError::Action { .. } => elsewhere(),
                        other => other,
                    })?;
                }
                let same =
                    lane.obs.starts_with(&buf.obs) && lane.state.starts_with(&buf.state) && lane.avail.starts_with(&buf.avail);
                if same { Ok(Some(actions)) } else { Err(elsewhere()) }
            }
        }));
        let outcome = gone_back.unwrap_or_else(|panic| {
            self.broken = true;
            Err(EnvError::Panicked(panic_text(panic.as_ref())))
        });
        self.replay = outcome?;
        self.snapshots = Some(self.replay.is_none());
        Ok(())
    }
}

//! Collection: every thread owns some environments and plays them for a whole rollout without waiting for the others.
//!
//! Acting is per row and every stream belongs to one environment, so what is collected does not depend on how
//! environments are dealt to threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use motley_core::guard::check_frame;
use motley_core::{Actions, ConfigError, Env, EnvError, Frame, FrameBuf, Purpose, Status, Stream, TeamSpec};
use motley_data::rollout::{EpisodeEnd, Lane, Rollout};
use motley_nn::{ActError, ActScratch, Decision, Mode, ObsBatch, Policy, Pool};
use motley_run::{CheckpointError, StateReader, StateWriter};
use thiserror::Error;

use crate::recovery::{MAX_RESETS, panic_text, reset_with_retries};

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
    /// Too many failures.
    #[error("environments failed {failures} times within {steps} steps (limit {limit} in 10,000); the last, in environment {env}: {cause}")]
    TooManyFailures {
        /// Failures in this rollout.
        failures: usize,
        /// Env steps of this rollout.
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
    failures: usize,
    last_failure: Option<EnvError>,
}

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
    failure_limit: usize,
    copies: Vec<Copy>,
    fronts: Vec<Front>,
    /// Steps taken by each environment since the run began.
    steps: u64,
}

impl Collector {
    /// `envs` copies, not yet reset. `failure_limit` is how many failures in 10,000 env steps are borne.
    ///
    /// # Errors
    /// An environment that cannot be built.
    pub fn new(team: Arc<TeamSpec>, make: MakeEnv, seed: u64, envs: usize, failure_limit: usize) -> Result<Self, ConfigError> {
        let copies = (0..envs)
            .map(|index| {
                let env = make()?;
                Ok(Copy {
                    index,
                    env,
                    episodes: 0,
                    returns: vec![0.0; team.n()],
                    team_return: 0.0,
                    length: 0,
                    replay: None,
                    failures: 0,
                    last_failure: None,
                })
            })
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self { team, make, seed, failure_limit, copies, fronts: Vec::new(), steps: 0 })
    }

    /// Steps taken by each environment since the run began.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Starts the first episode of every environment, into slot 0.
    ///
    /// # Errors
    /// [`CollectError::Reset`].
    pub fn start(&mut self, roll: &mut Rollout) -> Result<(), CollectError> {
        let mut front = Front::default();
        front.resize(&self.team, 1, 0);
        for (copy, lane) in self.copies.iter_mut().zip(&mut roll.lanes) {
            let mut frame = front.frame(&self.team, 0);
            copy.reset(&self.team, &self.make, self.seed, &mut frame)?;
            lane.put(0, &frame);
            lane.first[0] = true;
        }
        Ok(())
    }

    /// Plays every environment for the rollout's length, from slot 0.
    ///
    /// # Errors
    /// [`CollectError`]; the rollout is then not to be learned from.
    pub fn collect(&mut self, policy: &dyn Policy, roll: &mut Rollout, pool: &Pool) -> Result<(), CollectError> {
        let (envs, steps) = (roll.envs(), roll.steps());
        let per_thread = envs.div_ceil(pool.threads().min(envs).max(1));
        let parts = envs.div_ceil(per_thread);
        self.fronts.resize_with(parts, Front::default);
        let shared = Shared { team: &self.team, make: &self.make, seed: self.seed, from: self.steps, steps, memory_len: roll.memory_len(), policy };
        let mut parts: Vec<Part<'_>> = self
            .copies
            .chunks_mut(per_thread)
            .zip(roll.lanes.chunks_mut(per_thread))
            .zip(&mut self.fronts)
            .map(|((copies, lanes), front)| Part { copies, lanes, front, result: Ok(()) })
            .collect();
        pool.run(&mut parts, |_, part| part.result = shared.play(part));
        parts.into_iter().try_for_each(|part| part.result)?;
        self.steps += steps as u64;
        self.judge_failures(envs * steps)
    }

    fn judge_failures(&mut self, steps: usize) -> Result<(), CollectError> {
        let failures: usize = self.copies.iter().map(|c| c.failures).sum();
        let last = self.copies.iter_mut().filter_map(|c| c.last_failure.take().map(|e| (c.index, e))).last();
        self.copies.iter_mut().for_each(|c| c.failures = 0);
        match last {
            Some((env, cause)) if failures * 10_000 > self.failure_limit * steps.max(10_000) => {
                Err(CollectError::TooManyFailures { failures, steps, limit: self.failure_limit, env, cause })
            }
            _ => Ok(()),
        }
    }

    /// Writes the running episodes; the frames themselves are slot 0 of the rollout.
    pub fn save(&self, roll: &Rollout, w: &mut StateWriter) {
        w.put_u64("steps", &[self.steps]);
        let width = roll.memory_len();
        for (copy, lane) in self.copies.iter().zip(&roll.lanes) {
            let mut w = w.scope(&copy.index.to_string());
            w.put_u64("counters", &[copy.episodes, copy.length as u64, u64::from(lane.first[0])]);
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

    /// Goes back to where [`Collector::save`] stood: frames into slot 0, environments restored or replayed.
    ///
    /// # Errors
    /// Entries that do not fit, or an environment that does not replay.
    pub fn load(&mut self, roll: &mut Rollout, r: &StateReader) -> Result<(), ResumeError> {
        self.steps = r.u64("steps")?;
        let width = roll.memory_len();
        for (copy, lane) in self.copies.iter_mut().zip(&mut roll.lanes) {
            let r = r.scope(&copy.index.to_string());
            let mut counters = [0; 3];
            r.u64s_into("counters", &mut counters)?;
            r.f64s_into("returns", &mut copy.returns)?;
            copy.team_return = r.f64("team_return")?;
            copy.episodes = counters[0];
            copy.length = counters[1] as usize;
            lane.first[0] = counters[2] == 1;
            r.f32s_into("memory", &mut lane.memory[..width])?;
            r.f32s_into("obs", &mut lane.obs[..self.team.obs_len()])?;
            r.f32s_into("state", &mut lane.state[..self.team.state_len()])?;
            read_flags(&r, "avail", &mut lane.avail[..self.team.mask_len()])?;
            read_flags(&r, "alive", &mut lane.alive[..self.team.n()])?;
            copy.go_back(&self.team, self.seed, &r)?;
        }
        Ok(())
    }
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
    /// An environment did not go back.
    #[error("environment {env} could not be restored: {cause}")]
    Env {
        /// Which copy.
        env: usize,
        /// Why.
        cause: EnvError,
    },
}

struct Part<'a> {
    copies: &'a mut [Copy],
    lanes: &'a mut [Lane],
    front: &'a mut Front,
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
        self.policy.act(batch, &mut front.memory, Mode::Sample, &front.rng, &mut front.decision, &mut front.scratch)?;
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
            Err(error) => {
                lane.valid[t] = false;
                lane.status[t] = Status::Running;
                lane.rewards[t * n..(t + 1) * n].fill(0.0);
                copy.fail(error, self.make)?;
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
        let tried = reset_with_retries(&mut self.env, make, team, frame, |attempt| {
            Stream::new(seed, Purpose::Episode, index as u64, 0).fork(first + attempt)
        });
        let used = tried.map_err(|cause| CollectError::Reset { env: index, cause })?;
        self.episodes += used;
        self.returns.fill(0.0);
        self.team_return = 0.0;
        self.length = 0;
        self.replay = if self.env.snapshot().is_none() { Some(Vec::new()) } else { None };
        Ok(())
    }

    fn step(&mut self, team: &TeamSpec, actions: &[f32], frame: &mut Frame<'_>, was_alive: &[bool]) -> Result<Status, EnvError> {
        frame.prepare();
        let env = &mut self.env;
        let outcome = catch_unwind(AssertUnwindSafe(|| env.step(Actions::new(team, actions), frame)));
        let status = outcome.map_err(|panic| EnvError::Panicked(panic_text(panic.as_ref())))??;
        check_frame(team, frame, if status.done() { frame.alive } else { was_alive })?;
        if let Some(log) = &mut self.replay {
            log.extend_from_slice(actions);
        }
        self.length += 1;
        let over = team.step_limit.is_some_and(|limit| self.length >= limit);
        Ok(if status == Status::Running && over { Status::Truncated } else { status })
    }

    fn count(&mut self, team: &TeamSpec, rewards: &[f64]) {
        self.team_return += team.team_reward(rewards);
        self.returns.iter_mut().zip(rewards).for_each(|(sum, r)| *sum += r);
    }

    fn end(&self, time: usize) -> EpisodeEnd {
        let agent_return = self.returns.iter().sum::<f64>() / self.returns.len() as f64;
        EpisodeEnd { time, team_return: self.team_return, agent_return, length: self.length, won: self.env.won() }
    }

    /// Counts a failure; an environment that panicked is dropped and built anew.
    fn fail(&mut self, error: EnvError, make: &MakeEnv) -> Result<(), CollectError> {
        if matches!(error, EnvError::Panicked(_)) {
            self.env = make()?;
        }
        self.failures += 1;
        self.last_failure = Some(error);
        Ok(())
    }

    fn go_back(&mut self, team: &TeamSpec, seed: u64, r: &StateReader) -> Result<(), ResumeError> {
        let broken = |cause| ResumeError::Env { env: self.index, cause };
        if r.has("replay") {
            let actions = r.f32s("replay")?;
            let stream = self.stream(seed, self.episodes.saturating_sub(1));
            let mut buf = FrameBuf::new(team);
            self.env.reset(stream, &mut buf.frame()).map_err(broken)?;
            for joint in actions.chunks_exact(team.action_len().max(1)) {
                self.env.step(Actions::new(team, joint), &mut buf.frame()).map_err(broken)?;
            }
            self.replay = Some(actions);
        } else {
            self.env.restore(&r.u8s("snapshot")?).map_err(broken)?;
            self.replay = None;
        }
        Ok(())
    }
}

//! A run whose environments lie in other processes: a learner ([`Remote`] in a [`crate::Trainer`]) and [`Worker`]s, each with
//! some of the environments. Who starts, watches and replaces the workers is a [`Crew`].
//!
//! Learner and workers meet once a rollout, and nothing depends on how many workers there are: every environment has its streams,
//! every row its result. A run with any number of workers therefore has the bits of a run without any, its checkpoints too,
//! and one can be taken up as the other. Between rollouts the learner holds a *boundary* of each worker, what a checkpoint keeps
//! of its environments; a worker that died is replaced by one that begins there.

mod rollouts;
mod wire;
mod worker;

use std::ops::Range;
use std::sync::Arc;

use motley_core::EnvError;
use motley_data::rollout::Rollout;
use motley_nn::{Pool, TeamPolicy};
use motley_run::{CheckpointError, StateReader, StateWriter};
use thiserror::Error;

use crate::collect::{CollectError, Collector, ResumeError, SAVED};
use crate::recovery::{Beats, Failures};
use crate::settings::{Plan, RunConfig};
pub(crate) use rollouts::Rollouts;
use wire::{Stamp, get_failures, get_lanes, put_policy};
pub use worker::{Worker, WorkerError};

/// Why the workers of a run cannot go on.
#[derive(Debug, Error)]
pub enum CrewError {
    /// What the crew says.
    #[error("the workers of this run cannot go on: {0}")]
    Failed(String),
    /// Another number of answers than there are workers.
    #[error("{found} workers answered, {expected} were asked")]
    Count {
        /// Workers asked.
        expected: usize,
        /// Answers.
        found: usize,
    },
    /// An answer that cannot be read.
    #[error("the answer of the worker with environments {first} to {end} cannot be used: {cause}")]
    Answer {
        /// Its first environment.
        first: usize,
        /// The one after its last.
        end: usize,
        /// What is wrong.
        cause: CheckpointError,
    },
}

/// What a worker needs to build its environments: names, and every setting of the run as TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The algorithm.
    pub algo: String,
    /// The task.
    pub task: String,
    /// The resolved settings.
    pub config: String,
}

/// One worker's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its environments.
    pub envs: Range<usize>,
    /// Where they stand; `None` at the start of a run.
    pub boundary: Option<Vec<u8>>,
}

/// What a worker says when it has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Where its environments stand.
    pub boundary: Vec<u8>,
    /// Environments that could not be brought back exactly.
    pub warnings: Vec<String>,
}

/// What a worker played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// Its lanes of the rollout.
    pub lanes: Vec<u8>,
    /// Where its environments stand now.
    pub boundary: Vec<u8>,
}

/// The workers of a run, wherever they are. A worker that is lost is the crew's to replace: build a [`Worker`] with the same
/// environments, [`Worker::begin`] at its last boundary, and give the same order again; the answer has the same bits.
pub trait Crew: Send {
    /// How many workers there are to be.
    fn size(&self) -> usize;

    /// Builds a worker for each part and begins; answers in the order of parts.
    ///
    /// # Errors
    /// [`CrewError`].
    fn begin(&mut self, job: &Job, parts: Vec<Part>) -> Result<Vec<Begun>, CrewError>;

    /// Has every worker play one rollout with these weights, without waiting for it. There is never more than one on the way.
    ///
    /// # Errors
    /// [`CrewError`].
    fn order(&mut self, weights: Vec<u8>) -> Result<(), CrewError>;

    /// Waits for the rollout that was ordered; answers in the order of parts.
    ///
    /// # Errors
    /// [`CrewError`].
    fn gather(&mut self) -> Result<Vec<Played>, CrewError>;
}

/// How a run is started or taken up, beside its plan.
#[derive(Default)]
pub struct How {
    /// The processes that its environments lie in; without, this one. No number depends on it.
    pub crew: Option<Box<dyn Crew>>,
    /// Whether settings of the algorithm may differ from the checkpoint's (`algo.*`), as population-based training has it.
    pub retune: bool,
    /// The git commit that the program was built from, for `run.json`.
    pub commit: Option<String>,
}

/// Where a run's rollouts come from.
pub(crate) trait Source: Send {
    /// Begins; warnings about environments that are no function of their seed.
    fn start(&mut self, roll: &mut Rollout) -> Result<Vec<String>, CollectError>;
    /// What failed since this was last asked, each cause of an environment once.
    fn take_causes(&mut self) -> Vec<(usize, EnvError)>;
    /// Has the next rollout begun with `policy`, where others play it; [`Source::collect`] then waits for that one.
    fn order(&mut self, _policy: &TeamPolicy) -> Result<(), CollectError> {
        Ok(())
    }
    /// Plays a rollout with `policy`, or brings the one that was ordered with it.
    fn collect(&mut self, policy: &TeamPolicy, roll: &mut Rollout, pool: &Pool) -> Result<(), CollectError>;
    fn save(&self, roll: &Rollout, episodes: bool, w: &mut StateWriter);
    fn load(&mut self, roll: &mut Rollout, r: &StateReader) -> Result<Vec<String>, ResumeError>;
    fn beats(&self) -> Arc<Beats>;
}

impl Source for Collector {
    fn start(&mut self, roll: &mut Rollout) -> Result<Vec<String>, CollectError> {
        self.start(roll)
    }

    fn take_causes(&mut self) -> Vec<(usize, EnvError)> {
        self.take_causes()
    }

    fn collect(&mut self, policy: &TeamPolicy, roll: &mut Rollout, pool: &Pool) -> Result<(), CollectError> {
        self.collect(policy, roll, pool)
    }

    fn save(&self, roll: &Rollout, episodes: bool, w: &mut StateWriter) {
        self.save(roll, episodes, w);
    }

    fn load(&mut self, roll: &mut Rollout, r: &StateReader) -> Result<Vec<String>, ResumeError> {
        self.load(roll, r)
    }

    fn beats(&self) -> Arc<Beats> {
        self.beats()
    }
}

/// A learner's side of its workers.
pub(crate) struct Remote {
    crew: Box<dyn Crew>,
    job: Job,
    parts: Vec<Range<usize>>,
    boundaries: Vec<StateReader>,
    /// Whether a rollout is on the way; the boundaries and steps are those before it.
    ordered: bool,
    steps: u64,
    failures: Failures,
    causes: Vec<(usize, EnvError)>,
}

/// Environments dealt evenly, in order; as many parts as workers, or as environments where those are fewer.
fn deal(envs: usize, workers: usize) -> Vec<Range<usize>> {
    let parts = workers.clamp(1, envs.max(1));
    (0..parts).map(|k| envs * k / parts..envs * (k + 1) / parts).collect()
}

impl Remote {
    pub(crate) fn new(plan: &Plan, run: &RunConfig, crew: Box<dyn Crew>) -> Self {
        let job = Job {
            algo: plan.algorithm.name().into(),
            task: plan.team.task.clone(),
            // The workers' environments need what no file may hold.
            config: plan.settings.to_open_table().to_string(),
        };
        let parts = deal(run.num_envs, crew.size());
        Self {
            crew,
            job,
            parts,
            boundaries: Vec::new(),
            ordered: false,
            steps: 0,
            failures: Failures::new(run.env_failure_limit),
            causes: Vec::new(),
        }
    }

    fn stamp(&self, part: &Range<usize>, steps: u64) -> Stamp {
        Stamp { envs: part.clone(), steps }
    }

    /// Reads an answer of one worker, stamped at `steps`.
    fn answer(&self, part: &Range<usize>, steps: u64, bytes: Vec<u8>) -> Result<StateReader, CrewError> {
        self.stamp(part, steps).expect(bytes).map_err(|cause| unusable(part, cause))
    }

    fn begin(&mut self, states: Vec<Option<Vec<u8>>>) -> Result<Vec<String>, CrewError> {
        let parts = self.parts.iter().cloned().zip(states).map(|(envs, boundary)| Part { envs, boundary }).collect();
        let begun = self.crew.begin(&self.job, parts)?;
        self.count(begun.len())?;
        let mut warnings = Vec::new();
        let mut boundaries = Vec::with_capacity(begun.len());
        for (part, mut begun) in self.parts.iter().zip(begun) {
            boundaries.push(self.answer(part, self.steps, begun.boundary)?);
            warnings.append(&mut begun.warnings);
        }
        self.boundaries = boundaries;
        Ok(warnings)
    }

    fn count(&self, found: usize) -> Result<(), CrewError> {
        let expected = self.parts.len();
        if found == expected { Ok(()) } else { Err(CrewError::Count { expected, found }) }
    }
}

fn unusable(part: &Range<usize>, cause: CheckpointError) -> CrewError {
    CrewError::Answer { first: part.start, end: part.end, cause }
}

impl Source for Remote {
    fn start(&mut self, _roll: &mut Rollout) -> Result<Vec<String>, CollectError> {
        Ok(self.begin(vec![None; self.parts.len()])?)
    }

    fn take_causes(&mut self) -> Vec<(usize, EnvError)> {
        std::mem::take(&mut self.causes)
    }

    fn order(&mut self, policy: &TeamPolicy) -> Result<(), CollectError> {
        let all = 0..self.parts.last().map_or(0, |part| part.end);
        let mut w = self.stamp(&all, self.steps).writer();
        put_policy(policy, &mut w.scope("policy"));
        self.crew.order(w.to_bytes().map_err(|cause| unusable(&all, cause))?)?;
        self.ordered = true;
        Ok(())
    }

    fn collect(&mut self, policy: &TeamPolicy, roll: &mut Rollout, _pool: &Pool) -> Result<(), CollectError> {
        if !self.ordered {
            self.order(policy)?;
        }
        self.ordered = false;
        let played = self.crew.gather()?;
        self.count(played.len())?;
        let (steps, after) = (roll.steps(), self.steps + roll.steps() as u64);
        let team = Arc::clone(roll.team());
        let mut boundaries = Vec::with_capacity(played.len());
        let (mut failures, mut last) = (0, None);
        for (part, played) in self.parts.iter().zip(played) {
            let r = self.answer(part, after, played.lanes)?;
            get_lanes(&r, &team, steps, &mut roll.lanes[part.clone()]).map_err(|cause| unusable(part, cause))?;
            let (count, mut causes) = get_failures(&r).map_err(|cause| unusable(part, cause))?;
            failures += count;
            last = causes.last().cloned().or(last);
            self.causes.append(&mut causes);
            boundaries.push(self.answer(part, after, played.boundary)?);
        }
        (self.boundaries, self.steps) = (boundaries, after);
        self.failures.judge(roll.rows(), failures, last)
    }

    fn save(&self, _roll: &Rollout, episodes: bool, w: &mut StateWriter) {
        w.put_u64("steps", &[self.steps]);
        w.put_u64("window", &self.failures.window);
        let wanted = if episodes { &SAVED[..] } else { &SAVED[..1] };
        for (part, boundary) in self.parts.iter().zip(&self.boundaries) {
            copy_envs(&boundary.scope("collector"), part, wanted, w);
        }
    }

    fn load(&mut self, _roll: &mut Rollout, r: &StateReader) -> Result<Vec<String>, ResumeError> {
        self.steps = r.u64("steps")?;
        r.u64s_into("window", &mut self.failures.window)?;
        let state = |part: &Range<usize>| {
            let mut w = self.stamp(part, self.steps).writer();
            let mut collector = w.scope("collector");
            collector.put_u64("steps", &[self.steps]);
            collector.put_u64("window", &[0; 2]);
            copy_envs(r, part, &SAVED, &mut collector);
            drop(collector);
            w.to_bytes().map(Some)
        };
        let states = self.parts.iter().map(state).collect::<Result<_, _>>()?;
        Ok(self.begin(states).map_err(CollectError::from)?)
    }

    /// Nothing here calls an environment: whoever watches the workers sees which of them fall silent.
    fn beats(&self) -> Arc<Beats> {
        Arc::new(Beats::new(0))
    }
}

/// Copies what is saved of some environments, in the order in which a collector writes it.
fn copy_envs(from: &StateReader, envs: &Range<usize>, wanted: &[&str], w: &mut StateWriter) {
    for env in envs.clone() {
        let (r, mut w) = (from.scope(&env.to_string()), w.scope(&env.to_string()));
        wanted.iter().for_each(|name| r.copy_to(name, &mut w));
    }
}

#[cfg(test)]
mod tests;

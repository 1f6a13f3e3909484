//! Some of a run's environments, in a process of their own.

use std::ops::Range;
use std::sync::Arc;

use motley_core::{ConfigError, Purpose, Stream};
use motley_data::rollout::Rollout;
use motley_kernels::PoolError;
use motley_nn::{Policy, Pool, TeamPolicy};
use motley_run::CheckpointError;
use thiserror::Error;

use super::wire::{Stamp, get_policy, put_failures, put_lanes};
use super::{Begun, Job, Played};
use crate::collect::{CollectError, Collector, ResumeError};
use crate::consent::Consent;
use crate::settings::{Registry, Request, RunConfig};

/// Why a worker cannot begin or go on.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Threads.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Environments that cannot go on.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// Environments that could not be brought back.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// Bytes that are not what the learner sends.
    #[error("what the learner sent cannot be used: {0}")]
    Message(#[from] CheckpointError),
}

/// Plays the environments `envs` of a run. Streams are named by the number of the environment, so what is collected is the same
/// however the environments are dealt to workers.
pub struct Worker {
    envs: Range<usize>,
    collector: Collector,
    roll: Rollout,
    /// Of the learner's kind; its numbers come with every order.
    policy: TeamPolicy,
    pool: Pool,
}

impl Worker {
    /// Builds the environments; nothing is reset yet. `threads`: 0 takes every core that this process may use.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn new(registry: &Registry, job: &Job, envs: Range<usize>, threads: usize) -> Result<Self, WorkerError> {
        let table = job.config.parse().map_err(|e| ConfigError::Invalid(format!("the settings that a worker was given: {e}")))?;
        // The learner has asked already; these are its words.
        let request = Request { algo: job.algo.clone(), task: job.task.clone(), consent: Consent::given(), ..Request::default() };
        // What is learned from lies with the learner: there is no need of room for it here.
        let (plan, _) = request.resume_anywhere(registry, &table, false)?;
        let run = RunConfig::read(&plan.settings)?;
        if envs.start >= envs.end || envs.end > run.num_envs {
            return Err(ConfigError::Invalid(format!(
                "a worker was given environments {} to {} of {}",
                envs.start, envs.end, run.num_envs
            ))
            .into());
        }
        let pool = Pool::new(crate::threads(threads))?;
        let algorithm = plan.algorithm.build(&plan.team, &plan.settings, &Stream::new(run.seed, Purpose::Init, 0, 0))?;
        let policy = algorithm.policy();
        let steps = algorithm.rollout_steps();
        let roll = Rollout::new(Arc::clone(&plan.team), envs.len(), steps, policy.memory_len());
        let collector =
            Collector::part(Arc::clone(&plan.team), Arc::clone(&plan.make), run.seed, envs.clone(), run.env_failure_limit)?;
        Ok(Self { envs, collector, roll, policy, pool })
    }

    /// Starts the first episodes, or goes back to where a boundary stood. An environment that cannot be brought back starts a new
    /// episode, and a warning says so.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn begin(&mut self, boundary: Option<&[u8]>) -> Result<Begun, WorkerError> {
        let warnings = match boundary {
            None => self.collector.start(&mut self.roll)?,
            Some(bytes) => {
                let (stamp, r) = Stamp::open(bytes.to_vec())?;
                if stamp.envs != self.envs {
                    return Err(r.wrong("stamp", format!("environments {:?}", self.envs), format!("{:?}", stamp.envs)).into());
                }
                self.collector.load(&mut self.roll, &r.scope("collector"))?
            }
        };
        Ok(Begun { boundary: self.boundary()?, warnings })
    }

    /// Plays one rollout with the given policy.
    ///
    /// # Errors
    /// [`WorkerError`], also where the learner stands at another step than these environments.
    pub fn collect(&mut self, weights: &[u8]) -> Result<Played, WorkerError> {
        let (stamp, r) = Stamp::open(weights.to_vec())?;
        if stamp.steps != self.collector.steps() {
            let found = format!("step {}", stamp.steps);
            return Err(r.wrong("stamp", format!("weights for step {}", self.collector.steps()), found).into());
        }
        let mut groups = self.policy.groups().to_vec();
        get_policy(&r.scope("policy"), &mut groups)?;
        self.policy = self.policy.with_groups(groups);
        self.collector.play(&self.policy, &mut self.roll, &self.pool)?;
        let mut w = self.stamp().writer();
        put_lanes(&self.roll.lanes, &mut w);
        let (count, _) = self.collector.take_failures();
        put_failures(count, &self.collector.take_causes(), &mut w);
        let lanes = w.to_bytes()?;
        self.roll.carry();
        Ok(Played { lanes, boundary: self.boundary()? })
    }

    fn stamp(&self) -> Stamp {
        Stamp { envs: self.envs.clone(), steps: self.collector.steps() }
    }

    /// Where the environments stand between two rollouts, as a checkpoint holds them.
    fn boundary(&self) -> Result<Vec<u8>, CheckpointError> {
        let mut w = self.stamp().writer();
        self.collector.save(&self.roll, true, &mut w.scope("collector"));
        w.to_bytes()
    }
}

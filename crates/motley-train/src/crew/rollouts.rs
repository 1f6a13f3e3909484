//! Which policy plays which rollout: the present one, or with `overlap` the one of an update before.

use std::sync::Arc;

use motley_core::{ConfigError, EnvError};
use motley_data::rollout::Rollout;
use motley_nn::{Engine, Pool, TeamPolicy};
use motley_run::{StateReader, StateWriter};

use super::wire::{get_policy, put_policy};
use super::{Crew, Remote, Source};
use crate::collect::{CollectError, Collector, ResumeError};
use crate::recovery::Beats;
use crate::settings::{Plan, RunConfig};

/// The rollouts of a run, in order.
///
/// Without `overlap` rollout k is played by `pi_k`, the policy after k updates. With it rollout k is played by `pi_{k-1}` (rollout 0
/// by `pi_0`) while `pi_k` comes to be from rollout k - 1: never more than one is on the way, it is never more than one update old,
/// and no clock has a say in who plays what.
pub(crate) struct Rollouts {
    source: Box<dyn Source>,
    engine: Engine,
    overlap: bool,
    /// Who plays the next rollout, once there was one.
    behind: Option<TeamPolicy>,
}

impl Rollouts {
    /// Of environments here, or with a crew.
    ///
    /// # Errors
    /// An environment that cannot be built.
    pub(crate) fn new(plan: &Plan, run: &RunConfig, crew: Option<Box<dyn Crew>>) -> Result<Self, ConfigError> {
        let (team, make, limit) = (Arc::clone(&plan.team), Arc::clone(&plan.make), run.env_failure_limit);
        let source: Box<dyn Source> = match crew {
            Some(crew) => Box::new(Remote::new(plan, run, crew)),
            None => Box::new(Collector::new(team, make, run.seed, run.num_envs, limit)?),
        };
        let engine = Engine::for_device(&run.device).unwrap_or_default();
        Ok(Self { source, engine, overlap: run.overlap, behind: None })
    }

    /// Starts the first episodes: [`Source::start`].
    pub(crate) fn start(&mut self, roll: &mut Rollout) -> Result<Vec<String>, CollectError> {
        self.source.start(roll)
    }

    /// What failed since this was last asked: [`Source::take_causes`].
    pub(crate) fn take_causes(&mut self) -> Vec<(usize, EnvError)> {
        self.source.take_causes()
    }

    /// Which environments are being stepped: [`Source::beats`].
    pub(crate) fn beats(&self) -> Arc<Beats> {
        self.source.beats()
    }

    /// Brings the rollout to be learned from by the learner whose policy is `present`. With `overlap` the next is on its way when this
    /// returns, if `more` are to come.
    ///
    /// # Errors
    /// [`CollectError`]; the rollout is then not to be learned from.
    pub(crate) fn collect(
        &mut self,
        present: TeamPolicy,
        more: bool,
        roll: &mut Rollout,
        pool: &Pool,
    ) -> Result<(), CollectError> {
        let present = present.on(&self.engine);
        if !self.overlap {
            return self.source.collect(&present, roll, pool);
        }
        self.source.collect(self.behind.as_ref().unwrap_or(&present), roll, pool)?;
        if more {
            self.source.order(&present)?;
        }
        self.behind = Some(present);
        Ok(())
    }

    /// Writes where the environments stand (the running episodes only with `episodes`) and who plays the next rollout, which a resumed
    /// run plays again if it was on its way.
    pub(crate) fn save(&self, roll: &Rollout, episodes: bool, w: &mut StateWriter) {
        self.source.save(roll, episodes, w);
        if let Some(policy) = &self.behind {
            put_policy(policy, &mut w.scope("behind"));
        }
    }

    /// Goes back to where [`Rollouts::save`] stood; `present` is the policy of the learner that stood there.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub(crate) fn load(&mut self, present: &TeamPolicy, roll: &mut Rollout, r: &StateReader) -> Result<Vec<String>, ResumeError> {
        let behind = r.scope("behind");
        if self.overlap && behind.has("0.params") {
            let mut groups = present.groups().to_vec();
            get_policy(&behind, &mut groups)?;
            self.behind = Some(present.with_groups(groups).on(&self.engine));
        }
        self.source.load(roll, r)
    }
}

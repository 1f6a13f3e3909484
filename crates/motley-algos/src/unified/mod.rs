//! One network for a team of unlike agents, by unified action spaces: the lifting once, for every algorithm that learns on it.
//!
//! Yu, Lin, Wang, Lv, Han, "Improving Global Parameter-sharing in Physically Heterogeneous Multi-agent Reinforcement Learning with
//! Unified Action Space", arXiv 2408.07395.
//!
//! An algorithm here is its parent for the team that [`motley_core::Lift`] makes of the task's: equal spaces, a mask by group. The
//! task, its rollouts and its policies' inputs stay as they are; [`Unified`] lifts what was collected before the parent sees it,
//! and its policy goes the way there and back by itself. What is added is a second head with the cross-group inverse loss
//! ([`motley_nn::cross_group`]).

pub mod u_mappo;
pub mod u_qmix;

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Lift, Metrics, Origin, Settings, TeamSpec, UnifiedSpace, settings};
use motley_data::rollout::{Lane, Rollout};
use motley_nn::cross_group::{CrossGroup, CrossGroupConfig, Pairing, Predicted, Target};
use motley_nn::{Pool, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, UpdateContext};

/// One network for all: the parents' setting, which is none here.
const SHARE: &str = "net.share";
/// Where combat says whether slots have blocks of their own, and so what they mean.
const ENCODING: &str = "task.actions";

settings! {
    /// The cross-group inverse loss. The paper leaves the last three open.
    pub struct CrossConfig in "algo" {
        /// Weight of the cross-group inverse loss; 0 leaves it and its head out.
        cgi_coef: f64 = 0.1, Kind::Float(0.0, 1e6);
        /// What an agent predicts: `each` other group by itself, or the `union` of them.
        cgi_pairing: String = "each", Kind::Choice(&["each", "union"]);
        /// From whom the target is: the `mean` of the group's living agents, or the `first` of them.
        cgi_target: String = "mean", Kind::Choice(&["mean", "first"]);
        /// Where gradients flow: into the `prediction` alone, or into `both` it and the target.
        cgi_gradient: String = "prediction", Kind::Choice(&["prediction", "both"]);
    }
}

impl CrossConfig {
    /// The loss for a team, where its weight is not 0 and there are groups to tell apart.
    fn build(&self, lift: &Lift, predicted: Predicted) -> Option<CrossGroup> {
        let config = CrossGroupConfig {
            predicted,
            pairing: if self.cgi_pairing == "union" { Pairing::Union } else { Pairing::Each },
            target: if self.cgi_target == "first" { Target::First } else { Target::Mean },
            through_target: self.cgi_gradient == "both",
            coef: self.cgi_coef as f32,
        };
        CrossGroup::new(&lift.space().group_of_agent, config).filter(|_| self.cgi_coef > 0.0)
    }
}

/// A parent's keys with those of the loss; who shares is no question here.
fn keys(parent: Vec<Key>) -> Vec<Key> {
    let mut keys: Vec<Key> = parent.into_iter().filter(|k| k.name != SHARE).collect();
    keys.extend(CrossConfig::keys());
    keys
}

/// What a parent is given: the lift to its team, and settings in which all share.
fn prepare(algo: &str, team: &Arc<TeamSpec>, settings: &Settings) -> Result<(Arc<Lift>, Settings), ConfigError> {
    let lift =
        Lift::new(team).map_err(|why| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why })?;
    let share = Key::new(SHARE, "all", Kind::Share, "one network for all");
    let mut shared = Settings::new(settings.iter().map(|(key, ..)| key.clone()).chain([share]));
    for (key, value, origin) in settings.iter() {
        shared.set(&key.name, value, Origin::clone(origin))?;
    }
    Ok((Arc::new(lift), shared))
}

/// Where a task says nothing of what actions mean and all agents are of one kind, there is nothing to unify: what then is learned is
/// the parent's, and slots that mean different things to different agents stay mixed up.
fn caveat(algo: &str, parent: &str, team: &TeamSpec, settings: &Settings) -> Option<String> {
    let silent = team.agents.iter().all(|agent| agent.meaning.is_empty());
    UnifiedSpace::new(team).ok().filter(|space| silent && space.masks.len() == 1)?;
    let way = match settings.value(ENCODING) {
        Ok(_) => format!("with {ENCODING}=unified every slot has one meaning, which the task then says"),
        Err(_) => "a task of unlike agents names their kinds, or says what each action means (AgentSpec::meaning)".to_owned(),
    };
    Some(format!(
        "unified actions change nothing here: {} does not say what its actions mean, and its agents are all of one kind, so {algo} \
         learns what {parent} with net.share=all does; {way}",
        team.task
    ))
}

/// A learner of a lifted team as one of the task's.
struct Unified {
    lift: Arc<Lift>,
    parent: Box<dyn Algorithm>,
    /// The last rollout as the parent sees it; its memory is reused.
    seen: Option<Rollout>,
}

impl Unified {
    fn boxed(lift: Arc<Lift>, parent: impl Algorithm + 'static) -> Box<dyn Algorithm> {
        Box::new(Self { lift, parent: Box::new(parent), seen: None })
    }
}

impl Algorithm for Unified {
    fn rollout_steps(&self) -> usize {
        self.parent.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.parent.policy().lifted(Arc::clone(&self.lift))
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let sizes = |r: &Rollout| (r.envs(), r.steps(), r.memory_len());
        let kept = self.seen.take().filter(|seen| sizes(seen) == sizes(roll));
        let mut seen =
            kept.unwrap_or_else(|| Rollout::new(Arc::clone(self.lift.unified()), roll.envs(), roll.steps(), roll.memory_len()));
        lift_rollout(&self.lift, context.pool, roll, &mut seen);
        let metrics = self.parent.update(&seen, context);
        self.seen = Some(seen);
        metrics
    }

    fn save(&self, w: &mut StateWriter) {
        self.parent.save(w);
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.parent.load(r)
    }
}

/// What was collected, as the unified team would have collected it.
fn lift_rollout(lift: &Lift, pool: &Pool, from: &Rollout, into: &mut Rollout) {
    let mut lanes: Vec<(&Lane, &mut Lane)> = from.lanes.iter().zip(&mut into.lanes).collect();
    pool.run(&mut lanes, |_, (from, into)| lift_lane(lift, from, into));
}

fn lift_lane(lift: &Lift, from: &Lane, into: &mut Lane) {
    let (team, unified) = (lift.team(), lift.unified());
    for (own, seen) in from.obs.chunks_exact(team.obs_len()).zip(into.obs.chunks_exact_mut(unified.obs_len())) {
        lift.observe(own, seen);
    }
    for (own, seen) in from.avail.chunks_exact(team.mask_len()).zip(into.avail.chunks_exact_mut(unified.mask_len())) {
        lift.masks(own, seen);
    }
    into.actions.copy_from_slice(&from.actions);
    into.actions.chunks_exact_mut(team.n()).for_each(|actions| lift.raise(actions));
    into.state.copy_from_slice(&from.state);
    into.alive.copy_from_slice(&from.alive);
    into.first.copy_from_slice(&from.first);
    into.memory.copy_from_slice(&from.memory);
    into.log_probs.copy_from_slice(&from.log_probs);
    into.rewards.copy_from_slice(&from.rewards);
    into.status.copy_from_slice(&from.status);
    into.valid.copy_from_slice(&from.valid);
    into.clear();
    into.episodes.extend_from_slice(&from.episodes);
    let (mut obs, mut avail) = (vec![0.0; unified.obs_len()], vec![false; unified.mask_len()]);
    for end in &from.finals {
        lift.observe(&end.obs, &mut obs);
        lift.masks(&end.avail, &mut avail);
        let (mut state, mut alive, mut rewards) = (end.state.clone(), end.alive.clone(), vec![0.0; team.n()]);
        let frame =
            motley_core::Frame { obs: &mut obs, state: &mut state, avail: &mut avail, rewards: &mut rewards, alive: &mut alive };
        into.put_final(end.time, &frame);
    }
}

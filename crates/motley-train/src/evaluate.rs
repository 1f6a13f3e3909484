//! Evaluation: whole episodes on streams of their own, which training never sees.

use std::sync::Arc;

use motley_core::{Env, EnvError, FrameBuf, Purpose, Stream, TeamSpec};
use motley_core::{Actions, guard::check_frame};
use motley_nn::{ActScratch, Decision, Mode, ObsBatch, Policy, Pool};
use thiserror::Error;

use crate::collect::{CollectError, MakeEnv};
use crate::recovery::reset_with_retries;

/// Copies that one thread plays in lockstep.
const LOCKSTEP: usize = 16;

/// One evaluated episode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// Undiscounted return of the team.
    pub team_return: f64,
    /// Mean over agents of their own returns.
    pub agent_return: f64,
    /// Steps.
    pub length: usize,
    /// Whether it was won, where the task defines winning.
    pub won: Option<bool>,
}

/// Why an evaluation failed.
#[derive(Debug, Error)]
pub enum EvalError {
    /// As in collection.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// An environment failed in the middle of an episode.
    #[error("evaluation episode {episode}: {cause}")]
    Episode {
        /// Which episode.
        episode: usize,
        /// How.
        cause: EnvError,
    },
}

/// What is to be played.
#[derive(Debug, Clone, Copy)]
pub struct EvalPlan {
    /// Names the streams.
    pub seed: u64,
    /// Tells evaluations of one run apart.
    pub round: u64,
    /// How many episodes.
    pub episodes: usize,
    /// Greedy, or sampled.
    pub mode: Mode,
}

/// Plays the planned episodes; the result is in order of episodes and does not depend on threads.
///
/// # Errors
/// [`EvalError`] of the first failing episode.
pub fn evaluate(policy: &dyn Policy, make: &MakeEnv, pool: &Pool, plan: EvalPlan) -> Result<Vec<Episode>, EvalError> {
    struct Part {
        episodes: std::ops::Range<usize>,
        result: Result<Vec<Episode>, EvalError>,
    }
    let per_part = plan.episodes.div_ceil(pool.threads()).clamp(1, LOCKSTEP);
    let mut parts: Vec<Part> = (0..plan.episodes)
        .step_by(per_part)
        .map(|from| Part { episodes: from..(from + per_part).min(plan.episodes), result: Ok(Vec::new()) })
        .collect();
    pool.run(&mut parts, |_, part| part.result = lockstep(policy, make, plan, part.episodes.clone()));
    let mut all = Vec::with_capacity(plan.episodes);
    for part in parts {
        all.extend(part.result?);
    }
    Ok(all)
}

struct Player {
    env: Box<dyn Env>,
    episode: usize,
    sums: Vec<f64>,
    result: Episode,
    done: bool,
}

fn lockstep(policy: &dyn Policy, make: &MakeEnv, plan: EvalPlan, episodes: std::ops::Range<usize>) -> Result<Vec<Episode>, EvalError> {
    let team: Arc<TeamSpec> = Arc::clone(policy.team());
    let count = episodes.len();
    let (mut obs, mut avail) = (vec![0.0; count * team.obs_len()], vec![true; count * team.mask_len()]);
    let mut memory = vec![0.0; count * policy.memory_len()];
    let mut frame = FrameBuf::new(&team);
    let mut alive = vec![true; count * team.n()];
    let mut players = Vec::with_capacity(count);
    for (k, episode) in episodes.enumerate() {
        let mut env = make().map_err(CollectError::Make)?;
        let stream = |attempt: u64| Stream::new(plan.seed, Purpose::EvalEpisode, episode as u64, plan.round).fork(attempt);
        reset_with_retries(&mut env, make, &team, &mut frame.frame(), stream).map_err(|cause| EvalError::Episode { episode, cause })?;
        keep(&team, &frame, k, &mut obs, &mut avail, &mut alive);
        let result = Episode { team_return: 0.0, agent_return: 0.0, length: 0, won: None };
        players.push(Player { env, episode, sums: vec![0.0; team.n()], result, done: false });
    }
    let (mut decision, mut scratch) = (Decision::default(), ActScratch::default());
    let mut step = 0;
    while players.iter().any(|p| !p.done) {
        let rng: Vec<Stream> =
            players.iter().map(|p| Stream::new(plan.seed, Purpose::EvalAct, p.episode as u64, plan.round).fork(step)).collect();
        let batch = ObsBatch { envs: count, obs: &obs, avail: &avail };
        policy.act(batch, &mut memory, plan.mode, &rng, &mut decision, &mut scratch).map_err(CollectError::Act)?;
        for (k, player) in players.iter_mut().enumerate().filter(|(_, p)| !p.done) {
            let actions = &decision.env[k * team.action_len()..(k + 1) * team.action_len()];
            let was_alive = alive[k * team.n()..(k + 1) * team.n()].to_vec();
            player.advance(&team, actions, &mut frame, &was_alive)?;
            keep(&team, &frame, k, &mut obs, &mut avail, &mut alive);
        }
        step += 1;
    }
    Ok(players.into_iter().map(|p| p.result).collect())
}

fn keep(team: &TeamSpec, frame: &FrameBuf, k: usize, obs: &mut [f32], avail: &mut [bool], alive: &mut [bool]) {
    obs[k * team.obs_len()..(k + 1) * team.obs_len()].copy_from_slice(&frame.obs);
    avail[k * team.mask_len()..(k + 1) * team.mask_len()].copy_from_slice(&frame.avail);
    alive[k * team.n()..(k + 1) * team.n()].copy_from_slice(&frame.alive);
}

impl Player {
    fn advance(&mut self, team: &TeamSpec, actions: &[f32], frame: &mut FrameBuf, was_alive: &[bool]) -> Result<(), EvalError> {
        let failed = |cause| EvalError::Episode { episode: self.episode, cause };
        let status = self.env.step(Actions::new(team, actions), &mut frame.frame()).map_err(failed)?;
        let view = motley_core::Frame {
            obs: &mut frame.obs,
            state: &mut frame.state,
            avail: &mut frame.avail,
            rewards: &mut frame.rewards,
            alive: &mut frame.alive,
        };
        check_frame(team, &view, was_alive).map_err(failed)?;
        self.result.length += 1;
        self.result.team_return += team.team_reward(view.rewards);
        self.sums.iter_mut().zip(view.rewards.iter()).for_each(|(sum, r)| *sum += r);
        if status.done() || team.step_limit.is_some_and(|limit| self.result.length >= limit) {
            self.done = true;
            self.result.agent_return = self.sums.iter().sum::<f64>() / self.sums.len() as f64;
            self.result.won = self.env.won();
        }
        Ok(())
    }
}

/// Mean and deviation of team returns, and the share of episodes won.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvalSummary {
    /// Mean team return.
    pub return_mean: f64,
    /// Population standard deviation of team returns.
    pub return_std: f64,
    /// Mean over agents and episodes of agents' own returns.
    pub agent_return_mean: f64,
    /// Mean length.
    pub length_mean: f64,
    /// Share won, where the task defines winning.
    pub win_rate: Option<f64>,
    /// How many episodes.
    pub episodes: usize,
}

impl EvalSummary {
    /// Of at least one episode.
    pub fn of(episodes: &[Episode]) -> Self {
        let n = episodes.len() as f64;
        let mean = |f: &dyn Fn(&Episode) -> f64| episodes.iter().map(f).sum::<f64>() / n;
        let return_mean = mean(&|e| e.team_return);
        let won: Vec<bool> = episodes.iter().filter_map(|e| e.won).collect();
        Self {
            return_mean,
            return_std: mean(&|e| (e.team_return - return_mean).powi(2)).sqrt(),
            agent_return_mean: mean(&|e| e.agent_return),
            length_mean: mean(&|e| e.length as f64),
            win_rate: (!won.is_empty()).then(|| won.iter().filter(|w| **w).count() as f64 / won.len() as f64),
            episodes: episodes.len(),
        }
    }
}

//! Evaluation: whole episodes on streams of their own, which training never sees.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use motley_core::{Env, EnvError, FrameBuf, Metrics, Purpose, Stream, TeamSpec, guard};
use motley_data::rollout::Rollout;
use motley_nn::{ActScratch, Decision, Mode, ObsBatch, Policy, Pool, TeamPolicy, system_neural_diversity};
use thiserror::Error;

use crate::collect::{CollectError, MakeEnv};
use crate::faults::Faults;
use crate::recovery::{build, restart};

/// Copies that one thread plays in lockstep.
const LOCKSTEP: usize = 16;

/// Times that an episode whose environment fails is played anew.
const MAX_RESTARTS: u64 = 3;

/// An episode this long of a task without a step limit never ends, as far as anybody can wait.
const MAX_STEPS: usize = 100_000;

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
    /// An environment failed, and again each time the episode was played anew.
    #[error("evaluation episode {episode} failed {} times: {cause}", MAX_RESTARTS + 1)]
    Episode {
        /// Which episode.
        episode: usize,
        /// How.
        cause: EnvError,
    },
    /// An episode without a limit went on and on.
    #[error("evaluation episode {episode} did not end within {MAX_STEPS} steps: give the task a step limit")]
    Endless {
        /// Which episode.
        episode: usize,
    },
    /// The network put out what is no number, so that the actions mean nothing.
    #[error(
        "what the network of agent \"{agent}\" puts out is not finite (NaN or infinity), so its actions mean nothing: its weights are damaged or diverged in training, or its observations are extreme; take another checkpoint, or train anew with a lower learning rate"
    )]
    NotFinite {
        /// Whose network.
        agent: String,
    },
    /// A stop was asked for.
    #[error("the evaluation was stopped before its end")]
    Interrupted,
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

/// What an evaluation played.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Played {
    /// The episodes, in order.
    pub episodes: Vec<Episode>,
    /// Failures of environments: in which episode (it was played anew), and how.
    pub failures: Vec<(usize, EnvError)>,
}

impl Played {
    /// What is to be said of the failures: the 1st of each kind, the 10th, the 100th, ...
    pub fn warnings(&self) -> Vec<String> {
        let mut faults = Faults::default();
        self.failures.iter().filter_map(|(episode, cause)| faults.eval_warning(*episode, cause)).collect()
    }
}

/// Plays the planned episodes; the result is in order of episodes and does not depend on threads. An episode whose environment
/// fails is played anew with a fresh stream, so that what is reported are whole episodes; the failures are reported beside them.
///
/// # Errors
/// [`EvalError`] of the first failing episode.
pub fn evaluate(policy: &dyn Policy, make: &MakeEnv, pool: &Pool, plan: EvalPlan) -> Result<Played, EvalError> {
    evaluate_until(policy, make, pool, plan, &AtomicBool::new(false))
}

/// As [`evaluate`], until `stop` is set: then it ends after the step at hand, and nothing is reported.
///
/// # Errors
/// Those of [`evaluate`], and [`EvalError::Interrupted`].
pub fn evaluate_until(
    policy: &dyn Policy,
    make: &MakeEnv,
    pool: &Pool,
    plan: EvalPlan,
    stop: &AtomicBool,
) -> Result<Played, EvalError> {
    struct Part {
        episodes: Range<usize>,
        result: Result<Played, EvalError>,
    }
    let per_part = plan.episodes.div_ceil(pool.threads()).clamp(1, LOCKSTEP);
    let mut parts: Vec<Part> = (0..plan.episodes)
        .step_by(per_part)
        .map(|from| Part { episodes: from..(from + per_part).min(plan.episodes), result: Ok(Played::default()) })
        .collect();
    pool.run(&mut parts, |_, part| part.result = play(policy, make, plan, part.episodes.clone(), stop));
    let mut all = Played::default();
    for part in parts {
        let Played { episodes, failures } = part.result?;
        all.episodes.extend(episodes);
        all.failures.extend(failures);
    }
    Ok(all)
}

/// [`motley_nn::system_neural_diversity`] on moments of a rollout: as many as make some 20,000 comparisons, 100 at most, spread evenly.
pub fn behavioural_distance(policy: &TeamPolicy, roll: &Rollout) -> Option<f64> {
    let n = roll.team().n();
    let comparisons = n * n.saturating_sub(1) / 2 * n;
    let moments = (20_000 / comparisons.max(1)).clamp(1, 100).min(roll.rows());
    let obs: Vec<f32> =
        (0..moments).map(|k| roll.at(k * roll.rows() / moments)).flat_map(|(e, t)| roll.all_obs(e, t)).copied().collect();
    system_neural_diversity(policy, &obs)
}

struct Player<'a> {
    env: &'a mut Box<dyn Env>,
    episode: usize,
    /// Streams used up; names the next one.
    attempts: u64,
    restarts: u64,
    sums: Vec<f64>,
    result: Episode,
    done: bool,
    failures: Vec<EnvError>,
}

/// Plays episodes side by side, or with one heavy copy one after the other.
fn play(
    policy: &dyn Policy,
    make: &MakeEnv,
    plan: EvalPlan,
    episodes: Range<usize>,
    stop: &AtomicBool,
) -> Result<Played, EvalError> {
    let new = || build(make, policy.team()).map_err(CollectError::Make);
    let go_on = || if stop.load(Ordering::Relaxed) { Err(EvalError::Interrupted) } else { Ok(()) };
    go_on()?;
    let mut envs: Vec<Box<dyn Env>> = vec![new()?];
    if envs[0].heavy() {
        let mut played = Played::default();
        for episode in episodes {
            let one = lockstep(policy, make, plan, &mut envs, episode, stop)?;
            played.episodes.extend(one.episodes);
            played.failures.extend(one.failures);
        }
        return Ok(played);
    }
    for _ in 1..episodes.len() {
        go_on()?;
        envs.push(new()?);
    }
    lockstep(policy, make, plan, &mut envs, episodes.start, stop)
}

/// Plays as many episodes as there are copies, in step with each other, from number `first` on.
fn lockstep(
    policy: &dyn Policy,
    make: &MakeEnv,
    plan: EvalPlan,
    envs: &mut [Box<dyn Env>],
    first: usize,
    stop: &AtomicBool,
) -> Result<Played, EvalError> {
    let go_on = || if stop.load(Ordering::Relaxed) { Err(EvalError::Interrupted) } else { Ok(()) };
    let team: Arc<TeamSpec> = Arc::clone(policy.team());
    let (count, width) = (envs.len(), policy.memory_len());
    let (mut obs, mut avail) = (vec![0.0; count * team.obs_len()], vec![true; count * team.mask_len()]);
    let mut memory = vec![0.0; count * width];
    let mut frame = FrameBuf::new(&team);
    let mut alive = vec![true; count * team.n()];
    let mut players = Vec::with_capacity(count);
    for (k, env) in envs.iter_mut().enumerate() {
        go_on()?;
        let mut player = Player::new(env, first + k, team.n());
        player.begin(make, &team, plan, &mut frame, false)?;
        keep(&team, &frame, k, &mut obs, &mut avail, &mut alive);
        players.push(player);
    }
    let (mut decision, mut scratch) = (Decision::default(), ActScratch::default());
    while players.iter().any(|p| !p.done) {
        go_on()?;
        let rng: Vec<Stream> = players.iter().map(|p| p.act_stream(plan)).collect();
        let batch = ObsBatch { envs: count, obs: &obs, avail: &avail };
        policy.act(batch, &mut memory, plan.mode, &rng, &mut decision, &mut scratch).map_err(CollectError::Act)?;
        if let Some(agent) = decision.not_finite.take() {
            return Err(EvalError::NotFinite { agent });
        }
        for (k, player) in players.iter_mut().enumerate().filter(|(_, p)| !p.done) {
            let actions = &decision.env[k * team.action_len()..(k + 1) * team.action_len()];
            let was_alive = alive[k * team.n()..(k + 1) * team.n()].to_vec();
            if let Err(cause) = player.advance(&team, actions, &mut frame, &was_alive) {
                player.restarts += 1;
                if player.restarts > MAX_RESTARTS {
                    return Err(EvalError::Episode { episode: player.episode, cause });
                }
                let broken = matches!(cause, EnvError::Panicked(_));
                player.failures.push(cause);
                player.begin(make, &team, plan, &mut frame, broken)?;
                memory[k * width..(k + 1) * width].fill(0.0);
            }
            if team.step_limit.is_none() && player.result.length >= MAX_STEPS && !player.done {
                return Err(EvalError::Endless { episode: player.episode });
            }
            keep(&team, &frame, k, &mut obs, &mut avail, &mut alive);
        }
    }
    let mut played = Played::default();
    for player in players {
        played.episodes.push(player.result);
        played.failures.extend(player.failures.into_iter().map(|cause| (player.episode, cause)));
    }
    Ok(played)
}

fn keep(team: &TeamSpec, frame: &FrameBuf, k: usize, obs: &mut [f32], avail: &mut [bool], alive: &mut [bool]) {
    obs[k * team.obs_len()..(k + 1) * team.obs_len()].copy_from_slice(&frame.obs);
    avail[k * team.mask_len()..(k + 1) * team.mask_len()].copy_from_slice(&frame.avail);
    alive[k * team.n()..(k + 1) * team.n()].copy_from_slice(&frame.alive);
}

impl Episode {
    const NONE: Self = Self { team_return: 0.0, agent_return: 0.0, length: 0, won: None };
}

impl<'a> Player<'a> {
    fn new(env: &'a mut Box<dyn Env>, episode: usize, agents: usize) -> Self {
        let (sums, failures) = (vec![0.0; agents], Vec::new());
        Self { env, episode, attempts: 0, restarts: 0, sums, result: Episode::NONE, done: false, failures }
    }

    /// Starts the episode, or starts it anew.
    fn begin(
        &mut self,
        make: &MakeEnv,
        team: &TeamSpec,
        plan: EvalPlan,
        frame: &mut FrameBuf,
        broken: bool,
    ) -> Result<(), EvalError> {
        let (episode, first) = (self.episode, self.attempts);
        let stream =
            |attempt: u64| Stream::new(plan.seed, Purpose::EvalEpisode, episode as u64, plan.round).fork(first + attempt);
        let used = restart(self.env, broken, make, team, &mut frame.frame(), stream);
        let used = used.map_err(|cause| CollectError::Reset { env: episode, cause })?;
        self.attempts += used.attempts;
        self.failures.extend(used.failed);
        self.sums.fill(0.0);
        self.result = Episode::NONE;
        Ok(())
    }

    /// The stream of the next action: by attempt and step, whatever the episodes beside it do.
    fn act_stream(&self, plan: EvalPlan) -> Stream {
        let stream = Stream::new(plan.seed, Purpose::EvalAct, self.episode as u64, plan.round);
        stream.fork((self.attempts.saturating_sub(1) << 32) | self.result.length as u64)
    }

    fn advance(&mut self, team: &TeamSpec, actions: &[f32], buf: &mut FrameBuf, was_alive: &[bool]) -> Result<(), EnvError> {
        let mut frame = buf.frame();
        let status = guard::step(&mut **self.env, team, actions, &mut frame, was_alive, &mut self.result.length)?;
        self.result.team_return += team.team_reward(frame.rewards);
        self.sums.iter_mut().zip(frame.rewards.iter()).for_each(|(sum, r)| *sum += r);
        if status.done() {
            self.done = true;
            self.result.agent_return = self.sums.iter().sum::<f64>() / self.sums.len() as f64;
            self.result.won = self.env.won_at_end();
        }
        Ok(())
    }
}

/// Mean and deviation of team returns, the share of episodes won, and what failed meanwhile.
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
    /// Failures of environments, after which an episode was played anew.
    pub env_failures: usize,
}

impl EvalSummary {
    /// Of at least one episode.
    pub fn of(played: &Played) -> Self {
        let episodes = &played.episodes;
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
            env_failures: played.failures.len(),
        }
    }

    /// As metrics `eval/...`.
    pub(crate) fn metrics(&self) -> Metrics {
        let mut m = Metrics::new();
        m.add("eval/return_mean", self.return_mean);
        m.add("eval/return_std", self.return_std);
        m.add("eval/mean_agent_return", self.agent_return_mean);
        m.add("eval/episode_length", self.length_mean);
        m.add("eval/env_failures", self.env_failures as f64);
        if let Some(rate) = self.win_rate {
            m.add("eval/win_rate", rate);
        }
        m
    }
}

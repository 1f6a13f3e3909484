//! One environment in a worker, as an [`Env`].

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use motley_core::{ActionSpace, Actions, ConfigError, Env, EnvError, Frame, Phase, Photo, Status, Stream, TeamSpec};

use crate::link::Ask;
use crate::pool::{Pool, Seat};

/// One copy of a foreign environment. Its worker is shared with other copies and started when it is first needed.
#[derive(Debug)]
pub struct ForeignEnv {
    pool: Arc<Pool>,
    seat: Option<Seat>,
    team: Arc<TeamSpec>,
    phase: Phase,
    steps: usize,
    won: Option<bool>,
    avail: Vec<bool>,
    message: Vec<u8>,
    frame: Vec<u8>,
}

impl ForeignEnv {
    pub(crate) fn new(pool: Arc<Pool>) -> Result<Self, ConfigError> {
        let team = pool.team()?;
        let seat = Some(pool.sit());
        let bytes = team.n() * 9 + (team.obs_len() + team.state_len()) * 4 + team.mask_len();
        let avail = vec![true; team.mask_len()];
        Ok(Self { pool, seat, team, phase: Phase::Fresh, steps: 0, won: None, avail, message: Vec::new(), frame: vec![0; bytes] })
    }

    /// Sends the message and takes what is needed of the answer. Between episodes a worker is started where none runs; an episode
    /// is lost with its worker.
    fn call<T>(&mut self, ask: Ask, between: bool, take: impl FnOnce(&[u8]) -> T) -> Result<T, EnvError> {
        let seat = self.seat.as_mut().ok_or_else(given_up)?;
        let worker = Arc::clone(&seat.worker);
        let mut held = worker.lock();
        let patience = if matches!(ask, Ask::Step) { self.pool.source.step_patience } else { self.pool.source.reset_patience };
        if between {
            self.pool.open(&mut held, seat, self.frame.len())?;
        } else if !self.pool.holds(&held, seat) {
            return Err(EnvError::Failed(format!("the worker of {} was lost to another copy's failure", self.team.task)));
        }
        self.pool.call(&mut held, ask, seat.slot, &self.message, patience)?;
        Ok(take(held.answer()))
    }

    /// Asks for a frame: it is in the segment, the answer is the status and whether the episode was won.
    fn ask(&mut self, ask: Ask, out: &mut Frame<'_>) -> Result<[u8; 2], EnvError> {
        let answer = self.call(ask, matches!(ask, Ask::Reset), |answer| answer.first_chunk().copied().unwrap_or_default())?;
        let segment = self.seat.as_ref().and_then(|seat| seat.segment.as_ref()).ok_or_else(given_up)?;
        segment.read_exact_at(&mut self.frame, 0).map_err(|e| EnvError::Failed(format!("shared memory: {e}")))?;
        self.read(out);
        Ok(answer)
    }

    /// Copies the segment into the frame: rewards, observations, state, masks, who is alive.
    fn read(&mut self, out: &mut Frame<'_>) {
        let (rewards, rest) = self.frame.split_at(8 * self.team.n());
        let (obs, rest) = rest.split_at(4 * self.team.obs_len());
        let (state, rest) = rest.split_at(4 * self.team.state_len());
        let (avail, alive) = rest.split_at(self.team.mask_len());
        for (to, from) in out.rewards.iter_mut().zip(rewards.as_chunks().0) {
            *to = f64::from_le_bytes(*from);
        }
        for (to, from) in out.obs.iter_mut().zip(obs.as_chunks().0).chain(out.state.iter_mut().zip(state.as_chunks().0)) {
            *to = f32::from_le_bytes(*from);
        }
        for (to, from) in out.avail.iter_mut().zip(avail).chain(out.alive.iter_mut().zip(alive)) {
            *to = *from != 0;
        }
        self.avail.copy_from_slice(out.avail);
    }

    fn check_actions(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        actions.checked()?;
        for (i, agent) in self.team.agents.iter().enumerate() {
            let given = actions.of(i);
            let mut mask = &self.avail[self.team.mask_range(i)];
            let fits = match &agent.action {
                ActionSpace::Box { low, high } => given.iter().zip(low.iter().zip(high)).all(|(x, (l, h))| (l..=h).contains(&x)),
                discrete => given.iter().zip(discrete.choices()).all(|(x, &n)| {
                    let (own, rest) = mask.split_at(n);
                    mask = rest;
                    let choice = *x as usize; // saturates, and is 0 for what is no number
                    choice as f32 == *x && own.get(choice) == Some(&true)
                }),
            };
            if !fits {
                return Err(EnvError::Action {
                    agent: agent.name.clone(),
                    expected: format!("an available action of {}", agent.action.describe()),
                    found: format!("{given:?}"),
                });
            }
        }
        Ok(())
    }
}

fn given_up() -> EnvError {
    EnvError::Failed("the environment was given up".into())
}

/// Width and height, then the bytes of the pixels.
fn photo(answer: &[u8]) -> Result<Photo, EnvError> {
    let broken = || EnvError::Failed("the worker's picture cannot be read".into());
    let (width, rest) = answer.split_first_chunk().ok_or_else(broken)?;
    let (height, rgb) = rest.split_first_chunk().ok_or_else(broken)?;
    Ok(Photo { width: u32::from_le_bytes(*width), height: u32::from_le_bytes(*height), rgb: rgb.to_vec() })
}

impl Env for ForeignEnv {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    /// The seed is drawn from the stream, 31 bits as the libraries take it.
    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        (self.phase, self.steps, self.won) = (Phase::Fresh, 0, None);
        self.message.clear();
        self.message.extend(u64::from(stream.next_u32() >> 1).to_le_bytes());
        self.ask(Ask::Reset, out)?;
        self.phase = Phase::Running;
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.phase.running()?;
        self.check_actions(actions)?;
        self.message.clear();
        self.message.extend(actions.flat().iter().flat_map(|x| x.to_le_bytes()));
        self.phase = Phase::Fresh;
        let [status, won] = self.ask(Ask::Step, out)?;
        self.steps += 1;
        self.won = (won > 0).then_some(won == 2);
        let status = match status {
            1 => Status::Terminated,
            2 => Status::Truncated,
            _ if self.pool.source.max_steps > 0 && self.steps >= self.pool.source.max_steps => Status::Truncated,
            _ => Status::Running,
        };
        self.phase = if status.done() { Phase::Over } else { Phase::Running };
        Ok(status)
    }

    fn photo(&mut self, width: u32) -> Option<Result<Photo, ConfigError>> {
        let between = self.phase == Phase::Fresh;
        self.message.clear();
        self.message.push(u8::from(between));
        self.message.extend(width.to_le_bytes());
        let taken = self.call(Ask::Draw, between, photo).and_then(|photo| photo);
        Some(taken.map_err(|e| ConfigError::Invalid(format!("{} cannot be drawn: {e}", self.team.task))))
    }

    fn won(&self) -> Option<bool> {
        (self.team.winning && self.phase == Phase::Over).then(|| self.won.unwrap_or(false))
    }
}

impl Drop for ForeignEnv {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.pool.leave(seat);
        }
    }
}

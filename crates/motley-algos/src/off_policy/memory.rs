//! The replay memory with what decides when it is filled, when it is learned from, and how much.

use std::sync::Arc;

use motley_core::{ConfigError, Kind, Settings, Stream, TeamSpec, settings};
use motley_data::LoadError;
use motley_data::replay::{Replay, Sample};
use motley_data::rollout::Rollout;
use motley_nn::UpdateError;
use motley_run::{CheckpointError, Difference, PieceHashes, StateReader, StateWriter};

use crate::algorithm::RewardMode;

settings! {
    /// What is collected and kept, and how much is learned from it.
    pub struct ReplayConfig in "algo" {
        /// Steps of every environment between two updates (HARL's train_interval).
        rollout_steps: usize = 50, Kind::Int(1, 1_000_000);
        /// Gradient updates per step of all environments together: 1 is one update every num_envs env steps.
        updates_per_step: f64 = 1.0, Kind::Float(0.0, 1000.0);
        /// Env steps of random actions before anything is learned.
        warmup_steps: u64 = 10_000, Kind::Int(0, 1_000_000_000_000);
        /// Transitions of a gradient update.
        batch_size: usize = 1000, Kind::Int(1, 1_000_000);
        /// Slots of the replay memory: one a transition, and one for the end of each episode that a time limit cut.
        buffer_size: usize = 1_000_000, Kind::Int(1, 1_000_000_000);
        /// Steps of the return that critics learn.
        n_step: usize = 1, Kind::Int(1, 100_000);
        /// Discount per step.
        gamma: f64 = 0.99, Kind::Float(0.0, 1.0);
    }
}

/// Refuses a memory smaller than a batch.
pub(crate) fn check(settings: &Settings) -> Result<(), ConfigError> {
    let config = ReplayConfig::read(settings)?;
    if config.batch_size <= config.buffer_size {
        return Ok(());
    }
    Err(ConfigError::Value {
        key: "algo.batch_size".into(),
        expected: format!("at most algo.buffer_size = {}", config.buffer_size),
        found: config.batch_size.to_string(),
    })
}

/// Refuses a memory that this machine cannot hold, before any of it is taken.
pub(crate) fn check_room(
    team: &TeamSpec,
    settings: &Settings,
    reward: RewardMode,
    available: Option<u64>,
) -> Result<(), ConfigError> {
    let config = ReplayConfig::read(settings)?;
    let needed = Replay::bytes(team, settings.get("num_envs")?, config.buffer_size, columns(team, reward));
    let gib = |b: f64| b / f64::from(1 << 30);
    match available {
        Some(available) if needed.is_none_or(|n| n as u64 > available) => Err(ConfigError::Room {
            key: "algo.buffer_size".into(),
            why: format!(
                "the replay memory takes {:.1} GiB ({} bytes), {:.1} GiB are available: lower the number of its slots",
                needed.map_or(f64::INFINITY, |n| gib(n as f64)),
                needed.map_or_else(|| "more than can be counted".to_owned(), |n| n.to_string()),
                gib(available as f64)
            ),
            found: config.buffer_size.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Rewards kept a step.
pub(super) fn columns(team: &TeamSpec, reward: RewardMode) -> usize {
    if reward == RewardMode::Own { team.n() } else { 1 }
}

/// The memory and its schedule.
#[derive(Debug)]
pub struct Memory {
    team: Arc<TeamSpec>,
    config: ReplayConfig,
    reward: RewardMode,
    /// [`RewardMode::ends_at_death`].
    mortal: bool,
    replay: Option<Replay>,
    /// Of its pieces.
    hashes: PieceHashes,
    /// Env steps collected.
    steps: u64,
    /// Updates that are due, with the fraction carried on.
    due: f64,
    /// Gradient updates done.
    updates: u64,
}

impl Memory {
    /// Nothing yet. Where values end at death (`mortal`), pay that comes after it is no part of any return.
    pub fn new(team: Arc<TeamSpec>, config: ReplayConfig, reward: RewardMode, mortal: bool) -> Self {
        Self { team, config, reward, mortal, replay: None, hashes: PieceHashes::default(), steps: 0, due: 0.0, updates: 0 }
    }

    /// Steps per environment between two updates.
    pub fn rollout_steps(&self) -> usize {
        self.config.rollout_steps
    }

    /// Whether actions are still to be random.
    pub fn warming_up(&self) -> bool {
        self.steps < self.config.warmup_steps
    }

    /// Transitions in memory.
    pub fn len(&self) -> usize {
        self.replay.as_ref().map_or(0, Replay::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a rollout in.
    pub fn remember(&mut self, roll: &Rollout) {
        let (reward, mortal, width) = (self.reward, self.mortal, columns(&self.team, self.reward));
        let make = || Replay::new(Arc::clone(&self.team), roll.envs(), self.config.buffer_size, width);
        let replay = self.replay.get_or_insert_with(make);
        replay.push(roll, &|rewards, alive, into| {
            for (i, to) in into.iter_mut().enumerate() {
                *to = if mortal && !alive[i] { 0.0 } else { reward.of(rewards, i) as f32 };
            }
        });
        self.steps += roll.rows() as u64;
        if self.steps > self.config.warmup_steps {
            self.due += self.config.updates_per_step * roll.steps() as f64;
        }
    }

    /// The gradient updates to make now, each with its number since the run began; none while memory holds less than a batch and can
    /// still grow (ends of episodes that a time limit cut take slots, so a full one may hold a little less).
    pub fn due(&mut self) -> std::ops::Range<u64> {
        let full = self.replay.as_ref().is_some_and(Replay::is_full);
        if self.len() < self.config.batch_size && !full {
            self.due = 0.0;
        }
        let from = self.updates;
        self.updates += self.due as u64;
        self.due = self.due.fract();
        from..self.updates
    }

    /// A batch's transitions.
    ///
    /// # Errors
    /// Nothing was collected: a fault of the program.
    pub fn sample(&self, rng: &Stream) -> Result<(&Replay, Sample), UpdateError> {
        let replay = self.replay.as_ref().ok_or_else(|| UpdateError::Data("the replay memory is empty".into()))?;
        Ok((replay, replay.sample(self.config.batch_size, self.config.n_step, self.config.gamma, &mut rng.clone())))
    }

    /// Writes counters and transitions.
    pub fn save(&self, w: &mut StateWriter) {
        w.put_u64("counters", &[self.steps, self.updates]);
        w.put_f64("due", &[self.due]);
        if let Some(replay) = &self.replay {
            w.put_u64("rings", &replay.numbers());
            w.put_pieces("slots", replay.stamps(), &self.hashes, &mut |k, bytes| replay.write_piece(k, bytes));
        }
    }

    /// Reads counters and transitions.
    ///
    /// # Errors
    /// Entries that are missing or contradict each other.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        let mut counters = [0; 2];
        r.u64s_into("counters", &mut counters)?;
        let due = r.f64("due")?;
        let (mut replay, mut hashes) = (None, PieceHashes::default());
        if r.has("rings") {
            let (rings, pieces) = (r.u64s("rings")?, r.pieces("slots")?);
            let mut held =
                Replay::new(Arc::clone(&self.team), rings.len() / 4, self.config.buffer_size, columns(&self.team, self.reward));
            held.load(&rings, pieces.read()).map_err(|error| match error {
                LoadError::Piece(error) => error,
                LoadError::Unfit(found) => {
                    let expected = format!("a replay memory of algo.buffer_size = {} slots", self.config.buffer_size);
                    CheckpointError::Entry(Difference { name: "memory".into(), expected, found })
                }
            })?;
            hashes = pieces.known(held.stamps());
            replay = Some(held);
        }
        ([self.steps, self.updates], self.due, self.replay, self.hashes) = (counters, due, replay, hashes);
        Ok(())
    }
}

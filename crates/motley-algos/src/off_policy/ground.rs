//! What every learner from transitions has, whatever networks it teaches: the replay memory, the rows of its batches, how fast networks
//! learn and targets follow.

use std::sync::Arc;

use motley_core::{ConfigError, Settings, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_nn::optim::decayed;
use motley_nn::target::Pace;
use motley_nn::{Explore, Pool, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use super::batch::{Batch, Layout};
use super::config::OffPolicyConfig;
use super::memory::{Memory, ReplayConfig, columns};
use crate::algorithm::{RewardMode, UpdateContext};
use crate::reward_norm::RewardNorm;

/// Memory, layout and rates of one learner.
#[derive(Debug)]
pub struct Ground {
    /// The team.
    pub team: Arc<TeamSpec>,
    /// The replay memory and its schedule.
    pub memory: Memory,
    /// Where everything lies in its batches.
    pub layout: Layout,
    /// How fast networks learn.
    pub config: OffPolicyConfig,
    /// [`RewardMode::ends_at_death`].
    mortal: bool,
    rewards: RewardNorm,
    pace: Pace,
}

impl Ground {
    /// An empty memory of what pays `reward`.
    ///
    /// # Errors
    /// Settings that cannot be read.
    pub fn new(team: &Arc<TeamSpec>, settings: &Settings, reward: RewardMode, layout: Layout) -> Result<Self, ConfigError> {
        let config = OffPolicyConfig::read(settings)?;
        let mortal = reward.ends_at_death(team, config.mask_dead);
        Ok(Self {
            team: Arc::clone(team),
            memory: Memory::new(Arc::clone(team), ReplayConfig::read(settings)?, reward, mortal),
            layout,
            mortal,
            rewards: RewardNorm::new(&config.reward_norm, columns(team, reward)),
            pace: Pace::new(config.target_update),
            config,
        })
    }

    /// Takes a rollout into memory; the gradient updates to make now, each with its number since the run began.
    pub fn due(&mut self, roll: &Rollout) -> std::ops::Range<u64> {
        self.memory.remember(roll);
        self.memory.due()
    }

    /// A batch drawn from memory, its rewards scaled where the settings say so.
    ///
    /// # Errors
    /// Nothing was collected yet: a fault of the program.
    pub fn batch(&mut self, pool: &Pool, rng: &Stream) -> Result<Batch, UpdateError> {
        let (replay, sample) = self.memory.sample(rng)?;
        let mut batch = Batch::gather(pool, &self.layout, replay, sample);
        if self.rewards.is_on() {
            for k in 0..self.rewards.columns() {
                let counted: Vec<bool> = (0..batch.rows).map(|b| self.counts(&batch, k, b)).collect();
                batch.scale(k, &counted, &mut self.rewards);
            }
        }
        Ok(batch)
    }

    /// Whether row `b` teaches values of agent `k`: not after its death, where they end with it.
    pub fn counts(&self, batch: &Batch, k: usize, b: usize) -> bool {
        !self.mortal || batch.now.alive(k, b)
    }

    /// The discount of what follows row `b` for agent `k`; 0 where its values end.
    pub fn discount(&self, batch: &Batch, k: usize, b: usize) -> f32 {
        if self.mortal && !batch.next.alive(k, b) { 0.0 } else { batch.discount(b) }
    }

    /// How to act now: at random during warm-up, then as `explore` says.
    pub fn explore(&self, explore: Explore) -> Explore {
        if self.memory.warming_up() { Explore::Uniform } else { explore }
    }

    /// The actors' learning rate now.
    pub fn lr(&self, context: &UpdateContext<'_>) -> f64 {
        decayed(self.config.lr, self.config.lr_decay, context.progress)
    }

    /// The critics' learning rate now.
    pub fn critic_lr(&self, context: &UpdateContext<'_>) -> f64 {
        decayed(self.config.critic_lr, self.config.lr_decay, context.progress)
    }

    /// Counts a move of the targets and says how far it goes.
    pub fn next_stride(&mut self) -> f32 {
        self.pace.next_stride()
    }

    /// Writes memory, statistics and count.
    pub fn save(&self, w: &mut StateWriter) {
        self.memory.save(&mut w.scope("memory"));
        self.rewards.save(w);
        self.pace.save(w);
    }

    /// Reads memory, statistics and count.
    ///
    /// # Errors
    /// Entries that are missing or contradict each other.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.memory.load(&r.scope("memory"))?;
        self.rewards.load(r)?;
        self.pace.load(r)
    }
}

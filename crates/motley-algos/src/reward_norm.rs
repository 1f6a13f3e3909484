//! Rewards by their running statistics, `algo.reward_norm`: `standard` (mean 0, deviation 1; EPyMARL's `standardise_rewards`),
//! `scale` (root mean square 1), or not at all.

use motley_data::stats::{RunningMeanStd, Scaling};
use motley_run::{CheckpointError, StateReader, StateWriter};

/// Running statistics of rewards, one for each that a step keeps.
#[derive(Debug)]
pub struct RewardNorm {
    scaling: Option<Scaling>,
    norms: Vec<RunningMeanStd>,
}

impl RewardNorm {
    /// By the setting's word, of `columns` rewards a step.
    pub fn new(word: &str, columns: usize) -> Self {
        let scaling = match word {
            "standard" => Some(Scaling::Standardise),
            "scale" => Some(Scaling::ScaleOnly),
            _ => None,
        };
        Self { scaling, norms: vec![RunningMeanStd::default(); columns] }
    }

    /// Whether rewards are scaled at all.
    pub fn is_on(&self) -> bool {
        self.scaling.is_some()
    }

    /// Rewards that a step keeps.
    pub fn columns(&self) -> usize {
        self.norms.len()
    }

    /// Takes those of a batch's rewards in column `k` that `counted` names (both `[rows]`) into the statistics, and scales them by
    /// these.
    pub fn scale(&mut self, k: usize, rewards: &mut [f64], counted: &[bool]) {
        let Some(scaling) = self.scaling else { return };
        // A batch that is not finite leaves the statistics as they were; the gradient's gate sees to the rest.
        let _ = self.norms[k].update(rewards, Some(counted));
        for (reward, _) in rewards.iter_mut().zip(counted).filter(|(_, counted)| **counted) {
            *reward = self.norms[k].scale(*reward, scaling);
        }
    }

    /// Writes the statistics, where there are some.
    pub fn save(&self, w: &mut StateWriter) {
        if self.is_on() {
            w.put_f64("norms", &self.norms.iter().flat_map(RunningMeanStd::save).collect::<Vec<_>>());
        }
    }

    /// Reads the statistics, where there are some.
    ///
    /// # Errors
    /// Entries that are missing, or numbers that no statistics have.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        if self.is_on() {
            let mut saved = vec![0.0; 3 * self.norms.len()];
            r.f64s_into("norms", &mut saved)?;
            for (norm, saved) in self.norms.iter_mut().zip(saved.as_chunks::<3>().0) {
                *norm = RunningMeanStd::load(*saved).map_err(|e| r.wrong("norms", "running statistics", e))?;
            }
        }
        Ok(())
    }
}

//! Episodes side by side, gathered from replay for one gradient step.

use motley_core::Status;
use motley_data::episodes::EpisodeReplay;
use motley_data::returns::{Series, Truncation, n_step, td_lambda};
use motley_nn::{Pool, UpdateError};

use super::config::ValueConfig;

/// B episodes of up to T steps. A row is a step of an episode, `t * B + b`; what comes with the final frames too has `(T + 1) * B`
/// rows. Rows behind an episode's end are zeros and count for nothing.
#[derive(Debug)]
pub struct EpisodeBatch {
    /// Where the episodes lie in replay.
    pub slots: Vec<usize>,
    /// Steps of the longest episode, T.
    pub steps: usize,
    /// Agents, n.
    pub agents: usize,
    /// Whether a row is a step of its episode, `[T * B]`.
    pub counts: Vec<bool>,
    /// Who is alive (or followed though dead), `[(T + 1) * B, n]`; false behind an episode's end.
    pub alive: Vec<bool>,
    /// States, `[(T + 1) * B, state_len]`.
    pub state: Vec<f32>,
    /// Rewards by column (one for the team, or one an agent), `[T * B]` each.
    pub rewards: Vec<Vec<f64>>,
    lengths: Vec<usize>,
    terminated: Vec<bool>,
}

impl EpisodeBatch {
    /// Gathers the episodes in `slots`; `reward(rewards, column)` is what column `column` learns from.
    pub fn gather(
        pool: &Pool,
        replay: &EpisodeReplay,
        slots: Vec<usize>,
        (agents, state_len, columns): (usize, usize, usize),
        reward: &dyn Fn(&[f64], usize) -> f64,
    ) -> Self {
        let lengths: Vec<usize> = slots.iter().map(|s| replay.length(*s)).collect();
        let (steps, episodes) = (lengths.iter().copied().max().unwrap_or(0), slots.len());
        let (rows, frames) = (steps * episodes, (steps + 1) * episodes);
        let mut batch = Self {
            steps,
            agents,
            counts: vec![false; rows],
            alive: vec![false; frames * agents],
            state: vec![0.0; frames * state_len],
            rewards: vec![vec![0.0; rows]; columns],
            terminated: slots.iter().map(|s| replay.terminated(*s)).collect(),
            lengths,
            slots,
        };
        for (b, &slot) in batch.slots.iter().enumerate() {
            let length = batch.lengths[b];
            for t in 0..=length {
                let row = t * episodes + b;
                (0..agents).for_each(|i| batch.alive[row * agents + i] = replay.alive(slot, t, i));
                if t < length {
                    batch.counts[row] = true;
                    let paid = replay.rewards(slot, t);
                    batch.rewards.iter_mut().enumerate().for_each(|(c, column)| column[row] = reward(paid, c));
                }
            }
        }
        let Self { slots, lengths, state, .. } = &mut batch;
        let mut states: Vec<&mut [f32]> = state.chunks_mut((episodes * state_len).max(1)).collect();
        pool.run(&mut states, |t, states| {
            let rows = states.chunks_mut(state_len).zip(slots.iter().zip(&*lengths));
            rows.filter(|(_, (_, length))| t <= **length).for_each(|(to, (slot, _))| to.copy_from_slice(replay.state(*slot, t)));
        });
        batch
    }

    /// Episodes, B.
    pub fn episodes(&self) -> usize {
        self.slots.len()
    }

    /// Rows of steps, `T * B`.
    pub fn rows(&self) -> usize {
        self.steps * self.episodes()
    }

    /// Takes the dead for alive to their episode's end: their one choice is to do nothing, and its value is what the team earns
    /// after them.
    pub fn follow_the_dead(&mut self) {
        let (episodes, agents) = (self.episodes(), self.agents);
        for (row, alive) in self.alive.chunks_exact_mut(agents).enumerate() {
            alive.fill(row / episodes <= self.lengths[row % episodes]);
        }
    }

    /// Rows that are steps of their episodes.
    pub fn rows_that_count(&self) -> usize {
        self.counts.iter().filter(|c| **c).count()
    }

    /// Frame `t` of episode `b` as (slot, t), or `None` behind the episode's end.
    pub fn frame(&self, t: usize, b: usize) -> Option<(usize, usize)> {
        (t <= self.lengths[b]).then(|| (self.slots[b], t))
    }

    /// The same where a step was taken from that frame.
    pub fn step(&self, t: usize, b: usize) -> Option<(usize, usize)> {
        (t < self.lengths[b]).then(|| (self.slots[b], t))
    }

    /// Targets `[T * B]` of reward column `column` from the values of what followed each step, `next(row)`: Peng's Q(lambda) or the
    /// n-step return, truncated episodes bootstrapped, terminated ones not; those of an agent that `dies` end with it.
    ///
    /// # Errors
    /// Series of unequal length: a fault of the program.
    pub fn targets(
        &self,
        config: &ValueConfig,
        column: usize,
        dies: Option<usize>,
        next: &dyn Fn(usize) -> f32,
    ) -> Result<Vec<f32>, UpdateError> {
        let (episodes, n) = (self.episodes(), self.agents);
        let mut all = vec![0.0; self.rows()];
        for (b, &length) in self.lengths.iter().enumerate() {
            let row = |t: usize| t * episodes + b;
            let rewards: Vec<f64> = (0..length).map(|t| self.rewards[column][row(t)]).collect();
            let follows: Vec<f32> = (0..length).map(|t| next(row(t))).collect();
            let mut status = vec![Status::Running; length];
            if let Some(last) = status.last_mut() {
                *last = if self.terminated[b] { Status::Terminated } else { Status::Truncated };
            }
            if let Some(i) = dies {
                let alive = |t: usize| self.alive[row(t) * n + i];
                (0..length).filter(|t| alive(*t) && !alive(t + 1)).for_each(|t| status[t] = Status::Terminated);
            }
            // No target reads the value of the state itself.
            let series = Series::new(&rewards, &follows, &follows, &status, &vec![true; length])
                .map(|s| match config.returns.as_str() {
                    "n_step" => n_step(&s, config.gamma, config.n_step, Truncation::Bootstrap),
                    _ => td_lambda(&s, config.gamma, config.td_lambda),
                })
                .map_err(|e| UpdateError::Data(e.to_string()))?;
            series.into_iter().enumerate().for_each(|(t, y)| all[row(t)] = y as f32);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

    use motley_core::Settings;

    use super::*;

    /// An agent that is paid apart and dies at once has what it was paid then for target, whatever follows is worth.
    #[test]
    fn targets_of_the_mortal_end_with_them() {
        let steps = 4;
        let batch = EpisodeBatch {
            slots: vec![0],
            steps,
            agents: 2,
            counts: vec![true; steps],
            alive: (0..=steps).flat_map(|t| [t == 0, true]).collect(),
            state: Vec::new(),
            rewards: vec![vec![2.0, -0.5, -0.5, -0.5], vec![1.0; steps]],
            lengths: vec![steps],
            terminated: vec![true],
        };
        let config = ValueConfig { td_lambda: 0.8, ..ValueConfig::read(&Settings::new(ValueConfig::keys())).unwrap() };
        let next = |_: usize| 7.0;
        assert_eq!(batch.targets(&config, 0, Some(0), &next).unwrap()[0], 2.0);
        // The other lives: its targets are the episode's.
        assert_eq!(batch.targets(&config, 1, Some(1), &next).unwrap(), batch.targets(&config, 1, None, &next).unwrap());
        assert!(batch.targets(&config, 0, None, &next).unwrap()[0] > 2.0);
    }
}

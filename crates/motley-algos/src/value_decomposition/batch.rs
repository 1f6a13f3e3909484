//! Episodes side by side, gathered from replay for one gradient step.

use std::borrow::Cow;

use motley_core::Status;
use motley_data::episodes::EpisodeReplay;
use motley_data::returns::{Series, Truncation, n_step, td_lambda};
use motley_nn::{Pool, UpdateError};

use super::config::ValueConfig;

/// Frames that one thread gathers at a time.
pub const FRAMES: usize = 64;

/// B episodes, the longest first, without a row for what is behind an episode's end.
///
/// Frames are those of time 0 of all episodes, then those of time 1 of the episodes that last so long, and so on: F rows. A step is
/// numbered by the frame that it leads to: that is row `step + B`. There are S = F - B of them.
#[derive(Debug)]
pub struct EpisodeBatch {
    /// Where the episodes lie in replay.
    pub slots: Vec<usize>,
    /// Agents, n.
    pub agents: usize,
    /// Who is alive (or followed though dead), `[F, n]`.
    pub alive: Vec<bool>,
    /// States, `[F, state_len]`.
    pub state: Vec<f32>,
    /// Rewards by column (one for the team, or one an agent), `[S]` each.
    pub rewards: Vec<Vec<f64>>,
    /// Episodes that have a frame of time t.
    pub going: Vec<usize>,
    /// The first frame of every time.
    starts: Vec<usize>,
    /// Time and episode of every frame.
    places: Vec<(usize, usize)>,
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
        let mut batch = Self::lay_out(slots, agents, &|slot| replay.length(slot));
        batch.terminated = batch.slots.iter().map(|s| replay.terminated(*s)).collect();
        let frames = batch.frames();
        batch.alive.reserve(frames * agents);
        for f in 0..frames {
            let (slot, t) = batch.frame(f);
            batch.alive.extend((0..agents).map(|i| replay.alive(slot, t, i)));
        }
        let pay =
            |c: usize| (0..batch.steps()).map(|s| batch.step(s)).map(|(slot, t)| reward(replay.rewards(slot, t), c)).collect();
        batch.rewards = (0..columns).map(pay).collect();
        let mut state = vec![0.0; frames * state_len];
        let mut blocks: Vec<&mut [f32]> = state.chunks_mut((FRAMES * state_len).max(1)).collect();
        pool.run(&mut blocks, |k, block| {
            for (f, to) in block.chunks_mut(state_len.max(1)).enumerate() {
                let (slot, t) = batch.frame(k * FRAMES + f);
                to.copy_from_slice(replay.state(slot, t));
            }
        });
        batch.state = state;
        batch
    }

    /// The rows of the episodes in `slots`, of `length` steps each; nothing else yet.
    fn lay_out(mut slots: Vec<usize>, agents: usize, length: &dyn Fn(usize) -> usize) -> Self {
        slots.sort_by_key(|slot| std::cmp::Reverse(length(*slot)));
        let lengths: Vec<usize> = slots.iter().map(|slot| length(*slot)).collect();
        let longest = lengths.first().map_or(0, |l| l + 1);
        let going: Vec<usize> = (0..longest).map(|t| lengths.partition_point(|l| *l >= t)).collect();
        let (mut starts, mut places) = (Vec::with_capacity(longest), Vec::new());
        for (t, count) in going.iter().enumerate() {
            starts.push(places.len());
            places.extend((0..*count).map(|b| (t, b)));
        }
        Self {
            slots,
            agents,
            going,
            starts,
            places,
            alive: Vec::new(),
            state: Vec::new(),
            rewards: Vec::new(),
            terminated: Vec::new(),
        }
    }

    /// Episodes, B.
    pub fn episodes(&self) -> usize {
        self.slots.len()
    }

    /// Frames, F.
    pub fn frames(&self) -> usize {
        self.places.len()
    }

    /// Steps, S.
    pub fn steps(&self) -> usize {
        self.frames() - self.episodes()
    }

    /// Where frame `f` lies in replay: slot and time.
    pub fn frame(&self, f: usize) -> (usize, usize) {
        let (t, b) = self.places[f];
        (self.slots[b], t)
    }

    /// Where step `s` lies in replay: slot and time.
    pub fn step(&self, s: usize) -> (usize, usize) {
        let (t, b) = self.places[s + self.episodes()];
        (self.slots[b], t - 1)
    }

    /// The frame that step `s` was taken from.
    pub fn before(&self, s: usize) -> usize {
        let (t, b) = self.places[s + self.episodes()];
        self.starts[t - 1] + b
    }

    /// Whether agent `i` was alive (or is followed) before step `s`.
    pub fn alive_before(&self, s: usize, i: usize) -> bool {
        self.alive[self.before(s) * self.agents + i]
    }

    /// Whether a step was taken from frame `f`.
    pub fn goes_on(&self, f: usize) -> bool {
        let (t, b) = self.places[f];
        self.going.get(t + 1).is_some_and(|going| b < *going)
    }

    /// Of what all frames have (`[F, width]`), that of those before each step, `[S, width]`.
    pub fn before_steps<'a, T: Copy>(&self, all: &'a [T], width: usize) -> Cow<'a, [T]> {
        if self.going.last() == self.going.first() {
            return Cow::Borrowed(&all[..self.steps() * width]);
        }
        Cow::Owned((0..self.steps()).map(|s| self.before(s) * width).flat_map(|at| all[at..at + width].iter().copied()).collect())
    }

    /// The other way: what belongs to the frames before the steps (`[S, width]`) among all frames, 0 elsewhere.
    pub fn to_frames(&self, of_steps: &[f32], width: usize) -> Vec<f32> {
        let mut all = vec![0.0; self.frames() * width];
        for (s, from) in of_steps.chunks_exact(width.max(1)).enumerate() {
            all[self.before(s) * width..][..width].copy_from_slice(from);
        }
        all
    }

    /// Takes the dead for alive to their episode's end: their one choice is to do nothing, and its value is what the team earns
    /// after them.
    pub fn follow_the_dead(&mut self) {
        self.alive.fill(true);
    }

    /// The number of the step that leads episode `b` to its frame of time `t`.
    fn step_to(&self, t: usize, b: usize) -> usize {
        self.starts[t] + b - self.episodes()
    }

    /// Targets `[S]` of reward column `column` from the values of what followed each step, `next(step)`: Peng's Q(lambda) or the
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
        let n = self.agents;
        let mut all = vec![0.0; self.steps()];
        for b in 0..self.episodes() {
            let steps: Vec<usize> =
                (1..self.going.len()).take_while(|t| b < self.going[*t]).map(|t| self.step_to(t, b)).collect();
            let length = steps.len();
            let rewards: Vec<f64> = steps.iter().map(|s| self.rewards[column][*s]).collect();
            let follows: Vec<f32> = steps.iter().map(|s| next(*s)).collect();
            let mut status = vec![Status::Running; length];
            if let Some(last) = status.last_mut() {
                *last = if self.terminated[b] { Status::Terminated } else { Status::Truncated };
            }
            if let Some(i) = dies {
                let alive = |t: usize| self.alive[(self.starts[t] + b) * n + i];
                (0..length).filter(|t| alive(*t) && !alive(t + 1)).for_each(|t| status[t] = Status::Terminated);
            }
            // No target reads the value of the state itself.
            let series = Series::new(&rewards, &follows, &follows, &status, &vec![true; length])
                .map(|s| match config.returns.as_str() {
                    "n_step" => n_step(&s, config.gamma, config.n_step, Truncation::Bootstrap),
                    _ => td_lambda(&s, config.gamma, config.td_lambda),
                })
                .map_err(|e| UpdateError::Data(e.to_string()))?;
            series.into_iter().zip(&steps).for_each(|(y, s)| all[*s] = y as f32);
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
            alive: (0..=steps).flat_map(|t| [t == 0, true]).collect(),
            rewards: vec![vec![2.0, -0.5, -0.5, -0.5], vec![1.0; steps]],
            terminated: vec![true],
            ..EpisodeBatch::lay_out(vec![0], 2, &|_| steps)
        };
        let config = ValueConfig { td_lambda: 0.8, ..ValueConfig::read(&Settings::new(ValueConfig::keys())).unwrap() };
        let next = |_: usize| 7.0;
        assert_eq!(batch.targets(&config, 0, Some(0), &next).unwrap()[0], 2.0);
        // The other lives: its targets are the episode's.
        assert_eq!(batch.targets(&config, 1, Some(1), &next).unwrap(), batch.targets(&config, 1, None, &next).unwrap());
        assert!(batch.targets(&config, 0, None, &next).unwrap()[0] > 2.0);
    }

    /// Rows of episodes of unlike lengths against a walk through each of them.
    #[test]
    fn rows_are_the_frames_and_steps_that_are_there() {
        let lengths = [3, 1, 5, 5, 2, 3];
        let batch = EpisodeBatch::lay_out((0..6).collect(), 1, &|slot| lengths[slot]);
        assert_eq!((batch.frames(), batch.steps(), batch.slots[0]), (6 + 19, 19, 2));
        let (mut frames, mut steps) = (vec![0; 6], vec![0; 6]);
        for f in 0..batch.frames() {
            let (slot, t) = batch.frame(f);
            assert_eq!(t, frames[slot], "an episode's frames come in order");
            frames[slot] += 1;
            assert_eq!(batch.goes_on(f), t < lengths[slot]);
        }
        for s in 0..batch.steps() {
            let (slot, t) = batch.step(s);
            assert_eq!(t, steps[slot]);
            steps[slot] += 1;
            assert_eq!((batch.frame(batch.before(s)), batch.frame(s + batch.episodes())), ((slot, t), (slot, t + 1)));
        }
        assert_eq!((frames, steps), (lengths.iter().map(|l| l + 1).collect(), lengths.to_vec()));
        let all: Vec<f32> = (0..2 * batch.frames()).map(|k| k as f32).collect();
        let there = batch.before_steps(&all, 2);
        let back = batch.to_frames(&there, 2);
        for f in 0..batch.frames() {
            let expected = if batch.goes_on(f) { &all[2 * f..2 * f + 2] } else { &[0.0; 2] };
            assert_eq!(&back[2 * f..2 * f + 2], expected);
        }
        let even = EpisodeBatch::lay_out(vec![4, 0], 1, &|_| 3);
        assert_eq!(even.before_steps(&all[..8], 1), &all[..6], "nothing is copied where all are as long");
        // Targets that end at once, and that go on to the last step: each episode by itself.
        let config =
            ValueConfig { td_lambda: 1.0, gamma: 1.0, ..ValueConfig::read(&Settings::new(ValueConfig::keys())).unwrap() };
        let paid = EpisodeBatch { rewards: vec![vec![1.0; 19]], terminated: vec![true; 6], ..batch };
        let y = paid.targets(&config, 0, None, &|_| 7.0).unwrap();
        for (s, y) in y.iter().enumerate() {
            let (slot, t) = paid.step(s);
            assert_eq!(*y, (lengths[slot] - t) as f32, "the steps that are left");
        }
    }
}

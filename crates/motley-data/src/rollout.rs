//! What was collected: one [`Lane`] of flat memory per environment copy, written in place and reused.
//!
//! Memory is environment-major (`[envs][time, width]`), so that threads own whole lanes without sharing a cache line or
//! needing `unsafe`, and a lane's slot has exactly the layout of [`motley_core::Frame`]. A row of the rollout is a pair
//! (environment, time), numbered `env * steps + time`.

use std::sync::Arc;

use motley_core::{Frame, FrameBuf, Status, TeamSpec};

/// The true end of an episode, kept because the slot it was written to now holds the next episode's start.
#[derive(Debug, Clone, PartialEq)]
pub struct Final {
    /// The step that ended the episode.
    pub time: usize,
    /// Observations after that step, `[obs_len]`.
    pub obs: Vec<f32>,
    /// State after that step, `[state_len]`.
    pub state: Vec<f32>,
    /// What would be available next, `[mask_len]`.
    pub avail: Vec<bool>,
    /// Who is alive after that step, `[agents]`.
    pub alive: Vec<bool>,
}

/// An episode that ended during collection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpisodeEnd {
    /// The step that ended it.
    pub time: usize,
    /// Undiscounted return of the team.
    pub team_return: f64,
    /// Mean over agents of their own undiscounted returns.
    pub agent_return: f64,
    /// Steps taken.
    pub length: usize,
    /// Whether it was won, where the task defines winning.
    pub won: Option<bool>,
}

/// One environment's part of a rollout of `T` steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// `[T + 1, obs_len]`
    pub obs: Vec<f32>,
    /// `[T + 1, state_len]`
    pub state: Vec<f32>,
    /// `[T + 1, mask_len]`
    pub avail: Vec<bool>,
    /// Who is alive before step t, `[T + 1, agents]`.
    pub alive: Vec<bool>,
    /// Whether slot t starts an episode, `[T + 1]`: recurrent memory is zero there.
    pub first: Vec<bool>,
    /// Recurrent memory of the acting networks before step t, `[T + 1, memory_len]`.
    pub memory: Vec<f32>,
    /// Raw actions as the distribution drew them (before squashing or clipping), `[T, action_len]`.
    pub actions: Vec<f32>,
    /// Joint log-probability of each agent's action, `[T, agents]`.
    pub log_probs: Vec<f32>,
    /// `[T, agents]`
    pub rewards: Vec<f64>,
    /// `[T]`
    pub status: Vec<Status>,
    /// False where the environment failed: a hole with weight 0, `[T]`.
    pub valid: Vec<bool>,
    /// Ends of episodes in order of time.
    pub finals: Vec<Final>,
    /// Statistics of the episodes that ended here.
    pub episodes: Vec<EpisodeEnd>,
    spare: Vec<Final>,
}

/// `envs` lanes of `steps` steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    team: Arc<TeamSpec>,
    steps: usize,
    memory_len: usize,
    /// One lane per environment.
    pub lanes: Vec<Lane>,
}

impl Rollout {
    /// Memory for `envs` environments and `steps` steps, `memory_len` recurrent numbers per environment.
    pub fn new(team: Arc<TeamSpec>, envs: usize, steps: usize, memory_len: usize) -> Self {
        let slots = steps + 1;
        let n = team.n();
        let lane = Lane {
            obs: vec![0.0; slots * team.obs_len()],
            state: vec![0.0; slots * team.state_len()],
            avail: vec![true; slots * team.mask_len()],
            alive: vec![true; slots * n],
            first: vec![true; slots],
            memory: vec![0.0; slots * memory_len],
            actions: vec![0.0; steps * team.action_len()],
            log_probs: vec![0.0; steps * n],
            rewards: vec![0.0; steps * n],
            status: vec![Status::Running; steps],
            valid: vec![true; steps],
            finals: Vec::new(),
            episodes: Vec::new(),
            spare: Vec::new(),
        };
        Self { team, steps, memory_len, lanes: vec![lane; envs] }
    }

    /// Bytes that [`Rollout::new`] takes, or `None` where they cannot even be counted.
    pub fn bytes(team: &TeamSpec, envs: usize, steps: usize, memory_len: usize) -> Option<usize> {
        let slot = 4 * (team.obs_len() + team.state_len() + memory_len) + team.mask_len() + team.n() + 1;
        let step = 4 * (team.action_len() + team.n()) + 8 * team.n() + 2;
        slot.checked_add(step)?.checked_mul(steps.checked_add(1)?)?.checked_mul(envs)
    }

    /// The team.
    pub fn team(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    /// Steps per environment, T.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Environments, E.
    pub fn envs(&self) -> usize {
        self.lanes.len()
    }

    /// Rows, `E * T`.
    pub fn rows(&self) -> usize {
        self.envs() * self.steps
    }

    /// Recurrent numbers per environment.
    pub fn memory_len(&self) -> usize {
        self.memory_len
    }

    /// The environment and time of a row.
    pub fn at(&self, row: usize) -> (usize, usize) {
        (row / self.steps, row % self.steps)
    }

    /// Agent `i`'s observation in slot `t` (up to T) of environment `e`.
    pub fn obs(&self, e: usize, t: usize, i: usize) -> &[f32] {
        let range = self.team.obs_range(i);
        let base = t * self.team.obs_len();
        &self.lanes[e].obs[base + range.start..base + range.end]
    }

    /// All observations in slot `t` (up to T) of environment `e`, `[obs_len]`.
    pub fn all_obs(&self, e: usize, t: usize) -> &[f32] {
        let len = self.team.obs_len();
        &self.lanes[e].obs[t * len..(t + 1) * len]
    }

    /// The critic's row `k` (agent `k` for FP, 0 for EP) of the state in slot `t` of environment `e`.
    pub fn state(&self, e: usize, t: usize, k: usize) -> &[f32] {
        let row = self.team.state.row();
        let base = t * self.team.state_len() + k * row;
        &self.lanes[e].state[base..base + row]
    }

    /// Agent `i`'s availability mask in slot `t` of environment `e`.
    pub fn avail(&self, e: usize, t: usize, i: usize) -> &[bool] {
        let range = self.team.mask_range(i);
        let base = t * self.team.mask_len();
        &self.lanes[e].avail[base + range.start..base + range.end]
    }

    /// Agent `i`'s raw action at step `t` of environment `e`.
    pub fn action(&self, e: usize, t: usize, i: usize) -> &[f32] {
        let range = self.team.action_range(i);
        let base = t * self.team.action_len();
        &self.lanes[e].actions[base + range.start..base + range.end]
    }

    /// Log-probability of agent `i`'s action at step `t` of environment `e` when it was drawn.
    pub fn log_prob(&self, e: usize, t: usize, i: usize) -> f32 {
        self.lanes[e].log_probs[t * self.team.n() + i]
    }

    /// Whether agent `i`'s step `t` in environment `e` counts: alive before it, and no hole.
    pub fn active(&self, e: usize, t: usize, i: usize) -> bool {
        self.lanes[e].valid[t] && self.lanes[e].alive[t * self.team.n() + i]
    }

    /// Agent `i`'s [`Rollout::active`] for every row, `[E * T]`.
    pub fn active_rows(&self, i: usize) -> Vec<bool> {
        (0..self.rows()).map(|row| self.at(row)).map(|(e, t)| self.active(e, t, i)).collect()
    }

    /// Which rows are no holes, `[E * T]`.
    pub fn valid_rows(&self) -> Vec<bool> {
        self.lanes.iter().flat_map(|lane| &lane.valid).copied().collect()
    }

    /// Starts the next rollout where this one ended: slot T becomes slot 0.
    pub fn carry(&mut self) {
        let (steps, team) = (self.steps, Arc::clone(&self.team));
        for lane in &mut self.lanes {
            fn last<T: Copy>(xs: &mut [T], steps: usize, width: usize) {
                xs.copy_within(steps * width..(steps + 1) * width, 0);
            }
            last(&mut lane.obs, steps, team.obs_len());
            last(&mut lane.state, steps, team.state_len());
            last(&mut lane.avail, steps, team.mask_len());
            last(&mut lane.alive, steps, team.n());
            last(&mut lane.first, steps, 1);
            last(&mut lane.memory, steps, self.memory_len);
            lane.clear();
        }
    }
}

impl Lane {
    /// Forgets the ended episodes, keeping their memory for reuse.
    pub fn clear(&mut self) {
        self.spare.append(&mut self.finals);
        self.episodes.clear();
    }

    /// How each step ended for agent `i` of one paid by itself, `[T]`: its death ends its episode, also in the step in which a
    /// time limit cuts that of the others.
    pub fn status_of(&self, i: usize) -> Vec<Status> {
        let n = self.alive.len() / (self.status.len() + 1);
        let alive = |t: usize| self.alive[t * n + i];
        // Finals lie in the order of time.
        let survives = |t: usize| self.finals.binary_search_by_key(&t, |f| f.time).map_or(true, |k| self.finals[k].alive[i]);
        let own = |(t, status): (usize, &Status)| match status {
            Status::Running if alive(t) && !alive(t + 1) => Status::Terminated,
            Status::Truncated if alive(t) && !survives(t) => Status::Terminated,
            status => *status,
        };
        self.status.iter().enumerate().map(own).collect()
    }

    /// Writes slot `t` from a frame.
    pub fn put(&mut self, t: usize, frame: &Frame<'_>) {
        fn copy<T: Copy>(into: &mut [T], t: usize, from: &[T]) {
            into[t * from.len()..(t + 1) * from.len()].copy_from_slice(from);
        }
        copy(&mut self.obs, t, frame.obs);
        copy(&mut self.state, t, frame.state);
        copy(&mut self.avail, t, frame.avail);
        copy(&mut self.alive, t, frame.alive);
    }

    /// Reads slot `t` back into a frame (rewards are left at 0).
    pub fn get(&self, t: usize, into: &mut FrameBuf) {
        fn copy<T: Copy>(from: &[T], t: usize, into: &mut [T]) {
            let n = into.len();
            into.copy_from_slice(&from[t * n..(t + 1) * n]);
        }
        copy(&self.obs, t, &mut into.obs);
        copy(&self.state, t, &mut into.state);
        copy(&self.avail, t, &mut into.avail);
        copy(&self.alive, t, &mut into.alive);
        into.rewards.fill(0.0);
    }

    /// Keeps the true end of an episode.
    pub fn put_final(&mut self, time: usize, frame: &Frame<'_>) {
        let mut end = self.spare.pop().unwrap_or_else(|| Final {
            time,
            obs: Vec::new(),
            state: Vec::new(),
            avail: Vec::new(),
            alive: Vec::new(),
        });
        fn refill<T: Copy>(into: &mut Vec<T>, from: &[T]) {
            into.clear();
            into.extend_from_slice(from);
        }
        end.time = time;
        refill(&mut end.obs, frame.obs);
        refill(&mut end.state, frame.state);
        refill(&mut end.avail, frame.avail);
        refill(&mut end.alive, frame.alive);
        self.finals.push(end);
    }
}

#[cfg(test)]
mod tests {
    use motley_core::{ActionSpace, AgentSpec, ObsSpace};

    use super::*;

    fn team() -> Arc<TeamSpec> {
        let agent = |name: &str, obs, action| AgentSpec::new(name, name, ObsSpace::vector(obs), action);
        Arc::new(TeamSpec::new(
            "test/two",
            vec![agent("a", 2, ActionSpace::Discrete(3)), agent("b", 3, ActionSpace::uniform_box(2, -1.0, 1.0))],
        ))
    }

    #[test]
    fn slots_hold_frames_and_rows_find_them() {
        let team = team();
        let mut roll = Rollout::new(Arc::clone(&team), 2, 4, 0);
        let mut buf = FrameBuf::new(&team);
        for (e, t) in [(0, 0), (1, 3), (1, 4)] {
            let frame = buf.frame();
            frame.obs.iter_mut().enumerate().for_each(|(k, x)| *x = (100 * e + 10 * t + k) as f32);
            frame.avail[1] = false;
            roll.lanes[e].put(t, &frame);
        }
        assert_eq!(roll.obs(1, 3, 1), [132.0, 133.0, 134.0]);
        assert_eq!(roll.avail(1, 3, 0), [true, false, true]);
        assert_eq!(roll.avail(1, 3, 1), [] as [bool; 0]);
        assert_eq!(roll.at(7), (1, 3));
        roll.carry();
        assert_eq!(roll.obs(1, 0, 0), [140.0, 141.0]);
        roll.lanes[1].get(0, &mut buf);
        assert_eq!(buf.obs[4], 144.0);
    }

    #[test]
    fn holes_and_the_dead_do_not_count() {
        let mut roll = Rollout::new(team(), 1, 3, 0);
        roll.lanes[0].valid[1] = false;
        roll.lanes[0].alive[2 * 2] = false;
        assert_eq!(roll.active_rows(0), [true, false, false]);
        assert_eq!(roll.active_rows(1), [true, false, true]);
    }

    #[test]
    fn who_dies_as_a_limit_cuts_the_others_is_not_cut() {
        let team = team();
        let mut roll = Rollout::new(Arc::clone(&team), 1, 3, 0);
        let lane = &mut roll.lanes[0];
        lane.status = vec![Status::Running, Status::Truncated, Status::Truncated];
        let mut end = FrameBuf::new(&team);
        end.alive[0] = false;
        lane.put_final(
            1,
            &Frame {
                obs: &mut end.obs,
                state: &mut end.state,
                avail: &mut end.avail,
                rewards: &mut end.rewards,
                alive: &mut end.alive,
            },
        );
        lane.put_final(2, &FrameBuf::new(&team).frame());
        assert_eq!(lane.status_of(0), [Status::Running, Status::Terminated, Status::Truncated]);
        assert_eq!(lane.status_of(1), [Status::Running, Status::Truncated, Status::Truncated]);
    }

    #[test]
    fn finals_reuse_their_memory() {
        let team = team();
        let mut roll = Rollout::new(Arc::clone(&team), 1, 3, 0);
        let mut buf = FrameBuf::new(&team);
        roll.lanes[0].put_final(2, &buf.frame());
        let memory = roll.lanes[0].finals[0].obs.as_ptr();
        roll.lanes[0].clear();
        buf.obs.fill(5.0);
        roll.lanes[0].put_final(1, &buf.frame());
        assert_eq!(roll.lanes[0].finals[0].obs.as_ptr(), memory);
        assert_eq!(
            roll.lanes[0].finals[0],
            Final { time: 1, obs: vec![5.0; 5], state: vec![0.0; 5], avail: vec![true; 3], alive: vec![true; 2] }
        );
    }
}

//! The contract of an environment: plain slices in, plain slices out, errors as values.

use std::sync::Arc;

use crate::{ConfigError, EnvError, Photo, Scene, Stream, TeamSpec};

/// How a step left the episode. Termination and truncation can never both hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Status {
    /// The episode goes on.
    Running,
    /// The task itself ended the episode: nothing follows, so nothing is bootstrapped.
    Terminated,
    /// A limit cut the episode: the value of the final state is bootstrapped.
    Truncated,
}

impl Status {
    /// Whether the episode is over.
    pub fn done(self) -> bool {
        self != Self::Running
    }
}

/// What one environment writes each reset and step: slices that the caller owns, one environment's worth.
///
/// Before each call the caller sets `avail` and `alive` to true and `rewards` to 0, so an environment without masks,
/// deaths or a reward this step leaves them; observations and state must be written in full every time, dead agents'
/// included.
#[derive(Debug)]
pub struct Frame<'a> {
    /// All observations, agent after agent (`TeamSpec::obs_range`).
    pub obs: &'a mut [f32],
    /// The state: `[row]` (EP) or `[agents, row]` (FP).
    pub state: &'a mut [f32],
    /// Which discrete actions are available next (`TeamSpec::mask_range`). A dead agent has its no-op alone.
    pub avail: &'a mut [bool],
    /// Reward of this step, `[agents]`.
    pub rewards: &'a mut [f64],
    /// Who is alive after this step, `[agents]`.
    pub alive: &'a mut [bool],
}

impl Frame<'_> {
    /// The values that the contract promises an environment to find.
    pub fn prepare(&mut self) {
        self.avail.fill(true);
        self.alive.fill(true);
        self.rewards.fill(0.0);
    }
}

/// An owned [`Frame`].
#[derive(Debug, Clone, PartialEq)]
pub struct FrameBuf {
    /// All observations.
    pub obs: Vec<f32>,
    /// The state.
    pub state: Vec<f32>,
    /// Availability masks.
    pub avail: Vec<bool>,
    /// Rewards of the step.
    pub rewards: Vec<f64>,
    /// Who is alive.
    pub alive: Vec<bool>,
}

impl FrameBuf {
    /// Zeroed memory of the sizes that `team` needs.
    pub fn new(team: &TeamSpec) -> Self {
        Self {
            obs: vec![0.0; team.obs_len()],
            state: vec![0.0; team.state_len()],
            avail: vec![true; team.mask_len()],
            rewards: vec![0.0; team.n()],
            alive: vec![true; team.n()],
        }
    }

    /// A prepared frame over this memory.
    pub fn frame(&mut self) -> Frame<'_> {
        let mut frame = Frame {
            obs: &mut self.obs,
            state: &mut self.state,
            avail: &mut self.avail,
            rewards: &mut self.rewards,
            alive: &mut self.alive,
        };
        frame.prepare();
        frame
    }
}

/// The joint action of one environment.
#[derive(Debug, Clone, Copy)]
pub struct Actions<'a> {
    team: &'a TeamSpec,
    flat: &'a [f32],
}

impl<'a> Actions<'a> {
    /// Over a flat array of [`TeamSpec::action_len`] entries.
    pub fn new(team: &'a TeamSpec, flat: &'a [f32]) -> Self {
        Self { team, flat }
    }

    /// Agent `i`'s action in the environment's units.
    pub fn of(&self, i: usize) -> &'a [f32] {
        &self.flat[self.team.action_range(i)]
    }

    /// Agent `i`'s single discrete choice.
    pub fn choice(&self, i: usize) -> usize {
        self.of(i)[0] as usize
    }

    /// The whole array, of which nothing is missing.
    ///
    /// # Errors
    /// [`EnvError::Contract`] where the caller gave another number of entries.
    pub fn checked(&self) -> Result<&'a [f32], EnvError> {
        let (expected, found) = (self.team.action_len(), self.flat.len());
        if found == expected {
            return Ok(self.flat);
        }
        let (expected, found) = (format!("{expected} entries"), found.to_string());
        Err(EnvError::Contract { where_: "joint action".into(), expected, found })
    }

    /// The whole array.
    pub fn flat(&self) -> &'a [f32] {
        self.flat
    }
}

/// One copy of an environment. It never resets itself, so what a final step wrote is the true final observation.
///
/// Randomness comes from the [`Stream`] given at reset and from nowhere else; an environment keeps it for the episode.
pub trait Env: Send {
    /// The team; constant over the life of the environment.
    fn spec(&self) -> &Arc<TeamSpec>;

    /// Starts an episode.
    ///
    /// # Errors
    /// What the environment cannot do; the caller retries with a fresh stream.
    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError>;

    /// Advances one step.
    ///
    /// # Errors
    /// [`EnvError::NotRunning`] before a reset or after the end, [`EnvError::Action`] for an action outside its space or mask.
    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError>;

    /// Everything needed to go on from here, or `None` where a copy is restored by replaying its actions.
    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }

    /// Goes back to a snapshot of an environment with the same settings.
    ///
    /// # Errors
    /// Bytes that are not such a snapshot; the environment is then as if it had never been reset.
    fn restore(&mut self, _snapshot: &[u8]) -> Result<(), EnvError> {
        Err(EnvError::Failed("this environment keeps no snapshots".into()))
    }

    /// Whether the finished episode was won, where the task defines winning.
    fn won(&self) -> Option<bool> {
        None
    }

    /// [`Env::won`] of an episode that ends here, also where the caller's step limit cuts it: then it was not won.
    fn won_at_end(&self) -> Option<bool> {
        self.spec().winning.then(|| self.won().unwrap_or(false))
    }

    /// Whether a copy is a large program of its own (a game). An evaluation then has one for each thread, which plays episode after
    /// episode, instead of many side by side.
    fn heavy(&self) -> bool {
        false
    }

    /// What a person would see now, where the task can be drawn.
    fn scene(&self) -> Option<Scene> {
        None
    }

    /// What a renderer of the environment's own shows now, at most `width` pixels wide, where it has one. Where there is a
    /// [`Env::scene`] too, snapshots are kept, so that any moment of an episode can be looked at later; an environment without one is
    /// looked at as it goes, and asked once before a reset, so that it can get ready. What follows in the episode does not change.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] where this machine has nothing to draw with, other variants where it may not or cannot be drawn
    /// at this size.
    fn photo(&mut self, _width: u32) -> Option<Result<Photo, ConfigError>> {
        None
    }
}

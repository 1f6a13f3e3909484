//! What a scenario says, and the small vocabulary that scenarios share.

use motley_core::{Color, ConfigError, Key, Kind, Settings, Stream, TaskOptions};

use super::shape::Vec2;
use super::world::World;

/// Red, green, blue and grey: agents and what belongs to them.
pub const PALETTE: [Color; 6] = [
    Color(0.25, 0.75, 0.25, 1.0),
    Color(0.25, 0.25, 0.75, 1.0),
    Color(0.75, 0.25, 0.25, 1.0),
    Color(0.45, 0.45, 0.45, 1.0),
    Color(0.80, 0.60, 0.15, 1.0),
    Color(0.55, 0.25, 0.65, 1.0),
];
/// Walls, ropes and rods.
pub const INK: Color = Color(0.15, 0.15, 0.15, 1.0);
/// Places to reach.
pub const GOAL: Color = Color(0.45, 0.85, 0.45, 1.0);
/// Things to carry.
pub const LOAD: Color = Color(0.75, 0.35, 0.25, 1.0);

/// Robots whose surfaces are this near touch, as far as some rewards are concerned.
pub const TOUCH: f32 = 0.005;

/// The palette's colour number `i`, counted round.
pub fn paint(i: usize) -> Color {
    PALETTE[i % PALETTE.len()]
}

/// One scenario: its world, its start, what agents see and what they are paid.
///
/// All of a scenario's changing data lives in the [`World`], so that a snapshot of the world is a snapshot of everything.
pub trait Scenario: Send + Sync + Sized + 'static {
    /// The task's name without the suite.
    const NAME: &'static str;
    /// One line on what the task is.
    const SUMMARY: &'static str;
    /// Default of `task.max_steps`.
    const MAX_STEPS: i64 = 100;
    /// Version of the task's rules: one more whenever what it does by default has changed.
    const VERSION: u32 = 1;

    /// Its own settings, besides the suite's.
    fn keys() -> Vec<Key>;

    /// Reads its own settings.
    ///
    /// # Errors
    /// A setting that is missing, or settings that do not go together.
    fn read(options: &TaskOptions) -> Result<Self, ConfigError>;

    /// The bodies, at rest.
    fn world(&self) -> World;

    /// What agent `i` is: agents of one kind are alike in body and task.
    fn kind(&self, _i: usize) -> String {
        "agent".into()
    }

    /// Where an observation holds the agent's own position and velocity (first entries).
    fn body_in_obs(&self) -> (Option<usize>, Option<usize>) {
        (Some(0), Some(2))
    }

    /// Bound of each component of an action.
    fn action_range(&self) -> f32 {
        1.0
    }

    /// Draws a start into a still world.
    fn place(&self, world: &mut World, rng: &mut Stream);

    /// Sets the scenario's memory for the bodies' places as they now are. Called after [`Scenario::place`].
    fn remember(&self, _world: &mut World) {}

    /// Turns agent `i`'s action into its engine's force.
    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = action;
    }

    /// What happens between actions and physics (scripted bodies).
    fn before_physics(&self, _world: &mut World) {}

    /// What happens between physics and rewards.
    fn after_physics(&self, _world: &mut World) {}

    /// Agent `i`'s reward for the world as it now is. Called once a step for each agent in their order, before all observations:
    /// what the team shares is computed with the first, and what changes after rewards changes with the last.
    fn reward(&self, world: &mut World, rng: &mut Stream, i: usize) -> f32;

    /// Agent `i`'s observation.
    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>);

    /// Each number that is observed is off by up to this much.
    fn obs_noise(&self) -> f64 {
        0.0
    }

    /// Whether the task has an end that is a success.
    fn winning(&self) -> bool {
        false
    }

    /// Whether the task has ended, and then whether it was solved.
    fn ended(&self, _world: &World) -> Option<bool> {
        None
    }
}

/// Where an observation goes, number after number. Over an empty slice it only counts.
#[derive(Debug)]
pub struct Row<'a> {
    out: &'a mut [f32],
    /// How many numbers came so far.
    pub len: usize,
}

impl<'a> Row<'a> {
    /// From the start of `out`.
    pub fn new(out: &'a mut [f32]) -> Self {
        Self { out, len: 0 }
    }

    /// Appends one number.
    #[inline]
    pub fn put(&mut self, x: f32) {
        if let Some(slot) = self.out.get_mut(self.len) {
            *slot = x;
        }
        self.len += 1;
    }

    /// Appends both coordinates.
    #[inline]
    pub fn pair(&mut self, v: Vec2) {
        self.put(v[0]);
        self.put(v[1]);
    }
}

/// Keys declared with `settings!` in section "", moved under `task.`.
pub fn task_keys(keys: Vec<Key>) -> Vec<Key> {
    let moved = keys.into_iter().map(|mut key| {
        key.name = format!("task.{}", key.name);
        key
    });
    moved.collect()
}

/// The suite's own settings, with a scenario's default of `max_steps`.
pub fn suite_keys(max_steps: i64) -> Vec<Key> {
    vec![
        Key::new("task.continuous", true, Kind::Bool, "forces or velocities instead of 3 choices an axis (none, less, more)"),
        Key::new("task.max_steps", max_steps, Kind::Int(1, i64::from(u32::MAX)), "steps after which an episode is truncated"),
    ]
}

/// The suite's own settings as read.
///
/// # Errors
/// A setting that is missing.
pub fn read_suite(options: &Settings) -> Result<(bool, usize), ConfigError> {
    Ok((options.get("continuous")?, options.get("max_steps")?))
}

/// How much nearer `now` is than `before`, which becomes `now`.
#[inline]
pub fn gain(before: &mut f32, now: f32) -> f32 {
    let gained = *before - now;
    *before = now;
    gained
}

//! `give_way`: two robots meet head on in a corridor too narrow for both; one must wait in the bay.
//!
//! Bettini, Shankar, Prorok, "Heterogeneous Multi-Robot Reinforcement Learning", AAMAS 2023: with equal observations, robots
//! with one policy cannot agree who waits.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::controller::{STATE, VelocityController};
use super::scenario::{GOAL, INK, Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, Vec2, minus, norm, times};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct GiveWay in "" {
        /// whether there is a second bay opposite the first
        mirror_passage: bool = false, Kind::Bool;
        /// whether the episode ends when both robots are at their goals
        done_on_completion: bool = false, Kind::Bool;
        /// whether robots see where the other is
        observe_rel_pos: bool = false, Kind::Bool;
        /// reward of each step with both robots at their goals
        final_reward: f64 = 0.01, Kind::Float(-1e6, 1e6);
        /// weight of the way gained towards the goals
        pos_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// wanted speeds below this count as none
        min_input_norm: f64 = 0.08, Kind::Float(0.0, 0.5);
    }
}

/// Greatest wanted speed.
pub const SPEED: f32 = 0.5;
/// From wall to wall.
pub const LENGTH: f64 = 5.0;
/// Of a robot.
pub const RADIUS: f64 = 0.16;
/// Of a goal.
pub const GOAL_RADIUS: f64 = 0.08;
/// Half width of a corridor.
pub const HALF: f32 = 0.2;
/// Robots start this far from the middle, at rest, up to [`NOISE`] off.
pub const START: f32 = 2.0;
/// Goals are this far from the middle.
pub const GOAL_AT: f32 = 2.29;
/// How corridors' robots follow their wanted velocities.
pub const PID: VelocityController = VelocityController { gain: 2.0, integral_time: 6.0, derivative_time: 0.002 };
const NOISE: f64 = 0.02;
const BAY: f64 = 0.4;
const BAY_DEPTH: f64 = 0.48;
/// Shared reward, then each robot's way to its goal, then the controllers.
const SHARED: usize = 0;
const WAY: usize = 1;
const CONTROL: usize = 3;

/// Physics of the corridors; `dt` seconds a step.
pub fn rules(dt: f64) -> Rules {
    Rules { dt, substeps: 5, drag: 0.0, friction: 0.1, contact: 500.0, ..Rules::default() }
}

/// A robot of the corridors.
pub fn robot(i: usize) -> Body {
    let body = Body::agent(format!("agent_{i}"), Shape::Circle { radius: RADIUS }, paint(i));
    Body { rotatable: false, f_range: 1.1, ..body }
}

/// A robot's goal.
pub fn goal(i: usize, at: Vec2) -> Body {
    Body::mark(format!("goal_{i}"), Shape::Circle { radius: GOAL_RADIUS }, GOAL).at(at, 0.0)
}

/// A wall of `length` around `at`, upright or lying.
pub fn wall(name: String, length: f64, at: Vec2, upright: bool) -> Body {
    let rot = if upright { std::f32::consts::FRAC_PI_2 } else { 0.0 };
    Body::obstacle(name, Shape::Line { length }, INK).at(at, rot)
}

/// Drives robot `i` towards a wanted velocity with the controller in `world.memory[at..]`.
pub fn drive(world: &mut World, i: usize, wanted: Vec2, least: f32, at: usize) {
    let length = norm(wanted);
    let mut wanted = if length > SPEED { times([wanted[0] / length, wanted[1] / length], SPEED) } else { wanted };
    if norm(wanted) < least {
        wanted = [0.0; 2];
    }
    PID.steer(world, i, wanted, at);
}

impl GiveWay {
    fn way(&self, world: &World, i: usize) -> f32 {
        world.between(world.team[i], i) * self.pos_shaping_factor as f32
    }

    fn arrived(world: &World) -> bool {
        (0..2).all(|i| world.between(world.team[i], i) < GOAL_RADIUS as f32)
    }

    /// The corridor's one side: two long pieces and the bay between them.
    fn side(bodies: &mut Vec<Body>, name: &str, up: f32) {
        let long = (LENGTH - BAY) / 2.0;
        for (k, x) in [1.35, -1.35].into_iter().enumerate() {
            bodies.push(wall(format!("{name}_1_{k}"), long, [x, up * HALF], false));
        }
        for (k, x) in [-HALF, HALF].into_iter().enumerate() {
            bodies.push(wall(format!("{name}_2_{k}"), BAY_DEPTH, [x, up * 0.44], true));
        }
        bodies.push(wall(format!("{name}_2_2"), BAY, [0.0, up * 0.68], false));
    }
}

impl Scenario for GiveWay {
    const NAME: &'static str = "give_way";
    const SUMMARY: &'static str = "two robots pass each other in a narrow corridor with a bay";
    const MAX_STEPS: i64 = 300;

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let mut bodies = vec![goal(0, [GOAL_AT, 0.0]), goal(1, [-GOAL_AT, 0.0])];
        for (k, x) in [-2.5, 2.5].into_iter().enumerate() {
            bodies.push(wall(format!("wall_{k}"), 2.0 * f64::from(HALF), [x, 0.0], true));
        }
        Self::side(&mut bodies, "ceil", 1.0);
        if self.mirror_passage {
            Self::side(&mut bodies, "floor", -1.0);
        } else {
            bodies.push(wall("floor".into(), LENGTH, [0.0, -HALF], false));
        }
        let first = bodies.len();
        bodies.extend((0..2).map(|i| Body { v_range: SPEED, ..robot(i) }));
        World::new(bodies, vec![first, first + 1], Vec::new(), CONTROL + 2 * STATE, rules(0.05))
    }

    fn action_range(&self) -> f32 {
        SPEED
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        for (i, x) in [-START, START].into_iter().enumerate() {
            let [dx, dy] = [0; 2].map(|_| rng.range(-NOISE, NOISE) as f32);
            world.agent_mut(i).pos = [x + dx, dy];
        }
    }

    fn remember(&self, world: &mut World) {
        (0..2).for_each(|i| world.memory[WAY + i] = self.way(world, i));
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        drive(world, i, action, self.min_input_norm as f32, CONTROL);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let ways = [self.way(world, 0), self.way(world, 1)];
            let gained = gain(&mut world.memory[WAY], ways[0]) + gain(&mut world.memory[WAY + 1], ways[1]);
            world.memory[SHARED] = gained + if Self::arrived(world) { self.final_reward as f32 } else { 0.0 };
        }
        world.memory[SHARED]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        row.pair(world.agent(i).pos);
        row.pair(world.agent(i).vel);
        if self.observe_rel_pos {
            row.pair(minus(world.agent(i).pos, world.agent(1 - i).pos));
        }
    }

    fn winning(&self) -> bool {
        self.done_on_completion
    }

    fn ended(&self, world: &World) -> Option<bool> {
        (self.done_on_completion && Self::arrived(world)).then_some(true)
    }
}

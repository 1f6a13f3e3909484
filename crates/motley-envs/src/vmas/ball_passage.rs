//! `ball_passage`: two robots push a ball through a gap in a wall and on to a goal.

use std::f64::consts::FRAC_PI_2;

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::barrier::Barrier;
use super::rod::ends;
use super::scenario::{GOAL, LOAD, Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, Vec2, minus, times};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct BallPassage in "" {
        /// whether the gap is always in the middle
        fixed_passage: bool = false, Kind::Bool;
        /// whether the robots start at a random angle around the ball instead of the first above it
        random_start_angle: bool = true, Kind::Bool;
        /// weight of the way gained
        pos_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// reward for each box that the ball or a robot touches
        collision_reward: f64 = -0.06, Kind::Float(-1e6, 1e6);
    }
}

const GOAL_ID: usize = 0;
const BALL: usize = 1;
const RADIUS: f64 = 0.03333;
/// Distance of the robots at the start.
const SPACING: f64 = 0.5;
const BARRIER: Barrier = Barrier { first: 2, boxes: 20, length: 0.103, width: 0.2, half: 1.03333 };
/// The box that is a gap.
const GAP: usize = 10;
/// Arrived: this near.
const NEAR: f32 = 0.01;
/// The shared reward; ways to the gap and to the goal.
const SHARED: usize = 0;
const WAY: usize = 1;

impl BallPassage {
    fn ways(&self, world: &World) -> [f32; 2] {
        [BARRIER.first + GAP, GOAL_ID].map(|id| world.between(BALL, id) * self.pos_shaping_factor as f32)
    }
}

impl Scenario for BallPassage {
    const NAME: &'static str = "ball_passage";
    const SUMMARY: &'static str = "two robots push a ball through a gap to a goal";

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let disc = Shape::Circle { radius: RADIUS };
        let ball = Body::agent("ball", disc, LOAD);
        let mut bodies = vec![Body::mark("goal", disc, GOAL), Body { rotatable: false, friction: Some(0.02), ..ball }];
        bodies.extend(BARRIER.bodies(&[GAP]));
        let first = bodies.len();
        let robot = |i| Body::agent(format!("agent_{i}"), disc, paint(i));
        bodies.extend((0..2).map(|i| Body { mass: 2.0, drag: Some(0.25), ..robot(i) }));
        let rules = Rules { drag: 0.0, half_x: 1.0, half_y: 1.0, ..Rules::default() };
        World::new(bodies, vec![first, first + 1], Vec::new(), 3, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let slot = if self.fixed_passage { GAP } else { rng.below(BARRIER.boxes as u32) as usize };
        BARRIER.fill(world, &[GAP], &[slot]);
        let angle = if self.random_start_angle { rng.range(-FRAC_PI_2, FRAC_PI_2) } else { -FRAC_PI_2 };
        let wall = BARRIER.width / 2.0 + 2.0 * RADIUS;
        let (dx, dy) = ((angle.cos() * SPACING / 2.0).abs(), (angle.sin() * SPACING / 2.0).abs());
        let edge = 1.0 - RADIUS;
        let mut none = Vec::new();
        world.scatter(rng, &[BALL], 0.0, [dx - edge, edge - dx], [dy - edge, -wall - dy], &mut none);
        let places = ends(world.bodies[BALL].pos, angle, SPACING);
        (0..2).for_each(|i| world.agent_mut(i).pos = places[i]);
        world.scatter(rng, &[GOAL_ID], 0.0, [-edge, edge], [wall, edge], &mut none);
    }

    fn remember(&self, world: &mut World) {
        let ways = self.ways(world);
        world.memory[WAY..WAY + 2].copy_from_slice(&ways);
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = times(action, 0.7);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let ways = self.ways(world);
            let gained = [0, 1].map(|k| gain(&mut world.memory[WAY + k], ways[k]));
            let hits: usize = [BALL, world.team[0], world.team[1]].map(|id| BARRIER.touched(world, id)).iter().sum();
            let through = usize::from(world.bodies[BALL].pos[1] > 0.0);
            world.memory[SHARED] = gained[through] + hits as f32 * self.collision_reward as f32;
        }
        world.memory[SHARED]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        for id in [GOAL_ID, BALL, BARRIER.first + GAP] {
            row.pair(minus(agent.pos, world.bodies[id].pos));
        }
    }

    fn winning(&self) -> bool {
        true
    }

    /// At the goal, or lost at the edge of the world.
    fn ended(&self, world: &World) -> Option<bool> {
        let there = world.between(BALL, GOAL_ID) <= NEAR;
        let lost = world.bodies[BALL].pos.iter().any(|x| x.abs() >= (1.0 - RADIUS) as f32);
        (there || lost).then_some(there)
    }
}

//! `buzz_wire`: two robots guide a ball, tied between them, along a corridor without anything touching its walls.

use std::f64::consts::FRAC_PI_6;

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::rod::{ends, lay, rod, tie};
use super::scenario::{GOAL, INK, LOAD, Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, minus};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct BuzzWire in "" {
        /// whether the rods start at a random angle instead of level
        random_start_angle: bool = true, Kind::Bool;
        /// weight of the way gained
        pos_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// reward for each body that touches each wall
        collision_reward: f64 = -10.0, Kind::Float(-1e6, 1e6);
    }
}

const GOAL_ID: usize = 0;
const BALL: usize = 1;
const RODS: [usize; 2] = [2, 3];
const WALLS: std::ops::Range<usize> = 4..8;
const ROBOTS: [usize; 2] = [8, 9];
const RADIUS: f64 = 0.03;
/// Distance of the robots at the start; the corridor is half as wide.
const SPACING: f64 = 0.5;
/// Arrived: this near.
const NEAR: f32 = 0.01;
/// The ball's way, the shared reward, whether something touched a wall.
const WAY: usize = 0;
const SHARED: usize = 1;
const HIT: usize = 2;

impl Scenario for BuzzWire {
    const NAME: &'static str = "buzz_wire";
    const SUMMARY: &'static str = "two robots guide a ball between them without touching walls";

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let disc = Shape::Circle { radius: RADIUS };
        let mut bodies = vec![Body::mark("goal", disc, GOAL), Body { rotatable: false, ..Body::agent("ball", disc, LOAD) }];
        bodies.extend([0, 1].map(|i| rod(&format!("rod_{i}"), SPACING / 2.0, 0, 0)));
        let side = (SPACING / 4.0) as f32;
        for (i, x) in [-side, side].into_iter().enumerate() {
            let wall = Body::obstacle(format!("wall_{i}"), Shape::Line { length: 2.0 }, INK);
            bodies.push(wall.at([x, 0.0], std::f32::consts::FRAC_PI_2));
        }
        for (i, y) in [-1.0, 1.0].into_iter().enumerate() {
            let floor = Body::obstacle(format!("floor_{i}"), Shape::Line { length: SPACING / 2.0 }, INK);
            bodies.push(floor.at([0.0, y], 0.0));
        }
        bodies.extend((0..2).map(|i| Body::agent(format!("agent_{i}"), disc, paint(i))));
        let joints = [0, 1].map(|i| tie(RODS[i], SPACING / 2.0, ROBOTS[i], BALL)).concat();
        let rules = Rules { substeps: 15, contact: 1500.0, joint: 900.0, ..Rules::default() };
        World::new(bodies, ROBOTS.to_vec(), joints, 3, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let angle = if self.random_start_angle { rng.range(-FRAC_PI_6, FRAC_PI_6) } else { 0.0 };
        let high = 1.0 - 2.0 * RADIUS;
        let mut none = Vec::new();
        world.scatter(rng, &[BALL], 0.0, [-RADIUS, RADIUS], [-high, -RADIUS], &mut none);
        world.scatter(rng, &[GOAL_ID], 0.0, [-RADIUS, RADIUS], [-RADIUS, high], &mut none);
        let places = ends(world.bodies[BALL].pos, angle, SPACING);
        for i in 0..2 {
            world.bodies[ROBOTS[i]].pos = places[i];
            lay(world, RODS[i], ROBOTS[i], BALL);
        }
    }

    fn remember(&self, world: &mut World) {
        world.memory[WAY] = world.between(BALL, GOAL_ID) * self.pos_shaping_factor as f32;
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let way = world.between(BALL, GOAL_ID) * self.pos_shaping_factor as f32;
            let touching = |id: usize| WALLS.filter(|&wall| world.touching(wall, id)).count();
            let hits = touching(BALL) + touching(ROBOTS[0]) + touching(ROBOTS[1]);
            world.memory[HIT] = f32::from(u8::from(hits > 0));
            world.memory[SHARED] = gain(&mut world.memory[WAY], way) + hits as f32 * self.collision_reward as f32;
        }
        world.memory[SHARED]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(agent.pos, world.bodies[GOAL_ID].pos));
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        let there = world.between(BALL, GOAL_ID) <= NEAR;
        let hit = world.memory[HIT] != 0.0;
        (there || hit).then_some(there && !hit)
    }
}

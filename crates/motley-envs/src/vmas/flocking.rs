//! `flocking`: robots stay close together and near a target that circles among obstacles.

use std::f64::consts::TAU;

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::elementary::direction;
use super::lidar::Lidar;
use super::scenario::{GOAL, INK, Row, Scenario, TOUCH, gain, paint, task_keys};
use super::shape::{Shape, minus};
use super::world::{Body, Rules, World};

settings! {
    /// The settings; see the module.
    pub struct Options in "" {
        /// robots
        n_agents: usize = 4, Kind::Int(2, 16);
        /// obstacles
        n_obstacles: usize = 5, Kind::Int(0, 16);
        /// wanted distance to the target and to each other
        desired_distance: f64 = 0.1, Kind::Float(0.0, 10.0);
        /// weight of the wanted distances
        dist_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// reward of a robot for touching the target or another robot, each
        collision_reward: f64 = -0.1, Kind::Float(-1e6, 1e6);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Flocking {
    set: Options,
    lidar: Lidar,
}

const RADIUS: f64 = 0.05;
const OBSTACLE: f64 = 0.1;
/// Bodies start this far apart.
const APART: f32 = 0.15;
/// Steps so far, then each robot's shaping, then what each gained.
const STEPS: usize = 0;
const SHAPING: usize = 1;

impl Flocking {
    fn target(&self) -> usize {
        self.set.n_obstacles
    }

    /// Mean squared error of the distances to the target and to the others.
    fn shaping(&self, world: &World, i: usize) -> f32 {
        let (me, wanted) = (world.team[i], self.set.desired_distance as f32);
        let others = std::iter::once(self.target()).chain(world.team.iter().copied());
        let errors = others.filter(|&id| id != me).map(|id| world.between(me, id) - wanted);
        let sum: f32 = errors.map(|e| e * e).sum();
        sum / world.n() as f32 * self.set.dist_shaping_factor as f32
    }
}

impl Scenario for Flocking {
    const NAME: &'static str = "flocking";
    const SUMMARY: &'static str = "robots stay together around a circling target, clear of obstacles";

    fn keys() -> Vec<Key> {
        task_keys(Options::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self { set: Options::read(options)?, lidar: Lidar::new(12, 0.0, TAU, 0.2) })
    }

    fn world(&self) -> World {
        let (n, obstacles) = (self.set.n_agents, self.set.n_obstacles);
        let obstacle = |k| Body::obstacle(format!("obstacle_{k}"), Shape::Circle { radius: OBSTACLE }, INK);
        let disc = Shape::Circle { radius: RADIUS };
        let mut bodies: Vec<Body> = (0..obstacles).map(obstacle).collect();
        bodies.push(Body::agent("target", disc, GOAL));
        bodies.extend((0..n).map(|i| Body::agent(format!("agent_{i}"), disc, paint(1))));
        let rules = Rules { substeps: 5, contact: 400.0, ..Rules::default() };
        let first = obstacles + 1;
        World::new(bodies, (first..first + n).collect(), Vec::new(), SHAPING + 2 * n, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let target = self.target();
        world.bodies[target].pos = [0.0, -1.0];
        let mut taken = vec![world.bodies[target].pos];
        let others: Vec<usize> = (0..world.bodies.len()).filter(|&id| id != target).collect();
        world.scatter(rng, &others, APART, [-1.0, 1.0], [-1.0, 1.0], &mut taken);
    }

    fn remember(&self, world: &mut World) {
        (0..world.n()).for_each(|i| world.memory[SHAPING + i] = self.shaping(world, i));
    }

    fn before_physics(&self, world: &mut World) {
        let target = self.target();
        world.bodies[target].drive = direction(world.memory[STEPS] / 30.0);
        world.memory[STEPS] += 1.0;
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        let n = world.n();
        if i == 0 {
            for k in 0..n {
                let now = self.shaping(world, k);
                world.memory[SHAPING + n + k] = gain(&mut world.memory[SHAPING + k], now);
            }
        }
        let me = world.team[i];
        let others = std::iter::once(self.target()).chain(world.team.iter().copied()).filter(|&id| id != me);
        let hits = others.filter(|&id| world.between(me, id) - 2.0 * RADIUS as f32 <= TOUCH).count();
        world.memory[SHAPING + n + i] + hits as f32 * self.set.collision_reward as f32
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(agent.pos, world.bodies[self.target()].pos));
        self.lidar.measure(world, world.team[i], 0..self.set.n_obstacles, |x| row.put(x));
    }
}

//! `ball_trajectory`: two robots, each tied to a ball, bring it to a set speed and keep it going.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::rod::{lay, rod, tie};
use super::scenario::{LOAD, Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, minus, norm};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct BallTrajectory in "" {
        /// weight of the root of how far the ball is from its circle
        pos_shaping_factor: f64 = 0.0, Kind::Float(-1e6, 1e6);
        /// weight of the ball's wanted speed
        speed_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// the ball's wanted speed
        desired_speed: f64 = 1.0, Kind::Float(0.0, 10.0);
        /// the ball's wanted distance from the middle
        desired_radius: f64 = 0.5, Kind::Float(0.0, 10.0);
    }
}

const BALL: usize = 0;
const RODS: [usize; 2] = [1, 2];
const ROBOTS: [usize; 2] = [3, 4];
const ROD: f64 = 0.2;

impl BallTrajectory {
    fn shaping(&self, world: &World) -> [f32; 2] {
        let ball = &world.bodies[BALL];
        [
            (norm(ball.pos) - self.desired_radius as f32).abs().sqrt() * self.pos_shaping_factor as f32,
            (norm(ball.vel) - self.desired_speed as f32).abs() * self.speed_shaping_factor as f32,
        ]
    }
}

impl Scenario for BallTrajectory {
    const NAME: &'static str = "ball_trajectory";
    const SUMMARY: &'static str = "two robots swing a ball that both are tied to";

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let ball = Body::agent("ball", Shape::Circle { radius: 0.06 }, LOAD);
        let mut bodies = vec![Body { rotatable: false, friction: Some(0.04), ..ball }];
        bodies.extend([0, 1].map(|i| rod(&format!("rod_{i}"), ROD, 0, 0)));
        let robot = |i| Body::agent(format!("agent_{i}"), Shape::Circle { radius: 0.03 }, paint(i));
        bodies.extend((0..2).map(|i| Body { drag: Some(0.25), ..robot(i) }));
        let joints = [0, 1].map(|i| tie(RODS[i], ROD, ROBOTS[i], BALL)).concat();
        let rules = Rules { substeps: 15, drag: 0.0, contact: 1500.0, joint: 900.0, ..Rules::default() };
        World::new(bodies, ROBOTS.to_vec(), joints, 2, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        world.scatter(rng, &[BALL], 0.0, [-0.5, 0.5], [-0.5, 0.5], &mut Vec::new());
        let [x, y] = world.bodies[BALL].pos;
        let side = if rng.bernoulli(0.5) { ROD } else { -ROD } as f32;
        for (i, x) in [x - side, x + side].into_iter().enumerate() {
            world.bodies[ROBOTS[i]].pos = [x, y];
            lay(world, RODS[i], ROBOTS[i], BALL);
        }
    }

    fn remember(&self, world: &mut World) {
        let shaping = self.shaping(world);
        world.memory.copy_from_slice(&shaping);
    }

    /// Only the first robot is paid: what it gained is gone when the second one asks.
    fn reward(&self, world: &mut World, _rng: &mut Stream, _i: usize) -> f32 {
        let [way, speed] = self.shaping(world);
        gain(&mut world.memory[0], way) + gain(&mut world.memory[1], speed)
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(agent.pos, world.bodies[BALL].pos));
        row.pair(agent.pos);
    }
}

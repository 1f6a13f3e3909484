//! `wind_flocking`: two robots fly against the wind at a set speed and distance; the small one can shelter the big one.
//!
//! Bettini, Shankar, Prorok, "Heterogeneous Multi-Robot Reinforcement Learning", AAMAS 2023.

use std::f64::consts::FRAC_PI_8;

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::controller::{STATE, VelocityController};
use super::scenario::{Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, Vec2, dot, minus, norm, times};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct WindFlocking in "" {
        /// speed of the wind, which blows down
        wind: f64 = 2.0, Kind::Float(0.0, 100.0);
        /// wanted speed, upwards
        desired_vel: f64 = 0.5, Kind::Float(0.0, 0.5);
        /// wanted distance
        desired_distance: f64 = 1.0, Kind::Float(0.1, 10.0);
        /// weight of the wanted velocity
        vel_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// weight of the wanted distance
        dist_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// weight of the shelter gained
        wind_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// whether robots see where the other is
        observe_rel_pos: bool = false, Kind::Bool;
    }
}

const PID: VelocityController = VelocityController { gain: 1.5, integral_time: 0.6, derivative_time: 0.002 };
const BIG: usize = 0;
const SMALL: usize = 1;
/// Steps before shelter is paid for.
const SETTLING: f32 = 4.0;
/// Reward, distance, a velocity each, the big robot's wind, steps so far, the controllers.
const SHARED: usize = 0;
const DISTANCE: usize = 1;
const VELOCITY: usize = 2;
const WIND: usize = 4;
const STEPS: usize = 5;
const CONTROL: usize = 6;

impl WindFlocking {
    fn off_distance(&self, world: &World) -> f32 {
        (world.between(BIG, SMALL) - self.desired_distance as f32).abs() * self.dist_shaping_factor as f32
    }

    fn wind(&self, world: &World) -> f32 {
        norm(world.bodies[BIG].gravity) * self.wind_shaping_factor as f32
    }

    fn off_velocity(&self, world: &World, i: usize) -> f32 {
        norm(minus(world.agent(i).vel, [0.0, self.desired_vel as f32])) * self.vel_shaping_factor as f32
    }
}

impl Scenario for WindFlocking {
    const NAME: &'static str = "wind_flocking";
    const SUMMARY: &'static str = "a big and a small robot fly against the wind in formation";
    const MAX_STEPS: i64 = 200;

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let robot = |i: usize| Body {
            f_range: 100.0,
            v_range: 0.5,
            gravity: [0.0, -self.wind as f32],
            ..Body::agent(format!("agent_{i}"), Shape::Circle { radius: [0.05, 0.03][i] }, paint(i))
        };
        let rules = Rules { drag: 0.0, friction: 0.1, ..Rules::default() };
        World::new(vec![robot(0), robot(1)], vec![0, 1], Vec::new(), CONTROL + 2 * STATE, rules)
    }

    fn kind(&self, i: usize) -> String {
        ["big", "small"][i].into()
    }

    fn action_range(&self) -> f32 {
        0.5
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let angle = rng.range(-FRAC_PI_8, FRAC_PI_8);
        let side = if rng.bernoulli(0.5) { 0.5 } else { -0.5 } * self.desired_distance;
        let half = [(angle.cos() * side) as f32, (angle.sin() * side) as f32];
        world.bodies[BIG].pos = half;
        world.bodies[SMALL].pos = times(half, -1.0);
        world.bodies.iter_mut().for_each(|body| body.gravity = [0.0, -self.wind as f32]);
    }

    fn remember(&self, world: &mut World) {
        world.memory[DISTANCE] = self.off_distance(world);
        world.memory[WIND] = self.wind(world);
        (0..2).for_each(|i| world.memory[VELOCITY + i] = self.off_velocity(world, i));
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        let dt = world.rules.dt;
        let state = &mut world.memory[CONTROL + STATE * i..CONTROL + STATE * (i + 1)];
        let force = PID.force(&world.bodies[i], action, dt, state);
        world.bodies[i].drive = force;
    }

    /// The wind on the big robot shrinks with the cosine of the angle at which the small one stands upwind of it.
    fn after_physics(&self, world: &mut World) {
        let upwind = minus(world.bodies[SMALL].pos, world.bodies[BIG].pos);
        let cover = (dot(upwind, [0.0, 1.0]) / norm(upwind).max(1e-6)).max(0.0);
        world.bodies[BIG].gravity = [0.0, -self.wind as f32 * (1.0 - cover)];
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let distance = self.off_distance(world);
            let velocities = [self.off_velocity(world, 0), self.off_velocity(world, 1)];
            let [first, second] = [0, 1].map(|k| gain(&mut world.memory[VELOCITY + k], velocities[k]));
            let wind = self.wind(world);
            let shelter = gain(&mut world.memory[WIND], wind) / 2.0;
            let shelter = if world.memory[STEPS] < SETTLING { 0.0 } else { shelter };
            world.memory[STEPS] += 1.0;
            world.memory[SHARED] = gain(&mut world.memory[DISTANCE], distance) + (first + second) / 2.0 + shelter;
        }
        world.memory[SHARED]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        row.pair(world.agent(i).pos);
        row.pair(world.agent(i).vel);
        if self.observe_rel_pos {
            row.pair(minus(world.agent(1 - i).pos, world.agent(i).pos));
        }
    }
}

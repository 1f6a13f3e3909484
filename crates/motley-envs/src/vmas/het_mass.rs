//! `het_mass`: a heavy and a light robot; only the fastest of them counts, and energy costs.
//!
//! Bettini, Shankar, Prorok, "Heterogeneous Multi-Robot Reinforcement Learning", AAMAS 2023.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::scenario::{Row, Scenario, paint, task_keys};
use super::shape::{Shape, Vec2, norm};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct HetMass in "" {
        /// mean mass of the heavy robot
        green_mass: f64 = 4.0, Kind::Float(0.1, 100.0);
        /// mean mass of the light robot
        blue_mass: f64 = 2.0, Kind::Float(0.1, 100.0);
        /// masses are drawn each episode, at most this far from their means
        mass_noise: f64 = 1.0, Kind::Float(0.0, 10.0);
    }
}

/// Price of a full throttle, against the speed that it buys.
const ENERGY: f64 = 0.17;

impl Scenario for HetMass {
    const NAME: &'static str = "het_mass";
    const SUMMARY: &'static str = "a heavy and a light robot, only the faster one's speed pays";
    const MAX_STEPS: i64 = 200;

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        let read = Self::read(options)?;
        if read.mass_noise >= read.green_mass.min(read.blue_mass) {
            let text = "task.mass_noise must be smaller than both masses, or a robot could have none";
            return Err(ConfigError::Invalid(text.into()));
        }
        Ok(read)
    }

    fn world(&self) -> World {
        let robot = |i: usize| Body {
            layers: 0,
            f_range: 1.0,
            mass: [self.green_mass, self.blue_mass][i],
            ..Body::agent(format!("agent_{i}"), Shape::Circle { radius: 0.05 }, paint(i))
        };
        World::new(vec![robot(0), robot(1)], vec![0, 1], Vec::new(), 1, Rules::default())
    }

    fn kind(&self, i: usize) -> String {
        ["heavy", "light"][i].into()
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        world.scatter(rng, &[0, 1], 0.0, [-1.0, 1.0], [-1.0, 1.0], &mut Vec::new());
        for (body, mean) in world.bodies.iter_mut().zip([self.green_mass, self.blue_mass]) {
            body.mass = mean + rng.range(-self.mass_noise, self.mass_noise);
        }
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = [action[0], 0.0];
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let speed = world.agents().map(|a| norm(a.vel)).fold(0.0, f32::max);
            let energy: f32 = world.agents().map(|a| norm(a.drive) / std::f32::consts::SQRT_2).sum();
            world.memory[0] = speed - energy * ENERGY as f32;
        }
        world.memory[0]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        row.pair(world.agent(i).pos);
        row.pair(world.agent(i).vel);
    }
}

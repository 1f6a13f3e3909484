//! `dropout`: one robot at the goal is enough; everyone's energy costs.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::scenario::{GOAL, Row, Scenario, paint, task_keys};
use super::shape::{Shape, minus, norm};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct Dropout in "" {
        /// robots
        n_agents: usize = 4, Kind::Int(1, 16);
        /// price of a full throttle and step
        energy_coeff: f64 = 0.02, Kind::Float(0.0, 100.0);
        /// whether all robots start at one place
        start_same_point: bool = false, Kind::Bool;
    }
}

const RADIUS: f64 = 0.05;
const GOAL_RADIUS: f64 = 0.03;
const TOUCH: f32 = (RADIUS + GOAL_RADIUS) as f32;
/// Whether the goal was reached, the shared reward.
const EATEN: usize = 0;
const SHARED: usize = 1;

impl Scenario for Dropout {
    const NAME: &'static str = "dropout";
    const SUMMARY: &'static str = "any one robot reaches the goal while all others save energy";

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let mut bodies = vec![Body::mark("goal", Shape::Circle { radius: GOAL_RADIUS }, GOAL)];
        let robot = |i| Body::agent(format!("agent_{i}"), Shape::Circle { radius: RADIUS }, paint(1));
        bodies.extend((0..self.n_agents).map(|i| Body { layers: 0, ..robot(i) }));
        World::new(bodies, (1..=self.n_agents).collect(), Vec::new(), 2, Rules::default())
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let (mut taken, team) = (Vec::new(), world.team.clone());
        let apart = TOUCH + 0.01;
        if self.start_same_point {
            team.iter().for_each(|&id| world.bodies[id].pos = [0.0; 2]);
            taken.push([0.0; 2]);
        } else {
            world.scatter(rng, &team, apart, [-1.0, 1.0], [-1.0, 1.0], &mut taken);
        }
        world.scatter(rng, &[0], apart, [-1.0, 1.0], [-1.0, 1.0], &mut taken);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let reached = world.team.iter().any(|&id| world.between(id, 0) < TOUCH);
            let prize = if reached && world.memory[EATEN] == 0.0 { 1.0 } else { 0.0 };
            let energy: f32 = world.agents().map(|a| norm(a.drive) / std::f32::consts::SQRT_2).sum();
            world.memory[SHARED] = prize - energy * self.energy_coeff as f32;
            if reached {
                world.memory[EATEN] = 1.0;
            }
        }
        world.memory[SHARED]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(world.bodies[0].pos, agent.pos));
        row.put(world.memory[EATEN]);
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        (world.memory[EATEN] != 0.0).then_some(true)
    }
}

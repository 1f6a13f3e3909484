//! `dispersion`: robots start together and eat all food; who eats together shares.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::scenario::{GOAL, Row, Scenario, paint, task_keys};
use super::shape::{Shape, minus};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct Dispersion in "" {
        /// robots
        n_agents: usize = 4, Kind::Int(1, 16);
        /// pieces of food; 0 is as many as robots
        n_food: usize = 0, Kind::Int(0, 16);
        /// whether a piece pays the whole team instead of those who eat it
        share_reward: bool = false, Kind::Bool;
        /// whether a step without food costs a robot 0.01
        penalise_by_time: bool = false, Kind::Bool;
    }
}

const RADIUS: f64 = 0.035;
const FOOD_RADIUS: f64 = 0.05;
const TOUCH: f32 = (RADIUS + FOOD_RADIUS) as f32;

impl Scenario for Dispersion {
    const NAME: &'static str = "dispersion";
    const SUMMARY: &'static str = "robots that start together spread out to eat all food";

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        let mut read = Self::read(options)?;
        if read.n_food == 0 {
            read.n_food = read.n_agents;
        }
        Ok(read)
    }

    /// Memory: which food is eaten, then the robots' rewards.
    fn world(&self) -> World {
        let (food, robots) = (self.n_food, self.n_agents);
        let piece = |k| Body::mark(format!("food_{k}"), Shape::Circle { radius: FOOD_RADIUS }, GOAL);
        let robot = |i| Body::agent(format!("agent_{i}"), Shape::Circle { radius: RADIUS }, paint(1));
        let mut bodies: Vec<Body> = (0..food).map(piece).collect();
        bodies.extend((0..robots).map(|i| Body { layers: 0, ..robot(i) }));
        let rules = Rules { half_x: 1.0, half_y: 1.0, ..Rules::default() };
        World::new(bodies, (food..food + robots).collect(), Vec::new(), food + robots, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        (0..self.n_agents).for_each(|i| world.agent_mut(i).pos = [0.0; 2]);
        let food: Vec<usize> = (0..self.n_food).collect();
        world.scatter(rng, &food, 0.0, [-1.0, 1.0], [-1.0, 1.0], &mut Vec::new());
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        let food = self.n_food;
        if i == 0 {
            world.memory[food..].fill(0.0);
            for k in (0..food).filter(|&k| world.memory[k] == 0.0).collect::<Vec<_>>() {
                let eaters: Vec<usize> = (0..world.n()).filter(|&a| world.between(world.team[a], k) < TOUCH).collect();
                if eaters.is_empty() {
                    continue;
                }
                world.memory[k] = 1.0;
                if self.share_reward {
                    world.memory[food..].iter_mut().for_each(|r| *r += 1.0);
                } else {
                    eaters.iter().for_each(|a| world.memory[food + a] += 1.0 / eaters.len() as f32);
                }
            }
            if self.penalise_by_time {
                world.memory[food..].iter_mut().filter(|paid| **paid == 0.0).for_each(|paid| *paid = -0.01);
            }
        }
        world.memory[food + i]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        for k in 0..self.n_food {
            row.pair(minus(world.bodies[k].pos, agent.pos));
            row.put(world.memory[k]);
        }
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        world.memory[..self.n_food].iter().all(|eaten| *eaten != 0.0).then_some(true)
    }
}

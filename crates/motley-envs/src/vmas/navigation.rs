//! `navigation`: each robot goes to its own goal and senses the others around it.

use std::f64::consts::TAU;

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::lidar::Lidar;
use super::scenario::{Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, minus};
use super::world::{Body, Rules, World};

settings! {
    /// The settings; see the module.
    pub struct Options in "" {
        /// robots
        n_agents: usize = 4, Kind::Int(1, 16);
        /// whether robots push each other and are sensed
        collisions: bool = true, Kind::Bool;
        /// whether robots are paid for the way that the team gained, not for their own
        shared_rew: bool = true, Kind::Bool;
        /// weight of the way gained
        pos_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// reward of each step with all robots at their goals
        final_reward: f64 = 0.01, Kind::Float(-1e6, 1e6);
        /// reward of a robot for each other that it touches
        agent_collision_penalty: f64 = -1.0, Kind::Float(-1e6, 1e6);
        /// how far sensors see
        lidar_range: f64 = 0.35, Kind::Float(0.1, 10.0);
        /// rays of a sensor
        n_lidar_rays: usize = 12, Kind::Int(1, 360);
        /// radius of a robot
        agent_radius: f64 = 0.1, Kind::Float(0.01, 0.25);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Navigation {
    set: Options,
    lidar: Lidar,
}

const GOAL_RADIUS: f32 = 0.05;
/// Robots and goals start this much more than two radii apart, where the world has room.
const APART: f64 = 0.05;
/// What the team gained, then each robot's way, then what each gained.
const SHARED: usize = 0;
const WAY: usize = 1;

impl Navigation {
    fn way(&self, world: &World, i: usize) -> f32 {
        world.between(world.team[i], i) * self.set.pos_shaping_factor as f32
    }

    fn all_within(world: &World, distance: f32) -> bool {
        (0..world.n()).all(|i| world.between(world.team[i], i) < distance)
    }
}

impl Scenario for Navigation {
    const NAME: &'static str = "navigation";
    const SUMMARY: &'static str = "each robot goes to its own goal, sensing the others";

    fn keys() -> Vec<Key> {
        task_keys(Options::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        let set = Options::read(options)?;
        Ok(Self { lidar: Lidar::new(set.n_lidar_rays, 0.0, TAU, set.lidar_range), set })
    }

    fn world(&self) -> World {
        let n = self.set.n_agents;
        let goal = Shape::Circle { radius: f64::from(GOAL_RADIUS) };
        let mut bodies: Vec<Body> = (0..n).map(|i| Body::mark(format!("goal_{i}"), goal, paint(i))).collect();
        for i in 0..n {
            let body = Body::agent(format!("agent_{i}"), Shape::Circle { radius: self.set.agent_radius }, paint(i));
            bodies.push(Body { layers: u8::from(self.set.collisions), ..body });
        }
        let rules = Rules { substeps: 2, ..Rules::default() };
        World::new(bodies, (n..2 * n).collect(), Vec::new(), WAY + 2 * n, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let (n, mut taken) = (self.set.n_agents, Vec::new());
        let apart = (2.0 * self.set.agent_radius + APART) as f32;
        let robots: Vec<usize> = (n..2 * n).collect();
        world.scatter(rng, &robots, apart, [-1.0, 1.0], [-1.0, 1.0], &mut taken);
        let goals: Vec<usize> = (0..n).collect();
        world.scatter(rng, &goals, apart, [-1.0, 1.0], [-1.0, 1.0], &mut taken);
    }

    fn remember(&self, world: &mut World) {
        (0..world.n()).for_each(|i| world.memory[WAY + i] = self.way(world, i));
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        let n = world.n();
        let last = if Self::all_within(world, GOAL_RADIUS) { self.set.final_reward as f32 } else { 0.0 };
        if i == 0 {
            let mut team = 0.0;
            for k in 0..n {
                let way = self.way(world, k);
                let gained = gain(&mut world.memory[WAY + k], way);
                world.memory[WAY + n + k] = gained;
                team += gained;
            }
            world.memory[SHARED] = team;
        }
        let way = world.memory[if self.set.shared_rew { SHARED } else { WAY + n + i }];
        let (me, touch) = (world.team[i], 2.0 * self.set.agent_radius as f32);
        let hits = world.team.iter().filter(|&&id| self.set.collisions && id != me && world.between(me, id) <= touch).count();
        way + last + hits as f32 * self.set.agent_collision_penalty as f32
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(agent.pos, world.bodies[i].pos));
        if self.set.collisions {
            let team = world.team.iter().copied();
            self.lidar.measure(world, world.team[i], team, |x| row.put(self.lidar.range - x));
        }
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        Self::all_within(world, self.set.agent_radius as f32).then_some(true)
    }
}

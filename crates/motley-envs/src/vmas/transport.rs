//! `transport` and `reverse_transport`: robots push a heavy box to a goal, from outside or from inside a hollow one.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::scenario::{GOAL, LOAD, Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, Vec2, minus, times};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct Transport in "" {
        /// robots
        n_agents: usize = 4, Kind::Int(1, 16);
        /// size of the box in y
        package_width: f64 = 0.15, Kind::Float(0.05, 0.6);
        /// size of the box in x
        package_length: f64 = 0.15, Kind::Float(0.05, 0.6);
        /// mass of the box
        package_mass: f64 = 50.0, Kind::Float(0.01, 1000.0);
        /// weight of the way gained
        shaping_factor: f64 = 100.0, Kind::Float(-1e6, 1e6);
    }
}

settings! {
    /// See the module.
    pub struct ReverseTransport in "" {
        /// robots
        n_agents: usize = 4, Kind::Int(1, 16);
        /// size of the box in y
        package_width: f64 = 0.6, Kind::Float(0.1, 1.0);
        /// size of the box in x
        package_length: f64 = 0.6, Kind::Float(0.1, 1.0);
        /// mass of the box
        package_mass: f64 = 50.0, Kind::Float(0.01, 1000.0);
        /// weight of the way gained
        shaping_factor: f64 = 100.0, Kind::Float(-1e6, 1e6);
    }
}

const GOAL_ID: usize = 0;
const PACKAGE: usize = 1;
const RADIUS: f64 = 0.03;
/// The way to the goal, the shared reward.
const WAY: usize = 0;
const SHARED: usize = 1;

/// A goal of radius `goal`, a box, and robots.
fn world(robots: usize, goal: f64, package: Shape, mass: f64, rules: Rules) -> World {
    let package = Body::agent("package", package, LOAD);
    let goal = Body::mark("goal", Shape::Circle { radius: goal }, GOAL);
    let mut bodies = vec![goal, Body { mass, rotatable: false, ..package }];
    let robot = |i| Body::agent(format!("agent_{i}"), Shape::Circle { radius: RADIUS }, paint(1));
    bodies.extend((0..robots).map(robot));
    World::new(bodies, (2..2 + robots).collect(), Vec::new(), 2, rules)
}

fn arrived(world: &World) -> bool {
    world.touching(PACKAGE, GOAL_ID)
}

/// The way that the box gained; none while it is at its goal.
fn reward(world: &mut World, weight: f64, i: usize) -> f32 {
    if i == 0 {
        let way = world.between(PACKAGE, GOAL_ID) * weight as f32;
        let gained = gain(&mut world.memory[WAY], way);
        world.memory[SHARED] = if arrived(world) { 0.0 } else { gained };
    }
    world.memory[SHARED]
}

impl Scenario for Transport {
    const NAME: &'static str = "transport";
    const SUMMARY: &'static str = "robots push a heavy box to a goal";

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let package = Shape::Rect { length: self.package_length, width: self.package_width, hollow: false };
        let half = (1.0 + 2.0 * RADIUS + self.package_length.max(self.package_width)) as f32;
        let rules = Rules { half_x: half, half_y: half, ..Rules::default() };
        world(self.n_agents, 0.15, package, self.package_mass, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let mut taken = Vec::new();
        let team = world.team.clone();
        world.scatter(rng, &team, 2.0 * RADIUS as f32, [-1.0, 1.0], [-1.0, 1.0], &mut taken);
        let apart = world.bodies[PACKAGE].radius() + 0.15 + 0.01;
        world.scatter(rng, &[GOAL_ID, PACKAGE], apart, [-1.0, 1.0], [-1.0, 1.0], &mut taken);
    }

    fn remember(&self, world: &mut World) {
        world.memory[WAY] = world.between(PACKAGE, GOAL_ID) * self.shaping_factor as f32;
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = times(action, 0.6);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        reward(world, self.shaping_factor, i)
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let (agent, package) = (world.agent(i), &world.bodies[PACKAGE]);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(package.pos, world.bodies[GOAL_ID].pos));
        row.pair(minus(package.pos, agent.pos));
        row.pair(package.vel);
        row.put(f32::from(u8::from(arrived(world))));
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        arrived(world).then_some(true)
    }
}

impl Scenario for ReverseTransport {
    const NAME: &'static str = "reverse_transport";
    const SUMMARY: &'static str = "robots inside a hollow box push it to a goal";
    const VERSION: u32 = 2;

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let package = Shape::Rect { length: self.package_length, width: self.package_width, hollow: true };
        let rules = Rules { substeps: 5, contact: 500.0, margin: 6e-3, ..Rules::default() };
        world(self.n_agents, 0.09, package, self.package_mass, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        world.scatter(rng, &[PACKAGE, GOAL_ID], 0.0, [-1.0, 1.0], [-1.0, 1.0], &mut Vec::new());
        let [x, y] = world.bodies[PACKAGE].pos.map(f64::from);
        let [dx, dy] = [self.package_length, self.package_width].map(|side| side / 2.0 - RADIUS);
        let team = world.team.clone();
        world.scatter(rng, &team, 0.0, [x - dx, x + dx], [y - dy, y + dy], &mut Vec::new());
    }

    fn remember(&self, world: &mut World) {
        world.memory[WAY] = world.between(PACKAGE, GOAL_ID) * self.shaping_factor as f32;
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = times(action, 0.5);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        reward(world, self.shaping_factor, i)
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let (agent, package) = (world.agent(i), &world.bodies[PACKAGE]);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(package.vel);
        row.pair(minus(package.pos, agent.pos));
        row.pair(minus(package.pos, world.bodies[GOAL_ID].pos));
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        arrived(world).then_some(true)
    }
}

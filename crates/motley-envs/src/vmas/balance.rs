//! `balance`: robots carry a package on a loose bar to a goal above them, against gravity.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::scenario::{GOAL, INK, LOAD, Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, Vec2, minus, times};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct Balance in "" {
        /// robots
        n_agents: usize = 3, Kind::Int(2, 16);
        /// mass of the package
        package_mass: f64 = 5.0, Kind::Float(0.01, 1000.0);
        /// whether the package starts anywhere on the bar instead of in its middle
        random_package_pos_on_line: bool = true, Kind::Bool;
        /// weight of the way gained
        shaping_factor: f64 = 100.0, Kind::Float(-1e6, 1e6);
        /// reward of each step with bar or package on the ground
        fall_reward: f64 = -10.0, Kind::Float(-1e6, 1e6);
    }
}

const GOAL_ID: usize = 0;
const PACKAGE: usize = 1;
const BAR: usize = 2;
const FLOOR: usize = 3;
const LENGTH: f64 = 0.8;
/// Of the bar.
const MASS: f64 = 5.0;
const RADIUS: f64 = 0.03;
const PACKAGE_RADIUS: f64 = 0.05;
const GOAL_RADIUS: f64 = 0.05;
/// Height of the robots' centres at the start.
const GROUND: f64 = -1.0;
const FLOOR_HEIGHT: f64 = 1.0;
/// The way to the goal, the shared reward.
const WAY: usize = 0;
const SHARED: usize = 1;

impl Balance {
    fn way(&self, world: &World) -> f32 {
        world.between(PACKAGE, GOAL_ID) * self.shaping_factor as f32
    }

    fn fallen(world: &World) -> bool {
        world.touching(FLOOR, BAR) || world.touching(FLOOR, PACKAGE)
    }
}

impl Scenario for Balance {
    const NAME: &'static str = "balance";
    const SUMMARY: &'static str = "robots lift a package on a loose bar to a goal";

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let package = Body::agent("package", Shape::Circle { radius: PACKAGE_RADIUS }, LOAD);
        let bar = Body::agent("line", Shape::Line { length: LENGTH }, INK);
        let floor = Shape::Rect { length: 10.0, width: FLOOR_HEIGHT, hollow: false };
        let mut bodies = vec![
            Body::mark("goal", Shape::Circle { radius: GOAL_RADIUS }, GOAL),
            Body { mass: self.package_mass, rotatable: false, ..package },
            Body { mass: MASS, ..bar },
            Body::obstacle("floor", floor, INK).at([0.0, (GROUND - FLOOR_HEIGHT / 2.0 - RADIUS) as f32], 0.0),
        ];
        let robot = |i| Body::agent(format!("agent_{i}"), Shape::Circle { radius: RADIUS }, paint(0));
        bodies.extend((0..self.n_agents).map(robot));
        let rules = Rules { gravity: [0.0, -0.05], half_y: 1.0, ..Rules::default() };
        World::new(bodies, (4..4 + self.n_agents).collect(), Vec::new(), 2, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let reach = 1.0 - LENGTH / 2.0;
        let x = rng.range(-reach, reach);
        let edge = if self.random_package_pos_on_line { LENGTH / 2.0 - PACKAGE_RADIUS } else { 0.0 };
        let package = x + rng.range(-edge, edge);
        let bar = GROUND + 2.0 * RADIUS;
        world.bodies[GOAL_ID].pos = [rng.range(-1.0, 1.0) as f32, rng.range(0.0, 1.0) as f32];
        world.bodies[BAR].pos = [x as f32, bar as f32];
        world.bodies[BAR].turn(0.0);
        world.bodies[PACKAGE].pos = [package as f32, (bar + PACKAGE_RADIUS) as f32];
        let step = (LENGTH - RADIUS) / (self.n_agents - 1) as f64;
        for i in 0..self.n_agents {
            world.agent_mut(i).pos = [(x - (LENGTH - RADIUS) / 2.0 + step * i as f64) as f32, GROUND as f32];
        }
    }

    fn remember(&self, world: &mut World) {
        world.memory[WAY] = self.way(world);
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = times(action, 0.7);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let way = self.way(world);
            let fall = if Self::fallen(world) { self.fall_reward as f32 } else { 0.0 };
            world.memory[SHARED] = fall + gain(&mut world.memory[WAY], way);
        }
        world.memory[SHARED]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        let [goal, package, bar] = [GOAL_ID, PACKAGE, BAR].map(|id| &world.bodies[id]);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(agent.pos, package.pos));
        row.pair(minus(agent.pos, bar.pos));
        row.pair(minus(package.pos, goal.pos));
        row.pair(package.vel);
        row.pair(bar.vel);
        row.put(bar.spin);
        row.put(bar.rot.rem_euclid(std::f32::consts::PI));
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        let there = world.between(PACKAGE, GOAL_ID) < (PACKAGE_RADIUS + GOAL_RADIUS) as f32;
        (there || Self::fallen(world)).then_some(there)
    }
}

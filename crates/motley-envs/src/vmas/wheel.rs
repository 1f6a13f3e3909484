//! `wheel`: robots push a heavy bar, pinned in the middle, so that it turns at a set speed.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::scenario::{INK, Row, Scenario, paint, task_keys};
use super::shape::{Shape, Vec2, minus, plus, times};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct Wheel in "" {
        /// robots
        n_agents: usize = 4, Kind::Int(1, 16);
        /// length of the bar
        line_length: f64 = 2.0, Kind::Float(0.1, 10.0);
        /// mass of the bar
        line_mass: f64 = 30.0, Kind::Float(0.01, 1000.0);
        /// wanted angular velocity, in either direction
        desired_velocity: f64 = 0.05, Kind::Float(0.0, 10.0);
    }
}

const BAR: usize = 0;

impl Wheel {
    fn off(&self, world: &World) -> f32 {
        (world.bodies[BAR].spin.abs() - self.desired_velocity as f32).abs()
    }
}

impl Scenario for Wheel {
    const NAME: &'static str = "wheel";
    const SUMMARY: &'static str = "robots turn a heavy bar at a set speed";

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let bar = Body::obstacle("line", Shape::Line { length: self.line_length }, INK);
        let mut bodies = vec![
            Body { rotatable: true, mass: self.line_mass, ..bar },
            Body::mark("center", Shape::Circle { radius: 0.02 }, INK),
        ];
        let robot = |i| Body::agent(format!("agent_{i}"), Shape::Circle { radius: 0.03 }, paint(1));
        bodies.extend((0..self.n_agents).map(robot));
        World::new(bodies, (2..2 + self.n_agents).collect(), Vec::new(), 0, Rules::default())
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let team = world.team.clone();
        world.scatter(rng, &team, 0.0, [-1.0, 1.0], [-1.0, 1.0], &mut Vec::new());
        world.bodies[BAR].turn(rng.range(-std::f64::consts::FRAC_PI_2, std::f64::consts::FRAC_PI_2) as f32);
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = times(action, 0.6);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, _i: usize) -> f32 {
        -self.off(world)
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let (agent, bar) = (world.agent(i), &world.bodies[BAR]);
        let half = times(bar.axes[0], (self.line_length / 2.0) as f32);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(bar.pos, agent.pos));
        row.pair(minus(plus(bar.pos, half), agent.pos));
        row.pair(minus(minus(bar.pos, half), agent.pos));
        row.put(bar.rot.rem_euclid(std::f32::consts::PI));
        row.put(bar.spin.abs());
        row.put(self.off(world));
    }
}

//! `simple_spread`: robots cover landmarks without touching each other, as in the particle worlds, with other numbers.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::scenario::{GOAL, Row, Scenario, paint, task_keys};
use super::shape::{Shape, minus};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct SimpleSpread in "" {
        /// robots, and landmarks
        n_agents: usize = 3, Kind::Int(1, 16);
        /// whether robots see each other
        obs_agents: bool = true, Kind::Bool;
    }
}

const RADIUS: f64 = 0.15;

impl Scenario for SimpleSpread {
    const NAME: &'static str = "simple_spread";
    const SUMMARY: &'static str = "robots cover landmarks without touching each other";

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let landmark = |k| Body::mark(format!("landmark_{k}"), Shape::Circle { radius: 0.05 }, GOAL);
        let robot = |i| Body::agent(format!("agent_{i}"), Shape::Circle { radius: RADIUS }, paint(1));
        let mut bodies: Vec<Body> = (0..self.n_agents).map(landmark).collect();
        bodies.extend((0..self.n_agents).map(robot));
        World::new(bodies, (self.n_agents..2 * self.n_agents).collect(), Vec::new(), 1, Rules::default())
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let all: Vec<usize> = (0..world.bodies.len()).collect();
        world.scatter(rng, &all, 0.0, [-1.0, 1.0], [-1.0, 1.0], &mut Vec::new());
    }

    /// Everyone is paid the sum of what each would be paid: the uncovered ways, and 1 for each robot touched.
    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let mut ways = 0.0;
            for landmark in 0..self.n_agents {
                ways += world.team.iter().map(|&id| world.between(id, landmark)).fold(f32::INFINITY, f32::min);
            }
            let mut paid = 0.0;
            for &a in &world.team {
                let touch = 2.0 * RADIUS as f32;
                let hits = world.team.iter().filter(|&&b| b != a && world.between(a, b) < touch).count();
                paid -= ways + hits as f32;
            }
            world.memory[0] = paid;
        }
        world.memory[0]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        for landmark in 0..self.n_agents {
            row.pair(minus(world.bodies[landmark].pos, agent.pos));
        }
        if self.obs_agents {
            let others = world.team.iter().filter(|&&id| id != world.team[i]);
            others.for_each(|&id| row.pair(minus(world.bodies[id].pos, agent.pos)));
        }
    }
}

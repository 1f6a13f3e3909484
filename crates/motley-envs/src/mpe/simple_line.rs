//! `simple_line_v1`: N agents form a line between two landmarks.

use std::f64::consts::{PI, TAU};

use motley_core::{ConfigError, Key, TaskOptions};

use super::assignment::{MOST, matched, shared_reward};
use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, count, terminate_on_success};
use super::simple_formation::TAKEN;
use super::world::{Body, Flavour, Vec2, World, distance, minus};

/// Distance between the two landmarks.
const LENGTH: f64 = 1.25;

/// See the module.
#[derive(Debug)]
pub struct Line {
    agents: usize,
    ends: bool,
}

impl Line {
    /// The agents' distances to their places, evenly spaced from one landmark to the other.
    fn distances(&self, world: &World) -> [f64; MOST] {
        let [from, to] = [0, 1].map(|l| world.landmarks()[l].pos);
        let along = minus(to, from);
        let gaps = self.agents.saturating_sub(1).max(1) as f64;
        let place = |p: usize| {
            let share = p as f64 / gaps;
            [from[0] + share * along[0], from[1] + share * along[1]]
        };
        matched(self.agents, |a, p| distance(world.bodies[a].pos, place(p)))
    }
}

impl Scenario for Line {
    const NAME: &'static str = "simple_line_v1";
    const SUMMARY: &'static str = "agents form a line between two landmarks";
    const OLD_FLAVOURS: bool = false;

    fn keys() -> Vec<Key> {
        vec![count("num_agents", 4, 1, MOST as i64, "agents"), terminate_on_success("every agent is within 0.05 of its place")]
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self { agents: options.get("num_agents")?, ends: options.get("terminate_on_success")? })
    }

    fn world(&self) -> World {
        World::new(vec![Body::agent(0.03); self.agents], vec![Body::landmark(0.02); 2], 0)
    }

    fn agent_name(&self, i: usize) -> String {
        format!("agent_{i}")
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (Some(2), Some(0))
    }

    /// The second landmark lies in a random direction, turned by 5 degrees at a time until it is inside the arena.
    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        let n = world.agents;
        world.bodies[..n].iter_mut().for_each(|b| b.pos = rng.point(1.0));
        let from = rng.point(0.25);
        let mut angle = rng.uniform(0.0, TAU);
        let end = |angle: f64| -> Vec2 { [from[0] + LENGTH * angle.cos(), from[1] + LENGTH * angle.sin()] };
        let mut to = end(angle);
        while !(to[0].abs() < 1.0 && to[1].abs() < 1.0) {
            angle += 5.0 * (PI / 180.0);
            to = end(angle);
        }
        world.bodies[n].pos = from;
        world.bodies[n + 1].pos = to;
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        out.fill(shared_reward(&self.distances(world)[..self.agents]));
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        row.pair(world.bodies[i].vel);
        row.pair(world.bodies[i].pos);
        row.landmarks(world, i);
    }

    fn ends_on_success(&self) -> bool {
        self.ends
    }

    fn success(&self, world: &World) -> bool {
        self.distances(world)[..self.agents].iter().all(|&d| d < TAKEN)
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        if id < world.agents { [0.35, 0.35, 0.85] } else { [0.25; 3] }
    }

    fn goals(&self, _world: &World) -> Vec<(usize, &'static str)> {
        vec![(0, "end"), (1, "end")]
    }
}

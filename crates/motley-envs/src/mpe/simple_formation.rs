//! `simple_formation_v1`: N agents form a circle around a landmark.

use std::f64::consts::TAU;

use motley_core::{ConfigError, Key, TaskOptions};

use super::assignment::{MOST, matched, shared_reward};
use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, count, terminate_on_success};
use super::world::{Body, Flavour, Vec2, World, distance, minus};

const RADIUS: f64 = 0.5;
/// An agent this near to its place has taken it.
pub(super) const TAKEN: f64 = 0.05;

/// See the module.
#[derive(Debug)]
pub struct Formation {
    agents: usize,
    ends: bool,
}

impl Formation {
    /// The agents' distances to their places: evenly spaced on the circle, from the agent with the smallest angle on.
    fn distances(&self, world: &World) -> [f64; MOST] {
        let centre = world.landmarks()[0].pos;
        let angle = |d: Vec2| {
            let a = d[1].atan2(d[0]);
            if a < 0.0 { a + TAU } else { a }
        };
        let first = world.team().iter().map(|a| angle(minus(a.pos, centre))).fold(f64::INFINITY, f64::min);
        let mut places = [[0.0; 2]; MOST];
        for (i, place) in places.iter_mut().enumerate().take(self.agents) {
            let (sin, cos) = (first + i as f64 * (TAU / self.agents as f64)).sin_cos();
            *place = [centre[0] + RADIUS * cos, centre[1] + RADIUS * sin];
        }
        matched(self.agents, |a, p| distance(world.bodies[a].pos, places[p]))
    }
}

impl Scenario for Formation {
    const NAME: &'static str = "simple_formation_v1";
    const SUMMARY: &'static str = "agents form a circle around a landmark";
    const OLD_FLAVOURS: bool = false;

    fn keys() -> Vec<Key> {
        vec![count("num_agents", 4, 1, MOST as i64, "agents"), terminate_on_success("every agent is within 0.05 of its place")]
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self { agents: options.get("num_agents")?, ends: options.get("terminate_on_success")? })
    }

    fn world(&self) -> World {
        World::new(vec![Body::agent(0.05); self.agents], vec![Body::landmark(0.03)], 0)
    }

    fn agent_name(&self, i: usize) -> String {
        format!("agent_{i}")
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (Some(2), Some(0))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        let agents = world.agents;
        for (i, body) in world.bodies.iter_mut().enumerate() {
            body.pos = rng.point(if i < agents { 1.0 } else { 0.5 });
        }
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
        vec![(0, "centre")]
    }
}

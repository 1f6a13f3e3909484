//! `simple_adversary_v3`: good agents know the goal and must hide it from an adversary that also wants to be there.

use motley_core::{ConfigError, Key, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{MOST, Scenario, Sink, count, least, neighbours, others, scatter, see};
use super::world::{Body, Flavour, World, distance, distance2};

/// See the module. Agent 0 is the adversary; `marks[0]` is the goal.
#[derive(Debug)]
pub struct Adversary {
    good: usize,
    agent_neighbours: usize,
    landmark_neighbours: usize,
}

impl Scenario for Adversary {
    const NAME: &'static str = "simple_adversary_v3";
    const SUMMARY: &'static str = "good agents reach a goal that an adversary must not guess";

    fn keys() -> Vec<Key> {
        let [agents, landmarks] = neighbours();
        vec![
            count("num_agents", 2, 1, MOST as i64 - 1, "good agents, and as many landmarks; the team has one adversary more"),
            agents,
            landmarks,
        ]
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self {
            good: options.get("num_agents")?,
            agent_neighbours: options.get("num_agent_neighbors")?,
            landmark_neighbours: options.get("num_landmark_neighbors")?,
        })
    }

    fn world(&self) -> World {
        let agent = Body { collides: false, ..Body::agent(0.15) };
        World::new(vec![agent; self.good + 1], vec![Body::landmark(0.08); self.good], 2)
    }

    fn mark_bounds(&self) -> Vec<u32> {
        vec![self.good as u32]
    }

    fn agent_name(&self, i: usize) -> String {
        if i == 0 { "adversary_0".to_owned() } else { format!("agent_{}", i - 1) }
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (None, None)
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        world.marks[0] = rng.integers(self.good as u32);
        scatter(world, rng);
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        let goal = world.landmarks()[world.marks[0] as usize].pos;
        let adversary = distance(world.bodies[0].pos, goal);
        let nearest = least(world.team()[1..].iter().map(|a| distance2(a.pos, goal)));
        out.fill(-nearest + adversary);
        out[0] = -adversary;
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        if i > 0 {
            row.relative(world, i, world.agents + world.marks[0] as usize);
        }
        see((world, i), world.agents..world.bodies.len(), self.landmark_neighbours, row, 2, |row, id| row.relative(world, i, id));
        see((world, i), others(world, i), self.agent_neighbours, row, 2, |row, id| row.relative(world, i, id));
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        if id == 0 {
            [0.85, 0.35, 0.35]
        } else if id < world.agents {
            [0.35, 0.35, 0.85]
        } else if id - world.agents == world.marks[0] as usize {
            [0.15, 0.65, 0.15]
        } else {
            [0.15; 3]
        }
    }

    fn goals(&self, world: &World) -> Vec<(usize, &'static str)> {
        vec![(world.marks[0] as usize, "goal")]
    }
}

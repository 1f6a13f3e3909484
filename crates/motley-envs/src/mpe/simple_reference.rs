//! `simple_reference_v3`: each of two agents knows only where the other should go, and tells it.

use motley_core::{ConfigError, Key, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, local_ratio, scatter};
use super::world::{Body, Flavour, World, distance};

const COLOURS: [[f64; 3]; 3] = [[0.75, 0.25, 0.25], [0.25, 0.75, 0.25], [0.25, 0.25, 0.75]];

/// See the module. `marks[i]` is the landmark that agent `i` knows: the other agent's goal.
#[derive(Debug)]
pub struct Reference {
    local_ratio: f64,
}

impl Scenario for Reference {
    const NAME: &'static str = "simple_reference_v3";
    const SUMMARY: &'static str = "two agents tell each other where to go";

    fn keys() -> Vec<Key> {
        vec![local_ratio()]
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self { local_ratio: options.get("local_ratio")? })
    }

    fn world(&self) -> World {
        let agent = Body { collides: false, talks: true, ..Body::agent(0.05) };
        World::new(vec![agent; 2], vec![Body::landmark(0.05); 3], 10)
    }

    fn mark_bounds(&self) -> Vec<u32> {
        vec![3; 2]
    }

    fn agent_name(&self, i: usize) -> String {
        format!("agent_{i}")
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (None, Some(0))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        world.marks.iter_mut().for_each(|goal| *goal = rng.integers(3));
        scatter(world, rng);
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        let own = [0, 1].map(|i| -distance(world.bodies[1 - i].pos, world.landmarks()[world.marks[i] as usize].pos));
        let shared = (own[0] + own[1]) / 2.0;
        for (out, own) in out.iter_mut().zip(own) {
            *out = shared * (1.0 - self.local_ratio) + own * self.local_ratio;
        }
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        row.pair(world.bodies[i].vel);
        row.landmarks(world, i);
        row.all(&COLOURS[world.marks[i] as usize]);
        row.all(world.said(1 - i));
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        if id < 2 { COLOURS[world.marks[1 - id] as usize].map(|c| 0.6 * c) } else { COLOURS[id - 2] }
    }

    fn goals(&self, world: &World) -> Vec<(usize, &'static str)> {
        vec![(world.marks[1] as usize, "goal of agent_0"), (world.marks[0] as usize, "goal of agent_1")]
    }
}

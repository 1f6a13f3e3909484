//! `simple_v3`: one agent, one landmark. For debugging.

use motley_core::{ConfigError, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, scatter};
use super::world::{Body, Flavour, World, distance2};

/// See the module.
#[derive(Debug)]
pub struct Simple;

impl Scenario for Simple {
    const NAME: &'static str = "simple_v3";
    const SUMMARY: &'static str = "one agent goes to one landmark";

    fn read(_options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn world(&self) -> World {
        World::new(vec![Body { collides: false, ..Body::agent(0.05) }], vec![Body::landmark(0.05)], 0)
    }

    fn agent_name(&self, i: usize) -> String {
        format!("agent_{i}")
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (None, Some(0))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        scatter(world, rng);
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        out[0] = -distance2(world.bodies[0].pos, world.bodies[1].pos);
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        row.pair(world.bodies[i].vel);
        row.landmarks(world, i);
    }

    fn paint(&self, _world: &World, id: usize) -> [f64; 3] {
        [[0.25; 3], [0.75, 0.25, 0.25]][id.min(1)]
    }

    fn goals(&self, _world: &World) -> Vec<(usize, &'static str)> {
        vec![(0, "goal")]
    }
}

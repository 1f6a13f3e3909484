//! `simple_push_v3`: a good agent goes to its goal; an adversary that does not know the goal pushes it away.

use motley_core::{ConfigError, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, others, scatter};
use super::world::{Body, Flavour, World, distance};

/// See the module. Agent 0 is the adversary; `marks[0]` is the goal.
#[derive(Debug)]
pub struct Push;

/// Grey of `base` with `extra` on one channel.
fn tinted(base: f64, channel: usize, extra: f64) -> [f64; 3] {
    std::array::from_fn(|k| if k == channel { base + extra } else { base })
}

impl Scenario for Push {
    const NAME: &'static str = "simple_push_v3";
    const SUMMARY: &'static str = "an adversary pushes a good agent away from its goal";

    fn read(_options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn world(&self) -> World {
        World::new(vec![Body::agent(0.05); 2], vec![Body::landmark(0.05); 2], 2)
    }

    fn mark_bounds(&self) -> Vec<u32> {
        vec![2]
    }

    fn agent_name(&self, i: usize) -> String {
        ["adversary_0", "agent_0"][i.min(1)].to_owned()
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (None, Some(0))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        world.marks[0] = rng.integers(2);
        scatter(world, rng);
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        let goal = world.landmarks()[world.marks[0] as usize].pos;
        let (adversary, good) = (distance(goal, world.bodies[0].pos), distance(world.bodies[1].pos, goal));
        out.copy_from_slice(&[good - adversary, -good]);
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        let goal = world.marks[0] as usize;
        row.pair(world.bodies[i].vel);
        if i == 1 {
            row.relative(world, i, world.agents + goal);
            row.all(&tinted(0.25, goal + 1, 0.5));
        }
        row.landmarks(world, i);
        if i == 1 {
            (0..2).for_each(|l| row.all(&tinted(0.1, l + 1, 0.8)));
        }
        others(world, i).for_each(|id| row.relative(world, i, id));
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        match id {
            0 => [0.75, 0.25, 0.25],
            1 => tinted(0.25, world.marks[0] as usize + 1, 0.5),
            _ => tinted(0.1, id - 1, 0.8),
        }
    }

    fn goals(&self, world: &World) -> Vec<(usize, &'static str)> {
        vec![(world.marks[0] as usize, "goal")]
    }
}

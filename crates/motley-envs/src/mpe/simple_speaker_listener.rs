//! `simple_speaker_listener_v4`: a speaker that cannot move knows the goal; a listener that cannot speak must reach it.

use motley_core::{ConfigError, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, scatter};
use super::world::{Body, Flavour, World, distance2};

const COLOURS: [[f64; 3]; 3] = [[0.65, 0.15, 0.15], [0.15, 0.65, 0.15], [0.15, 0.15, 0.65]];

/// See the module. `marks[0]` is the goal.
#[derive(Debug)]
pub struct SpeakerListener;

impl Scenario for SpeakerListener {
    const NAME: &'static str = "simple_speaker_listener_v4";
    const SUMMARY: &'static str = "a speaker guides a listener to the goal";

    fn read(_options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn world(&self) -> World {
        let body = Body { collides: false, ..Body::agent(0.075) };
        let speaker = Body { movable: false, talks: true, ..body.clone() };
        World::new(vec![speaker, body], vec![Body::landmark(0.04); 3], 3)
    }

    fn mark_bounds(&self) -> Vec<u32> {
        vec![3]
    }

    fn agent_name(&self, i: usize) -> String {
        ["speaker_0", "listener_0"][i.min(1)].to_owned()
    }

    fn body_in_obs(&self, i: usize) -> (Option<usize>, Option<usize>) {
        (None, (i == 1).then_some(0))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        world.marks[0] = rng.integers(3);
        scatter(world, rng);
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        out.fill(-distance2(world.bodies[1].pos, world.landmarks()[world.marks[0] as usize].pos));
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        if i == 0 {
            row.all(&COLOURS[world.marks[0] as usize]);
        } else {
            row.pair(world.bodies[1].vel);
            row.landmarks(world, 1);
            row.all(world.said(0));
        }
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        match id {
            0 => [0.25; 3],
            1 => COLOURS[world.marks[0] as usize].map(|c| (c + 0.45).min(1.0)),
            _ => COLOURS[id - 2],
        }
    }

    fn goals(&self, world: &World) -> Vec<(usize, &'static str)> {
        vec![(world.marks[0] as usize, "goal")]
    }
}

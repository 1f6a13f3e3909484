//! `simple_crypto_v3`: Alice sends Bob a message over an open channel with a shared key; Eve listens without the key.

use motley_core::{ConfigError, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, scatter};
use super::world::{Body, Flavour, World};

const DIM: usize = 4;
const EVE: usize = 0;
const BOB: usize = 1;
const ALICE: usize = 2;

/// See the module. `marks` are the message and the key; both are unit vectors of R^4, given by their index.
#[derive(Debug)]
pub struct Crypto;

/// `|said - e_goal|^2`, and 0 for one who said nothing.
fn miss(said: &[f64], goal: usize) -> f64 {
    if said.iter().all(|&c| c == 0.0) {
        return 0.0;
    }
    said.iter().enumerate().map(|(k, c)| (c - f64::from(u8::from(k == goal))).powi(2)).sum()
}

impl Scenario for Crypto {
    const NAME: &'static str = "simple_crypto_v3";
    const SUMMARY: &'static str = "Alice and Bob share a key and a message that Eve must not read";

    fn read(_options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn world(&self) -> World {
        let agent = Body { collides: false, movable: false, talks: true, ..Body::agent(0.05) };
        World::new(vec![agent; 3], vec![Body::landmark(0.05); 2], DIM)
    }

    fn mark_bounds(&self) -> Vec<u32> {
        vec![2; 2]
    }

    fn agent_name(&self, i: usize) -> String {
        ["eve_0", "bob_0", "alice_0"][i.min(2)].to_owned()
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (None, None)
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        world.marks.iter_mut().for_each(|m| *m = rng.integers(2));
        scatter(world, rng);
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        let goal = world.marks[0] as usize;
        let eve = miss(world.said(EVE), goal);
        let bob = miss(world.said(BOB), goal);
        out.copy_from_slice(&[-eve, eve - bob, eve - bob]);
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        if i == ALICE {
            row.one_hot(DIM, world.marks[0] as usize);
        }
        if i != EVE {
            row.one_hot(DIM, world.marks[1] as usize);
        }
        if i != ALICE {
            row.all(world.said(ALICE));
        }
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        let unit = [[0.8, 0.2, 0.2], [0.2, 0.7, 0.2]];
        match id {
            EVE => [0.75, 0.25, 0.25],
            BOB => unit[world.marks[0] as usize & 1],
            ALICE => [0.25; 3],
            _ => unit[(id - world.agents) & 1],
        }
    }

    fn goals(&self, world: &World) -> Vec<(usize, &'static str)> {
        vec![(world.marks[0] as usize, "message"), (world.marks[1] as usize, "key")]
    }
}

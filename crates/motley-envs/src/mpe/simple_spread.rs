//! `simple_spread_v3`: N agents cover N landmarks without bumping into each other.

use motley_core::{ConfigError, Key, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{MOST, Scenario, Sink, count, least, local_ratio, neighbours, others, scatter, see, terminate_on_success};
use super::world::{Body, Flavour, World, distance2};

/// Silent agents still have this many channels, which others see as zeros.
const CHANNELS: usize = 2;
/// An agent this near covers a landmark.
const COVERED: f64 = 0.1;

/// See the module.
#[derive(Debug)]
pub struct Spread {
    agents: usize,
    local_ratio: f64,
    agent_neighbours: usize,
    landmark_neighbours: usize,
    ends: bool,
}

impl Scenario for Spread {
    const NAME: &'static str = "simple_spread_v3";
    const SUMMARY: &'static str = "agents spread over landmarks without collisions";

    fn keys() -> Vec<Key> {
        let [agents, landmarks] = neighbours();
        vec![
            count("num_agents", 3, 1, MOST as i64, "agents, and as many landmarks"),
            local_ratio(),
            terminate_on_success("every landmark has an agent within 0.1"),
            agents,
            landmarks,
        ]
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self {
            agents: options.get("num_agents")?,
            local_ratio: options.get("local_ratio")?,
            agent_neighbours: options.get("num_agent_neighbors")?,
            landmark_neighbours: options.get("num_landmark_neighbors")?,
            ends: options.get("terminate_on_success")?,
        })
    }

    fn world(&self) -> World {
        World::new(vec![Body::agent(0.15); self.agents], vec![Body::landmark(0.05); self.agents], CHANNELS)
    }

    fn agent_name(&self, i: usize) -> String {
        format!("agent_{i}")
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (Some(2), Some(0))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        scatter(world, rng);
    }

    fn rewards(&self, world: &World, flavour: Flavour, out: &mut [f64]) {
        let team = world.team();
        let mut shared = 0.0;
        for landmark in world.landmarks() {
            shared -= least(team.iter().map(|a| distance2(a.pos, landmark.pos)));
        }
        // The oldest version compares each agent with itself too, and calls that a collision.
        out.fill(if flavour == Flavour::V2 { -1.0 } else { 0.0 });
        for a in 0..team.len() {
            for b in a + 1..team.len() {
                if team[a].touches(&team[b]) {
                    out[a] -= 1.0;
                    out[b] -= 1.0;
                }
            }
        }
        out.iter_mut().for_each(|own| *own = shared * (1.0 - self.local_ratio) + *own * self.local_ratio);
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        row.pair(world.bodies[i].vel);
        row.pair(world.bodies[i].pos);
        see((world, i), world.agents..world.bodies.len(), self.landmark_neighbours, row, 2, |row, id| row.relative(world, i, id));
        see((world, i), others(world, i), self.agent_neighbours, row, 2, |row, id| row.relative(world, i, id));
        see((world, i), others(world, i), self.agent_neighbours, row, CHANNELS, |row, id| row.all(world.said(id)));
    }

    fn ends_on_success(&self) -> bool {
        self.ends
    }

    fn success(&self, world: &World) -> bool {
        world.landmarks().iter().all(|l| least(world.team().iter().map(|a| distance2(a.pos, l.pos))) < COVERED)
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        if id < world.agents { [0.35, 0.35, 0.85] } else { [0.25; 3] }
    }
}

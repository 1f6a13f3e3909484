//! `simple_tag_v3`: slow adversaries hunt fast good agents among obstacles.

use motley_core::{ConfigError, Key, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, boundary_cost, count, neighbours, others, see, terminate_on_success};
use super::world::{Body, Flavour, World};

/// See the module. Adversaries come first.
#[derive(Debug)]
pub struct Tag {
    good: usize,
    adversaries: usize,
    obstacles: usize,
    agent_neighbours: usize,
    landmark_neighbours: usize,
    ends: bool,
}

impl Tag {
    fn is_good(&self, i: usize) -> bool {
        i >= self.adversaries
    }
}

/// A body that runs: slow and wide where it hunts.
pub(super) fn runner(hunts: bool, size: f64) -> Body {
    let (accel, max_speed) = if hunts { (3.0, 1.0) } else { (4.0, 1.3) };
    Body { accel, max_speed, ..Body::agent(size) }
}

impl Scenario for Tag {
    const NAME: &'static str = "simple_tag_v3";
    const SUMMARY: &'static str = "adversaries catch faster good agents among obstacles";
    const SHARED_SUCCESS: bool = false;

    fn keys() -> Vec<Key> {
        let [agents, landmarks] = neighbours();
        vec![
            count("num_good", 1, 1, 32, "good agents, which are hunted"),
            count("num_adversaries", 3, 1, 32, "adversaries, which hunt"),
            count("num_obstacles", 2, 0, 32, "round obstacles"),
            terminate_on_success("every good agent is touched by an adversary at once"),
            agents,
            landmarks,
        ]
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self {
            good: options.get("num_good")?,
            adversaries: options.get("num_adversaries")?,
            obstacles: options.get("num_obstacles")?,
            agent_neighbours: options.get("num_agent_neighbors")?,
            landmark_neighbours: options.get("num_landmark_neighbors")?,
            ends: options.get("terminate_on_success")?,
        })
    }

    fn world(&self) -> World {
        let mut agents = vec![runner(true, 0.075); self.adversaries];
        agents.extend(vec![runner(false, 0.05); self.good]);
        let obstacle = Body { collides: true, ..Body::landmark(0.2) };
        World::new(agents, vec![obstacle; self.obstacles], 2)
    }

    fn agent_name(&self, i: usize) -> String {
        if self.is_good(i) { format!("agent_{}", i - self.adversaries) } else { format!("adversary_{i}") }
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (Some(2), Some(0))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        let agents = world.agents;
        for (i, body) in world.bodies.iter_mut().enumerate() {
            body.pos = rng.point(if i < agents { 1.0 } else { 0.9 });
        }
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        let (hunters, prey) = world.team().split_at(self.adversaries);
        let mut caught = 0.0;
        for (agent, reward) in prey.iter().zip(&mut out[self.adversaries..]) {
            let touches = hunters.iter().filter(|h| agent.touches(h)).count() as f64;
            caught += 10.0 * touches;
            *reward = -10.0 * touches - boundary_cost(agent.pos, 0) - boundary_cost(agent.pos, 1);
        }
        out[..self.adversaries].fill(caught);
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        row.pair(world.bodies[i].vel);
        row.pair(world.bodies[i].pos);
        see((world, i), world.agents..world.bodies.len(), self.landmark_neighbours, row, 2, |row, id| row.relative(world, i, id));
        see((world, i), others(world, i), self.agent_neighbours, row, 2, |row, id| row.relative(world, i, id));
        // With full sight adversaries take no room here; with limited sight every neighbour has a place, theirs is zero.
        let all_places = self.agent_neighbours > 0;
        see((world, i), others(world, i), self.agent_neighbours, row, 2, |row, id| {
            if self.is_good(id) {
                row.pair(world.bodies[id].vel);
            } else if all_places {
                row.pair([0.0; 2]);
            }
        });
    }

    fn ends_on_success(&self) -> bool {
        self.ends
    }

    fn success(&self, world: &World) -> bool {
        let (hunters, prey) = world.team().split_at(self.adversaries);
        prey.iter().all(|agent| hunters.iter().any(|h| agent.touches(h)))
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        if id >= world.agents {
            [0.25; 3]
        } else if self.is_good(id) {
            [0.35, 0.85, 0.35]
        } else {
            [0.85, 0.35, 0.35]
        }
    }
}

//! `simple_world_comm_v3`: simple_tag with food to eat, forests to hide in, and a leader that sees all and speaks to the hunters.

use motley_core::{ConfigError, Key, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, boundary_cost, count, least, others};
use super::simple_tag::runner;
use super::world::{Body, Flavour, World, distance2};

/// See the module. The leader comes first, then the other adversaries; landmarks are obstacles, food, forests.
#[derive(Debug)]
pub struct WorldComm {
    good: usize,
    adversaries: usize,
    obstacles: usize,
    food: usize,
    forests: usize,
}

impl WorldComm {
    fn is_good(&self, i: usize) -> bool {
        i >= self.adversaries
    }

    fn food<'a>(&self, world: &'a World) -> &'a [Body] {
        &world.landmarks()[self.obstacles..self.obstacles + self.food]
    }

    /// In which forests body `id` is, a bit for each.
    fn hidden(&self, world: &World, id: usize) -> u64 {
        let forests = &world.landmarks()[self.obstacles + self.food..];
        forests.iter().enumerate().fold(0, |bits, (f, forest)| bits | u64::from(world.bodies[id].touches(forest)) << f)
    }
}

impl Scenario for WorldComm {
    const NAME: &'static str = "simple_world_comm_v3";
    const SUMMARY: &'static str = "hunters with a speaking leader, prey with food and forests";

    fn keys() -> Vec<Key> {
        vec![
            count("num_good", 2, 1, 32, "good agents, which are hunted and eat"),
            count("num_adversaries", 4, 1, 32, "adversaries, the leader included"),
            count("num_obstacles", 1, 0, 32, "round obstacles"),
            count("num_food", 2, 1, 32, "pieces of food"),
            count("num_forests", 2, 0, 32, "forests, which hide what is inside"),
        ]
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self {
            good: options.get("num_good")?,
            adversaries: options.get("num_adversaries")?,
            obstacles: options.get("num_obstacles")?,
            food: options.get("num_food")?,
            forests: options.get("num_forests")?,
        })
    }

    fn world(&self) -> World {
        let mut agents = vec![runner(true, 0.075); self.adversaries];
        agents.extend(vec![runner(false, 0.045); self.good]);
        agents[0].talks = true;
        let mut landmarks = vec![Body { collides: true, ..Body::landmark(0.2) }; self.obstacles];
        landmarks.extend(vec![Body::landmark(0.03); self.food]);
        landmarks.extend(vec![Body::landmark(0.3); self.forests]);
        World::new(agents, landmarks, 4)
    }

    fn agent_name(&self, i: usize) -> String {
        match i {
            0 => "leadadversary_0".to_owned(),
            _ if self.is_good(i) => format!("agent_{}", i - self.adversaries),
            _ => format!("adversary_{}", i - 1),
        }
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (Some(2), Some(0))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        let agents = world.agents;
        for (i, body) in world.bodies.iter_mut().enumerate() {
            body.pos = rng.point(if i < agents { 1.0 } else { 0.9 });
        }
        // Food and forests are drawn a second time.
        for body in &mut world.bodies[agents + self.obstacles..] {
            body.pos = rng.point(0.9);
        }
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        let (hunters, prey) = world.team().split_at(self.adversaries);
        let (for_hunters, for_prey) = out.split_at_mut(self.adversaries);
        let mut caught = 0;
        for (agent, reward) in prey.iter().zip(for_prey) {
            let touches = hunters.iter().filter(|h| agent.touches(h)).count();
            caught += touches;
            *reward = -5.0 * touches as f64 - 2.0 * boundary_cost(agent.pos, 0) - 2.0 * boundary_cost(agent.pos, 1);
            *reward += 2.0 * self.food(world).iter().filter(|f| agent.touches(f)).count() as f64;
            *reward -= 0.05 * least(self.food(world).iter().map(|f| distance2(f.pos, agent.pos)));
        }
        for (agent, reward) in hunters.iter().zip(for_hunters) {
            *reward = -0.1 * least(prey.iter().map(|p| distance2(p.pos, agent.pos))) + 5.0 * caught as f64;
        }
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        row.pair(world.bodies[i].vel);
        row.pair(world.bodies[i].pos);
        row.landmarks(world, i);
        let here = self.hidden(world, i);
        let sees = |o: usize| {
            let there = self.hidden(world, o);
            i == 0 || here & there != 0 || here | there == 0
        };
        let mut seen = 0u64;
        for o in others(world, i) {
            if sees(o) {
                seen |= 1 << o;
                row.relative(world, i, o);
            } else {
                row.pair([0.0; 2]);
            }
        }
        let velocities = |row: &mut _| {
            for o in others(world, i).filter(|&o| self.is_good(o)) {
                Sink::pair(row, if seen >> o & 1 == 1 { world.bodies[o].vel } else { [0.0; 2] });
            }
        };
        if !self.is_good(i) {
            velocities(row);
        }
        (0..self.forests).for_each(|f| row.put(if here >> f & 1 == 1 { 1.0 } else { -1.0 }));
        if self.is_good(i) {
            velocities(row);
        } else {
            row.all(world.said(0));
        }
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        let Some(landmark) = id.checked_sub(world.agents) else {
            return if id == 0 {
                [0.65, 0.15, 0.15]
            } else if self.is_good(id) {
                [0.45, 0.95, 0.45]
            } else {
                [0.95, 0.45, 0.45]
            };
        };
        if landmark < self.obstacles {
            [0.25; 3]
        } else if landmark < self.obstacles + self.food {
            [0.15, 0.15, 0.65]
        } else {
            [0.6, 0.9, 0.6]
        }
    }
}

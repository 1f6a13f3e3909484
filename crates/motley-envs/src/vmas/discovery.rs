//! `discovery`: a target counts when two robots are near it at once, and then appears somewhere else.

use std::f64::consts::TAU;

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::lidar::Lidar;
use super::scenario::{GOAL, Row, Scenario, TOUCH, paint, task_keys};
use super::shape::{Shape, Vec2};
use super::world::{Body, Rules, World};

settings! {
    /// The settings; see the module.
    pub struct Options in "" {
        /// robots
        n_agents: usize = 5, Kind::Int(1, 16);
        /// targets
        n_targets: usize = 7, Kind::Int(1, 16);
        /// robots that a target takes
        agents_per_target: usize = 2, Kind::Int(1, 16);
        /// how near to a target they must be
        covering_range: f64 = 0.25, Kind::Float(0.05, 10.0);
        /// how far sensors see targets
        lidar_range: f64 = 0.35, Kind::Float(0.05, 10.0);
        /// whether robots also sense each other
        use_agent_lidar: bool = false, Kind::Bool;
        /// whether covered targets appear elsewhere; without it the episode ends with the last one
        targets_respawn: bool = true, Kind::Bool;
        /// whether everyone is paid half of what all together would be: a target with two robots pays each of the team once
        shared_reward: bool = false, Kind::Bool;
        /// reward of a covered target
        covering_rew_coeff: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// reward of a robot for each other that it touches
        agent_collision_penalty: f64 = 0.0, Kind::Float(-1e6, 1e6);
        /// reward of every step
        time_penalty: f64 = 0.0, Kind::Float(-1e6, 1e6);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Discovery {
    set: Options,
    targets: Lidar,
    robots: Lidar,
}

const RADIUS: f64 = 0.05;
/// Bodies start, and targets come back, this far from all others.
const APART: f64 = 0.2;
/// Where targets go that never come back.
const AWAY: Vec2 = [1000.0, 1000.0];

impl Discovery {
    /// Who is near which target: rewards of the step and which targets are covered, into the memory.
    fn cover(&self, world: &mut World) {
        let (n, targets) = (self.set.n_agents, self.set.n_targets);
        world.memory.fill(0.0);
        for target in 0..targets {
            let near = |i: &usize| world.between(world.team[*i], target) < self.set.covering_range as f32;
            let around: Vec<usize> = (0..n).filter(near).collect();
            if around.len() < self.set.agents_per_target {
                continue;
            }
            world.memory[n + target] = 1.0;
            around.iter().for_each(|i| world.memory[*i] += 1.0);
        }
        if self.set.shared_reward {
            let all: f32 = world.memory[..n].iter().sum();
            world.memory[..n].fill(all / 2.0);
        }
    }

    fn replace(&self, world: &mut World, rng: &mut Stream) {
        let (n, targets) = (self.set.n_agents, self.set.n_targets);
        let covered: Vec<usize> = (0..targets).filter(|t| world.memory[n + t] != 0.0).collect();
        if covered.is_empty() {
            return;
        }
        if self.set.targets_respawn {
            let others = (0..targets + n).filter(|id| !covered.contains(id));
            let mut taken: Vec<Vec2> = others.map(|id| world.bodies[id].pos).collect();
            world.scatter(rng, &covered, APART as f32, [-1.0, 1.0], [-1.0, 1.0], &mut taken);
        } else {
            covered.iter().for_each(|&t| world.bodies[t].pos = AWAY);
        }
    }
}

impl Scenario for Discovery {
    const NAME: &'static str = "discovery";
    const SUMMARY: &'static str = "robots find targets that take two of them at once";

    fn keys() -> Vec<Key> {
        task_keys(Options::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        let set = Options::read(options)?;
        if set.agents_per_target > set.n_agents {
            return Err(ConfigError::Value {
                key: "task.agents_per_target".into(),
                expected: format!("at most task.n_agents = {}: nobody could ever cover a target", set.n_agents),
                found: set.agents_per_target.to_string(),
            });
        }
        Ok(Self {
            targets: Lidar::new(15, 0.0, TAU, set.lidar_range),
            robots: Lidar::new(12, 0.05, TAU + 0.05, set.lidar_range),
            set,
        })
    }

    /// Memory: each robot's targets of the step, then which targets are covered.
    fn world(&self) -> World {
        let (n, targets) = (self.set.n_agents, self.set.n_targets);
        let disc = Shape::Circle { radius: RADIUS };
        let mut bodies: Vec<Body> = (0..targets).map(|t| Body::obstacle(format!("target_{t}"), disc, GOAL)).collect();
        bodies.extend((0..n).map(|i| Body::agent(format!("agent_{i}"), disc, paint(1))));
        let rules = Rules { substeps: 2, contact: 500.0, half_x: 1.0, half_y: 1.0, ..Rules::default() };
        World::new(bodies, (targets..targets + n).collect(), Vec::new(), n + targets, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let all: Vec<usize> = (0..world.bodies.len()).collect();
        world.scatter(rng, &all, APART as f32, [-1.0, 1.0], [-1.0, 1.0], &mut Vec::new());
    }

    fn reward(&self, world: &mut World, rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            self.cover(world);
        }
        let me = world.team[i];
        let hits = world.team.iter().filter(|&&id| id != me && world.between(me, id) - 2.0 * RADIUS as f32 <= TOUCH).count();
        let paid = world.memory[i] * self.set.covering_rew_coeff as f32;
        if i + 1 == world.n() {
            self.replace(world, rng);
        }
        paid + hits as f32 * self.set.agent_collision_penalty as f32 + self.set.time_penalty as f32
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        self.targets.measure(world, world.team[i], 0..self.set.n_targets, |x| row.put(x));
        if self.set.use_agent_lidar {
            self.robots.measure(world, world.team[i], world.team.iter().copied(), |x| row.put(x));
        }
    }

    fn winning(&self) -> bool {
        !self.set.targets_respawn
    }

    fn ended(&self, world: &World) -> Option<bool> {
        let all = || world.bodies[..self.set.n_targets].iter().all(|t| t.pos == AWAY);
        (!self.set.targets_respawn && all()).then_some(true)
    }
}

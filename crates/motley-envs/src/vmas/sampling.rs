//! `sampling`: robots spread over a field of unknown density and take each cell's sample once.

use std::f64::consts::TAU;

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::lidar::Lidar;
use super::scenario::{Row, Scenario, paint, task_keys};
use super::shape::{Shape, Vec2, plus};
use super::world::{Body, Rules, World};

settings! {
    /// The settings; see the module.
    pub struct Options in "" {
        /// robots
        n_agents: usize = 3, Kind::Int(1, 16);
        /// bumps of the density
        n_gaussians: usize = 3, Kind::Int(1, 16);
        /// variance of a bump
        cov: f64 = 0.05, Kind::Float(0.001, 10.0);
        /// whether samples pay the whole team
        shared_rew: bool = true, Kind::Bool;
        /// whether robots push each other and are sensed
        collisions: bool = true, Kind::Bool;
        /// how far sensors see
        lidar_range: f64 = 0.2, Kind::Float(0.05, 10.0);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Sampling {
    set: Options,
    lidar: Lidar,
}

const RADIUS: f64 = 0.025;
/// Robots' middles come no farther out than this in either direction.
const EDGE: f64 = 1.0 - RADIUS;
/// Cells along an axis, and their size.
const CELLS: usize = 40;
const CELL: f32 = 0.05;
/// Where densities around a robot are seen, in cells.
const AROUND: [Vec2; 8] = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]];
/// The greatest density, the bumps' places, the robots' samples, which cells are taken.
const PEAK: usize = 0;
const BUMPS: usize = 1;

impl Sampling {
    fn samples(&self) -> usize {
        BUMPS + 2 * self.set.n_gaussians
    }

    fn taken(&self) -> usize {
        self.samples() + self.set.n_agents
    }

    fn density(&self, world: &World, at: [f64; 2]) -> f64 {
        let cov = self.set.cov;
        let bumps = world.memory[BUMPS..self.samples()].as_chunks::<2>().0;
        let squared = |m: &Vec2| (at[0] - f64::from(m[0])).powi(2) + (at[1] - f64::from(m[1])).powi(2);
        bumps.iter().map(|m| (-0.5 * squared(m) / cov).exp() / (TAU * cov)).sum()
    }

    /// Where a sample that is asked for at `at` is taken: as far out as robots come. None outside of the field.
    fn spot(at: Vec2) -> Option<Vec2> {
        let edge = EDGE as f32;
        at.iter().all(|x| x.abs() <= 1.0).then(|| at.map(|x| x.clamp(-edge, edge)))
    }

    fn cell(&self, spot: Vec2) -> usize {
        let [x, y] = spot.map(|x| (x / CELL + CELLS as f32 / 2.0) as usize);
        self.taken() + x * CELLS + y
    }

    /// What a sample at `at` is worth: the density there against the greatest, 0 outside and where one was taken.
    fn worth(&self, world: &World, at: Vec2) -> f32 {
        let spot = Self::spot(at).filter(|&spot| world.memory[self.cell(spot)] == 0.0);
        spot.map_or(0.0, |spot| (self.density(world, spot.map(f64::from)) / f64::from(world.memory[PEAK])) as f32)
    }
}

impl Scenario for Sampling {
    const NAME: &'static str = "sampling";
    const SUMMARY: &'static str = "robots sample a field of unknown density, each cell once";
    const VERSION: u32 = 2;

    fn keys() -> Vec<Key> {
        task_keys(Options::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        let set = Options::read(options)?;
        Ok(Self { lidar: Lidar::new(12, 0.05, TAU + 0.05, set.lidar_range), set })
    }

    fn world(&self) -> World {
        let robot = |i| Body::agent(format!("agent_{i}"), Shape::Circle { radius: RADIUS }, paint(i));
        let layers = u8::from(self.set.collisions);
        let bodies = (0..self.set.n_agents).map(|i| Body { layers, ..robot(i) }).collect();
        let rules = Rules { half_x: EDGE as f32, half_y: EDGE as f32, ..Rules::default() };
        World::new(bodies, (0..self.set.n_agents).collect(), Vec::new(), self.taken() + CELLS * CELLS, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        for k in BUMPS..self.samples() {
            world.memory[k] = rng.range(-1.0, 1.0) as f32;
        }
        let (team, edge) = (world.team.clone(), EDGE as f32);
        world.scatter(rng, &team, 0.0, [-1.0, 1.0], [-1.0, 1.0], &mut Vec::new());
        // Whoever is drawn beyond the edge starts on it.
        team.iter().for_each(|&id| world.bodies[id].pos = world.bodies[id].pos.map(|x| x.clamp(-edge, edge)));
    }

    /// The greatest density is that at the cells' lower left corners, which are taken as samples are.
    fn remember(&self, world: &mut World) {
        let corner = |k: usize| (k as f64 * f64::from(CELL) - 1.0).max(-EDGE);
        let corners = (0..CELLS).flat_map(|x| (0..CELLS).map(move |y| [corner(x), corner(y)]));
        world.memory[PEAK] = corners.map(|at| self.density(world, at)).fold(0.0, f64::max) as f32;
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        let first = self.samples();
        if i == 0 {
            for k in 0..world.n() {
                let at = world.agent(k).pos;
                world.memory[first + k] = self.worth(world, at);
                if let Some(spot) = Self::spot(at) {
                    let cell = self.cell(spot);
                    world.memory[cell] = 1.0;
                }
            }
        }
        let samples = &world.memory[first..first + self.set.n_agents];
        if self.set.shared_rew { samples.iter().sum() } else { samples[i] }
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        if self.set.collisions {
            self.lidar.measure(world, world.team[i], world.team.iter().copied(), |x| row.put(x));
        }
        for [x, y] in AROUND {
            row.put(self.worth(world, plus(agent.pos, [x * CELL, y * CELL])));
        }
    }
}

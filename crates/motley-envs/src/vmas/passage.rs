//! `passage`: five robots go through a gap and take up the places of their goals, each its own.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::barrier::Barrier;
use super::scenario::{GOAL, Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, Vec2, minus, times};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct Passage in "" {
        /// gaps in the wall
        n_passages: usize = 1, Kind::Int(1, 19);
        /// whether every robot is paid the sum of all rewards
        shared_reward: bool = false, Kind::Bool;
        /// weight of the way gained
        shaping_factor: f64 = 100.0, Kind::Float(-1e6, 1e6);
    }
}

const N: usize = 5;
const RADIUS: f64 = 0.03333;
/// Distance of neighbours in the cross that robots and goals form.
const SPACING: f64 = 0.1;
const CROSS: [[f64; 2]; N] = [[0.0, 0.0], [SPACING, 0.0], [0.0, SPACING], [-SPACING, 0.0], [0.0, -SPACING]];
/// Reward of a robot for each thing that it touches.
const COLLISION: f32 = -10.0;
const BARRIER: Barrier = Barrier { first: N, boxes: 20, length: 0.103, width: 0.2, half: 1.03333 };
/// Ways to the goals, rewards.
const WAY: usize = 0;
const PAID: usize = N;

impl Passage {
    fn way(&self, world: &World, i: usize) -> f32 {
        world.between(world.team[i], i) * self.shaping_factor as f32
    }
}

impl Scenario for Passage {
    const NAME: &'static str = "passage";
    const SUMMARY: &'static str = "five robots file through a gap to places of their own";
    const VERSION: u32 = 2;

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let disc = Shape::Circle { radius: RADIUS };
        let mut bodies: Vec<Body> = (0..N).map(|i| Body::mark(format!("goal_{i}"), disc, GOAL)).collect();
        bodies.extend(BARRIER.bodies(&(0..self.n_passages).collect::<Vec<_>>()));
        let first = bodies.len();
        bodies.extend((0..N).map(|i| Body::agent(format!("agent_{i}"), disc, paint(i))));
        let rules = Rules { half_x: 1.0, half_y: 1.0, ..Rules::default() };
        World::new(bodies, (first..first + N).collect(), Vec::new(), 2 * N, rules)
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        BARRIER.shuffle(world, rng);
        let x = 1.0 - 2.0 * SPACING;
        // Robots and goals stand in the same order.
        let order = rng.permutation(N);
        for side in [-1.0, 1.0] {
            let middle = [rng.range(-x, x), side * rng.range(3.0 * SPACING, x)];
            for (i, &place) in order.iter().enumerate() {
                let at: Vec2 = std::array::from_fn(|axis| (middle[axis] + CROSS[place][axis]) as f32);
                let id = if side < 0.0 { world.team[i] } else { i };
                world.bodies[id].pos = at;
            }
        }
    }

    fn remember(&self, world: &mut World) {
        (0..N).for_each(|i| world.memory[WAY + i] = self.way(world, i));
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = times(action, 0.7);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            for k in 0..N {
                let (way, me) = (self.way(world, k), world.team[k]);
                let robots = world.team.iter().filter(|&&id| id != me && world.touching(me, id)).count();
                let hits = robots + BARRIER.touched(world, me);
                world.memory[PAID + k] = gain(&mut world.memory[WAY + k], way) + COLLISION * hits as f32;
            }
        }
        let paid = &world.memory[PAID..PAID + N];
        if self.shared_reward { paid.iter().sum() } else { paid[i] }
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(world.bodies[i].pos, agent.pos));
        for gap in 0..self.n_passages {
            row.pair(minus(world.bodies[BARRIER.first + gap].pos, agent.pos));
        }
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        (0..N).all(|i| world.between(world.team[i], i) <= (RADIUS / 2.0) as f32).then_some(true)
    }
}

//! `multi_give_way`: four robots cross a junction of two narrow corridors.

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::controller::STATE;
use super::give_way::{GOAL_AT, GOAL_RADIUS, HALF, LENGTH, RADIUS, SPEED, START, drive, goal, robot, rules, wall};
use super::scenario::{Row, Scenario, TOUCH, gain, task_keys};
use super::shape::{Vec2, minus};
use super::world::World;

settings! {
    /// See the module.
    pub struct MultiGiveWay in "" {
        /// whether robots are paid for the way that the team gained, not for their own
        shared_rew: bool = true, Kind::Bool;
        /// reward of each step with all robots at their goals
        final_reward: f64 = 0.01, Kind::Float(-1e6, 1e6);
        /// weight of the way gained towards the goals; with 0 every step costs 0.0001 of the way left instead
        pos_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// reward of a robot for each other that it touches
        agent_collision_penalty: f64 = -0.1, Kind::Float(-1e6, 1e6);
        /// wanted speeds below this count as none
        min_input_norm: f64 = 0.08, Kind::Float(0.0, 0.5);
    }
}

const N: usize = 4;
/// Shared reward, then each robot's way to its goal, what it gained, then the controllers.
const SHARED: usize = 0;
const WAY: usize = 1;
const GAINED: usize = WAY + N;
const CONTROL: usize = GAINED + N;
const GOALS: [Vec2; N] = [[0.0, -GOAL_AT], [-GOAL_AT, 0.0], [0.0, GOAL_AT], [GOAL_AT, 0.0]];
const STARTS: [Vec2; N] = [[-START, 0.0], [0.0, START], [START, 0.0], [0.0, -START]];

/// Price of the way left, where ways gained do not pay.
const LEFT: f32 = 1e-4;

impl MultiGiveWay {
    fn way(&self, world: &World, i: usize) -> f32 {
        world.between(world.team[i], i) * self.pos_shaping_factor as f32
    }
}

impl Scenario for MultiGiveWay {
    const NAME: &'static str = "multi_give_way";
    const SUMMARY: &'static str = "four robots cross a junction of narrow corridors";
    const MAX_STEPS: i64 = 300;

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let mut bodies: Vec<_> = GOALS.into_iter().enumerate().map(|(i, at)| goal(i, at)).collect();
        let long = (LENGTH - 2.0 * f64::from(HALF)) / 2.0;
        for k in 0..8 {
            let side = if k % 2 == 0 { -HALF } else { HALF };
            let along = if k / 2 % 2 == 0 { -1.35 } else { 1.35 };
            let at = if k < 4 { [along, side] } else { [side, along] };
            bodies.push(wall(format!("wall_{k}"), long, at, k >= 4));
        }
        for (k, at) in [[-2.5, 0.0], [2.5, 0.0], [0.0, -2.5], [0.0, 2.5]].into_iter().enumerate() {
            bodies.push(wall(format!("short_wall_{k}"), 2.0 * f64::from(HALF), at, k < 2));
        }
        let first = bodies.len();
        bodies.extend((0..N).map(robot));
        World::new(bodies, (first..first + N).collect(), Vec::new(), CONTROL + N * STATE, rules(0.1))
    }

    fn action_range(&self) -> f32 {
        SPEED
    }

    /// Every episode starts alike.
    fn place(&self, world: &mut World, _rng: &mut Stream) {
        (0..N).for_each(|i| world.agent_mut(i).pos = STARTS[i]);
    }

    fn remember(&self, world: &mut World) {
        (0..N).for_each(|i| world.memory[WAY + i] = self.way(world, i));
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        drive(world, i, action, self.min_input_norm as f32, CONTROL);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let arrived = (0..N).all(|k| world.between(world.team[k], k) < GOAL_RADIUS as f32);
            let mut gained = 0.0;
            for k in 0..N {
                let way = self.way(world, k);
                let nearer = gain(&mut world.memory[WAY + k], way);
                let left = world.between(world.team[k], k);
                world.memory[GAINED + k] = if self.pos_shaping_factor == 0.0 { -LEFT * left } else { nearer };
                gained += world.memory[GAINED + k];
            }
            let last = if arrived { self.final_reward as f32 } else { 0.0 };
            (0..N).for_each(|k| world.memory[GAINED + k] += last);
            world.memory[SHARED] = gained + last;
        }
        let me = world.team[i];
        let hits = world.team.iter().filter(|&&id| id != me && world.between(me, id) - 2.0 * RADIUS as f32 <= TOUCH).count();
        let own = world.memory[if self.shared_rew { SHARED } else { GAINED + i }];
        own + hits as f32 * self.agent_collision_penalty as f32
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let agent = world.agent(i);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(agent.pos, world.bodies[i].pos));
        row.put(world.between(world.team[i], i));
    }
}

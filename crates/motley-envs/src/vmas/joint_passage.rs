//! `joint_passage`: two robots carry a rod, with a weight off its middle, through a gap in a wall and on to a goal.
//!
//! Bettini, Shankar, Prorok, "Heterogeneous Multi-Robot Reinforcement Learning", AAMAS 2023.

use std::f64::consts::{FRAC_PI_2, PI};

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::barrier::Barrier;
use super::rod::{ends, lay, line_angle, rod, tie};
use super::scenario::{GOAL, INK, LOAD, Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, Vec2, distance, minus, times};
use super::world::{Body, Joint, ORDINARY, Rules, World};

settings! {
    /// See the module.
    pub struct JointPassage in "" {
        /// whether the rod carries a weight off its middle
        asym_package: bool = true, Kind::Bool;
        /// mass of the weight, or without one of the second robot; everything else that moves has 1
        mass_ratio: f64 = 5.0, Kind::Float(0.01, 1000.0);
        /// where the weight sits, from the middle (0) to the second robot (1)
        mass_position: f64 = 0.75, Kind::Float(-1.0, 1.0);
        /// whether the gap is always in the middle
        fixed_passage: bool = true, Kind::Bool;
        /// whether the rod starts at a random angle instead of level
        random_start_angle: bool = true, Kind::Bool;
        /// whether the goal has a random angle instead of being level
        random_goal_angle: bool = true, Kind::Bool;
        /// whether robots see the rod's angle
        observe_joint_angle: bool = false, Kind::Bool;
        /// length of the rod
        joint_length: f64 = 0.5, Kind::Float(0.1, 0.8);
        /// observed numbers are off by up to this much
        obs_noise: f64 = 0.0, Kind::Float(0.0, 10.0);
        /// weight of the way gained
        pos_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// weight of the turn gained
        rot_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
    }
}

/// What a rod touches: the boxes beside a gap that is always in the middle, else all boxes.
const BESIDE: u8 = 2;
const ROD: u8 = 4;
const WEIGHT: u8 = 8;
const ROBOT: u8 = 16;
/// Body of the rod, in all variants.
pub const ROD_ID: usize = 0;
/// Of a robot.
pub const RADIUS: f64 = 0.03333;
/// From the middle to the world's walls.
pub const HALF: f64 = 1.03333;
/// Thickness of the wall.
pub const WIDTH: f64 = 0.2;
/// Width of a gap.
pub const LENGTH: f64 = 0.1476;
/// Boxes of the wall.
pub const BOXES: usize = 14;
/// The box that is a gap.
const GAP: usize = BOXES / 2;
/// Arrived: this near, and this straight (in radians).
const NEAR: f32 = 0.01;
const STRAIGHT: f32 = 0.01;
/// The reward; ways to the gap and to the goal; turns to the gap and to the goal.
const SHARED: usize = 0;
const SHAPING: usize = 1;

/// The four walls around a joint's world.
pub fn walls() -> impl Iterator<Item = Body> {
    (0..4).map(|k| {
        let at = [[HALF, 0.0], [0.0, HALF], [-HALF, 0.0], [0.0, -HALF]][k].map(|x| x as f32);
        let rot = if k % 2 == 0 { FRAC_PI_2 } else { 0.0 } as f32;
        Body::obstacle(format!("wall_{k}"), Shape::Line { length: 2.0 * HALF }, INK).at(at, rot)
    })
}

/// A place for a rod's middle: its ends, with room for discs of `radius`, stay between `low` and `high` and inside the world.
pub fn room(rng: &mut Stream, angle: f64, length: f64, radius: f64, low: f64, high: f64) -> Vec2 {
    let (dx, dy) = ((angle.cos() * length / 2.0).abs() + radius, (angle.sin() * length / 2.0).abs() + radius);
    [rng.range(dx - 1.0, 1.0 - dx) as f32, rng.range(low + dy, high - dy) as f32]
}

/// Whether the rod lies at its goal.
pub fn arrived(world: &World, goal: usize) -> bool {
    let [rod, goal] = [&world.bodies[ROD_ID], &world.bodies[goal]];
    distance(rod.pos, goal.pos) <= NEAR && line_angle(rod.rot, goal.rot) <= STRAIGHT
}

/// Whether all robots are beyond the wall.
pub fn all_passed(world: &World) -> bool {
    world.agents().all(|a| a.pos[1] > (WIDTH / 2.0) as f32)
}

impl JointPassage {
    fn goal(&self) -> usize {
        if self.asym_package { 2 } else { 1 }
    }

    fn barrier(&self) -> Barrier {
        Barrier { first: self.goal() + 5, boxes: BOXES, length: LENGTH, width: WIDTH, half: HALF }
    }

    fn gap(&self) -> usize {
        self.barrier().first + GAP
    }

    fn shaping(&self, world: &World) -> [f32; 4] {
        let [rod, gap, goal] = [ROD_ID, self.gap(), self.goal()].map(|id| &world.bodies[id]);
        let (way, turn) = (self.pos_shaping_factor as f32, self.rot_shaping_factor as f32);
        [
            distance(rod.pos, gap.pos) * way,
            distance(rod.pos, goal.pos) * way,
            line_angle(rod.rot, FRAC_PI_2 as f32) * turn,
            line_angle(rod.rot, goal.rot) * turn,
        ]
    }
}

impl Scenario for JointPassage {
    const NAME: &'static str = "joint_passage";
    const SUMMARY: &'static str = "two robots carry a rod with a weight through a gap";
    const MAX_STEPS: i64 = 300;
    const VERSION: u32 = 2;

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let mut bodies = vec![rod("rod", self.joint_length, ROD, BESIDE)];
        if self.asym_package {
            let weight = Body::agent("mass", Shape::Circle { radius: RADIUS / 1.5 }, LOAD);
            bodies.push(Body { mass: self.mass_ratio, rotatable: false, layers: WEIGHT, meets: !ROBOT, ..weight });
        }
        bodies.push(Body::mark("joint_goal", Shape::Line { length: self.joint_length }, GOAL));
        bodies.extend(walls());
        // All boxes count as beside a gap until an episode says where the gaps are.
        let beside = |body: Body| Body { layers: if body.layers == 0 { 0 } else { ORDINARY | BESIDE }, ..body };
        bodies.extend(self.barrier().bodies(&[GAP]).into_iter().map(beside));
        let first = bodies.len();
        for i in 0..2 {
            let body = Body::agent(format!("agent_{i}"), Shape::Circle { radius: RADIUS }, paint(i));
            let mass = if i == 1 && !self.asym_package { self.mass_ratio } else { 1.0 };
            bodies.push(Body { layers: ROBOT, f_range: 0.8, mass, ..body });
        }
        let mut joints = tie(ROD_ID, self.joint_length, first, first + 1).to_vec();
        if self.asym_package {
            let at = (self.mass_position * self.joint_length / 2.0) as f32;
            joints.push(Joint::new([(ROD_ID, [at, 0.0]), (1, [0.0; 2])]));
        }
        let bounded = Rules { half_x: 1.0, half_y: 1.0, ..Rules::default() };
        let rules = if self.asym_package {
            Rules { substeps: 10, drag: 0.15, contact: 2500.0, joint: 900.0, ..bounded }
        } else {
            Rules { substeps: 7, contact: 1500.0, joint: 400.0, ..bounded }
        };
        World::new(bodies, vec![first, first + 1], joints, SHAPING + 4, rules)
    }

    /// Without a weight the robots may be of unlike mass.
    fn kind(&self, i: usize) -> String {
        if i == 1 && !self.asym_package && self.mass_ratio != 1.0 { "weighted" } else { "agent" }.into()
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        // The last box is never the gap.
        let slot = if self.fixed_passage { GAP } else { rng.below(BOXES as u32 - 1) as usize };
        self.barrier().fill(world, &[GAP], &[slot]);
        let turn = if self.random_start_angle { rng.range(-FRAC_PI_2, FRAC_PI_2) } else { 0.0 };
        // Either robot may have either end.
        let start = if rng.bernoulli(0.5) { turn + PI } else { turn };
        let wall = WIDTH / 2.0 + RADIUS;
        let middle = room(rng, start, self.joint_length, RADIUS, -1.0, -wall);
        let (first, second) = (world.team[0], world.team[1]);
        [world.bodies[first].pos, world.bodies[second].pos] = ends(middle, start, self.joint_length);
        lay(world, ROD_ID, first, second);
        if self.asym_package {
            let along = world.bodies[ROD_ID].axes[0];
            let off = times(along, (self.mass_position * self.joint_length / 2.0) as f32);
            world.bodies[1].pos = [middle[0] + off[0], middle[1] + off[1]];
        }
        let angle = if self.random_goal_angle { rng.range(-FRAC_PI_2, FRAC_PI_2) } else { 0.0 };
        let goal = room(rng, angle, self.joint_length, RADIUS, wall, 1.0);
        world.bodies[self.goal()].pos = goal;
        world.bodies[self.goal()].turn(angle as f32);
    }

    fn remember(&self, world: &mut World) {
        let gap = world.bodies[self.gap()].pos;
        let first = self.barrier().first;
        for body in world.bodies[first..first + BOXES].iter_mut().filter(|body| body.layers != 0) {
            let beside = !self.fixed_passage || (body.pos[0] - gap[0]).abs() < 1.5 * LENGTH as f32;
            body.layers = if beside { ORDINARY | BESIDE } else { ORDINARY };
        }
        let shaping = self.shaping(world);
        world.memory[SHAPING..SHAPING + 4].copy_from_slice(&shaping);
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = times(action, 0.8);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let now = self.shaping(world);
            let gained: [f32; 4] = std::array::from_fn(|k| gain(&mut world.memory[SHAPING + k], now[k]));
            let way = gained[usize::from(world.bodies[ROD_ID].pos[1] > 0.0)];
            let turn = gained[2 + usize::from(all_passed(world))];
            world.memory[SHARED] = way + turn;
        }
        world.memory[SHARED]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let (agent, goal) = (world.agent(i), &world.bodies[self.goal()]);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(agent.pos, goal.pos));
        row.pair(minus(agent.pos, world.bodies[self.gap()].pos));
        row.pair(goal.axes[0]);
        if self.observe_joint_angle {
            row.pair(world.bodies[ROD_ID].axes[0]);
        }
    }

    fn obs_noise(&self) -> f64 {
        self.obs_noise
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        arrived(world, self.goal()).then_some(true)
    }
}

//! `joint_passage_size`: a small and a large robot carry a rod through a wall with a gap for each.
//!
//! Bettini, Shankar, Prorok, "Heterogeneous Multi-Robot Reinforcement Learning", AAMAS 2023.

use std::f64::consts::{FRAC_PI_2, PI};

use motley_core::{ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::barrier::Barrier;
use super::controller::{STATE, VelocityController};
use super::joint_passage::{BOXES, HALF, LENGTH, RADIUS, ROD_ID, WIDTH, arrived, room, walls};
use super::rod::{ends, lay, line_angle, rod, tie};
use super::scenario::{GOAL, Row, Scenario, gain, paint, task_keys};
use super::shape::{Shape, Vec2, distance, minus, plus, times};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct JointPassageSize in "" {
        /// boxes that let through: 2 make the large gap, 1 or 2 the small one
        n_passages: usize = 3, Kind::Int(3, 4);
        /// whether the gaps always have the same places
        fixed_passage: bool = false, Kind::Bool;
        /// whether the rod starts at a random angle instead of upright
        random_start_angle: bool = false, Kind::Bool;
        /// whether robots see the rod's angle
        observe_joint_angle: bool = false, Kind::Bool;
        /// observed numbers are off by up to this much
        obs_noise: f64 = 0.0, Kind::Float(0.0, 10.0);
        /// weight of the way gained
        pos_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// whether the rod may turn either end to the small gap: with 4 passages both gaps are alike
        middle_angle_180: bool = false, Kind::Bool;
        /// weight of the turn gained
        rot_shaping_factor: f64 = 1.0, Kind::Float(-1e6, 1e6);
        /// reward of each robot for each box and wall that it comes within 0.005 of
        collision_reward: f64 = 0.0, Kind::Float(-1e6, 1e6);
        /// whether actions are wanted velocities, which a controller steers to, instead of forces
        use_vel_controller: bool = false, Kind::Bool;
        /// bound of each component of an action
        u_range: f64 = 1.0, Kind::Float(0.01, 100.0);
    }
}

const ROD: f64 = 0.52;
/// First box of the large gap, where that is fixed; the small one is to its right.
const FIXED: usize = 5;
/// Of the large robot.
const LARGE: f64 = 0.09999;
const GOAL_ID: usize = 1;
const FIRST_WALL: usize = 2;
const FIRST_BOX: usize = 6;
const BARRIER: Barrier = Barrier { first: FIRST_BOX, boxes: BOXES, length: LENGTH, width: WIDTH, half: HALF };
const PID: VelocityController = VelocityController { gain: 2.0, integral_time: 10.0, derivative_time: 0.00001 };
/// A robot so near to a box or a wall runs into it.
const TOUCH: f32 = 0.005;
/// The reward; ways to the middle of the gaps and to the goal; the turn to the gaps; the controllers.
const SHARED: usize = 0;
const SHAPING: usize = 1;
const CONTROL: usize = SHAPING + 3;

/// The middles of the large and of the small gap.
fn gaps(world: &World) -> [Vec2; 2] {
    let [a, b, small] = [0, 1, 2].map(|k| world.bodies[FIRST_BOX + k].pos);
    [times(plus(a, b), 0.5), small]
}

impl JointPassageSize {
    fn shaping(&self, world: &World) -> [f32; 3] {
        let [large, small] = gaps(world);
        let (rod, goal) = (&world.bodies[ROD_ID], &world.bodies[GOAL_ID]);
        // From the small robot to the large one: to the left where the large gap is left.
        let wanted = if small[0] > large[0] { -1.0 } else { 1.0 };
        let turn = if self.middle_angle_180 { line_angle(rod.rot, 0.0) } else { 1.0 - wanted * rod.axes[0][0] };
        let way = self.pos_shaping_factor as f32;
        [
            distance(rod.pos, times(plus(large, small), 0.5)) * way,
            distance(rod.pos, goal.pos) * way,
            turn * self.rot_shaping_factor as f32,
        ]
    }

    /// Contacts of robots with boxes and walls.
    fn hits(world: &World) -> usize {
        let solid = (FIRST_WALL..FIRST_BOX + BOXES).filter(|&id| world.bodies[id].layers != 0);
        solid.map(|id| world.team.iter().filter(|&&robot| world.gap(robot, id) <= TOUCH).count()).sum()
    }
}

impl Scenario for JointPassageSize {
    const NAME: &'static str = "joint_passage_size";
    const SUMMARY: &'static str = "a small and a large robot carry a rod through unlike gaps";
    const MAX_STEPS: i64 = 300;
    const VERSION: u32 = 2;

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let mut bodies = vec![rod("rod", ROD, 0, 0)];
        bodies.push(Body::mark("joint_goal", Shape::Line { length: ROD }, GOAL).at([0.0; 2], PI as f32));
        bodies.extend(walls());
        bodies.extend(BARRIER.bodies(&[0, 1, 2, 3][..self.n_passages]));
        let first = bodies.len();
        for (i, radius) in [RADIUS, LARGE].into_iter().enumerate() {
            let body = Body::agent(format!("agent_{i}"), Shape::Circle { radius }, paint(i));
            bodies.push(Body { f_range: 10.0, ..body });
        }
        let rules = Rules { substeps: 5, contact: 1500.0, joint: 400.0, half_x: 1.0, half_y: 1.0, ..Rules::default() };
        let joints = tie(ROD_ID, ROD, first, first + 1).to_vec();
        // Checkpoints of runs without controllers hold no memory of them.
        let memory = CONTROL + if self.use_vel_controller { 2 * STATE } else { 0 };
        World::new(bodies, vec![first, first + 1], joints, memory, rules)
    }

    fn kind(&self, i: usize) -> String {
        ["small", "large"][i].into()
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let last = BOXES as u32 - 2;
        let large = if self.fixed_passage { FIXED } else { rng.below(last + 1) as usize };
        // Two boxes stand between the gaps; where both sides have room, either may be.
        let (left, right) = (large >= 3 + self.n_passages - 3, large + 4 + self.n_passages - 3 < BOXES);
        let to_right = if left && right { self.fixed_passage || rng.bernoulli(0.5) } else { right };
        let small = if to_right { large + 4 } else { large - 3 };
        let next = if to_right { small + 1 } else { small.saturating_sub(1) };
        BARRIER.fill(world, &[0, 1, 2, 3][..self.n_passages], &[large, large + 1, small, next][..self.n_passages]);
        let wall = WIDTH / 2.0 + LARGE;
        let up = if rng.bernoulli(0.5) { FRAC_PI_2 } else { -FRAC_PI_2 };
        let start = if self.random_start_angle { rng.range(-PI, PI) } else { up };
        let middle = room(rng, start, ROD, LARGE, -1.0, -wall);
        let (first, second) = (world.team[0], world.team[1]);
        [world.bodies[first].pos, world.bodies[second].pos] = ends(middle, start, ROD);
        lay(world, ROD_ID, first, second);
        world.bodies[GOAL_ID].pos = room(rng, 0.0, ROD, LARGE, wall, 1.0);
    }

    fn remember(&self, world: &mut World) {
        let shaping = self.shaping(world);
        world.memory[SHAPING..SHAPING + 3].copy_from_slice(&shaping);
    }

    fn action_range(&self) -> f32 {
        self.u_range as f32
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        if self.use_vel_controller {
            PID.steer(world, i, action, CONTROL);
        } else {
            world.agent_mut(i).drive = action;
        }
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let now = self.shaping(world);
            let gained: [f32; 3] = std::array::from_fn(|k| gain(&mut world.memory[SHAPING + k], now[k]));
            let way = gained[usize::from(world.bodies[ROD_ID].pos[1] > 0.0)];
            let hits = if self.collision_reward == 0.0 { 0 } else { Self::hits(world) };
            world.memory[SHARED] = way + gained[2] + hits as f32 * self.collision_reward as f32;
        }
        world.memory[SHARED]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let (agent, goal) = (world.agent(i), &world.bodies[GOAL_ID]);
        row.pair(agent.pos);
        row.pair(agent.vel);
        row.pair(minus(agent.pos, goal.pos));
        for gap in gaps(world) {
            row.pair(minus(agent.pos, gap));
        }
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
        arrived(world, GOAL_ID).then_some(true)
    }
}

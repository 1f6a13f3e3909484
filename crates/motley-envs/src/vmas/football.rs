//! `football`: blue robots play against red ones that follow a script.
//!
//! Sizes, physics, rewards and observations are vmas's, measured on the running program. The script of the red robots is Motley's own
//! (vmas's plans paths along splines): the nearest to the ball pushes it to the blue goal, the next keeps the red goal, the others
//! stand between ball and goal.

use std::f32::consts::FRAC_PI_2;

use motley_core::{Color, ConfigError, Key, Kind, Stream, TaskOptions, settings};

use super::scenario::{INK, Row, Scenario, gain, task_keys};
use super::shape::{Shape, Vec2, distance, dot, minus, norm, plus, times};
use super::world::{Body, Rules, World};

settings! {
    /// See the module.
    pub struct Football in "" {
        /// blue robots: the team
        n_blue_agents: usize = 3, Kind::Int(1, 11);
        /// red robots, which follow a script
        n_red_agents: usize = 3, Kind::Int(0, 11);
        /// whether the red robots stand still
        disable_ai_red: bool = false, Kind::Bool;
        /// part of their engines' force that the red robots use
        ai_strength: f64 = 1.0, Kind::Float(0.0, 1.0);
        /// whether more than goals pays
        dense_reward: bool = true, Kind::Bool;
        /// weight of the ball's way to the red goal
        pos_shaping_factor_ball_goal: f64 = 10.0, Kind::Float(-1e6, 1e6);
        /// weight of the nearest blue robot's way to the ball
        pos_shaping_factor_agent_ball: f64 = 0.1, Kind::Float(-1e6, 1e6);
        /// nearer than this to the ball, that way is not paid; nor while the ball moves
        distance_to_ball_trigger: f64 = 0.4, Kind::Float(0.0, 10.0);
        /// reward for a goal; one against the team costs as much
        scoring_reward: f64 = 100.0, Kind::Float(-1e6, 1e6);
        /// whether robots see their own side
        observe_teammates: bool = true, Kind::Bool;
        /// whether robots see the other side
        observe_adversaries: bool = true, Kind::Bool;
    }
}

/// Half of the pitch, without the goals behind its ends.
const HALF: [f64; 2] = [1.5, 0.75];
/// Width and depth of a goal.
const GOAL: f64 = 0.35;
const DEPTH: f64 = 0.1;
const ROBOT: f64 = 0.025;
const BALL: f64 = 0.02;
/// Beyond this the ball is in the goal, which is where its middle lies for rewards and observations.
const LINE: f32 = (HALF[0] + BALL / 2.0) as f32;
/// An engine's force at full action.
const ENGINE: f32 = 0.1;
const LANDMARKS: usize = 12;
const BLUE: Color = Color(0.22, 0.49, 0.72, 1.0);
const RED: Color = Color(0.89, 0.1, 0.11, 1.0);
const NET: Color = Color(0.5, 0.5, 0.5, 0.5);
/// Within this of a wall the ball is pushed back, the less the faster it runs along the ends.
const EDGE: f32 = 0.05;
const FAST: f32 = 0.3;
/// Slower, the ball lies still.
const STILL: f32 = 1e-6;
/// The shared reward, the ball's way to the goal, the nearest robot's to the ball, and 1 or -1 after a goal.
const SHARED: usize = 0;
const WAY: usize = 1;
const SCORE: usize = 3;

/// Both ends of the pitch: half walls beside the goals, then the goals' backs and sides, right before left.
fn walls() -> Vec<Body> {
    let side = HALF[1] - GOAL / 2.0 - ROBOT;
    let (middle, back, half) = (HALF[1] / 2.0 + GOAL / 4.0, HALF[0] + DEPTH - ROBOT, GOAL / 2.0);
    let wall = |name: String, length: f64, at: [f64; 2], rot: f32| {
        Body::obstacle(name, Shape::Line { length }, INK).at(at.map(|x| x as f32), rot)
    };
    let both = |name: &str, length: f64, x: f64, y: f64, rot: f32| {
        [("right", x), ("left", -x)].map(|(end, x)| wall(format!("{end}_{name}"), length, [x, y], rot))
    };
    let mut bodies = Vec::with_capacity(LANDMARKS);
    bodies.extend(both("top_wall", side, HALF[0], middle, FRAC_PI_2));
    bodies.extend(both("bottom_wall", side, HALF[0], -middle, FRAC_PI_2));
    bodies.extend(both("goal_back", GOAL, back, 0.0, FRAC_PI_2));
    bodies.extend(both("goal_top", DEPTH, HALF[0] + DEPTH / 2.0 - ROBOT, half, 0.0));
    bodies.extend(both("goal_bottom", DEPTH, HALF[0] + DEPTH / 2.0 - ROBOT, -half, 0.0));
    let net = Shape::Rect { length: DEPTH, width: GOAL, hollow: false };
    let at = (HALF[0] + DEPTH / 2.0 - ROBOT / 2.0) as f32;
    bodies.push(Body::mark("blue_net", net, NET).at([-at, 0.0], 0.0));
    bodies.push(Body::mark("red_net", net, NET).at([at, 0.0], 0.0));
    bodies
}

/// The force on the ball: back from walls that are near, but for the mouths of the goals.
fn ball_script(pos: Vec2, vel: Vec2) -> Vec2 {
    let slow = 1.0 - vel[1].abs().min(FAST) / FAST;
    let mouth = pos[1].abs() < (GOAL / 2.0) as f32;
    std::array::from_fn(|axis| {
        let depth = pos[axis].abs() - (HALF[axis] as f32 - EDGE);
        if depth <= 0.0 || (axis == 0 && mouth) { 0.0 } else { -pos[axis].signum() * depth * slow }
    })
}

/// The action that brings a robot to a place and lets it rest there.
fn steer(body: &Body, to: Vec2) -> Vec2 {
    let wanted = minus(times(minus(to, body.pos), 10.0), times(body.vel, 20.0));
    let size = norm(wanted);
    if size > 1.0 { times(wanted, 1.0 / size) } else { wanted }
}

impl Football {
    fn ball(&self) -> usize {
        LANDMARKS + self.n_blue_agents + self.n_red_agents
    }

    fn reds(&self) -> std::ops::Range<usize> {
        LANDMARKS + self.n_blue_agents..self.ball()
    }

    /// The red robot of `ids` nearest to a place, the first of equals.
    fn nearest(world: &World, ids: impl Iterator<Item = usize>, to: Vec2) -> Option<usize> {
        ids.map(|id| (id, distance(world.bodies[id].pos, to))).reduce(|a, b| if b.1 < a.1 { b } else { a }).map(|(id, _)| id)
    }

    /// Where the red robots want to be.
    fn red_plan(&self, world: &World) -> Vec<(usize, Vec2)> {
        let (ball, own) = (world.bodies[self.ball()].pos, [LINE, 0.0]);
        let attacker = Self::nearest(world, self.reds(), ball);
        let keeper = Self::nearest(world, self.reds().filter(|id| Some(*id) != attacker), own);
        let ahead = minus([-LINE, 0.0], ball);
        let ahead = times(ahead, 1.0 / norm(ahead).max(1e-6));
        let mut plan = Vec::with_capacity(self.n_red_agents);
        for (k, id) in self.reds().enumerate() {
            let me = world.bodies[id].pos;
            plan.push((
                id,
                if Some(id) == attacker {
                    let off = minus(me, ball);
                    let (along, reach) = (dot(off, ahead), (ROBOT + BALL) as f32);
                    let side = [-ahead[1], ahead[0]];
                    let aside = dot(off, side);
                    if along < 0.0 && aside.abs() < 0.5 * reach {
                        // Behind the ball: through it.
                        plus(ball, times(ahead, 0.3))
                    } else if along < 0.0 {
                        plus(ball, times(ahead, -1.5 * reach))
                    } else {
                        // Before the ball: around it.
                        plus(ball, plus(times(ahead, -2.0 * reach), times(side, 3.0 * reach * aside.signum())))
                    }
                } else if Some(id) == keeper {
                    let mouth = (0.4 * GOAL) as f32;
                    [HALF[0] as f32 - 0.1, ball[1].clamp(-mouth, mouth)]
                } else {
                    let beside = if k % 2 == 0 { 0.25 } else { -0.25 };
                    plus(times(plus(ball, own), 0.5), [0.0, beside])
                },
            ));
        }
        plan
    }

    fn ways(&self, world: &World) -> ([f32; 2], f32) {
        let ball = world.bodies[self.ball()].pos;
        let near = world.agents().map(|agent| distance(agent.pos, ball)).fold(f32::INFINITY, f32::min);
        let goal = distance(ball, [LINE, 0.0]);
        let ways = [goal * self.pos_shaping_factor_ball_goal as f32, near * self.pos_shaping_factor_agent_ball as f32];
        (ways, near)
    }
}

impl Scenario for Football {
    const NAME: &'static str = "football";
    const SUMMARY: &'static str = "score against robots that follow a script";
    const MAX_STEPS: i64 = 500;

    fn keys() -> Vec<Key> {
        task_keys(Self::keys())
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Self::read(options)
    }

    fn world(&self) -> World {
        let robot = |name: String, color| Body { max_speed: 0.15, ..Body::agent(name, Shape::Circle { radius: ROBOT }, color) };
        let mut bodies = walls();
        bodies.extend((0..self.n_blue_agents).map(|i| robot(format!("agent_blue_{i}"), BLUE)));
        bodies.extend((0..self.n_red_agents).map(|i| robot(format!("agent_red_{i}"), RED)));
        bodies.push(Body { mass: 0.25, max_speed: 0.3, ..Body::agent("ball", Shape::Circle { radius: BALL }, INK) });
        let (half_x, half_y) = ((HALF[0] + DEPTH - ROBOT) as f32, (HALF[1] - ROBOT) as f32);
        let rules = Rules { substeps: 2, drag: 0.05, half_x, half_y, ..Rules::default() };
        World::new(bodies, (LANDMARKS..LANDMARKS + self.n_blue_agents).collect(), Vec::new(), 4, rules)
    }

    fn kind(&self, _i: usize) -> String {
        "blue".into()
    }

    /// The position that is observed counts from the red goal.
    fn body_in_obs(&self) -> (Option<usize>, Option<usize>) {
        (Some(12), Some(14))
    }

    fn place(&self, world: &mut World, rng: &mut Stream) {
        let (low, reds) = (-HALF[0] + ROBOT, self.reds());
        for id in LANDMARKS..self.ball() {
            let x = if reds.contains(&id) { rng.range(-ROBOT, -low) } else { rng.range(low, ROBOT) };
            world.bodies[id].pos = [x as f32, rng.range(-HALF[1], HALF[1]) as f32];
            world.bodies[id].turn(if reds.contains(&id) { std::f32::consts::PI } else { 0.0 });
        }
        world.bodies[self.ball()].pos = [0.0; 2];
    }

    fn remember(&self, world: &mut World) {
        let (ways, _) = self.ways(world);
        world.memory[WAY..WAY + 2].copy_from_slice(&ways);
    }

    fn control(&self, world: &mut World, i: usize, action: Vec2) {
        world.agent_mut(i).drive = times(action, ENGINE);
    }

    fn before_physics(&self, world: &mut World) {
        if !self.disable_ai_red {
            for (id, to) in self.red_plan(world) {
                let action = steer(&world.bodies[id], to);
                world.bodies[id].drive = times(action, ENGINE * self.ai_strength as f32);
            }
        }
        let ball = &mut world.bodies[self.ball()];
        ball.drive = ball_script(ball.pos, ball.vel);
    }

    fn reward(&self, world: &mut World, _rng: &mut Stream, i: usize) -> f32 {
        if i == 0 {
            let [x, y] = world.bodies[self.ball()].pos;
            let scored = x.abs() > LINE && y.abs() <= (GOAL / 2.0) as f32;
            world.memory[SCORE] = if scored { x.signum() } else { 0.0 };
            let (ways, near) = self.ways(world);
            let gained = [0, 1].map(|k| gain(&mut world.memory[WAY + k], ways[k]));
            let waiting = norm(world.bodies[self.ball()].vel) <= STILL;
            let approach = if waiting && near >= self.distance_to_ball_trigger as f32 { gained[1] } else { 0.0 };
            let dense = if self.dense_reward { gained[0] + approach } else { 0.0 };
            world.memory[SHARED] = dense + world.memory[SCORE] * self.scoring_reward as f32;
        }
        world.memory[SHARED]
    }

    fn observe(&self, world: &World, i: usize, row: &mut Row<'_>) {
        let (me, ball, goal) = (world.agent(i), &world.bodies[self.ball()], [LINE, 0.0]);
        row.pair(me.drive);
        row.pair(minus(me.pos, ball.pos));
        row.pair(minus(me.vel, ball.vel));
        row.pair(minus(ball.pos, goal));
        row.pair(ball.vel);
        row.pair(ball.drive);
        row.pair(minus(me.pos, goal));
        row.pair(me.vel);
        let mut other = |body: &Body| {
            row.pair(minus(me.pos, body.pos));
            row.pair(minus(me.vel, body.vel));
            row.pair(body.vel);
            row.pair(body.drive);
        };
        if self.observe_adversaries {
            self.reds().for_each(|id| other(&world.bodies[id]));
        }
        if self.observe_teammates {
            world.agents().enumerate().filter(|(k, _)| *k != i).for_each(|(_, body)| other(body));
        }
    }

    fn winning(&self) -> bool {
        true
    }

    fn ended(&self, world: &World) -> Option<bool> {
        (world.memory[SCORE] != 0.0).then(|| world.memory[SCORE] > 0.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

    use motley_core::{Actions, FrameBuf, Purpose, Status};

    use super::*;
    use crate::Registry;

    /// Forces that vmas's script put on the ball, measured.
    #[test]
    fn the_ball_keeps_off_walls() {
        for (pos, vel, force) in [
            ([1.0, 0.69], [0.0, 0.0], [0.0, 0.0]),
            ([1.49, 0.3], [0.0, 0.0], [-0.04, 0.0]),
            ([-1.49, 0.3], [0.0, 0.0], [0.04, 0.0]),
            ([1.48, 0.715], [0.0, 0.0], [-0.03, -0.015]),
            ([1.47, 0.174], [0.0, 0.0], [0.0, 0.0]),
            ([1.47, 0.176], [0.0, 0.0], [-0.02, 0.0]),
            ([1.52, 0.2], [0.0, 0.0], [-0.07, 0.0]),
            ([1.55, 0.1], [0.0, 0.0], [0.0, 0.0]),
            ([0.0, 0.72], [0.3, 0.0], [0.0, -0.02]),
            ([0.0, 0.72], [0.1, 0.2], [0.0, -0.006_667]),
            ([0.0, -0.72], [0.2, -0.1], [0.0, 0.013_333]),
            ([-1.48, 0.3], [-0.1, -0.15], [0.015, 0.0]),
            ([1.48, 0.3], [0.3, 0.4], [0.0, 0.0]),
        ] {
            let found = ball_script(pos, vel);
            assert!(distance(found, force) < 2e-6, "{pos:?} {vel:?}: {found:?}");
        }
    }

    /// What vmas paid for these moves.
    #[test]
    fn ways_and_goals_are_paid_as_in_vmas() {
        let registry = Registry::builtin();
        let options = crate::registry::options(&*registry.get("vmas/football").unwrap(), &[]).unwrap();
        let task = Football::read(&options).unwrap();
        let mut world = task.world();
        let mut rng = Stream::new(0, Purpose::Check, 0, 0);
        let start = |world: &mut World, ball: Vec2| {
            for (k, id) in (LANDMARKS..LANDMARKS + 6).enumerate() {
                world.bodies[id].pos = [if k < 3 { -1.2 } else { 1.2 }, [0.3, 0.0, -0.3][k % 3]];
            }
            world.bodies[LANDMARKS + 6].pos = ball;
            task.remember(world);
        };
        start(&mut world, [0.0; 2]);
        for (blue, ball, paid) in [
            ([-1.2, 0.3], [0.0, 0.0], 0.0),
            ([-1.2, 0.3], [0.3, 0.0], 2.97),
            ([-0.9, 0.3], [0.3, 0.0], 0.026_307),
            ([0.1, 0.0], [0.3, 0.0], 0.0),
            ([-0.5, 0.0], [0.3, 0.0], -0.06),
        ] {
            (world.bodies[LANDMARKS].pos, world.bodies[LANDMARKS + 6].pos) = (blue, ball);
            let found = task.reward(&mut world, &mut rng, 0);
            assert!((found - paid).abs() < 2e-6 && task.ended(&world).is_none(), "{blue:?} {ball:?}: {found}");
        }
        // Nobody is paid for coming nearer to a ball that rolls.
        start(&mut world, [0.0; 2]);
        (world.bodies[LANDMARKS + 1].pos, world.bodies[LANDMARKS + 6].vel) = ([-1.1, 0.0], [1e-5, 0.0]);
        assert!(task.reward(&mut world, &mut rng, 0).abs() < 2e-6);
        world.bodies[LANDMARKS + 6].vel = [0.0; 2];
        for (x, paid, end) in [(1.509, 0.0099, None), (1.511, 99.989_9, Some(true)), (-1.511, -100.009_995, Some(false))] {
            start(&mut world, [x - 0.001 * f32::signum(x), 0.0]);
            world.bodies[LANDMARKS + 6].pos = [x, 0.0];
            let found = task.reward(&mut world, &mut rng, 0);
            assert!((found - paid).abs() < 2e-4 && task.ended(&world) == end, "{x}: {found}");
        }
    }

    /// The script scores against a team that stands still, and not when it is switched off.
    #[test]
    fn the_red_robots_play() {
        let (mut lost, mut moved) = (0, 0);
        for seed in 0..6 {
            for off in [false, true] {
                let settings = [format!("disable_ai_red={off}"), "max_steps=1500".to_owned()];
                let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
                let mut env = Registry::builtin().make("vmas/football", &settings).unwrap();
                let spec = env.spec().clone();
                let mut buf = FrameBuf::new(&spec);
                env.reset(Stream::new(seed, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
                let still = vec![0.0; spec.action_len()];
                let status = loop {
                    let status = env.step(Actions::new(&spec, &still), &mut buf.frame()).unwrap();
                    if status.done() {
                        break status;
                    }
                };
                let goal_against = status == Status::Terminated && env.won() == Some(false);
                if off { moved += usize::from(status == Status::Terminated) } else { lost += usize::from(goal_against) }
            }
        }
        assert!(lost >= 4 && moved == 0, "{lost} of 6 lost, {moved} ended without anybody moving");
    }
}

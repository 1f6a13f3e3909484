//! The world of the robots: bodies that roll, push and pull each other, in f32 and a fixed order.
//!
//! A step is a few sub-steps. In each, forces are added in this order: engines, friction, gravity (body after body), joints
//! (pair after pair), contacts (kind after kind, see [`super::contact`]); then bodies are moved, velocity first.

use motley_core::{Color, Stream};

use super::contact::{self, Kind};
use super::elementary::direction;
use super::shape::{Shape, Vec2, cross, minus, norm, plus, times};

/// Draws until a free place is found, at most so many times; then the last draw is taken.
const TRIES: usize = 1000;

/// Everything is a [`Body::layers`] of its own unless it says otherwise.
pub const ORDINARY: u8 = 1;

/// An agent or a landmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// Unique within the world.
    pub name: String,
    /// Its outline.
    pub shape: Shape,
    /// Its mass.
    pub mass: f64,
    /// Whether forces move it.
    pub movable: bool,
    /// Whether torques turn it.
    pub rotatable: bool,
    /// What it is to others: bits. No bits, no contacts.
    pub layers: u8,
    /// The layers that it touches; contacts need both sides.
    pub meets: u8,
    /// Share of its velocity that a step takes away, where it differs from the world's.
    pub drag: Option<f64>,
    /// Friction on the ground, where it differs from the world's.
    pub friction: Option<f64>,
    /// Acceleration of its own besides the world's gravity (wind).
    pub gravity: Vec2,
    /// Bound of its speed.
    pub max_speed: f32,
    /// Bound of each component of its velocity.
    pub v_range: f32,
    /// Bound of each component of its engine's force.
    pub f_range: f32,
    /// How it is painted.
    pub color: Color,
    /// The engine's force in the coming step.
    pub drive: Vec2,
    /// Position.
    pub pos: Vec2,
    /// Velocity.
    pub vel: Vec2,
    /// Angle in radians; set by [`Body::turn`].
    pub rot: f32,
    /// Angular velocity.
    pub spin: f32,
    /// Unit vectors along and across `rot`.
    pub(super) axes: [Vec2; 2],
    pub(super) force: Vec2,
    pub(super) torque: f32,
}

impl Body {
    /// A body that moves, turns and collides.
    pub fn agent(name: impl Into<String>, shape: Shape, color: Color) -> Self {
        Self {
            name: name.into(),
            shape,
            mass: 1.0,
            movable: true,
            rotatable: true,
            layers: ORDINARY,
            meets: u8::MAX,
            drag: None,
            friction: None,
            gravity: [0.0; 2],
            max_speed: f32::INFINITY,
            v_range: f32::INFINITY,
            f_range: f32::INFINITY,
            color,
            drive: [0.0; 2],
            pos: [0.0; 2],
            vel: [0.0; 2],
            rot: 0.0,
            spin: 0.0,
            axes: [direction(0.0), direction(std::f32::consts::FRAC_PI_2)],
            force: [0.0; 2],
            torque: 0.0,
        }
    }

    /// A fixed obstacle.
    pub fn obstacle(name: impl Into<String>, shape: Shape, color: Color) -> Self {
        Self { movable: false, rotatable: false, ..Self::agent(name, shape, color) }
    }

    /// A fixed mark that nothing touches.
    pub fn mark(name: impl Into<String>, shape: Shape, color: Color) -> Self {
        Self { layers: 0, meets: 0, ..Self::obstacle(name, shape, color) }
    }

    /// Sets the angle.
    pub fn turn(&mut self, rot: f32) {
        self.rot = rot;
        self.axes = [direction(rot), direction(rot + std::f32::consts::FRAC_PI_2)];
    }

    /// The same body elsewhere, turned by `rot`.
    #[must_use]
    pub fn at(mut self, pos: Vec2, rot: f32) -> Self {
        self.pos = pos;
        self.turn(rot);
        self
    }

    /// A disc's radius; a line's or box's reach.
    pub fn radius(&self) -> f32 {
        self.shape.reach() as f32
    }

    /// Whether the two would touch if they were near.
    #[inline]
    pub fn meets(&self, other: &Self) -> bool {
        self.meets & other.layers != 0 && other.meets & self.layers != 0
    }

    #[inline]
    pub(super) fn push(&mut self, force: Vec2, torque: f32) {
        self.force = plus(self.force, force);
        self.torque += torque;
    }

    /// The world's place of a point given in the body's own frame.
    fn place(&self, anchor: Vec2) -> Vec2 {
        let [cos, sin] = self.axes[0];
        plus(self.pos, [anchor[0] * cos - anchor[1] * sin, anchor[0] * sin + anchor[1] * cos])
    }
}

/// Two bodies tied together at a point of each, free to turn about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Joint {
    /// The bodies, the lower index first.
    pub bodies: [usize; 2],
    /// The tied points, each in its body's own frame.
    pub anchors: [Vec2; 2],
}

impl Joint {
    /// Of two bodies with a point of each.
    pub fn new(mut ends: [(usize, Vec2); 2]) -> Self {
        ends.sort_by_key(|(body, _)| *body);
        Self { bodies: ends.map(|end| end.0), anchors: ends.map(|end| end.1) }
    }
}

/// Constants of the physics.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Seconds per step.
    pub dt: f64,
    /// Parts of a step.
    pub substeps: u32,
    /// Share of the velocity that a step takes away.
    pub drag: f64,
    /// Friction on the ground.
    pub friction: f64,
    /// Acceleration of everything.
    pub gravity: Vec2,
    /// Stiffness of contacts.
    pub contact: f64,
    /// Stiffness of joints.
    pub joint: f64,
    /// Softness of contacts and joints, in world units.
    pub margin: f64,
    /// Half width of the world, where it has walls.
    pub half_x: f32,
    /// Half height of the world, where it has walls.
    pub half_y: f32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            dt: 0.1,
            substeps: 1,
            drag: 0.25,
            friction: 0.0,
            gravity: [0.0; 2],
            contact: 100.0,
            joint: 130.0,
            margin: 1e-3,
            half_x: f32::INFINITY,
            half_y: f32::INFINITY,
        }
    }
}

/// Two bodies that may touch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pair {
    pub(super) kind: Kind,
    pub(super) a: usize,
    pub(super) b: usize,
    /// Square of the distance beyond which they cannot touch.
    reach2: f32,
    /// The distance beyond which vmas does not look: it forgets the thickness of lines.
    narrow: f32,
}

/// All bodies, what ties them, and what a scenario keeps for the episode.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// Landmarks, then agents.
    pub bodies: Vec<Body>,
    /// The bodies of the team's agents.
    pub team: Vec<usize>,
    /// Constants of the physics.
    pub rules: Rules,
    /// Numbers that a scenario keeps for the episode (shaping, goals, integrals of controllers).
    pub memory: Vec<f32>,
    joints: Vec<Joint>,
    pairs: Vec<Pair>,
}

impl World {
    /// A world at rest. `bodies` are landmarks, then agents; `team` are those of the agents that policies drive. What cannot
    /// touch by its layers now never will, nor will bodies that a joint ties.
    pub fn new(bodies: Vec<Body>, team: Vec<usize>, mut joints: Vec<Joint>, memory: usize, rules: Rules) -> Self {
        joints.sort_by_key(|joint| joint.bodies);
        let mut pairs = Vec::new();
        for (a, first) in bodies.iter().enumerate() {
            for (b, second) in bodies.iter().enumerate().skip(a + 1) {
                let mobile = [first, second].iter().any(|body| body.movable || body.rotatable);
                if !mobile || !first.meets(second) || joints.iter().any(|joint| joint.bodies == [a, b]) {
                    continue;
                }
                let Some((kind, swap)) = Kind::of(first.shape, second.shape) else { continue };
                let narrow = (first.shape.reach() + second.shape.reach()) as f32;
                let reach = narrow + super::shape::THICKNESS as f32 + 1e-4;
                let (a, b) = if swap { (b, a) } else { (a, b) };
                pairs.push(Pair { kind, a, b, reach2: reach * reach, narrow });
            }
        }
        pairs.sort_by_key(|pair| pair.kind);
        Self { bodies, team, rules, memory: vec![0.0; memory], joints, pairs }
    }

    /// Agent `i` of the team.
    #[inline]
    pub fn agent(&self, i: usize) -> &Body {
        &self.bodies[self.team[i]]
    }

    /// Agent `i` of the team.
    #[inline]
    pub fn agent_mut(&mut self, i: usize) -> &mut Body {
        &mut self.bodies[self.team[i]]
    }

    /// The team's agents.
    pub fn agents(&self) -> impl ExactSizeIterator<Item = &Body> {
        self.team.iter().map(|&id| &self.bodies[id])
    }

    /// How many agents the team has.
    #[inline]
    pub fn n(&self) -> usize {
        self.team.len()
    }

    /// Distance of two bodies' centres.
    #[inline]
    pub fn between(&self, a: usize, b: usize) -> f32 {
        norm(minus(self.bodies[a].pos, self.bodies[b].pos))
    }

    /// Whether two bodies overlap; hollow boxes count as solid.
    pub fn touching(&self, a: usize, b: usize) -> bool {
        self.gap(a, b) < 0.0
    }

    /// How far the surfaces of two bodies are apart ([`contact::gap`]); without end where they cannot meet.
    pub fn gap(&self, a: usize, b: usize) -> f32 {
        let (first, second) = (&self.bodies[a], &self.bodies[b]);
        match Kind::of(first.shape, second.shape) {
            Some((kind, false)) => contact::gap(kind, first, second),
            Some((kind, true)) => contact::gap(kind, second, first),
            None => f32::INFINITY,
        }
    }

    /// Everything still; the scenario then draws places and fills the memory.
    pub fn quiet(&mut self) {
        for body in &mut self.bodies {
            (body.vel, body.spin, body.drive) = ([0.0; 2], 0.0, [0.0; 2]);
        }
        self.memory.fill(0.0);
    }

    /// Places bodies one after the other, uniformly in `x` and `y`, at least `gap` from each other and from `taken`.
    pub fn scatter(&mut self, rng: &mut Stream, ids: &[usize], gap: f32, x: [f64; 2], y: [f64; 2], taken: &mut Vec<Vec2>) {
        for &id in ids {
            let mut pos = [0.0; 2];
            for _ in 0..TRIES {
                pos = [rng.range(x[0], x[1]) as f32, rng.range(y[0], y[1]) as f32];
                if taken.iter().all(|&other| norm(minus(pos, other)) >= gap) {
                    break;
                }
            }
            self.bodies[id].pos = pos;
            taken.push(pos);
        }
    }

    /// One step of physics.
    pub fn advance(&mut self) {
        for k in 0..self.rules.substeps {
            self.substep(k == 0, None);
        }
    }

    /// One sub-step. `only` names the pairs that are looked at, as [`World::near`] does; without it each pair is looked at
    /// that can touch.
    pub fn substep(&mut self, first: bool, only: Option<&[bool]>) {
        self.start_forces();
        self.pull_joints();
        self.touch(only);
        self.integrate(first);
    }

    /// Marks the pairs whose centres are as near as vmas asks before it looks at them. It does so over a whole batch at once: a
    /// pair that is near in one environment is looked at in all.
    pub fn near(&self, marks: &mut Vec<bool>) {
        marks.resize(self.pairs.len(), false);
        for (mark, pair) in marks.iter_mut().zip(&self.pairs) {
            *mark |= self.between(pair.a, pair.b) <= pair.narrow;
        }
    }

    fn start_forces(&mut self) {
        let h = (self.rules.dt / f64::from(self.rules.substeps)) as f32;
        let still = self.rules.gravity == [0.0; 2];
        for body in &mut self.bodies {
            body.torque = 0.0;
            if !body.movable {
                continue;
            }
            let mass = body.mass as f32;
            body.force = body.drive.map(|f| f.clamp(-body.f_range, body.f_range));
            let friction = body.friction.unwrap_or(self.rules.friction);
            if friction > 0.0 {
                let speed = norm(body.vel);
                if speed > 0.0 {
                    let most = (friction * body.mass) as f32;
                    let drawn = body.vel.map(|v| -(v / speed) * most.min(v.abs() / h * mass));
                    body.force = plus(body.force, drawn);
                }
            }
            if !still {
                body.force = plus(body.force, times(self.rules.gravity, mass));
            }
            if body.gravity != [0.0; 2] {
                body.force = plus(body.force, times(body.gravity, mass));
            }
        }
    }

    fn pull_joints(&mut self) {
        for joint in &self.joints {
            let [a, b] = joint.bodies;
            let points = [self.bodies[a].place(joint.anchors[0]), self.bodies[b].place(joint.anchors[1])];
            let Some(force) = contact::pull(points, self.rules.joint, self.rules.margin) else { continue };
            for ((id, point), force) in [a, b].into_iter().zip(points).zip([force, [-force[0], -force[1]]]) {
                let arm = minus(point, self.bodies[id].pos);
                self.bodies[id].push(force, cross(arm, force));
            }
        }
    }

    fn touch(&mut self, only: Option<&[bool]>) {
        for (k, pair) in self.pairs.iter().enumerate() {
            let (a, b) = (&self.bodies[pair.a], &self.bodies[pair.b]);
            let looked_at = match only {
                Some(marks) => marks.get(k).is_some_and(|mark| *mark),
                None => {
                    let [dx, dy] = minus(a.pos, b.pos);
                    dx * dx + dy * dy <= pair.reach2
                }
            };
            if !looked_at || !a.meets(b) {
                continue;
            }
            let Some(hit) = contact::between(pair.kind, a, b, &self.rules) else { continue };
            let back = [-hit.force[0], -hit.force[1]];
            let (arm_a, arm_b) = (minus(hit.points[0], a.pos), minus(hit.points[1], b.pos));
            self.bodies[pair.a].push(hit.force, cross(arm_a, hit.force));
            self.bodies[pair.b].push(back, cross(arm_b, back));
        }
    }

    fn integrate(&mut self, first: bool) {
        let rules = &self.rules;
        let h = (rules.dt / f64::from(rules.substeps)) as f32;
        for body in &mut self.bodies {
            let keep = (1.0 - body.drag.unwrap_or(rules.drag)) as f32;
            if body.movable {
                if first {
                    body.vel = times(body.vel, keep);
                }
                let mass = body.mass as f32;
                let bound = body.v_range;
                let mut vel: Vec2 = std::array::from_fn(|axis| body.vel[axis] + body.force[axis] / mass * h);
                if body.max_speed < f32::INFINITY {
                    let speed = norm(vel);
                    if speed > body.max_speed {
                        vel = vel.map(|v| v / speed * body.max_speed);
                    }
                }
                body.vel = vel.map(|v| v.clamp(-bound, bound));
                let [x, y] = plus(body.pos, times(body.vel, h));
                body.pos = [x.clamp(-rules.half_x, rules.half_x), y.clamp(-rules.half_y, rules.half_y)];
            }
            if body.rotatable && (body.torque != 0.0 || body.spin != 0.0) {
                if first {
                    body.spin *= keep;
                }
                body.spin += body.torque / body.shape.inertia(body.mass) as f32 * h;
                body.turn(body.rot + body.spin * h);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmas::rod::{lay, rod, tie};
    use crate::vmas::scenario::INK;

    fn disc(x: f32, radius: f64) -> Body {
        Body::agent(format!("at {x}"), Shape::Circle { radius }, INK).at([x, 0.0], 0.0)
    }

    fn wall(at: Vec2) -> Body {
        Body::obstacle("wall", Shape::Line { length: 1.0 }, INK).at(at, 0.0)
    }

    fn world(bodies: Vec<Body>, joints: Vec<Joint>, rules: Rules) -> World {
        World::new(bodies, vec![], joints, 0, rules)
    }

    /// Drag first, then the force, then the new velocity moves: 0.75 + 0.2 and 0.1 of it.
    #[test]
    fn a_step_is_as_the_rules_say() {
        let mut w = world(vec![disc(0.0, 0.1)], vec![], Rules::default());
        (w.bodies[0].vel, w.bodies[0].drive, w.bodies[0].mass) = ([1.0, 0.0], [4.0, 0.0], 2.0);
        w.advance();
        assert!((w.bodies[0].vel[0] - 0.95).abs() < 1e-6 && (w.bodies[0].pos[0] - 0.095).abs() < 1e-6);
        w.rules.half_x = 0.1;
        (0..3).for_each(|_| w.advance());
        assert_eq!(w.bodies[0].pos[0], 0.1, "the world ends there");
    }

    /// Just touching bodies push with `c k ln 2`; one step turns it into `f dt`. A hair apart there is nothing.
    #[test]
    fn contacts_push_apart_equally_and_begin_with_a_jump() {
        let hit = |gap: f32| {
            let mut w = world(vec![disc(0.0, 0.1), disc(0.2 + gap, 0.1)], vec![], Rules::default());
            w.advance();
            assert_eq!(w.bodies[0].vel[0], -w.bodies[1].vel[0]);
            w.bodies[1].vel[0]
        };
        let expected = 100.0 * 1e-3 * std::f32::consts::LN_2 * 0.1;
        assert!((hit(-1e-6) - expected).abs() < 2e-5, "{}", hit(-1e-6));
        assert_eq!(hit(1e-6), 0.0);
        assert!((hit(-0.05) - 0.5).abs() < 1e-3, "deep inside it is 100 times the depth");
    }

    /// Sliding friction takes 0.1 m a second and second away and stops a slow body dead.
    #[test]
    fn friction_slows_and_stops() {
        let mut w = world(vec![disc(0.0, 0.1)], vec![], Rules { drag: 0.0, friction: 0.1, ..Rules::default() });
        w.bodies[0].vel = [0.5, 0.0];
        w.advance();
        assert!((w.bodies[0].vel[0] - 0.49).abs() < 1e-6);
        w.bodies[0].vel = [0.004, 0.0];
        w.advance();
        assert!(w.bodies[0].vel[0].abs() < 1e-9);
    }

    /// Two robots pull a rod apart: its ends stay where it is tied, and momentum is kept.
    #[test]
    fn joints_hold() {
        let bodies = vec![rod("rod", 0.5, 0, 0), disc(-0.25, 0.05), disc(0.25, 0.05)];
        let rules = Rules { substeps: 15, joint: 900.0, drag: 0.0, ..Rules::default() };
        let mut w = world(bodies, tie(0, 0.5, 1, 2).to_vec(), rules);
        lay(&mut w, 0, 1, 2);
        let mut turned = 0.0_f32;
        for _ in 0..100 {
            (w.bodies[1].drive, w.bodies[2].drive) = ([-1.0, 0.3], [1.0, -0.3]);
            w.advance();
            turned = turned.min(w.bodies[0].rot);
        }
        let momentum = w.bodies.iter().fold([0.0, 0.0], |sum, b| plus(sum, b.vel));
        assert!(norm(momentum) < 1e-3, "{momentum:?}");
        assert!((w.between(1, 2) - 0.5).abs() < 0.02, "{}", w.between(1, 2));
        assert!(turned < -0.2, "the couple turned it: {turned}");
    }

    /// A disc at a line's end, nearer than its radius and the line's thickness: here it is pushed whatever others do; vmas looks at
    /// the pair only when it is near somewhere else too.
    #[test]
    fn the_broad_phase_is_each_environments_own() {
        let mut w = world(vec![wall([0.0; 2]), disc(0.603, 0.1)], vec![], Rules::default());
        let mut near = Vec::new();
        w.near(&mut near);
        assert_eq!(near, [false]);
        let mut alone = w.clone();
        alone.substep(true, Some(&near));
        assert_eq!(alone.bodies[1].vel, [0.0; 2]);
        w.substep(true, None);
        assert!(w.bodies[1].vel[0] > 0.0);
    }

    #[test]
    fn layers_decide_who_meets_whom() {
        let ghost = Body { layers: 0, ..disc(0.05, 0.1) };
        let shy = Body { meets: 2, ..disc(-0.05, 0.1) };
        let mut w = world(vec![disc(0.0, 0.1), ghost, shy], vec![], Rules::default());
        w.advance();
        assert!(w.bodies.iter().all(|b| b.vel == [0.0; 2]));
    }

    #[test]
    fn overlap_knows_all_shapes() {
        let solid = |hollow| Body::obstacle("box", Shape::Rect { length: 1.0, width: 1.0, hollow }, INK);
        let w =
            world(vec![solid(false), solid(true), disc(0.2, 0.1), wall([0.0, 0.1]), disc(0.605, 0.1)], vec![], Rules::default());
        let touching = |a, b| (w.touching(a, b), w.touching(b, a));
        assert_eq!(
            (touching(0, 2), touching(0, 4), touching(1, 2), touching(1, 4)),
            ((true, true), (true, true), (true, true), (true, true))
        );
        assert_eq!((touching(0, 3), touching(2, 4), touching(3, 2)), ((true, true), (false, false), (true, true)));
    }
}

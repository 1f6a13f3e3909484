//! Contacts of two bodies: where they are nearest, and how hard they push.

use super::shape::{Edges, Segment, Shape, THICKNESS, Vec2, core_below, distance, minus, norm};
use super::world::{Body, Rules};

/// Distances below this give no direction, hence no force.
const LEAST: f32 = 1e-6;

/// What touches what, in the order in which forces are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two discs.
    CircleCircle,
    /// A line and a disc.
    LineCircle,
    /// Two lines.
    LineLine,
    /// A box and a disc.
    RectCircle,
    /// A box and a line.
    RectLine,
}

impl Kind {
    /// The kind of two shapes and whether they change places in it. Boxes do not touch boxes: no task has two that move.
    pub fn of(a: Shape, b: Shape) -> Option<(Self, bool)> {
        use Shape::{Circle, Line, Rect};
        match (a, b) {
            (Circle { .. }, Circle { .. }) => Some((Self::CircleCircle, false)),
            (Line { .. }, Circle { .. }) => Some((Self::LineCircle, false)),
            (Circle { .. }, Line { .. }) => Some((Self::LineCircle, true)),
            (Line { .. }, Line { .. }) => Some((Self::LineLine, false)),
            (Rect { .. }, Circle { .. }) => Some((Self::RectCircle, false)),
            (Circle { .. }, Rect { .. }) => Some((Self::RectCircle, true)),
            (Rect { .. }, Line { .. }) => Some((Self::RectLine, false)),
            (Line { .. }, Rect { .. }) => Some((Self::RectLine, true)),
            (Rect { .. }, Rect { .. }) => None,
        }
    }
}

/// A force on the first body (the second gets its opposite) and the point of each body at which it acts.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    /// On the first body.
    pub force: Vec2,
    /// Of the first and of the second body.
    pub points: [Vec2; 2],
}

/// `k ln(1 + exp(x / k))`: how far two things are inside each other, softly. Exponential and logarithm are rounded to f32 one after the
/// other, as vmas has them; in f64 in between, so that every machine gives the same bits.
#[inline]
fn soft(x: f32, k: f32) -> f32 {
    let z = x / k;
    let tail = f64::from(-z.abs()).exp() as f32;
    (z.max(0.0) + f64::from(tail).ln_1p() as f32) * k
}

/// The force that drives point `a` away from point `b` when they are nearer than `least`: it jumps from 0 to
/// `stiffness k ln 2` there and grows on linearly.
#[inline]
fn push(a: Vec2, b: Vec2, least: f32, rules: &Rules) -> Option<Vec2> {
    let apart = minus(a, b);
    let dist = norm(apart);
    if !(LEAST..=least).contains(&dist) {
        return None;
    }
    let depth = soft(least - dist, rules.margin as f32);
    Some(apart.map(|x| rules.contact as f32 * x / dist * depth))
}

/// The force that pulls the first of two tied points to the second.
#[inline]
pub fn pull([a, b]: [Vec2; 2], stiffness: f64, margin: f64) -> Option<Vec2> {
    let apart = minus(a, b);
    let dist = norm(apart);
    if dist < LEAST {
        return None;
    }
    let stretch = soft(dist, margin as f32);
    Some(apart.map(|x| -(stiffness as f32) * x / dist * stretch))
}

#[inline]
fn segment(body: &Body) -> Segment {
    let Shape::Line { length } = body.shape else { return Segment { at: body.pos, along: body.axes[0], length: 0.0 } };
    Segment { at: body.pos, along: body.axes[0], length: length as f32 }
}

#[inline]
fn edges(body: &Body) -> (Edges, bool) {
    let (length, width, hollow) = match body.shape {
        Shape::Rect { length, width, hollow } => (length as f32, width as f32, hollow),
        _ => (0.0, 0.0, true),
    };
    let [along, across] = body.axes;
    (Edges::new(body.pos, along, across, length, width), hollow)
}

/// The contact of two near bodies, if they touch.
#[inline]
pub fn between(kind: Kind, a: &Body, b: &Body, rules: &Rules) -> Option<Hit> {
    let thick = THICKNESS as f32;
    let (force, points) = match kind {
        Kind::CircleCircle => (push(a.pos, b.pos, a.radius() + b.radius(), rules)?, [a.pos, b.pos]),
        Kind::LineCircle => {
            let point = segment(a).closest(b.pos);
            (push(point, b.pos, b.radius() + thick, rules)?, [point, b.pos])
        }
        Kind::LineLine => {
            let points = segment(a).closest_pair(&segment(b));
            (push(points[0], points[1], thick, rules)?, points)
        }
        Kind::RectCircle => {
            let (edges, hollow) = edges(a);
            let point = edges.closest(b.pos);
            let (core, depth) = if hollow { (point, 0.0) } else { core_below(b.pos, point, a.pos) };
            (push(core, b.pos, b.radius() + thick + depth, rules)?, [point, b.pos])
        }
        Kind::RectLine => {
            let (edges, hollow) = edges(a);
            let [point, other] = edges.closest_pair(&segment(b));
            let (core, depth) = if hollow { (point, 0.0) } else { core_below(other, point, a.pos) };
            (push(core, other, thick + depth, rules)?, [point, other])
        }
    };
    Some(Hit { force, points })
}

/// How far the surfaces of two bodies are apart, lines and boxes with their thickness; below 0 where they overlap. Hollow boxes count as
/// solid: what is inside overlaps.
pub fn gap(kind: Kind, a: &Body, b: &Body) -> f32 {
    let thick = THICKNESS as f32;
    match kind {
        Kind::CircleCircle => distance(a.pos, b.pos) - a.radius() - b.radius(),
        Kind::LineCircle => distance(segment(a).closest(b.pos), b.pos) - b.radius() - thick,
        Kind::LineLine => {
            let [x, y] = segment(a).closest_pair(&segment(b));
            distance(x, y) - thick
        }
        Kind::RectCircle => {
            let point = edges(a).0.closest(b.pos);
            let (core, depth) = core_below(b.pos, point, a.pos);
            distance(core, b.pos) - depth - b.radius() - thick
        }
        Kind::RectLine => {
            let [point, other] = edges(a).0.closest_pair(&segment(b));
            let (core, depth) = core_below(other, point, a.pos);
            distance(core, other) - depth - thick
        }
    }
}

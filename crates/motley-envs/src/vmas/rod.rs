//! A rod between two bodies, tied to both at its ends: what vmas calls a joint of some length.

use std::f32::consts::PI;

use super::scenario::INK;
use super::shape::{Shape, Vec2, minus, plus, times};
use super::world::{Body, Joint, World};

/// The rod's body, of mass 1. `layers` and `meets` say what it touches; 0 for nothing.
pub fn rod(name: &str, length: f64, layers: u8, meets: u8) -> Body {
    Body { layers, meets, ..Body::agent(name, Shape::Line { length }, INK) }
}

/// Ties the ends of the rod `id` to the middles of the bodies `first` (tail) and `second` (head).
pub fn tie(id: usize, length: f64, first: usize, second: usize) -> [Joint; 2] {
    let half = (length / 2.0) as f32;
    [(first, -half), (second, half)].map(|(body, at)| Joint::new([(id, [at, 0.0]), (body, [0.0; 2])]))
}

/// Lays the rod `id` between the bodies that it is tied to.
pub fn lay(world: &mut World, id: usize, first: usize, second: usize) {
    let (a, b) = (world.bodies[first].pos, world.bodies[second].pos);
    let along = minus(b, a);
    let rod = &mut world.bodies[id];
    rod.pos = times(plus(a, b), 0.5);
    rod.turn(along[1].atan2(along[0]));
}

/// How far two directions of a line are apart, in `0..=PI / 2`: a line looks the same when turned by half a turn.
pub fn line_angle(a: f32, b: f32) -> f32 {
    let apart = (a.rem_euclid(PI) - b.rem_euclid(PI)).abs();
    apart.min(PI - apart)
}

/// The ends of a rod of `length` around `at`, tail first.
pub fn ends(at: Vec2, angle: f64, length: f64) -> [Vec2; 2] {
    let half = [(angle.cos() * length / 2.0) as f32, (angle.sin() * length / 2.0) as f32];
    [minus(at, half), plus(at, half)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_no_head() {
        for (a, b, expected) in
            [(0.1, 0.4, 0.3), (0.1, 0.4 + PI, 0.3), (-0.1, 0.1, 0.2), (PI - 0.1, 0.1, 0.2), (0.0, PI / 2.0, PI / 2.0)]
        {
            assert!((line_angle(a, b) - expected).abs() < 1e-6, "{a} {b}");
        }
    }
}

//! Range sensors: the distance to the nearest disc along rays.

use super::elementary::direction;
use super::shape::{Segment, Vec2, dot, minus, norm, plus, times};
use super::world::World;

/// Rays of equal range in all directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Lidar {
    /// What a ray that meets nothing reads.
    pub range: f32,
    rays: Vec<Vec2>,
}

impl Lidar {
    /// `rays` rays from angle `from` to `to`, which is left out.
    pub fn new(rays: usize, from: f64, to: f64, range: f64) -> Self {
        let angle = |k: usize| (from + (to - from) * k as f64 / rays as f64) as f32;
        Self { range: range as f32, rays: (0..rays).map(|k| direction(angle(k))).collect() }
    }

    /// Tells `reading` the distance along each ray from body `me` to the nearest of the discs `ids`.
    pub fn measure(&self, world: &World, me: usize, ids: impl Iterator<Item = usize> + Clone, mut reading: impl FnMut(f32)) {
        let eye = world.bodies[me].pos;
        for &ray in &self.rays {
            let mut nearest = self.range;
            for id in ids.clone().filter(|&id| id != me) {
                let disc = &world.bodies[id];
                nearest = nearest.min(self.along(eye, ray, disc.pos, disc.radius()));
            }
            reading(nearest);
        }
    }

    /// Where a ray enters a disc before its range, else the range.
    #[inline]
    fn along(&self, eye: Vec2, ray: Vec2, centre: Vec2, radius: f32) -> f32 {
        let to = minus(centre, eye);
        let reach = self.range + radius;
        if dot(to, to) > reach * reach * 1.001 || dot(to, ray) <= 0.0 {
            return self.range;
        }
        // An endless line along the ray, about the middle of the ray's range.
        let line = Segment { at: plus(eye, times(ray, self.range / 2.0)), along: ray, length: f32::INFINITY };
        let foot = line.closest(centre);
        let off = norm(minus(centre, foot));
        if off >= radius {
            return self.range;
        }
        let half_chord = (radius * radius - off * off).max(0.0).sqrt();
        norm(minus(foot, eye)) - half_chord
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmas::scenario::paint;
    use crate::vmas::shape::Shape;
    use crate::vmas::world::{Body, Rules};

    /// Four rays, a disc ahead at 1 to the right, a nearer one behind it in y, one out of range.
    #[test]
    fn rays_end_at_the_nearest_disc() {
        let disc = |x, y, radius| Body::obstacle("o", Shape::Circle { radius }, paint(0)).at([x, y], 0.0);
        let bodies =
            vec![disc(0.0, 0.0, 0.1), disc(1.0, 0.0, 0.25), disc(0.75, 0.3, 0.1), disc(0.0, 3.0, 0.1), disc(-0.5, 0.3, 0.5)];
        let world = World::new(bodies, vec![0], Vec::new(), 0, Rules::default());
        let mut read = Vec::new();
        Lidar::new(4, 0.0, std::f64::consts::TAU, 2.0).measure(&world, 0, 0..5, |x| read.push(x));
        let left = 0.5 - (0.25_f32 - 0.09).sqrt();
        for (found, expected) in read.iter().zip([0.75, 2.0, left, 2.0]) {
            assert!((found - expected).abs() < 1e-6, "{read:?}");
        }
    }
}

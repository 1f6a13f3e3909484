//! A wall of boxes across the middle of the world, with gaps where boxes let everything through.

use motley_core::{Color, Stream};

use super::scenario::INK;
use super::shape::{Shape, Vec2};
use super::world::{Body, World};

/// A gap's box is there and is neither seen nor felt.
const UNSEEN: Color = Color(0.0, 0.0, 0.0, 0.0);

/// The wall: how many boxes of which size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Barrier {
    /// Body of the first box.
    pub first: usize,
    /// How many boxes there are.
    pub boxes: usize,
    /// Width of a box along the wall.
    pub length: f64,
    /// Thickness of the wall.
    pub width: f64,
    /// Half width of everything.
    pub half: f64,
}

impl Barrier {
    /// The boxes; those in `gaps` let through.
    pub fn bodies(&self, gaps: &[usize]) -> Vec<Body> {
        let shape = Shape::Rect { length: self.length, width: self.width, hollow: false };
        let name = |k: usize| format!("passage_{k}");
        let make = |k: usize| match gaps.contains(&k) {
            true => Body::mark(name(k), shape, UNSEEN),
            false => Body::obstacle(name(k), shape, INK),
        };
        (0..self.boxes).map(make).collect()
    }

    /// The middle of slot `k`, counted from the left.
    pub fn slot(&self, k: usize) -> Vec2 {
        [(-self.half + self.length / 2.0 + self.length * k as f64) as f32, 0.0]
    }

    /// Puts the boxes `gaps` into the slots of the same places in the list `slots`, the others into those left, from the left.
    pub fn fill(&self, world: &mut World, gaps: &[usize], slots: &[usize]) {
        for (&gap, &slot) in gaps.iter().zip(slots) {
            world.bodies[self.first + gap].pos = self.slot(slot);
        }
        let mut free = (0..self.boxes).filter(|slot| !slots.contains(slot));
        for k in (0..self.boxes).filter(|k| !gaps.contains(k)) {
            if let Some(slot) = free.next() {
                world.bodies[self.first + k].pos = self.slot(slot);
            }
        }
    }

    /// As [`Barrier::fill`] with all boxes in random slots.
    pub fn shuffle(&self, world: &mut World, rng: &mut Stream) {
        for (k, slot) in rng.permutation(self.boxes).into_iter().enumerate() {
            world.bodies[self.first + k].pos = self.slot(slot);
        }
    }

    /// How many of the boxes body `id` touches; a gap's box is never touched.
    pub fn touched(&self, world: &World, id: usize) -> usize {
        let body = &world.bodies[id];
        // Nobody reaches the wall from farther away than its own size.
        if body.pos[1].abs() > (self.width / 2.0 + body.shape.reach() + 0.01) as f32 {
            return 0;
        }
        (self.first..self.first + self.boxes).filter(|&k| world.bodies[k].layers != 0 && world.touching(k, id)).count()
    }
}

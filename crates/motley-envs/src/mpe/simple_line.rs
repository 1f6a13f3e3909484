//! `simple_line_v1`: N agents form a line between two landmarks.

use std::f64::consts::{PI, TAU};

use super::assignment::{Assigned, MOST, Pattern};
use super::numpy_rng::NumpyRng;
use super::world::{Vec2, World, minus};

/// Distance between the two landmarks.
const LENGTH: f64 = 1.25;

/// Places evenly spaced from one landmark to the other.
#[derive(Debug)]
pub struct Segment;

/// See the module.
pub type Line = Assigned<Segment>;

impl Pattern for Segment {
    const NAME: &'static str = "simple_line_v1";
    const SUMMARY: &'static str = "agents form a line between two landmarks";
    const AGENT: f64 = 0.03;
    const LANDMARK: f64 = 0.02;
    const GOALS: &'static [&'static str] = &["end", "end"];

    /// The second landmark lies in a random direction, turned by 5 degrees at a time until it is inside the arena.
    fn place(world: &mut World, rng: &mut NumpyRng) {
        let n = world.agents;
        world.bodies[..n].iter_mut().for_each(|b| b.pos = rng.point(1.0));
        let from = rng.point(0.25);
        let mut angle = rng.uniform(0.0, TAU);
        let end = |angle: f64| -> Vec2 { [from[0] + LENGTH * angle.cos(), from[1] + LENGTH * angle.sin()] };
        let mut to = end(angle);
        while !(to[0].abs() < 1.0 && to[1].abs() < 1.0) {
            angle += 5.0 * (PI / 180.0);
            to = end(angle);
        }
        world.bodies[n].pos = from;
        world.bodies[n + 1].pos = to;
    }

    fn places(world: &World) -> [Vec2; MOST] {
        let [from, to] = [0, 1].map(|l| world.landmarks()[l].pos);
        let along = minus(to, from);
        let gaps = world.agents.saturating_sub(1).max(1) as f64;
        let mut places = [[0.0; 2]; MOST];
        for (p, place) in places.iter_mut().enumerate().take(world.agents) {
            let share = p as f64 / gaps;
            *place = [from[0] + share * along[0], from[1] + share * along[1]];
        }
        places
    }
}

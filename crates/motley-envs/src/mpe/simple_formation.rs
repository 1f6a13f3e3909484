//! `simple_formation_v1`: N agents form a circle around a landmark.

use std::f64::consts::TAU;

use super::assignment::{Assigned, MOST, Pattern};
use super::numpy_rng::NumpyRng;
use super::world::{Vec2, World, minus};

const RADIUS: f64 = 0.5;

/// Evenly spaced places on a circle, from the agent with the smallest angle on.
#[derive(Debug)]
pub struct Circle;

/// See the module.
pub type Formation = Assigned<Circle>;

impl Pattern for Circle {
    const NAME: &'static str = "simple_formation_v1";
    const SUMMARY: &'static str = "agents form a circle around a landmark";
    const AGENT: f64 = 0.05;
    const LANDMARK: f64 = 0.03;
    const GOALS: &'static [&'static str] = &["centre"];

    fn place(world: &mut World, rng: &mut NumpyRng) {
        let agents = world.agents;
        for (i, body) in world.bodies.iter_mut().enumerate() {
            body.pos = rng.point(if i < agents { 1.0 } else { 0.5 });
        }
    }

    fn places(world: &World) -> [Vec2; MOST] {
        let centre = world.landmarks()[0].pos;
        let angle = |d: Vec2| {
            let a = d[1].atan2(d[0]);
            if a < 0.0 { a + TAU } else { a }
        };
        let first = world.team().iter().map(|a| angle(minus(a.pos, centre))).fold(f64::INFINITY, f64::min);
        let mut places = [[0.0; 2]; MOST];
        for (i, place) in places.iter_mut().enumerate().take(world.agents) {
            let (sin, cos) = (first + i as f64 * (TAU / world.agents as f64)).sin_cos();
            *place = [centre[0] + RADIUS * cos, centre[1] + RADIUS * sin];
        }
        places
    }
}

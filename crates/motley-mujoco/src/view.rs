//! A plain picture without a graphics library: the bodies' shapes seen from the side or from above.

use motley_core::{Color, Scene, Shape};
use mujoco_rs::prelude::MjtGeomBase;

use crate::engine::Sim;
use crate::hands::task::{Play, Rule, Thing};
use crate::mamujoco::robots::Robot;

/// What lies under the bodies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ground {
    /// A floor seen from the side, with a mark a metre.
    Floor,
    /// A plane seen from above, with lines a metre apart.
    Plane,
    /// Nothing.
    None,
}

/// Where one looks from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct View {
    /// The axes of the world that go to the right and up.
    axes: [usize; 2],
    /// The axis that goes into the picture; bodies far along it are behind (true) or in front.
    depth: (usize, bool),
    /// Half the width of the view, in metres.
    reach: f64,
    /// The middle of the view, in metres; where it follows, body 1 is.
    middle: [f64; 2],
    /// Whether the view moves with body 1, to the right and up.
    follows: [bool; 2],
    /// Where the middle is along the third axis, in metres; a robot that is followed from the side is followed there too.
    level: f64,
    ground: Ground,
}

/// Where a camera stands for a view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stand {
    /// What it looks at, in metres.
    pub(crate) at: [f64; 3],
    /// Which way it looks about z, in degrees: 0 along x, 90 along y.
    pub(crate) azimuth: f64,
    /// How far up it looks, in degrees.
    pub(crate) elevation: f64,
    /// Half the width of what it sees there, in metres.
    pub(crate) reach: f64,
}

impl View {
    /// The same side seen with depth: a little from above, or from above a little from the side. `root` is where the followed
    /// robot is.
    pub(crate) fn stand(&self, root: [f64; 3]) -> Stand {
        let follows = self.follows.contains(&true);
        let mut at = [0.0; 3];
        for (k, axis) in self.axes.into_iter().enumerate() {
            at[axis] = if self.follows[k] { root[axis] } else { self.middle[k] };
        }
        at[self.depth.0] = if self.ground == Ground::Floor { root[self.depth.0] } else { self.level };
        let (azimuth, elevation, near) = match self.axes {
            [0, 2] => (90.0, -15.0, 0.8),
            [1, 2] => (180.0, -25.0, 1.15),
            // What stands up leans outwards.
            _ => (90.0, -60.0, if follows { 1.0 } else { 1.2 }),
        };
        if self.ground == Ground::Floor {
            // The floor fills the lower part by itself.
            at[2] = 0.3 * self.reach;
        }
        Stand { at, azimuth, elevation, reach: near * self.reach }
    }

    /// Two hands: along x (y to the right, z up) where something flies or is lifted, else from above (x to the right, y up).
    pub(crate) fn hands(play: &Play) -> Self {
        let level = play.places[0].start[2];
        let above = |x: f64, reach: f64| Self { middle: [x, 0.0], level, ground: Ground::None, ..Self::above(reach, false) };
        match play.thing {
            Thing::Door { .. } => return above(0.45, 1.0),
            Thing::Pen => return above(0.25, 0.7),
            Thing::Eggs | Thing::Pot => {}
        }
        // Both bases, the starts and the goals are in the picture.
        let starts = play.places.iter().map(|place| place.start);
        let goals = play.places.iter().map(|place| std::array::from_fn(|k| place.start[k] + place.goal[k]));
        let points: Vec<[f64; 3]> = play.hands.iter().map(|stand| stand.at).chain(starts).chain(goals).collect();
        let span = |k: usize| {
            let low = points.iter().map(|p| p[k]).fold(f64::INFINITY, f64::min);
            let high = points.iter().map(|p| p[k]).fold(f64::NEG_INFINITY, f64::max);
            (0.5 * (low + high), 0.5 * (high - low))
        };
        let ((x, deep), (y, wide), (z, high)) = (span(0), span(1), span(2));
        // What is nearest to the camera looks largest.
        let level = x + deep;
        let reach = (wide + 0.1).max((high + 0.2) / FLAT);
        Self { axes: [1, 2], depth: (0, false), reach, middle: [y, z], follows: [false; 2], level, ground: Ground::None }
    }

    /// From the side: x to the right, z up, the floor near the lower edge.
    fn side(reach: f64) -> Self {
        let middle = [0.0, (FLAT - 0.15) * reach];
        Self { axes: [0, 2], depth: (1, true), reach, middle, follows: [true, false], level: 0.0, ground: Ground::Floor }
    }

    /// From above: x to the right, y up.
    fn above(reach: f64, follows: bool) -> Self {
        Self {
            axes: [0, 1],
            depth: (2, false),
            reach,
            middle: [0.0; 2],
            follows: [follows; 2],
            level: 0.0,
            ground: Ground::Plane,
        }
    }

    /// The view that shows what a robot does.
    pub(crate) fn of(robot: Robot) -> Self {
        match robot {
            Robot::Swimmer => Self::above(3.0, true),
            Robot::ManySegmentSwimmer => Self::above(12.0, true),
            Robot::Reacher => Self::above(0.3, false),
            Robot::Pusher => Self::above(1.2, false),
            Robot::ManySegmentAnt => Self::side(5.0),
            _ => Self::side(2.0),
        }
    }
}

/// Half the height of a picture to half its width.
pub(crate) const FLAT: f64 = 0.6;

/// Where eggs or the pot should go, in metres.
pub(crate) fn goals(play: &Play) -> Vec<[f64; 3]> {
    if matches!(play.rule, Rule::Door { .. } | Rule::Pen) {
        return Vec::new();
    }
    play.places.iter().map(|place| std::array::from_fn(|k| place.start[k] + place.goal[k])).collect()
}

/// Rings at places in the world.
pub(crate) fn rings(places: &[[f64; 3]], view: View) -> impl Iterator<Item = Shape> {
    places.iter().map(move |place| {
        let at = view.axes.map(|k| place[k] as f32);
        Shape::Circle { at, radius: 0.03, fill: Color(0.2, 0.7, 0.3, 0.25), outline: Some(Color(0.2, 0.5, 0.3, 1.0)) }
    })
}

/// The bodies as they are now.
pub(crate) fn draw(sim: &Sim, view: View, caption: String) -> Scene {
    let (data, model) = (sim.data(), sim.model());
    let View { axes, depth: (into, behind), reach, .. } = view;
    let flat = |p: [f64; 3]| axes.map(|k| p[k] as f32);
    let torso = data.xpos()[1];
    let middle = |k: usize| if view.follows[k] { torso[axes[k]] } else { view.middle[k] };
    let [x, y] = [middle(0) as f32, middle(1) as f32];
    let (wide, high) = (reach as f32, (FLAT * reach) as f32);
    let mut shapes = ground(view.ground, [x, y], wide, high);
    let mut order: Vec<usize> = (0..model.geom_type().len()).filter(|&g| model.geom_rgba()[g][3] > 0.0).collect();
    // From back to front.
    let near = |g: usize| if behind { -data.geom_xpos()[g][into] } else { data.geom_xpos()[g][into] };
    order.sort_by(|&a, &b| near(a).total_cmp(&near(b)));
    for g in order {
        let [red, green, blue, alpha] = model.geom_rgba()[g];
        let fill = Color(red, green, blue, alpha);
        let (at, turn, size) = (data.geom_xpos()[g], data.geom_xmat()[g], model.geom_size()[g]);
        let along = |axis: usize, length: f64, sign: f64| {
            let end: [f64; 3] = std::array::from_fn(|k| at[k] + sign * length * turn[3 * k + axis]);
            flat(end)
        };
        match model.geom_type()[g] {
            MjtGeomBase::mjGEOM_SPHERE => {
                shapes.push(Shape::Circle { at: flat(at), radius: size[0] as f32, fill, outline: None });
            }
            MjtGeomBase::mjGEOM_CAPSULE | MjtGeomBase::mjGEOM_CYLINDER => {
                let (from, to, radius) = (along(2, size[1], -1.0), along(2, size[1], 1.0), size[0] as f32);
                shapes.push(Shape::Line { from, to, width: 2.0 * radius, color: fill });
                shapes.extend([from, to].map(|at| Shape::Circle { at, radius, fill, outline: None }));
            }
            MjtGeomBase::mjGEOM_BOX | MjtGeomBase::mjGEOM_ELLIPSOID => {
                let (long, width) = slab(axes, turn, size);
                let (from, to) = (along(long, size[long], -1.0), along(long, size[long], 1.0));
                shapes.push(Shape::Line { from, to, width, color: fill });
            }
            _ => {}
        }
    }
    Scene { view: [x - wide, y - high, x + wide, y + high], shapes, caption }
}

/// Which half axis of a box looks longest, and how wide the box looks across it.
fn slab(axes: [usize; 2], turn: [f64; 9], size: [f64; 3]) -> (usize, f32) {
    let half: [[f64; 2]; 3] = std::array::from_fn(|axis| axes.map(|k| size[axis] * turn[3 * k + axis]));
    let length = |k: usize| half[k][0].hypot(half[k][1]);
    let long = (0..3).max_by(|&a, &b| length(a).total_cmp(&length(b))).unwrap_or(0);
    let [u, v] = half[long].map(|x| x / length(long).max(f64::MIN_POSITIVE));
    let across = (0..3).filter(|&k| k != long).map(|k| (u * half[k][1] - v * half[k][0]).abs()).fold(0.0, f64::max);
    (long, 2.0 * across as f32)
}

/// A floor with marks a metre apart (side), or marks on the plane (above), so that motion shows.
fn ground(ground: Ground, [x, y]: [f32; 2], wide: f32, high: f32) -> Vec<Shape> {
    let (grey, dark) = (Color(0.85, 0.88, 0.85, 1.0), Color(0.6, 0.65, 0.6, 1.0));
    let mark = |at: f32| at.floor() as i64;
    let upright = |at: i64, from: f32, to: f32| {
        let at = at as f32;
        Shape::Line { from: [at, from], to: [at, to], width: 0.01 * wide, color: dark }
    };
    let columns = mark(x - wide)..=mark(x + wide) + 1;
    match ground {
        Ground::None => Vec::new(),
        Ground::Floor => {
            let (low, size) = (y - high, [2.0 * wide, (high - y).max(0.0)]);
            let mut shapes = vec![Shape::Rect { at: [x, 0.5 * low], size, angle: 0.0, fill: grey }];
            shapes.extend(columns.map(|at| upright(at, 0.5 * low, 0.0)));
            shapes
        }
        Ground::Plane => {
            let mut shapes: Vec<Shape> = columns.map(|at| upright(at, y - high, y + high)).collect();
            shapes.extend((mark(y - high)..=mark(y + high) + 1).map(|at| {
                let at = at as f32;
                Shape::Line { from: [x - wide, at], to: [x + wide, at], width: 0.01 * wide, color: dark }
            }));
            shapes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sides keep left and right: along y, x goes to the right, against x, y does; the camera goes where the robot goes.
    #[test]
    fn cameras_stand_where_the_plain_picture_is_seen_from() {
        let root = [7.0, -2.0, 0.5];
        let side = View::of(Robot::Ant).stand(root);
        assert_eq!((side.azimuth, side.at[0], side.at[1]), (90.0, 7.0, -2.0));
        assert!(side.at[2] > 0.3 && side.at[2] < 1.0, "{side:?}");
        assert_eq!(View::of(Robot::Swimmer).stand(root).at, [7.0, -2.0, 0.0]);
        assert_eq!(View::of(Robot::Reacher).stand(root).at, [0.0; 3]);
        let hands = View::hands(&crate::hands::catch::OVER).stand(root);
        assert_eq!(hands.azimuth, 180.0);
        assert!((hands.at[1] + 0.5).abs() < 1e-9 && (hands.at[2] - 0.52).abs() < 0.1 && hands.at[0].abs() < 1e-9, "{hands:?}");
    }

    /// A door's leaf, 0.03 x 0.4 x 1 m: upright from the side, a thin line from above, turned with the leaf.
    #[test]
    fn boxes_look_as_they_stand() {
        let size = [0.015, 0.2, 0.5];
        let straight = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(slab([1, 2], straight, size), (2, 0.4));
        assert_eq!(slab([0, 1], straight, size), (1, 0.03));
        // A quarter turn about z: its x axis is the world's y.
        let quarter = [0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(slab([1, 2], quarter, size), (2, 0.03));
        assert_eq!(slab([0, 1], quarter, size), (1, 0.03));
    }
}

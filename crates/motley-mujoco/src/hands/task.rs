//! What a task of two hands is: data for the scene and the start, and a rule over what is seen after a step. Free of the engine.

use super::catch::Catch;
use super::rules::{Quat, about, compose};
use super::{catch, door, lift, pen};

/// Fingers of a hand: first, middle, ring, little, thumb.
pub const FINGERS: usize = 5;

/// A point or a direction in the world, in metres.
pub type Point = [f64; 3];

/// How a hand's base starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stand {
    /// Where, in metres.
    pub at: Point,
    /// Turned about the world's x, then y, then z, in radians. Without turns the fingers point along -y and the palm looks up.
    pub angles: [f64; 3],
}

impl Stand {
    /// The three turns as one rotation.
    pub fn rotation(&self) -> Quat {
        let [x, y, z] = self.angles;
        compose(about(2, z), compose(about(1, y), about(0, x)))
    }
}

/// Whether a hand's base moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// It does not: actions are 20 targets of joints.
    Fixed,
    /// Forces and torques move it: six more entries come before the targets. The scales are those of the original's settings, see
    /// [`super::rules::wrench`].
    Free {
        /// Of forces.
        transition: f64,
        /// Of torques.
        orientation: f64,
    },
}

/// What the hands play with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Thing {
    /// One egg or two.
    Eggs,
    /// A pot on a table.
    Pot,
    /// A double door in a frame.
    Door {
        /// Whether the hands stand before the side that the leaves turn away from.
        pushed: bool,
        /// How far the leaves are open at the start, in radians.
        open: f64,
    },
    /// A pen in its cap on a table.
    Pen,
}

/// A thing's start and what it is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// In metres.
    pub start: Point,
    /// The goal less the start, in metres.
    pub goal: Point,
}

/// Rewards, ends and successes of a family of tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Eggs that change hands.
    Catch(Catch),
    /// A pot that is lifted by both handles.
    Lift,
    /// Doors; whether they are to be opened.
    Door {
        /// Else they are to be shut.
        opens: bool,
    },
    /// A pen that is pulled out of its cap.
    Pen,
}

impl Rule {
    /// What a step is worth, from what is seen after it.
    pub fn judge(&self, seen: &Seen) -> Verdict {
        match self {
            Self::Catch(rule) => catch::judge(rule, seen),
            Self::Lift => lift::judge(seen),
            Self::Door { opens } => door::judge(*opens, seen),
            Self::Pen => pen::judge(seen),
        }
    }
}

/// A task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Play {
    /// The name after `hands/`.
    pub name: &'static str,
    /// In a few words.
    pub summary: &'static str,
    /// Steps after which an episode is cut, unless told otherwise.
    pub max_cycles: u32,
    /// The right hand and the left one.
    pub hands: [Stand; 2],
    /// Whether they move.
    pub base: Base,
    /// What they play with.
    pub thing: Thing,
    /// Each egg's place, or the thing's.
    pub places: &'static [Place],
    /// Noise of the eggs' start, in metres.
    pub object_noise: f64,
    /// Noise of the joints' start, as a share of the way to a random angle of their range.
    pub joint_noise: f64,
    /// What is rewarded.
    pub rule: Rule,
}

/// A thing and its goal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Where it is.
    pub at: Point,
    /// How it is turned.
    pub turned: Quat,
    /// Where it should be.
    pub goal: Point,
    /// How it should be turned.
    pub goal_turned: Quat,
}

/// What rules look at of a hand, in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// The base.
    pub mount: Point,
    /// The palm's frame.
    pub palm: Point,
    /// The middle of the grip: 0.08 m from the palm's frame towards the fingers, 0.02 m out of the palm.
    pub grip: Point,
    /// 0.02 m along the last body of each finger.
    pub fingers: [Point; FINGERS],
}

impl Reach {
    /// The sum of the distances from the five fingers to a point, in metres.
    pub fn away(&self, point: Point) -> f64 {
        self.fingers.iter().map(|finger| distance(*finger, point)).sum()
    }
}

/// The scene after a step, as far as rules look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The eggs, or the thing.
    pub objects: Vec<Object>,
    /// The thing's handles for the right hand and for the left one; the origin for eggs.
    pub handles: [Point; 2],
    /// The right hand and the left one.
    pub hands: [Reach; 2],
}

/// What a step is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Each hand's.
    pub reward: f64,
    /// Whether the episode ends.
    pub over: bool,
    /// Whether the step was a success.
    pub won: bool,
}

/// Metres between two points.
pub fn distance(a: Point, b: Point) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// A scene for the tests of rules: everything at the origin.
#[cfg(test)]
pub(super) fn nothing_moved() -> Seen {
    let (origin, same) = ([0.0; 3], [1.0, 0.0, 0.0, 0.0]);
    let hand = Reach { mount: origin, palm: origin, grip: origin, fingers: [origin; FINGERS] };
    let object = Object { at: origin, turned: same, goal: origin, goal_turned: same };
    Seen { objects: vec![object], handles: [origin; 2], hands: [hand; 2] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::rules::rotate;
    use std::f64::consts::{FRAC_PI_2, PI};

    /// The hands of the doors: fingers towards the door, along -x; the right palm looks along -y, at the left one, and it back.
    #[test]
    fn stands_turn_about_the_worlds_axes() {
        let stand = |angles| Stand { at: [0.0; 3], angles }.rotation();
        for (angles, fingers, palm) in [
            ([0.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]),
            ([0.0, 0.0, PI], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]),
            ([PI, FRAC_PI_2, FRAC_PI_2], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]),
            ([PI, -FRAC_PI_2, FRAC_PI_2], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
            ([PI, 0.0, FRAC_PI_2], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
        ] {
            let turned = stand(angles);
            for (local, world) in [([0.0, -1.0, 0.0], fingers), ([0.0, 0.0, 1.0], palm)] {
                assert!(distance(rotate(turned, local), world) < 1e-12, "{angles:?}");
            }
        }
    }

    #[test]
    fn fingers_distances_are_summed() {
        let mut seen = nothing_moved();
        let hand = &mut seen.hands[0];
        hand.fingers = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.5], [0.0, 3.0, 4.0], [0.0; 3]];
        assert_eq!(hand.away([0.0; 3]), 8.5);
    }
}

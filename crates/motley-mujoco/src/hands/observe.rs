//! What is read of the scene: where hands and things stand in the engine's arrays, the parts of the observation, and what rules
//! look at.

use motley_core::ConfigError;
use mujoco_rs::prelude::MjtObjBase;

use super::model::{EGGS, FINGERS, SIDES};
use super::rules::{MOUNT, Quat, compose, euler, inverse, rotate, unscale};
use super::task::{Base, Object, Play, Point, Reach, Thing};
use crate::engine::Sim;

/// Joints of a hand, and how many of them have a motor (the fingers' last joints follow by tendons).
pub(super) const JOINTS: usize = 24;
pub(super) const MOTORS: usize = 20;
/// Entries of a base's force and torque.
pub(super) const WRENCH: usize = 6;
/// Entries of an egg's part of the observation, and of another thing's.
const EGG: usize = 24;
const HANDLED: usize = 19;
const VELOCITY: f64 = 0.2;
const FORCE: f64 = 10.0;

/// The joints that have a motor, in the motors' order.
pub(super) const MOTORISED: [usize; MOTORS] = [0, 1, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 17, 19, 20, 21, 22, 23];

/// Entries of a hand's action.
pub(super) fn action_width(base: Base) -> usize {
    if base == Base::Fixed { MOTORS } else { WRENCH + MOTORS }
}

/// Entries of a hand's part of the observation: joints, fingers, the base where it moves, the last action.
pub(super) fn hand_width(base: Base) -> usize {
    let moves = if base == Base::Fixed { 0 } else { 6 };
    3 * JOINTS + FINGERS.len() * (13 + 6) + moves + action_width(base)
}

/// Entries of the part of what is played with.
pub(super) fn thing_width(play: &Play) -> usize {
    if play.thing == Thing::Eggs { EGG * play.places.len() } else { HANDLED }
}

/// (x, y, z, w), as the original has it.
fn scalar_last([w, x, y, z]: Quat) -> Quat {
    [x, y, z, w]
}

/// Linear and angular velocity of a body's frame in the world.
fn velocity(sim: &Sim, body: usize) -> (Point, Point) {
    let v = sim.data().object_velocity(MjtObjBase::mjOBJ_XBODY, body, false);
    ([v[3], v[4], v[5]], [v[0], v[1], v[2]])
}

/// A point of a body's frame in the world.
fn along(sim: &Sim, body: usize, local: Point) -> Point {
    let offset = rotate(sim.data().xquat()[body], local);
    let at = sim.data().xpos()[body];
    std::array::from_fn(|k| at[k] + offset[k])
}

/// Where a hand stands in the engine's arrays.
#[derive(Debug)]
pub(super) struct Hand {
    /// First coordinate, velocity and motor.
    pub qpos: usize,
    pub dof: usize,
    pub ctrl: usize,
    /// The base, the body that wrenches act on, the palm, and the last body of each finger.
    mount: usize,
    pub forearm: usize,
    palm: usize,
    tips: [usize; FINGERS.len()],
    /// Where each finger's force and torque stand among the sensors.
    sensors: [[usize; 2]; FINGERS.len()],
    /// The joints' ranges, and those of the motors.
    pub joints: Vec<[f64; 2]>,
    pub motors: Vec<[f64; 2]>,
}

impl Hand {
    pub(super) fn find(sim: &Sim, side: &str) -> Result<Self, ConfigError> {
        let model = sim.model();
        let named = |kind, name: &str| sim.find(kind, &format!("{side}:{name}"));
        let body = |name: &str| named(MjtObjBase::mjOBJ_BODY, name);
        let wrist = named(MjtObjBase::mjOBJ_JOINT, "WRJ1")?;
        let ctrl = named(MjtObjBase::mjOBJ_ACTUATOR, "A_WRJ1")?;
        let (mut tips, mut sensors) = ([0; FINGERS.len()], [[0; 2]; FINGERS.len()]);
        for (i, finger) in FINGERS.iter().enumerate() {
            tips[i] = body(&format!("{finger}distal"))?;
            for (k, kind) in ["F", "T"].iter().enumerate() {
                let sensor = named(MjtObjBase::mjOBJ_SENSOR, &format!("{kind}_{finger}"))?;
                sensors[i][k] = model.sensor_adr()[sensor] as usize;
            }
        }
        Ok(Self {
            qpos: model.jnt_qposadr()[wrist] as usize,
            dof: model.jnt_dofadr()[wrist] as usize,
            ctrl,
            mount: body("hand mount")?,
            forearm: body("forearm")?,
            palm: body("palm")?,
            tips,
            sensors,
            joints: model.jnt_range()[wrist..wrist + JOINTS].to_vec(),
            motors: model.actuator_ctrlrange()[ctrl..ctrl + MOTORS].to_vec(),
        })
    }

    /// Both hands.
    pub(super) fn both(sim: &Sim) -> Result<[Self; 2], ConfigError> {
        Ok([Self::find(sim, SIDES[0])?, Self::find(sim, SIDES[1])?])
    }

    /// The middle of the grip.
    fn grip(&self, sim: &Sim) -> Point {
        along(sim, self.palm, [0.0, -0.02, 0.08])
    }

    /// What rules look at.
    pub(super) fn reach(&self, sim: &Sim) -> Reach {
        Reach {
            mount: sim.data().xpos()[self.mount],
            palm: sim.data().xpos()[self.palm],
            grip: self.grip(sim),
            fingers: self.tips.map(|tip| along(sim, tip, [0.0, 0.0, 0.02])),
        }
    }

    /// The hand's part of the observation, `[hand_width]`; `action` is its last one.
    pub(super) fn write(&self, sim: &Sim, play: &Play, action: &[f64], row: &mut Vec<f64>) {
        let data = sim.data();
        let q = &data.qpos()[self.qpos..self.qpos + JOINTS];
        row.extend(q.iter().zip(&self.joints).map(|(q, [low, high])| unscale(*q, *low, *high)));
        row.extend(data.qvel()[self.dof..self.dof + JOINTS].iter().map(|v| VELOCITY * v));
        row.extend(data.qfrc_actuator()[self.dof..self.dof + JOINTS].iter().map(|f| FORCE * f));
        for tip in self.tips {
            row.extend(data.xpos()[tip]);
            row.extend(scalar_last(data.xquat()[tip]));
            let (linear, angular) = velocity(sim, tip);
            row.extend(linear.into_iter().chain(angular));
        }
        for at in self.sensors.iter().flatten() {
            row.extend(data.sensordata()[*at..at + 3].iter().map(|f| FORCE * f));
        }
        if play.base != Base::Fixed {
            row.extend(if play.thing == Thing::Eggs { data.xpos()[self.mount] } else { self.grip(sim) });
            row.extend(euler(compose(data.xquat()[self.mount], inverse(MOUNT))));
        }
        row.extend(action);
    }
}

/// Where what is played with stands in the engine's arrays.
#[derive(Debug)]
pub(super) struct Things {
    /// The body of each egg, or of the thing, and its first coordinate if it is free.
    bodies: Vec<(usize, Option<usize>)>,
    /// The sites of the handles, for the right hand and for the left one.
    handles: Option<[usize; 2]>,
    /// Which of them is observed first.
    first: usize,
    /// The coordinates of the door's hinges.
    pub hinges: Vec<usize>,
}

impl Things {
    pub(super) fn find(sim: &Sim, play: &Play) -> Result<Self, ConfigError> {
        let coordinate = |name: &str| {
            let joint = sim.find(MjtObjBase::mjOBJ_JOINT, name)?;
            Ok::<_, ConfigError>(sim.model().jnt_qposadr()[joint] as usize)
        };
        let site = |name: String| sim.find(MjtObjBase::mjOBJ_SITE, &name);
        let names = &EGGS[..play.places.len().min(EGGS.len())];
        let door = matches!(play.thing, Thing::Door { .. });
        let free = |name: &str| if door { Ok(None) } else { coordinate(name).map(Some) };
        let bodies = names.iter().map(|name| Ok((sim.find(MjtObjBase::mjOBJ_BODY, name)?, free(name)?)));
        let end = match play.thing {
            Thing::Eggs => None,
            Thing::Door { pushed: true, .. } => Some("_front"),
            Thing::Door { .. } => Some("_back"),
            Thing::Pot | Thing::Pen => Some(""),
        };
        let handles = match end {
            Some(end) => Some([site(format!("right_handle{end}"))?, site(format!("left_handle{end}"))?]),
            None => None,
        };
        let hinges = if door { vec![coordinate("right_hinge")?, coordinate("left_hinge")?] } else { Vec::new() };
        Ok(Self { bodies: bodies.collect::<Result<_, ConfigError>>()?, handles, first: usize::from(door), hinges })
    }

    /// The first coordinates of the eggs.
    pub(super) fn coordinates(&self) -> impl Iterator<Item = usize> {
        self.bodies.iter().filter_map(|(_, at)| *at)
    }

    /// Where a body is and how it is turned: of free ones after the last engine step.
    fn pose(sim: &Sim, (body, free): (usize, Option<usize>)) -> (Point, Quat) {
        let Some(at) = free else { return (sim.data().xpos()[body], sim.data().xquat()[body]) };
        let pose = &sim.data().qpos()[at..at + 7];
        ([pose[0], pose[1], pose[2]], [pose[3], pose[4], pose[5], pose[6]])
    }

    /// Each egg or the thing, with its goal; goals of eggs are turned by `goal`.
    pub(super) fn objects(&self, sim: &Sim, play: &Play, goal: Quat) -> Vec<Object> {
        let object = |(body, place): (&(usize, Option<usize>), &super::task::Place)| {
            let (at, turned) = Self::pose(sim, *body);
            Object { at, turned, goal: std::array::from_fn(|k| place.start[k] + place.goal[k]), goal_turned: goal }
        };
        self.bodies.iter().zip(play.places).map(object).collect()
    }

    /// The handles for the right hand and the left one, the origin where there are none.
    pub(super) fn handles(&self, sim: &Sim) -> [Point; 2] {
        self.handles.map_or([[0.0; 3]; 2], |sites| sites.map(|site| sim.data().site_xpos()[site]))
    }

    /// The part of what is played with, `[thing_width]`.
    pub(super) fn write(&self, sim: &Sim, play: &Play, goal: Quat, row: &mut Vec<f64>) {
        for (object, (body, _)) in self.objects(sim, play, goal).iter().zip(&self.bodies) {
            row.extend(object.at);
            row.extend(scalar_last(object.turned));
            let (linear, angular) = velocity(sim, *body);
            row.extend(linear);
            row.extend(angular.map(|v| VELOCITY * v));
            if play.thing == Thing::Eggs {
                row.extend(object.goal);
                row.extend(scalar_last(goal));
                row.extend(scalar_last(compose(object.turned, inverse(goal))));
            } else {
                let handles = self.handles(sim);
                row.extend([self.first, 1 - self.first].iter().flat_map(|k| handles[*k]));
            }
        }
    }
}

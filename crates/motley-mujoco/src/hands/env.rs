//! Two hands and an egg.

use std::sync::Arc;

use motley_core::{
    ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, ObsSpace, RewardKind, Scene, StateSpace, Status, Stream,
    TeamSpec,
};
use mujoco_rs::prelude::MjtObjBase;

use super::model::{FINGERS, SIDES, SUBSTEPS, over};
use super::rules::{Quat, compose, inverse, reward, scale, tumbled, turn, unscale};
use crate::engine::{Sim, model};
use crate::phase::Phase;
use crate::view::{self, View};

/// Joints of a hand, and how many of them have a motor (the fingers' last joints follow by tendons).
const JOINTS: usize = 24;
const MOTORS: usize = 20;
/// Entries of a hand's part of the observation, and of the object's.
const HAND: usize = 3 * JOINTS + FINGERS.len() * (13 + 6) + MOTORS;
const OBJECT: usize = 24;
/// Observations are clipped to this.
const BOUND: f64 = 5.0;
const VELOCITY: f64 = 0.2;
const FORCE: f64 = 10.0;
/// Weight of a metre in the reward.
const DISTANCE: f64 = 50.0;
/// A step that ends nearer to the goal than this is a success, in metres.
const SUCCESS: f64 = 0.03;
/// The egg has fallen when it is lower than this, in metres.
const FALLEN: f64 = 0.2;
/// Noise of the egg's start in metres, and of the joints' as a share of their range.
const OBJECT_NOISE: f64 = 0.01;
const JOINT_NOISE: f64 = 0.2;
/// Where the egg should come down, less where it starts.
const GOAL: [f64; 3] = [0.0, -0.25, 0.0];
const START: [f64; 3] = [0.0, -0.39, 0.54];

/// Where a hand stands in the engine's arrays.
#[derive(Debug)]
struct Hand {
    /// First coordinate, velocity and motor.
    qpos: usize,
    dof: usize,
    ctrl: usize,
    /// The last body of each finger.
    tips: [usize; FINGERS.len()],
    /// Where each finger's force and torque stand among the sensors.
    sensors: [[usize; 2]; FINGERS.len()],
    /// The joints' ranges, and those of the motors.
    joints: Vec<[f64; 2]>,
    motors: Vec<[f64; 2]>,
}

impl Hand {
    fn find(sim: &Sim, side: &str) -> Result<Self, ConfigError> {
        let model = sim.model();
        let named = |kind, name: String| sim.find(kind, &name);
        let wrist = named(MjtObjBase::mjOBJ_JOINT, format!("{side}:WRJ1"))?;
        let ctrl = named(MjtObjBase::mjOBJ_ACTUATOR, format!("{side}:A_WRJ1"))?;
        let (mut tips, mut sensors) = ([0; FINGERS.len()], [[0; 2]; FINGERS.len()]);
        for (i, finger) in FINGERS.iter().enumerate() {
            tips[i] = named(MjtObjBase::mjOBJ_BODY, format!("{side}:{finger}distal"))?;
            for (k, kind) in ["F", "T"].iter().enumerate() {
                let sensor = named(MjtObjBase::mjOBJ_SENSOR, format!("{side}:{kind}_{finger}"))?;
                sensors[i][k] = model.sensor_adr()[sensor] as usize;
            }
        }
        Ok(Self {
            qpos: model.jnt_qposadr()[wrist] as usize,
            dof: model.jnt_dofadr()[wrist] as usize,
            ctrl,
            tips,
            sensors,
            joints: model.jnt_range()[wrist..wrist + JOINTS].to_vec(),
            motors: model.actuator_ctrlrange()[ctrl..ctrl + MOTORS].to_vec(),
        })
    }
}

/// One copy of the two hands.
#[derive(Debug)]
pub struct HandsEnv {
    spec: Arc<TeamSpec>,
    sim: Sim,
    hands: [Hand; 2],
    object: usize,
    object_qpos: usize,
    max_cycles: usize,
    goal: Quat,
    /// The last joint action, `[2 * MOTORS]`.
    actions: Vec<f64>,
    steps: usize,
    won: bool,
    phase: Phase,
}

impl HandsEnv {
    /// A copy that truncates episodes after `max_cycles` steps.
    ///
    /// # Errors
    /// A model that the engine does not take.
    pub fn new(name: &str, max_cycles: usize) -> Result<Self, ConfigError> {
        let sim = Sim::new(model(&over())?)?;
        let hands = [Hand::find(&sim, SIDES[0])?, Hand::find(&sim, SIDES[1])?];
        let agent = |side: &&str| {
            let obs = ObsSpace { low: -BOUND as f32, high: BOUND as f32, ..ObsSpace::vector(HAND + OBJECT) };
            AgentSpec::new(format!("{side}_hand"), format!("{side}_hand"), obs, ActionSpace::uniform_box(MOTORS, -1.0, 1.0))
        };
        let mut spec = TeamSpec::new(name, SIDES.iter().map(agent).collect());
        spec.state = StateSpace::Ep(2 * HAND + OBJECT);
        spec.reward = RewardKind::Common;
        spec.step_limit = Some(max_cycles);
        spec.winning = true;
        let joint = sim.find(MjtObjBase::mjOBJ_JOINT, "object")?;
        Ok(Self {
            spec: Arc::new(spec),
            object: sim.find(MjtObjBase::mjOBJ_BODY, "object")?,
            object_qpos: sim.model().jnt_qposadr()[joint] as usize,
            hands,
            sim,
            max_cycles,
            goal: [1.0, 0.0, 0.0, 0.0],
            actions: vec![0.0; 2 * MOTORS],
            steps: 0,
            won: false,
            phase: Phase::Fresh,
        })
    }

    fn object(&self) -> ([f64; 3], Quat) {
        let pose = &self.sim.data().qpos()[self.object_qpos..self.object_qpos + 7];
        ([pose[0], pose[1], pose[2]], [pose[3], pose[4], pose[5], pose[6]])
    }

    /// Linear and angular velocity of a body's frame in the world.
    fn velocity(&self, body: usize) -> ([f64; 3], [f64; 3]) {
        let v = self.sim.data().object_velocity(MjtObjBase::mjOBJ_XBODY, body, false);
        ([v[3], v[4], v[5]], [v[0], v[1], v[2]])
    }

    fn hand_part(&self, h: usize, row: &mut Vec<f64>) {
        let (hand, data) = (&self.hands[h], self.sim.data());
        let q = &data.qpos()[hand.qpos..hand.qpos + JOINTS];
        row.extend(q.iter().zip(&hand.joints).map(|(q, [low, high])| unscale(*q, *low, *high)));
        row.extend(data.qvel()[hand.dof..hand.dof + JOINTS].iter().map(|v| VELOCITY * v));
        row.extend(data.qfrc_actuator()[hand.dof..hand.dof + JOINTS].iter().map(|f| FORCE * f));
        for tip in hand.tips {
            row.extend(data.xpos()[tip]);
            row.extend(scalar_last(data.xquat()[tip]));
            let (linear, angular) = self.velocity(tip);
            row.extend(linear.into_iter().chain(angular));
        }
        for at in hand.sensors.iter().flatten() {
            row.extend(data.sensordata()[*at..at + 3].iter().map(|f| FORCE * f));
        }
        row.extend(&self.actions[h * MOTORS..(h + 1) * MOTORS]);
    }

    fn object_part(&self, row: &mut Vec<f64>) {
        let (at, turned) = self.object();
        row.extend(at);
        row.extend(scalar_last(turned));
        let (linear, angular) = self.velocity(self.object);
        row.extend(linear);
        row.extend(angular.map(|v| VELOCITY * v));
        row.extend(goal_place());
        row.extend(scalar_last(self.goal));
        row.extend(scalar_last(compose(turned, inverse(self.goal))));
    }

    fn write(&self, out: &mut Frame<'_>) {
        let mut row = Vec::with_capacity(2 * HAND + OBJECT);
        for h in 0..2 {
            self.hand_part(h, &mut row);
        }
        self.object_part(&mut row);
        let copy = |to: &mut [f32], from: &[f64]| {
            to.iter_mut().zip(from).for_each(|(to, x)| *to = x.clamp(-BOUND, BOUND) as f32);
        };
        copy(out.state, &row);
        for h in 0..2 {
            let own = &mut out.obs[self.spec.obs_range(h)];
            copy(&mut own[..HAND], &row[h * HAND..(h + 1) * HAND]);
            copy(&mut own[HAND..], &row[2 * HAND..]);
        }
    }

    fn check(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        for (i, agent) in self.spec.agents.iter().enumerate() {
            let given = actions.of(i);
            if !given.iter().all(|x| (-1.0..=1.0).contains(x)) {
                return Err(EnvError::Action {
                    agent: agent.name.clone(),
                    expected: format!("{MOTORS} numbers, each in -1..=1"),
                    found: format!("{given:?}"),
                });
            }
        }
        Ok(())
    }

    fn load(&mut self, bytes: &[u8]) -> Option<()> {
        let (head, bytes) = bytes.split_first_chunk::<2>()?;
        let (steps, bytes) = bytes.split_first_chunk::<8>()?;
        let phase = Phase::from_byte(head[0])?;
        let own = 8 * (4 + 2 * MOTORS);
        if bytes.len() < own || head[1] > 1 {
            return None;
        }
        let (own, engine) = bytes.split_at(own);
        self.sim.load(engine)?;
        let mut numbers = own.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
        self.goal = std::array::from_fn(|_| numbers.next().unwrap_or_default());
        self.actions = numbers.collect();
        self.steps = usize::try_from(u64::from_le_bytes(*steps)).ok()?;
        (self.won, self.phase) = (head[1] == 1, phase);
        Some(())
    }
}

/// (x, y, z, w), as the original has it.
fn scalar_last([w, x, y, z]: Quat) -> Quat {
    [x, y, z, w]
}

fn goal_place() -> [f64; 3] {
    std::array::from_fn(|k| START[k] + GOAL[k])
}

impl Env for HandsEnv {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.sim.reset();
        let mut qpos = self.sim.model().qpos0().to_vec();
        let at = self.object_qpos;
        for (k, x) in START.iter().enumerate() {
            qpos[at + k] = x + OBJECT_NOISE * stream.range(-1.0, 1.0);
        }
        qpos[at + 3..at + 7].copy_from_slice(&tumbled(stream.range(-1.0, 1.0), stream.range(-1.0, 1.0)));
        self.goal = tumbled(stream.range(-1.0, 1.0), stream.range(-1.0, 1.0));
        for hand in &self.hands {
            for (q, [low, high]) in qpos[hand.qpos..hand.qpos + JOINTS].iter_mut().zip(&hand.joints) {
                *q += JOINT_NOISE * stream.range(low - *q, high - *q);
            }
        }
        let still = vec![0.0; self.sim.data().qvel().len()];
        // The motors hold the joints where they start.
        for hand in &self.hands {
            for (k, joint) in MOTORISED.into_iter().enumerate() {
                let [low, high] = hand.motors[k];
                self.sim.data_mut().ctrl_mut()[hand.ctrl + k] = qpos[hand.qpos + joint].clamp(low, high);
            }
        }
        self.sim.place(&qpos, &still);
        self.actions.fill(0.0);
        (self.steps, self.won, self.phase) = (0, false, Phase::Running);
        self.write(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.phase.running()?;
        self.check(actions)?;
        self.actions.iter_mut().zip(actions.flat()).for_each(|(to, x)| *to = f64::from(*x));
        for (hand, own) in self.hands.iter().zip(self.actions.chunks_exact(MOTORS)) {
            let targets = own.iter().zip(&hand.motors).map(|(x, [low, high])| scale(*x, *low, *high));
            let ctrl = &mut self.sim.data_mut().ctrl_mut()[hand.ctrl..hand.ctrl + MOTORS];
            ctrl.iter_mut().zip(targets).for_each(|(to, target)| *to = target);
        }
        if let Err(error) = self.sim.step(SUBSTEPS) {
            self.phase = Phase::Over;
            return Err(error);
        }
        let (at, turned) = self.object();
        let away = goal_place().iter().zip(at).map(|(g, x)| (g - x).powi(2)).sum::<f64>().sqrt();
        out.rewards.fill(reward(DISTANCE, away, turn(turned, self.goal)));
        self.won |= away < SUCCESS;
        self.write(out);
        self.steps += 1;
        let status = match () {
            () if at[2] <= FALLEN => Status::Terminated,
            () if self.steps >= self.max_cycles => Status::Truncated,
            () => Status::Running,
        };
        if status.done() {
            self.phase = Phase::Over;
        }
        Ok(status)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![self.phase as u8, u8::from(self.won)];
        bytes.extend((self.steps as u64).to_le_bytes());
        self.goal.iter().chain(&self.actions).for_each(|x| bytes.extend(x.to_le_bytes()));
        self.sim.save(&mut bytes);
        Some(bytes)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        self.phase = Phase::Fresh;
        let loaded = self.load(snapshot);
        loaded.ok_or_else(|| EnvError::Failed(format!("these bytes are no snapshot of {}", self.spec.task)))
    }

    fn won(&self) -> Option<bool> {
        (self.phase == Phase::Over).then_some(self.won)
    }

    fn scene(&self) -> Option<Scene> {
        let said = if self.won { "   caught" } else { "" };
        Some(view::draw(&self.sim, View::HANDS, format!("{}   step {}{said}", self.spec.task, self.steps)))
    }
}

/// The joints that have a motor, in the motors' order.
const MOTORISED: [usize; MOTORS] = [0, 1, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 17, 19, 20, 21, 22, 23];

//! One robot and its team of agents.

use std::sync::Arc;

use motley_core::{
    ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, ObsSpace, Phase, Photo, RewardKind, Scene, StateSpace,
    Status, Stream, TeamSpec,
};
use mujoco_rs::prelude::MjModel;

use super::graph::Read;
use super::models;
use super::options::{ActionMap, Observe, Options};
use super::robots::Robot;
use super::rules::Rules;
use crate::engine::{Sim, model};
use crate::photo::{self, Camera, Look};
use crate::view::{self, View};

/// One copy of a robot.
#[derive(Debug)]
pub struct RobotEnv {
    spec: Arc<TeamSpec>,
    sim: Sim,
    rules: Rules,
    view: View,
    /// What each agent sees (`obsk`).
    reads: Vec<Vec<Read>>,
    /// What the whole robot is seen as.
    base: Vec<Read>,
    observe: Observe,
    /// Actuator, lowest and highest control of each entry of the joint action.
    motors: Vec<(usize, f64, f64)>,
    rescale: bool,
    max_cycles: usize,
    /// The actions in the engine's order and units.
    ctrl: Vec<f64>,
    /// The measure of progress before the next step.
    before: f64,
    steps: usize,
    phase: Phase,
    /// One observation in double precision.
    row: Vec<f64>,
    /// What the model's text is made of: the robot, its segments, whether it is the older one.
    made: (Robot, usize, bool),
    /// Made for the first photo.
    camera: Option<Camera>,
}

impl RobotEnv {
    /// From resolved settings; `name` is the task's.
    ///
    /// # Errors
    /// A factorisation that does not share out all joints, or a model that the engine does not take.
    pub fn new(name: &str, options: &Options) -> Result<Self, ConfigError> {
        let robot = options.robot;
        let segments = if robot.is_segmented() { robot.segments(&options.conf).map(|(a, b)| a * b)? } else { 0 };
        let mut sim = Sim::new(model(&models::text(robot, segments, options.v2))?)?;
        let rules = Rules::new(robot, options.v2, &sim);
        let graph = robot.graph(segments, options.slips);
        let agents = options.agents(&graph)?;
        let base = rules.base(&sim);
        let reads: Vec<Vec<Read>> = agents.iter().map(|own| graph.observe(own, options.depth)).collect();
        let range = sim.model().actuator_ctrlrange();
        let nodes = agents.iter().flatten().enumerate();
        let motors: Vec<(usize, f64, f64)> = nodes
            .map(|(k, &node)| match options.actions {
                ActionMap::Scatter => graph.nodes[node].ctrl,
                ActionMap::Concat => k,
            })
            .map(|at| (at, range[at][0], range[at][1]))
            .collect();
        let rescale = options.actions == ActionMap::Concat;
        let mut first = 0;
        let specs = agents.iter().zip(&reads).enumerate().map(|(i, (own, reads))| {
            let mine = &motors[first..first + own.len()];
            first += own.len();
            let bound = |x: f64, unit: f32| if rescale { unit } else { x as f32 };
            let low = mine.iter().map(|(_, low, _)| bound(*low, -1.0)).collect();
            let high = mine.iter().map(|(_, _, high)| bound(*high, 1.0)).collect();
            let size = if options.observe == Observe::Full { base.len() + agents.len() } else { reads.len() };
            let kind: Vec<&str> = own.iter().map(|&n| graph.nodes[n].label.as_str()).collect();
            AgentSpec::new(format!("agent_{i}"), kind.join("+"), ObsSpace::vector(size), ActionSpace::Box { low, high })
        });
        let mut spec = TeamSpec::new(name, specs.collect());
        spec.state = StateSpace::Ep(base.len());
        spec.reward = RewardKind::Common;
        spec.step_limit = Some(options.max_cycles);
        sim.reset();
        Ok(Self {
            spec: Arc::new(spec),
            view: View::of(robot),
            ctrl: vec![0.0; motors.len()],
            row: Vec::with_capacity(base.len() + agents.len()),
            sim,
            rules,
            reads,
            base,
            observe: options.observe,
            motors,
            rescale,
            max_cycles: options.max_cycles,
            before: 0.0,
            steps: 0,
            phase: Phase::Fresh,
            made: (robot, segments, options.v2),
            camera: None,
        })
    }

    /// The simulation.
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// The model, which every copy of the task shares.
    pub fn model(&self) -> Arc<MjModel> {
        self.sim.data().model_clone()
    }

    /// Engine steps a step.
    pub fn skip(&self) -> usize {
        self.rules.skip
    }

    /// A joint action in the engine's order and units.
    pub fn controls(&self, joint: &[f32]) -> Vec<f64> {
        let mut ctrl = self.ctrl.clone();
        self.drive(joint, &mut ctrl);
        ctrl
    }

    /// Starts an episode from given positions and velocities.
    ///
    /// # Errors
    /// Lengths that are not the model's.
    pub fn start_from(&mut self, qpos: &[f64], qvel: &[f64], out: &mut Frame<'_>) -> Result<(), EnvError> {
        let sizes = (self.sim.data().qpos().len(), self.sim.data().qvel().len());
        if (qpos.len(), qvel.len()) != sizes {
            return Err(EnvError::Failed(format!("{} has {} positions and {} velocities", self.spec.task, sizes.0, sizes.1)));
        }
        self.sim.reset();
        self.sim.place(qpos, qvel);
        self.before = self.rules.measure(&self.sim);
        (self.steps, self.phase) = (0, Phase::Running);
        self.write(out);
        Ok(())
    }

    /// What agent `i` sees (`None`: the state), in the double precision of the engine.
    pub fn exact(&self, i: Option<usize>) -> Vec<f64> {
        let mut row = Vec::new();
        self.fill(i, &mut row);
        row
    }

    fn fill(&self, i: Option<usize>, row: &mut Vec<f64>) {
        row.clear();
        match (self.observe, i) {
            (Observe::Neighbours, Some(i)) => row.extend(self.reads[i].iter().map(|r| self.read(*r))),
            (Observe::Neighbours, None) => row.extend(self.base.iter().map(|r| self.read(*r))),
            (Observe::Full, _) => {
                row.extend(self.base.iter().map(|r| self.read(*r)));
                if let Some(i) = i {
                    row.extend((0..self.spec.n()).map(|k| f64::from(u8::from(k == i))));
                }
                standardise(row);
            }
        }
    }

    fn read(&self, read: Read) -> f64 {
        let data = self.sim.data();
        match read {
            Read::Qpos(i) => data.qpos()[i],
            Read::Sin(i) => data.qpos()[i].sin(),
            Read::Cos(i) => data.qpos()[i].cos(),
            Read::Qvel(i) => data.qvel()[i],
            Read::QvelClipped(i) => data.qvel()[i].clamp(-10.0, 10.0),
            Read::Force(i) => data.qfrc_actuator()[i],
            Read::Inertia(b, k) => data.cinert()[b][k],
            Read::Velocity(b, k) => data.cvel()[b][k],
            Read::Contact(b, k) => data.cfrc_ext()[b][k],
            Read::ContactClipped(b, k) => data.cfrc_ext()[b][k].clamp(-1.0, 1.0),
            Read::Position(b, k) => data.xpos()[b][k],
            Read::Apart(a, b, k) => data.xpos()[a][k] - data.xpos()[b][k],
            Read::TendonJacobian(dof) => tendon_jacobian(&self.sim, dof),
            Read::TendonLength => data.ten_length()[0],
            Read::TendonVelocity => data.ten_velocity()[0],
        }
    }

    fn write(&mut self, out: &mut Frame<'_>) {
        let mut row = std::mem::take(&mut self.row);
        let copy = |row: &[f64], to: &mut [f32]| to.iter_mut().zip(row).for_each(|(to, x)| *to = *x as f32);
        for i in 0..self.spec.n() {
            self.fill(Some(i), &mut row);
            copy(&row, &mut out.obs[self.spec.obs_range(i)]);
        }
        self.fill(None, &mut row);
        copy(&row, out.state);
        self.row = row;
    }

    fn drive(&self, joint: &[f32], ctrl: &mut [f64]) {
        for (&(at, low, high), &x) in self.motors.iter().zip(joint) {
            let x = f64::from(x);
            ctrl[at] = if self.rescale { (x + 1.0) / 2.0 * (high - low) + low } else { x };
        }
    }

    fn check(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        actions.checked()?;
        for (i, agent) in self.spec.agents.iter().enumerate() {
            let ActionSpace::Box { low, high } = &agent.action else { continue };
            let given = actions.of(i);
            if !given.iter().zip(low.iter().zip(high)).all(|(x, (l, h))| (l..=h).contains(&x)) {
                return Err(EnvError::Action {
                    agent: agent.name.clone(),
                    expected: format!("{} numbers in {low:?} to {high:?}", low.len()),
                    found: format!("{given:?}"),
                });
            }
        }
        Ok(())
    }
}

impl Env for RobotEnv {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        let (qpos, qvel) = self.rules.start(&self.sim, &mut stream);
        self.start_from(&qpos, &qvel, out)
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.phase.running()?;
        self.check(actions)?;
        let mut ctrl = std::mem::take(&mut self.ctrl);
        self.drive(actions.flat(), &mut ctrl);
        self.ctrl = ctrl;
        self.sim.data_mut().ctrl_mut().copy_from_slice(&self.ctrl);
        if let Err(error) = self.sim.step(self.rules.skip) {
            self.phase = Phase::Over;
            return Err(error);
        }
        if self.rules.contacts {
            self.sim.data_mut().rne_post_constraint();
        }
        out.rewards.fill(self.rules.reward(&self.sim, self.before, &self.ctrl));
        self.before = self.rules.measure(&self.sim);
        self.write(out);
        self.steps += 1;
        let status = match () {
            () if !self.rules.upright(&self.sim) => Status::Terminated,
            () if self.steps >= self.max_cycles => Status::Truncated,
            () => Status::Running,
        };
        if status.done() {
            self.phase = Phase::Over;
        }
        Ok(status)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![self.phase as u8];
        bytes.extend((self.steps as u64).to_le_bytes());
        bytes.extend(self.before.to_le_bytes());
        self.sim.save(&mut bytes);
        Some(bytes)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        self.phase = Phase::Fresh;
        let loaded = self.load(snapshot);
        loaded.ok_or_else(|| EnvError::Failed(format!("these bytes are no snapshot of {}", self.spec.task)))
    }

    fn scene(&self) -> Option<Scene> {
        Some(view::draw(&self.sim, self.view, format!("{}   step {}", self.spec.task, self.steps)))
    }

    fn photo(&mut self, width: u32) -> Option<Result<Photo, ConfigError>> {
        let (robot, segments, v2) = self.made;
        let look = Look { view: self.view, goals: &[] };
        Some(photo::take(&mut self.camera, || models::text(robot, segments, v2), width, &self.sim, look))
    }
}

impl RobotEnv {
    fn load(&mut self, bytes: &[u8]) -> Option<()> {
        let (phase, bytes) = bytes.split_first()?;
        let (steps, bytes) = bytes.split_first_chunk::<8>()?;
        let (before, bytes) = bytes.split_first_chunk::<8>()?;
        let phase = Phase::from_byte(*phase)?;
        let steps = usize::try_from(u64::from_le_bytes(*steps)).ok()?;
        self.sim.load(bytes)?;
        (self.steps, self.before, self.phase) = (steps, f64::from_le_bytes(*before), phase);
        Some(())
    }
}

/// Subtracts the mean of the entries and divides by their (population) standard deviation.
fn standardise(row: &mut [f64]) {
    let n = row.len() as f64;
    let mean = row.iter().sum::<f64>() / n;
    let deviation = (row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    row.iter_mut().for_each(|x| *x = (*x - mean) / deviation);
}

/// The first tendon's row of a sparse matrix, at one velocity.
fn tendon_jacobian(sim: &Sim, dof: usize) -> f64 {
    let model = sim.model();
    let (first, count) = (model.ten_j_rowadr()[0] as usize, model.ten_j_rownnz()[0] as usize);
    let columns = &model.ten_j_colind()[first..first + count];
    columns.iter().position(|&c| c as usize == dof).map_or(0.0, |k| sim.data().ten_j()[first + k])
}

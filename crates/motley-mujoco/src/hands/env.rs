//! Two hands and what they play with.

use std::sync::Arc;

use motley_core::{
    ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, ObsSpace, Phase, Photo, RewardKind, Scene, StateSpace,
    Status, Stream, TeamSpec,
};

use super::model::{SIDES, SUBSTEPS, solid, text};
use super::observe::{Hand, JOINTS, MOTORISED, MOTORS, Things, WRENCH, action_width, hand_width, thing_width};
use super::rules::{Quat, scale, tumbled, wrench};
use super::task::{Base, Play, Seen, Thing};
use crate::engine::{Sim, model};
use crate::photo::{self, Camera, Look};
use crate::view::{self, View};

/// Observations are clipped to this.
const BOUND: f64 = 5.0;

/// One copy of the two hands.
#[derive(Debug)]
pub struct HandsEnv {
    spec: Arc<TeamSpec>,
    play: Play,
    sim: Sim,
    hands: [Hand; 2],
    things: Things,
    max_cycles: usize,
    /// How eggs should be turned.
    goal: Quat,
    /// The last joint action, both hands' one after the other.
    actions: Vec<f64>,
    steps: usize,
    won: bool,
    phase: Phase,
    /// Made for the first photo.
    camera: Option<Camera>,
}

impl HandsEnv {
    /// A copy of a task, called `name`, that truncates episodes after `max_cycles` steps.
    ///
    /// # Errors
    /// A model that the engine does not take.
    pub fn new(name: &str, play: Play, max_cycles: usize) -> Result<Self, ConfigError> {
        let sim = Sim::new(model(&text(&play))?)?;
        let (own, common, width) = (hand_width(play.base), thing_width(&play), action_width(play.base));
        let agent = |side: &&str| {
            let obs = ObsSpace { low: -BOUND as f32, high: BOUND as f32, ..ObsSpace::vector(own + common) };
            AgentSpec::new(format!("{side}_hand"), format!("{side}_hand"), obs, ActionSpace::uniform_box(width, -1.0, 1.0))
        };
        let mut spec = TeamSpec::new(name, SIDES.iter().map(agent).collect());
        spec.state = StateSpace::Ep(2 * own + common);
        spec.reward = RewardKind::Common;
        spec.step_limit = Some(max_cycles);
        spec.winning = true;
        Ok(Self {
            spec: Arc::new(spec),
            hands: Hand::both(&sim)?,
            things: Things::find(&sim, &play)?,
            play,
            sim,
            max_cycles,
            goal: [1.0, 0.0, 0.0, 0.0],
            actions: vec![0.0; 2 * width],
            steps: 0,
            won: false,
            phase: Phase::Fresh,
            camera: None,
        })
    }

    /// The simulation.
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// What the rules look at, as it is now.
    pub fn seen(&self) -> Seen {
        Seen {
            objects: self.things.objects(&self.sim, &self.play, self.goal),
            handles: self.things.handles(&self.sim),
            hands: [0, 1].map(|h| self.hands[h].reach(&self.sim)),
        }
    }

    fn write(&self, out: &mut Frame<'_>) {
        let (own, width) = (hand_width(self.play.base), action_width(self.play.base));
        let mut row = Vec::with_capacity(out.state.len());
        for (hand, action) in self.hands.iter().zip(self.actions.chunks_exact(width)) {
            hand.write(&self.sim, &self.play, action, &mut row);
        }
        self.things.write(&self.sim, &self.play, self.goal, &mut row);
        let copy = |to: &mut [f32], from: &[f64]| {
            to.iter_mut().zip(from).for_each(|(to, x)| *to = x.clamp(-BOUND, BOUND) as f32);
        };
        copy(out.state, &row);
        for h in 0..2 {
            let obs = &mut out.obs[self.spec.obs_range(h)];
            copy(&mut obs[..own], &row[h * own..(h + 1) * own]);
            copy(&mut obs[own..], &row[2 * own..]);
        }
    }

    fn check(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        actions.checked()?;
        for (i, agent) in self.spec.agents.iter().enumerate() {
            let given = actions.of(i);
            if !given.iter().all(|x| (-1.0..=1.0).contains(x)) {
                return Err(EnvError::Action {
                    agent: agent.name.clone(),
                    expected: format!("{} numbers, each in -1..=1", action_width(self.play.base)),
                    found: format!("{given:?}"),
                });
            }
        }
        Ok(())
    }

    /// Hands the last joint action to the engine: wrenches on the forearms, targets of the motors.
    fn drive(&mut self) {
        let width = action_width(self.play.base);
        for (hand, own) in self.hands.iter().zip(self.actions.chunks_exact(width)) {
            let (base, joints) = own.split_at(width - MOTORS);
            if let (Base::Free { transition, orientation }, Ok(base)) = (self.play.base, <[f64; WRENCH]>::try_from(base)) {
                self.sim.data_mut().xfrc_applied_mut()[hand.forearm] = wrench(base, transition, orientation);
            }
            let targets = joints.iter().zip(&hand.motors).map(|(x, [low, high])| scale(*x, *low, *high));
            let ctrl = &mut self.sim.data_mut().ctrl_mut()[hand.ctrl..hand.ctrl + MOTORS];
            ctrl.iter_mut().zip(targets).for_each(|(to, target)| *to = target);
        }
    }

    /// Coordinates of a start. Eggs are moved and turned alike, and their goals are turned alike.
    fn start(&mut self, stream: &mut Stream) -> Vec<f64> {
        let mut qpos = self.sim.model().qpos0().to_vec();
        if self.play.thing == Thing::Eggs {
            let noise: [f64; 3] = std::array::from_fn(|_| self.play.object_noise * stream.range(-1.0, 1.0));
            let turned = tumbled(stream.range(-1.0, 1.0), stream.range(-1.0, 1.0));
            self.goal = tumbled(stream.range(-1.0, 1.0), stream.range(-1.0, 1.0));
            for (at, place) in self.things.coordinates().zip(self.play.places) {
                for k in 0..3 {
                    qpos[at + k] = place.start[k] + noise[k];
                }
                qpos[at + 3..at + 7].copy_from_slice(&turned);
            }
        }
        if let Thing::Door { open, .. } = self.play.thing {
            self.things.hinges.iter().for_each(|at| qpos[*at] = open);
        }
        for hand in &self.hands {
            for (q, [low, high]) in qpos[hand.qpos..hand.qpos + JOINTS].iter_mut().zip(&hand.joints) {
                *q += self.play.joint_noise * stream.range(low - *q, high - *q);
            }
        }
        qpos
    }

    fn load(&mut self, bytes: &[u8]) -> Option<()> {
        let (head, bytes) = bytes.split_first_chunk::<2>()?;
        let (steps, bytes) = bytes.split_first_chunk::<8>()?;
        let phase = Phase::from_byte(head[0])?;
        let own = 8 * (4 + self.actions.len());
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

impl Env for HandsEnv {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.sim.reset();
        let qpos = self.start(&mut stream);
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
        self.drive();
        if let Err(error) = self.sim.step(SUBSTEPS) {
            self.phase = Phase::Over;
            return Err(error);
        }
        let verdict = self.play.rule.judge(&self.seen());
        out.rewards.fill(verdict.reward);
        self.won |= verdict.won;
        self.write(out);
        self.steps += 1;
        let status = match () {
            () if verdict.over => Status::Terminated,
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
        let said = if self.won { "   done" } else { "" };
        let caption = format!("{}   step {}{said}", self.spec.task, self.steps);
        let view = View::hands(&self.play);
        let mut scene = view::draw(&self.sim, view, caption);
        scene.shapes.extend(view::rings(&view::goals(&self.play), view));
        Some(scene)
    }

    fn photo(&mut self, width: u32) -> Option<Result<Photo, ConfigError>> {
        let look = Look { view: View::hands(&self.play), goals: &view::goals(&self.play) };
        Some(photo::take(&mut self.camera, || solid(&self.play).into(), width, &self.sim, look))
    }
}

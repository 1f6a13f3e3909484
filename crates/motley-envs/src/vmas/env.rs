//! One environment of the robots: a scenario, its world and the episode.

use std::sync::Arc;

use motley_core::{
    ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, ObsSpace, Phase, Scene, Status, Stream, StreamState,
    TaskOptions, TeamSpec,
};

use super::scenario::{Row, Scenario, read_suite};
use super::scene;
use super::shape::Vec2;
use super::world::World;
use crate::bytes::take;

/// Choices of an axis in discrete control: none, less, more.
const CHOICES: usize = 3;

/// One copy of a robots environment.
#[derive(Debug)]
pub struct Robots<S> {
    pub(super) scenario: S,
    spec: Arc<TeamSpec>,
    pub(super) world: World,
    pub(super) rng: Stream,
    continuous: bool,
    max_steps: usize,
    steps: usize,
    phase: Phase,
    won: bool,
}

impl<S: Scenario> Robots<S> {
    /// From resolved settings.
    ///
    /// # Errors
    /// A setting that is missing, or settings that do not go together.
    pub fn new(options: &TaskOptions) -> Result<Self, ConfigError> {
        let scenario = S::read(options)?;
        let (continuous, max_steps) = read_suite(options)?;
        let world = scenario.world();
        let agents = (0..world.n()).map(|i| agent_spec(&scenario, &world, i, continuous)).collect();
        let mut spec = TeamSpec::new(format!("vmas/{}", S::NAME), agents);
        spec.version = S::VERSION;
        spec.step_limit = Some(max_steps);
        spec.winning = scenario.winning();
        let rng = Stream::from_state(StreamState { key: 0, pos: 0 });
        Ok(Self { scenario, spec: Arc::new(spec), world, rng, continuous, max_steps, steps: 0, phase: Phase::Fresh, won: false })
    }

    fn check_actions(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        actions.checked()?;
        let range = self.scenario.action_range();
        for (i, agent) in self.spec.agents.iter().enumerate() {
            let given = actions.of(i);
            let fits = |x: &f32| if self.continuous { x.abs() <= range } else { [0.0, 1.0, 2.0].contains(x) };
            if !given.iter().all(fits) {
                let expected = match self.continuous {
                    true => format!("2 numbers, each in -{range}..={range}"),
                    false => format!("2 whole numbers, each in 0..{CHOICES}"),
                };
                return Err(EnvError::Action { agent: agent.name.clone(), expected, found: format!("{given:?}") });
            }
        }
        Ok(())
    }

    /// Sets the engines by the actions.
    pub(super) fn control(&mut self, actions: Actions<'_>) {
        let range = self.scenario.action_range();
        for i in 0..self.world.n() {
            let given = actions.of(i);
            let mut action: Vec2 = [given[0], given[1]];
            if !self.continuous {
                action = action.map(|choice| [0.0, -range, range][choice as usize % CHOICES]);
            }
            self.scenario.control(&mut self.world, i, action);
        }
        self.scenario.before_physics(&mut self.world);
    }

    /// All rewards, agent after agent, then all observations; `between` is called between them.
    pub(super) fn judge(&mut self, out: &mut Frame<'_>, between: &mut dyn FnMut(&mut World)) {
        for i in 0..self.world.n() {
            out.rewards[i] = f64::from(self.scenario.reward(&mut self.world, &mut self.rng, i));
        }
        between(&mut self.world);
        self.write(out);
    }

    /// What is seen without a step.
    pub(super) fn write(&mut self, out: &mut Frame<'_>) {
        (0..self.world.n()).for_each(|i| self.observe(i, out));
        out.state.copy_from_slice(out.obs);
    }

    fn observe(&mut self, i: usize, out: &mut Frame<'_>) {
        let row = &mut out.obs[self.spec.obs_range(i)];
        self.scenario.observe(&self.world, i, &mut Row::new(row));
        let noise = self.scenario.obs_noise();
        if noise > 0.0 {
            row.iter_mut().for_each(|x| *x += self.rng.range(-noise, noise) as f32);
        }
    }
}

/// What agent `i` of a scenario sees and can do.
fn agent_spec<S: Scenario>(scenario: &S, world: &World, i: usize, continuous: bool) -> AgentSpec {
    let mut length = Row::new(&mut []);
    scenario.observe(world, i, &mut length);
    let range = scenario.action_range();
    let action =
        if continuous { ActionSpace::uniform_box(2, -range, range) } else { ActionSpace::MultiDiscrete(vec![CHOICES; 2]) };
    let name = world.agent(i).name.clone();
    let mut agent = AgentSpec::new(name, scenario.kind(i), ObsSpace::vector(length.len), action);
    let (position, velocity) = scenario.body_in_obs();
    agent.position = position.map(|at| at..at + 2);
    agent.velocity = velocity.map(|at| at..at + 2);
    agent
}

impl<S: Scenario> Env for Robots<S> {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.rng = stream;
        self.world.quiet();
        self.scenario.place(&mut self.world, &mut self.rng);
        self.scenario.remember(&mut self.world);
        (self.steps, self.phase, self.won) = (0, Phase::Running, false);
        self.write(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.phase.running()?;
        self.check_actions(actions)?;
        self.control(actions);
        self.world.advance();
        self.scenario.after_physics(&mut self.world);
        self.judge(out, &mut |_| {});
        self.steps += 1;
        if let Some(won) = self.scenario.ended(&self.world) {
            (self.phase, self.won) = (Phase::Over, won);
            return Ok(Status::Terminated);
        }
        if self.steps >= self.max_steps {
            self.phase = Phase::Over;
            return Ok(Status::Truncated);
        }
        Ok(Status::Running)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![self.phase as u8, u8::from(self.won)];
        let rng = self.rng.state();
        [self.steps as u64, rng.key, rng.pos].iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        for body in &self.world.bodies {
            bytes.push(body.layers);
            bytes.extend(body.mass.to_le_bytes());
            let numbers = [body.pos, body.vel, body.gravity, [body.rot, body.spin]];
            numbers.as_flattened().iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        }
        self.world.memory.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        Some(bytes)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        self.phase = Phase::Fresh;
        self.load(snapshot).ok_or_else(|| EnvError::Failed(format!("these bytes are no snapshot of {}", self.spec.task)))
    }

    fn won(&self) -> Option<bool> {
        (self.spec.winning && self.phase == Phase::Over).then_some(self.won)
    }

    fn scene(&self) -> Option<Scene> {
        Some(scene::draw(&self.world, self.steps))
    }
}

impl<S: Scenario> Robots<S> {
    fn load(&mut self, mut bytes: &[u8]) -> Option<()> {
        let rest = &mut bytes;
        let phase = Phase::from_byte(take::<1>(rest)?[0])?;
        let won = take::<1>(rest)? == [1];
        let steps = usize::try_from(u64::from_le_bytes(take(rest)?)).ok()?;
        let rng = StreamState { key: u64::from_le_bytes(take(rest)?), pos: u64::from_le_bytes(take(rest)?) };
        if rest.len() != 41 * self.world.bodies.len() + 4 * self.world.memory.len() {
            return None;
        }
        for body in &mut self.world.bodies {
            [body.layers] = take(rest)?;
            body.mass = f64::from_le_bytes(take(rest)?);
            let mut pair = || Some([f32::from_le_bytes(take(rest)?), f32::from_le_bytes(take(rest)?)]);
            (body.pos, body.vel, body.gravity) = (pair()?, pair()?, pair()?);
            let [rot, spin] = pair()?;
            body.turn(rot);
            body.spin = spin;
        }
        for x in &mut self.world.memory {
            *x = f32::from_le_bytes(take(rest)?);
        }
        (self.rng, self.steps, self.won, self.phase) = (Stream::from_state(rng), steps, won, phase);
        Some(())
    }
}

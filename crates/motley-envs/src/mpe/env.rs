//! One particle environment: a scenario, its world and the episode.

use std::sync::Arc;

use motley_core::{
    ActionMeaning, ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, ObsSpace, Phase, Scene, Status, Stream,
    TaskOptions, TeamSpec,
};

use super::numpy_rng::{NumpyRng, SAVED};
use super::scenario::{Count, Row, Scenario};
use super::world::{Flavour, Vec2, World};
use super::{Replay, scene};
use crate::bytes::take;

/// Moves of a body: stay, left, right, down, up.
const MOVES: usize = 5;
/// First number that means an utterance ([`ActionMeaning::Own`]); below it are moves.
const SAYS: usize = 16;
/// First number that means a move and an utterance at once.
const BOTH: usize = 256;

/// What changes during an episode, as recorded from or given to an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct RawState {
    /// Positions, agents then landmarks.
    pub pos: Vec<Vec2>,
    /// Velocities, agents then landmarks.
    pub vel: Vec<Vec2>,
    /// Last utterances, `[agents, channels]`.
    pub comm: Vec<f64>,
    /// The scenario's own small numbers (goals, what is carried).
    pub marks: Vec<u32>,
}

/// One copy of a particle environment.
#[derive(Debug)]
pub struct Particles<S> {
    scenario: S,
    spec: Arc<TeamSpec>,
    world: World,
    rng: NumpyRng,
    flavour: Flavour,
    continuous: bool,
    max_cycles: usize,
    steps: usize,
    phase: Phase,
    won: bool,
}

impl<S: Scenario> Particles<S> {
    /// From resolved settings.
    ///
    /// # Errors
    /// A setting that is missing.
    pub fn new(options: &TaskOptions) -> Result<Self, ConfigError> {
        let scenario = S::read(options)?;
        let flavour = match options.value("flavour").ok().and_then(|v| v.as_str()) {
            Some("v2") => Flavour::V2,
            Some("v2.5") => Flavour::V25,
            _ => Flavour::V3,
        };
        let continuous = options.get("continuous")?;
        let max_cycles = options.get("max_cycles")?;
        let mut world = scenario.world();
        world.marks = vec![0; scenario.mark_bounds().len()];
        let agents = (0..world.agents).map(|i| agent_spec(&scenario, &world, i, continuous)).collect();
        let mut spec = TeamSpec::new(format!("mpe/{}", S::NAME), agents);
        spec.step_limit = Some(max_cycles);
        spec.winning = scenario.ends_on_success() && S::SHARED_SUCCESS;
        Ok(Self {
            scenario,
            spec: Arc::new(spec),
            world,
            rng: NumpyRng::new(0),
            flavour,
            continuous,
            max_cycles,
            steps: 0,
            phase: Phase::Fresh,
            won: false,
        })
    }

    fn marks_fit(&self, marks: &[u32]) -> bool {
        let bounds = self.scenario.mark_bounds();
        marks.len() == bounds.len() && marks.iter().zip(bounds).all(|(mark, bound)| *mark < bound)
    }

    /// Refuses a state of another task or of other settings, by the part that does not fit.
    fn check_raw(&self, raw: &RawState) -> Result<(), EnvError> {
        let (bodies, bounds) = (self.world.bodies.len(), self.scenario.mark_bounds());
        let parts = [
            ("positions (of agents, then of landmarks)", bodies, raw.pos.len()),
            ("velocities (of agents, then of landmarks)", bodies, raw.vel.len()),
            ("numbers of utterances", self.world.comm.len(), raw.comm.len()),
            ("marks", bounds.len(), raw.marks.len()),
        ];
        let wrong = match parts.iter().find(|(_, expected, found)| expected != found) {
            Some((what, expected, found)) => format!("expected {expected} {what}, found {found}"),
            None if !self.marks_fit(&raw.marks) => format!("expected marks below {bounds:?}, found {:?}", raw.marks),
            None => return Ok(()),
        };
        Err(EnvError::Failed(format!("this state does not fit {}: {wrong}; get_state shows the form", self.spec.task)))
    }

    fn write(&self, out: &mut Frame<'_>) {
        for i in 0..self.world.agents {
            self.scenario.observe(&self.world, i, &mut Row(out.obs[self.spec.obs_range(i)].iter_mut()));
        }
        out.state.copy_from_slice(out.obs);
    }

    fn check_actions(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        actions.checked()?;
        for (i, agent) in self.spec.agents.iter().enumerate() {
            let given = actions.of(i);
            let fits = match agent.action {
                ActionSpace::Discrete(n) => is_choice(given[0], n),
                _ => given.iter().all(|x| (0.0..=1.0).contains(x)),
            };
            if !fits {
                return Err(EnvError::Action {
                    agent: agent.name.clone(),
                    expected: match agent.action {
                        ActionSpace::Discrete(n) => format!("a whole number in 0..{n}"),
                        _ => format!("{} numbers, each in 0..=1", given.len()),
                    },
                    found: format!("{given:?}"),
                });
            }
        }
        Ok(())
    }

    /// Turns actions into forces and utterances.
    fn apply(&mut self, actions: Actions<'_>) {
        let channels = self.world.dim_c;
        for i in 0..self.world.agents {
            let given = actions.of(i);
            let (moves, talks) = (self.world.bodies[i].movable, self.world.bodies[i].talks);
            let said = &mut self.world.comm[i * channels..(i + 1) * channels];
            let mut direction = [0.0; 2];
            if self.continuous {
                let words = if moves { &given[MOVES..] } else { given };
                if talks {
                    said.iter_mut().zip(words).for_each(|(s, &w)| *s = f64::from(w));
                }
                if moves {
                    direction = [f64::from(given[2] - given[1]), f64::from(given[4] - given[3])];
                    if self.flavour != Flavour::V3 {
                        direction = [f64::from(given[1] - given[2]), f64::from(given[3] - given[4])];
                    }
                }
            } else {
                let choice = given[0] as usize;
                let word = if moves { choice / MOVES } else { choice };
                if talks {
                    said.fill(0.0);
                    said[word] = 1.0;
                }
                if moves {
                    direction = [[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]][choice % MOVES];
                }
            }
            if moves {
                self.world.push(i, direction);
            }
        }
    }
}

/// Whether `x` is one of the whole numbers below `n`.
fn is_choice(x: f32, n: usize) -> bool {
    let choice = x as u32; // saturates, and is 0 for what is no number
    choice as f32 == x && (choice as usize) < n
}

/// What agent `i` of a scenario sees and can do.
fn agent_spec<S: Scenario>(scenario: &S, world: &World, i: usize, continuous: bool) -> AgentSpec {
    let mut length = Count::default();
    scenario.observe(world, i, &mut length);
    let body = &world.bodies[i];
    let (moves, says) = (if body.movable { MOVES } else { 0 }, if body.talks { world.dim_c } else { 0 });
    let numbers = match (moves, says) {
        (m, 0) => 0..m,
        (0, s) => SAYS..SAYS + s,
        (m, s) => BOTH..BOTH + m * s,
    };
    let name = scenario.agent_name(i);
    let kind = name.rsplit_once('_').map_or(name.as_str(), |(kind, _)| kind).to_owned();
    let action = if continuous { ActionSpace::uniform_box(moves + says, 0.0, 1.0) } else { ActionSpace::Discrete(numbers.len()) };
    let mut agent = AgentSpec::new(name, kind, ObsSpace::vector(length.0), action);
    if !continuous {
        agent.meaning = numbers.map(|k| ActionMeaning::Own(k as u16)).collect();
    }
    let (position, velocity) = scenario.body_in_obs(i);
    agent.position = position.map(|at| at..at + 2);
    agent.velocity = velocity.map(|at| at..at + 2);
    agent
}

impl<S: Scenario> Env for Particles<S> {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.reset_from(u64::from(stream.next_u32()), out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.phase.running()?;
        self.check_actions(actions)?;
        self.apply(actions);
        self.world.advance(self.flavour);
        self.scenario.after_physics(&mut self.world, &mut self.rng);
        self.scenario.rewards(&self.world, self.flavour, out.rewards);
        self.write(out);
        self.steps += 1;
        // A success in the very last step is an end of the task, not a cut: mpe2 calls it truncated.
        if self.scenario.ends_on_success() && self.scenario.success(&self.world) {
            (self.phase, self.won) = (Phase::Over, true);
            return Ok(Status::Terminated);
        }
        if self.steps >= self.max_cycles {
            self.phase = Phase::Over;
            return Ok(Status::Truncated);
        }
        Ok(Status::Running)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![self.phase as u8, u8::from(self.won)];
        bytes.extend((self.steps as u64).to_le_bytes());
        self.rng.save(&mut bytes);
        for body in &self.world.bodies {
            body.pos.iter().chain(&body.vel).for_each(|x| bytes.extend(x.to_le_bytes()));
        }
        self.world.comm.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        self.world.marks.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
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
        Some(scene::draw(&self.scenario, &self.world, &self.spec, self.steps))
    }
}

impl<S: Scenario> Particles<S> {
    fn load(&mut self, mut bytes: &[u8]) -> Option<()> {
        let (rest, numbers) = (&mut bytes, 4 * self.world.bodies.len() + self.world.comm.len());
        let phase = Phase::from_byte(take::<1>(rest)?[0])?;
        let won = take::<1>(rest)? == [1];
        let steps = usize::try_from(u64::from_le_bytes(take(rest)?)).ok()?;
        let rng = NumpyRng::load(&take::<SAVED>(rest)?)?;
        if rest.len() != 8 * numbers + 4 * self.world.marks.len() {
            return None;
        }
        let marks: Vec<u32> = rest[8 * numbers..].as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        if !self.marks_fit(&marks) {
            return None;
        }
        for body in &mut self.world.bodies {
            for x in body.pos.iter_mut().chain(&mut body.vel) {
                *x = f64::from_le_bytes(take(rest)?);
            }
        }
        for x in &mut self.world.comm {
            *x = f64::from_le_bytes(take(rest)?);
        }
        self.world.marks = marks;
        (self.rng, self.steps, self.won, self.phase) = (rng, steps, won, phase);
        Some(())
    }
}

impl<S: Scenario> Replay for Particles<S> {
    fn reset_from(&mut self, numpy_seed: u64, out: &mut Frame<'_>) {
        self.rng = NumpyRng::new(numpy_seed);
        self.world.quiet();
        // mpe2 hands steps a copy of the generator as it was before the start was drawn.
        self.scenario.place(&mut self.world, &mut self.rng.clone());
        (self.steps, self.phase, self.won) = (0, Phase::Running, false);
        self.write(out);
    }

    fn raw(&self) -> RawState {
        RawState {
            pos: self.world.bodies.iter().map(|b| b.pos).collect(),
            vel: self.world.bodies.iter().map(|b| b.vel).collect(),
            comm: self.world.comm.clone(),
            marks: self.world.marks.clone(),
        }
    }

    fn set_raw(&mut self, raw: &RawState, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.check_raw(raw)?;
        for ((body, pos), vel) in self.world.bodies.iter_mut().zip(&raw.pos).zip(&raw.vel) {
            (body.pos, body.vel) = (*pos, *vel);
        }
        self.world.comm.copy_from_slice(&raw.comm);
        self.world.marks.copy_from_slice(&raw.marks);
        (self.steps, self.phase, self.won) = (0, Phase::Running, false);
        self.write(out);
        Ok(())
    }
}

//! Tiny environments with known answers, to try a learner, a critic or a training loop of one's own on.
//!
//! | probe | team | what is known |
//! |---|---|---|
//! | [`Probe::Bandit`] | two agents, `Discrete(3)` | one step, each is paid its action: best own return 2, best team return 4 |
//! | [`Probe::Delay`] | one agent, `Discrete(2)` | two steps, 1 is paid at the second whatever is done: V = gamma, then 1 |
//! | [`Probe::Sighted`] | two agents, `Discrete(2)` | one step, the observation is -1 or 1 (for each agent its own), 1 is paid for 0 at -1 and 1 at 1 |
//! | [`Probe::RaggedEp`], [`Probe::RaggedFp`] | `Discrete(3)` with 4 observations, `Box(2)` with 6, `MultiDiscrete(3, 2)` with 5 | deaths, masks, terminations and truncations; see below |
//! | [`Probe::Image`] | one agent, 4 x 5 x 1 pixels, `Discrete(2)` | one step, the picture is bright left or right, 1 is paid for 0 at left and 1 at right |
//!
//! In the ragged probe the *walker* is paid 1 for action 1 while it lives, action 2 is not available at odd steps, and it dies
//! for good at a step drawn at the reset (its no-op is 0); the *arm* is paid `1 - |a_0 - x| / 2` where `x` in -1..1 is its first
//! observation, drawn anew at each step; the *picker* is paid 0.5 for each right choice of (2, 1). An episode terminates with
//! probability 0.05 at every step and is truncated after `steps`.

use std::sync::Arc;

use motley_core::rng::StreamState;
use motley_core::{
    ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, Key, Kind, ObsSpace, Purpose, RewardKind, StateSpace,
    Status, Stream, Task, TaskOptions, TeamSpec,
};

/// Which environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// One step, paid by action.
    Bandit,
    /// Two steps, paid at the second.
    Delay,
    /// One step, paid by observation and action.
    Sighted,
    /// Unlike agents, one state for the team.
    RaggedEp,
    /// Unlike agents, a state for each.
    RaggedFp,
    /// A picture.
    Image,
}

/// All of them.
pub const PROBES: [Probe; 6] = [Probe::Bandit, Probe::Delay, Probe::Sighted, Probe::RaggedEp, Probe::RaggedFp, Probe::Image];

const HEIGHT: usize = 4;
const WIDTH: usize = 5;
const STATE_ROW: usize = 5;

impl Probe {
    /// The name behind `probe/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bandit => "bandit",
            Self::Delay => "delay",
            Self::Sighted => "sighted",
            Self::RaggedEp => "ragged_ep",
            Self::RaggedFp => "ragged_fp",
            Self::Image => "image",
        }
    }

    fn is_ragged(self) -> bool {
        matches!(self, Self::RaggedEp | Self::RaggedFp)
    }

    /// Steps of an episode, where the task does not say.
    fn length(self) -> Option<u32> {
        match self {
            Self::Delay => Some(2),
            Self::RaggedEp | Self::RaggedFp => None,
            _ => Some(1),
        }
    }

    fn team(self, steps: u32) -> TeamSpec {
        let agent = |name: &str, obs, action| AgentSpec::new(name, name, obs, action);
        let twins = |action: ActionSpace| {
            ["left", "right"].map(|name| AgentSpec::new(name, "twin", ObsSpace::vector(1), action.clone())).to_vec()
        };
        let agents = match self {
            Self::Bandit => twins(ActionSpace::Discrete(3)),
            Self::Sighted => twins(ActionSpace::Discrete(2)),
            Self::Delay => vec![agent("waiter", ObsSpace::vector(1), ActionSpace::Discrete(2))],
            Self::Image => vec![agent("watcher", ObsSpace::image(HEIGHT, WIDTH, 1), ActionSpace::Discrete(2))],
            Self::RaggedEp | Self::RaggedFp => {
                let mut walker = agent("walker", ObsSpace::vector(4), ActionSpace::Discrete(3));
                walker.noop = Some(0);
                vec![
                    walker,
                    agent("arm", ObsSpace::vector(6), ActionSpace::uniform_box(2, -1.0, 1.0)),
                    agent("picker", ObsSpace::vector(5), ActionSpace::MultiDiscrete(vec![3, 2])),
                ]
            }
        };
        let mut team = TeamSpec::new(format!("probe/{}", self.name()), agents);
        team.step_limit = Some(steps as usize);
        team.reward = if self == Self::Delay { RewardKind::Common } else { RewardKind::Own };
        (team.masks, team.deaths) = (self.is_ragged(), self.is_ragged());
        if self.is_ragged() {
            team.state = if self == Self::RaggedFp { StateSpace::Fp(STATE_ROW) } else { StateSpace::Ep(STATE_ROW) };
        }
        team
    }
}

/// One copy of a [`Probe`].
#[derive(Debug, Clone)]
pub struct ProbeEnv {
    spec: Arc<TeamSpec>,
    probe: Probe,
    steps: u32,
    stream: Stream,
    running: bool,
    time: u32,
    /// The step after which the walker is dead.
    dies: u32,
    /// What the episode or the step asks for, one number an agent.
    asked: [f32; 3],
}

impl ProbeEnv {
    /// A copy. `steps` bounds the episodes of the ragged probes; the others have lengths of their own.
    pub fn new(probe: Probe, steps: u32) -> Self {
        let steps = probe.length().unwrap_or(steps.max(1));
        let stream = Stream::new(0, Purpose::Check, 0, 0);
        let spec = Arc::new(probe.team(steps));
        Self { spec, probe, steps, stream, running: false, time: 0, dies: 0, asked: [0.0; 3] }
    }

    fn ask(&mut self) {
        let stream = &mut self.stream;
        let ragged = self.probe.is_ragged();
        self.asked =
            std::array::from_fn(|_| if ragged { stream.range(-1.0, 1.0) as f32 } else { stream.below(2) as f32 * 2.0 - 1.0 });
    }

    fn walker_lives(&self) -> bool {
        !self.probe.is_ragged() || self.time < self.dies
    }

    fn show(&self, out: &mut Frame<'_>) {
        let time = self.time as f32 / self.steps as f32;
        match self.probe {
            Probe::Bandit => out.obs.fill(1.0),
            Probe::Delay => out.obs[0] = time,
            Probe::Sighted => out.obs.copy_from_slice(&self.asked[..2]),
            Probe::Image => {
                for (k, pixel) in out.obs.iter_mut().enumerate() {
                    let right = k % WIDTH > WIDTH / 2;
                    *pixel = if right == (self.asked[0] > 0.0) { 255.0 } else { 0.0 };
                }
            }
            Probe::RaggedEp | Probe::RaggedFp => {
                for i in 0..3 {
                    let row = &mut out.obs[self.spec.obs_range(i)];
                    row.fill(0.25 * i as f32);
                    (row[0], row[1]) = (self.asked[i], time);
                }
                let walker = f32::from(u8::from(self.walker_lives()));
                for (k, row) in out.state.chunks_exact_mut(STATE_ROW).enumerate() {
                    row.copy_from_slice(&[self.asked[0], self.asked[1], time, walker, k as f32]);
                }
                out.alive[0] = self.walker_lives();
                out.avail[..3].copy_from_slice(&self.walker_mask());
                return;
            }
        }
        out.state.copy_from_slice(out.obs);
    }

    fn walker_mask(&self) -> [bool; 3] {
        if self.walker_lives() { [true, true, self.time.is_multiple_of(2)] } else { [true, false, false] }
    }

    fn check(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        for (i, agent) in self.spec.agents.iter().enumerate() {
            let given = actions.of(i);
            let whole = |x: f32, n: usize| x >= 0.0 && x.fract() == 0.0 && (x as usize) < n;
            let fits = match &agent.action {
                ActionSpace::Discrete(n) => {
                    whole(given[0], *n) && (!self.probe.is_ragged() || self.walker_mask()[given[0] as usize])
                }
                ActionSpace::MultiDiscrete(sizes) => given.iter().zip(sizes).all(|(x, n)| whole(*x, *n)),
                ActionSpace::Box { low, high } => given.iter().zip(low.iter().zip(high)).all(|(x, (a, b))| (a..=b).contains(&x)),
            };
            if !fits {
                let expected = format!("an available action of {}", agent.action.describe());
                return Err(EnvError::Action { agent: agent.name.clone(), expected, found: format!("{given:?}") });
            }
        }
        Ok(())
    }

    fn pay(&self, actions: Actions<'_>, rewards: &mut [f64]) {
        let one = |yes: bool| f64::from(u8::from(yes));
        match self.probe {
            Probe::Bandit => rewards.iter_mut().enumerate().for_each(|(i, r)| *r = f64::from(actions.of(i)[0])),
            Probe::Delay => rewards[0] = one(self.time == 1),
            Probe::Sighted | Probe::Image => {
                rewards.iter_mut().enumerate().for_each(|(i, r)| *r = one((actions.choice(i) == 1) == (self.asked[i] > 0.0)));
            }
            Probe::RaggedEp | Probe::RaggedFp => {
                rewards[0] = one(self.walker_lives() && actions.choice(0) == 1);
                rewards[1] = 1.0 - f64::from((actions.of(1)[0] - self.asked[1]).abs()) / 2.0;
                rewards[2] = 0.5 * (one(actions.of(2)[0] == 2.0) + one(actions.of(2)[1] == 1.0));
            }
        }
    }
}

impl Env for ProbeEnv {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.stream = stream;
        (self.running, self.time) = (true, 0);
        self.dies = 1 + self.stream.below(2 * self.steps);
        self.ask();
        self.show(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        if !self.running {
            return Err(EnvError::NotRunning("before a reset or after the end of the episode"));
        }
        self.check(actions)?;
        self.pay(actions, out.rewards);
        self.time += 1;
        let ragged = self.probe.is_ragged();
        if ragged {
            self.ask();
        }
        self.show(out);
        let status = match self.time >= self.steps {
            _ if ragged && self.stream.bernoulli(0.05) => Status::Terminated,
            true if ragged => Status::Truncated,
            true => Status::Terminated,
            false => Status::Running,
        };
        self.running = !status.done();
        Ok(status)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        let StreamState { key, pos } = self.stream.state();
        let mut bytes = vec![u8::from(self.running)];
        bytes.extend(key.to_le_bytes().into_iter().chain(pos.to_le_bytes()));
        bytes.extend(self.time.to_le_bytes().into_iter().chain(self.dies.to_le_bytes()));
        bytes.extend(self.asked.iter().flat_map(|x| x.to_le_bytes()));
        Some(bytes)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        self.running = false;
        let wrong = || EnvError::Failed("these bytes are no snapshot of a probe".into());
        let (&[running], rest) = snapshot.split_first_chunk::<1>().ok_or_else(wrong)?;
        let (words, _) = rest.as_chunks::<4>();
        if rest.len() != 36 || running > 1 {
            return Err(wrong());
        }
        let long = |k: usize| u64::from(u32::from_le_bytes(words[k])) | u64::from(u32::from_le_bytes(words[k + 1])) << 32;
        self.stream = Stream::from_state(StreamState { key: long(0), pos: long(2) });
        (self.time, self.dies) = (u32::from_le_bytes(words[4]), u32::from_le_bytes(words[5]));
        self.asked = std::array::from_fn(|k| f32::from_le_bytes(words[6 + k]));
        if self.time > self.steps || self.asked.iter().any(|x| !x.is_finite()) {
            return Err(wrong());
        }
        self.running = running == 1;
        Ok(())
    }
}

/// A task made of a function: a probe, a [`crate::env::FaultyEnv`] around one, or anything else. The function is given the
/// number of copies made before.
pub struct TestTask<F> {
    name: String,
    make: F,
    made: std::sync::atomic::AtomicUsize,
}

impl<F: Fn(usize) -> Box<dyn Env> + Send + Sync> TestTask<F> {
    /// `name` must be that of the environments' team, `suite/name`.
    pub fn new(name: impl Into<String>, make: F) -> Self {
        Self { name: name.into(), make, made: std::sync::atomic::AtomicUsize::new(0) }
    }
}

impl<F: Fn(usize) -> Box<dyn Env> + Send + Sync> Task for TestTask<F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn summary(&self) -> String {
        "for tests".into()
    }

    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }

    fn make(&self, _options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Ok((self.make)(self.made.fetch_add(1, std::sync::atomic::Ordering::SeqCst)))
    }
}

struct ProbeTask(Probe);

impl Task for ProbeTask {
    fn name(&self) -> String {
        format!("probe/{}", self.0.name())
    }

    fn summary(&self) -> String {
        "a probe with a known answer".into()
    }

    fn keys(&self) -> Vec<Key> {
        if self.0.is_ragged() {
            vec![Key::new("task.steps", 10, Kind::Int(1, 1_000_000), "steps after which an episode is truncated")]
        } else {
            Vec::new()
        }
    }

    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        let steps: usize = if self.0.is_ragged() { options.get("steps")? } else { 1 };
        Ok(Box::new(ProbeEnv::new(self.0, steps as u32)))
    }
}

/// The probes as tasks `probe/<name>`, for a registry.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    PROBES.iter().map(|p| Arc::new(ProbeTask(*p)) as Arc<dyn Task>).collect()
}

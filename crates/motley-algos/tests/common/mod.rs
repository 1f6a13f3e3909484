//! A task whose every feature can be switched (action kinds, images, masks, deaths, faults, FP state, own rewards, endings),
//! and a bench that collects and updates without a run folder.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]
#![allow(dead_code, reason = "every test file uses its own part of this")]

pub mod oracle;
pub mod whisper;

use std::sync::Arc;

use motley_algos::{Algorithm, Registry, UpdateContext};
use motley_core::{
    ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, Key, Kind, Metrics, ObsSpace, Origin, Purpose,
    RewardKind, Settings, StateSpace, Status, Stream, TeamSpec,
};
use motley_data::rollout::Rollout;
use motley_nn::{Policy, Pool};
use motley_run::{StateReader, StateWriter};
use motley_train::MakeEnv;
use motley_train::collect::Collector;

/// Entries of one critic row of a [`Toy`].
pub const STATE: usize = 5;

/// What a toy task is. Agents see noise and are paid for answering its first entry.
#[derive(Clone)]
pub struct Toy {
    pub agents: Vec<(ObsSpace, ActionSpace)>,
    /// A state per agent.
    pub fp: bool,
    /// Agents are paid apart.
    pub own: bool,
    /// Steps of an episode.
    pub length: usize,
    /// The end is the task's own; else a limit.
    pub terminates: bool,
    pub masks: bool,
    pub deaths: bool,
    pub faults: bool,
}

impl Toy {
    /// Agents with 3 + i observed numbers and these actions; EP, common reward, truncated after 7 steps.
    pub fn new(actions: &[ActionSpace]) -> Self {
        let agents = actions.iter().enumerate().map(|(i, a)| (ObsSpace::vector(3 + i), a.clone())).collect();
        Self { agents, fp: false, own: false, length: 7, terminates: false, masks: false, deaths: false, faults: false }
    }

    /// One agent of each kind of action.
    pub fn mixed() -> Self {
        Self::new(&[ActionSpace::Discrete(3), ActionSpace::uniform_box(2, -1.0, 1.0), ActionSpace::MultiDiscrete(vec![2, 3])])
    }

    /// Three unlike agents with discrete actions, masked and mortal.
    pub fn discrete() -> Self {
        let toy = Self::new(&[ActionSpace::Discrete(3), ActionSpace::Discrete(4), ActionSpace::Discrete(2)]);
        Self { masks: true, deaths: true, ..toy }
    }

    pub fn team(&self) -> Arc<TeamSpec> {
        let agent = |(i, (obs, action)): (usize, &(ObsSpace, ActionSpace))| {
            let mut agent = AgentSpec::new(format!("agent_{i}"), format!("kind_{i}"), obs.clone(), action.clone());
            agent.noop = Some(0).filter(|_| !action.is_continuous());
            agent
        };
        let mut team = TeamSpec::new("test/toy", self.agents.iter().enumerate().map(agent).collect());
        team.state = if self.fp { StateSpace::Fp(STATE) } else { StateSpace::Ep(STATE) };
        team.reward = if self.own { RewardKind::Own } else { RewardKind::Common };
        (team.masks, team.deaths) = (self.masks || self.deaths, self.deaths);
        team.step_limit = Some(self.length).filter(|_| !self.terminates);
        Arc::new(team)
    }

    pub fn make(&self) -> MakeEnv {
        let (toy, team) = (self.clone(), self.team());
        Arc::new(move || {
            let rng = Stream::new(0, Purpose::Check, 0, 0);
            Ok(Box::new(ToyEnv { toy: toy.clone(), team: Arc::clone(&team), rng, time: 0, obs: Vec::new(), alive: Vec::new() }))
        })
    }
}

struct ToyEnv {
    toy: Toy,
    team: Arc<TeamSpec>,
    rng: Stream,
    time: usize,
    obs: Vec<f32>,
    alive: Vec<bool>,
}

impl ToyEnv {
    fn show(&mut self, out: &mut Frame<'_>) {
        for (i, agent) in self.team.agents.iter().enumerate() {
            for x in &mut out.obs[self.team.obs_range(i)] {
                let drawn = if agent.obs.is_image() { f64::from(self.rng.below(256)) } else { self.rng.range(-1.0, 1.0) };
                *x = if self.alive[i] { drawn as f32 } else { 0.0 };
            }
            let mask = &mut out.avail[self.team.mask_range(i)];
            let mut at = 0;
            for &n in agent.action.choices() {
                // The last of three or more choices is sometimes closed; the dead have their first alone.
                let closed = self.toy.masks && n > 2 && self.rng.bernoulli(0.4);
                mask[at..at + n]
                    .iter_mut()
                    .enumerate()
                    .for_each(|(k, m)| *m = k == 0 || (self.alive[i] && !(closed && k == n - 1)));
                at += n;
            }
        }
        self.obs = out.obs.to_vec();
        for (k, row) in out.state.chunks_exact_mut(STATE).enumerate() {
            row.fill(0.0);
            row[0] = self.time as f32 / self.toy.length as f32;
            row[1] = self.obs[self.team.obs_range(k).start] / 10.0;
            row[2] = self.obs[self.team.obs_len() - 1] / 10.0;
            row[3] = f32::from(u8::from(self.alive[k]));
            row[4] = k as f32;
        }
        out.alive.copy_from_slice(&self.alive);
    }

    fn pay(&self, i: usize, action: &[f32]) -> f64 {
        let seen = self.obs[self.team.obs_range(i).start];
        match &self.team.agents[i].action {
            _ if !self.alive[i] => 0.0,
            ActionSpace::Box { .. } => 1.0 - action.iter().map(|a| f64::from(a - seen).powi(2)).sum::<f64>(),
            _ => f64::from(u8::from((action[0] == 1.0) == (seen > 0.0))) + 0.1 * i as f64,
        }
    }
}

impl Env for ToyEnv {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        (self.rng, self.time, self.alive) = (stream, 0, vec![true; self.team.n()]);
        self.show(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        if self.toy.faults && self.rng.bernoulli(0.05) {
            return Err(EnvError::Failed("a fault on purpose".into()));
        }
        self.time += 1;
        let paid: Vec<f64> = (0..self.team.n()).map(|i| self.pay(i, actions.of(i))).collect();
        if self.toy.own {
            out.rewards.copy_from_slice(&paid);
        } else {
            out.rewards.fill(paid.iter().sum());
        }
        for i in 1..self.team.n() {
            self.alive[i] &= !(self.toy.deaths && self.rng.bernoulli(0.15));
        }
        self.show(out);
        Ok(if self.toy.terminates && self.time == self.toy.length { Status::Terminated } else { Status::Running })
    }
}

/// The keys of an algorithm with `device` and `task.reward`, some changed; `?key=value` only where there is such a key and value.
pub fn settings(keys: Vec<Key>, overrides: &[&str]) -> Settings {
    let device = Key::new("device", "cpu", Kind::Text, "engine");
    let reward = Key::new("task.reward", "auto", Kind::Text, "reward");
    let envs = Key::new("num_envs", 20, Kind::Int(1, 100_000), "copies");
    let mut all = Settings::new([keys, vec![device, reward, envs]].concat());
    for text in overrides {
        match text.strip_prefix('?') {
            Some(text) => drop(all.set_text(text, Origin::CommandLine)),
            None => all.set_text(text, Origin::CommandLine).unwrap(),
        }
    }
    all
}

/// Small and quick, on a machine with little free memory too.
pub const SMALL: [&str; 13] = [
    "net.hidden_sizes=[16]",
    "?net.trunk=mlp",
    "?algo.rollout_steps=20",
    "?net.chunk_length=5",
    "?algo.warmup_steps=50",
    "?algo.batch_size=16",
    "?algo.updates_per_step=0.2",
    "?algo.updates=1",
    "?algo.buffer_size=4000",
    "?algo.batch_episodes=4",
    "?algo.buffer_episodes=32",
    "?algo.episode_limit=10",
    "?algo.stream_size=8",
];

/// Environments and the memory that they write into.
pub struct Field {
    pub team: Arc<TeamSpec>,
    pub roll: Rollout,
    pub pool: Pool,
    collector: Collector,
}

impl Field {
    pub fn new(make: MakeEnv, envs: usize, steps: usize, memory_len: usize, seed: u64, threads: usize) -> Self {
        let team = Arc::clone(make().unwrap().spec());
        let mut roll = Rollout::new(Arc::clone(&team), envs, steps, memory_len);
        let mut collector = Collector::new(Arc::clone(&team), make, seed, envs, 10_000).unwrap();
        collector.start(&mut roll).unwrap();
        Self { team, roll, pool: Pool::new(threads).unwrap(), collector }
    }

    pub fn collect(&mut self, policy: &dyn Policy) {
        self.collector.collect(policy, &mut self.roll, &self.pool).unwrap();
    }
}

/// An algorithm at work.
pub struct Bench {
    pub algorithm: Box<dyn Algorithm>,
    pub field: Field,
    pub seed: u64,
    /// What schedules are told of the budget used.
    pub progress: f64,
    updates: u64,
}

impl Bench {
    pub fn try_new(
        algo: &str,
        make: MakeEnv,
        overrides: &[&str],
        envs: usize,
        seed: u64,
        threads: usize,
    ) -> Result<Self, ConfigError> {
        let spec = Registry::builtin().get(algo)?;
        let team = Arc::clone(make()?.spec());
        let settings = settings(spec.keys(), overrides);
        spec.check(&team, &settings)?;
        let algorithm = spec.build(&team, &settings, &Stream::new(seed, Purpose::Init, 0, 0))?;
        let steps = algorithm.rollout_steps();
        let memory_len = algorithm.policy().memory_len();
        Ok(Self { algorithm, field: Field::new(make, envs, steps, memory_len, seed, threads), seed, progress: 0.0, updates: 0 })
    }

    /// Four copies of a toy with small networks.
    pub fn toy(algo: &str, toy: &Toy, overrides: &[&str]) -> Self {
        Self::try_new(algo, toy.make(), &[&SMALL[..], overrides].concat(), 4, 1, 1).unwrap_or_else(|e| panic!("{algo}: {e}"))
    }

    pub fn collect(&mut self) {
        self.field.collect(&self.algorithm.policy());
    }

    pub fn update(&mut self) -> Metrics {
        let metrics = self.update_kept();
        self.field.roll.carry();
        metrics
    }

    /// Learns from the rollout and leaves it as it is.
    pub fn update_kept(&mut self) -> Metrics {
        let rng = Stream::new(self.seed, Purpose::Shuffle, 0, 0).fork(self.updates);
        let context = UpdateContext { pool: &self.field.pool, progress: self.progress, rng };
        self.updates += 1;
        self.algorithm.update(&self.field.roll, &context).unwrap()
    }

    /// As if so many updates had been made: later ones draw the same randomness.
    pub fn skip_updates(&mut self, times: u64) {
        self.updates += times;
    }

    pub fn iterate(&mut self, times: usize) {
        for _ in 0..times {
            self.collect();
            self.update();
        }
    }

    pub fn saved(&self) -> StateReader {
        let mut w = StateWriter::new();
        self.algorithm.save(&mut w);
        StateReader::from_bytes(w.to_bytes().unwrap()).unwrap()
    }

    /// Bytes of everything that is saved: weights, moments, statistics.
    pub fn bytes(&self) -> Vec<u8> {
        let mut w = StateWriter::new();
        self.algorithm.save(&mut w);
        w.to_bytes().unwrap()
    }

    /// Every saved number but those of replay, which is data and not yet learned.
    pub fn learned(&self) -> Vec<(String, Vec<u64>)> {
        let saved = self.saved();
        let bits = |name: &str| {
            let floats = saved.f32s(name).map(|v| v.iter().map(|x| u64::from(x.to_bits())).collect());
            let doubles = || saved.f64s(name).map(|v| v.iter().map(|x| x.to_bits()).collect());
            let bytes = || saved.u8s(name).map(|v| v.iter().map(|x| u64::from(*x)).collect());
            floats.or_else(|_| doubles()).or_else(|_| saved.u64s(name)).or_else(|_| bytes()).unwrap()
        };
        let is_replay = |name: &str| name.starts_with("replay.") || name.starts_with("piece.");
        saved.names().filter(|n| !is_replay(n)).map(|n| (n.to_owned(), bits(n))).collect()
    }

    /// The weights of every network.
    pub fn params(&self) -> Vec<f32> {
        let saved = self.saved();
        let mut names: Vec<&str> = saved.names().filter(|n| n.ends_with("params")).collect();
        names.sort_unstable();
        assert!(!names.is_empty(), "an algorithm saves its weights as *params");
        names.iter().flat_map(|n| saved.f32s(n).unwrap()).collect()
    }
}

/// FNV-1a.
pub fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

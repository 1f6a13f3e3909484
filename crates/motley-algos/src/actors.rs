//! What every policy-gradient learner has: actors by group, how they are built from settings, and what they act with.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use motley_core::{ActionSpace, ConfigError, Key, Kind, Settings, Share, Stream, TeamSpec, settings};
use motley_nn::init::Init;
use motley_nn::optim::decayed;
use motley_nn::{Activation, Actor, AdamConfig, Cut, Engine, Graph, Head, NetSpec, TeamPolicy, Topology};
use motley_run::{CheckpointError, StateReader, StateWriter};

settings! {
    /// Networks of actors and critics.
    pub struct NetConfig in "net" {
        /// Widths of the hidden layers.
        hidden_sizes: Vec<usize> = vec![128, 128], Kind::Ints(1, 65_536);
        /// After every hidden layer.
        activation: String = "relu", Kind::Choice(&Activation::NAMES);
        /// LayerNorm on the input.
        feature_norm: bool = true, Kind::Bool;
        /// LayerNorm after each activation.
        layer_norm: bool = true, Kind::Bool;
        /// A GRU after the hidden layers, as wide as the last of them.
        recurrent: bool = false, Kind::Bool;
        /// Whether critics of a recurrent team have a GRU too; `false` leaves them feed-forward (EPyMARL).
        critic_recurrent: bool = true, Kind::Bool;
        /// Widths of the critics' hidden layers; empty for those of the actors.
        critic_hidden_sizes: Vec<usize> = Vec::<i64>::new(), Kind::Ints(1, 65_536);
        /// Steps of a recurrent training chunk; must divide `algo.rollout_steps`.
        chunk_length: usize = 10, Kind::Int(1, 100_000);
        /// Initial weights: `orthogonal`, or `uniform` in +-1/sqrt(fan_in).
        init: String = "orthogonal", Kind::Choice(&["orthogonal", "uniform"]);
        /// Gain of the actors' last layer at the start.
        output_gain: f64 = 0.01, Kind::Float(0.0, 100.0);
        /// Which agents share parameters.
        share: Share = "none", Kind::Share;
        /// Append a one-hot of the agent to the input where parameters are shared.
        agent_id: bool = false, Kind::Bool;
        /// Distribution over continuous actions.
        distribution: String = "gaussian", Kind::Choice(&["gaussian", "tanh_gaussian"]);
        /// Gaussian: scale and start of the deviation's parameter w in sigma = sigmoid(w / std_x_coef) * std_y_coef.
        std_x_coef: f64 = 1.0, Kind::Float(1e-3, 1e3);
        /// Gaussian: upper bound of the deviation, in units of the action.
        std_y_coef: f64 = 0.5, Kind::Float(1e-3, 1e3);
    }
}

settings! {
    /// Messages between agents, in front of the hidden layers of actors, of values of actions, and of critics on observations.
    pub struct GraphConfig in "net" {
        /// `mlp`, or `gnn`: what the agents in reach send is added to what an agent sees.
        trunk: String = "mlp", Kind::Choice(&["mlp", "gnn"]);
        /// With `net.trunk=gnn`, who hears whom: `full`, `ring`, `line`, `radius` (within `net.radius`, changing every step), or pairs such as `0-1,1-2`.
        graph: String = "full", Kind::Text;
        /// Distance within which agents hear each other with `net.graph=radius`.
        radius: f64 = 1.0, Kind::Float(0.0, 1e9);
        /// With `net.trunk=gnn`, width of a message, and of the layer that makes it.
        message_width: usize = 128, Kind::Int(1, 65_536);
    }
}

impl GraphConfig {
    /// The team's graph, where agents send messages.
    pub(crate) fn build(&self, team: &TeamSpec) -> Result<Option<Arc<Graph>>, String> {
        if self.trunk == "mlp" {
            return Ok(None);
        }
        let topology = Topology::parse(&self.graph, self.radius, team.n())?;
        Graph::new(team, topology, self.message_width).map(|graph| Some(Arc::new(graph)))
    }
}

settings! {
    /// What is collected, and how fast actors learn from it.
    pub struct LearnConfig in "algo" {
        /// Steps of every environment between two updates.
        rollout_steps: usize = 200, Kind::Int(1, 1_000_000);
        /// Learning rate of the actors.
        lr: f64 = 5e-4, Kind::Float(0.0, 1.0);
        /// Lower learning rates linearly to 0 over the run.
        lr_decay: bool = false, Kind::Bool;
        /// Discount per step.
        gamma: f64 = 0.99, Kind::Float(0.0, 1.0);
    }
}

/// The settings of actors, with the algorithm's own default of `net.share`.
pub fn keys(share: &str) -> Vec<Key> {
    let mut keys = [LearnConfig::keys(), AdamConfig::keys(), NetConfig::keys(), GraphConfig::keys()].concat();
    for key in keys.iter_mut().filter(|k| k.name == "net.share") {
        key.default = share.into();
    }
    keys
}

/// Keys of which an algorithm has no use for those called `names`: they say so, and why. Files that set them are read on.
pub(crate) fn unused(mut keys: Vec<Key>, names: &[&str], why: &str) -> Vec<Key> {
    for key in keys.iter_mut().filter(|k| names.contains(&k.name.as_str())) {
        key.help = format!("Not used: {why}.");
    }
    keys
}

/// What says how boxes are acted in.
pub(crate) const OF_BOXES: [&str; 3] = ["net.distribution", "net.std_x_coef", "net.std_y_coef"];

/// A network by the words of settings, its input and output still open, without norms or memory.
pub(crate) fn blank_spec(hidden_sizes: &[usize], activation: &str, init: &str) -> NetSpec {
    NetSpec {
        obs: motley_core::ObsSpace::vector(0),
        extra: 0,
        hidden_sizes: hidden_sizes.to_vec(),
        activation: Activation::from_name(activation).unwrap_or(Activation::Relu),
        last_activation: None,
        feature_norm: false,
        layer_norm: false,
        recurrent: false,
        output: 0,
        output_gain: 1.0,
        init: init_of(init),
        free: Vec::new(),
    }
}

/// How weights start, by the word of a setting.
pub(crate) fn init_of(name: &str) -> Init {
    if name == "uniform" { Init::Uniform } else { Init::Orthogonal }
}

pub(crate) fn net_spec(config: &NetConfig) -> NetSpec {
    NetSpec {
        feature_norm: config.feature_norm,
        layer_norm: config.layer_norm,
        recurrent: config.recurrent,
        output_gain: config.output_gain,
        ..blank_spec(&config.hidden_sizes, &config.activation, &config.init)
    }
}

/// The same with what differs for critics.
pub(crate) fn critic_spec(config: &NetConfig) -> NetSpec {
    let hidden = if config.critic_hidden_sizes.is_empty() { &config.hidden_sizes } else { &config.critic_hidden_sizes };
    NetSpec { hidden_sizes: hidden.clone(), recurrent: config.recurrent && config.critic_recurrent, ..net_spec(config) }
}

/// What computes gradients on the `device` of the settings.
pub(crate) fn engine(settings: &Settings) -> Result<Engine, ConfigError> {
    let device: String = settings.get("device")?;
    Engine::for_device(&device).ok_or_else(|| ConfigError::Missing {
        what: format!("support for device={device}"),
        mend: format!("build with --features {device}, or use device=cpu"),
    })
}

/// What can be said about a team and settings before anything is built.
///
/// # Errors
/// See [`crate::algorithm::AlgorithmSpec::check`].
pub fn check(algo: &str, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
    engine(settings)?;
    let net = NetConfig::read(settings)?;
    let config = LearnConfig::read(settings)?;
    if net.recurrent && !config.rollout_steps.is_multiple_of(net.chunk_length) {
        return Err(ConfigError::Value {
            key: "net.chunk_length".into(),
            expected: format!("a divisor of algo.rollout_steps = {}", config.rollout_steps),
            found: net.chunk_length.to_string(),
        });
    }
    if net.recurrent && net.hidden_sizes.is_empty() {
        return Err(ConfigError::Value {
            key: "net.hidden_sizes".into(),
            expected: "at least one layer before a GRU".into(),
            found: "[]".into(),
        });
    }
    GraphConfig::read(settings)?.build(team).map_err(|why| ConfigError::Incompatible {
        algo: algo.to_owned(),
        task: team.task.clone(),
        why,
    })?;
    check_groups(algo, team, &net.share)
}

/// Whether every group's members can share a network.
pub(crate) fn check_groups(algo: &str, team: &TeamSpec, share: &Share) -> Result<(), ConfigError> {
    let incompatible = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
    for group in team.groups(share).map_err(incompatible)? {
        team.check_alike(&group).map_err(incompatible)?;
        let first = &team.agents[group[0]];
        if first.obs.is_image() && first.obs.shape[..2].iter().any(|d| *d < 3) {
            return Err(incompatible(format!("images of {:?} are smaller than the 3 x 3 convolution", first.obs.shape)));
        }
    }
    Ok(())
}

/// The distribution over a space's actions.
fn head(space: &ActionSpace, net: &NetConfig) -> Head {
    Head::for_space(space, net.distribution == "tanh_gaussian", net.std_x_coef as f32, net.std_y_coef as f32)
}

/// The actors of a team, one per group.
#[derive(Debug)]
pub struct Actors {
    team: Arc<TeamSpec>,
    learn: LearnConfig,
    chunk: usize,
    list: Vec<Actor>,
}

impl Actors {
    /// Actors by `net.share`, with initial parameters.
    ///
    /// # Errors
    /// As [`check`].
    pub fn new(algo: &str, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Self, ConfigError> {
        check(algo, team, settings)?;
        let invalid = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
        let net = NetConfig::read(settings)?;
        let adam = AdamConfig::read(settings)?;
        let engine = engine(settings)?;
        let groups = team.groups(&net.share).map_err(invalid)?;
        let graph = GraphConfig::read(settings)?.build(team).map_err(invalid)?;
        let mut list: Vec<Actor> = Vec::with_capacity(groups.len());
        for (g, members) in groups.into_iter().enumerate() {
            let head = head(&team.agents[members[0]].action, &net);
            let memory_at = list.last().map_or(0, Actor::memory_end);
            let rng = rng.fork(g as u64);
            let (adam, engine) = (adam.clone(), engine.clone());
            let actor = Actor::new(team, members, head, net_spec(&net), net.agent_id, adam, engine, memory_at, &rng);
            let actor = actor.map_err(invalid)?;
            list.push(match &graph {
                None => actor,
                Some(graph) => actor.on_graph(Arc::clone(graph), AdamConfig::read(settings)?, &rng),
            });
        }
        Ok(Self {
            team: Arc::clone(team),
            learn: LearnConfig::read(settings)?,
            chunk: if net.recurrent { net.chunk_length } else { 0 },
            list,
        })
    }

    /// One actor that reads all observations and decides for all agents (its log-probability is that of the joint action).
    ///
    /// # Errors
    /// As [`check`], and teams that no one agent can stand for ([`TeamSpec::as_one`]).
    pub fn central(algo: &str, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Self, ConfigError> {
        check(algo, team, settings)?;
        let invalid = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
        let (net, adam) = (NetConfig::read(settings)?, AdamConfig::read(settings)?);
        let one = Arc::new(team.as_one().map_err(invalid)?);
        let head = head(&one.agents[0].action, &net);
        let actor = Actor::new(&one, vec![0], head, net_spec(&net), false, adam, engine(settings)?, 0, &rng.fork(0));
        Ok(Self {
            team: Arc::clone(team),
            learn: LearnConfig::read(settings)?,
            chunk: if net.recurrent { net.chunk_length } else { 0 },
            list: vec![actor.map_err(invalid)?.for_all(one)],
        })
    }

    /// The same actors with networks that also put out values.
    ///
    /// # Errors
    /// A setting that is missing.
    pub fn with_values(self, settings: &Settings, rng: &Stream) -> Result<Self, ConfigError> {
        let adam = AdamConfig::read(settings)?;
        let list = self.list.into_iter().enumerate().map(|(g, actor)| actor.with_value(adam.clone(), &rng.fork(g as u64)));
        Ok(Self { list: list.collect(), ..self })
    }

    /// The team.
    pub fn team(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    /// Steps collected between updates.
    pub fn rollout_steps(&self) -> usize {
        self.learn.rollout_steps
    }

    /// Discount per step.
    pub fn gamma(&self) -> f64 {
        self.learn.gamma
    }

    /// The actors' learning rate now.
    pub fn lr(&self, progress: f64) -> f64 {
        self.decayed(self.learn.lr, progress)
    }

    /// Any learning rate now, by the same schedule.
    pub fn decayed(&self, lr: f64, progress: f64) -> f64 {
        decayed(lr, self.learn.lr_decay, progress)
    }

    /// How actors cut rollouts.
    pub fn cut(&self, minibatches: usize) -> Cut {
        Cut { minibatches, chunk: self.chunk }
    }

    /// A copy of the actors that acts.
    pub fn policy(&self) -> TeamPolicy {
        let (team, groups) = (Arc::clone(&self.team), self.list.iter().map(Actor::acting).collect());
        match self.list.first().and_then(Actor::whole) {
            Some(one) => TeamPolicy::central(team, Arc::clone(one), groups),
            None => TeamPolicy::new(team, groups),
        }
    }

    /// Writes all of them.
    pub fn save(&self, w: &mut StateWriter) {
        for (g, actor) in self.list.iter().enumerate() {
            actor.save(&mut w.scope(&format!("actor.{g}")));
        }
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        for (g, actor) in self.list.iter_mut().enumerate() {
            actor.load(&r.scope(&format!("actor.{g}")))?;
        }
        Ok(())
    }
}

impl Deref for Actors {
    type Target = [Actor];

    fn deref(&self) -> &[Actor] {
        &self.list
    }
}

impl DerefMut for Actors {
    fn deref_mut(&mut self) -> &mut [Actor] {
        &mut self.list
    }
}

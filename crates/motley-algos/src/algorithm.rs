//! What an algorithm is to the rest of Motley, and the register of all of them.

use std::fmt;
use std::sync::Arc;

use motley_core::error::nearest;
use motley_core::{ConfigError, Key, Metrics, RewardKind, Settings, StateSpace, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_nn::{Pool, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

/// What an update is given beside its data.
#[derive(Debug)]
pub struct UpdateContext<'a> {
    /// The cores.
    pub pool: &'a Pool,
    /// Fraction of the step budget used before this update, for schedules.
    pub progress: f64,
    /// Randomness of this update.
    pub rng: Stream,
}

/// A learner.
pub trait Algorithm: Send {
    /// Steps of every environment that it wants collected between two updates.
    fn rollout_steps(&self) -> usize;

    /// The present policy, packed for acting.
    fn policy(&self) -> TeamPolicy;

    /// Learns from what was collected with [`Algorithm::policy`], or, with [`AlgorithmSpec::learns_from_older`], with one of its
    /// predecessors.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`] when gradients stay not finite; parameters are then as before the first bad one.
    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError>;

    /// Writes everything that exact resume needs: weights, optimisers, statistics, memory.
    fn save(&self, w: &mut StateWriter);

    /// Reads what [`Algorithm::save`] wrote.
    ///
    /// # Errors
    /// Entries that are missing or of another shape.
    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError>;
}

/// A registered algorithm: one static per file, one line in [`Registry::builtin`].
pub trait AlgorithmSpec: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// One line for `motley list algorithms`.
    fn summary(&self) -> &'static str;

    /// Where it was published.
    fn paper(&self) -> &'static str;

    /// Its settings (`algo.*`, `net.*`).
    fn keys(&self) -> Vec<Key>;

    /// What its agents learn from where the task pays each its own reward.
    fn own_reward(&self) -> RewardMode;

    /// [`AlgorithmSpec::own_reward`] where the settings have a say in it.
    ///
    /// # Errors
    /// Settings that cannot be read.
    fn own_reward_under(&self, _settings: &Settings) -> Result<RewardMode, ConfigError> {
        Ok(self.own_reward())
    }

    /// Whether it is defined for this team with these settings. Nothing is built yet.
    ///
    /// # Errors
    /// [`ConfigError::Incompatible`] or a value that does not fit the team; [`ConfigError::Room`], the last to be asked for, where this
    /// machine has too little memory.
    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError>;

    /// What somebody should know who begins to train it on this team with these settings, the task's among them: it learns, but
    /// perhaps not as was meant. Told once, when a run starts.
    fn caveat(&self, _team: &TeamSpec, _settings: &Settings) -> Option<String> {
        None
    }

    /// Whether [`Algorithm::update`] is right for a rollout that an older policy of the same run played: it learns from replay, or weighs
    /// what it climbs by the ratio to the recorded log-probabilities. Asked where rollouts and learning are to overlap.
    ///
    /// # Errors
    /// Settings that cannot be read.
    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(false)
    }

    /// Builds it with initial parameters. What it learns from takes its memory when it is first given some.
    ///
    /// # Errors
    /// As [`AlgorithmSpec::check`], but for room: that was asked for by whoever is to train it, and others want its policy only.
    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError>;
}

/// A check before a build, which asks for no room.
pub(crate) fn but_for_room(checked: Result<(), ConfigError>) -> Result<(), ConfigError> {
    match checked {
        Err(ConfigError::Room { .. }) => Ok(()),
        checked => checked,
    }
}

/// Which reward an agent learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewardMode {
    /// The sum of all agents' own rewards.
    Sum,
    /// Their mean.
    Mean,
    /// The agent's own.
    Own,
    /// The one common reward.
    Common,
}

impl RewardMode {
    /// Reads `task.reward`; `auto` is the common reward where there is one, else the algorithm's choice.
    ///
    /// # Errors
    /// `common` for a task whose agents are paid apart.
    pub fn resolve(word: &str, team: &TeamSpec, own: Self) -> Result<Self, ConfigError> {
        match (word, team.reward) {
            ("sum", _) => Ok(Self::Sum),
            ("mean", _) => Ok(Self::Mean),
            ("own", _) => Ok(Self::Own),
            (_, RewardKind::Common) => Ok(Self::Common),
            ("auto", RewardKind::Own) => Ok(own),
            _ => Err(ConfigError::Value {
                key: "task.reward".into(),
                expected: format!("sum, mean or own: the agents of {} are paid apart", team.task),
                found: format!("\"{word}\""),
            }),
        }
    }

    /// Whether an agent's values end with it where rows of the dead are left out (`mask_dead`). They do where agents are paid apart. A team
    /// that is paid together goes on being paid for what the dead did, so values follow them, and their rows are learned from: nothing
    /// may be bootstrapped from what was never fitted.
    pub fn ends_at_death(self, team: &TeamSpec, mask_dead: bool) -> bool {
        mask_dead && self == Self::Own && team.reward == RewardKind::Own
    }

    /// Refuses agents paid apart where their values read one state for the team; `instead` is what to use.
    ///
    /// # Errors
    /// [`ConfigError::Incompatible`].
    pub fn fits_state(self, algo: &str, team: &TeamSpec, instead: &str) -> Result<(), ConfigError> {
        if self != Self::Own || matches!(team.state, StateSpace::Fp(_)) {
            return Ok(());
        }
        let why = format!("task.reward=own needs a value per agent, but the state is one vector for the team: use {instead}");
        Err(ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why })
    }

    /// The reward of agent `i`.
    pub fn of(self, rewards: &[f64], i: usize) -> f64 {
        match self {
            Self::Sum => rewards.iter().sum(),
            Self::Mean => rewards.iter().sum::<f64>() / rewards.len() as f64,
            Self::Own => rewards[i],
            Self::Common => rewards[0],
        }
    }
}

impl fmt::Display for RewardMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Own => "own",
            Self::Common => "common",
        })
    }
}

/// The algorithms by name.
#[derive(Clone)]
pub struct Registry {
    specs: Vec<Arc<dyn AlgorithmSpec>>,
}

impl Registry {
    /// Everything that Motley ships.
    pub fn builtin() -> Self {
        let specs: Vec<Arc<dyn AlgorithmSpec>> = vec![
            Arc::new(crate::independent::ia2c::Ia2c),
            Arc::new(crate::independent::ippo::Ippo),
            Arc::new(crate::independent::reinforce::Reinforce),
            Arc::new(crate::policy_gradient::coma::Coma),
            Arc::new(crate::policy_gradient::maa2c::Maa2c),
            Arc::new(crate::policy_gradient::mappo::Mappo),
            Arc::new(crate::policy_gradient::pareto_ac::ParetoAc),
            Arc::new(crate::policy_gradient::maddpg::Maddpg),
            Arc::new(crate::policy_gradient::matd3::Matd3),
            Arc::new(crate::heterogeneous::haa2c::Haa2c),
            Arc::new(crate::heterogeneous::happo::Happo),
            Arc::new(crate::heterogeneous::hatrpo::Hatrpo),
            Arc::new(crate::heterogeneous::haddpg::Haddpg),
            Arc::new(crate::heterogeneous::hatd3::Hatd3),
            Arc::new(crate::heterogeneous::hasac::Hasac),
            Arc::new(crate::graph::gppo::GPPO),
            Arc::new(crate::graph::gppo::HETGPPO),
            Arc::new(crate::value_decomposition::iql::Iql),
            Arc::new(crate::value_decomposition::vdn::Vdn),
            Arc::new(crate::value_decomposition::qmix::Qmix),
            Arc::new(crate::value_decomposition::qtran::Qtran),
            Arc::new(crate::heterogeneous::had3qn::Had3qn),
            Arc::new(crate::unified::u_qmix::UQmix),
            Arc::new(crate::unified::u_mappo::UMappo),
        ];
        Self { specs }
    }

    /// With one more (of a user, say); it replaces one of the same name.
    #[must_use]
    pub fn with(mut self, spec: Arc<dyn AlgorithmSpec>) -> Self {
        self.specs.retain(|s| s.name() != spec.name());
        self.specs.push(spec);
        self
    }

    /// All of them, in order of registration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn AlgorithmSpec>> {
        self.specs.iter()
    }

    /// The algorithm of that name.
    ///
    /// # Errors
    /// [`ConfigError::UnknownName`] with the nearest names.
    pub fn get(&self, name: &str) -> Result<Arc<dyn AlgorithmSpec>, ConfigError> {
        self.specs.iter().find(|s| s.name() == name).cloned().ok_or_else(|| ConfigError::UnknownName {
            what: "algorithm",
            name: name.to_owned(),
            nearest: nearest(name, self.specs.iter().map(|s| s.name())),
        })
    }
}

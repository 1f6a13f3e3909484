//! What a team is: its agents with their own, unlike spaces, and what the task says about them.
//!
//! Everything here is ragged. An agent's part of a flat array is found by the offsets that [`TeamSpec::new`] computes once;
//! nobody pads.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An agent's observation: a flat vector, or an image of shape `[height, width, channels]` laid out row by row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObsSpace {
    /// `[size]` for a vector, `[height, width, channels]` for an image.
    pub shape: Vec<usize>,
    /// Lower bound of every entry (may be `-inf`).
    #[serde(deserialize_with = "low_bound")]
    pub low: f32,
    /// Upper bound of every entry (may be `inf`).
    #[serde(deserialize_with = "high_bound")]
    pub high: f32,
}

/// JSON has no infinities: they are written as `null`.
fn low_bound<'de, D: serde::Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(f32::NEG_INFINITY))
}

fn high_bound<'de, D: serde::Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(f32::INFINITY))
}

impl ObsSpace {
    /// An unbounded vector of `size` entries.
    pub fn vector(size: usize) -> Self {
        Self { shape: vec![size], low: f32::NEG_INFINITY, high: f32::INFINITY }
    }

    /// An image of `height x width` pixels with `channels` values in `0..=255` each.
    pub fn image(height: usize, width: usize, channels: usize) -> Self {
        Self { shape: vec![height, width, channels], low: 0.0, high: 255.0 }
    }

    /// The number of entries.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// For messages: `18 numbers`, `an image of 84 x 84 x 3`, with bounds where there are any.
    pub fn describe(&self) -> String {
        let sizes = self.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        let what = match (self.is_image(), self.size()) {
            (true, _) => format!("an image of {sizes}"),
            (false, 1) => "1 number".to_owned(),
            (false, _) => format!("{sizes} numbers"),
        };
        let bounded = self.low.is_finite() || self.high.is_finite();
        if bounded { format!("{what} in {} ... {}", self.low, self.high) } else { what }
    }

    /// Whether this is an image: three axes, of bytes. Networks divide its numbers by 255 and pass them through a convolution; another
    /// array of three axes (a grid of zeros and ones) is read as the vector of its numbers.
    pub fn is_image(&self) -> bool {
        self.shape.len() == 3 && self.low == 0.0 && self.high == 255.0
    }
}

/// An agent's action space.
///
/// Actions of every kind travel as `f32`: a discrete choice is its index (exact up to 2^24), a continuous one is its value in
/// the environment's units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ActionSpace {
    /// One choice out of `n`.
    Discrete(usize),
    /// Several independent choices.
    MultiDiscrete(Vec<usize>),
    /// A real vector within bounds.
    Box {
        /// Lower bound per dimension.
        low: Vec<f32>,
        /// Upper bound per dimension.
        high: Vec<f32>,
    },
}

impl ActionSpace {
    /// A box with the same bounds in each of `dim` dimensions.
    pub fn uniform_box(dim: usize, low: f32, high: f32) -> Self {
        Self::Box { low: vec![low; dim], high: vec![high; dim] }
    }

    /// How many `f32` one action takes: 1, the number of choices made, or the dimension.
    pub fn width(&self) -> usize {
        match self {
            Self::Discrete(_) => 1,
            Self::MultiDiscrete(n) => n.len(),
            Self::Box { low, .. } => low.len(),
        }
    }

    /// How many entries an availability mask has (0 for a box).
    pub fn mask_len(&self) -> usize {
        match self {
            Self::Discrete(n) => *n,
            Self::MultiDiscrete(n) => n.iter().sum(),
            Self::Box { .. } => 0,
        }
    }

    /// The sizes of the independent choices: `[n]` for Discrete, empty for a box.
    pub fn choices(&self) -> &[usize] {
        match self {
            Self::Discrete(n) => std::slice::from_ref(n),
            Self::MultiDiscrete(n) => n,
            Self::Box { .. } => &[],
        }
    }

    /// Whether actions are real vectors.
    pub fn is_continuous(&self) -> bool {
        matches!(self, Self::Box { .. })
    }

    /// A short name for messages: `Discrete(5)`, `MultiDiscrete(3, 2)`, `Box(6)`.
    pub fn describe(&self) -> String {
        match self {
            Self::Discrete(n) => format!("Discrete({n})"),
            Self::MultiDiscrete(n) => {
                format!("MultiDiscrete({})", n.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Self::Box { low, .. } => format!("Box({})", low.len()),
        }
    }
}

/// Whom a discrete action affects: what unified action spaces are built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ActionMeaning {
    /// The agent itself or the world around it (move, stop, speak); the number tells such actions apart.
    Own(u16),
    /// The `k`-th enemy.
    Enemy(u16),
    /// The `k`-th ally, counted over the whole team.
    Ally(u16),
    /// Nothing: a slot that is never available to this agent, there so that unlike agents have spaces of one size.
    Never,
}

/// One member of the team.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// Unique within the team, e.g. `agent_0`.
    pub name: String,
    /// Agents of one kind are interchangeable: same spaces, same body. `share = "type"` groups by it.
    pub kind: String,
    /// What it observes.
    pub obs: ObsSpace,
    /// What it can do.
    pub action: ActionSpace,
    /// The discrete action that a dead agent takes, where the task has one.
    pub noop: Option<usize>,
    /// What each discrete action means (one entry an action), where the task says.
    pub meaning: Vec<ActionMeaning>,
    /// Where the absolute position sits in the observation (for communication graphs).
    pub position: Option<Range<usize>>,
    /// Where the velocity sits in the observation.
    pub velocity: Option<Range<usize>>,
}

impl AgentSpec {
    /// An agent with a vector observation and nothing else said about it.
    pub fn new(name: impl Into<String>, kind: impl Into<String>, obs: ObsSpace, action: ActionSpace) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            obs,
            action,
            noop: None,
            meaning: Vec::new(),
            position: None,
            velocity: None,
        }
    }

    /// Refuses what no task says of an agent: nothing to do, a choice among nothing, bounds the wrong way round, places outside of its
    /// spaces.
    ///
    /// # Errors
    /// [`SpecError::Agent`].
    pub fn check(&self) -> Result<(), SpecError> {
        let wrong = |what: &'static str| Err(SpecError::Agent { name: self.name.clone(), what });
        let size = product(&self.obs.shape).unwrap_or(usize::MAX);
        let outside = |place: &Option<Range<usize>>| place.as_ref().is_some_and(|r| r.start > r.end || r.end > size);
        let choices = self.action.choices();
        match &self.action {
            ActionSpace::Box { low, high }
                if low.len() != high.len() || low.iter().zip(high).any(|(l, h)| !l.is_finite() || !h.is_finite() || l > h) =>
            {
                wrong("its box needs a lower and an upper bound in every dimension, finite and the lower one first")
            }
            _ if self.action.width() == 0 => wrong("it has nothing to do: its action space is empty"),
            _ if choices.contains(&0) => wrong("it has a choice among no actions"),
            _ if self.noop.is_some_and(|noop| choices.iter().any(|n| noop >= *n)) => {
                wrong("the action that stands for none is not one of its own")
            }
            _ if outside(&self.position) || outside(&self.velocity) => {
                wrong("its position or velocity lies outside of its observation")
            }
            _ => Ok(()),
        }
    }
}

/// What makes a description no team's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// A team of nobody.
    #[error("the team has no agents, one at least is needed")]
    NoAgents,
    /// Two agents of one name: whoever speaks of an agent, in settings or in files, means one.
    #[error("two agents are called \"{0}\": each needs a name of its own")]
    Twice(String),
    /// An agent that there cannot be.
    #[error("agent \"{name}\": {what}")]
    Agent {
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More numbers than any frame has: a description beyond it is not believed.
    #[error("the team's {0} have more than {MOST} entries")]
    TooLarge(&'static str),
}

/// The state that a centralised critic sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateSpace {
    /// Environment provided: one vector for the whole team.
    Ep(usize),
    /// Feature pruned: one vector of this size for each agent.
    Fp(usize),
}

impl StateSpace {
    /// Entries of one critic row.
    pub fn row(&self) -> usize {
        match *self {
            Self::Ep(n) | Self::Fp(n) => n,
        }
    }

    /// Critic rows per environment and step: 1, or one per agent.
    pub fn rows(&self, agents: usize) -> usize {
        match self {
            Self::Ep(_) => 1,
            Self::Fp(_) => agents,
        }
    }

    /// The row that agent `i`'s values read.
    pub fn row_of(&self, i: usize) -> usize {
        match self {
            Self::Ep(_) => 0,
            Self::Fp(_) => i,
        }
    }
}

/// Whether agents are paid alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RewardKind {
    /// One reward for the team: every agent is given the same number, and the team's return counts it once.
    Common,
    /// Each agent has its own: the team's return is their sum.
    Own,
}

/// Who shares parameters with whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// Every agent is its own group.
    None,
    /// One group.
    All,
    /// One group per [`AgentSpec::kind`].
    Type,
    /// Explicit groups of agent names.
    Groups(Vec<Vec<String>>),
}

/// Everything that a task says about its team. Offsets into flat per-environment arrays are computed once; they are not written, and a
/// team that is read is one only if it could have been made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct TeamSpec {
    /// `suite/name`.
    pub task: String,
    /// Version of the task's rules; recorded in every run.
    pub version: u32,
    /// The agents, in the task's order.
    pub agents: Vec<AgentSpec>,
    /// What a centralised critic sees.
    pub state: StateSpace,
    /// Common or own rewards.
    pub reward: RewardKind,
    /// Whether availability masks are ever anything but all-true.
    pub masks: bool,
    /// Whether agents may die before the episode ends.
    pub deaths: bool,
    /// Steps after which an episode is truncated.
    pub step_limit: Option<usize>,
    /// Whether the task defines winning.
    pub winning: bool,
    #[serde(skip_serializing)]
    obs_at: Vec<usize>,
    #[serde(skip_serializing)]
    action_at: Vec<usize>,
    #[serde(skip_serializing)]
    mask_at: Vec<usize>,
}

/// A team as files have it. Offsets that older ones hold too are passed over.
#[derive(Deserialize)]
struct Written {
    task: String,
    version: u32,
    agents: Vec<AgentSpec>,
    state: StateSpace,
    reward: RewardKind,
    masks: bool,
    deaths: bool,
    step_limit: Option<usize>,
    winning: bool,
}

impl TryFrom<Written> for TeamSpec {
    type Error = SpecError;

    fn try_from(written: Written) -> Result<Self, SpecError> {
        let Written { task, version, agents, state, reward, masks, deaths, step_limit, winning } = written;
        let team = Self { version, state, reward, masks, deaths, step_limit, winning, ..Self::try_new(task, agents)? };
        team.check()?;
        Ok(team)
    }
}

/// Refuses agents that make no team.
fn check_agents(agents: &[AgentSpec]) -> Result<(), SpecError> {
    if agents.is_empty() {
        return Err(SpecError::NoAgents);
    }
    agents.iter().try_for_each(AgentSpec::check)?;
    let mut seen = BTreeSet::new();
    if let Some(twice) = agents.iter().find(|agent| !seen.insert(agent.name.as_str())) {
        return Err(SpecError::Twice(twice.name.clone()));
    }
    let sums = [
        ("observations", counted(agents.iter().map(|a| product(&a.obs.shape)))),
        ("actions", counted(agents.iter().map(|a| Some(a.action.width())))),
        ("availability masks", counted(agents.iter().flat_map(|a| a.action.choices()).map(|n| Some(*n)))),
    ];
    sums.into_iter().find(|(_, sum)| sum.is_none()).map_or(Ok(()), |(what, _)| Err(SpecError::TooLarge(what)))
}

/// The most entries of a team's observations, actions, masks or state.
const MOST: usize = 1 << 28;

/// The entries of a shape, where they can be counted.
fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |size, axis| size.checked_mul(*axis))
}

/// The sum of sizes, where it is no more than [`MOST`].
fn counted(mut sizes: impl Iterator<Item = Option<usize>>) -> Option<usize> {
    sizes.try_fold(0_usize, |sum, size| sum.checked_add(size?).filter(|sum| *sum <= MOST))
}

fn offsets(sizes: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut at = vec![0];
    for size in sizes {
        at.push(at[at.len() - 1] + size);
    }
    at
}

impl TeamSpec {
    /// A team whose critic sees the concatenated observations, with own rewards, no masks, no deaths, no limit.
    /// Change the public fields that differ.
    pub fn new(task: impl Into<String>, agents: Vec<AgentSpec>) -> Self {
        let obs_at = offsets(agents.iter().map(|a| a.obs.size()));
        Self {
            task: task.into(),
            version: 1,
            state: StateSpace::Ep(obs_at[obs_at.len() - 1]),
            reward: RewardKind::Own,
            masks: false,
            deaths: false,
            step_limit: None,
            winning: false,
            action_at: offsets(agents.iter().map(|a| a.action.width())),
            mask_at: offsets(agents.iter().map(|a| a.action.mask_len())),
            obs_at,
            agents,
        }
    }

    /// As [`TeamSpec::new`], of agents that somebody else described.
    ///
    /// # Errors
    /// [`SpecError`], where they make no team.
    pub fn try_new(task: impl Into<String>, agents: Vec<AgentSpec>) -> Result<Self, SpecError> {
        check_agents(&agents)?;
        Ok(Self::new(task, agents))
    }

    /// Refuses what [`TeamSpec::try_new`] refuses, and a state that no frame can hold.
    ///
    /// # Errors
    /// [`SpecError`].
    pub fn check(&self) -> Result<(), SpecError> {
        check_agents(&self.agents)?;
        let state = self.state.row().checked_mul(self.state.rows(self.n()));
        counted(std::iter::once(state)).map(drop).ok_or(SpecError::TooLarge("states"))
    }

    /// The number of agents.
    pub fn n(&self) -> usize {
        self.agents.len()
    }

    /// Entries of all observations together.
    pub fn obs_len(&self) -> usize {
        self.obs_at[self.n()]
    }

    /// Entries of all actions together.
    pub fn action_len(&self) -> usize {
        self.action_at[self.n()]
    }

    /// Entries of all availability masks together.
    pub fn mask_len(&self) -> usize {
        self.mask_at[self.n()]
    }

    /// Entries of the state: `row` for EP, `agents x row` for FP.
    pub fn state_len(&self) -> usize {
        self.state.row() * self.state.rows(self.n())
    }

    /// Where agent `i`'s observation lies.
    pub fn obs_range(&self, i: usize) -> Range<usize> {
        self.obs_at[i]..self.obs_at[i + 1]
    }

    /// Where agent `i`'s action lies.
    pub fn action_range(&self, i: usize) -> Range<usize> {
        self.action_at[i]..self.action_at[i + 1]
    }

    /// Where agent `i`'s availability mask lies.
    pub fn mask_range(&self, i: usize) -> Range<usize> {
        self.mask_at[i]..self.mask_at[i + 1]
    }

    /// Whether raw actions of the team, `[action_len]`, are choices that there are. Boxes take any number.
    pub fn choices_exist(&self, actions: &[f32]) -> bool {
        let exist = |(i, agent): (usize, &AgentSpec)| {
            let own = actions[self.action_range(i)].iter().zip(agent.action.choices());
            own.into_iter().all(|(a, n)| a.fract() == 0.0 && (0.0..*n as f32).contains(a))
        };
        self.agents.iter().enumerate().all(exist)
    }

    /// The team's reward of one step: the common one once, or the sum of the agents' own.
    pub fn team_reward(&self, rewards: &[f64]) -> f64 {
        match self.reward {
            RewardKind::Common => rewards.first().copied().unwrap_or(0.0),
            RewardKind::Own => rewards.iter().sum(),
        }
    }

    /// The groups of agents (indices, in the team's order) that `share` asks for.
    ///
    /// # Errors
    /// An explicit list that names an unknown agent, names one twice or leaves one out.
    pub fn groups(&self, share: &Share) -> Result<Vec<Vec<usize>>, String> {
        match share {
            Share::None => Ok((0..self.n()).map(|i| vec![i]).collect()),
            Share::All => Ok(vec![(0..self.n()).collect()]),
            Share::Type => {
                let mut kinds: Vec<&str> = Vec::new();
                let mut groups: Vec<Vec<usize>> = Vec::new();
                for (i, agent) in self.agents.iter().enumerate() {
                    match kinds.iter().position(|k| *k == agent.kind) {
                        Some(g) => groups[g].push(i),
                        None => {
                            kinds.push(&agent.kind);
                            groups.push(vec![i]);
                        }
                    }
                }
                Ok(groups)
            }
            Share::Groups(names) => self.explicit_groups(names),
        }
    }

    /// The names of agents, joined by `+`.
    pub fn names(&self, members: &[usize]) -> String {
        members.iter().map(|&i| self.agents[i].name.as_str()).collect::<Vec<_>>().join("+")
    }

    /// Whether agents can share a network: they must observe and act in equal spaces.
    ///
    /// # Errors
    /// The first agent that differs from the first of `members`, with both their spaces.
    pub fn check_alike(&self, members: &[usize]) -> Result<(), String> {
        let mut agents = members.iter().map(|&i| &self.agents[i]);
        let Some(first) = agents.next() else { return Ok(()) };
        agents.find(|a| a.obs.shape != first.obs.shape || a.action != first.action).map_or(Ok(()), |odd| {
            Err(format!(
                "agents \"{}\" (observation {:?}, {}) and \"{}\" (observation {:?}, {}) cannot share parameters; use net.share=none or net.share=type",
                first.name,
                first.obs.shape,
                first.action.describe(),
                odd.name,
                odd.obs.shape,
                odd.action.describe()
            ))
        })
    }

    /// The team as one agent, `team`, that observes and does what all of them do together: flat observations, actions and masks are
    /// laid out alike in both.
    ///
    /// # Errors
    /// Images, or boxes beside discrete choices: no one space holds them.
    pub fn as_one(&self) -> Result<Self, String> {
        if let Some(agent) = self.agents.iter().find(|a| a.obs.is_image()) {
            return Err(format!("one agent for all reads vectors, and \"{}\" observes an image", agent.name));
        }
        let boxes = self.agents.iter().filter(|a| a.action.is_continuous()).count();
        let action = match boxes {
            0 => ActionSpace::MultiDiscrete(self.agents.iter().flat_map(|a| a.action.choices()).copied().collect()),
            _ if boxes == self.n() => {
                let (mut low, mut high) = (Vec::new(), Vec::new());
                for agent in &self.agents {
                    if let ActionSpace::Box { low: l, high: h } = &agent.action {
                        low.extend(l);
                        high.extend(h);
                    }
                }
                ActionSpace::Box { low, high }
            }
            _ => {
                let text =
                    "one agent for all acts either in a box or by discrete choices, and some agents do the one, some the other";
                return Err(text.into());
            }
        };
        let one = AgentSpec::new("team", "team", ObsSpace::vector(self.obs_len()), action);
        Ok(Self { state: self.state, ..Self::new(self.task.clone(), vec![one]) })
    }

    fn explicit_groups(&self, names: &[Vec<String>]) -> Result<Vec<Vec<usize>>, String> {
        let mut seen = vec![false; self.n()];
        let mut groups = Vec::with_capacity(names.len());
        for group in names {
            let mut members = Vec::with_capacity(group.len());
            for name in group {
                let i = self.agents.iter().position(|a| a.name == *name).ok_or_else(|| {
                    let known: Vec<&str> = self.agents.iter().map(|a| a.name.as_str()).collect();
                    format!(
                        "net.share names the agent \"{name}\", which {} does not have (it has {})",
                        self.task,
                        known.join(", ")
                    )
                })?;
                if std::mem::replace(&mut seen[i], true) {
                    return Err(format!("net.share names the agent \"{name}\" twice"));
                }
                members.push(i);
            }
            members.sort_unstable();
            if !members.is_empty() {
                groups.push(members);
            }
        }
        match seen.iter().position(|s| !s) {
            Some(i) => Err(format!("net.share leaves out the agent \"{}\": every agent needs a group", self.agents[i].name)),
            None => Ok(groups),
        }
    }
}

#[cfg(test)]
mod tests;

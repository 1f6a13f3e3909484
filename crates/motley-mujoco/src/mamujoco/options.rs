//! The settings of a robot's task.

use motley_core::{ConfigError, Key, Kind, TaskOptions};
use toml::Value;

use super::graph::Graph;
use super::robots::Robot;

/// What agents see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observe {
    /// Their own joints and those near them.
    Neighbours,
    /// Everything and who they are, standardised.
    Full,
}

/// How actions reach the motors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionMap {
    /// An agent moves the joints that it owns.
    Scatter,
    /// Actions one after the other are the controls, scaled from +-1.
    Concat,
}

/// Resolved settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Which robot.
    pub robot: Robot,
    /// How its joints are shared out, where `partition` does not say.
    pub conf: String,
    /// The user's own sharing out; empty for none.
    pub partition: Vec<Vec<String>>,
    /// What agents see.
    pub observe: Observe,
    /// How far they see.
    pub depth: usize,
    /// How they move.
    pub actions: ActionMap,
    /// The older rules.
    pub v2: bool,
    /// Gymnasium-Robotics' graph with its slips.
    pub slips: bool,
    /// Steps of an episode.
    pub max_cycles: usize,
}

/// The declared keys; `conf` is fixed by tasks that have it in their name.
pub fn keys(robot: Robot, conf: Option<&str>) -> Vec<Key> {
    let mut keys = vec![
        Key::new(
            "task.obs",
            "obsk",
            Kind::Choice(&["obsk", "full"]),
            "obsk: own joints and those near them; full: the whole state and the agent's number, standardised (HARL)",
        ),
        Key::new("task.obsk", 1, Kind::Int(0, 100), "with obs=obsk: how many joints away an agent sees"),
        Key::new(
            "task.actions",
            "scatter",
            Kind::Choice(&["scatter", "concat"]),
            "scatter: an agent moves the joints it owns; concat: actions in a row are the controls, scaled from +-1 (HARL)",
        ),
        Key::new(
            "task.max_cycles",
            robot.limit(),
            Kind::Int(1, i64::from(u32::MAX)),
            "steps after which an episode is truncated",
        ),
    ];
    if robot.has_v2() {
        let help = "rules of Gymnasium's v5, or of v2 (no contact forces, paid also when falling), as in HARL's figures";
        keys.push(Key::new("task.base", "v5", Kind::Choice(&["v5", "v2"]), help));
    }
    if robot.has_slips() {
        let help = "who is whose neighbour and where: corrected, or as in Gymnasium-Robotics' MAMuJoCo v1 with its slips";
        keys.push(Key::new("task.graph", "corrected", Kind::Choice(&["corrected", "v1"]), help));
    }
    if conf.is_none() {
        let first = robot.confs()[0];
        let help = if robot.is_segmented() {
            "AxB: A agents of B segments each"
        } else {
            "a factorisation by name; those that there are have tasks of their own"
        };
        keys.push(Key::new("task.conf", first, Kind::Text, help));
        let help = "your own factorisation: a list of the joints of each agent, by name; empty takes task.conf";
        keys.push(Key::new("task.partition", Value::Array(Vec::new()), Kind::Any, help));
    }
    keys
}

impl Options {
    /// Reads what [`keys`] declares.
    ///
    /// # Errors
    /// A partition that is not a list of lists of names.
    pub fn read(robot: Robot, conf: Option<&str>, options: &TaskOptions) -> Result<Self, ConfigError> {
        let says = |key: &str, word: &str| options.value(key).ok().and_then(Value::as_str) == Some(word);
        let partition = if conf.is_none() { options.value("partition")?.clone() } else { Value::Array(Vec::new()) };
        Ok(Self {
            robot,
            conf: conf.map_or_else(|| options.get("conf"), |conf| Ok(conf.to_owned()))?,
            partition: lists(&partition).ok_or_else(|| refused("a list of lists of joint names", &partition))?,
            observe: if says("obs", "full") { Observe::Full } else { Observe::Neighbours },
            depth: options.get("obsk")?,
            actions: if says("actions", "concat") { ActionMap::Concat } else { ActionMap::Scatter },
            v2: says("base", "v2"),
            slips: says("graph", "v1"),
            max_cycles: options.get("max_cycles")?,
        })
    }

    /// The joints (indices into the graph) of each agent.
    ///
    /// # Errors
    /// An unknown factorisation; a partition with an unknown joint, one twice, one left out or an agent without any.
    pub fn agents(&self, graph: &Graph) -> Result<Vec<Vec<usize>>, ConfigError> {
        let partition = if self.partition.is_empty() { self.robot.partition(&self.conf)? } else { self.partition.clone() };
        let joints = || graph.nodes.iter().map(|n| n.label.as_str());
        let mut owned = vec![false; graph.nodes.len()];
        let mut agents = Vec::with_capacity(partition.len());
        for (i, names) in partition.iter().enumerate() {
            let mut own = Vec::with_capacity(names.len());
            for name in names {
                let Some(node) = graph.find(name) else {
                    let near = motley_core::error::nearest(name, joints());
                    return Err(ConfigError::UnknownName { what: "joint", name: name.clone(), nearest: near });
                };
                if std::mem::replace(&mut owned[node], true) {
                    return Err(ConfigError::Invalid(format!("task.partition gives the joint \"{name}\" away twice")));
                }
                own.push(node);
            }
            if own.is_empty() {
                return Err(ConfigError::Invalid(format!("task.partition leaves agent {i} without a joint")));
            }
            agents.push(own);
        }
        let left: Vec<&str> =
            graph.nodes.iter().map(|n| n.label.as_str()).filter(|l| graph.find(l).is_some_and(|n| !owned[n])).collect();
        if left.is_empty() {
            return Ok(agents);
        }
        Err(ConfigError::Invalid(format!("task.partition leaves out {}: every joint needs an agent", left.join(", "))))
    }
}

fn lists(value: &Value) -> Option<Vec<Vec<String>>> {
    let names = |list: &Value| list.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    value.as_array()?.iter().map(names).collect()
}

fn refused(expected: &str, found: &Value) -> ConfigError {
    ConfigError::Value { key: "task.partition".into(), expected: expected.into(), found: found.to_string() }
}

//! Joint actions of discrete teams, numbered.

use motley_core::{ActionSpace, ConfigError, TeamSpec};

/// Joint actions that a network may have outputs for.
pub const MAX_JOINT: usize = 4096;

/// The choices of every agent; agent 0 counts fastest.
#[derive(Debug, Clone)]
pub struct JointActions {
    sizes: Vec<usize>,
}

impl JointActions {
    /// Of a team that makes one discrete choice each.
    ///
    /// # Errors
    /// [`ConfigError::Incompatible`] for other actions, and for more than [`MAX_JOINT`] joint ones.
    pub fn new(algo: &str, team: &TeamSpec) -> Result<Self, ConfigError> {
        let refuse = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
        let mut sizes = Vec::with_capacity(team.n());
        for agent in &team.agents {
            let ActionSpace::Discrete(n) = agent.action else {
                let (name, found) = (&agent.name, agent.action.describe());
                return Err(refuse(format!(
                    "agent \"{name}\" acts in {found}, values are for one discrete choice: hasac or hatd3 take others"
                )));
            };
            sizes.push(n);
        }
        match sizes.iter().try_fold(1_usize, |product, n| product.checked_mul(*n)) {
            Some(joint) if joint <= MAX_JOINT => Ok(Self { sizes }),
            joint => Err(refuse(format!(
                "its team has {} joint actions, the central network holds at most {MAX_JOINT}: hasac or hatd3 have no such bound",
                joint.map_or_else(|| "more than can be counted of".to_owned(), |j| j.to_string())
            ))),
        }
    }

    /// Choices of each agent.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// How many joint actions there are.
    pub fn count(&self) -> usize {
        self.sizes.iter().product()
    }

    /// How far apart two neighbouring choices of agent `i` are.
    pub fn stride(&self, i: usize) -> usize {
        self.sizes[..i].iter().product()
    }

    /// The number of a joint action: `sum_i a_i prod_{j < i} |A_j|`.
    pub fn number(&self, actions: impl Iterator<Item = usize>) -> usize {
        let (mut sum, mut stride) = (0, 1);
        for (a, n) in actions.zip(&self.sizes) {
            sum += a * stride;
            stride *= n;
        }
        sum
    }
}

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

    /// Of `values` `[joint actions]`, those of agent `i`'s choices beside what the others do in the joint action `number`,
    /// `[choices]`.
    pub fn beside<'a>(&self, values: &'a [f32], number: usize, i: usize) -> impl Iterator<Item = f32> + 'a {
        let (stride, n) = (self.sizes[..i].iter().product::<usize>(), self.sizes[i]);
        let own = number / stride % n;
        values[number - own * stride..].iter().step_by(stride).take(n).copied()
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

#[cfg(test)]
mod tests {
    use motley_core::{AgentSpec, ObsSpace};

    use super::*;

    /// Numbers and rows of values against nested loops over a team of 2, 3 and 2 choices.
    #[test]
    fn numbers_count_every_joint_action_once() {
        let agent = |n: usize| AgentSpec::new(format!("{n}"), "a", ObsSpace::vector(1), ActionSpace::Discrete(n));
        let joint = JointActions::new("test", &TeamSpec::new("test", [2, 3, 2].map(agent).to_vec())).unwrap();
        let values: Vec<f32> = (0..joint.count()).map(|k| (k * k) as f32).collect();
        let mut next = 0;
        for c in 0..2 {
            for b in 0..3 {
                for a in 0..2 {
                    let number = |a: usize, b: usize, c: usize| joint.number([a, b, c].into_iter());
                    assert_eq!(number(a, b, c), next);
                    let found = |i: usize| joint.beside(&values, next, i).collect::<Vec<_>>();
                    assert_eq!(found(0), [0, 1].map(|a| values[number(a, b, c)]));
                    assert_eq!(found(1), [0, 1, 2].map(|b| values[number(a, b, c)]));
                    assert_eq!(found(2), [0, 1].map(|c| values[number(a, b, c)]));
                    next += 1;
                }
            }
        }
        assert_eq!(next, joint.count());
    }
}

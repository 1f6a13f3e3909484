//! Product policies: each agent draws its own action given the state.

use motley_core::Stream;

use crate::TabularGame;
use crate::error::{TheoryError, check_distribution, check_len};
use crate::game::random_distribution;

/// π(a|s) = Π_i π_i(a_i|s).
#[derive(Debug, Clone, PartialEq)]
pub struct ProductPolicy {
    actions: Vec<usize>,
    /// Per agent, `[states, actions_i]`.
    tables: Vec<Vec<f64>>,
}

impl ProductPolicy {
    /// From one table `[states, actions_i]` per agent.
    ///
    /// # Errors
    /// Tables of the wrong length, rows that are no distributions.
    pub fn new(game: &TabularGame, tables: Vec<Vec<f64>>) -> Result<Self, TheoryError> {
        check_len("policy (agents)", game.agents(), tables.len())?;
        for (i, (table, &actions)) in tables.iter().zip(game.actions()).enumerate() {
            check_len(&format!("policy of agent {i}"), game.states() * actions, table.len())?;
            for (s, row) in table.chunks_exact(actions).enumerate() {
                check_distribution(|| format!("policy of agent {i} in state {s}"), row)?;
            }
        }
        Ok(Self { actions: game.actions().to_vec(), tables })
    }

    /// All agents uniform.
    pub fn uniform(game: &TabularGame) -> Self {
        let tables = game.actions().iter().map(|&a| vec![1.0 / a as f64; game.states() * a]).collect();
        Self { actions: game.actions().to_vec(), tables }
    }

    /// Rows uniform on their simplices, mixed with the uniform row so that every probability is at least `floor`
    /// (at most one over the number of actions; more is taken as that).
    pub fn random(game: &TabularGame, stream: &mut Stream, floor: f64) -> Self {
        let mut row = |a: usize| {
            let floor = floor.clamp(0.0, 1.0 / a as f64);
            random_distribution(stream, a).into_iter().map(move |p| floor + (1.0 - floor * a as f64) * p)
        };
        let tables = game.actions().iter().map(|&a| (0..game.states()).flat_map(|_| row(a)).collect()).collect();
        Self { actions: game.actions().to_vec(), tables }
    }

    /// How many agents.
    pub fn agents(&self) -> usize {
        self.actions.len()
    }

    /// The whole table of an agent `[states, actions_i]`.
    pub fn table(&self, agent: usize) -> &[f64] {
        &self.tables[agent]
    }

    /// π_i(·|s) `[actions_i]`.
    pub fn at(&self, agent: usize, state: usize) -> &[f64] {
        let n = self.actions[agent];
        &self.tables[agent][state * n..(state + 1) * n]
    }

    /// The same policy with another table for one agent. The table must hold distributions of the same shape.
    #[must_use]
    pub fn with(&self, agent: usize, table: Vec<f64>) -> Self {
        debug_assert_eq!(table.len(), self.tables[agent].len());
        let mut changed = self.clone();
        changed.tables[agent] = table;
        changed
    }

    /// The probability of a joint action without the factors of the agents that `skip` names.
    pub fn probability(&self, game: &TabularGame, state: usize, joint: usize, skip: &[usize]) -> f64 {
        (0..self.agents()).filter(|i| !skip.contains(i)).map(|i| self.at(i, state)[game.own(joint, i)]).product()
    }

    /// π(·|s) over joint actions `[joint]`.
    pub fn joint(&self, game: &TabularGame, state: usize) -> Vec<f64> {
        (0..game.joint()).map(|a| self.probability(game, state, a, &[])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::Purpose;

    #[test]
    fn random_policies_are_distributions_above_their_floor() {
        let mut stream = Stream::new(1, Purpose::Check, 0, 0);
        let game = TabularGame::random(&mut stream, 3, &[2, 4], 0.5).unwrap();
        let policy = ProductPolicy::random(&game, &mut stream, 0.05);
        assert!(ProductPolicy::new(&game, policy.tables.clone()).is_ok());
        assert!(policy.tables.iter().flatten().all(|&p| p >= 0.05));
        assert!((policy.joint(&game, 2).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(ProductPolicy::new(&game, vec![vec![0.5; 6]]).is_err());
        assert!(ProductPolicy::new(&game, vec![vec![0.5; 6], vec![0.5; 12]]).is_err());
    }
}

//! Nash equilibria of a cooperative game: no agent gains by leaving alone.

use crate::exact::evaluate;
use crate::simplex::vertex;
use crate::{ProductPolicy, TabularGame, TheoryError};

/// The most deterministic policies that are tried per agent.
const MAX_DEVIATIONS: usize = 1 << 20;

/// The best unilateral deviation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Deviation {
    /// How much return it adds; 0 at an equilibrium (rounding may show either sign).
    pub gain: f64,
    /// Who deviates.
    pub agent: usize,
    /// Its action in each state `[states]`.
    pub actions: Vec<usize>,
}

/// The best of all unilateral deterministic deviations, each evaluated exactly. Given the others, an agent faces a Markov decision
/// process, whose optimum is attained by a deterministic policy: a gain of 0 is a Nash equilibrium (from the initial distribution).
///
/// # Errors
/// [`TheoryError::TooLarge`] where an agent has more than 2^20 deterministic policies.
pub fn best_deviation(game: &TabularGame, policy: &ProductPolicy) -> Result<Deviation, TheoryError> {
    let current = evaluate(game, policy).j;
    let mut best = Deviation { gain: f64::NEG_INFINITY, agent: 0, actions: Vec::new() };
    for (agent, &n) in game.actions().iter().enumerate() {
        let count = (0..game.states()).fold(1usize, |count, _| count.saturating_mul(n));
        if count > MAX_DEVIATIONS {
            let what = format!("the deterministic policies of agent {agent}");
            return Err(TheoryError::TooLarge { what, size: count, limit: MAX_DEVIATIONS });
        }
        for index in 0..count {
            let actions: Vec<usize> = (0..game.states()).map(|s| index / n.pow(s as u32) % n).collect();
            let table = actions.iter().flat_map(|&a| vertex(n, a)).collect();
            let gain = evaluate(game, &policy.with(agent, table)).j - current;
            if gain > best.gain {
                best = Deviation { gain, agent, actions };
            }
        }
    }
    Ok(best)
}

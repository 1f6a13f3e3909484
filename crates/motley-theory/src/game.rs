//! Cooperative Markov games small enough to be written down whole.

use motley_core::Stream;

use crate::error::{TheoryError, check_distribution, check_len};

/// The most entries a transition table may have (512 MiB of f64).
const MAX_TABLE: usize = 1 << 26;

/// A fully cooperative Markov game: states, a product of per-agent action sets, one reward for all.
#[derive(Debug, Clone, PartialEq)]
pub struct TabularGame {
    name: String,
    states: usize,
    actions: Vec<usize>,
    strides: Vec<usize>,
    joint: usize,
    gamma: f64,
    initial: Vec<f64>,
    transition: Vec<f64>,
    reward: Vec<f64>,
}

impl TabularGame {
    /// A game from its tables: `actions` per agent, discount `gamma` in `[0, 1)`, `initial` `[states]`,
    /// `transition` P(s'|s,a) `[states, joint, states]`, `reward` `[states, joint]`.
    ///
    /// # Errors
    /// An empty shape, tables of the wrong length, rows that are no distributions, a reward that is not finite.
    pub fn new(
        name: impl Into<String>,
        actions: &[usize],
        gamma: f64,
        initial: Vec<f64>,
        transition: Vec<f64>,
        reward: Vec<f64>,
    ) -> Result<Self, TheoryError> {
        let states = initial.len();
        let joint = check_size(states, actions)?;
        if !(0.0..1.0).contains(&gamma) {
            return Err(TheoryError::Value { what: "gamma".into(), expected: "a number in [0, 1)", found: gamma.to_string() });
        }
        check_distribution(|| "initial".into(), &initial)?;
        check_len("transition", states * joint * states, transition.len())?;
        check_len("reward", states * joint, reward.len())?;
        for (row, next) in transition.chunks_exact(states).enumerate() {
            check_distribution(|| format!("transition from state {} by joint action {}", row / joint, row % joint), next)?;
        }
        if let Some(k) = reward.iter().position(|r| !r.is_finite()) {
            let what = format!("reward in state {} of joint action {}", k / joint, k % joint);
            return Err(TheoryError::Value { what, expected: "a finite number", found: reward[k].to_string() });
        }
        Ok(Self::assemble(name.into(), actions.to_vec(), gamma, initial, transition, reward))
    }

    /// One state, one step: discount 0, so that J is the expected payoff of `reward` `[joint]`.
    ///
    /// # Errors
    /// As [`TabularGame::new`].
    pub fn one_shot(name: impl Into<String>, actions: &[usize], reward: Vec<f64>) -> Result<Self, TheoryError> {
        let joint = check_size(1, actions)?;
        Self::new(name, actions, 0.0, vec![1.0], vec![1.0; joint], reward)
    }

    /// A random game: transition rows and the initial distribution uniform on their simplices, rewards N(0, 1).
    ///
    /// # Errors
    /// As [`TabularGame::new`].
    pub fn random(stream: &mut Stream, states: usize, actions: &[usize], gamma: f64) -> Result<Self, TheoryError> {
        let joint = check_size(states, actions)?;
        let initial = random_distribution(stream, states);
        let transition = (0..states * joint).flat_map(|_| random_distribution(stream, states)).collect();
        let reward = (0..states * joint).map(|_| stream.normal()).collect();
        Self::new("random", actions, gamma, initial, transition, reward)
    }

    /// The climbing game of Claus and Boutilier (1998): 11 at (0,0) is guarded by -30; equilibria (0,0) and (1,1) = 7.
    pub fn climbing() -> Self {
        Self::square("climbing", 3, vec![11.0, -30.0, 0.0, -30.0, 7.0, 6.0, 0.0, 0.0, 5.0])
    }

    /// The penalty game of Claus and Boutilier (1998): two optima of 10 with the penalty `k` between them.
    ///
    /// # Errors
    /// A `k` beyond -1e6 to 1e6: squares and exponentials of rewards stay finite.
    pub fn penalty(k: f64) -> Result<Self, TheoryError> {
        if !(-1e6..=1e6).contains(&k) {
            return Err(TheoryError::Value { what: "k, the penalty".into(), expected: "-1e6 to 1e6", found: k.to_string() });
        }
        Self::one_shot("penalty", &[3, 3], vec![k, 0.0, 10.0, 0.0, 2.0, 0.0, 10.0, 0.0, k])
    }

    /// The non-monotonic game of Son et al. (QTRAN, 2019): 8 at (0,0) amid -12, else 0.
    pub fn non_monotonic() -> Self {
        Self::square("non_monotonic", 3, vec![8.0, -12.0, -12.0, -12.0, 0.0, 0.0, -12.0, 0.0, 0.0])
    }

    /// The trap of homogeneity (HARL, Proposition 4): `agents` of two actions, reward 1 iff one half plays 0 and the other 1,
    /// the halves being the first and the last agents.
    ///
    /// # Errors
    /// `agents` odd, less than 2 or more than 12.
    pub fn homogeneity_trap(agents: usize) -> Result<Self, TheoryError> {
        if !agents.is_multiple_of(2) || !(2..=12).contains(&agents) {
            let found = agents.to_string();
            return Err(TheoryError::Value { what: "agents".into(), expected: "an even number from 2 to 12", found });
        }
        let mut reward = vec![0.0; 1 << agents];
        let half = (1 << (agents / 2)) - 1;
        reward[half] = 1.0;
        reward[half << (agents / 2)] = 1.0;
        Self::one_shot("homogeneity_trap", &vec![2; agents], reward)
    }

    /// The trap of heterogeneity (HARL, Proposition 5): r(0,0)=0, r(0,1)=r(1,0)=2, r(1,1)=-1. From P(0) > 0.6 both agents'
    /// best response is 1, and both at once fall to the minimum.
    pub fn heterogeneity_trap() -> Self {
        Self::square("heterogeneity_trap", 2, vec![0.0, 2.0, 2.0, -1.0])
    }

    fn square(name: &str, side: usize, reward: Vec<f64>) -> Self {
        Self::assemble(name.to_owned(), vec![side; 2], 0.0, vec![1.0], vec![1.0; side * side], reward)
    }

    fn assemble(
        name: String,
        actions: Vec<usize>,
        gamma: f64,
        initial: Vec<f64>,
        transition: Vec<f64>,
        reward: Vec<f64>,
    ) -> Self {
        let mut strides = vec![1; actions.len()];
        for i in (1..actions.len()).rev() {
            strides[i - 1] = strides[i] * actions[i];
        }
        let joint = actions.iter().product();
        Self { name, states: initial.len(), actions, strides, joint, gamma, initial, transition, reward }
    }

    /// The game's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many states.
    pub fn states(&self) -> usize {
        self.states
    }

    /// How many agents.
    pub fn agents(&self) -> usize {
        self.actions.len()
    }

    /// How many actions each agent has.
    pub fn actions(&self) -> &[usize] {
        &self.actions
    }

    /// How many joint actions.
    pub fn joint(&self) -> usize {
        self.joint
    }

    /// The discount, in `[0, 1)`.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// The initial distribution `[states]`.
    pub fn initial(&self) -> &[f64] {
        &self.initial
    }

    /// P(·|s, a) `[states]`.
    pub fn next(&self, state: usize, joint: usize) -> &[f64] {
        let row = (state * self.joint + joint) * self.states;
        &self.transition[row..row + self.states]
    }

    /// r(s, a) `[states, joint]`.
    pub fn reward(&self) -> &[f64] {
        &self.reward
    }

    /// What `agent` plays in a joint action.
    pub fn own(&self, joint: usize, agent: usize) -> usize {
        joint / self.strides[agent] % self.actions[agent]
    }

    /// The joint action that differs only in that `agent` plays `action`.
    pub fn replace(&self, joint: usize, agent: usize, action: usize) -> usize {
        joint - self.own(joint, agent) * self.strides[agent] + action * self.strides[agent]
    }
}

/// The number of joint actions, after checking that the tables stay small.
fn check_size(states: usize, actions: &[usize]) -> Result<usize, TheoryError> {
    if states == 0 || actions.is_empty() || actions.contains(&0) {
        let found = format!("{states} states and actions {actions:?}");
        return Err(TheoryError::Value { what: "game".into(), expected: "at least one state, agent and action each", found });
    }
    let joint = actions.iter().fold(1usize, |n, &a| n.saturating_mul(a));
    let size = joint.saturating_mul(states).saturating_mul(states);
    if size > MAX_TABLE {
        return Err(TheoryError::TooLarge { what: "the transition table".into(), size, limit: MAX_TABLE });
    }
    Ok(joint)
}

/// Uniform on the simplex: normalised exponentials.
pub(crate) fn random_distribution(stream: &mut Stream, n: usize) -> Vec<f64> {
    let draws: Vec<f64> = (0..n).map(|_| 1e-12 - (1.0 - stream.uniform()).ln()).collect();
    let sum: f64 = draws.iter().sum();
    draws.iter().map(|x| x / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::Purpose;

    #[test]
    fn agent_zero_is_the_slowest_digit() {
        let mut stream = Stream::new(0, Purpose::Check, 0, 0);
        let game = TabularGame::random(&mut stream, 2, &[2, 3, 4], 0.9).unwrap();
        let joint = 12 + 2 * 4 + 3;
        assert_eq!([game.own(joint, 0), game.own(joint, 1), game.own(joint, 2)], [1, 2, 3]);
        assert_eq!(game.replace(joint, 1, 0), 12 + 3);
    }

    #[test]
    fn the_homogeneity_trap_pays_two_joint_actions() {
        let game = TabularGame::homogeneity_trap(4).unwrap();
        let paid: Vec<usize> = (0..16).filter(|&a| game.reward()[a] == 1.0).collect();
        assert_eq!(paid, [0b0011, 0b1100]);
    }

    #[test]
    fn bad_games_are_refused() {
        let new = |gamma, initial: &[f64], transition: &[f64], reward: &[f64]| {
            TabularGame::new("x", &[2], gamma, initial.to_vec(), transition.to_vec(), reward.to_vec())
        };
        assert!(new(0.5, &[1.0], &[1.0, 1.0], &[0.0, 1.0]).is_ok());
        assert!(matches!(new(1.0, &[1.0], &[1.0, 1.0], &[0.0, 1.0]), Err(TheoryError::Value { .. })));
        assert!(matches!(new(0.5, &[0.9], &[1.0, 1.0], &[0.0, 1.0]), Err(TheoryError::Distribution { .. })));
        assert!(matches!(new(0.5, &[1.0], &[1.0, 0.5], &[0.0, 1.0]), Err(TheoryError::Distribution { .. })));
        assert!(matches!(new(0.5, &[1.0], &[1.0], &[0.0, 1.0]), Err(TheoryError::Shape { .. })));
        assert!(matches!(new(0.5, &[1.0], &[1.0, 1.0], &[0.0, f64::NAN]), Err(TheoryError::Value { .. })));
        assert!(matches!(TabularGame::one_shot("x", &[], vec![]), Err(TheoryError::Value { .. })));
        assert!(matches!(TabularGame::one_shot("x", &[1 << 40, 1 << 40], vec![]), Err(TheoryError::TooLarge { .. })));
        assert!(TabularGame::homogeneity_trap(3).is_err() && TabularGame::penalty(f64::INFINITY).is_err());
    }
}

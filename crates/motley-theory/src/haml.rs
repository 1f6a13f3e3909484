//! Heterogeneous-agent mirror learning (Kuba et al. 2022): the template, and simultaneous updates to compare with.

use crate::drift::{ClipDrift, Drift, KlDrift, LinearDrift, NoDrift, Place, SquareDrift};
use crate::exact::{evaluate, expected_advantage};
use crate::neighbourhood::{Everywhere, ExpectedKlBall, Neighbourhood, StateKlBall};
use crate::{Evaluation, ProductPolicy, TabularGame};

/// One agent's turn: what it may use to choose its next policy.
#[derive(Debug)]
pub struct Turn<'a> {
    game: &'a TabularGame,
    evaluation: &'a Evaluation,
    mixed: &'a ProductPolicy,
    agent: usize,
    score: Vec<f64>,
    gain: Vec<f64>,
    loss: Vec<f64>,
}

impl<'a> Turn<'a> {
    /// `evaluation` is that of the old policy; `mixed` holds the predecessors' new policies and the others' old ones.
    pub fn new(game: &'a TabularGame, evaluation: &'a Evaluation, mixed: &'a ProductPolicy, agent: usize) -> Self {
        let score = expected_advantage(game, mixed, &evaluation.q, agent);
        let mut turn = Self { game, evaluation, mixed, agent, gain: vec![0.0; score.len()], loss: vec![0.0; score.len()], score };
        for s in 0..game.states() {
            for a in 0..game.joint() {
                // E_π[(π̄/π)·X] over the predecessors is E_π̄[X]
                let weight = mixed.probability(game, s, a, &[agent]);
                let advantage = evaluation.advantage[s * game.joint() + a];
                let at = s * game.actions()[agent] + game.own(a, agent);
                turn.gain[at] += weight * advantage.max(0.0);
                turn.loss[at] += weight * (-advantage).max(0.0);
            }
        }
        turn
    }

    /// How many states.
    pub fn states(&self) -> usize {
        self.game.states()
    }

    /// What the agent sees in one state.
    pub fn place(&self, state: usize) -> Place<'_> {
        let n = self.game.actions()[self.agent];
        let range = state * n..(state + 1) * n;
        Place {
            old: self.mixed.at(self.agent, state),
            score: &self.score[range.clone()],
            gain: &self.gain[range.clone()],
            loss: &self.loss[range],
        }
    }

    /// β(s) = (1−γ)ρ_π(s), a distribution over states.
    pub fn sampling(&self) -> impl Iterator<Item = f64> + '_ {
        self.evaluation.occupancy.iter().map(|rho| rho * (1.0 - self.game.gamma()))
    }
}

/// A member of the family: a drift and a neighbourhood.
pub struct Instance {
    /// What it is called in tables.
    pub name: String,
    /// What leaving the current policy costs.
    pub drift: Box<dyn Drift>,
    /// How far one turn may go.
    pub neighbourhood: Box<dyn Neighbourhood>,
}

impl Instance {
    /// From its two ingredients.
    pub fn new(name: &str, drift: impl Drift + 'static, neighbourhood: impl Neighbourhood + 'static) -> Self {
        Self { name: name.to_owned(), drift: Box::new(drift), neighbourhood: Box::new(neighbourhood) }
    }

    /// Sequential best response: no drift, no neighbourhood.
    pub fn best_response() -> Self {
        Self::new("best response", NoDrift, Everywhere)
    }

    /// HAPPO's ideal step: the clip as a drift.
    pub fn clip() -> Self {
        Self::new("clip 0.2 (HAPPO)", ClipDrift { epsilon: 0.2 }, Everywhere)
    }

    /// The instances that the report shows and the tests hold to the theorems.
    pub fn standard() -> Vec<Self> {
        vec![
            Self::best_response(),
            Self::new("KL ball 0.05 in every state", NoDrift, StateKlBall { delta: 0.05 }),
            Self::new("mean KL ball 0.05 (HATRPO)", NoDrift, ExpectedKlBall { delta: 0.05 }),
            Self::new("KL penalty 1", KlDrift { lambda: 1.0 }, Everywhere),
            Self::clip(),
            Self::new("square drift 1", SquareDrift { weight: 1.0 }, Everywhere),
        ]
    }

    /// What breaks the definition of a drift, and with it monotone improvement: the same ball as the second of
    /// [`Instance::standard`], but the first action has a bonus larger than anything that is lost by it.
    pub fn negative_control() -> Self {
        Self::new("no drift: linear", LinearDrift { slope: -2.0 }, StateKlBall { delta: 0.05 })
    }

    /// One iteration of the template: agents in `order`, each maximising E_{s~β}\[M π̂\] in its neighbourhood given what its
    /// predecessors have become. V does not fall in any state (Lemma 15); with orders drawn at random the iterates approach
    /// the set of Nash equilibria (Theorem 16).
    pub fn sequential_step(&self, game: &TabularGame, policy: &ProductPolicy, order: &[usize]) -> ProductPolicy {
        let evaluation = evaluate(game, policy);
        order.iter().fold(policy.clone(), |mixed, &agent| {
            let table = self.neighbourhood.maximise(&Turn::new(game, &evaluation, &mixed, agent), self.drift.as_ref());
            mixed.with(agent, table)
        })
    }

    /// All agents at once, each as if it were the first: what the theorems do not cover.
    pub fn simultaneous_step(&self, game: &TabularGame, policy: &ProductPolicy) -> ProductPolicy {
        let evaluation = evaluate(game, policy);
        (0..game.agents()).fold(policy.clone(), |moved, agent| {
            let table = self.neighbourhood.maximise(&Turn::new(game, &evaluation, policy, agent), self.drift.as_ref());
            moved.with(agent, table)
        })
    }
}

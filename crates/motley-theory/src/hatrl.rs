//! HATRL: the trust-region learning of a team of unlike agents, Algorithm 1 of Kuba et al. (2022), solved exactly.

use crate::exact::{evaluate, expected_advantage, surrogate};
use crate::simplex::{best_response, bisect, in_ball, max_kl};
use crate::{Evaluation, ProductPolicy, TabularGame};

/// C = 4γε/(1−γ)² with ε = max |A_π(s, a)|: how much a unit of KL may cost (HARL, Lemma 8).
pub fn penalty_constant(game: &TabularGame, evaluation: &Evaluation) -> f64 {
    4.0 * game.gamma() * evaluation.max_advantage() / (1.0 - game.gamma()).powi(2)
}

/// The right-hand side of Lemma 8 for any pair of policies and any order:
/// J(π̄) ≥ J(π) + Σ_m \[L^{i_{1:m}}_π(π̄^{i_{1:m−1}}, π̄^{i_m}) − C·max_s KL(π^{i_m}‖π̄^{i_m})\].
///
/// `constant` is C, a parameter so that other constants can be tried.
pub fn lower_bound(
    game: &TabularGame,
    evaluation: &Evaluation,
    old: &ProductPolicy,
    new: &ProductPolicy,
    order: &[usize],
    constant: f64,
) -> f64 {
    let mut mixed = old.clone();
    let mut bound = evaluation.j;
    for &agent in order {
        let score = expected_advantage(game, &mixed, &evaluation.q, agent);
        let divergence = max_kl(game.actions()[agent], old.table(agent), new.table(agent));
        bound += surrogate(&evaluation.occupancy, new.table(agent), &score) - cost(constant, divergence);
        mixed = mixed.with(agent, new.table(agent).to_vec());
    }
    bound
}

/// C·KL, where C = 0 (no discount, no future) makes even an infinite divergence free.
fn cost(constant: f64, divergence: f64) -> f64 {
    if constant == 0.0 { 0.0 } else { constant * divergence }
}

/// One iteration's outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct HatrlStep {
    /// The new policy.
    pub policy: ProductPolicy,
    /// The lower bound on its return by Lemma 8; never less than the old return.
    pub bound: f64,
    /// C of this iteration.
    pub constant: f64,
    /// The largest KL that any agent moved in any state.
    pub max_kl: f64,
}

/// One iteration of Algorithm 1: agents in `order`, each maximising L − C·max_s KL given what its predecessors have become.
pub fn step(game: &TabularGame, policy: &ProductPolicy, order: &[usize]) -> HatrlStep {
    let evaluation = evaluate(game, policy);
    let constant = penalty_constant(game, &evaluation);
    let mut mixed = policy.clone();
    let mut largest = 0.0f64;
    for &agent in order {
        let score = expected_advantage(game, &mixed, &evaluation.q, agent);
        let table = agent_step(game.actions()[agent], &evaluation.occupancy, policy.table(agent), &score, constant);
        largest = largest.max(max_kl(game.actions()[agent], policy.table(agent), &table));
        mixed = mixed.with(agent, table);
    }
    let bound = lower_bound(game, &evaluation, policy, &mixed, order, constant);
    HatrlStep { policy: mixed, bound, constant, max_kl: largest }
}

/// argmax over one agent's tables of Σ_s ρ(s) Σ_a q(a|s)·score(s,a) − C·max_s KL(p(·|s)‖q(·|s)); tables `[states, actions]`.
///
/// For a level δ of the largest KL every state takes its best q in the ball of δ, with gain g_s(δ) and multiplier λ_s(δ) = g_s'(δ).
/// The rest, Σ ρ(s) g_s(δ) − Cδ, is concave in δ: bisection on the sign of Σ ρ(s) λ_s(δ) − C.
pub fn agent_step(actions: usize, occupancy: &[f64], old: &[f64], score: &[f64], constant: f64) -> Vec<f64> {
    let rows = || old.chunks_exact(actions).zip(score.chunks_exact(actions));
    if constant == 0.0 {
        return rows().flat_map(|(p, score)| best_response(p, score)).collect();
    }
    let marginal = |delta: f64| -> f64 {
        rows().zip(occupancy).filter(|(_, rho)| **rho > 0.0).map(|((p, score), rho)| rho * in_ball(p, score, delta).1).sum()
    };
    let smallest = -70.0f64;
    if marginal(smallest.exp()) <= constant {
        return old.to_vec();
    }
    let (low, _) = bisect(smallest, 6.0, |ln_delta| marginal(ln_delta.exp()) > constant);
    rows().flat_map(|(p, score)| in_ball(p, score, low.exp()).0).collect()
}

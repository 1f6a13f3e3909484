//! Rewards shaped for one agent's credit, and the policy gradient they leave unchanged.

use crate::exact::dot;
use crate::{ProductPolicy, TabularGame};

/// The difference reward D_i(s, a) = x(s, a) − x(s, (c, a_{−i})) of a table x `[states, joint]`, with a default action c of the agent
/// (Wolpert and Tumer 2002).
pub fn difference_reward(game: &TabularGame, x: &[f64], agent: usize, default: usize) -> Vec<f64> {
    each(game, x, |s, a| x[s * game.joint() + game.replace(a, agent, default)])
}

/// The aristocratic utility x(s, a) − E_{b ~ π_i}\[x(s, (b, a_{−i}))\] of a table x `[states, joint]` (Wolpert and Tumer 2002).
pub fn aristocratic_utility(game: &TabularGame, policy: &ProductPolicy, x: &[f64], agent: usize) -> Vec<f64> {
    let baseline = |s: usize, a: usize| {
        let others = (0..game.actions()[agent]).map(|b| x[s * game.joint() + game.replace(a, agent, b)]).collect::<Vec<_>>();
        dot(policy.at(agent, s), &others)
    };
    each(game, x, baseline)
}

/// COMA's advantage Q(s, a) − Σ_b π_i(b|s) Q(s, (b, a_{−i})) (Foerster et al. 2018): the aristocratic utility of Q.
pub fn coma_advantage(game: &TabularGame, policy: &ProductPolicy, q: &[f64], agent: usize) -> Vec<f64> {
    aristocratic_utility(game, policy, q, agent)
}

fn each(game: &TabularGame, x: &[f64], baseline: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    x.iter().enumerate().map(|(k, x)| x - baseline(k / game.joint(), k % game.joint())).collect()
}

/// Σ_s ρ(s) E_{a~π}\[∇log π_i(a_i|s)·x(s, a)\] in the logits of a tabular softmax `[states, actions_i]`: ∂log π(a)/∂θ_b = 1{a=b} − π(b).
/// With x = Q and ρ the discounted occupancy this is ∇J.
pub fn policy_gradient(game: &TabularGame, policy: &ProductPolicy, occupancy: &[f64], x: &[f64], agent: usize) -> Vec<f64> {
    let n = game.actions()[agent];
    let mut gradient = vec![0.0; game.states() * n];
    for s in 0..game.states() {
        for (a, p) in policy.joint(game, s).into_iter().enumerate() {
            let weight = occupancy[s] * p * x[s * game.joint() + a];
            for (b, pi) in policy.at(agent, s).iter().enumerate() {
                gradient[s * n + b] += weight * (f64::from(u8::from(game.own(a, agent) == b)) - pi);
            }
        }
    }
    gradient
}

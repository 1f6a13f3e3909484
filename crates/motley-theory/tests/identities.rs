//! Identities that hold exactly: decomposition of advantages, the sequential factor, credit without bias.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[allow(dead_code, reason = "every test file uses its own part")]
mod common;

use common::{random_game, random_policy};
use motley_core::Stream;
use motley_theory::exact::{expected_advantage, multi_agent_advantage, multi_agent_q, sub_index};
use motley_theory::utilities::{aristocratic_utility, coma_advantage, difference_reward, policy_gradient};
use motley_theory::{ProductPolicy, TabularGame, evaluate};

fn any_table(game: &TabularGame, stream: &mut Stream) -> Vec<f64> {
    (0..game.states() * game.joint()).map(|_| 5.0 * stream.normal()).collect()
}

/// T1: A^{i_{1:m}} = Σ_j A^{i_j} after its predecessors, for any table, order and prefix. The left side is computed here from
/// the definition, by its own loop over the joint actions of the others.
#[test]
fn advantages_decompose() {
    for seed in 0..60 {
        let (game, mut stream) = random_game(seed, 0.9);
        let policy = random_policy(&game, &mut stream);
        let q = any_table(&game, &mut stream);
        let order = stream.permutation(game.agents());
        for m in 1..=order.len() {
            let terms: Vec<Vec<f64>> =
                (0..m).map(|j| multi_agent_advantage(&game, &policy, &q, &order[..j], &order[j..=j])).collect();
            for s in 0..game.states() {
                let v: f64 = (0..game.joint()).map(|a| policy.joint(&game, s)[a] * q[s * game.joint() + a]).sum();
                for a in 0..game.joint() {
                    let same = |b: usize| order[..m].iter().all(|&i| game.own(a, i) == game.own(b, i));
                    let left: f64 = (0..game.joint())
                        .filter(|&b| same(b))
                        .map(|b| policy.probability(&game, s, b, &order[..m]) * q[s * game.joint() + b])
                        .sum::<f64>()
                        - v;
                    let right: f64 = (0..m)
                        .map(|j| {
                            let width = terms[j].len() / game.states();
                            terms[j][s * width + sub_index(&game, a, &order[..=j])]
                        })
                        .sum();
                    assert!((left - right).abs() < 1e-9, "seed {seed}: {left} {right}");
                }
            }
        }
    }
}

/// T2: E_{a ~ π_{i_m}}[A^{i_m}(s, a_{1:m−1}, a)] = 0 whatever the predecessors did.
#[test]
fn advantages_have_zero_mean() {
    for seed in 0..60 {
        let (game, mut stream) = random_game(seed, 0.9);
        let policy = random_policy(&game, &mut stream);
        let q = any_table(&game, &mut stream);
        let order = stream.permutation(game.agents());
        for (m, &agent) in order.iter().enumerate() {
            let table = multi_agent_advantage(&game, &policy, &q, &order[..m], &[agent]);
            let n = game.actions()[agent];
            let per_state = table.len() / n / game.states();
            for (k, row) in table.chunks_exact(n).enumerate() {
                let mean: f64 = row.iter().zip(policy.at(agent, k / per_state)).map(|(x, p)| x * p).sum();
                assert!(mean.abs() < 1e-9);
            }
        }
    }
}

/// T3 (Proposition 11): E_{π̄, π̂}[A^{i_m}] = E_π[(π̂/π − 1)(π̄/π)·A_π], which is what sampled data can estimate.
#[test]
fn the_sequential_factor_reweighs_old_data() {
    for seed in 0..60 {
        let (game, mut stream) = random_game(seed, 0.9);
        let [old, new] = [0; 2].map(|_| random_policy(&game, &mut stream));
        let evaluation = evaluate(&game, &old);
        let order = stream.permutation(game.agents());
        let mut mixed = old.clone();
        for (m, &agent) in order.iter().enumerate() {
            let score = expected_advantage(&game, &mixed, &evaluation.q, agent);
            for s in 0..game.states() {
                let n = game.actions()[agent];
                let left: f64 = (0..n).map(|a| new.at(agent, s)[a] * score[s * n + a]).sum();
                let ratio = |i: usize, a: usize| new.at(i, s)[game.own(a, i)] / old.at(i, s)[game.own(a, i)];
                let right: f64 = (0..game.joint())
                    .map(|a| {
                        let factor: f64 = order[..m].iter().map(|&j| ratio(j, a)).product();
                        let advantage = evaluation.advantage[s * game.joint() + a];
                        old.joint(&game, s)[a] * (ratio(agent, a) - 1.0) * factor * advantage
                    })
                    .sum();
                assert!((left - right).abs() < 1e-9, "seed {seed}: {left} {right}");
            }
            mixed = mixed.with(agent, new.table(agent).to_vec());
        }
    }
}

/// The whole joint action's multi-agent Q is Q itself, and no agent's is V.
#[test]
fn multi_agent_q_ends_in_q_and_v() {
    let (game, mut stream) = random_game(5, 0.9);
    let policy = random_policy(&game, &mut stream);
    let evaluation = evaluate(&game, &policy);
    let all: Vec<usize> = (0..game.agents()).collect();
    assert_eq!(multi_agent_q(&game, &policy, &evaluation.q, &all), evaluation.q);
    assert_close(&multi_agent_q(&game, &policy, &evaluation.q, &[]), &evaluation.v, 1e-12);
}

fn assert_close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).for_each(|(x, y)| assert!((x - y).abs() < tolerance, "{a:?} {b:?}"));
}

/// T17: COMA's advantage has zero mean under the agent's own policy, and its gradient is that of raw Q.
#[test]
fn coma_is_unbiased() {
    for seed in 0..40 {
        let (game, mut stream) = random_game(seed, 0.9);
        let policy = random_policy(&game, &mut stream);
        let e = evaluate(&game, &policy);
        for agent in 0..game.agents() {
            let advantage = coma_advantage(&game, &policy, &e.q, agent);
            for s in 0..game.states() {
                for a in 0..game.joint() {
                    let mean: f64 = (0..game.actions()[agent])
                        .map(|b| policy.at(agent, s)[b] * advantage[s * game.joint() + game.replace(a, agent, b)])
                        .sum();
                    assert!(mean.abs() < 1e-9);
                }
            }
            let raw = policy_gradient(&game, &policy, &e.occupancy, &e.q, agent);
            assert_close(&policy_gradient(&game, &policy, &e.occupancy, &advantage, agent), &raw, 1e-9);
        }
    }
}

/// T17: difference rewards and the aristocratic utility leave the gradient of the expected reward as it is, and do change the reward.
#[test]
fn shaped_rewards_keep_the_gradient() {
    for seed in 0..40 {
        let (game, mut stream) = random_game(seed, 0.9);
        let policy = random_policy(&game, &mut stream);
        let rho = evaluate(&game, &policy).occupancy;
        for agent in 0..game.agents() {
            let gradient = |x: &[f64]| policy_gradient(&game, &policy, &rho, x, agent);
            let raw = gradient(game.reward());
            let default = stream.below(game.actions()[agent] as u32) as usize;
            let difference = difference_reward(&game, game.reward(), agent, default);
            assert!((0..game.joint()).all(|a| game.own(a, agent) != default || difference[a] == 0.0));
            assert_ne!(difference, game.reward());
            assert_close(&gradient(&difference), &raw, 1e-9);
            assert_close(&gradient(&aristocratic_utility(&game, &policy, game.reward(), agent)), &raw, 1e-9);
        }
    }
}

/// The policy gradient theorem against central differences of J in the logits.
#[test]
fn the_policy_gradient_is_the_slope_of_the_return() {
    for seed in 0..10 {
        let (game, mut stream) = random_game(seed, 0.9);
        let policy = random_policy(&game, &mut stream);
        let e = evaluate(&game, &policy);
        let h = 1e-5;
        for agent in 0..game.agents() {
            let n = game.actions()[agent];
            let gradient = policy_gradient(&game, &policy, &e.occupancy, &e.q, agent);
            for (k, slope) in gradient.iter().enumerate() {
                let moved = |by: f64| evaluate(&game, &shift_logit(&policy, agent, n, k, by)).j;
                let difference = (moved(h) - moved(-h)) / (2.0 * h);
                assert!((difference - slope).abs() < 1e-7, "seed {seed}: {difference} {slope}");
            }
        }
    }
}

fn shift_logit(policy: &ProductPolicy, agent: usize, n: usize, k: usize, by: f64) -> ProductPolicy {
    let mut table = policy.table(agent).to_vec();
    table[k] *= by.exp();
    let row = &mut table[k / n * n..(k / n + 1) * n];
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|p| *p /= sum);
    policy.with(agent, table)
}

//! Values, occupancies and multi-agent advantages by linear solve and enumeration.

use crate::{ProductPolicy, TabularGame};

/// All there is to know about one policy in one game.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// V(s) `[states]`.
    pub v: Vec<f64>,
    /// Q(s, a) `[states, joint]`.
    pub q: Vec<f64>,
    /// A(s, a) = Q(s, a) − V(s) `[states, joint]`.
    pub advantage: Vec<f64>,
    /// ρ(s) = Σ_t γ^t Pr(s_t = s), not normalised: it sums to 1/(1−γ). `[states]`.
    pub occupancy: Vec<f64>,
    /// J = E\[V(s_0)\].
    pub j: f64,
}

impl Evaluation {
    /// max |Q|: the scale by which rounding errors are judged.
    pub fn scale(&self) -> f64 {
        max_abs(&self.q)
    }

    /// ε = max |A|.
    pub fn max_advantage(&self) -> f64 {
        max_abs(&self.advantage)
    }
}

/// Solves (I − γP_π)V = r_π and (I − γP_πᵀ)ρ = d_0 and derives the rest.
pub fn evaluate(game: &TabularGame, policy: &ProductPolicy) -> Evaluation {
    let (n, m, gamma) = (game.states(), game.joint(), game.gamma());
    let mut system = vec![0.0; n * n];
    let mut reward = vec![0.0; n];
    for s in 0..n {
        system[s * n + s] = 1.0;
        for (a, p) in policy.joint(game, s).into_iter().enumerate() {
            reward[s] += p * game.reward()[s * m + a];
            for (entry, next) in system[s * n..(s + 1) * n].iter_mut().zip(game.next(s, a)) {
                *entry -= gamma * p * next;
            }
        }
    }
    let transposed: Vec<f64> = (0..n * n).map(|k| system[k % n * n + k / n]).collect();
    let v = solve(&system, &reward);
    let occupancy = solve(&transposed, game.initial());
    let q: Vec<f64> = (0..n * m).map(|k| game.reward()[k] + gamma * dot(game.next(k / m, k % m), &v)).collect();
    let advantage = q.iter().enumerate().map(|(k, q)| q - v[k / m]).collect();
    let j = dot(game.initial(), &v);
    Evaluation { v, q, advantage, occupancy, j }
}

/// Gaussian elimination with partial pivoting and one step of iterative refinement. Every I − γP with γ < 1 is strictly
/// diagonally dominant by rows or columns, hence regular.
fn solve(matrix: &[f64], right: &[f64]) -> Vec<f64> {
    let n = right.len();
    let x = eliminate(matrix.to_vec(), right.to_vec());
    let residual: Vec<f64> = (0..n).map(|r| right[r] - dot(&matrix[r * n..(r + 1) * n], &x)).collect();
    let correction = eliminate(matrix.to_vec(), residual);
    x.iter().zip(&correction).map(|(x, c)| x + c).collect()
}

fn eliminate(mut m: Vec<f64>, mut x: Vec<f64>) -> Vec<f64> {
    let n = x.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&a, &b| m[a * n + k].abs().total_cmp(&m[b * n + k].abs())).unwrap_or(k);
        if pivot != k {
            (0..n).for_each(|c| m.swap(k * n + c, pivot * n + c));
            x.swap(k, pivot);
        }
        for r in k + 1..n {
            let factor = m[r * n + k] / m[k * n + k];
            (k..n).for_each(|c| m[r * n + c] -= factor * m[k * n + c]);
            x[r] -= factor * x[k];
        }
    }
    for k in (0..n).rev() {
        let rest: f64 = (k + 1..n).map(|c| m[k * n + c] * x[c]).sum();
        x[k] = (x[k] - rest) / m[k * n + k];
    }
    x
}

/// Q^{i_{1:m}}(s, a^{i_{1:m}}) = E_{a^{−i_{1:m}} ~ π}\[Q(s, a)\] `[states, Π actions of the agents, first of them slowest]`.
///
/// `q` is any table `[states, joint]`; `agents` are the i_{1:m} in order, without repetition.
pub fn multi_agent_q(game: &TabularGame, policy: &ProductPolicy, q: &[f64], agents: &[usize]) -> Vec<f64> {
    let width: usize = agents.iter().map(|&i| game.actions()[i]).product();
    let mut out = vec![0.0; game.states() * width];
    for s in 0..game.states() {
        for a in 0..game.joint() {
            let index = sub_index(game, a, agents);
            out[s * width + index] += policy.probability(game, s, a, agents) * q[s * game.joint() + a];
        }
    }
    out
}

/// The index of a joint action's part that `agents` play, first of them slowest.
pub fn sub_index(game: &TabularGame, joint: usize, agents: &[usize]) -> usize {
    agents.iter().fold(0, |index, &i| index * game.actions()[i] + game.own(joint, i))
}

/// A^{i_{1:m}}(s, a^{j_{1:k}}, a^{i_{1:m}}) = Q^{j_{1:k}, i_{1:m}} − Q^{j_{1:k}}
/// `[states, Π actions of before, Π actions of agents]`.
pub fn multi_agent_advantage(
    game: &TabularGame,
    policy: &ProductPolicy,
    q: &[f64],
    before: &[usize],
    agents: &[usize],
) -> Vec<f64> {
    let both: Vec<usize> = before.iter().chain(agents).copied().collect();
    let base = multi_agent_q(game, policy, q, before);
    let width: usize = agents.iter().map(|&i| game.actions()[i]).product();
    multi_agent_q(game, policy, q, &both).iter().enumerate().map(|(k, x)| x - base[k / width]).collect()
}

/// E_{a^{i_{1:m−1}} ~ π̄}\[A^{i_m}(s, a^{i_{1:m−1}}, a)\] `[states, actions_{i_m}]`: what an action of `agent` is worth now that its
/// predecessors have moved. `mixed` holds the predecessors' new policies and the old ones of all others, `agent` included.
pub fn expected_advantage(game: &TabularGame, mixed: &ProductPolicy, q: &[f64], agent: usize) -> Vec<f64> {
    let n = game.actions()[agent];
    let mut table = multi_agent_q(game, mixed, q, &[agent]);
    for (s, row) in table.chunks_exact_mut(n).enumerate() {
        let base = dot(mixed.at(agent, s), row);
        row.iter_mut().for_each(|x| *x -= base);
    }
    table
}

/// L = Σ_s ρ(s) Σ_a π̂(a|s)·score(s, a), with `candidate` π̂ and `score` `[states, actions_i]`.
pub fn surrogate(occupancy: &[f64], candidate: &[f64], score: &[f64]) -> f64 {
    let width = score.len() / occupancy.len();
    let rows = candidate.chunks_exact(width).zip(score.chunks_exact(width));
    occupancy.iter().zip(rows).map(|(rho, (row, score))| rho * dot(row, score)).sum()
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

pub(crate) fn max_abs(xs: &[f64]) -> f64 {
    xs.iter().fold(0.0, |m, x| x.abs().max(m))
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::{Purpose, Stream};

    /// The oracle iterates the definitions: V by backups, ρ by pushing the state distribution forward.
    #[test]
    fn the_solve_agrees_with_iteration() {
        for seed in 0..20 {
            let mut stream = Stream::new(seed, Purpose::Check, 0, 0);
            let game = TabularGame::random(&mut stream, 5, &[2, 3], 0.9).unwrap();
            let policy = ProductPolicy::random(&game, &mut stream, 0.0);
            let exact = evaluate(&game, &policy);
            let mut v = vec![0.0; 5];
            let mut rho = [0.0; 5];
            let mut at = game.initial().to_vec();
            for t in 0..400 {
                let mut next_v = vec![0.0; 5];
                let mut next_at = vec![0.0; 5];
                for s in 0..5 {
                    rho[s] += 0.9f64.powi(t) * at[s];
                    for (a, p) in policy.joint(&game, s).into_iter().enumerate() {
                        next_v[s] += p * (game.reward()[s * 6 + a] + 0.9 * dot(game.next(s, a), &v));
                        (0..5).for_each(|k| next_at[k] += at[s] * p * game.next(s, a)[k]);
                    }
                }
                (v, at) = (next_v, next_at);
            }
            for s in 0..5 {
                assert!((exact.v[s] - v[s]).abs() < 1e-12 && (exact.occupancy[s] - rho[s]).abs() < 1e-12);
                assert!(dot(&policy.joint(&game, s), &exact.advantage[s * 6..(s + 1) * 6]).abs() < 1e-12);
            }
            assert!((exact.occupancy.iter().sum::<f64>() - 10.0).abs() < 1e-11);
            let by_occupancy: f64 =
                (0..5).map(|s| exact.occupancy[s] * dot(&policy.joint(&game, s), &game.reward()[s * 6..(s + 1) * 6])).sum();
            assert!((exact.j - by_occupancy).abs() < 1e-12);
        }
    }

    /// The short cut against the definition: the sum over predecessors' actions of the multi-agent advantage.
    #[test]
    fn expected_advantage_is_the_expectation_of_the_multi_agent_advantage() {
        let mut stream = Stream::new(3, Purpose::Check, 0, 0);
        let game = TabularGame::random(&mut stream, 2, &[3, 2, 4], 0.7).unwrap();
        let old = ProductPolicy::random(&game, &mut stream, 0.0);
        let new = ProductPolicy::random(&game, &mut stream, 0.0);
        let q = evaluate(&game, &old).q;
        let mixed = old.with(2, new.table(2).to_vec()).with(0, new.table(0).to_vec());
        let short = expected_advantage(&game, &mixed, &q, 1);
        let full = multi_agent_advantage(&game, &old, &q, &[2, 0], &[1]);
        for s in 0..2 {
            for b in 0..2 {
                let sum: f64 = (0..12).map(|k| new.at(2, s)[k / 3] * new.at(0, s)[k % 3] * full[(s * 12 + k) * 2 + b]).sum();
                assert!((sum - short[s * 2 + b]).abs() < 1e-12);
            }
        }
    }
}

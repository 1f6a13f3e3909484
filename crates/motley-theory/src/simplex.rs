//! Exact maximisers of a linear gain on the probability simplex, held near the current policy p by KL(p‖q).

use crate::exact::{dot, max_abs};

/// KL(p‖q) = Σ p ln(p/q), infinite where q misses p's support. Summed as Σ p(u − ln(1+u)) with u = q/p − 1, whose terms are all
/// non-negative, so that a tiny divergence keeps its digits.
pub fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(&p, &q)| if p > 0.0 { p * excess((q - p) / p, q / p) } else { q }).sum()
}

/// The largest KL over the states of two tables `[states, actions]`.
pub fn max_kl(actions: usize, p: &[f64], q: &[f64]) -> f64 {
    p.chunks_exact(actions).zip(q.chunks_exact(actions)).map(|(p, q)| kl(p, q)).fold(0.0, f64::max)
}

/// u − ln(1+u), given u and 1+u: a series near 0, where the difference would cancel.
fn excess(u: f64, ratio: f64) -> f64 {
    if u.abs() < 1e-3 {
        u * u * (1.0 / 2.0 - u * (1.0 / 3.0 - u * (1.0 / 4.0 - u * (1.0 / 5.0 - u / 6.0))))
    } else {
        u - ratio.ln()
    }
}

/// argmax_q Σ q·score over the whole simplex: the first best action, or p itself where it already is a maximiser (to rounding).
pub fn best_response(p: &[f64], score: &[f64]) -> Vec<f64> {
    let gap = gaps(score);
    if dot(p, &gap) <= 1e-13 * max_abs(score) {
        return p.to_vec();
    }
    vertex(p.len(), first_best(&gap))
}

/// argmax_q Σ q·score − λ·KL(p‖q).
///
/// Stationarity gives q_a = λp_a/(μ − score_a) with μ ≥ max score by bisection on Σq = 1. An action that p never plays costs
/// no KL: if the best is one, it takes what the others leave at μ = max score. λ ≤ 0 means [`best_response`].
pub fn penalised(p: &[f64], score: &[f64], lambda: f64) -> Vec<f64> {
    if lambda <= 0.0 {
        return best_response(p, score);
    }
    let gap = gaps(score);
    let Some(free) = unplayed_best(p, &gap) else {
        return by_penalty(p, &gap, lambda);
    };
    if lambda * inverse_sum(p, &gap, 0.0) <= 1.0 { with_remainder(p, &gap, lambda, free) } else { by_penalty(p, &gap, lambda) }
}

fn by_penalty(p: &[f64], gap: &[f64], lambda: f64) -> Vec<f64> {
    // μ − max score lies in (0, λ], since Σ λp/(x + gap) ≤ λ/x
    let (low, _) = bisect(lambda.ln() - REACH, lambda.ln(), |ln_x| lambda * inverse_sum(p, gap, ln_x.exp()) > 1.0);
    Tilt::at(p, gap, low.exp()).q
}

/// argmax_q Σ q·score subject to KL(p‖q) ≤ δ, and the multiplier λ = d(gain)/dδ. Where p already is a maximiser: (p, 0).
///
/// The tilts q(μ) of [`penalised`] are searched for KL = δ; λ(μ) = 1/Σ p/(μ − score) is in closed form.
pub fn in_ball(p: &[f64], score: &[f64], delta: f64) -> (Vec<f64>, f64) {
    let gap = gaps(score);
    let scale = max_abs(&gap);
    if dot(p, &gap) <= f64::EPSILON * max_abs(score) {
        return (p.to_vec(), 0.0);
    }
    if delta <= 0.0 {
        return (p.to_vec(), f64::INFINITY);
    }
    if let Some(free) = unplayed_best(p, &gap) {
        // below λ_0 the free action takes the remainder, and KL = Σ p ln(gap) − ln λ
        let mean_ln: f64 = p.iter().zip(&gap).filter(|(p, _)| **p > 0.0).map(|(p, g)| p * g.ln()).sum();
        let lambda = (mean_ln - delta).exp();
        if lambda * inverse_sum(p, &gap, 0.0) <= 1.0 {
            return (with_remainder(p, &gap, lambda, free), lambda);
        }
    }
    let (_, high) = bisect(scale.ln() - REACH, scale.ln() + 40.0, |ln_x| Tilt::at(p, &gap, ln_x.exp()).kl > delta);
    let tilt = Tilt::at(p, &gap, high.exp());
    (tilt.q, tilt.lambda)
}

/// How many e-foldings below the scale of the scores μ is searched.
const REACH: f64 = 500.0;

/// The member of the family q_a ∝ p_a/(x + gap_a) at x = μ − max score > 0.
struct Tilt {
    q: Vec<f64>,
    lambda: f64,
    kl: f64,
}

impl Tilt {
    fn at(p: &[f64], gap: &[f64], x: f64) -> Self {
        let sum = inverse_sum(p, gap, x);
        let lambda = 1.0 / sum;
        let mut kl = 0.0;
        let tilted = |(&p_a, &gap_a): (&f64, &f64)| {
            let ratio = lambda / (x + gap_a);
            // u = ratio − 1 without the cancellation: Σ_b p_b(gap_b − gap_a)/(x + gap_b) over (x + gap_a)Σ_b p_b/(x + gap_b)
            let above: f64 = p.iter().zip(gap).map(|(p_b, gap_b)| p_b * (gap_b - gap_a) / (x + gap_b)).sum();
            let u = above * ratio;
            let near = u.abs() < 0.5;
            kl += p_a * excess(if near { u } else { ratio - 1.0 }, ratio);
            if near { p_a + p_a * u } else { p_a * ratio }
        };
        let q = p.iter().zip(gap).map(tilted).collect();
        Self { q, lambda, kl }
    }
}

/// max score − score, all ≥ 0.
fn gaps(score: &[f64]) -> Vec<f64> {
    let best = score.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    score.iter().map(|s| best - s).collect()
}

fn first_best(gap: &[f64]) -> usize {
    gap.iter().position(|g| *g == 0.0).unwrap_or(0)
}

/// The first best action, if p plays none of the best.
fn unplayed_best(p: &[f64], gap: &[f64]) -> Option<usize> {
    let played = p.iter().zip(gap).any(|(p, g)| *p > 0.0 && *g == 0.0);
    (!played).then(|| first_best(gap))
}

/// Σ p/(x + gap) over p's support.
fn inverse_sum(p: &[f64], gap: &[f64], x: f64) -> f64 {
    p.iter().zip(gap).filter(|(p, _)| **p > 0.0).map(|(p, g)| p / (x + g)).sum()
}

/// q = λp/gap on p's support, the rest of the mass on the action `free`.
fn with_remainder(p: &[f64], gap: &[f64], lambda: f64, free: usize) -> Vec<f64> {
    let mut q: Vec<f64> = p.iter().zip(gap).map(|(p, g)| if *p > 0.0 { lambda * p / g } else { 0.0 }).collect();
    q[free] = (1.0 - q.iter().sum::<f64>()).max(0.0);
    q
}

/// All mass on one action.
pub(crate) fn vertex(n: usize, action: usize) -> Vec<f64> {
    let mut q = vec![0.0; n];
    q[action] = 1.0;
    q
}

/// Halves `[low, high]` until it is as small as f64 allows; `below(x)` says that the answer lies above x.
pub(crate) fn bisect(mut low: f64, mut high: f64, mut below: impl FnMut(f64) -> bool) -> (f64, f64) {
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::game::random_distribution;
    use motley_core::{Purpose, Stream};

    fn objective(p: &[f64], q: &[f64], score: &[f64], lambda: f64) -> f64 {
        dot(q, score) - lambda * kl(p, q)
    }

    /// The tilt beats every random rival, near and far, and meets the ball exactly.
    #[test]
    fn maximisers_beat_random_rivals() {
        let mut stream = Stream::new(0, Purpose::Check, 0, 0);
        for trial in 0..200 {
            let n = 2 + trial % 4;
            let mut p = random_distribution(&mut stream, n);
            if trial % 5 == 0 {
                p = vertex(n, trial % n);
            }
            let score: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
            let lambda = stream.range(-4.0, 4.0).exp();
            let q = penalised(&p, &score, lambda);
            assert!((q.iter().sum::<f64>() - 1.0).abs() < 1e-12 && q.iter().all(|x| *x >= 0.0));
            let delta = stream.range(-8.0, 1.0).exp();
            let (ball, multiplier) = in_ball(&p, &score, delta);
            assert!((ball.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            if multiplier > 0.0 {
                assert!((kl(&p, &ball) / delta - 1.0).abs() < 1e-9, "{} {delta}", kl(&p, &ball));
            }
            for k in 0..50 {
                let far = random_distribution(&mut stream, n);
                let t = 0.3f64.powi(k % 8);
                for (centre, ours) in [(&q, true), (&ball, false)] {
                    let rival: Vec<f64> = centre.iter().zip(&far).map(|(a, b)| a + t * (b - a)).collect();
                    if ours {
                        assert!(objective(&p, &rival, &score, lambda) <= objective(&p, &q, &score, lambda) + 1e-12);
                    } else if kl(&p, &rival) <= delta {
                        assert!(dot(&rival, &score) <= dot(&ball, &score) + 1e-12);
                    }
                }
            }
        }
    }

    /// For two actions KL = δ solved by hand: p = (½, ½), q = (½+h, ½−h) has KL = −½ ln(1 − 4h²).
    #[test]
    fn two_actions_in_closed_form() {
        for delta in [1e-14, 1e-6, 0.05, 2.0] {
            let h = 0.5 * f64::sqrt(-f64::exp_m1(-2.0 * delta));
            let (q, _) = in_ball(&[0.5, 0.5], &[3.0, 1.0], delta);
            assert!((q[0] - 0.5 - h).abs() < 1e-9 * h, "{delta}: {q:?} {h}");
            assert!((kl(&[0.5, 0.5], &q) - delta).abs() < 1e-9 * delta);
        }
    }

    #[test]
    fn a_maximiser_stays_where_it_is() {
        assert_eq!(best_response(&[0.25, 0.75], &[1.0, 1.0]), [0.25, 0.75]);
        assert_eq!(in_ball(&[0.25, 0.75], &[0.0, 0.0], 0.1), (vec![0.25, 0.75], 0.0));
        assert_eq!(penalised(&[0.25, 0.75], &[2.0, 2.0], 0.1), [0.25, 0.75]);
        assert_eq!(kl(&[0.5, 0.5], &[1.0, 0.0]), f64::INFINITY);
    }
}

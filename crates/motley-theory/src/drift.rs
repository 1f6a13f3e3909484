//! Drift functionals of heterogeneous-agent mirror learning (Kuba et al. 2022, Definition 1).
//!
//! A drift D(π̂_i | s, π̄) is non-negative, 0 at the current policy and has zero derivative there; it makes leaving the
//! current policy cost something. All instances here are convex and separable over the agent's own actions, which makes their
//! maximisers exact. [`LinearDrift`] is none by that definition: it is there to show what the definition is for.

use crate::exact::{dot, max_abs};
use crate::simplex::{bisect, kl, penalised};

/// What one agent sees in one state when its turn comes: slices `[actions_i]`.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The current policy p = π_i(·|s).
    pub old: &'a [f64],
    /// E_{a^j ~ π̄}\[A^i_π(s, a^j, a)\] per own action a: the gain to be maximised.
    pub score: &'a [f64],
    /// E\[max(M, 0) | a\], M = (π̄/π)(a^{predecessors})·A_π(s, a) with all other agents from π.
    pub gain: &'a [f64],
    /// E\[max(−M, 0) | a\].
    pub loss: &'a [f64],
}

/// A drift functional, with the maximiser of its mirror objective.
pub trait Drift {
    /// A short name for tables.
    fn name(&self) -> String;

    /// Whether it keeps to Definition 1, so that the theorems speak of it.
    fn lawful(&self) -> bool {
        true
    }

    /// D(q) at this place.
    fn value(&self, place: &Place<'_>, q: &[f64]) -> f64;

    /// argmax_q Σ q·score − D(q) − `multiplier`·KL(p‖q) over the simplex. With multiplier 0 the mirror step itself; a
    /// neighbourhood that is a KL ball finds the multiplier that keeps to it.
    fn maximise(&self, place: &Place<'_>, multiplier: f64) -> Vec<f64>;

    /// \[M q\](s) = Σ q·score − D(q), the mirror operator of one state. It is 0 at the current policy.
    fn mirror(&self, place: &Place<'_>, q: &[f64]) -> f64 {
        dot(q, place.score) - self.value(place, q)
    }
}

/// D ≡ 0: sequential best response, or HATRPO with a KL neighbourhood.
#[derive(Debug, Clone, Copy)]
pub struct NoDrift;

impl Drift for NoDrift {
    fn name(&self) -> String {
        "no drift".into()
    }

    fn value(&self, _place: &Place<'_>, _q: &[f64]) -> f64 {
        0.0
    }

    fn maximise(&self, place: &Place<'_>, multiplier: f64) -> Vec<f64> {
        penalised(place.old, place.score, multiplier)
    }
}

/// D = λ·KL(p‖q).
#[derive(Debug, Clone, Copy)]
pub struct KlDrift {
    /// λ > 0.
    pub lambda: f64,
}

impl Drift for KlDrift {
    fn name(&self) -> String {
        format!("KL penalty {}", self.lambda)
    }

    fn value(&self, place: &Place<'_>, q: &[f64]) -> f64 {
        self.lambda * kl(place.old, q)
    }

    fn maximise(&self, place: &Place<'_>, multiplier: f64) -> Vec<f64> {
        penalised(place.old, place.score, self.lambda + multiplier)
    }
}

/// D = c·‖q − p‖²: positive everywhere but at the current policy.
#[derive(Debug, Clone, Copy)]
pub struct SquareDrift {
    /// c > 0.
    pub weight: f64,
}

impl Drift for SquareDrift {
    fn name(&self) -> String {
        format!("square drift {}", self.weight)
    }

    fn value(&self, place: &Place<'_>, q: &[f64]) -> f64 {
        self.weight * place.old.iter().zip(q).map(|(p, q)| (q - p).powi(2)).sum::<f64>()
    }

    /// score − 2c(q − p) + λp/q = μ is a quadratic in q; μ by bisection on Σq = 1.
    fn maximise(&self, place: &Place<'_>, multiplier: f64) -> Vec<f64> {
        let c = self.weight;
        let supply = |a: usize, mu: f64| {
            let p = place.old[a];
            let b = mu - place.score[a] - 2.0 * c * p;
            let root = (b * b + 8.0 * c * multiplier * p).sqrt();
            match b > 0.0 {
                true if multiplier == 0.0 => 0.0,
                true => 2.0 * multiplier * p / (b + root),
                false => (root - b) / (4.0 * c),
            }
        };
        fill(place.old.len(), min(place.score), max(place.score) + multiplier, supply)
    }
}

/// D = w·max|score|·(q_0 − p_0): the first action has a price, or with w < 0 a bonus, in units of the largest gain at the place.
/// 0 at the current policy, but with a slope there, and so negative on one side: \[M q\](s) > 0 no longer means that
/// Σ q·score > 0, on which Lemma 15 rests. The negative control: with w < −1 no equilibrium holds an agent that could play
/// its first action and does not.
#[derive(Debug, Clone, Copy)]
pub struct LinearDrift {
    /// w, not 0.
    pub slope: f64,
}

impl Drift for LinearDrift {
    fn name(&self) -> String {
        format!("linear {}", self.slope)
    }

    fn lawful(&self) -> bool {
        false
    }

    fn value(&self, place: &Place<'_>, q: &[f64]) -> f64 {
        self.slope * max_abs(place.score) * (q[0] - place.old[0])
    }

    /// Σ q·score − D is linear too: the price comes off the first action's score.
    fn maximise(&self, place: &Place<'_>, multiplier: f64) -> Vec<f64> {
        let mut priced = place.score.to_vec();
        priced[0] -= self.slope * max_abs(place.score);
        penalised(place.old, &priced, multiplier)
    }
}

/// PPO's clip as a drift: D = E_{a ~ π}\[ReLU((r − clip(r, 1±ε))·M(s, a))\] with r = q/p of the own action, since
/// min(rM, clip(r)M) = rM − ReLU((r − clip(r))M). With the whole simplex this is HAPPO's ideal step (HARL, section 4).
#[derive(Debug, Clone, Copy)]
pub struct ClipDrift {
    /// ε > 0.
    pub epsilon: f64,
}

impl ClipDrift {
    /// The pieces of q·score − D for action a as (from, to, slope), slopes falling: concave. The middle piece is cut at p, so
    /// that a tie keeps the current policy. What p never plays is never drawn, hence not clipped.
    fn pieces(&self, place: &Place<'_>, a: usize) -> Vec<(f64, f64, f64)> {
        let (p, score) = (place.old[a], place.score[a]);
        if p == 0.0 {
            return vec![(0.0, 1.0, score)];
        }
        let (low, high) = (p * (1.0 - self.epsilon).max(0.0), p * (1.0 + self.epsilon));
        let ends =
            [(0.0, low, score + place.loss[a]), (low, p, score), (p, high, score), (high, f64::MAX, score - place.gain[a])];
        ends.into_iter().filter(|(from, _, _)| *from < 1.0).map(|(from, to, slope)| (from, to.min(1.0), slope)).collect()
    }
}

impl Drift for ClipDrift {
    fn name(&self) -> String {
        format!("clip {}", self.epsilon)
    }

    fn value(&self, place: &Place<'_>, q: &[f64]) -> f64 {
        let cost = |a: usize| {
            let (p, q) = (place.old[a], q[a]);
            let above = (q - p * (1.0 + self.epsilon)).max(0.0);
            let below = (p * (1.0 - self.epsilon).max(0.0) - q).max(0.0);
            if p > 0.0 { above * place.gain[a] + below * place.loss[a] } else { 0.0 }
        };
        (0..q.len()).map(cost).sum()
    }

    /// A separable concave piecewise-linear programme: without a multiplier the mass fills the steepest pieces first.
    fn maximise(&self, place: &Place<'_>, multiplier: f64) -> Vec<f64> {
        let n = place.old.len();
        let pieces: Vec<Vec<(f64, f64, f64)>> = (0..n).map(|a| self.pieces(place, a)).collect();
        let q = if multiplier > 0.0 { clipped_with_kl(place, &pieces, multiplier) } else { fill_steepest(place, &pieces) };
        // equal slopes differ by rounding: do not wander for nothing
        if self.mirror(place, &q) <= 1e-13 * max_abs(place.score) { place.old.to_vec() } else { q }
    }
}

fn fill_steepest(place: &Place<'_>, pieces: &[Vec<(f64, f64, f64)>]) -> Vec<f64> {
    let flat = pieces.iter().enumerate().flat_map(|(a, list)| list.iter().map(move |piece| (a, *piece)));
    let mut flat: Vec<(usize, (f64, f64, f64))> = flat.collect();
    let beyond = |a: usize, from: f64| from >= place.old[a];
    flat.sort_by(|(a, x), (b, y)| y.2.total_cmp(&x.2).then(beyond(*a, x.0).cmp(&beyond(*b, y.0))));
    let mut q = vec![0.0; pieces.len()];
    let mut left = 1.0f64;
    for (a, (from, to, _)) in flat {
        let taken = (to - from).min(left);
        q[a] += taken;
        left -= taken;
    }
    q
}

/// With λ·KL added, within a piece of slope s the supply is λp/(μ − s), cut to the piece.
fn clipped_with_kl(place: &Place<'_>, pieces: &[Vec<(f64, f64, f64)>], multiplier: f64) -> Vec<f64> {
    let supply = |a: usize, mu: f64| {
        let mut q = 0.0;
        for &(from, to, slope) in &pieces[a] {
            let wish = if mu > slope { multiplier * place.old[a] / (mu - slope) } else { f64::MAX };
            q = wish.clamp(from, to);
            if q < to {
                break;
            }
        }
        q
    };
    let slopes = || pieces.iter().flatten().map(|piece| piece.2);
    let lowest = slopes().fold(f64::INFINITY, f64::min);
    let highest = slopes().fold(f64::NEG_INFINITY, f64::max);
    fill(pieces.len(), lowest, highest + multiplier, supply)
}

/// The q with Σq = 1 of supplies that fall with the price μ. Where a supply jumps at the price found, the two sides are mixed.
fn fill(n: usize, low: f64, high: f64, supply: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let total = |mu: f64| (0..n).map(|a| supply(a, mu)).sum::<f64>();
    let (low, high) = bisect(low, high, |mu| total(mu) > 1.0);
    let (most, least) = (total(low), total(high));
    let share = if most > least { ((1.0 - least) / (most - least)).clamp(0.0, 1.0) } else { 0.0 };
    let mixed: Vec<f64> = (0..n).map(|a| share * supply(a, low) + (1.0 - share) * supply(a, high)).collect();
    let sum: f64 = mixed.iter().sum();
    mixed.iter().map(|x| x / sum).collect()
}

fn min(xs: &[f64]) -> f64 {
    xs.iter().copied().fold(f64::INFINITY, f64::min)
}

fn max(xs: &[f64]) -> f64 {
    xs.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

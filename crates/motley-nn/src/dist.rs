//! Action distributions as row functions on plain slices: sampling, log-probability, entropy and their derivatives.
//!
//! One row is what a network put out for one agent at one moment. Everything that learns or acts uses these functions,
//! on every device; the gradient with respect to the network's output is written by hand and held to finite differences.

use motley_core::{ActionSpace, Stream};
use serde::{Deserialize, Serialize};

const LN_SQRT_TAU: f32 = 0.918_938_5;
const LOG_STD_MIN: f32 = -20.0;
const LOG_STD_MAX: f32 = 2.0;

/// Which distribution an agent's network parametrises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Head {
    /// Independent categoricals over masked logits; one entry per choice (`Discrete(n)` is `[n]`).
    Categorical(Vec<usize>),
    /// Diagonal normal around the network's output with a state-independent deviation
    /// `sigma = sigmoid(w / x_coef) * y_coef` (HARL). Samples are unbounded; the environment is given the clipped action.
    Gaussian {
        /// Bounds of the environment's box.
        low: Vec<f32>,
        /// Bounds of the environment's box.
        high: Vec<f32>,
        /// Scale of the free parameter `w`, which starts at this value.
        x_coef: f32,
        /// Upper bound of the deviation.
        y_coef: f32,
    },
    /// Normal squashed by tanh onto the box; the network puts out means, then log deviations (clamped to [-20, 2]).
    /// The raw action is the value before tanh, so that a saturated action keeps a finite log-probability.
    TanhGaussian {
        /// Bounds of the environment's box.
        low: Vec<f32>,
        /// Bounds of the environment's box.
        high: Vec<f32>,
    },
    /// A point, not a distribution: the network's output squashed by tanh onto the box (deterministic policy gradients). The raw
    /// action is in the environment's units; its log-probability and entropy are 0. Exploration is [`crate::explore::Explore`]'s.
    Deterministic {
        /// Bounds of the environment's box.
        low: Vec<f32>,
        /// Bounds of the environment's box.
        high: Vec<f32>,
    },
}

/// Which divergence a trust region measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KlKind {
    /// `KL(pi_old || pi)`, exact.
    True,
    /// The HARL code's for categoricals: the sum over *all* actions of `e^d - 1 - d`, d the change of log-probability, not
    /// weighted by `pi_old`. |A| times the truth at a uniform policy, and never vanishing near a deterministic one.
    HarlK3,
}

/// `u` squashed by tanh onto `[low, high]`.
fn squash(u: f32, low: f32, high: f32) -> f32 {
    (0.5 * (high - low)).mul_add(u.tanh(), 0.5 * (high + low)).clamp(low, high)
}

/// Log-probability and entropy of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Joint log-probability of the raw action.
    pub log_prob: f32,
    /// Entropy: of the categoricals, or of the normal before squashing.
    pub entropy: f32,
}

impl Head {
    /// The head for an action space; `squash` chooses the tanh form for boxes.
    pub fn for_space(space: &ActionSpace, squash: bool, x_coef: f32, y_coef: f32) -> Self {
        match space {
            ActionSpace::Discrete(n) => Self::Categorical(vec![*n]),
            ActionSpace::MultiDiscrete(n) => Self::Categorical(n.clone()),
            ActionSpace::Box { low, high } if squash => Self::TanhGaussian { low: low.clone(), high: high.clone() },
            ActionSpace::Box { low, high } => Self::Gaussian { low: low.clone(), high: high.clone(), x_coef, y_coef },
        }
    }

    /// Entries that the network puts out per row.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Categorical(n) => n.iter().sum(),
            Self::Gaussian { low, .. } | Self::Deterministic { low, .. } => low.len(),
            Self::TanhGaussian { low, .. } => 2 * low.len(),
        }
    }

    /// Entries of a raw action.
    pub fn width(&self) -> usize {
        match self {
            Self::Categorical(n) => n.len(),
            Self::Gaussian { low, .. } | Self::TanhGaussian { low, .. } | Self::Deterministic { low, .. } => low.len(),
        }
    }

    /// Initial values of the parameters that no network output carries (the Gaussian's `w`).
    pub fn free_parameters(&self) -> Vec<f32> {
        match self {
            Self::Gaussian { low, x_coef, .. } => vec![*x_coef; low.len()],
            _ => Vec::new(),
        }
    }

    /// Draws a raw action. `mask` has one entry per logit (empty for boxes).
    pub fn sample(&self, out: &[f32], free: &[f32], mask: &[bool], rng: &mut Stream, raw: &mut [f32]) -> f32 {
        match self {
            Self::Categorical(n) => {
                let mut total = 0.0;
                for_choices(n, |c, at, k| {
                    let (logits, mask) = (&out[at..at + k], &mask[at..at + k]);
                    let norm = Normaliser::new(logits, mask);
                    let pick = norm.draw(logits, mask, rng.uniform_f32());
                    raw[c] = pick as f32;
                    total += norm.log_prob(logits[pick]);
                });
                total
            }
            Self::Gaussian { .. } | Self::TanhGaussian { .. } => {
                for (d, x) in raw.iter_mut().enumerate() {
                    let (mean, log_std) = self.normal(out, free, d);
                    *x = mean + log_std.exp() * rng.normal() as f32;
                }
                self.log_prob(out, free, mask, raw)
            }
            Self::Deterministic { .. } => self.mode(out, free, mask, raw),
        }
    }

    /// The most likely raw action (the mean of a normal).
    pub fn mode(&self, out: &[f32], free: &[f32], mask: &[bool], raw: &mut [f32]) -> f32 {
        match self {
            Self::Categorical(n) => for_choices(n, |c, at, k| raw[c] = argmax(&out[at..at + k], &mask[at..at + k]) as f32),
            Self::Deterministic { low, high } => {
                for (d, x) in raw.iter_mut().enumerate() {
                    *x = squash(out[d], low[d], high[d]);
                }
            }
            _ => raw.iter_mut().enumerate().for_each(|(d, x)| *x = self.normal(out, free, d).0),
        }
        self.log_prob(out, free, mask, raw)
    }

    /// Joint log-probability of a raw action; `-inf` for an unavailable one.
    pub fn log_prob(&self, out: &[f32], free: &[f32], mask: &[bool], raw: &[f32]) -> f32 {
        match self {
            Self::Categorical(n) => {
                let mut total = 0.0;
                for_choices(n, |c, at, k| {
                    let pick = raw[c] as usize;
                    let norm = Normaliser::new(&out[at..at + k], &mask[at..at + k]);
                    total += if mask[at + pick] { norm.log_prob(out[at + pick]) } else { f32::NEG_INFINITY };
                });
                total
            }
            Self::Gaussian { .. } => (0..raw.len()).map(|d| self.normal_log_prob(out, free, raw, d)).sum(),
            // log pi(a) = log N(u) - sum 2 (ln 2 - u - softplus(-2u)) - sum ln(scale); written from u, never from a.
            Self::TanhGaussian { low, high } => (0..raw.len())
                .map(|d| {
                    let u = raw[d];
                    let squash = 2.0 * (std::f32::consts::LN_2 - u - softplus(-2.0 * u));
                    self.normal_log_prob(out, free, raw, d) - squash - (0.5 * (high[d] - low[d])).ln()
                })
                .sum(),
            Self::Deterministic { .. } => 0.0,
        }
    }

    /// Log-probability and entropy together.
    pub fn evaluate(&self, out: &[f32], free: &[f32], mask: &[bool], raw: &[f32]) -> Evaluation {
        let entropy = match self {
            Self::Categorical(n) => {
                let mut total = 0.0;
                for_choices(n, |_, at, k| {
                    total += Normaliser::new(&out[at..at + k], &mask[at..at + k]).entropy(&out[at..at + k], &mask[at..at + k])
                });
                total
            }
            Self::Deterministic { .. } => 0.0,
            _ => (0..raw.len()).map(|d| 0.5 + LN_SQRT_TAU + self.normal(out, free, d).1).sum(),
        };
        Evaluation { log_prob: self.log_prob(out, free, mask, raw), entropy }
    }

    /// Writes `d_out = d_log_prob * d log pi / d out + d_entropy * dH / d out`, and adds the free parameters' part to `d_free`.
    /// Unavailable logits get exactly 0.
    #[allow(clippy::too_many_arguments, reason = "one row's inputs and outputs; a struct would be built per row")]
    pub fn backward(
        &self,
        out: &[f32],
        free: &[f32],
        mask: &[bool],
        raw: &[f32],
        d_log_prob: f32,
        d_entropy: f32,
        d_out: &mut [f32],
        d_free: &mut [f64],
    ) {
        match self {
            Self::Categorical(n) => for_choices(n, |c, at, k| {
                let (logits, mask) = (&out[at..at + k], &mask[at..at + k]);
                let norm = Normaliser::new(logits, mask);
                let entropy = if d_entropy == 0.0 { 0.0 } else { norm.entropy(logits, mask) };
                for j in 0..k {
                    // d log p_a / d z_j = [j = a] - p_j;  dH / d z_j = -p_j (log p_j + H)
                    d_out[at + j] = if mask[j] {
                        let log_p = norm.log_prob(logits[j]);
                        let p = log_p.exp();
                        let hit = f32::from(u8::from(j == raw[c] as usize));
                        d_log_prob * (hit - p) - if p > 0.0 { d_entropy * p * (log_p + entropy) } else { 0.0 }
                    } else {
                        0.0
                    };
                }
            }),
            Self::Gaussian { x_coef, y_coef, .. } => {
                for d in 0..raw.len() {
                    let (mean, log_std) = self.normal(out, free, d);
                    let z = (raw[d] - mean) / log_std.exp();
                    d_out[d] = d_log_prob * z / log_std.exp();
                    // d log sigma / d w = (1 - sigma / y_coef) / x_coef
                    let slope = (1.0 - log_std.exp() / y_coef) / x_coef;
                    d_free[d] += f64::from((d_log_prob * (z * z - 1.0) + d_entropy) * slope);
                }
            }
            Self::TanhGaussian { low, .. } => {
                let dim = low.len();
                for d in 0..dim {
                    let (mean, log_std) = self.normal(out, free, d);
                    let z = (raw[d] - mean) / log_std.exp();
                    d_out[d] = d_log_prob * z / log_std.exp();
                    let inside = (LOG_STD_MIN..=LOG_STD_MAX).contains(&out[dim + d]);
                    d_out[dim + d] = if inside { d_log_prob * (z * z - 1.0) + d_entropy } else { 0.0 };
                }
            }
            Self::Deterministic { .. } => d_out.fill(0.0),
        }
    }

    /// `KL(pi_old || pi)` of one row, in f64. For squashed normals it is that of the normals (squashing is a bijection).
    pub fn kl(&self, old: &[f32], old_free: &[f32], new: &[f32], new_free: &[f32], mask: &[bool], kind: KlKind) -> f64 {
        match self {
            Self::Categorical(n) => {
                let mut total = 0.0;
                for_choices(n, |_, at, k| {
                    let mask = &mask[at..at + k];
                    let (a, b) = (Normaliser::new(&old[at..at + k], mask), Normaliser::new(&new[at..at + k], mask));
                    for j in (0..k).filter(|&j| mask[j]) {
                        let (log_p, log_q) = (f64::from(a.log_prob(old[at + j])), f64::from(b.log_prob(new[at + j])));
                        total += match kind {
                            KlKind::True => log_p.exp() * (log_p - log_q),
                            KlKind::HarlK3 => (log_q - log_p).exp() - 1.0 - (log_q - log_p),
                        };
                    }
                });
                total
            }
            Self::Deterministic { .. } => 0.0,
            _ => (0..self.width())
                .map(|d| {
                    let ((m0, s0), (m1, s1)) = (self.normal(old, old_free, d), self.normal(new, new_free, d));
                    let (m0, s0, m1, s1) = (f64::from(m0), f64::from(s0), f64::from(m1), f64::from(s1));
                    s1 - s0 + ((2.0 * s0).exp() + (m0 - m1).powi(2)) / (2.0 * (2.0 * s1).exp()) - 0.5
                })
                .sum(),
        }
    }

    /// `M t`: the Hessian of the divergence with respect to the network's output at the old policy, times a tangent.
    /// Categorical: `p (t - p.t)` on available logits; normal: `t / sigma^2` on means and `2 t` on log deviations.
    pub fn curvature(&self, out: &[f32], free: &[f32], mask: &[bool], tangent: &[f32], into: &mut [f32], kind: KlKind) {
        match self {
            Self::Categorical(n) => for_choices(n, |_, at, k| {
                let (logits, mask) = (&out[at..at + k], &mask[at..at + k]);
                let norm = Normaliser::new(logits, mask);
                let available = mask.iter().filter(|m| **m).count() as f32;
                let p = |j: usize| if mask[j] { norm.log_prob(logits[j]).exp() } else { 0.0 };
                let mean: f32 = (0..k).map(|j| p(j) * tangent[at + j]).sum();
                // HarlK3: sum_j (t_j - p.t)^2 / 2 has the Hessian (I - 1 p^T)^T (I - 1 p^T) on available logits.
                let total: f32 = (0..k).filter(|&j| mask[j]).map(|j| tangent[at + j] - mean).sum();
                for j in 0..k {
                    into[at + j] = match kind {
                        _ if !mask[j] => 0.0,
                        KlKind::True => p(j) * (tangent[at + j] - mean),
                        KlKind::HarlK3 if available > 0.0 => tangent[at + j] - mean - p(j) * total,
                        KlKind::HarlK3 => 0.0,
                    };
                }
            }),
            Self::Gaussian { low, .. } => {
                for d in 0..low.len() {
                    into[d] = tangent[d] / (2.0 * self.normal(out, free, d).1).exp();
                }
            }
            Self::TanhGaussian { low, .. } => {
                let dim = low.len();
                for d in 0..dim {
                    into[d] = tangent[d] / (2.0 * self.normal(out, free, d).1).exp();
                    let inside = (LOG_STD_MIN..=LOG_STD_MAX).contains(&out[dim + d]);
                    into[dim + d] = if inside { 2.0 * tangent[dim + d] } else { 0.0 };
                }
            }
            Self::Deterministic { .. } => into.fill(0.0),
        }
    }

    /// Curvature of the divergence along free parameter `k`: `2 (d log sigma / d w)^2` for the Gaussian's.
    pub fn free_curvature(&self, free: &[f32], k: usize) -> f32 {
        match self {
            Self::Gaussian { x_coef, y_coef, .. } => {
                let log_std = y_coef.ln() - softplus(-free[k] / x_coef);
                let slope = (1.0 - log_std.exp() / y_coef) / x_coef;
                2.0 * slope * slope
            }
            _ => 0.0,
        }
    }

    /// The environment's action for a raw one: the index, the clipped value, or the squashed value.
    pub fn to_env(&self, raw: &[f32], env: &mut [f32]) {
        match self {
            Self::Categorical(_) => env.copy_from_slice(raw),
            Self::Gaussian { low, high, .. } | Self::Deterministic { low, high } => {
                for d in 0..raw.len() {
                    env[d] = raw[d].clamp(low[d], high[d]);
                }
            }
            Self::TanhGaussian { low, high } => {
                for d in 0..raw.len() {
                    env[d] = squash(raw[d], low[d], high[d]);
                }
            }
        }
    }

    /// Mean and log deviation of dimension `d`.
    fn normal(&self, out: &[f32], free: &[f32], d: usize) -> (f32, f32) {
        match self {
            Self::Gaussian { x_coef, y_coef, .. } => (out[d], y_coef.ln() - softplus(-free[d] / x_coef)),
            Self::TanhGaussian { low, .. } => (out[d], out[low.len() + d].clamp(LOG_STD_MIN, LOG_STD_MAX)),
            Self::Categorical(_) | Self::Deterministic { .. } => (0.0, 0.0),
        }
    }

    fn normal_log_prob(&self, out: &[f32], free: &[f32], raw: &[f32], d: usize) -> f32 {
        let (mean, log_std) = self.normal(out, free, d);
        let z = (raw[d] - mean) / log_std.exp();
        -0.5 * z * z - log_std - LN_SQRT_TAU
    }
}

/// Calls `f(choice, offset, size)` for each independent choice.
fn for_choices(sizes: &[usize], mut f: impl FnMut(usize, usize, usize)) {
    let mut at = 0;
    for (c, &k) in sizes.iter().enumerate() {
        f(c, at, k);
        at += k;
    }
}

/// `ln(1 + e^x)` without overflow.
fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The first available entry of greatest value.
pub fn argmax(xs: &[f32], mask: &[bool]) -> usize {
    let mut best = None;
    for (j, (&x, _)) in xs.iter().zip(mask).enumerate().filter(|(_, (_, m))| **m) {
        if best.is_none_or(|(_, b)| x > b) {
            best = Some((j, x));
        }
    }
    best.map_or(0, |(j, _)| j)
}

/// The normaliser of a masked softmax: `log p_j = z_j - max - ln sum exp(z - max)` over available entries.
struct Normaliser {
    max: f32,
    ln_sum: f32,
}

impl Normaliser {
    fn new(logits: &[f32], mask: &[bool]) -> Self {
        let available = || logits.iter().zip(mask).filter(|(_, m)| **m).map(|(z, _)| *z);
        let max = available().fold(f32::NEG_INFINITY, f32::max);
        Self { max, ln_sum: available().map(|z| (z - max).exp()).sum::<f32>().ln() }
    }

    fn log_prob(&self, logit: f32) -> f32 {
        logit - self.max - self.ln_sum
    }

    /// `-sum p log p`, with `0 log 0 = 0`.
    fn entropy(&self, logits: &[f32], mask: &[bool]) -> f32 {
        let terms = logits.iter().zip(mask).filter(|(_, m)| **m).map(|(z, _)| {
            let log_p = self.log_prob(*z);
            let p = log_p.exp();
            if p > 0.0 { -p * log_p } else { 0.0 }
        });
        terms.sum()
    }

    /// Inverse of the cumulative distribution at `u`; only available entries can be hit.
    fn draw(&self, logits: &[f32], mask: &[bool], u: f32) -> usize {
        let mut last = 0;
        let mut cumulative = 0.0;
        for j in (0..logits.len()).filter(|&j| mask[j]) {
            let p = self.log_prob(logits[j]).exp();
            if p > 0.0 {
                last = j;
            }
            cumulative += p;
            if u < cumulative {
                return j;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use motley_core::Purpose;
    use proptest::prelude::*;

    use super::*;

    fn gaussian(dim: usize) -> Head {
        Head::Gaussian { low: vec![-1.0; dim], high: vec![1.0; dim], x_coef: 1.0, y_coef: 0.5 }
    }

    fn squashed(dim: usize) -> Head {
        Head::TanhGaussian { low: vec![-2.0; dim], high: vec![1.0; dim] }
    }

    /// Central differences in f32 need a coarse step; the error of the difference itself is about 1e-3 of the scale.
    fn check_gradient(head: &Head, out: &[f32], free: &[f32], mask: &[bool], raw: &[f32], weights: (f32, f32)) {
        let value = |out: &[f32], free: &[f32]| {
            let e = head.evaluate(out, free, mask, raw);
            f64::from(weights.0) * f64::from(e.log_prob) + f64::from(weights.1) * f64::from(e.entropy)
        };
        let (mut d_out, mut d_free) = (vec![0.0; out.len()], vec![0.0; free.len()]);
        head.backward(out, free, mask, raw, weights.0, weights.1, &mut d_out, &mut d_free);
        let step = 5e-3;
        let close = |numeric: f64, exact: f64| (numeric - exact).abs() <= 5e-3 * (1.0 + exact.abs());
        for j in 0..out.len() {
            let (mut up, mut down) = (out.to_vec(), out.to_vec());
            up[j] += step;
            down[j] -= step;
            let numeric = (value(&up, free) - value(&down, free)) / f64::from(up[j] - down[j]);
            assert!(close(numeric, f64::from(d_out[j])), "{head:?} out {j}: {numeric} against {}", d_out[j]);
        }
        for j in 0..free.len() {
            let (mut up, mut down) = (free.to_vec(), free.to_vec());
            up[j] += step;
            down[j] -= step;
            let numeric = (value(out, &up) - value(out, &down)) / f64::from(up[j] - down[j]);
            assert!(close(numeric, d_free[j]), "{head:?} free {j}: {numeric} against {}", d_free[j]);
        }
    }

    proptest! {
        #[test]
        fn gradients_match_differences(
            out in proptest::collection::vec(-1.5f32..1.5, 6),
            picks in (0usize..3, 0usize..2),
            w in (-2.0f32..2.0, -1.0f32..1.0),
            free in proptest::collection::vec(0.2f32..1.5, 3),
        ) {
            let mask = [true, true, true, true, true, false];
            check_gradient(&Head::Categorical(vec![3, 3]), &out, &[], &mask, &[picks.0 as f32, picks.1 as f32], w);
            let near: Vec<f32> = (0..3).map(|d| out[d] + 0.2 * out[d + 3]).collect();
            check_gradient(&gaussian(3), &out[..3], &free, &[], &near, w);
            let near: Vec<f32> = (0..3).map(|d| out[d] + 0.2).collect();
            check_gradient(&squashed(3), &out, &[], &[], &near, w);
        }

        /// T23 and E11: an unavailable action has probability 0, zero gradient, and is never drawn.
        #[test]
        fn unavailable_actions_never_happen(
            logits in proptest::collection::vec(-50.0f32..50.0, 7),
            mut mask in proptest::collection::vec(any::<bool>(), 7),
            keep in 0usize..7,
            seed in any::<u64>(),
        ) {
            mask[keep] = true;
            let head = Head::Categorical(vec![7]);
            let mut rng = Stream::new(seed, Purpose::Check, 0, 0);
            let mut raw = [0.0];
            for _ in 0..20 {
                let log_prob = head.sample(&logits, &[], &mask, &mut rng, &mut raw);
                prop_assert!(mask[raw[0] as usize] && log_prob.is_finite());
            }
            prop_assert!(head.mode(&logits, &[], &mask, &mut raw).is_finite() && mask[raw[0] as usize]);
            let mut d_out = [f32::NAN; 7];
            head.backward(&logits, &[], &mask, &raw, 1.0, 1.0, &mut d_out, &mut []);
            for j in 0..7 {
                prop_assert!(d_out[j].is_finite() && (mask[j] || d_out[j] == 0.0));
                prop_assert!(mask[j] || head.log_prob(&logits, &[], &mask, &[j as f32]) == f32::NEG_INFINITY);
            }
        }
    }

    /// The divergence is 0 at the old policy, and its second differences there are the curvature.
    #[test]
    fn curvature_is_the_divergences_hessian() {
        let mask = [true, true, false, true];
        let (out, tangent) = ([0.3, -0.8, 0.1, 1.1], [0.7, -0.2, 0.5, 0.4]);
        for (head, mask) in [(Head::Categorical(vec![4]), &mask[..]), (gaussian(4), &[]), (squashed(2), &[])] {
            for kind in [KlKind::True, KlKind::HarlK3] {
                let free = head.free_parameters();
                let at = |h: f32, free: &[f32]| {
                    let moved: Vec<f32> = out.iter().zip(&tangent).map(|(o, t)| o + h * t).collect();
                    head.kl(&out, &head.free_parameters(), &moved, free, mask, kind)
                };
                assert!(at(0.0, &free).abs() < 1e-9);
                let h = 2e-2;
                let numeric = (at(h, &free) + at(-h, &free)) / f64::from(h * h);
                let mut m = [0.0; 4];
                head.curvature(&out, &free, mask, &tangent, &mut m, kind);
                let exact: f32 = m.iter().zip(&tangent).map(|(a, b)| a * b).sum();
                assert!(
                    (numeric - f64::from(exact)).abs() < 2e-2 * (1.0 + numeric.abs()),
                    "{head:?} {kind:?}: {numeric} {exact}"
                );
                for k in 0..free.len() {
                    let moved =
                        |h: f32| free.iter().enumerate().map(|(j, w)| if j == k { w + h } else { *w }).collect::<Vec<_>>();
                    let numeric = (at(0.0, &moved(h)) + at(0.0, &moved(-h))) / f64::from(h * h);
                    assert!((numeric - f64::from(head.free_curvature(&free, k))).abs() < 1e-2, "free {k}: {numeric}");
                }
            }
        }
    }

    #[test]
    fn categorical_agrees_with_closed_form() {
        let head = Head::Categorical(vec![2]);
        let e = head.evaluate(&[3.0f32.ln(), 0.0], &[], &[true, true], &[0.0]);
        assert!((e.log_prob - 0.75f32.ln()).abs() < 1e-6);
        assert!((e.entropy - (-0.75 * 0.75f32.ln() - 0.25 * 0.25f32.ln())).abs() < 1e-6);
    }

    #[test]
    fn samples_follow_the_distribution() {
        let head = Head::Categorical(vec![3]);
        let (out, mask) = ([1.0f32.ln(), 0.0, 3.0f32.ln()], [true, false, true]);
        let mut rng = Stream::new(1, Purpose::Check, 0, 0);
        let mut raw = [0.0];
        let hits = (0..40_000)
            .filter(|_| {
                head.sample(&out, &[], &mask, &mut rng, &mut raw);
                raw[0] == 2.0
            })
            .count();
        assert!((hits as f64 / 40_000.0 - 0.75).abs() < 0.01, "{hits}");
        let head = gaussian(1);
        let draws: Vec<f64> = (0..40_000)
            .map(|_| {
                head.sample(&[0.3], &[1.0], &[], &mut rng, &mut raw);
                f64::from(raw[0])
            })
            .collect();
        let mean = draws.iter().sum::<f64>() / 40_000.0;
        let std = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 40_000.0).sqrt();
        // sigma_0 = 0.5 sigmoid(1)
        assert!((mean - 0.3).abs() < 0.01 && (std - 0.365_529).abs() < 0.01, "{mean} {std}");
    }

    /// T22: the density over actions integrates to 1 (midpoint rule over a in (-2, 1)).
    #[test]
    fn tanh_gaussian_integrates_to_one() {
        for (mean, log_std) in [(0.0, -0.5), (0.7, 0.0), (-1.2, -1.5)] {
            let n = 200_000;
            let total: f64 = (0..n)
                .map(|k| {
                    let unit = (f64::from(k) + 0.5) / f64::from(n) * 2.0 - 1.0;
                    let u = unit.atanh() as f32;
                    f64::from(squashed(1).log_prob(&[mean, log_std], &[], &[], &[u])).exp() * 3.0 / f64::from(n)
                })
                .sum();
            assert!((total - 1.0).abs() < 2e-3, "{mean} {log_std}: {total}");
        }
    }

    /// N9: finite log-probability and gradient for |u| up to 50.
    #[test]
    fn saturated_actions_stay_finite() {
        for u in [-50.0, -20.0, 0.0, 20.0, 50.0] {
            let head = squashed(1);
            let mut d_out = [f32::NAN; 2];
            head.backward(&[0.0, 0.0], &[], &[], &[u], 1.0, 0.1, &mut d_out, &mut []);
            assert!(head.log_prob(&[0.0, 0.0], &[], &[], &[u]).is_finite() && d_out.iter().all(|d| d.is_finite()));
            let mut env = [0.0];
            head.to_env(&[u], &mut env);
            assert!((-2.0..=1.0).contains(&env[0]));
        }
    }
}

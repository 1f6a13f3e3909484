//! Action distributions as row functions on plain slices: sampling, log-probability, entropy and their derivatives.
//!
//! One row is what a network put out for one agent at one moment. Everything that learns or acts uses these functions,
//! on every device; the gradient with respect to the network's output is written by hand and held to finite differences.

use motley_core::{ActionSpace, Stream};
use serde::{Deserialize, Serialize};

mod choices;
mod softmax;

pub(crate) use softmax::Normaliser;

const LN_SQRT_TAU: f32 = 0.918_938_5;
pub(crate) const LOG_STD_MIN: f32 = -20.0;
pub(crate) const LOG_STD_MAX: f32 = 2.0;

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
    /// weighted by `pi_old`. |A| times the truth at a uniform policy, and never vanishing near a deterministic one. Unavailable
    /// actions are in its curvature alone: beside their logits of -1e10 single precision has no room for the d of the value.
    HarlK3,
}

/// `u` squashed by tanh onto `[low, high]`.
pub(crate) fn squash(u: f32, low: f32, high: f32) -> f32 {
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

/// `ln((high - low) / 2)`: what squashing to the box adds to a log-density. A dimension that is fixed has no density to scale: 0.
pub fn ln_half_width(low: f32, high: f32) -> f32 {
    let half = 0.5 * (high - low);
    if half > 0.0 { half.ln() } else { 0.0 }
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
                    self.normal_log_prob(out, free, raw, d) - squash - ln_half_width(low[d], high[d])
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

    /// [`Head::evaluate`] and [`Head::backward`] with the same bits, in one pass where there is a single choice: `weigh` gives
    /// `(d_log_prob, d_entropy)` for the row's evaluation.
    #[allow(clippy::too_many_arguments, reason = "one row's inputs and outputs; a struct would be built per row")]
    pub fn evaluate_backward(
        &self,
        out: &[f32],
        free: &[f32],
        mask: &[bool],
        raw: &[f32],
        weigh: impl FnOnce(Evaluation) -> (f32, f32),
        d_out: &mut [f32],
        d_free: &mut [f64],
    ) {
        match self {
            Self::Categorical(sizes) if sizes.len() == 1 => {
                let (norm, pick) = (Normaliser::new(out, mask), raw[0] as usize);
                // d_out holds the probabilities until the weights are known.
                let entropy = norm.probabilities(out, mask, d_out);
                let log_prob = if mask[pick] { norm.log_prob(out[pick]) } else { f32::NEG_INFINITY };
                let (d_log_prob, d_entropy) = weigh(Evaluation { log_prob, entropy });
                let entropy = if d_entropy == 0.0 { 0.0 } else { entropy };
                for j in (0..out.len()).filter(|&j| mask[j]) {
                    let (p, log_p) = (d_out[j], norm.log_prob(out[j]));
                    let hit = f32::from(u8::from(j == pick));
                    d_out[j] = d_log_prob * (hit - p) - if p > 0.0 { d_entropy * p * (log_p + entropy) } else { 0.0 };
                }
            }
            _ => {
                let (d_log_prob, d_entropy) = weigh(self.evaluate(out, free, mask, raw));
                self.backward(out, free, mask, raw, d_log_prob, d_entropy, d_out, d_free);
            }
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

    /// Wasserstein distance between two action distributions. Normals: `sqrt(|mu_a - mu_b|^2 + |sigma_a - sigma_b|^2)` (order 2, before
    /// squashing); a point: the distance of the actions; choices: their total variations, added (order 1, all options equally far
    /// apart). Availability is left out.
    pub fn distance(&self, a: &[f32], a_free: &[f32], b: &[f32], b_free: &[f32]) -> f64 {
        match self {
            Self::Categorical(n) => {
                let mut total = 0.0;
                for_choices(n, |_, at, k| {
                    let all = vec![true; k];
                    let (p, q) = (Normaliser::new(&a[at..at + k], &all), Normaliser::new(&b[at..at + k], &all));
                    let differ = |j: usize| f64::from((p.log_prob(a[at + j]).exp() - q.log_prob(b[at + j]).exp()).abs());
                    total += 0.5 * (0..k).map(differ).sum::<f64>();
                });
                total
            }
            Self::Deterministic { low, high } => (0..low.len())
                .map(|d| f64::from(squash(a[d], low[d], high[d]) - squash(b[d], low[d], high[d])).powi(2))
                .sum::<f64>()
                .sqrt(),
            _ => (0..self.width())
                .map(|d| {
                    let ((m0, s0), (m1, s1)) = (self.normal(a, a_free, d), self.normal(b, b_free, d));
                    f64::from(m0 - m1).powi(2) + f64::from(s0.exp() - s1.exp()).powi(2)
                })
                .sum::<f64>()
                .sqrt(),
        }
    }

    /// `M t`: the Hessian of the divergence with respect to the network's output at the old policy, times a tangent.
    /// Categorical: `p (t - p.t)` on available logits; normal: `t / sigma^2` on means and `2 t` on log deviations.
    pub fn curvature(&self, out: &[f32], free: &[f32], mask: &[bool], tangent: &[f32], into: &mut [f32], kind: KlKind) {
        match self {
            Self::Categorical(n) => for_choices(n, |_, at, k| {
                let (logits, mask) = (&out[at..at + k], &mask[at..at + k]);
                let norm = Normaliser::new(logits, mask);
                let unavailable = mask.iter().filter(|m| !**m).count() as f32;
                let p = |j: usize| if mask[j] { norm.log_prob(logits[j]).exp() } else { 0.0 };
                let mean: f32 = (0..k).map(|j| p(j) * tangent[at + j]).sum();
                // HarlK3: sum_j (t_j - p.t)^2 / 2 has the Hessian (I - 1 p^T)^T (I - 1 p^T) on available logits, and an unavailable
                // one, held at -1e10, adds p p^T: its derivatives go through the normaliser.
                let total: f32 = (0..k).filter(|&j| mask[j]).map(|j| tangent[at + j] - mean).sum();
                for j in 0..k {
                    into[at + j] = match kind {
                        _ if !mask[j] => 0.0,
                        KlKind::True => p(j) * (tangent[at + j] - mean),
                        KlKind::HarlK3 => tangent[at + j] - mean - p(j) * (total - unavailable * mean),
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
pub(crate) fn for_choices(sizes: &[usize], mut f: impl FnMut(usize, usize, usize)) {
    let mut at = 0;
    for (c, &k) in sizes.iter().enumerate() {
        f(c, at, k);
        at += k;
    }
}

/// `ln(1 + e^x)` without overflow.
pub fn softplus(x: f32) -> f32 {
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

#[cfg(test)]
mod tests;

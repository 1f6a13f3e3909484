//! How agents explore while they collect. Evaluation never explores.

use motley_core::Stream;
use serde::{Deserialize, Serialize};

use crate::dist::Head;

/// What [`crate::Mode::Explore`] does with a network's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Explore {
    /// Draw from the distribution: stochastic policies.
    #[default]
    Draw,
    /// The best available choice, or with this probability one of the available choices at random (each dimension of a
    /// multi-discrete action by itself): the outputs are action values.
    Epsilon(f32),
    /// The deterministic action plus normal noise of this deviation, in units of half the box, clipped to the box.
    Noise(f32),
    /// Uniform over the available choices, or over the box: before anything is learned.
    Uniform,
}

impl Explore {
    /// Whether the policy beneath is a distribution to draw from, rather than one best action that exploration strays from.
    pub fn draws(self, head: &Head) -> bool {
        matches!((self, head), (Self::Draw, _) | (Self::Noise(_), Head::Categorical(_)))
    }

    /// Chooses one agent's raw action and returns its log-probability where it is defined (0 where it is not).
    pub fn choose(self, head: &Head, out: &[f32], free: &[f32], mask: &[bool], rng: &mut Stream, raw: &mut [f32]) -> f32 {
        match (self, head) {
            (Self::Draw, _) | (Self::Noise(_), Head::Categorical(_)) => head.sample(out, free, mask, rng, raw),
            (Self::Epsilon(epsilon), Head::Categorical(sizes)) => {
                head.mode(out, free, mask, raw);
                let (mut from, mut log_prob) = (0, 0.0);
                for (raw, size) in raw.iter_mut().zip(sizes) {
                    let (best, mask) = (*raw, &mask[from..from + size]);
                    if rng.uniform_f32() < epsilon {
                        *raw = any_available(mask, rng);
                    }
                    let available = mask.iter().filter(|m| **m).count();
                    log_prob += epsilon_greedy(epsilon, available, *raw == best).ln();
                    from += size;
                }
                log_prob
            }
            (Self::Epsilon(_), _) => head.mode(out, free, mask, raw),
            (Self::Noise(deviation), _) => {
                head.mode(out, free, mask, raw);
                if let Head::Deterministic { low, high } = head {
                    for (d, x) in raw.iter_mut().enumerate() {
                        let scale = deviation * 0.5 * (high[d] - low[d]);
                        *x = (*x + scale * rng.normal() as f32).clamp(low[d], high[d]);
                    }
                }
                0.0
            }
            (Self::Uniform, Head::Categorical(sizes)) => {
                let mut from = 0;
                for (raw, size) in raw.iter_mut().zip(sizes) {
                    *raw = any_available(&mask[from..from + size], rng);
                    from += size;
                }
                0.0
            }
            (Self::Uniform, Head::Gaussian { low, high, .. } | Head::Deterministic { low, high }) => {
                raw.iter_mut().enumerate().for_each(|(d, x)| *x = rng.range(low[d].into(), high[d].into()) as f32);
                0.0
            }
            // Uniform on the box through the inverse of the squashing: u = atanh(2 p - 1), p in (0, 1).
            (Self::Uniform, Head::TanhGaussian { .. }) => {
                raw.iter_mut().for_each(|x| *x = (rng.range(-1.0, 1.0) as f32).clamp(-0.999_999, 0.999_999).atanh());
                0.0
            }
        }
    }
}

/// Probability of a choice under an epsilon-greedy policy: `epsilon / available`, and `1 - epsilon` more for the best one.
pub fn epsilon_greedy(epsilon: f32, available: usize, best: bool) -> f32 {
    epsilon / available.max(1) as f32 + if best { 1.0 - epsilon } else { 0.0 }
}

/// One of the available choices, each equally likely.
fn any_available(mask: &[bool], rng: &mut Stream) -> f32 {
    let available = mask.iter().filter(|m| **m).count();
    let pick = rng.below(available.max(1) as u32) as usize;
    mask.iter().enumerate().filter(|(_, m)| **m).nth(pick).map_or(0.0, |(k, _)| k as f32)
}

#[cfg(test)]
mod tests {
    use motley_core::Purpose;

    use super::*;

    fn rng() -> Stream {
        Stream::new(1, Purpose::Act, 0, 0)
    }

    #[test]
    fn epsilon_takes_the_best_available_choice_and_explores_only_available_ones() {
        let (head, out, mask) = (Head::Categorical(vec![4]), [3.0, 2.0, 1.0, 0.0], [false, true, true, false]);
        let (mut rng, mut raw, mut counts) = (rng(), [0.0], [0_u32; 4]);
        for _ in 0..20_000 {
            let log_prob = Explore::Epsilon(0.3).choose(&head, &out, &[], &mask, &mut rng, &mut raw);
            let expected: f32 = if raw[0] == 1.0 { 0.85 } else { 0.15 };
            assert!((log_prob.exp() - expected).abs() < 1e-6);
            counts[raw[0] as usize] += 1;
        }
        assert_eq!((counts[0], counts[3]), (0, 0));
        assert!((f64::from(counts[2]) / 20_000.0 - 0.15).abs() < 0.015, "{counts:?}");
        Explore::Epsilon(0.0).choose(&head, &out, &[], &mask, &mut rng, &mut raw);
        assert_eq!(raw, [1.0]);
    }

    #[test]
    fn noise_has_its_deviation_in_half_boxes_and_stays_inside() {
        let head = Head::Deterministic { low: vec![-2.0, 0.0], high: vec![2.0, 0.1] };
        let (mut rng, mut raw, mut squares) = (rng(), [0.0; 2], 0.0);
        for _ in 0..20_000 {
            Explore::Noise(0.1).choose(&head, &[0.0, 0.0], &[], &[], &mut rng, &mut raw);
            assert!((0.0..=0.1).contains(&raw[1]));
            squares += f64::from(raw[0]).powi(2);
        }
        assert!(((squares / 20_000.0).sqrt() - 0.2).abs() < 0.01);
    }

    #[test]
    fn uniform_covers_boxes_of_every_head_evenly() {
        let (low, high) = (vec![-1.0], vec![3.0]);
        let heads = [
            Head::Deterministic { low: low.clone(), high: high.clone() },
            Head::TanhGaussian { low: low.clone(), high: high.clone() },
            Head::Gaussian { low, high, x_coef: 1.0, y_coef: 0.5 },
        ];
        for head in heads {
            let (mut rng, mut raw, mut env, mut below) = (rng(), [0.0], [0.0], 0_u32);
            for _ in 0..20_000 {
                Explore::Uniform.choose(&head, &[0.0; 2], &[0.0], &[], &mut rng, &mut raw);
                head.to_env(&raw, &mut env);
                below += u32::from(env[0] < 0.0);
            }
            assert!((f64::from(below) / 20_000.0 - 0.25).abs() < 0.015, "{head:?} {below}");
        }
    }
}

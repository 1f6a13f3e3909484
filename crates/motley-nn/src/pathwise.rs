//! Actions as functions of a network's output and of noise that is drawn beforehand, so that a critic's derivative by the action
//! reaches the actor: deterministic policy gradients (Silver et al. 2014), the reparameterised tanh-normal (Haarnoja et al. 2018)
//! and the straight-through Gumbel-softmax (Jang et al. 2017; Maddison et al. 2017).
//!
//! A critic reads an agent's action as a *block*: one-hots of the choices, or the box's values in the environment's units.

use motley_core::Stream;

use crate::dist::{Head, LOG_STD_MAX, LOG_STD_MIN, Normaliser, argmax, for_choices, squash};

/// Which noise turns an output into an action.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    /// None: the greedy action.
    Zero,
    /// The policy's own: Gumbel for choices, normal for a tanh-normal, none for a deterministic head.
    Policy,
    /// TD3's smoothing of a deterministic target: normal with this deviation, cut at this bound, both in half-boxes; choices stay
    /// greedy.
    Smoothing {
        /// Deviation.
        std: f32,
        /// Bound.
        clip: f32,
    },
}

impl Head {
    /// Entries of an action as an input of a network: one per option of each choice, or one per dimension.
    pub fn block(&self) -> usize {
        match self {
            Self::Categorical(n) => n.iter().sum(),
            _ => self.width(),
        }
    }

    /// A stored raw action as an input of a network: a one-hot for each choice, or the environment's action.
    pub fn encode(&self, raw: &[f32], block: &mut [f32]) {
        match self {
            Self::Categorical(n) => {
                block.fill(0.0);
                for_choices(n, |c, at, _| block[at + raw[c] as usize] = 1.0);
            }
            _ => self.to_env(raw, block),
        }
    }

    /// Draws the noise of one row, one number per entry of the block.
    pub fn draw_noise(&self, kind: Noise, rng: &mut Stream, noise: &mut [f32]) {
        match (kind, self) {
            (Noise::Policy, Self::Categorical(_)) => noise.iter_mut().for_each(|x| *x = rng.gumbel() as f32),
            (Noise::Policy, Self::TanhGaussian { .. } | Self::Gaussian { .. }) => {
                noise.iter_mut().for_each(|x| *x = rng.normal() as f32);
            }
            (Noise::Smoothing { std, clip }, Self::Deterministic { low, high }) => {
                for (d, x) in noise.iter_mut().enumerate() {
                    *x = (std * rng.normal() as f32).clamp(-clip, clip) * 0.5 * (high[d] - low[d]);
                }
            }
            _ => noise.fill(0.0),
        }
    }

    /// The action's block under this noise, and its log-probability (0 for a deterministic head). Choices are hard one-hots of
    /// `argmax(logits + noise)` over what is available.
    pub fn path(&self, out: &[f32], mask: &[bool], noise: &[f32], block: &mut [f32]) -> f32 {
        match self {
            Self::Categorical(n) => {
                let mut total = 0.0;
                block.fill(0.0);
                for_choices(n, |_, at, k| {
                    let (logits, mask) = (&out[at..at + k], &mask[at..at + k]);
                    for j in 0..k {
                        block[at + j] = logits[j] + noise[at + j];
                    }
                    let pick = argmax(&block[at..at + k], mask);
                    block[at..at + k].fill(0.0);
                    block[at + pick] = 1.0;
                    total += Normaliser::new(logits, mask).log_prob(logits[pick]);
                });
                total
            }
            Self::Deterministic { low, high } => {
                for d in 0..low.len() {
                    block[d] = (squash(out[d], low[d], high[d]) + noise[d]).clamp(low[d], high[d]);
                }
                0.0
            }
            Self::TanhGaussian { low, high } => {
                let raw = self.raw_path(out, noise, block);
                let log_prob = self.log_prob(out, &[], mask, raw);
                for d in 0..low.len() {
                    block[d] = squash(block[d], low[d], high[d]);
                }
                log_prob
            }
            // No learner climbs through an unbounded normal.
            Self::Gaussian { .. } => {
                self.mode(out, &[], mask, block);
                0.0
            }
        }
    }

    /// The tanh-normal's raw action `mu + sigma xi`.
    fn raw_path<'a>(&self, out: &[f32], noise: &[f32], raw: &'a mut [f32]) -> &'a [f32] {
        let dim = raw.len();
        for d in 0..dim {
            raw[d] = out[d] + out[dim + d].clamp(LOG_STD_MIN, LOG_STD_MAX).exp() * noise[d];
        }
        raw
    }

    /// Writes `d_out`, the derivative by the network's output, given that by the block and by the log-probability, the noise held fixed.
    ///
    /// Choices: the one-hot is differentiated as `softmax((logits + noise) / temperature)` (straight-through), and
    /// `log pi = onehot . log p` through both factors.
    #[allow(clippy::too_many_arguments, reason = "one row's inputs and outputs; a struct would be built per row")]
    pub fn path_backward(
        &self,
        out: &[f32],
        mask: &[bool],
        noise: &[f32],
        temperature: f32,
        d_block: &[f32],
        d_log_prob: f32,
        d_out: &mut [f32],
    ) {
        match self {
            Self::Categorical(n) => for_choices(n, |_, at, k| {
                let range = at..at + k;
                let row = Choice { logits: &out[range.clone()], mask: &mask[range.clone()], noise: &noise[range.clone()] };
                row.backward(temperature, &d_block[range.clone()], d_log_prob, &mut d_out[range]);
            }),
            Self::Deterministic { low, high } => {
                for d in 0..low.len() {
                    let t = out[d].tanh();
                    d_out[d] = d_block[d] * 0.5 * (high[d] - low[d]) * (1.0 - t * t);
                }
            }
            // u = mu + sigma xi, a = squash(u), log pi = -xi^2 / 2 - log sigma - log(1 - tanh^2 u) + const:
            // d log pi / d u = 2 tanh u with xi fixed, and -1 more along log sigma.
            Self::TanhGaussian { low, high } => {
                let dim = low.len();
                for d in 0..dim {
                    let log_std = out[dim + d].clamp(LOG_STD_MIN, LOG_STD_MAX);
                    let spread = log_std.exp() * noise[d];
                    let t = (out[d] + spread).tanh();
                    let d_raw = d_block[d] * 0.5 * (high[d] - low[d]) * (1.0 - t * t) + d_log_prob * 2.0 * t;
                    d_out[d] = d_raw;
                    let inside = (LOG_STD_MIN..=LOG_STD_MAX).contains(&out[dim + d]);
                    d_out[dim + d] = if inside { d_raw * spread - d_log_prob } else { 0.0 };
                }
            }
            Self::Gaussian { .. } => d_out.fill(0.0),
        }
    }
}

/// One choice of one row.
struct Choice<'a> {
    logits: &'a [f32],
    mask: &'a [bool],
    noise: &'a [f32],
}

impl Choice<'_> {
    fn backward(&self, temperature: f32, d_block: &[f32], d_log_prob: f32, d_out: &mut [f32]) {
        let Self { logits, mask, noise } = *self;
        // The noisy logits and then the soft sample, in the memory of the result.
        for (j, d) in d_out.iter_mut().enumerate() {
            *d = (logits[j] + noise[j]) / temperature;
        }
        let (hard, soft) = (argmax(d_out, mask), Normaliser::new(d_out, mask));
        let plain = Normaliser::new(logits, mask);
        // What multiplies the soft sample: the critic's slope, and the log-probabilities that it averages.
        let slope = |j: usize| d_block[j] + if d_log_prob == 0.0 { 0.0 } else { d_log_prob * plain.log_prob(logits[j]) };
        let mean: f32 = (0..d_out.len()).filter(|j| mask[*j]).map(|j| soft.log_prob(d_out[j]).exp() * slope(j)).sum();
        for j in 0..d_out.len() {
            d_out[j] = if mask[j] {
                let p = soft.log_prob(d_out[j]).exp();
                let direct = f32::from(u8::from(j == hard)) - plain.log_prob(logits[j]).exp();
                p * (slope(j) - mean) / temperature + d_log_prob * direct
            } else {
                0.0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use motley_core::Purpose;
    use proptest::prelude::*;

    use super::*;

    const MASK: [bool; 6] = [true, true, true, true, true, false];

    fn boxes() -> (Vec<f32>, Vec<f32>) {
        (vec![-2.0, 0.0, -1.0], vec![1.0, 3.0, 1.0])
    }

    fn heads() -> [Head; 2] {
        let ((low, high), (l, h)) = (boxes(), boxes());
        [Head::Deterministic { low, high }, Head::TanhGaussian { low: l, high: h }]
    }

    /// The soft sample of one choice and what is climbed along it, in f64: `sum_j y_j (c_j + w log p_j(z held)) + w onehot . log p(z)`.
    fn soft_value(sizes: &[usize], held: &[f32], z: &[f64], noise: &[f32], c: &[f32], w: f64, temperature: f64) -> f64 {
        let (mut at, mut total) = (0, 0.0);
        for n in sizes {
            let open: Vec<usize> = (at..at + n).filter(|j| MASK[*j]).collect();
            let norm = |f: &dyn Fn(usize) -> f64| open.iter().map(|j| f(*j).exp()).sum::<f64>().ln();
            let noisy = |j: usize| (z[j] + f64::from(noise[j])) / temperature;
            let (soft, fixed, plain) = (norm(&noisy), norm(&|j| f64::from(held[j])), norm(&|j| z[j]));
            let hard = *open.iter().max_by(|a, b| (held[**a] + noise[**a]).total_cmp(&(held[**b] + noise[**b]))).unwrap();
            for &j in &open {
                total += (noisy(j) - soft).exp() * (f64::from(c[j]) + w * (f64::from(held[j]) - fixed));
            }
            total += w * (z[hard] - plain);
            at += n;
        }
        total
    }

    proptest! {
        #[test]
        fn smooth_paths_match_differences(
            out in proptest::collection::vec(-1.5f32..1.5, 6),
            noise in proptest::collection::vec(-1.5f32..1.5, 3),
            c in proptest::collection::vec(-2.0f32..2.0, 3),
            w in -1.0f32..1.0,
        ) {
            for head in heads() {
                let noise = if matches!(head, Head::Deterministic { .. }) { vec![0.0; 3] } else { noise.clone() };
                let out = &out[..head.outputs()];
                let value = |out: &[f32]| {
                    let mut block = [0.0; 3];
                    let log_prob = head.path(out, &[], &noise, &mut block);
                    block.iter().zip(&c).map(|(b, c)| f64::from(b * c)).sum::<f64>() + f64::from(w) * f64::from(log_prob)
                };
                let mut d_out = vec![f32::NAN; out.len()];
                head.path_backward(out, &[], &noise, 1.0, &c, w, &mut d_out);
                for j in 0..out.len() {
                    let (mut up, mut down) = (out.to_vec(), out.to_vec());
                    up[j] += 5e-3;
                    down[j] -= 5e-3;
                    let numeric = (value(&up) - value(&down)) / f64::from(up[j] - down[j]);
                    prop_assert!((numeric - f64::from(d_out[j])).abs() < 1e-2 * (1.0 + numeric.abs()), "{head:?} {j}: {numeric} {}", d_out[j]);
                }
            }
        }

        #[test]
        fn choices_are_differentiated_straight_through(
            out in proptest::collection::vec(-1.5f32..1.5, 6),
            seed in 0u64..1000,
            c in proptest::collection::vec(-2.0f32..2.0, 6),
            w in -1.0f32..1.0,
            temperature in 0.5f32..2.0,
        ) {
            for sizes in [vec![6], vec![2, 4]] {
                let head = Head::Categorical(sizes.clone());
                let (mut noise, mut d_out) = ([0.0; 6], [f32::NAN; 6]);
                head.draw_noise(Noise::Policy, &mut Stream::new(seed, Purpose::Check, 0, 0), &mut noise);
                head.path_backward(&out, &MASK, &noise, temperature, &c, w, &mut d_out);
                prop_assert_eq!(d_out[5], 0.0);
                let z: Vec<f64> = out.iter().copied().map(f64::from).collect();
                for j in 0..5 {
                    let at = |h: f64| {
                        let mut z = z.clone();
                        z[j] += h;
                        soft_value(&sizes, &out, &z, &noise, &c, f64::from(w), f64::from(temperature))
                    };
                    let numeric = (at(1e-4) - at(-1e-4)) / 2e-4;
                    prop_assert!((numeric - f64::from(d_out[j])).abs() < 1e-4 * (1.0 + numeric.abs()), "{j}: {numeric} {}", d_out[j]);
                }
            }
        }
    }

    /// Gumbel-max draws from the softmax; a block is a stored action's encoding; without noise it is the mode.
    #[test]
    fn blocks_are_the_distributions_actions() {
        let head = Head::Categorical(vec![3]);
        let (out, mask) = ([1.0f32.ln(), 0.0, 3.0f32.ln()], [true, false, true]);
        let mut rng = Stream::new(1, Purpose::Check, 0, 0);
        let (mut noise, mut block, mut hits) = ([0.0; 3], [0.0; 3], 0);
        for _ in 0..40_000 {
            head.draw_noise(Noise::Policy, &mut rng, &mut noise);
            let log_prob = head.path(&out, &mask, &noise, &mut block);
            let pick = block.iter().position(|b| *b == 1.0).unwrap();
            assert!((log_prob - head.log_prob(&out, &[], &mask, &[pick as f32])).abs() < 1e-6 && pick != 1);
            hits += usize::from(pick == 2);
        }
        assert!((hits as f64 / 40_000.0 - 0.75).abs() < 0.01, "{hits}");
        let (mut raw, mut encoded) = ([0.0; 3], [0.0; 3]);
        for head in heads() {
            let out = [0.3, -0.2, 0.9, 0.1, 0.2, 0.3];
            head.path(&out[..head.outputs()], &[], &[0.0; 3], &mut block);
            head.mode(&out[..head.outputs()], &[], &[], &mut raw);
            head.encode(&raw, &mut encoded);
            assert_eq!(block, encoded);
        }
        let mut five = [9.0; 5];
        Head::Categorical(vec![3, 2]).encode(&[2.0, 0.0], &mut five);
        assert_eq!(five, [0.0, 0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn smoothing_is_cut_and_stays_in_the_box() {
        let head = &heads()[0];
        let (mut rng, mut noise, mut block, mut cut) = (Stream::new(2, Purpose::Check, 0, 0), [0.0; 3], [0.0; 3], 0);
        for _ in 0..2000 {
            head.draw_noise(Noise::Smoothing { std: 0.2, clip: 0.3 }, &mut rng, &mut noise);
            assert!(noise.iter().zip([1.5, 1.5, 1.0]).all(|(x, half)| x.abs() <= 0.3 * half + 1e-6));
            cut += usize::from(noise[2].abs() > 0.2999);
            head.path(&[3.0, -3.0, 0.0], &[], &noise, &mut block);
            assert!(block[0] <= 1.0 && block[1] >= 0.0);
        }
        // P(|N| > 1.5) = 0.134
        assert!((200..340).contains(&cut), "{cut}");
    }
}

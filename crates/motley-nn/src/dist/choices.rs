//! Discrete actions one by one: an agent's joint choices numbered, their probabilities, and expectations over all of them.
//!
//! A joint choice of a multi-discrete action is numbered with its first part most significant; `Discrete(n)` is numbered as it is.

use super::{Head, Normaliser, for_choices};

impl Head {
    /// How many joint choices there are: the product of the parts, 0 for boxes.
    pub fn joint_choices(&self) -> usize {
        match self {
            Self::Categorical(sizes) => sizes.iter().product(),
            _ => 0,
        }
    }

    /// Writes the probability of every joint choice into `[joint choices]`; exactly 0 for unavailable ones. Boxes have none.
    pub fn probabilities(&self, out: &[f32], mask: &[bool], into: &mut [f32]) {
        let Self::Categorical(sizes) = self else { return };
        into.fill(1.0);
        let mut stride = into.len();
        for_choices(sizes, |_, at, k| {
            let (logits, mask) = (&out[at..at + k], &mask[at..at + k]);
            let norm = Normaliser::new(logits, mask);
            stride /= k;
            for (a, p) in into.iter_mut().enumerate() {
                let j = a / stride % k;
                *p *= if mask[j] { norm.log_prob(logits[j]).exp() } else { 0.0 };
            }
        });
    }

    /// `E = sum_a pi(a) values_a`; adds `scale dE / d out` to `d_out`. Values of unavailable actions are not read.
    ///
    /// For the part c and its logit j: `dE / d z_cj = sum over a with a_c = j of pi(a) values_a - pi_c(j) E`.
    pub fn expectation(&self, out: &[f32], mask: &[bool], values: &[f32], scale: f32, d_out: &mut [f32]) -> f32 {
        let Self::Categorical(sizes) = self else { return 0.0 };
        let mut probabilities = vec![0.0; values.len()];
        self.probabilities(out, mask, &mut probabilities);
        let likely = || probabilities.iter().zip(values).enumerate().filter(|(_, (p, _))| **p > 0.0);
        let expected: f32 = likely().map(|(_, (p, v))| p * v).sum();
        let mut stride = values.len();
        for_choices(sizes, |_, at, k| {
            stride /= k;
            // pi(a) (values_a - E), summed over the joint choices that hold j.
            likely().for_each(|(a, (p, v))| d_out[at + a / stride % k] += scale * p * (v - expected));
        });
        expected
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Probabilities are those of the head, sum to 1, and the expectation's derivative is that of differences.
        #[test]
        fn every_joint_choice_is_counted(
            logits in prop::collection::vec(-2.0f32..2.0, 5),
            values in prop::collection::vec(-3.0f32..3.0, 6),
            closed in 0usize..5,
        ) {
            for sizes in [vec![2, 3], vec![5]] {
                let head = Head::Categorical(sizes.clone());
                let mut mask = [true; 5];
                mask[closed] = false;
                let count = head.joint_choices();
                let mut p = vec![0.0; count];
                head.probabilities(&logits, &mask, &mut p);
                prop_assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                for (a, p) in p.iter().enumerate() {
                    let raw: Vec<f32> = if sizes.len() == 1 { vec![a as f32] } else { vec![(a / 3) as f32, (a % 3) as f32] };
                    prop_assert!((p - head.log_prob(&logits, &[], &mask, &raw).exp()).abs() < 1e-6);
                }
                // What an unavailable action is worth is never read.
                let values: Vec<f32> = values[..count].iter().zip(&p).map(|(v, p)| if *p > 0.0 { *v } else { f32::NAN }).collect();
                let at = |z: &[f32]| head.expectation(z, &mask, &values, 0.0, &mut [0.0; 5]);
                let mut d = [0.0; 5];
                head.expectation(&logits, &mask, &values, 2.0, &mut d);
                for j in 0..5 {
                    let moved = |h: f32| { let mut z = logits.clone(); z[j] += h; at(&z) };
                    let numeric = 2.0 * (moved(1e-2) - moved(-1e-2)) / 2e-2;
                    prop_assert!((numeric - d[j]).abs() < 5e-3, "{sizes:?} logit {j}: {numeric} {}", d[j]);
                }
            }
        }
    }
}

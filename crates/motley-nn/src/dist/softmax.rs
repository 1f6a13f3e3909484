//! The masked softmax of one categorical.

/// The normaliser of a masked softmax: `log p_j = z_j - max - ln sum exp(z - max)` over available entries.
pub(crate) struct Normaliser {
    max: f32,
    ln_sum: f32,
}

impl Normaliser {
    pub fn new(logits: &[f32], mask: &[bool]) -> Self {
        let available = || logits.iter().zip(mask).filter(|(_, m)| **m).map(|(z, _)| *z);
        let max = available().fold(f32::NEG_INFINITY, f32::max);
        Self { max, ln_sum: available().map(|z| (z - max).exp()).sum::<f32>().ln() }
    }

    pub fn log_prob(&self, logit: f32) -> f32 {
        logit - self.max - self.ln_sum
    }

    /// `-sum p log p`, with `0 log 0 = 0`.
    pub fn entropy(&self, logits: &[f32], mask: &[bool]) -> f32 {
        let terms = logits.iter().zip(mask).filter(|(_, m)| **m).map(|(z, _)| {
            let log_p = self.log_prob(*z);
            let p = log_p.exp();
            if p > 0.0 { -p * log_p } else { 0.0 }
        });
        terms.sum()
    }

    /// Writes every probability (0 where unavailable) and gives the [`Normaliser::entropy`].
    pub fn probabilities(&self, logits: &[f32], mask: &[bool], into: &mut [f32]) -> f32 {
        let mut entropy = 0.0;
        for j in 0..logits.len() {
            let log_p = self.log_prob(logits[j]);
            into[j] = if mask[j] { log_p.exp() } else { 0.0 };
            entropy += if into[j] > 0.0 { -into[j] * log_p } else { 0.0 };
        }
        entropy
    }

    /// Inverse of the cumulative distribution at `u`; only available entries can be hit, even where logits are not finite.
    pub fn draw(&self, logits: &[f32], mask: &[bool], u: f32) -> usize {
        let mut last = mask.iter().position(|m| *m).unwrap_or(0);
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

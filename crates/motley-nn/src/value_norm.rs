//! Running normalisation of value targets, with or without preserving the critic's outputs.

use motley_run::{CheckpointError, StateReader, StateWriter};

const BETA: f64 = 0.99999;
const MIN_DEBIAS: f64 = 1e-5;
const MIN_VARIANCE: f64 = 1e-2;

/// Exponential mean and mean square of value targets, debiased (HARL's `ValueNorm`), in f64:
/// `mu <- beta mu + (1 - beta) mean(x)`, the same for squares and for the constant 1; `m = mu / d`, `v = max(q / d - m^2, 0.01)`.
///
/// Before the first update it is the identity; `harl_start` makes it HARL's factor of 0.1 there.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueNorm {
    mean: f64,
    square: f64,
    debias: f64,
    harl_start: bool,
}

impl ValueNorm {
    /// No data yet.
    pub fn new(harl_start: bool) -> Self {
        Self { mean: 0.0, square: 0.0, debias: 0.0, harl_start }
    }

    /// Takes a batch in. A batch that is empty or not finite is refused and leaves the statistics as they were; returns
    /// whether it was taken.
    pub fn update(&mut self, targets: &[f32]) -> bool {
        let n = targets.len() as f64;
        let mean = targets.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let square = targets.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / n;
        if !(mean.is_finite() && square.is_finite()) {
            return false;
        }
        self.mean = BETA * self.mean + (1.0 - BETA) * mean;
        self.square = BETA * self.square + (1.0 - BETA) * square;
        self.debias = BETA * self.debias + (1.0 - BETA);
        true
    }

    /// Mean and deviation in force.
    pub fn moments(&self) -> (f64, f64) {
        if self.debias == 0.0 {
            return if self.harl_start { (0.0, MIN_VARIANCE.sqrt()) } else { (0.0, 1.0) };
        }
        let d = self.debias.max(MIN_DEBIAS);
        let mean = self.mean / d;
        (mean, (self.square / d - mean * mean).max(MIN_VARIANCE).sqrt())
    }

    /// `(x - m) / sqrt(v)`.
    pub fn normalize(&self, x: f32) -> f32 {
        let (mean, std) = self.moments();
        ((f64::from(x) - mean) / std) as f32
    }

    /// `y sqrt(v) + m`.
    pub fn denormalize(&self, y: f32) -> f32 {
        let (mean, std) = self.moments();
        (f64::from(y) * std + mean) as f32
    }

    /// Writes the statistics.
    pub fn save(&self, w: &mut StateWriter) {
        w.put_f64("value_norm", &[self.mean, self.square, self.debias]);
    }

    /// Reads the statistics.
    ///
    /// # Errors
    /// A missing or misshapen entry.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        let mut all = [0.0; 3];
        r.f64s_into("value_norm", &mut all)?;
        [self.mean, self.square, self.debias] = all;
        Ok(())
    }
}

/// PopArt (van Hasselt et al. 2016): after the statistics moved from `(m, s)` to `(m', s')`, rescales the value head in place so
/// that denormalised outputs stay: `w <- w s / s'`, `b <- (s b + m - m') / s'`.
pub fn pop_art(weight: &mut [f32], bias: &mut [f32], old: (f64, f64), new: (f64, f64)) {
    let ratio = old.1 / new.1;
    weight.iter_mut().for_each(|w| *w = (f64::from(*w) * ratio) as f32);
    bias.iter_mut().for_each(|b| *b = ((old.1 * f64::from(*b) + old.0 - new.0) / new.1) as f32);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statistics_are_debiased() {
        let mut norm = ValueNorm::new(false);
        assert_eq!(norm.denormalize(3.0), 3.0);
        assert_eq!(ValueNorm::new(true).denormalize(3.0), 0.3);
        norm.update(&[1.0, 3.0]);
        let (mean, std) = norm.moments();
        assert!((mean - 2.0).abs() < 1e-9 && (std - 1.0).abs() < 1e-9);
        assert!((norm.normalize(norm.denormalize(0.7)) - 0.7).abs() < 1e-6);
        norm.update(&[2.0, 2.0]);
        let (_, std) = norm.moments();
        assert!((std - 0.5f64.sqrt()).abs() < 1e-5);
    }

    /// N5.
    #[test]
    fn bad_batches_are_refused() {
        let mut norm = ValueNorm::new(false);
        norm.update(&[1.0, 5.0]);
        let before = norm.clone();
        assert!(!norm.update(&[1.0, f32::NAN]) && !norm.update(&[f32::INFINITY]) && !norm.update(&[]));
        assert_eq!(norm, before);
        assert!(norm.update(&[1e30]), "huge is finite");
        assert!(norm.normalize(1e30).is_finite());
    }

    proptest! {
        /// T21: outputs are preserved across an update, for every input.
        #[test]
        fn pop_art_preserves_outputs(
            x in proptest::collection::vec(-2.0f32..2.0, 5),
            w in proptest::collection::vec(-1.0f32..1.0, 5),
            b in -1.0f32..1.0,
            first in proptest::collection::vec(-20.0f32..20.0, 8),
            second in proptest::collection::vec(-90.0f32..90.0, 8),
        ) {
            let value = |w: &[f32], b: f32| x.iter().zip(w).map(|(a, c)| a * c).sum::<f32>() + b;
            let mut norm = ValueNorm::new(false);
            norm.update(&first);
            let (mut w, mut bias) = (w, [b]);
            let before = norm.denormalize(value(&w, bias[0]));
            let old = norm.moments();
            norm.update(&second);
            pop_art(&mut w, &mut bias, old, norm.moments());
            let after = norm.denormalize(value(&w, bias[0]));
            prop_assert!((before - after).abs() <= 1e-3 * (1.0 + before.abs()), "{before} {after}");
        }
    }
}

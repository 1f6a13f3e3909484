//! Statistics in `f64`: masked moments, normalisation of advantages, a running normaliser of rewards.

use thiserror::Error;

/// Why a batch or a saved state was refused; the statistics are as they were.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StatsError {
    /// A batch with an entry that is not finite, or whose moments overflow.
    #[error("entry {index} of {len} is {value}: the batch was not used, statistics are unchanged")]
    NotFinite {
        /// Position of the first such entry.
        index: usize,
        /// Size of the batch.
        len: usize,
        /// The entry.
        value: f64,
    },
    /// Saved numbers that no statistics can have.
    #[error("saved statistics {0:?} are damaged: expected finite numbers, counts and variances not negative")]
    Damaged([f64; 3]),
}

/// Mean and population standard deviation of what a mask leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MeanStd {
    /// Mean; 0 of nothing.
    pub mean: f64,
    /// Population standard deviation (divided by n); 0 of nothing.
    pub std: f64,
    /// How many entries counted.
    pub weight: f64,
}

fn kept<'a, T: Copy + Into<f64>>(xs: &'a [T], mask: Option<&'a [bool]>) -> impl Iterator<Item = f64> + Clone + 'a {
    xs.iter().enumerate().filter(move |(i, _)| mask.is_none_or(|m| m.get(*i) == Some(&true))).map(|(_, x)| (*x).into())
}

fn moments(xs: impl Iterator<Item = f64> + Clone) -> MeanStd {
    let weight = xs.clone().count() as f64;
    if weight == 0.0 {
        return MeanStd::default();
    }
    let mean = xs.clone().sum::<f64>() / weight;
    let var = xs.map(|x| (x - mean).powi(2)).sum::<f64>() / weight;
    MeanStd { mean, std: var.sqrt(), weight }
}

/// Moments over the entries whose mask is true (all without a mask; an entry beyond the mask's end does not count).
pub fn masked_moments<T: Copy + Into<f64>>(xs: &[T], mask: Option<&[bool]>) -> MeanStd {
    moments(kept(xs, mask))
}

/// Normalises in place to `(x - mean) / (std + eps)`: statistics over the masked-in entries, applied to all of them.
///
/// Where those entries are all alike, or there are none, every entry becomes exactly 0. Returns the moments used. The
/// usual `eps` is `1e-5`.
pub fn normalize_masked(xs: &mut [f32], mask: Option<&[bool]>, eps: f64) -> MeanStd {
    let moments = masked_moments(xs, mask);
    if moments.std == 0.0 {
        xs.fill(0.0);
    } else {
        xs.iter_mut().for_each(|x| *x = ((f64::from(*x) - moments.mean) / (moments.std + eps)) as f32);
    }
    moments
}

fn check_finite<T: Copy + Into<f64>>(xs: &[T], mask: Option<&[bool]>) -> Result<(), StatsError> {
    let counts = |i: usize| mask.is_none_or(|m| m.get(i) == Some(&true));
    let bad = xs.iter().enumerate().find(|(i, x)| counts(*i) && !(**x).into().is_finite());
    bad.map_or(Ok(()), |(index, x)| Err(StatsError::NotFinite { index, len: xs.len(), value: (*x).into() }))
}

/// For finite entries whose squares overflow: the largest is named.
fn overflow<T: Copy + Into<f64>>(xs: &[T], mask: Option<&[bool]>) -> StatsError {
    let largest = xs.iter().enumerate().filter(|(i, _)| mask.is_none_or(|m| m.get(*i) == Some(&true)));
    let largest = largest.map(|(i, x)| (i, (*x).into())).max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    let (index, value) = largest.unwrap_or_default();
    StatsError::NotFinite { index, len: xs.len(), value }
}

/// How [`RunningMeanStd`] scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// `(x - mean) / std`. Subtracting the mean of rewards changes a task whose episodes differ in length.
    Standardise,
    /// `x / sqrt(mean^2 + var)`, the root mean square: zero stays zero and signs stay, so the best policy stays the best.
    ScaleOnly,
}

/// Running mean and variance over all batches so far (Chan, Golub and LeVeque 1983).
///
/// As in EPyMARL it starts at mean 0, variance 1 with the weight of 1e-4 entries, and takes each batch's unbiased variance
/// (0 for a batch of one).
#[derive(Debug, Clone, PartialEq)]
pub struct RunningMeanStd {
    count: f64,
    mean: f64,
    var: f64,
}

impl Default for RunningMeanStd {
    fn default() -> Self {
        Self { count: 1e-4, mean: 0.0, var: 1.0 }
    }
}

impl RunningMeanStd {
    /// Mean so far.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Variance so far.
    pub fn var(&self) -> f64 {
        self.var
    }

    /// Takes a batch in; an empty one changes nothing.
    ///
    /// # Errors
    /// [`StatsError::NotFinite`], with the statistics bit for bit as they were.
    pub fn update<T: Copy + Into<f64>>(&mut self, xs: &[T], mask: Option<&[bool]>) -> Result<(), StatsError> {
        check_finite(xs, mask)?;
        let MeanStd { mean, std, weight } = masked_moments(xs, mask);
        if weight == 0.0 {
            return Ok(());
        }
        // The sum of squares over n - 1 entries weighs n: EPyMARL's form, n / (n - 1) larger than the batch's own.
        let squares = std * std * weight * if weight > 1.0 { weight / (weight - 1.0) } else { 0.0 };
        let (delta, count) = (mean - self.mean, self.count + weight);
        let next = Self {
            count,
            mean: self.mean + delta * weight / count,
            var: (self.var * self.count + squares + delta * delta * self.count * weight / count) / count,
        };
        if !(next.mean.is_finite() && next.var.is_finite()) {
            return Err(overflow(xs, mask));
        }
        *self = next;
        Ok(())
    }

    /// Scales one number.
    pub fn scale(&self, x: f64, scaling: Scaling) -> f64 {
        match scaling {
            Scaling::Standardise => (x - self.mean) / self.var.max(f64::MIN_POSITIVE).sqrt(),
            Scaling::ScaleOnly => x / (self.mean * self.mean + self.var).max(f64::MIN_POSITIVE).sqrt(),
        }
    }

    /// `[count, mean, var]`, to be saved.
    pub fn save(&self) -> [f64; 3] {
        [self.count, self.mean, self.var]
    }

    /// Goes on from saved numbers.
    ///
    /// # Errors
    /// [`StatsError::Damaged`].
    pub fn load(saved: [f64; 3]) -> Result<Self, StatsError> {
        let [count, mean, var] = saved;
        let fine = saved.iter().all(|x| x.is_finite()) && count >= 0.0 && var >= 0.0;
        if fine { Ok(Self { count, mean, var }) } else { Err(StatsError::Damaged(saved)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
    }

    #[test]
    fn moments_by_hand_and_of_nothing() {
        let xs = [2.0f32, 99.0, 4.0, 4.0, 6.0];
        let mask = [true, false, true, true, true];
        let m = masked_moments(&xs, Some(&mask));
        assert_eq!((m.mean, m.std, m.weight), (4.0, 2.0f64.sqrt(), 4.0));
        let nan = [f32::NAN; 3];
        assert_eq!(masked_moments(&nan, Some(&[false; 3])), MeanStd::default());
        assert_eq!(masked_moments::<f32>(&[], None), MeanStd::default());
        assert_eq!(masked_moments(&xs, Some(&mask[..1])).weight, 1.0, "beyond the mask's end nothing counts");
    }

    #[test]
    fn normalising_uses_the_kept_entries_and_changes_all() {
        let mut xs = [1.0f32, 3.0, 101.0];
        let m = normalize_masked(&mut xs, Some(&[true, true, false]), 1e-5);
        assert_eq!((m.mean, m.std), (2.0, 1.0));
        for (x, y) in xs.iter().zip([-1.0, 1.0, 99.0]) {
            assert!((f64::from(*x) - y / (1.0 + 1e-5)).abs() < 1e-5);
        }
        for value in [0.1f32, -7.3, 1e30, 1e-30] {
            let mut alike = [value; 37];
            normalize_masked(&mut alike, None, 1e-5);
            assert_eq!(alike, [0.0; 37], "no variance gives exactly 0");
        }
        let mut dead = [1.0f32, 2.0];
        assert_eq!((normalize_masked(&mut dead, Some(&[false; 2]), 1e-5).weight, dead), (0.0, [0.0; 2]));
    }

    #[test]
    fn bad_batches_leave_the_statistics_alone() {
        let mut running = RunningMeanStd::default();
        running.update(&[1.0f32, 2.0], None).unwrap();
        let before = running.save().map(f64::to_bits);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
            let text = running.update(&[0.0, bad, 3.0], None).unwrap_err().to_string();
            assert!(text.contains("entry 1 of 3"), "{text}");
            assert_eq!(running.save().map(f64::to_bits), before);
        }
        running.update(&[0.0, f64::NAN], Some(&[false, false])).unwrap();
        running.update::<f64>(&[], None).unwrap();
        assert_eq!(running.save().map(f64::to_bits), before);
        running.update(&[5.0, f64::NAN], Some(&[true, false])).unwrap();
        assert_ne!(running.save().map(f64::to_bits), before);
    }

    /// By hand from EPyMARL's formula: count 1e-4 of (0, 1), then the batch (1, 3) of unbiased variance 2.
    #[test]
    fn the_first_batch_by_hand() {
        let mut s = RunningMeanStd::default();
        s.update(&[1.0f32, 3.0], None).unwrap();
        assert!(close(s.mean(), 2.0 * 2.0 / 2.0001));
        assert!(close(s.var(), (1e-4 + 2.0 * 2.0 + 4.0 * 1e-4 * 2.0 / 2.0001) / 2.0001));
        assert!(close(s.scale(5.0, Scaling::Standardise), (5.0 - s.mean()) / s.var().sqrt()));
        let mut constant = RunningMeanStd::default();
        constant.update(&[-3.0f32; 1000], None).unwrap();
        assert!((constant.scale(-3.0, Scaling::ScaleOnly) + 1.0).abs() < 1e-4);
        assert_eq!(constant.scale(0.0, Scaling::ScaleOnly), 0.0);
    }

    #[test]
    fn saved_numbers_go_on_and_damage_is_refused() {
        let mut running = RunningMeanStd::default();
        running.update(&[1.0, -4.0, 2.5], None).unwrap();
        assert_eq!(RunningMeanStd::load(running.save()).unwrap(), running);
        for bad in [[f64::NAN, 0.0, 1.0], [-1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [1.0, f64::INFINITY, 1.0]] {
            assert!(RunningMeanStd::load(bad).is_err());
        }
    }

    proptest! {
        /// Over any split into batches, the mean is that of everything seen at once with the prior's weight.
        #[test]
        fn splits_agree_with_the_whole(xs in prop::collection::vec(-100.0..100.0f64, 2..60), cut in 1usize..59) {
            let cut = cut.min(xs.len() - 1);
            let mut s = RunningMeanStd::default();
            s.update(&xs[..cut], None).unwrap();
            s.update(&xs[cut..], None).unwrap();
            let n = xs.len() as f64 + 1e-4;
            let mean = xs.iter().sum::<f64>() / n;
            prop_assert!(close(s.mean(), mean));
            // Total sum of squares around the common mean, plus what each batch's n / (n - 1) adds.
            let inner = |b: &[f64]| {
                let m = b.iter().sum::<f64>() / b.len() as f64;
                let ss: f64 = b.iter().map(|x| (x - m).powi(2)).sum();
                if b.len() > 1 { ss / (b.len() as f64 - 1.0) } else { -ss }
            };
            let total: f64 = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() + 1e-4 * (1.0 + mean * mean);
            prop_assert!(close(s.var(), (total + inner(&xs[..cut]) + inner(&xs[cut..])) / n));
        }
    }
}

//! Performance profiles: the share of runs above each threshold (Agarwal et al. 2021, section 4.3; Dolan and More 2002).

use crate::aggregate::{Scores, average};
use crate::bootstrap::{Bootstrap, Estimate};

/// Share of runs that score strictly above each of `thresholds`, averaged over tasks.
pub fn profile(scores: &Scores, thresholds: &[f64]) -> Vec<f64> {
    let above = |runs: &Vec<f64>, t: f64| runs.iter().filter(|x| **x > t).count() as f64 / runs.len() as f64;
    thresholds.iter().map(|t| average(&scores.tasks().iter().map(|runs| above(runs, *t)).collect::<Vec<_>>())).collect()
}

/// [`profile`] with a pointwise interval at each threshold.
pub fn with_intervals(scores: &Scores, thresholds: &[f64], bootstrap: &Bootstrap) -> Vec<Estimate> {
    let ends = bootstrap.intervals(&scores.counts(), |picks| profile(&scores.at(picks), thresholds));
    profile(scores, thresholds).into_iter().zip(ends).map(|(value, (low, high))| Estimate { value, low, high }).collect()
}

/// `count` thresholds (two at least) from `low` to `high`, both included.
pub fn thresholds(low: f64, high: f64, count: usize) -> Vec<f64> {
    let last = count.max(2) - 1;
    (0..=last).map(|k| low + (high - low) * k as f64 / last as f64).collect()
}

#[cfg(test)]
mod tests {
    use motley_core::{Purpose, Stream};

    use super::*;

    #[test]
    fn shares_are_counted_strictly() {
        let s = Scores::new(vec![vec![0.0, 0.5], vec![0.5, 1.0]]).unwrap();
        assert_eq!(profile(&s, &thresholds(-0.5, 1.0, 4)), [1.0, 0.75, 0.25, 0.0]);
        let b = Bootstrap::new(500, 0.95, Stream::new(0, Purpose::Bootstrap, 0, 0)).unwrap();
        let got = with_intervals(&s, &[-1.0, 0.25, 2.0], &b);
        assert_eq!(
            (got[0], got[2]),
            (Estimate { value: 1.0, low: 1.0, high: 1.0 }, Estimate { value: 0.0, low: 0.0, high: 0.0 })
        );
        // The second task is always above 0.25; of the first's two runs none, one or both are drawn above.
        assert_eq!(got[1], Estimate { value: 0.75, low: 0.5, high: 1.0 });
    }
}

//! Percentile intervals from the stratified bootstrap: runs are drawn again with replacement within each task
//! (Agarwal et al. 2021, section 4.1).

use motley_core::Stream;

use crate::StatsError;
use crate::aggregate::{Scores, improvement};

/// A statistic with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Of the scores as they are.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// How intervals are made. Resample r draws from a fork of the stream of its own, so that the result depends on nothing but
/// the scores and the stream.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    resamples: usize,
    level: f64,
    stream: Stream,
}

/// The `q`-quantile of rising values, interpolated linearly between neighbours (Hyndman and Fan's seventh kind, numpy's
/// default); NaN of nothing.
pub fn quantile(rising: &[f64], q: f64) -> f64 {
    let Some(last) = rising.len().checked_sub(1) else { return f64::NAN };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let below = (at.floor() as usize).min(last);
    let above = (below + 1).min(last);
    rising[below] + (rising[above] - rising[below]) * (at - below as f64)
}

impl Bootstrap {
    /// `resamples` draws (2,000 or more for what is published), intervals that cover `level` (0.95 as a rule).
    ///
    /// # Errors
    /// [`StatsError::Parameter`] for no resample, or a level outside (0, 1).
    pub fn new(resamples: usize, level: f64, stream: Stream) -> Result<Self, StatsError> {
        if resamples == 0 {
            return Err(StatsError::Parameter { what: "resamples", found: "0".into(), expected: "1 or more" });
        }
        if !(level > 0.0 && level < 1.0) {
            return Err(StatsError::Parameter { what: "level", found: level.to_string(), expected: "between 0 and 1" });
        }
        Ok(Self { resamples, level, stream })
    }

    /// A statistic of one table.
    pub fn estimate(&self, scores: &Scores, statistic: impl Fn(&Scores) -> f64) -> Estimate {
        let (low, high) = self.intervals(&scores.counts(), |picks| vec![statistic(&scores.at(picks))])[0];
        Estimate { value: statistic(scores), low, high }
    }

    /// The probability that `x` improves on `y`, both tables drawn again independently.
    ///
    /// # Errors
    /// [`StatsError::Tasks`] where the numbers of tasks differ.
    pub fn improvement(&self, x: &Scores, y: &Scores) -> Result<Estimate, StatsError> {
        let value = crate::aggregate::probability_of_improvement(x, y)?;
        let tasks = x.tasks().len();
        let counts = [x.counts(), y.counts()].concat();
        let of = |picks: &[Vec<usize>]| vec![improvement(&x.at(&picks[..tasks]), &y.at(&picks[tasks..]))];
        let (low, high) = self.intervals(&counts, of)[0];
        Ok(Estimate { value, low, high })
    }

    /// Intervals of several statistics at once. `runs` holds the runs of each stratum; the statistics are given the picked runs,
    /// `[strata][runs of the stratum]`, and return as many numbers each time, at least one.
    pub fn intervals(&self, runs: &[usize], statistics: impl Fn(&[Vec<usize>]) -> Vec<f64>) -> Vec<(f64, f64)> {
        let mut drawn: Vec<Vec<f64>> = Vec::new();
        for r in 0..self.resamples {
            let mut stream = self.stream.fork(r as u64);
            let mut pick = |n: &usize| (0..*n).map(|_| stream.below(*n as u32) as usize).collect::<Vec<_>>();
            let picks: Vec<Vec<usize>> = runs.iter().map(&mut pick).collect();
            let values = statistics(&picks);
            drawn.resize(values.len(), Vec::new());
            drawn.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
        }
        let tail = (1.0 - self.level) / 2.0;
        let ends = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            (quantile(&all, tail), quantile(&all, 1.0 - tail))
        };
        drawn.into_iter().map(ends).collect()
    }
}

#[cfg(test)]
mod tests {
    use motley_core::Purpose;

    use super::*;
    use crate::aggregate::mean;

    fn bootstrap(resamples: usize, seed: u64) -> Bootstrap {
        Bootstrap::new(resamples, 0.95, Stream::new(seed, Purpose::Bootstrap, 0, 0)).unwrap()
    }

    #[test]
    fn quantiles_interpolate() {
        let xs = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([0.0, 0.5, 1.0, 0.25].map(|q| quantile(&xs, q)), [1.0, 3.0, 8.0, 1.75]);
        assert_eq!(quantile(&[5.0], 0.3), 5.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    /// Of two runs 0 and 1 the mean of a resample is 0, 0.5, 1 with probability 1/4, 1/2, 1/4.
    #[test]
    fn resamples_follow_the_closed_form() {
        let drawn = std::cell::RefCell::new([0usize; 3]);
        let two = Scores::new(vec![vec![0.0, 1.0]]).unwrap();
        bootstrap(20_000, 1).estimate(&two, |s| {
            let m = mean(s);
            drawn.borrow_mut()[(2.0 * m) as usize] += 1;
            m
        });
        let [none, one, both] = drawn.into_inner();
        assert!(none.abs_diff(5000) < 200 && one.abs_diff(10_000) < 250 && both.abs_diff(5000) < 200, "{none} {one} {both}");
    }

    /// The standard deviation of the mean of n normal scores is sigma / sqrt(n): the interval reaches 1.96 of them to each side.
    #[test]
    fn the_interval_of_a_mean_is_the_normal_one() {
        let mut s = Stream::new(3, Purpose::Check, 0, 0);
        let xs: Vec<f64> = (0..400).map(|_| s.normal()).collect();
        let m = xs.iter().sum::<f64>() / 400.0;
        let sd = (xs.iter().map(|x| (x - m).powi(2)).sum::<f64>() / 400.0).sqrt() / 20.0;
        let e = bootstrap(10_000, 0).estimate(&Scores::new(vec![xs]).unwrap(), mean);
        assert!((e.low - (m - 1.96 * sd)).abs() < 0.06 * sd && (e.high - (m + 1.96 * sd)).abs() < 0.06 * sd, "{e:?} {m} {sd}");
    }

    /// Strata are kept: with one run a task every resample is the table itself, however unlike the tasks.
    #[test]
    fn tasks_are_never_mixed() {
        let s = Scores::new(vec![vec![0.0], vec![100.0]]).unwrap();
        assert_eq!(bootstrap(50, 0).estimate(&s, mean), Estimate { value: 50.0, low: 50.0, high: 50.0 });
    }

    #[test]
    fn the_stream_decides_and_nothing_else() {
        let s = Scores::new(vec![vec![0.1, 0.5, 0.3, 0.9], vec![0.2, 0.8]]).unwrap();
        assert_eq!(bootstrap(100, 7).estimate(&s, mean), bootstrap(100, 7).estimate(&s, mean));
        assert_ne!(bootstrap(100, 7).estimate(&s, mean), bootstrap(100, 8).estimate(&s, mean));
        let stream = Stream::new(0, Purpose::Bootstrap, 0, 0);
        assert!(Bootstrap::new(0, 0.95, stream.clone()).is_err() && Bootstrap::new(1, 1.0, stream).is_err());
    }
}

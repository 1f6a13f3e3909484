//! Sample efficiency: the interquartile mean over runs and tasks at each number of env steps, with intervals
//! (Agarwal et al. 2021, figure 7).

use crate::StatsError;
use crate::aggregate::{average, iqm_of};
use crate::bootstrap::{Bootstrap, Estimate};

/// A point of a curve over env steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Env steps.
    pub steps: f64,
    /// Interquartile mean of the runs there.
    pub score: Estimate,
}

/// One run: (env steps, score), steps rising.
pub type Curve = Vec<(f64, f64)>;

/// More points than this are thinned evenly, both ends kept.
const MOST_POINTS: usize = 200;

/// The curve of an algorithm from its runs, `[tasks][runs]`, at every step that some run was evaluated at and all runs had
/// reached; runs are interpolated linearly between their own evaluations.
///
/// # Errors
/// A task without runs, a run without points or with one that is not finite, runs that share no step.
pub fn sample_efficiency(tasks: &[Vec<Curve>], bootstrap: &Bootstrap) -> Result<Vec<Point>, StatsError> {
    for (t, runs) in tasks.iter().enumerate() {
        if runs.is_empty() || runs.iter().any(Vec::is_empty) {
            return Err(StatsError::Empty(format!("task {t}")));
        }
        if runs.iter().flatten().any(|p| !p.0.is_finite() || !p.1.is_finite()) {
            return Err(StatsError::NotFinite(format!("task {t}")));
        }
    }
    let steps = common_steps(tasks);
    if steps.is_empty() {
        return Err(StatsError::Format("the runs share no stretch of env steps: no curve can be drawn over all of them".into()));
    }
    // [tasks][runs][points]
    let values: Vec<Vec<Vec<f64>>> =
        tasks.iter().map(|runs| runs.iter().map(|run| steps.iter().map(|s| interpolate(run, *s)).collect()).collect()).collect();
    let all: Vec<Vec<usize>> = values.iter().map(|runs| (0..runs.len()).collect()).collect();
    let of = |picks: &[Vec<usize>]| -> Vec<f64> {
        let at = |k: usize| {
            let task = |(runs, picks): (&Vec<Vec<f64>>, &Vec<usize>)| picks.iter().map(|i| runs[*i][k]).collect();
            iqm_of(&values.iter().zip(picks).map(task).collect::<Vec<Vec<f64>>>())
        };
        (0..steps.len()).map(at).collect()
    };
    let ends = bootstrap.intervals(&all.iter().map(Vec::len).collect::<Vec<_>>(), of);
    let point = |((steps, value), (low, high))| Point { steps, score: Estimate { value, low, high } };
    Ok(steps.iter().copied().zip(of(&all)).zip(ends).map(point).collect())
}

/// How far seeds lie apart along their curves: at every step that all runs were evaluated at, the standard deviation over runs
/// (`n - 1` in the denominator), and of these the mean. None of fewer than two runs, or of runs that were never evaluated at one step.
pub fn spread(runs: &[Curve]) -> Option<f64> {
    let (first, others) = runs.split_first()?;
    if others.is_empty() {
        return None;
    }
    let at = |step: f64| -> Option<Vec<f64>> {
        let value = |run: &Curve| run.iter().find(|p| p.0 == step).map(|p| p.1).filter(|v| v.is_finite());
        runs.iter().map(value).collect()
    };
    let deviation = |values: Vec<f64>| {
        let mean = average(&values);
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
    };
    let all: Vec<f64> = first.iter().filter_map(|p| at(p.0)).map(deviation).collect();
    (!all.is_empty()).then(|| average(&all))
}

fn common_steps(tasks: &[Vec<Curve>]) -> Vec<f64> {
    let runs = || tasks.iter().flatten();
    let first = runs().filter_map(|r| r.first()).map(|p| p.0).fold(f64::NEG_INFINITY, f64::max);
    let last = runs().filter_map(|r| r.last()).map(|p| p.0).fold(f64::INFINITY, f64::min);
    let mut steps: Vec<f64> = runs().flatten().map(|p| p.0).filter(|s| (first..=last).contains(s)).collect();
    steps.sort_by(f64::total_cmp);
    steps.dedup();
    if steps.len() > MOST_POINTS {
        steps = (0..MOST_POINTS).map(|k| steps[k * (steps.len() - 1) / (MOST_POINTS - 1)]).collect();
    }
    steps
}

/// The value at a step between the first and the last.
fn interpolate(run: &[(f64, f64)], step: f64) -> f64 {
    let after = run.partition_point(|p| p.0 < step).min(run.len() - 1);
    let (left, right) = (run[after.saturating_sub(1)], run[after]);
    if right.0 <= left.0 || right.0 == step {
        return right.1;
    }
    left.1 + (right.1 - left.1) * (step - left.0) / (right.0 - left.0)
}

#[cfg(test)]
mod tests {
    use motley_core::{Purpose, Stream};

    use super::*;

    fn bootstrap() -> Bootstrap {
        Bootstrap::new(300, 0.95, Stream::new(0, Purpose::Bootstrap, 0, 0)).unwrap()
    }

    #[test]
    fn runs_meet_on_the_steps_that_all_have_reached() {
        let a = vec![(0.0, 0.0), (10.0, 10.0), (20.0, 10.0)];
        let b = vec![(5.0, 1.0), (15.0, 3.0)];
        let got = sample_efficiency(&[vec![a], vec![b]], &bootstrap()).unwrap();
        let values: Vec<(f64, f64)> = got.iter().map(|p| (p.steps, p.score.value)).collect();
        assert_eq!(values, [(5.0, (5.0 + 1.0) / 2.0), (10.0, (10.0 + 2.0) / 2.0), (15.0, (10.0 + 3.0) / 2.0)]);
        assert!(got.iter().all(|p| p.score.low == p.score.high), "one run a task has no spread");
    }

    #[test]
    fn intervals_hold_the_spread_of_seeds() {
        let runs = (0..4).map(|k| vec![(0.0, 0.0), (1.0, f64::from(k))]).collect();
        let got = sample_efficiency(&[runs], &bootstrap()).unwrap();
        assert_eq!((got[0].score.low, got[0].score.high), (0.0, 0.0));
        assert!(got[1].score.value == 1.5 && got[1].score.low < 0.7 && got[1].score.high > 2.3);
    }

    /// Hand-computed: sqrt(2), 0 and 2 at the steps that both have.
    #[test]
    fn spread_is_the_mean_deviation_along_the_curve() {
        let a = vec![(1.0, 0.0), (2.0, 5.0), (3.0, 1.0), (4.0, 9.0)];
        let b = vec![(1.0, 2.0), (2.0, 5.0), (3.0, 1.0 + 8.0f64.sqrt())];
        assert!((spread(&[a.clone(), b]).unwrap() - (2.0f64.sqrt() + 0.0 + 2.0) / 3.0).abs() < 1e-12);
        assert_eq!([spread(std::slice::from_ref(&a)), spread(&[]), spread(&[a, vec![(9.0, 0.0)]])], [None; 3]);
    }

    #[test]
    fn runs_that_never_meet_are_refused() {
        let (a, b) = (vec![(0.0, 0.0), (1.0, 1.0)], vec![(2.0, 0.0)]);
        assert!(matches!(sample_efficiency(&[vec![a, b]], &bootstrap()), Err(StatsError::Format(_))));
        assert!(matches!(sample_efficiency(&[vec![vec![]]], &bootstrap()), Err(StatsError::Empty(_))));
    }
}

//! Aggregates of scores over runs and tasks (Agarwal et al. 2021, sections 4.2 and 4.3).

use crate::StatsError;

/// Scores of one algorithm, `[tasks][runs]`: at least one task, at least one run of each, all finite. Tasks may have unlike
/// numbers of runs; every task counts alike all the same, so that nobody gains by running an easy task more often.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores(Vec<Vec<f64>>);

impl Scores {
    /// A table of one list of runs a task.
    ///
    /// # Errors
    /// [`StatsError::Empty`], [`StatsError::NotFinite`].
    pub fn new(tasks: Vec<Vec<f64>>) -> Result<Self, StatsError> {
        if tasks.is_empty() {
            return Err(StatsError::Empty("the table".into()));
        }
        for (t, runs) in tasks.iter().enumerate() {
            if runs.is_empty() {
                return Err(StatsError::Empty(format!("task {t}")));
            }
            if runs.iter().any(|x| !x.is_finite()) {
                return Err(StatsError::NotFinite(format!("task {t}")));
            }
        }
        Ok(Self(tasks))
    }

    /// One list of runs a task.
    pub fn tasks(&self) -> &[Vec<f64>] {
        &self.0
    }

    /// Every score of every task.
    pub fn pooled(&self) -> impl Iterator<Item = f64> {
        self.0.iter().flatten().copied()
    }

    /// The scores at the given runs of each task; a bootstrap resample, so indices are in range.
    pub(crate) fn at(&self, picks: &[Vec<usize>]) -> Self {
        Self(self.0.iter().zip(picks).map(|(runs, picks)| picks.iter().map(|i| runs[*i]).collect()).collect())
    }

    /// Runs of each task.
    pub(crate) fn counts(&self) -> Vec<usize> {
        self.0.iter().map(Vec::len).collect()
    }
}

/// Arithmetic mean; NaN of nothing.
pub fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Middle value, or the mean of the middle two; NaN of nothing.
pub fn middle(values: &[f64]) -> f64 {
    crate::bootstrap::quantile(&sorted(values.iter().copied()), 0.5)
}

/// Mean of the middle half: a quarter of the values, rounded down, is cut at each end. NaN of nothing.
pub fn interquartile_mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values = sorted(values);
    let cut = values.len() / 4;
    average(&values[cut..values.len() - cut])
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Interquartile mean of all runs of all tasks; where tasks have unlike numbers of runs, a run weighs one over its task's number, and
/// the middle half is that of the weights.
pub fn iqm(scores: &Scores) -> f64 {
    iqm_of(scores.tasks())
}

/// [`iqm`] of a table that is known to be one.
pub(crate) fn iqm_of(tasks: &[Vec<f64>]) -> f64 {
    if tasks.iter().all(|runs| runs.len() == tasks[0].len()) {
        return interquartile_mean(tasks.iter().flatten().copied());
    }
    let share = |runs: &Vec<f64>| 1.0 / (runs.len() * tasks.len()) as f64;
    let mut weighted: Vec<(f64, f64)> = tasks.iter().flat_map(|runs| runs.iter().map(move |x| (*x, share(runs)))).collect();
    weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut sum) = (0.0, 0.0);
    for (x, weight) in weighted {
        let middle = (below + weight).min(0.75) - below.max(0.25);
        sum += x * middle.max(0.0);
        below += weight;
    }
    sum / 0.5
}

/// Mean over tasks of the mean over runs.
pub fn mean(scores: &Scores) -> f64 {
    average(&task_means(scores))
}

/// Median over tasks of the mean over runs.
pub fn median(scores: &Scores) -> f64 {
    middle(&task_means(scores))
}

fn task_means(scores: &Scores) -> Vec<f64> {
    scores.tasks().iter().map(|runs| average(runs)).collect()
}

/// How far scores fall short of `threshold` on average, what lies above it counting as `threshold`: 0 is best.
pub fn optimality_gap(scores: &Scores, threshold: f64) -> f64 {
    let capped = |runs: &Vec<f64>| average(&runs.iter().map(|x| x.min(threshold)).collect::<Vec<_>>());
    threshold - average(&scores.tasks().iter().map(capped).collect::<Vec<_>>())
}

/// Probability that a run of `x` scores higher than a run of `y` on the same task, averaged over tasks; a tie counts half
/// (the Mann-Whitney statistic over the number of pairs).
///
/// # Errors
/// [`StatsError::Tasks`] where the numbers of tasks differ.
pub fn probability_of_improvement(x: &Scores, y: &Scores) -> Result<f64, StatsError> {
    let (left, right) = (x.tasks().len(), y.tasks().len());
    if left == right { Ok(improvement(x, y)) } else { Err(StatsError::Tasks { left, right }) }
}

/// [`probability_of_improvement`] of tables known to have the same tasks.
pub(crate) fn improvement(x: &Scores, y: &Scores) -> f64 {
    let task = |(x, y): (&Vec<f64>, &Vec<f64>)| {
        let wins: f64 = x.iter().flat_map(|a| y.iter().map(move |b| win(*a, *b))).sum();
        wins / (x.len() * y.len()) as f64
    };
    average(&x.tasks().iter().zip(y.tasks()).map(task).collect::<Vec<_>>())
}

/// How many ways there may be of dealing the runs of two algorithms out again for [`exact_p`].
const MOST_DEALS: u128 = 200_000;

/// The exact two-sided p-value of the Mann-Whitney test: of all ways to deal the scores of `x` and `y` out again in the same numbers, the
/// share in which [`probability_of_improvement`] lies at least as far from a half. `None` with more than 200,000 ways, or of nothing.
///
/// H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is stochastically larger than the other", 1947.
pub fn exact_p(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.is_empty() || y.is_empty() {
        return None;
    }
    let all: Vec<f64> = x.iter().chain(y).copied().collect();
    let mut deals: u128 = 1;
    for k in 0..x.len().min(y.len()) as u128 {
        deals = deals * (all.len() as u128 - k) / (k + 1);
        if deals > MOST_DEALS {
            return None;
        }
    }
    // Twice the pairs won, ties counting one: of a score against all others, and of a hand less what its scores win among themselves.
    let twice = |a: &f64| all.iter().map(|b| (2.0 * win(*a, *b)) as i64).sum::<i64>() - 1;
    let won: Vec<i64> = all.iter().map(twice).collect();
    let (within, even) = ((x.len() * (x.len() - 1)) as i64, (x.len() * y.len()) as i64);
    let far = |hand: &[usize]| (hand.iter().map(|i| won[*i]).sum::<i64>() - within - even).abs();
    let mut hand: Vec<usize> = (0..x.len()).collect();
    let (seen, mut as_far) = (far(&hand), 0_u64);
    loop {
        as_far += u64::from(far(&hand) >= seen);
        // The next hand in lexicographic order.
        let Some(k) = (0..hand.len()).rev().find(|&k| hand[k] < all.len() - hand.len() + k) else { break };
        hand[k] += 1;
        (k + 1..hand.len()).for_each(|later| hand[later] = hand[later - 1] + 1);
    }
    Some(as_far as f64 / deals as f64)
}

fn win(a: f64, b: f64) -> f64 {
    if a > b {
        1.0
    } else if a == b {
        0.5
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(tasks: &[&[f64]]) -> Scores {
        Scores::new(tasks.iter().map(|t| t.to_vec()).collect()).unwrap()
    }

    #[test]
    fn aggregates_of_small_tables_by_hand() {
        let s = scores(&[&[1.0, 2.0, 3.0, 10.0], &[0.0, 4.0, 4.0, 4.0]]);
        // Of 0 1 2 3 4 4 4 10 two are cut at each end.
        assert_eq!(iqm(&s), (2.0 + 3.0 + 4.0 + 4.0) / 4.0);
        assert_eq!((mean(&s), median(&s)), (3.5, 3.5));
        assert_eq!(optimality_gap(&s, 4.0), 4.0 - (1.0 + 2.0 + 3.0 + 4.0 + 0.0 + 4.0 + 4.0 + 4.0) / 8.0);
        assert_eq!(median(&scores(&[&[5.0], &[1.0, 3.0], &[9.0]])), 5.0);
        // Seven values: one is cut at each end; three: none.
        assert_eq!(interquartile_mean([7.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 4.0);
        assert_eq!(interquartile_mean([0.0, 0.0, 9.0]), 3.0);
    }

    #[test]
    fn improvement_counts_pairs_and_halves_ties() {
        let (x, y) = (scores(&[&[1.0, 2.0, 3.0]]), scores(&[&[2.0, 2.0]]));
        assert_eq!(probability_of_improvement(&x, &y), Ok((0.0 + 1.0 + 2.0) / 6.0));
        assert_eq!(probability_of_improvement(&x, &x), Ok(0.5));
        let both = (scores(&[&[1.0], &[0.0]]), scores(&[&[0.0, 0.0], &[1.0]]));
        assert_eq!(probability_of_improvement(&both.0, &both.1), Ok(0.5), "the mean of 1 and 0");
        assert!(probability_of_improvement(&x, &both.1).is_err());
    }

    /// Of the 252 ways to deal five and five, 1, 2, 4 and 7 a side have no more than 0, 1, 2 and 3 pairs the other way.
    #[test]
    fn exact_p_values_count_the_deals() {
        let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        assert_eq!(exact_p(&low, &high), Some(2.0 / 252.0));
        assert_eq!(exact_p(&high, &low), Some(2.0 / 252.0));
        // One pair the other way: 4 deals lie as far out.
        assert_eq!(exact_p(&[1.0, 2.0, 3.0, 4.0, 6.0], &[5.0, 7.0, 8.0, 9.0, 10.0]), Some(4.0 / 252.0));
        assert_eq!(exact_p(&[1.0, 2.0, 3.0, 4.0, 4.0], &[4.0, 7.0, 8.0, 9.0, 10.0]).map(|p| (p * 252.0).round()), Some(6.0));
        // P = 0.88 (three pairs the other way): 14 of 252 deals, so not seen at 5 %.
        let p = exact_p(&[1.0, 2.0, 3.0, 4.0, 8.0], &[5.0, 6.0, 7.0, 9.0, 10.0]).unwrap();
        assert_eq!((p * 252.0).round(), 14.0);
        assert_eq!(exact_p(&[1.0, 1.0], &[1.0, 1.0, 1.0]), Some(1.0), "all tied");
        assert_eq!(exact_p(&[1.0], &[2.0]), Some(1.0), "two runs tell nothing");
        assert_eq!((exact_p(&[], &[1.0]), exact_p(&[0.0; 12], &[1.0; 12])), (None, None));
    }

    /// A has ten runs of the easy task and three of the hard one, B the reverse; their scores are the same.
    #[test]
    fn more_runs_of_a_task_weigh_no_more() {
        let table = |easy: usize, hard: usize| Scores::new(vec![vec![0.9; easy], vec![0.1; hard]]).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        for (easy, hard) in [(10, 3), (3, 10), (5, 5), (4, 1)] {
            let s = table(easy, hard);
            assert!(close(iqm(&s), 0.5) && close(optimality_gap(&s, 1.0), 0.5), "{easy} {hard}: {}", iqm(&s));
        }
        // Weights 1/6, 1/6, 1/6 and 1/4, 1/4: of 0 1 2 3 4 the middle half is 1/12 of the 1 (from 1/4 on) to 1/4 of the 3.
        let s = scores(&[&[0.0, 1.0, 2.0], &[3.0, 4.0]]);
        assert!(close(iqm(&s), 2.0 * (1.0 / 12.0 + 2.0 / 6.0 + 3.0 / 4.0)), "{}", iqm(&s));
    }

    #[test]
    fn tables_with_nothing_or_nan_are_refused() {
        assert!(matches!(Scores::new(vec![]), Err(StatsError::Empty(_))));
        assert!(matches!(Scores::new(vec![vec![1.0], vec![]]), Err(StatsError::Empty(_))));
        assert!(matches!(Scores::new(vec![vec![f64::NAN]]), Err(StatsError::NotFinite(_))));
    }
}

//! Aggregates of scores over runs and tasks (Agarwal et al. 2021, sections 4.2 and 4.3).

use crate::StatsError;

/// Scores of one algorithm, `[tasks][runs]`: at least one task, at least one run of each, all finite. Tasks may have unlike
/// numbers of runs; a task then counts in [`iqm`], [`optimality_gap`] and profiles in proportion to its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores(Vec<Vec<f64>>);

impl Scores {
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

/// Interquartile mean of all runs of all tasks.
pub fn iqm(scores: &Scores) -> f64 {
    interquartile_mean(scores.pooled())
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
    let capped: Vec<f64> = scores.pooled().map(|x| x.min(threshold)).collect();
    threshold - average(&capped)
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

    #[test]
    fn tables_with_nothing_or_nan_are_refused() {
        assert!(matches!(Scores::new(vec![]), Err(StatsError::Empty(_))));
        assert!(matches!(Scores::new(vec![vec![1.0], vec![]]), Err(StatsError::Empty(_))));
        assert!(matches!(Scores::new(vec![vec![f64::NAN]]), Err(StatsError::NotFinite(_))));
    }
}

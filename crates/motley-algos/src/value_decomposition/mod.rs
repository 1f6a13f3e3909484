//! Value-based learning on episode replay: one [`learner`], several ways to mix the agents' values.

mod batch;
mod config;
pub mod iql;
mod learner;
pub mod qmix;
pub mod qtran;
mod utility;
pub mod vdn;

use motley_core::Metrics;

use batch::EpisodeBatch;
pub(crate) use config::{check, check_team_reward, keys};
use learner::Learner;

/// The squared error of a team's value against its targets: `coef / rows * sum (q - y)^2` over the rows that count.
///
/// Returns the derivative by every row's value.
fn squared_error(batch: &EpisodeBatch, q: &[f32], y: &[f32], coef: f64, metrics: &mut Metrics) -> Vec<f32> {
    let count = batch.rows_that_count().max(1) as f64;
    let scale = (2.0 * coef / count) as f32;
    let mut sums = [0.0; 3];
    let mut slope = vec![0.0; q.len()];
    for r in (0..q.len()).filter(|r| batch.counts[*r]) {
        slope[r] = scale * (q[r] - y[r]);
        add(&mut sums, [f64::from(q[r] - y[r]).powi(2), q[r].into(), y[r].into()]);
    }
    report(metrics, ["loss/td", "loss/q", "loss/target"], sums, count);
    slope
}

fn add(sums: &mut [f64; 3], terms: [f64; 3]) {
    sums.iter_mut().zip(terms).for_each(|(sum, x)| *sum += x);
}

/// Means of sums over `count` rows.
fn report(metrics: &mut Metrics, names: [&str; 3], sums: [f64; 3], count: f64) {
    for (name, sum) in names.into_iter().zip(sums) {
        metrics.add_weighted(name, sum / count, count);
    }
}

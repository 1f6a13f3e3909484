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

/// The squared error of a team's value against its targets: `coef / steps * sum (q - y)^2`.
///
/// Returns the derivative by every step's value.
fn squared_error(q: &[f32], y: &[f32], coef: f64, metrics: &mut Metrics) -> Vec<f32> {
    let count = q.len().max(1) as f64;
    let scale = (2.0 * coef / count) as f32;
    let mut sums = [0.0; 3];
    for (q, y) in q.iter().zip(y) {
        add(&mut sums, [f64::from(q - y).powi(2), (*q).into(), (*y).into()]);
    }
    report(metrics, ["loss/td", "loss/q", "loss/target"], sums, count);
    q.iter().zip(y).map(|(q, y)| scale * (q - y)).collect()
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

//! Value-based learning on episode replay: one [`learner`], several ways to mix the agents' values.

mod batch;
mod config;
pub mod iql;
mod learner;
pub mod qmix;
pub mod qtran;
mod replay_state;
pub mod vdn;

use motley_core::Metrics;

use batch::EpisodeBatch;
use config::{check, check_team_reward, keys};
use learner::{Learner, blend};

/// The squared error of a team's value against its targets: `coef / rows * sum (q - y)^2` over the rows that count.
///
/// Returns the derivative by every row's value.
fn squared_error(batch: &EpisodeBatch, q: &[f32], y: &[f32], coef: f64, metrics: &mut Metrics) -> Vec<f32> {
    let scale = (2.0 * coef / batch.rows_that_count().max(1) as f64) as f32;
    let error = |r: usize| if batch.counts[r] { q[r] - y[r] } else { 0.0 };
    for r in (0..q.len()).filter(|r| batch.counts[*r]) {
        metrics.add("loss/td", f64::from(error(r)).powi(2));
        metrics.add("loss/q", q[r].into());
        metrics.add("loss/target", y[r].into());
    }
    (0..q.len()).map(|r| scale * error(r)).collect()
}

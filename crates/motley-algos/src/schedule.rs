//! In which order actors move: all from the same point, or one after the other with the factor of those before.

use motley_core::{Kind, Metrics, settings};
use motley_data::rollout::Rollout;
use motley_nn::objective::MAX_LOG_RATIO;
use motley_nn::{Actor, ActorRows, Pool, UpdateError};

use crate::on_policy::{Estimates, OnPolicy};

settings! {
    /// The factor of the sequential scheme.
    pub struct FactorConfig in "algo" {
        /// Factors of earlier actors stay between 1 / (1 + this) and 1 + this; 0 leaves them (Zhong et al.), whatever they come to.
        factor_clip: f64 = 0.0, Kind::Float(0.0, 1e6);
    }
}

/// Every actor climbs its advantage by itself (MAPPO, IPPO).
///
/// # Errors
/// [`UpdateError`] of a step.
pub fn simultaneous(
    core: &mut OnPolicy,
    roll: &Rollout,
    estimates: &Estimates,
    mut train: impl FnMut(usize, &mut Actor, &ActorRows, &[f32]) -> Result<Metrics, UpdateError>,
) -> Result<Metrics, UpdateError> {
    let mut metrics = Metrics::new();
    for g in 0..core.actors.len() {
        let rows = core.actors[g].rows(roll);
        let advantage = core.advantages(estimates, &core.actors[g], &rows);
        let actor = &mut core.actors[g];
        let m = train(g, actor, &rows, &advantage)?;
        metrics.merge(&format!("loss/{}/", actor.name), &m);
    }
    Ok(metrics)
}

/// The sequential scheme of heterogeneous-agent learning (Zhong et al. 2024, Algorithm 2 and Proposition 11).
///
/// Actors move in `order`; the m-th climbs `M = factor * advantage` with
/// `factor(s, a) = prod over earlier actors of pi_new / pi_old`, [rows], which starts at 1 and carries no gradient. Dead agents and
/// holes have ratio 1, one agent's log-ratio is clamped at +-20, the product by `algo.factor_clip`. A group moves as one: its
/// members see the same factor, and all their ratios enter it afterwards.
///
/// # Errors
/// [`UpdateError`] of a step.
pub fn sequential(
    core: &mut OnPolicy,
    pool: &Pool,
    roll: &Rollout,
    estimates: &Estimates,
    (order, config): (&[usize], &FactorConfig),
    mut train: impl FnMut(usize, &mut Actor, &ActorRows, &[f32]) -> Result<Metrics, UpdateError>,
) -> Result<Metrics, UpdateError> {
    let mut metrics = Metrics::new();
    let mut factor = vec![1.0f32; roll.rows()];
    for &g in order {
        let rows = core.actors[g].rows(roll);
        let advantage = core.advantages(estimates, &core.actors[g], &rows);
        let weight: Vec<f32> = advantage.iter().enumerate().map(|(r, a)| factor[r % rows.rows] * a).collect();
        let actor = &mut core.actors[g];
        let mut m = train(g, actor, &rows, &weight)?;
        // The ratio is to the log-probabilities that the rollout recorded: those before training, or, where rollouts overlap with
        // learning, those of the policy one update older, as in the surrogate that `train` climbs.
        let after = actor.log_probs(pool, roll, &rows);
        multiply(&mut factor, &rows, &after);
        if config.factor_clip > 0.0 {
            let most = 1.0 + config.factor_clip as f32;
            factor.iter_mut().for_each(|f| *f = f.clamp(1.0 / most, most));
        }
        m.add("factor_max", f64::from(factor.iter().copied().fold(0.0, f32::max)));
        metrics.merge(&format!("loss/{}/", actor.name), &m);
    }
    Ok(metrics)
}

/// `factor *= prod over members of pi_new / pi_old`.
fn multiply(factor: &mut [f32], rows: &ActorRows, after: &[f32]) {
    for (r, (new, old)) in after.iter().zip(&rows.old).enumerate().filter(|(r, _)| rows.active[*r]) {
        factor[r % rows.rows] *= (new - old).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp();
    }
}

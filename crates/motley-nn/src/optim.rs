//! Adam with a global-norm clip over one flat parameter vector, behind the second door: a step whose gradient is not
//! finite is skipped, and too many of those in a row stop the run.

use motley_core::{Kind, settings};
use motley_kernels::{AdamStep, adam};
use motley_run::{CheckpointError, StateReader, StateWriter};
use thiserror::Error;

/// Consecutive skipped steps after which training is called diverged.
pub const MAX_SKIPS: u32 = 10;

/// Why an update stopped.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum UpdateError {
    /// The gradient was not finite too many times in a row.
    #[error(
        "{network}: {MAX_SKIPS} gradient steps in a row were not finite (last norm {norm}); lower the learning rate, or look for extreme observations or rewards"
    )]
    Diverged {
        /// Which network.
        network: String,
        /// The last norm.
        norm: f64,
    },
    /// Data that the algorithm cannot use (a fault of the program or of a restored checkpoint).
    #[error("{0}")]
    Data(String),
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Whether parameters moved.
    pub applied: bool,
}

settings! {
    /// Settings of [`Adam`] that presets differ in.
    pub struct AdamConfig in "algo" {
        /// `adam`, or `radam`, which damps its first steps by how much is known of the second moment (Liu et al. 2020).
        optimizer: String = "adam", Kind::Choice(&["adam", "radam"]);
        /// Added to the root of the second moment. 1e-5 for on-policy learning (HARL), 1e-8 for off-policy.
        adam_eps: f64 = 1e-5, Kind::Float(1e-12, 1.0);
        /// L2 penalty: this times the parameter is added to the clipped gradient, as in PyTorch's Adam (not AdamW's decoupled decay).
        weight_decay: f64 = 0.0, Kind::Float(0.0, 1.0);
        /// Gradients are scaled down to this global norm; 0 leaves them.
        max_grad_norm: f64 = 10.0, Kind::Float(0.0, 1e9);
    }
}

/// Adam (Kingma and Ba 2015), bias correction in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    config: AdamConfig,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: u64,
    skips: u32,
}

/// Gradients from this norm on (after clipping) take no step: their squares leave single precision, and second moments that are infinite
/// would hold their parameters still for good.
const LARGEST_NORM: f64 = 1e19;
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;

/// Sum of squares in f64 over 8 fixed lanes: the same bits on every machine.
fn sum_of_squares(xs: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (blocks, rest) = xs.as_chunks::<8>();
    for block in blocks {
        for (lane, x) in lanes.iter_mut().zip(block) {
            *lane += f64::from(*x) * f64::from(*x);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>()
}

/// The Euclidean norm over every entry, and the factor that brings it down to `max_norm` (1 where it is below, or `max_norm` is 0).
pub fn clip_global(grad: &[f32], max_norm: f64) -> (f64, f32) {
    let norm = sum_of_squares(grad).sqrt();
    let scale = if max_norm > 0.0 && norm > max_norm { max_norm / (norm + 1e-6) } else { 1.0 };
    (norm, scale as f32)
}

impl Adam {
    /// For `len` parameters.
    pub fn new(len: usize, config: AdamConfig) -> Self {
        Self { config, first: vec![0.0; len], second: vec![0.0; len], steps: 0, skips: 0 }
    }

    /// One guarded step downhill.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`] after [`MAX_SKIPS`] steps in a row whose gradient was not finite, or beyond what squares can hold; a single one is skipped.
    pub fn step(&mut self, network: &str, params: &mut [f32], grad: &[f32], lr: f64) -> Result<StepReport, UpdateError> {
        let (grad_norm, scale) = clip_global(grad, self.config.max_grad_norm);
        if !grad_norm.is_finite() || grad_norm * f64::from(scale) >= LARGEST_NORM {
            self.skips += 1;
            if self.skips >= MAX_SKIPS {
                return Err(UpdateError::Diverged { network: network.to_owned(), norm: grad_norm });
            }
            return Ok(StepReport { grad_norm, applied: false });
        }
        self.skips = 0;
        self.steps += 1;
        let t = self.steps as f64;
        let rectified = if self.config.optimizer == "radam" { rectification(t) } else { Some(1.0) };
        let rate = (rectified.unwrap_or(1.0) * lr / (1.0 - BETA1.powf(t))) as f32;
        let (root, eps) = match rectified {
            Some(_) => ((1.0 / (1.0 - BETA2.powf(t))).sqrt() as f32, self.config.adam_eps as f32),
            // The second moment is left out: a divisor of 1.
            None => (0.0, 1.0),
        };
        let (betas, decay) = ([BETA1 as f32, BETA2 as f32], self.config.weight_decay as f32);
        adam(params, grad, &mut self.first, &mut self.second, AdamStep { scale, decay, betas, rate, root, eps });
        Ok(StepReport { grad_norm, applied: true })
    }

    /// Writes moments and counters.
    pub fn save(&self, w: &mut StateWriter) {
        w.put_f32("first", &self.first);
        w.put_f32("second", &self.second);
        w.put_u64("counters", &[self.steps, u64::from(self.skips)]);
    }

    /// Reads moments and counters.
    ///
    /// # Errors
    /// Entries that are missing or of another length.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        r.f32s_into("first", &mut self.first)?;
        r.f32s_into("second", &mut self.second)?;
        let mut counters = [0; 2];
        r.u64s_into("counters", &mut counters)?;
        self.steps = counters[0];
        self.skips = counters[1] as u32;
        Ok(())
    }
}

/// RAdam's factor on the `t`-th step, `sqrt((rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho))` with
/// `rho = rho_inf - 2 t b2^t / (1 - b2^t)` and `rho_inf = 2 / (1 - b2) - 1`; none below `rho = 5`, where the step has no second moment (Liu et
/// al., "On the Variance of the Adaptive Learning Rate and Beyond", ICLR 2020, algorithm 2; the bound is that of the authors' code).
fn rectification(t: f64) -> Option<f64> {
    let most = 2.0 / (1.0 - BETA2) - 1.0;
    let rho = most - 2.0 * t * BETA2.powf(t) / (1.0 - BETA2.powf(t));
    (rho >= 5.0).then(|| ((rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho)).sqrt())
}

/// `lr * (1 - progress)` where decay is on: `progress` runs from 0 to 1 over the run.
pub fn decayed(lr: f64, decay: bool, progress: f64) -> f64 {
    if decay { lr * (1.0 - progress.clamp(0.0, 1.0)) } else { lr }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(max_grad_norm: f64) -> AdamConfig {
        AdamConfig { optimizer: "adam".into(), adam_eps: 1e-8, weight_decay: 0.0, max_grad_norm }
    }

    /// Two layers of unequal norm are scaled by one factor, not each by its own.
    #[test]
    fn the_clip_is_global() {
        let grad = [3.0, 0.0, 0.0, 4.0];
        let (norm, scale) = clip_global(&grad, 1.0);
        assert!((norm - 5.0).abs() < 1e-12 && (f64::from(scale) - 1.0 / 5.000_001).abs() < 1e-7);
        assert_eq!(clip_global(&grad, 5.5).1, 1.0);
        assert_eq!(clip_global(&grad, 0.0).1, 1.0);
    }

    /// Squares beyond single precision would make second moments infinite, and their parameters stand still for good.
    #[test]
    fn gradients_whose_squares_overflow_take_no_step() {
        let (mut adam, mut p) = (Adam::new(1, config(0.0)), [1.0f32]);
        assert!(!adam.step("net", &mut p, &[1e20], 0.1).unwrap().applied);
        assert!(adam.step("net", &mut p, &[0.5], 0.1).unwrap().applied && (p[0] - 0.9).abs() < 1e-6);
        let mut clipped = Adam::new(1, config(10.0));
        assert!(clipped.step("net", &mut p, &[1e20], 0.1).unwrap().applied && clipped.second[0].is_finite());
    }

    /// Against Adam written out in f64.
    #[test]
    fn steps_match_the_definition() {
        let mut adam = Adam::new(2, config(0.0));
        let mut p = [1.0f32, -2.0];
        let (mut q, mut m, mut v) = ([1.0f64, -2.0], [0.0f64; 2], [0.0f64; 2]);
        for t in 1..=50 {
            let g: [f64; 2] = [2.0 * q[0] + 0.3, (f64::from(t) * 0.7).sin()];
            let grad = [(2.0 * f64::from(p[0]) + 0.3) as f32, g[1] as f32];
            adam.step("x", &mut p, &grad, 0.01).unwrap();
            for k in 0..2 {
                m[k] = 0.9 * m[k] + 0.1 * g[k];
                v[k] = 0.999 * v[k] + 0.001 * g[k] * g[k];
                let (mh, vh) = (m[k] / (1.0 - 0.9f64.powi(t)), v[k] / (1.0 - 0.999f64.powi(t)));
                q[k] -= 0.01 * mh / (vh.sqrt() + 1e-8);
            }
        }
        assert!((f64::from(p[0]) - q[0]).abs() < 1e-5 && (f64::from(p[1]) - q[1]).abs() < 1e-5, "{p:?} {q:?}");
    }

    /// Against optax 0.2.8's `radam(0.01, eps=1e-8)`, which counts in single precision: five steps without a second moment, then with it.
    #[test]
    fn rectified_steps_match_optax() {
        let mut adam = Adam::new(1, AdamConfig { optimizer: "radam".into(), ..config(0.0) });
        let mut p = [1.0f32];
        let known = [(5, 0.940_642_95), (6, 0.940_478_1), (10, 0.939_731_96), (40, 0.922_999_2), (400, 0.281_903_5)];
        for t in 1..=400 {
            adam.step("x", &mut p, &[((f64::from(t) * 0.7).sin() + 0.5) as f32], 0.01).unwrap();
            for (_, wanted) in known.iter().filter(|(at, _)| *at == t) {
                assert!((p[0] - wanted).abs() < 2e-4, "step {t}: {} {wanted}", p[0]);
            }
        }
    }

    /// N1: a gradient that is not finite leaves everything as it was; ten in a row stop the run.
    #[test]
    fn bad_gradients_are_skipped_then_fatal() {
        let mut adam = Adam::new(2, config(10.0));
        let mut p = [1.0f32, 2.0];
        adam.step("x", &mut p, &[0.1, 0.2], 0.1).unwrap();
        let (before, held) = (adam.clone(), p);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!adam.step("x", &mut p, &[bad, 0.0], 0.1).unwrap().applied);
        }
        assert_eq!(p, held);
        assert_eq!((&adam.first, &adam.second, adam.steps), (&before.first, &before.second, before.steps));
        let failed = (0..MAX_SKIPS).find_map(|_| adam.step("critic", &mut p, &[f32::NAN, 0.0], 0.1).err());
        assert!(failed.is_some_and(|e| e.to_string().contains("critic")));
        assert_eq!(p, held);
    }
}

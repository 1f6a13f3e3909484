//! The row losses of an [`super::Actor`].

use motley_kernels::RowLoss;

use super::{ActorRows, Ascent, OldPolicy, ValueGoal};
use crate::dist::{Evaluation, Head, KlKind};
use crate::objective::{MAX_LOG_RATIO, value_term};

/// A row loss whose derivative is given: one backward pass.
pub(super) struct GivenGradient {
    pub(super) d_out: Vec<f32>,
    pub(super) width: usize,
}

impl RowLoss for GivenGradient {
    fn stats_len(&self) -> usize {
        0
    }

    fn rows(&self, start: usize, _out: &[f32], d_out: &mut [f32], _stats: &mut [f64]) {
        let from = start * self.width;
        d_out.copy_from_slice(&self.d_out[from..from + d_out.len()]);
    }
}

/// The curvature of the mean divergence from the old policy: `M t / rows that count` of a row's output tangent `t`.
pub(super) struct Curvature<'a> {
    pub(super) head: &'a Head,
    pub(super) all: &'a ActorRows,
    pub(super) indices: &'a [usize],
    pub(super) old: &'a OldPolicy,
    pub(super) kind: KlKind,
    pub(super) scale: f32,
}

impl RowLoss for Curvature<'_> {
    fn stats_len(&self) -> usize {
        0
    }

    fn rows(&self, start: usize, tangent: &[f32], pulled: &mut [f32], _stats: &mut [f64]) {
        let output = self.old.out.len() / self.all.old.len();
        pulled.fill(0.0);
        for (k, (tangent, pulled)) in tangent.chunks_exact(output).zip(pulled.chunks_exact_mut(output)).enumerate() {
            let r = self.indices[start + k];
            if self.all.active[r] {
                let out = &self.old.out[r * output..(r + 1) * output];
                self.head.curvature(out, &self.old.free, self.all.mask(r), tangent, pulled, self.kind);
                pulled.iter_mut().for_each(|x| *x *= self.scale);
            }
        }
    }
}

/// Sums that [`ActorLoss`] reports before the free parameters' gradients: surrogate, entropy, KL, clipped, clamped, ratio,
/// loss of the value.
pub(super) const STATS: usize = 7;

/// What one row weighs: one over the rows that decide, and over those whose values are learned.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    pub(super) policy: f32,
    pub(super) value: f32,
}

pub(super) struct ActorLoss<'a> {
    pub(super) head: &'a Head,
    /// Entries of an output row: the head's, then the row's value, or those of a second head, which this loss leaves alone.
    pub(super) output: usize,
    pub(super) free: &'a [f32],
    pub(super) all: &'a ActorRows,
    pub(super) indices: &'a [usize],
    pub(super) ascent: Ascent<'a>,
    pub(super) scales: Scales,
    /// Where the head's numbers are followed by the row's value: what that should be.
    pub(super) goal: Option<ValueGoal<'a>>,
}

impl RowLoss for ActorLoss<'_> {
    fn stats_len(&self) -> usize {
        STATS + self.free.len()
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        let (own, width) = (self.head.outputs(), self.head.width());
        let (sums, d_free) = stats.split_at_mut(STATS);
        for (k, (row, d_row)) in out.chunks_exact(self.output).zip(d_out.chunks_exact_mut(self.output)).enumerate() {
            let r = self.indices[start + k];
            d_row.fill(0.0);
            let ((out, value), (d_out, rest)) = (row.split_at(own), d_row.split_at_mut(own));
            if let Some(goal) = self.goal.filter(|g| g.counts[r]) {
                let (regression, clip) = goal.config.regression();
                let (loss, slope) = value_term(regression, value[0], goal.old[r], goal.targets[r], clip);
                let coef = goal.config.value_coef as f32;
                sums[6] += f64::from(coef * loss);
                rest[0] = self.scales.value * coef * slope;
            }
            if !self.all.active[r] {
                continue;
            }
            let mask = self.all.mask(r);
            let raw = &self.all.raw[r * width..(r + 1) * width];
            let weigh = |now: Evaluation| {
                let log_ratio = now.log_prob - self.all.old[r];
                let term = self.ascent.objective.term(now.log_prob, self.all.old[r], self.ascent.weight[r]);
                sums[0] += f64::from(term.value);
                sums[1] += f64::from(now.entropy);
                // k3 of Schulman's note: (r - 1) - ln r, unbiased and never negative.
                sums[2] += f64::from(term.ratio - 1.0 - log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO));
                sums[3] += f64::from(u8::from(term.clipped));
                sums[4] += f64::from(u8::from(log_ratio.abs() > MAX_LOG_RATIO));
                sums[5] += f64::from(term.ratio);
                (-self.scales.policy * term.slope, -self.scales.policy * self.ascent.entropy_coef)
            };
            self.head.evaluate_backward(out, self.free, mask, raw, weigh, d_out, d_free);
        }
    }
}

/// `sum_a pi(a) values_a + entropy_coef H` of each row.
pub(super) struct AllActionsLoss<'a> {
    pub(super) head: &'a Head,
    pub(super) all: &'a ActorRows,
    pub(super) indices: &'a [usize],
    pub(super) values: &'a [f32],
    pub(super) entropy_coef: f32,
    pub(super) scale: f32,
}

impl RowLoss for AllActionsLoss<'_> {
    fn stats_len(&self) -> usize {
        2
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        let (output, width, choices) = (self.head.outputs(), self.head.width(), self.head.joint_choices());
        for (k, (out, d_out)) in out.chunks_exact(output).zip(d_out.chunks_exact_mut(output)).enumerate() {
            let r = self.indices[start + k];
            if !self.all.active[r] {
                d_out.fill(0.0);
                continue;
            }
            let mask = &self.all.mask[r * output..(r + 1) * output];
            let raw = &self.all.raw[r * width..(r + 1) * width];
            self.head.backward(out, &[], mask, raw, 0.0, -self.scale * self.entropy_coef, d_out, &mut []);
            let values = &self.values[r * choices..(r + 1) * choices];
            stats[0] += f64::from(self.head.expectation(out, mask, values, -self.scale, d_out));
            stats[1] += f64::from(self.head.evaluate(out, &[], mask, raw).entropy);
        }
    }
}

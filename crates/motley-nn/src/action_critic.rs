//! Critics of joint actions, Q(s, a_1 .. a_n): one network or twins, their targets, their regression, and their derivative by the
//! actions, which is what deterministic and reparameterised policies climb.

use std::ops::Range;

use motley_core::{Metrics, Stream};
use motley_kernels::mlp::{input_grad, loss_input_grad};
use motley_kernels::{Pool, RowLoss, Workspace};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::actor::gather;
use crate::net::{Batch, Engine, Net, NetSpec};
use crate::objective::Regression;
use crate::optim::{Adam, AdamConfig, UpdateError};
use crate::passes::NetWork;
use crate::target::follow;
use crate::value_norm::ValueNorm;
use crate::weights::load_params;

/// One Q-function: a network or twins (Fujimoto et al. 2018), with target copies.
#[derive(Debug)]
pub struct ActionCritic {
    name: String,
    twins: Vec<Twin>,
    norm: Option<ValueNorm>,
    /// Actors climb the values that the networks put out, normalised or not.
    raw: bool,
    input_work: Workspace,
    engine: Engine,
}

#[derive(Debug)]
struct Twin {
    net: Net,
    target: Net,
    adam: Adam,
    grad: Vec<f32>,
    work: NetWork,
}

/// Rows to fit.
#[derive(Debug, Clone, Copy)]
pub struct Fit<'a> {
    /// States with joint actions, `[rows, input]`.
    pub x: &'a [f32],
    /// What Q should be, in the units of the rewards, `[rows]`.
    pub goal: &'a [f32],
    /// How much each row counts, `[rows]`.
    pub weight: &'a [f32],
    /// The error's form.
    pub regression: Regression,
}

/// Which of the twins an actor climbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Climb {
    /// The first (deterministic policy gradients).
    First,
    /// The smaller one of each row (soft actor-critic).
    Least,
}

impl ActionCritic {
    /// A critic of rows that `spec` describes (its observation is state and joint action together); `norm`, where given, normalises
    /// its targets.
    pub fn new(
        name: String,
        mut spec: NetSpec,
        twins: usize,
        norm: Option<ValueNorm>,
        adam: &AdamConfig,
        engine: Engine,
        rng: &Stream,
    ) -> Self {
        (spec.extra, spec.recurrent, spec.output, spec.output_gain, spec.free) = (0, false, 1, 1.0, Vec::new());
        let twin = |k: usize| {
            let net = Net::new(spec.clone(), &rng.fork(k as u64));
            let len = net.params().len();
            let (grad, work) = (vec![0.0; len], NetWork::default());
            Twin { target: net.clone(), adam: Adam::new(len, adam.clone()), net, grad, work }
        };
        let twins = (0..twins).map(twin).collect();
        Self { name, twins, norm, raw: false, input_work: Workspace::default(), engine }
    }

    /// Lets actors climb normalised values as they are, not in the units of the rewards.
    pub fn climb_normalized(&mut self) {
        self.raw = true;
    }

    /// For logs and tensor names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What each network says about rows `[rows, input]`, in its own units.
    fn values(&self, pool: &Pool, x: &[f32], rows: usize) -> Vec<Vec<f32>> {
        self.twins.iter().map(|t| forward(&t.net, pool, x, rows)).collect()
    }

    /// The least of the targets' values, in the units of the rewards, `[rows]`.
    pub fn target_values(&self, pool: &Pool, x: &[f32], rows: usize) -> Vec<f32> {
        let mut values: Vec<(&Twin, Vec<f32>)> = self.twins.iter().map(|twin| (twin, Vec::new())).collect();
        pool.run(&mut values, |_, (twin, values)| *values = forward(&twin.target, pool, x, rows));
        let mut values = values.into_iter().map(|(_, values)| values);
        let mut least = values.next().unwrap_or_default();
        for other in values {
            least.iter_mut().zip(other).for_each(|(a, b)| *a = a.min(b));
        }
        if let Some(norm) = &self.norm {
            least.iter_mut().for_each(|v| *v = norm.denormalize(*v));
        }
        least
    }

    /// One guarded step of each network on `sum w l(Q - goal) / sum w`; nothing where no row counts.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`].
    pub fn fit(&mut self, pool: &Pool, fit: Fit<'_>, lr: f64) -> Result<Metrics, UpdateError> {
        let mut metrics = Metrics::new();
        let total: f64 = fit.weight.iter().map(|w| f64::from(*w)).sum();
        if total <= 0.0 {
            return Ok(metrics);
        }
        let mut normed = Vec::new();
        if let Some(norm) = &mut self.norm {
            let kept: Vec<f32> = fit.goal.iter().zip(fit.weight).filter(|(_, w)| **w > 0.0).map(|(y, _)| *y).collect();
            norm.update(&kept);
            normed.extend(fit.goal.iter().map(|y| norm.normalize(*y)));
        }
        let goal = if self.norm.is_some() { &normed } else { fit.goal };
        let loss = TdLoss { goal, weight: fit.weight, scale: (1.0 / total) as f32, regression: fit.regression };
        let batch = Batch { x: fit.x, rows: fit.goal.len(), sequence: None };
        let (name, engine) = (&self.name, &self.engine);
        // One step by the side of the other: what of it is for one thread alone keeps the others busy.
        let mut steps: Vec<_> = self.twins.iter_mut().map(|twin| (twin, None)).collect();
        pool.run(&mut steps, |_, (Twin { net, adam, grad, work, .. }, done)| {
            let mut stats = [0.0; 2];
            net.loss_grad(engine, pool, batch, &loss, grad, &mut stats, work);
            *done = Some(net.step(adam, name, grad, lr).map(|report| (stats, report)));
        });
        for done in steps.into_iter().filter_map(|(_, done)| done) {
            let (stats, report) = done?;
            metrics.add("td", stats[0] / total);
            metrics.add("q", stats[1] / total);
            metrics.add("grad_norm", report.grad_norm);
            metrics.add("skipped_steps", f64::from(u8::from(!report.applied)));
        }
        Ok(metrics)
    }

    /// Writes `d(-sum w Q) / dx` by these columns of the rows, `[rows, columns]`, and returns `sum w Q`, both in the units of the rewards,
    /// unless [`ActionCritic::climb_normalized`] was asked for.
    pub fn climb(&mut self, pool: &Pool, x: &[f32], weight: &[f32], climb: Climb, columns: Range<usize>, dx: &mut [f32]) -> f64 {
        let (shift, scale) = self.norm.as_ref().filter(|_| !self.raw).map_or((0.0, 1.0), |n| n.moments());
        let total: f64 = weight.iter().copied().map(f64::from).sum();
        let rows = weight.len();
        if climb == Climb::First || self.twins.len() == 1 {
            let loss = Uphill { weight, scale: scale as f32 };
            let mut stats = [0.0];
            let Some(first) = self.twins.first() else { return 0.0 };
            loss_input_grad(pool, &first.net.stages().trunk, x, rows, &loss, columns, dx, &mut stats, &mut self.input_work);
            return scale * stats[0] + shift * total;
        }
        let values = self.values(pool, x, rows);
        let mut sum = shift * total;
        let (width, input) = (columns.len(), x.len() / rows.max(1));
        dx.fill(0.0);
        for (k, twin) in self.twins.iter().enumerate() {
            // Of equal twins the first is the least one.
            let least = |r: &usize| {
                (0..values.len()).all(|j| values[k][*r] < values[j][*r] || (values[k][*r] == values[j][*r] && k <= j))
            };
            let mine: Vec<usize> = (0..rows).filter(least).collect();
            sum += mine.iter().map(|&r| scale * f64::from(weight[r] * values[k][r])).sum::<f64>();
            let d_out: Vec<f32> = mine.iter().map(|&r| -weight[r] * scale as f32).collect();
            let mut part = vec![0.0; mine.len() * width];
            let x = gather(x, input, &mine);
            let (trunk, work) = (&twin.net.stages().trunk, &mut self.input_work);
            input_grad(pool, trunk, &x, mine.len(), &d_out, columns.clone(), &mut part, work);
            for (&r, from) in mine.iter().zip(part.chunks_exact(width.max(1))) {
                dx[r * width..(r + 1) * width].copy_from_slice(from);
            }
        }
        sum
    }

    /// `target <- target + step (online - target)`.
    pub fn move_targets(&mut self, pool: &Pool, step: f32) {
        pool.run(&mut self.twins, |_, t| follow(&mut t.target, &t.net, step));
    }

    /// Writes weights, targets, optimisers, statistics.
    pub fn save(&self, w: &mut StateWriter) {
        for (k, twin) in self.twins.iter().enumerate() {
            let mut w = w.scope(&k.to_string());
            w.put_f32("params", twin.net.params());
            w.put_f32("target", twin.target.params());
            twin.adam.save(&mut w.scope("adam"));
        }
        if let Some(norm) = &self.norm {
            norm.save(w);
        }
    }

    /// Reads weights, targets, optimisers, statistics.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        for (k, twin) in self.twins.iter_mut().enumerate() {
            let r = r.scope(&k.to_string());
            load_params(&mut twin.net, &r, "params")?;
            load_params(&mut twin.target, &r, "target")?;
            twin.adam.load(&r.scope("adam"))?;
        }
        self.norm.as_mut().map_or(Ok(()), |norm| norm.load(r))
    }
}

fn forward(net: &Net, pool: &Pool, x: &[f32], rows: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * net.output_len()];
    net.forward_all(pool, x, rows, &mut out);
    out
}

/// Statistics: `sum w l`, `sum w Q`.
struct TdLoss<'a> {
    goal: &'a [f32],
    weight: &'a [f32],
    scale: f32,
    regression: Regression,
}

impl RowLoss for TdLoss<'_> {
    fn stats_len(&self) -> usize {
        2
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        for (k, (q, d)) in out.iter().zip(d_out).enumerate() {
            let (weight, goal) = (self.weight[start + k], self.goal[start + k]);
            if weight == 0.0 {
                *d = 0.0;
                continue;
            }
            let (value, slope) = self.regression.term(q - goal);
            *d = self.scale * weight * slope;
            stats[0] += f64::from(weight * value);
            stats[1] += f64::from(weight * q);
        }
    }
}

/// `-scale sum w Q`; statistics: `sum w Q`.
struct Uphill<'a> {
    weight: &'a [f32],
    scale: f32,
}

impl RowLoss for Uphill<'_> {
    fn stats_len(&self) -> usize {
        1
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        for (k, (q, d)) in out.iter().zip(d_out).enumerate() {
            let weight = self.weight[start + k];
            *d = -self.scale * weight;
            stats[0] += f64::from(weight * q);
        }
    }
}

//! Dueling action values (Wang et al. 2016): `Q_j = V + A_j - mean A`, two streams on one trunk.
//!
//! Both streams live in one plain network, so that the fused kernels run it: its last hidden layer holds the value stream's units
//! and then the advantage stream's, and the weights from one stream to the other's outputs are zero and stay so.

use motley_core::{Metrics, Stream};
use motley_kernels::{Pool, RowLoss};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::net::{Batch, Engine, Net, NetSpec};
use crate::objective::Regression;
use crate::optim::{Adam, AdamConfig, UpdateError};
use crate::passes::NetWork;
use crate::target::follow;
use crate::weights::load_params;

/// A dueling network with its target copy.
#[derive(Debug)]
pub struct Dueling {
    name: String,
    net: Net,
    target: Net,
    /// The advantage stream alone: its greatest output is the greatest value.
    acting: Net,
    stream: usize,
    actions: usize,
    adam: Adam,
    grad: Vec<f32>,
    work: NetWork,
    engine: Engine,
}

/// One row of regression: `Q(x, pick)` towards `goal`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// Which action.
    pub pick: usize,
    /// Its value.
    pub goal: f32,
    /// How much it counts.
    pub weight: f32,
}

/// What a regression is towards.
#[derive(Debug, Clone, Copy)]
pub enum Goals<'a> {
    /// The value of one action a row, `[rows]`.
    One(&'a [Goal]),
    /// Those of all actions, both `[rows, actions]`.
    All {
        /// The values.
        goal: &'a [f32],
        /// How much each counts.
        weight: &'a [f32],
    },
}

impl Goals<'_> {
    /// `sum w`
    fn total(&self) -> f64 {
        match self {
            Self::One(goals) => goals.iter().map(|g| f64::from(g.weight)).sum(),
            Self::All { weight, .. } => weight.iter().copied().map(f64::from).sum(),
        }
    }
}

impl Dueling {
    /// `spec` describes the trunk; each stream has one hidden layer of `stream` units; `actions` values are put out.
    pub fn new(
        name: String,
        mut spec: NetSpec,
        stream: usize,
        actions: usize,
        adam: AdamConfig,
        engine: Engine,
        rng: &Stream,
    ) -> Self {
        spec.hidden_sizes.push(2 * stream);
        (spec.recurrent, spec.free) = (false, Vec::new());
        let acting = Net::new(NetSpec { output: actions, ..spec.clone() }, rng);
        let mut net = Net::new(NetSpec { output: 1 + actions, ..spec }, rng);
        let crossing = Crossing::of(&net, stream, actions);
        net.set_params(|p| crossing.clear(p));
        Self {
            name,
            target: net.clone(),
            adam: Adam::new(net.params().len(), adam),
            grad: vec![0.0; net.params().len()],
            work: NetWork::default(),
            acting,
            stream,
            actions,
            engine,
            net,
        }
    }

    /// For logs and tensor names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Entries of one input row.
    pub fn input_len(&self) -> usize {
        self.net.input_len()
    }

    /// Values of all actions, `[rows, actions]`, by the network or its target.
    pub fn values(&self, pool: &Pool, x: &[f32], rows: usize, target: bool) -> Vec<f32> {
        let net = if target { &self.target } else { &self.net };
        let width = 1 + self.actions;
        let mut out = vec![0.0; rows * width];
        net.forward_all(pool, x, rows, &mut out);
        let mut values = Vec::with_capacity(rows * self.actions);
        for row in out.chunks_exact(width) {
            let base = row[0] - mean(&row[1..]);
            values.extend(row[1..].iter().map(|a| base + a));
        }
        values
    }

    /// A plain network whose outputs order actions as the values do.
    pub fn acting(&self) -> Net {
        let mut acting = self.acting.clone();
        let (Some(weight), Some(bias)) = (self.net.entry("output.weight"), self.net.entry("output.bias")) else { return acting };
        let (from, at) = (self.net.params(), weight.offset);
        let columns =
            |range: std::ops::Range<usize>| from[range].chunks_exact(1 + self.actions).flat_map(|row| row[1..].to_vec());
        let moved: Vec<f32> = from[..at].iter().copied().chain(columns(weight.range())).chain(columns(bias.range())).collect();
        acting.set_params(|p| p.copy_from_slice(&moved));
        acting
    }

    /// One guarded step on `sum w l(Q(x, a) - goal) / sum w` over rows and the actions that they have goals for; nothing where none
    /// counts. `x` is `[rows, input]`.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`].
    pub fn fit(
        &mut self,
        pool: &Pool,
        x: &[f32],
        goals: Goals<'_>,
        regression: Regression,
        lr: f64,
    ) -> Result<Metrics, UpdateError> {
        let mut metrics = Metrics::new();
        let total = goals.total();
        if total <= 0.0 {
            return Ok(metrics);
        }
        let loss = ValueLoss { goals, actions: self.actions, scale: (1.0 / total) as f32, regression };
        let mut stats = [0.0; 2];
        let batch = Batch { x, rows: x.len() / self.net.input_len(), sequence: None };
        self.net.loss_grad(&self.engine, pool, batch, &loss, &mut self.grad, &mut stats, &mut self.work);
        Crossing::of(&self.net, self.stream, self.actions).clear(&mut self.grad);
        let report = self.net.step(&mut self.adam, &self.name, &self.grad, lr)?;
        metrics.add("td", stats[0] / total);
        metrics.add("q", stats[1] / total);
        metrics.add("grad_norm", report.grad_norm);
        metrics.add("skipped_steps", f64::from(u8::from(!report.applied)));
        Ok(metrics)
    }

    /// `target <- target + step (online - target)`.
    pub fn move_target(&mut self, step: f32) {
        follow(&mut self.target, &self.net, step);
    }

    /// Writes weights, target and optimiser.
    pub fn save(&self, w: &mut StateWriter) {
        w.put_f32("params", self.net.params());
        w.put_f32("target", self.target.params());
        self.adam.save(&mut w.scope("adam"));
    }

    /// Reads weights, target and optimiser.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        load_params(&mut self.net, r, "params")?;
        load_params(&mut self.target, r, "target")?;
        self.adam.load(&r.scope("adam"))
    }
}

fn mean(xs: &[f32]) -> f32 {
    xs.iter().sum::<f32>() / xs.len().max(1) as f32
}

/// The weights from one stream to the other's outputs.
struct Crossing {
    at: usize,
    stream: usize,
    actions: usize,
}

impl Crossing {
    fn of(net: &Net, stream: usize, actions: usize) -> Self {
        let at = net.entry("output.weight").map_or(net.params().len(), |e| e.offset);
        Self { at, stream, actions }
    }

    fn clear(&self, params: &mut [f32]) {
        for (unit, row) in params[self.at..].chunks_exact_mut(1 + self.actions).take(2 * self.stream).enumerate() {
            if unit < self.stream { row[1..].fill(0.0) } else { row[0] = 0.0 }
        }
    }
}

/// Statistics: `sum w l`, `sum w Q`. With `e_j` the slope at action j, the value stream's output gets `sum e` and the advantages
/// `e_j - mean e`, since each of them enters every value through the mean.
struct ValueLoss<'a> {
    goals: Goals<'a>,
    actions: usize,
    scale: f32,
    regression: Regression,
}

impl RowLoss for ValueLoss<'_> {
    fn stats_len(&self) -> usize {
        2
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        let width = 1 + self.actions;
        for (k, (row, d)) in out.chunks_exact(width).zip(d_out.chunks_exact_mut(width)).enumerate() {
            d.fill(0.0);
            let base = row[0] - mean(&row[1..]);
            let mut learn = |j: usize, goal: f32, weight: f32| {
                if weight == 0.0 {
                    return;
                }
                let q = base + row[1 + j];
                let (value, slope) = self.regression.term(q - goal);
                let slope = self.scale * weight * slope;
                d[0] += slope;
                d[1 + j] += slope;
                stats[0] += f64::from(weight * value);
                stats[1] += f64::from(weight * q);
            };
            match self.goals {
                Goals::One(goals) => {
                    let Goal { pick, goal, weight } = goals[start + k];
                    learn(pick, goal, weight);
                }
                Goals::All { goal, weight } => {
                    let at = (start + k) * self.actions;
                    (0..self.actions).for_each(|j| learn(j, goal[at + j], weight[at + j]));
                }
            }
            let share = d[0] / self.actions as f32;
            d[1..].iter_mut().for_each(|d| *d -= share);
        }
    }
}

#[cfg(test)]
mod tests {
    use motley_core::{ObsSpace, Purpose, Settings};
    use motley_kernels::Activation;

    use super::*;
    use crate::dist::argmax;
    use crate::init::Init;

    fn dueling() -> Dueling {
        let spec = NetSpec {
            obs: ObsSpace::vector(4),
            extra: 0,
            hidden_sizes: vec![8],
            activation: Activation::Tanh,
            last_activation: None,
            feature_norm: false,
            layer_norm: false,
            recurrent: false,
            output: 0,
            output_gain: 1.0,
            init: Init::Uniform,
            free: Vec::new(),
        };
        let adam = AdamConfig::read(&Settings::new(AdamConfig::keys())).unwrap();
        Dueling::new("test".into(), spec, 6, 3, adam, Engine::Fused, &Stream::new(3, Purpose::Init, 0, 0))
    }

    /// Values from the streams written out: the value stream sees nothing of the advantages' units, and the other way round.
    #[test]
    fn streams_are_apart_and_stay_apart() {
        let (mut dueling, pool) = (dueling(), Pool::serial());
        let mut rng = Stream::new(4, Purpose::Check, 0, 0);
        for round in 0..30 {
            let x: Vec<f32> = (0..20).map(|_| rng.normal() as f32).collect();
            let params = dueling.net.params();
            let at = |name: &str| &params[dueling.net.entry(name).unwrap().range()];
            let layer = |x: &[f32], w: &[f32], b: &[f32]| -> Vec<f32> {
                (0..b.len()).map(|j| b[j] + x.iter().enumerate().map(|(i, x)| x * w[i * b.len() + j]).sum::<f32>()).collect()
            };
            let values = dueling.values(&pool, &x, 5, false);
            let acting = dueling.acting();
            for (row, found) in x.chunks(4).zip(values.chunks(3)) {
                let tanh = |v: Vec<f32>| v.into_iter().map(f32::tanh).collect::<Vec<_>>();
                let h = tanh(layer(row, at("hidden.0.weight"), at("hidden.0.bias")));
                let h = tanh(layer(&h, at("hidden.1.weight"), at("hidden.1.bias")));
                let (w, b) = (at("output.weight"), at("output.bias"));
                let value = b[0] + (0..6).map(|i| h[i] * w[4 * i]).sum::<f32>();
                let advantage: Vec<f32> = (1..4).map(|j| b[j] + (6..12).map(|i| h[i] * w[4 * i + j]).sum::<f32>()).collect();
                for j in 0..3 {
                    let q = value + advantage[j] - advantage.iter().sum::<f32>() / 3.0;
                    assert!((q - found[j]).abs() < 1e-5, "round {round}: {q} {}", found[j]);
                }
                let mut out = [0.0; 3];
                acting.forward(row, 1, &mut [], &mut out, &mut Default::default());
                assert_eq!(argmax(&out, &[true; 3]), argmax(found, &[true; 3]));
            }
            let goals: Vec<Goal> = (0..5).map(|k| Goal { pick: k % 3, goal: 2.0, weight: f32::from(k as u8 % 2) }).collect();
            dueling.fit(&pool, &x, Goals::One(&goals), Regression::Squared, 0.01).unwrap();
        }
    }

    /// The step's direction against central differences of the loss: for one action a row, and for several.
    #[test]
    fn the_regression_climbs_its_own_gradient() {
        let (mut dueling, pool) = (dueling(), Pool::serial());
        let x: Vec<f32> = (0..8).map(|k| (k as f32 * 0.7).sin()).collect();
        let one = [Goal { pick: 2, goal: 1.5, weight: 1.0 }, Goal { pick: 0, goal: -0.5, weight: 3.0 }];
        let (sparse, sparse_weight) = ([0.0, 0.0, 1.5, -0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0, 0.0, 0.0]);
        let (full, full_weight) = ([1.0, -2.0, 0.5, 3.0, 0.1, 9.0], [1.0, 1.0, 0.5, 2.0, 1.0, 0.0]);
        let cases = [
            (Goals::One(&one), sparse, sparse_weight),
            (Goals::All { goal: &sparse, weight: &sparse_weight }, sparse, sparse_weight),
            (Goals::All { goal: &full, weight: &full_weight }, full, full_weight),
        ];
        let held = dueling.net.params().to_vec();
        let crossing = Crossing::of(&dueling.net, 6, 3);
        let mut free = vec![1.0; held.len()];
        crossing.clear(&mut free);
        for (goals, goal, weight) in cases {
            let value = |d: &Dueling| {
                let error = |(q, (g, w)): (&f32, (&f32, &f32))| f64::from(w * (q - g).powi(2) / 2.0);
                let q = d.values(&pool, &x, 2, false);
                q.iter().zip(goal.iter().zip(&weight)).map(error).sum::<f64>() / f64::from(weight.iter().sum::<f32>())
            };
            dueling.net.set_params(|p| p.copy_from_slice(&held));
            dueling.fit(&pool, &x, goals, Regression::Squared, 0.0).unwrap();
            let grad = dueling.grad.clone();
            for k in (0..held.len()).step_by(3) {
                let mut at = |h: f32| {
                    dueling.net.set_params(|p| {
                        p.copy_from_slice(&held);
                        p[k] += h;
                    });
                    value(&dueling)
                };
                let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
                if free[k] == 1.0 {
                    assert!((numeric - f64::from(grad[k])).abs() < 2e-3 * (1.0 + numeric.abs()), "{k}: {numeric} {}", grad[k]);
                } else {
                    assert_eq!(grad[k], 0.0);
                }
            }
        }
    }
}

//! Critics with a value for each of an agent's discrete actions, `Q(x, .)`, and a target network.

use motley_core::{Kind, Metrics, ObsSpace, Stream, settings};
use motley_kernels::{Pool, RowLoss};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::net::{Batch, Engine, Net, NetSpec};
use crate::optim::{Adam, AdamConfig, UpdateError};
use crate::passes::NetWork;
use crate::target::Target;
use crate::value_norm::ValueNorm;
use crate::weights::load_params;

settings! {
    /// Settings of a [`ChoiceCritic`].
    pub struct ChoiceCriticConfig in "algo" {
        /// Learning rate of the critics.
        critic_lr: f64 = 5e-4, Kind::Float(0.0, 1.0);
        /// Passes of the critics over each rollout.
        critic_epochs: usize = 1, Kind::Int(1, 1000);
        /// Target network: below 1 the soft step per update, from 1 on a copy every that many updates.
        target_update: f64 = 0.1, Kind::Float(1e-6, 1e9);
        /// `running` normalises targets, `none` leaves returns as they are.
        value_norm: String = "running", Kind::Choice(&["running", "none"]);
        /// Whether an agent's values end at its death where agents are paid apart. A team that is paid together is paid for what the
        /// dead did, so there values follow them in any case.
        mask_dead: bool = true, Kind::Bool;
        /// Whether critics read the agent's own observation beside the state.
        critic_obs: bool = false, Kind::Bool;
    }
}

/// `Q(x, .)` as one feed-forward network with an output per action.
#[derive(Debug)]
pub struct ChoiceCritic {
    name: String,
    net: Net,
    target: Target,
    norm: ValueNorm,
    adam: Adam,
    config: ChoiceCriticConfig,
    grad: Vec<f32>,
    work: NetWork,
    engine: Engine,
}

/// Rows to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'a> {
    /// `[rows, input]`
    pub x: &'a [f32],
    /// The action taken, `[rows]`.
    pub actions: &'a [usize],
    /// What it was worth, `[rows]`.
    pub targets: &'a [f32],
    /// Which rows count, `[rows]`.
    pub counts: &'a [bool],
}

impl ChoiceCritic {
    /// A critic of `actions` values over `input` numbers, named `name` in messages. Of `spec` the hidden layers are taken.
    #[allow(clippy::too_many_arguments, reason = "called in one place, which has all of them by name")]
    pub fn new(
        name: String,
        input: usize,
        actions: usize,
        spec: NetSpec,
        config: ChoiceCriticConfig,
        adam: AdamConfig,
        engine: Engine,
        rng: &Stream,
    ) -> Self {
        let plain = NetSpec {
            obs: ObsSpace::vector(input),
            extra: 0,
            recurrent: false,
            output: actions,
            output_gain: 1.0,
            free: Vec::new(),
            ..spec
        };
        let net = Net::new(plain, rng);
        Self {
            name,
            target: Target::new(net.clone(), config.target_update),
            norm: ValueNorm::new(false),
            adam: Adam::new(net.params().len(), adam),
            config,
            grad: vec![0.0; net.params().len()],
            work: NetWork::default(),
            engine,
            net,
        }
    }

    /// Its network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Values of every action, `[rows, actions]`, in the units of the rewards.
    pub fn values(&self, pool: &Pool, x: &[f32]) -> Vec<f32> {
        self.run(&self.net, pool, x)
    }

    /// The same by the target network.
    pub fn target_values(&self, pool: &Pool, x: &[f32]) -> Vec<f32> {
        self.run(self.target.net(), pool, x)
    }

    fn run(&self, net: &Net, pool: &Pool, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / net.input_len();
        let mut out = vec![0.0; rows * net.output_len()];
        net.forward_all(pool, x, rows, &mut out);
        if self.config.value_norm != "none" {
            let (mean, std) = self.norm.moments();
            out.iter_mut().for_each(|v| *v = (f64::from(*v) * std + mean) as f32);
        }
        out
    }

    /// Fits the values of the actions taken to their targets, `sum counts (Q(x, a) - G)^2 / (2 sum counts)`, in one or more passes;
    /// then the target network follows. Rows that do not count may hold anything finite. Without a row that counts nothing changes.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn fit(&mut self, pool: &Pool, taken: Taken<'_>, lr: f64) -> Result<Metrics, UpdateError> {
        let mut metrics = Metrics::new();
        let kept: Vec<f32> = taken.targets.iter().zip(taken.counts).filter(|(_, c)| **c).map(|(t, _)| *t).collect();
        if kept.is_empty() {
            return Ok(metrics);
        }
        let normalise = self.config.value_norm != "none";
        if normalise {
            self.norm.update(&kept);
        }
        let goal: Vec<f32> = taken.targets.iter().map(|t| if normalise { self.norm.normalize(*t) } else { *t }).collect();
        let loss = TakenLoss { taken, goal: &goal, width: self.net.output_len(), scale: 1.0 / kept.len() as f32 };
        for _ in 0..self.config.critic_epochs {
            let mut stats = [0.0; 1];
            let batch = Batch { x: taken.x, rows: goal.len(), sequence: None };
            self.net.loss_grad(&self.engine, pool, batch, &loss, &mut self.grad, &mut stats, &mut self.work);
            let report = self.net.step(&mut self.adam, &self.name, &self.grad, lr)?;
            metrics.add("value", stats[0] / kept.len() as f64);
            metrics.add("grad_norm", report.grad_norm);
            metrics.add("skipped_steps", f64::from(u8::from(!report.applied)));
        }
        self.target.follow(&self.net);
        Ok(metrics)
    }

    /// Writes weights, target, statistics and optimiser.
    pub fn save(&self, w: &mut StateWriter) {
        w.put_f32("params", self.net.params());
        self.target.save(w);
        self.norm.save(w);
        self.adam.save(&mut w.scope("adam"));
    }

    /// Reads weights, target, statistics and optimiser.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        load_params(&mut self.net, r, "params")?;
        self.target.load(r)?;
        self.norm.load(r)?;
        self.adam.load(&r.scope("adam"))
    }
}

struct TakenLoss<'a> {
    taken: Taken<'a>,
    goal: &'a [f32],
    width: usize,
    scale: f32,
}

impl RowLoss for TakenLoss<'_> {
    fn stats_len(&self) -> usize {
        1
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        d_out.fill(0.0);
        for (k, (out, d_out)) in out.chunks_exact(self.width).zip(d_out.chunks_exact_mut(self.width)).enumerate() {
            let r = start + k;
            if self.taken.counts[r] {
                let action = self.taken.actions[r];
                let error = out[action] - self.goal[r];
                d_out[action] = self.scale * error;
                stats[0] += f64::from(0.5 * error * error);
            }
        }
    }
}

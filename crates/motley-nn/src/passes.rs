//! Training passes of a network: a row loss in one go, or forward and backward apart for losses that tie networks together.

use motley_kernels::mlp::{backward, gauss_newton, jvp, loss_grad};
use motley_kernels::{ConvScratch, GruTape, Mlp, Pool, RowLoss, Workspace};

use crate::burn_net;
use crate::graph::GraphKept;
use crate::net::{Batch, Engine, Memory, Net, Stages};

/// Reusable memory for gradient steps.
#[derive(Debug, Default)]
pub struct NetWork {
    mlp: Workspace,
    conv: ConvScratch,
    kept: Kept,
    /// Outputs and their gradient, of a loss that is not fused with the network.
    out: Vec<f32>,
    d_out: Vec<f32>,
}

/// What a forward pass keeps for the backward pass that follows it.
#[derive(Debug, Default)]
struct Kept {
    pixels: Vec<f32>,
    maps: Vec<f32>,
    graph: GraphKept,
    /// What the trunk reads behind a convolution or messages.
    features: Vec<f32>,
    /// What the GRU reads.
    trunk: Vec<f32>,
    /// Gradient by `features`, and by `maps`.
    d_features: Vec<f32>,
    d_maps: Vec<f32>,
    /// Empty memory, for rows that hang together with nothing before them.
    nothing: Vec<f32>,
    /// 0 where a sequence starts anew, else 1.
    keep: Vec<f32>,
    /// What the head reads behind a GRU.
    state: Vec<f32>,
    d_state: Vec<f32>,
    d_trunk: Vec<f32>,
    gru: GruTape,
}

impl NetWork {
    /// What the head read in the last [`Net::forward_batch`] of a recurrent network, `[rows, memory_len]`; empty for others.
    pub fn states(&self) -> &[f32] {
        &self.kept.state
    }
}

impl Net {
    /// Gradient of a row loss with respect to all parameters (free ones excluded: their part is the loss's own business and is
    /// left 0). `stats` accumulates what the loss reports.
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one call")]
    pub fn loss_grad(
        &self,
        engine: &Engine,
        pool: &Pool,
        batch: Batch<'_>,
        loss: &dyn RowLoss,
        grad: &mut [f32],
        stats: &mut [f64],
        work: &mut NetWork,
    ) {
        let network = self.params().len() - self.spec().free.len();
        grad[network..].fill(0.0);
        match engine {
            Engine::Burn(device) => burn_net::loss_grad(self, device, batch, loss, &mut grad[..network], stats),
            Engine::Fused if self.is_plain() => {
                loss_grad(pool, &self.stages().trunk, batch.x, batch.rows, loss, &mut grad[..network], stats, &mut work.mlp);
            }
            Engine::Fused => {
                let (mut out, mut d_out) = (std::mem::take(&mut work.out), std::mem::take(&mut work.d_out));
                out.resize(batch.rows * self.output_len(), 0.0);
                self.forward_batch(pool, batch, &mut out, work);
                d_out.resize(out.len(), 0.0);
                apply_loss(loss, &out, self.output_len(), &mut d_out, stats);
                self.backward_fused(pool, batch, &d_out, None, &mut grad[..network], work);
                (work.out, work.d_out) = (out, d_out);
            }
        }
    }

    /// Outputs of a batch, `[rows, output]`, on the CPU; `work` keeps what [`Net::backward_batch`] needs.
    pub fn forward_batch(&self, pool: &Pool, batch: Batch<'_>, out: &mut [f32], work: &mut NetWork) {
        self.run_batch(pool, batch, out, work, true);
    }

    /// The same outputs of a network that learns nothing from them, a target's: `work` keeps [`NetWork::states`] alone, and a GRU's steps
    /// share the memory of one.
    pub fn values_batch(&self, pool: &Pool, batch: Batch<'_>, out: &mut [f32], work: &mut NetWork) {
        self.run_batch(pool, batch, out, work, false);
    }

    fn run_batch(&self, pool: &Pool, batch: Batch<'_>, out: &mut [f32], work: &mut NetWork, keep: bool) {
        let Stages { conv, graph, trunk, memory, .. } = self.stages();
        let NetWork { conv: scratch, kept, .. } = work;
        kept.state.clear();
        if self.is_plain() {
            return trunk.forward_pool(pool, batch.x, batch.rows, out);
        }
        let x = if conv.is_some() {
            self.convolve(batch.x, batch.rows, &mut kept.pixels, &mut kept.maps, &mut kept.features, scratch);
            &kept.features
        } else if let Some((stage, _)) = graph {
            stage.forward(Some(pool), batch.x, self.input_len(), &mut kept.features, &mut kept.graph, &mut Default::default());
            &kept.features
        } else {
            batch.x
        };
        match memory {
            None => trunk.forward_pool(pool, x, batch.rows, out),
            Some(stage) => {
                kept.trunk.resize(batch.rows * trunk.shape().out_width(), 0.0);
                trunk.forward_pool(pool, x, batch.rows, &mut kept.trunk);
                stage.forward(pool, &batch, out, kept, keep);
            }
        }
    }

    /// Gradient by all parameters (overwritten; free ones 0) of the batch that `work` has just seen in [`Net::forward_batch`], from
    /// that by the outputs, and, for recurrent networks, that by what the head read ([`NetWork::states`]).
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one call")]
    pub fn backward_batch(
        &self,
        engine: &Engine,
        pool: &Pool,
        batch: Batch<'_>,
        d_out: &[f32],
        d_states: Option<&[f32]>,
        grad: &mut [f32],
        work: &mut NetWork,
    ) {
        let network = self.params().len() - self.spec().free.len();
        grad[network..].fill(0.0);
        let grad = &mut grad[..network];
        match engine {
            Engine::Burn(device) => burn_net::pull_back(self, device, batch, d_out, d_states, grad),
            Engine::Fused => self.backward_fused(pool, batch, d_out, d_states, grad, work),
        }
    }

    /// `J^T M J v` over all parameters (free ones excluded: their part is left 0) in one pass, `curvature` being given rows of `J v` and
    /// writing those of `M J v`. Whether it was done: only for plain networks on the fused kernels.
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one call")]
    pub fn gauss_newton(
        &self,
        engine: &Engine,
        pool: &Pool,
        v: &[f32],
        batch: Batch<'_>,
        curvature: &dyn RowLoss,
        grad: &mut [f32],
        work: &mut NetWork,
    ) -> bool {
        if *engine != Engine::Fused || !self.is_plain() {
            return false;
        }
        let (network, free) = grad.split_at_mut(v.len());
        free.fill(0.0);
        gauss_newton(pool, &self.stages().trunk, v, batch.x, batch.rows, curvature, network, &mut work.mlp);
        true
    }

    /// Forward-mode product `J v` of a batch's outputs, `[rows, output]`, by the parameters; `None` for networks with a convolution or
    /// messages. `v` has one entry per network parameter (free ones excluded). The memory that sequences start with does not
    /// move: they are cut off there, as in [`Net::loss_grad`].
    pub fn jvp(&self, pool: &Pool, v: &[f32], batch: Batch<'_>, work: &mut NetWork) -> Option<Vec<f32>> {
        let Stages { conv: None, graph: None, trunk, trunk_at, memory } = self.stages() else { return None };
        let mut out = vec![0.0; batch.rows * self.output_len()];
        let of_trunk = &v[*trunk_at..*trunk_at + trunk.shape().param_len()];
        let Some(stage) = memory else {
            jvp(pool, trunk, of_trunk, batch.x, batch.rows, &mut out);
            return Some(out);
        };
        self.forward_batch(pool, batch, &mut out, work);
        let mut moved = vec![0.0; work.kept.trunk.len()];
        jvp(pool, trunk, of_trunk, batch.x, batch.rows, &mut moved);
        stage.jvp(pool, v, (&self.params()[stage.head_at..], &moved), batch.rows, &mut out, &mut work.kept);
        Some(out)
    }

    fn backward_fused(
        &self,
        pool: &Pool,
        batch: Batch<'_>,
        d_out: &[f32],
        d_states: Option<&[f32]>,
        grad: &mut [f32],
        work: &mut NetWork,
    ) {
        let Stages { conv, graph, trunk, trunk_at, memory } = self.stages();
        let NetWork { mlp, conv: scratch, kept, .. } = work;
        if let Some(stage) = memory {
            stage.backward(pool, batch.rows, d_out, d_states, grad, kept, mlp);
        }
        let Kept { pixels, graph: messages, features, d_features, d_maps, d_trunk, .. } = kept;
        let d_trunk = if memory.is_some() { &d_trunk[..] } else { d_out };
        let behind = conv.is_some() || graph.is_some();
        let x = if behind { &features[..] } else { batch.x };
        if behind {
            d_features.resize(x.len(), 0.0);
        }
        let part = &mut grad[*trunk_at..*trunk_at + trunk.shape().param_len()];
        backward(pool, trunk, x, batch.rows, d_trunk, part, behind.then_some(&mut d_features[..]), mlp);
        if let Some((stage, at)) = graph {
            let part = &mut grad[*at..*at + stage.phi.shape().param_len()];
            stage.backward(pool, d_features, trunk.shape().input, part, messages, mlp);
        }
        if let Some((conv, at)) = conv {
            let (flat, width) = (conv.shape().out_len(), conv.shape().out_len() + self.spec().extra);
            d_maps.clear();
            d_features.chunks_exact(width).for_each(|row| d_maps.extend_from_slice(&row[..flat]));
            let part = &mut grad[*at..*at + conv.shape().param_len()];
            conv.backward(pool, pixels, batch.rows, d_maps, part, scratch);
        }
    }
}

impl Memory {
    /// Through GRU and head, from `kept.trunk`; `keep`: for a backward pass.
    fn forward(&self, pool: &Pool, batch: &Batch<'_>, out: &mut [f32], kept: &mut Kept, keep: bool) {
        let width = self.gru.shape().hidden;
        let one_step = [batch.rows];
        let active = batch.sequence.map_or(&one_step[..], |s| s.active);
        kept.keep.clear();
        match batch.sequence {
            Some(s) => kept.keep.extend(s.first.iter().map(|f| f32::from(u8::from(!f)))),
            None => {
                kept.keep.resize(batch.rows, 1.0);
                kept.nothing.resize(batch.rows * width, 0.0);
            }
        }
        kept.state.resize(batch.rows * width, 0.0);
        let Kept { trunk, keep: mask, state, gru, nothing, .. } = kept;
        let start = batch.sequence.map_or(&nothing[..], |s| s.memory);
        if keep {
            self.gru.forward_seq(pool, trunk, start, mask, active, state, None, gru);
        } else {
            self.gru.values_seq(pool, trunk, start, mask, active, state, gru);
        }
        self.head.forward_pool(pool, state, batch.rows, out);
    }

    /// Tangents of the outputs of the last forward pass, into `out`, along the network's `v` and the tangent `moved` of the trunk's
    /// output; `weights` are the head's parameters. The head is linear: what it reads moves through its weights alone.
    fn jvp(&self, pool: &Pool, v: &[f32], (weights, moved): (&[f32], &[f32]), rows: usize, out: &mut [f32], kept: &mut Kept) {
        let Kept { keep, state, d_state, gru, .. } = kept;
        d_state.resize(state.len(), 0.0);
        let of_gru = &v[self.gru_at..self.gru_at + self.gru.shape().param_len()];
        self.gru.jvp_seq(pool, of_gru, moved, keep, d_state, gru);
        let shape = self.head.shape();
        let mut weights = weights[..shape.param_len()].to_vec();
        weights[shape.input * shape.output..].fill(0.0);
        let mut linear = Mlp::new(shape.clone());
        linear.pack(&weights);
        linear.forward_pool(pool, d_state, rows, out);
        let mut by_weights = vec![0.0; out.len()];
        let of_head = &v[self.head_at..self.head_at + shape.param_len()];
        jvp(pool, &self.head, of_head, state, rows, &mut by_weights);
        out.iter_mut().zip(by_weights).for_each(|(o, w)| *o += w);
    }

    /// Back to the trunk's output, into `kept.d_trunk`.
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one call")]
    fn backward(
        &self,
        pool: &Pool,
        rows: usize,
        d_out: &[f32],
        d_states: Option<&[f32]>,
        grad: &mut [f32],
        kept: &mut Kept,
        mlp: &mut Workspace,
    ) {
        let Kept { trunk, keep, state, d_state, d_trunk, gru, .. } = kept;
        d_state.resize(state.len(), 0.0);
        let head = self.head_at..self.head_at + self.head.shape().param_len();
        backward(pool, &self.head, state, rows, d_out, &mut grad[head], Some(d_state), mlp);
        if let Some(more) = d_states {
            d_state.iter_mut().zip(more).for_each(|(d, m)| *d += m);
        }
        d_trunk.resize(trunk.len(), 0.0);
        let part = self.gru_at..self.gru_at + self.gru.shape().param_len();
        self.gru.backward_seq(pool, d_state, keep, &mut grad[part], Some(d_trunk), None, gru);
    }
}

/// Runs a row loss over a whole output, block by block.
pub(crate) fn apply_loss(loss: &dyn RowLoss, out: &[f32], width: usize, d_out: &mut [f32], stats: &mut [f64]) {
    const BLOCK: usize = 256;
    for (k, (out, d_out)) in out.chunks(BLOCK * width).zip(d_out.chunks_mut(BLOCK * width)).enumerate() {
        loss.rows(k * BLOCK, out, d_out, stats);
    }
}

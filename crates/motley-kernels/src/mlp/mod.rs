//! Multi-layer perceptrons: packed weights, forward, fused forward-loss-backward, forward-mode products.
//!
//! The affine part of every LayerNorm is folded into the linear layer behind it when the weights are packed (`W' = diag(gamma) W`,
//! `b' = b + beta W`), and its gradient is unfolded from that of `W'` and `b'` once a step, so no pass over activations
//! touches gamma or beta.

pub(crate) mod block;
mod grad;
mod jvp;
mod shape;
#[cfg(test)]
mod tests;

pub use grad::{RowLoss, Workspace, backward, gauss_newton, input_grad, loss_grad, loss_input_grad};
pub(crate) use grad::{cut, unfold};
pub use jvp::jvp;
pub(crate) use shape::lay_out;
pub use shape::{Activation, Entry, MlpShape};

use crate::buffer::Buf;
use crate::gemm::{Packed, padded, stride};
use crate::pool::Pool;
use crate::simd::{Isa, Lanes, Task, dispatch};
use block::{Tape, forward_block};
use std::cell::RefCell;

/// Rows that go through the whole network together, hot in the second-level cache.
pub(crate) const BLOCK: usize = 96;

/// Offsets of a LayerNorm's gamma and beta in the flat parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine {
    pub gamma: usize,
    pub beta: usize,
}

/// One linear layer with what follows it.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub k: usize,
    pub n: usize,
    /// Row stride of this layer's activation buffers.
    pub ld: usize,
    pub activation: Activation,
    /// LayerNorm after the activation.
    pub norm: bool,
    /// The LayerNorm in front, folded into the weights.
    pub before: Option<Affine>,
    pub weight: usize,
    pub bias: usize,
    pub w: Packed,
    pub wt: Packed,
    pub b: Buf,
    /// Accumulate the weight gradient as `[out, in]`: fewer vectors for narrow outputs.
    pub flip: bool,
    /// Where the sums of the weight and bias gradients lie in an accumulator, and the row stride of the former.
    pub acc_w: usize,
    pub acc_ld: usize,
    pub acc_b: usize,
}

/// A network with its weights packed for the kernels.
#[derive(Clone, Debug)]
pub struct Mlp {
    shape: MlpShape,
    isa: Isa,
    layers: Vec<Layer>,
    /// LayerNorm at the very end (networks without an output layer).
    tail: Option<Affine>,
    out_width: usize,
    /// Where the tail's gamma and beta sums lie in an accumulator, and its length.
    acc_tail: usize,
    acc_len: usize,
    params: Vec<f32>,
}

/// Working memory of [`Mlp::forward`]; grows with the largest network that used it.
#[derive(Clone, Debug, Default)]
pub struct Scratch(Tape);

impl Mlp {
    /// A network with all parameters zero.
    pub fn new(shape: MlpShape) -> Self {
        Self::with_isa(shape, Isa::current())
    }

    /// The same on a given instruction set (one that is missing falls back to the baseline): results are equal.
    pub fn with_isa(shape: MlpShape, isa: Isa) -> Self {
        let mut at = 0;
        let mut take = |len: usize| {
            at += len;
            at - len
        };
        let mut before = shape.input_norm.then(|| Affine { gamma: take(shape.input), beta: take(shape.input) });
        let (mut layers, mut acc_len, mut k) = (Vec::new(), 0, shape.input);
        let output = (shape.output > 0).then_some((shape.output, shape.output_activation, false));
        let hidden = shape.hidden.iter().enumerate().map(|(i, &n)| (n, shape.activation_after(i), shape.hidden_norm));
        for (n, activation, norm) in hidden.chain(output) {
            let flip = n * padded(k) < k * padded(n);
            let (acc_rows, acc_ld) = if flip { (n, padded(k)) } else { (k, padded(n)) };
            let (weight, bias) = (take(k * n), take(n));
            let (acc_w, acc_b) = (acc_len, acc_len + acc_rows * acc_ld);
            acc_len = acc_b + padded(n);
            let (mut w, mut wt, mut b) = (Packed::default(), Packed::default(), Buf::default());
            w.resize(k, n);
            wt.resize(n, k);
            b.reset(padded(n));
            let ld = stride(n);
            layers.push(Layer { k, n, ld, activation, norm, before, weight, bias, w, wt, b, flip, acc_w, acc_ld, acc_b });
            before = norm.then(|| Affine { gamma: take(n), beta: take(n) });
            k = n;
        }
        let (tail, acc_tail) = (before, acc_len);
        if tail.is_some() {
            acc_len += 2 * padded(k);
        }
        let params = vec![0.0; shape.param_len()];
        Self { out_width: shape.out_width(), shape, isa, layers, tail, acc_tail, acc_len, params }
    }

    /// The shape it was built from.
    pub fn shape(&self) -> &MlpShape {
        &self.shape
    }

    /// Takes new parameters, laid out as [`MlpShape::entries`] says.
    ///
    /// # Panics
    /// When `params` has another length than [`MlpShape::param_len`].
    pub fn pack(&mut self, params: &[f32]) {
        assert_eq!(params.len(), self.params.len(), "flat parameters of another network");
        self.params.copy_from_slice(params);
        let mut row = Vec::new();
        for layer in &mut self.layers {
            let weight = &params[layer.weight..][..layer.k * layer.n];
            layer.b[..layer.n].copy_from_slice(&params[layer.bias..][..layer.n]);
            for (p, from) in weight.chunks_exact(layer.n.max(1)).enumerate() {
                let Some(affine) = layer.before else {
                    layer.w.set_row(p, from);
                    continue;
                };
                let (gamma, beta) = (params[affine.gamma + p], params[affine.beta + p]);
                row.clear();
                row.extend(from.iter().map(|w| gamma * w));
                layer.w.set_row(p, &row);
                for (b, w) in layer.b.iter_mut().zip(from) {
                    *b += beta * w;
                }
            }
            layer.wt.set_transpose(&layer.w);
        }
    }

    /// `out[rows, out_width] = network(x[rows, input])`. Allocates nothing once the scratch has grown.
    ///
    /// # Panics
    /// When a slice has not the length its shape says.
    pub fn forward(&self, x: &[f32], rows: usize, out: &mut [f32], scratch: &mut Scratch) {
        self.check(x, rows);
        assert_eq!(out.len(), rows * self.out_width, "output slice");
        scratch.0.fit::<false>(self, rows.min(BLOCK));
        dispatch(self.isa, Forward { mlp: self, x, rows, out, tape: &mut scratch.0 });
    }

    /// [`Mlp::forward`] for large batches, rows shared among the threads of `pool`. The bits are the same.
    ///
    /// # Panics
    /// As [`Mlp::forward`].
    pub fn forward_pool(&self, pool: &Pool, x: &[f32], rows: usize, out: &mut [f32]) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        self.check(x, rows);
        assert_eq!(out.len(), rows * self.out_width, "output slice");
        let part = rows.div_ceil(pool.threads().max(1)).next_multiple_of(12).max(48);
        let mut parts: Vec<(usize, &mut [f32])> =
            out.chunks_mut(part * self.out_width.max(1)).enumerate().map(|(i, out)| (i * part, out)).collect();
        pool.run(&mut parts, |_, (start, out)| {
            let rows = part.min(rows - *start);
            let x = &x[*start * self.shape.input..][..rows * self.shape.input];
            SCRATCH.with_borrow_mut(|scratch| self.forward(x, rows, out, scratch));
        });
    }

    fn check(&self, x: &[f32], rows: usize) {
        assert_eq!(x.len(), rows * self.shape.input, "input slice: {rows} rows of {}", self.shape.input);
    }

    /// Stages behind the input.
    pub(crate) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Length of an accumulator of its gradients.
    pub(crate) fn sums_len(&self) -> usize {
        self.acc_len
    }

    fn affine(&self, affine: Affine, width: usize) -> (&[f32], &[f32]) {
        (&self.params[affine.gamma..][..width], &self.params[affine.beta..][..width])
    }
}

struct Forward<'a> {
    mlp: &'a Mlp,
    x: &'a [f32],
    rows: usize,
    out: &'a mut [f32],
    tape: &'a mut Tape,
}

impl Task for Forward<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (input, output) = (self.mlp.shape.input, self.mlp.out_width);
        let mut start = 0;
        while start < self.rows {
            let rows = BLOCK.min(self.rows - start);
            let out = &mut self.out[start * output..][..rows * output];
            forward_block::<L, false>(l, self.mlp, &self.x[start * input..][..rows * input], rows, self.tape);
            self.tape.write_out::<false>(self.mlp, rows, out);
            start += rows;
        }
    }
}

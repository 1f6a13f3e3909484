//! Gated recurrent units (Cho et al. 2014, in the form of cuDNN and PyTorch) with an optional LayerNorm on their output:
//!
//! `r = s(W_ir x + b_ir + W_hr h + b_hr)`, `z = s(W_iz x + b_iz + W_hz h + b_hz)`,
//! `n = tanh(W_in x + b_in + r * (W_hn h + b_hn))`, `h' = (1 - z) n + z h`, `y = LayerNorm(h')` or `h'`.

mod cell;
mod jvp;
mod seq;
#[cfg(test)]
mod tests;

pub use seq::GruTape;

use crate::buffer::Buf;
use crate::gemm::{Init, Packed, padded, product, stride};
use crate::mlp::{Entry, lay_out};
use crate::simd::{Isa, Lanes, Task, dispatch};
use cell::{Norm, forward_rows};

/// Rows of a block in [`Gru::step`].
const BLOCK: usize = 48;

/// Widths of a gated recurrent unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GruShape {
    /// Input width.
    pub input: usize,
    /// Width of the state and of the output.
    pub hidden: usize,
    /// LayerNorm (affine, epsilon 1e-5) on the output; the state stays as it is.
    pub output_norm: bool,
}

impl GruShape {
    /// The flat layout: `weight_ih` `[input, 3 hidden]`, `weight_hh` `[hidden, 3 hidden]`, `bias_ih`, `bias_hh`
    /// `[3 hidden]` (gates in the order r, z, n), then `norm.gamma` and `norm.beta` where there is a LayerNorm.
    pub fn entries(&self) -> Vec<Entry> {
        let gates = 3 * self.hidden;
        let mut tensors = vec![
            ("weight_ih".to_string(), vec![self.input, gates]),
            ("weight_hh".to_string(), vec![self.hidden, gates]),
            ("bias_ih".to_string(), vec![gates]),
            ("bias_hh".to_string(), vec![gates]),
        ];
        if self.output_norm {
            tensors.push(("norm.gamma".to_string(), vec![self.hidden]));
            tensors.push(("norm.beta".to_string(), vec![self.hidden]));
        }
        lay_out(tensors)
    }

    /// Length of the flat parameter vector.
    pub fn param_len(&self) -> usize {
        let norm = if self.output_norm { 2 * self.hidden } else { 0 };
        3 * self.hidden * (self.input + self.hidden + 2) + norm
    }

    fn offsets(&self) -> [usize; 6] {
        let gates = 3 * self.hidden;
        let hh = self.input * gates;
        let bias = hh + self.hidden * gates;
        [0, hh, bias, bias + gates, bias + 2 * gates, bias + 2 * gates + self.hidden]
    }
}

/// Where the flat layout's gates (r, z, n) stand among the packed columns of the input's and of the state's products: with
/// the orders (n, r, z) and (r, z, n) the gradients of both are one run of a row `[n, r, z, n r]`.
const INPUT_GATES: [usize; 3] = [1, 2, 0];
const STATE_GATES: [usize; 3] = [0, 1, 2];

/// A gated recurrent unit with its weights packed for the kernels.
#[derive(Clone, Debug)]
pub struct Gru {
    shape: GruShape,
    isa: Isa,
    /// Packed width of a gate.
    gate: usize,
    wi: Packed,
    wh: Packed,
    wi_t: Packed,
    wh_t: Packed,
    bi: Buf,
    bh: Buf,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

/// Working memory of [`Gru::step`].
#[derive(Clone, Debug, Default)]
pub struct GruScratch {
    gates: Buf,
    state: Buf,
    h: Buf,
    next: Buf,
    hat: Buf,
}

/// Copies a row of three gates to padded gates in another order.
fn spread(from: &[f32], hidden: usize, order: [usize; 3], to: &mut [f32]) {
    let gate = padded(hidden);
    for (part, at) in from.chunks_exact(hidden.max(1)).zip(order) {
        to[at * gate..][..hidden].copy_from_slice(part);
    }
}

impl Gru {
    /// A unit with all parameters zero.
    pub fn new(shape: GruShape) -> Self {
        Self::with_isa(shape, Isa::current())
    }

    /// The same on a given instruction set (one that is missing falls back to the baseline): results are equal.
    pub fn with_isa(shape: GruShape, isa: Isa) -> Self {
        let gate = padded(shape.hidden);
        let packed = |k, n| {
            let mut packed = Packed::default();
            packed.resize(k, n);
            packed
        };
        let (mut bi, mut bh) = (Buf::default(), Buf::default());
        bi.reset(3 * gate);
        bh.reset(3 * gate);
        Self {
            shape,
            isa,
            gate,
            wi: packed(shape.input, 3 * gate),
            wh: packed(shape.hidden, 3 * gate),
            wi_t: packed(3 * gate, shape.input),
            wh_t: packed(3 * gate, shape.hidden),
            bi,
            bh,
            gamma: vec![0.0; shape.hidden],
            beta: vec![0.0; shape.hidden],
        }
    }

    /// The shape it was built from.
    pub fn shape(&self) -> GruShape {
        self.shape
    }

    /// Takes new parameters, laid out as [`GruShape::entries`] says.
    ///
    /// # Panics
    /// When `params` has another length than [`GruShape::param_len`].
    pub fn pack(&mut self, params: &[f32]) {
        assert_eq!(params.len(), self.shape.param_len(), "flat parameters of another unit");
        let GruShape { input, hidden, output_norm } = self.shape;
        let [wi, wh, bi, bh, gamma, beta] = self.shape.offsets();
        let gates = 3 * hidden;
        let mut row = vec![0.0; 3 * self.gate];
        for p in 0..input {
            spread(&params[wi + p * gates..][..gates], hidden, INPUT_GATES, &mut row);
            self.wi.set_row(p, &row);
        }
        for p in 0..hidden {
            spread(&params[wh + p * gates..][..gates], hidden, STATE_GATES, &mut row);
            self.wh.set_row(p, &row);
        }
        self.wi_t.set_transpose(&self.wi);
        self.wh_t.set_transpose(&self.wh);
        spread(&params[bi..][..gates], hidden, INPUT_GATES, &mut self.bi);
        spread(&params[bh..][..gates], hidden, STATE_GATES, &mut self.bh);
        if output_norm {
            self.gamma.copy_from_slice(&params[gamma..][..hidden]);
            self.beta.copy_from_slice(&params[beta..][..hidden]);
        }
    }

    /// One step: from `x` (`[rows, input]`) and the states `h` (`[rows, hidden]`) to the new states `h_out` and the outputs
    /// `y` (both `[rows, hidden]`). Allocates nothing once the scratch has grown.
    ///
    /// # Panics
    /// When a slice has not the length its shape says.
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
    pub fn step(&self, x: &[f32], h: &[f32], h_out: &mut [f32], y: &mut [f32], rows: usize, scratch: &mut GruScratch) {
        let size = rows * self.shape.hidden;
        assert_eq!(x.len(), rows * self.shape.input, "input slice");
        assert!(h.len() == size && h_out.len() == size && y.len() == size, "state and output slices: {rows} rows");
        let most = rows.min(BLOCK);
        scratch.gates.set_len(most * stride(4 * self.gate));
        scratch.state.set_len(most * stride(3 * self.gate));
        for buffer in [&mut scratch.h, &mut scratch.next, &mut scratch.hat] {
            buffer.set_len(most * stride(self.shape.hidden));
        }
        dispatch(self.isa, Step { gru: self, x, h, h_out, y, rows, scratch });
    }

    fn norm(&self) -> Option<Norm<'_>> {
        self.shape.output_norm.then_some(Norm { gamma: &self.gamma, beta: &self.beta })
    }
}

struct Step<'a> {
    gru: &'a Gru,
    x: &'a [f32],
    h: &'a [f32],
    h_out: &'a mut [f32],
    y: &'a mut [f32],
    rows: usize,
    scratch: &'a mut GruScratch,
}

impl Task for Step<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let GruShape { input, hidden, .. } = self.gru.shape;
        let (gate, ld) = (self.gru.gate, stride(hidden));
        let (ldg, lds) = (stride(4 * gate), stride(3 * gate));
        let GruScratch { gates, state, h, next, hat } = self.scratch;
        let mut start = 0;
        while start < self.rows {
            let rows = BLOCK.min(self.rows - start);
            let part = start * hidden..(start + rows) * hidden;
            for (to, from) in h.chunks_mut(ld).zip(self.h[part.clone()].chunks(hidden.max(1))) {
                to[..hidden].copy_from_slice(from);
                to[hidden..gate].fill(0.0);
            }
            let x = &self.x[start * input..];
            product(l, rows, (x, input), &self.gru.wi, Init::Bias(&self.gru.bi), (gates, ldg));
            product(l, rows, (h, ld), &self.gru.wh, Init::Bias(&self.gru.bh), (state, lds));
            forward_rows(l, hidden, rows, gates, state, h, next);
            for (to, from) in self.h_out[part.clone()].chunks_mut(hidden.max(1)).zip(next.chunks(ld)) {
                to.copy_from_slice(&from[..hidden]);
            }
            cell::output(l, hidden, rows, self.gru.norm(), next, &mut self.y[part], hat, None);
            start += rows;
        }
    }
}

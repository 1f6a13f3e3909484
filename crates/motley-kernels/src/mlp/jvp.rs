//! Forward-mode products: how the output moves when the parameters move.

use super::block::{Tape, Width, center, forward_block, vectors, vectors_mut};
use super::{BLOCK, Layer, Mlp};
use crate::buffer::Buf;
use crate::gemm::{Init, Packed, nn, padded, product, stride};
use crate::pool::Pool;
use crate::simd::{Lanes, Task, dispatch};

/// `out_tangent[rows, out_width] = J v`: the derivative of the network's output on `x` (`[rows, input]`) along
/// `params_tangent` (flat, as the parameters).
///
/// # Panics
/// When a slice has not the length its shape says.
pub fn jvp(pool: &Pool, mlp: &Mlp, params_tangent: &[f32], x: &[f32], rows: usize, out_tangent: &mut [f32]) {
    mlp.check(x, rows);
    assert_eq!(out_tangent.len(), rows * mlp.out_width, "output tangent slice");
    let along = Direction::new(mlp, params_tangent);
    let part = rows.div_ceil(pool.threads()).next_multiple_of(12).clamp(12, 8 * BLOCK);
    let mut parts: Vec<(usize, &mut [f32])> =
        out_tangent.chunks_mut(part * mlp.out_width.max(1)).enumerate().map(|(i, out)| (i * part, out)).collect();
    pool.run(&mut parts, |_, (start, out)| {
        let rows = part.min(rows - *start);
        let x = &x[*start * mlp.shape.input..][..rows * mlp.shape.input];
        dispatch(mlp.isa, Jvp { along: &along, x, rows, out });
    });
}

/// Tangents of the folded weight and bias of a layer: the product rule on `diag(gamma) W` and `b + beta W`.
fn fold(mlp: &Mlp, layer: &Layer, tangent: &[f32]) -> (Packed, Buf) {
    let (mut w, mut b) = (Packed::default(), Buf::default());
    w.resize(layer.k, layer.n);
    b.reset(padded(layer.n));
    b[..layer.n].copy_from_slice(&tangent[layer.bias..][..layer.n]);
    let mut row = vec![0.0; layer.n];
    for p in 0..layer.k {
        let at = layer.weight + p * layer.n;
        let (value, moved) = (&mlp.params[at..at + layer.n], &tangent[at..at + layer.n]);
        let Some(affine) = layer.before else {
            w.set_row(p, moved);
            continue;
        };
        let (gamma, beta) = (mlp.params[affine.gamma + p], mlp.params[affine.beta + p]);
        let (dgamma, dbeta) = (tangent[affine.gamma + p], tangent[affine.beta + p]);
        for (i, (v, m)) in value.iter().zip(moved).enumerate() {
            row[i] = dgamma * v + gamma * m;
            b[i] += dbeta * v + beta * m;
        }
        w.set_row(p, &row);
    }
    (w, b)
}

/// A direction in which a network's parameters move, packed for the kernels.
pub(super) struct Direction<'a> {
    mlp: &'a Mlp,
    folded: Vec<(Packed, Buf)>,
    tangent: &'a [f32],
}

struct Jvp<'a> {
    along: &'a Direction<'a>,
    x: &'a [f32],
    rows: usize,
    out: &'a mut [f32],
}

impl Task for Jvp<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let mlp = self.along.mlp;
        let (input, output) = (mlp.shape.input, mlp.out_width);
        let mut tape = Tape::default();
        tape.fit::<true>(mlp, self.rows.min(BLOCK));
        let mut start = 0;
        while start < self.rows {
            let rows = BLOCK.min(self.rows - start);
            forward_block::<L, true>(l, mlp, &self.x[start * input..][..rows * input], rows, &mut tape);
            self.along.block(l, &mut tape, rows, &mut self.out[start * output..][..rows * output]);
            start += rows;
        }
    }
}

impl<'a> Direction<'a> {
    /// `tangent`: flat, as the parameters.
    pub fn new(mlp: &'a Mlp, tangent: &'a [f32]) -> Self {
        assert_eq!(tangent.len(), mlp.params.len(), "parameter tangent slice");
        Self { mlp, folded: mlp.layers.iter().map(|layer| fold(mlp, layer, tangent)).collect(), tangent }
    }

    /// Tangents of one block whose activations are on the tape, to `out` (contiguous `[rows, out_width]`).
    #[inline(always)]
    pub fn block<L: Lanes>(&self, l: L, tape: &mut Tape, rows: usize, out: &mut [f32]) {
        let mlp = self.mlp;
        let [mut before, mut now] = std::mem::take(&mut tape.d);
        for (i, (layer, (w, b))) in mlp.layers.iter().zip(&self.folded).enumerate() {
            let (a, lda) = tape.stage::<true>(mlp, i);
            let ld = layer.ld;
            let (act, hat, rstd) = (&tape.act[i], &tape.hat[i], &tape.rstd[i]);
            let mut init = Init::Bias(b);
            if i > 0 {
                product(l, rows, (&before, lda), &layer.w, init, (&mut now, ld));
                init = Init::Add;
            }
            nn(
                l,
                rows,
                a,
                lda,
                (w, w.panels()),
                init,
                &mut now,
                ld,
                #[inline(always)]
                |r, count, tile| {
                    let hat = if layer.norm { &hat[r * ld..] } else { &[] };
                    advance(l, layer, count, tile, &act[r * ld..], hat, &rstd[r..]);
                },
            );
            std::mem::swap(&mut before, &mut now);
        }
        let width = mlp.out_width;
        let (last, ld) = tape.stage::<true>(mlp, mlp.layers.len());
        if mlp.layers.is_empty() {
            before[..rows * stride(width)].fill(0.0);
        }
        for (r, to) in out.chunks_mut(width.max(1)).take(rows).enumerate() {
            to.copy_from_slice(&before[r * ld..][..width]);
            let Some(affine) = mlp.tail else { continue };
            let gamma = mlp.affine(affine, width).0;
            let (dgamma, dbeta) = (&self.tangent[affine.gamma..], &self.tangent[affine.beta..]);
            for (i, to) in to.iter_mut().enumerate() {
                *to = *to * gamma[i] + last[r * ld + i] * dgamma[i] + dbeta[i];
            }
        }
        tape.d = [before, now];
    }
}

/// Takes tangents through the activation and the LayerNorm behind it, in place.
#[inline(always)]
fn advance<L: Lanes>(l: L, layer: &Layer, rows: usize, t: &mut [f32], act: &[f32], hat: &[f32], rstd: &[f32]) {
    let w = Width::new(l, layer.n);
    for r in 0..rows {
        let row = vectors_mut(&mut t[r * layer.ld..][..w.whole]);
        for (v, a) in row.iter_mut().zip(vectors(&act[r * layer.ld..][..w.whole])) {
            let d = layer.activation.chain(l, l.load(a), l.load(v));
            l.store(v, d);
        }
        if layer.norm {
            center(
                l,
                &w,
                row,
                vectors(&hat[r * layer.ld..][..w.whole]),
                rstd[r],
                #[inline(always)]
                |_, d| d,
            );
        }
    }
}

//! The element-wise part of the mixer, forward and backward, on rows padded to whole vectors.

use super::QmixShape;
use crate::buffer::Buf;
use crate::gemm::padded;
use crate::mlp::Activation;
use crate::mlp::block::{vectors, vectors_mut};
use crate::simd::{Lanes, V};

/// One block of rows between the hypernetworks' outputs and the loss. Lanes behind a row's true width hold 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Mixing {
    agents: usize,
    embed: usize,
    /// `[rows, agents, padded(embed)]`: W1 as generated, signs and all.
    w1: Buf,
    /// `[rows, padded(embed)]`: the hidden layer after ELU, and W2 as generated.
    hidden: Buf,
    w2: Buf,
    /// `[rows, agents]`
    q: Vec<f32>,
    /// Q_tot, and the loss's derivative by it, `[rows]`.
    pub total: Vec<f32>,
    pub slope: Vec<f32>,
    /// The gradient of one row of W1, `[agents, padded(embed)]`.
    row: Buf,
}

/// Where the gradients by the hypernetworks' outputs go, contiguous rows.
pub(super) struct Slopes<'a> {
    pub w1: &'a mut [f32],
    pub b1: &'a mut [f32],
    pub w2: &'a mut [f32],
    pub v: &'a mut [f32],
}

/// Copies the first `embed` entries to a padded row and clears what is behind.
#[inline(always)]
fn pad(from: &[f32], to: &mut [f32]) {
    let (whole, rest) = to.split_at_mut(from.len());
    whole.copy_from_slice(from);
    rest.fill(0.0);
}

impl Mixing {
    pub fn fit(&mut self, shape: &QmixShape, rows: usize) {
        (self.agents, self.embed) = (shape.agents, shape.embed);
        let wide = padded(shape.embed);
        self.w1.set_len(rows * shape.agents * wide);
        self.hidden.set_len(rows * wide);
        self.w2.set_len(rows * wide);
        self.row.set_len(shape.agents * wide);
        self.q.resize(rows * shape.agents, 0.0);
        self.total.resize(rows, 0.0);
        self.slope.resize(rows, 0.0);
    }

    /// `Q_tot` of a block, from the values and the generated weights (rows with their strides: W1, b1, W2, v).
    #[inline(always)]
    pub fn mix<L: Lanes>(&mut self, l: L, q: &[f32], made: [(&[f32], usize); 4], rows: usize) {
        let (agents, embed, wide) = (self.agents, self.embed, padded(self.embed));
        let [(w1, ld1), (b1, ldb), (w2, ld2), (v, ldv)] = made;
        self.q[..q.len()].copy_from_slice(q);
        let zero = l.zero();
        for r in 0..rows {
            let weights = &mut self.w1[r * agents * wide..][..agents * wide];
            for (i, to) in weights.chunks_mut(wide.max(1)).enumerate() {
                pad(&w1[r * ld1 + i * embed..][..embed], to);
            }
            let hidden = &mut self.hidden[r * wide..][..wide];
            pad(&b1[r * ldb..][..embed], hidden);
            let out = &mut self.w2[r * wide..][..wide];
            pad(&w2[r * ld2..][..embed], out);
            let mut sum = zero;
            for (e, (h, w)) in vectors_mut(hidden).iter_mut().zip(vectors(out)).enumerate() {
                let mut x = l.load(h);
                for i in 0..agents {
                    let weight = l.load(&vectors(&weights[i * wide..])[e]);
                    x = l.fma(l.splat(q[r * agents + i]), abs(l, weight), x);
                }
                let x = Activation::Elu.apply(l, x);
                l.store(h, x);
                sum = l.fma(x, abs(l, l.load(w)), sum);
            }
            self.total[r] = l.sum(sum) + v[r * ldv];
        }
    }

    /// From `slope` to the gradients by the generated weights, and by the values (`[rows, agents]`).
    #[inline(always)]
    pub fn unmix<L: Lanes>(&mut self, l: L, to: Slopes<'_>, dq: &mut [f32], rows: usize) {
        let (agents, embed, wide) = (self.agents, self.embed, padded(self.embed));
        for r in 0..rows {
            let slope = l.splat(self.slope[r]);
            to.v[r] = self.slope[r];
            let weights = &self.w1[r * agents * wide..][..agents * wide];
            let hidden = vectors_mut(&mut self.hidden[r * wide..][..wide]);
            let out = vectors_mut(&mut self.w2[r * wide..][..wide]);
            for (h, w) in hidden.iter_mut().zip(out.iter_mut()) {
                let (x, weight) = (l.load(h), l.load(w));
                let before = Activation::Elu.chain(l, x, l.mul(slope, abs(l, weight)));
                l.store(w, l.mul(sign(l, weight), l.mul(slope, x)));
                l.store(h, before);
            }
            for i in 0..agents {
                let (value, mut sum) = (l.splat(self.q[r * agents + i]), l.zero());
                let row = vectors_mut(&mut self.row[i * wide..][..wide]);
                for ((to, w), d) in row.iter_mut().zip(vectors(&weights[i * wide..][..wide])).zip(hidden.iter()) {
                    let (weight, d) = (l.load(w), l.load(d));
                    sum = l.fma(d, abs(l, weight), sum);
                    l.store(to, l.mul(sign(l, weight), l.mul(value, d)));
                }
                dq[r * agents + i] = l.sum(sum);
                let at = (r * agents + i) * embed;
                to.w1[at..at + embed].copy_from_slice(&self.row[i * wide..][..embed]);
            }
            let part = r * embed..(r + 1) * embed;
            to.b1[part.clone()].copy_from_slice(&self.hidden[r * wide..][..embed]);
            to.w2[part].copy_from_slice(&self.w2[r * wide..][..embed]);
        }
    }
}

#[inline(always)]
fn abs<L: Lanes>(l: L, x: V) -> V {
    l.floats(l.and_u32s(l.bits(x), l.splat_u32s(0x7fff_ffff)))
}

/// -1, 0 or 1.
#[inline(always)]
fn sign<L: Lanes>(l: L, x: V) -> V {
    let (zero, one) = (l.zero(), l.splat(1.0));
    l.lt(zero, x, one, l.lt(x, zero, l.splat(-1.0), zero))
}

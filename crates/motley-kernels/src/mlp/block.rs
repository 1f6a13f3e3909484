//! One block of rows through the whole network, forward and backward.

use std::ops::Range;

use super::{Activation, Layer, Mlp};
use crate::buffer::Buf;
use crate::gemm::{Init, nn, padded, stride, tn};
use crate::simd::{LANES, Lanes, Task, V, outline};

const EPSILON: f32 = 1e-5;

/// Activations of one block of rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    /// The input, normalised where the network says so: `[rows, stride(input)]`.
    pub input: Buf,
    pub input_rstd: Buf,
    /// By layer: after the activation `[rows, ld]`; normalised; reciprocal standard deviations `[rows]`.
    pub act: Vec<Buf>,
    pub hat: Vec<Buf>,
    pub rstd: Vec<Buf>,
    /// Gradients of the layer at hand and of the one before.
    pub d: [Buf; 2],
    /// Contiguous `[rows, out_width]`.
    pub out: Buf,
    pub dout: Buf,
}

impl Tape {
    /// Makes room for `rows` rows; `KEEP`: for a backward pass too.
    pub fn fit<const KEEP: bool>(&mut self, mlp: &Mlp, rows: usize) {
        let widest = mlp.layers.iter().map(|l| l.ld).fold(stride(mlp.shape.input), usize::max);
        self.input.set_len(rows * stride(mlp.shape.input));
        self.input_rstd.set_len(rows);
        let count = mlp.layers.len().max(self.act.len());
        self.act.resize_with(count, Buf::default);
        self.hat.resize_with(count, Buf::default);
        self.rstd.resize_with(count, Buf::default);
        for (i, layer) in mlp.layers.iter().enumerate() {
            self.act[i].set_len(rows * layer.ld);
            self.rstd[i].set_len(rows);
            if KEEP && layer.norm {
                self.hat[i].set_len(rows * layer.ld);
            }
        }
        if KEEP {
            self.d.iter_mut().for_each(|d| d.set_len(rows * widest));
            self.out.set_len(rows * mlp.out_width);
            self.dout.set_len(rows * mlp.out_width);
        }
    }

    /// What layer `i` reads (or the last stage, for the number of layers), and its row stride.
    #[inline(always)]
    pub fn stage<const KEEP: bool>(&self, mlp: &Mlp, i: usize) -> (&[f32], usize) {
        match i.checked_sub(1) {
            None => (&self.input, stride(mlp.shape.input)),
            Some(i) if KEEP && mlp.layers[i].norm => (&self.hat[i], mlp.layers[i].ld),
            Some(i) => (&self.act[i], mlp.layers[i].ld),
        }
    }

    /// Copies the last stage to contiguous rows, through the final affine map where there is one.
    pub fn write_out<const KEEP: bool>(&self, mlp: &Mlp, rows: usize, out: &mut [f32]) {
        let width = mlp.out_width.max(1);
        let (last, ld) = self.stage::<KEEP>(mlp, mlp.layers.len());
        for (from, to) in last.chunks(ld).take(rows).zip(out.chunks_mut(width)) {
            let Some(affine) = mlp.tail else {
                to.copy_from_slice(&from[..width]);
                continue;
            };
            let (gamma, beta) = mlp.affine(affine, width);
            for (to, ((x, g), b)) in to.iter_mut().zip(from.iter().zip(gamma).zip(beta)) {
                *to = x * g + b;
            }
        }
    }
}

/// The vectors of a row of true width `width`, and what clears the lanes behind it in the last one.
#[derive(Clone, Copy)]
pub(crate) struct Width<L: Lanes> {
    pub whole: usize,
    last: usize,
    ragged: bool,
    mask: V,
    pub inverse: f32,
    l: L,
}

impl<L: Lanes> Width<L> {
    #[inline(always)]
    pub fn new(l: L, width: usize) -> Self {
        let whole = padded(width);
        let rest = width % LANES;
        let mask: [f32; LANES] = std::array::from_fn(|i| if rest == 0 || i < rest { 1.0 } else { 0.0 });
        let last = (whole / LANES).wrapping_sub(1);
        Self { whole, last, ragged: rest != 0, mask: l.load(&mask), inverse: 1.0 / width.max(1) as f32, l }
    }

    /// Clears the lanes behind the row's end, `v` being its vector number `i`.
    #[inline(always)]
    pub fn clear(&self, i: usize, v: V) -> V {
        if self.ragged && i == self.last { self.l.mul(v, self.mask) } else { v }
    }
}

#[inline(always)]
pub(crate) fn vectors(row: &[f32]) -> &[[f32; LANES]] {
    row.as_chunks().0
}

#[inline(always)]
pub(crate) fn vectors_mut(row: &mut [f32]) -> &mut [[f32; LANES]] {
    row.as_chunks_mut().0
}

/// Mean and reciprocal standard deviation of a row whose sum over lanes is `sum`.
#[inline(always)]
pub(crate) fn moments<L: Lanes>(l: L, w: &Width<L>, row: &[[f32; LANES]], sum: V) -> (V, f32) {
    let mean = l.splat(l.sum(sum) * w.inverse);
    let mut squares = l.zero();
    for (i, v) in row.iter().enumerate() {
        let d = w.clear(i, l.sub(l.load(v), mean));
        squares = l.fma(d, d, squares);
    }
    (mean, 1.0 / (l.sum(squares) * w.inverse + EPSILON).sqrt())
}

/// Activation, then LayerNorm, of `rows` finished rows of a product; the normalised row goes to `hat`, or stays in place.
#[inline(always)]
fn finish<L: Lanes>(l: L, layer: &Layer, rows: usize, a: &mut [f32], mut hat: Option<&mut [f32]>, rstd: &mut [f32]) {
    let w = Width::new(l, layer.n);
    for r in 0..rows {
        let row = vectors_mut(&mut a[r * layer.ld..][..w.whole]);
        let mut sum = l.zero();
        if layer.activation == Activation::Relu {
            for v in row.iter_mut() {
                let y = Activation::Relu.apply(l, l.load(v));
                sum = l.add(sum, y);
                l.store(v, y);
            }
        } else {
            for (i, v) in row.iter_mut().enumerate() {
                let y = w.clear(i, layer.activation.apply(l, l.load(v)));
                sum = l.add(sum, y);
                l.store(v, y);
            }
        }
        if !layer.norm {
            continue;
        }
        let (mean, scale) = moments(l, &w, row, sum);
        rstd[r] = scale;
        let scale = l.splat(scale);
        match hat.as_deref_mut() {
            Some(hat) => {
                let hat = vectors_mut(&mut hat[r * layer.ld..][..w.whole]);
                for (i, (v, h)) in row.iter().zip(hat).enumerate() {
                    l.store(h, w.clear(i, l.mul(l.sub(l.load(v), mean), scale)));
                }
            }
            None => {
                for (i, v) in row.iter_mut().enumerate() {
                    let y = w.clear(i, l.mul(l.sub(l.load(v), mean), scale));
                    l.store(v, y);
                }
            }
        }
    }
}

/// Copies input rows `[rows, width]` to padded rows, normalised where `norm` says so.
#[inline(always)]
pub(crate) fn stage_input<L: Lanes>(l: L, norm: bool, width: usize, x: &[f32], to: &mut [f32], rstd: &mut [f32]) {
    let w = Width::new(l, width);
    for (r, (x, to)) in x.chunks(width.max(1)).zip(to.chunks_mut(stride(width))).enumerate() {
        to[..width].copy_from_slice(x);
        to[width..w.whole].fill(0.0);
        if !norm {
            continue;
        }
        let row = vectors_mut(&mut to[..w.whole]);
        let mut sum = l.zero();
        for v in row.iter() {
            sum = l.add(sum, l.load(v));
        }
        let (mean, scale) = moments(l, &w, row, sum);
        rstd[r] = scale;
        let scale = l.splat(scale);
        for (i, v) in row.iter_mut().enumerate() {
            let y = w.clear(i, l.mul(l.sub(l.load(v), mean), scale));
            l.store(v, y);
        }
    }
}

/// Forward of one block; `KEEP`: everything a backward pass needs stays on the tape.
#[inline(always)]
pub(crate) fn forward_block<L: Lanes, const KEEP: bool>(l: L, mlp: &Mlp, x: &[f32], rows: usize, tape: &mut Tape) {
    outline(l, Forward::<'_, KEEP> { mlp, x, rows, tape });
}

struct Forward<'a, const KEEP: bool> {
    mlp: &'a Mlp,
    x: &'a [f32],
    rows: usize,
    tape: &'a mut Tape,
}

impl<const KEEP: bool> Task for Forward<'_, KEEP> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        forward_layers::<L, KEEP>(l, self.mlp, self.x, self.rows, self.tape);
    }
}

#[inline(always)]
fn forward_layers<L: Lanes, const KEEP: bool>(l: L, mlp: &Mlp, x: &[f32], rows: usize, tape: &mut Tape) {
    stage_input(l, mlp.shape.input_norm, mlp.shape.input, x, &mut tape.input, &mut tape.input_rstd);
    for (i, layer) in mlp.layers.iter().enumerate() {
        let (done, rest) = tape.act.split_at_mut(i);
        let (done_hat, rest_hat) = tape.hat.split_at_mut(i);
        let (a, lda): (&[f32], usize) = match i.checked_sub(1) {
            None => (&tape.input, stride(mlp.shape.input)),
            Some(p) if KEEP && mlp.layers[p].norm => (&done_hat[p], mlp.layers[p].ld),
            Some(p) => (&done[p], mlp.layers[p].ld),
        };
        let keep = KEEP && layer.norm;
        let (hat, rstd) = (&mut rest_hat[0], &mut tape.rstd[i]);
        nn(
            l,
            rows,
            a,
            lda,
            (&layer.w, layer.w.panels()),
            Init::Bias(&layer.b),
            &mut rest[0],
            layer.ld,
            #[inline(always)]
            |r, count, tile| {
                let hat = if keep { Some(&mut hat[r * layer.ld..]) } else { None };
                finish(l, layer, count, tile, hat, &mut rstd[r..]);
            },
        );
    }
}

/// The Jacobian of LayerNorm without its affine part, times `g` (it is symmetric, so this is forward and backward mode):
/// `(g - mean(g) - hat * mean(g * hat)) * rstd`, given to `put(vector number, value)`.
#[inline(always)]
pub(crate) fn center<L: Lanes>(
    l: L,
    w: &Width<L>,
    g: &mut [[f32; LANES]],
    hat: &[[f32; LANES]],
    rstd: f32,
    put: impl Fn(usize, V) -> V,
) {
    let (mut sum, mut along) = (l.zero(), l.zero());
    for (g, h) in g.iter().zip(hat) {
        let g = l.load(g);
        sum = l.add(sum, g);
        along = l.fma(g, l.load(h), along);
    }
    let mean = l.splat(l.sum(sum) * w.inverse);
    let along = l.splat(-(l.sum(along) * w.inverse));
    let rstd = l.splat(rstd);
    for (i, (g, h)) in g.iter_mut().zip(hat).enumerate() {
        let d = l.fma(l.load(h), along, l.sub(l.load(g), mean));
        l.store(g, put(i, w.clear(i, l.mul(d, rstd))));
    }
}

/// Takes `g` from behind a layer's LayerNorm to before its activation, in place, and adds it up in `sums`.
#[inline(always)]
fn through<L: Lanes>(
    l: L,
    layer: &Layer,
    rows: usize,
    g: &mut [f32],
    (act, hat, rstd): (&[f32], &[f32], &[f32]),
    sums: Option<&mut [f32]>,
) {
    let w = Width::new(l, layer.n);
    for r in 0..rows {
        let row = vectors_mut(&mut g[r * layer.ld..][..w.whole]);
        let act = &vectors(&act[r * layer.ld..][..w.whole])[..row.len()];
        if layer.norm {
            let hat = vectors(&hat[r * layer.ld..][..w.whole]);
            if layer.activation == Activation::Relu {
                center(
                    l,
                    &w,
                    row,
                    hat,
                    rstd[r],
                    #[inline(always)]
                    |i, d| Activation::Relu.chain(l, l.load(&act[i]), d),
                );
            } else {
                center(
                    l,
                    &w,
                    row,
                    hat,
                    rstd[r],
                    #[inline(always)]
                    |i, d| layer.activation.chain(l, l.load(&act[i]), d),
                );
            }
        } else {
            for (v, a) in row.iter_mut().zip(act) {
                let d = layer.activation.chain(l, l.load(a), l.load(v));
                l.store(v, d);
            }
        }
    }
    let Some(sums) = sums else { return };
    for (i, sum) in vectors_mut(&mut sums[..w.whole]).iter_mut().enumerate() {
        let mut s = l.load(sum);
        for r in 0..rows {
            s = l.add(s, l.load(&vectors(&g[r * layer.ld..][..w.whole])[i]));
        }
        l.store(sum, s);
    }
}

/// Backward of the block that `tape` holds, from the output gradient in `tape.dout` (contiguous): adds to the accumulator
/// `acc` (skipped where it is none), writes these columns of the gradient by the input (contiguous, `[rows, columns]`).
#[inline(always)]
pub(crate) fn backward_block<L: Lanes>(
    l: L,
    mlp: &Mlp,
    rows: usize,
    tape: &mut Tape,
    mut acc: Option<&mut [f32]>,
    dx: Option<(&mut [f32], &Range<usize>)>,
) {
    let count = mlp.layers.len();
    let Tape { input, input_rstd, act, hat, rstd, d: [mut_d, mut_e], dout, .. } = tape;
    let (mut d, mut e): (&mut Buf, &mut Buf) = (mut_d, mut_e);
    let last_ld = mlp.layers.last().map_or(stride(mlp.shape.input), |layer| layer.ld);
    let last_hat: &[f32] = if count == 0 { input } else { &hat[count - 1] };
    enter(mlp, rows, dout, d, last_ld, last_hat, acc.as_deref_mut());
    if let Some(layer) = mlp.layers.last() {
        let i = count - 1;
        let sums = acc.as_deref_mut().map(|acc| &mut acc[layer.acc_b..]);
        through(l, layer, rows, d, (&act[i], &hat[i], &rstd[i]), sums);
    }
    for (i, layer) in mlp.layers.iter().enumerate().rev() {
        let (a, lda): (&[f32], usize) = match i.checked_sub(1) {
            None => (input, stride(mlp.shape.input)),
            Some(p) if mlp.layers[p].norm => (&hat[p], mlp.layers[p].ld),
            Some(p) => (&act[p], mlp.layers[p].ld),
        };
        if let Some(acc) = acc.as_deref_mut() {
            let sums = &mut acc[layer.acc_w..layer.acc_b];
            if layer.flip {
                tn(l, rows, (d, layer.ld, layer.n), (a, lda, layer.k), sums, layer.acc_ld);
            } else {
                tn(l, rows, (a, lda, layer.k), (d, layer.ld, layer.n), sums, layer.acc_ld);
            }
        }
        if i == 0 && dx.is_none() {
            return;
        }
        let panels = match &dx {
            // A LayerNorm makes every column depend on all of them.
            Some((_, columns)) if i == 0 && !mlp.shape.input_norm => layer.wt.panels_of(columns),
            _ => layer.wt.panels(),
        };
        nn(
            l,
            rows,
            d,
            layer.ld,
            (&layer.wt, panels),
            Init::Zero,
            e,
            lda,
            #[inline(always)]
            |r, count, tile| {
                if let Some(p) = i.checked_sub(1) {
                    let before = &mlp.layers[p];
                    let at = r * before.ld;
                    let hat = if before.norm { &hat[p][at..] } else { &[] };
                    let sums = acc.as_deref_mut().map(|acc| &mut acc[before.acc_b..]);
                    through(l, before, count, tile, (&act[p][at..], hat, &rstd[p][r..]), sums);
                }
            },
        );
        std::mem::swap(&mut d, &mut e);
    }
    let Some((dx, columns)) = dx else { return };
    let w = Width::new(l, mlp.shape.input);
    let ld = stride(mlp.shape.input);
    for (r, to) in dx.chunks_mut(columns.len().max(1)).take(rows).enumerate() {
        let row = &mut d[r * ld..][..w.whole];
        if mlp.shape.input_norm {
            center(
                l,
                &w,
                vectors_mut(row),
                vectors(&input[r * ld..][..w.whole]),
                input_rstd[r],
                #[inline(always)]
                |_, d| d,
            );
        }
        to.copy_from_slice(&row[columns.clone()]);
    }
}

/// Output gradient to padded rows, back through the final affine map where there is one.
#[inline(always)]
fn enter(mlp: &Mlp, rows: usize, dout: &[f32], d: &mut [f32], ld: usize, hat: &[f32], mut acc: Option<&mut [f32]>) {
    let width = mlp.out_width;
    for (r, from) in dout.chunks(width.max(1)).take(rows).enumerate() {
        let to = &mut d[r * ld..][..padded(width)];
        to[..width].copy_from_slice(from);
        to[width..].fill(0.0);
        let Some(affine) = mlp.tail else { continue };
        if let Some(acc) = acc.as_deref_mut() {
            let (gamma, beta) = acc[mlp.acc_tail..].split_at_mut(padded(width));
            for (i, g) in from.iter().enumerate() {
                gamma[i] += g * hat[r * ld + i];
                beta[i] += g;
            }
        }
        for (to, gamma) in to.iter_mut().zip(mlp.affine(affine, width).0) {
            *to *= gamma;
        }
    }
}

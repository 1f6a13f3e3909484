//! The element-wise part of the unit, forward and backward, on rows padded to whole vectors.

use crate::gemm::{padded, stride};
use crate::math::{sigmoid, tanh};
use crate::mlp::block::{Width, center, moments, vectors, vectors_mut};
use crate::simd::{LANES, Lanes};

/// The affine part of the output's LayerNorm.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
}

/// Four gates of one row.
type Quarters<'a> = [&'a mut [[f32; LANES]]; 4];

#[inline(always)]
fn quarters(row: &mut [f32], gate: usize) -> Quarters<'_> {
    let (a, rest) = row.split_at_mut(gate);
    let (b, rest) = rest.split_at_mut(gate);
    let (c, rest) = rest.split_at_mut(gate);
    [vectors_mut(a), vectors_mut(b), vectors_mut(c), vectors_mut(&mut rest[..gate])]
}

/// From the input's products in `gates` (n, r, z) and the state's in `state` (r, z, n) to the gates themselves, left in
/// `gates` as (n, r, z, the state's share of n), and the new states in `next`.
#[inline(always)]
pub(crate) fn forward_rows<L: Lanes>(
    l: L,
    hidden: usize,
    rows: usize,
    gates: &mut [f32],
    state: &[f32],
    h: &[f32],
    next: &mut [f32],
) {
    let (gate, ld) = (padded(hidden), stride(hidden));
    let (ldg, lds) = (stride(4 * gate), stride(3 * gate));
    for row in 0..rows {
        let [gn, gr, gz, gs] = quarters(&mut gates[row * ldg..], gate);
        let state = &state[row * lds..][..3 * gate];
        let (sr, rest) = state.split_at(gate);
        let (sz, sn) = rest.split_at(gate);
        let (sr, sz, sn) = (vectors(sr), vectors(sz), vectors(sn));
        let h = vectors(&h[row * ld..][..gate]);
        let next = vectors_mut(&mut next[row * ld..][..gate]);
        for i in 0..gate / LANES {
            let r = sigmoid(l, l.add(l.load(&gr[i]), l.load(&sr[i])));
            let z = sigmoid(l, l.add(l.load(&gz[i]), l.load(&sz[i])));
            let s = l.load(&sn[i]);
            let n = tanh(l, l.fma(r, s, l.load(&gn[i])));
            l.store(&mut next[i], l.fma(z, l.sub(l.load(&h[i]), n), n));
            l.store(&mut gn[i], n);
            l.store(&mut gr[i], r);
            l.store(&mut gz[i], z);
            l.store(&mut gs[i], s);
        }
    }
}

/// Outputs of `rows` states (padded) to contiguous `y`; with a LayerNorm the normalised rows go to `hat`, the reciprocal
/// standard deviations to `rstd`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
pub(crate) fn output<L: Lanes>(
    l: L,
    hidden: usize,
    rows: usize,
    norm: Option<Norm<'_>>,
    h: &[f32],
    y: &mut [f32],
    hat: &mut [f32],
    mut rstd: Option<&mut [f32]>,
) {
    let (w, ld) = (Width::new(l, hidden), stride(hidden));
    for (r, y) in y.chunks_mut(hidden.max(1)).take(rows).enumerate() {
        let row = &h[r * ld..][..w.whole];
        let Some(norm) = norm else {
            y.copy_from_slice(&row[..hidden]);
            continue;
        };
        let row = vectors(row);
        let mut sum = l.zero();
        for v in row {
            sum = l.add(sum, l.load(v));
        }
        let (mean, scale) = moments(l, &w, row, sum);
        if let Some(rstd) = rstd.as_deref_mut() {
            rstd[r] = scale;
        }
        let scale = l.splat(scale);
        let hat = &mut hat[r * ld..][..w.whole];
        for (i, (v, to)) in row.iter().zip(vectors_mut(hat)).enumerate() {
            l.store(to, w.clear(i, l.mul(l.sub(l.load(v), mean), scale)));
        }
        for (y, (x, (g, b))) in y.iter_mut().zip(hat.iter().zip(norm.gamma.iter().zip(norm.beta))) {
            *y = x * g + b;
        }
    }
}

/// Adds the gradient that comes through the output `dy` (contiguous) to the state's gradient `dh` (padded), and to the sums
/// of gamma and beta.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
pub(crate) fn output_back<L: Lanes>(
    l: L,
    hidden: usize,
    norm: Option<Norm<'_>>,
    dy: &[f32],
    hat: &[f32],
    rstd: &[f32],
    dh: &mut [f32],
    row: &mut [f32],
    (dgamma, dbeta): (&mut [f32], &mut [f32]),
) {
    let (w, ld) = (Width::new(l, hidden), stride(hidden));
    for (r, dy) in dy.chunks(hidden.max(1)).enumerate() {
        row[..hidden].copy_from_slice(dy);
        row[hidden..w.whole].fill(0.0);
        if let Some(norm) = norm {
            let hat = &hat[r * ld..][..w.whole];
            for i in 0..hidden {
                dgamma[i] += row[i] * hat[i];
                dbeta[i] += row[i];
                row[i] *= norm.gamma[i];
            }
            let row = vectors_mut(&mut row[..w.whole]);
            center(
                l,
                &w,
                row,
                vectors(hat),
                rstd[r],
                #[inline(always)]
                |_, d| d,
            );
        }
        for (to, g) in vectors_mut(&mut dh[r * ld..][..w.whole]).iter_mut().zip(vectors(&row[..w.whole])) {
            let sum = l.add(l.load(to), l.load(g));
            l.store(to, sum);
        }
    }
}

/// Tangents of the new states of `rows` rows, in place of those of the old ones in `dh`: with the gates (n, r, z, the state's share s of
/// n) and old states `h` of a forward pass, and tangents of the input's products in `moved` (n, r, z) and of the state's in
/// `state` (r, z, n),
/// `r' = r (1 - r) (..)`, `z' = z (1 - z) (..)`, `n' = (1 - n^2) (.. + r' s + r s')`, `h' <- (1 - z) n' + z' (h - n) + z h'`.
#[inline(always)]
pub(crate) fn tangent_rows<L: Lanes>(
    l: L,
    hidden: usize,
    gates: &mut [f32],
    h: &[f32],
    moved: &[f32],
    state: &[f32],
    dh: &mut [f32],
) {
    let (gate, ld) = (padded(hidden), stride(hidden));
    let (ldg, lds) = (stride(4 * gate), stride(3 * gate));
    let one = l.splat(1.0);
    for (row, dh) in dh.chunks_mut(ld).enumerate() {
        let [gn, gr, gz, gs] = quarters(&mut gates[row * ldg..], gate);
        let thirds = |from: usize, of: usize| from + of * gate..from + (of + 1) * gate;
        let [mn, mr, mz] = [0, 1, 2].map(|k| vectors(&moved[thirds(row * lds, k)]));
        let [sr, sz, sn] = [0, 1, 2].map(|k| vectors(&state[thirds(row * lds, k)]));
        let h = vectors(&h[row * ld..][..gate]);
        for (i, d) in vectors_mut(&mut dh[..gate]).iter_mut().enumerate() {
            let (n, r, z, s) = (l.load(&gn[i]), l.load(&gr[i]), l.load(&gz[i]), l.load(&gs[i]));
            let (not_z, not_r) = (l.sub(one, z), l.sub(one, r));
            let dr = l.mul(l.mul(r, not_r), l.add(l.load(&mr[i]), l.load(&sr[i])));
            let dz = l.mul(l.mul(z, not_z), l.add(l.load(&mz[i]), l.load(&sz[i])));
            let inner = l.fma(dr, s, l.fma(r, l.load(&sn[i]), l.load(&mn[i])));
            let dn = l.mul(l.sub(one, l.mul(n, n)), inner);
            let kept = l.fma(z, l.load(d), l.mul(not_z, dn));
            l.store(d, l.fma(dz, l.sub(l.load(&h[i]), n), kept));
        }
    }
}

/// Tangents of the outputs, contiguous `y`, from those of the new states `dh` (padded): through the LayerNorm `norm` whose parameters'
/// tangents are `moved`, with the rows `hat` and `rstd` of a forward pass. `row` is working memory.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
pub(crate) fn output_tangent<L: Lanes>(
    l: L,
    hidden: usize,
    norm: Option<(Norm<'_>, Norm<'_>)>,
    dh: &[f32],
    hat: &[f32],
    rstd: &[f32],
    row: &mut [f32],
    y: &mut [f32],
) {
    let (w, ld) = (Width::new(l, hidden), stride(hidden));
    for (r, y) in y.chunks_mut(hidden.max(1)).enumerate() {
        let Some((norm, moved)) = norm else {
            y.copy_from_slice(&dh[r * ld..][..hidden]);
            continue;
        };
        let hat = &hat[r * ld..][..w.whole];
        row[..w.whole].copy_from_slice(&dh[r * ld..][..w.whole]);
        center(
            l,
            &w,
            vectors_mut(&mut row[..w.whole]),
            vectors(hat),
            rstd[r],
            #[inline(always)]
            |_, d| d,
        );
        for i in 0..hidden {
            y[i] = row[i] * norm.gamma[i] + hat[i] * moved.gamma[i] + moved.beta[i];
        }
    }
}

/// From the gradient `dh` of the new states to those of the products, left in `gates` as (n, r, z, n times r), and the
/// direct share of the old states' gradient, left in `dh`.
#[inline(always)]
pub(crate) fn backward_rows<L: Lanes>(l: L, hidden: usize, rows: usize, gates: &mut [f32], h: &[f32], dh: &mut [f32]) {
    let (gate, ld) = (padded(hidden), stride(hidden));
    let ldg = stride(4 * gate);
    let one = l.splat(1.0);
    for row in 0..rows {
        let [gn, gr, gz, gs] = quarters(&mut gates[row * ldg..], gate);
        let h = vectors(&h[row * ld..][..gate]);
        let dh = vectors_mut(&mut dh[row * ld..][..gate]);
        for i in 0..gate / LANES {
            let (n, r, z, s) = (l.load(&gn[i]), l.load(&gr[i]), l.load(&gz[i]), l.load(&gs[i]));
            let d = l.load(&dh[i]);
            let (not_z, not_r) = (l.sub(one, z), l.sub(one, r));
            let dz = l.mul(l.mul(d, l.sub(l.load(&h[i]), n)), l.mul(z, not_z));
            let dn = l.mul(l.mul(d, not_z), l.sub(one, l.mul(n, n)));
            let dr = l.mul(l.mul(dn, s), l.mul(r, not_r));
            l.store(&mut dh[i], l.mul(d, z));
            l.store(&mut gn[i], dn);
            l.store(&mut gr[i], dr);
            l.store(&mut gz[i], dz);
            l.store(&mut gs[i], l.mul(dn, r));
        }
    }
}

/// `sums[i] += column i` over `rows` rows of stride `ld`, in ascending order.
#[inline(always)]
pub(crate) fn column_sums<L: Lanes>(l: L, rows: usize, from: &[f32], ld: usize, sums: &mut [f32]) {
    for row in from.chunks(ld).take(rows) {
        for (sum, v) in vectors_mut(sums).iter_mut().zip(vectors(row)) {
            let total = l.add(l.load(sum), l.load(v));
            l.store(sum, total);
        }
    }
}

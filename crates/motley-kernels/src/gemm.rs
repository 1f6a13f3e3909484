//! Matrix products with one chain of fused multiply-adds per element, in ascending order of the summed index.
//!
//! Blocking only decides which elements are computed together, never the order within one: a row of a product has the same
//! bits whatever the other rows, the instruction set and the number of threads.

use std::ops::Range;

use crate::buffer::Buf;
use crate::simd::{LANES, Lanes, Task, V, outline};

/// `width` rounded up to whole vectors.
#[inline(always)]
pub(crate) fn padded(width: usize) -> usize {
    width.div_ceil(LANES) * LANES
}

/// Row stride of activation buffers: whole vectors, and an odd number of cache lines, so that columns spread over all sets.
pub(crate) fn stride(width: usize) -> usize {
    (width.div_ceil(LANES) | 1) * LANES
}

/// A right-hand side `[k, n]` in panels of 16 columns: panel `j` holds rows `0..k` of columns `16 j ..`, zero-padded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    k: usize,
    n: usize,
    data: Buf,
}

impl Packed {
    pub fn resize(&mut self, k: usize, n: usize) {
        (self.k, self.n) = (k, n);
        self.data.reset(k * padded(n));
    }

    /// Writes row `p` of the matrix.
    pub fn set_row(&mut self, p: usize, row: &[f32]) {
        let size = self.k * LANES;
        for (panel, part) in self.data.chunks_mut(size).zip(row.chunks(LANES)) {
            panel[p * LANES..][..part.len()].copy_from_slice(part);
        }
    }

    /// Becomes the transpose of `from` (shapes `[k, n]` and `[n, k]`).
    pub fn set_transpose(&mut self, from: &Packed) {
        let (k, n) = (from.k, from.n);
        for j in 0..padded(n) / LANES {
            let panel = &from.data[j * k * LANES..(j + 1) * k * LANES];
            let width = LANES.min(n - j * LANES);
            for (p, row) in panel.as_chunks::<LANES>().0.iter().enumerate() {
                let base = (p / LANES) * n * LANES + j * LANES * LANES + p % LANES;
                for (c, x) in row[..width].iter().enumerate() {
                    self.data[base + c * LANES] = *x;
                }
            }
        }
    }

    /// All its panels.
    pub fn panels(&self) -> Range<usize> {
        0..self.n.div_ceil(LANES)
    }

    /// Those that hold these columns.
    pub fn panels_of(&self, columns: &Range<usize>) -> Range<usize> {
        columns.start / LANES..columns.end.div_ceil(LANES)
    }

    #[inline(always)]
    fn panel(&self, j: usize) -> &[[f32; LANES]] {
        self.data[j * self.k * LANES..(j + 1) * self.k * LANES].as_chunks().0
    }
}

/// What a product starts from.
#[derive(Clone, Copy)]
pub(crate) enum Init<'a> {
    Zero,
    /// One row (padded to whole vectors) for all rows.
    Bias(&'a [f32]),
    /// What the output holds.
    Add,
}

/// One register tile of [`nn`]: `MR` rows, `NV` panels from `panel`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
fn nn_tile<L: Lanes, const MR: usize, const NV: usize>(
    l: L,
    a: &[f32],
    lda: usize,
    b: &Packed,
    panel: usize,
    init: Init<'_>,
    c: &mut [f32],
    ldc: usize,
) {
    let k = b.k;
    // Loops, not `array::from_fn`: its closure is a call of its own, without the instruction set of this function.
    let mut rows: [&[f32]; MR] = [&[]; MR];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &a[i * lda..][..k];
    }
    let mut panels: [&[[f32; LANES]]; NV] = [&[]; NV];
    for (j, to) in panels.iter_mut().enumerate() {
        *to = &b.panel(panel + j)[..k];
    }
    let col = panel * LANES;
    let mut acc: [[V; NV]; MR] = [[l.zero(); NV]; MR];
    match init {
        Init::Zero => {}
        Init::Bias(bias) => {
            let bias = bias[col..col + NV * LANES].as_chunks().0;
            for row in &mut acc {
                for (x, b) in row.iter_mut().zip(bias) {
                    *x = l.load(b);
                }
            }
        }
        Init::Add => {
            for (i, row) in acc.iter_mut().enumerate() {
                for (x, b) in row.iter_mut().zip(c[i * ldc + col..][..NV * LANES].as_chunks().0) {
                    *x = l.load(b);
                }
            }
        }
    }
    for p in 0..k {
        let mut right = [l.zero(); NV];
        for (to, panel) in right.iter_mut().zip(&panels) {
            *to = l.load(&panel[p]);
        }
        for i in 0..MR {
            let left = l.splat(rows[i][p]);
            for j in 0..NV {
                acc[i][j] = l.fma(left, right[j], acc[i][j]);
            }
        }
    }
    for (i, row) in acc.iter().enumerate() {
        for (to, x) in c[i * ldc + col..][..NV * LANES].as_chunks_mut().0.iter_mut().zip(row) {
            l.store(to, *x);
        }
    }
}

/// `MR` rows of [`nn`], all of its panels.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
fn nn_rows<L: Lanes, const MR: usize, const NV: usize>(
    l: L,
    a: &[f32],
    lda: usize,
    b: &Packed,
    panels: &Range<usize>,
    init: Init<'_>,
    c: &mut [f32],
    ldc: usize,
) {
    let mut j = panels.start;
    while j + NV <= panels.end {
        nn_tile::<L, MR, NV>(l, a, lda, b, j, init, c, ldc);
        j += NV;
    }
    while j < panels.end {
        nn_tile::<L, MR, 1>(l, a, lda, b, j, init, c, ldc);
        j += 1;
    }
}

/// `c[rows, n] = init + a[rows, k] * b` in the columns of these panels of `b`; `after(first row, rows)` is called with each finished group
/// of rows of `c`, hot in cache. `c` has padded rows: columns up to whole vectors are written.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
pub(crate) fn nn<L: Lanes>(
    l: L,
    rows: usize,
    a: &[f32],
    lda: usize,
    (b, panels): (&Packed, Range<usize>),
    init: Init<'_>,
    c: &mut [f32],
    ldc: usize,
    mut after: impl FnMut(usize, usize, &mut [f32]),
) {
    let mut r = 0;
    macro_rules! rows {
        ($mr:literal, $nv:literal) => {
            while rows - r >= $mr {
                let tile = &mut c[r * ldc..];
                nn_rows::<L, $mr, $nv>(l, &a[r * lda..], lda, b, &panels, init, tile, ldc);
                after(r, $mr, tile);
                r += $mr;
            }
        };
    }
    if L::WIDE {
        rows!(12, 2);
        rows!(8, 2);
        rows!(4, 4);
        rows!(2, 4);
        rows!(1, 4);
    } else {
        rows!(6, 1);
        rows!(3, 2);
        rows!(1, 2);
    }
}

struct Plain<'a> {
    rows: usize,
    a: (&'a [f32], usize),
    b: &'a Packed,
    init: Init<'a>,
    c: (&'a mut [f32], usize),
}

impl Task for Plain<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let whole = (self.b, self.b.panels());
        nn(l, self.rows, self.a.0, self.a.1, whole, self.init, self.c.0, self.c.1, |_, _, _| {});
    }
}

/// [`nn`] with nothing after it, `a` and `c` with their row strides.
#[inline(always)]
pub(crate) fn product<L: Lanes>(l: L, rows: usize, a: (&[f32], usize), b: &Packed, init: Init<'_>, c: (&mut [f32], usize)) {
    outline(l, Plain { rows, a, b, init, c });
}

/// One row of [`tn_tile`]: adds the outer product.
#[inline(always)]
fn tn_row<L: Lanes, const MR: usize, const NV: usize>(l: L, left: &[f32], right: &[f32], acc: &mut [[V; NV]; MR]) {
    let mut vectors = [l.zero(); NV];
    for (to, from) in vectors.iter_mut().zip(right.as_chunks().0) {
        *to = l.load(from);
    }
    for i in 0..MR {
        let x = l.splat(left[i]);
        for j in 0..NV {
            acc[i][j] = l.fma(x, vectors[j], acc[i][j]);
        }
    }
}

/// One register tile of [`tn`]: columns `i0..i0 + MR` of `a` against `NV` vectors of `b` from column `j0`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
fn tn_tile<L: Lanes, const MR: usize, const NV: usize>(
    l: L,
    rows: usize,
    (a, lda, i0): (&[f32], usize, usize),
    (b, ldb, j0): (&[f32], usize, usize),
    c: &mut [f32],
    ldc: usize,
) {
    let Some(last) = rows.checked_sub(1) else { return };
    let mut acc: [[V; NV]; MR] = [[l.zero(); NV]; MR];
    for (i, row) in acc.iter_mut().enumerate() {
        for (x, from) in row.iter_mut().zip(c[(i0 + i) * ldc + j0..][..NV * LANES].as_chunks().0) {
            *x = l.load(from);
        }
    }
    // Rows of one length are checked once, before the loop; the last may end with its last entry.
    assert!(i0 + MR <= lda && j0 + NV * LANES <= ldb && a.len() >= last * lda && b.len() >= last * ldb);
    for (left, right) in a.chunks_exact(lda).zip(b.chunks_exact(ldb)).take(last) {
        tn_row(l, &left[i0..i0 + MR], &right[j0..j0 + NV * LANES], &mut acc);
    }
    tn_row(l, &a[last * lda + i0..][..MR], &b[last * ldb + j0..][..NV * LANES], &mut acc);
    for (i, row) in acc.iter().enumerate() {
        for (to, x) in c[(i0 + i) * ldc + j0..][..NV * LANES].as_chunks_mut().0.iter_mut().zip(row) {
            l.store(to, *x);
        }
    }
}

/// `NV` vectors of columns of [`tn`], all rows of `c`.
#[inline(always)]
fn tn_columns<L: Lanes, const NV: usize>(
    l: L,
    rows: usize,
    (a, lda, k): (&[f32], usize, usize),
    b: (&[f32], usize, usize),
    c: &mut [f32],
    ldc: usize,
) {
    let mut i = 0;
    macro_rules! tiles {
        ($mr:literal) => {
            while k - i >= $mr {
                tn_tile::<L, $mr, NV>(l, rows, (a, lda, i), b, c, ldc);
                i += $mr;
            }
        };
    }
    if L::WIDE {
        tiles!(12);
        tiles!(8);
        tiles!(4);
    } else {
        tiles!(6);
        tiles!(3);
    }
    tiles!(1);
}

struct Transposed<'a> {
    rows: usize,
    a: (&'a [f32], usize, usize),
    b: (&'a [f32], usize, usize),
    c: &'a mut [f32],
    ldc: usize,
}

impl Task for Transposed<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (b, ldb, n) = self.b;
        let vectors = n.div_ceil(LANES);
        let mut j = 0;
        if L::WIDE {
            while j + 2 <= vectors {
                tn_columns::<L, 2>(l, self.rows, self.a, (b, ldb, j * LANES), self.c, self.ldc);
                j += 2;
            }
        }
        while j < vectors {
            tn_columns::<L, 1>(l, self.rows, self.a, (b, ldb, j * LANES), self.c, self.ldc);
            j += 1;
        }
    }
}

/// `c[k, n] += a[rows, k]^T * b[rows, n]`, the sum over rows in ascending order; `a` and `b` come with their row strides and
/// widths, of `b` and `c` whole vectors are used.
#[inline(always)]
pub(crate) fn tn<L: Lanes>(l: L, rows: usize, a: (&[f32], usize, usize), b: (&[f32], usize, usize), c: &mut [f32], ldc: usize) {
    outline(l, Transposed { rows, a, b, c, ldc });
}

//! Gradients: forward, loss and backward block by block, in a fixed number of accumulation lanes.

use std::ops::Range;

use super::block::{Tape, backward_block, forward_block};
use super::jvp::Direction;
use super::{BLOCK, Mlp};
use crate::buffer::Buf;
use crate::gemm::padded;
use crate::pool::Pool;
use crate::simd::{Lanes, Task, dispatch, dot};

/// Most accumulation lanes, that is, most threads that help with one gradient.
const MOST_LANES: usize = 8;

/// A loss as a sum over rows, evaluated where the network's output is still in cache.
pub trait RowLoss: Sync {
    /// Given the network's output for the rows `start ..` (`out`: `[block, out_width]`), writes the loss's derivative by it to
    /// all of `dout` (the same shape) and adds to `stats`.
    fn rows(&self, start: usize, out: &[f32], dout: &mut [f32], stats: &mut [f64]);
    /// How many statistics there are.
    fn stats_len(&self) -> usize;
}

/// Working memory of the gradients; grows with the largest network and batch that used it.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    lanes: Vec<LaneWork>,
}

#[derive(Clone, Debug, Default)]
struct LaneWork {
    tape: Tape,
    acc: Buf,
    stats: Vec<f64>,
}

/// Rows of a block and number of lanes, from the number of rows alone.
pub(crate) fn cut(rows: usize) -> (usize, usize) {
    let block = rows.div_ceil(4).next_multiple_of(12).clamp(24, BLOCK);
    (block, rows.div_ceil(block).min(MOST_LANES))
}

/// Where the output gradient comes from.
#[derive(Clone, Copy)]
enum Source<'a> {
    Loss(&'a dyn RowLoss),
    Given(&'a [f32]),
    /// A curvature, which is given the output's tangent in the output's place.
    Curved(&'a Direction<'a>, &'a dyn RowLoss),
}

/// One lane's share: rows `start .. end` in blocks.
struct Job<'a> {
    mlp: &'a Mlp,
    x: &'a [f32],
    source: Source<'a>,
    start: usize,
    end: usize,
    block: usize,
    weights: bool,
    work: &'a mut LaneWork,
    dx: Option<(&'a mut [f32], &'a Range<usize>)>,
}

impl Task for &mut Job<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (input, output) = (self.mlp.shape.input, self.mlp.out_width);
        let LaneWork { tape, acc, stats } = &mut *self.work;
        let mut at = self.start;
        while at < self.end {
            let rows = self.block.min(self.end - at);
            forward_block::<L, true>(l, self.mlp, &self.x[at * input..][..rows * input], rows, tape);
            let mut out = std::mem::take(&mut tape.out);
            match self.source {
                Source::Loss(loss) => {
                    tape.write_out::<true>(self.mlp, rows, &mut out[..rows * output]);
                    loss.rows(at, &out[..rows * output], &mut tape.dout[..rows * output], stats);
                }
                Source::Curved(along, curvature) => {
                    along.block(l, tape, rows, &mut out[..rows * output]);
                    curvature.rows(at, &out[..rows * output], &mut tape.dout[..rows * output], stats);
                }
                Source::Given(dout) => tape.dout[..rows * output].copy_from_slice(&dout[at * output..][..rows * output]),
            }
            tape.out = out;
            let dx = self.dx.as_mut().map(|(dx, columns)| {
                let width = columns.len();
                (&mut dx[(at - self.start) * width..][..rows * width], *columns)
            });
            backward_block(l, self.mlp, rows, tape, self.weights.then_some(&mut **acc), dx);
            at += rows;
        }
    }
}

/// All lanes; the sums end in the first one's accumulator and statistics.
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
fn run(
    pool: &Pool,
    mlp: &Mlp,
    x: &[f32],
    rows: usize,
    source: Source<'_>,
    weights: bool,
    dx: Option<(&mut [f32], Range<usize>)>,
    work: &mut Workspace,
) {
    mlp.check(x, rows);
    let (block, lanes) = cut(rows);
    let stats_len = match source {
        Source::Loss(loss) | Source::Curved(_, loss) => loss.stats_len(),
        Source::Given(_) => 0,
    };
    work.lanes.resize_with(lanes.max(work.lanes.len()).max(1), LaneWork::default);
    for lane in &mut work.lanes[..lanes.max(1)] {
        lane.tape.fit::<true>(mlp, block.min(rows));
        lane.acc.reset(if weights { mlp.acc_len } else { 0 });
        lane.stats.clear();
        lane.stats.resize(stats_len, 0.0);
    }
    let blocks = rows.div_ceil(block);
    let (mut left, columns) = dx.map_or((None, 0..0), |(dx, columns)| (Some(dx), columns));
    assert!(columns.end <= mlp.shape.input, "columns of the input");
    let mut jobs = Vec::with_capacity(lanes);
    for (i, work) in work.lanes[..lanes].iter_mut().enumerate() {
        let (start, end) = (i * blocks / lanes * block, rows.min((i + 1) * blocks / lanes * block));
        let dx = left.take().map(|dx| {
            let (mine, rest) = dx.split_at_mut((end - start) * columns.len());
            left = Some(rest);
            (mine, &columns)
        });
        jobs.push(Job { mlp, x, source, start, end, block, weights, work, dx });
    }
    pool.run(&mut jobs, |_, job| dispatch(mlp.isa, job));
    drop(jobs);
    let Some((first, rest)) = work.lanes[..lanes.max(1)].split_first_mut() else { return };
    for lane in &*rest {
        first.stats.iter_mut().zip(&lane.stats).for_each(|(a, b)| *a += b);
    }
    pool.fold(vec![(&mut first.acc[..], rest.iter().map(|lane| &lane.acc[..]).collect())]);
}

/// Gradients by the folded weights and biases to gradients by the flat parameters.
pub(crate) fn unfold(mlp: &Mlp, acc: &[f32], grad: &mut [f32]) {
    for layer in &mlp.layers {
        let (k, n) = (layer.k, layer.n);
        let db = &acc[layer.acc_b..][..n];
        grad[layer.bias..][..n].copy_from_slice(db);
        for p in 0..k {
            let at = layer.weight + p * n;
            if layer.flip {
                for (j, to) in grad[at..at + n].iter_mut().enumerate() {
                    *to = acc[layer.acc_w + j * layer.acc_ld + p];
                }
            } else {
                grad[at..at + n].copy_from_slice(&acc[layer.acc_w + p * layer.acc_ld..][..n]);
            }
            let Some(affine) = layer.before else { continue };
            let row = &mlp.params[at..at + n];
            grad[affine.gamma + p] = dot(row, &grad[at..at + n]);
            grad[affine.beta + p] = dot(row, db);
            let (gamma, beta) = (mlp.params[affine.gamma + p], mlp.params[affine.beta + p]);
            for (to, db) in grad[at..at + n].iter_mut().zip(db) {
                *to = *to * gamma + beta * db;
            }
        }
    }
    if let Some(affine) = mlp.tail {
        let width = mlp.out_width;
        grad[affine.gamma..][..width].copy_from_slice(&acc[mlp.acc_tail..][..width]);
        grad[affine.beta..][..width].copy_from_slice(&acc[mlp.acc_tail + padded(width)..][..width]);
    }
}

/// Gradient of a loss by the parameters: forward, loss and backward of a block of rows while it is in cache.
///
/// `x` is `[rows, input]`; `grad` (flat, as the parameters) and `stats` are overwritten. No rows: zeros.
///
/// # Panics
/// When a slice has not the length its shape says.
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
pub fn loss_grad(
    pool: &Pool,
    mlp: &Mlp,
    x: &[f32],
    rows: usize,
    loss: &dyn RowLoss,
    grad: &mut [f32],
    stats: &mut [f64],
    work: &mut Workspace,
) {
    assert_eq!(grad.len(), mlp.params.len(), "gradient slice");
    assert_eq!(stats.len(), loss.stats_len(), "statistics slice");
    run(pool, mlp, x, rows, Source::Loss(loss), true, None, work);
    unfold(mlp, &work.lanes[0].acc, grad);
    stats.copy_from_slice(&work.lanes[0].stats);
}

/// Gradients by the parameters, and by the input where `dx` (`[rows, input]`) is given, from the output's gradient `dout`
/// (`[rows, out_width]`). Activations are computed anew; `grad` and `dx` are overwritten.
///
/// # Panics
/// When a slice has not the length its shape says.
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
pub fn backward(
    pool: &Pool,
    mlp: &Mlp,
    x: &[f32],
    rows: usize,
    dout: &[f32],
    grad: &mut [f32],
    dx: Option<&mut [f32]>,
    work: &mut Workspace,
) {
    assert_eq!(grad.len(), mlp.params.len(), "gradient slice");
    assert_eq!(dout.len(), rows * mlp.out_width, "output gradient slice");
    assert!(dx.as_ref().is_none_or(|dx| dx.len() == rows * mlp.shape.input), "input gradient slice");
    let dx = dx.map(|dx| (dx, 0..mlp.shape.input));
    run(pool, mlp, x, rows, Source::Given(dout), true, dx, work);
    unfold(mlp, &work.lanes[0].acc, grad);
}

/// `grad = J^T M J v`, the Gauss-Newton product (Schraudolph 2002) along `params_tangent` (`v`, flat, as the parameters), tangent and
/// backward pass of a block of rows while its activations are in cache. `curvature.rows` is given `J v` where a loss is given the
/// output, and writes `M J v`.
///
/// # Panics
/// When a slice has not the length its shape says.
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
pub fn gauss_newton(
    pool: &Pool,
    mlp: &Mlp,
    params_tangent: &[f32],
    x: &[f32],
    rows: usize,
    curvature: &dyn RowLoss,
    grad: &mut [f32],
    work: &mut Workspace,
) {
    assert_eq!(grad.len(), mlp.params.len(), "gradient slice");
    let along = Direction::new(mlp, params_tangent);
    run(pool, mlp, x, rows, Source::Curved(&along, curvature), true, None, work);
    unfold(mlp, &work.lanes[0].acc, grad);
}

/// [`backward`] by these columns of the input alone, `[rows, columns]`: the rest of the work is left out.
///
/// # Panics
/// When a slice has not the length its shape says.
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
pub fn input_grad(
    pool: &Pool,
    mlp: &Mlp,
    x: &[f32],
    rows: usize,
    dout: &[f32],
    columns: Range<usize>,
    dx: &mut [f32],
    work: &mut Workspace,
) {
    assert_eq!(dout.len(), rows * mlp.out_width, "output gradient slice");
    assert_eq!(dx.len(), rows * columns.len(), "input gradient slice");
    run(pool, mlp, x, rows, Source::Given(dout), false, Some((dx, columns)), work);
}

/// Gradient of a loss by these columns of the input alone, with the loss evaluated where the output is still in cache: what climbs a
/// critic through its action input. `dx` (`[rows, columns]`) and `stats` are overwritten.
///
/// # Panics
/// When a slice has not the length its shape says.
#[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
pub fn loss_input_grad(
    pool: &Pool,
    mlp: &Mlp,
    x: &[f32],
    rows: usize,
    loss: &dyn RowLoss,
    columns: Range<usize>,
    dx: &mut [f32],
    stats: &mut [f64],
    work: &mut Workspace,
) {
    assert_eq!(dx.len(), rows * columns.len(), "input gradient slice");
    assert_eq!(stats.len(), loss.stats_len(), "statistics slice");
    run(pool, mlp, x, rows, Source::Loss(loss), false, Some((dx, columns)), work);
    stats.copy_from_slice(&work.lanes[0].stats);
}

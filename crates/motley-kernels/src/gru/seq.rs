//! Whole sequences with resets, and backpropagation through time.

use super::cell::{backward_rows, column_sums, forward_rows, output, output_back};
use super::{Gru, GruShape, INPUT_GATES, STATE_GATES};
use crate::buffer::Buf;
use crate::gemm::{Init, padded, product, stride, tn};
use crate::pool::Pool;
use crate::simd::{Lanes, Task, dispatch};

const MOST_LANES: usize = 8;

/// What [`Gru::forward_seq`] keeps for [`Gru::backward_seq`] and [`Gru::jvp_seq`], and their working memory; grows with the largest batch.
#[derive(Clone, Debug, Default)]
pub struct GruTape {
    pub(super) sequences: usize,
    /// How many of them go on at each step.
    pub(super) active: Vec<usize>,
    pub(super) lanes: Vec<Lane>,
}

impl GruTape {
    /// Rows of all steps together.
    pub(super) fn rows(&self) -> usize {
        self.active.iter().sum()
    }
}

/// A share of the sequences, all their steps; rows are ordered by step, then by sequence.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub x: Buf,
    /// States as each step found them (after the reset).
    pub h: Buf,
    pub gates: Buf,
    pub hat: Buf,
    pub rstd: Buf,
    /// Products of the state, new states or their gradients or tangents, one row.
    pub state: Buf,
    pub next: Buf,
    pub row: Buf,
    acc: Buf,
    /// Gradients by the input, of one step.
    dx: Buf,
    /// Tangents of the input's products, of one step.
    pub moved: Buf,
}

/// Sequences of a lane, from their number alone.
pub(super) fn share(sequences: usize) -> usize {
    sequences.div_ceil(MOST_LANES).next_multiple_of(12)
}

/// `[rows of all steps, width]` cut into the lanes' shares: for each lane one slice for every step that it takes part in.
pub(super) fn cut<'a>(mut data: &'a mut [f32], active: &[usize], sequences: usize, width: usize) -> Vec<Vec<&'a mut [f32]>> {
    let share = share(sequences).max(1);
    let mut lanes: Vec<Vec<&mut [f32]>> = (0..sequences.div_ceil(share)).map(|_| Vec::new()).collect();
    for count in active {
        let (step, rest) = data.split_at_mut(count * width);
        data = rest;
        for (lane, part) in lanes.iter_mut().zip(step.chunks_mut((share * width).max(1))) {
            lane.push(part);
        }
    }
    lanes
}

/// For each step that the lane of the sequences `start .. start + count` takes part in: how many of them go on, and their first row.
pub(super) fn steps_of(active: &[usize], start: usize, count: usize) -> Vec<Part> {
    let (mut row, mut kept) = (0, 0);
    let mut parts = Vec::with_capacity(active.len());
    for all in active {
        let count = all.saturating_sub(start).min(count);
        if count == 0 {
            break;
        }
        parts.push(Part { row: row + start, kept, count });
        (row, kept) = (row + all, kept + count);
    }
    parts
}

/// A lane's rows of one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The first of them among all rows.
    pub row: usize,
    /// The same among the lane's own.
    pub kept: usize,
    pub count: usize,
}

impl Gru {
    /// All steps of all sequences, longest first: at step t the first `active[t]` of them go on. Rows are those of step after step:
    /// `x` `[rows, input]`; `h0` `[sequences, hidden]`; `mask` `[rows]` multiplies the state before each step (0 begins an
    /// episode). Writes the outputs `y` `[rows, hidden]` and, where asked, the last state of each sequence, `[sequences, hidden]`.
    ///
    /// # Panics
    /// When a slice has not the length its shape says, or a sequence goes on after its end.
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
    pub fn forward_seq(
        &self,
        pool: &Pool,
        x: &[f32],
        h0: &[f32],
        mask: &[f32],
        active: &[usize],
        y: &mut [f32],
        h_last: Option<&mut [f32]>,
        tape: &mut GruTape,
    ) {
        self.run_seq(pool, x, h0, mask, active, y, h_last, tape, true);
    }

    /// The outputs of [`Gru::forward_seq`] alone, to the bit, for a unit that does not learn from them: each step overwrites what the one
    /// before left in `tape`, which then serves neither [`Gru::backward_seq`] nor [`Gru::jvp_seq`].
    ///
    /// # Panics
    /// As [`Gru::forward_seq`].
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
    pub fn values_seq(
        &self,
        pool: &Pool,
        x: &[f32],
        h0: &[f32],
        mask: &[f32],
        active: &[usize],
        y: &mut [f32],
        tape: &mut GruTape,
    ) {
        self.run_seq(pool, x, h0, mask, active, y, None, tape, false);
        // Whoever asks for a gradient all the same is refused by its check of lengths.
        tape.sequences = 0;
        tape.active.clear();
    }

    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
    fn run_seq(
        &self,
        pool: &Pool,
        x: &[f32],
        h0: &[f32],
        mask: &[f32],
        active: &[usize],
        y: &mut [f32],
        h_last: Option<&mut [f32]>,
        tape: &mut GruTape,
        keep: bool,
    ) {
        let GruShape { input, hidden, .. } = self.shape;
        let (rows, sequences) = (active.iter().sum::<usize>(), h0.len() / hidden.max(1));
        assert!(active.is_sorted_by(|a, b| a >= b) && active.iter().all(|a| *a <= sequences), "the longest sequences come first");
        assert_eq!(x.len(), rows * input, "input slice");
        assert_eq!(y.len(), rows * hidden, "output slice");
        assert!(h0.len() == sequences * hidden && mask.len() == rows, "first state and mask slices");
        assert!(h_last.as_ref().is_none_or(|h| h.len() == sequences * hidden), "last state slice");
        tape.sequences = sequences;
        tape.active.clear();
        tape.active.extend_from_slice(active);
        let lanes = sequences.div_ceil(share(sequences).max(1));
        tape.lanes.resize_with(lanes.max(tape.lanes.len()), Lane::default);
        let mut h_last = h_last;
        let mut jobs = Vec::with_capacity(lanes);
        for (i, (lane, y)) in tape.lanes.iter_mut().zip(cut(y, active, sequences, hidden)).enumerate() {
            let start = i * share(sequences);
            let count = share(sequences).min(sequences - start);
            let h_last = h_last.take().map(|h| {
                let (mine, rest) = h.split_at_mut(count * hidden);
                h_last = Some(rest);
                mine
            });
            let parts = steps_of(active, start, count);
            jobs.push(Forward { gru: self, x, h0: &h0[start * hidden..][..count * hidden], mask, parts, y, h_last, lane, keep });
        }
        pool.run(&mut jobs, |_, job| dispatch(self.isa, job));
    }

    /// Gradients of a loss with the output gradient `dy` `[rows, hidden]` at what the last [`Gru::forward_seq`] with this tape
    /// computed: by the parameters (`grad`, flat), by the input (`dx`, `[rows, input]`) and by the first states (`dh0`,
    /// `[sequences, hidden]`); all are overwritten. The tape is used up.
    ///
    /// # Panics
    /// When a slice has not the length its shape says.
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
    pub fn backward_seq(
        &self,
        pool: &Pool,
        dy: &[f32],
        mask: &[f32],
        grad: &mut [f32],
        dx: Option<&mut [f32]>,
        dh0: Option<&mut [f32]>,
        tape: &mut GruTape,
    ) {
        let GruShape { input, hidden, .. } = self.shape;
        let (rows, sequences) = (tape.rows(), tape.sequences);
        assert_eq!(dy.len(), rows * hidden, "output gradient slice");
        assert!(mask.len() == rows && grad.len() == self.shape.param_len(), "mask and gradient slices");
        assert!(dx.as_ref().is_none_or(|dx| dx.len() == rows * input), "input gradient slice");
        assert!(dh0.as_ref().is_none_or(|dh| dh.len() == sequences * hidden), "first state gradient slice");
        let lanes = sequences.div_ceil(share(sequences).max(1));
        let mut dx = dx.map(|dx| cut(dx, &tape.active, sequences, input).into_iter());
        let mut dh0 = dh0;
        let mut jobs = Vec::with_capacity(lanes);
        for (i, lane) in tape.lanes[..lanes].iter_mut().enumerate() {
            let start = i * share(sequences);
            let count = share(sequences).min(sequences - start);
            let dh0 = dh0.take().map(|dh| {
                let (mine, rest) = dh.split_at_mut(count * hidden);
                dh0 = Some(rest);
                mine
            });
            let dx = dx.as_mut().and_then(Iterator::next);
            jobs.push(Backward { gru: self, dy, mask, parts: steps_of(&tape.active, start, count), count, dx, dh0, lane });
        }
        pool.run(&mut jobs, |_, job| dispatch(self.isa, job));
        drop(jobs);
        grad.fill(0.0);
        let Some((first, rest)) = tape.lanes[..lanes].split_first_mut() else { return };
        pool.fold(vec![(&mut first.acc[..], rest.iter().map(|lane| &lane.acc[..]).collect())]);
        self.unfold(&first.acc, grad);
    }

    /// Offsets in an accumulator: weights of the input and the state, their biases, gamma, beta; its length.
    fn sums(&self) -> [usize; 7] {
        let gates = 3 * self.gate;
        let wh = self.shape.input * gates;
        let bi = wh + self.shape.hidden * gates;
        [0, wh, bi, bi + gates, bi + 2 * gates, bi + 2 * gates + self.gate, bi + 2 * gates + 2 * self.gate]
    }

    fn unfold(&self, acc: &[f32], grad: &mut [f32]) {
        let GruShape { hidden, output_norm, .. } = self.shape;
        let (to, from) = (self.shape.offsets(), self.sums());
        let parts = [(0, INPUT_GATES), (1, STATE_GATES), (2, INPUT_GATES), (3, STATE_GATES)];
        for (part, order) in parts {
            let rows = grad[to[part]..to[part + 1]].chunks_mut((3 * hidden).max(1));
            for (to, from) in rows.zip(acc[from[part]..].chunks(3 * self.gate)) {
                for (to, at) in to.chunks_mut(hidden).zip(order) {
                    to.copy_from_slice(&from[at * self.gate..][..hidden]);
                }
            }
        }
        if output_norm {
            grad[to[4]..][..hidden].copy_from_slice(&acc[from[4]..][..hidden]);
            grad[to[5]..][..hidden].copy_from_slice(&acc[from[5]..][..hidden]);
        }
    }
}

struct Forward<'a> {
    gru: &'a Gru,
    x: &'a [f32],
    /// Of the lane.
    h0: &'a [f32],
    mask: &'a [f32],
    parts: Vec<Part>,
    y: Vec<&'a mut [f32]>,
    h_last: Option<&'a mut [f32]>,
    lane: &'a mut Lane,
    /// Whether every step stays on the tape, or only the one at hand.
    keep: bool,
}

impl Task for &mut Forward<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let GruShape { input, hidden, .. } = self.gru.shape;
        let (gate, ld, count) = (self.gru.gate, stride(hidden), self.h0.len() / hidden.max(1));
        let (ldg, lds, ldx) = (stride(4 * gate), stride(3 * gate), stride(input));
        let kept = if self.keep { self.parts.last().map_or(0, |p| p.kept + p.count) } else { count };
        let lane = &mut *self.lane;
        lane.x.set_len(if self.keep { kept * ldx } else { 0 });
        lane.h.set_len(kept * ld);
        lane.gates.set_len(kept * ldg);
        lane.hat.set_len(kept * ld);
        lane.rstd.set_len(kept);
        lane.state.set_len(count * lds);
        lane.next.set_len(count * ld);
        for (to, from) in lane.next.chunks_mut(ld).zip(self.h0.chunks(hidden.max(1))) {
            to[..hidden].copy_from_slice(from);
            to[hidden..].fill(0.0);
        }
        for (part, y) in self.parts.iter().zip(&mut self.y) {
            let (first, count) = (if self.keep { part.kept } else { 0 }, part.count);
            let h = &mut lane.h[first * ld..][..count * ld];
            for ((to, from), mask) in h.chunks_mut(ld).zip(lane.next.chunks(ld)).zip(&self.mask[part.row..]) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = from * mask);
            }
            let x = &self.x[part.row * input..][..count * input];
            if self.keep {
                for (to, from) in lane.x[first * ldx..].chunks_mut(ldx).zip(x.chunks(input.max(1))) {
                    to[..input].copy_from_slice(from);
                }
            }
            let gates = &mut lane.gates[first * ldg..];
            product(l, count, (x, input), &self.gru.wi, Init::Bias(&self.gru.bi), (gates, ldg));
            product(l, count, (h, ld), &self.gru.wh, Init::Bias(&self.gru.bh), (&mut lane.state, lds));
            forward_rows(l, hidden, count, gates, &lane.state, h, &mut lane.next);
            let (hat, rstd) = (&mut lane.hat[first * ld..], &mut lane.rstd[first..]);
            output(l, hidden, count, self.gru.norm(), &lane.next, y, hat, Some(rstd));
        }
        if let Some(h_last) = &mut self.h_last {
            for (to, from) in h_last.chunks_mut(hidden.max(1)).zip(lane.next.chunks(ld)) {
                to.copy_from_slice(&from[..hidden]);
            }
        }
    }
}

struct Backward<'a> {
    gru: &'a Gru,
    dy: &'a [f32],
    mask: &'a [f32],
    parts: Vec<Part>,
    /// Sequences of the lane.
    count: usize,
    dx: Option<Vec<&'a mut [f32]>>,
    dh0: Option<&'a mut [f32]>,
    lane: &'a mut Lane,
}

impl Task for &mut Backward<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let GruShape { input, hidden, .. } = self.gru.shape;
        let (gate, ld, count) = (self.gru.gate, stride(hidden), self.count);
        let (ldg, ldx, gates3) = (stride(4 * gate), stride(input), 3 * gate);
        let Lane { x, h, gates, hat, rstd, next: dh, row, acc, dx: by_input, .. } = &mut *self.lane;
        let at = self.gru.sums();
        acc.reset(at[6]);
        row.set_len(padded(hidden));
        dh.reset(count * ld);
        by_input.set_len(count * ldx);
        for (t, part) in self.parts.iter().enumerate().rev() {
            let (first, count) = (part.kept, part.count);
            // Sequences that end here find nothing in `dh` yet.
            let dy = &self.dy[part.row * hidden..][..count * hidden];
            let (gamma, beta) = acc[at[4]..].split_at_mut(gate);
            output_back(l, hidden, self.gru.norm(), dy, &hat[first * ld..], &rstd[first..], dh, row, (gamma, beta));
            let (gates, h) = (&mut gates[first * ldg..], &h[first * ld..]);
            backward_rows(l, hidden, count, gates, h, dh);
            product(l, count, (&gates[gate..], ldg), &self.gru.wh_t, Init::Add, (dh, ld));
            for (dh, mask) in dh.chunks_mut(ld).zip(&self.mask[part.row..][..count]) {
                dh.iter_mut().for_each(|d| *d *= mask);
            }
            if let Some(dx) = self.dx.as_mut().and_then(|steps| steps.get_mut(t)) {
                product(l, count, (gates, ldg), &self.gru.wi_t, Init::Zero, (by_input, ldx));
                for (to, from) in dx.chunks_mut(input.max(1)).zip(by_input.chunks(ldx)) {
                    to.copy_from_slice(&from[..input]);
                }
            }
        }
        if let Some(to) = &mut self.dh0 {
            for (to, from) in to.chunks_mut(hidden.max(1)).zip(dh.chunks(ld)) {
                to.copy_from_slice(&from[..hidden]);
            }
        }
        let all = self.parts.last().map_or(0, |p| p.kept + p.count);
        if all == 0 {
            return;
        }
        tn(l, all, (x, ldx, input), (gates, ldg, gates3), &mut acc[at[0]..at[1]], gates3);
        tn(l, all, (h, ld, hidden), (&gates[gate..], ldg, gates3), &mut acc[at[1]..at[2]], gates3);
        column_sums(l, all, gates, ldg, &mut acc[at[2]..at[3]]);
        column_sums(l, all, &gates[gate..], ldg, &mut acc[at[3]..at[4]]);
    }
}

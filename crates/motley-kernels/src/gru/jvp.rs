//! Forward-mode products through whole sequences: how the outputs move when parameters and inputs move.

use super::cell::{output_tangent, tangent_rows};
use super::seq::{GruTape, Lane, Part, cut, share, steps_of};
use super::{Gru, GruShape};
use crate::gemm::{Init, padded, product, stride};
use crate::pool::Pool;
use crate::simd::{Lanes, Task, dispatch};

impl Gru {
    /// `y_tangent` (`[rows, hidden]`): the derivative of the outputs that the last [`Gru::forward_seq`] with this tape
    /// computed, along `params_tangent` (flat, as the parameters) and `x_tangent` (`[rows, input]`). First states do not
    /// move: a sequence is cut off there. `mask` is that of the forward pass. One pass over the steps, with two products where
    /// the forward pass has one; the tape stays as it was for [`Gru::backward_seq`].
    ///
    /// # Panics
    /// When a slice has not the length its shape says.
    pub fn jvp_seq(
        &self,
        pool: &Pool,
        params_tangent: &[f32],
        x_tangent: &[f32],
        mask: &[f32],
        y_tangent: &mut [f32],
        tape: &mut GruTape,
    ) {
        let GruShape { input, hidden, .. } = self.shape;
        let (rows, sequences) = (tape.rows(), tape.sequences);
        assert_eq!(x_tangent.len(), rows * input, "input tangent slice");
        assert_eq!(y_tangent.len(), rows * hidden, "output tangent slice");
        assert_eq!(mask.len(), rows, "mask slice");
        let mut moved = Self::with_isa(self.shape, self.isa);
        moved.pack(params_tangent);
        let mut jobs = Vec::new();
        for (i, (lane, y)) in tape.lanes.iter_mut().zip(cut(y_tangent, &tape.active, sequences, hidden)).enumerate() {
            let start = i * share(sequences);
            let count = share(sequences).min(sequences - start);
            let parts = steps_of(&tape.active, start, count);
            jobs.push(Jvp { gru: self, moved: &moved, x: x_tangent, mask, parts, count, y, lane });
        }
        pool.run(&mut jobs, |_, job| dispatch(self.isa, job));
    }
}

struct Jvp<'a> {
    gru: &'a Gru,
    /// The tangent of the parameters, packed as they are.
    moved: &'a Gru,
    x: &'a [f32],
    mask: &'a [f32],
    parts: Vec<Part>,
    /// Sequences of the lane.
    count: usize,
    y: Vec<&'a mut [f32]>,
    lane: &'a mut Lane,
}

impl Task for &mut Jvp<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let GruShape { input, hidden, .. } = self.gru.shape;
        let (gru, moved, count) = (self.gru, self.moved, self.count);
        let (gate, ld) = (gru.gate, stride(hidden));
        let (ldg, lds, ldx) = (stride(4 * gate), stride(3 * gate), stride(input));
        let norm = gru.norm().zip(moved.norm());
        let Lane { x, h, gates, hat, rstd, state, next: dh, row, moved: products, .. } = &mut *self.lane;
        products.set_len(count * lds);
        row.set_len(padded(hidden));
        dh.reset(count * ld);
        for (part, y) in self.parts.iter().zip(&mut self.y) {
            let Part { row: at, kept: first, count } = *part;
            let dh = &mut dh[..count * ld];
            for (dh, mask) in dh.chunks_mut(ld).zip(&self.mask[at..]) {
                dh.iter_mut().for_each(|d| *d *= mask);
            }
            product(l, count, (&self.x[at * input..], input), &gru.wi, Init::Bias(&moved.bi), (products, lds));
            product(l, count, (&x[first * ldx..], ldx), &moved.wi, Init::Add, (products, lds));
            product(l, count, (dh, ld), &gru.wh, Init::Bias(&moved.bh), (state, lds));
            product(l, count, (&h[first * ld..], ld), &moved.wh, Init::Add, (state, lds));
            tangent_rows(l, hidden, &mut gates[first * ldg..], &h[first * ld..], products, state, dh);
            output_tangent(l, hidden, norm, dh, &hat[first * ld..], &rstd[first..], row, y);
        }
    }
}

//! The monotone mixer of QMIX (Rashid et al., ICML 2018, figure 2): hypernetworks of the state make the weights that mix the
//! agents' values into one,
//!
//! `Q_tot = |W2(s)| . ELU(|W1(s)| q + b1(s)) + v(s)`, so that `dQ_tot / dq_i >= 0`.
//!
//! Forward, loss and backward of a block of rows run while it is in cache: the generated weights never leave it.

mod row;
#[cfg(test)]
mod tests;

use crate::buffer::Buf;
use crate::mlp::block::{Tape, backward_block, forward_block};
use crate::mlp::{Activation, BLOCK, Entry, Mlp, MlpShape, RowLoss, cut, lay_out, unfold};
use crate::pool::Pool;
use crate::simd::{Isa, Lanes, Task, dispatch};
use row::{Mixing, Slopes};

/// Sizes of a mixer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QmixShape {
    /// Entries of the state.
    pub state: usize,
    /// Values that are mixed, n.
    pub agents: usize,
    /// Width of the mixing layer, E.
    pub embed: usize,
    /// Hidden widths (ReLU) of the hypernetworks of W1 and W2; empty: they are linear.
    pub hyper: Vec<usize>,
}

impl QmixShape {
    /// The hypernetworks in the order of the layout, with their names: W1 (`[agents, embed]`), b1, W2, v (one hidden layer of
    /// width `embed`).
    fn nets(&self) -> [(&'static str, MlpShape); 4] {
        let net = |hidden: &[usize], output| MlpShape {
            input: self.state,
            input_norm: false,
            hidden: hidden.to_vec(),
            activation: Activation::Relu,
            last_activation: None,
            hidden_norm: false,
            output,
            output_activation: Activation::Identity,
        };
        [
            ("w1.", net(&self.hyper, self.agents * self.embed)),
            ("b1.", net(&[], self.embed)),
            ("w2.", net(&self.hyper, self.embed)),
            ("v.", net(&[self.embed], 1)),
        ]
    }

    /// The flat layout: the entries of [`MlpShape::entries`] behind `w1.`, `b1.`, `w2.` and `v.`.
    pub fn entries(&self) -> Vec<Entry> {
        let named = |(prefix, shape): (&str, MlpShape)| {
            shape.entries().into_iter().map(move |e| (format!("{prefix}{}", e.name), e.shape)).collect::<Vec<_>>()
        };
        lay_out(self.nets().into_iter().flat_map(named))
    }

    /// Length of the flat parameter vector.
    pub fn param_len(&self) -> usize {
        self.nets().iter().map(|(_, net)| net.param_len()).sum()
    }
}

/// A mixer with its weights packed for the kernels.
#[derive(Clone, Debug)]
pub struct Qmix {
    shape: QmixShape,
    isa: Isa,
    nets: [Mlp; 4],
}

/// Working memory of a mixer; grows with the largest batch that used it.
#[derive(Clone, Debug, Default)]
pub struct QmixWork {
    lanes: Vec<Lane>,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    tapes: [Tape; 4],
    sums: [Buf; 4],
    mixing: Mixing,
    stats: Vec<f64>,
}

impl Qmix {
    /// A mixer with all parameters zero.
    pub fn new(shape: QmixShape) -> Self {
        Self::with_isa(shape, Isa::current())
    }

    /// The same on a given instruction set (one that is missing falls back to the baseline): results are equal.
    pub fn with_isa(shape: QmixShape, isa: Isa) -> Self {
        let nets = shape.nets().map(|(_, net)| Mlp::with_isa(net, isa));
        Self { shape, isa, nets }
    }

    /// The shape it was built from.
    pub fn shape(&self) -> &QmixShape {
        &self.shape
    }

    /// Takes new parameters, laid out as [`QmixShape::entries`] says.
    ///
    /// # Panics
    /// When `params` has another length than [`QmixShape::param_len`].
    pub fn pack(&mut self, params: &[f32]) {
        assert_eq!(params.len(), self.shape.param_len(), "flat parameters of another mixer");
        let mut at = 0;
        for net in &mut self.nets {
            let len = net.shape().param_len();
            net.pack(&params[at..at + len]);
            at += len;
        }
    }

    /// `out[rows]`: the agents' values `q` (`[rows, agents]`) mixed in the states `s` (`[rows, state]`).
    ///
    /// # Panics
    /// When a slice has not the length its shape says.
    pub fn forward(&self, pool: &Pool, q: &[f32], s: &[f32], rows: usize, out: &mut [f32], work: &mut QmixWork) {
        self.check(q, s, rows);
        assert_eq!(out.len(), rows, "output slice");
        self.run(pool, q, s, rows, Goal::Value(out), work);
    }

    /// Gradient of a loss of `Q_tot` (a row function of width 1) by the parameters (`grad`, flat) and by the agents' values (`dq`,
    /// `[rows, agents]`); both and `stats` are overwritten.
    ///
    /// # Panics
    /// When a slice has not the length its shape says.
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one kernel")]
    pub fn loss_grad(
        &self,
        pool: &Pool,
        q: &[f32],
        s: &[f32],
        rows: usize,
        loss: &dyn RowLoss,
        dq: &mut [f32],
        grad: &mut [f32],
        stats: &mut [f64],
        work: &mut QmixWork,
    ) {
        self.check(q, s, rows);
        assert!(dq.len() == q.len() && grad.len() == self.shape.param_len(), "gradient slices");
        assert_eq!(stats.len(), loss.stats_len(), "statistics slice");
        self.run(pool, q, s, rows, Goal::Gradient(loss, dq), work);
        let mut at = 0;
        for (net, sums) in self.nets.iter().zip(&work.lanes[0].sums) {
            let len = net.shape().param_len();
            unfold(net, sums, &mut grad[at..at + len]);
            at += len;
        }
        stats.copy_from_slice(&work.lanes[0].stats);
    }

    fn check(&self, q: &[f32], s: &[f32], rows: usize) {
        assert_eq!(q.len(), rows * self.shape.agents, "values slice: {rows} rows of {}", self.shape.agents);
        assert_eq!(s.len(), rows * self.shape.state, "state slice: {rows} rows of {}", self.shape.state);
    }

    /// All lanes; the sums end in the first one.
    fn run(&self, pool: &Pool, q: &[f32], s: &[f32], rows: usize, goal: Goal<'_>, work: &mut QmixWork) {
        let (block, lanes) = cut(rows);
        let block = block.min(BLOCK);
        let (loss, mut left) = match goal {
            Goal::Value(out) => (None, out),
            Goal::Gradient(loss, dq) => (Some(loss), dq),
        };
        let width = if loss.is_some() { self.shape.agents } else { 1 };
        work.lanes.resize_with(lanes.max(work.lanes.len()).max(1), Lane::default);
        for lane in &mut work.lanes[..lanes.max(1)] {
            for ((net, tape), sums) in self.nets.iter().zip(&mut lane.tapes).zip(&mut lane.sums) {
                tape.fit::<true>(net, block.min(rows));
                sums.reset(if loss.is_some() { net.sums_len() } else { 0 });
            }
            lane.mixing.fit(&self.shape, block.min(rows));
            lane.stats.clear();
            lane.stats.resize(loss.map_or(0, RowLoss::stats_len), 0.0);
        }
        let blocks = rows.div_ceil(block.max(1));
        let mut jobs = Vec::with_capacity(lanes);
        for (i, lane) in work.lanes[..lanes].iter_mut().enumerate() {
            let (start, end) = (i * blocks / lanes * block, rows.min((i + 1) * blocks / lanes * block));
            let (out, rest) = left.split_at_mut((end - start) * width);
            left = rest;
            jobs.push(Job { mixer: self, q, s, loss, start, end, block, out, lane });
        }
        pool.run(&mut jobs, |_, job| dispatch(self.isa, job));
        drop(jobs);
        let Some((first, rest)) = work.lanes[..lanes.max(1)].split_first_mut() else { return };
        for lane in &*rest {
            first.stats.iter_mut().zip(&lane.stats).for_each(|(a, b)| *a += b);
        }
        let others = |k: usize| rest.iter().map(|lane| &lane.sums[k][..]).collect();
        pool.fold(first.sums.iter_mut().enumerate().map(|(k, sum)| (&mut sum[..], others(k))).collect());
    }
}

/// What is wanted: mixed values, or gradients (the slice is that by the agents' values).
enum Goal<'a> {
    Value(&'a mut [f32]),
    Gradient(&'a dyn RowLoss, &'a mut [f32]),
}

/// One lane's share: rows `start .. end` in blocks.
struct Job<'a> {
    mixer: &'a Qmix,
    q: &'a [f32],
    s: &'a [f32],
    loss: Option<&'a dyn RowLoss>,
    start: usize,
    end: usize,
    block: usize,
    /// `[end - start]` values, or `[end - start, agents]` gradients.
    out: &'a mut [f32],
    lane: &'a mut Lane,
}

impl Task for &mut Job<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let QmixShape { state, agents, .. } = self.mixer.shape;
        let nets = &self.mixer.nets;
        let Lane { tapes, sums, mixing, stats } = &mut *self.lane;
        let mut at = self.start;
        while at < self.end {
            let rows = self.block.min(self.end - at);
            let s = &self.s[at * state..][..rows * state];
            for (net, tape) in nets.iter().zip(tapes.iter_mut()) {
                forward_block::<L, true>(l, net, s, rows, tape);
            }
            let made = std::array::from_fn(|k| tapes[k].stage::<true>(&nets[k], nets[k].depth()));
            mixing.mix(l, &self.q[at * agents..][..rows * agents], made, rows);
            if let Some(loss) = self.loss {
                loss.rows(at, &mixing.total[..rows], &mut mixing.slope[..rows], stats);
                let [w1, b1, w2, v] = tapes;
                let to = Slopes { w1: &mut w1.dout, b1: &mut b1.dout, w2: &mut w2.dout, v: &mut v.dout };
                mixing.unmix(l, to, &mut self.out[(at - self.start) * agents..][..rows * agents], rows);
                for ((net, tape), sums) in nets.iter().zip(tapes.iter_mut()).zip(sums.iter_mut()) {
                    backward_block(l, net, rows, tape, Some(&mut **sums), None);
                }
            } else {
                self.out[at - self.start..][..rows].copy_from_slice(&mixing.total[..rows]);
            }
            at += rows;
        }
    }
}

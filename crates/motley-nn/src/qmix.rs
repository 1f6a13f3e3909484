//! QMIX's mixer as a learner's part: its parameters with their names and initial values beside the packed kernel.

use motley_core::Stream;
use motley_kernels::{Entry, Pool, Qmix, QmixShape, QmixWork, RowLoss};

use crate::init::{orthogonal, uniform};

/// A monotone mixer (Rashid et al. 2018) with its parameters.
#[derive(Debug, Clone)]
pub struct QmixMixer {
    params: Vec<f32>,
    kernel: Qmix,
}

/// Initial values of linear layers laid out as `entries` says: uniform in +-1/sqrt(fan_in) (PyTorch's, as the references have).
pub(crate) fn start(entries: &[Entry], rng: &Stream) -> Vec<f32> {
    let mut params = Vec::new();
    let mut fan_in = 1;
    for (k, entry) in entries.iter().enumerate() {
        if entry.shape.len() > 1 {
            fan_in = entry.shape[0].max(1);
        }
        params.extend(uniform(entry.shape.iter().product(), fan_in, &mut rng.fork(k as u64)));
    }
    params
}

/// The same with semi-orthogonal weights times `gain`, and biases 0.
fn start_orthogonal(entries: &[Entry], gain: f64, rng: &Stream) -> Vec<f32> {
    let layer = |(k, entry): (usize, &Entry)| match entry.shape[..] {
        [from, to] => orthogonal(from, to, gain, &mut rng.fork(k as u64)),
        _ => vec![0.0; entry.shape.iter().product()],
    };
    entries.iter().enumerate().flat_map(layer).collect()
}

impl QmixMixer {
    /// A mixer with initial parameters drawn from `rng`: uniform as PyTorch's, or with a `gain` (above 0) semi-orthogonal times it.
    pub fn new(shape: QmixShape, gain: f64, rng: &Stream) -> Self {
        let entries = shape.entries();
        let params = if gain > 0.0 { start_orthogonal(&entries, gain, rng) } else { start(&entries, rng) };
        let mut kernel = Qmix::new(shape);
        kernel.pack(&params);
        Self { params, kernel }
    }

    /// Its sizes.
    pub fn shape(&self) -> &QmixShape {
        self.kernel.shape()
    }

    /// All parameters, laid out as [`QmixShape::entries`] says.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// Changes the parameters and packs them anew.
    pub fn set_params(&mut self, change: impl FnOnce(&mut [f32])) {
        change(&mut self.params);
        self.kernel.pack(&self.params);
    }

    /// `Q_tot` (`[rows]`) of the agents' values `q` (`[rows, agents]`) in the states `s` (`[rows, state]`).
    pub fn forward(&self, pool: &Pool, q: &[f32], s: &[f32], work: &mut QmixWork) -> Vec<f32> {
        let rows = q.len() / self.shape().agents;
        let mut out = vec![0.0; rows];
        self.kernel.forward(pool, q, s, rows, &mut out, work);
        out
    }

    /// Gradients of a loss of `Q_tot`: by the parameters into `grad`, by the agents' values into `dq` (`[rows, agents]`).
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one call")]
    pub fn loss_grad(
        &self,
        pool: &Pool,
        (q, s): (&[f32], &[f32]),
        loss: &dyn RowLoss,
        dq: &mut [f32],
        grad: &mut [f32],
        stats: &mut [f64],
        work: &mut QmixWork,
    ) {
        self.kernel.loss_grad(pool, q, s, q.len() / self.shape().agents, loss, dq, grad, stats, work);
    }
}

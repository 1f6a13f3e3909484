//! Networks over one flat parameter vector: an optional convolution, an MLP trunk, an optional GRU, a linear head.
//!
//! Two engines run the same parameters. Acting, values and the plain MLP's training step go through the fused kernels on
//! slices; everything else (recurrent, convolutional, other devices) goes through Burn's autodiff on the same layout
//! ([`crate::burn_net`]). Tests hold the two equal.

use motley_core::{ObsSpace, Stream};
use motley_kernels::mlp::loss_grad;
use motley_kernels::{Activation, Mlp, MlpShape, Pool, RowLoss, Scratch, Workspace};

use serde::{Deserialize, Serialize};

use crate::burn_net;
use crate::conv::ConvShape;
use crate::gru::GruShape;
use crate::init::{Init, gain, orthogonal, uniform};

/// What a network looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetSpec {
    /// The observation or state it reads.
    pub obs: ObsSpace,
    /// Entries appended to it (agent one-hot).
    pub extra: usize,
    /// Widths of the hidden layers.
    pub hidden_sizes: Vec<usize>,
    /// After every hidden layer.
    #[serde(with = "activation_name")]
    pub activation: Activation,
    /// LayerNorm on the input.
    pub feature_norm: bool,
    /// LayerNorm after each activation.
    pub layer_norm: bool,
    /// A GRU between trunk and head, as wide as the last hidden layer.
    pub recurrent: bool,
    /// Entries put out.
    pub output: usize,
    /// Gain of the head's initial weights.
    pub output_gain: f64,
    /// How weights start.
    pub init: Init,
    /// Parameters beside the network that belong to it (a Gaussian's deviations), with initial values.
    pub free: Vec<f32>,
}

mod activation_name {
    use motley_kernels::Activation;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(activation: &Activation, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(activation.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Activation, D::Error> {
        let name = String::deserialize(d)?;
        Activation::from_name(&name).ok_or_else(|| D::Error::custom(format!("unknown activation \"{name}\"")))
    }
}

/// One named tensor in the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// E.g. `hidden.0.weight`.
    pub name: String,
    /// First index.
    pub offset: usize,
    /// Shape; weights are `[in, out]`.
    pub shape: Vec<usize>,
}

impl Entry {
    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its part of the flat vector.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// Rows to learn from. Recurrent rows are time-major sequences: row `l * sequences + k` is step `l` of sequence `k`.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `[rows, input]`
    pub x: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Present exactly for recurrent networks.
    pub sequence: Option<Sequence<'a>>,
}

/// How recurrent rows hang together.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Steps per sequence.
    pub length: usize,
    /// Memory before the first step, `[sequences, memory]`.
    pub memory: &'a [f32],
    /// Where an episode starts (memory is zeroed before that step), `[length, sequences]`.
    pub first: &'a [bool],
}

/// Reusable memory for forward passes of one thread.
#[derive(Debug, Default)]
pub struct NetScratch {
    kernel: Scratch,
    features: Vec<f32>,
    hidden: Vec<f32>,
    gates: Vec<f32>,
}

/// The stages that rows pass, packed for speed.
#[derive(Debug, Clone)]
pub(crate) struct Stages {
    pub(crate) conv: Option<(ConvShape, usize)>,
    pub(crate) trunk: Mlp,
    pub(crate) trunk_at: usize,
    pub(crate) memory: Option<Memory>,
}

#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) gru: GruShape,
    pub(crate) gru_at: usize,
    pub(crate) head: Mlp,
    pub(crate) head_at: usize,
}

/// A network: its specification, its layout, its parameters, and packed copies of them.
#[derive(Debug, Clone)]
pub struct Net {
    spec: NetSpec,
    entries: Vec<Entry>,
    params: Vec<f32>,
    stages: Stages,
}

impl Net {
    /// A network with initial parameters drawn from `rng`.
    pub fn new(spec: NetSpec, rng: &Stream) -> Self {
        let width = spec.hidden_sizes.last().copied();
        let mut entries: Vec<Entry> = Vec::new();
        let mut at = 0;
        let mut push = |prefix: &str, parts: Vec<Entry>, len: usize| {
            let base = at;
            entries.extend(parts.into_iter().map(|e| Entry { name: format!("{prefix}{}", e.name), offset: base + e.offset, shape: e.shape }));
            at += len;
            base
        };
        let conv = spec.obs.is_image().then(|| ConvShape::new(&spec.obs.shape, spec.hidden_sizes.first().map_or(8, |h| (h / 2).max(1)), spec.activation));
        let conv = conv.map(|c| {
            let base = push("conv.", c.entries(), c.param_len());
            (c, base)
        });
        let input = conv.as_ref().map_or(spec.obs.size(), |(c, _)| c.output_len()) + spec.extra;
        let is_image = conv.is_some();
        let trunk_shape = MlpShape {
            input,
            input_norm: spec.feature_norm && !is_image,
            hidden: spec.hidden_sizes.clone(),
            activation: spec.activation,
            hidden_norm: spec.layer_norm && !is_image,
            output: if spec.recurrent { 0 } else { spec.output },
            output_activation: Activation::Identity,
        };
        let trunk_at = push("", mlp_entries(&trunk_shape), trunk_shape.param_len());
        let memory = spec.recurrent.then(|| {
            let width = width.unwrap_or(input);
            let gru = GruShape { input: width, hidden: width, output_norm: true };
            let head = MlpShape {
                input: width,
                input_norm: false,
                hidden: Vec::new(),
                activation: spec.activation,
                hidden_norm: false,
                output: spec.output,
                output_activation: Activation::Identity,
            };
            let gru_at = push("gru.", gru.entries(), gru.param_len());
            let head_at = push("", mlp_entries(&head), head.param_len());
            Memory { gru, gru_at, head: Mlp::new(head), head_at }
        });
        if !spec.free.is_empty() {
            push("", vec![Entry { name: "free".into(), offset: 0, shape: vec![spec.free.len()] }], spec.free.len());
        }
        let params = vec![0.0; at];
        let mut net = Self { spec, entries, params, stages: Stages { conv, trunk: Mlp::new(trunk_shape), trunk_at, memory } };
        net.initialise(rng);
        net.repack();
        net
    }

    fn initialise(&mut self, rng: &Stream) {
        let hidden_gain = gain(self.spec.activation);
        for (k, entry) in self.entries.iter().enumerate() {
            let mut rng = rng.fork(k as u64);
            let leaf = entry.name.rsplit('.').next().unwrap_or_default();
            let fan_in = entry.shape[0];
            let is_weight = entry.shape.len() == 2;
            let scale = match entry.name.as_str() {
                "output.weight" => self.spec.output_gain,
                name if name.starts_with("gru.") => 1.0,
                _ => hidden_gain,
            };
            let values = match (self.spec.init, leaf) {
                (_, "gamma") => vec![1.0; entry.len()],
                (_, "beta") => vec![0.0; entry.len()],
                (_, "free") => self.spec.free.clone(),
                (Init::Orthogonal, _) if is_weight => orthogonal(entry.shape[0], entry.shape[1], scale, &mut rng),
                (Init::Orthogonal, _) => vec![0.0; entry.len()],
                (Init::Uniform, _) if is_weight => uniform(entry.len(), fan_in, &mut rng),
                (Init::Uniform, _) => {
                    let fan_in = self.entries[k.saturating_sub(1)].shape[0];
                    uniform(entry.len(), fan_in, &mut rng)
                }
            };
            self.params[entry.range()].copy_from_slice(&values);
        }
    }

    fn repack(&mut self) {
        let Self { params, stages, .. } = self;
        let trunk_len = stages.trunk.shape().param_len();
        stages.trunk.pack(&params[stages.trunk_at..stages.trunk_at + trunk_len]);
        if let Some(memory) = &mut stages.memory {
            let len = memory.head.shape().param_len();
            memory.head.pack(&params[memory.head_at..memory.head_at + len]);
        }
    }

    /// What it looks like.
    pub fn spec(&self) -> &NetSpec {
        &self.spec
    }

    /// The layout of the flat vector.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All parameters, in layout order.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// Changes the parameters and packs them anew.
    pub fn set_params(&mut self, change: impl FnOnce(&mut [f32])) {
        change(&mut self.params);
        self.repack();
    }

    /// The entry of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }

    /// The free parameters, and where they start.
    pub fn free(&self) -> &[f32] {
        &self.params[self.params.len() - self.spec.free.len()..]
    }

    /// Entries of one input row.
    pub fn input_len(&self) -> usize {
        self.spec.obs.size() + self.spec.extra
    }

    /// Entries of one output row.
    pub fn output_len(&self) -> usize {
        self.spec.output
    }

    /// Recurrent numbers per row (0 without a GRU).
    pub fn memory_len(&self) -> usize {
        self.stages.memory.as_ref().map_or(0, |m| m.gru.hidden)
    }

    pub(crate) fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Whether the fused kernels train it: no convolution, no memory.
    pub fn is_plain(&self) -> bool {
        self.stages.conv.is_none() && self.stages.memory.is_none()
    }

    /// Outputs `[rows, output]` of independent rows `[rows, input]`; `memory` `[rows, memory_len]` advances one step.
    /// Allocates nothing once `scratch` has grown.
    pub fn forward(&self, x: &[f32], rows: usize, memory: &mut [f32], out: &mut [f32], scratch: &mut NetScratch) {
        let NetScratch { kernel, features, hidden, gates } = scratch;
        let x = match &self.stages.conv {
            None => x,
            Some((conv, at)) => {
                let width = conv.output_len() + self.spec.extra;
                features.resize(rows * width, 0.0);
                for (row, into) in x.chunks_exact(self.input_len()).zip(features.chunks_exact_mut(width)) {
                    let (image, extra) = row.split_at(self.spec.obs.size());
                    let (maps, tail) = into.split_at_mut(conv.output_len());
                    conv.forward(&self.params[*at..*at + conv.param_len()], image, maps);
                    tail.copy_from_slice(extra);
                }
                features
            }
        };
        let Some(stage) = &self.stages.memory else {
            return self.stages.trunk.forward(x, rows, out, kernel);
        };
        let width = stage.gru.hidden;
        hidden.resize(2 * rows * width, 0.0);
        let (trunk_out, gru_out) = hidden.split_at_mut(rows * width);
        self.stages.trunk.forward(x, rows, trunk_out, kernel);
        gates.resize(6 * width, 0.0);
        let params = &self.params[stage.gru_at..stage.gru_at + stage.gru.param_len()];
        let per_row = memory.chunks_exact_mut(width).zip(gru_out.chunks_exact_mut(width));
        for (x, (memory, out)) in trunk_out.chunks_exact(stage.gru.input).zip(per_row) {
            stage.gru.step(params, x, memory, out, gates);
        }
        stage.head.forward(gru_out, rows, out, kernel);
    }

    /// Outputs of many independent rows of a network without memory, on all cores.
    pub fn forward_all(&self, pool: &Pool, x: &[f32], rows: usize, out: &mut [f32]) {
        let (input, output) = (self.input_len(), self.output_len());
        if self.is_plain() {
            return self.stages.trunk.forward_pool(pool, x, rows, out);
        }
        const BLOCK: usize = 64;
        let mut blocks: Vec<(&[f32], &mut [f32])> = x.chunks(BLOCK * input).zip(out.chunks_mut(BLOCK * output)).collect();
        pool.run(&mut blocks, |_, (x, out)| {
            self.forward(x, x.len() / input, &mut [], out, &mut NetScratch::default());
        });
    }

    /// Gradient of a row loss with respect to all parameters (free ones excluded: their part is the loss's own business and is
    /// left 0). `stats` accumulates what the loss reports.
    pub fn loss_grad(&self, pool: &Pool, batch: Batch<'_>, loss: &dyn RowLoss, grad: &mut [f32], stats: &mut [f64], work: &mut Workspace) {
        let network = self.params.len() - self.spec.free.len();
        grad[network..].fill(0.0);
        if self.is_plain() {
            loss_grad(pool, &self.stages.trunk, batch.x, batch.rows, loss, &mut grad[..network], stats, work);
        } else {
            burn_net::loss_grad(self, batch, loss, &mut grad[..network], stats);
        }
    }
}

fn mlp_entries(shape: &MlpShape) -> Vec<Entry> {
    shape.entries().into_iter().map(|e| Entry { name: e.name, offset: e.offset, shape: e.shape }).collect()
}

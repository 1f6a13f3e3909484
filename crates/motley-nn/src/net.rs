//! Networks over one flat parameter vector: an optional convolution or message passing, an MLP trunk, an optional GRU, a linear head.
//!
//! Two engines run the same parameters: Motley's fused kernels on slices (acting, values, and training on the CPU), and Burn's
//! autodiff on the same layout ([`crate::burn_net`]: the reference that tests hold the kernels to, and the way to a GPU).

use std::sync::Arc;

use burn::tensor::Device;
use motley_core::{ObsSpace, Stream};
use motley_kernels::{Activation, Conv, ConvScratch, ConvShape, Gru, GruScratch, GruShape, Mlp, MlpShape, Pool, Scratch};
use serde::{Deserialize, Serialize};

use crate::graph::{Graph, GraphKept, GraphStage};
use crate::init::{Init, gain, orthogonal, uniform};
use crate::optim::{Adam, StepReport, UpdateError};

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
    /// After the last hidden layer, where that one differs (the tanh in front of HARL's squashed Gaussians).
    #[serde(default, skip_serializing_if = "Option::is_none", with = "activation_name::optional")]
    pub last_activation: Option<Activation>,
    /// LayerNorm on the input.
    pub feature_norm: bool,
    /// LayerNorm after each activation, and on the GRU's output.
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

    pub(super) mod optional {
        use motley_kernels::Activation;
        use serde::{Deserializer, Serializer};

        pub(crate) fn serialize<S: Serializer>(activation: &Option<Activation>, s: S) -> Result<S::Ok, S::Error> {
            match activation {
                Some(activation) => super::serialize(activation, s),
                None => s.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Activation>, D::Error> {
            super::deserialize(d).map(Some)
        }
    }
}

impl NetSpec {
    /// What follows the Linear of hidden layer `i`.
    pub fn activation_after(&self, i: usize) -> Activation {
        let is_last = i + 1 == self.hidden_sizes.len();
        self.last_activation.filter(|_| is_last).unwrap_or(self.activation)
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

/// Rows to learn from. Recurrent rows are time-major sequences: those of the first step, then those of the second, and so on.
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
    /// How many sequences go on at each step, the longest first: never more than at the step before.
    pub active: &'a [usize],
    /// Memory before the first step, `[sequences, memory]`.
    pub memory: &'a [f32],
    /// Where an episode starts (memory is zeroed before that step), `[rows]`.
    pub first: &'a [bool],
}

/// Reusable memory for forward passes of one thread.
#[derive(Debug, Default)]
pub struct NetScratch {
    mlp: Scratch,
    conv: ConvScratch,
    gru: GruScratch,
    pixels: Vec<f32>,
    maps: Vec<f32>,
    features: Vec<f32>,
    hidden: Vec<f32>,
    next: Vec<f32>,
    graph: GraphKept,
}

/// What computes gradients. Values are always on slices, and so is acting, but for collection on a device other than the CPU
/// ([`crate::TeamPolicy::on`]).
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Engine {
    /// Motley's fused kernels on the CPU.
    #[default]
    Fused,
    /// Burn's autodiff on one of its devices: the reference for the kernels, and the way to a GPU.
    Burn(Device),
}

impl Engine {
    /// The engine of a `device` setting: `cpu`, `flex` (Burn on the CPU), and those that this build has.
    pub fn for_device(name: &str) -> Option<Self> {
        match name {
            "cpu" => Some(Self::Fused),
            "flex" => Some(Self::Burn(Device::flex())),
            #[cfg(feature = "cuda")]
            "cuda" => Some(Self::Burn(Device::cuda(0))),
            #[cfg(feature = "wgpu")]
            "wgpu" => Some(Self::Burn(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice))),
            _ => None,
        }
    }

    /// The device on which collection acts: that of the gradients, unless it is the CPU, where the kernels are faster.
    pub fn acts_on(&self) -> Option<&Device> {
        match self {
            Self::Burn(device) if *device != Device::flex() => Some(device),
            _ => None,
        }
    }
}

/// The stages that rows pass, packed for speed, with where their parameters begin.
#[derive(Debug, Clone)]
pub(crate) struct Stages {
    pub(crate) conv: Option<(Conv, usize)>,
    pub(crate) graph: Option<(GraphStage, usize)>,
    pub(crate) trunk: Mlp,
    pub(crate) trunk_at: usize,
    pub(crate) memory: Option<Memory>,
}

#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) gru: Gru,
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
        Self::build(spec, None, rng)
    }

    /// A network that reads the rows of a communication graph; `spec.obs` becomes such a row.
    pub fn on_graph(mut spec: NetSpec, graph: Arc<Graph>, rng: &Stream) -> Self {
        spec.obs = ObsSpace::vector(graph.row_len());
        Self::build(spec, Some(graph), rng)
    }

    fn build(spec: NetSpec, graph: Option<Arc<Graph>>, rng: &Stream) -> Self {
        let mut net = Self::zeros(spec, graph);
        net.initialise(rng);
        net.repack();
        net
    }

    /// The layout of the flat vector of such a network, which is not built: it takes no memory that grows with its layers.
    pub fn layout(spec: &NetSpec, graph: Option<&Graph>) -> Vec<Entry> {
        Shapes::new(spec, graph).layout.entries
    }

    /// A network whose parameters are all 0, to be set. With a graph `spec.obs` is one of its rows.
    pub fn zeros(spec: NetSpec, graph: Option<Arc<Graph>>) -> Self {
        let Shapes { graph: messages, conv, trunk: (trunk, trunk_at), memory, layout } = Shapes::new(&spec, graph.as_deref());
        let stages = Stages {
            conv: conv.map(|(shape, at)| (Conv::new(shape), at)),
            graph: graph.zip(messages).map(|(graph, (phi, at))| (GraphStage::new(graph, phi), at)),
            trunk: Mlp::new(trunk),
            trunk_at,
            memory: memory.map(|((gru, gru_at), (head, head_at))| Memory {
                gru: Gru::new(gru),
                gru_at,
                head: Mlp::new(head),
                head_at,
            }),
        };
        Self { params: vec![0.0; layout.len], entries: layout.entries, spec, stages }
    }

    fn initialise(&mut self, rng: &Stream) {
        let hidden_gain = gain(self.spec.activation);
        let last = format!("hidden.{}.weight", self.spec.hidden_sizes.len().wrapping_sub(1));
        let mut fan_in = 1;
        for (k, entry) in self.entries.iter().enumerate() {
            let mut rng = rng.fork(k as u64);
            let leaf = entry.name.rsplit('.').next().unwrap_or_default();
            let cols = entry.shape[entry.shape.len() - 1];
            let rows = entry.len() / cols.max(1);
            let is_weight = entry.shape.len() > 1;
            if is_weight {
                fan_in = rows;
            }
            let scale = match entry.name.as_str() {
                "output.weight" => self.spec.output_gain,
                name if name.starts_with("gru.") => 1.0,
                name if name == last => self.spec.last_activation.map_or(hidden_gain, gain),
                _ => hidden_gain,
            };
            let values = match (self.spec.init, leaf) {
                (_, "gamma") => vec![1.0; entry.len()],
                (_, "beta") => vec![0.0; entry.len()],
                (_, "free") => self.spec.free.clone(),
                (Init::Orthogonal, _) if is_weight => orthogonal(rows, cols, scale, &mut rng),
                (Init::Orthogonal, _) => vec![0.0; entry.len()],
                (Init::Uniform, _) => uniform(entry.len(), fan_in, &mut rng),
            };
            self.params[entry.range()].copy_from_slice(&values);
        }
    }

    fn repack(&mut self) {
        let Self { params, stages, .. } = self;
        if let Some((conv, at)) = &mut stages.conv {
            conv.pack(&params[*at..*at + conv.shape().param_len()]);
        }
        if let Some((stage, at)) = &mut stages.graph {
            let len = stage.phi.shape().param_len();
            stage.phi.pack(&params[*at..*at + len]);
        }
        let trunk = stages.trunk_at..stages.trunk_at + stages.trunk.shape().param_len();
        stages.trunk.pack(&params[trunk]);
        if let Some(memory) = &mut stages.memory {
            let len = memory.gru.shape().param_len();
            memory.gru.pack(&params[memory.gru_at..memory.gru_at + len]);
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

    /// One guarded step of `adam` downhill along `grad`; `name` is the network's in messages.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`], with the parameters as they were.
    pub fn step(&mut self, adam: &mut Adam, name: &str, grad: &[f32], lr: f64) -> Result<StepReport, UpdateError> {
        let report = adam.step(name, &mut self.params, grad, lr)?;
        self.repack();
        Ok(report)
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
        self.stages.memory.as_ref().map_or(0, |m| m.gru.shape().hidden)
    }

    pub(crate) fn stages(&self) -> &Stages {
        &self.stages
    }

    /// The communication graph whose rows it reads.
    pub fn graph(&self) -> Option<&Arc<Graph>> {
        self.stages.graph.as_ref().map(|(stage, _)| &stage.graph)
    }

    /// Whether the fused kernels train it: no convolution, no messages, no memory.
    pub fn is_plain(&self) -> bool {
        self.stages.conv.is_none() && self.stages.graph.is_none() && self.stages.memory.is_none()
    }

    /// Outputs `[rows, output]` of independent rows `[rows, input]`; `memory` `[rows, memory_len]` advances one step.
    /// Allocates nothing once `scratch` has grown.
    pub fn forward(&self, x: &[f32], rows: usize, memory: &mut [f32], out: &mut [f32], scratch: &mut NetScratch) {
        let NetScratch { mlp, conv, gru, pixels, maps, features, hidden, next, graph } = scratch;
        let x = if self.stages.conv.is_some() {
            self.convolve(x, rows, pixels, maps, features, conv);
            features
        } else if let Some((stage, _)) = &self.stages.graph {
            stage.forward(None, x, self.input_len(), features, graph, mlp);
            features
        } else {
            x
        };
        let Some(stage) = &self.stages.memory else {
            return self.stages.trunk.forward(x, rows, out, mlp);
        };
        let width = stage.gru.shape().hidden;
        hidden.resize(2 * rows * width, 0.0);
        next.resize(rows * width, 0.0);
        let (trunk_out, gru_out) = hidden.split_at_mut(rows * width);
        self.stages.trunk.forward(x, rows, trunk_out, mlp);
        stage.gru.step(trunk_out, memory, next, gru_out, rows, gru);
        memory.copy_from_slice(next);
        stage.head.forward(gru_out, rows, out, mlp);
    }

    /// Images to feature rows: `x / 255 -> convolution -> flatten`, the extra entries appended.
    pub(crate) fn convolve(
        &self,
        x: &[f32],
        rows: usize,
        pixels: &mut Vec<f32>,
        maps: &mut Vec<f32>,
        features: &mut Vec<f32>,
        scratch: &mut ConvScratch,
    ) {
        let Some((conv, _)) = &self.stages.conv else { return };
        let (size, flat) = (self.spec.obs.size(), conv.shape().out_len());
        pixels.clear();
        maps.resize(rows * flat, 0.0);
        features.clear();
        for row in x.chunks_exact(self.input_len()) {
            pixels.extend(row[..size].iter().map(|p| p / 255.0));
        }
        conv.forward(pixels, rows, maps, scratch);
        for (row, maps) in x.chunks_exact(self.input_len()).zip(maps.chunks_exact(flat)) {
            features.extend_from_slice(maps);
            features.extend_from_slice(&row[size..]);
        }
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

    /// Runs a recurrent network over whole sequences: `x` and `out` are `[sequences, steps, ..]`, `memory` `[sequences, memory_len]` is
    /// that before the first step and ends as that after the last, `starts(sequence, step)` says where it is zeroed. `held`
    /// `[sequences, steps, memory_len]`, where given, takes the memory before each step.
    pub fn run_sequences(
        &self,
        pool: &Pool,
        x: &[f32],
        steps: usize,
        starts: &(dyn Fn(usize, usize) -> bool + Sync),
        memory: &mut [f32],
        out: &mut [f32],
        held: Option<&mut [f32]>,
    ) {
        let (input, output, width) = (self.input_len(), self.output_len(), self.memory_len());
        let sequences = memory.len() / width.max(1);
        let each = sequences.div_ceil(pool.threads()).max(1);
        let mut nothing = Vec::new();
        let mut helds: Vec<Option<&mut [f32]>> = match held {
            Some(held) => held.chunks_mut(each * steps * width).map(Some).collect(),
            None => {
                nothing.resize_with(sequences.div_ceil(each), || None);
                nothing
            }
        };
        let parts =
            x.chunks(each * steps * input).zip(out.chunks_mut(each * steps * output)).zip(memory.chunks_mut(each * width));
        let mut parts: Vec<_> = parts.zip(helds.iter_mut()).collect();
        pool.run(&mut parts, |p, (((x, out), memory), held)| {
            let count = memory.len() / width;
            let (mut rows, mut results, mut scratch) =
                (vec![0.0; count * input], vec![0.0; count * output], NetScratch::default());
            for t in 0..steps {
                for k in 0..count {
                    let at = k * steps + t;
                    rows[k * input..(k + 1) * input].copy_from_slice(&x[at * input..(at + 1) * input]);
                    if starts(p * each + k, t) {
                        memory[k * width..(k + 1) * width].fill(0.0);
                    }
                    if let Some(held) = held {
                        held[at * width..(at + 1) * width].copy_from_slice(&memory[k * width..(k + 1) * width]);
                    }
                }
                self.forward(&rows, count, memory, &mut results, &mut scratch);
                for k in 0..count {
                    let at = k * steps + t;
                    out[at * output..(at + 1) * output].copy_from_slice(&results[k * output..(k + 1) * output]);
                }
            }
        });
    }
}

/// Entries laid one after the other.
#[derive(Default)]
struct Layout {
    entries: Vec<Entry>,
    len: usize,
}

impl Layout {
    fn push(&mut self, prefix: &str, parts: Vec<motley_kernels::Entry>) -> usize {
        let at = self.len;
        for part in parts {
            let entry = Entry { name: format!("{prefix}{}", part.name), offset: self.len, shape: part.shape };
            self.len += entry.len();
            self.entries.push(entry);
        }
        at
    }
}

/// The shapes of a network's stages, each with where its parameters begin, and the layout of all of them.
struct Shapes {
    graph: Option<(MlpShape, usize)>,
    conv: Option<(ConvShape, usize)>,
    trunk: (MlpShape, usize),
    /// The GRU and the head behind it.
    memory: Option<((GruShape, usize), (MlpShape, usize))>,
    layout: Layout,
}

impl Shapes {
    fn new(spec: &NetSpec, graph: Option<&Graph>) -> Self {
        let mut layout = Layout::default();
        let messages = graph.map(|graph| {
            let shape = graph.phi(spec.activation);
            let at = layout.push("message.", shape.entries());
            (shape, at)
        });
        let conv = conv_shape(spec).map(|shape| (shape, layout.push("conv.", shape.entries())));
        let trunk = trunk_shape(spec, conv.map(|(shape, _)| shape), graph.map(Graph::out_len));
        let (width, trunk_at) = (trunk.out_width(), layout.push("", trunk.entries()));
        let memory = spec.recurrent.then(|| {
            let gru = GruShape { input: width, hidden: width, output_norm: spec.layer_norm };
            let head = linear(width, spec.output);
            let (gru_at, head_at) = (layout.push("gru.", gru.entries()), layout.push("", head.entries()));
            ((gru, gru_at), (head, head_at))
        });
        if !spec.free.is_empty() {
            layout.push("", vec![motley_kernels::Entry { name: "free".into(), offset: 0, shape: vec![spec.free.len()] }]);
        }
        Self { graph: messages, conv, trunk: (trunk, trunk_at), memory, layout }
    }
}

/// Images pass a 3 x 3 convolution with half as many filters as the first hidden layer is wide (HARL).
fn conv_shape(spec: &NetSpec) -> Option<ConvShape> {
    let [height, width, channels] = spec.obs.shape[..] else { return None };
    if !spec.obs.is_image() {
        return None;
    }
    let filters = spec.hidden_sizes.first().map_or(8, |h| (h / 2).max(1));
    Some(ConvShape { height, width, channels, filters, activation: spec.activation })
}

/// The MLP after the convolution or the messages, or on the vector; with a GRU it has no output layer.
fn trunk_shape(spec: &NetSpec, conv: Option<ConvShape>, graph: Option<usize>) -> MlpShape {
    let is_image = conv.is_some();
    let read = conv.map(|c| c.out_len()).or(graph).unwrap_or(spec.obs.size());
    MlpShape {
        input: read + spec.extra,
        input_norm: spec.feature_norm && !is_image,
        hidden: spec.hidden_sizes.clone(),
        activation: spec.activation,
        last_activation: spec.last_activation,
        hidden_norm: spec.layer_norm && !is_image,
        output: if spec.recurrent { 0 } else { spec.output },
        output_activation: Activation::Identity,
    }
}

fn linear(input: usize, output: usize) -> MlpShape {
    MlpShape {
        input,
        input_norm: false,
        hidden: Vec::new(),
        activation: Activation::Identity,
        last_activation: None,
        hidden_norm: false,
        output,
        output_activation: Activation::Identity,
    }
}

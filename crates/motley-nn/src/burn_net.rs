//! The same networks on Burn: the way to devices other than the CPU, and the reference that the fused kernels are held to.
//!
//! The loss itself stays a row function on slices: Burn runs the network forward, the row function turns its output into
//! `d loss / d output`, and Burn's backward of `sum(output * d_output)` is the gradient of the loss.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation};
use motley_kernels::{Activation, ConvShape, MlpShape, RowLoss};

use crate::graph::{GraphKept, GraphStage};
use crate::net::{Batch, Memory, Net, Sequence};
use crate::passes::apply_loss;

const LAYER_NORM_EPS: f64 = 1e-5;

/// A tensor from a slice.
fn tensor<const D: usize>(data: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(data.to_vec(), shape), device)
}

/// A tensor's values.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec::<f32>().unwrap_or_default()
}

/// The flat parameters with a cursor: layers take what they need in layout order.
struct Cursor {
    params: Tensor<1>,
    at: usize,
}

impl Cursor {
    fn vector(&mut self, len: usize) -> Tensor<2> {
        self.matrix(1, len)
    }

    fn matrix(&mut self, rows: usize, cols: usize) -> Tensor<2> {
        let from = self.at;
        self.at += rows * cols;
        self.params.clone().narrow(0, from, rows * cols).reshape([rows, cols])
    }
}

fn act(x: Tensor<2>, kind: Activation) -> Tensor<2> {
    match kind {
        Activation::Identity => x,
        Activation::Relu => activation::relu(x),
        Activation::Tanh => activation::tanh(x),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::LeakyRelu => activation::leaky_relu(x, 0.01),
        Activation::Elu => {
            let below = x.clone().clamp_max(0.0).exp() - 1.0;
            activation::relu(x) + below
        }
        Activation::Selu => {
            const ALPHA: f64 = 1.673_263_242_354_377_2;
            const SCALE: f64 = 1.050_700_987_355_480_5;
            let below = (x.clone().clamp_max(0.0).exp() - 1.0) * ALPHA;
            (activation::relu(x) + below) * SCALE
        }
    }
}

/// `(x - mean) / sqrt(var + 1e-5) * gamma + beta` over each row.
fn layer_norm(x: Tensor<2>, gamma: Tensor<2>, beta: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().powi_scalar(2).mean_dim(1);
    centred / (variance + LAYER_NORM_EPS).sqrt() * gamma + beta
}

fn mlp(cursor: &mut Cursor, shape: &MlpShape, mut x: Tensor<2>) -> Tensor<2> {
    let mut width = shape.input;
    if shape.input_norm {
        let (gamma, beta) = (cursor.vector(width), cursor.vector(width));
        x = layer_norm(x, gamma, beta);
    }
    for (i, &next) in shape.hidden.iter().enumerate() {
        let (weight, bias) = (cursor.matrix(width, next), cursor.vector(next));
        x = act(x.matmul(weight) + bias, shape.activation_after(i));
        if shape.hidden_norm {
            let (gamma, beta) = (cursor.vector(next), cursor.vector(next));
            x = layer_norm(x, gamma, beta);
        }
        width = next;
    }
    if shape.output > 0 {
        let (weight, bias) = (cursor.matrix(width, shape.output), cursor.vector(shape.output));
        x = act(x.matmul(weight) + bias, shape.output_activation);
    }
    x
}

/// `[rows, height * width * channels]` to `[rows, h * w * filters]`.
fn conv(cursor: &mut Cursor, shape: &ConvShape, x: Tensor<2>) -> Tensor<2> {
    let rows = x.dims()[0];
    let weight =
        cursor.matrix(9 * shape.channels, shape.filters).reshape([3, 3, shape.channels, shape.filters]).permute([3, 2, 0, 1]);
    let bias = cursor.vector(shape.filters).reshape([shape.filters]);
    let image = (x / 255.0).reshape([rows, shape.height, shape.width, shape.channels]).permute([0, 3, 1, 2]);
    let maps = conv2d(image, weight, Some(bias), ConvOptions::new([1, 1], [0, 0], [1, 1], 1));
    act(maps.permute([0, 2, 3, 1]).reshape([rows, shape.out_len()]), shape.activation)
}

/// Message passing as the product of a `[rows, edges]` incidence matrix with phi's outputs.
fn messages(cursor: &mut Cursor, stage: &GraphStage, x: Tensor<2>, rows: &[f32], input: usize, device: &Device) -> Tensor<2> {
    let (node, width, count) = (stage.graph.node(), stage.graph.width(), x.dims()[0]);
    let mut kept = GraphKept::default();
    let (edges, receivers) = stage.edges(rows, input, &mut kept);
    let shape = stage.phi.shape();
    let sums = if receivers.is_empty() {
        // The parameters are there all the same.
        cursor.at += shape.param_len();
        Tensor::zeros([count, width], device)
    } else {
        let mut incidence = vec![0.0; count * receivers.len()];
        receivers.iter().enumerate().for_each(|(e, r)| incidence[r * receivers.len() + e] = 1.0);
        let sent = mlp(cursor, shape, tensor(edges, [receivers.len(), shape.input], device));
        tensor(&incidence, [count, receivers.len()], device).matmul(sent)
    };
    let nodes = x.clone().slice([0..count, 0..node]);
    let size = stage.graph.row_len();
    if input == size {
        Tensor::cat(vec![nodes, sums], 1)
    } else {
        Tensor::cat(vec![nodes, sums, x.slice([0..count, size..input])], 1)
    }
}

/// What the recurrent stages make of a batch.
struct Recurrent {
    /// What the head reads, `[rows, hidden]`.
    read: Tensor<2>,
    /// The memory behind the last step of the sequences that reach it, `[sequences, hidden]`.
    memory: Tensor<2>,
}

/// The recurrent stages over time-major rows, and the head's output rows.
fn recur(cursor: &mut Cursor, stage: &Memory, x: Tensor<2>, batch: &Batch<'_>, device: &Device) -> (Recurrent, Tensor<2>) {
    let shape = stage.gru.shape();
    let h = shape.hidden;
    let (w_ih, w_hh) = (cursor.matrix(shape.input, 3 * h), cursor.matrix(h, 3 * h));
    let (b_ih, b_hh) = (cursor.vector(3 * h), cursor.vector(3 * h));
    let norm = shape.output_norm.then(|| (cursor.vector(h), cursor.vector(h)));
    let one_step = [batch.rows];
    let (active, start, first): (&[usize], &[f32], &[bool]) =
        batch.sequence.map_or((&one_step, &[], &[]), |s| (s.active, s.memory, s.first));
    let sequences = active.first().copied().unwrap_or(0);
    let inputs = x.matmul(w_ih) + b_ih;
    let mut state: Tensor<2> =
        if start.is_empty() { Tensor::zeros([sequences, h], device) } else { tensor(start, [sequences, h], device) };
    let mut outputs = Vec::with_capacity(active.len());
    let mut at = 0;
    for &sequences in active {
        let rows = at..at + sequences;
        at = rows.end;
        state = state.slice([0..sequences, 0..h]);
        if first.get(rows.clone()).is_some_and(|f| f.contains(&true)) {
            let keep: Vec<f32> = first[rows.clone()].iter().map(|f| f32::from(u8::from(!f))).collect();
            state = state * tensor(&keep, [sequences, 1], device);
        }
        let from_input = inputs.clone().slice([rows, 0..3 * h]);
        let from_state = state.clone().matmul(w_hh.clone()) + b_hh.clone();
        let part = |t: &Tensor<2>, k: usize| t.clone().slice([0..sequences, k * h..(k + 1) * h]);
        let reset = activation::sigmoid(part(&from_input, 0) + part(&from_state, 0));
        let update = activation::sigmoid(part(&from_input, 1) + part(&from_state, 1));
        let new = activation::tanh(part(&from_input, 2) + reset * part(&from_state, 2));
        state = new.clone() + update * (state - new);
        outputs.push(state.clone());
    }
    let mut out = Tensor::cat(outputs, 0);
    if let Some((gamma, beta)) = norm {
        out = layer_norm(out, gamma, beta);
    }
    (Recurrent { read: out.clone(), memory: state }, mlp(cursor, stage.head.shape(), out))
}

/// Outputs `[rows, output]` of a batch as a function of the flat parameters.
///
/// # Shapes
/// `params` is `[parameters]` (free ones may follow and are not read).
pub fn forward(net: &Net, params: Tensor<1>, batch: &Batch<'_>, device: &Device) -> Tensor<2> {
    forward_parts(net, params, batch, device).1
}

/// The recurrent stages' part, where there are any, and the outputs.
fn forward_parts(net: &Net, params: Tensor<1>, batch: &Batch<'_>, device: &Device) -> (Option<Recurrent>, Tensor<2>) {
    let mut cursor = Cursor { params, at: 0 };
    let mut x: Tensor<2> = tensor(batch.x, [batch.rows, net.input_len()], device);
    let stages = net.stages();
    if let Some((shape, _)) = &stages.conv {
        let (size, extra) = (net.spec().obs.size(), net.spec().extra);
        let maps = conv(&mut cursor, &shape.shape(), x.clone().slice([0..batch.rows, 0..size]));
        x = if extra == 0 { maps } else { Tensor::cat(vec![maps, x.slice([0..batch.rows, size..size + extra])], 1) };
    }
    if let Some((stage, _)) = &stages.graph {
        x = messages(&mut cursor, stage, x, batch.x, net.input_len(), device);
    }
    let x = mlp(&mut cursor, stages.trunk.shape(), x);
    match &stages.memory {
        None => (None, x),
        Some(stage) => {
            let (recurrent, out) = recur(&mut cursor, stage, x, batch, device);
            (Some(recurrent), out)
        }
    }
}

/// A network whose parameters stay on a device, to act there.
#[derive(Debug, Clone)]
pub struct Resident {
    params: Tensor<1>,
    device: Device,
}

impl Resident {
    /// Takes the parameters over.
    pub fn new(net: &Net, device: &Device) -> Self {
        Self { params: tensor(net.params(), [net.params().len()], device), device: device.clone() }
    }

    /// As [`Net::forward`] of the network that it was made from: rows and memory go over once, outputs and memory come back once.
    pub fn forward(&self, net: &Net, x: &[f32], rows: usize, memory: &mut [f32], out: &mut [f32]) {
        let (held, one_step) = (memory.to_vec(), [rows]);
        let sequence = (!held.is_empty()).then_some(Sequence { active: &one_step, memory: &held, first: &[] });
        let (recurrent, result) = forward_parts(net, self.params.clone(), &Batch { x, rows, sequence }, &self.device);
        // A device that fails leaves nothing to read; the guard of the update sees values that are no numbers.
        let copy = |from: Vec<f32>, to: &mut [f32]| match from.len() == to.len() {
            true => to.copy_from_slice(&from),
            false => to.fill(f32::NAN),
        };
        copy(values(result), out);
        if let Some(Recurrent { memory: after, .. }) = recurrent {
            copy(values(after), memory);
        }
    }
}

/// Gradient of a row loss by Burn's autodiff, for every kind of network.
pub fn loss_grad(net: &Net, device: &Device, batch: Batch<'_>, loss: &dyn RowLoss, grad: &mut [f32], stats: &mut [f64]) {
    let device = device.clone().autodiff();
    let params = tensor(net.params(), [net.params().len()], &device).require_grad();
    let out = forward(net, params.clone(), &batch, &device);
    let width = net.output_len();
    let held = values(out.clone().inner());
    let mut d_out = vec![0.0; held.len()];
    apply_loss(loss, &held, width, &mut d_out, stats);
    let pulled = (out * tensor(&d_out, [batch.rows, width], &device)).sum();
    let grads = pulled.backward();
    if let Some(g) = params.grad(&grads) {
        grad.copy_from_slice(&values(g)[..grad.len()]);
    }
}

/// Gradient by the parameters, from that by the outputs and, for recurrent networks, that by what the head reads.
pub fn pull_back(net: &Net, device: &Device, batch: Batch<'_>, d_out: &[f32], d_states: Option<&[f32]>, grad: &mut [f32]) {
    let device = device.clone().autodiff();
    let params = tensor(net.params(), [net.params().len()], &device).require_grad();
    let (recurrent, out) = forward_parts(net, params.clone(), &batch, &device);
    let mut pulled = (out * tensor(d_out, [batch.rows, net.output_len()], &device)).sum();
    if let (Some(Recurrent { read, .. }), Some(d_states)) = (recurrent, d_states) {
        let width = read.dims()[1];
        pulled = pulled + (read * tensor(d_states, [batch.rows, width], &device)).sum();
    }
    let grads = pulled.backward();
    if let Some(g) = params.grad(&grads) {
        grad.copy_from_slice(&values(g)[..grad.len()]);
    }
}

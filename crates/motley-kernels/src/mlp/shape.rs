//! What a network looks like, and where its parameters lie in one flat vector.

use crate::simd::{Lanes, V};

/// An element-wise function after a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// `x`, or `0.01 x` below zero.
    LeakyRelu,
    /// Scaled exponential linear unit (Klambauer et al. 2017).
    Selu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x`, or `e^x - 1` below zero.
    Elu,
}

pub(crate) const LEAK: f32 = 0.01;
pub(crate) const SELU_SCALE: f32 = 1.050_701;
pub(crate) const SELU_SCALE_ALPHA: f32 = 1.758_099_3;

impl Activation {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 7] = [
        ("relu", Self::Relu),
        ("tanh", Self::Tanh),
        ("leaky_relu", Self::LeakyRelu),
        ("selu", Self::Selu),
        ("sigmoid", Self::Sigmoid),
        ("elu", Self::Elu),
        ("identity", Self::Identity),
    ];

    /// The names in [`Activation::ALL`].
    pub const NAMES: [&'static str; 7] = {
        let (mut names, mut k) = ([""; 7], 0);
        while k < names.len() {
            names[k] = Self::ALL[k].0;
            k += 1;
        }
        names
    };

    /// The activation called `name`, as in [`Activation::ALL`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, a)| *a)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, a)| *a == self).map_or("identity", |(n, _)| n)
    }

    /// The function.
    #[inline(always)]
    pub(crate) fn apply<L: Lanes>(self, l: L, x: V) -> V {
        let zero = l.zero();
        match self {
            Self::Identity => x,
            Self::Relu => l.lt(x, zero, zero, x),
            Self::Tanh => crate::math::tanh(l, x),
            Self::LeakyRelu => l.lt(x, zero, l.mul(x, l.splat(LEAK)), x),
            Self::Selu => {
                let below = l.mul(l.splat(SELU_SCALE_ALPHA), crate::math::exp_m1(l, x));
                l.lt(x, zero, below, l.mul(l.splat(SELU_SCALE), x))
            }
            Self::Sigmoid => crate::math::sigmoid(l, x),
            Self::Elu => l.lt(x, zero, crate::math::exp_m1(l, x), x),
        }
    }

    /// `g` times the derivative, from the function's result `a`.
    #[inline(always)]
    pub(crate) fn chain<L: Lanes>(self, l: L, a: V, g: V) -> V {
        let zero = l.zero();
        match self {
            Self::Identity => g,
            Self::Relu => l.lt(zero, a, g, zero),
            Self::Tanh => l.mul(g, l.sub(l.splat(1.0), l.mul(a, a))),
            Self::LeakyRelu => l.lt(zero, a, g, l.mul(g, l.splat(LEAK))),
            Self::Selu => {
                let below = l.mul(g, l.add(a, l.splat(SELU_SCALE_ALPHA)));
                l.lt(zero, a, l.mul(g, l.splat(SELU_SCALE)), below)
            }
            Self::Sigmoid => l.mul(g, l.mul(a, l.sub(l.splat(1.0), a))),
            Self::Elu => l.lt(zero, a, g, l.mul(g, l.add(a, l.splat(1.0)))),
        }
    }
}

/// A multi-layer perceptron: optional LayerNorm on the input; for each hidden width Linear, activation, optional LayerNorm;
/// then the output Linear with its activation. LayerNorm is affine with epsilon 1e-5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpShape {
    /// Input width.
    pub input: usize,
    /// LayerNorm on the input.
    pub input_norm: bool,
    /// Hidden widths.
    pub hidden: Vec<usize>,
    /// After each hidden Linear.
    pub activation: Activation,
    /// After the last hidden Linear, where that one differs.
    pub last_activation: Option<Activation>,
    /// LayerNorm after each hidden activation.
    pub hidden_norm: bool,
    /// Output width; 0: no output layer, the last hidden result is the output.
    pub output: usize,
    /// After the output Linear.
    pub output_activation: Activation,
}

/// One named tensor of a flat parameter vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// For example `hidden.0.weight`.
    pub name: String,
    /// Index of its first element.
    pub offset: usize,
    /// Its shape, row-major; weights are `[in, out]`.
    pub shape: Vec<usize>,
}

/// Entries one after the other.
pub(crate) fn lay_out(tensors: impl IntoIterator<Item = (String, Vec<usize>)>) -> Vec<Entry> {
    let mut offset = 0;
    let place = |(name, shape): (String, Vec<usize>)| {
        let entry = Entry { name, offset, shape };
        offset += entry.shape.iter().product::<usize>();
        entry
    };
    tensors.into_iter().map(place).collect()
}

impl MlpShape {
    /// The flat layout: `input_norm.gamma`, `input_norm.beta`; for each hidden layer `hidden.{l}.weight` (`[in, out]`),
    /// `hidden.{l}.bias`, `hidden.{l}.norm.gamma`, `hidden.{l}.norm.beta`; then `output.weight`, `output.bias`.
    pub fn entries(&self) -> Vec<Entry> {
        let mut tensors = Vec::new();
        if self.input_norm {
            tensors.push(("input_norm.gamma".into(), vec![self.input]));
            tensors.push(("input_norm.beta".into(), vec![self.input]));
        }
        let mut width = self.input;
        for (i, &n) in self.hidden.iter().enumerate() {
            tensors.push((format!("hidden.{i}.weight"), vec![width, n]));
            tensors.push((format!("hidden.{i}.bias"), vec![n]));
            if self.hidden_norm {
                tensors.push((format!("hidden.{i}.norm.gamma"), vec![n]));
                tensors.push((format!("hidden.{i}.norm.beta"), vec![n]));
            }
            width = n;
        }
        if self.output > 0 {
            tensors.push(("output.weight".into(), vec![width, self.output]));
            tensors.push(("output.bias".into(), vec![self.output]));
        }
        lay_out(tensors)
    }

    /// Length of the flat parameter vector.
    pub fn param_len(&self) -> usize {
        self.entries().last().map_or(0, |e| e.offset + e.shape.iter().product::<usize>())
    }

    /// What follows the Linear of hidden layer `i`.
    pub fn activation_after(&self, i: usize) -> Activation {
        let is_last = i + 1 == self.hidden.len();
        self.last_activation.filter(|_| is_last).unwrap_or(self.activation)
    }

    /// Width of the result: the output's, or the last hidden one's, or the input's.
    pub fn out_width(&self) -> usize {
        if self.output > 0 { self.output } else { self.hidden.last().copied().unwrap_or(self.input) }
    }

    /// Weights without biases and norms: `6 * weights * rows` floating-point operations make a gradient step.
    pub fn weights(&self) -> usize {
        self.entries().iter().filter(|e| e.shape.len() == 2).map(|e| e.shape[0] * e.shape[1]).sum()
    }
}

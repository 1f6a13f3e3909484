//! Naive networks over dual numbers in `f64`: the oracle of the tests. Derivatives are exact, one direction at a time.

use crate::mlp::{Activation, MlpShape};
use std::ops::{Add, Div, Mul, Sub};

/// `v + d e` with `e^2 = 0`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dual {
    pub v: f64,
    pub d: f64,
}

impl Dual {
    pub fn constant(v: f64) -> Self {
        Self { v, d: 0.0 }
    }
    fn map(self, v: f64, slope: f64) -> Self {
        Self { v, d: slope * self.d }
    }
    pub fn exp(self) -> Self {
        self.map(self.v.exp(), self.v.exp())
    }
    pub fn tanh(self) -> Self {
        let t = self.v.tanh();
        self.map(t, 1.0 - t * t)
    }
    pub fn sigmoid(self) -> Self {
        Self::constant(1.0) / (Self::constant(1.0) + (Self::constant(0.0) - self).exp())
    }
    fn sqrt(self) -> Self {
        self.map(self.v.sqrt(), 0.5 / self.v.sqrt())
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self { v: self.v + o.v, d: self.d + o.d }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self { v: self.v - o.v, d: self.d - o.d }
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, o: Self) -> Self {
        Self { v: self.v * o.v, d: self.v * o.d + self.d * o.v }
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, o: Self) -> Self {
        Self { v: self.v / o.v, d: (self.d * o.v - self.v * o.d) / (o.v * o.v) }
    }
}

/// Numbers with no tangent, or with `tangent[i]`.
pub(crate) fn duals(values: &[f32], tangent: Option<&[f32]>) -> Vec<Dual> {
    let d = |i: usize| tangent.map_or(0.0, |t| f64::from(t[i]));
    values.iter().enumerate().map(|(i, v)| Dual { v: f64::from(*v), d: d(i) }).collect()
}

/// Tangent 1 in place `at`.
pub(crate) fn unit(len: usize, at: usize) -> Vec<f32> {
    (0..len).map(|i| f32::from(u8::from(i == at))).collect()
}

pub(crate) fn layer_norm(x: &[Dual], gamma: &[Dual], beta: &[Dual]) -> Vec<Dual> {
    let n = Dual::constant(x.len() as f64);
    let mean = x.iter().fold(Dual::default(), |s, x| s + *x) / n;
    let var = x.iter().fold(Dual::default(), |s, x| s + (*x - mean) * (*x - mean)) / n;
    let sd = (var + Dual::constant(1e-5)).sqrt();
    x.iter().zip(gamma.iter().zip(beta)).map(|(x, (g, b))| (*x - mean) / sd * *g + *b).collect()
}

pub(crate) fn linear(x: &[Dual], weight: &[Dual], bias: &[Dual]) -> Vec<Dual> {
    let n = bias.len();
    (0..n).map(|j| x.iter().enumerate().fold(bias[j], |s, (i, x)| s + *x * weight[i * n + j])).collect()
}

fn activate(activation: Activation, x: Dual) -> Dual {
    let (one, c) = (Dual::constant(1.0), Dual::constant);
    match activation {
        Activation::Identity => x,
        Activation::Relu => x * c(f64::from(u8::from(x.v > 0.0))),
        Activation::Tanh => x.tanh(),
        Activation::LeakyRelu => x * c(if x.v > 0.0 { 1.0 } else { 0.01 }),
        Activation::Selu if x.v > 0.0 => x * c(1.050_700_987_355_480_5),
        Activation::Selu => (x.exp() - one) * c(1.050_700_987_355_480_5 * 1.673_263_242_354_377_2),
        Activation::Sigmoid => x.sigmoid(),
        Activation::Elu if x.v > 0.0 => x,
        Activation::Elu => x.exp() - one,
    }
}

/// One row through a network.
pub(crate) fn mlp(shape: &MlpShape, params: &[Dual], x: &[Dual]) -> Vec<Dual> {
    let entries = shape.entries();
    let get = |name: &str| {
        let e = entries.iter().find(|e| e.name == name).unwrap();
        &params[e.offset..][..e.shape.iter().product()]
    };
    let mut x = x.to_vec();
    if shape.input_norm {
        x = layer_norm(&x, get("input_norm.gamma"), get("input_norm.beta"));
    }
    for i in 0..shape.hidden.len() {
        x = linear(&x, get(&format!("hidden.{i}.weight")), get(&format!("hidden.{i}.bias")));
        let last = i + 1 == shape.hidden.len();
        let activation = if last { shape.last_activation.unwrap_or(shape.activation) } else { shape.activation };
        x.iter_mut().for_each(|x| *x = activate(activation, *x));
        if shape.hidden_norm {
            x = layer_norm(&x, get(&format!("hidden.{i}.norm.gamma")), get(&format!("hidden.{i}.norm.beta")));
        }
    }
    if shape.output > 0 {
        x = linear(&x, get("output.weight"), get("output.bias"));
        x.iter_mut().for_each(|x| *x = activate(shape.output_activation, *x));
    }
    x
}

/// A small generator for test data.
pub(crate) struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
    }
    pub fn vec(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.next() * scale).collect()
    }
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() + 1.0) * 0.5 * n as f32) as usize % n
    }
}

/// Close to the oracle: relative to the largest of the tensor.
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*g) - w).abs() <= tolerance * scale, "{what}[{i}]: {g} for {w} (largest {scale})");
    }
}

pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

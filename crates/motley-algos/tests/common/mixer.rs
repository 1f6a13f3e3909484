//! QMIX's mixture in one state, in double precision and from its definition (Rashid et al., ICML 2018, section 4):
//! `Q_tot = |W2| . ELU(|W1| q + b1) + v`, where `W1`, `b1`, `W2` and `v` are networks of the state.

use motley_nn::QmixShape;

/// The mixture in one state, its weights without a sign.
pub struct Exact {
    /// `[agents][embed]`
    pub w1: Vec<Vec<f64>>,
    /// `[embed]`
    pub b1: Vec<f64>,
    /// `[embed]`
    pub w2: Vec<f64>,
    pub v: f64,
}

impl Exact {
    /// Of a mixer's parameters.
    pub fn new(shape: &QmixShape, params: &[f32], state: &[f32]) -> Self {
        let w1 = network(shape, params, "w1.", state);
        let magnitudes = |w: &[f64]| w.iter().map(|w| w.abs()).collect::<Vec<f64>>();
        Self {
            w1: w1.chunks(shape.embed).map(magnitudes).collect(),
            b1: network(shape, params, "b1.", state),
            w2: magnitudes(&network(shape, params, "w2.", state)),
            v: network(shape, params, "v.", state)[0],
        }
    }

    /// What the mixing layer reads, before its ELU.
    pub fn pre_activations(&self, q: &[f64]) -> Vec<f64> {
        let sum = |e: usize| self.b1[e] + q.iter().zip(&self.w1).map(|(q, w)| q * w[e]).sum::<f64>();
        (0..self.b1.len()).map(sum).collect()
    }

    /// `Q_tot`.
    pub fn value(&self, q: &[f64]) -> f64 {
        let elu = |x: f64| if x > 0.0 { x } else { x.exp_m1() };
        self.v + self.pre_activations(q).iter().zip(&self.w2).map(|(x, w)| w * elu(*x)).sum::<f64>()
    }
}

/// The output of the hypernetwork whose entries begin with `prefix`: linear layers, ReLU between them.
fn network(shape: &QmixShape, params: &[f32], prefix: &str, state: &[f32]) -> Vec<f64> {
    let entries: Vec<_> = shape.entries().into_iter().filter(|e| e.name.starts_with(prefix)).collect();
    let mut x: Vec<f64> = state.iter().copied().map(f64::from).collect();
    for (k, layer) in entries.chunks(2).enumerate() {
        let [weight, bias] = layer else { panic!("a layer has weights and a bias: {layer:?}") };
        let width = weight.shape[1];
        let at = |i: usize| f64::from(params[i]);
        let sum =
            |o: usize| x.iter().enumerate().fold(at(bias.offset + o), |s, (i, x)| s + x * at(weight.offset + i * width + o));
        let next: Vec<f64> = (0..width).map(sum).collect();
        let last = 2 * (k + 1) == entries.len();
        x = if last { next } else { next.into_iter().map(|x| x.max(0.0)).collect() };
    }
    x
}

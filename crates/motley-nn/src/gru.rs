//! One step of a gated recurrent unit on slices, for acting and values (training runs on Burn).
//!
//! `r = s(W_ir x + b_ir + W_hr h + b_hr)`, `z` likewise, `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`,
//! `h' = (1 - z) n + z h` (Cho et al. 2014, in PyTorch's form), then an optional LayerNorm of `h'`.

use crate::net::Entry;

/// Shape of the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GruShape {
    /// Input width.
    pub input: usize,
    /// Width of the memory.
    pub hidden: usize,
    /// LayerNorm on the output.
    pub output_norm: bool,
}

impl GruShape {
    /// `weight_ih [input, 3 hidden]`, `weight_hh [hidden, 3 hidden]`, `bias_ih`, `bias_hh`, then the norm's `gamma`, `beta`.
    pub fn entries(&self) -> Vec<Entry> {
        let wide = 3 * self.hidden;
        let mut shapes = vec![
            ("weight_ih", vec![self.input, wide]),
            ("weight_hh", vec![self.hidden, wide]),
            ("bias_ih", vec![wide]),
            ("bias_hh", vec![wide]),
        ];
        if self.output_norm {
            shapes.extend([("norm.gamma", vec![self.hidden]), ("norm.beta", vec![self.hidden])]);
        }
        let mut offset = 0;
        let place = |(name, shape): (&str, Vec<usize>)| {
            let entry = Entry { name: name.to_owned(), offset, shape };
            offset += entry.len();
            entry
        };
        shapes.into_iter().map(place).collect()
    }

    /// Number of parameters.
    pub fn param_len(&self) -> usize {
        self.entries().iter().map(Entry::len).sum()
    }

    /// One row: `memory` advances, `out` is the (normalised) new memory; `gates` is scratch of `6 * hidden`.
    pub fn step(&self, params: &[f32], x: &[f32], memory: &mut [f32], out: &mut [f32], gates: &mut [f32]) {
        let (h, wide) = (self.hidden, 3 * self.hidden);
        let (w_ih, rest) = params.split_at(self.input * wide);
        let (w_hh, rest) = rest.split_at(h * wide);
        let (b_ih, rest) = rest.split_at(wide);
        let (b_hh, norm) = rest.split_at(wide);
        let (from_x, from_h) = gates.split_at_mut(wide);
        affine(x, w_ih, b_ih, from_x);
        affine(memory, w_hh, b_hh, from_h);
        for j in 0..h {
            let reset = sigmoid(from_x[j] + from_h[j]);
            let update = sigmoid(from_x[h + j] + from_h[h + j]);
            let new = (from_x[2 * h + j] + reset * from_h[2 * h + j]).tanh();
            memory[j] = new + update * (memory[j] - new);
        }
        out.copy_from_slice(memory);
        if self.output_norm {
            let (gamma, beta) = norm.split_at(h);
            let mean = out.iter().sum::<f32>() / h as f32;
            let variance = out.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / h as f32;
            let scale = 1.0 / (variance + 1e-5).sqrt();
            for (v, (g, b)) in out.iter_mut().zip(gamma.iter().zip(beta)) {
                *v = (*v - mean) * scale * g + b;
            }
        }
    }
}

/// `out = x W + b`, one chain over `x` in order for each entry.
fn affine(x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    out.copy_from_slice(bias);
    for (x, row) in x.iter().zip(weight.chunks_exact(out.len())) {
        for (o, w) in out.iter_mut().zip(row) {
            *o += x * w;
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

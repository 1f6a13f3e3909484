//! Prints how fast the kernels are: `cargo run --release -p motley-kernels --example kernel_speed`. Times are the least of many
//! repetitions; a rate counts 6 (gradient) or 2 (forward) operations for each weight and row.
#![allow(clippy::print_stdout)]

use motley_kernels::{Activation, Gru, GruScratch, GruShape, GruTape, Mlp, MlpShape, Pool, RowLoss, Scratch, Workspace, mlp};
use std::time::Instant;

/// Clipped surrogate with entropy on a categorical head: about the work of a PPO step.
struct Surrogate {
    action: Vec<usize>,
    before: Vec<f32>,
    advantage: Vec<f32>,
}

impl RowLoss for Surrogate {
    fn rows(&self, start: usize, out: &[f32], dout: &mut [f32], stats: &mut [f64]) {
        let width = 5;
        let mut exps = out.to_vec();
        for row in exps.chunks_mut(width) {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|x| *x -= top);
        }
        dout.copy_from_slice(&exps);
        motley_kernels::math::exp_in_place(&mut exps);
        for (i, (p, d)) in exps.chunks_mut(width).zip(dout.chunks_mut(width)).enumerate() {
            let sum: f32 = p.iter().sum();
            let log_sum = sum.ln();
            let (a, adv) = (self.action[start + i], self.advantage[start + i]);
            let ratio = (d[a] - log_sum - self.before[start + i]).exp();
            let clipped = ratio.clamp(0.8, 1.2);
            stats[0] -= f64::from((ratio * adv).min(clipped * adv));
            let slope = if ratio * adv <= clipped * adv { -ratio * adv } else { 0.0 };
            let entropy: f32 = p.iter().zip(&*d).map(|(p, d)| -p / sum * (d - log_sum)).sum();
            for (j, (p, d)) in p.iter().zip(d).enumerate() {
                let (prob, log) = (p / sum, *d - log_sum);
                *d = slope * (f32::from(u8::from(j == a)) - prob) + 0.01 * prob * (log + entropy);
            }
        }
    }
    fn stats_len(&self) -> usize {
        1
    }
}

fn noise(len: usize, scale: f32) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / 8_388_608.0 - 1.0) * scale
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Least time of a call in microseconds, over about half a second.
fn least(mut f: impl FnMut()) -> f64 {
    f();
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < 0.5 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
    }
    best * 1e6
}

fn line(what: &str, us: f64, flop: f64) {
    println!("{what:<44} {us:>9.1} us {:>7.1} GFLOP/s", flop / us / 1e3);
}

fn main() {
    println!("{:?}", motley_kernels::Isa::current());
    let norm = true;
    let shape = MlpShape {
        input: 18,
        input_norm: norm,
        hidden: vec![128, 128],
        activation: Activation::Relu,
        last_activation: None,
        hidden_norm: norm,
        output: 5,
        output_activation: Activation::Identity,
    };
    let mut params = noise(shape.param_len(), 0.1);
    for entry in shape.entries().iter().filter(|e| e.name.ends_with("gamma")) {
        params[entry.offset..][..entry.shape[0]].fill(1.0);
    }
    let weights = shape.weights() as f64;
    let mut net = Mlp::new(shape.clone());
    net.pack(&params);
    let rows = 4000;
    let x = noise(rows * 18, 2.0);
    let loss = Surrogate { action: (0..rows).map(|i| i % 5).collect(), before: vec![-1.6; rows], advantage: noise(rows, 1.0) };
    line("pack", least(|| net.pack(&params)), 0.0);
    let (mut grad, mut stats, mut work) = (vec![0.0; params.len()], [0.0], Workspace::default());
    for threads in [1, 2] {
        let Ok(pool) = Pool::new(threads) else { continue };
        for rows in [4000, 1000, 256] {
            let us = least(|| {
                net.pack(&params);
                mlp::loss_grad(&pool, &net, &x[..rows * 18], rows, &loss, &mut grad, &mut stats, &mut work);
            });
            line(&format!("pack + loss_grad, {rows} rows, {threads} threads"), us, 6.0 * weights * rows as f64);
        }
    }
    let (mut out, mut scratch) = (vec![0.0; rows * 5], Scratch::default());
    for rows in [1, 3, 20, 60, 256, 4000] {
        let us = least(|| net.forward(&x[..rows * 18], rows, &mut out[..rows * 5], &mut scratch));
        line(&format!("forward, {rows} rows"), us, 2.0 * weights * rows as f64);
    }
    let pool = Pool::serial();
    let mut tangent = vec![0.0; rows * 5];
    let us = least(|| mlp::jvp(&pool, &net, &grad, &x, rows, &mut tangent));
    line("jvp, 4000 rows", us, 4.0 * weights * rows as f64);
    let mut dx = x.clone();
    let us = least(|| mlp::backward(&pool, &net, &x, rows, &tangent, &mut grad, Some(&mut dx), &mut work));
    line("backward with dx, 4000 rows", us, 6.0 * weights * rows as f64);
    for (hidden, activation) in [(64, Activation::Tanh), (256, Activation::Relu)] {
        let shape = MlpShape { hidden: vec![hidden; 2], activation, hidden_norm: false, input_norm: false, ..shape.clone() };
        let mut net = Mlp::new(shape.clone());
        let params = noise(shape.param_len(), 0.1);
        net.pack(&params);
        let mut grad = params.clone();
        let us = least(|| mlp::loss_grad(&pool, &net, &x, rows, &loss, &mut grad, &mut stats, &mut work));
        let name = activation.name();
        line(&format!("loss_grad, 4000 rows, 2 x {hidden} {name}"), us, 6.0 * shape.weights() as f64 * rows as f64);
    }
    gru(&pool);
}

/// A unit of 64, 26 steps of 96 sequences, and acting for 24 rows.
fn gru(pool: &Pool) {
    let shape = GruShape { input: 64, hidden: 64, output_norm: false };
    let (steps, rows, mut net) = (26, 96, Gru::new(shape));
    let params = noise(shape.param_len(), 0.1);
    net.pack(&params);
    let (x, h0, mask) = (noise(steps * rows * 64, 1.0), noise(rows * 64, 1.0), vec![1.0; steps * rows]);
    let (mut y, mut dx, mut grad, mut tape) = (x.clone(), x.clone(), params.clone(), GruTape::default());
    let flop = (2 * 64 * 192 * 2 * steps * rows) as f64;
    let us = least(|| net.forward_seq(pool, &x, &h0, &mask, &vec![rows; steps], &mut y, None, &mut tape));
    line("gru forward_seq, 26 x 96, 64", us, flop);
    let us = least(|| net.jvp_seq(pool, &params, &x, &mask, &mut y, &mut tape));
    line("gru jvp_seq", us, 2.0 * flop);
    let us = least(|| {
        net.forward_seq(pool, &x, &h0, &mask, &vec![rows; steps], &mut y, None, &mut tape);
        net.backward_seq(pool, &x, &mask, &mut grad, Some(&mut dx), None, &mut tape);
    });
    line("gru forward_seq + backward_seq", us, 3.0 * flop);
    let (mut h_out, mut scratch) = (vec![0.0; 24 * 64], GruScratch::default());
    let us = least(|| net.step(&x[..24 * 64], &h0[..24 * 64], &mut h_out, &mut y[..24 * 64], 24, &mut scratch));
    line("gru step, 24 rows", us, (2 * 64 * 192 * 2 * 24) as f64);
}

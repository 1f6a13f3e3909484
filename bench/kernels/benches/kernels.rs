//! `cargo bench --manifest-path bench/kernels/Cargo.toml`: the kernels on this library's shapes. Throughput counts rows.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use motley_kernels::{Activation, Gru, GruScratch, GruShape, GruTape, Mlp, MlpShape, Pool, RowLoss, Scratch, Workspace, mlp};

const INPUT: usize = 18;
const ACTIONS: usize = 5;
/// A gated recurrent unit as wide as QMIX's, over 26 steps of 96 sequences.
const HIDDEN: usize = 64;
const STEPS: usize = 26;
const SEQUENCES: usize = 96;

/// `0.5 |out|^2`: what is timed is the network, not the loss.
struct HalfSquare;

impl RowLoss for HalfSquare {
    fn rows(&self, _start: usize, out: &[f32], dout: &mut [f32], stats: &mut [f64]) {
        dout.copy_from_slice(out);
        stats[0] += f64::from(out[0]);
    }

    fn stats_len(&self) -> usize {
        1
    }
}

/// Uniform in `[-scale, scale)`.
fn noise(len: usize, scale: f32) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / 8_388_608.0 - 1.0) * scale
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// LayerNorm and 2 x 128 ReLU on an observation of 18, 5 actions.
fn reference() -> (Mlp, Vec<f32>) {
    let shape = MlpShape {
        input: INPUT,
        input_norm: true,
        hidden: vec![128, 128],
        activation: Activation::Relu,
        last_activation: None,
        hidden_norm: true,
        output: ACTIONS,
        output_activation: Activation::Identity,
    };
    let mut params = noise(shape.param_len(), 0.1);
    for entry in shape.entries().iter().filter(|e| e.name.ends_with("gamma")) {
        params[entry.offset..][..entry.shape[0]].fill(1.0);
    }
    let mut net = Mlp::new(shape);
    net.pack(&params);
    (net, params)
}

fn forward(c: &mut Criterion) {
    let (net, _) = reference();
    let mut group = c.benchmark_group("forward");
    for rows in [1, 20, 256, 4000] {
        let (x, mut out, mut scratch) = (noise(rows * INPUT, 2.0), vec![0.0; rows * ACTIONS], Scratch::default());
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(rows), |b| b.iter(|| net.forward(&x, rows, &mut out, &mut scratch)));
    }
    group.finish();
}

fn loss_grad(c: &mut Criterion) {
    let (net, params) = reference();
    let mut group = c.benchmark_group("loss_grad");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, cores] {
        let Ok(pool) = Pool::new(threads) else { continue };
        for rows in [256, 4000] {
            let (x, mut grad, mut stats, mut work) = (noise(rows * INPUT, 2.0), params.clone(), [0.0], Workspace::default());
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new(format!("{threads} threads"), rows), |b| {
                b.iter(|| mlp::loss_grad(&pool, &net, &x, rows, &HalfSquare, &mut grad, &mut stats, &mut work));
            });
        }
        if cores == 1 {
            break;
        }
    }
    group.finish();
}

fn pack(c: &mut Criterion) {
    let (mut net, params) = reference();
    c.bench_function("pack", |b| b.iter(|| net.pack(&params)));
}

fn gru(c: &mut Criterion) {
    let shape = GruShape { input: HIDDEN, hidden: HIDDEN, output_norm: false };
    let (params, pool, mut net, rows) = (noise(shape.param_len(), 0.1), Pool::serial(), Gru::new(shape), STEPS * SEQUENCES);
    net.pack(&params);
    let (x, h0, mask) = (noise(rows * HIDDEN, 1.0), noise(SEQUENCES * HIDDEN, 1.0), vec![1.0; rows]);
    let (mut y, mut dx, mut grad, mut tape) = (x.clone(), x.clone(), params.clone(), GruTape::default());
    let mut group = c.benchmark_group("gru");
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function("forward", |b| {
        b.iter(|| net.forward_seq(&pool, &x, &h0, &mask, (STEPS, SEQUENCES), &mut y, None, &mut tape));
    });
    group.bench_function("forward and backward", |b| {
        b.iter(|| {
            net.forward_seq(&pool, &x, &h0, &mask, (STEPS, SEQUENCES), &mut y, None, &mut tape);
            net.backward_seq(&pool, &x, &mask, &mut grad, Some(&mut dx), None, &mut tape);
        });
    });
    let (mut h, mut scratch, acting) = (vec![0.0; 24 * HIDDEN], GruScratch::default(), 24);
    group.throughput(Throughput::Elements(acting as u64));
    group.bench_function("step", |b| {
        b.iter(|| {
            net.step(&x[..acting * HIDDEN], &h0[..acting * HIDDEN], &mut h, &mut y[..acting * HIDDEN], acting, &mut scratch)
        });
    });
    group.finish();
}

criterion_group!(kernels, forward, loss_grad, pack, gru);
criterion_main!(kernels);

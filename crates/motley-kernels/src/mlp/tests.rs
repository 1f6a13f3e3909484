//! Networks against the naive oracle, and equality of bits.

use super::*;
use crate::reference::{Dual, Noise, assert_close, bits, duals, mlp as naive, unit};

/// Sum over rows and outputs of `c[row, j] * out + out^2 / 2`, with a statistic of the same.
struct Quadratic {
    width: usize,
    c: Vec<f32>,
}

impl RowLoss for Quadratic {
    fn rows(&self, start: usize, out: &[f32], dout: &mut [f32], stats: &mut [f64]) {
        for (i, (o, d)) in out.iter().zip(dout).enumerate() {
            let c = self.c[start * self.width + i];
            *d = c + o;
            stats[0] += f64::from(c * o + 0.5 * o * o);
        }
        stats[1] += (out.len() / self.width) as f64;
    }
    fn stats_len(&self) -> usize {
        2
    }
}

fn random_shape(noise: &mut Noise) -> MlpShape {
    let widths = [1, 2, 5, 15, 16, 17, 31, 33];
    let hidden = (0..noise.below(4)).map(|_| widths[noise.below(8)]).collect();
    MlpShape {
        input: widths[noise.below(8)],
        input_norm: noise.next() > 0.0,
        hidden,
        activation: Activation::ALL[noise.below(7)].1,
        last_activation: (noise.next() > 0.0).then(|| Activation::ALL[noise.below(7)].1),
        hidden_norm: noise.next() > 0.0,
        output: [0, 1, 5, 16, 19][noise.below(5)],
        output_activation: Activation::ALL[noise.below(7)].1,
    }
}

fn random_params(shape: &MlpShape, noise: &mut Noise) -> Vec<f32> {
    let mut params = noise.vec(shape.param_len(), 0.7);
    for e in shape.entries().iter().filter(|e| e.name.ends_with("gamma")) {
        params[e.offset..][..e.shape[0]].iter_mut().for_each(|g| *g += 1.0);
    }
    params
}

/// Directional derivatives of a loss with output gradient `c + k out`, by every parameter and every input.
fn oracle(shape: &MlpShape, params: &[f32], x: &[f32], rows: usize, c: &[f32], k: f64) -> (Vec<f64>, Vec<f64>) {
    let (input, width) = (shape.input, shape.out_width());
    let along = |p: &[Dual], x: &[Dual], r: usize| -> f64 {
        let out = naive(shape, p, x);
        out.iter().enumerate().map(|(j, o)| (f64::from(c[r * width + j]) + k * o.v) * o.d).sum()
    };
    let (plain_p, plain_x) = (duals(params, None), duals(x, None));
    let by_param = (0..params.len())
        .map(|i| {
            let p = duals(params, Some(&unit(params.len(), i)));
            (0..rows).map(|r| along(&p, &plain_x[r * input..][..input], r)).sum()
        })
        .collect();
    let by_input = (0..x.len())
        .map(|i| {
            let r = i / input;
            along(&plain_p, &duals(&x[r * input..][..input], Some(&unit(input, i % input))), r)
        })
        .collect();
    (by_param, by_input)
}

#[test]
fn values_and_derivatives_match_the_oracle_on_random_shapes() {
    let mut noise = Noise(7);
    let pool = Pool::serial();
    let mut work = Workspace::default();
    for case in 0..60 {
        let shape = random_shape(&mut noise);
        let rows = [1, 2, 3, 7, 13, 26][noise.below(6)];
        let params = random_params(&shape, &mut noise);
        let x = noise.vec(rows * shape.input, 2.0);
        let c = noise.vec(rows * shape.out_width(), 1.0);
        let name = format!("case {case}: {shape:?}, {rows} rows");
        let mut net = Mlp::new(shape.clone());
        net.pack(&params);

        let tangent = noise.vec(params.len(), 1.0);
        let moving = duals(&params, Some(&tangent));
        let exact: Vec<Dual> = duals(&x, None).chunks(shape.input).flat_map(|x| naive(&shape, &moving, x)).collect();
        let mut out = vec![0.0; c.len()];
        net.forward(&x, rows, &mut out, &mut Scratch::default());
        assert_close(&format!("out, {name}"), &out, &exact.iter().map(|e| e.v).collect::<Vec<_>>(), 2e-5);
        // A LayerNorm over one or two elements divides by the square root of epsilon: ill-conditioned, not wrong.
        let narrow = shape.input.min(shape.hidden.iter().copied().min().unwrap_or(9)) <= 2;
        let tolerance = if narrow { 2e-2 } else { 2e-4 };
        let mut moved = out.clone();
        jvp(&pool, &net, &tangent, &x, rows, &mut moved);
        assert_close(&format!("jvp, {name}"), &moved, &exact.iter().map(|e| e.d).collect::<Vec<_>>(), tolerance);

        let (mut grad, mut dx) = (vec![9.0; params.len()], vec![9.0; x.len()]);
        let (by_param, by_input) = oracle(&shape, &params, &x, rows, &c, 0.0);
        backward(&pool, &net, &x, rows, &c, &mut grad, Some(&mut dx), &mut work);
        assert_close(&format!("grad, {name}"), &grad, &by_param, tolerance);
        assert_close(&format!("dx, {name}"), &dx, &by_input, tolerance);
        for columns in [0..shape.input, shape.input / 3..shape.input.div_ceil(2), shape.input - 1..shape.input] {
            let mut alone = vec![9.0; rows * columns.len()];
            input_grad(&pool, &net, &x, rows, &c, columns.clone(), &mut alone, &mut work);
            let cut: Vec<f32> = dx.chunks(shape.input).flat_map(|row| row[columns.clone()].to_vec()).collect();
            assert_eq!(bits(&alone), bits(&cut), "{columns:?}, {name}");
        }

        let loss = Quadratic { width: shape.out_width(), c };
        let mut pulled = vec![0.0; moved.len()];
        loss.rows(0, &moved, &mut pulled, &mut [0.0; 2]);
        gauss_newton(&pool, &net, &tangent, &x, rows, &loss, &mut grad, &mut work);
        assert_close(&format!("gauss_newton, {name}"), &grad, &oracle(&shape, &params, &x, rows, &pulled, 0.0).0, tolerance);
        let mut stats = [9.0; 2];
        loss_grad(&pool, &net, &x, rows, &loss, &mut grad, &mut stats, &mut work);
        let (by_param, by_input) = oracle(&shape, &params, &x, rows, &loss.c, 1.0);
        assert_close(&format!("loss_grad, {name}"), &grad, &by_param, tolerance);
        let mut again = [9.0; 2];
        loss_input_grad(&pool, &net, &x, rows, &loss, 0..shape.input, &mut dx, &mut again, &mut work);
        assert_close(&format!("loss_input_grad, {name}"), &dx, &by_input, tolerance);
        assert_eq!(again, stats);
        let value: f64 = exact.iter().zip(&loss.c).map(|(e, c)| f64::from(*c) * e.v + 0.5 * e.v * e.v).sum();
        assert!((stats[0] - value).abs() <= 1e-4 * (1.0 + value.abs()) && stats[1] == rows as f64, "{name}");
    }
}

#[test]
fn threads_instruction_sets_and_other_rows_change_no_bit() {
    let mut noise = Noise(11);
    for (rows, hidden, activation) in
        [(333, vec![33, 40], Activation::Relu), (1000, vec![20], Activation::Tanh), (50, vec![48, 17], Activation::Selu)]
    {
        let shape = MlpShape {
            input: 21,
            input_norm: true,
            hidden,
            activation,
            last_activation: None,
            hidden_norm: true,
            output: 5,
            output_activation: Activation::Sigmoid,
        };
        let params = random_params(&shape, &mut noise);
        let (x, c) = (noise.vec(rows * 21, 2.0), noise.vec(rows * 5, 1.0));
        let tangent = noise.vec(params.len(), 1.0);
        let loss = Quadratic { width: 5, c };
        let mut seen: Option<Vec<Vec<u32>>> = None;
        for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable] {
            for threads in [1, 2, 4] {
                let pool = Pool::new(threads).unwrap();
                let mut net = Mlp::with_isa(shape.clone(), isa);
                net.pack(&params);
                let (mut out, mut moved) = (vec![0.0; rows * 5], vec![0.0; rows * 5]);
                let (mut grad, mut grad2, mut product, mut dx) = (params.clone(), params.clone(), params.clone(), x.clone());
                let (mut stats, mut work) = ([0.0; 2], Workspace::default());
                net.forward_pool(&pool, &x, rows, &mut out);
                loss_grad(&pool, &net, &x, rows, &loss, &mut grad, &mut stats, &mut work);
                backward(&pool, &net, &x, rows, &loss.c, &mut grad2, Some(&mut dx), &mut work);
                jvp(&pool, &net, &tangent, &x, rows, &mut moved);
                gauss_newton(&pool, &net, &tangent, &x, rows, &loss, &mut product, &mut work);
                let mut all: Vec<_> = [&out, &grad, &grad2, &dx, &moved, &product].map(|v| bits(v)).into();
                all.push(stats.iter().map(|s| s.to_bits() as u32).collect());
                let first = seen.get_or_insert_with(|| all.clone());
                assert!(*first == all, "{isa:?}, {threads} threads");
                // Any row alone, and in another company.
                let mut scratch = Scratch::default();
                for (start, count) in [(0, 1), (7, 1), (3, 5), (13, 29)] {
                    let mut some = vec![0.0; count * 5];
                    net.forward(&x[start * 21..][..count * 21], count, &mut some, &mut scratch);
                    assert_eq!(bits(&some), bits(&out[start * 5..][..count * 5]), "{isa:?}: rows {start}, {count}");
                }
            }
        }
    }
}

#[test]
fn no_rows_and_reused_memory() {
    let shape = |hidden: Vec<usize>, output| MlpShape {
        input: 6,
        input_norm: true,
        hidden,
        activation: Activation::Relu,
        last_activation: None,
        hidden_norm: true,
        output,
        output_activation: Activation::Identity,
    };
    let pool = Pool::serial();
    let (mut work, mut scratch) = (Workspace::default(), Scratch::default());
    let mut noise = Noise(3);
    // A large network first, then smaller ones in the same memory, against fresh memory.
    for (hidden, output, rows) in [(vec![70, 40], 3, 300), (vec![9], 2, 20), (vec![], 0, 5), (vec![12], 0, 0), (vec![12], 4, 0)] {
        let shape = shape(hidden, output);
        let mut net = Mlp::new(shape.clone());
        let params = random_params(&shape, &mut noise);
        net.pack(&params);
        let (x, c) = (noise.vec(rows * 6, 1.0), noise.vec(rows * shape.out_width(), 1.0));
        let run = |work: &mut Workspace, scratch: &mut Scratch| {
            let (mut out, mut grad, mut dx) = (c.clone(), vec![5.0; params.len()], x.clone());
            net.forward(&x, rows, &mut out, scratch);
            backward(&pool, &net, &x, rows, &c, &mut grad, Some(&mut dx), work);
            [bits(&out), bits(&grad), bits(&dx)]
        };
        let reused = run(&mut work, &mut scratch);
        assert_eq!(reused, run(&mut Workspace::default(), &mut Scratch::default()));
        assert!(rows > 0 || reused[1].iter().all(|b| *b == 0));
    }
}

#[test]
fn layout_is_dense_and_named() {
    let shape = MlpShape {
        input: 3,
        input_norm: true,
        hidden: vec![4],
        activation: Activation::Relu,
        last_activation: None,
        hidden_norm: true,
        output: 2,
        output_activation: Activation::Identity,
    };
    let names: Vec<_> = shape.entries().iter().map(|e| (e.name.clone(), e.offset)).collect();
    let expected = [
        ("input_norm.gamma", 0),
        ("input_norm.beta", 3),
        ("hidden.0.weight", 6),
        ("hidden.0.bias", 18),
        ("hidden.0.norm.gamma", 22),
        ("hidden.0.norm.beta", 26),
        ("output.weight", 30),
        ("output.bias", 38),
    ];
    assert!(names.iter().map(|(n, o)| (n.as_str(), *o)).eq(expected));
    assert_eq!((shape.param_len(), shape.weights()), (40, 20));
    assert!(Activation::ALL.iter().all(|(n, a)| Activation::from_name(n) == Some(*a) && a.name() == *n));
    assert_eq!(Activation::from_name("swish"), None);
}

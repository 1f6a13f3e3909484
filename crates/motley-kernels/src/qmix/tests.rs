//! The mixer against its definition over dual numbers, and equality of bits.

use super::*;
use crate::reference::{Dual, Noise, assert_close, bits, duals, mlp as naive, unit};

fn magnitude(x: Dual) -> Dual {
    if x.v < 0.0 { Dual::default() - x } else { x }
}

/// The definition, one row.
fn definition(shape: &QmixShape, params: &[Dual], q: &[Dual], s: &[Dual]) -> Dual {
    let mut at = 0;
    let [w1, b1, w2, v] = shape.nets().map(|(_, net)| {
        at += net.param_len();
        naive(&net, &params[at - net.param_len()..at], s)
    });
    let hidden = |e: usize| {
        let x = (0..shape.agents).fold(b1[e], |x, i| x + q[i] * magnitude(w1[i * shape.embed + e]));
        if x.v > 0.0 { x } else { x.exp() - Dual::constant(1.0) }
    };
    (0..shape.embed).fold(v[0], |sum, e| sum + hidden(e) * magnitude(w2[e]))
}

/// `sum over rows of c Q + Q^2 / 2`.
struct Quadratic(Vec<f32>);

impl RowLoss for Quadratic {
    fn rows(&self, start: usize, out: &[f32], dout: &mut [f32], stats: &mut [f64]) {
        for (i, (o, d)) in out.iter().zip(dout).enumerate() {
            *d = self.0[start + i] + o;
            stats[0] += f64::from(self.0[start + i] * o + 0.5 * o * o);
        }
    }
    fn stats_len(&self) -> usize {
        1
    }
}

/// `Q` itself.
struct Value;

impl RowLoss for Value {
    fn rows(&self, _: usize, _: &[f32], dout: &mut [f32], _: &mut [f64]) {
        dout.fill(1.0);
    }
    fn stats_len(&self) -> usize {
        0
    }
}

fn cases() -> Vec<(QmixShape, usize)> {
    let shape = |state, agents, embed, hyper: &[usize]| QmixShape { state, agents, embed, hyper: hyper.to_vec() };
    vec![
        (shape(5, 3, 32, &[12]), 7),
        (shape(1, 2, 8, &[]), 5),
        (shape(17, 5, 19, &[9]), 40),
        (shape(4, 1, 16, &[6, 5]), 1),
        (shape(3, 2, 4, &[7]), 300),
    ]
}

#[test]
fn values_and_gradients_match_the_definition() {
    let mut noise = Noise(5);
    for (shape, rows) in cases() {
        let params = noise.vec(shape.param_len(), 0.6);
        let (q, s) = (noise.vec(rows * shape.agents, 2.0), noise.vec(rows * shape.state, 1.5));
        let loss = Quadratic(noise.vec(rows, 1.0));
        let mut mixer = Qmix::new(shape.clone());
        mixer.pack(&params);
        let (mut out, mut dq, mut grad, mut stats) = (vec![0.0; rows], q.clone(), params.clone(), [9.0]);
        let mut work = QmixWork::default();
        mixer.forward(&Pool::serial(), &q, &s, rows, &mut out, &mut work);
        mixer.loss_grad(&Pool::serial(), &q, &s, rows, &loss, &mut dq, &mut grad, &mut stats, &mut work);
        let row = |r: usize| (r * shape.agents..(r + 1) * shape.agents, r * shape.state..(r + 1) * shape.state);
        let (plain, plain_q, plain_s) = (duals(&params, None), duals(&q, None), duals(&s, None));
        let values: Vec<f64> = (0..rows).map(|r| definition(&shape, &plain, &plain_q[row(r).0], &plain_s[row(r).1]).v).collect();
        assert_close("value", &out, &values, 1e-5);
        let slope = |r: usize| f64::from(loss.0[r]) + values[r];
        let total: f64 = (0..rows).map(|r| f64::from(loss.0[r]) * values[r] + 0.5 * values[r] * values[r]).sum();
        assert!((stats[0] - total).abs() < 1e-4 * total.abs().max(1.0), "{} {total}", stats[0]);
        let by_q: Vec<f64> = (0..q.len())
            .map(|k| {
                let r = k / shape.agents;
                let moved = duals(&q[row(r).0], Some(&unit(shape.agents, k % shape.agents)));
                slope(r) * definition(&shape, &plain, &moved, &plain_s[row(r).1]).d
            })
            .collect();
        assert_close("dq", &dq, &by_q, 1e-5);
        // Every parameter where that is quick, else a sample of them.
        for k in (0..params.len()).step_by(if rows > 100 { 7 } else { 1 }) {
            let moved = duals(&params, Some(&unit(params.len(), k)));
            let exact: f64 =
                (0..rows).map(|r| slope(r) * definition(&shape, &moved, &plain_q[row(r).0], &plain_s[row(r).1]).d).sum();
            assert!((f64::from(grad[k]) - exact).abs() < 1e-4 * exact.abs().max(1.0), "{shape:?} {k}: {} {exact}", grad[k]);
        }
    }
}

#[test]
fn bits_depend_on_neither_threads_nor_instructions_nor_other_rows() {
    let mut noise = Noise(6);
    for (shape, rows) in cases() {
        let params = noise.vec(shape.param_len(), 0.6);
        let (q, s) = (noise.vec(rows * shape.agents, 2.0), noise.vec(rows * shape.state, 1.5));
        let loss = Quadratic(noise.vec(rows, 1.0));
        let run = |isa, threads| {
            let mut mixer = Qmix::with_isa(shape.clone(), isa);
            mixer.pack(&params);
            let (mut out, mut dq, mut grad, mut stats) = (vec![0.0; rows], q.clone(), params.clone(), [0.0]);
            let (pool, mut work) = (Pool::new(threads).unwrap(), QmixWork::default());
            mixer.forward(&pool, &q, &s, rows, &mut out, &mut work);
            mixer.loss_grad(&pool, &q, &s, rows, &loss, &mut dq, &mut grad, &mut stats, &mut work);
            let mut alone = vec![0.0; 1];
            mixer.forward(&pool, &q[..shape.agents], &s[..shape.state], 1, &mut alone, &mut work);
            assert_eq!(alone[0].to_bits(), out[0].to_bits());
            [bits(&out), bits(&dq), bits(&grad)]
        };
        let first = run(Isa::Portable, 1);
        for (isa, threads) in [(Isa::Avx2, 1), (Isa::Avx512, 1), (Isa::current(), 2), (Isa::current(), 3)] {
            assert!(run(isa, threads) == first, "{shape:?} {isa:?} {threads}");
        }
    }
}

/// T12: raising any value never lowers the mixed one, whatever the weights.
#[test]
fn the_mixture_is_monotone() {
    let mut noise = Noise(7);
    for round in 0..200 {
        let shape = QmixShape { state: 3, agents: 1 + round % 4, embed: 8, hyper: vec![6] };
        let mut mixer = Qmix::new(shape.clone());
        mixer.pack(&noise.vec(shape.param_len(), 1.0));
        let (s, q) = (noise.vec(3, 2.0), noise.vec(shape.agents, 3.0));
        let value = |q: &[f32]| {
            let mut out = [0.0];
            mixer.forward(&Pool::serial(), q, &s, 1, &mut out, &mut QmixWork::default());
            out[0]
        };
        let before = value(&q);
        for i in 0..shape.agents {
            let mut raised = q.clone();
            raised[i] += 0.5;
            assert!(value(&raised) >= before - 1e-6, "{round} {i}");
        }
        // The derivative is a sum of products of what is never negative: no slack.
        let (mut dq, mut grad) = (q.clone(), vec![0.0; shape.param_len()]);
        mixer.loss_grad(&Pool::serial(), &q, &s, 1, &Value, &mut dq, &mut grad, &mut [], &mut QmixWork::default());
        assert!(dq.iter().all(|d| *d >= 0.0) && dq.iter().any(|d| *d > 0.0), "{round}: {dq:?}");
    }
}

//! The unit against the naive oracle, and equality of bits.

use super::*;
use crate::pool::Pool;
use crate::reference::{Dual, Noise, assert_close, bits, duals, layer_norm, linear, unit};

/// One step of one row.
fn naive(shape: GruShape, params: &[Dual], x: &[Dual], h: &[Dual]) -> (Vec<Dual>, Vec<Dual>) {
    let n = shape.hidden;
    let entries = shape.entries();
    let get = |i: usize| &params[entries[i].offset..][..entries[i].shape.iter().product()];
    let (i, s) = (linear(x, get(0), get(2)), linear(h, get(1), get(3)));
    let next: Vec<Dual> = (0..n)
        .map(|j| {
            let r = (i[j] + s[j]).sigmoid();
            let z = (i[n + j] + s[n + j]).sigmoid();
            let c = (i[2 * n + j] + r * s[2 * n + j]).tanh();
            (Dual::constant(1.0) - z) * c + z * h[j]
        })
        .collect();
    let y = if shape.output_norm { layer_norm(&next, get(4), get(5)) } else { next.clone() };
    (next, y)
}

/// All steps; outputs `[steps, rows, hidden]` and last states.
fn naive_seq(shape: GruShape, params: &[Dual], x: &[Dual], h0: &[Dual], mask: &[f32], rows: usize) -> (Vec<Dual>, Vec<Dual>) {
    let mut h: Vec<Vec<Dual>> = h0.chunks(shape.hidden).map(<[Dual]>::to_vec).collect();
    let mut out = Vec::new();
    for (x, mask) in x.chunks(shape.input).zip(mask).enumerate().map(|(i, (x, m))| ((i % rows, x), m)) {
        let (r, x) = x;
        let before: Vec<Dual> = h[r].iter().map(|h| *h * Dual::constant(f64::from(*mask))).collect();
        let (next, y) = naive(shape, params, x, &before);
        h[r] = next;
        out.extend(y);
    }
    (out, h.concat())
}

struct Case {
    shape: GruShape,
    steps: usize,
    rows: usize,
    params: Vec<f32>,
    x: Vec<f32>,
    h0: Vec<f32>,
    mask: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn active(&self) -> Vec<usize> {
        vec![self.rows; self.steps]
    }
}

fn case(noise: &mut Noise, shape: GruShape, steps: usize, rows: usize) -> Case {
    let mut params = noise.vec(shape.param_len(), 0.7);
    if shape.output_norm {
        params[shape.offsets()[4]..][..shape.hidden].iter_mut().for_each(|g| *g += 1.0);
    }
    let mask = (0..steps * rows).map(|_| if noise.next() > 0.5 { 0.0 } else { 1.0 }).collect();
    let (x, h0) = (noise.vec(steps * rows * shape.input, 1.0), noise.vec(rows * shape.hidden, 1.0));
    Case { shape, steps, rows, params, x, h0, mask, dy: noise.vec(steps * rows * shape.hidden, 1.0) }
}

struct Results {
    y: Vec<f32>,
    h: Vec<f32>,
    grad: Vec<f32>,
    dx: Vec<f32>,
    dh0: Vec<f32>,
}

fn run(c: &Case, isa: Isa, threads: usize, tape: &mut GruTape) -> Results {
    let pool = Pool::new(threads).unwrap();
    let mut gru = Gru::with_isa(c.shape, isa);
    gru.pack(&c.params);
    let mut r = Results {
        y: vec![9.0; c.dy.len()],
        h: vec![9.0; c.h0.len()],
        grad: vec![9.0; c.params.len()],
        dx: vec![9.0; c.x.len()],
        dh0: vec![9.0; c.h0.len()],
    };
    gru.forward_seq(&pool, &c.x, &c.h0, &c.mask, &c.active(), &mut r.y, Some(&mut r.h), tape);
    gru.backward_seq(&pool, &c.dy, &c.mask, &mut r.grad, Some(&mut r.dx), Some(&mut r.dh0), tape);
    r
}

#[test]
fn sequences_and_gradients_match_the_oracle() {
    let mut noise = Noise(5);
    let mut tape = GruTape::default();
    for (input, hidden, norm, steps, rows) in
        [(3, 4, true, 4, 3), (1, 3, false, 1, 1), (17, 5, true, 3, 14), (4, 17, false, 2, 2), (2, 16, true, 5, 1)]
    {
        let c = case(&mut noise, GruShape { input, hidden, output_norm: norm }, steps, rows);
        let got = run(&c, Isa::current(), 1, &mut tape);
        let along = |p: Option<&[f32]>, x: Option<&[f32]>, h: Option<&[f32]>| {
            naive_seq(c.shape, &duals(&c.params, p), &duals(&c.x, x), &duals(&c.h0, h), &c.mask, rows)
        };
        let slope = |out: Vec<Dual>| out.iter().zip(&c.dy).map(|(o, d)| o.d * f64::from(*d)).sum::<f64>();
        let (y, h) = along(None, None, None);
        let values = |d: &[Dual]| d.iter().map(|d| d.v).collect::<Vec<_>>();
        let name = format!("{:?}, {steps} steps, {rows} rows", c.shape);
        assert_close(&format!("y, {name}"), &got.y, &values(&y), 2e-5);
        assert_close(&format!("h, {name}"), &got.h, &values(&h), 2e-5);
        let by = |len: usize, f: &dyn Fn(&[f32]) -> f64| (0..len).map(|i| f(&unit(len, i))).collect::<Vec<_>>();
        let by_param = by(c.params.len(), &|u| slope(along(Some(u), None, None).0));
        let by_input = by(c.x.len(), &|u| slope(along(None, Some(u), None).0));
        let by_state = by(c.h0.len(), &|u| slope(along(None, None, Some(u)).0));
        assert_close(&format!("grad, {name}"), &got.grad, &by_param, 1e-4);
        assert_close(&format!("dx, {name}"), &got.dx, &by_input, 1e-4);
        assert_close(&format!("dh0, {name}"), &got.dh0, &by_state, 1e-4);
    }
}

/// The same bits from the memory of one step, whatever used it before.
#[test]
fn values_alone_are_those_of_the_forward_pass() {
    let mut noise = Noise(7);
    let mut tape = GruTape::default();
    for (norm, steps, rows) in [(true, 4, 3), (false, 5, 29), (true, 1, 1), (false, 0, 2)] {
        let c = case(&mut noise, GruShape { input: 17, hidden: 5, output_norm: norm }, steps, rows);
        let whole = run(&c, Isa::current(), 1, &mut tape);
        for threads in [1, 2] {
            let mut gru = Gru::new(c.shape);
            gru.pack(&c.params);
            let mut y = vec![9.0; c.dy.len()];
            gru.values_seq(&Pool::new(threads).unwrap(), &c.x, &c.h0, &c.mask, &c.active(), &mut y, &mut tape);
            assert_eq!(y, whole.y, "{steps} steps, {rows} rows, {threads} threads");
        }
    }
}

/// Sequences of unlike lengths, the longest first: each is what it is alone, and the gradients are the sums of those alone.
#[test]
fn sequences_of_unlike_lengths_are_those_alone() {
    let mut noise = Noise(13);
    let (input, hidden) = (5, 17);
    let lengths: Vec<usize> = (0..110).map(|k| 7 - k / 17).collect();
    let c = case(&mut noise, GruShape { input, hidden, output_norm: true }, 7, lengths.len());
    let (v, dx) = (noise.vec(c.params.len(), 0.3), noise.vec(c.x.len(), 0.3));
    let (whole, moved) = (run(&c, Isa::current(), 1, &mut GruTape::default()), {
        slope(&c, (&v, &dx), Isa::current(), 1, &mut GruTape::default())
    });
    let mut gru = Gru::new(c.shape);
    gru.pack(&c.params);
    let active: Vec<usize> = (0..c.steps).map(|t| lengths.iter().filter(|l| **l > t).count()).collect();
    let packed = |all: &[f32], width: usize| -> Vec<f32> {
        active.iter().zip(all.chunks(c.rows * width)).flat_map(|(count, step)| step[..count * width].to_vec()).collect()
    };
    let (x, dy, mask) = (packed(&c.x, input), packed(&c.dy, hidden), packed(&c.mask, 1));
    // The gradient of the rest is none.
    let cut = Case {
        dy: (0..c.dy.len()).map(|k| if k / hidden / c.rows < lengths[k / hidden % c.rows] { c.dy[k] } else { 0.0 }).collect(),
        params: c.params.clone(),
        x: c.x.clone(),
        h0: c.h0.clone(),
        mask: c.mask.clone(),
        ..c
    };
    let alone = run(&cut, Isa::current(), 1, &mut GruTape::default());
    for threads in [1, 2, 4] {
        let (pool, mut tape) = (Pool::new(threads).unwrap(), GruTape::default());
        let [mut y, mut values, mut y_moved] = [(); 3].map(|()| vec![9.0; dy.len()]);
        let (mut h, mut dh0) = (vec![9.0; c.h0.len()], vec![9.0; c.h0.len()]);
        let (mut grad, mut by_x) = (vec![9.0; c.params.len()], vec![9.0; x.len()]);
        gru.values_seq(&pool, &x, &c.h0, &mask, &active, &mut values, &mut tape);
        gru.forward_seq(&pool, &x, &c.h0, &mask, &active, &mut y, Some(&mut h), &mut tape);
        gru.jvp_seq(&pool, &v, &packed(&dx, input), &mask, &mut y_moved, &mut tape);
        gru.backward_seq(&pool, &dy, &mask, &mut grad, Some(&mut by_x), Some(&mut dh0), &mut tape);
        assert_eq!(bits(&y), bits(&packed(&whole.y, hidden)), "{threads}");
        assert!(bits(&values) == bits(&y) && bits(&y_moved) == bits(&packed(&moved, hidden)), "{threads}");
        assert_eq!(bits(&by_x), bits(&packed(&alone.dx, input)), "{threads}");
        assert_eq!(bits(&dh0), bits(&alone.dh0), "{threads}");
        assert_close(&format!("grad, {threads}"), &grad, &alone.grad.iter().map(|g| f64::from(*g)).collect::<Vec<_>>(), 1e-5);
        for (k, length) in lengths.iter().enumerate().filter(|(_, l)| **l == c.steps) {
            assert_eq!(bits(&h[k * hidden..][..hidden]), bits(&whole.h[k * hidden..][..hidden]), "{length}");
        }
    }
}

/// The derivative along random tangents of parameters and inputs, after a forward pass.
fn slope(c: &Case, along: (&[f32], &[f32]), isa: Isa, threads: usize, tape: &mut GruTape) -> Vec<f32> {
    let pool = Pool::new(threads).unwrap();
    let mut gru = Gru::with_isa(c.shape, isa);
    gru.pack(&c.params);
    let (mut y, mut moved) = (vec![9.0; c.dy.len()], vec![9.0; c.dy.len()]);
    gru.forward_seq(&pool, &c.x, &c.h0, &c.mask, &c.active(), &mut y, None, tape);
    gru.jvp_seq(&pool, along.0, along.1, &c.mask, &mut moved, tape);
    moved
}

/// `J v` against dual numbers in f64, which are the derivative itself, and against their central differences.
#[test]
fn forward_products_match_the_oracle_and_differences() {
    let mut noise = Noise(11);
    let mut tape = GruTape::default();
    for (input, hidden, norm, steps, rows) in [
        (3, 4, true, 4, 3),
        (1, 3, false, 1, 1),
        (17, 5, true, 3, 14),
        (4, 17, false, 6, 2),
        (2, 16, true, 10, 1),
        (5, 33, true, 7, 110),
    ] {
        let c = case(&mut noise, GruShape { input, hidden, output_norm: norm }, steps, rows);
        let (v, dx) = (noise.vec(c.params.len(), 0.1), noise.vec(c.x.len(), 0.1));
        let got = slope(&c, (&v, &dx), Isa::current(), 1, &mut tape);
        let name = format!("{:?}, {steps} steps, {rows} rows", c.shape);
        let constant = |xs: &[f32]| duals(xs, None);
        let (exact, _) =
            naive_seq(c.shape, &duals(&c.params, Some(&v)), &duals(&c.x, Some(&dx)), &constant(&c.h0), &c.mask, rows);
        assert_close(&format!("jvp, {name}"), &got, &exact.iter().map(|e| e.d).collect::<Vec<_>>(), 1e-5);
        let at = |sign: f64| {
            let move_along = |xs: &[f32], d: &[f32]| -> Vec<Dual> {
                xs.iter().zip(d).map(|(x, d)| Dual::constant(f64::from(*x) + sign * 1e-5 * f64::from(*d))).collect()
            };
            naive_seq(c.shape, &move_along(&c.params, &v), &move_along(&c.x, &dx), &constant(&c.h0), &c.mask, rows).0
        };
        let difference: Vec<f64> = at(1.0).iter().zip(at(-1.0)).map(|(u, d)| (u.v - d.v) / 2e-5).collect();
        assert_close(&format!("jvp by differences, {name}"), &got, &difference, 1e-5);
    }
}

/// The same bits on every machine and number of threads; and the backward pass after it is that without it.
#[test]
fn forward_products_are_one_and_leave_the_tape() {
    let mut noise = Noise(12);
    let c = case(&mut noise, GruShape { input: 10, hidden: 33, output_norm: true }, 6, 110);
    let (v, dx) = (noise.vec(c.params.len(), 0.3), noise.vec(c.x.len(), 0.3));
    let first = slope(&c, (&v, &dx), Isa::current(), 1, &mut GruTape::default());
    for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable] {
        for threads in [1, 2, 4] {
            assert!(bits(&slope(&c, (&v, &dx), isa, threads, &mut GruTape::default())) == bits(&first), "{isa:?}, {threads}");
        }
    }
    let mut tape = GruTape::default();
    slope(&c, (&v, &dx), Isa::current(), 1, &mut tape);
    let mut gru = Gru::new(c.shape);
    gru.pack(&c.params);
    let (mut grad, mut dx0) = (vec![9.0; c.params.len()], vec![9.0; c.x.len()]);
    gru.backward_seq(&Pool::serial(), &c.dy, &c.mask, &mut grad, Some(&mut dx0), None, &mut tape);
    let alone = run(&c, Isa::current(), 1, &mut GruTape::default());
    assert!(bits(&grad) == bits(&alone.grad) && bits(&dx0) == bits(&alone.dx));
    // `<J v, dy> = <v, J^T dy>`.
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (forward, back) = (dot(&first, &c.dy), dot(&v, &grad) + dot(&dx, &dx0));
    assert!((forward - back).abs() < 1e-4 * (1.0 + back.abs()), "{forward} {back}");
}

#[test]
fn threads_instruction_sets_and_stepping_change_no_bit() {
    let mut noise = Noise(9);
    let shape = GruShape { input: 10, hidden: 33, output_norm: true };
    let c = case(&mut noise, shape, 6, 110);
    let mut tape = GruTape::default();
    let first = run(&c, Isa::current(), 1, &mut tape);
    for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable] {
        for threads in [1, 2, 4] {
            let other = run(&c, isa, threads, &mut GruTape::default());
            assert!(bits(&other.y) == bits(&first.y) && bits(&other.h) == bits(&first.h), "{isa:?}, {threads}");
            assert!(bits(&other.grad) == bits(&first.grad), "{isa:?}, {threads}");
            assert!(bits(&other.dx) == bits(&first.dx) && bits(&other.dh0) == bits(&first.dh0), "{isa:?}, {threads}");
        }
        // One sequence alone, step by step.
        let mut gru = Gru::with_isa(shape, isa);
        gru.pack(&c.params);
        let (r, mut scratch) = (37, GruScratch::default());
        let mut h = c.h0[r * 33..][..33].to_vec();
        for t in 0..c.steps {
            let row = t * c.rows + r;
            h.iter_mut().for_each(|h| *h *= c.mask[row]);
            let (mut next, mut y) = (vec![0.0; 33], vec![0.0; 33]);
            gru.step(&c.x[row * 10..][..10], &h, &mut next, &mut y, 1, &mut scratch);
            assert_eq!(bits(&y), bits(&first.y[row * 33..][..33]), "{isa:?}, step {t}");
            h = next;
        }
        assert_eq!(bits(&h), bits(&first.h[r * 33..][..33]));
    }
}

#[test]
fn no_steps_and_no_rows() {
    let mut noise = Noise(1);
    let shape = GruShape { input: 2, hidden: 3, output_norm: true };
    for (steps, rows) in [(0, 4), (3, 0), (0, 0)] {
        let c = case(&mut noise, shape, steps, rows);
        let r = run(&c, Isa::current(), 2, &mut GruTape::default());
        assert!(r.grad.iter().all(|g| *g == 0.0));
        assert!(slope(&c, (&c.params, &c.x), Isa::current(), 2, &mut GruTape::default()).is_empty());
        assert_eq!(r.h, c.h0);
        assert!(r.dh0.iter().all(|g| *g == 0.0));
    }
}

#[test]
fn layout() {
    let shape = GruShape { input: 2, hidden: 3, output_norm: true };
    let offsets: Vec<usize> = shape.entries().iter().map(|e| e.offset).collect();
    assert_eq!(offsets, shape.offsets());
    let last = shape.entries().pop().unwrap();
    assert_eq!(last.offset + 3, shape.param_len());
}

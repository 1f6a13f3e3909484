//! Both engines of a network, acting, and the independence of rows.

use motley_core::{ObsSpace, Purpose, Stream};
use motley_nn::init::Init;
use motley_nn::{Activation, Batch, Engine, Net, NetScratch, NetSpec, NetWork, Pool, RowLoss, Sequence, burn_net};
use proptest::prelude::*;

fn spec(obs: ObsSpace, hidden: &[usize], recurrent: bool, activation: Activation) -> NetSpec {
    NetSpec {
        obs,
        extra: 2,
        hidden_sizes: hidden.to_vec(),
        activation,
        last_activation: None,
        feature_norm: true,
        layer_norm: true,
        recurrent,
        output: 3,
        output_gain: 0.7,
        init: Init::Orthogonal,
        free: vec![0.5; 2],
    }
}

fn rng(id: u64) -> Stream {
    Stream::new(id, Purpose::Check, 0, 0)
}

fn numbers(n: usize, scale: f64, rng: &mut Stream) -> Vec<f32> {
    (0..n).map(|_| (scale * rng.normal()) as f32).collect()
}

/// `sum c * out + 0.5 out^2`: a loss with a row-dependent gradient.
struct Bowl {
    c: Vec<f32>,
}

impl RowLoss for Bowl {
    fn stats_len(&self) -> usize {
        1
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        for (k, (o, d)) in out.iter().zip(d_out).enumerate() {
            let c = self.c[3 * start + k];
            *d = c + o;
            stats[0] += f64::from(c * o + 0.5 * o * o);
        }
    }
}

fn flex() -> Engine {
    Engine::Burn(burn::tensor::Device::flex())
}

fn relative(a: &[f32], b: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(x, y)| f64::from(x - y)));
    difference / norm(&mut b.iter().map(|x| f64::from(*x))).max(1e-12)
}

/// The fused kernels and Burn's autodiff on the same plain network.
#[test]
fn fused_gradients_equal_burns() {
    for (k, activation) in
        [Activation::Relu, Activation::Tanh, Activation::Selu, Activation::Elu, Activation::LeakyRelu].into_iter().enumerate()
    {
        let mut rng = rng(k as u64);
        // Of every second one the last hidden layer differs.
        let last_activation = (k % 2 == 0).then_some(Activation::Sigmoid);
        let spec = NetSpec { last_activation, ..spec(ObsSpace::vector(11), &[33, 17], false, activation) };
        let net = Net::new(spec, &rng.fork(0));
        for rows in [1, 7, 300] {
            let x = numbers(rows * 13, 1.0, &mut rng);
            let loss = Bowl { c: numbers(rows * 3, 0.3, &mut rng) };
            let batch = Batch { x: &x, rows, sequence: None };
            let (mut fused, mut reference) = (vec![0.0; net.params().len()], vec![0.0; net.params().len()]);
            let (mut s1, mut s2) = ([0.0], [0.0]);
            net.loss_grad(&Engine::Fused, &Pool::serial(), batch, &loss, &mut fused, &mut s1, &mut NetWork::default());
            net.loss_grad(&flex(), &Pool::serial(), batch, &loss, &mut reference, &mut s2, &mut NetWork::default());
            let error = relative(&fused, &reference);
            assert!(error < 1e-5, "{activation:?} {rows} rows: {error}");
            assert!((s1[0] - s2[0]).abs() < 1e-4 * (1.0 + s2[0].abs()));
        }
    }
}

/// Recurrent and convolutional networks: the kernels against Burn, and both against central differences of acting.
#[test]
fn other_gradients_match_differences() {
    let pool = Pool::serial();
    for recurrent in [true, false] {
        let obs = if recurrent { ObsSpace::vector(4) } else { ObsSpace::image(4, 5, 2) };
        let mut rng = rng(u64::from(recurrent));
        let mut net = Net::new(spec(obs, &[8, 6], recurrent, Activation::Tanh), &rng.fork(0));
        let active: &[usize] = if recurrent { &[3, 3, 2, 2, 1] } else { &[6] };
        let (rows, sequences) = (active.iter().sum(), active[0]);
        let scale = if recurrent { 1.0 } else { 100.0 };
        let x = numbers(rows * net.input_len(), scale, &mut rng);
        let memory = numbers(sequences * net.memory_len(), 0.5, &mut rng);
        let first: Vec<bool> = (0..rows).map(|_| rng.bernoulli(0.2)).collect();
        let sequence = recurrent.then_some(Sequence { active, memory: &memory, first: &first });
        let loss = Bowl { c: numbers(rows * 3, 0.3, &mut rng) };
        let mut grad = vec![0.0; net.params().len()];
        let batch = Batch { x: &x, rows, sequence };
        net.loss_grad(&Engine::Fused, &pool, batch, &loss, &mut grad, &mut [0.0], &mut NetWork::default());
        let mut reference = grad.clone();
        net.loss_grad(&flex(), &pool, batch, &loss, &mut reference, &mut [0.0], &mut NetWork::default());
        let error = relative(&grad, &reference);
        assert!(error < 1e-5, "recurrent {recurrent}: {error}");

        let value = |net: &Net| -> f64 {
            let mut state = memory.clone();
            let (mut total, mut at) = ([0.0], 0);
            for count in active {
                let (width, input) = (net.memory_len(), net.input_len());
                for k in (0..*count).filter(|k| recurrent && first[at + k]) {
                    state[k * width..(k + 1) * width].fill(0.0);
                }
                let (x, mut out) = (&x[at * input..(at + count) * input], vec![0.0; count * 3]);
                net.forward(x, *count, &mut state[..count * width], &mut out, &mut NetScratch::default());
                loss.rows(at, &out, &mut vec![0.0; out.len()], &mut total);
                at += count;
            }
            total[0]
        };
        let parameters = net.params().len() - 2;
        for k in (0..parameters).step_by(parameters / 60) {
            let (held, step) = (net.params()[k], 1e-2);
            net.set_params(|p| p[k] = held + step);
            let up = value(&net);
            net.set_params(|p| p[k] = held - step);
            let down = value(&net);
            net.set_params(|p| p[k] = held);
            let numeric = (up - down) / (2.0 * f64::from(step));
            assert!(
                (numeric - f64::from(grad[k])).abs() < 2e-2 * (1.0 + numeric.abs()),
                "recurrent {recurrent}, parameter {k}: {numeric} against {}",
                grad[k]
            );
        }
    }
}

/// Acting equals Burn's forward within 1e-6 of the output's scale, for every kind of network.
#[test]
fn acting_equals_burns_forward() {
    use burn::tensor::{Device, Tensor, TensorData};
    for (obs, recurrent) in [
        (ObsSpace::vector(9), false),
        (ObsSpace::vector(9), true),
        (ObsSpace::image(5, 4, 3), false),
        (ObsSpace::image(4, 4, 1), true),
    ] {
        let mut rng = rng(9);
        let net = Net::new(spec(obs.clone(), &[32, 32], recurrent, Activation::Relu), &rng.fork(0));
        let rows = 10;
        let x = numbers(rows * net.input_len(), if obs.is_image() { 80.0 } else { 1.0 }, &mut rng);
        let memory = numbers(rows * net.memory_len(), 0.5, &mut rng);
        let mut out = vec![0.0; rows * 3];
        net.forward(&x, rows, &mut memory.clone(), &mut out, &mut NetScratch::default());
        let device = Device::flex();
        let first = vec![false; rows];
        let active = [rows];
        let sequence = recurrent.then_some(Sequence { active: &active, memory: &memory, first: &first });
        let params = Tensor::<1>::from_data(TensorData::new(net.params().to_vec(), [net.params().len()]), &device);
        let burn = burn_net::forward(&net, params, &Batch { x: &x, rows, sequence }, &device);
        let burn: Vec<f32> = burn.into_data().try_into_vec().unwrap();
        let scale = burn.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        for (a, b) in out.iter().zip(&burn) {
            assert!((a - b).abs() <= 2e-6 * scale, "{obs:?} recurrent {recurrent}: {a} {b}");
        }
    }
}

/// A network that stays on a device acts there as on slices, its memory included.
#[test]
fn a_resident_network_acts_as_on_slices() {
    for (obs, recurrent) in [(ObsSpace::vector(9), false), (ObsSpace::vector(9), true), (ObsSpace::image(4, 4, 1), true)] {
        let mut rng = rng(10);
        let net = Net::new(spec(obs.clone(), &[32, 32], recurrent, Activation::Tanh), &rng.fork(0));
        let there = burn_net::Resident::new(&net, &burn::tensor::Device::flex());
        let rows = 7;
        let mut memory = numbers(rows * net.memory_len(), 0.5, &mut rng);
        let mut held = memory.clone();
        for _ in 0..3 {
            let x = numbers(rows * net.input_len(), 1.0, &mut rng);
            let (mut here, mut out) = (vec![0.0; rows * 3], vec![f32::NAN; rows * 3]);
            net.forward(&x, rows, &mut memory, &mut here, &mut NetScratch::default());
            there.forward(&net, &x, rows, &mut held, &mut out);
            for (a, b) in here.iter().chain(&memory).zip(out.iter().chain(&held)) {
                assert!((a - b).abs() <= 1e-5 * (1.0 + a.abs()), "{obs:?} recurrent {recurrent}: {a} {b}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// One row alone gives the bits that it gives in company, for every kind of network.
    #[test]
    fn a_row_does_not_see_its_batch(seed in any::<u64>(), rows in 1usize..70, recurrent in any::<bool>(), image in any::<bool>()) {
        let mut rng = rng(seed);
        let obs = if image { ObsSpace::image(4, 4, 2) } else { ObsSpace::vector(7) };
        let net = Net::new(spec(obs, &[20, 12], recurrent, Activation::Relu), &rng.fork(0));
        let x = numbers(rows * net.input_len(), 1.0, &mut rng);
        let memory = numbers(rows * net.memory_len(), 0.5, &mut rng);
        let (mut all, mut after) = (vec![0.0; rows * 3], memory.clone());
        net.forward(&x, rows, &mut after, &mut all, &mut NetScratch::default());
        let (i, m) = (net.input_len(), net.memory_len());
        for r in 0..rows {
            let (mut one, mut held) = ([0.0; 3], memory[r * m..(r + 1) * m].to_vec());
            net.forward(&x[r * i..(r + 1) * i], 1, &mut held, &mut one, &mut NetScratch::default());
            prop_assert_eq!(one.map(f32::to_bits), std::array::from_fn(|k| all[3 * r + k].to_bits()));
            prop_assert!(held == after[r * m..(r + 1) * m]);
        }
        if net.is_plain() {
            let mut pooled = vec![0.0; rows * 3];
            net.forward_all(&Pool::new(3).unwrap(), &x, rows, &mut pooled);
            prop_assert_eq!(pooled, all);
        }
    }
}

/// Forward and backward apart give the gradient of the row loss in one go, and a pass for values alone the same values; what the
/// head of a recurrent network reads takes part where it is asked to, by both engines.
#[test]
fn passes_apart_equal_one_pass() {
    let pool = Pool::serial();
    for (recurrent, layer_norm) in [(false, true), (true, true), (true, false)] {
        let mut rng = rng(40 + u64::from(recurrent));
        let net =
            Net::new(NetSpec { layer_norm, ..spec(ObsSpace::vector(4), &[8, 6], recurrent, Activation::Relu) }, &rng.fork(0));
        let active: &[usize] = if recurrent { &[3, 3, 2, 2, 1] } else { &[9] };
        let (rows, sequences) = (active.iter().sum(), active[0]);
        let x = numbers(rows * net.input_len(), 1.0, &mut rng);
        let memory = numbers(sequences * net.memory_len(), 0.5, &mut rng);
        let first: Vec<bool> = (0..rows).map(|_| rng.bernoulli(0.2)).collect();
        let sequence = recurrent.then_some(Sequence { active, memory: &memory, first: &first });
        let batch = Batch { x: &x, rows, sequence };
        let loss = Bowl { c: numbers(rows * 3, 0.3, &mut rng) };
        let mut whole = vec![0.0; net.params().len()];
        net.loss_grad(&Engine::Fused, &pool, batch, &loss, &mut whole, &mut [0.0], &mut NetWork::default());
        let (mut work, mut out) = (NetWork::default(), vec![0.0; rows * 3]);
        net.forward_batch(&pool, batch, &mut out, &mut work);
        let (mut target_work, mut values) = (NetWork::default(), vec![9.0; out.len()]);
        net.values_batch(&pool, batch, &mut values, &mut target_work);
        assert_eq!((values, target_work.states()), (out.clone(), work.states()), "recurrent {recurrent}");
        let mut d_out = vec![0.0; out.len()];
        loss.rows(0, &out, &mut d_out, &mut [0.0]);
        let mut apart = vec![9.0; whole.len()];
        net.backward_batch(&Engine::Fused, &pool, batch, &d_out, None, &mut apart, &mut work);
        assert_eq!(apart, whole, "recurrent {recurrent}");
        assert_eq!(work.states().len(), rows * net.memory_len());
        let d_states = numbers(work.states().len(), 0.5, &mut rng);
        let mut gradients = Vec::new();
        for engine in [Engine::Fused, flex()] {
            net.forward_batch(&pool, batch, &mut out, &mut work);
            let mut grad = vec![9.0; whole.len()];
            net.backward_batch(&engine, &pool, batch, &d_out, Some(&d_states), &mut grad, &mut work);
            gradients.push(grad);
        }
        let error = relative(&gradients[0], &gradients[1]);
        assert!(error < 1e-5, "recurrent {recurrent}: {error}");
        assert!(!recurrent || relative(&gradients[0], &whole) > 1e-2, "the gradient by the states makes a difference");
    }
}

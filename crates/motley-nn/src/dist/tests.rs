use motley_core::Purpose;
use proptest::prelude::*;

use super::*;
use crate::explore::Explore;

fn gaussian(dim: usize) -> Head {
    Head::Gaussian { low: vec![-1.0; dim], high: vec![1.0; dim], x_coef: 1.0, y_coef: 0.5 }
}

fn squashed(dim: usize) -> Head {
    Head::TanhGaussian { low: vec![-2.0; dim], high: vec![1.0; dim] }
}

/// Central differences in f32 need a coarse step; the error of the difference itself is about 1e-3 of the scale.
fn check_gradient(head: &Head, out: &[f32], free: &[f32], mask: &[bool], raw: &[f32], weights: (f32, f32)) {
    let value = |out: &[f32], free: &[f32]| {
        let e = head.evaluate(out, free, mask, raw);
        f64::from(weights.0) * f64::from(e.log_prob) + f64::from(weights.1) * f64::from(e.entropy)
    };
    let (mut d_out, mut d_free) = (vec![0.0; out.len()], vec![0.0; free.len()]);
    head.backward(out, free, mask, raw, weights.0, weights.1, &mut d_out, &mut d_free);
    let step = 5e-3;
    let close = |numeric: f64, exact: f64| (numeric - exact).abs() <= 5e-3 * (1.0 + exact.abs());
    for j in 0..out.len() {
        let (mut up, mut down) = (out.to_vec(), out.to_vec());
        up[j] += step;
        down[j] -= step;
        let numeric = (value(&up, free) - value(&down, free)) / f64::from(up[j] - down[j]);
        assert!(close(numeric, f64::from(d_out[j])), "{head:?} out {j}: {numeric} against {}", d_out[j]);
    }
    for j in 0..free.len() {
        let (mut up, mut down) = (free.to_vec(), free.to_vec());
        up[j] += step;
        down[j] -= step;
        let numeric = (value(out, &up) - value(out, &down)) / f64::from(up[j] - down[j]);
        assert!(close(numeric, d_free[j]), "{head:?} free {j}: {numeric} against {}", d_free[j]);
    }
}

proptest! {
    #[test]
    fn gradients_match_differences(
        out in proptest::collection::vec(-1.5f32..1.5, 6),
        picks in (0usize..3, 0usize..2),
        w in (-2.0f32..2.0, -1.0f32..1.0),
        free in proptest::collection::vec(0.2f32..1.5, 3),
    ) {
        let mask = [true, true, true, true, true, false];
        check_gradient(&Head::Categorical(vec![3, 3]), &out, &[], &mask, &[picks.0 as f32, picks.1 as f32], w);
        let near: Vec<f32> = (0..3).map(|d| out[d] + 0.2 * out[d + 3]).collect();
        check_gradient(&gaussian(3), &out[..3], &free, &[], &near, w);
        let near: Vec<f32> = (0..3).map(|d| out[d] + 0.2).collect();
        check_gradient(&squashed(3), &out, &[], &[], &near, w);
    }

    /// T23 and E11: an unavailable action has probability 0, zero gradient, and is never drawn.
    #[test]
    fn unavailable_actions_never_happen(
        logits in proptest::collection::vec(-50.0f32..50.0, 7),
        mut mask in proptest::collection::vec(any::<bool>(), 7),
        keep in 0usize..7,
        seed in any::<u64>(),
    ) {
        mask[keep] = true;
        let head = Head::Categorical(vec![7]);
        let mut rng = Stream::new(seed, Purpose::Check, 0, 0);
        let mut raw = [0.0];
        for _ in 0..20 {
            let log_prob = head.sample(&logits, &[], &mask, &mut rng, &mut raw);
            prop_assert!(mask[raw[0] as usize] && log_prob.is_finite());
        }
        prop_assert!(head.mode(&logits, &[], &mask, &mut raw).is_finite() && mask[raw[0] as usize]);
        let mut d_out = [f32::NAN; 7];
        head.backward(&logits, &[], &mask, &raw, 1.0, 1.0, &mut d_out, &mut []);
        for j in 0..7 {
            prop_assert!(d_out[j].is_finite() && (mask[j] || d_out[j] == 0.0));
            prop_assert!(mask[j] || head.log_prob(&logits, &[], &mask, &[j as f32]) == f32::NEG_INFINITY);
        }
    }
}

/// E11: logits that are no numbers, or beyond all bounds, open no action that its mask closes.
#[test]
fn wild_logits_open_no_closed_action() {
    let wild = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0, 1.0];
    let (head, mut raw) = (Head::Categorical(vec![4, 3]), [0.0; 2]);
    let mut rng = Stream::new(11, Purpose::Check, 0, 0);
    for _ in 0..100_000 {
        let logits: [f32; 7] = std::array::from_fn(|_| wild[rng.below(7) as usize]);
        let mut mask: [bool; 7] = std::array::from_fn(|_| rng.below(3) == 0);
        mask[rng.below(4) as usize] = true;
        mask[4 + rng.below(3) as usize] = true;
        let check = |how: &str, raw: &[f32; 2]| {
            assert!(mask[raw[0] as usize] && mask[4 + raw[1] as usize], "{how} {logits:?} {mask:?}: {raw:?}");
        };
        head.sample(&logits, &[], &mask, &mut rng, &mut raw);
        check("drawn", &raw);
        head.mode(&logits, &[], &mask, &mut raw);
        check("the best", &raw);
        for explore in [Explore::Draw, Explore::Epsilon(0.3), Explore::Uniform] {
            explore.choose(&head, &logits, &[], &mask, &mut rng, &mut raw);
            check("explored", &raw);
        }
    }
}

/// The divergence is 0 at the old policy, and its second differences there are the curvature.
#[test]
fn curvature_is_the_divergences_hessian() {
    let mask = [true, true, false, true];
    let (out, tangent) = ([0.3, -0.8, 0.1, 1.1], [0.7, -0.2, 0.5, 0.4]);
    for (head, mask) in [(Head::Categorical(vec![4]), &mask[..]), (gaussian(4), &[]), (squashed(2), &[])] {
        for kind in [KlKind::True, KlKind::HarlK3] {
            let free = head.free_parameters();
            let at = |h: f32, free: &[f32]| {
                let moved: Vec<f32> = out.iter().zip(&tangent).map(|(o, t)| o + h * t).collect();
                let kl = head.kl(&out, &head.free_parameters(), &moved, free, mask, kind);
                // What rounding swallows of HARL's value: e^d - 1 - d of each unavailable action, d the fall of the normaliser.
                let lse = |x: &[f32]| (0..4).filter(|&j| mask[j]).map(|j| f64::from(x[j]).exp()).sum::<f64>().ln();
                let swallowed = |d: f64| mask.iter().filter(|m| !**m).count() as f64 * (d.exp() - 1.0 - d);
                if kind == KlKind::HarlK3 && !mask.is_empty() { kl + swallowed(lse(&out) - lse(&moved)) } else { kl }
            };
            assert!(at(0.0, &free).abs() < 1e-9);
            let h = 2e-2;
            let numeric = (at(h, &free) + at(-h, &free)) / f64::from(h * h);
            let mut m = [0.0; 4];
            head.curvature(&out, &free, mask, &tangent, &mut m, kind);
            let exact: f32 = m.iter().zip(&tangent).map(|(a, b)| a * b).sum();
            assert!((numeric - f64::from(exact)).abs() < 2e-2 * (1.0 + numeric.abs()), "{head:?} {kind:?}: {numeric} {exact}");
            for k in 0..free.len() {
                let moved = |h: f32| free.iter().enumerate().map(|(j, w)| if j == k { w + h } else { *w }).collect::<Vec<_>>();
                let numeric = (at(0.0, &moved(h)) + at(0.0, &moved(-h))) / f64::from(h * h);
                assert!((numeric - f64::from(head.free_curvature(&free, k))).abs() < 1e-2, "free {k}: {numeric}");
            }
        }
    }
}

#[test]
fn categorical_agrees_with_closed_form() {
    let head = Head::Categorical(vec![2]);
    let e = head.evaluate(&[3.0f32.ln(), 0.0], &[], &[true, true], &[0.0]);
    assert!((e.log_prob - 0.75f32.ln()).abs() < 1e-6);
    assert!((e.entropy - (-0.75 * 0.75f32.ln() - 0.25 * 0.25f32.ln())).abs() < 1e-6);
}

#[test]
fn samples_follow_the_distribution() {
    let head = Head::Categorical(vec![3]);
    let (out, mask) = ([1.0f32.ln(), 0.0, 3.0f32.ln()], [true, false, true]);
    let mut rng = Stream::new(1, Purpose::Check, 0, 0);
    let mut raw = [0.0];
    let hits = (0..40_000)
        .filter(|_| {
            head.sample(&out, &[], &mask, &mut rng, &mut raw);
            raw[0] == 2.0
        })
        .count();
    assert!((hits as f64 / 40_000.0 - 0.75).abs() < 0.01, "{hits}");
    let head = gaussian(1);
    let draws: Vec<f64> = (0..40_000)
        .map(|_| {
            head.sample(&[0.3], &[1.0], &[], &mut rng, &mut raw);
            f64::from(raw[0])
        })
        .collect();
    let mean = draws.iter().sum::<f64>() / 40_000.0;
    let std = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 40_000.0).sqrt();
    // sigma_0 = 0.5 sigmoid(1)
    assert!((mean - 0.3).abs() < 0.01 && (std - 0.365_529).abs() < 0.01, "{mean} {std}");
}

/// T22: the density over actions integrates to 1 (midpoint rule over a in (-2, 1)).
#[test]
fn tanh_gaussian_integrates_to_one() {
    for (mean, log_std) in [(0.0, -0.5), (0.7, 0.0), (-1.2, -1.5)] {
        let n = 200_000;
        let total: f64 = (0..n)
            .map(|k| {
                let unit = (f64::from(k) + 0.5) / f64::from(n) * 2.0 - 1.0;
                let u = unit.atanh() as f32;
                f64::from(squashed(1).log_prob(&[mean, log_std], &[], &[], &[u])).exp() * 3.0 / f64::from(n)
            })
            .sum();
        assert!((total - 1.0).abs() < 2e-3, "{mean} {log_std}: {total}");
    }
}

/// N9: finite log-probability and gradient for |u| up to 50.
#[test]
fn saturated_actions_stay_finite() {
    for u in [-50.0, -20.0, 0.0, 20.0, 50.0] {
        let head = squashed(1);
        let mut d_out = [f32::NAN; 2];
        head.backward(&[0.0, 0.0], &[], &[], &[u], 1.0, 0.1, &mut d_out, &mut []);
        assert!(head.log_prob(&[0.0, 0.0], &[], &[], &[u]).is_finite() && d_out.iter().all(|d| d.is_finite()));
        let mut env = [0.0];
        head.to_env(&[u], &mut env);
        assert!((-2.0..=1.0).contains(&env[0]));
    }
}

/// N9: far in the flat of tanh, log-probability and gradients are the closed forms in f64 to 1e-5 of their size, of a stored action and
/// along a path.
#[test]
fn saturated_gradients_are_the_closed_form_s() {
    let near = |found: f32, exact: f64, what: &str| {
        assert!((f64::from(found) - exact).abs() <= 1e-5 * exact.abs().max(1.0), "{what}: {found}, exactly {exact}");
    };
    let (head, scale) = (squashed(1), 1.5_f64.ln());
    for u in [5.0_f32, -5.0, 10.0, -10.0, 20.0, -20.0, 50.0, -50.0] {
        for (mean, log_std) in [(0.25_f32, 0.0_f32), (-0.75, 0.5), (0.9_f32.copysign(u) * u.abs(), -0.5)] {
            let (m, s, x) = (f64::from(mean), f64::from(log_std).exp(), f64::from(u));
            let z = (x - m) / s;
            // ln(1 - tanh^2 u) = 2 (ln 2 - |u| - ln(1 + e^(-2|u|))): nothing cancels.
            let squash = 2.0 * (std::f64::consts::LN_2 - x.abs() - (-2.0 * x.abs()).exp().ln_1p());
            let exact = -0.5 * z * z - s.ln() - 0.5 * std::f64::consts::TAU.ln() - squash - scale;
            let out = [mean, log_std];
            near(head.log_prob(&out, &[], &[], &[u]), exact, &format!("log-probability at {u} of {out:?}"));
            let (d_log_prob, d_entropy) = (0.7_f32, 0.1_f32);
            let mut d_out = [f32::NAN; 2];
            head.backward(&out, &[], &[], &[u], d_log_prob, d_entropy, &mut d_out, &mut []);
            near(d_out[0], f64::from(d_log_prob) * z / s, &format!("by the mean at {u} of {out:?}"));
            let slope = f64::from(d_log_prob) * (z * z - 1.0) + f64::from(d_entropy);
            near(d_out[1], slope, &format!("by the log deviation at {u} of {out:?}"));

            // The path u = mu + sigma xi that leads there: d log pi / d mu = 2 tanh u, d a / d u = 1.5 (1 - tanh^2 u).
            let noise = ((x - m) / s) as f32;
            let path = m + s * f64::from(noise);
            let steep = (-2.0 * path.abs()).exp();
            let flat = 1.5 * 4.0 * steep / (1.0 + steep).powi(2);
            let d_raw = f64::from(-0.3_f32) * flat + f64::from(d_log_prob) * 2.0 * path.tanh();
            head.path_backward(&out, &[], &[noise], 1.0, &[-0.3], d_log_prob, &mut d_out);
            near(d_out[0], d_raw, &format!("by the mean along the path to {u} of {out:?}"));
            let spread = s * f64::from(noise);
            near(
                d_out[1],
                d_raw * spread - f64::from(d_log_prob),
                &format!("by the log deviation along the path to {u} of {out:?}"),
            );
        }
    }
}

#[test]
fn one_pass_has_the_bits_of_two() {
    let mut rng = motley_core::Stream::new(5, Purpose::Init, 0, 0);
    for case in 0..200 {
        let n = 1 + case % 9;
        let out: Vec<f32> = (0..n).map(|_| 20.0 * rng.normal() as f32).collect();
        let mut mask: Vec<bool> = (0..n).map(|_| rng.bernoulli(0.7)).collect();
        let pick = rng.below(n as u32) as usize;
        mask[pick] = true;
        let (head, raw, weights) = (Head::Categorical(vec![n]), [pick as f32], (0.3, if case % 2 == 0 { 0.0 } else { -0.7 }));
        let (mut two, mut one, mut seen) = (vec![9.0; n], vec![9.0; n], None);
        head.backward(&out, &[], &mask, &raw, weights.0, weights.1, &mut two, &mut []);
        let weigh = |e| {
            seen = Some(e);
            weights
        };
        head.evaluate_backward(&out, &[], &mask, &raw, weigh, &mut one, &mut []);
        assert_eq!(one, two);
        assert_eq!(seen, Some(head.evaluate(&out, &[], &mask, &raw)));
    }
}

/// Hand-computed: probabilities (3/4, 1/4) and (1/4, 3/4) are 1/2 apart; means 3 apart and deviations 4 apart are 5 apart.
#[test]
fn distances_are_wasserstein_s() {
    let ln3 = 3f32.ln();
    let found = Head::Categorical(vec![2, 2]).distance(&[ln3, 0.0, 0.0, 0.0], &[], &[0.0, ln3, 5.0, 5.0], &[]);
    assert!((found - 0.5).abs() < 1e-6, "{found}");
    let found = squashed(1).distance(&[1.0, 0.0], &[], &[4.0, 5f32.ln()], &[]);
    assert!((found - 5.0).abs() < 1e-5, "{found}");
    let point = Head::Deterministic { low: vec![-2.0], high: vec![2.0] };
    assert!((point.distance(&[20.0], &[], &[-20.0], &[]) - 4.0).abs() < 1e-6);
    let w = |sigma: f32| (sigma / 0.5 / (1.0 - sigma / 0.5)).ln();
    let found = gaussian(1).distance(&[0.3], &[w(0.1)], &[0.0], &[w(0.5 * 0.999)]);
    assert!((found - (0.09f64 + 0.399_5f64.powi(2)).sqrt()).abs() < 1e-4, "{found}");
}

/// A dimension that is fixed scales no density: what is drawn lies on it, and nothing becomes infinite.
#[test]
fn a_fixed_dimension_is_a_constant() {
    let head = Head::TanhGaussian { low: vec![-1.0, 0.0], high: vec![1.0, 0.0] };
    let free = Head::TanhGaussian { low: vec![-1.0, -1.0], high: vec![1.0, 1.0] };
    let (out, raw) = ([0.3, -0.2, -0.5, 0.1], [0.7, -0.4]);
    let seen = head.evaluate(&out, &[], &[], &raw);
    assert_eq!(seen.log_prob, free.evaluate(&out, &[], &[], &raw).log_prob, "ln 1 and nothing are the same");
    assert!(seen.entropy.is_finite() && head.log_prob(&out, &[], &[], &raw) == seen.log_prob);
}

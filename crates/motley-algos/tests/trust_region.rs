//! T20: HATRPO's step. The Fisher-vector product is held to a double backward in `tests/python/test_losses_jax.py`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Bench, Field, SMALL, Toy, settings};
use motley_algos::RewardMode;
use motley_algos::heterogeneous::hatrpo::{TrustConfig, trust_region_step};
use motley_algos::on_policy::{self, OnPolicy};
use motley_algos::trust_region::{conjugate_gradient, dot};
use motley_core::{Metrics, Purpose, Stream};
use motley_nn::dist::KlKind;
use motley_nn::{Cut, Pick, Policy, Source};

struct Case {
    core: OnPolicy,
    field: Field,
    whole: Pick,
}

/// Actors that are far from uniform, with one rollout.
fn case(overrides: &[&str]) -> Case {
    let rng = Stream::new(3, Purpose::Check, 0, 0);
    let overrides = [&SMALL[..], &["net.output_gain=1.0"], overrides].concat();
    let keys = [on_policy::keys("none"), TrustConfig::keys()].concat();
    let toy = Toy { masks: true, deaths: true, faults: true, ..Toy::mixed() };
    let core = OnPolicy::new("test", &toy.team(), &settings(keys, &overrides), Source::State, RewardMode::Sum, &rng).unwrap();
    let mut field = Field::new(toy.make(), 8, 20, core.policy().memory_len(), 1, 1);
    field.collect(&core.policy());
    let chunk = if core.cut(1).chunk > 0 { 20 } else { 0 };
    let whole = Cut { minibatches: 1, chunk }.pass(8, 20, rng).unwrap().remove(0);
    Case { core, field, whole }
}

fn trust(overrides: &[&str]) -> TrustConfig {
    TrustConfig::read(&settings(TrustConfig::keys(), overrides)).unwrap()
}

/// One step of actor `g` along `weight` on every row.
fn step(case: &mut Case, g: usize, weight: &[f32], trust: &TrustConfig) -> Metrics {
    let actor = &mut case.core.actors[g];
    let rows = actor.rows(&case.field.roll);
    trust_region_step(actor, &case.field.pool, &case.field.roll, &rows, &case.whole, weight, trust)
}

fn noise(n: usize) -> Vec<f32> {
    let mut rng = Stream::new(8, Purpose::Check, 0, 0);
    (0..n).map(|_| rng.normal() as f32).collect()
}

const NETS: [&str; 2] = ["net.recurrent=false", "net.recurrent=true"];

/// The divergence of a full step is delta without damping, and `delta x^T F x / x^T (F + damping I) x` with it: for categoricals,
/// normals, squashed normals and multi-discrete actions, with and without memory.
#[test]
fn a_small_step_diverges_by_delta() {
    for net in NETS {
        for distribution in ["net.distribution=gaussian", "net.distribution=tanh_gaussian"] {
            for damping in [0.0, 0.1] {
                for g in 0..3 {
                    let mut case = case(&[net, distribution]);
                    let (pool, roll, actor) = (&case.field.pool, &case.field.roll, &mut case.core.actors[g]);
                    let rows = actor.rows(roll);
                    let (old, weight) = (actor.old_policy(pool, roll, &rows), noise(rows.old.len()));
                    let gradient = actor.surrogate_gradient(pool, roll, &rows, &case.whole, &weight);
                    let gradient: Vec<f64> = gradient.into_iter().map(f64::from).collect();
                    let mut fisher = |v: &[f64]| -> Vec<f64> {
                        let v: Vec<f32> = v.iter().map(|x| *x as f32).collect();
                        let product = actor.fisher_product(pool, roll, &rows, &case.whole, &old, &v, KlKind::True);
                        product.into_iter().map(f64::from).collect()
                    };
                    let mut damped = |v: &[f64]| fisher(v).iter().zip(v).map(|(f, v)| f + damping * v).collect::<Vec<f64>>();
                    let x = conjugate_gradient(&mut damped, &gradient, 10, 1e-10).x;
                    let (plain, whole) = (dot(&x, &fisher(&x)), dot(&x, &fisher(&x)) + damping * dot(&x, &x));
                    let delta = 1e-4;
                    let scale = (2.0 * delta / whole).sqrt();
                    let start = actor.net.params().to_vec();
                    actor.net.set_params(|p| {
                        p.iter_mut().zip(start.iter().zip(&x)).for_each(|(p, (s, x))| *p = (f64::from(*s) + scale * x) as f32);
                    });
                    let (_, kl) = actor.surrogate_and_kl(pool, roll, &rows, &weight, &old, KlKind::True);
                    let expected = delta * plain / whole;
                    assert!(
                        (kl.mean - expected).abs() < 0.1 * expected && kl.max > kl.mean,
                        "{net} {distribution} actor {g}, damping {damping}: {kl:?}, expected {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_accepted_step_gains_inside_its_ball() {
    for net in NETS {
        for g in 0..3 {
            let mut case = case(&[net]);
            let trust = trust(&["algo.kl_threshold=0.005"]);
            let weight = noise(160);
            let rows = case.core.actors[g].rows(&case.field.roll);
            let old = case.core.actors[g].old_policy(&case.field.pool, &case.field.roll, &rows);
            let metrics = step(&mut case, g, &weight, &trust);
            assert_eq!(metrics.mean("trust_region_rejected"), Some(0.0), "{net} actor {g}");
            let measure = |k| case.core.actors[g].surrogate_and_kl(&case.field.pool, &case.field.roll, &rows, &weight, &old, k);
            let (gain, kl) = measure(KlKind::True);
            let counted: Vec<f64> = weight.iter().zip(&rows.active).filter(|(_, a)| **a).map(|(w, _)| f64::from(*w)).collect();
            assert!(gain > counted.iter().sum::<f64>() / counted.len() as f64, "{net} actor {g}: {gain}");
            assert!(kl.mean <= 0.005 && kl.mean > 0.0005, "{net} actor {g}: {kl:?}");
        }
    }
}

/// The line search goes back from steps that are too long, and gives up to the bit where none will do.
#[test]
fn the_line_search_shortens_and_refuses() {
    let before = |case: &Case, g: usize| case.core.actors[g].net.params().to_vec();
    let mut far = case(&[]);
    let weight = noise(160);
    // A ball so wide that the linear promise fails at first.
    let metrics = step(&mut far, 0, &weight, &trust(&["algo.kl_threshold=5.0", "algo.line_search_steps=40"]));
    assert!(metrics.mean("line_search_steps").unwrap() > 2.0);
    for (overrides, weight) in [
        // Nothing gains exactly what the gradient promises over so long a step.
        (["algo.kl_threshold=5.0", "algo.accept_ratio=1.0", "algo.line_search_steps=1"], noise(160)),
        // No gradient.
        (["algo.kl_threshold=0.01", "algo.accept_ratio=0.5", "algo.line_search_steps=10"], vec![0.0; 160]),
        (["algo.kl_threshold=0.01", "algo.accept_ratio=0.5", "algo.line_search_steps=10"], vec![f32::NAN; 160]),
    ] {
        for g in 0..3 {
            let mut case = case(&[]);
            let start = before(&case, g);
            let metrics = step(&mut case, g, &weight, &trust(&overrides));
            assert_eq!(metrics.mean("trust_region_rejected"), Some(1.0), "{overrides:?} actor {g}");
            assert!(before(&case, g).iter().zip(&start).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}

/// Through the algorithm: every agent's accepted step stays in its ball, whichever divergence measures it.
#[test]
fn whole_updates_stay_in_the_ball() {
    for kl in ["true", "harl"] {
        let form = format!("algo.kl={kl}");
        let mut bench = Bench::toy("hatrpo", &Toy::discrete(), &["net.share=none", &form, "algo.kl_threshold=0.003"]);
        let mut accepted = 0;
        for _ in 0..10 {
            bench.collect();
            let metrics = bench.update();
            for i in 0..3 {
                if let Some(kl) = metrics.mean(&format!("loss/agent_{i}/kl")) {
                    assert!(kl <= 0.003, "{kl}");
                    accepted += 1;
                }
            }
        }
        assert!(accepted > 15, "{kl}: {accepted} of 30 steps accepted");
    }
}

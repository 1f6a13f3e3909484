//! T4: the factor of the sequential scheme, and what is left of it where nobody moves.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::oracle::log_pis;
use common::{Bench, Field, SMALL, Toy, settings};
use motley_algos::RewardMode;
use motley_algos::on_policy::{self, OnPolicy, Passes, PpoConfig};
use motley_algos::schedule::{self, FactorConfig};
use motley_core::{Purpose, Stream};
use motley_nn::{Cut, Objective, Policy, Source};

fn rng() -> Stream {
    Stream::new(3, Purpose::Check, 0, 0)
}

/// A core of single agents on a toy, with one collected rollout.
fn core(toy: &Toy) -> (OnPolicy, Field) {
    let keys = [on_policy::keys("none"), PpoConfig::keys()].concat();
    let core = OnPolicy::new("test", &toy.team(), &settings(keys, &SMALL), Source::State, RewardMode::Sum, &rng()).unwrap();
    let mut field = Field::new(toy.make(), 4, 20, core.policy().memory_len(), 1, 1);
    field.collect(&core.policy());
    (core, field)
}

fn one_pass(lr: f64) -> Passes {
    Passes {
        epochs: 1,
        cut: Cut { minibatches: 1, chunk: 0 },
        objective: Objective::PpoClip { clip: 0.2 },
        entropy_coef: 0.01,
        lr,
    }
}

/// What each actor was given: (actor, factor = weight / advantage; `None` where the advantage is too small to divide by).
type Seen = Vec<(usize, Vec<Option<f32>>)>;

fn run(core: &mut OnPolicy, field: &Field, order: &[usize], lr: f64, factor_clip: f64) -> Seen {
    let roll = &field.roll;
    let estimates = core.estimate(&field.pool, roll).unwrap();
    let advantages: Vec<Vec<f32>> = core.actors.iter().map(|a| core.advantages(&estimates, a, &a.rows(roll))).collect();
    let mut seen = Seen::new();
    schedule::sequential(
        core,
        &field.pool,
        roll,
        &estimates,
        (order, &FactorConfig { factor_clip }),
        |g, actor, rows, weight| {
            let divided = weight.iter().zip(&advantages[g]).map(|(w, a)| (a.abs() > 1e-3).then(|| w / a));
            seen.push((g, divided.collect()));
            one_pass(lr).run(actor, &field.pool, roll, rows, weight, &rng())
        },
    )
    .unwrap();
    seen
}

#[test]
fn it_is_the_product_of_earlier_ratios() {
    let plain = Toy::mixed();
    let mortal = Toy { masks: true, deaths: true, faults: true, ..Toy::mixed() };
    let cases = [
        (&plain, [0, 1, 2], 0.0),
        (&plain, [2, 0, 1], 0.0),
        (&mortal, [1, 2, 0], 0.0),
        (&plain, [0, 1, 2], 0.03),
        (&mortal, [1, 2, 0], 0.03),
    ];
    for (toy, order, clip) in cases {
        let (mut core, field) = core(toy);
        let before: Vec<Vec<f64>> = core.actors.iter().map(|a| log_pis(&a.acting(), &field.roll)).collect();
        let seen = run(&mut core, &field, &order, 0.02, clip);
        assert_eq!(seen.iter().map(|s| s.0).collect::<Vec<_>>(), order);
        let mut product = vec![1.0; field.roll.rows()];
        for (m, (g, factor)) in seen.iter().enumerate() {
            let moved = product.iter().filter(|p: &&f64| (**p - 1.0).abs() > 0.02).count();
            assert!(if m == 0 { moved == 0 } else { moved > 10 }, "actor {g} saw {moved} factors away from 1");
            for (row, (found, expected)) in factor.iter().zip(&product).enumerate() {
                if let Some(found) = found {
                    assert!(
                        (f64::from(*found) - expected).abs() < 2e-5 * expected,
                        "actor {g}, row {row}: {found}, by hand {expected}"
                    );
                }
            }
            let after = log_pis(&core.actors[*g].acting(), &field.roll);
            for (row, p) in product.iter_mut().enumerate() {
                let (e, t) = field.roll.at(row);
                if field.roll.active(e, t, *g) {
                    *p *= (after[row] - before[*g][row]).exp();
                }
                if clip > 0.0 {
                    *p = p.clamp(1.0 / (1.0 + clip), 1.0 + clip);
                }
            }
        }
    }
}

#[test]
fn it_stays_one_where_nobody_moves() {
    let (mut core, field) = core(&Toy::mixed());
    for (g, factor) in run(&mut core, &field, &[1, 0, 2], 0.0, 0.0) {
        assert!(factor.iter().flatten().all(|f| *f == 1.0), "actor {g}");
    }
}

#[test]
fn an_agent_dead_throughout_is_skipped_and_leaves_it_alone() {
    let (mut core, mut field) = core(&Toy::mixed());
    for lane in &mut field.roll.lanes {
        lane.alive.chunks_exact_mut(3).for_each(|a| a[1] = false);
    }
    let before: Vec<Vec<f32>> = core.actors.iter().map(|a| a.net.params().to_vec()).collect();
    let seen = run(&mut core, &field, &[0, 1, 2], 0.02, 0.0);
    assert_eq!(core.actors[1].net.params(), before[1]);
    assert_ne!(core.actors[0].net.params(), before[0]);
    assert_ne!(core.actors[2].net.params(), before[2]);
    // The dead agent has no statistics of its own: its advantages are 0, and the third sees what the first left.
    assert!(seen[1].1.iter().all(Option::is_none));
    assert!(seen[2].1.iter().flatten().any(|f| (f - 1.0).abs() > 0.02));
}

/// With learning rate 0 HAPPO's gradients are MAPPO's, agent by agent (they show in Adam's first moment); with another
/// they are so for the first agent alone.
#[test]
fn happo_that_does_not_move_is_mappo() {
    let trained = |algo: &str, lr: &str, order: &[&str]| {
        let fixed = ["net.share=none", "algo.ppo_epochs=1", lr];
        let mut bench = Bench::toy(algo, &Toy::mixed(), &[&fixed[..], order].concat());
        bench.collect();
        let metrics = bench.update();
        (bench, metrics)
    };
    let moments = |bench: &Bench, g: usize| bench.saved().f32s(&format!("actor.{g}.adam.first")).unwrap();
    for order in ["algo.order=fixed", "algo.order=random"] {
        let (happo, metrics) = trained("happo", "algo.lr=0.0", &[order]);
        let (mappo, _) = trained("mappo", "algo.lr=0.0", &[]);
        assert_eq!(happo.bytes(), mappo.bytes());
        assert!(moments(&happo, 2).iter().any(|m| *m != 0.0));
        let largest: Vec<f64> = (0..3).filter_map(|i| metrics.mean(&format!("loss/agent_{i}/factor_max"))).collect();
        assert_eq!(largest, [1.0; 3]);
    }
    let (happo, _) = trained("happo", "algo.lr=0.02", &["algo.order=fixed"]);
    let (mappo, _) = trained("mappo", "algo.lr=0.02", &[]);
    assert_eq!(moments(&happo, 0), moments(&mappo, 0));
    assert_ne!(moments(&happo, 1), moments(&mappo, 1));
    assert_ne!(moments(&happo, 2), moments(&mappo, 2));
}

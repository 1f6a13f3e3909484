//! REINFORCE: what it climbs, from returns summed by hand.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::oracle::log_pis;
use common::{Bench, SMALL, Toy};
use motley_core::{Purpose, Stream};
use motley_data::rollout::Rollout;
use motley_nn::policy::ActingGroup;

/// `gamma^t` and the discounted sum to the episode's end of every row, and whether the rollout holds that end.
/// `earlier` is the rollout before, in which a running episode may have begun.
fn returns(roll: &Rollout, earlier: Option<&Rollout>, i: usize, gamma: f64) -> Vec<(f64, f64, bool)> {
    let mut all = Vec::new();
    for (e, lane) in roll.lanes.iter().enumerate() {
        let steps = roll.steps();
        let begun = earlier.and_then(|r| r.lanes[e].first[..steps].iter().rposition(|f| *f)).map_or(0, |t| steps - t);
        for from in 0..roll.steps() {
            let (mut sum, mut weight, mut ended) = (0.0, 1.0, false);
            for t in from..roll.steps() {
                if !lane.valid[t] {
                    break;
                }
                sum += weight * lane.rewards[t * roll.team().n() + i];
                weight *= gamma;
                if lane.status[t].done() {
                    ended = true;
                    break;
                }
            }
            let age = lane.first[..=from].iter().rposition(|f| *f).map_or(begun + from, |t| from - t);
            all.push((gamma.powi(age as i32), sum, ended));
        }
    }
    all
}

/// Its gradient, read from Adam's first moment after a step of length 0, along random directions: the differences of
/// `E[gamma^t (G - b) log pi]` over finished, active rows, b the mean of the first rollout's returns.
#[test]
fn it_climbs_returns_times_log_probability() {
    let gamma = 0.9;
    for (own, form) in [(false, "false"), (true, "true")] {
        let toy = Toy { own, deaths: true, masks: true, faults: true, length: 6, ..Toy::mixed() };
        let discount = format!("algo.discount_gradient={form}");
        let overrides = ["algo.lr=0.0", "algo.gamma=0.9", "algo.max_grad_norm=0.0", "algo.rollout_steps=23", &discount];
        let mut bench = Bench::try_new("reinforce", toy.make(), &[&SMALL[..1], &overrides].concat(), 4, 1, 1).unwrap();
        bench.collect();
        let first = bench.field.roll.clone();
        bench.update();
        let before: Vec<Vec<f32>> = moments(&bench);
        bench.collect();
        bench.update_kept();
        let (roll, after) = (&bench.field.roll, moments(&bench));
        for (i, group) in bench.algorithm.policy().groups().iter().enumerate() {
            let counted = |roll: &Rollout, earlier: Option<&Rollout>| -> Vec<(usize, f64, f64)> {
                let all = returns(roll, earlier, i, gamma).into_iter().enumerate();
                let active = roll.active_rows(i);
                all.filter(|(r, g)| active[*r] && g.2).map(|(r, g)| (r, g.0, g.1)).collect()
            };
            let earlier = counted(&first, None);
            let baseline = earlier.iter().map(|g| g.2).sum::<f64>() / earlier.len() as f64;
            let rows = counted(roll, Some(&first));
            assert!(rows.len() > 20 && rows.len() < roll.rows());
            let objective = |group: &ActingGroup| {
                let log_pi = log_pis(group, roll);
                let weigh = |(r, discount, g): &(usize, f64, f64)| {
                    let discount = if form == "true" { *discount } else { 1.0 };
                    discount * (g - baseline) * log_pi[*r]
                };
                rows.iter().map(weigh).sum::<f64>() / rows.len() as f64
            };
            // first' = 0.9 first + 0.1 g
            let gradient: Vec<f64> = after[i].iter().zip(&before[i]).map(|(a, b)| f64::from(a - 0.9 * b) / 0.1).collect();
            for seed in 0..3 {
                let mut rng = Stream::new(seed, Purpose::Check, 0, 0);
                let direction: Vec<f64> = gradient.iter().map(|_| rng.normal()).collect();
                let moved = |h: f64| {
                    let mut group = group.clone();
                    group.net.set_params(|p| p.iter_mut().zip(&direction).for_each(|(p, d)| *p += (h * d) as f32));
                    objective(&group)
                };
                let numeric = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                let exact = -gradient.iter().zip(&direction).map(|(g, d)| g * d).sum::<f64>();
                let size = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
                assert!((numeric - exact).abs() < 2e-2 * size, "agent {i}, {form}: {numeric} {exact}, norm {size}");
            }
        }
    }
}

fn moments(bench: &Bench) -> Vec<Vec<f32>> {
    (0..3).map(|g| bench.saved().f32s(&format!("actor.{g}.adam.first")).unwrap()).collect()
}

#[test]
fn a_rollout_shorter_than_an_episode_is_refused() {
    let toy = Toy { length: 30, ..Toy::discrete() };
    let text = Bench::try_new("reinforce", toy.make(), &SMALL, 2, 1, 1).err().unwrap().to_string();
    assert!(text.contains("algo.rollout_steps") && text.contains("30"), "{text}");
}

//! The named games and what theory says about them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[allow(dead_code, reason = "every test file uses its own part")]
mod common;

use common::stream;
use motley_core::Stream;
use motley_theory::haml::Instance;
use motley_theory::nash::best_deviation;
use motley_theory::sharing::{homogeneity_trap_return, required_actions_optimum, unified_required_actions_optimum};
use motley_theory::{ProductPolicy, TabularGame, bilinear, evaluate, hatrl};

fn pure(game: &TabularGame, actions: &[usize]) -> ProductPolicy {
    let row = |(i, &n): (usize, &usize)| (0..n).map(|a| f64::from(u8::from(a == actions[i]))).collect();
    ProductPolicy::new(game, game.actions().iter().enumerate().map(row).collect()).unwrap()
}

fn is_equilibrium(game: &TabularGame, actions: &[usize]) -> bool {
    best_deviation(game, &pure(game, actions)).unwrap().gain <= 1e-12
}

fn j(game: &TabularGame, policy: &ProductPolicy) -> f64 {
    evaluate(game, policy).j
}

/// T8: from uniform, greedy takes (2,2) = 5 or (1,2) = 6 by the order, then (1,1) = 7, an equilibrium that is not the optimum.
#[test]
fn climbing_stops_at_seven() {
    let game = TabularGame::climbing();
    let pairs: Vec<[usize; 2]> = (0..9).map(|k| [k / 3, k % 3]).collect();
    let equilibria: Vec<_> = pairs.into_iter().filter(|a| is_equilibrium(&game, a)).collect();
    assert_eq!(equilibria, [[0, 0], [1, 1]]);
    let greedy = Instance::best_response();
    for (order, first) in [([0, 1], 5.0), ([1, 0], 6.0)] {
        let policy = greedy.sequential_step(&game, &ProductPolicy::uniform(&game), &order);
        assert_eq!(j(&game, &policy), first);
        let mut stream = stream(first as u64);
        let last = (0..10).fold(policy, |p, _| greedy.sequential_step(&game, &p, &stream.permutation(2)));
        assert_eq!(last, pure(&game, &[1, 1]));
        assert_eq!(j(&game, &last), 7.0);
    }
}

/// T8: the penalty game's safe equilibrium.
#[test]
fn penalty_stops_at_two() {
    let game = TabularGame::penalty(-100.0).unwrap();
    for actions in [[0, 2], [2, 0], [1, 1]] {
        assert!(is_equilibrium(&game, &actions));
    }
    for order in [[0, 1], [1, 0]] {
        let policy = Instance::best_response().sequential_step(&game, &ProductPolicy::uniform(&game), &order);
        assert_eq!(policy, pure(&game, &[1, 1]));
        assert_eq!(j(&game, &policy), 2.0);
    }
}

/// Every tested instance also ends in an equilibrium of the matrix games.
#[test]
fn every_instance_solves_the_matrix_games() {
    for game in [TabularGame::climbing(), TabularGame::penalty(-10.0).unwrap(), TabularGame::non_monotonic()] {
        for (k, instance) in Instance::standard().into_iter().enumerate() {
            let mut stream = stream(k as u64);
            let mut policy = ProductPolicy::random(&game, &mut stream, 0.01);
            for _ in 0..300 {
                policy = instance.sequential_step(&game, &policy, &stream.permutation(2));
            }
            let gap = best_deviation(&game, &policy).unwrap().gain;
            assert!(gap < 1e-3, "{}, {}: {gap}", game.name(), instance.name);
        }
    }
}

fn shared(game: &TabularGame, row: &[f64]) -> f64 {
    j(game, &ProductPolicy::new(game, vec![row.to_vec(); game.agents()]).unwrap())
}

/// T9 (Proposition 4): without ids the best shared policy earns 2/2ⁿ of the optimum; ids restore it.
#[test]
fn sharing_falls_into_the_trap_of_homogeneity() {
    for (n, ratio) in [(2, 0.5), (4, 0.125), (8, 1.0 / 128.0)] {
        let game = TabularGame::homogeneity_trap(n).unwrap();
        let mut best = 0.0f64;
        for k in 0..=1000 {
            let p = f64::from(k) / 1000.0;
            let value = shared(&game, &[1.0 - p, p]);
            assert!((value - homogeneity_trap_return(n, p)).abs() < 1e-12);
            best = best.max(value);
        }
        assert!((best - ratio).abs() < 1e-12, "n = {n}: {best}");
        // one shared function of the id: P(1) = sigmoid(100·(id − (n−1)/2))
        let by_id = |id: usize| 1.0 / (1.0 + (-100.0 * (id as f64 - (n as f64 - 1.0) / 2.0)).exp());
        let with_ids = ProductPolicy::new(&game, (0..n).map(|id| vec![1.0 - by_id(id), by_id(id)]).collect()).unwrap();
        assert!((j(&game, &with_ids) - 1.0).abs() < 1e-12);
    }
}

/// Gradient ascent on HAPPO's clipped objective, expectations exact: softmax logits `[agents][2]`, one order per iteration.
fn happo_by_gradient(game: &TabularGame, logits: &mut [[f64; 2]], iterations: usize, stream: &mut Stream) -> f64 {
    let softmax = |l: [f64; 2]| {
        let p = 1.0 / (1.0 + (l[0] - l[1]).exp());
        [1.0 - p, p]
    };
    let policy_of =
        |logits: &[[f64; 2]]| ProductPolicy::new(game, logits.iter().map(|l| softmax(*l).to_vec()).collect()).unwrap();
    for _ in 0..iterations {
        let old = policy_of(logits);
        let advantage = evaluate(game, &old).advantage;
        let mut factor = vec![1.0; game.joint()];
        for agent in stream.permutation(game.agents()) {
            for _ in 0..5 {
                let pi = softmax(logits[agent]);
                let mut slope = 0.0;
                for (a, p) in old.joint(game, 0).into_iter().enumerate() {
                    let own = game.own(a, agent);
                    let r = pi[own] / old.at(agent, 0)[own];
                    let m = factor[a] * advantage[a];
                    let clipped = if m > 0.0 { r > 1.2 } else { r < 0.8 };
                    if !clipped {
                        // dr/dθ_1 = r(1{own = 1} − π(1)); θ_0 moves by the opposite
                        slope += p * m * r * (own as f64 - pi[1]);
                    }
                }
                logits[agent][1] += 0.5 * slope;
                logits[agent][0] -= 0.5 * slope;
            }
            let pi = softmax(logits[agent]);
            for (a, f) in factor.iter_mut().enumerate() {
                *f *= pi[game.own(a, agent)] / old.at(agent, 0)[game.own(a, agent)];
            }
        }
    }
    j(game, &policy_of(logits))
}

/// T9's last part: unshared softmax policies under HAPPO get out of the trap from slightly random logits.
#[test]
fn unshared_happo_leaves_the_trap() {
    for n in [2, 4] {
        let game = TabularGame::homogeneity_trap(n).unwrap();
        let mut reached = 0;
        for seed in 0..10 {
            let mut stream = stream(seed);
            let mut logits: Vec<[f64; 2]> = (0..n).map(|_| [0.1 * stream.normal(), 0.1 * stream.normal()]).collect();
            reached += usize::from(happo_by_gradient(&game, &mut logits, 1500, &mut stream) > 0.99);
        }
        assert!(reached >= 9, "n = {n}: {reached} of 10");
        // uniform is an exact saddle: the mirror symmetry leaves no gradient
        let mut uniform = vec![[0.0; 2]; n];
        let stuck = happo_by_gradient(&game, &mut uniform, 50, &mut stream(0));
        assert!((stuck - 2.0 * 0.5f64.powi(n as i32)).abs() < 1e-12);
    }
}

/// T10 (Proposition 5): at once to the minimum, in turn to the maximum.
#[test]
fn simultaneous_updates_fall_into_the_trap_of_heterogeneity() {
    let game = TabularGame::heterogeneity_trap();
    let greedy = Instance::best_response();
    for p in [0.61, 0.7, 0.9, 1.0] {
        let start = ProductPolicy::new(&game, vec![vec![p, 1.0 - p]; 2]).unwrap();
        let old = j(&game, &start);
        assert!((old - (1.0 - p) * (5.0 * p - 1.0)).abs() < 1e-12 && old >= 0.0);
        let at_once = greedy.simultaneous_step(&game, &start);
        assert_eq!((j(&game, &at_once), &at_once), (-1.0, &pure(&game, &[1, 1])));
        for order in [[0, 1], [1, 0]] {
            assert_eq!(j(&game, &greedy.sequential_step(&game, &start, &order)), 2.0);
            // without a future C is 0: the trust region is no bound, and its lower bound is the return itself
            let trust = hatrl::step(&game, &start, &order);
            assert!(j(&game, &trust.policy) == 2.0 && (trust.bound - 2.0).abs() < 1e-12);
        }
    }
    // just under the threshold the trap is open: 0.6 is where the values of both actions meet
    let under = ProductPolicy::new(&game, vec![vec![0.59, 0.41]; 2]).unwrap();
    assert_eq!(j(&game, &greedy.simultaneous_step(&game, &under)), 0.0);
}

/// T11: the bilinear game r = a¹a².
#[test]
fn in_turn_always_gains_in_the_bilinear_game() {
    let mut stream = stream(11);
    for _ in 0..1000 {
        let a = [stream.range(-3.0, 3.0), stream.range(-3.0, 3.0)];
        let eta = stream.range(-6.0, 3.0).exp();
        let next = bilinear::sequential_step(a, eta);
        let gain = bilinear::reward(next) - bilinear::reward(a);
        let expected = eta * a[1] * a[1] + eta * next[0] * next[0];
        assert!(gain > 0.0 && (gain - expected).abs() < 1e-9 * expected.max(1.0));
    }
    for eta in [0.1, 1.0, 1.9, 1.999, 2.001, 2.5, 10.0] {
        let reward = bilinear::reward(bilinear::simultaneous_step([1.0, -1.0], eta));
        assert!((reward + (1.0 - eta) * (1.0 - eta)).abs() < 1e-12);
        assert_eq!(reward < -1.0, eta > 2.0);
    }
}

/// What unlike required actions cost a shared policy: the closed form is reached, and no random policy beats it.
#[test]
fn shared_policies_cannot_play_unlike_parts() {
    let mut stream = stream(67);
    for required in [vec![0, 1], vec![0, 0, 1, 1], vec![0, 1, 2], vec![0, 0, 0, 1, 2]] {
        let actions = 3;
        let target = required.iter().fold(0, |index, a| index * actions + a);
        let mut reward = vec![0.0; 3usize.pow(required.len() as u32)];
        reward[target] = 1.0;
        let game = TabularGame::one_shot("required", &vec![actions; required.len()], reward).unwrap();
        let counts: Vec<usize> = (0..actions).map(|k| required.iter().filter(|a| **a == k).count()).collect();
        let optimum = required_actions_optimum(&counts);
        let best: Vec<f64> = counts.iter().map(|n| *n as f64 / required.len() as f64).collect();
        assert!((shared(&game, &best) - optimum).abs() < 1e-12);
        for _ in 0..300 {
            let draw: Vec<f64> = (0..actions).map(|_| stream.uniform() + 1e-3).collect();
            let row: Vec<f64> = draw.iter().map(|x| x / draw.iter().sum::<f64>()).collect();
            assert!(shared(&game, &row) <= optimum + 1e-12);
        }
    }
    assert!((required_actions_optimum(&[4, 4]) - 0.5f64.powi(8)).abs() < 1e-15);
    assert!((required_actions_optimum(&[1; 6]) - 6f64.powi(-6)).abs() < 1e-15);
}

/// The same under masks by group: unlike groups get their parts for nothing, agents of one group do not. Two actions a group, each
/// a number of its own in the unified space; one vector of logits for all.
#[test]
fn unified_actions_spare_groups_and_not_their_members() {
    let mut stream = stream(68);
    // (group, needed action) of every agent.
    for parts in [vec![(0, 0), (0, 0), (1, 1), (1, 1)], vec![(0, 0), (0, 1)], vec![(0, 0), (0, 1), (1, 1), (1, 1), (1, 0)]] {
        let target = parts.iter().fold(0, |index, (_, a)| index * 2 + a);
        let mut reward = vec![0.0; 1 << parts.len()];
        reward[target] = 1.0;
        let game = TabularGame::one_shot("unified", &vec![2; parts.len()], reward).unwrap();
        let played = |logits: &[f64]| {
            let row = |(g, _): &(usize, usize)| {
                let (a, b) = (logits[2 * g].exp(), logits[2 * g + 1].exp());
                vec![a / (a + b), b / (a + b)]
            };
            j(&game, &ProductPolicy::new(&game, parts.iter().map(row).collect()).unwrap())
        };
        let count = |g: usize, k: usize| parts.iter().filter(|p| **p == (g, k)).count();
        let groups: Vec<Vec<usize>> = (0..2).map(|g| vec![count(g, 0), count(g, 1)]).collect();
        let optimum = unified_required_actions_optimum(&groups);
        let best: Vec<f64> = groups.concat().into_iter().map(|n| if n == 0 { -60.0 } else { (n as f64).ln() }).collect();
        assert!((played(&best) - optimum).abs() < 1e-12, "{parts:?}");
        for _ in 0..300 {
            let logits: Vec<f64> = (0..4).map(|_| 6.0 * stream.uniform() - 3.0).collect();
            assert!(played(&logits) <= optimum + 1e-12);
        }
        // One numbering for all without masks, as on the task itself.
        let counts = [count(0, 0) + count(1, 0), count(0, 1) + count(1, 1)];
        assert!(required_actions_optimum(&counts) <= optimum + 1e-12);
    }
    assert_eq!(unified_required_actions_optimum(&[vec![3, 0], vec![0, 3]]), 1.0);
    assert!((required_actions_optimum(&[3, 3]) - 2f64.powi(-6)).abs() < 1e-15, "two groups of N without masks: 2^-2N");
    assert_eq!(unified_required_actions_optimum(&[vec![1, 1]]), required_actions_optimum(&[1, 1]));
}

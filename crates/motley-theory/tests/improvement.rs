//! Inequalities: lower bounds, monotone improvement, equilibria.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[allow(dead_code, reason = "every test file uses its own part")]
mod common;

use common::{cube_game, random_game, random_policy, stream};
use motley_core::Stream;
use motley_theory::drift::{ClipDrift, Drift, KlDrift, LinearDrift, NoDrift, SquareDrift};
use motley_theory::exact::{expected_advantage, surrogate};
use motley_theory::haml::{Instance, Turn};
use motley_theory::hatrl::{agent_step, lower_bound, penalty_constant, step};
use motley_theory::nash::best_deviation;
use motley_theory::neighbourhood::{Everywhere, ExpectedKlBall, Neighbourhood, StateKlBall};
use motley_theory::simplex::{kl, max_kl};
use motley_theory::{ProductPolicy, TabularGame, evaluate};

/// T5 (Lemma 8): the bound holds for random pairs of policies; with (1−γ)² multiplied where it must divide, it does not.
#[test]
fn the_lower_bound_holds_and_its_misprint_does_not() {
    let mut misprint_broken = 0;
    for seed in 0..300 {
        let (game, mut stream) = random_game(seed, 0.9);
        let [old, new] = [0; 2].map(|_| random_policy(&game, &mut stream));
        let order = stream.permutation(game.agents());
        let evaluation = evaluate(&game, &old);
        let j = evaluate(&game, &new).j;
        let slack = 1e-9 * evaluation.scale();
        let bound = |constant| lower_bound(&game, &evaluation, &old, &new, &order, constant);
        assert!(j >= bound(penalty_constant(&game, &evaluation)) - slack, "seed {seed}");
        let misprint = 4.0 * game.gamma() * evaluation.max_advantage() * (1.0 - game.gamma()).powi(2);
        misprint_broken += usize::from(j < bound(misprint) - slack);
    }
    assert!(misprint_broken >= 10, "{misprint_broken} of 300");
}

/// C by hand: a repeated game that pays 1 iff the first agent plays 0, γ = ½, uniform policies. |A| = ½, so C = 4·½·½/¼ = 4.
#[test]
fn the_constant_is_that_of_the_lemma() {
    let game = TabularGame::new("repeated", &[2, 2], 0.5, vec![1.0], vec![1.0; 4], vec![1.0, 1.0, 0.0, 0.0]).unwrap();
    let evaluation = evaluate(&game, &ProductPolicy::uniform(&game));
    assert!((evaluation.j - 1.0).abs() < 1e-12);
    assert!((penalty_constant(&game, &evaluation) - 4.0).abs() < 1e-12);
}

/// T6: J_{k+1} ≥ bound_k ≥ J_k in every iteration of Algorithm 1.
#[test]
fn hatrl_improves_monotonically_above_its_bound() {
    for (seed, gamma) in (0..12).flat_map(|seed| [(seed, 0.3), (seed, 0.9)]) {
        let (game, mut stream) = cube_game(seed, gamma);
        let mut policy = random_policy(&game, &mut stream);
        let first = evaluate(&game, &policy).j;
        for iteration in 0..6 {
            let before = evaluate(&game, &policy);
            let next = step(&game, &policy, &stream.permutation(3));
            let after = evaluate(&game, &next.policy).j;
            let slack = 1e-9 * before.scale();
            assert!(after >= next.bound - slack, "seed {seed}, iteration {iteration}: {after} {}", next.bound);
            assert!(next.bound >= before.j - slack, "seed {seed}, iteration {iteration}: {} {}", next.bound, before.j);
            assert!(next.max_kl > 0.0 && next.bound > before.j);
            policy = next.policy;
        }
        assert!(evaluate(&game, &policy).j > first + 1e-4, "seed {seed}, gamma {gamma}");
    }
}

/// The exact solver against its definition: no rival table, near or far, has a larger L − C·max KL.
#[test]
fn the_hatrl_solver_beats_random_rivals() {
    for seed in 0..20 {
        let (game, mut stream) = random_game(seed, 0.5);
        let policy = random_policy(&game, &mut stream);
        let e = evaluate(&game, &policy);
        let score = expected_advantage(&game, &policy, &e.q, 0);
        let n = game.actions()[0];
        for constant in [penalty_constant(&game, &e), 0.5, 0.01] {
            let value = |q: &[f64]| surrogate(&e.occupancy, q, &score) - constant * max_kl(n, policy.table(0), q);
            let ours = agent_step(n, &e.occupancy, policy.table(0), &score, constant);
            assert!(value(&ours) > 0.0);
            for k in 0..200 {
                let far = random_policy(&game, &mut stream);
                let t = 0.3f64.powi(k % 10);
                let rival: Vec<f64> = ours.iter().zip(far.table(0)).map(|(a, b)| a + t * (b - a)).collect();
                assert!(value(&rival) <= value(&ours) + 1e-12, "seed {seed}: {} {}", value(&rival), value(&ours));
            }
        }
    }
}

fn drifts() -> Vec<Box<dyn Drift>> {
    vec![
        Box::new(NoDrift),
        Box::new(KlDrift { lambda: 1.0 }),
        Box::new(ClipDrift { epsilon: 0.2 }),
        Box::new(SquareDrift { weight: 1.0 }),
    ]
}

/// The maximisers are exact for what is no drift too.
fn penalties() -> Vec<Box<dyn Drift>> {
    drifts().into_iter().chain([Box::new(LinearDrift { slope: -0.3 }) as Box<dyn Drift>]).collect()
}

/// A turn of the second agent after the first has moved far, so that nothing is trivially equal.
fn with_turn(seed: u64, check: impl FnOnce(&TabularGame, &Turn<'_>, &mut Stream)) {
    let (game, mut stream) = random_game(seed, 0.9);
    let [old, new] = [0; 2].map(|_| random_policy(&game, &mut stream));
    let evaluation = evaluate(&game, &old);
    let mixed = old.with(0, new.table(0).to_vec());
    check(&game, &Turn::new(&game, &evaluation, &mixed, 1), &mut stream);
}

/// The definition of a drift: non-negative, 0 at the current policy, zero slope there; the positive one positive elsewhere.
#[test]
fn drifts_are_drifts() {
    for seed in 0..20 {
        with_turn(seed, |game, turn, stream| {
            for drift in drifts() {
                for s in 0..game.states() {
                    let place = turn.place(s);
                    let far = random_policy(game, stream);
                    let towards =
                        |t: f64| -> Vec<f64> { place.old.iter().zip(far.at(1, s)).map(|(p, q)| p + t * (q - p)).collect() };
                    assert!(drift.value(&place, &towards(0.0)).abs() < 1e-15);
                    assert!(drift.value(&place, &towards(1.0)) >= 0.0);
                    assert!(drift.value(&place, &towards(1e-6)) < 1e-6 * 1e-3, "{}", drift.name());
                }
            }
            let far = random_policy(game, stream);
            assert!(SquareDrift { weight: 1.0 }.value(&turn.place(0), far.at(1, 0)) > 0.0);
        });
    }
}

/// The linear one breaks the definition, and says so: 0 at the current policy, but negative on one side, in proportion to the step.
#[test]
fn the_linear_drift_is_none() {
    with_turn(0, |_, turn, _| {
        let place = turn.place(0);
        let drift = LinearDrift { slope: 2.0 };
        let largest = place.score.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let without_first = |t: f64| -> Vec<f64> {
            let scale = 1.0 + t * place.old[0] / (1.0 - place.old[0]);
            place.old.iter().enumerate().map(|(a, p)| if a == 0 { p * (1.0 - t) } else { p * scale }).collect()
        };
        assert!(!drift.lawful() && drift.value(&place, place.old) == 0.0 && largest > 0.0);
        for t in [1.0, 0.1, 1e-6] {
            let slope = drift.value(&place, &without_first(t)) / (t * place.old[0] * largest);
            assert!((slope + 2.0).abs() < 1e-6, "{slope}");
        }
    });
}

/// PPO's objective as it is programmed, E_π[min(rM, clip(r)M)], against score minus drift: equal up to a constant of the state.
#[test]
fn the_clip_drift_is_the_clipped_objective() {
    for seed in 0..20 {
        let (game, mut stream) = random_game(seed, 0.9);
        let [old, new, candidate] = [0; 3].map(|_| random_policy(&game, &mut stream));
        let evaluation = evaluate(&game, &old);
        let mixed = old.with(0, new.table(0).to_vec());
        let turn = Turn::new(&game, &evaluation, &mixed, 1);
        for s in 0..game.states() {
            let clipped = |q: &[f64]| -> f64 {
                (0..game.joint())
                    .map(|a| {
                        let (first, own) = (game.own(a, 0), game.own(a, 1));
                        let m = new.at(0, s)[first] / old.at(0, s)[first] * evaluation.advantage[s * game.joint() + a];
                        let r = q[own] / old.at(1, s)[own];
                        old.joint(&game, s)[a] * (r * m).min(r.clamp(0.8, 1.2) * m)
                    })
                    .sum()
            };
            let left = clipped(candidate.at(1, s)) - clipped(old.at(1, s));
            let right = ClipDrift { epsilon: 0.2 }.mirror(&turn.place(s), candidate.at(1, s));
            assert!((left - right).abs() < 1e-9, "seed {seed}: {left} {right}");
        }
    }
}

/// The maximiser with a multiplier on KL, for its own sake: neighbourhoods that search the multiplier would hide a wrong scale.
#[test]
fn multipliers_weigh_the_divergence() {
    for seed in 0..20 {
        with_turn(seed, |game, turn, stream| {
            for (drift, s) in penalties().iter().flat_map(|drift| (0..game.states()).map(move |s| (drift, s))) {
                let place = turn.place(s);
                let multiplier = stream.range(-3.0, 2.0).exp();
                let value = |q: &[f64]| drift.mirror(&place, q) - multiplier * kl(place.old, q);
                let ours = drift.maximise(&place, multiplier);
                for k in 0..50 {
                    let far = random_policy(game, stream);
                    let t = 0.4f64.powi(k % 10);
                    let rival: Vec<f64> = ours.iter().zip(far.at(1, s)).map(|(a, b)| a + t * (b - a)).collect();
                    assert!(value(&rival) <= value(&ours) + 1e-11, "seed {seed}: {}, state {s}", drift.name());
                }
            }
        });
    }
}

/// Every drift in every neighbourhood: the step is accepted, and no accepted rival does better.
#[test]
fn haml_maximisers_beat_random_rivals() {
    let neighbourhoods: [Box<dyn Neighbourhood>; 3] =
        [Box::new(Everywhere), Box::new(StateKlBall { delta: 0.05 }), Box::new(ExpectedKlBall { delta: 0.05 })];
    for seed in 0..12 {
        with_turn(seed, |game, turn, stream| {
            let n = game.actions()[1];
            for (drift, neighbourhood) in penalties().iter().flat_map(|d| neighbourhoods.iter().map(move |n| (d, n))) {
                let value = |table: &[f64]| -> f64 {
                    let rows = turn.sampling().zip(table.chunks_exact(n)).enumerate();
                    rows.map(|(s, (beta, q))| beta * drift.mirror(&turn.place(s), q)).sum()
                };
                let ours = neighbourhood.maximise(turn, drift.as_ref());
                let what = format!("seed {seed}: {}, {}", drift.name(), neighbourhood.name());
                assert!(ours.iter().all(|q| *q >= 0.0), "{what}");
                assert!(ours.chunks_exact(n).all(|q| (q.iter().sum::<f64>() - 1.0).abs() < 1e-12), "{what}");
                assert!(neighbourhood.accepts(turn, &ours), "{what}");
                for k in 0..100 {
                    let far = random_policy(game, stream);
                    let t = 0.4f64.powi(k % 10);
                    let rival: Vec<f64> = ours.iter().zip(far.table(1)).map(|(a, b)| a + t * (b - a)).collect();
                    let loses = !neighbourhood.accepts(turn, &rival) || value(&rival) <= value(&ours) + 1e-9;
                    assert!(loses, "{what}: {} {}", value(&rival), value(&ours));
                }
            }
        });
    }
}

/// T7: with every instance V rises, or stays, in every state. Even a bound on the mean KL trades no state for another: its common
/// multiplier makes each state's mirror objective at least 0.
#[test]
fn haml_improves_every_state() {
    for seed in 0..25 {
        for instance in Instance::standard() {
            let (game, mut stream) = cube_game(seed, 0.9);
            let mut policy = random_policy(&game, &mut stream);
            let mut before = evaluate(&game, &policy);
            let first = before.j;
            for iteration in 0..15 {
                policy = instance.sequential_step(&game, &policy, &stream.permutation(3));
                let after = evaluate(&game, &policy);
                let slack = 1e-9 * before.scale();
                let holds = after.v.iter().zip(&before.v).all(|(new, old)| *new >= old - slack);
                assert!(holds, "seed {seed}, {}, iteration {iteration}", instance.name);
                before = after;
            }
            assert!(before.j > first + 0.1, "seed {seed}, {}: {first} {}", instance.name, before.j);
        }
    }
}

/// T7's negative control, on a stored seed: simultaneous best responses lose return where sequential ones do not.
#[test]
fn simultaneous_updates_lose_return() {
    let (game, mut stream) = cube_game(0, 0.9);
    let start = random_policy(&game, &mut stream);
    let instance = Instance::best_response();
    let mut simultaneous = vec![start.clone()];
    let mut sequential = vec![start];
    for _ in 0..10 {
        simultaneous.push(instance.simultaneous_step(&game, &simultaneous[simultaneous.len() - 1]));
        sequential.push(instance.sequential_step(&game, &sequential[sequential.len() - 1], &stream.permutation(3)));
    }
    let falls = |run: &[ProductPolicy]| {
        let j: Vec<f64> = run.iter().map(|policy| evaluate(&game, policy).j).collect();
        j.windows(2).filter(|pair| pair[1] < pair[0] - 1e-3).count()
    };
    assert!(falls(&simultaneous) > 0);
    assert_eq!(falls(&sequential), 0);
}

/// A drift's conditions are needed, by hand: one agent that earns 0 by its first action and 1 by its second, uniform. Its scores are
/// -½ and ½; a bonus of 3 · ½ for the first turns them round, and J falls from ½ to 0 in the very step that the template calls best.
#[test]
fn a_bonus_turns_the_best_action_round() {
    let game = TabularGame::one_shot("two", &[2], vec![0.0, 1.0]).unwrap();
    let policy = ProductPolicy::uniform(&game);
    let step = |slope| Instance::new("linear", LinearDrift { slope }, Everywhere).sequential_step(&game, &policy, &[0]);
    assert_eq!((evaluate(&game, &policy).j, evaluate(&game, &step(-3.0)).j), (0.5, 0.0));
    assert_eq!(step(-3.0).table(0), [1.0, 0.0]);
    assert_eq!(step(-1.8).table(0), [0.0, 1.0], "a bonus of 0.9 is less than the gap of 1");
}

/// The negative control on stored seeds. At an equilibrium every instance of the template keeps its return; with the same ball and what
/// is no drift J_{k+1} < J_k.
#[test]
fn what_is_no_drift_loses_return() {
    for seed in 0..5 {
        let (game, mut stream) = cube_game(seed, 0.9);
        let mut policy = random_policy(&game, &mut stream);
        for _ in 0..30 {
            policy = Instance::best_response().sequential_step(&game, &policy, &[0, 1, 2]);
        }
        let settled = evaluate(&game, &policy).j;
        let after = |instance: &Instance| evaluate(&game, &instance.sequential_step(&game, &policy, &[0, 1, 2])).j;
        for instance in Instance::standard() {
            assert!(after(&instance) >= settled - 1e-9 * settled.abs().max(1.0), "seed {seed}, {}", instance.name);
        }
        let control = Instance::negative_control();
        assert!(after(&control) < settled - 1e-3, "seed {seed}: {settled} {}", after(&control));
    }
}

/// T8: sequential best response stops at a Nash equilibrium, exactly, within few sweeps.
#[test]
fn best_response_stops_at_an_equilibrium() {
    for seed in 0..40 {
        let (game, mut stream) = cube_game(seed, 0.9);
        let mut policy = random_policy(&game, &mut stream);
        let mut sweeps = 0;
        loop {
            let next = Instance::best_response().sequential_step(&game, &policy, &stream.permutation(3));
            if next == policy {
                break;
            }
            (policy, sweeps) = (next, sweeps + 1);
            assert!(sweeps < 30, "seed {seed}");
        }
        // one order kept this point; no agent alone may move either
        let gap = best_deviation(&game, &policy).unwrap().gain;
        assert!(gap <= 1e-9 * evaluate(&game, &policy).scale(), "seed {seed}: {gap}");
    }
}

/// T8: the other instances come to within 1e-3 of an equilibrium.
#[test]
fn every_instance_nears_an_equilibrium() {
    for seed in 0..6 {
        for instance in Instance::standard() {
            let (game, mut stream) = cube_game(seed, 0.9);
            let mut policy = random_policy(&game, &mut stream);
            assert!(best_deviation(&game, &policy).unwrap().gain > 0.1);
            for _ in 0..300 {
                policy = instance.sequential_step(&game, &policy, &stream.permutation(3));
            }
            let gap = best_deviation(&game, &policy).unwrap().gain;
            assert!(gap < 1e-3, "seed {seed}, {}: {gap}", instance.name);
        }
    }
}

/// The enumeration against value iteration in the decision process that one agent faces.
#[test]
fn deviations_agree_with_value_iteration() {
    for seed in 0..15 {
        let (game, mut stream) = random_game(seed, 0.8);
        let policy = random_policy(&game, &mut stream);
        let best = (0..game.agents()).map(|i| best_response_return(&game, &policy, i)).fold(f64::NEG_INFINITY, f64::max);
        let found = best_deviation(&game, &policy).unwrap();
        assert!((found.gain - (best - evaluate(&game, &policy).j)).abs() < 1e-9, "seed {seed}");
    }
    let mut s = stream(1);
    let wide = TabularGame::random(&mut s, 25, &[2, 3], 0.5).unwrap();
    assert!(best_deviation(&wide, &ProductPolicy::uniform(&wide)).is_err());
}

fn best_response_return(game: &TabularGame, policy: &ProductPolicy, agent: usize) -> f64 {
    let mut v = vec![0.0; game.states()];
    for _ in 0..200 {
        let backup = |s: usize| {
            let mut q = vec![0.0; game.actions()[agent]];
            for a in 0..game.joint() {
                let next: f64 = game.next(s, a).iter().zip(&v).map(|(p, v)| p * v).sum();
                let value = game.reward()[s * game.joint() + a] + game.gamma() * next;
                q[game.own(a, agent)] += policy.probability(game, s, a, &[agent]) * value;
            }
            q.into_iter().fold(f64::NEG_INFINITY, f64::max)
        };
        v = (0..game.states()).map(backup).collect();
    }
    v.iter().zip(game.initial()).map(|(v, p)| v * p).sum()
}

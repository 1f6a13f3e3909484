//! Numbers that would poison a learner (N1 to N4, N7 of the list of faults), at the level of whole updates.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults_common;

use std::collections::BTreeSet;
use std::sync::Arc;

use faults_common::*;
use motley_algos::{Algorithm, UpdateContext};
use motley_core::{Metrics, Purpose, Stream};
use motley_data::rollout::Rollout;
use motley_nn::{Cut, Policy, Pool, UpdateError};
use motley_run::{StateReader, StateWriter};
use motley_train::Registry;
use motley_train::collect::Collector;

/// A learner with a rollout of its own policy.
struct Bench {
    algorithm: Box<dyn Algorithm>,
    collector: Collector,
    roll: Rollout,
    pool: Pool,
    updates: u64,
}

impl Bench {
    fn new(algo: &str, task: &str, settings: &[&str]) -> Self {
        let plan = plan(&registry(), algo, task, settings).unwrap();
        let algorithm = plan.algorithm.build(&plan.team, &plan.settings, &Stream::new(0, Purpose::Init, 0, 0)).unwrap();
        let envs: usize = plan.settings.get("num_envs").unwrap();
        let steps = algorithm.rollout_steps();
        let pool = Pool::serial();
        let policy = algorithm.policy();
        let mut roll = Rollout::new(Arc::clone(&plan.team), envs, steps, policy.memory_len());
        let mut collector = Collector::new(Arc::clone(&plan.team), Arc::clone(&plan.make), 0, envs, 0).unwrap();
        collector.start(&mut roll).unwrap();
        collector.collect(&policy, &mut roll, &pool).unwrap();
        Self { algorithm, collector, roll, pool, updates: 0 }
    }

    /// The next rollout, of the present policy.
    fn collect(&mut self) {
        self.roll.carry();
        let policy = self.algorithm.policy();
        self.collector.collect(&policy, &mut self.roll, &self.pool).unwrap();
    }

    fn update(&mut self, roll: &Rollout) -> Result<Metrics, UpdateError> {
        self.updates += 1;
        let rng = Stream::new(0, Purpose::Shuffle, 0, 0).fork(self.updates);
        self.algorithm.update(roll, &UpdateContext { pool: &self.pool, progress: 0.0, rng })
    }

    fn state(&self) -> StateReader {
        let mut w = StateWriter::new();
        self.algorithm.save(&mut w.scope("algorithm"));
        StateReader::from_bytes(w.to_bytes().unwrap()).unwrap()
    }

    /// Entries that hold weights, moments and statistics.
    fn learned(&self) -> Vec<(String, Vec<u64>)> {
        learned(&self.state()).into_iter().filter(|(name, _)| !name.ends_with("carry")).collect()
    }

    /// The same without what is only remembered.
    fn weights(&self) -> Vec<(String, Vec<u64>)> {
        let is_data = |name: &str| name.contains("replay") || name.contains("memory") || name.contains("piece");
        self.learned().into_iter().filter(|(name, _)| !is_data(name)).collect()
    }
}

/// A task, and its form, on which the algorithm is defined.
fn form_of(registry: &Registry, algo: &str) -> (&'static str, &'static [&'static str]) {
    const FORMS: [(&str, &[&str]); 3] =
        [(RAGGED, &[]), ("mpe/simple_spread_v3", &[]), ("mpe/simple_spread_v3", &["task.continuous=true"])];
    let fits = |(task, settings): &&(&str, &[&str])| plan(registry, algo, task, settings).is_ok();
    *FORMS.iter().find(fits).unwrap_or_else(|| panic!("{algo} was not tried"))
}

const ALGOS: [&str; 3] = ["happo", "mappo", "ippo"];
const RAGGED: &str = "probe/ragged_fp";

/// N1: one reward that is not a number leaves every network, moment and statistic as it was, is counted, and the next update
/// works; only when it goes on is the run stopped, with parameters as they were.
#[test]
fn one_nan_changes_nothing() {
    for algo in ALGOS {
        for settings in [
            &["algo.ppo_epochs=3", "algo.critic_epochs=3"][..],
            &["algo.ppo_epochs=3", "algo.critic_epochs=3", "net.recurrent=true"],
        ] {
            let mut bench = Bench::new(algo, RAGGED, settings);
            let clean = bench.roll.clone();
            let mut bad = clean.clone();
            bad.lanes.iter_mut().for_each(|lane| lane.rewards.fill(f64::NAN));
            let before = bench.learned();
            let metrics = bench.update(&bad).unwrap();
            assert!(bench.learned() == before, "{algo} {settings:?}: a NaN was learned");
            let skipped: f64 = metrics.iter().filter(|(name, _)| name.ends_with("skipped_steps")).map(|(_, value)| value).sum();
            assert!(skipped > 0.0, "{algo}: {metrics:?}");
            bench.update(&clean).unwrap();
            assert!(bench.learned() != before, "{algo}: nothing is learned afterwards");
            assert_finite(&bench.state());
            let before = bench.learned();
            let stopped = (0..20).find_map(|_| bench.update(&bad).err()).expect("a learner that cannot learn must say so");
            assert!(matches!(stopped, UpdateError::Diverged { .. }), "{stopped}");
            assert!(bench.learned() == before);
        }
    }
}

/// Actors that are told by their critics alone what to do go on climbing those that no reward has reached: these, and all with a replay
/// of steps, whose temperatures go with them.
const TOLD_BY_CRITICS: [&str; 2] = ["coma", "pareto-ac"];

/// N1 for every registered algorithm: an update from nothing but rewards, or observations too, that are no numbers leaves every weight,
/// moment and statistic as it was, to the bit.
#[test]
fn a_nan_moves_no_parameter_of_any_algorithm() {
    let registry = registry();
    for spec in registry.algorithms.iter() {
        let (task, settings) = form_of(&registry, spec.name());
        let climbs = TOLD_BY_CRITICS.contains(&spec.name()) || spec.keys().iter().any(|key| key.name == "algo.buffer_size");
        for seen in [false, true] {
            let what = format!("{} on {task}, observations too: {seen}", spec.name());
            let mut bench = Bench::new(spec.name(), task, settings);
            let mut bad = bench.roll.clone();
            for lane in &mut bad.lanes {
                lane.rewards.fill(f64::NAN);
                if seen {
                    lane.obs.fill(f32::NAN);
                    lane.state.fill(f32::NAN);
                }
            }
            let before = bench.weights();
            let mut skipped = 0.0;
            // By the third what learns from a replay has enough in it.
            for _ in 0..6 {
                match bench.update(&bad) {
                    Ok(metrics) => {
                        let of_step =
                            metrics.iter().filter(|(name, _)| name.ends_with("skipped_steps") || name.ends_with("rejected"));
                        skipped += of_step.map(|(_, value)| value).sum::<f64>();
                    }
                    Err(UpdateError::Diverged { .. }) => {
                        skipped += 1.0;
                        break;
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            assert!(skipped > 0.0, "{what}: nothing was there to skip");
            // A penalty whose divergence was 0 is halved, as after any update that moved nothing.
            let stays = |name: &str| {
                let moves = name.starts_with("algorithm.actor.") || name.starts_with("algorithm.alpha.");
                !(name.ends_with("kl_coef") || climbs && !seen && moves)
            };
            let (mut held, after) = (0, bench.weights());
            assert_eq!(before.len(), after.len(), "{what}");
            for ((name, old), (_, new)) in before.iter().zip(&after).filter(|((name, _), _)| stays(name)) {
                assert!(old == new, "{what}: {name} has changed");
                held += usize::from(name.ends_with("params"));
            }
            assert!(held > 0, "{what}: no weights were compared");
        }
    }
}

/// N1 and E8 for every registered algorithm: one reward that is no number, or beyond all bounds, is in no network, moment or statistic,
/// whether it is learned from at once or lies in a replay. Who cannot go on says so.
#[test]
fn one_bad_reward_reaches_no_network_of_any_algorithm() {
    let registry = registry();
    for spec in registry.algorithms.iter() {
        let (task, settings) = form_of(&registry, spec.name());
        for bad_reward in [f64::NAN, f64::INFINITY, 1e30] {
            let mut bench = Bench::new(spec.name(), task, settings);
            let before = bench.learned();
            for k in 0..12 {
                let mut roll = bench.roll.clone();
                // What learns from replay is at work by then.
                if k == 4 {
                    roll.lanes[0].rewards[0] = bad_reward;
                }
                match bench.update(&roll) {
                    Ok(_) => bench.collect(),
                    Err(UpdateError::Diverged { .. }) => break,
                    Err(error) => panic!("{} on {task}, {bad_reward}: {error}", spec.name()),
                }
            }
            let state = bench.state();
            let is_learned = |name: &&str| !name.contains("replay") && !name.contains("memory") && !name.ends_with("carry");
            for name in state.names().filter(is_learned) {
                let what = format!("{} on {task}, {bad_reward}: {name} is not finite", spec.name());
                assert!(state.f32s(name).is_err() || state.f32s(name).is_ok_and(|xs| xs.iter().all(|x| x.is_finite())), "{what}");
                assert!(state.f64s(name).is_err() || state.f64s(name).is_ok_and(|xs| xs.iter().all(|x| x.is_finite())), "{what}");
            }
            assert!(bench.learned() != before, "{} learned nothing", spec.name());
        }
    }
}

/// N2: ratios that would overflow are clamped and counted.
#[test]
fn ratios_beyond_all_bounds_are_clamped() {
    for algo in ALGOS {
        for old in [1e6_f32, -1e6, 1e30] {
            let mut bench = Bench::new(algo, RAGGED, &[]);
            let mut roll = bench.roll.clone();
            roll.lanes.iter_mut().for_each(|lane| lane.log_probs.fill(old));
            let metrics = bench.update(&roll).unwrap();
            let clamped: f64 = metrics.iter().filter(|(name, _)| name.ends_with("clamped_ratios")).map(|(_, value)| value).sum();
            assert!(clamped > 0.0 && metrics.iter().all(|(_, value)| value.is_finite()), "{algo} {old}: {metrics:?}");
            assert_finite(&bench.state());
        }
    }
}

/// N3: where every step is worth the same, the advantage is exactly 0, and without entropy bonus the actors stay.
#[test]
fn equal_advantages_move_no_actor() {
    for algo in ALGOS {
        let mut bench = Bench::new(algo, "probe/bandit", &["algo.entropy_coef=0"]);
        let mut roll = bench.roll.clone();
        roll.lanes.iter_mut().for_each(|lane| lane.rewards.fill(1.0));
        let before = bench.learned();
        bench.update(&roll).unwrap();
        for ((name, old), (_, new)) in before.iter().zip(&bench.learned()) {
            if name.ends_with("params") {
                assert_eq!(old != new, name.contains("critic"), "{algo}: {name}");
            }
        }
    }
}

/// N4: an agent that never lived leaves its network as it was; a rollout of holes leaves all.
#[test]
fn what_never_lived_is_not_learned_from() {
    for algo in ALGOS {
        for settings in [&[][..], &["net.recurrent=true", "algo.minibatches=2"]] {
            let mut bench = Bench::new(algo, RAGGED, &[&["net.share=none"], settings].concat());
            let clean = bench.roll.clone();
            let mut holes = clean.clone();
            holes.lanes.iter_mut().for_each(|lane| {
                lane.valid.fill(false);
                lane.rewards.fill(0.0);
            });
            let before = bench.learned();
            let metrics = bench.update(&holes).unwrap();
            assert!(bench.learned() == before && metrics.iter().all(|(_, v)| v.is_finite()), "{algo} {settings:?}");
            let mut dead = clean.clone();
            dead.lanes.iter_mut().for_each(|lane| lane.alive.chunks_mut(3).for_each(|alive| alive[0] = false));
            bench.update(&dead).unwrap();
            for ((name, old), (_, new)) in before.iter().zip(&bench.learned()) {
                if name.ends_with("params") && name.contains("actor") {
                    assert_eq!(old != new, !name.contains("actor.0."), "{algo} {settings:?}: {name}");
                }
            }
            assert_finite(&bench.state());
        }
    }
}

/// N7: every row is in exactly one minibatch, whatever does not divide; a batch of one works.
#[test]
fn no_row_is_dropped() {
    let rng = || Stream::new(0, Purpose::Shuffle, 0, 0);
    for (envs, steps) in [(1, 1), (1, 7), (3, 5), (4, 20)] {
        for minibatches in [1, 2, 3, 7] {
            for chunk in [0, 1, steps] {
                let Ok(picks) = (Cut { minibatches, chunk }).pass(envs, steps, rng()) else {
                    panic!("{envs} x {steps} in {minibatches} chunks of {chunk}");
                };
                let rows: Vec<usize> = picks.iter().flat_map(|p| p.rows(1, envs * steps, steps, &|_| true).indices).collect();
                assert_eq!(rows.len(), envs * steps, "{envs} x {steps} in {minibatches}");
                assert_eq!(rows.iter().copied().collect::<BTreeSet<usize>>().len(), envs * steps);
            }
        }
    }
    for algo in ALGOS {
        for more in ["algo.minibatches=1", "algo.minibatches=3"] {
            let mut bench = Bench::new(algo, RAGGED, &["num_envs=1", "algo.rollout_steps=1", more]);
            let roll = bench.roll.clone();
            bench.update(&roll).unwrap();
            assert_finite(&bench.state());
        }
    }
}

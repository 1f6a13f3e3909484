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

/// N1 and E8 for every registered algorithm: one reward that is no number, or beyond all bounds, is in no network, moment or statistic,
/// whether it is learned from at once or lies in a replay. Who cannot go on says so.
#[test]
fn one_bad_reward_reaches_no_network_of_any_algorithm() {
    let forms: [(&str, &[&str]); 3] =
        [(RAGGED, &[]), ("mpe/simple_spread_v3", &[]), ("mpe/simple_spread_v3", &["task.continuous=true"])];
    let registry = registry();
    for spec in registry.algorithms.iter() {
        let fits = |(task, settings): &&(&str, &[&str])| plan(&registry, spec.name(), task, settings).is_ok();
        let (task, settings) = forms.iter().find(fits).unwrap_or_else(|| panic!("{} was not tried", spec.name()));
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
                let rows: Vec<usize> = picks.iter().flat_map(|p| p.indices(1, envs * steps, steps)).collect();
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

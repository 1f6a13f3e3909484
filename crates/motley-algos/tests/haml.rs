//! The mirror-learning template: its shipped instances are the algorithms that they are said to be, and neighbourhoods hold.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::{Bench, Field, SMALL, Toy, settings};
use motley_algos::heterogeneous::haml::{Everywhere, HamlSpec, KlBall, MakeDrift, MakeNeighbourhood, StateWiseKlBall};
use motley_algos::{Algorithm, AlgorithmSpec, UpdateContext};
use motley_core::{Purpose, Stream};
use motley_nn::objective::{ClipDrift, KlDrift, NoDrift, SquareDrift};
use motley_nn::policy::ActingGroup;
use motley_nn::{NetScratch, Policy};
use motley_run::{StateReader, StateWriter};

fn spec(drift: MakeDrift, neighbourhood: MakeNeighbourhood) -> HamlSpec {
    HamlSpec { name: "instance", summary: "", paper: "", drift, neighbourhood, keys: Vec::new }
}

/// The instance and its rollout, as [`Bench::toy`] makes them.
fn build(spec: HamlSpec, toy: &Toy, overrides: &[&str]) -> (Box<dyn Algorithm>, Field) {
    let settings = settings(spec.keys(), &[&SMALL[..], overrides].concat());
    let algorithm = spec.build(&toy.team(), &settings, &Stream::new(1, Purpose::Init, 0, 0)).unwrap();
    let mut field = Field::new(toy.make(), 4, 20, algorithm.policy().memory_len(), 1, 1);
    field.collect(&algorithm.policy());
    (algorithm, field)
}

fn update(algorithm: &mut dyn Algorithm, field: &Field) {
    let rng = Stream::new(1, Purpose::Shuffle, 0, 0).fork(0);
    algorithm.update(&field.roll, &UpdateContext { pool: &field.pool, progress: 0.0, rng }).unwrap();
}

fn actors(algorithm: &dyn Algorithm) -> Vec<f32> {
    let mut w = StateWriter::new();
    algorithm.save(&mut w);
    let saved = StateReader::from_bytes(w.to_bytes().unwrap()).unwrap();
    (0..3).flat_map(|g| saved.f32s(&format!("actor.{g}.params")).unwrap()).collect()
}

const LOUD: [&str; 3] = ["algo.entropy_coef=0.01", "algo.lr=0.01", "?algo.epochs=5"];

#[test]
fn no_drift_everywhere_is_haa2c_to_the_bit() {
    let spec = spec(|_| Ok(Arc::new(NoDrift)), |_| Ok(Box::new(Everywhere)));
    let (mut instance, field) = build(spec, &Toy::mixed(), &LOUD);
    update(&mut *instance, &field);
    let mut haa2c = Bench::toy("haa2c", &Toy::mixed(), &LOUD);
    haa2c.collect();
    haa2c.update();
    assert!(actors(&*instance) == actors(&*haa2c.algorithm));
}

#[test]
fn the_clip_drift_everywhere_is_happo() {
    let spec = spec(|_| Ok(Arc::new(ClipDrift { clip: 0.2 })), |_| Ok(Box::new(Everywhere)));
    let (mut instance, field) = build(spec, &Toy::mixed(), &LOUD);
    let start = actors(&*instance);
    update(&mut *instance, &field);
    let mut happo = Bench::toy("happo", &Toy::mixed(), &LOUD);
    happo.collect();
    happo.update();
    let (found, wanted) = (actors(&*instance), actors(&*happo.algorithm));
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
    assert!(distance(&found, &wanted) < 1e-3 * distance(&start, &wanted), "{}", distance(&found, &wanted));
    let mut haa2c = Bench::toy("haa2c", &Toy::mixed(), &LOUD);
    haa2c.collect();
    haa2c.update();
    let unclipped = actors(&*haa2c.algorithm);
    assert!(distance(&unclipped, &wanted) > 1e-2 * distance(&start, &wanted), "the clip should have bitten");
}

/// KL(old || new) of each active row of a group of one without memory, in f64 from the softmax's definition.
fn divergences(old: &ActingGroup, new: &ActingGroup, field: &Field) -> Vec<f64> {
    let (roll, agent) = (&field.roll, old.members[0]);
    let softmax = |group: &ActingGroup, obs: &[f32], mask: &[bool]| -> Vec<f64> {
        let mut out = vec![0.0; group.net.output_len()];
        group.net.forward(obs, 1, &mut [], &mut out, &mut NetScratch::default());
        let p: Vec<f64> = out.iter().zip(mask).map(|(z, m)| if *m { f64::from(*z).exp() } else { 0.0 }).collect();
        let total: f64 = p.iter().sum();
        p.into_iter().map(|p| p / total).collect()
    };
    let row = |(e, t): (usize, usize)| {
        let (obs, mask) = (roll.obs(e, t, agent), roll.avail(e, t, agent));
        let (p, q) = (softmax(old, obs, mask), softmax(new, obs, mask));
        p.iter().zip(&q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q).ln()).sum()
    };
    (0..roll.rows()).map(|r| roll.at(r)).filter(|(e, t)| roll.active(*e, *t, agent)).map(row).collect()
}

/// A learning rate that leaves the ball at once: the mean ball holds in the mean alone, the state-wise one in every state, and both
/// let the agents move.
#[test]
fn balls_hold() {
    let cases: [(HamlSpec, bool); 4] = [
        (spec(|_| Ok(Arc::new(NoDrift)), |_| Ok(Box::new(KlBall { radius: 0.01 }))), false),
        (spec(|_| Ok(Arc::new(NoDrift)), |_| Ok(Box::new(StateWiseKlBall { radius: 0.01 }))), true),
        (spec(|_| Ok(Arc::new(KlDrift { coef: 0.1 })), |_| Ok(Box::new(StateWiseKlBall { radius: 0.01 }))), true),
        (spec(|_| Ok(Arc::new(SquareDrift { coef: 0.1 })), |_| Ok(Box::new(KlBall { radius: 0.01 }))), false),
    ];
    let mut loose = 0;
    for (k, (spec, state_wise)) in cases.into_iter().enumerate() {
        let (mut instance, field) = build(spec, &Toy::discrete(), &["algo.lr=0.02"]);
        let old = instance.policy();
        update(&mut *instance, &field);
        for (before, after) in old.groups().iter().zip(instance.policy().groups()) {
            let kl = divergences(before, after, &field);
            let mean = kl.iter().sum::<f64>() / kl.len() as f64;
            let max = kl.iter().copied().fold(0.0, f64::max);
            assert!(mean > 1e-6 && mean <= 0.010_01, "case {k}: mean {mean}");
            assert!(!state_wise || (max <= 0.010_01 && max > 0.001), "case {k}: largest {max}");
            loose += usize::from(max > 0.010_01);
        }
    }
    assert!(loose > 0, "a bound on the mean is none on every state");
}

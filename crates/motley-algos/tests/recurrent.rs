//! Memory: where it starts anew, what it carries, and that training in chunks sees what acting saw.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::oracle::critic_net;
use common::{Bench, Field, SMALL, STATE, Toy, settings};
use motley_algos::RewardMode;
use motley_algos::on_policy::{self, OnPolicy};
use motley_core::{Purpose, Stream};
use motley_data::minibatch::Chunk;
use motley_data::rollout::Rollout;
use motley_nn::critic::{Critic, CriticConfig};
use motley_nn::{AdamConfig, Ascent, Engine, Net, NetScratch, NetSpec, Objective, Pick, Policy, Source};

fn rng() -> Stream {
    Stream::new(7, Purpose::Check, 0, 0)
}

/// Recurrent actors and the second of two rollouts, so that memory is carried into it.
fn core(toy: &Toy, share: &str) -> (OnPolicy, Field) {
    let settings = settings(on_policy::keys(share), &[&SMALL[..], &["net.recurrent=true", "net.output_gain=1.0"]].concat());
    let core = OnPolicy::new("test", &toy.team(), &settings, Source::State, RewardMode::Sum, &rng()).unwrap();
    let mut field = Field::new(toy.make(), 3, 20, core.policy().memory_len(), 1, 1);
    field.collect(&core.policy());
    field.roll.carry();
    field.collect(&core.policy());
    (core, field)
}

/// Log-ratio of every row as the chunked forward pass of a gradient step sees it: steps of size 0 that climb one row each.
fn chunked(core: &mut OnPolicy, field: &Field, g: usize, length: usize) -> Vec<f64> {
    let (roll, actor) = (&field.roll, &mut core.actors[g]);
    let rows = actor.rows(roll);
    let starts = (0..roll.steps()).step_by(length).map(|s| s as u32);
    let chunks = (0..roll.envs() as u32).rev().flat_map(|env| starts.clone().map(move |start| Chunk { env, start })).collect();
    let pick = Pick::Chunks { chunks, length };
    let count = rows.active.iter().filter(|a| **a).count() as f64;
    (0..rows.old.len())
        .map(|r| {
            let mut weight = vec![0.0; rows.old.len()];
            weight[r] = 1.0;
            let ascent = Ascent { objective: &Objective::Ratio, weight: &weight, entropy_coef: 0.0, lr: 0.0 };
            let metrics = actor.step(&field.pool, roll, &rows, &pick, ascent).unwrap();
            (-metrics.mean("policy").unwrap() * count).ln()
        })
        .collect()
}

#[test]
fn chunks_see_what_acting_saw() {
    for (toy, share) in [(Toy::mixed(), "none"), (alike(), "all")] {
        let (mut core, field) = core(&toy, share);
        for g in 0..core.actors.len() {
            let rows = core.actors[g].rows(&field.roll);
            let whole = core.actors[g].log_probs(&field.pool, &field.roll, &rows);
            let off = whole.iter().zip(&rows.old).map(|(w, o)| (w - o).abs()).fold(0.0, f32::max);
            assert!(off < 1e-6, "actor {g}: replayed log-probabilities are {off} from those drawn");
            for length in [20, 10, 4, 1] {
                let off = chunked(&mut core, &field, g, length).into_iter().map(f64::abs).fold(0.0, f64::max);
                assert!(off < 2e-6, "actor {g}, chunks of {length}: {off}");
            }
        }
    }
}

/// With other weights than acted, a chunk of the whole rollout still equals the sequence; shorter ones start from stale memory.
#[test]
fn a_chunk_of_the_whole_rollout_is_the_sequence() {
    let (mut core, field) = core(&Toy::mixed(), "none");
    for g in 0..3 {
        let mut noise = rng().fork(g as u64);
        core.actors[g].net.set_params(|p| p.iter_mut().for_each(|x| *x += (0.05 * noise.normal()) as f32));
        let rows = core.actors[g].rows(&field.roll);
        let whole = core.actors[g].log_probs(&field.pool, &field.roll, &rows);
        let distance = |core: &mut OnPolicy, length| {
            let seen = chunked(core, &field, g, length);
            let expected = whole.iter().zip(&rows.old).map(|(w, o)| f64::from(w - o));
            seen.iter().zip(expected).map(|(s, e)| (s - e).abs() / (1.0 + e.abs())).fold(0.0, f64::max)
        };
        assert!(distance(&mut core, 20) < 2e-6, "actor {g}");
        assert!(distance(&mut core, 4) > 1e-5, "actor {g}: memory of the old weights is stale");
    }
}

fn alike() -> Toy {
    let mut toy = Toy::new(&[motley_core::ActionSpace::Discrete(3), motley_core::ActionSpace::Discrete(3)]);
    toy.agents.iter_mut().for_each(|a| a.0.shape = vec![4]);
    toy
}

#[test]
fn memory_is_zero_exactly_where_an_episode_starts() {
    let (core, field) = core(&Toy { faults: true, ..Toy::mixed() }, "none");
    let width = core.policy().memory_len();
    assert_eq!(width, 3 * 16);
    let mut starts = 0;
    for lane in &field.roll.lanes {
        for (t, memory) in lane.memory.chunks_exact(width).enumerate() {
            assert_eq!(memory.iter().all(|m| *m == 0.0), lane.first[t], "slot {t}");
            starts += usize::from(lane.first[t]);
        }
    }
    assert!(starts > 5);
    assert!(field.roll.lanes.iter().any(|l| !l.first[0]), "an episode should run on between rollouts");
}

/// (V(s_t), V(what followed)) of one environment, by stepping the network through time; `memory` is carried and advanced.
fn walk(net: &Net, roll: &Rollout, e: usize, k: usize, memory: &mut [f32]) -> Vec<(f32, f32)> {
    let width = roll.team().state.row();
    let lane = &roll.lanes[e];
    let step = |row: &[f32], memory: &mut [f32]| {
        let mut v = [0.0];
        net.forward(row, 1, memory, &mut v, &mut NetScratch::default());
        v[0]
    };
    let mut out = Vec::new();
    for t in 0..roll.steps() {
        if lane.first[t] {
            memory.fill(0.0);
        }
        let here = step(roll.state(e, t, k), memory);
        let mut carried = memory.to_vec();
        let next = match lane.finals.iter().find(|f| f.time == t) {
            Some(end) => step(&end.state[k * width..(k + 1) * width], &mut carried),
            None => {
                if lane.first[t + 1] {
                    carried.fill(0.0);
                }
                step(roll.state(e, t + 1, k), &mut carried)
            }
        };
        out.push((here, next));
    }
    if lane.first[roll.steps()] {
        memory.fill(0.0);
    }
    out
}

#[test]
fn values_carry_memory_to_the_true_final_state() {
    for fp in [false, true] {
        let toy = Toy { fp, ..Toy::mixed() };
        let (core, mut field) = core(&toy, "none");
        let keys = [on_policy::keys("none")].concat();
        let settings = settings(keys, &SMALL);
        let probe = Bench::toy("happo", &toy, &["net.recurrent=true"]);
        let spec: NetSpec = critic_net(&probe.saved(), STATE, true).spec().clone();
        let (config, adam) = (CriticConfig::read(&settings).unwrap(), AdamConfig::read(&settings).unwrap());
        let members: Vec<usize> = (0..if fp { 3 } else { 1 }).collect();
        let mut critic =
            Critic::new(&field.team, Source::State, members.clone(), spec, false, config, adam, Engine::default(), &rng())
                .unwrap();
        let mut memories = vec![vec![0.0; 16]; members.len() * field.roll.envs()];
        for round in 0..3 {
            let values = critic.values(&field.pool, &field.roll);
            assert!(field.roll.lanes.iter().any(|l| !l.finals.is_empty()));
            for &k in &members {
                for e in 0..field.roll.envs() {
                    let at = k * field.roll.envs() + e;
                    for (t, (here, next)) in walk(critic.net(), &field.roll, e, k, &mut memories[at]).into_iter().enumerate() {
                        let row = at * field.roll.steps() + t;
                        assert_eq!(
                            (values.here[row], values.next[row]),
                            (here, next),
                            "round {round}, row {k}, env {e}, step {t}"
                        );
                    }
                }
            }
            field.roll.carry();
            field.collect(&core.policy());
        }
    }
}

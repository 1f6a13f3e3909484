//! What does not count leaves no trace, and statistics are over what counts.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::oracle::{Hand, by_hand, critic_net, normalized, plain_values};
use common::{Bench, Field, SMALL, Toy, settings};
use motley_algos::on_policy::{self, OnPolicy};
use motley_algos::{Registry, RewardMode, UpdateContext};
use motley_core::{ActionSpace, Purpose, Status, Stream};
use motley_data::rollout::Rollout;
use motley_nn::{AdamConfig, Critic, CriticConfig, Engine, Policy, Source};
use motley_run::{StateReader, StateWriter};

/// Algorithms whose critics read each agent's own observation, a dead one's too.
const LOCAL_CRITICS: [&str; 4] = ["ippo", "ia2c", "gppo", "hetgppo"];

/// Writes garbage wherever an agent is dead (into its observation too where `obs` says so) or the environment failed. Returns
/// how many places there were.
fn spoil(roll: &mut Rollout, obs: bool) -> usize {
    let (team, steps) = (roll.team().clone(), roll.steps());
    let mut rng = Stream::new(9, Purpose::Check, 0, 0);
    let mut spoilt = 0;
    for lane in &mut roll.lanes {
        for t in 0..steps {
            for i in 0..team.n() {
                let dead = !lane.alive[t * team.n() + i];
                if lane.valid[t] && !dead {
                    continue;
                }
                spoilt += 1;
                lane.log_probs[t * team.n() + i] = f32::NAN;
                lane.actions[t * team.action_len()..][team.action_range(i)].fill(0.0);
                if dead {
                    lane.avail[t * team.mask_len()..][team.mask_range(i)].iter_mut().for_each(|m| *m = rng.bernoulli(0.5));
                }
                if dead && obs {
                    lane.obs[t * team.obs_len()..][team.obs_range(i)].iter_mut().for_each(|x| *x = (1e3 * rng.normal()) as f32);
                }
            }
            if !lane.valid[t] {
                lane.rewards[t * team.n()..(t + 1) * team.n()].fill(1e6);
                // What a hole shows is the state that the step before it led to, unless an episode began there.
                if lane.first[t] && t > 0 && lane.status[t - 1].done() {
                    lane.state[t * team.state_len()..(t + 1) * team.state_len()].fill(1e3);
                }
            }
        }
    }
    spoilt
}

#[test]
fn the_dead_and_holes_leave_no_trace() {
    for spec in Registry::builtin().iter() {
        let obs = !LOCAL_CRITICS.contains(&spec.name());
        let mut tried = 0;
        for toy in
            [Toy { deaths: true, masks: true, faults: true, length: 6, ..Toy::mixed() }, Toy { faults: true, ..Toy::discrete() }]
        {
            // IQL goes on with the dead of a team that is paid together: here its agents are paid apart.
            let toy = Toy { own: spec.name() == "iql", ..toy };
            for recurrent in ["?net.recurrent=false", "?net.recurrent=true"] {
                let result = |bad: bool| {
                    let overrides = [&SMALL[..], &["?net.share=none", recurrent, "?algo.minibatches=2"]].concat();
                    let mut bench = Bench::try_new(spec.name(), toy.make(), &overrides, 4, 1, 1).ok()?;
                    for _ in 0..3 {
                        bench.collect();
                        assert!(!bad || spoil(&mut bench.field.roll, obs) > 10);
                        bench.update();
                    }
                    Some(bench.learned())
                };
                let clean = result(false);
                assert!(clean == result(true), "{} {recurrent}: garbage in rows that do not count was learned from", spec.name());
                tried += usize::from(clean.is_some());
            }
        }
        assert!(tried > 0, "{} was not tried", spec.name());
    }
}

/// A dead agent's row of a critic on observations is no part of its loss, nor of its statistics, unless that is asked for.
#[test]
fn critics_do_not_learn_from_the_dead() {
    let toy = Toy { deaths: true, faults: true, ..Toy::discrete() };
    for (mask, learned) in [("algo.mask_dead=true", false), ("algo.mask_dead=false", true)] {
        let settings = settings(on_policy::keys("none"), &[&SMALL[..], &[mask]].concat());
        let rng = Stream::new(5, Purpose::Check, 0, 0);
        let core = OnPolicy::new("test", &toy.team(), &settings, Source::Obs, RewardMode::Own, &rng).unwrap();
        let mut field = Field::new(toy.make(), 4, 20, core.policy().memory_len(), 1, 1);
        field.collect(&core.policy());
        let fitted = |garbage: f32| {
            let (config, adam) = (CriticConfig::read(&settings).unwrap(), AdamConfig::read(&settings).unwrap());
            let spec = critic_net(&saved(&core), 3, false).spec().clone();
            let engine = Engine::default();
            let mut critic = Critic::new(&field.team, Source::Obs, vec![1], spec, false, config, adam, engine, &rng).unwrap();
            let values = critic.values(&field.pool, &field.roll);
            let active = field.roll.active_rows(1);
            let dead = active.iter().filter(|a| !**a).count();
            assert!(dead > 5 && dead < 75);
            let targets: Vec<f32> = active.iter().map(|a| if *a { 1.0 } else { garbage }).collect();
            critic.fit(&field.pool, &field.roll, &values, &targets, 0, 0.01, &rng).unwrap();
            let mut w = StateWriter::new();
            critic.save(&mut w);
            w.to_bytes().unwrap()
        };
        assert_eq!(fitted(3.0) != fitted(-50.0), learned, "{mask}");
    }
}

fn saved(core: &OnPolicy) -> StateReader {
    let mut w = StateWriter::new();
    core.save(&mut w);
    StateReader::from_bytes(w.to_bytes().unwrap()).unwrap()
}

fn core(toy: &Toy, overrides: &[&str]) -> (OnPolicy, Field) {
    let rng = Stream::new(5, Purpose::Check, 0, 0);
    let settings = settings(on_policy::keys("none"), &[&SMALL[..], overrides].concat());
    let core = OnPolicy::new("test", &toy.team(), &settings, Source::State, RewardMode::Sum, &rng).unwrap();
    let mut field = Field::new(toy.make(), 4, 20, core.policy().memory_len(), 1, 1);
    field.collect(&core.policy());
    (core, field)
}

fn close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (k, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*f) - e).abs() < 2e-4 * (1.0 + e.abs()), "{what}, row {k}: {f}, by hand {e}");
    }
}

#[test]
fn ep_advantages_are_normalised_per_agent_over_its_active_rows() {
    let (mut core, field) = core(&Toy { deaths: true, faults: true, ..Toy::mixed() }, &["algo.gamma=0.9", "algo.gae_lambda=0.8"]);
    let (roll, net) = (&field.roll, critic_net(&saved(&core), common::STATE, false));
    let values = plain_values(roll, &net, 0);
    let reward = |e: usize, t: usize| roll.lanes[e].rewards[t * 3];
    let (raw, _) = by_hand(&Hand { roll, values: &values, reward: &reward, gamma: 0.9, lambda: 0.8, truncation: "bootstrap" });
    let estimates = core.estimate(&field.pool, roll).unwrap();
    let mut firsts = Vec::new();
    for actor in core.actors.iter() {
        let rows = actor.rows(roll);
        let found = core.advantages(&estimates, actor, &rows);
        let expected = normalized(&raw, &roll.active_rows(actor.members[0]));
        let kept = |xs: &[f64]| xs.iter().zip(&rows.active).filter(|(_, a)| **a).map(|(x, _)| *x).collect::<Vec<_>>();
        let found_kept: Vec<f32> = found.iter().zip(&rows.active).filter(|(_, a)| **a).map(|(x, _)| *x).collect();
        close(&found_kept, &kept(&expected), &actor.name);
        firsts.push(found[0]);
    }
    assert!(firsts[0] != firsts[1] && firsts[1] != firsts[2], "unlike lives give unlike statistics: {firsts:?}");
}

#[test]
fn fp_advantages_are_the_agents_own_and_normalised_jointly() {
    for (word, own) in [("own", true), ("sum", false)] {
        let toy = Toy { fp: true, own: true, deaths: true, ..Toy::mixed() };
        let word = format!("task.reward={word}");
        let (mut core, field) = core(&toy, &[&word, "algo.gamma=0.9", "algo.gae_lambda=0.8"]);
        let (roll, net) = (&field.roll, critic_net(&saved(&core), common::STATE, false));
        let mut raw = Vec::new();
        let mut active = Vec::new();
        for k in 0..3 {
            let values = plain_values(roll, &net, k);
            let reward = |e: usize, t: usize| {
                let all = &roll.lanes[e].rewards[3 * t..3 * t + 3];
                if own { all[k] } else { all.iter().sum() }
            };
            let (mortal, living) = (mortal(roll, k), roll.active_rows(k));
            let roll = if own { &mortal } else { roll };
            let hand = Hand { roll, values: &values, reward: &reward, gamma: 0.9, lambda: 0.8, truncation: "bootstrap" };
            raw.extend(by_hand(&hand).0.iter().zip(&living).map(|(x, living)| if own && !living { 0.0 } else { *x }));
            active.extend(living);
        }
        let expected = normalized(&raw, &active);
        let estimates = core.estimate(&field.pool, roll).unwrap();
        for (k, actor) in core.actors.iter().enumerate() {
            let found = core.advantages(&estimates, actor, &actor.rows(roll));
            close(&found, &expected[k * roll.rows()..(k + 1) * roll.rows()], &format!("{word} {}", actor.name));
        }
    }
}

/// The rollout as an agent has it whose death ends its episode.
fn mortal(roll: &Rollout, k: usize) -> Rollout {
    let mut own = roll.clone();
    let n = roll.team().n();
    for lane in &mut own.lanes {
        for t in 0..lane.status.len() {
            let (alive, left) = (
                lane.alive[t * n + k],
                lane.finals.iter().find(|f| f.time == t).map_or(&lane.alive[(t + 1) * n..], |f| &f.alive),
            );
            if lane.status[t] != Status::Terminated && alive && !left[k] {
                lane.status[t] = Status::Terminated;
            }
        }
    }
    own
}

/// What is paid after an agent's death is part of its values where the team is paid together, which are then fitted there too; where agents
/// are paid apart they end with it, unless `algo.mask_dead` is off.
#[test]
fn values_follow_the_dead_of_a_team_that_is_paid_together() {
    for (own, mask, follows) in [(false, true, true), (true, true, false), (true, false, true)] {
        let toy = Toy { deaths: true, own, ..Toy::discrete() };
        let mask_dead = format!("algo.mask_dead={mask}");
        let overrides = [&SMALL[..], &[&mask_dead, "algo.normalize_advantages=false"]].concat();
        let settings = settings(on_policy::keys("none"), &overrides);
        let rng = Stream::new(5, Purpose::Check, 0, 0);
        let build = || OnPolicy::new("test", &toy.team(), &settings, Source::Obs, RewardMode::Own, &rng).unwrap();
        let mut field = Field::new(toy.make(), 4, 20, build().policy().memory_len(), 1, 1);
        field.collect(&build().policy());
        let learned = |paid: f64| {
            let (mut core, mut roll) = (build(), field.roll.clone());
            for lane in &mut roll.lanes {
                for t in (0..20).filter(|t| !lane.alive[t * 3 + 1]) {
                    lane.rewards[t * 3..t * 3 + 3].fill(paid);
                }
            }
            let estimates = core.estimate(&field.pool, &roll).unwrap();
            let rows = core.actors[1].rows(&roll);
            let advantages = core.advantages(&estimates, &core.actors[1], &rows);
            let living: Vec<f32> = advantages.iter().zip(&rows.active).filter(|(_, a)| **a).map(|(x, _)| *x).collect();
            assert!(living.len() > 5 && living.len() < 75);
            // What is never fitted adds nothing to a joint advantage.
            let silent = advantages.iter().zip(&rows.active).filter(|(_, a)| !**a).all(|(x, _)| *x == 0.0);
            assert_eq!(silent, !follows);
            let context = UpdateContext { pool: &field.pool, progress: 0.0, rng: rng.clone() };
            core.fit_critics(&roll, &estimates, &context).unwrap();
            (living, saved(&core).f32s("critic.1.params").unwrap())
        };
        let ((advantages, params), (others, moved)) = (learned(1.0), learned(-3.0));
        assert_eq!((advantages != others, params != moved), (follows, follows), "paid apart {own}, {mask_dead}");
    }
}

/// The members of one shared actor have mean 0 and deviation 1 each, or together.
#[test]
fn advantages_are_normalised_by_group_or_by_agent() {
    let alike: Vec<ActionSpace> = vec![ActionSpace::Discrete(3); 3];
    let mut toy = Toy { own: true, deaths: true, ..Toy::new(&alike) };
    toy.agents.iter_mut().for_each(|a| a.0.shape = vec![4]);
    for (by, each) in [("group", false), ("agent", true)] {
        let by = format!("algo.normalize_by={by}");
        let settings = settings(on_policy::keys("all"), &[&SMALL[..], &[&by]].concat());
        let rng = Stream::new(5, Purpose::Check, 0, 0);
        let mut core = OnPolicy::new("test", &toy.team(), &settings, Source::Obs, RewardMode::Own, &rng).unwrap();
        let mut field = Field::new(toy.make(), 4, 20, core.policy().memory_len(), 1, 1);
        field.collect(&core.policy());
        let estimates = core.estimate(&field.pool, &field.roll).unwrap();
        let rows = core.actors[0].rows(&field.roll);
        let all = core.advantages(&estimates, &core.actors[0], &rows);
        let moments = |a: &[f32], active: &[bool]| {
            let kept: Vec<f64> = a.iter().zip(active).filter(|(_, on)| **on).map(|(a, _)| f64::from(*a)).collect();
            let mean = kept.iter().sum::<f64>() / kept.len() as f64;
            (mean, (kept.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / kept.len() as f64).sqrt())
        };
        let normal = |(mean, std): (f64, f64)| mean.abs() < 1e-5 && (std - 1.0).abs() < 1e-3;
        assert!(each || normal(moments(&all, &rows.active)), "{by}");
        let members = all.chunks(rows.rows).zip(rows.active.chunks(rows.rows));
        assert_eq!(members.map(|(a, on)| normal(moments(a, on))).collect::<Vec<_>>(), [each; 3], "{by}");
    }
}

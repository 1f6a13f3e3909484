//! Environments that fail, lie, hang or never end (E1 to E16 of the list of faults).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults_common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use faults_common::*;
use motley_core::{ActionSpace, Actions, ConfigError, Env, EnvError, FrameBuf, ObsSpace, Purpose, Status, Stream, TeamSpec};
use motley_data::returns::{Series, Truncation, gae};
use motley_data::rollout::Rollout;
use motley_nn::{Mode, Policy, Pool, TeamPolicy};
use motley_testkit::env::{Fault, FaultyEnv, When};
use motley_testkit::probe::{PROBES, Probe, ProbeEnv};
use motley_train::collect::{CollectError, Collector};
use motley_train::{EvalPlan, EvalSummary, MakeEnv, TrainError, evaluate};

const RAGGED: &str = "probe/ragged_fp";

fn ragged() -> Box<dyn Env> {
    Box::new(ProbeEnv::new(Probe::RaggedFp, 10))
}

fn faulty(fault: Fault, when: When) -> FaultyEnv {
    FaultyEnv::new(ragged(), fault, when)
}

/// An untrained policy, never updated.
fn frozen(settings: &[&str]) -> (TeamPolicy, Arc<TeamSpec>) {
    let plan = plan(&registry(), "happo", RAGGED, settings).unwrap();
    (frozen_of(&plan), plan.team)
}

fn frozen_of(plan: &motley_train::settings::Plan) -> TeamPolicy {
    plan.algorithm.build(&plan.team, &plan.settings, &Stream::new(0, Purpose::Init, 0, 0)).unwrap().policy()
}

/// Copies 0.. are environments 0.. of a collector; later ones replace copies that panicked.
fn maker(make: impl Fn(usize) -> Box<dyn Env> + Send + Sync + 'static) -> MakeEnv {
    let made = AtomicUsize::new(0);
    Arc::new(move || Ok(make(made.fetch_add(1, Ordering::SeqCst))))
}

/// E1 and E2: 100,000 steps with p = 1e-3 of an error or a panic: nothing is given up, and environments without faults do not
/// notice those beside them.
#[test]
fn failing_environments_cost_their_own_episode_alone() {
    hush();
    const ENVS: usize = 8;
    for settings in [&[][..], &["net.recurrent=true"]] {
        let (policy, team) = frozen(settings);
        let pool = Pool::new(2).unwrap();
        let play = |make: MakeEnv, each: &mut dyn FnMut(usize, &Rollout)| {
            let mut roll = Rollout::new(Arc::clone(&team), ENVS, 250, policy.memory_len());
            let mut collector = Collector::new(Arc::clone(&team), make, 3, ENVS, 100).unwrap();
            collector.start(&mut roll).unwrap();
            for k in 0..50 {
                collector.collect(&policy, &mut roll, &pool).unwrap();
                each(k, &roll);
                roll.carry();
            }
        };
        let mut clean = Vec::new();
        play(maker(|_| ragged()), &mut |_, roll| clean.push(roll.lanes.clone()));
        let mut holes = [0; ENVS];
        let some = maker(|k| match k {
            1 => Box::new(faulty(Fault::StepError, When::Chance(1e-3))),
            5 => Box::new(faulty(Fault::StepPanic, When::Chance(1e-3))),
            k if k >= ENVS => Box::new(faulty(Fault::StepPanic, When::Chance(1e-3))),
            _ => ragged(),
        });
        play(some, &mut |k, roll| {
            for (e, (lane, good)) in roll.lanes.iter().zip(&clean[k]).enumerate() {
                holes[e] += lane.valid.iter().filter(|v| !**v).count();
                assert!(e == 1 || e == 5 || lane == good, "environment {e} noticed, rollout {k}");
            }
        });
        assert!(holes[1] > 3 && holes[5] > 3 && holes.iter().sum::<usize>() == holes[1] + holes[5], "{holes:?}");
        let mut all = 0;
        play(
            maker(|k| Box::new(faulty(if k % 2 == 0 { Fault::StepError } else { Fault::StepPanic }, When::Chance(1e-3)))),
            &mut |_, roll| {
                for lane in &roll.lanes {
                    for t in (0..250).filter(|t| !lane.valid[*t]) {
                        all += 1;
                        assert!(lane.first[t + 1], "a new episode follows a hole");
                        assert!(lane.rewards[t * 3..t * 3 + 3].iter().all(|r| *r == 0.0));
                    }
                }
            },
        );
        assert!((60..150).contains(&all), "{all} failures in 100,000 steps");
    }
}

/// E2: a panic can be caught only where it unwinds.
#[test]
fn panics_unwind_in_every_profile() {
    const { assert!(cfg!(panic = "unwind")) };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // Cargo's own settings may hold profiles and flags too, where there are any.
    for (file, needed) in [("Cargo.toml", true), ("crates/motley-py/Cargo.toml", true), (".cargo/config.toml", false)] {
        let text = match std::fs::read_to_string(root.join(file)) {
            Err(_) if !needed => continue,
            text => text.unwrap(),
        };
        let table: toml::Table = text.parse().unwrap();
        let profiles = table.get("profile").and_then(toml::Value::as_table).into_iter().flatten();
        for (name, profile) in profiles {
            let how = profile.get("panic").and_then(toml::Value::as_str).unwrap_or("unwind");
            assert_eq!(how, "unwind", "profile {name} of {file}");
        }
        assert!(!table.to_string().contains("panic=abort"), "flags in {file}");
    }
}

/// Evaluation outlives failing environments too, whatever the threads; and a training run does.
#[test]
fn evaluation_and_training_survive() {
    hush();
    let (policy, _) = frozen(&[]);
    let play = |threads: usize, fault: Fault| {
        let make = maker(move |_| Box::new(faulty(fault, When::Chance(0.02))));
        let plan = EvalPlan { seed: 1, round: 0, episodes: 60, mode: Mode::Sample };
        evaluate(&policy, &make, &Pool::new(threads).unwrap(), plan)
    };
    let one = play(1, Fault::StepError).unwrap();
    assert_eq!(play(4, Fault::StepError).unwrap(), one);
    assert_eq!(play(2, Fault::StepPanic).unwrap().episodes, one.episodes);
    assert!((1..60).contains(&one.failures.len()) && EvalSummary::of(&one).env_failures == one.failures.len());
    let told = one.warnings();
    assert!(told[0].contains("a planned failure of step") && told[0].contains("evaluation episode"), "{told:?}");
    let clear = EvalPlan { seed: 1, round: 0, episodes: 60, mode: Mode::Sample };
    let calm = evaluate(&policy, &maker(|_| ragged()), &Pool::serial(), clear).unwrap();
    assert!(calm.failures.is_empty() && calm.warnings().is_empty());
    let make = maker(|_| Box::new(faulty(Fault::StepError, When::EpisodeStep(0))));
    let plan = EvalPlan { seed: 1, round: 0, episodes: 1, mode: Mode::Greedy };
    let text = evaluate(&policy, &make, &Pool::serial(), plan).unwrap_err().to_string();
    assert!(text.contains("episode 0 failed 4 times") && text.contains("planned"), "{text}");
    let registry = registry_with(RAGGED, |_| Box::new(faulty(Fault::StepPanic, When::Chance(1e-3))));
    for algo in ["happo", "mappo", "ippo"] {
        whole(&registry, algo, RAGGED, &[], tempfile::tempdir().unwrap().path());
    }
}

/// What fails is said at once, by environment and cause, and then ever more rarely; other causes are said beside it.
#[test]
fn failures_are_told() {
    hush();
    let registry = registry_with(RAGGED, |k| match k {
        2 => Box::new(faulty(Fault::Obs(f32::NAN), When::EpisodeStep(4))),
        3 => Box::new(faulty(Fault::StepPanic, When::Call(50))),
        // It fails once in a reset, and the next attempt succeeds.
        4 => Box::new(faulty(Fault::ResetError, When::Call(1))),
        _ => ragged(),
    });
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = start(&registry, "ippo", RAGGED, &["env_failure_limit=10000"], dir.path()).unwrap();
    let (outcome, warnings) = train(&mut trainer, u64::MAX);
    assert!(outcome.unwrap().finished);
    let told = |texts: &[&str]| warnings.iter().filter(|w| texts.iter().all(|t| w.contains(t))).count();
    let nan = ["environment 1", "observation of agent \"picker\", entry 0", "expected a finite number, found NaN"];
    assert_eq!(told(&nan), 2, "at the first and the tenth of 25 rollouts: {warnings:?}");
    assert_eq!(told(&["environment 2", "a planned panic in step"]), 1, "{warnings:?}");
    assert_eq!(told(&["environment 3", "a planned failure of reset"]), 1, "{warnings:?}");
    assert_eq!(warnings.len(), 4);
}

/// Failures in evaluations are told apart from those in training, and counted in the log, in the result and in `run.json`.
#[test]
fn failures_in_evaluation_are_told_and_counted() {
    hush();
    // One copy to ask for the team and four to train on; those after them evaluate.
    let registry = registry_with(RAGGED, |k| match k {
        0..=5 => ragged(),
        _ => Box::new(faulty(Fault::StepError, When::Chance(0.01))),
    });
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = start(&registry, "ippo", RAGGED, &["eval.episodes=60"], dir.path()).unwrap();
    let (outcome, warnings) = train(&mut trainer, u64::MAX);
    let last = outcome.unwrap().eval.unwrap().env_failures as u64;
    let info = trainer.folder().info().unwrap();
    assert!(info.eval_env_failures >= last && last > 0, "{} in all, {last} in the last", info.eval_env_failures);
    let metrics = std::fs::read_to_string(trainer.folder().metrics_path()).unwrap();
    let field = |line: &str, name: &str| serde_json::from_str::<serde_json::Value>(line).unwrap().get(name)?.as_f64();
    let logged: f64 = metrics.lines().filter_map(|line| field(line, "eval/env_failures")).sum();
    assert_eq!(logged, info.eval_env_failures as f64);
    assert_eq!(metrics.lines().filter_map(|line| field(line, "train/env_failures")).sum::<f64>(), 0.0);
    let told = ["evaluation episode", "a planned failure of step", "played anew"];
    assert!(warnings.iter().any(|w| told.iter().all(|t| w.contains(t))), "{warnings:?}");
}

/// E5: what does not fit the declared space is no bad luck: training stops at once, by the name of the agent, and can be taken up.
#[test]
fn a_misshaped_observation_stops_the_run() {
    let registry_of = |when: When| registry_with(RAGGED, move |_| Box::new(faulty(Fault::Misshaped, when)));
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = start(&registry_of(When::Call(130)), "happo", RAGGED, &[], dir.path()).unwrap();
    let error = train(&mut trainer, u64::MAX).0.unwrap_err();
    assert!(matches!(error, TrainError::Collect(CollectError::Misshaped { .. })), "{error}");
    let text = error.to_string();
    assert!(text.contains("agent \"walker\"") && text.contains("expected shape (6,), found shape (7,)"), "{text}");
    drop(trainer);
    assert!(latest(dir.path()).step > 0, "what was learned before is kept");
    assert!(train(&mut resume(&registry(), dir.path(), &[]).unwrap(), u64::MAX).0.unwrap().finished);
}

/// E13: what is no function of its seed is found before training, and the run says that it cannot be resumed exactly.
#[test]
fn environments_that_ignore_their_seed_are_found() {
    let calm = || faulty(Fault::StepError, When::Never).without_snapshots();
    for (obeys, at) in [(true, ""), (false, "differs at frame")] {
        let registry = registry_with(RAGGED, move |_| Box::new(if obeys { calm() } else { calm().ignoring_seeds() }));
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = start(&registry, "ippo", RAGGED, &["total_steps=80"], dir.path()).unwrap();
        let (outcome, warnings) = train(&mut trainer, u64::MAX);
        assert!(outcome.unwrap().finished);
        assert_eq!(trainer.folder().info().unwrap().exact_resume, obeys);
        let told = warnings.iter().any(|w| w.contains("no function of its seed") && w.contains(at) && w.contains("motley check"));
        assert_eq!(told, !obeys, "{warnings:?}");
    }
}

/// E4: after three resets that fail the run stops in time, names the environment and the cause, and can be taken up.
#[test]
fn resets_that_always_fail_stop_the_run() {
    hush();
    for fault in [Fault::ResetError, Fault::ResetPanic] {
        let dir = tempfile::tempdir().unwrap();
        let hopeless = registry_with(RAGGED, move |k| {
            // Copy 2 is environment 1; what replaces it after a panic is no better.
            let when = if k == 2 {
                When::From(5)
            } else if (5..8).contains(&k) {
                When::From(0)
            } else {
                When::Never
            };
            Box::new(faulty(fault, when))
        });
        let mut trainer = start(&hopeless, "happo", RAGGED, &["eval.every=1000000"], dir.path()).unwrap();
        let begin = Instant::now();
        let error = train(&mut trainer, u64::MAX).0.unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(10));
        assert!(matches!(error, TrainError::Collect(CollectError::Reset { env: 1, .. })), "{error}");
        assert!(error.to_string().contains("environment 1") && error.to_string().contains("planned"), "{error}");
        drop(trainer);
        latest(dir.path());
        let mut trainer = resume(&registry(), dir.path(), &[]).unwrap();
        assert!(train(&mut trainer, u64::MAX).0.unwrap().finished, "with the fault mended it goes on");
    }
}

/// Every step fails: rollouts far shorter than the window of the limit must not hide it.
#[test]
fn too_many_failures_stop_the_run() {
    let registry = registry_with(RAGGED, |k| Box::new(faulty(Fault::StepError, if k < 5 { When::From(0) } else { When::Never })));
    let dir = tempfile::tempdir().unwrap();
    let error = train(&mut start(&registry, "ippo", RAGGED, &[], dir.path()).unwrap(), u64::MAX).0.unwrap_err().to_string();
    assert!(error.contains("env_failure_limit = 100") && error.contains("planned"), "{error}");
    let crash: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.path().join("crash.json")).unwrap()).unwrap();
    assert_eq!((crash["error"].as_str().unwrap(), crash["run"]["status"].as_str().unwrap()), (error.as_str(), "failed"));
    assert!(dir.path().join(crash["checkpoint"].as_str().unwrap()).is_dir(), "{crash}");
    assert_eq!((crash["config"]["num_envs"].as_u64(), crash["panic"].is_null()), (Some(4), true), "{crash}");
}

/// E5 and E15: a copy that shows another team is refused, by the name of the agent in question.
#[test]
fn another_team_is_refused() {
    let mut rng = Stream::new(5, Purpose::Check, 0, 0);
    for round in 0..20 {
        let (agent, what, size) = (rng.below(3) as usize, rng.below(5), 7 + rng.below(50) as usize);
        let change = move |team: &mut TeamSpec| match what {
            0 => team.agents[agent].obs = ObsSpace::vector(size),
            1 => team.agents[agent].action = ActionSpace::Discrete(size),
            2 => team.agents[agent].action = ActionSpace::uniform_box(size, -2.0, 1.0),
            3 => team.agents[agent].kind = "another".into(),
            _ => team.agents.truncate(agent),
        };
        let odd = 1 + rng.below(4) as usize;
        let registry = registry_with(RAGGED, move |k| {
            let env = faulty(Fault::StepError, When::Never);
            Box::new(if k == odd { env.claiming(change) } else { env })
        });
        let dir = tempfile::tempdir().unwrap();
        let text = start(&registry, "happo", RAGGED, &[], dir.path()).err().unwrap().to_string();
        let name = ["walker", "arm", "picker"][agent];
        assert!(text.contains(name) && text.contains("expected") && text.contains("found"), "round {round}: {text}");
    }
}

/// E6 and E7: what is not finite is cut exactly as a failed step is, so that nothing of it is learned.
#[test]
fn numbers_that_are_not_finite_are_cut_out() {
    let run = |fault: Fault| {
        let registry = registry_with(RAGGED, move |_| Box::new(faulty(fault, When::Chance(0.008))));
        whole(&registry, "happo", RAGGED, &["env_failure_limit=10000"], tempfile::tempdir().unwrap().path())
    };
    let cut = run(Fault::StepError);
    assert!(
        cut.metrics.iter().any(|line| line.contains("env_failures\":2") || line.contains("env_failures\":1")),
        "nothing failed"
    );
    assert_finite(&reader(&cut.state));
    for fault in [
        Fault::Obs(f32::NAN),
        Fault::Obs(f32::INFINITY),
        Fault::State(f32::NEG_INFINITY),
        Fault::Reward(f64::NAN),
        Fault::Reward(f64::INFINITY),
    ] {
        run(fault).must_equal(&cut, &format!("{fault:?}"));
    }
}

/// E8: a huge reward is told once, with agent and value, and no number leaves its range.
#[test]
fn huge_rewards_stay_finite() {
    for algo in ["happo", "mappo", "ippo"] {
        let registry = registry_with(RAGGED, |_| Box::new(faulty(Fault::Reward(1e30), When::EpisodeStep(2))));
        let dir = tempfile::tempdir().unwrap();
        let (outcome, warnings) = train(&mut start(&registry, algo, RAGGED, &[], dir.path()).unwrap(), u64::MAX);
        assert!(outcome.unwrap().finished);
        let told: Vec<&String> = warnings.iter().filter(|w| w.contains("1e30")).collect();
        assert!(told.len() == 1 && told[0].contains("\"walker\""), "{warnings:?}");
        let print = print(dir.path());
        assert_finite(&reader(&print.state));
        assert!(!print.metrics.iter().any(|line| line.contains("null")), "{algo}: a metric is not finite");
    }
}

/// E8 for every registered algorithm: it goes on, or stops and says so, and no number that it learns leaves its range.
#[test]
fn huge_rewards_leave_no_algorithm_without_numbers() {
    let base = registry();
    for spec in base.algorithms.iter() {
        let mut tried = false;
        for (name, words) in [(RAGGED, &[][..]), ("mpe/simple_spread_v3", &[]), ("mpe/simple_spread_v3", &["continuous=true"])] {
            let task = base.tasks.get(name).unwrap();
            let options = motley_envs::registry::options(&*task, words).unwrap();
            let paid = registry_with(name, move |_| {
                Box::new(FaultyEnv::new(task.make(&options).unwrap(), Fault::Reward(1e30), When::EpisodeStep(2)))
            });
            let dir = tempfile::tempdir().unwrap();
            let settings = ["total_steps=800", "eval.every=1000000", "env_failure_limit=10000"];
            if plan(&paid, spec.name(), name, &settings).is_err() {
                continue;
            }
            tried = true;
            let (outcome, warnings) = train(&mut start(&paid, spec.name(), name, &settings, dir.path()).unwrap(), u64::MAX);
            let fine = matches!(&outcome, Ok(done) if done.finished) || matches!(&outcome, Err(TrainError::Update(_)));
            assert!(fine, "{} on {name}: {outcome:?}", spec.name());
            assert_eq!(warnings.iter().filter(|w| w.contains("1e30")).count(), 1, "{} on {name}: {warnings:?}", spec.name());
            assert_finite(&latest(dir.path()).state);
            break;
        }
        assert!(tried, "{} was not tried", spec.name());
    }
}

/// E9: observations outside of the declared bounds are counted, told once, and learned from all the same.
#[test]
fn observations_out_of_bounds_are_told_and_counted() {
    let registry = registry_with(RAGGED, |_| {
        Box::new(faulty(Fault::Obs(50.0), When::EpisodeStep(2)).claiming(|team| team.agents[2].obs.high = 10.0))
    });
    let dir = tempfile::tempdir().unwrap();
    let (outcome, warnings) = train(&mut start(&registry, "happo", RAGGED, &[], dir.path()).unwrap(), u64::MAX);
    assert!(outcome.unwrap().finished);
    let told: Vec<&String> = warnings.iter().filter(|w| w.contains("out_of_bounds")).collect();
    let expected = "observation of agent \"picker\", entry 0: expected -inf to 10, found 50";
    assert!(told.len() == 1 && told[0].contains(expected), "{warnings:?}");
    let metrics = print(dir.path()).metrics;
    let count = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["train/out_of_bounds"].as_f64();
    let counts: Vec<f64> = metrics.iter().filter_map(count).collect();
    assert_eq!(counts.len(), 25, "in every update");
    assert!(counts.iter().sum::<f64>() > 10.0, "{counts:?}");
}

/// E10 and E12: an agent without an action, and one that comes back from the dead, are named when it happens; the policy never
/// takes an action that its mask forbids (the probe would refuse it).
#[test]
fn broken_contracts_are_named() {
    for (fault, expected) in
        [(Fault::NoAction, "availability mask of agent \"walker\""), (Fault::Revive, "to stay dead until the reset")]
    {
        let registry =
            registry_with(RAGGED, move |k| Box::new(faulty(fault, if k == 4 { When::EpisodeStep(0) } else { When::Never })));
        let dir = tempfile::tempdir().unwrap();
        let error = train(&mut start(&registry, "mappo", RAGGED, &["env_failure_limit=0"], dir.path()).unwrap(), u64::MAX)
            .0
            .unwrap_err()
            .to_string();
        assert!(error.contains("environment 3") && error.contains(expected) && error.contains("walker"), "{error}");
    }
    let registry = registry_with(RAGGED, |_| Box::new(faulty(Fault::Unwritten, When::EpisodeStep(3))));
    whole(&registry, "mappo", RAGGED, &["env_failure_limit=0"], tempfile::tempdir().unwrap().path());
}

/// E14: an episode without end is truncated at the limit, its true last observation is kept, and the advantage there is
/// `r + gamma V(final) - V`.
#[test]
fn endless_episodes_are_truncated() {
    let (policy, team) = frozen(&[]);
    let limited = |limit: Option<usize>| {
        let mut team = TeamSpec::clone(&team);
        (team.step_limit, team.deaths) = (limit, false);
        Arc::new(team)
    };
    let short = limited(Some(7));
    let endless = |limit: Option<usize>| {
        maker(move |_| Box::new(faulty(Fault::Sleep(Duration::ZERO), When::Never).endless().claiming(|t| t.step_limit = limit)))
    };
    let mut roll = Rollout::new(Arc::clone(&short), 2, 21, 0);
    let mut collector = Collector::new(short, endless(Some(7)), 0, 2, 0).unwrap();
    collector.start(&mut roll).unwrap();
    collector.collect(&policy, &mut roll, &Pool::serial()).unwrap();
    for lane in &roll.lanes {
        let ends: Vec<usize> = (0..21).filter(|t| lane.status[*t] != Status::Running).collect();
        assert_eq!(ends, [6, 13, 20]);
        assert!(ends.iter().all(|t| lane.status[*t] == Status::Truncated && lane.first[t + 1]));
        assert_eq!(lane.finals.len(), 3);
        assert!(lane.finals.iter().zip(&ends).all(|(f, t)| f.time == *t && f.obs[..] != lane.obs[(t + 1) * 15..(t + 2) * 15]));
        let rewards: Vec<f64> = lane.rewards.chunks(3).map(|r| r[1]).collect();
        let (here, next) = (vec![0.25_f64; 21], vec![0.5_f64; 21]);
        let series = Series::new(&rewards, &here, &next, &lane.status, &lane.valid).unwrap();
        let found = gae(&series, 0.9, 0.95, Truncation::Bootstrap).advantages;
        assert!((found[6] - (rewards[6] + 0.9 * 0.5 - 0.25)).abs() < 1e-12);
    }
    let policy = TeamPolicy::new(limited(None), policy.groups().to_vec());
    let plan = EvalPlan { seed: 0, round: 0, episodes: 1, mode: Mode::Greedy };
    let text = evaluate(&policy, &endless(None), &Pool::serial(), plan).unwrap_err().to_string();
    assert!(text.contains("did not end") && text.contains("step limit"), "{text}");
    // Where the task says that its episodes are so long, they are played to their end.
    let policy = TeamPolicy::new(limited(Some(100_001)), policy.groups().to_vec());
    let played = evaluate(&policy, &endless(Some(100_001)), &Pool::serial(), plan).unwrap();
    assert_eq!(played.episodes[0].length, 100_001);
}

/// E16: stepping before a reset and after the end is an error in everything that is registered; the probes keep the contract.
#[test]
fn stepping_out_of_turn_is_refused() {
    let registry = registry();
    for task in registry.tasks.iter() {
        let options = motley_envs::registry::options(task, &[]).unwrap();
        let mut env = match task.make(&options) {
            Ok(env) => env,
            Err(ConfigError::Missing { .. }) => continue,
            Err(error) => panic!("{}: {error}", task.name()),
        };
        let team = Arc::clone(env.spec());
        let mut buf = FrameBuf::new(&team);
        let legal = |avail: &[bool]| -> Vec<f32> {
            let mut flat = Vec::new();
            for (i, agent) in team.agents.iter().enumerate() {
                let mut mask = &avail[team.mask_range(i)];
                for n in agent.action.choices() {
                    flat.push(mask[..*n].iter().position(|a| *a).unwrap() as f32);
                    mask = &mask[*n..];
                }
                if agent.action.is_continuous() {
                    flat.extend(vec![0.0; agent.action.width()]);
                }
            }
            flat
        };
        let out_of_turn = |r: Result<Status, EnvError>| matches!(r, Err(EnvError::NotRunning(_)));
        let first = legal(&buf.avail);
        assert!(out_of_turn(env.step(Actions::new(&team, &first), &mut buf.frame())), "{} before a reset", task.name());
        env.reset(Stream::new(1, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
        let limit = team.step_limit.unwrap_or(1000);
        let ended = (0..limit).any(|_| {
            let actions = legal(&buf.avail);
            env.step(Actions::new(&team, &actions), &mut buf.frame()).unwrap().done()
        });
        let actions = legal(&buf.avail);
        assert!(
            !ended || out_of_turn(env.step(Actions::new(&team, &actions), &mut buf.frame())),
            "{} after the end",
            task.name()
        );
    }
    for probe in PROBES {
        let lines = motley_envs::check::check(&|| Ok(Box::new(ProbeEnv::new(probe, 10)) as Box<dyn Env>), 0);
        assert!(lines.iter().all(|line| !line.failed()), "{probe:?}: {lines:?}");
    }
}

/// A resume whose first rollout fails has learned nothing: the checkpoint that it began from stays exact.
#[test]
fn a_resume_that_fails_at_once_takes_nothing_away() {
    hush();
    let dir = tempfile::tempdir().unwrap();
    let sound = registry_with(RAGGED, |_| Box::new(faulty(Fault::StepError, When::Never)));
    train(&mut start(&sound, "ippo", RAGGED, &[], dir.path()).unwrap(), 1).0.unwrap();
    let before = latest(dir.path());
    assert!(before.manifest.info.exact_resume);
    let broken = registry_with(RAGGED, |_| Box::new(faulty(Fault::ResetError, When::From(0))));
    let mut trainer = resume(&broken, dir.path(), &[]).unwrap();
    assert!(matches!(train(&mut trainer, u64::MAX).0, Err(TrainError::Collect(CollectError::Reset { .. }))));
    let after = latest(dir.path());
    assert!(after.step == before.step && after.manifest.info.exact_resume);
}

/// A game that counts how many of it there are.
struct Heavy {
    inner: Box<dyn Env>,
    live: Arc<AtomicUsize>,
}

impl Drop for Heavy {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Env for Heavy {
    fn spec(&self) -> &Arc<TeamSpec> {
        self.inner.spec()
    }

    fn reset(&mut self, stream: Stream, out: &mut motley_core::Frame<'_>) -> Result<(), EnvError> {
        self.inner.reset(stream, out)
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut motley_core::Frame<'_>) -> Result<Status, EnvError> {
        self.inner.step(actions, out)
    }

    fn heavy(&self) -> bool {
        true
    }
}

/// An evaluation starts one heavy copy a thread, where it plays others side by side; the episodes are the same.
#[test]
fn heavy_environments_are_played_one_a_thread() {
    let (policy, _) = frozen(&["net.recurrent=true"]);
    let plan = EvalPlan { seed: 1, round: 0, episodes: 40, mode: Mode::Sample };
    let light = evaluate(&policy, &maker(|_| ragged()), &Pool::new(2).unwrap(), plan).unwrap();
    let (live, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (Arc::clone(&live), Arc::clone(&most));
    let make = maker(move |_| {
        peak.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Box::new(Heavy { inner: ragged(), live: Arc::clone(&counted) })
    });
    assert_eq!(evaluate(&policy, &make, &Pool::new(2).unwrap(), plan).unwrap(), light);
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)) && live.load(Ordering::SeqCst) == 0);
}

/// A limit that the environment leaves to its caller cuts an episode that is not won: it counts as one, and not as none.
#[test]
fn an_episode_cut_by_the_caller_is_not_won() {
    fn cut(_: usize) -> Box<dyn Env> {
        Box::new(faulty(Fault::StepError, When::Never).claiming(|team| (team.step_limit, team.winning) = (Some(4), true)))
    }
    let made = plan(&registry_with(RAGGED, cut), "happo", RAGGED, &[]).unwrap();
    let (policy, make) = (frozen_of(&made), maker(cut));
    let plan = EvalPlan { seed: 1, round: 0, episodes: 3, mode: Mode::Greedy };
    let played = evaluate(&policy, &make, &Pool::serial(), plan).unwrap();
    assert!(played.episodes.iter().all(|e| e.won == Some(false)) && played.episodes.iter().any(|e| e.length == 4));
    assert_eq!(EvalSummary::of(&played).win_rate, Some(0.0));
}

/// Bounds that no file can hold and no squashed action can fill are refused before anything is built.
#[test]
fn a_box_without_end_is_refused() {
    let endless = |_| -> Box<dyn Env> {
        let one_agent = |team: &mut TeamSpec| team.agents[0].action = ActionSpace::uniform_box(1, -1.0, f32::INFINITY);
        Box::new(faulty(Fault::StepError, When::Never).claiming(one_agent))
    };
    let error = plan(&registry_with(RAGGED, endless), "happo", RAGGED, &[]).err().unwrap().to_string();
    assert!(error.contains("finite and the lower one first"), "{error}");
}

//! Every registered algorithm on every registered task and on every kind of agent: it learns something finite, or says in a
//! typed error why it is not defined there.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use common::{Bench, Toy};
use motley_algos::Registry;
use motley_core::{ActionSpace, ConfigError, ObsSpace, Task};
use motley_train::MakeEnv;

const QUICK: [&str; 18] = [
    "net.hidden_sizes=[8]",
    "?net.trunk=mlp",
    "?algo.rollout_steps=8",
    "?net.chunk_length=4",
    "?algo.ppo_epochs=2",
    "?algo.epochs=2",
    "?algo.critic_epochs=2",
    "?algo.minibatches=2",
    "?algo.critic_minibatches=2",
    "?algo.warmup_steps=0",
    "?algo.batch_size=8",
    "?algo.updates_per_step=0.25",
    "?algo.updates=1",
    "?algo.buffer_size=1000",
    "?algo.batch_episodes=2",
    "?algo.buffer_episodes=8",
    "?algo.episode_limit=4",
    "?algo.stream_size=4",
];

/// One update; `Ok(false)` where the algorithm is not defined, the complaint where something is wrong.
fn one_update(algo: &str, make: MakeEnv, overrides: &[&str]) -> Result<bool, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // Without a critic only whole episodes teach.
        let long: &[&str] = if algo == "reinforce" { &["algo.rollout_steps=100"] } else { &[] };
        let mut bench = match Bench::try_new(algo, make, &[&QUICK[..], overrides, long].concat(), 2, 3, 1) {
            Ok(bench) => bench,
            // A refusal for want of memory would depend on the machine: memories are small here.
            Err(ConfigError::Incompatible { .. } | ConfigError::Value { .. }) => return Ok(false),
            Err(other) => return Err(format!("refused with {other:?}")),
        };
        let before = bench.params();
        bench.iterate(1);
        let after = bench.params();
        if let Some(k) = after.iter().position(|p| !p.is_finite()) {
            return Err(format!("parameter {k} is {}", after[k]));
        }
        // Without a critic nothing is learned from episodes that pay nothing, as some robots' random ones do.
        if after == before && algo != "reinforce" { Err("nothing changed".into()) } else { Ok(true) }
    }));
    outcome.unwrap_or_else(|panic| Err(format!("panicked: {:?}", panic.downcast_ref::<String>())))
}

/// Runs all pairs; panics with every complaint. Returns how many (pairs, refusals) there were.
fn all_pairs(cases: &[(String, MakeEnv)], overrides: &[&str]) -> (usize, Vec<String>) {
    let (mut ran, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
    for spec in Registry::builtin().iter() {
        for (name, make) in cases {
            match one_update(spec.name(), Arc::clone(make), overrides) {
                Ok(true) => ran += 1,
                Ok(false) => refused.push(format!("{} on {name}", spec.name())),
                Err(why) => wrong.push(format!("{} on {name}: {why}", spec.name())),
            }
        }
    }
    assert!(wrong.is_empty(), "{overrides:?}\n{}", wrong.join("\n"));
    (ran, refused)
}

fn tasks() -> Vec<(String, MakeEnv)> {
    let registry = motley_envs::Registry::builtin();
    let mut all = Vec::new();
    // The maps of combat differ in sizes alone.
    const MAPS: [&str; 4] = ["skirmish/3m", "skirmish/2s3z", "skirmish/MMM", "skirmish/terran_5_vs_5"];
    let tried = |name: &String| !name.starts_with("skirmish/") || MAPS.contains(&name.as_str());
    for name in registry.iter().map(Task::name).filter(tried).collect::<Vec<_>>() {
        for form in [&["continuous=false"][..], &["continuous=true"][..], &[][..]] {
            // Only tasks without the setting are taken as they are.
            let alone = !form.is_empty() || registry.make(&name, &["continuous=true"]).is_err();
            if alone && registry.make(&name, form).is_ok() {
                let (registry, name) = (registry.clone(), name.clone());
                all.push((format!("{name} {form:?}"), Arc::new(move || registry.make(&name, form)) as MakeEnv));
            }
        }
    }
    all
}

/// Agents of one kind of action, with everything else that a task can have.
fn kinds() -> Vec<(String, Toy)> {
    let spaces = [ActionSpace::Discrete(3), ActionSpace::MultiDiscrete(vec![2, 3]), ActionSpace::uniform_box(2, -2.0, 1.0)];
    let mut all: Vec<(String, Toy)> =
        spaces.iter().map(|s| (s.describe(), Toy { masks: true, deaths: true, ..Toy::new(&[s.clone(), s.clone()]) })).collect();
    let mut images = Toy::new(&[ActionSpace::Discrete(3), ActionSpace::Discrete(3)]);
    images.agents.iter_mut().for_each(|a| a.0 = ObsSpace::image(4, 5, 2));
    let mut one_image = Toy::mixed();
    one_image.agents[1].0 = ObsSpace::image(3, 3, 1);
    all.push(("a mixed team".into(), Toy::mixed()));
    all.push(("images".into(), images));
    all.push(("an image among vectors".into(), one_image));
    all.push((
        "a mixed, mortal, faulty FP team with own rewards".into(),
        Toy { fp: true, own: true, deaths: true, faults: true, ..Toy::mixed() },
    ));
    all
}

#[test]
fn on_every_task() {
    let tasks = tasks();
    assert!(tasks.len() >= 6 + 2 * (12 + 21));
    let algorithms = Registry::builtin().iter().count();
    let (ran, refused) = all_pairs(&tasks, &["?net.share=none"]);
    assert_eq!(ran + refused.len(), algorithms * tasks.len());
    // The tasks at hand are what these algorithms are for: whatever is refused is so for continuous actions, for robots' two choices
    // at once, or for too many joint ones.
    // REINFORCE wants rollouts as long as episodes.
    let words = ["continuous=true", "bilinear", "vmas/", "pareto-ac on ", "reinforce on ", "had3qn on "];
    assert!(refused.iter().all(|r| words.iter().any(|word| r.contains(word))), "{refused:?}");
    assert!(!refused.iter().any(|r| r.starts_with("pareto-ac on mpe/simple_spread_v3 [\"continuous=false")), "{refused:?}");
    assert!(["happo", "mappo", "ippo"].iter().all(|a| refused.iter().all(|r| !r.starts_with(a))), "{refused:?}");
}

#[test]
fn on_every_kind_of_agent() {
    let kinds: Vec<(String, MakeEnv)> = kinds().into_iter().map(|(name, toy)| (name, toy.make())).collect();
    for net in ["?net.recurrent=false", "?net.recurrent=true"] {
        for distribution in ["gaussian", "tanh_gaussian"] {
            let distribution = format!("?net.distribution={distribution}");
            let (ran, refused) = all_pairs(&kinds, &["?net.share=none", net, &distribution]);
            assert!(ran >= 3 * kinds.len(), "{net} {distribution}: {refused:?}");
            assert!(["happo", "mappo", "ippo"].iter().all(|a| refused.iter().all(|r| !r.starts_with(a))), "{refused:?}");
        }
    }
}

#[test]
fn other_ways_of_learning_are_finite_too() {
    let kinds: Vec<(String, MakeEnv)> = kinds().into_iter().take(4).map(|(name, toy)| (name, toy.make())).collect();
    for overrides in [
        ["?net.share=none", "?algo.value_norm=popart", "?algo.truncation=harl"],
        ["?net.share=none", "?algo.value_norm=none", "?algo.truncation=terminal"],
        ["?net.share=none", "?algo.value_loss=squared", "?algo.value_norm_start=harl"],
        ["?net.share=none", "?net.feature_norm=false", "?net.layer_norm=false"],
        ["?net.share=none", "?net.activation=tanh", "?net.init=uniform"],
    ] {
        assert!(all_pairs(&kinds, &overrides).0 >= 12);
    }
}

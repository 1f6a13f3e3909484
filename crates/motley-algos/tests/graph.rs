//! Agents that hear each other: what only a neighbour knows is learned with messages and not without.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::Bench;
use common::whisper::Whisper;
use motley_core::ConfigError;
use motley_nn::{Mode, Pool};
use motley_train::MakeEnv;
use motley_train::evaluate::{EvalPlan, EvalSummary, evaluate};

fn score(algo: &str, overrides: &[&str]) -> f64 {
    let common = [
        "net.hidden_sizes=[16]",
        "?net.message_width=16",
        "algo.rollout_steps=20",
        "algo.lr=0.01",
        "?algo.critic_lr=0.01",
        "?algo.ppo_epochs=4",
        "?algo.kl_coef=0",
    ];
    let mut bench = Bench::try_new(algo, Whisper::make(), &[&common[..], overrides].concat(), 20, 1, 2).unwrap();
    bench.iterate(60);
    let plan = EvalPlan { seed: 99, round: 0, episodes: 200, mode: Mode::Greedy };
    EvalSummary::of(&evaluate(&bench.algorithm.policy(), &Whisper::make(), &Pool::serial(), plan).unwrap()).return_mean
}

/// Guessing earns 1.5 of 3 in the mean.
#[test]
fn what_a_neighbour_knows_is_learned_with_messages_only() {
    for (algo, overrides) in [
        ("hetgppo", &[][..]),
        ("hetgppo", &["net.graph=ring", "algo.start_equal=false"]),
        ("gppo", &["net.graph=0-1,1-2,2-0"]),
        ("gppo", &["net.graph=radius", "net.radius=2.5"]),
        ("hetgppo", &["net.recurrent=true", "net.chunk_length=5", "algo.rollout_steps=60"]),
        ("happo", &["net.trunk=gnn", "net.share=none"]),
        // One network for policy and value, apart and together; a clipped value loss.
        ("hetgppo", &["algo.shared_critic=true"]),
        ("gppo", &["algo.shared_critic=true", "algo.value_loss=huber", "algo.value_clip=0.5", "algo.value_coef=2"]),
        // GAPPO: messages, and values of the state for each agent.
        ("hetgppo", &["algo.critic=state"]),
        // CPPO: one actor for all reads everything.
        ("gppo", &["algo.actor=central", "algo.critic=state", "net.trunk=mlp"]),
        ("gppo", &["algo.actor=central", "net.trunk=mlp", "net.recurrent=true", "net.chunk_length=5", "algo.rollout_steps=60"]),
    ] {
        let heard = score(algo, overrides);
        assert!(heard > 2.7, "{algo} {overrides:?}: {heard}");
    }
    for overrides in [&["net.trunk=mlp"][..], &["net.graph=radius", "net.radius=0.5"]] {
        let deaf = score("hetgppo", overrides);
        assert!(deaf < 2.1, "{overrides:?}: {deaf}");
    }
}

/// Values of actions, and actors that climb a critic through replayed moments, hear too. The deaf earn 1.5 of 3 whatever they do, with a
/// deviation of 0.06 over these episodes: the bounds are far from chance, not the best that can be learned.
#[test]
fn learners_from_replay_hear_too() {
    let short = ["algo.buffer_episodes=2000", "algo.episode_limit=2"];
    let values = ["algo.updates=8", "algo.epsilon_steps=10000", "algo.target_update=20", "net.recurrent=false"];
    let values = [&short[..], &values].concat();
    let climbs = ["algo.warmup_steps=400", "algo.batch_size=64", "algo.updates_per_step=0.7", "algo.buffer_size=20000"];
    let learners = [
        ("iql", &values[..]),
        ("vdn", &values),
        ("qmix", &values),
        ("qtran", &values),
        ("haddpg", &climbs),
        ("hatd3", &climbs),
        ("hasac", &climbs),
        ("maddpg", &climbs),
        ("matd3", &climbs),
    ];
    let scores =
        learners.map(|(algo, overrides)| (algo, score(algo, &[overrides, &["net.trunk=gnn", "net.share=none"]].concat())));
    assert!(scores.iter().all(|(_, heard)| *heard > 2.2), "{scores:?}");
    for (algo, overrides) in [("vdn", &values[..]), ("haddpg", &climbs)] {
        let deaf = score(algo, &[overrides, &["net.share=none"]].concat());
        assert!(deaf < 1.8, "{algo}: {deaf}");
    }
}

/// The state of the team tells what neighbours know, but only actors act: a critic on the state is no message.
#[test]
fn a_critic_on_the_state_needs_no_graph_and_gives_none() {
    for reward in ["own", "sum"] {
        let found = score("gppo", &["algo.critic=state", "net.trunk=mlp", &format!("task.reward={reward}")]);
        assert!(found < 2.1, "{reward}: {found}");
    }
}

const SMALL: [&str; 12] = [
    "net.hidden_sizes=[8]",
    "net.message_width=8",
    "algo.rollout_steps=10",
    "?algo.minibatches=3",
    "?algo.warmup_steps=20",
    "?algo.batch_size=16",
    "?algo.updates_per_step=0.2",
    "?algo.updates=1",
    "?algo.batch_episodes=4",
    "?algo.buffer_episodes=100",
    "?algo.buffer_size=1000",
    "?algo.episode_limit=2",
];
/// The members of the family that the registry's defaults do not name, and others that hear.
const FAMILY: [(&str, &[&str]); 7] = [
    ("hetgppo", &["net.trunk=gnn"]),
    ("hetgppo", &["algo.shared_critic=true"]),
    ("hetgppo", &["algo.critic=state"]),
    ("hetgppo", &["algo.actor=central", "net.trunk=mlp", "algo.critic=state"]),
    ("iql", &["net.trunk=gnn", "net.graph=ring", "algo.fingerprint=true"]),
    ("qtran", &["net.trunk=gnn", "net.recurrent=false"]),
    ("hasac", &["net.trunk=gnn", "net.share=all", "net.agent_id=true"]),
];

#[test]
fn thread_counts_do_not_matter() {
    for (algo, member) in FAMILY {
        let run = |threads| {
            let mut bench = Bench::try_new(algo, Whisper::make(), &[&SMALL[..], member].concat(), 6, 1, threads).unwrap();
            bench.iterate(3);
            bench.params()
        };
        assert_eq!(run(1), run(3), "{algo} {member:?}");
    }
}

/// Fused kernels and Burn's autodiff take the same steps.
#[test]
fn both_engines_train_every_member_alike() {
    for (algo, member) in FAMILY {
        let run = |device: &str| {
            let overrides = [&SMALL[..], member, &[device, "algo.max_grad_norm=1000"]].concat();
            let mut bench = Bench::try_new(algo, Whisper::make(), &overrides, 6, 1, 1).unwrap();
            bench.iterate(1);
            bench.params()
        };
        let (fused, burn) = (run("device=cpu"), run("device=flex"));
        let worst = fused.iter().zip(&burn).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(fused.len() == burn.len() && worst < 1e-4, "{algo} {member:?}: {worst}");
    }
}

/// Two learners of one seed agree before and after a checkpoint of the one is read by another.
#[test]
fn members_of_the_family_go_on_from_a_checkpoint() {
    for (algo, member) in FAMILY {
        let make = |seed| Bench::try_new(algo, Whisper::make(), &[&SMALL[..], member].concat(), 6, seed, 1).unwrap();
        let (mut one, mut other) = (make(1), make(2));
        one.iterate(2);
        other.algorithm.load(&one.saved()).unwrap();
        other.seed = one.seed;
        one.collect();
        other.field.roll = one.field.roll.clone();
        one.update();
        other.skip_updates(2);
        other.update();
        assert!(one.bytes() == other.bytes(), "{algo} {member:?}");
    }
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    for (overrides, word) in [
        (&["algo.actor=central"][..], "net.trunk"),
        (&["algo.actor=central", "net.trunk=mlp", "algo.shared_critic=true"], "algo.shared_critic"),
        (&["algo.shared_critic=true", "algo.critic=state"], "algo.shared_critic"),
        (&["algo.shared_critic=true", "net.recurrent=true"], "algo.shared_critic"),
        (&["algo.shared_critic=true", "algo.value_norm=running"], "algo.value_norm"),
        (&["algo.shared_critic=true", "algo.target_update=1"], "algo.target_update"),
    ] {
        let refused = Bench::try_new("gppo", Whisper::make(), overrides, 2, 1, 1).err().unwrap().to_string();
        assert!(refused.contains(word), "{overrides:?}: {refused}");
    }
}

#[test]
fn teams_without_positions_are_refused_before_anything_is_built() {
    let make: MakeEnv = Arc::new(|| motley_envs::Registry::builtin().make("matrix/climbing", &[]));
    let refused = Bench::try_new("gppo", make, &[], 2, 1, 1).err().unwrap();
    assert!(matches!(refused, ConfigError::Incompatible { .. }) && refused.to_string().contains("positions"), "{refused}");
    for algo in ["vdn", "maddpg"] {
        let make: MakeEnv = Arc::new(|| motley_envs::Registry::builtin().make("matrix/climbing", &[]));
        let refused = Bench::try_new(algo, make, &["net.trunk=gnn"], 2, 1, 1).err().unwrap();
        assert!(matches!(refused, ConfigError::Incompatible { .. }) && refused.to_string().contains("positions"), "{refused}");
    }
    let wrong = Bench::try_new("gppo", Whisper::make(), &["net.graph=0-9"], 2, 1, 1).err().unwrap().to_string();
    assert!(wrong.contains("0-9") && wrong.contains("net.graph"), "{wrong}");
}

//! Who shares parameters with whom, and which rewards can be learned from.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Bench, SMALL, Toy};
use motley_algos::Registry;
use motley_core::{ActionSpace, ConfigError};
use motley_train::MakeEnv;
use std::sync::Arc;

/// Three agents alike in their spaces.
fn alike() -> Toy {
    let mut toy = Toy::new(&[ActionSpace::Discrete(3), ActionSpace::Discrete(3), ActionSpace::Discrete(3)]);
    toy.agents.iter_mut().for_each(|a| a.0.shape = vec![4]);
    toy
}

fn learned(algo: &str, toy: &Toy, overrides: &[&str]) -> Vec<u8> {
    let mut bench = Bench::toy(algo, toy, overrides);
    bench.iterate(3);
    bench.bytes()
}

fn task(name: &'static str) -> MakeEnv {
    Arc::new(move || motley_envs::Registry::builtin().make(name, &[]))
}

fn refusal(algo: &str, make: MakeEnv, overrides: &[&str]) -> ConfigError {
    match Bench::try_new(algo, make, &[&SMALL[..], overrides].concat(), 2, 0, 1) {
        Ok(_) => panic!("{algo} took {overrides:?}"),
        Err(error) => error,
    }
}

#[test]
fn one_group_is_mappo() {
    for id in ["net.agent_id=false", "net.agent_id=true"] {
        let happo = learned("happo", &alike(), &["net.share=all", id]);
        assert!(happo == learned("mappo", &alike(), &["net.share=all", id]));
        assert!(happo != learned("mappo", &alike(), &["net.share=none", id]));
    }
}

/// One agent that sees the whole state: PPO three times.
#[test]
fn a_team_of_one_knows_no_difference() {
    let learned = |algo: &str| {
        let mut bench = Bench::try_new(algo, task("mpe/simple_v3"), &SMALL, 3, 1, 1).unwrap();
        bench.iterate(3);
        bench.params()
    };
    let happo = learned("happo");
    assert_eq!(happo, learned("mappo"));
    assert_eq!(happo, learned("ippo"));
}

#[test]
fn explicit_groups_say_the_same_as_words() {
    let list = |groups: &str| format!("net.share={groups}");
    let one_each = list(r#"[["agent_0"], ["agent_1"], ["agent_2"]]"#);
    let all = list(r#"[["agent_2", "agent_0", "agent_1"]]"#);
    let pair = list(r#"[["agent_0", "agent_2"], ["agent_1"]]"#);
    for algo in ["happo", "mappo", "ippo"] {
        assert!(learned(algo, &alike(), &[&one_each]) == learned(algo, &alike(), &["net.share=none"]), "{algo}");
        assert!(learned(algo, &alike(), &[&all]) == learned(algo, &alike(), &["net.share=all"]), "{algo}");
        let paired = Bench::toy(algo, &alike(), &[&pair]);
        assert_eq!(
            paired.algorithm.policy().groups().iter().map(|g| g.members.clone()).collect::<Vec<_>>(),
            [vec![0, 2], vec![1]]
        );
        assert!(learned(algo, &alike(), &[&pair]) != learned(algo, &alike(), &["net.share=all"]), "{algo}");
    }
}

#[test]
fn sharing_by_kind_leaves_a_speaker_and_a_listener_apart() {
    for spec in Registry::builtin().iter() {
        // A whole episode, without which REINFORCE learns nothing.
        let overrides = [&SMALL[..], &["?net.share=type", "?algo.rollout_steps=25"]].concat();
        let mut bench = Bench::try_new(spec.name(), task("mpe/simple_speaker_listener_v4"), &overrides, 2, 0, 1)
            .unwrap_or_else(|e| panic!("{}: {e}", spec.name()));
        let before = bench.params();
        bench.iterate(2);
        assert_ne!(bench.params(), before, "{}", spec.name());
        // Unified action spaces are there for one network.
        let networks = if bench.algorithm.policy().lift().is_some() { 1 } else { 2 };
        assert_eq!(bench.algorithm.policy().groups().len(), networks, "{}", spec.name());
    }
    let two_kinds = Bench::try_new("mappo", task("mpe/simple_tag_v3"), &SMALL, 2, 0, 1).unwrap();
    assert_eq!(two_kinds.algorithm.policy().groups().iter().map(|g| g.members.len()).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn unlike_agents_in_one_group_are_refused_by_name() {
    let explicit = r#"net.share=[["speaker_0", "listener_0"]]"#;
    for algo in ["happo", "mappo", "ippo"] {
        for share in ["net.share=all", explicit] {
            let text = refusal(algo, task("mpe/simple_speaker_listener_v4"), &[share]).to_string();
            assert!(text.contains("\"speaker_0\"") && text.contains("\"listener_0\"") && text.contains("net.share"), "{text}");
            assert!(text.contains("Discrete(3)") && text.contains("Discrete(5)"), "{text}");
        }
        let stranger = refusal(algo, alike().make(), &[r#"net.share=[["agent_0", "agent_9"]]"#]).to_string();
        assert!(stranger.contains("agent_9"), "{stranger}");
    }
}

#[test]
fn own_rewards_need_a_value_per_agent() {
    let paid_apart = Toy { own: true, ..Toy::mixed() };
    for algo in ["happo", "mappo"] {
        let text = refusal(algo, paid_apart.make(), &["task.reward=own"]).to_string();
        assert!(text.contains("task.reward=own") && text.contains("sum or mean"), "{text}");
        assert!(refusal(algo, paid_apart.make(), &["task.reward=common"]).to_string().contains("task.reward"));
        let own = learned(algo, &Toy { fp: true, ..paid_apart.clone() }, &["net.share=none", "task.reward=own"]);
        let sum = learned(algo, &Toy { fp: true, ..paid_apart.clone() }, &["net.share=none", "task.reward=sum"]);
        assert!(own != sum, "{algo}: the rewards make no difference");
    }
    // Independent learners have one each, and are paid by themselves unless told otherwise.
    assert!(learned("ippo", &paid_apart, &[]) == learned("ippo", &paid_apart, &["task.reward=own"]));
    assert!(learned("ippo", &paid_apart, &[]) != learned("ippo", &paid_apart, &["task.reward=mean"]));
}

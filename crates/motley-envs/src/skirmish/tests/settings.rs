//! Settings that do not go together, and what the team says of its actions under others.

use super::*;

#[test]
fn smaclite_never_takes_the_teams_own_losses_off() {
    let registry = Registry::builtin();
    let text = registry.make("skirmish/3m", &["profile=smaclite", "reward_negative=true"]).err().unwrap().to_string();
    assert!(text.contains("task.profile=smaclite") && text.contains("task.reward_negative=true"), "{text}");
    for alone in ["profile=smaclite", "reward_negative=true"] {
        assert!(registry.make("skirmish/3m", &[alone]).is_ok(), "{alone}");
    }
}

/// Kinds of a drawn team are not known before an episode. With slots in blocks of their own they need not be.
#[test]
fn slots_in_blocks_mean_the_same_whatever_an_agent_is() {
    let registry = Registry::builtin();
    for (name, settings, [own, foes, allies]) in [
        ("skirmish/terran_5_vs_5", &["actions=unified"][..], [6, 5, 5]),
        ("skirmish/zerg_10_vs_11", &["actions=unified", "field_of_view=true"], [18, 11, 10]),
    ] {
        let env = registry.make(name, settings).unwrap();
        let own = (0..own).map(ActionMeaning::Own);
        let others = (0..foes).map(ActionMeaning::Enemy).chain((0..allies).map(ActionMeaning::Ally));
        let said: Vec<ActionMeaning> = own.chain(others).collect();
        assert!(env.spec().agents.iter().all(|agent| agent.meaning == said), "{name}");
        let space = UnifiedSpace::new(env.spec()).unwrap();
        let names: Vec<&str> = space.blocks.iter().map(|block| block.name.as_str()).collect();
        assert_eq!((names, space.masks.len()), (vec!["own", "enemies", "allies"], 1), "{name}");
        assert!((0..space.len()).all(|u| space.to_env(0, u) == Some(u)), "{name}: the task's numbers are the unified ones");
    }
    let smac = registry.make("skirmish/terran_5_vs_5", &[]).unwrap();
    assert!(smac.spec().agents.iter().all(|agent| agent.meaning.is_empty()), "a slot is a foe, or a medivac's friend");
}

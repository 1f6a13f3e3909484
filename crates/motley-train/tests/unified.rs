//! Policies on unified action spaces go into a bundle and come back, and a bundle that numbers actions otherwise is refused.
#![allow(clippy::unwrap_used)]

use motley_core::{Purpose, Stream, TeamSpec};
use motley_nn::{ActScratch, Decision, Mode, ObsBatch, Policy, TeamPolicy};
use motley_train::bundle::{from_bundle, to_bundle};
use motley_train::{Registry, Request};
use serde_json::Value;

fn policy(algo: &str, overrides: &[&str]) -> TeamPolicy {
    let overrides = overrides.iter().map(|o| (*o).to_owned()).collect();
    let request = Request { algo: algo.into(), task: "mpe/simple_speaker_listener_v4".into(), overrides, ..Request::default() };
    let plan = request.plan(&Registry::builtin()).unwrap();
    plan.algorithm.build(&plan.team, &plan.settings, &Stream::new(3, Purpose::Init, 0, 0)).unwrap().policy()
}

/// Three steps of five environments on made-up observations: actions, log-probabilities, memory.
fn play(policy: &TeamPolicy) -> (Vec<Decision>, Vec<f32>) {
    const ENVS: usize = 5;
    let team = policy.team();
    let mut rng = Stream::new(4, Purpose::Check, 0, 0);
    let (mut memory, mut scratch, mut all) = (vec![0.0; ENVS * policy.memory_len()], ActScratch::default(), Vec::new());
    for step in 0..3 {
        let obs: Vec<f32> = (0..ENVS * team.obs_len()).map(|_| rng.normal() as f32).collect();
        let avail: Vec<bool> = (0..ENVS * team.mask_len()).map(|k| k % team.mask_len() != step).collect();
        let streams: Vec<Stream> = (0..ENVS).map(|e| Stream::new(5, Purpose::Act, e as u64, step as u64)).collect();
        let (mut decision, batch) = (Decision::default(), ObsBatch { envs: ENVS, obs: &obs, avail: &avail });
        policy.act(batch, &mut memory, Mode::Sample, &streams, &mut decision, &mut scratch).unwrap();
        for e in 0..ENVS {
            for i in 0..team.n() {
                let action = decision.env[e * team.action_len()..][team.action_range(i)][0] as usize;
                assert!(avail[e * team.mask_len()..][team.mask_range(i)][action], "agent {i} took {action}");
            }
        }
        assert_eq!(decision.raw, decision.env);
        all.push(decision);
    }
    (all, memory)
}

#[test]
fn a_policy_comes_back_from_its_bundle() {
    for algo in ["u-mappo", "u-qmix"] {
        let policy = policy(algo, &["preset=none", "net.recurrent=true", "net.hidden_sizes=[12]"]);
        let bundle = to_bundle(&policy, algo, &toml::Table::new(), 7, 1.5).unwrap();
        let (info, back) = from_bundle(&bundle).unwrap();
        assert_eq!((info.algo.as_str(), back.team(), back.memory_len()), (algo, policy.team(), policy.memory_len()));
        assert_eq!(play(&back), play(&policy), "{algo}");
    }
}

#[test]
fn a_bundle_that_numbers_actions_otherwise_is_refused() {
    let policy = policy("u-mappo", &["preset=none", "net.hidden_sizes=[12]"]);
    let good = to_bundle(&policy, "u-mappo", &toml::Table::new(), 7, 1.5).unwrap();
    let words =
        [("/unified/from_env/0/1", Value::from(4)), ("/unified/observed", Value::from(1000)), ("/unified/kinds", Value::from(0))];
    for (place, value) in words {
        let mut bad = good.clone();
        let mut fields = Value::Object(bad.policy.clone());
        *fields.pointer_mut(place).unwrap() = value;
        bad.policy = fields.as_object().unwrap().clone();
        let text = from_bundle(&bad).unwrap_err().to_string();
        assert!(text.contains("unified actions are not those of its team"), "{place}: {text}");
    }
    // Without the way there, networks of the unified team fit no agent.
    let mut bare = good.clone();
    bare.policy.remove("unified");
    assert!(from_bundle(&bare).unwrap_err().to_string().contains("does not fit"), "a network of the unified team");
}

/// Where a task says nothing of what actions mean, and all agents are of one kind, whoever trains is told so, and what to set.
#[test]
fn a_team_with_nothing_to_unify_is_told_of() {
    let plan = |algo: &str, task: &str, overrides: &[&str]| {
        let overrides = [&["preset=none"][..], overrides].concat().iter().map(|o| (*o).to_owned()).collect();
        let request = Request { algo: algo.into(), task: task.into(), overrides, ..Request::default() };
        request.plan_anywhere(&Registry::builtin()).unwrap().0
    };
    let caveat = |algo: &str, task: &str, overrides: &[&str]| {
        let plan = plan(algo, task, overrides);
        plan.algorithm.caveat(&plan.team, &plan.settings)
    };
    let drawn = "skirmish/terran_5_vs_5";
    for (algo, parent) in [("u-mappo", "mappo"), ("u-qmix", "qmix")] {
        let text = caveat(algo, drawn, &[]).unwrap();
        for said in [drawn, algo, parent, "net.share=all", "task.actions=unified"] {
            assert!(text.contains(said), "{algo}: no {said} in {text}");
        }
        assert_eq!(caveat(algo, drawn, &["task.actions=unified"]), None, "{algo}");
        assert_eq!(caveat(parent, drawn, &[]), None, "{parent}");
        // Kinds whose actions differ; one kind, of which the task says what its actions mean.
        for task in ["skirmish/MMM", "skirmish/3m", "mpe/simple_spread_v3"] {
            assert_eq!(caveat(algo, task, &[]), None, "{algo} on {task}");
        }
        // A task that does not say it, and has no setting with which it would.
        let plan = plan(algo, "mpe/simple_spread_v3", &[]);
        let mut team = TeamSpec::clone(&plan.team);
        team.agents.iter_mut().for_each(|agent| agent.meaning.clear());
        let text = plan.algorithm.caveat(&team, &plan.settings).unwrap();
        assert!(text.contains("AgentSpec::meaning") && !text.contains("task.actions"), "{algo}: {text}");
    }
}

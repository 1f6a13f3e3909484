//! Bundles come from strangers: whatever `policy.json` says is a policy that acts or an error, and takes no more than its tensors do.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use motley_core::{Purpose, Stream};
use motley_nn::{ActScratch, Decision, Mode, ObsBatch, Policy, Pool, TeamPolicy};
use motley_run::{Bundle, RealDisk, read_bundle};
use motley_train::bundle::{from_bundle, to_bundle};
use motley_train::{EvalPlan, Registry, Request, evaluate};
use serde_json::{Value, json};

const SMALL: [&str; 2] = ["preset=none", "net.hidden_sizes=[6]"];

/// An untrained policy of a small network.
fn bundle(algo: &str, task: &str, words: &[&str]) -> Bundle {
    let overrides = SMALL.iter().chain(words).map(|o| (*o).to_owned()).collect();
    let request = Request { algo: algo.into(), task: task.into(), overrides, ..Request::default() };
    let (plan, _) = request.plan_anywhere(&Registry::builtin()).unwrap();
    let policy = plan.algorithm.build(&plan.team, &plan.settings, &Stream::new(3, Purpose::Init, 0, 0)).unwrap().policy();
    to_bundle(&policy, algo, &toml::Table::new(), 7, 1.5).unwrap()
}

/// Memory, a graph, a message, boxes with noise, one for all, unified actions.
fn all() -> Vec<Bundle> {
    vec![
        bundle("happo", "mpe/simple_spread_v3", &["net.recurrent=true", "net.share=all", "net.agent_id=true"]),
        bundle("hetgppo", "vmas/give_way", &[]),
        bundle("hatrpo", "mpe/simple_reference_v3", &[]),
        bundle("haddpg", "mpe/simple_spread_v3", &["task.continuous=true"]),
        bundle("gppo", "mpe/simple_spread_v3", &["algo.actor=central", "algo.critic=state", "net.trunk=mlp"]),
        bundle("u-qmix", "mpe/simple_speaker_listener_v4", &["net.recurrent=true", "net.last_action=true"]),
    ]
}

fn with(good: &Bundle, place: &str, value: Value) -> Bundle {
    let mut fields = Value::Object(good.policy.clone());
    *fields.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value;
    Bundle { policy: fields.as_object().unwrap().clone(), tensors: good.tensors.clone() }
}

fn refused(bad: &Bundle) -> String {
    from_bundle(bad).err().unwrap().to_string()
}

/// A step of two environments in which everything observed is 0 and everything is available.
fn act(policy: &TeamPolicy, mode: Mode) {
    let (team, envs) = (policy.team(), 2);
    let (obs, avail) = (vec![0.0; envs * team.obs_len()], vec![true; envs * team.mask_len()]);
    let mut memory = vec![0.0; envs * policy.memory_len()];
    let streams = vec![Stream::new(5, Purpose::Act, 0, 0); envs];
    let (mut decision, batch) = (Decision::default(), ObsBatch { envs, obs: &obs, avail: &avail });
    policy.act(batch, &mut memory, mode, &streams, &mut decision, &mut ActScratch::default()).unwrap();
    assert_eq!(decision.env.len(), envs * team.action_len());
}

/// Every value in a document, by its place.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, v)| places(v, &format!("{at}/{name}"), into)),
        Value::Array(items) => items.iter().enumerate().for_each(|(k, v)| places(v, &format!("{at}/{k}"), into)),
        _ => {}
    }
}

/// Every value of `policy.json`, replaced by each of many others, by its neighbours' too.
#[test]
fn any_policy_json_is_an_answer() {
    let huge = [65_536_u64, 1 << 32, 1 << 53, u64::MAX];
    let numbers =
        [-1.0, 0.5, 1e300].into_iter().map(Value::from).chain([0_u64, 1, 2, 3, 5, 7].into_iter().chain(huge).map(Value::from));
    let shapes = [json!(null), json!(true), json!("x"), json!("Full"), json!([]), json!({}), json!([0]), json!([65_536, 65_536])];
    let more = [
        json!([1_u64 << 31, 1_u64 << 31, 1_u64 << 31]),
        json!([2, 9, 3]),
        json!({"start": 5, "end": 7}),
        json!({"start": 7, "end": 5}),
    ];
    let enums = [json!({"Discrete": 0}), json!({"MultiDiscrete": [u64::MAX, 2]}), json!({"Categorical": [u64::MAX, 2]})];
    let values: Vec<Value> = numbers.chain(shapes).chain(more).chain(enums).collect();
    let (mut taken, mut refused) = (0, 0);
    for good in all() {
        let mut found = Vec::new();
        places(&Value::Object(good.policy.clone()), "", &mut found);
        for place in found.iter().filter(|p| !p.is_empty() && !p.starts_with("/config")) {
            for value in &values {
                match from_bundle(&with(&good, place, value.clone())) {
                    Err(_) => refused += 1,
                    Ok((_, policy)) => {
                        [Mode::Explore, Mode::Sample, Mode::Greedy].into_iter().for_each(|mode| act(&policy, mode));
                        taken += 1;
                    }
                }
            }
        }
    }
    assert!(taken > 500 && refused > 10_000, "{taken} taken, {refused} refused");
}

/// Where numbers of a team lie follows from its agents, whatever a file adds: bundles of before have it, and those made now do not.
#[test]
fn offsets_are_computed_and_not_believed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundles/spread-happo");
    let old = read_bundle(&RealDisk, &path).unwrap();
    assert!(old.policy["team"].get("obs_at").is_some(), "a bundle of before");
    let (_, policy) = from_bundle(&old).unwrap();
    for offsets in ["obs_at", "action_at", "mask_at"] {
        let (_, same) = from_bundle(&with(&old, &format!("/team/{offsets}"), json!([]))).unwrap();
        assert_eq!(same.team(), policy.team());
    }
    let new = to_bundle(&policy, "happo", &toml::Table::new(), 7, 1.5).unwrap();
    assert!(["obs_at", "action_at", "mask_at"].iter().all(|name| new.policy["team"].get(name).is_none()));
    assert_eq!(from_bundle(&new).unwrap().1.team(), policy.team());
    act(&policy, Mode::Greedy);
}

#[test]
fn teams_that_no_task_makes_are_refused() {
    let good = bundle("haddpg", "mpe/simple_spread_v3", &["task.continuous=true"]);
    assert!(refused(&with(&good, "/team/agents", json!([]))).contains("no agents"));
    let graph = bundle("hetgppo", "vmas/give_way", &[]);
    assert!(refused(&with(&graph, "/team/agents", json!([]))).contains("no agents"));
    assert!(refused(&with(&graph, "/team/agents/0/position/end", json!(1000))).contains("outside of its observation"));
    assert!(refused(&with(&good, "/team/agents/0/obs/shape", json!([1_u64 << 40, 1_u64 << 40]))).contains("observations"));
    assert!(refused(&with(&good, "/team/state", json!({"Fp": u64::MAX}))).contains("states"));
    assert!(refused(&with(&good, "/team/agents/1/action", json!({"Discrete": 0}))).contains("agent \"agent_1\""));
    let upside = json!({"Box": {"low": vec![1.0; 5], "high": vec![-1.0; 5]}});
    assert!(refused(&with(&good, "/team/agents/1/action", upside)).contains("the lower one first"));
    assert!(refused(&with(&good, "/team/agents/1/name", json!("agent_0"))).contains("two agents are called \"agent_0\""));
}

/// What is not finite plays as if it were sound: it is refused where it is read and where it is written, and found where it plays.
#[test]
fn weights_that_mean_nothing_are_refused() {
    let good = bundle("happo", "matrix/climbing", &["net.share=none"]);
    let at = good.tensors.iter().position(|t| t.values.len() > 2).unwrap();
    for (value, told) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let mut bad = good.clone();
        bad.tensors[at].values[2] = value;
        let expected = format!("tensor \"{}\", entry 2: expected a finite number, found {told}", good.tensors[at].name);
        let text = refused(&bad);
        assert!(text.contains(&expected), "{text}");
    }
    let (_, policy) = from_bundle(&good).unwrap();
    let spoilt = |value: f32| {
        let mut groups = policy.groups().to_vec();
        let last = groups[1].net.entry("output.bias").unwrap().range();
        groups[1].net.set_params(|p| p[last].fill(value));
        policy.with_groups(groups)
    };
    let text = to_bundle(&spoilt(f32::NAN), "happo", &toml::Table::new(), 7, 1.5).err().unwrap().to_string();
    assert!(text.contains("\"actor.1.output.bias\", entry 0: expected a finite number, found NaN"), "{text}");
    let registry = Registry::builtin();
    let request = Request { algo: "happo".into(), task: "matrix/climbing".into(), ..Request::default() };
    let make = request.plan_anywhere(&registry).unwrap().0.make;
    let name = &policy.team().agents[1].name;
    for mode in [Mode::Greedy, Mode::Sample] {
        let plan = EvalPlan { seed: 0, round: 0, episodes: 2, mode };
        assert!(evaluate(&policy, &make, &Pool::serial(), plan).is_ok());
        for value in [f32::NAN, f32::INFINITY] {
            let text = evaluate(&spoilt(value), &make, &Pool::serial(), plan).unwrap_err().to_string();
            assert!(text.contains(&format!("the network of agent \"{name}\" puts out is not finite")), "{text}");
        }
    }
}

/// A head's bounds are those of the agent's box, which are in order.
#[test]
fn a_head_has_the_bounds_of_its_agent() {
    let good = bundle("haddpg", "mpe/simple_spread_v3", &["task.continuous=true"]);
    for bounds in ["low", "high"] {
        let place = format!("/groups/0/head/Deterministic/{bounds}/0");
        assert!(refused(&with(&good, &place, json!(0.5))).contains("does not fit agent"), "{bounds}");
    }
}

/// The tensors are asked for before a network is built: nothing grows with what a small file only claims.
#[test]
fn a_network_takes_no_more_than_its_tensors() {
    let good = bundle("happo", "mpe/simple_spread_v3", &[]);
    let text = refused(&with(&good, "/groups/0/net/hidden_sizes", json!([65_536, 65_536])));
    assert!(text.contains("\"actor.0.hidden.0.weight\": expected shape [18, 65536], found [18, 6]"), "{text}");
    let text = refused(&with(&good, "/groups/0/net/hidden_sizes", json!(vec![65_536; 64])));
    assert!(text.contains("hidden.0.weight"), "{text}");
    let text = refused(&with(&good, "/groups/0/memory_at/0", json!([1 << 29, 1 << 29])));
    assert!(text.contains("memory up to number 536870912"), "{text}");
    let mut short = good.clone();
    short.tensors[0].values.pop();
    assert!(refused(&short).contains(&format!("found {:?} with", short.tensors[0].shape)));
    short.tensors.remove(0);
    assert!(refused(&short).contains("is missing"));
}

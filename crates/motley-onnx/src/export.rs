//! Which files a policy is written as, and what each says of itself.

use std::collections::BTreeSet;

use motley_core::AgentSpec;
use motley_nn::TeamPolicy;
use motley_nn::policy::{ActingGroup, Policy};
use serde_json::{Map, Value as Json, json};
use thiserror::Error;

use crate::network::Drawing;

/// What goes wrong between a policy and a file that does the same.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OnnxError {
    /// A policy that cannot be written as a graph.
    #[error("the policy cannot be exported: {0}")]
    Unfit(String),
    /// A file that another program could not run.
    #[error("the graph of {agents} was written, but tract cannot run it: {why}; please report this")]
    Unrun {
        /// For whom it acts.
        agents: String,
        /// What tract said.
        why: String,
    },
    /// A file that does something else than the policy.
    #[error("{0}")]
    Differs(Box<Difference>),
}

/// Where a file and its policy part.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the graph of {agents} does not do what the policy does: its output \"{output}\" on random input {trial} is {found}, the \
     policy's {expected}, farther apart than {allowed}; please report this"
)]
pub struct Difference {
    /// For whom the file acts.
    pub agents: String,
    /// The output.
    pub output: String,
    /// Which of the random inputs.
    pub trial: usize,
    /// The policy's number, as text.
    pub expected: String,
    /// The file's.
    pub found: String,
    /// How far apart they may be.
    pub allowed: String,
}

/// A policy, or one distinct actor of it, as the bytes of an ONNX file.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The agents that it acts for.
    pub agents: Vec<String>,
    /// Whether it acts for all of them at once: names of inputs and outputs then end in the agent's.
    pub joint: bool,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Every distinct actor of a team: one a group, or one an agent where agents that share parameters are told apart by a one-hot; in a
/// unified space one for each kind, with the agents' own observations and actions outside. One file for the whole team where agents
/// hear each other or one network decides for all, and where `joint` asks for it.
///
/// # Errors
/// A network whose parameters are not where its description says, or agents of one name in a team's file.
pub fn export(policy: &TeamPolicy, algo: &str, joint: bool) -> Result<Vec<Exported>, OnnxError> {
    if joint || policy.is_central() || policy.groups().iter().any(|g| g.net.graph().is_some()) {
        return Ok(vec![team(policy, algo)?]);
    }
    let mut all = Vec::new();
    for group in policy.groups() {
        // Agents whose graphs are equal have one: they read the same behind their observations and choose in the same way.
        let mut like: Vec<Vec<usize>> = Vec::new();
        for m in 0..group.members.len() {
            match like.iter_mut().find(|members| alike(policy, group, members[0], m)) {
                Some(members) => members.push(m),
                None => like.push(vec![m]),
            }
        }
        for members in like {
            all.push(actor(policy, algo, group, &members)?);
        }
    }
    Ok(all)
}

fn alike(policy: &TeamPolicy, group: &ActingGroup, a: usize, b: usize) -> bool {
    if group.agent_id {
        return false;
    }
    let (a, b) = (group.members[a], group.members[b]);
    policy.lift().is_none_or(|lift| {
        let (plan, agents) = (lift.plan(), &lift.team().agents);
        let read = plan.kind_of_agent[a] == plan.kind_of_agent[b] && agents[a].obs.size() == agents[b].obs.size();
        read && plan.from_env[a] == plan.from_env[b]
    })
}

fn spaces(agent: &AgentSpec) -> Json {
    json!({ "observation": agent.obs, "action": agent.action })
}

/// One file for the members of a group that act alike.
fn actor(policy: &TeamPolicy, algo: &str, group: &ActingGroup, members: &[usize]) -> Result<Exported, OnnxError> {
    let deciders: Vec<usize> = members.iter().map(|&m| group.members[m]).collect();
    let mut drawing = Drawing::new(policy, false, &deciders[..1]);
    drawing.group(group, &members[..1])?;
    let agents = &policy.team().agents;
    let names = deciders.iter().map(|&i| agents[i].name.clone()).collect();
    Ok(finish(drawing, algo, names, spaces(&agents[deciders[0]])))
}

/// One file for all agents.
fn team(policy: &TeamPolicy, algo: &str) -> Result<Exported, OnnxError> {
    let agents = &policy.team().agents;
    let mut names = BTreeSet::new();
    if let Some(twice) = agents.iter().find(|a| !names.insert(a.name.as_str())) {
        return Err(OnnxError::Unfit(format!("two agents have the name \"{}\", which tells inputs apart", twice.name)));
    }
    let deciders: Vec<usize> = (0..policy.deciders().n()).collect();
    let mut drawing = Drawing::new(policy, true, &deciders);
    for group in policy.groups() {
        let members: Vec<usize> = (0..group.members.len()).collect();
        drawing.group(group, &members)?;
    }
    let all: Map<String, Json> = agents.iter().map(|a| (a.name.clone(), spaces(a))).collect();
    Ok(finish(drawing, algo, agents.iter().map(|a| a.name.clone()).collect(), Json::Object(all)))
}

fn finish(drawing: Drawing<'_>, algo: &str, agents: Vec<String>, spaces: Json) -> Exported {
    let Drawing { g, policy, joint, .. } = drawing;
    let normed = policy.groups().iter().any(|group| group.net.entry("input_norm.gamma").is_some());
    let properties = vec![
        ("algo", algo.to_owned()),
        ("agent_ids", json!(agents).to_string()),
        ("env_id", policy.team().task.clone()),
        ("scope", if joint { "team" } else { "actor" }.to_owned()),
        ("spaces", spaces.to_string()),
        ("obs_norm", if normed { "layer_norm" } else { "none" }.to_owned()),
        ("deterministic", "true".to_owned()),
    ];
    Exported { bytes: g.finish(&agents.join("+"), properties), agents, joint }
}

//! The policy bundle: everything needed to act, in two files that anything can read.

use std::collections::BTreeMap;
use std::sync::Arc;

use motley_core::unified::LiftPlan;
use motley_core::{ActionSpace, Lift, ObsSpace, TeamSpec};
use motley_nn::dist::Head;
use motley_nn::net::{Net, NetSpec};
use motley_nn::policy::ActingGroup;
use motley_nn::{Explore, Graph, Policy, TeamPolicy};
use motley_run::logs::nan_if_null;
use motley_run::{Bundle, NamedTensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

/// A bundle that does not describe a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the policy bundle cannot be used: {0}")]
pub struct BundleError(String);

/// What `policy.json` says beside format and hashes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// The algorithm that trained it.
    pub algo: String,
    /// The task, for `eval` and `render`.
    pub task: String,
    /// The resolved settings of the run.
    pub config: toml::Table,
    /// The team that it acts for.
    pub team: TeamSpec,
    /// Env steps of training.
    pub env_steps: u64,
    /// Mean return of the evaluation that chose it.
    #[serde(deserialize_with = "nan_if_null")]
    pub eval_return_mean: f64,
    /// Whether one network decides for the team as for one agent.
    #[serde(default)]
    central: bool,
    groups: Vec<GroupInfo>,
    /// Where the groups act in a unified space: how to get there and back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unified: Option<LiftPlan>,
    /// Of a task that runs code of its name's choosing: the mark of the user who trained it ([`crate::consent`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct GroupInfo {
    members: Vec<usize>,
    agent_id: bool,
    #[serde(default)]
    last_action: bool,
    #[serde(default)]
    constants: Vec<f32>,
    #[serde(default)]
    explore: Explore,
    memory_at: Vec<(usize, usize)>,
    head: Head,
    net: NetSpec,
    /// The communication graph whose rows the network reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    graph: Option<Graph>,
}

/// A policy as a bundle: tensors `actor.<group>.<layer>`, weights `[in, out]`.
///
/// # Errors
/// Weights that are not finite, settings that JSON cannot hold.
pub fn to_bundle(
    policy: &TeamPolicy,
    algo: &str,
    config: &toml::Table,
    env_steps: u64,
    eval_return_mean: f64,
) -> Result<Bundle, BundleError> {
    check_weights(policy).map_err(BundleError)?;
    let team = TeamSpec::clone(policy.team());
    let group = |g: &ActingGroup| GroupInfo {
        members: g.members.clone(),
        agent_id: g.agent_id,
        last_action: g.last_action,
        constants: g.constants.clone(),
        explore: g.explore,
        memory_at: g.memory_at.iter().map(|r| (r.start, r.end)).collect(),
        head: g.head.clone(),
        net: g.net.spec().clone(),
        graph: g.net.graph().map(|graph| Graph::clone(graph)),
    };
    let info = PolicyInfo {
        algo: algo.to_owned(),
        task: team.task.clone(),
        config: config.clone(),
        team,
        env_steps,
        eval_return_mean,
        central: policy.is_central(),
        groups: policy.groups().iter().map(group).collect(),
        unified: policy.lift().map(|lift| lift.plan().clone()),
        signed: None,
    };
    let fields = match serde_json::to_value(&info) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => Map::new(),
        Err(e) => return Err(BundleError(e.to_string())),
    };
    let mut tensors = Vec::new();
    for (g, group) in policy.groups().iter().enumerate() {
        tensors.extend(group.net.entries().iter().map(|e| NamedTensor {
            name: format!("actor.{g}.{}", e.name),
            shape: e.shape.clone(),
            values: group.net.params()[e.range()].to_vec(),
        }));
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Bundle { policy: fields, tensors })
}

/// Refuses weights that are not finite: what acts with them looks sound, and means nothing.
///
/// # Errors
/// The first such weight, by its tensor's name.
pub fn check_weights(policy: &TeamPolicy) -> Result<(), String> {
    for (g, group) in policy.groups().iter().enumerate() {
        for entry in group.net.entries() {
            check_finite(&format!("actor.{g}.{}", entry.name), &group.net.params()[entry.range()])?;
        }
    }
    Ok(())
}

fn check_finite(name: &str, values: &[f32]) -> Result<(), String> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(k) => Err(format!("tensor \"{name}\", entry {k}: expected a finite number, found {}", values[k])),
        None => Ok(()),
    }
}

/// The policy that a bundle holds.
///
/// # Errors
/// Fields that are missing or contradict each other, tensors that are missing, of another shape or not finite.
pub fn from_bundle(bundle: &Bundle) -> Result<(PolicyInfo, TeamPolicy), BundleError> {
    let info: PolicyInfo =
        serde_json::from_value(Value::Object(bundle.policy.clone())).map_err(|e| BundleError(format!("policy.json: {e}")))?;
    let lift = read_lift(&info)?;
    let one = if info.central { Some(info.team.as_one().map_err(BundleError)?) } else { None };
    let team = match (&lift, &one) {
        (Some(_), Some(_)) => {
            return Err(BundleError("it says both that one decides for all and that actions are unified".into()));
        }
        (Some(lift), None) => lift.unified(),
        (None, one) => one.as_ref().unwrap_or(&info.team),
    };
    let tensors: Tensors<'_> = bundle.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut acted = vec![false; team.n()];
    let mut groups = Vec::with_capacity(info.groups.len());
    for (g, group) in info.groups.iter().enumerate() {
        check_group(team, g, group, &mut acted)?;
        groups.push(ActingGroup {
            members: group.members.clone(),
            net: read_net(g, group, &tensors)?,
            head: group.head.clone(),
            agent_id: group.agent_id,
            last_action: group.last_action,
            constants: group.constants.clone(),
            memory_at: group.memory_at.iter().map(|(a, b)| *a..*b).collect(),
            explore: group.explore,
        });
    }
    if let Some(i) = acted.iter().position(|a| !a) {
        return Err(BundleError(format!("no group acts for agent \"{}\"", team.agents[i].name)));
    }
    let needed: usize = groups.iter().map(|g| g.members.len() * g.memory_width()).sum();
    if let Some(end) = groups.iter().flat_map(|g| &g.memory_at).map(|r| r.end).find(|end| *end > needed) {
        return Err(BundleError(format!("memory up to number {end} is named, and the groups together have {needed}")));
    }
    let own = Arc::new(info.team.clone());
    let policy = match (lift, one) {
        (Some(lift), _) => TeamPolicy::new(Arc::clone(lift.unified()), groups).lifted(Arc::new(lift)),
        (None, Some(one)) => TeamPolicy::central(own, Arc::new(one), groups),
        (None, None) => TeamPolicy::new(own, groups),
    };
    Ok((info, policy))
}

/// The tensors of a bundle by name.
type Tensors<'a> = BTreeMap<&'a str, &'a NamedTensor>;

/// The network of group `g`. What it is made of is looked up before any of it is built, so that it takes the memory that its tensors take.
fn read_net(g: usize, group: &GroupInfo, tensors: &Tensors<'_>) -> Result<Net, BundleError> {
    let mut params = Vec::new();
    for entry in Net::layout(&group.net, group.graph.as_ref()) {
        let name = format!("actor.{g}.{}", entry.name);
        let tensor = tensors.get(name.as_str()).ok_or_else(|| BundleError(format!("tensor \"{name}\" is missing")))?;
        if tensor.shape != entry.shape || tensor.values.len() != entry.len() {
            return Err(BundleError(format!(
                "tensor \"{name}\": expected shape {:?}, found {:?} with {} values",
                entry.shape,
                tensor.shape,
                tensor.values.len()
            )));
        }
        check_finite(&name, &tensor.values).map_err(BundleError)?;
        params.extend_from_slice(&tensor.values);
    }
    let mut net = Net::zeros(group.net.clone(), group.graph.clone().map(Arc::new));
    net.set_params(|p| p.copy_from_slice(&params));
    Ok(net)
}

/// The unified space is the team's own: what a file says of it has to be that.
fn read_lift(info: &PolicyInfo) -> Result<Option<Lift>, BundleError> {
    let Some(plan) = &info.unified else { return Ok(None) };
    let lift = Lift::new(&Arc::new(info.team.clone())).map_err(BundleError)?;
    if lift.plan() == plan { Ok(Some(lift)) } else { Err(BundleError("its unified actions are not those of its team".into())) }
}

/// Whether a distribution is one over this space, choice by choice and bound by bound.
fn head_fits(head: &Head, action: &ActionSpace) -> bool {
    match head {
        Head::Categorical(sizes) => !sizes.is_empty() && sizes == action.choices(),
        Head::Gaussian { low, high, .. } | Head::TanhGaussian { low, high } | Head::Deterministic { low, high } => {
            matches!(action, ActionSpace::Box { low: l, high: h } if l == low && h == high)
        }
    }
}

/// Numbers from a file are believed only after this: sizes bounded, indices in range, shapes that fit the team.
fn check_group(team: &TeamSpec, g: usize, group: &GroupInfo, acted: &mut [bool]) -> Result<(), BundleError> {
    const MAX_WIDTH: usize = 65_536;
    let wrong = |what: String| Err(BundleError(format!("group {g}: {what}")));
    let widths = group.net.hidden_sizes.iter().chain(&group.net.obs.shape).chain([&group.net.output, &group.net.extra]);
    if widths.clone().any(|w| *w > MAX_WIDTH) || group.net.hidden_sizes.len() > 64 {
        return wrong("a layer is too wide or there are too many".into());
    }
    if group.net.output == 0 || group.net.hidden_sizes.contains(&0) {
        return wrong("a layer is empty".into());
    }
    let sees = group.graph.is_some() || group.net.obs.is_image();
    if sees && (group.net.obs.size() == 0 || group.net.obs.is_image() && group.net.obs.shape[..2].iter().any(|side| *side < 3)) {
        return wrong("what it observes is smaller than its first layer takes".into());
    }
    if group.net.recurrent && group.net.hidden_sizes.is_empty() {
        return wrong("a recurrent network needs a hidden layer".into());
    }
    if group.graph.as_ref().is_some_and(|graph| !graph.fits(team)) {
        return wrong("its communication graph does not fit the team".into());
    }
    if group.members.is_empty() {
        return wrong("it acts for nobody".into());
    }
    for &i in &group.members {
        let Some(agent) = team.agents.get(i) else {
            return wrong(format!("agent {i} of {}", team.n()));
        };
        if std::mem::replace(&mut acted[i], true) {
            return wrong(format!("agent \"{}\" is acted for twice", agent.name));
        }
        let shown = group.graph.as_ref().map_or(agent.obs.clone(), |graph| ObsSpace::vector(graph.row_len()));
        if shown.shape != group.net.obs.shape || !head_fits(&group.head, &agent.action) {
            return wrong(format!("its network does not fit agent \"{}\"", agent.name));
        }
    }
    // From here on the head's sizes are those of an agent.
    let last = if group.last_action { group.head.block() } else { 0 };
    let recurrent = if group.net.recurrent { group.net.hidden_sizes.last().copied().unwrap_or(0) } else { 0 };
    if last > MAX_WIDTH || group.constants.len() > MAX_WIDTH {
        return wrong("a layer is too wide or there are too many".into());
    }
    let memory = recurrent + last;
    if group.memory_at.len() != group.members.len() || group.memory_at.iter().any(|(a, b)| a.checked_add(memory) != Some(*b)) {
        return wrong("its memory does not fit its members".into());
    }
    if group.net.free.len() != group.head.free_parameters().len() || group.net.output != group.head.outputs() {
        return wrong("network and distribution do not fit each other".into());
    }
    let extra = group.constants.len() + last + if group.agent_id { group.members.len() } else { 0 };
    if group.net.extra == extra { Ok(()) } else { wrong("its input does not fit its members".into()) }
}

//! Whose actions a network's outputs are.

use motley_nn::policy::{ActingGroup, Policy};
use motley_nn::{Head, TeamPolicy};

/// One agent's part of what a network puts out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// The agent of the task.
    pub(crate) agent: usize,
    /// Its columns of the network's output, where they are not all.
    pub(crate) columns: Option<Vec<usize>>,
    /// Its distribution over its own actions.
    pub(crate) head: Head,
    /// Its parameters beside the network.
    pub(crate) free: Vec<f32>,
}

/// The parts of a decider's output: one for each agent where it decides for all, its own otherwise. In a unified space the columns are
/// the agent's own actions; any stands in for one that is never available.
pub(crate) fn parts(policy: &TeamPolicy, group: &ActingGroup, decider: usize) -> Vec<Part> {
    if policy.is_central() {
        return (0..policy.team().n()).map(|agent| of_joint(policy, group, agent)).collect();
    }
    let part = match policy.lift() {
        None => Part { agent: decider, columns: None, head: group.head.clone(), free: group.net.free().to_vec() },
        Some(lift) => {
            let own: Vec<usize> = lift.plan().from_env[decider].iter().map(|u| u.unwrap_or(0)).collect();
            Part { agent: decider, head: Head::Categorical(vec![own.len()]), columns: Some(own), free: Vec::new() }
        }
    };
    vec![part]
}

fn of_joint(policy: &TeamPolicy, group: &ActingGroup, agent: usize) -> Part {
    let (team, at) = (policy.team(), policy.team().action_range(agent));
    let cut = |bounds: &[f32]| bounds[at.clone()].to_vec();
    let (head, columns) = match &group.head {
        Head::Categorical(_) => {
            let own = Head::Categorical(team.agents[agent].action.choices().to_vec());
            (own, team.mask_range(agent).collect::<Vec<_>>())
        }
        Head::Gaussian { low, high, x_coef, y_coef } => {
            let head = Head::Gaussian { low: cut(low), high: cut(high), x_coef: *x_coef, y_coef: *y_coef };
            (head, at.clone().collect())
        }
        Head::TanhGaussian { low, high } => {
            let deviations = at.start + low.len()..at.end + low.len();
            (Head::TanhGaussian { low: cut(low), high: cut(high) }, at.clone().chain(deviations).collect())
        }
        Head::Deterministic { low, high } => (Head::Deterministic { low: cut(low), high: cut(high) }, at.clone().collect()),
    };
    let free = if group.net.free().is_empty() { Vec::new() } else { cut(group.net.free()) };
    Part { agent, columns: Some(columns), head, free }
}

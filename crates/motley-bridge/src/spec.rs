//! What an adapter says of its team, as a [`TeamSpec`].

use motley_core::{ActionSpace, AgentSpec, ObsSpace, RewardKind, SpecError, StateSpace, TeamSpec};
use serde::Deserialize;
use thiserror::Error;

/// The Python source of the adapters: from environments of other libraries to flat arrays. Also used where an environment lives in
/// this process.
pub const ADAPTERS: &str = concat!(include_str!("../python/adapters.py"), "\n\n", include_str!("../python/gym.py"));

/// A description that makes no team.
#[derive(Debug, Error)]
pub enum DescriptionError {
    /// It is not one.
    #[error("the environment's description cannot be read: {0}")]
    Unread(#[from] serde_json::Error),
    /// It is no team's.
    #[error("the environment's description cannot be used: {0}")]
    Unfit(#[from] SpecError),
}

#[derive(Deserialize)]
struct Described {
    agents: Vec<Agent>,
    state: Option<usize>,
    common: bool,
    masks: bool,
    deaths: bool,
    winning: bool,
    step_limit: Option<usize>,
}

#[derive(Deserialize)]
struct Agent {
    name: String,
    kind: String,
    shape: Vec<usize>,
    low: Option<f32>,
    high: Option<f32>,
    action: Action,
    noop: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Discrete(usize),
    Multi(Vec<usize>),
    Box { low: Vec<f32>, high: Vec<f32> },
}

/// The team that an adapter's JSON describes.
///
/// # Errors
/// Text that is not such a description, or sizes that no team has.
pub fn team(task: &str, json: &[u8]) -> Result<TeamSpec, DescriptionError> {
    let said: Described = serde_json::from_slice(json)?;
    let agents = said.agents.into_iter().map(|agent| {
        let obs = ObsSpace {
            shape: agent.shape,
            low: agent.low.unwrap_or(f32::NEG_INFINITY),
            high: agent.high.unwrap_or(f32::INFINITY),
        };
        let action = match agent.action {
            Action::Discrete(n) => ActionSpace::Discrete(n),
            Action::Multi(n) => ActionSpace::MultiDiscrete(n),
            Action::Box { low, high } => ActionSpace::Box { low, high },
        };
        AgentSpec { noop: agent.noop, ..AgentSpec::new(agent.name, agent.kind, obs, action) }
    });
    let mut team = TeamSpec::try_new(task, agents.collect())?;
    // A state of no numbers is none.
    if let Some(size) = said.state.filter(|size| *size > 0) {
        team.state = StateSpace::Ep(size);
    }
    team.reward = if said.common { RewardKind::Common } else { RewardKind::Own };
    (team.masks, team.deaths, team.winning, team.step_limit) = (said.masks, said.deaths, said.winning, said.step_limit);
    team.check()?;
    Ok(team)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_becomes_a_ragged_team() {
        let json = br#"{"agents": [
            {"name": "eye", "kind": "eye", "shape": [8, 9, 3], "low": 0, "high": 255, "action": {"discrete": 4}, "noop": null},
            {"name": "arm_0", "kind": "arm", "shape": [5], "low": null, "high": null,
             "action": {"box": {"low": [-1, -2], "high": [1, 2]}}, "noop": null}],
            "state": 7, "common": true, "masks": false, "deaths": true, "winning": false, "step_limit": 30}"#;
        let team = team("py:a:b", json).unwrap();
        assert_eq!((team.n(), team.obs_len(), team.action_len(), team.mask_len(), team.state_len()), (2, 221, 3, 4, 7));
        assert!(team.agents[0].obs.is_image() && team.agents[1].obs.low == f32::NEG_INFINITY);
        assert_eq!(team.reward, RewardKind::Common);
        assert_eq!((team.deaths, team.step_limit), (true, Some(30)));
    }

    #[test]
    fn a_state_of_no_numbers_is_none() {
        let json = |state: &str| {
            format!(
                r#"{{"agents": [{{"name": "a", "kind": "a", "shape": [3], "low": null, "high": null, "action": {{"discrete": 2}}, "noop": null}}],
                "state": {state}, "common": true, "masks": false, "deaths": false, "winning": false, "step_limit": null}}"#
            )
        };
        let [none, empty] = ["null", "0"].map(|state| team("py:a:b", json(state).as_bytes()).unwrap());
        assert_eq!((none.state_len(), none == empty), (3, true));
    }

    #[test]
    fn nonsense_is_refused() {
        let agent = |rest: &str| {
            format!(
                r#"{{"agents": [{{"name": "a", "kind": "a", {rest}, "low": 0, "high": 1, "noop": null}}],
            "state": null, "common": false, "masks": false, "deaths": false, "winning": false, "step_limit": null}}"#
            )
        };
        for bad in [
            "".to_owned(),
            "[]".to_owned(),
            r#"{"agents": [], "state": null, "common": false, "masks": false, "deaths": false, "winning": false, "step_limit": null}"#.to_owned(),
            agent(r#""shape": [4294967296, 4294967296], "action": {"discrete": 2}"#),
            agent(r#""shape": [2], "action": {"multi": [18446744073709551615, 5]}"#),
            agent(r#""shape": [2], "action": {"odd": 2}"#),
        ] {
            assert!(team("py:a:b", bad.as_bytes()).is_err(), "{bad}");
        }
        let refused = |text: &str, expected: &str| {
            let error = team("py:a:b", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        refused(&agent(r#""shape": [2], "action": {"discrete": 0}"#), "agent \"a\": it has a choice among no actions");
        refused(&agent(r#""shape": [2], "action": {"box": {"low": [1, 0], "high": [0, 1]}}"#), "the lower one first");
        refused(&agent(r#""shape": [2], "action": {"box": {"low": [], "high": []}}"#), "agent \"a\": it has nothing to do");
        refused(&agent(r#""shape": [2], "action": {"multi": []}"#), "agent \"a\": it has nothing to do");
        let one = r#"{"name": "a b", "kind": "a", "shape": [1], "low": 0, "high": 1, "action": {"discrete": 2}, "noop": null}"#;
        let twins = format!(
            r#"{{"agents": [{one}, {one}], "state": null, "common": false, "masks": false, "deaths": false, "winning": false, "step_limit": null}}"#
        );
        refused(&twins, "two agents are called \"a b\"");
    }
}

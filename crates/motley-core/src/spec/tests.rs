use super::*;

fn team() -> TeamSpec {
    let agent = |name: &str, kind: &str, obs, action| AgentSpec::new(name, kind, ObsSpace::vector(obs), action);
    TeamSpec::new(
        "test/ragged",
        vec![
            agent("a", "wheel", 3, ActionSpace::Discrete(5)),
            agent("b", "arm", 7, ActionSpace::uniform_box(2, -1.0, 1.0)),
            agent("c", "wheel", 3, ActionSpace::MultiDiscrete(vec![3, 2])),
        ],
    )
}

#[test]
fn offsets_are_ragged() {
    let team = team();
    assert_eq!((team.obs_len(), team.action_len(), team.mask_len()), (13, 5, 10));
    assert_eq!(team.obs_range(1), 3..10);
    assert_eq!(team.action_range(2), 3..5);
    assert_eq!(team.mask_range(1), 5..5);
    assert_eq!(team.state_len(), 13);
}

#[test]
fn one_agent_for_all_has_the_teams_flat_arrays() {
    let agent = |obs, action| AgentSpec::new(format!("a{obs}"), "kind", ObsSpace::vector(obs), action);
    let choosing = [agent(3, ActionSpace::Discrete(5)), agent(2, ActionSpace::MultiDiscrete(vec![3, 2]))];
    let team = TeamSpec::new("test/choices", choosing.to_vec());
    let one = team.as_one().unwrap();
    assert_eq!((one.n(), one.obs_len(), one.action_len(), one.mask_len()), (1, 5, 3, 10));
    assert_eq!((one.agents[0].action.choices(), one.state), (&[5, 3, 2][..], team.state));
    let moving = [agent(1, ActionSpace::uniform_box(1, -1.0, 1.0)), agent(4, ActionSpace::uniform_box(2, 0.0, 2.0))];
    let one = TeamSpec::new("test/boxes", moving.to_vec()).as_one().unwrap();
    assert_eq!(one.agents[0].action, ActionSpace::Box { low: vec![-1.0, 0.0, 0.0], high: vec![1.0, 2.0, 2.0] });
    let mixed = TeamSpec::new("test/mixed", vec![choosing[0].clone(), moving[0].clone()]);
    assert!(mixed.as_one().is_err_and(|e| e.contains("box")));
    let seeing = AgentSpec::new("eye", "kind", ObsSpace::image(4, 4, 1), ActionSpace::Discrete(2));
    assert!(TeamSpec::new("test/image", vec![seeing]).as_one().is_err_and(|e| e.contains("\"eye\"")));
}

#[test]
fn groups_follow_kinds_and_lists() {
    let team = team();
    assert_eq!(team.groups(&Share::Type), Ok(vec![vec![0, 2], vec![1]]));
    assert_eq!(team.groups(&Share::All), Ok(vec![vec![0, 1, 2]]));
    let list = |l: &[&[&str]]| Share::Groups(l.iter().map(|g| g.iter().map(ToString::to_string).collect()).collect());
    assert_eq!(team.groups(&list(&[&["c", "a"], &["b"]])), Ok(vec![vec![0, 2], vec![1]]));
    assert!(team.groups(&list(&[&["a"], &["b"]])).is_err_and(|e| e.contains("\"c\"")));
    assert!(team.groups(&list(&[&["a", "a"], &["b", "c"]])).is_err_and(|e| e.contains("twice")));
    assert!(team.groups(&list(&[&["z"]])).is_err_and(|e| e.contains("\"z\"")));
}

#[test]
fn only_equal_spaces_are_alike() {
    let agent = |name: &str, obs: usize, choices: usize| {
        AgentSpec::new(name, "kind", ObsSpace::vector(obs), ActionSpace::Discrete(choices))
    };
    let team = TeamSpec::new("test/alike", vec![agent("a", 2, 3), agent("b", 2, 4), agent("c", 2, 3), agent("d", 1, 3)]);
    assert_eq!((team.check_alike(&[]), team.check_alike(&[1]), team.check_alike(&[0, 2])), (Ok(()), Ok(()), Ok(())));
    assert!(team.check_alike(&[0, 2, 1]).is_err_and(|e| e.contains("\"a\" (") && e.contains("\"b\" (")));
    assert!(team.check_alike(&[2, 3]).is_err_and(|e| e.contains("\"c\" (") && e.contains("\"d\" (")));
    assert_eq!(team.names(&[2, 0]), "c+a");
}

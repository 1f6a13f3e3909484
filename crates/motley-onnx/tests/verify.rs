//! Every kind of policy as a file that tract runs, held to the policy's own acting; and that what differs is found.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use motley_core::{ActionSpace, AgentSpec, Lift, ObsSpace, Purpose, Stream, TeamSpec};
use motley_nn::init::Init;
use motley_nn::policy::ActingGroup;
use motley_nn::{Activation, Explore, Graph, Head, Net, NetSpec, Policy, TeamPolicy, Topology};
use motley_onnx::{OnnxError, export, verify};

/// What a group's network is like.
#[derive(Clone, Default)]
struct How {
    activation: Option<Activation>,
    last_activation: Option<Activation>,
    norms: bool,
    recurrent: bool,
    last_action: bool,
    agent_id: bool,
    constants: Vec<f32>,
    topology: Option<Topology>,
}

/// Who decides.
#[derive(Clone)]
enum Acts {
    Each,
    One,
    Unified(Arc<Lift>),
}

#[derive(Clone)]
struct Case {
    team: Arc<TeamSpec>,
    acts: Acts,
    groups: Vec<ActingGroup>,
}

impl Case {
    /// Groups of members with a distribution each.
    fn new(team: TeamSpec, acts: Acts, how: &How, groups: &[(&[usize], Head)]) -> Self {
        let team = Arc::new(team);
        let deciders = match &acts {
            Acts::Each => Arc::clone(&team),
            Acts::One => Arc::new(team.as_one().unwrap()),
            Acts::Unified(lift) => Arc::clone(lift.unified()),
        };
        let mut at = 0;
        let groups = groups.iter().enumerate().map(|(seed, (members, head))| {
            let mut group = group(&deciders, members, head.clone(), how, seed as u64);
            for range in &mut group.memory_at {
                *range = at..at + range.len();
                at = range.end;
            }
            group
        });
        Self { groups: groups.collect(), team, acts }
    }

    fn policy(&self) -> TeamPolicy {
        let (team, groups) = (Arc::clone(&self.team), self.groups.clone());
        match &self.acts {
            Acts::Each => TeamPolicy::new(team, groups),
            Acts::One => TeamPolicy::central(Arc::clone(&team), Arc::new(team.as_one().unwrap()), groups),
            Acts::Unified(lift) => TeamPolicy::new(Arc::clone(lift.unified()), groups).lifted(Arc::clone(lift)),
        }
    }
}

fn group(deciders: &TeamSpec, members: &[usize], head: Head, how: &How, seed: u64) -> ActingGroup {
    let last = if how.last_action { head.block() } else { 0 };
    let spec = NetSpec {
        obs: deciders.agents[members[0]].obs.clone(),
        extra: how.constants.len() + last + if how.agent_id { members.len() } else { 0 },
        hidden_sizes: vec![8, 6],
        activation: how.activation.unwrap_or(Activation::Tanh),
        last_activation: how.last_activation,
        feature_norm: how.norms,
        layer_norm: how.norms,
        recurrent: how.recurrent,
        output: head.outputs(),
        output_gain: 1.0,
        init: Init::Uniform,
        free: head.free_parameters(),
    };
    let rng = Stream::new(seed, Purpose::Init, 0, 0);
    let net = match &how.topology {
        None => Net::new(spec, &rng),
        Some(topology) => Net::on_graph(spec, Arc::new(Graph::new(deciders, topology.clone(), 5).unwrap()), &rng),
    };
    ActingGroup {
        memory_at: members.iter().map(|_| 0..net.memory_len() + last).collect(),
        members: members.to_vec(),
        net,
        head,
        constants: how.constants.clone(),
        last_action: how.last_action,
        agent_id: how.agent_id,
        explore: Explore::Draw,
    }
}

/// Robots that observe `[a, x, y, vx, vy, b]`.
fn robots(n: usize, action: &ActionSpace) -> TeamSpec {
    let agent = |i: usize| {
        let mut agent = AgentSpec::new(format!("a{i}"), "robot", ObsSpace::vector(6), action.clone());
        (agent.position, agent.velocity) = (Some(1..3), Some(3..5));
        agent
    };
    TeamSpec::new("test/robots", (0..n).map(agent).collect())
}

/// Two kinds that observe and do unlike things.
fn unlike() -> TeamSpec {
    let agent = |i: usize, kind: &str, obs: usize, actions: usize| {
        AgentSpec::new(format!("{kind}{i}"), kind, ObsSpace::vector(obs), ActionSpace::Discrete(actions))
    };
    TeamSpec::new("test/unlike", vec![agent(0, "tug", 3, 4), agent(1, "winch", 5, 2), agent(2, "winch", 5, 2)])
}

fn square() -> ActionSpace {
    ActionSpace::Box { low: vec![-0.5, 0.0], high: vec![0.5, 2.0] }
}

fn heads() -> Vec<(ActionSpace, Head)> {
    let mixed = ActionSpace::MultiDiscrete(vec![3, 2]);
    let boxed = |squash| Head::for_space(&square(), squash, 1.0, 0.5);
    let (low, high) = (vec![-0.5, 0.0], vec![0.5, 2.0]);
    vec![
        (ActionSpace::Discrete(4), Head::Categorical(vec![4])),
        (mixed, Head::Categorical(vec![3, 2])),
        (square(), boxed(false)),
        (square(), boxed(true)),
        (square(), Head::Deterministic { low, high }),
    ]
}

/// All that a network can read and remember beside observations.
fn everything() -> How {
    How { recurrent: true, last_action: true, agent_id: true, constants: vec![0.3, -1.0], norms: true, ..How::default() }
}

fn cases() -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    for (k, (action, head)) in heads().into_iter().enumerate() {
        let apart: [(&[usize], Head); 2] = [(&[1], head.clone()), (&[0, 2], head.clone())];
        for (name, how) in [("plain", How::default()), ("everything", everything())] {
            cases.push((format!("{name} {k}"), Case::new(robots(3, &action), Acts::Each, &how, &apart)));
        }
        let topologies =
            [Topology::Full, Topology::Ring, Topology::Line, Topology::Radius(1.5), Topology::Pairs(vec![(0, 2), (1, 2)])];
        let heard = How { topology: Some(topologies[k].clone()), ..How::default() };
        cases.push((format!("heard {k}"), Case::new(robots(3, &action), Acts::Each, &heard, &apart)));
        let all = How { topology: heard.topology, ..everything() };
        cases.push((format!("heard by all {k}"), Case::new(robots(4, &action), Acts::Each, &all, &[(&[0, 1, 2, 3], head)])));
    }
    for (name, how) in [("one", How::default()), ("one with memory", How { agent_id: false, ..everything() })] {
        let choose = Head::Categorical(vec![4, 2, 2]);
        cases.push((format!("{name} that chooses"), Case::new(unlike(), Acts::One, &how, &[(&[0], choose)])));
        for squash in [false, true] {
            let team = robots(2, &square());
            let head = Head::for_space(&team.as_one().unwrap().agents[0].action, squash, 1.0, 0.5);
            cases.push((format!("{name} in a box, {squash}"), Case::new(team, Acts::One, &how, &[(&[0], head)])));
        }
    }
    let lift = Arc::new(Lift::new(&Arc::new(unlike())).unwrap());
    let head = Head::Categorical(vec![lift.unified().agents[0].action.mask_len()]);
    for (name, how) in [("unified", How::default()), ("unified with memory", everything())] {
        let acts = Acts::Unified(Arc::clone(&lift));
        cases.push((name.to_owned(), Case::new(unlike(), acts, &how, &[(&[0, 1, 2], head.clone())])));
    }
    let mut eyes = robots(2, &ActionSpace::Discrete(3));
    eyes.agents.iter_mut().for_each(|a| a.obs = ObsSpace::image(5, 4, 2));
    let eyes = TeamSpec::new("test/eyes", eyes.agents);
    let how = How { agent_id: true, ..How::default() };
    cases.push(("eyes".to_owned(), Case::new(eyes, Acts::Each, &how, &[(&[0, 1], Head::Categorical(vec![3]))])));
    for activation in [Activation::Relu, Activation::LeakyRelu, Activation::Selu, Activation::Sigmoid, Activation::Elu] {
        let how = How { activation: Some(activation), topology: Some(Topology::Full), ..How::default() };
        let case = Case::new(robots(2, &square()), Acts::Each, &how, &[(&[0, 1], heads()[3].1.clone())]);
        cases.push((format!("{activation:?}"), case));
    }
    let how = How { activation: Some(Activation::Relu), last_activation: Some(Activation::Tanh), ..How::default() };
    let squashed = Case::new(robots(2, &square()), Acts::Each, &how, &[(&[0, 1], heads()[3].1.clone())]);
    cases.push(("tanh behind the last layer".to_owned(), squashed));
    cases
}

#[test]
fn tract_agrees_with_every_kind_of_policy() {
    for (name, case) in cases() {
        let policy = case.policy();
        for joint in [false, true] {
            let files = export(&policy, "test", joint).unwrap();
            let heard = matches!(case.acts, Acts::One) || case.groups[0].net.graph().is_some();
            assert_eq!(files.iter().any(|file| file.joint), joint || heard, "{name}");
            let mut agents: Vec<&String> = files.iter().flat_map(|file| &file.agents).collect();
            agents.sort();
            assert!(agents.iter().copied().eq(policy.team().agents.iter().map(|a| &a.name)), "{name}: {agents:?}");
            for file in &files {
                verify(&policy, file).unwrap_or_else(|e| panic!("{name}, joint {joint}: {e}"));
            }
        }
    }
}

/// One parameter of any tensor moved: the file is another policy's.
#[test]
fn a_file_of_other_parameters_is_found_out() {
    let wanted = ["everything 0", "everything 2", "heard by all 0", "heard by all 3", "one with memory in a box, true"];
    let cases = cases();
    for name in wanted.into_iter().chain(["unified with memory", "eyes"]) {
        let (_, case) = cases.iter().find(|(other, _)| other == name).unwrap();
        let files = export(&case.policy(), "test", true).unwrap();
        for entry in case.groups[0].net.entries() {
            let mut other = case.clone();
            other.groups[0].net.set_params(|params| params[entry.offset] += 0.1);
            let error = verify(&other.policy(), &files[0]).unwrap_err();
            assert!(matches!(error, OnnxError::Differs { .. }), "{name}, {}: {error}", entry.name);
        }
    }
}

#[test]
fn bytes_that_are_no_graph_are_not_run() {
    let (_, case) = cases().swap_remove(0);
    let mut file = export(&case.policy(), "test", true).unwrap().swap_remove(0);
    file.bytes.truncate(file.bytes.len() / 2);
    assert!(matches!(verify(&case.policy(), &file), Err(OnnxError::Unrun { .. })));
}

#[test]
fn agents_of_one_name_have_no_file_together() {
    let mut team = robots(2, &square());
    team.agents[1].name = team.agents[0].name.clone();
    let case = Case::new(team, Acts::Each, &How::default(), &[(&[0, 1], heads()[2].1.clone())]);
    let error = export(&case.policy(), "test", true).unwrap_err();
    assert!(error.to_string().contains("\"a0\""), "{error}");
}

//! The robots: their joints, bodies and neighbourhoods, and how their joints are shared out. Facts of Gymnasium's models and of
//! Gymnasium-Robotics' MAMuJoCo v1; Peng et al., "FACMAC: Factored Multi-Agent Centralised Policy Gradients", NeurIPS 2021.

use motley_core::ConfigError;

use super::graph::{Category, Graph, Node, Read};

/// A robot by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Robot {
    /// A planar cheetah.
    HalfCheetah,
    /// Four legs around a torso.
    Ant,
    /// One leg.
    Hopper,
    /// Two legs in a plane.
    Walker2d,
    /// A humanoid that runs.
    Humanoid,
    /// A humanoid that gets up.
    HumanoidStandup,
    /// Three links in a fluid.
    Swimmer,
    /// Two links that reach for a point.
    Reacher,
    /// An arm that pushes a cylinder.
    Pusher,
    /// Two cheetahs tied by a tendon.
    CoupledHalfCheetah,
    /// A swimmer of many links.
    ManySegmentSwimmer,
    /// A chain of ants.
    ManySegmentAnt,
}

/// All of them, in the order in which they are listed.
pub const ROBOTS: [Robot; 12] = [
    Robot::HalfCheetah,
    Robot::Ant,
    Robot::Hopper,
    Robot::Walker2d,
    Robot::Humanoid,
    Robot::HumanoidStandup,
    Robot::Swimmer,
    Robot::Reacher,
    Robot::Pusher,
    Robot::CoupledHalfCheetah,
    Robot::ManySegmentSwimmer,
    Robot::ManySegmentAnt,
];

/// More segments than this are refused: a model of a thousand bodies is a slip of the keyboard.
const MOST_SEGMENTS: usize = 64;

impl Robot {
    /// As in task names.
    pub fn name(self) -> &'static str {
        match self {
            Self::HalfCheetah => "HalfCheetah",
            Self::Ant => "Ant",
            Self::Hopper => "Hopper",
            Self::Walker2d => "Walker2d",
            Self::Humanoid => "Humanoid",
            Self::HumanoidStandup => "HumanoidStandup",
            Self::Swimmer => "Swimmer",
            Self::Reacher => "Reacher",
            Self::Pusher => "Pusher",
            Self::CoupledHalfCheetah => "CoupledHalfCheetah",
            Self::ManySegmentSwimmer => "ManySegmentSwimmer",
            Self::ManySegmentAnt => "ManySegmentAnt",
        }
    }

    /// What it has to do.
    pub fn goal(self) -> &'static str {
        match self {
            Self::HalfCheetah => "a planar cheetah runs",
            Self::Ant => "a four-legged ant runs",
            Self::Hopper => "one leg hops forward",
            Self::Walker2d => "two legs walk in a plane",
            Self::Humanoid => "a humanoid runs",
            Self::HumanoidStandup => "a humanoid gets up",
            Self::Swimmer => "three links swim",
            Self::Reacher => "two links reach for a point",
            Self::Pusher => "an arm pushes a cylinder to its place",
            Self::CoupledHalfCheetah => "two cheetahs tied together run",
            Self::ManySegmentSwimmer => "many links swim",
            Self::ManySegmentAnt => "a chain of ants runs",
        }
    }

    /// The factorisations that have a name of their own as a task; the first is the default.
    pub fn confs(self) -> &'static [&'static str] {
        match self {
            Self::HalfCheetah | Self::Walker2d => &["2x3", "3x2", "6x1"],
            Self::Ant => &["2x4", "2x4d", "4x2", "8x1"],
            Self::Hopper => &["3x1"],
            Self::Humanoid | Self::HumanoidStandup => &["9|8", "17x1"],
            Self::Swimmer | Self::Reacher => &["2x1"],
            Self::Pusher => &["3p"],
            Self::CoupledHalfCheetah => &["1p1"],
            Self::ManySegmentSwimmer => &["10x2", "6x1"],
            Self::ManySegmentAnt => &["2x3", "3x1"],
        }
    }

    /// Whether `AxB` is anything that one likes: A agents of B segments each.
    pub fn is_segmented(self) -> bool {
        matches!(self, Self::ManySegmentSwimmer | Self::ManySegmentAnt)
    }

    /// Whether Gymnasium-Robotics' own graph has slips here, so that `task.graph = "v1"` differs from the corrected one.
    pub fn has_slips(self) -> bool {
        matches!(self, Self::Humanoid | Self::HumanoidStandup | Self::CoupledHalfCheetah | Self::ManySegmentAnt)
    }

    /// Whether the older rules (`task.base = "v2"`) are here.
    pub fn has_v2(self) -> bool {
        !matches!(self, Self::Pusher | Self::CoupledHalfCheetah | Self::ManySegmentAnt)
    }

    /// Steps after which an episode is truncated.
    pub fn limit(self) -> i64 {
        match self {
            Self::Reacher => 50,
            Self::Pusher => 100,
            _ => 1000,
        }
    }

    /// Agents and segments an agent of a segmented robot.
    ///
    /// # Errors
    /// A text that is not `AxB`, or sizes that make no robot.
    pub fn segments(self, conf: &str) -> Result<(usize, usize), ConfigError> {
        let least = if self == Self::ManySegmentSwimmer { 2 } else { 1 };
        let sizes = conf.split_once('x').and_then(|(a, b)| Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?)));
        let fits =
            |a: usize, b: usize| a >= 1 && b >= 1 && a.checked_mul(b).is_some_and(|n| (least..=MOST_SEGMENTS).contains(&n));
        sizes.filter(|&(a, b)| fits(a, b)).ok_or_else(|| ConfigError::Value {
            key: "task.conf".into(),
            expected: format!("AxB, A agents of B segments each, {least} to {MOST_SEGMENTS} segments together"),
            found: format!("\"{conf}\""),
        })
    }

    /// The joints of each agent, by name.
    ///
    /// # Errors
    /// A factorisation that the robot does not have.
    pub fn partition(self, conf: &str) -> Result<Vec<Vec<String>>, ConfigError> {
        if self.is_segmented() {
            let (agents, each) = self.segments(conf)?;
            let segment = |s: usize| match self {
                Self::ManySegmentSwimmer => vec![format!("rot{s}")],
                _ => ["hip1", "ankle1", "hip2", "ankle2"].iter().map(|j| format!("{j}_{s}")).collect(),
            };
            return Ok((0..agents).map(|a| (a * each..(a + 1) * each).flat_map(segment).collect()).collect());
        }
        let joints = || self.actuated().into_iter();
        let cut = |size: usize| -> Vec<Vec<&str>> { self.actuated().chunks(size).map(<[&str]>::to_vec).collect() };
        let named: Option<Vec<Vec<&str>>> = match (self, conf) {
            (Self::HalfCheetah, "2x3") => Some(cut(3)),
            (Self::CoupledHalfCheetah, "1p1") => Some(cut(6)),
            (Self::HalfCheetah | Self::Walker2d, "3x2") => Some(cut(2)),
            (Self::Walker2d, "2x3") => Some(vec![
                vec!["foot_joint", "leg_joint", "thigh_joint"],
                vec!["foot_left_joint", "leg_left_joint", "thigh_left_joint"],
            ]),
            (Self::Ant, "2x4") => Some(vec![vec!["hip1", "ankle1", "hip2", "ankle2"], vec!["hip3", "ankle3", "hip4", "ankle4"]]),
            (Self::Ant, "2x4d") => Some(vec![vec!["hip1", "ankle1", "hip4", "ankle4"], vec!["hip2", "ankle2", "hip3", "ankle3"]]),
            (Self::Ant, "4x2") => Some(ANT_LEGS.iter().map(|(hip, ankle)| vec![*hip, *ankle]).collect()),
            (Self::Ant, "8x1") => Some(ANT_LEGS.iter().flat_map(|(hip, ankle)| [vec![*hip], vec![*ankle]]).collect()),
            (Self::Humanoid | Self::HumanoidStandup, "9|8") => Some(vec![UPPER.to_vec(), LOWER.to_vec()]),
            (Self::Pusher, "3p") => {
                let arm = self.actuated();
                Some(vec![arm[..3].to_vec(), arm[3..4].to_vec(), arm[4..].to_vec()])
            }
            (Self::HalfCheetah | Self::Walker2d, "6x1")
            | (Self::Hopper, "3x1")
            | (Self::Humanoid | Self::HumanoidStandup, "17x1")
            | (Self::Swimmer | Self::Reacher, "2x1") => Some(joints().map(|j| vec![j]).collect()),
            _ => None,
        };
        let owned = |agents: Vec<Vec<&str>>| agents.into_iter().map(|a| a.into_iter().map(str::to_owned).collect()).collect();
        named.map(owned).ok_or_else(|| ConfigError::Value {
            key: "task.conf".into(),
            expected: format!("one of {}, or your own task.partition", self.confs().join(", ")),
            found: format!("\"{conf}\""),
        })
    }

    /// The joints of a robot without segments, in the order of their actuators.
    fn actuated(self) -> Vec<&'static str> {
        match self {
            Self::HalfCheetah => CHEETAH.to_vec(),
            Self::CoupledHalfCheetah => [COUPLED_0, COUPLED_1].concat(),
            Self::Ant => vec!["hip4", "ankle4", "hip1", "ankle1", "hip2", "ankle2", "hip3", "ankle3"],
            Self::Hopper => WALKER[..3].to_vec(),
            Self::Walker2d => WALKER.to_vec(),
            Self::Humanoid | Self::HumanoidStandup => HUMANOID.iter().map(|(joint, _)| *joint).collect(),
            Self::Swimmer => vec!["rot2", "rot3"],
            Self::Reacher => vec!["joint0", "joint1"],
            Self::Pusher => ARM.to_vec(),
            Self::ManySegmentSwimmer | Self::ManySegmentAnt => Vec::new(),
        }
    }

    /// The hypergraph of the joints; `segments` counts for segmented robots. With `slips` it is Gymnasium-Robotics' own
    /// where that differs.
    pub fn graph(self, segments: usize, slips: bool) -> Graph {
        match self {
            Self::HalfCheetah => cheetah(),
            Self::Ant => ant(),
            Self::Hopper => legs(&WALKER[..3], true),
            Self::Walker2d => legs(&WALKER, false),
            Self::Humanoid | Self::HumanoidStandup => humanoid(slips),
            Self::Swimmer => swimmer(),
            Self::Reacher => reacher(),
            Self::Pusher => pusher(),
            Self::CoupledHalfCheetah => coupled(slips),
            Self::ManySegmentSwimmer => many_swimmer(segments),
            Self::ManySegmentAnt => many_ant(segments, slips),
        }
    }
}

const CHEETAH: [&str; 6] = ["bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"];
const COUPLED_0: [&str; 6] = ["bthigh0", "bshin0", "bfoot0", "fthigh0", "fshin0", "ffoot0"];
const COUPLED_1: [&str; 6] = ["bthigh1", "bshin1", "bfoot1", "fthigh1", "fshin1", "ffoot1"];
const WALKER: [&str; 6] = ["thigh_joint", "leg_joint", "foot_joint", "thigh_left_joint", "leg_left_joint", "foot_left_joint"];
const ANT_LEGS: [(&str, &str); 4] = [("hip1", "ankle1"), ("hip2", "ankle2"), ("hip3", "ankle3"), ("hip4", "ankle4")];
const ARM: [&str; 7] = [
    "r_shoulder_pan_joint",
    "r_shoulder_lift_joint",
    "r_upper_arm_roll_joint",
    "r_elbow_flex_joint",
    "r_forearm_roll_joint",
    "r_wrist_flex_joint",
    "r_wrist_roll_joint",
];
/// Joints in the order of the actuators, with their bodies (torso 1, waist 2, pelvis 3, right thigh 4, shin 5, foot 6, left
/// 7 to 9, right upper and lower arm 10 and 11, left 12 and 13).
const HUMANOID: [(&str, &[usize]); 17] = [
    ("abdomen_y", &[1, 2, 3]),
    ("abdomen_z", &[1, 2, 3]),
    ("abdomen_x", &[3, 4, 7]),
    ("right_hip_x", &[4, 5]),
    ("right_hip_z", &[4, 5]),
    ("right_hip_y", &[4, 5]),
    ("right_knee", &[5, 6]),
    ("left_hip_x", &[7, 8]),
    ("left_hip_z", &[7, 8]),
    ("left_hip_y", &[7, 8]),
    ("left_knee", &[8, 9]),
    ("right_shoulder1", &[1, 10, 11]),
    ("right_shoulder2", &[1, 10, 11]),
    ("right_elbow", &[11]),
    ("left_shoulder1", &[1, 12, 13]),
    ("left_shoulder2", &[1, 12, 13]),
    ("left_elbow", &[13]),
];
const UPPER: [&str; 9] = [
    "abdomen_x",
    "abdomen_y",
    "abdomen_z",
    "right_shoulder1",
    "right_shoulder2",
    "right_elbow",
    "left_shoulder1",
    "left_shoulder2",
    "left_elbow",
];
const LOWER: [&str; 8] =
    ["right_hip_x", "right_hip_y", "right_hip_z", "right_knee", "left_hip_x", "left_hip_y", "left_hip_z", "left_knee"];

const JOINTS: &[Category] = &[Category::Qpos, Category::Qvel];

/// A graph of plain joints with edges by name.
fn plain(nodes: Vec<Node>, edges: &[&[&str]]) -> Graph {
    let at = |label: &&str| nodes.iter().position(|n| n.label == **label);
    let edges = edges.iter().map(|edge| edge.iter().filter_map(at).collect()).collect();
    Graph { nodes, edges, root_qpos: Vec::new(), root_qvel: Vec::new(), near: JOINTS, clip_contacts: false }
}

/// Consecutive pairs.
fn chain(nodes: std::ops::Range<usize>) -> Vec<Vec<usize>> {
    nodes.clone().zip(nodes.skip(1)).map(|(a, b)| vec![a, b]).collect()
}

/// The height and angle of a planar root (its way is hidden), and all three velocities.
fn planar_root(graph: &mut Graph, clipped: bool) {
    let velocity = if clipped { Read::QvelClipped } else { Read::Qvel };
    graph.root_qpos = vec![Read::Qpos(1), Read::Qpos(2)];
    graph.root_qvel = (0..3).map(velocity).collect();
}

/// Height and orientation of a free root, and its six velocities.
fn free_root(graph: &mut Graph) {
    graph.root_qpos = (2..7).map(Read::Qpos).collect();
    graph.root_qvel = (0..6).map(Read::Qvel).collect();
}

fn cheetah() -> Graph {
    let nodes = CHEETAH.iter().enumerate().map(|(i, joint)| Node::new(*joint, 3 + i, 3 + i, i)).collect();
    let edges: [&[&str]; 5] =
        [&["bfoot", "bshin"], &["bshin", "bthigh"], &["bthigh", "fthigh"], &["fthigh", "fshin"], &["fshin", "ffoot"]];
    let mut graph = plain(nodes, &edges);
    planar_root(&mut graph, false);
    graph
}

fn ant() -> Graph {
    let mut nodes = Vec::new();
    for (leg, (hip, ankle)) in ANT_LEGS.iter().enumerate() {
        let (at, ctrl, first) = (2 * leg, (2 + 2 * leg) % 8, 2 + 3 * leg);
        nodes.push(Node::new(*hip, 7 + at, 6 + at, ctrl).with_bodies(&[1, first]));
        nodes.push(Node::new(*ankle, 8 + at, 7 + at, ctrl + 1).with_bodies(&[first, first + 1, first + 2]));
    }
    let edges: [&[&str]; 5] =
        [&["ankle4", "hip4"], &["ankle1", "hip1"], &["ankle2", "hip2"], &["ankle3", "hip3"], &["hip4", "hip1", "hip2", "hip3"]];
    let mut graph = plain(nodes, &edges);
    free_root(&mut graph);
    graph.near = &[Category::Qpos, Category::Qvel, Category::Contact];
    graph.clip_contacts = true;
    graph
}

/// Hopper (one leg, velocities clipped) and Walker2d (two, not clipped though its base observation clips).
fn legs(joints: &[&'static str], clipped: bool) -> Graph {
    let mut nodes: Vec<Node> = joints.iter().enumerate().map(|(i, joint)| Node::new(*joint, 3 + i, 3 + i, i)).collect();
    if clipped {
        nodes.iter_mut().for_each(|n| n.qvel = vec![Read::QvelClipped(n.dof)]);
    }
    let edges: [&[&str]; 5] = [
        &["foot_joint", "leg_joint"],
        &["leg_joint", "thigh_joint"],
        &["foot_left_joint", "leg_left_joint"],
        &["leg_left_joint", "thigh_left_joint"],
        &["thigh_joint", "thigh_left_joint"],
    ];
    let mut graph = plain(nodes, if clipped { &edges[..2] } else { &edges });
    planar_root(&mut graph, clipped);
    graph
}

fn humanoid(slips: bool) -> Graph {
    // The model has the joint abdomen_z before abdomen_y, its actuators the other way round; v1's table misses that.
    let address = |i: usize| if slips { i } else { [1, 0].get(i).copied().unwrap_or(i) };
    let node = |(i, (joint, bodies)): (usize, &(&'static str, &[usize]))| {
        Node::new(*joint, 7 + address(i), 6 + address(i), i).with_bodies(bodies)
    };
    let nodes = HUMANOID.iter().enumerate().map(node).collect();
    let edges: [&[&str]; 11] = [
        &["abdomen_x", "abdomen_y", "abdomen_z"],
        &["right_hip_x", "right_hip_y", "right_hip_z"],
        &["left_hip_x", "left_hip_y", "left_hip_z"],
        &["left_elbow", "left_shoulder1", "left_shoulder2"],
        &["right_elbow", "right_shoulder1", "right_shoulder2"],
        &["left_knee", "left_hip_x", "left_hip_y", "left_hip_z"],
        &["right_knee", "right_hip_x", "right_hip_y", "right_hip_z"],
        &["left_shoulder1", "left_shoulder2", "abdomen_x", "abdomen_y", "abdomen_z"],
        &["right_shoulder1", "right_shoulder2", "abdomen_x", "abdomen_y", "abdomen_z"],
        &["abdomen_x", "abdomen_y", "abdomen_z", "left_hip_x", "left_hip_y", "left_hip_z"],
        &["abdomen_x", "abdomen_y", "abdomen_z", "right_hip_x", "right_hip_y", "right_hip_z"],
    ];
    let mut graph = plain(nodes, &edges);
    free_root(&mut graph);
    graph.near = &[Category::Qpos, Category::Qvel, Category::Inertia, Category::Velocity, Category::Force, Category::Contact];
    graph
}

fn swimmer() -> Graph {
    let mut nodes = vec![Node::new("rot2", 3, 3, 0), Node::new("rot3", 4, 4, 1)];
    nodes[0].qvel = vec![Read::Qvel(0), Read::Qvel(3)];
    nodes[1].qvel = vec![Read::Qvel(1), Read::Qvel(4)];
    let mut graph = plain(nodes, &[&["rot2", "rot3"]]);
    graph.root_qpos = vec![Read::Qpos(2)];
    graph.root_qvel = vec![Read::Qvel(2)];
    graph
}

fn reacher() -> Graph {
    let mut nodes = vec![Node::new("joint0", 0, 0, 0), Node::new("joint1", 1, 1, 1)];
    nodes.iter_mut().for_each(|n| n.qpos = vec![Read::Sin(n.dof), Read::Cos(n.dof)]);
    nodes[1].extra = (0..3).map(|k| Read::Apart(3, 4, k)).collect();
    let mut graph = plain(nodes, &[&["joint0", "joint1"]]);
    graph.root_qpos = vec![Read::Qpos(2), Read::Qpos(3)];
    graph.near = &[Category::Qpos, Category::Qvel, Category::Extra];
    graph
}

/// Bodies of the pusher: the tip of the arm, the cylinder, its place.
pub(super) const PUSHER_BODIES: [usize; 3] = [10, 11, 12];

fn pusher() -> Graph {
    let nodes: Vec<Node> = ARM.iter().enumerate().map(|(i, joint)| Node::new(*joint, i, i, i)).collect();
    let mut graph = plain(nodes, &[]);
    graph.edges = chain(0..ARM.len());
    graph.root_qpos = PUSHER_BODIES.iter().flat_map(|&body| (0..3).map(move |k| Read::Position(body, k))).collect();
    graph
}

fn coupled(slips: bool) -> Graph {
    // v1 reads the second cheetah's joints for both.
    let first = if slips { 12 } else { 3 };
    let cheetah = |joints: [&'static str; 6], at: usize, ctrl: usize| {
        joints.into_iter().enumerate().map(move |(i, joint)| Node::new(joint, at + i, at + i, ctrl + i))
    };
    let mut nodes: Vec<Node> = cheetah(COUPLED_0, first, 0).chain(cheetah(COUPLED_1, 12, 6)).collect();
    let mut tendon: Vec<Read> = COUPLED_DOFS.into_iter().map(Read::TendonJacobian).collect();
    tendon.extend([Read::TendonLength, Read::TendonVelocity]);
    nodes[0].extra.clone_from(&tendon);
    nodes[6].extra = tendon;
    let mut graph = plain(nodes, &[]);
    for offset in [0, 6] {
        graph.edges.extend([[2, 1], [1, 0], [0, 3], [3, 4], [4, 5]].map(|[a, b]| vec![a + offset, b + offset]));
    }
    graph.root_qpos = [2, 1, 11, 10].map(Read::Qpos).to_vec();
    graph.root_qvel = [0, 2, 1, 9, 11, 10].map(Read::Qvel).to_vec();
    graph.near = &[Category::Qpos, Category::Qvel, Category::Extra];
    graph
}

/// The velocities along which the tendon between the two cheetahs can move.
pub(super) const COUPLED_DOFS: [usize; 4] = [0, 1, 9, 10];

fn many_swimmer(segments: usize) -> Graph {
    let nodes = (0..segments).map(|i| Node::new(format!("rot{i}"), 3 + i, 3 + i, i)).collect();
    let mut graph = plain(nodes, &[]);
    graph.edges = chain(0..segments);
    graph
}

fn many_ant(segments: usize, slips: bool) -> Graph {
    let (nq, nv) = (7 + 4 * segments, 6 + 4 * segments);
    let mut graph = plain(Vec::new(), &[]);
    let mut before: Option<[usize; 2]> = None;
    for s in 0..segments {
        let torso = 1 + 7 * s;
        // v1 counts the segments from the wrong end, past the last one from the first coordinate on, and has the legs' motors
        // swapped.
        let back = 4 * (segments - 1 - s);
        let at = |k: usize, n: usize, first: usize| match (slips, back + k) {
            (false, _) => first + 4 * s + k,
            (true, i) if i < 4 => n - 4 + i,
            (true, i) => i - 4,
        };
        let motor = |k: usize| 4 * s + if slips { (k + 2) % 4 } else { k };
        let bodies: [&[usize]; 4] =
            [&[torso, torso + 1], &[torso + 1, torso + 2, torso + 3], &[torso, torso + 4], &[torso + 4, torso + 5, torso + 6]];
        let first = graph.nodes.len();
        for (k, joint) in ["hip1", "ankle1", "hip2", "ankle2"].iter().enumerate() {
            graph.nodes.push(Node::new(format!("{joint}_{s}"), at(k, nq, 7), at(k, nv, 6), motor(k)).with_bodies(bodies[k]));
        }
        graph.edges.extend([vec![first + 1, first], vec![first + 3, first + 2], vec![first, first + 2]]);
        if let Some([hip1, hip2]) = before {
            graph.edges.push(vec![hip1, hip2, first, first + 2]);
        }
        before = Some([first, first + 2]);
        if slips {
            // v1 ties the next segment to copies of these hips instead of the hips.
            let copies = [graph.nodes[first].clone(), graph.nodes[first + 2].clone()];
            before = Some([first + 4, first + 5]);
            graph.nodes.extend(copies);
        }
    }
    free_root(&mut graph);
    graph.near = &[Category::Qpos, Category::Qvel, Category::Contact];
    graph.clip_contacts = true;
    graph
}

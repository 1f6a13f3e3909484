//! Which joints an agent owns and what it sees of its neighbours: the observations of Gymnasium-Robotics' MAMuJoCo v1.
//!
//! A robot is a hypergraph of joints. At depth k an agent sees its own joints and those up to k edges away, level by level,
//! the joints of a level sorted by name; then what belongs to no joint (the root).

/// One number of an observation: where it stands in the engine's arrays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Read {
    /// A generalised position.
    Qpos(usize),
    /// The sine of one.
    Sin(usize),
    /// The cosine of one.
    Cos(usize),
    /// A generalised velocity.
    Qvel(usize),
    /// A generalised velocity, clipped to +-10.
    QvelClipped(usize),
    /// An actuator force in joint space.
    Force(usize),
    /// Entry `.1` of 10 of body `.0`'s inertia about the centre of mass.
    Inertia(usize, usize),
    /// Entry `.1` of 6 of body `.0`'s velocity about the centre of mass.
    Velocity(usize, usize),
    /// Entry `.1` of 6 of the external force on body `.0`.
    Contact(usize, usize),
    /// The same, clipped to +-1.
    ContactClipped(usize, usize),
    /// Coordinate `.1` of body `.0`.
    Position(usize, usize),
    /// Coordinate `.2` of body `.0` less that of body `.1`.
    Apart(usize, usize, usize),
    /// Derivative of the length of the first tendon by a velocity.
    TendonJacobian(usize),
    /// The length of the first tendon.
    TendonLength,
    /// How fast it grows.
    TendonVelocity,
}

/// What a joint or a body shows at the nearest level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Position of the joint.
    Qpos,
    /// Velocity of the joint.
    Qvel,
    /// Inertia of the joint's bodies.
    Inertia,
    /// Velocity of the joint's bodies.
    Velocity,
    /// Actuator force at the joint.
    Force,
    /// External force on the joint's bodies.
    Contact,
    /// What only this joint shows (a fingertip, a tendon).
    Extra,
}

/// A joint with its actuator.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name, by which partitions refer to it and levels are sorted.
    pub label: String,
    /// What stands for its position.
    pub qpos: Vec<Read>,
    /// What stands for its velocity.
    pub qvel: Vec<Read>,
    /// Its index among the velocities.
    pub dof: usize,
    /// Its actuator.
    pub ctrl: usize,
    /// Its bodies; each is seen once an agent.
    pub bodies: Vec<usize>,
    /// What only it shows.
    pub extra: Vec<Read>,
}

impl Node {
    /// A joint with one position, one velocity and no bodies.
    pub fn new(label: impl Into<String>, qpos: usize, qvel: usize, ctrl: usize) -> Self {
        Self {
            label: label.into(),
            qpos: vec![Read::Qpos(qpos)],
            qvel: vec![Read::Qvel(qvel)],
            dof: qvel,
            ctrl,
            bodies: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// With bodies.
    #[must_use]
    pub fn with_bodies(mut self, bodies: &[usize]) -> Self {
        self.bodies = bodies.to_vec();
        self
    }
}

/// A robot's joints and how they hang together.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The joints.
    pub nodes: Vec<Node>,
    /// Joints (indices) that are all neighbours of each other.
    pub edges: Vec<Vec<usize>>,
    /// Positions that every agent sees.
    pub root_qpos: Vec<Read>,
    /// Velocities that every agent sees.
    pub root_qvel: Vec<Read>,
    /// What the nearest level shows, in this order; further levels show positions.
    pub near: &'static [Category],
    /// Whether contact forces are clipped to +-1.
    pub clip_contacts: bool,
}

impl Graph {
    /// The joint of that name.
    pub fn find(&self, label: &str) -> Option<usize> {
        self.nodes.iter().position(|n| n.label == label)
    }

    /// The joints at each distance from `own`, 0 to `depth`, each level sorted by name.
    pub fn levels(&self, own: &[usize], depth: usize) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.nodes.len()];
        let mut level: Vec<usize> = own.to_vec();
        level.iter().for_each(|&n| seen[n] = true);
        let mut levels = vec![self.sorted(level.clone())];
        for _ in 0..depth {
            let mut next = Vec::new();
            for edge in self.edges.iter().filter(|edge| edge.iter().any(|n| level.contains(n))) {
                for &n in edge {
                    if !std::mem::replace(&mut seen[n], true) {
                        next.push(n);
                    }
                }
            }
            levels.push(self.sorted(next.clone()));
            level = next;
        }
        levels
    }

    fn sorted(&self, mut nodes: Vec<usize>) -> Vec<usize> {
        nodes.sort_by(|&a, &b| self.nodes[a].label.cmp(&self.nodes[b].label).then(a.cmp(&b)));
        nodes
    }

    /// What an agent with the joints `own` sees at `depth`.
    pub fn observe(&self, own: &[usize], depth: usize) -> Vec<Read> {
        let (mut reads, mut shown) = (Vec::new(), Vec::new());
        for (distance, level) in self.levels(own, depth).into_iter().enumerate() {
            let categories = if distance == 0 { self.near } else { &[Category::Qpos] };
            for node in level {
                for &category in categories {
                    self.show(node, category, &mut shown, &mut reads);
                }
            }
        }
        reads.extend(&self.root_qpos);
        reads.extend(&self.root_qvel);
        reads
    }

    fn show(&self, node: usize, category: Category, shown: &mut Vec<(Category, usize)>, reads: &mut Vec<Read>) {
        let node = &self.nodes[node];
        let entry: fn(usize, usize) -> Read = match category {
            Category::Qpos => return reads.extend(&node.qpos),
            Category::Qvel => return reads.extend(&node.qvel),
            Category::Force => return reads.push(Read::Force(node.dof)),
            Category::Extra => return reads.extend(&node.extra),
            Category::Inertia => Read::Inertia,
            Category::Velocity => Read::Velocity,
            Category::Contact if self.clip_contacts => Read::ContactClipped,
            Category::Contact => Read::Contact,
        };
        let width = if category == Category::Inertia { 10 } else { 6 };
        for &body in &node.bodies {
            if !shown.contains(&(category, body)) {
                shown.push((category, body));
                reads.extend((0..width).map(|k| entry(body, k)));
            }
        }
    }
}

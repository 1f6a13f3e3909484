//! Communication graphs: who hears whom, what a network reads of its neighbours, and the message passing in front of a trunk.
//!
//! One hop of the graph network of Bettini, Shankar, Prorok ("Heterogeneous Multi-Robot Reinforcement Learning", AAMAS 2023): the
//! receiver i reads `z_i ‖ sum_{j in N_i} phi(z_j ‖ e_ij)`, where z is an observation without its absolute position (so that nothing
//! changes when the world is shifted) and `e_ij = (p_j - p_i, |p_j - p_i|, v_j - v_i)`. phi belongs to the receiver's network.
//!
//! A graph's input row holds the node and one slot for every other agent, so rows of unlike degree lie in one matrix; the stage
//! gathers the edges that exist into one batch, runs phi once, and adds the messages up in the order of the agents.

use std::ops::Range;
use std::sync::Arc;

use motley_core::TeamSpec;
use motley_kernels::mlp::backward;
use motley_kernels::{Activation, Mlp, MlpShape, Pool, Scratch, Workspace};
use serde::{Deserialize, Serialize};

/// Who hears whom. Nobody hears itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Topology {
    /// Everybody hears everybody.
    Full,
    /// Agent i hears i - 1 and i + 1, around.
    Ring,
    /// Agent i hears i - 1 and i + 1.
    Line,
    /// Agents hear each other within this distance, which changes every step.
    Radius(f32),
    /// Pairs of agents that hear each other.
    Pairs(Vec<(usize, usize)>),
}

impl Topology {
    /// From the words of `net.graph` (`full`, `ring`, `line`, `radius`, or pairs such as `0-1,1-2`) and `net.radius`.
    ///
    /// # Errors
    /// What is wrong with the words.
    pub fn parse(words: &str, radius: f64, agents: usize) -> Result<Self, String> {
        match words {
            "full" => Ok(Self::Full),
            "ring" => Ok(Self::Ring),
            "line" => Ok(Self::Line),
            "radius" => Ok(Self::Radius(radius as f32)),
            _ => words.split(',').map(|pair| parse_pair(pair.trim(), agents)).collect::<Result<_, _>>().map(Self::Pairs),
        }
    }

    fn hears(&self, i: usize, j: usize, agents: usize, distance: f32) -> bool {
        let apart = i.abs_diff(j);
        match self {
            Self::Full => true,
            Self::Ring => apart == 1 || apart + 1 == agents,
            Self::Line => apart == 1,
            Self::Radius(radius) => distance <= *radius,
            Self::Pairs(pairs) => pairs.contains(&(i, j)) || pairs.contains(&(j, i)),
        }
    }
}

fn parse_pair(pair: &str, agents: usize) -> Result<(usize, usize), String> {
    let wrong =
        || format!("net.graph: \"{pair}\" is no pair of two different agents of 0 to {}, such as 0-1", agents.saturating_sub(1));
    let (a, b) = pair.split_once('-').ok_or_else(wrong)?;
    let number = |s: &str| s.trim().parse::<usize>().ok().filter(|k| *k < agents);
    match (number(a), number(b)) {
        (Some(a), Some(b)) if a != b => Ok((a, b)),
        _ => Err(wrong()),
    }
}

/// Where an agent's numbers lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Place {
    /// Its observation in the team's.
    obs: Range<usize>,
    /// Its position in its observation.
    position: Range<usize>,
    /// Its velocity in its observation.
    velocity: Option<Range<usize>>,
}

/// Which columns of an agent's observation a graph reads as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Its node: all but the position.
    pub node: Vec<usize>,
    /// Its position.
    pub position: Range<usize>,
    /// Its velocity, where edges have that.
    pub velocity: Option<Range<usize>>,
}

/// A team's communication graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    topology: Topology,
    places: Vec<Place>,
    /// Width of phi's hidden layer and of messages.
    width: usize,
}

impl Graph {
    /// The graph of a team whose agents observe alike and say where their position is.
    ///
    /// # Errors
    /// What the team lacks.
    pub fn new(team: &TeamSpec, topology: Topology, width: usize) -> Result<Self, String> {
        let first = team.agents.first().ok_or("a communication graph needs agents, and the team has none")?;
        let size = first.obs.size();
        let place = |i: usize| {
            let agent = &team.agents[i];
            let position = agent.position.clone().filter(|p| p.len() == 2 && !agent.obs.is_image()).ok_or_else(|| {
                format!(
                    "a communication graph needs positions, and the task does not say where agent \"{}\" observes its own \
                     (vmas/* do; of mpe/* spread, formation and line): take net.trunk=mlp, which hears nobody, or an algorithm without messages, such as mappo or \
                     happo",
                    agent.name
                )
            })?;
            if agent.obs.size() != size {
                return Err(format!(
                    "a communication graph needs observations of one size: \"{}\" has {size} numbers, \"{}\" has {}",
                    first.name,
                    agent.name,
                    agent.obs.size()
                ));
            }
            Ok(Place { obs: team.obs_range(i), position, velocity: agent.velocity.clone().filter(|v| v.len() == 2) })
        };
        let mut places = (0..team.n()).map(place).collect::<Result<Vec<_>, _>>()?;
        if places.iter().any(|p| p.velocity.is_none()) {
            places.iter_mut().for_each(|p| p.velocity = None);
        }
        Ok(Self { topology, places, width })
    }

    /// Whether it fits a team: what a file says is believed only after this.
    pub fn fits(&self, team: &TeamSpec) -> bool {
        let valid = match &self.topology {
            Topology::Pairs(pairs) => pairs.iter().all(|(a, b)| *a < team.n() && *b < team.n() && a != b),
            _ => true,
        };
        (1..=65_536).contains(&self.width)
            && valid
            && Self::new(team, self.topology.clone(), self.width).is_ok_and(|own| own == *self)
    }

    /// Entries of a node: the observation without the position.
    pub fn node(&self) -> usize {
        self.places[0].obs.len() - 2
    }

    /// Entries of an edge: relative position, distance, and relative velocity where it is known.
    pub fn edge(&self) -> usize {
        if self.places[0].velocity.is_some() { 5 } else { 3 }
    }

    /// Entries of a message.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The shape of phi.
    pub(crate) fn phi(&self, activation: Activation) -> MlpShape {
        MlpShape {
            input: self.node() + self.edge(),
            input_norm: false,
            hidden: vec![self.width],
            activation,
            last_activation: None,
            hidden_norm: false,
            output: self.width,
            output_activation: Activation::Identity,
        }
    }

    /// Entries of a row that the trunk reads before the extra ones.
    pub(crate) fn out_len(&self) -> usize {
        self.node() + self.width
    }

    /// Entries of one neighbour's slot: whether it is heard, its node, the edge.
    fn slot(&self) -> usize {
        1 + self.node() + self.edge()
    }

    /// Entries of an input row: the node and a slot for every other agent.
    pub fn row_len(&self) -> usize {
        self.node() + (self.places.len() - 1) * self.slot()
    }

    /// Which columns of agent `i`'s observation are what.
    pub fn columns(&self, i: usize) -> Columns {
        let Place { obs, position, velocity } = &self.places[i];
        let node = (0..obs.len()).filter(|k| !position.contains(k)).collect();
        Columns { node, position: position.clone(), velocity: velocity.clone() }
    }

    /// The agents that agent `i` may ever hear, in their order: its neighbours, or with a [`Graph::reach`] all whom it may come near.
    pub fn may_hear(&self, i: usize) -> Vec<usize> {
        (0..self.places.len()).filter(|j| *j != i && self.topology.hears(i, *j, self.places.len(), 0.0)).collect()
    }

    /// The distance within which agents hear each other, where distances decide.
    pub fn reach(&self) -> Option<f32> {
        if let Topology::Radius(radius) = self.topology { Some(radius) } else { None }
    }

    /// Writes agent `i`'s input row from all observations of one environment, `[obs_len]`.
    pub fn row(&self, obs: &[f32], i: usize, into: &mut [f32]) {
        let (node, rest) = into.split_at_mut(self.node());
        self.write_node(obs, i, node);
        let me = &obs[self.places[i].obs.clone()];
        let others = (0..self.places.len()).filter(|j| *j != i);
        for (j, slot) in others.zip(rest.chunks_exact_mut(self.slot())) {
            let (place, own) = (&self.places[j], &self.places[i]);
            let you = &obs[place.obs.clone()];
            let apart = |a: &Range<usize>, b: &Range<usize>| [you[a.start] - me[b.start], you[a.start + 1] - me[b.start + 1]];
            let [dx, dy] = apart(&place.position, &own.position);
            let distance = dx.hypot(dy);
            slot.fill(0.0);
            if !self.topology.hears(i, j, self.places.len(), distance) {
                continue;
            }
            slot[0] = 1.0;
            self.write_node(obs, j, &mut slot[1..1 + self.node()]);
            let edge = &mut slot[1 + self.node()..];
            edge[..3].copy_from_slice(&[dx, dy, distance]);
            if let (Some(a), Some(b)) = (&place.velocity, &own.velocity) {
                edge[3..].copy_from_slice(&apart(a, b));
            }
        }
    }

    fn write_node(&self, obs: &[f32], i: usize, into: &mut [f32]) {
        let place = &self.places[i];
        let own = &obs[place.obs.clone()];
        into[..place.position.start].copy_from_slice(&own[..place.position.start]);
        into[place.position.start..].copy_from_slice(&own[place.position.end..]);
    }
}

/// Message passing between input rows and trunk.
#[derive(Debug, Clone)]
pub(crate) struct GraphStage {
    pub(crate) graph: Arc<Graph>,
    pub(crate) phi: Mlp,
}

/// What one pass of the stage keeps.
#[derive(Debug, Default)]
pub(crate) struct GraphKept {
    /// phi's inputs, `[edges, node + edge]`.
    edges: Vec<f32>,
    /// The row that each edge's message goes to.
    receivers: Vec<usize>,
    messages: Vec<f32>,
}

impl GraphStage {
    pub(crate) fn new(graph: Arc<Graph>, phi: MlpShape) -> Self {
        Self { graph, phi: Mlp::new(phi) }
    }

    /// The edges that exist in `rows` input rows of `input` entries.
    pub(crate) fn gather(&self, x: &[f32], input: usize, kept: &mut GraphKept) {
        kept.edges.clear();
        kept.receivers.clear();
        for (r, row) in x.chunks_exact(input).enumerate() {
            for slot in row[self.graph.node()..self.graph.row_len()].chunks_exact(self.graph.slot()).filter(|s| s[0] != 0.0) {
                kept.edges.extend_from_slice(&slot[1..]);
                kept.receivers.push(r);
            }
        }
    }

    /// Input rows to the trunk's: `node ‖ sum of messages ‖ extra entries`. On all cores where a pool is given.
    pub(crate) fn forward(
        &self,
        pool: Option<&Pool>,
        x: &[f32],
        input: usize,
        features: &mut Vec<f32>,
        kept: &mut GraphKept,
        scratch: &mut Scratch,
    ) {
        self.gather(x, input, kept);
        let (count, node, width) = (kept.receivers.len(), self.graph.node(), self.graph.width());
        kept.messages.resize(count * width, 0.0);
        match pool {
            Some(pool) => self.phi.forward_pool(pool, &kept.edges, count, &mut kept.messages),
            None => self.phi.forward(&kept.edges, count, &mut kept.messages, scratch),
        }
        features.clear();
        for row in x.chunks_exact(input) {
            features.extend_from_slice(&row[..node]);
            features.resize(features.len() + width, 0.0);
            features.extend_from_slice(&row[self.graph.row_len()..]);
        }
        let stride = self.graph.out_len() + input - self.graph.row_len();
        for (r, message) in kept.receivers.iter().zip(kept.messages.chunks_exact(width)) {
            let sum = &mut features[r * stride + node..][..width];
            sum.iter_mut().zip(message).for_each(|(s, m)| *s += m);
        }
    }

    /// Gradient by phi's parameters from that by the trunk's input, `[rows, stride]`, after [`GraphStage::forward`].
    pub(crate) fn backward(
        &self,
        pool: &Pool,
        d_features: &[f32],
        stride: usize,
        grad: &mut [f32],
        kept: &mut GraphKept,
        work: &mut Workspace,
    ) {
        let (node, width) = (self.graph.node(), self.graph.width());
        kept.messages.clear();
        for r in &kept.receivers {
            kept.messages.extend_from_slice(&d_features[r * stride + node..][..width]);
        }
        backward(pool, &self.phi, &kept.edges, kept.receivers.len(), &kept.messages, grad, None, work);
    }

    /// Edges and receivers of rows, for the reference on Burn.
    pub(crate) fn edges<'a>(&self, x: &[f32], input: usize, kept: &'a mut GraphKept) -> (&'a [f32], &'a [usize]) {
        self.gather(x, input, kept);
        (&kept.edges, &kept.receivers)
    }
}

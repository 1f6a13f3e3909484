//! What agents hear of each other, as nodes of a graph.

use std::ops::Range;
use std::sync::Arc;

use motley_nn::{Graph, Net};

use crate::export::OnnxError;
use crate::graph::{Value, int};
use crate::network::Drawing;
use crate::proto::FLOAT;

/// What every agent of a communication graph tells, `[B, agents, ..]`.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    graph: Arc<Graph>,
    /// Nothing where an observation is its position alone.
    nodes: Option<Value>,
    positions: Value,
    velocities: Option<Value>,
}

impl Drawing<'_> {
    /// The rows of receivers `[B * receivers, node + message]`: `z_i ‖ sum over whom i hears of phi(z_j ‖ e_ij)`, as
    /// [`Graph::row`] and the network's message passing have it. All edges that may exist pass phi together; those that are too long
    /// count nothing.
    pub(crate) fn messages(&mut self, net: &Net, graph: &Arc<Graph>, receivers: &[usize]) -> Result<Value, OnnxError> {
        let told = self.told(graph);
        let edges: Vec<(usize, usize)> =
            receivers.iter().enumerate().flat_map(|(k, &i)| graph.may_hear(i).into_iter().map(move |j| (k, j))).collect();
        let sums = if edges.is_empty() {
            let zeros =
                self.g.floats("silence", &[1, receivers.len(), graph.width()], vec![0.0; receivers.len() * graph.width()]);
            let rest = self.g.whole("rest", &[receivers.len() as i64, graph.width() as i64]);
            let shape = self.g.node("Concat", &[&self.batch, &rest], vec![int("axis", 0)]);
            self.g.node("Expand", &[&zeros, &shape], Vec::new())
        } else {
            self.heard(net, &told, receivers, &edges)?
        };
        let own = told.nodes.as_ref().map(|nodes| self.of_agents(nodes, receivers.iter().copied()));
        let rows: Vec<Value> = own.into_iter().chain([sums]).collect();
        let rows = self.g.concat(&rows, 2);
        Ok(self.g.node("Flatten", &[&rows], vec![int("axis", 2)]))
    }

    /// What all agents tell; drawn once for all networks that hear by one graph.
    fn told(&mut self, graph: &Arc<Graph>) -> Told {
        if let Some(told) = self.told.iter().find(|told| told.graph == *graph) {
            return told.clone();
        }
        let columns: Vec<_> = (0..self.policy.deciders().n()).map(|j| graph.columns(j)).collect();
        let list = |range: &Range<usize>| range.clone().collect::<Vec<_>>();
        let nodes: Vec<_> = columns.iter().map(|c| c.node.clone()).collect();
        let positions: Vec<_> = columns.iter().map(|c| list(&c.position)).collect();
        let velocities: Option<Vec<_>> = columns.iter().map(|c| c.velocity.as_ref().map(list)).collect();
        let told = Told {
            graph: Arc::clone(graph),
            nodes: (graph.node() > 0).then(|| self.side_by_side(&nodes)),
            positions: self.side_by_side(&positions),
            velocities: velocities.map(|v| self.side_by_side(&v)),
        };
        self.told.push(told.clone());
        told
    }

    /// Columns of every agent's observation as `[B, agents, columns]`.
    fn side_by_side(&mut self, columns: &[Vec<usize>]) -> Value {
        let middle = self.g.whole("middle", &[1]);
        let mut each = Vec::with_capacity(columns.len());
        for (j, columns) in columns.iter().enumerate() {
            let shown = self.shown[&j].clone();
            let part = self.g.columns(&shown, columns);
            each.push(self.g.node("Unsqueeze", &[&part, &middle], Vec::new()));
        }
        self.g.concat(&each, 1)
    }

    /// Rows of `[B, agents, ..]`.
    fn of_agents(&mut self, x: &Value, agents: impl IntoIterator<Item = usize>) -> Value {
        let agents: Vec<usize> = agents.into_iter().collect();
        self.g.columns(x, &agents)
    }

    /// Sums of messages `[B, receivers, width]` over edges (receiver's place, sender).
    fn heard(&mut self, net: &Net, told: &Told, receivers: &[usize], edges: &[(usize, usize)]) -> Result<Value, OnnxError> {
        let senders = || edges.iter().map(|(_, j)| *j);
        let hearers = || edges.iter().map(|(k, _)| receivers[*k]);
        let apart = |drawing: &mut Self, x: &Value| {
            let (you, me) = (drawing.of_agents(x, senders()), drawing.of_agents(x, hearers()));
            drawing.g.node("Sub", &[&you, &me], Vec::new())
        };
        let position = apart(self, &told.positions);
        let squares = self.g.node("Mul", &[&position, &position], Vec::new());
        let last = self.g.whole("last", &[2]);
        let squared = self.g.node("ReduceSum", &[&squares, &last], vec![int("keepdims", 1)]);
        let distance = self.g.node("Sqrt", &[&squared], Vec::new());
        let nodes = told.nodes.as_ref().map(|nodes| self.of_agents(nodes, senders()));
        let mut read: Vec<Value> = nodes.into_iter().chain([position, distance.clone()]).collect();
        if let Some(velocities) = &told.velocities {
            read.push(apart(self, velocities));
        }
        let x = self.g.concat(&read, 2);
        let hidden = self.layer(net, &x, "message.hidden.0")?;
        let hidden = self.activation(net.spec().activation, hidden);
        let mut messages = self.layer(net, &hidden, "message.output")?;
        if let Some(reach) = told.graph.reach() {
            let reach = self.g.floats("reach", &[], [reach]);
            let near = self.g.node("LessOrEqual", &[&distance, &reach], Vec::new());
            let near = self.g.node("Cast", &[&near], vec![int("to", i64::from(FLOAT))]);
            messages = self.g.node("Mul", &[&messages, &near], Vec::new());
        }
        let mut sum = vec![0.0; receivers.len() * edges.len()];
        for (e, (k, _)) in edges.iter().enumerate() {
            sum[k * edges.len() + e] = 1.0;
        }
        let sum = self.g.floats("to_receivers", &[1, receivers.len(), edges.len()], sum);
        Ok(self.g.node("MatMul", &[&sum, &messages], Vec::new()))
    }

    /// A linear layer over the last axis.
    fn layer(&mut self, net: &Net, x: &Value, name: &str) -> Result<Value, OnnxError> {
        let (weight, bias) = (self.weight(net, &format!("{name}.weight"))?, self.weight(net, &format!("{name}.bias"))?);
        let product = self.g.node("MatMul", &[x, &weight], Vec::new());
        Ok(self.g.node("Add", &[&product, &bias], Vec::new()))
    }
}

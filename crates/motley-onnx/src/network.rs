//! The networks of a policy as nodes of a graph: from what agents observe to what their networks put out.

use std::collections::BTreeMap;

use motley_kernels::Activation;
use motley_nn::policy::{ActingGroup, Policy};
use motley_nn::{Net, TeamPolicy};

use crate::export::OnnxError;
use crate::graph::{Builder, Dim, Value, float, int, ints};
use crate::messages::Told;

const EPSILON: f32 = 1e-5;
const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_GAMMA: f32 = 1.050_701;

/// One file in the making.
#[derive(Debug)]
pub(crate) struct Drawing<'a> {
    pub(crate) g: Builder,
    pub(crate) policy: &'a TeamPolicy,
    /// Whether it is a team's: names end in the agent's.
    pub(crate) joint: bool,
    /// What each decider is shown, `[B, its observation]`.
    pub(crate) shown: BTreeMap<usize, Value>,
    /// What agents tell those who hear them.
    pub(crate) told: Vec<Told>,
    /// The batch's size as a list of one number.
    pub(crate) batch: Value,
    /// `[B, 1]`: 0 where an episode starts.
    keep: Option<Value>,
}

impl<'a> Drawing<'a> {
    /// A file for some deciders, with their observations as inputs.
    pub(crate) fn new(policy: &'a TeamPolicy, joint: bool, deciders: &[usize]) -> Self {
        let (g, shown) = (Builder::default(), BTreeMap::new());
        let mut drawing = Self { g, policy, joint, shown, told: Vec::new(), batch: Builder::none(), keep: None };
        let agents: Vec<usize> = if policy.is_central() { (0..policy.team().n()).collect() } else { deciders.to_vec() };
        let mut observed = Vec::with_capacity(agents.len());
        for &i in &agents {
            let name = drawing.name("obs", i);
            observed.push(drawing.g.input(&name, &[Dim::Batch, Dim::Is(policy.team().agents[i].obs.size())]));
        }
        let shape = drawing.g.node("Shape", &[&observed[0]], Vec::new());
        let first = drawing.g.whole("first", &[0]);
        drawing.batch = drawing.g.node("Gather", &[&shape, &first], vec![int("axis", 0)]);
        if policy.is_central() {
            let all = drawing.g.concat(&observed, 1);
            drawing.shown.insert(0, all);
            return drawing;
        }
        for (&i, own) in agents.iter().zip(observed) {
            let padding = drawing.padding(i);
            let shown = if padding.is_empty() {
                own
            } else {
                let padding = drawing.repeated("padding", padding);
                drawing.g.concat(&[own, padding], 1)
            };
            drawing.shown.insert(i, shown);
        }
        drawing
    }

    /// What an input or output of an agent is called.
    pub(crate) fn name(&self, stem: &str, agent: usize) -> String {
        if self.joint { format!("{stem}.{}", self.policy.team().agents[agent].name) } else { stem.to_owned() }
    }

    /// What a memory of a decider is called: one for all has no agent's name.
    fn memory_name(&self, stem: &str, decider: usize) -> String {
        if self.policy.is_central() { stem.to_owned() } else { self.name(stem, decider) }
    }

    /// What stands behind an agent's observation in a unified space: zeros up to the widest, and its kind.
    fn padding(&self, agent: usize) -> Vec<f32> {
        let Some(lift) = self.policy.lift() else { return Vec::new() };
        let (plan, own) = (lift.plan(), self.policy.team().agents[agent].obs.size());
        let mut row = vec![0.0; plan.observed - own + plan.kinds];
        if plan.kinds > 0 {
            row[plan.observed - own + plan.kind_of_agent[agent]] = 1.0;
        }
        row
    }

    /// The members (their places in the group) of a group: all that lies between inputs and outputs.
    ///
    /// # Errors
    /// A network whose parameters are not where its description says.
    pub(crate) fn group(&mut self, group: &ActingGroup, members: &[usize]) -> Result<(), OnnxError> {
        let net = &group.net;
        let x = self.rows(group, members)?;
        let x = self.trunk(net, x)?;
        let x = if net.spec().recurrent { self.memory(group, members, x)? } else { x };
        let out = self.linear(net, x, "output")?;
        let each = self.unstacked(&out, members.len(), net.output_len());
        for (&m, out) in members.iter().zip(each) {
            self.decide(group, group.members[m], &out);
        }
        Ok(())
    }

    /// Values `[B, width]` of several members as rows `[B * members, width]`.
    fn stacked(&mut self, each: &[Value]) -> Value {
        if let [one] = each {
            return one.clone();
        }
        let middle = self.g.whole("middle", &[1]);
        let each: Vec<Value> = each.iter().map(|x| self.g.node("Unsqueeze", &[x, &middle], Vec::new())).collect();
        let all = self.g.concat(&each, 1);
        self.g.node("Flatten", &[&all], vec![int("axis", 2)])
    }

    /// Rows `[B * members, width]` as values `[B, width]`.
    fn unstacked(&mut self, rows: &Value, members: usize, width: usize) -> Vec<Value> {
        if members == 1 {
            return vec![rows.clone()];
        }
        let shape = self.g.whole("by_member", &[-1, members as i64, width as i64]);
        let all = self.g.node("Reshape", &[rows, &shape], Vec::new());
        self.each(&all, 1, members)
    }

    /// The slices along an axis, without it.
    fn each(&mut self, x: &Value, axis: i64, count: usize) -> Vec<Value> {
        let mut each = Vec::with_capacity(count);
        for k in 0..count {
            let at = self.g.scalar("member", k);
            each.push(self.g.node("Gather", &[x, &at], vec![int("axis", axis)]));
        }
        each
    }

    /// A row, repeated over the batch.
    pub(crate) fn repeated(&mut self, stem: &str, row: Vec<f32>) -> Value {
        let width = row.len();
        let row = self.g.floats(stem, &[1, width], row);
        let width = self.g.whole("width", &[width as i64]);
        let batch = self.batch.clone();
        let shape = self.g.concat(&[batch, width], 0);
        self.g.node("Expand", &[&row, &shape], Vec::new())
    }

    /// 0 where an episode starts, 1 elsewhere, `[B, 1]`; the input `reset` is there from the first call.
    pub(crate) fn keep(&mut self) -> Value {
        if let Some(keep) = &self.keep {
            return keep.clone();
        }
        let reset = self.g.input("reset", &[Dim::Batch]);
        let (one, across) = (self.g.floats("one", &[1], [1.0]), self.g.whole("across", &[1]));
        let keep = self.g.node("Sub", &[&one, &reset], Vec::new());
        let keep = self.g.node("Unsqueeze", &[&keep, &across], Vec::new());
        self.keep = Some(keep.clone());
        keep
    }

    /// What the first linear layer reads: observations, their convolutions or what members hear, and what stands behind them.
    fn rows(&mut self, group: &ActingGroup, members: &[usize]) -> Result<Value, OnnxError> {
        let (net, deciders) = (&group.net, members.iter().map(|&m| group.members[m]).collect::<Vec<_>>());
        let x = match net.graph() {
            Some(graph) => self.messages(net, graph, &deciders)?,
            None => {
                let shown: Vec<Value> = deciders.iter().map(|i| self.shown[i].clone()).collect();
                let x = self.stacked(&shown);
                if net.entry("conv.weight").is_some() { self.convolved(net, x)? } else { x }
            }
        };
        if group.extra() == 0 {
            return Ok(x);
        }
        let mut behind = Vec::with_capacity(members.len());
        for &m in members {
            let mut pieces = Vec::new();
            let mut row = group.constants.clone();
            if group.last_action {
                if !row.is_empty() {
                    pieces.push(self.repeated("constants", std::mem::take(&mut row)));
                }
                pieces.push(self.last_action(group, group.members[m]));
            }
            if group.agent_id {
                row.extend((0..group.members.len()).map(|k| f32::from(u8::from(k == m))));
            }
            if !row.is_empty() {
                pieces.push(self.repeated("agent_id", row));
            }
            behind.push(self.g.concat(&pieces, 1));
        }
        let behind = self.stacked(&behind);
        Ok(self.g.concat(&[x, behind], 1))
    }

    /// Images through the convolution, flat.
    fn convolved(&mut self, net: &Net, x: Value) -> Result<Value, OnnxError> {
        let [height, width, channels] = net.spec().obs.shape[..] else {
            return Err(OnnxError::Unfit("a convolution over what is no image".into()));
        };
        let full = self.g.floats("full", &[1], [255.0]);
        let x = self.g.node("Div", &[&x, &full], Vec::new());
        let shape = self.g.whole("image", &[-1, height as i64, width as i64, channels as i64]);
        let x = self.g.node("Reshape", &[&x, &shape], Vec::new());
        let x = self.g.node("Transpose", &[&x], vec![ints("perm", &[0, 3, 1, 2])]);
        let (shape, weights) = tensor(net, "conv.weight")?;
        let (filters, turned) = turn_filters(&shape, weights);
        let weight = self.g.floats("conv.weight", &[filters, channels, shape[0], shape[1]], turned);
        let bias = self.weight(net, "conv.bias")?;
        let x = self.g.node("Conv", &[&x, &weight, &bias], Vec::new());
        let x = self.activation(net.spec().activation, x);
        let x = self.g.node("Transpose", &[&x], vec![ints("perm", &[0, 2, 3, 1])]);
        Ok(self.g.node("Flatten", &[&x], vec![int("axis", 1)]))
    }

    fn trunk(&mut self, net: &Net, mut x: Value) -> Result<Value, OnnxError> {
        if net.entry("input_norm.gamma").is_some() {
            x = self.norm(net, x, "input_norm")?;
        }
        for k in 0..net.spec().hidden_sizes.len() {
            x = self.linear(net, x, &format!("hidden.{k}"))?;
            x = self.activation(net.spec().activation_after(k), x);
            let norm = format!("hidden.{k}.norm");
            if net.entry(&format!("{norm}.gamma")).is_some() {
                x = self.norm(net, x, &norm)?;
            }
        }
        Ok(x)
    }

    pub(crate) fn weight(&mut self, net: &Net, name: &str) -> Result<Value, OnnxError> {
        let (shape, values) = tensor(net, name)?;
        Ok(self.g.floats(name, &shape, values.iter().copied()))
    }

    fn linear(&mut self, net: &Net, x: Value, name: &str) -> Result<Value, OnnxError> {
        let (weight, bias) = (self.weight(net, &format!("{name}.weight"))?, self.weight(net, &format!("{name}.bias"))?);
        Ok(self.g.node("Gemm", &[&x, &weight, &bias], Vec::new()))
    }

    fn norm(&mut self, net: &Net, x: Value, name: &str) -> Result<Value, OnnxError> {
        let (gamma, beta) = (self.weight(net, &format!("{name}.gamma"))?, self.weight(net, &format!("{name}.beta"))?);
        Ok(self.g.node("LayerNormalization", &[&x, &gamma, &beta], vec![int("axis", -1), float("epsilon", EPSILON)]))
    }

    pub(crate) fn activation(&mut self, activation: Activation, x: Value) -> Value {
        let (op, attributes) = match activation {
            Activation::Identity => return x,
            Activation::Relu => ("Relu", Vec::new()),
            Activation::Tanh => ("Tanh", Vec::new()),
            Activation::LeakyRelu => ("LeakyRelu", vec![float("alpha", 0.01)]),
            Activation::Selu => ("Selu", vec![float("alpha", SELU_ALPHA), float("gamma", SELU_GAMMA)]),
            Activation::Sigmoid => ("Sigmoid", Vec::new()),
            Activation::Elu => ("Elu", vec![float("alpha", 1.0)]),
        };
        self.g.node(op, &[&x], attributes)
    }

    /// A GRU of one step: the state in, zeroed where `reset` says, and out; its output passes a LayerNorm.
    fn memory(&mut self, group: &ActingGroup, members: &[usize], x: Value) -> Result<Value, OnnxError> {
        let (net, width) = (&group.net, group.net.memory_len());
        let shape = [Dim::Is(1), Dim::Batch, Dim::Is(width)];
        let (keep, front) = (self.keep(), self.g.whole("front", &[0]));
        let mut held = Vec::with_capacity(members.len());
        for &m in members {
            let name = self.memory_name("h_in", group.members[m]);
            let before = self.g.input(&name, &shape);
            let before = self.g.node("Squeeze", &[&before, &front], Vec::new());
            held.push(self.g.node("Mul", &[&before, &keep], Vec::new()));
        }
        let held = self.stacked(&held);
        let held = self.g.node("Unsqueeze", &[&held, &front], Vec::new());
        let step = self.g.node("Unsqueeze", &[&x, &front], Vec::new());
        let (shape_ih, values) = tensor(net, "gru.weight_ih")?;
        let (input, from_input) = (shape_ih[0], turn_gates(values, shape_ih[0], width));
        let from_state = turn_gates(tensor(net, "gru.weight_hh")?.1, width, width);
        let mut biases = turn_gates(tensor(net, "gru.bias_ih")?.1, 1, width);
        biases.extend(turn_gates(tensor(net, "gru.bias_hh")?.1, 1, width));
        let w = self.g.floats("gru.w", &[1, 3 * width, input], from_input);
        let r = self.g.floats("gru.r", &[1, 3 * width, width], from_state);
        let b = self.g.floats("gru.b", &[1, 6 * width], biases);
        let attributes = vec![int("hidden_size", width as i64), int("linear_before_reset", 1)];
        let run = self.g.node_many("GRU", &[&step, &w, &r, &b, &Builder::none(), &held], 2, attributes);
        let now = self.g.node("Squeeze", &[&run[1], &front], Vec::new());
        let after = self.unstacked(&now, members.len(), width);
        for (&m, after) in members.iter().zip(after) {
            let name = self.memory_name("h_out", group.members[m]);
            let after = self.g.node("Unsqueeze", &[&after, &front], Vec::new());
            self.g.output(&name, &after, false, &shape);
        }
        if net.spec().layer_norm { self.norm(net, now, "gru.norm") } else { Ok(now) }
    }
}

fn tensor<'n>(net: &'n Net, name: &str) -> Result<(Vec<usize>, &'n [f32]), OnnxError> {
    let entry = net.entry(name).ok_or_else(|| OnnxError::Unfit(format!("its network has no tensor \"{name}\"")))?;
    Ok((entry.shape.clone(), &net.params()[entry.range()]))
}

/// Filters `[row, column, channel, filter]` as `[filter, channel, row, column]`.
fn turn_filters(shape: &[usize], weights: &[f32]) -> (usize, Vec<f32>) {
    let [rows, columns, channels, filters] = shape[..] else { return (0, Vec::new()) };
    let mut turned = Vec::with_capacity(weights.len());
    for f in 0..filters {
        for c in 0..channels {
            for r in 0..rows {
                turned.extend((0..columns).map(|k| weights[((r * columns + k) * channels + c) * filters + f]));
            }
        }
    }
    (filters, turned)
}

/// Gates (r, z, n) in the columns of `[rows, 3 width]` as ONNX has them: rows of `[3 width, rows]` in the order z, r, n.
fn turn_gates(values: &[f32], rows: usize, width: usize) -> Vec<f32> {
    let mut turned = Vec::with_capacity(values.len());
    for gate in [1, 0, 2] {
        for unit in 0..width {
            turned.extend((0..rows).map(|row| values[row * 3 * width + gate * width + unit]));
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_and_filters_are_turned() {
        // Two rows, one unit: columns r, z, n.
        assert_eq!(turn_gates(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 1), [2.0, 5.0, 1.0, 4.0, 3.0, 6.0]);
        // One row of pixels, two columns, one channel, two filters.
        assert_eq!(turn_filters(&[1, 2, 1, 2], &[1.0, 2.0, 3.0, 4.0]), (2, vec![1.0, 3.0, 2.0, 4.0]));
    }
}

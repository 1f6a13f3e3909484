//! One actor of a team as a graph.

use motley_core::unified::LiftPlan;
use motley_core::{AgentSpec, TeamSpec};
use motley_kernels::Activation;
use motley_nn::policy::ActingGroup;
use motley_nn::{Head, Net, TeamPolicy};
use serde_json::json;
use thiserror::Error;

use crate::graph::{Builder, Dim, Value, float, int, ints};

/// Masked logits: far below any real one, and finite, as every runtime bears it.
const MASKED: f32 = -1e9;
const EPSILON: f32 = 1e-5;
const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_GAMMA: f32 = 1.050_701;

/// A policy that cannot be written as a graph.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the policy cannot be exported: {0}")]
pub struct OnnxError(String);

/// One distinct actor as the bytes of an ONNX file.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The agents that it acts for.
    pub agents: Vec<String>,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Every distinct actor of a team: one a group, or one an agent where agents that share parameters are told apart by a one-hot. In a
/// unified space there is one for each kind, with the agents' own observations and actions outside.
///
/// # Errors
/// A network whose parameters are not where its description says, or that reads more than an observation.
pub fn export(policy: &TeamPolicy, algo: &str, team: &TeamSpec) -> Result<Vec<Exported>, OnnxError> {
    if policy.is_central() {
        return Err(OnnxError("one network decides for all agents, and a file has one agent's inputs".into()));
    }
    let mut all = Vec::new();
    for group in policy.groups() {
        if group.net.graph().is_some() {
            return Err(OnnxError("its agents send each other messages, and a file has one actor alone".into()));
        }
        if group.last_action || !group.constants.is_empty() {
            let what = "its networks read their last action or numbers of the policy besides observations, which the file's inputs do not have";
            return Err(OnnxError(what.into()));
        }
        let lift = policy.lift().map(|lift| lift.plan());
        // Agents whose graphs are equal have one: they read the same behind their observations and choose in the same way.
        let mut like: Vec<(Vec<f32>, Vec<usize>)> = Vec::new();
        for (m, &agent) in group.members.iter().enumerate() {
            let behind = behind(group, m, lift, &team.agents[agent], agent);
            let same = |agents: &[usize]| lift.is_none_or(|plan| plan.from_env[agents[0]] == plan.from_env[agent]);
            match like.iter_mut().find(|(row, agents)| *row == behind && same(agents)) {
                Some((_, agents)) => agents.push(agent),
                None => like.push((behind, vec![agent])),
            }
        }
        for (behind, members) in like {
            all.push(actor(group, behind, &members, algo, team, lift)?);
        }
    }
    Ok(all)
}

/// What a network reads behind an agent's own observation: padding and its kind, where it acts in a unified space, and its one-hot,
/// where it has one.
fn behind(group: &ActingGroup, m: usize, lift: Option<&LiftPlan>, spec: &AgentSpec, agent: usize) -> Vec<f32> {
    let mut row = Vec::new();
    if let Some(plan) = lift {
        row.resize(plan.observed - spec.obs.size() + plan.kinds, 0.0);
        if plan.kinds > 0 {
            row[plan.observed - spec.obs.size() + plan.kind_of_agent[agent]] = 1.0;
        }
    }
    if group.agent_id {
        row.extend((0..group.members.len()).map(|k| f32::from(u8::from(k == m))));
    }
    row
}

fn actor(
    group: &ActingGroup,
    behind: Vec<f32>,
    members: &[usize],
    algo: &str,
    team: &TeamSpec,
    lift: Option<&LiftPlan>,
) -> Result<Exported, OnnxError> {
    let (spec, first) = (group.net.spec(), &team.agents[members[0]]);
    let mut graph = Drawing { g: Builder::default(), net: &group.net };
    let obs = graph.g.input("obs", &[Dim::Batch, Dim::Is(first.obs.size())]);
    let batch = graph.batch(&obs);
    let x = graph.features(&obs, &batch, behind)?;
    let x = graph.trunk(x)?;
    let x = if spec.recurrent { graph.memory(x)? } else { x };
    let out = graph.linear(x, "output")?;
    match lift {
        None => graph.decide(&group.head, &out, &batch),
        Some(plan) => {
            // The agent's own actions out of the unified ones; any stands in for what is never available.
            let own: Vec<i64> = plan.from_env[members[0]].iter().map(|u| u.unwrap_or(0) as i64).collect();
            let columns = graph.g.whole("own_actions", &own);
            let out = graph.g.node("Gather", &[&out, &columns], vec![int("axis", 1)]);
            graph.choose(&[own.len()], &out);
        }
    }
    let agents: Vec<String> = members.iter().map(|&i| team.agents[i].name.clone()).collect();
    let properties = vec![
        ("algo", algo.to_owned()),
        ("agent_ids", json!(agents).to_string()),
        ("env_id", team.task.clone()),
        ("spaces", json!({ "observation": first.obs, "action": first.action }).to_string()),
        ("obs_norm", if group.net.entry("input_norm.gamma").is_some() { "layer_norm" } else { "none" }.to_owned()),
        ("deterministic", "true".to_owned()),
    ];
    Ok(Exported { bytes: graph.g.finish(&agents.join("+"), properties), agents })
}

struct Drawing<'a> {
    g: Builder,
    net: &'a Net,
}

impl Drawing<'_> {
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, &[f32]), OnnxError> {
        let entry = self.net.entry(name).ok_or_else(|| OnnxError(format!("its network has no tensor \"{name}\"")))?;
        Ok((entry.shape.clone(), &self.net.params()[entry.range()]))
    }

    fn weight(&mut self, name: &str) -> Result<Value, OnnxError> {
        let (shape, values) = self.tensor(name)?;
        let values = values.to_vec();
        Ok(self.g.floats(name, &shape, values))
    }

    /// The batch's size as a list of one number.
    fn batch(&mut self, obs: &Value) -> Value {
        let shape = self.g.node("Shape", &[obs], Vec::new());
        let first = self.g.whole("first", &[0]);
        self.g.node("Gather", &[&shape, &first], vec![int("axis", 0)])
    }

    /// A row, repeated over the batch.
    fn repeated(&mut self, stem: &str, row: Vec<f32>, batch: &Value) -> Value {
        let width = row.len();
        let row = self.g.floats(stem, &[1, width], row);
        let width = self.g.whole("width", &[width as i64]);
        let shape = self.g.node("Concat", &[batch, &width], vec![int("axis", 0)]);
        self.g.node("Expand", &[&row, &shape], Vec::new())
    }

    /// What the first linear layer reads: the observation, or its convolution, and the agent's constants behind it.
    fn features(&mut self, obs: &Value, batch: &Value, behind: Vec<f32>) -> Result<Value, OnnxError> {
        let spec = self.net.spec();
        let mut x = obs.clone();
        if self.net.entry("conv.weight").is_some() {
            let [height, width, channels] = spec.obs.shape[..] else {
                return Err(OnnxError("a convolution over what is no image".into()));
            };
            let full = self.g.floats("full", &[1], [255.0]);
            x = self.g.node("Div", &[&x, &full], Vec::new());
            let shape = self.g.whole("image", &[-1, height as i64, width as i64, channels as i64]);
            x = self.g.node("Reshape", &[&x, &shape], Vec::new());
            x = self.g.node("Transpose", &[&x], vec![ints("perm", &[0, 3, 1, 2])]);
            let (shape, weights) = self.tensor("conv.weight")?;
            let (filters, turned) = turn_filters(&shape, weights);
            let weight = self.g.floats("conv.weight", &[filters, channels, shape[0], shape[1]], turned);
            let bias = self.weight("conv.bias")?;
            x = self.g.node("Conv", &[&x, &weight, &bias], Vec::new());
            x = self.activation(x);
            x = self.g.node("Transpose", &[&x], vec![ints("perm", &[0, 2, 3, 1])]);
            x = self.g.node("Flatten", &[&x], vec![int("axis", 1)]);
        }
        if behind.is_empty() {
            return Ok(x);
        }
        let id = self.repeated("agent_id", behind, batch);
        Ok(self.g.node("Concat", &[&x, &id], vec![int("axis", 1)]))
    }

    fn trunk(&mut self, mut x: Value) -> Result<Value, OnnxError> {
        let spec = self.net.spec();
        if self.net.entry("input_norm.gamma").is_some() {
            x = self.norm(x, "input_norm")?;
        }
        for k in 0..spec.hidden_sizes.len() {
            x = self.linear(x, &format!("hidden.{k}"))?;
            x = self.activation(x);
            let norm = format!("hidden.{k}.norm");
            if self.net.entry(&format!("{norm}.gamma")).is_some() {
                x = self.norm(x, &norm)?;
            }
        }
        Ok(x)
    }

    fn linear(&mut self, x: Value, name: &str) -> Result<Value, OnnxError> {
        let (weight, bias) = (self.weight(&format!("{name}.weight"))?, self.weight(&format!("{name}.bias"))?);
        Ok(self.g.node("Gemm", &[&x, &weight, &bias], Vec::new()))
    }

    fn norm(&mut self, x: Value, name: &str) -> Result<Value, OnnxError> {
        let (gamma, beta) = (self.weight(&format!("{name}.gamma"))?, self.weight(&format!("{name}.beta"))?);
        Ok(self.g.node("LayerNormalization", &[&x, &gamma, &beta], vec![int("axis", -1), float("epsilon", EPSILON)]))
    }

    fn activation(&mut self, x: Value) -> Value {
        let (op, attributes) = match self.net.spec().activation {
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
    fn memory(&mut self, x: Value) -> Result<Value, OnnxError> {
        let width = self.net.memory_len();
        let held = self.g.input("h_in", &[Dim::Is(1), Dim::Batch, Dim::Is(width)]);
        let reset = self.g.input("reset", &[Dim::Batch]);
        let one = self.g.floats("one", &[1], [1.0]);
        let keep = self.g.node("Sub", &[&one, &reset], Vec::new());
        let around = self.g.whole("around", &[0, 2]);
        let keep = self.g.node("Unsqueeze", &[&keep, &around], Vec::new());
        let held = self.g.node("Mul", &[&held, &keep], Vec::new());
        let front = self.g.whole("front", &[0]);
        let step = self.g.node("Unsqueeze", &[&x, &front], Vec::new());
        let (shape, values) = self.tensor("gru.weight_ih")?;
        let (input, from_input) = (shape[0], turn_gates(values, shape[0], width));
        let (_, values) = self.tensor("gru.weight_hh")?;
        let from_state = turn_gates(values, width, width);
        let (_, values) = self.tensor("gru.bias_ih")?;
        let mut biases = turn_gates(values, 1, width);
        let (_, values) = self.tensor("gru.bias_hh")?;
        biases.extend(turn_gates(values, 1, width));
        let w = self.g.floats("gru.w", &[1, 3 * width, input], from_input);
        let r = self.g.floats("gru.r", &[1, 3 * width, width], from_state);
        let b = self.g.floats("gru.b", &[1, 6 * width], biases);
        let attributes = vec![int("hidden_size", width as i64), int("linear_before_reset", 1)];
        let run = self.g.node_many("GRU", &[&step, &w, &r, &b, &Builder::none(), &held], 2, attributes);
        self.g.output("h_out", &run[1], false, &[Dim::Is(1), Dim::Batch, Dim::Is(width)]);
        let now = self.g.node("Squeeze", &[&run[1], &front], Vec::new());
        if self.net.spec().layer_norm { self.norm(now, "gru.norm") } else { Ok(now) }
    }

    /// From the network's output to the greedy action in the environment's units.
    fn decide(&mut self, head: &Head, out: &Value, batch: &Value) {
        match head {
            Head::Categorical(sizes) => self.choose(sizes, out),
            Head::Gaussian { low, high, x_coef, y_coef } => {
                let free = self.net.free();
                // ln(y_coef sigmoid(w / x_coef)).
                let log_std = free.iter().map(|w| y_coef.ln() - (-w / x_coef).exp().ln_1p()).collect();
                let shape = [Dim::Batch, Dim::Is(low.len())];
                let log_std = self.repeated("log_std_row", log_std, batch);
                let action = self.within(out, low, high);
                self.g.output("action", &action, false, &shape);
                self.g.output("mean", out, false, &shape);
                self.g.output("log_std", &log_std, false, &shape);
            }
            Head::TanhGaussian { low, high } => {
                let shape = [Dim::Batch, Dim::Is(low.len())];
                let halves = self.g.whole("halves", &[low.len() as i64; 2]);
                let parts = self.g.node_many("Split", &[out, &halves], 2, vec![int("axis", 1)]);
                let (least, most) = (self.g.floats("least", &[], [-20.0]), self.g.floats("most", &[], [2.0]));
                let log_std = self.g.node("Clip", &[&parts[1], &least, &most], Vec::new());
                let action = self.squashed(&parts[0], low, high);
                self.g.output("action", &action, false, &shape);
                self.g.output("mean", &parts[0], false, &shape);
                self.g.output("log_std", &log_std, false, &shape);
            }
            Head::Deterministic { low, high } => {
                let action = self.squashed(out, low, high);
                self.g.output("action", &action, false, &[Dim::Batch, Dim::Is(low.len())]);
            }
        }
    }

    fn choose(&mut self, sizes: &[usize], out: &Value) {
        let options = sizes.iter().sum();
        let mask = self.g.input("action_mask", &[Dim::Batch, Dim::Is(options)]);
        let (half, masked) = (self.g.floats("half", &[], [0.5]), self.g.floats("masked", &[], [MASKED]));
        let available = self.g.node("Greater", &[&mask, &half], Vec::new());
        let logits = self.g.node("Where", &[&available, out, &masked], Vec::new());
        self.g.output("logits", &logits, false, &[Dim::Batch, Dim::Is(options)]);
        let pick =
            |g: &mut Builder, logits: &Value, keep: i64| g.node("ArgMax", &[logits], vec![int("axis", 1), int("keepdims", keep)]);
        if sizes.len() == 1 {
            let action = pick(&mut self.g, &logits, 0);
            return self.g.output("action", &action, true, &[Dim::Batch]);
        }
        let cuts = self.g.whole("choices", &sizes.iter().map(|n| *n as i64).collect::<Vec<_>>());
        let parts = self.g.node_many("Split", &[&logits, &cuts], sizes.len(), vec![int("axis", 1)]);
        let picks: Vec<Value> = parts.iter().map(|part| pick(&mut self.g, part, 1)).collect();
        let action = self.g.node("Concat", &picks.iter().collect::<Vec<_>>(), vec![int("axis", 1)]);
        self.g.output("action", &action, true, &[Dim::Batch, Dim::Is(sizes.len())]);
    }

    fn within(&mut self, x: &Value, low: &[f32], high: &[f32]) -> Value {
        let low = self.g.floats("low", &[low.len()], low.iter().copied());
        let high = self.g.floats("high", &[high.len()], high.iter().copied());
        let above = self.g.node("Max", &[x, &low], Vec::new());
        self.g.node("Min", &[&above, &high], Vec::new())
    }

    /// tanh, stretched onto the box.
    fn squashed(&mut self, u: &Value, low: &[f32], high: &[f32]) -> Value {
        let t = self.g.node("Tanh", &[u], Vec::new());
        let scale = self.g.floats("scale", &[low.len()], low.iter().zip(high).map(|(l, h)| 0.5 * (h - l)));
        let middle = self.g.floats("middle", &[low.len()], low.iter().zip(high).map(|(l, h)| 0.5 * (h + l)));
        let stretched = self.g.node("Mul", &[&t, &scale], Vec::new());
        let placed = self.g.node("Add", &[&stretched, &middle], Vec::new());
        self.within(&placed, low, high)
    }
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

//! QTRAN's joint networks (Son et al., ICML 2019): the joint value `Q(s, a)` and the state value `V(s)`.
//!
//! The joint value reads the state and either the agents' one-hot actions, or the sum over agents of
//! `enc([h_i, onehot(a_i)])` of what their utility networks remember (the paper's form; an encoder per group, so that agents may
//! be unlike).

use motley_core::Stream;
use motley_kernels::mlp::backward;
use motley_kernels::{Activation, Entry, Mlp, MlpShape, Pool, Workspace};

use crate::qmix::start;

/// In place of a choice: the agent is dead, and has no part in the joint value.
pub const ABSENT: u32 = u32::MAX;

/// Agents that share a network, as the joint value sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JointGroup {
    /// Agents, in the team's order.
    pub members: Vec<usize>,
    /// Choices of each.
    pub actions: usize,
    /// Entries of what each remembers; 0: the joint value reads actions alone.
    pub hidden: usize,
}

/// Sizes of the joint networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QtranShape {
    /// Entries of the state.
    pub state: usize,
    /// The groups; all have `hidden`, or none.
    pub groups: Vec<JointGroup>,
    /// Width of the two hidden layers of Q and V.
    pub embed: usize,
}

impl QtranShape {
    fn net(input: usize, hidden: &[usize], output: usize) -> MlpShape {
        MlpShape {
            input,
            input_norm: false,
            hidden: hidden.to_vec(),
            activation: Activation::Relu,
            last_activation: None,
            hidden_norm: false,
            output,
            output_activation: Activation::Identity,
        }
    }

    /// Whether actions are encoded together with what agents remember.
    pub fn remembers(&self) -> bool {
        self.groups.iter().any(|g| g.hidden > 0)
    }

    /// Entries of the actions' code behind the state: the widest `hidden + actions`, or all one-hots one after the other.
    fn code(&self) -> usize {
        if self.remembers() {
            self.groups.iter().map(|g| g.hidden + g.actions).max().unwrap_or(0)
        } else {
            self.groups.iter().map(|g| g.members.len() * g.actions).sum()
        }
    }

    /// Q, V, then an encoder per group where agents remember, with the prefixes of their entries.
    fn nets(&self) -> Vec<(String, MlpShape)> {
        let (hidden, code) = ([self.embed, self.embed], self.code());
        let mut nets = vec![
            ("joint.".to_owned(), Self::net(self.state + code, &hidden, 1)),
            ("value.".to_owned(), Self::net(self.state, &hidden, 1)),
        ];
        if self.remembers() {
            let encoder = |(g, group): (usize, &JointGroup)| {
                let input = group.hidden + group.actions;
                (format!("encoder.{g}."), Self::net(input, &[input], code))
            };
            nets.extend(self.groups.iter().enumerate().map(encoder));
        }
        nets
    }

    /// The flat layout: the entries of [`MlpShape::entries`] behind `joint.`, `value.` and `encoder.{group}.`.
    pub fn entries(&self) -> Vec<Entry> {
        let mut offset = 0;
        let mut all = Vec::new();
        for (prefix, net) in self.nets() {
            all.extend(net.entries().into_iter().map(|e| Entry {
                name: format!("{prefix}{}", e.name),
                offset: offset + e.offset,
                shape: e.shape,
            }));
            offset += net.param_len();
        }
        all
    }

    /// Where agent `i`'s one-hot begins in the code of actions alone.
    fn one_hot_at(&self, agent: usize) -> usize {
        let before = |g: &JointGroup| g.members.iter().filter(|i| **i < agent).count() * g.actions;
        self.groups.iter().map(before).sum()
    }
}

/// Moments of which joint values are asked.
#[derive(Debug, Clone, Copy)]
pub struct JointRows<'a> {
    /// `[rows, state]`
    pub state: &'a [f32],
    /// Per group what its members remember, `[rows, members, hidden]`; not read where agents do not remember.
    pub hidden: &'a [&'a [f32]],
}

impl JointRows<'_> {
    fn rows(&self, shape: &QtranShape) -> usize {
        self.state.len() / shape.state.max(1)
    }
}

/// What [`Qtran::joint`] keeps for [`Qtran::joint_grad`].
#[derive(Debug, Clone, Default)]
pub struct JointTape {
    x: Vec<f32>,
    /// Per group the inputs of its encoder, and which of them are of the living.
    codes: Vec<(Vec<f32>, Vec<bool>)>,
}

/// The joint networks with their parameters.
#[derive(Debug, Clone)]
pub struct Qtran {
    shape: QtranShape,
    params: Vec<f32>,
    nets: Vec<Mlp>,
}

impl Qtran {
    /// Networks with initial parameters drawn from `rng`.
    pub fn new(shape: QtranShape, rng: &Stream) -> Self {
        let params = start(&shape.entries(), rng);
        let nets = shape.nets().into_iter().map(|(_, net)| Mlp::new(net)).collect();
        let mut all = Self { shape, params, nets };
        all.set_params(|_| {});
        all
    }

    /// Their sizes.
    pub fn shape(&self) -> &QtranShape {
        &self.shape
    }

    /// All parameters, laid out as [`QtranShape::entries`] says.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// Changes the parameters and packs them anew.
    pub fn set_params(&mut self, change: impl FnOnce(&mut [f32])) {
        change(&mut self.params);
        let mut at = 0;
        for net in &mut self.nets {
            let len = net.shape().param_len();
            net.pack(&self.params[at..at + len]);
            at += len;
        }
    }

    /// Where the parameters of network `k` lie.
    fn part(&self, k: usize) -> std::ops::Range<usize> {
        let before: usize = self.nets[..k].iter().map(|n| n.shape().param_len()).sum();
        before..before + self.nets[k].shape().param_len()
    }

    /// `V(s)`, `[rows]`.
    pub fn value(&self, pool: &Pool, at: JointRows<'_>) -> Vec<f32> {
        let rows = at.rows(&self.shape);
        let mut out = vec![0.0; rows];
        self.nets[1].forward_pool(pool, at.state, rows, &mut out);
        out
    }

    /// Gradient of `V` from that by its values, into the whole `grad` (the other networks' part is left).
    pub fn value_grad(&self, pool: &Pool, at: JointRows<'_>, d_value: &[f32], grad: &mut [f32], work: &mut Workspace) {
        backward(pool, &self.nets[1], at.state, d_value.len(), d_value, &mut grad[self.part(1)], None, work);
    }

    /// `Q(s, a)`, `[rows]`, for the choices `actions` (`[rows, agents]`; [`ABSENT`] for the dead).
    pub fn joint(&self, pool: &Pool, at: JointRows<'_>, actions: &[u32], tape: &mut JointTape) -> Vec<f32> {
        let rows = at.rows(&self.shape);
        let (state, code) = (self.shape.state, self.shape.code());
        let width = state + code;
        tape.x.clear();
        tape.x.resize(rows * width, 0.0);
        for (row, s) in tape.x.chunks_exact_mut(width).zip(at.state.chunks_exact(state)) {
            row[..state].copy_from_slice(s);
        }
        if self.shape.remembers() {
            self.encode(pool, at, actions, tape);
        } else {
            let agents = actions.len() / rows.max(1);
            for i in 0..agents {
                let from = state + self.shape.one_hot_at(i);
                for (row, taken) in tape.x.chunks_exact_mut(width).zip(actions.chunks_exact(agents)) {
                    if taken[i] != ABSENT {
                        row[from + taken[i] as usize] = 1.0;
                    }
                }
            }
        }
        let mut out = vec![0.0; rows];
        self.nets[0].forward_pool(pool, &tape.x, rows, &mut out);
        out
    }

    /// Adds every agent's encoded memory and action to the code of its row.
    fn encode(&self, pool: &Pool, at: JointRows<'_>, actions: &[u32], tape: &mut JointTape) {
        let (rows, code) = (at.rows(&self.shape), self.shape.code());
        let (agents, width) = (actions.len() / rows.max(1), self.shape.state + code);
        tape.codes.resize_with(self.shape.groups.len(), Default::default);
        for (g, group) in self.shape.groups.iter().enumerate() {
            let (input, count) = (group.hidden + group.actions, group.members.len());
            let (x, present) = &mut tape.codes[g];
            x.clear();
            x.resize(rows * count * input, 0.0);
            present.clear();
            let order = |r: usize| (r / count, group.members[r % count]);
            for (r, (to, h)) in x.chunks_exact_mut(input).zip(at.hidden[g].chunks_exact(group.hidden)).enumerate() {
                let (row, agent) = order(r);
                let taken = actions[row * agents + agent];
                present.push(taken != ABSENT);
                if taken != ABSENT {
                    to[..group.hidden].copy_from_slice(h);
                    to[group.hidden + taken as usize] = 1.0;
                }
            }
            let mut out = vec![0.0; rows * count * code];
            self.nets[2 + g].forward_pool(pool, x, rows * count, &mut out);
            for (r, from) in out.chunks_exact(code).enumerate().filter(|(r, _)| present[*r]) {
                let row = order(r).0;
                let to = &mut tape.x[(row + 1) * width - code..(row + 1) * width];
                to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
            }
        }
    }

    /// Gradients of what the last [`Qtran::joint`] with this tape computed: by the parameters of `Q` and the encoders into the whole
    /// `grad`, by what agents remember into `d_hidden` (per group, laid out as in [`JointRows`]; overwritten).
    #[allow(clippy::too_many_arguments, reason = "inputs, outputs and memory of one call")]
    pub fn joint_grad(
        &self,
        pool: &Pool,
        d_joint: &[f32],
        tape: &JointTape,
        grad: &mut [f32],
        d_hidden: &mut [Vec<f32>],
        work: &mut Workspace,
    ) {
        let rows = d_joint.len();
        if !self.shape.remembers() {
            return backward(pool, &self.nets[0], &tape.x, rows, d_joint, &mut grad[self.part(0)], None, work);
        }
        let mut d_x = vec![0.0; tape.x.len()];
        backward(pool, &self.nets[0], &tape.x, rows, d_joint, &mut grad[self.part(0)], Some(&mut d_x), work);
        let (code, width) = (self.shape.code(), self.shape.state + self.shape.code());
        for (g, group) in self.shape.groups.iter().enumerate() {
            let (input, count) = (group.hidden + group.actions, group.members.len());
            let (x, present) = &tape.codes[g];
            let mut d_out = vec![0.0; rows * count * code];
            for (r, to) in d_out.chunks_exact_mut(code).enumerate().filter(|(r, _)| present[*r]) {
                let row = r / count;
                to.copy_from_slice(&d_x[(row + 1) * width - code..(row + 1) * width]);
            }
            let mut d_in = vec![0.0; x.len()];
            let part = self.part(2 + g);
            backward(pool, &self.nets[2 + g], x, rows * count, &d_out, &mut grad[part], Some(&mut d_in), work);
            d_hidden[g].clear();
            d_hidden[g].extend(d_in.chunks_exact(input).flat_map(|row| &row[..group.hidden]));
        }
    }
}

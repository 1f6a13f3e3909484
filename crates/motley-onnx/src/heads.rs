//! From what a network puts out to actions in the environment's units, and from a last action to what a network reads.

use motley_nn::Head;
use motley_nn::dist::softplus;
use motley_nn::policy::ActingGroup;

use crate::graph::{Builder, Dim, Value, int};
use crate::network::Drawing;
use crate::parts::{Part, parts};

/// Masked logits: far below any real one, and finite, as every runtime bears it.
pub(crate) const MASKED: f32 = -1e9;

impl Drawing<'_> {
    /// The outputs of a decider, from its network's `[B, outputs]`.
    pub(crate) fn decide(&mut self, group: &ActingGroup, decider: usize, out: &Value) {
        for part in parts(self.policy, group, decider) {
            let out = match &part.columns {
                None => out.clone(),
                Some(columns) => self.g.columns(out, columns),
            };
            self.head(&part, &out);
        }
    }

    fn head(&mut self, part: &Part, out: &Value) {
        let (action, mean, deviation) =
            (self.name("action", part.agent), self.name("mean", part.agent), self.name("log_std", part.agent));
        match &part.head {
            Head::Categorical(sizes) => self.choose(part.agent, sizes, out),
            Head::Gaussian { low, high, x_coef, y_coef } => {
                // ln(y_coef sigmoid(w / x_coef)).
                let log_std = part.free.iter().map(|w| y_coef.ln() - softplus(-w / x_coef)).collect();
                let shape = [Dim::Batch, Dim::Is(low.len())];
                let log_std = self.repeated("log_std_row", log_std);
                let greedy = self.within(out, low, high);
                self.g.output(&action, &greedy, false, &shape);
                self.g.output(&mean, out, false, &shape);
                self.g.output(&deviation, &log_std, false, &shape);
            }
            Head::TanhGaussian { low, high } => {
                let shape = [Dim::Batch, Dim::Is(low.len())];
                let halves = self.g.whole("halves", &[low.len() as i64; 2]);
                let parts = self.g.node_many("Split", &[out, &halves], 2, vec![int("axis", 1)]);
                let (least, most) = (self.g.floats("least", &[], [-20.0]), self.g.floats("most", &[], [2.0]));
                let log_std = self.g.node("Clip", &[&parts[1], &least, &most], Vec::new());
                let greedy = self.squashed(&parts[0], low, high);
                self.g.output(&action, &greedy, false, &shape);
                self.g.output(&mean, &parts[0], false, &shape);
                self.g.output(&deviation, &log_std, false, &shape);
            }
            Head::Deterministic { low, high } => {
                let greedy = self.squashed(out, low, high);
                self.g.output(&action, &greedy, false, &[Dim::Batch, Dim::Is(low.len())]);
            }
        }
    }

    fn choose(&mut self, agent: usize, sizes: &[usize], out: &Value) {
        let options = sizes.iter().sum();
        let (mask, logits, action) = (self.name("action_mask", agent), self.name("logits", agent), self.name("action", agent));
        let mask = self.g.input(&mask, &[Dim::Batch, Dim::Is(options)]);
        let (half, masked) = (self.g.floats("half", &[], [0.5]), self.g.floats("masked", &[], [MASKED]));
        let available = self.g.node("Greater", &[&mask, &half], Vec::new());
        let open = self.g.node("Where", &[&available, out, &masked], Vec::new());
        self.g.output(&logits, &open, false, &[Dim::Batch, Dim::Is(options)]);
        let pick = |g: &mut Builder, x: &Value, keep: i64| g.node("ArgMax", &[x], vec![int("axis", 1), int("keepdims", keep)]);
        if sizes.len() == 1 {
            let greedy = pick(&mut self.g, &open, 0);
            return self.g.output(&action, &greedy, true, &[Dim::Batch]);
        }
        let cuts = self.g.whole("choices", &sizes.iter().map(|n| *n as i64).collect::<Vec<_>>());
        let parts = self.g.node_many("Split", &[&open, &cuts], sizes.len(), vec![int("axis", 1)]);
        let picks: Vec<Value> = parts.iter().map(|part| pick(&mut self.g, part, 1)).collect();
        let greedy = self.g.concat(&picks, 1);
        self.g.output(&action, &greedy, true, &[Dim::Batch, Dim::Is(sizes.len())]);
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

    /// A decider's last action as its network reads it, `[B, block]`: zeros where an episode starts.
    pub(crate) fn last_action(&mut self, group: &ActingGroup, decider: usize) -> Value {
        let mut blocks = Vec::new();
        for part in parts(self.policy, group, decider) {
            let name = self.name("last_action", part.agent);
            match &part.head {
                Head::Categorical(sizes) => {
                    // In a unified space the network knows the agent's actions by other numbers.
                    let unified = part.columns.filter(|_| self.policy.lift().is_some()).map(|own| (own, group.head.outputs()));
                    blocks.extend(self.one_hots(&name, sizes, unified));
                }
                Head::Gaussian { low, .. } | Head::TanhGaussian { low, .. } | Head::Deterministic { low, .. } => {
                    blocks.push(self.g.input(&name, &[Dim::Batch, Dim::Is(low.len())]));
                }
            }
        }
        let block = self.g.concat(&blocks, 1);
        let keep = self.keep();
        self.g.node("Mul", &[&block, &keep], Vec::new())
    }

    /// One-hots of choices, `[B, size]` each, or of their numbers in a space of so many.
    fn one_hots(&mut self, name: &str, sizes: &[usize], unified: Option<(Vec<usize>, usize)>) -> Vec<Value> {
        let values = self.g.floats("off_on", &[2], [0.0, 1.0]);
        let hot = |g: &mut Builder, index: &Value, size: usize| {
            let depth = g.scalar("depth", size);
            g.node("OneHot", &[index, &depth, &values], Vec::new())
        };
        if let [size] = sizes {
            let mut index = self.g.input_whole(name, &[Dim::Batch]);
            let mut depth = *size;
            if let Some((own, all)) = unified {
                let own: Vec<i64> = own.iter().map(|u| *u as i64).collect();
                let numbers = self.g.whole("unified", &own);
                (index, depth) = (self.g.node("Gather", &[&numbers, &index], vec![int("axis", 0)]), all);
            }
            return vec![hot(&mut self.g, &index, depth)];
        }
        let all = self.g.input_whole(name, &[Dim::Batch, Dim::Is(sizes.len())]);
        let mut each = Vec::with_capacity(sizes.len());
        for (c, size) in sizes.iter().enumerate() {
            let at = self.g.scalar("choice", c);
            let index = self.g.node("Gather", &[&all, &at], vec![int("axis", 1)]);
            each.push(hot(&mut self.g, &index, *size));
        }
        each
    }
}

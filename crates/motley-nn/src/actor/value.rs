//! Actor and critic in one network: the value of a row is one more output behind the distribution's numbers, so that both learn the
//! same messages and hidden layers (the reference of HetGPPO: Bettini, Shankar, Prorok, AAMAS 2023).
//!
//! ```text
//! L = mean over active rows of [ -surrogate - entropy_coef H ] + mean over rows that count of value_coef l(V, R)
//! ```

use std::sync::Arc;

use motley_core::Stream;
use motley_data::rollout::Rollout;
use motley_kernels::Pool;

use super::{Actor, ActorRows};
use crate::critic::{CriticConfig, Values};
use crate::init::Init;
use crate::net::{Net, NetScratch, NetSpec};
use crate::optim::{Adam, AdamConfig};
use crate::policy::fill_shown;

/// What the value output of a network should put out.
#[derive(Debug, Clone, Copy)]
pub struct ValueGoal<'a> {
    /// Returns, `[members * rows]`.
    pub targets: &'a [f32],
    /// Values before the update, for the clipped loss, `[members * rows]`.
    pub old: &'a [f32],
    /// Rows whose values are learned, `[members * rows]`: where a team is paid together those of the dead too.
    pub counts: &'a [bool],
    /// Which loss, and its weight; targets are not normalised.
    pub config: &'a CriticConfig,
}

impl Actor {
    /// The same actor with initial parameters of a network that also puts out a value; the value's weights start as a critic's do.
    pub fn with_value(mut self, adam: AdamConfig, rng: &Stream) -> Self {
        let spec = NetSpec { output: self.head.outputs() + 1, ..self.net.spec().clone() };
        self.net = match self.net.graph() {
            None => Net::new(spec, rng),
            Some(graph) => Net::on_graph(spec, Arc::clone(graph), rng),
        };
        let (gain, width) = (self.net.spec().output_gain as f32, self.net.output_len());
        if let Some(weight) = self.net.entry("output.weight").map(crate::net::Entry::range)
            && self.net.spec().init == Init::Orthogonal
            && gain > 0.0
        {
            // Columns of an orthogonal matrix have one length: the policy's that of its gain, the value's 1.
            self.net.set_params(|p| p[weight].chunks_exact_mut(width).for_each(|row| row[width - 1] /= gain));
        }
        self.adam = Adam::new(self.net.params().len(), adam);
        self.grad = vec![0.0; self.net.params().len()];
        self.valued = true;
        self
    }

    /// The network that acts: without its value output or second head.
    pub(super) fn deciding(&self) -> Net {
        if let Some(narrow) = &self.narrow {
            return narrow.with_first_head_of(&self.net);
        }
        if !self.valued {
            return self.net.clone();
        }
        let spec = NetSpec { output: self.head.outputs(), ..self.net.spec().clone() };
        let mut net = Net::zeros(spec, self.net.graph().cloned());
        let parts: Vec<_> =
            net.entries().iter().zip(self.net.entries()).map(|(into, from)| (into.clone(), from.clone())).collect();
        net.set_params(|params| {
            for (into, from) in &parts {
                // Only the last layer differs: it loses its last column.
                let (narrow, wide) = (into.shape.last().copied().unwrap_or(1), from.shape.last().copied().unwrap_or(1));
                let rows = self.net.params()[from.range()].chunks_exact(wide);
                for (into, from) in params[into.range()].chunks_exact_mut(narrow).zip(rows) {
                    into.copy_from_slice(&from[..narrow]);
                }
            }
        });
        net
    }

    /// Values of the actor's rows and of what followed them, under the present weights of a network without memory that has a value
    /// output ([`Actor::with_value`]).
    pub fn values(&self, pool: &Pool, roll: &Rollout, all: &ActorRows) -> Values {
        let (steps, envs, input, output) = (roll.steps(), roll.envs(), self.net.input_len(), self.net.output_len());
        let out = self.outputs(pool, roll, all);
        let here: Vec<f32> = out.chunks_exact(output).map(|row| row[output - 1]).collect();
        let mut next = vec![0.0; here.len()];
        let mut parts: Vec<&mut [f32]> = next.chunks_mut(steps).collect();
        pool.run(&mut parts, |pass, next| {
            let (m, lane) = (pass / envs, &roll.lanes[pass % envs]);
            let (mut x, mut row, mut scratch) = (vec![0.0; input], vec![0.0; output], NetScratch::default());
            let mut value = |obs: &[f32]| {
                fill_shown(&self.net, roll.team(), obs, self.members[m], self.agent_id.then_some(m), &mut x);
                self.net.forward(&x, 1, &mut [], &mut row, &mut scratch);
                row[output - 1]
            };
            next[..steps - 1].copy_from_slice(&here[pass * steps + 1..(pass + 1) * steps]);
            next[steps - 1] = value(roll.all_obs(pass % envs, steps));
            for end in &lane.finals {
                next[end.time] = value(&end.obs);
            }
        });
        Values::plain(here, next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

    use motley_core::{ActionSpace, AgentSpec, ObsSpace, Purpose, Settings, TeamSpec};
    use motley_kernels::RowLoss;

    use super::*;
    use crate::actor::loss::{ActorLoss, STATS, Scales};
    use crate::net::Engine;
    use crate::{Activation, Ascent, Head, Objective};

    fn rng(id: u64) -> Stream {
        Stream::new(id, Purpose::Check, 0, 0)
    }

    fn actor(action: &ActionSpace, gain: f64) -> Actor {
        let team = TeamSpec::new("test/value", vec![AgentSpec::new("a", "a", ObsSpace::vector(4), action.clone())]);
        let spec = NetSpec {
            obs: ObsSpace::vector(0),
            extra: 0,
            hidden_sizes: vec![16, 16],
            activation: Activation::Tanh,
            last_activation: None,
            feature_norm: false,
            layer_norm: false,
            recurrent: false,
            output: 0,
            output_gain: gain,
            init: Init::Orthogonal,
            free: Vec::new(),
        };
        let head = Head::for_space(action, true, 1.0, 0.5);
        let adam = AdamConfig::read(&Settings::new(AdamConfig::keys())).unwrap();
        Actor::new(&team, vec![0], head, spec, false, adam.clone(), Engine::Fused, 0, &rng(1)).unwrap().with_value(adam, &rng(2))
    }

    /// What acts is the network without its last output, and the value's weights start as long as a critic's.
    #[test]
    fn acting_leaves_the_value_out() {
        for action in [ActionSpace::Discrete(3), ActionSpace::uniform_box(2, -1.0, 1.0)] {
            let actor = actor(&action, 0.01);
            let (wide, narrow) = (actor.net.output_len(), actor.head.outputs());
            let acting = actor.acting();
            assert_eq!((wide, acting.net.output_len()), (narrow + 1, narrow));
            let x: Vec<f32> = (0..4).map(|k| (k as f32).sin()).collect();
            let (mut all, mut decided) = (vec![0.0; wide], vec![0.0; narrow]);
            actor.net.forward(&x, 1, &mut [], &mut all, &mut NetScratch::default());
            acting.net.forward(&x, 1, &mut [], &mut decided, &mut NetScratch::default());
            assert_eq!(all[..narrow], decided);
            let weight = &actor.net.params()[actor.net.entry("output.weight").unwrap().range()];
            let length = |c: usize| weight.iter().skip(c).step_by(wide).map(|w| w * w).sum::<f32>().sqrt();
            assert!((length(0) - 0.01).abs() < 1e-5 && (length(narrow) - 1.0).abs() < 1e-3, "{} {}", length(0), length(narrow));
        }
    }

    /// The derivative of policy and value loss together against differences of the reported sums.
    #[test]
    fn slopes_match_differences() {
        let head = Head::Categorical(vec![3]);
        let all = ActorRows {
            rows: 2,
            steps: 2,
            x: Vec::new(),
            raw: vec![1.0, 2.0],
            mask: vec![true; 6],
            old: vec![-1.2, -0.9],
            active: vec![true, true],
        };
        let config = CriticConfig::read(&Settings::new(CriticConfig::keys())).unwrap();
        let config = CriticConfig { value_coef: 0.7, value_clip: 0.0, ..config };
        let objective = Objective::Ratio;
        let ascent = Ascent { objective: &objective, weight: &[0.8, -1.5], entropy_coef: 0.1, lr: 0.0 };
        let goal = ValueGoal { targets: &[1.0, -2.0], old: &[0.0, 0.0], counts: &[true, true], config: &config };
        let scales = Scales { policy: 0.5, value: 0.5 };
        let loss = ActorLoss { head: &head, output: 4, free: &[], all: &all, indices: &[0, 1], ascent, scales, goal: Some(goal) };
        let out = [0.2, -0.4, 0.3, 0.6, -0.1, 0.5, 0.9, -0.7];
        let at = |out: &[f32]| {
            let (mut d, mut stats) = (vec![0.0; 8], vec![0.0; STATS]);
            loss.rows(0, out, &mut d, &mut stats);
            (d, 0.5 * (-stats[0] - 0.1 * stats[1] + stats[6]))
        };
        let (slope, _) = at(&out);
        for k in 0..out.len() {
            let (mut up, mut down) = (out, out);
            (up[k], down[k]) = (out[k] + 1e-2, out[k] - 1e-2);
            let numeric = (at(&up).1 - at(&down).1) / 2e-2;
            assert!((numeric - f64::from(slope[k])).abs() < 2e-4, "{k}: {numeric} {}", slope[k]);
        }
        // Where one row of three decides and two count, each part is a mean over its own rows.
        let scales = Scales { policy: 1.0, value: 0.5 };
        let (mut d, mut stats) = (vec![0.0; 8], vec![0.0; STATS]);
        ActorLoss { scales, ..loss }.rows(0, &out, &mut d, &mut stats);
        for (k, (doubled, slope)) in d.iter().zip(&slope).enumerate() {
            assert_eq!(*doubled, if k % 4 == 3 { *slope } else { 2.0 * slope }, "{k}");
        }
        let value = 0.5 * 0.7 * 0.5 * ((0.6f64 - 1.0).powi(2) + (-0.7f64 + 2.0).powi(2));
        let plain = ActorLoss { goal: None, output: 3, ..loss };
        let (mut d, mut stats) = (vec![0.0; 6], vec![0.0; STATS]);
        plain.rows(0, &[0.2, -0.4, 0.3, -0.1, 0.5, 0.9], &mut d, &mut stats);
        let apart = 0.5 * (-stats[0] - 0.1 * stats[1]);
        assert!((at(&out).1 - apart - value).abs() < 1e-6, "the value's loss is added to the policy's");
        assert_eq!([&d[..3], &d[3..]], [&slope[..3], &slope[4..7]]);
    }
}

//! Independent oracles: values from saved weights, log-probabilities and advantages by the textbook's formulas in f64.

use motley_core::{ObsSpace, Purpose, Status, Stream};
use motley_data::rollout::Rollout;
use motley_nn::init::Init;
use motley_nn::policy::ActingGroup;
use motley_nn::{Activation, Head, Net, NetSpec};
use motley_run::StateReader;

/// The value network of `critic.0` in `saved`, as [`super::SMALL`] settings build it.
pub fn critic_net(saved: &StateReader, input: usize, recurrent: bool) -> Net {
    let spec = NetSpec {
        obs: ObsSpace::vector(input),
        extra: 0,
        hidden_sizes: vec![16],
        activation: Activation::Relu,
        last_activation: None,
        feature_norm: true,
        layer_norm: true,
        recurrent,
        output: 1,
        output_gain: 1.0,
        init: Init::Orthogonal,
        free: Vec::new(),
    };
    let mut net = Net::new(spec, &Stream::new(0, Purpose::Check, 0, 0));
    let params = saved.f32s("critic.0.params").unwrap();
    net.set_params(|p| p.copy_from_slice(&params));
    net
}

/// What a network without memory says about one row.
pub fn value(net: &Net, row: &[f32]) -> f64 {
    let mut out = [0.0];
    net.forward(row, 1, &mut [], &mut out, &mut Default::default());
    f64::from(out[0])
}

/// Log-probability of a raw action by the textbook's formulas, in f64, from what the network put out.
pub fn log_pi(group: &ActingGroup, out: &[f32], mask: &[bool], raw: &[f32]) -> f64 {
    let normal = |mean: f64, std: f64, x: f64| -0.5 * ((x - mean) / std).powi(2) - std.ln() - 0.5 * std::f64::consts::TAU.ln();
    match &group.head {
        Head::Categorical(sizes) => {
            let (mut at, mut total) = (0, 0.0);
            for (n, pick) in sizes.iter().zip(raw) {
                let open = |k: usize| if mask[at + k] { f64::from(out[at + k]).exp() } else { 0.0 };
                total += (open(*pick as usize) / (0..*n).map(open).sum::<f64>()).ln();
                at += n;
            }
            total
        }
        Head::Gaussian { x_coef, y_coef, .. } => (0..raw.len())
            .map(|d| {
                let std = f64::from(*y_coef) / (1.0 + (-f64::from(group.net.free()[d]) / f64::from(*x_coef)).exp());
                normal(out[d].into(), std, raw[d].into())
            })
            .sum(),
        Head::TanhGaussian { low, high } => (0..raw.len())
            .map(|d| {
                let (u, log_std) = (f64::from(raw[d]), f64::from(out[low.len() + d]).clamp(-20.0, 2.0));
                let slope = 0.5 * f64::from(high[d] - low[d]) * (1.0 - u.tanh().powi(2));
                normal(out[d].into(), log_std.exp(), u) - slope.ln()
            })
            .sum(),
        Head::Deterministic { .. } => 0.0,
    }
}

/// [`log_pi`] of every row of a one-agent group without memory.
pub fn log_pis(group: &ActingGroup, roll: &Rollout) -> Vec<f64> {
    let agent = group.members[0];
    let mut out = vec![0.0; group.net.output_len()];
    (0..roll.rows())
        .map(|row| {
            let (e, t) = roll.at(row);
            group.net.forward(roll.obs(e, t, agent), 1, &mut [], &mut out, &mut Default::default());
            log_pi(group, &out, roll.avail(e, t, agent), roll.action(e, t, agent))
        })
        .collect()
}

/// How [`by_hand`] reads a rollout.
pub struct Hand<'a> {
    pub roll: &'a Rollout,
    /// Values of state row `k` of the slot before step t, and of what truly followed it: (e, t) -> (V, V').
    pub values: &'a dyn Fn(usize, usize) -> (f64, f64),
    pub reward: &'a dyn Fn(usize, usize) -> f64,
    pub gamma: f64,
    pub lambda: f64,
    pub truncation: &'a str,
}

/// Advantages and targets as explicit forward sums `A_t = sum_k (gamma lambda)^k delta_{t+k}`, row by row.
pub fn by_hand(hand: &Hand<'_>) -> (Vec<f64>, Vec<f64>) {
    let Hand { roll, gamma, lambda, .. } = *hand;
    let (mut advantages, mut targets) = (Vec::new(), Vec::new());
    for row in 0..roll.rows() {
        let (e, from) = roll.at(row);
        let lane = &roll.lanes[e];
        let (mut sum, mut weight) = (0.0, 1.0);
        for t in from..roll.steps() {
            let (here, next) = (hand.values)(e, t);
            let cut = lane.status[t] == Status::Truncated;
            let follows = match (lane.status[t], hand.truncation) {
                (Status::Terminated, _) | (Status::Truncated, "terminal") => 0.0,
                _ => next,
            };
            if !lane.valid[t] || (cut && hand.truncation == "harl") {
                break;
            }
            sum += weight * ((hand.reward)(e, t) + gamma * follows - here);
            weight *= gamma * lambda;
            if lane.status[t].done() || (t + 1 < roll.steps() && !lane.valid[t + 1]) {
                break;
            }
        }
        advantages.push(sum);
        targets.push(sum + (hand.values)(e, from).0);
    }
    (advantages, targets)
}

/// V(s_t) and V of the true next state, of critic row `k`, by a network without memory.
pub fn plain_values<'a>(roll: &'a Rollout, net: &'a Net, k: usize) -> impl Fn(usize, usize) -> (f64, f64) + 'a {
    let width = roll.team().state.row();
    move |e, t| {
        let end = roll.lanes[e].finals.iter().find(|f| f.time == t);
        let next = end.map_or(roll.state(e, t + 1, k), |f| &f.state[k * width..(k + 1) * width]);
        (value(net, roll.state(e, t, k)), value(net, next))
    }
}

/// `(x - mean) / (std + 1e-5)` with moments over the entries that count.
pub fn normalized(xs: &[f64], counts: &[bool]) -> Vec<f64> {
    let kept: Vec<f64> = xs.iter().zip(counts).filter(|(_, c)| **c).map(|(x, _)| *x).collect();
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    let std = (kept.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / kept.len() as f64).sqrt();
    xs.iter().map(|x| (x - mean) / (std + 1e-5)).collect()
}

//! The cross-group inverse loss (CGI) of unified action spaces: from its own observation every agent predicts, by a second head, what
//! the agents of other groups do.
//!
//! Yu, Lin, Wang, Lv, Han, "Improving Global Parameter-sharing in Physically Heterogeneous Multi-agent Reinforcement Learning with
//! Unified Action Space", arXiv 2408.07395. At a moment t, for every living agent i and every other group g' with living agents:
//!
//! ```text
//! c_u  = living agents j of g' to whom unified action u is open,      S = { u : c_u > 0 }
//! policies:  p = softmax over S of the second head,   y_u = mean over living j of pi_j(u | h_j)
//! values:    p = the second head,                     y_u = mean over those c_u of Q_j(h_j, u)
//! L = mean over t, i, g', u in S of (p_u - y_u)^2
//! ```
//!
//! The paper leaves open which agents make the target, how groups are paired and where gradients flow; these are options. By default
//! y is the mean, groups are paired one by one, and no gradient flows into y.

use motley_core::Metrics;

use crate::actor::{ActorRows, Outputs};
use crate::dist::Normaliser;

/// What the network's first head puts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predicted {
    /// Logits of a masked softmax.
    Policy,
    /// Values of actions.
    Values,
}

/// Whom a prediction is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// Each other group by itself.
    Each,
    /// All other groups as one.
    Union,
}

/// Which living agents make the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// All of them, averaged.
    Mean,
    /// The first in the team's order.
    First,
}

/// The options of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossGroupConfig {
    /// What is predicted.
    pub predicted: Predicted,
    /// Of whom.
    pub pairing: Pairing,
    /// From whom.
    pub target: Target,
    /// Whether gradients flow into the target too.
    pub through_target: bool,
    /// Weight of the loss.
    pub coef: f32,
}

/// The loss for a team.
#[derive(Debug, Clone)]
pub struct CrossGroup {
    config: CrossGroupConfig,
    /// (agents that are predicted, agents that predict).
    pairs: Vec<(Vec<usize>, Vec<usize>)>,
}

/// Outputs of one network for the whole team at some moments: agent m's row of moment q is
/// `(q / run * agents + m) * run + q % run`.
pub struct TeamRows<'a> {
    /// `[moments * agents, 2 actions]`: the first head, then the second.
    pub out: &'a [f32],
    /// Unified actions.
    pub actions: usize,
    /// Agents.
    pub agents: usize,
    /// Rows of one agent that follow each other.
    pub run: usize,
    /// What is open to the agent of a row, `[actions]`; `None` where it is dead or the row does not count.
    pub open: &'a dyn Fn(usize) -> Option<&'a [bool]>,
}

impl TeamRows<'_> {
    fn row(&self, moment: usize, agent: usize) -> usize {
        (moment / self.run * self.agents + agent) * self.run + moment % self.run
    }

    fn moments(&self) -> usize {
        self.out.len() / (2 * self.actions * self.agents).max(1)
    }

    fn head(&self, row: usize, which: usize) -> std::ops::Range<usize> {
        (2 * row + which) * self.actions..(2 * row + which + 1) * self.actions
    }
}

/// Memory of one pair at one moment, `[actions]` each, and the sums so far.
struct Sums {
    target: Vec<f32>,
    counts: Vec<f32>,
    support: Vec<bool>,
    d_target: Vec<f32>,
    p: Vec<f32>,
    squares: f64,
    entries: usize,
}

impl CrossGroup {
    /// For agents of these groups; `None` where there is but one group, and nothing to predict.
    pub fn new(group_of_agent: &[usize], config: CrossGroupConfig) -> Option<Self> {
        let groups = group_of_agent.iter().max().map_or(0, |g| g + 1);
        let agents =
            |of: &dyn Fn(usize) -> bool| (0..group_of_agent.len()).filter(|i| of(group_of_agent[*i])).collect::<Vec<_>>();
        let pair = |g: usize| match config.pairing {
            Pairing::Each => (agents(&|k| k == g), agents(&|k| k != g)),
            Pairing::Union => (agents(&|k| k != g), agents(&|k| k == g)),
        };
        (groups > 1).then(|| Self { config, pairs: (0..groups).map(pair).collect() })
    }

    /// The loss without its weight; adds the derivative of the weighted loss by every output to `d_out`.
    pub fn loss(&self, rows: &TeamRows<'_>, d_out: &mut [f32]) -> f64 {
        let k = rows.actions;
        let mut sums = Sums {
            target: vec![0.0; k],
            counts: vec![0.0; k],
            support: vec![false; k],
            d_target: vec![0.0; k],
            p: vec![0.0; k],
            squares: 0.0,
            entries: 0,
        };
        let mut slope = vec![0.0; rows.out.len()];
        for moment in 0..rows.moments() {
            for (sources, readers) in &self.pairs {
                let sources: Vec<usize> = self.living(rows, moment, sources);
                if !sources.is_empty() {
                    self.aim(rows, &sources, &mut sums);
                    for &reader in readers {
                        predict(self.config.predicted, rows, rows.row(moment, reader), &mut slope, &mut sums);
                    }
                    if self.config.through_target {
                        self.pull_target(rows, &sources, &mut slope, &mut sums);
                    }
                }
            }
        }
        if sums.entries == 0 {
            return 0.0;
        }
        let scale = self.config.coef / sums.entries as f32;
        d_out.iter_mut().zip(&slope).for_each(|(d, s)| *d += scale * s);
        sums.squares / sums.entries as f64
    }

    /// Rows of the agents that make the target at a moment.
    fn living(&self, rows: &TeamRows<'_>, moment: usize, agents: &[usize]) -> Vec<usize> {
        let most = if self.config.target == Target::First { 1 } else { agents.len() };
        agents.iter().map(|i| rows.row(moment, *i)).filter(|r| (rows.open)(*r).is_some()).take(most).collect()
    }

    /// The target and the entries that it has.
    fn aim(&self, rows: &TeamRows<'_>, sources: &[usize], sums: &mut Sums) {
        let Sums { target, counts, support, d_target, p, .. } = sums;
        target.fill(0.0);
        counts.fill(0.0);
        d_target.fill(0.0);
        for &row in sources {
            let Some(open) = (rows.open)(row) else { continue };
            answer(self.config.predicted, &rows.out[rows.head(row, 0)], open, p);
            for u in (0..p.len()).filter(|u| open[*u]) {
                target[u] += p[u];
                counts[u] += 1.0;
            }
        }
        for u in 0..target.len() {
            support[u] = counts[u] > 0.0;
            let over = if self.config.predicted == Predicted::Policy { sources.len() as f32 } else { counts[u].max(1.0) };
            target[u] /= over;
        }
    }

    /// From the target's derivative to those of the outputs it was made of.
    fn pull_target(&self, rows: &TeamRows<'_>, sources: &[usize], slope: &mut [f32], sums: &mut Sums) {
        let Sums { counts, d_target, p, .. } = sums;
        for &row in sources {
            let Some(open) = (rows.open)(row) else { continue };
            let head = rows.head(row, 0);
            answer(self.config.predicted, &rows.out[head.clone()], open, p);
            match self.config.predicted {
                Predicted::Policy => {
                    let share = 1.0 / sources.len() as f32;
                    let mean: f32 = p.iter().zip(&*d_target).map(|(p, d)| p * d).sum();
                    slope[head].iter_mut().zip(p.iter().zip(&*d_target)).for_each(|(s, (p, d))| *s += share * p * (d - mean));
                }
                Predicted::Values => {
                    for u in (0..open.len()).filter(|u| open[*u]) {
                        slope[head.start + u] += d_target[u] / counts[u];
                    }
                }
            }
        }
    }
}

/// What a head says about the entries of a mask: probabilities (0 elsewhere), or values as they are.
fn answer(predicted: Predicted, out: &[f32], mask: &[bool], into: &mut [f32]) {
    match predicted {
        Predicted::Policy => {
            Normaliser::new(out, mask).probabilities(out, mask, into);
        }
        Predicted::Values => into.copy_from_slice(out),
    }
}

/// One agent's prediction: its squared errors into the sums, their derivative by its second head into `slope`, by the target into the
/// sums.
fn predict(predicted: Predicted, rows: &TeamRows<'_>, row: usize, slope: &mut [f32], sums: &mut Sums) {
    if (rows.open)(row).is_none() {
        return;
    }
    let head = rows.head(row, 1);
    let Sums { target, support, d_target, p, squares, entries, .. } = sums;
    answer(predicted, &rows.out[head.clone()], support, p);
    let mut mean = 0.0;
    for u in (0..p.len()).filter(|u| support[*u]) {
        let error = p[u] - target[u];
        *squares += f64::from(error).powi(2);
        *entries += 1;
        mean += 2.0 * error * p[u];
    }
    for u in (0..p.len()).filter(|u| support[*u]) {
        let d = 2.0 * (p[u] - target[u]);
        d_target[u] -= d;
        slope[head.start + u] += if predicted == Predicted::Policy { p[u] * (d - mean) } else { d };
    }
}

impl CrossGroup {
    /// Adds the derivative of the loss of an actor's picked rows by every output to `d_out`; what it has to report.
    pub(crate) fn pull(&self, all: &ActorRows, seen: &Outputs<'_>, d_out: &mut [f32]) -> Metrics {
        let open = |row: usize| {
            let r = seen.indices[row];
            all.active[r].then(|| all.mask(r))
        };
        let rows = TeamRows { out: seen.out, actions: seen.width / 2, agents: seen.members, run: seen.run, open: &open };
        let mut metrics = Metrics::new();
        metrics.add("cgi", self.loss(&rows, d_out));
        metrics
    }
}

#[cfg(test)]
mod tests {
    use motley_core::{Purpose, Stream};

    use super::*;

    const ACTIONS: usize = 5;
    const GROUPS: [usize; 4] = [0, 1, 0, 2];

    /// Two runs of three moments of four agents in three groups: outputs, and what is open to each row.
    struct Case {
        out: Vec<f32>,
        open: Vec<Option<[bool; ACTIONS]>>,
    }

    const RUN: usize = 3;

    impl Case {
        fn new(seed: u64) -> Self {
            let mut rng = Stream::new(seed, Purpose::Check, 0, 0);
            let rows = 2 * RUN * GROUPS.len();
            let out = (0..rows * 2 * ACTIONS).map(|_| rng.normal() as f32).collect();
            let mask = |rng: &mut Stream| std::array::from_fn(|u| u == 1 || rng.bernoulli(0.5));
            let open = (0..rows).map(|_| if rng.bernoulli(0.75) { Some(mask(&mut rng)) } else { None }).collect();
            Self { out, open }
        }

        fn loss(&self, loss: &CrossGroup, d_out: &mut [f32]) -> f64 {
            let open = |r: usize| self.open[r].as_ref().map(|m| &m[..]);
            loss.loss(&TeamRows { out: &self.out, actions: ACTIONS, agents: GROUPS.len(), run: RUN, open: &open }, d_out)
        }
    }

    /// The head's meaning of a row, straight from the definition.
    fn says(config: &CrossGroupConfig, out: &[f64], row: usize, which: usize, mask: &dyn Fn(usize) -> bool) -> Vec<f64> {
        let z = &out[(2 * row + which) * ACTIONS..][..ACTIONS];
        let total: f64 = (0..ACTIONS).filter(|u| mask(*u)).map(|u| z[u].exp()).sum();
        match config.predicted {
            Predicted::Policy => (0..ACTIONS).map(|u| if mask(u) { z[u].exp() / total } else { 0.0 }).collect(),
            Predicted::Values => z.to_vec(),
        }
    }

    /// The loss over again, in f64, from the formulas; targets come of the outputs `fixed`.
    fn by_hand(case: &Case, config: &CrossGroupConfig, out: &[f64], fixed: &[f64]) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for q in 0..2 * RUN {
            let row = |m: usize| (q / RUN) * GROUPS.len() * RUN + m * RUN + q % RUN;
            for i in (0..GROUPS.len()).filter(|i| case.open[row(*i)].is_some()) {
                let others: Vec<Vec<usize>> = match config.pairing {
                    Pairing::Each => (0..3).filter(|g| *g != GROUPS[i]).map(|g| vec![g]).collect(),
                    Pairing::Union => vec![(0..3).filter(|g| *g != GROUPS[i]).collect()],
                };
                for other in others {
                    let mut living: Vec<usize> =
                        (0..4).filter(|j| other.contains(&GROUPS[*j])).map(row).filter(|r| case.open[*r].is_some()).collect();
                    if config.target == Target::First {
                        living.truncate(1);
                    }
                    let has = |r: usize, u: usize| case.open[r].is_some_and(|m| m[u]);
                    let support = |u: usize| living.iter().any(|r| has(*r, u));
                    let p = says(config, out, row(i), 1, &support);
                    for u in (0..ACTIONS).filter(|u| support(*u)) {
                        let said: Vec<f64> = match config.predicted {
                            Predicted::Policy => living.iter().map(|r| says(config, fixed, *r, 0, &|u| has(*r, u))[u]).collect(),
                            Predicted::Values => {
                                living.iter().filter(|r| has(**r, u)).map(|r| fixed[2 * r * ACTIONS + u]).collect()
                            }
                        };
                        sum += (p[u] - said.iter().sum::<f64>() / said.len() as f64).powi(2);
                        count += 1.0;
                    }
                }
            }
        }
        sum / count
    }

    fn configs() -> Vec<CrossGroupConfig> {
        let mut all = Vec::new();
        for predicted in [Predicted::Policy, Predicted::Values] {
            for pairing in [Pairing::Each, Pairing::Union] {
                for target in [Target::Mean, Target::First] {
                    for through_target in [false, true] {
                        all.push(CrossGroupConfig { predicted, pairing, target, through_target, coef: 0.7 });
                    }
                }
            }
        }
        all
    }

    #[test]
    fn loss_and_slopes_are_those_of_the_definition() {
        for seed in 0..3 {
            let case = Case::new(seed);
            let out: Vec<f64> = case.out.iter().copied().map(f64::from).collect();
            for config in configs() {
                let loss = CrossGroup::new(&GROUPS, config).unwrap();
                let mut d_out = vec![1.0; out.len()];
                let found = case.loss(&loss, &mut d_out);
                let expected = by_hand(&case, &config, &out, &out);
                assert!((found - expected).abs() < 1e-5 * (1.0 + expected), "{config:?}: {found} {expected}");
                for k in 0..out.len() {
                    let at = |h: f64| {
                        let mut moved = out.clone();
                        moved[k] += h;
                        by_hand(&case, &config, &moved, if config.through_target { &moved } else { &out })
                    };
                    let slope = 0.7 * (at(1e-4) - at(-1e-4)) / 2e-4;
                    let d = f64::from(d_out[k]) - 1.0;
                    assert!((d - slope).abs() < 1e-5, "{config:?}, output {k}: {d} {slope}");
                }
            }
        }
    }

    #[test]
    fn a_perfect_prediction_costs_nothing_and_one_group_has_no_loss() {
        let config = configs()[0];
        assert!(CrossGroup::new(&[0, 0, 0], config).is_none());
        // Two groups of one agent; each predicts the other's logits where those are open.
        let z = [[0.3, -1.0, 2.0], [1.5, 0.2, -0.4]];
        let out = [z[0], z[1], z[1], z[0]].concat();
        let open = [[true, true, false], [true, false, true]];
        let rows = TeamRows { out: &out, actions: 3, agents: 2, run: 1, open: &|r| Some(&open[r][..]) };
        let mut d_out = [0.0; 12];
        let loss = CrossGroup::new(&[0, 1], config).unwrap().loss(&rows, &mut d_out);
        assert!(loss < 1e-12 && d_out.iter().all(|d| d.abs() < 1e-6), "{loss} {d_out:?}");
    }
}

//! What training costs, and how that grows with the number of agents.

use std::collections::BTreeMap;

use crate::report::TaskRow;

/// Fewer team sizes than this fit no power law that could be wrong.
const FEWEST_SIZES: usize = 3;

/// How the cost of one algorithm on one task grows with the team: cost = c n^exponent.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    /// The algorithm.
    pub algo: String,
    /// The task, without the number of agents.
    pub task: String,
    /// Team sizes, rising.
    pub agents: Vec<u64>,
    /// Exponent of the seconds of an update; none where they are not known of every size.
    pub update: Option<f64>,
    /// Exponent of the seconds of an env step, all of training counted.
    pub step: Option<f64>,
}

/// The growth of every algorithm on tasks that are the same but for their number of agents, three sizes at least, of which all tell a cost.
pub fn growth(rows: &[TaskRow]) -> Vec<Growth> {
    let mut sizes: BTreeMap<(&str, &str), Vec<(u64, &TaskRow)>> = BTreeMap::new();
    for row in rows {
        if let Some((task, agents)) = team_size(&row.task) {
            sizes.entry((&row.algo, task)).or_default().push((agents, row));
        }
    }
    let fit = |((algo, task), mut rows): ((&str, &str), Vec<(u64, &TaskRow)>)| {
        rows.sort_by_key(|r| r.0);
        let law = |cost: &dyn Fn(&TaskRow) -> Option<f64>| {
            let points: Option<Vec<(f64, f64)>> = rows.iter().map(|(n, r)| Some((*n as f64, cost(r)?))).collect();
            exponent(&points?)
        };
        Growth {
            algo: algo.to_owned(),
            task: task.to_owned(),
            agents: rows.iter().map(|r| r.0).collect(),
            update: law(&|r| r.update_seconds),
            step: law(&|r| r.steps_per_second.map(|s| 1.0 / s)),
        }
    };
    let fitted = sizes.into_iter().filter(|(_, rows)| rows.len() >= FEWEST_SIZES).map(fit);
    fitted.filter(|growth| growth.update.is_some() || growth.step.is_some()).collect()
}

/// The task and its number of agents where that is all that tells it from its variants, as in `mpe/spread [task.num_agents=6]`.
fn team_size(task: &str) -> Option<(&str, u64)> {
    let (base, variant) = task.strip_suffix(']')?.split_once(" [")?;
    let (key, value) = variant.split_once('=')?;
    (key.starts_with("task.") && key.ends_with("agents")).then_some(())?;
    value.parse().ok().filter(|n| *n > 0).map(|n| (base, n))
}

/// The slope of ln(y) over ln(x) by least squares; none where a point is not positive or all x are one.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 2 || points.iter().any(|p| !(p.0 > 0.0 && p.1 > 0.0 && p.0.is_finite() && p.1.is_finite())) {
        return None;
    }
    let n = points.len() as f64;
    let logs: Vec<(f64, f64)> = points.iter().map(|p| (p.0.ln(), p.1.ln())).collect();
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let spread: f64 = logs.iter().map(|p| (p.0 - mx).powi(2)).sum();
    (spread > 0.0).then(|| logs.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>() / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_law_is_found() {
        let points: Vec<(f64, f64)> = [3.0f64, 6.0, 12.0, 24.0].iter().map(|n| (*n, 0.2 * n.powf(1.5))).collect();
        assert!((exponent(&points).unwrap() - 1.5).abs() < 1e-12);
        // Hand-computed: ln y = 0, ln 3, ln 2 over ln x = 0, ln 2, 2 ln 2 has slope ln 2 / (2 ln 2).
        assert!((exponent(&[(1.0, 1.0), (2.0, 3.0), (4.0, 2.0)]).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(
            [exponent(&[(3.0, 1.0)]), exponent(&[(3.0, 1.0), (3.0, 2.0)]), exponent(&[(1.0, 0.0), (2.0, 1.0)])],
            [None; 3]
        );
    }

    #[test]
    fn only_the_number_of_agents_may_differ() {
        assert_eq!(team_size("mpe/simple_spread_v3 [task.num_agents=6]"), Some(("mpe/simple_spread_v3", 6)));
        for other in ["mpe/a", "mpe/a [task.num_agents=6 task.flavour=v2]", "mpe/a [task.flavour=v2]", "mpe/a [algo.agents=3]"] {
            assert_eq!(team_size(other), None, "{other}");
        }
    }
}

//! What is counted and said of the numbers that environments show and pay: those that a learner bears, but not well.

use motley_core::{Metrics, TeamSpec};
use motley_data::rollout::Rollout;

/// Rewards beyond this are told to the user once: learning rarely does well.
const HUGE_REWARD: f64 = 1e9;

/// Looks at every rollout; says each kind of thing once a process.
#[derive(Debug, Default)]
pub(crate) struct Values {
    told_reward: bool,
    told_bounds: bool,
}

impl Values {
    /// Counts `train/out_of_bounds`, where anything is bounded: an agent's observations outside of its declared space, one a frame.
    /// The slot behind the last step is left to the rollout that begins with it. Returns what is worth a warning.
    pub(crate) fn look(&mut self, roll: &Rollout, metrics: &mut Metrics) -> Vec<String> {
        let mut warnings: Vec<String> = self.rewards(roll).into_iter().collect();
        let team = roll.team();
        let bounded: Vec<usize> = (0..team.n()).filter(|&i| is_bounded(team, i)).collect();
        let width = team.obs_len();
        if bounded.is_empty() || width == 0 {
            return warnings;
        }
        let (mut count, mut first) = (0_u64, None);
        for lane in &roll.lanes {
            let played = lane.obs.chunks_exact(width).take(roll.steps());
            for frame in played.chain(lane.finals.iter().map(|last| last.obs.as_slice())) {
                let odd = bounded.iter().filter(|&&i| is_outside(team, i, frame));
                for &i in odd {
                    count += 1;
                    first = first.or(Some((i, frame)));
                }
            }
        }
        metrics.add("train/out_of_bounds", count as f64);
        if let Some((agent, frame)) = first
            && !std::mem::replace(&mut self.told_bounds, true)
        {
            warnings.push(outside(team, agent, frame));
        }
        warnings
    }

    fn rewards(&mut self, roll: &Rollout) -> Option<String> {
        let n = roll.team().n();
        let huge = roll.lanes.iter().find_map(|l| l.rewards.iter().enumerate().find(|(_, r)| r.abs() > HUGE_REWARD));
        let (at, value) = huge.filter(|_| !self.told_reward)?;
        self.told_reward = true;
        let agent = &roll.team().agents[at % n].name;
        let what = if value.abs() > f64::from(f32::MAX) {
            "networks cannot hold such numbers: scale rewards down"
        } else {
            "returns stay finite, but scale rewards down to learn well"
        };
        Some(format!("agent \"{agent}\" was paid {value:e} in one step: {what}"))
    }
}

fn is_bounded(team: &TeamSpec, agent: usize) -> bool {
    let obs = &team.agents[agent].obs;
    obs.low > f32::NEG_INFINITY || obs.high < f32::INFINITY
}

/// Without an early end, so that many entries are compared at once: nearly every frame is looked at to its end anyway.
fn is_outside(team: &TeamSpec, agent: usize, frame: &[f32]) -> bool {
    let obs = &team.agents[agent].obs;
    let (low, high) = (obs.low, obs.high);
    frame[team.obs_range(agent)].iter().fold(false, |odd, x| odd | (*x < low) | (*x > high))
}

fn outside(team: &TeamSpec, agent: usize, frame: &[f32]) -> String {
    let spec = &team.agents[agent];
    let (low, high) = (spec.obs.low, spec.obs.high);
    let row = &frame[team.obs_range(agent)];
    let k = row.iter().position(|x| *x < low || *x > high).unwrap_or(0);
    format!(
        "observation of agent \"{}\", entry {k}: expected {low} to {high}, found {} (it is learned from all the same, and train/out_of_bounds counts on); mend the environment, or declare the space that it has",
        spec.name, row[k]
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use motley_core::{ActionSpace, AgentSpec, FrameBuf, ObsSpace};

    use super::*;

    fn rollout(bounds: [(f32, f32); 2]) -> Rollout {
        let agent = |name: &str, (low, high): (f32, f32)| {
            AgentSpec::new(name, "x", ObsSpace { low, high, ..ObsSpace::vector(20) }, ActionSpace::Discrete(2))
        };
        let team = TeamSpec::new("test/bounds", vec![agent("left", bounds[0]), agent("right", bounds[1])]);
        Rollout::new(Arc::new(team), 2, 3, 0)
    }

    const NONE: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

    fn look(values: &mut Values, roll: &Rollout) -> (Option<f64>, Vec<String>) {
        let mut metrics = Metrics::new();
        let warnings = values.look(roll, &mut metrics);
        (metrics.mean("train/out_of_bounds"), warnings)
    }

    /// E9: each frame counts once, the last of an episode too, and the first entry is named once.
    #[test]
    fn observations_out_of_bounds_are_counted_and_told_once() {
        let mut roll = rollout([NONE, (-1.0, 1.0)]);
        let mut values = Values::default();
        roll.lanes.iter_mut().for_each(|lane| lane.obs.chunks_exact_mut(40).for_each(|frame| frame[..20].fill(9.0)));
        assert_eq!(look(&mut values, &roll), (Some(0.0), Vec::new()), "bounds themselves, and agents without any, are fine");
        roll.lanes[1].obs[40 + 20..80].fill(1.0);
        assert_eq!(look(&mut values, &roll).0, Some(0.0));
        roll.lanes[1].obs[40 + 27] = 50.0;
        roll.lanes[0].obs[3 * 40 + 20] = -2.0;
        let mut last = FrameBuf::new(roll.team());
        last.obs[21] = -1.5;
        roll.lanes[0].put_final(1, &last.frame());
        let (count, warnings) = look(&mut values, &roll);
        assert_eq!(count, Some(2.0), "the slot behind the last step is the next rollout's");
        assert!(warnings[0].contains("agent \"right\", entry 1: expected -1 to 1, found -1.5"), "{warnings:?}");
        assert_eq!(look(&mut values, &roll), (Some(2.0), Vec::new()));
        assert_eq!(look(&mut Values::default(), &rollout([NONE, NONE])), (None, Vec::new()), "nothing is bounded");
        let half = rollout([NONE, (0.5, f32::INFINITY)]);
        assert_eq!(look(&mut Values::default(), &half).0, Some(6.0));
    }

    /// E8: what cannot stay finite is not said to.
    #[test]
    fn huge_rewards_are_told_once_and_truly() {
        for (reward, stays) in [(1e30, true), (-1e308, false)] {
            let mut roll = rollout([NONE, NONE]);
            roll.lanes[1].rewards[3] = reward;
            let mut values = Values::default();
            let warnings = look(&mut values, &roll).1;
            assert!(warnings[0].contains("agent \"right\" was paid") && warnings[0].contains("e30"), "{warnings:?}");
            assert_eq!(warnings[0].contains("stay finite"), stays, "{warnings:?}");
            assert!(look(&mut values, &roll).1.is_empty());
        }
    }
}

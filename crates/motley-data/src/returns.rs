//! Returns and advantages of one environment's time series: GAE, n-step, TD(lambda), discounted sums.
//!
//! Everything is summed in `f64`, so that one huge reward cannot push a sum out of range. What follows step `t` is decided
//! in one place for all of them:
//!
//! - the episode goes on: the recursion goes on;
//! - it terminated: nothing follows;
//! - it was truncated: the value of its final state follows ([`Truncation`] has other forms for comparison);
//! - the rollout stops, or the next step is a hole that a failed environment left: the value of the last state seen
//!   follows. A hole itself gets 0 and is meant to be masked out.

use motley_core::Status;
use thiserror::Error;

/// How a step at which a time limit cut the episode is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// The value of the true final state is bootstrapped: what a time limit means.
    Bootstrap,
    /// The truncated step contributes nothing (advantage 0, return `V(s_t)`), and earlier steps see a return cut at that
    /// value: what the HARL code does with its "proper time limits".
    HarlDrop,
    /// As a termination: nothing follows.
    AsTerminal,
}

/// Series whose lengths differ.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} has {found} entries but rewards has {expected}: every series needs one entry per step")]
pub struct SeriesError {
    what: &'static str,
    expected: usize,
    found: usize,
}

/// One environment's `T` steps. Values are in the units of the rewards (denormalised).
#[derive(Debug, Clone, Copy)]
pub struct Series<'a, R, V> {
    rewards: &'a [R],
    values: &'a [V],
    next_values: &'a [V],
    status: &'a [Status],
    valid: &'a [bool],
}

/// What [`gae`] gives, `[T]` each.
#[derive(Debug, Clone, PartialEq)]
pub struct Advantages {
    /// Advantages, not normalised.
    pub advantages: Vec<f64>,
    /// Targets of the value function: advantage plus value.
    pub returns: Vec<f64>,
}

/// What follows a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Next,
    Bootstrap,
    Nothing,
    Drop,
}

impl<'a, R: Copy + Into<f64>, V: Copy + Into<f64>> Series<'a, R, V> {
    /// Series of `T` entries each: `rewards[t]` and `status[t]` of step `t`, `values[t]` of the state before it,
    /// `next_values[t]` of the state that followed (the true final state where the episode ended at `t`, whatever was reset
    /// after), `valid[t]` false where a failed environment left a hole.
    ///
    /// # Errors
    /// Lengths that differ.
    pub fn new(
        rewards: &'a [R],
        values: &'a [V],
        next_values: &'a [V],
        status: &'a [Status],
        valid: &'a [bool],
    ) -> Result<Self, SeriesError> {
        let lengths =
            [("values", values.len()), ("next_values", next_values.len()), ("status", status.len()), ("valid", valid.len())];
        match lengths.into_iter().find(|(_, n)| *n != rewards.len()) {
            Some((what, found)) => Err(SeriesError { what, expected: rewards.len(), found }),
            None => Ok(Self { rewards, values, next_values, status, valid }),
        }
    }

    fn link(&self, t: usize, truncation: Truncation) -> Link {
        match (self.status[t], truncation) {
            // A hole is a fault, not a time limit: it is bootstrapped in every mode.
            (Status::Running, _) if self.valid.get(t + 1) == Some(&true) => Link::Next,
            (Status::Running, _) | (Status::Truncated, Truncation::Bootstrap) => Link::Bootstrap,
            (Status::Truncated, Truncation::HarlDrop) => Link::Drop,
            (Status::Terminated, _) | (Status::Truncated, Truncation::AsTerminal) => Link::Nothing,
        }
    }

    fn reward(&self, t: usize) -> f64 {
        self.rewards[t].into()
    }

    fn value(&self, t: usize) -> f64 {
        self.values[t].into()
    }

    fn next_value(&self, t: usize) -> f64 {
        self.next_values[t].into()
    }

    /// `x_t = step(t, link, x_{t+1})` from the last step to the first; holes get 0.
    fn backward(&self, truncation: Truncation, mut step: impl FnMut(usize, Link, f64) -> f64) -> Vec<f64> {
        let mut out = vec![0.0; self.rewards.len()];
        let mut after = 0.0;
        for t in (0..out.len()).rev().filter(|&t| self.valid[t]) {
            after = step(t, self.link(t, truncation), after);
            out[t] = after;
        }
        out
    }
}

/// Generalised advantage estimation (Schulman et al. 2016):
/// `delta_t = r_t + gamma V(s_{t+1}) - V(s_t)`, `A_t = delta_t + gamma lambda A_{t+1}`, `R_t = A_t + V(s_t)`.
pub fn gae<R, V>(series: &Series<'_, R, V>, gamma: f64, lambda: f64, truncation: Truncation) -> Advantages
where
    R: Copy + Into<f64>,
    V: Copy + Into<f64>,
{
    let advantages = series.backward(truncation, |t, link, after| {
        let here = series.reward(t) - series.value(t);
        match link {
            Link::Next => here + gamma * series.next_value(t) + gamma * lambda * after,
            Link::Bootstrap => here + gamma * series.next_value(t),
            Link::Nothing => here,
            Link::Drop => 0.0,
        }
    });
    let with_value = |(t, a): (usize, &f64)| if series.valid[t] { a + series.value(t) } else { 0.0 };
    let returns = advantages.iter().enumerate().map(with_value).collect();
    Advantages { advantages, returns }
}

/// Discounted sum of the rewards to the end of the episode, with the bootstrap that `truncation` says: `[T]`.
pub fn discounted<R, V>(series: &Series<'_, R, V>, gamma: f64, truncation: Truncation) -> Vec<f64>
where
    R: Copy + Into<f64>,
    V: Copy + Into<f64>,
{
    series.backward(truncation, |t, link, after| match link {
        Link::Next => series.reward(t) + gamma * after,
        Link::Bootstrap => series.reward(t) + gamma * series.next_value(t),
        Link::Nothing => series.reward(t),
        Link::Drop => series.value(t),
    })
}

/// TD(lambda) targets from each episode's own end, truncations bootstrapped: `[T]`.
///
/// `G_t = r_t + gamma ((1 - lambda) V(s_{t+1}) + lambda G_{t+1})`, and `G_t = r_t + gamma V(s_{t+1})` at the end of an
/// episode that did not terminate (Foerster et al. 2018 use it with target values of the actions taken).
pub fn td_lambda<R, V>(series: &Series<'_, R, V>, gamma: f64, lambda: f64) -> Vec<f64>
where
    R: Copy + Into<f64>,
    V: Copy + Into<f64>,
{
    series.backward(Truncation::Bootstrap, |t, link, after| match link {
        Link::Next => series.reward(t) + gamma * ((1.0 - lambda) * series.next_value(t) + lambda * after),
        Link::Bootstrap => series.reward(t) + gamma * series.next_value(t),
        Link::Nothing | Link::Drop => series.reward(t),
    })
}

/// n-step returns: `[T]`.
///
/// `G_t = sum_{k<m} gamma^k r_{t+k} + gamma^m V(s_{t+m})` with `m = min(n, steps to the end)`, without the last term where
/// the last step terminated, or was truncated and that is no time limit here. With `n = 0` the return is the value itself.
pub fn n_step<R, V>(series: &Series<'_, R, V>, gamma: f64, n: usize, truncation: Truncation) -> Vec<f64>
where
    R: Copy + Into<f64>,
    V: Copy + Into<f64>,
{
    let from = |t: usize| {
        let (mut sum, mut discount) = (0.0, 1.0);
        for at in t..t.saturating_add(n) {
            let link = series.link(at, truncation);
            if link == Link::Drop {
                return sum + discount * series.value(at);
            }
            sum += discount * series.reward(at);
            discount *= gamma;
            match link {
                Link::Nothing | Link::Drop => return sum,
                Link::Next if at - t + 1 < n => {}
                Link::Next | Link::Bootstrap => return sum + discount * series.next_value(at),
            }
        }
        series.value(t)
    };
    (0..series.rewards.len()).map(|t| if series.valid[t] { from(t) } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Running as Go, Terminated as End, Truncated as Cut};
    use proptest::prelude::*;

    const ALL: [bool; 5] = [true; 5];

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(x, y)| (x - y).abs() <= 1e-9 * (1.0 + x.abs().max(y.abs()))), "{a:?}\n{b:?}");
    }

    /// gamma = lambda = 1/2; an episode truncated at step 1, one that terminates at step 3, and the rollout's last step.
    #[test]
    fn three_modes_by_hand() {
        let (r, v, next) = ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 8.0, 4.0, 100.0, 6.0]);
        let status = [Go, Cut, Go, End, Go];
        let series = Series::new(&r, &v, &next, &status, &ALL).unwrap();
        // From step 2 on the modes agree: A4 = 5 + 6/2 - 5 = 3, A3 = 4 - 4 = 0, A2 = 3 + 4/2 - 3 + 0/4 = 2.
        // delta_0 = 1 + 2/2 - 1 = 1. A1: 2 + 8/2 - 2 = 4, or 0, or 2 - 2 = 0. A0 = 1 + A1/4.
        for (mode, first) in
            [(Truncation::Bootstrap, [2.0, 4.0]), (Truncation::HarlDrop, [1.0, 0.0]), (Truncation::AsTerminal, [1.0, 0.0])]
        {
            let got = gae(&series, 0.5, 0.5, mode);
            assert_eq!(got.advantages, [first[0], first[1], 2.0, 0.0, 3.0], "{mode:?}");
            assert_eq!(got.returns, [first[0] + 1.0, first[1] + 2.0, 5.0, 4.0, 8.0], "{mode:?}");
        }
        // Dropping and terminating differ as soon as the truncated step's reward is not its value.
        let r = [1.0, 7.0, 3.0, 4.0, 5.0];
        let series = Series::new(&r, &v, &next, &status, &ALL).unwrap();
        let first = |mode| gae(&series, 0.5, 0.5, mode).advantages[..2].to_vec();
        assert_eq!(first(Truncation::Bootstrap), [3.25, 9.0]);
        assert_eq!(first(Truncation::HarlDrop), [1.0, 0.0]);
        assert_eq!(first(Truncation::AsTerminal), [2.25, 5.0]);
    }

    #[test]
    fn targets_by_hand() {
        let (r, v, next) = ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 8.0, 4.0, 100.0, 6.0]);
        let status = [Go, Cut, Go, End, Go];
        let series = Series::new(&r, &v, &next, &status, &ALL).unwrap();
        assert_eq!(discounted(&series, 0.5, Truncation::Bootstrap), [4.0, 6.0, 5.0, 4.0, 8.0]);
        assert_eq!(discounted(&series, 0.5, Truncation::HarlDrop), [2.0, 2.0, 5.0, 4.0, 8.0]);
        assert_eq!(discounted(&series, 0.5, Truncation::AsTerminal), [2.0, 2.0, 5.0, 4.0, 8.0]);
        assert_eq!(n_step(&series, 0.5, 0, Truncation::Bootstrap), v);
        assert_eq!(n_step(&series, 0.5, 1, Truncation::Bootstrap), [2.0, 6.0, 5.0, 4.0, 8.0]);
        assert_eq!(n_step(&series, 0.5, usize::MAX, Truncation::Bootstrap), [4.0, 6.0, 5.0, 4.0, 8.0]);
        // G2 = 3 + (4/2 + 4/2)/2 = 5, G0 = 1 + (2/2 + 6/2)/2 = 3.
        assert_eq!(td_lambda(&series, 0.5, 0.5), [3.0, 6.0, 5.0, 4.0, 8.0]);
    }

    /// The step before a hole is bootstrapped from the last state seen, in every mode; nothing crosses the hole.
    #[test]
    fn a_hole_cuts_the_segment() {
        let (r, v, next) = ([1.0, f64::NAN, 3.0], [1.0, f64::NAN, 3.0], [4.0, f64::NAN, 6.0]);
        let series = Series::new(&r, &v, &next, &[Go, Go, Go], &[true, false, true]).unwrap();
        for mode in [Truncation::Bootstrap, Truncation::HarlDrop, Truncation::AsTerminal] {
            let got = gae(&series, 0.5, 0.9, mode);
            assert_eq!((got.advantages, got.returns), (vec![2.0, 0.0, 3.0], vec![3.0, 0.0, 6.0]));
            assert_eq!(discounted(&series, 0.5, mode), [3.0, 0.0, 6.0]);
        }
        assert_eq!(n_step(&series, 0.5, 3, Truncation::Bootstrap), [3.0, 0.0, 6.0]);
        assert_eq!(td_lambda(&series, 0.5, 0.9), [3.0, 0.0, 6.0]);
        let ended = Series::new(&r, &v, &next, &[End, Go, Go], &[true, false, true]).unwrap();
        assert_eq!(gae(&ended, 0.5, 0.9, Truncation::Bootstrap).advantages[0], 0.0, "a termination stays one");
    }

    #[test]
    fn huge_rewards_stay_finite_and_lengths_are_checked() {
        let (r, v) = ([1e30f64; 200], [1e30f32; 200]);
        let series = Series::new(&r, &v, &v, &[Go; 200], &[true; 200]).unwrap();
        let got = gae(&series, 0.999, 1.0, Truncation::Bootstrap);
        assert!(got.advantages.iter().chain(&got.returns).all(|x| (*x as f32).is_finite()));
        let error = Series::new(&r, &v[..7], &v, &[Go; 200], &[true; 200]).unwrap_err().to_string();
        assert!(error.contains("values has 7") && error.contains("200"), "{error}");
        let none: [f64; 0] = [];
        let empty = Series::new(&none, &none, &none, &[], &[]).unwrap();
        assert!(
            gae(&empty, 0.9, 0.9, Truncation::Bootstrap).advantages.is_empty()
                && n_step(&empty, 0.9, 2, Truncation::Bootstrap).is_empty()
        );
    }

    #[derive(Debug, Clone)]
    struct Case {
        r: Vec<f64>,
        v: Vec<f64>,
        next: Vec<f64>,
        status: Vec<Status>,
        valid: Vec<bool>,
    }

    /// Values agree with next values where the episode goes on, as they do in a rollout.
    fn cases() -> impl Strategy<Value = Case> {
        let step = (-5.0..5.0, -5.0..5.0, -5.0..5.0, prop_oneof![4 => Just(Go), 1 => Just(End), 1 => Just(Cut)], 0..8);
        prop::collection::vec(step, 1..20).prop_map(|steps| {
            let (r, v): (Vec<f64>, Vec<f64>) = steps.iter().map(|s| (s.0, s.1)).unzip();
            let status: Vec<Status> = steps.iter().map(|s| s.3).collect();
            let next =
                (0..r.len()).map(|t| if status[t] == Go { *v.get(t + 1).unwrap_or(&steps[t].2) } else { steps[t].2 }).collect();
            Case { r, v, next, status, valid: steps.iter().map(|s| s.4 > 0).collect() }
        })
    }

    /// The steps from `t` to the end of its segment, and the value that follows the last of them (Bootstrap).
    fn segment(c: &Case, t: usize) -> (Vec<usize>, f64) {
        let mut steps = vec![t];
        let mut at = t;
        while c.status[at] == Go && at + 1 < c.r.len() && c.valid[at + 1] {
            at += 1;
            steps.push(at);
        }
        (steps, if c.status[at] == End { 0.0 } else { c.next[at] })
    }

    proptest! {
        /// Every target against sums written from the definitions, O(T^2): the lambda-return is the mixture
        /// `(1-lambda) sum_n lambda^{n-1} G^(n) + lambda^{N-1} G^(N)` of n-step returns (Sutton and Barto, 12.1).
        #[test]
        fn against_brute_force(c in cases(), gamma in 0.0..1.0f64, lambda in 0.0..1.0f64, n in 1usize..8) {
            let series = Series::new(&c.r, &c.v, &c.next, &c.status, &c.valid).unwrap();
            let g_n = |t: usize, n: usize| -> f64 {
                if !c.valid[t] {
                    return 0.0;
                }
                let (steps, end) = segment(&c, t);
                let m = n.min(steps.len());
                let tail = if m == steps.len() { end } else { c.v[t + m] };
                (0..m).map(|k| gamma.powi(k as i32) * c.r[t + k]).sum::<f64>() + gamma.powi(m as i32) * tail
            };
            let mixture = |t: usize| -> f64 {
                let last = segment(&c, t).0.len();
                let head: f64 = (1..last).map(|n| (1.0 - lambda) * lambda.powi(n as i32 - 1) * g_n(t, n)).sum();
                head + lambda.powi(last as i32 - 1) * g_n(t, last)
            };
            let all: Vec<usize> = (0..c.r.len()).collect();
            let mixed: Vec<f64> = all.iter().map(|&t| mixture(t)).collect();
            let full: Vec<f64> = all.iter().map(|&t| g_n(t, 99)).collect();
            close(&n_step(&series, gamma, n, Truncation::Bootstrap), &all.iter().map(|&t| g_n(t, n)).collect::<Vec<_>>());
            close(&discounted(&series, gamma, Truncation::Bootstrap), &full);
            close(&td_lambda(&series, gamma, lambda), &mixed);
            close(&gae(&series, gamma, lambda, Truncation::Bootstrap).returns, &mixed);
            // lambda = 1: the discounted return minus the value; lambda = 0: the one-step error.
            let minus_v = |g: &[f64]| -> Vec<f64> { all.iter().map(|&t| if c.valid[t] { g[t] - c.v[t] } else { 0.0 }).collect() };
            close(&gae(&series, gamma, 1.0, Truncation::Bootstrap).advantages, &minus_v(&full));
            let one: Vec<f64> = all.iter().map(|&t| g_n(t, 1)).collect();
            close(&gae(&series, gamma, 0.0, Truncation::Bootstrap).advantages, &minus_v(&one));
        }

        /// Truncation as termination is what terminating there gives; dropping is a reward of V(s_t) and an end.
        #[test]
        fn other_modes_are_rewritten_series(c in cases(), gamma in 0.0..1.0f64, lambda in 0.0..1.0f64, n in 1usize..6) {
            let series = Series::new(&c.r, &c.v, &c.next, &c.status, &c.valid).unwrap();
            let status: Vec<Status> = c.status.iter().map(|s| if *s == Cut { End } else { *s }).collect();
            let dropped: Vec<f64> = (0..c.r.len()).map(|t| if c.status[t] == Cut { c.v[t] } else { c.r[t] }).collect();
            for (mode, rewards) in [(Truncation::AsTerminal, &c.r), (Truncation::HarlDrop, &dropped)] {
                let other = Series::new(rewards, &c.v, &c.next, &status, &c.valid).unwrap();
                let (a, b) = (gae(&series, gamma, lambda, mode), gae(&other, gamma, lambda, Truncation::Bootstrap));
                close(&a.advantages, &b.advantages);
                close(&a.returns, &b.returns);
                close(&discounted(&series, gamma, mode), &discounted(&other, gamma, Truncation::Bootstrap));
                close(&n_step(&series, gamma, n, mode), &n_step(&other, gamma, n, Truncation::Bootstrap));
            }
        }
    }
}

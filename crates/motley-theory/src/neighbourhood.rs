//! Neighbourhood operators of heterogeneous-agent mirror learning: how far an agent may go in one turn (Kuba et al. 2022,
//! Definition 2).

use crate::drift::Drift;
use crate::exact::max_abs;
use crate::haml::Turn;
use crate::simplex::{bisect, kl};

/// A set of policies around the current one that holds a ball of it.
pub trait Neighbourhood {
    /// A short name for tables.
    fn name(&self) -> String;

    /// Whether the agent may go to `table` `[states, actions_i]`, with a slack of 1e-9 relative.
    fn accepts(&self, turn: &Turn<'_>, table: &[f64]) -> bool;

    /// argmax over the neighbourhood of E_{s ~ β}\[M π̂\](s), `[states, actions_i]`, with the sampling distribution β = (1−γ)ρ_π.
    fn maximise(&self, turn: &Turn<'_>, drift: &dyn Drift) -> Vec<f64>;
}

/// All policies.
#[derive(Debug, Clone, Copy)]
pub struct Everywhere;

impl Neighbourhood for Everywhere {
    fn name(&self) -> String {
        "anywhere".into()
    }

    fn accepts(&self, _turn: &Turn<'_>, _table: &[f64]) -> bool {
        true
    }

    fn maximise(&self, turn: &Turn<'_>, drift: &dyn Drift) -> Vec<f64> {
        with_multiplier(turn, drift, 0.0)
    }
}

/// KL(p‖q) ≤ δ in every state.
#[derive(Debug, Clone, Copy)]
pub struct StateKlBall {
    /// δ > 0.
    pub delta: f64,
}

impl Neighbourhood for StateKlBall {
    fn name(&self) -> String {
        format!("KL <= {} per state", self.delta)
    }

    fn accepts(&self, turn: &Turn<'_>, table: &[f64]) -> bool {
        (0..turn.states()).all(|s| kl(turn.place(s).old, row(turn, table, s)) <= self.delta * (1.0 + 1e-9))
    }

    fn maximise(&self, turn: &Turn<'_>, drift: &dyn Drift) -> Vec<f64> {
        let in_state = |s: usize| {
            let place = turn.place(s);
            let distance = |q: &[f64]| kl(place.old, q);
            search(max_abs(place.score), self.delta, |multiplier| drift.maximise(&place, multiplier), distance)
        };
        (0..turn.states()).flat_map(in_state).collect()
    }
}

/// E_{s ~ β}\[KL(p‖q)\] ≤ δ: HATRPO's trust region.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedKlBall {
    /// δ > 0.
    pub delta: f64,
}

impl ExpectedKlBall {
    fn distance(turn: &Turn<'_>, table: &[f64]) -> f64 {
        let weighted = |(s, w): (usize, f64)| if w > 0.0 { w * kl(turn.place(s).old, row(turn, table, s)) } else { 0.0 };
        turn.sampling().enumerate().map(weighted).sum()
    }
}

impl Neighbourhood for ExpectedKlBall {
    fn name(&self) -> String {
        format!("mean KL <= {}", self.delta)
    }

    fn accepts(&self, turn: &Turn<'_>, table: &[f64]) -> bool {
        Self::distance(turn, table) <= self.delta * (1.0 + 1e-9)
    }

    /// Objective and constraint weigh the states alike, so one multiplier serves all of them.
    fn maximise(&self, turn: &Turn<'_>, drift: &dyn Drift) -> Vec<f64> {
        let scale = (0..turn.states()).map(|s| max_abs(turn.place(s).score)).fold(0.0, f64::max);
        let propose = |multiplier| with_multiplier(turn, drift, multiplier);
        search(scale, self.delta, propose, |table| Self::distance(turn, table))
    }
}

fn row<'a>(turn: &Turn<'_>, table: &'a [f64], state: usize) -> &'a [f64] {
    let n = table.len() / turn.states();
    &table[state * n..(state + 1) * n]
}

fn with_multiplier(turn: &Turn<'_>, drift: &dyn Drift, multiplier: f64) -> Vec<f64> {
    (0..turn.states()).flat_map(|s| drift.maximise(&turn.place(s), multiplier)).collect()
}

/// The free maximiser if it keeps to the ball, else the one on its rim: distance falls with the multiplier.
fn search(scale: f64, delta: f64, propose: impl Fn(f64) -> Vec<f64>, distance: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let free = propose(0.0);
    if distance(&free) <= delta || scale == 0.0 {
        return free;
    }
    let centre = scale.ln();
    let (_, high) = bisect(centre - 80.0, centre + 40.0, |ln| distance(&propose(ln.exp())) > delta);
    propose(high.exp())
}

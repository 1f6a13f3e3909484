//! Agents that take places: the assignment with the least total distance, and the scenario of which simple_formation and simple_line
//! are the two patterns.

use std::fmt::Debug;
use std::marker::PhantomData;

use motley_core::{ConfigError, Key, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, count, terminate_on_success};
use super::world::{Body, Flavour, Vec2, World, distance};

/// The most agents that can be assigned.
pub const MOST: usize = 32;

/// For each of `n` agents the distance to its place under the assignment of least total distance.
///
/// Shortest augmenting paths with dual prices (Kuhn 1955; Jonker and Volgenant 1987), O(n^3), nothing allocated. Agents
/// and places are counted from 1 inside; place 0 stands for "the agent that is being placed".
pub fn matched(n: usize, distance: impl Fn(usize, usize) -> f64) -> [f64; MOST] {
    const SIZE: usize = MOST + 1;
    let (mut agent_price, mut place_price) = ([0.0; SIZE], [0.0; SIZE]);
    let mut holder = [0usize; SIZE];
    for agent in 1..=n {
        holder[0] = agent;
        let (mut slack, mut came_from, mut done) = ([f64::INFINITY; SIZE], [0usize; SIZE], [false; SIZE]);
        let mut place = 0;
        while holder[place] != 0 {
            done[place] = true;
            let current = holder[place];
            let (mut step, mut next) = (f64::INFINITY, 0);
            for p in (1..=n).filter(|&p| !done[p]) {
                let reduced = distance(current - 1, p - 1) - agent_price[current] - place_price[p];
                if reduced < slack[p] {
                    (slack[p], came_from[p]) = (reduced, place);
                }
                if slack[p] < step {
                    (step, next) = (slack[p], p);
                }
            }
            if next == 0 {
                return [f64::NAN; MOST];
            }
            for p in 0..=n {
                if done[p] {
                    agent_price[holder[p]] += step;
                    place_price[p] -= step;
                } else {
                    slack[p] -= step;
                }
            }
            place = next;
        }
        while place != 0 {
            holder[place] = holder[came_from[place]];
            place = came_from[place];
        }
    }
    let mut result = [0.0; MOST];
    for place in 1..=n {
        result[holder[place] - 1] = distance(holder[place] - 1, place - 1);
    }
    result
}

/// An agent this near to its place has taken it.
const TAKEN: f64 = 0.05;

/// Where agents should stand.
pub trait Pattern: Debug + Send + Sync + 'static {
    /// The scenario's name.
    const NAME: &'static str;
    /// What the team does.
    const SUMMARY: &'static str;
    /// Radius of an agent.
    const AGENT: f64;
    /// Radius of a landmark.
    const LANDMARK: f64;
    /// What each landmark is called.
    const GOALS: &'static [&'static str];

    /// Draws where everything is at the start.
    fn place(world: &mut World, rng: &mut NumpyRng);

    /// As many places as there are agents.
    fn places(world: &World) -> [Vec2; MOST];
}

/// Agents that take the places of a pattern, whoever is nearest.
#[derive(Debug)]
pub struct Assigned<P> {
    agents: usize,
    ends: bool,
    pattern: PhantomData<P>,
}

impl<P: Pattern> Assigned<P> {
    /// The agents' distances to their places.
    fn distances(&self, world: &World) -> [f64; MOST] {
        let places = P::places(world);
        matched(self.agents, |a, p| distance(world.bodies[a].pos, places[p]))
    }
}

impl<P: Pattern> Scenario for Assigned<P> {
    const NAME: &'static str = P::NAME;
    const SUMMARY: &'static str = P::SUMMARY;
    const OLD_FLAVOURS: bool = false;

    fn keys() -> Vec<Key> {
        vec![count("num_agents", 4, 1, MOST as i64, "agents"), terminate_on_success("every agent is within 0.05 of its place")]
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self { agents: options.get("num_agents")?, ends: options.get("terminate_on_success")?, pattern: PhantomData })
    }

    fn world(&self) -> World {
        World::new(vec![Body::agent(P::AGENT); self.agents], vec![Body::landmark(P::LANDMARK); P::GOALS.len()], 0)
    }

    fn agent_name(&self, i: usize) -> String {
        format!("agent_{i}")
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (Some(2), Some(0))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        P::place(world, rng);
    }

    /// Shared: minus the mean distance, each cut at 2.
    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        let distances = &self.distances(world)[..self.agents];
        out.fill(-(distances.iter().map(|d| d.clamp(0.0, 2.0)).sum::<f64>() / distances.len() as f64));
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        row.pair(world.bodies[i].vel);
        row.pair(world.bodies[i].pos);
        row.landmarks(world, i);
    }

    fn ends_on_success(&self) -> bool {
        self.ends
    }

    fn success(&self, world: &World) -> bool {
        self.distances(world)[..self.agents].iter().all(|&d| d < TAKEN)
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        if id < world.agents { [0.35, 0.35, 0.85] } else { [0.25; 3] }
    }

    fn goals(&self, _world: &World) -> Vec<(usize, &'static str)> {
        P::GOALS.iter().copied().enumerate().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::{Purpose, Stream};

    fn brute_force(cost: &[Vec<f64>], row: usize, used: &mut Vec<bool>) -> f64 {
        if row == cost.len() {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for p in 0..cost.len() {
            if !used[p] {
                used[p] = true;
                best = best.min(cost[row][p] + brute_force(cost, row + 1, used));
                used[p] = false;
            }
        }
        best
    }

    #[test]
    fn the_total_is_the_least_of_all_permutations() {
        let mut stream = Stream::new(0, Purpose::Check, 0, 0);
        for trial in 0..300 {
            let n = 1 + trial % 6;
            let cost: Vec<Vec<f64>> = (0..n).map(|_| (0..n).map(|_| stream.uniform()).collect()).collect();
            let total: f64 = matched(n, |a, p| cost[a][p])[..n].iter().sum();
            assert!((total - brute_force(&cost, 0, &mut vec![false; n])).abs() < 1e-12);
        }
        assert!(matched(2, |_, _| f64::NAN)[0].is_nan(), "ends even on nonsense");
    }
}

//! Who goes where: the assignment of agents to places with the least total distance, for simple_formation and simple_line.

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

/// The shared reward of both scenarios: minus the mean distance, each cut at 2.
pub fn shared_reward(distances: &[f64]) -> f64 {
    -(distances.iter().map(|d| d.clamp(0.0, 2.0)).sum::<f64>() / distances.len() as f64)
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

//! What a scenario says, and the small vocabulary that scenarios share.

use motley_core::{ConfigError, Key, Kind, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::world::{Flavour, Vec2, World, distance, minus};

/// The most agents or landmarks that one scenario holds of a kind.
pub const MOST: usize = 64;

/// One scenario: its world, its start, what agents see and what they are paid.
///
/// All of a scenario's changing data lives in the [`World`], so that a snapshot of the world is a snapshot of everything.
pub trait Scenario: Send + Sync + Sized + 'static {
    /// The task's name without the suite.
    const NAME: &'static str;
    /// One line on what the task is.
    const SUMMARY: &'static str;
    /// Whether the scenario exists in flavours older than V3.
    const OLD_FLAVOURS: bool = true;
    /// Whether success is the whole team's, so that it counts as winning.
    const SHARED_SUCCESS: bool = true;

    /// Its own settings, besides the suite's.
    fn keys() -> Vec<Key> {
        Vec::new()
    }

    /// Reads its own settings.
    ///
    /// # Errors
    /// A setting that is missing.
    fn read(options: &TaskOptions) -> Result<Self, ConfigError>;

    /// The bodies, at rest.
    fn world(&self) -> World;

    /// One bound for each number in [`World::marks`], which stays below it.
    fn mark_bounds(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Agent `i`'s name: its kind, an underscore, a number within the kind.
    fn agent_name(&self, i: usize) -> String;

    /// Where agent `i`'s observation holds its absolute position and its velocity (first entries).
    fn body_in_obs(&self, i: usize) -> (Option<usize>, Option<usize>);

    /// Draws a start: goals first, then positions, in mpe2's order.
    fn place(&self, world: &mut World, rng: &mut NumpyRng);

    /// What happens between physics and rewards.
    fn after_physics(&self, _world: &mut World, _rng: &mut NumpyRng) {}

    /// The agents' rewards for the world as it now is, `[agents]`.
    fn rewards(&self, world: &World, flavour: Flavour, out: &mut [f64]);

    /// Agent `i`'s observation.
    fn observe(&self, world: &World, i: usize, row: &mut impl Sink);

    /// Whether success ends the episode.
    fn ends_on_success(&self) -> bool {
        false
    }

    /// Whether the task is solved now.
    fn success(&self, _world: &World) -> bool {
        false
    }

    /// The colour of body `id` for a person, red, green, blue.
    fn paint(&self, world: &World, id: usize) -> [f64; 3];

    /// The landmarks that are goals: pairs of landmark (counted among landmarks) and a word on whose.
    fn goals(&self, _world: &World) -> Vec<(usize, &'static str)> {
        Vec::new()
    }
}

/// Where an observation goes, number after number.
pub trait Sink {
    /// Appends one number.
    fn put(&mut self, x: f64);

    /// Appends both coordinates.
    #[inline]
    fn pair(&mut self, v: Vec2) {
        self.put(v[0]);
        self.put(v[1]);
    }

    /// Appends all.
    #[inline]
    fn all(&mut self, xs: &[f64]) {
        xs.iter().for_each(|&x| self.put(x));
    }

    /// Appends body `id`'s position as seen from agent `i`.
    #[inline]
    fn relative(&mut self, world: &World, i: usize, id: usize) {
        self.pair(minus(world.bodies[id].pos, world.bodies[i].pos));
    }

    /// Appends all landmarks' positions as seen from agent `i`.
    #[inline]
    fn landmarks(&mut self, world: &World, i: usize) {
        (world.agents..world.bodies.len()).for_each(|id| self.relative(world, i, id));
    }

    /// Appends 1 at `hot` and 0 elsewhere; all zeros where `hot` is not below `n`.
    fn one_hot(&mut self, n: usize, hot: usize) {
        (0..n).for_each(|k| self.put(f64::from(u8::from(k == hot))));
    }
}

/// Counts instead of writing: how long an observation is.
#[derive(Debug, Default)]
pub struct Count(pub usize);

impl Sink for Count {
    fn put(&mut self, _x: f64) {
        self.0 += 1;
    }
}

/// Writes into a slice, rounding once to f32.
#[derive(Debug)]
pub struct Row<'a>(pub std::slice::IterMut<'a, f32>);

impl Sink for Row<'_> {
    #[inline]
    fn put(&mut self, x: f64) {
        if let Some(slot) = self.0.next() {
            *slot = x as f32;
        }
    }
}

/// Every agent but `i`.
pub fn others(world: &World, i: usize) -> impl Iterator<Item = usize> + use<> {
    (0..world.agents).filter(move |&j| j != i)
}

/// Writes each of `ids` with `write`: all in their order where `nearest` is 0, else so many of those nearest to agent `i`,
/// nearest first, and `width` zeros for each place that stays empty.
#[inline]
pub fn see<K: Sink>(
    (world, i): (&World, usize),
    ids: impl Iterator<Item = usize>,
    nearest: usize,
    row: &mut K,
    width: usize,
    mut write: impl FnMut(&mut K, usize),
) {
    if nearest == 0 {
        ids.for_each(|id| write(row, id));
    } else {
        see_nearest((world, i), ids, nearest, row, width, write);
    }
}

#[inline(never)]
fn see_nearest<K: Sink>(
    (world, i): (&World, usize),
    ids: impl Iterator<Item = usize>,
    nearest: usize,
    row: &mut K,
    width: usize,
    mut write: impl FnMut(&mut K, usize),
) {
    let sorted = Sorted::new(ids.map(|id| (distance(world.bodies[id].pos, world.bodies[i].pos), id)));
    let shown = sorted.len.min(nearest);
    sorted.iter().take(shown).for_each(|id| write(row, id));
    (0..(nearest - shown) * width).for_each(|_| row.put(0.0));
}

/// Things in the order of a key, on the stack.
#[derive(Debug)]
pub struct Sorted {
    ids: [u8; MOST],
    len: usize,
}

impl Sorted {
    /// By rising key; equal keys keep their order. At most [`MOST`].
    pub fn new(keyed: impl Iterator<Item = (f64, usize)>) -> Self {
        let mut keys = [0.0; MOST];
        let mut sorted = Self { ids: [0; MOST], len: 0 };
        for (key, id) in keyed.take(MOST) {
            let mut at = sorted.len;
            while at > 0 && keys[at - 1] > key {
                keys[at] = keys[at - 1];
                sorted.ids[at] = sorted.ids[at - 1];
                at -= 1;
            }
            (keys[at], sorted.ids[at]) = (key, id as u8);
            sorted.len += 1;
        }
        sorted
    }

    /// What was sorted.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.ids[..self.len].iter().map(|&id| usize::from(id))
    }
}

/// Cost of leaving the arena along one axis, shared by simple_tag and simple_world_comm.
pub fn boundary_cost(pos: Vec2, axis: usize) -> f64 {
    let x = pos[axis].abs();
    if x < 0.9 {
        0.0
    } else if x < 1.0 {
        (x - 0.9) * 10.0
    } else {
        (2.0 * x - 2.0).exp().min(10.0)
    }
}

/// The least of some distances, given squared; infinite where there are none.
pub fn least(distances2: impl Iterator<Item = f64>) -> f64 {
    distances2.fold(f64::INFINITY, |best, d| if d < best { d } else { best }).sqrt()
}

/// Draws all agents' and then all landmarks' positions from the square of half width 1.
pub fn scatter(world: &mut World, rng: &mut NumpyRng) {
    world.bodies.iter_mut().for_each(|b| b.pos = rng.point(1.0));
}

/// A whole-number setting.
pub fn count(name: &str, default: i64, low: i64, high: i64, help: &str) -> Key {
    Key::new(format!("task.{name}"), default, Kind::Int(low, high), help)
}

/// The weight of an agent's own reward against the team's.
pub fn local_ratio() -> Key {
    Key::new(
        "task.local_ratio",
        0.5,
        Kind::Float(0.0, 1.0),
        "weight of an agent's own part of the reward; the rest weighs the team's",
    )
}

/// The settings of limited sight.
pub fn neighbours() -> [Key; 2] {
    let most = MOST as i64;
    [
        count("num_agent_neighbors", 0, 0, most, "how many of the nearest other agents are seen, zero-padded (0: all)"),
        count("num_landmark_neighbors", 0, 0, most, "how many of the nearest landmarks are seen, zero-padded (0: all)"),
    ]
}

/// The setting that lets success end the episode.
pub fn terminate_on_success(when: &str) -> Key {
    Key::new("task.terminate_on_success", false, Kind::Bool, format!("whether the episode ends when {when}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpe::world::Body;

    #[test]
    fn the_nearest_come_first_and_gaps_are_padded() {
        let mut world = World::new(vec![Body::agent(0.1)], vec![Body::landmark(0.1); 3], 0);
        for (id, x) in [(1, 3.0), (2, -1.0), (3, 2.0)] {
            world.bodies[id].pos = [x, 0.0];
        }
        let ids = |n| {
            let (mut row, mut seen) = (Count::default(), Vec::new());
            see((&world, 0), 1..4, n, &mut row, 2, |row, id| {
                seen.push(id);
                row.relative(&world, 0, id);
            });
            (seen, row.0)
        };
        assert_eq!((ids(0), ids(2), ids(5)), ((vec![1, 2, 3], 6), (vec![2, 3], 4), (vec![2, 3, 1], 10)));
    }

    #[test]
    fn the_boundary_costs_as_the_rules_say() {
        let cost = |x| boundary_cost([0.0, x], 1);
        assert_eq!((cost(0.5), cost(-0.89)), (0.0, 0.0));
        assert!((cost(-0.95) - 0.5).abs() < 1e-12 && (cost(1.5) - 1.0_f64.exp()).abs() < 1e-12);
        assert_eq!(cost(9.0), 10.0);
    }
}

//! `collect_treasure_v1`: collectors pick up treasures and bring each to the deposit of its kind.

use motley_core::{ConfigError, Key, TaskOptions};

use super::numpy_rng::NumpyRng;
use super::scenario::{Scenario, Sink, Sorted, count, least, others};
use super::world::{Body, Flavour, World, distance, distance2};

/// One colour for each kind of treasure.
const COLOURS: [[f64; 3]; 6] = [
    [0.212, 0.408, 0.776],
    [0.945, 0.553, 0.0],
    [0.169, 0.627, 0.173],
    [0.839, 0.149, 0.157],
    [0.58, 0.404, 0.741],
    [0.549, 0.337, 0.294],
];
/// Where a treasure lies while it is carried or about to come back.
const AWAY: f64 = -999.0;
/// Half width of the square in which treasures appear.
const FIELD: f64 = 0.95;
/// Reward of everyone for a pick-up or a delivery.
const PRIZE: f64 = 5.0;

/// See the module. Collectors come first, then deposits.
///
/// `marks` hold, in order: the kind that each collector carries, plus 1 (0: nothing); for each treasure its kind, and
/// whether it lies in the field; the pick-ups and deliveries of the last step.
#[derive(Debug)]
pub struct Collect {
    collectors: usize,
    deposits: usize,
    treasures: usize,
}

impl Collect {
    fn kind_at(&self, treasure: usize) -> usize {
        self.collectors + 2 * treasure
    }

    fn events_at(&self) -> usize {
        self.collectors + 2 * self.treasures
    }

    fn is_there(&self, world: &World, treasure: usize) -> bool {
        world.marks[self.kind_at(treasure) + 1] == 1
    }

    /// What collector `i` carries; `None` for empty hands.
    fn carried(&self, world: &World, i: usize) -> Option<usize> {
        (world.marks[i] as usize).checked_sub(1)
    }

    fn team<'a>(&self, world: &'a World) -> (&'a [Body], &'a [Body]) {
        world.team().split_at(self.collectors)
    }

    fn lay(&self, world: &mut World, treasure: usize, kind: u32) {
        let at = self.kind_at(treasure);
        world.marks[at] = kind;
        world.marks[at + 1] = 1;
    }

    fn pick_up(&self, world: &mut World, treasure: usize) {
        let id = world.agents + treasure;
        let lucky = (0..self.collectors).find(|&c| world.marks[c] == 0 && world.bodies[id].touches(&world.bodies[c]));
        if let Some(c) = lucky {
            let at = self.kind_at(treasure);
            world.marks[c] = world.marks[at] + 1;
            world.marks[at + 1] = 0;
            world.bodies[id].pos = [AWAY; 2];
            let events = self.events_at();
            world.marks[events] += 1;
        }
    }

    fn collector_reward(&self, world: &World, i: usize) -> f64 {
        let (collectors, deposits) = self.team(world);
        let me = &collectors[i];
        let bumps = (0..self.collectors).filter(|&c| c != i && me.touches(&collectors[c])).count();
        let far = match self.carried(world, i) {
            Some(kind) => deposits.get(kind).map_or(0.0, |d| distance(d.pos, me.pos)),
            None => {
                let there = world.landmarks().iter().enumerate().filter(|(t, _)| self.is_there(world, *t));
                let nearest = least(there.map(|(_, body)| distance2(body.pos, me.pos)));
                if nearest.is_finite() { nearest } else { 0.0 }
            }
        };
        -PRIZE * bumps as f64 - 0.1 * far
    }

    fn deposit_reward(&self, world: &World, kind: usize) -> f64 {
        let (collectors, deposits) = self.team(world);
        let me = &deposits[kind];
        let carriers = (0..self.collectors).filter(|&c| self.carried(world, c) == Some(kind));
        let nearest = least(carriers.map(|c| distance2(collectors[c].pos, me.pos)));
        if nearest.is_finite() {
            return -0.1 * nearest;
        }
        let centre = [0, 1].map(|axis| collectors.iter().map(|c| c.pos[axis]).sum::<f64>() / self.collectors as f64);
        -0.1 * distance(centre, me.pos)
    }
}

impl Scenario for Collect {
    const NAME: &'static str = "collect_treasure_v1";
    const SUMMARY: &'static str = "collectors bring treasures to the deposits of their kinds";
    const OLD_FLAVOURS: bool = false;

    fn keys() -> Vec<Key> {
        vec![
            count("num_collectors", 6, 1, 32, "agents that carry treasures, one at a time"),
            count(
                "num_deposits",
                2,
                1,
                COLOURS.len() as i64,
                "agents that take one kind of treasure each; also the number of kinds",
            ),
            count("num_treasures", 6, 1, 32, "treasures in the world"),
        ]
    }

    fn read(options: &TaskOptions) -> Result<Self, ConfigError> {
        Ok(Self {
            collectors: options.get("num_collectors")?,
            deposits: options.get("num_deposits")?,
            treasures: options.get("num_treasures")?,
        })
    }

    fn world(&self) -> World {
        let body = Body { collides: false, accel: 1.5, max_speed: 1.0, ..Body::agent(0.05) };
        let mut agents = vec![body.clone(); self.collectors];
        agents.extend(vec![Body { size: 0.075, mass: 2.25, ..body }; self.deposits]);
        World::new(agents, vec![Body::landmark(0.025); self.treasures], 0)
    }

    fn mark_bounds(&self) -> Vec<u32> {
        let kinds = self.deposits as u32;
        let carried = std::iter::repeat_n(kinds + 1, self.collectors);
        carried.chain([kinds, 2].repeat(self.treasures)).chain([u32::MAX]).collect()
    }

    fn agent_name(&self, i: usize) -> String {
        match i.checked_sub(self.collectors) {
            Some(d) => format!("deposit_{d}"),
            None => format!("collector_{i}"),
        }
    }

    fn body_in_obs(&self, _i: usize) -> (Option<usize>, Option<usize>) {
        (Some(0), Some(2))
    }

    fn place(&self, world: &mut World, rng: &mut NumpyRng) {
        let n = world.agents;
        world.marks.fill(0);
        world.bodies[..n].iter_mut().for_each(|b| b.pos = rng.point(1.0));
        for t in 0..self.treasures {
            let kind = rng.integers(self.deposits as u32);
            self.lay(world, t, kind);
            world.bodies[n + t].pos = rng.point(FIELD);
        }
    }

    /// Treasures are picked up, or come back one step after they were; then what is carried is delivered.
    fn after_physics(&self, world: &mut World, rng: &mut NumpyRng) {
        let events = self.events_at();
        world.marks[events] = 0;
        for t in 0..self.treasures {
            if self.is_there(world, t) {
                self.pick_up(world, t);
            } else {
                rng.unit(); // whether it comes back is drawn, with probability 1
                world.bodies[world.agents + t].pos = rng.point(FIELD);
                let kind = rng.integers(self.deposits as u32);
                self.lay(world, t, kind);
            }
        }
        for c in 0..self.collectors {
            let Some(kind) = self.carried(world, c) else { continue };
            if world.bodies[c].touches(&world.bodies[self.collectors + kind]) {
                world.marks[c] = 0;
                world.marks[events] += 1;
            }
        }
    }

    fn rewards(&self, world: &World, _flavour: Flavour, out: &mut [f64]) {
        let prizes = PRIZE * f64::from(world.marks[self.events_at()]);
        for (i, reward) in out.iter_mut().enumerate() {
            let own = match i.checked_sub(self.collectors) {
                Some(kind) => self.deposit_reward(world, kind),
                None => self.collector_reward(world, i),
            };
            *reward = own + prizes;
        }
    }

    fn observe(&self, world: &World, i: usize, row: &mut impl Sink) {
        let kinds = self.deposits;
        let me = world.bodies[i].pos;
        let hands = |o: usize| if o < self.collectors { self.carried(world, o).unwrap_or(kinds) } else { kinds };
        row.pair(me);
        row.pair(world.bodies[i].vel);
        if i < self.collectors {
            row.one_hot(kinds, hands(i));
        }
        for o in Sorted::new(others(world, i).map(|o| (distance(world.bodies[o].pos, me), o))).iter() {
            row.relative(world, i, o);
            row.pair(world.bodies[o].vel);
            row.one_hot(kinds, o.checked_sub(self.collectors).unwrap_or(kinds));
            row.one_hot(kinds, hands(o));
        }
        // Absent treasures come last, as zeros.
        let key = |t: usize| if self.is_there(world, t) { distance(world.landmarks()[t].pos, me) } else { 1e6 };
        for t in Sorted::new((0..self.treasures).map(|t| (key(t), t))).iter() {
            if self.is_there(world, t) {
                row.relative(world, i, world.agents + t);
                row.one_hot(kinds, world.marks[self.kind_at(t)] as usize);
            } else {
                (0..2 + kinds).for_each(|_| row.put(0.0));
            }
        }
    }

    fn paint(&self, world: &World, id: usize) -> [f64; 3] {
        if let Some(t) = id.checked_sub(world.agents) {
            COLOURS[world.marks[self.kind_at(t)] as usize % COLOURS.len()]
        } else if let Some(d) = id.checked_sub(self.collectors) {
            COLOURS[d].map(|c| 0.35 * c)
        } else {
            self.carried(world, id).map_or([0.85; 3], |kind| COLOURS[kind % COLOURS.len()].map(|c| 0.85 * c))
        }
    }
}

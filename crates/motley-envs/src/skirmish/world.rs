//! The state of a battle in flat arrays, and what both profiles share: orders, wounds, healing, the clock.

use std::ops::Range;
use std::sync::Arc;

use motley_core::Stream;

use super::ground::Ground;
use super::maps::sort_as_agents;
use super::orca::Solver;
use super::units::attribute::STRUCTURE;
use super::units::{ENERGY, ENERGY_REGEN, ENERGY_START, HEAL_RATE, Kind, Profile, SHIELD_DELAY, SHIELD_REGEN, Stats, Weapon};

/// Seconds of a tick.
pub const TICK: f64 = 1.0 / 16.0;
/// Ticks of an environment step.
pub const TICKS: usize = 8;
/// No target.
pub const NOBODY: u16 = u16::MAX;
/// Health that one unit of a medivac's energy gives.
const HEAL_PER_ENERGY: f64 = 3.0;
/// Energy without which a medivac does not turn to somebody new.
pub const HEAL_START: f64 = 5.0;

/// What a unit was told to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Stay and do nothing.
    Stop,
    /// Go there.
    Move([f32; 2]),
    /// Attack or heal this unit wherever it goes.
    Unit(u16),
    /// Go there and fight what comes near.
    March([f32; 2]),
    /// Stay and fight what comes near.
    Guard,
    /// Go for the nearest of the other side.
    Hunt,
    /// Burst where it stands; for banelings.
    Burst,
}

/// The two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The agents' units.
    Ally = 0,
    /// The others.
    Foe = 1,
}

/// A unit at the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recruit {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub at: [f32; 2],
}

/// A hit on its way to the end of the tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) to: u16,
    pub(super) damage: f64,
}

/// A battle. Units of a side stand next to each other; everything is indexed by unit.
#[derive(Debug)]
pub struct World {
    /// Numbers and fine rules.
    pub profile: Profile,
    /// Where it takes place.
    pub ground: Arc<Ground>,
    /// Which units are whose: allies, foes.
    pub sides: [Range<usize>; 2],
    /// The units' rows of the table.
    pub stats: Vec<&'static Stats>,
    /// Positions.
    pub x: Vec<f32>,
    /// Positions.
    pub y: Vec<f32>,
    /// Velocities, cells a second. Double, since in crowds avoidance decides on less than a single-precision rounding.
    pub vx: Vec<f64>,
    /// Velocities, cells a second.
    pub vy: Vec<f64>,
    /// Health; the dead have 0.
    pub hp: Vec<f64>,
    /// Shields.
    pub shield: Vec<f64>,
    /// Energy of healers.
    pub energy: Vec<f64>,
    /// Seconds until the next attack may begin.
    pub cooldown: Vec<f64>,
    /// Seconds until the shield regains.
    pub calm: Vec<f64>,
    /// Standing orders.
    pub order: Vec<Order>,
    /// Whom a unit is after, or [`NOBODY`].
    pub target: Vec<u16>,
    /// Velocity a unit would take alone.
    pub want: Vec<[f64; 2]>,
    /// Whether it wants to move at all.
    pub moves: Vec<bool>,
    /// Whether one of the team was after it at the end of the last tick.
    pub(super) hunted: Vec<bool>,
    /// Whether its target is within reach.
    pub reaches: Vec<bool>,
    /// Health already paid for by a healer.
    pub pool: Vec<f64>,
    /// Seconds until the next hit of the attack under way.
    pub windup: Vec<f64>,
    /// Hits left of the attack under way.
    pub hits_left: Vec<u8>,
    /// Radii, once more, for tight loops.
    pub(super) radius: Vec<f32>,
    /// The same of the radii that push.
    pub(super) separation: Vec<f32>,
    pub(super) hits: Vec<Hit>,
    pub(super) solver: Solver,
    /// What the foes lost of health and shields.
    pub dealt: f64,
    /// Foes that were killed.
    pub kills: u32,
    /// Draws of weapon delays.
    pub stream: Stream,
    /// Ticks since the start.
    pub clock: u32,
}

impl World {
    /// An empty battlefield.
    pub fn new(profile: Profile, ground: Arc<Ground>, stream: Stream) -> Self {
        Self {
            profile,
            ground,
            sides: [0..0, 0..0],
            stats: Vec::new(),
            x: Vec::new(),
            y: Vec::new(),
            vx: Vec::new(),
            vy: Vec::new(),
            hp: Vec::new(),
            shield: Vec::new(),
            energy: Vec::new(),
            cooldown: Vec::new(),
            calm: Vec::new(),
            order: Vec::new(),
            target: Vec::new(),
            want: Vec::new(),
            moves: Vec::new(),
            hunted: Vec::new(),
            reaches: Vec::new(),
            pool: Vec::new(),
            windup: Vec::new(),
            hits_left: Vec::new(),
            radius: Vec::new(),
            separation: Vec::new(),
            hits: Vec::new(),
            solver: Solver::default(),
            dealt: 0.0,
            kills: 0,
            stream,
            clock: 0,
        }
    }

    /// Starts a battle; `foes_first` gives the foes the lower numbers (and the first turns of a tick in profile `smaclite`).
    pub fn muster(&mut self, allies: &[Recruit], foes: &[Recruit], foes_first: bool, stream: Stream) {
        let (a, f) = (allies.len(), foes.len());
        self.sides = if foes_first { [f..f + a, 0..f] } else { [0..a, a..a + f] };
        let n = a + f;
        let (first, second) = if foes_first { (foes, allies) } else { (allies, foes) };
        self.stats.clear();
        self.stats.extend(first.iter().chain(second).map(|r| r.kind.stats(self.profile)));
        self.x.clear();
        self.x.extend(first.iter().chain(second).map(|r| r.at[0]));
        self.y.clear();
        self.y.extend(first.iter().chain(second).map(|r| r.at[1]));
        self.radius.clear();
        self.radius.extend(self.stats.iter().map(|s| s.radius));
        self.separation.clear();
        self.separation.extend(self.stats.iter().map(|s| s.separation()));
        self.hp.clear();
        self.hp.extend(self.stats.iter().map(|s| f64::from(s.health)));
        self.shield.clear();
        self.shield.extend(self.stats.iter().map(|s| f64::from(s.shield)));
        self.energy.clear();
        self.energy.extend(self.stats.iter().map(|s| if s.heals() { ENERGY_START } else { 0.0 }));
        for (list, value) in [(&mut self.cooldown, 0.0), (&mut self.calm, 0.0), (&mut self.pool, 0.0), (&mut self.windup, 0.0)] {
            refill(list, n, value);
        }
        refill(&mut self.vx, n, 0.0);
        refill(&mut self.vy, n, 0.0);
        refill(&mut self.order, n, Order::Stop);
        refill(&mut self.target, n, NOBODY);
        refill(&mut self.want, n, [0.0; 2]);
        refill(&mut self.moves, n, false);
        refill(&mut self.hunted, n, false);
        refill(&mut self.reaches, n, false);
        refill(&mut self.hits_left, n, 0);
        self.hits.clear();
        self.hits.reserve(4 * n * n);
        (self.dealt, self.kills, self.clock) = (0.0, 0, 0);
        self.stream = stream;
    }

    /// Starts a battle of units that were put anywhere, on top of each other too: they move apart, and the team is then put into
    /// SMAC's order, which depends on where units stand. Both lists are left as the battle starts.
    pub fn muster_apart(&mut self, allies: &mut [Recruit], foes: &mut [Recruit], stream: Stream) {
        self.muster(allies, foes, false, stream.clone());
        self.settle();
        for (unit, (x, y)) in allies.iter_mut().chain(foes.iter_mut()).zip(self.x.iter().zip(&self.y)) {
            unit.at = [*x, *y];
        }
        sort_as_agents(allies);
        self.muster(allies, foes, false, stream);
    }

    /// Number of units, the dead included.
    pub fn len(&self) -> usize {
        self.x.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.x.is_empty()
    }

    /// Whether a unit lives.
    pub fn alive(&self, u: usize) -> bool {
        self.hp[u] > 0.0
    }

    /// Which side a unit is on.
    pub fn side(&self, u: usize) -> Side {
        if self.sides[0].contains(&u) { Side::Ally } else { Side::Foe }
    }

    /// The units that `u` fights.
    pub fn rivals(&self, u: usize) -> Range<usize> {
        self.sides[if self.side(u) == Side::Ally { 1 } else { 0 }].clone()
    }

    /// The units on `u`'s side.
    pub fn friends(&self, u: usize) -> Range<usize> {
        self.sides[self.side(u) as usize].clone()
    }

    /// Distance of centres.
    pub fn distance(&self, a: usize, b: usize) -> f32 {
        let (dx, dy) = (self.x[a] - self.x[b], self.y[a] - self.y[b]);
        (dx * dx + dy * dy).sqrt()
    }

    /// Distance of edges.
    pub fn gap(&self, a: usize, b: usize) -> f32 {
        self.distance(a, b) - self.radius[a] - self.radius[b]
    }

    /// Advances by one tick.
    pub fn tick(&mut self) {
        match self.profile {
            Profile::Smaclite => self.tick_smaclite(),
            Profile::Liberty | Profile::LibertyMulti | Profile::VoidMulti => self.tick_liberty(),
        }
        self.clock += 1;
    }

    /// Shields, health and energy that come back by themselves, and the weapon's clock.
    pub(super) fn recover(&mut self, u: usize) {
        let stats = self.stats[u];
        self.cooldown[u] = (self.cooldown[u] - TICK).max(0.0);
        if stats.shield > 0.0 {
            self.calm[u] = (self.calm[u] - TICK).max(0.0);
            if self.calm[u] <= 0.0 {
                self.shield[u] = (self.shield[u] + SHIELD_REGEN * TICK).min(f64::from(stats.shield));
            }
        }
        if stats.regen > 0.0 {
            self.hp[u] = (self.hp[u] + stats.regen * TICK).min(f64::from(stats.health));
        }
        if stats.heals() {
            self.energy[u] = (self.energy[u] + ENERGY_REGEN * TICK).min(ENERGY);
        }
    }

    /// Takes one hit: shields first and whole, then health behind armour. A foe's losses are the team's doing, but who bursts is
    /// nobody's kill.
    pub(super) fn wound(&mut self, u: usize, damage: f64) {
        if !self.alive(u) {
            return;
        }
        let stats = self.stats[u];
        let on_shield = damage.min(self.shield[u]);
        self.shield[u] -= on_shield;
        let rest = damage - on_shield;
        let on_health = if rest > 0.0 { (rest - f64::from(stats.armor)).max(0.0).min(self.hp[u]) } else { 0.0 };
        self.hp[u] -= on_health;
        self.calm[u] = SHIELD_DELAY;
        if self.side(u) == Side::Foe {
            self.dealt += on_shield + on_health;
            self.kills += u32::from(self.hp[u] <= 0.0 && damage.is_finite());
        }
    }

    /// One attack of `u` on `t`, or one hit of it: everyone whom it reaches, through `hit`.
    pub(super) fn strike(&mut self, u: usize, t: usize) {
        let stats = self.stats[u];
        let push = |hits: &mut Vec<Hit>, to: usize, damage: f32| {
            hits.push(Hit { to: to as u16, damage: f64::from(damage) });
        };
        match stats.weapon {
            Weapon::Single => push(&mut self.hits, t, stats.hit_on(self.stats[t].attributes)),
            Weapon::Burst { radius, structures } => {
                for r in self.rivals(u) {
                    if self.alive(r) && !self.stats[r].flies() && self.distance(u, r) - self.radius[r] <= radius {
                        let attributes = self.stats[r].attributes;
                        let damage = if attributes & STRUCTURE != 0 { structures } else { stats.hit_on(attributes) };
                        push(&mut self.hits, r, damage);
                    }
                }
                push(&mut self.hits, u, f32::INFINITY);
            }
            Weapon::Sweep { half_length, half_width } => {
                let (dx, dy) = (self.x[t] - self.x[u], self.y[t] - self.y[u]);
                let length = (dx * dx + dy * dy).sqrt().max(1e-6);
                let (dx, dy) = (dx / length, dy / length);
                for r in self.rivals(u) {
                    let (rx, ry) = (self.x[r] - self.x[t], self.y[r] - self.y[t]);
                    let (along, across) = ((rx * dx + ry * dy).abs(), (ry * dx - rx * dy).abs());
                    let reach = half_width + self.radius[r];
                    let touched = match self.profile {
                        // Among those whose centres are no further from the target than the line's ends.
                        Profile::Smaclite => along <= reach && along.hypot(across) <= half_length,
                        // The ray runs along a line across the shot; whoever it comes near enough to is hit.
                        Profile::Liberty | Profile::LibertyMulti | Profile::VoidMulti => {
                            along.hypot((across - half_length).max(0.0)) <= reach
                        }
                    };
                    if self.alive(r) && touched && (stats.hits_air || !self.stats[r].flies()) {
                        push(&mut self.hits, r, stats.hit_on(self.stats[r].attributes));
                    }
                }
            }
            Weapon::Heal => {}
        }
    }

    /// Lets the collected hits land. In the game who bursts does so however it dies, once; in SMAClite only when it attacks.
    pub(super) fn land(&mut self) {
        let mut k = 0;
        while let Some(&Hit { to, damage }) = self.hits.get(k) {
            let u = usize::from(to);
            let lived = self.alive(u);
            self.wound(u, damage);
            let bursts = self.profile != Profile::Smaclite && matches!(self.stats[u].weapon, Weapon::Burst { .. });
            let under_way = |hit: &Hit| hit.to == to && hit.damage.is_infinite();
            if bursts && lived && !self.alive(u) && !self.hits.iter().any(under_way) {
                self.strike(u, u);
            }
            k += 1;
        }
        self.hits.clear();
    }

    /// A tick's healing of `t` by `u`, paid with energy; whether anything was given.
    pub(super) fn heal(&mut self, u: usize, t: usize) -> bool {
        let full = f64::from(self.stats[t].health);
        let dose = (HEAL_RATE * TICK).min(full - self.hp[t]);
        if dose <= 0.0 {
            return false;
        }
        if self.pool[u] < dose {
            let paid = self.energy[u].min(1.0);
            self.energy[u] -= paid;
            self.pool[u] += HEAL_PER_ENERGY * paid;
        }
        let given = dose.min(self.pool[u]);
        self.pool[u] -= given;
        self.hp[t] = (self.hp[t] + given).min(full);
        given > 0.0
    }
}

/// `n` times `value`, in the memory that `list` has.
fn refill<T: Copy>(list: &mut Vec<T>, n: usize, value: T) {
    list.clear();
    list.resize(n, value);
}

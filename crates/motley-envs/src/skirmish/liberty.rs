//! A tick of profile `liberty` and of those that play by its rules: orders, ways, shoving, weapons with wind-up and delay. Everyone chooses on what the tick began
//! with, and all hits land at its end, so that no side has the first blow.
//!
//! Simpler than the game: no turning, no backswing, shots arrive at once, units give way by being shoved apart.

use super::ground::{Ground, SIZE};
use super::units::{Stats, Weapon};
use super::world::{HEAL_START, NOBODY, Order, Side, TICK, World};

/// How far off a healer on the hunt stays behind the fighter that it follows.
const NEAR: f32 = 1.0;
/// How far beyond its sight a unit that marches follows somebody.
const CHASE: f32 = 3.0;
/// Ticks between two looks for somebody nearer.
const LOOK: u32 = 8;
/// Bounds of the random delay of every attack, in seconds.
const DELAY: (f64, f64) = (-0.0625, 0.125);
/// Nobody leaves the map.
const EDGE: f32 = 0.01;

impl World {
    /// One tick.
    pub(super) fn tick_liberty(&mut self) {
        for u in 0..self.len() {
            if self.alive(u) {
                self.decide(u);
            }
        }
        for u in 0..self.len() {
            if self.moves[u] && self.alive(u) {
                self.step(u);
            }
        }
        for u in 0..self.len() {
            if self.moves[u] && self.alive(u) {
                self.shove(u);
            }
        }
        for u in 0..self.len() {
            if self.alive(u) {
                self.recover(u);
                self.fight(u);
            }
        }
        self.land();
    }

    /// Target and direction of one unit.
    fn decide(&mut self, u: usize) {
        let before = self.target[u];
        match self.order[u] {
            Order::Stop | Order::Move(_) | Order::Burst => self.target[u] = NOBODY,
            Order::Unit(t) if self.alive(usize::from(t)) => self.target[u] = t,
            Order::Unit(_) => (self.order[u], self.target[u]) = (Order::Stop, NOBODY),
            Order::March(_) | Order::Guard | Order::Hunt if self.stats[u].heals() => self.look_for_wounded(u),
            Order::March(_) | Order::Guard | Order::Hunt => self.look_for_enemy(u),
        }
        let t = usize::from(self.target[u]);
        let busy = self.hits_left[u] > 0;
        if busy && (self.target[u] != before || before == NOBODY || self.gap(u, t) > self.stats[u].range + self.stats[u].slop) {
            // An attack broken off before its first hit costs no time.
            if self.hits_left[u] == self.stats[u].hits {
                self.cooldown[u] = 0.0;
            }
            self.hits_left[u] = 0;
        }
        self.reaches[u] = self.target[u] != NOBODY && self.gap(u, t) <= self.reach(u, before);
        let goal = if self.reaches[u] {
            None
        } else if self.target[u] != NOBODY {
            Some([self.x[t], self.y[t]])
        } else {
            self.goal_of_order(u)
        };
        self.head_for(u, goal);
    }

    /// How far off a unit strikes its target: further than its range where it had the same one in reach the tick before.
    fn reach(&self, u: usize, before: u16) -> f32 {
        let holds = self.reaches[u] && self.target[u] == before && !self.stats[u].heals();
        self.stats[u].range + if holds { self.stats[u].slop } else { 0.0 }
    }

    /// Where a unit without a target goes.
    fn goal_of_order(&mut self, u: usize) -> Option<[f32; 2]> {
        let here = [self.x[u], self.y[u]];
        match self.order[u] {
            Order::Move(to) if here == to => {
                self.order[u] = Order::Stop;
                None
            }
            Order::March(to) if (here[0] - to[0]).hypot(here[1] - to[1]) < 0.5 => {
                self.order[u] = Order::Guard;
                None
            }
            Order::Move(to) | Order::March(to) => Some(to),
            // A healer on the hunt stays with those who fight.
            Order::Hunt if self.stats[u].heals() => {
                let fighters = self.friends(u).filter(|&f| self.alive(f) && !self.stats[f].heals());
                let near = fighters.min_by(|&a, &b| self.distance(u, a).total_cmp(&self.distance(u, b)))?;
                (self.gap(u, near) > NEAR).then(|| [self.x[near], self.y[near]])
            }
            _ => None,
        }
    }

    /// The velocity towards a goal, around corners on the ground.
    fn head_for(&mut self, u: usize, goal: Option<[f32; 2]>) {
        let stats = self.stats[u];
        let here = [self.x[u], self.y[u]];
        let mut wish = [0.0; 2];
        if let Some(goal) = goal.filter(|_| stats.speed > 0.0) {
            let to = if stats.crosses_cliffs() { goal } else { self.ground.toward(here, goal) };
            let (dx, dy) = (to[0] - here[0], to[1] - here[1]);
            let length = (dx * dx + dy * dy).sqrt();
            // The last step ends exactly there.
            let speed = stats.speed.min(length / TICK as f32);
            if length > 0.0 {
                wish = [dx / length * speed, dy / length * speed];
            }
        }
        // Only the foes' flyers take time to gain speed: the team's units are made without inertia.
        if stats.accel.is_finite() && self.side(u) == Side::Foe {
            let most = stats.accel * TICK as f32;
            let (vx, vy) = (self.vx[u] as f32, self.vy[u] as f32);
            let (dx, dy) = (wish[0] - vx, wish[1] - vy);
            let length = (dx * dx + dy * dy).sqrt();
            if length > most {
                wish = [vx + dx / length * most, vy + dy / length * most];
            }
        }
        [self.vx[u], self.vy[u]] = wish.map(f64::from);
        self.moves[u] = wish != [0.0; 2];
    }

    /// Keeps whom it can hit; else the nearest in sight or of those who are at it.
    fn look_for_enemy(&mut self, u: usize) {
        let stats = self.stats[u];
        let hunts = self.order[u] == Order::Hunt;
        let now = self.target[u];
        if now != NOBODY {
            let t = usize::from(now);
            let gap = self.gap(u, t);
            let far = !hunts && gap > stats.scan + CHASE && usize::from(self.target[t]) != u;
            if !self.alive(t) || far {
                self.target[u] = NOBODY;
            } else {
                if hunts || gap <= self.reach(u, now) || !(self.clock + u as u32).is_multiple_of(LOOK) {
                    return;
                }
            }
        }
        let mut best = (f32::INFINITY, self.target[u]);
        for r in self.rivals(u) {
            if !self.alive(r) || !stats.can_hit(self.stats[r]) {
                continue;
            }
            let gap = self.gap(u, r);
            let at_me = usize::from(self.target[r]) == u && gap <= self.stats[r].range + self.stats[r].slop;
            if gap < best.0 && (hunts || at_me || gap <= stats.scan) {
                best = (gap, r as u16);
            }
        }
        self.target[u] = best.1;
    }

    /// Keeps a patient in reach; else the nearest wounded friend in sight.
    fn look_for_wounded(&mut self, u: usize) {
        let wounded = |w: &Self, f: usize| w.alive(f) && w.hp[f] < f64::from(w.stats[f].health);
        let now = usize::from(self.target[u]);
        if self.target[u] != NOBODY && wounded(self, now) && self.gap(u, now) <= self.stats[u].range && self.energy[u] > 0.0 {
            return;
        }
        let mut best = (self.stats[u].scan, NOBODY);
        if self.energy[u] >= HEAL_START {
            for f in self.friends(u) {
                if f != u && wounded(self, f) && self.stats[u].can_hit(self.stats[f]) {
                    let gap = self.gap(u, f);
                    if gap < best.0 {
                        best = (gap, f as u16);
                    }
                }
            }
        }
        self.target[u] = best.1;
    }

    /// Moves a unit, along a wall where one is in the way.
    fn step(&mut self, u: usize) {
        let (x, y) = (self.x[u], self.y[u]);
        self.put(u, x + self.vx[u] as f32 * TICK as f32, y + self.vy[u] as f32 * TICK as f32);
    }

    /// Puts a unit there, or as near as walls let it.
    pub(super) fn put(&mut self, u: usize, x: f32, y: f32) {
        let (x, y) = (x.clamp(EDGE, SIZE as f32 - EDGE), y.clamp(EDGE, SIZE as f32 - EDGE));
        let stats = self.stats[u];
        if stats.flies() {
            return (self.x[u], self.y[u]) = (x, y);
        }
        let grid = if stats.crosses_cliffs() { &self.ground.climb } else { &self.ground.walk };
        let (old_x, old_y) = (self.x[u], self.y[u]);
        (self.x[u], self.y[u]) = if Ground::free(grid, x, y) || !Ground::free(grid, old_x, old_y) {
            (x, y)
        } else if Ground::free(grid, x, old_y) {
            (x, old_y)
        } else if Ground::free(grid, old_x, y) {
            (old_x, y)
        } else {
            (old_x, old_y)
        };
    }

    /// Resolves the overlaps of a unit that moved: whoever moves or idles beside a friend gives way, nobody else does.
    fn shove(&mut self, u: usize) {
        let layer = layer(self.stats[u]);
        for o in 0..self.len() {
            let (dx, dy) = (self.x[u] - self.x[o], self.y[u] - self.y[o]);
            let touch = self.separation[u] + self.separation[o];
            let sq = dx * dx + dy * dy;
            if sq >= touch * touch || o == u || !self.alive(o) || self.layer_of(o) != layer {
                continue;
            }
            let distance = sq.sqrt();
            let overlap = touch - distance;
            let (nx, ny) = if distance > 1e-4 { (dx / distance, dy / distance) } else { apart(u, o) };
            let idle = !self.reaches[o] && self.side(o) == self.side(u) && self.stats[o].speed > 0.0;
            let share = if self.moves[o] || idle { 0.5 } else { 1.0 };
            // Past somebody who stands, a little to the side on which the way is shorter.
            let side = nx * self.vy[u] as f32 - ny * self.vx[u] as f32;
            let turn = if side.abs() > 1e-3 { side.signum() } else { [-1.0, 1.0][u % 2] } * 0.5 * overlap * (2.0 * share - 1.0);
            let (x, y) = (self.x[u], self.y[u]);
            self.put(u, x + nx * overlap * share - ny * turn, y + ny * overlap * share + nx * turn);
            if share < 1.0 {
                let (x, y) = (self.x[o], self.y[o]);
                self.put(o, x - nx * overlap * 0.5, y - ny * overlap * 0.5);
            }
        }
    }

    fn layer_of(&self, u: usize) -> u8 {
        layer(self.stats[u])
    }

    /// Lets units that were put on top of each other move apart, before a battle begins.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            let mut still = true;
            for u in 0..self.len() {
                for o in 0..u {
                    let (dx, dy) = (self.x[u] - self.x[o], self.y[u] - self.y[o]);
                    let distance = dx.hypot(dy);
                    let overlap = self.separation[u] + self.separation[o] - distance;
                    if overlap > 1e-3 && self.layer_of(u) == self.layer_of(o) {
                        still = false;
                        let (nx, ny) = if distance > 1e-4 { (dx / distance, dy / distance) } else { apart(u, o) };
                        let (ux, uy, ox, oy) = (self.x[u], self.y[u], self.x[o], self.y[o]);
                        let half = 0.5 * overlap + 1e-3;
                        self.put(u, ux + nx * half, uy + ny * half);
                        self.put(o, ox - nx * half, oy - ny * half);
                    }
                }
            }
            if still {
                break;
            }
        }
    }

    /// Heals, goes on with an attack or begins one.
    fn fight(&mut self, u: usize) {
        let stats = self.stats[u];
        if self.order[u] == Order::Burst {
            return self.strike(u, u);
        }
        let t = usize::from(self.target[u]);
        if stats.heals() {
            if self.reaches[u] {
                self.heal(u, t);
            }
            return;
        }
        if self.hits_left[u] == 0 {
            if !self.reaches[u] || self.cooldown[u] > 0.0 {
                return;
            }
            self.hits_left[u] = stats.hits;
            self.windup[u] = stats.windup;
            self.cooldown[u] = stats.period + self.stream.range(DELAY.0, DELAY.1);
        } else {
            self.windup[u] -= TICK;
        }
        while self.hits_left[u] > 0 && self.windup[u] <= 0.0 {
            self.strike(u, t);
            self.hits_left[u] -= 1;
            self.windup[u] += stats.between;
            if matches!(stats.weapon, Weapon::Burst { .. }) {
                self.hits_left[u] = 0;
            }
        }
    }
}

/// Units collide within their layer: ground, air, and the giants that walk over all others.
pub(super) fn layer(stats: &Stats) -> u8 {
    u8::from(stats.flies()) + 2 * u8::from(stats.crosses_cliffs() && !stats.flies())
}

/// A direction for two units at the same point.
fn apart(u: usize, o: usize) -> (f32, f32) {
    let angle = (u * 7 + o * 13) as f32;
    (angle.cos(), angle.sin())
}

//! A tick in the order of SMAClite, as its recorded runs show it: who is a target, who goes where, reciprocal avoidance, and
//! then each unit's move and blow in order of number, damage landing at once.

use super::orca::{HORIZON, Mover, Neighbour, Solver};
use super::units::Weapon;
use super::world::{HEAL_START, NOBODY, Order, Side, TICK, World};

impl World {
    /// One tick.
    pub(super) fn tick_smaclite(&mut self) {
        let n = self.len();
        self.hunted.fill(false);
        for a in self.sides[Side::Ally as usize].clone() {
            if self.alive(a) && self.target[a] != NOBODY {
                self.hunted[usize::from(self.target[a])] = true;
            }
        }
        for u in 0..n {
            if self.alive(u) {
                self.keep_target(u);
            }
        }
        let widest = self.radius.iter().fold(0.0_f32, |a, &b| a.max(b));
        let healers = self.sides[Side::Ally as usize].clone().any(|a| self.stats[a].heals());
        for u in self.sides[Side::Foe as usize].clone() {
            if self.alive(u) && !self.stats[u].heals() {
                self.look_for_target(u, widest, healers);
            } else if self.alive(u) && self.target[u] == NOBODY {
                self.look_for_patient(u);
            }
        }
        for u in 0..n {
            if self.alive(u) {
                self.prefer(u);
            }
        }
        self.avoid(widest);
        for u in 0..n {
            if self.alive(u) {
                self.act(u);
            }
        }
    }

    /// Drops what is no target any more.
    fn keep_target(&mut self, u: usize) {
        if let Order::Unit(t) = self.order[u] {
            self.target[u] = if self.alive(usize::from(t)) { t } else { NOBODY };
            return;
        }
        if self.side(u) == Side::Ally {
            self.target[u] = NOBODY;
            return;
        }
        let t = usize::from(self.target[u]);
        if self.target[u] == NOBODY {
            return;
        }
        let threat = !self.stats[u].heals() && usize::from(self.target[t]) == u;
        if !self.alive(t) || !(threat || self.gap(u, t) <= self.stats[u].range) {
            self.target[u] = NOBODY;
        }
    }

    /// The nearest of those in sight or after this unit, healers before all others.
    fn look_for_target(&mut self, u: usize, widest: f32, healers: bool) {
        let now = self.target[u];
        if now != NOBODY && (!healers || self.stats[usize::from(now)].heals()) {
            return;
        }
        let stats = self.stats[u];
        let mut best = (true, f32::INFINITY, now);
        for r in self.rivals(u) {
            if !self.alive(r) || !stats.can_hit(self.stats[r]) {
                continue;
            }
            let distance = self.distance(u, r);
            if distance <= stats.scan + self.radius[r] || usize::from(self.target[r]) == u {
                // Beyond what the search looked at a pursuer counts as endlessly far.
                let far = if distance <= stats.scan + widest { distance } else { f32::MAX };
                let healer_last = !self.stats[r].heals();
                if (healer_last, far) < (best.0, best.1) {
                    best = (healer_last, far, r as u16);
                }
            }
        }
        self.target[u] = best.2;
    }

    /// The weakest wounded friend in sight of a healer.
    fn look_for_patient(&mut self, u: usize) {
        if self.energy[u] < HEAL_START {
            return;
        }
        let mut best = (f64::INFINITY, NOBODY);
        for f in self.friends(u) {
            let needs = self.hunted[f] || self.hp[f] < f64::from(self.stats[f].health);
            let near = self.distance(u, f) <= self.stats[u].scan + self.radius[f];
            let fits = f != u && self.alive(f) && self.stats[u].can_hit(self.stats[f]);
            if fits && needs && near && self.hp[f] < best.0 {
                best = (self.hp[f], f as u16);
            }
        }
        self.target[u] = best.1;
    }

    /// Whom a unit is after. One that was told to attack somebody goes on to where that one fell, and goes on striking there.
    fn aim(&self, u: usize) -> Option<usize> {
        match (self.target[u], self.order[u]) {
            (NOBODY, Order::Unit(t)) => Some(usize::from(t)),
            (NOBODY, _) => None,
            (t, _) => Some(usize::from(t)),
        }
    }

    /// The velocity a unit would take alone.
    fn prefer(&mut self, u: usize) {
        let here = [self.x[u], self.y[u]];
        let aim = self.aim(u);
        self.reaches[u] = aim.is_some_and(|t| self.gap(u, t) <= self.stats[u].range);
        let goal = match (aim, self.order[u]) {
            _ if self.reaches[u] => None,
            (Some(t), _) => Some([self.x[t], self.y[t]]),
            (None, Order::Move(to) | Order::March(to)) => Some(to),
            (None, _) => None,
        };
        self.moves[u] = false;
        self.want[u] = [0.0; 2];
        if let Some(to) = goal {
            let (dx, dy) = (to[0] - here[0], to[1] - here[1]);
            let length = (dx * dx + dy * dy).sqrt();
            let speed = self.pace(u);
            if length > 0.0 && speed > 0.0 {
                self.want[u] = [dx / length * speed, dy / length * speed].map(f64::from);
                self.moves[u] = true;
            }
        }
    }

    /// A foe's healer goes no faster than the slowest of those it accompanies.
    fn pace(&self, u: usize) -> f32 {
        let own = self.stats[u].speed;
        if !self.stats[u].heals() || self.side(u) == Side::Ally {
            return own;
        }
        let others = self.friends(u).filter(|&f| self.alive(f) && !self.stats[f].heals());
        others.fold(own, |slowest, f| slowest.min(self.stats[f].speed))
    }

    /// New velocities of those who want to move; the others stand.
    fn avoid(&mut self, widest: f32) {
        let mut solver = std::mem::take(&mut self.solver);
        for u in 0..self.len() {
            if !self.alive(u) || !self.moves[u] {
                // Taken over after everyone has chosen.
                continue;
            }
            let mover = Mover {
                at: [f64::from(self.x[u]), f64::from(self.y[u])],
                velocity: [self.vx[u], self.vy[u]],
                radius: f64::from(self.radius[u]),
                max_speed: f64::from(self.pace(u)),
            };
            solver.clear();
            if !self.stats[u].flies() {
                self.add_walls(&mut solver, &mover);
            }
            // Only those who touch, or nearly so, are looked at. In double: units that stand edge to edge are a hair apart, or not.
            let near_enough = f64::from(self.radius[u] + widest);
            for o in 0..self.len() {
                let (dx, dy) = (f64::from(self.x[o]) - mover.at[0], f64::from(self.y[o]) - mover.at[1]);
                let same = o != u && self.alive(o) && self.stats[o].flies() == self.stats[u].flies();
                if !same || dx * dx + dy * dy > near_enough * near_enough {
                    continue;
                }
                let other = Neighbour {
                    at: [f64::from(self.x[o]), f64::from(self.y[o])],
                    velocity: [self.vx[o], self.vy[o]],
                    radius: f64::from(self.radius[o]),
                    share: if self.moves[o] { 0.5 } else { 1.0 },
                };
                solver.neighbour(&mover, &other, TICK);
            }
            self.want[u] = solver.solve(self.want[u], mover.max_speed);
        }
        for u in 0..self.len() {
            [self.vx[u], self.vy[u]] = if self.alive(u) { self.want[u] } else { [0.0; 2] };
        }
        self.solver = solver;
    }

    /// Walls that could be reached within the horizon, in the order of their rectangles: RVO2 sorts them by distance, the recorded
    /// runs show that SMAClite does not.
    fn add_walls(&self, solver: &mut Solver, mover: &Mover) {
        let reach = HORIZON * mover.max_speed + mover.radius;
        for (k, corner) in self.ground.walls.iter().enumerate() {
            let next = self.ground.walls[corner.next].at;
            let edge = [next[0] - corner.at[0], next[1] - corner.at[1]];
            let from = [mover.at[0] - corner.at[0], mover.at[1] - corner.at[1]];
            // Only edges whose outer side the unit is on.
            if edge[0] * from[1] - edge[1] * from[0] >= 0.0 {
                continue;
            }
            let t = ((from[0] * edge[0] + from[1] * edge[1]) / (edge[0] * edge[0] + edge[1] * edge[1])).clamp(0.0, 1.0);
            let (dx, dy) = (from[0] - t * edge[0], from[1] - t * edge[1]);
            if dx * dx + dy * dy < reach * reach {
                solver.wall(mover, &self.ground.walls, k);
            }
        }
    }

    /// Moves, recovers and strikes.
    fn act(&mut self, u: usize) {
        self.x[u] += (self.vx[u] * TICK) as f32;
        self.y[u] += (self.vy[u] * TICK) as f32;
        self.recover(u);
        if self.order[u] == Order::Burst {
            self.strike(u, u);
            return self.land();
        }
        let Some(t) = self.aim(u).filter(|_| self.reaches[u]) else { return };
        if self.stats[u].heals() {
            if !self.alive(t) || !self.heal(u, t) {
                self.target[u] = NOBODY;
            }
            return;
        }
        if self.cooldown[u] > 0.0 {
            return;
        }
        self.cooldown[u] = self.stats[u].period;
        let blows = if matches!(self.stats[u].weapon, Weapon::Burst { .. }) { 1 } else { self.stats[u].hits };
        for _ in 0..blows {
            self.strike(u, t);
        }
        self.land();
    }
}

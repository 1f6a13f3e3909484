//! The states of HARL's wrapper: one for all (EP), or one for each agent, from where it stands (FP).
//!
//! J. Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 2024: the settings EP and FP of its wrapper of SMAC. Both leave out
//! the dead: EP all but their masks and surroundings, FP their rows but for the number.

use super::{Layout, Moment, Pen, SIZE, Side};

/// Entries about the ground around a unit: pathing at eight points, height at nine.
const AROUND: usize = 17;
/// Constants at the end of EP: the map's sides, those of its playable area, and how far agents see.
const INFO: usize = 5;

impl Layout {
    /// Entries of EP.
    pub(super) fn ep_size(&self) -> usize {
        let ally = 4 + self.bits(Side::Ally) + self.facing() + self.actions;
        self.allies * (ally + self.actions + AROUND) + self.foes * (3 + self.bits(Side::Foe)) + 1 + INFO
    }

    /// Entries of one row of FP.
    pub(super) fn fp_size(&self) -> usize {
        let body = self.bits(Side::Ally) + self.facing() + self.actions;
        (self.allies - 1) * (8 + body) + self.foes * (8 + self.bits(Side::Foe)) + 4 + (7 + body) + self.allies
    }

    /// Units of the team with what they did last, foes, each agent's mask with the ground around it, the time and five constants.
    pub(super) fn write_ep(&self, now: &Moment<'_>, state: &mut [f32]) {
        let view = now.view;
        let mut pen = Pen(state.iter_mut());
        for (i, u) in view.allies.iter().enumerate() {
            self.put_in_state(&mut pen, now, Side::Ally, i);
            pen.one_hot(now.last[i].filter(|_| u.alive()), self.actions);
        }
        (0..self.foes).for_each(|j| self.put_in_state(&mut pen, now, Side::Foe, j));
        for (i, u) in view.allies.iter().enumerate() {
            let mask = pen.block(self.actions);
            self.open_slots(now, i, |slot| mask[slot] = 1.0);
            self.put_surroundings(&mut pen, &view.ground, u, true, true);
        }
        pen.put(now.time);
        let sight = self.ranges(view.allies[0].kind).1;
        [SIZE as f32, SIZE as f32, view.extent[0], view.extent[1], sight].into_iter().for_each(|side| pen.put(side));
    }

    /// Agent `i`'s row: everybody living, seen from it and from the middle of the map, with its moves, itself and its number, which is
    /// all that is left of the dead.
    pub(super) fn write_fp(&self, now: &Moment<'_>, i: usize, row: &mut [f32]) {
        let u = &now.view.allies[i];
        if !u.alive() {
            row.fill(0.0);
            let number = row.len() - self.allies + i;
            row[number] = 1.0;
            return;
        }
        let mut pen = Pen(row.iter_mut());
        (0..self.allies).filter(|j| *j != i).for_each(|j| self.put_ally_from(&mut pen, now, i, j));
        (0..self.foes).for_each(|j| self.put_foe_from(&mut pen, now, i, j));
        Self::can_move(now.view, u).iter().for_each(|free| pen.put(if *free { 1.0 } else { 0.0 }));
        pen.put(1.0);
        pen.skip(3);
        pen.put((u.hp / u.hp_max) as f32);
        self.put_shield(&mut pen, u, Side::Ally);
        self.put_place(&mut pen, now, u);
        self.put_facing(&mut pen, now, i);
        self.put_type(&mut pen, u, Side::Ally);
        pen.one_hot(now.last[i], self.actions);
        pen.one_hot(Some(i), self.allies);
    }

    fn put_ally_from(&self, pen: &mut Pen<'_>, now: &Moment<'_>, i: usize, j: usize) {
        let (u, o) = (&now.view.allies[i], &now.view.allies[j]);
        if !o.alive() {
            return pen.skip(8 + self.bits(Side::Ally) + self.facing() + self.actions);
        }
        let sight = self.ranges(u.kind).1;
        pen.put(if self.sees(now, i, o, sight).is_some() { 1.0 } else { 0.0 });
        [u.distance(o), o.x - u.x, o.y - u.y].into_iter().for_each(|off| pen.put(off / sight));
        pen.put(o.charge as f32);
        pen.put((o.hp / o.hp_max) as f32);
        self.put_shield(pen, o, Side::Ally);
        self.put_place(pen, now, o);
        self.put_facing(pen, now, j);
        self.put_type(pen, o, Side::Ally);
        pen.one_hot(now.last[j], self.actions);
    }

    fn put_foe_from(&self, pen: &mut Pen<'_>, now: &Moment<'_>, i: usize, j: usize) {
        let (u, o) = (&now.view.allies[i], &now.view.foes[j]);
        if !o.alive() {
            return pen.skip(8 + self.bits(Side::Foe));
        }
        let sight = self.ranges(u.kind).1;
        pen.put(if self.open_at(now, i, j) { 1.0 } else { 0.0 });
        [u.distance(o), o.x - u.x, o.y - u.y].into_iter().for_each(|off| pen.put(off / sight));
        pen.put(if self.sees(now, i, o, sight).is_some() { 1.0 } else { 0.0 });
        self.put_body(pen, o, Side::Foe);
        self.put_place(pen, now, o);
    }
}

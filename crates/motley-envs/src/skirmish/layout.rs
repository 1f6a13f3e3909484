//! What agents see: observations, masks and states in the order of SMAC, or in that of HARL's wrapper.
//!
//! M. Samvelyan et al., "The StarCraft Multi-Agent Challenge", AAMAS 2019; SMACv2 as in `draw`; HARL's wrapper: J. Zhong et al.,
//! "Heterogeneous-Agent Reinforcement Learning", JMLR 2024.

mod harl;

use super::ground::{Ground, SIZE};
use super::hidden::Hidden;
use super::maps::Map;
use super::options::Options;
use super::units::Kind;
use super::view::{Unit, View};
use super::world::Side;

/// Slots before the first target: no-op, stop and four moves.
pub const MOVES_END: usize = 6;
/// Directions to look in, where the field of view is limited.
pub const LOOKS: usize = 12;
/// Sight and shooting range of everyone, unless `true_ranges`.
const SIGHT: f32 = 9.0;
const SHOOT: f32 = 6.0;
/// Half of the field of view, radians.
const HALF_CONE: f32 = std::f32::consts::PI / 12.0;
/// How far around an agent the pathing and height samples lie.
const AROUND: [[f32; 2]; 9] =
    [[0.0, 4.0], [0.0, -4.0], [4.0, 0.0], [-4.0, 0.0], [2.0, 2.0], [-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [0.0, 0.0]];

/// Everything about sizes that is fixed for an environment.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Agents.
    pub allies: usize,
    /// Foes.
    pub foes: usize,
    /// Size of every agent's action space.
    pub actions: usize,
    /// Behind the slots that everyone has: moves, and where an agent can look.
    pub looks_end: usize,
    /// Slot of the first foe.
    pub first_foe: usize,
    /// Slot of the first ally, of those who heal.
    pub first_ally: usize,
    /// Entries of an observation.
    pub obs: usize,
    /// Entries of the state, of one row.
    pub state: usize,
    shields: [usize; 2],
    types: [Vec<Kind>; 2],
    bursts: bool,
    options: Options,
}

/// Writes numbers one after another.
struct Pen<'a>(std::slice::IterMut<'a, f32>);

impl Pen<'_> {
    fn put(&mut self, value: f32) {
        if let Some(slot) = self.0.next() {
            *slot = value;
        }
    }

    fn skip(&mut self, n: usize) {
        (0..n).for_each(|_| self.put(0.0));
    }

    /// The next `n` entries, all 0 for now.
    fn block(&mut self, n: usize) -> &mut [f32] {
        let rest = std::mem::take(&mut self.0).into_slice();
        let (block, rest) = rest.split_at_mut(n.min(rest.len()));
        self.0 = rest.iter_mut();
        block.fill(0.0);
        block
    }

    fn one_hot(&mut self, at: Option<usize>, n: usize) {
        (0..n).for_each(|k| self.put(if at == Some(k) { 1.0 } else { 0.0 }));
    }
}

/// What changes from step to step.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The battle.
    pub view: &'a View,
    /// Last action of each agent; `None` before the first.
    pub last: &'a [Option<usize>],
    /// Where each agent looks, in twelfths of a circle.
    pub looks: &'a [u8],
    /// Who may see whom, where that is limited.
    pub hidden: Option<&'a Hidden>,
    /// The part of the episode that is over.
    pub time: f32,
}

impl Layout {
    /// For a map with some settings.
    pub fn new(map: &Map, options: Options, allies: usize, foes: usize, shields: [bool; 2]) -> Self {
        let looks = if options.field_of_view { LOOKS } else { 0 };
        let looks_end = MOVES_END + looks;
        let first_foe = looks_end + usize::from(map.bursts && options.unified());
        let first_ally = first_foe + if options.unified() { foes } else { 0 };
        let actions = first_foe + foes + if options.unified() { allies } else { 0 };
        let shields = shields.map(usize::from);
        let (types, bursts) = (map.types.clone(), map.bursts);
        let mut layout =
            Self { allies, foes, actions, looks_end, first_foe, first_ally, obs: 0, state: 0, shields, types, bursts, options };
        layout.obs = layout.obs_size();
        layout.state = layout.state_size();
        layout
    }

    /// Whether the team has units, or may have some, that can only heal.
    pub fn has_healers(&self) -> bool {
        self.types[Side::Ally as usize].contains(&Kind::Medivac)
    }

    /// The slot in which an agent of that kind bursts, where it has none for targets.
    pub fn burst_of(&self, kind: Kind) -> Option<usize> {
        (self.bursts && kind == Kind::Baneling).then_some(self.looks_end)
    }

    fn bits(&self, side: Side) -> usize {
        self.shields[side as usize] + self.types[side as usize].len()
    }

    fn surroundings(&self) -> usize {
        8 * usize::from(self.options.obs_pathing) + 9 * usize::from(self.options.obs_terrain)
    }

    /// Entries that say where an agent looks, where that is its choice.
    fn facing(&self) -> usize {
        2 * usize::from(self.options.field_of_view)
    }

    fn remembers(&self) -> usize {
        if self.options.obs_last_action || self.options.harl_obs() { self.actions } else { 0 }
    }

    fn obs_size(&self) -> usize {
        let (ally, foe) = (self.bits(Side::Ally), self.bits(Side::Foe));
        let harl = self.options.harl_obs();
        let place = 2 * usize::from(self.options.obs_own_pos) + self.facing();
        let own = 1 + ally + place + if harl { 4 + self.actions } else { 0 };
        4 + self.surroundings()
            + self.foes * (5 + foe)
            + (self.allies - 1) * (5 + ally + self.remembers())
            + own
            + usize::from(self.options.obs_timestep)
            + if harl { self.allies } else { 0 }
    }

    fn state_size(&self) -> usize {
        let (ally, foe) = (4 + self.bits(Side::Ally) + self.facing(), 3 + self.bits(Side::Foe));
        let time = usize::from(self.options.state_timestep);
        let around = 17 * usize::from(self.options.state_terrain);
        match self.options.state.as_str() {
            "fp" => self.fp_size(),
            "ep" => self.ep_size(),
            _ => {
                let memory = if self.options.state_last_action { self.actions } else { 0 };
                self.allies * (ally + memory + around) + self.foes * foe + time
            }
        }
    }

    /// How far an agent of that kind sees and shoots.
    fn ranges(&self, kind: Kind) -> (f32, f32) {
        if self.options.true_ranges { kind.true_ranges() } else { (SHOOT, SIGHT) }
    }

    /// Whether agent `i` sees unit `o`; with the distance.
    fn sees(&self, now: &Moment<'_>, i: usize, o: &Unit, sight: f32) -> Option<f32> {
        let distance = now.view.allies[i].distance(o);
        (o.alive() && distance < sight && self.in_view(now, i, o)).then_some(distance)
    }

    fn in_view(&self, now: &Moment<'_>, i: usize, o: &Unit) -> bool {
        if !self.options.field_of_view {
            return true;
        }
        let u = &now.view.allies[i];
        let [east, north] = direction(now.looks[i]);
        let (dx, dy) = (o.x - u.x, o.y - u.y);
        let length = dx.hypot(dy);
        length == 0.0 || (dx * east + dy * north) / length >= HALF_CONE.cos() - 1e-6
    }

    /// Whether agent `i` has that foe in sight, hidden from it or not.
    pub(super) fn in_sight(&self, now: &Moment<'_>, i: usize, foe: usize) -> bool {
        let u = &now.view.allies[i];
        u.alive() && self.sees(now, i, &now.view.foes[foe], self.ranges(u.kind).1).is_some()
    }

    /// Whether agent `i` has a target in reach.
    pub(super) fn targets(&self, now: &Moment<'_>, i: usize, o: &Unit) -> bool {
        let u = &now.view.allies[i];
        let (shoot, _) = self.ranges(u.kind);
        o.alive() && u.distance(o) <= shoot && self.in_view(now, i, o)
    }

    /// Whether agent `i`, a healer, has ally `j` in reach, and can heal it.
    pub(super) fn treats(&self, now: &Moment<'_>, i: usize, j: usize) -> bool {
        let o = &now.view.allies[j];
        j != i && !o.heals() && self.targets(now, i, o)
    }

    /// Whether the slot of somebody living is open: to those who reach it, or to everyone where masks must not tell where foes are.
    fn offers(&self, reached: bool, o: &Unit) -> bool {
        reached || (!self.options.action_mask && o.alive())
    }

    /// Whether a step north, south, east or west leads to free ground.
    fn can_move(view: &View, u: &Unit) -> [bool; 4] {
        let (x, y) = (u.x, u.y);
        [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]].map(|[dx, dy]: [f32; 2]| {
            // SMAC casts, so that just beyond the low edges lies cell 0; SMAClite does not.
            let (cx, cy) = ((x + dx).trunc(), (y + dy).trunc());
            let inside = |c: f32| (0.0..SIZE as f32).contains(&c);
            let on_map = inside(cx) && inside(cy) && (!view.smaclite || (x + dx >= 0.0 && y + dy >= 0.0));
            on_map && view.ground.walk[cy as usize] >> cx as usize & 1 == 1
        })
    }

    /// Availability of agent `i`.
    pub fn write_mask(&self, now: &Moment<'_>, i: usize, mask: &mut [bool]) {
        mask.fill(false);
        self.open_slots(now, i, |slot| mask[slot] = true);
    }

    /// Tells `open` of every slot that agent `i` may take.
    fn open_slots(&self, now: &Moment<'_>, i: usize, mut open: impl FnMut(usize)) {
        let u = &now.view.allies[i];
        if !u.alive() {
            return open(0);
        }
        open(1);
        let free = Self::can_move(now.view, u);
        (2..MOVES_END).filter(|slot| free[slot - 2]).for_each(&mut open);
        (MOVES_END..self.looks_end).for_each(&mut open);
        let foes = &now.view.foes;
        if let Some(burst) = self.burst_of(u.kind) {
            if foes.iter().any(|o| self.offers(u.bursts_on(o), o)) {
                open(burst);
            }
        } else if u.heals() {
            let slots = if self.options.unified() { self.allies } else { self.allies.min(self.foes) };
            let offered = |j: &usize| {
                let o = &now.view.allies[*j];
                *j != i && !o.heals() && self.offers(self.targets(now, i, o), o)
            };
            (0..slots).filter(offered).for_each(|j| open(self.first_ally + j));
        } else {
            let offered = |j: &usize| self.offers(self.targets(now, i, &foes[*j]), &foes[*j]);
            (0..self.foes).filter(offered).for_each(|j| open(self.first_foe + j));
        }
    }

    /// Whether agent `i`'s slot of foe `j` is open, as SMAC tells it beside the foe: for a healer that slot is about ally `j`.
    fn open_at(&self, now: &Moment<'_>, i: usize, j: usize) -> bool {
        let (u, o) = (&now.view.allies[i], &now.view.foes[j]);
        if self.burst_of(u.kind).is_some() {
            u.bursts_on(o)
        } else if u.heals() {
            !self.options.unified() && j < self.allies && self.treats(now, i, j)
        } else {
            self.targets(now, i, o)
        }
    }

    fn kind_bit(&self, side: Side, kind: Kind) -> (Option<usize>, usize) {
        let types = &self.types[side as usize];
        (types.iter().position(|k| *k == kind), types.len())
    }

    /// Health, shield and type of a unit.
    fn put_body(&self, pen: &mut Pen<'_>, u: &Unit, side: Side) {
        pen.put((u.hp / u.hp_max) as f32);
        self.put_shield(pen, u, side);
        self.put_type(pen, u, side);
    }

    fn put_shield(&self, pen: &mut Pen<'_>, u: &Unit, side: Side) {
        if self.shields[side as usize] > 0 {
            pen.put(shield_part(u));
        }
    }

    fn put_type(&self, pen: &mut Pen<'_>, u: &Unit, side: Side) {
        let (bit, n) = self.kind_bit(side, u.kind);
        pen.one_hot(bit, n);
    }

    /// Where agent `i` looks, as SMACv2 tells it: the cosine and sine, where that is the agents' choice.
    fn put_facing(&self, pen: &mut Pen<'_>, now: &Moment<'_>, i: usize) {
        if self.options.field_of_view {
            direction(now.looks[i]).into_iter().for_each(|part| pen.put(part));
        }
    }

    /// An agent about itself, in SMACv2's order: health, shield, position, where it looks, type.
    fn put_own(&self, pen: &mut Pen<'_>, now: &Moment<'_>, i: usize) {
        let u = &now.view.allies[i];
        pen.put((u.hp / u.hp_max) as f32);
        self.put_shield(pen, u, Side::Ally);
        if self.options.obs_own_pos {
            pen.put(u.x / SIZE as f32);
            pen.put(u.y / SIZE as f32);
        }
        self.put_facing(pen, now, i);
        self.put_type(pen, u, Side::Ally);
    }

    fn put_surroundings(&self, pen: &mut Pen<'_>, ground: &Ground, u: &Unit, pathing: bool, terrain: bool) {
        let (x, y) = (u.x.floor(), u.y.floor());
        let inside = |c: f32| (0.0..SIZE as f32).contains(&c);
        if pathing {
            for [dx, dy] in &AROUND[..8] {
                let free = !inside(x + dx) || !inside(y + dy) || Ground::free(&ground.walk, x + dx, y + dy);
                pen.put(if free { 1.0 } else { 0.0 });
            }
        }
        if terrain {
            for [dx, dy] in &AROUND {
                let known = inside(x + dx) && inside(y + dy);
                pen.put(if known { f32::from(ground.height[(y + dy) as usize][(x + dx) as usize]) / 255.0 } else { 1.0 });
            }
        }
    }

    fn put_moves(&self, pen: &mut Pen<'_>, view: &View, u: &Unit) {
        Self::can_move(view, u).iter().for_each(|free| pen.put(if *free { 1.0 } else { 0.0 }));
        self.put_surroundings(pen, &view.ground, u, self.options.obs_pathing, self.options.obs_terrain);
    }

    fn put_foes(&self, pen: &mut Pen<'_>, now: &Moment<'_>, i: usize) {
        let u = &now.view.allies[i];
        let (_, sight) = self.ranges(u.kind);
        for (j, o) in now.view.foes.iter().enumerate() {
            let shown = now.hidden.is_none_or(|hidden| hidden.shows(j, i));
            let Some(distance) = self.sees(now, i, o, sight).filter(|_| shown) else {
                pen.skip(5 + self.bits(Side::Foe));
                continue;
            };
            pen.put(if self.open_at(now, i, j) { 1.0 } else { 0.0 });
            pen.put(distance / sight);
            pen.put((o.x - u.x) / sight);
            pen.put((o.y - u.y) / sight);
            self.put_body(pen, o, Side::Foe);
        }
    }

    fn put_allies(&self, pen: &mut Pen<'_>, now: &Moment<'_>, i: usize) {
        let u = &now.view.allies[i];
        let (_, sight) = self.ranges(u.kind);
        for (j, o) in now.view.allies.iter().enumerate().filter(|(j, _)| *j != i) {
            let Some(distance) = self.sees(now, i, o, sight) else {
                pen.skip(5 + self.bits(Side::Ally) + self.remembers());
                continue;
            };
            pen.put(1.0);
            pen.put(distance / sight);
            pen.put((o.x - u.x) / sight);
            pen.put((o.y - u.y) / sight);
            self.put_body(pen, o, Side::Ally);
            if self.remembers() > 0 {
                pen.one_hot(now.last[j], self.actions);
            }
        }
    }

    /// Agent `i`'s observation; zeros when it is dead, but for its number (HARL's layout) and the time, where they are asked for.
    pub fn write_obs(&self, now: &Moment<'_>, i: usize, obs: &mut [f32]) {
        let u = &now.view.allies[i];
        let harl = self.options.harl_obs();
        let outlives = if harl { self.allies } else { 0 } + usize::from(self.options.obs_timestep);
        let (seen, kept) = obs.split_at_mut(obs.len() - outlives);
        if u.alive() {
            self.write_seen(now, i, seen, harl);
        } else {
            seen.fill(0.0);
        }
        let mut pen = Pen(kept.iter_mut());
        if harl {
            pen.one_hot(Some(i), self.allies);
        }
        if self.options.obs_timestep {
            pen.put(now.time);
        }
    }

    /// What the living agent `i` sees of others and of itself.
    fn write_seen(&self, now: &Moment<'_>, i: usize, seen: &mut [f32], harl: bool) {
        let u = &now.view.allies[i];
        let mut pen = Pen(seen.iter_mut());
        if harl {
            self.put_allies(&mut pen, now, i);
            self.put_foes(&mut pen, now, i);
            self.put_moves(&mut pen, now.view, u);
            pen.put(1.0);
            pen.skip(3);
        } else {
            self.put_moves(&mut pen, now.view, u);
            self.put_foes(&mut pen, now, i);
            self.put_allies(&mut pen, now, i);
        }
        self.put_own(&mut pen, now, i);
        if harl {
            pen.one_hot(now.last[i], self.actions);
        }
    }

    /// From the middle of the map, in parts of the playable area's sides.
    fn put_place(&self, pen: &mut Pen<'_>, now: &Moment<'_>, u: &Unit) {
        let half = SIZE as f32 / 2.0;
        pen.put((u.x - half) / now.view.extent[0]);
        pen.put((u.y - half) / now.view.extent[1]);
    }

    /// A unit of either side as states have it; zeros when it is dead.
    fn put_in_state(&self, pen: &mut Pen<'_>, now: &Moment<'_>, side: Side, i: usize) {
        let u = &now.view.side(side)[i];
        let ours = side == Side::Ally;
        if !u.alive() {
            return pen.skip(3 + self.bits(side) + if ours { 1 + self.facing() } else { 0 });
        }
        pen.put((u.hp / u.hp_max) as f32);
        if ours {
            pen.put(u.charge as f32);
        }
        self.put_place(pen, now, u);
        self.put_shield(pen, u, side);
        if ours {
            self.put_facing(pen, now, i);
        }
        self.put_type(pen, u, side);
    }

    /// The state: one row, or one per agent.
    pub fn write_state(&self, now: &Moment<'_>, state: &mut [f32]) {
        match self.options.state.as_str() {
            "ep" => self.write_ep(now, state),
            "fp" => state.chunks_exact_mut(self.state).enumerate().for_each(|(i, row)| self.write_fp(now, i, row)),
            _ => self.write_smac(now, state),
        }
    }

    fn write_smac(&self, now: &Moment<'_>, state: &mut [f32]) {
        let view = now.view;
        let mut pen = Pen(state.iter_mut());
        for (i, u) in view.allies.iter().enumerate() {
            self.put_in_state(&mut pen, now, Side::Ally, i);
            match (self.options.state_terrain, u.alive()) {
                (true, true) => self.put_surroundings(&mut pen, &view.ground, u, true, true),
                (true, false) => pen.skip(17),
                (false, _) => {}
            }
        }
        (0..self.foes).for_each(|j| self.put_in_state(&mut pen, now, Side::Foe, j));
        if self.options.state_last_action {
            now.last.iter().for_each(|last| pen.one_hot(*last, self.actions));
        }
        if self.options.state_timestep {
            pen.put(now.time);
        }
    }
}

/// East and north of where an agent looks, of length 1.
fn direction(look: u8) -> [f32; 2] {
    let angle = f64::from(look) * std::f64::consts::PI / 6.0;
    [angle.cos() as f32, angle.sin() as f32]
}

/// Shield as a part of its most.
fn shield_part(u: &Unit) -> f32 {
    if u.shield_max > 0.0 { (u.shield / u.shield_max) as f32 } else { 0.0 }
}

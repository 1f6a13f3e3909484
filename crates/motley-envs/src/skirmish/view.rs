//! What SMAC's contract looks at: units on their ground, whoever moves them. The simulator fills one, and so does a client of the
//! game itself.

use std::sync::Arc;

use super::ground::{Ground, SIZE};
use super::units::{BURST_RADIUS, Kind};
use super::world::Side;

/// A unit as the contract needs to know it. Distances in cells, health and shields in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// What it is.
    pub kind: Kind,
    /// Where it stands, or stood when it died.
    pub x: f32,
    /// Where it stands, or stood when it died.
    pub y: f32,
    /// Collision radius, for pictures.
    pub radius: f32,
    /// Health; the dead have 0.
    pub hp: f64,
    /// Most health.
    pub hp_max: f64,
    /// Shield.
    pub shield: f64,
    /// Most shield, 0 for units that have none.
    pub shield_max: f64,
    /// What the state shows of its readiness: a healer's energy, of anyone else the cooldown of its weapon, as a part of its scale.
    pub charge: f64,
}

impl Unit {
    /// An unhurt unit that never fought, at the origin; whoever fills a view overwrites it.
    pub fn blank(kind: Kind) -> Self {
        Self { kind, x: 0.0, y: 0.0, radius: 0.0, hp: 1.0, hp_max: 1.0, shield: 0.0, shield_max: 0.0, charge: 0.0 }
    }

    /// Whether it lives.
    pub fn alive(&self) -> bool {
        self.hp > 0.0
    }

    /// Whether it heals and cannot fight.
    pub fn heals(&self) -> bool {
        self.kind == Kind::Medivac
    }

    /// Whether a baneling that stood here would hit `other` if it burst.
    pub fn bursts_on(&self, other: &Self) -> bool {
        other.alive() && other.kind != Kind::Medivac && self.distance(other) - other.radius <= BURST_RADIUS
    }

    /// Distance of centres.
    pub fn distance(&self, other: &Self) -> f32 {
        let (dx, dy) = (self.x - other.x, self.y - other.y);
        (dx * dx + dy * dy).sqrt()
    }

    /// Health and shield of the living, 0 for the dead.
    pub(super) fn points(&self) -> f64 {
        if self.alive() { self.hp + self.shield } else { 0.0 }
    }
}

/// A battle at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// Where it takes place.
    pub ground: Arc<Ground>,
    /// Width and height that positions in the state are divided by.
    pub extent: [f32; 2],
    /// Whether the contract is SMAClite's where it differs from SMAC's: nothing lies beyond the low edges of the map (SMAC casts to
    /// whole numbers, so that cell 0 lies there too), healers alone hold the field, and nobody left on either side is a victory.
    pub smaclite: bool,
    /// The unit of each agent.
    pub allies: Vec<Unit>,
    /// The foes, in the order of slots.
    pub foes: Vec<Unit>,
}

impl View {
    /// A view of so many units on a map of the usual size.
    pub fn new(ground: Arc<Ground>, allies: usize, foes: usize) -> Self {
        let some = |n| vec![Unit::blank(Kind::Marine); n];
        Self { ground, extent: [SIZE as f32; 2], smaclite: false, allies: some(allies), foes: some(foes) }
    }

    /// The units of a side.
    pub fn side(&self, side: Side) -> &[Unit] {
        match side {
            Side::Ally => &self.allies,
            Side::Foe => &self.foes,
        }
    }

    /// Whether anyone of a side lives who holds the field: who can fight, and to SMAClite who can only heal.
    pub fn stands(&self, side: Side) -> bool {
        self.side(side).iter().any(|unit| unit.alive() && (self.smaclite || !unit.heals()))
    }
}

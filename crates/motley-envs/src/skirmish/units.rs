//! Unit statistics, one table a profile.
//!
//! `Liberty` holds the values of the Wings of Liberty data that SMAC's maps load, in normal game seconds of 16 loops
//! (SC2Mapster/SC2GameData, snapshot 5.0.14, and the `*_RL` units inside the maps). `LibertyMulti` and `VoidMulti` are the game's
//! later balance, each a layer over the one before. `Smaclite` holds the faster values that SMAClite plays with, as its runs show
//! them.

use motley_core::Kind as SettingKind;
use serde::Deserialize;

/// Which numbers and which fine rules a battle follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The unit data that SMAC's maps depend on.
    Liberty,
    /// The same rules, with the numbers of the game's multiplayer data of Wings of Liberty.
    LibertyMulti,
    /// The same rules, with the numbers of the game's multiplayer data of Legacy of the Void.
    VoidMulti,
    /// SMAClite's numbers and order of events, to be held against its traces.
    Smaclite,
}

impl Profile {
    /// The setting's range.
    pub(crate) const KIND: SettingKind = SettingKind::Choice(&["liberty", "liberty_multi", "void_multi", "smaclite"]);

    pub(crate) fn named(name: &str) -> Self {
        match name {
            "smaclite" => Self::Smaclite,
            "liberty_multi" => Self::LibertyMulti,
            "void_multi" => Self::VoidMulti,
            _ => Self::Liberty,
        }
    }
}

/// The kinds of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// Terran infantry with a rifle.
    Marine,
    /// Terran infantry against armour; hits the ground only.
    Marauder,
    /// Terran flyer that heals.
    Medivac,
    /// Protoss walker that shoots.
    Stalker,
    /// Protoss close fighter.
    Zealot,
    /// Protoss giant whose ray sweeps a line; it walks over cliffs.
    Colossus,
    /// Zerg close fighter.
    Zergling,
    /// Zerg shooter.
    Hydralisk,
    /// Zerg that bursts.
    Baneling,
    /// Zerg building that shoots.
    SpineCrawler,
}

/// Races share shields (protoss alone) and a SMACv2 roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Race {
    /// Humans.
    Terran,
    /// Shielded.
    Protoss,
    /// Swarm.
    Zerg,
}

/// Attribute bits.
pub mod attribute {
    /// Light.
    pub const LIGHT: u8 = 1;
    /// Armoured.
    pub const ARMORED: u8 = 2;
    /// Biological: what a medivac can heal.
    pub const BIO: u8 = 4;
    /// A building.
    pub const STRUCTURE: u8 = 8;
}

/// What a unit's weapon does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weapon {
    /// Damage to one target.
    Single,
    /// Damage to everything of the other side within `radius` of the unit, which dies.
    Burst {
        /// Radius around the unit, to centres plus radii.
        radius: f32,
        /// Damage to buildings.
        structures: f32,
    },
    /// Damage to everything of the other side on a line across the shot.
    Sweep {
        /// Half of its length.
        half_length: f32,
        /// Half of its width.
        half_width: f32,
    },
    /// Heals one biological friend.
    Heal,
}

/// One row of the table. Distances in cells, times in seconds, health and damage in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Which unit.
    pub kind: Kind,
    /// Most health.
    pub health: f32,
    /// Most shield.
    pub shield: f32,
    /// Taken off every hit on health.
    pub armor: f32,
    /// Health regained a second.
    pub regen: f64,
    /// Cells a second.
    pub speed: f32,
    /// Cells a second squared; infinite for most.
    pub accel: f32,
    /// Radius of its edge, from which ranges are measured.
    pub radius: f32,
    /// How far inside its edge lies the one by which units of a layer push each other apart.
    pub closer: f32,
    /// Weapon range, edge to edge.
    pub range: f32,
    /// How far beyond its range it goes on firing at whom it has in reach (the weapon's range slop).
    pub slop: f32,
    /// How far it looks for targets by itself.
    pub scan: f32,
    /// Damage of one hit.
    pub damage: f32,
    /// Damage more against any of these attributes.
    pub bonus: f32,
    /// The attributes of `bonus`.
    pub against: u8,
    /// Hits of one attack.
    pub hits: u8,
    /// Seconds between those hits.
    pub between: f64,
    /// Seconds between attacks.
    pub period: f64,
    /// Seconds from the start of an attack to its first hit.
    pub windup: f64,
    /// The weapon.
    pub weapon: Weapon,
    /// Whether it can hit flyers.
    pub hits_air: bool,
    /// Attribute bits.
    pub attributes: u8,
}

impl Stats {
    /// The radius by which units of a layer push each other apart; that of a range is `radius`.
    pub fn separation(&self) -> f32 {
        self.radius - self.closer
    }

    /// Whether it flies.
    pub fn flies(&self) -> bool {
        self.kind == Kind::Medivac
    }

    /// Whether cliffs do not stop it.
    pub fn crosses_cliffs(&self) -> bool {
        matches!(self.kind, Kind::Medivac | Kind::Colossus)
    }

    /// Whether it heals.
    pub fn heals(&self) -> bool {
        self.weapon == Weapon::Heal
    }

    /// Whether `self`'s weapon can be used on `other` at all, sides apart.
    pub fn can_hit(&self, other: &Stats) -> bool {
        if self.heals() { other.attributes & attribute::BIO != 0 && !other.heals() } else { self.hits_air || !other.flies() }
    }

    /// Damage of one hit on something with these attributes, before armour.
    pub fn hit_on(&self, attributes: u8) -> f32 {
        if attributes & self.against != 0 { self.damage + self.bonus } else { self.damage }
    }
}

/// Most energy.
pub const ENERGY: f64 = 200.0;
/// Energy at the start.
pub const ENERGY_START: f64 = 50.0;
/// Energy regained a second.
pub const ENERGY_REGEN: f64 = 0.5625;
/// Shield regained a second.
pub const SHIELD_REGEN: f64 = 2.0;
/// Seconds without damage before a shield regains.
pub const SHIELD_DELAY: f64 = 10.0;
/// How far from a baneling that bursts others are hit, to centres less radii.
pub const BURST_RADIUS: f32 = 2.2;
/// Health a second that a medivac gives.
pub const HEAL_RATE: f64 = 9.0;

use Kind::{Baneling, Colossus, Hydralisk, Marauder, Marine, Medivac, SpineCrawler, Stalker, Zealot, Zergling};
use attribute::{ARMORED, BIO, LIGHT, STRUCTURE};

/// What most units share.
const PLAIN: Stats = Stats {
    kind: Marine,
    health: 0.0,
    shield: 0.0,
    armor: 0.0,
    regen: 0.0,
    speed: 2.25,
    accel: f32::INFINITY,
    radius: 0.375,
    closer: 0.0,
    range: 5.0,
    slop: 1.0,
    scan: 5.0,
    damage: 0.0,
    bonus: 0.0,
    against: 0,
    hits: 1,
    between: 0.0,
    period: 1.0,
    windup: 0.0,
    weapon: Weapon::Single,
    hits_air: false,
    attributes: 0,
};

/// Zerg health comes back at this rate.
const ZERG_REGEN: f64 = 0.2734;

#[rustfmt::skip]
const LIBERTY: [Stats; 10] = [
    Stats { kind: Marine, health: 45.0, damage: 6.0, period: 0.8608, windup: 0.05, hits_air: true, attributes: LIGHT | BIO, ..PLAIN },
    Stats { kind: Marauder, health: 125.0, armor: 1.0, radius: 0.5625, range: 6.0, scan: 6.0, damage: 10.0, bonus: 10.0, against: ARMORED,
        period: 1.5, attributes: ARMORED | BIO, ..PLAIN },
    Stats { kind: Medivac, health: 150.0, armor: 1.0, speed: 2.75, accel: 2.3125, radius: 0.75, range: 4.0, scan: 6.0, weapon: Weapon::Heal,
        attributes: ARMORED, ..PLAIN },
    Stats { kind: Stalker, health: 80.0, shield: 80.0, armor: 1.0, speed: 2.9531, radius: 0.625, range: 6.0, scan: 6.0, damage: 10.0, bonus: 4.0,
        against: ARMORED, period: 1.44, windup: 0.167, hits_air: true, attributes: ARMORED, ..PLAIN },
    Stats { kind: Zealot, health: 100.0, shield: 50.0, armor: 1.0, radius: 0.5, closer: 0.125, range: 0.1, damage: 8.0, hits: 2, between: 0.28, period: 1.2,
        attributes: LIGHT | BIO, ..PLAIN },
    Stats { kind: Colossus, health: 200.0, shield: 150.0, armor: 1.0, radius: 1.0, closer: 0.25, range: 6.0, slop: 0.0, scan: 6.0, damage: 20.0, hits: 2,
        period: 2.2, windup: 0.0832, weapon: Weapon::Sweep { half_length: 1.25, half_width: 0.15 }, attributes: ARMORED, ..PLAIN },
    Stats { kind: Zergling, health: 35.0, regen: ZERG_REGEN, speed: 2.9531, range: 0.1, damage: 5.0, period: 0.696, windup: 0.167, attributes: LIGHT | BIO, ..PLAIN },
    Stats { kind: Hydralisk, health: 80.0, regen: ZERG_REGEN, radius: 0.625, closer: 0.25, damage: 12.0, period: 0.83, windup: 0.208, hits_air: true,
        attributes: LIGHT | BIO, ..PLAIN },
    Stats { kind: Baneling, health: 30.0, regen: ZERG_REGEN, speed: 2.5, range: 0.25, damage: 20.0, bonus: 15.0, against: LIGHT, period: 0.833,
        weapon: Weapon::Burst { radius: BURST_RADIUS, structures: 80.0 }, attributes: BIO, ..PLAIN },
    Stats { kind: SpineCrawler, health: 300.0, armor: 2.0, regen: ZERG_REGEN, speed: 0.0, radius: 0.875, range: 7.0, slop: 0.0, scan: 7.0, damage: 25.0,
        bonus: 5.0, against: ARMORED, period: 1.6, windup: 0.333, attributes: ARMORED | BIO | STRUCTURE, ..PLAIN },
];

/// What the game's multiplayer data of Wings of Liberty changes.
const LIBERTY_MULTI: [Stats; 10] = {
    let mut table = LIBERTY;
    table[Medivac as usize].speed = 2.5;
    (table[Colossus as usize].damage, table[Colossus as usize].period) = (15.0, 1.65);
    table[SpineCrawler as usize].period = 1.85;
    table
};

/// What that of Legacy of the Void (5.0.14) changes besides.
const VOID_MULTI: [Stats; 10] = {
    let mut table = LIBERTY_MULTI;
    let stalker = Stats { damage: 13.0, bonus: 5.0, period: 1.87, ..table[Stalker as usize] };
    let colossus = Stats { health: 250.0, shield: 100.0, range: 7.0, scan: 7.0, ..table[Colossus as usize] };
    let colossus = Stats { damage: 10.0, bonus: 5.0, against: LIGHT, period: 1.5, ..colossus };
    (table[Stalker as usize], table[Colossus as usize]) = (stalker, colossus);
    (table[Hydralisk as usize].health, table[Hydralisk as usize].period) = (90.0, 0.825);
    (table[Baneling as usize].damage, table[Baneling as usize].bonus) = (16.0, 19.0);
    table
};

#[rustfmt::skip]
const SMACLITE: [Stats; 10] = [
    Stats { kind: Marine, health: 45.0, speed: 3.15, damage: 6.0, period: 0.61, hits_air: true, attributes: LIGHT | BIO, ..PLAIN },
    Stats { kind: Marauder, health: 125.0, armor: 1.0, speed: 3.15, radius: 0.5625, range: 6.0, damage: 10.0, bonus: 10.0, against: ARMORED,
        period: 1.07, attributes: ARMORED | BIO, ..PLAIN },
    Stats { kind: Medivac, health: 150.0, armor: 1.0, speed: 3.5, radius: 0.75, range: 4.0, weapon: Weapon::Heal, attributes: ARMORED, ..PLAIN },
    Stats { kind: Stalker, health: 80.0, shield: 80.0, armor: 1.0, speed: 4.13, radius: 0.625, range: 6.0, damage: 13.0, bonus: 5.0, against: ARMORED,
        period: 1.34, hits_air: true, attributes: ARMORED, ..PLAIN },
    Stats { kind: Zealot, health: 100.0, shield: 50.0, armor: 1.0, speed: 3.15, radius: 0.5, range: 0.1, damage: 8.0, hits: 2, period: 0.86,
        attributes: LIGHT | BIO, ..PLAIN },
    Stats { kind: Colossus, health: 200.0, shield: 150.0, armor: 1.0, speed: 3.15, radius: 1.0, range: 7.0, damage: 10.0, bonus: 5.0, against: LIGHT,
        hits: 2, period: 1.07, weapon: Weapon::Sweep { half_length: 1.4, half_width: 0.15 }, attributes: ARMORED, ..PLAIN },
    Stats { kind: Zergling, health: 35.0, regen: 0.38, speed: 4.13, range: 0.1, damage: 5.0, period: 0.497, attributes: LIGHT | BIO, ..PLAIN },
    Stats { kind: Hydralisk, health: 90.0, regen: 0.38, speed: 3.15, radius: 0.625, damage: 12.0, period: 0.59, hits_air: true,
        attributes: LIGHT | BIO, ..PLAIN },
    Stats { kind: Baneling, health: 30.0, regen: 0.38, speed: 3.15, range: 0.25, damage: 80.0, period: 0.833,
        weapon: Weapon::Burst { radius: BURST_RADIUS, structures: 80.0 }, attributes: BIO, ..PLAIN },
    Stats { kind: SpineCrawler, health: 300.0, armor: 2.0, regen: 0.38, speed: 0.0, radius: 0.5, range: 7.0, scan: 10.0, damage: 25.0, bonus: 5.0,
        against: ARMORED, period: 1.32, attributes: ARMORED | BIO | STRUCTURE, ..PLAIN },
];

impl Kind {
    /// Its row in a profile's table.
    pub fn stats(self, profile: Profile) -> &'static Stats {
        match profile {
            Profile::Liberty => &LIBERTY[self as usize],
            Profile::LibertyMulti => &LIBERTY_MULTI[self as usize],
            Profile::VoidMulti => &VOID_MULTI[self as usize],
            Profile::Smaclite => &SMACLITE[self as usize],
        }
    }

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        ["marine", "marauder", "medivac", "stalker", "zealot", "colossus", "zergling", "hydralisk", "baneling", "spine_crawler"]
            [self as usize]
    }

    /// One letter for pictures.
    pub fn letter(self) -> &'static str {
        ["m", "M", "+", "s", "z", "C", "g", "h", "b", "T"][self as usize]
    }

    /// Whose unit it is.
    pub fn race(self) -> Race {
        match self {
            Marine | Marauder | Medivac => Race::Terran,
            Stalker | Zealot | Colossus => Race::Protoss,
            Zergling | Hydralisk | Baneling | SpineCrawler => Race::Zerg,
        }
    }

    /// What SMAC divides a unit's cooldown by in the state (loops); healers show their energy instead.
    pub fn cooldown_scale(self) -> f32 {
        match self {
            Marine => 15.0,
            Marauder => 25.0,
            Stalker => 35.0,
            Zealot => 22.0,
            Colossus => 24.0,
            Zergling => 11.0,
            Hydralisk => 10.0,
            Baneling | SpineCrawler | Medivac => 1.0,
        }
    }

    /// True shooting range and sight, as SMACv2 uses them.
    pub fn true_ranges(self) -> (f32, f32) {
        match self {
            Marine => (5.0, 9.0),
            Marauder => (6.0, 10.0),
            Medivac => (4.0, 11.0),
            Stalker => (6.0, 10.0),
            Zealot => (2.0, 9.0),
            Colossus => (7.0, 10.0),
            Zergling => (2.0, 8.0),
            Hydralisk => (5.0, 9.0),
            Baneling => (2.0, 8.0),
            SpineCrawler => (7.0, 11.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_where_their_kind_says() {
        for profile in [Profile::Liberty, Profile::LibertyMulti, Profile::VoidMulti, Profile::Smaclite] {
            for kind in [Marine, Marauder, Medivac, Stalker, Zealot, Colossus, Zergling, Hydralisk, Baneling, SpineCrawler] {
                let stats = kind.stats(profile);
                assert_eq!(stats.kind, kind);
                assert_eq!(stats.shield > 0.0, kind.race() == Race::Protoss);
                assert!(stats.health > 0.0 && stats.radius > 0.0 && stats.scan >= 5.0);
                assert!(stats.closer == 0.0 || profile != Profile::Smaclite, "SMAClite's runs show one radius");
            }
        }
    }

    #[test]
    fn three_kinds_stand_closer_than_their_edges() {
        let closer = [(Zealot, 0.5, 0.375), (Colossus, 1.0, 0.75), (Hydralisk, 0.625, 0.375)];
        for (kind, radius, separation) in closer {
            let stats = kind.stats(Profile::Liberty);
            assert_eq!((stats.radius, stats.separation()), (radius, separation), "{}", kind.name());
        }
        for kind in [Marine, Marauder, Medivac, Stalker, Zergling, Baneling, SpineCrawler] {
            let stats = kind.stats(Profile::Liberty);
            assert_eq!(stats.separation(), stats.radius, "{}", kind.name());
        }
    }

    /// Damage a second against light units and against others, health and shields together: by hand from the data.
    #[test]
    fn later_data_change_what_they_say_and_nothing_else() {
        let (old, multi, void) = (Profile::Liberty, Profile::LibertyMulti, Profile::VoidMulti);
        for (kind, profile, light, heavy, points) in [
            (Colossus, old, 40.0 / 2.2, 40.0 / 2.2, 350.0),
            (Colossus, multi, 30.0 / 1.65, 30.0 / 1.65, 350.0),
            (Colossus, void, 30.0 / 1.5, 20.0 / 1.5, 350.0),
            (Stalker, multi, 10.0 / 1.44, 14.0 / 1.44, 160.0),
            (Stalker, void, 13.0 / 1.87, 18.0 / 1.87, 160.0),
            (SpineCrawler, old, 25.0 / 1.6, 30.0 / 1.6, 300.0),
            (SpineCrawler, void, 25.0 / 1.85, 30.0 / 1.85, 300.0),
            (Baneling, void, 35.0 / 0.833, 16.0 / 0.833, 30.0),
            (Hydralisk, void, 12.0 / 0.825, 12.0 / 0.825, 90.0),
        ] {
            let stats = kind.stats(profile);
            let rate = |attributes: u8| f64::from(stats.hit_on(attributes)) * f64::from(stats.hits) / stats.period;
            assert!((rate(LIGHT) - light).abs() < 1e-9 && (rate(ARMORED) - heavy).abs() < 1e-9, "{kind:?} in {profile:?}");
            assert_eq!(stats.health + stats.shield, points, "{kind:?} in {profile:?}");
        }
        assert_eq!((Medivac.stats(old).speed, Medivac.stats(multi).speed, Medivac.stats(void).speed), (2.75, 2.5, 2.5));
        assert_eq!((Colossus.stats(void).health, Colossus.stats(void).range), (250.0, 7.0));
        for kind in [Marine, Marauder, Zealot, Zergling] {
            assert!(kind.stats(old) == kind.stats(multi) && kind.stats(old) == kind.stats(void), "{}", kind.name());
        }
    }

    #[test]
    fn who_can_be_hit_or_healed() {
        let of = |kind: Kind| kind.stats(Profile::Liberty);
        assert!(of(Marine).can_hit(of(Medivac)) && !of(Marauder).can_hit(of(Medivac)));
        assert!(of(Medivac).can_hit(of(Marine)) && !of(Medivac).can_hit(of(Medivac)));
        assert!(!of(Medivac).can_hit(of(Stalker)), "a stalker is a machine");
        assert_eq!(of(Marauder).hit_on(ARMORED | BIO), 20.0);
        assert_eq!(of(Marauder).hit_on(LIGHT | BIO), 10.0);
    }
}

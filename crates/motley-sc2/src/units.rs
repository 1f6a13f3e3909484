//! Which unit is which: the game's numbers of unit types, the order of agents, and units as the contract sees them.

use motley_envs::skirmish::units::{ENERGY, Kind, Profile};
use motley_envs::skirmish::view;

use crate::game::GameError;
use crate::proto::Unit;

/// Owner of the team's units.
pub const TEAM: i32 = 1;
/// Owner of the foes.
pub const OPPONENT: i32 = 2;

/// Kinds whose allied copies SMACv2's map defines, in the order of their numbers, which are the game's last.
const COPIES: [Kind; 9] = [
    Kind::Baneling,
    Kind::Colossus,
    Kind::Hydralisk,
    Kind::Marauder,
    Kind::Marine,
    Kind::Medivac,
    Kind::Stalker,
    Kind::Zealot,
    Kind::Zergling,
];

/// The game's number of a kind, the same in all its versions.
pub fn number(kind: Kind) -> u32 {
    match kind {
        Kind::Marine => 48,
        Kind::Marauder => 51,
        Kind::Medivac => 54,
        Kind::Stalker => 74,
        Kind::Zealot => 73,
        Kind::Colossus => 4,
        Kind::Zergling => 105,
        Kind::Hydralisk => 107,
        Kind::Baneling => 9,
        Kind::SpineCrawler => 98,
    }
}

/// The kind of a number; `None` for allied copies, whose numbers depend on map and version.
fn standard(unit_type: u32) -> Option<Kind> {
    COPIES.into_iter().chain([Kind::SpineCrawler]).find(|kind| number(*kind) == unit_type)
}

/// The number of the allied copy of a kind, on a map with so many unit types.
pub fn copy_number(kind: Kind, types: usize) -> Option<u32> {
    let at = COPIES.iter().position(|copy| *copy == kind)?;
    let first = types.checked_sub(COPIES.len())?;
    u32::try_from(first + at).ok()
}

/// Units of an owner among all, in the game's order.
pub fn of(units: &[Unit], owner: i32) -> Vec<Unit> {
    units.iter().filter(|unit| unit.owner == Some(owner)).cloned().collect()
}

/// Sorts units as SMAC sorts agents: by type, then x, then y.
pub fn sort_as_agents(units: &mut [Unit]) {
    let at = |unit: &Unit| unit.pos.as_ref().map_or([0.0; 2], |pos| [pos.x.unwrap_or(0.0), pos.y.unwrap_or(0.0)]);
    units.sort_by(|a, b| {
        let ([ax, ay], [bx, by]) = (at(a), at(b));
        a.unit_type.cmp(&b.unit_type).then(ax.total_cmp(&bx)).then(ay.total_cmp(&by))
    });
}

/// Holds sorted units of a map with a fixed team against the agents' kinds. SMAC's maps number their allied copies in the order of
/// their names, which is that of agents: where the type changes, so must the kind.
///
/// # Errors
/// [`GameError::Units`].
pub fn check_allies(units: &[Unit], kinds: &[Kind]) -> Result<(), GameError> {
    let types: Vec<u32> = units.iter().map(|unit| unit.unit_type.unwrap_or(0)).collect();
    let same_runs = types.len() == kinds.len()
        && types.windows(2).zip(kinds.windows(2)).all(|(t, k)| (t[0] == t[1]) == (k[0] == k[1]))
        && types.iter().zip(kinds).all(|(t, k)| standard(*t).is_none_or(|kind| kind == *k));
    if same_runs { Ok(()) } else { Err(GameError::Units { expected: counted(kinds), found: format!("unit types {types:?}") }) }
}

/// The kinds of SMACv2's allied copies.
///
/// # Errors
/// [`GameError::Units`] where they are not `expected`, in whatever order.
pub fn copies(units: &[Unit], types: usize, expected: &[Kind]) -> Result<Vec<Kind>, GameError> {
    let kind = |unit: &Unit| COPIES.into_iter().find(|kind| copy_number(*kind, types) == unit.unit_type);
    hold(units, kind, expected)
}

/// The kinds of foes.
///
/// # Errors
/// [`GameError::Units`] where they are not `expected`, in whatever order.
pub fn foes(units: &[Unit], expected: &[Kind]) -> Result<Vec<Kind>, GameError> {
    hold(units, |unit| unit.unit_type.and_then(standard), expected)
}

fn hold(units: &[Unit], kind: impl Fn(&Unit) -> Option<Kind>, expected: &[Kind]) -> Result<Vec<Kind>, GameError> {
    let wrong = || {
        let types: Vec<u32> = units.iter().map(|unit| unit.unit_type.unwrap_or(0)).collect();
        GameError::Units { expected: counted(expected), found: format!("unit types {types:?}") }
    };
    let kinds: Vec<Kind> = units.iter().map(kind).collect::<Option<_>>().ok_or_else(wrong)?;
    if sorted(&kinds) == sorted(expected) { Ok(kinds) } else { Err(wrong()) }
}

fn sorted(kinds: &[Kind]) -> Vec<Kind> {
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    kinds
}

/// `2 marauder, 7 marine`.
fn counted(kinds: &[Kind]) -> String {
    let kinds = sorted(kinds);
    kinds.chunk_by(|a, b| a == b).map(|run| format!("{} {}", run.len(), run[0].name())).collect::<Vec<_>>().join(", ")
}

/// A unit as the contract sees it.
///
/// # Errors
/// [`GameError::Nonsense`]: no position, no health at all, or numbers that are none.
pub fn shown(unit: &Unit, kind: Kind) -> Result<view::Unit, GameError> {
    let stats = kind.stats(Profile::Liberty);
    let number = |value: Option<f32>| f64::from(value.unwrap_or(0.0));
    let charge = if kind == Kind::Medivac {
        number(unit.energy) / ENERGY
    } else {
        number(unit.weapon_cooldown) / f64::from(kind.cooldown_scale())
    };
    let pos = unit.pos.as_ref().and_then(|pos| Some((pos.x?, pos.y?)));
    let shown = pos.map(|(x, y)| view::Unit {
        kind,
        x,
        y,
        radius: unit.radius.unwrap_or(stats.radius),
        hp: number(unit.health),
        hp_max: number(unit.health_max),
        shield: number(unit.shield),
        shield_max: f64::from(unit.shield_max.unwrap_or(stats.shield)),
        charge,
    });
    let sound = |u: &view::Unit| {
        let finite =
            [f64::from(u.x), f64::from(u.y), u.hp, u.hp_max, u.shield, u.shield_max, u.charge].iter().all(|x| x.is_finite());
        finite && u.hp_max > 0.0
    };
    shown.filter(sound).ok_or_else(|| GameError::Nonsense {
        during: "an observation",
        expected: "a unit with a position and health".into(),
        found: format!("{unit:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Point;

    fn unit(unit_type: u32, x: f32, y: f32) -> Unit {
        let pos = Some(Point { x: Some(x), y: Some(y), z: None });
        Unit { unit_type: Some(unit_type), pos, health: Some(1.0), health_max: Some(2.0), ..Unit::default() }
    }

    #[test]
    fn agents_stand_by_type_then_x_then_y() {
        let mut units = [unit(7, 1.0, 1.0), unit(6, 2.0, 5.0), unit(6, 2.0, 4.0), unit(6, 1.0, 9.0)];
        sort_as_agents(&mut units);
        let order: Vec<_> = units.iter().map(|u| (u.unit_type.unwrap(), u.pos.clone().unwrap().y.unwrap())).collect();
        assert_eq!(order, [(6, 9.0), (6, 4.0), (6, 5.0), (7, 1.0)]);
    }

    #[test]
    fn allied_copies_are_known_by_their_order() {
        use Kind::{Marauder, Marine, Medivac};
        let kinds = [Marauder, Marine, Marine, Medivac];
        let types = |list: [u32; 4]| list.map(|t| unit(t, 0.0, 0.0));
        assert!(check_allies(&types([1970, 1971, 1971, 1972]), &kinds).is_ok());
        for wrong in [[1970, 1970, 1971, 1972], [1970, 1971, 1972, 1973], [1970, 1971, 1971, 1971], [48, 1971, 1971, 1972]] {
            assert!(matches!(check_allies(&types(wrong), &kinds), Err(GameError::Units { .. })), "{wrong:?}");
        }
        let text = check_allies(&types([1970, 1970, 1970, 1970]), &kinds).unwrap_err().to_string();
        assert!(text.contains("2 marine, 1 marauder, 1 medivac"), "{text}");
        assert_eq!(copy_number(Marine, 2000), Some(2000 - 9 + 4));
        assert_eq!((copy_number(Kind::SpineCrawler, 2000), copy_number(Marine, 8)), (None, None));
        let found = copies(&types([1994, 1995, 1995, 1996]), 2000, &[Marine, Marine, Medivac, Marauder]).unwrap();
        assert_eq!(found, kinds);
        assert!(copies(&types([1994, 1995, 1995, 1990]), 2000, &kinds).is_err());
        assert_eq!(foes(&types([51, 48, 48, 54]), &kinds).unwrap(), kinds);
        assert!(foes(&types([51, 48, 48, 48]), &kinds).is_err());
    }

    #[test]
    fn cooldowns_are_divided_by_smacs_table_and_energy_by_its_most() {
        let mut marine = unit(48, 3.0, 4.0);
        marine.weapon_cooldown = Some(7.5);
        let seen = shown(&marine, Kind::Marine).unwrap();
        assert_eq!((seen.x, seen.y, seen.hp, seen.hp_max, seen.charge), (3.0, 4.0, 1.0, 2.0, 0.5));
        let mut medivac = unit(54, 3.0, 4.0);
        medivac.energy = Some(50.0);
        assert_eq!(shown(&medivac, Kind::Medivac).unwrap().charge, 0.25);
        let mut lost = unit(48, f32::NAN, 0.0);
        assert!(shown(&lost, Kind::Marine).is_err());
        lost.pos = None;
        assert!(shown(&lost, Kind::Marine).is_err());
    }
}

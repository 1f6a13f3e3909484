//! The maps: who fights whom, where, and how long.
//!
//! Counts, spawn points and orders are read from SMAC's map archives; step limits and the sizes that follow are SMAC's own.

use std::sync::Arc;

use super::ground::{Ground, Layout, Terrain};
use super::units::{Kind, Profile};
use super::world::Recruit;

/// Units of one kind created at one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// What.
    pub kind: Kind,
    /// How many.
    pub count: usize,
    /// Where.
    pub at: [f32; 2],
}

/// What the foes are told at the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plan {
    /// Go there and fight what comes near.
    March([f32; 2]),
    /// The same, to a random point between these.
    Between([f32; 2], [f32; 2]),
    /// Stay and fight what comes near.
    Guard,
    /// Go for the nearest unit of the team.
    Hunt,
}

/// How a battle is drawn up.
#[derive(Debug, Clone, PartialEq)]
pub enum Lineup {
    /// The same every time.
    Fixed {
        /// The team's units.
        allies: Vec<Group>,
        /// The others.
        foes: Vec<Group>,
    },
    /// SMACv2: drawn for every episode.
    Drawn(super::draw::Roster),
}

/// One map.
#[derive(Debug, Clone)]
pub struct Map {
    /// Name without the suite.
    pub name: String,
    /// Version of its rules, as runs record it.
    pub version: u32,
    /// The units.
    pub lineup: Lineup,
    /// What the foes do.
    pub plan: Plan,
    /// Walls and cliffs.
    pub terrain: Terrain,
    /// Steps of an episode.
    pub limit: usize,
    /// Kinds in the order of the type bits of allies and of foes; empty where there are none.
    pub types: [Vec<Kind>; 2],
    /// Whether foes have the lower numbers in profile `smaclite`.
    pub foes_first: bool,
    /// Whether the team's banelings choose when to burst, where SMAC's choose whom to attack.
    pub bursts: bool,
}

impl Map {
    /// Its ground in a profile; every caller shares one.
    pub fn ground(&self, profile: Profile) -> Arc<Ground> {
        self.terrain.ground(profile)
    }

    /// Who fights whom, in one line.
    pub fn summary(&self) -> String {
        match &self.lineup {
            Lineup::Fixed { allies, foes } => {
                let side = |groups: &[Group]| {
                    let mut parts: Vec<(&str, usize)> = Vec::new();
                    for group in groups {
                        match parts.iter_mut().find(|(name, _)| *name == group.kind.name()) {
                            Some((_, count)) => *count += group.count,
                            None => parts.push((group.kind.name(), group.count)),
                        }
                    }
                    parts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
                };
                format!("{} against {}", side(allies), side(foes))
            }
            Lineup::Drawn(roster) => {
                let names: Vec<&str> = roster.kinds.iter().map(|k| k.name()).collect();
                format!("{} against {}, drawn each episode from {}", roster.allies, roster.foes, names.join(", "))
            }
        }
    }
}

const WEST: [f32; 2] = [9.0, 16.0];
const EAST: [f32; 2] = [23.0, 16.0];
const FAR_CORNER: [f32; 2] = [4.47, 4.3298];
const CORNER: [f32; 2] = [27.91, 28.24];

fn group(kind: Kind, count: usize, at: [f32; 2]) -> Group {
    Group { kind, count, at }
}

/// `7m2M1V` at a point: c colossus, s stalker, z zealot, g zergling, b baneling, h hydralisk, m marine, M marauder, V medivac.
fn groups(code: &str, at: [f32; 2]) -> Vec<Group> {
    let mut out = Vec::new();
    let mut count = 0;
    for c in code.chars() {
        let kind = match c {
            'c' => Kind::Colossus,
            's' => Kind::Stalker,
            'z' => Kind::Zealot,
            'g' => Kind::Zergling,
            'b' => Kind::Baneling,
            'h' => Kind::Hydralisk,
            'm' => Kind::Marine,
            'M' => Kind::Marauder,
            'V' => Kind::Medivac,
            digit => {
                count = 10 * count + digit.to_digit(10).unwrap_or(0) as usize;
                continue;
            }
        };
        out.push(group(kind, count, at));
        count = 0;
    }
    out
}

/// Name, allies, foes, limit. All of them: west against east, march to the west.
const STANDARD: [(&str, &str, &str, usize); 16] = [
    ("3m", "3m", "3m", 60),
    ("8m", "8m", "8m", 120),
    ("25m", "25m", "25m", 150),
    ("5m_vs_6m", "5m", "6m", 70),
    ("8m_vs_9m", "8m", "9m", 120),
    ("10m_vs_11m", "10m", "11m", 150),
    ("27m_vs_30m", "27m", "30m", 180),
    ("MMM", "1V7m2M", "1V7m2M", 150),
    ("MMM2", "1V7m2M", "1V8m3M", 180),
    ("2s3z", "2s3z", "2s3z", 120),
    ("3s5z", "3s5z", "3s5z", 150),
    ("3s5z_vs_3s6z", "3s5z", "3s6z", 170),
    ("3s_vs_3z", "3s", "3z", 150),
    ("3s_vs_4z", "3s", "4z", 200),
    ("3s_vs_5z", "3s", "5z", 250),
    ("1c3s5z", "1c3s5z", "1c3s5z", 180),
];

/// Version of the rules by which units of these kinds fight: 2 where one of them fought otherwise before (banelings that are killed
/// burst, colossi and spine crawlers shoot no further than their range, zerglings have a damage point).
pub(super) fn version_of<'a>(sides: impl IntoIterator<Item = &'a Group>) -> u32 {
    let changed = [Kind::Baneling, Kind::Colossus, Kind::SpineCrawler, Kind::Zergling];
    1 + u32::from(sides.into_iter().any(|group| changed.contains(&group.kind)))
}

fn standard(name: &str, allies: &str, foes: &str, limit: usize) -> Map {
    let (allies, foes) = (groups(allies, WEST), groups(foes, EAST));
    let layout = if name.starts_with("3s_vs_") { Layout::Open } else { Layout::Band };
    let has = |kind| allies.iter().any(|g: &Group| g.kind == kind);
    let types = if has(Kind::Medivac) {
        let all = vec![Kind::Marauder, Kind::Marine, Kind::Medivac];
        [all.clone(), all]
    } else if has(Kind::Colossus) {
        let all = vec![Kind::Colossus, Kind::Stalker, Kind::Zealot];
        [all.clone(), all]
    } else if has(Kind::Stalker) && has(Kind::Zealot) {
        // SMAC numbers the foes of these maps the other way round.
        [vec![Kind::Stalker, Kind::Zealot], vec![Kind::Zealot, Kind::Stalker]]
    } else {
        [Vec::new(), Vec::new()]
    };
    let version = version_of(allies.iter().chain(&foes));
    let lineup = Lineup::Fixed { allies, foes };
    let name = name.to_owned();
    let terrain = Terrain::Known(layout);
    Map { name, version, lineup, plan: Plan::March(WEST), terrain, limit, types, foes_first: false, bursts: false }
}

fn special(name: &str, sides: [Vec<Group>; 2], plan: Plan, layout: Layout, limit: usize, foes_first: bool) -> Map {
    let [allies, foes] = sides;
    let types = if allies.len() > 1 && allies[0].kind != allies[1].kind {
        let all = vec![Kind::Baneling, Kind::Zergling];
        [all.clone(), all]
    } else {
        [Vec::new(), Vec::new()]
    };
    let version = version_of(allies.iter().chain(&foes));
    let (name, lineup, terrain) = (name.to_owned(), Lineup::Fixed { allies, foes }, Terrain::Known(layout));
    Map { name, version, lineup, plan, terrain, limit, types, foes_first, bursts: false }
}

fn specials() -> Vec<Map> {
    use Kind::{Baneling, Colossus, Hydralisk, Marine, SpineCrawler, Stalker, Zealot, Zergling};
    let one = |kind, count, at| vec![group(kind, count, at)];
    let (left, right) = ([13.0, 12.0], [19.0, 12.0]);
    let hydras = [14.5998, 9.49];
    vec![
        special(
            "2m_vs_1z",
            [vec![group(Marine, 1, left), group(Marine, 1, right)], one(Zealot, 1, [16.0, 19.0])],
            Plan::Between(left, right),
            Layout::Octagon,
            150,
            false,
        ),
        special(
            "corridor",
            [one(Zealot, 6, [19.0397, 19.1198]), one(Zergling, 24, CORNER)],
            Plan::March(FAR_CORNER),
            Layout::Corridor,
            400,
            true,
        ),
        special(
            "6h_vs_8z",
            [one(Hydralisk, 6, hydras), one(Zealot, 8, [14.41, 16.7597])],
            Plan::March(hydras),
            Layout::Pit,
            150,
            false,
        ),
        special(
            "2s_vs_1sc",
            [
                vec![group(Stalker, 1, [11.1208, 10.338]), group(Stalker, 1, [16.976, 10.3662])],
                one(SpineCrawler, 1, [13.92, 20.0397]),
            ],
            Plan::Guard,
            Layout::Bay,
            300,
            true,
        ),
        special(
            "so_many_baneling",
            [one(Zealot, 7, [11.469, 12.0234]), one(Baneling, 32, CORNER)],
            Plan::March(FAR_CORNER),
            Layout::Slope,
            100,
            false,
        ),
        special(
            "bane_vs_bane",
            [
                vec![group(Zergling, 20, [16.0, 11.0]), group(Baneling, 4, [16.0, 8.0])],
                vec![group(Baneling, 4, [16.0, 24.0]), group(Zergling, 20, [16.0, 21.0])],
            ],
            Plan::March([16.0, 8.0]),
            Layout::Octagon,
            200,
            true,
        ),
        special(
            "2c_vs_64zg",
            [one(Colossus, 2, [16.0, 16.0]), one(Zergling, 64, [16.0, 9.0])],
            Plan::Hunt,
            Layout::Plateau,
            400,
            false,
        ),
    ]
}

/// Step limit of the maps for unified actions, which have no published one.
const UNIFIED_LIMIT: usize = 180;

/// A number of units in a map's name.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n| text.len() < 3 && (1..=60).contains(n) && !text.starts_with('0'))
}

/// A map by the pattern `{a}m{b}m_{c}m`: a marines and b medivacs against c marines.
pub fn two_groups(name: &str) -> Option<Map> {
    let (team, foes) = name.split_once('_')?;
    let (marines, medivacs) = team.strip_suffix('m')?.split_once('m')?;
    let (a, b, c) = (number(marines)?, number(medivacs)?, number(foes.strip_suffix('m')?)?);
    let mut map = standard(name, &format!("{b}V{a}m"), &format!("{c}m"), UNIFIED_LIMIT);
    map.types = [vec![Kind::Marine, Kind::Medivac], vec![Kind::Marine, Kind::Medivac]];
    Some(map)
}

/// A map by the pattern `{a}m{b}V{c}b_vs_{d}m`, in SMAC's letters: a marines, b medivacs and c banelings against d marines. What
/// the three kinds do beyond moving has nothing in common: attack a foe, heal a friend, burst.
pub fn three_groups(name: &str) -> Option<Map> {
    let (team, foes) = name.split_once("_vs_")?;
    let (marines, others) = team.strip_suffix('b')?.split_once('m')?;
    let (medivacs, banelings) = others.split_once('V')?;
    let (a, b, c, d) = (number(marines)?, number(medivacs)?, number(banelings)?, number(foes.strip_suffix('m')?)?);
    let mut map = standard(name, &format!("{b}V{a}m{c}b"), &format!("{d}m"), UNIFIED_LIMIT);
    let all = vec![Kind::Baneling, Kind::Marine, Kind::Medivac];
    (map.types, map.bursts) = ([all.clone(), all], true);
    Some(map)
}

/// A map by one of the patterns.
pub fn pattern(name: &str) -> Option<Map> {
    two_groups(name).or_else(|| three_groups(name))
}

/// The 23 maps of SMAC.
pub fn smac() -> Vec<Map> {
    let mut maps: Vec<Map> = STANDARD.iter().map(|&(name, allies, foes, limit)| standard(name, allies, foes, limit)).collect();
    maps.extend(specials());
    maps
}

/// Every map that is listed; those by [`pattern`] exist besides.
pub fn all() -> Vec<Map> {
    let mut maps = smac();
    maps.extend(super::draw::all());
    maps.extend(["6m2m_15m", "12m4m_30m", "6m2V4b_vs_15m", "12m4V8b_vs_30m"].into_iter().filter_map(pattern));
    maps
}

/// The map of that name.
pub fn find(name: &str) -> Option<Map> {
    all().into_iter().find(|map| map.name == name).or_else(|| pattern(name))
}

/// Units of one point in a square block, row by row, turned by half a circle for the foes; `gap` lies between them.
fn block(kinds: &[Kind], at: [f32; 2], profile: Profile, turned: bool, out: &mut Vec<Recruit>) {
    const GAP: f32 = 0.05;
    let side = (kinds.len() as f64).sqrt().ceil() as usize;
    let width = |kind: Kind| 2.0 * kind.stats(profile).radius;
    let rows: Vec<&[Kind]> = kinds.chunks(side.max(1)).collect();
    let across = rows.iter().map(|row| row.iter().map(|&k| width(k)).sum::<f32>()).fold(0.0, f32::max);
    let depth = |row: &[Kind]| row.iter().map(|&k| width(k)).fold(0.0, f32::max);
    let total = rows.iter().map(|row| depth(row)).sum::<f32>() + GAP * (side as f32 - 1.0);
    let sign = if turned { -1.0 } else { 1.0 };
    let mut y = -total / 2.0;
    for row in rows {
        let mut x = -across / 2.0;
        let high = depth(row);
        for &kind in row {
            let (dx, dy) = (x + width(kind) / 2.0, y + high / 2.0);
            out.push(Recruit { kind, at: [at[0] + sign * dx, at[1] + sign * dy] });
            x += width(kind) + GAP;
        }
        y += high + GAP;
    }
}

/// The units of some groups, placed; groups of one point stand in one block.
pub fn place(groups: &[Group], profile: Profile, turned: bool) -> Vec<Recruit> {
    let mut out = Vec::new();
    let mut k = 0;
    while k < groups.len() {
        let at = groups[k].at;
        let together = groups[k..].iter().take_while(|g| g.at == at).count();
        let kinds: Vec<Kind> = groups[k..k + together].iter().flat_map(|g| std::iter::repeat_n(g.kind, g.count)).collect();
        block(&kinds, at, profile, turned, &mut out);
        k += together;
    }
    out
}

/// Agents in SMAC's order: by type (the maps number them alphabetically), then x, then y.
pub fn sort_as_agents(allies: &mut [Recruit]) {
    allies.sort_by(|a, b| a.kind.name().cmp(b.kind.name()).then(a.at[0].total_cmp(&b.at[0])).then(a.at[1].total_cmp(&b.at[1])));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_strictly() {
        let map = pattern("6m2m_15m").unwrap();
        let Lineup::Fixed { allies, foes } = &map.lineup else { panic!("drawn") };
        let count = |groups: &[Group], kind| groups.iter().filter(|g| g.kind == kind).map(|g| g.count).sum::<usize>();
        assert_eq!((count(allies, Kind::Marine), count(allies, Kind::Medivac), count(foes, Kind::Marine)), (6, 2, 15));
        assert!(pattern("20m6m_40m").is_some());
        for bad in ["6m_15m", "6m2m", "0m2m_3m", "6m2m_15", "06m2m_15m", "6m2m_15m_", "100m2m_3m", "m2m_3m", "8m_vs_9m"] {
            assert!(pattern(bad).is_none(), "{bad}");
        }
        let map = pattern("6m2V4b_vs_15m").unwrap();
        let Lineup::Fixed { allies, foes } = &map.lineup else { panic!("drawn") };
        let counts = [Kind::Marine, Kind::Medivac, Kind::Baneling].map(|kind| count(allies, kind));
        assert_eq!((counts, count(foes, Kind::Marine), map.bursts), ([6, 2, 4], 15, true));
        for bad in ["6m2V4b_15m", "6m2V_vs_15m", "6m2V0b_vs_15m", "6m2V4b_vs_15", "6m02V4b_vs_15m", "2V6m4b_vs_15m"] {
            assert!(pattern(bad).is_none(), "{bad}");
        }
    }

    /// The starts that SMAClite's runs show.
    #[test]
    fn blocks_stand_as_recorded() {
        let at = |name: &str, foes: bool, unit: usize| {
            let map = find(name).unwrap();
            let Lineup::Fixed { allies, foes: others } = &map.lineup else { panic!("drawn") };
            place(if foes { others } else { allies }, Profile::Smaclite, foes)[unit].at
        };
        let near = |a: [f32; 2], b: [f32; 2]| assert!((a[0] - b[0]).abs() < 1e-5 && (a[1] - b[1]).abs() < 1e-5, "{a:?} {b:?}");
        near(at("MMM", false, 0), [7.875, 14.9875]);
        near(at("MMM", false, 1), [9.05, 14.9875]);
        near(at("MMM", true, 19 - 10), [23.1375, 14.85]);
        near(at("2s3z", false, 3), [7.75, 16.625]);
        near(at("2s3z", true, 0), [24.125, 16.55]);
        near(at("bane_vs_bane", true, 0), [16.375, 24.4]);
        near(at("2c_vs_64zg", false, 0), [15.0, 15.975]);
    }
}

//! What SMAC's map archives and the game's data say, once more and in another form: compositions, points, orders, ground, units.

use super::super::draw;
use super::super::maps::{Group, Lineup, Map, Plan, smac};
use super::super::units::attribute::{ARMORED, BIO, LIGHT, STRUCTURE};
use super::*;
use Kind::{Baneling, Colossus, Hydralisk, Marauder, Marine, Medivac, SpineCrawler, Stalker, Zealot, Zergling};

/// How many of which.
type Units = &'static [(Kind, usize)];

/// Maps on which the team begins at (9, 16), the foes at (23, 16) and march to where the team began.
const STANDARD: [(&str, Units, Units); 16] = [
    ("3m", &[(Marine, 3)], &[(Marine, 3)]),
    ("8m", &[(Marine, 8)], &[(Marine, 8)]),
    ("25m", &[(Marine, 25)], &[(Marine, 25)]),
    ("5m_vs_6m", &[(Marine, 5)], &[(Marine, 6)]),
    ("8m_vs_9m", &[(Marine, 8)], &[(Marine, 9)]),
    ("10m_vs_11m", &[(Marine, 10)], &[(Marine, 11)]),
    ("27m_vs_30m", &[(Marine, 27)], &[(Marine, 30)]),
    ("MMM", &[(Marine, 7), (Marauder, 2), (Medivac, 1)], &[(Marine, 7), (Marauder, 2), (Medivac, 1)]),
    ("MMM2", &[(Marine, 7), (Marauder, 2), (Medivac, 1)], &[(Marine, 8), (Marauder, 3), (Medivac, 1)]),
    ("2s3z", &[(Stalker, 2), (Zealot, 3)], &[(Stalker, 2), (Zealot, 3)]),
    ("3s5z", &[(Stalker, 3), (Zealot, 5)], &[(Stalker, 3), (Zealot, 5)]),
    ("3s5z_vs_3s6z", &[(Stalker, 3), (Zealot, 5)], &[(Stalker, 3), (Zealot, 6)]),
    ("3s_vs_3z", &[(Stalker, 3)], &[(Zealot, 3)]),
    ("3s_vs_4z", &[(Stalker, 3)], &[(Zealot, 4)]),
    ("3s_vs_5z", &[(Stalker, 3)], &[(Zealot, 5)]),
    ("1c3s5z", &[(Colossus, 1), (Stalker, 3), (Zealot, 5)], &[(Colossus, 1), (Stalker, 3), (Zealot, 5)]),
];

/// Kind, number, point.
type Groups = &'static [(Kind, usize, [f32; 2])];

/// The other maps: the team, the foes, their orders, cells that can be walked on, row by row.
const SPECIAL: [(&str, Groups, Groups, Plan, u32); 7] = [
    (
        "2m_vs_1z",
        &[(Marine, 1, [13.0, 12.0]), (Marine, 1, [19.0, 12.0])],
        &[(Zealot, 1, [16.0, 19.0])],
        Plan::Between([13.0, 12.0], [19.0, 12.0]),
        2 * (12 + 14 + 16 + 18) + 12 * 20,
    ),
    (
        "2s_vs_1sc",
        &[(Stalker, 1, [11.1208, 10.338]), (Stalker, 1, [16.976, 10.3662])],
        &[(SpineCrawler, 1, [13.92, 20.0397])],
        Plan::Guard,
        12 * 12 + 10 + 8 + 6 + 4,
    ),
    (
        "6h_vs_8z",
        &[(Hydralisk, 6, [14.5998, 9.49])],
        &[(Zealot, 8, [14.41, 16.7597])],
        Plan::March([14.5998, 9.49]),
        2 * (10 + 12) + 8 * 14,
    ),
    (
        "corridor",
        &[(Zealot, 6, [19.0397, 19.1198])],
        &[(Zergling, 24, [27.91, 28.24])],
        Plan::March([4.47, 4.3298]),
        11 + 8 * 10 + 11 + 3 + 3 + (13 + 14 + 15 + 16) + 4 * 18 + (17 + 16 + 15 + 14 + 13 + 12 + 11 + 10),
    ),
    (
        "so_many_baneling",
        &[(Zealot, 7, [11.469, 12.0234])],
        &[(Baneling, 32, [27.91, 28.24])],
        Plan::March([4.47, 4.3298]),
        6 + 7 + 3 * 10 + 11 + 13 + 2 * 12 + 13 + 13 + 3 * 12 + 11 + 11 + 13 + 2 * 12 + 13 + 15 + 14 + 11 + 3 * 10 + 9 + 8,
    ),
    (
        "bane_vs_bane",
        &[(Zergling, 20, [16.0, 11.0]), (Baneling, 4, [16.0, 8.0])],
        &[(Zergling, 20, [16.0, 21.0]), (Baneling, 4, [16.0, 24.0])],
        Plan::March([16.0, 8.0]),
        360,
    ),
    (
        "2c_vs_64zg",
        &[(Colossus, 2, [16.0, 16.0])],
        &[(Zergling, 64, [16.0, 9.0])],
        Plan::Hunt,
        // Plain and plateau, less the two rows of cliff below the plateau and a cell at each end of the row behind its ramps.
        430 - 2 * 24 - 2,
    ),
];

fn line_up(map: &Map) -> [Vec<(Kind, usize, [f32; 2])>; 2] {
    let Lineup::Fixed { allies, foes } = &map.lineup else { panic!("{} is drawn", map.name) };
    let order = |groups: &[Group]| {
        let mut list: Vec<_> = groups.iter().map(|g| (g.kind, g.count, g.at)).collect();
        list.sort_by(|a, b| a.0.cmp(&b.0).then(a.2[0].total_cmp(&b.2[0])));
        list
    };
    [order(allies), order(foes)]
}

fn cells(grid: &[u32; 32]) -> u32 {
    grid.iter().map(|row| row.count_ones()).sum()
}

#[test]
fn maps_are_those_of_the_archives() {
    let maps = smac();
    assert_eq!(maps.len(), STANDARD.len() + SPECIAL.len());
    let of = |name: &str| maps.iter().find(|map| map.name == name).unwrap();
    for (name, allies, foes) in STANDARD {
        let map = of(name);
        let at = |side: Units, point: [f32; 2]| {
            let mut list: Vec<_> = side.iter().map(|&(kind, count)| (kind, count, point)).collect();
            list.sort_by_key(|group| group.0);
            list
        };
        assert_eq!(line_up(map), [at(allies, [9.0, 16.0]), at(foes, [23.0, 16.0])], "{name}");
        assert_eq!(map.plan, Plan::March([9.0, 16.0]), "{name}");
        let free = if name.starts_with("3s_vs_") { 32 * 32 } else { 16 * 32 };
        assert_eq!(cells(&map.ground(Profile::Liberty).walk), free, "{name}");
    }
    for (name, allies, foes, plan, free) in SPECIAL {
        let map = of(name);
        let sorted = |groups: Groups| {
            let mut list = groups.to_vec();
            list.sort_by(|a, b| a.0.cmp(&b.0).then(a.2[0].total_cmp(&b.2[0])));
            list
        };
        assert_eq!(line_up(map), [sorted(allies), sorted(foes)], "{name}");
        assert_eq!((map.plan, cells(&map.ground(Profile::Liberty).walk)), (plan, free), "{name}");
    }
    // Giants walk over the cliff too: the plain, and the plateau's last row behind it.
    let climb = of("2c_vs_64zg").ground(Profile::Liberty).climb;
    assert_eq!(cells(&climb), 2 * (24 + 26 + 28) + 8 * 32 + 18);
    for map in draw::all() {
        assert_eq!((map.plan, cells(&map.ground(Profile::Liberty).walk)), (Plan::Hunt, 32 * 32), "{}", map.name);
    }
}

/// Health, shield, armour; speed, radius, range; damage, bonus, hits; seconds of a period and until the first hit; what comes back.
type Row = (Kind, [f32; 3], [f32; 3], (f32, f32, u8), [f64; 2], f64);

const UNITS: [Row; 9] = [
    (Marine, [45.0, 0.0, 0.0], [2.25, 0.375, 5.0], (6.0, 0.0, 1), [0.8608, 0.05], 0.0),
    (Marauder, [125.0, 0.0, 1.0], [2.25, 0.5625, 6.0], (10.0, 10.0, 1), [1.5, 0.0], 0.0),
    (Zealot, [100.0, 50.0, 1.0], [2.25, 0.5, 0.1], (8.0, 0.0, 2), [1.2, 0.0], 0.0),
    (Stalker, [80.0, 80.0, 1.0], [2.9531, 0.625, 6.0], (10.0, 4.0, 1), [1.44, 0.167], 0.0),
    (Colossus, [200.0, 150.0, 1.0], [2.25, 1.0, 6.0], (20.0, 0.0, 2), [2.2, 0.0832], 0.0),
    (Zergling, [35.0, 0.0, 0.0], [2.9531, 0.375, 0.1], (5.0, 0.0, 1), [0.696, 0.167], 0.2734),
    (Baneling, [30.0, 0.0, 0.0], [2.5, 0.375, 0.25], (20.0, 15.0, 1), [0.833, 0.0], 0.2734),
    (Hydralisk, [80.0, 0.0, 0.0], [2.25, 0.625, 5.0], (12.0, 0.0, 1), [0.83, 0.208], 0.2734),
    (SpineCrawler, [300.0, 0.0, 2.0], [0.0, 0.875, 7.0], (25.0, 5.0, 1), [1.6, 0.333], 0.2734),
];

#[test]
fn units_are_those_of_the_data_that_smacs_maps_load() {
    for (kind, body, place, weapon, times, regen) in UNITS {
        let s = kind.stats(Profile::Liberty);
        let name = kind.name();
        assert_eq!(([s.health, s.shield, s.armor], [s.speed, s.radius, s.range]), (body, place), "{name}");
        assert_eq!(((s.damage, s.bonus, s.hits), [s.period, s.windup], s.regen), (weapon, times, regen), "{name}");
        let held_exactly = matches!(kind, Colossus | SpineCrawler);
        assert_eq!((s.accel, s.slop), (f32::INFINITY, if held_exactly { 0.0 } else { 1.0 }), "{name}");
    }
    let healer = Medivac.stats(Profile::Liberty);
    assert_eq!([healer.health, healer.shield, healer.armor], [150.0, 0.0, 1.0]);
    assert_eq!([healer.speed, healer.accel, healer.radius, healer.range, healer.scan], [2.75, 2.3125, 0.75, 4.0, 6.0]);
    assert_eq!((Zealot.stats(Profile::Liberty).between, healer.regen), (0.28, 0.0));
    for (kind, bits, against, air) in [
        (Marine, LIGHT | BIO, 0, true),
        (Marauder, ARMORED | BIO, ARMORED, false),
        (Medivac, ARMORED, 0, false),
        (Stalker, ARMORED, ARMORED, true),
        (Zealot, LIGHT | BIO, 0, false),
        (Colossus, ARMORED, 0, false),
        (Zergling, LIGHT | BIO, 0, false),
        (Hydralisk, LIGHT | BIO, 0, true),
        (Baneling, BIO, LIGHT, false),
        (SpineCrawler, ARMORED | BIO | STRUCTURE, ARMORED, false),
    ] {
        let s = kind.stats(Profile::Liberty);
        assert_eq!((s.attributes, s.against, s.hits_air), (bits, against, air), "{}", kind.name());
    }
}

/// SMACv2's ranges: of shooting, no less than 2, and of sight.
#[test]
fn true_ranges_are_those_of_smacv2() {
    for (kind, shoot, sight) in [
        (Stalker, 6.0, 10.0),
        (Zealot, 2.0, 9.0),
        (Colossus, 7.0, 10.0),
        (Zergling, 2.0, 8.0),
        (Baneling, 2.0, 8.0),
        (Hydralisk, 5.0, 9.0),
        (Marine, 5.0, 9.0),
        (Marauder, 6.0, 10.0),
        (Medivac, 4.0, 11.0),
    ] {
        assert_eq!(kind.true_ranges(), (shoot, sight), "{}", kind.name());
    }
}

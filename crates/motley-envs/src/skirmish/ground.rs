//! The ground: which cells can be walked on, walls for avoidance, ways around corners.

use std::sync::{Arc, OnceLock};

use super::orca::{Corner, corners};
use super::units::Profile;

/// Cells of a side of every map.
pub const SIZE: usize = 32;

/// The layouts of the maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Layout {
    /// A band of 16 rows: most maps.
    Band,
    /// Everything can be walked on.
    Open,
    /// An octagon: 2m_vs_1z, bane_vs_bane.
    Octagon,
    /// A bay below a spine crawler: 2s_vs_1sc.
    Bay,
    /// A small octagon: 6h_vs_8z.
    Pit,
    /// Two plains and a neck: corridor.
    Corridor,
    /// A slope between two plains: so_many_baneling.
    Slope,
    /// A plateau within a plain: 2c_vs_64zg.
    Plateau,
}

/// `(first row, last row, first column, last column)`, all included.
type Rows = &'static [(usize, usize, usize, usize)];

const OCTAGON: Rows = &[
    (6, 6, 10, 21),
    (7, 7, 9, 22),
    (8, 8, 8, 23),
    (9, 9, 7, 24),
    (10, 21, 6, 25),
    (22, 22, 7, 24),
    (23, 23, 8, 23),
    (24, 24, 9, 22),
    (25, 25, 10, 21),
];
const BAY: Rows = &[(8, 19, 8, 19), (20, 20, 9, 18), (21, 21, 10, 17), (22, 22, 11, 16), (23, 23, 12, 15)];
const PIT: Rows = &[(8, 8, 10, 19), (9, 9, 9, 20), (10, 17, 8, 21), (18, 18, 9, 20), (19, 19, 10, 19)];
const CORRIDOR: Rows = &[
    (2, 2, 2, 12),
    (3, 10, 2, 11),
    (11, 11, 2, 12),
    (12, 12, 11, 13),
    (13, 13, 12, 14),
    (14, 14, 13, 25),
    (15, 15, 13, 26),
    (16, 16, 13, 27),
    (17, 17, 13, 28),
    (18, 21, 12, 29),
    (22, 22, 13, 29),
    (23, 23, 14, 29),
    (24, 24, 15, 29),
    (25, 25, 16, 29),
    (26, 26, 17, 29),
    (27, 27, 18, 29),
    (28, 28, 19, 29),
    (29, 29, 20, 29),
];
const SLOPE: Rows = &[
    (2, 2, 2, 7),
    (3, 3, 2, 8),
    (4, 6, 2, 11),
    (7, 7, 2, 12),
    (8, 8, 3, 15),
    (9, 10, 4, 15),
    (11, 11, 4, 16),
    (12, 12, 7, 19),
    (13, 15, 8, 19),
    (16, 16, 9, 19),
    (17, 17, 10, 20),
    (18, 18, 13, 25),
    (19, 20, 14, 25),
    (21, 21, 14, 26),
    (22, 22, 15, 29),
    (23, 23, 16, 29),
    (24, 24, 19, 29),
    (25, 27, 20, 29),
    (28, 28, 21, 29),
    (29, 29, 22, 29),
];
const PLATEAU: Rows =
    &[(6, 6, 4, 27), (7, 7, 3, 28), (8, 8, 2, 29), (9, 16, 0, 31), (17, 17, 2, 29), (18, 18, 3, 28), (19, 19, 4, 27)];
const LITE_OCTAGON: Rows = &[
    (5, 5, 10, 21),
    (6, 6, 9, 22),
    (7, 7, 8, 23),
    (8, 8, 7, 24),
    (9, 22, 6, 25),
    (23, 23, 7, 24),
    (24, 24, 8, 23),
    (25, 25, 9, 22),
    (26, 26, 10, 21),
];
const LITE_BAY: Rows =
    &[(7, 7, 8, 19), (8, 19, 7, 20), (20, 20, 8, 19), (21, 21, 9, 18), (22, 22, 10, 17), (23, 23, 11, 16), (24, 24, 12, 15)];
const LITE_PLATEAU: Rows = &[(6, 11, 0, 31), (13, 19, 0, 31), (21, 31, 0, 31)];
/// The west side of rows 13 to 26 is what runs show; the rest, where nobody went, is the map's own ground and one cell around it.
const LITE_CORRIDOR: Rows = &[
    (1, 3, 1, 13),
    (4, 9, 1, 12),
    (10, 10, 1, 13),
    (11, 11, 1, 14),
    (12, 12, 1, 15),
    (13, 13, 11, 26),
    (14, 14, 12, 27),
    (15, 15, 13, 28),
    (16, 16, 13, 29),
    (17, 17, 12, 30),
    (18, 21, 11, 30),
    (22, 22, 12, 30),
    (23, 23, 13, 30),
    (24, 24, 14, 30),
    (25, 25, 15, 30),
    (26, 26, 16, 30),
    (27, 27, 17, 30),
    (28, 28, 18, 30),
    (29, 29, 19, 30),
    (30, 30, 20, 30),
];
/// Rows of the second plateau of [`Layout::Plateau`], columns 7 to 24; ramps lie beside it.
const TOP: std::ops::RangeInclusive<usize> = 13..=20;
/// The last of these rows that has ramps beside it.
const RAMPS_END: usize = 18;

/// One layout, worked out once.
#[derive(Debug)]
pub struct Ground {
    /// Bit x of row y: ground units can stand there.
    pub walk: [u32; SIZE],
    /// The same for units that cross cliffs.
    pub climb: [u32; SIZE],
    /// Height of each cell, in the map files' levels (0 low, 64 first plateau, 128 second, 96 ramps).
    pub height: [[u8; SIZE]; SIZE],
    /// Corners of the blocked rectangles, for the reciprocal avoidance of profile `smaclite`; none where that is not played.
    pub walls: Vec<Corner>,
    /// Steps to go around corners, where straight lines may leave the ground.
    pub ways: Option<Ways>,
}

fn fill(rows: Rows) -> [u32; SIZE] {
    let mut grid = [0; SIZE];
    for &(first, last, from, to) in rows {
        let bits = ((1_u64 << (to + 1)) - (1_u64 << from)) as u32;
        grid[first..=last].fill(bits);
    }
    grid
}

impl Ground {
    /// The ground of a layout; every caller shares one.
    pub fn of(layout: Layout, profile: Profile) -> Arc<Self> {
        static MADE: [[OnceLock<Arc<Ground>>; 8]; 2] = [const { [const { OnceLock::new() }; 8] }; 2];
        let lite = usize::from(profile == Profile::Smaclite);
        MADE[lite][layout as usize].get_or_init(|| Arc::new(Self::make(layout, profile))).clone()
    }

    /// A ground by its cells, as [`Plot::new`] has them.
    fn own(walk: [u32; SIZE], climb: [u32; SIZE], profile: Profile) -> Self {
        let lite = profile == Profile::Smaclite;
        let walls = if lite { corners(&rectangles(&walk)) } else { Vec::new() };
        let ways = (!lite && walk != [u32::MAX; SIZE]).then(|| Ways::of(&walk));
        Self { height: heights(&climb), climb, walk, walls, ways }
    }

    /// A map that somebody else describes cell by cell: enough for what agents see, without walls or ways to play on.
    pub fn seen(walk: [u32; SIZE], height: [[u8; SIZE]; SIZE]) -> Self {
        Self { climb: walk, walk, height, walls: Vec::new(), ways: None }
    }

    fn make(layout: Layout, profile: Profile) -> Self {
        if profile == Profile::Smaclite {
            return Self::make_smaclite(layout);
        }
        let rows: Rows = match layout {
            Layout::Band => &[(8, 23, 0, 31)],
            Layout::Open => &[(0, 31, 0, 31)],
            Layout::Octagon => OCTAGON,
            Layout::Bay => BAY,
            Layout::Pit => PIT,
            Layout::Corridor => CORRIDOR,
            Layout::Slope => SLOPE,
            Layout::Plateau => PLATEAU,
        };
        let mut climb = fill(rows);
        let mut walk = climb;
        let mut height = heights(&climb);
        if layout == Layout::Plateau {
            // The cliff between the plateaus: ground units pass by the ramps alone, giants anywhere.
            let cliff = ((1_u64 << 28) - (1 << 4)) as u32;
            let ramps = (0b111 << 4) | (0b111 << 25);
            for y in TOP {
                let top = ((1_u64 << 25) - (1 << 7)) as u32;
                walk[y] |= top;
                climb[y] |= top;
                for (x, level) in height[y].iter_mut().enumerate() {
                    match 1_u32 << x {
                        bit if bit & top != 0 => *level = 128,
                        bit if bit & ramps != 0 && y <= RAMPS_END => *level = 96,
                        _ => {}
                    }
                }
                if y > RAMPS_END {
                    walk[y] &= !((1 << 6) | (1 << 25));
                }
            }
            walk[12] &= !cliff;
            walk[13] &= !cliff;
        }
        let crooked = matches!(layout, Layout::Corridor | Layout::Slope | Layout::Plateau);
        Self { ways: crooked.then(|| Ways::of(&walk)), walk, climb, height, walls: Vec::new() }
    }

    /// Whether a point lies on cells that `grid` frees.
    pub fn free(grid: &[u32; SIZE], x: f32, y: f32) -> bool {
        let (cx, cy) = (x.floor(), y.floor());
        (0.0..SIZE as f32).contains(&cx) && (0.0..SIZE as f32).contains(&cy) && grid[cy as usize] >> cx as usize & 1 == 1
    }

    /// What cannot be walked on, as few rectangles `[x0, y0, x1, y1]`.
    pub fn blocked(&self) -> Vec<[f64; 4]> {
        rectangles(&self.walk)
    }

    /// Whether the straight way between two points stays on free cells.
    pub fn sees(&self, from: [f32; 2], to: [f32; 2]) -> bool {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let steps = (dx.abs().max(dy.abs()) * 4.0).ceil().max(1.0);
        (1..=steps as usize).all(|k| {
            let t = k as f32 / steps;
            Self::free(&self.walk, from[0] + dx * t, from[1] + dy * t)
        })
    }

    /// Where to head for on the way to `to`: there, or the next cell around the corner.
    pub fn toward(&self, from: [f32; 2], to: [f32; 2]) -> [f32; 2] {
        let Some(ways) = &self.ways else { return to };
        if self.sees(from, to) {
            return to;
        }
        let mut at = from;
        let mut seen = to;
        // A few cells ahead at most, as long as they are in sight.
        for k in 0..4 {
            match ways.next(at, to) {
                Some(cell) if k == 0 || self.sees(from, cell) => (at, seen) = (cell, cell),
                _ => break,
            }
        }
        seen
    }
}

impl Ground {
    /// SMAClite's grounds, as far as its runs show them.
    fn make_smaclite(layout: Layout) -> Self {
        let walk = match layout {
            Layout::Octagon => fill(LITE_OCTAGON),
            Layout::Bay => fill(LITE_BAY),
            Layout::Corridor => fill(LITE_CORRIDOR),
            Layout::Plateau => fill(LITE_PLATEAU),
            other => Self::make(other, Profile::Liberty).walk,
        };
        let height = [[0; SIZE]; SIZE];
        Self { climb: walk, height, walls: corners(&rectangles(&walk)), ways: None, walk }
    }
}

/// Levels of a plateau, which reaches one cell beyond where units can stand.
fn heights(stand: &[u32; SIZE]) -> [[u8; SIZE]; SIZE] {
    let mut height = [[0; SIZE]; SIZE];
    for (y, row) in height.iter_mut().enumerate() {
        for (x, level) in row.iter_mut().enumerate() {
            let near = |dy: usize, dx: usize| {
                let (y, x) = ((y + dy).wrapping_sub(1), (x + dx).wrapping_sub(1));
                y < SIZE && x < SIZE && stand[y] >> x & 1 == 1
            };
            if (0..3).any(|dy| (0..3).any(|dx| near(dy, dx))) {
                *level = 64;
            }
        }
    }
    height
}

/// Blocked cells as few rectangles `[x0, y0, x1, y1]`: the widest run of the lowest row, then as high as it stays blocked.
fn rectangles(walk: &[u32; SIZE]) -> Vec<[f64; 4]> {
    let mut left: [u32; SIZE] = walk.map(|row| !row);
    let mut found = Vec::new();
    for y in 0..SIZE {
        while left[y] != 0 {
            let x0 = left[y].trailing_zeros() as usize;
            let wide = (left[y] >> x0).trailing_ones() as usize;
            let run = (((1_u64 << wide) - 1) << x0) as u32;
            let mut top = y;
            while top < SIZE && left[top] & run == run {
                left[top] &= !run;
                top += 1;
            }
            found.push([x0 as f64, y as f64, (x0 + wide) as f64, top as f64]);
        }
    }
    found
}

/// The ground of a map.
#[derive(Debug, Clone)]
pub enum Terrain {
    /// That of a map of SMAC.
    Known(Layout),
    /// A user's own.
    Own(Arc<Plot>),
}

impl Terrain {
    /// What a profile plays on; every caller shares one.
    pub fn ground(&self, profile: Profile) -> Arc<Ground> {
        match self {
            Self::Known(layout) => Ground::of(*layout, profile),
            Self::Own(plot) => plot.ground(profile),
        }
    }
}

/// Where units can stand, cell by cell; the grounds that follow are worked out once each.
#[derive(Debug)]
pub struct Plot {
    walk: [u32; SIZE],
    climb: [u32; SIZE],
    made: [OnceLock<Arc<Ground>>; 2],
}

impl Plot {
    /// Bit x of row y: cells of ground units, and of those that cross cliffs.
    pub fn new(walk: [u32; SIZE], climb: [u32; SIZE]) -> Self {
        Self { walk, climb, made: [const { OnceLock::new() }; 2] }
    }

    fn ground(&self, profile: Profile) -> Arc<Ground> {
        let make = || Arc::new(Ground::own(self.walk, self.climb, profile));
        self.made[usize::from(profile == Profile::Smaclite)].get_or_init(make).clone()
    }
}

/// Shortest ways between all pairs of free cells.
#[derive(Debug)]
pub struct Ways {
    /// Number of a cell among the free ones, or `NONE`; by `y * SIZE + x`.
    number: Vec<u16>,
    /// `[free, free]`: the cell to go to next, on the way from the second to the first.
    next: Vec<u16>,
    free: usize,
}

const NONE: u16 = u16::MAX;

impl Ways {
    fn of(walk: &[u32; SIZE]) -> Self {
        let cells: Vec<usize> = (0..SIZE * SIZE).filter(|c| walk[c / SIZE] >> (c % SIZE) & 1 == 1).collect();
        let mut number = vec![NONE; SIZE * SIZE];
        cells.iter().enumerate().for_each(|(k, &c)| number[c] = k as u16);
        let free = cells.len();
        let mut next = vec![NONE; free * free];
        let mut distance = vec![u32::MAX; SIZE * SIZE];
        // Costs are 5 straight and 7 across, so a ring of 8 buckets holds every open cell.
        let mut buckets: [Vec<usize>; 8] = Default::default();
        for (k, &goal) in cells.iter().enumerate() {
            distance.fill(u32::MAX);
            distance[goal] = 0;
            next[k * free + k] = goal as u16;
            buckets[0].push(goal);
            let (mut now, mut idle) = (0_u32, 0);
            while idle < 8 {
                let Some(cell) = buckets[now as usize % 8].pop() else {
                    (now, idle) = (now + 1, idle + 1);
                    continue;
                };
                idle = 0;
                if distance[cell] != now {
                    continue;
                }
                for (to, cost) in around(walk, cell) {
                    if now + cost < distance[to] {
                        distance[to] = now + cost;
                        next[k * free + number[to] as usize] = cell as u16;
                        buckets[(now + cost) as usize % 8].push(to);
                    }
                }
            }
        }
        Self { number, next, free }
    }

    /// The middle of the next cell on the way, where there is one.
    fn next(&self, from: [f32; 2], to: [f32; 2]) -> Option<[f32; 2]> {
        let number = |p: [f32; 2]| {
            let cell = |v: f32| (v.max(0.0) as usize).min(SIZE - 1);
            let n = self.number[cell(p[1]) * SIZE + cell(p[0])];
            (n != NONE).then_some(n as usize)
        };
        let cell = self.next[number(to)? * self.free + number(from)?];
        (cell != NONE).then_some([(cell as usize % SIZE) as f32 + 0.5, (cell as usize / SIZE) as f32 + 0.5])
    }
}

/// Free neighbours of a cell with their costs; no cutting of corners.
fn around(walk: &[u32; SIZE], cell: usize) -> impl Iterator<Item = (usize, u32)> {
    let (x, y) = ((cell % SIZE) as i32, (cell / SIZE) as i32);
    let walk = *walk;
    let free =
        move |x: i32, y: i32| (0..SIZE as i32).contains(&x) && (0..SIZE as i32).contains(&y) && walk[y as usize] >> x & 1 == 1;
    (0..9).filter_map(move |k| {
        let (dx, dy) = (k % 3 - 1, k / 3 - 1);
        let open = (dx, dy) != (0, 0) && free(x + dx, y + dy) && free(x + dx, y) && free(x, y + dy);
        open.then(|| (((y + dy) as usize) * SIZE + (x + dx) as usize, if dx != 0 && dy != 0 { 7 } else { 5 }))
    })
}

#[cfg(test)]
mod tests {
    use motley_core::{Purpose, Stream};

    use super::super::units::Kind;
    use super::super::world::{Order, Recruit, World};
    use super::*;

    const ALL: [Layout; 8] =
        [Layout::Band, Layout::Open, Layout::Octagon, Layout::Bay, Layout::Pit, Layout::Corridor, Layout::Slope, Layout::Plateau];

    #[test]
    fn rectangles_cover_the_blocked_cells_once() {
        for (layout, profile) in ALL.iter().flat_map(|&layout| [(layout, Profile::Liberty), (layout, Profile::Smaclite)]) {
            let ground = Ground::of(layout, profile);
            let found = rectangles(&ground.walk);
            let mut covered = [0_u32; SIZE];
            for &[x0, y0, x1, y1] in &found {
                let run = ((1_u64 << x1 as u32) - (1_u64 << x0 as u32)) as u32;
                for row in &mut covered[y0 as usize..y1 as usize] {
                    assert_eq!(*row & run, 0, "{layout:?}: twice");
                    *row |= run;
                }
            }
            assert_eq!(covered, ground.walk.map(|row| !row), "{layout:?}");
            let corners = if profile == Profile::Smaclite { 4 * found.len() } else { 0 };
            assert_eq!(ground.walls.len(), corners, "{layout:?}");
        }
    }

    #[test]
    fn the_corridor_leads_through_its_neck() {
        let ground = Ground::of(Layout::Corridor, Profile::Liberty);
        let (mut at, goal) = ([27.9_f32, 28.2], [4.47, 4.33]);
        let mut through = false;
        for _ in 0..2000 {
            let to = ground.toward(at, goal);
            let d = [to[0] - at[0], to[1] - at[1]];
            let length = d[0].hypot(d[1]).max(1e-6);
            at = [at[0] + 0.05 * d[0] / length, at[1] + 0.05 * d[1] / length];
            assert!(Ground::free(&ground.walk, at[0], at[1]), "off the ground at {at:?}");
            through |= (11.0..14.0).contains(&at[0]) && (12.0..13.0).contains(&at[1]);
            if (at[0] - goal[0]).hypot(at[1] - goal[1]) < 0.1 {
                break;
            }
        }
        assert!(through && (at[0] - goal[0]).hypot(at[1] - goal[1]) < 0.1, "ended at {at:?}");
    }

    #[test]
    fn only_giants_cross_the_cliff() {
        let ground = Ground::of(Layout::Plateau, Profile::Liberty);
        assert!(!Ground::free(&ground.walk, 16.0, 12.5) && Ground::free(&ground.climb, 16.0, 12.5));
        // Ground units below reach the plateau by a ramp at the side.
        let to = ground.toward([16.0, 9.0], [16.0, 16.0]);
        assert!((to[0] - 16.0).abs() > 0.4 || to[1] < 12.0, "{to:?}");
        assert!(ground.height[16][16] == 128 && ground.height[9][16] == 64 && ground.height[0][0] == 0);
    }

    #[test]
    fn the_upper_plateau_is_entered_by_ramps_alone() {
        let ground = Ground::of(Layout::Plateau, Profile::Liberty);
        let free = |x: usize, y: usize| x < SIZE && y < SIZE && ground.walk[y] >> x & 1 == 1;
        let (mut top, mut entries) = (0, Vec::new());
        for (x, y) in (0..SIZE * SIZE).map(|c| (c % SIZE, c / SIZE)).filter(|&(x, y)| free(x, y) && ground.height[y][x] == 128) {
            top += 1;
            let beside = [(x + 1, y), (x.wrapping_sub(1), y), (x, y + 1), (x, y - 1)];
            entries.extend(beside.into_iter().filter(|&(x, y)| free(x, y) && ground.height[y][x] != 128));
        }
        assert_eq!(top, 18 * 7, "columns 7 to 24 of rows 14 to 20; the map's flags block row 13");
        entries.sort_unstable();
        assert_eq!(entries, [6, 25].map(|x| [14, 15, 16, 17, 18].map(|y| (x, y))).concat());
        // From beside the last row the way leads by the ramp.
        let (stream, goal) = (Stream::new(0, Purpose::Check, 0, 0), [8.5, 19.5]);
        let mut world = World::new(Profile::Liberty, ground.clone(), stream.clone());
        let at = |kind, at| [Recruit { kind, at }];
        world.muster(&at(Kind::Zealot, [5.5, 19.5]), &at(Kind::Medivac, [1.0, 1.0]), false, stream);
        world.order[0] = Order::Move(goal);
        let level = |world: &World| ground.height[world.y[0] as usize][world.x[0] as usize];
        for _ in 0..100 {
            let before = level(&world);
            world.tick();
            assert!(level(&world) != 128 || before >= 96, "up the cliff, to {}, {}", world.x[0], world.y[0]);
        }
        assert_eq!([world.x[0], world.y[0]], goal, "it has arrived");
    }
}

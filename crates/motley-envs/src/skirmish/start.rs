//! Where units stand when a battle begins by the rules of `liberty`: as [`place`] has them, and nobody on blocked ground. The blocks
//! of some maps reach over the edge of their ground, where the game's own placement of units does not.

use super::ground::{Ground, SIZE};
use super::liberty::layer;
use super::maps::{Group, place};
use super::units::Profile;
use super::world::Recruit;

/// Whom the ground does not carry is moved to the middle of a square of this side: no cell's edge is nearer to it than the default
/// spread of starts.
const SQUARE: f32 = 0.125;

/// The units of some groups on a ground: who would stand on blocked cells is moved to the nearest free point where nobody is
/// overlapped more than before, unit after unit; everybody else stands as [`place`] says.
pub fn place_on(ground: &Ground, groups: &[Group], profile: Profile, turned: bool) -> Vec<Recruit> {
    let mut units = place(groups, profile, turned);
    for u in 0..units.len() {
        if !stands(ground, &units[u], profile)
            && let Some(at) = nearest(ground, &units, u, profile)
        {
            units[u].at = at;
        }
    }
    units
}

/// Whether the ground carries a unit: walkers where they can walk, giants on cliffs too, flyers all over the map.
pub(super) fn stands(ground: &Ground, unit: &Recruit, profile: Profile) -> bool {
    const EVERYWHERE: [u32; SIZE] = [u32::MAX; SIZE];
    let stats = unit.kind.stats(profile);
    let cells = match (stats.flies(), stats.crosses_cliffs()) {
        (true, _) => &EVERYWHERE,
        (_, true) => &ground.climb,
        _ => &ground.walk,
    };
    Ground::free(cells, unit.at[0], unit.at[1])
}

/// The free point nearest to unit `u`, the first row by row of several; none where the map has none.
fn nearest(ground: &Ground, units: &[Recruit], u: usize, profile: Profile) -> Option<[f32; 2]> {
    let unit = units[u];
    let side = (SIZE as f32 / SQUARE) as usize;
    let middle = |k: usize| (k as f32 + 0.5) * SQUARE;
    let (mut best, mut least) = (None, f32::INFINITY);
    for k in 0..side * side {
        let moved = Recruit { at: [middle(k % side), middle(k / side)], ..unit };
        let way = distance(&unit, &moved);
        let fits = |(o, other): (usize, &Recruit)| o == u || overlap(&moved, other, profile) <= overlap(&unit, other, profile);
        if way < least && stands(ground, &moved, profile) && units.iter().enumerate().all(fits) {
            (best, least) = (Some(moved.at), way);
        }
    }
    best
}

fn distance(a: &Recruit, b: &Recruit) -> f32 {
    (a.at[0] - b.at[0]).hypot(a.at[1] - b.at[1])
}

/// How far the edges of two units overlap: not at all where one passes over the other.
fn overlap(a: &Recruit, b: &Recruit, profile: Profile) -> f32 {
    let (of_a, of_b) = (a.kind.stats(profile), b.kind.stats(profile));
    if layer(of_a) == layer(of_b) { (of_a.radius + of_b.radius - distance(a, b)).max(0.0) } else { 0.0 }
}

//! SMACv2: teams and positions drawn for every episode.
//!
//! B. Ellis et al., "SMACv2: An Improved Benchmark for Cooperative Multi-Agent Reinforcement Learning", NeurIPS 2023.

use motley_core::Stream;

use super::ground::{Layout, SIZE, Terrain};
use super::maps::{Lineup, Map, Plan};
use super::units::{Kind, Race};
use super::world::Recruit;

/// What a team is drawn from, and how large the sides are.
#[derive(Debug, Clone, PartialEq)]
pub struct Roster {
    /// Kinds in the order of their type bits.
    pub kinds: [Kind; 3],
    /// Their probabilities.
    pub weights: [f64; 3],
    /// Kinds that never make up a whole team.
    pub helpers: &'static [Kind],
    /// Units of the team.
    pub allies: usize,
    /// Units of the other side.
    pub foes: usize,
}

const SIZES: [(usize, usize); 5] = [(5, 5), (10, 10), (10, 11), (20, 20), (20, 23)];
/// Steps of an episode.
const LIMIT: usize = 200;

/// The fifteen maps, `terran_5_vs_5` and so on.
pub fn all() -> Vec<Map> {
    let mut maps = Vec::new();
    for race in [Race::Terran, Race::Protoss, Race::Zerg] {
        let (name, kinds, weights, helpers): (_, _, _, &'static [Kind]) = match race {
            Race::Terran => ("terran", [Kind::Marine, Kind::Marauder, Kind::Medivac], [0.45, 0.45, 0.1], &[Kind::Medivac]),
            Race::Protoss => ("protoss", [Kind::Stalker, Kind::Zealot, Kind::Colossus], [0.45, 0.45, 0.1], &[]),
            Race::Zerg => ("zerg", [Kind::Zergling, Kind::Hydralisk, Kind::Baneling], [0.45, 0.45, 0.1], &[Kind::Baneling]),
        };
        for (allies, foes) in SIZES {
            maps.push(Map {
                name: format!("{name}_{allies}_vs_{foes}"),
                // The order of agents and of what they observe changed once, and how colossi, zerglings and banelings fight.
                version: if race == Race::Terran { 2 } else { 3 },
                lineup: Lineup::Drawn(Roster { kinds, weights, helpers, allies, foes }),
                plan: Plan::Hunt,
                terrain: Terrain::Known(Layout::Open),
                limit: LIMIT,
                types: [kinds.to_vec(), kinds.to_vec()],
                foes_first: false,
                bursts: false,
            });
        }
    }
    maps
}

impl Roster {
    fn kind(&self, stream: &mut Stream) -> Kind {
        let draw = stream.uniform();
        if draw < self.weights[0] {
            self.kinds[0]
        } else if draw < self.weights[0] + self.weights[1] {
            self.kinds[1]
        } else {
            self.kinds[2]
        }
    }

    /// A team that has somebody besides helpers.
    fn team(&self, n: usize, stream: &mut Stream, out: &mut Vec<Kind>) {
        let start = out.len();
        loop {
            out.truncate(start);
            for _ in 0..n {
                let kind = self.kind(stream);
                out.push(kind);
            }
            if n == 0 || out[start..].iter().any(|kind| !self.helpers.contains(kind)) {
                break;
            }
        }
        stream.shuffle(&mut out[start..]);
    }

    /// Draws both sides: the foes copy the team and have the extra units besides.
    pub fn draw(&self, stream: &mut Stream, allies: &mut Vec<Recruit>, foes: &mut Vec<Recruit>) {
        let mut kinds = Vec::with_capacity(self.foes);
        self.team(self.allies, stream, &mut kinds);
        let extra = self.foes.saturating_sub(self.allies);
        self.team(extra, stream, &mut kinds);
        allies.clear();
        foes.clear();
        allies.extend(kinds[..self.allies].iter().map(|&kind| Recruit { kind, at: [0.0; 2] }));
        foes.extend(kinds[..self.foes].iter().map(|&kind| Recruit { kind, at: [0.0; 2] }));
        if stream.bernoulli(0.5) { reflect(stream, allies, foes) } else { surround(stream, allies, foes) }
    }
}

/// Allies anywhere in the west, foes mirrored in the east.
fn reflect(stream: &mut Stream, allies: &mut [Recruit], foes: &mut [Recruit]) {
    let side = SIZE as f64;
    for unit in allies.iter_mut() {
        unit.at = [stream.range(0.0, side / 2.0 - 1.0) as f32, stream.range(0.0, side) as f32];
    }
    for (i, unit) in foes.iter_mut().enumerate() {
        unit.at = match allies.get(i) {
            Some(ally) => [SIZE as f32 - ally.at[0], ally.at[1]],
            None => [stream.range(side / 2.0, side) as f32, stream.range(0.0, side) as f32],
        };
    }
}

/// Allies in the middle, foes in one to four groups on the diagonals.
fn surround(stream: &mut Stream, allies: &mut [Recruit], foes: &mut [Recruit]) {
    let middle = SIZE as f64 / 2.0;
    allies.iter_mut().for_each(|unit| unit.at = [middle as f32; 2]);
    let mut corners = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]];
    stream.shuffle(&mut corners);
    let groups = stream.below(4) as usize + 1;
    let mut spots = [[0.0; 2]; 4];
    for (spot, corner) in spots.iter_mut().zip(corners) {
        let t = stream.uniform();
        *spot = corner.map(|c: f64| (t * (middle + 2.0 * c) + (1.0 - t) * (middle + middle * c)) as f32);
    }
    for unit in foes {
        unit.at = spots[stream.below(groups as u32) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::Purpose;

    #[test]
    fn teams_follow_their_weights_and_have_fighters() {
        let mut stream = Stream::new(0, Purpose::Check, 0, 0);
        let (mut allies, mut foes) = (Vec::new(), Vec::new());
        let mut counts = [0.0; 3];
        let map = all().into_iter().find(|m| m.name == "terran_10_vs_11").unwrap();
        let Lineup::Drawn(roster) = map.lineup else { panic!("fixed") };
        let (mut mirrored, draws) = (0, 2000);
        for _ in 0..draws {
            roster.draw(&mut stream, &mut allies, &mut foes);
            assert_eq!((allies.len(), foes.len()), (10, 11));
            assert!(allies.iter().any(|u| u.kind != Kind::Medivac));
            assert!(allies.iter().zip(&foes).all(|(a, f)| a.kind == f.kind), "the foes copy the team");
            for unit in &allies {
                counts[roster.kinds.iter().position(|k| *k == unit.kind).unwrap()] += 0.1 / f64::from(draws);
            }
            assert!(allies.iter().chain(&foes).all(|u| u.at.iter().all(|x| (0.0..=32.0).contains(x))));
            mirrored += i32::from(allies[0].at != allies[1].at);
        }
        for (count, weight) in counts.iter().zip([0.45, 0.45, 0.1]) {
            assert!((count - weight).abs() < 0.02, "{counts:?}");
        }
        assert!((mirrored - draws / 2).abs() < 100, "{mirrored} of {draws}");
    }
}

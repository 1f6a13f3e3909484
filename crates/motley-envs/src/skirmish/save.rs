//! Snapshots of a battle as bytes: the start of each unit is implied by its kind, everything that changes is written.

use motley_core::rng::StreamState;
use motley_core::{Phase, Stream};

use super::contract::Course;
use super::hidden::Hidden;
use super::units::Kind;
use super::world::{NOBODY, Order, World};
use crate::bytes::take;

const KINDS: [Kind; 10] = [
    Kind::Marine,
    Kind::Marauder,
    Kind::Medivac,
    Kind::Stalker,
    Kind::Zealot,
    Kind::Colossus,
    Kind::Zergling,
    Kind::Hydralisk,
    Kind::Baneling,
    Kind::SpineCrawler,
];

/// Everything that a battle needs to go on.
pub(super) fn save(world: &World, course: &Course) -> Vec<u8> {
    let mut out = vec![course.phase as u8, u8::from(course.won)];
    let mut long = |x: u64| out.extend(x.to_le_bytes());
    let state = world.stream.state();
    [state.key, state.pos, course.steps as u64, u64::from(world.clock), world.len() as u64].into_iter().for_each(&mut long);
    for u in 0..world.len() {
        out.push(world.stats[u].kind as u8);
        for x in [world.x[u], world.y[u]] {
            out.extend(x.to_le_bytes());
        }
        let [vx, vy] = [world.vx[u], world.vy[u]];
        let [hp, shield, energy, pool] = [world.hp[u], world.shield[u], world.energy[u], world.pool[u]];
        for x in [vx, vy, hp, shield, energy, world.cooldown[u], world.calm[u], pool, world.windup[u]] {
            out.extend(x.to_le_bytes());
        }
        let (tag, [a, b]) = match world.order[u] {
            Order::Stop => (0, [0.0; 2]),
            Order::Move(to) => (1, to),
            Order::Unit(t) => (2, [f32::from(t), 0.0]),
            Order::March(to) => (3, to),
            Order::Guard => (4, [0.0; 2]),
            Order::Hunt => (5, [0.0; 2]),
            Order::Burst => (6, [0.0; 2]),
        };
        out.push(tag);
        out.extend(a.to_le_bytes());
        out.extend(b.to_le_bytes());
        out.extend(world.target[u].to_le_bytes());
        out.push(world.hits_left[u]);
        out.push(u8::from(world.moves[u]) + 2 * u8::from(world.reaches[u]));
    }
    for (last, look) in course.last.iter().zip(&course.looks) {
        out.extend(last.map_or(u16::MAX, |a| a as u16).to_le_bytes());
        out.push(*look);
    }
    if let Some(hidden) = &course.hidden {
        let state = hidden.stream.state();
        out.extend([state.key, state.pos].into_iter().flat_map(u64::to_le_bytes));
        for (finder, found) in hidden.finder.iter().zip(&hidden.found) {
            out.extend(finder.unwrap_or(u16::MAX).to_le_bytes());
            out.extend(found.to_le_bytes());
        }
        out.extend(hidden.open.iter().map(|bit| u8::from(*bit)));
    }
    out
}

fn long(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

fn float(bytes: &mut &[u8]) -> Option<f32> {
    take(bytes).map(f32::from_le_bytes).filter(|x| x.is_finite())
}

fn double(bytes: &mut &[u8]) -> Option<f64> {
    take(bytes).map(f64::from_le_bytes).filter(|x| x.is_finite())
}

/// Unit `u` as it was saved.
fn unit(rest: &mut &[u8], world: &mut World, u: usize) -> Option<()> {
    let [kind] = take::<1>(rest)?;
    let stats = KINDS.get(usize::from(kind))?.stats(world.profile);
    world.stats[u] = stats;
    (world.radius[u], world.separation[u]) = (stats.radius, stats.separation());
    for list in [&mut world.x, &mut world.y] {
        list[u] = float(rest)?;
    }
    for list in [
        &mut world.vx,
        &mut world.vy,
        &mut world.hp,
        &mut world.shield,
        &mut world.energy,
        &mut world.cooldown,
        &mut world.calm,
        &mut world.pool,
        &mut world.windup,
    ] {
        list[u] = double(rest)?;
    }
    let [tag] = take::<1>(rest)?;
    let to = [float(rest)?, float(rest)?];
    world.order[u] = match tag {
        0 => Order::Stop,
        1 => Order::Move(to),
        2 if (0.0..world.len() as f32).contains(&to[0]) => Order::Unit(to[0] as u16),
        3 => Order::March(to),
        4 => Order::Guard,
        5 => Order::Hunt,
        6 => Order::Burst,
        _ => return None,
    };
    let target = u16::from_le_bytes(take(rest)?);
    if target != NOBODY && usize::from(target) >= world.len() {
        return None;
    }
    world.target[u] = target;
    [world.hits_left[u]] = take::<1>(rest)?;
    let [flags] = take::<1>(rest)?;
    (world.moves[u], world.reaches[u]) = (flags & 1 == 1, flags & 2 == 2);
    Some(())
}

/// Who found what, as it was saved.
fn sights(rest: &mut &[u8], hidden: &mut Hidden, agents: usize) -> Option<()> {
    hidden.stream = Stream::from_state(StreamState { key: long(rest)?, pos: long(rest)? });
    for (finder, found) in hidden.finder.iter_mut().zip(&mut hidden.found) {
        let agent = u16::from_le_bytes(take(rest)?);
        *finder = (agent != u16::MAX).then_some(agent);
        if finder.is_some_and(|agent| usize::from(agent) >= agents) {
            return None;
        }
        *found = u16::from_le_bytes(take(rest)?);
    }
    for bit in &mut hidden.open {
        *bit = take::<1>(rest)? == [1];
    }
    Some(())
}

/// Brings a snapshot back; `None` where the bytes are none of a battle of this size.
pub(super) fn load(mut bytes: &[u8], world: &mut World, course: &mut Course, actions: usize) -> Option<()> {
    let rest = &mut bytes;
    let phase = Phase::from_byte(take::<1>(rest)?[0])?;
    let won = take::<1>(rest)? == [1];
    let (key, pos) = (long(rest)?, long(rest)?);
    let steps = usize::try_from(long(rest)?).ok()?;
    let clock = u32::try_from(long(rest)?).ok()?;
    if long(rest)? != world.len() as u64 {
        return None;
    }
    for u in 0..world.len() {
        unit(rest, world, u)?;
    }
    for (last, look) in course.last.iter_mut().zip(&mut course.looks) {
        let action = u16::from_le_bytes(take(rest)?);
        *last = (action != u16::MAX).then_some(usize::from(action));
        if last.is_some_and(|a| a >= actions) {
            return None;
        }
        [*look] = take::<1>(rest)?;
    }
    if let Some(hidden) = &mut course.hidden {
        sights(rest, hidden, course.looks.len())?;
    }
    if !rest.is_empty() {
        return None;
    }
    world.stream = Stream::from_state(StreamState { key, pos });
    world.clock = clock;
    (course.phase, course.won, course.steps) = (phase, won, steps);
    Some(())
}

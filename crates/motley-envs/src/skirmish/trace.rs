//! Comparison of profile `smaclite` with recorded runs of SMAClite, tick by tick.
//!
//! Before every tick the recorded state is put in; after it positions may differ by 1e-5, health and targets not at all.

use std::fmt;

use motley_core::{Actions, ConfigError, Env, FrameBuf, Origin, Purpose, Settings, Stream, TaskOptions};

use super::Skirmish;
use super::maps::{Lineup, Map, Plan, find, place};
use super::units::Profile;
use super::world::{NOBODY, Order, Side, TICKS, World};
use crate::npz::{Array, Npz};
use crate::trace::{TraceLine, TraceReport};

/// Most that a position may differ.
const NEAR: f64 = 1e-5;
/// Columns of a recorded unit.
const COLUMNS: usize = 13;

/// One tick of one unit that came out differently.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Episode of the file.
    pub episode: usize,
    /// Tick, counted from 1.
    pub tick: usize,
    /// Unit number.
    pub unit: usize,
    /// What differs: ours, the record's.
    pub what: String,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Ticks compared.
    pub ticks: usize,
    /// Ticks after which every unit was as recorded.
    pub equal: usize,
    /// Every unit that was not.
    pub differences: Vec<Difference>,
}

impl Report {
    /// The part of the ticks that came out equal.
    pub fn share(&self) -> f64 {
        self.equal as f64 / self.ticks.max(1) as f64
    }
}

/// The part of the ticks that may come out otherwise before `motley check --trace` calls it a failure.
const UNLIKE: f64 = 0.01;

/// What `motley check skirmish/MAP --trace FILE` shows: the parts of ticks and of moments that were not as recorded.
///
/// # Errors
/// As [`compare`].
pub fn check_trace(name: &str, _options: &TaskOptions, file: &Npz) -> Result<TraceReport, ConfigError> {
    let map = name.strip_prefix("skirmish/").unwrap_or(name);
    let (ticks, seen) = (compare(map, file)?, compare_seen(map, file)?);
    let line = |what: &str, report: &Report, allowed| {
        let mut line = TraceLine::new(what, allowed);
        line.note(1.0 - report.share(), || report.differences.first().map_or_else(String::new, |d| d.to_string()));
        line
    };
    Ok(TraceReport {
        steps: ticks.ticks,
        lines: vec![
            line("part of the ticks that came out otherwise", &ticks, Some(UNLIKE)),
            line("part of the moments that agents see or are paid for otherwise", &seen, Some(UNLIKE)),
        ],
    })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "episode {}, tick {}, unit {}: {}", self.episode, self.tick, self.unit, self.what)
    }
}

/// Puts a recorded row into the world.
fn inject(world: &mut World, row: &[f64]) {
    for (u, unit) in row.chunks_exact(COLUMNS).enumerate() {
        (world.x[u], world.y[u]) = (unit[3] as f32, unit[4] as f32);
        (world.vx[u], world.vy[u]) = (unit[5], unit[6]);
        (world.hp[u], world.shield[u], world.energy[u]) = (unit[7].max(0.0), unit[8], unit[9]);
        (world.cooldown[u], world.calm[u]) = (unit[10], unit[11]);
        world.target[u] = if unit[12] < 0.0 { NOBODY } else { unit[12] as u16 };
    }
}

/// What of a unit differs after a tick.
fn difference(world: &World, u: usize, unit: &[f64]) -> Option<String> {
    let alive = unit[7] > 0.0;
    if !alive && !world.alive(u) {
        return None;
    }
    if (f64::from(world.x[u]) - unit[3]).abs() > NEAR || (f64::from(world.y[u]) - unit[4]).abs() > NEAR {
        return Some(format!(
            "position ({:.5}, {:.5}), recorded ({:.5}, {:.5}); wants to move: {}",
            world.x[u], world.y[u], unit[3], unit[4], world.moves[u]
        ));
    }
    for (name, ours, theirs) in [
        ("health", world.hp[u], unit[7].max(0.0)),
        ("shield", world.shield[u], unit[8]),
        ("energy", world.energy[u], unit[9]),
        ("cooldown", world.cooldown[u], unit[10]),
    ] {
        if (ours - theirs).abs() > 1e-9 {
            return Some(format!("{name} {ours}, recorded {theirs}"));
        }
    }
    let ours = if world.target[u] == NOBODY { -1.0 } else { f64::from(world.target[u]) };
    (alive && ours != unit[12]).then(|| format!("target {ours}, recorded {}", unit[12]))
}

/// The order that an action is.
pub(super) fn order(action: usize, at: [f32; 2], first_foe: usize, first_ally: usize, heals: bool) -> Order {
    match action {
        0 | 1 => Order::Stop,
        2 => Order::Move([at[0], at[1] + 2.0]),
        3 => Order::Move([at[0], at[1] - 2.0]),
        4 => Order::Move([at[0] + 2.0, at[1]]),
        5 => Order::Move([at[0] - 2.0, at[1]]),
        slot => Order::Unit((slot - 6 + if heals { first_ally } else { first_foe }) as u16),
    }
}

/// A world drawn up as the map says.
fn world(map: &Map) -> Result<World, ConfigError> {
    let Lineup::Fixed { allies, foes } = &map.lineup else {
        return Err(ConfigError::Invalid(format!("skirmish/{}: its units are drawn, no trace can be of it", map.name)));
    };
    let stream = Stream::new(0, Purpose::Check, 0, 0);
    let mut world = World::new(Profile::Smaclite, map.ground(Profile::Smaclite), stream.clone());
    let allies_at = allies[0].at;
    let (allies, foes) = (place(allies, Profile::Smaclite, false), place(foes, Profile::Smaclite, true));
    world.muster(&allies, &foes, map.foes_first, stream);
    let plan = match map.plan {
        Plan::March(to) => Order::March(to),
        Plan::Between(a, b) => Order::March([(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0]),
        Plan::Guard => Order::Guard,
        Plan::Hunt => Order::March(allies_at),
    };
    for u in world.sides[Side::Foe as usize].clone() {
        world.order[u] = plan;
    }
    Ok(world)
}

fn unknown(name: &str) -> ConfigError {
    ConfigError::Invalid(format!("there is no map skirmish/{name}"))
}

/// Compares a recorded file with the map of that name (without the suite).
///
/// # Errors
/// An unknown map, or a file that is no trace of it.
pub fn compare(name: &str, file: &Npz) -> Result<Report, ConfigError> {
    let map = find(name).ok_or_else(|| unknown(name))?;
    let mut report = Report::default();
    for episode in 0.. {
        let key = |what: &str| format!("ep{episode}_{what}");
        if !file.names().any(|n| n == key("ticks")) {
            break;
        }
        let (ticks, actions) = (file.get(&key("ticks"))?, file.get(&key("actions"))?);
        let mut world = world(&map)?;
        if ticks.shape.get(1..) != Some(&[world.len(), COLUMNS]) {
            return Err(ConfigError::Invalid(format!(
                "{name}: the trace has units {:?}, expected [{}, {COLUMNS}]",
                ticks.shape.get(1..),
                world.len()
            )));
        }
        compare_episode(&mut world, episode, ticks, actions, &mut report);
    }
    Ok(report)
}

/// Compares what agents see (observations, masks, state) at every recorded step, and the rewards of steps played from there.
///
/// # Errors
/// As [`compare`].
pub fn compare_seen(name: &str, file: &Npz) -> Result<Report, ConfigError> {
    let task = find(name).ok_or_else(|| unknown(name))?;
    let mut report = Report::default();
    let mut last = None;
    for episode in 0.. {
        let key = |what: &str| format!("ep{episode}_{what}");
        if !file.names().any(|n| n == key("ticks")) {
            break;
        }
        let mut env = Skirmish::new(&task, &smaclite_options(&task)?)?;
        let mut buf = FrameBuf::new(env.spec());
        let failed = |e: motley_core::EnvError| ConfigError::Invalid(format!("{name}: {e}"));
        env.reset(Stream::new(0, Purpose::Check, 0, 0), &mut buf.frame()).map_err(failed)?;
        // SMAClite's first state still shows what agents did last in the episode before.
        if let Some(last) = last.take() {
            env.contract.course.last = last;
        }
        let ticks = file.get(&key("ticks"))?;
        let actions = file.get(&key("actions"))?;
        let (obs, avail, state) = (file.get(&key("obs"))?, file.get(&key("avail"))?, file.get(&key("state"))?);
        let rewards = file.get(&key("reward"))?;
        let mut chosen = vec![0.0; env.spec().action_len()];
        for step in 0..actions.shape[0] {
            inject(&mut env.world, ticks.row(step * TICKS));
            env.write(&mut buf.frame());
            let mut differs = |what: &str, detail: String| {
                report.differences.push(Difference { episode, tick: step * TICKS, unit: 0, what: format!("{what}: {detail}") });
            };
            let mut same = true;
            for (what, ours, theirs) in [("observation", &buf.obs, obs.row(step)), ("state", &buf.state, state.row(step))] {
                let far = |(_, (a, b)): &(usize, (&f32, &f64))| (f64::from(**a) - **b).abs() > NEAR;
                if let Some((k, (a, b))) = ours.iter().zip(theirs).enumerate().find(far) {
                    same = false;
                    differs(what, format!("entry {k} is {a}, recorded {b}"));
                }
            }
            if let Some(k) = (0..buf.avail.len()).find(|&k| buf.avail[k] != (avail.row(step)[k] > 0.0)) {
                same = false;
                differs("mask", format!("entry {k} is {}, recorded {}", buf.avail[k], avail.row(step)[k]));
            }
            chosen.iter_mut().zip(actions.row(step)).for_each(|(a, &r)| *a = r as f32);
            let spec = env.spec().clone();
            match env.step(Actions::new(&spec, &chosen), &mut buf.frame()) {
                Ok(_) if (buf.rewards[0] - rewards.values[step]).abs() > NEAR => {
                    same = false;
                    differs("reward", format!("{}, recorded {}", buf.rewards[0], rewards.values[step]));
                }
                Ok(_) => {}
                Err(e) => {
                    same = false;
                    differs("step", e.to_string());
                }
            }
            report.ticks += 1;
            report.equal += usize::from(same);
        }
        last = Some(chosen.iter().map(|&a| Some(a as usize)).collect());
    }
    Ok(report)
}

fn smaclite_options(map: &Map) -> Result<motley_core::TaskOptions, ConfigError> {
    let mut all = Settings::new(super::options::keys_of(map));
    all.set_text("task.profile=smaclite", Origin::CommandLine)?;
    Ok(all.section("task"))
}

fn compare_episode(world: &mut World, episode: usize, ticks: &Array, actions: &Array, report: &mut Report) {
    let (ally, foe) = (world.sides[0].clone(), world.sides[1].start);
    for tick in 1..ticks.shape[0] {
        inject(world, ticks.row(tick - 1));
        if (tick - 1) % TICKS == 0 {
            let row = actions.row((tick - 1) / TICKS);
            for (u, &action) in ally.clone().zip(row).filter(|(u, _)| world.hp[*u] > 0.0) {
                let at = [world.x[u], world.y[u]];
                world.order[u] = order(action as usize, at, foe, ally.start, world.stats[u].heals());
            }
        }
        world.tick();
        let row = ticks.row(tick);
        let before = report.differences.len();
        for (unit, recorded) in row.chunks_exact(COLUMNS).enumerate() {
            if let Some(what) = difference(world, unit, recorded) {
                report.differences.push(Difference { episode, tick, unit, what });
            }
        }
        report.ticks += 1;
        report.equal += usize::from(report.differences.len() == before);
    }
}

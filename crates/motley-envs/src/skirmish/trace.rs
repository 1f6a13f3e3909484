//! Comparison of profile `smaclite` with recorded runs of SMAClite, tick by tick.
//!
//! Before every tick the recorded state is put in; after it positions may differ by 1e-5, health and targets not at all.

use std::fmt;

use motley_core::{Actions, ConfigError, Env, FrameBuf, Origin, Purpose, Settings, Status, Stream, TaskOptions};

use super::Skirmish;
use super::maps::{Lineup, Map, Plan, find, place};
use super::recorded::{COLUMNS, Recorded, episodes};
use super::units::Profile;
use super::world::{NOBODY, Order, Side, TICKS, World};
use crate::npz::Npz;
use crate::trace::{TraceLine, TraceReport};

/// Most that a position may differ.
const NEAR: f64 = 1e-5;

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
    /// Ticks compared; of what agents see, moments: the start of an episode and the end of each of its steps.
    pub ticks: usize,
    /// Those after which everything was as recorded.
    pub equal: usize,
    /// Everything that was not.
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
/// As [`compare`], and settings that a trace cannot be of.
pub fn check_trace(name: &str, options: &TaskOptions, file: &Npz) -> Result<TraceReport, ConfigError> {
    let map = name.strip_prefix("skirmish/").unwrap_or(name);
    for (key, value, origin) in options.iter() {
        let smaclite = key.name == "profile" && value.as_str() == Some("smaclite");
        if *origin != Origin::Default && !smaclite {
            return Err(ConfigError::Invalid(format!(
                "task.{}={value}: a trace of {name} is one of SMAClite, which is played with task.profile=smaclite and all other \
                 settings as they are; leave it out",
                key.name
            )));
        }
    }
    let (ticks, seen) = (compare(map, file)?, compare_seen(map, file)?);
    let line = |what: &str, report: &Report, allowed| {
        let mut line = TraceLine::new(what, allowed);
        line.note(1.0 - report.share(), || report.differences.first().map_or_else(String::new, |d| d.to_string()));
        line
    };
    Ok(TraceReport {
        steps: ticks.ticks / TICKS,
        lines: vec![
            line("part of the ticks that came out otherwise", &ticks, Some(UNLIKE)),
            line("part of the moments that agents see, are paid for or end otherwise", &seen, Some(UNLIKE)),
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
pub(super) fn world(map: &Map) -> Result<World, ConfigError> {
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

/// The map of that name as SMAClite plays it.
fn battle(name: &str) -> Result<(Map, Skirmish), ConfigError> {
    let map = find(name).ok_or_else(|| ConfigError::Invalid(format!("there is no map skirmish/{name}")))?;
    let mut all = Settings::new(super::options::keys_of(&map));
    all.set_text("task.profile=smaclite", Origin::CommandLine)?;
    let env = Skirmish::new(&map, &all.section("task"))?;
    Ok((map, env))
}

/// Compares a recorded file with the map of that name (without the suite).
///
/// # Errors
/// An unknown map, or a file that is no trace of it.
pub fn compare(name: &str, file: &Npz) -> Result<Report, ConfigError> {
    let (map, env) = battle(name)?;
    let mut report = Report::default();
    for (episode, recorded) in episodes(name, file, &env.world, env.spec())?.iter().enumerate() {
        compare_episode(&mut world(&map)?, episode, recorded, &mut report);
    }
    Ok(report)
}

fn compare_episode(world: &mut World, episode: usize, recorded: &Recorded<'_>, report: &mut Report) {
    let (ally, foe) = (world.sides[0].clone(), world.sides[1].start);
    for tick in 1..=recorded.steps * TICKS {
        inject(world, recorded.ticks.row(tick - 1));
        if (tick - 1) % TICKS == 0 {
            let row = recorded.actions.row((tick - 1) / TICKS);
            for (u, &action) in ally.clone().zip(row).filter(|(u, _)| world.hp[*u] > 0.0) {
                let at = [world.x[u], world.y[u]];
                world.order[u] = order(action as usize, at, foe, ally.start, world.stats[u].heals());
            }
        }
        world.tick();
        let before = report.differences.len();
        for (unit, row) in recorded.ticks.row(tick).chunks_exact(COLUMNS).enumerate() {
            if let Some(what) = difference(world, unit, row) {
                report.differences.push(Difference { episode, tick, unit, what });
            }
        }
        report.ticks += 1;
        report.equal += usize::from(report.differences.len() == before);
    }
}

/// Compares what agents see (observations, masks, state) at the start and after every recorded step, and of the steps played from
/// there the rewards, whether the episode was over, and who won.
///
/// # Errors
/// As [`compare`].
pub fn compare_seen(name: &str, file: &Npz) -> Result<Report, ConfigError> {
    let (_, mut env) = battle(name)?;
    let mut buf = FrameBuf::new(env.spec());
    let mut report = Report::default();
    let mut last: Option<Vec<Option<usize>>> = None;
    for (episode, recorded) in episodes(name, file, &env.world, env.spec())?.iter().enumerate() {
        let failed = |e: motley_core::EnvError| ConfigError::Invalid(format!("{name}: {e}"));
        env.reset(Stream::new(0, Purpose::Check, 0, 0), &mut buf.frame()).map_err(failed)?;
        // SMAClite's first state still shows what agents did last in the episode before.
        if let Some(last) = last.take() {
            env.contract.course.last = last;
        }
        for step in 0..=recorded.steps {
            inject(&mut env.world, recorded.ticks.row(step * TICKS));
            env.write(&mut buf.frame());
            let mut found = unlike_seen(&buf, recorded, step);
            if step < recorded.steps {
                found.extend(unlike_played(&mut env, &mut buf, recorded, step));
            }
            report.ticks += 1;
            report.equal += usize::from(found.is_empty());
            let difference = |what| Difference { episode, tick: step * TICKS, unit: 0, what };
            report.differences.extend(found.into_iter().map(difference));
        }
        last = Some(env.contract.course.last.clone());
    }
    Ok(report)
}

/// What of observations, state and masks is not as recorded at the start of a step, or after the last one.
fn unlike_seen(buf: &FrameBuf, recorded: &Recorded<'_>, step: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (what, ours, theirs) in
        [("observation", &buf.obs, recorded.obs.row(step)), ("state", &buf.state, recorded.state.row(step))]
    {
        let far = |(_, (a, b)): &(usize, (&f32, &f64))| (f64::from(**a) - **b).abs() > NEAR;
        if let Some((k, (a, b))) = ours.iter().zip(theirs).enumerate().find(far) {
            found.push(format!("{what}: entry {k} is {a}, recorded {b}"));
        }
    }
    let mask = recorded.avail.row(step);
    if let Some(k) = (0..buf.avail.len()).find(|&k| buf.avail[k] != (mask[k] > 0.0)) {
        found.push(format!("mask: entry {k} is {}, recorded {}", buf.avail[k], mask[k]));
    }
    found
}

/// Plays a step; what of its reward and of its end is not as recorded.
fn unlike_played(env: &mut Skirmish, buf: &mut FrameBuf, recorded: &Recorded<'_>, step: usize) -> Vec<String> {
    let spec = env.spec().clone();
    let chosen: Vec<f32> = recorded.actions.row(step).iter().map(|&a| a as f32).collect();
    let status = match env.step(Actions::new(&spec, &chosen), &mut buf.frame()) {
        Ok(status) => status,
        Err(e) => return vec![format!("step: {e}")],
    };
    let mut found = Vec::new();
    let (paid, done) = (recorded.rewards.values[step], recorded.done.values[step] > 0.0);
    if (buf.rewards[0] - paid).abs() > NEAR {
        found.push(format!("reward: {}, recorded {paid}", buf.rewards[0]));
    }
    let over = status == Status::Terminated;
    if over != done {
        found.push(format!("end: over is {over}, recorded {done}"));
    }
    let won = env.won().unwrap_or(false);
    if step + 1 == recorded.steps && won != recorded.won {
        found.push(format!("end: won is {won}, recorded {}", recorded.won));
    }
    found
}

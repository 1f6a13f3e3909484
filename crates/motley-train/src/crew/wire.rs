//! What goes between a learner and its workers: states as checkpoints have them, each with a stamp that says its format, the
//! version of Motley, which environments it is about and at which step they stand.

use std::ops::Range;

use motley_core::{EnvError, FrameBuf, Status, TeamSpec};
use motley_data::rollout::{EpisodeEnd, Lane};
use motley_nn::policy::ActingGroup;
use motley_nn::{Explore, TeamPolicy};
use motley_run::{CheckpointError, StateReader, StateWriter};

/// The format of everything here; another one is refused.
const FORMAT: u64 = 2;

/// Whose message it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The environments.
    pub(super) envs: Range<usize>,
    /// Steps that each of them took since the run began.
    pub(super) steps: u64,
}

impl Stamp {
    /// Begins a message.
    pub(super) fn writer(&self) -> StateWriter {
        let mut w = StateWriter::new();
        w.put_u64("format", &[FORMAT]);
        w.put_text("motley", env!("CARGO_PKG_VERSION"));
        w.put_u64("stamp", &[self.envs.start as u64, self.envs.end as u64, self.steps]);
        w
    }

    /// Reads the stamp of a message, whatever environments it is about.
    ///
    /// # Errors
    /// Bytes that are no message, or one of another version of Motley.
    pub(super) fn open(bytes: Vec<u8>) -> Result<(Self, StateReader), CheckpointError> {
        let r = StateReader::from_bytes(bytes)?;
        let (format, version) = (r.u64("format")?, r.text("motley")?);
        if format != FORMAT || version != env!("CARGO_PKG_VERSION") {
            let expected = format!("Motley {} (format {FORMAT}): install one version on all nodes", env!("CARGO_PKG_VERSION"));
            return Err(r.wrong("motley", expected, format!("{version} (format {format})")));
        }
        let mut stamp = [0; 3];
        r.u64s_into("stamp", &mut stamp)?;
        Ok((Self { envs: stamp[0] as usize..stamp[1] as usize, steps: stamp[2] }, r))
    }

    /// Reads a message that must have this stamp.
    ///
    /// # Errors
    /// As [`Stamp::open`], and a message about other environments or another step.
    pub(super) fn expect(&self, bytes: Vec<u8>) -> Result<StateReader, CheckpointError> {
        let (found, r) = Self::open(bytes)?;
        if found == *self { Ok(r) } else { Err(r.wrong("stamp", self.told(), found.told())) }
    }

    fn told(&self) -> String {
        format!("environments {} to {} at step {}", self.envs.start, self.envs.end, self.steps)
    }
}

/// What a worker needs to act as the learner's present policy does: of each group its parameters, constants and exploration.
pub(super) fn put_policy(policy: &TeamPolicy, w: &mut StateWriter) {
    for (g, group) in policy.groups().iter().enumerate() {
        let mut w = w.scope(&g.to_string());
        w.put_f32("params", group.net.params());
        w.put_f32("constants", &group.constants);
        let (code, amount) = match group.explore {
            Explore::Draw => (0, 0.0),
            Explore::Epsilon(epsilon) => (1, epsilon),
            Explore::Noise(deviation) => (2, deviation),
            Explore::Uniform => (3, 0.0),
        };
        w.put_u8("explore", &[code]);
        w.put_f32("explore_amount", &[amount]);
    }
}

/// Takes over what [`put_policy`] wrote.
///
/// # Errors
/// Groups of other sizes.
pub(super) fn get_policy(r: &StateReader, groups: &mut [ActingGroup]) -> Result<(), CheckpointError> {
    for (g, group) in groups.iter_mut().enumerate() {
        let r = r.scope(&g.to_string());
        let mut params = vec![0.0; group.net.params().len()];
        r.f32s_into("params", &mut params)?;
        r.f32s_into("constants", &mut group.constants)?;
        let (mut code, mut amount) = ([0], [0.0]);
        r.u8s_into("explore", &mut code)?;
        r.f32s_into("explore_amount", &mut amount)?;
        group.explore = match code {
            [0] => Explore::Draw,
            [1] => Explore::Epsilon(amount[0]),
            [2] => Explore::Noise(amount[0]),
            [3] => Explore::Uniform,
            other => return Err(r.wrong("explore", "0 to 3", other[0])),
        };
        group.net.set_params(|p| p.copy_from_slice(&params));
    }
    Ok(())
}

/// One array of all lanes, one after another.
fn joined<T: Copy>(lanes: &[Lane], part: impl Fn(&Lane) -> &[T]) -> Vec<T> {
    lanes.iter().map(part).collect::<Vec<_>>().concat()
}

fn bytes(flags: &[bool]) -> Vec<u8> {
    flags.iter().map(|f| u8::from(*f)).collect()
}

fn code(status: Status) -> u8 {
    match status {
        Status::Running => 0,
        Status::Terminated => 1,
        Status::Truncated => 2,
    }
}

/// Writes what was collected: each field of all lanes as one array, ends of episodes as counts and arrays.
pub(super) fn put_lanes(lanes: &[Lane], w: &mut StateWriter) {
    w.put_f32("obs", &joined(lanes, |l| &l.obs));
    w.put_f32("state", &joined(lanes, |l| &l.state));
    w.put_u8("avail", &bytes(&joined(lanes, |l| &l.avail)));
    w.put_u8("alive", &bytes(&joined(lanes, |l| &l.alive)));
    w.put_u8("first", &bytes(&joined(lanes, |l| &l.first)));
    w.put_f32("memory", &joined(lanes, |l| &l.memory));
    w.put_f32("actions", &joined(lanes, |l| &l.actions));
    w.put_f32("log_probs", &joined(lanes, |l| &l.log_probs));
    w.put_f64("rewards", &joined(lanes, |l| &l.rewards));
    w.put_u8("status", &joined(lanes, |l| &l.status).into_iter().map(code).collect::<Vec<_>>());
    w.put_u8("valid", &bytes(&joined(lanes, |l| &l.valid)));
    let mut w = w.scope("ends");
    let finals = || lanes.iter().flat_map(|l| &l.finals);
    w.put_u64("finals", &lanes.iter().map(|l| l.finals.len() as u64).collect::<Vec<_>>());
    w.put_u64("time", &finals().map(|f| f.time as u64).collect::<Vec<_>>());
    w.put_f32("obs", &finals().map(|f| f.obs.as_slice()).collect::<Vec<_>>().concat());
    w.put_f32("state", &finals().map(|f| f.state.as_slice()).collect::<Vec<_>>().concat());
    w.put_u8("avail", &bytes(&finals().map(|f| f.avail.as_slice()).collect::<Vec<_>>().concat()));
    w.put_u8("alive", &bytes(&finals().map(|f| f.alive.as_slice()).collect::<Vec<_>>().concat()));
    let episodes = || lanes.iter().flat_map(|l| &l.episodes);
    w.put_u64("episodes", &lanes.iter().map(|l| l.episodes.len() as u64).collect::<Vec<_>>());
    w.put_u64("counts", &episodes().flat_map(|e| [e.time as u64, e.length as u64]).collect::<Vec<_>>());
    w.put_f64("returns", &episodes().flat_map(|e| [e.team_return, e.agent_return]).collect::<Vec<_>>());
    w.put_u8("won", &episodes().map(|e| e.won.map_or(2, u8::from)).collect::<Vec<_>>());
}

/// Reads what [`put_lanes`] wrote into lanes of the same sizes.
///
/// # Errors
/// Arrays of other sizes, codes and times that there are not; the lanes are then not to be learned from.
pub(super) fn get_lanes(r: &StateReader, team: &TeamSpec, steps: usize, lanes: &mut [Lane]) -> Result<(), CheckpointError> {
    f32s(r, "obs", lanes, |l| &mut l.obs)?;
    f32s(r, "state", lanes, |l| &mut l.state)?;
    flags(r, "avail", lanes, |l| &mut l.avail)?;
    flags(r, "alive", lanes, |l| &mut l.alive)?;
    flags(r, "first", lanes, |l| &mut l.first)?;
    f32s(r, "memory", lanes, |l| &mut l.memory)?;
    f32s(r, "actions", lanes, |l| &mut l.actions)?;
    if !lanes.iter().flat_map(|l| l.actions.chunks_exact(team.action_len())).all(|actions| team.choices_exist(actions)) {
        return Err(r.wrong("actions", "choices that the team has", "others"));
    }
    f32s(r, "log_probs", lanes, |l| &mut l.log_probs)?;
    flags(r, "valid", lanes, |l| &mut l.valid)?;
    let mut rewards = vec![0.0; lanes.iter().map(|l| l.rewards.len()).sum()];
    r.f64s_into("rewards", &mut rewards)?;
    spread(&rewards, lanes, |l| &mut l.rewards);
    let mut codes = vec![0; lanes.iter().map(|l| l.status.len()).sum()];
    r.u8s_into("status", &mut codes)?;
    if let Some(odd) = codes.iter().find(|c| **c > 2) {
        return Err(r.wrong("status", "0 to 2", odd));
    }
    let status = |c: &u8| [Status::Running, Status::Terminated, Status::Truncated][usize::from(*c)];
    spread(&codes.iter().map(status).collect::<Vec<_>>(), lanes, |l| &mut l.status);
    lanes.iter_mut().for_each(Lane::clear);
    get_finals(&r.scope("ends"), team, steps, lanes)?;
    get_episodes(&r.scope("ends"), steps, lanes)
}

fn spread<T: Copy>(all: &[T], lanes: &mut [Lane], part: impl Fn(&mut Lane) -> &mut Vec<T>) {
    let mut rest = all;
    for lane in lanes {
        let into = part(lane);
        let (now, later) = rest.split_at(into.len());
        into.copy_from_slice(now);
        rest = later;
    }
}

fn f32s(
    r: &StateReader,
    name: &str,
    lanes: &mut [Lane],
    part: impl Fn(&mut Lane) -> &mut Vec<f32>,
) -> Result<(), CheckpointError> {
    let mut all = vec![0.0; lanes.iter_mut().map(|l| part(l).len()).sum()];
    r.f32s_into(name, &mut all)?;
    spread(&all, lanes, part);
    Ok(())
}

fn flags(
    r: &StateReader,
    name: &str,
    lanes: &mut [Lane],
    part: impl Fn(&mut Lane) -> &mut Vec<bool>,
) -> Result<(), CheckpointError> {
    let mut all = vec![0; lanes.iter_mut().map(|l| part(l).len()).sum()];
    r.u8s_into(name, &mut all)?;
    spread(&all.iter().map(|b| *b != 0).collect::<Vec<_>>(), lanes, part);
    Ok(())
}

/// How many ends each lane has, and their sum.
fn counts(r: &StateReader, name: &str, lanes: usize, steps: usize) -> Result<(Vec<u64>, usize), CheckpointError> {
    let mut each = vec![0; lanes];
    r.u64s_into(name, &mut each)?;
    match each.iter().find(|n| **n > steps as u64) {
        Some(many) => Err(r.wrong(name, format!("at most {steps} ends a lane"), many)),
        None => Ok((each.clone(), each.iter().sum::<u64>() as usize)),
    }
}

fn get_finals(r: &StateReader, team: &TeamSpec, steps: usize, lanes: &mut [Lane]) -> Result<(), CheckpointError> {
    let (each, ends) = counts(r, "finals", lanes.len(), steps)?;
    let (mut times, mut obs) = (vec![0; ends], vec![0.0; ends * team.obs_len()]);
    let (mut state, mut avail) = (vec![0.0; ends * team.state_len()], vec![0; ends * team.mask_len()]);
    let mut alive = vec![0; ends * team.n()];
    r.u64s_into("time", &mut times)?;
    r.f32s_into("obs", &mut obs)?;
    r.f32s_into("state", &mut state)?;
    r.u8s_into("avail", &mut avail)?;
    r.u8s_into("alive", &mut alive)?;
    let mut buf = FrameBuf::new(team);
    let mut k = 0;
    for (lane, count) in lanes.iter_mut().zip(each) {
        for _ in 0..count {
            let (frame, time) = (buf.frame(), times[k] as usize);
            if time >= steps || lane.finals.last().is_some_and(|before| before.time >= time) {
                return Err(r.wrong("time", format!("steps below {steps}, the earlier first"), time));
            }
            frame.obs.copy_from_slice(&obs[k * team.obs_len()..][..team.obs_len()]);
            frame.state.copy_from_slice(&state[k * team.state_len()..][..team.state_len()]);
            frame.avail.iter_mut().zip(&avail[k * team.mask_len()..]).for_each(|(to, from)| *to = *from != 0);
            frame.alive.iter_mut().zip(&alive[k * team.n()..]).for_each(|(to, from)| *to = *from != 0);
            lane.put_final(time, &frame);
            k += 1;
        }
    }
    Ok(())
}

fn get_episodes(r: &StateReader, steps: usize, lanes: &mut [Lane]) -> Result<(), CheckpointError> {
    let (each, ends) = counts(r, "episodes", lanes.len(), steps)?;
    let (mut numbers, mut returns, mut won) = (vec![0; 2 * ends], vec![0.0; 2 * ends], vec![0; ends]);
    r.u64s_into("counts", &mut numbers)?;
    r.f64s_into("returns", &mut returns)?;
    r.u8s_into("won", &mut won)?;
    let mut k = 0;
    for (lane, count) in lanes.iter_mut().zip(each) {
        for _ in 0..count {
            lane.episodes.push(EpisodeEnd {
                time: numbers[2 * k] as usize,
                team_return: returns[2 * k],
                agent_return: returns[2 * k + 1],
                length: numbers[2 * k + 1] as usize,
                won: (won[k] < 2).then_some(won[k] == 1),
            });
            k += 1;
        }
    }
    Ok(())
}

/// Writes how often environments failed, and how.
pub(super) fn put_failures(count: u64, causes: &[(usize, EnvError)], w: &mut StateWriter) {
    w.put_u64("failures", &[count]);
    w.put_u64("failed_envs", &causes.iter().map(|(env, _)| *env as u64).collect::<Vec<_>>());
    for (k, (_, cause)) in causes.iter().enumerate() {
        w.put_text(&format!("failure{k}"), &cause.to_string());
    }
}

/// Reads what [`put_failures`] wrote.
///
/// # Errors
/// Entries that are missing.
pub(super) fn get_failures(r: &StateReader) -> Result<(u64, Vec<(usize, EnvError)>), CheckpointError> {
    let envs = r.u64s("failed_envs")?;
    let cause = |(k, env): (usize, &u64)| Ok((*env as usize, EnvError::Failed(r.text(&format!("failure{k}"))?)));
    Ok((r.u64("failures")?, envs.iter().enumerate().map(cause).collect::<Result<_, CheckpointError>>()?))
}

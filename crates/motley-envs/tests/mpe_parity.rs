//! Episodes recorded from mpe2 1.1.1 (`tests/parity/mpe/gen.py`, which also describes the format) are replayed: from the
//! seed on, states and observations have the same bits, rewards agree to 1e-12.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

use std::path::PathBuf;

use motley_core::{Actions, FrameBuf, Status};
use motley_envs::mpe::{self, RawState, Replay};
use motley_envs::{Registry, registry};
use serde_json::Value;

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_first_chunk::<N>().expect("a file that is not cut short");
        self.0 = rest;
        *first
    }

    fn count(&mut self) -> usize {
        u32::from_le_bytes(self.take()) as usize
    }

    fn wide(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| f64::from_le_bytes(self.take())).collect()
    }

    fn narrow(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| f32::from_le_bytes(self.take())).collect()
    }
}

/// One recorded moment of the agents.
struct Moment {
    pos: Vec<f64>,
    vel: Vec<f64>,
    rewards: Vec<f64>,
    obs: u64,
}

fn moment(bytes: &mut Bytes<'_>, agents: usize) -> Moment {
    let (pos, vel, rewards) = (bytes.wide(2 * agents), bytes.wide(2 * agents), bytes.wide(agents));
    Moment { pos, vel, rewards, obs: u64::from_le_bytes(bytes.take()) }
}

fn fnv(obs: &[f32]) -> u64 {
    let bytes = obs.iter().flat_map(|x| x.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn bits(xs: &[f64]) -> Vec<u64> {
    xs.iter().map(|x| x.to_bits()).collect()
}

fn same(env: &dyn Replay, buf: &FrameBuf, recorded: &Moment, place: &str) {
    let (raw, agents) = (env.raw(), recorded.rewards.len());
    assert_eq!(bits(raw.pos[..agents].as_flattened()), bits(&recorded.pos), "{place}: positions");
    assert_eq!(bits(raw.vel[..agents].as_flattened()), bits(&recorded.vel), "{place}: velocities");
    assert_eq!(fnv(&buf.obs), recorded.obs, "{place}: observations {:?}", buf.obs);
    for (found, expected) in buf.rewards.iter().zip(&recorded.rewards) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{place}: reward {found}, recorded {expected}");
    }
}

fn replay(path: &PathBuf) -> usize {
    let file = std::fs::read(path).unwrap();
    let end = file.iter().position(|b| *b == b'\n').unwrap();
    let header: Value = serde_json::from_slice(&file[..end]).unwrap();
    let size = |name: &str| header[name].as_u64().unwrap() as usize;
    let (bodies, agents) = (size("bodies"), size("agents"));
    let name = header["task"].as_str().unwrap();
    let settings: Vec<&str> = header["settings"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    let task = Registry::builtin().get(name).unwrap();
    let mut env = mpe::open(name, &registry::options(&*task, &settings).unwrap()).unwrap();
    let spec = env.spec().clone();
    assert_eq!((spec.n(), spec.obs_len(), spec.action_len()), (agents, size("obs"), size("actions")), "{name}");
    let mut bytes = Bytes(&file[end + 1..]);
    let mut buf = FrameBuf::new(&spec);
    let mut moments = 0;
    for episode in 0..size("episodes") {
        let (seed, steps) = (bytes.count() as u64, bytes.count());
        env.reset_from(seed, &mut buf.frame());
        let landmarks = bytes.wide(2 * (bodies - agents));
        assert_eq!(bits(env.raw().pos[agents..].as_flattened()), bits(&landmarks), "{name}: landmarks");
        let mut before = moment(&mut bytes, agents);
        same(&*env, &buf, &before, &format!("{name} {settings:?}, episode {episode}, start"));
        for step in 1..=steps {
            let place = format!("{name} {settings:?}, episode {episode}, step {step}");
            let actions = bytes.narrow(size("actions"));
            let after = moment(&mut bytes, agents);
            local_step(name, &settings, &*env, &before, &actions, &after);
            let status = env.step(Actions::new(&spec, &actions), &mut buf.frame()).unwrap();
            same(&*env, &buf, &after, &place);
            assert_eq!(status, if step == steps { Status::Truncated } else { Status::Running }, "{place}");
            before = after;
            moments += 1;
        }
    }
    assert!(bytes.0.is_empty(), "{name}: bytes are left over");
    moments
}

/// The same step in a fresh copy that starts from the recorded state: a first difference is then local to one step.
fn local_step(name: &str, settings: &[&str], env: &dyn Replay, before: &Moment, actions: &[f32], after: &Moment) {
    if name.starts_with("mpe/collect") {
        return; // its steps draw from a generator that was not recorded
    }
    let task = Registry::builtin().get(name).unwrap();
    let mut copy = mpe::open(name, &registry::options(&*task, settings).unwrap()).unwrap();
    let spec = copy.spec().clone();
    let mut raw: RawState = env.raw();
    let agents = before.rewards.len();
    raw.pos[..agents].as_flattened_mut().copy_from_slice(&before.pos);
    raw.vel[..agents].as_flattened_mut().copy_from_slice(&before.vel);
    let mut buf = FrameBuf::new(&spec);
    copy.set_raw(&raw, &mut buf.frame()).unwrap();
    copy.step(Actions::new(&spec, actions), &mut buf.frame()).unwrap();
    same(&*copy, &buf, after, &format!("{name} {settings:?}, one step from a recorded state"));
}

#[test]
fn recorded_episodes_are_reproduced() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mpe");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 24, "twelve scenarios, discrete and continuous");
    let moments: usize = files.iter().map(replay).sum();
    assert_eq!(moments, 24 * 4 * 25);
}

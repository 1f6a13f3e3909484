//! What holds of the robots on the engine, and of the contract of every task.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use motley_core::{Actions, Env, FrameBuf, Origin, Purpose, Settings, Status, Stream};
use motley_envs::check::{Outcome, check};
use motley_mujoco::mamujoco::robots::{ROBOTS, Robot};
use motley_mujoco::mamujoco::{self, RobotEnv};
use mujoco_rs::prelude::MjtObjBase;

fn open(name: &str, settings: &[&str]) -> RobotEnv {
    let task = motley_mujoco::tasks().into_iter().find(|t| t.name() == name).unwrap();
    let mut all = Settings::new(task.keys());
    for setting in settings {
        all.set_text(&format!("task.{setting}"), Origin::CommandLine).unwrap();
    }
    mamujoco::open(name, &all.section("task")).unwrap()
}

fn stream(k: u64) -> Stream {
    Stream::new(7, Purpose::Check, 0, k)
}

#[test]
fn the_engine_is_the_pinned_one() {
    assert_eq!(motley_mujoco::linked().as_deref(), Some(motley_mujoco::MUJOCO));
}

/// Every task keeps the contract of environments, with short episodes; every setting does on one task.
#[test]
fn every_task_keeps_the_contract() {
    let varied: [(&str, &[&str]); 6] = [
        ("mamujoco/Humanoid-9|8", &["obs=full", "actions=concat", "base=v2"]),
        ("mamujoco/Ant-4x2", &["obs=full", "actions=concat", "base=v2"]),
        ("mamujoco/ManySegmentAnt", &["conf=\"1x2\"", "graph=v1", "obsk=3"]),
        ("mamujoco/HalfCheetah", &[r#"partition=[["bfoot"], ["bthigh", "ffoot", "bshin", "fthigh", "fshin"]]"#]),
        ("mamujoco/CoupledHalfCheetah-1p1", &["graph=v1"]),
        ("mamujoco/ManySegmentSwimmer-6x1", &["obs=full", "actions=concat", "base=v2"]),
    ];
    let tasks = motley_mujoco::tasks();
    let plain = tasks.iter().map(|t| (t.name(), Vec::new()));
    let cases = plain.chain(varied.iter().map(|(name, settings)| ((*name).to_owned(), settings.to_vec())));
    let mut counted = 0;
    for (name, settings) in cases {
        let task = tasks.iter().find(|t| t.name() == name).unwrap();
        let mut all = Settings::new(task.keys());
        for setting in settings.iter().chain(&["max_cycles=30"]) {
            all.set_text(&format!("task.{setting}"), Origin::CommandLine).unwrap();
        }
        let options = all.section("task");
        // The original draws nothing at the start of these.
        let fixed = ["hands/lift", "hands/door", "hands/pen"].iter().any(|start| name.starts_with(start));
        for line in check(&|| task.make(&options), 3) {
            let warned = fixed && line.name.starts_with("other streams") && matches!(line.outcome, Outcome::Warned(_));
            assert!(warned || line.outcome == Outcome::Passed, "{name} {settings:?}: {} {:?}", line.name, line.outcome);
        }
        counted += 1;
    }
    assert_eq!(counted, tasks.len() + varied.len());
}

/// The joints of the corrected graphs are those of the model: name, coordinate, velocity and motor.
#[test]
fn corrected_graphs_are_the_models() {
    for robot in ROBOTS {
        let (env, segments) = (open(&format!("mamujoco/{}", robot.name()), &[]), robot.confs()[0]);
        let segments = if robot.is_segmented() { robot.segments(segments).map(|(a, b)| a * b).unwrap() } else { 0 };
        let (model, graph) = (env.model(), robot.graph(segments, false));
        for node in &graph.nodes {
            let joint = model.actuator_trnid()[node.ctrl][0] as usize;
            assert_eq!(model.jnt_dofadr()[joint] as usize, node.dof, "{robot:?} {}", node.label);
            let name = model.id_to_name(MjtObjBase::mjOBJ_JOINT, joint).unwrap().replace('_', "");
            let same = name == node.label.replace('_', "") || (robot == Robot::Swimmer && name.starts_with("motor"));
            assert!(same, "{robot:?}: {} is the model's {name}", node.label);
        }
    }
}

#[test]
fn copies_share_one_model() {
    let (a, b) = (open("mamujoco/Ant-4x2", &[]), open("mamujoco/Ant-2x4", &["obs=full"]));
    assert!(Arc::ptr_eq(&a.model(), &b.model()));
}

#[test]
fn episodes_are_cut_at_the_limit() {
    for (name, limit) in [("mamujoco/HalfCheetah-2x3", 1000), ("mamujoco/Reacher-2x1", 50), ("mamujoco/Pusher-3p", 100)] {
        let mut env = open(name, &[]);
        let spec = env.spec().clone();
        assert_eq!(spec.step_limit, Some(limit));
        let mut buf = FrameBuf::new(&spec);
        env.reset(stream(0), &mut buf.frame()).unwrap();
        let still = vec![0.0; spec.action_len()];
        for step in 1..=limit {
            let status = env.step(Actions::new(&spec, &still), &mut buf.frame()).unwrap();
            assert_eq!(status, if step == limit { Status::Truncated } else { Status::Running }, "{name} {step}");
        }
    }
}

/// Starts lie within the noise around the model's own, and fill it.
#[test]
fn starts_are_as_noisy_as_they_should() {
    for (name, noise, normal) in [("mamujoco/HalfCheetah-2x3", 0.1, true), ("mamujoco/Hopper-3x1", 5e-3, false)] {
        let mut env = open(name, &[]);
        let mut buf = FrameBuf::new(&env.spec().clone());
        let (mut widest, mut squares, mut count) = (0.0f64, 0.0, 0.0);
        for k in 0..200 {
            env.reset(stream(k), &mut buf.frame()).unwrap();
            let data = env.sim().data();
            for (x, x0) in data.qpos().iter().zip(env.sim().model().qpos0()) {
                assert!((x - x0).abs() <= noise, "{name}");
                widest = widest.max((x - x0).abs());
            }
            squares += data.qvel().iter().map(|v| v * v).sum::<f64>();
            count += data.qvel().len() as f64;
        }
        assert!(widest > 0.95 * noise, "{name}: {widest}");
        let deviation = (squares / count).sqrt() / noise;
        let expected = if normal { 1.0 } else { 1.0 / 3.0f64.sqrt() };
        assert!((deviation - expected).abs() < 0.05, "{name}: {deviation}");
    }
}

/// HARL's map scales from +-1 to the motors' range: the ends are the ends.
#[test]
fn concatenated_actions_are_scaled() {
    let mut env = open("mamujoco/Humanoid-17x1", &["actions=concat"]);
    let spec = env.spec().clone();
    assert_eq!(env.controls(&[1.0; 17]), vec![0.4; 17]);
    assert_eq!(env.controls(&[-1.0; 17]), vec![-0.4; 17]);
    let mut buf = FrameBuf::new(&spec);
    env.reset(stream(0), &mut buf.frame()).unwrap();
    assert!(env.step(Actions::new(&spec, &[1.0; 17]), &mut buf.frame()).is_ok());
    let mut own = open("mamujoco/Humanoid-17x1", &[]);
    own.reset(stream(0), &mut buf.frame()).unwrap();
    assert!(own.step(Actions::new(&spec, &[0.5; 17]), &mut buf.frame()).is_err(), "0.5 is more than the motors' 0.4");
}

/// Recorded episodes of gymnasium-robotics 1.4.2 on MuJoCo 3.17.0: positions, velocities, observations and rewards are hashed,
/// so that the record is small; `tests/parity/mamujoco/record.py` makes it, and the live test names what differs.
#[test]
fn recorded_episodes_have_the_same_bits() {
    let record: serde_json::Value = serde_json::from_str(include_str!("mamujoco_record.json")).unwrap();
    let bits = |list: &serde_json::Value| -> Vec<f64> {
        let digits = list.as_array().unwrap().iter().map(|x| u64::from_str_radix(x.as_str().unwrap(), 16).unwrap());
        digits.map(f64::from_bits).collect()
    };
    let episodes = record["episodes"].as_array().unwrap();
    assert!(episodes.len() >= 24);
    for episode in episodes {
        let name = episode["task"].as_str().unwrap();
        let settings: Vec<&str> = episode["settings"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        let mut env = open(name, &settings);
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.start_from(&bits(&episode["qpos"]), &bits(&episode["qvel"]), &mut buf.frame()).unwrap();
        let (mut draws, ranges) = (stream_of(episode), ranges(&env));
        let (mut hash, mut sum) = (Fnv::default(), 0.0);
        hash.frame(&env);
        for _ in 0..episode["steps"].as_u64().unwrap() {
            let joint: Vec<f32> = ranges.iter().map(|range| range * draws.next()).collect();
            env.step(Actions::new(&spec, &joint), &mut buf.frame()).unwrap();
            hash.frame(&env);
            sum += buf.rewards[0];
        }
        assert_eq!(hash.hex(), episode["hash"].as_str().unwrap(), "{name} {settings:?}");
        let expected = episode["return"].as_f64().unwrap();
        assert!((sum - expected).abs() < 1e-9 * expected.abs().max(1.0), "{name}: {sum} {expected}");
    }
}

fn ranges(env: &RobotEnv) -> Vec<f32> {
    let high = |action: &motley_core::ActionSpace| match action {
        motley_core::ActionSpace::Box { high, .. } => high.clone(),
        _ => Vec::new(),
    };
    env.spec().agents.iter().flat_map(|a| high(&a.action)).collect()
}

/// Actions that two programs can draw alike: multiples of 1/64 from a linear congruential generator.
struct Lcg(u64);

fn stream_of(episode: &serde_json::Value) -> Lcg {
    Lcg(episode["seed"].as_u64().unwrap())
}

impl Lcg {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 57) as f32 - 63.5).trunc() / 64.0
    }
}

/// FNV-1a over the bits of doubles.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn frame(&mut self, env: &RobotEnv) {
        let data = env.sim().data();
        let seen = (0..env.spec().n()).flat_map(|i| env.exact(Some(i))).chain(env.exact(None));
        for x in data.qpos().iter().chain(data.qvel()).copied().chain(seen) {
            // Zero has one sign here: which of the two a clip gives is nobody's business.
            for byte in (x + 0.0).to_bits().to_le_bytes() {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }

    fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The picture moves with the robot: its middle is the root body, wherever that has run.
#[test]
fn pictures_follow_the_robot() {
    for (name, both) in [("mamujoco/HalfCheetah-2x3", false), ("mamujoco/Ant-4x2", false), ("mamujoco/Swimmer-2x1", true)] {
        let mut env = open(name, &[]);
        let mut buf = FrameBuf::new(&env.spec().clone());
        let (mut qpos, qvel) = (env.sim().model().qpos0().to_vec(), vec![0.0; env.sim().data().qvel().len()]);
        let mut middles = Vec::new();
        for away in [0.0, 7.5] {
            qpos[0] = away;
            env.start_from(&qpos, &qvel, &mut buf.frame()).unwrap();
            let [left, low, right, high] = env.scene().unwrap().view;
            let (root, middle) = (env.sim().data().xpos()[1], [0.5 * (left + right), 0.5 * (low + high)]);
            assert!((middle[0] - root[0] as f32).abs() < 1e-4, "{name}: {middle:?} {root:?}");
            assert!(!both || (middle[1] - root[1] as f32).abs() < 1e-4, "{name}: {middle:?} {root:?}");
            middles.push(middle[0]);
        }
        assert!((middles[1] - middles[0] - 7.5).abs() < 1e-3, "{name}: {middles:?}");
    }
}

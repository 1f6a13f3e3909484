//! Rewards on scripted states, with numbers worked out by hand from the rules.

use motley_core::{ActionMeaning, Actions, FrameBuf, Purpose, Shape, Status, Stream};

use super::{RawState, Replay};
use crate::registry::{Registry, options};

fn open(name: &str, settings: &[&str]) -> Box<dyn Replay> {
    let task = Registry::builtin().get(name).unwrap();
    super::open(name, &options(&*task, settings).unwrap()).unwrap()
}

/// Puts bodies at rest at `pos`, lets a step of `actions` pass, and returns rewards and observations.
fn after_step(env: &mut dyn Replay, pos: &[[f64; 2]], marks: &[u32], actions: &[f32]) -> FrameBuf {
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.reset_from(0, &mut buf.frame());
    let comm = vec![0.0; env.raw().comm.len()];
    let raw = RawState { pos: pos.to_vec(), vel: vec![[0.0; 2]; pos.len()], comm, marks: marks.to_vec() };
    env.set_raw(&raw, &mut buf.frame()).unwrap();
    env.step(Actions::new(&spec, actions), &mut buf.frame()).unwrap();
    buf
}

fn near(found: &[f64], expected: &[f64]) {
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9),
        "{found:?} {expected:?}"
    );
}

const SPREAD: [[f64; 2]; 6] = [[0.0, 0.0], [0.25, 0.0], [-0.8, 0.6], [0.0, 0.5], [-0.8, 0.6], [0.25, -1.0]];

/// Agents 0 and 1 overlap (0.25 < 0.3). Landmarks are 0.5, 0 and 1 from their nearest agents: G = -1.5.
#[test]
fn spread_pays_half_for_cover_and_half_for_peace() {
    let buf = after_step(&mut *open("mpe/simple_spread_v3", &[]), &SPREAD, &[], &[0.0; 3]);
    near(&buf.rewards, &[-1.25, -1.25, -0.75]);
    let buf = after_step(&mut *open("mpe/simple_spread_v3", &["flavour=v2", "local_ratio=1.0"]), &SPREAD, &[], &[2.0, 1.0, 0.0]);
    // V2 has already moved by contact and by throttle, 0.05 each way, so they still touch; each also "touches" itself.
    near(&buf.rewards, &[-2.0, -2.0, -1.0]);
    let buf = after_step(&mut *open("mpe/simple_spread_v3", &["flavour=v2.5", "local_ratio=1.0"]), &SPREAD, &[], &[0.0; 3]);
    near(&buf.rewards, &[-1.0, -1.0, 0.0]);
}

/// The three flavours with the same continuous action "entry 2 = 1" and the same discrete action 2.
#[test]
fn old_flavours_mirror_continuous_actions_only() {
    for (flavour, sign) in [("v3", 1.0), ("v2.5", -1.0), ("v2", -1.0)] {
        let setting = format!("flavour={flavour}");
        let speed = |settings: &[&str], actions: &[f32]| {
            after_step(&mut *open("mpe/simple_v3", settings), &[[0.0; 2], [1.0, 0.0]], &[], actions).obs[0]
        };
        assert_eq!(speed(&[&setting, "continuous=true"], &[0.0, 0.0, 1.0, 0.0, 0.0]), 0.5 * sign, "{flavour}");
        assert_eq!(speed(&[&setting], &[2.0]), 0.5);
    }
    // Only V2 has already moved by the new velocity after one step: 0.05 nearer to the landmark.
    for (flavour, gap) in [("v3", 1.0), ("v2.5", 1.0), ("v2", 0.95)] {
        let mut env = open("mpe/simple_v3", &[&format!("flavour={flavour}")]);
        let buf = after_step(&mut *env, &[[0.0; 2], [1.0, 0.0]], &[], &[2.0]);
        near(&buf.rewards, &[-gap * gap]);
    }
}

#[test]
fn simple_and_speaker_pay_squared_distances() {
    near(&after_step(&mut *open("mpe/simple_v3", &[]), &[[0.0; 2], [0.6, 0.8]], &[], &[0.0]).rewards, &[-1.0]);
    let pos = [[0.0; 2], [0.5, 0.0], [0.9, 0.9], [0.5, 0.5], [-0.9, 0.0]];
    let buf = after_step(&mut *open("mpe/simple_speaker_listener_v4", &[]), &pos, &[1], &[2.0, 0.0]);
    near(&buf.rewards, &[-0.25, -0.25]);
    assert_eq!(buf.obs[..3], [0.15, 0.65, 0.15]);
    assert_eq!(buf.obs[11..14], [0.0, 0.0, 1.0], "what was said is heard at once");
}

/// Agent 0 stands 0.5 from landmark 0 (known to agent 1), agent 1 stands 1 from landmark 2 (known to agent 0).
#[test]
fn reference_mixes_own_and_mean_distance() {
    let pos = [[0.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.9, 0.9], [1.0, 1.0]];
    let buf = after_step(&mut *open("mpe/simple_reference_v3", &[]), &pos, &[2, 0], &[35.0, 5.0]);
    near(&buf.rewards, &[0.5 * -0.75 - 0.5, 0.5 * -0.75 - 0.25]);
    // Action 35 is "stay and say 7", heard by agent 1 in its last ten entries.
    assert_eq!(buf.obs[21 + 11..].iter().position(|x| *x == 1.0), Some(7));
}

#[test]
fn adversary_and_push_pay_distances_to_the_goal() {
    let pos = [[0.0, 1.0], [0.25, 0.0], [0.0, -0.5], [1.0, 1.0], [0.0, 0.0]];
    near(&after_step(&mut *open("mpe/simple_adversary_v3", &[]), &pos, &[1], &[0.0; 3]).rewards, &[-1.0, 0.75, 0.75]);
    let pos = [[0.0, 0.6], [0.25, 0.0], [0.0, 0.0], [1.0, 1.0]];
    near(&after_step(&mut *open("mpe/simple_push_v3", &[]), &pos, &[0], &[0.0; 2]).rewards, &[0.25 - 0.6, -0.25]);
}

/// Message 0, key 1. Eve says 2 (off by 2), Bob says 0 (right): Eve -2, the others +2. Silence costs nothing.
#[test]
fn crypto_pays_for_secrets() {
    let buf = after_step(&mut *open("mpe/simple_crypto_v3", &[]), &[[0.0; 2]; 5], &[0, 1], &[2.0, 0.0, 3.0]);
    near(&buf.rewards, &[-2.0, 2.0, 2.0]);
    assert_eq!(buf.obs, [0., 0., 0., 1., 0., 1., 0., 0., 0., 0., 0., 1., 1., 0., 0., 0., 0., 1., 0., 0.]);
    let mut silent = vec![0.0; 12];
    silent[4] = 0.5;
    let buf = after_step(&mut *open("mpe/simple_crypto_v3", &["continuous=true"]), &[[0.0; 2]; 5], &[0, 1], &silent);
    near(&buf.rewards, &[0.0, -0.25, -0.25]);
}

/// Two of three hunters touch the prey, which is 0.05 over the soft border on one axis.
#[test]
fn tag_pays_for_touches_and_charges_for_leaving() {
    let pos = [[0.95, 0.1], [0.95, -0.1], [0.0, 0.5], [0.95, 0.0], [-0.5, -0.5], [-0.5, 0.5]];
    near(&after_step(&mut *open("mpe/simple_tag_v3", &[]), &pos, &[], &[0.0; 4]).rewards, &[20.0, 20.0, 20.0, -20.5]);
    let status = |settings: &[&str]| {
        let mut env = open("mpe/simple_tag_v3", settings);
        after_step(&mut *env, &pos, &[], &[0.0; 4]);
        let spec = env.spec().clone();
        env.step(Actions::new(&spec, &[0.0; 4]), &mut FrameBuf::new(&spec).frame())
    };
    assert_eq!(status(&[]), Ok(Status::Running));
    assert!(status(&["terminate_on_success=true"]).is_err(), "it had ended with the first step");
}

/// Prey 4 eats (+2, food 0.05 away) and is touched by the leader (-5); prey 5 hides in a forest, 1 from the nearest food.
#[test]
fn world_comm_feeds_and_hides() {
    let pos = [
        [0.0, 0.1],
        [0.5, 0.5],
        [0.5, -0.5],
        [-0.5, 0.5], // hunters
        [0.0, 0.0],
        [0.0, -0.95], // prey
        [-0.8, -0.8],
        [0.05, 0.0],
        [0.0, 0.05],
        [0.0, -0.85],
        [0.85, 0.85], // obstacle, food, forests
    ];
    let buf = after_step(&mut *open("mpe/simple_world_comm_v3", &[]), &pos, &[], &[0.0; 6]);
    near(&buf.rewards[4..5], &[-5.0 + 2.0 + 2.0 - 0.05 * 0.05]);
    near(&buf.rewards[5..], &[-2.0 * 0.5 - 0.05 * 0.95_f64.hypot(0.05)]);
    near(&buf.rewards[..1], &[5.0 - 0.01]);
    let leader = &buf.obs[0..34];
    assert_eq!(leader[14 + 8..14 + 10], [0.0, -1.05], "the leader sees prey 5 in its forest");
    let hunter = &buf.obs[34..68];
    assert_eq!(hunter[14 + 8..14 + 10], [0.0, 0.0], "other hunters do not");
    assert_eq!(hunter[28..30], [-1.0, -1.0]);
    assert_eq!(hunter[30..34], [1.0, 0.0, 0.0, 0.0], "they hear the leader, who said 0");
}

/// Four agents on the circle except for one, 0.2 outside its place: mean distance 0.05.
#[test]
fn formation_and_line_pay_the_mean_distance_to_the_best_places() {
    let pos = [[0.0, 0.5], [0.7, 0.0], [0.0, -0.5], [-0.5, 0.0], [0.0, 0.0]];
    near(&after_step(&mut *open("mpe/simple_formation_v1", &[]), &pos, &[], &[0.0; 4]).rewards, &[-0.05; 4]);
    let gap = 1.25 / 3.0;
    let pos = [[gap, 0.0], [0.0, 0.0], [3.0 * gap, 0.4], [2.0 * gap, 0.0], [0.0, 0.0], [1.25, 0.0]];
    let mut env = open("mpe/simple_line_v1", &["terminate_on_success=true"]);
    near(&after_step(&mut *env, &pos, &[], &[0.0; 4]).rewards, &[-0.1; 4]);
    assert_eq!((env.spec().winning, env.won()), (true, None));
    let pos = [[gap, 0.0], [0.0, 0.0], [3.0 * gap, 0.04], [2.0 * gap, 0.0], [0.0, 0.0], [1.25, 0.0]];
    after_step(&mut *env, &pos, &[], &[0.0; 4]);
    assert_eq!(env.won(), Some(true));
}

/// Collector 0 picks up treasure 0 of kind 1; one step later, at deposit 1, it delivers.
#[test]
fn treasures_are_picked_up_delivered_and_come_back() {
    let mut env = open("mpe/collect_treasure_v1", &["num_collectors=1", "num_treasures=1"]);
    let (spec, pos) = (env.spec().clone(), [[0.0, 0.0], [0.9, 0.9], [0.1, 0.0], [0.01, 0.0]]);
    let mut buf = after_step(&mut *env, &pos, &[0, 1, 1, 0], &[0.0; 3]);
    // It carries kind 1 and touches deposit 1 (0.1 < 0.125), so both events fall into one step: +10 for everyone.
    assert_eq!(env.raw().marks, [0, 1, 0, 2]);
    near(&buf.rewards, &[10.0, 10.0 - 0.1 * 1.62_f64.sqrt(), 10.0 - 0.01]);
    env.step(Actions::new(&spec, &[0.0; 3]), &mut buf.frame()).unwrap();
    assert_eq!(env.raw().marks[2..], [1, 0], "back in the field, nothing happened");
    assert!(env.raw().pos[3].iter().all(|x| x.abs() <= 0.95));
}

#[test]
fn meanings_tell_moves_from_words() {
    let env = open("mpe/simple_speaker_listener_v4", &[]);
    let [speaker, listener] = [0, 1].map(|i| env.spec().agents[i].clone());
    assert_eq!((speaker.kind.as_str(), listener.kind.as_str()), ("speaker", "listener"));
    assert!(speaker.meaning.iter().all(|m| !listener.meaning.contains(m)));
    assert_eq!(listener.meaning[4], ActionMeaning::Own(4));
    assert_eq!((speaker.velocity, listener.velocity, listener.position), (None, Some(0..2), None));
}

#[test]
fn limits_and_bad_actions_are_answered() {
    let mut env = open("mpe/simple_v3", &["max_cycles=2", "continuous=true"]);
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.reset(Stream::new(0, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
    let text = env.step(Actions::new(&spec, &[0.0, 1.5, 0.0, 0.0, 0.0]), &mut buf.frame()).unwrap_err().to_string();
    assert!(text.contains("agent_0") && text.contains("0..=1") && text.contains("1.5"), "{text}");
    let still = [0.0; 5];
    assert_eq!(env.step(Actions::new(&spec, &still), &mut buf.frame()), Ok(Status::Running));
    assert_eq!(env.step(Actions::new(&spec, &still), &mut buf.frame()), Ok(Status::Truncated));
    assert_eq!(env.won(), None);
}

#[test]
fn a_picture_shows_names_goals_and_words() {
    let mut env = open("mpe/simple_speaker_listener_v4", &[]);
    after_step(&mut *env, &[[0.0; 2], [0.5, 0.0], [0.9, 0.9], [0.5, 0.5], [-0.9, 0.0]], &[1], &[2.0, 0.0]);
    let scene = env.scene().unwrap();
    assert!(scene.caption.contains("speaker_0 says C"), "{}", scene.caption);
    let texts: Vec<&str> =
        scene.shapes.iter().filter_map(|s| if let Shape::Text { text, .. } = s { Some(text.as_str()) } else { None }).collect();
    assert_eq!(texts, ["goal", "speaker_0", "listener_0"]);
}

#[test]
fn snapshots_with_impossible_goals_are_refused() {
    let mut env = open("mpe/simple_adversary_v3", &[]);
    env.reset_from(1, &mut FrameBuf::new(&env.spec().clone()).frame());
    let mut bytes = env.snapshot().unwrap();
    assert!(env.restore(&bytes).is_ok());
    let last = bytes.len() - 4;
    bytes[last] = 2;
    assert!(env.restore(&bytes).is_err());
}

/// A state of another size is refused by the part that does not fit, with what was expected of it.
#[test]
fn states_that_do_not_fit_are_told_by_their_part() {
    let mut env = open("mpe/simple_tag_v3", &[]);
    let mut buf = FrameBuf::new(&env.spec().clone());
    env.reset_from(0, &mut buf.frame());
    let fits = env.raw();
    let mut told = |raw: RawState| env.set_raw(&raw, &mut buf.frame()).map_err(|e| e.to_string());
    let text = told(RawState { pos: vec![[0.0; 2]; 5], ..fits.clone() }).unwrap_err();
    for part in ["mpe/simple_tag_v3", "expected 6 positions (of agents, then of landmarks), found 5", "get_state"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(told(RawState { vel: Vec::new(), ..fits.clone() }).unwrap_err().contains("expected 6 velocities"));
    assert!(told(RawState { comm: vec![0.0; 99], ..fits.clone() }).unwrap_err().contains("utterances, found 99"));
    assert!(told(RawState { marks: vec![0], ..fits.clone() }).unwrap_err().contains("expected 0 marks, found 1"));
    assert_eq!(told(fits), Ok(()));
    let mut env = open("mpe/simple_adversary_v3", &[]);
    env.reset_from(0, &mut FrameBuf::new(&env.spec().clone()).frame());
    let beyond = RawState { marks: vec![2], ..env.raw() };
    let text = env.set_raw(&beyond, &mut FrameBuf::new(&env.spec().clone()).frame()).unwrap_err().to_string();
    assert!(text.contains("expected marks below [2], found [2]"), "{text}");
}

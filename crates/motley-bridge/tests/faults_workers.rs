//! Foreign environments in workers: what they show, and what is done when they raise, die, hang or break their word.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]
#![cfg(unix)]

use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use motley_bridge::{families, interpreter};
use motley_core::guard::check_frame;
use motley_core::{
    ActionSpace, Actions, ConfigError, Env, EnvError, Frame, FrameBuf, Purpose, RewardKind, Status, Stream, TeamSpec,
};
use motley_envs::Registry;
use motley_envs::check::check;
use motley_envs::registry::options;

/// Whether the interpreter that workers get has numpy. It must, unless `MOTLEY_WITHOUT_PYTHON` says that these tests are left out: one
/// that did not run and counts as passed hides what it is for.
fn python() -> bool {
    let python = interpreter();
    let there = Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|o| o.status.success());
    assert!(
        there || std::env::var_os("MOTLEY_WITHOUT_PYTHON").is_some(),
        "{} has no numpy, which workers need: pip install numpy, or name another interpreter with MOTLEY_PYTHON, or run scripts/test, \
         which makes one; MOTLEY_WITHOUT_PYTHON=1 leaves these tests out",
        python.display()
    );
    if !there {
        // Not by a macro, whose words a test that passes keeps to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {} has no numpy", python.display());
    }
    there
}

fn registry() -> Registry {
    families().into_iter().fold(Registry::default(), Registry::with_family)
}

fn make(name: &str, settings: &[&str]) -> Result<Box<dyn Env>, ConfigError> {
    registry().make(&format!("py:tests.foreign:{name}"), settings)
}

fn stream(k: u64) -> Stream {
    Stream::new(7, Purpose::Check, 0, k)
}

struct Player {
    env: Box<dyn Env>,
    team: Arc<TeamSpec>,
    buf: FrameBuf,
}

impl Player {
    fn new(env: Box<dyn Env>) -> Self {
        let team = env.spec().clone();
        Self { buf: FrameBuf::new(&team), team, env }
    }

    fn reset(&mut self, k: u64) -> Result<(), EnvError> {
        self.env.reset(stream(k), &mut self.buf.frame())
    }

    /// The first available choice of everybody, zero for continuous ones.
    fn step(&mut self) -> Result<Status, EnvError> {
        let mut flat = vec![0.0; self.team.action_len()];
        for (i, agent) in self.team.agents.iter().enumerate() {
            if let ActionSpace::Discrete(_) = agent.action {
                let mask = &self.buf.avail[self.team.mask_range(i)];
                flat[self.team.action_range(i).start] = mask.iter().position(|a| *a).unwrap() as f32;
            }
        }
        let mut frame = self.buf.frame();
        self.env.step(Actions::new(&self.team, &flat), &mut frame)
    }

    fn steps_until_error(&mut self) -> EnvError {
        (0..20).find_map(|_| self.step().err()).expect("the environment should have failed")
    }
}

#[test]
fn foreign_environments_keep_the_contract() {
    if !python() {
        return;
    }
    for (name, settings) in [
        ("Walk", &["workers=1"][..]),
        ("Walk", &["workers=2", "max_steps=4"]),
        ("Skirmish", &["workers=1"]),
        ("Skirmish", &["workers=1", "kwargs={win=false}"]),
        ("old_gym", &["workers=1"]),
        ("Foraging", &["workers=1"]),
        ("Foraging", &["workers=1", "kwargs={common=true}"]),
        ("Foraging", &["workers=1", "kwargs={done=true}"]),
    ] {
        let task = registry().get(&format!("py:tests.foreign:{name}")).unwrap();
        let options = options(&*task, settings).unwrap();
        let lines = check(&|| task.make(&options), 3);
        let failed: Vec<_> = lines.iter().filter(|line| line.failed()).collect();
        assert!(failed.is_empty() && lines.len() > 10, "{name} {settings:?}: {failed:?}");
    }
}

#[test]
fn unlike_agents_arrive_unpadded() {
    if !python() {
        return;
    }
    let mut player = Player::new(make("Walk", &["workers=1"]).unwrap());
    let team = Arc::clone(&player.team);
    let sizes: Vec<_> = team.agents.iter().map(|a| (a.name.as_str(), a.obs.shape.clone())).collect();
    assert_eq!(sizes, [("scout", vec![2]), ("mule", vec![3]), ("arm", vec![4, 4, 1])]);
    assert_eq!(team.agents[1].action, ActionSpace::MultiDiscrete(vec![2, 3]));
    assert_eq!(team.agents[2].action, ActionSpace::uniform_box(2, -2.0, 2.0));
    assert_eq!((team.state_len(), team.masks, team.deaths), (4, true, true));
    player.reset(0).unwrap();
    assert_eq!(player.buf.obs[2..4], [1.0, 0.0], "kind 5 of Discrete(2, start=5), one-hot");
    for t in 1..=10 {
        let x0 = player.buf.obs[0];
        let status = player.step().unwrap();
        // The first available of -1, 0, 1; the reward is where the scout then stands.
        assert_eq!(player.buf.obs[0], x0 - if x0 > -3.0 { 1.0 } else { 0.0 });
        assert_eq!(player.buf.rewards[0], f64::from(player.buf.obs[0]));
        assert_eq!(player.buf.obs[1], t as f32);
        assert!(player.buf.obs[5..].iter().all(|x| *x == t as f32), "the image shows the time");
        assert_eq!(player.buf.state[3], t as f32);
        assert_eq!(player.buf.avail[0], player.buf.obs[0] > -3.0);
        assert_eq!(player.buf.alive, [true, t < 5, true]);
        assert_eq!(status, if t == 10 { Status::Truncated } else { Status::Running });
    }
    assert!(matches!(player.step(), Err(EnvError::NotRunning(_))));
}

#[test]
fn a_tuple_of_spaces_is_a_team() {
    if !python() {
        return;
    }
    let mut player = Player::new(make("Foraging", &["workers=1"]).unwrap());
    let team = Arc::clone(&player.team);
    let agents: Vec<_> = team.agents.iter().map(|a| (a.name.as_str(), a.obs.size(), a.action.clone())).collect();
    let choices = (ActionSpace::Discrete(3), ActionSpace::MultiDiscrete(vec![2, 2]));
    assert_eq!(agents, [("agent_0", 2, choices.0), ("agent_1", 3, choices.1)]);
    assert_eq!((team.reward, team.masks, team.deaths), (RewardKind::Own, true, false));
    player.reset(0).unwrap();
    assert_eq!(player.buf.avail[..3], [true, false, true], "the first agent's mask at an even step");
    for t in 1..=5 {
        let mut frame = player.buf.frame();
        let status = player.env.step(Actions::new(&team, &[2.0, 1.0, 0.0]), &mut frame).unwrap();
        let (obs, x0) = (&player.buf.obs, player.buf.obs[0]);
        assert_eq!((obs[1], obs[2], obs[3], obs[4]), (t as f32, x0, t as f32, 1.0));
        assert!((player.buf.rewards[0] - f64::from(x0)).abs() < 1e-5 && player.buf.rewards[1] == 2.0, "{:?}", player.buf.rewards);
        assert_eq!(player.buf.avail[1], t % 2 == 1 || t == 5);
        // Per agent the first is over at step 3; the episode is where both are.
        assert_eq!(status, if t == 5 { Status::Terminated } else { Status::Running });
    }
    let mut cut = Player::new(make("Foraging", &["workers=1", "kwargs={common=true}"]).unwrap());
    cut.reset(0).unwrap();
    for t in 1..=5 {
        let status = cut.step().unwrap();
        assert_eq!(cut.buf.rewards[0], cut.buf.rewards[1], "a scalar is paid to everybody");
        assert_eq!(status, if t == 5 { Status::Truncated } else { Status::Running });
    }
    let mut long = Player::new(make("Foraging", &["workers=1", "kwargs={long=true}"]).unwrap());
    long.reset(0).unwrap();
    let error = long.step().unwrap_err().to_string();
    assert!(error.contains("rewards") && error.contains("2 of them") && error.contains('3'), "{error}");
}

/// The last frame's pay is not lost to a mask that nobody acts under any more; behind a cut the mask counts.
#[test]
fn empty_masks_at_the_end_cost_nothing() {
    if !python() {
        return;
    }
    for (settings, last) in [(&["workers=1"][..], Status::Terminated), (&["workers=1", "kwargs={cut=true}"], Status::Truncated)] {
        let mut player = Player::new(make("Payday", settings).unwrap());
        let team = Arc::clone(&player.team);
        player.reset(0).unwrap();
        for t in 1..=4 {
            let was_alive = player.buf.alive.clone();
            let status = player.step().unwrap();
            assert_eq!(status, if t == 4 { last } else { Status::Running });
            assert_eq!(player.buf.rewards[1], f64::from(u8::from(t == 4)));
            assert_eq!(player.buf.alive[0], t < 2);
            let (mut held, ends) = (player.buf.clone(), t == 4 && last == Status::Truncated);
            let frame = Frame {
                obs: &mut held.obs,
                state: &mut held.state,
                avail: &mut held.avail,
                rewards: &mut held.rewards,
                alive: &mut held.alive,
            };
            let found = check_frame(&team, &frame, &was_alive).map_err(|e| e.to_string());
            assert_eq!(found.is_err(), ends, "step {t}: {found:?}");
            assert!(!ends || found.is_err_and(|e| e.contains("availability mask of agent \"late\"")), "step {t}");
        }
    }
    let mut player = Player::new(make("Locked", &["workers=1"]).unwrap());
    player.reset(0).unwrap();
    for t in 1..=3 {
        let status = player.step().unwrap();
        assert_eq!(status, if t == 3 { Status::Terminated } else { Status::Running });
        assert!(player.buf.avail.iter().all(|a| *a));
    }
    assert_eq!(player.buf.rewards, [1.0]);
}

/// Bounds of float64 boxes that float32 holds from the wrong side are bounds all the same.
#[test]
fn actions_at_the_bound_lie_within_the_space() {
    if !python() {
        return;
    }
    for bound in ["0.1", "0.3", "0.3333333333333333"] {
        let mut player = Player::new(make("Payday", &["workers=1", &format!("kwargs={{bound={bound}}}")]).unwrap());
        let team = Arc::clone(&player.team);
        let ActionSpace::Box { low, high } = &team.agents[2].action else { unreachable!("a box") };
        player.reset(0).unwrap();
        for (a, b) in [(low[0], high[1]), (high[0], low[1]), (0.5 * high[0], 0.0)] {
            player.env.step(Actions::new(&team, &[0.0, 0.0, a, b]), &mut player.buf.frame()).unwrap();
        }
    }
}

#[test]
fn pictures_are_the_environment_s_own() {
    if !python() {
        return;
    }
    let settings = &["workers=1"][..];
    let (mut drawn, mut other) = (Player::new(make("Walk", settings).unwrap()), Player::new(make("Walk", settings).unwrap()));
    // Asked before the episode, which makes it one that draws; episodes are the same.
    assert_eq!(drawn.env.photo(8).unwrap().unwrap().width, 8);
    for player in [&mut drawn, &mut other] {
        player.reset(0).unwrap();
    }
    for t in 1..=10_u8 {
        drawn.step().unwrap();
        other.step().unwrap();
        assert_eq!((&drawn.buf.obs, &drawn.buf.rewards), (&other.buf.obs, &other.buf.rewards));
        let photo = drawn.env.photo(8).unwrap().unwrap();
        assert_eq!((photo.width, photo.height, photo.rgb.len()), (8, 3, 72));
        assert_eq!((&photo.rgb[45..48], &photo.rgb[48..51]), (&[t, 2 * t, 3 * t][..], &[0; 3][..]));
        // Halved: the third row has no partner and is left out.
        let small = drawn.env.photo(5).unwrap().unwrap();
        assert_eq!((small.width, small.height, small.rgb), (4, 1, [t, 2 * t, 3 * t].repeat(4)));
    }
    assert!(other.env.photo(8).unwrap().is_err(), "an episode that runs is not made anew");
    for (name, settings, expected) in [
        ("Skirmish", &["workers=1"][..], "a render() of Skirmish is missing"),
        (
            "Walk",
            &["workers=1", "kwargs={fault=\"picture\"}"],
            "expected a picture, bytes of (height, width, 3), found shape (3, 8, 2)",
        ),
    ] {
        let text = make(name, settings).unwrap().photo(8).unwrap().unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn smac_s_interface_masks_kills_and_wins() {
    if !python() {
        return;
    }
    let mut player = Player::new(make("Skirmish", &["workers=1"]).unwrap());
    assert_eq!(player.team.step_limit, Some(6));
    player.reset(0).unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let status = player.step().unwrap();
        seen.push((player.buf.alive[1], status));
    }
    use Status::{Running, Terminated};
    assert_eq!(seen, [(true, Running), (false, Running), (false, Running), (false, Terminated)]);
    assert_eq!((player.env.won(), player.buf.rewards[0]), (Some(true), 1.5));
    let mut lost = Player::new(make("Skirmish", &["workers=1", "kwargs={win=false}"]).unwrap());
    lost.reset(0).unwrap();
    let last = (0..6).map(|_| lost.step().unwrap()).last();
    assert_eq!((last, lost.env.won()), (Some(Status::Truncated), Some(false)));
}

#[test]
fn an_exception_costs_the_episode_and_names_the_place() {
    if !python() {
        return;
    }
    let mut player = Player::new(make("Walk", &["workers=1", "kwargs={fault=\"raise\"}"]).unwrap());
    for k in 0..3 {
        player.reset(k).unwrap();
        let text = player.steps_until_error().to_string();
        assert!(text.contains("RuntimeError: the gearbox broke") && text.contains("foreign.py:"), "{text}");
        assert!(matches!(player.step(), Err(EnvError::NotRunning(_))), "after a failure only a reset helps");
    }
}

#[test]
fn an_exit_costs_the_episode_of_one_copy() {
    if !python() {
        return;
    }
    let task = registry().get("py:tests.foreign:Walk").unwrap();
    let options = options(&*task, &["workers=1", "kwargs={fault=\"exit\"}"]).unwrap();
    let mut first = Player::new(task.make(&options).unwrap());
    let mut second = Player::new(task.make(&options).unwrap());
    first.reset(0).unwrap();
    second.reset(0).unwrap();
    let text = first.steps_until_error().to_string();
    assert!(text.contains("SystemExit: the gearbox broke"), "{text}");
    second.step().unwrap();
}

#[test]
fn observed_choices_may_count_from_elsewhere() {
    if !python() {
        return;
    }
    let mut player = Player::new(make("Shifted", &["workers=1"]).unwrap());
    player.reset(0).unwrap();
    assert_eq!(player.buf.obs, [0.0, 1.0, 0.0, 0.0, 1.0]);
    player.step().unwrap();
    assert_eq!(player.buf.obs, [1.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_broken_word_is_named() {
    if !python() {
        return;
    }
    let mut player = Player::new(make("Walk", &["workers=1", "kwargs={fault=\"stay\"}"]).unwrap());
    player.reset(0).unwrap();
    let text = player.steps_until_error().to_string();
    assert!(text.contains("agent \"scout\"") && text.contains("it is still there"), "{text}");
    for (fault, wanted) in [
        ("shape", ["observation of agent \"scout\"", "shape (2,)", "shape (3,)"]),
        ("dtype", ["observation of agent \"arm\"", "numbers", "dtype <U1"]),
        ("fractions", ["observation of agent \"arm\"", "whole numbers, as its space says", "dtype float64"]),
        ("late mask", ["agent \"scout\"", "action masks from reset() on", "the first one after a step"]),
    ] {
        let mut player = Player::new(make("Walk", &["workers=1", &format!("kwargs={{fault=\"{fault}\"}}")]).unwrap());
        player.reset(0).unwrap();
        let error = player.steps_until_error();
        assert!(matches!(error, EnvError::Misshaped { .. }), "{error:?}");
        assert!(wanted.iter().all(|w| error.to_string().contains(w)), "{error}");
    }
}

#[test]
fn a_dead_worker_is_replaced_and_its_other_copies_lose_only_their_episode() {
    if !python() {
        return;
    }
    let task = registry().get("py:tests.foreign:Walk").unwrap();
    let options = options(&*task, &["workers=1", "kwargs={fault=\"die\"}"]).unwrap();
    let mut first = Player::new(task.make(&options).unwrap());
    let mut second = Player::new(task.make(&options).unwrap());
    for k in 0..3 {
        first.reset(k).unwrap();
        second.reset(k).unwrap();
        second.step().unwrap();
        let text = first.steps_until_error().to_string();
        assert!(text.contains("died") && text.contains("exit status: 9"), "{text}");
        let text = second.step().unwrap_err().to_string();
        assert!(text.contains("another copy"), "{text}");
    }
}

#[test]
fn a_hanging_environment_is_killed_and_given_up_after_three() {
    if !python() {
        return;
    }
    let settings = ["workers=1", "step_timeout=0.3", "kwargs={fault=\"hang\"}"];
    let mut player = Player::new(make("Walk", &settings).unwrap());
    for k in 0..3 {
        player.reset(k).unwrap();
        let began = Instant::now();
        let text = player.steps_until_error().to_string();
        assert!(text.contains("did not answer within 0.3 s"), "{text}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    assert!(player.reset(3).unwrap_err().to_string().contains("hung 3 times"));
    let text = make("Walk", &["reset_timeout=2", "kwargs={fault=\"build_hang\"}"]).err().unwrap().to_string();
    assert!(text.contains("task.reset_timeout"), "{text}");
}

/// Whether a process runs still (a zombie does not).
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
#[cfg(target_os = "linux")]
fn no_process_outlives_its_copies() {
    if !python() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    for fault in ["none", "die", "hang"] {
        let kwargs = format!("kwargs={{fault=\"{fault}\", pids=\"{}\"}}", file.display());
        let mut player = Player::new(make("Walk", &["workers=1", "step_timeout=0.3", &kwargs]).unwrap());
        player.reset(0).unwrap();
        if fault != "none" {
            player.steps_until_error();
        }
        drop(player);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let pids: Vec<&str> = text.split_whitespace().collect();
    assert!(pids.len() >= 6, "{text}");
    let until = Instant::now() + Duration::from_secs(5);
    while pids.iter().any(|pid| runs(pid)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let left: Vec<_> = pids.iter().filter(|pid| runs(pid)).collect();
    assert!(left.is_empty(), "these outlived their environment: {left:?}");
}

#[test]
fn what_is_missing_or_misnamed_is_said_at_once() {
    if !python() {
        return;
    }
    let error = |name: &str| registry().make(name, &[]).err().unwrap();
    let missing = error("py:no_such_package.at_all:make");
    assert!(
        matches!(&missing, ConfigError::Missing { what, mend } if what.contains("no_such_package") && mend.contains("MOTLEY_PYTHON"))
    );
    for (name, wanted) in [
        ("py:tests.foreign:Wlak", "it has Box, Dict, Discrete"),
        ("py:tests.foreign:constant", "cannot be called"),
        ("py:tests.foreign:nothing", "no environment that Motley knows"),
        ("py:tests.foreign", "py:MODULE:CALLABLE"),
        ("football/academy_conrer", "football/academy_corner"),
    ] {
        let text = error(name).to_string();
        assert!(text.contains(wanted), "{name}: {text}");
    }
    let text = make("Walk", &["kwargs={speed=3}"]).err().unwrap().to_string();
    assert!(text.contains("TypeError") && text.contains("speed"), "{text}");
    assert!(make("Walk", &["kwargs=3"]).err().unwrap().to_string().contains("a table"));
}

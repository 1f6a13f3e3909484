//! The client against a pretended game that runs the simulator's battles behind the protocol: the same actions must show agents the
//! same as `skirmish/*` does, up to what the protocol rounds to single precision.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]
#![cfg(unix)]

mod mock;

use std::sync::Arc;

use mock::{BUILD, Stage, Trouble};
use motley_core::{Actions, Env, FrameBuf, Purpose, Status, Stream, TeamSpec};
use motley_envs::Registry;
use motley_envs::check::{Outcome, check};
use motley_envs::skirmish::draw;
use motley_envs::skirmish::maps::Lineup;

fn stream(k: u64) -> Stream {
    Stream::new(11, Purpose::Check, 0, k)
}

/// The game's tasks and the simulator's.
fn registry() -> Registry {
    motley_sc2::families().into_iter().fold(Registry::builtin(), Registry::with_family)
}

fn make(stage: &Stage, name: &str, settings: &[&str]) -> Box<dyn Env> {
    let path = format!("path={}", stage.path().display());
    let settings: Vec<&str> = settings.iter().copied().chain([path.as_str(), "step_timeout=20", "launch_timeout=20"]).collect();
    registry().make(name, &settings).unwrap()
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

    fn step(&mut self, flat: &[f32]) -> Status {
        let mut frame = self.buf.frame();
        self.env.step(Actions::new(&self.team, flat), &mut frame).unwrap()
    }

    fn free(&self, i: usize) -> Vec<usize> {
        let mask = &self.buf.avail[self.team.mask_range(i)];
        (0..mask.len()).filter(|a| mask[*a]).collect()
    }
}

/// Available actions, targets more often than not, so that something happens.
fn choose(player: &Player, draws: &mut Stream) -> Vec<f32> {
    let choice = |i: usize| {
        let free = player.free(i);
        let fights = free.last().is_some_and(|a| *a > 5) && draws.bernoulli(0.9);
        let from = if fights { free.iter().position(|a| *a > 5).unwrap_or(0) } else { 0 };
        free[from + draws.below((free.len() - from) as u32) as usize] as f32
    };
    (0..player.team.n()).map(choice).collect()
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    if let Some(k) = (0..ours.len()).find(|k| (ours[*k] - theirs[*k]).abs() > 2e-6) {
        panic!("{what}: entry {k} is {}, the simulator shows {}", ours[k], theirs[k]);
    }
}

/// Plays episodes on both and compares everything after every step; gives the wins.
fn same_episodes(what: &str, real: &mut Player, simulated: &mut Player, episodes: u64) -> usize {
    assert_eq!(real.team.agents, simulated.team.agents, "{what}: the same agents with the same meanings of actions");
    assert_eq!((real.team.version, real.team.step_limit), (BUILD, simulated.team.step_limit));
    assert_eq!((real.team.state, real.team.reward), (simulated.team.state, simulated.team.reward));
    let mut draws = Stream::new(5, Purpose::Check, 1, 0);
    let mut wins = 0;
    for episode in 0..episodes {
        real.env.reset(stream(episode), &mut real.buf.frame()).unwrap();
        simulated.env.reset(stream(episode), &mut simulated.buf.frame()).unwrap();
        for step in 0.. {
            let at = |part: &str| format!("{what}, episode {episode}, step {step}: {part}");
            near(&at("observations"), &real.buf.obs, &simulated.buf.obs);
            near(&at("state"), &real.buf.state, &simulated.buf.state);
            assert_eq!(real.buf.avail, simulated.buf.avail, "{}", at("masks"));
            assert_eq!(real.buf.alive, simulated.buf.alive, "{}", at("deaths"));
            let rewards = real.buf.rewards.iter().zip(&simulated.buf.rewards);
            rewards.for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{}: {a}, {b}", at("rewards")));
            let actions = choose(real, &mut draws);
            let status = real.step(&actions);
            assert_eq!(status, simulated.step(&actions), "{}", at("status"));
            assert_eq!(real.env.won(), simulated.env.won(), "{}", at("won"));
            if status.done() {
                wins += usize::from(real.env.won() == Some(true));
                break;
            }
        }
    }
    wins
}

/// The same episodes of a map with a fixed team; gives the wins.
fn same_battles(map: &str, settings: &[&str], episodes: u64) -> usize {
    let stage = Stage::new(&[Trouble::None], Box::new(|battle, _| stream(battle)));
    let mut real = Player::new(make(&stage, &format!("smac/{map}"), settings));
    let still: Vec<&str> = settings.iter().copied().chain(["spread=0"]).collect();
    let mut simulated = Player::new(registry().make(&format!("skirmish/{map}"), &still).unwrap());
    let wins = same_episodes(&format!("{map} {settings:?}"), &mut real, &mut simulated, episodes);
    assert_eq!(stage.launches().len(), 1, "one game for all episodes");
    wins
}

#[test]
fn the_game_shows_agents_what_the_simulator_shows() {
    let mut wins = 0;
    for (map, settings) in [
        ("3m", &[][..]),
        ("3m", &["obs=harl", "state=fp", "reward_negative=true"]),
        ("MMM", &["obs_last_action=true", "obs_timestep=true", "state_timestep=true"]),
        ("MMM", &["actions=unified", "field_of_view=true"]),
        ("2s3z", &["reward_sparse=true"]),
        ("3s_vs_3z", &["obs_pathing=true", "obs_terrain=true", "state=ep"]),
        ("2s_vs_1sc", &["step_limit=40"]),
        ("2m_vs_1z", &[]),
        ("bane_vs_bane", &["step_limit=30"]),
        ("2c_vs_64zg", &["step_limit=12", "state_terrain=true"]),
    ] {
        wins += same_battles(map, settings, 2);
    }
    assert!(wins > 0, "some battle should be won, so that wins are compared too");
}

/// SMACv2: drawn from the stream, created by debug commands, sorted by type as the original sorts its agents.
#[test]
fn drawn_battles_are_created_and_shown() {
    for (name, settings) in [
        ("protoss_5_vs_5", &[][..]),
        ("terran_10_vs_11", &["field_of_view=true", "state=fp"]),
        ("zerg_5_vs_5", &["obs=harl", "obs_timestep=true", "prob_obs_enemy=0.5", "action_mask=false"]),
    ] {
        let map = draw::all().into_iter().find(|map| map.name == name).unwrap();
        let Lineup::Drawn(roster) = map.lineup else { panic!("fixed") };
        let drawn = move |battle: u64, _| {
            let mut stream = stream(battle);
            roster.draw(&mut stream, &mut Vec::new(), &mut Vec::new());
            stream
        };
        let stage = Stage::new(&[Trouble::None], Box::new(drawn));
        let mut real = Player::new(make(&stage, &format!("smacv2/{name}"), settings));
        let mut simulated = Player::new(registry().make(&format!("skirmish/{name}"), settings).unwrap());
        same_episodes(&format!("{name} {settings:?}"), &mut real, &mut simulated, 3);
    }
}

/// Of each agent of SMACv2's protoss, the type that it says it is.
#[test]
fn drawn_agents_stand_by_the_names_of_their_types() {
    let map = draw::all().into_iter().find(|map| map.name == "protoss_5_vs_5").unwrap();
    let Lineup::Drawn(roster) = map.lineup else { panic!("fixed") };
    let drawn = move |battle: u64, _| {
        let mut stream = stream(battle);
        roster.draw(&mut stream, &mut Vec::new(), &mut Vec::new());
        stream
    };
    let stage = Stage::new(&[Trouble::None], Box::new(drawn));
    let mut real = Player::new(make(&stage, "smacv2/protoss_5_vs_5", &[]));
    let mut mixed = 0;
    for episode in 0..6 {
        real.env.reset(stream(episode), &mut real.buf.frame()).unwrap();
        let name = |i: usize| {
            // The last three of an observation, behind health, shield and position.
            let obs = &real.buf.obs[real.team.obs_range(i)];
            let own = &obs[obs.len() - 7..];
            assert_eq!(own[..2], [1.0, 1.0], "unhurt");
            ["stalker", "zealot", "colossus"][own[4..7].iter().position(|x| *x == 1.0).unwrap()]
        };
        let by_name: Vec<&str> = (0..5).map(name).collect();
        assert!(by_name.is_sorted(), "{by_name:?}");
        mixed += usize::from(by_name[0] != by_name[4]);
    }
    assert!(mixed > 3, "{mixed} of 6 teams had more than one type");
}

/// With a fresh game for every episode the seed is the stream's, and the whole contract holds.
#[test]
fn a_fresh_game_keeps_the_contract_to_the_bit() {
    let stage = Stage::new(&[Trouble::None], Box::new(|_, seed| Stream::new(u64::from(seed), Purpose::Check, 0, 0)));
    let lines = check(&|| Ok(make(&stage, "smac/3m", &["fresh_game=true"])), 3);
    assert!(lines.len() > 10);
    for line in &lines {
        // The pretended game's battles begin alike, whatever the seed: they part at the first shots.
        let alike = matches!(line.outcome, Outcome::Warned(_)) && line.name == "other streams give other episodes";
        let kept = alike || matches!(line.outcome, Outcome::Passed | Outcome::Skipped(_));
        assert!(kept, "{}: {:?}", line.name, line.outcome);
    }
}

#[test]
fn the_program_is_told_where_to_listen_and_what_to_load() {
    let stage = Stage::new(&[Trouble::None], Box::new(|battle, _| stream(battle)));
    let hash = "B89B5D6FA7CBF6452E721311BFBC6CB2";
    for (settings, with_hash) in [(&[][..], false), (&["version=4.10"], true)] {
        let mut player = Player::new(make(&stage, "smac/3m", settings));
        assert_eq!(stage.launches().len(), usize::from(with_hash), "nothing is started before the first reset");
        player.env.reset(stream(0), &mut player.buf.frame()).unwrap();
        let (_, arguments) = stage.launches().pop().unwrap();
        let words: Vec<&str> = arguments.split(' ').collect();
        assert_eq!((words[0], words[1], words[2]), ("-listen", "127.0.0.1", "-port"));
        assert_eq!((words[4], words[5]), ("-dataDir", format!("{}/", stage.path().display()).as_str()));
        assert_eq!(words[6], "-tempDir");
        assert!(words[7].ends_with('/') && std::path::Path::new(words[7]).is_dir());
        assert_eq!(words[8..], if with_hash { vec!["-dataVersion", hash] } else { vec![] });
    }
}

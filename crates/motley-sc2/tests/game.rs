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
fn same_battles(map: &str, settings: &[&str], episodes: u64) -> usize {
    let stage = Stage::new(&[Trouble::None], Box::new(|battle, _| stream(battle)));
    let mut real = Player::new(make(&stage, &format!("smac/{map}"), settings));
    let still: Vec<&str> = settings.iter().copied().chain(["spread=0"]).collect();
    let mut simulated = Player::new(registry().make(&format!("skirmish/{map}"), &still).unwrap());
    assert_eq!(real.team.agents, simulated.team.agents, "{map}: the same agents with the same meanings of actions");
    assert_eq!((real.team.version, real.team.step_limit), (BUILD, simulated.team.step_limit));
    assert_eq!((real.team.state, real.team.reward), (simulated.team.state, simulated.team.reward));
    let mut draws = Stream::new(5, Purpose::Check, 1, 0);
    let mut wins = 0;
    for episode in 0..episodes {
        real.env.reset(stream(episode), &mut real.buf.frame()).unwrap();
        simulated.env.reset(stream(episode), &mut simulated.buf.frame()).unwrap();
        for step in 0.. {
            let at = |what: &str| format!("{map} {settings:?}, episode {episode}, step {step}: {what}");
            near(&at("observations"), &real.buf.obs, &simulated.buf.obs);
            near(&at("state"), &real.buf.state, &simulated.buf.state);
            assert_eq!(real.buf.avail, simulated.buf.avail, "{}", at("masks"));
            assert_eq!(real.buf.alive, simulated.buf.alive, "{}", at("deaths"));
            let rewards = real.buf.rewards.iter().zip(&simulated.buf.rewards);
            rewards.for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{}: {a}, {b}", at("rewards")));
            let actions = choose(&real, &mut draws);
            let status = real.step(&actions);
            assert_eq!(status, simulated.step(&actions), "{}", at("status"));
            assert_eq!(real.env.won(), simulated.env.won(), "{}", at("won"));
            if status.done() {
                wins += usize::from(real.env.won() == Some(true));
                break;
            }
        }
    }
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
        ("2s3z", &["reward=sparse"]),
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
    let map = draw::all().into_iter().find(|map| map.name == "protoss_5_vs_5").unwrap();
    let Lineup::Drawn(roster) = map.lineup else { panic!("fixed") };
    let drawn = move |battle: u64, _| {
        let mut stream = stream(battle);
        roster.draw(&mut stream, &mut Vec::new(), &mut Vec::new());
        stream
    };
    let stage = Stage::new(&[Trouble::None], Box::new(drawn));
    let mut real = Player::new(make(&stage, "smacv2/protoss_5_vs_5", &[]));
    let mut simulated = Player::new(registry().make("skirmish/protoss_5_vs_5", &[]).unwrap());
    assert_eq!(real.team.agents, simulated.team.agents);
    let (own, ally, foes) = (7, 9, 5 * 9); // 4 kinds of numbers and shield and type; in SMAC's order: moves, foes, allies, own
    let parts = |obs: &[f32], others: &[usize]| {
        let (head, rest) = obs.split_at(4 + foes);
        let blocks: Vec<Vec<f32>> = others.iter().map(|j| rest[j * ally..(j + 1) * ally].to_vec()).collect();
        [head.to_vec(), blocks.concat(), rest[rest.len() - own..].to_vec()].concat()
    };
    let mut draws = Stream::new(6, Purpose::Check, 1, 0);
    for episode in 0..3 {
        real.env.reset(stream(episode), &mut real.buf.frame()).unwrap();
        simulated.env.reset(stream(episode), &mut simulated.buf.frame()).unwrap();
        // The simulator's agent of each agent: the one with the same own block.
        let tail = |p: &Player, i: usize| p.buf.obs[p.team.obs_range(i)][4 + foes + 4 * ally..].to_vec();
        let twin: Vec<usize> = (0..5)
            .map(|i| (0..5).find(|j| tail(&real, i) == tail(&simulated, *j)).expect("the same team stands there"))
            .collect();
        let kinds: Vec<usize> = (0..5).map(|i| tail(&real, i)[2..5].iter().position(|x| *x == 1.0).unwrap()).collect();
        let by_name = kinds.iter().map(|k| ["stalker", "zealot", "colossus"][*k]).collect::<Vec<_>>();
        assert!(by_name.is_sorted(), "agents stand by the names of their types: {by_name:?}");
        loop {
            for i in 0..5 {
                let others = |i: usize| (0..5).filter(move |j| *j != i);
                let place = |i: usize, j: usize| j - usize::from(j > i);
                let same: Vec<usize> = (0..4).collect();
                let turned: Vec<usize> = others(i).map(|j| place(twin[i], twin[j])).collect();
                let (ours, theirs) = (real.team.obs_range(i), simulated.team.obs_range(twin[i]));
                near("observation", &parts(&real.buf.obs[ours], &same), &parts(&simulated.buf.obs[theirs], &turned));
                assert_eq!(real.free(i), simulated.free(twin[i]));
            }
            let actions = choose(&real, &mut draws);
            let mut turned = vec![0.0; 5];
            (0..5).for_each(|i| turned[twin[i]] = actions[i]);
            let status = real.step(&actions);
            assert_eq!(status, simulated.step(&turned));
            assert!((real.buf.rewards[0] - simulated.buf.rewards[0]).abs() < 1e-5);
            if status.done() {
                assert_eq!(real.env.won(), simulated.env.won());
                break;
            }
        }
    }
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

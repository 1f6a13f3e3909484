//! Every registered task keeps the contract, and every way of breaking it is found.

use motley_core::{AgentSpec, Frame, ObsSpace};

use super::*;
use crate::registry::{Registry, options};

#[test]
fn every_task_keeps_the_contract() {
    let registry = Registry::builtin();
    for task in registry.iter() {
        let variants: &[&[&str]] = match task.name().split('/').next() {
            Some("mpe") => &[&[], &["continuous=true"], &["max_cycles=3"]],
            Some("vmas") => &[&[], &["continuous=false"], &["max_steps=3"]],
            Some("skirmish") => &[&[]],
            _ => &[&[], &["steps=25"]],
        };
        for settings in variants {
            let options = options(task, settings).unwrap();
            for line in check(&|| task.make(&options), 3) {
                let fixed = task.name().starts_with("matrix/") || task.name() == "vmas/multi_give_way";
                let fixed_start = fixed && line.name.starts_with("other streams");
                match &line.outcome {
                    Outcome::Passed => {}
                    Outcome::Warned(_) if fixed_start => {}
                    other => panic!("{} {settings:?}: {}: {other:?}", task.name(), line.name),
                }
            }
        }
    }
}

#[test]
fn settings_that_change_the_team_keep_the_contract() {
    let registry = Registry::builtin();
    let cases: [(&str, &[&str]); 19] = [
        (
            "mpe/simple_spread_v3",
            &["num_agents=5", "num_agent_neighbors=2", "num_landmark_neighbors=7", "terminate_on_success=true"],
        ),
        ("mpe/simple_adversary_v3", &["num_agents=1", "num_agent_neighbors=3"]),
        ("mpe/simple_tag_v3", &["num_good=2", "num_obstacles=0", "num_agent_neighbors=6", "terminate_on_success=true"]),
        ("mpe/simple_world_comm_v3", &["num_good=1", "num_adversaries=1", "num_forests=0", "num_obstacles=0"]),
        ("mpe/collect_treasure_v1", &["num_deposits=1", "num_collectors=3"]),
        ("mpe/simple_formation_v1", &["num_agents=9", "terminate_on_success=true"]),
        ("vmas/give_way", &["mirror_passage=true", "done_on_completion=true", "observe_rel_pos=true", "final_reward=0"]),
        ("vmas/joint_passage", &["asym_package=false", "fixed_passage=false", "observe_joint_angle=true", "obs_noise=0.15"]),
        ("vmas/joint_passage", &["joint_length=0.8", "random_start_angle=false", "random_goal_angle=false"]),
        (
            "vmas/joint_passage_size",
            &["n_passages=4", "middle_angle_180=true", "random_start_angle=true", "observe_joint_angle=true"],
        ),
        ("vmas/passage", &["n_passages=19", "shared_reward=true"]),
        ("vmas/navigation", &["n_agents=16", "shared_rew=false", "n_lidar_rays=3"]),
        ("vmas/navigation", &["n_agents=1", "collisions=false"]),
        ("vmas/balance", &["n_agents=2", "random_package_pos_on_line=false"]),
        ("vmas/dispersion", &["n_agents=2", "n_food=7", "share_reward=true", "penalise_by_time=true"]),
        ("vmas/sampling", &["n_agents=5", "n_gaussians=1", "shared_rew=false", "collisions=false"]),
        ("vmas/discovery", &["targets_respawn=false", "use_agent_lidar=true", "shared_reward=true", "covering_range=3"]),
        ("vmas/flocking", &["n_agents=2", "n_obstacles=0"]),
        ("vmas/simple_spread", &["n_agents=2", "obs_agents=false"]),
    ];
    for (name, settings) in cases {
        let lines = check(&|| registry.make(name, settings), 5);
        assert!(lines.iter().all(|l| l.outcome == Outcome::Passed), "{name}: {lines:?}");
    }
}

/// The ways in which the environment below can break the contract.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    ForgetsEntry,
    Infinite,
    OutOfBounds,
    BadReward,
    EmptyMask,
    UndeclaredMask,
    Revives,
    ChangesTeam,
    Clock,
    LeavesRest,
    IgnoresStream,
    StepsAnyway,
    TakesAnything,
    PanicsOnBadAction,
    NeverEnds,
    EndsEarly,
    BadSnapshot,
    SilentWin,
    TwinNames,
    TwinMeanings,
    OpensNever,
}

struct Faulty {
    fault: Fault,
    spec: Arc<TeamSpec>,
    stream: Option<Stream>,
    steps: usize,
    /// Where it last stood, of sixteen places.
    place: u32,
}

static CLOCK: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

fn faulty(fault: Fault) -> Result<Box<dyn Env>, ConfigError> {
    let agent = |name: &str| {
        let mut agent = AgentSpec::new(name, "x", ObsSpace::vector(2), ActionSpace::Discrete(2));
        (agent.obs.low, agent.obs.high, agent.noop) = (-2.0, 2.0, Some(0));
        match fault {
            Fault::TwinMeanings => agent.meaning = vec![ActionMeaning::Own(0); 2],
            Fault::OpensNever => agent.meaning = vec![ActionMeaning::Own(0), ActionMeaning::Never],
            _ => {}
        }
        agent
    };
    let mut spec = TeamSpec::new("test/faulty", vec![agent("a"), agent(if fault == Fault::TwinNames { "a" } else { "b" })]);
    spec.step_limit = Some(10);
    (spec.masks, spec.deaths, spec.winning) = (fault != Fault::UndeclaredMask, true, true);
    Ok(Box::new(Faulty { fault, spec: Arc::new(spec), stream: None, steps: 0, place: 16 }))
}

impl Faulty {
    /// Agent b dies at step 5; its mask is then its no-op alone.
    fn write(&mut self, out: &mut Frame<'_>) {
        let fault = self.fault;
        let draw = match &mut self.stream {
            Some(_) if fault == Fault::IgnoresStream => 0.5,
            Some(stream) => stream.uniform_f32(),
            None => 0.0,
        };
        self.place = (draw * 16.0) as u32;
        out.obs.fill(draw);
        out.state.fill(draw);
        if fault == Fault::Clock {
            out.obs[0] = CLOCK.fetch_add(1, std::sync::atomic::Ordering::Relaxed) as f32 % 1.9;
        }
        match fault {
            Fault::ForgetsEntry => out.state[3] = f32::NAN,
            Fault::Infinite => out.obs[3] = f32::INFINITY,
            Fault::OutOfBounds => out.obs[3] = 2.5,
            Fault::BadReward => out.rewards[0] = f64::NAN,
            Fault::EmptyMask => out.avail[..2].fill(false),
            _ => out.avail[1] = fault != Fault::UndeclaredMask,
        }
        out.alive[1] = self.steps < 5 || (fault == Fault::Revives && self.steps > 6);
        if !out.alive[1] {
            out.avail[3] = false;
        }
        if fault == Fault::ChangesTeam {
            let mut spec = (*self.spec).clone();
            spec.version += 1;
            self.spec = Arc::new(spec);
        }
    }
}

impl Env for Faulty {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        (self.stream, self.steps) = (Some(stream), 0);
        let left = self.place;
        self.write(out);
        if self.fault == Fault::LeavesRest && self.place == left {
            self.write(out);
        }
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        if self.stream.is_none() && self.fault != Fault::StepsAnyway {
            return Err(EnvError::NotRunning("too early or too late"));
        }
        if self.fault == Fault::PanicsOnBadAction {
            let _ = [0, 1][if actions.of(0)[0].is_nan() { 9 } else { actions.choice(0) }];
        }
        let bad = actions.flat().iter().any(|a| ![0.0, 1.0].contains(a)) || (self.steps >= 5 && actions.of(1)[0] != 0.0);
        if bad && self.fault != Fault::TakesAnything {
            return Err(EnvError::Action { agent: "a".into(), expected: "0 or 1".into(), found: "other".into() });
        }
        self.steps += 1;
        self.write(out);
        let over = match self.fault {
            Fault::NeverEnds => false,
            Fault::EndsEarly => self.steps == 9,
            _ => self.steps == 10,
        };
        if over {
            self.stream = None;
        }
        Ok(if over { Status::Truncated } else { Status::Running })
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        let state = self.stream.as_ref().map_or(motley_core::StreamState { key: 0, pos: u64::MAX }, Stream::state);
        let pos = if self.fault == Fault::BadSnapshot { 0 } else { state.pos };
        Some([state.key, pos, self.steps as u64].iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        self.stream = None;
        let words: Vec<u64> = snapshot.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        let &[key, pos, steps] = words.as_slice() else { return Err(EnvError::Failed("no snapshot".into())) };
        self.stream = (pos != u64::MAX).then(|| Stream::from_state(motley_core::StreamState { key, pos }));
        self.steps = steps as usize;
        Ok(())
    }

    fn won(&self) -> Option<bool> {
        (self.fault != Fault::SilentWin).then_some(false)
    }
}

#[test]
fn each_fault_fails_the_check_that_is_meant_for_it() {
    let sound = check(&|| faulty(Fault::None), 1);
    assert!(sound.iter().all(|l| l.outcome == Outcome::Passed || l.name == "pictures can be drawn"), "{sound:?}");
    let cases = [
        (Fault::TwinNames, "the team makes sense", "\"a\""),
        (Fault::TwinMeanings, "the team makes sense", "action 1 means what"),
        (Fault::OpensNever, "observations, state and rewards", "action 1 is available"),
        (Fault::ChangesTeam, "the team never changes", "another"),
        (Fault::ForgetsEntry, "observations, state and rewards", "state[3]"),
        (Fault::Infinite, "observations, state and rewards", "\"b\", entry 1"),
        (Fault::BadReward, "observations, state and rewards", "reward of agent \"a\""),
        (Fault::EmptyMask, "observations, state and rewards", "at least one available action"),
        (Fault::UndeclaredMask, "observations, state and rewards", "declares no masks"),
        (Fault::Revives, "observations, state and rewards", "stay dead"),
        (Fault::OutOfBounds, "observations stay inside", "-2 to 2, found 2.5"),
        (Fault::Clock, "the same stream", "differs"),
        (Fault::LeavesRest, "the same stream", "after another episode, differs on stream"),
        (Fault::StepsAnyway, "a step before the reset", "expected NotRunning"),
        (Fault::TakesAnything, "an action outside", "expected an error"),
        (Fault::PanicsOnBadAction, "an action outside", "panicked"),
        (Fault::NeverEnds, "episodes end at", "found it running"),
        (Fault::EndsEarly, "episodes end at", "at step 9"),
        (Fault::BadSnapshot, "a snapshot", "differently"),
        (Fault::SilentWin, "winning is said", "won() is None"),
    ];
    for (fault, name, text) in cases {
        let lines = check(&|| faulty(fault), 1);
        let line = lines.iter().find(|l| l.name.starts_with(name)).unwrap();
        assert!(matches!(&line.outcome, Outcome::Failed(t) if t.contains(text)), "{name}: {:?}", line.outcome);
    }
    // An environment that is never drawn is not said to be drawn well.
    let lines = check(&|| faulty(Fault::SilentWin), 1);
    let drawn = lines.iter().find(|l| l.name == "pictures can be drawn").unwrap();
    assert!(matches!(&drawn.outcome, Outcome::Skipped(why) if why.starts_with("it shows no scene")), "{:?}", drawn.outcome);
    let lines = check(&|| faulty(Fault::IgnoresStream), 1);
    assert!(lines.iter().any(|l| l.name.starts_with("other streams") && matches!(l.outcome, Outcome::Warned(_))));
    let lines = check(&|| Err(ConfigError::Invalid("no such thing".into())), 1);
    assert!(lines.len() == 1 && lines[0].failed());
}

//! Learning: fixed seeds, small budgets, margins far wider than the spread over seeds.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::Bench;
use motley_core::{
    ActionSpace, Actions, AgentSpec, Env, EnvError, Frame, ObsSpace, RewardKind, StateSpace, Status, Stream, TeamSpec,
};
use motley_nn::{Mode, Pool};
use motley_train::MakeEnv;
use motley_train::evaluate::{EvalPlan, EvalSummary, evaluate};

fn task(name: &'static str, settings: &'static [&'static str]) -> MakeEnv {
    Arc::new(move || motley_envs::Registry::builtin().make(name, settings))
}

/// Mean return of the present policy.
fn score(bench: &Bench, make: &MakeEnv, episodes: usize, mode: Mode) -> f64 {
    let plan = EvalPlan { seed: 99, round: 0, episodes, mode };
    let policy = bench.algorithm.policy();
    EvalSummary::of(&evaluate(&policy, make, &Pool::serial(), plan).unwrap()).return_mean
}

/// A learner after `updates`, and the mean return of its first, random policy.
fn learn(algo: &str, make: &MakeEnv, overrides: &[&str], envs: usize, updates: usize) -> (Bench, f64) {
    let mut bench = Bench::try_new(algo, Arc::clone(make), overrides, envs, 1, 2).unwrap();
    let before = score(&bench, make, 400, Mode::Sample);
    bench.iterate(updates);
    (bench, before)
}

const GAME: [&str; 4] = ["net.hidden_sizes=[16]", "algo.rollout_steps=10", "algo.lr=0.005", "?algo.critic_lr=0.005"];

#[test]
fn continuous_agents_leave_the_saddle_of_the_bilinear_game() {
    let make = task("matrix/bilinear", &[]);
    for algo in ["happo", "mappo", "ippo"] {
        for distribution in ["net.distribution=gaussian", "net.distribution=tanh_gaussian"] {
            let (bench, before) = learn(algo, &make, &[&GAME[..], &["net.share=none", distribution]].concat(), 20, 60);
            let after = score(&bench, &make, 1, Mode::Greedy);
            assert!(before.abs() < 0.1 && after > 0.5, "{algo} {distribution}: {before} to {after}");
        }
    }
}

/// T16, characterisation: policy gradients find a pair that no miss can spoil, 7 in the end (6 on the way there), and play it
/// almost always. A uniform pair is worth -31 / 9.
#[test]
fn climbing_ends_in_a_safe_pair() {
    let make = task("matrix/climbing", &[]);
    let cases = [("ia2c", 600, 7.0), ("maa2c", 600, 7.0), ("mappo", 600, 7.0)];
    let early = ["happo", "hatrpo", "haa2c", "ippo"].map(|algo| (algo, 120, 5.0));
    for (algo, updates, least) in cases.into_iter().chain(early) {
        let (bench, before) = learn(algo, &make, &[&GAME[..], &["net.share=none"]].concat(), 20, updates);
        let (sampled, greedy) = (score(&bench, &make, 400, Mode::Sample), score(&bench, &make, 1, Mode::Greedy));
        assert!(before < 0.0 && sampled > 4.0 && greedy >= least, "{algo}: {before} to {sampled} sampled, {greedy} greedy");
    }
}

/// T16, characterisation: where a miss costs 25 or more, policy gradients settle for the safe pair's 2.
#[test]
fn penalty_ends_in_the_safe_pair() {
    let costs: [&'static [&'static str]; 4] = [&["k=-50"], &["k=-25"], &["k=-75"], &["k=-100"]];
    for (n, k) in costs.into_iter().enumerate() {
        let make = task("matrix/penalty", k);
        let algorithms: &[&str] =
            if n == 0 { &["mappo", "ia2c", "maa2c", "happo", "reinforce", "coma"] } else { &["mappo", "ia2c", "maa2c"] };
        for algo in algorithms {
            let overrides = [&GAME[..], &["net.share=none", "?algo.critic_epochs=5"]].concat();
            let (bench, before) = learn(algo, &make, &overrides, 20, 120);
            let (sampled, greedy) = (score(&bench, &make, 400, Mode::Sample), score(&bench, &make, 1, Mode::Greedy));
            let settled = before < -1.0 && sampled > 1.0 && greedy >= 2.0;
            assert!(settled, "{algo} {k:?}: {before} to {sampled} sampled, {greedy} greedy");
        }
    }
}

/// T16: Pareto-AC finds the best pair of every game, through punishment and ties, within 20,000 steps.
#[test]
fn pareto_ac_finds_the_best_pair() {
    let games: [(&'static str, &'static [&'static str], f64); 6] = [
        ("matrix/climbing", &[], 11.0),
        ("matrix/penalty", &["k=0"], 10.0),
        ("matrix/penalty", &["k=-25"], 10.0),
        ("matrix/penalty", &["k=-50"], 10.0),
        ("matrix/penalty", &["k=-75"], 10.0),
        ("matrix/penalty", &["k=-100"], 10.0),
    ];
    for (name, settings, best) in games {
        let make = task(name, settings);
        let mut bench = Bench::try_new("pareto-ac", Arc::clone(&make), &PARETO, 10, 1, 1).unwrap();
        for update in 0..2000 {
            bench.progress = f64::from(update) / 2000.0;
            bench.iterate(1);
        }
        let (sampled, greedy) = (score(&bench, &make, 400, Mode::Sample), score(&bench, &make, 1, Mode::Greedy));
        assert!(greedy == best && sampled > best - 1.0, "{name} {settings:?}: {sampled} sampled, {greedy} greedy");
    }
}

/// EPyMARL's networks and rates for it.
const PARETO: [&str; 8] = [
    "net.hidden_sizes=[64, 64]",
    "net.feature_norm=false",
    "net.layer_norm=false",
    "net.init=uniform",
    "algo.rollout_steps=1",
    "algo.lr=3e-4",
    "algo.critic_lr=3e-4",
    "algo.value_norm=none",
];

/// One landmark, 25 steps: standing still returns -33 in the mean (25 squared distances of 4/3), the best about -10.
#[test]
fn particles_reach_their_landmark() {
    let make = task("mpe/simple_v3", &[]);
    for algo in ["happo", "mappo", "ippo", "reinforce", "coma"] {
        let overrides = [
            "net.hidden_sizes=[32]",
            "algo.rollout_steps=50",
            "algo.lr=0.005",
            "?algo.critic_lr=0.005",
            "?algo.normalize_returns=true",
        ];
        let taught: &[&str] = if algo == "coma" { &["algo.critic_epochs=10", "algo.target_update=0.5"] } else { &[] };
        let overrides = [&overrides[..], taught].concat();
        let (bench, before) = learn(algo, &make, &overrides, 20, 40);
        let after = score(&bench, &make, 100, Mode::Greedy);
        assert!(before < -25.0 && after > -14.0, "{algo}: {before} to {after}");
    }
}

/// Quick off-policy learning: the first 400 env steps at random, then an update a step of all copies.
const REPLAY: [&str; 6] = [
    "net.hidden_sizes=[32]",
    "algo.rollout_steps=20",
    "algo.warmup_steps=400",
    "algo.batch_size=64",
    "algo.lr=0.003",
    "algo.critic_lr=0.003",
];

#[test]
fn deterministic_agents_from_memory_leave_the_saddle_of_the_bilinear_game() {
    let make = task("matrix/bilinear", &[]);
    for algo in ["haddpg", "hatd3", "maddpg", "matd3"] {
        let (bench, before) = learn(algo, &make, &[&REPLAY[..], &["algo.target_update=0.02"]].concat(), 20, 40);
        let after = score(&bench, &make, 1, Mode::Greedy);
        assert!(before.abs() < 0.2 && after > 0.5, "{algo}: {before} to {after}");
    }
}

/// Choices through the straight-through Gumbel-softmax: a safe pair.
#[test]
fn choices_climb_through_the_gumbel_softmax() {
    let make = task("matrix/climbing", &[]);
    for algo in ["haddpg", "hatd3", "maddpg", "hasac"] {
        let (bench, _) = learn(algo, &make, &[&REPLAY[..], &["algo.target_update=0.02"]].concat(), 20, 40);
        let after = score(&bench, &make, 1, Mode::Greedy);
        assert!(after >= 5.0, "{algo}: {after}");
    }
}

/// As [`particles_reach_their_landmark`], with continuous actions and with discrete ones.
#[test]
fn particles_reach_their_landmark_from_memory() {
    for (algo, form) in [("hatd3", &["continuous=true"][..]), ("hasac", &["continuous=true"]), ("hasac", &[])] {
        let make = task("mpe/simple_v3", form);
        let words = ["?algo.n_step=1", "?algo.alpha=0.1", "algo.target_update=0.02"];
        let (bench, before) = learn(algo, &make, &[&REPLAY[..], &words].concat(), 20, 50);
        let after = score(&bench, &make, 100, Mode::Greedy);
        assert!(before < -25.0 && after > -16.0, "{algo} {form:?}: {before} to {after}");
    }
}

/// Each agent is shown its own cue once and paid for repeating it three steps later, when it sees nothing but the time.
struct Recall {
    team: Arc<TeamSpec>,
    cues: Vec<usize>,
    time: usize,
}

const CHOICES: [usize; 2] = [2, 3];
const DELAY: usize = 3;

impl Recall {
    fn make() -> MakeEnv {
        let agent = |(i, n): (usize, &usize)| {
            AgentSpec::new(format!("a{i}"), format!("k{i}"), ObsSpace::vector(n + 1), ActionSpace::Discrete(*n))
        };
        let mut team = TeamSpec::new("test/recall", CHOICES.iter().enumerate().map(agent).collect());
        (team.reward, team.state) = (RewardKind::Common, StateSpace::Ep(CHOICES.iter().sum::<usize>() + 1));
        let team = Arc::new(team);
        Arc::new(move || Ok(Box::new(Recall { team: Arc::clone(&team), cues: Vec::new(), time: 0 })))
    }

    fn show(&self, out: &mut Frame<'_>) {
        out.obs.fill(0.0);
        out.state.fill(0.0);
        let mut at = 0;
        for (i, cue) in self.cues.iter().enumerate() {
            let obs = &mut out.obs[self.team.obs_range(i)];
            obs[CHOICES[i]] = self.time as f32;
            if self.time == 0 {
                obs[*cue] = 1.0;
            }
            out.state[at + cue] = 1.0;
            at += CHOICES[i];
        }
        out.state[at] = self.time as f32;
    }
}

impl Env for Recall {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.cues = CHOICES.iter().map(|n| stream.below(*n as u32) as usize).collect();
        self.time = 0;
        self.show(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        let last = self.time == DELAY;
        if last {
            let right = self.cues.iter().enumerate().filter(|(i, cue)| actions.choice(*i) == **cue).count();
            out.rewards.fill(right as f64 / 2.0);
        }
        self.time += 1;
        self.show(out);
        Ok(if last { Status::Terminated } else { Status::Running })
    }
}

/// EPyMARL's form: n-step returns with a target network, several passes, no normalisation of advantages.
#[test]
fn ippo_learns_from_n_step_returns_too() {
    let make = task("mpe/simple_v3", &[]);
    let overrides = [
        "net.hidden_sizes=[32]",
        "algo.rollout_steps=50",
        "algo.lr=0.005",
        "algo.critic_lr=0.005",
        "algo.returns=n_step",
        "algo.target_update=0.2",
        "algo.normalize_advantages=false",
        "algo.value_clip=0",
    ];
    let (bench, before) = learn("ippo", &make, &overrides, 20, 40);
    let after = score(&bench, &make, 100, Mode::Greedy);
    assert!(before < -25.0 && after > -14.0, "{before} to {after}");
}

/// Chance is (1/2 + 1/3) / 2 = 0.417 in the mean; 400 episodes have a deviation of 0.017.
#[test]
fn only_memory_recalls() {
    let make = Recall::make();
    let overrides =
        ["net.hidden_sizes=[32]", "algo.rollout_steps=40", "net.chunk_length=20", "algo.lr=0.003", "algo.critic_lr=0.003"];
    for algo in ["happo", "mappo"] {
        let run = |recurrent| {
            let (bench, _) = learn(algo, &make, &[&overrides[..], &[recurrent, "net.share=none"]].concat(), 16, 60);
            score(&bench, &make, 400, Mode::Greedy)
        };
        let (plain, recalled) = (run("net.recurrent=false"), run("net.recurrent=true"));
        assert!((0.32..0.52).contains(&plain), "{algo} without memory: {plain}");
        assert!(recalled > 0.9, "{algo} with memory: {recalled}");
    }
}

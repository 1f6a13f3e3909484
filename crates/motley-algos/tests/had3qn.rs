//! HAD3QN: what its central network learns against payoff tables and value iteration, and where its agents end.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::Bench;
use motley_core::{
    ActionSpace, Actions, AgentSpec, Env, EnvError, Frame, ObsSpace, Purpose, RewardKind, StateSpace, Status, Stream, TeamSpec,
};
use motley_nn::init::Init;
use motley_nn::{Activation, AdamConfig, Dueling, Engine, Mode, NetSpec, Pool};
use motley_train::MakeEnv;
use motley_train::evaluate::{EvalPlan, EvalSummary, evaluate};

const HIDDEN: usize = 32;
const STREAM: usize = 16;

/// Uniform exploration throughout, so that every joint action stays in memory.
const EXPLORING: [&str; 9] = [
    "net.hidden_sizes=[32]",
    "algo.stream_size=16",
    "algo.rollout_steps=20",
    "algo.warmup_steps=400",
    "algo.batch_size=64",
    "algo.epsilon=1",
    "algo.lr=0.003",
    "algo.critic_lr=0.003",
    "algo.target_update=0.02",
];

fn bench(make: &MakeEnv, words: &[&str], seed: u64) -> Bench {
    Bench::try_new("had3qn", Arc::clone(make), &[&EXPLORING[..], words].concat(), 20, seed, 2).unwrap()
}

/// Values of a saved network over `x`, `[rows, actions]`, by a network of its own that reads the saved parameters.
fn values(bench: &Bench, name: &str, x: &[f32], input: usize, actions: usize) -> Vec<f32> {
    let spec = NetSpec {
        obs: ObsSpace::vector(input),
        extra: 0,
        hidden_sizes: vec![HIDDEN],
        activation: Activation::Relu,
        last_activation: None,
        feature_norm: false,
        layer_norm: false,
        recurrent: false,
        output: 0,
        output_gain: 1.0,
        init: Init::Uniform,
        free: Vec::new(),
    };
    let adam = AdamConfig::read(&motley_core::Settings::new(AdamConfig::keys())).unwrap();
    let rng = Stream::new(0, Purpose::Check, 0, 0);
    let mut net = Dueling::new(name.into(), spec, STREAM, actions, adam, Engine::Fused, &rng);
    net.load(&bench.saved().scope(name)).unwrap();
    net.values(&Pool::serial(), x, x.len() / input, false)
}

fn best(values: &[f32]) -> usize {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap()
}

fn score(bench: &Bench, make: &MakeEnv, episodes: usize) -> f64 {
    let plan = EvalPlan { seed: 99, round: 0, episodes, mode: Mode::Greedy };
    EvalSummary::of(&evaluate(&bench.algorithm.policy(), make, &Pool::serial(), plan).unwrap()).return_mean
}

/// The published payoffs, agent 0's choice first.
fn games() -> [(&'static str, &'static [&'static str], usize, Vec<f32>); 4] {
    [
        ("matrix/climbing", &[], 3, vec![11.0, -30.0, 0.0, -30.0, 7.0, 6.0, 0.0, 0.0, 5.0]),
        ("matrix/penalty", &["k=-20"], 3, vec![-20.0, 0.0, 10.0, 0.0, 2.0, 0.0, 10.0, 0.0, -20.0]),
        ("matrix/non_monotonic", &[], 3, vec![8.0, -12.0, -12.0, -12.0, 0.0, 0.0, -12.0, 0.0, 0.0]),
        ("matrix/heterogeneity_trap", &[], 2, vec![0.0, 2.0, 2.0, -1.0]),
    ]
}

/// A game learned, the payoff of the pair that the networks then choose, and what one agent could gain alone by the table.
fn played(name: &'static str, settings: &'static [&'static str], table: &[f32], words: &[&str], seed: u64) -> (Bench, f32, f32) {
    let make: MakeEnv = Arc::new(move || motley_envs::Registry::builtin().make(name, settings));
    let mut bench = bench(&make, &[words, &["algo.lr_decay=true"]].concat(), seed);
    for update in 0..150 {
        bench.progress = f64::from(update) / 150.0;
        bench.iterate(1);
    }
    let n = table.len().isqrt();
    let [a, b] = [0, 1].map(|i| best(&values(&bench, &format!("actor.{i}"), &[1.0], 1, n)));
    let paid = table[a * n + b];
    assert_eq!(score(&bench, &make, 1) as f32, paid, "what is played is what the networks say");
    let gain = (0..n).map(|own| table[own * n + b].max(table[a * n + own]) - paid).fold(0.0_f32, f32::max);
    (bench, paid, gain)
}

/// The central values are the payoffs, and the pair that agents then choose is an equilibrium: no other choice of one of them pays
/// more.
#[test]
fn joint_values_are_the_payoffs_and_agents_end_in_an_equilibrium() {
    for (name, settings, n, table) in games() {
        for seed in [1, 2] {
            let (bench, paid, gain) = played(name, settings, &table, &[], seed);
            let state = vec![1.0; bench.field.team.state.row()];
            let found = values(&bench, "critic", &state, state.len(), n * n);
            for (number, value) in found.iter().enumerate() {
                let paid = table[number % n * n + number / n];
                assert!((value - paid).abs() < 0.1, "{name}, seed {seed}: joint action {number} is worth {paid}, not {value}");
            }
            assert!(gain == 0.0, "{name}, seed {seed}: {paid} is paid, {gain} more is within reach of one agent");
        }
    }
}

/// Negative control: taught their greedy actions' values alone, as in the reference code, agents stop where one of them gains alone.
#[test]
fn the_reference_form_need_not_end_in_an_equilibrium() {
    let [(name, settings, _, table), ..] = games();
    let gains = [1, 2].map(|seed| played(name, settings, &table, &["algo.local_fit=greedy"], seed).2);
    assert!(gains.iter().any(|gain| *gain > 0.0), "{gains:?}");
}

/// Two places, unlike agents: agent 0's choice is where the team is next, both are paid for what suits the place. Never ends but by the
/// time limit, which is not the task's own end.
struct Places {
    team: Arc<TeamSpec>,
    place: usize,
    time: usize,
}

const CHOICES: [usize; 2] = [2, 3];
const LIMIT: usize = 5;
const GAMMA: f32 = 0.8;

fn paid(place: usize, a: usize, b: usize) -> f32 {
    [[0.0, 0.6], [1.0, -0.5]][place][a] + [[0.3, 0.0, -1.0], [-0.2, 0.1, 0.8]][place][b]
}

impl Places {
    fn make() -> MakeEnv {
        let agent = |(i, n): (usize, &usize)| {
            AgentSpec::new(format!("a{i}"), format!("k{i}"), ObsSpace::vector(2), ActionSpace::Discrete(*n))
        };
        let mut team = TeamSpec::new("test/places", CHOICES.iter().enumerate().map(agent).collect());
        (team.reward, team.state) = (RewardKind::Common, StateSpace::Ep(2));
        let team = Arc::new(team);
        Arc::new(move || Ok(Box::new(Places { team: Arc::clone(&team), place: 0, time: 0 })))
    }

    fn show(&self, out: &mut Frame<'_>) {
        for row in [&mut *out.obs, &mut *out.state] {
            row.iter_mut().enumerate().for_each(|(k, x)| *x = f32::from(u8::from(k % 2 == self.place)));
        }
    }
}

impl Env for Places {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        (self.place, self.time) = (stream.below(2) as usize, 0);
        self.show(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        let (a, b) = (actions.choice(0), actions.choice(1));
        out.rewards.fill(f64::from(paid(self.place, a, b)));
        (self.place, self.time) = (a, self.time + 1);
        self.show(out);
        Ok(if self.time == LIMIT { Status::Truncated } else { Status::Running })
    }
}

/// Value iteration over joint actions is the oracle. The only equilibrium is the best pair, since what an agent gains does not depend
/// on the other. Returns are of one step: those of more would follow the exploring policy.
#[test]
fn values_of_joint_actions_are_those_of_value_iteration() {
    let joint = CHOICES[0] * CHOICES[1];
    let pair = |k: usize| (k % CHOICES[0], k / CHOICES[0]);
    let mut exact = vec![0.0_f32; 2 * joint];
    for _ in 0..200 {
        let top = |place: usize, q: &[f32]| q[place * joint..(place + 1) * joint].iter().copied().fold(f32::MIN, f32::max);
        let swept = |r: usize| {
            let (a, b) = pair(r % joint);
            paid(r / joint, a, b) + GAMMA * top(a, &exact)
        };
        exact = (0..2 * joint).map(swept).collect();
    }
    let make = Places::make();
    let mut bench = bench(&make, &["algo.gamma=0.8", "algo.lr_decay=true", "algo.target_update=0.05"], 1);
    for update in 0..200 {
        bench.progress = f64::from(update) / 200.0;
        bench.iterate(1);
    }
    let found = values(&bench, "critic", &[1.0, 0.0, 0.0, 1.0], 2, joint);
    for (k, (value, exact)) in found.iter().zip(&exact).enumerate() {
        assert!((value - exact).abs() < 0.1, "place {}, joint action {:?}: {value}, exact {exact}", k / joint, pair(k % joint));
    }
    for place in 0..2 {
        let mut x = [0.0; 2];
        x[place] = 1.0;
        let chosen = [0, 1].map(|i| best(&values(&bench, &format!("actor.{i}"), &x, 2, CHOICES[i])));
        assert_eq!((chosen[0], chosen[1]), pair(best(&exact[place * joint..(place + 1) * joint])), "place {place}");
    }
}

/// One landmark, 25 steps: standing still returns -33 in the mean, the best about -10.
#[test]
fn particles_reach_their_landmark() {
    let make: MakeEnv = Arc::new(|| motley_envs::Registry::builtin().make("mpe/simple_v3", &[]));
    let mut bench = bench(&make, &["algo.epsilon=0.2"], 1);
    let before = score(&bench, &make, 100);
    bench.iterate(50);
    let after = score(&bench, &make, 100);
    assert!(before < -25.0 && after > -16.0, "{before} to {after}");
}

//! T19 on true rollouts: what a time limit means to targets and advantages, with values from the critic's own network.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::oracle::{Hand, by_hand, critic_net, normalized, plain_values, value};
use common::{Bench, Field, SMALL, STATE, Toy, settings};
use motley_algos::RewardMode;
use motley_algos::on_policy::{self, OnPolicy};
use motley_core::{ActionSpace, Purpose, Status, Stream};
use motley_data::stats::{RunningMeanStd, Scaling};
use motley_nn::{Policy, Source};
use motley_run::{StateReader, StateWriter};

const GAMMA: f64 = 0.9;

/// Episodes of two steps.
fn probe(terminates: bool) -> Toy {
    Toy { length: 2, terminates, ..Toy::new(&[ActionSpace::Discrete(2), ActionSpace::Discrete(3)]) }
}

/// One episode of two steps in one environment: targets of both steps, which the running value norm shows as mean and mean
/// square after one pass.
fn targets(truncation: &str, terminates: bool) -> ([f64; 2], [f64; 2]) {
    let mode = format!("algo.truncation={truncation}");
    let fixed =
        ["net.hidden_sizes=[16]", "algo.rollout_steps=2", "algo.critic_epochs=1", "algo.gamma=0.9", "algo.gae_lambda=0.8"];
    let mut bench = Bench::try_new("happo", probe(terminates).make(), &[&fixed[..], &[&mode]].concat(), 1, 1, 1).unwrap();
    bench.collect();
    let roll = &bench.field.roll;
    let net = critic_net(&bench.saved(), STATE, false);
    let lane = &roll.lanes[0];
    let last = if terminates { Status::Terminated } else { Status::Truncated };
    assert_eq!(lane.status, [Status::Running, last]);
    let (v0, v1, end) = (value(&net, roll.state(0, 0, 0)), value(&net, roll.state(0, 1, 0)), value(&net, &lane.finals[0].state));
    assert_ne!(lane.finals[0].state, roll.state(0, 2, 0), "the slot holds the next episode's start");
    let r = |t: usize| lane.rewards[2 * t];
    let target1 = match (truncation, terminates) {
        (_, true) | ("terminal", _) => r(1),
        ("harl", _) => v1,
        _ => r(1) + GAMMA * end,
    };
    let target0 = r(0) + GAMMA * v1 + GAMMA * 0.8 * (target1 - v1);
    assert!((v0 - target0).abs() > 1e-3);
    bench.update();
    let norm = bench.saved().f64s("critic.0.value_norm").unwrap();
    ([norm[0] / norm[2], norm[1] / norm[2]], [target0, target1])
}

#[test]
fn the_target_of_a_truncated_step() {
    let mut means = Vec::new();
    for truncation in ["bootstrap", "harl", "terminal"] {
        let ([mean, square], [a, b]) = targets(truncation, false);
        assert!((mean - 0.5 * (a + b)).abs() < 1e-5, "{truncation}: mean target {mean}, by hand {a} and {b}");
        assert!((square - 0.5 * (a * a + b * b)).abs() < 1e-5, "{truncation}: mean square {square}, by hand {a} and {b}");
        means.push(mean);
        let ended = targets(truncation, true).0;
        assert_eq!(ended, targets("terminal", false).0, "a termination is one in every mode");
    }
    assert!(
        (means[0] - means[1]).abs() > 1e-2 && (means[1] - means[2]).abs() > 1e-2 && (means[0] - means[2]).abs() > 1e-2,
        "{means:?}"
    );
}

/// Long rollouts with several episodes and holes in each mode, against explicit forward sums.
#[test]
fn advantages_in_every_mode() {
    for truncation in ["bootstrap", "harl", "terminal"] {
        for toy in [Toy::mixed(), Toy { faults: true, ..Toy::mixed() }, Toy { terminates: true, ..Toy::mixed() }] {
            let mode = format!("algo.truncation={truncation}");
            let overrides = [&SMALL[..], &[&mode, "algo.gamma=0.9", "algo.gae_lambda=0.8"]].concat();
            let settings = settings(on_policy::keys("none"), &overrides);
            let rng = Stream::new(5, Purpose::Check, 0, 0);
            let mut core = OnPolicy::new("test", &toy.team(), &settings, Source::State, RewardMode::Sum, &rng).unwrap();
            let mut field = Field::new(toy.make(), 4, 20, core.policy().memory_len(), 1, 1);
            field.collect(&core.policy());
            let mut w = StateWriter::new();
            core.save(&mut w);
            let net = critic_net(&StateReader::from_bytes(w.to_bytes().unwrap()).unwrap(), STATE, false);
            let roll = &field.roll;
            let values = plain_values(roll, &net, 0);
            let reward = |e: usize, t: usize| roll.lanes[e].rewards[3 * t];
            let (raw, _) = by_hand(&Hand { roll, values: &values, reward: &reward, gamma: GAMMA, lambda: 0.8, truncation });
            let active = roll.active_rows(0);
            let expected = normalized(&raw, &active);
            let estimates = core.estimate(&field.pool, roll).unwrap();
            let found = core.advantages(&estimates, &core.actors[0], &core.actors[0].rows(roll));
            for row in (0..roll.rows()).filter(|r| active[*r]) {
                assert!(
                    (f64::from(found[row]) - expected[row]).abs() < 3e-4,
                    "{truncation}, row {row}: {} {}",
                    found[row],
                    expected[row]
                );
            }
        }
    }
}

/// `algo.reward_norm` learns what it would learn from a task whose rewards somebody else standardised.
#[test]
fn rewards_are_standardised_before_anything_is_made_of_them() {
    let toy = Toy { deaths: true, faults: true, ..probe(true) };
    for (algo, word, scaling) in [
        ("mappo", "standard", Scaling::Standardise),
        ("ippo", "standard", Scaling::Standardise),
        ("maa2c", "scale", Scaling::ScaleOnly),
        ("happo", "scale", Scaling::ScaleOnly),
    ] {
        let on = format!("algo.reward_norm={word}");
        let (mut scaled, mut plain) = (Bench::toy(algo, &toy, &[&on]), Bench::toy(algo, &toy, &[]));
        let mut norm = RunningMeanStd::default();
        for _ in 0..3 {
            scaled.collect();
            plain.collect();
            let n = plain.field.team.n();
            let paid: Vec<f64> = plain.field.roll.lanes.iter().flat_map(|lane| lane.rewards.iter().step_by(n)).copied().collect();
            norm.update(&paid, Some(&plain.field.roll.valid_rows())).unwrap();
            for lane in &mut plain.field.roll.lanes {
                lane.rewards.iter_mut().for_each(|reward| *reward = norm.scale(*reward, scaling));
            }
            scaled.update();
            plain.update();
        }
        assert_eq!(scaled.params(), plain.params(), "{algo} {word}");
        let mut again = Bench::toy(algo, &toy, &[&on]);
        again.algorithm.load(&scaled.saved()).unwrap();
        assert_eq!(again.bytes(), scaled.bytes(), "{algo}: statistics are saved");
        assert_ne!(again.bytes(), plain.bytes());
    }
}

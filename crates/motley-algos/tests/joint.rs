//! Critics of joint actions: what they are shown, against a rollout read by hand, and the exact maximum, against enumeration.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::{Bench, Field, SMALL, Toy, settings};
use motley_algos::RewardMode;
use motley_algos::actors::{self, Actors};
use motley_algos::joint::{JointCritic, Moments, taken};
use motley_core::{ActionSpace, Purpose, Status, Stream};
use motley_data::returns::{Truncation, n_step};
use motley_nn::{ChoiceCriticConfig, Net, NetScratch, Policy};

fn rng() -> Stream {
    Stream::new(6, Purpose::Check, 0, 0)
}

/// Unlike agents with masks, deaths and faults; one of them multi-discrete.
fn toy(fp: bool) -> Toy {
    let spaces = [ActionSpace::Discrete(3), ActionSpace::MultiDiscrete(vec![2, 3]), ActionSpace::Discrete(2)];
    Toy { fp, masks: true, deaths: true, faults: true, ..Toy::new(&spaces) }
}

fn built(toy: &Toy, overrides: &[&str]) -> (Actors, Vec<JointCritic>, Field) {
    let keys = [actors::keys("none"), ChoiceCriticConfig::keys()].concat();
    let settings = settings(keys, &[&SMALL[..], overrides].concat());
    let actors = Actors::new("test", &toy.team(), &settings, &rng()).unwrap();
    let groups = [vec![0], vec![1], vec![2]];
    let critics = JointCritic::build(&toy.team(), &groups, None, &settings, RewardMode::Common, &rng()).unwrap();
    let mut field = Field::new(toy.make(), 3, 20, actors.policy().memory_len(), 1, 1);
    field.collect(&actors.policy());
    (actors, critics, field)
}

/// What followed a step: the next row of the environment, or a moment of its own; nothing after a termination.
#[test]
fn moments_follow_their_steps() {
    for terminates in [false, true] {
        let (actors, _, field) = built(&Toy { terminates, ..toy(false) }, &[]);
        let roll = &field.roll;
        let moments = Moments::new(roll, &actors.policy(), &rng()).unwrap();
        // With rewards 0 and gamma 1 a one-step return is the value of what followed: number the moments.
        let values: Vec<f32> = (0..moments.len()).map(|m| m as f32).collect();
        let followers = moments.returns(&values, None, |_| 0.0, |series| n_step(series, 1.0, 1, Truncation::Bootstrap)).unwrap();
        let mut beyond = Vec::new();
        for (row, next) in followers.iter().map(|m| *m as usize).enumerate() {
            let (e, t) = roll.at(row);
            let lane = &roll.lanes[e];
            match lane.status[t] {
                _ if !lane.valid[t] => assert_eq!(next, 0),
                Status::Terminated => assert_eq!(next, 0),
                Status::Running if t + 1 < roll.steps() && lane.valid[t + 1] => assert_eq!(next, row + 1),
                status => {
                    assert!(next >= roll.rows());
                    beyond.push(next);
                    for i in 0..3 {
                        let (mask, alive) = match lane.finals.iter().find(|f| status.done() && f.time == t) {
                            Some(end) => (&end.avail[roll.team().mask_range(i)], end.alive[i]),
                            None => (roll.avail(e, t + 1, i), lane.alive[(t + 1) * 3 + i]),
                        };
                        assert_eq!((moments.avail(next, i), moments.alive(next, i)), (mask, alive));
                        let mut at = 0;
                        for (a, k) in moments.action(next, i).iter().zip(roll.team().agents[i].action.choices()) {
                            assert!(mask[at + *a as usize], "an unavailable action was drawn");
                            at += k;
                        }
                    }
                }
            }
        }
        beyond.dedup();
        assert_eq!(beyond.len() + roll.rows(), moments.len());
        assert!(beyond.len() >= if terminates { 3 } else { 9 });
    }
}

/// The critic's input by hand: state, then a one-hot for each choice of each living teammate.
fn input(field: &Field, e: usize, t: usize, i: usize, choices: &[Vec<usize>]) -> Vec<f32> {
    let (roll, team) = (&field.roll, field.roll.team());
    let mut x = roll.state(e, t, team.state.row_of(i)).to_vec();
    for (j, made) in choices.iter().enumerate() {
        for (n, made) in team.agents[j].action.choices().iter().zip(made) {
            let seen = j != i && roll.lanes[e].alive[t * 3 + j];
            x.extend((0..*n).map(|a| f32::from(u8::from(seen && a == *made))));
        }
    }
    x
}

fn values(net: &Net, x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; net.output_len()];
    net.forward(x, 1, &mut [], &mut out, &mut NetScratch::default());
    out
}

#[test]
fn inputs_hold_what_the_others_did() {
    for fp in [false, true] {
        let (actors, critics, field) = built(&toy(fp), &[]);
        let (roll, pool) = (&field.roll, &field.pool);
        let moments = Moments::new(roll, &actors.policy(), &rng()).unwrap();
        for (i, critic) in critics.iter().enumerate() {
            let own = critic.own(&moments);
            let q = critic.critic.values(pool, &critic.inputs(&moments, true));
            let chosen = taken(&q, &own);
            for row in (0..roll.rows()).filter(|r| roll.lanes[r / 20].valid[r % 20]) {
                let (e, t) = roll.at(row);
                let made: Vec<Vec<usize>> = (0..3).map(|j| roll.action(e, t, j).iter().map(|a| *a as usize).collect()).collect();
                let expected = values(critic.critic.net(), &input(&field, e, t, i, &made));
                let number = match (&made[i][..], roll.lanes[e].alive[t * 3 + i]) {
                    (_, false) => 0,
                    ([a], _) => *a,
                    ([a, b], _) => 3 * a + b,
                    _ => unreachable!("two parts at most"),
                };
                assert_eq!(own[row], number);
                assert!((chosen[row] - expected[number]).abs() < 1e-5, "agent {i}, row {row}");
            }
        }
    }
}

/// Every joint action as choices made by each agent, in the team's order.
fn joint_actions() -> Vec<Vec<Vec<usize>>> {
    let mut all = Vec::new();
    for a in 0..3 {
        for b in 0..6 {
            all.extend((0..2).map(|c| vec![vec![a], vec![b / 3, b % 3], vec![c]]));
        }
    }
    all
}

#[test]
fn best_responses_are_the_maximum_over_available_joint_actions() {
    let (actors, critics, field) = built(&toy(false), &[]);
    let roll = &field.roll;
    let moments = Moments::new(roll, &actors.policy(), &rng()).unwrap();
    let joint = joint_actions();
    assert_eq!(joint.len(), 36);
    for (tie, all) in [(0.0, false), (0.7, false), (0.7, true)] {
        for (i, critic) in critics.iter().enumerate() {
            let best = critic.best_responses(&field.pool, &moments, false, all, tie);
            let width = best.len() / moments.len();
            let mut masked = 0;
            for row in (0..roll.rows()).filter(|r| roll.lanes[r / 20].valid[r % 20]) {
                let (e, t) = roll.at(row);
                let mut expected = vec![f64::NEG_INFINITY; width];
                for (rank, made) in joint.iter().enumerate() {
                    let may = |j: usize| {
                        let mask = roll.avail(e, t, j);
                        let open = if made[j].len() == 1 { mask[made[j][0]] } else { mask[made[j][0]] && mask[2 + made[j][1]] };
                        if roll.lanes[e].alive[t * 3 + j] { all || open } else { made[j].iter().all(|a| *a == 0) }
                    };
                    if !(0..3).filter(|j| *j != i).all(may) {
                        masked += 1;
                        continue;
                    }
                    let own = if made[i].len() == 1 { made[i][0] } else { 3 * made[i][0] + made[i][1] };
                    let q = f64::from(values(critic.critic.net(), &input(&field, e, t, i, made))[own]);
                    expected[own] = expected[own].max(q - tie * rank as f64 / 35.0);
                }
                for (a, expected) in expected.into_iter().enumerate() {
                    let found = f64::from(best[row * width + a]);
                    assert!((found - expected).abs() < 1e-5, "agent {i}, row {row}, choice {a}: {found} {expected}");
                }
            }
            assert!(masked > 100);
        }
    }
}

/// T17, what is learned: under uniform policies that stay so, COMA's critic learns the table, `Q_i(a_-i, a_i) = r(a)`, from either side.
#[test]
fn comas_critic_learns_the_payoffs() {
    let make: motley_train::MakeEnv = Arc::new(|| motley_envs::Registry::builtin().make("matrix/climbing", &[]));
    let table = [[11.0, -30.0, 0.0], [-30.0, 7.0, 6.0], [0.0, 0.0, 5.0]];
    let overrides = [
        "net.hidden_sizes=[32]",
        "net.share=none",
        "net.output_gain=0.0",
        "algo.rollout_steps=40",
        "algo.lr=0.0",
        "algo.critic_lr=0.01",
        "algo.critic_epochs=20",
    ];
    let mut bench = Bench::try_new("coma", make, &overrides, 8, 1, 1).unwrap();
    bench.iterate(60);
    let saved = bench.saved();
    let keys = [actors::keys("none"), ChoiceCriticConfig::keys()].concat();
    let settings = settings(keys, &overrides[..2]);
    for i in 0..2 {
        let team = &bench.field.team;
        let mut critics = JointCritic::build(team, &[vec![i]], None, &settings, RewardMode::Common, &rng()).unwrap();
        critics[0].critic.load(&saved.scope(&format!("critic.{i}"))).unwrap();
        for other in 0..3 {
            // The state is both agents' constant observation.
            let mut x = vec![0.0; 2 + 6];
            x[..2].fill(1.0);
            x[2 + 3 * (1 - i) + other] = 1.0;
            let q = critics[0].critic.values(&bench.field.pool, &x);
            for own in 0..3 {
                let paid = if i == 0 { table[own][other] } else { table[other][own] };
                assert!((f64::from(q[own]) - paid).abs() < 0.5, "agent {i}: Q({other}, {own}) = {}, paid {paid}", q[own]);
            }
        }
    }
}

/// Above its stated size the exact maximum is refused, by name and number, before anything is built.
#[test]
fn too_many_joint_actions_are_refused() {
    let toy = Toy::new(&vec![ActionSpace::Discrete(5); 6]);
    let refused = Bench::try_new("pareto-ac", toy.make(), &SMALL, 2, 1, 1).err().unwrap().to_string();
    assert!(refused.contains("15625") && refused.contains("4096"), "{refused}");
    assert!(Bench::try_new("pareto-ac", toy.make(), &[&SMALL[..], &["algo.max_joint_actions=20000"]].concat(), 2, 1, 1).is_ok());
    let continuous = Bench::try_new("coma", Toy::mixed().make(), &SMALL, 2, 1, 1).err().unwrap().to_string();
    assert!(continuous.contains("agent_1") && continuous.contains("discrete"), "{continuous}");
}

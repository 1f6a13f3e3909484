//! Unified action spaces in learning: the lifting changes nothing where there is nothing to lift, no encoding of a task matters, and
//! the trap of homogeneity between groups is left, inside a group it is not.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::{Bench, SMALL, Toy};
use motley_algos::Registry;
use motley_core::{
    ActionMeaning, ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, Lift, ObsSpace, RewardKind, Status,
    Stream, TeamSpec, UnifiedSpace,
};
use motley_nn::{Mode, Pool};
use motley_train::MakeEnv;
use motley_train::evaluate::{EvalPlan, EvalSummary, evaluate};

const BOTH: [&str; 2] = ["u-mappo", "u-qmix"];

fn task(name: &'static str, settings: &'static [&'static str]) -> MakeEnv {
    Arc::new(move || motley_envs::Registry::builtin().make(name, settings))
}

fn learned(algo: &str, make: &MakeEnv, overrides: &[&str]) -> Vec<u8> {
    let mut bench = Bench::try_new(algo, Arc::clone(make), &[&SMALL[..], overrides].concat(), 3, 1, 1).unwrap();
    bench.iterate(3);
    assert!(bench.field.roll.lanes.iter().all(|lane| lane.valid.iter().all(|v| *v)), "{algo}: an environment failed");
    bench.bytes()
}

/// One kind of agent: the same network, the same masks, and to the bit the same learning as the parent's with everything shared.
#[test]
fn where_all_are_of_one_kind_it_is_the_parent() {
    let make = task("mpe/simple_spread_v3", &[]);
    for recurrent in ["net.recurrent=false", "net.recurrent=true"] {
        let mappo = learned("mappo", &make, &["net.share=all", "algo.value_loss=squared", recurrent]);
        assert!(learned("u-mappo", &make, &[recurrent]) == mappo, "u-mappo, {recurrent}");
        let qmix = learned("qmix", &make, &["net.share=all", "net.agent_id=false", "algo.episode_limit=25", recurrent]);
        assert!(learned("u-qmix", &make, &["algo.episode_limit=25", recurrent]) == qmix, "u-qmix, {recurrent}");
    }
}

/// Where a task gives the same actions other numbers the unified space is the same, and to the bit so is what is learned.
#[test]
fn how_a_task_numbers_its_actions_does_not_matter() {
    let parts = [(0, 0), (1, 1), (1, 1), (2, 0)];
    for algo in BOTH {
        let of = |numbers: Numbers| learned(algo, &Parts::make(&parts, numbers), &["algo.cgi_coef=0.5"]);
        assert!(of(Numbers::Explained) == of(Numbers::Swapped), "{algo}");
        assert!(of(Numbers::Explained) != of(Numbers::Unexplained), "{algo}: there, all are one group");
    }
}

/// Sizes of the specification of the maps that the paper names, and of a speaker and a listener.
#[test]
fn spaces_of_known_tasks() {
    for (name, settings, len, blocks, groups) in [
        // Marines and marauders are one group: they have one mask. Banelings, which burst, are a third beside medivacs.
        ("skirmish/6m2m_15m", &["actions=smac"][..], 29, &["own", "enemies", "allies"][..], 2),
        ("skirmish/6m2m_15m", &["actions=unified"], 29, &["own", "enemies", "allies"], 2),
        ("skirmish/12m4m_30m", &[], 52, &["own", "enemies", "allies"], 2),
        ("skirmish/MMM", &[], 26, &["own", "enemies", "allies"], 2),
        ("skirmish/MMM2", &[], 28, &["own", "enemies", "allies"], 2),
        ("skirmish/6m2V4b_vs_15m", &["actions=smac"], 34, &["own", "enemies", "allies"], 3),
        ("skirmish/6m2V4b_vs_15m", &["actions=unified"], 34, &["own", "enemies", "allies"], 3),
        ("mpe/simple_speaker_listener_v4", &[], 8, &["own"], 2),
    ] {
        let env = motley_envs::Registry::builtin().make(name, settings).unwrap();
        let space = UnifiedSpace::new(env.spec()).unwrap();
        assert_eq!(space.len(), len, "{name}");
        assert_eq!(space.blocks.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), blocks, "{name}");
        assert_eq!(space.masks.len(), groups, "{name}");
    }
}

/// T26 on three groups with masks and deaths: whatever is drawn or taken greedily was available, and raised and lowered again it is
/// itself.
#[test]
fn only_available_actions_are_chosen() {
    let toy = Toy::discrete();
    let lift = Lift::new(&toy.team()).unwrap();
    assert_eq!(lift.space().masks.len(), 3);
    for algo in BOTH {
        let mut bench = Bench::toy(algo, &toy, &["algo.cgi_coef=0.3"]);
        for _ in 0..3 {
            bench.collect();
            let roll = &bench.field.roll;
            let mut closed = 0;
            for row in 0..roll.rows() {
                let (e, t) = roll.at(row);
                for i in (0..3).filter(|i| roll.active(e, t, *i)) {
                    let action = roll.action(e, t, i)[0] as usize;
                    assert!(roll.avail(e, t, i)[action], "{algo}: agent {i} took {action}");
                    closed += roll.avail(e, t, i).iter().filter(|open| !**open).count();
                    let unified = lift.space().from_env(i, action).unwrap();
                    assert_eq!(lift.space().to_env(i, unified), Some(action));
                }
            }
            assert!(closed > 20, "the masks are tried");
            bench.update();
        }
        let policy = bench.algorithm.policy();
        assert_eq!((policy.groups().len(), policy.groups()[0].net.output_len()), (1, 9), "the second head does not act");
    }
}

/// The loss is part of learning where its weight says so, and only there; its other forms learn something else.
#[test]
fn the_cross_group_loss_is_learned_where_it_has_a_weight() {
    let make = Parts::make(&[(0, 0), (1, 1), (2, 0)], Numbers::Explained);
    for algo in BOTH {
        let run = |overrides: &[&str]| {
            let overrides = [&SMALL[..], &["net.recurrent=false", "algo.lr=0.01"], overrides].concat();
            let mut bench = Bench::try_new(algo, Arc::clone(&make), &overrides, 8, 1, 1).unwrap();
            let mut seen = Vec::new();
            for _ in 0..60 {
                bench.collect();
                let metrics = bench.update();
                seen.extend(metrics.iter().filter(|(name, _)| name.ends_with("cgi")).map(|(_, value)| value));
            }
            let last = seen.len().saturating_sub(5);
            (bench.params(), seen[last..].iter().sum::<f64>() / 5.0, seen.len())
        };
        let (with, loss, count) = run(&["algo.cgi_coef=1"]);
        // Next to no weight: the second head stays as drawn, and its error is that of ignorance.
        let (_, ignorant, _) = run(&["algo.cgi_coef=1e-12"]);
        assert!(count >= 50 && loss < 0.2 * ignorant, "{algo}: {loss} against {ignorant}, {count} updates");
        let (without, _, none) = run(&["algo.cgi_coef=0"]);
        assert!(none == 0 && without.len() < with.len(), "{algo}: the second head is gone with its loss");
        // Values of groups without a common action are the same entries, paired in either way.
        for other in ["algo.cgi_gradient=both", "algo.cgi_pairing=union"].into_iter().take(if algo == "u-qmix" { 1 } else { 2 }) {
            assert!(run(&["algo.cgi_coef=1", other]).0 != with, "{algo} {other}");
        }
    }
    // Groups of several with eyes of their own: whom a target comes from makes a difference.
    let battle = task("skirmish/3m2m_5m", &[]);
    for algo in BOTH {
        let of = |target: &str| learned(algo, &battle, &["algo.cgi_coef=1", target]);
        assert!(of("algo.cgi_target=first") != of("algo.cgi_target=mean"), "{algo}");
    }
}

#[test]
fn what_has_no_unified_space_is_refused_in_words() {
    let image = Toy { agents: vec![(ObsSpace::image(4, 4, 1), ActionSpace::Discrete(3))], ..Toy::discrete() };
    for algo in BOTH {
        for (toy, words) in [(Toy::mixed(), "\"agent_1\" has Box(2)"), (image.clone(), "\"agent_0\" observes")] {
            let refused = Bench::try_new(algo, toy.make(), &SMALL, 2, 0, 1).err().unwrap();
            assert!(matches!(refused, ConfigError::Incompatible { .. }) && refused.to_string().contains(words), "{refused}");
        }
        let keys = Registry::builtin().get(algo).unwrap().keys();
        assert!(keys.iter().all(|k| k.name != "net.share"), "one network for all is no setting");
    }
}

/// How [`Parts`] numbers actions.
#[derive(Clone, Copy, PartialEq)]
enum Numbers {
    /// The task says what its actions mean.
    Explained,
    /// It does, and group 1 has its two actions the other way round.
    Swapped,
    /// It does not.
    Unexplained,
}

/// One step, one observation for everybody, reward 1 where every agent plays its part. Agents are (group, part): a group's two
/// actions mean something to it alone, though all call them 0 and 1.
#[derive(Clone)]
struct Parts {
    team: Arc<TeamSpec>,
    parts: Vec<usize>,
}

impl Parts {
    fn make(parts: &[(usize, usize)], numbers: Numbers) -> MakeEnv {
        let swapped = |group: usize| numbers == Numbers::Swapped && group == 1;
        let agent = |(i, (group, _)): (usize, &(usize, usize))| {
            let mut agent = AgentSpec::new(format!("agent_{i}"), "kind", ObsSpace::vector(1), ActionSpace::Discrete(2));
            if numbers != Numbers::Unexplained {
                let own = |k: usize| ActionMeaning::Own((2 * group + k) as u16);
                agent.meaning = if swapped(*group) { vec![own(1), own(0)] } else { vec![own(0), own(1)] };
            }
            agent
        };
        let mut team = TeamSpec::new("test/parts", parts.iter().enumerate().map(agent).collect());
        (team.reward, team.step_limit) = (RewardKind::Common, Some(1));
        let env = Self {
            team: Arc::new(team),
            parts: parts.iter().map(|(g, part)| if swapped(*g) { 1 - part } else { *part }).collect(),
        };
        Arc::new(move || Ok(Box::new(env.clone())))
    }
}

impl Env for Parts {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn reset(&mut self, _: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        out.obs.fill(1.0);
        out.state.fill(1.0);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        out.obs.fill(1.0);
        out.state.fill(1.0);
        let all = self.parts.iter().enumerate().all(|(i, part)| actions.choice(i) == *part);
        out.rewards.fill(f64::from(u8::from(all)));
        Ok(Status::Terminated)
    }
}

fn trained(algo: &str, make: &MakeEnv, more: &[&str], updates: usize) -> (f64, f64) {
    let overrides = [
        &[
            "net.hidden_sizes=[16]",
            "net.recurrent=false",
            "algo.rollout_steps=20",
            "algo.lr=0.005",
            "?algo.critic_lr=0.005",
            "?algo.batch_episodes=128",
            "?algo.updates=4",
            "?algo.epsilon_steps=4000",
            "?algo.target_update=20",
        ],
        more,
    ]
    .concat();
    let mut bench = Bench::try_new(algo, Arc::clone(make), &overrides, 16, 1, 2).unwrap();
    bench.iterate(updates);
    let score = |mode: Mode, episodes: usize| {
        let plan = EvalPlan { seed: 99, round: 0, episodes, mode };
        EvalSummary::of(&evaluate(&bench.algorithm.policy(), make, &Pool::serial(), plan).unwrap()).return_mean
    };
    (score(Mode::Sample, 2000), score(Mode::Greedy, 1))
}

/// The trap between groups: two groups of two, equal observations, one number for unlike parts. A network that all share cannot
/// earn more than 2^-4 (`motley_theory::sharing`), greedy it earns nothing; on unified actions the team's best is found.
#[test]
fn groups_leave_the_trap_of_homogeneity() {
    let parts = [(0, 0), (0, 0), (1, 1), (1, 1)];
    let (shared, greedy) = trained("mappo", &Parts::make(&parts, Numbers::Unexplained), &["net.share=all"], 60);
    assert!(shared < 0.0625 + 0.02 && greedy == 0.0, "mappo: {shared} sampled, {greedy} greedy");
    for algo in BOTH {
        let (sampled, greedy) = trained(algo, &Parts::make(&parts, Numbers::Explained), &[], 60);
        assert!(greedy == 1.0 && sampled > 0.6, "{algo}: {sampled} sampled, {greedy} greedy");
    }
}

/// Agents of one group that must act unlike each other on equal observations stay in the trap: 1/4 at most for two of them. Their
/// numbers as an input let them out.
#[test]
fn inside_a_group_the_trap_remains() {
    let make = Parts::make(&[(0, 0), (0, 1)], Numbers::Explained);
    let (sampled, greedy) = trained("u-mappo", &make, &[], 60);
    assert!(sampled < 0.25 + 0.03 && greedy == 0.0, "{sampled} sampled, {greedy} greedy");
    let (sampled, greedy) = trained("u-mappo", &make, &["net.agent_id=true"], 60);
    assert!(greedy == 1.0 && sampled > 0.6, "with ids: {sampled} sampled, {greedy} greedy");
}

/// A speaker and a listener on one network. An untrained team returns -78 to -91 (the sum over both agents), after these 60,000 steps
/// -34 to -38.
#[test]
fn a_speaker_and_a_listener_learn_on_one_network() {
    let make = task("mpe/simple_speaker_listener_v4", &[]);
    let overrides = ["net.hidden_sizes=[32]", "algo.rollout_steps=50", "algo.lr=0.003", "algo.critic_lr=0.003"];
    let mut bench = Bench::try_new("u-mappo", Arc::clone(&make), &overrides, 20, 1, 2).unwrap();
    let score = |bench: &Bench| {
        let plan = EvalPlan { seed: 99, round: 0, episodes: 100, mode: Mode::Greedy };
        EvalSummary::of(&evaluate(&bench.algorithm.policy(), &make, &Pool::serial(), plan).unwrap()).return_mean
    };
    let before = score(&bench);
    bench.iterate(60);
    let after = score(&bench);
    assert!(after > 0.7 * before && after > -50.0, "{before} to {after}");
}

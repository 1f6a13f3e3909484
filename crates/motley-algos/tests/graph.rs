//! Agents that hear each other: what only a neighbour knows is learned with messages and not without.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::Bench;
use motley_core::{
    ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, ObsSpace, RewardKind, Status, Stream, TeamSpec,
};
use motley_nn::{Mode, Pool};
use motley_train::MakeEnv;
use motley_train::evaluate::{EvalPlan, EvalSummary, evaluate};

/// Three agents on a line, `[position 2, cue 2]`; each is paid 1 for naming the cue of the agent before it (around).
struct Whisper {
    team: Arc<TeamSpec>,
    cues: Vec<usize>,
}

impl Whisper {
    fn make() -> MakeEnv {
        let agent = |i: usize| {
            let mut agent = AgentSpec::new(format!("a{i}"), "robot", ObsSpace::vector(4), ActionSpace::Discrete(2));
            agent.position = Some(0..2);
            agent
        };
        let mut team = TeamSpec::new("test/whisper", (0..3).map(agent).collect());
        team.reward = RewardKind::Own;
        let team = Arc::new(team);
        Arc::new(move || Ok(Box::new(Self { team: Arc::clone(&team), cues: vec![0; 3] }) as Box<dyn Env>))
    }

    fn show(&self, out: &mut Frame<'_>) {
        for (i, cue) in self.cues.iter().enumerate() {
            let row = &mut out.obs[4 * i..4 * i + 4];
            row.copy_from_slice(&[i as f32, 0.0, 0.0, 0.0]);
            row[2 + cue] = 1.0;
        }
        out.state.copy_from_slice(out.obs);
    }
}

impl Env for Whisper {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.cues.iter_mut().for_each(|c| *c = stream.below(2) as usize);
        self.show(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        for i in 0..3 {
            out.rewards[i] = f64::from(u8::from(actions.choice(i) == self.cues[(i + 2) % 3]));
        }
        self.show(out);
        Ok(Status::Terminated)
    }
}

fn score(algo: &str, overrides: &[&str]) -> f64 {
    let common = [
        "net.hidden_sizes=[16]",
        "?net.message_width=16",
        "algo.rollout_steps=20",
        "algo.lr=0.01",
        "algo.critic_lr=0.01",
        "?algo.ppo_epochs=4",
        "?algo.kl_coef=0",
    ];
    let mut bench = Bench::try_new(algo, Whisper::make(), &[&common[..], overrides].concat(), 20, 1, 2).unwrap();
    bench.iterate(60);
    let plan = EvalPlan { seed: 99, round: 0, episodes: 200, mode: Mode::Greedy };
    EvalSummary::of(&evaluate(&bench.algorithm.policy(), &Whisper::make(), &Pool::serial(), plan).unwrap()).return_mean
}

/// Guessing earns 1.5 of 3 in the mean.
#[test]
fn what_a_neighbour_knows_is_learned_with_messages_only() {
    for (algo, overrides) in [
        ("hetgppo", &[][..]),
        ("hetgppo", &["net.graph=ring", "algo.start_equal=false"]),
        ("gppo", &["net.graph=0-1,1-2,2-0"]),
        ("gppo", &["net.graph=radius", "net.radius=2.5"]),
        ("hetgppo", &["net.recurrent=true", "net.chunk_length=5", "algo.rollout_steps=60"]),
        ("happo", &["net.trunk=gnn", "net.share=none"]),
    ] {
        let heard = score(algo, overrides);
        assert!(heard > 2.7, "{algo} {overrides:?}: {heard}");
    }
    for overrides in [&["net.trunk=mlp"][..], &["net.graph=radius", "net.radius=0.5"]] {
        let deaf = score("hetgppo", overrides);
        assert!(deaf < 2.1, "{overrides:?}: {deaf}");
    }
}

/// The state of the team tells what neighbours know, but only actors act: a critic on the state is no message.
#[test]
fn a_critic_on_the_state_needs_no_graph_and_gives_none() {
    let found = score("gppo", &["algo.critic=state", "net.trunk=mlp", "task.reward=sum"]);
    assert!(found < 2.1, "{found}");
}

#[test]
fn thread_counts_do_not_matter() {
    let run = |threads| {
        let overrides = ["net.hidden_sizes=[8]", "net.message_width=8", "algo.rollout_steps=10", "algo.minibatches=3"];
        let mut bench = Bench::try_new("hetgppo", Whisper::make(), &overrides, 6, 1, threads).unwrap();
        bench.iterate(3);
        bench.params()
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn teams_without_positions_are_refused_before_anything_is_built() {
    let make: MakeEnv = Arc::new(|| motley_envs::Registry::builtin().make("matrix/climbing", &[]));
    let refused = Bench::try_new("gppo", make, &[], 2, 1, 1).err().unwrap();
    assert!(matches!(refused, ConfigError::Incompatible { .. }) && refused.to_string().contains("positions"), "{refused}");
    let wrong = Bench::try_new("gppo", Whisper::make(), &["net.graph=0-9"], 2, 1, 1).err().unwrap().to_string();
    assert!(wrong.contains("0-9") && wrong.contains("net.graph"), "{wrong}");
}

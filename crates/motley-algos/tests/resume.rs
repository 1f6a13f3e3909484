//! What a checkpoint holds of a learner is all that its next update depends on.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Bench, SMALL, Toy};
use motley_algos::Registry;
use motley_core::{
    ActionSpace, Actions, AgentSpec, Env, EnvError, Frame, ObsSpace, Purpose, RewardKind, StateSpace, Status, Stream, TeamSpec,
};
use motley_run::{CheckpointInfo, CheckpointStore, Identity, RealDisk};
use motley_testkit::disk::{DiskFault, FaultyDisk};
use motley_train::MakeEnv;

#[test]
fn a_learner_read_back_goes_on_to_the_bit() {
    for spec in Registry::builtin().iter() {
        let mut tried = 0;
        for net in ["?net.recurrent=false", "?net.recurrent=true"] {
            for more in [&[][..], &["?algo.target_update=0.3", "?net.critic_recurrent=false", "?algo.gradient=sampled"]] {
                let overrides = [&SMALL[..], &["?net.share=none", net, "?algo.discount_gradient=true"], more].concat();
                let toy = Toy { terminates: true, ..Toy::discrete() };
                let Ok(mut one) = Bench::try_new(spec.name(), toy.make(), &overrides, 4, 1, 1) else { continue };
                one.iterate(2);
                let mut other = Bench::try_new(spec.name(), toy.make(), &overrides, 4, 2, 1).unwrap();
                assert_ne!(one.params(), other.params());
                other.algorithm.load(&one.saved()).unwrap();
                assert!(one.bytes() == other.bytes(), "{} {net}", spec.name());
                // The same data and randomness from here on.
                other.seed = one.seed;
                one.collect();
                other.field.roll = one.field.roll.clone();
                one.update();
                other.skip_updates(2);
                other.update();
                assert!(one.bytes() == other.bytes(), "{} {net} {more:?}: something was not saved", spec.name());
                tried += 1;
            }
        }
        assert!(tried > 0, "{} was not tried", spec.name());
    }
}

/// Two agents that see a quarter of a megabyte each; three steps an episode.
struct Wide {
    team: Arc<TeamSpec>,
    rng: Stream,
    time: usize,
}

impl Wide {
    fn make() -> MakeEnv {
        let agent = |n: &str| AgentSpec::new(n, n, ObsSpace::vector(60_000), ActionSpace::Discrete(2));
        let mut team = TeamSpec::new("test/wide", vec![agent("a"), agent("b")]);
        (team.reward, team.state, team.step_limit) = (RewardKind::Common, StateSpace::Ep(1), Some(3));
        let team = Arc::new(team);
        Arc::new(move || Ok(Box::new(Wide { team: Arc::clone(&team), rng: Stream::new(0, Purpose::Check, 0, 0), time: 0 })))
    }

    fn show(&mut self, out: &mut Frame<'_>) {
        let scale = 1.0 / 60_000.0;
        out.obs.iter_mut().for_each(|x| *x = self.rng.normal() as f32 * scale);
        out.state.fill(self.time as f32);
    }
}

impl Env for Wide {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        (self.rng, self.time) = (stream, 0);
        self.show(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        out.rewards.fill(actions.choice(0) as f64);
        self.time += 1;
        self.show(out);
        Ok(if self.time == 3 { Status::Terminated } else { Status::Running })
    }
}

/// Value-based learners: an episode takes 1.9 MB here, two a piece of 4 MiB. After one more episode a checkpoint writes the piece that it
/// went into and links the other, and what is read back goes on to the bit.
#[test]
fn a_second_checkpoint_of_episodes_writes_what_changed() {
    let words = [
        "net.hidden_sizes=[2]",
        "?net.recurrent=false",
        "algo.rollout_steps=3",
        "algo.batch_episodes=2",
        "algo.buffer_episodes=4",
        "?algo.mixing_embed=2",
    ];
    for algo in ["iql", "vdn", "qmix", "qtran"] {
        let bench = || Bench::try_new(algo, Wide::make(), &words, 1, 1, 1).unwrap();
        let mut one = bench();
        let info = |step: u64| CheckpointInfo {
            identity: Identity::new(algo, Wide::make()().unwrap().spec()),
            config: serde_json::Map::new(),
            config_hash: "0".into(),
            env_steps: step,
            counters: serde_json::Map::new(),
            logs: BTreeMap::new(),
            exact_resume: true,
        };
        let dir = tempfile::tempdir().unwrap();
        one.iterate(4);
        let saved = CheckpointStore::new(dir.path(), 2, Arc::new(RealDisk)).save(&info(12), |w| one.algorithm.save(w)).unwrap();
        assert!(saved.warnings.is_empty());
        one.iterate(1);
        let disk = Arc::new(FaultyDisk::new(DiskFault::None));
        let store = CheckpointStore::new(dir.path(), 2, disk.clone());
        assert!(store.save(&info(15), |w| one.algorithm.save(w)).unwrap().warnings.is_empty());
        let of_pieces: Vec<String> = disk.trace().into_iter().filter(|call| call.ends_with(".piece")).collect();
        let count = |verb: &str| of_pieces.iter().filter(|call| call.starts_with(verb)).count();
        assert_eq!((of_pieces.len(), count("write"), count("link")), (2, 1, 1), "{algo}: {of_pieces:?}");

        let mut other = bench();
        other.algorithm.load(&store.load_latest().unwrap().state).unwrap();
        other.seed = one.seed;
        one.collect();
        other.field.roll = one.field.roll.clone();
        one.update();
        other.skip_updates(5);
        other.update();
        assert!(one.bytes() == other.bytes(), "{algo}: something was not saved");
    }
}

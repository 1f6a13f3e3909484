//! Environments that fall silent, or become others, in the middle of a run (E3 and E15 of the list of faults).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults_common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faults_common::*;
use motley_core::{Actions, Env, EnvError, Frame, ObsSpace, Status, Stream, TeamSpec};
use motley_testkit::probe::{Probe, ProbeEnv};
use motley_train::collect::CollectError;
use motley_train::{EvalPlan, TrainError, evaluate};

const RAGGED: &str = "probe/ragged_fp";

fn ragged() -> Box<dyn Env> {
    Box::new(ProbeEnv::new(Probe::RaggedFp, 10))
}

/// At its 31st step it answers only when it has been named, or after a minute.
struct Silent {
    inner: Box<dyn Env>,
    steps: u64,
    named: Arc<AtomicBool>,
    /// It answered unnamed.
    gave_up: Arc<AtomicBool>,
}

impl Env for Silent {
    fn spec(&self) -> &Arc<TeamSpec> {
        self.inner.spec()
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.inner.reset(stream, out)
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        if self.steps == 30 {
            let begin = Instant::now();
            while !self.named.load(Ordering::SeqCst) && !self.gave_up.load(Ordering::SeqCst) {
                self.gave_up.store(begin.elapsed() > Duration::from_secs(60), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.steps += 1;
        self.inner.step(actions, out)
    }
}

/// E3: the environment that hangs is named while it hangs, and training goes on when it answers.
#[test]
fn a_silent_environment_is_named() {
    for threads in ["threads=1", "threads=2"] {
        let dir = tempfile::tempdir().unwrap();
        let (named, gave_up) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (heard, given_up) = (Arc::clone(&named), Arc::clone(&gave_up));
        let sleepy = registry_with(RAGGED, move |k| {
            let steps = if k == 3 { 0 } else { 1000 };
            Box::new(Silent { inner: ragged(), steps, named: Arc::clone(&heard), gave_up: Arc::clone(&given_up) })
        });
        let mut trainer = start(&sleepy, "ippo", RAGGED, &[threads], dir.path()).unwrap();
        trainer.set_patience(Duration::from_millis(300));
        let outcome = trainer.train(&AtomicBool::new(false), &mut |event| {
            if let motley_train::Event::Warning(text) = event
                && text.contains("environment 2 has not answered")
            {
                named.store(true, Ordering::SeqCst);
            }
        });
        assert!(outcome.unwrap().finished);
        assert!(named.load(Ordering::SeqCst) && !gave_up.load(Ordering::SeqCst), "{threads}: named only afterwards, or never");
    }
}

/// From its reset number `at` on, counted from 0, the team is another one.
struct Turncoat {
    inner: Box<dyn Env>,
    resets: u64,
    at: u64,
    other: Arc<TeamSpec>,
}

type Change = fn(&mut TeamSpec);

impl Turncoat {
    fn new(at: u64, change: Change) -> Self {
        let inner = ragged();
        let mut other = TeamSpec::clone(inner.spec());
        change(&mut other);
        Self { inner, resets: 0, at, other: Arc::new(other) }
    }
}

impl Env for Turncoat {
    fn spec(&self) -> &Arc<TeamSpec> {
        if self.resets > self.at { &self.other } else { self.inner.spec() }
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.resets += 1;
        self.inner.reset(stream, out)
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.inner.step(actions, out)
    }
}

/// E15: a team that is another one after a reset stops the run at that reset, by the name of the agent in question.
#[test]
fn a_team_that_changes_is_found_at_the_reset() {
    let changes: [(Change, &str); 3] = [
        (|team| team.agents[1].obs = ObsSpace::vector(9), "agent \"arm\": observation"),
        (|team| team.agents.truncate(2), "expected 3 agents, found 2 (agent \"picker\" is the odd one)"),
        (|team| team.step_limit = Some(11), "step limit: expected 10, found 11"),
    ];
    for (change, expected) in changes {
        let dir = tempfile::tempdir().unwrap();
        // Copy 3 is environment 2: its second reset ends its first episode, one far later finds a run that has learned.
        for at in [1, 12] {
            let registry = registry_with(RAGGED, move |k| {
                if k == 3 { Box::new(Turncoat::new(at, change)) } else { Box::new(Turncoat::new(u64::MAX, change)) }
            });
            let folder = dir.path().join(at.to_string());
            let error = train(&mut start(&registry, "ippo", RAGGED, &[], &folder).unwrap(), u64::MAX).0.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, TrainError::Collect(CollectError::Misshaped { env: 2, .. })), "{text}");
            assert!(text.contains(expected) && text.contains("reset"), "{text}");
            assert!(at == 1 || latest(&folder).step > 0, "what was learned before is kept");
        }
        let all = registry_with(RAGGED, move |_| Box::new(Turncoat::new(0, change)));
        let made = plan(&all, "ippo", RAGGED, &[]).unwrap();
        let policy =
            made.algorithm.build(&made.team, &made.settings, &Stream::new(0, motley_core::Purpose::Init, 0, 0)).unwrap().policy();
        let round = EvalPlan { seed: 1, round: 0, episodes: 2, mode: motley_nn::Mode::Greedy };
        let text = evaluate(&policy, &made.make, &motley_nn::Pool::serial(), round).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

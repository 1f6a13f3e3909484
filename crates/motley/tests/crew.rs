//! Runs whose environments lie with workers: the same bits as a run in one process, for any number of workers, whichever of them
//! is lost on the way.
#![allow(clippy::unwrap_used, clippy::panic)]

mod faults_common;

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use faults_common::{Print, latest, plan, print, reader, registry, registry_with, resumed, train, whole};
use motley_run::RunFolder;
use motley_testkit::env::{Fault, FaultyEnv, When};
use motley_testkit::probe::{Probe, ProbeEnv};
use motley_train::crew::{Begun, Crew, CrewError, Job, Part, Played, Worker, WorkerError};
use motley_train::{How, Registry, Request, TrainError, Trainer};
use tempfile::tempdir;

type MakeRegistry = fn() -> Registry;

/// Workers in this process. At the rollout `lost.0` the answer of worker `lost.1` is thrown away with the worker.
struct Here {
    size: usize,
    registry: MakeRegistry,
    lost: Option<(usize, usize)>,
    rollouts: usize,
    job: Option<Job>,
    workers: Vec<(Worker, Range<usize>, Vec<u8>)>,
    /// Played, not asked for yet.
    answers: Option<Vec<Played>>,
}

impl Here {
    fn new(size: usize, registry: MakeRegistry, lost: Option<(usize, usize)>) -> Self {
        Self { size, registry, lost, rollouts: 0, job: None, workers: Vec::new(), answers: None }
    }

    fn crew(size: usize, registry: MakeRegistry, lost: Option<(usize, usize)>) -> How {
        How { crew: Some(Box::new(Self::new(size, registry, lost))), ..How::default() }
    }

    fn build(&self, envs: &Range<usize>) -> Result<Worker, CrewError> {
        let job = self.job.as_ref().ok_or_else(|| CrewError::Failed("not begun".into()))?;
        Worker::new(&(self.registry)(), job, envs.clone(), 1).map_err(failed)
    }
}

fn failed(error: WorkerError) -> CrewError {
    CrewError::Failed(error.to_string())
}

impl Crew for Here {
    fn size(&self) -> usize {
        self.size
    }

    fn begin(&mut self, job: &Job, parts: Vec<Part>) -> Result<Vec<Begun>, CrewError> {
        self.job = Some(job.clone());
        let mut all = Vec::new();
        for part in parts {
            let mut worker = self.build(&part.envs)?;
            let begun = worker.begin(part.boundary.as_deref()).map_err(failed)?;
            self.workers.push((worker, part.envs, begun.boundary.clone()));
            all.push(begun);
        }
        Ok(all)
    }

    fn order(&mut self, weights: Vec<u8>) -> Result<(), CrewError> {
        assert!(self.answers.is_none(), "one rollout is on the way");
        let mut all = Vec::new();
        for k in 0..self.workers.len() {
            let mut played = self.workers[k].0.collect(&weights).map_err(failed)?;
            if self.lost == Some((self.rollouts, k)) {
                let mut anew = self.build(&self.workers[k].1)?;
                anew.begin(Some(&self.workers[k].2)).map_err(failed)?;
                let again = anew.collect(&weights).map_err(failed)?;
                assert!(again == played, "the replacement plays the same");
                (self.workers[k].0, played) = (anew, again);
            }
            self.workers[k].2 = played.boundary.clone();
            all.push(played);
        }
        self.rollouts += 1;
        self.answers = Some(all);
        Ok(())
    }

    fn gather(&mut self) -> Result<Vec<Played>, CrewError> {
        self.answers.take().ok_or_else(|| CrewError::Failed("nothing was ordered".into()))
    }
}

fn with_crew(
    algo: &str,
    task: &str,
    settings: &[&str],
    dir: &Path,
    registry: MakeRegistry,
    how: How,
) -> Result<Print, TrainError> {
    let mut trainer = Trainer::start_with(plan(&registry(), algo, task, settings)?, RunFolder::create(dir)?, how)?;
    let outcome = train(&mut trainer, u64::MAX).0?;
    assert!(outcome.finished && !outcome.checkpoint_failed);
    drop(trainer);
    Ok(print(dir))
}

/// Trains alone and with 1, 2 and 4 workers.
fn same_with_workers(algo: &str, task: &str, settings: &[&str]) {
    let dir = tempdir().unwrap();
    let alone = whole(&registry(), algo, task, settings, &dir.path().join("alone"));
    for (size, lost) in [(1, None), (2, Some((2, 1))), (4, Some((1, 0)))] {
        let what = format!("{algo} on {task} {settings:?} with {size} workers");
        let at = dir.path().join(size.to_string());
        let found = with_crew(algo, task, settings, &at, registry, Here::crew(size, registry, lost));
        alone.must_equal(&found.unwrap_or_else(|e| panic!("{what}: {e}")), &what);
    }
}

#[test]
fn every_algorithm_learns_the_same_with_workers() {
    let mut trained = 0;
    for spec in registry().algorithms.iter() {
        let settings = ["total_steps=400", "eval.every=400"];
        if plan(&registry(), spec.name(), "mpe/simple_spread_v3", &settings).is_ok() {
            same_with_workers(spec.name(), "mpe/simple_spread_v3", &settings);
            trained += 1;
        }
    }
    assert!(trained >= 15, "{trained} algorithms");
}

#[test]
fn memories_masks_deaths_and_ragged_teams_travel() {
    same_with_workers("happo", "mpe/simple_speaker_listener_v4", &["net.recurrent=true", "total_steps=400"]);
    same_with_workers("qmix", "skirmish/3m", &["total_steps=400", "net.recurrent=true"]);
    same_with_workers("mappo", "mpe/simple_tag_v3", &["task.continuous=true", "total_steps=400"]);
}

#[test]
fn policies_of_joint_and_unified_actions_travel() {
    same_with_workers("gppo", "mpe/simple_spread_v3", &["algo.actor=central", "net.trunk=mlp", "total_steps=400"]);
    same_with_workers("u-mappo", "skirmish/3m", &["total_steps=400"]);
    same_with_workers("u-qmix", "skirmish/3m", &["total_steps=400"]);
}

/// What came in which order, and the policy that each rollout was ordered with.
type Diary = Arc<Mutex<Vec<(&'static str, Vec<u8>)>>>;

/// Keeps a diary.
struct Noting(Here, Diary);

impl Noting {
    fn note(&self, what: &'static str, policy: Vec<u8>) {
        self.1.lock().unwrap().push((what, policy));
    }
}

impl Crew for Noting {
    fn size(&self) -> usize {
        self.0.size()
    }
    fn begin(&mut self, job: &Job, parts: Vec<Part>) -> Result<Vec<Begun>, CrewError> {
        self.0.begin(job, parts)
    }
    fn order(&mut self, weights: Vec<u8>) -> Result<(), CrewError> {
        let state = reader(&weights);
        let policy = state.names().filter(|name| name.starts_with("policy.")).filter_map(|name| state.f32s(name).ok());
        self.note("order", policy.flatten().flat_map(f32::to_le_bytes).collect());
        self.0.order(weights)
    }
    fn gather(&mut self) -> Result<Vec<Played>, CrewError> {
        self.note("gather", Vec::new());
        self.0.gather()
    }
}

/// The diary of a run of four rollouts.
fn diary(overlap: bool) -> Vec<(&'static str, Vec<u8>)> {
    let dir = tempdir().unwrap();
    let diary = Diary::default();
    let crew = Noting(Here::new(2, registry, None), Arc::clone(&diary));
    let how = How { crew: Some(Box::new(crew)), ..How::default() };
    let overlap = format!("overlap={overlap}");
    let settings = ["total_steps=320", overlap.as_str()];
    with_crew("happo", "mpe/simple_spread_v3", &settings, &dir.path().join("run"), registry, how).unwrap();
    std::mem::take(&mut *diary.lock().unwrap())
}

#[test]
fn overlapped_rollouts_are_ordered_before_the_update_and_played_by_the_policy_before_it() {
    let policies = |diary: Vec<(&'static str, Vec<u8>)>| {
        let (what, policies): (Vec<_>, Vec<_>) = diary.into_iter().unzip();
        assert_eq!(what, ["order", "gather"].repeat(4), "never two on the way, none at the end");
        policies.into_iter().step_by(2).collect::<Vec<_>>()
    };
    let (apart, overlapped) = (policies(diary(false)), policies(diary(true)));
    assert!((1..4).all(|k| apart[k] != apart[k - 1]), "every rollout has a policy of its own");
    assert_eq!(overlapped[0], apart[0], "both begin with the same policy");
    assert_eq!(overlapped[1], overlapped[0], "rollout 1 is ordered before the first update");
    assert_eq!(overlapped[2], apart[1], "rollout 2 is played by the policy after the first update, which saw the same rollout 0");
    assert!(overlapped[3] != overlapped[2] && overlapped[3] != apart[2]);
}

#[test]
fn overlap_gives_one_result_for_any_number_of_workers_and_across_a_stop() {
    let mut trained = 0;
    for spec in registry().algorithms.iter() {
        let settings = ["total_steps=400", "eval.every=400", "overlap=true"];
        match plan(&registry(), spec.name(), "mpe/simple_spread_v3", &settings) {
            Ok(_) => {
                same_with_workers(spec.name(), "mpe/simple_spread_v3", &settings);
                trained += 1;
            }
            Err(error) if plan(&registry(), spec.name(), "mpe/simple_spread_v3", &settings[..2]).is_ok() => {
                assert!(error.to_string().contains("overlap=true"), "{}: {error}", spec.name());
            }
            Err(_) => {}
        }
    }
    assert!(trained >= 12, "{trained} algorithms");
    for refused in ["hatrpo", "coma", "reinforce", "pareto-ac"] {
        assert!(plan(&registry(), refused, "mpe/simple_spread_v3", &["overlap=true"]).is_err(), "{refused}");
    }
    assert!(plan(&registry(), "iql", "mpe/simple_spread_v3", &["overlap=true", "algo.fingerprint=true"]).is_err());
    goes_on_elsewhere(&["overlap=true"]);
}

/// Environments that fail by their own dice, so that the dice do not depend on who holds them.
fn failing() -> Registry {
    registry_with("probe/ragged_ep", |_| {
        let probe = Box::new(ProbeEnv::new(Probe::RaggedEp, 10));
        Box::new(FaultyEnv::new(probe, Fault::StepError, When::Chance(0.02)))
    })
}

#[test]
fn faults_are_counted_over_all_workers() {
    let dir = tempdir().unwrap();
    let borne = ["env_failure_limit=1000", "total_steps=800"];
    let alone = whole(&failing(), "happo", "probe/ragged_ep", &borne, &dir.path().join("alone"));
    let crew = Here::crew(2, failing, Some((3, 0)));
    let found = with_crew("happo", "probe/ragged_ep", &borne, &dir.path().join("two"), failing, crew).unwrap();
    alone.must_equal(&found, "holes");
    let failed = |line: &String| line.contains("train/env_failures") && !line.contains("\"train/env_failures\":0.0");
    assert!(alone.metrics.iter().any(failed), "environments failed");
    let strict = ["env_failure_limit=0", "total_steps=800"];
    let refused =
        with_crew("happo", "probe/ragged_ep", &strict, &dir.path().join("strict"), failing, Here::crew(2, failing, None));
    let text = refused.err().unwrap().to_string();
    assert!(text.contains("env_failure_limit = 0"), "{text}");
}

#[test]
fn a_run_goes_on_with_other_workers_or_none() {
    goes_on_elsewhere(&[]);
}

/// Stops a run and goes on with other workers; the whole must be one that was never stopped, in one process.
fn goes_on_elsewhere(settings: &[&str]) {
    let (algo, task) = ("happo", "mpe/simple_spread_v3");
    let dir = tempdir().unwrap();
    let alone = whole(&registry(), algo, task, settings, &dir.path().join("alone"));
    for (before, after) in [(Some(2), None), (None, Some(4)), (Some(4), Some(2))] {
        let what = format!("{before:?} then {after:?}");
        let at = dir.path().join(&what);
        let how = |size: Option<usize>| size.map_or_else(How::default, |size| Here::crew(size, registry, None));
        let mut first =
            Trainer::start_with(plan(&registry(), algo, task, settings).unwrap(), RunFolder::create(&at).unwrap(), how(before))
                .unwrap();
        assert!(!train(&mut first, 900).0.unwrap().finished);
        drop(first);
        let folder = RunFolder::open(&at).unwrap();
        let plan = resumed(algo, task, &[]).resume(&registry(), &folder.config().unwrap(), false).unwrap();
        let mut second = Trainer::resume_with(plan, folder, &latest(&at), how(after)).unwrap();
        let (outcome, warnings) = train(&mut second, u64::MAX);
        assert!(outcome.unwrap().finished && warnings.is_empty(), "{warnings:?}");
        drop(second);
        alone.must_equal(&print(&at), &what);
    }
}

#[test]
fn faults_of_the_crew_end_the_run_with_its_words() {
    /// Loses all its workers at the third rollout; or never had any.
    struct Gone(Here, bool);
    impl Crew for Gone {
        fn size(&self) -> usize {
            self.0.size()
        }
        fn begin(&mut self, job: &Job, parts: Vec<Part>) -> Result<Vec<Begun>, CrewError> {
            if self.1 { self.0.begin(job, parts) } else { Ok(Vec::new()) }
        }
        fn order(&mut self, weights: Vec<u8>) -> Result<(), CrewError> {
            if self.0.rollouts == 2 { Err(CrewError::Failed("no node left".into())) } else { self.0.order(weights) }
        }
        fn gather(&mut self) -> Result<Vec<Played>, CrewError> {
            self.0.gather()
        }
    }
    let dir = tempdir().unwrap();
    let start = |there: bool, at: &Path| {
        let how = How { crew: Some(Box::new(Gone(Here::new(2, registry, None), there))), ..How::default() };
        let plan = plan(&registry(), "happo", "mpe/simple_spread_v3", &[]).unwrap();
        Trainer::start_with(plan, RunFolder::create(at).unwrap(), how)
    };
    let error = start(false, &dir.path().join("none")).err().unwrap();
    assert_eq!(error.to_string(), "0 workers answered, 2 were asked");

    let at = dir.path().join("lost");
    let mut trainer = start(true, &at).unwrap();
    let error = train(&mut trainer, u64::MAX).0.unwrap_err();
    assert_eq!(error.to_string(), "the workers of this run cannot go on: no node left");
    drop(trainer);
    assert_eq!(latest(&at).step, 160, "both rollouts that were learned from are kept");
    // It goes on without them; episodes that were at play are begun anew.
    let folder = RunFolder::open(&at).unwrap();
    let again = resumed("happo", "mpe/simple_spread_v3", &[]).resume(&registry(), &folder.config().unwrap(), false).unwrap();
    let mut trainer = Trainer::resume(again, folder, &latest(&at)).unwrap();
    assert!(train(&mut trainer, u64::MAX).0.unwrap().finished);
}

#[test]
fn workers_refuse_what_is_not_theirs() {
    let plan = plan(&registry(), "happo", "mpe/simple_spread_v3", &[]).unwrap();
    let config = plan.settings.to_table().to_string();
    let job = Job { algo: "happo".into(), task: plan.team.task.clone(), config };
    assert!(Worker::new(&registry(), &job, 2..9, 1).is_err(), "4 environments are there");
    assert!(Worker::new(&registry(), &Job { config: "seed = ".into(), ..job.clone() }, 0..2, 1).is_err());
    let mut worker = Worker::new(&registry(), &job, 0..2, 1).unwrap();
    let boundary = worker.begin(None).unwrap().boundary;
    let mut other = Worker::new(&registry(), &job, 2..4, 1).unwrap();
    assert!(other.begin(Some(&boundary)).unwrap_err().to_string().contains("environments 2..4"));
    assert!(worker.collect(b"nothing").unwrap_err().to_string().contains("what the learner sent"));
}

/// Workers keep no replay: a machine too small to learn on can play.
#[test]
fn workers_need_no_room_for_what_the_learner_keeps() {
    for (algo, size) in [
        ("hatd3", "algo.buffer_size=1000000000"),
        ("had3qn", "algo.buffer_size=1000000000"),
        ("qmix", "algo.buffer_episodes=100000000"),
    ] {
        let overrides = ["preset=none", size].map(String::from).to_vec();
        let request = Request { algo: algo.into(), task: "mpe/simple_spread_v3".into(), overrides, ..Request::default() };
        let (plan, no_room) = request.plan_anywhere(&registry()).unwrap();
        assert!(no_room.is_some(), "{algo}");
        let job = Job { algo: algo.into(), task: request.task, config: plan.settings.to_table().to_string() };
        let mut worker = Worker::new(&registry(), &job, 0..2, 1).unwrap();
        assert_eq!(worker.begin(None).unwrap().warnings, Vec::<String>::new());
    }
}

#[test]
fn a_tuned_run_takes_over_settings_of_the_algorithm_only() {
    let dir = tempdir().unwrap();
    let at = dir.path().join("run");
    whole(&registry(), "happo", "mpe/simple_spread_v3", &["total_steps=800"], &at);
    let folder = RunFolder::open(&at).unwrap();
    let config = folder.config().unwrap();
    let again = |settings: &[&str]| resumed("happo", "mpe/simple_spread_v3", settings);
    let asked = again(&["algo.lr=0.01", "total_steps=1600"]);
    assert!(asked.resume(&registry(), &config, false).is_err());
    for refused in ["seed=3", "num_envs=8", "net.hidden_sizes=[8]"] {
        assert!(again(&[refused]).resume(&registry(), &config, true).is_err(), "{refused}");
    }
    let plan = asked.resume(&registry(), &config, true).unwrap();
    let how = How { retune: true, ..How::default() };
    let mut trainer = Trainer::resume_with(plan, folder, &latest(&at), how).unwrap();
    assert!(train(&mut trainer, u64::MAX).0.unwrap().finished);
    let info = trainer.folder().info().unwrap();
    let changed: Vec<&str> = info.changes.iter().map(|c| c.key.as_str()).collect();
    assert!(changed.contains(&"algo.lr") && changed.contains(&"total_steps"), "{changed:?}");
    drop(trainer);
    // The next one goes on with the settings that it was tuned to.
    let folder = RunFolder::open(&at).unwrap();
    let plan = again(&["total_steps=1700"]).resume(&registry(), &folder.config().unwrap(), false);
    assert!(Trainer::resume(plan.unwrap(), folder, &latest(&at)).is_ok());
}

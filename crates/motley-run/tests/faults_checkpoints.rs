//! Storage faults: what is killed, full, flipped or foreign never costs a checkpoint that was complete.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use motley_core::{ActionSpace, AgentSpec, ObsSpace, Purpose, Stream, TeamSpec};
use motley_run::{
    CheckpointError, CheckpointInfo, CheckpointStore, Identity, PieceHashes, RealDisk, RunFolder, Sinks, StateWriter,
};
use motley_testkit::disk::{DiskFault, FaultyDisk};
use serde_json::Map;

fn team(obs: usize) -> TeamSpec {
    let agent = |n: &str| AgentSpec::new(n, "x", ObsSpace::vector(obs), ActionSpace::Discrete(3));
    TeamSpec::new("test/pair", vec![agent("left"), agent("right")])
}

fn info(step: u64) -> CheckpointInfo {
    CheckpointInfo {
        identity: Identity::new("happo", &team(4)),
        config: Map::new(),
        config_hash: "0".into(),
        env_steps: step,
        counters: serde_json::from_str(r#"{"updates": 1}"#).unwrap(),
        logs: BTreeMap::from([("metrics.jsonl".into(), step)]),
        exact_resume: true,
    }
}

/// A state that tells which step it is of.
fn state(step: u64) -> impl FnOnce(&mut StateWriter) {
    move |w| {
        w.put_u64("step", &[step]);
        w.put_f32("weights", &vec![step as f32; 500]);
        w.put_pieces("memory", &[0, step], &PieceHashes::default(), &mut |k, bytes| bytes.extend(&pieces(step)[k]));
    }
}

/// One piece that never changes, one that does.
fn pieces(step: u64) -> [Vec<u8>; 2] {
    [vec![7; 300], step.to_le_bytes().repeat(40)]
}

fn store(dir: &Path, keep: usize) -> CheckpointStore {
    CheckpointStore::new(&dir.join("checkpoints"), keep, Arc::new(RealDisk))
}

fn save(store: &CheckpointStore, step: u64) {
    assert_eq!(store.save(&info(step), state(step)).unwrap().warnings, Vec::<String>::new());
}

fn loaded_step(store: &CheckpointStore) -> u64 {
    let loaded = store.load_latest().unwrap();
    assert_eq!(loaded.state.u64("step").unwrap(), loaded.step);
    assert_eq!(loaded.state.f32s("weights").unwrap(), vec![loaded.step as f32; 500]);
    let memory: Vec<_> = loaded.state.pieces("memory").unwrap().read().map(Result::unwrap).collect();
    assert_eq!(memory, pieces(loaded.step));
    assert_eq!(loaded.manifest.info, info(loaded.step));
    loaded.step
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn saving_keeps_the_newest_and_the_best() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(dir.path(), 2);
    assert!(matches!(s.load_latest(), Err(CheckpointError::None(_))), "never from nothing");
    assert!(s.steps().unwrap().is_empty() && s.best().unwrap().is_none());
    for step in [5, 10, 100] {
        save(&s, step);
        if step == 5 {
            s.mark_best(5).unwrap();
        }
        assert!(s.load_latest().unwrap().warnings.is_empty());
    }
    save(&s, 1000);
    assert_eq!(s.steps().unwrap(), [5, 100, 1000]);
    assert_eq!((s.best().unwrap(), s.latest().unwrap()), (Some(5), Some(1000)));
    assert_eq!(loaded_step(&s), 1000);
    assert_eq!(s.load(5).unwrap().state.u64("step").unwrap(), 5);
    assert!(s.mark_best(6).is_err() && s.load(10).is_err());
    s.mark_best(1000).unwrap();
    save(&s, 2000);
    assert_eq!(entries(s.dir()), ["best", "latest", "step-1000", "step-2000"]);
    assert_eq!(std::fs::read_to_string(s.dir().join("latest")).unwrap(), "step-2000\n");
}

#[test]
fn the_order_of_calls_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    save(&store(dir.path(), 1), 1);
    let disk = Arc::new(FaultyDisk::new(DiskFault::None));
    let s = CheckpointStore::new(&dir.path().join("checkpoints"), 1, disk.clone());
    save(&s, 2);
    let pid = std::process::id();
    // What the checkpoint before holds is linked.
    let [old, new] = pieces(2).map(|p| format!("{}.piece", blake3::hash(&p).to_hex()));
    let expected = [
        format!("remove step-2.tmp-{pid}"),
        format!("create step-2.tmp-{pid}"),
        format!("link {old} {old}"),
        format!("write {new}"),
        "write state.safetensors".into(),
        "write manifest.json".into(),
        format!("sync step-2.tmp-{pid}"),
        format!("rename step-2.tmp-{pid} step-2"),
        "sync checkpoints".into(),
        format!("remove latest.tmp-{pid}"),
        format!("write latest.tmp-{pid}"),
        format!("rename latest.tmp-{pid} latest"),
        "sync checkpoints".into(),
        format!("remove step-1.tmp-{pid}"),
        format!("rename step-1 step-1.tmp-{pid}"),
        format!("remove step-1.tmp-{pid}"),
    ];
    assert_eq!(disk.trace(), expected);
}

/// Runs `attempt` with every fault index until one run is not hit by the fault any more.
fn at_every_call(make: impl Fn(usize) -> DiskFault, attempt: impl Fn(Arc<FaultyDisk>, &Path) -> bool) -> usize {
    for i in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(FaultyDisk::new(make(i)));
        attempt(disk.clone(), dir.path());
        if disk.calls() <= i {
            return i;
        }
    }
    unreachable!()
}

/// K1 and K8: with `keep` = 1, killing at any call of a save leaves the old checkpoint or the new one.
#[test]
fn killed_at_any_call_the_last_complete_checkpoint_loads() {
    for keep in [1, 2] {
        let calls = at_every_call(DiskFault::KillAt, |disk, dir| {
            let real = store(dir, keep);
            save(&real, 10);
            save(&real, 20);
            let done = CheckpointStore::new(real.dir(), keep, disk).save(&info(30), state(30)).is_ok();
            let found = loaded_step(&real);
            assert!(if done { found == 30 } else { found == 20 || found == 30 }, "found {found}");
            // The next save works and clears what the dead process left.
            save(&real, 40);
            assert_eq!(loaded_step(&real), 40);
            assert!(entries(real.dir()).iter().all(|n| !n.contains("tmp")), "{:?}", entries(real.dir()));
            done
        });
        assert!(calls >= 10, "{calls} calls were tried");
    }
}

/// The same step saved again (a resumed run passes it, or the last save of a run falls on it).
#[test]
fn killed_while_replacing_a_checkpoint_of_the_same_step() {
    let calls = at_every_call(DiskFault::KillAt, |disk, dir| {
        let real = store(dir, 1);
        save(&real, 10);
        let done = CheckpointStore::new(real.dir(), 1, disk).save(&info(10), state(10)).is_ok();
        assert_eq!(loaded_step(&real), 10);
        save(&real, 10);
        assert_eq!(entries(real.dir()), ["latest", "step-10"]);
        done
    });
    assert!(calls >= 12, "{calls} calls were tried");
}

#[test]
fn killed_in_the_very_first_save_nothing_is_made_up() {
    at_every_call(DiskFault::KillAt, |disk, dir| {
        let real = store(dir, 1);
        let done = CheckpointStore::new(real.dir(), 1, disk).save(&info(10), state(10)).is_ok();
        match real.load_latest() {
            Ok(loaded) => assert_eq!(loaded.step, 10),
            Err(error) => assert!(!done && matches!(error, CheckpointError::None(_)), "{error}"),
        }
        done
    });
}

/// K2: one failing call, or a disk that stays full, costs the new checkpoint at most, and leaves no litter behind.
#[test]
fn a_refusing_disk_leaves_the_previous_checkpoint() {
    let once = |kind| move |i| DiskFault::FailAt(i, kind);
    let check = |disk: Arc<FaultyDisk>, dir: &Path| {
        let real = store(dir, 1);
        save(&real, 10);
        let saved = CheckpointStore::new(real.dir(), 1, disk).save(&info(20), state(20));
        let found = loaded_step(&real);
        match &saved {
            Ok(saved) => assert!(found == 20 && saved.warnings.len() <= 1),
            Err(CheckpointError::Io { path, .. }) => assert!(path.starts_with(dir) && (found == 10 || found == 20)),
            Err(other) => panic!("{other}"),
        }
        assert!(saved.is_ok() || entries(real.dir()).iter().all(|n| !n.contains("tmp")));
        save(&real, 30);
        assert_eq!(entries(real.dir()), ["latest", "step-30"]);
        saved.is_ok()
    };
    assert!(at_every_call(once(io::ErrorKind::StorageFull), check) >= 10);
    assert!(at_every_call(once(io::ErrorKind::PermissionDenied), check) >= 10);
    assert!(at_every_call(DiskFault::FullFrom, check) >= 10);
}

/// Changes one byte in place.
fn put(path: &Path, at: usize, byte: u8) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(io::SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

/// K3: 10,000 single-byte changes anywhere in the newest checkpoint.
#[test]
fn every_flipped_byte_is_detected() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(dir.path(), 2);
    save(&s, 10);
    save(&s, 20);
    let piece = format!("step-20/{}.piece", blake3::hash(&pieces(20)[1]).to_hex());
    let files: Vec<(PathBuf, Vec<u8>)> = ["step-20/manifest.json", "step-20/state.safetensors", &piece, "latest"]
        .iter()
        .map(|f| s.dir().join(f))
        .map(|p| (p.clone(), std::fs::read(&p).unwrap()))
        .collect();
    let mut rng = Stream::new(7, Purpose::Check, 0, 0);
    for _ in 0..10_000 {
        let (path, bytes) = &files[rng.next_u32() as usize % files.len()];
        let at = rng.next_u32() as usize % bytes.len();
        put(path, at, bytes[at] ^ (1 + (rng.next_u32() % 255) as u8));
        let loaded = s.load_latest().unwrap();
        assert!(!loaded.warnings.is_empty(), "byte {at} of {} changed and nobody saw", path.display());
        assert_eq!(loaded.state.u64("step").unwrap(), loaded.step);
        if !path.ends_with("latest") {
            assert_eq!(loaded.step, 10);
            assert!(s.load(20).is_err());
        }
        put(path, at, bytes[at]);
    }
    assert_eq!(loaded_step(&s), 20);
}

/// A piece that changes after its checkpoint was read is not taken for what it was.
#[test]
fn a_piece_is_verified_when_it_is_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(dir.path(), 1);
    save(&s, 10);
    let loaded = s.load_latest().unwrap();
    let path = s.dir().join(format!("step-10/{}.piece", blake3::hash(&pieces(10)[1]).to_hex()));
    put(&path, 17, 255);
    let list = loaded.state.pieces("memory").unwrap();
    let read: Vec<_> = list.read().collect();
    assert!(list.len() == 2 && read[0].is_ok());
    assert!(matches!(&read[1], Err(CheckpointError::Damaged { .. })), "{:?}", read[1]);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(list.read().nth(1), Some(Err(CheckpointError::Io { .. }))));
}

#[test]
fn missing_truncated_and_extended_files_fall_back_and_say_so() {
    for file in ["manifest.json", "state.safetensors"] {
        for change in ["missing", "empty", "half", "longer", "folder", "swapped"] {
            let dir = tempfile::tempdir().unwrap();
            let s = store(dir.path(), 2);
            save(&s, 10);
            save(&s, 20);
            let path = s.dir().join("step-20").join(file);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            match change {
                "missing" => {}
                "empty" => std::fs::write(&path, []).unwrap(),
                "half" => std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
                "longer" => std::fs::write(&path, [&bytes[..], &[0]].concat()).unwrap(),
                "folder" => std::fs::create_dir(&path).unwrap(),
                _ => drop(std::fs::copy(s.dir().join("step-10").join(file), &path).unwrap()),
            }
            let loaded = s.load_latest().unwrap();
            assert_eq!(loaded.step, 10, "{file} {change}");
            let text = loaded.warnings.join("\n");
            assert!(text.contains("step-20") && text.contains("going on from step-10"), "{text}");
            std::fs::remove_dir_all(s.dir().join("step-10")).unwrap();
            let error = s.load_latest().unwrap_err();
            assert!(matches!(error, CheckpointError::NoneValid { .. }) && error.exit_code() == 1, "{error}");
        }
    }
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(dir.path(), 2);
    save(&s, 10);
    let path = s.dir().join("step-10/state.safetensors");
    let outside = dir.path().join("outside");
    std::fs::rename(&path, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    assert!(s.load(10).unwrap_err().to_string().contains("not a regular file"));
    // A link planted where a temporary file will be written is not written through.
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "keep").unwrap();
    std::os::unix::fs::symlink(&secret, s.dir().join(format!("latest.tmp-{}", std::process::id()))).unwrap();
    save(&s, 20);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "keep");
    // A folder of checkpoints elsewhere is neither written to nor cleared out.
    let elsewhere = dir.path().join("elsewhere");
    std::fs::rename(s.dir(), &elsewhere).unwrap();
    std::fs::create_dir(elsewhere.join("step-77.old")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, s.dir()).unwrap();
    let before = entries(&elsewhere);
    for refused in [s.save(&info(30), state(30)).map(drop), s.mark_best(10)] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("cannot write to") && error.contains("a link"), "{error}");
    }
    assert_eq!(entries(&elsewhere), before);
    std::fs::write(dir.path().join("run.json"), "{}").unwrap();
    let error = RunFolder::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("checkpoints") && error.contains("a link"), "{error}");
}

/// Logs and the lock, planted as links, leave what they lead to as it is; pipes and devices are not waited for.
#[cfg(unix)]
#[test]
fn linked_logs_and_locks_are_refused() {
    for name in ["metrics.jsonl", "eval.jsonl", "events.out.tfevents.1", ".lock"] {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        std::fs::create_dir(&run).unwrap();
        std::fs::write(run.join("run.json"), "{}").unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "keep").unwrap();
        for target in [victim.as_path(), Path::new("/dev/null"), &dir.path().join("not there")] {
            std::os::unix::fs::symlink(target, run.join(name)).unwrap();
            let opened = RunFolder::open(&run).and_then(|_folder| Sinks::open(&run, true).map(drop));
            let error = opened.unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("not a regular file"), "{error}");
            std::fs::remove_file(run.join(name)).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "keep");
        assert!(!dir.path().join("not there").exists());
    }
}

/// K5.
#[test]
fn another_team_or_other_layers_are_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(dir.path(), 1);
    save(&s, 10);
    let loaded = s.load_latest().unwrap();
    loaded.manifest.check(&Identity::new("happo", &team(4))).unwrap();
    let error = loaded.manifest.check(&Identity::new("mappo", &team(5))).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("algo: expected \"mappo\", found \"happo\"") && text.contains("team.agents[0].obs"), "{text}");
    let mut layer = [1.0f32; 64];
    let error = loaded.state.f32s_into("weights", &mut layer).unwrap_err();
    assert_eq!(error.to_string(), "checkpoint entry \"weights\": expected 64 values of F32, found 500 of F32");
    assert_eq!((layer, error.exit_code()), ([1.0; 64], 2));
}

#[test]
fn an_unreadable_best_stops_deletion_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(dir.path(), 1);
    save(&s, 10);
    std::fs::write(s.dir().join("best"), "step-1O").unwrap();
    let saved = s.save(&info(20), state(20)).unwrap();
    assert!(saved.warnings[0].contains("best"), "{:?}", saved.warnings);
    assert_eq!(s.steps().unwrap(), [10, 20]);
}

#[test]
fn going_on_from_an_earlier_one_ends_the_later_line() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(dir.path(), 3);
    for step in [10, 20, 30] {
        save(&s, step);
    }
    std::fs::write(s.dir().join("step-30/manifest.json"), "").unwrap();
    std::fs::write(s.dir().join("notes.txt"), "mine").unwrap();
    assert_eq!(loaded_step(&s), 20);
    save(&s, 25);
    assert_eq!(s.steps().unwrap(), [10, 20, 25]);
    assert!(s.load_latest().unwrap().warnings.is_empty() && s.dir().join("notes.txt").exists());
}

const CHILD: &str = "MOTLEY_TEST_CHECKPOINT_DIR";

/// Not a test of its own: the process that the two tests below start and harm.
#[test]
#[ignore = "started by the tests that kill it"]
fn child_saves_until_it_is_stopped() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let s = store(Path::new(&dir), 1);
    let from = s.latest().unwrap().unwrap_or(0);
    for step in from + 1..from + 100_000 {
        let fill = |w: &mut StateWriter| {
            state(step)(w);
            w.put_f32("filler", &vec![step as f32; 100_000]);
        };
        if let Err(error) = s.save(&info(step), fill) {
            assert!(error.to_string().contains("cannot write"), "{error}");
            std::process::exit(42);
        }
    }
}

fn child(dir: &Path) -> Vec<String> {
    let exe = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let test = "child_saves_until_it_is_stopped";
    let args = ["--ignored", "--exact", test];
    assert!(std::fs::create_dir_all(dir).is_ok());
    std::iter::once(exe).chain(args.map(String::from)).collect()
}

/// K1 and P3 with a true SIGKILL.
#[test]
fn a_killed_process_loses_nothing_complete() {
    let dir = tempfile::tempdir().unwrap();
    let line = child(dir.path());
    let mut rng = Stream::new(1, Purpose::Check, 0, 0);
    let (mut reached, mut kills) = (0, 0);
    // A busy machine gets more tries.
    while kills < 25 || reached <= 10 {
        kills += 1;
        assert!(kills <= 1000, "only {reached} saves in all");
        let mut process = Command::new(&line[0]).args(&line[1..]).env(CHILD, dir.path()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(20 + rng.next_u32() % 60)));
        process.kill().unwrap();
        process.wait().unwrap();
        match store(dir.path(), 1).load_latest() {
            Ok(loaded) => {
                assert!(loaded.step >= reached, "went back from {reached} to {}", loaded.step);
                reached = loaded.step;
                assert_eq!(loaded.state.f32s("filler").unwrap(), vec![reached as f32; 100_000]);
            }
            Err(error) => assert!(reached == 0, "{error}"),
        }
    }
}

/// K2 with a true limit: the system refuses to write more than 64 KiB to a file.
#[cfg(target_os = "linux")]
#[test]
fn a_file_size_limit_is_an_error_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    save(&store(dir.path(), 1), 3);
    let line = child(dir.path()).join(" ");
    let status = Command::new("bash")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f 64; exec {line}")])
        .env(CHILD, dir.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(42));
    assert_eq!(loaded_step(&store(dir.path(), 1)), 3);
    assert_eq!(entries(&dir.path().join("checkpoints")), ["latest", "step-3"]);
}

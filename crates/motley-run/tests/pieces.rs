//! A replay memory on its way through a checkpoint: what it costs in memory beyond the memory itself, and what is made again.
#![allow(unsafe_code, reason = "a global allocator that counts")]
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use motley_core::{ActionSpace, AgentSpec, ObsSpace, TeamSpec};
use motley_data::replay::Replay;
use motley_data::rollout::Rollout;
use motley_run::{CheckpointInfo, CheckpointStore, Identity, PieceHashes, RealDisk, StateWriter};

thread_local! {
    /// Bytes that this thread holds, and the most that it held since that was last set.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn note(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    MOST.set(MOST.get().max(HELD.get()));
}

// SAFETY: every call goes to the system allocator unchanged; the counters are thread-local integers without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` held beyond what was held before it, in MiB.
fn extra<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = HELD.get();
    MOST.set(before);
    let result = work();
    ((MOST.get() - before) as f64 / f64::from(1 << 20), result)
}

const ENVS: usize = 2;
const STEPS: usize = 8;

/// 16 KiB a frame.
fn team() -> Arc<TeamSpec> {
    let agent = AgentSpec::new("a", "x", ObsSpace::vector(4096), ActionSpace::Discrete(2));
    Arc::new(TeamSpec::new("test/wide", vec![agent]))
}

/// 64 MiB of slots, two rings that went round.
fn memory() -> Replay {
    Replay::new(team(), ENVS, 4096, 1)
}

fn push(memory: &mut Replay, round: usize) {
    let mut roll = Rollout::new(team(), ENVS, STEPS, 0);
    for (e, lane) in roll.lanes.iter_mut().enumerate() {
        lane.first.fill(false);
        lane.obs.fill((2 * round + e) as f32);
    }
    memory.push(&roll, &|rewards, _, into| into[0] = rewards[0] as f32);
}

fn full() -> Replay {
    let mut memory = memory();
    (0..280).for_each(|round| push(&mut memory, round));
    assert_eq!(memory.len(), ENVS * 2048, "full");
    memory
}

fn info(step: u64) -> CheckpointInfo {
    CheckpointInfo {
        identity: Identity::new("hatd3", &team()),
        config: serde_json::Map::new(),
        config_hash: "0".into(),
        env_steps: step,
        counters: serde_json::Map::new(),
        logs: BTreeMap::new(),
        exact_resume: true,
    }
}

/// Saves the memory and returns the pieces that were made for it.
fn save(store: &CheckpointStore, step: u64, memory: &Replay, hashes: &PieceHashes) -> Vec<usize> {
    let mut made = Vec::new();
    let fill = |w: &mut StateWriter| {
        w.put_u64("rings", &memory.numbers());
        w.put_pieces("slots", memory.stamps(), hashes, &mut |k, bytes| {
            made.push(k);
            memory.write_piece(k, bytes);
        });
    };
    assert!(store.save(&info(step), fill).unwrap().warnings.is_empty());
    made
}

fn store(dir: &Path) -> CheckpointStore {
    CheckpointStore::new(dir, 1, Arc::new(RealDisk))
}

/// A checkpoint of 64 MiB and the way back hold one piece of 4 MiB at a time, with room for what is small; memory is what a run of that
/// size has been allowed to take already.
#[test]
fn a_checkpoint_is_no_second_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (store, memory, hashes) = (store(dir.path()), full(), PieceHashes::default());
    let (most, made) = extra(|| save(&store, 1, &memory, &hashes));
    assert!(made.len() >= 16 && most < 6.0, "{most} MiB more for {} pieces", made.len());
    let mut other = self::memory();
    let (most, ()) = extra(|| {
        let state = store.load_latest().unwrap().state;
        other.load(&state.u64s("rings").unwrap(), state.pieces("slots").unwrap().read()).unwrap();
    });
    assert!(most < 6.0, "{most} MiB more to read {} pieces", made.len());
    assert_eq!((other.numbers(), other.len()), (memory.numbers(), memory.len()));
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for k in 0..made.len() {
        a.clear();
        b.clear();
        memory.write_piece(k, &mut a);
        other.write_piece(k, &mut b);
        assert!(a == b, "piece {k}");
    }
}

/// A piece that nothing was written to since is linked by its hash, neither made nor hashed again; also by a process that went on from a
/// checkpoint. One that is not at hand is made, whatever is known of it.
#[test]
fn what_did_not_change_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut memory, hashes) = (store(dir.path()), full(), PieceHashes::default());
    let all: Vec<usize> = (0..memory.stamps().len()).collect();
    assert_eq!(save(&store, 1, &memory, &hashes), all);
    assert_eq!(save(&store, 2, &memory, &hashes), Vec::<usize>::new());
    let stamps = memory.stamps().to_vec();
    push(&mut memory, 1000);
    let touched: Vec<usize> = all.iter().copied().filter(|k| memory.stamps()[*k] != stamps[*k]).collect();
    assert!((1..=2).contains(&touched.len()), "{touched:?}");
    assert_eq!(save(&store, 3, &memory, &hashes), touched);

    let state = store.load_latest().unwrap().state;
    let (mut other, pieces) = (self::memory(), state.pieces("slots").unwrap());
    other.load(&state.u64s("rings").unwrap(), pieces.read()).unwrap();
    let hashes = pieces.known(other.stamps());
    assert_eq!(save(&store, 4, &other, &hashes), Vec::<usize>::new());
    push(&mut other, 2000);
    let made = save(&store, 5, &other, &hashes);
    assert!((1..=2).contains(&made.len()), "{made:?}");
    let mut again = self::memory();
    let state = store.load_latest().unwrap().state;
    again.load(&state.u64s("rings").unwrap(), state.pieces("slots").unwrap().read()).unwrap();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for k in &all {
        other.write_piece(*k, &mut a);
        again.write_piece(*k, &mut b);
    }
    assert!(a == b, "what was linked is what was meant");

    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(save(&self::store(elsewhere.path()), 6, &other, &hashes), all);
}

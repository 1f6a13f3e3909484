//! Steady collection takes no memory from the heap: a rollout four times as long allocates exactly as often.
#![allow(unsafe_code, reason = "a global allocator that counts")]
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use motley_core::{Purpose, Stream};
use motley_data::rollout::Rollout;
use motley_nn::{Policy, Pool};
use motley_train::collect::Collector;
use motley_train::{Registry, Request};

thread_local! {
    /// Allocations of this thread: the test harness's own do not count.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system allocator unchanged; the counter is a thread-local integer without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ENVS: usize = 20;

/// Allocations of the third rollout of `steps` steps.
fn steady(task: &str, overrides: &[&str], steps: usize) -> u64 {
    let overrides = overrides.iter().map(|o| (*o).to_owned()).collect();
    let request = Request { algo: "happo".into(), task: task.into(), overrides, ..Request::default() };
    let plan = request.plan(&Registry::builtin()).unwrap();
    let algorithm = plan.algorithm.build(&plan.team, &plan.settings, &Stream::new(0, Purpose::Init, 0, 0)).unwrap();
    let policy = algorithm.policy();
    let mut roll = Rollout::new(Arc::clone(&plan.team), ENVS, steps, policy.memory_len());
    let mut collector = Collector::new(Arc::clone(&plan.team), Arc::clone(&plan.make), 0, ENVS, 0).unwrap();
    let pool = Pool::serial();
    collector.start(&mut roll).unwrap();
    for _ in 0..2 {
        collector.collect(&policy, &mut roll, &pool).unwrap();
        roll.carry();
    }
    let before = COUNT.get();
    collector.collect(&policy, &mut roll, &pool).unwrap();
    let count = COUNT.get() - before;
    assert!(roll.lanes.iter().all(|lane| lane.episodes.len() == steps / 25), "resets are part of it");
    count
}

#[test]
fn no_env_step_allocates() {
    for (task, overrides) in [
        ("mpe/simple_spread_v3", &[][..]),
        ("mpe/simple_spread_v3", &["task.continuous=true"]),
        ("mpe/simple_spread_v3", &["net.recurrent=true"]),
        ("mpe/simple_speaker_listener_v4", &[]),
    ] {
        let (short, long) = (steady(task, overrides, 50), steady(task, overrides, 200));
        assert!(long == short && long <= 8, "{task} {overrides:?}: {short} allocations in 50 steps, {long} in 200");
    }
}

#[test]
fn the_allocator_counts() {
    let before = COUNT.get();
    let mut held = vec![1u8];
    held.reserve(100);
    assert_eq!((COUNT.get() - before, held.len()), (2, 1));
}

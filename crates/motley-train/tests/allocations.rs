//! Steady collection takes no memory from the heap: a rollout four times as long allocates exactly as often. Gradient steps hold what
//! grows with the number of rows in a workspace.
#![allow(unsafe_code, reason = "a global allocator that counts")]
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use motley_core::{ObsSpace, Purpose, Stream};
use motley_data::rollout::Rollout;
use motley_nn::init::Init;
use motley_nn::{Activation, Batch, Engine, Graph, Net, NetSpec, NetWork, Policy, Pool, RowLoss, Topology};
use motley_train::collect::Collector;
use motley_train::{Registry, Request};

thread_local! {
    /// Allocations of this thread: the test harness's own do not count.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Bytes of the largest block since it was last set to 0.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn note(bytes: usize) {
    COUNT.set(COUNT.get() + 1);
    LARGEST.set(LARGEST.get().max(bytes));
}

// SAFETY: every call goes to the system allocator unchanged; the counters are thread-local integers without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
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
fn steady(algo: &str, task: &str, overrides: &[&str], steps: usize) -> u64 {
    let overrides = overrides.iter().map(|o| (*o).to_owned()).collect();
    let request = Request { algo: algo.into(), task: task.into(), overrides, ..Request::default() };
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
    for (algo, task, overrides) in [
        ("happo", "mpe/simple_spread_v3", &[][..]),
        ("happo", "mpe/simple_spread_v3", &["task.continuous=true"]),
        ("happo", "mpe/simple_spread_v3", &["net.recurrent=true"]),
        ("happo", "mpe/simple_speaker_listener_v4", &[]),
        ("u-mappo", "mpe/simple_speaker_listener_v4", &["preset=none"]),
        ("u-qmix", "mpe/simple_speaker_listener_v4", &["preset=none"]),
    ] {
        let (short, long) = (steady(algo, task, overrides, 50), steady(algo, task, overrides, 200));
        assert!(long == short && long <= 8, "{algo} {task} {overrides:?}: {short} allocations in 50 steps, {long} in 200");
    }
}

struct Squares;

impl RowLoss for Squares {
    fn stats_len(&self) -> usize {
        0
    }

    fn rows(&self, _start: usize, out: &[f32], d_out: &mut [f32], _stats: &mut [f64]) {
        d_out.copy_from_slice(out);
    }
}

/// Networks that messages, a convolution or a GRU stand before or behind.
#[test]
fn no_gradient_step_allocates_by_the_row() {
    const ROWS: usize = 8000;
    let spec = |obs: ObsSpace, recurrent: bool| NetSpec {
        obs,
        extra: 0,
        hidden_sizes: vec![16, 16],
        activation: Activation::Tanh,
        last_activation: None,
        feature_norm: false,
        layer_norm: false,
        recurrent,
        output: 2,
        output_gain: 1.0,
        init: Init::Uniform,
        free: Vec::new(),
    };
    let rng = Stream::new(0, Purpose::Init, 0, 0);
    let registry = motley_envs::Registry::builtin();
    let team = registry.make("vmas/balance", &[]).unwrap().spec().clone();
    let graph = Arc::new(Graph::new(&team, Topology::Full, 16).unwrap());
    let nets = [
        ("messages", Net::on_graph(spec(ObsSpace::vector(0), false), graph, &rng)),
        ("convolution", Net::new(spec(ObsSpace::image(5, 5, 1), false), &rng)),
        ("memory", Net::new(spec(ObsSpace::vector(6), true), &rng)),
    ];
    for (name, net) in nets {
        let x: Vec<f32> = (0..ROWS * net.input_len()).map(|k| (k as f32).sin()).collect();
        let (mut grad, mut work) = (vec![0.0; net.params().len()], NetWork::default());
        let mut step = || {
            LARGEST.set(0);
            let batch = Batch { x: &x, rows: ROWS, sequence: None };
            net.loss_grad(&Engine::Fused, &Pool::serial(), batch, &Squares, &mut grad, &mut [], &mut work);
            LARGEST.get()
        };
        let first = step();
        step();
        let steady = step();
        // Two outputs a row are the least that a step must hold.
        assert!(first >= 8 * ROWS && steady < 8 * ROWS, "{name}: blocks of {first} bytes at first, of {steady} later");
    }
}

#[test]
fn the_allocator_counts() {
    let before = COUNT.get();
    let mut held = vec![1u8];
    held.reserve(100);
    assert_eq!((COUNT.get() - before, held.len()), (2, 1));
}

//! Gradient steps of the reference network, LayerNorm and 2 x 128 ReLU on simple_spread's observation (18) and state, on rows
//! that were collected from the task. A step is everything: forward, loss, backward, clip, Adam, packing the new weights.

use std::sync::Arc;

use motley_core::{Purpose, Settings, Stream};
use motley_data::rollout::Rollout;
use motley_nn::init::Init;
use motley_nn::{
    Activation, Actor, AdamConfig, Ascent, Critic, CriticConfig, Engine, Head, Net, NetScratch, NetSpec, Objective, Pick, Policy,
    Pool, Source,
};
use motley_train::collect::Collector;
use motley_train::{Registry, Request, TrainError};
use serde_json::json;

use super::limits::gemm_rate;
use super::{Span, thread_counts, time};
use crate::commands::list::table;
use crate::error::Failure;
use crate::output::Output;

const TASK: &str = "mpe/simple_spread_v3";
/// Environments and steps of the rollouts: 4000 rows (HAPPO's tuned settings) and 256.
const ROLLOUTS: [(usize, usize); 2] = [(20, 200), (8, 32)];
/// Rows that act together: one agent in 20 environments.
const ACTING: usize = 20;
/// Seconds given to one measurement in each round.
const SECONDS: f64 = 0.15;

pub(super) fn run(rounds: usize, registry: &Registry, out: &Output) -> Result<(), Failure> {
    let counts = thread_counts();
    let mut limits = vec![0.0f64; counts.len()];
    let mut items = Vec::new();
    for (k, threads) in counts.iter().enumerate() {
        for rollout in ROLLOUTS {
            items.extend(steps(rollout, *threads, k, registry)?);
        }
    }
    items.push(acting());
    // Everything once a round, the limit too, so that a share compares what was timed side by side.
    for _ in 0..rounds.max(1) {
        for (limit, threads) in limits.iter_mut().zip(&counts) {
            *limit = limit.max(gemm_rate(*threads));
        }
        for item in &mut items {
            item.span = item.span.join(time(SECONDS, &mut item.work));
        }
    }
    let mut rows = vec![["WORK", "ROWS", "THREADS", "BEST ms", "WORST ms", "GFLOP/s", "OF GEMM"].map(str::to_owned)];
    for item in &items {
        let rate = item.flop / item.span.least;
        let share = rate / limits[item.limit];
        let (best, worst) = (1e3 * item.span.least, 1e3 * item.span.most);
        let threads = counts[item.limit];
        rows.push([
            item.name.to_owned(),
            item.rows.to_string(),
            threads.to_string(),
            format!("{best:.3}"),
            format!("{worst:.3}"),
            format!("{:.1}", rate / 1e9),
            format!("{:.0} %", 100.0 * share),
        ]);
        out.event(
            "update_speed",
            json!({
                "work": item.name,
                "rows": item.rows,
                "threads": threads,
                "best_ms": best,
                "worst_ms": worst,
                "gflops": rate / 1e9,
                "gemm_gflops": limits[item.limit] / 1e9,
                "share": share,
            }),
        );
    }
    table(out, &rows);
    Ok(())
}

/// One line of the table.
struct Item {
    name: &'static str,
    rows: usize,
    /// Index of the thread count, and of its limit.
    limit: usize,
    flop: f64,
    span: Span,
    work: Box<dyn FnMut()>,
}

fn spec(output: usize) -> NetSpec {
    NetSpec {
        obs: motley_core::ObsSpace::vector(18),
        extra: 0,
        hidden_sizes: vec![128, 128],
        activation: Activation::Relu,
        last_activation: None,
        feature_norm: true,
        layer_norm: true,
        recurrent: false,
        output,
        output_gain: 0.01,
        init: Init::Orthogonal,
        free: Vec::new(),
    }
}

fn weights(net: &Net) -> f64 {
    net.entries().iter().filter(|e| e.shape.len() == 2).map(|e| e.len() as f64).sum()
}

fn rng() -> Stream {
    Stream::new(0, Purpose::Init, 0, 0)
}

/// The actor's and the critic's step on a rollout of `(envs, steps)`.
fn steps((envs, steps): (usize, usize), threads: usize, limit: usize, registry: &Registry) -> Result<[Item; 2], Failure> {
    let roll = Arc::new(collect(envs, steps, registry)?);
    let rows = roll.rows();
    let noise = |k: u64| -> Vec<f32> {
        let mut rng = rng().fork(k);
        (0..rows).map(|_| rng.normal() as f32).collect()
    };
    let adam = AdamConfig::read(&Settings::new(AdamConfig::keys()))?;
    let failed = |why: String| Failure::run(why);
    let mut actor =
        Actor::new(roll.team(), vec![0], Head::Categorical(vec![5]), spec(5), false, adam.clone(), Engine::Fused, 0, &rng())
            .map_err(failed)?;
    let (mine, pool, weight) = (Arc::clone(&roll), Pool::new(threads).map_err(Failure::run)?, noise(1));
    let seen = actor.rows(&roll);
    let flop = 6.0 * rows as f64;
    let actor_flop = flop * weights(&actor.net);
    let climb = move || {
        let objective = Objective::PpoClip { clip: 0.2 };
        let ascent = Ascent { objective: &objective, weight: &weight, entropy_coef: 0.01, lr: 5e-4 };
        assert!(actor.step(&pool, &mine, &seen, &Pick::All, ascent).is_ok(), "a step that is timed is taken");
    };
    let config =
        CriticConfig { critic_epochs: 1, critic_minibatches: 1, ..CriticConfig::read(&Settings::new(CriticConfig::keys()))? };
    let mut critic =
        Critic::new(roll.team(), Source::State, vec![0], spec(1), false, config, adam, Engine::Fused, &rng()).map_err(failed)?;
    let (pool, targets) = (Pool::new(threads).map_err(Failure::run)?, noise(2));
    let values = critic.values(&pool, &roll);
    let critic_flop = flop * weights(critic.net());
    let fit = move || {
        assert!(critic.fit(&pool, &roll, &values, &targets, 0, 5e-4, &rng()).is_ok(), "a step that is timed is taken");
    };
    let item = |name, flop, work| Item { name, rows, limit, flop, span: Span::NOTHING, work };
    Ok([item("PPO step, actor", actor_flop, Box::new(climb)), item("value step, critic", critic_flop, Box::new(fit))])
}

/// The acting forward of one agent.
fn acting() -> Item {
    let net = Net::new(spec(5), &rng());
    let (x, mut out, mut scratch) = (vec![0.5; ACTING * 18], vec![0.0; ACTING * 5], NetScratch::default());
    let flop = 2.0 * ACTING as f64 * weights(&net);
    let work = move || {
        net.forward(&x, ACTING, &mut [], &mut out, &mut scratch);
        std::hint::black_box(&out);
    };
    Item { name: "acting forward", rows: ACTING, limit: 0, flop, span: Span::NOTHING, work: Box::new(work) }
}

/// A rollout of the untrained policy.
fn collect(envs: usize, steps: usize, registry: &Registry) -> Result<Rollout, Failure> {
    let request = Request { algo: "happo".into(), task: TASK.into(), ..Request::default() };
    let plan = request.plan(registry)?;
    let policy = plan.algorithm.build(&plan.team, &plan.settings, &rng())?.policy();
    let mut roll = Rollout::new(Arc::clone(&plan.team), envs, steps, policy.memory_len());
    let failed = |e| Failure::from(TrainError::from(e));
    let mut collector = Collector::new(Arc::clone(&plan.team), Arc::clone(&plan.make), 0, envs, 0)?;
    collector.start(&mut roll).map_err(failed)?;
    collector.collect(&policy, &mut roll, &Pool::serial()).map_err(failed)?;
    Ok(roll)
}

//! `motley eval`: play episodes with a trained policy and say what they return, also against noise on what it sees.

use std::path::Path;
use std::sync::Arc;

use motley_data::rollout::Rollout;
use motley_nn::{Mode, Policy, Pool};
use motley_train::collect::Collector;
use motley_train::evaluate::{EvalSummary, behavioural_distance};
use motley_train::{EvalPlan, Registry, evaluate};
use serde_json::{Map, Value, json};

use crate::args::EvalArgs;
use crate::commands::config::threads;
use crate::commands::list::table;
use crate::commands::noise::{Noise, Noisy, Target};
use crate::commands::source::{Loaded, Source, load_on};
use crate::error::Failure;
use crate::output::Output;

pub(crate) fn run(args: &EvalArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let noise = args.noise.as_deref().map(Noise::parse).transpose()?;
    let loaded = load_on(Source::new(&args.policy, out), registry, args.task.as_deref(), &args.settings)?;
    let pool = Pool::new(threads()?).map_err(Failure::run)?;
    let plan = EvalPlan {
        seed: args.seed,
        round: u64::MAX,
        episodes: args.episodes,
        mode: if args.stochastic { Mode::Sample } else { Mode::Greedy },
    };
    if let Some(noise) = noise {
        return against_noise(args, &loaded, &noise, &pool, plan, out);
    }
    let played = evaluate(&loaded.policy, &loaded.make, &pool, plan).map_err(Failure::run)?;
    played.warnings().iter().for_each(|warning| out.warning(warning));
    let summary = EvalSummary::of(&played);
    // What was played is told whatever becomes of this.
    let distance = diversity(&loaded, args.seed, &pool).unwrap_or_else(|failure| {
        out.warning(format!("the behavioural distance could not be measured: {}", failure.message));
        None
    });
    let apart = distance.map_or_else(String::new, |d| format!("; behavioural distance {d:.3}"));
    out.line(format!("{} on {}: {}{apart}", loaded.algo, loaded.task, describe(&summary)));
    let mut all = fields(&args.policy.from, &loaded.algo, &loaded.task, &summary);
    if let Some(distance) = distance {
        all.insert("behavioural_distance".into(), json!(distance));
    }
    out.event("eval", Value::Object(all));
    Ok(0)
}

/// How unlike an unshared team behaves, on what it meets in a few short episodes.
fn diversity(loaded: &Loaded, seed: u64, pool: &Pool) -> Result<Option<f64>, Failure> {
    const STEPS: usize = 50;
    if loaded.policy.groups().len() < 2 {
        return Ok(None);
    }
    let team = Arc::clone(loaded.policy.team());
    let envs = if (loaded.make)()?.heavy() { 1 } else { 4 };
    let mut roll = Rollout::new(Arc::clone(&team), envs, STEPS, loaded.policy.memory_len());
    let mut collector = Collector::new(team, Arc::clone(&loaded.make), seed, envs, 100)?;
    collector.start(&mut roll).map_err(Failure::run)?;
    collector.collect(&loaded.policy, &mut roll, pool).map_err(Failure::run)?;
    Ok(behavioural_distance(&loaded.policy, &roll))
}

/// The same episodes at each level of noise.
fn against_noise(
    args: &EvalArgs,
    loaded: &Loaded,
    noise: &Noise,
    pool: &Pool,
    plan: EvalPlan,
    out: &Output,
) -> Result<u8, Failure> {
    let mask = noise.mask(loaded.policy.team())?;
    let mut rows = vec![["NOISE", "RETURN", "STD", "CHANGE"].map(str::to_owned)];
    let mut clear = None;
    for width in &noise.levels {
        let noisy = Noisy { policy: &loaded.policy, target: noise.target, width: *width, mask: &mask };
        let played = evaluate(&noisy, &loaded.make, pool, plan).map_err(Failure::run)?;
        played.warnings().iter().for_each(|warning| out.warning(warning));
        let summary = EvalSummary::of(&played);
        let first = *clear.get_or_insert(summary.return_mean);
        let change = summary.return_mean - first;
        rows.push([
            format!("{width:.4}"),
            format!("{:.2}", summary.return_mean),
            format!("{:.2}", summary.return_std),
            format!("{change:+.2}"),
        ]);
        let mut all = fields(&args.policy.from, &loaded.algo, &loaded.task, &summary);
        all.insert("noise".into(), json!(width));
        all.insert("noise_on".into(), json!(if noise.target == Target::Obs { "obs" } else { "act" }));
        all.insert("noisy_agents".into(), json!(if noise.agents.is_empty() { "all".into() } else { noise.agents.join("+") }));
        out.event("eval", Value::Object(all));
    }
    out.line(format!(
        "{} on {}, {} episodes a level, noise uniform on [-NOISE, NOISE] added to {}:",
        loaded.algo,
        loaded.task,
        plan.episodes,
        if noise.target == Target::Obs { "observations" } else { "actions" }
    ));
    table(out, &rows);
    Ok(0)
}

fn fields(from: &Path, algo: &str, task: &str, summary: &EvalSummary) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("from".into(), json!(from.display().to_string()));
    fields.insert("algo".into(), json!(algo));
    fields.insert("task".into(), json!(task));
    fields.extend(eval_fields(summary));
    fields
}

/// The `eval_*` keys that `train` and `eval` end with.
pub(crate) fn eval_fields(summary: &EvalSummary) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("eval_return_mean".into(), json!(summary.return_mean));
    fields.insert("eval_return_std".into(), json!(summary.return_std));
    fields.insert("eval_episodes".into(), json!(summary.episodes));
    fields.insert("eval_env_failures".into(), json!(summary.env_failures));
    if let Some(rate) = summary.win_rate {
        fields.insert("eval_win_rate".into(), json!(rate));
    }
    fields
}

/// `return -51.2 +- 9.3 over 100 episodes of 25.0 steps`.
pub(crate) fn describe(s: &EvalSummary) -> String {
    let won = s.win_rate.map(|w| format!(", {:.1} % won", 100.0 * w)).unwrap_or_default();
    let (mean, std, failed) = (s.return_mean, s.return_std, s.env_failures);
    let failed = if failed == 0 { String::new() } else { format!(", {failed} environment failures") };
    format!("return {mean:.2} +- {std:.2} over {} episodes of {:.1} steps{won}{failed}", s.episodes, s.length_mean)
}

//! marl-eval's JSON, out and in, so that its tools read Motley's runs and Motley reads theirs.
//!
//! `{env: {task: {ALGORITHM: {seed_N: {step_0: {step_count, metrics...}, ..., absolute_metrics: {...}}}}}}`:
//! names of environments and tasks in lower case and of algorithms in upper case, every metric in every step and in
//! `absolute_metrics`, values as lists, `absolute_metrics` as the last key (its matrices take the last entry as the absolute
//! one). Win rates are in percent there, 0 to 1 here; BenchMARL, which says `return`, writes them 0 to 1 too. The format's optional `elapsed_time` is read but not written: marl-eval's
//! checker takes it for a metric that `absolute_metrics` lacks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::StatsError;
use crate::record::{Evaluation, Metric, RunRecord};

/// A level of the document.
type Named<T> = BTreeMap<String, T>;

const RETURN: &str = "mean_episode_return";
const WIN_RATE: &str = "win_rate";
const ABSOLUTE: &str = "absolute_metrics";

/// The runs as one document.
///
/// # Errors
/// [`StatsError::Format`]: a run without the absolute metric, two runs of one algorithm and task with one seed, runs with unlike
/// numbers of evaluations, algorithms or tasks of one environment with unlike seeds, tasks of one with unlike algorithms: the tools
/// would misread all of these, or stop at them.
pub fn to_json(runs: &[RunRecord]) -> Result<Value, StatsError> {
    one_shape(runs)?;
    let mut won: BTreeMap<String, bool> = BTreeMap::new();
    for run in runs {
        let of_run = run.evaluations.iter().chain(&run.absolute).all(|e| !e.won.is_empty());
        *won.entry(environment(run)).or_insert(true) &= of_run;
    }
    let mut root: Named<Named<Named<Named<Value>>>> = BTreeMap::new();
    for run in runs {
        let (env, task) = (environment(run), run.task.split_once('/').map_or(run.task.as_str(), |(_, task)| task));
        let won = won.get(&env).copied().unwrap_or(false);
        let of_task = root.entry(env).or_default().entry(task.to_lowercase()).or_default();
        let of_algo = of_task.entry(run.algo.to_uppercase()).or_default();
        let seed = format!("seed_{}", run.seed);
        if of_algo.contains_key(&seed) {
            return Err(StatsError::Format(format!("two runs of {} on {} with seed {}", run.algo, run.task, run.seed)));
        }
        of_algo.insert(seed, Value::Object(one_run(run, won)?));
    }
    Ok(json!(root))
}

/// What the tools put together: the suite.
fn environment(run: &RunRecord) -> String {
    run.task.split_once('/').map_or("task", |(env, _)| env).to_lowercase()
}

/// The tools stack the runs of an environment into one matrix of seeds and tasks an algorithm.
fn one_shape(runs: &[RunRecord]) -> Result<(), StatsError> {
    let mut envs: Named<Named<Named<BTreeSet<u64>>>> = BTreeMap::new();
    let mut lengths: Named<BTreeSet<usize>> = BTreeMap::new();
    for run in runs {
        let of_task = envs.entry(environment(run)).or_default().entry(run.task.clone()).or_default();
        of_task.entry(run.algo.clone()).or_default().insert(run.seed);
        lengths.entry(environment(run)).or_default().insert(run.evaluations.len());
    }
    for (env, lengths) in &lengths {
        if let (Some(least), Some(most)) = (lengths.first(), lengths.last().filter(|_| lengths.len() > 1)) {
            return Err(StatsError::Format(format!(
                "runs on {env} have {least} to {most} evaluations: marl-eval needs as many of each, so train and evaluate them alike"
            )));
        }
    }
    let listed = |seeds: &BTreeSet<u64>| seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for tasks in envs.values() {
        let cells = || tasks.iter().flat_map(|(task, algos)| algos.iter().map(move |(algo, seeds)| (task, algo, seeds)));
        let Some((task, algo, seeds)) = cells().next() else { continue };
        if let Some((t, a, s)) = cells().find(|cell| cell.2 != seeds) {
            let (ours, theirs) = (listed(seeds), listed(s));
            return Err(StatsError::Format(format!(
                "{algo} on {task} has seeds {ours} and {a} on {t} has {theirs}: marl-eval needs the same of all"
            )));
        }
        let algos = |task: &str| tasks.get(task).map(|a| a.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        if let Some(other) = tasks.keys().find(|other| algos(other) != algos(task)) {
            let (ours, theirs) = (algos(task).join(", "), algos(other).join(", "));
            return Err(StatsError::Format(format!(
                "{task} was run by {ours} and {other} by {theirs}: marl-eval needs the same of all"
            )));
        }
    }
    Ok(())
}

fn one_run(run: &RunRecord, won: bool) -> Result<Map<String, Value>, StatsError> {
    let Some(absolute) = &run.absolute else {
        return Err(StatsError::Format(format!(
            "{} on {}, seed {}: marl-eval needs the absolute metric, measure it with --absolute",
            run.algo, run.task, run.seed
        )));
    };
    if let Some(e) = run.evaluations.iter().chain([absolute]).find(|e| e.returns.iter().any(|r| !r.is_finite())) {
        let (algo, task, seed, at) = (&run.algo, &run.task, run.seed, e.env_steps);
        return Err(StatsError::Format(format!(
            "{algo} on {task}, seed {seed}: a return after {at} env steps is no number, and JSON has none"
        )));
    }
    let metrics = |e: &Evaluation| {
        let mut fields = Map::new();
        fields.insert(RETURN.into(), json!(e.returns));
        if won {
            fields.insert(WIN_RATE.into(), json!(e.won.iter().map(|w| 100.0 * w).collect::<Vec<_>>()));
        }
        fields
    };
    let mut steps = Map::new();
    for (k, e) in run.evaluations.iter().enumerate() {
        let mut fields = Map::new();
        fields.insert("step_count".into(), json!(e.env_steps));
        fields.extend(metrics(e));
        steps.insert(format!("step_{k}"), Value::Object(fields));
    }
    steps.insert(ABSOLUTE.into(), Value::Object(metrics(absolute)));
    Ok(steps)
}

/// The runs of a document, also of one written by Mava or BenchMARL (whose returns are called `return`).
///
/// # Errors
/// [`StatsError::Format`] with the place of what is not as the format says.
pub fn from_json(document: &Value) -> Result<Vec<RunRecord>, StatsError> {
    let mut runs = Vec::new();
    for (env, tasks) in object(document, "the document")? {
        for (task, algos) in object(tasks, env)? {
            for (algo, seeds) in object(algos, &format!("{env}/{task}"))? {
                for (name, run) in object(seeds, &format!("{env}/{task}/{algo}"))? {
                    runs.push(read_run(env, task, algo, name, run)?);
                }
            }
        }
    }
    Ok(runs)
}

fn read_run(env: &str, task: &str, algo: &str, name: &str, run: &Value) -> Result<RunRecord, StatsError> {
    let place = format!("{env}/{task}/{algo}/{name}");
    let seed = name.rsplit('_').next().and_then(|n| n.parse().ok());
    let seed = seed.ok_or_else(|| StatsError::Format(format!("{place}: expected seed_N or a number")))?;
    let (mut steps, mut absolute) = (BTreeMap::new(), None);
    for (key, fields) in object(run, &place)? {
        let place = format!("{place}/{key}");
        let mut e = read_metrics(fields, &place)?;
        if key == ABSOLUTE {
            absolute = Some(e);
            continue;
        }
        let count = fields.get("step_count").and_then(Value::as_f64).filter(|c| *c >= 0.0);
        e.env_steps = count.ok_or_else(|| StatsError::Format(format!("{place}: no step_count")))? as u64;
        e.seconds = fields.get("elapsed_time").and_then(Value::as_f64);
        if let Some(other) = steps.insert(e.env_steps, e) {
            return Err(StatsError::Format(format!("{place}: another step has its step_count, {}", other.env_steps)));
        }
    }
    let evaluations: Vec<Evaluation> = steps.into_values().collect();
    let last = evaluations.last();
    let (env_steps, seconds) = (last.map_or(0, |e| e.env_steps), last.and_then(|e| e.seconds));
    // The evaluation whose parameters were measured again is not in the format: the first best one by the protocol.
    let mut record = RunRecord {
        algo: algo.to_lowercase(),
        task: format!("{env}/{task}"),
        seed,
        env_steps,
        seconds,
        update_seconds: None,
        machine: String::new(),
        version: String::new(),
        preset: None,
        config: toml::Table::new(),
        evaluations,
        absolute: None,
    };
    if let Some(mut e) = absolute {
        e.env_steps = record.best(Metric::Return).map_or(0, |b| b.env_steps);
        record.absolute = Some(e);
    }
    Ok(record)
}

fn read_metrics(fields: &Value, place: &str) -> Result<Evaluation, StatsError> {
    let map = object(fields, place)?;
    let list = |names: &[&str]| -> Result<Vec<f64>, StatsError> {
        let Some((name, value)) = names.iter().find_map(|n| map.get(*n).map(|v| (n, v))) else { return Ok(Vec::new()) };
        let bad = || StatsError::Format(format!("{place}/{name}: expected a list of finite numbers"));
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        items.iter().map(|v| v.as_f64().filter(|x| x.is_finite()).ok_or_else(bad)).collect()
    };
    let returns = list(&[RETURN, "return"])?;
    if returns.is_empty() {
        return Err(StatsError::Format(format!("{place}: no {RETURN}")));
    }
    let mut won = list(&[WIN_RATE])?;
    // Whoever calls the return by marl-eval's name writes percent, BenchMARL (`return`) shares; the numbers alone cannot tell.
    if map.contains_key(RETURN) {
        won.iter_mut().for_each(|w| *w /= 100.0);
    }
    if let Some(wrong) = won.iter().find(|w| !(0.0..=1.0).contains(*w)) {
        let scale = if map.contains_key(RETURN) { "percent" } else { "a share" };
        return Err(StatsError::Format(format!("{place}/{WIN_RATE}: a win rate of {wrong} is none (read as {scale})")));
    }
    Ok(Evaluation { env_steps: 0, seconds: None, returns, won })
}

fn object<'a>(value: &'a Value, place: &str) -> Result<&'a Map<String, Value>, StatsError> {
    value.as_object().ok_or_else(|| StatsError::Format(format!("{place}: expected an object")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::run;

    fn measured(algo: &str, seed: u64) -> RunRecord {
        let mut r = run(algo, "mpe/simple_spread_v3", seed, &[-80.5, -60.25]);
        r.evaluations.iter_mut().for_each(|e| e.won = vec![0.0, 0.004]);
        r.absolute = Some(Evaluation { env_steps: 200, returns: vec![-61.0; 3], won: vec![0.25], seconds: None });
        r
    }

    #[test]
    fn what_is_written_is_as_the_tools_read_it() {
        let document = to_json(&[measured("happo", 3)]).unwrap();
        let run = &document["mpe"]["simple_spread_v3"]["HAPPO"]["seed_3"];
        let keys: Vec<&String> = run.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["step_0", "step_1", "absolute_metrics"], "the absolute metric comes last");
        assert_eq!(run["step_1"], json!({ "step_count": 200, "mean_episode_return": [-60.25], "win_rate": [0.0, 0.4] }));
        assert_eq!(run["absolute_metrics"], json!({ "mean_episode_return": [-61.0, -61.0, -61.0], "win_rate": [25.0] }));
    }

    #[test]
    fn out_and_back_is_the_same() {
        let runs = vec![measured("happo", 0), measured("happo", 1), measured("mappo", 0), measured("mappo", 1)];
        assert_eq!(from_json(&to_json(&runs).unwrap()).unwrap(), runs);
    }

    #[test]
    fn steps_are_ordered_by_their_count_and_other_writers_are_read() {
        let text = r#"{"smac": {"3m": {"qmix": {"2": {
            "absolute_metrics": {"return": [2.0]},
            "step_10": {"step_count": 1000, "elapsed_time": 1.5, "return": 5}, "step_9": {"step_count": 900.0, "return": [1, 3]}}}}}}"#;
        let runs = from_json(&serde_json::from_str(text).unwrap()).unwrap();
        let r = &runs[0];
        assert_eq!((r.algo.as_str(), r.task.as_str(), r.seed, r.seconds), ("qmix", "smac/3m", 2, Some(1.5)));
        assert_eq!(r.curve(Metric::Return), [(900.0, 2.0), (1000.0, 5.0)]);
        assert_eq!(r.absolute.as_ref().map(|a| a.env_steps), Some(1000));
    }

    /// Less than one percent, nowhere more, is still percent; BenchMARL's shares are shares.
    #[test]
    fn small_win_rates_are_not_taken_for_shares() {
        let mut rare = measured("happo", 0);
        rare.evaluations.iter_mut().chain(rare.absolute.as_mut()).for_each(|e| e.won = vec![0.004]);
        let document = to_json(&[rare.clone()]).unwrap();
        assert_eq!(document["mpe"]["simple_spread_v3"]["HAPPO"]["seed_0"]["step_0"]["win_rate"], json!([0.4]));
        assert_eq!(from_json(&document).unwrap(), [rare]);
        let other = |name: &str, rate: f64| json!({ "smac": { "3m": { "QMIX": { "seed_0": { "step_0": { "step_count": 1, name: [2.0], "win_rate": [rate] } } } } } });
        let won = |name: &str, rate: f64| from_json(&other(name, rate)).map(|runs| runs[0].evaluations[0].won[0]);
        assert_eq!((won("return", 0.4).unwrap(), won("mean_episode_return", 40.0).unwrap()), (0.4, 0.4));
        assert!(won("return", 40.0).is_err() && won("mean_episode_return", 140.0).is_err());
    }

    #[test]
    fn what_the_tools_would_misread_is_refused() {
        let refused = |runs: &[RunRecord], text: &str| {
            let error = to_json(runs).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        refused(&[run("a", "s/t", 0, &[1.0])], "--absolute");
        refused(&[measured("a", 0), measured("a", 0)], "seed 0");
        refused(&[measured("a", 0), run("a", "mpe/simple_spread_v3", 1, &[1.0])], "runs on mpe have 1 to 2 evaluations");
        let mut lost = measured("a", 0);
        lost.evaluations[1].returns = vec![1.0, f64::NAN];
        refused(&[lost], "a on mpe/simple_spread_v3, seed 0: a return after 200 env steps is no number");
        let on = |algo: &str, task: &str, seed: u64| RunRecord { task: task.into(), ..measured(algo, seed) };
        refused(
            &[on("happo", "s/t", 0), on("happo", "s/t", 1), on("mappo", "s/t", 0)],
            "happo on s/t has seeds 0, 1 and mappo on s/t has 0: marl-eval needs the same of all",
        );
        refused(
            &[on("happo", "s/t", 0), on("mappo", "s/t", 0), on("happo", "s/u", 1), on("mappo", "s/u", 1)],
            "happo on s/t has seeds 0 and happo on s/u has 1",
        );
        refused(
            &[on("happo", "s/t", 0), on("mappo", "s/t", 0), on("happo", "s/u", 0)],
            "s/t was run by happo, mappo and s/u by happo: marl-eval needs the same of all",
        );
        let apart = [on("happo", "s/t", 0), on("mappo", "other/t", 1)];
        assert!(to_json(&apart).is_ok(), "environments are read one by one");
        let mut unwinnable = RunRecord { absolute: measured("a", 0).absolute, ..run("a", "mpe/x", 0, &[1.0, 2.0, 3.0]) };
        unwinnable.absolute.iter_mut().for_each(|e| e.won.clear());
        let both = to_json(&[on("a", "smac/3m", 0), unwinnable]).unwrap();
        let first = |env: &str, task: &str| both[env][task]["A"]["seed_0"]["step_0"].clone();
        assert!(first("smac", "3m").get(WIN_RATE).is_some() && first("mpe", "x").get(WIN_RATE).is_none(), "{both}");
        let twice = r#"{"a": {"b": {"c": {"seed_1": {"step_0": {"step_count": 1, "return": 1}, "step_1": {"step_count": 1, "return": 2}}}}}}"#;
        assert!(from_json(&serde_json::from_str(twice).unwrap()).unwrap_err().to_string().contains("step_count, 1"));
        for text in
            ["[]", r#"{"a": {"b": {"c": {"seed_x": {}}}}}"#, r#"{"a": {"b": {"c": {"seed_1": {"step_0": {"step_count": 1}}}}}}"#]
        {
            assert!(from_json(&serde_json::from_str(text).unwrap()).is_err(), "{text}");
        }
    }
}

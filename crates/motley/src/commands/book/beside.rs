//! What stands beside a published result on a page: runs by its rules, read and judged as `motley reproduce` does it.

use motley_core::{Key, Settings};
use motley_stats::published::{self, Published, Source, Verdict};
use motley_stats::{Bootstrap, Metric, RunRecord};
use motley_train::{Registry, Request};

use super::base;
use super::trained::REWARD;
use crate::commands::compare::{digits, interval};
use crate::commands::reproduce::{source, until, word, words};

/// Settings of a task that say where and how its game runs, and nothing of what is played.
const HOUSING: [&str; 7] = [
    "task.path",
    "task.version",
    "task.data_version",
    "task.workers",
    "task.launch_timeout",
    "task.step_timeout",
    "task.reset_timeout",
];

/// The first published result that a run stands beside, judged by or not.
pub(super) fn comparable(run: &RunRecord, metric: Metric, registry: &Registry) -> Option<&'static Published> {
    published::all().iter().find(|p| p.against.is_none() && p.metric == metric && is_same(run, p, &p.algo, registry))
}

/// Whether a run is one of a published result's `algo` (a claim has two): on the same simulator, with the evaluation and the rules that
/// the result resolves to. Runs of other programs do not tell their rules.
pub(super) fn is_same(run: &RunRecord, p: &Published, algo: &str, registry: &Registry) -> bool {
    if algo != base(&run.algo) || p.task != base(&run.task) || p.source == Source::Other || run.config.is_empty() {
        return false;
    }
    let request = Request { algo: algo.to_owned(), task: p.task.clone(), overrides: words(p), ..Request::default() };
    request.settings(registry).is_ok_and(|asked| has_rules(run, p, &asked))
}

/// Whether a run has what the result names and every rule of the task.
fn has_rules(run: &RunRecord, p: &Published, asked: &Settings) -> bool {
    let named = |key: &Key| p.settings.iter().any(|s| s.split_once('=').is_some_and(|(name, _)| name.trim() == key.name));
    let of_task = |key: &Key| key.name.starts_with("task.") && !HOUSING.contains(&key.name.as_str());
    let resolved = |key: &Key, value: &toml::Value| key.name != REWARD || value.as_str() != Some("auto");
    asked.iter().filter(|(key, value, _)| named(key) || (of_task(key) && resolved(key, value))).all(|(key, value, _)| {
        match run.setting(&key.name).or_else(|| run.setting(key.former?)) {
            Some(found) => is_equal(found, value),
            // A version that did not know the setting yet played by what is its default now.
            None => !named(key) && *value == key.default,
        }
    })
}

/// Records write whole numbers where settings have decimal ones.
fn is_equal(a: &toml::Value, b: &toml::Value) -> bool {
    let number = |v: &toml::Value| v.as_float().or_else(|| v.as_integer().map(|i| i as f64));
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The published value, and what it is worth.
pub(super) fn said(p: &Published) -> String {
    let d = digits(p.value);
    match p.source {
        Source::Table => format!("{:.d$} (band {:.d$} to {:.d$})", p.value, p.low, p.high),
        how if how.judges() => format!("{:.d$} (band {:.d$} to {:.d$}, {})", p.value, p.low, p.high, source(how)),
        how => format!("{:.d$} ({}: not judged by)", p.value, source(how)),
    }
}

/// `-64.0 [-66.1, -62.3]: reached`: runs as their result is read and judged, those of both sides where it is a claim; nothing where
/// they cannot be read. Of unlike budgets the beginnings are read that all have.
pub(super) fn read(p: &Published, runs: &[&RunRecord], untuned: bool, bootstrap: &Bootstrap) -> String {
    let steps = runs.iter().map(|run| run.env_steps).min().unwrap_or(0).min(p.steps);
    let plain = |run: &&RunRecord| RunRecord { algo: base(&run.algo).to_owned(), ..until((*run).clone(), steps) };
    let records: Vec<RunRecord> = runs.iter().map(plain).collect();
    let Ok(c) = p.compare(&records, steps, bootstrap) else { return String::new() };
    // Defaults that fall short have not missed what others tuned for.
    let verdict = if untuned && c.verdict == Verdict::Missed { Verdict::Unknown } else { c.verdict };
    let (d, sides) = (digits(p.value), 1 + usize::from(p.against.is_some()));
    let value = if records.len() > sides { interval(&c.ours, d) } else { format!("{:.d$}", c.ours.value) };
    format!("{value}: {}", word(verdict))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::compare::bootstrap;

    fn run(text: &str) -> RunRecord {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn published_numbers_stand_beside_the_same_rules_only() {
        let registry = Registry::builtin();
        let beside = |run: &RunRecord, metric: Metric| comparable(run, metric, &registry);
        let with = |flavour: &str| {
            run(&format!(
                r#"{{"algo": "happo [algo.order=fixed]", "task": "mpe/simple_spread_v3", "seed": 1, "env_steps": 5,
                "config": {{"task": {{"flavour": "{flavour}", "continuous": false}}}}, "evaluations": []}}"#
            ))
        };
        assert_eq!(beside(&with("v2"), Metric::Return).map(|p| p.value), Some(-64.0));
        assert_eq!(beside(&with("v3"), Metric::Return), None);
        assert_eq!(beside(&with("v2"), Metric::WinRate), None);
        let penalty = run(r#"{"algo": "ippo", "task": "matrix/penalty", "seed": 1, "env_steps": 5,
            "config": {"task": {"k": -100.0, "steps": 25}, "net": {"share": "all", "agent_id": true}, "eval": {"stochastic": true}}, "evaluations": []}"#);
        assert_eq!(beside(&penalty, Metric::Return).map(|p| p.value), Some(50.0), "-100.0 is -100");
        let matrix = published::all().iter().filter(|p| p.task.starts_with("matrix/"));
        let told: Vec<_> = matrix.filter(|p| is_same(&penalty, p, &p.algo, &registry)).map(|p| p.value).collect();
        assert_eq!(told, [50.0]);
        // A number from memory stands beside a run of its rules, and says that it judges nothing; one of other rules does not.
        let iql = run(r#"{"algo": "iql", "task": "matrix/climbing", "seed": 1, "env_steps": 5,
            "config": {"task": {"steps": 25}, "net": {"share": "all", "agent_id": true}}, "evaluations": []}"#);
        let found = beside(&iql, Metric::Return).unwrap();
        assert_eq!((found.value, found.source), (195.0, Source::Unverified));
        assert!(said(found).contains("not judged by"), "{}", said(found));
        let hands = r#"{"algo": "happo", "task": "hands/over", "seed": 1, "env_steps": 5, "config": {}, "evaluations": []}"#;
        assert_eq!(beside(&run(hands), Metric::Return), None, "other rules");
    }

    /// A row names some of its rules; the others are what it resolves to.
    #[test]
    fn a_run_by_other_rules_than_the_result_resolves_to_is_not_beside_it() {
        let registry = Registry::builtin();
        let played = |algo: &str, task: &str, config: &str| {
            let text = format!(
                r#"{{"algo": "{algo}", "task": "{task}", "seed": 1, "env_steps": 5, "config": {config}, "evaluations": []}}"#
            );
            comparable(&run(&text), Metric::Return, &registry).map(|p| p.id.as_str())
        };
        let spread = |own: &str| {
            let rules = format!(r#"{{"task": {{"flavour": "v2", "continuous": false{own}}}}}"#);
            played("happo", "mpe/simple_spread_v3", &rules)
        };
        let published = Some("harl-spread-discrete/happo");
        assert_eq!([spread(""), spread(r#", "num_agents": 3, "max_cycles": 25, "reward": "sum""#)], [published; 2]);
        assert_eq!(
            [spread(r#", "num_agents": 6"#), spread(r#", "max_cycles": 100"#), spread(r#", "local_ratio": 0"#)],
            [None::<&str>; 3]
        );
        let ant = |base: &str, obs: &str| {
            let config = format!(r#"{{"task": {{"base": "{base}", "obs": "{obs}", "actions": "concat", "max_cycles": 1000}}}}"#);
            played("happo", "mamujoco/Ant-4x2", &config)
        };
        assert_eq!(ant("v2", "full"), Some("harl-ant-4x2/happo"), "with the engine or without");
        assert_eq!([ant("v5", "full"), ant("v2", "obsk")], [None::<&str>; 2]);
        assert_eq!(played("happo", "mamujoco/Ant-4x2", r#"{"task": {"max_cycles": 1000}}"#), None, "the preset's rules");
        assert_eq!(played("happo", "mamujoco/Ant-4x2", "{}"), None, "rules that are not told");
        let ours = run(r#"{"algo": "mappo", "task": "smac/3m", "seed": 1, "env_steps": 5,
            "config": {"task": {"state": "fp", "path": "/games/sc2", "step_timeout": 9.0}}, "evaluations": []}"#);
        let found = comparable(&ours, Metric::WinRate, &registry).map(|p| p.id.as_str());
        assert_eq!(found, Some("mappo-smac-3m/mappo"), "wherever the game lies");
    }

    /// The page says what `motley reproduce` says: the plateau of each seed, their mean, the band of these steps.
    #[test]
    fn runs_are_read_as_their_result_is() {
        let p = published::all().iter().find(|p| p.id == "harl-spread-discrete/happo").unwrap();
        let seed = |seed: u64, late: f64| {
            let at = |steps: u64, value: f64| format!(r#"{{"env_steps": {steps}, "returns": [{value}]}}"#);
            let curve = [at(1_000_000, -99.0), at(1_900_000, late), at(2_000_000, late - 2.0), at(2_100_000, -50.0)].join(", ");
            run(&format!(
                r#"{{"algo": "happo [algo.order=fixed]", "task": "mpe/simple_spread_v3", "seed": {seed}, "env_steps": 2000000,
                "config": {{"seed": {seed}}}, "evaluations": [{curve}]}}"#
            ))
        };
        let bootstrap = bootstrap(200, 0).unwrap();
        let told = |late: &[f64], untuned: bool| {
            let runs: Vec<RunRecord> = late.iter().enumerate().map(|(k, late)| seed(k as u64, *late)).collect();
            read(p, &runs.iter().collect::<Vec<_>>(), untuned, &bootstrap)
        };
        assert_eq!(told(&[-70.0], false), "-71.0: reached", "-70 and -72, and nothing of what comes later");
        assert_eq!(told(&[-70.0, -70.0], false), "-71.0 [-71.0, -71.0]: reached");
        assert_eq!([told(&[-80.0], false), told(&[-80.0], true)], ["-81.0: missed", "-81.0: no verdict"]);
        assert_eq!(told(&[-40.0], false), "-41.0: above");
        assert_eq!(told(&[], false), "", "nothing to read");
    }
}

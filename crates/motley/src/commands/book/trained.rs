//! What a run was trained with, and the command that trains it again.

use std::collections::BTreeMap;

use motley_core::Settings;
use motley_stats::RunRecord;
use motley_train::Registry;
use motley_train::presets::{self, Preset};

use super::base;
use crate::commands::config::request;
use motley_run::shell;

/// Resolved from the task's rules and the algorithm where nobody names it.
pub(super) const REWARD: &str = "task.reward";
/// The form of a run that nobody chose anything for.
pub(super) const NO_PRESET: &str = "no preset";
/// When and on how much is evaluated: part of the command, and no part of what was trained.
const WHEN: [&str; 2] = ["eval.every", "eval.episodes"];
/// Whether evaluations draw their actions: what they return is another figure then.
const DRAWN: &str = "eval.stochastic";

/// What a run was trained with: the preset that it was begun with or whose settings it has, the algorithm's defaults, or settings of
/// its own.
pub(super) fn form(run: &RunRecord, registry: &Registry) -> String {
    let (algo, task) = (base(&run.algo), base(&run.task));
    if run.config.is_empty() {
        return String::new();
    }
    let recorded = run.preset.as_deref();
    let named = |name: &str| if name == presets::NONE { NO_PRESET.to_owned() } else { format!("preset {name}") };
    // A preset for another flavour of the task is not what was trained, though it may learn by the same numbers.
    let same = |(k, v): (&String, &toml::Value)| run.setting(&format!("task.{k}")).is_none_or(|found| found == v);
    let fits = |p: &&Preset| p.settings.get("task").and_then(toml::Value::as_table).is_none_or(|own| own.iter().all(same));
    let known: Vec<&str> =
        presets::of(algo, task).into_iter().filter(fits).map(|p| p.name.as_str()).chain([presets::NONE]).collect();
    let mut made_here = false;
    for name in recorded.map_or(known, |name| vec![name]) {
        let words = [task_words(run), vec![format!("preset={name}")]].concat();
        let Ok((plan, _)) = request(&words, None).and_then(|r| Ok(r.plan_anywhere(registry)?)) else { continue };
        made_here = true;
        if unlike(run, &plan.settings).all(|(key, _)| WHEN.contains(&key)) {
            return named(name);
        }
    }
    match recorded {
        Some(name) => format!("{}, own settings", named(name)),
        None if made_here => "own settings".into(),
        None => String::new(),
    }
}

/// `ALGO TASK task.key=value ...` of a run.
fn task_words(run: &RunRecord) -> Vec<String> {
    let task = run.config.get("task").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let mut words = vec![base(&run.algo).to_owned(), base(&run.task).to_owned()];
    words.extend(task.iter().filter(|(k, _)| *k != "reward").map(|(k, v)| format!("task.{k}={}", word(v))));
    words
}

fn word(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// What trains the runs of a row: a command for each budget that was asked for, and for each way to evaluate on the way. Runs of other
/// programs have none.
pub(super) fn commands(runs: &[&RunRecord], registry: &Registry) -> Vec<String> {
    let mut alike: BTreeMap<(u64, [String; 2]), Vec<&RunRecord>> = BTreeMap::new();
    for run in runs.iter().filter(|run| !run.config.is_empty()) {
        let when = WHEN.map(|key| run.setting(key).map_or_else(String::new, ToString::to_string));
        alike.entry((budget(run), when)).or_default().push(run);
    }
    alike.iter().filter_map(|((steps, _), runs)| command(runs, *steps, registry)).collect()
}

/// The env steps that were asked for: those counted may be up to a rollout more.
fn budget(run: &RunRecord) -> u64 {
    let asked = run.setting("total_steps").and_then(toml::Value::as_integer).and_then(|steps| u64::try_from(steps).ok());
    asked.unwrap_or(run.env_steps)
}

/// What trains the seeds of one budget, all evaluated alike: the budget, and what differs from what the command would take by itself or by a preset, whichever
/// says it in fewer words.
fn command(runs: &[&RunRecord], steps: u64, registry: &Registry) -> Option<String> {
    let run = runs.first()?;
    let mut seeds: Vec<u64> = runs.iter().map(|r| r.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let (algo, task) = (base(&run.algo), base(&run.task));
    let presets = presets::of(algo, task).into_iter().map(|p| p.name.as_str()).chain([presets::NONE]);
    let preset_words = std::iter::once(None).chain(presets.map(|name| Some(format!("preset={name}"))));
    let mut words = preset_words.filter_map(|preset| shortest(run, preset, registry)).min_by_key(Vec::len).unwrap_or_else(|| {
        // A task that this build lacks: what tells the row from others of its algorithm.
        let own = run.algo.split_once(" [").map(|(_, own)| own.trim_end_matches(']').to_owned());
        task_words(run).into_iter().chain(own).collect()
    });
    words.push(format!("total_steps={steps}"));
    words.extend(run.setting("schedule_steps").filter(|v| v.as_integer() != Some(0)).map(|v| format!("schedule_steps={v}")));
    Some(pasted(&words, &seeds))
}

/// The words of `motley train` that give a run's settings on top of a preset's; `None` where they cannot be planned here.
fn shortest(run: &RunRecord, preset: Option<String>, registry: &Registry) -> Option<Vec<String>> {
    let bare: Vec<String> = [base(&run.algo), base(&run.task)].into_iter().map(str::to_owned).chain(preset).collect();
    let plan = |words: &[String]| request(words, None).ok()?.plan_anywhere(registry).ok().map(|(plan, _)| plan);
    let (default, settings) = (plan(&bare)?, |k: &str, v: &toml::Value| format!("{k}={}", word(v)));
    let of_task = |key: &str| key.starts_with("task.") && key != REWARD;
    let keys = default.settings.iter().filter(|(key, ..)| of_task(&key.name));
    let own = keys.filter_map(|(key, value, _)| Some((key.name.as_str(), run.setting(&key.name).filter(|v| *v != value)?)));
    let mut words = bare.clone();
    words.extend(own.map(|(k, v)| settings(k, v)));
    let plan = plan(&words)?;
    let found = run.setting(REWARD).filter(|found| plan.settings.value(REWARD).is_ok_and(|value| value != *found));
    words.extend(found.map(|v| settings(REWARD, v)));
    words.extend(unlike(run, &plan.settings).map(|(k, v)| settings(k, v)));
    Some(words)
}

/// What a shell takes as it stands: one command, or a loop over the seeds.
fn pasted(words: &[String], seeds: &[u64]) -> String {
    let train = format!("motley train {}", shell::line(words));
    match seeds {
        [seed] => format!("{train} seed={seed}"),
        many => {
            let many: Vec<String> = many.iter().map(ToString::to_string).collect();
            format!("for s in {}; do {train} seed=$s; done", many.join(" "))
        }
    }
}

/// What a run was trained with where `settings` say something else; what only one of them knows is left out.
fn unlike<'a>(run: &'a RunRecord, settings: &'a Settings) -> impl Iterator<Item = (&'a str, &'a toml::Value)> {
    let of_eval = |key: &str| key == DRAWN || WHEN.contains(&key);
    let shapes = move |key: &str| key == "num_envs" || key.starts_with("algo.") || key.starts_with("net.") || of_eval(key);
    let keys = settings.iter().filter(move |(key, ..)| shapes(&key.name));
    keys.filter_map(|(key, value, _)| Some((key.name.as_str(), run.setting(&key.name).filter(|v| *v != value)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> RunRecord {
        serde_json::from_str(text).unwrap()
    }

    /// The budgets asked for, not the steps counted; seeds of unlike budgets are not one command.
    #[test]
    fn a_command_has_the_budget_that_was_asked_for() {
        let registry = Registry::builtin();
        let words = ["happo", "mpe/simple_spread_v3"].map(String::from);
        let tuned = request(&words, None).unwrap().plan(&registry).unwrap().settings.to_table();
        let text = r#"{"algo": "happo", "task": "mpe/simple_spread_v3", "seed": 0, "env_steps": 0, "evaluations": []}"#;
        let record = |seed: u64, asked: i64, counted: u64| {
            let mut config = tuned.clone();
            config.insert("total_steps".into(), asked.into());
            RunRecord { seed, env_steps: counted, config, ..run(text) }
        };
        let runs = [record(0, 3_000_000, 3_000_000), record(1, 2_000_000, 2_004_000), record(2, 2_000_000, 2_004_000)];
        let all: Vec<&RunRecord> = runs.iter().collect();
        assert_eq!(
            commands(&all, &registry),
            [
                "for s in 1 2; do motley train happo mpe/simple_spread_v3 total_steps=2000000 seed=$s; done",
                "motley train happo mpe/simple_spread_v3 total_steps=3000000 seed=0"
            ]
        );
        assert!(commands(&[&run(text)], &registry).is_empty(), "another program's run");
    }

    #[test]
    fn seeds_that_were_evaluated_otherwise_are_another_command() {
        let registry = Registry::builtin();
        let text = r#"{"algo": "happo", "task": "mpe/simple_spread_v3", "seed": 0, "env_steps": 0, "evaluations": []}"#;
        let record = |seed: u64, own: &[&str]| {
            let words: Vec<String> = ["happo", "mpe/simple_spread_v3"].iter().chain(own).map(ToString::to_string).collect();
            let config = request(&words, None).unwrap().plan(&registry).unwrap().settings.to_table();
            RunRecord { seed, config, ..run(text) }
        };
        let runs = [record(0, &[]), record(1, &["eval.every=250000"]), record(2, &["eval.every=250000"])];
        let found = commands(&runs.iter().collect::<Vec<_>>(), &registry);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|c| c.starts_with("for s in 1 2; ") && c.contains(" eval.every=250000 ")), "{found:?}");
        assert!(found.iter().any(|c| c.ends_with(" seed=0") && !c.contains("eval.every")), "{found:?}");
    }

    #[test]
    fn a_command_says_what_it_would_not_take_by_itself() {
        let words = ["happo", "mpe/simple_spread_v3"].map(String::from);
        let plan = request(&words, None).unwrap().plan(&Registry::builtin()).unwrap();
        let tuned = plan.settings.to_table();
        let record = |config: &toml::Table| RunRecord {
            config: config.clone(),
            ..run(
                r#"{"algo": "happo", "task": "mpe/simple_spread_v3", "seed": 1, "env_steps": 5, "config": {}, "evaluations": []}"#,
            )
        };
        assert_eq!(unlike(&record(&tuned), &plan.settings).count(), 0);
        let mut own = tuned;
        own["algo"]["gamma"] = 0.9.into();
        own["eval"]["every"] = 50_000.into();
        own["eval"]["stochastic"] = true.into();
        own["seed"] = 7.into();
        let own = record(&own);
        let mut found: Vec<_> = unlike(&own, &plan.settings).map(|(k, v)| format!("{k}={v}")).collect();
        found.sort();
        assert_eq!(found, ["algo.gamma=0.9", "eval.every=50000", "eval.stochastic=true"], "a pasted command is the run");
    }

    /// What was trained elsewhere may be more than this machine has room for.
    #[test]
    fn a_form_needs_no_room_here() {
        let registry = Registry::builtin();
        let words = ["hasac", "mpe/simple_spread_v3", "preset=none", "task.num_agents=64"].map(String::from);
        let (plan, _) = request(&words, None).unwrap().plan_anywhere(&registry).unwrap();
        let record = RunRecord {
            config: plan.settings.to_table(),
            ..run(
                r#"{"algo": "hasac", "task": "mpe/simple_spread_v3", "seed": 1, "env_steps": 5, "config": {}, "evaluations": []}"#,
            )
        };
        assert_eq!(form(&record, &registry), "no preset");
        let evaluated = |key: &str, value: toml::Value| {
            let mut config = record.config.clone();
            config["eval"][key] = value;
            form(&RunRecord { config, ..record.clone() }, &registry)
        };
        assert_eq!(evaluated("every", 50_000.into()), "no preset", "how often is no part of what was trained");
        assert_eq!(evaluated("stochastic", true.into()), "own settings");
    }

    #[test]
    fn a_command_is_as_short_as_it_can_be_and_fit_to_be_pasted() {
        let registry = Registry::builtin();
        let made = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            let plan = request(&words, None).unwrap().plan(&registry).unwrap();
            let text = format!(
                r#"{{"algo": "{}", "task": "{}", "seed": 1, "env_steps": 5, "config": {{}}, "evaluations": []}}"#,
                words[0], words[1]
            );
            let run = RunRecord { config: plan.settings.to_table(), ..run(&text) };
            let preset = |name: Option<&str>| shortest(&run, name.map(|n| format!("preset={n}")), &registry).unwrap();
            let words = [None, Some("continuous"), Some("harl-values"), Some("none")].map(preset);
            (words.into_iter().min_by_key(Vec::len).unwrap()[2..].join(" "), form(&run, &registry))
        };
        let reference = ["happo", "mpe/simple_reference_v3"];
        let with = |more: &[&'static str]| made(&[&reference[..], more].concat());
        assert_eq!(with(&[]), (String::new(), "preset communication".into()));
        assert_eq!(with(&["task.continuous=true"]).0, "task.continuous=true");
        assert_eq!(
            with(&["preset=harl-values", "algo.lr=0.1"]),
            ("preset=harl-values algo.lr=0.1".into(), "own settings".into())
        );
        assert_eq!(with(&["task.reward=mean"]).0, "task.reward=mean");
        let words = ["happo", "mpe/simple_v3", "net.hidden_sizes=[64, 64]"].map(String::from);
        assert_eq!(pasted(&words, &[3]), "motley train happo mpe/simple_v3 'net.hidden_sizes=[64, 64]' seed=3");
        assert_eq!(pasted(&words[..2], &[0, 1]), "for s in 0 1; do motley train happo mpe/simple_v3 seed=$s; done");
    }

    #[test]
    fn the_recorded_preset_is_the_form() {
        let words = ["happo", "mpe/simple_reference_v3", "preset=harl", "algo.lr=0.1"].map(String::from);
        let registry = Registry::builtin();
        let config = request(&words, None).unwrap().plan(&registry).unwrap().settings.to_table();
        let text =
            r#"{"algo": "happo", "task": "mpe/simple_reference_v3", "seed": 1, "env_steps": 5, "config": {}, "evaluations": []}"#;
        let form =
            |preset: &str| form(&RunRecord { config: config.clone(), preset: Some(preset.into()), ..run(text) }, &registry);
        assert_eq!([form("harl"), form("none")], ["preset harl, own settings", "no preset, own settings"]);
    }
}

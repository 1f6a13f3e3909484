//! Results pages of the book, one a suite, made of runs' records and never written by hand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use motley_core::Settings;
use motley_stats::cost::Growth;
use motley_stats::published::{self, Published, Source};
use motley_stats::report::{Options, Report, TaskRow};
use motley_stats::{Metric, RunRecord};
use motley_train::Registry;
use motley_train::presets::{self, Preset};
use motley_view::file;

use crate::commands::compare::{digits, reached, refused};
use crate::commands::config::request;
use crate::commands::plot::drawn;
use crate::commands::reproduce::source;
use crate::commands::shell;
use crate::error::Failure;

/// Resolved from the task's rules and the algorithm where nobody names it.
const REWARD: &str = "task.reward";
/// When and on how much is evaluated: part of the command, and no part of what was trained.
const WHEN: [&str; 2] = ["eval.every", "eval.episodes"];
/// Whether evaluations draw their actions: what they return is another figure then.
const DRAWN: &str = "eval.stochastic";

/// Suites whose tasks are won or lost: their pages tell win rates.
const WON: [&str; 4] = ["skirmish", "smac", "smacv2", "football"];

/// Writes `<suite>.md` for each suite that has runs or published results; returns the files. A page without runs is not written over
/// one that is there.
///
/// # Errors
/// A folder or file that cannot be written, runs that cannot be compared.
pub(crate) fn write(runs: &[RunRecord], options: &Options, registry: &Registry, dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    std::fs::create_dir_all(dir).map_err(|e| Failure::run(format!("cannot make the folder {}: {e}", dir.display())))?;
    let suites: BTreeSet<&str> =
        runs.iter().map(|r| suite_of(&r.task)).chain(published::all().iter().map(|p| suite_of(&p.task))).collect();
    let mut written = Vec::new();
    for suite in suites {
        let path = dir.join(format!("{suite}.md"));
        let own: Vec<RunRecord> = runs.iter().filter(|r| suite_of(&r.task) == suite).cloned().collect();
        if own.is_empty() && path.exists() {
            continue;
        }
        let page = Page::new(suite, &own, options, registry)?;
        file::write_atomic(&path, page.text().as_bytes()).map_err(drawn)?;
        written.push(path);
    }
    Ok(written)
}

fn suite_of(task: &str) -> &str {
    task.split('/').next().unwrap_or(task)
}

/// One suite's results.
struct Page<'a> {
    suite: &'a str,
    metric: Metric,
    absolute: bool,
    runs: &'a [RunRecord],
    /// None where there are no runs.
    report: Option<Report>,
    registry: &'a Registry,
}

impl<'a> Page<'a> {
    /// Win rates where every run of a suite that is won or lost has them, returns otherwise.
    fn new(suite: &'a str, runs: &'a [RunRecord], options: &Options, registry: &'a Registry) -> Result<Self, Failure> {
        let won = runs.iter().all(|r| r.last(Metric::WinRate).is_some());
        let metric = if WON.contains(&suite) && won { Metric::WinRate } else { Metric::Return };
        let options = Options { metric, ..options.clone() };
        let report = if runs.is_empty() { None } else { Some(Report::new(runs, &options).map_err(refused)?) };
        Ok(Self { suite, metric, absolute: options.absolute, runs, report, registry })
    }

    fn rows(&self) -> &[TaskRow] {
        self.report.as_ref().map_or(&[][..], |r| r.rows.as_slice())
    }

    fn text(&self) -> String {
        let what = if self.absolute {
            "the absolute metric: the best policy of each run, evaluated again on ten times the episodes"
        } else {
            "the last evaluation of each run"
        };
        let unit = if self.metric == Metric::Return { "Returns" } else { "Win rates" };
        let mut text = format!(
            "# Results: {}\n\n<!-- Written by `motley compare ... --book`; changes by hand are lost. -->\n\n\
             {unit}: {what}; interquartile mean over seeds with its 95 % bootstrap interval. *Form* is what was trained: a preset, or \
             settings of one's own (the commands are below). Wall time is of one run, with its threads, beside whatever else the machine did.\n\n",
            self.suite
        );
        text.push_str(&self.published());
        text.push_str(&self.others());
        text.push_str(&self.cost());
        let warnings = self.report.iter().flat_map(|r| &r.warnings).map(|w| format!("- {w}\n")).collect::<String>();
        if !warnings.is_empty() {
            text.push_str(&format!("## What to know before believing it\n\n{warnings}\n"));
        }
        text.push_str(&self.commands());
        text
    }

    fn of_row(&self, row: &TaskRow) -> Vec<&RunRecord> {
        self.runs.iter().filter(|r| r.task == row.task && r.algo == row.algo).collect()
    }

    /// Every published result of the suite: with what was measured for the same rules, or blank.
    fn published(&self) -> String {
        // A claim against another algorithm has no number to stand in a table.
        let results = published::all().iter().filter(|p| suite_of(&p.task) == self.suite && p.against.is_none());
        let results: Vec<&Published> = results.collect();
        if results.is_empty() {
            return String::new();
        }
        let mut text =
            "## What is published\n\nA blank means that it was not trained here, with the same rules and this algorithm.\n\n\
             | result | task | algorithm | published | at env steps | ours | seeds | env steps | form | wall time |\n\
             |---|---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        for p in results {
            let task = [vec![p.task.clone()], p.settings.clone()].concat().join(" ");
            let theirs = format!("| {} | {task} | {} | {} | {} |", p.id, p.algo, said(p), grouped(p.steps));
            let same = |row: &&TaskRow| self.of_row(row).first().is_some_and(|r| is_same(r, p));
            let mut blank = true;
            for row in self.rows().iter().filter(|_| p.metric == self.metric).filter(same) {
                text.push_str(&format!("{theirs} {}\n", self.cells(row)));
                blank = false;
            }
            if blank {
                text.push_str(&format!("{theirs}  |  |  |  |  |\n"));
            }
        }
        text + "\n"
    }

    /// Rows with nothing published for the same rules.
    fn others(&self) -> String {
        let alone = |row: &&TaskRow| self.of_row(row).first().is_none_or(|r| comparable(r, self.metric).is_none());
        let rows: Vec<&TaskRow> = self.rows().iter().filter(alone).collect();
        if rows.is_empty() {
            return String::new();
        }
        let mut text = "## What else was trained\n\n\
             | task | algorithm | ours | seeds | env steps | form | wall time |\n|---|---|---|---|---|---|---|\n"
            .to_owned();
        for row in rows {
            text.push_str(&format!("| {} | {} | {}\n", cell(&row.task), cell(&row.algo), self.cells(row)));
        }
        text + "\n"
    }

    /// `ours | seeds | env steps | form | wall time |`
    fn cells(&self, row: &TaskRow) -> String {
        let form = self.of_row(row).first().map_or_else(String::new, |run| form(run, self.registry));
        let wall = row.seconds.map_or_else(String::new, |s| format!("{}{}", wall(s), threads(&row.threads)));
        format!("{} | {} | {} | {} | {wall} |", reached(row), row.seeds, steps(row), cell(&form))
    }

    /// Rows whose updates were timed.
    fn cost(&self) -> String {
        let timed: Vec<&TaskRow> = self.rows().iter().filter(|r| r.update_seconds.is_some()).collect();
        if timed.is_empty() {
            return String::new();
        }
        let mut text = "## What it costs\n\n\
             | task | algorithm | seconds an update | env steps a second | threads |\n|---|---|---|---|---|\n"
            .to_owned();
        for row in timed {
            let update = row.update_seconds.map_or_else(String::new, |s| format!("{s:.3}"));
            let rate = row.steps_per_second.map_or_else(String::new, |r| grouped(r as u64));
            let threads = row.threads.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            text.push_str(&format!("| {} | {} | {update} | {rate} | {threads} |\n", cell(&row.task), cell(&row.algo)));
        }
        for g in self.report.iter().flat_map(|r| &r.growth) {
            text.push_str(&format!("\n{}\n", grown(g)));
        }
        text + "\n"
    }

    fn commands(&self) -> String {
        if self.rows().is_empty() {
            return "No run of this suite is kept here: `motley reproduce RESULT` trains one.\n".to_owned();
        }
        let mut text = "## The commands\n\n".to_owned();
        for row in self.rows() {
            if let Some(command) = command(row, self.runs, self.registry) {
                text.push_str(&format!("    {command}\n"));
            }
        }
        let mut machines: Vec<String> = self.runs.iter().map(|r| format!("{}, Motley {}", r.machine, r.version)).collect();
        machines.sort();
        machines.dedup();
        text.push_str(&format!("\nMachines: {}.\n", machines.join("; ")));
        text
    }
}

/// One line on how cost grows with the team.
pub(crate) fn grown(g: &Growth) -> String {
    let said = |what: &str, exponent: Option<f64>| exponent.map(|e| format!("{what} n^{e:.2}"));
    let laws = [said("an update costs", g.update), said("an env step costs", g.step)];
    let laws: Vec<String> = laws.into_iter().flatten().collect();
    let sizes: Vec<String> = g.agents.iter().map(ToString::to_string).collect();
    format!("{} on {} with n = {} agents: {}.", g.algo, g.task, sizes.join(", "), laws.join(", "))
}

/// The budget; of unlike seeds each one's.
pub(crate) fn steps(row: &TaskRow) -> String {
    if row.budgets.len() < 2 {
        return grouped(row.env_steps);
    }
    let one = |(steps, seeds): (&u64, &Vec<u64>)| {
        let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        format!("{} (seed {})", grouped(*steps), seeds.join(", "))
    };
    row.budgets.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn threads(of: &[usize]) -> String {
    match of {
        [] => String::new(),
        [1] => " on 1 thread".into(),
        many => format!(" on {} threads", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")),
    }
}

/// What a run was trained with: the preset that it was begun with or whose settings it has, the algorithm's defaults, or settings of
/// its own.
fn form(run: &RunRecord, registry: &Registry) -> String {
    let (algo, task) = (base(&run.algo), base(&run.task));
    if run.config.is_empty() {
        return String::new();
    }
    let recorded = run.preset.as_deref();
    let named = |name: &str| if name == presets::NONE { "no preset".to_owned() } else { format!("preset {name}") };
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

/// The first published result that a run stands beside, judged by or not.
fn comparable(run: &RunRecord, metric: Metric) -> Option<&'static Published> {
    published::all().iter().find(|p| p.against.is_none() && p.metric == metric && is_same(run, p))
}

/// Whether a published result is of a run's algorithm and task, on the same simulator, with the same rules and evaluation.
fn is_same(run: &RunRecord, p: &Published) -> bool {
    let same = |setting: &String| {
        let Some((key, wanted)) = setting.split_once('=') else { return false };
        let Some(found) = run.setting(key) else { return false };
        let number = found.as_float().or_else(|| found.as_integer().map(|i| i as f64));
        match (number, wanted.parse::<f64>()) {
            (Some(a), Ok(b)) => a == b,
            _ => found.as_str().map_or_else(|| found.to_string() == wanted, |v| v == wanted),
        }
    };
    p.algo == base(&run.algo) && p.task == base(&run.task) && p.source != Source::Other && p.settings.iter().all(same)
}

/// A name without its variant.
fn base(name: &str) -> &str {
    name.split(" [").next().unwrap_or(name)
}

fn said(p: &Published) -> String {
    let d = digits(p.value);
    match p.source {
        Source::Table => format!("{:.d$} (band {:.d$} to {:.d$})", p.value, p.low, p.high),
        how if how.judges() => format!("{:.d$} (band {:.d$} to {:.d$}, {})", p.value, p.low, p.high, source(how)),
        how => format!("{:.d$} ({}: not judged by)", p.value, source(how)),
    }
}

/// What trains the seeds of a row: its budget, and what differs from what the command would take by itself or by a preset, whichever
/// says it in fewer words.
fn command(row: &TaskRow, runs: &[RunRecord], registry: &Registry) -> Option<String> {
    let of_row: Vec<&RunRecord> = runs.iter().filter(|r| r.task == row.task && r.algo == row.algo).collect();
    let run = of_row.first().filter(|r| !r.config.is_empty())?;
    let mut seeds: Vec<u64> = of_row.iter().map(|r| r.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let (algo, task) = (base(&run.algo), base(&run.task));
    let presets = presets::of(algo, task).into_iter().map(|p| p.name.as_str()).chain([presets::NONE]);
    let preset_words = std::iter::once(None).chain(presets.map(|name| Some(format!("preset={name}"))));
    let mut words = preset_words.filter_map(|preset| shortest(run, preset, registry)).min_by_key(Vec::len).unwrap_or_else(|| {
        // A task that this build lacks: what tells the row from others of its algorithm.
        let own = row.algo.split_once(" [").map(|(_, own)| own.trim_end_matches(']').to_owned());
        task_words(run).into_iter().chain(own).collect()
    });
    words.push(format!("total_steps={}", row.env_steps));
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

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn wall(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// `10,000,000`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> RunRecord {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn published_numbers_stand_beside_the_same_rules_only() {
        let with = |flavour: &str| {
            run(&format!(
                r#"{{"algo": "happo [algo.order=fixed]", "task": "mpe/simple_spread_v3", "seed": 1, "env_steps": 5,
                "config": {{"task": {{"flavour": "{flavour}", "continuous": false}}}}, "evaluations": []}}"#
            ))
        };
        assert_eq!(comparable(&with("v2"), Metric::Return).map(|p| p.value), Some(-64.0));
        assert_eq!(comparable(&with("v3"), Metric::Return), None);
        assert_eq!(comparable(&with("v2"), Metric::WinRate), None);
        let penalty = run(r#"{"algo": "ippo", "task": "matrix/penalty", "seed": 1, "env_steps": 5,
            "config": {"task": {"k": -100.0, "steps": 25}, "net": {"share": "all", "agent_id": true}, "eval": {"stochastic": true}}, "evaluations": []}"#);
        assert_eq!(comparable(&penalty, Metric::Return).map(|p| p.value), Some(50.0), "-100.0 is -100");
        let matrix = published::all().iter().filter(|p| p.task.starts_with("matrix/"));
        let told: Vec<_> = matrix.filter(|p| is_same(&penalty, p)).map(|p| p.value).collect();
        assert_eq!(told, [50.0]);
        // A number from memory stands beside a run of its rules, and says that it judges nothing; one of other rules does not.
        let iql = run(r#"{"algo": "iql", "task": "matrix/climbing", "seed": 1, "env_steps": 5,
            "config": {"task": {"steps": 25}, "net": {"share": "all", "agent_id": true}}, "evaluations": []}"#);
        let found = comparable(&iql, Metric::Return).unwrap();
        assert_eq!((found.value, found.source), (195.0, Source::Unverified));
        assert!(said(found).contains("not judged by"), "{}", said(found));
        let hands = r#"{"algo": "happo", "task": "hands/over", "seed": 1, "env_steps": 5, "config": {}, "evaluations": []}"#;
        assert_eq!(comparable(&run(hands), Metric::Return), None, "other rules");
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

    #[test]
    fn numbers_read_well() {
        assert_eq!([7.0, 600.0, 9000.0].map(wall), ["7 s", "10 min", "2.5 h"]);
        assert_eq!([0, 1500, 10_000_000].map(grouped), ["0", "1,500", "10,000,000"]);
    }
}

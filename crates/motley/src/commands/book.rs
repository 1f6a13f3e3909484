//! Results pages of the book, one a suite, made of runs' records and never written by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use motley_core::Settings;
use motley_stats::published::{self, Published, Source};
use motley_stats::report::{Report, TaskRow};
use motley_stats::{Metric, RunRecord};
use motley_train::Registry;
use motley_view::file;

use crate::commands::compare::{digits, reached};
use crate::commands::config::request;
use crate::commands::plot::drawn;
use crate::error::Failure;

/// Writes `<suite>.md` for each suite of the report; returns the files.
///
/// # Errors
/// A folder or file that cannot be written.
pub(crate) fn write(report: &Report, runs: &[RunRecord], registry: &Registry, dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    std::fs::create_dir_all(dir).map_err(|e| Failure::run(format!("cannot make the folder {}: {e}", dir.display())))?;
    let mut suites: BTreeMap<&str, Vec<&TaskRow>> = BTreeMap::new();
    for row in &report.rows {
        suites.entry(row.task.split('/').next().unwrap_or(&row.task)).or_default().push(row);
    }
    let mut written = Vec::new();
    for (suite, rows) in suites {
        let path = dir.join(format!("{suite}.md"));
        file::write_atomic(&path, page(suite, report, &rows, runs, registry).as_bytes()).map_err(drawn)?;
        written.push(path);
    }
    Ok(written)
}

fn page(suite: &str, report: &Report, rows: &[&TaskRow], runs: &[RunRecord], registry: &Registry) -> String {
    let what = if report.absolute {
        "the absolute metric: the best policy of each run, evaluated again on ten times the episodes"
    } else {
        "the last evaluation of each run"
    };
    let unit = if report.metric == Metric::Return { "Returns" } else { "Win rates" };
    let mut text = format!(
        "# Results: {suite}\n\n<!-- Written by `motley compare ... --book`; changes by hand are lost. -->\n\n\
         {unit}: {what}; interquartile mean over seeds with its 95 % bootstrap interval. *Published* is what the paper \
         reports at its own budget for the same task and rules; a blank means that nothing comparable is published, or that only \
         other rules were. Wall time is of one run.\n\n\
         | task | algorithm | seeds | env steps | ours | published | at env steps | wall time |\n|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let of_row: Vec<&RunRecord> = runs.iter().filter(|r| r.task == row.task && r.algo == row.algo).collect();
        let theirs = of_row.first().and_then(|r| comparable(r, report.metric));
        let (value, steps) = theirs.map_or_else(Default::default, |p| (said(p), grouped(p.steps)));
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {value} | {steps} | {} |\n",
            cell(&row.task),
            cell(&row.algo),
            row.seeds,
            grouped(row.env_steps),
            reached(row),
            row.seconds.map_or_else(String::new, wall),
        ));
    }
    text.push_str("\n## The commands\n\n");
    for row in rows {
        if let Some(command) = command(row, runs, registry) {
            text.push_str(&format!("    {command}\n"));
        }
    }
    let mut machines: Vec<String> = runs.iter().map(|r| format!("{}, Motley {}", r.machine, r.version)).collect();
    machines.sort();
    machines.dedup();
    text.push_str(&format!("\nMachines: {}.\n", machines.join("; ")));
    text
}

/// The published result of a run's algorithm and task, where rules and evaluation are the same.
fn comparable(run: &RunRecord, metric: Metric) -> Option<&'static Published> {
    let (algo, task) = (base(&run.algo), base(&run.task));
    let same = |setting: &String| {
        let Some((key, wanted)) = setting.split_once('=') else { return false };
        let Some(found) = run.setting(key) else { return false };
        let number = found.as_float().or_else(|| found.as_integer().map(|i| i as f64));
        match (number, wanted.parse::<f64>()) {
            (Some(a), Ok(b)) => a == b,
            _ => found.as_str().map_or_else(|| found.to_string() == wanted, |v| v == wanted),
        }
    };
    published::all().iter().find(|p| {
        p.algo == algo && p.task == task && p.metric == metric && p.source != Source::Unverified && p.settings.iter().all(same)
    })
}

/// A name without its variant.
fn base(name: &str) -> &str {
    name.split(" [").next().unwrap_or(name)
}

fn said(p: &Published) -> String {
    let d = digits(p.value);
    let how = match p.source {
        Source::Figure => ", read off a figure",
        _ => "",
    };
    format!("{:.d$} (band {:.d$} to {:.d$}{how})", p.value, p.low, p.high)
}

/// What trains the seeds of a row: its task settings and budget, and whatever else differs from what the command would take by itself.
fn command(row: &TaskRow, runs: &[RunRecord], registry: &Registry) -> Option<String> {
    let of_row: Vec<&RunRecord> = runs.iter().filter(|r| r.task == row.task && r.algo == row.algo).collect();
    let run = of_row.first().filter(|r| !r.config.is_empty())?;
    let mut seeds: Vec<u64> = of_row.iter().map(|r| r.seed).collect();
    seeds.sort_unstable();
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    let task = run.config.get("task").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let word = |v: &toml::Value| v.as_str().map_or_else(|| v.to_string(), ToOwned::to_owned);
    let mut words = vec![base(&row.algo).to_owned(), base(&row.task).to_owned()];
    words.extend(task.iter().filter(|(k, _)| *k != "reward").map(|(k, v)| format!("task.{k}={}", word(v))));
    let own = match request(&words, None).and_then(|r| Ok(r.plan_anywhere(registry)?)) {
        Ok((plan, _)) => unlike(run, &plan.settings).map(|(k, v)| format!("{k}={}", word(v))).collect(),
        // A task that this build lacks: what tells the row from others of its algorithm.
        Err(_) => row.algo.split_once(" [").map(|(_, own)| vec![own.trim_end_matches(']').to_owned()]).unwrap_or_default(),
    };
    words.extend(own);
    words.push(format!("total_steps={}", row.env_steps));
    Some(format!("motley train {} seed={}", words.join(" "), seeds.join("|")))
}

/// What a run was trained with where `settings` say something else; what only one of them knows is left out.
fn unlike<'a>(run: &'a RunRecord, settings: &'a Settings) -> impl Iterator<Item = (&'a str, &'a toml::Value)> {
    let shapes = |key: &str| key == "num_envs" || key.starts_with("algo.") || key.starts_with("net.");
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
            "config": {"task": {"k": -100.0, "steps": 25}}, "evaluations": []}"#);
        assert_eq!(comparable(&penalty, Metric::Return).map(|p| p.value), Some(50.0), "-100.0 is -100");
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
        own["seed"] = 7.into();
        let found: Vec<_> = unlike(&record(&own), &plan.settings).map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(found, ["algo.gamma=0.9"]);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([7.0, 600.0, 9000.0].map(wall), ["7 s", "10 min", "2.5 h"]);
        assert_eq!([0, 1500, 10_000_000].map(grouped), ["0", "1,500", "10,000,000"]);
    }
}

//! `motley list`: what there is to train, with what, how it was tuned, and what was published.

use std::io::IsTerminal;

use console::Term;
use motley_core::{AgentSpec, ConfigError, RewardKind, Task, TeamSpec};
use motley_envs::registry::options;
use motley_stats::published::{self, Published};
use motley_train::presets::Preset;
use motley_train::{Registry, presets};
use serde_json::{Value, json};

use crate::args::ListArgs;
use crate::commands::compare::digits;
use crate::commands::reproduce;
use crate::error::Failure;
use crate::output::Output;

pub(crate) fn run(args: &ListArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let wanted = Wanted(args.texts.iter().map(|text| text.to_lowercase()).collect());
    let found = match args.what.as_str() {
        "algorithms" => algorithms(registry, &wanted, out),
        "tasks" => tasks(registry, &wanted, out),
        "presets" => presets(&wanted, out),
        _ => reproduce::list(registry, &wanted, out),
    };
    if found == 0 {
        return Err(Failure::usage(format!(
            "no {} with {} in the name: motley list {0} shows all",
            args.what,
            args.texts.join(" and ")
        )));
    }
    Ok(0)
}

/// The texts, in lower case, that the names of what is listed have in them.
pub(crate) struct Wanted(Vec<String>);

impl Wanted {
    /// Whether each text is in one of these.
    pub(crate) fn is_in(&self, names: &[&str]) -> bool {
        self.0.iter().all(|text| names.iter().any(|name| name.to_lowercase().contains(text)))
    }
}

/// How many are listed, as of the other lists.
fn algorithms(registry: &Registry, wanted: &Wanted, out: &Output) -> usize {
    let mut rows = vec![["ALGORITHM", "SUMMARY", "PAPER"].map(str::to_owned)];
    for spec in registry.algorithms.iter().filter(|spec| wanted.is_in(&[spec.name(), spec.summary()])) {
        rows.push([spec.name(), spec.summary(), spec.paper()].map(str::to_owned));
        out.event("algorithm", json!({ "name": spec.name(), "summary": spec.summary(), "paper": spec.paper() }));
    }
    screen_table(out, &rows)
}

fn tasks(registry: &Registry, wanted: &Wanted, out: &Output) -> usize {
    let mut rows = vec![["TASK", "AGENTS (OBSERVATION -> ACTION)", "SUMMARY"].map(str::to_owned)];
    for task in registry.tasks.iter() {
        let (name, summary) = (task.name(), task.summary());
        if !wanted.is_in(&[&name, &summary]) {
            continue;
        }
        let mut fields = json!({ "name": name, "summary": summary });
        let spaces = match describe(task, &mut fields) {
            Ok(spaces) => spaces,
            Err(error) => {
                fields["unavailable"] = json!(error.to_string());
                match &error {
                    ConfigError::Missing { what, .. } => format!("(needs {what}: motley doctor)"),
                    _ => format!("({error})"),
                }
            }
        };
        rows.push([name, spaces, summary]);
        out.event("task", fields);
    }
    for family in registry.tasks.families() {
        let (pattern, summary) = (family.pattern(), family.summary());
        if !wanted.is_in(&[&pattern, &summary]) {
            continue;
        }
        out.event("family", json!({ "pattern": pattern, "summary": summary }));
        rows.push([pattern, "(by name)".to_owned(), summary]);
    }
    screen_table(out, &rows)
}

/// The team at default settings, in short; and its numbers as JSON fields.
fn describe(task: &dyn Task, fields: &mut Value) -> Result<String, ConfigError> {
    let env = task.make(&options(task, &[])?)?;
    let team = env.spec();
    let spaces = spaces(team);
    fields["agents"] = json!(team.n());
    fields["spaces"] = json!(spaces);
    fields["reward"] = json!(if team.reward == RewardKind::Common { "common" } else { "own" });
    fields["step_limit"] = json!(team.step_limit);
    fields["winning"] = json!(team.winning);
    fields["version"] = json!(team.version);
    Ok(spaces)
}

/// `3 x (18 -> Discrete(5))`: runs of agents with the same spaces.
fn spaces(team: &TeamSpec) -> String {
    let space = |agent: &AgentSpec| {
        let sizes: Vec<String> = agent.obs.shape.iter().map(ToString::to_string).collect();
        format!("({} -> {})", sizes.join("x"), agent.action.describe())
    };
    let alike = team.agents.chunk_by(|a, b| a.obs.shape == b.obs.shape && a.action == b.action);
    alike.map(|run| format!("{} x {}", run.len(), space(&run[0]))).collect::<Vec<_>>().join(", ")
}

/// A line for each preset; an event for each task that it was tuned for.
fn presets(wanted: &Wanted, out: &Output) -> usize {
    let mut rows = vec![["PRESET", "ENV STEPS", "TASKS", "BAND", "SOURCE"].map(str::to_owned)];
    for preset in presets::all() {
        let title = preset.title();
        let own: Vec<&str> = preset.tasks.iter().map(String::as_str).filter(|task| wanted.is_in(&[&title, task])).collect();
        if own.is_empty() {
            continue;
        }
        let steps = preset.settings.get("total_steps").and_then(toml::Value::as_integer);
        let budget = steps.map_or_else(|| "default".to_owned(), grouped);
        let own_band = own.iter().any(|task| preset.band_on(task).is_some()).then(|| preset.band.clone());
        let band = own_band.or_else(|| published_band(preset, own[0])).unwrap_or_default();
        rows.push([title, budget, folded(&own), band, preset.source.clone()]);
        for task in own {
            let fields = json!({
                "name": preset.name,
                "algo": preset.algo,
                "task": task,
                "total_steps": steps,
                "source": preset.source,
                "band": preset.band_on(task).map(str::to_owned).or_else(|| published_band(preset, task)),
                "default": preset.is_default(),
            });
            out.event("preset", fields);
        }
    }
    screen_table(out, &rows)
}

/// What the published results of a preset's algorithm on one of its tasks say that it should reach.
fn published_band(preset: &Preset, task: &str) -> Option<String> {
    let ours = |p: &&Published| p.algo == preset.algo && p.task == task && p.against.is_none() && p.source.judges();
    let told = |p: &Published| {
        let (d, settings) = (digits(p.value), p.settings.join(" "));
        let steps = grouped(p.steps as i64);
        format!("{}: {:.d$} ({:.d$} to {:.d$}) at {steps} env steps with {settings}", p.id, p.value, p.low, p.high)
    };
    let all: Vec<String> = published::all().iter().filter(ours).map(told).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Tasks of a suite that a table names.
const NAMED: usize = 6;

/// `mpe/simple_v3, simple_spread_v3; smac/3m`: tasks with each suite said once.
fn folded(tasks: &[&str]) -> String {
    let mut suites: Vec<(&str, Vec<&str>)> = Vec::new();
    for task in tasks {
        let (suite, name) = task.split_once('/').unwrap_or(("", task));
        match suites.iter_mut().find(|(known, _)| *known == suite) {
            Some((_, names)) => names.push(name),
            None => suites.push((suite, vec![name])),
        }
    }
    let one = |(suite, names): &(&str, Vec<&str>)| match names.len() {
        ..=NAMED => format!("{suite}/{}", names.join(", ")),
        all => format!("{suite}/{} and {} more", names[..NAMED - 1].join(", "), all - NAMED + 1),
    };
    suites.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// `10_000_000`, as it may be written back.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// A table below its head, cut to the width of the screen where there is one; how many rows it has.
pub(crate) fn screen_table<const N: usize>(out: &Output, rows: &[[String; N]]) -> usize {
    if rows.len() > 1 {
        match Term::stdout().size_checked().filter(|_| std::io::stdout().is_terminal()) {
            Some((_, columns)) => table(out, &fitted(rows, columns.into())),
            None => table(out, rows),
        }
    }
    rows.len() - 1
}

/// The same rows with the widest columns cut, `...` where something is left out, until a line has at most `width` characters. The first
/// column is whole: it is what other commands are given.
fn fitted<const N: usize>(rows: &[[String; N]], width: usize) -> Vec<[String; N]> {
    const LEAST: usize = 12;
    let mut widths: [usize; N] = std::array::from_fn(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0));
    let room = width.saturating_sub(2 * N.saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().skip(1).max().filter(|w| **w > LEAST) else { break };
        *widest -= 1;
    }
    let cut = |text: &String, width: usize| {
        if text.chars().count() <= width { text.clone() } else { text.chars().take(width - 3).chain("...".chars()).collect() }
    };
    rows.iter().map(|row| std::array::from_fn(|c| cut(&row[c], widths[c]))).collect()
}

/// Rows with their columns aligned, two blanks apart; the last column runs free.
pub(crate) fn table<const N: usize>(out: &Output, rows: &[[String; N]]) {
    let widths: [usize; N] = std::array::from_fn(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0));
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.line(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::{ActionSpace, ObsSpace};

    #[test]
    fn spaces_are_told_by_runs_of_like_agents() {
        let agent = |name: &str, obs, action| AgentSpec::new(name, "x", obs, ActionSpace::Discrete(action));
        let agents = vec![
            agent("a", ObsSpace::vector(18), 5),
            agent("b", ObsSpace::vector(18), 5),
            agent("c", ObsSpace::image(8, 9, 3), 2),
        ];
        assert_eq!(spaces(&TeamSpec::new("test/x", agents)), "2 x (18 -> Discrete(5)), 1 x (8x9x3 -> Discrete(2))");
    }

    #[test]
    fn a_wide_table_is_cut_to_the_screen() {
        let rows = vec![
            ["NAME".to_owned(), "TASKS".to_owned(), "SOURCE".to_owned()],
            ["happo/tuned".to_owned(), "x".repeat(90), "y".repeat(50)],
        ];
        let cut = fitted(&rows, 80);
        assert_eq!(cut[1][0], "happo/tuned");
        assert_eq!(cut[1].iter().map(|cell| cell.chars().count()).sum::<usize>() + 4, 80);
        assert!(cut[1][1].ends_with("x...") && cut[1][2].ends_with("y..."));
        assert_eq!(fitted(&rows, 200), rows);
        assert_eq!(fitted(&rows, 5)[1][1].len(), 12, "nothing is cut to nothing");
        let named = [["n".repeat(60), "x".repeat(90), "y".repeat(50)]];
        let cut = fitted(&named, 90);
        assert_eq!((cut[0][0].len(), cut[0][1].len(), cut[0][2].len()), (60, 13, 13), "what is typed again is whole");
    }

    #[test]
    fn tasks_are_folded_by_suite() {
        assert_eq!(folded(&["mpe/a", "smac/3m", "mpe/b"]), "mpe/a, b; smac/3m");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let cases = [(0, "0"), (999, "999"), (1000, "1_000"), (10_000_000, "10_000_000"), (123_456, "123_456")];
        assert!(cases.iter().all(|(n, text)| grouped(*n) == *text));
    }
}

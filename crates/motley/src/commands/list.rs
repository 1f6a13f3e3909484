//! `motley list`: what there is to train, with what, how it was tuned, and what was published.

use motley_core::{AgentSpec, ConfigError, RewardKind, Task, TeamSpec};
use motley_envs::registry::options;
use motley_train::{Registry, presets};
use serde_json::{Value, json};

use crate::args::ListArgs;
use crate::commands::reproduce;
use crate::error::Failure;
use crate::output::Output;

pub(crate) fn run(args: &ListArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    match args.what.as_str() {
        "algorithms" => algorithms(registry, out),
        "tasks" => tasks(registry, out),
        "presets" => presets(out),
        _ => reproduce::list(registry, out),
    }
    Ok(0)
}

fn algorithms(registry: &Registry, out: &Output) {
    let mut rows = vec![["ALGORITHM", "SUMMARY", "PAPER"].map(str::to_owned)];
    for spec in registry.algorithms.iter() {
        rows.push([spec.name(), spec.summary(), spec.paper()].map(str::to_owned));
        out.event("algorithm", json!({ "name": spec.name(), "summary": spec.summary(), "paper": spec.paper() }));
    }
    table(out, &rows);
}

fn tasks(registry: &Registry, out: &Output) {
    let mut rows = vec![["TASK", "AGENTS (OBSERVATION -> ACTION)", "SUMMARY"].map(str::to_owned)];
    for task in registry.tasks.iter() {
        let (name, summary) = (task.name(), task.summary());
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
        out.event("family", json!({ "pattern": pattern, "summary": summary }));
        rows.push([pattern, "(by name)".to_owned(), summary]);
    }
    table(out, &rows);
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

/// A line for each task that a preset was tuned for.
fn presets(out: &Output) {
    let mut rows = vec![["PRESET", "TASK", "ENV STEPS", "BAND", "SOURCE"].map(str::to_owned)];
    for preset in presets::all() {
        let steps = preset.settings.get("total_steps").and_then(toml::Value::as_integer);
        for task in &preset.tasks {
            let budget = steps.map_or_else(|| "default".to_owned(), grouped);
            rows.push([preset.title(), task.clone(), budget, preset.band.clone(), preset.source.clone()]);
            let fields = json!({
                "name": preset.name,
                "algo": preset.algo,
                "task": task,
                "total_steps": steps,
                "source": preset.source,
                "band": preset.band,
            });
            out.event("preset", fields);
        }
    }
    table(out, &rows);
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
    fn numbers_are_grouped_by_thousands() {
        let cases = [(0, "0"), (999, "999"), (1000, "1_000"), (10_000_000, "10_000_000"), (123_456, "123_456")];
        assert!(cases.iter().all(|(n, text)| grouped(*n) == *text));
    }
}

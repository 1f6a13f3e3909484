//! `motley config`: every setting of a run with where it came from; and how the words of a command become a request.

use std::path::Path;

use motley_core::{Key, Origin};
use motley_train::presets;
use motley_train::{Plan, Registry, Request, keys, read_file};
use serde_json::json;

use super::schema::schema;
use crate::args::ConfigArgs;
use crate::error::Failure;
use crate::output::Output;

/// What names an environment variable as a setting: `MOTLEY__ALGO__LR=0.0003` is `algo.lr=0.0003`.
const PREFIX: &str = "MOTLEY__";
/// As many threads can be asked for.
const MOST_THREADS: usize = 1024;
/// Columns given to values and origins before the next column gives way.
const VALUE_WIDTH: usize = 24;
const ORIGIN_WIDTH: usize = 40;

/// The threads of a command that trains nothing: `MOTLEY__THREADS`, or as many as the process may use.
pub(crate) fn threads() -> Result<usize, Failure> {
    let name = format!("{PREFIX}THREADS");
    let asked = environment()?.into_iter().find(|variable| variable.0 == name).map_or("0".to_owned(), |variable| variable.1);
    match asked.parse() {
        Ok(n @ 0..=MOST_THREADS) => Ok(motley_train::threads(n)),
        _ => Err(Failure::usage(format!("{name}={asked}: expected 0 (as many as there are) to {MOST_THREADS}"))),
    }
}

pub(crate) fn run(args: &ConfigArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let request = request(&args.words, args.config.as_deref())?;
    if args.schema {
        // Neither an environment nor its game is asked: the file that is to be written may be what makes the pair fit.
        request.settings(registry)?;
        let (algorithm, task) = (registry.algorithms.get(&request.algo)?, registry.tasks.get(&request.task)?);
        let title = format!("{} on {}", algorithm.name(), task.name());
        let named = presets::names(algorithm.name(), &task.name());
        let document = schema(&title, &named, &keys(&*algorithm, &*task));
        out.line(format!("{document:#}"));
        out.event("schema", json!({ "schema": document }));
        return Ok(0);
    }
    let (plan, no_room) = request.plan_anywhere(registry)?;
    if let Some(error) = no_room {
        out.warning(format!("this machine refuses to train with these settings: {error}"));
    }
    out.line(format!("# {} on {}: {}", plan.algorithm.name(), plan.task.name(), preset(&plan)));
    also(&plan).iter().for_each(|others| out.line(format!("# {others}")));
    let rows = rows(&plan);
    let width = |cells: &dyn Fn(&Row) -> usize, most: usize| rows.iter().map(cells).filter(|w| *w <= most).max().unwrap_or(0);
    let names = width(&|r| r.key.name.len(), usize::MAX);
    let values = width(&|r| r.value.to_string().len(), VALUE_WIDTH);
    let origins = width(&|r| r.origin.to_string().len(), ORIGIN_WIDTH);
    let mut section = "";
    for row in &rows {
        let own = row.key.name.split_once('.').map_or("", |(section, _)| section);
        if own != section {
            out.line("");
            section = own;
        }
        let (value, origin) = (row.value.to_string(), row.origin.to_string());
        out.line(format!("{:<names$} = {value:<values$}  # {origin:<origins$}  {}", row.key.name, row.key.help));
        let fields = json!({
            "key": row.key.name,
            "value": row.value,
            "origin": origin,
            "accepts": row.key.kind.describe(),
            "help": row.key.help,
        });
        out.event("setting", fields);
    }
    Ok(0)
}

/// `preset happo/tuned`; where none is taken, those that there are.
pub(crate) fn preset(plan: &Plan) -> String {
    if let Some(preset) = plan.preset {
        return format!("preset {}", preset.title());
    }
    let there = presets::of(plan.algorithm.name(), &plan.task.name());
    if there.is_empty() || there.iter().any(|p| p.is_default()) {
        return "no preset".to_owned();
    }
    let names: Vec<&str> = there.iter().map(|p| p.name.as_str()).collect();
    format!("no tuned preset; there are: {} (preset=NAME)", names.join(", "))
}

/// `also: preset=communication, preset=harl`, where the preset is the one that is taken by itself and there are others.
pub(crate) fn also(plan: &Plan) -> Option<String> {
    let taken = plan.preset.filter(|p| p.is_default())?;
    let others = presets::of(plan.algorithm.name(), &plan.task.name()).into_iter().filter(|p| p.title() != taken.title());
    let others: Vec<String> = others.map(|p| format!("preset={}", p.name)).collect();
    (!others.is_empty()).then(|| format!("also: {}", others.join(", ")))
}

struct Row<'a> {
    key: &'a Key,
    value: toml::Value,
    origin: &'a Origin,
}

/// Top-level keys, then section by section; the lines together are a file that `--config` takes.
fn rows(plan: &Plan) -> Vec<Row<'_>> {
    // The table knows which values are secret.
    let table = plan.settings.to_table();
    let row =
        |(key, value, origin)| Row { key, value: leaf(&table, &key.name).unwrap_or_else(|| toml::Value::clone(value)), origin };
    let mut rows: Vec<Row<'_>> = plan.settings.iter().map(row).collect();
    rows.sort_by_key(|row| row.key.name.contains('.'));
    rows
}

fn leaf(table: &toml::Table, name: &str) -> Option<toml::Value> {
    match name.split_once('.') {
        None => table.get(name).cloned(),
        Some((section, rest)) => leaf(table.get(section)?.as_table()?, rest),
    }
}

/// The request that the words `ALGO TASK [key=value ...]`, a `--config` file and the environment make.
///
/// # Errors
/// Words that are missing or no settings, a file that cannot be read, a variable that is not text.
pub(crate) fn request(words: &[String], config: Option<&Path>) -> Result<Request, Failure> {
    const USAGE: &str = "write ALGO TASK [key=value ...], for example: happo mpe/simple_spread_v3 seed=1 \
        (see motley list algorithms, motley list tasks)";
    let named = |at: usize| words.get(at).filter(|word| !word.contains('='));
    let (algo, task) = match (named(0), named(1)) {
        (Some(algo), Some(task)) => (algo, task),
        (Some(algo), None) if algo.contains('/') => {
            return Err(Failure::usage(format!("ALGO is missing before the task \"{algo}\": {USAGE}")));
        }
        (Some(algo), None) => return Err(Failure::usage(format!("TASK is missing after \"{algo}\": {USAGE}"))),
        (None, _) => return Err(Failure::usage(format!("ALGO and TASK are missing: {USAGE}"))),
    };
    // Tasks are SUITE/NAME or KIND:NAME, algorithms are neither.
    let is_task = |word: &str| word.contains(['/', ':']);
    if is_task(algo) && !is_task(task) {
        return Err(Failure::usage(format!("the words are swapped, ALGO comes before TASK: write {task} {algo}")));
    }
    let overrides = words[2..].to_vec();
    if let Some(word) = overrides.iter().find(|word| word.split_once('=').is_none_or(|(key, _)| key.trim().is_empty())) {
        return Err(Failure::usage(format!("\"{word}\" is not a setting: {USAGE}")));
    }
    let file = config.map(read_file).transpose()?;
    Ok(Request { algo: algo.clone(), task: task.clone(), file, environment: environment()?, overrides, ..Request::default() })
}

/// The variables that are settings, by name.
pub(crate) fn environment() -> Result<Vec<(String, String)>, Failure> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        match value.into_string() {
            Ok(value) => variables.push((name.to_owned(), value)),
            Err(_) => {
                return Err(Failure::usage(format!(
                    "the environment variable {name} is not UTF-8 text: set it again or unset it"
                )));
            }
        }
    }
    variables.sort();
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn words_become_a_request() {
        let made = request(&words("happo mpe/simple_spread_v3 seed=3 algo.lr=1e-4"), None).unwrap();
        assert_eq!((made.algo.as_str(), made.task.as_str()), ("happo", "mpe/simple_spread_v3"));
        assert_eq!(made.overrides, ["seed=3", "algo.lr=1e-4"]);
    }

    #[test]
    fn what_is_missing_is_said() {
        let said = |text: &str| request(&words(text), None).map(|_| ()).unwrap_err();
        for (text, expected) in [
            ("", "ALGO and TASK are missing"),
            ("seed=1", "ALGO and TASK are missing"),
            ("happo", "TASK is missing after \"happo\""),
            ("happo seed=1", "TASK is missing after \"happo\""),
            ("mpe/simple_v3", "ALGO is missing before the task \"mpe/simple_v3\""),
            ("mpe/simple_v3 happo seed=1", "swapped, ALGO comes before TASK: write happo mpe/simple_v3"),
            ("happo mpe/simple_v3 seed", "\"seed\" is not a setting"),
            ("happo mpe/simple_v3 =1", "\"=1\" is not a setting"),
        ] {
            let failure = said(text);
            assert!(failure.code == 2 && failure.message.contains(expected), "{text}: {}", failure.message);
        }
        assert_eq!(request(&words("happo mpe/simple_v3"), Some(Path::new("/no/such/file"))).map(|_| ()).unwrap_err().code, 2);
    }
}

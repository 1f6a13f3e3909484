//! Reading `metrics.jsonl` and `eval.jsonl`, also of a run at work or one that was killed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::RunError;

/// One line of `metrics.jsonl`: named numbers at a number of environment steps.
#[derive(Debug, Clone, Default)]
pub struct Point {
    /// Environment steps taken.
    pub env_steps: u64,
    /// Names and values in the order written; what was not a number is NaN.
    pub values: Vec<(String, f64)>,
}

impl Point {
    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|v| v.0 == name).map(|v| v.1)
    }
}

/// One line of `eval.jsonl`: one evaluation episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalEpisode {
    /// Environment steps of training before this evaluation.
    pub env_steps: u64,
    /// Its number within the evaluation.
    pub episode: u64,
    /// The team's undiscounted return.
    #[serde(rename = "return", deserialize_with = "nan_if_null")]
    pub team_return: f64,
    /// The mean over agents of their own undiscounted returns.
    #[serde(deserialize_with = "nan_if_null")]
    pub mean_agent_return: f64,
    /// Steps until it ended.
    pub length: u64,
    /// Whether it was won, where the task defines winning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub won: Option<bool>,
}

/// JSON has no NaN: what was not finite is written as `null`.
///
/// # Errors
/// What is neither a number nor `null`.
pub fn nan_if_null<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(f64::NAN))
}

/// The lines of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Log<T> {
    /// One a line.
    pub lines: Vec<T>,
    /// What the user should know: the last line is no JSON and is left out.
    pub warning: Option<String>,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), warning: None }
    }
}

/// Why a line is not what it should be.
enum Bad {
    /// It is no JSON, as a write that was cut short or a file system after a crash leaves it.
    Torn(String),
    /// It is something else.
    Other(String),
}

impl From<serde_json::Error> for Bad {
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() { Self::Other(error.to_string()) } else { Self::Torn(error.to_string()) }
    }
}

/// Reads `metrics.jsonl`. A last line that is torn is left out, with a warning where it has an end.
///
/// # Errors
/// [`RunError::Io`]; [`RunError::Damaged`] with the line for anything else that is not a log point.
pub fn read_metrics(path: &Path) -> Result<Log<Point>, RunError> {
    read_lines(path, |line| {
        let fields: Map<String, Value> = serde_json::from_str(line)?;
        let env_steps = fields.get("env_steps").and_then(Value::as_u64);
        let env_steps = env_steps.ok_or_else(|| Bad::Other("no \"env_steps\"".into()))?;
        let mut values = Vec::with_capacity(fields.len() - 1);
        for (name, value) in fields {
            match value {
                _ if name == "env_steps" => {}
                Value::Number(n) => values.push((name, n.as_f64().unwrap_or(f64::NAN))),
                Value::Null => values.push((name, f64::NAN)),
                other => return Err(Bad::Other(format!("\"{name}\" is {other}, not a number"))),
            }
        }
        Ok(Point { env_steps, values })
    })
}

/// Reads `eval.jsonl`. A last line that is torn is left out, with a warning where it has an end.
///
/// # Errors
/// As [`read_metrics`].
pub fn read_eval(path: &Path) -> Result<Log<EvalEpisode>, RunError> {
    read_lines(path, |line| Ok(serde_json::from_str(line)?))
}

fn read_lines<T>(path: &Path, parse: impl Fn(&str) -> Result<T, Bad>) -> Result<Log<T>, RunError> {
    let mut reader = BufReader::new(File::open(path).map_err(RunError::io("read", path))?);
    let mut log = Log::default();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(RunError::io("read", path))?;
        // Every line is written with its end in one go: one without it is torn, even where it looks whole.
        if line.pop() != Some(b'\n') {
            break;
        }
        let text = str::from_utf8(&line).map_err(|e| Bad::Torn(e.to_string()));
        match text.and_then(&parse) {
            Ok(item) => log.lines.push(item),
            Err(Bad::Torn(why)) if reader.fill_buf().map_err(RunError::io("read", path))?.is_empty() => {
                log.warning = Some(format!("{}: the last line ({number}) is torn and is left out: {why}", path.display()));
                break;
            }
            Err(Bad::Torn(why) | Bad::Other(why)) => {
                return Err(RunError::damaged(path, format!("line {number}: {why}; without that line the rest can be read")));
            }
        }
    }
    Ok(log)
}

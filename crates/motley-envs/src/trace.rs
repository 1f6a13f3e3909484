//! Comparison with recorded traces of other simulators: what `motley check TASK --trace FILE` prints.

use std::path::Path;

use motley_core::{ConfigError, TaskOptions};

use crate::npz::Npz;

/// One kind of number and how far it was off.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceLine {
    /// What was compared.
    pub what: String,
    /// The largest difference.
    pub worst: f64,
    /// What is allowed; `None` for what is only told.
    pub allowed: Option<f64>,
    /// Where the largest difference is.
    pub place: String,
}

impl TraceLine {
    /// A line without differences so far.
    pub fn new(what: impl Into<String>, allowed: Option<f64>) -> Self {
        Self { what: what.into(), worst: 0.0, allowed, place: String::new() }
    }

    /// Notes a difference; what is no number is infinitely far off.
    pub fn note(&mut self, difference: f64, place: impl FnOnce() -> String) {
        let difference = if difference.is_nan() { f64::INFINITY } else { difference.abs() };
        if difference > self.worst {
            (self.worst, self.place) = (difference, place());
        }
    }

    /// Whether the difference is more than is allowed.
    pub fn failed(&self) -> bool {
        self.allowed.is_some_and(|allowed| self.worst > allowed)
    }
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceReport {
    /// Env steps that were compared.
    pub steps: usize,
    /// Kind after kind.
    pub lines: Vec<TraceLine>,
}

impl TraceReport {
    /// Whether anything is farther off than is allowed.
    pub fn failed(&self) -> bool {
        self.lines.iter().any(TraceLine::failed)
    }
}

/// Compares a task with a trace of its suite's format.
type Tracer = fn(&str, &TaskOptions, &Npz) -> Result<TraceReport, ConfigError>;

/// The suites whose traces can be read; one line each.
const TRACERS: &[(&str, Tracer)] = &[("skirmish", crate::skirmish::trace::check_trace), ("vmas", crate::vmas::check_trace)];

/// Compares the task `name` with the trace in a file.
///
/// # Errors
/// A suite without a format of traces, a file that cannot be read, or a trace of another task or of other settings.
pub fn check_trace(name: &str, options: &TaskOptions, path: &Path) -> Result<TraceReport, ConfigError> {
    let suite = name.split_once('/').map_or(name, |(suite, _)| suite);
    let Some((_, tracer)) = TRACERS.iter().find(|(known, _)| *known == suite) else {
        let known: Vec<String> = TRACERS.iter().map(|(known, _)| format!("{known}/*")).collect();
        let text = format!("{name} has no format of recorded traces (--trace is for {})", known.join(", "));
        return Err(ConfigError::Invalid(text));
    };
    tracer(name, options, &Npz::read(path)?)
}

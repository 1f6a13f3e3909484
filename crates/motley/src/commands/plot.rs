//! `motley plot`: learning curves of runs, seeds of one algorithm on one task with the same settings as one line with a band.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use motley_core::error::nearest;
use motley_run::{Log, Point, RunError, RunView, read_metrics};
use motley_stats::RunRecord;
use motley_stats::record::name_variants;
use motley_view::curves::summarize;
use motley_view::{Band, Chart, Series, ViewError};
use serde_json::json;

use crate::args::PlotArgs;
use crate::commands::list::table;
use crate::commands::records::unmeasured;
use crate::error::Failure;
use crate::output::Output;

/// Folders below a given one in which runs are looked for: `runs/<suite>/<task>/<algo>/<run>` and two more.
const DEPTH: usize = 6;

/// How metrics of evaluations begin.
const EVAL: &str = "eval/";

/// One run's curve.
struct Curve {
    /// With its variant where runs of several are there, as `compare` names them.
    task: String,
    /// The same.
    algo: String,
    seed: u64,
    points: Vec<(f64, f64)>,
}

pub(crate) fn run(args: &PlotArgs, out: &Output) -> Result<u8, Failure> {
    check_ending(&args.out, &["svg", "png"])?;
    check_place(&args.out)?;
    let curves = curves(&find_runs(&args.runs)?, &args.metric, out)?;
    let tasks: BTreeSet<&str> = curves.iter().map(|c| c.task.as_str()).collect();
    let one_task = (tasks.len() == 1).then(|| curves[0].task.clone());
    let series: Vec<Series> = curves
        .iter()
        .map(|c| {
            let label = if one_task.is_some() { c.algo.clone() } else { format!("{} on {}", c.algo, c.task) };
            Series { label, seed: c.seed, points: c.points.clone() }
        })
        .collect();
    let chart = Chart {
        title: one_task.unwrap_or_else(|| format!("{} tasks", tasks.len())),
        x_label: "environment steps".into(),
        y_label: args.metric.clone(),
        series,
        band: Band::MinMax,
    };
    chart.save(&args.out).map_err(drawn)?;
    summary(&curves, &chart.series, &args.metric, out);
    out.line(format!("\nwritten: {}", args.out.display()));
    out.event("done", json!({ "out": args.out.display().to_string(), "metric": args.metric, "runs": curves.len() }));
    Ok(0)
}

/// A line for each curve of the picture: what it is and where it ends.
fn summary(curves: &[Curve], series: &[Series], metric: &str, out: &Output) {
    let mut rows = vec![["CURVE", "RUNS", "SEEDS", "ENV STEPS", "LAST", "LOWEST", "HIGHEST"].map(str::to_owned)];
    let mut seen = BTreeSet::new();
    for (curve, first) in curves.iter().zip(series).filter(|(_, s)| seen.insert(s.label.as_str())) {
        let runs: Vec<&Series> = series.iter().filter(|s| s.label == first.label).collect();
        let own = curves.iter().zip(series).filter(|(_, s)| s.label == first.label);
        let seeds: BTreeSet<u64> = own.map(|(c, _)| c.seed).collect();
        if seeds.len() < runs.len() {
            out.warning(format!(
                "{}: {} runs have {} seed{} between them: two runs with one seed are no two samples",
                first.label,
                runs.len(),
                seeds.len(),
                if seeds.len() == 1 { "" } else { "s" }
            ));
        }
        let drawn = summarize(&runs, Band::MinMax);
        let Some(last) = drawn.last().copied() else {
            out.warning(format!(
                "{}: nothing is drawn: at no step do more than half of its {} runs have a value",
                first.label,
                runs.len()
            ));
            continue;
        };
        let ends = || runs.iter().filter_map(|run| run.points.last()).map(|end| end.0);
        let (first_end, last_end) = (ends().fold(f64::INFINITY, f64::min), ends().fold(0.0, f64::max));
        if first_end < 0.99 * last_end {
            out.warning(format!(
                "{}: its runs end between {first_end:.0} and {last_end:.0} env steps: the curve ends at {:.0}, where more than half of them have a value",
                first.label, last.step
            ));
        }
        let number = |x: f64| format!("{x:.4}");
        let numbers = [number(last.mean), number(last.low), number(last.high)];
        let [mean, low, high] = numbers;
        let (of_runs, of_seeds) = (runs.len().to_string(), seeds.len().to_string());
        rows.push([first.label.clone(), of_runs, of_seeds, format!("{:.0}", last.step), mean, low, high]);
        let fields = json!({
            "task": curve.task,
            "algo": curve.algo,
            "metric": metric,
            "runs": runs.len(),
            "seeds": seeds.len(),
            "env_steps": last.step as u64,
            "mean": last.mean,
            "low": last.low,
            "high": last.high,
        });
        out.event("curve", fields);
    }
    table(out, &rows);
}

/// The curves of the metric, sorted by task and algorithm; runs without a point of it are left out with a warning.
fn curves(runs: &[PathBuf], metric: &str, out: &Output) -> Result<Vec<Curve>, Failure> {
    let mut names = BTreeSet::new();
    let (mut records, mut lines, mut without) = (Vec::new(), Vec::new(), Vec::new());
    let mut broken = None;
    for dir in runs {
        let (record, log) = match read(dir) {
            Ok(found) => found,
            Err(error) => {
                out.warning(format!("{} is left out: {error}", dir.display()));
                broken.get_or_insert(error);
                continue;
            }
        };
        log.warning.iter().for_each(|warning| out.warning(warning));
        let log = log.lines;
        let values = log.iter().filter_map(|p| p.get(metric).filter(|v| v.is_finite()).map(|v| (p.env_steps as f64, v)));
        let points: Vec<(f64, f64)> = values.collect();
        names.extend(log.into_iter().flat_map(|p| p.values).map(|(name, _)| name));
        if points.is_empty() {
            without.push(dir);
        } else {
            records.push(record);
            lines.push(points);
        }
    }
    match broken {
        Some(error) if lines.is_empty() && without.is_empty() => return Err(error.into()),
        _ if lines.is_empty() => return Err(nothing(runs, metric, &names)),
        _ => {}
    }
    for dir in without {
        out.warning(format!("{} has no point of {metric} and is left out", dir.display()));
    }
    name_variants(&mut records);
    let named = records.into_iter().zip(lines);
    let mut curves: Vec<Curve> = named.map(|(r, points)| Curve { task: r.task, algo: r.algo, seed: r.seed, points }).collect();
    curves.sort_by(|a, b| (&a.task, &a.algo).cmp(&(&b.task, &b.algo)));
    Ok(curves)
}

/// What a run says of itself, and its log.
fn read(dir: &Path) -> Result<(RunRecord, Log<Point>), RunError> {
    let view = RunView::open(dir)?;
    let path = view.metrics_path();
    Ok((unmeasured(view.info()?, view.config()?), if path.is_file() { read_metrics(&path)? } else { Log::default() }))
}

fn nothing(runs: &[PathBuf], metric: &str, names: &BTreeSet<String>) -> Failure {
    let what = match runs {
        [one] => one.display().to_string(),
        many => format!("none of {} runs", many.len()),
    };
    let verb = if runs.len() == 1 { "has no" } else { "has a" };
    if names.is_empty() {
        return Failure::run(format!("{what} {verb} log point yet: wait for the first one"));
    }
    if names.contains(metric) {
        return Failure::run(format!("{what} {verb} finite value of {metric}: choose another --metric"));
    }
    if metric.starts_with(EVAL) && !names.iter().any(|name| name.starts_with(EVAL)) {
        let training = names.get("train/episode_return");
        let other = training.map_or_else(String::new, |name| format!(", or plot what training logs, --metric {name}"));
        return Failure::run(format!("{what} {verb} evaluation yet: one comes every eval.every env steps and at the end{other}"));
    }
    let near = nearest(metric, names.iter().map(String::as_str));
    let known = if near.is_empty() { names.iter().cloned().collect() } else { near };
    let head = if known.len() == names.len() { "it logs" } else { "did you mean" };
    Failure::usage(format!("{what} {verb} metric \"{metric}\" ({head} {})", known.join(", ")))
}

/// Every run folder that is given or lies below a given folder, each once, sorted.
pub(crate) fn find_runs(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = BTreeMap::new();
    for path in given {
        let mut here = Vec::new();
        if !path.is_dir() {
            let records = path.is_file() && path.extension().is_some_and(|e| e == "jsonl" || e == "json");
            let instead =
                if records { "; records of runs are drawn by motley compare RECORDS -o FOLDER (curves.svg)" } else { "" };
            let what = format!("{} is no folder: give a run folder or a folder above runs{instead}", path.display());
            return Err(Failure::usage(what));
        }
        search(path, DEPTH, &mut here)
            .map_err(|(dir, error)| Failure::run(format!("cannot read the folder {}: {error}", dir.display())))?;
        if here.is_empty() {
            let message = format!("no run in {} (a run.json is looked for {DEPTH} levels deep)", path.display());
            return Err(Failure::usage(message));
        }
        // One run by two ways is still one seed.
        found.extend(here.into_iter().map(|dir| (dir.canonicalize().unwrap_or_else(|_| dir.clone()), dir)));
    }
    Ok(found.into_values().collect())
}

/// Links are not followed, so that a loop has no way in.
fn search(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), (PathBuf, std::io::Error)> {
    if RunView::open(dir).is_ok() {
        found.push(dir.to_owned());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let failed = |error| (dir.to_owned(), error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            search(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

/// Refuses a picture's name before anything is computed for it.
pub(crate) fn check_ending(path: &Path, known: &[&str]) -> Result<(), Failure> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    if ending.is_some_and(|e| known.contains(&e.as_str())) {
        return Ok(());
    }
    let known: Vec<String> = known.iter().map(|k| format!(".{k}")).collect();
    Err(Failure::usage(format!("{}: expected a name that ends in {}", path.display(), known.join(" or "))))
}

/// Refuses a place that no file can be written in, before anything is computed for it.
pub(crate) fn check_place(path: &Path) -> Result<(), Failure> {
    let above = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if above.is_dir() && !path.is_dir() {
        return Ok(());
    }
    let why = if path.is_dir() { "is a folder" } else { "lies in no folder that is there: make it first" };
    Err(Failure::usage(format!("{} {why}", path.display())))
}

/// What could not be drawn was asked for wrongly; what could not be written or encoded failed.
pub(crate) fn drawn(error: ViewError) -> Failure {
    match error {
        ViewError::Size { .. } | ViewError::Format { .. } => Failure::usage(error),
        _ => Failure::run(error),
    }
}

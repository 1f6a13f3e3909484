//! `motley compare`: what may be said from the seeds of several algorithms on several tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use motley_core::{Purpose, Stream};
use motley_stats::report::{Options, Report, Summary, TaskRow};
use motley_stats::{Bootstrap, Bounds, Estimate, Metric, RunRecord, StatsError, marl_eval, record};
use motley_train::Registry;
use motley_view::curves::{self, Lines, Point};
use motley_view::{Panel, Row, file, intervals};
use serde_json::{Value, json};

use crate::args::{Chosen, CompareArgs};
use crate::commands::book;
use crate::commands::list::table;
use crate::commands::plot::drawn;
use crate::commands::records::{gather, measure_absolute};
use crate::commands::source::Source;
use crate::error::Failure;
use crate::output::Output;

/// What intervals cover.
pub(crate) const LEVEL: f64 = 0.95;

pub(crate) fn run(args: &CompareArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let options = options(args)?;
    let mut found = gather(&args.runs, registry, out)?;
    let alone = found.len() == 1;
    for run in found.iter_mut().filter(|_| args.absolute) {
        let Some(dir) = &run.folder else { continue };
        let source = Source { path: dir, chosen: Chosen::Best, trust: args.trust.trust, out };
        match measure_absolute(source, &mut run.record, registry) {
            Ok(()) => {}
            Err(failure) if alone => return Err(failure),
            // One damaged policy is no reason to say nothing of the others.
            Err(failure) => out.warning(format!("{} has no absolute metric: {}", dir.display(), failure.message)),
        }
    }
    if found.is_empty() {
        return Err(Failure::run(
            "none of these runs has an evaluation yet, so there is nothing to compare: one comes every eval.every env steps and at the end of a run",
        ));
    }
    let plain: Vec<RunRecord> = found.into_iter().map(|f| f.record).collect();
    let mut named = plain.clone();
    record::name_variants(&mut named);
    known_tasks(&named, &options)?;
    let report = Report::new(&named, &options).map_err(refused)?;
    show(&report, out);
    events(&report, out);
    report.warnings.iter().for_each(|w| out.warning(w));
    if let Some(dir) = &args.out {
        write(&report, &plain, &named, dir, out)?;
        out.line(format!("\nwritten: {}", dir.display()));
    }
    if let Some(dir) = &args.book {
        for page in book::write(&named, &options, registry, dir)? {
            out.line(format!("written: {}", page.display()));
        }
    }
    let place = args.out.as_ref().map(|d| d.display().to_string());
    out.event("done", json!({ "runs": plain.len(), "tasks": report.tasks.len(), "out": place }));
    Ok(0)
}

/// Bounds are of tasks that are compared.
fn known_tasks(runs: &[RunRecord], options: &Options) -> Result<(), Failure> {
    let tasks: BTreeSet<&str> = runs.iter().map(|run| run.task.as_str()).collect();
    match options.bounds.keys().find(|task| !tasks.contains(task.as_str())) {
        Some(task) => {
            let there: Vec<&str> = tasks.into_iter().collect();
            Err(Failure::usage(format!("--bounds {task}=...: no run is of this task, there are {}", there.join(", "))))
        }
        None => Ok(()),
    }
}

/// Runs that cannot be compared are wrong usage.
pub(crate) fn refused(error: StatsError) -> Failure {
    Failure::usage(error)
}

fn options(args: &CompareArgs) -> Result<Options, Failure> {
    let mut bounds = BTreeMap::new();
    for text in &args.bounds {
        let wrong = || Failure::usage(format!("--bounds {text}: write TASK=LOW,HIGH, for example mpe/simple_spread_v3=-82,-40"));
        // A task's variant has a = of its own.
        let (task, ends) = text.rsplit_once('=').ok_or_else(wrong)?;
        let (low, high) = ends.split_once(',').ok_or_else(wrong)?;
        let (low, high) = low.trim().parse().ok().zip(high.trim().parse().ok()).ok_or_else(wrong)?;
        if bounds.insert(task.to_owned(), Bounds::new(low, high).map_err(refused)?).is_some() {
            return Err(Failure::usage(format!("--bounds {text}: {task} has bounds already")));
        }
    }
    if !args.threshold.is_finite() {
        return Err(Failure::usage("--threshold: expected a finite number"));
    }
    let bootstrap = bootstrap(args.resamples, args.seed)?;
    let metric = if args.metric == "return" { Metric::Return } else { Metric::WinRate };
    Ok(Options { metric, absolute: args.absolute, bounds, threshold: args.threshold, bootstrap })
}

/// The bootstrap of a seed.
pub(crate) fn bootstrap(resamples: usize, seed: u64) -> Result<Bootstrap, Failure> {
    Bootstrap::new(resamples, LEVEL, Stream::new(seed, Purpose::Bootstrap, 0, 0)).map_err(refused)
}

/// `-51.2 [-53.4, -49.0]`
pub(crate) fn interval(e: &Estimate, digits: usize) -> String {
    format!("{:.digits$} [{:.digits$}, {:.digits$}]", e.value, e.low, e.high)
}

/// What the seeds of a row returned; of one seed there is no interval.
pub(crate) fn reached(row: &TaskRow) -> String {
    let d = digits(row.iqm.value);
    if row.seeds == 1 { format!("{:.d$} (one seed)", row.iqm.value) } else { interval(&row.iqm, d) }
}

/// Digits after the point that tell values of this size apart.
pub(crate) fn digits(value: f64) -> usize {
    match value.abs() {
        x if x >= 1000.0 => 0,
        x if x >= 10.0 => 1,
        x if x >= 1.0 => 2,
        _ => 3,
    }
}

fn show(report: &Report, out: &Output) {
    let what = if report.absolute { "absolute metric" } else { "last evaluation" };
    out.line(format!("{}, {what}, in each task's own units (IQM with 95 % interval):\n", measure(report.metric)));
    let head = ["TASK", "ALGORITHM", "SEEDS", "ENV STEPS", "IQM", "MEDIAN", "MEAN", "WORST", "BEST", "SD OF SEEDS"];
    let mut rows = vec![head.map(str::to_owned)];
    for r in &report.rows {
        let d = digits(r.iqm.value);
        let number = |x: f64| format!("{x:.d$}");
        let [median, mean, lowest, highest] = [r.median, r.mean, r.lowest, r.highest].map(number);
        let (seeds, spread) = (r.seeds.to_string(), r.spread.map_or_else(String::new, number));
        rows.push([r.task.clone(), r.algo.clone(), seeds, book::steps(r), reached(r), median, mean, lowest, highest, spread]);
    }
    table(out, &rows);
    show_cost(report, out);
    if !report.tasks.is_empty() {
        show_aggregates(report, out);
    }
    if !report.improvements.is_empty() {
        let mut rows = vec![["X", "Y", "P(X > Y)", "EXACT P", "TASKS", "LEFT OUT"].map(str::to_owned)];
        rows.extend(report.improvements.iter().map(|i| {
            let p_value = i.p_value.map_or_else(String::new, |p| format!("{p:.3}"));
            [i.x.clone(), i.y.clone(), interval(&i.probability, 3), p_value, i.tasks.to_string(), i.left_out.join(", ")]
        }));
        out.line("");
        table(out, &rows);
    }
}

/// What training cost, where it is known.
fn show_cost(report: &Report, out: &Output) {
    let timed: Vec<&TaskRow> = report.rows.iter().filter(|r| r.update_seconds.is_some()).collect();
    if timed.is_empty() {
        return;
    }
    let mut rows = vec![["TASK", "ALGORITHM", "SECONDS AN UPDATE", "ENV STEPS/S", "THREADS"].map(str::to_owned)];
    for r in timed {
        let told = |x: Option<f64>, digits: usize| x.map_or_else(String::new, |x| format!("{x:.digits$}"));
        rows.push([r.task.clone(), r.algo.clone(), told(r.update_seconds, 4), told(r.steps_per_second, 0), threads(r)]);
    }
    out.line("");
    table(out, &rows);
    report.growth.iter().for_each(|g| out.line(book::grown(g)));
}

/// `2`, or `1 or 2`: the threads of the runs of a row.
fn threads(row: &TaskRow) -> String {
    row.threads.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

fn show_aggregates(report: &Report, out: &Output) {
    out.line("\nOver the tasks of all algorithms, each scaled to 0 ... 1 by:");
    for (task, b, origin) in &report.tasks {
        let d = digits(b.high.abs().max(b.low.abs()));
        out.line(format!("  {task}: {:.d$} ... {:.d$} ({origin})", b.low, b.high));
    }
    let mut rows = vec![["ALGORITHM", "RUNS", "IQM", "MEDIAN", "MEAN", "OPTIMALITY GAP"].map(str::to_owned)];
    for s in &report.summaries {
        let [iqm, median, mean, gap] = [&s.iqm, &s.median, &s.mean, &s.gap].map(|e| interval(e, 3));
        rows.push([s.algo.clone(), s.runs.to_string(), iqm, median, mean, gap]);
    }
    out.line("");
    table(out, &rows);
}

fn measure(metric: Metric) -> &'static str {
    match metric {
        Metric::Return => "Return",
        Metric::WinRate => "Win rate",
    }
}

fn put(fields: &mut Value, name: &str, e: &Estimate) {
    fields[name] = json!(e.value);
    fields[format!("{name}_low")] = json!(e.low);
    fields[format!("{name}_high")] = json!(e.high);
}

fn events(report: &Report, out: &Output) {
    for r in &report.rows {
        let mut fields = json!({
            "task": r.task, "algo": r.algo, "seeds": r.seeds, "env_steps": r.env_steps, "wall_seconds": r.seconds,
            "update_seconds": r.update_seconds, "env_steps_per_second": r.steps_per_second, "threads": threads(r),
            "sd_of_seeds": r.spread, "metric": report.metric, "absolute": report.absolute,
        });
        put(&mut fields, "iqm", &r.iqm);
        for (name, value) in [("median", r.median), ("mean", r.mean), ("lowest", r.lowest), ("highest", r.highest)] {
            fields[name] = json!(value);
        }
        out.event("task", fields);
    }
    for (task, bounds, origin) in &report.tasks {
        out.event("scale", json!({ "task": task, "low": bounds.low, "high": bounds.high, "origin": origin }));
    }
    for s in &report.summaries {
        let mut fields = json!({ "algo": s.algo, "runs": s.runs, "tasks": report.tasks.len() });
        for (name, e) in [("iqm", &s.iqm), ("median", &s.median), ("mean", &s.mean), ("optimality_gap", &s.gap)] {
            put(&mut fields, name, e);
        }
        out.event("aggregate", fields);
        for (threshold, e) in report.thresholds.iter().zip(&s.profile) {
            let mut fields = json!({ "algo": s.algo, "threshold": threshold });
            put(&mut fields, "share", e);
            out.event("profile", fields);
        }
        for p in &s.curve {
            let mut fields = json!({ "algo": s.algo, "env_steps": p.steps as u64 });
            put(&mut fields, "iqm", &p.score);
            out.event("curve", fields);
        }
    }
    for i in &report.improvements {
        let mut fields = json!({ "x": i.x, "y": i.y, "tasks": i.tasks, "left_out": i.left_out.join(", "), "p_value": i.p_value });
        put(&mut fields, "probability", &i.probability);
        out.event("improvement", fields);
    }
    for g in &report.growth {
        let fields = json!({
            "algo": g.algo, "task": g.task, "agents": g.agents, "update_exponent": g.update, "step_exponent": g.step,
        });
        out.event("growth", fields);
    }
}

/// Everything a paper or a page takes from a comparison.
fn write(report: &Report, plain: &[RunRecord], named: &[RunRecord], dir: &Path, out: &Output) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|e| Failure::run(format!("cannot make the folder {}: {e}", dir.display())))?;
    // What an earlier comparison left, and this one may have no part of, would stand beside a table that it does not belong to.
    for name in ["improvement.svg", "aggregates.svg", "profiles.svg", "curves.svg", "marl-eval.json"] {
        match std::fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(Failure::run(format!("cannot replace {}: {e}", dir.join(name).display())));
            }
            _ => {}
        }
    }
    let save = |name: &str, text: String| file::write_atomic(&dir.join(name), text.as_bytes()).map_err(drawn);
    save("table.tex", latex(report))?;
    let mut lines = String::new();
    for run in plain {
        let compact = RunRecord {
            evaluations: run.evaluations.iter().map(motley_stats::Evaluation::compact).collect(),
            absolute: run.absolute.as_ref().map(motley_stats::Evaluation::compact),
            ..run.clone()
        };
        lines.push_str(&serde_json::to_string(&compact).map_err(Failure::run)?);
        lines.push('\n');
    }
    save("runs.jsonl", lines)?;
    if report.improvements.is_empty() {
        out.warning("improvement.svg is not written: no two algorithms were run on one task");
    } else {
        improvement(report, dir)?;
    }
    if report.summaries.is_empty() {
        out.warning(
            "aggregates.svg, profiles.svg and curves.svg are not written: they need a task that every algorithm was run on and whose runs differ; compare fewer algorithms",
        );
    } else if let Some(why) = pictures(report, dir)? {
        out.warning(format!("curves.svg is not written: {why}"));
    }
    if report.absolute {
        match marl_eval::to_json(named) {
            Ok(document) => save("marl-eval.json", format!("{document:#}\n"))?,
            Err(error) => out.warning(format!("marl-eval.json is not written: {error}")),
        }
    }
    Ok(())
}

/// How likely one algorithm is better than another.
fn improvement(report: &Report, dir: &Path) -> Result<(), Failure> {
    let name = |i: &motley_stats::report::Improvement| format!("{} > {}", i.x, i.y);
    let rows = report.improvements.iter().map(|i| row(&name(i), &i.probability)).collect();
    let panel = [Panel { title: "P(X > Y)".into(), rows }];
    let note = "95 % stratified bootstrap intervals; each pair on the tasks that both were run on";
    let picture = intervals::picture("Probability of improvement", note, &panel).map_err(drawn)?;
    curves::save(&picture, &dir.join("improvement.svg")).map_err(drawn)
}

fn row(name: &str, e: &Estimate) -> Row {
    Row { name: name.to_owned(), value: e.value, low: e.low, high: e.high }
}

/// The pictures of aggregates; why there are no curves, where there are none.
fn pictures(report: &Report, dir: &Path) -> Result<Option<String>, Failure> {
    let save = |name: &str, picture| curves::save(&picture, &dir.join(name)).map_err(drawn);
    let s = &report.summaries;
    let panels = [
        Panel { title: "IQM".into(), rows: s.iter().map(|s| row(&s.algo, &s.iqm)).collect() },
        Panel { title: "Median".into(), rows: s.iter().map(|s| row(&s.algo, &s.median)).collect() },
        Panel { title: "Mean".into(), rows: s.iter().map(|s| row(&s.algo, &s.mean)).collect() },
        Panel { title: "Optimality gap".into(), rows: s.iter().map(|s| row(&s.algo, &s.gap)).collect() },
    ];
    let tasks = report.tasks.len();
    let note = format!("95 % stratified bootstrap intervals; {tasks} tasks, scores scaled by their bounds");
    save("aggregates.svg", intervals::picture("Aggregates", &note, &panels).map_err(drawn)?)?;
    let point = |step: f64, e: &Estimate| Point { step, mean: e.value, low: e.low, high: e.high };
    let band = "line: estimate, band: 95 % interval".to_owned();
    let profiles = Lines {
        title: "Performance profiles".into(),
        x_label: "scaled score".into(),
        y_label: "share of runs above it".into(),
        note: band.clone(),
        lines: s
            .iter()
            .map(|s| (s.algo.clone(), report.thresholds.iter().zip(&s.profile).map(|(t, e)| point(*t, e)).collect()))
            .collect(),
    };
    save("profiles.svg", profiles.picture().map_err(drawn)?)?;
    let curve = Lines {
        title: "Sample efficiency".into(),
        x_label: "environment steps".into(),
        y_label: "IQM of scaled scores".into(),
        note: band,
        lines: s.iter().map(|s| (s.algo.clone(), s.curve.iter().map(|p| point(p.steps, &p.score)).collect())).collect(),
    };
    match curve.picture() {
        Ok(picture) => save("curves.svg", picture).map(|()| None),
        // Runs that share no stretch of steps have no common curve; the table stands without it.
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// A `tabular` with a row a task and a column an algorithm, the best of a row, by IQM, bold; and one of the aggregates, where there are some.
fn latex(report: &Report) -> String {
    let mut algos: Vec<&str> = report.rows.iter().map(|r| r.algo.as_str()).collect();
    algos.sort_unstable();
    algos.dedup();
    let mut text = format!(
        "% IQM with 95 % stratified bootstrap intervals; needs booktabs.\n\\begin{{tabular}}{{l{}}}\n\\toprule\n",
        "c".repeat(algos.len())
    );
    let head: Vec<String> = algos.iter().map(|a| escape(a)).collect();
    text.push_str(&format!("Task & {} \\\\\n\\midrule\n", head.join(" & ")));
    for task in report.rows.chunk_by(|a, b| a.task == b.task) {
        let best = task.iter().map(|r| r.iqm.value).fold(f64::NEG_INFINITY, f64::max);
        let cell = |algo: &&str| task.iter().find(|r| r.algo == **algo).map_or("--".to_owned(), |r| latex_cell(r, best));
        let cells: Vec<String> = algos.iter().map(cell).collect();
        text.push_str(&format!("{} & {} \\\\\n", escape(&task[0].task), cells.join(" & ")));
    }
    text.push_str("\\bottomrule\n\\end{tabular}\n");
    text + &latex_aggregates(report)
}

/// A `tabular` with a row an algorithm and a column an aggregate over the shared tasks; the best of a column is bold.
fn latex_aggregates(report: &Report) -> String {
    const GAP: usize = 3;
    if report.summaries.is_empty() {
        return String::new();
    }
    let of = |s: &Summary| [s.iqm, s.median, s.mean, s.gap];
    let best: [f64; 4] = std::array::from_fn(|k| {
        let values = report.summaries.iter().map(|s| of(s)[k].value);
        if k == GAP { values.fold(f64::INFINITY, f64::min) } else { values.fold(f64::NEG_INFINITY, f64::max) }
    });
    let mut text = format!(
        "\n% Aggregates over {} tasks, scores scaled to 0 ... 1, with 95 % stratified bootstrap intervals; of the gap less is better.\n\
         \\begin{{tabular}}{{lcccc}}\n\\toprule\nAlgorithm & IQM & Median & Mean & Optimality gap \\\\\n\\midrule\n",
        report.tasks.len()
    );
    for s in &report.summaries {
        let alone = s.runs <= report.tasks.len();
        let cells: Vec<String> = of(s).iter().zip(best).map(|(e, best)| latex_estimate(e, 3, best, alone)).collect();
        text.push_str(&format!("{} & {} \\\\\n", escape(&s.algo), cells.join(" & ")));
    }
    text + "\\bottomrule\n\\end{tabular}\n"
}

fn latex_cell(row: &TaskRow, best: f64) -> String {
    latex_estimate(&row.iqm, digits(row.iqm.value), best, row.seeds == 1)
}

/// Bold where it is the best; without an interval where there is `alone` one seed.
fn latex_estimate(e: &Estimate, d: usize, best: f64, alone: bool) -> String {
    let value = format!("{:.d$}", e.value);
    let value = if e.value == best { format!("\\mathbf{{{value}}}") } else { value };
    if alone {
        return format!("${value}$");
    }
    format!("${value}$ \\scriptsize$[{:.d$}, {:.d$}]$", e.low, e.high)
}

fn escape(text: &str) -> String {
    let escaped = |c: char| match c {
        '_' | '%' | '&' | '#' | '$' | '{' | '}' => format!("\\{c}"),
        '\\' => "\\textbackslash{}".into(),
        '~' => "\\textasciitilde{}".into(),
        '^' => "\\textasciicircum{}".into(),
        _ => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(task: &str, algo: &str, value: f64) -> TaskRow {
        TaskRow {
            task: task.into(),
            algo: algo.into(),
            seeds: 5,
            env_steps: 1000,
            budgets: BTreeMap::from([(1000, vec![0, 1, 2, 3, 4])]),
            seconds: None,
            update_seconds: None,
            steps_per_second: None,
            threads: Vec::new(),
            spread: None,
            iqm: Estimate { value, low: value - 1.0, high: value + 1.0 },
            median: value,
            mean: value,
            lowest: value,
            highest: value,
        }
    }

    fn report(rows: Vec<TaskRow>) -> Report {
        Report {
            metric: Metric::Return,
            absolute: false,
            rows,
            tasks: Vec::new(),
            summaries: Vec::new(),
            improvements: Vec::new(),
            growth: Vec::new(),
            thresholds: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn latex_has_the_aggregates_of_the_shared_tasks() {
        let estimate = |value: f64| Estimate { value, low: value - 0.125, high: value + 0.125 };
        let summary = |algo: &str, value: f64| Summary {
            algo: algo.into(),
            runs: 5,
            iqm: estimate(value),
            median: estimate(value),
            mean: estimate(value),
            gap: estimate(1.0 - value),
            profile: Vec::new(),
            curve: Vec::new(),
        };
        let with = Report {
            tasks: vec![("mpe/a_b".into(), Bounds { low: 0.0, high: 1.0 }, "known")],
            summaries: vec![summary("x_1", 0.25), summary("y", 0.75)],
            ..report(vec![row("mpe/a_b", "x_1", 0.25), row("mpe/a_b", "y", 0.75)])
        };
        let text = latex(&with);
        assert!(text.contains("Algorithm & IQM & Median & Mean & Optimality gap \\\\\n"), "{text}");
        assert!(text.contains("x\\_1 & $0.250$ \\scriptsize$[0.125, 0.375]$ & "), "{text}");
        let best = " & $\\mathbf{0.250}$ \\scriptsize$[0.125, 0.375]$ \\\\\n\\bottomrule";
        assert!(text.contains("y & $\\mathbf{0.750}$") && text.contains(best), "the least gap is the best: {text}");
        assert_eq!(text.matches("\\end{tabular}").count(), 2);
        let alone = Report { summaries: Vec::new(), ..with };
        assert_eq!(latex(&alone).matches("\\end{tabular}").count(), 1);
    }

    #[test]
    fn latex_has_a_row_a_task_and_marks_the_best() {
        let report = report(vec![row("mpe/a_b", "x", -60.0), row("mpe/a_b", "y", -50.0), row("mpe/c", "y", 1500.0)]);
        let text = latex(&report);
        assert!(text.contains("Task & x & y \\\\\n"), "{text}");
        let first = "mpe/a\\_b & $-60.0$ \\scriptsize$[-61.0, -59.0]$ & $\\mathbf{-50.0}$ \\scriptsize$[-51.0, -49.0]$ \\\\\n";
        assert!(text.contains(first), "{text}");
        assert!(text.contains("mpe/c & -- & $\\mathbf{1500}$"), "{text}");
    }
}

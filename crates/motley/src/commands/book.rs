//! Results pages of the book, one a suite, made of runs' records and never written by hand.

mod beside;
mod trained;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use motley_stats::cost::Growth;
use motley_stats::published::{self, Published};
use motley_stats::report::{Options, Report, TaskRow};
use motley_stats::{Bootstrap, Metric, RunRecord};
use motley_train::Registry;
use motley_view::file;

use crate::commands::compare::{reached, refused};
use crate::commands::plot::drawn;
use crate::error::Failure;

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
    bootstrap: Bootstrap,
}

impl<'a> Page<'a> {
    /// Win rates where every run of a suite that is won or lost has them, returns otherwise.
    fn new(suite: &'a str, runs: &'a [RunRecord], options: &Options, registry: &'a Registry) -> Result<Self, Failure> {
        let won = runs.iter().all(|r| r.last(Metric::WinRate).is_some());
        let metric = if WON.contains(&suite) && won { Metric::WinRate } else { Metric::Return };
        let options = Options { metric, ..options.clone() };
        let report = if runs.is_empty() { None } else { Some(Report::new(runs, &options).map_err(refused)?) };
        Ok(Self { suite, metric, absolute: options.absolute, runs, report, registry, bootstrap: options.bootstrap })
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
             settings of one's own (the commands are below). *Read as published* is the value that `motley reproduce` compares, made of seeds \
             and evaluations as the paper's was, and the verdict. Wall time is of one run, with its threads, beside whatever else the machine did.\n\n",
            self.suite
        );
        text.push_str(&self.published());
        text.push_str(&self.claims());
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

    /// The rows that a published result is about: of its metric, rules and algorithm, or the other one of its claim, which is told in its
    /// own metric.
    fn beside(&self, p: &Published, algo: &str) -> Vec<&TaskRow> {
        let same = |row: &&TaskRow| self.of_row(row).first().is_some_and(|r| beside::is_same(r, p, algo, self.registry));
        self.rows().iter().filter(|_| p.metric == self.metric || p.against.is_some()).filter(same).collect()
    }

    /// The value and the verdict that `motley reproduce` would tell of the runs of these rows.
    fn read(&self, p: &Published, rows: &[&TaskRow]) -> String {
        let runs: Vec<&RunRecord> = rows.iter().flat_map(|row| self.of_row(row)).collect();
        let untuned = rows.iter().any(|row| self.form(row) == trained::NO_PRESET);
        beside::read(p, &runs, untuned, &self.bootstrap)
    }

    /// Every published number of the suite: with what was measured for the same rules, or blank.
    fn published(&self) -> String {
        let mut lines = String::new();
        for p in of_suite(self.suite).filter(|p| p.against.is_none()) {
            let theirs = format!("| {} | {} | {} | {} | {} |", p.id, rules(p), p.algo, beside::said(p), grouped(p.steps));
            let rows = self.beside(p, &p.algo);
            if rows.is_empty() {
                lines.push_str(&format!("{theirs}  |  |  |  |  |  |\n"));
            }
            for row in rows {
                lines.push_str(&format!("{theirs} {} | {} | {}\n", reached(row), self.read(p, &[row]), self.cells(row)));
            }
        }
        if lines.is_empty() {
            return lines;
        }
        format!(
            "## What is published\n\nA blank means that it was not trained here, with the same rules and this algorithm.\n\n\
             | result | task | algorithm | published | at env steps | ours | read as published | seeds | env steps | form | wall time |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n{lines}\n"
        )
    }

    /// Every claim of the suite that one algorithm is better than another, which has no number to stand in the table of those.
    fn claims(&self) -> String {
        let mut lines = String::new();
        for p in of_suite(self.suite) {
            let Some(other) = p.against.as_deref() else { continue };
            let about = |own: &str, other: &str| {
                let (task, at) = (rules(p), grouped(p.steps));
                format!("| {} | {task} | {} | {} | {at} |", p.id, cell(own), cell(other))
            };
            let [own, others] = [p.algo.as_str(), other].map(|algo| self.beside(p, algo));
            if own.is_empty() || others.is_empty() {
                lines.push_str(&format!("{}  |  |  |\n", about(&p.algo, other)));
            }
            for pair in own.iter().flat_map(|row| others.iter().map(move |other| [*row, *other])) {
                let steps = pair.iter().map(|row| row.env_steps).min().unwrap_or(0);
                let seeds = if pair[0].seeds == pair[1].seeds {
                    pair[0].seeds.to_string()
                } else {
                    format!("{} against {}", pair[0].seeds, pair[1].seeds)
                };
                // Forms of one algorithm make a line each, told apart by the names that reports give them.
                let about = about(&pair[0].algo, &pair[1].algo);
                lines.push_str(&format!("{about} {} | {seeds} | {} |\n", self.read(p, &pair), grouped(steps)));
            }
        }
        if lines.is_empty() {
            return lines;
        }
        format!(
            "## What is claimed\n\nThat one algorithm is better than another on the same budget; the difference is of what the claim is about, win rates so far. A blank means that not both were trained here, \
             with the same rules.\n\n\
             | claim | task | algorithm | better than | at env steps | difference | seeds | env steps |\n\
             |---|---|---|---|---|---|---|---|\n{lines}\n"
        )
    }

    /// Rows with nothing published for the same rules.
    fn others(&self) -> String {
        let lone = |run: &&RunRecord| beside::comparable(run, self.metric, self.registry).is_none();
        let alone = |row: &&TaskRow| self.of_row(row).first().is_none_or(lone);
        let rows: Vec<&TaskRow> = self.rows().iter().filter(alone).collect();
        if rows.is_empty() {
            return String::new();
        }
        let mut text = "## What else was trained\n\n\
             | task | algorithm | ours | seeds | env steps | form | wall time |\n|---|---|---|---|---|---|---|\n"
            .to_owned();
        for row in rows {
            text.push_str(&format!("| {} | {} | {} | {}\n", cell(&row.task), cell(&row.algo), reached(row), self.cells(row)));
        }
        text + "\n"
    }

    fn form(&self, row: &TaskRow) -> String {
        self.of_row(row).first().map_or_else(String::new, |run| trained::form(run, self.registry))
    }

    /// `seeds | env steps | form | wall time |`
    fn cells(&self, row: &TaskRow) -> String {
        let wall = row.seconds.map_or_else(String::new, |s| format!("{}{}", wall(s), threads(&row.threads)));
        format!("{} | {} | {} | {wall} |", row.seeds, steps(row), cell(&self.form(row)))
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
            for command in trained::commands(&self.of_row(row), self.registry) {
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

/// The published results of a suite.
fn of_suite(suite: &str) -> impl Iterator<Item = &'static Published> {
    published::all().iter().filter(move |p| suite_of(&p.task) == suite)
}

/// The task with what a result says of its rules.
fn rules(p: &Published) -> String {
    [vec![p.task.clone()], p.settings.clone()].concat().join(" ")
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

/// A name without its variant.
fn base(name: &str) -> &str {
    name.split(" [").next().unwrap_or(name)
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
    use crate::commands::compare::bootstrap;

    /// A claim has both sides on its page, and the verdict of `motley reproduce`; where one was not trained the cells are blank.
    #[test]
    fn claims_stand_on_the_page() {
        let registry = Registry::builtin();
        let run = |algo: &str, rate: f64, seed: u64| -> RunRecord {
            let text = format!(
                r#"{{"algo": "{algo}", "task": "skirmish/6m2m_15m", "seed": {seed}, "env_steps": 2000000, "config": {{"seed": {seed}}},
                "evaluations": [{{"env_steps": 2000000, "returns": [1.0], "won": [{rate}]}}]}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let five = |algo: &str, rate: f64| (0..5).map(|seed| run(algo, rate, seed)).collect::<Vec<_>>();
        let options = Options {
            metric: Metric::Return,
            absolute: false,
            bounds: std::collections::BTreeMap::new(),
            threshold: 1.0,
            bootstrap: bootstrap(100, 0).unwrap(),
        };
        let page = |runs: &[RunRecord]| Page::new("skirmish", runs, &options, &registry).unwrap().text();
        let claim = "| uas-6m2m_15m/u-mappo | skirmish/6m2m_15m | u-mappo | mappo | 2,000,000 |";
        let cells = |runs: &[RunRecord]| {
            let text = page(runs);
            let line = text.lines().find_map(|line| line.strip_prefix(claim)).map(str::to_owned);
            line.unwrap_or(text)
        };
        assert_eq!(
            cells(&[five("u-mappo", 0.75), five("mappo", 0.25)].concat()),
            " 0.500 [0.500, 0.500]: reached | 5 | 2,000,000 |"
        );
        assert_eq!(
            cells(&[five("u-mappo", 0.0), five("mappo", 0.0)].concat()),
            " 0.000 [0.000, 0.000]: no verdict | 5 | 2,000,000 |"
        );
        assert_eq!(
            cells(&[run("u-mappo", 0.75, 0), run("mappo", 0.25, 0)]),
            " 0.500: no verdict | 1 | 2,000,000 |",
            "too few seeds"
        );
        assert_eq!(cells(&five("u-mappo", 0.75)), "  |  |  |");
        assert_eq!(cells(&[]), "  |  |  |");
        // Two forms of the algorithm are two lines that can be told apart.
        let form = "| uas-6m2m_15m/u-mappo | skirmish/6m2m_15m | u-mappo [algo.cgi_coef=0] | mappo | 2,000,000 | 0.500 [0.500, 0.500]: reached |";
        let text = page(&[five("u-mappo", 0.5), five("u-mappo [algo.cgi_coef=0]", 0.75), five("mappo", 0.25)].concat());
        assert!(text.contains(form) && text.contains(&format!("{claim} 0.250 [0.250, 0.250]: reached |")), "{text}");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([7.0, 600.0, 9000.0].map(wall), ["7 s", "10 min", "2.5 h"]);
        assert_eq!([0, 1500, 10_000_000].map(grouped), ["0", "1,500", "10,000,000"]);
    }
}

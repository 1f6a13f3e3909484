//! What `motley theory [GAME]` shows: returns by iteration of HATRL with its lower bound, of the mirror-learning instances and of
//! simultaneous updates on the same game, and how far from an equilibrium each ends.

use std::cmp::Ordering;
use std::fmt;

use motley_core::error::nearest;
use motley_core::{Purpose, Stream};

use crate::exact::evaluate;
use crate::haml::Instance;
use crate::nash::best_deviation;
use crate::{ProductPolicy, TabularGame, TheoryError, hatrl};

/// The names that [`report`] knows, the default first.
pub const GAMES: [&str; 6] = ["random", "climbing", "penalty", "non_monotonic", "homogeneity_trap", "heterogeneity_trap"];

/// What can be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Names the random game, the starting policies and the orders.
    pub seed: u64,
    /// How many iterations, at most 10000.
    pub iterations: usize,
    /// k of the penalty game.
    pub k: f64,
    /// Team size in the trap of homogeneity.
    pub agents: usize,
    /// Discount of the random game. The larger, the slower HATRL: C grows as 1/(1−γ)³.
    pub gamma: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, iterations: 30, k: -100.0, agents: 4, gamma: 0.5 }
    }
}

/// One method's sequence of policies on the game.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// Which method.
    pub name: String,
    /// J of the start and after each iteration.
    pub returns: Vec<f64>,
    /// HATRL only: after each iteration the lower bound on J that was known before it (the start's J first).
    pub bounds: Option<Vec<f64>>,
    /// Whether updates were in turn.
    pub sequential: bool,
    /// Whether the theorems speak of it: in turn, and with a drift that is one.
    pub covered: bool,
    /// How many iterations lowered J by more than rounding (1e-9 of max |Q|).
    pub falls: usize,
    /// The most that one agent alone can still gain at the end.
    pub nash_gap: f64,
}

/// All methods on one game.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The game's name.
    pub game: String,
    /// Its shape in words.
    pub shape: String,
    /// The methods.
    pub runs: Vec<Run>,
}

/// One line of a plot: a name and its points (iteration, J).
pub type Series = (String, Vec<(usize, f64)>);

/// Runs every method on the game of that name.
///
/// # Errors
/// [`TheoryError::UnknownGame`] with the nearest name; [`TheoryError::Value`] for options out of range.
pub fn report(name: &str, options: &Options) -> Result<Report, TheoryError> {
    if !(1..=10_000).contains(&options.iterations) {
        let found = options.iterations.to_string();
        return Err(TheoryError::Value { what: "iterations".into(), expected: "a number from 1 to 10000", found });
    }
    let (game, start) = named(name, options)?;
    let mut runs = vec![hatrl_run(&game, &start, options)?];
    for instance in Instance::standard() {
        runs.push(haml_run(&game, &start, &instance, true, options)?);
    }
    // from an equilibrium a drift leads nowhere, and what is none leads down
    let settled = iterates(&game, &start, &Instance::best_response(), true, options).pop().unwrap_or_else(|| start.clone());
    runs.push(haml_run(&game, &settled, &Instance::negative_control(), true, options)?);
    for instance in [Instance::best_response(), Instance::clip()] {
        runs.push(haml_run(&game, &start, &instance, false, options)?);
    }
    let shape = format!(
        "{} state{}, actions {:?}, discount {}",
        game.states(),
        if game.states() == 1 { "" } else { "s" },
        game.actions(),
        game.gamma()
    );
    Ok(Report { game: game.name().to_owned(), shape, runs })
}

/// The game of that name and the policy to start from: uniform, but P(0) = 0.7 where the trap of heterogeneity waits, and
/// not quite uniform in the trap of homogeneity, where uniform is a saddle.
///
/// # Errors
/// As [`report`].
pub fn named(name: &str, options: &Options) -> Result<(TabularGame, ProductPolicy), TheoryError> {
    let mut stream = Stream::new(options.seed, Purpose::Init, 0, 0);
    let game = match name {
        "random" => TabularGame::random(&mut stream, 4, &[3, 3, 3], options.gamma)?,
        "climbing" => TabularGame::climbing(),
        "penalty" => TabularGame::penalty(options.k)?,
        "non_monotonic" => TabularGame::non_monotonic(),
        "homogeneity_trap" => TabularGame::homogeneity_trap(options.agents)?,
        "heterogeneity_trap" => TabularGame::heterogeneity_trap(),
        _ => {
            let nearest = nearest(name, GAMES).into_iter().next();
            return Err(TheoryError::UnknownGame { name: name.into(), known: GAMES.join(", "), nearest });
        }
    };
    let start = match name {
        "heterogeneity_trap" => ProductPolicy::new(&game, vec![vec![0.7, 0.3]; 2])?,
        "homogeneity_trap" => ProductPolicy::random(&game, &mut stream, 0.45),
        _ => ProductPolicy::uniform(&game),
    };
    Ok((game, start))
}

fn orders(game: &TabularGame, options: &Options) -> impl Iterator<Item = Vec<usize>> {
    let (mut stream, agents) = (Stream::new(options.seed, Purpose::Order, 0, 0), game.agents());
    (0..options.iterations).map(move |_| stream.permutation(agents))
}

fn hatrl_run(game: &TabularGame, start: &ProductPolicy, options: &Options) -> Result<Run, TheoryError> {
    let mut policies = vec![start.clone()];
    let mut bounds = vec![evaluate(game, start).j];
    for order in orders(game, options) {
        let next = hatrl::step(game, &policies[policies.len() - 1], &order);
        bounds.push(next.bound);
        policies.push(next.policy);
    }
    let run = Run { name: "HATRL".into(), bounds: Some(bounds), sequential: true, covered: true, ..Run::default() };
    finish(run, game, &policies)
}

/// The start and the policy after each iteration.
fn iterates(
    game: &TabularGame,
    start: &ProductPolicy,
    instance: &Instance,
    sequential: bool,
    options: &Options,
) -> Vec<ProductPolicy> {
    let mut policies = vec![start.clone()];
    for order in orders(game, options) {
        let last = &policies[policies.len() - 1];
        policies.push(if sequential {
            instance.sequential_step(game, last, &order)
        } else {
            instance.simultaneous_step(game, last)
        });
    }
    policies
}

fn haml_run(
    game: &TabularGame,
    start: &ProductPolicy,
    instance: &Instance,
    sequential: bool,
    options: &Options,
) -> Result<Run, TheoryError> {
    let policies = iterates(game, start, instance, sequential, options);
    let name = if sequential { instance.name.clone() } else { format!("at once: {}", instance.name) };
    finish(Run { name, sequential, covered: sequential && instance.drift.lawful(), ..Run::default() }, game, &policies)
}

/// What the policies were worth, into the run's description.
fn finish(run: Run, game: &TabularGame, policies: &[ProductPolicy]) -> Result<Run, TheoryError> {
    let evaluations: Vec<_> = policies.iter().map(|policy| evaluate(game, policy)).collect();
    // What is no number has not stayed up either.
    let fell = |before: f64, after: f64| after.partial_cmp(&before).is_none_or(|order| order == Ordering::Less);
    let falls = evaluations.windows(2).filter(|pair| fell(pair[0].j - 1e-9 * pair[0].scale(), pair[1].j)).count();
    let nash_gap = best_deviation(game, &policies[policies.len() - 1])?.gain.max(0.0);
    Ok(Run { returns: evaluations.iter().map(|e| e.j).collect(), falls, nash_gap, ..run })
}

impl Report {
    /// The lines of a plot: every method's returns, and HATRL's bound.
    pub fn series(&self) -> Vec<Series> {
        let points = |values: &[f64]| values.iter().copied().enumerate().collect();
        let lines = |run: &Run| {
            let bound = run.bounds.as_ref().map(|bounds| (format!("{}, lower bound", run.name), points(bounds)));
            std::iter::once((run.name.clone(), points(&run.returns))).chain(bound)
        };
        self.runs.iter().flat_map(lines).collect()
    }

    /// Whether the theorems held here: no method that they cover ever fell, no bound was ever above the return that it bounds.
    pub fn theorems_hold(&self) -> bool {
        let bounded = |run: &Run| match &run.bounds {
            Some(bounds) => {
                let scale = run.returns.iter().fold(1.0f64, |m, j| m.max(j.abs()));
                bounds.iter().zip(&run.returns).all(|(bound, j)| *bound <= j + 1e-9 * scale)
            }
            None => true,
        };
        self.runs.iter().filter(|run| run.covered).all(|run| run.falls == 0 && bounded(run))
    }
}

/// The iterations that a table shows: the first ten, then ever wider apart, and the last.
fn shown(last: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..=last.min(10)).collect();
    let mut step = 5;
    while let Some(&row) = rows.last()
        && row < last
    {
        if row >= 10 * step {
            step *= 2;
        }
        rows.push((row + step).min(last));
    }
    rows
}

/// No minus sign on what rounds to 0.
fn printed(x: f64) -> f64 {
    if x.abs() < 5e-6 { 0.0 } else { x }
}

/// The table: a legend, one row per iteration, the falls and the Nash gap of each method.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.game, self.shape)?;
        writeln!(f, "J, the exact discounted return, by iteration. Columns:")?;
        let series = self.series();
        let letter = |k: usize| char::from(b'A' + (k % 26) as u8);
        for (k, (name, _)) in series.iter().enumerate() {
            writeln!(f, "  {}  {name}", letter(k))?;
        }
        write!(f, "\n{:>9}", "iteration")?;
        (0..series.len()).try_for_each(|k| write!(f, " {:>10}", letter(k)))?;
        writeln!(f)?;
        let last = series.first().map_or(0, |(_, points)| points.len().saturating_sub(1));
        for row in shown(last) {
            write!(f, "{row:>9}")?;
            series.iter().try_for_each(|(_, points)| write!(f, " {:>10.5}", printed(points[row].1)))?;
            writeln!(f)?;
        }
        writeln!(f, "\n{:<36} {:>10} {:>6} {:>10}", "method", "last J", "falls", "Nash gap")?;
        for run in &self.runs {
            let j = run.returns.last().copied().unwrap_or(f64::NAN);
            writeln!(f, "{:<36} {:>10.5} {:>6} {:>10.2e}", run.name, printed(j), run.falls, run.nash_gap)?;
        }
        let verdict = if self.theorems_hold() { "held" } else { "DID NOT HOLD" };
        writeln!(f, "\nMonotone improvement in turn, and HATRL's return above its bound: {verdict}.")?;
        writeln!(
            f,
            "An equilibrium (gap 0) need not be the optimum; updates at once (\"at once\") have no guarantee, nor has what is"
        )?;
        writeln!(
            f,
            "called \"no drift\": it starts where best response ended, and its slope there, which no drift has, leads down."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_game_reports_and_the_theorems_hold() {
        for name in GAMES {
            let report = report(name, &Options::default()).unwrap();
            assert!(report.theorems_hold(), "{report}");
            let control = report.runs.iter().find(|run| run.sequential && !run.covered).unwrap();
            assert!(control.returns[0] == report.runs[1].returns[30] && control.falls > 0, "{report}");
            assert_eq!(report.series().len(), report.runs.len() + 1);
            assert!(report.series().iter().all(|(_, points)| points.len() == 31 && points.iter().all(|p| p.1.is_finite())));
            assert!(report.runs[1].nash_gap < 1e-9, "{report}");
            assert!(report.to_string().lines().count() > 25);
        }
    }

    #[test]
    fn the_trap_of_heterogeneity_shows() {
        let report = report("heterogeneity_trap", &Options::default()).unwrap();
        let at_once = report.runs.iter().find(|run| !run.sequential).unwrap();
        assert_eq!(at_once.returns[1], -1.0);
        assert!(at_once.falls > 0 && report.runs[1].returns[1] == 2.0);
    }

    #[test]
    fn wrong_requests_say_what_is_known() {
        let error = report("climbin", &Options::default()).unwrap_err().to_string();
        assert!(error.contains("did you mean \"climbing\"") && error.contains("heterogeneity_trap"), "{error}");
        for bad in [Options { iterations: 0, ..Options::default() }, Options { iterations: usize::MAX, ..Options::default() }] {
            assert!(report("climbing", &bad).is_err());
        }
        assert!(report("random", &Options { gamma: 1.0, ..Options::default() }).is_err());
        assert!(report("penalty", &Options { k: f64::NAN, ..Options::default() }).is_err());
        assert!(report("homogeneity_trap", &Options { agents: 5, ..Options::default() }).is_err());
    }

    #[test]
    fn shown_rows_start_and_end_right() {
        assert_eq!(shown(3), [0, 1, 2, 3]);
        let rows = shown(1000);
        assert!(rows[0] == 0 && rows[rows.len() - 1] == 1000 && rows.len() < 60 && rows.windows(2).all(|w| w[0] < w[1]));
    }
}

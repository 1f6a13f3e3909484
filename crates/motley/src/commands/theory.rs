//! `motley theory`: exact tabular games, where the theorems can be watched holding.

use motley_theory::{Options, Report, TheoryError, report};
use motley_view::{Band, Chart, Series};
use serde_json::json;

use crate::args::TheoryArgs;
use crate::commands::plot::{check_ending, drawn};
use crate::error::Failure;
use crate::output::Output;

pub(crate) fn run(args: &TheoryArgs, out: &Output) -> Result<u8, Failure> {
    let game = args.game.as_deref().unwrap_or("random");
    if let Some(path) = &args.out {
        check_ending(path, &["svg", "png"])?;
    }
    let default = Options::default();
    let options = Options {
        seed: args.seed,
        iterations: args.iterations.unwrap_or(default.iterations),
        k: args.k.unwrap_or(default.k),
        ..default
    };
    let report = report(game, &options).map_err(refused)?;
    if args.k.is_some() && game != "penalty" {
        return Err(Failure::usage(format!("--k is the penalty of the game \"penalty\": {game} has none, leave it out")));
    }
    out.line(report.to_string().trim_end());
    events(&report, out);
    if let Some(path) = &args.out {
        chart(&report).save(path).map_err(drawn)?;
        out.line(format!("\nwritten: {}", path.display()));
    }
    let written = args.out.as_ref().map(|path| path.display().to_string());
    out.event("done", json!({ "game": report.game, "theorems_hold": report.theorems_hold(), "out": written }));
    Ok(u8::from(!report.theorems_hold()))
}

fn refused(error: TheoryError) -> Failure {
    match error {
        TheoryError::UnknownGame { .. } | TheoryError::Value { .. } | TheoryError::TooLarge { .. } => Failure::usage(error),
        TheoryError::Shape { .. } | TheoryError::Distribution { .. } => Failure::run(error),
    }
}

fn events(report: &Report, out: &Output) {
    for run in &report.runs {
        for (iteration, value) in run.returns.iter().enumerate() {
            let bound = run.bounds.as_ref().and_then(|bounds| bounds.get(iteration));
            let fields =
                json!({ "game": report.game, "method": run.name, "iteration": iteration, "return": value, "bound": bound });
            out.event("iteration", fields);
        }
        let fields = json!({
            "game": report.game,
            "method": run.name,
            "sequential": run.sequential,
            "covered": run.covered,
            "return": run.returns.last(),
            "falls": run.falls,
            "nash_gap": run.nash_gap,
        });
        out.event("method", fields);
    }
}

fn chart(report: &Report) -> Chart {
    let line = |(seed, (label, points)): (u64, motley_theory::report::Series)| Series {
        label,
        seed,
        points: points.into_iter().map(|(iteration, value)| (iteration as f64, value)).collect(),
    };
    Chart {
        title: format!("{}: {}", report.game, report.shape),
        x_label: "iteration".into(),
        y_label: "J, exact discounted return".into(),
        series: (0..).zip(report.series()).map(line).collect(),
        band: Band::MinMax,
    }
}

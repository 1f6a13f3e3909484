//! Compares profile `smaclite` with recorded runs: `cargo run --release -p motley-envs --example skirmish_trace MAP FILE [SHOWN]`.

use std::path::Path;

use motley_envs::npz::Npz;
use motley_envs::skirmish::trace::{compare, compare_seen};

#[allow(clippy::print_stdout, reason = "a program's output")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [map, file, rest @ ..] = given.as_slice() else {
        return Err("give a map (MMM) and a trace (MMM.npz)".into());
    };
    let shown = rest.first().map_or(Ok(5), |n| n.parse())?;
    let trace = Npz::read(Path::new(file))?;
    for (what, report) in [("ticks", compare(map, &trace)?), ("steps as seen", compare_seen(map, &trace)?)] {
        println!("{map}: {} of {} {what} equal ({:.2} %)", report.equal, report.ticks, 100.0 * report.share());
        for d in report.differences.iter().take(shown) {
            println!("  episode {} tick {} unit {}: {}", d.episode, d.tick, d.unit, d.what);
        }
    }
    Ok(())
}

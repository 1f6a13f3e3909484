//! One file a command.

mod bench;
mod book;
mod check;
mod compare;
mod config;
mod doctor;
mod eval;
mod export;
mod import;
mod jobs;
mod list;
mod new_env;
mod noise;
mod plan;
mod plot;
mod records;
mod render;
mod reproduce;
mod schema;
mod screen;
mod source;
mod sweep;
mod theory;
mod train;

pub(crate) use config::environment;
pub(crate) use source::Source;
pub use train::unsaved;

use std::ffi::OsString;

use motley_train::Registry;

use crate::args::Command;
use crate::error::Failure;
use crate::output::Output;

/// Runs a command; the number is the exit code of a command that did its work. `start` is what starts this program anew.
pub(crate) fn run(command: &Command, registry: &Registry, start: &[OsString], out: &Output) -> Result<u8, Failure> {
    match command {
        Command::Train(args) => train::run(args, registry, out),
        Command::Eval(args) => eval::run(args, registry, out),
        Command::Render(args) => render::run(args, registry, out),
        Command::List(args) => list::run(args, registry, out),
        Command::Config(args) => config::run(args, registry, out),
        Command::Check(args) => check::run(args, registry, out),
        Command::Plot(args) => plot::run(args, out),
        Command::Compare(args) => compare::run(args, registry, out),
        Command::Reproduce(args) => reproduce::run(args, registry, start, out),
        Command::Sweep(args) => sweep::run(args, registry, start, out),
        Command::Theory(args) => theory::run(args, out),
        Command::Export(args) => export::run(args, registry, out),
        Command::Import(args) => import::run(args, registry, out),
        Command::NewEnv(args) => new_env::run(args, out),
        Command::Doctor => doctor::run(out),
        Command::Bench(args) => bench::run(args, registry, out),
    }
}

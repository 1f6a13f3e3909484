//! The command line as a library: a user's own environment or algorithm gets the whole tool.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     motley::cli(motley::Registry::builtin()) // .with_task(MyTask) .with_algorithm(MyAlgorithm)
//! }
//! ```

mod args;
mod commands;
mod error;
mod output;
mod signals;

pub use motley_train::Registry;

use clap::Parser;

/// Runs the command line of this process with the given algorithms and tasks.
pub fn cli(registry: Registry) -> std::process::ExitCode {
    run_words(registry, std::env::args_os()).into()
}

/// Runs the command line with these words, of which the first is the program's name; the exit code.
pub fn run_words(registry: Registry, words: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>) -> u8 {
    let args = match args::Args::try_parse_from(words) {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nothing is left to do where even this cannot be written.
            let _ = error.print();
            return code;
        }
    };
    let out = output::Output::new(args.json, args.quiet);
    match commands::run(&args.command, &registry, &out) {
        Ok(code) => code,
        Err(failure) => {
            out.failure(&failure);
            failure.code
        }
    }
}

//! The command line as a library: a user's own environment or algorithm gets the whole tool.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     motley::cli(motley::Registry::builtin()) // .with_task(MyTask) .with_algorithm(MyAlgorithm)
//! }
//! ```

mod args;
mod commands;
mod complete;
mod error;
mod output;
mod signals;

pub use commands::unsaved;
pub use motley_train::Registry;

use std::ffi::OsString;
use std::path::Path;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use motley_core::error::nearest;
use motley_nn::TeamPolicy;
use motley_train::bundle::PolicyInfo;

/// The git commit that this program was built from, where it was built in its repository.
pub const COMMIT: Option<&str> = option_env!("MOTLEY_GIT_COMMIT");

/// The environment variables that are settings, `MOTLEY__A__B`, as name and value.
///
/// # Errors
/// One whose value is not UTF-8; the text names it.
pub fn environment() -> Result<Vec<(String, String)>, String> {
    commands::environment().map_err(|failure| failure.message)
}

/// The policy of a bundle or a run, with what is known of it. Of a run that of its best evaluation, or of `checkpoint` (`best`, `latest` or
/// its env steps), which opens the run's task; where there was no evaluation, the latest checkpoint's, as a note on standard error says.
///
/// # Errors
/// The exit code and the words of the command line.
pub fn policy(registry: &Registry, path: &Path, checkpoint: &str, trust: bool) -> Result<(PolicyInfo, TeamPolicy), (u8, String)> {
    let chosen = checkpoint.parse().map_err(|expected| (2, format!("checkpoint={checkpoint}: {expected}")))?;
    let source = commands::Source { path, chosen, trust, out: &output::Output::new(false, false) };
    source.read(registry).map_err(|failure| (failure.code, failure.message))
}

/// Runs the command line of this process with the given algorithms and tasks.
pub fn cli(registry: Registry) -> std::process::ExitCode {
    let named = || std::env::args_os().next().unwrap_or_else(|| "motley".into());
    let program = std::env::current_exe().map_or_else(|_| named(), Into::into);
    run_words(registry, &[program], std::env::args_os()).into()
}

/// Runs the command line with these words, of which the first is the program's name; the exit code. `start` is what starts a process of
/// this program anew, as sweeps do for every run: a path, or an interpreter and what it is to run.
pub fn run_words(
    registry: Registry,
    start: &[OsString],
    words: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
) -> u8 {
    motley_core::guard::keep_panics();
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    match complete::answer(&registry, &words) {
        Ok(true) => return 0,
        Ok(false) => {}
        Err(error) => return not_understood(error, &words),
    }
    let args = match args::Args::try_parse_from(&words) {
        Ok(args) => args,
        Err(error) => return not_understood(error, &words),
    };
    let out = output::Output::new(args.json, args.quiet);
    match commands::run(&args.command, &registry, start, &out) {
        // A training is in its run folder, whoever listens.
        Ok(0) if out.lost() && !matches!(args.command, args::Command::Train(_)) => 1,
        Ok(code) => code,
        Err(failure) => {
            out.failure(&failure);
            failure.code
        }
    }
}

/// Says what is wrong with the words, or the help that was asked for; the exit code.
fn not_understood(mut error: clap::Error, words: &[OsString]) -> u8 {
    let words: Vec<String> = words.iter().map(|w| w.to_string_lossy().into_owned()).take_while(|w| w != "--").collect();
    let dashless = |setting: String| format!("settings have no dashes: write {setting}");
    let tip = placed_word(&error, &words).or_else(|| dashed_setting(&error, &words).map(dashless));
    if tip.is_some() {
        // It would advise to pass the word on as it is, which no command takes, or an option that only looks a little like it.
        error.remove(ContextKind::Suggested);
        error.remove(ContextKind::SuggestedArg);
    }
    // Nothing is left to do where even this cannot be written.
    let _ = error.print();
    if !error.use_stderr() {
        return 0;
    }
    let out = output::Output::new(words.iter().any(|w| w == "--json"), false);
    if let Some(tip) = &tip {
        out.note(tip);
    }
    out.error_event(2, [error.to_string().trim_end().to_owned()].into_iter().chain(tip).collect::<Vec<_>>().join("\n").as_str());
    2
}

/// The word with dashes that no command knows, without its value.
fn unknown_option(error: &clap::Error) -> Option<&str> {
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else { return None };
    let known_apart = error.kind() == ErrorKind::UnknownArgument && unknown.starts_with("--");
    known_apart.then(|| unknown.split_once('=').map_or(unknown.as_str(), |(name, _)| name))
}

/// What is said to `--algo happo --env mpe/...`: algorithm and task are known by their places.
fn placed_word(error: &clap::Error, words: &[String]) -> Option<String> {
    const PLACED: [&str; 6] = ["--algo", "--algorithm", "--env", "--task", "--map", "--scenario"];
    let takes = words.iter().any(|word| ["train", "config"].contains(&word.as_str()));
    let placed = PLACED.contains(&unknown_option(error)?) && takes;
    placed.then(|| "write ALGO TASK [key=value ...], for example: happo mpe/simple_spread_v3 seed=1".to_owned())
}

/// The setting that was meant by `--total_steps=2000` or `--num-envs 8`, among the words of a command that takes settings; none where
/// an option was misspelt.
fn dashed_setting(error: &clap::Error, words: &[String]) -> Option<String> {
    let takes = ["train", "config", "eval", "check", "reproduce", "import"];
    let unknown = unknown_option(error)?;
    let misspelt = match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(option)) => {
            !nearest(unknown.trim_start_matches('-'), [option.trim_start_matches('-')]).is_empty()
        }
        _ => false,
    };
    if misspelt || !words.iter().any(|w| takes.contains(&w.as_str())) {
        return None;
    }
    let key = unknown.strip_prefix("--").map(|key| key.replace('-', "_")).filter(|key| is_key(key))?;
    let of_word = |word: &String| Some(word.strip_prefix(unknown)?.strip_prefix('=')?.to_owned());
    let behind = |at: usize| words.get(at + 1).filter(|word| !word.starts_with("--")).cloned();
    let value = words.iter().find_map(of_word).or_else(|| behind(words.iter().position(|word| word == unknown)?))?;
    Some(format!("{key}={value}"))
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c))
}

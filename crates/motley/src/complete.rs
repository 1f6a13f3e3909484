//! What may follow the words so far, for the shell: `source <(MOTLEY_COMPLETE=bash motley)`.

use std::ffi::{OsStr, OsString};

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use motley_core::{Kind, SHARE};
use motley_train::{Registry, keys, presets};

use crate::args::Args;

/// By which a shell asks. Not clap's own `COMPLETE`: jobs export words as plain as that.
const VARIABLE: &str = "MOTLEY_COMPLETE";

/// Answers a shell that asks; whether one did. `words` are those of the process, the program's name first.
pub(crate) fn answer(registry: &Registry, words: &[OsString]) -> clap::error::Result<bool> {
    let mut line: Vec<String> =
        words.iter().skip_while(|word| *word != "--").skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
    // Where the cursor is, as bash and zsh tell: the words behind it are no matter.
    if let Some(at) = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|at| at.parse().ok()) {
        line.truncate(at);
    }
    let here = std::env::current_dir().ok();
    let factory = || with_names(Args::command(), registry, &line);
    CompleteEnv::with_factory(factory).var(VARIABLE).try_complete(words, here.as_deref())
}

/// The command line, with what may be named at the end of `line` (words of which the last is being written).
fn with_names(command: clap::Command, registry: &Registry, line: &[String]) -> clap::Command {
    let mut words = line
        .split_last()
        .map_or(&[][..], |(_, before)| before)
        .iter()
        .filter(|word| !["--json", "--quiet", "-q"].contains(&word.as_str()));
    let Some(name) = words.next() else { return command };
    let mut path = vec![name.as_str()];
    path.extend((name == "bench").then(|| words.next()).flatten().map(String::as_str));
    let Some(own) = path.iter().try_fold(&command, |command, name| command.find_subcommand(name)) else { return command };
    let placed = placed(own, words);
    let mut value = false;
    let (argument, found) = match (path[0], path.last()) {
        ("train" | "config", _) | ("bench", Some(&"train")) => {
            let (found, of_one_key) = of_training(registry, &placed);
            value = of_one_key;
            ("words", found)
        }
        ("bench", Some(&"env")) => ("tasks", tasks(registry)),
        ("check" | "eval", _) => ("task", tasks(registry)),
        ("reproduce", _) => ("id", motley_stats::published::all().iter().map(|p| (p.id.clone(), String::new())).collect()),
        _ => return command,
    };
    let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
    // Bash has the value of a key for a word of its own, which might begin an option.
    let command = if value { without_options(command) } else { command };
    add(command, &path, argument, found)
}

/// The command and those in it without what begins with a dash.
fn without_options(command: clap::Command) -> clap::Command {
    let shown = command.mut_args(|arg| if arg.is_positional() { arg } else { arg.hide(true) });
    shown.disable_help_flag(true).disable_version_flag(true).mut_subcommands(without_options)
}

/// The words that are no options, nor the values of some.
fn placed<'a>(command: &clap::Command, words: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let takes_value = |word: &str| {
        let named = |arg: &clap::Arg| {
            arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long))
                || arg.get_short().is_some_and(|short| word.strip_prefix('-').is_some_and(|rest| rest.chars().eq([short])))
        };
        command.get_arguments().any(|arg| named(arg) && arg.get_action().takes_values())
    };
    let mut value = false;
    let is_placed = |word: &&String| {
        if value && *word == "=" {
            // Bash takes `--out=here` for three words.
            return false;
        }
        !std::mem::replace(&mut value, takes_value(word)) && !word.starts_with('-')
    };
    words.filter(is_placed).collect()
}

/// Names that may be written, and what they mean.
type Names = Vec<(String, String)>;

/// What may follow these words of `train`: an algorithm, a task, settings of the pair; whether it is the value of one that follows.
fn of_training(registry: &Registry, placed: &[&String]) -> (Names, bool) {
    match placed[..] {
        [] => (registry.algorithms.iter().map(|spec| (spec.name().to_owned(), spec.summary().to_owned())).collect(), false),
        [_] => (tasks(registry), false),
        [algo, task, ..] => {
            let (Ok(algorithm), Ok(task)) = (registry.algorithms.get(algo), registry.tasks.get(task)) else {
                return (Vec::new(), false);
            };
            let all = keys(&*algorithm, &*task);
            // Bash takes `key=value` for three words, and leaves out the second where the third is yet to come.
            let own = match placed[2..] {
                [.., key, equals] if equals == "=" => Some(key.as_str()),
                [.., key] if key == "preset" || all.iter().any(|known| known.name == *key) => Some(key.as_str()),
                _ => None,
            };
            let named = presets::names(algorithm.name(), &task.name());
            let named: Vec<String> = named.into_iter().map(str::to_owned).collect();
            let mut names = setting("preset", "Tuned settings to start from.".to_owned(), &named, own);
            for key in all {
                let help = format!("{} (default {})", key.help, key.default);
                let words: Vec<String> = values(&key.kind).into_iter().map(str::to_owned).collect();
                // Without an example the shell would have nothing to show.
                let words = if words.is_empty() && own.is_some() { vec![key.default.to_string()] } else { words };
                names.extend(setting(&key.name, help, &words, own));
            }
            (names, own.is_some())
        }
    }
}

/// Values that are words.
fn values(kind: &Kind) -> Vec<&'static str> {
    match kind {
        Kind::Bool => vec!["true", "false"],
        Kind::Choice(words) => words.to_vec(),
        Kind::Share => SHARE.to_vec(),
        _ => Vec::new(),
    }
}

/// `key=`, and the same with each of its values; behind `own=` the values of that key alone.
fn setting(key: &str, help: String, values: &[String], own: Option<&str>) -> Names {
    match own {
        Some(own) if own == key => values.iter().map(|value| (value.clone(), String::new())).collect(),
        Some(_) => Vec::new(),
        None => {
            let whole = values.iter().map(|value| (format!("{key}={value}"), String::new()));
            [(format!("{key}="), help)].into_iter().chain(whole).collect()
        }
    }
}

fn tasks(registry: &Registry) -> Names {
    registry.tasks.iter().map(|task| (task.name(), task.summary())).collect()
}

/// Lets the argument of the command at `path` be completed by these names.
fn add(command: clap::Command, path: &[String], argument: &str, names: Names) -> clap::Command {
    let Some((first, rest)) = path.split_first() else {
        let completer = ArgValueCompleter::new(move |current: &OsStr| matching(&names, current));
        // All of them are passed on, so that they keep their places.
        return command.mut_args(|arg| if arg.get_id() == argument { arg.add(completer.clone()) } else { arg });
    };
    command.mut_subcommand(first, |command| add(command, rest, argument, names))
}

/// The names that begin with what is written; values of a key only once its `=` is.
fn matching(names: &Names, current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let shown = |name: &str| name.starts_with(current) && (current.contains('=') || !name.contains('=') || name.ends_with('='));
    let candidate =
        |(name, help): &(String, String)| CompletionCandidate::new(name).help((!help.is_empty()).then(|| help.to_owned().into()));
    names.iter().filter(|(name, _)| shown(name) && !(name == current && name.ends_with('='))).map(candidate).collect()
}

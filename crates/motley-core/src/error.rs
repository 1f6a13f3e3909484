//! Typed errors of the vocabulary. Their texts say where, what was expected, what was found, what to do.

use thiserror::Error;

/// What can go wrong inside one environment. All but [`EnvError::Misshaped`] cost one episode, not the run.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EnvError {
    /// Stepped before a reset or after the end.
    #[error("step called {0}: reset the environment first")]
    NotRunning(&'static str),
    /// An action outside its space or its availability mask.
    #[error("agent \"{agent}\": action {found} is not allowed, expected {expected}")]
    Action {
        /// Whose action.
        agent: String,
        /// What the space or mask allows.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The environment broke the contract.
    #[error("{where_}: expected {expected}, found {found}")]
    Contract {
        /// Agent, field and index.
        where_: String,
        /// What the contract says.
        expected: String,
        /// What was written.
        found: String,
    },
    /// What the environment wrote does not fit the space that it declared. Trying again mends nothing: training stops.
    #[error("{where_}: expected {expected}, found {found}; mend the environment, or declare the space that it has")]
    Misshaped {
        /// Agent and field.
        where_: String,
        /// What the space says.
        expected: String,
        /// What was written.
        found: String,
    },
    /// The environment could not do its work (a simulator died, a file is missing).
    #[error("{0}")]
    Failed(String),
    /// The environment panicked; the copy is dropped and replaced.
    #[error("the environment panicked: {0}")]
    Panicked(String),
}

/// A configuration that cannot be run. The command line exits with 2.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConfigError {
    /// A key that nothing declares.
    #[error("unknown key \"{key}\"{}", or_else(.nearest, "motley config ALGO TASK shows the keys"))]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Close names, best first.
        nearest: Vec<String>,
    },
    /// A value outside its range or of another type.
    #[error("{key} = {found}: expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// Type, range, unit.
        expected: String,
        /// The value as written.
        found: String,
    },
    /// A value that asks for more than this machine has; another may have it. Said when nothing else is wrong.
    #[error("{key} = {found}: {why}")]
    Room {
        /// The key.
        key: String,
        /// The value as written.
        found: String,
        /// What it takes, what there is, what to do.
        why: String,
    },
    /// A name (task, algorithm, preset) that is not registered.
    #[error("unknown {what} \"{name}\"{}", or_else(.nearest, &listed(what)))]
    UnknownName {
        /// `task`, `algorithm`, `preset`.
        what: &'static str,
        /// As written.
        name: String,
        /// Close names, best first.
        nearest: Vec<String>,
    },
    /// The algorithm is not defined for this team.
    #[error("{algo} cannot train {task}: {why}")]
    Incompatible {
        /// The algorithm.
        algo: String,
        /// The task.
        task: String,
        /// What does not fit and what would.
        why: String,
    },
    /// A file that cannot be read or parsed.
    #[error("{path}: {why}")]
    File {
        /// The path as given.
        path: String,
        /// The reason, with line and column where known.
        why: String,
    },
    /// A needed outside part is missing (exit 3).
    #[error("{what} is missing: {mend}")]
    Missing {
        /// What is missing.
        what: String,
        /// How to get it.
        mend: String,
    },
    /// Anything else that the settings together make impossible.
    #[error("{0}")]
    Invalid(String),
}

/// What shows all the names of that kind, where a command does.
fn listed(what: &str) -> String {
    if ["task", "algorithm", "preset"].contains(&what) { format!("see motley list {what}s") } else { String::new() }
}

/// The close names, or where all of them are told.
fn or_else(nearest: &[String], otherwise: &str) -> String {
    match nearest {
        [] if otherwise.is_empty() => String::new(),
        [] => format!(" ({otherwise})"),
        [one] => format!(" (did you mean \"{one}\"?)"),
        many => format!(" (did you mean {}?)", many.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(" or ")),
    }
}

/// The names among `known` that are near `name`, best first, at most three.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    // Of two tasks with one name, that of the suite which was written is meant.
    const SAME_SUITE: f64 = 0.2;
    let part = |s: &str| s.rsplit(['.', '/']).next().unwrap_or(s).to_ascii_lowercase();
    // Who writes no version means any: one library numbers the task (`_v3`) that another has without.
    let versioned = |s: &str| s.rsplit_once("_v").is_some_and(|(_, v)| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
    let any_version = !versioned(name);
    let last = |s: &str| match part(s).rsplit_once("_v") {
        Some((bare, _)) if any_version && versioned(s) => bare.to_owned(),
        _ => part(s),
    };
    let suite = |s: &str| s.split_once('/').map(|(suite, _)| suite.to_ascii_lowercase());
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|k| {
            let whole = strsim::normalized_damerau_levenshtein(&name.to_ascii_lowercase(), &k.to_ascii_lowercase());
            let leaf = strsim::normalized_damerau_levenshtein(&last(name), &last(k));
            (whole.max(0.98 * leaf), k)
        })
        .filter(|(score, _)| *score >= 0.6)
        .map(|(score, k)| (if suite(name).is_some() && suite(name) == suite(k) { score + SAME_SUITE } else { score }, k))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let best = scored.first().map_or(0.0, |s| s.0);
    scored.into_iter().filter(|s| s.0 > best - 0.1).take(3).map(|s| s.1.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_prefers_the_whole_key_then_the_leaf() {
        let keys = ["algo.clip", "algo.critic_lr", "algo.lr", "net.hidden_sizes"];
        assert_eq!(nearest("algo.clp", keys)[0], "algo.clip");
        assert_eq!(nearest("net.hiden_sizes", keys)[0], "net.hidden_sizes");
        assert_eq!(nearest("clip", keys)[0], "algo.clip");
        assert!(nearest("zzzzzz", keys).is_empty());
        let tasks = ["vmas/simple_spread", "mpe/simple_spread_v3", "mpe/simple_v3", "matrix/climbing"];
        assert_eq!(nearest("mpe/simple_spread", tasks)[0], "mpe/simple_spread_v3");
        assert_eq!(nearest("vmas/simple_spred", tasks)[0], "vmas/simple_spread");
        assert_eq!(nearest("mpe/climbing", tasks)[0], "matrix/climbing");
        assert_eq!(nearest("simple_spread", tasks), ["mpe/simple_spread_v3", "vmas/simple_spread"]);
        let versions = ["mpe/simple_tag_v2", "mpe/simple_tag_v3"];
        assert_eq!(nearest("simple_tag_v3", versions)[0], "mpe/simple_tag_v3");
    }

    #[test]
    fn messages_offer_the_nearest() {
        let error = ConfigError::UnknownKey { key: "algo.clp".into(), nearest: vec!["algo.clip".into()] };
        assert_eq!(error.to_string(), "unknown key \"algo.clp\" (did you mean \"algo.clip\"?)");
        let error = ConfigError::UnknownKey { key: "task.foo".into(), nearest: Vec::new() };
        assert_eq!(error.to_string(), "unknown key \"task.foo\" (motley config ALGO TASK shows the keys)");
        let error = ConfigError::UnknownName { what: "task", name: "foo/bar".into(), nearest: Vec::new() };
        assert_eq!(error.to_string(), "unknown task \"foo/bar\" (see motley list tasks)");
    }
}

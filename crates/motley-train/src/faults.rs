//! What is said of environments that fail: every kind of cause at once, the same kind again ever more rarely.

use std::collections::BTreeMap;

use motley_core::EnvError;

/// Kinds that are told apart; more are an environment whose every failure reads differently.
const KINDS: usize = 20;

/// The kinds of failures that a run has met.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// How often each was reported.
    met: BTreeMap<String, u64>,
}

impl Faults {
    /// The warning about a failure in environment `env`: of the 1st report of a kind, the 10th, the 100th, ...
    pub(crate) fn warning(&mut self, env: usize, cause: &EnvError) -> Option<String> {
        let rarely = self.reported(cause)?;
        Some(format!(
            "environment {env}: {cause} (its episode was cut there and a new one begun; train/env_failures counts on{rarely})"
        ))
    }

    /// The same of a failure in an evaluation.
    pub(crate) fn eval_warning(&mut self, episode: usize, cause: &EnvError) -> Option<String> {
        let rarely = self.reported(cause)?;
        Some(format!(
            "evaluation episode {episode}: {cause} (it was played anew: results leave out what failed, and count it{rarely})"
        ))
    }

    /// Counts a report, and says which one it is where that is worth a warning.
    fn reported(&mut self, cause: &EnvError) -> Option<String> {
        let kind = kind(cause);
        if self.met.len() >= KINDS && !self.met.contains_key(&kind) {
            return None;
        }
        let count = self.met.entry(kind).or_default();
        *count += 1;
        match *count {
            1 => Some(String::new()),
            n if is_power_of_ten(n) => Some(format!(", report {n} of this kind")),
            _ => None,
        }
    }
}

fn is_power_of_ten(n: u64) -> bool {
    n == 10u64.pow(n.ilog10())
}

/// The text without its numbers, so that one cause with other values is the same kind. Digits of names stay.
pub(crate) fn kind(cause: &EnvError) -> String {
    let (mut kind, mut before) = (String::new(), ' ');
    for c in cause.to_string().chars() {
        let of_name = before.is_alphanumeric() || before == '_';
        if !c.is_ascii_digit() || of_name {
            kind.push(c);
            before = c;
        } else if before != '#' {
            kind.push('#');
            before = '#';
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(agent: &str, entry: usize) -> EnvError {
        EnvError::Contract {
            where_: format!("observation of agent \"{agent}\", entry {entry}"),
            expected: "a finite number".into(),
            found: "NaN".into(),
        }
    }

    #[test]
    fn each_kind_is_told_at_once_and_then_rarely() {
        let mut faults = Faults::default();
        let told: Vec<usize> = (1..=1000).filter(|k| faults.warning(3, &at("agent_0", *k)).is_some()).collect();
        assert_eq!(told, [1, 10, 100, 1000], "entries are no kinds");
        let other = faults.warning(4, &at("agent_1", 1)).unwrap();
        assert!(
            other.starts_with("environment 4: observation of agent \"agent_1\", entry 1: expected a finite number, found NaN")
        );
        let many = (0..100).filter(|k| faults.warning(0, &EnvError::Failed(format!("x{k}"))).is_some()).count();
        assert_eq!(many, KINDS - 2, "a flood of kinds is dammed");
    }
}

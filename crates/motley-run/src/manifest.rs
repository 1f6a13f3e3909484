//! What a checkpoint says about itself: whose it is, how far it got, which files it has.
//!
//! `manifest.json` is one JSON object whose first line holds the BLAKE3 of all lines after it, so that a change of any
//! byte is seen, in the manifest as in the files it lists.

use std::collections::BTreeMap;
use std::path::Path;

use motley_core::TeamSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{CheckpointError, Difference};

/// The version of the checkpoint format written and read here.
pub const FORMAT: u64 = 1;

/// Whose checkpoint it is. Another algorithm, task or team cannot take it up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The algorithm's name.
    pub algo: String,
    /// `suite/name`.
    pub task: String,
    /// Version of the task's rules.
    pub task_version: u32,
    /// BLAKE3 of `team`.
    pub team_hash: String,
    /// The team as JSON, kept so that a difference can be named.
    pub team: Value,
}

impl Identity {
    /// The identity of `algo` training `team`.
    pub fn new(algo: &str, team: &TeamSpec) -> Self {
        let mut value = serde_json::to_value(team).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            // They stand beside it.
            fields.retain(|name, _| !["task", "version"].contains(&name.as_str()));
        }
        Self {
            algo: algo.to_owned(),
            task: team.task.clone(),
            task_version: team.version,
            team_hash: fingerprint(&value),
            team: value,
        }
    }
}

/// What the trainer says about a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Whose it is.
    #[serde(flatten)]
    pub identity: Identity,
    /// The settings that a resumed run must keep.
    pub config: Map<String, Value>,
    /// BLAKE3 of `config`, see [`fingerprint`].
    pub config_hash: String,
    /// Environment steps taken; names the checkpoint.
    pub env_steps: u64,
    /// Further counters (updates, episodes, ...).
    pub counters: Map<String, Value>,
    /// Lengths of the logs in bytes, by file name; resume cuts them to these.
    pub logs: BTreeMap<String, u64>,
    /// Whether going on from here gives the same bits as never having stopped.
    pub exact_resume: bool,
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3, 64 lower-case hexadecimal digits.
    pub blake3: String,
}

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u64,
    /// The library version that wrote it.
    pub motley: String,
    /// What the trainer said.
    #[serde(flatten)]
    pub info: CheckpointInfo,
    /// The files, by name.
    pub files: BTreeMap<String, FileEntry>,
}

const HEAD: &str = "{\"blake3\": \"";
const TAIL: &str = "\",\n";

impl Manifest {
    /// Refuses a checkpoint that is not `expected`'s.
    ///
    /// # Errors
    /// [`CheckpointError::Mismatch`] with every difference.
    pub fn check(&self, expected: &Identity) -> Result<(), CheckpointError> {
        let value = |identity: &Identity| serde_json::to_value(identity).unwrap_or_default();
        let mut differences = diff(&value(expected), &value(&self.info.identity));
        if differences.iter().any(|d| d.name.starts_with("team.")) {
            differences.retain(|d| d.name != "team_hash");
        }
        if differences.is_empty() { Ok(()) } else { Err(CheckpointError::Mismatch(differences)) }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let object = serde_json::to_string_pretty(self)?;
        let body = format!("{}\n", object.trim_start_matches(['{', '\n']));
        Ok(format!("{HEAD}{}{TAIL}{body}", blake3::hash(body.as_bytes())).into_bytes())
    }

    /// Any bytes may be given.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let damaged = |why: &str| CheckpointError::damaged(path, why);
        let text = str::from_utf8(bytes).map_err(|_| damaged("not text"))?;
        let (hash, body) = text.strip_prefix(HEAD).and_then(|t| t.split_once(TAIL)).ok_or_else(|| damaged("not a manifest"))?;
        if hash != blake3::hash(body.as_bytes()).to_hex().as_str() {
            return Err(damaged("its hash does not fit its content"));
        }
        #[derive(Deserialize)]
        struct Head {
            format: u64,
            motley: String,
        }
        let parse = |e: serde_json::Error| CheckpointError::damaged(path, e);
        let head: Head = serde_json::from_str(text).map_err(parse)?;
        if head.format != FORMAT {
            let (found, writer) = (head.format, head.motley);
            return Err(CheckpointError::Version { path: path.to_owned(), found, writer, supported: FORMAT });
        }
        serde_json::from_str(text).map_err(parse)
    }
}

/// BLAKE3 of a value's JSON, for comparing configurations and teams: equal values, equal text.
pub fn fingerprint<T: Serialize>(value: &T) -> String {
    blake3::hash(&serde_json::to_vec(value).unwrap_or_default()).to_hex().to_string()
}

/// Every leaf in which two JSON values differ, dotted names, in the order of `expected`.
pub fn diff(expected: &Value, found: &Value) -> Vec<Difference> {
    let mut out = Vec::new();
    walk("", Some(expected), Some(found), &mut out);
    out
}

fn walk(name: &str, expected: Option<&Value>, found: Option<&Value>, out: &mut Vec<Difference>) {
    let child = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match (expected, found) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                walk(&child(key), a.get(key), b.get(key), out);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for i in 0..a.len().max(b.len()) {
                walk(&format!("{name}[{i}]"), a.get(i), b.get(i), out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let show = |v: Option<&Value>| v.map_or("nothing".to_owned(), Value::to_string);
            out.push(Difference { name: name.to_owned(), expected: show(a), found: show(b) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::{ActionSpace, AgentSpec, ObsSpace};

    fn team(obs: usize) -> TeamSpec {
        let agent = |n: &str, size| AgentSpec::new(n, "x", ObsSpace::vector(size), ActionSpace::Discrete(3));
        TeamSpec::new("test/pair", vec![agent("left", 4), agent("right", obs)])
    }

    fn manifest() -> Manifest {
        let identity = Identity::new("happo", &team(7));
        let counters = serde_json::from_str(r#"{"updates": 3, "rate": 0.1}"#).unwrap();
        let logs = BTreeMap::from([("metrics.jsonl".to_owned(), 17)]);
        let info = CheckpointInfo {
            identity,
            config: Map::new(),
            config_hash: "c".into(),
            env_steps: 40,
            counters,
            logs,
            exact_resume: true,
        };
        let files = BTreeMap::from([("f".to_owned(), FileEntry { bytes: 1, blake3: "h".into() })]);
        Manifest { format: FORMAT, motley: "0.1.0".into(), info, files }
    }

    #[test]
    fn a_manifest_is_plain_json_and_comes_back() {
        let m = manifest();
        let bytes = m.encode().unwrap();
        assert_eq!(Manifest::decode(Path::new("m"), &bytes).unwrap(), m);
        let plain: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&plain["algo"], &plain["files"]["f"]["bytes"]), (&"happo".into(), &1.into()));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = manifest().encode().unwrap();
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(Manifest::decode(Path::new("m"), &bad).is_err(), "bit {at}");
        }
    }

    #[test]
    fn a_later_format_names_who_reads_it() {
        let later = Manifest { format: 2, motley: "3.0.0".into(), ..manifest() };
        let text = Manifest::decode(Path::new("m"), &later.encode().unwrap()).unwrap_err().to_string();
        assert!(text.contains("use motley 3.0.0") && text.contains("format 2"), "{text}");
    }

    #[test]
    fn another_team_is_refused_with_the_difference() {
        let m = manifest();
        assert!(m.check(&Identity::new("happo", &team(7))).is_ok());
        let error = m.check(&Identity::new("mappo", &team(9))).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let CheckpointError::Mismatch(list) = error else { panic!("{error}") };
        let find = |name: &str| list.iter().find(|d| d.name == name).map(|d| (d.expected.as_str(), d.found.as_str()));
        assert_eq!(find("algo"), Some(("\"mappo\"", "\"happo\"")));
        assert!(list.iter().any(|d| d.name.starts_with("team.agents[1].obs") && d.expected == "9" && d.found == "7"));
        assert!(find("team_hash").is_none() && !list.iter().any(|d| d.name.starts_with("team.agents[0]")));
    }
}

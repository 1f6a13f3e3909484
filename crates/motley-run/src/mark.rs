//! What Motley knows again as its user's own: names of tasks that run code, marked with a key that nobody else has.
//!
//! A run folder says which task it trains, and some tasks call whatever their names and settings say. Where the folder comes from cannot be
//! seen, so Motley writes beside such a name a keyed hash of it. The key lies with the user (`~/.config/motley/key`), not in the folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

const LENGTH: usize = 32;

/// One thread of a process at a time makes a key.
static MAKING: Mutex<()> = Mutex::new(());

/// The key of a user, by which Motley knows again what it wrote for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserKey {
    /// Where it lies; nowhere, where a user has no folder for settings.
    path: Option<PathBuf>,
}

impl UserKey {
    /// The key of whoever runs this process: `motley/key` in `XDG_CONFIG_HOME`, which is `.config` in the home folder where it is not set.
    pub fn find() -> Self {
        // A relative path would be another key in every folder; the XDG specification has it left alone.
        let absolute = |path: PathBuf| Some(path).filter(|p| p.is_absolute());
        let named = std::env::var_os("XDG_CONFIG_HOME").and_then(|path| absolute(path.into()));
        let above = named.or_else(|| std::env::home_dir().and_then(absolute).map(|home| home.join(".config")));
        Self { path: above.map(|above| above.join("motley").join("key")) }
    }

    /// The key in this file.
    pub fn at(path: &Path) -> Self {
        Self { path: Some(path.to_owned()) }
    }

    /// The mark of a task with these settings. The key is made where there is none; where it cannot be, there is no mark.
    pub fn mark(&self, task: &str, settings: &Value) -> Option<String> {
        let path = self.path.as_deref()?;
        let key = read(path).or_else(|| {
            let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
            // Another thread or process may have been quicker: what lies there then is the key.
            let _ = make(path);
            read(path)
        })?;
        Some(blake3::keyed_hash(&key, &said(task, settings)).to_hex().to_string())
    }

    /// Whether a mark is this user's, for this task with these settings. Makes nothing.
    pub fn fits(&self, task: &str, settings: &Value, mark: &str) -> bool {
        let Some(key) = self.path.as_deref().and_then(read) else { return false };
        // Compared in constant time, as hashes of blake3 are.
        blake3::Hash::from_hex(mark).is_ok_and(|mark| mark == blake3::keyed_hash(&key, &said(task, settings)))
    }
}

/// What is marked: equal values, equal bytes, whatever the order of their keys.
fn said(task: &str, settings: &Value) -> Vec<u8> {
    json!(["motley task", task, sorted(settings)]).to_string().into_bytes()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, Value> = fields.iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(fields.into_iter().map(|(name, value)| (name.clone(), value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// The key in a file that holds one and nothing else.
fn read(path: &Path) -> Option<[u8; LENGTH]> {
    let mut bytes = Vec::with_capacity(LENGTH + 1);
    File::open(path).ok()?.take(LENGTH as u64 + 1).read_to_end(&mut bytes).ok()?;
    bytes.try_into().ok()
}

/// Makes a key that only its user may read, whole or not at all. One that is there is left alone.
#[cfg(unix)]
fn make(path: &Path) -> io::Result<()> {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let above = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(above)?;
    let (mut key, mut name) = ([0; LENGTH], [0; 8]);
    let mut random = File::open("/dev/urandom")?;
    random.read_exact(&mut key)?;
    random.read_exact(&mut name)?;
    // Processes of several machines may share this folder, and their numbers are not apart.
    let temp = above.join(format!("key.tmp-{:016x}", u64::from_le_bytes(name)));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
    let made = file.write_all(&key).and_then(|()| file.sync_all()).and_then(|()| match fs::hard_link(&temp, path) {
        // Some file systems have no second names.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&temp, path),
        linked => linked,
    });
    let _ = fs::remove_file(&temp);
    made
}

/// Tasks that run code of their name's choosing are for Unix.
#[cfg(not(unix))]
fn make(_path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use std::fs;

    use super::*;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_mark_is_of_one_user_one_name_and_one_set_of_arguments() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, yours) = (UserKey::at(&dir.path().join("a/motley/key")), UserKey::at(&dir.path().join("b/key")));
        let kwargs = value(r#"{"n": 3, "inner": {"a": 1.0, "b": [1, 2]}}"#);
        assert!(!mine.fits("py:a:b", &kwargs, &"0".repeat(64)), "without a key nothing fits");
        assert!(!dir.path().join("a").exists(), "and none is made to look");
        let mark = mine.mark("py:a:b", &kwargs).unwrap();
        assert_eq!(mine.mark("py:a:b", &kwargs), Some(mark.clone()), "the key stays");
        assert!(mine.fits("py:a:b", &value(r#"{"inner": {"b": [1, 2], "a": 1.0}, "n": 3}"#), &mark), "order is no difference");
        for (task, kwargs) in [
            ("py:a:c", kwargs.clone()),
            ("py:a:b", value("{}")),
            ("py:a:b", value(r#"{"n": 4, "inner": {"a": 1.0, "b": [1, 2]}}"#)),
            ("py:a:b", value(r#"{"n": 3, "inner": {"a": 1.0, "b": [2, 1]}}"#)),
        ] {
            assert!(!mine.fits(task, &kwargs, &mark), "{task} {kwargs}");
        }
        let other = yours.mark("py:a:b", &kwargs).unwrap();
        assert!(other != mark && !yours.fits("py:a:b", &kwargs, &mark) && yours.fits("py:a:b", &kwargs, &other));
        for odd in ["", "x", &mark[1..], &"g".repeat(64)] {
            assert!(!mine.fits("py:a:b", &kwargs, odd), "{odd}");
        }
    }

    #[test]
    fn a_key_is_its_users_alone_and_made_once() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("motley/key");
        let marks: Vec<Option<String>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| UserKey::at(&path).mark("py:a:b", &Value::Null))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(marks[0].is_some() && marks.iter().all(|mark| *mark == marks[0]), "{marks:?}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("motley")).unwrap().count(), 1, "nothing else is left");
        // What is no key is neither used nor replaced; where none can be made there is no mark.
        fs::write(&path, "short").unwrap();
        assert_eq!(UserKey::at(&path).mark("py:a:b", &Value::Null), None);
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(UserKey::at(&path.join("below a file")).mark("py:a:b", &Value::Null), None);
    }
}

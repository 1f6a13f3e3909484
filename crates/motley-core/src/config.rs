//! Settings: declared keys with ranges, layered values that remember where they came from, errors that name the nearest key.
//!
//! A struct of settings is declared once with [`settings!`]; its keys, defaults, ranges, help and reader all come from
//! that declaration.

use std::collections::BTreeMap;
use std::fmt;

use toml::Value;

use crate::error::{ConfigError, nearest};
use crate::secret::masked;

/// The words of [`Kind::Share`].
pub const SHARE: [&str; 3] = ["none", "all", "type"];

/// What values a key takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds, both included.
    Int(i64, i64),
    /// A finite number within bounds, both included.
    Float(f64, f64),
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
    /// A list of whole numbers, each within bounds.
    Ints(i64, i64),
    /// `none`, `all`, `type`, or a list of lists of agent names.
    Share,
    /// A table or list checked by its reader.
    Any,
}

impl Kind {
    /// What is accepted, for messages and help.
    pub fn describe(&self) -> String {
        let float = |x: f64| if x.is_infinite() { "any".into() } else { format!("{x}") };
        match self {
            Self::Bool => "true or false".into(),
            Self::Int(a, b) => format!("a whole number, {a} to {b}"),
            Self::Float(a, b) => format!("a number, {} to {}", float(*a), float(*b)),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text => "text".into(),
            Self::Ints(a, b) => format!("a list of whole numbers, each {a} to {b}"),
            Self::Share => "none, all, type, or a list of lists of agent names in quotes, [[\"a\", \"b\"], [\"c\"]]".into(),
            Self::Any => "a value".into(),
        }
    }

    /// The value in its canonical type, or `None` where it does not fit. A whole number is taken where a float is wanted.
    fn accept(&self, value: &Value) -> Option<Value> {
        let whole = |v: &Value| match v {
            Value::Integer(i) => Some(*i),
            Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => Some(*f as i64),
            _ => None,
        };
        let ok = match (self, value) {
            (Self::Bool, Value::Boolean(_)) | (Self::Text, Value::String(_)) | (Self::Any, _) => return Some(value.clone()),
            (Self::Int(a, b), v) => return whole(v).filter(|i| (a..=b).contains(&i)).map(Value::Integer),
            (Self::Float(a, b), Value::Float(f)) => return (f.is_finite() && (a..=b).contains(&f)).then(|| Value::Float(*f)),
            (Self::Float(..), Value::Integer(i)) => return self.accept(&Value::Float(*i as f64)),
            (Self::Choice(words), Value::String(s)) => words.contains(&s.as_str()),
            (Self::Ints(a, b), Value::Array(list)) => {
                let ints: Option<Vec<Value>> =
                    list.iter().map(|v| whole(v).filter(|i| (a..=b).contains(&i)).map(Value::Integer)).collect();
                return ints.map(Value::Array);
            }
            (Self::Share, Value::String(s)) => SHARE.contains(&s.as_str()),
            (Self::Share, Value::Array(groups)) => {
                groups.iter().all(|g| g.as_array().is_some_and(|g| g.iter().all(Value::is_str)))
            }
            _ => false,
        };
        ok.then(|| value.clone())
    }
}

/// One declared setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Dotted name, e.g. `algo.clip`.
    pub name: String,
    /// Value when nothing says otherwise.
    pub default: Value,
    /// What is accepted.
    pub kind: Kind,
    /// What it means, with units.
    pub help: String,
    /// A name that it had before: what was written under that is read as this one.
    pub former: Option<&'static str>,
}

impl Key {
    /// A key; the default must be of the kind.
    pub fn new(name: impl Into<String>, default: impl Into<Value>, kind: Kind, help: impl Into<String>) -> Self {
        Self { name: name.into(), default: default.into(), kind, help: help.into(), former: None }
    }
}

/// Where a value came from. Later layers win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The declaration.
    Default,
    /// The task's own defaults.
    Task(String),
    /// A preset.
    Preset(String),
    /// A file given with `--config`.
    File(String),
    /// An environment variable.
    Environment(String),
    /// `key=value` on the command line.
    CommandLine,
    /// The configuration of the run that is resumed.
    Run,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::Task(t) => write!(f, "task {t}"),
            Self::Preset(p) => write!(f, "preset {p}"),
            Self::File(p) => write!(f, "file {p}"),
            Self::Environment(v) => write!(f, "environment {v}"),
            Self::CommandLine => write!(f, "command line"),
            Self::Run => write!(f, "resumed run"),
        }
    }
}

/// Declared keys with their current values and origins.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    key: Key,
    value: Value,
    origin: Origin,
}

impl Settings {
    /// Every key at its default. A key declared twice keeps the later declaration.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let entry = |key: Key| (key.name.clone(), Entry { value: key.default.clone(), key, origin: Origin::Default });
        Self { entries: keys.into_iter().map(entry).collect() }
    }

    /// The entry of that name, or of the key that had it before.
    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).or_else(|| self.entries.values().find(|e| e.key.former == Some(name)))
    }

    /// Sets one key, by its name or the one that it had before.
    ///
    /// # Errors
    /// A key that is not declared (with the nearest names), a value of another type or outside its range.
    pub fn set(&mut self, name: &str, value: &Value, origin: Origin) -> Result<(), ConfigError> {
        let known = self.entry(name).map(|e| e.key.name.clone());
        let Some(entry) = known.and_then(|name| self.entries.get_mut(&name)) else {
            return Err(ConfigError::UnknownKey {
                key: name.to_owned(),
                nearest: nearest(name, self.entries.keys().map(String::as_str)),
            });
        };
        let Some(value) = entry.key.kind.accept(value) else {
            return Err(ConfigError::Value {
                key: name.to_owned(),
                expected: entry.key.kind.describe(),
                found: masked(name, value).to_string(),
            });
        };
        entry.value = value;
        entry.origin = origin;
        Ok(())
    }

    /// Sets every leaf of a table (`[algo] clip = 0.1` is `algo.clip`).
    ///
    /// # Errors
    /// As [`Settings::set`], for the first leaf that does not fit.
    pub fn merge(&mut self, table: &toml::Table, origin: &Origin) -> Result<(), ConfigError> {
        self.merge_under("", table, origin)
    }

    fn merge_under(&mut self, prefix: &str, table: &toml::Table, origin: &Origin) -> Result<(), ConfigError> {
        for (name, value) in table {
            let full = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) if !self.entries.contains_key(&full) => self.merge_under(&full, inner, origin)?,
                _ => self.set(&full, value, origin.clone())?,
            }
        }
        Ok(())
    }

    /// Sets from the text `key=value`; the value is TOML, and a bare word is text.
    ///
    /// # Errors
    /// No `=`, or as [`Settings::set`].
    pub fn set_text(&mut self, assignment: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some((name, text)) = assignment.split_once('=') else {
            return Err(ConfigError::Invalid(format!(
                "\"{assignment}\" is not a setting: write key=value, for example algo.lr=0.0003"
            )));
        };
        let (name, text) = (name.trim(), text.trim());
        let parsed = parse_value(text);
        let fits = |value: &Value| self.entry(name).is_some_and(|e| e.key.kind.accept(value).is_some());
        // `algo.kl=true` is a word where a word is asked for, though TOML reads a truth value; `64,64` a list, without what shells read.
        let list = if text.is_empty() { text.to_owned() } else { format!("[{text}]") };
        let others = || [Value::String(text.to_owned()), parse_value(&list)].into_iter().find(fits);
        let value = if fits(&parsed) { parsed } else { others().unwrap_or(parsed) };
        self.set(name, &value, origin)
    }

    /// The declared key of that name.
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.entries.get(name).map(|e| &e.key)
    }

    /// Names with values and origins, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value, &Origin)> {
        self.entries.values().map(|e| (&e.key, &e.value, &e.origin))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// A key that is not declared: a fault of the program, reported rather than panicking.
    pub fn value(&self, name: &str) -> Result<&Value, ConfigError> {
        self.entry(name).map(|e| &e.value).ok_or_else(|| ConfigError::UnknownKey { key: name.to_owned(), nearest: Vec::new() })
    }

    /// Where a value came from.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.entries.get(name).map(|e| &e.origin)
    }

    /// The value of a key as `T`.
    ///
    /// # Errors
    /// As [`Settings::value`], or a type that the kind of the key does not guarantee.
    pub fn get<T: FromValue>(&self, name: &str) -> Result<T, ConfigError> {
        let value = self.value(name)?;
        T::from_value(value).ok_or_else(|| ConfigError::Value {
            key: name.to_owned(),
            expected: std::any::type_name::<T>().to_owned(),
            found: value.to_string(),
        })
    }

    /// The keys under `prefix.`, with the prefix taken off: what a task reads.
    pub fn section(&self, prefix: &str) -> Settings {
        let dotted = format!("{prefix}.");
        let entries = self.entries.iter().filter_map(|(name, entry)| {
            let short = name.strip_prefix(&dotted)?;
            let mut entry = entry.clone();
            entry.key.name = short.to_owned();
            Some((short.to_owned(), entry))
        });
        Settings { entries: entries.collect() }
    }

    /// All values as a nested table, ready to be written as TOML. Secrets are masked, however deep they lie.
    pub fn to_table(&self) -> toml::Table {
        self.table_of(masked)
    }

    /// As [`Settings::to_table`], with the secrets: for a process that does the work, never for a file or a message.
    pub fn to_open_table(&self) -> toml::Table {
        self.table_of(|_, value| value.clone())
    }

    fn table_of(&self, shown: impl Fn(&str, &Value) -> Value) -> toml::Table {
        let mut root = toml::Table::new();
        for (name, entry) in &self.entries {
            let parts: Vec<&str> = name.split('.').collect();
            insert_nested(&mut root, &parts, shown(name, &entry.value));
        }
        root
    }
}

fn insert_nested(table: &mut toml::Table, parts: &[&str], value: Value) {
    match parts {
        [] => {}
        [leaf] => {
            table.insert((*leaf).to_owned(), value);
        }
        [first, rest @ ..] => {
            let slot = table.entry(*first).or_insert_with(|| Value::Table(toml::Table::new()));
            if let Value::Table(inner) = slot {
                insert_nested(inner, rest, value);
            }
        }
    }
}

/// A TOML value, or the text itself where it is none.
pub fn parse_value(text: &str) -> Value {
    let parsed = format!("v = {text}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Types that a setting can be read as.
pub trait FromValue: Sized {
    /// The value as this type, if it is one.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_float().or_else(|| value.as_integer().map(|i| i as f64))
    }
}

impl FromValue for f32 {
    fn from_value(value: &Value) -> Option<Self> {
        f64::from_value(value).map(|x| x as f32)
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|i| u64::try_from(i).ok())
    }
}

impl FromValue for usize {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|i| usize::try_from(i).ok())
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_integer()
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(ToOwned::to_owned)
    }
}

impl FromValue for Vec<usize> {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(usize::from_value).collect()
    }
}

impl FromValue for crate::Share {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(s) => match s.as_str() {
                "none" => Some(Self::None),
                "all" => Some(Self::All),
                "type" => Some(Self::Type),
                _ => None,
            },
            Value::Array(groups) => {
                let names = |g: &Value| g.as_array()?.iter().map(String::from_value).collect::<Option<Vec<_>>>();
                groups.iter().map(names).collect::<Option<Vec<_>>>().map(Self::Groups)
            }
            _ => None,
        }
    }
}

/// Declares a struct of settings: fields, defaults, ranges and help in one place.
///
/// ```
/// use motley_core::{Kind, Settings, settings};
/// settings! {
///     /// Settings of an example.
///     pub struct Example in "algo" {
///         /// Clip range of the probability ratio.
///         clip: f64 = 0.2, Kind::Float(0.0, 1.0);
///         /// Passes over each rollout.
///         ppo_epochs: usize = 5, Kind::Int(1, 1000);
///     }
/// }
/// let mut settings = Settings::new(Example::keys());
/// settings.set_text("algo.clip=0.1", motley_core::Origin::CommandLine)?;
/// assert_eq!(Example::read(&settings)?.clip, 0.1);
/// # Ok::<(), motley_core::ConfigError>(())
/// ```
#[macro_export]
macro_rules! settings {
    ($(#[$doc:meta])* $vis:vis struct $name:ident in $section:literal {
        $($(#[doc = $help:literal])+ $field:ident: $ty:ty = $default:expr, $kind:expr;)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $($(#[doc = $help])+ pub $field: $ty,)*
        }

        impl $name {
            /// The declared keys.
            pub fn keys() -> Vec<$crate::Key> {
                vec![$($crate::Key::new(
                    $crate::config::dotted($section, stringify!($field)),
                    $crate::config::default_value($default),
                    $kind,
                    [$($help),+].concat().trim(),
                )),*]
            }

            /// Reads the declared keys.
            ///
            /// # Errors
            /// A key that `settings` does not declare.
            pub fn read(settings: &$crate::Settings) -> Result<Self, $crate::ConfigError> {
                Ok(Self { $($field: settings.get(&$crate::config::dotted($section, stringify!($field)))?,)* })
            }
        }
    };
}

/// `section.field`, or the field alone at top level.
pub fn dotted(section: &str, field: &str) -> String {
    if section.is_empty() { field.to_owned() } else { format!("{section}.{field}") }
}

/// A default as a value (whole numbers of any width included).
pub fn default_value(value: impl IntoDefault) -> Value {
    value.into_default()
}

/// Types that a default can be written as.
pub trait IntoDefault {
    /// The value.
    fn into_default(self) -> Value;
}

macro_rules! into_default {
    ($($ty:ty => $make:expr),* $(,)?) => {
        $(impl IntoDefault for $ty {
            fn into_default(self) -> Value {
                let make: fn($ty) -> Value = $make;
                make(self)
            }
        })*
    };
}

into_default! {
    bool => Value::Boolean,
    f64 => Value::Float,
    i32 => |x| Value::Integer(i64::from(x)),
    i64 => Value::Integer,
    &str => |x| Value::String(x.to_owned()),
    Vec<i64> => |x| Value::Array(x.into_iter().map(Value::Integer).collect()),
}

#[cfg(test)]
mod tests {
    use super::*;

    settings! {
        /// For the tests.
        struct Ppo in "algo" {
            /// Clip range.
            clip: f64 = 0.2, Kind::Float(0.0, 1.0);
            /// Passes.
            ppo_epochs: usize = 5, Kind::Int(1, 1000);
            /// Layers.
            sizes: Vec<usize> = vec![128, 128], Kind::Ints(1, 4096);
            /// Sharing.
            share: crate::Share = "none", Kind::Share;
            /// A mode.
            mode: String = "fast", Kind::Choice(&["fast", "slow"]);
        }
    }

    fn set(text: &str) -> Result<Ppo, ConfigError> {
        let mut s = Settings::new(Ppo::keys());
        s.set_text(text, Origin::CommandLine)?;
        Ppo::read(&s)
    }

    #[test]
    fn values_are_typed_and_bounded() {
        assert_eq!(set("algo.clip=1").unwrap().clip, 1.0);
        assert_eq!(set("algo.ppo_epochs=1e2").unwrap().ppo_epochs, 100);
        for (text, sizes) in [("[64]", vec![64]), ("64", vec![64]), ("64,32", vec![64, 32]), ("[]", vec![])] {
            assert_eq!(set(&format!("algo.sizes={text}")).unwrap().sizes, sizes);
        }
        assert_eq!(set("algo.mode=slow").unwrap().mode, "slow");
        assert_eq!(
            set("algo.share=[[\"a\"],[\"b\",\"c\"]]").unwrap().share,
            crate::Share::Groups(vec![vec!["a".into()], vec!["b".into(), "c".into()]])
        );
        for bad in [
            "algo.clip=1.01",
            "algo.clip=nan",
            "algo.clip=-0.1",
            "algo.clip=high",
            "algo.ppo_epochs=0",
            "algo.ppo_epochs=1.5",
            "algo.ppo_epochs=9223372036854775807",
            "algo.sizes=[0]",
            "algo.sizes=3,0",
            "algo.sizes=",
            "algo.mode=medium",
            "algo.share=some",
            "algo.clip",
        ] {
            let text = set(bad).unwrap_err().to_string();
            assert!(text.contains("algo."), "{bad}: {text}");
        }
        assert!(set("algo.share=[[a],[b]]").unwrap_err().to_string().contains("in quotes"));
        assert_eq!(Kind::Int(0, i64::MAX).describe(), "a whole number, 0 to 9223372036854775807");
    }

    /// C1: every single-edit mutation of every key is refused, at least 90 % of them with the right suggestion.
    #[test]
    fn misspelt_keys_are_refused_with_the_right_suggestion() {
        let (mut tried, mut right) = (0, 0);
        for key in Ppo::keys() {
            for i in 0..key.name.len() {
                let mut dropped = key.name.clone();
                dropped.remove(i);
                let mut swapped = key.name.clone().into_bytes();
                swapped[i] = b'q';
                let mut doubled = key.name.clone();
                doubled.insert(i, 'x');
                for wrong in [dropped, String::from_utf8(swapped).unwrap(), doubled] {
                    let Err(ConfigError::UnknownKey { nearest, .. }) = set(&format!("{wrong}=1")) else {
                        panic!("{wrong} was accepted");
                    };
                    tried += 1;
                    right += usize::from(nearest.first() == Some(&key.name));
                }
            }
        }
        assert!(right * 10 >= tried * 9, "{right} of {tried}");
    }

    #[test]
    fn layers_remember_their_origin_and_write_back() {
        let mut s = Settings::new(Ppo::keys());
        let table: toml::Table = "[algo]\nclip = 0.1\nmode = \"slow\"".parse().unwrap();
        s.merge(&table, &Origin::Preset("happo/x".into())).unwrap();
        s.set_text("algo.clip=0.3", Origin::CommandLine).unwrap();
        assert_eq!(s.origin("algo.clip"), Some(&Origin::CommandLine));
        assert_eq!(s.origin("algo.mode").unwrap().to_string(), "preset happo/x");
        let mut again = Settings::new(Ppo::keys());
        again.merge(&s.to_table(), &Origin::Run).unwrap();
        assert_eq!(Ppo::read(&again), Ppo::read(&s));
        assert_eq!(s.section("algo").get::<f64>("clip"), Ok(0.3));
    }

    /// A file written before a key was renamed is read, and written back under the new name.
    #[test]
    fn former_names_are_read() {
        let key = Key { former: Some("algo.tau"), ..Key::new("algo.pace", 0.5, Kind::Float(0.0, 9.0), "x") };
        let mut s = Settings::new([key]);
        s.merge(&"[algo]\ntau = 0.25".parse().unwrap(), &Origin::Run).unwrap();
        assert_eq!((s.get("algo.pace"), s.get("algo.tau")), (Ok(0.25), Ok(0.25)));
        s.set_text("algo.tau=1", Origin::CommandLine).unwrap();
        assert_eq!(s.to_table().to_string().trim(), "[algo]\npace = 1.0");
        assert!(matches!(s.set_text("algo.tua=1", Origin::CommandLine), Err(ConfigError::UnknownKey { .. })));
        let refused = s.set_text("algo.tau=10", Origin::CommandLine).unwrap_err().to_string();
        assert!(refused.contains("algo.tau") && refused.contains("0 to 9"), "{refused}");
    }

    #[test]
    fn secrets_are_masked() {
        let any = |name| Key::new(name, toml::Table::new(), Kind::Any, "x");
        let mut s = Settings::new([Key::new("log.api_token", "", Kind::Text, "x"), any("task.kwargs"), any("n.secret")]);
        s.set_text("log.api_token=abc123", Origin::CommandLine).unwrap();
        s.set_text("task.kwargs={deep={api_token=\"abc123\"}, n=3}", Origin::CommandLine).unwrap();
        let shown = s.to_table().to_string();
        assert!(!shown.contains("abc123") && shown.contains("n = 3"), "{shown}");
        assert!(s.to_open_table().to_string().contains("abc123"));
        let mut wrong = Settings::new([Key::new("task.token", 1, Kind::Int(0, 9), "x")]);
        let refused = wrong.set_text("task.token=abc123", Origin::CommandLine).unwrap_err().to_string();
        assert!(!refused.contains("abc123"), "{refused}");
    }
}

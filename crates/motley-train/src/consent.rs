//! Whose word lets a task that a file names run code.
//!
//! Run folders and policy bundles may come from strangers, and some tasks call whatever their names and settings say
//! ([`Task::runs_code`], [`Task::code_keys`]). A file opens such a task only where the user says so, or where Motley wrote it for the same
//! user on this machine, which its mark tells ([`UserKey`]).

use motley_core::secret::masked;
use motley_core::{ConfigError, Settings, Task};
use motley_run::{Bundle, UserKey};
use serde_json::{Map, Value, json};

/// Set to 1, this says that every file is trusted.
const VARIABLE: &str = "MOTLEY_TRUST";

/// What a file of settings comes with. Without anything said it opens no task that runs code of the file's choosing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consent {
    /// The folder that it lies in, for messages.
    pub from: String,
    /// The mark that lies beside the name of the task (`signed` of `run.json` and `policy.json`).
    pub mark: Option<String>,
    /// Whether the user says that they trust where it comes from.
    pub trust: bool,
}

impl Consent {
    /// The user's own word.
    pub fn given() -> Self {
        Self { trust: true, ..Self::default() }
    }

    /// Lets `task` be made by `settings`, all of which are the file's, or refuses it. `named` is the file's own name of its task, which is
    /// what a mark is of.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] that says what would be run, and what to do.
    pub fn ask(&self, task: &dyn Task, settings: &Settings, named: &str) -> Result<(), ConfigError> {
        if !needs_mark(task, settings) || self.trust || std::env::var_os(VARIABLE).is_some_and(|word| word == "1") {
            return Ok(());
        }
        let choices = choices(task, settings, |_, value| value.clone());
        if self.mark.as_deref().is_some_and(|mark| UserKey::find().fits(named, &choices, mark)) {
            return Ok(());
        }
        let from = if self.from.is_empty() { "this configuration" } else { &self.from };
        Err(ConfigError::Invalid(format!(
            "{from} would {}, and was not written by you on this machine; if you trust where it comes from, add --trust (trust=True in Python)",
            shortened(&act(task, settings))
        )))
    }
}

/// Whether any of a task's settings chooses code.
pub fn chosen(task: &dyn Task, settings: &Settings) -> bool {
    let set = |key: &str| settings.key(key).zip(settings.value(key).ok()).is_some_and(|(key, value)| key.default != *value);
    task.code_keys().iter().any(|key| set(key))
}

/// Whether making a task runs code of the name's or the settings' choosing, so that a folder of it needs a mark of its user.
pub fn needs_mark(task: &dyn Task, settings: &Settings) -> bool {
    task.runs_code() || chosen(task, settings)
}

/// The mark to write beside the name of a task, where making it runs code of the name's or the settings' choosing and this user can have a key.
pub fn mark(task: &dyn Task, settings: &Settings) -> Option<String> {
    // As files have them: without secrets.
    if needs_mark(task, settings) { UserKey::find().mark(&task.name(), &choices(task, settings, masked)) } else { None }
}

/// A bundle with the mark of its task.
#[must_use]
pub fn signed(mut bundle: Bundle, mark: Option<&str>) -> Bundle {
    if let Some(mark) = mark {
        bundle.policy.insert("signed".into(), mark.into());
    }
    bundle
}

/// The settings that choose code, by name.
fn choices(task: &dyn Task, settings: &Settings, shown: impl Fn(&str, &toml::Value) -> toml::Value) -> Value {
    let value = |key: &&str| Some(((*key).to_owned(), json!(shown(key, settings.value(key).ok()?))));
    Value::Object(task.code_keys().iter().filter_map(value).collect::<Map<String, Value>>())
}

/// What making the task would do: `call subprocess.getoutput(cmd="ls") in Python`.
fn act(task: &dyn Task, settings: &Settings) -> String {
    let name = task.name();
    let kwargs = settings.value("task.kwargs").ok().and_then(toml::Value::as_table);
    let kwargs: Vec<String> = kwargs.into_iter().flatten().map(|(key, value)| format!("{key}={}", json!(value))).collect();
    if let Some(target) = name.strip_prefix("py:") {
        return format!("call {}({}) in Python", target.replace(':', "."), kwargs.join(", "));
    }
    if let Some(id) = name.strip_prefix("gym/") {
        return format!("call gymnasium.make({}) in Python", [vec![json!(id).to_string()], kwargs].concat().join(", "));
    }
    let told = |key: &&str| Some(format!("{key} = {}", settings.value(key).ok()?));
    let told: Vec<String> = task.code_keys().iter().filter_map(told).collect();
    format!("run code of {name} with {}", told.join(", "))
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 300;
    if text.chars().count() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use motley_core::Origin;

    /// What is said of a task that a file names with these settings.
    fn asked(consent: &Consent, task: &str, words: &[&str]) -> Result<(), String> {
        let task = Registry::builtin().tasks.get(task).unwrap();
        let mut settings = Settings::new(task.keys());
        words.iter().for_each(|word| settings.set_text(word, Origin::Run).unwrap());
        consent.ask(&*task, &settings, &task.name()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_refusal_says_what_would_be_run() {
        let file = Consent { from: "runs/x".into(), ..Consent::default() };
        for (task, words, told) in [
            (
                "py:subprocess:getoutput",
                &["task.kwargs={cmd=\"touch x\"}"][..],
                "runs/x would call subprocess.getoutput(cmd=\"touch x\") in Python",
            ),
            ("py:a.b:C.make", &[], "call a.b.C.make() in Python"),
            ("gym/evil:Env-v0", &["task.kwargs={n=3}"], "call gymnasium.make(\"evil:Env-v0\", n=3) in Python"),
            ("football/academy_corner", &[], "run code of football/academy_corner with task.kwargs = {"),
            ("smac/3m", &["task.path=/tmp/game"], "run code of smac/3m with task.path = \"/tmp/game\""),
        ] {
            let error = asked(&file, task, words).unwrap_err();
            assert!(error.contains(told) && error.contains("add --trust"), "{error}");
            asked(&Consent::given(), task, words).unwrap();
            // A mark of somebody else's.
            assert!(asked(&Consent { mark: Some("0".repeat(64)), ..file.clone() }, task, words).is_err());
        }
        let long = asked(&file, "py:a:b", &[&format!("task.kwargs={{cmd=\"{}\"}}", "x".repeat(5000))]).unwrap_err();
        assert!(long.len() < 600 && long.contains("xxx..., and was not written by you"), "{long}");
    }

    #[test]
    fn native_tasks_ask_nobody() {
        for task in ["mpe/simple_spread_v3", "skirmish/3m", "smac/3m", "matrix/climbing"] {
            asked(&Consent::default(), task, &[]).unwrap();
            let known = Registry::builtin().tasks.get(task).unwrap();
            assert_eq!(mark(&*known, &Settings::new(known.keys())), None, "{task}");
        }
    }
}

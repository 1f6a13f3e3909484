//! Every task by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use motley_core::error::nearest;
use motley_core::{ConfigError, Env, Origin, Settings, Task, TaskFamily, TaskOptions};

/// The tasks that a program knows: the built-in ones and the user's own.
#[derive(Clone, Default)]
pub struct Registry {
    tasks: Vec<Arc<dyn Task>>,
    families: Vec<Arc<dyn TaskFamily>>,
}

impl Registry {
    /// The tasks of this crate: one line a suite, each of which has one line a task. Suites with a rule for names beside their
    /// listed tasks add a family.
    pub fn builtin() -> Self {
        let mut tasks = Vec::new();
        tasks.extend(crate::matrix::tasks());
        tasks.extend(crate::mpe::tasks());
        tasks.extend(crate::skirmish::tasks());
        tasks.extend(crate::vmas::tasks());
        Self { tasks, families: crate::skirmish::families() }
    }

    /// With one task more; it takes the place of a task of the same name.
    #[must_use]
    pub fn with(mut self, task: impl Into<Arc<dyn Task>>) -> Self {
        let task = task.into();
        self.tasks.retain(|known| known.name() != task.name());
        self.tasks.push(task);
        self
    }

    /// With one family more. Listed tasks come first, then families in the order in which they were added.
    #[must_use]
    pub fn with_family(mut self, family: impl Into<Arc<dyn TaskFamily>>) -> Self {
        self.families.push(family.into());
        self
    }

    /// The task of that name: a listed one, or one that a family makes.
    ///
    /// # Errors
    /// [`ConfigError::UnknownName`] with the nearest names; what a family says of a name that is its own and impossible.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Task>, ConfigError> {
        if let Some(task) = self.tasks.iter().find(|task| task.name() == name) {
            return Ok(Arc::clone(task));
        }
        for family in &self.families {
            if let Some(task) = family.task(name)? {
                return Ok(task);
            }
        }
        if name.starts_with(LOCAL) {
            return Err(ConfigError::Invalid(local(name)));
        }
        Err(unknown(name, self.iter().map(Task::name).chain(self.families().map(TaskFamily::pattern))))
    }

    /// All families.
    pub fn families(&self) -> impl Iterator<Item = &(dyn TaskFamily + 'static)> {
        self.families.iter().map(|family| &**family)
    }

    /// All listed tasks, suite by suite.
    pub fn iter(&self) -> impl Iterator<Item = &(dyn Task + 'static)> {
        self.tasks.iter().map(|task| &**task)
    }

    /// The tasks of each suite (what stands before the first `/` of a name), sorted by suite.
    pub fn suites(&self) -> BTreeMap<String, Vec<Arc<dyn Task>>> {
        let mut suites: BTreeMap<String, Vec<Arc<dyn Task>>> = BTreeMap::new();
        for task in &self.tasks {
            let name = task.name();
            let suite = name.split_once('/').map_or(name.as_str(), |(suite, _)| suite).to_owned();
            suites.entry(suite).or_default().push(Arc::clone(task));
        }
        suites
    }

    /// One environment with some `task.*` settings (`key=value`, without the prefix) changed from their defaults.
    ///
    /// # Errors
    /// An unknown task, an unknown or unfit setting, or as [`Task::make`].
    pub fn make(&self, name: &str, settings: &[&str]) -> Result<Box<dyn Env>, ConfigError> {
        let task = self.get(name)?;
        task.make(&options(&*task, settings)?)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(Task::name)).finish()
    }
}

/// A task's settings with some (`key=value`, without the prefix `task.`) changed from their defaults.
///
/// # Errors
/// An unknown key or an unfit value.
pub fn options(task: &dyn Task, settings: &[&str]) -> Result<TaskOptions, ConfigError> {
    let mut all = Settings::new(task.keys());
    for setting in settings {
        all.set_text(&format!("task.{setting}"), Origin::CommandLine)?;
    }
    Ok(all.section("task"))
}

/// What the names of tasks begin with that a call in a Python process makes.
const LOCAL: &str = "local/";

/// Why a task of another process cannot be had here.
fn local(name: &str) -> String {
    format!(
        "\"{name}\" was made by a call in a Python process: resume with motley.train(task=THE_SAME_CALL, resume=RUN), play with \
        motley.load(RUN).act(...), or put the call into a module and train py:MODULE:CALLABLE"
    )
}

/// The error for a name that is none of `known`.
pub(crate) fn unknown(name: &str, known: impl Iterator<Item = String>) -> ConfigError {
    let known: Vec<String> = known.collect();
    ConfigError::UnknownName { what: "task", name: name.to_owned(), nearest: nearest(name, known.iter().map(String::as_str)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_keys_are_the_tasks_own() {
        let registry = Registry::builtin();
        let mut names: Vec<String> = registry.iter().map(Task::name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        for task in registry.iter() {
            assert!(task.keys().iter().all(|k| k.name.starts_with("task.") && !k.help.is_empty()), "{}", task.name());
            let env = task.make(&options(task, &[]).unwrap()).unwrap();
            assert_eq!(env.spec().task, task.name());
        }
        assert_eq!(registry.suites()["mpe"].len(), 12);
        assert_eq!(registry.suites()["matrix"].len(), 6);
        assert_eq!(registry.suites()["vmas"].len(), 22);
        assert_eq!(registry.suites()["skirmish"].len(), 23 + 15 + 4);
    }

    #[test]
    fn a_misspelt_name_or_key_is_answered_with_the_nearest() {
        let registry = Registry::builtin();
        let text = |e: ConfigError| e.to_string();
        assert!(text(registry.get("mpe/simple_spred_v3").err().unwrap()).contains("\"mpe/simple_spread_v3\""));
        assert!(text(registry.get("climbing").err().unwrap()).contains("\"matrix/climbing\""));
        assert!(text(registry.make("mpe/simple_v3", &["continous=true"]).err().unwrap()).contains("\"task.continuous\""));
        assert!(text(registry.make("mpe/simple_v3", &["flavour=v4"]).err().unwrap()).contains("one of v3"));
        assert!(registry.make("mpe/simple_line_v1", &["flavour=v2"]).is_err(), "there never was an older one");
        let both = text(registry.get("simple_spread").err().unwrap());
        assert!(both.contains("\"mpe/simple_spread_v3\" or \"vmas/simple_spread\""), "{both}");
        let local = text(registry.get("local/<lambda>").err().unwrap());
        assert!(local.contains("motley.train(task=THE_SAME_CALL, resume=RUN)"), "{local}");
    }

    #[test]
    fn a_users_task_replaces_the_built_in_one() {
        struct Mine;
        impl Task for Mine {
            fn name(&self) -> String {
                "matrix/climbing".into()
            }
            fn summary(&self) -> String {
                "mine".into()
            }
            fn keys(&self) -> Vec<motley_core::Key> {
                Vec::new()
            }
            fn make(&self, _options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
                Err(ConfigError::Invalid("mine".into()))
            }
        }
        let before = Registry::builtin();
        let after = before.clone().with(Arc::new(Mine) as Arc<dyn Task>);
        assert_eq!(after.iter().count(), before.iter().count());
        assert_eq!(after.get("matrix/climbing").unwrap().summary(), "mine");
    }

    #[test]
    fn a_family_makes_tasks_by_name() {
        struct Steps(u32);
        impl Task for Steps {
            fn name(&self) -> String {
                format!("count/to_{}", self.0)
            }
            fn summary(&self) -> String {
                String::new()
            }
            fn keys(&self) -> Vec<motley_core::Key> {
                Vec::new()
            }
            fn make(&self, _options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
                Err(ConfigError::Invalid("not needed".into()))
            }
        }
        struct Counting;
        impl TaskFamily for Counting {
            fn pattern(&self) -> String {
                "count/to_{n}".into()
            }
            fn summary(&self) -> String {
                String::new()
            }
            fn task(&self, name: &str) -> Result<Option<Arc<dyn Task>>, ConfigError> {
                let Some(n) = name.strip_prefix("count/to_") else { return Ok(None) };
                let n = n.parse().map_err(|_| ConfigError::Invalid(format!("{name}: {n} is no number")))?;
                Ok(Some(Arc::new(Steps(n))))
            }
        }
        let registry = Registry::builtin().with_family(Arc::new(Counting) as Arc<dyn TaskFamily>);
        assert_eq!(registry.get("count/to_7").unwrap().name(), "count/to_7");
        assert_eq!(registry.get("matrix/climbing").unwrap().name(), "matrix/climbing");
        assert!(registry.get("count/to_many").err().unwrap().to_string().contains("no number"));
        assert!(registry.get("count/to7").err().unwrap().to_string().contains("count/to_{n}"), "the pattern is offered");
        assert_eq!(registry.iter().count(), Registry::builtin().iter().count(), "families are not listed as tasks");
    }
}

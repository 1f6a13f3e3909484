//! Every task by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use motley_core::error::nearest;
use motley_core::{ConfigError, Env, Origin, Settings, Task, TaskOptions};

/// The tasks that a program knows: the built-in ones and the user's own.
#[derive(Clone, Default)]
pub struct Registry {
    tasks: Vec<Arc<dyn Task>>,
}

impl Registry {
    /// The tasks of this crate: one line a suite, each of which has one line a task.
    pub fn builtin() -> Self {
        let mut tasks = Vec::new();
        tasks.extend(crate::matrix::tasks());
        tasks.extend(crate::mpe::tasks());
        Self { tasks }
    }

    /// With one task more; it takes the place of a task of the same name.
    #[must_use]
    pub fn with(mut self, task: impl Into<Arc<dyn Task>>) -> Self {
        let task = task.into();
        self.tasks.retain(|known| known.name() != task.name());
        self.tasks.push(task);
        self
    }

    /// The task of that name.
    ///
    /// # Errors
    /// [`ConfigError::UnknownName`] with the nearest names.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Task>, ConfigError> {
        let found = self.tasks.iter().find(|task| task.name() == name);
        found.cloned().ok_or_else(|| unknown(name, self.iter().map(Task::name)))
    }

    /// All tasks, suite by suite.
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
}

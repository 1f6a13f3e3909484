//! A task: an environment with its settings, by name.

use std::sync::Arc;

use crate::{ConfigError, Env, Key, Settings};

/// The resolved `task.*` settings, names without the prefix.
pub type TaskOptions = Settings;

/// A registered task. One static per task file, one line in the registry.
pub trait Task: Send + Sync {
    /// `suite/name`.
    fn name(&self) -> String;

    /// One line for `motley list tasks`.
    fn summary(&self) -> String;

    /// Its settings (`task.*`), with defaults, ranges and what they mean.
    fn keys(&self) -> Vec<Key>;

    /// One copy of the environment.
    ///
    /// # Errors
    /// Settings that do not go together, or a missing outside part.
    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError>;

    /// Whether this build on this computer has all that the task needs. Without more said one copy is made to see; a task whose copies
    /// are dear says what it lacks without one.
    ///
    /// # Errors
    /// [`ConfigError::Missing`], or as [`Task::make`].
    fn available(&self, options: &TaskOptions) -> Result<(), ConfigError> {
        self.make(options).map(drop)
    }

    /// Whether its name chooses code that making it runs, as `py:MODULE:CALLABLE` does. Such a task is not opened on the word of a file
    /// alone.
    fn runs_code(&self) -> bool {
        false
    }

    /// Its settings (`task.*`) that choose what code runs, or what that code is given: where a file sets one of them, its word alone does not
    /// open the task either.
    fn code_keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Settings outside `task.*` that suit this task, as dotted keys (the layer "task defaults").
    fn defaults(&self) -> Vec<(String, toml::Value)> {
        Vec::new()
    }
}

/// Tasks whose names follow a pattern, made when one is asked for: `py:module:callable`, or a suite with a rule for its names.
pub trait TaskFamily: Send + Sync {
    /// The pattern, for `motley list tasks` and for messages: `py:MODULE:CALLABLE`.
    fn pattern(&self) -> String;

    /// One line for `motley list tasks`.
    fn summary(&self) -> String;

    /// The task of that name, or `None` where the name is none of this family's. The task's own name must be `name`.
    ///
    /// # Errors
    /// A name of this family that says something impossible.
    fn task(&self, name: &str) -> Result<Option<Arc<dyn Task>>, ConfigError>;
}

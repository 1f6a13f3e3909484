//! A task: an environment with its settings, by name.

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

    /// Settings outside `task.*` that suit this task, as dotted keys (the layer "task defaults").
    fn defaults(&self) -> Vec<(String, toml::Value)> {
        Vec::new()
    }
}

//! Motley's MuJoCo suites: tasks on the real physics of MuJoCo, linked and never imitated.
//!
//! [`mamujoco`] has robots whose joints are shared out among agents, [`hands`] two dexterous hands. The engine comes in with the feature
//! `engine`; without it the tasks are known by name and [`Task::make`] says what is missing and how to get it.

#[cfg(feature = "engine")]
pub mod engine;
pub mod hands;
pub mod mamujoco;
#[cfg(feature = "engine")]
#[cfg(feature = "engine")]
mod photo;
#[cfg(feature = "engine")]
mod view;

use std::sync::Arc;

use motley_core::{Task, TaskFamily};

/// The version of MuJoCo that the tasks are defined by: another one gives other numbers.
pub const MUJOCO: &str = "3.17.0";

/// How a program without the engine gets it.
pub const MEND: &str = "run scripts/get-mujoco, then build with the feature: cargo build --release --features mujoco \
    (the Python package: pip install . --config-settings=build-args=--features=mujoco)";

/// Every task of the crate.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    let mut tasks = mamujoco::tasks();
    tasks.extend(hands::tasks());
    tasks
}

/// Every family of tasks of the crate.
pub fn families() -> Vec<Arc<dyn TaskFamily>> {
    mamujoco::families()
}

/// The version of the linked engine, `None` in builds without it.
pub fn linked() -> Option<String> {
    #[cfg(feature = "engine")]
    return Some(engine::version());
    #[cfg(not(feature = "engine"))]
    None
}

/// Who draws the pictures of the linked engine's own renderer, in words; `None` in builds without the engine.
///
/// # Errors
/// [`motley_core::ConfigError::Missing`] where nothing is found to draw with, another variant where the environment variable
/// `MUJOCO_GL` forbids it.
pub fn renderer() -> Option<Result<&'static str, motley_core::ConfigError>> {
    #[cfg(feature = "engine")]
    return Some(photo::survey());
    #[cfg(not(feature = "engine"))]
    None
}

/// What a build lacks for the tasks, told without compiling a model.
fn available() -> Result<(), motley_core::ConfigError> {
    #[cfg(feature = "engine")]
    return engine::right_version();
    #[cfg(not(feature = "engine"))]
    Err(missing())
}

/// The error of a build without the engine.
#[cfg(not(feature = "engine"))]
fn missing() -> motley_core::ConfigError {
    motley_core::ConfigError::Missing { what: format!("MuJoCo {MUJOCO}"), mend: MEND.into() }
}

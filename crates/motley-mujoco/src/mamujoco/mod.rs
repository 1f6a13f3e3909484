//! Multi-agent MuJoCo: a robot whose joints are shared out among agents.
//!
//! The rules are Gymnasium's, the factorisations and observations those of Gymnasium-Robotics' MAMuJoCo v1 (`obs = "obsk"`,
//! `actions = "scatter"`) or of HARL (`obs = "full"`, `actions = "concat"`, `base = "v2"`). Given the same start and actions,
//! positions, velocities and observations have the bits of gymnasium-robotics 1.4.2 on MuJoCo 3.17.0.

#[cfg(feature = "engine")]
mod env;
pub mod graph;
#[cfg(feature = "engine")]
mod models;
mod options;
pub mod robots;
#[cfg(feature = "engine")]
mod rules;

use std::sync::Arc;

use motley_core::{ConfigError, Env, Key, Task, TaskOptions};

#[cfg(feature = "engine")]
pub use env::RobotEnv;
pub use options::{ActionMap, Observe, Options};
use robots::{ROBOTS, Robot};

/// A robot, with its factorisation where that is in the task's name.
struct RobotTask {
    robot: Robot,
    conf: Option<&'static str>,
}

impl Task for RobotTask {
    fn name(&self) -> String {
        let robot = self.robot.name();
        self.conf.map_or_else(|| format!("mamujoco/{robot}"), |conf| format!("mamujoco/{robot}-{conf}"))
    }

    fn summary(&self) -> String {
        let how = match self.conf {
            None => "factorisation of your own",
            Some("9|8") => "upper and lower body",
            Some("3p") => "shoulder, elbow, wrist",
            Some("1p1") => "an agent each",
            Some("2x4d") => "diagonal pairs of legs",
            Some(conf) => return format!("{}, {conf}", self.robot.goal()),
        };
        format!("{}, {how}", self.robot.goal())
    }

    fn keys(&self) -> Vec<Key> {
        options::keys(self.robot, self.conf)
    }

    #[cfg(feature = "engine")]
    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Ok(Box::new(RobotEnv::new(&self.name(), &Options::read(self.robot, self.conf, options)?)?))
    }

    #[cfg(not(feature = "engine"))]
    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Options::read(self.robot, self.conf, options)?;
        Err(crate::missing())
    }

    /// Twenty copies, as in the published runs of HARL.
    fn defaults(&self) -> Vec<(String, toml::Value)> {
        vec![("num_envs".to_owned(), toml::Value::Integer(20))]
    }
}

fn table() -> impl Iterator<Item = RobotTask> {
    let named = |robot: Robot| robot.confs().iter().map(move |conf| RobotTask { robot, conf: Some(conf) });
    ROBOTS.into_iter().flat_map(move |robot| named(robot).chain([RobotTask { robot, conf: None }]))
}

/// The suite's tasks: each robot in its named factorisations, and once for factorisations of one's own.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    table().map(|task| Arc::new(task) as Arc<dyn Task>).collect()
}

/// One robot with what comparing needs; `name` as in `mamujoco/Ant-4x2`.
///
/// # Errors
/// An unknown name, or as [`RobotEnv::new`].
#[cfg(feature = "engine")]
pub fn open(name: &str, options: &TaskOptions) -> Result<RobotEnv, ConfigError> {
    let Some(task) = table().find(|task| task.name() == name) else {
        return Err(ConfigError::UnknownName { what: "task", name: name.to_owned(), nearest: Vec::new() });
    };
    RobotEnv::new(name, &Options::read(task.robot, task.conf, options)?)
}

#[cfg(test)]
mod tests;

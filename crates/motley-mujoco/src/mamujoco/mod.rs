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

use std::borrow::Cow;
use std::sync::Arc;

use motley_core::{ConfigError, Env, Key, Task, TaskFamily, TaskOptions};

#[cfg(feature = "engine")]
pub use env::RobotEnv;
pub use options::{ActionMap, Observe, Options};
use robots::{ROBOTS, Robot};

/// A robot, with its factorisation where that is in the task's name.
struct RobotTask {
    robot: Robot,
    conf: Option<Cow<'static, str>>,
}

impl Task for RobotTask {
    fn name(&self) -> String {
        let robot = self.robot.name();
        self.conf.as_ref().map_or_else(|| format!("mamujoco/{robot}"), |conf| format!("mamujoco/{robot}-{conf}"))
    }

    fn summary(&self) -> String {
        let how = match self.conf.as_deref() {
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
        options::keys(self.robot, self.conf.as_deref())
    }

    #[cfg(feature = "engine")]
    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Ok(Box::new(RobotEnv::new(&self.name(), &Options::read(self.robot, self.conf.as_deref(), options)?)?))
    }

    #[cfg(not(feature = "engine"))]
    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Options::read(self.robot, self.conf.as_deref(), options)?;
        Err(crate::missing())
    }

    fn available(&self, _options: &TaskOptions) -> Result<(), ConfigError> {
        crate::available()
    }

    /// Twenty copies, as in the published runs of HARL.
    fn defaults(&self) -> Vec<(String, toml::Value)> {
        vec![("num_envs".to_owned(), toml::Value::Integer(20))]
    }
}

fn table() -> impl Iterator<Item = RobotTask> {
    let named = |robot: Robot| robot.confs().iter().map(move |conf| RobotTask { robot, conf: Some(Cow::Borrowed(*conf)) });
    ROBOTS.into_iter().flat_map(move |robot| named(robot).chain([RobotTask { robot, conf: None }]))
}

/// The suite's tasks: each robot in its named factorisations, and once for factorisations of one's own.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    table().map(|task| Arc::new(task) as Arc<dyn Task>).collect()
}

/// A segmented robot with any `AxB` in its name.
struct Segmented(Robot);

impl Segmented {
    fn find(&self, name: &str) -> Result<Option<RobotTask>, ConfigError> {
        let conf = name.strip_prefix("mamujoco/").and_then(|rest| rest.strip_prefix(self.0.name())?.strip_prefix('-'));
        let Some(conf) = conf else { return Ok(None) };
        let (agents, each) = self.0.segments(conf)?;
        // `02x3` would be a second name of `2x3`.
        let proper = format!("{agents}x{each}");
        Ok((proper == conf).then_some(RobotTask { robot: self.0, conf: Some(Cow::Owned(proper)) }))
    }
}

impl TaskFamily for Segmented {
    fn pattern(&self) -> String {
        format!("mamujoco/{}-AxB", self.0.name())
    }

    fn summary(&self) -> String {
        format!("{}: A agents of B segments each", self.0.goal())
    }

    fn task(&self, name: &str) -> Result<Option<Arc<dyn Task>>, ConfigError> {
        Ok(self.find(name)?.map(|task| Arc::new(task) as Arc<dyn Task>))
    }
}

fn segmented() -> impl Iterator<Item = Segmented> {
    ROBOTS.into_iter().filter(|robot| robot.is_segmented()).map(Segmented)
}

/// The suite's families of tasks: the segmented robots.
pub fn families() -> Vec<Arc<dyn TaskFamily>> {
    segmented().map(|family| Arc::new(family) as Arc<dyn TaskFamily>).collect()
}

/// One robot with what comparing needs; `name` as in `mamujoco/Ant-4x2`.
///
/// # Errors
/// An unknown name, or as [`RobotEnv::new`].
#[cfg(feature = "engine")]
pub fn open(name: &str, options: &TaskOptions) -> Result<RobotEnv, ConfigError> {
    let listed = table().find(|task| task.name() == name);
    let found = match listed {
        Some(task) => Some(task),
        None => segmented().find_map(|family| family.find(name).transpose()).transpose()?,
    };
    let Some(task) = found else {
        return Err(ConfigError::UnknownName { what: "task", name: name.to_owned(), nearest: Vec::new() });
    };
    RobotEnv::new(name, &Options::read(task.robot, task.conf.as_deref(), options)?)
}

#[cfg(test)]
mod tests;

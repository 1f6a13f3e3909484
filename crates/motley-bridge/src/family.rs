//! The names of foreign environments, and their settings.

use std::sync::Arc;
#[cfg(unix)]
use std::sync::{Mutex, PoisonError};

use motley_core::error::nearest;
use motley_core::{ConfigError, Env, Key, Kind, Task, TaskFamily, TaskOptions};

#[cfg(unix)]
use crate::pool::{Pool, Source};

/// The scenarios of Google Research Football whose agents are known (`football/...`).
const FOOTBALL: [&str; 7] = [
    "academy_pass_and_shoot_with_keeper",
    "academy_run_pass_and_shoot_with_keeper",
    "academy_3_vs_1_with_keeper",
    "academy_counterattack_easy",
    "academy_counterattack_hard",
    "academy_corner",
    "academy_single_goal_versus_lazy",
];

/// The families of this crate, for a registry.
pub fn families() -> Vec<Arc<dyn TaskFamily>> {
    let family = |kind, prefix, pattern, example, summary| -> Arc<dyn TaskFamily> {
        Arc::new(Family { kind, prefix, pattern, example, summary })
    };
    vec![
        family(
            "py",
            "py:",
            "py:MODULE:CALLABLE",
            "py:mpe2.simple_spread_v3:parallel_env",
            "a PettingZoo ParallelEnv, Gymnasium Env or environment of SMAC's kind from Python, in worker processes",
        ),
        family(
            "gym",
            "gym/",
            "gym/ID",
            "gym/CartPole-v1",
            "an environment registered with Gymnasium: a team of one, or of as many as its Tuple spaces have parts",
        ),
        family(
            "football",
            "football/",
            "football/SCENARIO",
            "football/academy_3_vs_1_with_keeper",
            "Google Research Football's academy (built with scripts/football)",
        ),
    ]
}

struct Family {
    kind: &'static str,
    prefix: &'static str,
    pattern: &'static str,
    example: &'static str,
    summary: &'static str,
}

impl TaskFamily for Family {
    fn pattern(&self) -> String {
        self.pattern.into()
    }

    fn summary(&self) -> String {
        self.summary.into()
    }

    fn task(&self, name: &str) -> Result<Option<Arc<dyn Task>>, ConfigError> {
        let Some(target) = name.strip_prefix(self.prefix) else { return Ok(None) };
        let whole = match self.kind {
            "py" => target.split_once(':').is_some_and(|(module, callable)| !module.is_empty() && !callable.is_empty()),
            _ => !target.is_empty(),
        };
        if !whole {
            return Err(ConfigError::Invalid(format!(
                "\"{name}\" names no environment: write {}, for example {}",
                self.pattern, self.example
            )));
        }
        if self.kind == "football" && !FOOTBALL.contains(&target) {
            let nearest = nearest(target, FOOTBALL).iter().map(|s| format!("{}{s}", self.prefix)).collect();
            return Err(ConfigError::UnknownName { what: "task", name: name.into(), nearest });
        }
        Ok(Some(Arc::new(ForeignTask {
            name: name.to_owned(),
            summary: self.summary,
            #[cfg(unix)]
            kind: self.kind,
            #[cfg(unix)]
            target: target.to_owned(),
            #[cfg(unix)]
            pools: Mutex::default(),
        })))
    }
}

/// A foreign environment by name. Its copies share workers as long as any of them, or the task, lives.
pub struct ForeignTask {
    name: String,
    summary: &'static str,
    #[cfg(unix)]
    kind: &'static str,
    #[cfg(unix)]
    target: String,
    #[cfg(unix)]
    pools: Mutex<Vec<(TaskOptions, Arc<Pool>)>>,
}

impl Task for ForeignTask {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn summary(&self) -> String {
        self.summary.into()
    }

    fn keys(&self) -> Vec<Key> {
        let none = toml::Value::Table(toml::Table::new());
        let seconds = Kind::Float(0.01, 86_400.0);
        vec![
            Key::new("task.kwargs", none, Kind::Any, "keyword arguments, as in {N=3, continuous_actions=true}"),
            Key::new("task.workers", 0, Kind::Int(0, 1024), "worker processes at most; 0 is as many as there are cores"),
            Key::new("task.step_timeout", 30.0, seconds.clone(), "seconds after which a step counts as hung"),
            Key::new("task.reset_timeout", 120.0, seconds, "seconds that building or resetting may take"),
            Key::new(
                "task.max_steps",
                0,
                Kind::Int(0, 1_000_000_000),
                "steps after which an episode is truncated; 0 leaves it to the environment",
            ),
        ]
    }

    /// All of them call Python with whatever `task.kwargs` holds.
    fn runs_code(&self) -> bool {
        true
    }

    fn code_keys(&self) -> &'static [&'static str] {
        &["task.kwargs"]
    }

    #[cfg(unix)]
    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Ok(Box::new(crate::ForeignEnv::new(self.pool(options)?)?))
    }

    #[cfg(not(unix))]
    fn make(&self, _options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Err(ConfigError::Missing {
            what: "a way to run environments in worker processes on this system".into(),
            mend: "run Motley on Linux, macOS or the Windows Subsystem for Linux".into(),
        })
    }
}

#[cfg(unix)]
impl ForeignTask {
    fn pool(&self, options: &TaskOptions) -> Result<Arc<Pool>, ConfigError> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pool)) = pools.iter().find(|(known, _)| known == options) {
            return Ok(Arc::clone(pool));
        }
        let kwargs = match options.value("kwargs")? {
            table @ toml::Value::Table(_) => serde_json::to_value(table).map_err(|e| ConfigError::Invalid(e.to_string()))?,
            other => {
                return Err(ConfigError::Value {
                    key: "task.kwargs".into(),
                    expected: "a table of keyword arguments, as in {N=3}".into(),
                    found: other.to_string(),
                });
            }
        };
        let workers = match options.get::<usize>("workers")? {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let pool = Arc::new(Pool::new(Source {
            task: self.name.clone(),
            kind: self.kind,
            target: self.target.clone(),
            kwargs,
            workers,
            step_patience: std::time::Duration::from_secs_f64(options.get("step_timeout")?),
            reset_patience: std::time::Duration::from_secs_f64(options.get("reset_timeout")?),
            max_steps: options.get("max_steps")?,
        }));
        pools.push((options.clone(), Arc::clone(&pool)));
        Ok(pool)
    }
}

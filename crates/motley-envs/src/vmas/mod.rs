//! Robots: wheeled bodies that push, carry and make way for each other, with the rules of vmas 1.5.2.
//!
//! Written from a description of the rules and held to recorded traces ([`check_trace`]): a step from a recorded state
//! gives that step's result to rounding. Whether two bodies touch is decided in each environment by itself, where vmas lets a batch
//! decide together; the book lists this and other deliberate differences. [`world`] holds the physics, each scenario has its own file,
//! [`Robots`] runs an episode.

mod balance;
mod ball_passage;
mod ball_trajectory;
mod barrier;
mod buzz_wire;
mod contact;
mod controller;
mod discovery;
mod dispersion;
mod dropout;
mod elementary;
mod env;
mod flocking;
mod football;
mod give_way;
mod het_mass;
mod joint_passage;
mod joint_passage_size;
mod lidar;
mod multi_give_way;
mod navigation;
mod passage;
mod replay;
mod rod;
mod sampling;
mod scenario;
mod scene;
mod shape;
mod simple_spread;
mod transport;
mod wheel;
mod wind_flocking;
pub mod world;

use std::marker::PhantomData;
use std::sync::Arc;

use motley_core::{ConfigError, Env, Key, Task, TaskOptions};

pub use env::Robots;
use replay::Replay;
pub use replay::check_trace;
use scenario::{Scenario, suite_keys};

type Opener = fn(&TaskOptions) -> Result<Box<dyn Replay>, ConfigError>;

struct RobotTask<S> {
    scenario: PhantomData<fn() -> S>,
}

impl<S: Scenario> Task for RobotTask<S> {
    fn name(&self) -> String {
        format!("vmas/{}", S::NAME)
    }

    fn summary(&self) -> String {
        S::SUMMARY.to_owned()
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = suite_keys(S::MAX_STEPS);
        keys.extend(<S as Scenario>::keys());
        keys
    }

    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Ok(Box::new(Robots::<S>::new(options)?))
    }

    /// Episodes are long and cheap: many copies, as in the published runs.
    fn defaults(&self) -> Vec<(String, toml::Value)> {
        vec![("num_envs".to_owned(), toml::Value::Integer(60))]
    }
}

fn entry<S: Scenario>() -> (Arc<dyn Task>, Opener) {
    (Arc::new(RobotTask::<S> { scenario: PhantomData }), |options| Ok(Box::new(Robots::<S>::new(options)?)))
}

fn table() -> Vec<(Arc<dyn Task>, Opener)> {
    vec![
        entry::<het_mass::HetMass>(),
        entry::<give_way::GiveWay>(),
        entry::<multi_give_way::MultiGiveWay>(),
        entry::<joint_passage::JointPassage>(),
        entry::<joint_passage_size::JointPassageSize>(),
        entry::<wind_flocking::WindFlocking>(),
        entry::<passage::Passage>(),
        entry::<navigation::Navigation>(),
        entry::<balance::Balance>(),
        entry::<wheel::Wheel>(),
        entry::<transport::Transport>(),
        entry::<transport::ReverseTransport>(),
        entry::<dropout::Dropout>(),
        entry::<dispersion::Dispersion>(),
        entry::<sampling::Sampling>(),
        entry::<discovery::Discovery>(),
        entry::<flocking::Flocking>(),
        entry::<ball_passage::BallPassage>(),
        entry::<ball_trajectory::BallTrajectory>(),
        entry::<buzz_wire::BuzzWire>(),
        entry::<simple_spread::SimpleSpread>(),
        entry::<football::Football>(),
    ]
}

/// The suite's tasks.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    table().into_iter().map(|(task, _)| task).collect()
}

/// One environment of the suite with what comparing needs; `name` as in `vmas/give_way`.
fn open(name: &str, options: &TaskOptions) -> Result<Box<dyn Replay>, ConfigError> {
    let table = table();
    match table.iter().find(|(task, _)| task.name() == name) {
        Some((_, open)) => open(options),
        None => Err(crate::registry::unknown(name, table.iter().map(|(task, _)| task.name()))),
    }
}

#[cfg(test)]
mod tests;

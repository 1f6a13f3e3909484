//! The multi-agent particle environments: nine scenarios of the `_v3` generation and mpe2's three later ones.
//!
//! States and observations have the bits of mpe2 1.1.1, from the numpy seed on; rewards agree to 1e-12. One difference is
//! deliberate: where `terminate_on_success` ends an episode in its very last step, it is terminated here and truncated there.
//! [`world`] holds the physics, each scenario has its own file, [`Particles`] runs an episode.

mod assignment;
mod collect_treasure;
mod env;
pub mod numpy_rng;
mod scenario;
mod scene;
mod simple;
mod simple_adversary;
mod simple_crypto;
mod simple_formation;
mod simple_line;
mod simple_push;
mod simple_reference;
mod simple_speaker_listener;
mod simple_spread;
mod simple_tag;
mod simple_world_comm;
pub mod world;

use std::marker::PhantomData;
use std::sync::Arc;

use motley_core::{ConfigError, Env, EnvError, Frame, Key, Kind, Task, TaskOptions};

pub use env::{Particles, RawState};
use scenario::{Scenario, count};

/// What comparing with a recorded episode needs besides [`Env`].
pub trait Replay: Env {
    /// Starts the episode that mpe2's `reset(seed)` starts.
    fn reset_from(&mut self, numpy_seed: u64, out: &mut Frame<'_>);

    /// What an episode has changed so far.
    fn raw(&self) -> RawState;

    /// Puts the world into a state and starts counting steps anew; the frame receives what is seen there.
    ///
    /// # Errors
    /// A state of another task or of other settings.
    fn set_raw(&mut self, raw: &RawState, out: &mut Frame<'_>) -> Result<(), EnvError>;
}

type Opener = fn(&TaskOptions) -> Result<Box<dyn Replay>, ConfigError>;

struct ParticleTask<S> {
    scenario: PhantomData<fn() -> S>,
}

impl<S: Scenario> Task for ParticleTask<S> {
    fn name(&self) -> String {
        format!("mpe/{}", S::NAME)
    }

    fn summary(&self) -> String {
        S::SUMMARY.to_owned()
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = vec![
            Key::new("task.continuous", false, Kind::Bool, "continuous actions in 0..=1 instead of discrete ones"),
            count("max_cycles", 25, 1, i64::from(u32::MAX), "steps after which an episode is truncated"),
        ];
        if S::OLD_FLAVOURS {
            let help = "generation of the rules: v3 (mpe2), v2.5 (PettingZoo 1.23.0 to 1.24.0), v2 (up to 1.22, as in HARL)";
            keys.push(Key::new("task.flavour", "v3", Kind::Choice(&["v3", "v2.5", "v2"]), help));
        }
        keys.extend(S::keys());
        keys
    }

    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        Ok(Box::new(Particles::<S>::new(options)?))
    }

    /// Episodes are short and cheap: twenty copies, as in the published runs of HARL.
    fn defaults(&self) -> Vec<(String, toml::Value)> {
        vec![("num_envs".to_owned(), toml::Value::Integer(20))]
    }
}

fn entry<S: Scenario>() -> (Arc<dyn Task>, Opener) {
    (Arc::new(ParticleTask::<S> { scenario: PhantomData }), |options| Ok(Box::new(Particles::<S>::new(options)?)))
}

fn table() -> Vec<(Arc<dyn Task>, Opener)> {
    vec![
        entry::<simple::Simple>(),
        entry::<simple_spread::Spread>(),
        entry::<simple_reference::Reference>(),
        entry::<simple_speaker_listener::SpeakerListener>(),
        entry::<simple_adversary::Adversary>(),
        entry::<simple_crypto::Crypto>(),
        entry::<simple_push::Push>(),
        entry::<simple_tag::Tag>(),
        entry::<simple_world_comm::WorldComm>(),
        entry::<simple_formation::Formation>(),
        entry::<simple_line::Line>(),
        entry::<collect_treasure::Collect>(),
    ]
}

/// The suite's tasks.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    table().into_iter().map(|(task, _)| task).collect()
}

/// One environment of the suite with what comparing needs; `name` as in `mpe/simple_spread_v3`.
///
/// # Errors
/// An unknown name, or settings that are missing.
pub fn open(name: &str, options: &TaskOptions) -> Result<Box<dyn Replay>, ConfigError> {
    let table = table();
    match table.iter().find(|(task, _)| task.name() == name) {
        Some((_, open)) => open(options),
        None => Err(crate::registry::unknown(name, table.iter().map(|(task, _)| task.name()))),
    }
}

#[cfg(test)]
mod tests;

//! The shared vocabulary of Motley, free of tensors: what a team is ([`TeamSpec`]), what an environment owes
//! ([`Env`]), where randomness comes from ([`Stream`]), how settings are layered and checked ([`config`]).
//!
//! Every other crate depends on this one and on nothing above itself.

pub mod config;
pub mod env;
pub mod error;
pub mod guard;
pub mod metrics;
pub mod phase;
pub mod rng;
pub mod scene;
pub mod secret;
pub mod spec;
pub mod task;
pub mod unified;

pub use config::{Key, Kind, Origin, SHARE, Settings};
pub use env::{Actions, Env, Frame, FrameBuf, Status};
pub use error::{ConfigError, EnvError};
pub use metrics::Metrics;
pub use phase::Phase;
pub use rng::{Purpose, Stream, StreamState};
pub use scene::{Color, Photo, Scene, Shape};
pub use spec::{ActionMeaning, ActionSpace, AgentSpec, ObsSpace, RewardKind, Share, SpecError, StateSpace, TeamSpec};
pub use task::{Task, TaskFamily, TaskOptions};
pub use unified::{Lift, UnifiedSpace};

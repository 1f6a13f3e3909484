//! The training loop: [`settings`] (names and layers to a plan), [`collect`], [`evaluate`], [`trainer`] (the loop with logs
//! and checkpoints), [`crew`] (environments in other processes), [`bundle`] (what is needed to act).

mod budget;
pub mod bundle;
pub mod collect;
pub mod consent;
mod crash;
pub mod crew;
mod error;
pub mod evaluate;
mod event;
mod faults;
mod file;
pub mod names;
pub mod presets;
pub mod recovery;
pub mod settings;
pub mod trainer;
mod values;

pub use budget::threads;
pub use collect::MakeEnv;
pub use consent::Consent;
pub use crew::How;
pub use error::TrainError;
pub use evaluate::{EvalPlan, EvalSummary, evaluate};
pub use event::{Event, NOT_DURABLE, NOT_LOGGED, NOT_WRITTEN, Outcome};
pub use file::read_file;
pub use settings::{Plan, Registry, Request, keys, recall_secrets};
pub use trainer::Trainer;

//! The run folder of Motley: hashed checkpoints, logs, locks, policy bundles.
//!
//! A run is a folder ([`folder`]) with a configuration, append-only logs ([`sinks`], read back by [`logs`]), checkpoints
//! ([`checkpoint`], made of a [`state`] and a [`manifest`]) and the bundle of the best policy ([`bundle`]). Nothing in it is
//! executed on load, names in it never become paths, and after a crash at any moment it still holds the last complete
//! checkpoint.

pub mod bundle;
pub mod checkpoint;
pub mod clock;
pub mod disk;
pub mod error;
pub mod folder;
mod lock;
pub mod logs;
pub mod manifest;
pub mod mark;
pub mod pieces;
pub mod platform;
pub mod shell;
pub mod sinks;
pub mod state;
mod tensorboard;

pub use bundle::{Bundle, NamedTensor, is_bundle, read_bundle, write_bundle};
pub use checkpoint::{CheckpointStore, Loaded, Saved};
pub use clock::{UtcTime, utc_now};
pub use disk::{Disk, RealDisk};
pub use error::{CheckpointError, Difference, RunError};
pub use folder::{Change, RunFolder, RunInfo, RunStatus, RunView, default_dir, home, neither};
pub use logs::{EvalEpisode, Log, Point, read_eval, read_metrics};
pub use manifest::{CheckpointInfo, Identity, Manifest, diff, fingerprint};
pub use mark::UserKey;
pub use pieces::{PieceHashes, PieceList};
pub use sinks::{Lengths, Sink, Sinks};
pub use state::{StateReader, StateWriter};

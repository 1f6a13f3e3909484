//! The run folder of Motley: hashed checkpoints, logs, locks.

pub mod checkpoint;
pub mod clock;
pub mod disk;
pub mod error;
pub mod manifest;
pub mod state;

pub use checkpoint::{CheckpointStore, Loaded, Saved};
pub use clock::{UtcTime, utc_now};
pub use disk::{Disk, RealDisk};
pub use error::{CheckpointError, Difference, RunError};
pub use manifest::{CheckpointInfo, Identity, Manifest, diff, fingerprint};
pub use state::{StateReader, StateWriter};

//! The run folder of Motley: hashed checkpoints, logs, locks.

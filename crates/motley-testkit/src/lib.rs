//! Probe environments, faulty environments and disks for testing Motley and what is built on it.

pub mod disk;
pub mod env;
pub mod probe;

//! Learning with communication graphs.

pub mod gppo;

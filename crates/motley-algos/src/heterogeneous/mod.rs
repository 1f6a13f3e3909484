//! Heterogeneous-agent learning: agents move one after the other, each knowing how the ones before it moved.

pub mod haa2c;
pub mod haml;
pub mod happo;
pub mod hatrpo;

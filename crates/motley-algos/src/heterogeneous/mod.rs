//! Heterogeneous-agent learning: agents move one after the other, each knowing how the ones before it moved.

pub mod haa2c;
pub mod had3qn;
pub mod haddpg;
pub mod haml;
pub mod happo;
pub mod hasac;
pub mod hatd3;
pub mod hatrpo;

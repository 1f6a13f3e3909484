//! The algorithms of Motley, one file each, on shared pieces: [`on_policy`] (actors, critics, advantages), [`schedule`]
//! (who moves when), [`off_policy`] (replay, critics of joint actions). Adding one is a file and a line in [`algorithm::Registry::builtin`].

pub mod actors;
pub mod algorithm;
pub mod graph;
pub mod heterogeneous;
pub mod independent;
pub mod joint;
pub mod off_policy;
pub mod on_policy;
pub mod policy_gradient;
pub mod reward_norm;
pub mod schedule;
pub mod trust_region;
pub mod unified;
pub mod value_decomposition;

pub use algorithm::{Algorithm, AlgorithmSpec, Registry, RewardMode, UpdateContext};

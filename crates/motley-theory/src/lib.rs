//! Exact tabular cooperative games: the theory of heterogeneous-agent learning, executable.
//!
//! Everything here is enumerated or solved in f64, nothing is sampled but the games themselves: values come from a linear
//! solve, expectations from sums over all joint actions. What the papers state as theorems are inequalities between numbers
//! that this crate computes, and its tests hold them to be so: several quantities (credit assignment, what sharing costs, the bilinear
//! game) are here for those tests and for whoever wants to compute them; `motley theory` reports on the others.
//!
//! Sources: Kuba et al., "Trust Region Policy Optimisation in Multi-Agent Reinforcement Learning" (ICLR 2022); Kuba et al.,
//! "Heterogeneous-Agent Mirror Learning" (2022); Zhong et al., "Heterogeneous-Agent Reinforcement Learning" (JMLR 2024,
//! whose arXiv v1 numbering is used); Foerster et al., "Counterfactual Multi-Agent Policy Gradients" (AAAI 2018); Wolpert
//! and Tumer, "Optimal Payoff Functions for Members of Collectives" (2002).
//!
//! Tables are flat and row-major. A joint action is one number: agent 0 is the slowest digit. A [`ProductPolicy`] is made
//! for the shape of a game; giving it together with a game of another shape is a programming error, as is an order that is
//! not a permutation of the agents.

pub mod bilinear;
pub mod drift;
pub mod error;
pub mod exact;
pub mod game;
pub mod haml;
pub mod hatrl;
pub mod nash;
pub mod neighbourhood;
pub mod policy;
pub mod report;
pub mod sharing;
pub mod simplex;
pub mod utilities;

pub use drift::Drift;
pub use error::TheoryError;
pub use exact::{Evaluation, evaluate};
pub use game::TabularGame;
pub use neighbourhood::Neighbourhood;
pub use policy::ProductPolicy;
pub use report::{Options, Report, report};

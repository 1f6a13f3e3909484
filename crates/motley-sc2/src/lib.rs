//! The real StarCraft II as an environment: the maps of SMAC (`smac/*`) and SMACv2 (`smacv2/*`), played by the game itself.
//!
//! The game is a program of its own, not part of Motley: [`Install`] finds it, `process` starts one for each environment, [`game`] speaks
//! its protocol (protocol buffers over a websocket on this machine), [`proto`] has the messages. What agents see, do and are paid for is
//! the contract that the simulator of `skirmish/*` keeps too ([`motley_envs::skirmish::contract`]), so that a team is trained on
//! either and evaluated on the other. A game that ends, hangs or breaks its word costs its episode ([`motley_core::EnvError`]);
//! the next reset starts another.

mod battle;
pub mod game;
mod install;
mod process;
pub mod proto;
mod socket;
mod tasks;
pub mod terrain;
pub mod units;

pub use battle::RealBattle;
pub use install::{Install, survey};
pub use tasks::{GameOptions, RealTask, families};

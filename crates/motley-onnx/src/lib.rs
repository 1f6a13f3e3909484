//! Policies as ONNX graphs (opset 17, IR 8): masks, recurrent state and normalisation inside, actions in the environment's units.
//!
//! **One actor** (a file for each distinct one). Inputs: `obs` `[B, obs]`; where its network reads its last action, `last_action` in the
//! form of the output `action`; where it is recurrent, `h_in` `[1, B, H]`; with either of these `reset` `[B]` (1: an episode starts, what
//! was before counts nothing); where it chooses, `action_mask` `[B, options]` (1 available, 0 not). Outputs: `action` (int64 `[B]`, or
//! `[B, choices]` where it makes several; float `[B, dim]` in a box), `logits`, or `mean` and `log_std`; `h_out`. The action is the
//! greedy one.
//!
//! **A team** (one file): agents that hear each other, one network that decides for all, or any team by wish. Names end in a dot and
//! the agent's name: `obs.agent_0`, `action_mask.agent_0`, `action.agent_0`. The batch and `reset` are the team's; so are `h_in` and
//! `h_out` where one network decides for all. Who hears whom is inside, also where distances decide it.
//!
//! `verify` (feature `verify`) runs a file with tract and holds it to the policy.

mod export;
mod graph;
mod heads;
mod messages;
mod network;
mod parts;
mod proto;
#[cfg(feature = "verify")]
mod verify;

pub use export::{Exported, OnnxError, export};
#[cfg(feature = "verify")]
pub use verify::verify;

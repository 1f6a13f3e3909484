//! Policies as ONNX graphs (opset 17, IR 8): masks, recurrent state and normalisation inside, actions in the environment's units.
//!
//! Inputs: `obs` `[B, obs]`; `action_mask` `[B, options]` (1 available, 0 not) where the agent chooses; `h_in` `[1, B, H]` and
//! `reset` `[B]` (1 zeroes the state) where the policy is recurrent. Outputs: `action` (int64 choices, or float), `logits`, or
//! `mean` and `log_std`; `h_out`. The action is the greedy one.

mod actor;
mod graph;
mod proto;

pub use actor::{Exported, OnnxError, export};

//! EPyMARL: `config.json` of Sacred, agents in `agent.th`.

use motley_nn::dist::Head;
use motley_train::names::EPYMARL;
use serde_json::Value;

use super::Found;

/// Those whose meaning is spread over settings, or that say nothing about what is learned.
const READ: [&str; 31] = [
    "name",
    "env",
    "env_args",
    "hidden_dim",
    "use_rnn",
    "agent",
    "standardise_rewards",
    "q_nstep",
    "mac",
    "runner",
    "learner",
    "use_cuda",
    "use_tensorboard",
    "use_wandb",
    "wandb_team",
    "wandb_project",
    "wandb_mode",
    "wandb_save_model",
    "save_model",
    "save_model_interval",
    "save_replay",
    "checkpoint_path",
    "load_step",
    "local_results_path",
    "log_interval",
    "runner_log_interval",
    "learner_log_interval",
    "test_greedy",
    "evaluate",
    "render",
    "label",
];

/// Reads the flat table.
///
/// # Errors
/// What is missing.
pub(super) fn read(json: &Value) -> Result<Found, String> {
    let table = json.as_object().ok_or("it is no table")?;
    let text = |name: &str| table.get(name).and_then(Value::as_str);
    let (Some(name), Some(agent)) = (text("name"), text("agent")) else {
        return Err("it is neither HARL's config.json (main_args, algo_args) nor EPyMARL's (name, agent, mac, ...)".into());
    };
    let algo = name.strip_suffix("_ns").unwrap_or(name).to_owned();
    let mut found = Found { library: "EPyMARL", algo, task: None, settings: Vec::new(), left: Vec::new(), names: tensor_names };
    for (name, value) in table {
        let same = EPYMARL.iter().find(|(n, _)| n == name);
        if !same.is_some_and(|(_, key)| found.take(key, value)) && !READ.contains(&name.as_str()) && !value.is_null() {
            found.left.push(format!("{name}={value}"));
        }
    }
    let width = table.get("hidden_dim").and_then(Value::as_i64).unwrap_or(64);
    let recurrent = table.get("use_rnn").and_then(Value::as_bool).unwrap_or(true);
    // Without a GRU a second linear layer stands in its place.
    let widths = if recurrent { vec![width] } else { vec![width, width] };
    found.set("net.hidden_sizes", widths);
    found.set("net.recurrent", recurrent);
    for off in ["net.feature_norm", "net.layer_norm", "net.critic_recurrent"] {
        found.set(off, false);
    }
    // One gradient step follows a round of `batch_size_run` episodes.
    found.set("algo.updates", 1);
    found.set("net.init", "uniform");
    found.set("net.share", if agent.ends_with("_ns") { "none" } else { "all" });
    if let Some(on) = table.get("standardise_rewards").and_then(Value::as_bool) {
        found.set("algo.reward_norm", if on { "standard" } else { "none" });
    }
    if let Some(steps) = table.get("q_nstep").and_then(Value::as_i64) {
        found.set("algo.returns", "n_step");
        found.set("algo.n_step", steps);
    }
    if let Some(steps) = table.get("epochs").and_then(Value::as_i64) {
        found.set("algo.critic_epochs", steps);
    }
    Ok(found)
}

/// `RNNAgent`: `fc1`, a GRU cell (or a linear layer) `rnn`, `fc2`.
fn tensor_names(entry: &str, _: &Head) -> Vec<Vec<String>> {
    let name = match entry.split('.').collect::<Vec<_>>().as_slice() {
        ["hidden", "0", part] => format!("fc1.{part}"),
        ["hidden", "1", part] | ["gru", part] => format!("rnn.{part}"),
        ["output", part] => format!("fc2.{part}"),
        _ => return Vec::new(),
    };
    vec![vec![name]]
}

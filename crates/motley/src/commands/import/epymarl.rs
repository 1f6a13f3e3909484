//! EPyMARL: `config.json` of Sacred, agents in `agent.th`.

use motley_nn::dist::Head;
use motley_train::names::EPYMARL;
use serde_json::{Map, Value};

use super::{Found, Taken};

/// Those whose meaning is spread over settings, or that say nothing about what is learned.
const READ: [&str; 42] = [
    "name",
    "env",
    "env_args",
    "hidden_dim",
    "rnn_hidden_dim",
    "use_rnn",
    "agent",
    "standardise_rewards",
    "standardise_returns",
    "target_update_interval",
    "add_value_last_step",
    "common_reward",
    "reward_scalarisation",
    "hypernet_layers",
    "hypernet_embed",
    "qtran_arch",
    "test_greedy",
    "agent_output_type",
    "mac",
    "runner",
    "learner",
    "use_cuda",
    "buffer_cpu_only",
    "use_tensorboard",
    "use_wandb",
    "wandb_team",
    "wandb_project",
    "wandb_mode",
    "wandb_save_model",
    "save_model",
    "save_model_interval",
    "save_replay",
    "load_step",
    "local_results_path",
    "log_interval",
    "runner_log_interval",
    "learner_log_interval",
    "render",
    "label",
    "repeat_id",
    "hypergroup",
    "critic_q_fn",
];

/// What always holds here, at these values.
const ALWAYS: [(&str, &str); 8] = [
    ("checkpoint_path", "\"\""),
    ("evaluate", "false"),
    ("evaluation_epsilon", "0"),
    ("evaluation_epsilon", "0.0"),
    ("mask_before_softmax", "true"),
    ("critic_baseline_fn", "\"coma\""),
    ("critic_train_mode", "\"seq\""),
    ("critic_train_reps", "1"),
];

/// An algorithm, and what makes it: the mixer, the critic and the choice of actions.
const PARTS: [(&str, &str, &str, &str); 10] = [
    ("iql", "", "", "epsilon_greedy"),
    ("vdn", "vdn", "", "epsilon_greedy"),
    ("qmix", "qmix", "", "epsilon_greedy"),
    ("qtran", "qtran_base", "", "epsilon_greedy"),
    ("ia2c", "", "ac_critic", "soft_policies"),
    ("ippo", "", "ac_critic", "soft_policies"),
    ("maa2c", "", "cv_critic", "soft_policies"),
    ("mappo", "", "cv_critic", "soft_policies"),
    ("coma", "", "coma_critic", "soft_policies"),
    ("pareto-ac", "", "pac_critic", "soft_policies"),
];

/// SMAC's names of what tasks of combat have.
const COMBAT: [(&str, &str); 8] = [
    ("obs_last_action", "task.obs_last_action"),
    ("obs_pathing_grid", "task.obs_pathing"),
    ("obs_terrain_height", "task.obs_terrain"),
    ("obs_timestep_number", "task.obs_timestep"),
    ("obs_own_pos", "task.obs_own_pos"),
    ("reward_sparse", "task.reward_sparse"),
    ("state_last_action", "task.state_last_action"),
    ("state_timestep_number", "task.state_timestep"),
];

/// The flat table.
#[derive(Clone, Copy)]
struct Args<'a>(&'a Map<String, Value>);

impl<'a> Args<'a> {
    fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str)
    }

    fn flag(self, name: &str) -> Option<bool> {
        self.get(name).and_then(Value::as_bool)
    }

    fn whole(self, name: &str) -> Option<i64> {
        self.get(name).and_then(Value::as_i64)
    }

    fn words(self, name: &str) -> String {
        format!("{name}={}", self.0.get(name).unwrap_or(&Value::Null))
    }
}

/// Reads the flat table.
///
/// # Errors
/// What is missing.
pub(super) fn read(json: &Value) -> Result<Found, String> {
    let args = Args(json.as_object().ok_or("it is no table")?);
    let (Some(name), Some(agent)) = (args.text("name"), args.text("agent")) else {
        return Err("it is neither HARL's config.json (main_args, algo_args) nor EPyMARL's (name, agent, mac, ...)".into());
    };
    let algo = match name.strip_suffix("_ns").unwrap_or(name) {
        "pac" | "pac_sarsa" => "pareto-ac",
        other => other,
    };
    let mut found = Found::new("EPyMARL", algo.to_owned(), tensor_names);
    for (name, value) in args.0.iter().filter(|(name, value)| !value.is_null() && !is_read(args, algo, agent, name, value)) {
        match EPYMARL.iter().find(|(n, _)| n == name) {
            Some((_, key)) => found.take(key, value, args.words(name)),
            None => found.left.push(args.words(name)),
        }
    }
    networks(&mut found, args, agent);
    let limit = task(&mut found, args);
    rounds(&mut found, args, limit);
    learner(&mut found, args);
    Ok(found)
}

/// Whether a word is taken over elsewhere, or says nothing.
fn is_read(args: Args, algo: &str, agent: &str, name: &str, value: &Value) -> bool {
    let parts = PARTS.iter().find(|(a, ..)| *a == algo);
    let is = |wanted: &str| value.as_str() == Some(wanted);
    // EPyMARL keeps PyMARL's settings of RMSprop; Adam, which all but QTRAN have there, does not read them.
    let adam = algo != "qtran" && args.get("target_update_interval_or_tau").is_some();
    let own = match name {
        "mixer" => parts.is_some_and(|(_, mixer, ..)| is(mixer)),
        "critic_type" => {
            let kind = value.as_str().unwrap_or_default();
            let plain = kind.strip_suffix("_ns");
            plain.is_some() == agent.ends_with("_ns") && parts.is_some_and(|(_, _, critic, _)| plain.unwrap_or(kind) == *critic)
                || algo == "maddpg" && kind.starts_with("maddpg_critic")
        }
        "state_value_type" => algo == "pareto-ac" && is("cv_critic_ns"),
        "action_selector" => parts.is_some_and(|(.., selector)| is(selector)),
        "optim_alpha" | "optim_eps" => adam,
        "network_size" => is("small"),
        "batch_size" | "buffer_size" => on_policy(algo) && Some(value) == args.get("batch_size_run") || algo == "maddpg",
        "target_update_interval_or_tau" => algo == "maddpg",
        _ => false,
    };
    let said = value.to_string();
    own || READ.contains(&name) || ALWAYS.contains(&(name, said.as_str()))
}

/// Policy gradients learn from the episodes of one round.
fn on_policy(algo: &str) -> bool {
    ["ia2c", "ippo", "maa2c", "mappo", "coma", "pareto-ac"].contains(&algo)
}

/// Agents have a layer, a GRU (or a second layer in its place) and a layer of outputs; critics two layers. All start as PyTorch's do.
fn networks(found: &mut Found, args: Args, agent: &str) {
    let width = args.whole("hidden_dim").or_else(|| args.whole("rnn_hidden_dim")).unwrap_or(64);
    let recurrent = args.flag("use_rnn").unwrap_or(true);
    found.set("net.hidden_sizes", if recurrent { vec![width] } else { vec![width, width] });
    found.set("net.critic_hidden_sizes", vec![width, width]);
    found.set("net.recurrent", recurrent);
    for off in ["net.feature_norm", "net.layer_norm", "net.critic_recurrent"] {
        found.set(off, false);
    }
    found.set("net.activation", "relu");
    found.set("net.init", "uniform");
    found.set("net.output_gain", 1.0);
    found.set("net.share", if agent.ends_with("_ns") { "none" } else { "all" });
    if let Some(layers) = args.get("hypernet_layers") {
        let embed = args.whole("hypernet_embed").unwrap_or(64);
        let sizes = if layers.as_i64() == Some(2) { vec![embed] } else { Vec::new() };
        found.put(Taken { key: "algo.hyper_sizes".into(), value: sizes.into(), words: Some(args.words("hypernet_layers")) });
    } else if found.algo == "qmix" {
        found.set("algo.hyper_sizes", Vec::<i64>::new());
    }
    match args.text("qtran_arch") {
        Some("coma_critic") => found.set("algo.joint", "actions"),
        Some("qtran_paper") => found.set("algo.joint", "hidden"),
        Some(_) => found.left.push(args.words("qtran_arch")),
        None => {}
    }
}

/// What is known of the task, and the steps of an episode. PettingZoo's particle tasks end by themselves after 25.
fn task(found: &mut Found, args: Args) -> Option<i64> {
    let empty = Map::new();
    let env = args.get("env_args").and_then(Value::as_object).unwrap_or(&empty);
    let key = env.get("key").and_then(Value::as_str).unwrap_or_default();
    for (name, value) in env.iter().filter(|(_, value)| !value.is_null()) {
        let words = format!("env_args.{name}={value}");
        match name.as_str() {
            "key" | "map_name" | "seed" | "common_reward" | "reward_scalarisation" => {}
            "time_limit" | "max_cycles" if value.is_i64() => {}
            "N" => found.take("task.num_agents", value, words),
            "local_ratio" => found.take("task.local_ratio", value, words),
            "continuous_actions" => found.take("task.continuous", value, words),
            name => match COMBAT.iter().find(|(n, _)| *n == name) {
                Some((_, key)) => found.take(key, value, words),
                None => found.left.push(words),
            },
        }
    }
    let whole = |name: &str| env.get(name).and_then(Value::as_i64);
    let particles = key.contains("mpe") || args.text("env") == Some("mpe");
    let own = whole("max_cycles").or(particles.then_some(25));
    let limit = whole("time_limit").into_iter().chain(own).min().filter(|steps| *steps > 0);
    if let Some(steps) = limit {
        let words = ["time_limit", "max_cycles"].into_iter().find_map(|name| Some(format!("env_args.{name}={}", env.get(name)?)));
        found.steps = Some(Taken { key: String::new(), value: steps.into(), words });
    }
    // Matrix games and combat pay all agents alike here too, and of equal rewards there is no sum to take.
    let paid_alike = key.contains("matrix") || args.text("env").is_some_and(|env| env.contains("sc2") || env.contains("smac"));
    if !paid_alike {
        let kind = match (args.flag("common_reward"), args.text("reward_scalarisation")) {
            (Some(false), _) => "own",
            (_, Some("mean")) => "mean",
            // Before there was a choice it was the sum.
            _ => "sum",
        };
        found.set("task.reward", kind);
    }
    limit
}

/// A round is an episode in each of `batch_size_run` environments, and one gradient step follows it.
fn rounds(found: &mut Found, args: Args, limit: Option<i64>) {
    found.set("algo.updates", 1);
    if let Some(steps) = limit {
        found.set("algo.rollout_steps", steps);
        found.set("net.chunk_length", steps);
    }
    let runs = args.whole("batch_size_run").filter(|runs| *runs > 0).unwrap_or(1);
    // PyMARL and MADDPG count episodes between copies of the targets.
    let counted = if found.algo == "maddpg" { "target_update_interval_or_tau" } else { "target_update_interval" };
    if let Some(interval) = args.get(counted).and_then(Value::as_f64) {
        found.set("algo.target_update", if interval > 1.0 { (interval / runs as f64).max(1.0) } else { interval });
    }
    if found.algo != "maddpg" {
        return;
    }
    let sizes = ["batch_size", "buffer_size"].map(|name| (name, args.get(name)));
    for (name, episodes) in sizes.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        match episodes.as_i64().zip(limit).and_then(|(n, steps)| n.checked_mul(steps)) {
            Some(transitions) => found.set(&format!("algo.{name}"), transitions),
            None => found.left.push(args.words(name)),
        }
    }
    if let Some(steps) = limit {
        found.set("algo.updates_per_step", 1.0 / steps as f64);
    }
}

/// What the learners' code does, which their configurations do not tell.
fn learner(found: &mut Found, args: Args) {
    let gradients = on_policy(&found.algo);
    if let Some(lr) = args.get("lr").and_then(Value::as_f64) {
        found.set("algo.critic_lr", lr);
    }
    found.set("algo.adam_eps", 1e-8);
    found.set("algo.value_loss", "squared");
    found.set("algo.value_clip", 0.0);
    // Its error is the whole square, here half of it.
    found.set("algo.value_coef", 2.0);
    found.set("algo.normalize_advantages", false);
    found.set("algo.a2c_epochs", 1);
    found.set("algo.critic_epochs", args.whole("epochs").unwrap_or(1));
    if args.whole("q_nstep").is_some() {
        found.set("algo.returns", "n_step");
    }
    if let Some(on) = args.flag("add_value_last_step") {
        found.set("algo.truncation", if on { "bootstrap" } else { "terminal" });
    }
    let stochastic = gradients && args.flag("test_greedy") == Some(false);
    found.set("eval.stochastic", stochastic);
    if let Some(on) = args.flag("standardise_rewards") {
        let kind = if on { "standard" } else { "none" };
        let words = on.then(|| args.words("standardise_rewards"));
        found.put(Taken { key: "algo.reward_norm".into(), value: kind.into(), words });
    }
    let on = args.flag("standardise_returns").unwrap_or(false);
    let words = on.then(|| args.words("standardise_returns"));
    found.put(Taken { key: "algo.value_norm".into(), value: if on { "running" } else { "none" }.into(), words });
    match found.algo.as_str() {
        "pareto-ac" => {
            for (key, value) in [("algo.gradient", "sampled"), ("algo.max_over", "all")] {
                found.set(key, value);
            }
            found.set("algo.tie_break", 0.0);
        }
        "maddpg" => {
            let common = args.flag("common_reward") != Some(false);
            found.set("algo.critics", if common { "team" } else { "per_agent" });
            found.set("algo.teammates", "current");
            // It learns as soon as there is a batch, from what its own actors did.
            found.set("algo.warmup_steps", 0);
        }
        _ => {}
    }
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

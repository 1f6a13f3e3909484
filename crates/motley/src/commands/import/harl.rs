//! HARL: `config.json` of a run folder, actors in `models/actor_agent<k>.pt`.

use motley_nn::dist::Head;
use motley_train::names::HARL;
use serde_json::Value;

use super::{Found, leaf};

/// Those whose meaning is spread over settings, or that say nothing about what is learned.
const READ: [&str; 21] = [
    "use_valuenorm",
    "use_proper_time_limits",
    "use_feature_normalization",
    "initialization_method",
    "final_activation_func",
    "use_recurrent_policy",
    "use_naive_recurrent_policy",
    "recurrent_n",
    "clip_param",
    "use_clipped_value_loss",
    "max_grad_norm",
    "use_max_grad_norm",
    "use_huber_loss",
    "share_param",
    "fixed_order",
    "use_gae",
    "eval_interval",
    "n_eval_rollout_threads",
    "use_eval",
    "log_interval",
    "model_dir",
];

/// What always holds here, at these values: seeds are said, the dead are left out, log-probabilities of an action's parts add up.
const ALWAYS: [(&str, &str, &str); 3] =
    [("seed", "seed_specify", "true"), ("algo", "use_policy_active_masks", "true"), ("algo", "action_aggregation", "\"prod\"")];

/// Sections about the machine and the log.
const ELSEWHERE: [&str; 3] = ["device", "logger", "render"];

/// Reads `{main_args, algo_args, env_args}`.
///
/// # Errors
/// What is missing.
pub(super) fn read(json: &Value) -> Result<Found, String> {
    let main = |name: &str| json.pointer(&format!("/main_args/{name}")).and_then(Value::as_str);
    let algo = main("algo").ok_or("main_args.algo is missing: HARL's config.json has it")?.to_owned();
    let mut found = Found { library: "HARL", algo, task: None, settings: Vec::new(), left: Vec::new(), names: tensor_names };
    let sections = json.get("algo_args").and_then(Value::as_object).ok_or("algo_args is no table")?;
    for (section, values) in sections.iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str())) {
        for (name, value) in values.as_object().into_iter().flatten() {
            let same = HARL.iter().find(|(s, n, _)| s == section && n == name);
            let text = value.to_string();
            let always = ALWAYS.iter().any(|(s, n, v)| s == section && n == name && text == *v);
            let known = always || READ.contains(&name.as_str()) || value.is_null();
            if !same.is_some_and(|(.., key)| found.take(key, value)) && !known {
                found.left.push(format!("{section}.{name}={value}"));
            }
        }
    }
    spread(&mut found, json);
    apart(&mut found, json);
    name_task(&mut found, json, main("env").unwrap_or_default());
    Ok(found)
}

/// Settings that several of HARL's make together.
fn spread(found: &mut Found, json: &Value) {
    let get = |path: &str| json.pointer(&format!("/algo_args/{path}"));
    let flag = |path: &str| get(path).and_then(Value::as_bool);
    let number = |path: &str| get(path).and_then(Value::as_f64);
    let chosen = |yes: bool, a: &'static str, b: &'static str| if yes { a } else { b };
    if let Some(on) = flag("train/use_valuenorm") {
        found.set("algo.value_norm", chosen(on, "running", "none"));
        found.set("algo.value_norm_start", "harl");
    }
    if let Some(on) = flag("train/use_proper_time_limits") {
        found.set("algo.truncation", chosen(on, "harl", "terminal"));
    }
    if let Some(on) = flag("model/use_feature_normalization") {
        found.set("net.feature_norm", on);
    }
    if let Some(name) = get("model/initialization_method").and_then(Value::as_str) {
        found.set("net.init", chosen(name == "orthogonal_", "orthogonal", "uniform"));
    }
    if let Some(on) = flag("model/use_recurrent_policy") {
        found.set("net.recurrent", on || flag("model/use_naive_recurrent_policy") == Some(true));
    }
    if let Some(clip) = number("algo/clip_param") {
        found.set("algo.clip", clip);
        found.set("algo.value_clip", if flag("algo/use_clipped_value_loss") == Some(false) { 0.0 } else { clip });
    }
    if let Some(norm) = number("algo/max_grad_norm") {
        found.set("algo.max_grad_norm", if flag("algo/use_max_grad_norm") == Some(false) { 0.0 } else { norm });
    }
    if let Some(on) = flag("algo/use_huber_loss") {
        found.set("algo.value_loss", chosen(on, "huber", "squared"));
    }
    if let Some(on) = flag("algo/share_param") {
        found.set("net.share", chosen(on, "all", "none"));
    }
    if let Some(on) = flag("algo/fixed_order") {
        found.set("algo.order", chosen(on, "fixed", "random"));
    }
    if flag("algo/use_gae") == Some(false) {
        found.left.push("algo.use_gae=false".into());
    }
}

/// Networks in which HARL's actors and critics differ. HASAC's actors in boxes are plain, with `final_activation_func` behind their last
/// hidden layer; those over choices are the trunk of the on-policy actors. Its critics are plain.
fn apart(found: &mut Found, json: &Value) {
    let last = json.pointer("/algo_args/model/final_activation_func").and_then(Value::as_str);
    if found.algo != "hasac" {
        // Points pass a tanh here too.
        found.left.extend(last.filter(|name| *name != "tanh").map(|name| format!("model.final_activation_func={name}")));
        return;
    }
    let robots =
        json.pointer("/main_args/env").and_then(Value::as_str).is_some_and(|env| ["mamujoco", "dexhands"].contains(&env));
    let boxes = json.pointer("/env_args/continuous_actions").and_then(Value::as_bool).unwrap_or(robots);
    if boxes {
        found.set("net.feature_norm", false);
        found.set("net.init", "uniform");
        found.set("net.last_activation", last.unwrap_or("tanh"));
    } else {
        found.set("net.layer_norm", true);
        found.set("net.critic_norm", false);
        found.set("net.critic_init", "uniform");
    }
}

/// The task, where HARL's name tells it.
fn name_task(found: &mut Found, json: &Value, env: &str) {
    let text = |name: &str| json.pointer(&format!("/env_args/{name}")).and_then(Value::as_str);
    let Some(scenario) = text("scenario") else { return };
    let base = scenario.rsplit_once('-').or_else(|| scenario.rsplit_once("_v")).map_or(scenario, |(base, _)| base);
    match env {
        "pettingzoo_mpe" => {
            let version = match base {
                "simple_speaker_listener" => "v4",
                _ => "v3",
            };
            found.task = Some(format!("mpe/{base}_{version}"));
            found.set("task.flavour", "v2");
            let continuous = json.pointer("/env_args/continuous_actions").and_then(Value::as_bool).unwrap_or(false);
            found.set("task.continuous", continuous);
        }
        "mamujoco" => {
            let conf = text("agent_conf").unwrap_or_default();
            let robot = if base == "manyagent_swimmer" { "ManySegmentSwimmer" } else { base };
            found.task = Some(format!("mamujoco/{robot}-{conf}"));
            found.set("task.obs", "full");
            found.set("task.actions", "concat");
            found.set("task.base", "v2");
        }
        _ => {}
    }
}

/// `StochasticPolicy` (base, rnn, act), `DeterministicPolicy` (pi) and `SquashedGaussianPolicy` (net, mu_layer, log_std_layer).
fn tensor_names(entry: &str, head: &Head) -> Vec<Vec<String>> {
    let one = |name: String| vec![vec![name]];
    let parts: Vec<&str> = entry.split('.').collect();
    match parts.as_slice() {
        ["input_norm", part] => one(format!("base.feature_norm.{}", leaf(part))),
        // In front of the activation and the norm of each layer.
        ["hidden", k, "norm", part] => one(format!("base.mlp.fc.{}.{}", 3 * layer(k) + 2, leaf(part))),
        ["hidden", k, part] => {
            let plain = |name: &str| vec![format!("{name}.mlp.{}.{part}", 2 * layer(k))];
            vec![vec![format!("base.mlp.fc.{}.{part}", 3 * layer(k))], plain("pi"), plain("net")]
        }
        ["gru", "norm", part] => one(format!("rnn.norm.{}", leaf(part))),
        ["gru", part] => one(format!("rnn.rnn.{part}_l0")),
        ["output", part] => output_names(part, head),
        ["free"] => one("act.action_out.log_std".into()),
        _ => Vec::new(),
    }
}

fn layer(k: &str) -> usize {
    k.parse().unwrap_or(0)
}

fn output_names(part: &str, head: &Head) -> Vec<Vec<String>> {
    match head {
        Head::Categorical(sizes) if sizes.len() > 1 => {
            vec![(0..sizes.len()).map(|k| format!("act.action_outs.{k}.linear.{part}")).collect()]
        }
        Head::Categorical(_) => vec![vec![format!("act.action_out.linear.{part}")]],
        Head::Gaussian { .. } => vec![vec![format!("act.action_out.fc_mean.{part}")]],
        Head::TanhGaussian { .. } => vec![vec![format!("mu_layer.{part}"), format!("log_std_layer.{part}")]],
        // The layer after the hidden ones, whose number its place tells.
        Head::Deterministic { .. } => (1..64).rev().map(|k| vec![format!("pi.mlp.{}.{part}", 2 * k)]).collect(),
    }
}

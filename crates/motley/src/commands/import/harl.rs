//! HARL: `config.json` of a run folder, actors in `models/actor_agent<k>.pt`.

use motley_nn::dist::Head;
use motley_train::names::HARL;
use serde_json::Value;

use super::{Found, Taken, leaf};

/// Those whose meaning is spread over settings, or that say nothing about what is learned: of `seed_specify`, the seed that was drawn
/// stands beside it.
const READ: [&str; 22] = [
    "seed.seed_specify",
    "train.use_valuenorm",
    "train.use_proper_time_limits",
    "train.eval_interval",
    "train.log_interval",
    "eval.use_eval",
    "eval.n_eval_rollout_threads",
    "model.use_feature_normalization",
    "model.initialization_method",
    "model.final_activation_func",
    "model.use_recurrent_policy",
    "model.use_naive_recurrent_policy",
    "model.recurrent_n",
    "model.dueling_v_hidden_sizes",
    "model.dueling_a_hidden_sizes",
    "algo.clip_param",
    "algo.use_clipped_value_loss",
    "algo.max_grad_norm",
    "algo.use_max_grad_norm",
    "algo.use_huber_loss",
    "algo.share_param",
    "algo.fixed_order",
];

/// Read, but only where it is on-policy.
const USE_GAE: &str = "algo.use_gae";

/// What always holds here, at these values: the dead are left out, log-probabilities of an action's parts add up.
const ALWAYS: [(&str, &str); 2] = [("algo.use_policy_active_masks", "true"), ("algo.action_aggregation", "\"prod\"")];

/// What HARL itself does not read for deterministic actors and HAD3QN: their networks are plain, their errors squared.
const UNREAD: [&str; 3] = ["model.gain", "algo.huber_delta", "algo.use_policy_active_masks"];

/// Sections about the machine and the log.
const ELSEWHERE: [&str; 3] = ["device", "logger", "render"];

/// What tells the task, and what HARL's own environments do not heed: of MAMuJoCo's every agent sees all.
const NAMES_A_TASK: [&str; 6] = ["scenario", "agent_conf", "map_name", "env_name", "task", "agent_obsk"];

/// What `main_args` has beside the algorithm and the environment: names of files.
const MAIN: [&str; 4] = ["algo", "env", "exp_name", "load_config"];

/// Learners of a kind read the same settings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    OnPolicy,
    Deterministic,
    Soft,
    Dueling,
}

impl Kind {
    fn of(algo: &str) -> Self {
        match algo {
            "haddpg" | "hatd3" | "maddpg" | "matd3" => Self::Deterministic,
            "hasac" => Self::Soft,
            "had3qn" => Self::Dueling,
            _ => Self::OnPolicy,
        }
    }
}

/// `algo_args`, by `section/name`.
#[derive(Clone, Copy)]
struct Args<'a>(&'a Value);

impl<'a> Args<'a> {
    fn get(self, path: &str) -> Option<&'a Value> {
        self.0.pointer(&format!("/algo_args/{path}")).filter(|value| !value.is_null())
    }

    fn flag(self, path: &str) -> Option<bool> {
        self.get(path).and_then(Value::as_bool)
    }

    fn whole(self, path: &str) -> Option<i64> {
        self.get(path).and_then(Value::as_i64)
    }

    fn number(self, path: &str) -> Option<f64> {
        self.get(path).and_then(Value::as_f64)
    }

    fn text(self, path: &str) -> Option<&'a str> {
        self.get(path).and_then(Value::as_str)
    }
}

/// Reads `{main_args, algo_args, env_args}`.
///
/// # Errors
/// What is missing.
pub(super) fn read(json: &Value) -> Result<Found, String> {
    let main = |name: &str| json.pointer(&format!("/main_args/{name}")).and_then(Value::as_str);
    let algo = main("algo").ok_or("main_args.algo is missing: HARL's config.json has it")?.to_owned();
    let kind = Kind::of(&algo);
    let mut found = Found::new("HARL", algo, tensor_names);
    let sections = json.get("algo_args").and_then(Value::as_object).ok_or("algo_args is no table")?;
    for (section, values) in sections.iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str())) {
        let Some(table) = values.as_object() else {
            found.left.push(format!("{section}={values}"));
            continue;
        };
        for (name, value) in table.iter().filter(|(_, value)| !value.is_null()) {
            let full = format!("{section}.{name}");
            if is_read(kind, &full, value) {
                continue;
            }
            let words = format!("{full}={value}");
            match HARL.iter().find(|(s, n, _)| s == section && n == name) {
                Some((.., key)) => found.take(key, value, words),
                None => found.left.push(words),
            }
        }
    }
    for (name, value) in json.get("main_args").and_then(Value::as_object).into_iter().flatten() {
        found.leave_unless(MAIN.contains(&name.as_str()) || value.is_null(), format!("main_args.{name}={value}"));
    }
    let args = Args(json);
    match kind {
        Kind::OnPolicy => on_policy(&mut found, args),
        _ => off_policy(&mut found, args, kind),
    }
    shared(&mut found, args, kind);
    if kind == Kind::Soft {
        soft(&mut found, json);
    }
    name_task(&mut found, json, main("env").unwrap_or_default());
    Ok(found)
}

/// Whether a word is taken over elsewhere, or says nothing.
fn is_read(kind: Kind, name: &str, value: &Value) -> bool {
    let said = value.to_string();
    let always = ALWAYS.contains(&(name, said.as_str()));
    let unread = matches!(kind, Kind::Deterministic | Kind::Dueling) && UNREAD.contains(&name);
    always || unread || READ.contains(&name) || kind == Kind::OnPolicy && name == USE_GAE
}

fn chosen(yes: bool, a: &'static str, b: &'static str) -> &'static str {
    if yes { a } else { b }
}

/// What all of HARL's learners have.
fn shared(found: &mut Found, args: Args, kind: Kind) {
    if let Some(on) = args.flag("algo/share_param") {
        found.set("net.share", chosen(on, "all", "none"));
    }
    // The others learn all agents at once.
    if let Some(fixed) = args.flag("algo/fixed_order").filter(|_| found.algo.starts_with("ha")) {
        found.set("algo.order", chosen(fixed, "fixed", "random"));
    }
    found.set("algo.mask_dead", false);
    found.leave_unless(args.flag("eval/use_eval") != Some(false), "eval.use_eval=false".into());
    let Some(interval) = args.get("train/eval_interval") else { return };
    // On-policy it counts updates, off-policy steps of each environment.
    let steps = if kind == Kind::OnPolicy { args.whole("train/episode_length") } else { Some(1) };
    let factors = [interval.as_i64(), args.whole("train/n_rollout_threads"), steps];
    let every = factors.into_iter().try_fold(1_i64, |product, factor| product.checked_mul(factor?));
    match every.filter(|every| *every > 0) {
        Some(every) => found.set("eval.every", every),
        None => found.left.push(format!("train.eval_interval={interval}")),
    }
}

fn on_policy(found: &mut Found, args: Args) {
    if let Some(on) = args.flag("train/use_valuenorm") {
        found.set("algo.value_norm", chosen(on, "running", "none"));
        found.set("algo.value_norm_start", "harl");
    }
    if let Some(on) = args.flag("train/use_proper_time_limits") {
        found.set("algo.truncation", chosen(on, "harl", "terminal"));
    }
    trunk(found, args);
    recurrence(found, args);
    // HATRPO and HAA2C clip their critic's values alone.
    if let Some(clip) = args.number("algo/clip_param") {
        if found.algo.ends_with("ppo") {
            found.set("algo.clip", clip);
        }
        found.set("algo.value_clip", if args.flag("algo/use_clipped_value_loss") == Some(false) { 0.0 } else { clip });
    }
    if let Some(norm) = args.number("algo/max_grad_norm") {
        found.set("algo.max_grad_norm", if args.flag("algo/use_max_grad_norm") == Some(false) { 0.0 } else { norm });
    }
    if let Some(on) = args.flag("algo/use_huber_loss") {
        found.set("algo.value_loss", chosen(on, "huber", "squared"));
    }
    if args.flag("algo/use_gae") == Some(false) {
        // Sums of rewards; with value normalisation HARL ends them on a value that it does not scale back.
        found.set("algo.gae_lambda", 1.0);
        found.leave_unless(args.flag("train/use_valuenorm") == Some(false), "algo.use_gae=false".into());
    }
    found.set("algo.kl", "harl");
    last_activation(found, args);
}

fn trunk(found: &mut Found, args: Args) {
    if let Some(on) = args.flag("model/use_feature_normalization") {
        found.set("net.feature_norm", on);
    }
    if let Some(name) = args.text("model/initialization_method") {
        found.set("net.init", chosen(name == "orthogonal_", "orthogonal", "uniform"));
        found.leave_unless(name == "orthogonal_", format!("model.initialization_method=\"{name}\""));
    }
}

/// The naive recurrent policy learns from whole rollouts, the other from pieces of them.
fn recurrence(found: &mut Found, args: Args) {
    let [pieces, naive] =
        ["use_recurrent_policy", "use_naive_recurrent_policy"].map(|name| args.flag(&format!("model/{name}")).unwrap_or(false));
    found.set("net.recurrent", pieces || naive);
    if let Some(steps) = args.whole("train/episode_length").filter(|_| naive && !pieces) {
        found.set("net.chunk_length", steps);
    }
    if let Some(layers) = args.get("model/recurrent_n").filter(|_| pieces || naive) {
        found.leave_unless(layers.as_i64() == Some(1), format!("model.recurrent_n={layers}"));
    }
}

fn off_policy(found: &mut Found, args: Args, kind: Kind) {
    // Here targets always look beyond time limits.
    let limits = args.flag("train/use_proper_time_limits") != Some(false);
    found.leave_unless(limits, "train.use_proper_time_limits=false".into());
    match kind {
        Kind::Deterministic => {
            for (key, value) in [("algo.value_loss", "squared"), ("net.init", "uniform"), ("algo.critics", "team")] {
                found.set(key, value);
            }
            found.set("algo.teammates", "replay");
            found.set("net.feature_norm", false);
            last_activation(found, args);
        }
        Kind::Dueling => {
            found.set("algo.local_fit", "greedy");
            let streams =
                ["dueling_v_hidden_sizes", "dueling_a_hidden_sizes"].map(|name| (name, args.get(&format!("model/{name}"))));
            match streams.map(|(_, sizes)| sizes.and_then(Value::as_array).map(Vec::as_slice)) {
                [Some([v]), Some([a])] if v == a => {
                    found.take("algo.stream_size", v, format!("model.dueling_v_hidden_sizes=[{v}]"))
                }
                _ => found.left.extend(streams.into_iter().filter_map(|(name, sizes)| Some(format!("model.{name}={}", sizes?)))),
            }
        }
        Kind::Soft | Kind::OnPolicy => {}
    }
}

/// Points pass a tanh here too.
fn last_activation(found: &mut Found, args: Args) {
    if let Some(last) = args.text("model/final_activation_func") {
        found.leave_unless(last == "tanh", format!("model.final_activation_func=\"{last}\""));
    }
}

/// HASAC. Its actors in boxes are plain, with `final_activation_func` behind their last hidden layer; those over choices are the trunk of
/// the on-policy actors. Its critics are plain.
fn soft(found: &mut Found, json: &Value) {
    let args = Args(json);
    if let Some(on) = args.flag("train/use_valuenorm") {
        found.set("algo.normalize_targets", on);
        found.set("algo.climb_normalized", true);
    }
    if let Some(on) = args.flag("algo/use_huber_loss") {
        found.set("algo.value_loss", chosen(on, "huber", "squared"));
    }
    // A temperature that is learned starts at 1, whatever `alpha` says.
    if args.flag("algo/auto_alpha") == Some(true) {
        found.set("algo.alpha", 1.0);
        found.set("algo.target_entropy", 0.0);
    }
    found.set("algo.next_masks", "reset");
    let robots =
        json.pointer("/main_args/env").and_then(Value::as_str).is_some_and(|env| ["mamujoco", "dexhands"].contains(&env));
    let boxes = json.pointer("/env_args/continuous_actions").and_then(Value::as_bool).unwrap_or(robots);
    if boxes {
        found.set("net.feature_norm", false);
        found.set("net.init", "uniform");
        found.set("net.last_activation", args.text("model/final_activation_func").unwrap_or("tanh"));
    } else {
        trunk(found, args);
        found.set("net.layer_norm", true);
        found.set("net.critic_norm", false);
        found.set("net.critic_init", "uniform");
    }
}

/// The task, where HARL's name tells it, and its settings.
fn name_task(found: &mut Found, json: &Value, env: &str) {
    let Some(table) = json.get("env_args").and_then(Value::as_object) else { return };
    let text = |name: &str| table.get(name).and_then(Value::as_str);
    for (name, value) in table.iter().filter(|(name, value)| !value.is_null() && !NAMES_A_TASK.contains(&name.as_str())) {
        let words = format!("env_args.{name}={value}");
        match (name.as_str(), value) {
            ("max_cycles" | "episode_limit", Value::Number(_)) => {
                let value = toml::Value::try_from(value).unwrap_or(0.into());
                found.steps = Some(Taken { key: String::new(), value, words: Some(words) });
            }
            ("continuous_actions", _) => found.take("task.continuous", value, words),
            ("N", _) => found.take("task.num_agents", value, words),
            ("local_ratio", _) => found.take("task.local_ratio", value, words),
            ("state_type", Value::String(kind)) => found.take("task.state", &kind.to_lowercase().into(), words),
            _ => found.left.push(words),
        }
    }
    let base = |scenario: &str| {
        let cut = scenario.rsplit_once('-').or_else(|| scenario.rsplit_once("_v"));
        cut.map_or(scenario, |(base, _)| base).to_owned()
    };
    match (env, text("scenario").map(base)) {
        ("pettingzoo_mpe", Some(base)) => {
            let version = match base.as_str() {
                "simple_speaker_listener" => "v4",
                _ => "v3",
            };
            found.task = Some(format!("mpe/{base}_{version}"));
            found.set("task.flavour", "v2");
            if !table.contains_key("continuous_actions") {
                found.set("task.continuous", false);
            }
        }
        ("mamujoco", Some(base)) => {
            let conf = text("agent_conf").unwrap_or_default();
            let robot = if base == "manyagent_swimmer" { "ManySegmentSwimmer" } else { base.as_str() };
            found.task = Some(format!("mamujoco/{robot}-{conf}"));
            found.set("task.obs", "full");
            found.set("task.actions", "concat");
            found.set("task.base", "v2");
        }
        ("smac" | "smacv2", _) => found.set("task.obs", "harl"),
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

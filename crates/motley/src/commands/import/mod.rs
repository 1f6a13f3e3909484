//! `motley import`: weights and settings of HARL and EPyMARL.

mod epymarl;
mod harl;
mod place;
mod torch;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use motley_core::{Purpose, Stream};
use motley_nn::dist::Head;
use motley_nn::policy::ActingGroup;
use motley_nn::{Mode, Pool, TeamPolicy};
use motley_run::{RealDisk, shell, write_bundle};
use motley_train::bundle::{check_weights, to_bundle};
use motley_train::consent::{mark, signed};
use motley_train::evaluate::{EvalPlan, EvalSummary, evaluate};
use motley_train::settings::keys;
use motley_train::{Plan, Registry, Request};
use motley_view::file::write_atomic;
use serde_json::{Map, Value, json};
use toml::Table;

use crate::args::ImportArgs;
use crate::commands::config::threads;
use crate::commands::eval::{describe, eval_fields};
use crate::error::Failure;
use crate::output::Output;
use torch::Tensor;
use weights::{Weights, find_weights};

/// Bytes of a configuration that are read at most, and of a file of weights.
const CONFIG_LIMIT: u64 = 1 << 20;
const WEIGHTS_LIMIT: u64 = 1 << 30;

/// Where tasks keep how many steps an episode has at most.
const STEPS: [&str; 4] = ["task.max_cycles", "task.steps", "task.step_limit", "task.max_steps"];

/// What a configuration of another library says in Motley's words.
struct Found {
    /// The library.
    library: &'static str,
    /// The algorithm.
    algo: String,
    /// The task, where its name tells.
    task: Option<String>,
    /// Settings, in the order of the configuration, each once.
    settings: Vec<Taken>,
    /// Steps of an episode at most, in whichever setting the task has for it.
    steps: Option<Taken>,
    /// What has no counterpart.
    left: Vec<String>,
    /// Names of the tensors of an actor.
    names: Names,
}

/// A setting, and the words that it was taken from where they must be listed if the algorithm or the task has no such setting.
struct Taken {
    key: String,
    value: toml::Value,
    words: Option<String>,
}

/// The tensors that an entry of a network is made of, as alternatives; those of one are put side by side.
type Names = fn(entry: &str, head: &Head) -> Vec<Vec<String>>;

impl Found {
    fn new(library: &'static str, algo: String, names: Names) -> Self {
        Self { library, algo, task: None, settings: Vec::new(), steps: None, left: Vec::new(), names }
    }

    /// What the library's code does whatever its configuration says: no loss where no setting here speaks of it.
    fn set(&mut self, key: &str, value: impl Into<toml::Value>) {
        self.put(Taken { key: key.to_owned(), value: value.into(), words: None });
    }

    /// Takes a number, truth value, text or list over as it is and leaves what else there is. What is switched off and cannot be
    /// switched on here is no loss.
    fn take(&mut self, key: &str, value: &Value, words: String) {
        match toml::Value::try_from(value) {
            Ok(taken) if !taken.is_table() => {
                let words = (*value != Value::Bool(false)).then_some(words);
                self.put(Taken { key: key.to_owned(), value: taken, words });
            }
            _ => self.left.push(words),
        }
    }

    fn put(&mut self, taken: Taken) {
        self.settings.retain(|before| before.key != taken.key);
        self.settings.push(taken);
    }

    /// Leaves what the configuration says, unless it says this.
    fn leave_unless(&mut self, yes: bool, words: String) {
        if !yes {
            self.left.push(words);
        }
    }

    /// Keeps those settings that there are, and lists the words of the others.
    fn settle(&mut self, known: &BTreeSet<String>) -> Vec<(String, toml::Value)> {
        if let Some(mut steps) = self.steps.take() {
            steps.key = STEPS.into_iter().find(|key| known.contains(*key)).unwrap_or_default().to_owned();
            self.put(steps);
        }
        let (taken, other): (Vec<_>, Vec<_>) = self.settings.drain(..).partition(|taken| known.contains(&taken.key));
        self.left.extend(other.into_iter().filter_map(|taken| taken.words));
        taken.into_iter().map(|taken| (taken.key, taken.value)).collect()
    }
}

pub(crate) fn run(args: &ImportArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let path = config_path(args)?;
    let mut found = read_config(&path)?;
    let (plan, words) = plan(args, registry, &mut found)?;
    out.note(format!("{} of {} on {}", plan.algorithm.name(), found.library, plan.team.task));
    if !found.left.is_empty() {
        out.note(format!("without counterpart here: {}", found.left.join(", ")));
    }
    let Some(weights) = find_weights(&args.from)? else {
        return write_settings(args, &plan, &words, &found, out);
    };
    let to = args.out.clone().unwrap_or_else(|| PathBuf::from("imported"));
    let dir = place::for_bundle(&to)?;
    let policy = filled(&plan, &weights, found.names).map_err(|why| Failure::usage(format!("{}: {why}", args.from.display())))?;
    let pool = Pool::new(threads()?).map_err(Failure::run)?;
    let eval = EvalPlan { seed: 0, round: 0, episodes: args.episodes.max(1), mode: Mode::Greedy };
    let played = evaluate(&policy, &plan.make, &pool, eval).map_err(Failure::run)?;
    played.warnings().iter().for_each(|warning| out.warning(warning));
    let summary = EvalSummary::of(&played);
    let (algo, config) = (plan.algorithm.name(), plan.settings.to_table());
    let bundle = to_bundle(&policy, algo, &config, 0, summary.return_mean).map_err(Failure::run)?;
    let bundle = signed(bundle, mark(&*plan.task, &plan.settings).as_deref());
    if let Some(above) = dir.parent() {
        std::fs::create_dir_all(above).map_err(|e| Failure::run(format!("{}: {e}", above.display())))?;
    }
    write_bundle(&RealDisk, &dir, &bundle)?;
    out.line(format!("written: {} ({algo} on {}): {}", to.display(), plan.team.task, describe(&summary)));
    let mut fields = Map::new();
    fields.insert("out".into(), json!(to.display().to_string()));
    fields.insert("algo".into(), json!(algo));
    fields.insert("task".into(), json!(plan.team.task));
    fields.insert("left".into(), json!(found.left.join(", ")));
    fields.extend(eval_fields(&summary));
    out.event("imported", Value::Object(fields));
    Ok(0)
}

/// The configuration: named, given itself, or beside or above the weights.
fn config_path(args: &ImportArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = &args.config {
        return Ok(path.clone());
    }
    if args.from.is_file() {
        let ending = args.from.extension().and_then(|ending| ending.to_str());
        if matches!(ending, Some("pt" | "pth" | "th")) {
            let (file, folder) = (args.from.display(), args.from.parent().unwrap_or(Path::new("")));
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            return Err(Failure::usage(format!(
                "{file} holds weights of one network: give the folder that it lies in, motley import {}",
                shell::path(folder)
            )));
        }
        return Ok(args.from.clone());
    }
    let here = args.from.join("config.json");
    let above = args.from.join("..").join("config.json");
    [here, above].into_iter().find(|p| p.is_file()).ok_or_else(|| {
        Failure::usage(format!(
            "{} has no config.json, nor has the folder above: name it with --config (HARL writes it into the run's folder, EPyMARL's Sacred into results/sacred/...)",
            args.from.display()
        ))
    })
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| Failure::usage(format!("{}: {e}", path.display()));
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > limit {
        return Err(Failure::usage(format!("{}: {length} bytes, {limit} at most are read", path.display())));
    }
    fs::read(path).map_err(failed)
}

fn read_config(path: &Path) -> Result<Found, Failure> {
    let failed = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let json: Value = serde_json::from_slice(&read_bounded(path, CONFIG_LIMIT)?).map_err(|e| failed(e.to_string()))?;
    let found = if json.get("algo_args").is_some() { harl::read(&json) } else { epymarl::read(&json) };
    found.map_err(failed)
}

/// The plan of the found settings under the words of the command line, and the settings that were taken over.
fn plan(args: &ImportArgs, registry: &Registry, found: &mut Found) -> Result<(Plan, Vec<(String, toml::Value)>), Failure> {
    let (names, own): (Vec<&String>, Vec<&String>) = args.words.iter().partition(|w| !w.contains('='));
    let (algo, task) = match names.as_slice() {
        [] => (found.algo.clone(), found.task.clone()),
        [algo, task] => ((*algo).clone(), Some((*task).clone())),
        _ => return Err(Failure::usage("expected FROM, or FROM ALGO TASK, then key=value settings")),
    };
    let task = task.ok_or_else(|| {
        Failure::usage(format!(
            "which task of Motley this is does not follow from its name: motley import FROM {algo} TASK -o OUT"
        ))
    })?;
    let known: BTreeSet<String> =
        keys(&*registry.algorithms.get(&algo)?, &*registry.tasks.get(&task)?).into_iter().map(|k| k.name).collect();
    let taken = found.settle(&known);
    let words = taken.iter().map(|(key, value)| format!("{key}={value}"));
    let overrides = std::iter::once("preset=none".to_owned()).chain(words).chain(own.into_iter().cloned()).collect();
    // What has learned already needs no room to learn from.
    let (plan, _) = Request { algo, task, overrides, ..Request::default() }.plan_anywhere(registry)?;
    Ok((plan, taken))
}

/// A policy of the plan with imported weights.
fn filled(plan: &Plan, weights: &Weights, names: Names) -> Result<TeamPolicy, String> {
    let seed = Stream::new(0, Purpose::Init, 0, 0);
    let built = plan.algorithm.build(&plan.team, &plan.settings, &seed).map_err(|e| e.to_string())?;
    let mut groups: Vec<ActingGroup> = built.policy().groups().to_vec();
    weights.check(&plan.team.task, plan.team.n(), groups.len())?;
    for group in &mut groups {
        let mut params = group.net.params().to_vec();
        for &agent in &group.members {
            let dict = agents_part(weights.of(agent), agent);
            let own =
                agents_params(group, &dict, names).map_err(|why| format!("agent \"{}\": {why}", plan.team.agents[agent].name))?;
            if agent != group.members[0] && own != params {
                return Err(format!(
                    "agent \"{}\" has weights of its own, but net.share puts it with \"{}\": try net.share=none",
                    plan.team.agents[agent].name, plan.team.agents[group.members[0]].name
                ));
            }
            params = own;
        }
        group.net.set_params(|p| p.copy_from_slice(&params));
    }
    let policy = TeamPolicy::new(std::sync::Arc::clone(&plan.team), groups);
    check_weights(&policy)?;
    Ok(policy)
}

/// EPyMARL's unshared agents lie in one file as `agents.<k>.`.
fn agents_part(dict: &BTreeMap<String, Tensor>, agent: usize) -> BTreeMap<String, &Tensor> {
    let prefix = format!("agents.{agent}.");
    let own: BTreeMap<_, _> = dict.iter().filter_map(|(k, v)| Some((k.strip_prefix(&prefix)?.to_owned(), v))).collect();
    if own.is_empty() { dict.iter().map(|(k, v)| (k.clone(), v)).collect() } else { own }
}

/// The flat parameters of a group from one state dictionary, every tensor of which must be used.
fn agents_params(group: &ActingGroup, dict: &BTreeMap<String, &Tensor>, names: Names) -> Result<Vec<f32>, String> {
    let mut params = group.net.params().to_vec();
    let mut used = BTreeSet::new();
    for entry in group.net.entries() {
        let alternatives = names(&entry.name, &group.head);
        let parts = alternatives.iter().find(|all| all.iter().all(|name| dict.contains_key(name)));
        let parts = parts.ok_or_else(|| {
            let wanted: Vec<String> = alternatives.iter().map(|all| all.join(" and ")).collect();
            format!(
                "no tensor for {}: expected {}, there are {}; settings of the network (net.*) may differ",
                entry.name,
                wanted.join(", or "),
                dict.keys().cloned().collect::<Vec<_>>().join(", ")
            )
        })?;
        let tensors: Vec<&Tensor> = parts.iter().map(|name| dict[name]).collect();
        let values = side_by_side(&tensors, &entry.shape).map_err(|found| {
            format!(
                "{}: expected {:?} (as [in, out]), found {found}; the task shows other observations or actions, or net.* differs",
                entry.name, entry.shape
            )
        })?;
        params[entry.range()].copy_from_slice(&values);
        used.extend(parts.iter().cloned());
    }
    match dict.keys().find(|name| !used.contains(*name)) {
        Some(more) => Err(format!("its tensor {more} has no place in this network; settings of the network (net.*) may differ")),
        None => Ok(params),
    }
}

/// PyTorch's `[out, in]` matrices transposed and put side by side, or vectors one after another.
fn side_by_side(tensors: &[&Tensor], shape: &[usize]) -> Result<Vec<f32>, String> {
    let found = || tensors.iter().map(|t| format!("{:?}", t.shape)).collect::<Vec<_>>().join(" and ");
    match *shape {
        [len] => {
            let all: Vec<f32> = tensors.iter().flat_map(|t| t.values.iter().copied()).collect();
            if all.len() == len { Ok(all) } else { Err(found()) }
        }
        [rows, cols] => {
            let outs: Vec<usize> = tensors.iter().map(|t| t.shape.first().copied().unwrap_or(0)).collect();
            if outs.iter().sum::<usize>() != cols || tensors.iter().any(|t| t.shape.len() != 2 || t.shape[1] != rows) {
                return Err(found());
            }
            let mut all = Vec::with_capacity(rows * cols);
            for row in 0..rows {
                for (tensor, outs) in tensors.iter().zip(&outs) {
                    all.extend((0..*outs).map(|o| tensor.values[o * rows + row]));
                }
            }
            Ok(all)
        }
        _ => Err(found()),
    }
}

/// Settings as a file for `--config`.
fn write_settings(
    args: &ImportArgs,
    plan: &Plan,
    words: &[(String, toml::Value)],
    found: &Found,
    out: &Output,
) -> Result<u8, Failure> {
    let to = args.out.clone().unwrap_or_else(|| PathBuf::from("imported.toml"));
    place::for_settings(&to)?;
    let mut table = Table::new();
    for (key, _) in words {
        let value = plan.settings.value(key)?.clone();
        match key.split_once('.') {
            Some((section, name)) => {
                let section = table.entry(section).or_insert_with(|| Table::new().into());
                if let Some(section) = section.as_table_mut() {
                    section.insert(name.to_owned(), value);
                }
            }
            None => {
                table.insert(key.clone(), value);
            }
        }
    }
    let (algo, task) = (plan.algorithm.name(), &plan.team.task);
    let shown = to.display();
    let text = format!("{}{}: motley train {algo} {task} preset=none --config {shown}\n{table}", place::HEAD, found.library);
    write_atomic(&to, text.as_bytes()).map_err(Failure::run)?;
    out.line(format!(
        "written: {shown}; no weights lie there, so these are settings: motley train {algo} {task} preset=none --config {shown}"
    ));
    out.event("imported", json!({ "out": shown.to_string(), "algo": algo, "task": task, "left": found.left.join(", ") }));
    Ok(0)
}

/// Leaves of PyTorch's names: a LayerNorm's gamma and beta are its weight and bias.
fn leaf(name: &str) -> &str {
    match name {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    }
}

#[cfg(test)]
mod tests;

//! The files of weights: which there are, and whether they are all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::torch::{self, Tensor};
use super::{WEIGHTS_LIMIT, read_bounded};
use crate::error::Failure;

/// State dictionaries of actors.
pub(super) enum Weights {
    /// EPyMARL: one file for all agents.
    Team(BTreeMap<String, Tensor>),
    /// HARL: a file an agent in this folder, at least one.
    Agents(PathBuf, Vec<BTreeMap<String, Tensor>>),
}

impl Weights {
    /// The dictionary that this agent's parameters are in.
    pub(super) fn of(&self, agent: usize) -> &BTreeMap<String, Tensor> {
        match self {
            Self::Team(one) => one,
            Self::Agents(_, all) => &all[if all.len() == 1 { 0 } else { agent }],
        }
    }

    /// Whether they fit `n` agents with `groups` networks between them. One agent's file does for all only where all share a network.
    ///
    /// # Errors
    /// The file that is missing, or that there are more than agents.
    pub(super) fn check(&self, task: &str, n: usize, groups: usize) -> Result<(), String> {
        let Self::Agents(dir, all) = self else { return Ok(()) };
        if all.len() == n || all.len() == 1 && groups == 1 {
            return Ok(());
        }
        let agents = if all.len() == 1 { "agent" } else { "agents" };
        let found = format!("it has weights of {} {agents}, {task} has {n}", all.len());
        Err(if all.len() < n {
            format!("{found}: {} is missing", dir.join(file_name(all.len())).display())
        } else {
            format!("{found}: name the task with as many agents, FROM ALGO TASK")
        })
    }
}

fn file_name(agent: usize) -> String {
    format!("actor_agent{agent}.pt")
}

/// `agent.th` (EPyMARL), or `actor_agent0.pt` and on (HARL), here or in `models/`.
///
/// # Errors
/// A file that cannot be read or is missing between others.
pub(super) fn find_weights(from: &Path) -> Result<Option<Weights>, Failure> {
    let read = |path: &Path| -> Result<BTreeMap<String, Tensor>, Failure> {
        torch::state_dict(&read_bounded(path, WEIGHTS_LIMIT)?).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))
    };
    for dir in [from.to_owned(), from.join("models")] {
        let one = dir.join("agent.th");
        if one.is_file() {
            return Ok(Some(Weights::Team(read(&one)?)));
        }
        let count = agents_files(&dir)?;
        if count > 0 {
            let all = (0..count).map(|k| read(&dir.join(file_name(k)))).collect::<Result<Vec<_>, _>>()?;
            return Ok(Some(Weights::Agents(dir, all)));
        }
    }
    Ok(None)
}

/// How many agents' files lie in the folder; none where it is no folder.
fn agents_files(dir: &Path) -> Result<usize, Failure> {
    if !dir.is_dir() {
        return Ok(0);
    }
    let failed = |e: std::io::Error| Failure::usage(format!("{}: {e}", dir.display()));
    let mut last = None;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("actor_agent").and_then(|rest| rest.strip_suffix(".pt")?.parse::<u16>().ok());
        last = last.max(number.filter(|k| file_name(usize::from(*k)) == name).map(usize::from));
    }
    let Some(last) = last else { return Ok(0) };
    match (0..last).find(|k| !dir.join(file_name(*k)).is_file()) {
        Some(gap) => Err(Failure::usage(format!(
            "{} is missing, but {} is there: weights of every agent are needed",
            dir.join(file_name(gap)).display(),
            file_name(last)
        ))),
        None => Ok(last + 1),
    }
}

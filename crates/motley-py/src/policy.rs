//! A trained team that acts.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use motley_core::{Purpose, Stream};
use motley_nn::{ActScratch, Decision, Mode, ObsBatch, Policy as _, TeamPolicy};
use motley_train::Registry;
use motley_train::bundle::PolicyInfo;
use motley_train::evaluate::EvalError;
use pyo3::prelude::*;

use crate::array::Array;
use crate::{ConfigError, MissingError, failed, share_path};

/// A policy bundle, or the one of a run's best evaluation.
#[pyclass(frozen)]
pub(crate) struct Policy {
    policy: TeamPolicy,
    info: PolicyInfo,
}

/// Memory for acting in `envs` environments at once.
#[pyclass(frozen)]
pub(crate) struct Room {
    envs: usize,
    obs: Py<Array>,
    avail: Py<Array>,
    memory: Py<Array>,
    actions: Py<Array>,
    log_probs: Py<Array>,
    work: Mutex<(Decision, ActScratch, Vec<bool>)>,
}

#[pymethods]
impl Policy {
    /// Reads a run folder (`checkpoint` is `best`, `latest` or env steps) or a bundle.
    #[new]
    fn new(py: Python<'_>, path: PathBuf, checkpoint: &str, trust: bool) -> PyResult<Self> {
        share_path(py)?;
        let read = py.detach(|| motley::policy(&Registry::builtin(), &path, checkpoint, trust));
        let (info, policy) = read.map_err(|(code, text)| match code {
            2 => ConfigError::new_err(text),
            3 => MissingError::new_err(text),
            _ => failed(text),
        })?;
        Ok(Self { policy, info })
    }

    /// The team as JSON.
    #[getter]
    fn team(&self) -> PyResult<String> {
        serde_json::to_string(&**self.policy.team()).map_err(failed)
    }

    /// Algorithm, task, env steps of training, mean return of the evaluation that chose it, settings as TOML.
    #[getter]
    fn info(&self) -> (String, String, u64, f64, String) {
        let info = &self.info;
        (info.algo.clone(), info.task.clone(), info.env_steps, info.eval_return_mean, info.config.to_string())
    }

    /// Memory for `envs` environments.
    fn room(&self, py: Python<'_>, envs: usize) -> PyResult<Room> {
        let team = self.policy.team();
        Ok(Room {
            envs,
            obs: Array::f32(py, vec![envs, team.obs_len()], true)?,
            avail: Array::bytes(py, vec![envs, team.mask_len()], true)?,
            memory: Array::f32(py, vec![envs, self.policy.memory_len()], true)?,
            actions: Array::f32(py, vec![envs, team.action_len()], false)?,
            log_probs: Array::f32(py, vec![envs, team.n()], false)?,
            work: Mutex::default(),
        })
    }

    /// Decides for what stands in the room; memory advances. Draws of environment e at `step` depend on (seed, e, step) alone.
    fn act(&self, py: Python<'_>, room: &Room, greedy: bool, seed: u64, step: u64) -> PyResult<()> {
        py.detach(|| {
            let mut work = room.work.lock().unwrap_or_else(PoisonError::into_inner);
            let (decision, scratch, avail) = &mut *work;
            let (mut obs, mut memory) = (room.obs.get().lock(), room.memory.get().lock());
            avail.clear();
            avail.extend(room.avail.get().lock().bytes().iter().map(|b| *b != 0));
            let rng: Vec<Stream> = (0..room.envs as u64).map(|e| Stream::new(seed, Purpose::EvalAct, e, 0).fork(step)).collect();
            let batch = ObsBatch { envs: room.envs, obs: obs.f32(), avail };
            let mode = if greedy { Mode::Greedy } else { Mode::Sample };
            self.policy.act(batch, memory.f32(), mode, &rng, decision, scratch).map_err(failed)?;
            if let Some(agent) = decision.not_finite.take() {
                return Err(failed(EvalError::NotFinite { agent }));
            }
            room.actions.get().lock().f32().copy_from_slice(&decision.env);
            room.log_probs.get().lock().f32().copy_from_slice(&decision.log_probs);
            Ok(())
        })
    }
}

#[pymethods]
impl Room {
    /// obs, avail, memory, actions, log_probs.
    #[getter]
    fn arrays(&self, py: Python<'_>) -> [Py<Array>; 5] {
        [&self.obs, &self.avail, &self.memory, &self.actions, &self.log_probs].map(|array| array.clone_ref(py))
    }
}

//! Runs whose environments lie in other Python processes: a worker that such a process holds, and the crew that a learner asks.

use std::sync::{Mutex, PoisonError};

use motley_train::Registry;
use motley_train::crew::{Begun, Crew, CrewError, Job, Part, Played, WorkerError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::train::told;
use crate::{config_error, failed, share_path};

/// Some of a run's environments; the learner's bytes go in, its own come out.
#[pyclass(frozen)]
pub(crate) struct Worker {
    worker: Mutex<motley_train::crew::Worker>,
}

fn refused(error: WorkerError) -> PyErr {
    match error {
        WorkerError::Config(error) => config_error(error),
        other => failed(other),
    }
}

#[pymethods]
impl Worker {
    /// Builds environments `first` to `end` of the run that the names and settings (TOML) describe; 0 threads are all cores.
    #[new]
    fn new(
        py: Python<'_>,
        algo: String,
        task: String,
        config: String,
        first: usize,
        end: usize,
        threads: usize,
    ) -> PyResult<Self> {
        share_path(py)?;
        let job = Job { algo, task, config };
        let worker = py.detach(|| motley_train::crew::Worker::new(&Registry::builtin(), &job, first..end, threads));
        Ok(Self { worker: Mutex::new(worker.map_err(refused)?) })
    }

    /// Starts episodes, or goes back to a boundary; where the environments stand, and warnings.
    fn begin<'py>(&self, py: Python<'py>, boundary: Option<PyBackedBytes>) -> PyResult<(Bound<'py, PyBytes>, Vec<String>)> {
        let begun = py.detach(|| self.lock().begin(boundary.as_deref())).map_err(refused)?;
        Ok((PyBytes::new(py, &begun.boundary), begun.warnings))
    }

    /// Plays one rollout; its lanes, and where the environments stand then.
    fn collect<'py>(&self, py: Python<'py>, weights: PyBackedBytes) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let played = py.detach(|| self.lock().collect(&weights)).map_err(refused)?;
        Ok((PyBytes::new(py, &played.lanes), PyBytes::new(py, &played.boundary)))
    }
}

impl Worker {
    fn lock(&self) -> std::sync::MutexGuard<'_, motley_train::crew::Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A crew that Python keeps: an object with `size`, `begin(algo, task, config, parts)`, `order(weights)` and `gather()`.
pub(crate) struct PyCrew {
    object: Py<PyAny>,
    size: usize,
}

impl PyCrew {
    pub(crate) fn new(py: Python<'_>, object: Py<PyAny>) -> PyResult<Self> {
        let size = object.getattr(py, "size")?.extract(py)?;
        Ok(Self { object, size })
    }
}

fn lost(py: Python<'_>) -> impl Fn(PyErr) -> CrewError + '_ {
    move |error| CrewError::Failed(told(py, &error))
}

impl Crew for PyCrew {
    fn size(&self) -> usize {
        self.size
    }

    fn begin(&mut self, job: &Job, parts: Vec<Part>) -> Result<Vec<Begun>, CrewError> {
        Python::attach(|py| {
            let part = |p: &Part| (p.envs.start, p.envs.end, p.boundary.as_ref().map(|b| PyBytes::new(py, b)));
            let parts: Vec<_> = parts.iter().map(part).collect();
            let words = (job.algo.as_str(), job.task.as_str(), job.config.as_str(), parts);
            let answers = self.object.call_method1(py, "begin", words).map_err(lost(py))?;
            let answers: Vec<(PyBackedBytes, Vec<String>)> = answers.extract(py).map_err(lost(py))?;
            Ok(answers.into_iter().map(|(boundary, warnings)| Begun { boundary: boundary.to_vec(), warnings }).collect())
        })
    }

    fn order(&mut self, weights: Vec<u8>) -> Result<(), CrewError> {
        Python::attach(|py| self.object.call_method1(py, "order", (PyBytes::new(py, &weights),)).map(drop).map_err(lost(py)))
    }

    fn gather(&mut self) -> Result<Vec<Played>, CrewError> {
        Python::attach(|py| {
            let answers = self.object.call_method0(py, "gather").map_err(lost(py))?;
            let answers: Vec<(PyBackedBytes, PyBackedBytes)> = answers.extract(py).map_err(lost(py))?;
            let played =
                |(lanes, boundary): (PyBackedBytes, PyBackedBytes)| Played { lanes: lanes.to_vec(), boundary: boundary.to_vec() };
            Ok(answers.into_iter().map(played).collect())
        })
    }
}

//! The compiled part of the Python package `motley`. The Python part, in `python/motley`, gives it PettingZoo's and Gymnasium's
//! shapes; here are the environments, training and acting, with the interpreter released in every long call.

mod array;
mod crew;
mod policy;
mod train;
mod vector;

use std::ffi::OsString;
use std::path::PathBuf;

use motley_train::Registry;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

// Named after the package, where pickles look for them.
pyo3::create_exception!(motley, Error, PyRuntimeError, "A run or an environment that failed.");
pyo3::create_exception!(motley, ConfigError, PyValueError, "A name or a setting that cannot be used.");
pyo3::create_exception!(motley, MissingError, PyRuntimeError, "A part outside Motley that is missing, with the mend.");

fn config_error(error: motley_core::ConfigError) -> PyErr {
    match error {
        motley_core::ConfigError::Missing { .. } => MissingError::new_err(error.to_string()),
        other => ConfigError::new_err(other.to_string()),
    }
}

/// A folder that cannot be used is the caller's to change, as on the command line.
fn run_error(error: motley_run::RunError) -> PyErr {
    if error.exit_code() == 2 { ConfigError::new_err(error.to_string()) } else { failed(error) }
}

fn failed(error: impl std::fmt::Display) -> PyErr {
    Error::new_err(error.to_string())
}

/// Environments by name are made in workers: what this process can import by now they can too, where they run in this interpreter.
fn share_path(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    // No interpreter is named where Python is part of another program.
    let Ok(interpreter) = sys.getattr("executable")?.extract::<PathBuf>() else { return Ok(()) };
    let entries = sys.getattr("path")?.try_iter()?.filter_map(|entry| entry.ok()?.extract::<PathBuf>().ok());
    // The folder that it was started in comes first there too; one with a colon in its name cannot be told.
    let usable = entries.filter(|entry| !entry.as_os_str().is_empty() && std::env::join_paths([entry]).is_ok());
    let folders = std::env::join_paths(usable.filter_map(|entry| std::path::absolute(entry).ok())).map_err(failed)?;
    motley_bridge::look_in(interpreter, folders);
    Ok(())
}

/// Runs the command line with these words; the exit code.
#[pyfunction]
fn command(py: Python<'_>, words: Vec<OsString>) -> PyResult<u8> {
    let interpreter: OsString = py.import("sys")?.getattr("executable")?.extract()?;
    let start = [interpreter, "-m".into(), "motley".into()];
    Ok(py.detach(|| motley::run_words(Registry::builtin(), &start, words)))
}

/// The names of all listed tasks, then the patterns of families.
#[pyfunction]
fn tasks() -> (Vec<String>, Vec<String>) {
    let registry = Registry::builtin().tasks;
    (registry.iter().map(motley_core::Task::name).collect(), registry.families().map(motley_core::TaskFamily::pattern).collect())
}

/// The names of all algorithms.
#[pyfunction]
fn algorithms() -> Vec<String> {
    Registry::builtin().algorithms.iter().map(|spec| spec.name().to_owned()).collect()
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("PLATFORM", motley_run::platform::platform())?;
    module.add("ADAPTERS", motley_bridge::ADAPTERS)?;
    module.add("Error", py.get_type::<Error>())?;
    module.add("ConfigError", py.get_type::<ConfigError>())?;
    module.add("MissingError", py.get_type::<MissingError>())?;
    module.add_class::<array::Array>()?;
    module.add_class::<vector::Vector>()?;
    module.add_class::<policy::Policy>()?;
    module.add_class::<policy::Room>()?;
    module.add_class::<crew::Worker>()?;
    module.add_function(wrap_pyfunction!(command, module)?)?;
    module.add_function(wrap_pyfunction!(tasks, module)?)?;
    module.add_function(wrap_pyfunction!(algorithms, module)?)?;
    module.add_function(wrap_pyfunction!(train::train, module)?)?;
    Ok(())
}

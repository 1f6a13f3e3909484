//! What is known where a run ends by an error: `crash.json` in its folder.

use std::sync::Arc;

use motley_core::Settings;
use motley_core::guard::last_panic;
use motley_core::secret::masked;
use motley_run::{CheckpointStore, RealDisk, RunFolder, RunInfo, read_metrics, utc_now};
use serde_json::{Value, json};

use crate::error::TrainError;
use crate::event::Event;

/// Writes the error, the run's configuration and last metrics, the checkpoint to go on from and, after a panic, where it was
/// ([`motley_core::guard::keep_panics`]). What cannot be written is a warning: the error is told in any case.
pub(crate) fn report(folder: &RunFolder, info: &RunInfo, settings: &Settings, error: &TrainError, see: &mut dyn FnMut(&Event)) {
    let store = CheckpointStore::new(&folder.checkpoints_dir(), 1, Arc::new(RealDisk));
    let checkpoint = store.steps().ok().and_then(|steps| steps.last().copied());
    let metrics = read_metrics(&folder.metrics_path()).ok().and_then(|log| log.lines.into_iter().next_back());
    let metrics: Option<serde_json::Map<String, Value>> = metrics.map(|point| {
        let step = ("env_steps".to_owned(), json!(point.env_steps));
        std::iter::once(step).chain(point.values.into_iter().map(|(name, value)| (name, json!(value)))).collect()
    });
    let crash = json!({
        "error": error.to_string(),
        "time": utc_now().rfc3339(),
        "run": info,
        "checkpoint": checkpoint.map(|step| format!("checkpoints/step-{step}")),
        "metrics": metrics,
        "config": masked("", &toml::Value::Table(settings.to_table())),
        "panic": matches!(error, TrainError::Panicked { .. }).then(last_panic).flatten(),
    });
    if let Err(why) = folder.write_crash(&crash) {
        see(&Event::Warning(why.to_string()));
    }
}

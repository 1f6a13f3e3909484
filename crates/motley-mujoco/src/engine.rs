//! MuJoCo behind what the suites need of it: shared models, steps that tell when the physics blew up, saved states.

use std::io::Write;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use motley_core::{ConfigError, EnvError};
use mujoco_rs::mujoco_c;
use mujoco_rs::prelude::{MjData, MjLogMessage, MjModel, MjtLogLevel, MjtObjBase, MjtState, MjtWarning};

/// Everything that a step depends on.
pub(crate) const STATE: u32 = MjtState::mjSTATE_INTEGRATION as u32;

/// MuJoCo's own word for its version.
#[allow(unsafe_code, reason = "a call into C")]
pub fn version() -> String {
    // SAFETY: takes nothing and returns a static string with a NUL at its end.
    let text = unsafe { std::ffi::CStr::from_ptr(mujoco_c::mj_versionString()) };
    text.to_string_lossy().into_owned()
}

/// MuJoCo writes warnings to the terminal and to a file in the working directory. Those that matter here are counted in the
/// data and read from there; a fatal one, after which MuJoCo ends the process, is told.
fn hear(message: &MjLogMessage) {
    if message.level() == MjtLogLevel::mjLOG_ERROR {
        // The process ends after it, so there is no one to return it to; where standard error is closed, nobody to tell either.
        let _ = writeln!(std::io::stderr(), "MuJoCo: {}", message.subject());
    }
}

#[allow(unsafe_code, reason = "a call into C that wants to be alone")]
fn quieten() {
    static QUIET: Once = Once::new();
    // SAFETY: Motley's use of the engine begins with `model`, which waits for this call, so no thread of ours uses MuJoCo while the
    // handler is set. In a Python process the package `mujoco` may have loaded the same library: its threads must not step while the
    // first robot is made (docs/src/python.md). The handler only reads the message and does not panic or call MuJoCo.
    QUIET.call_once(|| unsafe {
        mujoco_rs::logging::set_log_handler(hear);
        // The handler comes with every topic of timings and tips switched on.
        mujoco_rs::prelude::set_log_config(mujoco_rs::prelude::log_config().with_topics(0));
    });
}

/// Refuses another version of the library than the bindings are made for.
pub(crate) fn right_version() -> Result<(), ConfigError> {
    if version() == crate::MUJOCO {
        return Ok(());
    }
    Err(ConfigError::Missing {
        what: format!("MuJoCo {} (the linked library is {})", crate::MUJOCO, version()),
        mend: crate::MEND.into(),
    })
}

/// The model of that text, compiled once and shared by all copies and threads that use it at the same time.
///
/// # Errors
/// A text that MuJoCo does not take, or another version of the library than the bindings are made for.
pub fn model(text: &str) -> Result<Arc<MjModel>, ConfigError> {
    static MODELS: Mutex<Vec<(String, Weak<MjModel>)>> = Mutex::new(Vec::new());
    right_version()?;
    quieten();
    let mut models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(model) = models.iter().find(|(known, _)| known == text).and_then(|(_, model)| model.upgrade()) {
        return Ok(model);
    }
    let made = MjModel::from_xml_string(text).map_err(|e| ConfigError::Invalid(format!("MuJoCo refuses the model: {e}")))?;
    let made = Arc::new(made);
    models.retain(|(known, model)| known != text && model.strong_count() > 0);
    models.push((text.to_owned(), Arc::downgrade(&made)));
    Ok(made)
}

/// One simulation.
#[derive(Debug)]
pub struct Sim {
    data: MjData<Arc<MjModel>>,
}

impl Sim {
    /// At rest in the model's own start.
    ///
    /// # Errors
    /// No memory for it.
    pub fn new(model: Arc<MjModel>) -> Result<Self, ConfigError> {
        let made = MjData::try_new(model).map_err(|e| ConfigError::Invalid(format!("MuJoCo cannot simulate the model: {e}")))?;
        Ok(Self { data: made })
    }

    /// The engine's arrays.
    pub fn data(&self) -> &MjData<Arc<MjModel>> {
        &self.data
    }

    /// The engine's arrays, to be written.
    pub fn data_mut(&mut self) -> &mut MjData<Arc<MjModel>> {
        &mut self.data
    }

    /// The model.
    pub fn model(&self) -> &MjModel {
        self.data.model()
    }

    /// The index of a named object.
    ///
    /// # Errors
    /// The model has none of that name.
    pub fn find(&self, kind: MjtObjBase, name: &str) -> Result<usize, ConfigError> {
        let found = self.model().name_to_id(kind, name);
        found.ok_or_else(|| ConfigError::Invalid(format!("the model has no {kind:?} called \"{name}\"")))
    }

    /// Everything at the model's own start, forces and warnings cleared.
    pub fn reset(&mut self) {
        self.data.reset();
    }

    /// Puts the bodies somewhere and computes everything that follows from it.
    pub fn place(&mut self, qpos: &[f64], qvel: &[f64]) {
        self.data.qpos_mut().copy_from_slice(qpos);
        self.data.qvel_mut().copy_from_slice(qvel);
        self.data.forward();
    }

    /// Takes `count` steps of the engine with the controls as they are.
    ///
    /// # Errors
    /// [`EnvError::Failed`] where positions, velocities or accelerations became infinite or huge: MuJoCo then starts over by
    /// itself, which no agent should learn from.
    pub fn step(&mut self, count: usize) -> Result<(), EnvError> {
        for _ in 0..count {
            self.data.step();
        }
        let warnings = self.data.warning();
        let bad = [MjtWarning::mjWARN_BADQPOS, MjtWarning::mjWARN_BADQVEL, MjtWarning::mjWARN_BADQACC];
        if bad.iter().any(|&w| warnings[w as usize].number > 0) {
            return Err(EnvError::Failed("the physics diverged: positions, velocities or accelerations became huge".into()));
        }
        Ok(())
    }

    /// Appends everything that a step depends on.
    pub fn save(&self, bytes: &mut Vec<u8>) {
        self.data.state(STATE).iter().for_each(|x| bytes.extend(x.to_le_bytes()));
    }

    /// Goes back to what [`Sim::save`] wrote; `None`, with nothing changed, where it wrote something else.
    pub fn load(&mut self, bytes: &[u8]) -> Option<()> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() || numbers.len() != self.model().state_size(STATE) {
            return None;
        }
        let numbers: Vec<f64> = numbers.iter().map(|b| f64::from_le_bytes(*b)).collect();
        self.data.reset();
        self.data.set_state(&numbers, STATE).ok()
    }
}

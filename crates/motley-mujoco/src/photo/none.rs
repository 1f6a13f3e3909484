//! In place of `gl.rs` on systems where MuJoCo's renderer needs a window: nothing can be drawn.

use std::convert::Infallible;

use motley_core::ConfigError;
use mujoco_rs::prelude::{MjModel, MjvScene};

/// There is none.
#[derive(Debug)]
pub(super) struct Platform(Infallible);

/// There is none.
#[derive(Debug)]
pub(super) struct Canvas(Infallible);

/// Never one.
///
/// # Errors
/// Always [`ConfigError::Missing`].
pub(super) fn platform() -> Result<&'static Platform, ConfigError> {
    let mend = "pictures by MuJoCo's renderer are made on Linux alone".into();
    Err(ConfigError::Missing { what: "OpenGL without a window".into(), mend })
}

impl Platform {
    pub(super) fn name(&self) -> &str {
        match self.0 {}
    }

    pub(super) fn most(&self) -> u32 {
        match self.0 {}
    }
}

impl Canvas {
    pub(super) fn new(_model: &MjModel) -> Result<Self, ConfigError> {
        match platform()?.0 {}
    }

    pub(super) fn draw(&mut self, _scene: &mut MjvScene, _width: u32, _height: u32) -> Result<Vec<u8>, ConfigError> {
        match self.0 {}
    }
}

/// Nothing is drawn.
pub(super) fn ball(_scene: &mut MjvScene, _at: [f64; 3], _radius: f64, _color: [f32; 4]) {}

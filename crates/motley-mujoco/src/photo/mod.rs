//! Pictures by MuJoCo's own renderer: a copy of the model with a sky, a light and a buffer of the wanted size, put where the
//! simulation is, and a camera where the plain picture ([`crate::view`]) is seen from.

#[cfg_attr(not(target_os = "linux"), path = "none.rs")]
mod gl;

use std::borrow::Cow;
use std::sync::Arc;

use motley_core::{ConfigError, Photo};
use mujoco_rs::prelude::{MjData, MjModel, MjvCamera, MjvOption, MjvPerturb, MjvScene};

use crate::engine::{self, STATE, Sim};
use crate::view::{FLAT, View};

/// Shapes that the renderer draws besides the model's: tendons, contacts, goals.
const FURTHER: usize = 256;
/// Where a model has none.
const SKY: &str = r#"<asset><texture type="skybox" builtin="gradient" rgb1="0.85 0.9 0.95" rgb2="0.45 0.55 0.65" width="64" height="64"/></asset>"#;
/// Where a model has none.
const LIGHT: &str =
    r#"<worldbody><light directional="true" dir="-0.3 0.2 -1" diffuse="0.5 0.5 0.5" specular="0.1 0.1 0.1"/></worldbody>"#;
/// Metres and colour of the ball where something is to go.
const GOAL: (f64, [f32; 4]) = (0.03, [0.2, 0.7, 0.3, 0.35]);
/// The tangent of half the renderer's field of view, which is 45 degrees upright.
const HALF_VIEW: f64 = std::f64::consts::SQRT_2 - 1.0;

/// Who draws, in words.
///
/// # Errors
/// [`ConfigError::Missing`] where nothing is found to draw with, another variant where the environment variable `MUJOCO_GL` forbids it.
pub(crate) fn survey() -> Result<&'static str, ConfigError> {
    gl::platform().map(gl::Platform::name)
}

/// What to look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    /// From where.
    pub(crate) view: View,
    /// Where things are to go, in metres.
    pub(crate) goals: &'a [[f64; 3]],
}

/// A renderer of one model in one size.
#[derive(Debug)]
pub(crate) struct Camera {
    canvas: gl::Canvas,
    scene: MjvScene,
    /// Where the simulation was when it was last looked at.
    data: MjData<Arc<MjModel>>,
    size: [u32; 2],
}

impl Camera {
    /// Of a model's text, for pictures `width` pixels wide.
    ///
    /// # Errors
    /// As [`survey`]; [`ConfigError::Value`] for more pixels than the graphics library takes.
    fn new(text: &str, width: u32) -> Result<Self, ConfigError> {
        let most = gl::platform()?.most();
        if !(2..=most).contains(&width) {
            let expected = format!("2 to {most} pixels");
            return Err(ConfigError::Value { key: "width".into(), expected, found: width.to_string() });
        }
        let size = [width, (FLAT * f64::from(width)).round() as u32];
        let model = engine::model(&staged(text, size))?;
        let canvas = gl::Canvas::new(&model)?;
        let scene = MjvScene::new(&model, model.geom_type().len() + FURTHER);
        let data = MjData::try_new(model).map_err(|e| ConfigError::Invalid(format!("MuJoCo cannot copy the simulation: {e}")))?;
        Ok(Self { canvas, scene, data, size })
    }

    /// The simulation as it is now. It must be of the model that the text was of.
    ///
    /// # Errors
    /// A context that cannot be used.
    fn shoot(&mut self, sim: &Sim, look: Look<'_>) -> Result<Photo, ConfigError> {
        let put = self.data.set_state(&sim.data().state(STATE), STATE);
        put.map_err(|e| ConfigError::Invalid(format!("MuJoCo cannot copy the simulation: {e}")))?;
        self.data.forward();
        // A chain of segments is seen whole from its middle.
        let mut camera = aim(look.view, self.data.subtree_com()[1]);
        // Shapes that contacts are computed with are all that the hands have; marks of sensors are not for show.
        let option = MjvOption { geomgroup: [1; 6], sitegroup: [0; 6], ..MjvOption::default() };
        self.scene.update(&mut self.data, &option, &MjvPerturb::default(), &mut camera);
        look.goals.iter().for_each(|at| gl::ball(&mut self.scene, *at, GOAL.0, GOAL.1));
        let [width, height] = self.size;
        let upside_down = self.canvas.draw(&mut self.scene, width, height)?;
        let rgb = upside_down.chunks_exact(width as usize * 3).rev().flatten().copied().collect();
        Ok(Photo { width, height, rgb })
    }
}

/// A photo with the camera that is kept for the next ones; it is made where there is none of this width.
///
/// # Errors
/// As [`Camera::new`] and [`Camera::shoot`].
pub(crate) fn take(
    camera: &mut Option<Camera>,
    text: impl FnOnce() -> Cow<'static, str>,
    width: u32,
    sim: &Sim,
    look: Look<'_>,
) -> Result<Photo, ConfigError> {
    let kept = camera.take().filter(|camera| camera.size[0] == width);
    let made = match kept {
        Some(kept) => kept,
        None => Camera::new(&text(), width)?,
    };
    camera.insert(made).shoot(sim, look)
}

/// The model with what only pictures need: nothing that has a place in the simulation's state. Without shadows: where the map that
/// they are computed with ends, stray pieces of them lie on the floor.
fn staged(text: &str, [width, height]: [u32; 2]) -> String {
    let sky = if text.contains("skybox") { "" } else { SKY };
    let light = if text.contains("<light") { "" } else { LIGHT };
    let end = text.rfind("</mujoco>").unwrap_or(text.len());
    format!(
        r#"{}<visual><global offwidth="{width}" offheight="{height}"/><quality shadowsize="0"/></visual>{sky}{light}</mujoco>"#,
        &text[..end]
    )
}

/// The renderer's camera for a view: as far away as shows the view's width at its middle. `root` is the robot's centre of mass.
fn aim(view: View, root: [f64; 3]) -> MjvCamera {
    let stand = view.stand(root);
    let distance = stand.reach * FLAT / HALF_VIEW;
    MjvCamera { lookat: stand.at, distance, azimuth: stand.azimuth, elevation: stand.elevation, ..MjvCamera::default() }
}

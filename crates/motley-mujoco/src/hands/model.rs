//! The scene of a task: two Shadow Hands put together from the hand's own files, and what they play with.

use super::rules::{MOUNT, compose};
use super::task::{Base, Play, Stand, Thing};

/// Prefixes of the two hands' names.
pub(super) const SIDES: [&str; 2] = ["right", "left"];
/// Engine steps a control step of 1/60 s.
pub const SUBSTEPS: usize = 8;
/// The fingers, in the order of the observation.
pub(super) const FINGERS: [&str; super::task::FINGERS] = ["ff", "mf", "rf", "lf", "th"];
/// Names of one egg or two.
pub(super) const EGGS: [&str; 2] = ["object", "other"];

const BODY: &str = include_str!("../../assets/hand/robot.xml");
const SHARED: &str = include_str!("../../assets/hand/shared.xml");
const EGG: &str = include_str!("../../assets/objects/egg.xml");
const POT: &str = include_str!("../../assets/objects/pot.xml");
const DOOR: &str = include_str!("../../assets/objects/door.xml");
const PEN: &str = include_str!("../../assets/objects/pen.xml");

/// Joints of a base that moves. The original damps every part's motion by 100 /s; here that is done for the hand as a whole,
/// which has 5.0 kg, its centre of mass here and moments of inertia of 0.011, 0.026 and 0.026 kg m^2 about it.
const FREE: &str = r#"<joint type="slide" axis="1 0 0" damping="500"/><joint type="slide" axis="0 1 0" damping="500"/>
    <joint type="slide" axis="0 0 1" damping="500"/><joint type="ball" pos="0.002 0.008 0.292" damping="2"/>"#;

/// What stands inside the outermost element.
fn inside(text: &str) -> &str {
    let from = text.find("<mujoco>").map_or(0, |at| at + "<mujoco>".len());
    let to = text.rfind("</mujoco>").unwrap_or(text.len());
    &text[from..to]
}

/// Numbers with blanks between them.
fn numbers(list: &[f64]) -> String {
    list.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
}

/// A hand's bodies at a place: its own shapes for contact stay, the meshes that only decorate it go, its forearm becomes
/// a capsule, and gravity does not pull at it.
fn hand(side: &str, stand: &Stand, base: Base) -> String {
    let kept = inside(BODY).lines().filter(|line| !line.contains("D_Vizual"));
    let joints = if base == Base::Fixed { "" } else { FREE };
    let line = |line: &str| {
        if line.contains("robot0:hand mount") {
            let (at, turned) = (numbers(&stand.at), numbers(&compose(stand.rotation(), MOUNT)));
            return format!(r#"<body name="robot0:hand mount" pos="{at}" quat="{turned}">{joints}"#);
        }
        if line.contains("robot0:C_forearm") {
            let capsule =
                r#"<geom class="robot0:DC_Hand" name="robot0:C_forearm" type="capsule" fromto="0 0 0.05 0 0 0.2" size="0.05"/>"#;
            return capsule.to_owned();
        }
        line.to_owned()
    };
    let text = kept.map(line).collect::<Vec<_>>().join("\n");
    text.replace("<body ", r#"<body gravcomp="1" "#).replace("robot0:", &format!("{side}:"))
}

/// A hand's classes, tendons, motors and sensors, and sensors of the force and torque at its fingertips.
fn shared(side: &str) -> String {
    let sensors: String = FINGERS
        .iter()
        .map(|f| {
            format!(r#"<force name="robot0:F_{f}" site="robot0:S_{f}tip"/><torque name="robot0:T_{f}" site="robot0:S_{f}tip"/>"#)
        })
        .collect();
    // Sizes and pictures belong to the program that the file was written for.
    let text = inside(SHARED);
    let text = text.find("<default>").map_or(text, |at| &text[at..]);
    let text =
        text.replacen("<default>", "<default>\n<geom/>", 1).replace(r#"material="robot0:MatColl""#, r#"rgba="0.4 0.5 0.6 1""#);
    format!("{text}<sensor>{sensors}</sensor>").replace("robot0:", &format!("{side}:"))
}

/// What the hands play with.
fn things(play: &Play) -> String {
    let filled = |text: &str, k: usize| inside(text).replace("PLACE", &numbers(&play.places[k].start));
    match play.thing {
        Thing::Eggs => {
            let colours = ["0.9 0.6 0.2 1", "0.3 0.7 0.4 1"];
            let egg = |k: usize| filled(EGG, k).replace("NAME", EGGS[k]).replace("COLOUR", colours[k]);
            (0..play.places.len().min(EGGS.len())).map(egg).collect()
        }
        Thing::Pot => filled(POT, 0),
        Thing::Door { pushed, .. } => {
            // Its leaves turn towards -x, the hands stand at x > 0.
            let turned = if pushed { [1.0, 0.0, 0.0, 0.0] } else { [0.0, 0.0, 1.0, 0.0] };
            filled(DOOR, 0).replace("TURN", &numbers(&turned))
        }
        Thing::Pen => filled(PEN, 0),
    }
}

/// The task's scene in MuJoCo's language.
pub(super) fn text(play: &Play) -> String {
    let hands: String = SIDES.iter().zip(&play.hands).map(|(side, stand)| hand(side, stand, play.base)).collect();
    let classes: String = SIDES.iter().map(|side| shared(side)).collect();
    format!(
        r#"<mujoco model="hands"><compiler angle="radian"/><option timestep="{}" iterations="20"/>
        {classes}
        <worldbody>{hands}</worldbody>
        {}</mujoco>"#,
        1.0 / 480.0,
        things(play)
    )
}

/// The same for pictures: the shapes of the hands, which are see-through because meshes went around them, are solid.
pub(super) fn solid(play: &Play) -> String {
    ["0.1", "0.2"]
        .iter()
        .fold(text(play), |text, faint| text.replace(&format!(r#"rgba="0.4 0.5 0.6 {faint}""#), r#"rgba="0.4 0.5 0.6 1""#))
}

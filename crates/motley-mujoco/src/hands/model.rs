//! The scene: two Shadow Hands and what they play with, put together from the hand's own files.

/// Half axes of the egg, in metres.
pub(super) const EGG: [f64; 3] = [0.03, 0.03, 0.04];
/// Prefixes of the two hands' names.
pub(super) const SIDES: [&str; 2] = ["right", "left"];
/// Engine steps a control step of 1/60 s.
pub(super) const SUBSTEPS: usize = 8;
/// The fingers, in the order of the observation.
pub(super) const FINGERS: [&str; 5] = ["ff", "mf", "rf", "lf", "th"];

const BODY: &str = include_str!("../../assets/hand/robot.xml");
const SHARED: &str = include_str!("../../assets/hand/shared.xml");

/// What stands inside the outermost element.
fn inside(text: &str) -> &str {
    let from = text.find("<mujoco>").map_or(0, |at| at + "<mujoco>".len());
    let to = text.rfind("</mujoco>").unwrap_or(text.len());
    &text[from..to]
}

/// A hand's bodies at a place: its own shapes for contact stay, the meshes that only decorate it go, its forearm becomes
/// a capsule, and gravity does not pull at it.
fn hand(side: &str, mount: &str) -> String {
    let kept = inside(BODY).lines().filter(|line| !line.contains("D_Vizual"));
    let line = |line: &str| {
        if line.contains("robot0:hand mount") {
            return format!(r#"<body name="robot0:hand mount" {mount}>"#);
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

/// Two hands fixed face to face, a step apart, and an egg of density 500 above the right one.
pub(super) fn over() -> String {
    // The mount's own turn lays the hand on its back along -y; the left one is turned by half a turn about z.
    let mounts = [r#"pos="0 0 0.5" euler="1.5708 0 3.14159""#, r#"pos="0 -1 0.5" euler="-1.5708 0 0""#];
    let hands: String = SIDES.iter().zip(mounts).map(|(side, mount)| hand(side, mount)).collect();
    let classes: String = SIDES.iter().map(|side| shared(side)).collect();
    let [a, b, c] = EGG;
    format!(
        r#"<mujoco model="hands"><compiler angle="radian"/><option timestep="{}" iterations="20"/>
        {classes}
        <worldbody>{hands}
        <body name="object" pos="0 -0.39 0.54"><freejoint name="object"/>
        <geom name="object" type="ellipsoid" size="{a} {b} {c}" density="500" condim="4" rgba="0.9 0.6 0.2 1"/></body>
        </worldbody></mujoco>"#,
        1.0 / 480.0
    )
}

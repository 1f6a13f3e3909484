//! The models' texts: Gymnasium's files as they are, and the segmented robots built from their templates.

use std::borrow::Cow;
use std::fmt::Write;

use super::robots::Robot;

macro_rules! asset {
    ($path:literal) => {
        include_str!(concat!("../../assets/", $path))
    };
}

/// The MJCF text of a robot; `segments` counts for segmented ones, `v2` takes the older walker and the older swimmer's clock.
pub(super) fn text(robot: Robot, segments: usize, v2: bool) -> Cow<'static, str> {
    let fixed = match robot {
        Robot::HalfCheetah => asset!("gymnasium/half_cheetah.xml"),
        Robot::Ant => asset!("gymnasium/ant.xml"),
        Robot::Hopper => asset!("gymnasium/hopper.xml"),
        Robot::Walker2d if v2 => asset!("gymnasium/walker2d.xml"),
        Robot::Walker2d => asset!("gymnasium/walker2d_v5.xml"),
        Robot::Humanoid => asset!("gymnasium/humanoid.xml"),
        Robot::HumanoidStandup => asset!("gymnasium/humanoidstandup.xml"),
        Robot::Swimmer => asset!("gymnasium/swimmer.xml"),
        Robot::Reacher => asset!("gymnasium/reacher.xml"),
        Robot::Pusher => asset!("gymnasium/pusher_v5.xml"),
        Robot::CoupledHalfCheetah => asset!("gymnasium-robotics/coupled_half_cheetah.xml"),
        // Of the older multi-agent suite, which HARL ships: the step of the clock is half of what it is now.
        Robot::ManySegmentSwimmer if v2 => return swimmer(segments).replace(r#"timestep="0.01""#, r#"timestep="0.005""#).into(),
        Robot::ManySegmentSwimmer => return swimmer(segments).into(),
        Robot::ManySegmentAnt => return ant(segments).into(),
    };
    fixed.into()
}

fn fill(template: &str, body: &str, actuators: &str) -> String {
    template.replace("{{ body }}", body).replace("{{ actuators }}", actuators)
}

/// Links behind the first two, turning to alternating sides; the last is the tail.
fn swimmer(segments: usize) -> String {
    let (mut body, mut motors) = (String::new(), String::new());
    for i in 1..segments {
        let last = i + 1 == segments;
        let name = if last { "back".to_owned() } else { format!("mid{i}") };
        let side = if last || i % 2 == 1 { 1 } else { -1 };
        let _ = write!(
            body,
            r#"<body name="{name}" pos="-1 0 0"><geom density="1000" fromto="0 0 0 -1 0 0" size="0.1" type="capsule"/><joint axis="0 0 {side}" limited="true" name="rot{i}" pos="0 0 0" range="-100 100" type="hinge"/>"#
        );
    }
    body.push_str(&"</body>".repeat(segments - 1));
    for i in 0..segments {
        let _ = writeln!(motors, r#"<motor ctrllimited="true" ctrlrange="-1 1" gear="150.0" joint="rot{i}"/>"#);
    }
    fill(asset!("gymnasium-robotics/many_segment_swimmer.xml.template"), &body, &motors)
}

/// A leg of a further segment of the ant, on the side `y`.
fn ant_leg(s: usize, y: &str, leg: usize, ankle_axis: &str) -> String {
    format!(
        r#"<body name="leg{leg}_{s}" pos="0 0 0"><geom fromto="0.0 0.0 0.0 0.0 {y}0.2 0.0" size="0.08" type="capsule"/>
        <body name="upper{leg}_{s}" pos="0.0 {y}0.2 0"><joint axis="0 0 1" name="hip{leg}_{s}" pos="0.0 0.0 0.0" range="-30 30" type="hinge"/>
        <geom fromto="0.0 0.0 0.0 -0.2 {y}0.2 0.0" size="0.08" type="capsule"/>
        <body pos="-0.2 {y}0.2 0"><joint axis="{ankle_axis}" name="ankle{leg}_{s}" pos="0.0 0.0 0.0" range="-70 -30" type="hinge"/>
        <geom fromto="0.0 0.0 0.0 -0.4 {y}0.4 0.0" size="0.08" type="capsule"/></body></body></body>"#
    )
}

/// Torsos behind the first, each with two legs.
fn ant(segments: usize) -> String {
    let (mut body, mut motors) = (String::new(), String::new());
    for s in 1..segments {
        let _ = write!(
            body,
            r#"<body name="torso_{s}" pos="-1 0 0"><geom density="100" fromto="1 0 0 0 0 0" size="0.1" type="capsule"/>{}{}"#,
            ant_leg(s, "", 1, "1 1 0"),
            ant_leg(s, "-", 2, "-1 1 0")
        );
    }
    body.push_str(&"</body>".repeat(segments - 1));
    for s in 0..segments {
        for joint in ["hip1", "ankle1", "hip2", "ankle2"] {
            let _ = writeln!(motors, r#"<motor ctrllimited="true" ctrlrange="-1.0 1.0" joint="{joint}_{s}" gear="150"/>"#);
        }
    }
    fill(asset!("gymnasium-robotics/many_segment_ant.xml.template"), &body, &motors)
}

//! What holds without the engine: factorisations, neighbourhoods, settings.

use motley_core::{ConfigError, Origin, Settings, Task};

use super::graph::Read;
use super::options::Options;
use super::robots::{ROBOTS, Robot};
use super::{RobotTask, table};

fn graph_of(robot: Robot, conf: &str, slips: bool) -> super::graph::Graph {
    let segments = if robot.is_segmented() { robot.segments(conf).map(|(a, b)| a * b).unwrap() } else { 0 };
    robot.graph(segments, slips)
}

/// Sizes of all agents' observations.
fn sizes(robot: Robot, conf: &str, depth: usize) -> Vec<usize> {
    let graph = graph_of(robot, conf, false);
    let agents = robot.partition(conf).unwrap();
    let own = |names: &Vec<String>| names.iter().map(|n| graph.find(n).unwrap()).collect::<Vec<_>>();
    agents.iter().map(|names| graph.observe(&own(names), depth).len()).collect()
}

#[test]
fn names_are_unique_and_settings_read() {
    let mut names: Vec<String> = table().map(|t| t.name()).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    for name in ["HalfCheetah-6x1", "Ant-2x4d", "Humanoid-9|8", "HumanoidStandup-17x1", "ManySegmentSwimmer-10x2", "Pusher"] {
        assert!(names.contains(&format!("mamujoco/{name}")), "{name}");
    }
    for task in table() {
        assert!(task.keys().iter().all(|k| k.name.starts_with("task.") && !k.help.is_empty()));
        let options = Settings::new(task.keys()).section("task");
        let read = Options::read(task.robot, task.conf.as_deref(), &options).unwrap();
        assert_eq!(read.conf, task.conf.as_deref().unwrap_or(task.robot.confs()[0]));
    }
}

/// The sizes of gymnasium-robotics 1.4.2, for depths 0, 1 and 2.
#[test]
fn observations_have_the_published_sizes() {
    let check = |robot, conf: &str, expected: [&[usize]; 3]| {
        for (depth, expected) in expected.into_iter().enumerate() {
            assert_eq!(sizes(robot, conf, depth), expected, "{robot:?} {conf} depth {depth}");
        }
    };
    check(Robot::HalfCheetah, "6x1", [&[7; 6], &[9, 9, 8, 9, 9, 8], &[11, 10, 9, 11, 10, 9]]);
    check(Robot::HalfCheetah, "2x3", [&[11; 2], &[12; 2], &[13; 2]]);
    check(Robot::Ant, "4x2", [&[39; 4], &[42; 4], &[45; 4]]);
    check(Robot::Ant, "2x4", [&[61; 2], &[63; 2], &[65; 2]]);
    check(Robot::Ant, "2x4d", [&[61; 2], &[63; 2], &[65; 2]]);
    check(Robot::Hopper, "3x1", [&[7; 3], &[8, 9, 8], &[9; 3]]);
    check(Robot::Walker2d, "2x3", [&[11; 2], &[12; 2], &[13; 2]]);
    check(Robot::Humanoid, "9|8", [&[236, 167], &[242, 170], &[244, 174]]);
    check(Robot::Swimmer, "2x1", [&[5; 2], &[6; 2], &[6; 2]]);
    check(Robot::Reacher, "2x1", [&[5, 8], &[7, 10], &[7, 10]]);
    check(Robot::Pusher, "3p", [&[15, 11, 15], &[16, 13, 16], &[17, 15, 17]]);
    check(Robot::ManySegmentSwimmer, "10x2", [&[4; 10], &[5, 6, 6, 6, 6, 6, 6, 6, 6, 5], &[6, 8, 8, 8, 8, 8, 8, 8, 8, 6]]);
}

/// Every joint belongs to exactly one agent and every motor to one joint, in each factorisation; the slips change neither.
#[test]
fn factorisations_share_out_every_joint_once() {
    for robot in ROBOTS {
        for conf in robot.confs() {
            for slips in [false, true] {
                let graph = graph_of(robot, conf, slips);
                let mut motors: Vec<usize> =
                    robot.partition(conf).unwrap().iter().flatten().map(|n| graph.nodes[graph.find(n).unwrap()].ctrl).collect();
                motors.sort_unstable();
                assert!(motors.iter().copied().eq(0..motors.len()), "{robot:?} {conf}: {motors:?}");
            }
        }
    }
}

#[cfg(feature = "engine")]
#[test]
fn the_older_swimmers_clock_has_half_the_step() {
    let steps = |v2| super::models::text(Robot::ManySegmentSwimmer, 4, v2).matches(r#"timestep="0.005""#).count();
    assert_eq!((steps(false), steps(true)), (0, 1));
}

/// Of robots that HARL has no figures of there are no older rules.
#[test]
fn older_rules_are_where_harl_has_them() {
    let without: Vec<Robot> = ROBOTS.into_iter().filter(|r| !r.has_v2()).collect();
    assert_eq!(without, [Robot::Pusher, Robot::CoupledHalfCheetah, Robot::ManySegmentAnt]);
}

#[test]
fn segmented_robots_take_any_sizes_in_their_names() {
    let found = |name: &str| super::families().iter().find_map(|f| f.task(name).transpose()).transpose();
    let task = found("mamujoco/ManySegmentSwimmer-7x3").unwrap().unwrap();
    assert_eq!(task.name(), "mamujoco/ManySegmentSwimmer-7x3");
    assert!(task.keys().iter().all(|k| k.name != "task.conf"));
    assert_eq!(found("mamujoco/ManySegmentAnt-1x1").unwrap().unwrap().name(), "mamujoco/ManySegmentAnt-1x1");
    for other in ["mamujoco/Ant-4x2", "mamujoco/ManySegmentAnt", "mamujoco/ManySegmentAnt-02x3", "mpe/ManySegmentAnt-2x3"] {
        assert!(found(other).unwrap().is_none(), "{other}");
    }
    assert!(found("mamujoco/ManySegmentAnt-70x3").is_err() && found("mamujoco/ManySegmentSwimmer-x").is_err());
}

#[test]
fn levels_are_disjoint_and_sorted_by_name() {
    let graph = Robot::ManySegmentSwimmer.graph(12, false);
    let middle = graph.find("rot9").unwrap();
    let levels = graph.levels(&[middle], 2);
    let names: Vec<Vec<&str>> = levels.iter().map(|l| l.iter().map(|&n| graph.nodes[n].label.as_str()).collect()).collect();
    assert_eq!(names, [vec!["rot9"], vec!["rot10", "rot8"], vec!["rot11", "rot7"]]);
    let everything: usize = graph.levels(&[middle], 50).iter().map(Vec::len).sum();
    assert_eq!(everything, 12);
}

/// In the corrected graph a segment of the ant is next to the one before and the one behind; v1 sees copies of the ones before.
#[test]
fn a_chain_of_ants_is_tied_both_ways_once_corrected() {
    let near = |slips: bool, s: usize| {
        let graph = Robot::ManySegmentAnt.graph(3, slips);
        let own: Vec<usize> =
            ["hip1", "ankle1", "hip2", "ankle2"].iter().map(|j| graph.find(&format!("{j}_{s}")).unwrap()).collect();
        graph.levels(&own, 1)[1].iter().map(|&n| graph.nodes[n].label.clone()).collect::<Vec<_>>()
    };
    assert_eq!(near(false, 1), ["hip1_0", "hip1_2", "hip2_0", "hip2_2"]);
    assert_eq!(near(true, 1), ["hip1_0", "hip2_0"]);
    assert!(near(true, 0).is_empty());
    let graph = Robot::ManySegmentAnt.graph(3, false);
    assert_eq!(graph.nodes[graph.find("ankle1_2").unwrap()].qpos, [Read::Qpos(7 + 9)]);
}

#[test]
fn impossible_factorisations_are_refused() {
    let refused = |robot: Robot, settings: &[&str]| {
        let task = RobotTask { robot, conf: None };
        let mut all = Settings::new(task.keys());
        for setting in settings {
            all.set_text(&format!("task.{setting}"), Origin::CommandLine).unwrap();
        }
        let read = Options::read(robot, None, &all.section("task"));
        read.and_then(|o| o.agents(&graph_of(robot, robot.confs()[0], false))).unwrap_err().to_string()
    };
    let hopper = |text: &str| refused(Robot::Hopper, &[&format!("partition={text}")]);
    assert!(hopper(r#"[["thigh_joint"], ["leg_joint"]]"#).contains("leaves out foot_joint"));
    assert!(hopper(r#"[["thigh_joint", "leg_joint"], ["leg_joint", "foot_joint"]]"#).contains("\"leg_joint\" away twice"));
    assert!(hopper(r#"[["thigh_joint", "leg_joint", "foot_joint"], []]"#).contains("agent 1 without"));
    assert!(hopper(r#"[["thigh_joint", "leg_joint", "fot_joint"]]"#).contains("foot_joint"));
    assert!(hopper("3").contains("a list of lists"));
    assert!(refused(Robot::Hopper, &["conf=\"2x2\""]).contains("3x1"));
    for conf in ["0x3", "3x0", "x", "1x1", "9x9", "-1x2", "18446744073709551615x2"] {
        let found = Robot::ManySegmentSwimmer.partition(conf);
        assert!(matches!(found, Err(ConfigError::Value { .. })), "{conf}: {found:?}");
    }
    assert_eq!(Robot::ManySegmentAnt.partition("1x1").unwrap().len(), 1);
}

/// Without the engine a task says what is missing and how to get it, and still refuses wrong settings first.
#[cfg(not(feature = "engine"))]
#[test]
fn without_the_engine_the_mend_is_told() {
    assert_eq!(crate::linked(), None);
    for task in crate::tasks() {
        let error = task.make(&Settings::new(task.keys()).section("task")).err().unwrap();
        assert!(matches!(error, ConfigError::Missing { .. }), "{}: {error}", task.name());
        assert!(error.to_string().contains("scripts/get-mujoco"), "{error}");
    }
    let task = RobotTask { robot: Robot::Hopper, conf: None };
    let mut all = Settings::new(task.keys());
    all.set_text("task.partition=7", Origin::CommandLine).unwrap();
    assert!(matches!(task.make(&all.section("task")), Err(ConfigError::Value { .. })));
}

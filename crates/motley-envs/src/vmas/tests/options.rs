//! What settings and starts mean, against numbers worked out by hand.

use super::super::world::World;
use super::*;
use crate::registry::options;

const ROD: usize = 0;

fn opened(name: &str, settings: &[&str]) -> Box<dyn Replay> {
    let name = format!("vmas/{name}");
    let options = options(&*Registry::builtin().get(&name).unwrap(), settings).unwrap();
    open(&name, &options).unwrap()
}

/// Bodies as episode `number` starts.
fn start(env: &mut dyn Replay, number: u64) -> World {
    let mut buf = FrameBuf::new(&env.spec().clone());
    env.reset(Stream::new(number, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
    env.world().clone()
}

/// All rewards after `change`, which comes after the scenario's memory is set.
fn paid(env: &mut dyn Replay, change: impl FnOnce(&mut World)) -> (Vec<f64>, Vec<f32>) {
    let mut buf = FrameBuf::new(&env.spec().clone());
    env.remember();
    change(env.world());
    env.rate(&mut buf.frame(), &mut |_| {});
    (buf.rewards, buf.obs)
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-5
}

/// Each robot has the left end in about half of the episodes; the weight is always a quarter of half a rod from the second.
#[test]
fn a_rods_ends_are_drawn() {
    for setting in ["random_start_angle=true", "random_start_angle=false"] {
        let mut env = opened("joint_passage", &[setting]);
        let mut left = 0;
        for number in 0..200 {
            let world = start(&mut *env, number);
            let (first, second) = (world.team[0], world.team[1]);
            left += usize::from(world.bodies[first].pos[0] < world.bodies[second].pos[0]);
            assert!((world.between(1, second) - 0.0625).abs() < 1e-5, "{setting}");
            assert!((world.between(first, second) - 0.5).abs() < 1e-5, "{setting}");
        }
        assert!((70..130).contains(&left), "{setting}: {left}");
    }
}

#[test]
fn robots_and_goals_stand_in_one_order() {
    let mut env = opened("passage", &[]);
    for number in 0..5 {
        let world = start(&mut *env, number);
        let way = |i: usize| [0, 1].map(|axis| world.bodies[i].pos[axis] - world.agent(i).pos[axis]);
        assert!((1..5).all(|i| [0, 1].iter().all(|&axis| (way(i)[axis] - way(0)[axis]).abs() < 1e-6)));
    }
}

/// The goal in the middle of a hollow box of side 0.6, and just beyond 0.3 + 0.09 and an edge's thickness of 4 / 600.
#[test]
fn a_hollow_box_is_at_a_goal_inside_it() {
    let mut env = opened("reverse_transport", &[]);
    for (x, expected) in [(0.0, true), (0.396, true), (0.398, false)] {
        let world = env.world();
        (world.bodies[0].pos, world.bodies[1].pos) = ([x, 0.0], [0.0; 2]);
        assert_eq!(env.over(), expected, "{x}");
    }
}

#[test]
fn rods_have_arrived_within_a_hundredth() {
    for name in ["joint_passage", "joint_passage_size"] {
        for (off, expected) in [(0.009, true), (0.011, false)] {
            let mut env = opened(name, &[]);
            let goal = if name == "joint_passage" { 2 } else { 1 };
            let world = env.world();
            let rot = world.bodies[goal].rot;
            world.bodies[ROD].pos = world.bodies[goal].pos;
            world.bodies[ROD].turn(rot + off);
            assert_eq!(env.over(), expected, "{name} {off}");
        }
    }
}

/// From 0.3 above level to 0.1 below it, or to half a turn less 0.1: as lines both are 0.2 nearer to level. Otherwise the cosine counts.
#[test]
fn gaps_alike_may_be_met_either_way_round() {
    for end in [-0.1, std::f32::consts::PI - 0.1] {
        let turned = |setting: &str| {
            let mut env = opened("joint_passage_size", &["n_passages=4", setting]);
            start(&mut *env, 3);
            env.world().bodies[ROD].turn(0.3);
            paid(&mut *env, |world| world.bodies[ROD].turn(end)).0[0]
        };
        assert!(near(turned("middle_angle_180=true"), 0.2));
        assert!(near(turned("middle_angle_180=false").abs(), (f64::from(end).cos() - 0.3_f64.cos()).abs()));
    }
}

#[test]
fn fixed_gaps_of_two_sizes_have_their_places() {
    let mut env = opened("joint_passage_size", &["fixed_passage=true"]);
    let world = start(&mut *env, 0);
    for (body, slot) in [(6, 5.0), (7, 6.0), (8, 9.0)] {
        assert!((world.bodies[body].pos[0] - (-1.03333 + 0.1476 * (slot + 0.5))).abs() < 1e-5);
    }
}

/// A robot of radius 0.03333 beside the wall at x = 1.03333, whose line is 4 / 600 thick: 0.004 away is a contact, 0.006 is none. The
/// other touches nothing in the middle of the lower half.
#[test]
fn contacts_have_a_price() {
    for (gap, expected) in [(0.004, -0.1), (0.006, 0.0)] {
        let paid_with = |settings: &[&str]| {
            let mut env = opened("joint_passage_size", settings);
            start(&mut *env, 3);
            let place = |world: &mut World| {
                let (first, second) = (world.team[0], world.team[1]);
                world.bodies[first].pos = [1.03333 - 4.0 / 600.0 - 0.03333 - gap, -0.5];
                world.bodies[second].pos = [0.0, -0.5];
            };
            paid(&mut *env, place).0[0]
        };
        assert!(near(paid_with(&["collision_reward=-0.1"]) - paid_with(&[]), expected), "{gap}");
    }
}

/// Forces of one step, by hand: 2 (e + e dt / 10 + 1e-5 e / dt) for a mass of 1 and dt = 0.1.
#[test]
fn wanted_velocities_are_steered_to() {
    let mut env = opened("joint_passage_size", &["use_vel_controller=true", "u_range=0.5"]);
    let spec = env.spec().clone();
    assert_eq!(spec.agents[0].action, ActionSpace::uniform_box(2, -0.5, 0.5));
    start(&mut *env, 0);
    env.set_engines(Actions::new(&spec, &[0.5, 0.0, 0.0, -0.2]));
    let drives: Vec<[f32; 2]> = env.world().agents().map(|agent| agent.drive).collect();
    let force = |e: f64| 2.0 * (e + e * 0.1 / 10.0 + 1e-5 * e / 0.1);
    for (found, wanted) in drives.iter().flatten().zip([0.5, 0.0, 0.0, -0.2]) {
        assert!(near(f64::from(*found), force(wanted)), "{drives:?}");
    }
}

/// Without a weight the second robot is heavy, and the physics is another.
#[test]
fn a_rod_without_a_weight_has_rules_of_its_own() {
    let mut env = opened("joint_passage", &["asym_package=false", "mass_ratio=3"]);
    let kinds: Vec<String> = env.spec().agents.iter().map(|agent| agent.kind.clone()).collect();
    assert_eq!(kinds, ["agent", "weighted"]);
    let world = env.world();
    assert_eq!([0, 1].map(|i| world.agent(i).mass), [1.0, 3.0]);
    let rules = &world.rules;
    assert_eq!((rules.substeps, rules.drag, rules.contact, rules.joint), (7, 0.25, 1500.0, 400.0));
}

/// A rod meets the two boxes beside a gap in the middle, and all 13 where the gap is anywhere but in the last slot.
#[test]
fn a_rod_meets_all_boxes_about_a_drawn_gap() {
    let met = |world: &World| world.bodies.iter().filter(|b| b.name.starts_with("passage") && world.bodies[ROD].meets(b)).count();
    assert_eq!(met(&start(&mut *opened("joint_passage", &[]), 0)), 2);
    let mut env = opened("joint_passage", &["fixed_passage=false"]);
    let mut furthest = f32::NEG_INFINITY;
    for number in 0..200 {
        let world = start(&mut *env, number);
        assert_eq!(met(&world), 13);
        let gap = world.bodies.iter().find(|b| b.name == "passage_7").unwrap();
        furthest = furthest.max(gap.pos[0]);
    }
    assert!((furthest - (-1.03333 + 0.1476 * 12.5)).abs() < 1e-5, "{furthest}");
}

/// One bump of variance 0.05 on an edge. What is beyond the edge is seen as if on it: on the left, where the grid that densities are held
/// against has a point at the edge, the bump itself; on the right the grid's last point is 0.025 away.
#[test]
fn samples_beyond_the_edge_are_taken_on_it() {
    for (edge, expected) in [(-0.975, 1.0), (0.975, (0.025_f64 * 0.025 / 0.1).exp())] {
        let mut env = opened("sampling", &["n_agents=1", "n_gaussians=1"]);
        let world = env.world();
        world.memory[1..3].copy_from_slice(&[edge, 0.0]);
        world.bodies[0].pos = [edge * 0.94 / 0.975, 0.0];
        let (_, obs) = paid(&mut *env, |_| {});
        let seen = obs[16 + usize::from(edge < 0.0)];
        assert!(near(f64::from(seen), expected), "{edge}: {seen}");
    }
    let mut env = opened("sampling", &[]);
    let on_the_edge = (0..60).any(|number| start(&mut *env, number).agents().any(|a| a.pos[0].abs() == 0.975));
    assert!(on_the_edge, "a robot drawn beyond the edge starts on it");
}

/// Three robots on one target, two far from it.
#[test]
fn a_shared_target_pays_half_of_what_all_would_be_paid() {
    for (setting, expected) in [("false", [1.0, 1.0, 1.0, 0.0, 0.0]), ("true", [1.5; 5])] {
        let mut env = opened("discovery", &[&format!("shared_reward={setting}")]);
        let world = env.world();
        for (id, body) in world.bodies.iter_mut().enumerate() {
            body.pos = if id < 7 { [0.0, 0.2 * id as f32] } else { [5.0, 0.5 * id as f32] };
        }
        for (i, at) in [[-0.1, -0.1], [0.1, -0.1], [0.0, -0.15]].into_iter().enumerate() {
            world.agent_mut(i).pos = at;
        }
        let (rewards, _) = paid(&mut *env, |_| {});
        assert_eq!(rewards, expected);
    }
}

/// The first ray of the sensor for robots is at 0.05 rad.
#[test]
fn rays_for_robots_are_turned_a_little() {
    let mut env = opened("discovery", &["n_agents=2", "use_agent_lidar=true"]);
    let world = env.world();
    (world.agent_mut(0).pos, world.agent_mut(1).pos) = ([0.0; 2], [0.3 * 0.05_f32.cos(), 0.3 * 0.05_f32.sin()]);
    let (_, obs) = paid(&mut *env, |_| {});
    assert!(near(f64::from(obs[4 + 15]), 0.25), "{}", obs[4 + 15]);
}

/// From 0.04 off the circle to 0.01 off: 0.2 - 0.1.
#[test]
fn a_balls_way_to_its_circle_counts_by_its_root() {
    let mut env = opened("ball_trajectory", &["pos_shaping_factor=1", "speed_shaping_factor=0"]);
    env.world().bodies[0].pos = [0.54, 0.0];
    let (rewards, _) = paid(&mut *env, |world| world.bodies[0].pos = [0.0, 0.49]);
    assert!((rewards[0] - 0.1).abs() < 1e-4 && rewards[1] == 0.0, "{rewards:?}");
}

/// Who eats pays nothing for the time; there is as much food as robots.
#[test]
fn time_costs_those_who_did_not_eat() {
    let mut env = opened("dispersion", &["n_agents=3", "penalise_by_time=true"]);
    assert_eq!(env.spec().agents[0].obs.size(), 4 + 3 * 3);
    (0..3).for_each(|k| env.world().bodies[k].pos = [k as f32, 1.0]);
    let (rewards, _) = paid(&mut *env, |world| world.agent_mut(1).pos = [1.0, 1.0]);
    assert!(near(rewards[0], -0.01) && near(rewards[1], 1.0) && near(rewards[2], -0.01), "{rewards:?}");
}

#[test]
fn each_robot_has_a_landmark() {
    assert_eq!(opened("simple_spread", &["n_agents=5"]).spec().agents[0].obs.size(), 4 + 5 * 2 + 4 * 2);
}

#[test]
fn a_robot_sees_the_other_from_itself() {
    let mut env = opened("wind_flocking", &["observe_rel_pos=true"]);
    (env.world().bodies[0].pos, env.world().bodies[1].pos) = ([1.0, 2.0], [4.0, 1.0]);
    let (_, obs) = paid(&mut *env, |_| {});
    assert_eq!((&obs[4..6], &obs[10..12]), (&[3.0, -1.0][..], &[-3.0, 1.0][..]));
}

/// Radii of 0.2: at least 0.45 apart; a square of side 2 has room for so few.
#[test]
fn large_robots_start_farther_apart() {
    let mut env = opened("navigation", &["n_agents=3", "agent_radius=0.2"]);
    for number in 0..20 {
        let world = start(&mut *env, number);
        assert!((0..6).all(|a| (0..a).all(|b| world.between(a, b) >= 0.45)));
    }
}

#[test]
fn packages_are_as_settings_say() {
    let mut env = opened("balance", &["package_mass=2"]);
    assert_eq!([1, 2].map(|id| env.world().bodies[id].mass), [2.0, 5.0]);
    let mut env = opened("transport", &["package_length=0.3", "package_width=0.4"]);
    assert!((env.world().bodies[1].radius() - 0.25).abs() < 1e-6);
    assert!((env.world().rules.half_x - 1.46).abs() < 1e-6);
    let mut env = opened("reverse_transport", &["package_length=1.0", "package_width=0.1", "n_agents=16"]);
    let world = start(&mut *env, 0);
    let off = |axis: usize| world.agents().map(|a| (a.pos[axis] - world.bodies[1].pos[axis]).abs()).fold(0.0, f32::max);
    assert!(off(0) > 0.1 && off(0) <= 0.470_01 && off(1) <= 0.020_01);
}

#[test]
fn a_fixed_start_at_the_ball_is_upright() {
    let mut env = opened("ball_passage", &["random_start_angle=false"]);
    let world = start(&mut *env, 0);
    let [first, second] = [0, 1].map(|i| world.agent(i).pos);
    assert!((first[0] - second[0]).abs() < 1e-6 && (first[1] - second[1] - 0.5).abs() < 1e-6, "{first:?} {second:?}");
}

/// From 2 before the junction to 2.29 beside it, four times.
#[test]
fn ways_left_cost_where_ways_gained_do_not_pay() {
    let mut env = opened("multi_give_way", &["pos_shaping_factor=0"]);
    start(&mut *env, 0);
    let (rewards, _) = paid(&mut *env, |_| {});
    assert!((rewards[0] + 4e-4 * 2.0_f64.hypot(2.29)).abs() < 1e-7, "{rewards:?}");
}

/// Tasks whose defaults have changed say so.
#[test]
fn versions_tell_of_changes() {
    let changed = ["joint_passage", "joint_passage_size", "passage", "reverse_transport", "sampling"];
    for task in tasks() {
        let name = task.name();
        let expected = if changed.contains(&name.trim_start_matches("vmas/")) { 2 } else { 1 };
        assert_eq!(Registry::builtin().make(&name, &[]).unwrap().spec().version, expected, "{name}");
    }
}

//! The tables of SMAC: sizes, limits and rewards of every map.

use motley_core::StateSpace;

use super::super::units::Race;
use super::super::world::{Side, TICK, TICKS};
use super::*;

/// Name, actions, observation, state, HARL's observation, HARL's EP and a row of its FP, limit, largest raw reward.
type Row = (&'static str, usize, usize, usize, usize, usize, usize, usize, f64);

/// SMAC's own numbers; HARL's states by the formulas of its sizes (an agent's number and the last actions are in FP, the mask of each agent
/// with 17 entries of ground, the time and five constants in EP). The largest raw reward is 10 for every foe, its health and shield, and 200.
const TABLE: [Row; 23] = [
    ("3m", 9, 30, 48, 64, 132, 81, 60, 365.0),
    ("8m", 14, 80, 168, 204, 422, 251, 120, 640.0),
    ("25m", 31, 250, 950, 1054, 2156, 1203, 150, 1575.0),
    ("5m_vs_6m", 12, 55, 98, 124, 249, 156, 70, 530.0),
    ("8m_vs_9m", 15, 85, 179, 217, 441, 267, 120, 695.0),
    ("10m_vs_11m", 17, 105, 243, 289, 589, 351, 150, 805.0),
    ("27m_vs_30m", 36, 285, 1170, 1288, 2607, 1458, 180, 1850.0),
    ("MMM", 16, 160, 290, 334, 626, 393, 150, 1015.0),
    ("MMM2", 18, 176, 322, 370, 678, 435, 180, 1205.0),
    ("2s3z", 11, 80, 120, 144, 266, 173, 120, 1020.0),
    ("3s5z", 14, 128, 216, 252, 470, 299, 150, 1510.0),
    ("3s5z_vs_3s6z", 15, 136, 230, 268, 492, 318, 170, 1670.0),
    ("3s_vs_3z", 9, 36, 54, 70, 138, 87, 150, 680.0),
    ("3s_vs_4z", 10, 42, 61, 79, 148, 99, 200, 840.0),
    ("3s_vs_5z", 11, 48, 68, 88, 158, 111, 250, 1000.0),
    ("1c3s5z", 15, 162, 270, 310, 564, 363, 180, 1870.0),
    ("2m_vs_1z", 7, 16, 26, 36, 80, 44, 150, 360.0),
    ("corridor", 30, 156, 282, 346, 570, 435, 400, 1280.0),
    ("6h_vs_8z", 14, 78, 140, 172, 332, 213, 150, 1480.0),
    ("2s_vs_1sc", 7, 17, 27, 37, 81, 45, 300, 510.0),
    ("so_many_baneling", 38, 202, 397, 479, 788, 595, 100, 1480.0),
    ("bane_vs_bane", 30, 336, 984, 1084, 2118, 1227, 200, 1260.0),
    ("2c_vs_64zg", 70, 332, 342, 478, 522, 675, 400, 3080.0),
];

#[test]
fn sizes_and_limits_are_those_of_smac() {
    let registry = Registry::builtin();
    for (name, actions, obs, state, harl_obs, ep, fp, limit, _) in TABLE {
        let name = format!("skirmish/{name}");
        let plain = registry.make(&name, &[]).unwrap();
        let spec = plain.spec();
        let found = (spec.agents[0].action.mask_len(), spec.agents[0].obs.size(), spec.state, spec.step_limit);
        assert_eq!(found, (actions, obs, StateSpace::Ep(state), Some(limit)), "{name}");
        let harl = registry.make(&name, &["obs=harl", "state=fp"]).unwrap();
        assert_eq!((harl.spec().agents[0].obs.size(), harl.spec().state), (harl_obs, StateSpace::Fp(fp)), "{name}");
        assert_eq!(registry.make(&name, &["state=ep"]).unwrap().spec().state, StateSpace::Ep(ep), "{name}");
    }
    for (race, sizes) in [
        ("protoss", [(92, 130), (182, 310), (191, 327), (362, 820), (389, 901)]),
        ("terran", [(82, 120), (162, 290), (170, 306), (322, 780), (346, 858)]),
        ("zerg", [(82, 120), (162, 290), (170, 306), (322, 780), (346, 858)]),
    ] {
        for (size, (obs, state)) in ["5_vs_5", "10_vs_10", "10_vs_11", "20_vs_20", "20_vs_23"].into_iter().zip(sizes) {
            let env = registry.make(&format!("skirmish/{race}_{size}"), &[]).unwrap();
            let (spec, foes) = (env.spec(), size.split('_').next_back().unwrap().parse::<usize>().unwrap());
            assert_eq!((spec.agents[0].obs.size(), spec.state), (obs, StateSpace::Ep(state)), "{race} {size}");
            assert_eq!(spec.step_limit, Some(200), "{race} {size}");
            assert!(spec.agents.iter().all(|agent| agent.action.mask_len() == 6 + foes), "{race} {size}");
        }
    }
    for (name, smac, unified) in [("6m2m_15m", 21, 29), ("12m4m_30m", 36, 52), ("MMM", 16, 26), ("MMM2", 18, 28)] {
        let size =
            |settings: &[&str]| registry.make(&format!("skirmish/{name}"), settings).unwrap().spec().agents[0].action.mask_len();
        assert_eq!((size(&[]), size(&["actions=unified"])), (smac, unified), "{name}");
    }
    let large = |settings: &[&str]| {
        let env = registry.make("skirmish/20m6m_40m", settings).unwrap();
        let spec = env.spec();
        (spec.n(), spec.agents[0].action.mask_len(), spec.step_limit)
    };
    assert_eq!(large(&[]), (26, 46, Some(180)));
    assert_eq!(large(&["actions=unified"]), (26, 72, Some(180)));
    assert!(registry.make("skirmish/20m6m_40", &[]).is_err());
}

/// What a point of damage, a kill and a win are worth on each map.
#[test]
fn rewards_are_scaled_by_the_maps_largest() {
    for (name, .., most) in TABLE {
        let map = find(name).unwrap();
        let begun = || {
            let mut env = Skirmish::new(&map, &options(&Battle(map.clone()), &[]).unwrap()).unwrap();
            let spec = env.spec().clone();
            let mut buf = FrameBuf::new(&spec);
            env.reset(stream(), &mut buf.frame()).unwrap();
            // Far from each other, so that nobody else does any damage.
            for side in [Side::Ally, Side::Foe] {
                for u in env.world.sides[side as usize].clone() {
                    env.world.order[u] = Order::Stop;
                    (env.world.x[u], env.world.y[u]) = ([1.0, 31.0][side as usize], [16.5, 16.5][side as usize]);
                }
            }
            (env, spec, buf)
        };
        let play = |env: &mut Skirmish, buf: &mut FrameBuf, spec: &motley_core::TeamSpec| {
            env.step(Actions::new(spec, &vec![1.0; spec.n()]), &mut buf.frame()).unwrap();
            buf.rewards[0] * most / 20.0
        };
        // Points taken from a foe's health; what zerg regain of them in half a second is not taken.
        let (mut env, spec, mut buf) = begun();
        let foe = env.world.sides[1].start;
        let kind = env.world.stats[foe].kind;
        env.world.hp[foe] -= 20.0;
        let regained = if kind.race() == Race::Zerg { 0.2734 * TICK * TICKS as f64 } else { 0.0 };
        let found = play(&mut env, &mut buf, &spec);
        assert!((found - (20.0 - regained)).abs() < 1e-9, "{name}: {found} for 20 points");
        // A foe that dies, and the last of them.
        let (mut env, spec, mut buf) = begun();
        let foes = env.world.sides[1].clone();
        let alone = foes.len() == 1;
        let points = env.world.hp[foe] + env.world.shield[foe];
        (env.world.hp[foe], env.world.shield[foe]) = (0.0, 0.0);
        let found = play(&mut env, &mut buf, &spec);
        let win = if alone { 200.0 } else { 0.0 };
        assert!((found - (points + 10.0 + win)).abs() < 1e-9, "{name}: {found} for a kill of {points} points");
        if !alone {
            foes.clone().for_each(|u| (env.world.hp[u], env.world.shield[u]) = (0.0, 0.0));
            let rest = play(&mut env, &mut buf, &spec);
            assert!((found + rest - most).abs() < 1e-9, "{name}: {} in all", found + rest);
        }
        assert_eq!(env.won(), Some(true), "{name}");
    }
}

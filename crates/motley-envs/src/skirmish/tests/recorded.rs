//! A trace made in memory of the simulator's own battle is one; what is spoiled in it is told, and never a panic.

use super::super::recorded::COLUMNS;
use super::super::trace::{check_trace, compare, compare_seen, order, world};
use super::*;
use crate::npz::{Array, Npz};

/// A team with a healer and fewer units than the foes, so that a slot of a foe may be no ally's.
const MAP: &str = "MMM2";
const STEPS: usize = 6;

fn row(world: &World) -> Vec<f64> {
    let unit = |u: usize| {
        let target = if world.target[u] == NOBODY { -1.0 } else { f64::from(world.target[u]) };
        let (side, kind) = (world.side(u) as usize as f64, world.stats[u].kind as usize as f64);
        let place = [f64::from(world.x[u]), f64::from(world.y[u]), world.vx[u], world.vy[u]];
        let body = [world.hp[u], world.shield[u], world.energy[u], world.cooldown[u], world.calm[u], target];
        [[u as f64, side, kind].as_slice(), &place, &body].concat()
    };
    (0..world.len()).flat_map(unit).collect()
}

/// Random play of [`STEPS`] steps, written down as SMAClite's runs are.
fn made() -> Npz {
    let map = find(MAP).unwrap();
    let mut world = world(&map).unwrap();
    let mut env = Skirmish::new(&map, &options(&Battle(map.clone()), &["profile=smaclite"]).unwrap()).unwrap();
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.reset(stream(), &mut buf.frame()).unwrap();
    let wide = |floats: &[f32]| floats.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let mut lists: [Vec<f64>; 7] = Default::default();
    let mut draws = stream();
    lists[0].extend(row(&world));
    for step in 0..=STEPS {
        lists[1].extend(wide(&buf.obs));
        lists[2].extend(wide(&buf.state));
        lists[3].extend(buf.avail.iter().map(|free| f64::from(u8::from(*free))));
        if step == STEPS {
            break;
        }
        let choose = |i: usize| {
            let mask = &buf.avail[spec.mask_range(i)];
            let free: Vec<usize> = (0..mask.len()).filter(|a| mask[*a]).collect();
            free[draws.below(free.len() as u32) as usize] as f32
        };
        let actions: Vec<f32> = (0..spec.n()).map(choose).collect();
        let (ally, foe) = (world.sides[0].clone(), world.sides[1].start);
        for (u, action) in ally.clone().zip(&actions) {
            world.order[u] = order(*action as usize, [world.x[u], world.y[u]], foe, ally.start, world.stats[u].heals());
        }
        for _ in 0..TICKS {
            world.tick();
            lists[0].extend(row(&world));
        }
        let status = env.step(Actions::new(&spec, &actions), &mut buf.frame()).unwrap();
        lists[4].extend(wide(&actions));
        lists[5].push(buf.rewards[0]);
        lists[6].push(f64::from(u8::from(status == Status::Terminated)));
    }
    let (units, agents) = (world.len(), spec.n());
    let shapes = [
        vec![8 * STEPS + 1, units, COLUMNS],
        vec![STEPS + 1, agents, spec.obs_len() / agents],
        vec![STEPS + 1, spec.state_len()],
        vec![STEPS + 1, agents, spec.mask_len() / agents],
        vec![STEPS, agents],
        vec![STEPS],
        vec![STEPS],
    ];
    let names = ["ticks", "obs", "state", "avail", "actions", "reward", "done"];
    let arrays = lists.into_iter().zip(shapes).map(|(values, shape)| Array { shape, values });
    let file = Npz::default().with("ep0_battle_won", Array { shape: Vec::new(), values: vec![0.0] });
    names.into_iter().zip(arrays).fold(file, |file, (name, array)| file.with(format!("ep0_{name}"), array))
}

#[test]
fn a_trace_of_our_own_battle_is_repeated() {
    let file = made();
    let (ticks, seen) = (compare(MAP, &file).unwrap(), compare_seen(MAP, &file).unwrap());
    assert_eq!((ticks.ticks, ticks.equal), (8 * STEPS, 8 * STEPS), "{:?}", ticks.differences.first());
    assert_eq!((seen.ticks, seen.equal), (STEPS + 1, STEPS + 1), "{:?}", seen.differences.first());
    let settings = options(&Battle(find(MAP).unwrap()), &[]).unwrap();
    let report = check_trace(&format!("skirmish/{MAP}"), &settings, &file).unwrap();
    assert_eq!((report.steps, report.failed()), (STEPS, false));
}

#[test]
fn a_spoiled_trace_is_refused_with_what_is_wrong() {
    let file = made();
    let refused = |key: &str, change: &dyn Fn(&mut Array), expected: &str| {
        let key = format!("ep0_{key}");
        let mut array = file.get(&key).unwrap().clone();
        change(&mut array);
        let file = file.clone().with(key.clone(), array);
        for text in [compare(MAP, &file).map(|_| ()), compare_seen(MAP, &file).map(|_| ())].map(|r| r.unwrap_err().to_string()) {
            assert!(text.contains(&key) && text.contains(expected) && text.contains(MAP), "{key}: {text}");
        }
    };
    let fewer = |rows: usize| {
        move |array: &mut Array| {
            let width: usize = array.shape[1..].iter().product();
            array.shape[0] -= rows;
            array.values.truncate(array.shape[0] * width);
        }
    };
    // Three rows too few, in every array; of actions it is the ticks that are then too many.
    for (key, rows) in [("obs", "7 rows"), ("state", "7 rows"), ("avail", "7 rows"), ("reward", "6 rows"), ("done", "6 rows")] {
        refused(key, &fewer(3), &format!("expected {rows}"));
    }
    refused("ticks", &fewer(1), "expected 49 rows");
    let mut short = file.get("ep0_actions").unwrap().clone();
    fewer(3)(&mut short);
    let text = compare(MAP, &file.clone().with("ep0_actions", short)).unwrap_err().to_string();
    assert!(text.contains("ep0_ticks") && text.contains("expected 25 rows"), "{text}");
    for (key, width) in [("actions", 10), ("obs", 10 * 176), ("state", 322), ("avail", 10 * 18), ("reward", 1)] {
        refused(key, &|array| array.shape.push(2), &format!("rows of {width} numbers"));
    }
    refused("ticks", &|ticks| ticks.shape[1] = 21, "expected [22, 13]");
    refused("obs", &|obs| obs.values.clear(), "0 numbers");
    refused("state", &|state| state.values[400] = f64::NAN, "NaN in row 1");
    refused("ticks", &|ticks| ticks.values[3] = f64::INFINITY, "inf in row 0");
    refused("battle_won", &|won| won.values.clear(), "one number");
    // MMM2 has 10 agents, the last of them the healer in SMAC's order, the first in SMAClite's; and 12 foes.
    for (action, healer) in [(500.0, false), (18.0, false), (-1.0, false), (1.5, false), (16.0, true)] {
        let env =
            Skirmish::new(&find(MAP).unwrap(), &options(&Battle(find(MAP).unwrap()), &["profile=smaclite"]).unwrap()).unwrap();
        let agent = env.spec().agents.iter().position(|a| (a.kind == "medivac") == healer).unwrap();
        let expected =
            format!("{action} for agent {agent} at step 2, expected a whole number from 0 to {}", 17 - 2 * u8::from(healer));
        refused("actions", &|actions| actions.values[20 + agent] = action, &expected);
    }
    for target in [22.0, -2.0, 0.5, 65_535.0] {
        let at = 3 * 22 * COLUMNS + 5 * COLUMNS + 12;
        refused(
            "ticks",
            &|ticks| ticks.values[at] = target,
            &format!("target {target} for unit 5 at tick 3, expected -1 or a unit"),
        );
    }
    let text = compare(MAP, &Npz::default()).unwrap_err().to_string();
    assert!(text.contains("ep0_ticks") && text.contains("no episode"), "{text}");
}

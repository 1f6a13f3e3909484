//! Where units stand when an episode begins.

use super::super::maps::{Lineup, all, place};
use super::super::start::{place_on, stands};
use super::*;

/// What maps of users are refused for: with the starts moved as little and as much as can be set.
#[test]
fn nobody_starts_on_blocked_ground() {
    for map in all().into_iter().filter(|map| matches!(map.lineup, Lineup::Fixed { .. })) {
        for name in ["liberty", "liberty_multi", "void_multi"] {
            for spread in ["spread=0", "spread=0.5"] {
                let settings = [format!("profile={name}"), spread.to_owned()];
                let settings = settings.each_ref().map(String::as_str);
                let mut env = Skirmish::new(&map, &options(&Battle(map.clone()), &settings).unwrap()).unwrap();
                let mut buf = FrameBuf::new(env.spec());
                env.reset(stream(), &mut buf.frame()).unwrap();
                for u in 0..env.world.len() {
                    let unit = Recruit { kind: env.world.stats[u].kind, at: [env.world.x[u], env.world.y[u]] };
                    assert!(stands(&env.world.ground, &unit, Profile::named(name)), "{} {settings:?}: {unit:?}", map.name);
                }
            }
        }
    }
}

/// Six banelings of one map; they are moved to where they touch nobody.
#[test]
fn who_cannot_stand_is_moved_and_nobody_else() {
    let mut moved = Vec::new();
    for map in all() {
        let Lineup::Fixed { allies, foes } = &map.lineup else { continue };
        let ground = map.ground(Profile::Liberty);
        for (groups, turned) in [(allies, false), (foes, true)] {
            let before = place(groups, Profile::Liberty, turned);
            let after = place_on(&ground, groups, Profile::Liberty, turned);
            for (u, (old, new)) in before.iter().zip(&after).enumerate() {
                assert_eq!(old == new, stands(&ground, old, Profile::Liberty), "{}: {old:?} is now {new:?}", map.name);
                if old != new {
                    moved.push((map.name.clone(), u));
                    let apart = |other: &Recruit| (other.at[0] - new.at[0]).hypot(other.at[1] - new.at[1]);
                    let others = after.iter().enumerate().filter(|(o, _)| *o != u);
                    assert!(
                        others.map(|(_, other)| apart(other)).all(|gap| gap > 0.749),
                        "{}: {new:?} touches somebody",
                        map.name
                    );
                    assert!((old.at[0] - new.at[0]).hypot(old.at[1] - new.at[1]) < 5.0, "{}: {old:?} is now {new:?}", map.name);
                }
            }
        }
    }
    assert_eq!(moved, [0_usize, 1, 2, 3, 4, 5].map(|u| ("so_many_baneling".to_owned(), u)));
}

/// Its parity is with runs in which blocks stand as they are.
#[test]
fn smaclite_leaves_units_where_blocks_have_them() {
    let map = find("so_many_baneling").unwrap();
    let Lineup::Fixed { foes, .. } = &map.lineup else { panic!("drawn") };
    let env = Skirmish::new(&map, &options(&Battle(map.clone()), &["profile=smaclite"]).unwrap()).unwrap();
    let stood: Vec<[f32; 2]> = env.world.sides[1].clone().map(|u| [env.world.x[u], env.world.y[u]]).collect();
    let block: Vec<[f32; 2]> = place(foes, Profile::Smaclite, true).iter().map(|unit| unit.at).collect();
    assert_eq!(stood, block);
}

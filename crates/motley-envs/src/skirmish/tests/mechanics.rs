//! Rules of `liberty` that few battles show.

use super::super::world::{Hit, TICK};
use super::*;

/// Velocities are in cells a second, accelerations in cells a second squared.
#[test]
fn a_foes_flyer_gains_speed_and_the_teams_has_it_at_once() {
    let mut world = battle(Profile::Liberty, &[(Kind::Medivac, 4.0, 10.0)], &[(Kind::Medivac, 4.0, 20.0)]);
    (world.order[0], world.order[1]) = (Order::Move([28.0, 10.0]), Order::March([28.0, 20.0]));
    for tick in 1..=25 {
        world.tick();
        assert!((world.vx[0] - 2.75).abs() < 1e-5, "tick {tick}: the team's has no inertia, {}", world.vx[0]);
        let gained = (2.3125 * TICK * f64::from(tick)).min(2.75);
        assert!((world.vx[1] - gained).abs() < 1e-5, "tick {tick}: {} of {gained}", world.vx[1]);
    }
    assert!((world.x[0] - (4.0 + 2.75 * 25.0 / 16.0)).abs() < 1e-3);
}

#[test]
fn a_baneling_tears_down_buildings() {
    for profile in BOTH {
        let foes = [(Kind::SpineCrawler, 11.1, 10.0)];
        let mut world = battle(profile, &[(Kind::Baneling, 10.0, 10.0)], &foes);
        world.order[0] = Order::Unit(1);
        ticks(&mut world, 1);
        // 80 on an armour of 2; in SMAClite what zerg regain of a tick follows.
        assert!(!world.alive(0) && (222.0..222.03).contains(&world.hp[1]), "{profile:?}: {}", world.hp[1]);
    }
}

/// A baneling that is killed bursts where it falls, once, and takes another one with it; in SMAClite it only falls.
#[test]
fn a_baneling_that_is_killed_bursts() {
    // Zealots: one far off, one beside the first baneling, one that only the second reaches. Light: 35 a burst, on 50 of shield.
    let allies = [(Kind::Zealot, 5.0, 5.0), (Kind::Zealot, 10.0, 10.0), (Kind::Zealot, 14.6, 10.0)];
    for (profile, shields) in [(Profile::Liberty, [50.0, 15.0, 15.0]), (Profile::Smaclite, [50.0, 50.0, 50.0])] {
        let mut world = battle(profile, &allies, &[(Kind::Baneling, 11.5, 10.0), (Kind::Baneling, 12.8, 10.0)]);
        // Two killing blows in one tick are one death.
        world.hits.extend([3, 3, 4].map(|to| Hit { to, damage: 30.0 }));
        world.land();
        assert!(!world.alive(3) && !world.alive(4) && world.kills == 2, "{profile:?}");
        assert_eq!(world.shield, [&shields[..], &[0.0, 0.0]].concat(), "{profile:?}");
    }
    // Who bursts by its own attack is not made to burst again by the blow that kills it in the same tick.
    let mut world = battle(Profile::Liberty, &allies, &[(Kind::Baneling, 11.5, 10.0)]);
    world.strike(3, 1);
    world.hits.insert(0, Hit { to: 3, damage: 30.0 });
    world.land();
    assert_eq!((world.shield[1], world.alive(3)), (15.0, false));
}

/// What has a target in reach shoots on for a cell beyond its range, but for colossi and spine crawlers.
#[test]
fn giants_and_crawlers_do_not_shoot_beyond_their_range() {
    for (kind, further) in [(Kind::Stalker, true), (Kind::Hydralisk, true), (Kind::Colossus, false), (Kind::SpineCrawler, false)]
    {
        let stats = kind.stats(Profile::Liberty);
        let edge = 5.0 + stats.range + stats.radius + Kind::Marauder.stats(Profile::Liberty).radius;
        let mut world = battle(Profile::Liberty, &[(kind, 5.0, 10.0)], &[(Kind::Marauder, edge - 0.1, 10.0)]);
        world.order[0] = Order::Unit(1);
        ticks(&mut world, 1);
        assert!(world.reaches[0], "{}", kind.name());
        world.x[1] = edge + 0.5;
        ticks(&mut world, 1);
        assert_eq!(world.reaches[0], further, "{}", kind.name());
    }
}

/// Where the team may have healers SMAC calls it a defeat when nobody is left on either side.
#[test]
fn nobody_left_is_a_defeat_of_teams_with_healers() {
    for (name, paid) in [("3m", 0.0), ("MMM", -1.0), ("terran_5_vs_5", -1.0), ("zerg_5_vs_5", 0.0)] {
        let map = find(name).unwrap();
        let mut env = Skirmish::new(&map, &options(&Battle(map.clone()), &["reward_sparse=true"]).unwrap()).unwrap();
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(stream(), &mut buf.frame()).unwrap();
        env.world.hp.fill(0.0);
        env.write(&mut buf.frame());
        env.step(Actions::new(&spec, &vec![0.0; spec.n()]), &mut buf.frame()).unwrap();
        assert_eq!(buf.rewards[0], paid, "{name}");
    }
}

#[test]
fn a_colossus_walks_over_a_cliff_that_others_go_around() {
    let walk = |kind: Kind| {
        let mut world = World::new(Profile::Liberty, Ground::of(Layout::Plateau, Profile::Liberty), stream());
        let far = Recruit { kind: Kind::Marine, at: [1.0, 9.5] };
        world.muster(&[Recruit { kind, at: [16.0, 9.0] }], &[far], false, stream());
        world.order[0] = Order::Move([16.0, 16.0]);
        let mut aside = 0.0_f32;
        for tick in 1..1000 {
            world.tick();
            aside = aside.max((world.x[0] - 16.0).abs());
            if (world.x[0] - 16.0).hypot(world.y[0] - 16.0) < 0.01 {
                return (tick, aside);
            }
        }
        panic!("{} never arrives: ({}, {})", kind.name(), world.x[0], world.y[0]);
    };
    // 7 cells at 2.25 a second.
    let (taken, aside) = walk(Kind::Colossus);
    assert!((50..=51).contains(&taken) && aside < 1e-3, "{taken} ticks, {aside} aside");
    let (taken, aside) = walk(Kind::Zealot);
    assert!(taken > 150 && aside > 10.0, "{taken} ticks, {aside} aside");
}

/// A foe's shield that comes back makes what the team took negative: SMAC pays its absolute value, SMACv2 nothing.
#[test]
fn shields_that_come_back_are_paid_for_by_smac_alone() {
    for (name, most, paid) in [("3s_vs_3z", 680.0, 1.0), ("protoss_5_vs_5", 1000.0, 0.0)] {
        let map = find(name).unwrap();
        let mut env = Skirmish::new(&map, &options(&Battle(map.clone()), &[]).unwrap()).unwrap();
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(stream(), &mut buf.frame()).unwrap();
        for (side, x) in [(0, 1.0), (1, 31.0)] {
            for (row, u) in env.world.sides[side].clone().enumerate() {
                (env.world.x[u], env.world.y[u], env.world.order[u]) = (x, 4.0 + 5.0 * row as f32, Order::Stop);
            }
        }
        let foe = env.world.sides[1].start;
        env.world.shield[foe] -= 30.0;
        env.write(&mut buf.frame());
        env.step(Actions::new(&spec, &vec![1.0; spec.n()]), &mut buf.frame()).unwrap();
        // Two points a second, for half a second.
        assert!((buf.rewards[0] * most / 20.0 - paid).abs() < 1e-9, "{name}: {}", buf.rewards[0]);
    }
}

/// A marauder cannot shoot at flyers: the game refuses the order, and what it was told before goes on.
#[test]
fn a_refused_order_leaves_the_one_before() {
    let map = find("MMM").unwrap();
    let mut env = Skirmish::new(&map, &options(&Battle(map.clone()), &[]).unwrap()).unwrap();
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.reset(stream(), &mut buf.frame()).unwrap();
    let foes = env.world.sides[1].clone();
    let medivac = foes.clone().find(|&u| env.world.stats[u].heals()).unwrap();
    for u in 0..env.world.len() {
        let x = if foes.contains(&u) { 31.0 } else { 1.0 };
        (env.world.x[u], env.world.y[u], env.world.order[u]) = (x, 9.0 + 0.7 * u as f32, Order::Stop);
    }
    (env.world.x[0], env.world.y[0]) = (16.0, 12.0);
    (env.world.x[medivac], env.world.y[medivac]) = (18.0, 12.0);
    env.write(&mut buf.frame());
    assert_eq!(spec.agents[0].kind, "marauder");
    let (north, refused) = (2.0, (6 + medivac - foes.start) as f32);
    let mut actions = vec![1.0; spec.n()];
    // At first there is the order of the start: to stand. 2.25 cells a second, and two cells to go.
    for (choice, y) in [(refused, 12.0), (north, 13.125), (refused, 14.0), (refused, 14.0)] {
        actions[0] = choice;
        env.step(Actions::new(&spec, &actions), &mut buf.frame()).unwrap();
        assert_eq!(env.world.x[0], 16.0);
        assert!((env.world.y[0] - y).abs() < 1e-3, "{choice}: at {} of {y}", env.world.y[0]);
    }
    assert_eq!(env.world.hp[medivac], 150.0);
}

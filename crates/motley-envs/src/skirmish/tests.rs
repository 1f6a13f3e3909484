//! The rules one by one, the tables of SMAC, the contract on every map.

mod hidden;
mod layout;
mod mechanics;
mod pinned;
mod recorded;
mod settings;
mod starts;
mod table;

use motley_core::{ActionMeaning, Actions, Env, EnvError, FrameBuf, Purpose, Shape, Status, Stream, UnifiedSpace};

use super::ground::{Ground, Layout};
use super::maps::find;
use super::units::{Kind, Profile};
use super::view::View;
use super::world::{NOBODY, Order, Recruit, Side, TICKS, World};
use super::{Battle, Skirmish};
use crate::Registry;
use crate::check::{Outcome, check};
use crate::registry::options;

const BOTH: [Profile; 2] = [Profile::Liberty, Profile::Smaclite];

fn stream() -> Stream {
    Stream::new(0, Purpose::Check, 0, 0)
}

/// A battle on open ground; allies stand with the order to stop, foes too.
fn battle(profile: Profile, allies: &[(Kind, f32, f32)], foes: &[(Kind, f32, f32)]) -> World {
    let recruits = |list: &[(Kind, f32, f32)]| list.iter().map(|&(kind, x, y)| Recruit { kind, at: [x, y] }).collect::<Vec<_>>();
    let mut world = World::new(profile, Ground::of(Layout::Open, profile), stream());
    world.muster(&recruits(allies), &recruits(foes), false, stream());
    world
}

fn ticks(world: &mut World, n: usize) {
    (0..n).for_each(|_| world.tick());
}

#[test]
fn range_is_measured_between_edges() {
    for profile in BOTH {
        // Marine on marine: 5 + 0.375 + 0.375.
        for (distance, hit) in [(5.74, true), (5.76, false)] {
            let mut world = battle(profile, &[(Kind::Marine, 10.0, 10.0)], &[(Kind::Zergling, 10.0 + distance, 10.0)]);
            world.order[0] = Order::Unit(1);
            let at = world.x[0];
            ticks(&mut world, 1);
            assert_eq!(world.x[0] == at, hit, "{profile:?}: who reaches stands, who does not walks");
        }
    }
}

#[test]
fn shields_take_hits_whole_and_health_is_behind_armour() {
    for profile in BOTH {
        let mut world = battle(profile, &[(Kind::Marine, 10.0, 10.0)], &[(Kind::Zealot, 14.0, 10.0)]);
        world.wound(1, 48.0);
        assert_eq!((world.shield[1], world.hp[1]), (2.0, 100.0));
        world.wound(1, 6.0); // 2 on the shield, then 4 - 1
        assert_eq!((world.shield[1], world.hp[1]), (0.0, 97.0));
        world.wound(1, 0.5); // less than the armour
        assert_eq!(world.hp[1], 97.0);
        assert_eq!(world.dealt, 53.0);
        world.wound(1, 1000.0);
        assert_eq!((world.hp[1], world.kills, world.dealt), (0.0, 1, 150.0));
    }
}

#[test]
fn shields_come_back_after_ten_quiet_seconds() {
    for profile in BOTH {
        let mut world = battle(profile, &[(Kind::Stalker, 10.0, 10.0)], &[(Kind::Marine, 30.0, 30.0)]);
        world.wound(0, 30.0);
        ticks(&mut world, 159);
        assert_eq!(world.shield[0], 50.0);
        ticks(&mut world, 1 + 16);
        assert!((world.shield[0] - 52.0).abs() < 0.2, "two points a second, found {}", world.shield[0]);
    }
}

#[test]
fn weapons_wait_for_their_period() {
    let mut world = battle(Profile::Smaclite, &[(Kind::Marine, 10.0, 10.0)], &[(Kind::SpineCrawler, 14.0, 10.0)]);
    world.order[0] = Order::Unit(1);
    world.hp[0] = 1e9;
    // 0.61 s are 10 ticks once rounded up; a hit takes 6 - 2.
    ticks(&mut world, 1 + 30);
    assert!((world.hp[1] - (300.0 - 4.0 * 4.0)).abs() < 1.0, "{}", world.hp[1]);

    // Liberty: 0.8608 s and a delay of -0.0625 to 0.125 s: 16 to 18 shots in 15 seconds.
    let mut world = battle(Profile::Liberty, &[(Kind::Marine, 10.0, 10.0)], &[(Kind::Colossus, 14.0, 10.0)]);
    (world.order[0], world.shield[1]) = (Order::Unit(1), 0.0);
    world.calm[1] = 1e9;
    ticks(&mut world, 240);
    let shots = (200.0 - world.hp[1]) / 5.0;
    assert!(shots.fract() == 0.0 && (15.0..=18.0).contains(&shots), "{shots}");
}

#[test]
fn an_attack_broken_off_in_its_windup_does_nothing() {
    let mut world = battle(Profile::Liberty, &[(Kind::SpineCrawler, 10.0, 10.0)], &[(Kind::Zealot, 14.0, 10.0)]);
    world.order[0] = Order::Unit(1);
    ticks(&mut world, 3); // 0.333 s are 6 ticks
    world.order[0] = Order::Stop;
    ticks(&mut world, 8);
    assert_eq!((world.shield[1], world.cooldown[0]), (50.0, 0.0));
    world.order[0] = Order::Unit(1);
    ticks(&mut world, 8);
    assert_eq!(world.shield[1], 25.0);
}

#[test]
fn bonus_damage_goes_by_attribute() {
    for (profile, marauder_on_stalker, stalker_on_marauder) in [(Profile::Liberty, 20.0, 13.0), (Profile::Smaclite, 20.0, 17.0)] {
        let mut world = battle(profile, &[(Kind::Marauder, 10.0, 10.0)], &[(Kind::Stalker, 14.0, 10.0)]);
        world.order[0] = Order::Unit(1);
        ticks(&mut world, 1);
        assert_eq!(80.0 - world.shield[1], marauder_on_stalker, "{profile:?}");
        let mut world = battle(profile, &[(Kind::Stalker, 10.0, 10.0)], &[(Kind::Marauder, 14.0, 10.0)]);
        world.order[0] = Order::Unit(1);
        ticks(&mut world, 6);
        assert_eq!(125.0 - world.hp[1], stalker_on_marauder, "{profile:?}");
    }
}

#[test]
fn healing_costs_energy_and_stops_at_full_health() {
    for profile in BOTH {
        let allies = [(Kind::Medivac, 10.0, 10.0), (Kind::Marine, 12.0, 10.0)];
        let mut world = battle(profile, &allies, &[(Kind::Marine, 30.0, 30.0)]);
        (world.order[0], world.hp[1]) = (Order::Unit(1), 36.0);
        ticks(&mut world, 16);
        assert!((world.hp[1] - 45.0).abs() < 1e-9, "9 points a second, found {}", world.hp[1]);
        // 9 points for 3 energy, while 0.5625 a second come back.
        assert!((world.energy[0] - (50.0 - 3.0 + 0.5625)).abs() < 1e-9, "{}", world.energy[0]);
        ticks(&mut world, 16);
        assert!(world.energy[0] > 48.0, "a healthy patient costs nothing");
    }
}

#[test]
fn a_healer_without_energy_heals_no_faster_than_it_regains() {
    let mut world =
        battle(Profile::Liberty, &[(Kind::Medivac, 10.0, 10.0), (Kind::Marauder, 12.0, 10.0)], &[(Kind::Marine, 30.0, 30.0)]);
    (world.order[0], world.hp[1], world.energy[0]) = (Order::Unit(1), 1.0, 0.0);
    ticks(&mut world, 160);
    assert!((world.hp[1] - 1.0 - 3.0 * 5.625).abs() < 0.3, "{}", world.hp[1]);
}

#[test]
fn banelings_burst_on_everyone_near() {
    for (profile, on_zealot, on_stalker) in [(Profile::Liberty, 35.0, 20.0), (Profile::Smaclite, 80.0, 80.0)] {
        let foes = [(Kind::Zealot, 11.0, 10.0), (Kind::Stalker, 12.0, 10.0), (Kind::Zealot, 14.0, 10.0)];
        let mut world = battle(profile, &[(Kind::Baneling, 10.0, 10.0)], &foes);
        world.order[0] = Order::Unit(1);
        ticks(&mut world, 1);
        assert!(!world.alive(0), "it dies of it");
        let lost = |u: usize, full: f64| full - world.hp[u] - world.shield[u];
        let behind = f64::from(u8::from(on_zealot > 50.0));
        assert_eq!((lost(1, 150.0), lost(2, 160.0), lost(3, 150.0)), (on_zealot - behind, on_stalker, 0.0), "{profile:?}");
    }
}

#[test]
fn a_colossus_sweeps_a_line_across_the_shot() {
    for profile in BOTH {
        let foes = [
            (Kind::Zergling, 15.0, 10.0),
            (Kind::Zergling, 15.0, 11.2), // on the line
            (Kind::Zergling, 15.0, 12.1), // beyond its end
            (Kind::Zergling, 15.9, 10.0), // behind
        ];
        let mut world = battle(profile, &[(Kind::Colossus, 10.0, 10.0)], &foes);
        world.order[0] = Order::Unit(1);
        ticks(&mut world, 3);
        let lost: Vec<bool> = (1..5).map(|u| world.hp[u] < 30.0).collect();
        assert_eq!(lost, [true, true, false, false], "{profile:?}");
    }
}

#[test]
fn a_colossus_of_smaclite_hits_nobody_beyond_the_ends_of_its_line() {
    // Both are beside the line by less than half of its width and a radius, 1.33 along it; from the target it is 1.395 and 1.421.
    for (beside, hit) in [(0.42, true), (0.5, false)] {
        let foes = [(Kind::Zergling, 15.0, 10.0), (Kind::Zergling, 15.0 + beside, 11.33)];
        let mut world = battle(Profile::Smaclite, &[(Kind::Colossus, 10.0, 10.0)], &foes);
        world.order[0] = Order::Unit(1);
        ticks(&mut world, 1);
        assert_eq!(world.hp[2] < 30.0, hit, "{beside}");
    }
}

#[test]
fn who_was_told_to_attack_goes_on_where_the_target_fell() {
    let foes = [(Kind::Zergling, 15.0, 10.0), (Kind::Zergling, 15.0, 11.0)];
    let mut world = battle(Profile::Smaclite, &[(Kind::Colossus, 10.0, 10.0)], &foes);
    (world.order[0], world.hp[1]) = (Order::Unit(1), 0.0);
    ticks(&mut world, 1);
    assert_eq!((world.target[0], world.alive(1), world.cooldown[0]), (NOBODY, false, 1.07));
    assert!(world.hp[2] < 10.0, "who stands beside the fallen is hit");
    // A healer does not wake the dead.
    let team = [(Kind::Medivac, 10.0, 10.0), (Kind::Marine, 12.0, 10.0)];
    let mut world = battle(Profile::Smaclite, &team, &[(Kind::Marine, 30.0, 30.0)]);
    (world.order[0], world.hp[1]) = (Order::Unit(1), 0.0);
    ticks(&mut world, 4);
    assert!(!world.alive(1));
}

#[test]
fn ground_units_do_not_overlap_and_flyers_pass_over() {
    let allies = [(Kind::Marine, 10.0, 10.0), (Kind::Medivac, 10.0, 12.0)];
    let mut world = battle(Profile::Liberty, &allies, &[(Kind::Zealot, 14.0, 10.0), (Kind::Zealot, 14.0, 12.0)]);
    (world.order[0], world.order[1]) = (Order::Move([20.0, 10.0]), Order::Move([20.0, 12.0]));
    let mut closest = f32::INFINITY;
    for _ in 0..120 {
        world.tick();
        closest = closest.min(world.distance(0, 2));
    }
    // Radii of 0.375 push; those of the edges are 0.375 and 0.5.
    assert!((0.65..0.85).contains(&closest), "the marine walks into the zealot, or far around it: {closest}");
    assert!(world.x[0] > 19.0, "it goes around, and is at {}", world.x[0]);
    assert!((world.y[1] - 12.0).abs() < 1e-4 && world.x[1] > 19.9);
}

#[test]
fn units_on_one_point_move_apart_as_far_as_they_push() {
    for (kind, apart) in [(Kind::Zealot, 0.75), (Kind::Colossus, 1.5), (Kind::Hydralisk, 0.75), (Kind::Stalker, 1.25)] {
        let mut world = battle(Profile::Liberty, &[(kind, 10.0, 10.0), (kind, 10.0, 10.0)], &[(Kind::Marine, 30.0, 30.0)]);
        world.settle();
        let found = world.distance(0, 1);
        assert!((apart - 1e-3..apart + 0.01).contains(&found), "{}: {found}", kind.name());
    }
}

#[test]
fn who_has_a_target_in_reach_fires_on_within_the_slop() {
    // Edges: 5 + 0.375 + 0.875.
    let mut world = battle(Profile::Liberty, &[(Kind::Marine, 10.0, 10.0)], &[(Kind::SpineCrawler, 16.0, 10.0)]);
    world.order[0] = Order::Unit(1);
    ticks(&mut world, 3);
    let (hurt, at) = (world.hp[1], world.x[0]);
    assert!(hurt < 300.0 && world.cooldown[0] > 0.0, "it has fired");
    world.x[1] = 16.25 + 0.9;
    ticks(&mut world, 40);
    assert!(world.hp[1] < hurt - 7.0 && world.x[0] == at, "two shots more from where it stands: {} of {hurt}", world.hp[1]);
    world.x[1] = 16.25 + 1.1;
    ticks(&mut world, 1);
    assert!(world.x[0] > at && !world.reaches[0], "beyond the slop it follows");
    // At the same distance who never had it in reach, or turned to somebody else meanwhile, comes nearer first.
    let spines = [(Kind::SpineCrawler, 16.0, 10.0), (Kind::SpineCrawler, 17.15, 10.0)];
    let mut world = battle(Profile::Liberty, &[(Kind::Marine, 10.0, 10.0)], &spines);
    for (target, walks) in [(2, true), (1, false), (2, true)] {
        world.x[0] = 10.0;
        world.order[0] = Order::Unit(target);
        ticks(&mut world, 1);
        assert_eq!(world.x[0] > 10.0, walks, "{target}");
    }
    // A foe on the march holds its target too, and a healer has no slop.
    let mut world = battle(Profile::Liberty, &[(Kind::Marine, 10.0, 10.0)], &[(Kind::Marine, 15.7, 10.0)]);
    world.order[1] = Order::March([2.0, 10.0]);
    ticks(&mut world, 2);
    world.x[0] = 9.1;
    ticks(&mut world, 30);
    assert_eq!((world.x[1], world.target[1]), (15.7, 0));
    let team = [(Kind::Medivac, 10.0, 10.0), (Kind::Marine, 15.0, 10.0)];
    let mut world = battle(Profile::Liberty, &team, &[(Kind::Marine, 30.0, 30.0)]);
    (world.order[0], world.hp[1]) = (Order::Unit(1), 20.0);
    ticks(&mut world, 1);
    assert!(world.reaches[0]);
    world.x[1] += 0.5;
    ticks(&mut world, 1);
    assert!(!world.reaches[0] && world.x[0] > 10.0);
}

#[test]
fn foes_take_the_nearest_and_answer_who_shoots_at_them() {
    for profile in BOTH {
        let allies = [(Kind::Marine, 10.0, 10.0), (Kind::Marine, 11.0, 10.0)];
        let mut world = battle(profile, &allies, &[(Kind::Marine, 15.5, 10.0)]);
        world.order[2] = Order::March([9.0, 10.0]);
        ticks(&mut world, 1);
        assert_eq!(world.target[2], 1, "{profile:?}");
        // Out of its sight, but shot at from there: stalkers reach further than zealots look.
        let mut world = battle(profile, &[(Kind::Stalker, 10.0, 10.0)], &[(Kind::Zealot, 17.0, 10.0)]);
        world.order[1] = Order::Guard;
        ticks(&mut world, 1);
        assert_eq!(world.target[1], NOBODY, "{profile:?}");
        world.order[0] = Order::Unit(1);
        ticks(&mut world, 2);
        assert_eq!(world.target[1], 0, "{profile:?}");
    }
}

#[test]
fn nobody_leaves_the_ground() {
    for (layout, at) in [(Layout::Corridor, [12.5, 12.5]), (Layout::Band, [3.0, 9.0]), (Layout::Slope, [9.0, 13.0])] {
        let mut world = World::new(Profile::Liberty, Ground::of(layout, Profile::Liberty), stream());
        world.muster(&[Recruit { kind: Kind::Zealot, at }], &[Recruit { kind: Kind::Medivac, at: [1.0, 1.0] }], false, stream());
        let mut choose = stream();
        for _ in 0..300 {
            let to = [choose.range(-4.0, 36.0) as f32, choose.range(-4.0, 36.0) as f32];
            world.order[0] = Order::Move(to);
            ticks(&mut world, TICKS);
            assert!(Ground::free(&world.ground.walk, world.x[0], world.y[0]), "{layout:?}: at {}, {}", world.x[0], world.y[0]);
        }
    }
}

#[test]
fn three_groups_of_actions_are_told_apart_in_both_encodings() {
    let registry = Registry::builtin();
    for (name, agents, smac, unified, blocks) in [
        ("6m2V4b_vs_15m", 12, 21, 34, [0..7, 7..22, 22..34]),
        ("12m4V8b_vs_30m", 24, 36, 61, [0..7, 7..37, 37..61]),
        ("20m6V4b_vs_40m", 30, 46, 77, [0..7, 7..47, 47..77]),
    ] {
        let make = |settings: &[&str]| registry.make(&format!("skirmish/{name}"), settings).unwrap().spec().clone();
        let specs = [make(&[]), make(&["actions=unified"])];
        assert_eq!((specs[0].n(), specs[0].step_limit), (agents, Some(180)));
        assert_eq!(specs.each_ref().map(|s| s.agents[0].action.mask_len()), [smac, unified], "{name}");
        let spaces = specs.each_ref().map(|s| UnifiedSpace::new(s).unwrap());
        for space in &spaces {
            let found: Vec<_> = space.blocks.iter().map(|b| b.range.clone()).collect();
            assert_eq!((found, space.masks.len()), (blocks.to_vec(), 3), "{name}");
        }
        assert_eq!((&spaces[0].masks, &spaces[0].group_of_agent), (&spaces[1].masks, &spaces[1].group_of_agent));
        // Beyond moving, no group has an action of another one.
        let beyond: Vec<Vec<usize>> = spaces[0].masks.iter().map(|m| (6..m.len()).filter(|u| m[*u]).collect()).collect();
        assert!((0..3).all(|g| !beyond[g].is_empty() && beyond[g].iter().all(|u| !spaces[0].masks[(g + 1) % 3][*u])));
        // The unified encoding is the space itself.
        let baneling = specs[1].agents.iter().position(|a| a.kind == "baneling").unwrap();
        assert_eq!((spaces[1].from_env(baneling, 6), spaces[1].from_env(baneling, 7)), (Some(6), None));
        assert_eq!(specs[0].agents[baneling].meaning[6..8], [ActionMeaning::Own(6), ActionMeaning::Never]);
    }
}

#[test]
fn a_baneling_bursts_when_it_is_told_to() {
    for settings in [&[][..], &["actions=unified"], &["profile=smaclite"], &["field_of_view=true", "actions=unified"]] {
        let mut env = Registry::builtin().make("skirmish/2m1V3b_vs_6m", settings).unwrap();
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(stream(), &mut buf.frame()).unwrap();
        let burst = if settings.contains(&"field_of_view=true") { 18 } else { 6 };
        let banelings: Vec<usize> = (0..spec.n()).filter(|i| spec.agents[*i].kind == "baneling").collect();
        let mut done = false;
        while !done {
            // Everyone goes to meet the foes; whoever can burst does.
            let choose = |i: usize| {
                let mask = &buf.avail[spec.mask_range(i)];
                let first = [burst, 4, 1, 0].into_iter().find(|&a| mask[a] && (a != burst || banelings.contains(&i)));
                first.unwrap() as f32
            };
            let actions: Vec<f32> = (0..spec.n()).map(choose).collect();
            let bursting: Vec<usize> = banelings.iter().copied().filter(|&i| actions[i] == burst as f32).collect();
            assert!(banelings.iter().all(|&i| buf.avail[spec.mask_range(i)][burst + 1..].iter().all(|open| !open)));
            env.step(Actions::new(&spec, &actions), &mut buf.frame()).unwrap();
            done = !bursting.is_empty();
            if done {
                assert!(bursting.iter().all(|&i| !buf.alive[i]), "{settings:?}");
                assert!(buf.rewards[0] > 0.0, "{settings:?}");
            }
        }
    }
}

#[test]
fn agents_stand_in_smacs_order_and_say_what_their_slots_mean() {
    let registry = Registry::builtin();
    let env = registry.make("skirmish/MMM2", &[]).unwrap();
    let kinds: Vec<&str> = env.spec().agents.iter().map(|a| a.kind.as_str()).collect();
    assert_eq!(kinds[..3], ["marauder", "marauder", "marine"]);
    assert_eq!(kinds[9], "medivac");
    let (marine, medivac) = (&env.spec().agents[2].meaning, &env.spec().agents[9].meaning);
    assert_eq!((marine[1], marine[6], marine[17]), (ActionMeaning::Own(1), ActionMeaning::Enemy(0), ActionMeaning::Enemy(11)));
    assert_eq!((medivac[6], medivac[14]), (ActionMeaning::Ally(0), ActionMeaning::Ally(8)));
    assert_eq!(medivac[15..], [ActionMeaning::Never; 3], "itself, and the slots beyond its allies");
    let unified = registry.make("skirmish/MMM2", &["actions=unified"]).unwrap();
    let (marine, medivac) = (&unified.spec().agents[2].meaning, &unified.spec().agents[9].meaning);
    assert_eq!((marine[6], marine[18]), (ActionMeaning::Enemy(0), ActionMeaning::Never));
    assert_eq!((medivac[6], medivac[18]), (ActionMeaning::Never, ActionMeaning::Ally(0)));
}

/// What an agent plays.
type Play<'a> = &'a mut dyn FnMut(&FrameBuf, usize, &[usize]) -> usize;

/// Plays one episode; the return, how it ended, and whether it was won.
fn episode(env: &mut dyn Env, seed: u64, play: Play<'_>) -> (f64, Status, bool) {
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.reset(Stream::new(seed, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
    let (mut total, mut actions) = (0.0, vec![0.0; spec.action_len()]);
    loop {
        for (i, action) in actions.iter_mut().enumerate() {
            let mask = &buf.avail[spec.mask_range(i)];
            let free: Vec<usize> = (0..mask.len()).filter(|a| mask[*a]).collect();
            *action = play(&buf, i, &free) as f32;
        }
        let status = env.step(Actions::new(&spec, &actions), &mut buf.frame()).unwrap();
        total += buf.rewards[0];
        if status.done() {
            return (total, status, env.won().unwrap());
        }
    }
}

/// Shoot at the weakest in reach, close up when somebody is in sight: enough for 3m, and a win is worth 20 in all.
#[test]
fn focus_fire_wins_3m_and_random_play_loses() {
    let registry = Registry::builtin();
    let mut env = registry.make("skirmish/3m", &[]).unwrap();
    let spec = env.spec().clone();
    let mut wins = 0;
    for seed in 0..20 {
        let (total, _, won) = episode(&mut *env, seed, &mut |buf, i, free| {
            let foe = |j: usize| &buf.obs[spec.obs_range(i)][4 + 5 * j..9 + 5 * j];
            let in_reach = free.iter().filter(|a| **a >= 6).min_by(|a, b| foe(**a - 6)[4].total_cmp(&foe(**b - 6)[4]));
            let in_sight = (0..3).any(|j| foe(j)[1] > 0.0) && free.contains(&4);
            in_reach.copied().unwrap_or(if in_sight { 4 } else { free[0] })
        });
        wins += i32::from(won);
        assert!(won == (total > 19.99) && total < 20.01, "{total}, won: {won}");
    }
    assert!(wins >= 5, "{wins} of 20");
    let mut draws = stream();
    let lost = (0..20)
        .filter(|&seed| !episode(&mut *env, seed, &mut |_, _, free| free[draws.below(free.len() as u32) as usize]).2)
        .count();
    assert!(lost >= 18, "random play lost {lost} of 20");
}

#[test]
fn sparse_rewards_say_who_won_and_negative_ones_count_losses() {
    let registry = Registry::builtin();
    let idle: Play<'_> = &mut |_, _, free| free[0];
    let mut env = registry.make("skirmish/3m", &["reward_sparse=true"]).unwrap();
    assert_eq!(episode(&mut *env, 0, idle), (-1.0, Status::Terminated, false));
    for (fallen, reward, won) in [([3..6, 3..6], 1.0, true), ([0..3, 0..3], -1.0, false), ([0..3, 3..6], 0.0, false)] {
        let map = find("3m").unwrap();
        let mut env = Skirmish::new(&map, &options(&Battle(map.clone()), &["reward_sparse=true"]).unwrap()).unwrap();
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(stream(), &mut buf.frame()).unwrap();
        fallen.into_iter().flatten().for_each(|u| env.world.hp[u] = 0.0);
        let status = env.step(Actions::new(&spec, &[1.0; 3]), &mut buf.frame()).unwrap();
        assert_eq!((status, buf.rewards[0], env.won()), (Status::Terminated, reward, Some(won)), "a draw is no defeat");
    }
    let mut env = registry.make("skirmish/3m", &["reward_negative=true"]).unwrap();
    let (total, _, _) = episode(&mut *env, 0, idle);
    assert!((total + 20.0 / 365.0 * 0.5 * (3.0 * 45.0 + 3.0 * 10.0)).abs() < 1e-9, "{total}");
}

#[test]
fn the_limit_truncates_and_masks_are_kept() {
    let registry = Registry::builtin();
    let mut env = registry.make("skirmish/2s_vs_1sc", &["step_limit=7"]).unwrap();
    let (_, status, won) = episode(&mut *env, 0, &mut |_, _, free| free[0]);
    assert_eq!((status, won), (Status::Truncated, false));
    let spec = env.spec().clone();
    let mut buf = FrameBuf::new(&spec);
    env.reset(stream(), &mut buf.frame()).unwrap();
    assert!(!buf.avail[0] && buf.avail[1], "the living do not do nothing");
    let refused = env.step(Actions::new(&spec, &[0.0, 1.0]), &mut buf.frame());
    assert!(matches!(refused, Err(EnvError::Action { agent, .. }) if agent == "stalker_0"));
}

#[test]
fn a_field_of_view_hides_what_lies_elsewhere() {
    let registry = Registry::builtin();
    let mut env = registry.make("skirmish/terran_5_vs_5", &["field_of_view=true"]).unwrap();
    let spec = env.spec().clone();
    assert_eq!(spec.agents[0].action.mask_len(), 6 + 12 + 5);
    let mut buf = FrameBuf::new(&spec);
    let (mut shut, mut open) = (0, 0);
    for seed in 0..40 {
        env.reset(Stream::new(seed, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
        assert!(buf.avail[6..18].iter().all(|a| *a), "looking is always allowed");
        for look in 0..12 {
            let mut actions = vec![1.0; 5];
            actions[0] = (6 + look) as f32;
            if (1..5).any(|i| !buf.avail[spec.mask_range(i)][1]) || !buf.alive[0] {
                break;
            }
            env.step(Actions::new(&spec, &actions), &mut buf.frame()).unwrap();
            let seen = (0..5).filter(|j| buf.obs[4 + 8 * j + 1] > 0.0).count();
            if seen > 0 { open += 1 } else { shut += 1 }
        }
    }
    assert!(open > 0 && shut > 3 * open, "{open} looks met somebody, {shut} did not");
}

/// The maps themselves are tried with all other tasks; here are the options.
#[test]
fn options_keep_the_contract() {
    let registry = Registry::builtin();
    let cases = [
        ("skirmish/MMM", vec!["profile=smaclite"]),
        ("skirmish/6m2m_15m", vec!["actions=unified", "obs=harl", "state=fp"]),
        ("skirmish/zerg_5_vs_5", vec!["field_of_view=true", "state=ep"]),
        ("skirmish/terran_5_vs_5", vec!["prob_obs_enemy=0.3", "action_mask=false"]),
        ("skirmish/6m2V4b_vs_15m", vec!["prob_obs_enemy=0", "action_mask=false", "actions=unified", "profile=void_multi"]),
        ("skirmish/6m2V4b_vs_15m", vec!["actions=unified", "obs=harl", "state=fp", "field_of_view=true"]),
        (
            "skirmish/2c_vs_64zg",
            vec!["obs_pathing=true", "obs_terrain=true", "obs_last_action=true", "obs_timestep=true", "state_terrain=true"],
        ),
    ];
    for (name, settings) in cases {
        for line in check(&|| registry.make(name, &settings), 3) {
            let allowed = match &line.outcome {
                Outcome::Passed => true,
                Outcome::Warned(_) => settings.contains(&"profile=smaclite"),
                Outcome::Skipped(_) | Outcome::Failed(_) => false,
            };
            assert!(allowed, "{name} {settings:?}: {} {:?}", line.name, line.outcome);
        }
    }
}

#[test]
fn a_picture_shows_the_living_and_the_fallen() {
    let registry = Registry::builtin();
    let mut env = registry.make("skirmish/MMM", &[]).unwrap();
    let idle: Play<'_> = &mut |_, _, free| free[0];
    assert!(env.scene().is_some());
    let _ = episode(&mut *env, 1, idle);
    let scene = env.scene().unwrap();
    let circles = scene.shapes.iter().filter(|s| matches!(s, Shape::Circle { .. })).count();
    let crosses = scene.shapes.iter().filter(|s| matches!(s, Shape::Line { width, .. } if *width == 0.08)).count();
    assert_eq!(circles + crosses / 2, 20);
    assert!(crosses >= 18 && scene.caption.starts_with("step") && scene.caption.contains("MMM"), "{}", scene.caption);
}

#[test]
fn smaclite_counts_no_kill_of_who_bursts_and_no_draws() {
    let mut world = battle(Profile::Smaclite, &[(Kind::Marine, 10.0, 10.0)], &[(Kind::Baneling, 10.5, 10.0)]);
    world.order[1] = Order::March([10.0, 10.0]);
    ticks(&mut world, 1);
    assert!(!world.alive(0) && !world.alive(1), "80 points on a marine of 45");
    assert_eq!((world.dealt, world.kills), (30.0, 0));
    // Nobody is left on either side: SMAC's draw, SMAClite's victory.
    let map = find("3m").unwrap();
    for (profile, won) in [("profile=liberty", false), ("profile=smaclite", true)] {
        let mut env = Skirmish::new(&map, &options(&Battle(map.clone()), &[profile]).unwrap()).unwrap();
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(stream(), &mut buf.frame()).unwrap();
        env.world.hp.fill(0.0);
        let status = env.step(Actions::new(&spec, &[1.0; 3]), &mut buf.frame()).unwrap();
        assert_eq!((status, env.won()), (Status::Terminated, Some(won)), "{profile}");
    }
}

#[test]
fn sides_know_who_stands() {
    let mut view = View::new(Ground::of(Layout::Open, Profile::Liberty), 2, 1);
    view.allies[0].kind = Kind::Medivac;
    assert!(view.stands(Side::Ally) && view.stands(Side::Foe));
    view.allies[1].hp = 0.0;
    assert!(!view.stands(Side::Ally) && view.allies[0].alive(), "a healer alone does not hold the field");
    view.smaclite = true;
    assert!(view.stands(Side::Ally), "to SMAClite it does");
    view.foes[0].hp = 0.0;
    assert!(!view.stands(Side::Foe));
}

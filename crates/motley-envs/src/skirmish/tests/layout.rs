//! What agents are told, number by number, of a battle that stands still: written out by hand from SMAC's definition, SMACv2's and that
//! of HARL's wrapper.

use motley_core::StateSpace;

use super::*;

/// A whole vector, its parts one after another.
fn whole(parts: &[&[f32]]) -> Vec<f32> {
    parts.concat()
}

/// `n` entries, one of them 1.
fn hot(at: usize, n: usize) -> Vec<f32> {
    (0..n).map(|k| f32::from(u8::from(k == at))).collect()
}

fn near(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (k, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-6, "{what}: entry {k} is {a}, expected {b}");
    }
}

fn made(map: &str, settings: &[&str]) -> (Skirmish, FrameBuf) {
    let map = find(map).unwrap();
    let mut env = Skirmish::new(&map, &options(&Battle(map.clone()), settings).unwrap()).unwrap();
    let mut buf = FrameBuf::new(env.spec());
    env.reset(stream(), &mut buf.frame()).unwrap();
    (env, buf)
}

/// 2s3z: where each unit stands, its health and shield; after a quarter of the episode.
fn scene(settings: &[&str]) -> (Skirmish, FrameBuf) {
    const ALLIES: [[f32; 4]; 5] = [
        [10.0, 8.5, 40.0, 80.0],  // a stalker at the edge of the band
        [10.0, 12.5, 80.0, 20.0], // a stalker 4 north of it
        [13.0, 12.5, 75.0, 50.0], // a zealot 5 off
        [11.0, 8.5, 0.0, 0.0],    // fallen
        [19.0, 8.5, 100.0, 0.0],  // a zealot 9 off, which is too far to be seen
    ];
    const FOES: [[f32; 4]; 5] = [
        [16.0, 8.5, 80.0, 40.0],  // a stalker 6 off, as far as one shoots
        [16.0, 13.0, 20.0, 0.0],  // a stalker 7.5 off
        [14.0, 11.5, 50.0, 25.0], // a zealot 5 off
        [12.0, 8.5, 0.0, 0.0],    // fallen
        [30.0, 8.5, 100.0, 50.0], // a zealot 20 off
    ];
    let (mut env, mut buf) = made("2s3z", settings);
    for (u, [x, y, hp, shield]) in ALLIES.into_iter().chain(FOES).enumerate() {
        (env.world.x[u], env.world.y[u]) = (x, y);
        (env.world.hp[u], env.world.shield[u]) = (f64::from(hp), f64::from(shield));
    }
    // 7 loops of a stalker's 35, 11 of a zealot's 22.
    (env.world.cooldown[0], env.world.cooldown[2]) = (7.0 / 16.0, 11.0 / 16.0);
    env.contract.course.last = vec![Some(4), Some(6), Some(1), Some(0), None];
    env.contract.course.steps = 30;
    env.write(&mut buf.frame());
    (env, buf)
}

const N: f32 = 9.0;
/// Stalkers before zealots among the team, the other way round among the foes.
const FOES_SEEN: [[f32; 8]; 5] = [
    [1.0, 6.0 / N, 6.0 / N, 0.0, 1.0, 0.5, 0.0, 1.0],
    [0.0, 7.5 / N, 6.0 / N, 4.5 / N, 0.25, 0.0, 0.0, 1.0],
    [1.0, 5.0 / N, 4.0 / N, 3.0 / N, 0.5, 0.5, 1.0, 0.0],
    [0.0; 8],
    [0.0; 8],
];
const ALLIES_SEEN: [[f32; 8]; 4] = [
    [1.0, 4.0 / N, 0.0, 4.0 / N, 1.0, 0.25, 1.0, 0.0],
    [1.0, 5.0 / N, 3.0 / N, 4.0 / N, 0.75, 1.0, 0.0, 1.0],
    [0.0; 8],
    [0.0; 8],
];
/// Health, cooldown, place from the middle, shield, type.
const ALLIES_STATE: [[f32; 7]; 5] = [
    [0.5, 0.2, -6.0 / 32.0, -7.5 / 32.0, 1.0, 1.0, 0.0],
    [1.0, 0.0, -6.0 / 32.0, -3.5 / 32.0, 0.25, 1.0, 0.0],
    [0.75, 0.5, -3.0 / 32.0, -3.5 / 32.0, 1.0, 0.0, 1.0],
    [0.0; 7],
    [1.0, 0.0, 3.0 / 32.0, -7.5 / 32.0, 0.0, 0.0, 1.0],
];
const FOES_STATE: [[f32; 6]; 5] = [
    [1.0, 0.0, -7.5 / 32.0, 0.5, 0.0, 1.0],
    [0.25, 0.0, -3.0 / 32.0, 0.0, 0.0, 1.0],
    [0.5, -2.0 / 32.0, -4.5 / 32.0, 0.5, 1.0, 0.0],
    [0.0; 6],
    [1.0, 14.0 / 32.0, -7.5 / 32.0, 1.0, 1.0, 0.0],
];
/// At the southern edge of the band: north, south, east, west; then the eight points around, 4 and 2 cells off.
const EDGE_MOVES: [f32; 4] = [1.0, 0.0, 1.0, 1.0];
const EDGE_PATHS: [f32; 8] = [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0];
/// The plateau is at 64 of 255, what lies below at 0; the last point is where the unit stands.
const H: f32 = 64.0 / 255.0;
const EDGE_HEIGHTS: [f32; 9] = [H, 0.0, H, H, H, 0.0, 0.0, H, H];

/// The last actions of all, in one-hot vectors of 11.
fn memories() -> [Vec<f32>; 5] {
    [hot(4, 11), hot(6, 11), hot(1, 11), hot(0, 11), vec![0.0; 11]]
}

/// Moves, points around and heights of each unit of the team.
fn surroundings() -> [[Vec<f32>; 2]; 5] {
    let edge = || [EDGE_MOVES.to_vec(), whole(&[&EDGE_PATHS, &EDGE_HEIGHTS])];
    let inside = || [vec![1.0; 4], whole(&[&[1.0; 8], &[H; 9]])];
    [edge(), inside(), inside(), [vec![0.0; 4], vec![0.0; 17]], edge()]
}

#[test]
fn smacs_layout_says_what_it_should() {
    let (env, buf) = scene(&[]);
    let spec = env.spec();
    let obs = whole(&[&EDGE_MOVES, FOES_SEEN.as_flattened(), ALLIES_SEEN.as_flattened(), &[0.5, 1.0, 1.0, 0.0]]);
    near("observation", &buf.obs[spec.obs_range(0)], &obs);
    assert!(buf.obs[spec.obs_range(3)].iter().all(|x| *x == 0.0), "the dead see nothing");
    let (env, timed) = scene(&["obs_timestep=true"]);
    let last = env.spec().obs_range(3).end - 1;
    near("the dead have the time", &timed.obs[last..][..1], &[0.25]);
    let state = whole(&[ALLIES_STATE.as_flattened(), FOES_STATE.as_flattened(), &memories().concat()]);
    near("state", &buf.state, &state);
    let (_, buf) = scene(&["state_last_action=false"]);
    near("state without memory", &buf.state, &state[..65]);
}

#[test]
fn harls_layout_says_what_it_should() {
    let (env, buf) = scene(&["obs=harl", "state=fp"]);
    let spec = env.spec();
    let memory = memories();
    // The fallen and the distant are not seen, nor what they did.
    let allies = whole(&[&ALLIES_SEEN[0], &memory[1], &ALLIES_SEEN[1], &memory[2], &[0.0; 38]]);
    let own = whole(&[&[1.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 0.0], &memory[0]]);
    let obs = whole(&[&allies, FOES_SEEN.as_flattened(), &EDGE_MOVES, &own, &hot(0, 5)]);
    near("observation", &buf.obs[spec.obs_range(0)], &obs);
    let fallen = &buf.obs[spec.obs_range(3)];
    assert!(fallen[..fallen.len() - 5].iter().all(|x| *x == 0.0), "the dead see nothing");
    near("but have their number", &fallen[fallen.len() - 5..], &hot(3, 5));
    let timed = scene(&["obs=harl", "obs_timestep=true"]).1;
    near("the time is last", &timed.obs[spec.obs_range(0).end..][..1], &[0.25]);
}

#[test]
fn harls_row_per_agent_says_what_it_should() {
    let (env, buf) = scene(&["state=fp"]);
    let memory = memories();
    // From the stalker at the edge: who is seen, how far off and where, cooldown, health, shield, place, type, last action.
    let north = whole(&[&[1.0, 4.0 / N, 0.0, 4.0 / N, 0.0, 1.0, 0.25, -6.0 / 32.0, -3.5 / 32.0, 1.0, 0.0], &memory[1]]);
    let zealot = whole(&[&[1.0, 5.0 / N, 3.0 / N, 4.0 / N, 0.5, 0.75, 1.0, -3.0 / 32.0, -3.5 / 32.0, 0.0, 1.0], &memory[2]]);
    let distant = whole(&[&[0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 3.0 / 32.0, -7.5 / 32.0, 0.0, 1.0], &memory[4]]);
    // Whether it can be attacked, how far off and where, whether it is seen, health, shield, type, place; the distant are there too.
    let foes = [
        [1.0, 6.0 / N, 6.0 / N, 0.0, 1.0, 1.0, 0.5, 0.0, 1.0, 0.0, -7.5 / 32.0],
        [0.0, 7.5 / N, 6.0 / N, 4.5 / N, 1.0, 0.25, 0.0, 0.0, 1.0, 0.0, -3.0 / 32.0],
        [1.0, 5.0 / N, 4.0 / N, 3.0 / N, 1.0, 0.5, 0.5, 1.0, 0.0, -2.0 / 32.0, -4.5 / 32.0],
        [0.0; 11],
        [0.0, 20.0 / N, 20.0 / N, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 14.0 / 32.0, -7.5 / 32.0],
    ];
    let own = whole(&[&[1.0, 0.0, 0.0, 0.0, 0.5, 1.0, -6.0 / 32.0, -7.5 / 32.0, 1.0, 0.0], &memory[0]]);
    let row = whole(&[&north, &zealot, &[0.0; 22], &distant, foes.as_flattened(), &EDGE_MOVES, &own, &hot(0, 5)]);
    assert_eq!((env.spec().state, buf.state.len()), (StateSpace::Fp(row.len()), 5 * row.len()));
    near("the first agent's row", &buf.state[..row.len()], &row);
    let rows: Vec<_> = buf.state.chunks_exact(row.len()).collect();
    assert!(rows[3][..row.len() - 5].iter().all(|x| *x == 0.0), "the fallen's");
    near("the fallen's number", &rows[3][row.len() - 5..], &hot(3, 5));
    near("the distant's number", &rows[4][row.len() - 5..], &hot(4, 5));
    near("the first, from the distant", &rows[4][..4], &[0.0, 1.0, -1.0, 0.0]);
}

#[test]
fn harls_state_for_all_says_what_it_should() {
    let (env, buf) = scene(&["state=ep"]);
    let memory = memories();
    let mut state = Vec::new();
    for (i, unit) in ALLIES_STATE.iter().enumerate() {
        let memory = if i == 3 { vec![0.0; 11] } else { memory[i].clone() };
        state.extend(whole(&[unit, &memory]));
    }
    state.extend(FOES_STATE.as_flattened());
    let (around, spec) = (surroundings(), env.spec());
    for i in 0..5 {
        let mask: Vec<f32> = buf.avail[spec.mask_range(i)].iter().map(|open| f32::from(u8::from(*open))).collect();
        // The fallen lies at the edge too; its mask is the no-op.
        let ground = if i == 3 { &around[0][1] } else { &around[i][1] };
        state.extend(whole(&[&mask, ground]));
    }
    state.extend([0.25, 32.0, 32.0, 32.0, 32.0, 9.0]);
    near("state for all", &buf.state, &state);
    let fallen = 5 * (7 + 11) + 5 * 6 + 3 * (11 + 17);
    near("the fallen's mask", &buf.state[fallen..fallen + 11], &hot(0, 11));
}

#[test]
fn settings_of_smacs_state_do_not_go_with_harls() {
    let map = find("2s3z").unwrap();
    let refused = |settings: &[&str]| Skirmish::new(&map, &options(&Battle(map.clone()), settings).unwrap()).is_err();
    for settings in
        [["state=fp", "state_timestep=true"], ["state=fp", "state_terrain=true"], ["state=ep", "state_last_action=false"]]
    {
        assert!(refused(&settings), "{settings:?}");
    }
    assert!(!refused(&["state=ep", "state_timestep=true"]), "it has the time");
}

#[test]
fn options_of_the_layout_say_what_they_should() {
    let settings = [
        "obs_pathing=true",
        "obs_terrain=true",
        "obs_last_action=true",
        "obs_timestep=true",
        "state_timestep=true",
        "state_terrain=true",
    ];
    let (env, buf) = scene(&settings);
    let memory = memories();
    let allies = whole(&[&ALLIES_SEEN[0], &memory[1], &ALLIES_SEEN[1], &memory[2], &[0.0; 38]]);
    let own = [0.5, 1.0, 1.0, 0.0, 0.25];
    let obs = whole(&[&EDGE_MOVES, &EDGE_PATHS, &EDGE_HEIGHTS, FOES_SEEN.as_flattened(), &allies, &own]);
    near("observation", &buf.obs[env.spec().obs_range(0)], &obs);
    let around = surroundings();
    let units = (0..5).flat_map(|i| whole(&[&ALLIES_STATE[i], &around[i][1]])).collect::<Vec<_>>();
    let state = whole(&[&units, FOES_STATE.as_flattened(), &memory.concat(), &[0.25]]);
    near("state", &buf.state, &state);
}

/// SMACv2's own block and state row: health, shield, position, where the agent looks, type.
#[test]
fn position_and_direction_stand_before_the_type() {
    let (mut env, mut buf) = scene(&["obs_own_pos=true", "field_of_view=true"]);
    let spec = env.spec().clone();
    assert_eq!((spec.agents[0].obs.size(), spec.state), (80 + 4, StateSpace::Ep(120 + 5 * 2 + 5 * 12)));
    let half = 3.0_f32.sqrt() / 2.0;
    let circle = [
        [1.0, 0.0],
        [half, 0.5],
        [0.5, half],
        [0.0, 1.0],
        [-0.5, half],
        [-half, 0.5],
        [-1.0, 0.0],
        [-half, -0.5],
        [-0.5, -half],
        [0.0, -1.0],
        [0.5, -half],
        [half, -0.5],
    ];
    for (look, [east, north]) in circle.into_iter().enumerate() {
        env.contract.course.looks[0] = look as u8;
        // What the game names as the playable area is for states alone: an agent's own place is a part of the map's sides.
        for extent in [[32.0, 32.0], [32.0, 16.0]] {
            env.contract.view.extent = extent;
            env.write(&mut buf.frame());
            let own = &buf.obs[spec.obs_range(0)][80 - 4..];
            near("own", own, &[0.5, 1.0, 10.0 / 32.0, 8.5 / 32.0, east, north, 1.0, 0.0]);
            let row = [0.5, 0.2, -6.0 / 32.0, -7.5 / extent[1], 1.0, east, north, 1.0, 0.0];
            near("state", &buf.state[..9], &row);
            near("who looks east", &buf.state[9 + 5..9 + 9], &[1.0, 0.0, 1.0, 0.0]);
            assert!(buf.state[27..36].iter().all(|x| *x == 0.0), "the fallen look nowhere");
            near("foes", &buf.state[45..51], &[1.0, 0.0, -7.5 / extent[1], 0.5, 0.0, 1.0]);
        }
    }
    let (env, buf) = scene(&["obs=harl", "state=fp", "obs_own_pos=true", "field_of_view=true"]);
    // Two entries more for each of the team, and twelve slots more in each last action.
    assert_eq!((env.spec().agents[0].obs.size(), env.spec().state), (144 + 4 + 12 * 5, StateSpace::Fp(173 + 10 + 12 * 5)));
    let own = [0.5, 1.0, 10.0 / 32.0, 8.5 / 32.0, 1.0, 0.0, 1.0, 0.0];
    let from = buf.obs[env.spec().obs_range(0)].len() - 5 - 23 - 8;
    near("own block of HARL's", &buf.obs[from..from + 8], &own);
}

#[test]
fn a_field_of_view_is_thirty_degrees_around_one_direction() {
    let (mut env, mut buf) = made("2s3z", &["field_of_view=true"]);
    let spec = env.spec().clone();
    let mut seen = |off: &[[f32; 2]; 4], look: u8| {
        for (u, place) in env.world.sides[1].clone().zip(off.iter().chain([&[12.0, 12.0]])) {
            (env.world.x[u], env.world.y[u]) = (16.0 + place[0], 16.0 + place[1]);
        }
        (env.world.x[0], env.world.y[0]) = (16.0, 16.0);
        env.contract.course.looks[0] = look;
        env.write(&mut buf.frame());
        let obs: Vec<usize> = (0..5).filter(|j| buf.obs[4 + 8 * j + 1] > 0.0).collect();
        let slots: Vec<usize> = (0..5).filter(|j| buf.avail[spec.mask_range(0)][18 + j]).collect();
        assert_eq!(obs, slots, "5 cells off, a stalker that sees a foe can shoot at it");
        obs
    };
    // Opposite directions are told apart: the original's arctangent folds them where x changes its sign.
    let cross = [[5.0, 0.0], [0.0, 5.0], [-5.0, 0.0], [0.0, -5.0]];
    for look in 0..12 {
        let expected: Vec<usize> = if look % 3 == 0 { vec![usize::from(look / 3)] } else { Vec::new() };
        assert_eq!(seen(&cross, look), expected, "direction {look}");
    }
    for look in 0..12 {
        let at = |degrees: f32| {
            let angle = (f32::from(look) * 30.0 + degrees).to_radians();
            [5.0 * angle.cos(), 5.0 * angle.sin()]
        };
        assert_eq!(seen(&[at(14.0), at(16.0), at(-14.0), at(-16.0)], look), [0, 2], "direction {look}");
    }
}

#[test]
fn drawn_agents_stand_in_smacs_order_and_say_where_they_are() {
    for (name, kinds) in [("terran_5_vs_5", 3), ("protoss_10_vs_11", 3), ("zerg_20_vs_20", 3)] {
        let (mut env, mut buf) = made(name, &[]);
        let spec = env.spec().clone();
        assert_eq!(spec.version, if name.starts_with("terran") { 2 } else { 3 }, "{name}");
        let (mut mixed, shields) = (0, name.starts_with("protoss"));
        for seed in 0..20 {
            env.reset(Stream::new(seed, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
            let team = &env.contract.view.allies;
            let sorted = |a: &crate::skirmish::view::Unit, b: &crate::skirmish::view::Unit| {
                let (at, bt) = (a.kind.name(), b.kind.name());
                at < bt || (at == bt && (a.x < b.x || (a.x == b.x && a.y <= b.y)))
            };
            assert!(team.is_sorted_by(sorted), "{name}, seed {seed}: {team:?}");
            mixed += usize::from(team[0].kind != team[team.len() - 1].kind);
            for (i, unit) in team.iter().enumerate() {
                let obs = &buf.obs[spec.obs_range(i)];
                let own = &obs[obs.len() - kinds - 3 - usize::from(shields)..];
                let place = 1 + usize::from(shields);
                near("own place", &own[place..place + 2], &[unit.x / 32.0, unit.y / 32.0]);
                assert_eq!((own[0], own[place + 2..].iter().sum::<f32>()), (1.0, 1.0), "{name}: unhurt, of one kind");
            }
            // The foes copy the team, in the order of the draw.
            let count = |units: &[crate::skirmish::view::Unit], kind| units.iter().filter(|u| u.kind == kind).count();
            let foes = &env.contract.view.foes;
            assert!(team.iter().all(|u| count(foes, u.kind) >= count(team, u.kind)), "{name}, seed {seed}");
        }
        assert!(mixed > 15, "{name}: {mixed} of 20 teams had more than one kind");
    }
}

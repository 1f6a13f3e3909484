//! Bytes that Blizzard's Python package wrote (`tests/python/test_sc2.py` makes them again and looks for them here).

use super::*;

const ORDER: &str = "5a180a160a140a12081718818090801020818080801020032800880607";
const CREATE: &str = "0a2b0a190a13534d41435f4d6170732f336d2e5343324d61703a0201021a0208011a0608021001180728053000880601";
const DEBUG: &str = "a2011f0a141a12083010021a0a0d00006040150000a0bf20010a072205080908ac02880602";
const SEEN: &str = "52611a592a5512530801100118818090801020302801320f0d0000184115000082411d000040413d0000003f450000c03e4d0000803f75000034427d000034428501000000008d0100000000a00100f50100005841a502000000004810220408011002880603980603";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|k| u8::from_str_radix(&hex[k..k + 2], 16).unwrap()).collect()
}

#[test]
fn requests_have_the_packages_bytes() {
    let command = ActionRawUnitCommand {
        ability_id: Some(23),
        target_unit_tag: Some(4_295_229_441),
        unit_tags: vec![4_294_967_297, 3],
        queue_command: Some(false),
        ..ActionRawUnitCommand::default()
    };
    let action = Action { action_raw: Some(ActionRaw { unit_command: Some(command) }) };
    let order = Request { action: Some(RequestAction { actions: vec![action] }), id: Some(7), ..Request::default() };
    assert_eq!(order.encode_to_vec(), bytes(ORDER));

    let map = LocalMap { map_path: Some("SMAC_Maps/3m.SC2Map".into()), map_data: Some(vec![1, 2]) };
    let player = PlayerSetup { r#type: Some(1), ..PlayerSetup::default() };
    let computer = PlayerSetup { r#type: Some(2), race: Some(1), difficulty: Some(7) };
    let create = RequestCreateGame {
        local_map: Some(map),
        player_setup: vec![player, computer],
        random_seed: Some(5),
        realtime: Some(false),
    };
    let create = Request { create_game: Some(create), id: Some(1), ..Request::default() };
    assert_eq!(create.encode_to_vec(), bytes(CREATE));

    let unit = DebugCreateUnit {
        unit_type: Some(48),
        owner: Some(2),
        pos: Some(Point2D { x: Some(3.5), y: Some(-1.25) }),
        quantity: Some(1),
    };
    let debug = vec![
        DebugCommand { create_unit: Some(unit), kill_unit: None },
        DebugCommand { create_unit: None, kill_unit: Some(DebugKillUnit { tag: vec![9, 300] }) },
    ];
    let debug = Request { debug: Some(RequestDebug { debug }), id: Some(2), ..Request::default() };
    assert_eq!(debug.encode_to_vec(), bytes(DEBUG));
}

#[test]
fn observations_are_read_and_unknown_fields_passed_over() {
    let seen = Response::decode(&*bytes(SEEN)).unwrap();
    assert_eq!((seen.id, seen.status), (Some(3), Some(3)));
    let observation = seen.observation.unwrap();
    assert_eq!(observation.player_result, [PlayerResult { player_id: Some(1), result: Some(2) }]);
    let observation = observation.observation.unwrap();
    assert_eq!(observation.game_loop, Some(16));
    let expected = Unit {
        tag: Some(4_295_229_441),
        unit_type: Some(48),
        owner: Some(1),
        pos: Some(Point { x: Some(9.5), y: Some(16.25), z: Some(12.0) }),
        radius: Some(0.375),
        health: Some(45.0),
        health_max: Some(45.0),
        shield: Some(0.0),
        shield_max: Some(0.0),
        energy: Some(0.0),
        weapon_cooldown: Some(13.5),
    };
    assert_eq!(observation.raw_data.unwrap().units, [expected]);
}

//! The messages of StarCraft II's protocol that a battle needs, with their field numbers (s2client-proto, package `SC2APIProtocol`).
//!
//! Members of a `oneof` are plain optional fields here, enumerations their numbers: the bytes are the same.
//! `tests/python/test_sc2.py` holds names, numbers and types to the descriptors of the Python package `s2clientprotocol`.
#![allow(missing_docs, reason = "names and meanings are the protocol's own")]

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(message, optional, tag = "1")]
    pub create_game: Option<RequestCreateGame>,
    #[prost(message, optional, tag = "2")]
    pub join_game: Option<RequestJoinGame>,
    #[prost(message, optional, tag = "9")]
    pub game_info: Option<RequestGameInfo>,
    #[prost(message, optional, tag = "10")]
    pub observation: Option<RequestObservation>,
    #[prost(message, optional, tag = "11")]
    pub action: Option<RequestAction>,
    #[prost(message, optional, tag = "12")]
    pub step: Option<RequestStep>,
    #[prost(message, optional, tag = "13")]
    pub data: Option<RequestData>,
    #[prost(message, optional, tag = "19")]
    pub ping: Option<RequestPing>,
    #[prost(message, optional, tag = "20")]
    pub debug: Option<RequestDebug>,
    #[prost(uint32, optional, tag = "97")]
    pub id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Response {
    #[prost(message, optional, tag = "1")]
    pub create_game: Option<ResponseCreateGame>,
    #[prost(message, optional, tag = "2")]
    pub join_game: Option<ResponseJoinGame>,
    #[prost(message, optional, tag = "9")]
    pub game_info: Option<ResponseGameInfo>,
    #[prost(message, optional, tag = "10")]
    pub observation: Option<ResponseObservation>,
    #[prost(message, optional, tag = "11")]
    pub action: Option<ResponseAction>,
    #[prost(message, optional, tag = "12")]
    pub step: Option<ResponseStep>,
    #[prost(message, optional, tag = "13")]
    pub data: Option<ResponseData>,
    #[prost(message, optional, tag = "19")]
    pub ping: Option<ResponsePing>,
    #[prost(message, optional, tag = "20")]
    pub debug: Option<ResponseDebug>,
    #[prost(uint32, optional, tag = "97")]
    pub id: Option<u32>,
    #[prost(string, repeated, tag = "98")]
    pub error: Vec<String>,
    #[prost(int32, optional, tag = "99")]
    pub status: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestCreateGame {
    #[prost(message, optional, tag = "1")]
    pub local_map: Option<LocalMap>,
    #[prost(message, repeated, tag = "3")]
    pub player_setup: Vec<PlayerSetup>,
    #[prost(uint32, optional, tag = "5")]
    pub random_seed: Option<u32>,
    #[prost(bool, optional, tag = "6")]
    pub realtime: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LocalMap {
    #[prost(string, optional, tag = "1")]
    pub map_path: Option<String>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub map_data: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PlayerSetup {
    #[prost(int32, optional, tag = "1")]
    pub r#type: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub race: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    pub difficulty: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseCreateGame {
    #[prost(int32, optional, tag = "1")]
    pub error: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub error_details: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestJoinGame {
    #[prost(int32, optional, tag = "1")]
    pub race: Option<i32>,
    #[prost(message, optional, tag = "3")]
    pub options: Option<InterfaceOptions>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InterfaceOptions {
    #[prost(bool, optional, tag = "1")]
    pub raw: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub score: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseJoinGame {
    #[prost(uint32, optional, tag = "1")]
    pub player_id: Option<u32>,
    #[prost(int32, optional, tag = "2")]
    pub error: Option<i32>,
    #[prost(string, optional, tag = "3")]
    pub error_details: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestGameInfo {}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseGameInfo {
    #[prost(string, optional, tag = "1")]
    pub map_name: Option<String>,
    #[prost(message, optional, tag = "4")]
    pub start_raw: Option<StartRaw>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StartRaw {
    #[prost(message, optional, tag = "1")]
    pub map_size: Option<Size2Di>,
    #[prost(message, optional, tag = "2")]
    pub pathing_grid: Option<ImageData>,
    #[prost(message, optional, tag = "3")]
    pub terrain_height: Option<ImageData>,
    #[prost(message, optional, tag = "5")]
    pub playable_area: Option<RectangleI>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ImageData {
    #[prost(int32, optional, tag = "1")]
    pub bits_per_pixel: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub size: Option<Size2Di>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub data: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Size2Di {
    #[prost(int32, optional, tag = "1")]
    pub x: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub y: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PointI {
    #[prost(int32, optional, tag = "1")]
    pub x: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub y: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RectangleI {
    #[prost(message, optional, tag = "1")]
    pub p0: Option<PointI>,
    #[prost(message, optional, tag = "2")]
    pub p1: Option<PointI>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Point2D {
    #[prost(float, optional, tag = "1")]
    pub x: Option<f32>,
    #[prost(float, optional, tag = "2")]
    pub y: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Point {
    #[prost(float, optional, tag = "1")]
    pub x: Option<f32>,
    #[prost(float, optional, tag = "2")]
    pub y: Option<f32>,
    #[prost(float, optional, tag = "3")]
    pub z: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestObservation {}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseObservation {
    #[prost(message, optional, tag = "3")]
    pub observation: Option<Observation>,
    #[prost(message, repeated, tag = "4")]
    pub player_result: Vec<PlayerResult>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PlayerResult {
    #[prost(uint32, optional, tag = "1")]
    pub player_id: Option<u32>,
    #[prost(int32, optional, tag = "2")]
    pub result: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Observation {
    #[prost(message, optional, tag = "5")]
    pub raw_data: Option<ObservationRaw>,
    #[prost(uint32, optional, tag = "9")]
    pub game_loop: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ObservationRaw {
    #[prost(message, repeated, tag = "2")]
    pub units: Vec<Unit>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Unit {
    #[prost(uint64, optional, tag = "3")]
    pub tag: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    pub unit_type: Option<u32>,
    #[prost(int32, optional, tag = "5")]
    pub owner: Option<i32>,
    #[prost(message, optional, tag = "6")]
    pub pos: Option<Point>,
    #[prost(float, optional, tag = "8")]
    pub radius: Option<f32>,
    #[prost(float, optional, tag = "14")]
    pub health: Option<f32>,
    #[prost(float, optional, tag = "15")]
    pub health_max: Option<f32>,
    #[prost(float, optional, tag = "16")]
    pub shield: Option<f32>,
    #[prost(float, optional, tag = "17")]
    pub energy: Option<f32>,
    #[prost(float, optional, tag = "30")]
    pub weapon_cooldown: Option<f32>,
    #[prost(float, optional, tag = "36")]
    pub shield_max: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestStep {
    #[prost(uint32, optional, tag = "1")]
    pub count: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseStep {}

#[derive(Clone, PartialEq, Message)]
pub struct RequestAction {
    #[prost(message, repeated, tag = "1")]
    pub actions: Vec<Action>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Action {
    #[prost(message, optional, tag = "1")]
    pub action_raw: Option<ActionRaw>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ActionRaw {
    #[prost(message, optional, tag = "1")]
    pub unit_command: Option<ActionRawUnitCommand>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ActionRawUnitCommand {
    #[prost(int32, optional, tag = "1")]
    pub ability_id: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub target_world_space_pos: Option<Point2D>,
    #[prost(uint64, optional, tag = "3")]
    pub target_unit_tag: Option<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub unit_tags: Vec<u64>,
    #[prost(bool, optional, tag = "5")]
    pub queue_command: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseAction {
    #[prost(int32, repeated, packed = "false", tag = "1")]
    pub result: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestData {
    #[prost(bool, optional, tag = "2")]
    pub unit_type_id: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseData {
    #[prost(message, repeated, tag = "2")]
    pub units: Vec<UnitTypeData>,
}

#[derive(Clone, PartialEq, Message)]
pub struct UnitTypeData {
    #[prost(uint32, optional, tag = "1")]
    pub unit_id: Option<u32>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestPing {}

#[derive(Clone, PartialEq, Message)]
pub struct ResponsePing {
    #[prost(string, optional, tag = "1")]
    pub game_version: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub data_version: Option<String>,
    #[prost(uint32, optional, tag = "4")]
    pub base_build: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestDebug {
    #[prost(message, repeated, tag = "1")]
    pub debug: Vec<DebugCommand>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseDebug {}

#[derive(Clone, PartialEq, Message)]
pub struct DebugCommand {
    #[prost(message, optional, tag = "3")]
    pub create_unit: Option<DebugCreateUnit>,
    #[prost(message, optional, tag = "4")]
    pub kill_unit: Option<DebugKillUnit>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DebugCreateUnit {
    #[prost(uint32, optional, tag = "1")]
    pub unit_type: Option<u32>,
    #[prost(int32, optional, tag = "2")]
    pub owner: Option<i32>,
    #[prost(message, optional, tag = "3")]
    pub pos: Option<Point2D>,
    #[prost(uint32, optional, tag = "4")]
    pub quantity: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DebugKillUnit {
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub tag: Vec<u64>,
}

#[cfg(test)]
mod tests;

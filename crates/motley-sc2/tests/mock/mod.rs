//! A game that is none: a folder that looks like an installation, whose program only says that it was started, and a thread that then
//! answers the protocol on its port with the simulator's battles.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use motley_core::Stream;
use motley_envs::skirmish::ground::{Ground, Layout};
use motley_envs::skirmish::maps::{self, Lineup, Map, Plan};
use motley_envs::skirmish::start::place_on;
use motley_envs::skirmish::units::{Kind, Profile};
use motley_envs::skirmish::world::{Order, Recruit, TICK, World};
use motley_sc2::proto::{
    ActionRawUnitCommand, DebugCommand, ImageData, Observation, ObservationRaw, PlayerResult, Point, PointI, RectangleI, Request,
    Response, ResponseAction, ResponseCreateGame, ResponseData, ResponseDebug, ResponseGameInfo, ResponseJoinGame,
    ResponseObservation, ResponsePing, ResponseStep, Size2Di, StartRaw, Unit, UnitTypeData,
};
use prost::Message as _;
use wire::{BINARY, TEXT, Wire};

mod wire;

/// The build of the pretended installation.
pub const BUILD: u32 = 75689;
/// Unit types of the pretended game.
const TYPES: u32 = 2000;
/// Numbers of the game's own unit types.
const NUMBERS: [(Kind, u32); 10] = [
    (Kind::Colossus, 4),
    (Kind::Baneling, 9),
    (Kind::Marine, 48),
    (Kind::Marauder, 51),
    (Kind::Medivac, 54),
    (Kind::Zealot, 73),
    (Kind::Stalker, 74),
    (Kind::SpineCrawler, 98),
    (Kind::Zergling, 105),
    (Kind::Hydralisk, 107),
];

/// What goes wrong with a game.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The first two connections are answered with HTTP 404, as while the game loads.
    Loading,
    /// The program says that it is of this build.
    Build(u32),
    /// The creation of the game is refused.
    Refused,
    /// One unit is never there.
    Missing,
    /// The foes are of another type.
    Strangers,
    /// The map is of another size.
    Large,
    /// At the third step of an episode: an error.
    Error,
    /// The connection is closed.
    Closed,
    /// No answer.
    Silence,
    /// Text.
    Text,
    /// Bytes that are no message.
    Garbage,
    /// An answer to something else.
    OtherKind,
    /// An answer to another request.
    OtherId,
    /// The game is over.
    Over,
}

/// The stream of a battle, by its number and the seed that the game was created with.
pub type Streams = dyn Fn(u64, u32) -> Stream + Send + Sync;

struct Shared {
    folder: PathBuf,
    stop: AtomicBool,
    battles: AtomicU64,
    /// What each game started meets; the last goes on for all others.
    troubles: Vec<Trouble>,
    streams: Box<Streams>,
    /// Process and arguments of every program started.
    launches: Mutex<Vec<(u32, String)>>,
}

/// An installation with its answering thread.
pub struct Stage {
    dir: tempfile::TempDir,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Says that it was started, then waits to be ended.
const PROGRAM: &str = r#"#!/bin/sh
here=$(cd "$(dirname "$0")/../.." && pwd)
echo "$$ $*" > "$here/starting.$$"
mv "$here/starting.$$" "$here/launch.$$"
exec sleep 300
"#;

impl Stage {
    /// An installation whose games meet these troubles, one after the other.
    pub fn new(troubles: &[Trouble], streams: Box<Streams>) -> Self {
        Self::with_program(PROGRAM, troubles, streams)
    }

    /// The same with a program of one's own.
    pub fn with_program(program: &str, troubles: &[Trouble], streams: Box<Streams>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let version = folder.join(format!("Versions/Base{BUILD}"));
        std::fs::create_dir_all(&version).unwrap();
        std::fs::create_dir_all(folder.join("Maps/SMAC_Maps")).unwrap();
        let file = version.join("SC2_x64");
        std::fs::write(&file, program).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        for map in maps::smac().iter().map(|map| map.name.as_str()).chain(["32x32_flat"]) {
            std::fs::write(folder.join(format!("Maps/SMAC_Maps/{map}.SC2Map")), map).unwrap();
        }
        let shared = Arc::new(Shared {
            folder,
            stop: AtomicBool::new(false),
            battles: AtomicU64::new(0),
            troubles: troubles.to_vec(),
            streams,
            launches: Mutex::default(),
        });
        let thread = Some(std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || direct(&shared)
        }));
        Self { dir, shared, thread }
    }

    /// The installation's folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Process and arguments of every game started so far.
    pub fn launches(&self) -> Vec<(u32, String)> {
        self.shared.launches.lock().unwrap().clone()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for programs to say that they were started, and answers for each.
fn direct(shared: &Arc<Shared>) {
    let mut servers = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        for entry in std::fs::read_dir(&shared.folder).unwrap().flatten() {
            if !entry.file_name().to_string_lossy().starts_with("launch.") {
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).unwrap();
            std::fs::remove_file(entry.path()).unwrap();
            let (pid, arguments) = text.trim().split_once(' ').unwrap();
            let port = arguments.split(' ').skip_while(|word| *word != "-port").nth(1).unwrap().parse().unwrap();
            let mut launches = shared.launches.lock().unwrap();
            let trouble = shared.troubles[launches.len().min(shared.troubles.len() - 1)];
            launches.push((pid.parse().unwrap(), arguments.to_owned()));
            let shared = Arc::clone(shared);
            servers.push(std::thread::spawn(move || serve(&shared, port, trouble)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for server in servers {
        let _ = server.join();
    }
}

/// Answers one game's connection until it closes.
fn serve(shared: &Shared, port: u16, trouble: Trouble) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let accept = || loop {
        match listener.accept() {
            Ok((stream, _)) => return Some(stream),
            Err(_) if shared.stop.load(Ordering::Relaxed) => return None,
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    for _ in 0..if trouble == Trouble::Loading { 2 } else { 0 } {
        let Some(mut stream) = accept() else { return };
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
    let Some(stream) = accept() else { return };
    let Some(mut wire) = Wire::accept(stream) else { return };
    let mut game = Game::new(shared, trouble);
    while let Some(bytes) = wire.receive(&shared.stop) {
        let request = Request::decode(&*bytes).unwrap();
        let id = request.id;
        let mut response = match game.trip(&request) {
            Some(Trouble::Closed) => return,
            Some(Trouble::Silence) => continue,
            Some(Trouble::Text) => {
                wire.send(TEXT, b"what?");
                continue;
            }
            Some(Trouble::Garbage) => {
                wire.send(BINARY, &[0xFF; 9]);
                continue;
            }
            Some(Trouble::Error) => Response { error: vec!["no such loop".into(), "sorry".into()], ..Response::default() },
            Some(Trouble::OtherKind) => Response { data: Some(ResponseData::default()), ..Response::default() },
            Some(Trouble::OtherId) => Response { id: Some(0), step: Some(ResponseStep {}), ..Response::default() },
            Some(Trouble::Over) => Response { status: Some(5), step: Some(ResponseStep {}), ..Response::default() },
            _ => game.answer(request),
        };
        response.id = response.id.or(id);
        wire.send(BINARY, &response.encode_to_vec());
    }
}

/// A battle of the simulator, spoken of in the game's words.
struct Game<'a> {
    shared: &'a Shared,
    trouble: Trouble,
    map: Option<Map>,
    seed: u32,
    world: World,
    battle: u64,
    /// Allies and foes created by debug commands since the last step.
    created: [Vec<Recruit>; 2],
    steps: usize,
}

impl<'a> Game<'a> {
    fn new(shared: &'a Shared, trouble: Trouble) -> Self {
        let world = World::new(Profile::Liberty, Ground::of(Layout::Open, Profile::Liberty), (shared.streams)(0, 0));
        Self { shared, trouble, map: None, seed: 0, world, battle: 0, created: Default::default(), steps: 0 }
    }

    /// The trouble that this request runs into.
    fn trip(&mut self, request: &Request) -> Option<Trouble> {
        let played = request.step.as_ref().is_some_and(|step| step.count == Some(8));
        self.steps += usize::from(played);
        (played && self.steps == 3).then_some(self.trouble)
    }

    fn answer(&mut self, request: Request) -> Response {
        let mut response = Response { status: Some(3), ..Response::default() };
        if let Some(create) = request.create_game {
            let mut answer = ResponseCreateGame::default();
            if self.trouble == Trouble::Refused {
                (answer.error, answer.error_details) = (Some(3), Some("bad map data".into()));
            }
            let map = create.local_map.unwrap();
            let name = map.map_path.unwrap();
            let name = name.strip_prefix("SMAC_Maps/").unwrap().strip_suffix(".SC2Map").unwrap().to_owned();
            assert_eq!(map.map_data.unwrap(), name.as_bytes(), "the map's own bytes are sent");
            assert_eq!(create.player_setup[1].difficulty, Some(7));
            self.map = maps::smac().into_iter().find(|map| map.name == name);
            self.seed = create.random_seed.unwrap();
            response.create_game = Some(answer);
        } else if let Some(join) = request.join_game {
            assert_eq!(join.options.unwrap().raw, Some(true));
            response.join_game = Some(ResponseJoinGame { player_id: Some(1), ..ResponseJoinGame::default() });
            self.world.muster(&[], &[], false, (self.shared.streams)(0, 0));
            self.spawn();
        } else if request.game_info.is_some() {
            response.game_info = Some(ResponseGameInfo { map_name: None, start_raw: Some(self.ground()) });
        } else if request.observation.is_some() {
            let raw_data = Some(ObservationRaw { units: self.units() });
            let observation = Some(Observation { raw_data, game_loop: None });
            response.observation = Some(ResponseObservation { observation, player_result: Vec::<PlayerResult>::new() });
        } else if let Some(action) = request.action {
            action.actions.into_iter().for_each(|a| self.order(&a.action_raw.unwrap().unit_command.unwrap()));
            response.action = Some(ResponseAction::default());
        } else if let Some(step) = request.step {
            self.step(step.count.unwrap());
            response.step = Some(ResponseStep {});
        } else if request.data.is_some() {
            let units = (0..TYPES).map(|id| UnitTypeData { unit_id: Some(id), name: None }).collect();
            response.data = Some(ResponseData { units });
        } else if request.ping.is_some() {
            let base_build = Some(if let Trouble::Build(other) = self.trouble { other } else { BUILD });
            response.ping = Some(ResponsePing { base_build, ..ResponsePing::default() });
        } else if let Some(debug) = request.debug {
            debug.debug.into_iter().for_each(|command| self.debug(command));
            response.debug = Some(ResponseDebug {});
        }
        response
    }

    /// The trigger of SMAC's maps: draws up the next battle. The flat map has none.
    fn spawn(&mut self) {
        let Some(map) = &self.map else { return };
        let Lineup::Fixed { allies, foes } = &map.lineup else { panic!("drawn") };
        let ground = map.ground(Profile::Liberty);
        let mut allies = place_on(&ground, allies, Profile::Liberty, false);
        let foes = place_on(&ground, foes, Profile::Liberty, true);
        maps::sort_as_agents(&mut allies);
        self.battle = self.shared.battles.fetch_add(1, Ordering::Relaxed);
        let mut stream = (self.shared.streams)(self.battle, self.seed);
        let order = match map.plan {
            Plan::March(to) => Order::March(to),
            Plan::Between(a, b) => {
                let t = stream.uniform_f32();
                Order::March([a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t])
            }
            Plan::Guard => Order::Guard,
            Plan::Hunt => Order::Hunt,
        };
        self.world = World::new(Profile::Liberty, ground, stream.clone());
        self.world.muster(&allies, &foes, false, stream);
        self.world.sides[1].clone().for_each(|u| self.world.order[u] = order);
        self.steps = 0;
    }

    fn step(&mut self, loops: u32) {
        if !self.created[0].is_empty() {
            // A created battle begins: pushed apart, the foes on the hunt.
            let [mut allies, mut foes] = std::mem::take(&mut self.created);
            self.battle = self.shared.battles.fetch_add(1, Ordering::Relaxed);
            self.world.muster_apart(&mut allies, &mut foes, (self.shared.streams)(self.battle, self.seed));
            self.world.sides[1].clone().for_each(|u| self.world.order[u] = Order::Hunt);
            self.steps = 0;
        } else if (0..self.world.len()).any(|u| self.world.alive(u)) {
            (0..loops).for_each(|_| self.world.tick());
        } else {
            self.spawn();
        }
    }

    fn tag(&self, u: usize) -> u64 {
        (self.battle + 1) << 32 | u as u64
    }

    fn unit(&self, tag: u64) -> Option<usize> {
        (0..self.world.len()).find(|u| self.tag(*u) == tag && self.world.alive(*u))
    }

    fn order(&mut self, command: &ActionRawUnitCommand) {
        assert_eq!((command.unit_tags.len(), command.queue_command), (1, Some(false)));
        let Some(u) = self.unit(command.unit_tags[0]) else { panic!("an order for a unit that is not there") };
        assert!(self.world.sides[0].contains(&u), "an order for a foe");
        self.world.order[u] = match command.ability_id.unwrap() {
            4 => Order::Stop,
            16 => {
                let to = command.target_world_space_pos.as_ref().unwrap();
                Order::Move([to.x.unwrap(), to.y.unwrap()])
            }
            ability @ (23 | 386) => {
                let t = self.unit(command.target_unit_tag.unwrap()).unwrap();
                assert!(self.world.sides[usize::from(ability == 23)].contains(&t), "whom ability {ability} is for");
                if !self.world.stats[u].can_hit(self.world.stats[t]) {
                    // Refused: the order before it goes on.
                    return;
                }
                Order::Unit(t as u16)
            }
            other => panic!("ability {other}"),
        };
    }

    fn debug(&mut self, command: DebugCommand) {
        for tag in command.kill_unit.map(|kill| kill.tag).unwrap_or_default() {
            let u = self.unit(tag).expect("a unit that is there is killed");
            self.world.hp[u] = 0.0;
        }
        if let Some(create) = command.create_unit {
            let (unit_type, pos) = (create.unit_type.unwrap(), create.pos.unwrap());
            assert_eq!(create.quantity, Some(1));
            let at = [pos.x.unwrap(), pos.y.unwrap()];
            let (side, kind) = match create.owner {
                Some(1) => (0, copies()[&unit_type]),
                Some(2) => (1, NUMBERS.iter().find(|(_, number)| *number == unit_type).unwrap().0),
                other => panic!("owner {other:?}"),
            };
            self.created[side].push(Recruit { kind, at });
        }
    }

    /// The living, as the protocol shows them: the team in another order than that of agents, which is the client's to find.
    fn units(&self) -> Vec<Unit> {
        let world = &self.world;
        let mut names: Vec<&str> = world.sides[0].clone().map(|u| world.stats[u].kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        let all = world.sides[0].clone().rev().chain(world.sides[1].clone());
        let shown = all.filter(|u| world.alive(*u)).map(|u| {
            let stats = world.stats[u];
            let ally = world.sides[0].contains(&u);
            let unit_type = match (ally, &self.map) {
                (true, Some(_)) => 1970 + names.iter().position(|name| *name == stats.kind.name()).unwrap() as u32,
                (true, None) => copies().into_iter().find(|(_, kind)| *kind == stats.kind).unwrap().0,
                (false, _) if self.trouble == Trouble::Strangers => 1,
                (false, _) => NUMBERS.iter().find(|(kind, _)| *kind == stats.kind).unwrap().1,
            };
            Unit {
                tag: Some(self.tag(u)),
                unit_type: Some(unit_type),
                owner: Some(if ally { 1 } else { 2 }),
                pos: Some(Point { x: Some(world.x[u]), y: Some(world.y[u]), z: Some(12.0) }),
                radius: Some(stats.radius),
                health: Some(world.hp[u] as f32),
                health_max: Some(stats.health),
                shield: Some(world.shield[u] as f32),
                shield_max: Some(stats.shield),
                energy: Some(world.energy[u] as f32),
                weapon_cooldown: Some((world.cooldown[u] / TICK) as f32),
            }
        });
        shown.skip(usize::from(self.trouble == Trouble::Missing)).collect()
    }

    fn ground(&self) -> StartRaw {
        let ground = &self.world.ground;
        let bits = ground.walk.iter().flat_map(|row| row.reverse_bits().to_be_bytes()).collect();
        let heights = ground.height.iter().flatten().copied().collect();
        let image = |bits, data| Some(ImageData { bits_per_pixel: Some(bits), size: None, data: Some(data) });
        let side = if self.trouble == Trouble::Large { 64 } else { 32 };
        let corner = |c| Some(PointI { x: Some(c), y: Some(c) });
        StartRaw {
            map_size: Some(Size2Di { x: Some(side), y: Some(side) }),
            pathing_grid: image(1, bits),
            terrain_height: image(8, heights),
            playable_area: Some(RectangleI { p0: corner(0), p1: corner(32) }),
        }
    }
}

/// The allied copies of SMACv2's map: the last nine types, in the order of their names.
fn copies() -> BTreeMap<u32, Kind> {
    let mut kinds: Vec<Kind> = NUMBERS.iter().map(|(kind, _)| *kind).filter(|kind| *kind != Kind::SpineCrawler).collect();
    kinds.sort_by_key(|kind| kind.name());
    (TYPES - 9..).zip(kinds).collect()
}

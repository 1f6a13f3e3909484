//! The conversation with one game: a request out, a response in, each with a time limit.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use prost::Message as _;
use thiserror::Error;

use crate::install::Install;
use crate::process::Process;
use crate::proto::{
    Action, DebugCommand, InterfaceOptions, LocalMap, ObservationRaw, PlayerSetup, Request, RequestAction, RequestCreateGame,
    RequestData, RequestDebug, RequestGameInfo, RequestJoinGame, RequestObservation, RequestPing, RequestStep, Response,
    StartRaw, Unit, UnitTypeData,
};
use crate::socket::{Socket, SocketError};

/// Pause between two attempts to reach a game that is starting.
const PAUSE: Duration = Duration::from_millis(100);
/// The path of the protocol's websocket.
const DOOR: &str = "/sc2api";
/// How long one attempt may take: a game that listens answers at once.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long is waited for the end of a process whose connection broke, to say how it ended.
const AUTOPSY: Duration = Duration::from_millis(500);

/// Numbers of the protocol's enumerations.
mod code {
    pub(super) const PARTICIPANT: i32 = 1;
    pub(super) const COMPUTER: i32 = 2;
    pub(super) const ENDED: i32 = 5;
}

/// What can go wrong between Motley and the game. After any of these the process is given up; the next reset starts another.
#[derive(Debug, Error)]
pub enum GameError {
    /// The program could not be started.
    #[error("{program} could not be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It did not open its door in time.
    #[error("StarCraft II did not answer on port {port} within {} s of its start (task.launch_timeout): {last}", .patience.as_secs_f64())]
    Silent {
        /// The port.
        port: u16,
        /// The limit.
        patience: Duration,
        /// What the last attempt met.
        last: String,
    },
    /// The process ended or the connection broke.
    #[error("StarCraft II was lost during {during}: {how}")]
    Lost {
        /// The request.
        during: &'static str,
        /// The end of the process or the error of the connection.
        how: String,
    },
    /// It did not answer in time.
    #[error("StarCraft II did not answer {during} within {} s and was ended (task.step_timeout, task.launch_timeout)", .patience.as_secs_f64())]
    Hung {
        /// The request.
        during: &'static str,
        /// The limit.
        patience: Duration,
    },
    /// It says that it cannot do as asked.
    #[error("StarCraft II refused {during}: {why}")]
    Refused {
        /// The request.
        during: &'static str,
        /// Its reasons.
        why: String,
    },
    /// It answered something that the protocol does not allow.
    #[error("StarCraft II answered {during} with {found}, expected {expected}")]
    Nonsense {
        /// The request.
        during: &'static str,
        /// What the protocol says.
        expected: String,
        /// What came.
        found: String,
    },
    /// The map holds other units than the task says.
    #[error("the map has {found}, expected {expected}: is it SMAC's own map, of this version?")]
    Units {
        /// The kinds.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The program is of another version than its folder says.
    #[error(
        "the program in Base{expected} is of build {found}: mend the installation, or name the version meant with task.version"
    )]
    Version {
        /// The build that the folder is named for.
        expected: u32,
        /// What the program says.
        found: u32,
    },
}

/// A game in its process, connected.
#[derive(Debug)]
pub struct Game {
    socket: Socket,
    process: Process,
    requests: u32,
    patience: Duration,
}

impl Game {
    /// Starts the game, waits until it answers and holds its version against the installation.
    ///
    /// # Errors
    /// A program that cannot be started, ends, stays silent beyond `patience` or is of another version.
    pub fn launch(install: &Install, patience: Duration) -> Result<Self, GameError> {
        let until = Instant::now() + patience;
        let failed = |source| GameError::Start { program: install.program().display().to_string(), source };
        let mut process = Process::start(install).map_err(failed)?;
        let socket = loop {
            // While the game loads there is nobody, or an HTTP error.
            let last = match Socket::open(process.port, DOOR, ATTEMPT) {
                Ok(socket) => break socket,
                Err(last) => last.to_string(),
            };
            if let Some(how) = process.ended() {
                return Err(GameError::Lost { during: "its start", how });
            }
            if Instant::now() >= until {
                return Err(GameError::Silent { port: process.port, patience, last });
            }
            std::thread::sleep(PAUSE);
        };
        let left = until.saturating_duration_since(Instant::now()).max(PAUSE);
        let mut game = Self { socket, process, requests: 0, patience: Duration::ZERO };
        let pong = game.ask("ping", left, Request { ping: Some(RequestPing {}), ..Request::default() }, |r| r.ping)?;
        match pong.base_build {
            Some(found) if found != install.build => Err(GameError::Version { expected: install.build, found }),
            _ => Ok(game),
        }
    }

    /// Creates a game on a map, against the built-in opponent, and joins it.
    ///
    /// # Errors
    /// As every request: a lost or hung game, a refusal, nonsense.
    pub fn create(&mut self, setup: &Setup<'_>, patience: Duration) -> Result<(), GameError> {
        let computer =
            PlayerSetup { r#type: Some(code::COMPUTER), race: Some(setup.races[1]), difficulty: Some(setup.difficulty) };
        let request = RequestCreateGame {
            local_map: Some(LocalMap { map_path: Some(setup.map_path.to_owned()), map_data: Some(setup.map_data.to_vec()) }),
            player_setup: vec![PlayerSetup { r#type: Some(code::PARTICIPANT), ..PlayerSetup::default() }, computer],
            random_seed: Some(setup.seed),
            realtime: Some(false),
        };
        let during = "the creation of the game";
        let made = self.ask(during, patience, Request { create_game: Some(request), ..Request::default() }, |r| r.create_game)?;
        refused(during, made.error, made.error_details)?;
        let options = InterfaceOptions { raw: Some(true), score: Some(false) };
        let request = RequestJoinGame { race: Some(setup.races[0]), options: Some(options) };
        let during = "joining the game";
        let joined = self.ask(during, patience, Request { join_game: Some(request), ..Request::default() }, |r| r.join_game)?;
        refused(during, joined.error, joined.error_details)
    }

    /// The map: its size, where units can walk, how high the ground is.
    ///
    /// # Errors
    /// As [`Game::create`].
    pub fn ground(&mut self, patience: Duration) -> Result<StartRaw, GameError> {
        let during = "the question about the map";
        let request = Request { game_info: Some(RequestGameInfo {}), ..Request::default() };
        let info = self.ask(during, patience, request, |r| r.game_info)?;
        info.start_raw.ok_or_else(|| GameError::Nonsense {
            during,
            expected: "a description of the map".into(),
            found: "none".into(),
        })
    }

    /// Every unit on the map.
    ///
    /// # Errors
    /// As [`Game::create`]; a game that has ended.
    pub fn observe(&mut self, patience: Duration) -> Result<Vec<Unit>, GameError> {
        let during = "an observation";
        let request = Request { observation: Some(RequestObservation {}), ..Request::default() };
        let seen = self.ask(during, patience, request, |r| r.observation)?;
        if !seen.player_result.is_empty() {
            return Err(GameError::Refused { during, why: "the game itself has ended".into() });
        }
        let ObservationRaw { units } = seen.observation.and_then(|o| o.raw_data).ok_or_else(|| GameError::Nonsense {
            during,
            expected: "raw data".into(),
            found: "none".into(),
        })?;
        Ok(units)
    }

    /// Lets so many loops of the game pass, 16 to a second at normal speed.
    ///
    /// # Errors
    /// As [`Game::create`].
    pub fn step(&mut self, loops: u32, patience: Duration) -> Result<(), GameError> {
        let request = Request { step: Some(RequestStep { count: Some(loops) }), ..Request::default() };
        self.ask("a step", patience, request, |r| r.step).map(|_| ())
    }

    /// Gives orders. What a unit cannot do it leaves, as when a person clicks.
    ///
    /// # Errors
    /// As [`Game::create`].
    pub fn act(&mut self, actions: Vec<Action>, patience: Duration) -> Result<(), GameError> {
        let request = Request { action: Some(RequestAction { actions }), ..Request::default() };
        self.ask("orders", patience, request, |r| r.action).map(|_| ())
    }

    /// Creates and kills units.
    ///
    /// # Errors
    /// As [`Game::create`].
    pub fn debug(&mut self, debug: Vec<DebugCommand>, patience: Duration) -> Result<(), GameError> {
        let request = Request { debug: Some(RequestDebug { debug }), ..Request::default() };
        self.ask("a debug command", patience, request, |r| r.debug).map(|_| ())
    }

    /// The types of units that the game knows, by number.
    ///
    /// # Errors
    /// As [`Game::create`].
    pub fn unit_types(&mut self, patience: Duration) -> Result<Vec<UnitTypeData>, GameError> {
        let request = Request { data: Some(RequestData { unit_type_id: Some(true) }), ..Request::default() };
        self.ask("the question about unit types", patience, request, |r| r.data).map(|data| data.units)
    }

    /// One request and the part of the response that answers it.
    fn ask<T>(
        &mut self,
        during: &'static str,
        patience: Duration,
        mut request: Request,
        pick: impl Fn(Response) -> Option<T>,
    ) -> Result<T, GameError> {
        self.requests = self.requests.wrapping_add(1);
        request.id = Some(self.requests);
        let bytes = self.exchange(during, patience, &request.encode_to_vec())?;
        let nonsense = |expected: &str, found: String| GameError::Nonsense { during, expected: expected.into(), found };
        let response =
            Response::decode(&*bytes).map_err(|e| nonsense("a message of its protocol", format!("bytes that are none ({e})")))?;
        if !response.error.is_empty() {
            return Err(GameError::Refused { during, why: response.error.join("; ") });
        }
        if response.id.is_some_and(|id| id != self.requests) {
            return Err(nonsense("an answer to this request", "one to another".into()));
        }
        if response.status == Some(code::ENDED) {
            return Err(GameError::Refused { during, why: "the game itself has ended".into() });
        }
        pick(response).ok_or_else(|| nonsense("an answer of its kind", "one of another kind".into()))
    }

    /// Sends bytes and waits for bytes, `patience` at most for either.
    fn exchange(&mut self, during: &'static str, patience: Duration, bytes: &[u8]) -> Result<Vec<u8>, GameError> {
        if patience != self.patience {
            self.socket.wait(patience).map_err(|e| GameError::Lost { during, how: e.to_string() })?;
            self.patience = patience;
        }
        match self.socket.send(bytes).and_then(|()| self.socket.receive()) {
            Ok(answer) => Ok(answer),
            Err(SocketError::Io(e)) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(GameError::Hung { during, patience })
            }
            Err(error) => Err(self.lost(during, &error.to_string())),
        }
    }

    /// The end of the process where there was one, else the error of the connection.
    fn lost(&mut self, during: &'static str, error: &str) -> GameError {
        let until = Instant::now() + AUTOPSY;
        while Instant::now() < until {
            if let Some(how) = self.process.ended() {
                return GameError::Lost { during, how };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        GameError::Lost { during, how: error.to_owned() }
    }
}

/// What a game is created with.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The map's path under `Maps`.
    pub map_path: &'a str,
    /// Its bytes.
    pub map_data: &'a [u8],
    /// Races of the team and of the opponent, numbers of the protocol.
    pub races: [i32; 2],
    /// Difficulty of the opponent, 1 to 10.
    pub difficulty: i32,
    /// Seed of the game's own randomness.
    pub seed: u32,
}

/// The refusal in an answer that has a field for one.
fn refused(during: &'static str, error: Option<i32>, details: Option<String>) -> Result<(), GameError> {
    match error {
        None => Ok(()),
        Some(code) => {
            Err(GameError::Refused { during, why: format!("error {code} ({})", details.unwrap_or_else(|| "no details".into())) })
        }
    }
}

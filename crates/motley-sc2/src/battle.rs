//! One environment: SMAC's contract over a game of its own.

use std::sync::Arc;
use std::time::Duration;

use motley_core::{Actions, ConfigError, Env, EnvError, Frame, Scene, Status, Stream, TeamSpec};
use motley_envs::skirmish::contract::{Command, Contract};
use motley_envs::skirmish::maps::{self, Lineup, Map, place};
use motley_envs::skirmish::options::Options;
use motley_envs::skirmish::scene;
use motley_envs::skirmish::units::{Kind, Profile, Race};
use motley_envs::skirmish::world::Recruit;

use crate::game::{Game, GameError, Setup};
use crate::install::Install;
use crate::proto::{Action, ActionRaw, ActionRawUnitCommand, DebugCommand, DebugCreateUnit, DebugKillUnit, Point2D, Unit};
use crate::tasks::{FLAT, GameOptions};
use crate::{terrain, units};

/// Loops of the game in one step of the environment.
const LOOPS: u32 = 8;
/// Loops between two looks whether the dead have gone.
const CLEARING: u32 = 2;
/// Looks before clearing the map, or waiting for units, is given up.
const LOOKS: usize = 1000;

/// Numbers of abilities.
mod ability {
    pub(super) const STOP: i32 = 4;
    pub(super) const MOVE: i32 = 16;
    pub(super) const ATTACK: i32 = 23;
    pub(super) const EXPLODE: i32 = 42;
    pub(super) const HEAL: i32 = 386;
}

/// One copy of a battle of the real game. The game is started at the first reset and kept from episode to episode; one that was
/// lost is started anew at the next reset.
#[derive(Debug)]
pub struct RealBattle {
    map: Map,
    install: Install,
    options: GameOptions,
    map_path: String,
    map_data: Vec<u8>,
    contract: Contract,
    game: Option<Game>,
    /// Tags of the allies' units, and of the foes'.
    tags: [Vec<u64>; 2],
    /// Kinds of the foes of a fixed line-up.
    foes: Vec<Kind>,
    /// Kinds of the agents of a fixed line-up.
    allies: Vec<Kind>,
    orders: Vec<Command>,
}

impl RealBattle {
    /// A battle of an installed game.
    ///
    /// # Errors
    /// A map that is missing or cannot be read.
    pub fn new(suite: &str, map: &Map, install: Install, options: GameOptions, seen: Options) -> Result<Self, ConfigError> {
        let (file, allies, foes) = match &map.lineup {
            Lineup::Drawn(_) => (FLAT, Vec::new(), Vec::new()),
            Lineup::Fixed { allies, foes } => {
                let mut allies = place(allies, Profile::Liberty, false);
                maps::sort_as_agents(&mut allies);
                let kinds = |list: Vec<Recruit>| list.into_iter().map(|r| r.kind).collect::<Vec<_>>();
                (map.name.as_str(), kinds(allies), kinds(place(foes, Profile::Liberty, true)))
            }
        };
        let kinds = matches!(map.lineup, Lineup::Fixed { .. }).then_some(&*allies);
        let ground = map.ground(Profile::Liberty);
        // Another build of the game is another version of the task.
        let contract = Contract::new(suite, map, seen, kinds, ground).with_version(install.build);
        Ok(Self {
            map_data: install.map(file)?,
            map_path: format!("SMAC_Maps/{file}.SC2Map"),
            map: map.clone(),
            install,
            options,
            contract,
            game: None,
            tags: [Vec::new(), Vec::new()],
            foes,
            allies,
            orders: Vec::new(),
        })
    }

    fn launch_patience(&self) -> Duration {
        Duration::from_secs_f64(self.options.launch_timeout)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.options.step_timeout)
    }

    /// A game with nobody on the map who is not of this episode. The game is out of its place meanwhile, so that one that fails here is
    /// dropped, and ended.
    fn cleared(&mut self, seed: u32) -> Result<Game, GameError> {
        let patience = self.launch_patience();
        let mut game = match self.game.take() {
            Some(mut game) if !self.options.fresh_game => {
                clear(&mut game, patience)?;
                return Ok(game);
            }
            Some(game) => game,
            None => Game::launch(&self.install, patience)?,
        };
        let races = match &self.map.lineup {
            Lineup::Fixed { allies, foes } => [allies[0].kind, foes[0].kind],
            Lineup::Drawn(roster) => [roster.kinds[0]; 2],
        };
        let setup = Setup {
            map_path: &self.map_path,
            map_data: &self.map_data,
            races: races.map(|kind| race_number(kind.race())),
            difficulty: self.options.difficulty as i32,
            seed,
        };
        game.create(&setup, patience)?;
        let (ground, extent) = terrain::ground(&game.ground(patience)?)?;
        (self.contract.view.ground, self.contract.view.extent) = (Arc::new(ground), extent);
        if matches!(self.map.lineup, Lineup::Drawn(_)) {
            clear(&mut game, patience)?;
        }
        Ok(game)
    }

    /// Draws up a battle and puts it into the view.
    fn draw_up(&mut self, mut stream: Stream) -> Result<(), GameError> {
        let (mut allies, mut foes) = (Vec::new(), Vec::new());
        if let Lineup::Drawn(roster) = &self.map.lineup {
            roster.draw(&mut stream, &mut allies, &mut foes);
        }
        let mut game = self.cleared(stream.next_u32())?;
        let patience = self.launch_patience();
        let sizes = [self.contract.view.allies.len(), self.contract.view.foes.len()];
        let drawn = matches!(self.map.lineup, Lineup::Drawn(_));
        let mut types = 0;
        if drawn {
            types = game.unit_types(patience)?.len();
            game.debug(creations(&allies, &foes, types)?, patience)?;
            game.step(1, patience)?;
        }
        let [mut ours, theirs] = muster(&mut game, sizes, patience)?;
        units::sort_as_agents(&mut ours);
        let [our_kinds, their_kinds] = if drawn {
            let kinds = |recruits: &[Recruit]| recruits.iter().map(|r| r.kind).collect::<Vec<_>>();
            [units::copies(&ours, types, &kinds(&allies))?, units::foes(&theirs, &kinds(&foes))?]
        } else {
            units::check_allies(&ours, &self.allies)?;
            [self.allies.clone(), units::foes(&theirs, &self.foes)?]
        };
        let view = &mut self.contract.view;
        for (shown, found, kinds) in [(&mut view.allies, &ours, &our_kinds), (&mut view.foes, &theirs, &their_kinds)] {
            for ((shown, unit), kind) in shown.iter_mut().zip(found).zip(kinds) {
                *shown = units::shown(unit, *kind)?;
            }
        }
        self.tags = [ours, theirs].map(|side| side.iter().map(|unit| unit.tag.unwrap_or(0)).collect());
        self.game = Some(game);
        Ok(())
    }

    /// Carries out the orders, lets a step pass and looks again. A unit that is not seen any more is dead.
    fn play(&mut self, game: &mut Game) -> Result<(), GameError> {
        let patience = self.patience();
        let actions: Vec<Action> =
            self.orders.iter().zip(&self.tags[0]).filter_map(|(order, tag)| self.action(*order, *tag)).collect();
        game.act(actions, patience)?;
        game.step(LOOPS, patience)?;
        let found = game.observe(patience)?;
        let view = &mut self.contract.view;
        for (shown, tags) in [&mut view.allies, &mut view.foes].into_iter().zip(&self.tags) {
            for (shown, tag) in shown.iter_mut().zip(tags) {
                match found.iter().find(|unit| unit.tag == Some(*tag)) {
                    Some(unit) => *shown = units::shown(unit, shown.kind)?,
                    None => shown.hp = 0.0,
                }
            }
        }
        Ok(())
    }

    /// The game's words for an order.
    fn action(&self, order: Command, tag: u64) -> Option<Action> {
        let mut command = ActionRawUnitCommand { unit_tags: vec![tag], queue_command: Some(false), ..Default::default() };
        match order {
            Command::Nothing => return None,
            Command::Stop => command.ability_id = Some(ability::STOP),
            Command::Move([x, y]) => {
                command.ability_id = Some(ability::MOVE);
                command.target_world_space_pos = Some(Point2D { x: Some(x), y: Some(y) });
            }
            Command::Attack(j) => {
                command.ability_id = Some(ability::ATTACK);
                command.target_unit_tag = self.tags[1].get(j).copied();
            }
            Command::Heal(j) => {
                command.ability_id = Some(ability::HEAL);
                command.target_unit_tag = self.tags[0].get(j).copied();
            }
            Command::Burst => command.ability_id = Some(ability::EXPLODE),
        }
        Some(Action { action_raw: Some(ActionRaw { unit_command: Some(command) }) })
    }

    fn failed(&self, error: &GameError) -> EnvError {
        EnvError::Failed(format!("{}: {error}", self.spec().task))
    }
}

/// The protocol's number of a race.
fn race_number(race: Race) -> i32 {
    match race {
        Race::Terran => 1,
        Race::Zerg => 2,
        Race::Protoss => 3,
    }
}

/// Kills everyone on the map and waits until they have gone. SMAC's maps then spawn the next battle by themselves.
fn clear(game: &mut Game, patience: Duration) -> Result<(), GameError> {
    let fighters = |game: &mut Game| -> Result<Vec<u64>, GameError> {
        let found = game.observe(patience)?;
        let ours = found.iter().filter(|unit| [Some(units::TEAM), Some(units::OPPONENT)].contains(&unit.owner));
        Ok(ours.filter_map(|unit| unit.tag).collect())
    };
    let old = fighters(game)?;
    if old.is_empty() {
        return Ok(());
    }
    let kill = DebugCommand { kill_unit: Some(DebugKillUnit { tag: old.clone() }), ..DebugCommand::default() };
    game.debug(vec![kill], patience)?;
    for _ in 0..LOOKS {
        game.step(CLEARING, patience)?;
        if fighters(game)?.iter().all(|tag| !old.contains(tag)) {
            return Ok(());
        }
    }
    Err(GameError::Units { expected: "none after all were killed".into(), found: format!("some of {} units", old.len()) })
}

/// Waits until both sides have their number of units.
fn muster(game: &mut Game, sizes: [usize; 2], patience: Duration) -> Result<[Vec<Unit>; 2], GameError> {
    let mut counts = [0; 2];
    for _ in 0..LOOKS {
        let found = game.observe(patience)?;
        let sides = [units::TEAM, units::OPPONENT].map(|owner| units::of(&found, owner));
        counts = [sides[0].len(), sides[1].len()];
        if counts == sizes {
            return Ok(sides);
        }
        game.step(1, patience)?;
    }
    let said = |counts: [usize; 2]| format!("{} units of the team and {} foes", counts[0], counts[1]);
    Err(GameError::Units { expected: said(sizes), found: said(counts) })
}

/// The commands that create both sides: allied copies for the team, the game's own units for the foes.
fn creations(allies: &[Recruit], foes: &[Recruit], types: usize) -> Result<Vec<DebugCommand>, GameError> {
    let create = |unit_type: u32, owner: i32, at: [f32; 2]| DebugCommand {
        create_unit: Some(DebugCreateUnit {
            unit_type: Some(unit_type),
            owner: Some(owner),
            pos: Some(Point2D { x: Some(at[0]), y: Some(at[1]) }),
            quantity: Some(1),
        }),
        ..DebugCommand::default()
    };
    let mut commands = Vec::with_capacity(allies.len() + foes.len());
    for ally in allies {
        let copy = units::copy_number(ally.kind, types).ok_or_else(|| GameError::Units {
            expected: "unit types for the team's nine kinds".into(),
            found: format!("{types} unit types in all"),
        })?;
        commands.push(create(copy, units::TEAM, ally.at));
    }
    commands.extend(foes.iter().map(|foe| create(units::number(foe.kind), units::OPPONENT, foe.at)));
    Ok(commands)
}

impl Env for RealBattle {
    fn spec(&self) -> &Arc<TeamSpec> {
        self.contract.spec()
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.contract.abandon();
        self.draw_up(stream.clone()).map_err(|error| self.failed(&error))?;
        self.contract.begin(&stream, out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.contract.choose(actions, &mut self.orders)?;
        let Some(mut game) = self.game.take() else {
            self.contract.abandon();
            return Err(EnvError::NotRunning("after the game was lost"));
        };
        if let Err(error) = self.play(&mut game) {
            self.contract.abandon();
            return Err(self.failed(&error));
        }
        self.game = Some(game);
        Ok(self.contract.conclude(None, out))
    }

    fn won(&self) -> Option<bool> {
        self.contract.won()
    }

    fn heavy(&self) -> bool {
        true
    }

    fn scene(&self) -> Option<Scene> {
        Some(scene::draw(&self.contract.view, &[], &self.map.name, self.contract.steps()))
    }
}

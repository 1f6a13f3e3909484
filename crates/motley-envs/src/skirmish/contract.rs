//! SMAC's contract over a [`View`]: the team, legal actions, what they order, rewards, and when an episode is over. Whoever plays
//! the battle, the simulator or the game itself, fills the view and carries out the orders.

use std::sync::Arc;

use motley_core::{
    ActionMeaning, ActionSpace, Actions, AgentSpec, EnvError, Frame, ObsSpace, Phase, RewardKind, StateSpace, Status, Stream,
    TeamSpec,
};

use super::ground::Ground;
use super::hidden::Hidden;
use super::layout::{LOOKS, Layout, MOVES_END, Moment};
use super::maps::{Group, Lineup, Map};
use super::options::Options;
use super::units::{Kind, Race};
use super::view::{Unit, View};
use super::world::Side;

/// Reward of a win, of a kill, and what a whole dense episode is scaled to.
const WIN: f64 = 200.0;
pub(super) const KILL: f64 = 10.0;
const SCALE: f64 = 20.0;
/// How far a move order leads, in cells.
pub const STRIDE: f32 = 2.0;

/// How a battle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Won,
    Lost,
    /// Nobody who fights is left on either side.
    Drawn,
}

/// What of an episode changes, besides the battle.
#[derive(Debug, Clone)]
pub(super) struct Course {
    pub(super) phase: Phase,
    pub(super) won: bool,
    pub(super) steps: usize,
    pub(super) last: Vec<Option<usize>>,
    pub(super) looks: Vec<u8>,
    /// Who may see whom, where that is limited.
    pub(super) hidden: Option<Hidden>,
}

/// What an agent's action orders its unit to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command {
    /// Nothing new: the unit is dead or the agent only looks elsewhere.
    Nothing,
    /// Stop.
    Stop,
    /// Go there.
    Move([f32; 2]),
    /// Attack the foe of that slot.
    Attack(usize),
    /// Heal the unit of that agent.
    Heal(usize),
    /// Burst where it stands.
    Burst,
}

/// The contract of one environment.
#[derive(Debug)]
pub struct Contract {
    /// The battle at this moment: to be filled by whoever plays it, before [`Contract::begin`] and [`Contract::conclude`].
    pub view: View,
    pub(super) course: Course,
    options: Options,
    spec: Arc<TeamSpec>,
    layout: Layout,
    legal: Vec<bool>,
    /// Health and shields before the step, allies and then foes.
    before: Vec<f64>,
    limit: usize,
    /// Whether it is a map of SMACv2.
    drawn: bool,
}

impl Contract {
    /// For the task `suite/map`. Where the line-up is fixed, `kinds` are those of the agents, in their order.
    pub fn new(suite: &str, map: &Map, options: Options, kinds: Option<&[Kind]>, ground: Arc<Ground>) -> Self {
        let (allies, foes, shields) = sizes(map);
        let layout = Layout::new(map, options.clone(), allies, foes, shields);
        let limit = if options.step_limit == 0 { map.limit } else { options.step_limit };
        let mut spec = team(format!("{suite}/{}", map.name), &options, &layout, kinds, limit);
        spec.version = map.version;
        let hidden = (options.prob_obs_enemy < 1.0).then(|| Hidden::new(options.prob_obs_enemy, allies, foes));
        let (last, looks) = (vec![None; allies], vec![0; allies]);
        let course = Course { phase: Phase::Fresh, won: false, steps: 0, last, looks, hidden };
        Self {
            view: View::new(ground, allies, foes),
            course,
            legal: vec![false; spec.mask_len()],
            before: vec![0.0; allies + foes],
            options,
            spec: Arc::new(spec),
            layout,
            limit,
            drawn: matches!(map.lineup, Lineup::Drawn(_)),
        }
    }

    /// With another version of the rules than the first, as runs record it.
    #[must_use]
    pub fn with_version(mut self, version: u32) -> Self {
        Arc::make_mut(&mut self.spec).version = version;
        self
    }

    /// The team.
    pub fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn moment(&self) -> Moment<'_> {
        Moment {
            view: &self.view,
            last: &self.course.last,
            looks: &self.course.looks,
            hidden: self.course.hidden.as_ref(),
            time: self.course.steps as f32 / self.limit as f32,
        }
    }

    /// Writes what agents see of the view, and remembers what is legal.
    pub(super) fn write(&mut self, out: &mut Frame<'_>) {
        let now = self.moment();
        for i in 0..self.spec.n() {
            self.layout.write_obs(&now, i, &mut out.obs[self.spec.obs_range(i)]);
            self.layout.write_mask(&now, i, &mut out.avail[self.spec.mask_range(i)]);
            out.alive[i] = self.view.allies[i].alive();
        }
        self.layout.write_state(&now, out.state);
        self.legal.copy_from_slice(out.avail);
    }

    /// Works out again what is legal, after the view has changed without a frame.
    pub(super) fn relearn(&mut self) {
        let mut legal = std::mem::take(&mut self.legal);
        let now = self.moment();
        for i in 0..self.spec.n() {
            self.layout.write_mask(&now, i, &mut legal[self.spec.mask_range(i)]);
        }
        self.legal = legal;
    }

    /// There is no episode any more: the battle is being drawn up anew, or was lost.
    pub fn abandon(&mut self) {
        self.course.phase = Phase::Fresh;
    }

    /// An episode begins with the battle in the view; `stream` is the episode's.
    pub fn begin(&mut self, stream: &Stream, out: &mut Frame<'_>) {
        self.course.last.fill(None);
        self.course.looks.fill(0);
        (self.course.steps, self.course.phase, self.course.won) = (0, Phase::Running, false);
        if let Some(hidden) = &mut self.course.hidden {
            hidden.begin(stream);
        }
        self.meet();
        self.write(out);
    }

    /// Notes who is the first to have a foe in sight.
    fn meet(&mut self) {
        let Some(mut hidden) = self.course.hidden.take() else { return };
        let now = self.moment();
        (0..self.layout.allies).filter(|&i| !now.view.allies[i].alive()).for_each(|i| hidden.forget(i));
        for foe in 0..self.layout.foes {
            hidden.meet(foe, (0..self.layout.allies).filter(|&i| self.layout.in_sight(&now, i, foe)));
        }
        self.course.hidden = Some(hidden);
    }

    /// Takes the agents' actions: checks them, and puts what they order into `orders`, one entry an agent.
    ///
    /// # Errors
    /// No episode under way, an action outside its space or mask.
    pub fn choose(&mut self, actions: Actions<'_>, orders: &mut Vec<Command>) -> Result<(), EnvError> {
        self.course.phase.running()?;
        self.check_actions(actions)?;
        orders.clear();
        for i in 0..self.spec.n() {
            let choice = actions.choice(i);
            self.course.last[i] = Some(choice);
            orders.push(self.command(i, choice));
        }
        let units = self.view.allies.iter().chain(&self.view.foes);
        self.before.iter_mut().zip(units).for_each(|(before, unit)| *before = unit.points());
        Ok(())
    }

    fn check_actions(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        actions.checked()?;
        for (i, agent) in self.spec.agents.iter().enumerate() {
            let given = actions.of(i)[0];
            let choice = given as usize; // saturates, and is 0 for what is no number
            let mask = &self.legal[self.spec.mask_range(i)];
            if choice as f32 != given || !mask.get(choice).is_some_and(|free| *free) {
                let free: Vec<usize> = (0..mask.len()).filter(|a| mask[*a]).collect();
                return Err(EnvError::Action {
                    agent: agent.name.clone(),
                    expected: format!("one of {free:?}"),
                    found: given.to_string(),
                });
            }
        }
        Ok(())
    }

    /// What a legal action orders; turns an agent that looks elsewhere.
    fn command(&mut self, i: usize, choice: usize) -> Command {
        let Unit { x, y, .. } = self.view.allies[i];
        match choice {
            0 => Command::Nothing,
            1 => Command::Stop,
            2 => Command::Move([x, y + STRIDE]),
            3 => Command::Move([x, y - STRIDE]),
            4 => Command::Move([x + STRIDE, y]),
            5 => Command::Move([x - STRIDE, y]),
            look if look < self.layout.looks_end => {
                self.course.looks[i] = (look - MOVES_END).min(LOOKS - 1) as u8;
                Command::Nothing
            }
            slot => self.targeted(i, slot),
        }
    }

    /// What the slot of a target orders: nothing where the target is out of reach, which masks allow only when they are told to.
    fn targeted(&self, i: usize, slot: usize) -> Command {
        let (unit, now) = (&self.view.allies[i], self.moment());
        let (command, reached) = if self.layout.burst_of(unit.kind).is_some() {
            (Command::Burst, self.view.foes.iter().any(|foe| unit.bursts_on(foe)))
        } else if unit.heals() {
            let ally = slot - self.layout.first_ally;
            (Command::Heal(ally), self.layout.treats(&now, i, ally))
        } else {
            let foe = slot - self.layout.first_foe;
            (Command::Attack(foe), self.layout.targets(&now, i, &self.view.foes[foe]))
        };
        if reached { command } else { Command::Nothing }
    }

    /// Ends a step that has been played and put into the view. `taken` is what the team took from its foes, kills included, where
    /// whoever plays keeps the account; else it is the difference to the view before the step.
    pub fn conclude(&mut self, taken: Option<f64>, out: &mut Frame<'_>) -> Status {
        self.course.steps += 1;
        let over = self.outcome();
        out.rewards.fill(self.reward(over, taken));
        self.meet();
        self.write(out);
        if let Some(outcome) = over {
            (self.course.phase, self.course.won) = (Phase::Over, outcome == Outcome::Won);
            return Status::Terminated;
        }
        if self.course.steps >= self.limit {
            self.course.phase = Phase::Over;
            return Status::Truncated;
        }
        Status::Running
    }

    /// How the battle in the view ended, if it did. Where the team may have healers SMAC asks first whether one of its own fights on,
    /// so that nobody left on either side is a defeat there.
    fn outcome(&self) -> Option<Outcome> {
        match (self.view.stands(Side::Ally), self.view.stands(Side::Foe)) {
            (true, true) => None,
            (true, false) => Some(Outcome::Won),
            (false, true) => Some(Outcome::Lost),
            (false, false) if self.view.smaclite => Some(Outcome::Won),
            (false, false) if self.layout.has_healers() => Some(Outcome::Lost),
            (false, false) => Some(Outcome::Drawn),
        }
    }

    /// Raw reward of a won episode: `200 + sum over foes of (10 + health + shield)`, which a dense reward is scaled by to 20.
    fn most(&self) -> f64 {
        self.view.foes.iter().map(|u| u.hp_max + u.shield_max + KILL).sum::<f64>() + WIN
    }

    /// The common reward of the step that was just played.
    fn reward(&self, over: Option<Outcome>, taken: Option<f64>) -> f64 {
        if self.options.reward_sparse {
            return match over {
                Some(Outcome::Won) => 1.0,
                Some(Outcome::Lost) => -1.0,
                Some(Outcome::Drawn) | None => 0.0,
            };
        }
        // Of one unit: what it lost, and a prize for its death.
        let loss = |(unit, before): (&Unit, &f64)| {
            let died = *before > 0.0 && !unit.alive();
            before - unit.points() + if died { KILL } else { 0.0 }
        };
        let (ours, theirs) = self.before.split_at(self.view.allies.len());
        let mut reward = taken.unwrap_or_else(|| {
            let gained: f64 = self.view.foes.iter().zip(theirs).map(loss).sum();
            if self.options.reward_negative {
                gained - 0.5 * self.view.allies.iter().zip(ours).map(loss).sum::<f64>()
            } else if self.drawn {
                gained.max(0.0)
            } else {
                // Shields that come back can make the sum negative: SMAC takes its absolute value, where SMACv2 takes 0.
                gained.abs()
            }
        });
        if over == Some(Outcome::Won) {
            reward += WIN;
        }
        reward * SCALE / self.most()
    }

    /// Whether the finished episode was won; `None` while there is no finished one.
    pub fn won(&self) -> Option<bool> {
        (self.course.phase == Phase::Over).then_some(self.course.won)
    }

    /// Steps of the episode so far.
    pub fn steps(&self) -> usize {
        self.course.steps
    }

    pub(super) fn actions(&self) -> usize {
        self.layout.actions
    }
}

/// Allies, foes, and whether any of either has a shield.
fn sizes(map: &Map) -> (usize, usize, [bool; 2]) {
    let shielded = |kind: Kind| kind.race() == Race::Protoss;
    match &map.lineup {
        Lineup::Fixed { allies, foes } => {
            let count = |groups: &[Group]| groups.iter().map(|g| g.count).sum();
            (count(allies), count(foes), [allies, foes].map(|groups| groups.iter().any(|g| shielded(g.kind))))
        }
        Lineup::Drawn(roster) => (roster.allies, roster.foes, [shielded(roster.kinds[0]); 2]),
    }
}

/// The team of a map; `kinds` where they never change.
fn team(task: String, options: &Options, layout: &Layout, kinds: Option<&[Kind]>, limit: usize) -> TeamSpec {
    let mut counts = [0; 10];
    let agents = (0..layout.allies).map(|i| {
        let kind = kinds.map(|kinds| kinds[i]);
        let name = kind.map_or("unit", Kind::name);
        let count = &mut counts[kind.map_or(0, |k| k as usize)];
        let mut agent =
            AgentSpec::new(format!("{name}_{count}"), name, ObsSpace::vector(layout.obs), ActionSpace::Discrete(layout.actions));
        *count += 1;
        agent.noop = Some(0);
        let slots = 0..layout.actions;
        agent.meaning = match (kinds, kind) {
            (Some(kinds), Some(kind)) => slots.map(|slot| meaning(layout, kinds, kind, slot)).collect(),
            // Slots in blocks mean the same whatever an agent turns out to be.
            _ if options.unified() => slots.map(|slot| meaning_of_any(layout, slot)).collect(),
            _ => Vec::new(),
        };
        agent
    });
    let mut spec = TeamSpec::new(task, agents.collect());
    spec.state = if options.state == "fp" { StateSpace::Fp(layout.state) } else { StateSpace::Ep(layout.state) };
    spec.reward = RewardKind::Common;
    (spec.masks, spec.deaths, spec.winning) = (true, true, true);
    spec.step_limit = Some(limit);
    spec
}

/// Whom a slot affects where foes and allies have blocks of their own, for an agent of any kind.
fn meaning_of_any(layout: &Layout, slot: usize) -> ActionMeaning {
    match (slot.checked_sub(layout.first_foe), slot.checked_sub(layout.first_ally)) {
        (_, Some(ally)) => ActionMeaning::Ally(ally as u16),
        (Some(foe), None) => ActionMeaning::Enemy(foe as u16),
        (None, None) => ActionMeaning::Own(slot as u16),
    }
}

/// Whom a slot of an agent of that kind affects.
fn meaning(layout: &Layout, kinds: &[Kind], kind: Kind, slot: usize) -> ActionMeaning {
    if slot < layout.looks_end {
        return ActionMeaning::Own(slot as u16);
    }
    if let Some(burst) = layout.burst_of(kind) {
        return if slot == burst { ActionMeaning::Own(slot as u16) } else { ActionMeaning::Never };
    }
    if kind == Kind::Medivac {
        return match slot.checked_sub(layout.first_ally).and_then(|j| kinds.get(j).map(|k| (j, *k))) {
            Some((j, patient)) if patient != Kind::Medivac => ActionMeaning::Ally(j as u16),
            _ => ActionMeaning::Never,
        };
    }
    match slot.checked_sub(layout.first_foe) {
        Some(foe) if foe < layout.foes => ActionMeaning::Enemy(foe as u16),
        _ => ActionMeaning::Never,
    }
}

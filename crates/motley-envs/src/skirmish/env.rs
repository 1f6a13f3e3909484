//! One battle as an environment: SMAC's contract over the simulator.

use std::sync::Arc;

use motley_core::{
    ActionMeaning, ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, ObsSpace, RewardKind, Scene, StateSpace,
    Status, Stream, TaskOptions, TeamSpec,
};

use super::ground::Ground;
use super::layout::{LOOKS, Layout, MOVES_END, Moment};
use super::maps::{Lineup, Map, Plan, place};
use super::options::Options;
use super::units::{Kind, Profile};
use super::world::{Order, Recruit, Side, TICKS, World};
use super::{save, scene};

/// Reward of a win, of a kill, and what a whole dense episode is scaled to.
const WIN: f64 = 200.0;
const KILL: f64 = 10.0;
const SCALE: f64 = 20.0;
/// How far a move order leads.
const STRIDE: f32 = 2.0;

/// Where an episode stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Never reset.
    Fresh,
    /// Under way.
    Running,
    /// Ended.
    Over,
}

/// What of an environment changes, besides the world.
#[derive(Debug, Clone)]
pub(super) struct Course {
    pub(super) phase: Phase,
    pub(super) won: bool,
    pub(super) steps: usize,
    pub(super) last: Vec<Option<usize>>,
    pub(super) looks: Vec<u8>,
    /// Unit of each agent.
    pub(super) units: Vec<usize>,
}

/// One copy of a battle.
#[derive(Debug)]
pub struct Skirmish {
    map: Map,
    options: Options,
    spec: Arc<TeamSpec>,
    layout: Layout,
    pub(super) world: World,
    pub(super) course: Course,
    foes: Vec<usize>,
    allies_start: Vec<Recruit>,
    foes_start: Vec<Recruit>,
    legal: Vec<bool>,
    /// Health and shields before the step, by unit.
    before: Vec<f64>,
    limit: usize,
}

/// The kinds of a side, where they are the same in every episode.
fn fixed_kinds(recruits: &[Recruit], lineup: &Lineup) -> Option<Vec<Kind>> {
    matches!(lineup, Lineup::Fixed { .. }).then(|| recruits.iter().map(|r| r.kind).collect())
}

impl Skirmish {
    /// From resolved settings.
    ///
    /// # Errors
    /// A setting that is missing or does not go with the others.
    pub fn new(map: &Map, options: &TaskOptions) -> Result<Self, ConfigError> {
        let options = Options::of(options)?;
        let profile = options.profile();
        if profile == Profile::Smaclite && matches!(map.lineup, Lineup::Drawn(_)) {
            return Err(ConfigError::Invalid(format!(
                "task.profile=smaclite: skirmish/{} is drawn anew every episode, which SMAClite does not do; use liberty",
                map.name
            )));
        }
        let (mut allies, mut foes, races) = match &map.lineup {
            Lineup::Fixed { allies, foes } => {
                let races = [allies[0].kind.race(), foes[0].kind.race()];
                (place(allies, profile, false), place(foes, profile, true), races)
            }
            Lineup::Drawn(roster) => {
                let blank = |n| vec![Recruit { kind: roster.kinds[0], at: [0.0; 2] }; n];
                (blank(roster.allies), blank(roster.foes), [roster.kinds[0].race(); 2])
            }
        };
        if profile == Profile::Liberty && matches!(map.lineup, Lineup::Fixed { .. }) {
            sort_as_agents(&mut allies);
        }
        foes.shrink_to_fit();
        let layout = Layout::new(map, options.clone(), allies.len(), foes.len(), races);
        let kinds = fixed_kinds(&allies, &map.lineup);
        let limit = if options.step_limit == 0 { map.limit } else { options.step_limit };
        let spec = Arc::new(team(map, &options, &layout, kinds.as_deref(), limit));
        let ground = Ground::of(map.layout, profile);
        let stream = Stream::new(0, motley_core::Purpose::Episode, 0, 0);
        let course = Course {
            phase: Phase::Fresh,
            won: false,
            steps: 0,
            last: vec![None; allies.len()],
            looks: vec![0; allies.len()],
            units: Vec::with_capacity(allies.len()),
        };
        let mut world = World::new(profile, ground, stream.clone());
        world.muster(&allies, &foes, map.foes_first && profile == Profile::Smaclite, stream);
        let mut env = Self {
            legal: vec![false; spec.mask_len()],
            before: vec![0.0; world.len()],
            map: map.clone(),
            foes: Vec::with_capacity(foes.len()),
            allies_start: allies,
            foes_start: foes,
            options,
            spec,
            layout,
            world,
            course,
            limit,
        };
        env.number_units();
        Ok(env)
    }

    fn number_units(&mut self) {
        self.course.units.clear();
        self.course.units.extend(self.world.sides[Side::Ally as usize].clone());
        self.foes.clear();
        self.foes.extend(self.world.sides[Side::Foe as usize].clone());
    }

    fn moment(&self) -> Moment<'_> {
        Moment {
            world: &self.world,
            units: &self.course.units,
            foes: &self.foes,
            last: &self.course.last,
            looks: &self.course.looks,
            time: self.course.steps as f32 / self.limit as f32,
        }
    }

    pub(super) fn write(&mut self, out: &mut Frame<'_>) {
        let now = self.moment();
        for i in 0..self.spec.n() {
            self.layout.write_obs(&now, i, &mut out.obs[self.spec.obs_range(i)]);
            self.layout.write_mask(&now, i, &mut out.avail[self.spec.mask_range(i)]);
            out.alive[i] = self.world.alive(self.course.units[i]);
        }
        self.layout.write_state(&now, out.state);
        self.legal.copy_from_slice(out.avail);
    }

    /// Starts as drawn from `stream`.
    fn start(&mut self, mut stream: Stream) {
        let profile = self.options.profile();
        match &self.map.lineup {
            Lineup::Drawn(roster) => {
                roster.draw(&mut stream, &mut self.allies_start, &mut self.foes_start);
                self.world.muster(&self.allies_start, &self.foes_start, false, stream);
                self.world.settle();
            }
            Lineup::Fixed { allies, .. } => {
                let plan = foe_order(self.map.plan, profile, allies[0].at, &mut stream);
                self.world.muster(
                    &self.allies_start,
                    &self.foes_start,
                    self.map.foes_first && profile == Profile::Smaclite,
                    stream,
                );
                if profile == Profile::Liberty && self.options.spread > 0.0 {
                    self.spread();
                }
                for u in self.world.sides[Side::Foe as usize].clone() {
                    self.world.order[u] = plan;
                }
            }
        }
        if matches!(self.map.lineup, Lineup::Drawn(_)) {
            for u in self.world.sides[Side::Foe as usize].clone() {
                self.world.order[u] = Order::Hunt;
            }
        }
        self.number_units();
        self.course.last.fill(None);
        self.course.looks.fill(0);
        (self.course.steps, self.course.phase, self.course.won) = (0, Phase::Running, false);
    }

    /// Moves every start a little, so that episodes differ.
    fn spread(&mut self) {
        let most = self.options.spread;
        for u in 0..self.world.len() {
            if self.world.stats[u].speed > 0.0 {
                self.world.x[u] += self.world.stream.range(-most, most) as f32;
                self.world.y[u] += self.world.stream.range(-most, most) as f32;
            }
        }
        self.world.settle();
    }

    fn check_actions(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        if actions.flat().len() != self.spec.action_len() {
            return Err(EnvError::Contract {
                where_: "joint action".into(),
                expected: format!("{} entries", self.spec.action_len()),
                found: actions.flat().len().to_string(),
            });
        }
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

    /// Gives the order that an action is.
    fn command(&mut self, i: usize, choice: usize) {
        let u = self.course.units[i];
        let at = [self.world.x[u], self.world.y[u]];
        let heals = self.world.stats[u].heals();
        self.world.order[u] = match choice {
            0 => return,
            1 => Order::Stop,
            2 => Order::Move([at[0], at[1] + STRIDE]),
            3 => Order::Move([at[0], at[1] - STRIDE]),
            4 => Order::Move([at[0] + STRIDE, at[1]]),
            5 => Order::Move([at[0] - STRIDE, at[1]]),
            look if look < self.layout.first_foe => {
                self.course.looks[i] = (look - MOVES_END).min(LOOKS - 1) as u8;
                return;
            }
            slot if heals => Order::Unit(self.course.units[slot - self.layout.first_ally] as u16),
            slot => Order::Unit(self.foes[slot - self.layout.first_foe] as u16),
        };
        if let Order::Unit(t) = self.world.order[u]
            && self.options.profile() == Profile::Liberty
            && !self.world.stats[u].can_hit(self.world.stats[usize::from(t)])
        {
            // The game refuses such an order; the slot is open all the same, as in SMAC.
            self.world.order[u] = Order::Stop;
        }
    }

    fn points(&self, u: usize) -> f64 {
        self.world.hp[u] + self.world.shield[u]
    }

    /// The common reward of the step that was just played.
    fn reward(&self, over: Option<bool>) -> f64 {
        if self.options.reward == "sparse" {
            return match over {
                Some(true) => 1.0,
                Some(false) => -1.0,
                None => 0.0,
            };
        }
        let most: f64 =
            self.foes.iter().map(|&u| f64::from(self.world.stats[u].health + self.world.stats[u].shield) + KILL).sum::<f64>()
                + WIN;
        // Of one unit: what it lost, and a prize for its death.
        let loss = |u: usize| {
            let died = self.before[u] > 0.0 && !self.world.alive(u);
            let left = if self.world.alive(u) { self.points(u) } else { 0.0 };
            self.before[u] - left + if died { KILL } else { 0.0 }
        };
        let mut reward = if self.options.profile() == Profile::Smaclite {
            self.world.dealt + KILL * f64::from(self.world.kills)
        } else {
            let gained: f64 = self.foes.iter().map(|&u| loss(u)).sum();
            if self.options.reward_negative {
                gained - 0.5 * self.course.units.iter().map(|&u| loss(u)).sum::<f64>()
            } else {
                // Shields that come back can make the sum negative: SMAC takes its absolute value.
                gained.abs()
            }
        };
        if over == Some(true) {
            reward += WIN;
        }
        reward * SCALE / most
    }
}

/// Agents in SMAC's order: by type (the maps number them alphabetically), then x, then y.
fn sort_as_agents(allies: &mut [Recruit]) {
    allies.sort_by(|a, b| a.kind.name().cmp(b.kind.name()).then(a.at[0].total_cmp(&b.at[0])).then(a.at[1].total_cmp(&b.at[1])));
}

/// What the foes are told; `home` is where the team starts.
fn foe_order(plan: Plan, profile: Profile, home: [f32; 2], stream: &mut Stream) -> Order {
    match plan {
        Plan::March(to) => Order::March(to),
        Plan::Between(a, b) => {
            let t = stream.uniform_f32();
            Order::March([a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t])
        }
        Plan::Guard => Order::Guard,
        Plan::Hunt if profile == Profile::Liberty => Order::Hunt,
        Plan::Hunt => Order::March(home),
    }
}

/// The team of a map; `kinds` where they never change.
fn team(map: &Map, options: &Options, layout: &Layout, kinds: Option<&[Kind]>, limit: usize) -> TeamSpec {
    let mut counts = [0; 10];
    let agents = (0..layout.allies).map(|i| {
        let kind = kinds.map(|kinds| kinds[i]);
        let name = kind.map_or("unit", Kind::name);
        let count = &mut counts[kind.map_or(0, |k| k as usize)];
        let mut agent =
            AgentSpec::new(format!("{name}_{count}"), name, ObsSpace::vector(layout.obs), ActionSpace::Discrete(layout.actions));
        *count += 1;
        agent.noop = Some(0);
        if let (Some(kinds), Some(kind)) = (kinds, kind) {
            agent.meaning = (0..layout.actions).map(|slot| meaning(layout, kinds, kind, slot)).collect();
        }
        agent
    });
    let mut spec = TeamSpec::new(format!("skirmish/{}", map.name), agents.collect());
    spec.state = if options.state == "fp" { StateSpace::Fp(layout.state) } else { StateSpace::Ep(layout.state) };
    spec.reward = RewardKind::Common;
    (spec.masks, spec.deaths, spec.winning) = (true, true, true);
    spec.step_limit = Some(limit);
    spec
}

/// Whom a slot of an agent of that kind affects.
fn meaning(layout: &Layout, kinds: &[Kind], kind: Kind, slot: usize) -> ActionMeaning {
    if slot < layout.first_foe {
        return ActionMeaning::Own(slot as u16);
    }
    if kind == Kind::Medivac {
        return match slot.checked_sub(layout.first_ally).and_then(|j| kinds.get(j).map(|k| (j, *k))) {
            Some((j, patient)) if patient != Kind::Medivac => ActionMeaning::Ally(j as u16),
            _ => ActionMeaning::Never,
        };
    }
    let foe = slot - layout.first_foe;
    if foe < layout.foes { ActionMeaning::Enemy(foe as u16) } else { ActionMeaning::Never }
}

impl Env for Skirmish {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.start(stream);
        self.write(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        match self.course.phase {
            Phase::Fresh => return Err(EnvError::NotRunning("before a reset")),
            Phase::Over => return Err(EnvError::NotRunning("after the end of the episode")),
            Phase::Running => {}
        }
        self.check_actions(actions)?;
        for i in 0..self.spec.n() {
            let choice = actions.choice(i);
            self.course.last[i] = Some(choice);
            self.command(i, choice);
        }
        for u in 0..self.world.len() {
            self.before[u] = if self.world.alive(u) { self.points(u) } else { 0.0 };
        }
        (self.world.dealt, self.world.kills) = (0.0, 0);
        for _ in 0..TICKS {
            self.world.tick();
        }
        self.course.steps += 1;
        // Those who can only heal do not hold the field.
        let (ours, theirs) = (self.world.stands(Side::Ally, false), self.world.stands(Side::Foe, false));
        let over = (!ours || !theirs).then_some(ours && !theirs);
        let reward = self.reward(over);
        out.rewards.fill(reward);
        self.write(out);
        if let Some(won) = over {
            (self.course.phase, self.course.won) = (Phase::Over, won);
            return Ok(Status::Terminated);
        }
        if self.course.steps >= self.limit {
            self.course.phase = Phase::Over;
            return Ok(Status::Truncated);
        }
        Ok(Status::Running)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(save::save(&self.world, &self.course))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        self.course.phase = Phase::Fresh;
        let found = save::load(snapshot, &mut self.world, &mut self.course, self.layout.actions);
        found.ok_or_else(|| EnvError::Failed(format!("these bytes are no snapshot of {}", self.spec.task)))?;
        let mut legal = std::mem::take(&mut self.legal);
        let now = self.moment();
        for i in 0..self.spec.n() {
            self.layout.write_mask(&now, i, &mut legal[self.spec.mask_range(i)]);
        }
        self.legal = legal;
        Ok(())
    }

    fn won(&self) -> Option<bool> {
        (self.course.phase == Phase::Over).then_some(self.course.won)
    }

    fn scene(&self) -> Option<Scene> {
        Some(scene::draw(&self.world, &self.map.name, self.course.steps))
    }
}

//! One battle as an environment: SMAC's contract over the simulator.

use std::sync::Arc;

use motley_core::{Actions, ConfigError, Env, EnvError, Frame, Scene, Status, Stream, TaskOptions, TeamSpec};

use super::contract::{Command, Contract, KILL};
use super::maps::{Lineup, Map, Plan, place, sort_as_agents};
use super::options::{Options, Rules};
use super::start::place_on;
use super::units::{ENERGY, Kind, Profile};
use super::view::Unit;
use super::world::{NOBODY, Order, Recruit, Side, TICK, TICKS, World};
use super::{save, scene};

/// One copy of a battle.
#[derive(Debug)]
pub struct Skirmish {
    map: Map,
    rules: Rules,
    pub(super) contract: Contract,
    pub(super) world: World,
    allies_start: Vec<Recruit>,
    foes_start: Vec<Recruit>,
    orders: Vec<Command>,
}

impl Skirmish {
    /// From resolved settings.
    ///
    /// # Errors
    /// A setting that is missing or does not go with the others.
    pub fn new(map: &Map, options: &TaskOptions) -> Result<Self, ConfigError> {
        let (rules, options) = (Rules::read(options)?, Options::of(options)?);
        let profile = rules.profile();
        if profile == Profile::Smaclite {
            fits_smaclite(map, &options)?;
        }
        let mut map = map.clone();
        let ground = map.ground(profile);
        if profile == Profile::Smaclite && map.types[0].len() == 2 {
            map.types[1] = map.types[0].clone(); // SMAClite numbers both sides alike
        }
        let (mut allies, foes) = match &map.lineup {
            Lineup::Fixed { allies, foes } if profile == Profile::Smaclite => {
                (place(allies, profile, false), place(foes, profile, true))
            }
            Lineup::Fixed { allies, foes } => (place_on(&ground, allies, profile, false), place_on(&ground, foes, profile, true)),
            Lineup::Drawn(roster) => {
                let blank = |n| vec![Recruit { kind: roster.kinds[0], at: [0.0; 2] }; n];
                (blank(roster.allies), blank(roster.foes))
            }
        };
        let fixed = matches!(map.lineup, Lineup::Fixed { .. });
        if profile != Profile::Smaclite && fixed {
            sort_as_agents(&mut allies);
        }
        let kinds: Option<Vec<Kind>> = fixed.then(|| allies.iter().map(|r| r.kind).collect());
        let stream = Stream::new(0, motley_core::Purpose::Episode, 0, 0);
        let mut world = World::new(profile, ground.clone(), stream.clone());
        world.muster(&allies, &foes, map.foes_first && profile == Profile::Smaclite, stream);
        let mut contract = Contract::new("skirmish", &map, options, kinds.as_deref(), ground);
        contract.view.smaclite = profile == Profile::Smaclite;
        let orders = Vec::with_capacity(allies.len());
        let mut env = Self { map, rules, contract, world, allies_start: allies, foes_start: foes, orders };
        env.show();
        Ok(env)
    }

    /// Puts the world into the contract's view.
    fn show(&mut self) {
        let (world, view) = (&self.world, &mut self.contract.view);
        for (side, units) in [(Side::Ally, &mut view.allies), (Side::Foe, &mut view.foes)] {
            for (unit, u) in units.iter_mut().zip(world.sides[side as usize].clone()) {
                *unit = shown(world, u);
            }
        }
    }

    /// Writes what agents see of the world as it is.
    pub(super) fn write(&mut self, out: &mut Frame<'_>) {
        self.show();
        self.contract.write(out);
    }

    /// Starts as drawn from `stream`.
    fn start(&mut self, mut stream: Stream) {
        let profile = self.rules.profile();
        let plan = match &self.map.lineup {
            Lineup::Drawn(roster) => {
                roster.draw(&mut stream, &mut self.allies_start, &mut self.foes_start);
                self.world.muster_apart(&mut self.allies_start, &mut self.foes_start, stream);
                Order::Hunt
            }
            Lineup::Fixed { allies, .. } => {
                let plan = foe_order(self.map.plan, profile, allies[0].at, &mut stream);
                self.world.muster(
                    &self.allies_start,
                    &self.foes_start,
                    self.map.foes_first && profile == Profile::Smaclite,
                    stream,
                );
                if profile != Profile::Smaclite && self.rules.spread > 0.0 {
                    self.spread();
                }
                plan
            }
        };
        for u in self.world.sides[Side::Foe as usize].clone() {
            self.world.order[u] = plan;
        }
    }

    /// Moves every start a little, so that episodes differ.
    fn spread(&mut self) {
        let most = self.rules.spread;
        for u in 0..self.world.len() {
            if self.world.stats[u].speed > 0.0 {
                let [dx, dy] = [0; 2].map(|_| self.world.stream.range(-most, most) as f32);
                // Nobody is led off the ground.
                self.world.put(u, self.world.x[u] + dx, self.world.y[u] + dy);
            }
        }
        self.world.settle();
    }

    /// Gives the unit of agent `i` its order.
    fn command(&mut self, i: usize, command: Command) {
        let (allies, foes) = (self.world.sides[0].start, self.world.sides[1].start);
        let u = allies + i;
        let order = match command {
            Command::Nothing => return,
            Command::Stop => Order::Stop,
            Command::Move(to) => Order::Move(to),
            Command::Heal(j) => Order::Unit((allies + j) as u16),
            Command::Attack(j) => Order::Unit((foes + j) as u16),
            Command::Burst => Order::Burst,
        };
        if let Order::Unit(t) = order
            && self.rules.profile() != Profile::Smaclite
            && !self.world.stats[u].can_hit(self.world.stats[usize::from(t)])
        {
            // The game refuses such an order, and the one before goes on; the slot is open all the same, as in SMAC.
            return;
        }
        self.world.order[u] = order;
    }
}

/// Refuses what SMAClite has no rules for.
fn fits_smaclite(map: &Map, options: &Options) -> Result<(), ConfigError> {
    if matches!(map.lineup, Lineup::Drawn(_)) {
        return Err(ConfigError::Invalid(format!(
            "task.profile=smaclite: skirmish/{} is drawn anew every episode, which SMAClite does not do; use liberty",
            map.name
        )));
    }
    if options.reward_negative {
        return Err(ConfigError::Invalid(
            "task.profile=smaclite with task.reward_negative=true: SMAClite pays for what foes lose and never takes the team's own \
             losses off; leave out task.reward_negative, or use task.profile=liberty"
                .into(),
        ));
    }
    Ok(())
}

/// One unit of the world as the contract sees it.
fn shown(world: &World, u: usize) -> Unit {
    let stats = world.stats[u];
    Unit {
        kind: stats.kind,
        x: world.x[u],
        y: world.y[u],
        radius: stats.radius,
        hp: world.hp[u],
        hp_max: f64::from(stats.health),
        shield: world.shield[u],
        shield_max: f64::from(stats.shield),
        // SMAC divides loops by a table of its own, SMAClite by the weapon's period.
        charge: match world.profile {
            _ if stats.heals() => world.energy[u] / ENERGY,
            Profile::Smaclite => world.cooldown[u] / stats.period,
            _ => world.cooldown[u] / TICK / f64::from(stats.kind.cooldown_scale()),
        },
    }
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
        Plan::Hunt if profile != Profile::Smaclite => Order::Hunt,
        Plan::Hunt => Order::March(home),
    }
}

impl Env for Skirmish {
    fn spec(&self) -> &Arc<TeamSpec> {
        self.contract.spec()
    }

    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.start(stream.clone());
        self.show();
        self.contract.begin(&stream, out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        let mut orders = std::mem::take(&mut self.orders);
        let chosen = self.contract.choose(actions, &mut orders);
        if chosen.is_ok() {
            orders.iter().enumerate().for_each(|(i, command)| self.command(i, *command));
        }
        self.orders = orders;
        chosen?;
        (self.world.dealt, self.world.kills) = (0.0, 0);
        for _ in 0..TICKS {
            self.world.tick();
        }
        self.show();
        let lite = self.rules.profile() == Profile::Smaclite;
        let taken = lite.then(|| self.world.dealt + KILL * f64::from(self.world.kills));
        Ok(self.contract.conclude(taken, out))
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(save::save(&self.world, &self.contract.course))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        self.contract.abandon();
        let actions = self.contract.actions();
        let found = save::load(snapshot, &mut self.world, &mut self.contract.course, actions);
        found.ok_or_else(|| EnvError::Failed(format!("these bytes are no snapshot of {}", self.spec().task)))?;
        self.show();
        self.contract.relearn();
        Ok(())
    }

    fn won(&self) -> Option<bool> {
        self.contract.won()
    }

    fn scene(&self) -> Option<Scene> {
        let aims = (0..self.world.len()).filter_map(|u| {
            let t = usize::from(self.world.target[u]);
            let aims = self.world.target[u] != NOBODY && self.world.reaches[u] && self.world.alive(u) && self.world.alive(t);
            let at = |u: usize| [self.world.x[u], self.world.y[u]];
            aims.then(|| (self.world.side(u), at(u), at(t)))
        });
        let aims: Vec<_> = aims.collect();
        Some(scene::draw(&self.contract.view, &aims, &self.map.name, self.contract.steps()))
    }
}

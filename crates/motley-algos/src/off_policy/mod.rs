//! What every off-policy actor-critic stands on: the replay memory with its schedule, batches, actors with their targets, critics of
//! joint actions. No algorithm is decided here.
//!
//! A critic's row is a state and everybody's action blocks, one after the other (`motley-nn/src/pathwise.rs`); the block of a
//! dead agent is its no-op, or zeros. Rows of a group are member after member: `m * rows + b`.

pub mod batch;
mod config;
pub mod ground;
pub mod joint;
pub mod memory;

pub use config::{ApartConfig, OffNetConfig, OffPolicyConfig, PathConfig, Shape, actor_keys, check, check_actors, keys};
pub(crate) use config::{check_but_for_room, net_spec};

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use motley_core::{ConfigError, Metrics, Settings, Stream, TeamSpec};
use motley_nn::action_critic::{Climb, Fit};
use motley_nn::target::follow;
use motley_nn::weights::load_params;
use motley_nn::{
    ActionCritic, Actor, AdamConfig, Explore, Head, Net, NetScratch, NetSpec, Noise, Pool, RowLoss, TeamPolicy, UpdateError,
};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::actors::{GraphConfig, engine};
use crate::algorithm::{RewardMode, UpdateContext};
use batch::{Batch, Group, Layout};
use ground::Ground;

/// One critic and the state rows that it values.
#[derive(Debug)]
struct Unit {
    critic: ActionCritic,
    /// State rows (agents for FP or for critics of their own; `[0]` for the team's one).
    rows: Vec<usize>,
}

/// Actors, critics and what they stand on.
#[derive(Debug)]
pub struct OffPolicy {
    /// Memory, layout and rates.
    pub ground: Ground,
    /// One per group.
    pub actors: Vec<Actor>,
    /// Their targets.
    targets: Vec<Net>,
    critics: Vec<Unit>,
    per_agent: bool,
}

/// What a group does on a batch.
#[derive(Debug, Clone, Default)]
pub struct Drawn {
    /// `[members * rows, block]`
    pub noise: Vec<f32>,
    /// `[members * rows, block]`
    pub blocks: Vec<f32>,
    /// `[members * rows]`; 0 for the dead.
    pub log_probs: Vec<f32>,
}

/// Which networks act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The actors.
    Online,
    /// Their targets.
    Target,
}

/// How a group climbs its critic.
#[derive(Debug, Clone, Copy)]
pub struct Ascent {
    /// Which of the twins.
    pub climb: Climb,
    /// Temperature: weight of the log-probability.
    pub alpha: f32,
    /// Temperature of the Gumbel-softmax.
    pub gumbel: f32,
    /// Weight of the mean squared logit.
    pub logit_penalty: f32,
    /// Learning rate.
    pub lr: f64,
}

impl OffPolicy {
    /// Actors by `net.share` with targets; critics as `shape` says.
    ///
    /// # Errors
    /// As [`check_actors`], but for room.
    pub fn new(
        algo: &str,
        team: &Arc<TeamSpec>,
        settings: &Settings,
        own: RewardMode,
        shape: &Shape,
        rng: &Stream,
    ) -> Result<Self, ConfigError> {
        let reward = check_but_for_room(algo, team, settings, own, shape.per_agent)?;
        let invalid = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
        let (net, adam, engine) = (OffNetConfig::read(settings)?, AdamConfig::read(settings)?, engine(settings)?);
        let apart = ApartConfig::read(settings)?;
        let graph = GraphConfig::read(settings)?.build(team).map_err(invalid)?;
        let mut actors: Vec<Actor> = Vec::new();
        for (g, members) in team.groups(&net.share).map_err(invalid)?.into_iter().enumerate() {
            let head = match (Head::for_space(&team.agents[members[0]].action, true, 1.0, 1.0), shape.stochastic) {
                (Head::TanhGaussian { low, high }, false) => Head::Deterministic { low, high },
                (head, _) => head,
            };
            let rng = rng.fork(g as u64);
            let spec = apart.actor(net_spec(&net));
            let actor = Actor::new(team, members, head, spec, net.agent_id, adam.clone(), engine.clone(), 0, &rng);
            let actor = actor.map_err(invalid)?;
            actors.push(match &graph {
                None => actor,
                Some(graph) => actor.on_graph(Arc::clone(graph), adam.clone(), &rng),
            });
        }
        let group = |a: &Actor| Group::new(a.members.clone(), a.net.input_len(), a.agent_id()).hearing(graph.clone());
        let groups = actors.iter().map(group).collect();
        let heads = actors.iter().flat_map(|a| a.members.iter().map(|i| (*i, a.head.clone()))).collect();
        let state_rows: Vec<Vec<usize>> = match (shape.per_agent, team.state) {
            (true, _) => (0..team.n()).map(|i| vec![i]).collect(),
            (false, state) => vec![(0..state.rows(team.n())).collect()],
        };
        let layout = Layout::new(team, groups, heads);
        let unit = |(c, rows): (usize, Vec<usize>)| {
            let name = if shape.per_agent { format!("critic of {}", team.agents[c].name) } else { "critic".to_owned() };
            let obs = motley_core::ObsSpace::vector(team.state.row() + layout.joint);
            let spec = NetSpec { obs, ..apart.critic(net_spec(&net)) };
            let rng = rng.fork(1_000_000 + c as u64);
            Unit { critic: ActionCritic::new(name, spec, shape.twins, shape.norm.clone(), &adam, engine.clone(), &rng), rows }
        };
        let critics = state_rows.into_iter().enumerate().map(unit).collect();
        Ok(Self {
            ground: Ground::new(team, settings, reward, layout)?,
            targets: actors.iter().map(|a| a.net.clone()).collect(),
            actors,
            critics,
            per_agent: shape.per_agent,
        })
    }

    /// A copy of the actors that acts: at random during warm-up, then as `explore` says.
    pub fn policy(&self, explore: Explore) -> TeamPolicy {
        let explore = self.ground.explore(explore);
        let groups = self.actors.iter().map(Actor::acting).map(|mut group| {
            group.explore = explore;
            group
        });
        TeamPolicy::new(Arc::clone(&self.ground.team), groups.collect())
    }

    /// Takes over what a reference code does otherwise: what is available after a time limit's cut is what the next episode begins with
    /// (`reset_masks`), and actors climb values as normalised as critics learn them (`normalized`).
    pub fn deviate(&mut self, reset_masks: bool, normalized: bool) {
        self.ground.layout.reset_masks = reset_masks;
        if normalized {
            self.critics.iter_mut().for_each(|unit| unit.critic.climb_normalized());
        }
    }

    /// Everybody's actions before the batch's steps, or on what follows them (`next`), written to `joint` (`[rows, joint]`).
    #[allow(clippy::too_many_arguments, reason = "inputs, randomness and memory of one pass")]
    pub fn act(
        &self,
        pool: &Pool,
        batch: &Batch,
        who: Who,
        next: bool,
        noise: Noise,
        rng: &Stream,
        joint: &mut [f32],
    ) -> Vec<Drawn> {
        (0..self.actors.len()).map(|g| self.act_group(pool, batch, (who, next), g, noise, &rng.fork(g as u64), joint)).collect()
    }

    /// As [`OffPolicy::act`], of one group.
    #[allow(clippy::too_many_arguments, reason = "inputs, randomness and memory of one pass")]
    pub fn act_group(
        &self,
        pool: &Pool,
        batch: &Batch,
        (who, next): (Who, bool),
        g: usize,
        noise: Noise,
        rng: &Stream,
        joint: &mut [f32],
    ) -> Drawn {
        thread_local! {
            static SCRATCH: RefCell<(NetScratch, Vec<f32>)> = RefCell::default();
        }
        let (actor, layout) = (&self.actors[g], &self.ground.layout);
        let (net, head) = (if who == Who::Target { &self.targets[g] } else { &actor.net }, &actor.head);
        let side = if next { &batch.next } else { &batch.now };
        let rows = side.groups[g].alive.len();
        let (input, output, block) = (net.input_len(), net.output_len(), head.block());
        let mask_len = side.groups[g].mask.len() / rows.max(1);
        let mut drawn = Drawn { noise: vec![0.0; rows * block], blocks: vec![0.0; rows * block], log_probs: vec![0.0; rows] };
        let each = rows.div_ceil(pool.threads()).max(1);
        let parts = drawn.noise.chunks_mut(each * block).zip(drawn.blocks.chunks_mut(each * block));
        let mut parts: Vec<_> = parts.zip(drawn.log_probs.chunks_mut(each)).collect();
        pool.run(&mut parts, |p, ((noises, blocks), log_probs)| {
            let start = p * each;
            SCRATCH.with_borrow_mut(|(scratch, out)| {
                out.resize(log_probs.len() * output, 0.0);
                let x = &side.groups[g].x[start * input..(start + log_probs.len()) * input];
                net.forward(x, log_probs.len(), &mut [], out, scratch);
                for (k, log_prob) in log_probs.iter_mut().enumerate() {
                    let row = start + k;
                    let (noises, block) = (&mut noises[k * block..(k + 1) * block], &mut blocks[k * block..(k + 1) * block]);
                    if side.groups[g].alive[row] {
                        head.draw_noise(noise, &mut rng.fork(row as u64), noises);
                        let mask = &side.groups[g].mask[row * mask_len..(row + 1) * mask_len];
                        *log_prob = head.path(&out[k * output..(k + 1) * output], mask, noises, block);
                    } else {
                        block.copy_from_slice(layout.dead_block(actor.members[row / batch.rows]));
                    }
                }
            });
        });
        self.place(batch, g, &drawn.blocks, joint);
        drawn
    }

    /// Copies a group's blocks to their places in `joint`.
    fn place(&self, batch: &Batch, g: usize, blocks: &[f32], joint: &mut [f32]) {
        let layout = &self.ground.layout;
        for (m, &i) in self.actors[g].members.iter().enumerate() {
            let at = layout.blocks[i].clone();
            let mine = blocks.chunks_exact(at.len()).skip(m * batch.rows);
            joint.chunks_exact_mut(layout.joint).zip(mine).for_each(|(row, block)| row[at.clone()].copy_from_slice(block));
        }
    }

    /// What critics are fitted to, per critic `[state rows * rows]`: `R + discount (min Q'(s', a') + bonus)`, `bonus` `[rows]` where given.
    pub fn targets(&self, pool: &Pool, batch: &Batch, joint: &[f32], bonus: Option<&[f32]>) -> Vec<Vec<f32>> {
        let layout = &self.ground.layout;
        let shared = layout.shared_input(pool, &batch.next, joint);
        let of = |unit: &Unit| {
            let own = || Cow::Owned(layout.critic_input(pool, &batch.next, &unit.rows, joint));
            let x = shared.as_deref().map_or_else(own, Cow::Borrowed);
            let mut y = unit.critic.target_values(pool, &x, unit.rows.len() * batch.rows);
            for (r, q) in y.iter_mut().enumerate() {
                let (b, k) = (r % batch.rows, unit.rows[r / batch.rows]);
                let discount = self.ground.discount(batch, k, b);
                // What follows a termination may be anything.
                let future = if discount == 0.0 { 0.0 } else { discount * (*q + bonus.map_or(0.0, |x| x[b])) };
                *q = batch.payment(b, k) + future;
            }
            y
        };
        let mut all: Vec<(&Unit, Vec<f32>)> = self.critics.iter().map(|unit| (unit, Vec::new())).collect();
        pool.run(&mut all, |_, (unit, y)| *y = of(unit));
        all.into_iter().map(|(_, y)| y).collect()
    }

    /// One step of every critic towards [`OffPolicy::targets`]. Where an agent's values end at its death, its row after that does not count.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn fit(
        &mut self,
        context: &UpdateContext<'_>,
        batch: &Batch,
        goals: &[Vec<f32>],
        metrics: &mut Metrics,
    ) -> Result<(), UpdateError> {
        let (ground, pool) = (&self.ground, context.pool);
        let (lr, regression) = (ground.critic_lr(context), ground.config.regression());
        let shared = ground.layout.shared_input(pool, &batch.now, &batch.joint);
        let mut fits: Vec<_> = self.critics.iter_mut().zip(goals).map(|(unit, goal)| (unit, goal, None)).collect();
        pool.run(&mut fits, |_, (unit, goal, done)| {
            let own = || Cow::Owned(ground.layout.critic_input(pool, &batch.now, &unit.rows, &batch.joint));
            let x = shared.as_deref().map_or_else(own, Cow::Borrowed);
            let counts = |r: usize| ground.counts(batch, unit.rows[r / batch.rows], r % batch.rows);
            let weight: Vec<f32> = (0..goal.len()).map(|r| f32::from(u8::from(counts(r)))).collect();
            *done = Some(unit.critic.fit(pool, Fit { x: &x, goal, weight: &weight, regression }, lr));
        });
        for (unit, _, done) in fits {
            if let Some(m) = done {
                metrics.merge(&format!("loss/{}/", unit.critic.name()), &m?);
            }
        }
        Ok(())
    }

    /// One step of group `g` up its critic: `mean over living members of Q(s, a) - alpha log pi`, where `base` (`[rows, joint]`) holds
    /// everybody's actions, of which a member's own is replaced by what it `drew`.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn climb(
        &mut self,
        pool: &Pool,
        batch: &Batch,
        g: usize,
        base: &[f32],
        drawn: &Drawn,
        ascent: Ascent,
    ) -> Result<Metrics, UpdateError> {
        let actor = &mut self.actors[g];
        let Ground { team, layout, .. } = &self.ground;
        let (rows, block, state) = (batch.rows, actor.head.block(), team.state.row());
        let side = &batch.now.groups[g];
        let living = side.alive.iter().filter(|a| **a).count();
        if living == 0 {
            return Ok(Metrics::new());
        }
        let weight: Vec<f32> = side.alive.iter().map(|a| f32::from(u8::from(*a)) / living as f32).collect();
        let mut d_block = vec![0.0; drawn.blocks.len()];
        let mut value = 0.0;
        for (m, &i) in actor.members.iter().enumerate() {
            let unit = &mut self.critics[if self.per_agent { i } else { 0 }];
            let mut x = layout.critic_input(pool, &batch.now, &[i], base);
            let at = layout.blocks[i].clone();
            let (mine, width) = (m * rows..(m + 1) * rows, state + layout.joint);
            let own = drawn.blocks[mine.start * block..mine.end * block].chunks_exact(block);
            x.chunks_exact_mut(width).zip(own).for_each(|(row, b)| row[state + at.start..state + at.end].copy_from_slice(b));
            let (columns, d_own) = (state + at.start..state + at.end, &mut d_block[mine.start * block..mine.end * block]);
            value += unit.critic.climb(pool, &x, &weight[mine], ascent.climb, columns, d_own);
        }
        let head = actor.head.clone();
        let mask_len = side.mask.len() / side.alive.len();
        let loss = PathLoss { head: &head, mask: &side.mask, mask_len, drawn, d_block: &d_block, weight: &weight, ascent };
        let (stats, report) = actor.descend(pool, &side.x, side.alive.len(), &loss, ascent.lr)?;
        let mut metrics = Metrics::new();
        metrics.add("q", value);
        metrics.add("grad_norm", report.grad_norm);
        metrics.add("skipped_steps", f64::from(u8::from(!report.applied)));
        if ascent.alpha != 0.0 {
            metrics.add("log_prob", stats[0]);
        }
        Ok(metrics)
    }

    /// One group after the other (heterogeneous-agent learning): each climbs from what everybody does now, those before it with their
    /// new weights. Returns what each drew when it climbed.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn climb_in_order(
        &mut self,
        pool: &Pool,
        batch: &Batch,
        order: &[usize],
        ascent: impl Fn(usize) -> Ascent,
        rng: &Stream,
        metrics: &mut Metrics,
    ) -> Result<Vec<Drawn>, UpdateError> {
        let mut joint = batch.joint.clone();
        let drawn = self.act(pool, batch, Who::Online, false, Noise::Policy, &rng.fork(0), &mut joint);
        for (turn, &g) in order.iter().enumerate() {
            let m = self.climb(pool, batch, g, &joint, &drawn[g], ascent(g))?;
            metrics.merge(&format!("loss/{}/", self.actors[g].name), &m);
            if turn + 1 < order.len() {
                let rng = rng.fork(1).fork(g as u64);
                self.act_group(pool, batch, (Who::Online, false), g, Noise::Policy, &rng, &mut joint);
            }
        }
        Ok(drawn)
    }

    /// Every group from the same point: teammates do what they did when the batch was collected, or, with `current`, what they would do
    /// now.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn climb_apart(
        &mut self,
        pool: &Pool,
        batch: &Batch,
        current: bool,
        ascent: Ascent,
        rng: &Stream,
        metrics: &mut Metrics,
    ) -> Result<(), UpdateError> {
        let mut joint = batch.joint.clone();
        let drawn = self.act(pool, batch, Who::Online, false, Noise::Policy, rng, &mut joint);
        let base = if current { &joint } else { &batch.joint };
        for (g, drawn) in drawn.iter().enumerate() {
            let m = self.climb(pool, batch, g, base, drawn, ascent)?;
            metrics.merge(&format!("loss/{}/", self.actors[g].name), &m);
        }
        Ok(())
    }

    /// All targets take a step towards their networks, or become copies of them where that is due.
    pub fn move_targets(&mut self, pool: &Pool) {
        let step = self.ground.next_stride();
        let Self { targets, actors, critics, .. } = self;
        let mut pairs: Vec<_> = targets.iter_mut().zip(actors).collect();
        pool.both(
            || pool.run(critics, |_, unit| unit.critic.move_targets(pool, step)),
            || pool.run(&mut pairs, |_, (target, actor)| follow(*target, &actor.net, step)),
        );
    }

    /// Writes memory, actors and critics.
    pub fn save(&self, w: &mut StateWriter) {
        for (g, (actor, target)) in self.actors.iter().zip(&self.targets).enumerate() {
            let mut w = w.scope(&format!("actor.{g}"));
            actor.save(&mut w);
            w.put_f32("target", target.params());
        }
        for (c, unit) in self.critics.iter().enumerate() {
            unit.critic.save(&mut w.scope(&format!("critic.{c}")));
        }
        self.ground.save(w);
    }

    /// Reads memory, actors and critics.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        for (g, (actor, target)) in self.actors.iter_mut().zip(&mut self.targets).enumerate() {
            let r = r.scope(&format!("actor.{g}"));
            actor.load(&r)?;
            load_params(target, &r, "target")?;
        }
        for (c, unit) in self.critics.iter_mut().enumerate() {
            unit.critic.load(&r.scope(&format!("critic.{c}")))?;
        }
        self.ground.load(r)
    }
}

/// From a network's output to its derivative, through the action and its log-probability. Statistics: `sum w log pi`.
struct PathLoss<'a> {
    head: &'a Head,
    mask: &'a [bool],
    mask_len: usize,
    drawn: &'a Drawn,
    d_block: &'a [f32],
    weight: &'a [f32],
    ascent: Ascent,
}

impl RowLoss for PathLoss<'_> {
    fn stats_len(&self) -> usize {
        1
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        let (output, block) = (self.head.outputs(), self.head.block());
        let penalty = if matches!(self.head, Head::Categorical(_)) { self.ascent.logit_penalty } else { 0.0 };
        for (k, (out, d_out)) in out.chunks_exact(output).zip(d_out.chunks_exact_mut(output)).enumerate() {
            let r = start + k;
            if self.weight[r] == 0.0 {
                d_out.fill(0.0);
                continue;
            }
            let mask = &self.mask[r * self.mask_len..(r + 1) * self.mask_len];
            let at = r * block..(r + 1) * block;
            let d_log_prob = self.ascent.alpha * self.weight[r];
            self.head.path_backward(
                out,
                mask,
                &self.drawn.noise[at.clone()],
                self.ascent.gumbel,
                &self.d_block[at],
                d_log_prob,
                d_out,
            );
            if penalty > 0.0 {
                let scale = 2.0 * penalty * self.weight[r] / output as f32;
                d_out.iter_mut().zip(out).zip(mask).filter(|(_, open)| **open).for_each(|((d, z), _)| *d += scale * z);
            }
            stats[0] += f64::from(self.weight[r] * self.drawn.log_probs[r]);
        }
    }
}

//! What every value-based algorithm stands on: the agents' value networks ([`Utility`]) by group, their targets, replay, exploration,
//! one optimiser over everything that learns. No algorithm is decided here.

use std::sync::Arc;

use motley_core::{ConfigError, Metrics, Settings, Stream, TeamSpec};
use motley_data::LoadError;
use motley_data::episodes::{EpisodeReplay, Note};
use motley_data::rollout::Rollout;
use motley_nn::optim::decayed;
use motley_nn::policy::ActingGroup;
use motley_nn::qtran::ABSENT;
use motley_nn::target::{Pace, follow};
use motley_nn::weights::load_params;
use motley_nn::{Adam, AdamConfig, CrossGroup, Engine, Explore, Pool, TeamPolicy, UpdateError, Weights};
use motley_run::{CheckpointError, PieceHashes, StateReader, StateWriter};

use super::batch::EpisodeBatch;
use super::config::{UtilityConfig, ValueConfig};
use super::utility::{Input, Reads, Seen, Utility};
use crate::actors::{GraphConfig, engine};
use crate::algorithm::{RewardMode, UpdateContext};
use crate::reward_norm::RewardNorm;

/// Utilities, replay and optimiser.
#[derive(Debug)]
pub struct Learner {
    team: Arc<TeamSpec>,
    /// The settings.
    pub config: ValueConfig,
    last_action: bool,
    engine: Engine,
    reward: RewardMode,
    /// One per group.
    pub utilities: Vec<Utility>,
    /// Finished episodes.
    pub replay: EpisodeReplay,
    /// Of its pieces.
    hashes: PieceHashes,
    adam: Adam,
    /// Everything that learns, and its gradient, in one run each for a step.
    params: Vec<f32>,
    grad: Vec<f32>,
    rewards: RewardNorm,
    env_steps: u64,
    pace: Pace,
    /// Gradient steps that the rollout stored last calls for.
    due: usize,
    /// What the acting policy tells about itself: nothing, or its chance of random actions and the progress of the run.
    fingerprint: Vec<f32>,
    /// What a second head learns, where there is one.
    pub cross: Option<CrossGroup>,
}

/// What an algorithm needs beside the utilities.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// Parameters of a mixer.
    pub mixer: usize,
    /// Numbers kept with every step, before which a fingerprint goes.
    pub notes: usize,
    /// Whether inputs end with a fingerprint.
    pub fingerprint: bool,
    /// Whether utilities have a second head, for [`Learner::cross`].
    pub second_head: bool,
}

impl Needs {
    /// All numbers kept with a step.
    pub fn kept(&self) -> usize {
        self.notes + if self.fingerprint { FINGERPRINT } else { 0 }
    }
}

/// Numbers of a fingerprint.
pub const FINGERPRINT: usize = 2;

impl Learner {
    /// Utilities by `net.share` with initial parameters, an empty replay. Ask [`super::check`] first.
    ///
    /// # Errors
    /// Settings that cannot be read.
    pub fn new(
        team: &Arc<TeamSpec>,
        settings: &Settings,
        own: RewardMode,
        needs: Needs,
        rng: &Stream,
    ) -> Result<Self, ConfigError> {
        let (net, config) = (UtilityConfig::read(settings)?, ValueConfig::read(settings)?);
        let reward = RewardMode::resolve(&settings.get::<String>("task.reward")?, team, own)?;
        let fingerprint = if needs.fingerprint { vec![config.epsilon(0), 0.0] } else { Vec::new() };
        let graph = GraphConfig::read(settings)?.build(team).map_err(ConfigError::Invalid)?;
        let mut utilities: Vec<Utility> = Vec::new();
        for (g, members) in team.groups(&net.share).map_err(ConfigError::Invalid)?.into_iter().enumerate() {
            let from = utilities.last().and_then(|u| u.memory_at.last()).map_or(0, |r| r.end);
            let reads = Reads { graph: graph.clone(), notes: fingerprint.len() };
            let mut utility = Utility::new(team, members, &net, reads, from, &rng.fork(g as u64));
            if needs.second_head {
                utility.add_second_head(&rng.fork(2_000_000 + g as u64));
            }
            utilities.push(utility);
        }
        let learned = needs.mixer + utilities.iter().map(|u| u.net.params().len()).sum::<usize>();
        let columns = if reward == RewardMode::Own { team.n() } else { 1 };
        Ok(Self {
            team: Arc::clone(team),
            last_action: net.last_action,
            engine: engine(settings)?,
            reward,
            utilities,
            hashes: PieceHashes::default(),
            replay: EpisodeReplay::new(Arc::clone(team), config.replay_shape(team, needs.kept())),
            adam: Adam::new(learned, AdamConfig::read(settings)?),
            params: Vec::new(),
            grad: Vec::new(),
            rewards: RewardNorm::new(&config.reward_norm, columns),
            env_steps: 0,
            pace: Pace::new(config.target_update),
            due: 0,
            fingerprint,
            config,
            cross: None,
        })
    }

    /// The team.
    pub fn team(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    /// Reward columns: one of the team's, or one of each agent's own.
    pub fn columns(&self) -> usize {
        self.rewards.columns()
    }

    /// [`RewardMode::ends_at_death`].
    pub fn ends_at_death(&self) -> bool {
        self.reward.ends_at_death(&self.team, true)
    }

    /// The chance of a random action now.
    pub fn epsilon(&self) -> f32 {
        self.config.epsilon(self.env_steps)
    }

    /// A copy of the utilities that acts, epsilon-greedy when sampled.
    pub fn policy(&self) -> TeamPolicy {
        let acting = |u: &Utility| ActingGroup {
            members: u.members.clone(),
            net: u.narrow.as_ref().map_or_else(|| u.net.clone(), |narrow| narrow.with_first_head_of(&u.net)),
            head: u.head.clone(),
            constants: self.fingerprint.clone(),
            last_action: self.last_action,
            agent_id: u.agent_id,
            memory_at: u.memory_at.clone(),
            explore: Explore::Epsilon(self.epsilon()),
        };
        TeamPolicy::new(Arc::clone(&self.team), self.utilities.iter().map(acting).collect())
    }

    /// Takes a rollout into replay, `note(env, time, into)` with every step, and counts its steps.
    pub fn store(&mut self, roll: &Rollout, progress: f64, note: Note<'_>) -> Metrics {
        let own = &self.fingerprint;
        let added = self.replay.extend(roll, &mut |e, t, into| {
            let (shown, rest) = into.split_at_mut(own.len());
            shown.copy_from_slice(own);
            note(e, t, rest);
        });
        self.due = if self.config.updates == 0 { added.episodes } else { self.config.updates };
        let mut metrics = Metrics::new();
        metrics.add("train/epsilon", self.epsilon().into());
        metrics.add("train/replay_episodes", self.replay.len() as f64);
        metrics.add("train/dropped_episodes", added.dropped as f64);
        self.env_steps += (roll.envs() * roll.steps()) as u64;
        if !self.fingerprint.is_empty() {
            self.fingerprint = vec![self.epsilon(), progress as f32];
        }
        metrics
    }

    /// Gradient steps that follow the rollout stored last: `algo.updates`, or one for each episode that it finished.
    pub fn due(&self) -> usize {
        self.due
    }

    /// A batch of episodes, every set of them equally likely; `None` before learning starts or while there are too few.
    pub fn sample(&mut self, pool: &Pool, rng: &Stream) -> Option<EpisodeBatch> {
        if self.env_steps < self.config.learning_starts {
            return None;
        }
        let slots = self.replay.sample(self.config.batch_episodes, &mut rng.clone())?;
        let (mode, sizes) = (self.reward, (self.team.n(), self.team.state_len(), self.rewards.columns()));
        let mut batch = EpisodeBatch::gather(pool, &self.replay, slots, sizes, &|rewards, column| mode.of(rewards, column));
        if self.rewards.is_on() {
            let (n, mortal) = (batch.agents, self.ends_at_death());
            let alive = batch.before_steps(&batch.alive, n).into_owned();
            for (c, column) in batch.rewards.iter_mut().enumerate() {
                let paid: Vec<bool> = (0..column.len()).map(|s| !mortal || alive[s * n + c]).collect();
                self.rewards.scale(c, column, &paid);
            }
        }
        Some(batch)
    }

    /// Runs online and target utilities over the whole episodes of a batch.
    pub fn look(&mut self, pool: &Pool, batch: &EpisodeBatch) -> Seen {
        let mut seen = Seen::nothing(batch);
        let Self { utilities, replay, team, config, last_action, fingerprint, .. } = self;
        let input = Input { team, replay, batch, last_action: *last_action, notes: fingerprint.len() };
        utilities.iter_mut().for_each(|utility| utility.look(pool, &input, config.double_q, &mut seen));
        seen
    }

    /// Leaves the utilities' gradients, from those by the values of the choices made (`d_chosen`, `[S, n]`), and, where they are part of
    /// the loss, by those of the best ones (`d_best`, `[S, n]`) and by what the networks remember (`d_states`, per group `[F, members, memory]`).
    /// The second head's own loss comes to them; it is returned where there is one.
    pub fn backward(
        &mut self,
        pool: &Pool,
        batch: &EpisodeBatch,
        seen: &Seen,
        d_chosen: &[f32],
        d_best: Option<&[f32]>,
        d_states: Option<&[Vec<f32>]>,
    ) -> Option<f64> {
        let n = batch.agents;
        let mut crossed = None;
        for (g, utility) in self.utilities.iter_mut().enumerate() {
            let width = utility.net.output_len();
            let mut d_out = std::mem::take(&mut utility.d_out);
            d_out.clear();
            d_out.resize(utility.out.len(), 0.0);
            for s in 0..batch.steps() {
                let frame = batch.before(s);
                for (m, i) in utility.members.iter().enumerate().filter(|(_, i)| seen.taken[s * n + **i] != ABSENT) {
                    let d = &mut d_out[(frame * utility.members.len() + m) * width..][..width];
                    d[seen.taken[s * n + i] as usize] += d_chosen[s * n + i];
                    if let Some(d_best) = d_best {
                        d[seen.greedy[frame * n + i] as usize] += d_best[s * n + i];
                    }
                }
            }
            if let Some(cross) = &self.cross {
                crossed = Some(utility.cross(cross, &self.replay, batch, &mut d_out));
            }
            utility.backward(&self.engine, pool, &d_out, d_states.map(|d| &d[g][..]));
            utility.d_out = d_out;
        }
        crossed
    }

    /// One guarded step of everything that learns: the utilities, and a mixer with its gradient.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`].
    pub fn step(
        &mut self,
        mixer: Option<(&mut dyn Weights, &[f32])>,
        context: &UpdateContext<'_>,
        metrics: &mut Metrics,
    ) -> Result<(), UpdateError> {
        let lr = decayed(self.config.lr, self.config.lr_decay, context.progress);
        let Self { utilities, adam, params, grad, .. } = self;
        params.clear();
        grad.clear();
        for utility in &*utilities {
            params.extend_from_slice(utility.net.params());
            grad.extend_from_slice(&utility.grad);
        }
        let own = params.len();
        if let Some((mixer, slope)) = &mixer {
            params.extend_from_slice(mixer.weights());
            grad.extend_from_slice(slope);
        }
        let report = adam.step("values", params, grad, lr)?;
        let (mut own, mixed) = params.split_at(own);
        let mut give = |p: &mut [f32]| {
            let (mine, rest) = own.split_at(p.len());
            p.copy_from_slice(mine);
            own = rest;
        };
        // Packing weights takes as long as the step itself.
        context.pool.both(
            || utilities.iter_mut().for_each(|u| u.net.set_params(&mut give)),
            || mixer.into_iter().for_each(|(mixer, _)| mixer.set_weights(&mut |p| p.copy_from_slice(mixed))),
        );
        metrics.add("loss/grad_norm", report.grad_norm);
        metrics.add("loss/skipped_steps", f64::from(u8::from(!report.applied)));
        Ok(())
    }

    /// Counts an update and moves the target networks where that is due; the rate at which a mixer's target has to follow.
    pub fn follow(&mut self) -> f32 {
        let step = self.pace.next_stride();
        self.utilities.iter_mut().for_each(|u| follow(&mut u.target, &u.net, step));
        step
    }

    /// Writes utilities, targets, moments, counters, statistics and replay.
    pub fn save(&self, w: &mut StateWriter) {
        for (g, utility) in self.utilities.iter().enumerate() {
            w.put_f32(&format!("utility.{g}.params"), utility.net.params());
            w.put_f32(&format!("utility.{g}.target_params"), utility.target.params());
        }
        self.adam.save(&mut w.scope("adam"));
        w.put_u64("counters", &[self.env_steps, self.pace.moves()]);
        self.rewards.save(w);
        w.put_f32("fingerprint", &self.fingerprint);
        let mut w = w.scope("replay");
        w.put_u64("counters", &self.replay.counters());
        let make = &mut |k, bytes: &mut Vec<u8>| self.replay.write_piece(k, bytes);
        w.put_pieces("episodes", self.replay.stamps(), &self.hashes, make);
        w.put_u8("running", &self.replay.unfinished());
    }

    /// Reads what [`Learner::save`] wrote.
    ///
    /// # Errors
    /// Entries that are missing or misshapen.
    pub fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        for (g, utility) in self.utilities.iter_mut().enumerate() {
            load_params(&mut utility.net, r, &format!("utility.{g}.params"))?;
            load_params(&mut utility.target, r, &format!("utility.{g}.target_params"))?;
        }
        self.adam.load(&r.scope("adam"))?;
        let mut counters = [0; 2];
        r.u64s_into("counters", &mut counters)?;
        self.env_steps = counters[0];
        self.pace.set_moves(counters[1]);
        self.rewards.load(r)?;
        r.f32s_into("fingerprint", &mut self.fingerprint)?;
        let r = r.scope("replay");
        let pieces = r.pieces("episodes")?;
        self.replay.load(&r.u64s("counters")?, pieces.read(), &r.u8s("running")?).map_err(|error| match error {
            LoadError::Piece(error) => error,
            unfit @ LoadError::Unfit(_) => r.wrong("counters", "the numbers of this replay", unfit),
        })?;
        self.hashes = pieces.known(self.replay.stamps());
        Ok(())
    }
}

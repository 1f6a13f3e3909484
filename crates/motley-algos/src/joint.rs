//! What critics of joint actions stand on: moments of a rollout with the joint action taken there, and what such a critic reads.
//!
//! A critic of agent i has a value for each of its own choices, given the state and what the others chose: `Q_i(s, a_-i, .)`. That
//! asks for no equal action sets; teammates' choices enter as one-hots of their own sizes.

use std::ops::Range;
use std::sync::Arc;

use motley_core::{AgentSpec, ConfigError, Key, Settings, Status, Stream, TeamSpec};
use motley_data::returns::{Series, SeriesError};
use motley_data::rollout::{Final, Rollout};
use motley_nn::choice_critic::ChoiceCriticConfig;
use motley_nn::{ActScratch, AdamConfig, ChoiceCritic, Decision, Head, Mode, ObsBatch, Policy, Pool, TeamPolicy, UpdateError};

use crate::actors::{self, NetConfig};
use crate::algorithm::RewardMode;

/// Where something that followed a step is kept.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A slot of the lane.
    Slot(usize),
    /// A true final state of the lane.
    Final(usize),
}

/// The rows of a rollout (moments `0..rows`), then what followed those steps whose follower is no row: a truncated episode's true
/// end, the slot after the rollout, the slot before a hole. There the joint action is drawn from the policy, as a step taken there would
/// have been.
#[derive(Debug)]
pub struct Moments<'a> {
    roll: &'a Rollout,
    more: Vec<(usize, Place)>,
    /// `[more, action_len]`
    drawn: Vec<f32>,
    /// The moment that followed each row; the row itself where nothing follows.
    next: Vec<usize>,
}

impl<'a> Moments<'a> {
    /// Of a rollout collected with `policy`; `rng` draws the actions that follow it.
    ///
    /// # Errors
    /// A policy that does not fit the rollout: a fault of the program.
    pub fn new(roll: &'a Rollout, policy: &TeamPolicy, rng: &Stream) -> Result<Self, UpdateError> {
        let (rows, steps) = (roll.rows(), roll.steps());
        let mut found = Self { roll, more: Vec::new(), drawn: Vec::new(), next: (0..rows).collect() };
        for row in 0..rows {
            let (e, t) = roll.at(row);
            let lane = &roll.lanes[e];
            let place = match lane.status[t] {
                _ if !lane.valid[t] => continue,
                Status::Terminated => continue,
                Status::Truncated => match lane.finals.iter().position(|f| f.time == t) {
                    Some(k) => Place::Final(k),
                    None => return Err(UpdateError::Data(format!("a truncated episode without its end at step {t}"))),
                },
                Status::Running if t + 1 < steps && lane.valid[t + 1] => {
                    found.next[row] = row + 1;
                    continue;
                }
                Status::Running => Place::Slot(t + 1),
            };
            found.next[row] = rows + found.more.len();
            found.more.push((e, place));
        }
        found.draw(policy, rng).map_err(|e| UpdateError::Data(e.to_string()))?;
        Ok(found)
    }

    /// Draws the joint actions of what followed. A final state is seen with the memory carried through the step before it.
    fn draw(&mut self, policy: &TeamPolicy, rng: &Stream) -> Result<(), motley_nn::ActError> {
        let (roll, team, width) = (self.roll, self.roll.team(), policy.memory_len());
        let at = |place: Place, e: usize| match place {
            Place::Slot(t) => (t, 0),
            Place::Final(k) => (roll.lanes[e].finals[k].time, 1),
        };
        let mut memory: Vec<f32> = Vec::with_capacity(self.more.len() * width);
        for &(e, place) in &self.more {
            let t = at(place, e).0;
            memory.extend_from_slice(&roll.lanes[e].memory[t * width..(t + 1) * width]);
        }
        let streams: Vec<Stream> = (self.more.iter())
            .map(|&(e, place)| {
                let (t, end) = at(place, e);
                rng.fork(e as u64).fork(2 * t as u64 + end)
            })
            .collect();
        let (mut decision, mut scratch) = (Decision::default(), ActScratch::default());
        if width > 0 {
            let mut through = memory.clone();
            let slots: Vec<_> = self.more.iter().map(|&(e, place)| (e, Place::Slot(at(place, e).0))).collect();
            let (obs, avail) = self.shown(&slots);
            let batch = ObsBatch { envs: slots.len(), obs: &obs, avail: &avail };
            policy.act(batch, &mut through, Mode::Greedy, &streams, &mut decision, &mut scratch)?;
            for (k, &(_, place)) in self.more.iter().enumerate() {
                if matches!(place, Place::Final(_)) {
                    memory[k * width..(k + 1) * width].copy_from_slice(&through[k * width..(k + 1) * width]);
                }
            }
        }
        let (obs, avail) = self.shown(&self.more);
        let batch = ObsBatch { envs: self.more.len(), obs: &obs, avail: &avail };
        policy.act(batch, &mut memory, Mode::Sample, &streams, &mut decision, &mut scratch)?;
        debug_assert_eq!(decision.raw.len(), self.more.len() * team.action_len());
        self.drawn = decision.raw;
        Ok(())
    }

    fn shown(&self, places: &[(usize, Place)]) -> (Vec<f32>, Vec<bool>) {
        let (mut obs, mut avail) = (Vec::new(), Vec::new());
        let (o, m) = (self.roll.team().obs_len(), self.roll.team().mask_len());
        for &(e, place) in places {
            let lane = &self.roll.lanes[e];
            match place {
                Place::Slot(t) => {
                    obs.extend_from_slice(&lane.obs[t * o..(t + 1) * o]);
                    avail.extend_from_slice(&lane.avail[t * m..(t + 1) * m]);
                }
                Place::Final(k) => {
                    obs.extend_from_slice(&lane.finals[k].obs);
                    avail.extend_from_slice(&lane.finals[k].avail);
                }
            }
        }
        (obs, avail)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.roll.rows() + self.more.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rollout.
    pub fn roll(&self) -> &Rollout {
        self.roll
    }

    fn place(&self, moment: usize) -> (usize, Place) {
        let rows = self.roll.rows();
        if moment < rows {
            let (e, t) = self.roll.at(moment);
            (e, Place::Slot(t))
        } else {
            self.more[moment - rows]
        }
    }

    fn pick<T>(
        &self,
        moment: usize,
        slot: impl FnOnce(&'a Rollout, usize, usize) -> &'a [T],
        end: impl FnOnce(&'a Final) -> &'a [T],
    ) -> &'a [T] {
        match self.place(moment) {
            (e, Place::Slot(t)) => slot(self.roll, e, t),
            (e, Place::Final(k)) => end(&self.roll.lanes[e].finals[k]),
        }
    }

    /// Agent `i`'s row of the state.
    fn state(&self, moment: usize, i: usize) -> &'a [f32] {
        let (row, k) = (self.roll.team().state.row(), self.roll.team().state.row_of(i));
        self.pick(moment, |roll, e, t| roll.state(e, t, k), |end| &end.state[k * row..(k + 1) * row])
    }

    fn obs(&self, moment: usize, i: usize) -> &'a [f32] {
        self.pick(moment, |roll, e, t| roll.obs(e, t, i), |end| &end.obs[self.roll.team().obs_range(i)])
    }

    /// Agent `i`'s availability mask.
    pub fn avail(&self, moment: usize, i: usize) -> &'a [bool] {
        self.pick(moment, |roll, e, t| roll.avail(e, t, i), |end| &end.avail[self.roll.team().mask_range(i)])
    }

    /// Whether agent `i` is alive.
    pub fn alive(&self, moment: usize, i: usize) -> bool {
        let n = self.roll.team().n();
        self.pick(moment, |roll, e, t| &roll.lanes[e].alive[t * n..(t + 1) * n], |end| &end.alive)[i]
    }

    /// Agent `i`'s raw action: taken, or drawn.
    pub fn action(&self, moment: usize, i: usize) -> &[f32] {
        let rows = self.roll.rows();
        if moment < rows {
            let (e, t) = self.roll.at(moment);
            return self.roll.action(e, t, i);
        }
        let (range, width) = (self.roll.team().action_range(i), self.roll.team().action_len());
        &self.drawn[(moment - rows) * width..][range]
    }

    /// Of what was computed for `[members * moments]`, the part that belongs to the rollout's rows, `[members * rows]`.
    pub fn rows<T: Copy>(&self, members: usize, all: &[T]) -> Vec<T> {
        let block = all.len() / members.max(1);
        let kept = block / self.len().max(1) * self.roll.rows();
        all.chunks_exact(block.max(1)).flat_map(|b| &b[..kept]).copied().collect()
    }

    /// Targets `[rows]` by a rule over the series of each environment, from values of the moments, `[moments]`. The death of `mortal`,
    /// if one is named, ends its series.
    ///
    /// # Errors
    /// Series of unequal length: a fault of the program.
    pub fn returns(
        &self,
        values: &[f32],
        mortal: Option<usize>,
        reward: impl Fn(&[f64]) -> f64,
        rule: impl Fn(&Series<'_, f64, f32>) -> Vec<f64>,
    ) -> Result<Vec<f32>, UpdateError> {
        let (steps, n) = (self.roll.steps(), self.roll.team().n());
        let next: Vec<f32> = self.next.iter().map(|m| values[*m]).collect();
        let mut all = Vec::with_capacity(next.len());
        for (e, lane) in self.roll.lanes.iter().enumerate() {
            let range = e * steps..(e + 1) * steps;
            let rewards: Vec<f64> = lane.rewards.chunks_exact(n).map(&reward).collect();
            let own = mortal.map(|i| lane.status_of(i));
            let status = own.as_ref().unwrap_or(&lane.status);
            let series = Series::new(&rewards, &values[range.clone()], &next[range], status, &lane.valid)
                .map_err(|e: SeriesError| UpdateError::Data(e.to_string()))?;
            all.extend(rule(&series).into_iter().map(|x| x as f32));
        }
        Ok(all)
    }
}

/// What a critic of a group's own choices reads: `state | [own observation] | one-hots of all agents' choices, own and dead
/// agents' left 0 | [one-hot of the member]`.
#[derive(Debug)]
pub struct JointInput {
    team: Arc<TeamSpec>,
    heads: Vec<Head>,
    members: Vec<usize>,
    obs: usize,
}

impl JointInput {
    fn width(&self) -> usize {
        self.choices_at() + self.team.mask_len() + if self.members.len() > 1 { self.members.len() } else { 0 }
    }

    fn choices_at(&self) -> usize {
        self.team.state.row() + self.obs
    }

    fn block(&self, j: usize) -> Range<usize> {
        let (at, range) = (self.choices_at(), self.team.mask_range(j));
        at + range.start..at + range.end
    }

    /// Everything but the others' choices.
    fn fill(&self, moments: &Moments<'_>, moment: usize, member: usize, into: &mut [f32]) {
        into.fill(0.0);
        let (i, state) = (self.members[member], self.team.state.row());
        into[..state].copy_from_slice(moments.state(moment, i));
        if self.obs > 0 {
            into[state..state + self.obs].copy_from_slice(moments.obs(moment, i));
        }
        if self.members.len() > 1 {
            into[self.choices_at() + self.team.mask_len() + member] = 1.0;
        }
    }

    /// Agent `j`'s choice, numbered.
    fn set(&self, j: usize, choice: usize, into: &mut [f32]) {
        let block = &mut into[self.block(j)];
        block.fill(0.0);
        let (mut at, mut stride) = (0, self.heads[j].joint_choices());
        for &k in self.team.agents[j].action.choices() {
            stride /= k;
            block[at + choice / stride % k] = 1.0;
            at += k;
        }
    }

    /// The number of an agent's raw action.
    fn number(&self, j: usize, raw: &[f32]) -> usize {
        self.team.agents[j].action.choices().iter().zip(raw).fold(0, |all, (k, a)| all * k + *a as usize)
    }
}

/// The value of the choice made in each row of `[rows, choices]`.
pub fn taken(values: &[f32], choices: &[usize]) -> Vec<f32> {
    let width = values.len() / choices.len().max(1);
    choices.iter().enumerate().map(|(r, a)| values[r * width + a]).collect()
}

/// The critic of one group of agents: a value for each own choice.
#[derive(Debug)]
pub struct JointCritic {
    input: JointInput,
    mask_dead: bool,
    /// The network with its target.
    pub critic: ChoiceCritic,
}

/// The settings of actors beside critics of joint actions, with the algorithm's own default of `net.share`.
pub fn keys(share: &str) -> Vec<Key> {
    let keys = actors::unused(actors::keys(share), &actors::OF_BOXES, "actions are choices");
    let keys = actors::unused(keys, &["net.critic_recurrent"], "critics are feed-forward");
    [keys, ChoiceCriticConfig::keys()].concat()
}

/// Refuses teams whose agents' choices cannot be counted: continuous ones, and more than `most` joint choices of one agent.
///
/// # Errors
/// [`ConfigError::Incompatible`].
pub fn check(algo: &str, team: &TeamSpec, settings: &Settings, most: usize) -> Result<(), ConfigError> {
    actors::check(algo, team, settings)?;
    let few = |a: &AgentSpec| {
        let joint = a.action.choices().iter().try_fold(1_usize, |all, n| all.checked_mul(*n));
        !a.action.is_continuous() && joint.is_some_and(|joint| joint <= most)
    };
    match team.agents.iter().find(|a| !few(a)) {
        Some(agent) => Err(ConfigError::Incompatible {
            algo: algo.to_owned(),
            task: team.task.clone(),
            why: format!(
                "it weighs every single action, and agent \"{}\" has {}: up to {most} discrete actions can be counted",
                agent.name,
                agent.action.describe()
            ),
        }),
        None => Ok(()),
    }
}

impl JointCritic {
    /// One per group of `groups`, each with `outputs` values or, where that is `None`, one for each own choice.
    ///
    /// # Errors
    /// Settings that do not fit.
    pub fn build(
        team: &Arc<TeamSpec>,
        groups: &[Vec<usize>],
        outputs: Option<usize>,
        settings: &Settings,
        reward: RewardMode,
        rng: &Stream,
    ) -> Result<Vec<Self>, ConfigError> {
        let (net, config, adam) = (NetConfig::read(settings)?, ChoiceCriticConfig::read(settings)?, AdamConfig::read(settings)?);
        let mask_dead = reward.ends_at_death(team, config.mask_dead);
        let engine = actors::engine(settings)?;
        let heads: Vec<Head> = team.agents.iter().map(|a| Head::for_space(&a.action, false, 1.0, 1.0)).collect();
        let one = |(g, members): (usize, &Vec<usize>)| {
            let obs = if config.critic_obs { team.agents[members[0]].obs.size() } else { 0 };
            let input = JointInput { team: Arc::clone(team), heads: heads.clone(), members: members.clone(), obs };
            let critic = ChoiceCritic::new(
                format!("critic of {}", team.names(members)),
                input.width(),
                outputs.unwrap_or_else(|| input.heads[members[0]].joint_choices()),
                actors::critic_spec(&net),
                config.clone(),
                adam.clone(),
                engine.clone(),
                &rng.fork(g as u64),
            );
            Self { input, mask_dead, critic }
        };
        Ok(groups.iter().enumerate().map(one).collect())
    }

    /// The agents that it serves.
    pub fn members(&self) -> &[usize] {
        &self.input.members
    }

    /// Agent `i` if its death ends its values ([`RewardMode::ends_at_death`]).
    pub fn ends_with(&self, i: usize) -> Option<usize> {
        self.mask_dead.then_some(i)
    }

    /// Which rows the critic learns from, `[members * rows]`: those of `active`, or of the dead too.
    pub fn counts(&self, roll: &Rollout, active: &[bool]) -> Vec<bool> {
        if self.mask_dead {
            return active.to_vec();
        }
        roll.valid_rows().repeat(self.members().len())
    }

    /// Inputs with the choices that the others made, `[members * moments, input]`; without choices where `others` is false.
    pub fn inputs(&self, moments: &Moments<'_>, others: bool) -> Vec<f32> {
        let (input, count) = (&self.input, moments.len());
        let width = input.width();
        let mut x = vec![0.0; input.members.len() * count * width];
        for (r, x) in x.chunks_exact_mut(width).enumerate() {
            let (member, moment) = (r / count, r % count);
            input.fill(moments, moment, member, x);
            for j in (0..input.team.n()).filter(|j| others && *j != input.members[member] && moments.alive(moment, *j)) {
                input.set(j, input.number(j, moments.action(moment, j)), x);
            }
        }
        x
    }

    /// The numbers of the members' own choices, `[members * moments]`.
    pub fn own(&self, moments: &Moments<'_>) -> Vec<usize> {
        let own = |i: usize| move |m: usize| if moments.alive(m, i) { self.input.number(i, moments.action(m, i)) } else { 0 };
        self.input.members.iter().flat_map(|&i| (0..moments.len()).map(own(i))).collect()
    }

    /// `max over a_-i of Q_i(s, a_-i, a_i)` for every own choice, `[members * moments, choices]`, exactly, over the others' available
    /// choices (all of them where `all` is true). With `tie > 0` the maximum is that of `Q - tie rank / (joint - 1)`, `rank` being the
    /// joint action's number in the team's order, the same for everybody: equally good joint actions are then told apart
    /// alike by all agents.
    pub fn best_responses(&self, pool: &Pool, moments: &Moments<'_>, target: bool, all: bool, tie: f64) -> Vec<f32> {
        let (input, count, n) = (&self.input, moments.len(), self.input.team.n());
        let sizes: Vec<usize> = input.heads.iter().map(Head::joint_choices).collect();
        let joint: usize = sizes.iter().product();
        let step = if joint > 1 { tie / (joint - 1) as f64 } else { 0.0 };
        let weight = |j: usize| sizes[j + 1..].iter().product::<usize>();
        let (width, mut best) = (input.width(), Vec::new());
        for (member, &i) in input.members.iter().enumerate() {
            let mut x = vec![0.0; count * width];
            x.chunks_exact_mut(width).enumerate().for_each(|(m, x)| input.fill(moments, m, member, x));
            let mut top = vec![f32::NEG_INFINITY; count * sizes[i]];
            for combination in 0..joint / sizes[i] {
                let (mut rest, mut rank, mut others) = (combination, 0, Vec::with_capacity(n));
                for j in (0..n).rev().filter(|j| *j != i) {
                    others.push((j, rest % sizes[j]));
                    rank += rest % sizes[j] * weight(j);
                    rest /= sizes[j];
                }
                let possible: Vec<usize> =
                    (0..count).filter(|m| others.iter().all(|&(j, c)| input.may(moments, *m, j, c, all))).collect();
                if possible.is_empty() {
                    continue;
                }
                let mut rows = Vec::with_capacity(possible.len() * width);
                for &m in &possible {
                    let x = &mut x[m * width..(m + 1) * width];
                    others.iter().filter(|(j, _)| moments.alive(m, *j)).for_each(|&(j, c)| input.set(j, c, x));
                    rows.extend_from_slice(x);
                }
                let values = if target { self.critic.target_values(pool, &rows) } else { self.critic.values(pool, &rows) };
                for (&m, values) in possible.iter().zip(values.chunks_exact(sizes[i])) {
                    for (a, (top, value)) in top[m * sizes[i]..].iter_mut().zip(values).enumerate() {
                        *top = top.max((f64::from(*value) - step * (rank + a * weight(i)) as f64) as f32);
                    }
                }
            }
            best.extend(top);
        }
        best
    }
}

impl JointInput {
    /// Whether agent `j` may make a choice. The dead make their first, which nobody sees.
    fn may(&self, moments: &Moments<'_>, moment: usize, j: usize, choice: usize, all: bool) -> bool {
        if !moments.alive(moment, j) {
            return choice == 0;
        }
        let mask = moments.avail(moment, j);
        let (mut at, mut stride) = (0, self.heads[j].joint_choices());
        all || self.team.agents[j].action.choices().iter().all(|&k| {
            stride /= k;
            at += k;
            mask[at - k + choice / stride % k]
        })
    }
}

//! HAD3QN: heterogeneous-agent dueling deep Q-learning over joint actions.
//!
//! Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25 (2024), code; Wang et al., "Dueling Network Architectures for
//! Deep Reinforcement Learning", ICML 2016.
//!
//! ```text
//! collect: each agent its best a by Q_i(o_i, .), at random with probability epsilon; keep transitions; then, once per step:
//!     draw a batch;  a'_i = argmax Q'_i(o'_i, .)
//!     y = R_n + gamma^m Q'(s', a'_1 .. a'_n);   fit  Q(s, a)  to  y
//!     a_j <- argmax Q_j(o_j, .) for all j;  draw a permutation i_1 .. i_n
//!     for m = 1 .. n:
//!         one step of  Q_{i_m}(o, b)  towards  Q(s, a_1 .. b .. a_n)  for every own action b
//!         a_{i_m} <- argmax Q_{i_m}(o, .)  with the new weights
//!     Q', Q'_i  follow  Q, Q_i  by target_update
//! ```
//!
//! So an agent learns what its own choices are worth beside what the others do now, those before it already moved; once the local
//! networks fit, nobody can gain by Q alone, which makes their greedy choice an equilibrium of Q.
//!
//! Deviations from the HARL code. There a local network learns the value of its *greedy* action only, and a_{i_m} becomes the best by
//! the central Q whether the agent does it or not (`algo.local_fit=greedy`): no network then learns that another action is
//! better, and what an agent is taught rests on moves that nobody makes, so that it can stop anywhere. Also, every copy of the
//! environment and every agent draws its own epsilon (there, all copies explore together); masks hold everywhere; the streams'
//! hidden layer has the trunk's activation instead of a hard swish. The central Q has one output a joint action, so teams with
//! more than [`crate::off_policy::joint::MAX_JOINT`] are refused.

use std::sync::Arc;

use motley_core::config::default_value;
use motley_core::{ConfigError, Key, Kind, Metrics, ObsSpace, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::dist::argmax;
use motley_nn::dueling::{Goal, Goals};
use motley_nn::policy::ActingGroup;
use motley_nn::{AdamConfig, Dueling, Explore, Head, NetSpec, Pool, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::actors::engine;
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext, but_for_room};
use crate::heterogeneous::happo::OrderConfig;
use crate::off_policy::batch::{Batch, Group, Layout, Side};
use crate::off_policy::ground::Ground;
use crate::off_policy::joint::JointActions;
use crate::off_policy::{self, OffNetConfig, net_spec};

settings! {
    /// Exploration and streams.
    pub struct DuelingConfig in "algo" {
        /// Probability of a random available action while collecting.
        epsilon: f64 = 0.05, Kind::Float(0.0, 1.0);
        /// Units of the hidden layer of each stream.
        stream_size: usize = 128, Kind::Int(1, 65_536);
        /// What local networks learn beside what others do: the values of `all` own actions, or, as the reference code, of the
        /// `greedy` one.
        local_fit: String = "all", Kind::Choice(&["all", "greedy"]);
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Had3qn;

impl AlgorithmSpec for Had3qn {
    fn name(&self) -> &'static str {
        "had3qn"
    }

    fn summary(&self) -> &'static str {
        "dueling Q-learning over joint actions, local values in sequence; small discrete teams"
    }

    fn paper(&self) -> &'static str {
        "Zhong et al., JMLR 2024"
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = [off_policy::keys(), DuelingConfig::keys(), OrderConfig::keys()].concat();
        keys.iter_mut().filter(|k| k.name == "algo.gamma").for_each(|k| k.default = default_value(0.95));
        keys
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        JointActions::new(self.name(), team)?;
        off_policy::check(self.name(), team, settings, self.own_reward(), false).map(|_| ())
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        but_for_room(self.check(team, settings))?;
        Ok(Box::new(Learner::new(self.name(), team, settings, self.own_reward(), rng)?))
    }
}

struct Learner {
    ground: Ground,
    dueling: DuelingConfig,
    order: OrderConfig,
    joint: JointActions,
    /// State rows that the central Q values.
    rows: Vec<usize>,
    central: Dueling,
    /// One per group, with its members.
    locals: Vec<(Vec<usize>, Dueling)>,
    agent_id: bool,
}

impl Learner {
    fn new(algo: &str, team: &Arc<TeamSpec>, settings: &Settings, own: RewardMode, rng: &Stream) -> Result<Self, ConfigError> {
        let reward = off_policy::check_but_for_room(algo, team, settings, own, false)?;
        let joint = JointActions::new(algo, team)?;
        let (net, adam, engine) = (OffNetConfig::read(settings)?, AdamConfig::read(settings)?, engine(settings)?);
        let dueling = DuelingConfig::read(settings)?;
        let make = |name: String, spec: NetSpec, actions: usize, id: u64| {
            Dueling::new(name, spec, dueling.stream_size, actions, adam.clone(), engine.clone(), &rng.fork(id))
        };
        let refuse = |why: String| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
        let mut locals = Vec::new();
        for (g, members) in team.groups(&net.share).map_err(refuse)?.into_iter().enumerate() {
            let name = team.names(&members);
            let extra = if net.agent_id && members.len() > 1 { members.len() } else { 0 };
            let spec = NetSpec { obs: team.agents[members[0]].obs.clone(), extra, ..net_spec(&net) };
            let local = make(name, spec, joint.sizes()[members[0]], g as u64);
            locals.push((members, local));
        }
        let groups = locals.iter().map(|(m, l)| Group::new(m.clone(), l.input_len(), net.agent_id && m.len() > 1)).collect();
        let heads = joint.sizes().iter().enumerate().map(|(i, n)| (i, Head::Categorical(vec![*n]))).collect();
        let spec = NetSpec { obs: ObsSpace::vector(team.state.row()), output_gain: 1.0, ..net_spec(&net) };
        let central = make("critic".into(), spec, joint.count(), 1_000_000);
        Ok(Self {
            ground: Ground::new(team, settings, reward, Layout::new(team, groups, heads))?,
            order: OrderConfig::read(settings)?,
            rows: (0..team.state.rows(team.n())).collect(),
            agent_id: net.agent_id,
            dueling,
            joint,
            central,
            locals,
        })
    }

    /// Writes the greedy choices of group `g`'s members by their network into `actions` (`[agents][rows]`); no-ops of the dead.
    fn choose(&self, pool: &Pool, side: &Side, g: usize, target: bool, actions: &mut [Vec<usize>]) {
        let ((members, local), group) = (&self.locals[g], &side.groups[g]);
        let (n, rows) = (self.joint.sizes()[members[0]], group.alive.len() / members.len());
        let values = local.values(pool, &group.x, group.alive.len(), target);
        for (m, i) in members.iter().enumerate() {
            let pick = |r: usize| match group.alive[r] {
                true => argmax(&values[r * n..(r + 1) * n], &group.mask[r * n..(r + 1) * n]),
                false => self.ground.team.agents[*i].noop.unwrap_or(0),
            };
            actions[*i] = (m * rows..(m + 1) * rows).map(pick).collect();
        }
    }

    /// Everybody's greedy choices, `[agents][rows]`.
    fn greedy(&self, pool: &Pool, side: &Side, target: bool) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); self.ground.team.n()];
        (0..self.locals.len()).for_each(|g| self.choose(pool, side, g, target, &mut all));
        all
    }

    /// What was done in row `b`, as a joint action.
    fn done(&self, batch: &Batch, b: usize) -> usize {
        let row = &batch.joint[b * self.ground.layout.joint..(b + 1) * self.ground.layout.joint];
        self.joint.number(self.ground.layout.blocks.iter().map(|at| row[at.clone()].iter().position(|x| *x == 1.0).unwrap_or(0)))
    }

    fn joint_of(&self, actions: &[Vec<usize>], b: usize) -> usize {
        self.joint.number(actions.iter().map(|a| a[b]))
    }

    /// The central Q's targets, and one step towards them.
    fn fit(&mut self, context: &UpdateContext<'_>, batch: &Batch) -> Result<Metrics, UpdateError> {
        let (pool, joints) = (context.pool, self.joint.count());
        let next = self.greedy(pool, &batch.next, true);
        let x = self.ground.layout.states(&batch.next, &self.rows);
        let values = self.central.values(pool, &x, self.rows.len() * batch.rows, true);
        let goals: Vec<Goal> = (0..self.rows.len() * batch.rows)
            .map(|r| {
                let (k, b) = (self.rows[r / batch.rows], r % batch.rows);
                let discount = self.ground.discount(batch, k, b);
                let future = if discount == 0.0 { 0.0 } else { discount * values[r * joints + self.joint_of(&next, b)] };
                let counts = self.ground.counts(batch, k, b);
                Goal { pick: self.done(batch, b), goal: batch.payment(b, k) + future, weight: f32::from(u8::from(counts)) }
            })
            .collect();
        let (x, lr) = (self.ground.layout.states(&batch.now, &self.rows), self.ground.critic_lr(context));
        self.central.fit(pool, &x, Goals::One(&goals), self.ground.config.regression(), lr)
    }

    /// Local networks in turn towards the central one, beside what everybody does now.
    fn climb(
        &mut self,
        context: &UpdateContext<'_>,
        batch: &Batch,
        rng: &Stream,
        metrics: &mut Metrics,
    ) -> Result<(), UpdateError> {
        let (pool, joints) = (context.pool, self.joint.count());
        let (lr, regression) = (self.ground.lr(context), self.ground.config.regression());
        let x = self.ground.layout.states(&batch.now, &self.rows);
        let central = self.central.values(pool, &x, self.rows.len() * batch.rows, false);
        let reference = self.dueling.local_fit == "greedy";
        let mut actions = self.greedy(pool, &batch.now, false);
        for (turn, g) in self.order.draw(self.locals.len(), rng).into_iter().enumerate() {
            let members = self.locals[g].0.clone();
            let (group, n) = (&batch.now.groups[g], self.joint.sizes()[members[0]]);
            let mut goal = Vec::with_capacity(group.mask.len());
            let mut weight = vec![0.0; group.mask.len()];
            for r in 0..group.alive.len() {
                let (i, b) = (members[r / batch.rows], r % batch.rows);
                // Agent i reads its own state row where it has one.
                let row = if self.rows.len() == 1 { b } else { i * batch.rows + b };
                let values = &central[row * joints..(row + 1) * joints];
                goal.extend(self.joint.beside(values, self.joint_of(&actions, b), i));
                for a in (0..n).filter(|a| group.alive[r] && group.mask[r * n + a]) {
                    weight[r * n + a] = f32::from(u8::from(!reference || a == actions[i][b]));
                }
            }
            let (_, local) = &mut self.locals[g];
            let goals = Goals::All { goal: &goal, weight: &weight };
            metrics.merge(&format!("loss/{}/", local.name()), &local.fit(pool, &group.x, goals, regression, lr)?);
            if turn + 1 == self.locals.len() {
                break;
            }
            if !reference {
                self.choose(pool, &batch.now, g, false, &mut actions);
                continue;
            }
            for r in (0..group.alive.len()).filter(|r| group.alive[*r]) {
                let own = r * n..(r + 1) * n;
                actions[members[r / batch.rows]][r % batch.rows] = argmax(&goal[own.clone()], &group.mask[own]);
            }
        }
        Ok(())
    }
}

impl Algorithm for Learner {
    fn rollout_steps(&self) -> usize {
        self.ground.memory.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        let explore = self.ground.explore(Explore::Epsilon(self.dueling.epsilon as f32));
        let group = |(members, local): &(Vec<usize>, Dueling)| ActingGroup {
            constants: Vec::new(),
            last_action: false,
            net: local.acting(),
            head: Head::Categorical(vec![self.joint.sizes()[members[0]]]),
            agent_id: self.agent_id && members.len() > 1,
            memory_at: vec![0..0; members.len()],
            members: members.clone(),
            explore,
        };
        TeamPolicy::new(Arc::clone(&self.ground.team), self.locals.iter().map(group).collect())
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let mut metrics = Metrics::new();
        for k in self.ground.due(roll) {
            let rng = context.rng.fork(k);
            let batch = self.ground.batch(context.pool, &rng.fork(0))?;
            metrics.merge("loss/critic/", &self.fit(context, &batch)?);
            self.climb(context, &batch, &rng.fork(2), &mut metrics)?;
            let step = self.ground.next_stride();
            self.central.move_target(step);
            self.locals.iter_mut().for_each(|(_, local)| local.move_target(step));
        }
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        for (g, (_, local)) in self.locals.iter().enumerate() {
            local.save(&mut w.scope(&format!("actor.{g}")));
        }
        self.central.save(&mut w.scope("critic"));
        self.ground.save(w);
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        for (g, (_, local)) in self.locals.iter_mut().enumerate() {
            local.load(&r.scope(&format!("actor.{g}")))?;
        }
        self.central.load(&r.scope("critic"))?;
        self.ground.load(r)
    }
}

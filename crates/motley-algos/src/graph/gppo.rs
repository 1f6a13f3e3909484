//! GPPO and HetGPPO: PPO whose agents hear their neighbours, with one policy for all or one for each.
//!
//! Bettini, Shankar, Prorok, "Heterogeneous Multi-Robot Reinforcement Learning", AAMAS 2023.
//!
//! ```text
//! collect a rollout with pi; agent i reads  z_i ‖ sum over heard j of phi_i(z_j ‖ e_ij)
//! for every agent i: advantages A^i from its own reward and its own V^i (which hears the same neighbours)
//! for every group, all from the same pi, several passes of minibatches:
//!     climb  E[ min( r A, clip(r, 1 - eps, 1 + eps) A ) + c_ent H - beta KL(pi_old || pi) ],   r = pi^i / pi_old^i
//!     fit V
//! beta <- 1.5 beta where the KL came out above twice its target, 0.5 beta below half of it
//! ```
//!
//! GPPO shares everything (`net.share = "all"`), HetGPPO nothing; nothing else differs. The other members of the family, by flags:
//!
//! | who | hears | values |
//! |---|---|---|
//! | IPPO, HetIPPO | nobody: `net.trunk = "mlp"` | its own observation |
//! | MAPPO | nobody | the state: `algo.critic = "state"` |
//! | GAPPO | neighbours | the state |
//! | CPPO | decides for all from all observations: `algo.actor = "central"`, `net.trunk = "mlp"` | either |
//!
//! `algo.shared_critic` lets policy and value share messages and hidden layers, as the reference does.
//!
//! Deviations from the reference code: actions of boxes are squashed by tanh (there clipped), the divergence is its unbiased estimate
//! `r - 1 - ln r` on the drawn actions, the value's error has half of its square (take `algo.value_coef = 2` for its weight), a critic on
//! the state is told the agent and puts out its value (there the values of all at once), CPPO has one ratio, that of the joint action
//! (there one an agent).

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, StateSpace, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::objective::{ClipKlDrift, MAX_LOG_RATIO};
use motley_nn::{ActorRows, Besides, CriticConfig, Objective, Source, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};
use toml::Value;

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::on_policy::{self, OnPolicy, Passes, PpoConfig};
use crate::schedule;

settings! {
    /// What graph PPO has beyond PPO.
    pub struct GraphPpoConfig in "algo" {
        /// First weight of the divergence from the old policy; 0 leaves it out.
        kl_coef: f64 = 0.01, Kind::Float(0.0, 1e6);
        /// The divergence of an update that the weight is adapted to.
        kl_target: f64 = 0.01, Kind::Float(1e-9, 1e6);
        /// What critics read: the agent's `graph` (GPPO), or the `state` (GAPPO, MAPPO).
        critic: String = "graph", Kind::Choice(&["graph", "state"]);
        /// Who decides: every agent by its `own` policy, or one `central` actor for all from all observations (CPPO).
        actor: String = "own", Kind::Choice(&["own", "central"]);
        /// One network for policy and value, messages included; the critic's own settings but for its loss then say nothing.
        shared_critic: bool = false, Kind::Bool;
        /// Unshared networks start as copies of the first (the reference), or each by itself.
        start_equal: bool = true, Kind::Bool;
        /// First update with the entropy bonus.
        entropy_from: u64 = 0, Kind::Int(0, i64::MAX);
        /// First update without it again; 0: never.
        entropy_until: u64 = 0, Kind::Int(0, i64::MAX);
    }
}

/// GPPO or HetGPPO: they differ in the default of `net.share` alone.
#[derive(Debug)]
pub struct Gppo {
    name: &'static str,
    summary: &'static str,
    share: &'static str,
}

/// One policy for all.
pub const GPPO: Gppo = Gppo { name: "gppo", summary: "PPO with messages over a graph, one policy for all", share: "all" };

/// A policy for each.
pub const HETGPPO: Gppo =
    Gppo { name: "hetgppo", summary: "PPO with messages over a graph, a policy for each agent", share: "none" };

/// The reference's settings.
fn defaults() -> Vec<(&'static str, Value)> {
    vec![
        ("net.trunk", "gnn".into()),
        ("net.activation", "tanh".into()),
        ("net.feature_norm", false.into()),
        ("net.layer_norm", false.into()),
        ("net.distribution", "tanh_gaussian".into()),
        ("algo.lr", 5e-5.into()),
        ("algo.critic_lr", 5e-5.into()),
        ("algo.gae_lambda", 0.9.into()),
        ("algo.normalize_by", "agent".into()),
        ("algo.max_grad_norm", 40.0.into()),
        ("algo.entropy_coef", 0.0.into()),
        ("algo.value_norm", "none".into()),
        ("algo.value_loss", "squared".into()),
        ("algo.value_clip", 0.0.into()),
    ]
}

impl Gppo {
    /// What critics read. Where agents are paid apart, a state of the whole team is read with the agent's one-hot.
    fn source(&self, team: &TeamSpec, settings: &Settings) -> Result<Source, ConfigError> {
        if GraphPpoConfig::read(settings)?.critic != "state" {
            return Ok(Source::Obs);
        }
        let reward = RewardMode::resolve(&settings.get::<String>("task.reward")?, team, self.own_reward())?;
        let apart = reward == RewardMode::Own && matches!(team.state, StateSpace::Ep(_));
        Ok(if apart { Source::EachState } else { Source::State })
    }
}

/// Flags that exclude each other.
fn check_flags(algo: &str, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
    let config = GraphPpoConfig::read(settings)?;
    let refuse = |key: &str, expected: &str| -> Result<(), ConfigError> {
        Err(ConfigError::Value { key: key.into(), expected: expected.into(), found: settings.value(key)?.to_string() })
    };
    if config.actor == "central" {
        let why = |why| ConfigError::Incompatible { algo: algo.to_owned(), task: team.task.clone(), why };
        team.as_one().map_err(why)?;
        if settings.get::<String>("net.trunk")? != "mlp" {
            return refuse("net.trunk", "mlp with algo.actor=central, which reads everything without messages");
        }
    }
    if !config.shared_critic {
        return Ok(());
    }
    if config.actor == "central" {
        return refuse("algo.shared_critic", "false with algo.actor=central, whose rows belong to no one agent");
    }
    if config.critic == "state" {
        return refuse("algo.shared_critic", "false with algo.critic=state: the network that acts does not read the state");
    }
    if settings.get::<bool>("net.recurrent")? {
        return refuse("algo.shared_critic", "false with net.recurrent=true");
    }
    let critic = CriticConfig::read(settings)?;
    if critic.value_norm != "none" {
        return refuse("algo.value_norm", "none with algo.shared_critic=true");
    }
    if critic.target_update > 0.0 {
        return refuse("algo.target_update", "0 with algo.shared_critic=true");
    }
    Ok(())
}

impl AlgorithmSpec for Gppo {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn paper(&self) -> &'static str {
        "Bettini, Shankar, Prorok, AAMAS 2023"
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = [on_policy::keys(self.share), PpoConfig::keys(), GraphPpoConfig::keys()].concat();
        for (name, value) in defaults() {
            keys.iter_mut().filter(|k| k.name == name).for_each(|k| k.default = value.clone());
        }
        keys
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Own
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        check_flags(self.name, team, settings)?;
        on_policy::check(self.name, team, settings, self.source(team, settings)?, self.own_reward())
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        let config = GraphPpoConfig::read(settings)?;
        check_flags(self.name, team, settings)?;
        let source = self.source(team, settings)?;
        let mut core = OnPolicy::new(self.name, team, settings, source, self.own_reward(), rng)?;
        if config.actor == "central" {
            core = core.decide_centrally(self.name, settings, rng)?;
        }
        if config.shared_critic {
            core = core.share_networks(settings, rng)?;
        }
        if config.start_equal {
            core.start_equal();
        }
        let (ppo, value) = (PpoConfig::read(settings)?, CriticConfig::read(settings)?);
        Ok(Box::new(GraphPpo { core, ppo, value, kl_coef: config.kl_coef, config, updates: 0 }))
    }
}

struct GraphPpo {
    core: OnPolicy,
    ppo: PpoConfig,
    value: CriticConfig,
    config: GraphPpoConfig,
    kl_coef: f64,
    updates: u64,
}

impl GraphPpo {
    fn entropy_coef(&self) -> f32 {
        let (from, until) = (self.config.entropy_from, self.config.entropy_until);
        let open = self.updates >= from && (until == 0 || self.updates < until);
        if open { self.ppo.entropy_coef as f32 } else { 0.0 }
    }
}

/// Mean of `r - 1 - ln r` over active rows: the divergence of the new policy, unbiased (Schulman's k3).
fn divergence(now: &[f32], rows: &ActorRows) -> f64 {
    let moved = now.iter().zip(&rows.old).zip(&rows.active).filter(|(_, active)| **active);
    let (mut sum, mut count) = (0.0, 0.0);
    for ((now, old), _) in moved {
        let log_ratio = f64::from((now - old).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO));
        sum += log_ratio.exp() - 1.0 - log_ratio;
        count += 1.0;
    }
    if count > 0.0 { sum / count } else { 0.0 }
}

impl Algorithm for GraphPpo {
    fn rollout_steps(&self) -> usize {
        self.core.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.core.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let (pool, clip, entropy_coef) = (context.pool, self.ppo.clip as f32, self.entropy_coef());
        let (shared, value) = (self.config.shared_critic, &self.value);
        let core = &mut self.core;
        let estimates = core.estimate(pool, roll)?;
        let objective = match self.kl_coef {
            0.0 => Objective::PpoClip { clip },
            kl => Objective::Drifting(Arc::new(ClipKlDrift { clip, kl: kl as f32 })),
        };
        let (epochs, cut, lr) = (self.ppo.ppo_epochs, core.cut(self.ppo.minibatches), core.lr(context.progress));
        let passes = Passes { epochs, cut, objective, entropy_coef, lr };
        let mut moved = Vec::new();
        let mut metrics = schedule::simultaneous(core, roll, &estimates, |g, actor, rows, advantage| {
            let rng = context.rng.fork(1 + g as u64);
            let besides = if shared { Besides::Value(estimates.goal(g, value)) } else { Besides::Nothing };
            let m = passes.run_with(actor, pool, roll, rows, advantage, besides, &rng)?;
            moved.push(divergence(&actor.log_probs(pool, roll, rows), rows));
            Ok(m)
        })?;
        metrics.merge("", &core.fit_critics(roll, &estimates, context)?);
        let kl = moved.iter().sum::<f64>() / moved.len().max(1) as f64;
        metrics.add("loss/update_kl", kl);
        metrics.add("loss/kl_coef", self.kl_coef);
        if kl > 2.0 * self.config.kl_target {
            self.kl_coef = (1.5 * self.kl_coef).min(1e6);
        } else if kl < 0.5 * self.config.kl_target {
            self.kl_coef *= 0.5;
        }
        self.updates += 1;
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.core.save(w);
        w.put_f64("kl_coef", &[self.kl_coef]);
        w.put_u64("updates", &[self.updates]);
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.core.load(r)?;
        self.kl_coef = r.f64("kl_coef")?;
        self.updates = r.u64("updates")?;
        Ok(())
    }
}

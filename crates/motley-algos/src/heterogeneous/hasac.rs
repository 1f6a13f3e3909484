//! HASAC: heterogeneous-agent soft actor-critic.
//!
//! Liu et al., "Maximum Entropy Heterogeneous-Agent Reinforcement Learning", ICLR 2024; Haarnoja et al., "Soft Actor-Critic
//! Algorithms and Applications", 2018.
//!
//! ```text
//! collect with a ~ pi(o); keep transitions; then, once per step of all environments:
//!     draw a batch;  a'_i ~ pi_i(o'_i)
//!     y = R_n + gamma^m [ min(Q'_1, Q'_2)(s', a') - alpha_c sum_i log pi_i(a'_i | o'_i) ]
//!     fit  Q_1(s, a)  and  Q_2(s, a)  to  y
//!     a_j ~ pi_j(o_j) for all j;  draw a permutation i_1 .. i_n
//!     for m = 1 .. n:
//!         one step of pi_{i_m} up  E[ min(Q_1, Q_2)(s, a) - alpha_{i_m} log pi_{i_m}(a_{i_m} | o) ]
//!         a_{i_m} ~ pi_{i_m}(o) with the new weights
//!     log alpha_i  down  -log alpha_i (log pi_i + H_i);  log alpha_c  the same with sums over agents
//!     Q'  follows  Q  by target_update
//! ```
//!
//! Boxes have tanh-normal policies, choices the straight-through Gumbel-softmax. `H_i` is `-dim` for a box and
//! `target_entropy ln |available|` for choices (0 as the published results had it). Deviations from the HARL code: the
//! log-probability holds the box's scale and `-dim` is shifted by it, so that `H_i` means the same; the last hidden layer is squashed
//! only by `net.last_activation=tanh`; where targets are normalised the actors climb denormalised values (`algo.climb_normalized`);
//! where agents are paid apart, values end at an agent's death (`algo.mask_dead`); next masks are the true final ones (`algo.next_masks`). The rewards
//! within an n-step return carry no entropy, as in the code.

use std::sync::Arc;

use motley_core::config::default_value;
use motley_core::{ActionSpace, ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::action_critic::Climb;
use motley_nn::dist::ln_half_width;
use motley_nn::{Adam, AdamConfig, Explore, Noise, TeamPolicy, UpdateError, ValueNorm};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::heterogeneous::happo::OrderConfig;
use crate::off_policy::batch::Batch;
use crate::off_policy::{self, Ascent, Drawn, OffPolicy, Shape, Who};

/// Temperatures stay within these bounds.
const ALPHA: (f32, f32) = (1e-8, 1e4);

settings! {
    /// Entropy, its weight and its goal.
    pub struct SoftConfig in "algo" {
        /// Temperatures follow the goal of entropy.
        auto_alpha: bool = true, Kind::Bool;
        /// Temperature, or where it starts.
        alpha: f64 = 1.0, Kind::Float(1e-8, 1e4);
        /// Learning rate of temperatures.
        alpha_lr: f64 = 3e-4, Kind::Float(0.0, 1.0);
        /// Choices: goal of entropy as a share of the largest, ln of the available choices.
        target_entropy: f64 = 0.0, Kind::Float(0.0, 1.0);
        /// Choices: temperature of the Gumbel-softmax in the actors' gradient.
        gumbel_temperature: f64 = 1.0, Kind::Float(1e-3, 1e3);
        /// Critics learn targets normalised by their running mean and deviation.
        normalize_targets: bool = false, Kind::Bool;
        /// With normalised targets: actors climb the normalised values, as the reference code's do, not those in the units of the
        /// rewards, beside which `alpha` means the same at any scale.
        climb_normalized: bool = false, Kind::Bool;
        /// Which actions are open after a time limit's cut: those of the episode's `final` frame, or, as in the reference code,
        /// those after the `reset`.
        next_masks: String = "final", Kind::Choice(&["final", "reset"]);
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Hasac;

impl AlgorithmSpec for Hasac {
    fn name(&self) -> &'static str {
        "hasac"
    }

    fn summary(&self) -> &'static str {
        "sequential soft actor-critic: maximum entropy for unlike agents"
    }

    fn paper(&self) -> &'static str {
        "Liu et al., ICLR 2024"
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = [off_policy::actor_keys(), SoftConfig::keys(), OrderConfig::keys()].concat();
        for key in &mut keys {
            match key.name.as_str() {
                "net.hidden_sizes" => key.default = default_value(vec![256_i64, 256]),
                "algo.n_step" => key.default = default_value(20),
                "algo.critic_lr" => key.default = default_value(5e-4),
                _ => {}
            }
        }
        keys
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        off_policy::check_actors(self.name(), team, settings, self.own_reward(), false).map(|_| ())
    }

    fn learns_from_older(&self, _settings: &Settings) -> Result<bool, ConfigError> {
        Ok(true)
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        let soft = SoftConfig::read(settings)?;
        let norm = soft.normalize_targets.then(|| ValueNorm::new(false));
        let shape = Shape { twins: 2, stochastic: true, per_agent: false, norm };
        let mut core = OffPolicy::new(self.name(), team, settings, self.own_reward(), &shape, rng)?;
        core.deviate(soft.next_masks == "reset", soft.climb_normalized);
        // Steps of a temperature are Adam's own, whatever the networks' clip and decay.
        let adam = AdamConfig { weight_decay: 0.0, max_grad_norm: 0.0, ..AdamConfig::read(settings)? };
        let temperature = || Temperature::new(soft.alpha as f32, adam.clone());
        Ok(Box::new(Learner {
            team: Arc::clone(team),
            alphas: core.actors.iter().map(|_| temperature()).collect(),
            critic_alpha: temperature(),
            order: OrderConfig::read(settings)?,
            core,
            soft,
        }))
    }
}

/// A weight of entropy, learned in its logarithm.
struct Temperature {
    log: [f32; 1],
    adam: Adam,
}

impl Temperature {
    fn new(alpha: f32, adam: AdamConfig) -> Self {
        Self { log: [alpha.ln()], adam: Adam::new(1, adam) }
    }

    fn alpha(&self) -> f32 {
        self.log[0].exp()
    }

    /// One step down `-log alpha (log pi + H)`, given the mean of the bracket; bounded, and says whether it was.
    fn step(&mut self, gap: f64, lr: f64) -> Result<bool, UpdateError> {
        self.adam.step("temperature", &mut self.log, &[-gap as f32], lr)?;
        let free = self.log[0];
        self.log[0] = free.clamp(ALPHA.0.ln(), ALPHA.1.ln());
        Ok(self.log[0] != free)
    }

    fn save(&self, w: &mut StateWriter) {
        w.put_f32("log_alpha", &self.log);
        self.adam.save(&mut w.scope("adam"));
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        r.f32s_into("log_alpha", &mut self.log)?;
        self.adam.load(&r.scope("adam"))
    }
}

struct Learner {
    core: OffPolicy,
    team: Arc<TeamSpec>,
    soft: SoftConfig,
    alphas: Vec<Temperature>,
    critic_alpha: Temperature,
    order: OrderConfig,
}

impl Learner {
    /// `-alpha_c sum_i log pi_i` of every row, the dead left out.
    fn bonus(&self, batch: &Batch, drawn: &[Drawn]) -> Vec<f32> {
        let mut bonus = vec![0.0; batch.rows];
        for group in drawn {
            group.log_probs.iter().enumerate().for_each(|(r, l)| bonus[r % batch.rows] -= self.critic_alpha.alpha() * l);
        }
        bonus
    }

    /// The goal of agent `i`'s entropy in row `r` of its group.
    fn goal(&self, batch: &Batch, g: usize, i: usize, r: usize) -> f64 {
        match &self.team.agents[i].action {
            // The density is over the box, not over (-1, 1).
            ActionSpace::Box { low, high } => low.iter().zip(high).map(|(l, h)| -1.0 + f64::from(ln_half_width(*l, *h))).sum(),
            space => {
                let side = &batch.now.groups[g];
                let mut mask = &side.mask[r * space.mask_len()..(r + 1) * space.mask_len()];
                let mut total = 0.0;
                for n in space.choices() {
                    let (choice, rest) = mask.split_at(*n);
                    total += (choice.iter().filter(|open| **open).count().max(1) as f64).ln();
                    mask = rest;
                }
                self.soft.target_entropy * total
            }
        }
    }

    /// One step of every temperature, by what the actors drew; the critic's by the sum over agents.
    fn cool(&mut self, batch: &Batch, drawn: &[Drawn], metrics: &mut Metrics) -> Result<(), UpdateError> {
        let (mut total, mut hits) = (vec![0.0; batch.rows], 0);
        for (g, group) in drawn.iter().enumerate() {
            let (mut sum, mut living) = (0.0, 0_usize);
            for (r, log_prob) in group.log_probs.iter().enumerate().filter(|(r, _)| batch.now.groups[g].alive[*r]) {
                let i = self.core.actors[g].members[r / batch.rows];
                let gap = f64::from(*log_prob) + self.goal(batch, g, i, r);
                (sum, living) = (sum + gap, living + 1);
                total[r % batch.rows] += gap;
            }
            if living > 0 {
                hits += usize::from(self.alphas[g].step(sum / living as f64, self.soft.alpha_lr)?);
            }
            metrics.add(&format!("loss/{}/alpha", self.core.actors[g].name), self.alphas[g].alpha().into());
        }
        hits += usize::from(self.critic_alpha.step(total.iter().sum::<f64>() / batch.rows as f64, self.soft.alpha_lr)?);
        metrics.add("loss/critic/alpha", self.critic_alpha.alpha().into());
        metrics.add("loss/alpha_bounds_hit", hits as f64);
        Ok(())
    }
}

impl Algorithm for Learner {
    fn rollout_steps(&self) -> usize {
        self.core.ground.memory.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.core.policy(Explore::Draw)
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let (pool, lr, gumbel) = (context.pool, self.core.ground.lr(context), self.soft.gumbel_temperature as f32);
        let mut metrics = Metrics::new();
        for k in self.core.ground.due(roll) {
            let rng = context.rng.fork(k);
            let batch = self.core.ground.batch(pool, &rng.fork(0))?;
            let mut next = batch.joint.clone();
            let drawn = self.core.act(pool, &batch, Who::Online, true, Noise::Policy, &rng.fork(1), &mut next);
            let y = self.core.targets(pool, &batch, &next, Some(&self.bonus(&batch, &drawn)));
            self.core.fit(context, &batch, &y, &mut metrics)?;
            let Self { core, alphas, .. } = self;
            let ascent = |g: usize| Ascent { climb: Climb::Least, alpha: alphas[g].alpha(), gumbel, logit_penalty: 0.0, lr };
            let order = self.order.draw(core.actors.len(), &rng.fork(2));
            let drawn = core.climb_in_order(pool, &batch, &order, ascent, &rng.fork(3), &mut metrics)?;
            if self.soft.auto_alpha {
                self.cool(&batch, &drawn, &mut metrics)?;
            }
            self.core.move_targets(pool);
        }
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.core.save(w);
        for (g, alpha) in self.alphas.iter().enumerate() {
            alpha.save(&mut w.scope(&format!("alpha.{g}")));
        }
        self.critic_alpha.save(&mut w.scope("alpha.critic"));
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.core.load(r)?;
        for (g, alpha) in self.alphas.iter_mut().enumerate() {
            alpha.load(&r.scope(&format!("alpha.{g}")))?;
        }
        self.critic_alpha.load(&r.scope("alpha.critic"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// N8: whatever the entropy does, the temperature stays within its bounds, and says when it meets them.
    #[test]
    fn temperatures_do_not_run_away() {
        for gap in [-1e6, 1e6] {
            let config = AdamConfig { optimizer: "adam".into(), adam_eps: 1e-8, weight_decay: 0.0, max_grad_norm: 0.0 };
            let mut alpha = Temperature::new(1.0, config);
            let hits = (0..2000).filter(|_| alpha.step(gap, 0.05).unwrap()).count();
            assert!(hits > 0 && (0.99e-8..1.01e4).contains(&alpha.alpha()), "{} after {hits} hits", alpha.alpha());
        }
    }
}

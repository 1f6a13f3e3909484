//! HATRPO: heterogeneous-agent trust-region policy optimisation.
//!
//! Kuba et al., "Trust Region Policy Optimisation in Multi-Agent Reinforcement Learning", ICLR 2022 (Algorithm 3);
//! Zhong et al., JMLR 25 (2024).
//!
//! ```text
//! as HAPPO, but each agent makes one step:
//!     g <- grad E[ r M ]                                   at r = 1, without entropy
//!     x <- conjugate gradients for (F + damping I) x = g
//!     step <- x sqrt( 2 delta / x^T (F + damping I) x )
//!     theta <- theta_old + c^j step  for the first j = 0, 1, .. with
//!         KL <= delta,  improvement > 0,  improvement / (c^j g^T step) > accept_ratio
//!     no such j: theta_old is restored to the bit
//! ```
//!
//! `F v = J^T M J v` needs no second derivatives: `J v` by a forward-mode pass (for convolutions and messages a central difference of two
//! passes), `M` the closed-form curvature of the divergence, `J^T` one backward pass.
//! Deviations from the HARL code: the true KL for categoricals (`algo.kl=harl` is the reference's, see
//! [`motley_nn::dist::KlKind`]), dead agents do not count in the KL, and those of [`crate::heterogeneous::happo`].

use std::sync::Arc;

use motley_core::{ConfigError, Key, Kind, Metrics, Settings, Stream, TeamSpec, settings};
use motley_data::rollout::Rollout;
use motley_nn::dist::KlKind;
use motley_nn::optim::MAX_SKIPS;
use motley_nn::{Actor, ActorRows, Cut, Pick, Pool, Source, TeamPolicy, UpdateError};
use motley_run::{CheckpointError, StateReader, StateWriter};

use crate::actors;
use crate::algorithm::{Algorithm, AlgorithmSpec, RewardMode, UpdateContext};
use crate::heterogeneous::happo::OrderConfig;
use crate::on_policy::{self, OnPolicy};
use crate::schedule::{self, FactorConfig};
use crate::trust_region::{Solution, conjugate_gradient, dot};

settings! {
    /// The trust region.
    pub struct TrustConfig in "algo" {
        /// Largest mean divergence of one agent's step, delta.
        kl_threshold: f64 = 0.01, Kind::Float(1e-9, 10.0);
        /// Steps of the line search.
        line_search_steps: usize = 10, Kind::Int(1, 1000);
        /// Least share of the linear prediction that an accepted step must gain.
        accept_ratio: f64 = 0.5, Kind::Float(0.0, 1.0);
        /// Factor between steps of the line search.
        backtrack: f64 = 0.8, Kind::Float(0.01, 0.999);
        /// Added to the Fisher matrix's diagonal.
        damping: f64 = 0.1, Kind::Float(0.0, 100.0);
        /// Iterations of the conjugate gradient.
        cg_iterations: usize = 10, Kind::Int(1, 1000);
        /// Divergence over discrete actions: `true`, or the reference code's own (`harl`).
        kl: String = "true", Kind::Choice(&["true", "harl"]);
    }
}

/// The registered algorithm.
#[derive(Debug)]
pub struct Hatrpo;

impl AlgorithmSpec for Hatrpo {
    fn name(&self) -> &'static str {
        "hatrpo"
    }

    fn summary(&self) -> &'static str {
        "sequential trust-region steps: natural gradient, line search, monotone improvement"
    }

    fn paper(&self) -> &'static str {
        "Kuba et al., ICLR 2022; Zhong et al., JMLR 2024"
    }

    fn keys(&self) -> Vec<Key> {
        let keys = actors::unused(on_policy::keys("none"), &["algo.lr"], "actors take trust-region steps");
        [keys, TrustConfig::keys(), OrderConfig::keys(), FactorConfig::keys()].concat()
    }

    fn own_reward(&self) -> RewardMode {
        RewardMode::Sum
    }

    fn check(&self, team: &TeamSpec, settings: &Settings) -> Result<(), ConfigError> {
        on_policy::check(self.name(), team, settings, Source::State, self.own_reward())
    }

    fn build(&self, team: &Arc<TeamSpec>, settings: &Settings, rng: &Stream) -> Result<Box<dyn Algorithm>, ConfigError> {
        let core = OnPolicy::new(self.name(), team, settings, Source::State, self.own_reward(), rng)?;
        Ok(Box::new(Learner {
            skips: vec![0; core.actors.len()],
            core,
            trust: TrustConfig::read(settings)?,
            order: OrderConfig::read(settings)?,
            factor: FactorConfig::read(settings)?,
        }))
    }
}

struct Learner {
    core: OnPolicy,
    trust: TrustConfig,
    order: OrderConfig,
    factor: FactorConfig,
    /// Of each group: steps in a row whose gradient was not finite.
    skips: Vec<u64>,
}

impl Algorithm for Learner {
    fn rollout_steps(&self) -> usize {
        self.core.rollout_steps()
    }

    fn policy(&self) -> TeamPolicy {
        self.core.policy()
    }

    fn update(&mut self, roll: &Rollout, context: &UpdateContext<'_>) -> Result<Metrics, UpdateError> {
        let Self { core, trust, order, factor, skips } = self;
        let pool = context.pool;
        let estimates = core.estimate(pool, roll)?;
        let order = order.draw(core.actors.len(), &context.rng.fork(0));
        // Recurrent networks are differentiated through the whole rollout, as the divergence is measured.
        let cut = core.cut(1);
        let whole = Cut { chunk: if cut.chunk > 0 { roll.steps() } else { 0 }, ..cut };
        let whole = whole.pass(roll.envs(), roll.steps(), context.rng.fork(1))?.remove(0);
        let mut metrics = schedule::sequential(core, pool, roll, &estimates, (&order, factor), |g, actor, rows, weight| {
            let step = trust_region_step(actor, pool, roll, rows, &whole, weight, trust);
            let norm = step.mean("grad_norm").unwrap_or(0.0);
            skips[g] = if norm.is_finite() { 0 } else { skips[g] + 1 };
            if skips[g] >= u64::from(MAX_SKIPS) {
                return Err(UpdateError::Diverged { network: actor.name.clone(), norm });
            }
            Ok(step)
        })?;
        metrics.merge("", &core.fit_critics(roll, &estimates, context)?);
        Ok(metrics)
    }

    fn save(&self, w: &mut StateWriter) {
        self.core.save(w);
        w.put_u64("skips", &self.skips);
    }

    fn load(&mut self, r: &StateReader) -> Result<(), CheckpointError> {
        self.core.load(r)?;
        // Checkpoints of the first builds do not have it.
        if r.has("skips") { r.u64s_into("skips", &mut self.skips) } else { Ok(()) }
    }
}

/// One agent's step. A gradient that is 0 or not finite, or curvature that is not positive, leaves the parameters as they are.
pub fn trust_region_step(
    actor: &mut Actor,
    pool: &Pool,
    roll: &Rollout,
    rows: &ActorRows,
    whole: &Pick,
    weight: &[f32],
    trust: &TrustConfig,
) -> Metrics {
    let kind = if trust.kl == "harl" { KlKind::HarlK3 } else { KlKind::True };
    let mut metrics = Metrics::new();
    metrics.add("trust_region_rejected", 1.0);
    if !rows.active.contains(&true) {
        return metrics;
    }
    let start = actor.net.params().to_vec();
    let old = actor.old_policy(pool, roll, rows);
    let (before, _) = actor.surrogate_and_kl(pool, roll, rows, weight, &old, kind);
    let g: Vec<f64> = actor.surrogate_gradient(pool, roll, rows, whole, weight).iter().map(|x| f64::from(*x)).collect();
    metrics.add("grad_norm", dot(&g, &g).sqrt());
    let mut fisher = |v: &[f64]| -> Vec<f64> {
        let narrow: Vec<f32> = v.iter().map(|x| *x as f32).collect();
        let product = actor.fisher_product(pool, roll, rows, whole, &old, &narrow, kind);
        product.iter().zip(v).map(|(p, v)| f64::from(*p) + trust.damping * v).collect()
    };
    let Solution { x, image } = conjugate_gradient(&mut fisher, &g, trust.cg_iterations, 1e-10);
    let curvature = dot(&x, &image);
    let scale = (2.0 * trust.kl_threshold / curvature).sqrt();
    let expected = scale * dot(&g, &x);
    if !(curvature > 0.0 && expected.is_finite() && expected > 0.0) {
        return metrics;
    }
    for j in 0..trust.line_search_steps {
        let length = trust.backtrack.powi(j as i32);
        actor.net.set_params(|p| {
            for (p, (s, x)) in p.iter_mut().zip(start.iter().zip(&x)) {
                *p = (f64::from(*s) + length * scale * x) as f32;
            }
        });
        let (after, kl) = actor.surrogate_and_kl(pool, roll, rows, weight, &old, kind);
        let (gain, kl) = (after - before, kl.mean);
        if kl <= trust.kl_threshold && gain > 0.0 && gain / (expected * length) > trust.accept_ratio {
            let mut accepted = Metrics::new();
            accepted.add("trust_region_rejected", 0.0);
            accepted.add("grad_norm", dot(&g, &g).sqrt());
            accepted.add("policy", -after);
            accepted.add("kl", kl);
            accepted.add("line_search_steps", j as f64 + 1.0);
            return accepted;
        }
    }
    actor.net.set_params(|p| p.copy_from_slice(&start));
    metrics
}

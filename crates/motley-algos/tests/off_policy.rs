//! Off-policy actor-critics against the textbook: targets, and the gradients that real steps take, from saved weights with plain
//! sums in f64 and central differences.

#![allow(clippy::unwrap_used, clippy::disallowed_types, reason = "helpers of tests")]

mod common;

use common::{Bench, Field, SMALL, STATE, Toy, settings};
use motley_algos::off_policy::{self, Ascent, Drawn, OffPolicy, PathConfig, Shape, Who};
use motley_algos::{RewardMode, UpdateContext};
use motley_core::{ActionSpace, ConfigError, Metrics, Purpose, Stream};
use motley_data::replay::{Place, Replay, Sample};
use motley_nn::action_critic::Climb;
use motley_nn::{Head, Noise, Pool};
use motley_run::{StateReader, StateWriter};

const HIDDEN: usize = 16;

fn rng() -> Stream {
    Stream::new(3, Purpose::Check, 0, 0)
}

/// A learner that has seen three rollouts, and the pool.
fn core(toy: &Toy, shape: &Shape, overrides: &[&str]) -> (OffPolicy, Pool) {
    let fixed = ["net.activation=tanh", "algo.n_step=3", "algo.gamma=0.9", "algo.warmup_steps=0", "algo.batch_size=40"];
    let overrides = [&SMALL[..], &fixed, overrides].concat();
    let settings = settings([off_policy::actor_keys(), PathConfig::keys()].concat(), &overrides);
    let mut core = OffPolicy::new("test", &toy.team(), &settings, RewardMode::Sum, shape, &rng()).unwrap();
    let mut field = Field::new(toy.make(), 4, 20, 0, 1, 1);
    let policy = core.policy(motley_nn::Explore::Noise(0.3));
    for _ in 0..3 {
        field.collect(&policy);
        core.ground.memory.remember(&field.roll);
        field.roll.carry();
    }
    (core, field.pool)
}

fn shape(twins: usize, stochastic: bool, per_agent: bool) -> Shape {
    Shape { twins, stochastic, per_agent, norm: None }
}

fn saved(core: &OffPolicy) -> StateReader {
    let mut w = StateWriter::new();
    core.save(&mut w);
    StateReader::from_bytes(w.to_bytes().unwrap()).unwrap()
}

fn f64s(saved: &StateReader, name: &str) -> Vec<f64> {
    saved.f32s(name).unwrap().into_iter().map(f64::from).collect()
}

/// Linear, tanh, Linear, from the flat layout.
fn mlp(params: &[f64], x: &[f64]) -> Vec<f64> {
    let (w, rest) = params.split_at(x.len() * HIDDEN);
    let (b, rest) = rest.split_at(HIDDEN);
    let outputs = rest.len() / (HIDDEN + 1);
    let (v, c) = rest.split_at(HIDDEN * outputs);
    let h: Vec<f64> =
        (0..HIDDEN).map(|j| (b[j] + x.iter().enumerate().map(|(i, x)| x * w[i * HIDDEN + j]).sum::<f64>()).tanh()).collect();
    (0..outputs).map(|j| c[j] + h.iter().enumerate().map(|(i, h)| h * v[i * outputs + j]).sum::<f64>()).collect()
}

/// One toy, its learner's saved weights and one batch's transitions.
struct Oracle<'a> {
    toy: &'a Toy,
    core: &'a OffPolicy,
    saved: StateReader,
    replay: &'a Replay,
    sample: Sample,
    per_agent: bool,
    /// By name, read once.
    weights: std::cell::RefCell<std::collections::HashMap<String, Vec<f64>>>,
}

impl<'a> Oracle<'a> {
    fn new(toy: &'a Toy, core: &'a OffPolicy, per_agent: bool, rng: &Stream) -> Self {
        let (replay, sample) = core.ground.memory.sample(rng).unwrap();
        Self { toy, core, saved: saved(core), replay, sample, per_agent, weights: Default::default() }
    }

    fn n(&self) -> usize {
        self.toy.agents.len()
    }

    fn space(&self, i: usize) -> &ActionSpace {
        &self.toy.agents[i].1
    }

    /// Agent `i`'s block at a place: what was done there, or what `params` say (greedy), or the no-op of the dead.
    fn block(&self, at: Place, i: usize, params: Option<&[f64]>) -> Vec<f64> {
        let (space, raw) = (self.space(i), self.replay.action(at, i));
        let one_hots = |picks: &[usize]| {
            let hot = |(n, pick): (&usize, &usize)| (0..*n).map(|k| f64::from(u8::from(k == *pick))).collect::<Vec<_>>();
            space.choices().iter().zip(picks).flat_map(hot).collect::<Vec<_>>()
        };
        if !self.replay.alive(at, i) {
            return if space.is_continuous() { vec![0.0; space.width()] } else { one_hots(&vec![0; space.choices().len()]) };
        }
        let Some(params) = params else {
            let picks: Vec<usize> = raw.iter().map(|r| *r as usize).collect();
            let stochastic = matches!(self.core.actors[i].head, Head::TanhGaussian { .. });
            let env = |(d, u): (usize, &f32)| if stochastic { self.squash(i, d, f64::from(*u)) } else { f64::from(*u) };
            return if space.is_continuous() { raw.iter().enumerate().map(env).collect() } else { one_hots(&picks) };
        };
        let out = mlp(params, &self.obs(at, i));
        if space.is_continuous() {
            return (0..space.width()).map(|d| self.squash(i, d, out[d])).collect();
        }
        let (mut picks, mut from) = (Vec::new(), 0);
        for n in space.choices() {
            let open = |k: &usize| self.replay.avail(at, i)[from + k] == 1;
            picks.push((0..*n).filter(open).max_by(|a, b| out[from + a].total_cmp(&out[from + b])).unwrap());
            from += n;
        }
        one_hots(&picks)
    }

    fn squash(&self, i: usize, d: usize, u: f64) -> f64 {
        let ActionSpace::Box { low, high } = self.space(i) else { panic!("a box") };
        let (low, high) = (f64::from(low[d]), f64::from(high[d]));
        0.5 * (high - low) * u.tanh() + 0.5 * (high + low)
    }

    fn obs(&self, at: Place, i: usize) -> Vec<f64> {
        self.replay.obs(at, i).iter().copied().map(f64::from).collect()
    }

    /// Q of state row `k` by network `name` of its critic.
    fn q(&self, at: Place, k: usize, joint: &[f64], name: &str) -> f64 {
        let critic = if self.per_agent { k } else { 0 };
        let row = if self.toy.fp { k } else { 0 };
        let x: Vec<f64> = self.replay.state(at, row).iter().copied().map(f64::from).chain(joint.iter().copied()).collect();
        assert_eq!(self.replay.state(at, row).len(), STATE);
        self.run(&format!("critic.{critic}.{name}"), &x)[0]
    }

    fn run(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mut weights = self.weights.borrow_mut();
        mlp(weights.entry(name.to_owned()).or_insert_with(|| f64s(&self.saved, name)), x)
    }

    /// The state rows that there are targets for, critic after critic.
    fn rows(&self) -> Vec<usize> {
        if self.per_agent || self.toy.fp { (0..self.n()).collect() } else { vec![0] }
    }

    fn payment(&self, b: usize, k: usize) -> f64 {
        let columns = self.sample.returns.len() / self.sample.at.len();
        f64::from(self.sample.returns[b * columns + if columns == 1 { 0 } else { k }])
    }

    /// `y` of row `k`, batch row `b`, by the target networks.
    fn target(&self, b: usize, k: usize, twins: usize) -> f64 {
        let next = self.sample.next[b];
        let actor = |i: usize| f64s(&self.saved, &format!("actor.{i}.target"));
        let joint: Vec<f64> = (0..self.n()).flat_map(|i| self.block(next, i, Some(&actor(i)))).collect();
        let least = (0..twins).map(|t| self.q(next, k, &joint, &format!("{t}.target"))).fold(f64::INFINITY, f64::min);
        let ended = self.toy.own && !self.replay.alive(next, k);
        self.payment(b, k) + if ended { 0.0 } else { f64::from(self.sample.discount[b]) * least }
    }
}

fn toys() -> [(Toy, bool); 4] {
    let mortal = Toy { deaths: true, masks: true, faults: true, ..Toy::mixed() };
    let own = Toy { own: true, ..mortal.clone() };
    [
        (mortal.clone(), false),
        (Toy { terminates: true, fp: true, ..mortal }, false),
        (own.clone(), true),
        (Toy { fp: true, ..own }, true),
    ]
}

fn joint_len(toy: &Toy) -> usize {
    toy.agents.iter().map(|(_, a)| a.mask_len().max(if a.is_continuous() { a.width() } else { 0 })).sum()
}

/// n-step returns, the right discount, the least of the targets at what the target actors would do on the true next frame; unlike
/// agents, the dead, holes, both ends of episodes, EP and FP, one critic or one each.
#[test]
fn targets_are_the_equations() {
    for (toy, per_agent) in toys() {
        let twins = 1 + usize::from(toy.fp);
        let (mut core, pool) = core(&toy, &shape(twins, false, per_agent), &["algo.target_update=0.5"]);
        let batch = core.ground.batch(&pool, &rng()).unwrap();
        let mut joint = vec![f32::NAN; batch.rows * joint_len(&toy)];
        core.act(&pool, &batch, Who::Target, true, Noise::Zero, &rng(), &mut joint);
        let found = core.targets(&pool, &batch, &joint, None).concat();
        let oracle = Oracle::new(&toy, &core, per_agent, &rng());
        let rows = oracle.rows();
        assert_eq!(found.len(), rows.len() * batch.rows);
        for (r, y) in found.iter().enumerate() {
            let wanted = oracle.target(r % batch.rows, rows[r / batch.rows], twins);
            assert!((f64::from(*y) - wanted).abs() < 1e-4 * (1.0 + wanted.abs()), "row {r}: {y}, by hand {wanted}");
        }
        let ends = oracle.sample.discount.iter().filter(|d| **d == 0.0).count();
        assert!((ends > 0) == toy.terminates && oracle.sample.discount.iter().any(|d| *d < 0.8), "long walks and ends are there");
    }
}

/// Rewards of a batch by the statistics of all batches so far, this one included; of the dead that are paid apart nothing is taken in.
/// Checkpoints carry them.
#[test]
fn rewards_are_scaled_by_running_statistics() {
    for (toy, per_agent) in toys() {
        for (norm, centred) in [("standard", true), ("scale", false)] {
            let (mut core, pool) = core(&toy, &shape(1, false, per_agent), &[&format!("algo.reward_norm={norm}")]);
            let columns = if toy.own { core.ground.team.n() } else { 1 };
            let mut seen = vec![Vec::new(); columns];
            for draw in 0..3 {
                let stream = rng().fork(draw);
                let kept = saved(&core);
                let batch = core.ground.batch(&pool, &stream).unwrap();
                core.load(&kept).unwrap();
                assert_eq!(core.ground.batch(&pool, &stream).unwrap(), batch, "draw {draw} again from a checkpoint");
                let oracle = Oracle::new(&toy, &core, per_agent, &stream);
                for (k, seen) in seen.iter_mut().enumerate() {
                    let counts = |b: &usize| !toy.own || oracle.replay.alive(oracle.sample.at[*b], k);
                    let counted: Vec<usize> = (0..batch.rows).filter(counts).collect();
                    seen.extend(counted.iter().map(|b| oracle.payment(*b, k)));
                    let mean = seen.iter().sum::<f64>() / seen.len() as f64;
                    let squares = |m: f64| seen.iter().map(|x| (x - m).powi(2)).sum::<f64>() / seen.len() as f64;
                    let (shift, deviation) = if centred { (mean, squares(mean).sqrt()) } else { (0.0, squares(0.0).sqrt()) };
                    for b in 0..batch.rows {
                        let paid = oracle.payment(b, k);
                        let wanted = if counted.contains(&b) { (paid - shift) / deviation } else { paid };
                        // Each batch's variance counts as over its rows but one.
                        assert!((f64::from(batch.payment(b, k)) - wanted).abs() < 0.02 * (1.0 + wanted.abs()), "{norm} {k} {b}");
                    }
                }
            }
        }
    }
}

fn context(pool: &Pool) -> UpdateContext<'_> {
    UpdateContext { pool, progress: 0.0, rng: rng() }
}

/// The gradient of the one step that was taken, from the optimiser's first moment.
fn stepped(core: &OffPolicy, scope: &str) -> Vec<f64> {
    f64s(&saved(core), &format!("{scope}.adam.first")).into_iter().map(|m| m / f64::from(1.0 - 0.9f32)).collect()
}

fn close(found: &[f64], value: impl Fn(&[f64]) -> f64, at: &[f64], what: &str) {
    assert_eq!(found.len(), at.len());
    let mut largest = 0.0_f64;
    for (k, f) in found.iter().enumerate() {
        let moved = |h: f64| {
            let mut p = at.to_vec();
            p[k] += h;
            value(&p)
        };
        let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        largest = largest.max(numeric.abs());
        assert!((f - numeric).abs() < 2e-4 * (1.0 + numeric.abs()), "{what}, parameter {k}: {f}, by differences {numeric}");
    }
    assert!(largest > 1e-3, "{what}: a gradient of nothing");
}

/// `mean over rows that count of (Q - y)^2 / 2`, for both twins.
#[test]
fn critics_step_down_their_error() {
    for (toy, per_agent) in toys() {
        let (mut core, pool) = core(&toy, &shape(2, false, per_agent), &["algo.critic_lr=0.0"]);
        let batch = core.ground.batch(&pool, &rng()).unwrap();
        let critics = if per_agent { 3 } else { 1 };
        let rows = Oracle::new(&toy, &core, per_agent, &rng()).rows();
        let goals: Vec<Vec<f32>> = (0..critics)
            .map(|c| (0..rows.len() / critics * batch.rows).map(|r| ((c + r) as f32 * 0.37).sin()).collect())
            .collect();
        core.fit(&context(&pool), &batch, &goals, &mut Metrics::new()).unwrap();
        let oracle = Oracle::new(&toy, &core, per_agent, &rng());
        for (c, goal) in goals.iter().enumerate() {
            let mine: Vec<usize> = if per_agent { vec![c] } else { rows.clone() };
            for twin in 0..2 {
                let value = |params: &[f64]| {
                    let (mut sum, mut count) = (0.0, 0.0);
                    for (r, y) in goal.iter().enumerate() {
                        let (k, at) = (mine[r / batch.rows], oracle.sample.at[r % batch.rows]);
                        // Who is paid together learns what comes after a death.
                        if toy.own && !oracle.replay.alive(at, k) {
                            continue;
                        }
                        let state = oracle.replay.state(at, if toy.fp { k } else { 0 });
                        let joint = (0..3).flat_map(|i| oracle.block(at, i, None));
                        let x: Vec<f64> = state.iter().copied().map(f64::from).chain(joint).collect();
                        sum += (mlp(params, &x)[0] - f64::from(*y)).powi(2) / 2.0;
                        count += 1.0;
                    }
                    sum / count
                };
                let scope = format!("critic.{c}.{twin}");
                let at = f64s(&oracle.saved, &format!("{scope}.params"));
                close(&stepped(&core, &scope), value, &at, &scope);
            }
        }
    }
}

/// Below 1 all targets take that part of the way at every move; from 1 on they are copies every that many moves, counted through
/// checkpoints.
#[test]
fn targets_follow_softly_or_as_copies() {
    let toy = Toy::mixed();
    let spread = |core: &OffPolicy| {
        let saved = saved(core);
        ["actor.1.", "critic.0.0.", "critic.0.1."].map(|scope| {
            let (online, target) = (f64s(&saved, &format!("{scope}params")), f64s(&saved, &format!("{scope}target")));
            online.iter().zip(&target).fold(0.0_f64, |most, (o, t)| most.max((o - t).abs()))
        })
    };
    for (rate, left) in [("0.25", [0.75, 0.5625, 0.421_875]), ("1", [0.0; 3]), ("3", [1.0, 1.0, 0.0])] {
        let rate = format!("algo.target_update={rate}");
        let (mut core, pool) = core(&toy, &shape(2, false, false), &[&rate]);
        let batch = core.ground.batch(&pool, &rng()).unwrap();
        core.fit(&context(&pool), &batch, &[vec![1.0; batch.rows]], &mut Metrics::new()).unwrap();
        core.actors[1].net.set_params(|p| p.iter_mut().for_each(|x| *x += 0.5));
        let before = spread(&core);
        assert!(before.iter().all(|d| *d > 1e-4));
        for (k, left) in left.into_iter().enumerate() {
            core.move_targets(&pool);
            for (now, before) in spread(&core).into_iter().zip(before) {
                assert!((now - left * before).abs() < 1e-6, "{rate}, move {k}: {now} of {before}");
            }
            let kept = saved(&core);
            core.load(&kept).unwrap();
        }
    }
}

/// HARL's HASAC over choices: LayerNorms and orthogonal weights in actors, neither in critics; a last activation of actors alone.
#[test]
fn actors_and_critics_differ_where_settings_say_so() {
    let norms = ["net.feature_norm=true", "net.layer_norm=true", "net.init=orthogonal", "net.last_activation=sigmoid"];
    let names = |core: &OffPolicy| core.actors[1].net.entries().iter().map(|e| e.name.clone()).collect::<Vec<_>>();
    let (toy, plain) = (Toy::mixed(), ["net.critic_norm=false", "net.critic_init=uniform"]);
    let width = toy.team().state.row() + joint_len(&toy);
    for (more, critic_norms) in [(&plain[..], 0), (&[], 2 * (width + HIDDEN))] {
        let (core, _) = core(&toy, &shape(2, true, false), &[&norms[..], more].concat());
        assert!(["input_norm.gamma", "hidden.0.norm.gamma"].iter().all(|name| names(&core).contains(&(*name).to_owned())));
        assert!(core.actors.iter().all(|a| a.net.spec().last_activation == Some(motley_nn::Activation::Sigmoid)));
        let bias = core.actors[1].net.entry("hidden.0.bias").unwrap().range();
        assert!(core.actors[1].net.params()[bias].iter().all(|b| *b == 0.0), "orthogonal weights have no biases");
        let critic = f64s(&saved(&core), "critic.0.0.params");
        assert_eq!(critic.len(), (width + 1) * HIDDEN + HIDDEN + 1 + critic_norms);
        assert_eq!(*critic.last().unwrap() != 0.0, critic_norms == 0, "uniform ones have");
    }
}

const ALPHA: f32 = 0.3;

/// The box agent's step: up the first critic of its own action, or up the least of the twins and its entropy, teammates as they were
/// or as they are now.
#[test]
fn actors_step_up_their_critic() {
    for (toy, per_agent) in toys() {
        for (stochastic, current) in [(false, true), (false, false), (true, true)] {
            let (mut core, pool) = core(&toy, &shape(2, stochastic, per_agent), &[]);
            let batch = core.ground.batch(&pool, &rng()).unwrap();
            let mut joint = batch.joint.clone();
            let drawn = core.act(&pool, &batch, Who::Online, false, Noise::Policy, &rng(), &mut joint);
            let base = if current { &joint } else { &batch.joint };
            let climb = if stochastic { Climb::Least } else { Climb::First };
            let alpha = if stochastic { ALPHA } else { 0.0 };
            let ascent = Ascent { climb, alpha, gumbel: 1.0, logit_penalty: 0.0, lr: 0.0 };
            core.climb(&pool, &batch, 1, base, &drawn[1], ascent).unwrap();
            let oracle = Oracle::new(&toy, &core, per_agent, &rng());
            let rows = batch.rows;
            let living: Vec<usize> = (0..rows).filter(|b| oracle.replay.alive(oracle.sample.at[*b], 1)).collect();
            assert!(living.len() < rows && !living.is_empty());
            let value = |params: &[f64]| {
                let mut sum = 0.0;
                for &b in &living {
                    let at = oracle.sample.at[b];
                    let out = mlp(params, &oracle.obs(at, 1));
                    let (block, log_prob) = reparameterised(&oracle, &out, &drawn[1], b, stochastic);
                    let len = base.len() / rows;
                    let mut all: Vec<f64> = base[b * len..(b + 1) * len].iter().copied().map(f64::from).collect();
                    all[3..5].copy_from_slice(&block);
                    let q = |twin: &str| oracle.q(at, 1, &all, twin);
                    let q = if stochastic { q("0.params").min(q("1.params")) } else { q("0.params") };
                    sum += q - f64::from(alpha) * log_prob;
                }
                -sum / living.len() as f64
            };
            let at = f64s(&oracle.saved, "actor.1.params");
            close(&stepped(&core, "actor.1"), value, &at, &format!("stochastic {stochastic}, current {current}"));
        }
    }
}

/// Action and log-probability of the box agent from its output and its noise.
fn reparameterised(oracle: &Oracle<'_>, out: &[f64], drawn: &Drawn, b: usize, stochastic: bool) -> (Vec<f64>, f64) {
    if !stochastic {
        return ((0..2).map(|d| oracle.squash(1, d, out[d])).collect(), 0.0);
    }
    let (mut block, mut log_prob) = (Vec::new(), 0.0);
    for d in 0..2 {
        let (xi, log_std) = (f64::from(drawn.noise[2 * b + d]), out[2 + d].clamp(-20.0, 2.0));
        let u = out[d] + log_std.exp() * xi;
        // The box is (-1, 1): no scale.
        log_prob += -0.5 * xi * xi - log_std - 0.5 * std::f64::consts::TAU.ln() - (1.0 - u.tanh().powi(2)).ln();
        block.push(oracle.squash(1, d, u));
    }
    assert!((log_prob - f64::from(drawn.log_probs[b])).abs() < 1e-3 * (1.0 + log_prob.abs()) || out[0].is_nan());
    (block, log_prob)
}

/// Whoever goes first sees the same in both schemes; those after it see the new actions of those before only where they go in order.
#[test]
fn order_is_what_sets_the_schemes_apart() {
    let toy = Toy::new(&vec![ActionSpace::uniform_box(2, -1.0, 1.0); 3]);
    let run = |scheme: &str| {
        let (mut core, pool) = core(&toy, &shape(1, false, false), &[]);
        let batch = core.ground.batch(&pool, &rng()).unwrap();
        let ascent = Ascent { climb: Climb::First, alpha: 0.0, gumbel: 1.0, logit_penalty: 0.0, lr: 0.05 };
        let mut m = Metrics::new();
        match scheme {
            "order" => drop(core.climb_in_order(&pool, &batch, &[2, 0, 1], |_| ascent, &rng(), &mut m).unwrap()),
            scheme => core.climb_apart(&pool, &batch, scheme == "current", ascent, &rng().fork(0), &mut m).unwrap(),
        }
        let saved = saved(&core);
        [0, 1, 2].map(|g| saved.f32s(&format!("actor.{g}.params")).unwrap())
    };
    let (order, current, replay) = (run("order"), run("current"), run("replay"));
    assert!(order[2] == current[2] && order[0] != current[0] && order[1] != current[1]);
    assert!((0..3).all(|g| current[g] != replay[g]));
}

/// Agents with opposite rewards need critics of their own: each then learns what pays it.
#[test]
fn unlike_objectives_need_critics_of_their_own() {
    let toy = Toy { own: true, ..Toy::mixed() };
    for algo in ["maddpg", "matd3"] {
        let make = |words: &[&str]| Bench::try_new(algo, toy.make(), &[&SMALL[..], words].concat(), 4, 1, 1);
        let text = make(&["task.reward=own"]).err().unwrap().to_string();
        assert!(text.contains("per_agent") && text.contains("sum or mean"), "{text}");
        let mut bench = make(&["algo.critics=per_agent"]).unwrap();
        bench.iterate(3);
        assert!(bench.saved().has("critic.2.0.params") && !bench.saved().has("critic.3.0.params"));
        let mut own = make(&["algo.critics=per_agent", "task.reward=own"]).unwrap();
        own.iterate(3);
        assert!(own.bytes() == bench.bytes(), "{algo}: what is paid apart is learned apart by critics of their own");
    }
}

#[test]
fn what_cannot_be_is_refused_before_it_is_built() {
    let refuse = |algo: &str, toy: &Toy, word: &str| {
        Bench::try_new(algo, toy.make(), &[&SMALL[..], &[word]].concat(), 2, 1, 1).err().unwrap()
    };
    let huge = refuse("hatd3", &Toy::mixed(), "algo.buffer_size=1000000000");
    assert!(matches!(huge, ConfigError::Room { .. }), "{huge:?}");
    let huge = huge.to_string();
    // 12 observed, 5 of state, 5 of action and a reward in 4 bytes each; 8 of mask, 3 lives and a mark; a slot more for each of num_envs = 20.
    assert!(huge.contains("algo.buffer_size") && huge.contains(&(104_u64 * 1_000_000_020).to_string()), "{huge}");
    let small = refuse("hasac", &Toy::mixed(), "algo.buffer_size=10").to_string();
    assert!(small.contains("algo.batch_size") && small.contains("10"), "{small}");
    let wide = Toy::new(&vec![ActionSpace::Discrete(9); 4]);
    let many = refuse("had3qn", &wide, "algo.target_update=0.1");
    assert!(matches!(many, ConfigError::Incompatible { .. }) && many.to_string().contains("6561 joint actions"), "{many}");
    assert!(refuse("had3qn", &Toy::mixed(), "algo.target_update=0.1").to_string().contains("\"agent_1\""));
}

/// Actions are random while memory warms up, and nothing is learned; then there is noise, and one update a step.
#[test]
fn warm_up_then_updates_in_step() {
    let toy = Toy::new(&[ActionSpace::uniform_box(1, -1.0, 1.0), ActionSpace::Discrete(3)]);
    let words = ["algo.warmup_steps=160", "algo.updates_per_step=0.33", "algo.exploration_noise=0.0"];
    let mut bench = Bench::toy("haddpg", &toy, &words);
    let before = bench.params();
    bench.iterate(2);
    assert!(bench.params() == before);
    let counters = |bench: &Bench| bench.saved().u64s("memory.counters").unwrap();
    assert_eq!(counters(&bench), [160, 0]);
    let spread = |bench: &Bench| {
        let lane = &bench.field.roll.lanes[0];
        (0..20).map(|t| lane.actions[2 * t]).fold(0.0_f32, |m, a| m.max(a.abs()))
    };
    assert!(spread(&bench) > 0.8, "uniform on the box");
    bench.iterate(1);
    assert!(spread(&bench) < 0.7, "a new network acts near the middle");
    assert_eq!(counters(&bench), [240, 6]);
    bench.iterate(2);
    // 0.33 x 20 steps x 3 rollouts.
    assert_eq!(counters(&bench), [400, 19]);
}

/// HASAC's switches to the reference code's ways change what they name, and nothing where that does not occur.
#[test]
fn hasac_can_go_the_reference_codes_ways() {
    let learned = |toy: &Toy, words: &[&str]| {
        let mut bench = Bench::try_new("hasac", toy.make(), &[&SMALL[..], words].concat(), 4, 1, 1).unwrap();
        bench.iterate(6);
        bench.bytes()
    };
    let (cut, ended) = (Toy { deaths: false, ..Toy::discrete() }, Toy { deaths: false, terminates: true, ..Toy::discrete() });
    let reset = ["algo.next_masks=reset"];
    assert!(learned(&cut, &reset) != learned(&cut, &[]), "the next episode opens other actions");
    assert!(learned(&ended, &reset) == learned(&ended, &[]), "nothing is bootstrapped after an end");
    let (norm, raw) = ("algo.normalize_targets=true", "algo.climb_normalized=true");
    assert!(learned(&cut, &[norm, raw]) != learned(&cut, &[norm]));
    assert!(learned(&cut, &[raw]) == learned(&cut, &[]), "there is nothing normalised");
}

/// Where values end at death, what the dead are paid later is part of no return.
#[test]
fn pay_after_death_is_in_no_return() {
    let toy = Toy { own: true, deaths: true, ..Toy::discrete() };
    for (mask, kept) in [("algo.mask_dead=true", false), ("algo.mask_dead=false", true)] {
        let overrides = [&SMALL[..], &["algo.n_step=4", "algo.warmup_steps=0", "algo.batch_size=80", mask]].concat();
        let settings = settings([off_policy::actor_keys(), PathConfig::keys()].concat(), &overrides);
        let mut core = OffPolicy::new("test", &toy.team(), &settings, RewardMode::Own, &shape(1, false, true), &rng()).unwrap();
        let mut field = Field::new(toy.make(), 4, 20, 0, 1, 1);
        field.collect(&core.policy(motley_nn::Explore::Noise(0.3)));
        for lane in &mut field.roll.lanes {
            for (reward, _) in lane.rewards.iter_mut().zip(&lane.alive).filter(|(_, alive)| !**alive) {
                *reward = -1e6;
            }
        }
        core.ground.memory.remember(&field.roll);
        let (_, sample) = core.ground.memory.sample(&rng()).unwrap();
        assert_eq!(sample.returns.iter().any(|r| *r < -1e3), kept, "{mask}");
    }
}

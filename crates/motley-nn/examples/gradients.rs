//! Prints, as JSON, the gradients that actors and critics really step along, with everything they were computed from:
//! `cargo run -p motley-nn --example gradients`. `tests/python/test_losses_jax.py` holds them to JAX in double precision.
//!
//! Nothing reaches inside: a learner takes one step and its first Adam moment, `(1 - beta1) g` after the first step, is read
//! from its saved state.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use motley_core::{ActionSpace, AgentSpec, ObsSpace, Origin, Purpose, Settings, Stream, TeamSpec};
use motley_data::rollout::Rollout;
use motley_nn::cross_group::{CrossGroup, CrossGroupConfig, Pairing, Predicted, Target};
use motley_nn::dist::KlKind;
use motley_nn::init::Init;
use motley_nn::objective::{KlDrift, SquareDrift};
use motley_nn::{
    Activation, Actor, AdamConfig, Ascent, Besides, ChoiceCritic, ChoiceCriticConfig, Critic, CriticConfig, Cut, Engine, Head,
    Net, NetSpec, Objective, Pick, Pool, Source, Taken,
};
use motley_run::{StateReader, StateWriter};

type Out<T> = Result<T, Box<dyn Error>>;

const ENVS: usize = 3;
const STEPS: usize = 12;
const CHUNK: usize = 4;

fn rng(case: u64) -> Stream {
    Stream::new(11, Purpose::Check, case, 0)
}

/// Plain Adam: no clip, no decay.
fn adam() -> Out<AdamConfig> {
    let mut settings = Settings::new(AdamConfig::keys());
    settings.set_text("algo.max_grad_norm=0", Origin::CommandLine)?;
    Ok(AdamConfig::read(&settings)?)
}

/// The fused kernels, and Burn's autodiff.
fn engines() -> Out<[(&'static str, Engine); 2]> {
    Ok([("gradient", Engine::Fused), ("gradient_burn", Engine::for_device("flex").ok_or("no Burn on the CPU")?)])
}

fn main() -> Out<()> {
    let relu = net(&[16, 12], Activation::Relu, false);
    let tanh = NetSpec { feature_norm: false, ..net(&[10], Activation::Tanh, false) };
    let bare = NetSpec { feature_norm: false, layer_norm: false, ..net(&[9, 7], Activation::Selu, false) };
    let gru = net(&[8], Activation::Relu, true);
    let ppo = &Objective::PpoClip { clip: 0.2 };
    let (kl, square) =
        (Objective::Drifting(Arc::new(KlDrift { coef: 0.7 })), Objective::Drifting(Arc::new(SquareDrift { coef: 0.7 })));
    let space = ActionSpace::uniform_box(3, -1.0, 2.0);
    let five = ActionSpace::Discrete(5);
    let running = critic_config("huber", 0.2, "running")?;
    let cases = [
        actor(1, "categorical with mask", &five, false, &relu, ppo, 1)?,
        actor(2, "multi-discrete with mask, a minibatch", &ActionSpace::MultiDiscrete(vec![3, 2]), false, &tanh, ppo, 2)?,
        actor(3, "gaussian", &space, false, &bare, ppo, 1)?,
        actor(4, "tanh gaussian, unclipped ratio", &space, true, &relu, &Objective::Ratio, 1)?,
        actor(5, "recurrent categorical in chunks", &ActionSpace::Discrete(4), false, &gru, ppo, 1)?,
        actor(6, "recurrent gaussian, half of the chunks", &space, false, &gru, ppo, 2)?,
        actor(11, "kl drift", &five, false, &tanh, &kl, 1)?,
        actor(12, "square drift", &five, false, &tanh, &square, 1)?,
        actor(13, "log probability", &five, false, &tanh, &Objective::LogProb, 1)?,
        all_actions(14, "all actions, multi-discrete", &ActionSpace::MultiDiscrete(vec![3, 2]), &relu)?,
        all_actions(15, "all actions, recurrent", &ActionSpace::Discrete(4), &gru)?,
        choice_critic(16, "action values", &relu, "none")?,
        choice_critic(17, "action values, running norm", &tanh, "running")?,
        fisher(18, "fisher, categorical", &five, false, &relu, 0)?,
        fisher(19, "fisher, multi-discrete", &ActionSpace::MultiDiscrete(vec![3, 2]), false, &tanh, 0)?,
        fisher(20, "fisher, gaussian", &space, false, &bare, 0)?,
        fisher(21, "fisher, tanh gaussian", &space, true, &relu, 0)?,
        fisher(22, "fisher, recurrent categorical", &ActionSpace::Discrete(4), false, &gru, STEPS)?,
        fisher(23, "fisher, recurrent gaussian", &space, false, &gru, STEPS)?,
        fisher(24, "fisher, recurrent gaussian in chunks", &space, false, &gru, CHUNK)?,
        cross_group(25, "cross-group, target held", &relu, false)?,
        cross_group(26, "cross-group, through the target, recurrent", &gru, true)?,
        critic(7, "huber, clipped, running norm", Source::State, &relu, &running)?,
        critic(8, "squared, no norm", Source::State, &tanh, &critic_config("squared", 0.3, "none")?)?,
        critic(9, "popart", Source::State, &bare, &critic_config("huber", 0.2, "popart")?)?,
        critic(10, "recurrent critic in chunks", Source::State, &gru, &running)?,
        critic(27, "critic of each agent, some dead", Source::Obs, &relu, &running)?,
        critic(28, "recurrent critic of each agent, some dead", Source::Obs, &gru, &running)?,
    ];
    writeln!(std::io::stdout().lock(), "{{\"cases\":[\n{}\n]}}", cases.join(",\n"))?;
    Ok(())
}

fn net(hidden: &[usize], activation: Activation, recurrent: bool) -> NetSpec {
    NetSpec {
        obs: ObsSpace::vector(0),
        extra: 0,
        hidden_sizes: hidden.to_vec(),
        activation,
        last_activation: None,
        feature_norm: true,
        layer_norm: true,
        recurrent,
        output: 0,
        output_gain: 1.0,
        init: Init::Uniform,
        free: Vec::new(),
    }
}

fn critic_config(loss: &str, clip: f64, norm: &str) -> Out<CriticConfig> {
    let mut settings = Settings::new(CriticConfig::keys());
    for text in ["critic_epochs=1", "critic_minibatches=1", "huber_delta=0.7", "value_coef=0.5", "value_norm_start=identity"] {
        settings.set_text(&format!("algo.{text}"), Origin::CommandLine)?;
    }
    for text in [format!("value_loss={loss}"), format!("value_clip={clip}"), format!("value_norm={norm}")] {
        settings.set_text(&format!("algo.{text}"), Origin::CommandLine)?;
    }
    Ok(CriticConfig::read(&settings)?)
}

/// Two agents of one kind, which share parameters and are told apart by a one-hot, and a third that is unlike them.
fn team(action: &ActionSpace) -> Arc<TeamSpec> {
    let agent = |name: &str, kind: &str, obs, action| AgentSpec::new(name, kind, ObsSpace::vector(obs), action);
    let twins = ["left", "right"].map(|name| agent(name, "twin", 6, action.clone()));
    let [left, right] = twins;
    let mut team = TeamSpec::new("test/gradients", vec![left, agent("odd", "odd", 3, ActionSpace::Discrete(2)), right]);
    (team.masks, team.deaths) = (true, true);
    Arc::new(team)
}

/// A rollout of made-up numbers: masks, dead agents, a hole, episodes that start anywhere, memory that is not zero.
fn rollout(team: &Arc<TeamSpec>, memory_len: usize, rng: &Stream) -> Rollout {
    let mut roll = Rollout::new(Arc::clone(team), ENVS, STEPS, memory_len);
    let mut rng = rng.fork(1);
    for lane in &mut roll.lanes {
        lane.obs.iter_mut().chain(&mut lane.state).for_each(|x| *x = rng.normal() as f32);
        lane.memory.iter_mut().for_each(|x| *x = rng.range(-0.8, 0.8) as f32);
        lane.avail.iter_mut().for_each(|a| *a = rng.bernoulli(0.6));
        lane.alive.iter_mut().for_each(|a| *a = rng.bernoulli(0.8));
        lane.first.iter_mut().for_each(|f| *f = rng.bernoulli(0.25));
        lane.valid[STEPS / 2] = false;
        for t in 0..STEPS {
            for (i, agent) in team.agents.iter().enumerate() {
                let range = team.action_range(i);
                let raw = &mut lane.actions[t * team.action_len()..][range];
                raw.iter_mut().for_each(|a| *a = 0.6 * rng.normal() as f32);
                let mut at = t * team.mask_len() + team.mask_range(i).start;
                for (raw, &n) in raw.iter_mut().zip(agent.action.choices()) {
                    let pick = rng.below(n as u32) as usize;
                    *raw = pick as f32;
                    lane.avail[at + pick] = true;
                    at += n;
                }
            }
        }
    }
    roll
}

fn actor(
    case: u64,
    name: &str,
    action: &ActionSpace,
    squash: bool,
    spec: &NetSpec,
    objective: &Objective,
    parts: usize,
) -> Out<String> {
    let (rng, pool, team) = (rng(case), Pool::serial(), team(action));
    let (head, adam) = (Head::for_space(action, squash, 1.5, 0.8), adam()?);
    let make = |engine: Engine| Actor::new(&team, vec![0, 2], head.clone(), spec.clone(), true, adam.clone(), engine, 0, &rng);
    let actor = make(Engine::Fused)?;
    let mut roll = rollout(&team, actor.memory_end(), &rng);
    let now = actor.log_probs(&pool, &roll, &actor.rows(&roll));
    let mut noise = rng.fork(2);
    for (m, i) in [0, 2].into_iter().enumerate() {
        for row in 0..roll.rows() {
            let (e, t) = roll.at(row);
            roll.lanes[e].log_probs[t * team.n() + i] = now[m * roll.rows() + row] + 0.3 * noise.normal() as f32;
        }
    }
    let weight: Vec<f32> = (0..2 * roll.rows()).map(|_| noise.normal() as f32).collect();
    let cut = Cut { minibatches: parts, chunk: if spec.recurrent { CHUNK } else { 0 } };
    let pick = cut.pass(ENVS, STEPS, rng.fork(3))?.swap_remove(0);
    let mut fields = vec![text("name", name), text("kind", "actor"), describe_net(&actor.net)];
    for (field, engine) in engines()? {
        let mut actor = make(engine)?;
        let rows = actor.rows(&roll);
        actor.step(&pool, &roll, &rows, &pick, Ascent { objective, weight: &weight, entropy_coef: 0.05, lr: 0.0 })?;
        let mut state = StateWriter::new();
        actor.save(&mut state);
        fields.push(gradient(field, &state)?);
    }
    fields.push(describe_rows(&roll, &pick, &weight));
    fields.push(describe_head(&head, action));
    if let Objective::PpoClip { clip } = objective {
        fields.push(numbers("clip", [f64::from(*clip)]));
    }
    fields.extend(describe_memory(&roll, &pick));
    Ok(object(&fields))
}

/// Memory at the start of every picked chunk, and the chunks' length.
fn describe_memory(roll: &Rollout, pick: &Pick) -> Option<String> {
    let Pick::Chunks { chunks, length } = pick else { return None };
    let width = roll.memory_len() / 2;
    let memory = (0..2).flat_map(|m| {
        chunks.iter().flat_map(move |c| {
            let at = c.start as usize * roll.memory_len() + m * width;
            &roll.lanes[c.env as usize].memory[at..at + width]
        })
    });
    Some(format!("{},{}", numbers("memory", memory.copied().map(f64::from)), numbers("length", [*length as f64])))
}

/// PPO on a network with two heads, the second of which predicts the other agent: each twin is a group of its own.
fn cross_group(case: u64, name: &str, spec: &NetSpec, through_target: bool) -> Out<String> {
    let (rng, pool, action, adam) = (rng(case), Pool::serial(), ActionSpace::Discrete(5), adam()?);
    let (team, head) = (team(&action), Head::for_space(&action, false, 1.0, 1.0));
    let make = |engine: Engine| -> Out<Actor> {
        let mut actor = Actor::new(&team, vec![0, 2], head.clone(), spec.clone(), true, adam.clone(), engine, 0, &rng)?;
        actor.add_second_head(adam.clone(), &rng.fork(9));
        Ok(actor)
    };
    let config = CrossGroupConfig {
        predicted: Predicted::Policy,
        pairing: Pairing::Each,
        target: Target::Mean,
        through_target,
        coef: 0.8,
    };
    let cross = CrossGroup::new(&[0, 1], config).ok_or("two groups")?;
    let actor = make(Engine::Fused)?;
    let roll = rollout(&team, actor.memory_end(), &rng);
    let weight: Vec<f32> = (0..2 * roll.rows()).scan(rng.fork(2), |draw, _| Some(draw.normal() as f32)).collect();
    let cut = Cut { minibatches: 1, chunk: if spec.recurrent { CHUNK } else { 0 } };
    let pick = cut.pass(ENVS, STEPS, rng.fork(3))?.swap_remove(0);
    let mut fields = vec![text("name", name), text("kind", "cross_group"), describe_net(&actor.net)];
    for (field, engine) in engines()? {
        let mut actor = make(engine)?;
        let rows = actor.rows(&roll);
        let ascent = Ascent { objective: &Objective::LogProb, weight: &weight, entropy_coef: 0.05, lr: 0.0 };
        actor.step_with(&pool, &roll, &rows, &pick, ascent, Besides::CrossGroup(&cross))?;
        let mut state = StateWriter::new();
        actor.save(&mut state);
        fields.push(gradient(field, &state)?);
    }
    fields.push(describe_rows(&roll, &pick, &weight));
    fields.push(describe_head(&head, &action));
    fields.push(numbers("through_target", [f64::from(u8::from(through_target))]));
    fields.extend(describe_memory(&roll, &pick));
    Ok(object(&fields))
}

/// The policy gradient summed over all discrete actions.
fn all_actions(case: u64, name: &str, action: &ActionSpace, spec: &NetSpec) -> Out<String> {
    let (rng, pool, team) = (rng(case), Pool::serial(), team(action));
    let (head, adam) = (Head::for_space(action, false, 1.0, 1.0), adam()?);
    let make = |engine: Engine| Actor::new(&team, vec![0, 2], head.clone(), spec.clone(), true, adam.clone(), engine, 0, &rng);
    let roll = rollout(&team, make(Engine::Fused)?.memory_end(), &rng);
    let (mut draw, choices) = (rng.fork(2), head.joint_choices());
    let values: Vec<f32> = (0..2 * roll.rows() * choices).map(|_| 2.0 * draw.normal() as f32).collect();
    let cut = Cut { minibatches: 1, chunk: if spec.recurrent { CHUNK } else { 0 } };
    let pick = cut.pass(ENVS, STEPS, rng.fork(3))?.swap_remove(0);
    let mut fields = vec![text("name", name), text("kind", "all_actions"), describe_net(&make(Engine::Fused)?.net)];
    for (field, engine) in engines()? {
        let mut actor = make(engine)?;
        let rows = actor.rows(&roll);
        actor.step_all_actions(&pool, &roll, &rows, &pick, &values, 0.05, 0.0)?;
        let mut state = StateWriter::new();
        actor.save(&mut state);
        fields.push(gradient(field, &state)?);
    }
    let indices = pick.rows(2, roll.rows(), STEPS, &|_| true).indices;
    let picked = indices.iter().flat_map(|r| &values[r * choices..(r + 1) * choices]).copied().map(f64::from);
    fields.push(numbers("values", picked));
    fields.push(describe_rows(&roll, &pick, &vec![0.0; 2 * roll.rows()]));
    fields.push(describe_head(&head, action));
    fields.extend(describe_memory(&roll, &pick));
    Ok(object(&fields))
}

/// A critic with a value for each action, fitted to those taken.
fn choice_critic(case: u64, name: &str, spec: &NetSpec, norm: &str) -> Out<String> {
    const ROWS: usize = 40;
    let (rng, pool) = (rng(case), Pool::serial());
    let mut settings = Settings::new(ChoiceCriticConfig::keys());
    settings.set_text(&format!("algo.value_norm={norm}"), Origin::CommandLine)?;
    let config = ChoiceCriticConfig::read(&settings)?;
    let adam = adam()?;
    let make =
        |engine: Engine| ChoiceCritic::new("critic".into(), 6, 4, spec.clone(), config.clone(), adam.clone(), engine, &rng);
    let mut draw = rng.fork(1);
    let x: Vec<f32> = (0..6 * ROWS).map(|_| draw.normal() as f32).collect();
    let actions: Vec<usize> = (0..ROWS).map(|_| draw.below(4) as usize).collect();
    let targets: Vec<f32> = (0..ROWS).map(|_| (2.0 + 3.0 * draw.normal()) as f32).collect();
    let counts: Vec<bool> = (0..ROWS).map(|_| draw.bernoulli(0.8)).collect();
    let mut fields = vec![text("name", name), text("kind", "choice_critic"), describe_net(make(Engine::Fused).net())];
    for (field, engine) in engines()? {
        let mut critic = make(engine);
        critic.fit(&pool, Taken { x: &x, actions: &actions, targets: &targets, counts: &counts }, 0.0)?;
        let mut state = StateWriter::new();
        critic.save(&mut state);
        fields.push(gradient(field, &state)?);
    }
    fields.extend([
        numbers("x", x.iter().copied().map(f64::from)),
        numbers("actions", actions.iter().map(|a| *a as f64)),
        numbers("targets", targets.iter().copied().map(f64::from)),
        numbers("active", counts.iter().map(|c| f64::from(u8::from(*c)))),
        text("norm", norm),
    ]);
    Ok(object(&fields))
}

/// The Fisher information times a vector, by both engines; recurrent networks cut off every `chunk` steps.
fn fisher(case: u64, name: &str, action: &ActionSpace, squash: bool, spec: &NetSpec, chunk: usize) -> Out<String> {
    let (rng, pool, team) = (rng(case), Pool::serial(), team(action));
    let (head, adam) = (Head::for_space(action, squash, 1.5, 0.8), adam()?);
    let make = |engine: Engine| Actor::new(&team, vec![0, 2], head.clone(), spec.clone(), true, adam.clone(), engine, 0, &rng);
    let mut roll = rollout(&team, make(Engine::Fused)?.memory_end(), &rng);
    remember(&make(Engine::Fused)?.net, &pool, &mut roll);
    let pick = Cut { minibatches: 1, chunk }.pass(ENVS, STEPS, rng.fork(3))?.swap_remove(0);
    let mut fields = vec![text("name", name), text("kind", "fisher"), describe_net(&make(Engine::Fused)?.net)];
    let mut draw = rng.fork(2);
    let v: Vec<f32> = make(Engine::Fused)?.net.params().iter().map(|_| draw.normal() as f32).collect();
    for (field, engine) in engines()? {
        let mut actor = make(engine)?;
        let rows = actor.rows(&roll);
        let old = actor.old_policy(&pool, &roll, &rows);
        let product = actor.fisher_product(&pool, &roll, &rows, &pick, &old, &v, KlKind::True);
        fields.push(numbers(field, product.into_iter().map(f64::from)));
    }
    fields.push(numbers("v", v.into_iter().map(f64::from)));
    fields.push(describe_rows(&roll, &pick, &vec![0.0; 2 * roll.rows()]));
    fields.push(describe_head(&head, action));
    fields.extend(describe_memory(&roll, &pick));
    Ok(object(&fields))
}

/// Writes the twins' memory as their network leaves it, so that chunks begin where the whole rollout has come to.
fn remember(net: &Net, pool: &Pool, roll: &mut Rollout) {
    let width = net.memory_len();
    if width == 0 {
        return;
    }
    for (m, e) in (0..2).flat_map(|m| (0..ENVS).map(move |e| (m, e))) {
        let row = |t: usize| roll.obs(e, t, 2 * m).iter().copied().chain([(1 - m) as f32, m as f32]);
        let x: Vec<f32> = (0..STEPS).flat_map(row).collect();
        let (slot, first) = (roll.memory_len(), roll.lanes[e].first.clone());
        let mut memory = roll.lanes[e].memory[m * width..(m + 1) * width].to_vec();
        let (mut out, mut held) = (vec![0.0; STEPS * net.output_len()], vec![0.0; STEPS * width]);
        net.run_sequences(pool, &x, STEPS, &|_, t| first[t], &mut memory, &mut out, Some(&mut held));
        for (t, held) in held.chunks_exact(width).enumerate() {
            roll.lanes[e].memory[t * slot + m * width..][..width].copy_from_slice(held);
        }
    }
}

/// All picked rows, those too that nothing is learned from, time-major, gathered from the rollout anew.
fn describe_rows(roll: &Rollout, pick: &Pick, weight: &[f32]) -> String {
    let indices = pick.rows(2, roll.rows(), STEPS, &|_| true).indices;
    let row = |r: &usize| (roll.at(r % roll.rows()), r / roll.rows());
    let (mut x, mut raw, mut mask, mut old, mut active, mut first) = (vec![], vec![], vec![], vec![], vec![], vec![]);
    for ((e, t), m) in indices.iter().map(row) {
        let agent = 2 * m;
        x.extend(roll.obs(e, t, agent).iter().copied().chain([(1 - m) as f32, m as f32]).map(f64::from));
        raw.extend(roll.action(e, t, agent).iter().copied().map(f64::from));
        mask.extend(roll.avail(e, t, agent).iter().map(|a| f64::from(u8::from(*a))));
        old.push(f64::from(roll.log_prob(e, t, agent)));
        active.push(f64::from(u8::from(roll.active(e, t, agent))));
        first.push(f64::from(u8::from(roll.lanes[e].first[t])));
    }
    let weight = indices.iter().map(|r| f64::from(weight[*r]));
    let parts = [numbers("x", x), numbers("raw", raw), numbers("mask", mask), numbers("old", old), numbers("active", active)];
    format!("{},{},{}", parts.join(","), numbers("first", first), numbers("weight", weight))
}

fn describe_head(head: &Head, action: &ActionSpace) -> String {
    let (kind, bounds): (_, Vec<f64>) = match (head, action) {
        (Head::Categorical(_), _) => ("categorical", Vec::new()),
        (Head::Gaussian { .. }, _) => ("gaussian", vec![1.5, 0.8]),
        (Head::TanhGaussian { low, high }, _) => ("tanh_gaussian", low.iter().chain(high).copied().map(f64::from).collect()),
        (Head::Deterministic { .. }, _) => ("deterministic", Vec::new()),
    };
    let choices = numbers("choices", action.choices().iter().map(|n| *n as f64));
    format!("{},{choices},{}", text("head", kind), numbers("head_values", bounds))
}

/// A critic of the team's state, or one that the twins share, of what each sees.
fn critic(case: u64, name: &str, source: Source, spec: &NetSpec, config: &CriticConfig) -> Out<String> {
    let (rng, pool, team, adam) = (rng(case), Pool::serial(), team(&ActionSpace::Discrete(3)), adam()?);
    let members = if source == Source::State { vec![0] } else { vec![0, 2] };
    let make = |engine: Engine, id| {
        Critic::new(&team, source, members.clone(), spec.clone(), true, config.clone(), adam.clone(), engine, &rng.fork(id))
    };
    let roll = rollout(&team, 0, &rng);
    let mut draw = rng.fork(4);
    let targets: Vec<f32> = (0..members.len() * roll.rows()).map(|_| (2.0 + 3.0 * draw.normal()) as f32).collect();
    // Old values of another network, so that the clip bites; a recurrent critic keeps its own, whose memory it needs.
    let values = make(Engine::Fused, u64::from(!spec.recurrent))?.values(&pool, &roll);
    let mut fields = vec![text("name", name), text("kind", "critic"), describe_net(make(Engine::Fused, 0)?.net())];
    for (field, engine) in engines()? {
        let mut critic = make(engine, 0)?;
        critic.fit(&pool, &roll, &values, &targets, CHUNK, 0.0, &rng.fork(5))?;
        let mut state = StateWriter::new();
        critic.save(&mut state);
        fields.push(gradient(field, &state)?);
    }
    let slots = |f: &dyn Fn(usize, usize, usize) -> Vec<f64>| {
        let all = (0..members.len()).flat_map(|m| (0..roll.rows()).map(move |r| (m, r)));
        all.flat_map(|(m, r)| f(m, roll.at(r).0, roll.at(r).1)).collect::<Vec<_>>()
    };
    let flag = |on: bool| vec![f64::from(u8::from(on))];
    let seen = |m: usize, e: usize, t: usize| match source {
        Source::Obs => roll.obs(e, t, members[m]).iter().copied().chain([(1 - m) as f32, m as f32]).map(f64::from).collect(),
        _ => roll.state(e, t, 0).iter().copied().map(f64::from).collect(),
    };
    let counts = |m: usize, e: usize, t: usize| match source {
        Source::Obs => roll.active(e, t, members[m]),
        _ => roll.lanes[e].valid[t],
    };
    fields.extend([
        numbers("x", slots(&seen)),
        numbers("active", slots(&|m, e, t| flag(counts(m, e, t)))),
        numbers("first", slots(&|_, e, t| flag(roll.lanes[e].first[t]))),
        numbers("old", values.here.iter().copied().map(f64::from)),
        numbers("targets", targets.iter().copied().map(f64::from)),
        numbers("length", if spec.recurrent { vec![CHUNK as f64] } else { Vec::new() }),
        numbers("steps", [STEPS as f64]),
        numbers("clip", [config.value_clip]),
        numbers("delta", [config.huber_delta]),
        numbers("coef", [config.value_coef]),
        text("loss", &config.value_loss),
        text("norm", &config.value_norm),
    ]);
    Ok(object(&fields))
}

fn describe_net(net: &Net) -> String {
    let entry = |e: &motley_nn::net::Entry| {
        object(&[
            text("name", &e.name),
            numbers("offset", [e.offset as f64]),
            numbers("shape", e.shape.iter().map(|d| *d as f64)),
        ])
    };
    let entries: Vec<String> = net.entries().iter().map(entry).collect();
    let activation = text("activation", net.spec().activation.name());
    let params = numbers("params", net.params().iter().copied().map(f64::from));
    format!("{activation},\"entries\":[{}],{params}", entries.join(","))
}

/// What the one step climbed, from the optimiser's first moment.
fn gradient(field: &str, state: &StateWriter) -> Out<String> {
    let first = StateReader::from_bytes(state.to_bytes()?)?.f32s("adam.first")?;
    Ok(numbers(field, first.into_iter().map(|m| f64::from(m) / f64::from(1.0 - 0.9f32))))
}

fn numbers(name: &str, values: impl IntoIterator<Item = f64>) -> String {
    let all: Vec<String> = values.into_iter().map(|v| v.to_string()).collect();
    format!("\"{name}\":[{}]", all.join(","))
}

fn text(name: &str, value: &str) -> String {
    format!("\"{name}\":\"{value}\"")
}

fn object(fields: &[String]) -> String {
    format!("{{{}}}", fields.join(","))
}

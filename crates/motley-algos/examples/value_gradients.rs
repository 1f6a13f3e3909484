//! Prints, as JSON, the gradients that value-based algorithms really step along, with replay, networks and targets that they were
//! computed from: `cargo run -p motley-algos --example value_gradients`. `tests/python/test_value_losses_jax.py` holds them to JAX in
//! double precision.
//!
//! Nothing reaches inside. A learner takes a large step, so that targets differ from what they follow, and is saved; taken up again,
//! it learns once more from the whole replay. The gradient of that step is in Adam's first moment, `m' = beta1 m + (1 - beta1) g`.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use motley_algos::{Algorithm, Registry, UpdateContext};
use motley_core::{
    ActionSpace, AgentSpec, FrameBuf, Key, Kind, ObsSpace, Origin, Purpose, Settings, StateSpace, Status, Stream, TeamSpec,
};
use motley_data::rollout::Rollout;
use motley_nn::{Policy, Pool};
use motley_run::{StateReader, StateWriter};
use serde_json::{Map, Value, json};

type Out<T> = Result<T, Box<dyn Error>>;

const ENVS: usize = 4;
const STEPS: usize = 14;

const COMMON: [&str; 7] = [
    "algo.max_grad_norm=0",
    "algo.target_update=1000",
    "algo.updates=1",
    "algo.buffer_episodes=40",
    "algo.episode_limit=5",
    "algo.epsilon_start=0.3",
    "algo.epsilon_end=0.3",
];

fn main() -> Out<()> {
    let gru = ["net.hidden_sizes=[9]", "net.recurrent=true"];
    let mlp = ["net.hidden_sizes=[10, 7]", "net.recurrent=false", "net.activation=tanh", "net.last_action=false"];
    let normed = ["net.hidden_sizes=[8]", "net.recurrent=true", "net.feature_norm=true", "net.layer_norm=true"];
    let cases: [(&str, &str, &[&str], &[&str]); 8] = [
        ("vdn, recurrent, Q(lambda)", "vdn", &gru, &["algo.td_lambda=0.6"]),
        ("vdn, feed-forward, targets' own choices", "vdn", &mlp, &["algo.double_q=false"]),
        ("qmix, recurrent", "qmix", &gru, &["algo.mixer_embed=6", "algo.hyper_sizes=[5]", "algo.loss_coef=0.5"]),
        (
            "qmix, n-step, linear hypernetworks",
            "qmix",
            &mlp,
            &["algo.returns=n_step", "algo.n_step=3", "algo.mixer_embed=17", "algo.hyper_sizes=[]"],
        ),
        ("qtran, hidden", "qtran", &normed, &["algo.mixer_embed=7", "algo.nopt_coef=0.4"]),
        ("qtran, actions", "qtran", &mlp, &["algo.mixer_embed=7", "algo.opt_coef=0.3"]),
        ("iql, hysteretic, own rewards", "iql", &gru, &["algo.hysteretic=0.4", "algo.td_lambda=0.3"]),
        (
            "iql, importance, fingerprints",
            "iql",
            &gru,
            &["algo.importance=true", "algo.fingerprint=true", "algo.importance_clip=3"],
        ),
    ];
    let mut all = Vec::new();
    for (k, (name, algo, net, more)) in cases.into_iter().enumerate() {
        all.push(case(k as u64, name, algo, &[&COMMON[..], net, more].concat())?);
    }
    writeln!(std::io::stdout().lock(), "{}", json!({ "cases": all }))?;
    Ok(())
}

/// Two agents of one kind, which share parameters, and a third that is unlike them; each is paid for itself.
fn team() -> Arc<TeamSpec> {
    let agent = |name: &str, kind: &str, obs, n| AgentSpec::new(name, kind, ObsSpace::vector(obs), ActionSpace::Discrete(n));
    let mut team =
        TeamSpec::new("test/values", vec![agent("left", "twin", 4, 3), agent("odd", "odd", 2, 4), agent("right", "twin", 4, 3)]);
    (team.masks, team.deaths, team.state) = (true, true, StateSpace::Ep(5));
    Arc::new(team)
}

fn fill(buf: &mut FrameBuf, rng: &mut Stream, alive: &[bool]) {
    buf.obs.iter_mut().chain(&mut buf.state).for_each(|x| *x = rng.normal() as f32);
    buf.avail.iter_mut().for_each(|a| *a = rng.bernoulli(0.6));
    // The first choice of all stays available.
    [0, 3, 7].into_iter().for_each(|at| buf.avail[at] = true);
    buf.alive.copy_from_slice(alive);
}

/// Episodes of made-up numbers: masks, deaths, a hole, terminations and truncations, lengths from 1 to beyond a slot.
fn rollout(team: &Arc<TeamSpec>, memory_len: usize, rng: &Stream) -> Rollout {
    let mut roll = Rollout::new(Arc::clone(team), ENVS, STEPS, memory_len);
    let (mut rng, mut buf) = (rng.fork(1), FrameBuf::new(team));
    for lane in &mut roll.lanes {
        let mut alive = vec![true; 3];
        fill(&mut buf, &mut rng, &alive);
        put(lane, 0, &mut buf);
        lane.first[0] = true;
        for t in 0..STEPS {
            for i in 0..3 {
                let mask = team.mask_range(i);
                let open: Vec<usize> = (0..mask.len()).filter(|k| buf.avail[mask.start + k]).collect();
                lane.actions[3 * t + i] = open[rng.below(open.len() as u32) as usize] as f32;
                lane.log_probs[3 * t + i] = rng.range(0.2, 1.0).ln() as f32;
                lane.rewards[3 * t + i] = rng.normal();
            }
            lane.valid[t] = t != 9;
            let ends = rng.bernoulli(0.25);
            lane.status[t] = match (ends && lane.valid[t], rng.bernoulli(0.5)) {
                (false, _) => Status::Running,
                (true, true) => Status::Terminated,
                (true, false) => Status::Truncated,
            };
            (0..3).for_each(|i| alive[i] &= !rng.bernoulli(0.1));
            fill(&mut buf, &mut rng, &alive);
            if lane.status[t].done() {
                lane.put_final(t, &frame(&mut buf));
            }
            let fresh = lane.status[t].done() || !lane.valid[t];
            if fresh {
                alive = vec![true; 3];
                fill(&mut buf, &mut rng, &alive);
            }
            put(lane, t + 1, &mut buf);
            lane.first[t + 1] = fresh;
        }
    }
    roll
}

fn frame(buf: &mut FrameBuf) -> motley_core::Frame<'_> {
    let FrameBuf { obs, state, avail, rewards, alive } = buf;
    motley_core::Frame { obs, state, avail, rewards, alive }
}

fn put(lane: &mut motley_data::rollout::Lane, t: usize, buf: &mut FrameBuf) {
    lane.put(t, &frame(buf));
}

fn build(algo: &str, team: &Arc<TeamSpec>, words: &[&str], rng: &Stream) -> Out<(Box<dyn Algorithm>, Settings)> {
    let spec = Registry::builtin().get(algo)?;
    let device = Key::new("device", "cpu", Kind::Text, "engine");
    let reward = Key::new("task.reward", "auto", Kind::Text, "reward");
    let envs = Key::new("num_envs", 20, Kind::Int(1, 100_000), "copies");
    let mut settings = Settings::new([spec.keys(), vec![device, reward, envs]].concat());
    for word in words {
        settings.set_text(word, Origin::CommandLine)?;
    }
    Ok((spec.build(team, &settings, rng)?, settings))
}

fn case(k: u64, name: &str, algo: &str, words: &[&str]) -> Out<Value> {
    let (team, pool, rng) = (team(), Pool::serial(), Stream::new(21, Purpose::Check, k, 0));
    let context = || UpdateContext { pool: &pool, progress: 0.0, rng: rng.fork(7) };
    // How many episodes there are is known once they are stored.
    let (mut counting, _) = build(algo, &team, &[words, &["algo.batch_episodes=40"]].concat(), &rng)?;
    let memory_len = counting.policy().memory_len();
    let roll = rollout(&team, memory_len, &rng);
    counting.update(&roll, &context())?;
    let stored = saved(&*counting)?.u64s("replay.counters")?[1];

    let batch = format!("algo.batch_episodes={stored}");
    let words = [words, &[&batch]].concat();
    let (mut first, settings) = build(algo, &team, &[&words[..], &["algo.lr=0.05"]].concat(), &rng)?;
    first.update(&roll, &context())?;
    let before = saved(&*first)?;
    let (mut again, _) = build(algo, &team, &[&words[..], &["algo.lr=0"]].concat(), &rng)?;
    again.load(&before)?;
    let mut nothing = roll.clone();
    nothing.lanes.iter_mut().for_each(|lane| lane.valid.fill(false));
    again.update(&nothing, &context())?;
    let (old, new) = (before.f32s("adam.first")?, saved(&*again)?.f32s("adam.first")?);
    let beta = f64::from(0.9_f32);
    let gradient: Vec<f64> = old.iter().zip(&new).map(|(m, n)| (f64::from(*n) - beta * f64::from(*m)) / (1.0 - beta)).collect();

    let mut state = Map::new();
    let apart = ["adam.", "piece.", "replay.running", "replay.episodes"];
    for entry in before.names().filter(|n| !apart.iter().any(|a| n.starts_with(a))) {
        state.insert(entry.to_owned(), numbers(&before, entry)?);
    }
    let pieces = before.pieces("replay.episodes")?.read().collect::<Result<Vec<_>, _>>()?;
    state.insert("replay.episodes".into(), json!(pieces.concat()));
    let entries = |entries: &[motley_nn::net::Entry]| {
        entries.iter().map(|e| json!({"name": e.name, "offset": e.offset, "shape": e.shape})).collect::<Vec<_>>()
    };
    let policy = again.policy();
    let groups: Vec<Value> = policy
        .groups()
        .iter()
        .map(|g| json!({"members": g.members, "activation": g.net.spec().activation.name(), "entries": entries(g.net.entries())}))
        .collect();
    Ok(json!({
        "name": name, "algo": algo, "groups": groups, "state": state, "gradient": gradient,
        "settings": serde_json::to_value(settings.to_table())?,
        "sizes": {"obs": [4, 2, 4], "choices": [3, 4, 3], "state": 5},
    }))
}

fn saved(algorithm: &dyn Algorithm) -> Out<StateReader> {
    let mut w = StateWriter::new();
    algorithm.save(&mut w);
    Ok(StateReader::from_bytes(w.to_bytes()?)?)
}

fn numbers(state: &StateReader, name: &str) -> Out<Value> {
    if let Ok(values) = state.f32s(name) {
        return Ok(json!(values.into_iter().map(f64::from).collect::<Vec<_>>()));
    }
    if let Ok(values) = state.f64s(name) {
        return Ok(json!(values));
    }
    if let Ok(values) = state.u64s(name) {
        return Ok(json!(values));
    }
    Ok(json!(state.u8s(name)?))
}

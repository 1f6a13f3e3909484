//! Message passing against a dense re-computation, against Burn's autodiff, and under permutations of the agents (T25).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use motley_core::{ActionSpace, AgentSpec, ObsSpace, Purpose, Stream, TeamSpec};
use motley_nn::graph::{Graph, Topology};
use motley_nn::init::Init;
use motley_nn::policy::{ActScratch, ActingGroup, Decision, Mode, ObsBatch};
use motley_nn::{
    Activation, Batch, Engine, Explore, Head, Net, NetScratch, NetSpec, NetWork, Policy, Pool, RowLoss, TeamPolicy,
    system_neural_diversity,
};

/// Observations `[a, x, y, vx, vy, b]`: something, position, velocity, something.
fn team(n: usize) -> TeamSpec {
    let agent = |i: usize| {
        let mut agent = AgentSpec::new(format!("a{i}"), "robot", ObsSpace::vector(6), ActionSpace::Discrete(4));
        (agent.position, agent.velocity) = (Some(1..3), Some(3..5));
        agent
    };
    TeamSpec::new("test/graph", (0..n).map(agent).collect())
}

fn rng(k: u64) -> Stream {
    Stream::new(k, Purpose::Init, 0, 0)
}

fn spec(output: usize, recurrent: bool) -> NetSpec {
    NetSpec {
        obs: ObsSpace::vector(0),
        extra: 0,
        hidden_sizes: vec![9, 7],
        activation: Activation::Tanh,
        last_activation: None,
        feature_norm: false,
        layer_norm: false,
        recurrent,
        output,
        output_gain: 1.0,
        init: Init::Uniform,
        free: Vec::new(),
    }
}

fn observations(n: usize, rng: &mut Stream) -> Vec<f32> {
    (0..6 * n).map(|_| rng.range(-1.0, 1.0) as f32).collect()
}

/// A layer's weights `[in, out]` and bias in f64.
fn layer(net: &Net, name: &str, x: &[f64]) -> Vec<f64> {
    let weight = &net.params()[net.entry(&format!("{name}.weight")).unwrap().range()];
    let bias = &net.params()[net.entry(&format!("{name}.bias")).unwrap().range()];
    (0..bias.len())
        .map(|o| f64::from(bias[o]) + x.iter().enumerate().map(|(i, x)| x * f64::from(weight[i * bias.len() + o])).sum::<f64>())
        .collect()
}

fn tanh(x: Vec<f64>) -> Vec<f64> {
    x.into_iter().map(f64::tanh).collect()
}

/// The paper's formulas agent by agent, without slots or batches.
fn dense(net: &Net, obs: &[f32], i: usize, n: usize, hears: impl Fn(usize, usize) -> bool) -> Vec<f64> {
    let at = |j: usize, k: usize| f64::from(obs[6 * j + k]);
    let node = |j: usize| vec![at(j, 0), at(j, 3), at(j, 4), at(j, 5)];
    let mut sum = vec![0.0; 5];
    for j in (0..n).filter(|&j| j != i && hears(i, j)) {
        let (dx, dy) = (at(j, 1) - at(i, 1), at(j, 2) - at(i, 2));
        let edge = [dx, dy, (dx * dx + dy * dy).sqrt(), at(j, 3) - at(i, 3), at(j, 4) - at(i, 4)];
        let x: Vec<f64> = node(j).into_iter().chain(edge).collect();
        let message = layer(net, "message.output", &tanh(layer(net, "message.hidden.0", &x)));
        sum.iter_mut().zip(message).for_each(|(s, m)| *s += m);
    }
    let x: Vec<f64> = node(i).into_iter().chain(sum).collect();
    layer(net, "output", &tanh(layer(net, "hidden.1", &tanh(layer(net, "hidden.0", &x)))))
}

#[test]
fn messages_equal_the_dense_formula_on_every_topology() {
    let n = 5;
    let team = team(n);
    let near = |obs: &[f32], i: usize, j: usize| (obs[6 * i + 1] - obs[6 * j + 1]).hypot(obs[6 * i + 2] - obs[6 * j + 2]) <= 0.9;
    let mut heard = 0;
    for (case, words) in ["full", "ring", "line", "radius", "0-1, 3-1"].into_iter().enumerate() {
        let graph = Arc::new(Graph::new(&team, Topology::parse(words, 0.9, n).unwrap(), 5).unwrap());
        let net = Net::on_graph(spec(3, false), Arc::clone(&graph), &rng(case as u64));
        let mut rng = rng(50 + case as u64);
        for _ in 0..10 {
            let obs = observations(n, &mut rng);
            for i in 0..n {
                let mut row = vec![9.0; graph.row_len()];
                graph.row(&obs, i, &mut row);
                let mut out = [0.0; 3];
                net.forward(&row, 1, &mut [], &mut out, &mut NetScratch::default());
                let hears = |i: usize, j: usize| match words {
                    "full" => true,
                    "ring" => (i + 1) % n == j || (j + 1) % n == i,
                    "line" => i.abs_diff(j) == 1,
                    "radius" => near(&obs, i, j),
                    _ => [(0, 1), (1, 0), (3, 1), (1, 3)].contains(&(i, j)),
                };
                heard += (0..n).filter(|&j| j != i && hears(i, j)).count();
                for (a, b) in out.iter().zip(dense(&net, &obs, i, n, hears)) {
                    assert!((f64::from(*a) - b).abs() < 1e-5, "{words} agent {i}: {a} {b}");
                }
            }
        }
    }
    assert!(heard > 200, "edges were there to be heard");
}

struct Squares;

impl RowLoss for Squares {
    fn stats_len(&self) -> usize {
        1
    }

    fn rows(&self, start: usize, out: &[f32], d_out: &mut [f32], stats: &mut [f64]) {
        for (k, (y, d)) in out.iter().zip(d_out).enumerate() {
            let e = y - ((start * 3 + k) as f32 * 0.37).sin();
            *d = e;
            stats[0] += 0.5 * f64::from(e * e);
        }
    }
}

/// Rows of unlike degree, some without any neighbour; feed-forward and recurrent; one thread and three.
#[test]
fn gradients_equal_burns() {
    let n = 4;
    let team = team(n);
    for (radius, recurrent) in [(0.8, false), (0.8, true), (0.0, false), (9.0, false)] {
        let graph = Arc::new(Graph::new(&team, Topology::Radius(radius), 6).unwrap());
        let net = Net::on_graph(spec(3, recurrent), Arc::clone(&graph), &rng(3));
        let mut rng = rng(4);
        let (rows, mut x) = (24, Vec::new());
        for r in 0..rows {
            let mut row = vec![0.0; graph.row_len()];
            graph.row(&observations(n, &mut rng), r % n, &mut row);
            x.extend(row);
        }
        let batch = Batch { x: &x, rows, sequence: None };
        let run = |engine: &Engine, pool: &Pool| {
            let (mut grad, mut stats) = (vec![7.0; net.params().len()], vec![0.0]);
            net.loss_grad(engine, pool, batch, &Squares, &mut grad, &mut stats, &mut NetWork::default());
            (grad, stats[0])
        };
        let (fused, loss) = run(&Engine::Fused, &Pool::serial());
        let (burn, reference) = run(&Engine::for_device("flex").unwrap(), &Pool::serial());
        assert!((loss - reference).abs() < 1e-5 * loss);
        let scale = burn.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        for (entry, (a, b)) in
            net.entries().iter().flat_map(|e| e.range().map(move |k| (e, k))).map(|(e, k)| (e, (fused[k], burn[k])))
        {
            assert!((a - b).abs() < 1e-5 * scale, "{} {a} {b}", entry.name);
        }
        assert_eq!(run(&Engine::Fused, &Pool::new(3).unwrap()).0, fused, "threads");
        let spoken =
            net.entries().iter().filter(|e| e.name.starts_with("message.")).any(|e| fused[e.range()].iter().any(|g| *g != 0.0));
        assert_eq!(spoken, radius > 0.0, "without neighbours nothing flows into messages");
    }
}

fn policy(team: &Arc<TeamSpec>, topology: &Topology, nets: &[u64]) -> TeamPolicy {
    let graph = Arc::new(Graph::new(team, topology.clone(), 8).unwrap());
    let group = |members: Vec<usize>, seed: u64| ActingGroup {
        memory_at: members.iter().map(|_| 0..0).collect(),
        members,
        net: Net::on_graph(spec(4, false), Arc::clone(&graph), &rng(seed)),
        head: Head::Categorical(vec![4]),
        constants: Vec::new(),
        last_action: false,
        agent_id: false,
        explore: Explore::Draw,
    };
    let all = (0..team.n()).collect();
    let groups = match nets {
        [one] => vec![group(all, *one)],
        _ => nets.iter().enumerate().map(|(i, seed)| group(vec![i], *seed)).collect(),
    };
    TeamPolicy::new(Arc::clone(team), groups)
}

/// Log-probabilities of the greedy actions, agent by agent.
fn decide(policy: &TeamPolicy, obs: &[f32]) -> Vec<(f32, f32)> {
    let avail = vec![true; policy.team().mask_len()];
    let mut out = Decision::default();
    let batch = ObsBatch { envs: 1, obs, avail: &avail };
    policy.act(batch, &mut [], Mode::Greedy, &[rng(0)], &mut out, &mut ActScratch::default()).unwrap();
    out.raw.iter().copied().zip(out.log_probs).collect()
}

/// T25: permuting the agents of one shared policy permutes its decisions, on a full graph and on graphs of unlike degree; copies
/// with equal weights do the same, copies with unlike weights do not.
#[test]
fn one_policy_for_all_is_equivariant_and_one_for_each_is_not() {
    let (n, order) = (5, [3, 0, 4, 1, 2]);
    let team = Arc::new(team(n));
    let mut rng = rng(9);
    for topology in [Topology::Full, Topology::Radius(0.8)] {
        for (nets, equivariant) in [(&[1][..], true), (&[1, 1, 1, 1, 1], true), (&[1, 2, 3, 4, 5], false)] {
            let policy = policy(&team, &topology, nets);
            let mut moved = 0.0f32;
            for _ in 0..20 {
                let obs = observations(n, &mut rng);
                let permuted: Vec<f32> = order.iter().flat_map(|&j| obs[6 * j..6 * j + 6].to_vec()).collect();
                let (plain, other) = (decide(&policy, &obs), decide(&policy, &permuted));
                for (k, &j) in order.iter().enumerate() {
                    moved = moved.max((plain[j].1 - other[k].1).abs());
                    assert!(!equivariant || plain[j].0 == other[k].0);
                }
            }
            // Messages are added in the order of the agents: equal up to rounding.
            assert_eq!(moved < 1e-5, equivariant, "{topology:?} {nets:?}: {moved}");
        }
    }
}

/// One network for all reads the flat observations; its joint choice is made of the agents', and so is its log-probability.
#[test]
fn a_central_policy_decides_jointly() {
    let team = Arc::new(team(3));
    let one = Arc::new(team.as_one().unwrap());
    let mut spec = spec(12, false);
    spec.obs = ObsSpace::vector(18);
    let net = Net::new(spec, &rng(5));
    let group = ActingGroup {
        members: vec![0],
        memory_at: std::iter::once(0..0).collect(),
        net: net.clone(),
        head: Head::Categorical(vec![4; 3]),
        constants: Vec::new(),
        last_action: false,
        agent_id: false,
        explore: Explore::Draw,
    };
    let policy = TeamPolicy::central(Arc::clone(&team), one, vec![group]);
    assert!(policy.is_central() && policy.team().n() == 3);
    let envs = 4;
    let obs: Vec<f32> = (0..envs).flat_map(|k| observations(3, &mut rng(k as u64))).collect();
    let avail: Vec<bool> = (0..envs * 12).map(|k| k % 4 != 3).collect();
    let (batch, streams) = (ObsBatch { envs, obs: &obs, avail: &avail }, [rng(1), rng(2), rng(3), rng(4)]);
    let mut out = Decision::default();
    policy.act(batch, &mut [], Mode::Sample, &streams, &mut out, &mut ActScratch::default()).unwrap();
    for e in 0..envs {
        let mut logits = [0.0; 12];
        net.forward(&obs[18 * e..18 * (e + 1)], 1, &mut [], &mut logits, &mut NetScratch::default());
        let own = Head::Categorical(vec![4]);
        let each = |i: usize| own.log_prob(&logits[4 * i..4 * i + 4], &[], &avail[..4], &out.raw[3 * e + i..3 * e + i + 1]);
        let joint: f32 = (0..3).map(each).sum();
        assert!((out.log_probs[3 * e] - joint).abs() < 1e-5, "{} {joint}", out.log_probs[3 * e]);
        assert_eq!(out.log_probs[3 * e + 1..3 * e + 3], [0.0; 2]);
        assert!(out.raw[3 * e..3 * e + 3].iter().all(|choice| *choice < 3.0), "the closed choice is never made");
    }
}

/// Copies behave alike; three agents of which two are copies have two pairs of three apart; more unlike weights are farther apart.
#[test]
fn diversity_counts_pairs_of_policies() {
    let team = Arc::new(team(3));
    let obs: Vec<f32> = (0..5).flat_map(|k| observations(3, &mut rng(k))).collect();
    let of = |nets: &[u64]| system_neural_diversity(&policy(&team, &Topology::Full, nets), &obs);
    assert_eq!((of(&[1]), of(&[1, 1, 1])), (None, Some(0.0)), "one shared policy has no pair");
    let (odd, all) = (of(&[1, 1, 2]).unwrap(), of(&[1, 2, 2]).unwrap());
    assert!(odd > 0.01 && (odd - all).abs() < 1e-9, "the distance is symmetric: {odd} {all}");
}

#[test]
fn positions_matter_only_against_each_other() {
    let team = Arc::new(team(3));
    let policy = policy(&team, &Topology::Full, &[6]);
    let obs = observations(3, &mut rng(7));
    let shifted: Vec<f32> = obs.iter().enumerate().map(|(k, x)| if k % 6 == 1 { x + 0.5 } else { *x }).collect();
    let apart: Vec<f32> = obs.iter().enumerate().map(|(k, x)| if k == 1 { x + 0.5 } else { *x }).collect();
    let far = |a: &[(f32, f32)], b: &[(f32, f32)]| a.iter().zip(b).map(|(a, b)| (a.1 - b.1).abs()).fold(0.0, f32::max);
    let plain = decide(&policy, &obs);
    assert!(far(&plain, &decide(&policy, &shifted)) < 1e-5);
    assert!(far(&plain, &decide(&policy, &apart)) > 1e-4);
}

#[test]
fn what_no_graph_can_be_made_of_is_refused_with_its_cause() {
    let mut odd = team(3);
    odd.agents[1].position = None;
    assert!(Graph::new(&odd, Topology::Full, 8).unwrap_err().contains("\"a1\""));
    for words in ["0-3", "1-1", "0", "", "radiant", "-1-2"] {
        assert!(Topology::parse(words, 1.0, 3).unwrap_err().contains("net.graph"), "{words}");
    }
    let graph = Graph::new(&team(3), Topology::Full, 8).unwrap();
    assert!(graph.fits(&team(3)) && !graph.fits(&team(4)) && !graph.fits(&odd));
}

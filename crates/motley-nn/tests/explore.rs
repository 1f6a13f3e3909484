//! Exploration belongs to collection: whoever evaluates, drawing or not, gets the policy beneath it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use burn::tensor::Device;
use motley_core::{ActionSpace, AgentSpec, ObsSpace, Purpose, Stream, TeamSpec};
use motley_nn::init::Init;
use motley_nn::policy::ActingGroup;
use motley_nn::{ActScratch, Activation, Decision, Explore, Head, Mode, Net, NetSpec, ObsBatch, Policy, TeamPolicy};

const ENVS: usize = 2000;

/// The share of environments in which the last of three options with logits 0, 0, 1 is taken.
fn share(explore: Explore, mode: Mode) -> f64 {
    let team = Arc::new(TeamSpec::new("test/one", vec![AgentSpec::new("a", "a", ObsSpace::vector(1), ActionSpace::Discrete(3))]));
    let spec = NetSpec {
        obs: ObsSpace::vector(1),
        extra: 0,
        hidden_sizes: Vec::new(),
        activation: Activation::Identity,
        last_activation: None,
        feature_norm: false,
        layer_norm: false,
        recurrent: false,
        output: 3,
        output_gain: 1.0,
        init: Init::Orthogonal,
        free: Vec::new(),
    };
    let rng = Stream::new(1, Purpose::Init, 0, 0);
    let mut net = Net::new(spec, &rng);
    net.set_params(|p| p.copy_from_slice(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]));
    let group = ActingGroup {
        members: vec![0],
        memory_at: std::iter::once(0..0).collect(),
        net,
        head: Head::Categorical(vec![3]),
        constants: Vec::new(),
        last_action: false,
        agent_id: false,
        explore,
    };
    let streams: Vec<Stream> = (0..ENVS).map(|e| Stream::new(2, Purpose::Act, e as u64, 0)).collect();
    let batch = ObsBatch { envs: ENVS, obs: &[1.0; ENVS], avail: &[true; 3 * ENVS] };
    let (mut out, mut there) = (Decision::default(), Decision::default());
    let policy = TeamPolicy::new(team, vec![group]);
    policy.act(batch, &mut [], mode, &streams, &mut out, &mut ActScratch::default()).unwrap();
    // With its network on a device it decides the same, and asks for all environments at once.
    let moved = policy.clone().on_device(&Device::flex());
    assert!(moved.wants_all() && !policy.wants_all());
    moved.act(batch, &mut [], mode, &streams, &mut there, &mut ActScratch::default()).unwrap();
    assert_eq!(there.env, out.env);
    out.env.iter().filter(|a| **a == 2.0).count() as f64 / ENVS as f64
}

#[test]
fn only_collection_explores() {
    let drawn = 1.0_f64.exp() / (2.0 + 1.0_f64.exp());
    for (explore, collected, sampled) in [
        (Explore::Draw, drawn, drawn),
        (Explore::Noise(0.1), drawn, drawn),
        (Explore::Epsilon(0.6), 0.4 + 0.2, 1.0),
        (Explore::Uniform, 1.0 / 3.0, 1.0),
    ] {
        for (mode, expected) in [(Mode::Explore, collected), (Mode::Sample, sampled), (Mode::Greedy, 1.0)] {
            let found = share(explore, mode);
            assert!((found - expected).abs() < 0.04, "{explore:?} {mode:?}: {found} for {expected}");
        }
    }
}

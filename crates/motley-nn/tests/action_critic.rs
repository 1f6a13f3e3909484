//! What actors climb where critics learn normalised targets.

#![allow(clippy::unwrap_used)]

use motley_core::{ObsSpace, Purpose, Stream};
use motley_nn::action_critic::{Climb, Fit};
use motley_nn::init::Init;
use motley_nn::objective::Regression;
use motley_nn::{ActionCritic, Activation, AdamConfig, Engine, NetSpec, Pool, ValueNorm};

const X: [f32; 6] = [0.3, -0.7, 1.1, 0.9, 0.2, -0.4];
const GOAL: [f32; 2] = [40.0, 70.0];

/// Twins that made one step towards [`GOAL`].
fn critic() -> ActionCritic {
    let spec = NetSpec {
        obs: ObsSpace::vector(3),
        extra: 0,
        hidden_sizes: vec![5],
        activation: Activation::Tanh,
        last_activation: None,
        feature_norm: false,
        layer_norm: false,
        recurrent: false,
        output: 1,
        output_gain: 1.0,
        init: Init::Uniform,
        free: Vec::new(),
    };
    let adam = AdamConfig { optimizer: "adam".into(), adam_eps: 1e-8, weight_decay: 0.0, max_grad_norm: 0.0 };
    let rng = Stream::new(3, Purpose::Init, 0, 0);
    let mut critic = ActionCritic::new("critic".into(), spec, 2, Some(ValueNorm::new(false)), &adam, Engine::Fused, &rng);
    let fit = Fit { x: &X, goal: &GOAL, weight: &[1.0, 1.0], regression: Regression::Squared };
    critic.fit(&Pool::serial(), fit, 1e-3).unwrap();
    critic
}

/// In the units of the rewards, or, where that is asked for, as the networks put it out.
#[test]
fn actors_climb_either_units() {
    let mut norm = ValueNorm::new(false);
    norm.update(&GOAL);
    let (shift, scale) = norm.moments();
    assert!(scale > 1.5, "{shift} {scale}");
    for climb in [Climb::First, Climb::Least] {
        let (mut units, mut plain) = ([0.0; 6], [0.0; 6]);
        let value = critic().climb(&Pool::serial(), &X, &[0.75, 0.25], climb, 0..3, &mut units);
        let mut raw = critic();
        raw.climb_normalized();
        let normalized = raw.climb(&Pool::serial(), &X, &[0.75, 0.25], climb, 0..3, &mut plain);
        assert!((value - (shift + scale * normalized)).abs() < 1e-4 * value.abs(), "{climb:?}: {value} {normalized}");
        for (a, b) in units.iter().zip(plain) {
            assert!(b != 0.0 && (f64::from(*a) - scale * f64::from(b)).abs() < 1e-4 * f64::from(a.abs()), "{climb:?}: {a} {b}");
        }
    }
}

//! A HAML algorithm of one's own in a few lines: a drift that is cubic in the ratio's distance from 1, inside a KL ball.
//!
//! `cargo run --release --example own_algorithm -- train cubic mpe/simple_spread_v3 total_steps=500000`

use std::sync::Arc;

use motley_algos::heterogeneous::haml::{HamlSpec, KlBall};
use motley_nn::objective::Drift;

/// `|r - 1|^3`: never negative, 0 and flat at r = 1, as the template asks of a drift.
#[derive(Debug)]
struct Cubic;

impl Drift for Cubic {
    fn term(&self, ratio: f32, _weight: f32) -> (f32, f32) {
        let distance = (ratio - 1.0).abs();
        // Value, and derivative with respect to ln r (dr / d ln r = r).
        (distance.powi(3), 3.0 * distance * (ratio - 1.0) * ratio)
    }
}

fn main() -> std::process::ExitCode {
    motley::cli(motley::Registry::builtin().with_algorithm(HamlSpec {
        name: "cubic",
        summary: "HAML with a cubic drift in a KL ball",
        paper: "this file",
        drift: |_| Ok(Arc::new(Cubic)),
        neighbourhood: |_| Ok(Box::new(KlBall { radius: 0.05 })),
        keys: Vec::new,
    }))
}

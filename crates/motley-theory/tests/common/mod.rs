//! Random games and policies for the tests.

use motley_core::{Purpose, Stream};
use motley_theory::{ProductPolicy, TabularGame};

pub fn stream(seed: u64) -> Stream {
    Stream::new(seed, Purpose::Check, 7, 0)
}

/// Shapes that vary with the seed: 2 or 3 agents, 2 to 4 actions, 1 to 4 states.
pub fn random_game(seed: u64, gamma: f64) -> (TabularGame, Stream) {
    let mut stream = stream(seed);
    let actions: Vec<usize> = (0..2 + stream.below(2)).map(|_| 2 + stream.below(3) as usize).collect();
    let states = 1 + stream.below(4) as usize;
    let game = TabularGame::random(&mut stream, states, &actions, gamma).unwrap();
    (game, stream)
}

/// The shape that the specification's observations are from: 3 agents, 3 actions, 4 states.
pub fn cube_game(seed: u64, gamma: f64) -> (TabularGame, Stream) {
    let mut stream = stream(seed);
    let game = TabularGame::random(&mut stream, 4, &[3, 3, 3], gamma).unwrap();
    (game, stream)
}

/// Full support with every probability at least 1e-3.
pub fn random_policy(game: &TabularGame, stream: &mut Stream) -> ProductPolicy {
    ProductPolicy::random(game, stream, 1e-3)
}

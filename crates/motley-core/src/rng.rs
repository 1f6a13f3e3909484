//! Counter-based random streams: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
//!
//! A [`Stream`] is named by (seed, purpose, environment, agent) and optionally forked further by step or item. Its state is
//! a key and a position, so nothing but two numbers is saved, no stream depends on how much another was used, and no
//! order of threads can matter.

use serde::{Deserialize, Serialize};

/// What a stream is for. The number is part of the name of the stream: never reuse one (9, 10 and 13 were others').
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial parameters.
    Init = 1,
    /// Episodes of training environments.
    Episode = 2,
    /// What collection draws: actions from policies, exploration, random actions of a warm-up.
    Act = 3,
    /// What updates draw: minibatches, batches from replay, the order of agents, noise inside losses.
    Shuffle = 4,
    /// The orders in which agents of exact games move.
    Order = 5,
    /// Episodes of evaluation.
    EvalEpisode = 6,
    /// Action sampling during evaluation.
    EvalAct = 7,
    /// Settings of a random search, trial by trial.
    Search = 8,
    /// Bootstrap resampling in statistics.
    Bootstrap = 11,
    /// Checks and tests.
    Check = 12,
}

/// The whole state of a [`Stream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// Which stream.
    pub key: u64,
    /// How many 32-bit words were drawn.
    pub pos: u64,
}

/// A random stream. Cloning it gives a second reader of the same numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    key: u64,
    pos: u64,
    block: [u32; 4],
}

const M0: u64 = 0xD251_1F53;
const M1: u64 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;

/// Philox4x32 with 10 rounds.
fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            k = [k[0].wrapping_add(W0), k[1].wrapping_add(W1)];
        }
        let p0 = M0 * u64::from(c[0]);
        let p1 = M1 * u64::from(c[2]);
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
    }
    c
}

/// The finaliser of SplitMix64: a bijection that spreads every bit.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn derive(key: u64, id: u64) -> u64 {
    mix(key.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ mix(id.wrapping_add(0xD1B5_4A32_D192_ED03)))
}

impl Stream {
    /// The stream of that name.
    pub fn new(seed: u64, purpose: Purpose, env: u64, agent: u64) -> Self {
        Self::from_key(derive(derive(derive(mix(seed), purpose as u64), env), agent))
    }

    fn from_key(key: u64) -> Self {
        Self { key, pos: 0, block: [0; 4] }
    }

    /// A stream of its own named by this one and `id` (a step, an agent, an epoch). Independent of how much this one drew.
    #[must_use]
    pub fn fork(&self, id: u64) -> Self {
        Self::from_key(derive(self.key, id))
    }

    /// Where the stream stands.
    pub fn state(&self) -> StreamState {
        StreamState { key: self.key, pos: self.pos }
    }

    /// Goes on from a saved state.
    pub fn from_state(state: StreamState) -> Self {
        let mut stream = Self { key: state.key, pos: state.pos, block: [0; 4] };
        if !state.pos.is_multiple_of(4) {
            stream.refill();
        }
        stream
    }

    fn refill(&mut self) {
        let index = self.pos / 4;
        self.block = philox([index as u32, (index >> 32) as u32, 0, 0], [self.key as u32, (self.key >> 32) as u32]);
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let lane = (self.pos % 4) as usize;
        if lane == 0 {
            self.refill();
        }
        self.pos += 1;
        self.block[lane]
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        low | (u64::from(self.next_u32()) << 32)
    }

    /// Uniform in `[0, 1)` with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform in `[0, 1)` with 24 bits.
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in `[low, high)`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `0..n` without bias (Lemire 2019). `n` must not be 0.
    pub fn below(&mut self, n: u32) -> u32 {
        debug_assert!(n > 0);
        let mut product = u64::from(self.next_u32()) * u64::from(n);
        if (product as u32) < n {
            let floor = n.wrapping_neg() % n;
            while (product as u32) < floor {
                product = u64::from(self.next_u32()) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }

    /// Standard normal (Box and Muller, one of the pair; the other is dropped so that a position means one draw).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Standard Gumbel: `-ln(-ln U)`, U in (0, 1).
    pub fn gumbel(&mut self) -> f64 {
        let u = ((self.next_u64() >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0);
        -(-u.ln()).ln()
    }

    /// True with probability `p`.
    pub fn bernoulli(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Fisher and Yates, in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u32 + 1) as usize;
            items.swap(i, j);
        }
    }

    /// A random order of `0..n`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with the Random123 library (kat_vectors, philox4x32 10).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_saved_state_goes_on_at_any_position() {
        for drawn in 0..9 {
            let mut a = Stream::new(7, Purpose::Act, 1, 2);
            (0..drawn).for_each(|_| {
                a.next_u32();
            });
            let mut b = Stream::from_state(a.state());
            assert_eq!((0..9).map(|_| a.next_u32()).collect::<Vec<_>>(), (0..9).map(|_| b.next_u32()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn names_give_unlike_streams() {
        let mut firsts: Vec<u64> = Vec::new();
        for seed in 0..8 {
            for purpose in [Purpose::Init, Purpose::Episode, Purpose::Act] {
                for env in 0..8 {
                    for agent in 0..8 {
                        firsts.push(Stream::new(seed, purpose, env, agent).next_u64());
                    }
                }
            }
        }
        let parent = Stream::new(0, Purpose::Shuffle, 0, 0);
        firsts.extend((0..1000).map(|i| parent.fork(i).next_u64()));
        let count = firsts.len();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), count);
    }

    #[test]
    fn moments_are_right() {
        let mut s = Stream::new(3, Purpose::Check, 0, 0);
        let n = 200_000;
        let mean_var = |draw: &mut dyn FnMut() -> f64| {
            let xs: Vec<f64> = (0..n).map(|_| draw()).collect();
            let mean = xs.iter().sum::<f64>() / f64::from(n);
            (mean, xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n))
        };
        let (m, v) = mean_var(&mut || s.uniform());
        assert!((m - 0.5).abs() < 0.003 && (v - 1.0 / 12.0).abs() < 0.001);
        let (m, v) = mean_var(&mut || s.normal());
        assert!(m.abs() < 0.01 && (v - 1.0).abs() < 0.02);
        let (m, v) = mean_var(&mut || s.gumbel());
        assert!((m - 0.577_215_66).abs() < 0.02 && (v - std::f64::consts::PI.powi(2) / 6.0).abs() < 0.05);
    }

    #[test]
    fn below_is_unbiased_and_permutations_are_complete() {
        let mut s = Stream::new(5, Purpose::Check, 0, 1);
        let mut counts = [0u32; 7];
        (0..70_000).for_each(|_| counts[s.below(7) as usize] += 1);
        assert!(counts.iter().all(|c| c.abs_diff(10_000) < 500), "{counts:?}");
        let mut order = s.permutation(20);
        order.sort_unstable();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }
}

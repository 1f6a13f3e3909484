//! numpy's default generator, bit for bit, so that an episode can start exactly as mpe2's does for a given seed.
//!
//! `SeedSequence` (O'Neill's `seed_seq` design) spreads the seed over the state of PCG64, the XSL-RR 128/64 member of the PCG
//! family (O'Neill 2014); bounded integers follow Lemire (2019).

/// The multiplier of PCG's 128-bit linear congruential generator.
const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

/// `numpy.random.Generator(PCG64(SeedSequence(seed)))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumpyRng {
    state: u128,
    increment: u128,
    /// The unused high half of the last 64-bit draw that served a 32-bit one.
    half: Option<u32>,
}

/// The bytes of [`NumpyRng::save`].
pub(super) const SAVED: usize = 37;

impl NumpyRng {
    /// Seeded as numpy seeds from an integer.
    pub fn new(seed: u64) -> Self {
        let words = seed_words(seed);
        let wide = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
        let mut rng = Self { state: 0, increment: (wide(words[2], words[3]) << 1) | 1, half: None };
        rng.advance();
        rng.state = rng.state.wrapping_add(wide(words[0], words[1]));
        rng.advance();
        rng
    }

    fn advance(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.advance();
        ((self.state >> 64) as u64 ^ self.state as u64).rotate_right((self.state >> 122) as u32)
    }

    /// 32 random bits: the low half of a 64-bit draw, then its high half.
    pub fn next_u32(&mut self) -> u32 {
        if let Some(high) = self.half.take() {
            return high;
        }
        let both = self.next_u64();
        self.half = Some((both >> 32) as u32);
        both as u32
    }

    /// `random()`: uniform in `[0, 1)` with 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// `uniform(low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// `uniform(-bound, bound, 2)`.
    pub(super) fn point(&mut self, bound: f64) -> [f64; 2] {
        [self.uniform(-bound, bound), self.uniform(-bound, bound)]
    }

    /// `integers(n)`: uniform in `0..n`. A range of one value draws nothing, as in numpy.
    pub fn integers(&mut self, n: u32) -> u32 {
        if n <= 1 {
            return 0;
        }
        let mut product = u64::from(self.next_u32()) * u64::from(n);
        if (product as u32) < n {
            let floor = n.wrapping_neg() % n;
            while (product as u32) < floor {
                product = u64::from(self.next_u32()) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }

    pub(super) fn save(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.state.to_le_bytes());
        bytes.extend(self.increment.to_le_bytes());
        bytes.push(u8::from(self.half.is_some()));
        bytes.extend(self.half.unwrap_or(0).to_le_bytes());
    }

    pub(super) fn load(bytes: &[u8; SAVED]) -> Option<Self> {
        let (state, rest) = bytes.split_first_chunk::<16>()?;
        let (increment, rest) = rest.split_first_chunk::<16>()?;
        let half = u32::from_le_bytes(*rest.last_chunk::<4>()?);
        let half = match rest[0] {
            0 => None,
            1 => Some(half),
            _ => return None,
        };
        Some(Self { state: u128::from_le_bytes(*state), increment: u128::from_le_bytes(*increment), half })
    }
}

/// The four 64-bit words that `SeedSequence(seed)` generates.
fn seed_words(seed: u64) -> [u64; 4] {
    let mut multiplier = 0x43b0_d7e5_u32;
    let mut hash = |value: u32| {
        let mut v = value ^ multiplier;
        multiplier = multiplier.wrapping_mul(0x931e_8875);
        v = v.wrapping_mul(multiplier);
        v ^ (v >> 16)
    };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(&mut hash);
    for from in 0..4 {
        for to in 0..4 {
            if from != to {
                let h = hash(pool[from]);
                let mixed = 0xca01_f9dd_u32.wrapping_mul(pool[to]).wrapping_sub(0x4973_f715_u32.wrapping_mul(h));
                pool[to] = mixed ^ (mixed >> 16);
            }
        }
    }
    let mut multiplier = 0x8b51_f9dd_u32;
    let mut word = |i: usize| {
        let mut d = pool[i % 4] ^ multiplier;
        multiplier = multiplier.wrapping_mul(0x58f3_8ded);
        d = d.wrapping_mul(multiplier);
        u64::from(d ^ (d >> 16))
    };
    std::array::from_fn(|i| word(2 * i) | (word(2 * i + 1) << 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `PCG64(SeedSequence(seed)).random_raw(3)`, numpy 2.4.
    #[test]
    fn raw_words_are_numpys() {
        let known: [(u64, [u64; 3]); 6] = [
            (0, [0xa30f_ebcf_d9c2_825f, 0x4510_bdf8_82d9_d721, 0x0a7d_3da9_4ecd_e8b8]),
            (1, [0x8306_bdf3_7922_e4ff, 0xf351_96bb_c152_a866, 0x24e7_a4f6_08ec_18cd]),
            (12345, [0x3a32_b18d_b2ff_c19d, 0x5117_1315_c9e4_c4de, 0xcc20_2482_3444_efd9]),
            (4_294_967_295, [0x407f_5fa9_30d8_fd9f, 0x3814_b22e_b968_4802, 0x498b_7dce_e8d8_dc95]),
            (4_294_967_303, [0xc527_f515_dec9_5ccd, 0x1ca7_438d_e038_1dec, 0x3068_b584_4246_d312]),
            (9_223_372_036_854_775_819, [0x2b7f_a400_8afe_6810, 0xcec3_c92e_6ecf_2f3b, 0x4382_090b_2285_1ecc]),
        ];
        for (seed, words) in known {
            let mut rng = NumpyRng::new(seed);
            assert_eq!(std::array::from_fn(|_| rng.next_u64()), words, "seed {seed}");
        }
    }

    /// `default_rng(7)`: integers and doubles in turn, which exercises the buffered half word.
    #[test]
    fn mixed_draws_are_numpys() {
        let mut rng = NumpyRng::new(7);
        assert_eq!([3, 2, 1, 10].map(|n| rng.integers(n)), [2, 1, 0, 6]);
        assert_eq!(rng.uniform(-1.0, 1.0), f64::from_bits(0x3fe1_a4d5_97e5_02be));
        assert_eq!(rng.integers(6), 5);
        assert_eq!(rng.uniform(-0.9, 0.9), f64::from_bits(0xbfdf_a7f8_3f79_903f));
        assert_eq!(rng.integers(3_000_000_000), 166_594_732);
        assert_eq!(rng.unit(), f64::from_bits(0x3feb_f426_5ae9_1f44));
    }

    #[test]
    fn a_saved_generator_goes_on() {
        let mut a = NumpyRng::new(3);
        for draws in 0..4 {
            let mut bytes = Vec::new();
            a.save(&mut bytes);
            let b = NumpyRng::load(bytes.first_chunk().unwrap()).unwrap();
            assert_eq!((bytes.len(), b), (SAVED, a.clone()), "after {draws}");
            a.next_u32();
        }
    }
}

//! Sine and cosine as PyTorch 2.15 computes them in `float32` on x86-64, bit for bit, and with the same bits wherever Motley runs.
//!
//! PyTorch's are not rounded correctly: one angle in twenty is one off in the last place. Stiff
//! joints make some hundred times as much of that, so a step that is to be vmas's needs these very functions. They have one
//! answer for each number, whatever the size of the batch and whether PyTorch runs AVX2 or AVX-512. `tests/parity/vmas/elementary.py` compares
//! them and records what the test here holds them to. Of all angles below 10000, 440 million sines and cosines, 14 differ.

use super::shape::Vec2;

/// `sin r / r` as `1 + SINE[0] r^2 + SINE[1] r^4 + SINE[2] r^6 + SINE[3] r^8` for `|r| <= pi / 2`: the minimax polynomial of the relative error
/// (6.05e-9) with a leading 1, by Remez's exchange.
const SINE: [f64; 4] =
    [-0.166_666_595_504_277_56, 0.008_333_066_246_082_155, -0.000_198_096_029_019_379_5, 2.605_780_637_968_037e-6];
/// Pi in two parts (W. J. Cody, W. Waite, *Software Manual for the Elementary Functions*, 1980): the first has 35 bits, so that
/// its products with the multiples of one half that are needed here are exact.
const PI_HEAD: f64 = f64::from_bits(0x4009_21fb_5444_0000);
const PI_TAIL: f64 = std::f64::consts::PI - PI_HEAD + 1.224_646_799_147_353_2e-16;
/// From here on PyTorch reduces angles in another way; no robot turns that far.
const FAR: f64 = 10_000.0;
/// Added and taken away again it leaves the nearest whole number, of two the even one; the sum's last bit says whether it is odd.
const WHOLE: f64 = 6_755_399_441_055_744.0;

/// `sin(x - (k - shift) pi)` with the sign that makes it the sine (`shift` 0) or cosine (`shift` 1/2) of `x`, for `k` the whole number
/// nearest to `x / pi + shift`: in double precision, rounded once.
#[inline]
fn wave(x: f64, shift: f64) -> f32 {
    let sum = x * std::f64::consts::FRAC_1_PI + shift + WHOLE;
    let turns = sum - WHOLE - shift;
    let r = (x - turns * PI_HEAD) - turns * PI_TAIL;
    let s = r * r;
    let value = r * (1.0 + s * (SINE[0] + s * (SINE[1] + s * (SINE[2] + s * SINE[3]))));
    f64::from_bits(value.to_bits() ^ (sum.to_bits() << 63)) as f32
}

/// The unit vector of an angle: its cosine and its sine.
#[inline]
pub fn direction(angle: f32) -> Vec2 {
    let x = f64::from(angle);
    if x.abs() < FAR {
        return [wave(x.abs(), 0.5), wave(x, 0.0)];
    }
    let (sin, cos) = x.sin_cos();
    [cos as f32, sin as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 64th number of a binade, up to `most`.
    fn binade(exponent: i32, most: f32) -> impl Iterator<Item = f32> + Clone {
        let [first, last] = [exponent, exponent + 1].map(|e| 2.0_f32.powi(e).min(most).to_bits());
        (first..last).step_by(64).map(f32::from_bits)
    }

    /// The sum of the bits times 1, 3, 5, ...: one number that is off by less than `2^63` in one place changes it.
    fn digest(numbers: impl Iterator<Item = f32>) -> u64 {
        numbers.zip((1..).step_by(2)).fold(0, |sum: u64, (x, odd)| sum.wrapping_add(u64::from(x.to_bits()).wrapping_mul(odd)))
    }

    /// What PyTorch 2.15.0 answered: binade; sines, cosines of it and its negatives.
    const WAVES: [(i32, u64, u64); 28] = [
        (-14, 0x8caa_a8aa_aa80_0000, 0xf800_0000_0000_0000),
        (-13, 0x94aa_a8aa_aa80_0000, 0xf800_0000_0000_0000),
        (-12, 0x9caa_a8a6_8b66_3508, 0xf7ff_ffec_1b56_e228),
        (-11, 0xa4aa_a893_9504_67f2, 0xf7ff_ffae_d6a3_2e68),
        (-10, 0xacaa_a84e_64ad_40d6, 0xf7ff_feb6_c84e_4042),
        (-9, 0xb4aa_a739_999a_a676, 0xf7ff_fad6_a273_0eb4),
        (-8, 0xbcaa_a2e6_695c_e466, 0xf7ff_eb56_5da4_0710),
        (-7, 0xc4aa_9199_b074_63a2, 0xf7ff_ad56_2ec0_5918),
        (-6, 0xccaa_4c67_5d1a_ae98, 0xf7fe_b55a_4220_175c),
        (-5, 0xd4a9_37a7_1b61_d904, 0xf7fa_d5a4_819c_2a02),
        (-4, 0xdca4_e536_ad75_ce34, 0xf7eb_5a48_bf33_5804),
        (-3, 0xe493_a47a_d4f6_b0aa, 0xf7ad_a43d_a41e_2520),
        (-2, 0xec4f_30dc_bdb5_673c, 0xf6ba_3c93_2f05_8610),
        (-1, 0xf346_112a_d578_15f4, 0xf322_4634_b375_ec1a),
        (0, 0xf765_29a0_6032_965c, 0x4d02_d7c5_bcfd_1606),
        (1, 0x332d_2935_018f_2a14, 0xf5a7_11b0_b25d_88b0),
        (2, 0xa84f_696d_cce9_6ac2, 0x32eb_faaf_c061_d8ce),
        (3, 0x36f9_aa49_8314_5b58, 0x932e_e9fd_d731_622c),
        (4, 0xa6ba_8a4b_59ad_4a1e, 0xa584_1098_1ab0_a350),
        (5, 0xf8e5_0b0b_a661_4506, 0xc198_e271_a415_a3b2),
        (6, 0xf919_7a43_757d_60e0, 0xe5cf_47db_c213_1976),
        (7, 0xecaf_9815_9115_c72a, 0x52d_d01e_cbad_8632),
        (8, 0xf279_6075_a760_09b2, 0xec64_1d3a_beb9_36e6),
        (9, 0xecc3_bfa6_c3e5_06bc, 0xf01d_87d5_f0c1_1242),
        (10, 0xefa2_f45c_5ed6_a532, 0xeffe_c67a_4393_1774),
        (11, 0xefb2_362b_48e9_caf2, 0xf001_8237_5f8d_f748),
        (12, 0xefb1_63c2_497e_3418, 0xf00f_e2a4_601b_da1e),
        (13, 0x62fb_450b_f8ad_edee, 0x62f3_ec67_8097_c78a),
    ];
    /// 14.3 million answers, bit for bit.
    #[test]
    fn sines_and_cosines_are_those_of_pytorch() {
        for (exponent, sines, cosines) in WAVES {
            let all = binade(exponent, 10_000.0).chain(binade(exponent, 10_000.0).map(|x| -x));
            assert_eq!(digest(all.clone().map(|x| direction(x)[1])), sines, "sines from 2^{exponent} on");
            assert_eq!(digest(all.map(|x| direction(x)[0])), cosines, "cosines from 2^{exponent} on");
        }
    }

    #[test]
    fn the_ends_of_the_ranges_are_sound() {
        assert_eq!(direction(0.0), [1.0, 0.0]);
        assert!(direction(-0.0)[1].is_sign_negative());
        assert!(direction(f32::NAN).iter().chain(&direction(f32::INFINITY)).all(|x| x.is_nan()));
        for x in [9_999.999_f32, 10_000.0, -123_456.79, 3e30] {
            let (sin, cos) = f64::from(x).sin_cos();
            let [c, s] = direction(x).map(f64::from);
            assert!((c - cos).abs() < 7e-8 && (s - sin).abs() < 7e-8, "{x}");
        }
    }
}

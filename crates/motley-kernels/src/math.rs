//! Exponential, logarithm, hyperbolic tangent and logistic function on vectors: the same bits on every machine.
//!
//! Range reduction by Cody and Waite, minimax polynomials with the coefficients of the Cephes library (S. Moshier, public
//! netlib release). Largest errors seen against `f64`: 2 units in the last place (3 for `tanh` and the logistic function).

use crate::simd::{Isa, LANES, Lanes, Task, V, dispatch};

/// `e^r - 1` after reduction and the bits of `2^23 * 1.5 + n`, where `x = n ln 2 + r`.
#[inline(always)]
fn reduce_exp<L: Lanes>(l: L, x: V) -> (V, V) {
    let magic = l.splat(12_582_912.0);
    let shifted = l.fma(x, l.splat(std::f32::consts::LOG2_E), magic);
    let n = l.sub(shifted, magic);
    let r = l.fma(n, l.splat(-0.693_359_4), x);
    let r = l.fma(n, l.splat(2.121_944_4e-4), r);
    let mut p = l.splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = l.fma(p, r, l.splat(c));
    }
    (l.fma(l.mul(r, r), p, r), shifted)
}

/// Where `e^x` is a normal number.
const LOW: f32 = -87.336_54;
const HIGH: f32 = 88.722_83;

/// `e^x` between [`LOW`] and [`HIGH`], anything elsewhere.
#[inline(always)]
fn exp_inside<L: Lanes>(l: L, x: V) -> V {
    let (e, shifted) = reduce_exp(l, x);
    let one_up = l.add(e, l.splat(1.0));
    let scale = l.wrapping_dyn_shl_u32s(l.bits(shifted), l.splat_u32s(23));
    l.floats(l.add_u32s(l.bits(one_up), scale))
}

/// `e^x`; 0 below [`LOW`], infinity above [`HIGH`].
#[inline(always)]
pub(crate) fn exp<L: Lanes>(l: L, x: V) -> V {
    let y = exp_inside(l, x);
    let y = l.lt(x, l.splat(LOW), l.zero(), l.lt(l.splat(HIGH), x, l.splat(f32::INFINITY), y));
    nan_stays(l, x, y)
}

/// `e^x - 1`, accurate near 0.
#[inline(always)]
pub(crate) fn exp_m1<L: Lanes>(l: L, x: V) -> V {
    let near = l.mul(x, x);
    let (small, _) = reduce_exp(l, l.lt(near, l.splat(0.1), x, l.zero()));
    l.lt(near, l.splat(0.1), small, l.sub(exp(l, x), l.splat(1.0)))
}

/// `y`, or `x` where that is NaN.
#[inline(always)]
fn nan_stays<L: Lanes>(l: L, x: V, y: V) -> V {
    let ordered = l.equal_f32s(x, x);
    l.choose(ordered, y, x)
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<L: Lanes>(l: L, x: V) -> V {
    let sign = l.and_u32s(l.bits(x), l.splat_u32s(0x8000_0000));
    let size = l.floats(l.and_u32s(l.bits(x), l.splat_u32s(0x7fff_ffff)));
    let z = l.mul(x, x);
    let mut p = l.splat(-5.704_988_7e-3);
    for c in [2.063_909e-2, -5.373_971_6e-2, 0.133_314_42, -0.333_332_8] {
        p = l.fma(p, z, l.splat(c));
    }
    let near = l.fma(l.mul(p, z), size, size);
    // From 9.1 on it is 1 to the last bit.
    let most = l.lt(l.splat(16.0), size, l.splat(16.0), size);
    let far = l.add(exp_inside(l, l.add(most, most)), l.splat(1.0));
    let far = l.sub(l.splat(1.0), l.div(l.splat(2.0), far));
    let y = nan_stays(l, x, l.lt(size, l.splat(0.625), near, far));
    l.floats(l.or_u32s(l.bits(y), sign))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<L: Lanes>(l: L, x: V) -> V {
    let (one, minus) = (l.splat(1.0), l.sub(l.zero(), x));
    let y = l.div(one, l.add(one, exp_inside(l, minus)));
    let y = l.lt(minus, l.splat(LOW), one, l.lt(l.splat(HIGH), minus, l.zero(), y));
    nan_stays(l, x, y)
}

#[derive(Clone, Copy)]
enum Function {
    Exp,
    #[cfg(test)]
    Tanh,
    #[cfg(test)]
    Sigmoid,
}

struct Map<'a>(Function, &'a mut [f32]);

impl Task for Map<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        match self.0 {
            Function::Exp => map(l, self.1, exp),
            #[cfg(test)]
            Function::Tanh => map(l, self.1, tanh),
            #[cfg(test)]
            Function::Sigmoid => map(l, self.1, sigmoid),
        }
    }
}

#[inline(always)]
fn map<L: Lanes>(l: L, xs: &mut [f32], f: impl Fn(L, V) -> V) {
    let (whole, rest) = xs.as_chunks_mut::<LANES>();
    for chunk in whole {
        let y = f(l, l.load(chunk));
        l.store(chunk, y);
    }
    if !rest.is_empty() {
        let mut last = [0.0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let y = f(l, l.load(&last));
        l.store(&mut last, y);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// `x = e^x` for all elements; 0 below -87.33, infinity above 88.72.
pub fn exp_in_place(xs: &mut [f32]) {
    dispatch(Isa::current(), Map(Function::Exp, xs));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(f: Function, oracle: impl Fn(f64) -> f64, from: f32, to: f32, allowed: f64) {
        let xs: Vec<f32> = (0..=200_000).map(|i| from + (to - from) * (i as f32 / 200_000.0)).collect();
        let mut ys = xs.clone();
        dispatch(Isa::current(), Map(f, &mut ys));
        let mut worst = (0.0f64, 0.0f32);
        for (x, y) in xs.iter().zip(&ys) {
            let exact = oracle(f64::from(*x));
            let ulp =
                f64::from((exact as f32).abs().max(f32::MIN_POSITIVE).next_up() - (exact as f32).abs().max(f32::MIN_POSITIVE));
            let error = (f64::from(*y) - exact).abs() / ulp;
            if error > worst.0 {
                worst = (error, *x);
            }
        }
        assert!(worst.0 <= allowed, "{} ulp at {}", worst.0, worst.1);
        for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
            let mut other: Vec<f32> = xs.iter().step_by(97).copied().collect();
            dispatch(isa, Map(f, &mut other));
            assert!(other.iter().zip(ys.iter().step_by(97)).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa:?}");
        }
    }

    #[test]
    fn functions_are_close_to_libm_and_equal_on_all_instruction_sets() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        check(Function::Exp, f64::exp, -87.3, 88.7, 2.0);
        check(Function::Exp, f64::exp, -1.0, 1.0, 2.0);
        check(Function::Tanh, f64::tanh, -10.0, 10.0, 3.0);
        check(Function::Tanh, f64::tanh, -1e-3, 1e-3, 3.0);
        check(Function::Sigmoid, sigmoid, -80.0, 30.0, 3.0);
    }

    /// The logistic function and the hyperbolic tangent skip the ends of `exp`; to the bit they are what they are through all of it.
    #[test]
    fn short_cuts_change_no_bit() {
        let xs: Vec<f32> = (0..=400_000).map(|i| -100.0 + 0.0005 * i as f32).chain([f32::MAX, f32::MIN]).collect();
        let of = |f: Function, mut xs: Vec<f32>| {
            dispatch(Isa::current(), Map(f, &mut xs));
            xs
        };
        let (down, up) =
            (of(Function::Exp, xs.iter().map(|x| -x).collect()), of(Function::Exp, xs.iter().map(|x| 2.0 * x.abs()).collect()));
        let (sigmoid, tanh) = (of(Function::Sigmoid, xs.clone()), of(Function::Tanh, xs.clone()));
        for (i, x) in xs.iter().enumerate() {
            assert_eq!(sigmoid[i].to_bits(), (1.0 / (1.0 + down[i])).to_bits(), "sigmoid {x}");
            if x.abs() >= 0.625 {
                assert_eq!(tanh[i].to_bits(), (1.0 - 2.0 / (up[i] + 1.0)).copysign(*x).to_bits(), "tanh {x}");
            }
        }
    }

    #[test]
    fn edges() {
        for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
            let mut x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 200.0, -200.0];
            dispatch(isa, Map(Function::Exp, &mut x));
            assert!(x[0].is_nan());
            assert_eq!(x[1..], [f32::INFINITY, 0.0, 1.0, f32::INFINITY, 0.0]);
            let mut x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
            dispatch(isa, Map(Function::Tanh, &mut x));
            assert!(x[0].is_nan());
            assert_eq!(x[1..], [1.0, -1.0, 0.0]);
            let mut x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
            dispatch(isa, Map(Function::Sigmoid, &mut x));
            assert!(x[0].is_nan());
            assert_eq!(x[1..], [1.0, 0.0, 0.5]);
        }
    }

    #[test]
    fn every_instruction_set_folds_in_one_order() {
        struct Sum([f32; LANES]);
        impl Task for Sum {
            type Out = f32;
            #[inline(always)]
            fn run<L: Lanes>(self, l: L) -> f32 {
                l.sum(l.load(&self.0))
            }
        }
        let x = std::array::from_fn(|i| 1.0 / (i as f32 * 0.37 + 0.1));
        let sums = [Isa::Portable, Isa::Avx2, Isa::Avx512].map(|isa| dispatch(isa, Sum(x)).to_bits());
        assert!(sums.iter().all(|s| *s == sums[0]));
    }
}

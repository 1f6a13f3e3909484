//! Sixteen virtual lanes on every machine, picked at run time.
//!
//! All kernels are written over [`Lanes`]: vectors of 16 `f32`, one AVX-512 register, two AVX2 registers, or plain scalars.
//! Every operation is an IEEE operation of its own (a fused multiply-add is one everywhere), so the three give the same bits.

use pulp::{Scalar512b, Simd, WithSimd, f32x16, u32x16};
use std::sync::OnceLock;

/// Width of a virtual vector.
pub const LANES: usize = 16;

/// An instruction set that the kernels are compiled for. Results do not depend on it, only their speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Scalar code of the baseline target.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 (x86-64-v4).
    Avx512,
}

impl Isa {
    /// The instruction set by its name: `portable`, `avx2`, `avx512`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "portable" => Some(Self::Portable),
            "avx2" => Some(Self::Avx2),
            "avx512" => Some(Self::Avx512),
            _ => None,
        }
    }

    /// Whether this machine has it.
    pub fn available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The one in use: what `MOTLEY_SIMD` names where this machine has it, else the widest available. Read once a process.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let asked = std::env::var("MOTLEY_SIMD").ok().and_then(|name| Self::from_name(&name));
            let widest = [Self::Avx512, Self::Avx2].into_iter().find(|isa| isa.available()).unwrap_or(Self::Portable);
            asked.filter(|isa| isa.available()).unwrap_or(widest)
        })
    }
}

/// Work that is compiled once for each instruction set; `run` must be `#[inline(always)]`.
pub(crate) trait Task {
    type Out;
    fn run<L: Lanes>(self, l: L) -> Self::Out;
}

struct Bound<T, L>(T, L);

impl<T: Task, L: Lanes> WithSimd for Bound<T, L> {
    type Output = T::Out;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> T::Out {
        self.0.run(self.1)
    }
}

/// Runs a task with the instructions of `isa` (with the baseline's where this machine lacks them).
pub(crate) fn dispatch<T: Task>(isa: Isa, task: T) -> T::Out {
    #[cfg(target_arch = "x86_64")]
    {
        use pulp::x86::{V3, V3_512b, V4};
        if isa == Isa::Avx512
            && let Some(l) = V4::try_new()
        {
            return Simd::vectorize(l, Bound(task, l));
        }
        if isa == Isa::Avx2
            && let Some(v3) = V3::try_new()
        {
            return Simd::vectorize(v3, Bound(task, V3_512b(v3)));
        }
    }
    let _ = isa;
    task.run(Scalar512b)
}

/// Runs a task inside another as a function of its own: compiled once for each instruction set, however often it is called.
#[inline(always)]
pub(crate) fn outline<L: Lanes, T: Task>(l: L, task: T) -> T::Out {
    Simd::vectorize(l, Bound(task, l))
}

/// One virtual vector.
pub(crate) type V = f32x16;

/// The operations of the kernels on vectors of 16 lanes. Comparisons and selections are written so that NaN stays NaN.
pub(crate) trait Lanes: Simd<f32s = f32x16, u32s = u32x16> {
    /// Whether 32 vector registers are there (larger register tiles).
    const WIDE: bool;

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> V {
        pulp::cast(*from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], v: V) {
        *to = pulp::cast(v);
    }
    #[inline(always)]
    fn splat(self, x: f32) -> V {
        self.splat_f32s(x)
    }
    #[inline(always)]
    fn zero(self) -> V {
        self.splat_f32s(0.0)
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        self.add_f32s(a, b)
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        self.sub_f32s(a, b)
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        self.mul_f32s(a, b)
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        self.div_f32s(a, b)
    }
    /// `a * b + c` with one rounding.
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        self.mul_add_f32s(a, b, c)
    }
    /// `yes` where `mask` is set, else `no`.
    #[inline(always)]
    fn choose(self, mask: Self::m32s, yes: V, no: V) -> V {
        pulp::cast(self.select_u32s(mask, pulp::cast(yes), pulp::cast(no)))
    }
    /// `a < b ? yes : no` in each lane.
    #[inline(always)]
    fn lt(self, a: V, b: V, yes: V, no: V) -> V {
        self.choose(self.less_than_f32s(a, b), yes, no)
    }
    #[inline(always)]
    fn bits(self, a: V) -> u32x16 {
        pulp::cast(a)
    }
    #[inline(always)]
    fn floats(self, a: u32x16) -> V {
        pulp::cast(a)
    }
    /// Sum over the lanes: halves are folded 8, 4, 2, 1.
    #[inline(always)]
    fn sum(self, a: V) -> f32 {
        self.reduce_sum_f32s(a)
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for pulp::x86::V4 {
    const WIDE: bool = true;
}

#[cfg(target_arch = "x86_64")]
impl Lanes for pulp::x86::V3_512b {
    const WIDE: bool = false;
    /// By bits: of a selection that is stored where one of its operands was loaded the compiler makes a masked store, which is slow on
    /// AMD's processors.
    #[inline(always)]
    fn choose(self, mask: Self::m32s, yes: V, no: V) -> V {
        let (mask, no): (u32x16, u32x16) = (pulp::cast(mask), pulp::cast(no));
        let changed = self.and_u32s(mask, self.xor_u32s(pulp::cast(yes), no));
        pulp::cast(self.xor_u32s(no, changed))
    }
}

impl Lanes for Scalar512b {
    const WIDE: bool = false;
    #[inline(always)]
    fn sum(self, a: V) -> f32 {
        fold16(pulp::cast(a))
    }
}

/// The order of [`Lanes::sum`] on an array.
#[inline(always)]
pub(crate) fn fold16(mut a: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            a[i] += a[i + half];
        }
        half /= 2;
    }
    a[0]
}

/// Dot product in plain code: 16 partial sums, folded in the same order.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [0.0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_whole.iter().zip(b_whole) {
        for i in 0..LANES {
            acc[i] += x[i] * y[i];
        }
    }
    for (s, (x, y)) in acc.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *s += x * y;
    }
    fold16(acc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruction_sets_have_names_and_the_one_in_use_is_there() {
        let names = ["portable", "avx2", "avx512"];
        assert_eq!(names.map(Isa::from_name), [Some(Isa::Portable), Some(Isa::Avx2), Some(Isa::Avx512)]);
        assert_eq!(Isa::from_name("sse"), None);
        assert!(Isa::current().available());
    }

    #[test]
    fn dot_matches_a_plain_sum() {
        for len in [0, 1, 15, 16, 17, 100] {
            let (a, b): (Vec<f32>, Vec<f32>) = (0..len).map(|i| (i as f32, 2.0 - i as f32)).unzip();
            let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            assert!((f64::from(dot(&a, &b)) - exact).abs() <= 1e-6 * exact.abs());
        }
    }
}

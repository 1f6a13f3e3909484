//! The element-wise part of Adam (Kingma and Ba 2015, algorithm 1).

use crate::simd::{Isa, LANES, Lanes, Task, dispatch};

/// The numbers of one step that all entries share.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Factor on the gradient, for a clip of its norm.
    pub scale: f32,
    /// Weight decay, added to the gradient.
    pub decay: f32,
    /// Decay rates of the two moments.
    pub betas: [f32; 2],
    /// Learning rate over the first moment's bias correction.
    pub rate: f32,
    /// Root of the reciprocal of the second moment's bias correction.
    pub root: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
}

/// Per entry `g <- scale g + decay p`, `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g g`, `p <- p - rate m / (root sqrt(v) + eps)`: every
/// operation rounded by itself, the same bits on every instruction set.
///
/// # Panics
/// When the slices are of unequal length.
pub fn adam(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], step: AdamStep) {
    assert!(p.len() == g.len() && p.len() == m.len() && p.len() == v.len(), "parameters, gradient and moments of unequal length");
    dispatch(Isa::current(), Step { p, g, m, v, step });
}

struct Step<'a> {
    p: &'a mut [f32],
    g: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    step: AdamStep,
}

impl Task for Step<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let ((p, p_rest), (g, g_rest)) = (self.p.as_chunks_mut::<LANES>(), self.g.as_chunks::<LANES>());
        let ((m, m_rest), (v, v_rest)) = (self.m.as_chunks_mut::<LANES>(), self.v.as_chunks_mut::<LANES>());
        for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            entries(l, p, g, m, v, self.step);
        }
        // The last few go through vectors of their own; zeros behind them stay there.
        let mut last = [[0.0; LANES]; 4];
        let count = p_rest.len();
        for (to, from) in last.iter_mut().zip([&*p_rest, g_rest, &*m_rest, &*v_rest]) {
            to[..count].copy_from_slice(from);
        }
        let [p, g, m, v] = &mut last;
        entries(l, p, g, m, v, self.step);
        for (to, from) in [p_rest, m_rest, v_rest].into_iter().zip([p, m, v]) {
            to.copy_from_slice(&from[..count]);
        }
    }
}

#[inline(always)]
fn entries<L: Lanes>(
    l: L,
    p: &mut [f32; LANES],
    g: &[f32; LANES],
    m: &mut [f32; LANES],
    v: &mut [f32; LANES],
    AdamStep { scale, decay, betas: [b1, b2], rate, root, eps }: AdamStep,
) {
    let held = l.load(p);
    let slope = l.add(l.mul(l.load(g), l.splat(scale)), l.mul(l.splat(decay), held));
    let first = l.add(l.mul(l.splat(b1), l.load(m)), l.mul(l.splat(1.0 - b1), slope));
    let second = l.add(l.mul(l.splat(b2), l.load(v)), l.mul(l.mul(l.splat(1.0 - b2), slope), slope));
    let size = l.add(l.mul(l.sqrt_f32s(second), l.splat(root)), l.splat(eps));
    l.store(p, l.sub(held, l.div(l.mul(l.splat(rate), first), size)));
    l.store(m, first);
    l.store(v, second);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the same operations on single numbers, to the bit, for lengths around whole vectors.
    #[test]
    fn every_instruction_set_takes_the_plain_step() {
        let step = AdamStep { scale: 0.7, decay: 0.01, betas: [0.9, 0.999], rate: 3e-3, root: 1.7, eps: 1e-8 };
        for len in [0, 1, 15, 16, 17, 100] {
            let noise = |seed: usize| (0..len).map(|i| ((i * 29 + seed * 13) % 31) as f32 / 7.0 - 2.0).collect::<Vec<f32>>();
            let (p, g, m) = (noise(1), noise(2), noise(3));
            let v: Vec<f32> = noise(4).iter().map(|x| x * x).collect();
            let plain: Vec<[f32; 3]> = (0..len)
                .map(|i| {
                    let slope = g[i] * step.scale + step.decay * p[i];
                    let first = 0.9 * m[i] + (1.0 - 0.9f32) * slope;
                    let second = 0.999 * v[i] + (1.0 - 0.999f32) * slope * slope;
                    [p[i] - step.rate * first / (second.sqrt() * step.root + step.eps), first, second]
                })
                .collect();
            for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
                let (mut p, mut m, mut v) = (p.clone(), m.clone(), v.clone());
                dispatch(isa, Step { p: &mut p, g: &g, m: &mut m, v: &mut v, step });
                let got: Vec<[f32; 3]> = (0..len).map(|i| [p[i], m[i], v[i]]).collect();
                assert_eq!(got, plain, "{isa:?}, {len}");
            }
        }
    }
}

//! Linear algebra of trust regions, in f64.

/// `a . b`
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// What [`conjugate_gradient`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The point.
    pub x: Vec<f64>,
    /// `H x`, told from the residual: it costs no further product.
    pub image: Vec<f64>,
}

/// Conjugate gradients (Hestenes and Stiefel 1952) for `H x = g` from 0, `product` giving `H v`. Stops after `iterations`, when
/// the squared residual is below `tolerance`, or where the curvature along the search direction is not positive (the
/// best point so far is returned).
pub fn conjugate_gradient(product: &mut dyn FnMut(&[f64]) -> Vec<f64>, g: &[f64], iterations: usize, tolerance: f64) -> Solution {
    let mut x = vec![0.0; g.len()];
    let (mut residual, mut direction) = (g.to_vec(), g.to_vec());
    let mut squared = dot(&residual, &residual);
    for _ in 0..iterations {
        if !(squared.is_finite() && squared >= tolerance) {
            break;
        }
        let image = product(&direction);
        let curvature = dot(&direction, &image);
        if !(curvature.is_finite() && curvature > 0.0) {
            break;
        }
        let step = squared / curvature;
        for k in 0..x.len() {
            x[k] += step * direction[k];
            residual[k] -= step * image[k];
        }
        let next = dot(&residual, &residual);
        let ratio = next / squared;
        direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + ratio * *d);
        squared = next;
    }
    let image = g.iter().zip(&residual).map(|(g, r)| g - r).collect();
    Solution { x, image }
}

#[cfg(test)]
mod tests {
    use motley_core::{Purpose, Stream};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// T20: exact to 1e-6 for random positive definite systems of dimension up to 10.
        #[test]
        fn solves_small_systems(seed in any::<u64>(), n in 1usize..10) {
            let mut rng = Stream::new(seed, Purpose::Check, 0, 0);
            let b: Vec<f64> = (0..n * n).map(|_| rng.normal()).collect();
            let h = |i: usize, j: usize| (0..n).map(|k| b[i * n + k] * b[j * n + k]).sum::<f64>() + if i == j { 1.0 } else { 0.0 };
            let mut product = |v: &[f64]| (0..n).map(|i| (0..n).map(|j| h(i, j) * v[j]).sum()).collect::<Vec<f64>>();
            let g: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
            let exact = conjugate_gradient(&mut product, &g, 5 * n, 1e-20);
            for (a, b) in product(&exact.x).iter().zip(&g) {
                prop_assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
            // Also where it stops early.
            let rough = conjugate_gradient(&mut product, &g, 1, 1e-20);
            for (a, b) in product(&rough.x).iter().zip(&rough.image) {
                prop_assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }

    #[test]
    fn nothing_moves_without_a_gradient_or_with_bad_curvature() {
        let mut identity = |v: &[f64]| v.to_vec();
        let nothing = Solution { x: vec![0.0; 2], image: vec![0.0; 2] };
        assert_eq!(conjugate_gradient(&mut identity, &[0.0, 0.0], 10, 1e-10), nothing);
        let mut negative = |v: &[f64]| v.iter().map(|x| -x).collect::<Vec<f64>>();
        assert_eq!(conjugate_gradient(&mut negative, &[1.0, 2.0], 10, 1e-10), nothing);
        let mut broken = |v: &[f64]| v.iter().map(|_| f64::NAN).collect::<Vec<f64>>();
        assert_eq!(conjugate_gradient(&mut broken, &[1.0, 2.0], 10, 1e-10), nothing);
    }
}

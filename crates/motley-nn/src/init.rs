//! Initial parameters from our own streams.

use motley_core::Stream;
use motley_kernels::Activation;
use serde::{Deserialize, Serialize};

/// How weights start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// Semi-orthogonal weights scaled by the activation's gain, biases 0 (Saxe et al. 2014; HARL, MAPPO).
    Orthogonal,
    /// Weights and biases uniform in `+-1/sqrt(fan_in)` (PyTorch's default for linear layers; EPyMARL, HARL off-policy).
    Uniform,
}

/// The gain that keeps variance through an activation (PyTorch's `calculate_gain`).
pub fn gain(activation: Activation) -> f64 {
    match activation {
        Activation::Relu => std::f64::consts::SQRT_2,
        Activation::Tanh => 5.0 / 3.0,
        Activation::LeakyRelu => (2.0 / (1.0 + 0.01f64 * 0.01)).sqrt(),
        Activation::Selu => 0.75,
        Activation::Identity | Activation::Sigmoid | Activation::Elu => 1.0,
    }
}

/// A random semi-orthogonal matrix `[rows, cols]` times `gain`: the Q of a normal matrix, signs fixed by R's diagonal, so
/// that it is uniform over such matrices. Gram and Schmidt in f64, twice for accuracy.
pub fn orthogonal(rows: usize, cols: usize, gain: f64, rng: &mut Stream) -> Vec<f32> {
    let (count, len) = (rows.min(cols), rows.max(cols));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut v: Vec<f64> = (0..len).map(|_| rng.normal()).collect();
        for _ in 0..2 {
            for u in &vectors {
                let dot: f64 = u.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(u).for_each(|(x, y)| *x -= dot * y);
            }
        }
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm > 1e-6 {
            v.iter_mut().for_each(|x| *x /= norm);
            vectors.push(v);
        }
    }
    let at = |r: usize, c: usize| if rows <= cols { vectors[r][c] } else { vectors[c][r] };
    (0..rows * cols).map(|k| (gain * at(k / cols, k % cols)) as f32).collect()
}

/// Uniform in `+-1/sqrt(fan_in)`.
pub fn uniform(len: usize, fan_in: usize, rng: &mut Stream) -> Vec<f32> {
    let bound = 1.0 / (fan_in as f64).sqrt();
    (0..len).map(|_| rng.range(-bound, bound) as f32).collect()
}

#[cfg(test)]
mod tests {
    use motley_core::Purpose;

    use super::*;

    #[test]
    fn rows_or_columns_are_orthonormal_times_gain() {
        let mut rng = Stream::new(1, Purpose::Init, 0, 0);
        for (rows, cols) in [(3, 8), (8, 3), (16, 16), (1, 5)] {
            let w = orthogonal(rows, cols, 2.0, &mut rng);
            let n = rows.min(cols);
            let vector = |i: usize| -> Vec<f64> {
                (0..rows.max(cols)).map(|k| f64::from(if rows <= cols { w[i * cols + k] } else { w[k * cols + i] })).collect()
            };
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = vector(i).iter().zip(vector(j)).map(|(a, b)| a * b).sum();
                    assert!((dot - if i == j { 4.0 } else { 0.0 }).abs() < 1e-5, "{rows}x{cols} {i} {j}: {dot}");
                }
            }
        }
    }
}

//! The arithmetic of the hands' tasks, free of the engine: rotations, observations' scales, the action map, the reward of a catch.
//!
//! Y. Chen, Y. Yang, T. Wu, S. Wang, X. Feng, J. Jiang, Z. Lu, S. M. McAleer, H. Dong, S.-C. Zhu, "Towards Human-Level Bimanual
//! Dexterous Manipulation with Reinforcement Learning", NeurIPS 2022 (datasets and benchmarks).

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2, TAU};

use super::task::Point;

/// A rotation as (w, x, y, z), of norm 1.
pub type Quat = [f64; 4];

/// The turn of the hand's base within its own files: a quarter turn about x after half a turn about z.
pub const MOUNT: Quat = [0.0, 0.0, -FRAC_1_SQRT_2, FRAC_1_SQRT_2];

/// Seconds a control step.
const STEP: f64 = 1.0 / 60.0;

/// First `b`, then `a`.
pub fn compose(a: Quat, b: Quat) -> Quat {
    [
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    ]
}

/// The other way round.
pub fn inverse(q: Quat) -> Quat {
    [q[0], -q[1], -q[2], -q[3]]
}

/// A vector turned, v + 2 w (u x v) + 2 u x (u x v) with u the vector part.
pub fn rotate(q: Quat, v: Point) -> Point {
    let u = [q[1], q[2], q[3]];
    let once = cross(u, v);
    let twice = cross(u, once);
    std::array::from_fn(|k| v[k] + 2.0 * (q[0] * once[k] + twice[k]))
}

fn cross(a: Point, b: Point) -> Point {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// The angles of turns about the world's x, then y, then z that make the rotation, each in 0..2 pi as in the original.
pub fn euler(q: Quat) -> [f64; 3] {
    let [w, x, y, z] = q;
    let roll = (2.0 * (w * x + y * z)).atan2(w * w - x * x - y * y + z * z);
    let sine = 2.0 * (w * y - z * x);
    let pitch = if sine.abs() >= 1.0 { FRAC_PI_2.copysign(sine) } else { sine.asin() };
    let yaw = (2.0 * (w * z + x * y)).atan2(w * w + x * x - y * y - z * z);
    [roll, pitch, yaw].map(|angle| angle.rem_euclid(TAU))
}

/// Force (N) and torque (N m) on a base from the first six entries of an action in +-1: forces a / 60 * `transition` * 1e5,
/// torques a / 60 * `orientation` * 1e3, along the world's axes.
pub fn wrench(action: [f64; 6], transition: f64, orientation: f64) -> [f64; 6] {
    std::array::from_fn(|k| action[k] * STEP * if k < 3 { transition * 1e5 } else { orientation * 1e3 })
}

/// By `angle` radians about axis `k` (0 x, 1 y, 2 z).
pub fn about(k: usize, angle: f64) -> Quat {
    let mut q = [(0.5 * angle).cos(), 0.0, 0.0, 0.0];
    q[1 + k] = (0.5 * angle).sin();
    q
}

/// A start's rotation from two numbers in +-1: up to half a turn about y, then up to half a turn about x.
pub fn tumbled(u: f64, v: f64) -> Quat {
    compose(about(0, u * std::f64::consts::PI), about(1, v * std::f64::consts::PI))
}

/// The angle between two rotations, 2 asin(min(1, |vec(a b^-1)|)), in `0..=pi`.
pub fn turn(a: Quat, b: Quat) -> f64 {
    let [_, x, y, z] = compose(a, inverse(b));
    2.0 * (x * x + y * y + z * z).sqrt().min(1.0).asin()
}

/// `x` within `low..=high` as -1..=1.
pub fn unscale(x: f64, low: f64, high: f64) -> f64 {
    (2.0 * x - high - low) / (high - low)
}

/// `x` within -1..=1 as `low..=high`.
pub fn scale(x: f64, low: f64, high: f64) -> f64 {
    0.5 * (x + 1.0) * (high - low) + low
}

/// exp(-0.2 (`weight` d + rho)): near and turned as it should be. `weight` is in 1/m.
pub fn reward(weight: f64, distance: f64, turned: f64) -> f64 {
    (-0.2 * (weight * distance + turned)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::{Purpose, Stream};

    type Matrix = [[f64; 3]; 3];

    fn random(stream: &mut Stream) -> Quat {
        let q: Quat = std::array::from_fn(|_| stream.normal());
        let norm = q.iter().map(|x| x * x).sum::<f64>().sqrt();
        q.map(|x| x / norm)
    }

    /// The rotation as a matrix, by Rodrigues' formula from axis and angle.
    fn matrix(q: Quat) -> Matrix {
        let angle = 2.0 * q[0].acos();
        let s = (1.0 - q[0] * q[0]).sqrt();
        let [x, y, z] = [q[1] / s, q[2] / s, q[3] / s];
        let cross = [[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]];
        let square = times(cross, cross);
        std::array::from_fn(|i| {
            std::array::from_fn(|j| f64::from(i == j) + angle.sin() * cross[i][j] + (1.0 - angle.cos()) * square[i][j])
        })
    }

    fn times(a: Matrix, b: Matrix) -> Matrix {
        std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
    }

    #[test]
    fn rotations_compose_as_matrices_do() {
        let mut stream = Stream::new(0, Purpose::Check, 0, 0);
        for _ in 0..1000 {
            let (a, b) = (random(&mut stream), random(&mut stream));
            let (found, expected) = (matrix(compose(a, b)), times(matrix(a), matrix(b)));
            for (x, y) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert!((x - y).abs() < 1e-9, "{found:?} {expected:?}");
            }
        }
    }

    /// The angle of a rotation matrix is acos((trace - 1) / 2).
    #[test]
    fn the_angle_is_the_matrices_one() {
        let mut stream = Stream::new(1, Purpose::Check, 0, 0);
        for _ in 0..1000 {
            let (a, b) = (random(&mut stream), random(&mut stream));
            let between = times(matrix(a), matrix(inverse(b)));
            let expected = (0.5 * (between[0][0] + between[1][1] + between[2][2] - 1.0)).clamp(-1.0, 1.0).acos();
            assert!((turn(a, b) - expected).abs() < 1e-6, "{} {expected}", turn(a, b));
        }
        assert!(turn(about(0, 0.3), about(0, 0.3)) < 1e-12);
        assert!((turn(about(2, 1.0), about(2, 0.25)) - 0.75).abs() < 1e-12);
    }

    /// The same vector by the matrix of the rotation.
    #[test]
    fn vectors_turn_as_matrices_say() {
        let mut stream = Stream::new(3, Purpose::Check, 0, 0);
        for _ in 0..1000 {
            let (q, v): (Quat, Point) = (random(&mut stream), std::array::from_fn(|_| stream.normal()));
            let m = matrix(q);
            let expected: Point = std::array::from_fn(|i| (0..3).map(|k| m[i][k] * v[k]).sum());
            assert!(rotate(q, v).iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-9), "{q:?} {v:?}");
        }
    }

    /// Angles make the rotation that they were read from, lie in 0..2 pi, and are those that went in.
    #[test]
    fn angles_make_their_rotation() {
        let mut stream = Stream::new(4, Purpose::Check, 0, 0);
        for _ in 0..1000 {
            let q = random(&mut stream);
            let [x, y, z] = euler(q);
            assert!([x, y, z].iter().all(|angle| (0.0..TAU).contains(angle)));
            assert!(turn(q, compose(about(2, z), compose(about(1, y), about(0, x)))) < 1e-6, "{q:?}");
        }
        let q = compose(about(2, -0.5), compose(about(1, 0.3), about(0, 2.0)));
        let close = euler(q).iter().zip([2.0, 0.3, TAU - 0.5]).all(|(x, y)| (x - y).abs() < 1e-12);
        assert!(close, "{:?}", euler(q));
        // Straight up there is no telling roll from yaw; the pitch stays.
        assert!((euler(about(1, FRAC_PI_2))[1] - FRAC_PI_2).abs() < 1e-7);
    }

    #[test]
    fn the_mounts_turn_is_the_files_one() {
        assert!(turn(MOUNT, compose(about(0, FRAC_PI_2), about(2, std::f64::consts::PI))) < 1e-7);
    }

    /// `lift_underarm`: 1/60 * 0.25 * 1e5 N and 1/60 * 1 * 1e3 N m at 1.
    #[test]
    fn wrenches_have_their_values() {
        let found = wrench([1.0, -0.5, 0.0, 1.0, 0.0, -1.0], 0.25, 1.0);
        let expected = [416.666_667, -208.333_333, 0.0, 16.666_667, 0.0, -16.666_667];
        assert!(found.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn scales_and_rewards_have_their_values() {
        assert_eq!([scale(-1.0, 0.0, 1.571), scale(1.0, 0.0, 1.571), scale(0.0, -1.0, 3.0)], [0.0, 1.571, 1.0]);
        let mut stream = Stream::new(2, Purpose::Check, 0, 0);
        for _ in 0..100 {
            let (x, low, high) = (stream.range(-1.0, 1.0), stream.range(-2.0, 0.0), stream.range(0.1, 2.0));
            assert!((unscale(scale(x, low, high), low, high) - x).abs() < 1e-12);
        }
        assert_eq!(reward(50.0, 0.0, 0.0), 1.0);
        // 50 * 0.25 m and half a turn: exp(-2.5 - 0.2 pi).
        assert!((reward(50.0, 0.25, std::f64::consts::PI) - 0.043_791_4).abs() < 1e-6);
    }

    #[test]
    fn tumbled_rotations_have_norm_one() {
        for (u, v) in [(0.0, 0.0), (1.0, -1.0), (0.3, 0.7)] {
            let norm: f64 = tumbled(u, v).iter().map(|x| x * x).sum();
            assert!((norm - 1.0).abs() < 1e-12);
        }
        assert_eq!(tumbled(0.0, 0.0), [1.0, 0.0, 0.0, 0.0]);
    }
}

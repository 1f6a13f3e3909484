//! The bilinear game r(a¹, a²) = a¹a² on the plane: gradient ascent in turn and at once (after the first figure of Zhong et al. 2024).

/// r(a¹, a²) = a¹a².
pub fn reward(a: [f64; 2]) -> f64 {
    a[0] * a[1]
}

/// One gradient step of rate `eta` by agent 1, then one by agent 2 that sees it. Gains η(a²)² + η(a¹_new)² > 0 for every η > 0.
pub fn sequential_step(a: [f64; 2], eta: f64) -> [f64; 2] {
    let first = a[0] + eta * a[1];
    [first, a[1] + eta * first]
}

/// Both steps at once, each by the old action of the other.
pub fn simultaneous_step(a: [f64; 2], eta: f64) -> [f64; 2] {
    [a[0] + eta * a[1], a[1] + eta * a[0]]
}

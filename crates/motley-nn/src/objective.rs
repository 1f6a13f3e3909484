//! What an actor climbs: row functions of (new log-probability, old log-probability, weight), written once for every
//! network and device.

/// Log-ratios beyond this are clamped (and counted), so that a ratio never overflows.
pub const MAX_LOG_RATIO: f32 = 20.0;

/// A drift functional of the HAML template as a row function (Zhong et al. 2024, definition 5): never negative, 0 and flat where
/// the ratio is 1. The surrogate is `r w - drift`.
pub trait Drift: std::fmt::Debug + Send + Sync {
    /// Value and derivative with respect to the log-ratio, given ratio and weight.
    fn term(&self, ratio: f32, weight: f32) -> (f32, f32);
}

/// No drift: HAA2C, and HATRPO inside its trust region.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoDrift;

impl Drift for NoDrift {
    fn term(&self, _ratio: f32, _weight: f32) -> (f32, f32) {
        (0.0, 0.0)
    }
}

/// `ReLU((r - clip(r, 1 - eps, 1 + eps)) w)`: with it `r w - drift = min(r w, clip(r) w)`, which is HAPPO.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipDrift {
    /// Clip range of the ratio.
    pub clip: f32,
}

impl Drift for ClipDrift {
    fn term(&self, ratio: f32, weight: f32) -> (f32, f32) {
        let excess = (ratio - ratio.clamp(1.0 - self.clip, 1.0 + self.clip)) * weight;
        if excess > 0.0 { (excess, ratio * weight) } else { (0.0, 0.0) }
    }
}

/// `coef (r - 1 - ln r)`: in expectation over old actions `coef KL(pi_old || pi)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KlDrift {
    /// Weight of the divergence.
    pub coef: f32,
}

impl Drift for KlDrift {
    fn term(&self, ratio: f32, _weight: f32) -> (f32, f32) {
        (self.coef * (ratio - 1.0 - ratio.ln()), self.coef * (ratio - 1.0))
    }
}

/// PPO's clip and a divergence penalty together: [`ClipDrift`] + [`KlDrift`] (RLlib's PPO, with the divergence estimated on the drawn
/// actions).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipKlDrift {
    /// Clip range of the ratio.
    pub clip: f32,
    /// Weight of the divergence.
    pub kl: f32,
}

impl Drift for ClipKlDrift {
    fn term(&self, ratio: f32, weight: f32) -> (f32, f32) {
        let (clipped, slope) = ClipDrift { clip: self.clip }.term(ratio, weight);
        let (kl, kl_slope) = KlDrift { coef: self.kl }.term(ratio, weight);
        (clipped + kl, slope + kl_slope)
    }
}

/// `coef (r - 1)^2`: positive everywhere but at the current policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SquareDrift {
    /// Weight.
    pub coef: f32,
}

impl Drift for SquareDrift {
    fn term(&self, ratio: f32, _weight: f32) -> (f32, f32) {
        let move_ = ratio - 1.0;
        (self.coef * move_ * move_, 2.0 * self.coef * move_ * ratio)
    }
}

/// A surrogate to be maximised. `weight` is the advantage, times the factor of earlier agents where updates are sequential.
#[derive(Debug, Clone)]
pub enum Objective {
    /// `min(r w, clip(r, 1 - eps, 1 + eps) w)`, r = pi / pi_old (Schulman et al. 2017, eq. 7).
    PpoClip {
        /// Clip range of the ratio.
        clip: f32,
    },
    /// `r w`: the importance-weighted policy gradient (HAA2C, A2C over several passes).
    Ratio,
    /// `w log pi`: the policy gradient of the present policy.
    LogProb,
    /// `r w - drift(r, w)`: the HAML template with a drift of one's own.
    Drifting(std::sync::Arc<dyn Drift>),
}

/// Value of the surrogate and its derivative with respect to the new log-probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// The surrogate.
    pub value: f32,
    /// `d value / d log pi`.
    pub slope: f32,
    /// The (clamped) ratio.
    pub ratio: f32,
    /// Whether the ratio was clipped so that no gradient flows.
    pub clipped: bool,
}

impl Objective {
    /// One row.
    pub fn term(&self, log_prob: f32, old: f32, weight: f32) -> Term {
        let log_ratio = log_prob - old;
        let ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp();
        // Not "at most": what is no number goes on into the slope, for the optimiser's gate to see.
        let beyond = log_ratio.abs() > MAX_LOG_RATIO;
        match *self {
            Self::PpoClip { clip } => {
                let plain = ratio * weight;
                let bounded = ratio.clamp(1.0 - clip, 1.0 + clip) * weight;
                let clipped = bounded < plain;
                let slope = if clipped || beyond { 0.0 } else { plain };
                Term { value: plain.min(bounded), slope, ratio, clipped }
            }
            Self::Ratio => {
                Term { value: ratio * weight, slope: if beyond { 0.0 } else { ratio * weight }, ratio, clipped: beyond }
            }
            Self::LogProb => Term { value: weight * log_prob, slope: weight, ratio, clipped: false },
            Self::Drifting(ref drift) => {
                let (value, slope) = drift.term(ratio, weight);
                let total = ratio * weight - slope;
                Term { value: ratio * weight - value, slope: if beyond { 0.0 } else { total }, ratio, clipped: total == 0.0 }
            }
        }
    }
}

/// Value regression: `0.5 e^2`, or Huber's form of it with threshold `delta` (`delta (|e| - delta / 2)` beyond).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Regression {
    /// `0.5 e^2`
    Squared,
    /// Quadratic within `delta`, linear beyond.
    Huber {
        /// Threshold.
        delta: f32,
    },
}

impl Regression {
    /// Loss and derivative at error `e`.
    pub fn term(self, e: f32) -> (f32, f32) {
        match self {
            Self::Huber { delta } if e.abs() > delta => (delta * (e.abs() - 0.5 * delta), delta * e.signum()),
            _ => (0.5 * e * e, e),
        }
    }
}

/// `max(l(target - v), l(target - (v_old + clamp(v - v_old, +-clip))))` and its derivative with respect to `v` (MAPPO's clipped
/// value loss); no clip where `clip` is infinite.
pub fn value_term(regression: Regression, v: f32, old: f32, target: f32, clip: f32) -> (f32, f32) {
    let (plain, slope) = regression.term(v - target);
    let moved = v - old;
    if moved.abs() <= clip {
        return (plain, slope);
    }
    let (bounded, _) = regression.term(old + moved.clamp(-clip, clip) - target);
    if bounded > plain { (bounded, 0.0) } else { (plain, slope) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::sync::Arc;

    use super::*;

    /// Hand-computed: ratio e^0.5 = 1.6487, clip 0.2.
    #[test]
    fn ppo_clips_only_where_it_lowers() {
        let ppo = Objective::PpoClip { clip: 0.2 };
        let up = ppo.term(-0.5, -1.0, 2.0);
        assert!((up.value - 2.4).abs() < 1e-6 && up.slope == 0.0 && up.clipped);
        let down = ppo.term(-0.5, -1.0, -2.0);
        assert!((down.value + 3.297_442_5).abs() < 1e-5 && (down.slope + 3.297_442_5).abs() < 1e-5 && !down.clipped);
        let at_start = ppo.term(-1.0, -1.0, 3.0);
        assert_eq!((at_start.value, at_start.slope), (3.0, 3.0));
    }

    /// N2.
    #[test]
    fn extreme_ratios_stay_finite() {
        for log_prob in [-1e6, -100.0, 0.0, 100.0, 1e6, f32::NEG_INFINITY] {
            for objective in
                [Objective::PpoClip { clip: 0.2 }, Objective::Ratio, Objective::Drifting(Arc::new(KlDrift { coef: 1.0 }))]
            {
                let t = objective.term(log_prob, 0.0, 1.0);
                assert!(t.value.is_finite() && t.slope.is_finite(), "{objective:?} {log_prob}: {t:?}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_not_hidden() {
        for objective in [Objective::PpoClip { clip: 0.2 }, Objective::Ratio] {
            assert!(objective.term(f32::INFINITY, f32::INFINITY, 1.0).slope.is_nan());
            assert!(objective.term(f32::NAN, -1.0, 1.0).slope.is_nan());
        }
    }

    /// The identity behind HAPPO: `min(r w, clip(r) w) = r w - ReLU((r - clip r) w)`, and every drift is 0 and flat at r = 1.
    #[test]
    fn clip_drift_is_happo() {
        for log_prob in [-2.0, -1.3, -1.0, -0.9, -0.5] {
            for w in [-1.5, 0.7] {
                let ppo = Objective::PpoClip { clip: 0.2 }.term(log_prob, -1.0, w);
                let drift = Objective::Drifting(Arc::new(ClipDrift { clip: 0.2 })).term(log_prob, -1.0, w);
                assert!((ppo.value - drift.value).abs() < 1e-6 && (ppo.slope - drift.slope).abs() < 1e-6, "{ppo:?} {drift:?}");
            }
        }
        let drifts: [&dyn Drift; 4] = [&NoDrift, &ClipDrift { clip: 0.2 }, &KlDrift { coef: 1.0 }, &SquareDrift { coef: 1.0 }];
        for drift in drifts {
            assert_eq!(drift.term(1.0, 3.0), (0.0, 0.0), "{drift:?}");
            assert!([0.5, 0.9, 1.1, 3.0].iter().all(|r| drift.term(*r, -1.0).0 >= 0.0));
        }
    }

    #[test]
    fn value_loss_by_hand() {
        let mse = Regression::Squared;
        assert_eq!(value_term(mse, 1.0, 0.9, 3.0, 0.2), (2.0, -2.0));
        // Moved 1.0 up from 0, clipped to 0.2: error 2.8 is worse than 2.0, so the clipped branch holds and no gradient flows.
        assert_eq!(value_term(mse, 1.0, 0.0, 3.0, 0.2).1, 0.0);
        assert!((value_term(mse, 1.0, 0.0, 3.0, 0.2).0 - 3.92).abs() < 1e-5);
        assert_eq!(Regression::Huber { delta: 1.0 }.term(-3.0), (2.5, -1.0));
        assert_eq!(Regression::Huber { delta: 1.0 }.term(0.5), (0.125, 0.5));
    }

    proptest! {
        #[test]
        fn slopes_match_differences(log_prob in -3.0f32..0.0, old in -3.0f32..0.0, w in -3.0f32..3.0, v in -3.0f32..3.0, t in -3.0f32..3.0) {
            let h = 1e-3f32;
            let drifting = |d: Arc<dyn Drift>| Objective::Drifting(d);
            for objective in [
                Objective::PpoClip { clip: 0.2 },
                Objective::Ratio,
                Objective::LogProb,
                drifting(Arc::new(KlDrift { coef: 0.7 })),
                drifting(Arc::new(SquareDrift { coef: 0.3 })),
            ] {
                let near_kink = matches!(objective, Objective::PpoClip { .. })
                    && [0.8f32, 1.2].iter().any(|k| ((log_prob - old).exp() - k).abs() < 5e-3);
                if !near_kink {
                    let numeric = (objective.term(log_prob + h, old, w).value - objective.term(log_prob - h, old, w).value) / (2.0 * h);
                    let exact = objective.term(log_prob, old, w).slope;
                    prop_assert!((numeric - exact).abs() < 2e-2 * (1.0 + exact.abs()), "{objective:?}: {numeric} {exact}");
                }
            }
            for regression in [Regression::Squared, Regression::Huber { delta: 1.0 }] {
                let at = |v: f32| value_term(regression, v, old, t, 0.3);
                let smooth = at(v - h).1.signum() == at(v + h).1.signum();
                let numeric = (at(v + h).0 - at(v - h).0) / (2.0 * h);
                let exact = at(v).1;
                prop_assert!(!smooth || (numeric - exact).abs() < 2e-2 * (1.0 + exact.abs()) || (at(v + h).1 == 0.0) != (at(v - h).1 == 0.0));
            }
        }
    }
}

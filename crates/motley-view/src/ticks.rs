//! Where an axis is marked, and how its numbers read.

/// Marks of an axis: values with their labels, and the range that they and the data span.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Left or lower end.
    pub low: f64,
    /// Right or upper end.
    pub high: f64,
    /// Values with labels, rising.
    pub marks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis over `low..=high` (finite, in any order) with about `wanted` marks at 1, 2 or 5 times a power of ten. With
    /// `whole` the ends are widened to marks.
    pub fn new(low: f64, high: f64, wanted: usize, whole: bool) -> Self {
        let (mut low, mut high) = (low.min(high), low.max(high));
        if high - low <= 1e-12 * high.abs().max(low.abs()) {
            let pad = if high == 0.0 { 1.0 } else { 0.1 * high.abs() };
            (low, high) = (low - pad, high + pad);
        }
        let step = nice((high - low) / wanted.max(1) as f64);
        let (first, last) = if whole {
            ((low / step).floor(), (high / step).ceil())
        } else {
            ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor())
        };
        if whole {
            (low, high) = (first * step, last * step);
        }
        let values: Vec<f64> = (0..=(last - first).clamp(0.0, 100.0) as usize).map(|k| (first + k as f64) * step).collect();
        let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let marks = values.into_iter().map(|v| (v, label(v, step, largest))).collect();
        Self { low, high, marks }
    }

    /// Where `value` lies between the ends, 0 to 1.
    pub fn part(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `rough`.
fn nice(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= rough * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

/// The value in the unit (k, M, G) of the axis, with the digits that its step needs.
fn label(value: f64, step: f64, largest: f64) -> String {
    if !(1e-3..1e13).contains(&largest) {
        return if value == 0.0 { "0".into() } else { format!("{value:.1e}") };
    }
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, suffix) = units.into_iter().find(|(u, _)| largest >= *u).unwrap_or((1.0, ""));
    if value == 0.0 {
        return "0".into();
    }
    let digits = (0..9).find(|d| (step / unit * 10f64.powi(*d)).round() >= 1.0 - 1e-9 && exact(step / unit, *d)).unwrap_or(9);
    format!("{:.*}{suffix}", digits as usize, value / unit)
}

/// Whether `x` has at most `digits` decimals.
fn exact(x: f64, digits: i32) -> bool {
    let scaled = x * 10f64.powi(digits);
    (scaled - scaled.round()).abs() < 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(low: f64, high: f64, whole: bool) -> Vec<String> {
        Axis::new(low, high, 5, whole).marks.into_iter().map(|m| m.1).collect()
    }

    #[test]
    fn labels_read_as_a_person_would_write_them() {
        assert_eq!(labels(0.0, 10e6, false), ["0", "2M", "4M", "6M", "8M", "10M"]);
        assert_eq!(labels(0.0, 2_500.0, false), ["0", "0.5k", "1.0k", "1.5k", "2.0k", "2.5k"]);
        assert_eq!(labels(-118.0, -61.0, true), ["-120", "-100", "-80", "-60"]);
        assert_eq!(labels(0.0, 0.93, true), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-1e-6, 1e-6, true), ["-1.0e-6", "-5.0e-7", "0", "5.0e-7", "1.0e-6"]);
        assert_eq!(labels(3.0, 3.0, false), ["2.8", "3.0", "3.2"], "a constant has an axis too");
    }

    proptest! {
        #[test]
        fn marks_are_inside_even_and_few(a in -1e9..1e9f64, b in -1e9..1e9f64, whole: bool) {
            let axis = Axis::new(a, b, 5, whole);
            prop_assert!(axis.low <= a.min(b) && axis.high >= a.max(b) && axis.high > axis.low);
            prop_assert!((2..=8).contains(&axis.marks.len()), "{:?}", axis);
            let slack = 1e-6 * (axis.high - axis.low);
            let inside = |v: f64| v >= axis.low - slack && v <= axis.high + slack;
            prop_assert!(axis.marks.iter().all(|m| inside(m.0)));
            let step = axis.marks[1].0 - axis.marks[0].0;
            prop_assert!(axis.marks.windows(2).all(|w| ((w[1].0 - w[0].0) / step - 1.0).abs() < 1e-6 && w[0].1 != w[1].1));
        }
    }
}

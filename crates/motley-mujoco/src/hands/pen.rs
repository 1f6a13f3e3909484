//! A pen on a table under two hands, to be pulled out of its cap: `pen`.
//!
//! ```text
//! r    = exp(-10 f_right) + exp(-10 f_left) + [both < 0.75] (5 apart - 0.8)
//! won  : 5 apart > 1.5, with apart the metres between the handles
//! over : f_right or f_left is 1.5 m or more     f: the sum of the five fingers' distances to the hand's handle
//! ```
//!
//! Numbers: the task and its settings in Bi-DexterousHands, see [`super::rules`].

use std::f64::consts::{FRAC_PI_2, PI};

use super::task::{Base, Place, Play, Rule, Seen, Stand, Thing, Verdict, distance};

/// A hand over the table, its palm down, its fingers along -x.
const fn over(y: f64) -> Stand {
    Stand { at: [0.55, y, 0.8], angles: [PI, 0.0, FRAC_PI_2] }
}

/// The task.
pub const PEN: Play = Play {
    name: "pen",
    summary: "pull a pen out of its cap",
    max_cycles: 125,
    hands: [over(0.2), over(-0.2)],
    base: Base::Free { transition: 0.5, orientation: 0.1 },
    thing: Thing::Pen,
    places: &[Place { start: [0.0, 0.0, 0.612], goal: [0.0; 3] }],
    object_noise: 0.0,
    joint_noise: 0.0,
    rule: Rule::Pen,
};

/// What a step is worth.
pub fn judge(seen: &Seen) -> Verdict {
    let [right, left] = [0, 1].map(|h| seen.hands[h].away(seen.handles[h]));
    let apart = distance(seen.handles[0], seen.handles[1]);
    let pulled = if right < 0.75 && left < 0.75 { 5.0 * apart - 0.8 } else { 0.0 };
    Verdict {
        reward: (-10.0 * right).exp() + (-10.0 * left).exp() + pulled,
        over: right >= 1.5 || left >= 1.5,
        won: 5.0 * apart > 1.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::task::nothing_moved;

    /// Handles `apart` metres from each other, each finger `right` or `left` metres over its handle.
    fn pen(apart: f64, right: f64, left: f64) -> Seen {
        let mut seen = nothing_moved();
        seen.handles = [[0.0, 0.1, 0.6], [0.0, 0.1 - apart, 0.6]];
        for (hand, (handle, over)) in seen.hands.iter_mut().zip(seen.handles.into_iter().zip([right, left])) {
            hand.fingers = [[handle[0], handle[1], handle[2] + over]; 5];
        }
        seen
    }

    #[test]
    fn rewards_have_their_values() {
        // exp(-50 right) + exp(-50 left), and 5 apart - 0.8 where both sums are less than 0.75.
        for (apart, right, left, expected) in [
            (0.17, 0.2, 0.2, 2.0 * 4.539_993e-5),
            (0.17, 0.02, 0.04, 0.367_879_44 + 0.135_335_28 + 0.05),
            (0.32, 0.02, 0.04, 0.367_879_44 + 0.135_335_28 + 0.8),
            (0.32, 0.02, 0.151, 0.367_879_44 + 5.261_0e-4),
        ] {
            let verdict = judge(&pen(apart, right, left));
            assert!((verdict.reward - expected).abs() < 1e-6, "{verdict:?} {expected}");
        }
    }

    #[test]
    fn episodes_end_and_are_won_where_the_task_says() {
        assert!(judge(&pen(0.301, 0.1, 0.1)).won && !judge(&pen(0.299, 0.1, 0.1)).won);
        assert!(!judge(&pen(0.17, 0.2999, 0.2999)).over);
        assert!(judge(&pen(0.17, 0.3001, 0.1)).over && judge(&pen(0.17, 0.1, 0.3001)).over);
    }
}

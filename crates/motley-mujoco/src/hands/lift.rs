//! A pot on a table between two hands, to be lifted by both handles at once: `lift_underarm`.
//!
//! ```text
//! r    = 0.2 - d_right - d_left + [both < 0.08] 3 (0.385 - d)     from a grip to its handle; d from the pot to its goal
//! won  : d < 0.05 m
//! over : the pot is as low as 0.3 m, or a grip is 0.2 m or more from its handle
//! ```
//!
//! Numbers: the task and its settings in Bi-DexterousHands, see [`super::rules`].

use std::f64::consts::PI;

use super::task::{Base, Place, Play, Rule, Seen, Stand, Thing, Verdict, distance};

/// The task.
pub const LIFT_UNDERARM: Play = Play {
    name: "lift_underarm",
    summary: "lift a pot from a table by its two handles",
    max_cycles: 500,
    hands: [Stand { at: [0.0, 0.05, 0.45], angles: [0.0; 3] }, Stand { at: [0.0, -1.25, 0.45], angles: [0.0, 0.0, PI] }],
    base: Base::Free { transition: 0.25, orientation: 1.0 },
    thing: Thing::Pot,
    places: &[Place { start: [0.0, -0.6, 0.45], goal: [0.0, 0.0, 0.4] }],
    object_noise: 0.0,
    joint_noise: 0.0,
    rule: Rule::Lift,
};

/// What a step is worth.
pub fn judge(seen: &Seen) -> Verdict {
    let [right, left] = [0, 1].map(|h| distance(seen.hands[h].grip, seen.handles[h]));
    let pot = seen.objects[0];
    let away = distance(pot.at, pot.goal);
    let lifted = if right < 0.08 && left < 0.08 { 3.0 * (0.385 - away) } else { 0.0 };
    Verdict { reward: 0.2 - right - left + lifted, over: pot.at[2] <= 0.3 || right >= 0.2 || left >= 0.2, won: away < 0.05 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::task::nothing_moved;

    /// A pot at z = 0.5 m, its goal `away` above, the grips beside their handles.
    fn pot(away: f64, right: f64, left: f64) -> Seen {
        let mut seen = nothing_moved();
        seen.handles = [[0.0, 0.15, 0.56], [0.0, -0.15, 0.56]];
        seen.objects[0].at = [0.0, 0.0, 0.5];
        seen.objects[0].goal = [0.0, 0.0, 0.5 + away];
        seen.hands[0].grip = [right, 0.15, 0.56];
        seen.hands[1].grip = [0.0, -0.15, 0.56 - left];
        seen
    }

    #[test]
    fn rewards_have_their_values() {
        // Both near: 0.2 - 0.05 - 0.07 + 3 (0.385 - 0.3).
        // One not near: 0.2 - 0.05 - 0.08, 0.2 - 0.1 - 0.07.
        for (away, right, left, expected) in [(0.3, 0.05, 0.07, 0.335), (0.3, 0.05, 0.081, 0.069), (0.1, 0.1, 0.07, 0.03)] {
            let verdict = judge(&pot(away, right, left));
            assert!((verdict.reward - expected).abs() < 1e-12, "{verdict:?}");
            assert!(!verdict.over && !verdict.won);
        }
        // At the goal, gripped: 0.2 + 3 * 0.385.
        let verdict = judge(&pot(0.0, 0.0, 0.0));
        assert!((verdict.reward - 1.355).abs() < 1e-12 && verdict.won);
    }

    #[test]
    fn episodes_end_where_the_task_says() {
        assert!(!judge(&pot(0.3, 0.199, 0.199)).over);
        assert!(judge(&pot(0.3, 0.201, 0.0)).over && judge(&pot(0.3, 0.0, 0.201)).over, "a hand left its handle");
        let mut seen = pot(0.3, 0.0, 0.0);
        seen.objects[0].at[2] = 0.3;
        assert!(judge(&seen).over, "the pot fell");
        assert!(judge(&pot(0.0499, 0.1, 0.1)).won && !judge(&pot(0.0501, 0.0, 0.0)).won);
    }
}

//! A double door, a leaf for each hand: `door_open_inward`, `door_open_outward`, `door_close_inward`.
//!
//! ```text
//! r    = 2 - f_right - f_left + [both < 0.5] bonus     f: the sum of the five fingers' distances to the hand's handle
//! bonus: 2 |y_right - y_left| for opening, 1 - 2 |y_right - y_left| for shutting; y of the handles
//! won  : |y_right - y_left| > 0.5 m for opening, < 0.5 m for shutting
//! over : f_right or f_left is 1.5 m or more
//! ```
//!
//! Inward, the leaves turn towards the hands: they open by a pull and shut by a push; outward the other way round. Numbers: the tasks
//! and their settings in Bi-DexterousHands, see [`super::rules`].

use std::f64::consts::{FRAC_PI_2, PI};

use super::task::{Base, Place, Play, Rule, Seen, Stand, Thing, Verdict};

/// Hands before a door: fingers towards it, along -x, palms towards each other.
const fn before(x: f64, y: f64) -> [Stand; 2] {
    [
        Stand { at: [x, y, 0.6], angles: [PI, FRAC_PI_2, FRAC_PI_2] },
        Stand { at: [x, -y, 0.6], angles: [PI, -FRAC_PI_2, FRAC_PI_2] },
    ]
}

/// Pulling a door open.
pub const DOOR_OPEN_INWARD: Play = Play {
    name: "door_open_inward",
    summary: "pull a double door open by its handles",
    max_cycles: 250,
    hands: before(0.55, 0.2),
    base: Base::Free { transition: 0.5, orientation: 0.5 },
    thing: Thing::Door { pushed: false, open: 0.0 },
    places: &[Place { start: [0.0, 0.0, 0.7], goal: [0.0; 3] }],
    object_noise: 0.0,
    joint_noise: 0.0,
    rule: Rule::Door { opens: true },
};

/// Pushing it open.
pub const DOOR_OPEN_OUTWARD: Play = Play {
    name: "door_open_outward",
    summary: "push a double door open at its handles",
    thing: Thing::Door { pushed: true, open: 0.0 },
    ..DOOR_OPEN_INWARD
};

/// Pushing an open door shut.
pub const DOOR_CLOSE_INWARD: Play = Play {
    name: "door_close_inward",
    summary: "push an open double door shut at its handles",
    hands: before(0.9, 0.5),
    thing: Thing::Door { pushed: false, open: 1.57 },
    rule: Rule::Door { opens: false },
    ..DOOR_OPEN_INWARD
};

/// What a step is worth.
pub fn judge(opens: bool, seen: &Seen) -> Verdict {
    let [right, left] = [0, 1].map(|h| seen.hands[h].away(seen.handles[h]));
    let apart = (seen.handles[0][1] - seen.handles[1][1]).abs();
    let bonus = if opens { 2.0 * apart } else { 1.0 - 2.0 * apart };
    let held = right < 0.5 && left < 0.5;
    Verdict {
        reward: 2.0 - right - left + if held { bonus } else { 0.0 },
        over: right >= 1.5 || left >= 1.5,
        won: if opens { apart > 0.5 } else { apart < 0.5 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::task::nothing_moved;

    /// Handles at y = +-`half`, each finger `right` or `left` metres below its handle.
    fn door(half: f64, right: f64, left: f64) -> Seen {
        let mut seen = nothing_moved();
        seen.handles = [[0.3, half, 0.7], [0.2, -half, 0.7]];
        seen.hands[0].fingers = [[0.3, half, 0.7 - right]; 5];
        seen.hands[1].fingers = [[0.2, -half, 0.7 - left]; 5];
        seen
    }

    #[test]
    fn rewards_have_their_values() {
        // (half, right, left, opening, shutting): 2 - 5 right - 5 left, and, where both sums are less than 0.5, 4 half or 1 - 4 half.
        for (half, right, left, opening, shutting) in [
            (0.03, 0.2, 0.25, -0.25, -0.25),
            (0.03, 0.09, 0.08, 1.15 + 0.12, 1.15 + 0.88),
            (0.3, 0.09, 0.08, 1.15 + 1.2, 1.15 - 0.2),
            (0.3, 0.09, 0.101, 1.045, 1.045),
            (0.3, 0.101, 0.09, 1.045, 1.045),
        ] {
            let seen = door(half, right, left);
            assert!((judge(true, &seen).reward - opening).abs() < 1e-9, "{:?} {opening}", judge(true, &seen));
            assert!((judge(false, &seen).reward - shutting).abs() < 1e-9, "{:?} {shutting}", judge(false, &seen));
        }
    }

    #[test]
    fn episodes_end_and_are_won_where_the_task_says() {
        assert!(judge(true, &door(0.2501, 0.2, 0.2)).won && !judge(false, &door(0.2501, 0.2, 0.2)).won);
        assert!(!judge(true, &door(0.2499, 0.2, 0.2)).won && judge(false, &door(0.2499, 0.2, 0.2)).won);
        for opens in [true, false] {
            assert!(!judge(opens, &door(0.1, 0.2999, 0.2999)).over);
            assert!(judge(opens, &door(0.1, 0.3001, 0.1)).over && judge(opens, &door(0.1, 0.1, 0.3001)).over);
        }
    }
}

//! Eggs that change hands: `over`, `catch_underarm`, `two_catch_underarm`, `catch_over2underarm`, `catch_abreast`.
//!
//! ```text
//! r    = sum over eggs of exp(-0.2 (D d + rho))     d metres from its goal, rho the angle between egg and goal
//! won  : the sum of d is less than 0.03 m an egg
//! over : an egg is as low as `fallen`, or a hand strayed
//! ```
//!
//! Numbers: the tasks and their settings in Bi-DexterousHands, see [`super::rules`].

use std::f64::consts::{FRAC_PI_2, PI};

use super::rules::{reward, turn};
use super::task::{Base, Place, Play, Point, Rule, Seen, Stand, Thing, Verdict, distance};

/// A step that ends with each egg nearer to its goal than this, on average, is a success, in metres.
const SUCCESS: f64 = 0.03;

/// What ends an episode because a hand strayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leash {
    /// Nothing.
    None,
    /// The right or the left base is 0.1 m or more from here.
    Mount([Point; 2]),
    /// The right or the left palm is.
    Palm([Point; 2]),
}

/// How far a hand may stray, in metres.
const STRAYED: f64 = 0.1;

/// What differs between the tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Catch {
    /// D, the weight of a metre, in 1/m.
    pub weight: f64,
    /// An egg has fallen when it is as low as this, in metres.
    pub fallen: f64,
    /// What holds the hands.
    pub leash: Leash,
}

/// What a step is worth.
pub fn judge(rule: &Catch, seen: &Seen) -> Verdict {
    let paid = |o: &super::task::Object| reward(rule.weight, distance(o.at, o.goal), turn(o.turned, o.goal_turned));
    let away: f64 = seen.objects.iter().map(|o| distance(o.at, o.goal)).sum();
    let strayed = match rule.leash {
        Leash::None => false,
        Leash::Mount(at) => (0..2).any(|h| distance(seen.hands[h].mount, at[h]) >= STRAYED),
        Leash::Palm(at) => (0..2).any(|h| distance(seen.hands[h].palm, at[h]) >= STRAYED),
    };
    Verdict {
        reward: seen.objects.iter().map(paid).sum(),
        over: strayed || seen.objects.iter().any(|o| o.at[2] <= rule.fallen),
        won: away < SUCCESS * seen.objects.len() as f64,
    }
}

/// A hand that faces along -y with its palm up.
const RIGHT: Stand = Stand { at: [0.0, 0.0, 0.5], angles: [0.0; 3] };

/// A hand at some y that faces along y with its palm up.
const fn left(y: f64) -> Stand {
    Stand { at: [0.0, y, 0.5], angles: [0.0, 0.0, PI] }
}

/// Throwing an egg from one fixed hand over to the other.
pub const OVER: Play = Play {
    name: "over",
    summary: "two fixed hands: throw an egg over and catch it",
    max_cycles: 75,
    hands: [RIGHT, left(-1.0)],
    base: Base::Fixed,
    thing: Thing::Eggs,
    places: &[Place { start: [0.0, -0.39, 0.54], goal: [0.0, -0.25, 0.0] }],
    object_noise: 0.01,
    joint_noise: 0.2,
    rule: Rule::Catch(Catch { weight: 50.0, fallen: 0.2, leash: Leash::None }),
};

/// The same with hands that move.
pub const CATCH_UNDERARM: Play = Play {
    name: "catch_underarm",
    summary: "throw an egg over and catch it, palms up",
    hands: [RIGHT, left(-1.15)],
    base: Base::Free { transition: 0.05, orientation: 0.5 },
    places: &[Place { start: [0.0, -0.39, 0.54], goal: [0.0, -0.4, 0.0] }],
    rule: Rule::Catch(Catch { weight: 50.0, fallen: 0.1, leash: Leash::None }),
    ..OVER
};

/// An egg in each hand, to change places.
pub const TWO_CATCH_UNDERARM: Play = Play {
    name: "two_catch_underarm",
    summary: "throw two eggs at once, each to the other hand",
    places: &[
        Place { start: [0.0, -0.39, 0.54], goal: [0.0, -0.4, 0.0] },
        Place { start: [0.0, -0.78, 0.54], goal: [0.0, 0.4, 0.0] },
    ],
    rule: Rule::Catch(Catch { weight: 50.0, fallen: 0.2, leash: Leash::None }),
    ..CATCH_UNDERARM
};

/// From an upright hand down into a palm.
pub const CATCH_OVER2UNDERARM: Play = Play {
    name: "catch_over2underarm",
    summary: "throw an egg from the fingertips of an upright hand into a palm",
    hands: [Stand { at: RIGHT.at, angles: [FRAC_PI_2 + 0.1, PI, 0.0] }, left(-0.8)],
    base: Base::Free { transition: 0.1, orientation: 2.0 },
    places: &[Place { start: [0.0, 0.05, 1.0], goal: [0.0, -0.45, -0.45] }],
    object_noise: 0.0,
    joint_noise: 0.0,
    rule: Rule::Catch(Catch { weight: 20.0, fallen: 0.3, leash: Leash::Mount([[0.0, 0.0, 0.5], [0.0, -0.8, 0.5]]) }),
    ..OVER
};

/// Between two hands side by side.
pub const CATCH_ABREAST: Play = Play {
    name: "catch_abreast",
    summary: "throw an egg sideways to the hand beside and catch it",
    max_cycles: 150,
    hands: [
        Stand { at: [0.0, -0.55, 0.5], angles: [0.0, 0.3925, -FRAC_PI_2] },
        Stand { at: [0.0, -1.15, 0.5], angles: [0.0, -0.3925, -FRAC_PI_2] },
    ],
    base: Base::Free { transition: 0.5, orientation: 1.0 },
    places: &[Place { start: [-0.39, -0.55, 0.54], goal: [0.0, -0.6, 0.0] }],
    object_noise: 0.0,
    joint_noise: 0.0,
    rule: Rule::Catch(Catch { weight: 50.0, fallen: 0.2, leash: Leash::Palm([[-0.3, -0.55, 0.5], [-0.3, -1.15, 0.5]]) }),
    ..OVER
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::rules::about;
    use crate::hands::task::nothing_moved;

    fn rule(play: &Play) -> Catch {
        match play.rule {
            Rule::Catch(rule) => rule,
            _ => panic!("{} is no catch", play.name),
        }
    }

    /// The hands where the task starts them, one egg at z = 0.5 m and its goal 0.1 m away, a quarter turn apart.
    fn start(play: &Play) -> Seen {
        let mut seen = nothing_moved();
        for (hand, stand) in seen.hands.iter_mut().zip(play.hands) {
            hand.mount = stand.at;
        }
        if let Leash::Palm(at) = rule(play).leash {
            seen.hands[0].palm = at[0];
            seen.hands[1].palm = at[1];
        }
        let egg = &mut seen.objects[0];
        (egg.at, egg.goal, egg.turned) = ([0.0, 0.0, 0.5], [0.0, 0.1, 0.5], about(2, FRAC_PI_2));
        seen
    }

    /// exp(-0.2 (50 * 0.1 + pi / 2)) and exp(-0.2 (20 * 0.1 + pi / 2)), by hand.
    #[test]
    fn rewards_have_their_values() {
        for (play, expected) in
            [(OVER, 0.268_700), (CATCH_UNDERARM, 0.268_700), (CATCH_ABREAST, 0.268_700), (CATCH_OVER2UNDERARM, 0.489_605)]
        {
            let verdict = judge(&rule(&play), &start(&play));
            assert!((verdict.reward - expected).abs() < 1e-5, "{}: {}", play.name, verdict.reward);
            assert!(!verdict.over && !verdict.won, "{}", play.name);
        }
    }

    /// Two eggs pay the sum; 0.02 m and 0.03 m are together less than 0.06 m.
    #[test]
    fn two_eggs_are_summed() {
        let mut seen = start(&TWO_CATCH_UNDERARM);
        let mut other = seen.objects[0];
        (other.at, other.goal, other.turned) = ([0.0, 0.0, 0.6], [0.0, 0.0, 0.63], other.goal_turned);
        seen.objects.push(other);
        let verdict = judge(&rule(&TWO_CATCH_UNDERARM), &seen);
        // exp(-0.2 (50 * 0.1 + pi / 2)) + exp(-0.2 * 50 * 0.03).
        assert!((verdict.reward - (0.268_700 + 0.740_818)).abs() < 1e-5, "{}", verdict.reward);
        assert!(!verdict.won);
        seen.objects[0].goal = [0.0, 0.02, 0.5];
        assert!(judge(&rule(&TWO_CATCH_UNDERARM), &seen).won);
        seen.objects[0].goal = [0.0, 0.031, 0.5];
        assert!(!judge(&rule(&TWO_CATCH_UNDERARM), &seen).won);
        seen.objects[1].at[2] = 0.2;
        assert!(judge(&rule(&TWO_CATCH_UNDERARM), &seen).over, "the second egg fell");
    }

    #[test]
    fn eggs_fall_and_are_caught_where_the_task_says() {
        for (play, fallen) in
            [(OVER, 0.2), (CATCH_UNDERARM, 0.1), (TWO_CATCH_UNDERARM, 0.2), (CATCH_OVER2UNDERARM, 0.3), (CATCH_ABREAST, 0.2)]
        {
            let mut seen = start(&play);
            seen.objects[0].at[2] = fallen + 0.001;
            assert!(!judge(&rule(&play), &seen).over, "{}", play.name);
            seen.objects[0].at[2] = fallen;
            assert!(judge(&rule(&play), &seen).over, "{}", play.name);
        }
        let mut seen = start(&OVER);
        seen.objects[0].at = [0.0, 0.0701, 0.5];
        assert!(judge(&rule(&OVER), &seen).won, "0.0299 m from the goal");
        seen.objects[0].at = [0.0, 0.0699, 0.5];
        assert!(!judge(&rule(&OVER), &seen).won, "0.0301 m from it");
    }

    #[test]
    fn only_leashed_hands_may_not_stray() {
        for (play, mount, palm) in [(OVER, false, false), (CATCH_OVER2UNDERARM, true, false), (CATCH_ABREAST, false, true)] {
            for hand in 0..2 {
                let mut seen = start(&play);
                seen.hands[hand].mount[0] += 0.1;
                assert_eq!(judge(&rule(&play), &seen).over, mount, "{} {hand}", play.name);
                let mut seen = start(&play);
                seen.hands[hand].palm[2] += 0.1001;
                assert_eq!(judge(&rule(&play), &seen).over, palm, "{} {hand}", play.name);
                seen.hands[hand].palm[2] -= 0.002;
                assert!(!judge(&rule(&play), &seen).over, "{} {hand}", play.name);
            }
        }
    }
}

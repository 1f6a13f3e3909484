//! What agents do not see, and are not told by their masks, with SMACv2's extended partial observability.

use motley_core::TeamSpec;

use super::*;

const FOES: usize = 5;

/// What agent `i` of `protoss_5_vs_5` sees of foe `j`.
fn block<'a>(spec: &TeamSpec, buf: &'a FrameBuf, i: usize, j: usize) -> &'a [f32] {
    &buf.obs[spec.obs_range(i)][4 + 9 * j..4 + 9 * (j + 1)]
}

/// What is known of one foe.
#[derive(Default, Clone)]
struct Known {
    /// Who found it.
    finder: Option<usize>,
    /// Several had it in sight at once, and may be shown it by chance: who found it cannot be told any more.
    unclear: bool,
    /// Of each other agent that had it in sight since, whether it was shown.
    shown: [Option<bool>; 5],
}

/// Plays an episode on two copies, one of which hides foes with that chance. Gives, for every time that it is clear who found a foe, how
/// many others had it in sight while the finder lived, and in how many of these it was shown; and how often a foe was found again.
fn pairs(chance: &str, seed: u64) -> (usize, usize, usize) {
    let make = |settings: &[&str]| Registry::builtin().make("skirmish/protoss_5_vs_5", settings).unwrap();
    let (mut open, mut hiding) = (make(&[]), make(&[chance]));
    let spec = open.spec().clone();
    let (mut all, mut some) = (FrameBuf::new(&spec), FrameBuf::new(&spec));
    let at = || Stream::new(seed, Purpose::Check, 0, 0);
    open.reset(at(), &mut all.frame()).unwrap();
    hiding.reset(at(), &mut some.frame()).unwrap();
    let mut known: [Known; FOES] = Default::default();
    let (mut drawn, mut again) = (Vec::new(), 0);
    let mut draws = Stream::new(seed, Purpose::Check, 1, 0);
    loop {
        assert_eq!((&all.avail, &all.state, &all.rewards), (&some.avail, &some.state, &some.rewards), "nothing else differs");
        for (j, known) in known.iter_mut().enumerate() {
            let in_sight: Vec<usize> = (0..5).filter(|i| block(&spec, &all, *i, j)[1] != 0.0).collect();
            if known.finder.is_some_and(|finder| !all.alive[finder]) {
                drawn.extend(std::mem::take(known).shown.into_iter().flatten());
                again += usize::from(!in_sight.is_empty());
            }
            let sees = |i: usize| block(&spec, &some, i, j)[1] != 0.0;
            if known.finder.is_none() && !known.unclear {
                let shown: Vec<usize> = in_sight.iter().copied().filter(|i| sees(*i)).collect();
                assert!(in_sight.is_empty() || !shown.is_empty(), "who finds a foe sees it");
                known.unclear = in_sight.len() > 1 && chance != "prob_obs_enemy=0";
                known.finder = shown.first().copied().filter(|_| !known.unclear);
            }
            for i in 0..5 {
                let (there, seen) = (block(&spec, &all, i, j), block(&spec, &some, i, j));
                assert!(if sees(i) { seen == there } else { seen.iter().all(|x| *x == 0.0) });
                if known.finder.is_none() || !in_sight.contains(&i) {
                    continue;
                }
                if known.finder == Some(i) {
                    assert!(sees(i), "who finds a foe sees it for good");
                } else {
                    assert_eq!(*known.shown[i].get_or_insert(sees(i)), sees(i), "drawn once, until the finder falls");
                }
            }
        }
        let mut actions = vec![0.0; spec.n()];
        for (i, action) in actions.iter_mut().enumerate() {
            let mask = &all.avail[spec.mask_range(i)];
            let free: Vec<usize> = (0..mask.len()).filter(|a| mask[*a]).collect();
            *action = free[draws.below(free.len() as u32) as usize] as f32;
        }
        let status = open.step(Actions::new(&spec, &actions), &mut all.frame()).unwrap();
        assert_eq!(status, hiding.step(Actions::new(&spec, &actions), &mut some.frame()).unwrap());
        if status.done() {
            drawn.extend(known.into_iter().flat_map(|known| known.shown.into_iter().flatten()));
            return (drawn.len(), drawn.iter().filter(|sees| **sees).count(), again);
        }
    }
}

#[test]
fn a_foe_that_another_met_is_seen_by_chance() {
    let sum = |a: (usize, usize, usize), b: (usize, usize, usize)| (a.0 + b.0, a.1 + b.1, a.2 + b.2);
    let total = |chance: &str| (0..60).map(|seed| pairs(chance, seed)).fold((0, 0, 0), sum);
    let (drawn, shown, again) = total("prob_obs_enemy=0");
    assert!(drawn > 300 && shown == 0 && again > 50, "{shown} of {drawn}, {again} found again");
    let (drawn, shown, _) = total("prob_obs_enemy=0.4");
    let part = shown as f64 / drawn as f64;
    assert!((part - 0.4).abs() < 0.1, "{shown} of {drawn}");
}

#[test]
fn without_masks_every_living_target_is_open_and_what_is_out_of_reach_is_nothing() {
    let make = |settings: &[&str]| Registry::builtin().make("skirmish/MMM", settings).unwrap();
    let (mut masked, mut open) = (make(&["state_last_action=false"]), make(&["state_last_action=false", "action_mask=false"]));
    let spec = masked.spec().clone();
    let (mut told, mut untold) = (FrameBuf::new(&spec), FrameBuf::new(&spec));
    masked.reset(stream(), &mut told.frame()).unwrap();
    open.reset(stream(), &mut untold.frame()).unwrap();
    let slots = |buf: &FrameBuf, i: usize| buf.avail[spec.mask_range(i)][6..].to_vec();
    let medivac = spec.n() - 1;
    let mut waited = 0;
    // Until somebody reaches a foe, to shoot is to stand.
    while (0..medivac).all(|i| slots(&told, i).iter().all(|open| !open)) {
        assert!((0..medivac).all(|i| slots(&untold, i) == [true; 10]), "all ten foes live");
        let patients: Vec<bool> = (0..10).map(|j| j != medivac).collect();
        assert_eq!(slots(&untold, medivac), patients, "and nine who can be healed");
        assert_eq!((&told.obs, &told.state, &told.rewards), (&untold.obs, &untold.state, &untold.rewards), "step {waited}");
        let mut shots = vec![6.0; spec.n()];
        shots[medivac] = 1.0;
        open.step(Actions::new(&spec, &shots), &mut untold.frame()).unwrap();
        masked.step(Actions::new(&spec, &vec![1.0; spec.n()]), &mut told.frame()).unwrap();
        waited += 1;
    }
    assert!(waited > 3, "{waited}");
    // Within reach it is a shot.
    let (i, j) = (0..medivac).find_map(|i| slots(&told, i).iter().position(|open| *open).map(|j| (i, j))).unwrap();
    let mut total = 0.0;
    for _ in 0..3 {
        let mut shots = vec![1.0; spec.n()];
        shots[i] = (6 + j) as f32;
        open.step(Actions::new(&spec, &shots), &mut untold.frame()).unwrap();
        total += untold.rewards[0];
    }
    assert!(total > 0.0);
}

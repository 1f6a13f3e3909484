//! What agents do not see, and are not told by their masks, with SMACv2's extended partial observability.

use motley_core::TeamSpec;

use super::*;

const FOES: usize = 5;

/// What agent `i` of `protoss_5_vs_5` sees of foe `j`.
fn block<'a>(spec: &TeamSpec, buf: &'a FrameBuf, i: usize, j: usize) -> &'a [f32] {
    &buf.obs[spec.obs_range(i)][4 + 9 * j..4 + 9 * (j + 1)]
}

/// Plays an episode on two copies, one of which hides foes with that chance. Gives how many pairs of a foe and an agent that was not
/// the first to see it had it in sight at least once, and in how many of these it was shown.
fn pairs(chance: &str, seed: u64) -> (usize, usize) {
    let make = |settings: &[&str]| Registry::builtin().make("skirmish/protoss_5_vs_5", settings).unwrap();
    let (mut open, mut hiding) = (make(&[]), make(&[chance]));
    let spec = open.spec().clone();
    let (mut all, mut some) = (FrameBuf::new(&spec), FrameBuf::new(&spec));
    let at = || Stream::new(seed, Purpose::Check, 0, 0);
    open.reset(at(), &mut all.frame()).unwrap();
    hiding.reset(at(), &mut some.frame()).unwrap();
    let mut first = [None; FOES];
    let mut shown = [[None; 5]; FOES];
    let mut draws = Stream::new(seed, Purpose::Check, 1, 0);
    loop {
        assert_eq!((&all.avail, &all.state, &all.rewards), (&some.avail, &some.state, &some.rewards), "nothing else differs");
        for (j, i) in (0..FOES).flat_map(|j| (0..5).map(move |i| (j, i))) {
            let (there, seen) = (block(&spec, &all, i, j), block(&spec, &some, i, j));
            if there[1] == 0.0 {
                assert!(seen.iter().all(|x| *x == 0.0));
                continue;
            }
            let sees = seen[1] != 0.0;
            assert!(if sees { seen == there } else { seen.iter().all(|x| *x == 0.0) });
            if *first[j].get_or_insert(i) == i {
                assert!(sees, "who meets a foe first sees it for good");
            } else {
                assert_eq!(*shown[j][i].get_or_insert(sees), sees, "drawn once an episode");
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
            let drawn: Vec<bool> = shown.into_iter().flatten().flatten().collect();
            return (drawn.len(), drawn.iter().filter(|sees| **sees).count());
        }
    }
}

#[test]
fn a_foe_that_another_met_is_seen_by_chance() {
    let total = |chance: &str| (0..40).map(|seed| pairs(chance, seed)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let (drawn, shown) = total("prob_obs_enemy=0");
    assert!(drawn > 300 && shown == 0, "{shown} of {drawn}");
    let (drawn, shown) = total("prob_obs_enemy=0.4");
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

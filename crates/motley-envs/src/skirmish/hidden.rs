//! SMACv2's extended partial observability: what one agent has found, the others need not see.
//!
//! B. Ellis et al., "SMACv2: An Improved Benchmark for Cooperative Multi-Agent Reinforcement Learning", NeurIPS 2023.

use motley_core::{Purpose, Stream};

/// The part of an episode's stream that these draws come from.
const PURPOSE: u64 = 0x0b5e_77ed;

/// Who may see whom. The first agent that has a foe in sight has found it, and sees it from then on as ever; of every other agent one
/// draw decides whether the foe can be seen by it too. That holds until who found it falls: the foe is then to be found anew. Where several
/// have it in sight at once a draw says who is the first, as in SMACv2's code, which asks agents in a random order.
///
/// That code wipes what an agent sees of *all* foes up to one that is hidden from it; here a foe that is hidden hides nobody else.
#[derive(Debug, Clone)]
pub(super) struct Hidden {
    chance: f64,
    agents: usize,
    /// The episode's, for these draws alone.
    pub(super) stream: Stream,
    /// Of each foe, who found it and lives.
    pub(super) finder: Vec<Option<u16>>,
    /// Of each foe, how often it was found.
    pub(super) found: Vec<u16>,
    /// `[foe][agent]`: whether the agent may see it.
    pub(super) open: Vec<bool>,
}

impl Hidden {
    /// Nobody has found anyone; `chance` is that of every other agent.
    pub(super) fn new(chance: f64, agents: usize, foes: usize) -> Self {
        let stream = Stream::new(0, Purpose::Episode, 0, 0);
        Self { chance, agents, stream, finder: vec![None; foes], found: vec![0; foes], open: vec![false; foes * agents] }
    }

    /// An episode begins; `stream` is the episode's.
    pub(super) fn begin(&mut self, stream: &Stream) {
        self.stream = stream.fork(PURPOSE);
        self.finder.fill(None);
        self.found.fill(0);
        self.open.fill(false);
    }

    /// An agent has fallen: whom it had found nobody has.
    pub(super) fn forget(&mut self, agent: usize) {
        let open = self.open.chunks_exact_mut(self.agents);
        for (finder, open) in self.finder.iter_mut().zip(open).filter(|(finder, _)| **finder == Some(agent as u16)) {
            *finder = None;
            open.fill(false);
        }
    }

    /// These agents have `foe` in sight: one of them finds it, if nobody has.
    pub(super) fn meet(&mut self, foe: usize, mut in_sight: impl Iterator<Item = usize> + Clone) {
        let count = in_sight.clone().count();
        if count == 0 || self.finder[foe].is_some() {
            return;
        }
        let mut draws = self.stream.fork(foe as u64).fork(u64::from(self.found[foe]));
        self.found[foe] += 1;
        let Some(finder) = in_sight.nth(draws.below(count as u32) as usize) else { return };
        self.finder[foe] = Some(finder as u16);
        let open = &mut self.open[foe * self.agents..(foe + 1) * self.agents];
        open.fill_with(|| draws.bernoulli(self.chance));
        open[finder] = true;
    }

    /// Whether `agent` may see `foe`.
    pub(super) fn shows(&self, foe: usize, agent: usize) -> bool {
        self.open[foe * self.agents + agent]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_a_foe_sees_it_and_of_the_others_a_draw_decides() {
        let shown = |chance: f64| {
            let mut hidden = Hidden::new(chance, 5, 400);
            hidden.begin(&Stream::new(0, Purpose::Check, 0, 0));
            assert!((0..400).all(|foe| (0..5).all(|i| !hidden.shows(foe, i))), "nobody was found");
            (0..400).for_each(|foe| hidden.meet(foe, [2].into_iter()));
            assert!((0..400).all(|foe| hidden.shows(foe, 2)));
            let before = hidden.open.clone();
            (0..400).for_each(|foe| hidden.meet(foe, [1, 3].into_iter()));
            hidden.forget(1);
            assert_eq!(before, hidden.open, "who comes later, and who falls of the others, changes nothing");
            (0..400).map(|foe| [0, 1, 3, 4].iter().filter(|i| hidden.shows(foe, **i)).count()).sum::<usize>()
        };
        assert_eq!((shown(0.0), shown(1.0)), (0, 1600));
        let some = shown(0.3) as f64 / 1600.0;
        assert!((some - 0.3).abs() < 0.04, "{some}");
    }

    #[test]
    fn whom_the_fallen_found_is_found_anew() {
        let mut hidden = Hidden::new(0.5, 5, 400);
        hidden.begin(&Stream::new(1, Purpose::Check, 0, 0));
        (0..400).for_each(|foe| hidden.meet(foe, [foe % 2].into_iter()));
        let before = hidden.open.clone();
        hidden.forget(0);
        for foe in 0..400 {
            let shown = (0..5).filter(|i| hidden.shows(foe, *i)).count();
            assert!(if foe % 2 == 0 { shown == 0 } else { shown > 0 }, "foe {foe} is shown to {shown}");
        }
        (0..400).for_each(|foe| hidden.meet(foe, [1].into_iter()));
        assert!((0..400).all(|foe| hidden.shows(foe, 1)));
        let redrawn = (0..400).step_by(2).filter(|foe| (2..5).any(|i| before[foe * 5 + i] != hidden.shows(*foe, i))).count();
        assert!((150..200).contains(&redrawn), "7 of 8 rows of three draws change, here {redrawn} of 200");
        assert!((1..400).step_by(2).all(|foe| (0..5).all(|i| before[foe * 5 + i] == hidden.shows(foe, i))));
    }

    #[test]
    fn of_several_who_come_at_once_any_is_the_first() {
        let mut hidden = Hidden::new(0.0, 5, 900);
        hidden.begin(&Stream::new(2, Purpose::Check, 0, 0));
        (0..900).for_each(|foe| hidden.meet(foe, [0, 2, 4].into_iter()));
        for (i, expected) in [300_i32, 0, 300, 0, 300].into_iter().enumerate() {
            let found = (0..900).filter(|foe| hidden.shows(*foe, i)).count() as i32;
            assert!((found - expected).abs() <= expected / 5, "agent {i} found {found}");
        }
    }
}

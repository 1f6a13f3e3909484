//! SMACv2's extended partial observability: what one agent has found, the others need not see.
//!
//! B. Ellis et al., "SMACv2: An Improved Benchmark for Cooperative Multi-Agent Reinforcement Learning", NeurIPS 2023.

use motley_core::Stream;

/// The part of an episode's stream that these draws come from.
const PURPOSE: u64 = 0x0b5e_77ed;

/// Who may see whom. The first agent that has a foe in sight sees that foe from then on as ever; of every other agent one draw
/// decides, for the rest of the episode, whether the foe can be seen by it too. Where several have it in sight at once the first is
/// the one of the lowest number, as in SMACv2's code.
///
/// That code wipes what an agent sees of *all* foes up to one that is hidden from it; here a foe that is hidden hides nobody else.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hidden {
    chance: f64,
    agents: usize,
    /// Of each foe, whether somebody has met it.
    pub(super) met: Vec<bool>,
    /// `[foe][agent]`: whether the agent may see it.
    pub(super) open: Vec<bool>,
}

impl Hidden {
    /// Nobody has met anyone; `chance` is that of every other agent.
    pub(super) fn new(chance: f64, agents: usize, foes: usize) -> Self {
        Self { chance, agents, met: vec![false; foes], open: vec![false; foes * agents] }
    }

    /// An episode begins: what the draws will say of every foe is settled here, from the episode's stream.
    pub(super) fn begin(&mut self, stream: &Stream) {
        let stream = stream.fork(PURPOSE);
        self.met.fill(false);
        for (foe, open) in self.open.chunks_exact_mut(self.agents).enumerate() {
            let mut draws = stream.fork(foe as u64);
            open.fill_with(|| draws.bernoulli(self.chance));
        }
    }

    /// Agent `agent` is the first that has `foe` in sight.
    pub(super) fn meet(&mut self, foe: usize, agent: usize) {
        self.met[foe] = true;
        self.open[foe * self.agents + agent] = true;
    }

    /// Whether `agent` may see `foe`.
    pub(super) fn shows(&self, foe: usize, agent: usize) -> bool {
        self.met[foe] && self.open[foe * self.agents + agent]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::Purpose;

    #[test]
    fn who_meets_a_foe_sees_it_and_of_the_others_a_draw_decides() {
        let shown = |chance: f64| {
            let mut hidden = Hidden::new(chance, 5, 400);
            hidden.begin(&Stream::new(0, Purpose::Check, 0, 0));
            assert!((0..400).all(|foe| (0..5).all(|i| !hidden.shows(foe, i))), "nobody was met");
            (0..400).for_each(|foe| hidden.meet(foe, 2));
            assert!((0..400).all(|foe| hidden.shows(foe, 2)));
            (0..400).map(|foe| [0, 1, 3, 4].iter().filter(|i| hidden.shows(foe, **i)).count()).sum::<usize>()
        };
        assert_eq!((shown(0.0), shown(1.0)), (0, 1600));
        let some = shown(0.3) as f64 / 1600.0;
        assert!((some - 0.3).abs() < 0.04, "{some}");
    }
}

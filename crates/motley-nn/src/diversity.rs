//! How unlike the members of a team behave.

use motley_core::TeamSpec;

use crate::net::NetScratch;
use crate::policy::{ActingGroup, Policy, TeamPolicy, fill_shown};

/// System neural diversity (Bettini, Shankar, Prorok, "System Neural Diversity", 2023): the mean, over pairs of policies that could take
/// each other's place, over the agents in whose place they could stand, and over observations, of the Wasserstein distance between
/// the two policies' actions ([`crate::Head::distance`], each with its own deviation). 0 where all behave alike.
///
/// `obs` is `[moments, obs_len]`. `None` where no two groups read and do the same kind of thing, where they remember (the distance of
/// policies with memory depends on whose history it is), or where they act in a unified space, which is one network's for all.
pub fn system_neural_diversity(policy: &TeamPolicy, obs: &[f32]) -> Option<f64> {
    if policy.lift().is_some() {
        return None;
    }
    let (team, groups) = (policy.team(), policy.groups());
    let (mut sum, mut count) = (0.0, 0usize);
    for (k, a) in groups.iter().enumerate() {
        for b in groups[k + 1..].iter().filter(|b| interchangeable(a, b)) {
            for moment in obs.chunks_exact(team.obs_len()) {
                for agent in (0..team.n()).filter(|i| fits(team, a, *i)) {
                    sum += apart(team, a, b, moment, agent);
                    count += 1;
                }
            }
        }
    }
    (count > 0).then(|| sum / count as f64)
}

fn interchangeable(a: &ActingGroup, b: &ActingGroup) -> bool {
    let plain = |g: &ActingGroup| g.memory_width() == 0 && g.extra() == 0;
    plain(a) && plain(b) && a.net.spec().obs == b.net.spec().obs && a.head == b.head && a.net.graph() == b.net.graph()
}

fn fits(team: &TeamSpec, group: &ActingGroup, agent: usize) -> bool {
    let (own, first) = (&team.agents[agent], &team.agents[group.members[0]]);
    own.obs.shape == first.obs.shape && own.action == first.action
}

/// Distance of the two policies in the place of one agent at one moment.
fn apart(team: &TeamSpec, a: &ActingGroup, b: &ActingGroup, obs: &[f32], agent: usize) -> f64 {
    let mut x = vec![0.0; a.net.input_len()];
    fill_shown(&a.net, team, obs, agent, None, &mut x);
    let mut outs = [vec![0.0; a.net.output_len()], vec![0.0; b.net.output_len()]];
    let mut scratch = NetScratch::default();
    for (group, out) in [a, b].into_iter().zip(&mut outs) {
        group.net.forward(&x, 1, &mut [], out, &mut scratch);
    }
    a.head.distance(&outs[0], a.net.free(), &outs[1], b.net.free())
}

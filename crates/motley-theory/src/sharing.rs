//! What one shared policy without agent ids costs, in closed form.

/// J(p) = 2(p(1−p))^{n/2} in the trap of homogeneity when all `agents` share one policy with P(1) = `p` (HARL, Proposition 4).
/// At most 2·2^{−n}, at p = ½, where unlike policies reach 1.
pub fn homogeneity_trap_return(agents: usize, p: f64) -> f64 {
    2.0 * (p * (1.0 - p)).powf(agents as f64 / 2.0)
}

/// The best return Π_k (n_k/m)^{n_k} of one shared policy where reward 1 needs every one of m agents to play its own required action
/// and `counts` n_k of them need action k. The best policy plays π(k) = n_k/m; unlike policies reach 1.
pub fn required_actions_optimum(counts: &[usize]) -> f64 {
    let m = counts.iter().sum::<usize>() as f64;
    counts.iter().filter(|n| **n > 0).map(|&n| (n as f64 / m).powf(n as f64)).product()
}

/// The best return of the same task where one shared policy chooses among unified actions under masks by group, and no two groups have
/// an action in common: the product over groups of [`required_actions_optimum`], `groups[g][k]` agents of group g needing its action k.
///
/// 1 where every group needs one action, whatever the groups' numbers for it. Agents of one group that must act unlike each other on
/// equal observations gain nothing.
pub fn unified_required_actions_optimum(groups: &[Vec<usize>]) -> f64 {
    groups.iter().map(|counts| required_actions_optimum(counts)).product()
}

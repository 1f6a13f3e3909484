//! Unified action spaces: one numbering of actions for a team of unlike agents, in which a number has one meaning.
//!
//! Wherever an index means one thing for one kind of agent and another for the next (in SMAC "6 + k" is *attack foe k* for a marine
//! and *heal ally k* for a medivac), one network for all cannot tell what it chooses. The unified space is the disjoint union of
//! what actions mean ([`ActionMeaning`]): on itself and the world, on foes, on allies; an agent's group mask `AM_g` says which of
//! them its kind of agent has. A mask at a step is `AM_g` and what the environment allows, lifted; a chosen action goes back by the
//! agent's own inverse, which is one-to-one on its group's actions and undefined elsewhere.
//!
//! Agents whose actions the task gives no meaning get a block of their kind's own: members of one kind are interchangeable, so
//! their numbers mean the same, and nothing is known of other kinds'.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ActionMeaning, ActionSpace, AgentSpec, ObsSpace, TeamSpec};

/// Descriptions come from files too: tables larger than this are a mistake in one, not a team.
const MOST: usize = 1 << 24;

/// One action of the unified space, in the order of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Said(ActionMeaning),
    /// Action of a kind that the task does not explain.
    OfKind(usize, usize),
}

/// A run of unified actions of one sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// `own`, `enemies`, `allies`, or the kind of agent that it belongs to.
    pub name: String,
    /// Its numbers.
    pub range: Range<usize>,
}

/// The unified actions of a team and every agent's way to them and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnifiedSpace {
    /// Own actions (those that some agent has), foes (those that some agent can reach), allies (every agent of the team, where
    /// any can be reached), then blocks of unexplained kinds. Together they cover the space.
    pub blocks: Vec<Block>,
    /// Which group an agent belongs to: agents with one action mask.
    pub group_of_agent: Vec<usize>,
    /// `AM_g` of every group, `[len]` each.
    pub masks: Vec<Vec<bool>>,
    to_env: Vec<Vec<Option<usize>>>,
    from_env: Vec<Vec<Option<usize>>>,
}

impl UnifiedSpace {
    /// The space of a team.
    ///
    /// # Errors
    /// Agents that do not make one choice among a few, or meanings that contradict each other; the text names the agent.
    pub fn new(team: &TeamSpec) -> Result<Self, String> {
        let kinds = kinds(team);
        let counts = team.agents.iter().map(|a| if let ActionSpace::Discrete(n) = a.action { n } else { 0 });
        let total = counts.fold(0, usize::saturating_add);
        if total.saturating_mul(team.n()) > MOST {
            return Err(format!("the {} agents have {total} actions together, which is too many to unify", team.n()));
        }
        let slots = team.agents.iter().zip(&kinds.of_agent).map(|(a, kind)| slots_of(a, *kind, team.n()));
        let slots: Vec<Vec<Option<Slot>>> = slots.collect::<Result<_, _>>()?;
        let mut numbers: BTreeMap<Slot, usize> = slots.iter().flatten().flatten().map(|s| (*s, 0)).collect();
        // A team's allies are a block of its size, whoever of them can be reached.
        if numbers.keys().any(|s| matches!(s, Slot::Said(ActionMeaning::Ally(_)))) {
            numbers.extend((0..team.n()).map(|k| (Slot::Said(ActionMeaning::Ally(k as u16)), 0)));
        }
        let mut blocks: Vec<Block> = Vec::new();
        for (u, (slot, number)) in numbers.iter_mut().enumerate() {
            *number = u;
            let name = match slot {
                Slot::Said(ActionMeaning::Enemy(_)) => "enemies",
                Slot::Said(ActionMeaning::Ally(_)) => "allies",
                Slot::Said(_) => "own",
                Slot::OfKind(kind, _) => kinds.names[*kind].as_str(),
            };
            match blocks.last_mut().filter(|b| b.name == name) {
                Some(block) => block.range.end = u + 1,
                None => blocks.push(Block { name: name.to_owned(), range: u..u + 1 }),
            }
        }
        let len = numbers.len();
        let from_env: Vec<Vec<Option<usize>>> =
            slots.iter().map(|of| of.iter().map(|slot| slot.and_then(|s| numbers.get(&s).copied())).collect()).collect();
        let (mut to_env, mut masks, mut group_of_agent) = (Vec::new(), Vec::<Vec<bool>>::new(), Vec::new());
        for (agent, from) in team.agents.iter().zip(&from_env) {
            let mut back = vec![None; len];
            for (a, u) in from.iter().enumerate().filter_map(|(a, u)| u.map(|u| (a, u))) {
                if back[u].replace(a).is_some() {
                    return Err(format!(
                        "agent \"{}\" has two actions of one meaning, of which action {a} is the second",
                        agent.name
                    ));
                }
            }
            let mask: Vec<bool> = back.iter().map(Option::is_some).collect();
            group_of_agent.push(masks.iter().position(|m| *m == mask).unwrap_or(masks.len()));
            if group_of_agent.last() == Some(&masks.len()) {
                masks.push(mask);
            }
            to_env.push(back);
        }
        Ok(Self { blocks, group_of_agent, masks, to_env, from_env })
    }

    /// Unified actions.
    pub fn len(&self) -> usize {
        self.blocks.last().map_or(0, |b| b.range.end)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The environment's action of agent `agent` for a unified one, where it has that.
    pub fn to_env(&self, agent: usize, unified: usize) -> Option<usize> {
        self.to_env[agent].get(unified).copied().flatten()
    }

    /// The unified action of agent `agent`'s action, unless that is never available.
    pub fn from_env(&self, agent: usize, action: usize) -> Option<usize> {
        self.from_env[agent].get(action).copied().flatten()
    }

    /// `AM_g` and the environment's mask of agent `agent`, lifted: `avail` `[actions]`, `into` `[len]`.
    pub fn lift(&self, agent: usize, avail: &[bool], into: &mut [bool]) {
        into.fill(false);
        for (u, _) in self.from_env[agent].iter().zip(avail).filter(|(_, open)| **open) {
            if let Some(u) = u {
                into[*u] = true;
            }
        }
    }
}

/// What each action of an agent is in the unified space; `None` for one that is never available.
fn slots_of(agent: &AgentSpec, kind: usize, agents: usize) -> Result<Vec<Option<Slot>>, String> {
    let name = &agent.name;
    let ActionSpace::Discrete(n) = agent.action else {
        let found = agent.action.describe();
        return Err(format!(
            "agent \"{name}\" has {found}, and actions are unified where each agent makes one choice among a few"
        ));
    };
    if agent.meaning.is_empty() {
        return Ok((0..n).map(|a| Some(Slot::OfKind(kind, a))).collect());
    }
    if agent.meaning.len() != n {
        return Err(format!("agent \"{name}\" has {n} actions and {} meanings", agent.meaning.len()));
    }
    let slot = |meaning: &ActionMeaning| match *meaning {
        ActionMeaning::Never => Ok(None),
        ActionMeaning::Ally(k) if usize::from(k) >= agents => {
            Err(format!("an action of agent \"{name}\" means ally {k} of a team of {agents}"))
        }
        said => Ok(Some(Slot::Said(said))),
    };
    agent.meaning.iter().map(slot).collect()
}

/// The kinds of agents of a team, in order of appearance.
struct Kinds {
    names: Vec<String>,
    of_agent: Vec<usize>,
}

fn kinds(team: &TeamSpec) -> Kinds {
    let mut kinds = Kinds { names: Vec::new(), of_agent: Vec::new() };
    for agent in &team.agents {
        let known = kinds.names.iter().position(|k| *k == agent.kind);
        kinds.of_agent.push(known.unwrap_or(kinds.names.len()));
        if known.is_none() {
            kinds.names.push(agent.kind.clone());
        }
    }
    kinds
}

/// A team as one network sees it: actions of the [`UnifiedSpace`], and observations padded with zeros to the widest, behind them a
/// one-hot of the kind where there are several. The task knows nothing of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lift {
    team: Arc<TeamSpec>,
    unified: Arc<TeamSpec>,
    space: UnifiedSpace,
    plan: LiftPlan,
}

/// What a reader without Motley needs to act with a lifted policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiftPlan {
    /// Entries of an observation before the one-hot.
    pub observed: usize,
    /// Entries of the one-hot: the number of kinds, 0 where there is one.
    pub kinds: usize,
    /// Every agent's kind.
    pub kind_of_agent: Vec<usize>,
    /// Every agent's actions as unified ones; `None` for those that are never available.
    pub from_env: Vec<Vec<Option<usize>>>,
}

impl Lift {
    /// Of a team.
    ///
    /// # Errors
    /// Those of [`UnifiedSpace::new`], and agents that observe images.
    pub fn new(team: &Arc<TeamSpec>) -> Result<Self, String> {
        for agent in &team.agents {
            if agent.obs.is_image() {
                return Err(format!(
                    "agent \"{}\" observes {}, and observations of unlike agents are padded where they are vectors",
                    agent.name,
                    agent.obs.describe()
                ));
            }
            let size = agent.obs.size();
            if size.saturating_mul(team.n()) > MOST {
                return Err(format!("agent \"{}\" observes {size} numbers, which are too many to pad others to", agent.name));
            }
        }
        let (space, kinds) = (UnifiedSpace::new(team)?, kinds(team));
        let plan = LiftPlan {
            observed: team.agents.iter().map(|a| a.obs.size()).max().unwrap_or(0),
            kinds: if kinds.names.len() > 1 { kinds.names.len() } else { 0 },
            kind_of_agent: kinds.of_agent,
            from_env: space.from_env.clone(),
        };
        if space.is_empty() || plan.observed == 0 {
            return Err("its agents have nothing to observe or nothing to choose".into());
        }
        let agent = |(i, a): (usize, &AgentSpec)| AgentSpec {
            noop: a.noop.and_then(|noop| space.from_env(i, noop)),
            position: a.position.clone(),
            velocity: a.velocity.clone(),
            ..AgentSpec::new(
                a.name.clone(),
                a.kind.clone(),
                ObsSpace::vector(plan.observed + plan.kinds),
                ActionSpace::Discrete(space.len()),
            )
        };
        let mut unified = TeamSpec::new(team.task.clone(), team.agents.iter().enumerate().map(agent).collect());
        (unified.version, unified.state, unified.reward) = (team.version, team.state, team.reward);
        (unified.masks, unified.deaths) = (true, team.deaths);
        (unified.step_limit, unified.winning) = (team.step_limit, team.winning);
        Ok(Self { team: Arc::clone(team), unified: Arc::new(unified), space, plan })
    }

    /// The team as the task has it.
    pub fn team(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    /// The team as one network sees it: equal spaces for all.
    pub fn unified(&self) -> &Arc<TeamSpec> {
        &self.unified
    }

    /// The unified actions.
    pub fn space(&self) -> &UnifiedSpace {
        &self.space
    }

    /// In plain numbers.
    pub fn plan(&self) -> &LiftPlan {
        &self.plan
    }

    /// All observations of a moment: `[obs_len]` of the task's team into `[obs_len]` of the unified one.
    pub fn observe(&self, obs: &[f32], into: &mut [f32]) {
        into.fill(0.0);
        for i in 0..self.team.n() {
            let (own, row) = (&obs[self.team.obs_range(i)], &mut into[self.unified.obs_range(i)]);
            row[..own.len()].copy_from_slice(own);
            if self.plan.kinds > 0 {
                row[self.plan.observed + self.plan.kind_of_agent[i]] = 1.0;
            }
        }
    }

    /// All masks of a moment: `[mask_len]` of the task's team into `[mask_len]` of the unified one.
    pub fn masks(&self, avail: &[bool], into: &mut [bool]) {
        for i in 0..self.team.n() {
            self.space.lift(i, &avail[self.team.mask_range(i)], &mut into[self.unified.mask_range(i)]);
        }
    }

    /// Every agent's action of a moment, `[agents]`, from the environment's numbers to unified ones.
    pub fn raise(&self, actions: &mut [f32]) {
        self.renumber(actions, |i, a| self.space.from_env(i, a));
    }

    /// Every agent's action of a moment, `[agents]`, from unified numbers to the environment's.
    pub fn lower(&self, actions: &mut [f32]) {
        self.renumber(actions, |i, u| self.space.to_env(i, u));
    }

    fn renumber(&self, actions: &mut [f32], number: impl Fn(usize, usize) -> Option<usize>) {
        for (i, action) in actions.iter_mut().enumerate() {
            // There is no number only where a task opens what it says is never open, or nothing at all: the first action then stands
            // for it, and the environment judges that.
            *action = number(i, *action as usize).unwrap_or(0) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ActionMeaning::{Ally, Enemy, Never, Own};
    use super::*;

    fn agent(name: &str, kind: &str, obs: usize, meaning: &[ActionMeaning]) -> AgentSpec {
        let mut agent = AgentSpec::new(name, kind, ObsSpace::vector(obs), ActionSpace::Discrete(meaning.len()));
        agent.meaning = meaning.to_vec();
        agent
    }

    fn unexplained(name: &str, kind: &str, obs: usize, n: usize) -> AgentSpec {
        AgentSpec::new(name, kind, ObsSpace::vector(obs), ActionSpace::Discrete(n))
    }

    /// Three groups: fighters with two foes, a healer who reaches two of four allies, a scout that the task does not explain.
    fn three_groups() -> Arc<TeamSpec> {
        let fights = [Own(0), Own(1), Enemy(0), Enemy(1)];
        let mut agents = vec![
            agent("fighter_0", "fighter", 2, &fights),
            agent("fighter_1", "fighter", 2, &fights),
            agent("healer", "healer", 4, &[Own(0), Own(1), Ally(0), Ally(1), Never]),
            unexplained("scout", "scout", 1, 3),
        ];
        agents[0].noop = Some(1);
        Arc::new(TeamSpec::new("test/three", agents))
    }

    #[test]
    fn blocks_are_disjoint_and_cover_the_space() {
        let space = UnifiedSpace::new(&three_groups()).unwrap();
        let found: Vec<(&str, Range<usize>)> = space.blocks.iter().map(|b| (b.name.as_str(), b.range.clone())).collect();
        assert_eq!(found, [("own", 0..2), ("enemies", 2..4), ("allies", 4..8), ("scout", 8..11)]);
        assert_eq!((space.len(), space.group_of_agent.clone()), (11, vec![0, 0, 1, 2]));
    }

    /// T26: the way there and back is the identity on a group's actions, everything that can be legal is covered, the rest leads
    /// nowhere, and groups have unlike masks.
    #[test]
    fn the_way_back_undoes_the_way_there() {
        let team = three_groups();
        let space = UnifiedSpace::new(&team).unwrap();
        for (i, agent) in team.agents.iter().enumerate() {
            let mask = &space.masks[space.group_of_agent[i]];
            assert_eq!(mask.len(), space.len());
            for (u, has) in mask.iter().enumerate() {
                assert_eq!(space.to_env(i, u).is_some(), *has);
                assert_eq!(space.to_env(i, u).and_then(|a| space.from_env(i, a)), has.then_some(u));
            }
            for a in 0..agent.action.mask_len() {
                let legal = agent.meaning.get(a) != Some(&Never);
                assert_eq!(space.from_env(i, a).and_then(|u| space.to_env(i, u)), legal.then_some(a), "{} {a}", agent.name);
            }
        }
        assert!(space.masks[0] != space.masks[1] && space.masks[1] != space.masks[2] && space.masks[0] != space.masks[2]);
        assert_eq!((space.from_env(2, 4), space.from_env(2, 99), space.to_env(2, 99)), (None, None, None));
    }

    #[test]
    fn masks_are_those_of_the_group_and_of_the_moment() {
        let space = UnifiedSpace::new(&three_groups()).unwrap();
        let mut lifted = vec![true; 11];
        space.lift(2, &[true, false, true, false, true], &mut lifted);
        let open: Vec<usize> = (0..11).filter(|u| lifted[*u]).collect();
        assert_eq!(open, [0, 4], "what is never available stays closed even where an environment opens it");
    }

    #[test]
    fn a_lifted_team_is_padded_and_its_kinds_are_told_apart() {
        let lift = Lift::new(&three_groups()).unwrap();
        let unified = lift.unified();
        assert!(unified.agents.iter().all(|a| a.obs.size() == 4 + 3 && a.action == ActionSpace::Discrete(11)));
        assert_eq!((unified.agents[0].noop, unified.state), (Some(1), lift.team().state));
        let mut seen = vec![9.0; unified.obs_len()];
        lift.observe(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, -1.0], &mut seen);
        assert_eq!(seen[..7], [1.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(seen[14..], [5.0, 6.0, 7.0, 8.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        let mut actions = [3.0, 0.0, 2.0, 1.0];
        lift.raise(&mut actions);
        assert_eq!(actions, [3.0, 0.0, 4.0, 9.0]);
        lift.lower(&mut actions);
        assert_eq!(actions, [3.0, 0.0, 2.0, 1.0]);
    }

    #[test]
    fn one_kind_shares_its_block_and_needs_no_one_hot() {
        let team = TeamSpec::new("test/twins", vec![unexplained("a", "twin", 2, 3), unexplained("b", "twin", 2, 3)]);
        let lift = Lift::new(&Arc::new(team)).unwrap();
        assert_eq!((lift.space().len(), lift.space().masks.len(), lift.unified().obs_len()), (3, 1, 4));
    }

    #[test]
    fn what_cannot_be_unified_is_refused_by_name() {
        let with = |odd: AgentSpec| Lift::new(&Arc::new(TeamSpec::new("t", vec![unexplained("plain", "k", 1, 2), odd])));
        let arm = AgentSpec::new("arm", "arm", ObsSpace::vector(1), ActionSpace::uniform_box(2, -1.0, 1.0));
        let eye = AgentSpec::new("eye", "eye", ObsSpace::image(4, 4, 1), ActionSpace::Discrete(2));
        let mut short = agent("short", "short", 1, &[Own(0)]);
        short.action = ActionSpace::Discrete(2);
        let far = unexplained("far", "far", 1, 1 << 40);
        for (odd, words) in [
            (arm, "\"arm\" has Box(2)"),
            (eye, "\"eye\" observes"),
            (short, "2 actions and 1 meanings"),
            (far, "too many to unify"),
            (agent("twice", "k", 1, &[Own(0), Own(0)]), "two actions of one meaning"),
            (agent("lost", "k", 1, &[Own(0), Ally(7)]), "ally 7"),
        ] {
            let text = with(odd).unwrap_err();
            assert!(text.contains(words), "{text}");
        }
    }
}

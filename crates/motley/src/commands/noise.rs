//! Return against noise on observations or actions: what `motley eval --noise` plays.
//!
//! Noise is uniform on [-d, d], added to every entry of what the chosen agents observe or do (in the environment's units, clipped to the
//! box) at every step, as in the resilience study of M. Bettini, A. Shankar, A. Prorok, *Heterogeneous Multi-Robot Reinforcement Learning*, AAMAS 2023.

use std::sync::Arc;

use motley_core::{ActionSpace, Stream, TeamSpec};
use motley_nn::policy::ActError;
use motley_nn::{ActScratch, Decision, Mode, ObsBatch, Policy};

use crate::error::Failure;

/// Levels where none are asked for: 0, 0.1 D, ..., D.
const LEVELS: usize = 11;
/// A wider half-width leaves what single precision holds.
const WIDEST: f64 = 1e30;
/// Names the draws of noise among those of acting.
const FORK: u64 = 0x006e_6f69_7365;

/// What is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// What agents observe.
    Obs,
    /// What agents do, where that is a box.
    Act,
}

/// What `--noise` asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Noise {
    /// What it is added to.
    pub(crate) target: Target,
    /// Half-widths, from 0.
    pub(crate) levels: Vec<f64>,
    /// Names of the agents; empty for all.
    pub(crate) agents: Vec<String>,
}

impl Noise {
    /// Reads `obs=0..D[/LEVELS][,agents=NAME+NAME]`, or `act=...` for actions.
    ///
    /// # Errors
    /// Another form, a D that is no positive number up to 1e30, fewer than two levels.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!(
                "--noise {text}: {why}; write obs=0..D[/LEVELS][,agents=NAME+NAME] (act=... for actions), for example obs=0..0.5/6,agents=agent_0"
            ))
        };
        let (mut target, mut levels, mut agents) = (Target::Obs, Vec::new(), None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some((what @ ("obs" | "act"), range)) => {
                    if !levels.is_empty() {
                        return Err(wrong("one of obs=0..D and act=0..D"));
                    }
                    target = if what == "obs" { Target::Obs } else { Target::Act };
                    let (range, count) = range.split_once('/').map_or((range, Some(LEVELS)), |(r, n)| (r, n.parse().ok()));
                    let most: Option<f64> = range.strip_prefix("0..").and_then(|d| d.parse().ok());
                    let most = most.filter(|d| *d > 0.0 && *d <= WIDEST);
                    let most = most.ok_or_else(|| wrong("needs 0..D with D above 0, 1e30 at most"))?;
                    let count = count.filter(|n| (2..=1000).contains(n)).ok_or_else(|| wrong("2 to 1000 levels"))?;
                    levels = (0..count).map(|k| most * k as f64 / (count - 1) as f64).collect();
                }
                Some(("agents", _)) if agents.is_some() => return Err(wrong("agents= once: join names by +, agents=A+B")),
                Some(("agents", "all")) => agents = Some(Vec::new()),
                Some(("agents", names)) => agents = Some(names.split('+').map(str::to_owned).collect()),
                _ => return Err(wrong(&format!("\"{part}\" is neither obs=..., act=... nor agents=..."))),
            }
        }
        if levels.is_empty() {
            Err(wrong("obs=0..D is missing"))
        } else {
            Ok(Self { target, levels, agents: agents.unwrap_or_default() })
        }
    }

    /// Which entries of a team's observations (`[obs_len]`) or actions (`[action_len]`) are disturbed.
    ///
    /// # Errors
    /// A name that no agent has; actions that are choices.
    pub(crate) fn mask(&self, team: &TeamSpec) -> Result<Vec<bool>, Failure> {
        let known = || team.agents.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(name) = self.agents.iter().find(|name| team.agents.iter().all(|a| a.name != **name)) {
            return Err(Failure::usage(format!("--noise: no agent \"{name}\" in this team of {}", known())));
        }
        let len = if self.target == Target::Obs { team.obs_len() } else { team.action_len() };
        let mut mask = vec![false; len];
        for (i, agent) in team.agents.iter().enumerate() {
            if !self.agents.is_empty() && !self.agents.contains(&agent.name) {
                continue;
            }
            if self.target == Target::Act && !agent.action.is_continuous() {
                let text = format!(
                    "--noise act=...: agent \"{}\" acts by {}, noise is for boxes; use obs=...",
                    agent.name,
                    agent.action.describe()
                );
                return Err(Failure::usage(text));
            }
            mask[if self.target == Target::Obs { team.obs_range(i) } else { team.action_range(i) }].fill(true);
        }
        Ok(mask)
    }
}

/// A policy that sees its environment, or acts on it, through noise.
pub(crate) struct Noisy<'a> {
    /// The policy.
    pub(crate) policy: &'a dyn Policy,
    /// What the noise is added to.
    pub(crate) target: Target,
    /// Half of the width of the noise.
    pub(crate) width: f64,
    /// What is disturbed, as [`Noise::mask`] has it.
    pub(crate) mask: &'a [bool],
}

impl Noisy<'_> {
    /// Adds noise to the rows of all environments.
    fn disturb(&self, rows: &mut [f32], rng: &[Stream]) {
        for (row, stream) in rows.chunks_mut(self.mask.len().max(1)).zip(rng) {
            let mut noise = stream.fork(FORK);
            for (x, _) in row.iter_mut().zip(self.mask).filter(|(_, hit)| **hit) {
                *x += noise.range(-self.width, self.width) as f32;
            }
        }
    }

    /// Puts actions back into their boxes.
    fn clip(&self, actions: &mut [f32]) {
        let team = self.policy.team();
        for row in actions.chunks_mut(team.action_len().max(1)) {
            for (i, agent) in team.agents.iter().enumerate() {
                if let ActionSpace::Box { low, high } = &agent.action {
                    let bounds = low.iter().zip(high);
                    row[team.action_range(i)].iter_mut().zip(bounds).for_each(|(x, (low, high))| *x = x.clamp(*low, *high));
                }
            }
        }
    }
}

impl Policy for Noisy<'_> {
    fn team(&self) -> &Arc<TeamSpec> {
        self.policy.team()
    }

    fn memory_len(&self) -> usize {
        self.policy.memory_len()
    }

    fn act(
        &self,
        batch: ObsBatch<'_>,
        memory: &mut [f32],
        mode: Mode,
        rng: &[Stream],
        out: &mut Decision,
        scratch: &mut ActScratch,
    ) -> Result<(), ActError> {
        if self.width == 0.0 {
            return self.policy.act(batch, memory, mode, rng, out, scratch);
        }
        if self.target == Target::Act {
            self.policy.act(batch, memory, mode, rng, out, scratch)?;
            self.disturb(&mut out.env, rng);
            self.clip(&mut out.env);
            return Ok(());
        }
        let mut obs = batch.obs.to_vec();
        self.disturb(&mut obs, rng);
        self.policy.act(ObsBatch { obs: &obs, ..batch }, memory, mode, rng, out, scratch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use motley_core::{ActionSpace, AgentSpec, ObsSpace, Purpose};

    use super::*;

    /// Keeps what it is shown.
    struct Watcher(Arc<TeamSpec>, Mutex<Vec<f32>>);

    impl Policy for Watcher {
        fn team(&self) -> &Arc<TeamSpec> {
            &self.0
        }
        fn memory_len(&self) -> usize {
            0
        }
        fn act(
            &self,
            batch: ObsBatch<'_>,
            _: &mut [f32],
            _: Mode,
            _: &[Stream],
            out: &mut Decision,
            _: &mut ActScratch,
        ) -> Result<(), ActError> {
            *self.1.lock().unwrap() = batch.obs.to_vec();
            out.env = vec![0.8; batch.envs * self.0.action_len()];
            Ok(())
        }
    }

    #[test]
    fn words_become_levels_and_agents() {
        let noise = Noise::parse("obs=0..0.5/6,agents=a+b").unwrap();
        assert_eq!((noise.target, noise.agents), (Target::Obs, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(Noise::parse("act=0..1").unwrap().target, Target::Act);
        assert!(noise.levels.iter().zip([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]).all(|(l, want)| (l - want).abs() < 1e-12));
        assert_eq!(Noise::parse("agents=all,obs=0..2").map(|n| (n.levels.len(), n.agents.len())).unwrap(), (11, 0));
        assert_eq!(Noise::parse("obs=0..1e30/2").unwrap().levels, [0.0, 1e30]);
        for text in ["obs=0..1e39", "act=0..1e308", "obs=0..inf", "obs=0..1e31"] {
            assert!(Noise::parse(text).unwrap_err().message.contains("1e30 at most"), "{text}");
        }
        for text in [
            "",
            "obs=1..2",
            "obs=0..-1",
            "obs=0..nan",
            "obs=0..1/1",
            "agents=a",
            "obs=0..1,agents=a,agents=b",
            "act=0..",
            "act=0..1,obs=0..1",
            "obs",
        ] {
            assert_eq!(Noise::parse(text).unwrap_err().code, 2, "{text}");
        }
    }

    #[test]
    fn only_the_chosen_agents_see_noise_of_the_width() {
        let agent = |name: &str, n| AgentSpec::new(name, "x", ObsSpace::vector(n), ActionSpace::Discrete(2));
        let team = Arc::new(TeamSpec::new("test/x", vec![agent("a", 300), agent("b", 200)]));
        let mask = Noise { target: Target::Obs, levels: vec![0.0], agents: vec!["b".into()] }.mask(&team).unwrap();
        assert!(
            Noise { target: Target::Obs, levels: vec![], agents: vec!["c".into()] }
                .mask(&team)
                .unwrap_err()
                .message
                .contains("a, b")
        );
        let watcher = Watcher(Arc::clone(&team), Mutex::default());
        let seen = |width: f64, seed: u64| {
            let noisy = Noisy { policy: &watcher, target: Target::Obs, width, mask: &mask };
            let (obs, rng) = (vec![1.0; 1000], [0, 1].map(|e| Stream::new(seed, Purpose::EvalAct, e, 0)));
            let batch = ObsBatch { envs: 2, obs: &obs, avail: &[] };
            noisy.act(batch, &mut [], Mode::Greedy, &rng, &mut Decision::default(), &mut ActScratch::default()).unwrap();
            watcher.1.lock().unwrap().clone()
        };
        let (one, again, other) = (seen(0.5, 0), seen(0.5, 0), seen(0.5, 1));
        assert!(one == again && one != other && seen(0.0, 0) == vec![1.0; 1000]);
        assert!(one[..300].iter().chain(&one[500..800]).all(|x| *x == 1.0), "the first agent sees clearly");
        let noise: Vec<f32> = one[300..500].iter().map(|x| x - 1.0).collect();
        assert!(noise.iter().all(|x| x.abs() <= 0.5) && noise.iter().any(|x| *x > 0.4) && noise.iter().any(|x| *x < -0.4));
        assert!(noise.iter().sum::<f32>().abs() / 200.0 < 0.08);
        assert_ne!(one[300..500], one[800..1000], "copies have noise of their own");
    }

    #[test]
    fn noisy_actions_stay_in_their_boxes() {
        let agent = |name: &str, action| AgentSpec::new(name, "x", ObsSpace::vector(1), action);
        let moving = |name: &str| agent(name, ActionSpace::uniform_box(100, -1.0, 1.0));
        let team = Arc::new(TeamSpec::new("test/x", vec![moving("a"), moving("b")]));
        let noise = Noise { target: Target::Act, levels: vec![0.0], agents: vec!["b".into()] };
        let mask = noise.mask(&team).unwrap();
        let (watcher, mut out) = (Watcher(Arc::clone(&team), Mutex::default()), Decision::default());
        let noisy = Noisy { policy: &watcher, target: Target::Act, width: 0.5, mask: &mask };
        let batch = ObsBatch { envs: 1, obs: &[0.0; 2], avail: &[] };
        let rng = [Stream::new(0, Purpose::EvalAct, 0, 0)];
        noisy.act(batch, &mut [], Mode::Greedy, &rng, &mut out, &mut ActScratch::default()).unwrap();
        assert!(out.env[..100].iter().all(|x| *x == 0.8) && *watcher.1.lock().unwrap() == [0.0; 2]);
        let far = |x: &&f32| **x == 1.0;
        assert!(out.env[100..].iter().all(|x| (0.3..=1.0).contains(x)) && out.env[100..].iter().filter(far).count() > 10);
        let choosing = TeamSpec::new("test/x", vec![agent("b", ActionSpace::Discrete(2))]);
        assert!(noise.mask(&choosing).unwrap_err().message.contains("Discrete(2)"));
    }
}

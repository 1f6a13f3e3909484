//! Matrix games: one state, a joint action, a common reward.
//!
//! Every agent observes the constant 1, so that a network has an input, and nothing else. `task.steps` plays the same
//! game again and again; the end of the last one is the end of the task (terminated, not truncated), and neither the
//! round nor the past is observed.

use std::sync::Arc;

use motley_core::{
    ActionMeaning, ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, Key, Kind, ObsSpace, Phase, RewardKind,
    Scene, Shape, Status, Stream, Task, TaskOptions, TeamSpec,
};

type Table = [[f64; 3]; 3];

/// Claus and Boutilier (1998): the best pair is surrounded by punishment.
const CLIMBING: Table = [[11.0, -30.0, 0.0], [-30.0, 7.0, 6.0], [0.0, 0.0, 5.0]];
/// Son et al. (2019), QTRAN's game: no monotonic mixer represents it.
const NON_MONOTONIC: Table = [[8.0, -12.0, -12.0], [-12.0, 0.0, 0.0], [-12.0, 0.0, 0.0]];
/// Kuba et al. (2022), Proposition 5: two agents, two actions.
const HETEROGENEITY: Table = [[0.0, 2.0, 0.0], [2.0, -1.0, 0.0], [0.0; 3]];

/// How a joint action is paid.
#[derive(Debug, Clone, PartialEq)]
enum Payoff {
    /// `table[a1][a2]`.
    Table(Table),
    /// 1 where one half of the agents plays 0 and the other half 1, else 0 (Kuba et al. 2022, Proposition 4).
    Halves,
    /// `a1 a2` (Zhong et al. 2024, figure 1).
    Product,
}

impl Payoff {
    fn of(&self, actions: &[f32]) -> f64 {
        match self {
            Self::Table(table) => table[actions[0] as usize][actions[1] as usize],
            Self::Halves => {
                let (left, right) = actions.split_at(actions.len() / 2);
                let same = |half: &[f32]| half.iter().all(|a| *a == half[0]);
                f64::from(u8::from(same(left) && same(right) && left[0] != right[0]))
            }
            Self::Product => f64::from(actions[0]) * f64::from(actions[1]),
        }
    }
}

/// One copy of a matrix game.
#[derive(Debug)]
struct MatrixGame {
    spec: Arc<TeamSpec>,
    payoff: Payoff,
    steps: u32,
    played: u32,
    phase: Phase,
    /// The last joint action and what it was paid, for a person.
    last: Option<(Vec<f32>, f64)>,
}

impl MatrixGame {
    fn new(name: &str, payoff: Payoff, agents: usize, action: &ActionSpace, steps: u32) -> Self {
        let agent = |i: usize| {
            let mut agent = AgentSpec::new(format!("agent_{i}"), "agent", ObsSpace::vector(1), action.clone());
            (agent.obs.low, agent.obs.high) = (1.0, 1.0);
            agent.meaning = (0..action.mask_len()).map(|a| ActionMeaning::Own(a as u16)).collect();
            agent
        };
        let mut spec = TeamSpec::new(format!("matrix/{name}"), (0..agents).map(agent).collect());
        spec.reward = RewardKind::Common;
        spec.step_limit = Some(steps as usize);
        Self { spec: Arc::new(spec), payoff, steps, played: 0, phase: Phase::Fresh, last: None }
    }

    fn check_actions(&self, actions: Actions<'_>) -> Result<(), EnvError> {
        actions.checked()?;
        for (agent, &given) in self.spec.agents.iter().zip(actions.flat()) {
            let (fits, expected) = match agent.action {
                ActionSpace::Discrete(n) => {
                    ((given as u32) as f32 == given && (given as usize) < n, format!("a whole number in 0..{n}"))
                }
                _ => ((-1.0..=1.0).contains(&given), "a number in -1..=1".to_owned()),
            };
            if !fits {
                return Err(EnvError::Action { agent: agent.name.clone(), expected, found: given.to_string() });
            }
        }
        Ok(())
    }
}

impl Env for MatrixGame {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    fn reset(&mut self, _stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        (self.played, self.phase, self.last) = (0, Phase::Running, None);
        out.obs.fill(1.0);
        out.state.fill(1.0);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        self.phase.running()?;
        self.check_actions(actions)?;
        let reward = self.payoff.of(actions.flat());
        out.obs.fill(1.0);
        out.state.fill(1.0);
        out.rewards.fill(reward);
        let last = self.last.get_or_insert_with(Default::default);
        last.0.clear();
        last.0.extend(actions.flat());
        last.1 = reward;
        self.played += 1;
        if self.played < self.steps {
            return Ok(Status::Running);
        }
        self.phase = Phase::Over;
        Ok(Status::Terminated)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![self.phase as u8];
        bytes.extend(self.played.to_le_bytes());
        Some(bytes)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        self.phase = Phase::Fresh;
        self.last = None;
        let (phase, played) = match snapshot {
            [phase, a, b, c, d] => (*phase, u32::from_le_bytes([*a, *b, *c, *d])),
            _ => (u8::MAX, 0),
        };
        self.phase = match Phase::from_byte(phase) {
            Some(Phase::Fresh) => Phase::Fresh,
            Some(Phase::Running) if played < self.steps => Phase::Running,
            Some(Phase::Over) if played == self.steps => Phase::Over,
            _ => return Err(EnvError::Failed(format!("these bytes are no snapshot of {}", self.spec.task))),
        };
        self.played = played;
        Ok(())
    }

    fn scene(&self) -> Option<Scene> {
        let ink = motley_core::Color(0.1, 0.1, 0.1, 1.0);
        let n = self.spec.n() as f32;
        let text = |i: usize, text: String, y: f32| Shape::Text { at: [i as f32, y], height: 0.2, text, color: ink };
        let mut shapes = Vec::new();
        for (i, agent) in self.spec.agents.iter().enumerate() {
            shapes.push(text(i, agent.name.clone(), 0.3));
            let action = self.last.as_ref().and_then(|l| l.0.get(i));
            shapes.push(text(i, action.map_or("-".to_owned(), ToString::to_string), -0.1));
        }
        let paid = self.last.as_ref().map_or(String::new(), |l| format!("   reward {}", l.1));
        Some(Scene {
            view: [-0.7, -0.7, n - 0.3, 0.7],
            shapes,
            caption: format!("round {} of {}{paid}", self.played, self.steps),
        })
    }
}

type Maker = fn(&TaskOptions) -> Result<(Payoff, usize, ActionSpace), ConfigError>;

/// One game: its name, what it shows, its own settings, its payoff with the number of agents and their actions.
struct MatrixTask {
    name: &'static str,
    summary: &'static str,
    keys: fn() -> Vec<Key>,
    make: Maker,
}

impl Task for MatrixTask {
    fn name(&self) -> String {
        format!("matrix/{}", self.name)
    }

    fn summary(&self) -> String {
        self.summary.to_owned()
    }

    fn keys(&self) -> Vec<Key> {
        let steps = Key::new("task.steps", 1, Kind::Int(1, i64::from(u32::MAX)), "how often the game is played in an episode");
        std::iter::once(steps).chain((self.keys)()).collect()
    }

    fn make(&self, options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        let steps: usize = options.get("steps")?;
        let (payoff, agents, action) = (self.make)(options)?;
        Ok(Box::new(MatrixGame::new(self.name, payoff, agents, &action, u32::try_from(steps).unwrap_or(u32::MAX))))
    }
}

fn three_by_three(table: Table) -> (Payoff, usize, ActionSpace) {
    (Payoff::Table(table), 2, ActionSpace::Discrete(3))
}

fn penalty(options: &TaskOptions) -> Result<(Payoff, usize, ActionSpace), ConfigError> {
    let k: f64 = options.get("k")?;
    Ok(three_by_three([[k, 0.0, 10.0], [0.0, 2.0, 0.0], [10.0, 0.0, k]]))
}

fn homogeneity(options: &TaskOptions) -> Result<(Payoff, usize, ActionSpace), ConfigError> {
    let agents: usize = options.get("agents")?;
    if !agents.is_multiple_of(2) {
        return Err(ConfigError::Value {
            key: "task.agents".into(),
            expected: "an even number: the game needs two equal halves".into(),
            found: agents.to_string(),
        });
    }
    Ok((Payoff::Halves, agents, ActionSpace::Discrete(2)))
}

/// The suite's tasks.
pub fn tasks() -> Vec<Arc<dyn Task>> {
    let none: fn() -> Vec<Key> = Vec::new;
    let k = || vec![Key::new("task.k", -100.0, Kind::Float(-1e9, 0.0), "what it costs to miss each other")];
    let agents = || vec![Key::new("task.agents", 4, Kind::Int(2, 64), "agents, an even number")];
    let bilinear: Maker = |_| Ok((Payoff::Product, 2, ActionSpace::uniform_box(1, -1.0, 1.0)));
    let game = |name, summary, keys, make| -> Arc<dyn Task> { Arc::new(MatrixTask { name, summary, keys, make }) };
    vec![
        game("climbing", "the best pair (11) is surrounded by punishment (-30)", none, |_| Ok(three_by_three(CLIMBING))),
        game("penalty", "two best pairs (10) that punish a mismatch by task.k", k, penalty),
        game("homogeneity_trap", "half of the agents must act unlike the other half", agents, homogeneity),
        game("heterogeneity_trap", "best responses taken at once are the worst pair", none, |_| {
            Ok((Payoff::Table(HETEROGENEITY), 2, ActionSpace::Discrete(2)))
        }),
        game("non_monotonic", "a payoff that no monotonic mixer represents", none, |_| Ok(three_by_three(NON_MONOTONIC))),
        game("bilinear", "two continuous agents, reward a1 a2", none, bilinear),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use motley_core::{FrameBuf, Purpose};

    /// The return of one episode in which the same joint action is always played.
    fn play(name: &str, settings: &[&str], actions: &[f32]) -> f64 {
        let mut env = Registry::builtin().make(name, settings).unwrap();
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(Stream::new(0, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
        let mut total = 0.0;
        loop {
            let status = env.step(Actions::new(&spec, actions), &mut buf.frame()).unwrap();
            total += spec.team_reward(&buf.rewards);
            if status.done() {
                assert_eq!(status, Status::Terminated);
                return total;
            }
        }
    }

    #[test]
    fn tables_pay_what_is_published() {
        let table = |name: &str, settings: &[&str]| -> Vec<f64> {
            (0..9).map(|c| play(name, settings, &[(c / 3) as f32, (c % 3) as f32])).collect()
        };
        assert_eq!(table("matrix/climbing", &[]), [11.0, -30.0, 0.0, -30.0, 7.0, 6.0, 0.0, 0.0, 5.0]);
        assert_eq!(table("matrix/penalty", &["k=-25"]), [-25.0, 0.0, 10.0, 0.0, 2.0, 0.0, 10.0, 0.0, -25.0]);
        assert_eq!(table("matrix/non_monotonic", &[]), [8.0, -12.0, -12.0, -12.0, 0.0, 0.0, -12.0, 0.0, 0.0]);
        let pairs = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
        assert_eq!(pairs.map(|p| play("matrix/heterogeneity_trap", &[], &p)), [0.0, 2.0, 2.0, -1.0]);
        assert_eq!(play("matrix/bilinear", &[], &[0.5, -0.25]), -0.125);
    }

    /// 25 rounds of (1, 1) in climbing and of (0, 2) in penalty: the published 175 and 250.
    #[test]
    fn repeated_games_add_up() {
        assert_eq!(play("matrix/climbing", &["steps=25"], &[1.0, 1.0]), 175.0);
        assert_eq!(play("matrix/penalty", &["steps=25"], &[0.0, 2.0]), 250.0);
    }

    /// Proposition 4: with P(1) = p for everybody, J = 2 (p(1-p))^(n/2), at most 2^(1-n); by enumeration.
    #[test]
    fn a_shared_policy_cannot_leave_the_trap_of_homogeneity() {
        for n in [2_usize, 4, 6] {
            let setting = format!("agents={n}");
            let wins: Vec<u32> = (0..1_u32 << n)
                .filter(|bits| {
                    let actions: Vec<f32> = (0..n).map(|i| (bits >> i & 1) as f32).collect();
                    play("matrix/homogeneity_trap", &[&setting], &actions) == 1.0
                })
                .collect();
            assert_eq!(wins.len(), 2);
            let best = (0..=100)
                .map(|p| f64::from(p) / 100.0)
                .map(|p| {
                    wins.iter().map(|w| p.powi(w.count_ones() as i32) * (1.0 - p).powi((n as u32 - w.count_ones()) as i32)).sum()
                })
                .fold(0.0, f64::max);
            assert!((best - 2.0_f64.powi(1 - n as i32)).abs() < 1e-12);
        }
        let odd = Registry::builtin().make("matrix/homogeneity_trap", &["agents=3"]);
        assert!(odd.err().unwrap().to_string().contains("even"));
    }
}

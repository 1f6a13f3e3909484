//! A task of agents that must hear each other.

use std::sync::Arc;

use motley_core::{ActionSpace, Actions, AgentSpec, Env, EnvError, Frame, ObsSpace, RewardKind, Status, Stream, TeamSpec};
use motley_train::MakeEnv;

/// Three agents on a line, `[position 2, cue 2]`; each is paid 1 for naming the cue of the agent before it (around).
pub struct Whisper {
    team: Arc<TeamSpec>,
    cues: Vec<usize>,
}

impl Whisper {
    pub fn make() -> MakeEnv {
        let agent = |i: usize| {
            let mut agent = AgentSpec::new(format!("a{i}"), "robot", ObsSpace::vector(4), ActionSpace::Discrete(2));
            agent.position = Some(0..2);
            agent
        };
        let mut team = TeamSpec::new("test/whisper", (0..3).map(agent).collect());
        team.reward = RewardKind::Own;
        let team = Arc::new(team);
        Arc::new(move || Ok(Box::new(Self { team: Arc::clone(&team), cues: vec![0; 3] }) as Box<dyn Env>))
    }

    fn show(&self, out: &mut Frame<'_>) {
        for (i, cue) in self.cues.iter().enumerate() {
            let row = &mut out.obs[4 * i..4 * i + 4];
            row.copy_from_slice(&[i as f32, 0.0, 0.0, 0.0]);
            row[2 + cue] = 1.0;
        }
        out.state.copy_from_slice(out.obs);
    }
}

impl Env for Whisper {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.team
    }

    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        self.cues.iter_mut().for_each(|c| *c = stream.below(2) as usize);
        self.show(out);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        for i in 0..3 {
            out.rewards[i] = f64::from(u8::from(actions.choice(i) == self.cues[(i + 2) % 3]));
        }
        self.show(out);
        Ok(Status::Terminated)
    }
}

//! Two unlike agents: a tug pulls on a line, a winch chooses a gear, and together they bring a load to zero.

use motley_core::{
    ActionSpace, Actions, AgentSpec, ConfigError, Env, EnvError, Frame, Key, ObsSpace, Status, Stream, Task, TaskOptions,
    TeamSpec,
};
use std::sync::Arc;

struct NameClass(Arc<TeamSpec>, f32, usize); // the team, the load's place, steps left
impl Env for NameClass {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.0
    }
    fn reset(&mut self, mut stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        (self.1, self.2) = (stream.range(-1.0, 1.0) as f32, 50);
        out.obs.copy_from_slice(&[self.1, self.1, 1.0]);
        out.state.copy_from_slice(out.obs);
        Ok(())
    }
    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        let (force, gear) = (actions.of(0)[0], actions.of(1)[0]);
        if self.2 == 0 {
            return Err(EnvError::NotRunning("before a reset or after the end"));
        }
        if !(-1.0..=1.0).contains(&force) || ![0.0, 1.0, 2.0].contains(&gear) {
            let (agent, expected) = ("tug or winch".into(), "a force in -1..=1 and a gear of 0, 1, 2".into());
            return Err(EnvError::Action { agent, expected, found: format!("{force} and {gear}") });
        }
        (self.1, self.2) = (self.1 + 0.05 * force * (1.0 + gear), self.2 - 1);
        out.obs.copy_from_slice(&[self.1, self.1, self.2 as f32 / 50.0]);
        out.state.copy_from_slice(out.obs);
        out.rewards.fill(f64::from(-self.1.abs()));
        Ok(if self.2 == 0 { Status::Truncated } else { Status::Running })
    }
}

struct ThisTask;
impl Task for ThisTask {
    fn name(&self) -> String {
        "own/NAME_SNAKE".into()
    }
    fn summary(&self) -> String {
        "a tug and a winch bring a load to rest".into()
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
    fn make(&self, _options: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
        let tug = AgentSpec::new("tug", "tug", ObsSpace::vector(1), ActionSpace::uniform_box(1, -1.0, 1.0));
        let winch = AgentSpec::new("winch", "winch", ObsSpace::vector(2), ActionSpace::Discrete(3));
        let mut team = TeamSpec::new(self.name(), vec![tug, winch]);
        team.step_limit = Some(50);
        Ok(Box::new(NameClass(Arc::new(team), 0.0, 0)))
    }
}

fn main() -> std::process::ExitCode {
    motley::cli(motley::Registry::builtin().with_task(ThisTask))
}

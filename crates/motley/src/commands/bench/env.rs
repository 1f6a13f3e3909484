//! Environments alone: random legal actions, observations and resets included.

use std::time::{Duration, Instant};

use motley_core::{ActionSpace, Actions, ConfigError, Env, FrameBuf, Purpose, Stream, Task, TeamSpec};
use motley_envs::registry::options;
use motley_train::Registry;
use serde_json::json;

use super::{cores, short};
use crate::commands::list::table;
use crate::error::Failure;
use crate::output::Output;

/// Joint actions drawn ahead of time where no masks have to be kept, so that environments are measured and not the generator.
const DRAWN: usize = 1024;
/// Steps between two looks at the clock.
const LOOK: usize = 256;

pub(super) fn run(names: &[String], seconds: f64, registry: &Registry, out: &Output) -> Result<(), Failure> {
    let tasks: Vec<_> = if names.is_empty() {
        registry.tasks.iter().map(Task::name).map(|name| registry.tasks.get(&name)).collect::<Result<_, _>>()?
    } else {
        names.iter().map(|name| registry.tasks.get(name)).collect::<Result<_, _>>()?
    };
    let all = cores();
    let titles = ["TASK", "AGENTS", "ENV STEPS/S, 1 CORE", "AGENT STEPS/S", "ENV STEPS/S, ALL", "AGENT STEPS/S"];
    let mut rows = vec![titles.map(str::to_owned)];
    for task in tasks {
        let make = || task.make(&options(&*task, &[])?);
        let n = match make() {
            Ok(env) => env.spec().n(),
            Err(ConfigError::Missing { what, .. }) if names.is_empty() => {
                out.note(format!("{} left out: {what} is missing", task.name()));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let one = rate(&make, 1, seconds)?;
        let many = if all > 1 { rate(&make, all, seconds)? } else { one };
        let agents = n as f64;
        rows.push([task.name(), n.to_string(), short(one), short(agents * one), short(many), short(agents * many)]);
        out.event(
            "env_speed",
            json!({
                "task": task.name(),
                "agents": n,
                "env_steps_per_second_one_core": one,
                "agent_steps_per_second_one_core": agents * one,
                "threads": all,
                "env_steps_per_second": many,
                "agent_steps_per_second": agents * many,
            }),
        );
    }
    table(out, &rows);
    Ok(())
}

/// Env steps a second of `threads` threads with an environment each.
fn rate(make: &(impl Fn() -> Result<Box<dyn Env>, ConfigError> + Sync), threads: usize, seconds: f64) -> Result<f64, Failure> {
    let mut envs = (0..threads).map(|_| make()).collect::<Result<Vec<_>, _>>()?;
    std::thread::scope(|scope| {
        let playing: Vec<_> =
            envs.iter_mut().enumerate().map(|(k, env)| scope.spawn(move || play(&mut **env, k as u64, seconds))).collect();
        let rates = playing.into_iter().map(|t| t.join().map_err(|_| Failure::run("the environment panicked")).flatten());
        rates.sum::<Result<f64, Failure>>()
    })
}

/// Steps one environment for `seconds` after a tenth of that to warm up.
fn play(env: &mut dyn Env, index: u64, seconds: f64) -> Result<f64, Failure> {
    let team = env.spec().clone();
    let width = team.action_len();
    let mut draws = Stream::new(0, Purpose::Act, index, 0);
    let mut buf = FrameBuf::new(&team);
    let mut drawn = vec![0.0; DRAWN * width];
    drawn.chunks_exact_mut(width).for_each(|joint| draw(&team, &buf.avail, &mut draws, joint));
    let episodes = Stream::new(0, Purpose::Episode, index, 0);
    let (mut episode, mut done, mut at) = (0, true, 0);
    let mut steps = |count: usize| -> Result<(), Failure> {
        for _ in 0..count {
            if done {
                env.reset(episodes.fork(episode), &mut buf.frame()).map_err(Failure::run)?;
                episode += 1;
            }
            let joint = &mut drawn[at * width..(at + 1) * width];
            if team.masks {
                draw(&team, &buf.avail, &mut draws, joint);
            }
            at = (at + 1) % DRAWN;
            done = env.step(Actions::new(&team, joint), &mut buf.frame()).map_err(Failure::run)?.done();
        }
        Ok(())
    };
    let warm = Instant::now();
    while warm.elapsed() < Duration::from_secs_f64(0.1 * seconds) {
        steps(LOOK)?;
    }
    let (start, mut count) = (Instant::now(), 0);
    loop {
        steps(LOOK)?;
        count += LOOK;
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return Ok(count as f64 / elapsed);
        }
    }
}

/// A random joint action among the available ones.
fn draw(team: &TeamSpec, avail: &[bool], rng: &mut Stream, joint: &mut [f32]) {
    for (i, agent) in team.agents.iter().enumerate() {
        let into = &mut joint[team.action_range(i)];
        if let ActionSpace::Box { low, high } = &agent.action {
            for (x, (low, high)) in into.iter_mut().zip(low.iter().zip(high)) {
                *x = rng.range(f64::from(*low), f64::from(*high)) as f32;
            }
            continue;
        }
        let mut mask = &avail[team.mask_range(i)];
        for (x, &n) in into.iter_mut().zip(agent.action.choices()) {
            let (choice, rest) = mask.split_at(n);
            let open = choice.iter().filter(|m| **m).count();
            let k = rng.below(open.max(1) as u32) as usize;
            *x = choice.iter().enumerate().filter(|(_, m)| **m).nth(k).map_or(0, |(j, _)| j) as f32;
            mask = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motley_core::{AgentSpec, ObsSpace};

    #[test]
    fn only_available_actions_are_drawn_and_all_of_them() {
        let agent = |name: &str, action| AgentSpec::new(name, "x", ObsSpace::vector(1), action);
        let team =
            TeamSpec::new("a/b", vec![agent("m", ActionSpace::MultiDiscrete(vec![3, 2])), agent("d", ActionSpace::Discrete(2))]);
        let avail = [true, false, true, false, true, true, true];
        let (mut rng, mut joint, mut seen) = (Stream::new(1, Purpose::Check, 0, 0), [0.0; 3], std::collections::BTreeSet::new());
        for _ in 0..200 {
            draw(&team, &avail, &mut rng, &mut joint);
            seen.insert(joint.map(|x| x as usize));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [[0, 1, 0], [0, 1, 1], [2, 1, 0], [2, 1, 1]]);
    }
}

//! The door between environment and memory: what an environment wrote is checked before anything learns from it.

use std::any::Any;
use std::backtrace::Backtrace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};

use crate::{Actions, Env, EnvError, Frame, Status, TeamSpec};

/// One step through the door: the frame is prepared, a panic of the environment is an error, what it wrote is checked, `length` counts
/// the step, and the team's step limit cuts. `was_alive` is who was alive before.
///
/// # Errors
/// What the environment says, [`EnvError::Panicked`] (then it must be made anew), and those of [`check_frame`].
pub fn step(
    env: &mut dyn Env,
    team: &TeamSpec,
    actions: &[f32],
    frame: &mut Frame<'_>,
    was_alive: &[bool],
    length: &mut usize,
) -> Result<Status, EnvError> {
    frame.prepare();
    let outcome = catch_unwind(AssertUnwindSafe(|| env.step(Actions::new(team, actions), frame)));
    let status = outcome.map_err(|panic| EnvError::Panicked(panic_text(panic.as_ref())))??;
    check_frame(team, frame, was_alive)?;
    *length += 1;
    let over = team.step_limit.is_some_and(|limit| *length >= limit);
    Ok(if status == Status::Running && over { Status::Truncated } else { status })
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// From now on the words, place and backtrace of the latest panic of this process are kept for [`last_panic`], beside what is told of
/// it anyway. For programs: a library changes nobody's hooks.
pub fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = format!("{panic}\n{}", Backtrace::force_capture());
            *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
            told(panic);
        }));
    });
}

/// The latest panic, where [`keep_panics`] was called before it.
pub fn last_panic() -> Option<String> {
    LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Checks one frame: finite observations, state and rewards, a dead agent that stays dead, a live agent with something to do.
///
/// `was_alive` is who was alive before the step (all, after a reset).
///
/// # Errors
/// [`EnvError::Contract`] that names the agent, the field and the entry.
pub fn check_frame(team: &TeamSpec, frame: &Frame<'_>, was_alive: &[bool]) -> Result<(), EnvError> {
    if !all_finite(frame.obs) {
        return Err(name_bad_obs(team, frame));
    }
    if !all_finite(frame.state) {
        let k = frame.state.iter().position(|x| !x.is_finite()).unwrap_or(0);
        return Err(broken(format!("state[{k}]"), "a finite number", frame.state[k]));
    }
    if let Some(i) = frame.rewards.iter().position(|r| !r.is_finite()) {
        return Err(broken(format!("reward of agent \"{}\"", team.agents[i].name), "a finite number", frame.rewards[i]));
    }
    if team.deaths
        && let Some(i) = (0..team.n()).find(|&i| frame.alive[i] && !was_alive[i])
    {
        return Err(broken(format!("agent \"{}\"", team.agents[i].name), "to stay dead until the reset", "it alive again"));
    }
    if team.masks { check_masks(team, frame) } else { Ok(()) }
}

/// 0 x is 0 for a finite x and NaN for any other, so the sum is 0 exactly where all are finite.
fn all_finite(xs: &[f32]) -> bool {
    let mut acc = [0.0f32; 16];
    let (blocks, rest) = xs.as_chunks::<16>();
    for block in blocks {
        for (a, x) in acc.iter_mut().zip(block) {
            *a += x * 0.0;
        }
    }
    acc.iter().sum::<f32>() + rest.iter().map(|x| x * 0.0).sum::<f32>() == 0.0
}

fn check_masks(team: &TeamSpec, frame: &Frame<'_>) -> Result<(), EnvError> {
    for (i, agent) in team.agents.iter().enumerate() {
        let mut mask = &frame.avail[team.mask_range(i)];
        for &n in agent.action.choices() {
            let (choice, rest) = mask.split_at(n);
            if !choice.contains(&true) {
                let who = if frame.alive[i] { "agent" } else { "dead agent" };
                return Err(broken(
                    format!("availability mask of {who} \"{}\"", agent.name),
                    "at least one available action (a dead agent keeps its no-op)",
                    "none",
                ));
            }
            mask = rest;
        }
    }
    Ok(())
}

/// The first observation entry outside its agent's declared bounds, if any: (agent, entry, value).
pub fn out_of_bounds(team: &TeamSpec, obs: &[f32]) -> Option<(usize, usize, f32)> {
    team.agents.iter().enumerate().find_map(|(i, agent)| {
        let row = &obs[team.obs_range(i)];
        let k = row.iter().position(|&x| x < agent.obs.low || x > agent.obs.high)?;
        Some((i, k, row[k]))
    })
}

fn name_bad_obs(team: &TeamSpec, frame: &Frame<'_>) -> EnvError {
    for (i, agent) in team.agents.iter().enumerate() {
        let row = &frame.obs[team.obs_range(i)];
        if let Some(k) = row.iter().position(|x| !x.is_finite()) {
            return broken(format!("observation of agent \"{}\", entry {k}", agent.name), "a finite number", row[k]);
        }
    }
    broken("observation".into(), "finite numbers", "none")
}

fn broken(where_: String, expected: &str, found: impl std::fmt::Display) -> EnvError {
    EnvError::Contract { where_, expected: expected.into(), found: found.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ActionSpace, AgentSpec, FrameBuf, ObsSpace};

    fn team() -> TeamSpec {
        let agent = |n: &str| AgentSpec::new(n, "x", ObsSpace::vector(20), ActionSpace::Discrete(3));
        let mut team = TeamSpec::new("test/guard", vec![agent("left"), agent("right")]);
        (team.masks, team.deaths) = (true, true);
        team
    }

    #[test]
    fn every_bad_entry_is_named() {
        let team = team();
        let alive = [true, true];
        let mut buf = FrameBuf::new(&team);
        assert_eq!(check_frame(&team, &buf.frame(), &alive), Ok(()));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for k in 0..40 {
                buf.obs[k] = bad;
                let text = check_frame(&team, &buf.frame(), &alive).unwrap_err().to_string();
                assert!(
                    text.contains(if k < 20 { "left" } else { "right" }) && text.contains(&format!("entry {}", k % 20)),
                    "{text}"
                );
                buf.obs[k] = 0.0;
            }
        }
        buf.obs.fill(f32::MAX);
        assert_eq!(check_frame(&team, &buf.frame(), &alive), Ok(()), "huge is not infinite");
        let frame = buf.frame();
        frame.rewards[1] = f64::NAN;
        assert!(check_frame(&team, &frame, &alive).unwrap_err().to_string().contains("right"));
    }

    #[test]
    fn the_dead_stay_dead_and_masks_leave_something() {
        let team = team();
        let mut buf = FrameBuf::new(&team);
        assert!(check_frame(&team, &buf.frame(), &[false, true]).unwrap_err().to_string().contains("stay dead"));
        let frame = buf.frame();
        frame.avail[3..6].fill(false);
        assert!(check_frame(&team, &frame, &[true, true]).unwrap_err().to_string().contains("\"right\""));
    }

    #[test]
    fn bounds_are_looked_up_per_agent() {
        let mut team = team();
        team.agents[1].obs.high = 1.0;
        let mut obs = vec![5.0; 40];
        obs[20..].fill(0.5);
        assert_eq!(out_of_bounds(&team, &obs), None);
        obs[27] = 2.0;
        assert_eq!(out_of_bounds(&team, &obs), Some((1, 7, 2.0)));
    }
}

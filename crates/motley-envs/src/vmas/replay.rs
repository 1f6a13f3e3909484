//! Recorded traces of vmas: each step from the recorded state, and the whole episode without help.

use motley_core::{Actions, ConfigError, Env, Frame, FrameBuf, TaskOptions};

use super::env::Robots;
use super::scenario::Scenario;
use super::world::World;
use crate::npz::{Array, Npz};
use crate::trace::{TraceLine, TraceReport};

/// Numbers of a body in a trace: x, y, vx, vy, rot, ang_vel.
const COLUMNS: usize = 6;
/// Allowed difference of positions, velocities, angles and angular velocities after a step from the recorded state.
const MOVED: f64 = 2e-7;
/// Of observations: rays that graze a disc magnify the last place.
const SEEN: f64 = 1e-6;
/// Of rewards, against 1 or their size: shaping is a difference of numbers of up to some hundreds.
const PAID: f64 = 1e-4;

/// What comparing with a recorded episode needs besides [`Env`]: a step in its parts.
pub trait Replay: Env {
    /// The bodies.
    fn world(&mut self) -> &mut World;

    /// Starts the scenario's memory from the bodies' places.
    fn remember(&mut self);

    /// Sets the engines by the actions.
    fn set_engines(&mut self, actions: Actions<'_>);

    /// What follows physics before rewards.
    fn after_physics(&mut self);

    /// All rewards, then all observations; `between` is called between them.
    fn rate(&mut self, out: &mut Frame<'_>, between: &mut dyn FnMut(&mut World));

    /// Whether the task has ended.
    fn over(&self) -> bool;
}

impl<S: Scenario> Replay for Robots<S> {
    fn world(&mut self) -> &mut World {
        &mut self.world
    }

    fn remember(&mut self) {
        self.scenario.remember(&mut self.world);
    }

    fn set_engines(&mut self, actions: Actions<'_>) {
        self.control(actions);
    }

    fn after_physics(&mut self) {
        self.scenario.after_physics(&mut self.world);
    }

    fn rate(&mut self, out: &mut Frame<'_>, between: &mut dyn FnMut(&mut World)) {
        self.judge(out, between);
    }

    fn over(&self) -> bool {
        self.scenario.ended(&self.world).is_some()
    }
}

/// Sets bodies to a recorded row; with `moving` only those that can move or turn.
fn inject(world: &mut World, row: &[f64], moving: bool) {
    for (body, x) in world.bodies.iter_mut().zip(row.as_chunks::<COLUMNS>().0) {
        if moving && !(body.movable || body.rotatable) {
            continue;
        }
        let x = x.map(|x| x as f32);
        body.pos = [x[0], x[1]];
        body.vel = [x[2], x[3]];
        if body.rot.to_bits() != x[4].to_bits() {
            body.turn(x[4]);
        }
        body.spin = x[5];
    }
}

/// The arrays of a trace, their sizes held against the task.
struct Trace<'a> {
    steps: usize,
    envs: usize,
    bodies: usize,
    states: &'a Array,
    rewards: &'a Array,
    dones: &'a Array,
    obs: Vec<&'a Array>,
    actions: Vec<&'a Array>,
    mass: &'a Array,
    /// Forces of bodies whose script is not vmas's, `[T, env, entity, 2]`; not finite for the others.
    drives: Option<&'a Array>,
}

impl<'a> Trace<'a> {
    fn new(npz: &'a Npz, env: &mut dyn Replay) -> Result<Self, ConfigError> {
        let spec = env.spec().clone();
        let states = npz.get("states")?;
        let [rows, envs, bodies, columns] = states.shape[..] else {
            return Err(ConfigError::Invalid("the trace's states have no axes (time, env, entity, number)".into()));
        };
        let steps = rows.saturating_sub(1);
        let n = spec.n();
        let list = |name: &str| (0..n).map(|i| npz.get(&format!("{name}_{i}"))).collect::<Result<Vec<_>, _>>();
        let trace = Self {
            steps,
            envs,
            bodies,
            states,
            rewards: npz.get("rewards")?,
            dones: npz.get("dones")?,
            obs: list("obs")?,
            actions: list("act")?,
            mass: npz.get("mass")?,
            drives: npz.get("drives").ok(),
        };
        let told = |name: &str, shape: &[usize], expected: String| {
            let task = &spec.task;
            let text =
                format!("this trace is not one of {task} with these settings: {name} of shape {shape:?}, expected {expected}");
            ConfigError::Invalid(text)
        };
        if steps == 0 || bodies != env.world().bodies.len() || columns != COLUMNS {
            let expected = format!("two or more times, {} entities and {COLUMNS} columns", env.world().bodies.len());
            return Err(told("states", &trace.states.shape, expected));
        }
        let mut arrays = vec![
            ("states".to_owned(), trace.states, rows, envs * env.world().bodies.len() * COLUMNS),
            ("rewards".to_owned(), trace.rewards, steps, envs * n),
            ("dones".to_owned(), trace.dones, steps, envs),
            ("mass".to_owned(), trace.mass, bodies, 1),
        ];
        arrays.extend(trace.drives.map(|drives| ("drives".to_owned(), drives, steps, envs * bodies * 2)));
        for (i, agent) in spec.agents.iter().enumerate() {
            arrays.push((format!("obs_{i}"), trace.obs[i], rows, envs * agent.obs.size()));
            arrays.push((format!("act_{i}"), trace.actions[i], steps, envs * 2));
        }
        match arrays.into_iter().find(|(_, array, rows, width)| !array.is(*rows, *width)) {
            Some((name, array, rows, width)) => Err(told(&name, &array.shape, format!("{rows} rows of {width} numbers"))),
            None => Ok(trace),
        }
    }

    fn state(&self, t: usize, env: usize) -> &[f64] {
        let width = self.bodies * COLUMNS;
        &self.states.row(t)[env * width..(env + 1) * width]
    }

    /// Sets the recorded forces of scripted bodies.
    fn drive(&self, t: usize, env: usize, world: &mut World) {
        let Some(drives) = self.drives else { return };
        let row = &drives.row(t)[env * self.bodies * 2..(env + 1) * self.bodies * 2];
        for (body, drive) in world.bodies.iter_mut().zip(row.as_chunks::<2>().0).filter(|(_, drive)| drive[0].is_finite()) {
            body.drive = drive.map(|x| x as f32);
        }
    }

    fn action(&self, t: usize, env: usize) -> Vec<f32> {
        let of = |array: &Array| [0, 1].map(|k| array.row(t)[env * 2 + k] as f32);
        self.actions.iter().flat_map(|array| of(array)).collect()
    }
}

/// Steps all environments of the batch together, so that they agree on the pairs that are looked at.
fn advance(envs: &mut [Box<dyn Replay>], trace: &Trace<'_>, t: usize) {
    for (e, env) in envs.iter_mut().enumerate() {
        let (spec, flat) = (env.spec().clone(), trace.action(t, e));
        env.set_engines(Actions::new(&spec, &flat));
        trace.drive(t, e, env.world());
    }
    let substeps = envs.first_mut().map_or(0, |env| env.world().rules.substeps);
    let mut near = Vec::new();
    for k in 0..substeps {
        near.fill(false);
        envs.iter_mut().for_each(|env| env.world().near(&mut near));
        envs.iter_mut().for_each(|env| env.world().substep(k == 0, Some(&near)));
    }
    envs.iter_mut().for_each(|env| env.after_physics());
}

/// The differences by kind.
struct Lines {
    motion: [TraceLine; 4],
    obs: TraceLine,
    rewards: TraceLine,
    ends: TraceLine,
    free: TraceLine,
}

impl Lines {
    fn motion(&mut self, world: &World, row: &[f64], place: &dyn Fn(&str) -> String) {
        for (body, x) in world.bodies.iter().zip(row.as_chunks::<COLUMNS>().0) {
            if !body.movable && !body.rotatable {
                continue;
            }
            let found = [body.pos[0], body.pos[1], body.vel[0], body.vel[1], body.rot, body.spin];
            for (k, (found, x)) in found.into_iter().zip(x).enumerate() {
                let line = [0, 0, 1, 1, 2, 3][k];
                self.motion[line].note(f64::from(found) - x, || place(&body.name));
            }
        }
    }

    fn ratings(&mut self, env: &dyn Replay, buf: &FrameBuf, trace: &Trace<'_>, (t, e): (usize, usize)) {
        let spec = env.spec();
        for (i, agent) in spec.agents.iter().enumerate() {
            let recorded = &trace.obs[i].row(t + 1)[e * agent.obs.size()..(e + 1) * agent.obs.size()];
            for (k, (found, x)) in buf.obs[spec.obs_range(i)].iter().zip(recorded).enumerate() {
                self.obs.note(f64::from(*found) - x, || format!("step {t}, env {e}, {}, entry {k}", agent.name));
            }
            let paid = trace.rewards.row(t)[e * spec.n() + i];
            let scale = paid.abs().max(1.0);
            self.rewards.note((buf.rewards[i] - paid) / scale, || format!("step {t}, env {e}, {}", agent.name));
        }
        let ended = f64::from(u8::from(env.over())) - trace.dones.row(t)[e];
        self.ends.note(ended, || format!("step {t}, env {e}"));
    }
}

/// Compares a task with a trace that `tests/parity/vmas/record.py` wrote.
///
/// # Errors
/// An unknown task, or a trace of another task or of other settings.
pub fn check_trace(name: &str, options: &TaskOptions, npz: &Npz) -> Result<TraceReport, ConfigError> {
    let mut first = super::open(name, options)?;
    let trace = Trace::new(npz, &mut *first)?;
    let kinds = ["positions", "velocities", "angles", "angular velocities"];
    let mut lines = Lines {
        motion: std::array::from_fn(|k| TraceLine::new(kinds[k], Some(MOVED))),
        obs: TraceLine::new("observations", Some(SEEN)),
        rewards: TraceLine::new("rewards, against 1 or their size", Some(PAID)),
        ends: TraceLine::new("ends", Some(0.0)),
        free: TraceLine::new("positions at the end, never corrected", None),
    };
    let mut envs = start(name, options, &trace)?;
    let mut bufs: Vec<FrameBuf> = envs.iter().map(|env| FrameBuf::new(env.spec())).collect();
    for t in 0..trace.steps {
        for (e, env) in envs.iter_mut().enumerate() {
            inject(env.world(), trace.state(t, e), false);
        }
        advance(&mut envs, &trace, t);
        for (e, (env, buf)) in envs.iter_mut().zip(&mut bufs).enumerate() {
            let after = trace.state(t + 1, e);
            lines.motion(env.world(), after, &|body| format!("step {t}, env {e}, {body}"));
            inject(env.world(), after, true);
            // What rewards draw anew is taken from the trace.
            env.rate(&mut buf.frame(), &mut |world| inject(world, after, false));
            lines.ratings(&**env, buf, &trace, (t, e));
        }
    }
    let mut envs = start(name, options, &trace)?;
    for t in 0..trace.steps {
        advance(&mut envs, &trace, t);
        for (env, buf) in envs.iter_mut().zip(&mut bufs) {
            env.rate(&mut buf.frame(), &mut |_| {});
        }
    }
    for (e, env) in envs.iter_mut().enumerate() {
        for (body, x) in env.world().bodies.iter().zip(trace.state(trace.steps, e).as_chunks::<COLUMNS>().0) {
            let off = (f64::from(body.pos[0]) - x[0]).hypot(f64::from(body.pos[1]) - x[1]);
            lines.free.note(off, || format!("env {e}, {}", body.name));
        }
    }
    let Lines { motion, obs, rewards, ends, free } = lines;
    let lines = motion.into_iter().chain([obs, rewards, ends, free]).collect();
    Ok(TraceReport { steps: trace.steps * trace.envs, lines })
}

/// The batch as the trace begins.
fn start(name: &str, options: &TaskOptions, trace: &Trace<'_>) -> Result<Vec<Box<dyn Replay>>, ConfigError> {
    let make = |e: usize| {
        let mut env = super::open(name, options)?;
        inject(env.world(), trace.state(0, e), false);
        for (body, mass) in env.world().bodies.iter_mut().zip(&trace.mass.values) {
            body.mass = *mass;
        }
        env.remember();
        Ok(env)
    };
    (0..trace.envs).map(make).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrays of the right number of entries in other rows, and arrays that are shorter, are refused by name.
    #[test]
    fn traces_of_other_shapes_are_refused() {
        let registry = crate::Registry::builtin();
        let name = "vmas/wheel";
        let options = crate::registry::options(&*registry.get(name).unwrap(), &[]).unwrap();
        let mut env = super::super::open(name, &options).unwrap();
        let (spec, bodies) = (env.spec().clone(), env.world().bodies.len());
        let filled = |shape: &[usize]| Array { shape: shape.to_vec(), values: vec![1.0; shape.iter().product()] };
        let mut shapes = vec![
            ("states".to_owned(), vec![3, 2, bodies, COLUMNS]),
            ("rewards".to_owned(), vec![2, 2, spec.n()]),
            ("dones".to_owned(), vec![2, 2]),
            ("mass".to_owned(), vec![bodies]),
            ("drives".to_owned(), vec![2, 2, bodies, 2]),
        ];
        for (i, agent) in spec.agents.iter().enumerate() {
            shapes.push((format!("obs_{i}"), vec![3, 2, agent.obs.size()]));
            shapes.push((format!("act_{i}"), vec![2, 2, 2]));
        }
        let whole = shapes.iter().fold(Npz::default(), |npz, (name, shape)| npz.with(name.clone(), filled(shape)));
        assert!(check_trace(name, &options, &whole).is_ok());
        for (array, shape) in &shapes {
            let flat = vec![shape.iter().product()];
            let fewer = [vec![shape[0] - 1], shape[1..].to_vec()].concat();
            let short = Array { shape: shape.clone(), values: Vec::new() };
            for other in [filled(&[flat, vec![1]].concat()), filled(&fewer), short] {
                // One axis of masses is one column of them.
                if array == "mass" && other.is(bodies, 1) {
                    continue;
                }
                let text = check_trace(name, &options, &whole.clone().with(array.clone(), other)).unwrap_err().to_string();
                assert!(text.contains("trace"), "{array}: {text}");
            }
        }
    }
}

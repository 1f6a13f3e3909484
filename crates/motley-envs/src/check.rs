//! The environment contract, tried on a real environment: what `motley check` prints and what a user's own tests call.

mod twice;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use motley_core::guard::{check_frame, out_of_bounds, panic_text};
use motley_core::{
    ActionMeaning, ActionSpace, Actions, ConfigError, Env, EnvError, FrameBuf, Purpose, Shape, Status, Stream, TeamSpec,
};

pub use twice::differs;

/// Makes fresh copies of the environment under test.
pub type Make<'a> = &'a dyn Fn() -> Result<Box<dyn Env>, ConfigError>;

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The environment keeps this part of the contract.
    Passed,
    /// It does not; the text says where, what was expected and what was found.
    Failed(String),
    /// Allowed, but probably not meant.
    Warned(String),
    /// Does not apply, and why.
    Skipped(String),
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckLine {
    /// What was tried.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

impl CheckLine {
    /// Whether the contract is broken.
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }
}

/// Steps of one trial of an environment.
const STEPS: usize = 100;
/// Streams on which copies with unlike pasts are reset.
const RESETS: u64 = 64;
/// Simulators whose resets take seconds are not tried on all of them.
const RESETS_TIME: Duration = Duration::from_secs(5);
/// An episode limit beyond this is not walked to.
const LONGEST: usize = 20_000;

type Verdict = Result<Outcome, String>;
type Check<'a> = fn(&Trial<'a>) -> Verdict;

/// What an endless task can do about it.
const NO_LIMIT: &str = "no step limit is declared: an episode may never end; give the team a step_limit, or an environment in Python \
    task.max_steps";

/// Tries everything that the contract asks of an environment, with random available actions drawn from `seed`.
///
/// A panic inside the environment fails the check during which it happens, and the next check starts with a fresh copy.
pub fn check<'a>(make: Make<'a>, seed: u64) -> Vec<CheckLine> {
    let trial = Trial { make, seed };
    let checks: [(&'static str, Check<'a>); 13] = [
        ("it can be made, twice with the same team", Trial::construction),
        ("the team makes sense (sizes, names, no-ops, positions)", Trial::sane_spec),
        ("the team never changes", Trial::constant_spec),
        ("observations, state and rewards are written in full and finite; masks and deaths are kept", Trial::frames),
        ("observations stay inside their bounds", Trial::bounds),
        ("the same stream gives the same episode", Trial::deterministic),
        ("other streams give other episodes", Trial::varied),
        ("a step before the reset or after the end is refused", Trial::not_running),
        ("an action outside its space or mask is refused", Trial::bad_actions),
        ("episodes end at the step limit and are not truncated before", Trial::ends),
        ("a snapshot brings the same bits back", Trial::snapshots),
        ("winning is said where it is defined", Trial::winning),
        ("pictures can be drawn", Trial::scenes),
    ];
    let mut lines = Vec::new();
    for (name, run) in checks {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&trial)));
        let outcome = match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(text)) => Outcome::Failed(text),
            Err(panic) => Outcome::Failed(format!("the environment panicked: {}", panic_text(&*panic))),
        };
        lines.push(CheckLine { name, outcome });
        if lines.len() == 1 && lines[0].failed() {
            break;
        }
    }
    lines
}

/// An environment with its memory and its own source of actions.
struct Copy {
    env: Box<dyn Env>,
    spec: Arc<TeamSpec>,
    buf: FrameBuf,
    alive: Vec<bool>,
    actions: Vec<f32>,
}

impl Copy {
    /// Resets with poisoned memory, so that what is not written shows.
    fn reset(&mut self, stream: Stream) -> Result<(), String> {
        self.alive.fill(true);
        let mut frame = self.buf.frame();
        frame.obs.fill(f32::NAN);
        frame.state.fill(f32::NAN);
        self.env.reset(stream, &mut frame).map_err(|e| format!("reset: {e}"))
    }

    /// Steps with the actions in `self.actions`.
    fn apply(&mut self) -> Result<Status, EnvError> {
        self.alive.copy_from_slice(&self.buf.alive);
        let mut frame = self.buf.frame();
        frame.obs.fill(f32::NAN);
        frame.state.fill(f32::NAN);
        self.env.step(Actions::new(&self.spec, &self.actions), &mut frame)
    }

    /// Steps with random available actions.
    fn step(&mut self, stream: &mut Stream) -> Result<Status, String> {
        self.choose(stream)?;
        self.apply().map_err(|e| format!("step: {e}"))
    }

    fn choose(&mut self, stream: &mut Stream) -> Result<(), String> {
        choose(&self.spec, &self.buf.avail, stream, &mut self.actions)
    }

    fn bits(&self) -> Vec<u64> {
        bits(&self.buf)
    }
}

/// Random available actions.
fn choose(team: &TeamSpec, avail: &[bool], stream: &mut Stream, actions: &mut [f32]) -> Result<(), String> {
    for (i, agent) in team.agents.iter().enumerate() {
        let out = &mut actions[team.action_range(i)];
        if let ActionSpace::Box { low, high } = &agent.action {
            for ((x, l), h) in out.iter_mut().zip(low).zip(high) {
                let (l, h) = (f64::from(l.max(-10.0)), f64::from(h.min(10.0)));
                *x = (stream.range(l, h) as f32).clamp(l as f32, h as f32);
            }
            continue;
        }
        let mut mask = &avail[team.mask_range(i)];
        for (x, &n) in out.iter_mut().zip(agent.action.choices()) {
            let (own, rest) = mask.split_at(n);
            let free: Vec<usize> = (0..n).filter(|a| own[*a]).collect();
            if free.is_empty() {
                return Err(format!("agent \"{}\" has no available action", agent.name));
            }
            *x = free[stream.below(free.len() as u32) as usize] as f32;
            mask = rest;
        }
    }
    Ok(())
}

/// The exact bits of what was last written.
fn bits(buf: &FrameBuf) -> Vec<u64> {
    let floats = buf.obs.iter().chain(&buf.state).map(|x| u64::from(x.to_bits()));
    let flags = buf.avail.iter().chain(&buf.alive).map(|&x| u64::from(x));
    floats.chain(flags).chain(buf.rewards.iter().map(|r| r.to_bits())).collect()
}

struct Trial<'a> {
    make: Make<'a>,
    seed: u64,
}

fn passed() -> Verdict {
    Ok(Outcome::Passed)
}

fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(text()) }
}

impl Trial<'_> {
    fn copy(&self) -> Result<Copy, String> {
        let env = (self.make)().map_err(|e| format!("it cannot be made: {e}"))?;
        let spec = env.spec().clone();
        Ok(Copy { buf: FrameBuf::new(&spec), alive: vec![true; spec.n()], actions: vec![0.0; spec.action_len()], spec, env })
    }

    fn episode(&self, k: u64) -> Stream {
        Stream::new(self.seed, Purpose::Check, 0, k)
    }

    fn chooser(&self, k: u64) -> Stream {
        Stream::new(self.seed, Purpose::Check, 1, k)
    }

    /// Walks through episodes for [`STEPS`] steps at least, telling `see` about every frame and how the step ended.
    fn walk(&self, copy: &mut Copy, mut see: impl FnMut(&mut Copy, Option<Status>) -> Result<(), String>) -> Result<(), String> {
        let mut chooser = self.chooser(0);
        let mut walked = 0;
        for episode in 0..STEPS as u64 {
            copy.reset(self.episode(episode))?;
            see(copy, None).map_err(|e| format!("after reset {episode}: {e}"))?;
            for step in 1..=STEPS {
                let status = copy.step(&mut chooser)?;
                see(copy, Some(status)).map_err(|e| format!("in episode {episode} after step {step}: {e}"))?;
                walked += 1;
                if status.done() {
                    break;
                }
            }
            if walked >= STEPS && episode > 0 {
                break;
            }
        }
        Ok(())
    }

    fn construction(&self) -> Verdict {
        let (first, second) = (self.copy()?, self.copy()?);
        ensure(*first.spec == *second.spec, || "two copies describe different teams".into())?;
        passed()
    }

    fn sane_spec(&self) -> Verdict {
        let spec = self.copy()?.spec;
        spec.check().map_err(|wrong| wrong.to_string())?;
        ensure(spec.state.row() > 0, || "the state is empty".into())?;
        for agent in &spec.agents {
            let name = &agent.name;
            ensure(agent.obs.size() > 0, || format!("agent \"{name}\" observes nothing"))?;
            ensure(agent.obs.low <= agent.obs.high, || format!("agent \"{name}\": its observation bounds are reversed"))?;
            let actions = agent.action.mask_len();
            if let ActionSpace::Box { low, high } = &agent.action {
                let open = low.iter().zip(high).all(|(l, h)| l < h);
                ensure(open, || format!("agent \"{name}\": {} leaves nothing to choose", agent.action.describe()))?;
            }
            ensure(agent.meaning.is_empty() || agent.meaning.len() == actions, || {
                format!("agent \"{name}\": {} meanings for {actions} actions", agent.meaning.len())
            })?;
            let said = |(k, m): (usize, &ActionMeaning)| *m != ActionMeaning::Never && agent.meaning[..k].contains(m);
            let twice = agent.meaning.iter().enumerate().position(said);
            ensure(twice.is_none(), || format!("agent \"{name}\": action {} means what one before it does", twice.unwrap_or(0)))?;
            for range in [&agent.position, &agent.velocity].into_iter().flatten() {
                ensure(!range.is_empty(), || {
                    format!("agent \"{name}\": its position or velocity is no entry of its observation")
                })?;
            }
        }
        passed()
    }

    fn constant_spec(&self) -> Verdict {
        let mut copy = self.copy()?;
        self.walk(&mut copy, |copy, _| {
            ensure(**copy.env.spec() == *copy.spec, || "expected the team as first described, found another one".into())
        })?;
        passed()
    }

    fn frames(&self) -> Verdict {
        let mut copy = self.copy()?;
        self.walk(&mut copy, |copy, _| {
            let (spec, alive) = (copy.spec.clone(), copy.alive.clone());
            let (was, mut now) = (alive, copy.buf.clone());
            let frame = motley_core::Frame {
                obs: &mut now.obs,
                state: &mut now.state,
                avail: &mut now.avail,
                rewards: &mut now.rewards,
                alive: &mut now.alive,
            };
            check_frame(&spec, &frame, &was).map_err(|e| e.to_string())?;
            ensure(spec.masks || frame.avail.iter().all(|a| *a), || {
                "an action is masked, but the team declares no masks".into()
            })?;
            ensure(spec.deaths || frame.alive.iter().all(|a| *a), || "an agent died, but the team declares no deaths".into())?;
            if spec.reward == motley_core::RewardKind::Common {
                let same = frame.rewards.iter().all(|r| *r == frame.rewards[0]);
                ensure(same, || format!("expected one common reward, found {:?}", frame.rewards))?;
            }
            for (i, agent) in spec.agents.iter().enumerate() {
                let open = agent.meaning.iter().zip(&frame.avail[spec.mask_range(i)]);
                let never = open.into_iter().position(|(meaning, open)| *meaning == ActionMeaning::Never && *open);
                ensure(never.is_none(), || {
                    format!(
                        "agent \"{}\": action {} is available, which its meaning says it never is",
                        agent.name,
                        never.unwrap_or(0)
                    )
                })?;
            }
            for (i, agent) in spec.agents.iter().enumerate().filter(|(i, _)| !frame.alive[*i]) {
                let free = frame.avail[spec.mask_range(i)].iter().filter(|a| **a).count();
                let only_noop = agent.noop.is_none_or(|a| free == 1 && frame.avail[spec.mask_range(i)][a]);
                ensure(only_noop, || format!("dead agent \"{}\": expected its no-op alone, found {free} actions", agent.name))?;
            }
            Ok(())
        })?;
        passed()
    }

    fn bounds(&self) -> Verdict {
        let mut copy = self.copy()?;
        self.walk(&mut copy, |copy, _| match out_of_bounds(&copy.spec, &copy.buf.obs) {
            None => Ok(()),
            Some((i, k, value)) => {
                let agent = &copy.spec.agents[i];
                Err(format!(
                    "observation of agent \"{}\", entry {k}: expected {} to {}, found {value}",
                    agent.name, agent.obs.low, agent.obs.high
                ))
            }
        })?;
        passed()
    }

    /// Two copies, and one copy again, given the same streams.
    fn deterministic(&self) -> Verdict {
        let trace = |copy: &mut Copy| -> Result<Vec<Vec<u64>>, String> {
            let mut trace = Vec::new();
            self.walk(copy, |copy, status| {
                trace.push(copy.bits());
                trace.push(vec![status.map_or(9, |s| s as u64)]);
                Ok(())
            })?;
            Ok(trace)
        };
        let (mut first, mut second) = (self.copy()?, self.copy()?);
        let reference = trace(&mut first)?;
        for (who, other) in [("another copy", trace(&mut second)?), ("the same copy, reset again", trace(&mut first)?)] {
            let at = reference.iter().zip(&other).position(|(a, b)| a != b);
            ensure(at.is_none() && reference.len() == other.len(), || {
                format!("{who} differs after {} frames although streams and actions are the same", at.unwrap_or(0) / 2)
            })?;
        }
        self.left_over(&mut first, &mut second)?;
        passed()
    }

    /// Two copies with unlike pasts, reset on the same streams: what an episode leaves behind often shows on few streams only.
    fn left_over(&self, first: &mut Copy, second: &mut Copy) -> Result<(), String> {
        let began = Instant::now();
        for k in 0..RESETS {
            first.reset(self.episode(RESETS + k))?;
            let mut chooser = self.chooser(k);
            for _ in 0..5 {
                if first.step(&mut chooser)?.done() {
                    break;
                }
            }
            first.reset(self.episode(k))?;
            // What is still taken by the last episode is likeliest to be in the way of the same one.
            second.reset(self.episode(k))?;
            second.reset(self.episode(k))?;
            ensure(first.bits() == second.bits(), || {
                format!(
                    "the same copy, reset again after another episode, differs on stream {k}: something of the last episode is left"
                )
            })?;
            if began.elapsed() > RESETS_TIME {
                break;
            }
        }
        Ok(())
    }

    fn varied(&self) -> Verdict {
        let mut copy = self.copy()?;
        let mut first = None;
        for k in 0..8 {
            copy.reset(self.episode(k))?;
            let mut seen = copy.bits();
            // The same actions every time, so that only the environment's own randomness can make a difference.
            let mut chooser = self.chooser(0);
            for _ in 0..5 {
                let done = copy.step(&mut chooser)?.done();
                seen.extend(copy.bits());
                if done {
                    break;
                }
            }
            if first.get_or_insert_with(|| seen.clone()) != &seen {
                return passed();
            }
        }
        Ok(Outcome::Warned("8 streams gave the same first steps: is the stream used?".into()))
    }

    fn not_running(&self) -> Verdict {
        let mut copy = self.copy()?;
        let refused = |found: Result<Status, EnvError>, when: &str| match found {
            Err(EnvError::NotRunning(_)) => Ok(()),
            other => Err(format!("step {when}: expected NotRunning, found {other:?}")),
        };
        let mut chooser = self.chooser(0);
        copy.choose(&mut chooser)?;
        refused(copy.apply(), "before the first reset")?;
        copy.reset(self.episode(0))?;
        for _ in 0..copy.spec.step_limit.unwrap_or(LONGEST).min(LONGEST) {
            if copy.step(&mut chooser)?.done() {
                let last = copy.actions.clone();
                refused(copy.apply(), "after the end")?;
                copy.reset(self.episode(1))?;
                copy.actions = last;
                return passed();
            }
        }
        Ok(Outcome::Skipped(format!("no episode ended within {LONGEST} steps; a step before the reset is refused")))
    }

    fn bad_actions(&self) -> Verdict {
        let mut copy = self.copy()?;
        copy.reset(self.episode(0))?;
        let spec = copy.spec.clone();
        for (i, agent) in spec.agents.iter().enumerate() {
            let mut tries: Vec<(usize, f32)> = Vec::new();
            match &agent.action {
                ActionSpace::Box { high, .. } => {
                    for (k, h) in high.iter().enumerate() {
                        tries.push((k, f32::NAN));
                        tries.extend(h.is_finite().then_some((k, h + 1.0)));
                    }
                }
                discrete => {
                    let mut at = spec.mask_range(i).start;
                    for (k, &n) in discrete.choices().iter().enumerate() {
                        tries.extend([n as f32, 1e9, -1.0, 0.5, f32::NAN, f32::INFINITY].map(|x| (k, x)));
                        tries.extend((0..n).filter(|a| !copy.buf.avail[at + a]).map(|a| (k, a as f32)));
                        at += n;
                    }
                }
            }
            for (k, value) in tries {
                copy.reset(self.episode(0))?;
                copy.choose(&mut self.chooser(0))?;
                copy.actions[spec.action_range(i).start + k] = value;
                if let Ok(status) = copy.apply() {
                    return Err(format!(
                        "agent \"{}\", entry {k} of its action = {value}: expected an error, found {status:?} ({})",
                        agent.name,
                        agent.action.describe()
                    ));
                }
            }
        }
        passed()
    }

    fn ends(&self) -> Verdict {
        let mut copy = self.copy()?;
        let Some(limit) = copy.spec.step_limit else {
            return Ok(Outcome::Warned(NO_LIMIT.into()));
        };
        let limit_walked = limit.min(LONGEST);
        let mut chooser = self.chooser(0);
        for episode in 0..2 {
            copy.reset(self.episode(episode))?;
            for step in 1..=limit_walked {
                match copy.step(&mut chooser)? {
                    Status::Truncated if step < limit => {
                        return Err(format!("expected truncation at the step limit {limit}, found it at step {step}"));
                    }
                    Status::Running if step == limit => {
                        return Err(format!("expected the episode to end at the step limit {limit}, found it running"));
                    }
                    status if status.done() => break,
                    _ => {}
                }
            }
        }
        Ok(if limit > LONGEST { Outcome::Skipped(format!("the limit {limit} is too far to walk to")) } else { Outcome::Passed })
    }

    fn snapshots(&self) -> Verdict {
        let (mut first, mut second) = (self.copy()?, self.copy()?);
        first.reset(self.episode(0))?;
        let mut chooser = self.chooser(0);
        let mut running = true;
        for _ in 0..3 {
            let Some(before) = first.env.snapshot() else {
                return Ok(Outcome::Skipped("it keeps no snapshots; an episode is restored by replaying its actions".into()));
            };
            let avail = first.buf.avail.clone();
            let trace = |copy: &mut Copy, running: &mut bool| -> Result<Vec<u64>, String> {
                let mut chooser = chooser.clone();
                let mut bits = Vec::new();
                copy.buf.avail.clone_from(&avail);
                *running = true;
                for _ in 0..7 {
                    let status = copy.step(&mut chooser)?;
                    bits.extend(copy.bits());
                    bits.push(status as u64);
                    if status.done() {
                        *running = false;
                        break;
                    }
                }
                Ok(bits)
            };
            let reference = trace(&mut first, &mut running)?;
            let after = first.env.snapshot();
            for (who, copy) in [("another copy", &mut second), ("the same copy", &mut first)] {
                copy.env.restore(&before).map_err(|e| format!("{who} refuses the snapshot: {e}"))?;
                ensure(trace(copy, &mut running)? == reference, || format!("{who}, restored, goes on differently"))?;
                ensure(copy.env.snapshot() == after, || format!("{who}, restored, ends with another snapshot"))?;
            }
            if !running {
                break;
            }
            chooser = chooser.fork(1);
        }
        for nonsense in [&[][..], &[255; 3][..]] {
            ensure(first.env.restore(nonsense).is_err(), || {
                format!("{} bytes of nonsense are taken for a snapshot", nonsense.len())
            })?;
            let refused = matches!(first.apply(), Err(EnvError::NotRunning(_)));
            ensure(refused, || "after a refused snapshot a step is not refused".into())?;
        }
        passed()
    }

    fn winning(&self) -> Verdict {
        let mut copy = self.copy()?;
        self.walk(&mut copy, |copy, status| {
            if status.is_some_and(Status::done) {
                let (said, defined) = (copy.env.won(), copy.spec.winning);
                ensure(said.is_some() == defined, || {
                    format!("winning is {defined} in the team, but won() is {said:?} at the end")
                })?;
            }
            Ok(())
        })?;
        passed()
    }

    fn scenes(&self) -> Verdict {
        let mut copy = self.copy()?;
        let mut seen = 0_usize;
        self.walk(&mut copy, |copy, _| {
            let Some(scene) = copy.env.scene() else { return Ok(()) };
            seen += 1;
            let [x0, y0, x1, y1] = scene.view;
            ensure(x0 < x1 && y0 < y1, || format!("the picture's view {:?} is empty", scene.view))?;
            let finite = scene.shapes.iter().all(|shape| match shape {
                Shape::Circle { at, radius, .. } => at.iter().all(|x| x.is_finite()) && *radius >= 0.0,
                Shape::Rect { at, size, angle, .. } => at.iter().chain(size).all(|x| x.is_finite()) && angle.is_finite(),
                Shape::Line { from, to, width, .. } => from.iter().chain(to).all(|x| x.is_finite()) && *width >= 0.0,
                Shape::Text { at, height, .. } => at.iter().all(|x| x.is_finite()) && *height > 0.0,
            });
            ensure(finite, || "a shape of the picture has no finite place or size".into())
        })?;
        Ok(if seen == 0 {
            Outcome::Skipped("it shows no scene: motley render shows what a renderer of its own draws, where it has one".into())
        } else {
            Outcome::Passed
        })
    }
}

#[cfg(test)]
mod tests;

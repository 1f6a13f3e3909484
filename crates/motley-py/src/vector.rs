//! Many copies of a native or foreign environment, stepped together, their arrays shared with numpy.

use std::sync::{Mutex, MutexGuard, PoisonError};

use motley_core::guard::{self, check_frame};
use motley_core::{Env, EnvError, Frame, Purpose, Status, Stream, TeamSpec};
use motley_envs::mpe::{self, RawState, Replay};
use motley_envs::registry::options;
use motley_nn::Pool;
use motley_train::Registry;
use motley_view::raster;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::array::Array;
use crate::{config_error, failed, share_path};

/// One environment; the particles can also be put into a state.
enum Held {
    Any(Box<dyn Env>),
    Particles(Box<dyn Replay>),
}

impl Held {
    fn env(&mut self) -> &mut dyn Env {
        match self {
            Self::Any(env) => &mut **env,
            Self::Particles(env) => &mut **env,
        }
    }
}

struct Copy {
    held: Held,
    /// Names the streams of its episodes.
    seed: u64,
    episode: u64,
    index: u64,
    over: bool,
    /// Steps of the episode.
    steps: usize,
    was_alive: Vec<bool>,
    error: Option<EnvError>,
}

/// What happens when an episode has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Autoreset {
    SameStep,
    NextStep,
    Disabled,
}

struct Inner {
    /// Empty once it is closed.
    copies: Vec<Copy>,
    pool: Pool,
    /// The process whose threads the pool has: a forked child has none of them.
    process: u32,
}

impl Inner {
    /// Makes the pool's threads anew in a forked child. What the bridge holds cannot be shared with the parent.
    fn settle(&mut self, task: &str) -> Result<(), String> {
        if self.copies.is_empty() {
            return Err(format!("{task}: the environments are closed"));
        }
        if self.process == std::process::id() {
            return Ok(());
        }
        if BRIDGED.iter().any(|prefix| task.starts_with(prefix)) {
            return Err(format!("{task}: made in another process, whose workers it shares: make it after the fork"));
        }
        let pool = Pool::new(self.pool.threads()).map_err(|e| e.to_string())?;
        // Joining threads that are not there would never end.
        std::mem::forget(std::mem::replace(&mut self.pool, pool));
        self.process = std::process::id();
        Ok(())
    }
}

/// Tasks whose environments live in other processes.
const BRIDGED: [&str; 5] = ["py:", "gym/", "football/", "smac/", "smacv2/"];

/// `n` copies of a task.
#[pyclass(frozen)]
pub(crate) struct Vector {
    inner: Mutex<Inner>,
    team: TeamSpec,
    autoreset: Autoreset,
    /// obs, state, rewards, avail, alive, status, actions, final_obs, final_state, final_avail, won (0 where winning is not
    /// defined or the episode runs, 1 lost, 2 won), each `[n, width]`.
    arrays: [Py<Array>; 11],
}

/// One copy and its part of every array.
struct Part<'a> {
    copy: &'a mut Copy,
    frame: Frame<'a>,
    actions: &'a [f32],
    status: &'a mut u8,
    won: &'a mut u8,
    final_obs: &'a mut [f32],
    final_state: &'a mut [f32],
    final_avail: &'a mut [bool],
}

impl Part<'_> {
    fn reset(&mut self, team: &TeamSpec) -> Result<(), EnvError> {
        let copy = &mut *self.copy;
        let stream = Stream::new(copy.seed, Purpose::Episode, copy.index, 0).fork(copy.episode);
        copy.episode += 1;
        self.frame.prepare();
        copy.held.env().reset(stream, &mut self.frame)?;
        check_frame(team, &self.frame, self.frame.alive)?;
        (copy.over, copy.steps) = (false, 0);
        (*self.status, *self.won) = (0, 0);
        Ok(())
    }

    fn step(&mut self, team: &TeamSpec, autoreset: Autoreset) -> Result<(), EnvError> {
        if self.copy.over {
            return match autoreset {
                Autoreset::Disabled => Err(EnvError::NotRunning("after the end of the episode")),
                _ => self.reset(team),
            };
        }
        let Copy { held, steps, was_alive, over, .. } = &mut *self.copy;
        was_alive.copy_from_slice(self.frame.alive);
        let stepped = guard::step(held.env(), team, self.actions, &mut self.frame, was_alive, steps);
        // After a refused action the episode goes on, after a panic it does not.
        *over = !matches!(stepped, Ok(Status::Running) | Err(EnvError::Action { .. }));
        let status = stepped?;
        *self.status = status as u8;
        *self.won = 0;
        if status == Status::Running {
            return Ok(());
        }
        *self.won = self.copy.held.env().won_at_end().map_or(0, |won| 1 + u8::from(won));
        if autoreset == Autoreset::SameStep {
            self.final_obs.copy_from_slice(self.frame.obs);
            self.final_state.copy_from_slice(self.frame.state);
            self.final_avail.copy_from_slice(self.frame.avail);
            let rewards = self.frame.rewards.to_vec();
            let (status, won) = (*self.status, *self.won);
            self.reset(team)?;
            self.frame.rewards.copy_from_slice(&rewards);
            (*self.status, *self.won) = (status, won);
        }
        Ok(())
    }
}

impl Vector {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on every copy, on all threads; the first error by index.
    fn each(&self, py: Python<'_>, act: impl Fn(&mut Part<'_>) -> Result<(), EnvError> + Sync) -> PyResult<()> {
        let outcome = py.detach(|| {
            let mut inner = self.lock();
            inner.settle(&self.team.task)?;
            let Inner { copies, pool, .. } = &mut *inner;
            let mut held: Vec<_> = self.arrays.iter().map(|array| array.get().lock()).collect();
            let [obs, state, rewards, avail, alive, status, actions, final_obs, final_state, final_avail, won] = &mut held[..]
            else {
                return Ok(());
            };
            let team = &self.team;
            let mut obs = parts(obs.f32(), team.obs_len());
            let mut state = parts(state.f32(), team.state_len());
            let mut rewards = parts(rewards.f64(), team.n());
            let mut avail = parts(avail.flags(), team.mask_len());
            let mut alive = parts(alive.flags(), team.n());
            let mut actions = parts(actions.f32(), team.action_len());
            let mut final_obs = parts(final_obs.f32(), team.obs_len());
            let mut final_state = parts(final_state.f32(), team.state_len());
            let mut final_avail = parts(final_avail.flags(), team.mask_len());
            let mut all: Vec<Part<'_>> = copies
                .iter_mut()
                .zip(status.bytes())
                .zip(won.bytes())
                .map(|((copy, status), won)| Part {
                    copy,
                    frame: Frame { obs: obs(), state: state(), avail: avail(), rewards: rewards(), alive: alive() },
                    actions: actions(),
                    status,
                    won,
                    final_obs: final_obs(),
                    final_state: final_state(),
                    final_avail: final_avail(),
                })
                .collect();
            pool.run(&mut all, |_, part| part.copy.error = act(part).err());
            match copies.iter_mut().enumerate().find_map(|(k, copy)| copy.error.take().map(|e| (k, e))) {
                None => Ok(()),
                Some((k, error)) => Err(format!("environment {k} of {}: {error}", team.task)),
            }
        });
        outcome.map_err(failed)
    }

    /// Copy `env` where it is one of particles, with its count of steps and whether its episode is over.
    fn particles<'a>(&self, inner: &'a mut Inner, env: usize) -> PyResult<(&'a mut dyn Replay, &'a mut usize, &'a mut bool)> {
        match inner.copies.get_mut(env) {
            Some(Copy { held: Held::Particles(replay), steps, over, .. }) => Ok((&mut **replay, steps, over)),
            Some(_) => Err(failed(format!("{}: only the states of mpe/... can be read and set", self.team.task))),
            None => Err(failed(format!("there is no environment {env}"))),
        }
    }

    /// Calls `act` with particles `env` and their frame; an episode of theirs then begins.
    fn with_frame(&self, env: usize, act: impl FnOnce(&mut dyn Replay, &mut Frame<'_>) -> Result<(), EnvError>) -> PyResult<()> {
        let team = &self.team;
        let range = |len: usize| env * len..(env + 1) * len;
        let mut inner = self.lock();
        let (replay, steps, over) = self.particles(&mut inner, env)?;
        let mut held: Vec<_> = self.arrays.iter().map(|array| array.get().lock()).collect();
        let [obs, state, rewards, avail, alive, status, .., won] = &mut held[..] else { return Ok(()) };
        let mut frame = Frame {
            obs: &mut obs.f32()[range(team.obs_len())],
            state: &mut state.f32()[range(team.state_len())],
            avail: &mut avail.flags()[range(team.mask_len())],
            rewards: &mut rewards.f64()[range(team.n())],
            alive: &mut alive.flags()[range(team.n())],
        };
        frame.prepare();
        act(replay, &mut frame).map_err(failed)?;
        check_frame(team, &frame, frame.alive).map_err(failed)?;
        (*steps, *over) = (0, false);
        (status.bytes()[env], won.bytes()[env]) = (0, 0);
        Ok(())
    }
}

/// Cuts a slice into parts of `len` one after the other; empty parts once it is used up.
fn parts<'a, T>(mut all: &'a mut [T], len: usize) -> impl FnMut() -> &'a mut [T] {
    move || {
        let (first, rest) = std::mem::take(&mut all).split_at_mut_checked(len).unwrap_or_default();
        all = rest;
        first
    }
}

#[pymethods]
impl Vector {
    /// `n` copies of the task, not yet reset; `settings` are `key=value` without `task.`, `seed` names their streams until a reset does.
    #[new]
    fn new(
        py: Python<'_>,
        task: &str,
        settings: Vec<String>,
        n: usize,
        autoreset: &str,
        threads: usize,
        seed: u64,
    ) -> PyResult<Self> {
        share_path(py)?;
        let autoreset = match autoreset {
            "SameStep" => Autoreset::SameStep,
            "NextStep" => Autoreset::NextStep,
            _ => Autoreset::Disabled,
        };
        let (copies, team) = py
            .detach(|| {
                let known = Registry::builtin().tasks.get(task)?;
                let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
                let options = options(&*known, &settings)?;
                let mut copies = Vec::with_capacity(n.min(1 << 20));
                for index in 0..n as u64 {
                    let held = if task.starts_with("mpe/") {
                        Held::Particles(mpe::open(task, &options)?)
                    } else {
                        Held::Any(known.make(&options)?)
                    };
                    let (was_alive, error) = (Vec::new(), None);
                    copies.push(Copy { held, seed, episode: 0, index, over: true, steps: 0, was_alive, error });
                }
                let team = match copies.first_mut() {
                    Some(copy) => TeamSpec::clone(copy.held.env().spec()),
                    None => return Err(motley_core::ConfigError::Invalid("at least one environment is needed".into())),
                };
                copies.iter_mut().for_each(|copy| copy.was_alive = vec![true; team.n()]);
                Ok((copies, team))
            })
            .map_err(config_error)?;
        let pool = Pool::new(motley_train::threads(threads).min(n)).map_err(failed)?;
        let f32s = |width: usize, writable| Array::f32(py, vec![n, width], writable);
        let arrays = [
            f32s(team.obs_len(), false)?,
            f32s(team.state_len(), false)?,
            Array::f64(py, vec![n, team.n()], false)?,
            Array::flags(py, vec![n, team.mask_len()])?,
            Array::flags(py, vec![n, team.n()])?,
            Array::bytes(py, vec![n], false)?,
            f32s(team.action_len(), true)?,
            f32s(team.obs_len(), false)?,
            f32s(team.state_len(), false)?,
            Array::flags(py, vec![n, team.mask_len()])?,
            Array::bytes(py, vec![n], false)?,
        ];
        Ok(Self { inner: Mutex::new(Inner { copies, pool, process: std::process::id() }), team, autoreset, arrays })
    }

    /// The team as JSON.
    #[getter]
    fn team(&self) -> PyResult<String> {
        serde_json::to_string(&self.team).map_err(failed)
    }

    /// obs, state, rewards, avail, alive, status, actions, final_obs, final_state, final_avail, won.
    #[getter]
    fn arrays(&self, py: Python<'_>) -> Vec<Py<Array>> {
        self.arrays.iter().map(|array| array.clone_ref(py)).collect()
    }

    /// Starts a new episode in the copies that `which` names; `seeds`, where given, name their streams anew.
    fn reset(&self, py: Python<'_>, which: Vec<bool>, seeds: Option<Vec<u64>>) -> PyResult<()> {
        if let Some(seeds) = seeds {
            let mut inner = self.lock();
            let named = inner.copies.iter_mut().zip(seeds).zip(&which).filter(|(_, named)| **named);
            named.for_each(|((copy, seed), _)| (copy.seed, copy.episode) = (seed, 0));
        }
        let team = &self.team;
        self.each(py, |part| match which.get(part.copy.index as usize) {
            Some(true) => part.reset(team),
            _ => Ok(()),
        })
    }

    /// One step of every copy with what stands in the action array.
    fn step(&self, py: Python<'_>) -> PyResult<()> {
        let (team, autoreset) = (&self.team, self.autoreset);
        self.each(py, |part| part.step(team, autoreset))
    }

    /// A picture of a copy, `width` pixels wide: (height, width, RGBA bytes), or `None` where the task cannot be drawn.
    fn render<'py>(&self, py: Python<'py>, env: usize, width: u32) -> PyResult<Option<(u32, u32, Bound<'py, PyBytes>)>> {
        let mut inner = self.lock();
        let copy = inner.copies.get_mut(env).ok_or_else(|| failed(format!("there is no environment {env}")))?;
        let Some(scene) = copy.held.env().scene() else { return Ok(None) };
        drop(inner);
        let image = py.detach(|| raster::draw(&scene, width)).map_err(failed)?;
        Ok(Some((image.height, image.width, PyBytes::new(py, &image.rgba))))
    }

    /// Ends the environments.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.lock().copies.clear());
    }

    /// The particles' state: positions, velocities (agents then landmarks), utterances, the scenario's own numbers.
    #[allow(clippy::type_complexity, reason = "a tuple of lists is what Python takes apart")]
    fn get_raw(&self, env: usize) -> PyResult<(Vec<[f64; 2]>, Vec<[f64; 2]>, Vec<f64>, Vec<u32>)> {
        let mut inner = self.lock();
        let raw = self.particles(&mut inner, env)?.0.raw();
        Ok((raw.pos, raw.vel, raw.comm, raw.marks))
    }

    /// Puts the particles into a state; the episode's steps count from there.
    fn set_raw(&self, env: usize, pos: Vec<[f64; 2]>, vel: Vec<[f64; 2]>, comm: Vec<f64>, marks: Vec<u32>) -> PyResult<()> {
        self.with_frame(env, |replay, frame| replay.set_raw(&RawState { pos, vel, comm, marks }, frame))
    }

    /// Starts the episode that mpe2's `reset(seed=numpy_seed)` starts.
    fn reset_from(&self, env: usize, numpy_seed: u64) -> PyResult<()> {
        self.with_frame(env, |replay, frame| {
            replay.reset_from(numpy_seed, frame);
            Ok(())
        })
    }
}

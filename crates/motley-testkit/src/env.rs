//! An environment that fails when told to, around any other.
//!
//! ```
//! use motley_core::{Env, FrameBuf, Purpose, Stream};
//! use motley_testkit::env::{Fault, FaultyEnv, When};
//! use motley_testkit::probe::{Probe, ProbeEnv};
//!
//! // A team of unlike agents whose second reset fails.
//! let mut env = FaultyEnv::new(Box::new(ProbeEnv::new(Probe::RaggedEp, 10)), Fault::ResetError, When::Call(1));
//! let mut buf = FrameBuf::new(env.spec());
//! let stream = Stream::new(0, Purpose::Check, 0, 0);
//! assert!(env.reset(stream.clone(), &mut buf.frame()).is_ok());
//! assert!(env.reset(stream, &mut buf.frame()).is_err());
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use motley_core::rng::StreamState;
use motley_core::{Actions, Env, EnvError, Frame, Purpose, Status, Stream, TeamSpec};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// `step` returns an error.
    StepError,
    /// `step` panics.
    StepPanic,
    /// `reset` returns an error.
    ResetError,
    /// `reset` panics.
    ResetPanic,
    /// The last agent's first observation entry is this.
    Obs(f32),
    /// The first entry of the state is this.
    State(f32),
    /// The first agent is paid this.
    Reward(f64),
    /// The last agent's observation is left as the caller's memory held it.
    Unwritten,
    /// The first agent that has a mask has nothing to do. The team then says that it has masks.
    NoAction,
    /// The first agent dies, and is alive again one step later. The team then says that it has deaths.
    Revive,
    /// `step` says that the first agent's observation does not fit its space.
    Misshaped,
    /// `step` takes so long.
    Sleep(Duration),
}

impl Fault {
    fn is_of_reset(self) -> bool {
        matches!(self, Self::ResetError | Self::ResetPanic)
    }
}

/// When it goes wrong. Calls are those of the faulty method (`reset` for faults of a reset, else `step`) since the copy was
/// built or restored, numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// Never.
    Never,
    /// At this one call.
    Call(u64),
    /// At this call and all after it.
    From(u64),
    /// At this step of every episode, numbered from 0.
    EpisodeStep(u64),
    /// At each call with this probability, drawn from a fork of the episode's stream: a function of the seed.
    Chance(f64),
}

/// Any environment, with a [`Fault`].
pub struct FaultyEnv {
    inner: Box<dyn Env>,
    spec: Arc<TeamSpec>,
    fault: Fault,
    when: When,
    snapshots: bool,
    obeys_seed: bool,
    endless: bool,
    resets: u64,
    steps: u64,
    episode_step: u64,
    luck: Stream,
    /// The first agent died in the last step and comes back in the next one.
    revives: bool,
}

/// Names the fork of an episode's stream that faults are drawn from.
const LUCK: u64 = 0xFA17;

/// What an environment that ignores its seed uses instead.
static DISOBEDIENCE: AtomicU64 = AtomicU64::new(0);

impl FaultyEnv {
    /// `inner` with a fault.
    pub fn new(inner: Box<dyn Env>, fault: Fault, when: When) -> Self {
        let mut spec = TeamSpec::clone(inner.spec());
        spec.masks |= fault == Fault::NoAction;
        spec.deaths |= fault == Fault::Revive;
        Self {
            inner,
            spec: Arc::new(spec),
            fault,
            when,
            snapshots: true,
            obeys_seed: true,
            endless: false,
            resets: 0,
            steps: 0,
            episode_step: 0,
            luck: Stream::new(0, Purpose::Check, 0, LUCK),
            revives: false,
        }
    }

    /// It keeps no snapshots: a run must replay its actions.
    #[must_use]
    pub fn without_snapshots(mut self) -> Self {
        self.snapshots = false;
        self
    }

    /// Every reset starts another episode, whatever the stream.
    #[must_use]
    pub fn ignoring_seeds(mut self) -> Self {
        self.obeys_seed = false;
        self
    }

    /// Episodes never end: where the inner one does, the next begins unseen. The team then has no step limit, and nobody dies.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.endless = true;
        let mut spec = TeamSpec::clone(&self.spec);
        (spec.step_limit, spec.deaths) = (None, false);
        self.spec = Arc::new(spec);
        self
    }

    /// The team is said to be what `change` makes of it; what is written stays as it was.
    #[must_use]
    pub fn claiming(mut self, change: impl FnOnce(&mut TeamSpec)) -> Self {
        let mut spec = TeamSpec::clone(&self.spec);
        change(&mut spec);
        self.spec = Arc::new(spec);
        self
    }

    fn strikes(&mut self, call: u64) -> bool {
        match self.when {
            When::Never => false,
            When::Call(at) => call == at,
            When::From(at) => call >= at,
            When::EpisodeStep(at) => self.episode_step == at,
            When::Chance(p) => self.luck.bernoulli(p),
        }
    }

    fn spoil(&mut self, out: &mut Frame<'_>) {
        let last = self.spec.obs_range(self.spec.n() - 1).start;
        match self.fault {
            Fault::Obs(value) => out.obs[last] = value,
            Fault::State(value) => out.state[0] = value,
            Fault::Reward(value) => out.rewards[0] = value,
            Fault::NoAction => {
                let masks = (0..self.spec.n()).map(|i| self.spec.mask_range(i));
                if let Some(mask) = masks.into_iter().find(|m| !m.is_empty()) {
                    out.avail[mask].fill(false);
                }
            }
            Fault::Revive => {
                out.alive[0] = false;
                self.revives = true;
            }
            _ => {}
        }
    }
}

impl Env for FaultyEnv {
    fn spec(&self) -> &Arc<TeamSpec> {
        &self.spec
    }

    #[allow(clippy::panic)]
    fn reset(&mut self, stream: Stream, out: &mut Frame<'_>) -> Result<(), EnvError> {
        let stream = if self.obeys_seed {
            stream
        } else {
            Stream::new(DISOBEDIENCE.fetch_add(1, Ordering::Relaxed), Purpose::Check, 0, LUCK)
        };
        self.luck = stream.fork(LUCK);
        (self.episode_step, self.revives) = (0, false);
        let call = self.resets;
        self.resets += 1;
        if self.fault.is_of_reset() && self.strikes(call) {
            if self.fault == Fault::ResetPanic {
                panic!("a planned panic in reset");
            }
            return Err(EnvError::Failed("a planned failure of reset".into()));
        }
        self.inner.reset(stream, out)
    }

    #[allow(clippy::panic)]
    fn step(&mut self, actions: Actions<'_>, out: &mut Frame<'_>) -> Result<Status, EnvError> {
        let call = self.steps;
        self.steps += 1;
        let strikes = !self.fault.is_of_reset() && self.strikes(call);
        self.episode_step += 1;
        match self.fault {
            Fault::StepError if strikes => return Err(EnvError::Failed("a planned failure of step".into())),
            Fault::StepPanic if strikes => panic!("a planned panic in step"),
            Fault::Misshaped if strikes => {
                return Err(EnvError::Misshaped {
                    where_: format!("observation of agent \"{}\"", self.spec.agents[0].name),
                    expected: "shape (6,)".into(),
                    found: "shape (7,)".into(),
                });
            }
            Fault::Sleep(time) if strikes => std::thread::sleep(time),
            _ => {}
        }
        let kept: Option<Vec<f32>> = (strikes && self.fault == Fault::Unwritten).then(|| out.obs.to_vec());
        let mut status = self.inner.step(actions, out)?;
        if let Some(kept) = kept {
            let row = self.spec.obs_range(self.spec.n() - 1);
            out.obs[row.clone()].copy_from_slice(&kept[row]);
        }
        if self.endless && status.done() {
            let next = self.luck.fork(self.steps);
            self.inner.reset(next, out)?;
            status = Status::Running;
        }
        if self.endless {
            out.alive.fill(true);
        }
        if std::mem::take(&mut self.revives) {
            out.alive[0] = true;
        } else if strikes {
            self.spoil(out);
        }
        Ok(status)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        if !self.snapshots {
            return None;
        }
        let inner = self.inner.snapshot()?;
        let StreamState { key, pos } = self.luck.state();
        let own = [self.resets, self.steps, self.episode_step, key, pos, u64::from(self.revives)];
        Some(own.iter().flat_map(|x| x.to_le_bytes()).chain(inner).collect())
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), EnvError> {
        let Some((own, inner)) = snapshot.split_at_checked(48) else {
            return Err(EnvError::Failed("these bytes are no snapshot".into()));
        };
        let (words, _) = own.as_chunks::<8>();
        let word = |k: usize| u64::from_le_bytes(words[k]);
        (self.resets, self.steps, self.episode_step) = (word(0), word(1), word(2));
        self.luck = Stream::from_state(StreamState { key: word(3), pos: word(4) });
        self.revives = word(5) == 1;
        self.inner.restore(inner)
    }

    fn won(&self) -> Option<bool> {
        self.inner.won()
    }
}

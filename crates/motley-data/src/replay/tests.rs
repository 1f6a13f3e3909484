//! The memory against a list that forgets nothing, and the walk against sums written out.

use motley_core::{ActionSpace, AgentSpec, Frame, FrameBuf, ObsSpace, Purpose, RewardKind, StateSpace};
use proptest::prelude::*;
use std::convert::Infallible;

use super::*;
use crate::LoadError;

const GAMMA: f64 = 0.9;

/// Unlike agents; the second can die and has a no-op.
fn team() -> Arc<TeamSpec> {
    let agent = |name: &str, obs, action| AgentSpec::new(name, name, ObsSpace::vector(obs), action);
    let mut agents = vec![agent("a", 2, ActionSpace::uniform_box(2, -1.0, 1.0)), agent("b", 3, ActionSpace::Discrete(3))];
    agents[1].noop = Some(2);
    let mut team = TeamSpec::new("test/replay", agents);
    (team.state, team.reward, team.masks, team.deaths) = (StateSpace::Fp(2), RewardKind::Own, true, true);
    Arc::new(team)
}

/// What one step was, and what truly followed it.
#[derive(Clone)]
struct Step {
    frame: FrameBuf,
    actions: Vec<f32>,
    rewards: Vec<f64>,
    status: Status,
    next: FrameBuf,
    /// Whether the next entry of the list is the step that followed.
    goes_on: bool,
}

/// Environments that number their frames, die, end and fail by chance; what they did is kept in full.
struct World {
    team: Arc<TeamSpec>,
    rng: Stream,
    frames: u32,
    roll: Rollout,
    past: Vec<Vec<Step>>,
}

impl World {
    fn new(envs: usize, steps: usize, seed: u64) -> Self {
        let team = team();
        let roll = Rollout::new(Arc::clone(&team), envs, steps, 0);
        let mut world =
            Self { roll, past: vec![Vec::new(); envs], rng: Stream::new(seed, Purpose::Check, 0, 0), frames: 0, team };
        for e in 0..envs {
            let mut first = world.frame(true);
            world.roll.lanes[e].put(0, &view(&mut first));
        }
        world
    }

    fn frame(&mut self, alive: bool) -> FrameBuf {
        let mut buf = FrameBuf::new(&self.team);
        self.frames += 1;
        let (number, rng) = (self.frames as f32, &mut self.rng);
        buf.obs.iter_mut().chain(&mut buf.state).enumerate().for_each(|(k, x)| *x = number + k as f32 / 16.0);
        buf.avail.iter_mut().for_each(|a| *a = rng.bernoulli(0.5));
        buf.alive[1] = alive;
        buf
    }

    /// One rollout; returns nothing, remembers all.
    fn play(&mut self) {
        self.roll.carry();
        for e in 0..self.roll.envs() {
            for t in 0..self.roll.steps() {
                let mut here = FrameBuf::new(&self.team);
                self.roll.lanes[e].get(t, &mut here);
                let alive = here.alive[1] && !self.rng.bernoulli(0.2);
                let fails = self.rng.bernoulli(0.1);
                let status = match self.rng.below(6) {
                    0 if !fails => Status::Terminated,
                    1 if !fails => Status::Truncated,
                    _ => Status::Running,
                };
                let mut next = self.frame(alive || fails);
                let actions: Vec<f32> = vec![self.rng.uniform_f32(), self.rng.uniform_f32(), self.rng.below(3) as f32];
                let rewards: Vec<f64> = (0..2).map(|_| f64::from(self.rng.normal() as f32)).collect();
                let lane = &mut self.roll.lanes[e];
                lane.actions[3 * t..3 * t + 3].copy_from_slice(&actions);
                lane.rewards[2 * t..2 * t + 2].copy_from_slice(&rewards);
                (lane.status[t], lane.valid[t]) = (status, !fails);
                lane.first[t + 1] = fails || status.done();
                if fails {
                    if let Some(before) = self.past[e].last_mut() {
                        before.goes_on = false;
                    }
                } else {
                    let goes_on = !status.done();
                    self.past[e].push(Step { frame: here, actions, rewards, status, next: next.clone(), goes_on });
                }
                if status.done() {
                    self.roll.lanes[e].put_final(t, &view(&mut next));
                    next = self.frame(true);
                }
                self.roll.lanes[e].put(t + 1, &view(&mut next));
            }
        }
    }
}

/// The frame as it was written (a prepared one would be all alive).
fn view(buf: &mut FrameBuf) -> Frame<'_> {
    Frame { obs: &mut buf.obs, state: &mut buf.state, avail: &mut buf.avail, rewards: &mut buf.rewards, alive: &mut buf.alive }
}

fn own(rewards: &[f64], _: &[bool], into: &mut [f32]) {
    into.iter_mut().zip(rewards).for_each(|(to, r)| *to = *r as f32);
}

/// What the memory shows at a place is this frame, the dead wiped.
fn same_frame(memory: &Replay, at: Place, frame: &FrameBuf) {
    assert_eq!(memory.obs(at, 0), &frame.obs[..2]);
    assert_eq!((memory.state(at, 0), memory.state(at, 1)), (&frame.state[..2], &frame.state[2..]));
    assert_eq!((memory.alive(at, 0), memory.alive(at, 1)), (true, frame.alive[1]));
    if frame.alive[1] {
        assert_eq!(memory.obs(at, 1), &frame.obs[2..]);
        assert!(memory.avail(at, 1).iter().zip(&frame.avail).all(|(a, b)| (*a == 1) == *b));
    } else {
        assert_eq!((memory.obs(at, 1), memory.avail(at, 1)), (&[0.0; 3][..], &[0, 0, 1][..]));
    }
}

/// Every transition in memory against the list: the newest ones of each environment, n-step sums, what follows.
fn check(memory: &Replay, world: &World, n_step: usize, seed: u64) {
    let mut rng = Stream::new(seed, Purpose::Check, 0, 0);
    let all = memory.sample(usize::MAX, n_step, GAMMA, &mut rng);
    assert_eq!(all.at.len(), memory.len());
    let mut seen = HashSet::new();
    for (k, at) in all.at.iter().enumerate() {
        let past = &world.past[at.lane as usize];
        let number = memory.obs(*at, 0)[0];
        let i = past.iter().position(|s| s.frame.obs[0] == number).expect("a step that was taken");
        assert!(seen.insert((at.lane, i)));
        let step = &past[i];
        same_frame(memory, *at, &step.frame);
        assert_eq!(memory.action(*at, 0), &step.actions[..2]);
        let b = if step.frame.alive[1] { step.actions[2] } else { 2.0 };
        assert_eq!(memory.action(*at, 1), [b]);
        // The walk, written out.
        let (mut last, mut sums) = (i, [0.0; 2]);
        for m in 0..n_step {
            last = i + m;
            (0..2).for_each(|j| sums[j] += GAMMA.powi(m as i32) * past[last].rewards[j]);
            if !past[last].goes_on || last + 1 == past.len() {
                break;
            }
        }
        (0..2).for_each(|j| assert!((f64::from(all.returns[2 * k + j]) - sums[j]).abs() < 1e-5));
        if past[last].status == Status::Terminated {
            assert_eq!(all.discount[k], 0.0);
        } else {
            assert!((f64::from(all.discount[k]) - GAMMA.powi((last - i) as i32 + 1)).abs() < 1e-6);
            same_frame(memory, all.next[k], &past[last].next);
            let shown = memory.after_reset(all.next[k]);
            match past.get(last + 1) {
                Some(step) if past[last].status == Status::Truncated => same_frame(memory, shown, &step.frame),
                // Also before a hole, behind which another episode begins.
                _ if past[last].status == Status::Running || past[last].goes_on => assert_eq!(shown, all.next[k]),
                _ => {}
            }
        }
    }
    // What is kept are the newest without a gap.
    for (e, past) in world.past.iter().enumerate() {
        let kept = seen.iter().filter(|(lane, _)| *lane as usize == e).map(|(_, i)| *i).collect::<Vec<_>>();
        assert!(kept.iter().all(|i| *i >= past.len() - kept.len()), "environment {e} keeps {kept:?} of {}", past.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// T24: with unlike agents, deaths, holes, both kinds of end, and rings that went round several times.
    #[test]
    fn what_is_drawn_is_what_happened(
        envs in 1usize..4, steps in 1usize..9, rounds in 1usize..8, capacity in 3usize..60, n_step in 1usize..6, seed in 0u64..1000,
    ) {
        let mut world = World::new(envs, steps, seed);
        let mut memory = Replay::new(team(), envs, capacity, 2);
        for _ in 0..rounds {
            world.play();
            memory.push(&world.roll, &own);
            check(&memory, &world, n_step, seed);
            let mut again = Replay::new(team(), envs, capacity, 2);
            load(&mut again, &save(&memory)).unwrap();
            prop_assert!(again.rings == memory.rings && again.floats == memory.floats && again.flags == memory.flags);
        }
        let taken: usize = world.past.iter().map(Vec::len).sum();
        prop_assert!(memory.len() <= taken && memory.len() <= capacity + 2 * envs);
        let roomy = 2 * steps * rounds * envs;
        prop_assert!(capacity < roomy || memory.len() == taken, "nothing is lost while there is room");
    }
}

#[test]
fn draws_are_different_and_evenly_likely() {
    let mut world = World::new(3, 20, 5);
    let mut memory = Replay::new(team(), 3, 45, 2);
    (0..4).for_each(|_| {
        world.play();
        memory.push(&world.roll, &own);
    });
    let total = memory.len();
    // Both ways of drawing: few of many, and most of all.
    for count in [total / 4, 3 * total / 4] {
        let mut hits = std::collections::HashMap::new();
        let rounds = 4000;
        for round in 0..rounds {
            let drawn = memory.draw(count, &mut Stream::new(round, Purpose::Check, 0, 0));
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), count);
            drawn.into_iter().for_each(|at| *hits.entry(at).or_insert(0u32) += 1);
        }
        let expected = rounds as f64 * count as f64 / total as f64;
        assert_eq!(hits.len(), total);
        assert!(hits.values().all(|h| (f64::from(*h) - expected).abs() < 6.0 * expected.sqrt()), "{hits:?} {expected}");
    }
}

/// An environment that could not be brought back begins anew: what its last step led to stays what it was.
#[test]
fn a_new_episode_after_a_resume_is_not_the_old_one() {
    let mut world = World::new(1, 4, 8);
    let mut memory = Replay::new(team(), 1, 100, 2);
    let mut resumed = false;
    for _ in 0..20 {
        world.play();
        memory.push(&world.roll, &own);
        if !world.roll.lanes[0].first[4] {
            let mut anew = world.frame(true);
            world.roll.lanes[0].put(4, &view(&mut anew));
            world.roll.lanes[0].first[4] = true;
            world.past[0].last_mut().unwrap().goes_on = false;
            resumed = true;
        }
        check(&memory, &world, 3, 1);
    }
    assert!(resumed);
}

#[test]
fn damaged_memories_are_refused() {
    let mut world = World::new(2, 9, 3);
    let mut memory = Replay::new(team(), 2, 30, 2);
    world.play();
    memory.push(&world.roll, &own);
    let good = save(&memory);
    let anew = |saved: &Saved| load(&mut Replay::new(team(), 2, 30, 2), saved);
    assert_eq!(anew(&good), Ok(()));
    for (k, more) in [1, u64::MAX, 1].into_iter().enumerate() {
        let mut bad = good.clone();
        bad.rings[4 + k] = bad.rings[4 + k].wrapping_add(more);
        assert!(anew(&bad).is_err(), "entry {k}");
    }
    let (mut short, mut kinds, mut more) = (good.clone(), good.clone(), good.clone());
    short.pieces[0].pop();
    kinds.pieces[0].iter_mut().for_each(|f| *f = 9);
    more.pieces.push(Vec::new());
    assert!(anew(&short).is_err() && anew(&kinds).is_err() && anew(&more).is_err());
    // The third action is a choice among three.
    let mut odd = good.clone();
    let at = 4 * (memory.action_at + 2);
    odd.pieces[0][at..at + 4].copy_from_slice(&3.0_f32.to_le_bytes());
    assert!(anew(&odd).unwrap_err().to_string().contains("actions"));
    assert!(load(&mut Replay::new(team(), 3, 30, 2), &good).is_err());
}

/// Everything that a memory holds.
#[derive(Clone)]
struct Saved {
    rings: Vec<u64>,
    pieces: Vec<Vec<u8>>,
}

fn save(memory: &Replay) -> Saved {
    let piece = |k| {
        let mut bytes = Vec::new();
        memory.write_piece(k, &mut bytes);
        bytes
    };
    Saved { rings: memory.numbers(), pieces: (0..memory.stamps().len()).map(piece).collect() }
}

fn load(memory: &mut Replay, saved: &Saved) -> Result<(), LoadError<Infallible>> {
    memory.load(&saved.rings, saved.pieces.iter().map(Ok))
}

/// What a piece could not be read for is handed on, and nothing is asked for after it.
#[test]
fn a_piece_that_cannot_be_read_is_told() {
    let mut world = World::new(1, 9, 3);
    let mut memory = Replay::new(team(), 1, 30, 2);
    world.play();
    memory.push(&world.roll, &own);
    let pieces = [Err("torn"), Ok(Vec::new())].into_iter().chain(std::iter::once_with(|| panic!("asked for more")));
    let mut other = Replay::new(team(), 1, 30, 2);
    assert_eq!(other.load::<Vec<u8>, _>(&memory.numbers(), pieces), Err(LoadError::Piece("torn")));
}

/// What was full stays the same piece until it is overwritten.
#[test]
fn few_pieces_change_between_two_saves() {
    let mut world = World::new(2, 200, 3);
    let mut memory = Replay::new(team(), 2, 400_000, 2);
    for _ in 0..500 {
        world.play();
        world.past.iter_mut().for_each(Vec::clear);
        memory.push(&world.roll, &own);
    }
    let (before, stamps) = (save(&memory), memory.stamps().to_vec());
    world.play();
    memory.push(&world.roll, &own);
    let after = save(&memory);
    assert!(before.pieces.len() >= 4 && after.pieces.len() <= before.pieces.len() + 1);
    let same: Vec<bool> = before.pieces.iter().zip(&after.pieces).map(|(a, b)| a == b).collect();
    assert!(same.iter().filter(|same| **same).count() + 1 >= before.pieces.len(), "{same:?}");
    // Their stamps say so.
    let kept: Vec<bool> = stamps.iter().zip(memory.stamps()).map(|(a, b)| a == b).collect();
    assert_eq!(kept, same);
}

#[test]
fn memory_is_counted_before_it_is_taken() {
    let team = team();
    // Few slots dealt to many copies are more than asked for.
    for (envs, capacity) in [(3, 1000), (1000, 1000), (1, 1)] {
        let memory = Replay::new(Arc::clone(&team), envs, capacity, 2);
        let taken = 4 * memory.floats.len() + memory.flags.len();
        assert_eq!(Replay::bytes(&team, envs, capacity, 2), Some(taken), "{envs} {capacity}");
    }
    assert_eq!(Replay::bytes(&team, 1, usize::MAX, 2), None);
}

/// Ends that a limit cuts take slots, so a full memory holds fewer steps than slots.
#[test]
fn a_memory_is_full_before_it_holds_as_many_steps() {
    let mut world = World::new(1, 50, 4);
    let mut memory = Replay::new(team(), 1, 40, 2);
    assert!(!memory.is_full());
    world.play();
    memory.push(&world.roll, &own);
    assert!(memory.is_full() && memory.len() < 40, "{}", memory.len());
}

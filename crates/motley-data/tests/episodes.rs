//! Episode replay against a list of episodes that is kept the naive way.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::convert::Infallible;
use std::sync::Arc;

use motley_core::{ActionSpace, AgentSpec, FrameBuf, ObsSpace, Purpose, Status, Stream, TeamSpec};
use motley_data::LoadError;
use motley_data::episodes::{EpisodeReplay, EpisodeShape};
use motley_data::rollout::Rollout;
use proptest::prelude::*;

const SLOT: usize = 6;

/// Unlike agents, masks and deaths.
fn team() -> Arc<TeamSpec> {
    let agent = |name: &str, obs, n| AgentSpec::new(name, name, ObsSpace::vector(obs), ActionSpace::Discrete(n));
    let mut team = TeamSpec::new("test/replay", vec![agent("a", 2, 3), agent("b", 3, 2)]);
    (team.masks, team.deaths) = (true, true);
    Arc::new(team)
}

/// What one environment lived through: frames are numbered, and everything in a frame is made from its number.
#[derive(Clone, Debug)]
struct Story {
    frames: Vec<usize>,
    end: Status,
    hole: bool,
}

fn fill(buf: &mut FrameBuf, id: usize) {
    buf.obs.iter_mut().enumerate().for_each(|(k, x)| *x = (10 * id + k) as f32);
    buf.state.iter_mut().enumerate().for_each(|(k, x)| *x = -((10 * id + k) as f32));
    buf.avail.iter_mut().enumerate().for_each(|(k, x)| *x = (id >> k) & 1 == 1);
    buf.alive.iter_mut().enumerate().for_each(|(k, x)| *x = (id >> (k + 1)) & 1 == 1);
}

/// Episodes of random lengths, some ended by a hole, as long as the rollouts together.
fn stories(env: usize, steps: usize, rng: &mut Stream) -> Vec<Story> {
    let (mut told, mut all, mut id) = (0, Vec::new(), 1000 * env);
    while told < steps {
        let length = 1 + rng.below(14) as usize;
        let hole = rng.bernoulli(0.2);
        let end = if hole || rng.bernoulli(0.5) { Status::Truncated } else { Status::Terminated };
        all.push(Story { frames: (id..=id + length).collect(), end, hole });
        (told, id) = (told + length, id + length + 1);
    }
    all
}

/// The rollouts that a collector would have written.
fn rollouts(team: &Arc<TeamSpec>, envs: &[Vec<Story>], steps: usize, count: usize) -> Vec<Rollout> {
    let mut rolls: Vec<Rollout> = (0..count).map(|_| Rollout::new(Arc::clone(team), envs.len(), steps, 0)).collect();
    let mut buf = FrameBuf::new(team);
    for (e, stories) in envs.iter().enumerate() {
        // (frame before the step, whether it starts an episode, status, valid, true next frame where the episode ends)
        let mut line = Vec::new();
        for story in stories {
            let length = story.frames.len() - 1;
            for t in 0..length {
                let last = t + 1 == length;
                let status = if last && !story.hole { story.end } else { Status::Running };
                line.push((story.frames[t], t == 0, status, !(last && story.hole), story.frames[t + 1]));
            }
        }
        line.push((0, true, Status::Running, true, 0));
        for (r, roll) in rolls.iter_mut().enumerate() {
            let lane = &mut roll.lanes[e];
            for t in 0..=steps {
                let Some(&(id, first, status, valid, next)) = line.get(r * steps + t) else { continue };
                fill(&mut buf, id);
                lane.put(t, &buf_frame(&mut buf));
                lane.first[t] = first;
                if t < steps {
                    (lane.status[t], lane.valid[t]) = (status, valid);
                    lane.actions[2 * t..2 * t + 2].copy_from_slice(&[(id % 3) as f32, (id % 2) as f32]);
                    lane.rewards[2 * t..2 * t + 2].copy_from_slice(&[id as f64 * 0.1, id as f64 * 0.2]);
                    lane.log_probs[2 * t..2 * t + 2].copy_from_slice(&[-(id as f32), 1.0 - id as f32]);
                    if status.done() {
                        fill(&mut buf, next);
                        lane.put_final(t, &buf_frame(&mut buf));
                    }
                }
            }
        }
    }
    rolls
}

/// A frame over the buffer that keeps what is in it.
fn buf_frame(buf: &mut FrameBuf) -> motley_core::Frame<'_> {
    motley_core::Frame {
        obs: &mut buf.obs,
        state: &mut buf.state,
        avail: &mut buf.avail,
        rewards: &mut buf.rewards,
        alive: &mut buf.alive,
    }
}

/// Whole episodes and pieces in the order in which a rollout finishes them.
fn expected(envs: &[Vec<Story>], steps: usize, count: usize) -> Vec<(Vec<usize>, bool)> {
    let mut all = Vec::new();
    for (e, stories) in envs.iter().enumerate() {
        let mut from = 0;
        for story in stories {
            let length = story.frames.len() - 1;
            let good = if story.hole { length - 1 } else { length };
            for start in (0..good).step_by(SLOT) {
                let stop = (start + SLOT).min(good);
                // A piece is done when it is full, when its episode ends, or never.
                if stop - start < SLOT && story.hole {
                    continue;
                }
                // A full piece is stored at its last step even if the episode ends just there.
                let terminated = stop == length && story.end == Status::Terminated;
                let at = from + stop - 1;
                if at < steps * count {
                    all.push(((at / steps, e, at), (story.frames[start..=stop].to_vec(), terminated)));
                }
            }
            from += length;
        }
    }
    all.sort_by_key(|a| a.0);
    all.into_iter().map(|a| a.1).collect()
}

fn check(replay: &EpisodeReplay, slot: usize, frames: &[usize], terminated: bool) {
    let team = team();
    let mut buf = FrameBuf::new(&team);
    assert_eq!((replay.length(slot), replay.terminated(slot)), (frames.len() - 1, terminated));
    for (t, &id) in frames.iter().enumerate() {
        fill(&mut buf, id);
        assert_eq!(replay.state(slot, t), buf.state);
        for i in 0..2 {
            assert_eq!(replay.obs(slot, t, i), &buf.obs[team.obs_range(i)]);
            assert_eq!(replay.avail(slot, t, i), &buf.avail[team.mask_range(i)]);
            assert_eq!(replay.alive(slot, t, i), buf.alive[i]);
        }
        let noted = if t + 1 == frames.len() { frames[t - 1] } else { id };
        assert_eq!(replay.notes(slot, t), [noted as f32 + 0.25]);
        if t + 1 < frames.len() {
            assert_eq!((replay.action(slot, t, 0), replay.action(slot, t, 1)), (&[(id % 3) as f32][..], &[(id % 2) as f32][..]));
            assert_eq!(replay.rewards(slot, t), [id as f64 * 0.1, id as f64 * 0.2]);
            assert_eq!((replay.log_prob(slot, t, 0), replay.log_prob(slot, t, 1)), (-(id as f32), 1.0 - id as f32));
        }
    }
}

fn extend(replay: &mut EpisodeReplay, roll: &Rollout) {
    replay.extend(roll, &mut |e, t, into| into[0] = 0.25 - roll.lanes[e].log_probs[2 * t]);
}

/// Everything that a replay holds.
#[derive(Debug, Clone, PartialEq)]
struct Saved {
    counters: Vec<u64>,
    pieces: Vec<Vec<u8>>,
    running: Vec<u8>,
}

fn save(replay: &EpisodeReplay) -> Saved {
    let piece = |k| {
        let mut bytes = Vec::new();
        replay.write_piece(k, &mut bytes);
        bytes
    };
    let pieces = (0..replay.stamps().len()).map(piece).collect();
    Saved { counters: replay.counters(), pieces, running: replay.unfinished() }
}

fn load(replay: &mut EpisodeReplay, saved: &Saved) -> Result<(), LoadError<Infallible>> {
    replay.load(&saved.counters, saved.pieces.iter().map(Ok), &saved.running)
}

/// A second replay with the same content, by way of what is saved.
fn copied(replay: &EpisodeReplay, shape: EpisodeShape) -> EpisodeReplay {
    let mut other = EpisodeReplay::new(team(), shape);
    load(&mut other, &save(replay)).unwrap();
    assert_eq!(save(&other), save(replay));
    other
}

/// One environment's rollout of whole episodes that terminate after `length` steps; observations count from `from`.
fn whole(team: &Arc<TeamSpec>, episodes: usize, length: usize, from: usize) -> Rollout {
    let mut roll = Rollout::new(Arc::clone(team), 1, episodes * length, 0);
    let lane = &mut roll.lanes[0];
    let mut buf = FrameBuf::new(team);
    for t in 0..episodes * length {
        fill(&mut buf, from + t);
        lane.put(t, &buf_frame(&mut buf));
        lane.first[t] = t % length == 0;
        if (t + 1) % length == 0 {
            lane.status[t] = Status::Terminated;
            lane.put_final(t, &buf_frame(&mut buf));
        }
    }
    roll
}

proptest! {
    /// T24 for episodes: the ring's content, wrapped around, is the naive list's newest part; holes drop episodes, long ones
    /// come in pieces, unfinished ones go on in the next rollout, also from a copy made in between.
    #[test]
    fn the_ring_holds_the_newest_episodes(seed in any::<u64>(), envs in 1usize..4, steps in 1usize..9, slots in 1usize..12) {
        let (team, count) = (team(), 10);
        let mut rng = Stream::new(seed, Purpose::Check, 0, 0);
        let told: Vec<Vec<Story>> = (0..envs).map(|e| stories(e, steps * count, &mut rng)).collect();
        let shape = EpisodeShape { episodes: slots, steps: SLOT, notes: 1 };
        let mut replay = EpisodeReplay::new(Arc::clone(&team), shape);
        for (k, roll) in rollouts(&team, &told, steps, count).iter().enumerate() {
            extend(&mut replay, roll);
            if k % 4 == 1 {
                replay = copied(&replay, shape);
            }
        }
        let all = expected(&told, steps, count);
        prop_assert_eq!(replay.len(), all.len().min(slots));
        for (k, (frames, terminated)) in all.iter().enumerate().skip(all.len().saturating_sub(slots)) {
            check(&replay, k % slots, frames, *terminated);
        }
    }

    #[test]
    fn samples_are_distinct_and_in_range(seed in any::<u64>(), stored in 1usize..30, count in 0usize..35) {
        let team = team();
        let mut replay = EpisodeReplay::new(Arc::clone(&team), EpisodeShape { episodes: 40, steps: 2, notes: 0 });
        let mut roll = Rollout::new(team, 1, stored, 0);
        let mut buf = FrameBuf::new(&self::team());
        for t in 0..stored {
            roll.lanes[0].status[t] = Status::Terminated;
            roll.lanes[0].put_final(t, &buf.frame());
        }
        replay.extend(&roll, &mut |_, _, _| {});
        match replay.sample(count, &mut Stream::new(seed, Purpose::Check, 0, 0)) {
            None => prop_assert!(count > stored),
            Some(mut picked) => {
                prop_assert_eq!(picked.len(), count);
                picked.sort_unstable();
                picked.dedup();
                prop_assert!(picked.len() == count && picked.iter().all(|s| *s < stored));
            }
        }
    }
}

/// Every pair of 5 is drawn equally often: 10,000 of each in 100,000, deviation 95.
#[test]
fn samples_are_uniform() {
    let team = team();
    let mut replay = EpisodeReplay::new(Arc::clone(&team), EpisodeShape { episodes: 5, steps: 1, notes: 0 });
    let mut roll = Rollout::new(Arc::clone(&team), 1, 5, 0);
    for t in 0..5 {
        roll.lanes[0].status[t] = Status::Terminated;
        roll.lanes[0].put_final(t, &FrameBuf::new(&team).frame());
    }
    replay.extend(&roll, &mut |_, _, _| {});
    let mut counts = std::collections::BTreeMap::<_, u32>::new();
    let mut rng = Stream::new(1, Purpose::Check, 0, 0);
    for _ in 0..100_000 {
        let mut pair = replay.sample(2, &mut rng).unwrap();
        pair.sort_unstable();
        *counts.entry(pair).or_default() += 1;
    }
    assert_eq!(counts.len(), 10);
    assert!(counts.values().all(|c| c.abs_diff(10_000) < 500), "{counts:?}");
}

/// C5: refused with the bytes, before any of them is taken; the count is that of the memory really held.
#[test]
fn what_memory_cannot_hold_is_refused() {
    let team = team();
    let shape = EpisodeShape { episodes: 1_000_000_000, steps: 25, notes: 2 };
    let text = shape.check(&team, 7, 1 << 34).unwrap_err().to_string();
    assert!(text.contains(&shape.bytes(&team, 7).unwrap().to_string()) && text.contains("17179869184"), "{text}");
    let endless = EpisodeShape { episodes: usize::MAX, steps: usize::MAX, notes: 0 };
    assert!(endless.check(&team, 0, u64::MAX).unwrap_err().to_string().contains("more bytes than can be counted"));
    let small = EpisodeShape { episodes: 3, steps: 4, notes: 2 };
    let mut replay = EpisodeReplay::new(Arc::clone(&team), small);
    replay.extend(&whole(&team, 3, 4, 0), &mut |_, _, _| {});
    let held: usize = save(&replay).pieces.iter().map(Vec::len).sum();
    let ring = small.bytes(&team, 0).unwrap();
    assert_eq!(ring, held + 3 * 9);
    // An episode that waits for its end has a slot as large as one of the ring.
    assert_eq!(small.bytes(&team, 7).unwrap(), ring + 7 * ring / 3);
    assert!(small.check(&team, 0, ring as u64).is_ok());
    assert!(small.check(&team, 1, ring as u64).unwrap_err().to_string().contains("1 environments"));
    assert_eq!(small.bytes(&team, usize::MAX), None);
}

#[test]
fn what_another_replay_saved_is_refused() {
    let shape = EpisodeShape { episodes: 3, steps: 4, notes: 0 };
    let bad: [&[u64]; 7] =
        [&[], &[0, 4, 0, 2, 2, 2, 2], &[3, 3, 0, 2, 2, 2], &[0, 1, 0, 2], &[1, 1, 0, 10], &[1, 1, 0, 0], &[0, 0, 1, 9]];
    let of = |counters: &[u64]| Saved { counters: counters.to_vec(), pieces: Vec::new(), running: Vec::new() };
    for counters in bad {
        assert!(load(&mut EpisodeReplay::new(team(), shape), &of(counters)).is_err(), "{counters:?}");
    }
    let mut replay = EpisodeReplay::new(team(), shape);
    replay.extend(&whole(&team(), 2, 3, 0), &mut |_, _, _| {});
    let good = save(&replay);
    let [mut short, mut more, mut longer, mut running] = [0; 4].map(|_| good.clone());
    short.pieces[0].pop();
    more.pieces.push(Vec::new());
    longer.counters[3] += 2;
    running.running.push(0);
    let try_load = |saved: &Saved| load(&mut EpisodeReplay::new(team(), shape), saved);
    assert!(try_load(&good).is_ok());
    // The first 0 of an action becomes 0.5: floats of a piece come before its flags, the actions before the log-probabilities.
    let mut half = good.clone();
    let (steps, team) = (3, team());
    let flags = (steps + 1) * (team.mask_len() + team.n());
    let behind = flags + 4 * steps * (team.n() + team.action_len());
    let end = half.pieces[0].len();
    half.pieces[0][end - behind..][..4].copy_from_slice(&0.5_f32.to_le_bytes());
    for (bad, word) in [(short, "piece 0"), (more, "2 pieces"), (longer, "piece 0"), (running, "unfinished"), (half, "actions")] {
        assert!(try_load(&bad).unwrap_err().to_string().contains(word), "{word}");
    }
}

/// Episodes of about a mebibyte in sixteen slots, four a piece: after two more, only the piece around them is another one.
#[test]
fn few_pieces_change_between_two_saves() {
    let mut team = TeamSpec::clone(&team());
    team.agents[0].obs = ObsSpace::vector(50_000);
    let mut wide = TeamSpec::new("test/wide", team.agents.clone());
    (wide.masks, wide.deaths) = (true, true);
    let wide = Arc::new(wide);
    let shape = EpisodeShape { episodes: 16, steps: 1, notes: 1 };
    assert!((700_000..1_048_576).contains(&(shape.bytes(&wide, 0).unwrap() / 16)));
    let mut replay = EpisodeReplay::new(Arc::clone(&wide), shape);
    for k in 0..18 {
        replay.extend(&whole(&wide, 1, 1, k), &mut |_, _, _| {});
    }
    let (before, stamps) = (save(&replay), replay.stamps().to_vec());
    for k in 18..20 {
        replay.extend(&whole(&wide, 1, 1, k), &mut |_, _, _| {});
    }
    let after = save(&replay);
    assert_eq!((before.pieces.len(), after.pieces.len()), (4, 4));
    let same: Vec<bool> = before.pieces.iter().zip(&after.pieces).map(|(a, b)| a == b).collect();
    assert_eq!(same, [false, true, true, true]);
    let kept: Vec<bool> = stamps.iter().zip(replay.stamps()).map(|(a, b)| a == b).collect();
    assert_eq!(kept, same, "stamps say so");
}

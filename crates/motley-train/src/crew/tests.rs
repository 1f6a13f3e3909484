use motley_core::{ActionSpace, AgentSpec, EnvError, FrameBuf, ObsSpace, Status, TeamSpec};
use motley_data::rollout::EpisodeEnd;

use super::wire::{put_failures, put_lanes};
use super::*;

fn team() -> Arc<TeamSpec> {
    let agent = |name: &str, obs, action| AgentSpec::new(name, name, ObsSpace::vector(obs), action);
    Arc::new(TeamSpec::new(
        "test/two",
        vec![agent("a", 2, ActionSpace::Discrete(3)), agent("b", 3, ActionSpace::uniform_box(2, -1.0, 1.0))],
    ))
}

/// Three lanes of four steps in which nothing is as it was made, with holes, deaths and ends.
fn rollout() -> Rollout {
    let mut roll = Rollout::new(team(), 3, 4, 2);
    for (e, lane) in roll.lanes.iter_mut().enumerate() {
        let number = |k: usize| (100 * e + k) as f32 + 0.1;
        lane.obs.iter_mut().enumerate().for_each(|(k, x)| *x = number(k));
        lane.state.iter_mut().enumerate().for_each(|(k, x)| *x = -number(k));
        lane.memory.iter_mut().enumerate().for_each(|(k, x)| *x = number(k) / 3.0);
        // The first of a step's three is a choice among three.
        lane.actions.iter_mut().enumerate().for_each(|(k, x)| *x = if k % 3 == 0 { (k % 2 + 1) as f32 } else { number(k) / 7.0 });
        lane.log_probs.iter_mut().enumerate().for_each(|(k, x)| *x = -number(k) / 9.0);
        lane.rewards.iter_mut().enumerate().for_each(|(k, x)| *x = f64::from(number(k)) / 11.0);
        (lane.avail[e], lane.alive[2 * e], lane.first[e + 1], lane.valid[e]) = (false, false, false, false);
        (lane.status[e], lane.status[3]) = (Status::Terminated, Status::Truncated);
    }
    let mut buf = FrameBuf::new(&team());
    for (e, time) in [(0, 1), (2, 0), (2, 3)] {
        buf.obs.fill(time as f32);
        buf.state.fill(e as f32);
        let frame = buf.frame();
        (frame.avail[e], frame.alive[1]) = (false, e == 0);
        roll.lanes[e].put_final(time, &frame);
        let won = [Some(true), None, Some(false)][e];
        roll.lanes[e].episodes.push(EpisodeEnd { time, team_return: 0.1, agent_return: 0.3, length: 7 + e, won });
    }
    roll
}

fn message(roll: &Rollout) -> Vec<u8> {
    let mut w = Stamp { envs: 4..7, steps: 8 }.writer();
    put_lanes(&roll.lanes, &mut w);
    put_failures(3, &[(4, EnvError::Failed("too hot".into())), (5, EnvError::Failed("no answer".into()))], &mut w);
    w.to_bytes().unwrap()
}

#[test]
fn lanes_arrive_as_they_were_sent() {
    let sent = rollout();
    let r = Stamp { envs: 4..7, steps: 8 }.expect(message(&sent)).unwrap();
    let mut found = Rollout::new(team(), 3, 4, 2);
    // Ends of the rollout before must not stay.
    found.lanes[1].put_final(0, &FrameBuf::new(&team()).frame());
    get_lanes(&r, &team(), 4, &mut found.lanes).unwrap();
    for (sent, found) in sent.lanes.iter().zip(&found.lanes) {
        assert_eq!((&sent.obs, &sent.state, &sent.memory), (&found.obs, &found.state, &found.memory));
        assert_eq!((&sent.avail, &sent.alive, &sent.first), (&found.avail, &found.alive, &found.first));
        assert_eq!((&sent.actions, &sent.log_probs, &sent.rewards), (&found.actions, &found.log_probs, &found.rewards));
        assert_eq!((&sent.status, &sent.valid), (&found.status, &found.valid));
        assert_eq!((&sent.finals, &sent.episodes), (&found.finals, &found.episodes));
    }
    let (count, causes) = get_failures(&r).unwrap();
    let told: Vec<(usize, String)> = causes.iter().map(|(env, cause)| (*env, cause.to_string())).collect();
    assert_eq!((count, told), (3, vec![(4, "too hot".to_owned()), (5, "no answer".to_owned())]));
}

#[test]
fn messages_of_others_are_refused() {
    let bytes = message(&rollout());
    for other in [Stamp { envs: 4..8, steps: 8 }, Stamp { envs: 4..7, steps: 12 }] {
        let text = other.expect(bytes.clone()).unwrap_err().to_string();
        assert!(text.contains("environments 4 to 7 at step 8"), "{text}");
    }
    let r = Stamp { envs: 4..7, steps: 8 }.expect(bytes).unwrap();
    assert!(get_lanes(&r, &team(), 4, &mut Rollout::new(team(), 2, 4, 2).lanes).is_err(), "fewer lanes");
    assert!(get_lanes(&r, &team(), 5, &mut Rollout::new(team(), 3, 5, 2).lanes).is_err(), "more steps");
    let mut elsewhere = StateWriter::new();
    elsewhere.put_u64("format", &[1]);
    elsewhere.put_text("motley", "0.0.0");
    let text = Stamp::open(elsewhere.to_bytes().unwrap()).unwrap_err().to_string();
    assert!(text.contains("one version on all nodes") && text.contains("0.0.0"), "{text}");
    assert!(Stamp::open(b"garbage".to_vec()).is_err());
}

#[test]
fn ends_beyond_the_rollout_are_refused() {
    let mut roll = rollout();
    roll.lanes[0].finals[0].time = 9;
    let r = Stamp { envs: 4..7, steps: 8 }.expect(message(&roll)).unwrap();
    let text = get_lanes(&r, &team(), 4, &mut Rollout::new(team(), 3, 4, 2).lanes).unwrap_err().to_string();
    assert!(text.contains("steps below 4"), "{text}");
}

#[test]
fn what_no_environment_plays_is_refused() {
    let refused = |change: &dyn Fn(&mut Rollout), expected: &str| {
        let mut roll = rollout();
        change(&mut roll);
        let r = Stamp { envs: 4..7, steps: 8 }.expect(message(&roll)).unwrap();
        let text = get_lanes(&r, &team(), 4, &mut Rollout::new(team(), 3, 4, 2).lanes).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    for odd in [3.0, 0.5, -1.0, f32::NAN] {
        refused(&|roll| roll.lanes[1].actions[6] = odd, "choices that the team has");
    }
    refused(&|roll| roll.lanes[2].finals[1].time = 0, "the earlier first");
}

#[test]
fn environments_are_dealt_in_order_and_evenly() {
    assert_eq!(deal(10, 4), [0..2, 2..5, 5..7, 7..10]);
    assert_eq!(deal(3, 1), std::iter::once(0..3).collect::<Vec<_>>());
    assert_eq!(deal(2, 5), [0..1, 1..2]);
    assert_eq!(deal(4, 0), std::iter::once(0..4).collect::<Vec<_>>());
}

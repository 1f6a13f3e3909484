//! Whether an environment is a function of its seed, tried on one copy: what exact resume of one without snapshots rests on.

use std::hash::{DefaultHasher, Hash, Hasher};

use motley_core::{Actions, Env, EnvError, FrameBuf, Purpose, Stream};

use super::{STEPS, bits, choose};

/// Plays the beginning of one episode twice, with the same stream and the same random available actions (100 steps at most).
/// `None` where both are the same, else the first frame that differs (0 is that of the reset). The copy must be reset afterwards.
///
/// # Errors
/// What the environment says; nothing is then known.
pub fn differs(env: &mut dyn Env, episode: &Stream) -> Result<Option<usize>, EnvError> {
    let (first, second) = (frames(env, episode)?, frames(env, episode)?);
    let at = first.iter().zip(&second).position(|(a, b)| a != b);
    Ok(at.or((first.len() != second.len()).then(|| first.len().min(second.len()))))
}

/// A hash of each frame.
fn frames(env: &mut dyn Env, episode: &Stream) -> Result<Vec<u64>, EnvError> {
    let team = env.spec().clone();
    let mut buf = FrameBuf::new(&team);
    let mut actions = vec![0.0; team.action_len()];
    let mut chooser = Stream::new(0, Purpose::Check, 1, 0);
    env.reset(episode.clone(), &mut buf.frame())?;
    let mut seen = vec![hash(&buf)];
    for _ in 0..STEPS {
        choose(&team, &buf.avail, &mut chooser, &mut actions).map_err(EnvError::Failed)?;
        let mut frame = buf.frame();
        frame.prepare();
        let status = env.step(Actions::new(&team, &actions), &mut frame)?;
        seen.push(hash(&buf));
        if status.done() {
            break;
        }
    }
    Ok(seen)
}

fn hash(buf: &FrameBuf) -> u64 {
    let mut hasher = DefaultHasher::new();
    bits(buf).hash(&mut hasher);
    hasher.finish()
}

//! A file of recorded runs of SMAClite, held to the sizes of its map before anything of it is played.

use std::ops::Range;

use motley_core::{ConfigError, TeamSpec};

use super::layout::MOVES_END;
use super::world::{TICKS, World};
use crate::npz::{Array, Npz};

/// Columns of a recorded unit: number, side, kind, position, velocity, health, shield, energy, cooldown, quiet time, target.
pub(super) const COLUMNS: usize = 13;
/// The column of a unit's target, -1 for none.
const TARGET: usize = 12;

/// One recorded episode of `T` steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded<'a> {
    /// Steps.
    pub(super) steps: usize,
    /// Units at the start and after every tick, `[8 T + 1, units, COLUMNS]`.
    pub(super) ticks: &'a Array,
    /// `[T, agents]`.
    pub(super) actions: &'a Array,
    /// At the start and after every step, `[T + 1, ...]`.
    pub(super) obs: &'a Array,
    /// As `obs`.
    pub(super) avail: &'a Array,
    /// As `obs`.
    pub(super) state: &'a Array,
    /// `[T]`.
    pub(super) rewards: &'a Array,
    /// Whether the episode was over after the step, `[T]`.
    pub(super) done: &'a Array,
    /// Whether the battle was won.
    pub(super) won: bool,
}

/// What a file must fit.
struct Sizes<'a> {
    name: &'a str,
    world: &'a World,
    spec: &'a TeamSpec,
}

/// The episodes of a file that is a trace of the map `name`, drawn up as `world` and `spec` say.
///
/// # Errors
/// No episode, an array that is missing or of another shape, an action or a target that does not exist, what is no number.
pub(super) fn episodes<'a>(name: &str, file: &'a Npz, world: &World, spec: &TeamSpec) -> Result<Vec<Recorded<'a>>, ConfigError> {
    let sizes = Sizes { name, world, spec };
    let there = |episode: &usize| file.names().any(|n| n == format!("ep{episode}_ticks"));
    let found = (0..).take_while(there).map(|k| sizes.episode(file, k)).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(ConfigError::Invalid(format!("{name}: the trace has no array ep0_ticks: it holds no episode")));
    }
    Ok(found)
}

impl Sizes<'_> {
    fn wrong(&self, key: &str, found: &str, expected: &str) -> ConfigError {
        ConfigError::Invalid(format!("{}: the trace's {key} has {found}, expected {expected}", self.name))
    }

    fn episode<'a>(&self, file: &'a Npz, episode: usize) -> Result<Recorded<'a>, ConfigError> {
        let (spec, units) = (self.spec, self.world.len());
        let get = |what: &str| {
            let key = format!("ep{episode}_{what}");
            file.get(&key).map(|array| (key, array))
        };
        // First what tells another map.
        let (ticks_key, ticks) = get("ticks")?;
        if ticks.shape.get(1..) != Some(&[units, COLUMNS]) {
            let found = format!("units {:?}", ticks.shape.get(1..).unwrap_or_default());
            return Err(self.wrong(&ticks_key, &found, &format!("[{units}, {COLUMNS}]")));
        }
        let (actions_key, actions) = get("actions")?;
        let steps = actions.shape.first().copied().unwrap_or(0);
        let sized = |what: &str, rows: usize, width: usize| {
            let (key, array) = get(what)?;
            self.hold(&key, array, rows, width)?;
            Ok::<_, ConfigError>(array)
        };
        let recorded = Recorded {
            steps,
            ticks: sized("ticks", steps * TICKS + 1, units * COLUMNS)?,
            actions: sized("actions", steps, spec.n())?,
            obs: sized("obs", steps + 1, spec.obs_len())?,
            avail: sized("avail", steps + 1, spec.mask_len())?,
            state: sized("state", steps + 1, spec.state_len())?,
            rewards: sized("reward", steps, 1)?,
            done: sized("done", steps, 1)?,
            won: false,
        };
        let (key, won) = get("battle_won")?;
        let [won] = won.values[..] else {
            return Err(self.wrong(&key, &format!("shape {:?}", won.shape), "one number"));
        };
        self.hold_actions(&actions_key, actions)?;
        self.hold_targets(&ticks_key, ticks)?;
        Ok(Recorded { won: won > 0.0, ..recorded })
    }

    /// An array has `rows` rows of `width` numbers.
    fn hold(&self, key: &str, array: &Array, rows: usize, width: usize) -> Result<(), ConfigError> {
        if !array.is(rows, width) {
            let (shape, numbers) = (&array.shape, array.values.len());
            let expected = format!("{rows} rows of {width} numbers");
            return Err(self.wrong(key, &format!("shape {shape:?} and {numbers} numbers"), &expected));
        }
        match array.values.iter().position(|x| !x.is_finite()) {
            Some(k) => Err(self.wrong(key, &format!("{} in row {}", array.values[k], k / width), "finite numbers")),
            None => Ok(()),
        }
    }

    /// Every action exists; that of a healer names an ally.
    fn hold_actions(&self, key: &str, actions: &Array) -> Result<(), ConfigError> {
        let (allies, foes) = (self.world.sides[0].clone(), self.world.sides[1].len());
        for (k, &action) in actions.values.iter().enumerate() {
            let (step, i) = (k / allies.len(), k % allies.len());
            let heals = self.world.stats[allies.start + i].heals();
            let count = MOVES_END + if heals { foes.min(allies.len()) } else { foes };
            if !whole(action, 0..count) {
                let found = format!("{action} for agent {i} at step {step}");
                return Err(self.wrong(key, &found, &format!("a whole number from 0 to {}", count - 1)));
            }
        }
        Ok(())
    }

    /// Every target is a unit, or nobody.
    fn hold_targets(&self, key: &str, ticks: &Array) -> Result<(), ConfigError> {
        let units = self.world.len();
        for (k, unit) in ticks.values.chunks_exact(COLUMNS).enumerate() {
            if unit[TARGET] != -1.0 && !whole(unit[TARGET], 0..units) {
                let found = format!("target {} for unit {} at tick {}", unit[TARGET], k % units, k / units);
                return Err(self.wrong(key, &found, &format!("-1 or a unit from 0 to {}", units - 1)));
            }
        }
        Ok(())
    }
}

fn whole(x: f64, range: Range<usize>) -> bool {
    x.fract() == 0.0 && x >= range.start as f64 && x < range.end as f64
}

//! The suite's settings.

use motley_core::{ConfigError, Key, Kind, TaskOptions, settings};

use super::maps::{Lineup, Map};
use super::units::Profile;

settings! {
    /// Settings of the simulator.
    pub struct Rules in "" {
        /// unit data and rules: liberty (what SMAC's maps load), liberty_multi and void_multi (the game's later balance), or smaclite
        /// (to compare with SMAClite)
        profile: String = "liberty", Profile::KIND;
        /// half a cell or less by which every unit's start is moved at random (maps with fixed starts, liberty)
        spread: f64 = 0.05, Kind::Float(0.0, 0.5);
    }
}

settings! {
    /// Settings of the contract: what agents see and do, and what they are paid for.
    pub struct Options in "" {
        /// smac: a slot means enemy j, or ally j for a healer; unified: own, enemy and ally slots in blocks of their own
        actions: String = "smac", Kind::Choice(&["smac", "unified"]);
        /// layout of observations: smac, or that of HARL's wrapper
        obs: String = "smac", Kind::Choice(&["smac", "harl"]);
        /// state: smac, or one of HARL's wrapper, ep (one for all, with masks, surroundings and time) or fp (one per agent, from where it stands)
        state: String = "smac", Kind::Choice(&["smac", "ep", "fp"]);
        /// observe the last actions of visible allies (always in HARL's layout)
        obs_last_action: bool = false, Kind::Bool;
        /// observe the part of the episode that is over
        obs_timestep: bool = false, Kind::Bool;
        /// observe which of eight points around can be walked on
        obs_pathing: bool = false, Kind::Bool;
        /// observe the height of nine points around
        obs_terrain: bool = false, Kind::Bool;
        /// last actions in the state (smac; always in HARL's)
        state_last_action: bool = true, Kind::Bool;
        /// part of the episode that is over in the state (smac; always in ep)
        state_timestep: bool = false, Kind::Bool;
        /// pathing and height around each unit of the team in the state (smac; always in ep)
        state_terrain: bool = false, Kind::Bool;
        /// 1 for a win, -1 for a defeat, 0 for a draw, in place of losses of the foes, kills and the win, scaled to 20
        reward_sparse: bool = false, Kind::Bool;
        /// subtract half of the team's own losses from a reward that is not sparse
        reward_negative: bool = false, Kind::Bool;
        /// steps of an episode, 0 for the map's own
        step_limit: usize = 0, Kind::Int(0, 1_000_000);
        /// true ranges of shooting and sight for each kind (SMACv2), instead of 6 and 9 for all
        true_ranges: bool = false, Kind::Bool;
        /// observe the own position, as parts of the map's sides
        obs_own_pos: bool = false, Kind::Bool;
        /// SMACv2's field of view: only what lies within 15 degrees of where an agent looks is seen, and it can turn
        field_of_view: bool = false, Kind::Bool;
        /// SMACv2's extended partial observability: the chance of an agent to see, ever, a foe that another agent met first; 1 is off
        prob_obs_enemy: f64 = 1.0, Kind::Float(0.0, 1.0);
        /// false: slots of all living targets are open, so that masks tell nothing; those out of reach then do nothing
        action_mask: bool = true, Kind::Bool;
    }
}

impl Rules {
    pub(super) fn profile(&self) -> Profile {
        Profile::named(&self.profile)
    }
}

/// The keys of the simulator for one map, as `task.*`.
pub(super) fn keys_of(map: &Map) -> Vec<Key> {
    let mut keys = Rules::keys();
    keys.iter_mut().for_each(|key| key.name = format!("task.{}", key.name));
    keys.extend(Options::keys_of(map));
    keys
}

impl Options {
    /// The keys for one map, as `task.*`: SMACv2's maps have true ranges and positions by default.
    pub fn keys_of(map: &Map) -> Vec<Key> {
        let drawn = matches!(map.lineup, Lineup::Drawn(_));
        let mut keys = Self::keys();
        for key in &mut keys {
            if drawn && ["true_ranges", "obs_own_pos"].contains(&key.name.as_str()) {
                key.default = toml::Value::Boolean(true);
            }
            key.name = format!("task.{}", key.name);
        }
        keys
    }

    /// From resolved settings.
    ///
    /// # Errors
    /// A setting that is missing, or one of SMAC's state that HARL's states would pass over.
    pub fn of(options: &TaskOptions) -> Result<Self, ConfigError> {
        let read = Self::read(options)?;
        let (ep, fp) = (read.state == "ep", read.state == "fp");
        let idle = [
            ("state_last_action=false", (ep || fp) && !read.state_last_action),
            ("state_timestep=true", fp && read.state_timestep),
            ("state_terrain=true", fp && read.state_terrain),
        ];
        match idle.iter().find(|(_, idle)| *idle) {
            Some((name, _)) => Err(ConfigError::Invalid(format!(
                "task.{name} is of task.state=smac; task.state={} is HARL's layout, which has its own entries",
                read.state
            ))),
            None => Ok(read),
        }
    }

    pub(super) fn unified(&self) -> bool {
        self.actions == "unified"
    }

    pub(super) fn harl_obs(&self) -> bool {
        self.obs == "harl"
    }
}

//! Maps that users write: `skirmish/map:FILE`, in TOML or JSON.
//!
//! The file's fields are those of [`Sheet`]; the book has an example. Everything a map of SMAC has besides follows from them: agents
//! in SMAC's order, type bits where a side has more than one kind, shields where somebody has one.

use std::path::Path;
use std::sync::Arc;

use motley_core::{ConfigError, Task, TaskFamily};
use serde::Deserialize;

use super::Battle;
use super::ground::{Layout, Plot, SIZE, Terrain};
use super::maps::{Group, Lineup, Map, Plan, place, version_of};
use super::start::stands;
use super::units::{Kind, Profile};

/// What the names of these tasks begin with.
const PREFIX: &str = "skirmish/map:";
/// Most units of a side.
const MOST: usize = 100;
/// Most steps of an episode.
const LONGEST: usize = 1_000_000;

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    /// Steps of an episode.
    limit: usize,
    ground: Floor,
    plan: Advance,
    /// The team.
    allies: Vec<Party>,
    /// The others.
    foes: Vec<Party>,
    /// Whether the team's banelings choose when to burst.
    #[serde(default)]
    bursts: bool,
}

/// The ground: that of a map of SMAC, or 32 rows of 32 signs, north first.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Floor {
    Band,
    Open,
    Octagon,
    Bay,
    Pit,
    Corridor,
    Slope,
    Plateau,
    Rows(Vec<String>),
}

/// What the foes are told at the start.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Advance {
    Guard,
    Hunt,
    March([f32; 2]),
    Between([f32; 2], [f32; 2]),
}

/// Units of one kind around one point.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Party {
    kind: Kind,
    count: usize,
    at: [f32; 2],
}

/// The maps of a file each, as a family of tasks.
pub(super) struct Files;

impl TaskFamily for Files {
    fn pattern(&self) -> String {
        format!("{PREFIX}FILE")
    }

    fn summary(&self) -> String {
        "a map of your own, from a file of TOML or JSON".to_owned()
    }

    fn task(&self, name: &str) -> Result<Option<Arc<dyn Task>>, ConfigError> {
        let Some(path) = name.strip_prefix(PREFIX) else { return Ok(None) };
        Ok(Some(Arc::new(Battle(read(path)?))))
    }
}

/// The map of a file.
///
/// # Errors
/// [`ConfigError::File`]: a file that cannot be read or parsed (with line and column), or a field whose value makes no battle.
pub fn read(path: &str) -> Result<Map, ConfigError> {
    let failed = |why: String| ConfigError::File { path: path.to_owned(), why };
    let json = match Path::new(path).extension().and_then(|ending| ending.to_str()) {
        Some("json") => true,
        Some("toml") => false,
        _ => return Err(failed("a map is a file whose name ends in .toml or .json".to_owned())),
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("the map cannot be read: {error}")))?;
    parse(&format!("map:{path}"), &text, json).map_err(failed)
}

/// A map by the text of its file, or what is wrong with it.
fn parse(name: &str, text: &str, json: bool) -> Result<Map, String> {
    let sheet: Sheet = if json {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        toml::from_str(text).map_err(|error| error.to_string())?
    };
    if !(1..=LONGEST).contains(&sheet.limit) {
        return Err(format!("limit: expected 1 to {LONGEST} steps, found {}", sheet.limit));
    }
    let (allies, foes) = (groups("allies", &sheet.allies)?, groups("foes", &sheet.foes)?);
    if sheet.bursts && allies.iter().all(|group| group.kind != Kind::Baneling) {
        return Err("bursts = true: it is for a team that has a baneling among its units".to_owned());
    }
    let map = Map {
        name: name.to_owned(),
        version: version(&sheet, version_of(allies.iter().chain(&foes))),
        types: types(&allies, &foes),
        terrain: terrain(&sheet.ground)?,
        plan: plan(sheet.plan)?,
        lineup: Lineup::Fixed { allies, foes },
        limit: sheet.limit,
        foes_first: false,
        bursts: sheet.bursts,
    };
    stand(&map)?;
    Ok(map)
}

/// A point on the map, of a field.
fn point(field: &str, at: [f32; 2]) -> Result<[f32; 2], String> {
    let side = 0.0..=SIZE as f32;
    if at.iter().all(|v| side.contains(v)) {
        Ok(at)
    } else {
        Err(format!("{field}: expected [x, y] between 0 and {SIZE}, found {at:?}"))
    }
}

/// The units of a side.
fn groups(side: &str, parties: &[Party]) -> Result<Vec<Group>, String> {
    let mut total = 0_usize;
    let mut groups = Vec::with_capacity(parties.len());
    for (k, party) in parties.iter().enumerate() {
        if !(1..=MOST).contains(&party.count) {
            return Err(format!("{side}[{k}].count: expected 1 to {MOST}, found {}", party.count));
        }
        total += party.count;
        let at = point(&format!("{side}[{k}].at"), party.at)?;
        groups.push(Group { kind: party.kind, count: party.count, at });
    }
    if total > MOST {
        return Err(format!("{side}: expected at most {MOST} units, found {total}"));
    }
    if groups.iter().all(|group| group.kind == Kind::Medivac) {
        return Err(format!("{side}: expected somebody who fights; medivacs alone do not hold the field"));
    }
    Ok(groups)
}

fn plan(advance: Advance) -> Result<Plan, String> {
    Ok(match advance {
        Advance::Guard => Plan::Guard,
        Advance::Hunt => Plan::Hunt,
        Advance::March(to) => Plan::March(point("plan.march", to)?),
        Advance::Between(a, b) => Plan::Between(point("plan.between[0]", a)?, point("plan.between[1]", b)?),
    })
}

/// SMAC's type bits: those of all kinds by name, on maps where a side has more than one.
fn types(allies: &[Group], foes: &[Group]) -> [Vec<Kind>; 2] {
    let kinds = |groups: &[Group]| {
        let mut kinds: Vec<Kind> = groups.iter().map(|group| group.kind).collect();
        kinds.sort_by_key(|kind| kind.name());
        kinds.dedup();
        kinds
    };
    if kinds(allies).len() < 2 && kinds(foes).len() < 2 {
        return [Vec::new(), Vec::new()];
    }
    let all = kinds(&[allies, foes].concat());
    [all.clone(), all]
}

fn terrain(floor: &Floor) -> Result<Terrain, String> {
    let known = match floor {
        Floor::Band => Layout::Band,
        Floor::Open => Layout::Open,
        Floor::Octagon => Layout::Octagon,
        Floor::Bay => Layout::Bay,
        Floor::Pit => Layout::Pit,
        Floor::Corridor => Layout::Corridor,
        Floor::Slope => Layout::Slope,
        Floor::Plateau => Layout::Plateau,
        Floor::Rows(rows) => return Ok(Terrain::Own(Arc::new(plot(rows)?))),
    };
    Ok(Terrain::Known(known))
}

/// Cells by their signs: `.` is open, `#` a wall, `~` a cliff that giants and flyers alone cross.
fn plot(rows: &[String]) -> Result<Plot, String> {
    if rows.len() != SIZE {
        return Err(format!("ground.rows: expected {SIZE} rows, found {}", rows.len()));
    }
    let (mut walk, mut climb) = ([0_u32; SIZE], [0_u32; SIZE]);
    for (k, row) in rows.iter().enumerate() {
        let found = row.chars().count();
        if found != SIZE {
            return Err(format!("ground.rows[{k}]: expected {SIZE} signs, found {found}"));
        }
        let y = SIZE - 1 - k;
        for (x, sign) in row.chars().enumerate() {
            match sign {
                '.' => (walk[y], climb[y]) = (walk[y] | 1 << x, climb[y] | 1 << x),
                '~' => climb[y] |= 1 << x,
                '#' => {}
                other => {
                    return Err(format!(
                        "ground.rows[{k}]: expected . (open), # (wall) or ~ (cliff), found {other:?} as sign {x}"
                    ));
                }
            }
        }
    }
    Ok(Plot::new(walk, climb))
}

/// Everybody must have room to stand where the map puts them.
fn stand(map: &Map) -> Result<(), String> {
    let Lineup::Fixed { allies, foes } = &map.lineup else { return Ok(()) };
    let ground = map.terrain.ground(Profile::Liberty);
    for (side, groups, turned) in [("allies", allies, false), ("foes", foes, true)] {
        let units = place(groups, Profile::Liberty, turned);
        let misplaced: Vec<_> = units.iter().filter(|unit| !stands(&ground, unit, Profile::Liberty)).collect();
        if let Some(first) = misplaced.first() {
            let ([x, y], kind) = (first.at, first.kind.name());
            return Err(format!(
                "{side}: {} of {} units would not stand on open ground, a {kind} at [{x:.1}, {y:.1}] among them (units of a point stand \
                 in a block around it): move the points, or open the ground there",
                misplaced.len(),
                units.len()
            ));
        }
    }
    Ok(())
}

/// A number by what the file says and the version of its units' rules, so that a run is not taken up again on a map that was changed
/// (FNV-1a).
fn version(sheet: &Sheet, rules: u32) -> u32 {
    let text = if rules == 1 { format!("{sheet:?}") } else { format!("{sheet:?}, rules {rules}") };
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::super::ground::Ground;
    use super::*;
    use crate::Registry;
    use crate::check::{Outcome, check};
    use motley_core::{Actions, FrameBuf, Purpose, StateSpace, Status, Stream};

    /// Two stalkers and a zealot against four marines and a medivac, with a wall between that has a gap, and a cliff.
    const GOOD: &str = r#"
limit = 90
plan = { march = [6.0, 16.0] }

[[allies]]
kind = "zealot"
count = 1
at = [8, 18]

[[allies]]
kind = "stalker"
count = 2
at = [6, 16]

[[foes]]
kind = "marine"
count = 4
at = [26, 16]

[[foes]]
kind = "medivac"
count = 1
at = [29, 16]

[ground]
rows = [
ROWS]
"#;

    fn good() -> String {
        let row = |k: usize| match k {
            14..=17 => "................................",
            8 => "~~~~............##..............",
            _ => "................##..............",
        };
        let rows: String = (0..SIZE).map(|k| format!("\"{}\",\n", row(k))).collect();
        GOOD.replace("ROWS", &rows)
    }

    fn json(toml: &str) -> String {
        serde_json::to_string_pretty(&toml::from_str::<toml::Value>(toml).unwrap()).unwrap()
    }

    fn written(name: &str, text: &str) -> String {
        let path = std::env::temp_dir().join(format!("motley-own-map-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    #[test]
    fn a_file_of_either_kind_is_a_task_that_keeps_the_contract() {
        let registry = Registry::builtin();
        let paths = [written("good.toml", &good()), written("good.json", &json(&good()))];
        let specs = paths.each_ref().map(|path| {
            let name = format!("{PREFIX}{path}");
            let env = registry.make(&name, &[]).unwrap();
            let spec = env.spec().clone();
            assert_eq!(spec.task, name);
            for settings in [&[][..], &["profile=smaclite"], &["prob_obs_enemy=0.2", "action_mask=false", "state=fp", "obs=harl"]]
            {
                for line in check(&|| registry.make(&name, settings), 2) {
                    let allowed = matches!(line.outcome, Outcome::Passed)
                        || matches!(line.outcome, Outcome::Warned(_)) && settings.contains(&"profile=smaclite");
                    assert!(allowed, "{settings:?}: {} {:?}", line.name, line.outcome);
                }
            }
            spec
        });
        let kinds: Vec<&str> = specs[0].agents.iter().map(|agent| agent.kind.as_str()).collect();
        assert_eq!(kinds, ["stalker", "stalker", "zealot"]);
        // Types are marine, medivac, stalker, zealot; only the team has shields: 4 + 5 (5 + 4) + 2 (5 + 5) + (1 + 5).
        assert_eq!((specs[0].agents[0].obs.size(), specs[0].agents[0].action.mask_len()), (75, 11));
        assert_eq!((specs[0].state, specs[0].step_limit), (StateSpace::Ep(3 * 9 + 5 * 7 + 3 * 11), Some(90)));
        assert_eq!((&specs[0].agents, specs[0].version), (&specs[1].agents, specs[1].version));
        assert!(specs[0].version != 1 && registry.make("skirmish/3m", &[]).unwrap().spec().version == 1);
        paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }

    #[test]
    fn foes_come_through_the_gap() {
        let map = parse("map:test", &good(), false).unwrap();
        let ground = map.terrain.ground(Profile::Liberty);
        assert!(Arc::ptr_eq(&ground, &map.clone().terrain.ground(Profile::Liberty)), "worked out once");
        assert!(!Ground::free(&ground.walk, 16.5, 20.5) && Ground::free(&ground.walk, 16.5, 16.5));
        let cliff = (SIZE - 1 - 8) as f32 + 0.5;
        assert!(!Ground::free(&ground.walk, 1.5, cliff) && Ground::free(&ground.climb, 1.5, cliff), "rows begin in the north");
        let path = written("gap.toml", &good());
        let mut env = Registry::builtin().make(&format!("{PREFIX}{path}"), &[]).unwrap();
        std::fs::remove_file(path).unwrap();
        let spec = env.spec().clone();
        let mut buf = FrameBuf::new(&spec);
        env.reset(Stream::new(0, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
        let mut status = Status::Running;
        let mut met = false;
        while !status.done() {
            let idle: Vec<f32> = buf.alive.iter().map(|alive| f32::from(u8::from(*alive))).collect();
            status = env.step(Actions::new(&spec, &idle), &mut buf.frame()).unwrap();
            met |= buf.alive.contains(&false);
        }
        assert!(met, "they came and shot somebody");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let good = good();
        let wrong = |from: &str, to: &str| {
            assert!(good.contains(from), "{from}");
            parse("map:test", &good.replacen(from, to, 1), false).unwrap_err()
        };
        for (from, to, said) in [
            ("limit = 90", "limit = 0", "limit: expected 1 to 1000000 steps, found 0"),
            ("limit = 90", "limits = 90", "unknown field `limits`"),
            ("limit = 90", "limits = 90", "line 2"),
            ("\"stalker\"", "\"stalkr\"", "unknown variant `stalkr`"),
            ("\"stalker\"", "\"stalkr\"", "line 11"),
            ("count = 2", "count = 0", "allies[1].count: expected 1 to 100, found 0"),
            ("count = 2", "count = -2", "line 12"),
            ("count = 4", "count = 100", "foes: expected at most 100 units, found 101"),
            ("[6, 16]", "[6, 33]", "allies[1].at: expected [x, y] between 0 and 32, found [6.0, 33.0]"),
            ("[6, 16]", "[nan, 3]", "allies[1].at"),
            ("[6, 16]", "[17, 24]", "would not stand on open ground, a stalker at [16.4, 24.0]"),
            ("[8, 18]", "[2, 23.5]", "allies: 1 of 3 units would not stand on open ground"),
            ("{ march = [6.0, 16.0] }", "{ march = [6.0, -1.0] }", "plan.march"),
            ("{ march = [6.0, 16.0] }", "\"flee\"", "unknown variant `flee`"),
            ("~~~~", "~~~ ", "ground.rows[8]: expected . (open), # (wall) or ~ (cliff), found ' ' as sign 3"),
            ("~~~~", "~~~", "ground.rows[8]: expected 32 signs, found 31"),
            ("\"................................\",\n", "", "ground.rows: expected 32 rows, found 31"),
            ("plan =", "bursts = true\nplan =", "bursts = true"),
            ("kind = \"marine\"\ncount = 4", "kind = \"medivac\"\ncount = 4", "foes: expected somebody who fights"),
        ] {
            let text = wrong(from, to);
            assert!(text.contains(said), "{to}: {text}");
        }
        assert!(parse("map:test", "{\n\"limit\": 3,\n\"limit\": 4}", true).unwrap_err().contains("line 3"));
        for advance in ["\"guard\"", "\"hunt\"", "{ between = [[3, 3], [9, 9]] }"] {
            assert!(parse("map:test", &good.replace("{ march = [6.0, 16.0] }", advance), false).is_ok(), "{advance}");
        }
    }

    #[test]
    fn a_file_that_is_none_is_an_error_with_its_name() {
        let registry = Registry::builtin();
        let text = |name: &str| registry.get(name).err().unwrap().to_string();
        assert!(text("skirmish/map:nowhere.toml").starts_with("nowhere.toml: the map cannot be read"));
        assert!(text("skirmish/map:3m").contains("ends in .toml or .json"));
        assert!(text("skirmish/map:").contains(".toml or .json"));
    }

    /// What the book shows is a map.
    #[test]
    fn the_example_of_the_book_is_read() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/suites/skirmish.md");
        let page = std::fs::read_to_string(page).unwrap();
        let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        assert_eq!(parse("map:example", example, false).unwrap().summary(), "6 marine, 2 medivac against 3 zealot, 2 stalker");
    }
}

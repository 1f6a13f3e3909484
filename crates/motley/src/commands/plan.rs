//! The plan of a sweep: which settings are tried, with which seeds, in which folders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use motley_core::secret::masked;
use motley_core::{Purpose, Stream};
use motley_train::read_file;
use serde::Deserialize;
use toml::{Table, Value};

use crate::commands::jobs::Job;
use crate::error::Failure;

/// More runs than this are a slip of the pen.
const MOST_RUNS: usize = 100_000;
/// Characters of a folder's name that settings may take.
const MOST_NAME: usize = 80;

/// A plan as it is written. Every combination of an algorithm, a task, a case, a point of the grid and a random draw is trained
/// with every seed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where the runs go; a relative path is taken from where the command is given.
    out: PathBuf,
    #[serde(default)]
    algos: Vec<String>,
    #[serde(default)]
    tasks: Vec<String>,
    seeds: Seeds,
    /// Of every run.
    #[serde(default)]
    settings: Table,
    /// Lists of values; every combination is tried.
    #[serde(default)]
    grid: Table,
    /// Named settings, tried one after another.
    #[serde(default)]
    cases: Vec<Case>,
    #[serde(default)]
    random: Option<Random>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number of seeds (seeds = 5) or a list of them (seeds = [0, 7])")]
enum Seeds {
    Count(u64),
    List(Vec<u64>),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// In place of `algos`.
    algo: Option<String>,
    /// In place of `tasks`.
    task: Option<String>,
    #[serde(default)]
    settings: Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Random {
    trials: u64,
    #[serde(default)]
    seed: u64,
    space: Table,
}

/// Where a random setting is drawn from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Range {
    Uniform([f64; 2]),
    LogUniform([f64; 2]),
    Int([i64; 2]),
    Choice(Vec<Value>),
}

/// `key=value` words, with a short name for the folder.
type Part = (String, Vec<String>);

/// The runs of a plan, in an order that only its text decides, and the folder above them.
///
/// # Errors
/// A file that cannot be read or is no plan, with the place; two runs in one folder.
pub(crate) fn read(path: &Path) -> Result<(PathBuf, Vec<Job>), Failure> {
    let (name, table) = read_file(path)?;
    let failed = |why: String| Failure::usage(format!("{name}: {why}"));
    let file: File = Value::Table(table).try_into().map_err(|e: toml::de::Error| failed(e.to_string()))?;
    let jobs = jobs(&file).map_err(failed)?;
    Ok((file.out, jobs))
}

fn jobs(file: &File) -> Result<Vec<Job>, String> {
    if file.out.to_string_lossy().contains(char::is_control) {
        return Err(format!("out = {:?}: a folder's name cannot have line breaks or other control characters", file.out));
    }
    let seeds: Vec<u64> = match &file.seeds {
        Seeds::Count(n) if *n > MOST_RUNS as u64 => return Err(format!("seeds = {n}: more than {MOST_RUNS} runs")),
        Seeds::Count(n) => (0..*n).collect(),
        Seeds::List(list) => list.clone(),
    };
    let cases = if file.cases.is_empty() { vec![Case::default()] } else { file.cases.clone() };
    let (common, grid, draws) = (words(&file.settings, ""), grid(&file.grid)?, draws(file.random.as_ref())?);
    let mut made = Vec::new();
    let mut folders = BTreeSet::new();
    for case in &cases {
        let algos = case.algo.as_ref().map_or(file.algos.as_slice(), std::slice::from_ref);
        let tasks = case.task.as_ref().map_or(file.tasks.as_slice(), std::slice::from_ref);
        if algos.is_empty() || tasks.is_empty() || seeds.is_empty() {
            return Err("nothing to train: name algos, tasks and seeds".into());
        }
        let parts = tasks.iter().flat_map(|t| algos.iter().map(move |a| (t, a)));
        for (task, algo) in parts {
            for (grid_name, grid_words) in &grid {
                for (draw_name, draw_words) in &draws {
                    let names = [plain(&case.name), grid_name.clone(), draw_name.clone()];
                    let variant: Vec<&str> = names.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
                    let settings = [common.clone(), words(&case.settings, ""), grid_words.clone(), draw_words.clone()].concat();
                    if let Some(word) = settings.iter().find(|word| word.starts_with("seed=")) {
                        return Err(format!(
                            "{word} among the settings: which seeds are trained is said by `seeds` alone, a number of them or a list"
                        ));
                    }
                    let mut above = file.out.join(plain(task)).join(plain(algo));
                    if !variant.is_empty() {
                        above = above.join(shortened(&variant.join("-")));
                    }
                    for seed in &seeds {
                        let dir = above.join(format!("s{seed}"));
                        if !folders.insert(dir.clone()) {
                            return Err(format!("two runs would share the folder {}: name the cases apart", dir.display()));
                        }
                        let words = [vec![algo.clone(), task.clone()], settings.clone(), vec![format!("seed={seed}")]].concat();
                        made.push(Job { dir, words });
                        if made.len() > MOST_RUNS {
                            return Err(format!("more than {MOST_RUNS} runs"));
                        }
                    }
                }
            }
        }
    }
    Ok(made)
}

/// The setting whose value is a table of its own.
const TABLE: &str = "task.kwargs";

/// The leaves of a table as `a.b=value`, sorted by name.
fn words(table: &Table, prefix: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in table {
        let full = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) if full != TABLE => all.extend(words(inner, &full)),
            other => all.push(format!("{full}={other}")),
        }
    }
    all.sort();
    all
}

/// The leaves of a table that are not words but lists or ranges.
fn leaves(table: &Table, prefix: &str, is_leaf: &dyn Fn(&Value) -> bool) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (key, value) in table {
        let full = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) if full != TABLE && !is_leaf(value) => all.extend(leaves(inner, &full, is_leaf)),
            other => all.push((full, other.clone())),
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn grid(table: &Table) -> Result<Vec<Part>, String> {
    let mut points: Vec<Part> = vec![(String::new(), Vec::new())];
    for (key, value) in leaves(table, "", &|_| false) {
        let Some(values) = value.as_array().filter(|v| !v.is_empty()) else {
            return Err(format!("grid.{key} = {value}: expected a list of values to try"));
        };
        // Counted before they are made: a few long lists are more points than memory has room for.
        if points.len().saturating_mul(values.len()) > MOST_RUNS {
            return Err(format!("the grid has more than {MOST_RUNS} points"));
        }
        let mut wider = Vec::with_capacity(points.len() * values.len());
        for (name, words) in &points {
            for value in values {
                let name = if name.is_empty() { short(&key, value) } else { format!("{name}-{}", short(&key, value)) };
                wider.push((name, [words.clone(), vec![format!("{key}={value}")]].concat()));
            }
        }
        points = wider;
    }
    Ok(points)
}

fn draws(random: Option<&Random>) -> Result<Vec<Part>, String> {
    let Some(random) = random else { return Ok(vec![(String::new(), Vec::new())]) };
    if random.trials == 0 || random.trials > MOST_RUNS as u64 {
        return Err(format!("random.trials = {}: expected 1 to {MOST_RUNS}", random.trials));
    }
    let is_range = |v: &Value| v.as_table().is_some_and(|t| t.keys().any(|k| Range::KINDS.contains(&k.as_str())));
    let mut ranges = Vec::new();
    for (key, value) in leaves(&random.space, "", &is_range) {
        let failed = |why: String| format!("random.space.{key}: {why}");
        if !is_range(&value) {
            return Err(failed(format!(
                "settings are drawn by one of {}, as in algo.lr = {{ log_uniform = [1e-5, 1e-3] }}",
                Range::KINDS.join(", ")
            )));
        }
        let range: Range = value.try_into().map_err(|e: toml::de::Error| failed(e.to_string()))?;
        range.check().map_err(failed)?;
        ranges.push((key, range));
    }
    let stream = Stream::new(random.seed, Purpose::Search, 0, 0);
    let draw = |trial: u64| {
        // Each setting has a stream of its own: another one more or less does not change it.
        let value = |(key, range): &(String, Range)| format!("{key}={}", range.draw(&mut stream.fork(trial).fork(named(key))));
        (format!("r{trial:03}"), ranges.iter().map(value).collect())
    };
    Ok((0..random.trials).map(draw).collect())
}

/// A number for a name (FNV-1a).
fn named(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

impl Range {
    /// What a plan calls them.
    const KINDS: [&str; 4] = ["uniform", "log_uniform", "int", "choice"];

    fn check(&self) -> Result<(), String> {
        let rising = |[a, b]: [f64; 2]| a.is_finite() && b.is_finite() && a < b;
        let fine = match self {
            Self::Uniform(ends) => rising(*ends),
            Self::LogUniform(ends) => rising(*ends) && ends[0] > 0.0,
            Self::Int([a, b]) => a <= b && b.abs_diff(*a) < u64::from(u32::MAX),
            Self::Choice(values) => !values.is_empty(),
        };
        if fine { Ok(()) } else { Err("expected low < high (log_uniform: above 0), or a choice of one or more".into()) }
    }

    fn draw(&self, stream: &mut Stream) -> Value {
        match self {
            Self::Uniform([a, b]) => Value::Float(stream.range(*a, *b)),
            Self::LogUniform([a, b]) => Value::Float(stream.range(a.ln(), b.ln()).exp()),
            Self::Int([a, b]) => Value::Integer(a + i64::from(stream.below(b.abs_diff(*a) as u32 + 1))),
            Self::Choice(values) => values[stream.below(values.len() as u32) as usize].clone(),
        }
    }
}

/// `order=fixed` of `algo.order = "fixed"`; secrets are in no folder's name.
fn short(key: &str, value: &Value) -> String {
    let value = masked(key, value);
    let key = key.rsplit('.').next().unwrap_or(key);
    plain(&format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)))
}

/// A name for a folder.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "._-=".contains(c) { c } else { '_' }).collect()
}

/// A long name keeps its beginning, and a number that tells it apart.
fn shortened(name: &str) -> String {
    if name.len() <= MOST_NAME { name.to_owned() } else { format!("{}-{:016x}", &name[..MOST_NAME - 17], named(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Result<Vec<Job>, String> {
        jobs(&toml::from_str::<File>(text).map_err(|e| e.to_string())?)
    }

    #[test]
    fn every_combination_is_made_once_in_the_order_of_the_text() {
        let text = r#"
            out = "runs/x"
            algos = ["happo", "mappo"]
            tasks = ["matrix/climbing"]
            seeds = 2
            settings = { total_steps = 100, net = { hidden_sizes = [8, 8] } }
            [grid]
            "algo.order" = ["random", "fixed"]
            algo.lr = [0.1]
        "#;
        let all = made(text).unwrap();
        assert_eq!(all.len(), 8);
        assert_eq!(all[0].dir, PathBuf::from("runs/x/matrix_climbing/happo/lr=0.1-order=random/s0"));
        let words = "happo|matrix/climbing|net.hidden_sizes=[8, 8]|total_steps=100|algo.lr=0.1|algo.order=\"random\"|seed=0";
        assert_eq!(all[0].words.join("|"), words);
        assert_eq!(all[7].dir, PathBuf::from("runs/x/matrix_climbing/mappo/lr=0.1-order=fixed/s1"));
        assert_eq!(made(text).unwrap(), all);
    }

    #[test]
    fn cases_may_name_their_own_algorithm_and_task() {
        let text = r#"
            out = "r"
            tasks = ["matrix/climbing"]
            seeds = [7]
            cases = [{ name = "together", algo = "mappo" }, { name = "in turn", algo = "happo", settings = { "algo.order" = "fixed" } }]
        "#;
        let all = made(text).unwrap();
        let dirs: Vec<String> = all.iter().map(|j| j.dir.display().to_string()).collect();
        assert_eq!(dirs, ["r/matrix_climbing/mappo/together/s7", "r/matrix_climbing/happo/in_turn/s7"]);
        assert_eq!(all[1].words[2], "algo.order=\"fixed\"");
    }

    #[test]
    fn random_draws_stay_in_range_and_do_not_depend_on_their_neighbours() {
        let plan = |space: &str| {
            format!(
                "out = 'r'\nalgos = ['a']\ntasks = ['s/t']\nseeds = 1\n[random]\ntrials = 50\nseed = 3\n[random.space]\n{space}"
            )
        };
        let lr = "algo.lr = { log_uniform = [1e-5, 1e-3] }\n";
        let draws = |text: &str| -> Vec<String> {
            let value = |j: Job| j.words.iter().find(|w| w.starts_with("algo.lr=")).unwrap().clone();
            made(&plan(text)).unwrap().into_iter().map(value).collect()
        };
        let alone = draws(lr);
        let values: Vec<f64> = alone.iter().map(|w| w.split_once('=').unwrap().1.parse().unwrap()).collect();
        assert!(values.iter().all(|v| (1e-5..1e-3).contains(v)));
        let low = values.iter().filter(|v| **v < 1e-4).count();
        assert!((15..=35).contains(&low), "half of the draws lie in the lower decade: {low}");
        assert_eq!(draws(&format!("{lr}algo.n = {{ int = [1, 3] }}\nnet.x = {{ choice = ['a', 'b'] }}")), alone);
        assert!(made(&plan("algo.lr = { log_uniform = [0.0, 1.0] }")).unwrap_err().contains("algo.lr"));
        for odd in ["{ normal = [0, 1] }", "[1e-5, 1e-3]", "0.1"] {
            let why = made(&plan(&format!("algo.lr = {odd}"))).unwrap_err();
            assert!(why.contains("random.space.algo.lr") && why.contains("uniform, log_uniform, int, choice"), "{why}");
        }
    }

    /// Runs under other names that are the same run would count as seeds of their own.
    #[test]
    fn seeds_are_named_in_one_place_only() {
        let plan = |more: &str| format!("out = 'r'\nalgos = ['a']\ntasks = ['s/t']\nseeds = 2\n{more}");
        for more in ["settings.seed = 7", "grid.seed = [0, 1]", "cases = [{ name = 'c', settings = { seed = 3 } }]"] {
            let why = made(&plan(more)).unwrap_err();
            assert!(why.starts_with("seed=") && why.contains("`seeds`"), "{why}");
        }
        assert!(made(&plan("").replace("seeds = 2", "seeds = 100001")).unwrap_err().contains("more than 100000 runs"));
        assert_eq!(made(&plan("settings.algo.lr = 0.1")).unwrap().len(), 2);
    }

    #[test]
    fn secrets_are_in_no_name() {
        let text = "out = 'r'\nalgos = ['a']\ntasks = ['s/t']\nseeds = 1\ngrid.task.kwargs = [{ api_token = 'hunter2' }]";
        let all = made(text).unwrap();
        let dir = all[0].dir.display().to_string();
        assert!(!dir.contains("hunter2") && all[0].words.concat().contains("hunter2"), "{dir}");
        assert!(!all[0].shown().concat().contains("hunter2") && all[0].shown().concat().contains("***"), "{:?}", all[0].shown());
    }

    /// Keyword arguments are one setting, in every part of a plan.
    #[test]
    fn keyword_arguments_stay_together() {
        let text = r#"
            out = "r"
            algos = ["ippo"]
            tasks = ["py:mine:make"]
            seeds = 1
            [settings.task]
            workers = 1
            kwargs = { n = 3, deep = { far = "a b" } }
        "#;
        let kwargs = |text: &str| -> Vec<String> {
            let of = |job: Job| job.words.iter().find_map(|w| Some(w.strip_prefix("task.kwargs=")?.to_owned())).unwrap();
            made(text).unwrap().into_iter().map(of).collect()
        };
        let read = |word: &str| format!("x = {word}").parse::<Table>().unwrap().remove("x").unwrap();
        let found = kwargs(text);
        assert_eq!(read(&found[0]), read("{ n = 3, deep = { far = 'a b' } }"), "{found:?}");
        assert!(!found[0].contains('\n'), "a word is one line: {found:?}");
        assert!(made(text).unwrap()[0].words.contains(&"task.workers=1".to_owned()));
        let grid = "out = 'r'\nalgos = ['a']\ntasks = ['t']\nseeds = 1\n[grid]\n'task.kwargs' = [{ n = 1 }, { n = 2 }]\n";
        assert_eq!(kwargs(grid).iter().map(|word| read(word)).collect::<Vec<_>>(), [read("{ n = 1 }"), read("{ n = 2 }")]);
    }

    #[test]
    fn slips_are_named() {
        let refused = |text: &str, expected: &str| {
            let error = made(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        refused("out = 'r'\nseeds = 1", "name algos");
        refused("out = 'r'\nseeds = 1\nalgo = ['a']", "unknown field `algo`");
        refused("out = 'r'\nalgos = ['a']\ntasks = ['t']\nseeds = 1\ngrid = { lr = 3 }", "grid.lr = 3");
        refused("out = 'r'\nalgos = ['a', 'a']\ntasks = ['t']\nseeds = 1", "share the folder");
        refused("out = 'r'\nalgos = ['a']\ntasks = ['t']\nseeds = [1, 1]", "share the folder");
        refused("out = 'r'\nalgos = ['a']\ntasks = ['t']\nseeds = '2'", "expected a number of seeds (seeds = 5) or a list");
        refused(
            "out = \"r\\ntouch x #\"\nalgos = ['a']\ntasks = ['t']\nseeds = 1",
            "out = \"r\\ntouch x #\": a folder's name cannot",
        );
        assert_eq!(shortened(&"x".repeat(200)).len(), MOST_NAME);
        let list = format!("{:?}", (0..60).collect::<Vec<_>>());
        let grid: String = (0..5).map(|k| format!("k{k} = {list}\n")).collect();
        refused(
            &format!("out = 'r'\nalgos = ['a']\ntasks = ['t']\nseeds = 1\n[grid]\n{grid}"),
            "the grid has more than 100000 points",
        );
    }
}

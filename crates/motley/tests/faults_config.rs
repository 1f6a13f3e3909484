//! Configurations that are misspelt, out of range, incompatible or hostile (C1 to C5 of the list of faults).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults_common;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use faults_common::*;
use motley_core::{ConfigError, Kind, Origin, Purpose, Settings, Stream};
use motley_train::settings::keys;
use motley_train::{Request, read_file};

fn spread_settings(algo: &str) -> Settings {
    let registry = registry();
    Settings::new(keys(&*registry.algorithms.get(algo).unwrap(), &*registry.tasks.get("mpe/simple_spread_v3").unwrap()))
}

/// Every name that one slip makes of `name`: a letter left out, doubled, changed, or two swapped.
fn slips(name: &str) -> BTreeSet<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut out = BTreeSet::new();
    for at in 0..letters.len() {
        let mut less = letters.clone();
        less.remove(at);
        let mut more = letters.clone();
        more.insert(at, letters[at]);
        let mut other = letters.clone();
        other[at] = if letters[at] == 'x' { 'y' } else { 'x' };
        let mut swapped = letters.clone();
        swapped.swap(at, (at + 1).min(letters.len() - 1));
        out.extend([less, more, other, swapped].map(|l| l.into_iter().collect::<String>()));
    }
    out.remove(name);
    out
}

/// C1: every slip in every key is refused, and nine in ten are answered with the key that was meant.
#[test]
fn misspelt_keys_are_refused_with_the_right_one() {
    let mut settings = spread_settings("happo");
    let names: Vec<String> = settings.iter().map(|(key, _, _)| key.name.clone()).collect();
    let (mut tried, mut answered) = (0, 0);
    for name in &names {
        for slip in slips(name).into_iter().filter(|s| !names.contains(s)) {
            let error = settings.set(&slip, &1.into(), Origin::CommandLine).expect_err(&slip);
            let ConfigError::UnknownKey { nearest, .. } = error else { panic!("{slip}: {error}") };
            tried += 1;
            answered += usize::from(nearest.contains(name));
        }
    }
    assert!(tried > 1000 && answered * 10 >= tried * 9, "{answered} of {tried}");
}

/// C1 through the command: exit code 2 and the nearest name, for keys, algorithms, tasks and presets.
#[test]
fn the_command_names_what_was_meant() {
    let cases: [(&[&str], &str); 13] = [
        (&["train", "happo", "mpe/simple_spread_v3", "algo.hysteretic=0.3"], "no setting of happo but of iql"),
        (&["train", "happo", "mpe/simple_spread_v3", "num_env_steps=1000"], "\"num_env_steps\": HARL's name of total_steps"),
        (&["train", "happo", "simple_spread"], "\"mpe/simple_spread_v3\" or \"vmas/simple_spread\""),
        (&["train", "happo", "mpe/simple_spread"], "did you mean \"mpe/simple_spread_v3\""),
        (&["train", "happo", "mpe/simple_spread_v3", "net.share=[[agent_0],[agent_1]]"], "agent names in quotes"),
        (&["train", "happo", "mpe/simple_spread_v3", "--total_steps=2000"], "settings have no dashes: write total_steps=2000"),
        (&["train", "happo", "mpe/simple_spread_v3", "algo.clp=0.1"], "did you mean \"algo.clip\""),
        (&["train", "happo", "mpe/simple_spread_v3", "lr=0.1"], "algo.lr"),
        (&["train", "hapo", "mpe/simple_spread_v3"], "did you mean \"happo\""),
        (&["train", "happo", "mpe/simple_spred_v3"], "\"mpe/simple_spread_v3\""),
        (&["train", "happo", "mpe/simple_spread_v3", "preset=tund"], "tuned"),
        (&["train", "happo", "mpe/simple_spread_v3", "algo.clip"], "not a setting"),
        (&["config", "happo", "mpe/simple_spread_v3", "task.continous=true"], "did you mean \"task.continuous\""),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (line, expected) in cases {
        let mut command = motley(line);
        command.current_dir(dir.path());
        let (code, out, err) = ends(command);
        assert!(code == 2 && err.contains(expected) && out.is_empty(), "{line:?}: {code} {err}");
    }
    let mut command = motley(&["train", "happo", "mpe/simple_spread_v3"]);
    command.current_dir(dir.path()).env("MOTLEY__ALGO__CLP", "0.1");
    let (code, _, err) = ends(command);
    assert!(code == 2 && err.contains("algo.clip"), "{err}");
    let mut command = motley(&["train", "happo", "mpe/simple_spread_v3", "algo.clp=1", "--json"]);
    command.current_dir(dir.path());
    let (code, out, _) = ends(command);
    assert!(code == 2 && out.starts_with("{\"event\":\"error\"") && out.contains("\"exit_code\":2"), "{out}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[algo]\nclip = 0.1\n").unwrap();
    let mut command = motley(&["train", "qmix", "mpe/simple_spread_v3", "--config", file.path().to_str().unwrap()]);
    command.current_dir(dir.path());
    let (code, _, err) = ends(command);
    assert!(code == 2 && err.contains("algo.clip is no setting of qmix but of") && !err.contains("did you mean"), "{err}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written for a command that is refused");
}

/// A resumed run reads the environment as a new one does: what may change is taken over, what may not is refused by the variable.
#[test]
fn the_environment_counts_on_resume() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    assert_eq!(ends(train_command("happo", &["total_steps=80", "threads=1"], &run)).0, 0);
    let with = |name: &str, value: &str, words: &[&str]| {
        let mut command = resume_command(&run, words);
        command.env(name, value);
        ends(command)
    };
    for (name, value, text) in [
        ("MOTLEY__ALGO__LR", "0.1", "a resumed run keeps algo.lr"),
        ("MOTLEY__ALGO__CLP", "0.1", "did you mean \"algo.clip\""),
        ("MOTLEY__TOTAL_STEPS", "40", "less than the 80 env steps"),
    ] {
        let (code, _, err) = with(name, value, &[]);
        assert!(code == 2 && err.contains(text) && (err.contains(name) || text.contains("env steps")), "{name}: {code} {err}");
    }
    let (code, _, err) = with("MOTLEY__THREADS", "2", &["total_steps=160"]);
    assert_eq!(code, 0, "{err}");
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("threads = 2") && config.contains("total_steps = 160"), "{config}");
}

/// A budget is taken in whole rollouts, and that is said; one below what is done is refused.
#[test]
fn budgets_say_what_they_become() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let (code, _, err) = ends(train_command("ippo", &["total_steps=10"], &run));
    assert!(code == 0 && err.matches("total_steps = 10 is rounded up to 80").count() == 1, "{err}");
    let (code, _, err) = ends(resume_command(&run, &[]));
    assert!(code == 0 && !err.contains("rounded"), "a run that is done is resumed as it is: {err}");
    let (code, _, err) = ends(resume_command(&run, &["total_steps=79"]));
    assert!(code == 2 && err.contains("total_steps = 79 is less than the 80 env steps"), "{code} {err}");
    let (code, _, err) = ends(resume_command(&run, &["total_steps=160"]));
    assert!(code == 0 && !err.contains("rounded"), "{err}");
}

/// C2: both bounds of every range are taken; what lies one beyond, another type, and NaN are refused with key, range and value.
#[test]
fn every_range_is_kept() {
    let registry = registry();
    let mut tried = 0;
    for spec in registry.algorithms.iter() {
        let mut settings = spread_settings(spec.name());
        let all: Vec<motley_core::Key> = settings.iter().map(|(key, _, _)| key.clone()).collect();
        for key in all {
            let (good, mut bad): (Vec<String>, Vec<String>) = match &key.kind {
                Kind::Int(a, b) => (
                    vec![a.to_string(), b.to_string()],
                    [a.checked_sub(1), b.checked_add(1)]
                        .into_iter()
                        .flatten()
                        .map(|x| x.to_string())
                        .chain(["1.5".into()])
                        .collect(),
                ),
                Kind::Float(a, b) => (
                    [a, b].iter().filter(|x| x.is_finite()).map(|x| format!("{x:?}")).collect(),
                    [a, b]
                        .iter()
                        .filter(|x| x.is_finite())
                        .zip([-1.0, 1.0])
                        .map(|(x, d)| format!("{:?}", *x + d * (1e-3 + x.abs() * 1e-3)))
                        .chain(["inf".into(), "-inf".into()])
                        .collect(),
                ),
                Kind::Bool => (vec!["true".into(), "false".into()], vec!["1".into(), "\"yes\"".into()]),
                Kind::Choice(words) => {
                    (words.iter().map(|w| format!("\"{w}\"")).collect(), vec!["no_such_word".into(), "1".into()])
                }
                Kind::Ints(a, b) => (
                    vec![format!("[{a}, {b}]"), "[]".into(), format!("{b}"), format!("{a},{b}")],
                    vec![format!("[{}]", a - 1), "[1.5]".into(), "[[1]]".into(), format!("{b},{}", a - 1)],
                ),
                Kind::Share => (vec!["all".into(), "[[\"a\"]]".into()], vec!["some".into(), "[1]".into(), "7".into()]),
                Kind::Text | Kind::Any => continue,
            };
            bad.push("nan".into());
            bad.push("1979-05-27".into());
            for value in good {
                let set = settings.set_text(&format!("{}={value}", key.name), Origin::CommandLine);
                assert!(set.is_ok(), "{}={value}: {set:?}", key.name);
            }
            for value in bad {
                let error = settings
                    .set_text(&format!("{}={value}", key.name), Origin::CommandLine)
                    .expect_err(&format!("{}={value}", key.name))
                    .to_string();
                assert!(error.contains(&key.name) && error.contains(&key.kind.describe()), "{error}");
                tried += 1;
            }
        }
    }
    assert!(tried > 300, "{tried}");
}

/// C3: every algorithm with every task in every form that changes what fits is built, or refused with a reason.
#[test]
fn every_pair_is_built_or_refused() {
    hush();
    let registry = registry();
    let forms: [&[&str]; 8] = [
        &[],
        &["task.continuous=true"],
        &["net.share=all"],
        &["net.share=type", "net.agent_id=true"],
        &["net.share=[[\"nobody\"]]"],
        &["net.recurrent=true", "net.chunk_length=7"],
        &["net.recurrent=true", "net.hidden_sizes=[]"],
        &["task.reward=common"],
    ];
    let (mut built, mut refused) = (0, 0);
    for spec in registry.algorithms.iter() {
        for task in registry.tasks.iter() {
            for form in
                forms.iter().chain(&[&["task.reward=own"][..], &["net.distribution=tanh_gaussian", "net.hidden_sizes=[]"]])
            {
                let what = format!("{} {} {form:?}", spec.name(), task.name());
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    let plan = plan(&registry, spec.name(), &task.name(), form)?;
                    plan.algorithm.build(&plan.team, &plan.settings, &Stream::new(0, Purpose::Init, 0, 0)).map(drop)
                }));
                match outcome.unwrap_or_else(|_| panic!("{what} panicked")) {
                    Ok(()) => built += 1,
                    Err(ConfigError::Missing { .. }) => {}
                    Err(error) => {
                        refused += 1;
                        assert!(
                            !error.to_string().is_empty() && !matches!(error, ConfigError::UnknownName { .. }),
                            "{what}: {error}"
                        );
                    }
                }
            }
        }
    }
    assert!(built > 100 && refused > 50, "{built} built, {refused} refused");
    let (code, _, err) =
        ends(motley(&["train", "happo", "mpe/simple_speaker_listener_v4", "net.share=all", "--out", "/nonexistent/x"]));
    assert!(code == 2 && err.contains("share parameters") && err.contains("net.share=none"), "{err}");
}

/// Files that nobody means well with.
fn hostile_files(dir: &Path) -> Vec<(&'static str, PathBuf)> {
    let deep = |n: usize| format!("a = {}{}\n", "[".repeat(n), "]".repeat(n));
    let files = [
        ("huge", format!("a = \"{}\"\n", "x".repeat(10 << 20))),
        ("deep", deep(100_000)),
        ("tables", format!("[{}]\nb = 1\n", vec!["a"; 100_000].join("."))),
        ("inline", format!("a = {}1{}\n", "{b = ".repeat(50_000), "}".repeat(50_000))),
        ("integer", format!("num_envs = 1{}\n", "0".repeat(100_000))),
        ("negative", "seed = -1\n".into()),
        ("keys", (0..50_000).map(|k| format!("k{k} = 1\n")).collect::<String>()),
        ("broken", "seed = = 1\n".into()),
        ("section", "algo = 3\n".into()),
    ];
    let write = |(name, text): (&'static str, String)| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        (name, path)
    };
    let mut all: Vec<_> = files.into_iter().map(write).collect();
    std::fs::write(dir.join("bytes"), [0xff, 0xfe, 0x00]).unwrap();
    all.extend(["bytes", "absent", "."].map(|name| (name, dir.join(name))));
    if cfg!(target_os = "linux") {
        all.push(("a file without an end", "/dev/zero".into()));
    }
    all
}

/// Words as hostile.
fn hostile_words() -> [(&'static str, String); 4] {
    [
        ("a deep word", format!("net.hidden_sizes={}{}", "[".repeat(50_000), "]".repeat(50_000))),
        ("a long number", format!("seed={}", "9".repeat(100_000))),
        ("an integer beyond 64 bits", "num_envs=99999999999999999999".into()),
        ("an integer just beyond 64 bits", "seed=9223372036854775808".into()),
    ]
}

/// C4: a hostile file or word is an error with exit code 2.
#[test]
fn hostile_configurations_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |line: &[&str], what: &str| {
        let begin = Instant::now();
        let mut command = motley(&["config", "happo", "mpe/simple_spread_v3"]);
        command.args(line);
        let (code, _, err) = ends(command);
        assert!(code == 2 && err.starts_with("error: "), "{what}: {code} {}", &err[..err.len().min(300)]);
        assert!(err.len() < 10_000, "{what}: a message of {} bytes", err.len());
        assert!(begin.elapsed() < Duration::from_secs(10), "{what} took {:?}", begin.elapsed());
    };
    for (name, path) in hostile_files(dir.path()) {
        refused(&["--config", path.to_str().unwrap()], name);
    }
    for (what, word) in hostile_words() {
        refused(&[&word], what);
    }
}

/// C4: it is an error soon. A tenth of a second is meant; this allows for a build that is not optimised, on a busy machine.
#[test]
fn hostile_configurations_are_refused_soon() {
    let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
    let request = Request { algo: "happo".into(), task: "mpe/simple_spread_v3".into(), ..Request::default() };
    let soon = |what: &str, refused: &dyn Fn() -> bool| {
        // What else the machine does may cost one attempt, not three.
        let took = (0..3).map(|_| {
            let begin = Instant::now();
            assert!(refused(), "{what} was taken");
            begin.elapsed()
        });
        let best = took.min().unwrap();
        assert!(best < Duration::from_secs(1), "{what} took {best:?}");
    };
    for (what, path) in hostile_files(dir.path()) {
        soon(what, &|| match read_file(&path) {
            Ok(file) => Request { file: Some(file), ..request.clone() }.settings(&registry).is_err(),
            Err(_) => true,
        });
    }
    for (what, word) in hostile_words() {
        soon(what, &|| Request { overrides: vec![word.clone()], ..request.clone() }.settings(&registry).is_err());
    }
}

/// P5: a device that this build has no support for is refused before anything is written, with what to do.
#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_is_not_there_is_named_with_its_fallback() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let (code, _, err) = ends(train_command("happo", &["device=cuda"], &run));
    assert!(code == 3 && err.contains("device=cuda") && err.contains("device=cpu"), "{code} {err}");
    assert!(!run.exists(), "nothing is written for a run that cannot be");
}

/// C5: a rollout that memory cannot hold is refused with its bytes before anything of it is taken.
#[test]
fn impossible_rollouts_are_refused_with_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for settings in [["num_envs=100000", "algo.rollout_steps=1000000"], ["num_envs=50000", "algo.rollout_steps=200000"]] {
        let Err(error) = start(&registry(), "happo", "mpe/simple_spread_v3", &settings, &dir.path().join("run")) else {
            panic!("{settings:?} was started");
        };
        let text = error.to_string();
        assert!(text.contains("GiB") && text.contains("bytes") && text.contains("rollout_steps"), "{text}");
    }
}

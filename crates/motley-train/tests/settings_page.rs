//! The book's page of settings is what the code declares: `MOTLEY_BLESS=1 cargo test --workspace --test settings_page` writes it anew.

#![allow(clippy::expect_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use motley_core::Key;
use motley_train::settings::{self, Registry, Request};

const HEAD: &str = "# Settings\n\n<!-- Written from what the code declares by `MOTLEY_BLESS=1 cargo test --workspace --test settings_page`. -->\n\n\
    Every setting of a run and of every algorithm, with its default and what is accepted. `motley config ALGO TASK` shows the values of one run and\n\
    where each comes from; a task's own `task.*` are there and on the page of its suite.\n";

/// Which algorithms have a setting with one default and one meaning, in order of name.
type Rows = BTreeMap<String, Vec<(Key, Vec<&'static str>)>>;

fn rows(registry: &Registry) -> Rows {
    let mut rows = Rows::new();
    let task = registry.tasks.get("matrix/climbing").expect("a task without settings of its own");
    let own: Vec<String> = task.keys().into_iter().map(|k| k.name).collect();
    for algorithm in registry.algorithms.iter() {
        for key in settings::keys(&**algorithm, &*task).into_iter().filter(|k| !own.contains(&k.name)) {
            let alike = rows.entry(key.name.clone()).or_default();
            match alike.iter_mut().find(|(k, _)| *k == key) {
                Some((_, who)) => who.push(algorithm.name()),
                None => alike.push((key, vec![algorithm.name()])),
            }
        }
    }
    rows
}

fn page(registry: &Registry) -> String {
    let (rows, all) = (rows(registry), registry.algorithms.iter().count());
    let mut text = HEAD.to_owned();
    let sections = [
        ("The run", ""),
        ("Algorithms", "algo."),
        ("Networks", "net."),
        ("Evaluation", "eval."),
        ("Records", "log."),
        ("Tasks", "task."),
    ];
    for (title, prefix) in sections {
        let mine = |name: &String| if prefix.is_empty() { !name.contains('.') } else { name.starts_with(prefix) };
        let mine: Vec<_> = rows.iter().filter(|(name, _)| mine(name)).flat_map(|(_, alike)| alike).collect();
        let everywhere = mine.iter().all(|(_, who)| who.len() == all);
        let (more, line) = if everywhere { ("", "") } else { (" of |", "---|") };
        let _ = write!(text, "\n## {title}\n\n| key | default | accepted | meaning |{more}\n|---|---|---|---|{line}\n");
        for (key, who) in mine {
            let cell = |x: &str| x.replace('|', "\\|");
            let (accepted, help) = (cell(&key.kind.describe()), cell(&key.help));
            let _ = write!(text, "| `{}` | `{}` | {accepted} | {help} |", key.name, key.default);
            let who = if who.len() == all { "all".to_owned() } else { who.join(", ") };
            text.push_str(&if everywhere { "\n".to_owned() } else { format!(" {who} |\n") });
        }
    }
    text
}

#[test]
fn the_page_says_what_the_code_declares() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/settings.md");
    let page = page(&Registry::builtin());
    if std::env::var_os("MOTLEY_BLESS").is_some() {
        std::fs::write(&path, &page).expect("docs/src/settings.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/src/settings.md is not what the code declares: write it anew by the command at its head");
}

/// Which reward an agent learns from where the task pays each its own.
#[test]
fn a_critic_of_its_own_learns_from_the_agent_s_own_reward() {
    let reward = |algo: &str, critics: &str| {
        let overrides = vec![format!("algo.critics={critics}"), "num_envs=2".to_owned(), "algo.buffer_size=10000".to_owned()];
        let request = Request { algo: algo.into(), task: "mpe/simple_tag_v3".into(), overrides, ..Request::default() };
        let (plan, _) = request.plan_anywhere(&Registry::builtin()).expect("a plan");
        plan.settings.get::<String>("task.reward").expect("a word")
    };
    for algo in ["maddpg", "matd3"] {
        assert_eq!((reward(algo, "team"), reward(algo, "per_agent")), ("sum".to_owned(), "own".to_owned()), "{algo}");
    }
}

/// A setting that another one hides could be set by nobody: of two declarations with one name the later stands.
#[test]
fn no_setting_has_the_name_of_another() {
    let registry = Registry::builtin();
    let names = ["smac/3m", "smacv2/terran_5_vs_5", "skirmish/6m2V4b_vs_15m", "py:module:make", "gym/CartPole-v1"];
    let family: Vec<_> = names.iter().filter_map(|name| registry.tasks.get(name).ok()).collect();
    assert!(family.len() >= 3, "tasks by a pattern are tried too");
    for algorithm in registry.algorithms.iter() {
        for task in registry.tasks.iter().chain(family.iter().map(|task| &**task)) {
            let mut names: Vec<String> = settings::keys(&**algorithm, task).into_iter().map(|key| key.name).collect();
            names.sort();
            let twice: Vec<&String> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
            assert!(twice.is_empty(), "{} on {}: two settings are called {twice:?}", algorithm.name(), task.name());
        }
    }
}

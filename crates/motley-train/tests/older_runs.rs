//! Whether a run in a folder is the one that is asked for, whichever build began it.
#![allow(clippy::unwrap_used)]

use motley_train::settings::differences;
use motley_train::{Registry, Request};

/// A run of an older build is the one that is asked for where it is taken up as such.
#[test]
fn runs_of_older_builds_are_told_from_others() {
    let registry = Registry::builtin();
    let asked = |words: &[&str]| {
        let words: Vec<String> = ["preset=none"].iter().chain(words).map(|w| (*w).to_owned()).collect();
        let request = Request { algo: "hasac".into(), task: "mpe/simple_v3".into(), overrides: words, ..Request::default() };
        request.plan_anywhere(&registry).unwrap().0.settings
    };
    let now = asked(&["algo.target_update=0.02"]);
    let mut older = now.to_table();
    assert!(differences(&now, &older).is_empty());
    let algo = older["algo"].as_table_mut().unwrap();
    let pace = algo.remove("target_update").unwrap();
    algo.insert("tau".into(), pace);
    algo.remove("n_step").unwrap();
    algo.insert("long_gone".into(), 3.into());
    older.remove("overlap").unwrap();
    assert_eq!(differences(&now, &older), [], "a former name, keys that one side lacks");
    let named = |words: &[&str]| {
        differences(&asked(words), &older).into_iter().map(|d| (d.name, d.expected, d.found)).collect::<Vec<_>>()
    };
    let told = |name: &str, expected: &str, found: &str| vec![(name.to_owned(), expected.to_owned(), found.to_owned())];
    assert_eq!(named(&["algo.target_update=0.05"]), told("algo.target_update", "0.05", "0.02"));
    assert_eq!(named(&["algo.target_update=0.02", "algo.n_step=5"]), told("algo.n_step", "5", "nothing"));
    assert_eq!(named(&["algo.target_update=0.02", "algo.n_step=20", "total_steps=5", "eval.every=7"]), []);
}

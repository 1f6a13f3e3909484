//! What the documents quote is there.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

/// Every document below a folder; what is built or hidden is none.
fn documents(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                documents(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The words of a line between backticks that are paths of sources: `crate/src/file.rs`, `crate/tests/file.rs`, ...
fn sources(line: &str) -> impl Iterator<Item = &str> {
    let folders = ["src", "tests", "examples", "benches"];
    let is_source = move |word: &&str| {
        let mut parts = word.split('/').skip(1);
        word.ends_with(".rs") && !word.contains(['*', '{', '<', ' ']) && parts.next().is_some_and(|p| folders.contains(&p))
    };
    line.split('`').skip(1).step_by(2).filter(is_source)
}

#[test]
fn quoted_sources_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut all = Vec::new();
    documents(&root, &mut all);
    let (mut seen, mut stale) = (0, Vec::new());
    for document in all {
        let text = std::fs::read_to_string(&document).unwrap();
        for (k, line) in text.lines().enumerate() {
            for path in sources(line) {
                seen += 1;
                if !root.join("crates").join(path).is_file() && !root.join(path).is_file() {
                    stale.push(format!("{}:{}: {path}", document.display(), k + 1));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} paths were found");
    assert!(stale.is_empty(), "these are not there:\n{}", stale.join("\n"));
}

#[test]
fn paths_are_told_from_other_words() {
    let line = "`motley-nn/src/net.rs`, `Net::new`, `gone/tests/x.rs` and `src/lib.rs`, `a/src/*.rs`, plain b/src/c.rs";
    assert_eq!(sources(line).collect::<Vec<_>>(), ["motley-nn/src/net.rs", "gone/tests/x.rs"]);
}

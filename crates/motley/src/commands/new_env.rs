//! `motley new-env`: a user's own environment, scaffolded so that it passes `motley check` as it stands.

use std::path::Path;

use serde_json::json;

use crate::args::NewEnvArgs;
use crate::error::Failure;
use crate::output::Output;

const PYTHON: &str = include_str!("../../templates/env.py");
const RUST: &str = include_str!("../../templates/env.rs");

pub(crate) fn run(args: &NewEnvArgs, out: &Output) -> Result<u8, Failure> {
    let name = &args.name;
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !fits {
        return Err(Failure::usage(format!(
            "\"{name}\" cannot name an environment: use lower-case letters, digits and _, as in tug_and_winch"
        )));
    }
    let class: String = name.split('_').map(capital).collect();
    let (file, next) = if args.lang == "python" {
        let file = Path::new(name).with_extension("py");
        write_new(&file, &PYTHON.replace("NAME_CLASS", &class).replace("NAME_SNAKE", name))?;
        (file, format!("motley check py:{name}:make_env"))
    } else {
        let root = Path::new(name);
        let manifest = manifest(name);
        std::fs::create_dir(root).map_err(|e| Failure::usage(format!("{}: {e}", root.display())))?;
        write_new(&root.join("Cargo.toml"), &manifest)?;
        std::fs::create_dir(root.join("src")).map_err(|e| Failure::run(format!("{}: {e}", root.display())))?;
        let file = root.join("src").join("main.rs");
        write_new(&file, &RUST.replace("NameClass", &class).replace("NAME_SNAKE", name))?;
        (file, format!("cd {name} && cargo run --release -- check own/{name}"))
    };
    out.line(format!("written: {}", file.display()));
    out.line(format!("next: {next}"));
    out.event("done", json!({ "file": file.display().to_string(), "next": next }));
    Ok(0)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

fn manifest(name: &str) -> String {
    let (version, repository) = (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_REPOSITORY"));
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         motley = {{ version = \"{version}\", git = \"{repository}\" }}\n\
         motley-core = {{ version = \"{version}\", git = \"{repository}\" }}\n\n[profile.release]\npanic = \"unwind\"\n"
    )
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let create = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())
    };
    create().map_err(|e: std::io::Error| Failure::usage(format!("{}: {e}", path.display())))
}

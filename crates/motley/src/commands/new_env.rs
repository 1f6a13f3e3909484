//! `motley new-env`: a user's own environment, scaffolded so that it passes `motley check` as it stands.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::NewEnvArgs;
use crate::error::Failure;
use crate::output::Output;

const PYTHON: &str = include_str!("../../templates/env.py");
/// What the template for Python imports.
const IMPORTED: [&str; 3] = ["numpy", "gymnasium", "pettingzoo"];
/// Python's own modules, of 3.10 to 3.14: `sys.stdlib_module_names` without those that no environment can be called.
const PYTHONS_OWN: &str = include_str!("../../templates/python_modules.txt");
const RUST: &str = include_str!("../../templates/env.rs");
/// Names that Cargo or the compiler refuses: folders of its own, keywords, what the template depends on.
const RUSTS_OWN: &str = "\
    abstract alloc as async await become box break build const continue core crate deps do dyn else enum examples \
    extern false final fn for gen if impl in incremental let loop macro match mod motley motley_core move mut \
    override priv pub ref return self static std struct super test trait true try type unsafe use virtual where \
    while yield";

pub(crate) fn run(args: &NewEnvArgs, out: &Output) -> Result<u8, Failure> {
    let name = &args.name;
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !fits {
        return Err(Failure::usage(format!(
            "\"{name}\" cannot name an environment: use lower-case letters, digits and _, as in tug_and_winch"
        )));
    }
    let is_taken = IMPORTED.contains(&name.as_str()) || PYTHONS_OWN.split_whitespace().any(|module| module == name);
    if args.lang == "python" && is_taken {
        return Err(Failure::usage(format!(
            "\"{name}\" cannot name an environment: {name}.py would hide a module that Python or the environment needs"
        )));
    }
    if args.lang == "rust" && RUSTS_OWN.split_whitespace().any(|word| word == name) {
        return Err(Failure::usage(format!(
            "\"{name}\" cannot name an environment: no crate of Rust's can be called so beside what this one needs"
        )));
    }
    // The ending keeps a box from being the Box that the template imports.
    let class: String = name.split('_').map(capital).chain(["Env".to_owned()]).collect();
    let (file, next) = if args.lang == "python" {
        let file = Path::new(name).with_extension("py");
        write_new(&file, &PYTHON.replace("NAME_CLASS", &class).replace("NAME_SNAKE", name))?;
        (file, format!("motley check py:{name}:make_env"))
    } else {
        let root = Path::new(name);
        let manifest = manifest(name, checkout().as_deref());
        std::fs::create_dir(root).map_err(|e| in_the_way(root, &e))?;
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

/// The checkout that this program was built in, if it still lies there.
fn checkout() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let holds =
        |dir: &&Path| ["motley", "motley-core"].iter().all(|name| dir.join("crates").join(name).join("Cargo.toml").is_file());
    program.ancestors().find(holds).map(Path::to_owned)
}

fn manifest(name: &str, checkout: Option<&Path>) -> String {
    let (version, repository) = (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_REPOSITORY"));
    let dependency = |name: &str| match checkout {
        Some(dir) => format!("{name} = {{ path = {:?} }}", dir.join("crates").join(name)),
        None => format!("{name} = {{ version = \"{version}\", git = \"{repository}\" }}"),
    };
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n{}\n{}\n\n\
         [profile.release]\npanic = \"unwind\"\n\n[workspace]\n",
        dependency("motley"),
        dependency("motley-core")
    )
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let create = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())
    };
    create().map_err(|e: std::io::Error| in_the_way(path, &e))
}

fn in_the_way(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} is there already and is left as it is: take another name, or remove it", path.display()))
        }
        _ => Failure::run(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_is_depended_on_by_its_path() {
        let found = checkout().unwrap();
        assert!(found.join("crates/motley/templates/env.rs").is_file(), "{}", found.display());
        let near: toml::Table = manifest("tug", Some(&found)).parse().unwrap();
        let path = |table: &toml::Table, name: &str| table["dependencies"][name]["path"].as_str().map(PathBuf::from);
        assert_eq!(path(&near, "motley"), Some(found.join("crates/motley")));
        assert_eq!(path(&near, "motley-core"), Some(found.join("crates/motley-core")));
        assert!(near.contains_key("workspace"), "it is no member of the workspace around it");
        let far: toml::Table = manifest("tug", None).parse().unwrap();
        assert!(far["dependencies"]["motley"].get("git").is_some() && near["dependencies"]["motley"].get("git").is_none());
    }
}

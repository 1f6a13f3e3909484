//! Tells the program which git commit it is built from (`MOTLEY_GIT_COMMIT`; one that is set for the build is taken as it is), and, with
//! the feature `mujoco`, where its library lies.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    library_folder();
    println!("cargo:rerun-if-env-changed=MOTLEY_GIT_COMMIT");
    if std::env::var_os("MOTLEY_GIT_COMMIT").is_some() {
        return;
    }
    // Sources that lie in somebody else's repository have no commit of their own.
    if git(&["ls-files", "--error-unmatch", "Cargo.toml"]).is_none() {
        return;
    }
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return };
    println!("cargo:rustc-env=MOTLEY_GIT_COMMIT={commit}");
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().map(ToOwned::to_owned).chain(branch) {
        // A path that is not there would have this run at every build.
        if let Some(path) = git(&["rev-parse", "--git-path", &name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

/// Bakes MuJoCo's folder into the program: what the engine's crate says of linking holds for its own tests and examples alone.
fn library_folder() {
    println!("cargo:rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    let wanted = std::env::var_os("CARGO_FEATURE_MUJOCO").is_some() && std::env::var_os("CARGO_CFG_UNIX").is_some();
    if let Some(folder) = std::env::var("MUJOCO_DYNAMIC_LINK_DIR").ok().filter(|_| wanted) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}

/// What git says, where it is there and succeeds.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).stderr(std::process::Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

//! `motley export`: a policy as ONNX, one file for each distinct actor or one for the team.

use std::collections::BTreeSet;
use std::path::Path;

use motley_nn::TeamPolicy;
use motley_onnx::Exported;
use motley_train::Registry;
use motley_view::file::write_atomic;
use serde_json::json;

use crate::args::ExportArgs;
use crate::commands::source::Source;
use crate::error::Failure;
use crate::output::Output;

pub(crate) fn run(args: &ExportArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let (info, policy) = Source::new(&args.policy, out).read(registry)?;
    let actors = motley_onnx::export(&policy, &info.algo, args.joint).map_err(Failure::run)?;
    let single = args.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
    if single && actors.len() > 1 {
        let who: Vec<String> = actors.iter().map(|a| a.agents.join("+")).collect();
        return Err(Failure::usage(format!(
            "{} has {} unlike actors ({}): name a directory, -o {}, or ask for one file of the team, --joint",
            args.policy.from.display(),
            actors.len(),
            who.join(", "),
            args.out.with_extension("").display()
        )));
    }
    let verified = verify(&policy, &actors)?;
    if !verified {
        out.note(
            "not verified: this build runs no ONNX files; one with the feature verify-onnx runs what it writes and compares",
        );
    }
    let folder = if single { args.out.parent().unwrap_or(Path::new("")) } else { &args.out };
    std::fs::create_dir_all(folder).map_err(|e| Failure::run(format!("{}: {e}", folder.display())))?;
    if let ([actor], true) = (&actors[..], single) {
        write(&args.out, actor, verified, out)?;
        return Ok(0);
    }
    let mut taken = BTreeSet::new();
    for actor in &actors {
        let names = if actor.joint { "team".to_owned() } else { actor.agents.join("+") };
        write(&args.out.join(format!("{}.onnx", file_name(&names, &mut taken))), actor, verified, out)?;
    }
    Ok(0)
}

/// A file's name of agents' names, unlike those taken, whatever a file system thinks of capitals. They come from files that anybody
/// may have written: they never become paths.
fn file_name(names: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-+.".contains(c) { c } else { '_' };
    let plain: String = names.chars().map(plain).take(120).collect();
    let first = plain.trim_start_matches('.').to_owned();
    let (mut name, mut k) = (first.clone(), 1);
    while !taken.insert(name.to_ascii_lowercase()) {
        k += 1;
        name = format!("{first}-{k}");
    }
    name
}

/// Holds every file to the policy before any is written; whether this build can.
#[cfg(feature = "verify-onnx")]
fn verify(policy: &TeamPolicy, actors: &[Exported]) -> Result<bool, Failure> {
    actors.iter().try_for_each(|actor| motley_onnx::verify(policy, actor)).map_err(Failure::run)?;
    Ok(true)
}

#[cfg(not(feature = "verify-onnx"))]
fn verify(_: &TeamPolicy, _: &[Exported]) -> Result<bool, Failure> {
    Ok(false)
}

fn write(path: &Path, actor: &Exported, verified: bool, out: &Output) -> Result<(), Failure> {
    write_atomic(path, &actor.bytes).map_err(Failure::run)?;
    let held = if verified { ", verified" } else { "" };
    out.line(format!("written: {} ({}{held})", path.display(), actor.agents.join(", ")));
    let file = path.display().to_string();
    let fields = json!({
        "file": file, "agents": actor.agents, "joint": actor.joint, "verified": verified, "bytes": actor.bytes.len(),
    });
    out.event("exported", fields);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_get_files_of_their_own() {
        let mut taken = BTreeSet::new();
        let mut made = |names: &str| file_name(names, &mut taken);
        assert_eq!([made("a b"), made("a_b"), made("A_b"), made("a_b-2")], ["a_b", "a_b-2", "A_b-3", "a_b-2-2"]);
        assert_eq!([made("../x"), made("/x"), made("left+right")], ["_x", "_x-2", "left+right"]);
        let long = "n".repeat(200);
        assert_eq!([made(&long).len(), made(&long).len()], [120, 122]);
    }
}

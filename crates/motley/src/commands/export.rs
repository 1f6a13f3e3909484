//! `motley export`: a policy as ONNX, one file for each distinct actor.

use std::path::Path;

use motley_nn::Policy;
use motley_onnx::Exported;
use motley_view::file::write_atomic;
use serde_json::json;

use crate::args::ExportArgs;
use crate::commands::source::bundle;
use crate::error::Failure;
use crate::output::Output;

pub(crate) fn run(args: &ExportArgs, out: &Output) -> Result<u8, Failure> {
    let (info, policy) = bundle(&args.from)?;
    let actors = motley_onnx::export(&policy, &info.algo, policy.team()).map_err(Failure::run)?;
    let single = args.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
    if let ([actor], true) = (&actors[..], single) {
        write(&args.out, actor, out)?;
        return Ok(0);
    }
    if single {
        let who: Vec<String> = actors.iter().map(|a| a.agents.join("+")).collect();
        return Err(Failure::usage(format!(
            "{} has {} unlike actors ({}): name a directory, -o {}",
            args.from.display(),
            actors.len(),
            who.join(", "),
            args.out.with_extension("").display()
        )));
    }
    std::fs::create_dir_all(&args.out).map_err(|e| Failure::run(format!("{}: {e}", args.out.display())))?;
    for actor in &actors {
        // Agents' names come from files that anybody may have written: they never become paths.
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_-+.".contains(c) { c } else { '_' };
        let name: String = actor.agents.join("+").chars().map(plain).take(120).collect();
        write(&args.out.join(format!("{}.onnx", name.trim_start_matches('.'))), actor, out)?;
    }
    Ok(0)
}

fn write(path: &Path, actor: &Exported, out: &Output) -> Result<(), Failure> {
    write_atomic(path, &actor.bytes).map_err(Failure::run)?;
    out.line(format!("written: {} ({})", path.display(), actor.agents.join(", ")));
    out.event("exported", json!({ "file": path.display().to_string(), "agents": actor.agents, "bytes": actor.bytes.len() }));
    Ok(())
}

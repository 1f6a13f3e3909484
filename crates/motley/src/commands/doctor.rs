//! `motley doctor`: what this machine offers and what is missing, with the mend where there is one.

mod python;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use motley_kernels::Isa;
use motley_nn::net::Engine;
use motley_run::platform;
use serde_json::json;

use crate::commands::list::table;
use crate::error::Failure;
use crate::output::{Output, no_color};

/// One thing looked at.
struct Finding {
    what: &'static str,
    found: String,
    /// Where something is worse than it could be: what to do.
    mend: Option<String>,
    /// Whether most can do without, so that nothing is wanting where it is absent.
    optional: bool,
}

impl Finding {
    fn fine(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, found: found.into(), mend: None, optional: false }
    }

    fn optional(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what, found: found.into(), mend: Some(mend.into()), optional: true }
    }
}

pub(crate) fn run(out: &Output) -> Result<u8, Failure> {
    let findings = [
        Finding::fine("motley", format!("{} on {}", env!("CARGO_PKG_VERSION"), platform::platform())),
        Finding::fine("processor", platform::cpu()),
        cores(),
        simd(),
        memory(),
        run_folder(Path::new("runs")),
        terminal(),
        devices(),
        mujoco(),
        pictures(),
        starcraft(),
        program("git", "git", "optional: only to build from source"),
        python::finding(),
    ];
    let mut rows = Vec::new();
    for finding in &findings {
        rows.push([finding.what.to_owned(), finding.found.clone()]);
        if let Some(mend) = &finding.mend {
            rows.push([String::new(), format!("{} {mend}", if finding.optional { "to have it:" } else { "->" })]);
        }
        out.event("finding", json!({ "what": finding.what, "found": finding.found, "mend": finding.mend }));
    }
    table(out, &rows);
    let wanting = findings.iter().filter(|f| f.mend.is_some() && !f.optional).count();
    out.line(match wanting {
        0 => "\nready to train".to_owned(),
        n => format!("\n{n} could be better (->)"),
    });
    Ok(0)
}

fn cores() -> Finding {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let present = info.lines().filter(|line| line.starts_with("processor")).count().max(usable);
    let mend = (usable < present).then(|| {
        format!(
            "{} cores are withheld by affinity or a quota (taskset, cgroup, container): ask for more to train faster",
            present - usable
        )
    });
    Finding { what: "cores", found: format!("{usable} usable of {present}"), mend, optional: false }
}

fn simd() -> Finding {
    let current = Isa::current();
    let asked = std::env::var("MOTLEY_SIMD").ok();
    let found = format!("{}{}", name(current), asked.as_ref().map_or(String::new(), |a| format!(" (MOTLEY_SIMD={a})")));
    let widest = [Isa::Avx512, Isa::Avx2].into_iter().find(|isa| isa.available()).unwrap_or(Isa::Portable);
    let mend = match asked {
        Some(asked) if Isa::from_name(&asked).is_none() => {
            Some(format!("MOTLEY_SIMD={asked} is none of portable, avx2, avx512: unset it"))
        }
        Some(_) if current != widest => {
            Some(format!("this machine has {}: unset MOTLEY_SIMD (results stay the same)", name(widest)))
        }
        _ => None,
    };
    Finding { what: "SIMD", found, mend, optional: false }
}

fn name(isa: Isa) -> &'static str {
    match isa {
        Isa::Portable => "portable",
        Isa::Avx2 => "AVX2",
        Isa::Avx512 => "AVX-512",
    }
}

fn memory() -> Finding {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (Some(total), Some(free)) = (kibibytes(&info, "MemTotal:"), kibibytes(&info, "MemAvailable:")) else {
        return Finding::fine("memory", "unknown on this system");
    };
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let limited =
        limit.filter(|limit| *limit < total).map_or(String::new(), |limit| format!(", limited to {:.1} GiB", gib(limit)));
    let mend = (limit.unwrap_or(free).min(free) < 1 << 30)
        .then(|| "less than 1 GiB is free: end other programs, or take fewer num_envs".to_owned());
    Finding {
        what: "memory",
        found: format!("{:.1} GiB free of {:.1} GiB{limited}", gib(free), gib(total)),
        mend,
        optional: false,
    }
}

/// The bytes that a line `Name:   123 kB` tells.
fn kibibytes(info: &str, name: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether runs can be written where they go by default: tried with a file, in the nearest folder that there is.
fn run_folder(base: &Path) -> Finding {
    let there = if base.is_dir() { base.to_owned() } else { PathBuf::from(".") };
    let shown = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    let probe = there.join(format!(".motley-doctor-{}", std::process::id()));
    let tried = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    match tried.and_then(|_| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::fine("run folder", format!("{} can be written", shown.display())),
        Err(error) => Finding {
            what: "run folder",
            found: format!("{} cannot be written: {error}", shown.display()),
            mend: Some("start from a folder of yours, or give train --out DIR".into()),
            optional: false,
        },
    }
}

fn terminal() -> Finding {
    let plain = no_color();
    let found = match (std::io::stderr().is_terminal(), plain) {
        (true, false) => "yes: a moving progress line",
        (true, true) => "yes, but NO_COLOR is set: plain progress lines",
        (false, _) => "no: plain progress lines",
    };
    Finding::fine("terminal", found)
}

fn devices() -> Finding {
    let (here, not): (Vec<&str>, Vec<&str>) =
        ["cpu", "flex", "cuda", "wgpu"].into_iter().partition(|d| Engine::for_device(d).is_some());
    let rest = if not.is_empty() { String::new() } else { format!(" (not in this build: {})", not.join(", ")) };
    Finding::fine("devices", format!("{}{rest}", here.join(", ")))
}

/// Optional, so its absence is no fault; how to get it is told all the same.
fn mujoco() -> Finding {
    match motley_mujoco::linked() {
        Some(version) => Finding::fine("MuJoCo", format!("{version}, for the tasks mamujoco/* and hands/*")),
        None => Finding::optional("MuJoCo", "not in this build; for the tasks mamujoco/* and hands/*", motley_mujoco::MEND),
    }
}

/// Optional as well: found or not, the line says where was looked.
fn starcraft() -> Finding {
    match motley_sc2::survey() {
        Ok(found) => Finding::fine("StarCraft II", found),
        Err((what, mend)) => {
            Finding::optional("StarCraft II", format!("for the tasks smac/* and smacv2/*: {what} is missing"), mend)
        }
    }
}

/// What `motley render` shows the engine's tasks with; the plain view is always there, so nothing is wanting without.
fn pictures() -> Finding {
    Finding::fine(
        "pictures",
        match motley_mujoco::renderer() {
            Some(Ok(name)) => format!("MuJoCo's renderer, {name}"),
            Some(Err(why)) => format!("the plain view, not MuJoCo's renderer: {why}"),
            None => "the plain view (MuJoCo's renderer is not in this build)".into(),
        },
    )
}

fn program(what: &'static str, command: &str, remark: &str) -> Finding {
    let asked = Command::new(command).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let version = asked.ok().filter(|o| o.status.success()).map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    Finding::fine(what, format!("{} ({remark})", version.as_deref().unwrap_or("not found")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_lines_are_read() {
        let info = "MemTotal:       16384 kB\nMemAvailable:    1024 kB\n";
        assert_eq!((kibibytes(info, "MemTotal:"), kibibytes(info, "MemAvailable:")), (Some(16384 * 1024), Some(1024 * 1024)));
        assert_eq!((kibibytes(info, "Swap:"), kibibytes("MemTotal: x kB", "MemTotal:")), (None, None));
    }

    #[test]
    fn a_folder_that_cannot_be_written_gets_a_mend() {
        let dir = tempfile::tempdir().unwrap();
        assert!(run_folder(dir.path()).mend.is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }
}

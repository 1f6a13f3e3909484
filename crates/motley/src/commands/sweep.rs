//! `motley sweep`: the runs of a plan, here, as a Slurm array or over a Ray cluster; given again, it goes on where it stopped.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use motley_train::Registry;
use motley_view::file;
use serde_json::json;

use crate::args::{GRACE, SweepArgs, TrainArgs, Trust};
use crate::commands::jobs::{self, Job, State};
use crate::commands::plot::drawn;
use motley_run::shell;

use crate::commands::{plan, train};
use crate::error::Failure;
use crate::output::Output;
use crate::signals::Stop;

pub(crate) fn run(args: &SweepArgs, registry: &Registry, start: &[OsString], out: &Output) -> Result<u8, Failure> {
    let (above, jobs) = plan::read(&args.plan)?;
    if args.dry_run {
        for (k, job) in jobs.iter().enumerate() {
            if let (_, Some(no_room)) = job.look(registry)? {
                out.warning(format!("this machine refuses to train run {k}: {no_room}"));
            }
            out.line(format!("{k:4}  {}  {}", job.dir.display(), shell::line(&job.shown())));
            out.event("run", json!({ "index": k, "run": job.dir.display().to_string(), "words": job.shown() }));
        }
        return Ok(0);
    }
    if let Some(index) = args.index {
        let job = jobs
            .get(index)
            .ok_or_else(|| Failure::usage(format!("--index {index}: the plan has runs 0 to {}", jobs.len().saturating_sub(1))))?;
        return one(job, registry, out);
    }
    match args.launcher.as_str() {
        "slurm" => slurm(&args.plan, &above, &jobs, registry, start, out),
        "ray" => by_ray(args, &jobs, registry, out),
        _ => local(args, &above, &jobs, registry, start, out),
    }
}

fn local(
    args: &SweepArgs,
    above: &Path,
    jobs: &[Job],
    registry: &Registry,
    start: &[OsString],
    out: &Output,
) -> Result<u8, Failure> {
    let stop = Stop::listen()?;
    let failed = jobs::run(jobs, args.parallel, registry, start, &stop, out)?;
    let mut done = 0;
    for job in jobs {
        done += usize::from(job.state(registry)? == State::Done);
    }
    let place = above.display().to_string();
    out.event("done", json!({ "out": place, "runs": jobs.len(), "done": done, "failed": failed }));
    out.line(format!("{done} of {} runs are done, {failed} failed: motley compare {}", jobs.len(), shell::line(&[place])));
    Ok(match (failed, done == jobs.len()) {
        (0, true) => 0,
        (0, false) => stop.exit_code(),
        _ => 1,
    })
}

/// Hands the plan to the Python package, which knows Ray; its words and its exit code are this command's.
fn by_ray(args: &SweepArgs, jobs: &[Job], registry: &Registry, out: &Output) -> Result<u8, Failure> {
    for job in jobs {
        job.state(registry)?;
    }
    let python = motley_bridge::interpreter();
    let missing = |why: String| Failure {
        code: 3,
        message: format!(
            "the launcher \"ray\" needs the Python package: {why}; from a checkout of Motley, pip install '.[ray]', and name its interpreter with MOTLEY_PYTHON (now {})",
            python.display()
        ),
    };
    let probe = Command::new(&python).args(["-c", "import motley.ray"]).stdin(Stdio::null()).output();
    let probe = probe.map_err(|e| missing(e.to_string()))?;
    if !probe.status.success() {
        let text = String::from_utf8_lossy(&probe.stderr);
        return Err(missing(text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it cannot be imported").to_owned()));
    }
    let mut command = Command::new(&python);
    command.args(["-m", "motley.ray", "sweep"]).arg(&args.plan);
    if let Some(n) = args.parallel {
        command.args(["--parallel", &n.to_string()]);
    }
    if out.is_json() {
        command.arg("--json");
    }
    let status = command.status().map_err(|e| missing(e.to_string()))?;
    // One that a signal ended has no code.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// One run of the plan in this process, so that a scheduler's signals reach it.
fn one(job: &Job, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let state = job.state(registry)?;
    if state == State::Done {
        out.note(format!("{} is done", job.dir.display()));
        return Ok(0);
    }
    train::run(&train_args(job, state), registry, out)
}

/// What `motley train` is told of a run that is not done.
fn train_args(job: &Job, state: State) -> TrainArgs {
    let (resume, words, out) = match state {
        State::Stopped => (Some(job.dir.clone()), job.again(), None),
        _ => (None, job.words.clone(), Some(job.dir.clone())),
    };
    TrainArgs { words, resume, config: None, out, trust: Trust { trust: false }, grace: GRACE }
}

/// Writes the script of a job array beside the runs.
fn slurm(plan: &Path, above: &Path, jobs: &[Job], registry: &Registry, start: &[OsString], out: &Output) -> Result<u8, Failure> {
    for job in jobs {
        job.state(registry)?;
    }
    let failed = |e: std::io::Error| Failure::run(format!("{}: {e}", above.display()));
    let here = std::env::current_dir().map_err(failed)?;
    let logs = here.join(above).display().to_string();
    if logs.contains(|c: char| c == '"' || c.is_control()) {
        return Err(Failure::usage(format!(
            "{logs:?}: the script for Slurm cannot name a folder with quotation marks or control characters: give the plan another `out`"
        )));
    }
    std::fs::create_dir_all(above).map_err(failed)?;
    let path: PathBuf = above.join("sweep.sbatch");
    file::write_atomic(&path, script(start, &here, plan, above, jobs.len()).as_bytes()).map_err(drawn)?;
    out.line(format!(
        "written: {} ({} runs); edit its resources, then: sbatch {}",
        path.display(),
        jobs.len(),
        shell::path(&path)
    ));
    out.event("done", json!({ "out": path.display().to_string(), "runs": jobs.len() }));
    Ok(0)
}

fn script(start: &[OsString], here: &Path, plan: &Path, above: &Path, runs: usize) -> String {
    let program: Vec<String> = start.iter().map(quoted).collect();
    format!(
        "#!/bin/bash\n\
         #SBATCH --job-name=motley-sweep\n\
         #SBATCH --array=0-{}\n\
         #SBATCH --ntasks=1\n\
         #SBATCH --cpus-per-task=2\n\
         #SBATCH --mem=4G\n\
         #SBATCH --time=04:00:00\n\
         #SBATCH --output=\"{}/slurm-%A_%a.log\"\n\
         #SBATCH --open-mode=append\n\
         #SBATCH --requeue\n\
         # Two minutes before the end the run is asked to checkpoint; it then exits with 75 and goes back into the queue.\n\
         #SBATCH --signal=USR1@120\n\
         cd {} || exit 1\n\
         export MOTLEY__THREADS=\"${{SLURM_CPUS_PER_TASK:-1}}\"\n\
         srun {} sweep {} --index \"$SLURM_ARRAY_TASK_ID\"\n\
         code=$?\n\
         if [ \"$code\" -eq 75 ]; then\n    scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}\"\n    exit 0\nfi\n\
         exit \"$code\"\n",
        runs.saturating_sub(1),
        here.join(above).display(),
        quoted(here),
        program.join(" "),
        quoted(plan),
    )
}

/// One word of a shell.
fn quoted(word: impl AsRef<OsStr>) -> String {
    shell::in_quotes(&word.as_ref().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Out of a queue again, a run is given its secrets again: its folder does not keep them.
    #[test]
    fn a_run_that_is_requeued_keeps_its_secrets() {
        let words = ["happo", "py:a:b", "task.kwargs={token=\"x\"}", "algo.lr=0.1", "total_steps=100"].map(String::from).to_vec();
        let job = Job { dir: "r/s1".into(), words: words.clone() };
        let args = train_args(&job, State::Stopped);
        assert_eq!((args.resume, args.out), (Some(PathBuf::from("r/s1")), None));
        assert_eq!(args.words, ["task.kwargs={token=\"x\"}", "total_steps=100"]);
        let args = train_args(&job, State::New);
        assert_eq!((args.words, args.resume, args.out), (words, None, Some(PathBuf::from("r/s1"))));
    }
}

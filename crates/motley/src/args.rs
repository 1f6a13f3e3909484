//! The shape of the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand};

/// Cooperative multi-agent reinforcement learning in teams of unlike agents.
#[derive(Debug, Parser)]
#[command(name = "motley", version, propagate_version = true)]
pub(crate) struct Args {
    /// Write results as JSON, one object a line, to standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress, only results and warnings.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a team; uses the tuned preset where one exists.
    Train(TrainArgs),
    /// Evaluate a run or a policy bundle.
    Eval(EvalArgs),
    /// Draw episodes of a run or a policy bundle.
    Render(RenderArgs),
    /// List algorithms, tasks, presets or published results.
    List(ListArgs),
    /// Show the resolved configuration and where each value comes from.
    Config(ConfigArgs),
    /// Try the environment contract on a task.
    Check(CheckArgs),
    /// Learning curves of one or many runs.
    Plot(PlotArgs),
    /// Compare runs over seeds, algorithms and tasks: IQM with intervals, profiles, probability of improvement.
    Compare(CompareArgs),
    /// Train what a paper reports, and say whether its result is reached (exit 4 if not).
    Reproduce(ReproduceArgs),
    /// Run a plan of many trainings: grids, lists or random draws of settings, times seeds.
    Sweep(SweepArgs),
    /// Exact tabular games: monotone improvement, bounds, equilibria.
    Theory(TheoryArgs),
    /// Write a policy as ONNX, for programs that know nothing of Motley. Runs become a document of marl-eval's by `motley compare RUNS
    /// --absolute -o FOLDER`.
    Export(ExportArgs),
    /// Take over weights and settings of HARL and EPyMARL. Documents of marl-eval's are read by `motley compare FILE.json`.
    Import(ImportArgs),
    /// Scaffold an environment of your own that passes `motley check` as it stands.
    NewEnv(NewEnvArgs),
    /// What this machine offers and what is missing, with the mend.
    Doctor,
    /// Speed of this machine, of environments, of gradient steps, of whole training.
    Bench(BenchArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// What to time; without it limits, env and update.
    #[command(subcommand)]
    pub(crate) what: Option<BenchCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Matrix products and memory bandwidth of this machine.
    Limits,
    /// Env steps a second of tasks (default: all), on one core and on all.
    Env {
        /// Tasks to time.
        tasks: Vec<String>,
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 0.5, value_parser = seconds)]
        seconds: f64,
    },
    /// Gradient steps of the reference network, and their share of the machine's matrix products.
    Update {
        /// Alternations of everything that is compared.
        #[arg(long, default_value_t = 5, value_parser = count(10_000))]
        rounds: usize,
    },
    /// Whole training: ALGO TASK [key=value ...].
    Train {
        /// ALGO TASK [key=value ...]
        words: Vec<String>,
        /// Seconds after the first update.
        #[arg(long, default_value_t = 15.0, value_parser = seconds)]
        seconds: f64,
    },
}

/// Seconds between SIGTERM and the end: Slurm and Kubernetes send SIGKILL 30 seconds after it.
pub(crate) const GRACE: u64 = 25;

#[derive(Debug, clap::Args)]
#[command(mut_arg("trust", |trust| trust.requires("resume")))]
pub(crate) struct TrainArgs {
    /// ALGO TASK [key=value ...]; with --resume only key=value.
    pub(crate) words: Vec<String>,
    /// Go on exactly where this run stopped.
    #[arg(long, value_name = "RUN")]
    pub(crate) resume: Option<PathBuf>,
    /// A TOML file of settings, between preset and command line.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The run folder (default: runs/<suite>/<task>/<algo>/<UTC time>-s<seed>; MOTLEY_HOME is taken for runs).
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// After SIGTERM, end by then also in the midst of an update: the last checkpoint stands (exit code 75 all the same).
    #[arg(long, value_name = "SECONDS", default_value_t = GRACE)]
    pub(crate) grace: u64,
}

/// Which policy of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// Of the best evaluation; of a run without one, as [`Chosen::Latest`].
    Best,
    /// Of the latest checkpoint.
    Latest,
    /// Of the checkpoint after so many env steps.
    Step(u64),
}

impl FromStr for Chosen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "best" => Ok(Self::Best),
            "latest" => Ok(Self::Latest),
            step => step.parse().map(Self::Step).map_err(|_| "expected best, latest, or the env steps of a checkpoint".into()),
        }
    }
}

/// Whether folders may say what code is run.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Trust {
    /// Open a task that runs code of the folder's choosing (py:, gym/, football/, a game by its path) though Motley did not write the folder
    /// for you on this machine; MOTLEY_TRUST=1 says it for every command.
    #[arg(long)]
    pub(crate) trust: bool,
}

/// A trained policy.
#[derive(Debug, clap::Args)]
pub(crate) struct PolicyArgs {
    /// A run folder or a policy bundle.
    pub(crate) from: PathBuf,
    /// Which policy of a run: best, latest, or the env steps of a checkpoint.
    #[arg(long, default_value = "best", value_name = "best|latest|STEP")]
    pub(crate) checkpoint: Chosen,
    #[command(flatten)]
    pub(crate) trust: Trust,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// key=value settings of the task in place of those of training (task.* may be left out).
    pub(crate) settings: Vec<String>,
    /// Another task with the same agents, spaces and state: smac/3m for a run of skirmish/3m.
    #[arg(long)]
    pub(crate) task: Option<String>,
    /// Episodes to play.
    #[arg(long, default_value_t = 100, allow_negative_numbers = true, value_parser = count(1_000_000))]
    pub(crate) episodes: usize,
    /// Names the streams of the episodes.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Sample actions instead of taking the most likely ones.
    #[arg(long)]
    pub(crate) stochastic: bool,
    /// Return against uniform noise on observations, obs=0..D[/LEVELS][,agents=NAME+NAME], or on actions, act=0..D with the same parts.
    #[arg(long, value_name = "NOISE")]
    pub(crate) noise: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Where to: .gif (moving), .png (frames side by side) or .html (a page with a slider, playing and pausing); without it, or with -,
    /// episodes are played in the terminal.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Episodes to draw.
    #[arg(long, default_value_t = 3, value_parser = count(1000))]
    pub(crate) episodes: usize,
    /// Names the streams of the episodes.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Sample actions instead of taking the most likely ones.
    #[arg(long)]
    pub(crate) stochastic: bool,
    /// Width of a frame in pixels.
    #[arg(long, default_value_t = 480)]
    pub(crate) width: u32,
    /// Draw the plain view also where the task has a renderer of its own.
    #[arg(long)]
    pub(crate) plain: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Where to: a file .onnx, or a directory where actors differ.
    #[arg(long, short, value_name = "FILE|DIR")]
    pub(crate) out: PathBuf,
    /// One file for the whole team, as policies have it anyway whose agents hear each other or where one decides for all.
    #[arg(long)]
    pub(crate) joint: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// A folder of HARL (of a run, or its models) or EPyMARL (with agent.th), or a config.json alone.
    pub(crate) from: PathBuf,
    /// [ALGO TASK] [key=value ...], over what the configuration says.
    pub(crate) words: Vec<String>,
    /// The configuration, where it does not lie in the folder or the one above.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to: a folder for a policy bundle (default: imported), or, where there are no weights, a file for settings (default:
    /// imported.toml).
    #[arg(long, short, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    /// Episodes that the imported policy is evaluated on.
    #[arg(long, default_value_t = 20, value_parser = count(1_000_000))]
    pub(crate) episodes: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NewEnvArgs {
    /// Its name: lower-case letters, digits and _.
    pub(crate) name: String,
    /// The language.
    #[arg(long, value_parser = ["python", "rust"])]
    pub(crate) lang: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// What to list.
    #[arg(value_parser = ["algorithms", "tasks", "presets", "results"])]
    pub(crate) what: String,
    /// Only what has all of these in its names (of tasks in their summaries too).
    pub(crate) texts: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// ALGO TASK [key=value ...]
    pub(crate) words: Vec<String>,
    /// A TOML file of settings, between preset and command line.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// In place of the values a JSON Schema of them, for editors of such files.
    #[arg(long)]
    pub(crate) schema: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The task.
    pub(crate) task: String,
    /// key=value settings of the task (task.* may be left out).
    pub(crate) settings: Vec<String>,
    /// Names the streams of the trials.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Compare with this recorded trace of another simulator (.npz) instead of trying the contract.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PlotArgs {
    /// Run folders, or folders above them.
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Where to: .svg or .png.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// What to plot.
    #[arg(long, default_value = "eval/return_mean")]
    pub(crate) metric: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Run folders, folders above them, marl-eval documents (.json), records of runs (.jsonl).
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// What to compare.
    #[arg(long, value_parser = ["return", "win-rate"], default_value = "return")]
    pub(crate) metric: String,
    /// Evaluate each run's best policy again on ten times the episodes, and compare that.
    #[arg(long)]
    pub(crate) absolute: bool,
    /// Ends of a task's scale, TASK=LOW,HIGH; else known ones or those of the runs are taken.
    #[arg(long, value_name = "BOUNDS")]
    pub(crate) bounds: Vec<String>,
    /// What counts as solved in the optimality gap, on the scale 0 to 1.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) threshold: f64,
    /// Bootstrap resamples.
    #[arg(long, default_value_t = 2000, allow_negative_numbers = true, value_parser = count(100_000))]
    pub(crate) resamples: usize,
    /// Names the draws of the bootstrap.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Also write table.tex, runs.jsonl, marl-eval.json (with --absolute) and pictures into this folder.
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Also write a results page for each suite into this folder of the book.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) book: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trust,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReproduceArgs {
    /// The result (see motley list results).
    pub(crate) id: String,
    /// Runs, with seeds 0, 1, 2, ...
    #[arg(long, default_value_t = 5, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) seeds: u64,
    /// Train this part of the published budget only, for a look at the beginning of the curve.
    #[arg(long, value_name = "PART", default_value_t = 1.0)]
    pub(crate) steps_fraction: f64,
    /// Runs at a time (default: one a core).
    #[arg(long)]
    pub(crate) parallel: Option<usize>,
    /// Where the run folders go (default: runs/reproduce/<ID>, or $MOTLEY_HOME/reproduce/<ID>); runs found there are resumed or taken as they are.
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Further settings, key=value; where they change what is learned the verdict is about those.
    pub(crate) settings: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    /// The plan, a TOML file.
    pub(crate) plan: PathBuf,
    /// Where the runs are trained: here, by a Slurm array (writes its script), by Ray (with the Python package).
    #[arg(long, value_parser = ["local", "slurm", "ray"], default_value = "local")]
    pub(crate) launcher: String,
    /// Runs at a time (default: one a core).
    #[arg(long)]
    pub(crate) parallel: Option<usize>,
    /// Train only the run of this number, as a job array does.
    #[arg(long)]
    pub(crate) index: Option<usize>,
    /// Show the runs and train nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TheoryArgs {
    /// The game (default: random).
    pub(crate) game: Option<String>,
    /// Names the random game and the orders of updates.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Iterations of each method.
    #[arg(long)]
    pub(crate) iterations: Option<usize>,
    /// The penalty of the penalty game.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) k: Option<f64>,
    /// Also draw the returns to this .svg or .png.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// A length of time that can be measured: a millisecond to a day.
fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    number.ok_or_else(|| "expected seconds, 0.001 to 86400".to_owned())
}

/// At least one of something, and no more than can be meant.
fn count(most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|count| (1..=most).contains(count));
        number.ok_or_else(|| format!("expected a whole number, 1 to {most}"))
    }
}

//! `motley reproduce`: trains what a paper reports and says whether its result is reached.

use std::ffi::OsString;

use motley_core::ConfigError;
use motley_core::error::nearest;
use motley_envs::registry::options;
use motley_run::home;
use motley_stats::published::{self, Comparison, Published, Source, Undecided, Verdict};
use motley_stats::{Estimate, FEWEST_SEEDS, RunRecord};
use motley_train::Registry;
use motley_train::presets::Preset;
use serde_json::{Value, json};

use crate::args::ReproduceArgs;
use crate::commands::compare::{bootstrap, digits, interval};
use crate::commands::config::request;
use crate::commands::jobs::{self, Job, State};
use crate::commands::list::{Wanted, screen_table};
use crate::commands::records::from_folder;
use crate::error::Failure;
use crate::output::Output;
use crate::signals::Stop;

/// The exit code of a band that was missed.
const MISSED: u8 = 4;
/// Settings that this command makes itself.
const SET: [&str; 3] = ["seed", "total_steps", "schedule_steps"];
/// Bootstrap resamples of the interval.
const RESAMPLES: usize = 2000;

pub(crate) fn run(args: &ReproduceArgs, registry: &Registry, start: &[OsString], out: &Output) -> Result<u8, Failure> {
    let result = find(&args.id)?;
    if !(args.steps_fraction > 0.0 && args.steps_fraction <= 1.0) {
        return Err(Failure::usage(format!(
            "--steps-fraction {}: expected a part of the budget, above 0 and at most 1",
            args.steps_fraction
        )));
    }
    if let Some(word) = args.settings.iter().find(|word| SET.contains(&key(word))) {
        return Err(Failure::usage(format!(
            "{word}: a published result says its budget, and seeds count from 0: --seeds says how many, --steps-fraction how much of the budget"
        )));
    }
    if let Some(why) = missing(result, registry) {
        return Err(Failure { code: 3, message: format!("{} cannot be run: {why}", result.id) });
    }
    let steps = ((result.steps as f64 * args.steps_fraction) as u64).max(1);
    let jobs = jobs(result, args, steps);
    let form = Form::of(&jobs, args, registry)?;
    out.note(describe(result));
    if form.is_untuned() {
        out.warning(format!(
            "no preset is made for {} ({}): defaults are trained, and a value below the band says nothing (settings can be given as key=value)",
            result.task, form.text
        ));
    } else {
        out.note(format!("trained as: {}", form.text));
    }
    match args.seeds {
        1 => out.warning(format!("one seed has no interval: {FEWEST_SEEDS} are the fewest that carry one")),
        n if n < FEWEST_SEEDS as u64 => out.warning(format!("{n} seeds: an interval of fewer than {FEWEST_SEEDS} is too narrow")),
        _ => {}
    }
    let stop = Stop::listen()?;
    let failed = jobs::run(&jobs, args.parallel, registry, start, &stop, out)?;
    if failed > 0 {
        return Err(Failure::run(format!("{failed} of {} runs failed: no verdict; give the command again to go on", jobs.len())));
    }
    let mut records: Vec<RunRecord> = Vec::new();
    for job in &jobs {
        if job.state(registry)? != State::Done {
            out.line("stopped: give the command again to go on");
            return Ok(stop.exit_code());
        }
        records.extend(from_folder(&job.dir, out)?.map(|r| until(r, steps)));
    }
    if records.len() < jobs.len() {
        return Err(Failure::run(format!(
            "{} of {} runs have no evaluation: no verdict; remove their folders and give the command again",
            jobs.len() - records.len(),
            jobs.len()
        )));
    }
    // Settings were checked before anything was trained: what cannot be read now is a fault of the runs.
    let compared = result.compare(&records, steps, &bootstrap(RESAMPLES, 0)?);
    let mut comparison = compared.map_err(|error| Failure::run(format!("{}: no verdict: {error}", result.id)))?;
    comparison.verdict = form.judged(comparison.verdict);
    // An update of many environments may end beyond what was asked for.
    let steps = records.iter().map(|record| record.env_steps).max().unwrap_or(steps);
    report(result, steps, &records, &comparison, &form, out);
    Ok(if matches!(comparison.verdict, Verdict::Missed | Verdict::Impossible) { MISSED } else { 0 })
}

/// What is trained: every figure names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Form {
    /// Everything that is trained has a preset.
    tuned: bool,
    /// Settings that change what is learned were given with the command.
    own: bool,
    text: String,
}

impl Form {
    /// Of the algorithm's jobs and of those of the one it is compared with.
    fn of(jobs: &[Job], args: &ReproduceArgs, registry: &Registry) -> Result<Self, Failure> {
        let mut presets: Vec<(&str, Option<String>)> = Vec::new();
        for job in jobs {
            let algo = job.words.first().map_or("", String::as_str);
            if !presets.iter().any(|p| p.0 == algo) {
                presets.push((algo, request(&job.words, None)?.plan(registry)?.preset.map(Preset::title)));
            }
        }
        let name = |(algo, preset): &(&str, Option<String>)| match preset {
            Some(title) => format!("preset {title}"),
            None => format!("{algo} without a preset"),
        };
        let named = presets.iter().map(name).collect::<Vec<_>>().join(" against ");
        let text = if args.settings.is_empty() { named } else { format!("{named}, {}", args.settings.join(" ")) };
        let own = args.settings.iter().any(|word| teaches(word));
        Ok(Self { tuned: presets.iter().all(|p| p.1.is_some()), own, text })
    }

    /// Nobody has chosen what is trained.
    fn is_untuned(&self) -> bool {
        !self.tuned && !self.own
    }

    /// Defaults that fall short have not missed what others tuned for.
    fn judged(&self, verdict: Verdict) -> Verdict {
        if self.is_untuned() && verdict == Verdict::Missed { Verdict::Unknown } else { verdict }
    }
}

/// The key of a word `key=value`.
fn key(word: &str) -> &str {
    word.split_once('=').map_or(word, |(key, _)| key).trim()
}

/// Whether a word `key=value` changes what is learned, as threads, evaluations and logs do not.
fn teaches(word: &str) -> bool {
    let key = key(word);
    ["num_envs", "preset"].contains(&key) || ["algo.", "net.", "task."].iter().any(|section| key.starts_with(section))
}

/// The beginning of a run: a folder may hold one that was trained further than is asked about now.
pub(crate) fn until(mut record: RunRecord, steps: u64) -> RunRecord {
    let count = record.evaluations.iter().position(|e| e.env_steps >= steps).map_or(record.evaluations.len(), |last| last + 1);
    record.evaluations.truncate(count);
    record.env_steps = record.evaluations.last().map_or(0, |e| e.env_steps);
    record
}

fn find(id: &str) -> Result<&'static Published, Failure> {
    published::all().iter().find(|p| p.id == id).ok_or_else(|| {
        let near = nearest(id, published::all().iter().map(|p| p.id.as_str()));
        let hint =
            if near.is_empty() { "see motley list results".to_owned() } else { format!("did you mean {}?", near.join(" or ")) };
        Failure::usage(format!("unknown result \"{id}\" ({hint})"))
    })
}

/// Why this program cannot run it, if it cannot.
fn missing(result: &Published, registry: &Registry) -> Option<String> {
    if let Some(algo) = algos(result).find(|algo| registry.algorithms.get(algo).is_err()) {
        return Some(format!("this build has no algorithm \"{algo}\""));
    }
    let Ok(task) = registry.tasks.get(&result.task) else {
        return Some(format!("this build has no task \"{}\"", result.task));
    };
    // Other errors are those of settings, which the run tells.
    match options(&*task, &[]).and_then(|options| task.available(&options)) {
        Err(ConfigError::Missing { what, .. }) => Some(format!("needs {what}, see motley doctor")),
        _ => None,
    }
}

/// What is trained: the algorithm, and the one it is compared with.
fn algos(result: &Published) -> impl Iterator<Item = &str> {
    std::iter::once(result.algo.as_str()).chain(result.against.as_deref())
}

/// The words after ALGO TASK that make a run one of the result's.
pub(crate) fn words(result: &Published) -> Vec<String> {
    result.preset.iter().map(|p| format!("preset={p}")).chain(result.settings.iter().cloned()).collect()
}

fn jobs(result: &Published, args: &ReproduceArgs, steps: u64) -> Vec<Job> {
    let above = args.out.clone().unwrap_or_else(|| home().join("reproduce").join(&result.id));
    let job = |algo: &str, seed: u64| {
        // Schedules have the published horizon: a part of the budget is then the beginning of the whole.
        let fixed = [format!("total_steps={steps}"), format!("schedule_steps={}", result.steps), format!("seed={seed}")];
        let own = words(result).into_iter().chain(args.settings.iter().cloned());
        let words = [algo.to_owned(), result.task.clone()].into_iter().chain(own).chain(fixed).collect();
        let name = if algo == result.algo { format!("s{seed}") } else { format!("{algo}-s{seed}") };
        Job { dir: above.join(name), words }
    };
    algos(result).flat_map(|algo| (0..args.seeds).map(move |seed| (algo, seed))).map(|(algo, seed)| job(algo, seed)).collect()
}

fn describe(p: &Published) -> String {
    let d = digits(p.value);
    if let Some(other) = &p.against {
        return format!("{}, {}: {} better than {other} on {} at {} env steps each", p.id, p.paper, p.algo, p.task, p.steps);
    }
    format!("{}: {}, {}: {:.d$} (band {:.d$} to {:.d$}) at {} env steps", p.id, p.paper, p.place, p.value, p.low, p.high, p.steps)
}

/// A verdict in a word.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reached => "reached",
        Verdict::Above => "above",
        Verdict::Missed => "missed",
        Verdict::Impossible => "impossible",
        Verdict::Unknown => "no verdict",
    }
}

fn report(result: &Published, steps: u64, records: &[RunRecord], c: &Comparison, form: &Form, out: &Output) {
    let seeds = records.iter().filter(|r| r.algo == result.algo).count();
    out.line(format!(
        "{}: {}\nours {} at {steps} env steps ({}); {}",
        result.id,
        sentence(c, seeds),
        measured(&c.ours, digits(result.value), seeds),
        form.text,
        theirs(result, c)
    ));
    if let Some(why) = unjudged(result, c, form) {
        out.line(format!("no verdict: {why}"));
    }
    if !result.note.is_empty() {
        out.line(format!("note: {}", result.note));
    }
    out.event("done", fields(result, steps, seeds, c, form));
}

/// The verdict, and whether the interval agrees: of one seed there is none.
fn sentence(c: &Comparison, seeds: usize) -> String {
    let verdict = if c.verdict == Verdict::Above { "above the published band" } else { word(c.verdict) };
    let more = match (c.verdict, c.clear) {
        (Verdict::Impossible, _) => ": better than any policy can be on this task, so something is wrong",
        (Verdict::Reached | Verdict::Above | Verdict::Missed, _) if seeds < 2 => "",
        (Verdict::Reached | Verdict::Above | Verdict::Missed, true) => ", and the whole interval agrees",
        (Verdict::Reached | Verdict::Above | Verdict::Missed, false) => ", but the interval reaches across the edge of the band",
        (Verdict::Unknown, _) => "",
    };
    format!("{verdict}{more}")
}

/// `-64.0 [-66.1, -62.3] over 5 seeds`
fn measured(ours: &Estimate, digits: usize, seeds: usize) -> String {
    match seeds {
        0 | 1 => format!("{:.digits$} (one seed)", ours.value),
        2..FEWEST_SEEDS => format!("{} over {seeds} seeds (so few make a rough interval)", interval(ours, digits)),
        _ => format!("{} over {seeds} seeds", interval(ours, digits)),
    }
}

/// The published value at these steps, with the band that was judged by.
fn theirs(result: &Published, c: &Comparison) -> String {
    let d = digits(result.value);
    match (&result.against, c.published, c.band.filter(|_| result.source.judges())) {
        (_, None, _) => "nothing published at these steps".to_owned(),
        (Some(other), ..) => format!("that is the difference to {other}"),
        (None, Some(v), Some((low, high))) => format!("published {v:.d$} (band {low:.d$} to {high:.d$})"),
        (None, Some(v), None) => format!("published {v:.d$}"),
    }
}

/// The same for a program; whether an interval agrees is null where one seed makes none.
fn fields(result: &Published, steps: u64, seeds: usize, c: &Comparison, form: &Form) -> Value {
    json!({
        "id": result.id, "algo": result.algo, "task": result.task, "verdict": word(c.verdict), "clear": (seeds > 1).then_some(c.clear),
        "value": c.ours.value, "low": c.ours.low, "high": c.ours.high, "seeds": seeds, "env_steps": steps,
        "published": c.published, "band_low": c.band.map(|b| b.0), "band_high": c.band.map(|b| b.1),
        "against": result.against, "form": form.text, "reason": unjudged(result, c, form),
    })
}

/// Why nothing is judged, if nothing is.
fn unjudged(result: &Published, c: &Comparison, form: &Form) -> Option<String> {
    match (c.verdict, c.published) {
        (Verdict::Unknown, Some(_)) if !result.source.judges() => {
            Some(format!("the published value is {}", source(result.source)))
        }
        (Verdict::Unknown, Some(_)) if c.undecided.is_some() => c.undecided.map(|why| match why {
            Undecided::NobodyWins => "both win rates are 0, so there is nothing to tell apart".into(),
            Undecided::EverybodyWins => "both win rates are 1, so there is nothing to tell apart".into(),
            Undecided::FewSeeds => format!("the claim takes {} seeds of either algorithm", result.seeds),
        }),
        (Verdict::Unknown, Some(_)) if form.is_untuned() => Some("defaults were trained, no preset is made for this task".into()),
        _ => None,
    }
}

/// `motley list results`; how many are listed.
pub(crate) fn list(registry: &Registry, wanted: &Wanted, out: &Output) -> usize {
    let mut rows = vec![["RESULT", "VALUE", "BAND", "ENV STEPS", "SOURCE", "TASK", "HERE"].map(str::to_owned)];
    for p in published::all().iter().filter(|p| wanted.is_in(&[&p.id, &p.algo, &p.task])) {
        let d = digits(p.value);
        let why = missing(p, registry);
        let task = [vec![p.task.clone()], p.settings.clone()].concat().join(" ");
        rows.push([
            p.id.clone(),
            p.against.as_ref().map_or_else(|| format!("{:.d$}", p.value), |other| format!("> {other}")),
            if p.against.is_some() { String::new() } else { format!("{:.d$} to {:.d$}", p.low, p.high) },
            p.steps.to_string(),
            format!("{} ({})", p.place, source(p.source)),
            task,
            why.clone().unwrap_or_else(|| "can be run".into()),
        ]);
        let fields: Value = json!({
            "name": p.id, "paper": p.paper, "place": p.place, "source": source(p.source), "algo": p.algo, "task": p.task,
            "settings": p.settings.join(" "), "total_steps": p.steps, "metric": p.metric, "value": p.value, "low": p.low, "high": p.high,
            "limit": p.limit, "against": p.against, "note": p.note, "missing": why,
        });
        out.event("result", fields);
    }
    screen_table(out, &rows)
}

pub(crate) fn source(source: Source) -> &'static str {
    match source {
        Source::Table => "table",
        Source::Figure => "read off a figure",
        Source::Transcript => "transcript",
        Source::Logic => "follows from the payoffs",
        Source::Claim => "stated without a number",
        Source::Unverified => "from memory, unverified",
        Source::Other => "of another simulator, other rules or settings not here",
    }
}

#[cfg(test)]
mod tests {
    use motley_core::{Env, Key, Task, TaskOptions};
    use motley_train::Request;

    use std::path::PathBuf;

    use super::*;

    #[test]
    fn defaults_that_fall_short_have_missed_nothing() {
        let registry = Registry::builtin();
        let args = |settings: &[&str]| ReproduceArgs {
            id: String::new(),
            seeds: 1,
            steps_fraction: 1.0,
            parallel: None,
            out: None,
            settings: settings.iter().map(ToString::to_string).collect(),
        };
        let form = |id: &str, own: &[&str]| {
            let (result, args) = (find(id).unwrap(), args(own));
            Form::of(&jobs(result, &args, result.steps), &args, &registry).unwrap()
        };
        let tuned = form("harl-spread-discrete/happo", &[]);
        assert_eq!((tuned.text.as_str(), tuned.judged(Verdict::Missed)), ("preset happo/tuned", Verdict::Missed));
        let bare = Form { tuned: false, own: false, text: String::new() };
        assert_eq!(
            [Verdict::Missed, Verdict::Reached, Verdict::Impossible].map(|v| bare.judged(v)),
            [Verdict::Unknown, Verdict::Reached, Verdict::Impossible]
        );
        let own = form("harl-spread-discrete/happo", &["algo.lr=0.1"]);
        assert_eq!((own.text.as_str(), own.is_untuned()), ("preset happo/tuned, algo.lr=0.1", false));
        assert_eq!(Form { own: true, ..bare }.judged(Verdict::Missed), Verdict::Missed);
        let chosen = |word: &str| form("harl-spread-discrete/happo", &[word]).own;
        let idle = ["threads=1", "eval.episodes=20", "log.keep=1", "device=flex"].map(chosen);
        let taught = ["algo.lr=0.1", "net.agent_id=true", "task.max_cycles=50", "num_envs=4", "preset=harl"].map(chosen);
        assert!(!idle.contains(&true) && !taught.contains(&false), "{idle:?} {taught:?}");
        // A claim against another algorithm trains both, in folders of their own.
        let both = form("hetgppo-give-way/hetgppo", &[]);
        assert!(
            both.text.contains("hetgppo") && both.text.contains(" against ") && both.text.contains(" gppo/"),
            "{}",
            both.text
        );
        let claim = find("hetgppo-give-way/hetgppo").unwrap();
        let dirs: Vec<PathBuf> = jobs(claim, &args(&[]), 100).into_iter().map(|j| j.dir).collect();
        let above = PathBuf::from("runs/reproduce/hetgppo-give-way/hetgppo");
        assert_eq!(dirs, [above.join("s0"), above.join("gppo-s0")]);
        // Both by the paper's rules, which the shipped policy learned by too.
        let rules = ["task.mirror_passage=true", "task.done_on_completion=true", "task.final_reward=0"];
        for job in jobs(claim, &args(&[]), 100) {
            assert!(rules.iter().all(|rule| job.words.iter().any(|word| word == rule)), "{:?}", job.words);
        }
    }

    fn compared(verdict: Verdict) -> Comparison {
        let ours = Estimate { value: -70.0, low: -72.0, high: -68.0 };
        Comparison { ours, published: Some(-71.0), band: Some((-75.0, -67.0)), undecided: None, verdict, clear: true }
    }

    /// One seed has no interval, and that of a few is no more than rough.
    #[test]
    fn an_interval_is_told_of_several_seeds_only() {
        let c = compared(Verdict::Reached);
        let told = |seeds: usize| (sentence(&c, seeds), measured(&c.ours, 1, seeds));
        assert_eq!(told(1), ("reached".to_owned(), "-70.0 (one seed)".to_owned()));
        let (few, many) = (told(3), told(5));
        assert_eq!(few.1, "-70.0 [-72.0, -68.0] over 3 seeds (so few make a rough interval)");
        assert_eq!(many, ("reached, and the whole interval agrees".into(), "-70.0 [-72.0, -68.0] over 5 seeds".into()));
        let above = sentence(&compared(Verdict::Above), 5);
        assert_eq!(above, "above the published band, and the whole interval agrees");
    }

    /// At a milestone the band is the milestone's, and a program is told that one.
    #[test]
    fn the_band_told_is_the_one_that_was_used() {
        let result = find("harl-spread-discrete/happo").unwrap();
        let form = Form { tuned: true, own: false, text: String::new() };
        let told = fields(result, 2_000_000, 5, &compared(Verdict::Reached), &form);
        assert_eq!((told["band_low"].as_f64(), told["band_high"].as_f64()), (Some(-75.0), Some(-67.0)), "{told}");
        assert_eq!(theirs(result, &compared(Verdict::Reached)), "published -71.0 (band -75.0 to -67.0)");
        let one = fields(result, 2_000_000, 1, &compared(Verdict::Reached), &form);
        assert!(told["clear"] == true && one["clear"].is_null(), "{one}");
    }

    #[test]
    fn why_nothing_is_judged_is_told() {
        let claim = find("uas-6m2m_15m/u-qmix").unwrap();
        let form = Form { tuned: true, own: false, text: String::new() };
        let idle = Comparison { undecided: Some(Undecided::NobodyWins), ..compared(Verdict::Unknown) };
        assert!(unjudged(claim, &idle, &form).unwrap().contains("both win rates are 0"));
        assert_eq!(unjudged(claim, &compared(Verdict::Reached), &form), None);
    }

    /// A task whose copies are dear, and which says so.
    struct Dear(&'static str);

    impl Task for Dear {
        fn name(&self) -> String {
            self.0.into()
        }

        fn summary(&self) -> String {
            String::new()
        }

        fn keys(&self) -> Vec<Key> {
            Vec::new()
        }

        fn make(&self, _: &TaskOptions) -> Result<Box<dyn Env>, ConfigError> {
            panic!("a list needs no copy of {}", self.0)
        }

        fn available(&self, _: &TaskOptions) -> Result<(), ConfigError> {
            Err(ConfigError::Missing { what: "patience".into(), mend: "wait".into() })
        }
    }

    #[test]
    fn a_list_makes_no_copy_of_a_task_that_can_say_what_it_lacks() {
        let result = published::all().iter().find(|p| p.task.starts_with("mpe/")).unwrap();
        let registry = Registry::builtin().with_task(Dear(&result.task));
        assert_eq!(missing(result, &registry).unwrap(), "needs patience, see motley doctor");
    }

    /// Everything that can be run here resolves: names, settings, the algorithm fits the team.
    #[test]
    fn every_result_that_can_be_run_resolves() {
        let registry = Registry::builtin();
        let mut resolved = 0;
        for result in published::all().iter().filter(|r| missing(r, &registry).is_none()) {
            let args = ReproduceArgs {
                id: result.id.clone(),
                seeds: 1,
                steps_fraction: 1.0,
                parallel: None,
                out: None,
                settings: Vec::new(),
            };
            for job in jobs(result, &args, result.steps) {
                match request(&job.words, None).unwrap().plan_anywhere(&registry) {
                    // Robots resolve in builds with their engine.
                    Err(motley_core::ConfigError::Missing { .. }) => {}
                    Err(e) => panic!("{}: {e}", result.id),
                    Ok(_) => resolved += 1,
                }
            }
        }
        assert!(resolved >= 24, "HARL's particle figure is there: {resolved}");
        // Where a game or an engine is missing, names and settings are held to what is declared all the same.
        for result in published::all() {
            for algo in algos(result) {
                let request =
                    Request { algo: algo.to_owned(), task: result.task.clone(), overrides: words(result), ..Request::default() };
                request.settings(&registry).unwrap_or_else(|e| panic!("{}: {e}", result.id));
            }
        }
        assert!(find("harl-spread-discrete/hapo").unwrap_err().message.contains("harl-spread-discrete/happo"));
    }
}

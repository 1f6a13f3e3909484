//! Where numbers go: `metrics.jsonl`, `eval.jsonl`, TensorBoard. What a file cannot take is kept and written with what comes next; a
//! sink that fails for good is switched off. Either is one warning; training goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use motley_core::Metrics;

use crate::clock::utc_now;
use crate::disk::refuse_irregular;
use crate::error::RunError;
use crate::logs::{EvalEpisode, Point};
use crate::platform;
use crate::tensorboard;

/// Lengths of the logs in bytes, by file name: what a checkpoint records.
pub type Lengths = BTreeMap<String, u64>;

/// The beginning of the name of a TensorBoard file.
const EVENTS: &str = "events.out.tfevents.";

/// The most bytes that are kept for a file that cannot be written.
const MOST_KEPT: usize = 64 << 20;

/// Takes log points and evaluation episodes.
pub trait Sink: Send {
    /// Its name: of a sink that is a file in the run folder, the file's.
    fn name(&self) -> String;

    /// One log point.
    ///
    /// # Errors
    /// It could not be written; the sink is then used no more.
    fn point(&mut self, point: &Point) -> io::Result<()>;

    /// The episodes of one evaluation.
    ///
    /// # Errors
    /// As [`Sink::point`].
    fn episodes(&mut self, episodes: &[EvalEpisode]) -> io::Result<()>;

    /// Waits until all is durable.
    ///
    /// # Errors
    /// As [`Sink::point`].
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The file of a sink that can be cut back on resume.
    fn file(&mut self) -> Option<&mut LogFile> {
        None
    }
}

/// All sinks of a run.
pub struct Sinks {
    sinks: Vec<Box<dyn Sink>>,
    /// Lengths of sinks that were switched off, as far as they are whole.
    lost: Lengths,
    /// Files with lines that are kept for later.
    late: BTreeSet<String>,
    warnings: Vec<String>,
}

impl Sinks {
    /// Opens the logs of the run folder `dir`, new or existing (then to append).
    ///
    /// # Errors
    /// [`RunError::Io`]: at the start of a run, a log that cannot be opened is an error.
    pub fn open(dir: &Path, with_tensorboard: bool) -> Result<Self, RunError> {
        let mut sinks: Vec<Box<dyn Sink>> = vec![
            Box::new(JsonLines { log: LogFile::open(dir.join("metrics.jsonl"), Vec::new())?, what: Lines::Points }),
            Box::new(JsonLines { log: LogFile::open(dir.join("eval.jsonl"), Vec::new())?, what: Lines::Episodes }),
        ];
        if let Some(board) = TensorBoard::open(dir, with_tensorboard)? {
            sinks.push(Box::new(board));
        }
        Ok(Self { sinks, lost: Lengths::new(), late: BTreeSet::new(), warnings: Vec::new() })
    }

    /// Adds a sink of one's own.
    pub fn push(&mut self, sink: Box<dyn Sink>) {
        self.sinks.push(sink);
    }

    /// Logs a point. A metric called `env_steps` is left out: the step has that name.
    pub fn log(&mut self, env_steps: u64, metrics: &Metrics) {
        let values = metrics.iter().filter(|m| m.0 != "env_steps").map(|(n, v)| (n.to_owned(), v)).collect();
        let point = Point { env_steps, values };
        self.each(|sink| sink.point(&point));
    }

    /// Logs the episodes of one evaluation.
    pub fn eval(&mut self, episodes: &[EvalEpisode]) {
        self.each(|sink| sink.episodes(episodes));
    }

    /// Makes the logs durable and gives their lengths, for the checkpoint. A sink that was switched off counts with the
    /// length at which it last was whole.
    pub fn lengths(&mut self) -> Lengths {
        self.each(|sink| sink.sync());
        let mut lengths = self.lost.clone();
        lengths.extend(self.sinks.iter_mut().filter_map(|s| s.file().map(|f| (f.name(), f.length))));
        lengths
    }

    /// Cuts the logs to what a checkpoint recorded, so that a resumed run writes the lines of one never stopped. A log that
    /// was not recorded began after it and is emptied; one shorter than recorded is told in the warnings.
    pub fn truncate_to(&mut self, lengths: &Lengths) {
        let mut short = Vec::new();
        self.each(|sink| {
            let Some(file) = sink.file() else { return Ok(()) };
            let (name, length) = (file.name(), lengths.get(&file.name()).copied().unwrap_or(0));
            if !file.cut(length)? {
                short.push(format!("{name} is shorter than the {length} bytes at the checkpoint: lines are missing"));
            }
            Ok(())
        });
        self.warnings.append(&mut short);
    }

    /// The logs of lines that lack some: of the run's record, which is then not whole.
    pub fn incomplete(&self) -> Vec<&str> {
        self.late.iter().chain(self.lost.keys()).filter(|name| name.ends_with(".jsonl")).map(String::as_str).collect()
    }

    /// What the user should know, once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn each(&mut self, mut f: impl FnMut(&mut dyn Sink) -> io::Result<()>) {
        let Self { sinks, lost, late, warnings } = self;
        sinks.retain_mut(|sink| {
            let done = f(&mut **sink);
            let (name, kept) = (sink.name(), sink.file().map_or(0, |file| file.kept.len()));
            let Err(error) = done else {
                if kept == 0 && late.remove(&name) {
                    warnings.push(format!("{name} is written again, with what it lacked"));
                }
                return true;
            };
            if (1..=MOST_KEPT).contains(&kept) {
                if late.insert(name.clone()) {
                    warnings.push(format!("{name} cannot be written, its lines are kept for later, training goes on: {error}"));
                }
                return true;
            }
            late.remove(&name);
            warnings.push(format!("{name} is switched off, training goes on: {error}"));
            lost.extend(sink.file().map(|f| (f.name(), f.length)));
            false
        });
    }
}

/// A file to append to, whole records only.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    /// Whole records that could not be written yet.
    kept: Vec<u8>,
    /// What every file of this kind begins with.
    start: Vec<u8>,
}

impl LogFile {
    /// Opens or makes the file; a new one gets `start` as its first bytes.
    ///
    /// # Errors
    /// [`RunError::Io`], also for a link, a pipe or a device.
    pub fn open(path: PathBuf, start: Vec<u8>) -> Result<Self, RunError> {
        refuse_irregular(&path).map_err(RunError::io("open", &path))?;
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(RunError::io("open", &path))?;
        let length = file.metadata().map_err(RunError::io("open", &path))?.len();
        let mut log = Self { path, file, length, kept: Vec::new(), start };
        log.begin().map_err(|e| RunError::io("write", &log.path)(e))?;
        Ok(log)
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.length > 0 || self.start.is_empty() {
            return Ok(());
        }
        let start = self.start.clone();
        self.append(&start)
    }

    /// The name of the file.
    pub fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// Appends in one write, so that readers beside the run see whole records.
    ///
    /// # Errors
    /// The system's; then the file is cut back to its whole records where that is possible, and what it lacks is kept for the next call.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.kept.extend_from_slice(bytes);
        self.write_kept()
    }

    fn write_kept(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all(&self.kept) {
            // Half a record would spoil what follows after a resume.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += self.kept.len() as u64;
        self.kept.clear();
        Ok(())
    }

    /// Waits until all is durable.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write_kept()?;
        self.file.sync_data()
    }

    /// Cuts everything behind `length`, and half a line at the end of a shorter file of lines, to which nothing could be
    /// appended. Whether there was as much as `length`.
    fn cut(&mut self, length: u64) -> io::Result<bool> {
        let whole = if self.length < length && self.path.extension().is_some_and(|e| e == "jsonl") {
            let bytes = std::fs::read(&self.path)?;
            bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at as u64 + 1)
        } else {
            length.min(self.length)
        };
        if self.length > whole {
            self.file.set_len(whole)?;
            self.length = whole;
            self.begin()?;
            self.file.sync_data()?;
        }
        Ok(whole >= length)
    }
}

#[derive(PartialEq)]
enum Lines {
    Points,
    Episodes,
}

/// One flat JSON object a line.
struct JsonLines {
    log: LogFile,
    what: Lines,
}

impl Sink for JsonLines {
    fn name(&self) -> String {
        self.log.name()
    }

    fn point(&mut self, point: &Point) -> io::Result<()> {
        if self.what == Lines::Points { self.log.append(&metrics_line(point)?) } else { Ok(()) }
    }

    fn episodes(&mut self, episodes: &[EvalEpisode]) -> io::Result<()> {
        if self.what != Lines::Episodes {
            return Ok(());
        }
        let mut lines = Vec::new();
        for episode in episodes {
            serde_json::to_writer(&mut lines, episode)?;
            lines.push(b'\n');
        }
        self.log.append(&lines)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.sync()
    }

    fn file(&mut self) -> Option<&mut LogFile> {
        Some(&mut self.log)
    }
}

/// `{"env_steps":N,"name":value,...}`; what is not finite is `null`. Equal numbers give equal bytes.
fn metrics_line(point: &Point) -> io::Result<Vec<u8>> {
    let mut line = format!("{{\"env_steps\":{}", point.env_steps).into_bytes();
    for (name, value) in &point.values {
        line.push(b',');
        serde_json::to_writer(&mut line, name)?;
        line.push(b':');
        serde_json::to_writer(&mut line, value)?;
    }
    line.extend_from_slice(b"}\n");
    Ok(line)
}

/// One TensorBoard file a run, found again on resume. Where TensorBoard was switched off between, the file is held without
/// writing, so that its length stays in the checkpoints.
struct TensorBoard {
    log: LogFile,
    active: bool,
}

impl TensorBoard {
    fn open(dir: &Path, active: bool) -> Result<Option<Self>, RunError> {
        let names = std::fs::read_dir(dir).map_err(RunError::io("list", dir))?;
        let mut names: Vec<String> = names.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let found = names.into_iter().find(|n| n.starts_with(EVENTS));
        let now = utc_now().unix_seconds();
        let name = match found {
            Some(name) => name,
            None if active => format!("{EVENTS}{:010}.{}", now as u64, platform::host()),
            None => return Ok(None),
        };
        Ok(Some(Self { log: LogFile::open(dir.join(name), tensorboard::version_record(now))?, active }))
    }
}

impl Sink for TensorBoard {
    fn name(&self) -> String {
        self.log.name()
    }

    fn point(&mut self, point: &Point) -> io::Result<()> {
        let record = || tensorboard::scalars_record(utc_now().unix_seconds(), point);
        if self.active { self.log.append(&record()) } else { Ok(()) }
    }

    /// Single episodes are for `eval.jsonl`; their means come as a log point.
    fn episodes(&mut self, _episodes: &[EvalEpisode]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.sync()
    }

    fn file(&mut self) -> Option<&mut LogFile> {
        Some(&mut self.log)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// P4: the disk of one log is full. No link to such a disk may stand in a run folder, so the file is put in place here.
    #[test]
    fn a_full_log_keeps_its_lines_for_later() {
        let (dir, sound) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [mut sinks, mut whole] = [&dir, &sound].map(|dir| Sinks::open(dir.path(), true).unwrap());
        let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let log = LogFile { path: dir.path().join("metrics.jsonl"), file, length: 0, kept: Vec::new(), start: Vec::new() };
        sinks.sinks[0] = Box::new(JsonLines { log, what: Lines::Points });
        let mut metrics = Metrics::new();
        metrics.add("a", 1.0);
        for step in 0..3 {
            let episode =
                EvalEpisode { env_steps: step, episode: 0, team_return: -1.0, mean_agent_return: -0.5, length: 25, won: None };
            for sinks in [&mut sinks, &mut whole] {
                sinks.log(step, &metrics);
                sinks.eval(std::slice::from_ref(&episode));
            }
        }
        let warnings = sinks.take_warnings();
        assert!(warnings.len() == 1 && warnings[0].starts_with("metrics.jsonl cannot be written"), "{warnings:?}");
        let (lengths, complete) = (sinks.lengths(), whole.lengths());
        assert_eq!((lengths["metrics.jsonl"], lengths.len()), (0, 3));
        assert_eq!(sinks.incomplete(), ["metrics.jsonl"]);
        assert_eq!(crate::logs::read_eval(&dir.path().join("eval.jsonl")).unwrap().lines.len(), 3);
        // Records of one kind have one length, whatever the time in them.
        let board = |lengths: &Lengths| lengths.iter().find(|(name, _)| name.starts_with(EVENTS)).map(|(_, length)| *length);
        assert!(board(&lengths).is_some() && board(&lengths) == board(&complete), "TensorBoard has it all");
        // There is room again.
        let room = OpenOptions::new().append(true).open(dir.path().join("metrics.jsonl")).unwrap();
        sinks.sinks[0].file().unwrap().file = room;
        assert_eq!(sinks.lengths()["metrics.jsonl"], complete["metrics.jsonl"]);
        assert_eq!(crate::logs::read_metrics(&dir.path().join("metrics.jsonl")).unwrap().lines.len(), 3);
        assert!(sinks.incomplete().is_empty() && sinks.take_warnings()[0].starts_with("metrics.jsonl is written again"));
    }
}

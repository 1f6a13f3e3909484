//! Checkpoints as folder transactions: after a crash at any moment the last complete one loads.
//!
//! Order of a save: write `step-N.tmp-<pid>/` and sync it; read it back and compare hashes; rename it to `step-N/`; sync the
//! folder above; replace `latest`; only then delete old ones. What is large and changes little by little lies in pieces
//! ([`crate::pieces`]), written one by one while the state is collected; those that the checkpoint before holds too are linked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, Disk, replace_dir, temp_name, write_atomic};
use crate::error::CheckpointError;
use crate::manifest::{CheckpointInfo, FORMAT, FileEntry, Manifest};
use crate::pieces::{PieceFiles, PieceFolder, reads_back};
use crate::state::{StateReader, StateWriter};

const STATE: &str = "state.safetensors";
const MANIFEST: &str = "manifest.json";
const MANIFEST_LIMIT: u64 = 16 << 20;

/// The checkpoints of one run.
#[derive(Clone)]
pub struct CheckpointStore {
    dir: PathBuf,
    keep: usize,
    disk: Arc<dyn Disk>,
}

/// A checkpoint read back, hashes verified.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Environment steps at which it was taken.
    pub step: u64,
    /// What it says about itself. Ask [`Manifest::check`] before using the state.
    pub manifest: Manifest,
    /// The state.
    pub state: StateReader,
    /// What the user should know: damaged checkpoints passed over, an unreadable `latest`.
    pub warnings: Vec<String>,
}

/// A checkpoint that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the warnings are for the user"]
pub struct Saved {
    /// Environment steps at which it was taken.
    pub step: u64,
    /// Its folder.
    pub dir: PathBuf,
    /// Bytes of state.
    pub bytes: u64,
    /// What did not work but harms nothing (an old checkpoint that cannot be deleted).
    pub warnings: Vec<String>,
}

/// What a name in the folder of checkpoints stands for.
enum Name {
    Step(u64),
    /// `step-N.old`: replaced, or about to be.
    Old(u64),
    /// Left by an interrupted save or deletion.
    Temporary,
    Other,
}

impl Name {
    fn of(name: &str) -> Self {
        if name.contains(".tmp-") {
            return Self::Temporary;
        }
        match name.strip_suffix(".old") {
            Some(name) => parse_step(name).map_or(Self::Other, Self::Old),
            None => parse_step(name).map_or(Self::Other, Self::Step),
        }
    }
}

/// The number of `step-N`; nothing but the very text that [`step_name`] writes.
fn parse_step(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (step_name(step) == name).then_some(step)
}

fn step_name(step: u64) -> String {
    format!("step-{step}")
}

impl CheckpointStore {
    /// The checkpoints under `dir` (the run's `checkpoints/`), of which the newest `keep` (at least 1) and the best are kept.
    /// Touches nothing.
    pub fn new(dir: &Path, keep: usize, disk: Arc<dyn Disk>) -> Self {
        Self { dir: dir.to_owned(), keep: keep.max(1), disk }
    }

    /// The folder of checkpoints.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Saves a checkpoint and makes it the latest; `fill` gives the state, whose pieces go to the disk as they come. A checkpoint of
    /// the same step is replaced. One process at a time (the run's lock sees to that).
    ///
    /// # Errors
    /// The disk refused, or the folder of checkpoints is a link; then earlier checkpoints and `latest` are as they were.
    pub fn save(&self, info: &CheckpointInfo, fill: impl FnOnce(&mut StateWriter)) -> Result<Saved, CheckpointError> {
        disk::refuse_link(&self.dir).map_err(CheckpointError::io("write to", &self.dir))?;
        let step = info.env_steps;
        let target = self.dir.join(step_name(step));
        let temp = temp_name(&target);
        if self.disk.list(&self.dir).is_err() {
            let made = self.disk.create_dir(&self.dir).and_then(|()| self.disk.sync_dir(disk::parent(&self.dir)));
            made.map_err(CheckpointError::io("create", &self.dir))?;
        }
        let written = self.write(info, fill, &temp, &target);
        if written.is_err() {
            // The first error is the one to tell; the next save removes what this cannot.
            let _ = self.disk.remove(&temp);
        }
        let bytes = written?;
        self.point("latest", step)?;
        Ok(Saved { step, dir: target, bytes, warnings: self.prune(step) })
    }

    fn write(
        &self,
        info: &CheckpointInfo,
        fill: impl FnOnce(&mut StateWriter),
        temp: &Path,
        target: &Path,
    ) -> Result<u64, CheckpointError> {
        self.disk.remove(temp).map_err(CheckpointError::io("remove", temp))?;
        self.disk.create_dir(temp).map_err(CheckpointError::io("create", temp))?;
        let mut state = StateWriter::streaming(PieceFolder::new(Arc::clone(&self.disk), temp, self.before()));
        fill(&mut state);
        let (mut files, pieces) = state.finish_pieces()?;
        let entry = self.write_state(&state, &temp.join(STATE))?;
        files.insert(STATE.to_owned(), entry.clone());
        let manifest = Manifest { format: FORMAT, motley: env!("CARGO_PKG_VERSION").to_owned(), info: info.clone(), files };
        let manifest_path = temp.join(MANIFEST);
        let encoded = manifest.encode().map_err(|e| CheckpointError::damaged(&manifest_path, e))?;
        self.disk.write(&manifest_path, &[&encoded]).map_err(CheckpointError::io("write", &manifest_path))?;
        self.disk.sync_dir(temp).map_err(CheckpointError::io("sync", temp))?;
        self.verify(temp, &manifest, &entry)?;
        replace_dir(&*self.disk, temp, target).map_err(CheckpointError::io("rename", temp))?;
        Ok(entry.bytes + pieces)
    }

    fn write_state(&self, state: &StateWriter, path: &Path) -> Result<FileEntry, CheckpointError> {
        let (head, data) = state.parts()?;
        let mut parts = vec![head.as_slice()];
        parts.extend(data);
        let mut hasher = blake3::Hasher::new();
        for part in &parts {
            hasher.update(part);
        }
        self.disk.write(path, &parts).map_err(CheckpointError::io("write", path))?;
        Ok(FileEntry { bytes: parts.iter().map(|p| p.len() as u64).sum(), blake3: hasher.finalize().to_hex().to_string() })
    }

    /// The folder of the latest checkpoint and the files that it lists.
    fn before(&self) -> Option<(PathBuf, BTreeMap<String, FileEntry>)> {
        let dir = self.dir.join(step_name(self.latest().ok()??));
        let files = self.read_manifest(&dir).ok()?.files;
        Some((dir, files))
    }

    /// Reads back what was written, before anything older may be deleted.
    fn verify(&self, temp: &Path, manifest: &Manifest, entry: &FileEntry) -> Result<(), CheckpointError> {
        if self.read_manifest(temp)? != *manifest {
            return Err(CheckpointError::damaged(&temp.join(MANIFEST), "it reads back differently"));
        }
        let path = temp.join(STATE);
        if reads_back(&*self.disk, &path, entry)? {
            Ok(())
        } else {
            Err(CheckpointError::damaged(&path, "it reads back differently"))
        }
    }

    /// Names `step` as the best one so far; it is kept until another takes its place.
    ///
    /// # Errors
    /// There is no such checkpoint, or the disk refused.
    pub fn mark_best(&self, step: u64) -> Result<(), CheckpointError> {
        disk::refuse_link(&self.dir).map_err(CheckpointError::io("write to", &self.dir))?;
        self.read_manifest(&self.dir.join(step_name(step)))?;
        self.point("best", step)
    }

    /// The step of the best checkpoint, if one was named.
    ///
    /// # Errors
    /// `best` is unreadable.
    pub fn best(&self) -> Result<Option<u64>, CheckpointError> {
        self.pointer("best")
    }

    /// The step that `latest` names, if it is there.
    ///
    /// # Errors
    /// `latest` is unreadable.
    pub fn latest(&self) -> Result<Option<u64>, CheckpointError> {
        self.pointer("latest")
    }

    /// The steps of all checkpoints, ascending, whole or not.
    ///
    /// # Errors
    /// The folder is unreadable. One that does not exist has no checkpoints.
    pub fn steps(&self) -> Result<Vec<u64>, CheckpointError> {
        let is_step = |n: &String| if let Name::Step(s) = Name::of(n) { Some(s) } else { None };
        let mut steps: Vec<u64> = self.names()?.iter().filter_map(is_step).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Reads one checkpoint.
    ///
    /// # Errors
    /// It is not there or not whole.
    pub fn load(&self, step: u64) -> Result<Loaded, CheckpointError> {
        self.read(step, &self.dir.join(step_name(step)))
    }

    /// Reads the latest checkpoint, or the newest one that is whole, with a warning that says so.
    ///
    /// # Errors
    /// [`CheckpointError::None`] or [`CheckpointError::NoneValid`]: there is nothing to go on from. Never an empty state.
    pub fn load_latest(&self) -> Result<Loaded, CheckpointError> {
        let mut warnings = Vec::new();
        let latest = self.latest().unwrap_or_else(|error| {
            warnings.push(error.to_string());
            None
        });
        let mut candidates: Vec<(bool, u64, bool, String)> = Vec::new();
        for name in self.names()? {
            match Name::of(&name) {
                Name::Step(s) => candidates.push((latest == Some(s), s, true, name)),
                Name::Old(s) => candidates.push((latest == Some(s), s, false, name)),
                Name::Temporary | Name::Other => {}
            }
        }
        candidates.sort_by(|a, b| b.cmp(a));
        if candidates.is_empty() {
            return Err(CheckpointError::None(self.dir.clone()));
        }
        let newest = candidates.iter().map(|c| c.1).max().unwrap_or_default();
        for (_, step, _, name) in &candidates {
            match self.read(*step, &self.dir.join(name)) {
                Ok(mut loaded) => {
                    if !warnings.is_empty() || latest != Some(*step) || *step != newest {
                        let latest = latest.map_or("unknown".to_owned(), step_name);
                        warnings.push(format!("going on from {name} (latest: {latest}, newest: {})", step_name(newest)));
                    }
                    loaded.warnings = warnings;
                    return Ok(loaded);
                }
                Err(error) => warnings.push(error.to_string()),
            }
        }
        Err(CheckpointError::NoneValid { dir: self.dir.clone(), reasons: warnings })
    }

    fn read_manifest(&self, dir: &Path) -> Result<Manifest, CheckpointError> {
        let path = dir.join(MANIFEST);
        let bytes = disk::read_bounded(&*self.disk, &path, MANIFEST_LIMIT).map_err(CheckpointError::io("read", &path))?;
        Manifest::decode(&path, &bytes)
    }

    fn read(&self, step: u64, dir: &Path) -> Result<Loaded, CheckpointError> {
        let manifest = self.read_manifest(dir)?;
        let damaged = |file: &str, why: &str| CheckpointError::damaged(&dir.join(file), why);
        if manifest.info.env_steps != step {
            return Err(damaged(MANIFEST, &format!("it is the manifest of {}", step_name(manifest.info.env_steps))));
        }
        let entry = manifest.files.get(STATE).ok_or_else(|| damaged(MANIFEST, "it lists no state"))?;
        let path = dir.join(STATE);
        let bytes = disk::read_exactly(&*self.disk, &path, entry.bytes).map_err(CheckpointError::io("read", &path))?;
        if blake3::hash(&bytes).to_hex().as_str() != entry.blake3 {
            return Err(damaged(STATE, "its hash does not fit its content"));
        }
        let state = StateReader::from_bytes(bytes).map_err(|e| damaged(STATE, &e.to_string()))?;
        let state = state.with_pieces(PieceFiles::open(Arc::clone(&self.disk), dir, &manifest, &dir.join(MANIFEST))?);
        Ok(Loaded { step, manifest, state, warnings: Vec::new() })
    }

    fn point(&self, name: &str, step: u64) -> Result<(), CheckpointError> {
        let path = self.dir.join(name);
        write_atomic(&*self.disk, &path, format!("{}\n", step_name(step)).as_bytes()).map_err(CheckpointError::io("write", &path))
    }

    fn pointer(&self, name: &str) -> Result<Option<u64>, CheckpointError> {
        let path = self.dir.join(name);
        let bytes = match disk::read_bounded(&*self.disk, &path, 64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CheckpointError::io("read", &path)(error)),
        };
        let step = str::from_utf8(&bytes).ok().and_then(|t| parse_step(t.strip_suffix('\n').unwrap_or(t)));
        step.map(Some).ok_or_else(|| CheckpointError::damaged(&path, "it does not name a checkpoint"))
    }

    fn names(&self) -> Result<Vec<String>, CheckpointError> {
        match self.disk.list(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(CheckpointError::io("list", &self.dir)),
        }
    }

    /// Deletes what retention does not keep, now that `current` is durable. Later steps than `current` belong to a line
    /// that was given up when the run went on from an earlier checkpoint.
    fn prune(&self, current: u64) -> Vec<String> {
        let (names, best) = match (self.names(), self.best()) {
            (Ok(names), Ok(best)) => (names, best),
            (Err(error), _) | (_, Err(error)) => return vec![format!("old checkpoints are not deleted: {error}")],
        };
        let is_past = |n: &String| if let Name::Step(s) = Name::of(n) { (s <= current).then_some(s) } else { None };
        let mut past: Vec<u64> = names.iter().filter_map(is_past).collect();
        past.sort_unstable_by(|a, b| b.cmp(a));
        past.truncate(self.keep);
        let stays = |name: &str| match Name::of(name) {
            Name::Step(s) => s == current || past.contains(&s) || best == Some(s),
            Name::Old(_) | Name::Temporary => false,
            Name::Other => true,
        };
        let mut warnings = Vec::new();
        for name in names.iter().filter(|n| !stays(n)) {
            let path = self.dir.join(name);
            if let Err(error) = self.discard(&path) {
                warnings.push(format!("cannot delete {}: {error}", path.display()));
            }
        }
        warnings
    }

    /// Renamed first: a deletion cut short must not leave what looks like a checkpoint.
    fn discard(&self, path: &Path) -> std::io::Result<()> {
        if path.file_name().is_some_and(|n| n.to_string_lossy().contains(".tmp-")) {
            return self.disk.remove(path);
        }
        let temp = temp_name(path);
        self.disk.remove(&temp)?;
        self.disk.rename(path, &temp)?;
        self.disk.remove(&temp)
    }
}

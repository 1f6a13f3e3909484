//! Pieces: what is large and changes little by little (a replay memory), cut into arrays of bytes that a checkpoint keeps in files named by
//! their hashes. Each is made, written or linked, and dropped before the next, and read back alike, so that saving a memory takes
//! one piece of memory more and not a second memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blake3::Hash;

use crate::disk::{self, Disk};
use crate::error::CheckpointError;
use crate::manifest::{FileEntry, Manifest};
use crate::state::StateReader;

/// What stands behind the hash in the name of a piece's file.
const SUFFIX: &str = ".piece";

/// A piece as it was when it was last made or read.
#[derive(Debug, Clone, Copy)]
struct Known {
    stamp: u64,
    hash: Hash,
    bytes: u64,
}

/// The hashes of one memory's pieces, each with the stamp that the piece had. While a piece keeps its stamp, its hash stands for it.
/// Belongs to the memory whose pieces it knows and is replaced with it. Locked, though only saving looks into it: learners that hold one are
/// shared among threads.
#[derive(Debug, Default)]
pub struct PieceHashes(Mutex<BTreeMap<usize, Known>>);

impl PieceHashes {
    /// A thread that panicked left what it knew whole: an entry is put in at once.
    fn table(&self) -> MutexGuard<'_, BTreeMap<usize, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, k: usize, stamp: u64) -> Option<Known> {
        self.table().get(&k).copied().filter(|known| known.stamp == stamp)
    }

    fn set(&self, k: usize, known: Known) {
        self.table().insert(k, known);
    }
}

/// Where a writer's pieces go.
#[derive(Debug)]
pub(crate) enum Pieces {
    /// They stay with the state, by hash in hexadecimal.
    Held(BTreeMap<String, Vec<u8>>),
    /// Into the folder of a checkpoint.
    Folder(PieceFolder),
}

impl Default for Pieces {
    fn default() -> Self {
        Self::Held(BTreeMap::new())
    }
}

impl Pieces {
    /// Takes a memory's pieces in, one for each of `stamps`, and returns their hashes, 32 bytes each. `make(k, bytes)` appends
    /// piece `k`, and is asked for those alone whose content is not at hand by a hash that still stands.
    pub fn take(&mut self, stamps: &[u64], known: &PieceHashes, make: &mut dyn FnMut(usize, &mut Vec<u8>)) -> Vec<u8> {
        let (mut hashes, mut piece) = (Vec::with_capacity(32 * stamps.len()), Vec::new());
        for (k, stamp) in stamps.iter().enumerate() {
            if matches!(self, Self::Folder(folder) if folder.failed.is_some()) {
                break;
            }
            let hash = match known.of(k, *stamp).filter(|known| self.has(known)) {
                Some(known) => known.hash,
                None => {
                    piece.clear();
                    make(k, &mut piece);
                    let made = Known { stamp: *stamp, hash: blake3::hash(&piece), bytes: piece.len() as u64 };
                    known.set(k, made);
                    self.put(&made, &piece);
                    made.hash
                }
            };
            hashes.extend_from_slice(hash.as_bytes());
        }
        hashes
    }

    /// Whether a piece is at hand without its bytes.
    fn has(&mut self, piece: &Known) -> bool {
        match self {
            Self::Held(held) => held.contains_key(piece.hash.to_hex().as_str()),
            Self::Folder(folder) => folder.link(piece),
        }
    }

    fn put(&mut self, piece: &Known, bytes: &[u8]) {
        match self {
            Self::Held(held) => drop(held.insert(piece.hash.to_hex().to_string(), bytes.to_vec())),
            Self::Folder(folder) => {
                if !folder.link(piece) {
                    folder.failed = folder.write(piece, bytes).err();
                }
            }
        }
    }
}

/// The folder of a checkpoint that is being written.
pub(crate) struct PieceFolder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// The checkpoint before, with the files that it lists.
    before: Option<(PathBuf, BTreeMap<String, FileEntry>)>,
    files: BTreeMap<String, FileEntry>,
    written: u64,
    /// Why no more pieces are taken.
    failed: Option<CheckpointError>,
}

impl fmt::Debug for PieceFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceFolder").field("dir", &self.dir).field("files", &self.files).finish_non_exhaustive()
    }
}

impl PieceFolder {
    /// Pieces go to the folder `dir`; those that `before` lists are linked.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, before: Option<(PathBuf, BTreeMap<String, FileEntry>)>) -> Self {
        Self { disk, dir: dir.to_owned(), before, files: BTreeMap::new(), written: 0, failed: None }
    }

    /// The files of all pieces, and the bytes that had to be written.
    ///
    /// # Errors
    /// The first that befell a piece.
    pub fn finish(self) -> Result<(BTreeMap<String, FileEntry>, u64), CheckpointError> {
        self.failed.map_or(Ok((self.files, self.written)), Err)
    }

    /// Whether the piece lies here, linked from the checkpoint before if need be.
    fn link(&mut self, piece: &Known) -> bool {
        let entry = entry(piece);
        let name = format!("{}{SUFFIX}", entry.blake3);
        if self.files.contains_key(&name) {
            return true;
        }
        let held = self.before.as_ref().filter(|(_, files)| files.get(&name) == Some(&entry));
        let linked = held.is_some_and(|(dir, _)| self.disk.link(&dir.join(&name), &self.dir.join(&name)).is_ok());
        if linked {
            self.files.insert(name, entry);
        }
        linked
    }

    /// Writes a piece and reads it back.
    fn write(&mut self, piece: &Known, bytes: &[u8]) -> Result<(), CheckpointError> {
        let entry = entry(piece);
        let name = format!("{}{SUFFIX}", entry.blake3);
        let path = self.dir.join(&name);
        self.disk.write(&path, &[bytes]).map_err(CheckpointError::io("write", &path))?;
        if !reads_back(&*self.disk, &path, &entry)? {
            return Err(CheckpointError::damaged(&path, "it reads back differently"));
        }
        self.written += entry.bytes;
        self.files.insert(name, entry);
        Ok(())
    }
}

fn entry(piece: &Known) -> FileEntry {
    FileEntry { bytes: piece.bytes, blake3: piece.hash.to_hex().to_string() }
}

/// Whether a file has the hash that `entry` says. It is not held in memory.
pub(crate) fn reads_back(disk: &dyn Disk, path: &Path, entry: &FileEntry) -> Result<bool, CheckpointError> {
    let (file, _) = disk.open(path).map_err(CheckpointError::io("read", path))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(entry.bytes.saturating_add(1))).map_err(CheckpointError::io("read", path))?;
    Ok(hasher.finalize().to_hex().as_str() == entry.blake3)
}

/// The pieces of a checkpoint that was read, each in its file until it is asked for.
pub(crate) struct PieceFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// By hash in hexadecimal.
    files: BTreeMap<String, FileEntry>,
}

impl fmt::Debug for PieceFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceFiles").field("dir", &self.dir).field("files", &self.files).finish_non_exhaustive()
    }
}

impl PieceFiles {
    /// The pieces that a manifest lists, every hash verified. Names are hashes and nothing else, so that they never lead out of the folder.
    ///
    /// # Errors
    /// A name that is none, a file that is missing or differs.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, manifest: &Manifest, manifest_path: &Path) -> Result<Self, CheckpointError> {
        let mut files = BTreeMap::new();
        for (name, entry) in &manifest.files {
            let Some(hash) = name.strip_suffix(SUFFIX) else { continue };
            if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) || *hash != entry.blake3 {
                return Err(CheckpointError::damaged(manifest_path, format!("it lists \"{name}\", which is no piece's name")));
            }
            let path = dir.join(name);
            if !reads_back(&*disk, &path, entry)? {
                return Err(CheckpointError::damaged(&path, "its hash does not fit its content"));
            }
            files.insert(hash.to_owned(), entry.clone());
        }
        Ok(Self { disk, dir: dir.to_owned(), files })
    }

    /// Bytes of a piece, if it is here.
    fn bytes(&self, hash: &Hash) -> Option<u64> {
        self.files.get(hash.to_hex().as_str()).map(|entry| entry.bytes)
    }

    /// A piece's content, verified again.
    ///
    /// # Errors
    /// The file cannot be read, or has changed.
    fn read(&self, hash: &Hash, bytes: u64) -> Result<Vec<u8>, CheckpointError> {
        let path = self.dir.join(format!("{}{SUFFIX}", hash.to_hex()));
        let content = disk::read_exactly(&*self.disk, &path, bytes).map_err(CheckpointError::io("read", &path))?;
        if blake3::hash(&content) == *hash {
            Ok(content)
        } else {
            Err(CheckpointError::damaged(&path, "its hash does not fit its content"))
        }
    }
}

/// Where the pieces of one entry are to be found, in order.
#[derive(Debug)]
pub struct PieceList<'a> {
    places: Vec<(Hash, Place<'a>)>,
}

#[derive(Debug)]
enum Place<'a> {
    Inside(&'a [u8]),
    File(&'a PieceFiles, u64),
}

impl<'a> PieceList<'a> {
    /// Finds pieces by their hashes; the first that is nowhere is the error.
    pub(crate) fn find(reader: &'a StateReader, hashes: &[[u8; 32]]) -> Result<Self, Hash> {
        let place = |hash: &[u8; 32]| {
            let hash = Hash::from_bytes(*hash);
            let file = reader.piece_files().and_then(|files| Some(Place::File(files, files.bytes(&hash)?)));
            let inside = || reader.piece_inside(&hash).map(Place::Inside);
            file.or_else(inside).map(|place| (hash, place)).ok_or(hash)
        };
        Ok(Self { places: hashes.iter().map(place).collect::<Result<_, _>>()? })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Their contents in order, each read when it is its turn.
    ///
    /// # Errors
    /// Each item's: [`CheckpointError::Io`] or [`CheckpointError::Damaged`] where a file is not what it was.
    pub fn read(&self) -> impl Iterator<Item = Result<Cow<'a, [u8]>, CheckpointError>> {
        self.places.iter().map(|(hash, place)| match place {
            Place::Inside(bytes) => Ok(Cow::Borrowed(*bytes)),
            Place::File(files, bytes) => files.read(hash, *bytes).map(Cow::Owned),
        })
    }

    /// Their hashes, for a memory that has just taken them in, whose pieces bear `stamps`.
    pub fn known(&self, stamps: &[u64]) -> PieceHashes {
        let known = |((hash, place), stamp): (&(Hash, Place<'_>), &u64)| {
            let bytes = match place {
                Place::Inside(bytes) => bytes.len() as u64,
                Place::File(_, bytes) => *bytes,
            };
            Known { stamp: *stamp, hash: *hash, bytes }
        };
        PieceHashes(Mutex::new(self.places.iter().zip(stamps).map(known).enumerate().collect()))
    }
}

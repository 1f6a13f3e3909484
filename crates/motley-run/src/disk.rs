//! The few file operations that durable writing is made of, behind a trait, so that tests can make each of them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// File operations. Every call that changes the disk either happened or returned an error.
pub trait Disk: Send + Sync {
    /// Makes a folder, but none above it: a run folder that was removed or renamed under its run is not made anew, with checkpoints and
    /// nothing to read them by.
    ///
    /// # Errors
    /// The system's; there is such a folder.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Writes a new file, the parts one after the other, and waits until it is on the disk.
    ///
    /// # Errors
    /// `AlreadyExists` where something (a planted link, say) has that name; else the system's.
    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()>;

    /// Gives a file a second name.
    ///
    /// # Errors
    /// The system's, also where the file system has no such names.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file or folder another name, at once. A file in the way is replaced.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are on the disk.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes a file, or a folder with all in it. Nothing there is fine.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Opens a regular file for reading, with its length in bytes.
    ///
    /// # Errors
    /// `InvalidInput` for anything but a regular file (a link, a device); else the system's.
    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)>;

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok((Box::new(File::open(path)?), meta.len()))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names: Vec<String> =
            fs::read_dir(path)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }
}

/// Refuses what is in the way of a file that is to be written in place: a link may lead to somebody else's file, and a pipe never answers.
/// Nothing there is fine.
///
/// # Errors
/// `InvalidInput` for anything but a regular file; else the system's.
pub(crate) fn refuse_irregular(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file but a link, a pipe, a device or a folder; a run writes to files of its own alone: remove it",
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Refuses a link in the place of a folder of a run: files behind it would be replaced and deleted, and they may be somebody else's.
///
/// # Errors
/// `InvalidInput` for a link.
pub(crate) fn refuse_link(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a link, and a run writes to folders of its own alone: put the folder itself there (the whole run folder may be a link)",
        ));
    }
    Ok(())
}

/// `path` with `.tmp-<process id>` behind its name: on the same file system, and plainly nobody's final file.
pub(crate) fn temp_name(path: &Path) -> PathBuf {
    suffixed(path, &format!(".tmp-{}", std::process::id()))
}

/// `path` with `suffix` behind its name.
pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Replaces one file: after a crash at any moment it holds either the old bytes or the new ones.
///
/// # Errors
/// The system's; then the old file stands and the temporary one is removed where that is possible.
pub fn write_atomic(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = temp_name(path);
    disk.remove(&temp)?;
    let written = disk.write(&temp, &[bytes]).and_then(|()| disk.rename(&temp, path)).and_then(|()| disk.sync_dir(parent(path)));
    if written.is_err() {
        // The first error is the one to tell; a temporary file left behind harms nothing.
        let _ = disk.remove(&temp);
    }
    written
}

/// Puts the finished folder `temp` in the place of `target`. A folder that was there waits as `target.old` until the new
/// one is durable, so that at any moment one of the two is whole under a name that readers know.
///
/// # Errors
/// The system's; then the folder that was at `target` is put back where that is possible.
pub(crate) fn replace_dir(disk: &dyn Disk, temp: &Path, target: &Path) -> io::Result<()> {
    let old = suffixed(target, ".old");
    let replaces = disk.list(target).is_ok();
    if replaces {
        disk.remove(&old)?;
        disk.rename(target, &old)?;
    }
    let moved = disk.rename(temp, target);
    if moved.is_err() && replaces {
        let _ = disk.rename(&old, target);
    }
    moved.and_then(|()| disk.sync_dir(parent(target)))
}

/// All of a file that should hold `declared` bytes; its true length is checked before memory is taken.
///
/// # Errors
/// `InvalidData` for another length; else the system's.
pub(crate) fn read_exactly(disk: &dyn Disk, path: &Path, declared: u64) -> io::Result<Vec<u8>> {
    let (file, length) = disk.open(path)?;
    if length != declared {
        return Err(wrong_length(declared, length));
    }
    fill(file, length)
}

/// All of a file of at most `limit` bytes.
///
/// # Errors
/// `InvalidData` for a longer one; else the system's.
pub(crate) fn read_bounded(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let (file, length) = disk.open(path)?;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes, more than the {limit} allowed")));
    }
    fill(file, length)
}

fn fill(file: Box<dyn Read>, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    file.take(length + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(wrong_length(length, bytes.len() as u64)) }
}

fn wrong_length(expected: u64, found: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("expected {expected} bytes, found {found}"))
}

//! Files that are either whole or not there.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::ViewError;

/// Writes beside the target and renames, so that a reader or a full disk never sees half a file.
///
/// # Errors
/// [`ViewError::Write`]; an older file at `path` is then as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), ViewError> {
    let failed = |why| ViewError::Write { path: path.display().to_string(), why };
    // A device or a pipe is written to, not replaced.
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return fs::write(path, bytes).map_err(failed);
    }
    let Some(name) = path.file_name() else {
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not the name of a file")));
    };
    let temporary = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    // One that a process of this number left; what anybody else puts there, a link say, is not written through.
    let _ = fs::remove_file(&temporary);
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|why| {
        // Best effort: the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        failed(why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let text = write_atomic(&folder, b"x").unwrap_err().to_string();
        assert!(text.contains("folder"), "{text}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the temporary file is gone");
        assert!(write_atomic(&dir.path().join("missing/a.png"), b"x").is_err());
    }
}

//! Where an import may be written: nothing that is not replaceable is ever in its way.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::Failure;

/// The files of a policy bundle.
const BUNDLE: [&str; 2] = ["policy.json", "weights.safetensors"];
/// How every settings file begins that an import wrote.
pub(super) const HEAD: &str = "# From ";
/// Bytes of a file that are looked at.
const LOOKED_AT: u64 = 200;

/// The folder for a bundle. Refused where anything else lies than a bundle: writing one replaces the folder, and the one that waits
/// beside it while that happens.
///
/// # Errors
/// Wrong usage, with what lies there.
pub(super) fn for_bundle(given: &Path) -> Result<PathBuf, Failure> {
    // Without a slash at its end, behind which the names beside it would lie in it.
    let dir: PathBuf = given.components().collect();
    if dir.file_name().is_none() {
        return Err(Failure::usage(format!("{} is no name for a new folder: give one with -o", given.display())));
    }
    let mut waiting = dir.clone().into_os_string();
    waiting.push(".old");
    replaceable(&dir)?;
    replaceable(Path::new(&waiting))?;
    Ok(dir)
}

fn replaceable(place: &Path) -> Result<(), Failure> {
    let refused = |what: String| {
        Failure::usage(format!(
            "{} {what}: an import would replace it; name a folder that is not there yet, with -o",
            place.display()
        ))
    };
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::usage(format!("{}: {error}", place.display()))),
        Ok(meta) if !meta.is_dir() => return Err(refused("is no folder".into())),
        Ok(_) => {}
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(place).map_err(|e| Failure::usage(format!("{}: {e}", place.display())))? {
        let entry = entry.map_err(|e| Failure::usage(format!("{}: {e}", place.display())))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() || names == BUNDLE {
        return Ok(());
    }
    let other = names.iter().find(|name| !BUNDLE.contains(&name.as_str()));
    Err(refused(match other {
        Some(name) => format!("is no policy bundle (it holds {name})"),
        None => "is no whole policy bundle".into(),
    }))
}

/// Refuses a place for settings where anything else lies than settings that an import wrote.
///
/// # Errors
/// Wrong usage, with what lies there.
pub(super) fn for_settings(path: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::usage(format!("{}: {e}", path.display()));
    let what = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(meta) if meta.is_dir() => "is a folder",
        Ok(meta) if !meta.is_file() => "is no plain file",
        Ok(_) => {
            let mut head = Vec::new();
            fs::File::open(path).map_err(failed)?.take(LOOKED_AT).read_to_end(&mut head).map_err(failed)?;
            let head = String::from_utf8_lossy(&head);
            if head.starts_with(HEAD) && head.contains(": motley train ") {
                return Ok(());
            }
            "holds something else than settings that an import wrote"
        }
    };
    Err(Failure::usage(format!(
        "{} {what}; no weights lie in what is imported, so its settings go into a file: name one that is not there yet, with -o",
        path.display()
    )))
}

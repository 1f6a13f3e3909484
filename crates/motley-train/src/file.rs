//! Files of settings.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use motley_core::ConfigError;

/// Bytes of a configuration at most.
const MOST: u64 = 1 << 20;

/// Reads a TOML file of settings.
///
/// # Errors
/// A file that cannot be read, is larger than 1 MiB, or is not TOML.
pub fn read_file(path: &Path) -> Result<(String, toml::Table), ConfigError> {
    let name = path.display().to_string();
    let failed = |why: String| ConfigError::File { path: name.clone(), why };
    let mut bytes = Vec::new();
    // Pipes and devices do not say how long they are, and some never end.
    let read = File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
    read.map_err(|e| failed(e.to_string()))?;
    if bytes.len() as u64 > MOST {
        return Err(failed("it has more bytes than a configuration (1 MiB at most)".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|e| failed(e.to_string()))?;
    let table = text.parse::<toml::Table>().map_err(|e| failed(e.to_string()))?;
    Ok((name, table))
}

//! NumPy's `.npz` files, as far as recorded traces need them: arrays of numbers and truth values.
//!
//! Format: NumPy's NEP 1 (npy), in a [`crate::zip`] file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use motley_core::ConfigError;

use crate::zip::{number, slice, unzip};

/// Bytes of a file at most, as it lies there and unpacked; recorded traces have a tenth of that.
const LARGEST: usize = 64 << 20;
/// Entries of an array at most.
const MOST: usize = 1 << 24;

/// One array, its numbers widened to `f64`.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Length of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The entries, last axis fastest.
    pub values: Vec<f64>,
}

/// The arrays of a file by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Npz {
    arrays: BTreeMap<String, Array>,
    path: String,
}

impl Npz {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, is no zip of npy arrays, has more than 64 MiB, or holds a type of entry that is neither of those above
    /// (arrays of texts are passed over).
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let file = |why: String| ConfigError::File { path: shown.clone(), why };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|opened| opened.take(LARGEST as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|e| file(e.to_string()))?;
        if bytes.len() > LARGEST {
            return Err(file(format!("it has more than {} MiB", LARGEST >> 20)));
        }
        let arrays = members(&bytes).map_err(&file)?;
        Ok(Self { arrays, path: shown })
    }

    /// With an array of that name, in place of the one that had it.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, array: Array) -> Self {
        self.arrays.insert(name.into(), array);
        self
    }

    /// The array of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &str) -> Result<&Array, ConfigError> {
        self.arrays.get(name).ok_or_else(|| ConfigError::File {
            path: self.path.clone(),
            why: format!(
                "no array \"{name}\" in it (it has {})",
                self.arrays.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
            ),
        })
    }

    /// Names of the arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }
}

impl Array {
    /// Whether this is `rows` rows of `width` numbers each, whatever the axes within a row.
    pub fn is(&self, rows: usize, width: usize) -> bool {
        let inner = self.shape.iter().skip(1).try_fold(1_usize, |n, &axis| n.checked_mul(axis));
        self.shape.first() == Some(&rows) && inner == Some(width) && self.values.len() == rows * width
    }

    /// Row `i` of the first axis.
    pub fn row(&self, i: usize) -> &[f64] {
        let width: usize = self.shape.iter().skip(1).product();
        &self.values[i * width..(i + 1) * width]
    }
}

/// The arrays of a zip file.
fn members(bytes: &[u8]) -> Result<BTreeMap<String, Array>, String> {
    let array = |(name, data): (String, Vec<u8>)| {
        let found = npy(&data).map_err(|why| format!("{name}: {why}")).transpose()?;
        Some(found.map(|array| (name.strip_suffix(".npy").unwrap_or(&name).to_owned(), array)))
    };
    unzip(bytes, LARGEST)?.into_iter().filter_map(array).collect()
}

/// One array with its header; of texts, nothing.
fn npy(bytes: &[u8]) -> Result<Option<Array>, String> {
    let magic = slice(bytes, 0, 8)?;
    if !magic.starts_with(b"\x93NUMPY") {
        return Err("no npy array".to_owned());
    }
    let (length, start) = if magic[6] == 1 { (number::<2>(bytes, 8)?, 10) } else { (number::<4>(bytes, 8)?, 12) };
    let header = String::from_utf8_lossy(slice(bytes, start, length)?).into_owned();
    let field = |name: &str| {
        let at = header.find(name).map(|at| at + name.len()).ok_or_else(|| format!("no {name} in its header"))?;
        Ok::<&str, String>(header[at..].trim_start_matches([':', ' ', '\'']))
    };
    if !field("fortran_order")?.starts_with("False") {
        return Err("its last axis is not the fastest".to_owned());
    }
    let kind = field("descr")?.split('\'').next().unwrap_or_default().to_owned();
    let axes = field("shape'")?.trim_start_matches('(').split(')').next().unwrap_or_default();
    let parse = |axis: &str| axis.trim().parse::<usize>().map_err(|_| format!("its shape ({axes}) cannot be read"));
    let shape = axes.split(',').filter(|axis| !axis.trim().is_empty()).map(parse).collect::<Result<Vec<_>, _>>()?;
    let count = shape.iter().try_fold(1_usize, |n, &axis| n.checked_mul(axis)).filter(|n| *n <= MOST);
    let count = count.ok_or_else(|| format!("its shape ({axes}) has more than {MOST} entries"))?;
    if kind.starts_with("<U") {
        return Ok(None);
    }
    let read = reader(&kind).ok_or_else(|| format!("entries of type {kind}, expected whole numbers or floats"))?;
    let size = kind[2..].parse::<usize>().map_err(|e| e.to_string())?;
    let total = count.checked_mul(size).ok_or("its shape is too large")?;
    let data = slice(bytes, start + length, total)?;
    Ok(Some(Array { shape, values: data.chunks_exact(size).map(read).collect() }))
}

fn reader(kind: &str) -> Option<fn(&[u8]) -> f64> {
    fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(bytes);
        out
    }
    Some(match kind {
        "|b1" | "|u1" => |b| f64::from(b[0]),
        "|i1" => |b| f64::from(b[0] as i8),
        "<i2" => |b| f64::from(i16::from_le_bytes(fixed(b))),
        "<i4" => |b| f64::from(i32::from_le_bytes(fixed(b))),
        "<i8" => |b| i64::from_le_bytes(fixed(b)) as f64,
        "<f4" => |b| f64::from(f32::from_le_bytes(fixed(b))),
        "<f8" => |b| f64::from_le_bytes(fixed(b)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    /// A zip of members, each packed where asked.
    fn zip(members: &[(&str, Vec<u8>, bool)]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, data, packed) in members {
            let stored = if *packed { miniz_oxide::deflate::compress_to_vec(data, 6) } else { data.clone() };
            let mut head = [0_u8; 26];
            head[4] = if *packed { 8 } else { 0 };
            head[10..14].copy_from_slice(&crc32fast::hash(data).to_le_bytes());
            head[14..18].copy_from_slice(&(stored.len() as u32).to_le_bytes());
            head[18..22].copy_from_slice(&(data.len() as u32).to_le_bytes());
            head[22] = name.len() as u8;
            directory.extend([0x50, 0x4b, 1, 2, 0, 0]);
            directory.extend(head);
            directory.extend([0; 10]);
            directory.extend((bytes.len() as u32).to_le_bytes());
            directory.extend(name.as_bytes());
            bytes.extend([0x50, 0x4b, 3, 4]);
            bytes.extend(head);
            bytes.extend(name.as_bytes());
            bytes.extend(stored);
        }
        let start = bytes.len() as u32;
        bytes.extend(&directory);
        bytes.extend([0x50, 0x4b, 5, 6, 0, 0, 0, 0]);
        bytes.extend([members.len() as u8, 0, members.len() as u8, 0]);
        bytes.extend((directory.len() as u32).to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    #[test]
    fn packed_and_plain_arrays_are_read() {
        let floats: Vec<u8> = [1.5_f64, -2.0, 0.25, 1e9].iter().flat_map(|x| x.to_le_bytes()).collect();
        let words: Vec<u8> = "abc\0z\0\0\0".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        let file = zip(&[
            ("a.npy", array("<f8", "(2, 2)", &floats), true),
            ("b.npy", array("<i2", "(3,)", &[1, 0, 255, 255, 0, 1]), false),
            ("c.npy", array("<U4", "(2,)", &words), true),
            ("d.npy", array("|u1", "()", &[7]), false),
        ]);
        let found = members(&file).unwrap();
        assert_eq!((found["a"].shape.as_slice(), found["a"].row(1)), (&[2, 2][..], &[0.25, 1e9][..]));
        assert_eq!(found["b"].values, [1.0, -1.0, 256.0]);
        assert!(!found.contains_key("c"), "texts are passed over");
        assert!(found["a"].is(2, 2) && !found["a"].is(4, 1) && !found["d"].is(1, 1), "{found:?}");
        assert_eq!((found["d"].shape.len(), found["d"].values.as_slice()), (0, &[7.0][..]));
    }

    #[test]
    fn damaged_files_are_refused() {
        let file = zip(&[("a.npy", array("<f8", "(2, 2)", &[0; 32]), true)]);
        assert!(members(b"nothing").unwrap_err().contains("no zip"));
        for cut in 1..file.len() {
            let mut bad = file.clone();
            bad.drain(cut - 1..cut);
            let _ = members(&bad); // an error or an array, never a panic
        }
        let mut flipped = zip(&[("a.npy", array("<f8", "(2, 2)", &[0; 32]), false)]);
        let last = flipped.windows(4).position(|w| w == [0x50, 0x4b, 1, 2]).unwrap() - 1;
        flipped[last] ^= 1;
        assert!(members(&flipped).unwrap_err().contains("a.npy: damaged"));
        let short = zip(&[("a.npy", array("<f8", "(3, 2)", &[0; 32]), false)]);
        assert!(members(&short).unwrap_err().contains("a.npy: the file ends too early"));
        let odd = zip(&[("a.npy", array("<c16", "(2,)", &[0; 32]), false)]);
        assert!(members(&odd).unwrap_err().contains("<c16"));
        let bomb = zip(&[("a.npy", array("|u1", "(150000000,)", &vec![0_u8; 150_000_000]), true)]);
        assert!(bomb.len() < 1 << 20 && members(&bomb).unwrap_err().contains("more than 64 MiB"));
        let two = vec![0_u8; 40 << 20];
        let two = zip(&[("a", two.clone(), true), ("b", two, true)]);
        assert!(members(&two).unwrap_err().contains("more than 64 MiB"), "all members count");
        let many = zip(&[("a.npy", array("|u1", "(99999999,)", &[]), false)]);
        let head = zip(&[("a.npy", b"\x93NUMPY".to_vec(), false)]);
        assert!(members(&head).unwrap_err().contains("a.npy: the file ends too early"));
        for kind in ["<U4611686018427387904", "<", "", "<f", "\u{e9}8"] {
            let odd = zip(&[("a.npy", array(kind, "(2,)", &[0; 32]), false)]);
            assert!(members(&odd).is_err() != kind.starts_with("<U"), "{kind}");
        }
        assert!(members(&many).unwrap_err().contains("a.npy: its shape (99999999,) has more than 16777216 entries"));
        assert!(Npz::read(Path::new("/nowhere/x.npz")).unwrap_err().to_string().contains("/nowhere/x.npz"));
    }
}

//! Zip files, as far as other programs' arrays need them (PKWARE APPNOTE).

use std::collections::BTreeMap;

/// A little-endian number of N bytes.
pub(crate) fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<usize, String> {
    let mut wide = [0; 8];
    let part = at.checked_add(N).and_then(|end| bytes.get(at..end)).ok_or("the file ends too early")?;
    wide[..N].copy_from_slice(part);
    usize::try_from(u64::from_le_bytes(wide)).map_err(|e| e.to_string())
}

pub(crate) fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], String> {
    at.checked_add(length).and_then(|end| bytes.get(at..end)).ok_or_else(|| "the file ends too early".to_owned())
}

/// The members of a zip file by name, unpacked, `most` bytes of them together; the directory at its end says where they are.
///
/// # Errors
/// Bytes that are no zip file, a damaged directory or member, a method of packing other than none and deflate, more than `most` bytes unpacked.
pub fn unzip(bytes: &[u8], most: usize) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let end = bytes.windows(4).rposition(|w| w == [0x50, 0x4b, 5, 6]).ok_or("this is no zip file (no directory at its end)")?;
    let (count, mut at) = (number::<2>(bytes, end + 10)?, number::<4>(bytes, end + 16)?);
    let (mut members, mut left) = (BTreeMap::new(), most);
    let too_large = || format!("it holds more than {} MiB", most >> 20);
    for _ in 0..count {
        if slice(bytes, at, 4)? != [0x50, 0x4b, 1, 2] {
            return Err("its zip directory is damaged".to_owned());
        }
        let (method, packed, full) = (number::<2>(bytes, at + 10)?, number::<4>(bytes, at + 20)?, number::<4>(bytes, at + 24)?);
        let (name, extra, comment) = (number::<2>(bytes, at + 28)?, number::<2>(bytes, at + 30)?, number::<2>(bytes, at + 32)?);
        let local = number::<4>(bytes, at + 42)?;
        let key = String::from_utf8_lossy(slice(bytes, at + 46, name)?).into_owned();
        let data = local + 30 + number::<2>(bytes, local + 26)? + number::<2>(bytes, local + 28)?;
        let data = slice(bytes, data, packed)?;
        if full.max(packed) > left {
            return Err(too_large());
        }
        let unpacked = match method {
            0 => data.to_vec(),
            8 => miniz_oxide::inflate::decompress_to_vec_with_limit(data, full.min(left))
                .map_err(|e| format!("{key}: cannot be unpacked ({e})"))?,
            other => return Err(format!("{key}: packed by method {other}, expected 0 or 8")),
        };
        if unpacked.len() != full {
            return Err(format!("{key}: damaged, it has {} bytes of {full}", unpacked.len()));
        }
        if crc32fast::hash(&unpacked) as usize != number::<4>(bytes, at + 16)? {
            return Err(format!(
                "{key}: damaged, its checksum is another (or it was written without checksums: write it again with them)"
            ));
        }
        left = left.checked_sub(full).ok_or_else(too_large)?;
        members.insert(key, unpacked);
        at += 46 + name + extra + comment;
    }
    Ok(members)
}

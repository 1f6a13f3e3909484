//! Named arrays on their way to a checkpoint and back. Names are data and never become paths.
//!
//! The bytes are a safetensors file of one-dimensional tensors: 64-bit entries first, then 32-bit ones, then bytes, so that
//! every entry lies aligned.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use crate::error::{CheckpointError, Difference};

/// Bytes of a safetensors header that are read at most.
const HEADER_LIMIT: u64 = 16 << 20;

/// The order of the types in the file: alignment falls.
const ORDER: [Dtype; 4] = [Dtype::F64, Dtype::U64, Dtype::F32, Dtype::U8];

/// Collects the entries of a state. Each name is given once.
#[derive(Debug, Default)]
pub struct StateWriter {
    prefix: String,
    /// (name, start, end) within the buffer of each type of `ORDER`.
    entries: [Vec<(String, usize, usize)>; 4],
    data: [Vec<u8>; 4],
    names: BTreeSet<String>,
    twice: Option<String>,
    /// By hash, in hexadecimal.
    pieces: BTreeMap<String, Vec<u8>>,
}

/// What stands before the hash of a piece where pieces lie in the state itself.
const PIECE: &str = "piece.";

/// A writer whose names begin with a prefix, until it is dropped.
#[derive(Debug)]
pub struct Scope<'a> {
    writer: &'a mut StateWriter,
    outer: usize,
}

impl Deref for Scope<'_> {
    type Target = StateWriter;
    fn deref(&self) -> &StateWriter {
        self.writer
    }
}

impl DerefMut for Scope<'_> {
    fn deref_mut(&mut self) -> &mut StateWriter {
        self.writer
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        self.writer.prefix.truncate(self.outer);
    }
}

impl StateWriter {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that puts `name.` before every name: `critic.save(&mut writer.scope("critic"))`.
    pub fn scope(&mut self, name: &str) -> Scope<'_> {
        let outer = self.prefix.len();
        self.prefix.push_str(name);
        self.prefix.push('.');
        Scope { writer: self, outer }
    }

    /// Adds an array of `f32`.
    pub fn put_f32(&mut self, name: &str, values: &[f32]) {
        self.put(name, values);
    }

    /// Adds an array of `f64`.
    pub fn put_f64(&mut self, name: &str, values: &[f64]) {
        self.put(name, values);
    }

    /// Adds an array of `u64`.
    pub fn put_u64(&mut self, name: &str, values: &[u64]) {
        self.put(name, values);
    }

    /// Adds an array of bytes.
    pub fn put_u8(&mut self, name: &str, values: &[u8]) {
        self.put(name, values);
    }

    /// Adds a text.
    pub fn put_text(&mut self, name: &str, text: &str) {
        self.put(name, text.as_bytes());
    }

    fn put<T: Element>(&mut self, name: &str, values: &[T]) {
        self.add(name, T::SLOT, |data| T::append(values, data));
    }

    fn add(&mut self, name: &str, slot: usize, append: impl FnOnce(&mut Vec<u8>)) {
        let name = format!("{}{name}", self.prefix);
        // `__metadata__` has a meaning of its own in the format.
        if name == "__metadata__" || !self.names.insert(name.clone()) {
            self.twice.get_or_insert(name);
            return;
        }
        let start = self.data[slot].len();
        append(&mut self.data[slot]);
        self.entries[slot].push((name, start, self.data[slot].len()));
    }

    /// Adds arrays of bytes that a checkpoint keeps in files of their own, named by their hashes: one that the checkpoint before holds
    /// too is linked, not written again. For what is large and changes little by little.
    pub fn put_pieces(&mut self, name: &str, pieces: impl IntoIterator<Item = Vec<u8>>) {
        let mut hashes = Vec::new();
        for piece in pieces {
            let hash = blake3::hash(&piece);
            hashes.extend_from_slice(hash.as_bytes());
            self.pieces.insert(hash.to_hex().to_string(), piece);
        }
        self.put_u8(name, &hashes);
    }

    pub(crate) fn pieces(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.pieces
    }

    /// Bytes of all entries together, without names and pieces.
    pub fn data_len(&self) -> usize {
        self.data.iter().map(Vec::len).sum()
    }

    /// The file: header, then the data of each type. Written part by part, so that a large state is not copied again.
    pub(crate) fn parts(&self) -> Result<(Vec<u8>, [&[u8]; 4]), CheckpointError> {
        if let Some(name) = &self.twice {
            return Err(CheckpointError::Duplicate(name.clone()));
        }
        let mut header = Map::new();
        let mut base = 0;
        for (slot, dtype) in ORDER.iter().enumerate() {
            for (name, start, end) in &self.entries[slot] {
                let shape = (end - start) * 8 / dtype.bitsize();
                let entry = json!({"dtype": dtype.to_string(), "shape": [shape], "data_offsets": [base + start, base + end]});
                header.insert(name.clone(), entry);
            }
            base += self.data[slot].len();
        }
        let mut text = Value::Object(header).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut head = (text.len() as u64).to_le_bytes().to_vec();
        head.append(&mut text);
        Ok((head, self.data.each_ref().map(Vec::as_slice)))
    }

    /// The whole state, pieces included, as one safetensors file.
    ///
    /// # Errors
    /// [`CheckpointError::Duplicate`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        if !self.pieces.is_empty() {
            let (entries, data, names) = (self.entries.clone(), self.data.clone(), self.names.clone());
            let mut whole = Self { entries, data, names, twice: self.twice.clone(), ..Self::default() };
            self.pieces.iter().for_each(|(hash, bytes)| whole.put_u8(&format!("{PIECE}{hash}"), bytes));
            return whole.to_bytes();
        }
        let (head, data) = self.parts()?;
        Ok([head.as_slice(), data.concat().as_slice()].concat())
    }
}

/// Reads the entries of a state, by name. Cloning and scoping share the bytes.
#[derive(Debug, Clone)]
pub struct StateReader {
    bytes: Arc<Vec<u8>>,
    entries: Arc<BTreeMap<String, (Dtype, Range<usize>)>>,
    prefix: String,
    pieces: Arc<BTreeMap<String, Vec<u8>>>,
}

impl StateReader {
    /// Reads what [`StateWriter::to_bytes`] wrote. Any bytes may be given.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        let damaged = |why: String| CheckpointError::damaged(Path::new("state"), why);
        let entries = tensor_table(&bytes).map_err(damaged)?;
        let entries = entries.into_iter().map(|e| (e.name, (e.dtype, e.data))).collect();
        Ok(Self { bytes: Arc::new(bytes), entries: Arc::new(entries), prefix: String::new(), pieces: Arc::default() })
    }

    /// The same with pieces that lie in files of their own, by their hashes.
    pub(crate) fn with_pieces(mut self, pieces: BTreeMap<String, Vec<u8>>) -> Self {
        self.pieces = Arc::new(pieces);
        self
    }

    /// The arrays of bytes that [`StateWriter::put_pieces`] was given.
    ///
    /// # Errors
    /// [`CheckpointError::Entry`], also for a piece that is not there.
    pub fn pieces(&self, name: &str) -> Result<Vec<&[u8]>, CheckpointError> {
        let hashes = self.raw::<u8>(name, None)?;
        let (hashes, rest) = hashes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(self.wrong(name, "whole hashes of 32 bytes", format!("{} bytes more", rest.len())));
        }
        let piece = |hash: &[u8; 32]| {
            let hex = blake3::Hash::from_bytes(*hash).to_hex();
            let inside = || Some(&self.bytes[self.entries.get(&format!("{PIECE}{hex}"))?.1.clone()]);
            self.pieces
                .get(hex.as_str())
                .map(Vec::as_slice)
                .or_else(inside)
                .ok_or_else(|| self.wrong(name, format!("the piece {hex}"), "no such piece"))
        };
        hashes.iter().map(piece).collect()
    }

    /// The entries whose names begin with `name.`, that beginning left out.
    pub fn scope(&self, name: &str) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// The names within this scope, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().filter_map(|name| name.strip_prefix(self.prefix.as_str()))
    }

    /// Writes the entry of that name into another state, where there is one, bit for bit.
    pub fn copy_to(&self, name: &str, w: &mut StateWriter) {
        if let Some((dtype, range)) = self.entries.get(&self.full(name))
            && let Some(slot) = ORDER.iter().position(|d| d == dtype)
        {
            w.add(name, slot, |data| data.extend_from_slice(&self.bytes[range.clone()]));
        }
    }

    /// Whether there is an entry of that name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(&self.full(name))
    }

    /// An array of `f32`.
    ///
    /// # Errors
    /// [`CheckpointError::Entry`] where it is missing or of another type (so for all readers here).
    pub fn f32s(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        self.get(name)
    }

    /// An array of `f64`.
    ///
    /// # Errors
    /// [`CheckpointError::Entry`].
    pub fn f64s(&self, name: &str) -> Result<Vec<f64>, CheckpointError> {
        self.get(name)
    }

    /// An array of `u64`.
    ///
    /// # Errors
    /// [`CheckpointError::Entry`].
    pub fn u64s(&self, name: &str) -> Result<Vec<u64>, CheckpointError> {
        self.get(name)
    }

    /// An array of bytes.
    ///
    /// # Errors
    /// [`CheckpointError::Entry`].
    pub fn u8s(&self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        self.get(name)
    }

    /// A text.
    ///
    /// # Errors
    /// [`CheckpointError::Entry`], also for bytes that are not UTF-8.
    pub fn text(&self, name: &str) -> Result<String, CheckpointError> {
        String::from_utf8(self.get(name)?).map_err(|_| self.wrong(name, "a text", "bytes that are not UTF-8"))
    }

    /// A single `u64`.
    ///
    /// # Errors
    /// [`CheckpointError::Entry`], also for another number of values.
    pub fn u64(&self, name: &str) -> Result<u64, CheckpointError> {
        let mut one = [0];
        self.u64s_into(name, &mut one)?;
        Ok(one[0])
    }

    /// A single `f64`.
    ///
    /// # Errors
    /// [`CheckpointError::Entry`], also for another number of values.
    pub fn f64(&self, name: &str) -> Result<f64, CheckpointError> {
        let mut one = [0.0];
        self.f64s_into(name, &mut one)?;
        Ok(one[0])
    }

    /// Fills `out` with an array of exactly its length; on an error `out` is as it was (so for all `_into`).
    ///
    /// # Errors
    /// [`CheckpointError::Entry`] with the entry, the expected and the found length.
    pub fn f32s_into(&self, name: &str, out: &mut [f32]) -> Result<(), CheckpointError> {
        self.get_into(name, out)
    }

    /// As [`StateReader::f32s_into`].
    ///
    /// # Errors
    /// [`CheckpointError::Entry`].
    pub fn f64s_into(&self, name: &str, out: &mut [f64]) -> Result<(), CheckpointError> {
        self.get_into(name, out)
    }

    /// As [`StateReader::f32s_into`].
    ///
    /// # Errors
    /// [`CheckpointError::Entry`].
    pub fn u64s_into(&self, name: &str, out: &mut [u64]) -> Result<(), CheckpointError> {
        self.get_into(name, out)
    }

    /// As [`StateReader::f32s_into`].
    ///
    /// # Errors
    /// [`CheckpointError::Entry`].
    pub fn u8s_into(&self, name: &str, out: &mut [u8]) -> Result<(), CheckpointError> {
        self.get_into(name, out)
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The error of an entry whose values its reader cannot use.
    pub fn wrong(&self, name: &str, expected: impl ToString, found: impl ToString) -> CheckpointError {
        CheckpointError::Entry(Difference { name: self.full(name), expected: expected.to_string(), found: found.to_string() })
    }

    fn raw<T: Element>(&self, name: &str, count: Option<usize>) -> Result<&[u8], CheckpointError> {
        let wanted = ORDER[T::SLOT];
        let expected = || match count {
            Some(n) => format!("{n} values of {wanted}"),
            None => format!("values of {wanted}"),
        };
        let Some((dtype, range)) = self.entries.get(&self.full(name)) else {
            return Err(self.wrong(name, expected(), "no such entry"));
        };
        let found = range.len() * 8 / dtype.bitsize();
        if *dtype != wanted || count.is_some_and(|n| n != found) {
            return Err(self.wrong(name, expected(), format!("{found} of {dtype}")));
        }
        Ok(&self.bytes[range.clone()])
    }

    fn get<T: Element>(&self, name: &str) -> Result<Vec<T>, CheckpointError> {
        let raw = self.raw::<T>(name, None)?;
        let mut out = vec![T::default(); raw.len() * 8 / ORDER[T::SLOT].bitsize()];
        T::decode(raw, &mut out);
        Ok(out)
    }

    fn get_into<T: Element>(&self, name: &str, out: &mut [T]) -> Result<(), CheckpointError> {
        T::decode(self.raw::<T>(name, Some(out.len()))?, out);
        Ok(())
    }
}

/// A number with a little-endian form.
trait Element: Copy + Default {
    /// Its place in `ORDER`.
    const SLOT: usize;
    fn append(values: &[Self], bytes: &mut Vec<u8>);
    fn decode(bytes: &[u8], out: &mut [Self]);
}

macro_rules! element {
    ($type:ty, $slot:expr) => {
        impl Element for $type {
            const SLOT: usize = $slot;
            fn append(values: &[Self], bytes: &mut Vec<u8>) {
                let start = bytes.len();
                bytes.resize(start + size_of_val(values), 0);
                let (chunks, _) = bytes[start..].as_chunks_mut::<{ size_of::<$type>() }>();
                for (chunk, value) in chunks.iter_mut().zip(values) {
                    *chunk = value.to_le_bytes();
                }
            }
            fn decode(bytes: &[u8], out: &mut [Self]) {
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                for (value, chunk) in out.iter_mut().zip(chunks) {
                    *value = <$type>::from_le_bytes(*chunk);
                }
            }
        }
    };
}
element!(f64, 0);
element!(u64, 1);
element!(f32, 2);
element!(u8, 3);

/// One tensor of a safetensors file.
pub(crate) struct TensorEntry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Where its bytes lie in the file.
    pub data: Range<usize>,
}

/// What a safetensors file declares, every range checked against its length.
pub(crate) fn tensor_table(bytes: &[u8]) -> Result<Vec<TensorEntry>, String> {
    let length = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)).ok_or("shorter than a safetensors header")?;
    if length > HEADER_LIMIT || length > bytes.len() as u64 - 8 {
        return Err(format!("a header of {length} bytes is declared in a file of {}", bytes.len()));
    }
    let start = 8 + length as usize;
    check_offsets(&bytes[8..start], (bytes.len() - start) as u64)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let table = metadata.tensors().into_iter().map(|(name, info)| TensorEntry {
        name,
        dtype: info.dtype,
        shape: info.shape.clone(),
        data: start + info.data_offsets.0..start + info.data_offsets.1,
    });
    Ok(table.collect())
}

/// Refuses offsets beyond the data, which would overflow in arithmetic further on.
fn check_offsets(header: &[u8], data: u64) -> Result<(), String> {
    let header: Map<String, Value> = serde_json::from_slice(header).map_err(|e| format!("header: {e}"))?;
    for (name, entry) in &header {
        let offsets = entry.get("data_offsets").and_then(Value::as_array);
        if let Some(bad) = offsets.into_iter().flatten().find(|o| o.as_u64().is_none_or(|o| o > data)) {
            return Err(format!("entry {name:?} has the offset {bad} in {data} bytes of data"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> StateWriter {
        let mut w = StateWriter::new();
        w.put_u8("flags", &[1, 0, 1]);
        w.put_f32("w", &[1.5, -0.0, f32::NAN]);
        {
            let mut critic = w.scope("critic");
            critic.put_f64("mean", &[0.1]);
            critic.scope("adam").put_u64("t", &[u64::MAX]);
            critic.put_text("name", "a/../b \"é\"");
        }
        w.put_f32("empty", &[]);
        w
    }

    #[test]
    fn scopes_nest_and_end() {
        let r = StateReader::from_bytes(sample().to_bytes().unwrap()).unwrap();
        let names: Vec<&str> = r.names().collect();
        assert_eq!(names, ["critic.adam.t", "critic.mean", "critic.name", "empty", "flags", "w"]);
        let critic = r.scope("critic");
        assert_eq!(critic.names().collect::<Vec<_>>(), ["adam.t", "mean", "name"]);
        assert_eq!(critic.scope("adam").u64("t").unwrap(), u64::MAX);
        assert_eq!(critic.f64("mean").unwrap(), 0.1);
        assert_eq!(critic.text("name").unwrap(), "a/../b \"é\"");
        assert_eq!(r.u8s("flags").unwrap(), [1, 0, 1]);
        assert!(r.has("empty") && !r.has("mean") && r.f32s("empty").unwrap().is_empty());
        let bits: Vec<u32> = r.f32s("w").unwrap().iter().map(|x| x.to_bits()).collect();
        assert_eq!(bits, [1.5f32, -0.0, f32::NAN].map(f32::to_bits));
    }

    #[test]
    fn entries_are_copied_bit_for_bit() {
        let r = StateReader::from_bytes(sample().to_bytes().unwrap()).unwrap();
        let mut w = StateWriter::new();
        ["w", "flags", "critic.mean", "critic.adam.t", "critic.name", "empty", "gone"]
            .iter()
            .for_each(|name| r.copy_to(name, &mut w));
        let copy = StateReader::from_bytes(w.to_bytes().unwrap()).unwrap();
        assert_eq!(copy.names().collect::<Vec<_>>(), r.names().collect::<Vec<_>>());
        assert_eq!(copy.raw::<f32>("w", Some(3)).unwrap(), r.raw::<f32>("w", Some(3)).unwrap());
        assert_eq!((copy.u64("critic.adam.t").unwrap(), copy.f64("critic.mean").unwrap()), (u64::MAX, 0.1));
    }

    #[test]
    fn the_official_reader_agrees_and_all_is_aligned() {
        let bytes = sample().to_bytes().unwrap();
        let official = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(official.tensor("flags").unwrap().data(), [1, 0, 1]);
        assert_eq!(official.tensor("critic.adam.t").unwrap().data(), [255; 8]);
        assert_eq!(official.tensor("w").unwrap().shape(), [3]);
        for entry in tensor_table(&bytes).unwrap() {
            assert_eq!(entry.data.start * 8 % entry.dtype.bitsize(), 0, "{}", entry.name);
        }
    }

    #[test]
    fn wrong_lengths_types_and_names_are_told() {
        let r = StateReader::from_bytes(sample().to_bytes().unwrap()).unwrap();
        let mut out = [7.0f32; 2];
        let text = r.f32s_into("w", &mut out).unwrap_err().to_string();
        assert_eq!(text, "checkpoint entry \"w\": expected 2 values of F32, found 3 of F32");
        assert_eq!(out, [7.0; 2]);
        let text = r.scope("critic").f32s("mean").unwrap_err().to_string();
        assert_eq!(text, "checkpoint entry \"critic.mean\": expected values of F32, found 1 of F64");
        assert!(r.f64s("gone").unwrap_err().to_string().contains("no such entry"));
        assert!(r.text("flags").is_ok() && r.scope("no").f32s("w").is_err());
    }

    #[test]
    fn a_name_given_twice_is_an_error() {
        let mut w = sample();
        w.put_f32("w", &[]);
        assert!(matches!(w.to_bytes(), Err(CheckpointError::Duplicate(n)) if n == "w"));
        let mut w = StateWriter::new();
        w.put_u8("__metadata__", &[]);
        assert!(w.to_bytes().is_err());
    }

    #[test]
    fn hostile_sizes_are_refused() {
        let file = |header: &str, data: usize| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend_from_slice(header.as_bytes());
            bytes.resize(bytes.len() + data, 0);
            StateReader::from_bytes(bytes)
        };
        let entry = |a: u64, b: u64, n: u64| format!(r#"{{"x":{{"dtype":"U8","shape":[{n}],"data_offsets":[{a},{b}]}}}}"#);
        assert!(file(&entry(0, 4, 4), 4).is_ok());
        assert!(file(&entry(0, 4, 4), 3).is_err());
        assert!(file(&entry(0, u64::MAX - 4, u64::MAX - 4), 4).is_err());
        assert!(file(&entry(4, 0, 4), 4).is_err());
        assert!(file(&entry(0, 4, u64::MAX), 4).is_err());
        assert!(file(&"[".repeat(100_000), 4).is_err());
        let overlap =
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
        assert!(file(overlap, 4).is_err());
        for length in [u64::MAX, 1 << 60, 17 << 20] {
            assert!(StateReader::from_bytes(length.to_le_bytes().to_vec()).is_err());
        }
    }

    proptest! {
        #[test]
        fn decode_encode_is_identity(
            f32s in prop::collection::vec(any::<u32>(), 0..40),
            f64s in prop::collection::vec(any::<u64>(), 0..40),
            u8s in prop::collection::vec(any::<u8>(), 0..40),
            name in "\\PC{0,12}",
        ) {
            let (f32s, f64s): (Vec<f32>, Vec<f64>) =
                (f32s.into_iter().map(f32::from_bits).collect(), f64s.into_iter().map(f64::from_bits).collect());
            let mut w = StateWriter::new();
            w.scope("a").put_f32(&name, &f32s);
            w.scope("b").put_f64(&name, &f64s);
            w.scope("c").put_u8(&name, &u8s);
            let r = StateReader::from_bytes(w.to_bytes().unwrap()).unwrap();
            let bits = |xs: Vec<f32>| xs.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let bits64 = |xs: Vec<f64>| xs.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(r.scope("a").f32s(&name).unwrap()), bits(f32s));
            prop_assert_eq!(bits64(r.scope("b").f64s(&name).unwrap()), bits64(f64s));
            prop_assert_eq!(r.scope("c").u8s(&name).unwrap(), u8s);
        }

        #[test]
        fn any_bytes_give_an_answer(mut bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..400, at in 0usize..400, to in any::<u8>()) {
            let _ = StateReader::from_bytes(bytes.clone());
            let mut file = sample().to_bytes().unwrap();
            let at = at % file.len();
            file[at] = to;
            file.truncate(cut.max(1));
            file.append(&mut bytes);
            if let Ok(reader) = StateReader::from_bytes(file) {
                for name in reader.names() {
                    let _ = (reader.f32s(name), reader.u8s(name), reader.f64s(name));
                }
            }
        }
    }
}

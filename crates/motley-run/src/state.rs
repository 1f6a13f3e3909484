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
use crate::manifest::FileEntry;
use crate::pieces::{PieceFiles, PieceFolder, PieceHashes, PieceList, Pieces};

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
    pieces: Pieces,
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

    /// The same, with pieces that go to the folder of a checkpoint as they come.
    pub(crate) fn streaming(folder: PieceFolder) -> Self {
        Self { pieces: Pieces::Folder(folder), ..Self::default() }
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
    ///
    /// There is one piece for each of `stamps`, numbers that change whenever their pieces do. `make(k, bytes)` appends piece `k`; it is
    /// called for those that changed since `known` heard of them, and for those that the checkpoint before does not have.
    pub fn put_pieces(&mut self, name: &str, stamps: &[u64], known: &PieceHashes, make: &mut dyn FnMut(usize, &mut Vec<u8>)) {
        let hashes = self.pieces.take(stamps, known, make);
        self.put_u8(name, &hashes);
    }

    /// The files of pieces that went to a folder, and the bytes that had to be written.
    ///
    /// # Errors
    /// The first that befell a piece.
    pub(crate) fn finish_pieces(&mut self) -> Result<(BTreeMap<String, FileEntry>, u64), CheckpointError> {
        match std::mem::take(&mut self.pieces) {
            Pieces::Folder(folder) => folder.finish(),
            held @ Pieces::Held(_) => {
                self.pieces = held;
                Ok(Default::default())
            }
        }
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
        if let Pieces::Held(held) = &self.pieces
            && !held.is_empty()
        {
            let (entries, data, names) = (self.entries.clone(), self.data.clone(), self.names.clone());
            let mut whole = Self { entries, data, names, twice: self.twice.clone(), ..Self::default() };
            held.iter().for_each(|(hash, bytes)| whole.put_u8(&format!("{PIECE}{hash}"), bytes));
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
    pieces: Option<Arc<PieceFiles>>,
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
        Ok(Self { bytes: Arc::new(bytes), entries: Arc::new(entries), prefix: String::new(), pieces: None })
    }

    /// The same with pieces that lie in files of their own.
    pub(crate) fn with_pieces(self, pieces: PieceFiles) -> Self {
        Self { pieces: Some(Arc::new(pieces)), ..self }
    }

    pub(crate) fn piece_files(&self) -> Option<&PieceFiles> {
        self.pieces.as_deref()
    }

    /// A piece that lies in the state itself.
    pub(crate) fn piece_inside(&self, hash: &blake3::Hash) -> Option<&[u8]> {
        self.entries.get(&format!("{PIECE}{}", hash.to_hex())).map(|(_, range)| &self.bytes[range.clone()])
    }

    /// The pieces that [`StateWriter::put_pieces`] was given, to be read one by one.
    ///
    /// # Errors
    /// [`CheckpointError::Entry`], also for a piece that is not there.
    pub fn pieces(&self, name: &str) -> Result<PieceList<'_>, CheckpointError> {
        let hashes = self.raw::<u8>(name, None)?;
        let (hashes, rest) = hashes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(self.wrong(name, "whole hashes of 32 bytes", format!("{} bytes more", rest.len())));
        }
        PieceList::find(self, hashes).map_err(|hash| self.wrong(name, format!("the piece {}", hash.to_hex()), "no such piece"))
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
mod tests;

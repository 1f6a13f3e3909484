//! Policy bundles: what is needed to act, as `weights.safetensors` and `policy.json` in one folder.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value};

use crate::disk::{self, Disk, read_bounded, read_exactly, replace_dir, suffixed, temp_name};
use crate::error::RunError;
use crate::manifest::fingerprint;
use crate::state::tensor_table;

/// The version of the bundle format written and read here.
pub const FORMAT: u64 = 1;

const WEIGHTS: &str = "weights.safetensors";
const POLICY: &str = "policy.json";
const POLICY_LIMIT: u64 = 16 << 20;

/// A named array with a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// `actor.<group>.<layer>.weight`.
    pub name: String,
    /// Lengths of its axes, the slowest first.
    pub shape: Vec<usize>,
    /// The values, row by row.
    pub values: Vec<f32>,
}

/// A policy bundle in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The content of `policy.json` as its writer gave it (spaces, normalisers, networks, ...).
    pub policy: Map<String, Value>,
    /// The weights, sorted by name.
    pub tensors: Vec<NamedTensor>,
}

impl Bundle {
    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|t| t.name == name)
    }
}

/// Writes a bundle in the place of whatever bundle lies at `dir`. After a crash at any moment [`read_bundle`] finds the old
/// one or the new one.
///
/// # Errors
/// [`RunError::Io`]; [`RunError::Damaged`] for a shape that does not fit its values or a name given twice.
pub fn write_bundle(disk: &dyn Disk, dir: &Path, bundle: &Bundle) -> Result<(), RunError> {
    let temp = temp_name(dir);
    let weights = encode_weights(&bundle.tensors).map_err(|why| RunError::damaged(&dir.join(WEIGHTS), why))?;
    let path = dir.join(POLICY);
    let mut head = Map::new();
    head.insert("format".into(), FORMAT.into());
    head.insert("motley".into(), env!("CARGO_PKG_VERSION").into());
    head.insert("weights_bytes".into(), (weights.len() as u64).into());
    head.insert("weights_blake3".into(), blake3::hash(&weights).to_hex().as_str().into());
    head.insert("policy_blake3".into(), fingerprint(&bundle.policy).into());
    for (name, value) in &bundle.policy {
        if head.insert(name.clone(), value.clone()).is_some() {
            return Err(RunError::damaged(&path, format!("the field \"{name}\" is reserved")));
        }
    }
    let text = format!("{:#}\n", Value::Object(head));

    disk.remove(&temp).map_err(RunError::io("remove", &temp))?;
    let written = disk
        .create_dir(&temp)
        .and_then(|()| disk.write(&temp.join(WEIGHTS), &[&weights]))
        .and_then(|()| disk.write(&temp.join(POLICY), &[text.as_bytes()]))
        .and_then(|()| disk.sync_dir(&temp))
        .and_then(|()| replace_dir(disk, &temp, dir));
    if written.is_err() {
        let _ = disk.remove(&temp);
    }
    written.map_err(RunError::io("write", dir))?;
    let old = suffixed(dir, ".old");
    disk.remove(&old).map_err(RunError::io("remove", &old))
}

/// Reads a bundle and verifies it. `dir` is the bundle's folder (`policy/` of a run).
///
/// # Errors
/// [`RunError::Io`] where it is not there; [`RunError::Damaged`] where it is not what was written.
pub fn read_bundle(disk: &dyn Disk, dir: &Path) -> Result<Bundle, RunError> {
    let dir = present(disk, dir);
    let path = dir.join(POLICY);
    let bytes = read_bounded(disk, &path, POLICY_LIMIT).map_err(RunError::io("read", &path))?;
    let mut policy: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|e| RunError::damaged(&path, e))?;
    let mut take = |field: &str| {
        let missing = || RunError::damaged(&path, format!("the field \"{field}\" is missing"));
        policy.shift_remove(field).ok_or_else(missing)
    };
    let (format, motley) = (take("format")?, take("motley")?);
    if format != FORMAT {
        return Err(RunError::damaged(&path, format!("format {format}, expected {FORMAT}: use motley {motley}")));
    }
    let (length, weights_hash, policy_hash) = (take("weights_bytes")?, take("weights_blake3")?, take("policy_blake3")?);
    if policy_hash != fingerprint(&policy) {
        return Err(RunError::damaged(&path, "its hash does not fit its content"));
    }
    let length = length.as_u64().ok_or_else(|| RunError::damaged(&path, "\"weights_bytes\" is not a length"))?;
    let weights_path = dir.join(WEIGHTS);
    let weights = read_exactly(disk, &weights_path, length).map_err(RunError::io("read", &weights_path))?;
    if weights_hash != blake3::hash(&weights).to_hex().as_str() {
        return Err(RunError::damaged(&weights_path, "its hash is not the one in policy.json"));
    }
    let tensors = decode_weights(&weights).map_err(|why| RunError::damaged(&weights_path, why))?;
    Ok(Bundle { policy, tensors })
}

/// The folder to read: where a write was cut short between its two renames, the bundle waits under `.old`.
fn present(disk: &dyn Disk, dir: &Path) -> PathBuf {
    let old = suffixed(dir, ".old");
    if disk.list(dir).is_err() && disk.list(&old).is_ok() { old } else { dir.to_owned() }
}

fn encode_weights(tensors: &[NamedTensor]) -> Result<Vec<u8>, String> {
    let names: std::collections::BTreeSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
    if names.len() != tensors.len() || names.contains("__metadata__") {
        return Err("a tensor name is given twice or reserved".into());
    }
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|t| t.values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for (tensor, data) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), data);
        let view = view.map_err(|_| {
            format!("tensor \"{}\": {} values do not fit the shape {:?}", tensor.name, tensor.values.len(), tensor.shape)
        })?;
        views.push((tensor.name.as_str(), view));
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

fn decode_weights(bytes: &[u8]) -> Result<Vec<NamedTensor>, String> {
    let mut tensors = Vec::new();
    for entry in tensor_table(bytes)? {
        if entry.dtype != Dtype::F32 {
            return Err(format!("tensor \"{}\": expected F32, found {}", entry.name, entry.dtype));
        }
        let (values, _) = bytes[entry.data].as_chunks::<4>();
        let values = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
        tensors.push(NamedTensor { name: entry.name, shape: entry.shape, values });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// Whether `dir` holds a policy bundle (told apart from a run folder, which holds one in `policy/`).
pub fn is_bundle(dir: &Path) -> bool {
    present(&disk::RealDisk, dir).join(POLICY).is_file()
}

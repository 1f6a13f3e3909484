//! Policy bundles: what is written comes back, whole or with an error; a crash while writing keeps the old one.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use motley_core::{Purpose, Stream};
use motley_run::{Bundle, NamedTensor, RealDisk, RunError, is_bundle, read_bundle, write_bundle};
use motley_testkit::disk::{DiskFault, FaultyDisk};
use serde_json::json;

fn bundle(mark: f32) -> Bundle {
    let serde_json::Value::Object(policy) = json!({"algo": "happo", "mean": [0.1, 1e-30], "groups": {"a": {"layers": 2}}}) else {
        unreachable!()
    };
    let tensor = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        NamedTensor { name: name.into(), shape: shape.into(), values: vec![mark; count] }
    };
    let tensors = vec![tensor("actor.a.0.bias", &[3]), tensor("actor.a.0.weight", &[3, 2]), tensor("actor.b.scale", &[])];
    Bundle { policy, tensors }
}

#[test]
fn a_bundle_comes_back_and_can_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy");
    assert!(!is_bundle(&path) && matches!(read_bundle(&RealDisk, &path), Err(RunError::Io { .. })));
    for mark in [1.5, f32::MIN_POSITIVE] {
        write_bundle(&RealDisk, &path, &bundle(mark)).unwrap();
        assert_eq!(read_bundle(&RealDisk, &path).unwrap(), bundle(mark));
    }
    assert!(is_bundle(&path));
    assert_eq!(bundle(2.0).tensor("actor.a.0.weight").unwrap().values, [2.0; 6]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    let json: serde_json::Value = serde_json::from_slice(&fs::read(path.join("policy.json")).unwrap()).unwrap();
    assert_eq!((&json["format"], &json["algo"]), (&json!(1), &json!("happo")));
    let weights = fs::read(path.join("weights.safetensors")).unwrap();
    let plain = safetensors::SafeTensors::deserialize(&weights).unwrap();
    assert_eq!(plain.tensor("actor.a.0.weight").unwrap().shape(), [3, 2]);
}

#[test]
fn what_does_not_fit_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy");
    let refused = |change: &dyn Fn(&mut Bundle)| {
        let mut bad = bundle(1.0);
        change(&mut bad);
        let text = write_bundle(&RealDisk, &path, &bad).unwrap_err().to_string();
        assert!(!path.exists());
        text
    };
    assert!(refused(&|b| b.tensors[1].shape = vec![4, 2]).contains("actor.a.0.weight"));
    assert!(refused(&|b| b.tensors[1].name = "actor.a.0.bias".into()).contains("twice"));
    assert!(refused(&|b| drop(b.policy.insert("format".into(), json!(7)))).contains("reserved"));
}

#[test]
fn changed_bytes_and_other_formats_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy");
    write_bundle(&RealDisk, &path, &bundle(1.0)).unwrap();
    let mut rng = Stream::new(3, Purpose::Check, 0, 0);
    for file in ["weights.safetensors", "policy.json"] {
        let file = path.join(file);
        let whole = fs::read(&file).unwrap();
        for _ in 0..500 {
            let mut bad = whole.clone();
            let at = rng.next_u32() as usize % bad.len();
            bad[at] ^= 1 + (rng.next_u32() % 255) as u8;
            fs::write(&file, &bad).unwrap();
            // White space and the writer's version mean nothing: there the content must be the same.
            if let Ok(read) = read_bundle(&RealDisk, &path) {
                assert!(file.ends_with("policy.json") && read == bundle(1.0), "byte {at} of {}", file.display());
            }
        }
        fs::write(&file, &whole).unwrap();
    }
    let text = fs::read_to_string(path.join("policy.json")).unwrap();
    fs::write(path.join("policy.json"), text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert!(read_bundle(&RealDisk, &path).unwrap_err().to_string().contains("format 2, expected 1"));
    fs::remove_file(path.join("weights.safetensors")).unwrap();
    fs::write(path.join("policy.json"), text).unwrap();
    assert!(matches!(read_bundle(&RealDisk, &path), Err(RunError::Io { .. })));
}

fn at_every_call(fault: impl Fn(usize) -> DiskFault, killed: bool) {
    for i in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy");
        write_bundle(&RealDisk, &path, &bundle(1.0)).unwrap();
        let disk = FaultyDisk::new(fault(i));
        let done = write_bundle(&disk, &path, &bundle(2.0)).is_ok();
        let found = read_bundle(&RealDisk, &path).unwrap();
        assert!(found == bundle(2.0) || (!done && found == bundle(1.0)), "call {i}");
        assert!(killed || Path::new(&path).is_dir());
        write_bundle(&RealDisk, &path, &bundle(3.0)).unwrap();
        assert_eq!(read_bundle(&RealDisk, &path).unwrap(), bundle(3.0));
        if disk.calls() <= i {
            assert!(i >= 8, "{i} calls were tried");
            return;
        }
    }
}

#[test]
fn killed_at_any_call_there_is_a_bundle() {
    at_every_call(DiskFault::KillAt, true);
    at_every_call(|i| DiskFault::FailAt(i, std::io::ErrorKind::StorageFull), false);
    at_every_call(DiskFault::FullFrom, false);
}

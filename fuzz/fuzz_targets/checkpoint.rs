//! Any bytes as a manifest and a state in a checkpoint's folder: never a panic, never more memory than the files have.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use motley_run::{CheckpointStore, RealDisk};

fuzz_target!(|parts: (&[u8], &[u8])| {
    let root = std::env::temp_dir().join(format!("motley-fuzz-checkpoint-{}", std::process::id()));
    let step = root.join("step-4");
    std::fs::create_dir_all(&step).unwrap();
    std::fs::write(step.join("manifest.json"), parts.0).unwrap();
    std::fs::write(step.join("state.safetensors"), parts.1).unwrap();
    std::fs::write(root.join("latest"), "step-4").unwrap();
    let store = CheckpointStore::new(&root, 1, Arc::new(RealDisk));
    let _ = store.load(4);
    let _ = store.load_latest();
});
